//! Compressed clusters [qcow2 Compressed Clusters Descriptor].

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};

use super::super::super::format::{Packer, Result};
use super::Qcow2;
use super::header::Compression;
use super::table::{Entry, PACKED};

/// The last cluster that was unpacked, and the tools for it.
#[derive(Default)]
pub(super) struct Unpacked {
    /// The entry that it came from; 0 for none.
    bits: u64,
    bytes: Vec<u8>,
    zlib: Option<Decompress>,
}

impl Unpacked {
    pub(super) fn forget(&mut self) {
        self.bits = 0;
    }
}

/// Log2 of deflate's window, as QEMU expects it.
const WINDOW: u8 = 12;

impl Qcow2 {
    /// The bytes of the file that a compressed cluster may take: up to the end of its last sector.
    pub(super) fn packed_range(&self, entry: Entry) -> (u64, u64) {
        let x = 62 - (self.h.cluster_bits - 8);
        let offset = entry.bits & ((1 << x) - 1);
        let sectors = (entry.bits & !(3 << 62)) >> x;
        (offset, (sectors + 1) * 512 - offset % 512)
    }

    /// Reads from within one compressed cluster.
    pub(super) fn unpack(&mut self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let entry = self.entry(offset)?;
        if self.unpacked.bits != entry.bits || self.unpacked.bytes.is_empty() {
            self.unpack_entry(entry, offset)?;
        }
        let within = (offset % self.h.cluster()) as usize;
        buf.copy_from_slice(&self.unpacked.bytes[within..within + buf.len()]);
        Ok(())
    }

    fn unpack_entry(&mut self, entry: Entry, offset: u64) -> Result<()> {
        let (at, len) = self.packed_range(entry);
        let len = len.min(self.store.len().saturating_sub(at));
        if len == 0 {
            let why = format!("the data of virtual offset {offset:#x} are beyond the end of the file");
            return Err(self.bad("compressed cluster", at, why));
        }
        let raw = self.store.read_vec(at, len as usize)?;
        let mut bytes = core::mem::take(&mut self.unpacked.bytes);
        bytes.resize(self.h.cluster() as usize, 0);
        let done = match self.h.compression {
            Compression::Zlib => self.inflate(&raw, &mut bytes),
            Compression::Zstd => unzstd(&raw, &mut bytes),
        };
        self.unpacked.bytes = bytes;
        self.unpacked.bits = 0;
        if !done {
            let why = format!("the data of virtual offset {offset:#x} do not unpack to a cluster");
            return Err(self.bad("compressed cluster", at, why));
        }
        self.unpacked.bits = entry.bits;
        Ok(())
    }

    fn inflate(&mut self, raw: &[u8], bytes: &mut [u8]) -> bool {
        let tool = self.unpacked.zlib.get_or_insert_with(|| Decompress::new(false));
        tool.reset(false);
        let end = tool.decompress(raw, bytes, FlushDecompress::Finish);
        end.is_ok() && tool.total_out() == bytes.len() as u64
    }

    /// Writes a cluster that is compressed already.
    pub(super) fn put_packed(&mut self, offset: u64, packed: &[u8]) -> Result<()> {
        let cluster = self.h.cluster();
        if !offset.is_multiple_of(cluster) || self.data.is_some() {
            return Err(self.store.no_way("only whole clusters of the image's own file can be compressed"));
        }
        let at = self.take_bytes(packed.len() as u64)?;
        self.store.write(at, packed)?;
        self.unpacked.forget();
        let x = 62 - (self.h.cluster_bits - 8);
        let sectors = (at + packed.len() as u64 - 1) / 512 - at / 512;
        let new = Entry { bits: PACKED | sectors << x | at, subs: 0 };
        let table = self.table_to_write(offset)?;
        let place = table + offset / cluster % self.h.per_l2() * self.h.entry_bytes();
        let old = self.entry_at(place)?;
        self.put_entry(place, new)?;
        self.give_up_entry(old);
        Ok(())
    }

    /// Takes space for a compressed cluster: behind the last one if that goes on.
    fn take_bytes(&mut self, len: u64) -> Result<u64> {
        let (bits, cluster) = (self.h.cluster_bits, self.h.cluster());
        if let Some((at, end)) = self.space.packed {
            let room = self.refcount(at >> bits)? < self.most_refs();
            if room && at + len <= end {
                self.change_refcount(at >> bits, true)?;
                self.space.packed = (at + len < end).then_some((at + len, end));
                return Ok(at);
            }
            let (next, _) = self.take(1)?;
            if room && next == end && at < end {
                self.change_refcount(at >> bits, true)?;
                self.space.packed = Some((at + len, next + cluster));
                return Ok(at);
            }
            self.space.packed = Some((next + len, next + cluster));
            return Ok(next);
        }
        let (next, _) = self.take(1)?;
        self.space.packed = (len < cluster).then_some((next + len, next + cluster));
        Ok(next)
    }
}

/// Compresses clusters.
pub(super) struct ClusterPacker {
    compression: Compression,
    cluster: usize,
    deflate: Compress,
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl ClusterPacker {
    pub(super) fn new(compression: Compression, cluster: u64) -> ClusterPacker {
        let deflate = Compress::new_with_window_bits(flate2::Compression::default(), false, WINDOW);
        ClusterPacker { compression, cluster: cluster as usize, deflate, zstd: None }
    }
}

impl Packer for ClusterPacker {
    fn pack(&mut self, block: &[u8]) -> Option<Vec<u8>> {
        let mut padded;
        let bytes = if block.len() == self.cluster {
            block
        } else {
            padded = block.to_vec(); // the disk's end
            padded.resize(self.cluster, 0);
            &padded[..]
        };
        // Roomy, so that every stream comes to its end: one that stops short leaves the tool in disorder.
        let mut out = vec![0; bytes.len() + bytes.len() / 8 + 128];
        let len = match self.compression {
            Compression::Zlib => {
                self.deflate.reset();
                match self.deflate.compress(bytes, &mut out, FlushCompress::Finish) {
                    Ok(Status::StreamEnd) => self.deflate.total_out() as usize,
                    _ => return None,
                }
            }
            Compression::Zstd => {
                let tool = match &mut self.zstd {
                    Some(tool) => tool,
                    none => none.insert(zstd::bulk::Compressor::new(zstd::DEFAULT_COMPRESSION_LEVEL).ok()?),
                };
                tool.compress_to_buffer(bytes, &mut out).ok()?
            }
        };
        out.truncate(len);
        (len < bytes.len()).then_some(out)
    }
}

/// Unpacks one frame; what follows it is the rest of its sector.
fn unzstd(raw: &[u8], bytes: &mut [u8]) -> bool {
    use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};
    let Ok(mut decoder) = Decoder::new() else { return false };
    let mut input = InBuffer::around(raw);
    let len = bytes.len();
    let mut output = OutBuffer::around(bytes);
    while output.pos() < len {
        let before = (input.pos, output.pos());
        if decoder.run(&mut input, &mut output).is_err() || before == (input.pos, output.pos()) {
            return false;
        }
    }
    true
}
