//! Sparse extents: hosted ones, with redundant tables, and ESX's [VMDK Simple Extents, ESXi Host Sparse Extents].

use flate2::{Decompress, FlushDecompress};

use super::super::super::format::{Extent, Findings, Fix, Kind, Result, Where};
use super::super::super::meta::{Meta, Rank};
use super::super::super::store::Store;

pub(super) const SECTOR: u64 = 512;
/// The directory stands at the end, and a copy of the header with its place.
const AT_END: u64 = u64::MAX;
/// Flags of the hosted header.
pub(super) const REDUNDANT: u32 = 2;
pub(super) const ZEROED_GRAINS: u32 = 4;
pub(super) const COMPRESSED: u32 = 1 << 16;
pub(super) const MARKERS: u32 = 1 << 17;
/// Bits of the map of grains that a check makes, at most: 32 MiB.
const MOST_BITS: u64 = 1 << 28;

/// Bytes that a file may lack before its first grain.
const LARGEST_GAP: u64 = 16 << 20;

/// A sparse extent; its bytes are in one of the image's stores.
pub(super) struct Sparse {
    /// The number of its store.
    pub(super) file: usize,
    pub(super) meta: Meta,
    /// Bytes of the extent.
    pub(super) capacity: u64,
    pub(super) grain: u64,
    pub(super) flags: u32,
    /// Entries of a grain table.
    pub(super) entries: u64,
    pub(super) directory: u64,
    pub(super) redundant: Option<u64>,
    /// Where the embedded descriptor is.
    pub(super) descriptor: Option<(u64, u64)>,
    /// The first byte behind all that comes before the grains.
    pub(super) overhead: u64,
    /// ESX's kind, whose header says where free space begins.
    pub(super) is_esx: bool,
    /// Where the next grain goes, once it is known.
    next: Option<u64>,
    unpacked: (u64, Vec<u8>),
}

fn u32_at(b: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*b[at..].first_chunk().expect("in the header"))
}
fn u64_at(b: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*b[at..].first_chunk().expect("in the header"))
}

impl Sparse {
    pub(super) fn open(store: &dyn Store, file: usize) -> Result<Sparse> {
        let mut raw: [u8; 512] = store.read_array(0)?;
        let bad = |at: u64, why: String| store.bad(Kind::Vmdk, "sparse extent header", at, why);
        if &raw[..4] == b"COWD" {
            return Sparse::open_esx(store, file, &raw);
        }
        if &raw[..4] != b"KDMV" {
            return Err(bad(0, "it has no magic".into()));
        }
        let embedded = (u64_at(&raw, 28), u64_at(&raw, 36));
        if u64_at(&raw, 56) == AT_END {
            let at = store.len().saturating_sub(1024);
            raw = store.read_array(at)?;
            if &raw[..4] != b"KDMV" || u64_at(&raw, 56) == AT_END {
                return Err(bad(at, "the footer with the place of the directory is missing: is it truncated?".into()));
            }
        }
        let flags = u32_at(&raw, 8);
        if !(1..=3).contains(&u32_at(&raw, 4)) {
            return Err(bad(4, format!("version {} is none of 1 to 3", u32_at(&raw, 4))));
        }
        if flags & COMPRESSED != 0 && u16::from_le_bytes([raw[77], raw[78]]) != 1 {
            return Err(bad(77, "its compression is not deflate".into()));
        }
        let redundant = (flags & REDUNDANT != 0).then(|| u64_at(&raw, 48)).filter(|at| *at != 0);
        let bytes = |sectors: u64| sectors.saturating_mul(SECTOR);
        Sparse {
            file,
            meta: Meta::new(),
            capacity: bytes(u64_at(&raw, 12)),
            grain: bytes(u64_at(&raw, 20)),
            flags,
            entries: u64::from(u32_at(&raw, 44)),
            directory: bytes(u64_at(&raw, 56)),
            redundant: redundant.map(bytes),
            descriptor: (embedded.0 > 0).then(|| (bytes(embedded.0), bytes(embedded.1))),
            overhead: bytes(u64_at(&raw, 64)),
            is_esx: false,
            next: None,
            unpacked: (0, Vec::new()),
        }
        .judged(store)
    }

    fn open_esx(store: &dyn Store, file: usize, raw: &[u8; 512]) -> Result<Sparse> {
        let bytes = |at: usize| u64::from(u32_at(raw, at)) * SECTOR;
        let directory = bytes(20);
        Sparse {
            file,
            meta: Meta::new(),
            capacity: bytes(12),
            grain: bytes(16),
            flags: 0,
            entries: 4096,
            directory,
            redundant: None,
            descriptor: None,
            overhead: directory + (u64::from(u32_at(raw, 24)) * 4).next_multiple_of(SECTOR),
            is_esx: true,
            next: None,
            unpacked: (0, Vec::new()),
        }
        .judged(store)
    }

