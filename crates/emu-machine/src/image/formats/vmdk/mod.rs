//! VMDK, VMware's format: a descriptor, and extents that are flat, sparse, compressed, or ESX deltas [VMDK].
//!
//! A child knows its parent by the content id, which the first write of each opening changes. Left out: seSparse deltas,
//! raw device maps, encryption, and writing in place into compressed extents.

mod create;
mod descriptor;
mod resize;
mod sparse;
mod stream;

use super::super::ImageError;
use super::super::files::Files;
use super::super::format::{
    Extent, Findings, Fix, Format, Identity, Kind, NewParent, Packer, ParentRef, Result, Target, Where,
};
use super::super::meta::Meta;
use super::super::store::Store;
use super::vhd::portable;
pub(crate) use create::{Create, PART, SUBFORMATS, create};
use descriptor::{Descriptor, ExtentKind, NO_PARENT};
use sparse::{SECTOR, Sparse};
use stream::{GrainPacker, Stream};

/// An extent: where its bytes are.
enum Part {
    Flat { file: usize, offset: u64 },
    Zero,
    Sparse(Box<Sparse>),
}

impl Part {
    fn meta(&self) -> Option<&Meta> {
        if let Part::Sparse(sparse) = self { Some(&sparse.meta) } else { None }
    }
    fn meta_mut(&mut self) -> Option<&mut Meta> {
        if let Part::Sparse(sparse) = self { Some(&mut sparse.meta) } else { None }
    }
}

/// An open image.
pub(crate) struct Vmdk {
    /// All files; the first is the one that was opened.
    stores: Vec<Box<dyn Store>>,
    /// The descriptor, and where it stands in the first file with how much room; a bare extent has none.
    descriptor: Option<(Descriptor, u64, u64)>,
    parts: Vec<Part>,
    /// Where each part begins, in bytes, and the end.
    starts: Vec<u64>,
    /// The part that was used last.
    used: usize,
    writable: bool,
    writing: bool,
    stream: Option<Stream>,
}

/// Ends a streamOptimized image that has no grains yet.
fn end_empty_stream(store: &dyn Store, size: u64, flags: u32, overhead: u64) -> Result<()> {
    // Enough of an extent for the writer: the rest of it is what the writer makes.
    let mut head = create::hosted_header(size, flags, overhead);
    head[56..64].copy_from_slice(&1u64.to_le_bytes());
    let whole = size.div_ceil(65536 * 512) * 4;
    let blank = super::super::memory::Memory::new("", {
        let mut bytes = head.to_vec();
        bytes.resize(512 + whole as usize, 0);
        bytes
    });
    let sparse = Sparse::open(&blank, 0)?;
    Stream::begin(&sparse, store)?.end(&sparse, store)
}

impl Vmdk {
    pub(crate) fn open(store: Box<dyn Store>, files: &mut Files, write: bool) -> Result<Vmdk> {
        let head: [u8; 4] = store.read_array(0)?;
        let mut image = Vmdk {
            stores: Vec::new(),
            descriptor: None,
            parts: Vec::new(),
            starts: vec![0],
            used: 0,
            writable: true,
            writing: false,
            stream: None,
        };
        if &head == b"KDMV" || &head == b"COWD" {
            let sparse = Sparse::open(&*store, 0)?;
            if let Some((at, room)) = sparse.descriptor {
                image.descriptor = Some((Descriptor::read(&*store, at, room)?, at, room));
            }
            image.stores.push(store);
            image.push(sparse.capacity, Part::Sparse(Box::new(sparse)))?;
            return Ok(image);
        }
        let text = Descriptor::read(&*store, 0, store.len().min(descriptor::LONGEST))?;
        image.stores.push(store);
        image.open_extents(&text, files, write)?;
        image.descriptor = Some((text, 0, u64::MAX));
        Ok(image)
    }

