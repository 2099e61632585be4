//! Firmware images: read, checked, and where they appear.

use std::path::Path;

use crate::image::reason;
use crate::machine::BuildError;
use crate::recording::Packed;

/// The largest firmware: what the chipset decodes below 4 GiB.
const MAX_FIRMWARE: u64 = 16 << 20;
/// The largest video BIOS: C0000h–CFFFFh.
const MAX_VIDEO: u64 = 64 << 10;

/// Reads a whole file, if it is not larger than `limit`.
pub(super) fn read_file(packed: &Packed, path: &Path, limit: u64) -> Result<Vec<u8>, BuildError> {
    if let Some(bytes) = packed.files.get(path).filter(|b| b.len() as u64 <= limit) {
        return Ok(bytes.to_vec());
    }
    let failed = |reason: String| BuildError::File { path: path.to_owned(), reason };
    let meta = std::fs::metadata(path).map_err(|e| failed(reason(&e)))?;
    if !meta.is_file() {
        return Err(failed("not a regular file".into()));
    }
    if meta.len() == 0 {
        return Err(failed("the file is empty".into()));
    }
    if meta.len() > limit {
        return Err(failed(format!("{} bytes are too many: at most {limit} fit", meta.len())));
    }
    std::fs::read(path).map_err(|e| failed(reason(&e)))
}

/// The bytes of the system firmware: a multiple of 64 KiB.
pub(super) fn read_firmware(packed: &Packed, path: &Path) -> Result<Vec<u8>, BuildError> {
    let bytes = read_file(packed, path, MAX_FIRMWARE)?;
    let size = bytes.len() as u64;
    if size.is_multiple_of(64 << 10) { Ok(bytes) } else { Err(BuildError::Firmware { path: path.to_owned(), size }) }
}

/// The bytes of a video BIOS.
pub(super) fn read_video_bios(packed: &Packed, path: &Path) -> Result<Vec<u8>, BuildError> {
    read_file(packed, path, MAX_VIDEO)
}
