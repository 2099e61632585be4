//! Split raw: the bytes of the disk, cut into numbered files `x.001`, `x.002`, … (or from `.000` on).
//!
//! Nothing in the files says that they belong together but their names, so the first one's name must be given, and the
//! parts must follow each other without a gap.

use std::path::Path;

use super::super::ImageError;
use super::super::files::{Files, Maker};
use super::super::format::{Extent, Findings, Fix, Format, Kind, Result, Target, Where};
use super::super::store::Store;

/// A raw image in parts.
pub(crate) struct Split {
    parts: Vec<Box<dyn Store>>,
    /// Where each part begins, and the end.
    starts: Vec<u64>,
}

/// The name of part `number`, if `path` is named like a first part.
fn part_name(path: &Path, number: usize) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let (stem, digits) = name.rsplit_once('.')?;
    let first: usize = digits.parse().ok().filter(|n| *n <= 1 && digits.len() >= 2)?;
    Some(format!("{stem}.{:0width$}", first + number, width = digits.len()))
}

/// Whether the file is the first of several parts.
pub(crate) fn is_first(path: &Path, files: &Files) -> bool {
    part_name(path, 1).is_some_and(|next| files.exists(path, &next))
}

impl Split {
    pub(crate) fn open(first: Box<dyn Store>, files: &mut Files, write: bool) -> Result<Split> {
        let path = first.path().to_owned();
        if part_name(&path, 0).is_none() {
            return Err(first.no_way("the first part of a split image is named like x.001"));
        }
        let mut starts = vec![0, first.len()];
        let mut parts = vec![first];
        while let Some(next) = part_name(&path, parts.len()).filter(|n| files.exists(&path, n)) {
            let part = files.named(&path, &next, write)?;
            starts.push(starts[parts.len()] + part.len());
            parts.push(part);
        }
        // All but the last are as long as the first: nothing else shows that one was cut off.
        if let Some(short) = parts[..parts.len() - 1].iter().find(|p| p.len() != starts[1]) {
            let why = format!("it ends here, the first part has {} bytes: is it truncated?", starts[1]);
            return Err(short.bad(Kind::Split, "part", short.len(), why));
        }
        Ok(Split { parts, starts })
    }

    /// The part that holds `offset`, the position in it, and the bytes from there to its end.
    fn find(&self, offset: u64) -> (usize, u64, u64) {
        let file = self.starts.partition_point(|s| *s <= offset) - 1;
        (file, offset - self.starts[file], self.starts[file + 1] - offset)
    }
}

impl Format for Split {
    fn kind(&self) -> Kind {
        Kind::Split
    }
    fn size(&self) -> u64 {
        self.starts[self.parts.len()]
    }
    fn store(&self, file: usize) -> &dyn Store {
        &*self.parts[file]
    }
    fn stores(&self) -> usize {
        self.parts.len()
    }

    fn lookup(&mut self, offset: u64, len: u64) -> Result<Extent> {
        let (file, pos, left) = self.find(offset);
        Ok(Extent { len: len.min(left), place: Where::Data { file, pos } })
    }

    fn target(&mut self, offset: u64, len: u64) -> Result<Target> {
        let (file, pos, left) = self.find(offset);
        Ok(Target { file, pos, from: offset, to: offset + len.min(left), zeroed: false })
    }

    fn flush(&mut self) -> Result<()> {
        self.parts.iter().try_for_each(|p| p.flush())
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        vec![("parts", self.parts.len().to_string())]
    }
    fn can_check(&self) -> bool {
        false
    }
    fn check(&mut self, _: Fix) -> Result<Findings> {
        Ok(Findings::default())
    }
}

/// Makes the parts of a disk of `size` bytes.
pub(crate) fn create(path: &Path, size: u64, part: u64, maker: &mut Maker) -> Result<()> {
    let no_way = |why: &str| ImageError::NoWay { path: path.to_owned(), why: why.to_owned().into() };
    if part == 0 || !part.is_multiple_of(512) || size.div_ceil(part) > 998 {
        return Err(no_way("extent_size must be whole sectors, and give at most 998 parts"));
    }
    let mut left = size;
    let mut number = 0;
    while number == 0 || left > 0 {
        let name = part_name(path, number).ok_or_else(|| no_way("a split image is named like x.001"))?;
        maker.make(&path.with_file_name(name))?.resize(left.min(part))?;
        left -= left.min(part);
        number += 1;
    }
    Ok(())
}