    fn push(&mut self, size: u64, part: Part) -> Result<()> {
        let end = self.starts[self.parts.len()].checked_add(size).filter(|end| *end <= 1 << 60);
        let end = end.ok_or_else(|| self.bad("descriptor", 0, "its extents are absurdly large".into()))?;
        self.parts.push(part);
        self.starts.push(end);
        Ok(())
    }

    fn bad(&self, structure: &'static str, at: u64, why: String) -> ImageError {
        self.stores[0].bad(Kind::Vmdk, structure, at, why)
    }

    fn open_extents(&mut self, text: &Descriptor, files: &mut Files, write: bool) -> Result<()> {
        if text.extents.is_empty() {
            return Err(self.bad("descriptor", 0, "it names no extents".into()));
        }
        let path = self.stores[0].path().to_owned();
        for line in &text.extents {
            let size = line.sectors.saturating_mul(SECTOR);
            self.writable &= line.writable;
            if line.kind == ExtentKind::Zero {
                self.push(size, Part::Zero)?;
                continue;
            }
            let known = self.stores.iter().position(|s| s.path() == path.with_file_name(&line.file));
            let file = match known.filter(|i| *i > 0) {
                Some(file) => file,
                None => {
                    self.stores.push(files.named(&path, &line.file, write && line.writable)?);
                    self.stores.len() - 1
                }
            };
            let store = &*self.stores[file];
            let part = if line.kind == ExtentKind::Flat {
                let offset = line.offset.saturating_mul(SECTOR);
                if offset.checked_add(size).is_none_or(|end| end > store.len()) {
                    let why =
                        format!("{size} bytes from {offset} on are not in a file of {}: is it truncated?", store.len());
                    return Err(store.bad(Kind::Vmdk, "flat extent", offset, why));
                }
                Part::Flat { file, offset }
            } else {
                let sparse = Sparse::open(store, file)?;
                if sparse.capacity < size {
                    let why = format!("it holds {} bytes, the descriptor says {size}", sparse.capacity);
                    return Err(store.bad(Kind::Vmdk, "sparse extent", 12, why));
                }
                Part::Sparse(Box::new(sparse))
            };
            self.push(size, part)?;
        }
        Ok(())
    }

    /// The part that holds `offset`, the offset in it, and the bytes to its end.
    fn find(&self, offset: u64) -> (usize, u64, u64) {
        let part = self.starts.partition_point(|s| *s <= offset) - 1;
        (part, offset - self.starts[part], self.starts[part + 1] - offset)
    }

    /// [`Vmdk::find`], of a part that is used now: all parts share one cache's room.
    fn part_for(&mut self, offset: u64) -> (usize, u64, u64) {
        let found = self.find(offset);
        if found.0 != self.used {
            if let Some(Part::Sparse(last)) = self.parts.get_mut(self.used) {
                last.forget_unpacked();
            }
            self.used = found.0;
            let before = self.parts[..found.0].iter().filter(|p| p.meta().is_some()).count();
            Meta::share(self.parts.iter_mut().filter_map(Part::meta_mut), before);
        }
        found
    }

    fn has_parent(&self) -> bool {
        self.descriptor.as_ref().is_some_and(|(d, ..)| d.parent_cid.is_some())
    }

    /// Before the first write the content id changes, so that children know.
    fn begin_writing(&mut self) -> Result<()> {
        if self.writing {
            return Ok(());
        }
        if !self.writable {
            return Err(self.stores[0].no_way("one of its extents is read-only"));
        }
        self.put_descriptor(&[("CID", Some(format!("{:08x}", create::new_cid())))])?;
        self.writing = true;
        Ok(())
    }

    fn put_descriptor(&mut self, changes: &[(&str, Option<String>)]) -> Result<()> {
        match self.descriptor.as_ref().map(|(old, ..)| old.with(changes)) {
            Some(text) => self.put_text(text),
            None => Ok(()),
        }
    }

