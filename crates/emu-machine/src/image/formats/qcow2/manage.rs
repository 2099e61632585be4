//! Changing an image as a whole: its size, its parent, all of its contents.

use super::super::super::format::{NewParent, Result};
use super::super::super::meta::Rank;
use super::header::{EXT_BACKING, Header};
use super::table::{Entry, OFFSET};
use super::{L1, Qcow2};

impl Qcow2 {
    pub(super) fn change_size(&mut self, size: u64) -> Result<()> {
        let mut judged = self.h.clone();
        judged.size = size;
        let entries = self.h.l1_entries(size);
        if size > 1 << 62 || entries > u64::from(u32::MAX) >> 4 {
            return Err(self.store.no_way(format!("{size} bytes are more than its clusters can map")));
        }
        if size < self.l1.size {
            self.drop_beyond(size)?;
        }
        if entries <= self.l1.entries {
            return self.switch_l1(L1 { size, ..self.l1 });
        }
        let old = self.l1;
        let offset = self.copy_l1(old, entries)?;
        self.switch_l1(L1 { offset, entries, size })?;
        self.give_up(old.offset, (old.entries * 8).max(1));
        self.settle()?;
        self.write_back()
    }

    /// Forgets the clusters from `size` on.
    fn drop_beyond(&mut self, size: u64) -> Result<()> {
        let cluster = self.h.cluster();
        let mut at = size.next_multiple_of(cluster);
        while at < self.l1.size {
            if self.entry(at)? == Entry::default() {
                at += self.find_entry(at)?.len;
                continue;
            }
            let table = self.table_to_write(at)?;
            let place = table + at / cluster % self.h.per_l2() * self.h.entry_bytes();
            let old = self.entry_at(place)?;
            self.put_entry(place, Entry::default())?;
            self.give_up_entry(old);
            at += cluster;
            self.relieve()?;
        }
        Ok(())
    }

    fn relieve(&mut self) -> Result<()> {
        if self.meta.is_full() || self.space.is_full() {
            self.write_back()?;
            self.settle()?;
        }
        Ok(())
    }

    pub(super) fn rename_parent(&mut self, parent: Option<&NewParent>) -> Result<()> {
        let mut h = self.h.clone();
        h.backing = parent.map(|p| p.name.clone());
        h.extensions.retain(|(kind, _)| *kind != EXT_BACKING);
        if let Some(parent) = parent {
            h.extensions.insert(0, (EXT_BACKING, parent.kind.name().into()));
        }
        self.put_whole_header(h)
    }

    /// Writes the header's cluster anew.
    pub(super) fn put_whole_header(&mut self, h: Header) -> Result<()> {
        let bytes = h.bytes();
        let bytes = bytes.ok_or_else(|| self.store.no_way("its header has no room for such a long name"))?;
        self.write_back()?;
        self.put_header(0, &bytes)?;
        self.h = h;
        Ok(())
    }

    /// Gives up all clusters of the disk.
    pub(super) fn drop_everything(&mut self) -> Result<()> {
        for index in 0..self.l1.entries {
            let table = self.l1_entry(index)? & OFFSET;
            if table == 0 {
                continue;
            }
            for slot in 0..self.h.per_l2() {
                let entry = self.entry_at(table + slot * self.h.entry_bytes())?;
                self.give_up_entry(entry);
            }
            self.give_up(table, 1);
            self.meta.write(&*self.store, self.l1.offset + index * 8, &[0; 8], Rank::Root)?;
            self.relieve()?;
        }
        self.recent = None;
        self.write_back()?;
        self.settle()?;
        self.write_back()
    }
}
