//! Snapshots inside of the image [qcow2 Snapshots].

use super::super::super::format::{Kind, Result, Snapshot, Snapshots};
use super::super::super::meta::Rank;
use super::super::super::store::Store;
use super::header::Header;
use super::table::{COPIED, Entry, OFFSET, PACKED};
use super::{L1, Qcow2};

/// Bytes of a snapshot table at most.
const MOST: u64 = 64 << 20;

/// An entry of the snapshot table.
#[derive(Clone, Debug)]
pub(super) struct Snap {
    pub(super) l1: L1,
    id: Vec<u8>,
    name: Vec<u8>,
    /// Date (seconds, nanoseconds), guest time: bytes 16 to 32 as they are.
    times: [u8; 16],
    state_bytes: u64,
    extra: Vec<u8>,
}

/// Reads the snapshot table.
pub(super) fn read(store: &dyn Store, h: &Header) -> Result<Vec<Snap>> {
    let mut at = h.snapshots_offset;
    let mut snaps = Vec::new();
    for number in 0..h.snapshots {
        let bad = |why: &str| store.bad(Kind::Qcow2, "snapshot table", at, format!("snapshot {number}: {why}"));
        let raw: [u8; 40] = store.read_array(at)?;
        let u32_at = |i: usize| u32::from_be_bytes(*raw[i..].first_chunk().expect("in it"));
        let id_len = usize::from(u16::from_be_bytes([raw[12], raw[13]]));
        let name_len = usize::from(u16::from_be_bytes([raw[14], raw[15]]));
        let extra_len = u32_at(36) as usize;
        let end = at + 40 + (extra_len + id_len + name_len) as u64;
        if extra_len > 1024 || end > store.len() || end - h.snapshots_offset > MOST {
            return Err(bad("it is not in the file, or too long"));
        }
        let rest = store.read_vec(at + 40, extra_len + id_len + name_len)?;
        let (extra, names) = rest.split_at(extra_len);
        let long = |i: usize| extra.get(i..i + 8).map(|b| u64::from_be_bytes(b.try_into().expect("eight bytes")));
        let l1 = L1 {
            offset: u64::from_be_bytes(*raw.first_chunk().expect("in it")),
            entries: u64::from(u32_at(8)),
            size: long(8).unwrap_or(h.size),
        };
        let l1_end = l1.offset.checked_add(l1.entries * 8).filter(|e| *e <= store.len());
        if !l1.offset.is_multiple_of(h.cluster()) || l1_end.is_none() || l1.entries < h.l1_entries(l1.size) {
            return Err(bad("its L1 table is not in the file, or too short"));
        }
        snaps.push(Snap {
            l1,
            id: names[..id_len].to_vec(),
            name: names[id_len..].to_vec(),
            times: *raw[16..].first_chunk().expect("in it"),
            state_bytes: long(0).unwrap_or(u64::from(u32_at(32))),
            extra: extra.to_vec(),
        });
        at = end.next_multiple_of(8);
    }
    Ok(snaps)
}

impl Snap {
    fn bytes(&self) -> Vec<u8> {
        let mut b = Vec::new();
        b.extend_from_slice(&self.l1.offset.to_be_bytes());
        b.extend_from_slice(&(self.l1.entries as u32).to_be_bytes());
        b.extend_from_slice(&(self.id.len() as u16).to_be_bytes());
        b.extend_from_slice(&(self.name.len() as u16).to_be_bytes());
        b.extend_from_slice(&self.times);
        b.extend_from_slice(&u32::try_from(self.state_bytes).unwrap_or(0).to_be_bytes());
        b.extend_from_slice(&(self.extra.len() as u32).to_be_bytes());
        for part in [&self.extra, &self.id, &self.name] {
            b.extend_from_slice(part);
        }
        b.resize(b.len().next_multiple_of(8), 0);
        b
    }
}

/// Bytes that the table of these snapshots takes.
pub(super) fn table_bytes(snaps: &[Snap]) -> u64 {
    snaps.iter().map(|s| s.bytes().len() as u64).sum()
}

