//! From virtual offsets to clusters: L1 and L2 tables [qcow2 Cluster mapping].

use super::super::super::format::{Extent, Result, Target, Where};
use super::super::super::meta::Rank;
use super::Qcow2;

/// The cluster is used once: it may be written in place.
pub(super) const COPIED: u64 = 1 << 63;
/// The cluster is compressed.
pub(super) const PACKED: u64 = 1 << 62;
/// The cluster reads as zeros.
pub(super) const ZERO: u64 = 1;
/// The offset in an entry.
pub(super) const OFFSET: u64 = 0x00FF_FFFF_FFFF_FE00;

/// An entry of an L2 table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) bits: u64,
    /// Subclusters: allocated in the low half, zeros in the high one.
    pub(super) subs: u64,
}

impl Entry {
    pub(super) fn is_packed(self) -> bool {
        self.bits & PACKED != 0
    }
    pub(super) fn offset(self) -> u64 {
        self.bits & OFFSET
    }
}

impl Qcow2 {
    /// Where the L2 table for `offset` is; 0 if there is none.
    fn l2_table(&mut self, offset: u64) -> Result<u64> {
        let index = offset / (self.h.cluster() * self.h.per_l2());
        if let Some((recent, table)) = self.recent
            && recent == index
        {
            return Ok(table);
        }
        let entry = self.l1_entry(index)?;
        let table = self.believed_table(index, entry)?;
        self.recent = Some((index, table));
        Ok(table)
    }

    pub(super) fn l1_entry(&mut self, index: u64) -> Result<u64> {
        Ok(u64::from_be_bytes(self.meta.get(&*self.store, self.l1.offset + index * 8)?))
    }

    fn believed_table(&mut self, index: u64, entry: u64) -> Result<u64> {
        let table = entry & OFFSET;
        let end = self.store.len().max(self.claimed);
        if !table.is_multiple_of(self.h.cluster())
            || table.checked_add(self.h.cluster()).is_none_or(|e| e > end) && table != 0
        {
            let why = format!("L2 table {index} at {table:#x} is not in a file of {end} bytes");
            return Err(self.bad("L1 table", self.l1.offset + index * 8, why));
        }
        Ok(table)
    }

    /// Position of the L2 entry for `offset` in its table.
    fn place_in(&self, table: u64, offset: u64) -> u64 {
        table + offset / self.h.cluster() % self.h.per_l2() * self.h.entry_bytes()
    }

    pub(super) fn entry_at(&mut self, at: u64) -> Result<Entry> {
        if self.extended() {
            let both: [u8; 16] = self.meta.get(&*self.store, at)?;
            let (bits, subs) = both.split_at(8);
            let word = |b: &[u8]| u64::from_be_bytes(b.try_into().expect("eight bytes"));
            Ok(Entry { bits: word(bits), subs: word(subs) })
        } else {
            Ok(Entry { bits: u64::from_be_bytes(self.meta.get(&*self.store, at)?), subs: 0 })
        }
    }

