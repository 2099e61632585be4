//! Comparing two disks.

use super::super::disk::{Disk, is_zero};
use super::super::format::Result;

/// Bytes compared at a time.
const PIECE: u64 = 1 << 20;

/// How two disks differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The first byte that differs.
    At(u64),
    /// All bytes are equal, but the longer one has something else than zeros beyond the shorter one's end.
    Beyond(u64),
    /// All bytes are equal, but the sizes are not.
    Size(u64, u64),
}

/// The first difference between two disks, if there is one. `each` is told the bytes that are done.
///
/// # Errors
/// Any [`super::super::ImageError`] of reading.
pub fn compare(a: &mut Disk, b: &mut Disk, each: &mut dyn FnMut(u64)) -> Result<Option<Difference>> {
    let (shorter, longer) = (a.size().min(b.size()), a.size().max(b.size()));
    let (mut left, mut right) = (vec![0; PIECE as usize], vec![0; PIECE as usize]);
    let mut at = 0;
    while at < longer {
        // Beyond a disk's end is a hole too.
        let hole = a.hole_at(at, longer - at)?.min(b.hole_at(at, longer - at)?);
        if hole > 0 {
            at += hole;
            each(at);
            continue;
        }
        let n = (PIECE - at % PIECE).min(if at < shorter { shorter - at } else { longer - at }) as usize;
        if at < shorter {
            a.read(at, &mut left[..n])?;
            b.read(at, &mut right[..n])?;
            if left[..n] != right[..n] {
                let first = left.iter().zip(&right).position(|(x, y)| x != y).unwrap_or(0);
                return Ok(Some(Difference::At(at + first as u64)));
            }
        } else {
            let longer = if a.size() > b.size() { &mut *a } else { &mut *b };
            longer.read(at, &mut left[..n])?;
            if !is_zero(&left[..n]) {
                return Ok(Some(Difference::Beyond(at)));
            }
        }
        at += n as u64;
        each(at);
    }
    Ok((shorter != longer).then(|| Difference::Size(a.size(), b.size())))
}
