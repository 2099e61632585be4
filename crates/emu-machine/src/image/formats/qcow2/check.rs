//! Counting what all tables use, and comparing that with the reference counts.
//!
//! The counts of one stretch of the file are held at a time, so that memory stays bounded whatever the image's size.

use super::super::super::format::{Findings, Fix, Result};
use super::super::super::meta::Rank;
use super::header::{BITMAPS, CORRUPT, DATA_FILE, DIRTY, EXT_BITMAPS};
use super::refcount::block_bytes;
use super::snapshot::table_bytes;
use super::table::{COPIED, Entry, OFFSET, ZERO};
use super::{L1, Qcow2};

/// Clusters counted at a time.
const STRETCH: u64 = 1 << 22;
/// Clusters beyond the file's end that are still looked at, for pointers that lead out of it.
const BEYOND: u64 = 1;

/// Uses of the clusters of a stretch.
struct Counts {
    first: u64,
    uses: Vec<u32>,
    bits: u32,
}

impl Counts {
    fn add(&mut self, offset: u64, len: u64) {
        if len == 0 {
            return;
        }
        let (from, to) = (offset >> self.bits, (offset + len - 1) >> self.bits);
        let last = self.first + self.uses.len() as u64;
        for cluster in from.max(self.first)..(to + 1).min(last) {
            let uses = &mut self.uses[(cluster - self.first) as usize];
            *uses = uses.saturating_add(1);
        }
    }
}

/// What a walk over the tables is to do.
struct Walk<'a> {
    counts: &'a mut Counts,
    /// Where errors go; only the first walk tells them.
    found: Option<&'a mut Findings>,
    /// Whether pointers that lead nowhere are removed.
    mend: bool,
    /// Whether the reference structures themselves are counted.
    structures: bool,
}

impl Qcow2 {
    pub(super) fn check_all(&mut self, fix: Fix) -> Result<Findings> {
        let mut found = Findings { blocks: self.l1.size.div_ceil(self.h.cluster()), ..Findings::default() };
        if fix != Fix::Nothing {
            self.writing = true;
        }
        let broken = self.judge_blocks(&mut found)?;
        let dirty = self.h.incompatible & DIRTY != 0;
        let fix_all = fix == Fix::All;
        let clusters = self.store.len().div_ceil(self.h.cluster()) + BEYOND;
        let mut rebuild = fix_all && (broken || dirty);
        let mut wrong = 0;
        for first in (0..clusters).step_by(STRETCH as usize) {
            let mut counts = self.counts(first, clusters);
            let told = (first == 0).then_some(&mut found);
            let mend = fix_all && first == 0;
            self.walk(Walk { counts: &mut counts, found: told, mend, structures: true })?;
            wrong += self.compare(&counts, fix, &mut found)?;
        }
        rebuild |= fix_all && wrong > 0;
        if rebuild {
            self.rebuild()?;
            found.fixed += wrong;
        }
        if fix != Fix::Nothing {
            self.flush_counts()?;
            self.finish_repair(fix_all, &mut found)?;
        }
        found.end = self.store.len();
        Ok(found)
    }

    fn counts(&self, first: u64, clusters: u64) -> Counts {
        let n = STRETCH.min(clusters - first) as usize;
        Counts { first, uses: vec![0; n], bits: self.h.cluster_bits }
    }

    fn flush_counts(&mut self) -> Result<()> {
        self.look_again();
        self.write_back()
    }

    /// Flags and header bits, once the counts are right.
    fn finish_repair(&mut self, all: bool, found: &mut Findings) -> Result<()> {
        self.recent = None;
        if all {
            self.refresh_copied()?;
            self.write_back()?;
            if self.h.incompatible & (DIRTY | CORRUPT) != 0 {
                self.h.incompatible &= !(DIRTY | CORRUPT);
                self.put_header(72, &self.h.incompatible.to_be_bytes())?;
            }
            found.fixed += found.error_count;
            found.errors.clear();
            found.error_count = 0;
        }
        Ok(())
    }

    /// Whether the blocks of reference counts are where they can be.
    fn judge_blocks(&mut self, found: &mut Findings) -> Result<bool> {
        let (cluster, end) = (self.h.cluster(), self.store.len());
        let mut broken = false;
        for index in 0..self.rt_entries() {
            let at = self.h.rt_offset + index * 8;
            let block = u64::from_be_bytes(self.meta.get(&*self.store, at)?);
            if block % cluster != 0 || block >= end {
                found.error(format!("reference count block {index} at {block:#x} is not in the file"));
                broken = true;
            }
        }
        Ok(broken)
    }

