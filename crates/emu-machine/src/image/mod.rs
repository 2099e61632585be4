//! Disk images: the formats, and the sectors behind an emulated drive.
//!
//! An image is never written unless its owner asked for it: by default what the guest writes goes into memory
//! ([`Mode::Overlay`]).
//!
//! From below: a `Store` is bytes by position; a `Format` turns a virtual offset into a place in its stores, or into
//! none; a [`Disk`] is an image with its chain of parents; [`open`] puts that behind a drive (docs/adr/0011).

mod backend;
#[cfg(test)]
mod bad_input;
mod base;
mod damage;
mod disk;
mod files;
mod format;
mod formats;
mod geometry;
mod marks;
mod memory;
mod meta;
#[cfg(test)]
mod model;
pub mod ops;
mod overlay;
mod probe;
mod spec;
mod store;
mod through;

pub use backend::{Image, inspect, open, open_bytes};
pub use damage::exercise;
pub use disk::{Disk, Options};
pub use files::Parents;
pub use format::{Findings, Fix, Kind, Snapshot};
pub use geometry::{FLOPPIES, FloppyFormat, floppy_of_size, is_floppy_size};
pub(crate) use overlay::{BLOCK, byte_offset, load_blocks, pieces, save_blocks};
pub use probe::{Content, probe};
pub use spec::{ImageSpec, Mode, parse_format, parse_geometry};

use std::borrow::Cow;
use std::path::PathBuf;

/// What kind of drive an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// A diskette.
    Floppy,
    /// A hard disk.
    Disk,
    /// A CD-ROM: sectors of 2048 bytes, never written.
    Cd,
}

/// Why an image can't be used. Each message is one line, and says what to do where something can be done.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The host refuses.
    #[error("{path}: {reason}")]
    Host {
        /// The file.
        path: PathBuf,
        /// What the host says.
        reason: String,
    },
    /// A directory.
    #[error("{0} is a directory, not an image")]
    Directory(PathBuf),
    /// A socket, a pipe, a terminal.
    #[error("{0} is not a regular file or a block device")]
    NotAFile(PathBuf),
    /// No bytes.
    #[error("{0} is empty")]
    Empty(PathBuf),
    /// Half a sector at the end.
    #[error("{path} has {size} bytes, which is not a whole number of {sector}-byte sectors: is it truncated?")]
    Ragged {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// Bytes per sector.
        sector: u64,
    },
    /// A CD that is shorter than it says.
    #[error("{path} has {size} bytes, but its volume descriptor promises {promised}: it is truncated")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// The size that it should have.
        promised: u64,
    },
    /// Larger than any drive of its kind.
    #[error("{path} has {size} bytes, more than a {drive} can hold ({limit})")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// "floppy", "hard disk", "CD".
        drive: &'static str,
        /// The most bytes that such a drive holds.
        limit: u64,
    },
    /// No diskette has this size.
    #[error(
        "{path} has {size} bytes, which no floppy has (160K, 180K, 320K, 360K, 640K, 720K, 1200K, 1440K, 2880K); \
         `{path},size=1440K` fills it up with zeros, geometry=C/H/S is for other shapes"
    )]
    NoFloppySize {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// `size=` is smaller than the file.
    #[error("{path} has {size} bytes, more than its size={asked}")]
    LargerThanAsked {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// The size asked for.
        asked: u64,
    },
    /// A format that we know but can't read.
    #[error("{path}: the format {format} is not supported yet; {hint}")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The format's name.
        format: &'static str,
        /// What its owner can do.
        hint: &'static str,
    },
    /// Another process has the image open.
    #[error("{0} is in use by another emu")]
    InUse(PathBuf),
    /// A structure of a format makes no sense.
    #[error("{path}: {format} {structure} at {offset:#x}: {problem}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: Kind,
        /// The part of it.
        structure: &'static str,
        /// Where that lies in the file.
        offset: u64,
        /// What is wrong.
        problem: Cow<'static, str>,
    },
    /// Something that can't be done with this image.
    #[error("{path}: {why}")]
    NoWay {
        /// The file.
        path: PathBuf,
        /// Why, and what can be done instead.
        why: Cow<'static, str>,
    },
    /// An image names a file that it may not.
    #[error("{path} names the file {name}, which is not in its folder; parents=anywhere allows it")]
    Outside {
        /// The image.
        path: PathBuf,
        /// What it names.
        name: String,
    },
    /// A parent that is missing or broken.
    #[error("the parent of {path}: {error}")]
    Parent {
        /// The image.
        path: PathBuf,
        /// What is wrong with the parent.
        error: Box<ImageError>,
    },
    /// A parent that is not the one that the image was made on.
    #[error(
        "{path} was made on a parent with {wanted}, but {parent} has {found}: it was changed since, or is another file"
    )]
    WrongParent {
        /// The image.
        path: PathBuf,
        /// The parent that was found.
        parent: PathBuf,
        /// What the image expects.
        wanted: String,
        /// What the parent says.
        found: String,
    },
    /// Nothing that boots, when we were to guess.
    #[error(
        "{0} is nothing that emu can boot: no boot signature, no kernel, no known format \
         (use --floppy, --disk or --cdrom to attach it all the same)"
    )]
    NotBootable(PathBuf),
    /// `path,key=value` with a wrong key or value.
    #[error("{0}")]
    Spec(String),
}

impl ImageError {
    /// This error, as one of the parent of the image at `path`.
    fn in_parent_of(self, path: &std::path::Path) -> ImageError {
        match self {
            outside @ ImageError::Outside { .. } => outside,
            error => ImageError::Parent { path: path.to_owned(), error: Box::new(error) },
        }
    }

    fn host(path: &std::path::Path, e: &std::io::Error) -> ImageError {
        ImageError::Host { path: path.to_owned(), reason: reason(e) }
    }
}

/// An I/O error in words, without the number that the standard library appends.
#[must_use]
pub fn reason(e: &std::io::Error) -> String {
    let text = e.to_string();
    match text.find(" (os error") {
        Some(at) => text[..at].to_lowercase(),
        None => text,
    }
}
