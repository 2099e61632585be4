//! The arguments of `emu disk`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use emu_machine::config::parse_size;
use emu_machine::image::{Kind, Options, Parents, parse_format};

fn format(text: &str) -> Result<Kind, String> {
    parse_format(text).map_err(|e| e.to_string())
}

fn option_list(text: &str) -> Result<Vec<(String, String)>, String> {
    let one = |part: &str| match part.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err(format!("`{part}` is not KEY=VALUE")),
    };
    text.split(',').map(one).collect()
}

/// A size to come to, or a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NewSize {
    To(u64),
    Plus(u64),
    Minus(u64),
}

fn new_size(text: &str) -> Result<NewSize, String> {
    if let Some(more) = text.strip_prefix('+') {
        return parse_size(more).map(NewSize::Plus);
    }
    match text.strip_prefix('-') {
        Some(less) => parse_size(less).map(NewSize::Minus),
        None => parse_size(text).map(NewSize::To),
    }
}

/// Where parents and extents may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ParentsArg {
    /// In the image's folder, or deeper.
    #[default]
    Folder,
    /// Anywhere.
    Anywhere,
}

/// How an image is opened.
#[derive(Clone, Debug, Args)]
pub(crate) struct OpenArgs {
    /// The image's format; without, its content decides
    #[arg(short, long, value_parser = format, value_name = "FORMAT")]
    pub(crate) format: Option<Kind>,
    /// Where its parents and extents may be
    #[arg(long, value_enum, default_value = "folder")]
    pub(crate) parents: ParentsArg,
}

impl OpenArgs {
    pub(crate) fn options(&self, write: bool) -> Options {
        Options { write, format: self.format, parents: self.parents(), ..Options::default() }
    }

    pub(crate) fn parents(&self) -> Parents {
        match self.parents {
            ParentsArg::Folder => Parents::Folder,
            ParentsArg::Anywhere => Parents::Anywhere,
        }
    }
}