    /// Compares counts; returns how many are too low.
    fn compare(&mut self, counts: &Counts, fix: Fix, found: &mut Findings) -> Result<u64> {
        let mut low = 0;
        for (i, &uses) in counts.uses.iter().enumerate() {
            let cluster = counts.first + i as u64;
            let Ok(count) = self.refcount(cluster) else {
                low += 1;
                continue;
            };
            let uses = u64::from(uses);
            if count > uses {
                found.leaks += 1;
                found.leaked_bytes += self.h.cluster();
                if fix != Fix::Nothing && self.set_refcount(cluster, uses).is_ok() {
                    found.fixed += 1;
                    found.leaks -= 1;
                    found.leaked_bytes -= self.h.cluster();
                }
            } else if count < uses {
                low += 1;
                found.error(format!("cluster {cluster} is used {uses} times, its reference count is {count}"));
            }
            if self.meta.is_full() && fix != Fix::Nothing {
                self.write_back()?;
            }
        }
        Ok(low)
    }

    /// Visits everything that takes space.
    fn walk(&mut self, mut w: Walk<'_>) -> Result<()> {
        let cluster = self.h.cluster();
        w.counts.add(0, cluster);
        self.walk_tree(self.active(), true, &mut w)?;
        for i in 0..self.snaps.len() {
            let l1 = self.snaps[i].l1;
            self.walk_tree(l1, false, &mut w)?;
        }
        w.counts.add(self.h.snapshots_offset, table_bytes(&self.snaps));
        self.walk_bitmaps(&mut w)?;
        if !w.structures {
            return Ok(());
        }
        w.counts.add(self.h.rt_offset, u64::from(self.h.rt_clusters) * cluster);
        for index in 0..self.rt_entries() {
            let block = u64::from_be_bytes(self.meta.get(&*self.store, self.h.rt_offset + index * 8)?);
            if block != 0 && block % cluster == 0 {
                w.counts.add(block, 1);
            }
        }
        Ok(())
    }

    fn active(&self) -> L1 {
        L1 { offset: self.h.l1_offset, entries: u64::from(self.h.l1_size), size: self.h.size }
    }

    fn walk_tree(&mut self, l1: L1, active: bool, w: &mut Walk<'_>) -> Result<()> {
        w.counts.add(l1.offset, l1.entries * 8);
        let (cluster, end) = (self.h.cluster(), self.store.len());
        for index in 0..l1.entries {
            let at = l1.offset + index * 8;
            let entry = u64::from_be_bytes(self.meta.get(&*self.store, at)?);
            let table = entry & OFFSET;
            if table == 0 {
                continue;
            }
            if !table.is_multiple_of(cluster) || table + cluster > end {
                if let Some(found) = &mut w.found {
                    found.error(format!("L2 table {index} at {table:#x} is not in the file"));
                }
                if w.mend {
                    self.meta.write(&*self.store, at, &[0; 8], Rank::Root)?;
                }
                continue;
            }
            w.counts.add(table, 1);
            if active && w.found.is_some() {
                self.judge_copied(entry, table, "L2 table", w)?;
            }
            for slot in 0..self.h.per_l2() {
                self.walk_entry(table + slot * self.h.entry_bytes(), active, w)?;
            }
            if w.mend && self.meta.is_full() {
                self.write_back()?;
            }
        }
        Ok(())
    }

    fn walk_entry(&mut self, at: u64, active: bool, w: &mut Walk<'_>) -> Result<()> {
        let entry = self.entry_at(at)?;
        if entry == Entry::default() {
            return Ok(());
        }
        let (cluster, end) = (self.h.cluster(), self.store.len());
        let stored = self.is_stored(entry);
        let (offset, len) = if entry.is_packed() { self.packed_range(entry) } else { (entry.offset(), 1) };
        let in_data = self.h.incompatible & DATA_FILE != 0;
        let aligned = entry.is_packed() || offset % cluster == 0;
        let wrong = match () {
            () if !entry.is_packed() && !aligned => Some("is not aligned"),
            () if (stored || entry.is_packed()) && !in_data && offset >= end => Some("is beyond the end of the file"),
            () if self.extended() && entry.subs as u32 & (entry.subs >> 32) as u32 != 0 => {
                Some("has subclusters that are both data and zeros")
            }
            () => None,
        };
        if let Some(wrong) = wrong {
            if let Some(found) = &mut w.found {
                found.error(format!("data cluster at {offset:#x} {wrong} (L2 entry at {at:#x})"));
            }
            if w.mend {
                self.put_entry(at, Entry::default())?;
            }
            return Ok(());
        }
        if let Some(found) = w.found.as_mut().filter(|_| active) {
            let data = stored && (self.h.incompatible & super::EXTENDED_L2 != 0 || entry.bits & ZERO == 0);
            found.allocated += u64::from(data || entry.is_packed());
            found.compressed += u64::from(entry.is_packed());
        }
        if in_data || !stored && !entry.is_packed() {
            return Ok(());
        }
        w.counts.add(offset, len);
        if active && w.found.is_some() && !entry.is_packed() {
            self.judge_copied(entry.bits, offset, "data cluster", w)?;
        }
        Ok(())
    }