    pub(super) fn put_entry(&mut self, at: u64, entry: Entry) -> Result<()> {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&entry.bits.to_be_bytes());
        bytes[8..].copy_from_slice(&entry.subs.to_be_bytes());
        self.meta.write(&*self.store, at, &bytes[..self.h.entry_bytes() as usize], Rank::Point)
    }

    /// The entry for `offset`; of a table that is not there, an empty one.
    pub(super) fn entry(&mut self, offset: u64) -> Result<Entry> {
        match self.l2_table(offset)? {
            0 => Ok(Entry::default()),
            table => self.entry_at(self.place_in(table, offset)),
        }
    }

    /// What is at `offset`, as far as one cluster, subcluster, or missing table reaches.
    pub(super) fn find_entry(&mut self, offset: u64) -> Result<Extent> {
        let cluster = self.h.cluster();
        let table = self.l2_table(offset)?;
        if table == 0 {
            let span = cluster * self.h.per_l2();
            return Ok(Extent { len: span - offset % span, place: Where::Parent });
        }
        let entry = self.entry_at(self.place_in(table, offset))?;
        let within = offset % cluster;
        if entry.is_packed() {
            return Ok(Extent { len: cluster - within, place: Where::Packed });
        }
        let place = |q: &Qcow2, stored: bool, zero: bool| match (stored, zero) {
            (_, true) => Ok(Where::Zero),
            (true, false) => Ok(Where::Data { file: q.data_file(), pos: q.believed(entry, offset)? + within }),
            (false, false) => Ok(Where::Parent),
        };
        if self.extended() {
            let sub = self.sub();
            let i = within / sub;
            let (stored, zero) = (entry.subs >> i & 1 != 0, entry.subs >> (32 + i) & 1 != 0);
            if stored && zero {
                return Err(self.bad("L2 entry", offset, format!("subcluster {i} is both data and zeros")));
            }
            return Ok(Extent { len: sub - within % sub, place: place(self, stored, zero)? });
        }
        let zero = entry.bits & ZERO != 0 && self.h.version >= 3;
        Ok(Extent { len: cluster - within, place: place(self, self.is_stored(entry), zero)? })
    }

    /// Whether the entry has a cluster. In a data file even offset 0 is one.
    pub(super) fn is_stored(&self, entry: Entry) -> bool {
        !entry.is_packed() && (entry.offset() != 0 || self.data.is_some() && entry.bits & COPIED != 0)
    }

    /// The cluster's offset, if it can be true.
    fn believed(&self, entry: Entry, offset: u64) -> Result<u64> {
        let host = entry.offset();
        let store = self.data.as_ref().unwrap_or(&self.store);
        let end = if self.data.is_some() { u64::MAX } else { store.len().max(self.claimed) };
        if !host.is_multiple_of(self.h.cluster()) || host >= end || host == 0 && self.data.is_none() {
            let why = format!("the data of virtual offset {offset:#x} at {host:#x} are not in a file of {end} bytes");
            return Err(self.bad("L2 entry", host, why));
        }
        Ok(host)
    }

    /// The L2 table for `offset`, made or copied if it can't be written where it is.
    pub(super) fn table_to_write(&mut self, offset: u64) -> Result<u64> {
        let index = offset / (self.h.cluster() * self.h.per_l2());
        let entry = self.l1_entry(index)?;
        let old = self.believed_table(index, entry)?;
        if old != 0 && entry & COPIED != 0 {
            return Ok(old);
        }
        let (table, _) = self.take(1)?;
        let mut bytes = vec![0; self.h.cluster() as usize];
        if old != 0 {
            self.meta.read(&*self.store, old, &mut bytes)?;
            self.give_up(old, 1);
        }
        self.meta.write(&*self.store, table, &bytes, Rank::Point)?;
        let at = self.l1.offset + index * 8;
        self.meta.write(&*self.store, at, &(table | COPIED).to_be_bytes(), Rank::Root)?;
        self.recent = Some((index, table));
        Ok(table)
    }

    /// Where `len` bytes at `offset` go: in place, or into clusters that are taken for them.
    pub(super) fn find_target(&mut self, offset: u64, len: u64) -> Result<Target> {
        let (cluster, sub) = (self.h.cluster(), self.sub());
        let table = self.table_to_write(offset)?;
        let entry = self.entry_at(self.place_in(table, offset))?;
        let (start, end) = (offset / cluster * cluster, offset + len);
        if self.is_stored(entry) && entry.bits & COPIED != 0 {
            return self.target_in_place(offset, end, table, entry);
        }
        // Old data that a whole new cluster must take along, or nothing.
        let whole = !self.extended() || entry.is_packed() || self.is_stored(entry);
        let last = self.last_to_take(table, start, end)?;
        let (host, n) = match self.data {
            Some(_) => (start, (last - start) / cluster),
            None => self.take((last - start) / cluster)?,
        };
        let (from, mut to) = if whole || n > 1 {
            (if whole { start } else { offset / sub * sub }, start + n * cluster)
        } else {
            (offset / sub * sub, end.next_multiple_of(sub).min(start + cluster))
        };
        if n > 1 && end < to {
            // The last cluster may be written in part: with subclusters it gets no more than it needs.
            to = end.next_multiple_of(sub);
        }
        let zeroed = self.data.is_none() && host >= self.store.len();
        Ok(Target { file: self.data_file(), pos: host + (from - start), from, to, zeroed })
    }

    /// The end of the clusters from `start` on that need new space, as far as `end`, this table, and like neighbours go.
    fn last_to_take(&mut self, table: u64, start: u64, end: u64) -> Result<u64> {
        let cluster = self.h.cluster();
        let span = cluster * self.h.per_l2();
        let limit = end.next_multiple_of(cluster).min((start / span + 1) * span);
        let mut last = start + cluster;
        while last < limit {
            let entry = self.entry_at(self.place_in(table, last))?;
            if entry != Entry::default() {
                break;
            }
            last += cluster;
        }
        // A first cluster with old data is a case of its own.
        let first = self.entry_at(self.place_in(table, start))?;
        Ok(if first == Entry::default() { last } else { start + cluster })
    }

    fn target_in_place(&mut self, offset: u64, end: u64, table: u64, entry: Entry) -> Result<Target> {
        let (cluster, sub) = (self.h.cluster(), self.sub());
        let host = self.believed(entry, offset)?;
        let within = offset % cluster;
        let file = self.data_file();
        let zero = entry.bits & ZERO != 0 && !self.extended();
        if zero {
            // Preallocated, but it reads as zeros until it is written as a whole.
            let start = offset - within;
            return Ok(Target { file, pos: host, from: start, to: start + cluster, zeroed: false });
        }
        if self.extended() {
            let stored = entry.subs >> (within / sub) & 1 != 0;
            let sub_start = offset / sub * sub;
            let (from, to) = if stored { (offset, end.min(sub_start + sub)) } else { (sub_start, sub_start + sub) };
            return Ok(Target { file, pos: host + from % cluster, from, to, zeroed: false });
        }
        let span = cluster * self.h.per_l2();
        let mut to = offset - within + cluster;
        while to < end && !to.is_multiple_of(span) {
            let next = self.entry_at(self.place_in(table, to))?;
            let follows = next.offset() == host + (to - (offset - within));
            if !follows || next.bits & COPIED == 0 || next.bits & (ZERO | PACKED) != 0 {
                break;
            }
            to += cluster;
        }
        Ok(Target { file, pos: host + within, from: offset, to: to.min(end), zeroed: false })
    }

    /// Points the tables to clusters that have been filled.
    pub(super) fn link_target(&mut self, target: &Target) -> Result<()> {
        let (cluster, sub) = (self.h.cluster(), self.sub());
        let mut at = target.from;
        while at < target.to {
            let start = at / cluster * cluster;
            let end = target.to.min(start + cluster);
            let host = target.pos + start - target.from; // may wrap below `pos` within the first cluster
            let table = self.l2_table(at)?;
            let place = self.place_in(table, at);
            let old = self.entry_at(place)?;
            let mut new = Entry { bits: host | COPIED, subs: 0 };
            if self.extended() {
                let same = old.bits == new.bits;
                let (first, last) = ((at - start) / sub, (end - start).div_ceil(sub));
                let mask = (1u64 << last) - (1u64 << first);
                let kept = if same || !self.is_stored(old) && !old.is_packed() { old.subs } else { 0 };
                new.subs = (kept | mask) & !(mask << 32);
            }
            if old != new {
                self.put_entry(place, new)?;
                if old.is_packed() || old.offset() != new.offset() {
                    self.give_up_entry(old);
                }
            }
            at = end;
        }
        Ok(())
    }

    /// Gives up what an entry used.
    pub(super) fn give_up_entry(&mut self, entry: Entry) {
        if entry.is_packed() {
            let (offset, len) = self.packed_range(entry);
            self.give_up(offset, len);
        } else if self.data.is_none() && entry.offset() != 0 {
            self.give_up(entry.offset(), 1);
        }
    }

    /// Makes whole clusters zeros in the tables.
    pub(super) fn zero_clusters(&mut self, offset: u64, len: u64) -> Result<u64> {
        let cluster = self.h.cluster();
        let span = cluster * self.h.per_l2();
        let end = if offset + len == self.size_now() { (offset + len).next_multiple_of(cluster) } else { offset + len };
        if !offset.is_multiple_of(cluster) || end - offset < cluster || self.h.version < 3 && self.has_parent() {
            return Ok(0);
        }
        let end = (end / cluster * cluster).min((offset / span + 1) * span);
        if self.l2_table(offset)? == 0 && !self.has_parent() {
            return Ok((end - offset).min(len));
        }
        let table = self.table_to_write(offset)?;
        for at in (offset..end).step_by(cluster as usize) {
            let place = self.place_in(table, at);
            let old = self.entry_at(place)?;
            let new = match (self.has_parent(), self.extended()) {
                (false, _) => Entry::default(),
                (true, false) => Entry { bits: ZERO, subs: 0 },
                (true, true) => Entry { bits: 0, subs: 0xFFFF_FFFF << 32 },
            };
            if old != new {
                self.put_entry(place, new)?;
                self.give_up_entry(old);
            }
        }
        Ok((end - offset).min(len))
    }

    fn size_now(&self) -> u64 {
        self.l1.size
    }
}
