//! Writing result files so that nobody ever finds half of one.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::suite::reason;

/// Why a file can't be written. The message is one line.
#[derive(Debug, thiserror::Error)]
#[error("can't write {}: {reason}", path.display())]
pub struct WriteError {
    /// The file.
    pub path: PathBuf,
    /// What the host says.
    pub reason: String,
}

/// Writes `bytes` into a file beside `path`, makes sure that they are on the disk, and then gives it the name `path`. A
/// path that exists and is no plain file (a terminal, a pipe, `/dev/full`) is written as it is.
///
/// # Errors
/// Any step that fails; the file beside is gone then, and what `path` held before is still there.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    let failed = |e: std::io::Error| WriteError { path: path.to_owned(), reason: reason(&e) };
    if std::fs::metadata(path).is_ok_and(|m| !m.is_file()) {
        let mut file = std::fs::OpenOptions::new().write(true).open(path).map_err(failed)?;
        return file.write_all(bytes).and_then(|()| file.flush()).map_err(failed);
    }
    // Through a link to where it leads, so that the link stays.
    let whole = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut name = whole.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let beside = whole.with_file_name(name);
    let write = || {
        let mut file = std::fs::File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&beside, &whole)
    };
    write().map_err(|e| {
        let _ = std::fs::remove_file(&beside);
        failed(e)
    })
}
