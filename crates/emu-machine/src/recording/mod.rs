//! Recordings: a run in one file, that plays again on any host. docs/FORMAT-recording.md describes the bytes.
//!
//! A recording holds what a run depends on: the machine's configuration, its files and disks by digest (or whole), and
//! every input with its tick. Hashes of the machine's state at regular ticks, its *spine*, tell whether a replay is the same
//! run. It is written in frames while the machine runs, so that a file which was cut off plays as far as it goes.

mod checkpoints;
mod delta;
mod frame;
mod old;
mod packed;
mod reader;
mod snapshot;
mod strip;
#[cfg(test)]
mod tests;
mod wire;
mod writer;

pub use packed::{Packed, PackedImage};
pub use reader::{Point, Recording, Tail};
pub use snapshot::{Snapshot, save_past};
pub use strip::strip;
pub use writer::Recorder;

use std::io::Read;
use std::path::{Path, PathBuf};

/// Version of the format that this emu writes, and the newest that it reads.
pub const VERSION: u32 = 3;
/// The oldest that it reads.
pub const OLDEST: u32 = 1;

/// Whether the file begins as recordings do.
#[must_use]
pub fn is_recording(path: &Path) -> bool {
    Form::of_file(path) == Some(Form::Recording)
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
    #[error("{path} is no {wanted} of emu{}", hint(path))]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What was wanted.
        wanted: Form,
    },
    /// A file that would be lost.
    #[error("{path} exists and is no {wanted}: it is left alone")]
    InTheWay {
        /// The file.
        path: PathBuf,
        /// What was to be written.
        wanted: Form,
    },
    /// Written by another version.
    #[error("{path} is a recording of format {found}; this emu reads formats {OLDEST} to {VERSION}")]
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

/// What a file of this format holds. They differ in their first bytes, and in what must be in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A run.
    Recording,
    /// One state of a machine.
    Snapshot,
}

impl Form {
    /// The file's first bytes.
    pub(crate) fn magic(self) -> [u8; 8] {
        match self {
            Form::Recording => *b"EMUREC\x1A\n",
            Form::Snapshot => *b"EMUSNP\x1A\n",
        }
    }

    /// What the file at `path` is, if it is one of ours.
    #[must_use]
    pub fn of_file(path: &Path) -> Option<Form> {
        let mut magic = [0; 8];
        if !std::fs::metadata(path).ok()?.is_file() {
            return None; // opening a pipe would wait
        }
        std::fs::File::open(path).ok()?.read_exact(&mut magic).ok()?;
        [Form::Recording, Form::Snapshot].into_iter().find(|f| f.magic() == magic)
    }
}

impl core::fmt::Display for Form {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Form::Recording => "recording",
            Form::Snapshot => "snapshot",
        })
    }
}

/// What to do with a file of the other form.
fn hint(path: &Path) -> &'static str {
    match Form::of_file(path) {
        Some(Form::Snapshot) => ": it is a snapshot, for `emu run`",
        Some(Form::Recording) => ": it is a recording, for `emu replay`",
        None => "",
    }
}

impl RecordingError {
    fn host(path: &Path, e: &std::io::Error) -> RecordingError {
        RecordingError::Host { path: path.to_owned(), reason: crate::image::reason(e) }
    }
}
