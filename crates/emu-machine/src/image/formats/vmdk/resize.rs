//! Larger disks. Directories move to the end of the file, with tables for what is new; one write of the header makes them
//! count. The descriptor follows: until then the disk has its old size in it, which is less than there is.

use super::super::super::format::Result;
use super::super::super::meta::Rank;
use super::super::super::store::Store;
use super::sparse::{SECTOR, Sparse};
use super::{PART, Part, Vmdk};

/// Where a hosted header has the capacity and both directories.
const CAPACITY: u64 = 12;
const REDUNDANT: u64 = 48;
const DIRECTORY: u64 = 56;
/// Where an ESX header has the capacity, the directory and the number of its entries.
const ESX: [u64; 3] = [12, 20, 24];

impl Vmdk {
    pub(super) fn change_size(&mut self, size: u64) -> Result<()> {
        let last = self.parts.len() - 1;
        let (start, old) = (self.starts[last], self.starts[last + 1]);
        let no_way = |why: &'static str| Err(self.stores[0].no_way(why));
        if !size.is_multiple_of(SECTOR) || size < old {
            return no_way("a VMDK disk has whole sectors, and is not made smaller: copy a part with emu disk extract");
        }
        let split = self.descriptor.as_ref().is_some_and(|(d, ..)| d.create_type.starts_with("twoGb"));
        if split && size - start > PART {
            return no_way("its parts hold less than 2 GiB each: emu disk convert --size makes a larger copy");
        }
        if matches!(&self.parts[last], Part::Sparse(s) if s.is_compressed()) {
            return no_way("compressed images do not grow: emu disk convert --size makes a larger copy");
        }
        self.begin_writing()?;
        self.part_for(start);
        match &mut self.parts[last] {
            Part::Sparse(sparse) => sparse.grow(&*self.stores[sparse.file], size - start)?,
            Part::Flat { file, offset } => {
                let store = &*self.stores[*file];
                if store.len() > *offset + (old - start) {
                    return Err(store.no_way("it has more bytes than its extent: they would become part of the disk"));
                }
                store.resize(*offset + (size - start))?;
                store.flush()?;
            }
            Part::Zero => {}
        }
        self.starts[last + 1] = size;
        let text = self.descriptor.as_ref().map(|(d, ..)| d.resized((size - start) / SECTOR, size / SECTOR));
        text.map_or(Ok(()), |text| self.put_text(text))
    }
}

impl Sparse {
    /// Makes room for `capacity` bytes, in tables that are there from the start, as other programs expect.
    fn grow(&mut self, store: &dyn Store, capacity: u64) -> Result<()> {
        if capacity <= self.capacity {
            return Ok(());
        }
        self.flush(store)?;
        let (old, new) = (self.tables(), capacity.div_ceil(self.grain * self.entries));
        if new > u64::from(u32::MAX) || self.is_esx && capacity / SECTOR > u64::from(u32::MAX) {
            return Err(store.no_way("a sparse extent can't grow beyond 2 TiB"));
        }
        let (mut directory, mut redundant) = (self.directory, self.redundant);
        if new > old {
            redundant = redundant.map(|at| self.copy_directory(store, at, old, new)).transpose()?;
            directory = self.copy_directory(store, directory, old, new)?;
            store.flush()?;
        }
        let mut put = |at: u64, bytes: &[u8]| self.meta.write(store, at, bytes, Rank::Root);
        if self.is_esx {
            for (at, word) in ESX.into_iter().zip([capacity / SECTOR, directory / SECTOR, new]) {
                put(at, &(word as u32).to_le_bytes())?;
            }
        } else {
            put(CAPACITY, &(capacity / SECTOR).to_le_bytes())?;
            put(DIRECTORY, &(directory / SECTOR).to_le_bytes())?;
            if let Some(redundant) = redundant {
                put(REDUNDANT, &(redundant / SECTOR).to_le_bytes())?;
            }
        }
        self.flush(store)?;
        (self.capacity, self.directory, self.redundant) = (capacity, directory, redundant);
        Ok(())
    }

    /// A directory of `new` tables, of which the first `old` are those of the one at `from`; returns where it is. A hosted
    /// extent has all its tables, an ESX extent those that are used.
    fn copy_directory(&mut self, store: &dyn Store, from: u64, old: u64, new: u64) -> Result<u64> {
        let (bytes, table) = ((new * 4).next_multiple_of(SECTOR), self.entries * 4);
        let tables = if self.is_esx { 0 } else { (new - old) * table };
        let at = self.take(store, bytes + tables)?;
        let mut pointers = store.read_vec(from, (old * 4) as usize)?;
        for n in 0..if self.is_esx { 0 } else { new - old } {
            pointers.extend((((at + bytes + n * table) / SECTOR) as u32).to_le_bytes());
        }
        store.write(at, &pointers)?;
        Ok(at)
    }
}
