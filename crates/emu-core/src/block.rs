//! What a disk controller needs of a disk image; the formats live in emu-machine.

use crate::state::{StateError, StateReader, StateWriter};

/// Bytes in a sector of the interface, whatever the medium's own block size is.
pub const SECTOR_SIZE: usize = 512;

/// Why an image could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Beyond the end.
    #[error("sector {0} is beyond the end of the image")]
    OutOfRange(u64),
    /// The image refuses writes.
    #[error("the image is write-protected")]
    ReadOnly,
    /// The host failed.
    #[error("{0}")]
    Host(String),
}

/// A disk image: sectors of 512 bytes.
pub trait BlockBackend: Send {
    /// Number of sectors.
    fn sectors(&self) -> u64;
    /// Whether writes are refused (the write-protect notch).
    fn read_only(&self) -> bool;
    /// Fills `buf` (whole sectors) from sector `lba` on.
    ///
    /// # Errors
    /// [`BlockError`]; the guest sees it as a medium error.
    fn read(&mut self, lba: u64, buf: &mut [u8]) -> Result<(), BlockError>;
    /// Writes `buf` (whole sectors) from sector `lba` on.
    ///
    /// # Errors
    /// [`BlockError`]; the guest sees it as a medium error.
    fn write(&mut self, lba: u64, buf: &[u8]) -> Result<(), BlockError>;
    /// Makes what was written durable.
    ///
    /// # Errors
    /// [`BlockError`].
    fn flush(&mut self) -> Result<(), BlockError>;
    /// Writes what differs from the image's start state, as a canonical chunk.
    fn save(&self, w: &mut StateWriter);
    /// Reads what [`Self::save`] wrote.
    ///
    /// # Errors
    /// Any [`StateError`].
    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError>;
}
