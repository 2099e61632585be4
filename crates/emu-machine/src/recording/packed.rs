//! Files and disks that a recording brings with it, in place of those of the host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use emu_core::{BlockBackend, BlockError, StateError, StateReader, StateWriter};

use crate::image::{BLOCK, byte_offset, load_blocks, pieces, save_blocks};

/// A block, apart from the map that holds it.
type Block = Box<[u8; BLOCK]>;

/// What a machine finds in a recording, by the names that the files had where it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// Firmware, kernels, initial RAM disks, modules.
    pub files: BTreeMap<PathBuf, Arc<[u8]>>,
    /// Disk images.
    pub images: BTreeMap<PathBuf, Arc<PackedImage>>,
}

impl Packed {
    /// The image at `path`, if the recording has it.
    #[must_use]
    pub fn image(&self, path: &Path) -> Option<Box<dyn BlockBackend>> {
        let image = self.images.get(path)?;
        Some(Box::new(PackedDisk { image: Arc::clone(image), changed: BTreeMap::new() }))
    }
}

/// The blocks of an image that a run has used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackedImage {
    /// Sectors of 512 bytes.
    pub sectors: u64,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Blocks; at the end of the image, filled up with zeros.
    pub blocks: BTreeMap<u64, Block>,
}

/// A drive's view of a packed image: what it writes stays in memory.
struct PackedDisk {
    image: Arc<PackedImage>,
    changed: BTreeMap<u64, Block>,
}

impl PackedDisk {
    fn block(&self, number: u64) -> Result<&[u8; BLOCK], BlockError> {
        let found = self.changed.get(&number).or_else(|| self.image.blocks.get(&number));
        // A run that is the same as the recorded one uses no other blocks.
        let missing = || BlockError::Host(format!("the recording does not hold block {number} of this image"));
        found.map(|b| &**b).ok_or_else(missing)
    }
}

impl BlockBackend for PackedDisk {
    fn sectors(&self) -> u64 {
        self.image.sectors
    }

    fn read_only(&self) -> bool {
        self.image.read_only
    }

    fn read(&mut self, lba: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        let offset = byte_offset(self.image.sectors, lba, buf.len())?;
        for (number, within, range) in pieces(offset, buf.len()) {
            let n = range.len();
            buf[range].copy_from_slice(&self.block(number)?[within..within + n]);
        }
        Ok(())
    }

    fn write(&mut self, lba: u64, buf: &[u8]) -> Result<(), BlockError> {
        if self.image.read_only {
            return Err(BlockError::ReadOnly);
        }
        let offset = byte_offset(self.image.sectors, lba, buf.len())?;
        for (number, within, range) in pieces(offset, buf.len()) {
            let mut block = Box::new(*self.block(number)?);
            block[within..within + range.len()].copy_from_slice(&buf[range]);
            self.changed.insert(number, block);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), BlockError> {
        Ok(())
    }

    /// As every image saves what differs from its start.
    fn save(&self, w: &mut StateWriter) {
        let differs = |(n, b): &(&u64, &Block)| self.image.blocks.get(*n) != Some(*b);
        save_blocks(w, self.image.sectors, self.changed.iter().filter(differs).map(|(n, b)| (*n, &**b)));
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        self.changed = load_blocks(r, self.image.sectors)?;
        Ok(())
    }
}
