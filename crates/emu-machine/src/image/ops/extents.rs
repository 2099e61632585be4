//! Which layer has which bytes, and where.

use std::path::PathBuf;

use super::super::disk::Disk;
use super::super::format::{Result, Where};

/// A stretch of a disk that lies in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapEntry {
    /// Where it begins on the disk, in bytes.
    pub start: u64,
    /// Its bytes.
    pub length: u64,
    /// The layer that has it: 0 is the image itself.
    pub depth: usize,
    /// Whether a layer says something about it.
    pub present: bool,
    /// Whether it reads as zeros.
    pub zero: bool,
    /// Whether bytes are stored for it.
    pub data: bool,
    /// Whether they are compressed.
    pub compressed: bool,
    /// Its place in a file, if it lies in one as it is.
    pub place: Option<(PathBuf, u64)>,
}

/// Tells `each` all stretches of the disk, in order.
///
/// # Errors
/// Any [`super::super::ImageError`] of reading tables.
pub fn map(disk: &mut Disk, each: &mut dyn FnMut(&MapEntry)) -> Result<()> {
    let mut last: Option<MapEntry> = None;
    let mut at = 0;
    while at < disk.size() {
        let entry = entry_at(disk, at)?;
        at += entry.length;
        match &mut last {
            Some(last) if joins(last, &entry) => last.length += entry.length,
            _ => {
                if let Some(last) = last.replace(entry) {
                    each(&last);
                }
            }
        }
    }
    if let Some(last) = last {
        each(&last);
    }
    Ok(())
}

fn entry_at(disk: &mut Disk, start: u64) -> Result<MapEntry> {
    let left = disk.size() - start;
    let (depth, extent) = disk.locate(start, left)?;
    let layer = &disk.layers()[depth];
    let mut entry = MapEntry {
        start,
        length: extent.len,
        depth,
        present: extent.place != Where::Parent,
        zero: matches!(extent.place, Where::Zero | Where::Parent),
        data: matches!(extent.place, Where::Data { .. } | Where::Packed),
        compressed: extent.place == Where::Packed,
        place: None,
    };
    if let Where::Data { file, pos } = extent.place {
        let store = layer.store(file);
        entry.place = Some((store.path().to_owned(), pos));
        // A hole in the file reads as zeros.
        let (data, hole) = store.next_data(pos).unwrap_or((u64::MAX, u64::MAX));
        if data > pos {
            (entry.zero, entry.data) = (true, false);
            entry.length = entry.length.min(data - pos);
        } else {
            entry.length = entry.length.min(hole - pos);
        }
    }
    Ok(entry)
}

fn joins(last: &MapEntry, next: &MapEntry) -> bool {
    let flags = |e: &MapEntry| (e.depth, e.present, e.zero, e.data, e.compressed);
    let places = match (&last.place, &next.place) {
        (Some((file, pos)), Some((next_file, next_pos))) => file == next_file && pos + last.length == *next_pos,
        (None, None) => true,
        _ => false,
    };
    flags(last) == flags(next) && places
}
