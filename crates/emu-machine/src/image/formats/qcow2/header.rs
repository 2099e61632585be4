//! qcow2's header, its extensions, and how a new image begins [qcow2 Header].

use super::super::super::format::{Kind, Result};
use super::super::super::store::Store;

/// `QFI` and FBh.
const MAGIC: [u8; 4] = *b"QFI\xFB";

/// Bits of the incompatible features that we know: dirty, corrupt, external data file, compression type, extended L2.
pub(super) const DIRTY: u64 = 1;
pub(super) const CORRUPT: u64 = 2;
pub(super) const DATA_FILE: u64 = 4;
pub(super) const COMPRESSION: u64 = 8;
pub(super) const EXTENDED_L2: u64 = 16;
const KNOWN: u64 = DIRTY | CORRUPT | DATA_FILE | COMPRESSION | EXTENDED_L2;
/// The compatible feature bit.
pub(super) const LAZY_REFCOUNTS: u64 = 1;
/// Autoclear: the bitmaps are current; the data file can be read as a raw disk.
pub(super) const BITMAPS: u64 = 1;
pub(super) const DATA_RAW: u64 = 2;

const EXT_END: u32 = 0;
pub(super) const EXT_BACKING: u32 = 0xE279_2ACA;
pub(super) const EXT_FEATURES: u32 = 0x6803_F857;
pub(super) const EXT_BITMAPS: u32 = 0x2385_2875;
pub(super) const EXT_DATA: u32 = 0x4441_5441;

const LUKS: &str = "it is encrypted, which emu can't read; decrypt it with qemu-img convert";

/// The most entries of an L1 table: 2 GiB of it.
const MOST_L1: u64 = 1 << 28;
/// The most bytes of a reference count table, and of a snapshot table.
const MOST_TABLE: u64 = 64 << 20;

/// How clusters are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    /// Deflate without a header, window of 4 KiB.
    Zlib,
    /// Zstandard.
    Zstd,
}

/// The header.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) cluster_bits: u32,
    pub(super) size: u64,
    pub(super) l1_size: u32,
    pub(super) l1_offset: u64,
    pub(super) rt_offset: u64,
    pub(super) rt_clusters: u32,
    pub(super) snapshots: u32,
    pub(super) snapshots_offset: u64,
    pub(super) incompatible: u64,
    pub(super) compatible: u64,
    pub(super) autoclear: u64,
    pub(super) refcount_order: u32,
    pub(super) compression: Compression,
    pub(super) backing: Option<String>,
    /// Extensions in their order, as they are.
    pub(super) extensions: Vec<(u32, Vec<u8>)>,
}

fn u32_at(b: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(*b[at..].first_chunk().expect("in the header"))
}
fn u64_at(b: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(*b[at..].first_chunk().expect("in the header"))
}

impl Header {
    /// Bytes of a cluster.
    pub(super) fn cluster(&self) -> u64 {
        1 << self.cluster_bits
    }
    /// Bytes of an entry of an L2 table.
    pub(super) fn entry_bytes(&self) -> u64 {
        if self.incompatible & EXTENDED_L2 != 0 { 16 } else { 8 }
    }
    /// Clusters that an L2 table maps.
    pub(super) fn per_l2(&self) -> u64 {
        self.cluster() / self.entry_bytes()
    }
    /// L1 entries that a disk of `size` bytes needs.
    pub(super) fn l1_entries(&self, size: u64) -> u64 {
        size.div_ceil(self.cluster() * self.per_l2())
    }
    /// Clusters whose counts a block of reference counts holds.
    pub(super) fn per_block(&self) -> u64 {
        self.cluster() * 8 >> self.refcount_order
    }
    /// The extension of this type.
    pub(super) fn extension(&self, kind: u32) -> Option<&[u8]> {
        self.extensions.iter().find(|(k, _)| *k == kind).map(|(_, data)| &data[..])
    }

