//! An image whose file takes the guest's writes.

use std::collections::BTreeMap;

use emu_core::{BlockBackend, BlockError, StateError, StateReader, StateWriter};

use super::base::Base;
use super::overlay::{BLOCK, byte_offset, load_blocks, pieces, save_blocks};

/// A file that is written. The first contents of every block that changed are kept, so that the state can be saved as
/// the difference from the start, and put back.
#[derive(Debug)]
pub(super) struct Through {
    base: Base,
    sectors: u64,
    originals: BTreeMap<u64, Box<[u8; BLOCK]>>,
    /// Whether something was written since the last flush.
    dirty: bool,
}

impl Through {
    pub(super) fn new(base: Base, sectors: u64) -> Through {
        Through { base, sectors, originals: BTreeMap::new(), dirty: false }
    }

    fn block(&self, number: u64) -> Result<Box<[u8; BLOCK]>, BlockError> {
        let mut block = Box::new([0; BLOCK]);
        self.base.read(number * BLOCK as u64, &mut block[..])?;
        Ok(block)
    }

    /// Writes a whole block, cut where the medium ends.
    fn put_block(&mut self, number: u64, block: &[u8; BLOCK]) -> Result<(), BlockError> {
        let at = number * BLOCK as u64;
        self.dirty = true;
        let left = (self.sectors * 512).saturating_sub(at).min(BLOCK as u64) as usize;
        self.base.write(at, &block[..left])
    }
}

impl BlockBackend for Through {
    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn read_only(&self) -> bool {
        false
    }

    fn read(&mut self, lba: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        let offset = byte_offset(self.sectors, lba, buf.len())?;
        self.base.read(offset, buf)
    }

    fn write(&mut self, lba: u64, buf: &[u8]) -> Result<(), BlockError> {
        let offset = byte_offset(self.sectors, lba, buf.len())?;
        for (number, ..) in pieces(offset, buf.len()) {
            if !self.originals.contains_key(&number) {
                let original = self.block(number)?;
                self.originals.insert(number, original);
            }
        }
        self.dirty = true;
        self.base.write(offset, buf)
    }

    fn flush(&mut self) -> Result<(), BlockError> {
        if self.dirty {
            self.base.sync()?;
            self.dirty = false;
        }
        Ok(())
    }

    fn save(&self, w: &mut StateWriter) {
        let current: Vec<_> = self.originals.iter().filter_map(|(n, o)| Some((*n, self.block(*n).ok()?, o))).collect();
        let changed = current.iter().filter(|(_, now, original)| now != *original);
        save_blocks(w, self.sectors, changed.map(|(n, now, _)| (*n, &**now)));
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let blocks = load_blocks(r, self.sectors)?;
        for (number, original) in self.originals.clone() {
            self.put_block(number, &original).map_err(|_| r.invalid("the image file can't be written"))?;
        }
        for (number, block) in blocks {
            if !self.originals.contains_key(&number) {
                let original = self.block(number).map_err(|_| r.invalid("the image file can't be read"))?;
                self.originals.insert(number, original);
            }
            self.put_block(number, &block).map_err(|_| r.invalid("the image file can't be written"))?;
        }
        Ok(())
    }
}