    fn put_text(&mut self, text: String) -> Result<()> {
        let Some((old, at, room)) = &self.descriptor else { return Ok(()) };
        let (at, room) = (*at, *room);
        let mut bytes = text.into_bytes();
        if bytes.len() as u64 > room {
            return Err(self.stores[0].no_way("its descriptor has no room for such long names"));
        }
        let len = bytes.len() as u64;
        let own_file = room == u64::MAX;
        // Shorter than before: zeros end the text.
        bytes.resize(bytes.len().max(old.text.len() + usize::from(!own_file)).min(room as usize), 0);
        let store = &*self.stores[0];
        store.write(at, &bytes)?;
        if own_file {
            store.resize(len)?;
        }
        store.flush()?;
        let new = Descriptor::read(store, at, if own_file { len } else { room })?;
        self.descriptor = Some((new, at, room));
        Ok(())
    }
}

impl Format for Vmdk {
    fn kind(&self) -> Kind {
        Kind::Vmdk
    }
    fn size(&self) -> u64 {
        self.starts[self.parts.len()]
    }
    fn store(&self, file: usize) -> &dyn Store {
        &*self.stores[file]
    }
    fn stores(&self) -> usize {
        self.stores.len()
    }
    fn block(&self) -> u64 {
        self.parts.iter().find_map(|p| if let Part::Sparse(s) = p { Some(s.grain) } else { None }).unwrap_or(0)
    }

    fn lookup(&mut self, offset: u64, _: u64) -> Result<Extent> {
        let (part, at, left) = self.part_for(offset);
        let mut extent = match &mut self.parts[part] {
            Part::Flat { file, offset } => Extent { len: left, place: Where::Data { file: *file, pos: *offset + at } },
            Part::Zero => Extent { len: left, place: Where::Zero },
            Part::Sparse(sparse) => sparse.lookup(&*self.stores[sparse.file], at)?,
        };
        extent.len = extent.len.min(left);
        Ok(extent)
    }

    fn read_packed(&mut self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let (part, at, _) = self.part_for(offset);
        match &mut self.parts[part] {
            Part::Sparse(sparse) => sparse.unpack(&*self.stores[sparse.file], at, buf),
            _ => Err(self.stores[0].no_way("only sparse extents are compressed")),
        }
    }

    fn target(&mut self, offset: u64, len: u64) -> Result<Target> {
        self.begin_writing()?;
        let has_parent = self.has_parent();
        let (part, at, left) = self.part_for(offset);
        let len = len.min(left);
        let sparse = match &mut self.parts[part] {
            Part::Flat { file, offset: start } => {
                let pos = *start + at;
                return Ok(Target { file: *file, pos, from: offset, to: offset + len, zeroed: false });
            }
            Part::Zero => return Err(self.stores[0].no_way("an extent of zeros can't be written")),
            Part::Sparse(sparse) => sparse,
        };
        let store = &*self.stores[sparse.file];
        if sparse.is_compressed() {
            let why = "compressed extents are not written in place: use mode=overlay, or convert it";
            return Err(store.no_way(why));
        }
        sparse.make_tables(store, at)?;
        // A grain that was zeroed on purpose does not show the parent.
        let keeps = !has_parent || sparse.reads_zero(store, at)?;
        let Some((pos, to)) = sparse.take_grains(store, at, at + len)? else {
            let extent = sparse.lookup(store, at)?;
            let Where::Data { file, pos } = extent.place else { unreachable!("the grain is stored") };
            return Ok(Target { file, pos, from: offset, to: offset + len.min(extent.len), zeroed: false });
        };
        let start = at / sparse.grain * sparse.grain;
        let base = offset - at;
        let (from, end) = match keeps {
            true => (at, to.min(at + len)),
            false => (start, to),
        };
        let (file, pos) = (sparse.file, pos + (from - start));
        Ok(Target { file, pos, from: base + from, to: base + end, zeroed: true })
    }