    fn judged(self, store: &dyn Store) -> Result<Sparse> {
        let bad = |at: u64, why: String| Err(store.bad(Kind::Vmdk, "sparse extent header", at, why));
        if !self.grain.is_power_of_two() || !(SECTOR..=2 << 20).contains(&self.grain) {
            return bad(20, format!("grains of {} bytes", self.grain));
        }
        if self.capacity == 0 || self.capacity > 64 << 40 {
            return bad(12, format!("an extent of {} bytes", self.capacity));
        }
        if !self.entries.is_power_of_two() || !(128..=4096).contains(&self.entries) {
            return bad(44, format!("grain tables of {} entries", self.entries));
        }
        // A new file may still lack the room before its first grain; much more would make it grow for nothing.
        if self.overhead > store.len() + LARGEST_GAP {
            return bad(64, format!("its grains begin at {:#x}, far behind its end", self.overhead));
        }
        for at in core::iter::once(self.directory).chain(self.redundant) {
            let end = at.checked_add(self.tables() * 4);
            if at < SECTOR || end.is_none_or(|end| end > store.len()) {
                return bad(56, format!("the directory of {} tables at {at:#x} is not in the file", self.tables()));
            }
        }
        Ok(self)
    }

    /// Grain tables that the extent has.
    pub(super) fn tables(&self) -> u64 {
        self.capacity.div_ceil(self.grain * self.entries)
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.flags & COMPRESSED != 0
    }

    fn word(&mut self, store: &dyn Store, at: u64) -> Result<u32> {
        Ok(u32::from_le_bytes(self.meta.get(store, at)?))
    }

    /// Where table `index` of the directory at `directory` is; 0 if there is none.
    fn table(&mut self, store: &dyn Store, directory: u64, index: u64) -> Result<u64> {
        let at = directory + index * 4;
        let table = u64::from(self.word(store, at)?) * SECTOR;
        if table != 0 && table + self.entries * 4 > store.len().max(self.next.unwrap_or(0)) {
            let why = format!("grain table {index} at {table:#x} is not in the file");
            return Err(store.bad(Kind::Vmdk, "grain directory", at, why));
        }
        Ok(table)
    }

    fn entry(&mut self, store: &dyn Store, offset: u64) -> Result<u32> {
        let grain = offset / self.grain;
        match self.table(store, self.directory, grain / self.entries)? {
            0 => Ok(0),
            table => self.word(store, table + grain % self.entries * 4),
        }
    }

    fn is_zero(&self, entry: u32) -> bool {
        entry == 1 && (self.flags & ZEROED_GRAINS != 0 || self.is_esx)
    }

    /// The position of a grain.
    fn position(&self, store: &dyn Store, offset: u64, entry: u32) -> Result<u64> {
        let pos = u64::from(entry) * SECTOR;
        if pos >= store.len().max(self.next.unwrap_or(0)) {
            let why = format!("the grain of offset {offset:#x} at {pos:#x} is not in the file: is it truncated?");
            return Err(store.bad(Kind::Vmdk, "grain table", pos, why));
        }
        Ok(pos)
    }

    /// What is at `offset` of the extent, within one grain.
    pub(super) fn lookup(&mut self, store: &dyn Store, offset: u64) -> Result<Extent> {
        let within = offset % self.grain;
        let len = (self.grain - within).min(self.capacity - offset);
        let entry = self.entry(store, offset)?;
        let place = match entry {
            0 => Where::Parent,
            e if self.is_zero(e) => Where::Zero,
            _ if self.is_compressed() => Where::Packed,
            e => Where::Data { file: self.file, pos: self.position(store, offset, e)? + within },
        };
        Ok(Extent { len, place })
    }

    /// Reads from within one compressed grain: a marker with sector and length, then a zlib stream.
    pub(super) fn unpack(&mut self, store: &dyn Store, offset: u64, buf: &mut [u8]) -> Result<()> {
        let entry = self.entry(store, offset)?;
        let pos = self.position(store, offset, entry)?;
        if self.unpacked.0 != pos {
            let marker: [u8; 12] = store.read_array(pos)?;
            let len = u64::from(u32_at(&marker, 8));
            let bad = |why: String| Err(store.bad(Kind::Vmdk, "grain marker", pos, why));
            let first = offset / self.grain * self.grain / SECTOR;
            if u64_at(&marker, 0) != first {
                return bad(format!("it is for sector {}, not for {first}", u64_at(&marker, 0)));
            }
            if len > self.grain * 2 + 1024 || pos + 12 + len > store.len() {
                return bad(format!("{len} compressed bytes are too many, or not in the file"));
            }
            let packed = store.read_vec(pos + 12, len as usize)?;
            let mut grain = vec![0; self.grain as usize];
            let mut tool = Decompress::new(true);
            let done = tool.decompress(&packed, &mut grain, FlushDecompress::Finish);
            let whole = self.grain.min(self.capacity - first * SECTOR);
            if done.is_err() || tool.total_out() < whole {
                return bad("its data do not unpack to a grain".into());
            }
            self.unpacked = (pos, grain);
        }
        let within = (offset % self.grain) as usize;
        buf.copy_from_slice(&self.unpacked.1[within..within + buf.len()]);
        Ok(())
    }

