//! Writing streamOptimized images: compressed grains behind each other, each table behind its grains, directory and footer
//! at the end [VMDK Stream-Optimized Compressed].

use flate2::{Compress, FlushCompress};

use super::super::super::format::{Packer, Result};
use super::super::super::store::Store;
use super::create::hosted_header;
use super::sparse::{SECTOR, Sparse};

/// Kinds of markers.
const TABLE: u32 = 1;
const DIRECTORY: u32 = 2;
const FOOTER: u32 = 3;

/// The image as far as it is written.
pub(super) struct Stream {
    at: u64,
    directory: Vec<u32>,
    /// The table that grains are still added to, and its number.
    table: Vec<u32>,
    number: u64,
    /// The end of what was written of the disk.
    done: u64,
}

/// A marker that is not a grain's: sectors that follow, and their kind.
fn marker(sectors: u64, kind: u32) -> [u8; 512] {
    let mut m = [0; 512];
    m[..8].copy_from_slice(&sectors.to_le_bytes());
    m[12..16].copy_from_slice(&kind.to_le_bytes());
    m
}

impl Stream {
    pub(super) fn begin(sparse: &Sparse, store: &dyn Store) -> Result<Stream> {
        let tables = sparse.capacity.div_ceil(sparse.grain * sparse.entries);
        if tables > 1 << 21 {
            return Err(store.no_way("a streamOptimized image of this size would need too large a directory"));
        }
        store.resize(sparse.overhead)?;
        Ok(Stream {
            at: sparse.overhead,
            directory: vec![0; tables as usize],
            table: vec![0; sparse.entries as usize],
            number: 0,
            done: 0,
        })
    }

    /// Adds the grain at `offset`, compressed.
    pub(super) fn add(&mut self, sparse: &Sparse, store: &dyn Store, offset: u64, packed: &[u8]) -> Result<()> {
        if offset < self.done || !offset.is_multiple_of(sparse.grain) {
            return Err(store.no_way("a streamOptimized image is written once, from its beginning to its end"));
        }
        let grain = offset / sparse.grain;
        if grain / sparse.entries != self.number {
            self.end_table(store)?;
            self.number = grain / sparse.entries;
        }
        let mut out = (offset / SECTOR).to_le_bytes().to_vec();
        out.extend_from_slice(&(packed.len() as u32).to_le_bytes());
        out.extend_from_slice(packed);
        out.resize(out.len().next_multiple_of(SECTOR as usize), 0);
        self.table[(grain % sparse.entries) as usize] = self.sector(store)?;
        self.put(store, &out)?;
        self.done = offset + sparse.grain;
        Ok(())
    }

    fn sector(&self, store: &dyn Store) -> Result<u32> {
        u32::try_from(self.at / SECTOR).map_err(|_| store.no_way("a streamOptimized image can't exceed 2 TiB"))
    }

    fn put(&mut self, store: &dyn Store, bytes: &[u8]) -> Result<()> {
        store.write(self.at, bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn words(&mut self, store: &dyn Store, words: &[u32], kind: u32) -> Result<u32> {
        let mut bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        bytes.resize(bytes.len().next_multiple_of(SECTOR as usize), 0);
        self.put(store, &marker(bytes.len() as u64 / SECTOR, kind))?;
        let sector = self.sector(store)?;
        self.put(store, &bytes)?;
        Ok(sector)
    }

    fn end_table(&mut self, store: &dyn Store) -> Result<()> {
        if self.table.iter().any(|e| *e != 0) {
            let len = self.table.len();
            let table = core::mem::replace(&mut self.table, vec![0; len]);
            self.directory[self.number as usize] = self.words(store, &table, TABLE)?;
        }
        Ok(())
    }

    /// Directory, footer, end of stream.
    pub(super) fn end(mut self, sparse: &Sparse, store: &dyn Store) -> Result<()> {
        self.end_table(store)?;
        let directory = core::mem::take(&mut self.directory);
        let sector = self.words(store, &directory, DIRECTORY)?;
        self.put(store, &marker(1, FOOTER))?;
        let mut header = hosted_header(sparse.capacity, sparse.flags, sparse.overhead / SECTOR);
        header[56..64].copy_from_slice(&u64::from(sector).to_le_bytes());
        self.put(store, &header)?;
        self.put(store, &marker(0, 0))?;
        store.flush()
    }
}

/// Compresses grains.
pub(super) struct GrainPacker {
    grain: usize,
    tool: Compress,
}

impl GrainPacker {
    pub(super) fn new(grain: u64) -> GrainPacker {
        GrainPacker { grain: grain as usize, tool: Compress::new(flate2::Compression::default(), true) }
    }
}

impl Packer for GrainPacker {
    /// Grains are always stored compressed, even if that makes them larger.
    fn pack(&mut self, block: &[u8]) -> Option<Vec<u8>> {
        let mut padded = block.to_vec();
        padded.resize(self.grain, 0);
        let mut out = vec![0; padded.len() + padded.len() / 8 + 128];
        self.tool.reset();
        self.tool.compress(&padded, &mut out, FlushCompress::Finish).ok()?;
        out.truncate(self.tool.total_out() as usize);
        Some(out)
    }
}