    /// Reads and judges the header.
    pub(super) fn read(store: &dyn Store) -> Result<Header> {
        let bad = |at: u64, why: String| store.bad(Kind::Qcow2, "header", at, why);
        let raw: [u8; 112] = store.read_array(0)?;
        if raw[..4] != MAGIC {
            return Err(bad(0, "it has no qcow2 magic".into()));
        }
        let version = u32_at(&raw, 4);
        if !(2..=3).contains(&version) {
            return Err(bad(4, format!("version {version} is neither 2 nor 3")));
        }
        let cluster_bits = u32_at(&raw, 20);
        if !(9..=21).contains(&cluster_bits) {
            return Err(bad(20, format!("clusters of 2^{cluster_bits} bytes; 2^9 to 2^21 are allowed")));
        }
        let v3 = version >= 3;
        let mut header = Header {
            version,
            cluster_bits,
            size: u64_at(&raw, 24),
            l1_size: u32_at(&raw, 36),
            l1_offset: u64_at(&raw, 40),
            rt_offset: u64_at(&raw, 48),
            rt_clusters: u32_at(&raw, 56),
            snapshots: u32_at(&raw, 60),
            snapshots_offset: u64_at(&raw, 64),
            incompatible: if v3 { u64_at(&raw, 72) } else { 0 },
            compatible: if v3 { u64_at(&raw, 80) } else { 0 },
            autoclear: if v3 { u64_at(&raw, 88) } else { 0 },
            refcount_order: if v3 { u32_at(&raw, 96) } else { 4 },
            compression: Compression::Zlib,
            backing: None,
            extensions: Vec::new(),
        };
        let length = if v3 { u64::from(u32_at(&raw, 100)) } else { 72 };
        if v3 && (length < 104 || length > header.cluster() || length % 8 != 0) {
            return Err(bad(100, format!("a header of {length} bytes")));
        }
        if u32_at(&raw, 32) != 0 {
            return Err(store.no_way(LUKS));
        }
        if length > 104 && raw[104] != 0 {
            if raw[104] != 1 {
                return Err(store.no_way(format!("its compression type {} is not known", raw[104])));
            }
            header.compression = Compression::Zstd;
        }
        header.read_extensions(store, length)?;
        header.read_backing(store, u64_at(&raw, 8), u32_at(&raw, 16))?;
        header.judge(store)?;
        Ok(header)
    }

    fn read_extensions(&mut self, store: &dyn Store, mut at: u64) -> Result<()> {
        let cluster: Vec<u8> = store.read_vec(0, self.cluster() as usize)?;
        while at + 8 <= self.cluster() {
            let (kind, len) = (u32_at(&cluster, at as usize), u64::from(u32_at(&cluster, at as usize + 4)));
            if kind == EXT_END {
                break;
            }
            let end = at + 8 + len;
            if end > self.cluster() {
                let why = format!("an extension of {len} bytes leaves the header's cluster");
                return Err(store.bad(Kind::Qcow2, "header extension", at, why));
            }
            self.extensions.push((kind, cluster[at as usize + 8..end as usize].to_vec()));
            at = end.next_multiple_of(8);
        }
        Ok(())
    }

    fn read_backing(&mut self, store: &dyn Store, offset: u64, len: u32) -> Result<()> {
        if offset == 0 {
            return Ok(());
        }
        let inside = offset.checked_add(u64::from(len)).is_some_and(|end| end <= self.cluster());
        if len > 1023 || !inside {
            return Err(store.bad(Kind::Qcow2, "backing file name", 8, "it is not inside of the first cluster"));
        }
        let name = store.read_vec(offset, len as usize)?;
        match String::from_utf8(name) {
            Ok(name) if !name.is_empty() => self.backing = Some(name),
            Ok(_) => {}
            Err(_) => return Err(store.bad(Kind::Qcow2, "backing file name", offset, "it is not UTF-8")),
        }
        Ok(())
    }

    /// Refuses what makes no sense before anything is allocated for it.
    fn judge(&self, store: &dyn Store) -> Result<()> {
        let bad = |at: u64, why: String| Err(store.bad(Kind::Qcow2, "header", at, why));
        let unknown = self.incompatible & !KNOWN;
        if unknown != 0 {
            return Err(
                store.no_way(format!("it needs features that emu does not have: {}", self.feature_names(unknown)))
            );
        }
        if self.refcount_order > 6 {
            return bad(96, format!("reference counts of 2^{} bits", self.refcount_order));
        }
        if self.incompatible & EXTENDED_L2 != 0 && self.cluster_bits < 14 {
            return bad(20, "extended L2 entries need clusters of 16 KiB at least".into());
        }
        if self.size > 1 << 62 || self.l1_entries(self.size) > MOST_L1 {
            return bad(24, format!("a disk of {} bytes is larger than its clusters can map", self.size));
        }
        if u64::from(self.l1_size) > MOST_L1 || u64::from(self.l1_size) < self.l1_entries(self.size) {
            return bad(36, format!("an L1 table of {} entries for {} bytes", self.l1_size, self.size));
        }
        self.judge_table(store, "L1 table", 40, self.l1_offset, u64::from(self.l1_size) * 8)?;
        let rt_bytes = u64::from(self.rt_clusters) << self.cluster_bits;
        if rt_bytes == 0 || rt_bytes > MOST_TABLE {
            return bad(56, format!("a reference count table of {} clusters", self.rt_clusters));
        }
        self.judge_table(store, "reference count table", 48, self.rt_offset, rt_bytes)?;
        if self.snapshots > 65536 {
            return bad(60, format!("{} snapshots", self.snapshots));
        }
        if self.snapshots > 0 {
            self.judge_table(store, "snapshot table", 64, self.snapshots_offset, u64::from(self.snapshots) * 40)?;
        }
        Ok(())
    }

