//! Recordings: a run in one file, that plays again on any host. docs/FORMAT-recording.md describes the bytes.
//!
//! A recording holds what a run depends on: the machine's configuration, its files and disks by digest (or whole), and
//! every input with its tick. Hashes of the machine's state at regular ticks, its *spine*, tell whether a replay is the same
//! run. It is written in frames while the machine runs, so that a file which was cut off plays as far as it goes.

mod frame;
mod packed;
mod reader;
mod wire;
mod writer;

pub use packed::{Packed, PackedImage};
pub use reader::{Point, Recording, Tail};
pub use writer::Recorder;

use std::path::{Path, PathBuf};

/// Version of the format that this emu writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// Whether the file begins as recordings do.
#[must_use]
pub fn is_recording(path: &Path) -> bool {
    use std::io::Read;
    let mut head = [0; frame::MAGIC.len()];
    std::fs::File::open(path).and_then(|mut f| f.read_exact(&mut head)).is_ok() && head == frame::MAGIC
}

/// Why something can't be recorded or replayed. Each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The host refuses.
    #[error("{path}: {reason}")]
    Host {
        /// The file.
        path: PathBuf,
        /// What the host says.
        reason: String,
    },
    /// Another kind of file.
    #[error("{0} is no recording of emu")]
    Foreign(PathBuf),
    /// A file that would be lost.
    #[error("{0} exists and is no recording: it is left alone")]
    InTheWay(PathBuf),
    /// Written by another version.
    #[error("{path} is a recording of format {found}; this emu reads format {VERSION}")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// So much is wrong that nothing of it can be played.
    #[error("{path} is damaged at byte {at}: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        at: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// The start is not there.
    #[error("{path} ends at byte {at}, before the run begins: there is nothing to replay")]
    TooShort {
        /// The file.
        path: PathBuf,
        /// Its size.
        at: u64,
    },
    /// A file of the machine is not what it was.
    #[error("{file} is not what it was when {recording} was made{detail}")]
    Changed {
        /// The file of the machine.
        file: PathBuf,
        /// The recording.
        recording: PathBuf,
        /// What is different.
        detail: String,
    },
    /// Something that no recording could hold.
    #[error("{0}")]
    Refused(String),
}

impl RecordingError {
    fn host(path: &Path, e: &std::io::Error) -> RecordingError {
        RecordingError::Host { path: path.to_owned(), reason: crate::image::reason(e) }
    }
}
