//! Another size, with more room for the map if it needs that.

use super::super::super::format::{Format as _, Result};
use super::super::super::meta::Rank;
use super::{DISCARDED, STATIC, TAKEN, UNUSED, Vdi};

/// Where the header has the places of map and data, the disk's size and the number of blocks.
const MAP: u64 = 0x154;
const DATA: u64 = 0x158;
const SIZE: u64 = 0x170;
const BLOCKS: u64 = 0x180;
/// Bytes that are copied at once, and entries that are written at once.
const COPIED: u64 = 1 << 20;
const ENTRIES: u64 = 1 << 16;

impl Vdi {
    pub(super) fn change_size(&mut self, size: u64) -> Result<()> {
        let blocks = size.div_ceil(self.block);
        if size == 0 || !size.is_multiple_of(512) || blocks >= 1 << 29 {
            return Err(self.store.no_way("a VDI disk has whole sectors, in less than 2^29 blocks"));
        }
        self.begin_writing()?;
        if blocks > self.blocks {
            return self.more_blocks(blocks, size);
        }
        for index in blocks..self.size.div_ceil(self.block) {
            self.put_entry(index, UNUSED)?;
        }
        self.size = size;
        self.meta.write(&*self.store, SIZE, &size.to_le_bytes(), Rank::Root)?;
        self.flush()
    }

    /// Entries count blocks from where the data begin. So the map gets its room from the first blocks: those move to the
    /// end, the new map is written where they were, and one write of the header makes all of that true.
    fn more_blocks(&mut self, blocks: u64, size: u64) -> Result<()> {
        let fits = self.map + blocks * 4 <= self.data;
        let shift = if fits { 0 } else { (blocks * 4).div_ceil(self.block) };
        let data = self.data + shift * self.block;
        if data > u64::from(u32::MAX) {
            return Err(self
                .store
                .no_way("its map would reach beyond 4 GiB: emu disk convert with a larger block_size"));
        }
        if shift > 0 {
            self.empty_first(shift)?;
        }
        self.flush()?;
        let taken = self.taken.max(shift) - shift;
        let map = if fits { self.map } else { self.data };
        let taken = self.write_map(map, blocks, shift, taken)?;
        self.store.resize(data + taken * self.block)?;
        self.store.flush()?;
        self.meta.forget();
        let words = [(MAP, map), (DATA, data), (BLOCKS, blocks), (TAKEN, taken)];
        for (at, word) in words {
            self.meta.write(&*self.store, at, &(word as u32).to_le_bytes(), Rank::Root)?;
        }
        self.meta.write(&*self.store, SIZE, &size.to_le_bytes(), Rank::Root)?;
        (self.map, self.data, self.blocks, self.taken, self.size) = (map, data, blocks, taken, size);
        self.flush()
    }

    /// Moves the blocks that lie in the first `count` places behind all others.
    fn empty_first(&mut self, count: u64) -> Result<()> {
        let mut next = self.taken.max(count);
        for index in 0..self.blocks {
            let entry = self.entry(index)?;
            if u64::from(entry) >= count {
                continue;
            }
            if next >= u64::from(DISCARDED) {
                return Err(self.store.no_way("it has no numbers left for its blocks"));
            }
            let (from, to) = (self.data + u64::from(entry) * self.block, self.data + next * self.block);
            self.store.resize(to + self.block)?;
            let mut piece = vec![0; COPIED.min(self.block) as usize];
            for at in (0..self.block).step_by(piece.len()) {
                self.store.read(from + at, &mut piece)?;
                self.store.write(to + at, &piece)?;
            }
            self.put_entry(index, next as u32)?;
            next += 1;
            self.taken = next;
            self.count_first = true;
            self.meta.write(&*self.store, TAKEN, &(next as u32).to_le_bytes(), Rank::Claim)?;
            if self.meta.is_full() {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Writes the map of `blocks` entries at `map`, for data that begin `shift` blocks later, as far as it is not there;
    /// returns how many blocks are taken then: of a static image, all.
    fn write_map(&mut self, map: u64, blocks: u64, shift: u64, mut taken: u64) -> Result<u64> {
        let first = if shift == 0 { self.blocks } else { 0 };
        let mut index = first;
        while index < blocks {
            let start = index;
            let mut bytes = Vec::new();
            while index < blocks && index - start < ENTRIES {
                let entry = match () {
                    () if index < self.blocks => self.entry(index)?,
                    () if self.kind == STATIC => {
                        taken += 1;
                        (taken - 1 + shift) as u32
                    }
                    () => UNUSED,
                };
                let moved = if entry < DISCARDED { entry - shift as u32 } else { entry };
                bytes.extend(moved.to_le_bytes());
                index += 1;
            }
            self.store.write(map + start * 4, &bytes)?;
        }
        Ok(taken)
    }
}