    fn judge_table(&self, store: &dyn Store, name: &'static str, at: u64, offset: u64, bytes: u64) -> Result<()> {
        let inside = offset.checked_add(bytes).is_some_and(|end| end <= store.len());
        if bytes > 0 && (offset == 0 || !offset.is_multiple_of(self.cluster()) || !inside) {
            let (size, len) = (store.len(), bytes);
            let why = format!("{len} bytes at {offset:#x} are not in a file of {size} bytes: is it truncated?");
            return Err(store.bad(Kind::Qcow2, name, at, why));
        }
        Ok(())
    }

    /// Names of incompatible features, from the image's own table.
    fn feature_names(&self, bits: u64) -> String {
        let table = self.extension(EXT_FEATURES).unwrap_or(&[]);
        let name = |bit: u8| {
            let found = table.chunks_exact(48).find(|e| e[0] == 0 && e[1] == bit)?;
            let text: Vec<u8> = found[2..].iter().copied().take_while(|b| *b != 0).collect();
            Some(String::from_utf8_lossy(&text).escape_debug().to_string())
        };
        let names = (0..64).filter(|b| bits >> b & 1 != 0).map(|b| name(b).unwrap_or(format!("bit {b}")));
        names.collect::<Vec<_>>().join(", ")
    }

    /// The header's cluster as it is written; `None` if it does not fit.
    pub(super) fn bytes(&self) -> Option<Vec<u8>> {
        let length: usize = match self.version {
            2 => 72,
            _ if self.incompatible & COMPRESSION != 0 => 112,
            _ => 104,
        };
        let mut b = vec![0; length];
        b[..4].copy_from_slice(&MAGIC);
        let mut put = |at: usize, bytes: &[u8]| b[at..at + bytes.len()].copy_from_slice(bytes);
        put(4, &self.version.to_be_bytes());
        put(20, &self.cluster_bits.to_be_bytes());
        put(24, &self.size.to_be_bytes());
        put(36, &self.l1_size.to_be_bytes());
        put(40, &self.l1_offset.to_be_bytes());
        put(48, &self.rt_offset.to_be_bytes());
        put(56, &self.rt_clusters.to_be_bytes());
        put(60, &self.snapshots.to_be_bytes());
        put(64, &self.snapshots_offset.to_be_bytes());
        if self.version >= 3 {
            put(72, &self.incompatible.to_be_bytes());
            put(80, &self.compatible.to_be_bytes());
            put(88, &self.autoclear.to_be_bytes());
            put(96, &self.refcount_order.to_be_bytes());
            put(100, &(length as u32).to_be_bytes());
        }
        if length > 104 {
            put(104, &[u8::from(self.compression == Compression::Zstd)]);
        }
        for (kind, data) in &self.extensions {
            b.extend_from_slice(&kind.to_be_bytes());
            b.extend_from_slice(&(data.len() as u32).to_be_bytes());
            b.extend_from_slice(data);
            b.resize(b.len().next_multiple_of(8), 0);
        }
        b.extend_from_slice(&[0; 8]);
        if let Some(name) = &self.backing {
            let at = b.len() as u64;
            b[8..16].copy_from_slice(&at.to_be_bytes());
            b[16..20].copy_from_slice(&(name.len() as u32).to_be_bytes());
            b.extend_from_slice(name.as_bytes());
        }
        let cluster = self.cluster() as usize;
        if b.len() > cluster || self.backing.as_ref().is_some_and(|n| n.len() > 1023) {
            return None;
        }
        b.resize(cluster, 0);
        Some(b)
    }
}