    /// Frees the memory of the grain that was unpacked last.
    pub(super) fn forget_unpacked(&mut self) {
        self.unpacked = (0, Vec::new());
    }

    /// Takes `len` bytes at the end of the file.
    pub(super) fn take(&mut self, store: &dyn Store, len: u64) -> Result<u64> {
        let at = self.next.unwrap_or_else(|| store.len().max(self.overhead)).next_multiple_of(self.grain);
        let end = at + len;
        if end / SECTOR > u64::from(u32::MAX) {
            return Err(store.no_way("a sparse extent can't grow beyond 2 TiB"));
        }
        store.resize(end)?;
        self.next = Some(end);
        if self.is_esx {
            self.meta.write(store, 28, &((end / SECTOR) as u32).to_le_bytes(), Rank::Claim)?;
        }
        Ok(at)
    }

    /// Makes the tables for `offset`, in each directory that has none.
    pub(super) fn make_tables(&mut self, store: &dyn Store, offset: u64) -> Result<()> {
        let index = offset / self.grain / self.entries;
        let directories: Vec<u64> = self.redundant.into_iter().chain([self.directory]).collect();
        for directory in directories {
            if self.table(store, directory, index)? == 0 {
                let table = self.take(store, self.entries * 4)?;
                self.meta.write(store, table, &vec![0; (self.entries * 4) as usize], Rank::Point)?;
                let sector = ((table / SECTOR) as u32).to_le_bytes();
                self.meta.write(store, directory + index * 4, &sector, Rank::Root)?;
            }
        }
        Ok(())
    }

    /// Space for the grains of `[offset, end)` as far as none of them is stored yet: the position of the first, and where
    /// they end. `None` if the first is stored.
    pub(super) fn take_grains(&mut self, store: &dyn Store, offset: u64, end: u64) -> Result<Option<(u64, u64)>> {
        let start = offset / self.grain * self.grain;
        let span = self.grain * self.entries;
        let limit = end.min((start / span + 1) * span).min(self.capacity);
        let mut to = start;
        while to < limit {
            let entry = self.entry(store, to)?;
            // One that was zeroed on purpose goes alone: it hides the parent, its neighbours do not.
            if entry != 0 && !(to == start && self.is_zero(entry)) {
                break;
            }
            to += self.grain;
            if entry != 0 {
                break;
            }
        }
        if to == start {
            return Ok(None);
        }
        Ok(Some((self.take(store, to - start)?, to)))
    }

    /// Whether the grain at `offset` was zeroed on purpose.
    pub(super) fn reads_zero(&mut self, store: &dyn Store, offset: u64) -> Result<bool> {
        let entry = self.entry(store, offset)?;
        Ok(self.is_zero(entry))
    }

    /// Sets the entry of the grain at `offset`, in the redundant table first.
    pub(super) fn put_entry(&mut self, store: &dyn Store, offset: u64, entry: u32) -> Result<()> {
        let grain = offset / self.grain;
        let (index, slot) = (grain / self.entries, grain % self.entries);
        if let Some(directory) = self.redundant {
            let table = self.table(store, directory, index)?;
            self.meta.write(store, table + slot * 4, &entry.to_le_bytes(), Rank::ClaimRoot)?;
        }
        let table = self.table(store, self.directory, index)?;
        self.meta.write(store, table + slot * 4, &entry.to_le_bytes(), Rank::Point)
    }

    /// Makes the grain at `offset` zeros, if the extent knows such grains.
    pub(super) fn zero_grain(&mut self, store: &dyn Store, offset: u64, has_parent: bool) -> Result<bool> {
        let entry = self.entry(store, offset)?;
        if self.is_zero(entry) || entry == 0 && !has_parent {
            return Ok(true);
        }
        if self.flags & ZEROED_GRAINS == 0 {
            return Ok(false);
        }
        self.make_tables(store, offset)?;
        self.put_entry(store, offset, 1)?;
        Ok(true)
    }

