//! qcow2, QEMU's format, versions 2 and 3 [qcow2].
//!
//! Read and written: clusters of 512 bytes to 2 MiB, zlib and zstd, parents, internal snapshots, extended L2 entries,
//! external data files, reference counts of 1 to 64 bits. Reference counts are always kept up to date, also in images
//! that allow them to be lazy; those that were left dirty are counted anew before the first write. Left out: encryption
//! and persistent bitmaps (they are marked as no longer current by the first write, as the specification asks).

mod check;
mod create;
mod header;
mod manage;
mod packed;
mod refcount;
mod snapshot;
mod table;
#[cfg(test)]
mod tests;

use super::super::files::Files;
use super::super::format::{
    Extent, Findings, Fix, Format, Kind, NewParent, Packer, ParentRef, Result, Snapshots, Target,
};
use super::super::meta::Meta;
use super::super::store::Store;
use header::{CORRUPT, DATA_FILE, DATA_RAW, DIRTY, EXT_BACKING, EXT_DATA, EXTENDED_L2, Header, LAZY_REFCOUNTS};
use packed::Unpacked;
use refcount::Space;
use snapshot::Snap;

pub(crate) use create::{Create, create};
pub(crate) use header::Compression;

/// The store of the data, if it is not the image itself.
const DATA: usize = 1;

/// An open image.
pub(crate) struct Qcow2 {
    store: Box<dyn Store>,
    data: Option<Box<dyn Store>>,
    h: Header,
    meta: Meta,
    /// The L1 table that is shown: the active one, or a snapshot's.
    l1: L1,
    /// The L1 entry that was used last, and the L2 table that it points to.
    recent: Option<(u64, u64)>,
    snaps: Vec<Snap>,
    shown: Option<usize>,
    space: Space,
    /// The end of all space that was taken; the file may still be shorter.
    claimed: u64,
    unpacked: Unpacked,
    /// Whether the header says that we write.
    writing: bool,
    write: bool,
}

/// An L1 table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct L1 {
    offset: u64,
    entries: u64,
    size: u64,
}

impl Qcow2 {
    pub(crate) fn open(store: Box<dyn Store>, files: &mut Files, write: bool, repair: bool) -> Result<Qcow2> {
        let h = Header::read(&*store)?;
        let data = match (h.incompatible & DATA_FILE != 0, h.extension(EXT_DATA)) {
            (false, _) => None,
            (true, None) => return Err(store.bad(Kind::Qcow2, "header", 104, "it does not name its data file")),
            (true, Some(name)) => {
                let name = String::from_utf8_lossy(name).into_owned();
                Some(files.named(store.path(), &name, write)?)
            }
        };
        let snaps = snapshot::read(&*store, &h)?;
        if write && !repair && h.incompatible & CORRUPT != 0 {
            return Err(store.no_way("it is marked as corrupt: run emu disk repair, or use it with mode=read"));
        }
        let l1 = L1 { offset: h.l1_offset, entries: u64::from(h.l1_size), size: h.size };
        let claimed = store.len();
        Ok(Qcow2 {
            store,
            data,
            h,
            meta: Meta::new(),
            l1,
            recent: None,
            snaps,
            shown: None,
            space: Space::default(),
            claimed,
            unpacked: Unpacked::default(),
            writing: false,
            write,
        })
    }

    fn bad(&self, structure: &'static str, at: u64, why: String) -> super::super::ImageError {
        self.store.bad(Kind::Qcow2, structure, at, why)
    }

    fn extended(&self) -> bool {
        self.h.incompatible & EXTENDED_L2 != 0
    }

    /// Bytes of a subcluster; of a cluster without extended entries.
    fn sub(&self) -> u64 {
        if self.extended() { self.h.cluster() / 32 } else { self.h.cluster() }
    }

    fn has_parent(&self) -> bool {
        self.h.backing.is_some()
    }

    fn data_file(&self) -> usize {
        if self.data.is_some() { DATA } else { 0 }
    }

    fn put_header(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        self.store.write(at, bytes)?;
        self.store.flush()
    }

