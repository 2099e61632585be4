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
    /// Whether the contents may differ from the image's start state.
    fn changed(&self) -> bool {
        true
    }
    /// Writes what differs from the image's start state, as a canonical chunk.
    fn save(&self, w: &mut StateWriter);
    /// Reads what [`Self::save`] wrote.
    ///
    /// # Errors
    /// Any [`StateError`].
    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError>;
}

/// A disk in host memory: scratch disks and tests. All of its bytes are its saved state.
#[derive(Debug, Clone)]
pub struct RamDisk {
    bytes: Vec<u8>,
    read_only: bool,
}

impl RamDisk {
    /// A disk of `bytes`, filled up with zeros to a whole sector.
    #[must_use]
    pub fn new(mut bytes: Vec<u8>, read_only: bool) -> RamDisk {
        bytes.resize(bytes.len().next_multiple_of(SECTOR_SIZE), 0);
        RamDisk { bytes, read_only }
    }

    /// A writable disk of `sectors` zeroed sectors.
    #[must_use]
    pub fn zeroed(sectors: usize) -> RamDisk {
        RamDisk { bytes: vec![0; sectors * SECTOR_SIZE], read_only: false }
    }

    fn range(&self, lba: u64, len: usize) -> Result<core::ops::Range<usize>, BlockError> {
        let start = usize::try_from(lba).ok().and_then(|l| l.checked_mul(SECTOR_SIZE));
        let range = start.and_then(|s| Some(s..s.checked_add(len)?));
        range.filter(|r| r.end <= self.bytes.len()).ok_or(BlockError::OutOfRange(lba))
    }
}

impl BlockBackend for RamDisk {
    fn sectors(&self) -> u64 {
        (self.bytes.len() / SECTOR_SIZE) as u64
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn read(&mut self, lba: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        buf.copy_from_slice(&self.bytes[self.range(lba, buf.len())?]);
        Ok(())
    }

    fn write(&mut self, lba: u64, buf: &[u8]) -> Result<(), BlockError> {
        if self.read_only {
            return Err(BlockError::ReadOnly);
        }
        let range = self.range(lba, buf.len())?;
        self.bytes[range].copy_from_slice(buf);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), BlockError> {
        Ok(())
    }

    fn save(&self, w: &mut StateWriter) {
        w.chunk_with(*b"RAMD", 1, |w| w.field(1, &self.bytes));
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let len = self.bytes.len();
        let bytes = &mut self.bytes;
        r.chunk_with(*b"RAMD", 1, |r| {
            let saved: Vec<u8> = r.field(1)?;
            if saved.len() != len {
                return Err(r.invalid("it belongs to a disk of another size"));
            }
            *bytes = saved;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ram_disk_has_ends_and_a_notch() {
        let mut disk = RamDisk::zeroed(2);
        disk.write(1, &[7; 512]).unwrap();
        let mut back = [0; 1024];
        disk.read(0, &mut back).unwrap();
        assert_eq!((back[511], back[512]), (0, 7));
        assert_eq!(disk.read(1, &mut back), Err(BlockError::OutOfRange(1)));
        assert_eq!(disk.write(u64::MAX, &[0; 512]), Err(BlockError::OutOfRange(u64::MAX)));
        let mut protected = RamDisk::new(vec![1], true);
        assert_eq!((protected.sectors(), protected.write(0, &[0; 512])), (1, Err(BlockError::ReadOnly)));
    }
}