    fn link(&mut self, target: &Target) -> Result<()> {
        let (part, at, _) = self.part_for(target.from);
        let Part::Sparse(sparse) = &mut self.parts[part] else { return Ok(()) };
        let store = &*self.stores[sparse.file];
        let end = (at + (target.to - target.from)).min(sparse.capacity.next_multiple_of(sparse.grain));
        let first = at / sparse.grain * sparse.grain;
        let host = target.pos + first - at;
        for grain in (first..end).step_by(sparse.grain as usize) {
            let pos = host + (grain - first);
            let there = sparse.lookup(store, grain.max(at))?.place;
            if !matches!(there, Where::Data { .. }) {
                sparse.put_entry(store, grain, (pos / SECTOR) as u32)?;
            }
        }
        Ok(())
    }

    fn zero(&mut self, offset: u64, len: u64) -> Result<u64> {
        self.begin_writing()?;
        let has_parent = self.has_parent();
        let (part, at, left) = self.part_for(offset);
        let Part::Sparse(sparse) = &mut self.parts[part] else { return Ok(0) };
        let whole = sparse.grain.min(sparse.capacity - at);
        if at % sparse.grain != 0 || len.min(left) < whole || sparse.is_compressed() {
            return Ok(0);
        }
        let done = sparse.zero_grain(&*self.stores[sparse.file], at, has_parent)?;
        Ok(if done { whole.min(left) } else { 0 })
    }

