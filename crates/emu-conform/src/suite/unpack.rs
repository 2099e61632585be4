//! Reading a file, gzipped or not.

use std::io::Read;
use std::path::Path;

use super::SuiteError;

/// The most that a file may hold, unpacked. The largest files of the known suites have a tenth of it.
pub const MAX_UNPACKED: u64 = 1 << 30;

/// The contents of a file, unpacked if they are gzipped (by their content, whatever the file is called).
///
/// # Errors
/// The file can't be read; it is damaged; it is larger than [`MAX_UNPACKED`].
pub fn unpack(path: &Path) -> Result<Vec<u8>, SuiteError> {
    let failed = |e: std::io::Error| SuiteError::new(path, reason(&e));
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let mut start = [0; 2];
    let n = file.read(&mut start).map_err(failed)?;
    let source = (&start[..n]).chain(file);
    let mut bytes = Vec::new();
    let outcome = if start == [0x1F, 0x8B] {
        flate2::read::MultiGzDecoder::new(source).take(MAX_UNPACKED + 1).read_to_end(&mut bytes)
    } else {
        source.take(MAX_UNPACKED + 1).read_to_end(&mut bytes)
    };
    match outcome {
        Err(e) if start == [0x1F, 0x8B] => Err(SuiteError::at(
            path,
            bytes.len() as u64,
            format!("the gzip data is damaged or cut short: {}", reason(&e)),
        )),
        Err(e) => Err(SuiteError::at(path, bytes.len() as u64, reason(&e))),
        Ok(_) if bytes.len() as u64 > MAX_UNPACKED => {
            Err(SuiteError::new(path, format!("it holds more than {} MiB", MAX_UNPACKED >> 20)))
        }
        Ok(_) => Ok(bytes),
    }
}

/// The first bytes of a file's contents, as far as they can be had.
pub(super) fn start_of(path: &Path) -> Option<Vec<u8>> {
    let mut raw = Vec::new();
    std::fs::File::open(path).ok()?.take(8192).read_to_end(&mut raw).ok()?;
    if !raw.starts_with(&[0x1F, 0x8B]) {
        return Some(raw);
    }
    let mut start = vec![0; 256];
    let n = flate2::read::GzDecoder::new(raw.as_slice()).read(&mut start).ok()?;
    start.truncate(n);
    Some(start)
}

/// What the host says, without its error number.
pub(crate) fn reason(e: &std::io::Error) -> String {
    let text = e.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}