/// How the result is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct TellArgs {
    /// Write the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// No progress, nothing that is not the result or an error
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Options of `emu disk`.
#[derive(Debug, Args)]
pub(crate) struct DiskArgs {
    #[command(subcommand)]
    pub(crate) verb: DiskVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DiskVerb {
    /// What an image is: format, sizes, parents, snapshots
    Info(InfoArgs),
    /// Whether an image's tables make sense; changes nothing
    Check(CheckArgs),
    /// Put an image's tables right
    Repair(RepairArgs),
    /// Copy a disk into an image of another format
    Convert(Box<ConvertArgs>),
    /// Make an empty image
    Create(CreateArgs),
    /// Change the size of a disk
    Resize(ResizeArgs),
    /// Write an image's contents into its parent
    Commit(CommitArgs),
    /// Put an image on another parent
    Rebase(RebaseArgs),
    /// List, take, apply and delete snapshots inside of an image
    Snapshot(SnapshotArgs),
    /// Compare two disks, whatever formats they have
    Compare(CompareArgs),
    /// Which file has which part of a disk, and where
    Map(MapArgs),
    /// Write a partition or a stretch of a disk into a raw file
    Extract(ExtractArgs),
}

#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// The image
    pub(crate) image: PathBuf,
    #[command(flatten)]
    pub(crate) open: OpenArgs,
    /// Also tell of its parents
    #[arg(long)]
    pub(crate) backing_chain: bool,
    /// Also the SHA-256 of the disk's contents
    #[arg(long)]
    pub(crate) hash: bool,
    #[command(flatten)]
    pub(crate) tell: TellArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The image
    pub(crate) image: PathBuf,
    #[command(flatten)]
    pub(crate) open: OpenArgs,
    #[command(flatten)]
    pub(crate) tell: TellArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RepairArgs {
    /// The image
    pub(crate) image: PathBuf,
    /// Only give back space that nothing uses
    #[arg(long)]
    pub(crate) leaks: bool,
    #[command(flatten)]
    pub(crate) open: OpenArgs,
    #[command(flatten)]
    pub(crate) tell: TellArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// The image to copy
    pub(crate) source: PathBuf,
    /// The image to make
    pub(crate) target: PathBuf,
    #[command(flatten)]
    pub(crate) open: OpenArgs,
    /// The new image's format; without, its name decides
    #[arg(short = 'O', long, value_parser = format, value_name = "FORMAT")]
    pub(crate) output_format: Option<Kind>,
    /// Options of the new image, like subformat=streamOptimized or cluster_size=4K
    #[arg(short, long, value_parser = option_list, value_name = "KEY=VALUE,...")]
    pub(crate) options: Vec<Vec<(String, String)>>,
    /// Compress
    #[arg(short, long)]
    pub(crate) compress: bool,
    /// Parent of the new image, which gets only what differs from it
    #[arg(short = 'B', long, value_name = "PARENT")]
    pub(crate) backing: Option<String>,
    /// The parent's format
    #[arg(short = 'F', long, value_parser = format, value_name = "FORMAT", requires = "backing")]
    pub(crate) backing_format: Option<Kind>,
    /// Bytes of the new disk, if it shall be larger than the old one
    #[arg(long, value_parser = parse_size)]
    pub(crate) size: Option<u64>,
    /// Copy this snapshot inside of the source
    #[arg(short = 'l', long, value_name = "NAME")]
    pub(crate) snapshot: Option<String>,
    /// Write zeros too, so that all space is taken
    #[arg(long)]
    pub(crate) full: bool,
    /// Return only when the new image is on the host's disk, instead of in its cache
    #[arg(long)]
    pub(crate) sync: bool,
    /// Go on with a conversion that was interrupted
    #[arg(long)]
    pub(crate) resume: bool,
    /// Make sure after so many bytes that --resume can go on from there; without, every 64M and two seconds
    #[arg(long, value_parser = parse_size, value_name = "SIZE")]
    pub(crate) note_every: Option<u64>,
    /// Replace a target that is there
    #[arg(long, conflicts_with = "resume")]
    pub(crate) force: bool,
    /// Read the new image back and tell its SHA-256
    #[arg(long)]
    pub(crate) hash: bool,
    #[command(flatten)]
    pub(crate) tell: TellArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The image to make
    pub(crate) image: PathBuf,
    /// Bytes of its disk, like 512M or 2T; without, those of the parent
    #[arg(value_parser = parse_size)]
    pub(crate) size: Option<u64>,
    /// Its format; without, its name decides
    #[arg(short, long, value_parser = format, value_name = "FORMAT")]
    pub(crate) format: Option<Kind>,
    /// Options, like cluster_size=4K
    #[arg(short, long, value_parser = option_list, value_name = "KEY=VALUE,...")]
    pub(crate) options: Vec<Vec<(String, String)>>,
    /// Its parent
    #[arg(short, long, value_name = "PARENT")]
    pub(crate) backing: Option<String>,
    /// The parent's format
    #[arg(short = 'F', long, value_parser = format, value_name = "FORMAT", requires = "backing")]
    pub(crate) backing_format: Option<Kind>,
    /// Where parents may be
    #[arg(long, value_enum, default_value = "folder")]
    pub(crate) parents: ParentsArg,
    #[command(flatten)]
    pub(crate) tell: TellArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ResizeArgs {
    /// The image
    pub(crate) image: PathBuf,
    /// The new size, or +SIZE or -SIZE
    #[arg(value_parser = new_size, allow_hyphen_values = true)]
    pub(crate) size: NewSize,
    /// Allow to cut off what lies beyond a smaller size
    #[arg(long)]
    pub(crate) shrink: bool,
    #[command(flatten)]
    pub(crate) open: OpenArgs,
    #[command(flatten)]
    pub(crate) tell: TellArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CommitArgs {
    /// The image
    pub(crate) image: PathBuf,
    /// Leave the image as it is, instead of emptying it
    #[arg(short = 'd', long)]
    pub(crate) keep: bool,
    #[command(flatten)]
    pub(crate) open: OpenArgs,
    #[command(flatten)]
    pub(crate) tell: TellArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RebaseArgs {
    /// The image
    pub(crate) image: PathBuf,
    /// The new parent; "" for none
    #[arg(short, long, value_name = "PARENT")]
    pub(crate) backing: String,
    /// The parent's format
    #[arg(short = 'F', long, value_parser = format, value_name = "FORMAT")]
    pub(crate) backing_format: Option<Kind>,
    /// Only change the parent's name: for a parent that was moved
    #[arg(short, long = "unsafe")]
    pub(crate) rename: bool,
    #[command(flatten)]
    pub(crate) open: OpenArgs,
    #[command(flatten)]
    pub(crate) tell: TellArgs,
}

#[derive(Debug, Args)]
#[group(id = "action", required = true, multiple = false)]
pub(crate) struct SnapshotAction {
    /// List them
    #[arg(short, long)]
    pub(crate) list: bool,
    /// Take one
    #[arg(short, long, value_name = "NAME")]
    pub(crate) create: Option<String>,
    /// Go back to one
    #[arg(short, long, value_name = "NAME")]
    pub(crate) apply: Option<String>,
    /// Delete one
    #[arg(short, long, value_name = "NAME")]
    pub(crate) delete: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SnapshotArgs {
    #[command(flatten)]
    pub(crate) action: SnapshotAction,
    /// The image
    pub(crate) image: PathBuf,
    #[command(flatten)]
    pub(crate) open: OpenArgs,
    #[command(flatten)]
    pub(crate) tell: TellArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// One image
    pub(crate) first: PathBuf,
    /// The other
    pub(crate) second: PathBuf,
    #[command(flatten)]
    pub(crate) open: OpenArgs,
    /// The second image's format
    #[arg(short = 'F', long, value_parser = format, value_name = "FORMAT")]
    pub(crate) second_format: Option<Kind>,
    /// A longer disk differs, even if it has only zeros beyond the other's end
    #[arg(short, long)]
    pub(crate) strict: bool,
    #[command(flatten)]
    pub(crate) tell: TellArgs,
}

#[derive(Debug, Args)]
pub(crate) struct MapArgs {
    /// The image
    pub(crate) image: PathBuf,
    #[command(flatten)]
    pub(crate) open: OpenArgs,
    /// Write the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExtractArgs {
    /// The image
    pub(crate) image: PathBuf,
    /// The raw file to make; without it, the partitions are listed
    pub(crate) target: Option<PathBuf>,
    /// The partition to write
    #[arg(short, long, value_name = "N", conflicts_with_all = ["offset", "length"])]
    pub(crate) partition: Option<u32>,
    /// Where to begin
    #[arg(long, value_parser = parse_size, value_name = "SIZE")]
    pub(crate) offset: Option<u64>,
    /// How much to write
    #[arg(long, value_parser = parse_size, value_name = "SIZE")]
    pub(crate) length: Option<u64>,
    /// From this snapshot inside of the image
    #[arg(short = 'l', long, value_name = "NAME")]
    pub(crate) snapshot: Option<String>,
    #[command(flatten)]
    pub(crate) open: OpenArgs,
    #[command(flatten)]
    pub(crate) tell: TellArgs,
}
