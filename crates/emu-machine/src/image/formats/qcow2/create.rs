//! New images.

use super::super::super::format::{Kind, NewParent, Result};
use super::super::super::store::Store;
use super::header::{
    COMPRESSION, Compression, DATA_FILE, DATA_RAW, EXT_BACKING, EXT_DATA, EXT_FEATURES, EXTENDED_L2, Header,
    LAZY_REFCOUNTS,
};
use super::refcount::block_bytes;

/// What a new image is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Create {
    pub(crate) size: u64,
    /// 2 or 3.
    pub(crate) version: u32,
    pub(crate) cluster: u64,
    pub(crate) refcount_bits: u64,
    pub(crate) compression: Compression,
    pub(crate) extended_l2: bool,
    pub(crate) lazy_refcounts: bool,
    /// The data file's name, and whether it shall be a raw disk by itself.
    pub(crate) data_file: Option<(String, bool)>,
    pub(crate) parent: Option<NewParent>,
}

impl Create {
    /// What QEMU makes unless told otherwise.
    pub(crate) fn new(size: u64) -> Create {
        Create {
            size,
            version: 3,
            cluster: 65536,
            refcount_bits: 16,
            compression: Compression::Zlib,
            extended_l2: false,
            lazy_refcounts: false,
            data_file: None,
            parent: None,
        }
    }
}

/// Writes an empty image into an empty store.
pub(crate) fn create(store: &dyn Store, c: &Create) -> Result<()> {
    let power = |n: u64, from: u64, to: u64| n.is_power_of_two() && (from..=to).contains(&n);
    if !power(c.cluster, 512, 2 << 20) {
        return Err(store.no_way("cluster_size must be a power of two from 512 to 2M"));
    }
    if !power(c.refcount_bits, 1, 64) {
        return Err(store.no_way("refcount_bits must be a power of two from 1 to 64"));
    }
    let newer = c.refcount_bits != 16
        || c.extended_l2
        || c.lazy_refcounts
        || c.data_file.is_some()
        || c.compression != Compression::Zlib;
    if c.version < 3 && newer {
        return Err(store.no_way("compat=0.10 has none of these options; use compat=1.1"));
    }
    if c.extended_l2 && c.cluster < 16384 {
        return Err(store.no_way("extended_l2 needs a cluster_size of 16K at least"));
    }
    if c.data_file.as_ref().is_some_and(|d| d.1) && c.parent.is_some() {
        return Err(store.no_way("a raw data file can't have a parent"));
    }
    let mut h = header(c);
    if h.l1_entries(c.size) > 1 << 28 || c.size > 1 << 62 {
        return Err(store.no_way(format!("{} bytes are more than clusters of {} can map", c.size, c.cluster)));
    }
    lay_out(store, c, &mut h)
}

fn header(c: &Create) -> Header {
    let mut extensions = Vec::new();
    if let Some(parent) = &c.parent {
        let name = if parent.kind == Kind::Vhd { "vpc" } else { parent.kind.name() };
        extensions.push((EXT_BACKING, name.into()));
    }
    if let Some((name, _)) = &c.data_file {
        extensions.push((EXT_DATA, name.as_bytes().to_vec()));
    }
    if c.version >= 3 && c.cluster >= 4096 {
        extensions.push((EXT_FEATURES, feature_table()));
    }
    let bit = |on: bool, bit: u64| if on { bit } else { 0 };
    Header {
        version: c.version,
        cluster_bits: c.cluster.ilog2(),
        size: c.size,
        l1_size: 0,
        l1_offset: 0,
        rt_offset: 0,
        rt_clusters: 0,
        snapshots: 0,
        snapshots_offset: 0,
        incompatible: bit(c.data_file.is_some(), DATA_FILE)
            | bit(c.compression == Compression::Zstd, COMPRESSION)
            | bit(c.extended_l2, EXTENDED_L2),
        compatible: bit(c.lazy_refcounts, LAZY_REFCOUNTS),
        autoclear: bit(c.data_file.as_ref().is_some_and(|d| d.1), DATA_RAW),
        refcount_order: c.refcount_bits.ilog2(),
        compression: c.compression,
        backing: c.parent.as_ref().map(|p| p.name.clone()),
        extensions,
    }
}

/// Names of features, for programs that do not know them.
fn feature_table() -> Vec<u8> {
    let names = [
        (0, 0, "dirty bit"),
        (0, 1, "corrupt bit"),
        (0, 2, "external data file"),
        (0, 3, "compression type"),
        (0, 4, "extended L2 entries"),
        (1, 0, "lazy refcounts"),
        (2, 0, "bitmaps"),
        (2, 1, "raw external data"),
    ];
    let mut table = Vec::new();
    for (kind, bit, name) in names {
        table.extend_from_slice(&[kind, bit]);
        table.extend_from_slice(name.as_bytes());
        table.resize(table.len().next_multiple_of(48), 0);
    }
    table
}

/// Header, table of blocks, blocks, L1 table: one behind the other.
fn lay_out(store: &dyn Store, c: &Create, h: &mut Header) -> Result<()> {
    let (cluster, per) = (h.cluster(), h.per_block());
    let entries = h.l1_entries(c.size);
    let l1 = (entries * 8).div_ceil(cluster);
    let (mut table, mut blocks) = (1, 1);
    loop {
        let all = 1 + table + blocks + l1;
        let (b, t) = (all.div_ceil(per), (blocks * 8).div_ceil(cluster));
        if (b, t) == (blocks, table) {
            break;
        }
        (blocks, table) = (b.max(blocks), t.max(table));
    }
    let used = 1 + table + blocks + l1;
    (h.rt_offset, h.rt_clusters) = (cluster, table as u32);
    (h.l1_offset, h.l1_size) = (if l1 == 0 { 0 } else { (1 + table + blocks) * cluster }, entries as u32);
    let head = h.bytes().ok_or_else(|| store.no_way("the header has no room for such a long name"))?;
    store.resize(used * cluster)?;
    let pointers: Vec<u8> = (0..blocks).flat_map(|b| ((1 + table + b) * cluster).to_be_bytes()).collect();
    store.write(cluster, &pointers)?;
    for block in 0..blocks {
        let counts = (block * per..used.min((block + 1) * per)).map(|i| (i % per, 1));
        store.write((1 + table + block) * cluster, &block_bytes(cluster as usize, h.refcount_order, counts))?;
    }
    store.flush()?;
    store.write(0, &head)?;
    store.flush()
}
