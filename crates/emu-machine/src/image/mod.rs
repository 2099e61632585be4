//! Disk images: which formats there are, and the sectors behind an emulated drive.
//!
//! An image is never written unless its owner asked for it: by default what the guest writes goes into memory
//! ([`Mode::Overlay`]).

mod backend;
mod file;
mod geometry;
mod overlay;
mod probe;
mod spec;
mod through;

pub use backend::{Image, inspect_file, open, open_bytes};
pub use geometry::{FLOPPIES, FloppyFormat, floppy_of_size};
pub(crate) use overlay::{BLOCK, byte_offset, load_blocks, pieces, save_blocks};
pub use probe::{Content, probe};
pub use spec::{ImageSpec, Mode};

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
         `{path},size=1440K` fills it up with zeros"
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
