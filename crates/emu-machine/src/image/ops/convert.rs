//! Copying a disk into another image.

use super::super::ImageError;
use super::super::disk::{Disk, is_zero};
use super::super::format::Result;

/// Bytes copied at a time.
const PIECE: u64 = 1 << 20;
/// Runs of zeros shorter than this are written like data, unless the target's blocks are larger.
const GRAIN: u64 = 4096;
/// The longest piece that is written or left out as a whole.
const LARGEST_GRAIN: u64 = 64 << 10;

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
/// copy. All is durable when this returns.
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
    let compress = how.compress || target.layers()[0].only_packed();
    let grain = if compress { target.block() } else { target.block().clamp(GRAIN, LARGEST_GRAIN) };
    let piece = PIECE.max(grain);
    let mut copy =
        Copy { target, how: Conversion { compress, ..how }, grain, buf: vec![0; piece as usize], written: 0 };
    let mut at = how.from;
    while at < size {
        let (n, is_hole) = next_piece(source, at, size, piece)?;
        if is_hole {
            copy.hole(at, n)?;
        } else {
            source.read(at, &mut copy.buf[..n as usize])?;
            copy.data(at, n as usize)?;
        }
        at += n;
        each(copy.target, Copied { done: at, written: copy.written })?;
    }
    let written = copy.written;
    target.finish()?;
    Ok(Copied { done: size, written })
}

/// The next stretch: its length, and whether nothing is stored there. Data end at a multiple of `piece`, holes too.
fn next_piece(source: &mut Disk, at: u64, size: u64, piece: u64) -> Result<(u64, bool)> {
    let hole = source.hole_at(at, size - at)?;
    if hole >= piece {
        return Ok((if hole == size - at { hole } else { hole / piece * piece }, true));
    }
    Ok(((piece - at % piece).min(size - at), false))
}

struct Copy<'a> {
    target: &'a mut Disk,
    how: Conversion,
    grain: u64,
    buf: Vec<u8>,
    written: u64,
}

impl Copy<'_> {
    fn hole(&mut self, at: u64, len: u64) -> Result<()> {
        if !self.how.over_parent && !self.how.full && self.how.from == 0 {
            return Ok(());
        }
        if self.how.full {
            let zeros = vec![0; self.buf.len()];
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

    fn data(&mut self, at: u64, len: usize) -> Result<()> {
        if self.how.over_parent {
            return self.differences(at, len);
        }
        if self.how.compress {
            return self.packed(at, len);
        }
        // Runs of grains that are not all zeros go in one write.
        let grain = self.grain as usize;
        let mut from = 0;
        while from < len {
            let zero = |i: usize| !self.how.full && is_zero(&self.buf[i..(i + grain).min(len)]);
            let skip = zero(from);
            let mut to = (from + grain).min(len);
            while to < len && zero(to) == skip {
                to = (to + grain).min(len);
            }
            if !skip {
                self.target.write(at + from as u64, &self.buf[from..to])?;
                self.written += (to - from) as u64;
            } else if self.how.from != 0 {
                self.target.write_zeros(at + from as u64, (to - from) as u64)?;
            }
            from = to;
        }
        Ok(())
    }

    fn packed(&mut self, at: u64, len: usize) -> Result<()> {
        for from in (0..len).step_by(self.grain as usize) {
            let block = &self.buf[from..(from + self.grain as usize).min(len)];
            if is_zero(block) {
                continue;
            }
            self.target.write_packed(at + from as u64, block)?;
            self.written += block.len() as u64;
        }
        Ok(())
    }

    /// Writes what the target does not show already.
    fn differences(&mut self, at: u64, len: usize) -> Result<()> {
        let mut there = vec![0; len];
        self.target.read(at, &mut there)?;
        let grain = self.grain as usize;
        for from in (0..len).step_by(grain) {
            let to = (from + grain).min(len);
            if there[from..to] == self.buf[from..to] {
                continue;
            }
            if is_zero(&self.buf[from..to]) {
                self.target.write_zeros(at + from as u64, (to - from) as u64)?;
            } else {
                self.target.write(at + from as u64, &self.buf[from..to])?;
                self.written += (to - from) as u64;
            }
        }
        Ok(())
    }
}
