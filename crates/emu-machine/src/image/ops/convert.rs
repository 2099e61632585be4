//! Copying a disk into another image.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::super::ImageError;
use super::super::disk::{Disk, is_zero};
use super::super::format::{Packer, Result};

/// Bytes copied at a time.
const PIECE: u64 = 1 << 20;
/// Runs of zeros shorter than this are written like data, unless the target's blocks are larger.
const GRAIN: u64 = 4096;
/// The longest piece that is written or left out as a whole.
const LARGEST_GRAIN: u64 = 64 << 10;
/// Pieces that wait between two threads, and buffers that are used again.
const DEPTH: usize = 2;
const BUFFERS: usize = 8;
/// Threads that compress, at most.
const MOST_PACKERS: usize = 8;

/// How to copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conversion {
    /// Compress every block.
    pub compress: bool,
    /// Where to begin: what an earlier run has done already.
    pub from: u64,
    /// The target has a parent: write what differs from it.
    pub over_parent: bool,
    /// Write zeros too, so that all space is taken.
    pub full: bool,
}

/// Where a copy stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Bytes of the disk that are done.
    pub done: u64,
    /// Bytes that were written.
    pub written: u64,
}

/// Copies `source` into `target`, which is at least as large. `each` is told after every piece; with an error it ends the
/// copy. All is written when this returns, and durable unless the target was opened with
/// [`super::super::Options::unsynced`].
///
/// The source is read on a thread of its own, and blocks are compressed on as many as the host has cores; they are
/// written here, in the order of the disk, so that the image is the same whatever the host.
///
/// # Errors
/// Any [`ImageError`] of reading and writing, and that of `each`.
pub fn convert(
    source: &mut Disk,
    target: &mut Disk,
    how: Conversion,
    each: &mut dyn FnMut(&mut Disk, Copied) -> Result<()>,
) -> Result<Copied> {
    let size = source.size();
    if target.size() < size {
        let why = format!("it has {} bytes, too few for {size}", target.size()).into();
        return Err(ImageError::NoWay { path: target.layers()[0].store(0).path().to_owned(), why });
    }
    if how.from > 0 && target.layers()[0].only_packed() {
        let why = "an image of this kind is written in one go: start anew with --force".into();
        return Err(ImageError::NoWay { path: target.layers()[0].store(0).path().to_owned(), why });
    }
    let compress = (how.compress || target.layers()[0].only_packed()) && !how.over_parent;
    let grain = if compress { target.block() } else { target.block().clamp(GRAIN, LARGEST_GRAIN) };
    let mut copy = Copy { target, how, grain, written: 0 };
    let packers = if compress { copy.packers()? } else { Vec::new() };
    let reader = Reader { source, at: how.from, size, piece: PIECE.max(grain), grain };
    std::thread::scope(|scope| {
        let (emptied, buffers) = sync_channel(BUFFERS);
        let lanes: Vec<_> = (0..packers.len().max(1)).map(|_| sync_channel(DEPTH)).collect();
        let (mut senders, mut receivers): (Vec<_>, Vec<_>) = lanes.into_iter().unzip();
        for (packer, receiver) in packers.into_iter().zip(&mut receivers) {
            let (send, packed) = sync_channel(DEPTH);
            let unpacked = std::mem::replace(receiver, packed);
            scope.spawn(move || pack_all(packer, grain as usize, &unpacked, &send));
        }
        scope.spawn(move || reader.run(&mut senders, &buffers));
        for lane in (0..receivers.len()).cycle() {
            let Ok(piece) = receivers[lane].recv() else { break };
            let piece = piece?;
            copy.put(&piece)?;
            let done = piece.at + piece.len;
            each(copy.target, Copied { done, written: copy.written })?;
            _ = emptied.try_send(piece.bytes);
        }
        copy.target.finish()?;
        Ok(Copied { done: size, written: copy.written })
    })
}

/// A stretch of the disk on its way.
struct Piece {
    at: u64,
    len: u64,
    /// Its contents in the first `len` bytes; empty for a hole.
    bytes: Vec<u8>,
    /// Where compressed blocks begin, and their contents; blocks that do not get smaller, or are zeros, are not here.
    packed: Vec<(usize, Vec<u8>)>,
}

/// Reads the source.
struct Reader<'a> {
    source: &'a mut Disk,
    at: u64,
    size: u64,
    piece: u64,
    grain: u64,
}