    /// Whether the flag of being used once is true.
    fn judge_copied(&mut self, bits: u64, offset: u64, what: &str, w: &mut Walk<'_>) -> Result<()> {
        let Ok(count) = self.refcount(offset >> self.h.cluster_bits) else { return Ok(()) };
        if let Some(found) = &mut w.found
            && (count == 1) != (bits & COPIED != 0)
        {
            found.error(format!("{what} at {offset:#x}: its flag of being used once is wrong, the count is {count}"));
        }
        Ok(())
    }

    /// Persistent bitmaps [qcow2 Bitmaps]: a directory, tables, and clusters of bits.
    fn walk_bitmaps(&mut self, w: &mut Walk<'_>) -> Result<()> {
        let Some(ext) = self.h.extension(EXT_BITMAPS).filter(|e| e.len() >= 24 && self.h.autoclear & BITMAPS != 0)
        else {
            return Ok(());
        };
        let word = |b: &[u8]| u64::from_be_bytes(*b.first_chunk().expect("eight bytes"));
        let (size, offset) = (word(&ext[8..]), word(&ext[16..]));
        let end = self.store.len();
        if size > 1 << 24 || offset.checked_add(size).is_none_or(|e| e > end) {
            if let Some(found) = &mut w.found {
                found.error(format!("the directory of bitmaps at {offset:#x} is not in the file"));
            }
            return Ok(());
        }
        w.counts.add(offset, size);
        let directory = self.store.read_vec(offset, size as usize)?;
        let mut at = 0;
        while at + 24 <= directory.len() {
            let entry = &directory[at..];
            let half = |i: usize| usize::from(u16::from_be_bytes([entry[i], entry[i + 1]]));
            let int = |i: usize| u32::from_be_bytes(*entry[i..].first_chunk().expect("in it"));
            let (table, entries) = (word(entry), u64::from(int(8)));
            let table_ok = table.checked_add(entries * 8).is_some_and(|e| e <= end);
            if table_ok {
                w.counts.add(table, entries * 8);
                for i in 0..entries {
                    let cluster = word(&self.store.read_array::<8>(table + i * 8)?) & OFFSET;
                    w.counts.add(cluster, u64::from(cluster != 0));
                }
            }
            at += (24 + int(20) as usize + half(18)).next_multiple_of(8);
        }
        Ok(())
    }

    /// Makes all reference counts anew, behind everything else, and then lets them count.
    fn rebuild(&mut self) -> Result<()> {
        self.write_back()?;
        let (cluster, per) = (self.h.cluster(), self.h.per_block());
        let start = self.store.len().div_ceil(cluster);
        let (mut blocks, mut table) = (1, 1);
        loop {
            let b = (start + blocks + table).div_ceil(per);
            let t = (b * 8).div_ceil(cluster);
            if (b, t) == (blocks, table) {
                break;
            }
            (blocks, table) = (b.max(blocks), t.max(table));
        }
        let all = start + blocks + table;
        let stretch = (STRETCH / per).max(1) * per;
        for first in (0..all).step_by(stretch as usize) {
            let mut counts =
                Counts { first, uses: vec![0; stretch.min(all - first) as usize], bits: self.h.cluster_bits };
            self.walk(Walk { counts: &mut counts, found: None, mend: false, structures: false })?;
            counts.add(start * cluster, (blocks + table) * cluster);
            for (i, uses) in counts.uses.chunks(per as usize).enumerate() {
                let block = first / per + i as u64;
                let most = self.most_refs();
                let each = uses.iter().enumerate().map(|(i, u)| (i as u64, u64::from(*u).min(most)));
                let bytes = block_bytes(cluster as usize, self.h.refcount_order, each);
                self.store.write((start + block) * cluster, &bytes)?;
            }
        }
        let mut pointers: Vec<u8> = (0..blocks).flat_map(|b| ((start + b) * cluster).to_be_bytes()).collect();
        pointers.resize((table * cluster) as usize, 0);
        self.store.write((start + blocks) * cluster, &pointers)?;
        self.store.flush()?;
        self.switch_table((start + blocks) * cluster, table as u32)?;
        self.claimed = self.claimed.max(all * cluster);
        Ok(())
    }
}
