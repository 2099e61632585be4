//! Readers of test suites.
//!
//! Whatever a file holds, a reader never panics, and allocates no more than the file's own size accounts for.

mod cpu;
mod find;
pub mod hwvec;
pub mod json;
mod metadata;
pub mod moo;
mod unpack;

use std::path::{Path, PathBuf};

use crate::Case;
pub use cpu::SuiteCpu;
pub use find::{Format, Suite, find, stem};
pub use metadata::Metadata;
pub(crate) use unpack::reason;
pub use unpack::{MAX_UNPACKED, unpack};

/// What is wrong with a file of a suite. The message is one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuiteError {
    /// The file.
    pub path: PathBuf,
    /// Where in it: bytes from the start of its unpacked contents.
    pub offset: Option<u64>,
    /// What is wrong.
    pub what: String,
}

impl SuiteError {
    /// Something wrong with the file as a whole.
    #[must_use]
    pub fn new(path: &Path, what: impl Into<String>) -> SuiteError {
        SuiteError { path: path.to_owned(), offset: None, what: what.into() }
    }

    /// Something wrong at `offset` of the unpacked contents.
    #[must_use]
    pub fn at(path: &Path, offset: u64, what: impl Into<String>) -> SuiteError {
        SuiteError { path: path.to_owned(), offset: Some(offset), what: what.into() }
    }
}

impl std::fmt::Display for SuiteError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.offset {
            Some(at) => write!(f, "{}: at byte {at}: {}", self.path.display(), self.what),
            None => write!(f, "{}: {}", self.path.display(), self.what),
        }
    }
}

impl std::error::Error for SuiteError {}

/// A file of test cases, read one by one.
pub trait Cases {
    /// Reads the next case into `case`; false at the end of the file. After an error the file is over.
    ///
    /// # Errors
    /// [`SuiteError`].
    fn next(&mut self, case: &mut Case) -> Result<bool, SuiteError>;

    /// An error about the case that was read last.
    fn error_here(&self, what: String) -> SuiteError;
}