    /// Before the first change: counts what a crash left uncounted, and says in the header what no longer holds.
    fn begin_writing(&mut self) -> Result<()> {
        if self.writing {
            return Ok(());
        }
        if self.shown.is_some() {
            return Err(self.store.no_way("a snapshot is only read"));
        }
        if !self.write {
            return Err(self.store.no_way("it was opened for reading only"));
        }
        self.writing = true;
        if self.h.incompatible & DIRTY != 0 {
            self.check(Fix::All)?;
        }
        let keep = self.h.autoclear & DATA_RAW;
        if self.h.autoclear != keep {
            self.h.autoclear = keep;
            self.put_header(88, &keep.to_be_bytes())?;
        }
        Ok(())
    }

    /// Writes the tables back, data first.
    fn write_back(&mut self) -> Result<()> {
        if let Some(data) = &self.data {
            data.flush()?;
        }
        self.store.flush()?;
        self.meta.write_back(&*self.store)
    }
}

impl Format for Qcow2 {
    fn kind(&self) -> Kind {
        Kind::Qcow2
    }
    fn size(&self) -> u64 {
        self.l1.size
    }
    fn store(&self, file: usize) -> &dyn Store {
        match &self.data {
            Some(data) if file == DATA => &**data,
            _ => &*self.store,
        }
    }
    fn stores(&self) -> usize {
        1 + usize::from(self.data.is_some())
    }
    fn block(&self) -> u64 {
        self.h.cluster()
    }

    fn lookup(&mut self, offset: u64, _: u64) -> Result<Extent> {
        self.find_entry(offset)
    }

    fn read_packed(&mut self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.unpack(offset, buf)
    }

    fn target(&mut self, offset: u64, len: u64) -> Result<Target> {
        self.begin_writing()?;
        self.find_target(offset, len)
    }
    fn link(&mut self, target: &Target) -> Result<()> {
        self.link_target(target)
    }
    fn zero(&mut self, offset: u64, len: u64) -> Result<u64> {
        self.begin_writing()?;
        self.zero_clusters(offset, len)
    }
    fn packer(&self) -> Result<Box<dyn Packer>> {
        Ok(Box::new(packed::ClusterPacker::new(self.h.compression, self.h.cluster())))
    }
    fn write_packed(&mut self, offset: u64, packed: &[u8]) -> Result<()> {
        self.begin_writing()?;
        self.put_packed(offset, packed)
    }

    fn flush(&mut self) -> Result<()> {
        self.write_back()?;
        if !self.space.is_settled() {
            self.settle()?;
            self.meta.write_back(&*self.store)?;
        }
        Ok(())
    }
    fn is_full(&self) -> bool {
        self.meta.is_full() || self.space.is_full()
    }

    fn parent(&self) -> Option<ParentRef> {
        let name = self.h.backing.clone()?;
        let kind = self.h.extension(EXT_BACKING).and_then(|k| Kind::parse(&String::from_utf8_lossy(k)));
        let name = name.strip_prefix("file:").map_or(name.clone(), str::to_owned);
        Some(ParentRef { names: vec![name], kind, identity: super::super::format::Identity::None })
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let h = &self.h;
        let mut facts = vec![
            ("compat", if h.version == 2 { "0.10".into() } else { "1.1".into() }),
            ("compression type", format!("{:?}", h.compression).to_lowercase()),
            ("lazy refcounts", (h.compatible & LAZY_REFCOUNTS != 0).to_string()),
            ("refcount bits", (1u32 << h.refcount_order).to_string()),
            ("corrupt", (h.incompatible & CORRUPT != 0).to_string()),
            ("dirty", (h.incompatible & DIRTY != 0).to_string()),
            ("extended l2", self.extended().to_string()),
        ];
        if let Some(data) = &self.data {
            facts.push(("data file", data.path().display().to_string()));
            facts.push(("data file raw", (h.autoclear & DATA_RAW != 0).to_string()));
        }
        facts
    }

    fn check(&mut self, fix: Fix) -> Result<Findings> {
        self.check_all(fix)
    }
    fn resize(&mut self, size: u64) -> Result<()> {
        self.begin_writing()?;
        self.change_size(size)
    }
    fn set_parent(&mut self, parent: Option<&NewParent>) -> Result<()> {
        self.begin_writing()?;
        self.rename_parent(parent)
    }
    fn snapshots(&mut self) -> Option<&mut dyn Snapshots> {
        Some(self)
    }
    fn clear(&mut self) -> Result<()> {
        self.begin_writing()?;
        self.drop_everything()
    }
}