    /// Forgets all grains.
    pub(super) fn clear(&mut self, store: &dyn Store) -> Result<()> {
        for index in 0..self.tables() {
            for directory in self.redundant.into_iter().chain([self.directory]).collect::<Vec<_>>() {
                let table = self.table(store, directory, index)?;
                if table != 0 {
                    self.meta.write(store, table, &vec![0; (self.entries * 4) as usize], Rank::Point)?;
                }
            }
            if self.meta.is_full() {
                self.flush(store)?;
            }
        }
        self.flush(store)
    }

    pub(super) fn flush(&mut self, store: &dyn Store) -> Result<()> {
        store.flush()?;
        self.meta.write_back(store)
    }

    /// Whether all grains are in the file, none on another, and both tables say the same. Where only one of the two
    /// makes sense, the repair takes that.
    pub(super) fn check(&mut self, store: &dyn Store, fix: Fix, found: &mut Findings) -> Result<()> {
        found.blocks += self.capacity.div_ceil(self.grain);
        let bits = store.len() / self.grain + 1;
        let mut seen = vec![0u64; if bits <= MOST_BITS { bits.div_ceil(64) as usize } else { 0 }];
        let mut offset = 0;
        while offset < self.capacity {
            let index = offset / self.grain / self.entries;
            let table = self.table_or(store, self.directory, index, found)?;
            let spare = match self.redundant {
                Some(directory) => self.table_or(store, directory, index, found)?,
                None => 0,
            };
            if table == 0 && spare == 0 {
                offset = (index + 1) * self.entries * self.grain;
                continue;
            }
            let slot = offset / self.grain % self.entries * 4;
            let used = self.grain.min(self.capacity - offset);
            self.check_grain(store, [table, spare].map(|t| (t != 0).then_some(t + slot)), used, fix, &mut seen, found)?;
            if self.meta.is_full() && fix != Fix::Nothing {
                self.flush(store)?;
            }
            offset += self.grain;
        }
        found.end += store.len();
        if fix == Fix::Nothing { Ok(()) } else { self.flush(store) }
    }

    fn table_or(&mut self, store: &dyn Store, directory: u64, index: u64, found: &mut Findings) -> Result<u64> {
        let table = u64::from(self.word(store, directory + index * 4)?) * SECTOR;
        if table + self.entries * 4 > store.len() {
            found.error(format!("grain table {index} at {table:#x} is not in the file"));
            return Ok(0);
        }
        Ok(table)
    }

    fn check_grain(
        &mut self,
        store: &dyn Store,
        places: [Option<u64>; 2],
        used: u64,
        fix: Fix,
        seen: &mut [u64],
        found: &mut Findings,
    ) -> Result<()> {
        let mut words = [0; 2];
        for (word, place) in words.iter_mut().zip(places) {
            *word = place.map_or(Ok(0), |at| self.word(store, at))?;
        }
        let inside = |e: u32| u64::from(e) * SECTOR < store.len();
        let [main, spare] = words;
        let both = places[0].is_some() && places[1].is_some();
        let right = match (inside(main), inside(spare)) {
            (true, _) if places[0].is_some() => main,
            (_, true) if places[1].is_some() => spare,
            _ => 0,
        };
        let mut leak = false;
        if !inside(right) || !inside(main) {
            found.error(format!("a grain at {:#x} is not in the file", u64::from(main) * SECTOR));
        } else if both && main == 0 && spare != 0 {
            // What an interruption leaves: the redundant table is written first.
            leak = true;
            if fix == Fix::Nothing {
                found.leaks += 1;
                found.leaked_bytes += self.grain;
            }
        } else if both && main != spare {
            found.error(format!("the redundant grain table differs: {main:#x} and {spare:#x}"));
        }
        for (word, place) in words.into_iter().zip(places) {
            if let Some(at) = place.filter(|_| word != right && (fix == Fix::All || leak && fix == Fix::Leaks)) {
                self.meta.write(store, at, &right.to_le_bytes(), Rank::Point)?;
                found.fixed += u64::from(!leak);
            }
        }
        if right == 0 || self.is_zero(right) {
            return Ok(());
        }
        found.allocated += 1;
        found.compressed += u64::from(self.is_compressed());
        if !self.is_compressed() && u64::from(right) * SECTOR + used > store.len() {
            found.error(format!("the grain at {:#x} is cut off by the end of the file", u64::from(right) * SECTOR));
            if fix == Fix::All {
                store.resize(u64::from(right) * SECTOR + self.grain)?;
                found.fixed += 1;
            }
        }
        let bit = u64::from(right) * SECTOR / self.grain;
        if let Some(word) = seen.get_mut((bit / 64) as usize).filter(|_| !self.is_compressed()) {
            if *word >> (bit % 64) & 1 != 0 {
                found.error(format!("two grains lie at {:#x}", u64::from(right) * SECTOR));
            }
            *word |= 1 << (bit % 64);
        }
        Ok(())
    }
}