impl Qcow2 {
    fn find(&self, name: &str) -> Result<usize> {
        let by = |f: fn(&Snap) -> &[u8]| self.snaps.iter().position(|s| f(s) == name.as_bytes());
        by(|s| &s.id)
            .or_else(|| by(|s| &s.name))
            .ok_or_else(|| self.store.no_way(format!("it has no snapshot `{name}`; emu disk snapshot -l lists them")))
    }

    /// Adds to, or takes from, the counts of everything that an L1 table reaches.
    fn count_tree(&mut self, l1: L1, up: bool) -> Result<()> {
        for index in 0..l1.entries {
            let entry = u64::from_be_bytes(self.meta.get(&*self.store, l1.offset + index * 8)?);
            let table = entry & OFFSET;
            if table == 0 {
                continue;
            }
            for slot in 0..self.h.per_l2() {
                let entry = self.entry_at(table + slot * self.h.entry_bytes())?;
                self.count_entry(entry, up)?;
            }
            self.change_refcount(table >> self.h.cluster_bits, up)?;
            if self.meta.is_full() {
                self.write_back()?;
            }
        }
        Ok(())
    }

    fn count_entry(&mut self, entry: Entry, up: bool) -> Result<()> {
        let bits = self.h.cluster_bits;
        let (offset, len) = match entry {
            e if e.is_packed() => self.packed_range(e),
            e if e.offset() != 0 && self.data.is_none() => (e.offset(), 1),
            _ => return Ok(()),
        };
        for cluster in offset >> bits..=(offset + len - 1) >> bits {
            self.change_refcount(cluster, up)?;
        }
        Ok(())
    }

    /// Sets the flag of being used once in the active tables where it is true.
    pub(super) fn refresh_copied(&mut self) -> Result<()> {
        let bits = self.h.cluster_bits;
        for index in 0..self.l1.entries {
            let old = self.l1_entry(index)?;
            let table = old & OFFSET;
            if table == 0 {
                continue;
            }
            let once = self.refcount(table >> bits)? == 1;
            let new = table | if once { COPIED } else { 0 };
            if new != old {
                self.meta.write(&*self.store, self.l1.offset + index * 8, &new.to_be_bytes(), Rank::Root)?;
            }
            for slot in 0..self.h.per_l2() {
                let at = table + slot * self.h.entry_bytes();
                let old = self.entry_at(at)?;
                if old.bits & PACKED != 0 || old.offset() == 0 || self.data.is_some() {
                    continue;
                }
                let once = self.refcount(old.offset() >> bits)? == 1;
                let new = Entry { bits: old.bits & !COPIED | if once { COPIED } else { 0 }, ..old };
                if new != old {
                    self.put_entry(at, new)?;
                }
            }
            if self.meta.is_full() {
                self.write_back()?;
            }
        }
        Ok(())
    }

    /// Copies an L1 table into space of its own.
    pub(super) fn copy_l1(&mut self, l1: L1, entries: u64) -> Result<u64> {
        let clusters = (entries * 8).div_ceil(self.h.cluster()).max(1);
        let offset = self.take_run(clusters)?;
        self.write_back()?;
        let (end, piece) = (l1.entries * 8, 1 << 20);
        let mut at = 0;
        while at < clusters * self.h.cluster() {
            let n = piece.min(clusters * self.h.cluster() - at);
            let mut bytes = vec![0; n as usize];
            let have = end.saturating_sub(at).min(n) as usize;
            self.store.read(l1.offset + at, &mut bytes[..have])?;
            self.store.write(offset + at, &bytes)?;
            at += n;
        }
        self.store.flush()?;
        Ok(offset)
    }

    /// Writes a new snapshot table, makes it count, and gives up the old one.
    fn put_snapshots(&mut self, snaps: Vec<Snap>) -> Result<()> {
        let bytes: Vec<u8> = snaps.iter().flat_map(Snap::bytes).collect();
        let mut offset = 0;
        if !bytes.is_empty() {
            offset = self.take_run((bytes.len() as u64).div_ceil(self.h.cluster()))?;
            self.store.write(offset, &bytes)?;
        }
        self.write_back()?;
        let mut head = [0; 12];
        head[..4].copy_from_slice(&(snaps.len() as u32).to_be_bytes());
        head[4..].copy_from_slice(&offset.to_be_bytes());
        self.put_header(60, &head)?;
        let old = table_bytes(&self.snaps);
        if old > 0 {
            self.give_up(self.h.snapshots_offset, old);
        }
        (self.h.snapshots, self.h.snapshots_offset) = (snaps.len() as u32, offset);
        self.snaps = snaps;
        self.settle()?;
        self.write_back()
    }