    fn packer(&self) -> Result<Box<dyn Packer>> {
        match &self.parts[..] {
            [Part::Sparse(sparse)] if sparse.is_compressed() => Ok(Box::new(GrainPacker::new(sparse.grain))),
            _ => Err(self.stores[0].no_way("only subformat=streamOptimized has compression")),
        }
    }
    fn write_packed(&mut self, offset: u64, packed: &[u8]) -> Result<()> {
        self.begin_writing()?;
        let Some(Part::Sparse(sparse)) = self.parts.first() else {
            return Err(self.stores[0].no_way("only subformat=streamOptimized has compression"));
        };
        let store = &*self.stores[0];
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(Stream::begin(sparse, store)?),
        };
        stream.add(sparse, store, offset, packed)
    }
    fn only_packed(&self) -> bool {
        self.parts.iter().any(|p| matches!(p, Part::Sparse(s) if s.is_compressed()))
    }
    fn finish(&mut self) -> Result<()> {
        if let (Some(stream), Some(Part::Sparse(sparse))) = (self.stream.take(), self.parts.first()) {
            stream.end(sparse, &*self.stores[0])?;
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        for part in &mut self.parts {
            match part {
                Part::Sparse(sparse) => sparse.flush(&*self.stores[sparse.file])?,
                Part::Flat { file, .. } => self.stores[*file].flush()?,
                Part::Zero => {}
            }
        }
        Ok(())
    }
    fn is_full(&self) -> bool {
        Meta::are_full(self.parts.iter().filter_map(Part::meta))
    }

    fn parent(&self) -> Option<ParentRef> {
        let (d, ..) = self.descriptor.as_ref()?;
        let cid = d.parent_cid?;
        let hint = portable(d.parent_hint.as_deref().unwrap_or_default());
        let last = hint.rsplit('/').next().unwrap_or_default().to_owned();
        let mut names = vec![hint, last];
        names.dedup();
        names.retain(|n| !n.is_empty());
        Some(ParentRef { names, kind: Some(Kind::Vmdk), identity: Identity::Cid(cid) })
    }
    fn identity(&self) -> Identity {
        self.descriptor.as_ref().map_or(Identity::None, |(d, ..)| Identity::Cid(d.cid))
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let Some((d, ..)) = &self.descriptor else { return vec![("create type", "bare extent".into())] };
        vec![
            ("cid", format!("{:08x}", d.cid)),
            ("parent cid", format!("{:08x}", d.parent_cid.unwrap_or(NO_PARENT))),
            ("create type", d.create_type.clone()),
            ("extents", self.parts.len().to_string()),
        ]
    }

    fn can_check(&self) -> bool {
        self.parts.iter().any(|p| matches!(p, Part::Sparse(_)))
    }
    fn check(&mut self, fix: Fix) -> Result<Findings> {
        let mut found = Findings::default();
        for i in 0..self.parts.len() {
            self.part_for(self.starts[i]);
            if let Part::Sparse(sparse) = &mut self.parts[i] {
                sparse.check(&*self.stores[sparse.file], fix, &mut found)?;
            }
        }
        if fix == Fix::All && found.fixed > 0 {
            found.error_count = found.error_count.saturating_sub(found.fixed);
            let left = found.error_count as usize;
            found.errors.truncate(left);
        }
        Ok(found)
    }

    fn resize(&mut self, size: u64) -> Result<()> {
        self.change_size(size)
    }

    fn set_parent(&mut self, parent: Option<&NewParent>) -> Result<()> {
        let changes = match parent {
            None => [("parentCID", Some(format!("{NO_PARENT:08x}"))), ("parentFileNameHint", None)],
            Some(NewParent { name, identity: Identity::Cid(cid), .. }) => {
                [("parentCID", Some(format!("{cid:08x}"))), ("parentFileNameHint", Some(format!("\"{name}\"")))]
            }
            Some(_) => return Err(self.stores[0].no_way("the parent of a VMDK image must be one that is there")),
        };
        self.put_descriptor(&changes)
    }

    fn clear(&mut self) -> Result<()> {
        self.begin_writing()?;
        for part in &mut self.parts {
            match part {
                Part::Sparse(sparse) if !sparse.is_compressed() => sparse.clear(&*self.stores[sparse.file])?,
                _ => return Err(self.stores[0].no_way("only sparse images can be emptied")),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::model::{
        Shelf, chains, everything, grows, grows_or_stays, truncations_are_noticed, writes_read_back,
    };
    use super::super::super::ops::NewImage;
    use super::*;

    fn new(subformat: &str) -> NewImage {
        NewImage::new(Kind::Vmdk, 2 << 20).with("subformat", subformat)
    }

    #[test]
    fn sparse_images() {
        everything(&new("monolithicSparse"));
        everything(&new("monolithicSparse").with("zeroed_grain", "on"));
        truncations_are_noticed(&new("monolithicSparse"), 0);
    }

    #[test]
    fn extents_of_all_kinds() {
        use super::super::super::model::behaves_like_bytes;
        for subformat in ["monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "vmfs", "vmfsSparse"] {
            behaves_like_bytes(&new(subformat).with("extent_size", "512K"), 40);
        }
    }

    #[test]
    fn tables_that_are_too_small_move() {
        // A sector of the directory has the tables of 4 GiB; of an ESX extent, of 256 MiB.
        for (new, size) in [(new("monolithicSparse"), 5 << 30), (new("vmfsSparse"), 300 << 20)] {
            grows(&new, size);
        }
        for subformat in ["monolithicFlat", "vmfs", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"] {
            grows(&new(subformat), 40 << 20);
        }
        grows_or_stays(&new("monolithicSparse"), 5 << 30);
        let mut shelf = Shelf::default();
        shelf.make("a.vmdk", &new("twoGbMaxExtentSparse"), None);
        writes_read_back(&shelf, "a.vmdk", 5);
        let refused = |size: u64| shelf.open("a.vmdk", true).resize(size).unwrap_err().to_string();
        assert!(refused(3 << 30).contains("emu disk convert --size"));
        assert!(refused(1 << 20).contains("smaller"));
    }

    #[test]
    fn chains_of_parents() {
        chains(Kind::Vmdk, 1 << 20, &[], 3);
        chains(Kind::Vmdk, 1 << 20, &[("subformat", "vmfsSparse")], 3);
        chains(Kind::Vmdk, 1 << 20, &[("zeroed_grain", "on")], 3);
    }
}
