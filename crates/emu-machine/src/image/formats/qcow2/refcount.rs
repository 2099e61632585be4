//! Reference counts and taking space [qcow2 Host cluster management].
//!
//! Space that is given up counts as taken until the tables that used it have been written back: a crash before that
//! still finds the old contents there.

use super::super::super::format::{Kind, Result};
use super::super::super::meta::Rank;
use super::Qcow2;

/// Given-up clusters that wait at most.
const WAITING: usize = 1 << 16;

/// What of the space is free.
#[derive(Debug, Default)]
pub(super) struct Space {
    /// No cluster before this one is free.
    hint: u64,
    /// Clusters whose count goes down by one once all tables are written.
    given_up: Vec<u64>,
    /// Where the next compressed cluster may begin, up to the end of its host cluster.
    pub(super) packed: Option<(u64, u64)>,
}

impl Space {
    pub(super) fn is_settled(&self) -> bool {
        self.given_up.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.given_up.len() >= WAITING
    }
}

impl Qcow2 {
    /// Bytes that a reference count block must lie in to be believed.
    fn block_of(&mut self, cluster: u64) -> Result<Option<u64>> {
        let index = cluster / self.h.per_block();
        if index >= self.rt_entries() {
            return Ok(None);
        }
        let at = self.h.rt_offset + index * 8;
        let entry = u64::from_be_bytes(self.meta.get(&*self.store, at)?);
        if entry == 0 {
            return Ok(None);
        }
        if entry % self.h.cluster() != 0 || entry >= self.store.len().max(self.claimed) {
            let why = format!("block {index} at {entry:#x} is not in the file");
            return Err(self.store.bad(Kind::Qcow2, "reference count table", at, why));
        }
        Ok(Some(entry))
    }

    pub(super) fn rt_entries(&self) -> u64 {
        u64::from(self.h.rt_clusters) * self.h.cluster() / 8
    }

    /// How often the cluster is used.
    pub(super) fn refcount(&mut self, cluster: u64) -> Result<u64> {
        let Some(block) = self.block_of(cluster)? else { return Ok(0) };
        let index = cluster % self.h.per_block();
        let order = self.h.refcount_order;
        let bytes = self.meta.rest(&*self.store, block + (index << order >> 3))?;
        Ok(count_in(bytes, index, order))
    }

    pub(super) fn set_refcount(&mut self, cluster: u64, count: u64) -> Result<()> {
        let block = match self.block_of(cluster)? {
            Some(block) => block,
            None => self.new_block(cluster)?,
        };
        let index = cluster % self.h.per_block();
        let order = self.h.refcount_order;
        let at = block + (index << order >> 3);
        if count == 0 {
            self.space.hint = self.space.hint.min(cluster);
        }
        match order {
            0..=2 => {
                let [mut byte] = self.meta.get::<1>(&*self.store, at)?;
                let shift = (index << order & 7) as u32;
                let mask = ((1u16 << (1 << order)) - 1) as u8;
                byte = byte & !(mask << shift) | (count as u8) << shift;
                self.meta.write(&*self.store, at, &[byte], Rank::Claim)
            }
            _ => {
                let bytes = count.to_be_bytes();
                self.meta.write(&*self.store, at, &bytes[8 - (1 << order >> 3)..], Rank::Claim)
            }
        }
    }

    /// The largest count that the image can hold.
    pub(super) fn most_refs(&self) -> u64 {
        u64::MAX >> (64 - (1 << self.h.refcount_order))
    }

    /// Adds to a count.
    pub(super) fn change_refcount(&mut self, cluster: u64, up: bool) -> Result<u64> {
        let old = self.refcount(cluster)?;
        let new = if up { old.checked_add(1).filter(|n| *n <= self.most_refs()) } else { old.checked_sub(1) };
        let Some(new) = new else {
            let at = cluster << self.h.cluster_bits;
            if up {
                let bits = 1 << self.h.refcount_order;
                let why = format!("its reference counts of {bits} bits can't count more uses: convert it with more");
                return Err(self.store.no_way(why));
            }
            let why = format!("the reference count of a cluster is {old}: run emu disk repair");
            return Err(self.store.bad(Kind::Qcow2, "cluster", at, why));
        };
        self.set_refcount(cluster, new)?;
        Ok(new)
    }

    /// Gives up one use of the clusters of `[offset, offset + len)`, once nothing on the disk points there any more.
    pub(super) fn give_up(&mut self, offset: u64, len: u64) {
        let bits = self.h.cluster_bits;
        self.space.given_up.extend(offset >> bits..=(offset + len - 1) >> bits);
        if self.space.packed.is_some_and(|(at, _)| at >> bits == offset >> bits) {
            self.space.packed = None;
        }
    }

    /// Lowers the counts of what was given up.
    pub(super) fn settle(&mut self) -> Result<()> {
        for cluster in core::mem::take(&mut self.space.given_up) {
            self.change_refcount(cluster, false)?;
        }
        Ok(())
    }

    /// Takes up to `most` free clusters in a row; returns the first one's offset, and how many.
    pub(super) fn take(&mut self, most: u64) -> Result<(u64, u64)> {
        let mut cluster = self.space.hint.max(1);
        while !self.is_free(cluster)? {
            cluster += 1;
        }
        if cluster / self.h.per_block() >= self.rt_entries() {
            self.grow_table()?;
            return self.take(most);
        }
        // A region without its block of counts gets it now, as its first cluster.
        if self.block_of(cluster)?.is_none() {
            self.new_block(cluster)?;
            return self.take(most);
        }
        let mut n = 1;
        let left = self.h.per_block() - cluster % self.h.per_block();
        while n < most.min(left) && self.is_free(cluster + n)? {
            n += 1;
        }
        for i in cluster..cluster + n {
            self.set_refcount(i, 1)?;
        }
        self.space.hint = cluster + n;
        let offset = cluster << self.h.cluster_bits;
        self.claimed = self.claimed.max(offset + n * self.h.cluster());
        Ok((offset, n))
    }

