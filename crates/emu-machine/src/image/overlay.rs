//! An image whose file stays as it is: what the guest writes is kept in memory.

use std::collections::BTreeMap;

use emu_core::block::SECTOR_SIZE;
use emu_core::{BlockBackend, BlockError, StateError, StateReader, StateWriter};

use super::base::Base;

/// Bytes per block of the overlay: a page, so that a guest's scattered sectors don't cost much more than themselves.
pub(crate) const BLOCK: usize = 4096;

type Block = Box<[u8; BLOCK]>;

/// A base that is only read, and the blocks that differ from it.
#[derive(Debug)]
pub(super) struct Overlay {
    base: Base,
    sectors: u64,
    blocks: BTreeMap<u64, Block>,
}

impl Overlay {
    pub(super) fn new(base: Base, sectors: u64) -> Overlay {
        Overlay { base, sectors, blocks: BTreeMap::new() }
    }

    fn base_block(&self, number: u64) -> Result<Block, BlockError> {
        let mut block = Box::new([0; BLOCK]);
        self.base.read(number * BLOCK as u64, &mut block[..])?;
        Ok(block)
    }
}

/// Checks that `len` bytes from sector `lba` on lie on the medium; returns their byte offset.
pub(crate) fn byte_offset(sectors: u64, lba: u64, len: usize) -> Result<u64, BlockError> {
    let end = lba.checked_add((len / SECTOR_SIZE) as u64).ok_or(BlockError::OutOfRange(lba))?;
    if end > sectors || !len.is_multiple_of(SECTOR_SIZE) {
        return Err(BlockError::OutOfRange(lba.max(sectors)));
    }
    Ok(lba * SECTOR_SIZE as u64)
}

/// Cuts `[offset, offset + len)` at block edges: block number, start in the block, and range in the caller's buffer.
pub(crate) fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, core::ops::Range<usize>)> {
    let mut done = 0;
    core::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let within = (at % BLOCK as u64) as usize;
        let n = (len - done).min(BLOCK - within);
        done += n;
        Some((at / BLOCK as u64, within, done - n..done))
    })
}

/// Writes changed blocks as the canonical chunk of an image.
pub(crate) fn save_blocks<'a>(w: &mut StateWriter, sectors: u64, blocks: impl Iterator<Item = (u64, &'a [u8; BLOCK])>) {
    let (mut numbers, mut bytes) = (Vec::new(), Vec::new());
    for (number, block) in blocks {
        numbers.push(number);
        bytes.extend_from_slice(block);
    }
    w.chunk_with(*b"IMG ", 1, |w| {
        w.field(1, &sectors);
        w.field(2, &numbers);
        w.field(3, &bytes);
    });
}

/// Reads what [`save_blocks`] wrote, for an image of `sectors` sectors.
pub(crate) fn load_blocks(r: &mut StateReader<'_>, sectors: u64) -> Result<BTreeMap<u64, Block>, StateError> {
    let mut blocks = BTreeMap::new();
    r.chunk_with(*b"IMG ", 1, |r| {
        let (size, numbers, bytes): (u64, Vec<u64>, Vec<u8>) = (r.field(1)?, r.field(2)?, r.field(3)?);
        if size != sectors {
            return Err(r.invalid("it belongs to an image of another size"));
        }
        let beyond = |&n: &u64| n.checked_mul(BLOCK as u64).is_none_or(|at| at >= sectors * SECTOR_SIZE as u64);
        let (contents, rest) = bytes.as_chunks::<BLOCK>();
        if contents.len() != numbers.len() || !rest.is_empty() || numbers.iter().any(beyond) {
            return Err(r.invalid("its blocks do not match their list"));
        }
        blocks.extend(numbers.into_iter().zip(contents.iter().map(|c| Box::new(*c))));
        Ok(())
    })?;
    Ok(blocks)
}

impl BlockBackend for Overlay {
    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn read_only(&self) -> bool {
        false
    }

    fn read(&mut self, lba: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        let offset = byte_offset(self.sectors, lba, buf.len())?;
        self.base.read(offset, buf)?;
        if self.blocks.is_empty() {
            return Ok(());
        }
        for (number, within, range) in pieces(offset, buf.len()) {
            if let Some(block) = self.blocks.get(&number) {
                let n = range.len();
                buf[range].copy_from_slice(&block[within..within + n]);
            }
        }
        Ok(())
    }

    fn write(&mut self, lba: u64, buf: &[u8]) -> Result<(), BlockError> {
        let offset = byte_offset(self.sectors, lba, buf.len())?;
        for (number, within, range) in pieces(offset, buf.len()) {
            if !self.blocks.contains_key(&number) {
                let block = self.base_block(number)?;
                self.blocks.insert(number, block);
            }
            let block = self.blocks.get_mut(&number).expect("just inserted");
            block[within..within + range.len()].copy_from_slice(&buf[range]);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), BlockError> {
        Ok(())
    }

    /// Blocks that were written back to what the base holds are left out: equal contents are equal bytes.
    fn save(&self, w: &mut StateWriter) {
        let differs = |(number, block): &(&u64, &Block)| self.base_block(**number).map_or(true, |b| b != **block);
        save_blocks(w, self.sectors, self.blocks.iter().filter(differs).map(|(n, b)| (*n, &**b)));
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        self.blocks = load_blocks(r, self.sectors)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::Disk;
    use super::super::formats::raw::Raw;
    use super::super::memory::Memory;
    use super::*;

    fn disk() -> Overlay {
        let bytes = (0..40_960).map(|i| (i / 512) as u8).collect();
        let raw = Raw::open(Box::new(Memory::new("disk", bytes)));
        Overlay::new(Base::new(Disk::of(Box::new(raw), false), false), 80)
    }

    fn saved(disk: &Overlay) -> Vec<u8> {
        let mut w = StateWriter::new();
        disk.save(&mut w);
        w.into_bytes()
    }

    #[test]
    fn writes_show_and_neighbours_stay() {
        let mut d = disk();
        d.write(7, &[0xEE; 1024]).unwrap();
        let mut buf = [0; 2048];
        d.read(6, &mut buf).unwrap();
        let firsts: Vec<u8> = buf.chunks(512).map(|s| s[511]).collect();
        assert_eq!(firsts, [6, 0xEE, 0xEE, 9]);
    }

    #[test]
    fn the_end_is_the_end() {
        let mut d = disk();
        assert!(d.read(79, &mut [0; 512]).is_ok());
        assert_eq!(d.read(79, &mut [0; 1024]), Err(BlockError::OutOfRange(80)));
        assert!(d.write(u64::MAX, &[0; 512]).is_err());
    }

    #[test]
    fn equal_contents_have_equal_bytes() {
        let mut d = disk();
        let untouched = saved(&d);
        let mut original = [0; 512];
        d.read(3, &mut original).unwrap();
        d.write(3, &[1; 512]).unwrap();
        let changed = saved(&d);
        assert_ne!(changed, untouched);
        let mut other = disk();
        other.load(&mut StateReader::new(&changed)).unwrap();
        assert_eq!(saved(&other), changed);
        d.write(3, &original).unwrap();
        assert_eq!(saved(&d), untouched);
    }

    #[test]
    fn saved_blocks_beyond_the_end_are_refused() {
        let mut w = StateWriter::new();
        save_blocks(&mut w, 80, [(10, &[0; BLOCK])].into_iter());
        assert!(disk().load(&mut StateReader::new(&w.into_bytes())).is_err());
    }
}
