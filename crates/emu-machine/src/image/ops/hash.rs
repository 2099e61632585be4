//! Hashes of a disk's contents, whatever format they lie in.

use sha2::{Digest, Sha256};

use super::super::disk::Disk;
use super::super::format::Result;

/// Bytes hashed at a time.
const PIECE: u64 = 1 << 20;

/// The SHA-256 of all bytes of the disk, as of a raw image with the same contents. `each` is told the bytes that are done.
///
/// # Errors
/// Any [`super::super::ImageError`] of reading.
pub fn sha256(disk: &mut Disk, each: &mut dyn FnMut(u64)) -> Result<String> {
    let mut hash = Sha256::new();
    let mut buf = vec![0; PIECE as usize];
    let mut at = 0;
    while at < disk.size() {
        let n = PIECE.min(disk.size() - at) as usize;
        disk.read(at, &mut buf[..n])?;
        hash.update(&buf[..n]);
        at += n as u64;
        each(at);
    }
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}