    /// Takes exactly `n` clusters in a row.
    pub(super) fn take_run(&mut self, n: u64) -> Result<u64> {
        if n == 1 {
            return Ok(self.take(1)?.0);
        }
        // At the end of everything, where nothing is in the way but a region's own block.
        let (bits, per) = (self.h.cluster_bits, self.h.per_block());
        let mut first = self.store.len().max(self.claimed).div_ceil(self.h.cluster());
        let mut cluster = first;
        while cluster < first + n {
            while cluster / per >= self.rt_entries() {
                self.grow_table()?;
            }
            let had_block = self.block_of(cluster)?.is_some();
            if !had_block {
                self.new_block(cluster)?;
            }
            if self.refcount(cluster)? == 0 {
                cluster += 1;
            } else {
                cluster += 1;
                first = cluster;
            }
        }
        for i in first..first + n {
            self.set_refcount(i, 1)?;
        }
        self.claimed = self.claimed.max((first + n) << bits);
        Ok(first << bits)
    }

    fn is_free(&mut self, cluster: u64) -> Result<bool> {
        Ok(self.refcount(cluster)? == 0)
    }

    /// Makes the block of counts for the region of `cluster`, in that region's first free place.
    fn new_block(&mut self, cluster: u64) -> Result<u64> {
        let per = self.h.per_block();
        let index = cluster / per;
        while index >= self.rt_entries() {
            self.grow_table()?;
        }
        if let Some(block) = self.block_of(cluster)? {
            return Ok(block); // growing made it
        }
        let offset = index * per << self.h.cluster_bits;
        self.claimed = self.claimed.max(offset + self.h.cluster());
        let zeros = vec![0; self.h.cluster() as usize];
        self.meta.write(&*self.store, offset, &zeros, Rank::Claim)?;
        let at = self.h.rt_offset + index * 8;
        self.meta.write(&*self.store, at, &offset.to_be_bytes(), Rank::ClaimRoot)?;
        self.set_refcount(index * per, 1)?;
        Ok(offset)
    }

    /// Doubles the table of blocks. It lands behind all that the old one could count, with blocks of its own.
    fn grow_table(&mut self) -> Result<()> {
        self.write_back()?;
        let (cluster, per) = (self.h.cluster(), self.h.per_block());
        let covered = self.rt_entries() * per;
        let clusters = u64::from(self.h.rt_clusters) * 2;
        if clusters * cluster > 64 << 20 {
            return Err(self.store.no_way("its reference count table can't grow any more"));
        }
        let mut blocks = 1;
        while blocks * per < blocks + clusters {
            blocks += 1;
        }
        let start = covered << self.h.cluster_bits;
        let mut table = self.store.read_vec(self.h.rt_offset, (u64::from(self.h.rt_clusters) * cluster) as usize)?;
        table.extend((0..blocks).flat_map(|b| (start + b * cluster).to_be_bytes()));
        table.resize((clusters * cluster) as usize, 0);
        self.store.write(start + blocks * cluster, &table)?;
        for block in 0..blocks {
            let used = (blocks + clusters).saturating_sub(block * per).min(per);
            let bytes = block_bytes(cluster as usize, self.h.refcount_order, (0..used).map(|i| (i, 1)));
            self.store.write(start + block * cluster, &bytes)?;
        }
        self.store.flush()?;
        let old = (self.h.rt_offset, u64::from(self.h.rt_clusters) * cluster);
        self.switch_table(start + blocks * cluster, clusters as u32)?;
        self.claimed = self.claimed.max(start + (blocks + clusters) * cluster);
        self.give_up(old.0, old.1);
        Ok(())
    }

    /// Makes another table of blocks count.
    pub(super) fn switch_table(&mut self, offset: u64, clusters: u32) -> Result<()> {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&offset.to_be_bytes());
        bytes[8..].copy_from_slice(&clusters.to_be_bytes());
        self.put_header(48, &bytes)?;
        (self.h.rt_offset, self.h.rt_clusters) = (offset, clusters);
        self.meta.forget();
        Ok(())
    }

    /// Starts looking for free space at the beginning again.
    pub(super) fn look_again(&mut self) {
        self.space.hint = 0;
        self.space.packed = None;
    }
}

/// The count of cluster `index` in a block, whose bytes begin with the one that holds it.
pub(super) fn count_in(bytes: &[u8], index: u64, order: u32) -> u64 {
    match order {
        0..=2 => {
            let mask = (1u16 << (1 << order)) - 1;
            u64::from(u16::from(bytes[0]) >> (index << order & 7) & mask)
        }
        _ => bytes[..1 << order >> 3].iter().fold(0, |n, b| n << 8 | u64::from(*b)),
    }
}

/// A block of counts: those given, zeros for the rest.
pub(super) fn block_bytes(len: usize, order: u32, counts: impl Iterator<Item = (u64, u64)>) -> Vec<u8> {
    let mut bytes = vec![0; len];
    for (index, count) in counts {
        let at = (index << order >> 3) as usize;
        match order {
            0..=2 => bytes[at] |= (count as u8) << (index << order & 7),
            _ => {
                let width = 1 << order >> 3;
                bytes[at..at + width].copy_from_slice(&count.to_be_bytes()[8 - width..]);
            }
        }
    }
    bytes
}