    /// Makes another L1 table the active one.
    pub(super) fn switch_l1(&mut self, l1: L1) -> Result<()> {
        self.write_back()?;
        // Size, encryption (none), entries and offset lie side by side: one write.
        let mut head = [0; 24];
        head[..8].copy_from_slice(&l1.size.to_be_bytes());
        head[12..16].copy_from_slice(&(l1.entries as u32).to_be_bytes());
        head[16..].copy_from_slice(&l1.offset.to_be_bytes());
        self.put_header(24, &head)?;
        (self.h.size, self.h.l1_size, self.h.l1_offset) = (l1.size, l1.entries as u32, l1.offset);
        self.l1 = l1;
        self.recent = None;
        Ok(())
    }
}

impl Snapshots for Qcow2 {
    fn list(&self) -> Vec<Snapshot> {
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        let one = |s: &Snap| Snapshot {
            id: text(&s.id),
            name: text(&s.name),
            seconds: u64::from(u32::from_be_bytes(*s.times.first_chunk().expect("in it"))),
            guest_ns: u64::from_be_bytes(*s.times[8..].first_chunk().expect("in it")),
            state_bytes: s.state_bytes,
            size: s.l1.size,
        };
        self.snaps.iter().map(one).collect()
    }

    fn take(&mut self, name: &str, seconds: u64) -> Result<()> {
        self.begin_writing()?;
        if self.data.is_some() {
            return Err(self.store.no_way("an image with a data file can't have snapshots"));
        }
        if name.len() > 255 || self.snaps.len() >= 65535 {
            return Err(self.store.no_way("no more snapshots, or none with such a long name"));
        }
        let ids = self.snaps.iter().filter_map(|s| std::str::from_utf8(&s.id).ok()?.parse::<u64>().ok());
        let id = ids.max().unwrap_or(0) + 1;
        self.count_tree(self.l1, true)?;
        self.refresh_copied()?;
        self.write_back()?;
        let offset = self.copy_l1(self.l1, self.l1.entries)?;
        let mut times = [0; 16];
        times[..4].copy_from_slice(&(seconds as u32).to_be_bytes());
        let mut extra = vec![0; 8];
        extra.extend_from_slice(&self.l1.size.to_be_bytes());
        let l1 = L1 { offset, ..self.l1 };
        let new = Snap { l1, id: id.to_string().into(), name: name.into(), times, state_bytes: 0, extra };
        let snaps = self.snaps.iter().cloned().chain([new]).collect();
        self.put_snapshots(snaps)
    }

    fn apply(&mut self, name: &str) -> Result<()> {
        self.begin_writing()?;
        let snap = self.snaps[self.find(name)?].clone();
        let old = self.l1;
        self.count_tree(snap.l1, true)?;
        let offset = self.copy_l1(snap.l1, snap.l1.entries)?;
        self.switch_l1(L1 { offset, ..snap.l1 })?;
        self.count_tree(old, false)?;
        self.give_up(old.offset, (old.entries * 8).max(1));
        self.settle()?;
        self.refresh_copied()?;
        self.write_back()
    }

    fn delete(&mut self, name: &str) -> Result<()> {
        self.begin_writing()?;
        let index = self.find(name)?;
        let mut snaps = self.snaps.clone();
        let gone = snaps.remove(index);
        self.put_snapshots(snaps)?;
        self.count_tree(gone.l1, false)?;
        self.give_up(gone.l1.offset, (gone.l1.entries * 8).max(1));
        self.settle()?;
        self.refresh_copied()?;
        self.write_back()
    }

    fn show(&mut self, name: &str) -> Result<()> {
        let index = self.find(name)?;
        self.shown = Some(index);
        self.l1 = self.snaps[index].l1;
        self.recent = None;
        Ok(())
    }
}