impl Reader<'_> {
    /// Sends all pieces, to one lane after the other; ends early when nobody takes them any more.
    fn run(mut self, lanes: &mut [SyncSender<Result<Piece>>], buffers: &Receiver<Vec<u8>>) {
        for lane in (0..lanes.len()).cycle() {
            if self.at >= self.size {
                return;
            }
            let piece = self.next(buffers.try_recv().unwrap_or_default());
            let failed = piece.is_err();
            if lanes[lane].send(piece).is_err() || failed {
                return;
            }
        }
    }

    fn next(&mut self, mut bytes: Vec<u8>) -> Result<Piece> {
        let at = self.at;
        let (len, is_hole) = self.stretch()?;
        if is_hole {
            bytes.clear();
        } else {
            bytes.resize(self.piece as usize, 0);
            self.source.read(at, &mut bytes[..len as usize])?;
        }
        self.at += len;
        Ok(Piece { at, len, bytes, packed: Vec::new() })
    }

    /// The next stretch: its length, and whether nothing is stored there. Stretches end at multiples of `grain`, those of
    /// data at the next one of `piece` at the latest.
    fn stretch(&mut self) -> Result<(u64, bool)> {
        let left = self.size - self.at;
        let hole = self.source.hole_at(self.at, left)?;
        if hole >= self.grain || hole == left {
            return Ok((if hole == left { hole } else { hole / self.grain * self.grain }, true));
        }
        let most = (self.piece - self.at % self.piece).min(left);
        let data = hole + self.source.data_at(self.at + hole, most.saturating_sub(hole))?;
        Ok((data.max(1).next_multiple_of(self.grain).min(most), false))
    }
}

/// Compresses the blocks of all pieces that come.
fn pack_all(mut packer: Box<dyn Packer>, grain: usize, from: &Receiver<Result<Piece>>, to: &SyncSender<Result<Piece>>) {
    for piece in from {
        let piece = piece.map(|mut piece| {
            let len = if piece.bytes.is_empty() { 0 } else { piece.len as usize };
            for at in (0..len).step_by(grain) {
                let block = &piece.bytes[at..(at + grain).min(len)];
                let packed = if is_zero(block) { None } else { packer.pack(block) };
                piece.packed.extend(packed.map(|p| (at, p)));
            }
            piece
        });
        if to.send(piece).is_err() {
            return;
        }
    }
}

struct Copy<'a> {
    target: &'a mut Disk,
    how: Conversion,
    grain: u64,
    written: u64,
}

impl Copy<'_> {
    /// What compresses, once for each thread that does.
    fn packers(&self) -> Result<Vec<Box<dyn Packer>>> {
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(MOST_PACKERS));
        (0..threads).map(|_| self.target.layers()[0].packer()).collect()
    }

    fn put(&mut self, piece: &Piece) -> Result<()> {
        let (at, bytes) = (piece.at, &piece.bytes);
        match bytes.get(..piece.len as usize) {
            None => self.hole(at, piece.len),
            Some(bytes) if self.how.over_parent => self.differences(at, bytes),
            Some(bytes) if piece.packed.is_empty() => self.data(at, bytes),
            Some(bytes) => self.packed(at, bytes, &piece.packed),
        }
    }

    fn hole(&mut self, at: u64, len: u64) -> Result<()> {
        if !self.how.over_parent && !self.how.full && self.how.from == 0 {
            return Ok(());
        }
        if self.how.full {
            let zeros = vec![0; PIECE as usize];
            let mut done = 0;
            while done < len {
                let n = (zeros.len() as u64).min(len - done);
                self.target.write(at + done, &zeros[..n as usize])?;
                done += n;
            }
            self.written += len;
            return Ok(());
        }
        self.target.write_zeros(at, len)
    }

    /// Runs of grains that are not all zeros go in one write.
    fn data(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        let (grain, len) = (self.grain as usize, bytes.len());
        let mut from = 0;
        while from < len {
            let zero = |i: usize| !self.how.full && is_zero(&bytes[i..(i + grain).min(len)]);
            let skip = zero(from);
            let mut to = (from + grain).min(len);
            while to < len && zero(to) == skip {
                to = (to + grain).min(len);
            }
            if !skip {
                self.target.write(at + from as u64, &bytes[from..to])?;
                self.written += (to - from) as u64;
            } else if self.how.from != 0 {
                self.target.write_zeros(at + from as u64, (to - from) as u64)?;
            }
            from = to;
        }
        Ok(())
    }

    /// Compressed blocks, and between them what does not get smaller.
    fn packed(&mut self, at: u64, bytes: &[u8], packed: &[(usize, Vec<u8>)]) -> Result<()> {
        let mut done = 0;
        for (from, block) in packed {
            self.data(at + done as u64, &bytes[done..*from])?;
            self.target.write_packed(at + *from as u64, block)?;
            done = (from + self.grain as usize).min(bytes.len());
            self.written += (done - from) as u64;
        }
        self.data(at + done as u64, &bytes[done..])
    }

    /// Writes what the target does not show already.
    fn differences(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        let len = bytes.len();
        let mut there = vec![0; len];
        self.target.read(at, &mut there)?;
        let grain = self.grain as usize;
        for from in (0..len).step_by(grain) {
            let to = (from + grain).min(len);
            if there[from..to] == bytes[from..to] {
                continue;
            }
            if is_zero(&bytes[from..to]) {
                self.target.write_zeros(at + from as u64, (to - from) as u64)?;
            } else {
                self.target.write(at + from as u64, &bytes[from..to])?;
                self.written += (to - from) as u64;
            }
        }
        Ok(())
    }
}
