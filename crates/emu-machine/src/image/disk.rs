//! A virtual disk: an image of any format, over the chain of its parents.

use std::path::Path;

use super::ImageError;
use super::files::{Files, Parents};
use super::format::{Extent, Findings, Fix, Format, Kind, NewParent, Result, Snapshot, Target, Where};
use super::formats;

/// Parents that a chain may have: more is a mistake, or an attack.
const DEEPEST: usize = 64;
/// Bytes copied at once around what is written.
const PIECE: usize = 64 << 10;

/// How to open an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether it will be written.
    pub write: bool,
    /// Its format; without, its content decides.
    pub format: Option<Kind>,
    /// Where its parents may be.
    pub parents: Parents,
    /// Whether it is opened to be repaired, however broken it is.
    pub repair: bool,
    /// Whether to leave its parents alone: what only they have reads as zeros.
    pub alone: bool,
    /// The snapshot inside of it that is shown.
    pub snapshot: Option<String>,
    /// Leave it to the host when what is written becomes durable: for a new image, of no use until it is complete.
    pub unsynced: bool,
}

/// A virtual disk: bytes.
pub struct Disk {
    /// The image, its parent, and so on.
    layers: Vec<Box<dyn Format>>,
    size: u64,
    changed: bool,
    writable: bool,
}

impl core::fmt::Debug for Disk {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let kinds: Vec<Kind> = self.layers.iter().map(|l| l.kind()).collect();
        write!(f, "Disk({kinds:?}, {} bytes)", self.size)
    }
}

impl Disk {
    /// Opens the image at `path` and its parents.
    ///
    /// # Errors
    /// Any [`ImageError`]; nothing was written then.
    pub fn open(path: &Path, options: &Options) -> Result<Disk> {
        Disk::open_with(path, options, &mut Files::of(path, options.parents).waiting(!options.unsynced))
    }

    pub(crate) fn open_with(path: &Path, options: &Options, files: &mut Files) -> Result<Disk> {
        let store = files.top(path, options.write)?;
        let mut top = formats::open(store, options.format, files, options.write, options.repair)?;
        if let Some(name) = &options.snapshot {
            let no = || ImageError::NoWay { path: path.to_owned(), why: "this format has no snapshots".into() };
            top.snapshots().ok_or_else(no)?.show(name)?;
        }
        let mut disk = Disk::of(top, options.write);
        if !options.alone {
            disk.open_parents(path, files)?;
        }
        Ok(disk)
    }

    /// A disk of one layer.
    pub(crate) fn of(top: Box<dyn Format>, writable: bool) -> Disk {
        let size = top.size();
        Disk { layers: vec![top], size, changed: false, writable }
    }

    fn open_parents(&mut self, path: &Path, files: &mut Files) -> Result<()> {
        let mut seen = vec![Files::identity(path)];
        let mut child = path.to_owned();
        while let Some(parent) = self.layers.last().expect("never empty").parent() {
            if seen.len() > DEEPEST {
                let why = format!("its chain of parents is longer than {DEEPEST}").into();
                return Err(ImageError::NoWay { path: path.to_owned(), why });
            }
            let store = files.first_named(&child, &parent.names).map_err(|e| e.in_parent_of(&child))?;
            let parent_path = store.path().to_owned();
            let identity = Files::identity(&parent_path);
            if seen.contains(&identity) {
                let why = "its chain of parents comes back to itself".into();
                return Err(ImageError::NoWay { path: parent_path, why });
            }
            seen.push(identity);
            let layer = formats::open(store, parent.kind, files, false, false)?;
            if layer.identity() != parent.identity && parent.identity != super::format::Identity::None {
                return Err(ImageError::WrongParent {
                    path: child,
                    parent: parent_path,
                    wanted: parent.identity.to_string(),
                    found: layer.identity().to_string(),
                });
            }
            self.layers.push(layer);
            child = parent_path;
        }
        Ok(())
    }

    /// Bytes of the disk.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The image's format.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.layers[0].kind()
    }

    /// The unit of allocation in bytes, 0 if there is none.
    #[must_use]
    pub fn block(&self) -> u64 {
        self.layers[0].block()
    }

    /// Whether it takes each block once, in order, so that writing it can't go on after an interruption: streamOptimized.
    #[must_use]
    pub fn is_written_once(&self) -> bool {
        self.layers[0].only_packed()
    }

    pub(crate) fn top(&mut self) -> &mut dyn Format {
        &mut *self.layers[0]
    }

    pub(crate) fn layers(&self) -> &[Box<dyn Format>] {
        &self.layers
    }

    pub(crate) fn layers_mut(&mut self) -> &mut [Box<dyn Format>] {
        &mut self.layers
    }

    /// Lets `change` do something to the image's own layer, and takes its size from it.
    pub(crate) fn change_top<T>(&mut self, change: impl FnOnce(&mut dyn Format) -> Result<T>) -> Result<T> {
        self.check_range(0, 0)?;
        let done = change(&mut *self.layers[0])?;
        self.size = self.layers[0].size();
        Ok(done)
    }

    /// Clears all contents, so that a parent shows through everywhere.
    pub(crate) fn clear(&mut self) -> Result<()> {
        self.change_top(|top| top.clear())
    }

    /// Names another parent; this disk still shows the old one.
    pub(crate) fn set_parent(&mut self, parent: Option<&NewParent>) -> Result<()> {
        self.change_top(|top| top.set_parent(parent))
    }

    /// Writes a whole block that is compressed already.
    pub(crate) fn write_packed(&mut self, offset: u64, packed: &[u8]) -> Result<()> {
        self.check_range(offset, 1)?;
        self.layers[0].write_packed(offset, packed)?;
        if self.layers[0].is_full() { self.layers[0].flush() } else { Ok(()) }
    }

    /// The image is complete: writes what comes last.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.layers[0].finish()
    }

    /// Bytes from `offset` on, `len` at most, for which nothing is stored anywhere: they read as zeros.
    pub(crate) fn hole_at(&mut self, offset: u64, len: u64) -> Result<u64> {
        let mut at = offset;
        while at < offset + len {
            let left = offset + len - at;
            let (layer, extent) = self.locate(at, left)?;
            match extent.place {
                Where::Zero | Where::Parent => at += extent.len,
                Where::Packed => break,
                Where::Data { file, pos } => {
                    let data = self.layers[layer].store(file).next_data(pos).map_or(u64::MAX, |d| d.0);
                    let hole = (data - pos).min(extent.len);
                    at += hole;
                    if hole < extent.len {
                        break;
                    }
                }
            }
        }
        Ok(at - offset)
    }

    /// Bytes from `offset` on, `len` at most, for which something is stored.
    pub(crate) fn data_at(&mut self, offset: u64, len: u64) -> Result<u64> {
        let mut at = offset;
        while at < offset + len {
            let (layer, extent) = self.locate(at, offset + len - at)?;
            match extent.place {
                Where::Zero | Where::Parent => break,
                Where::Packed => at += extent.len,
                Where::Data { file, pos } => {
                    let (data, end) = self.layers[layer].store(file).next_data(pos).unwrap_or((u64::MAX, u64::MAX));
                    let stored = if data <= pos { (end - pos).min(extent.len) } else { 0 };
                    at += stored;
                    if stored < extent.len {
                        break;
                    }
                }
            }
        }
        Ok(at - offset)
    }

    /// Fills `buf` from `offset` on; beyond the end are zeros.
    ///
    /// # Errors
    /// [`ImageError`] if the host fails or the image is damaged there.
    pub fn read(&mut self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.read_from(0, offset, buf)
    }

    /// Reads as the layer `layer` and its parents see it.
    fn read_from(&mut self, layer: usize, mut offset: u64, mut buf: &mut [u8]) -> Result<()> {
        while !buf.is_empty() {
            let Some(format) = self.layers.get_mut(layer) else {
                buf.fill(0);
                return Ok(());
            };
            let left = format.size().saturating_sub(offset).min(buf.len() as u64);
            if left == 0 {
                buf.fill(0);
                return Ok(());
            }
            let Extent { len, place } = format.locate(offset, left)?;
            debug_assert!(len > 0 && len <= left, "{len} of {left}");
            let (piece, rest) = buf.split_at_mut(len as usize);
            match place {
                Where::Data { file, pos } => format.store(file).read(pos, piece)?,
                Where::Zero => piece.fill(0),
                Where::Packed => format.read_packed(offset, piece)?,
                Where::Parent => self.read_from(layer + 1, offset, piece)?,
            }
            buf = rest;
            offset += len;
        }
        Ok(())
    }

    /// What is at `offset`, through the chain: the layer that has it, and its place there.
    ///
    /// # Errors
    /// As [`Disk::read`].
    pub(crate) fn locate(&mut self, offset: u64, len: u64) -> Result<(usize, Extent)> {
        let mut len = len;
        for layer in 0..self.layers.len() {
            let format = &mut self.layers[layer];
            let left = format.size().saturating_sub(offset);
            if left == 0 {
                return Ok((layer, Extent { len, place: Where::Zero }));
            }
            let extent = format.locate(offset, len.min(left))?;
            len = extent.len;
            if extent.place != Where::Parent {
                return Ok((layer, extent));
            }
        }
        Ok((self.layers.len() - 1, Extent { len, place: Where::Parent }))
    }

    /// Writes at `offset`. It counts when [`Disk::flush`] has returned.
    ///
    /// # Errors
    /// [`ImageError`] if the host fails, the image is damaged there, or the range is not on the disk.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let mut done = 0;
        self.check_range(offset, bytes.len() as u64)?;
        while done < bytes.len() {
            let at = offset + done as u64;
            let target = self.layers[0].target(at, (bytes.len() - done) as u64)?;
            debug_assert!(target.from <= at && at < target.to);
            let n = (bytes.len() - done).min((target.to - at) as usize);
            self.fill(&target, at, &bytes[done..done + n])?;
            self.layers[0].link(&target)?;
            done += n;
            if self.layers[0].is_full() {
                self.layers[0].flush()?;
            }
        }
        Ok(())
    }

    fn check_range(&mut self, offset: u64, len: u64) -> Result<()> {
        if !self.writable {
            return Err(self.layers[0].store(0).no_way("it was opened for reading only"));
        }
        self.changed = true;
        match offset.checked_add(len) {
            Some(end) if end <= self.size => Ok(()),
            _ => Err(self.layers[0].store(0).no_way(format!("bytes from {offset} on are beyond the end of the disk"))),
        }
    }

    /// Writes `bytes` for virtual offset `at` into the target, with the old contents around them.
    fn fill(&mut self, target: &Target, at: u64, bytes: &[u8]) -> Result<()> {
        let end = at + bytes.len() as u64;
        self.copy_old(target, target.from, at)?;
        self.layers[0].store(target.file).write(target.pos + (at - target.from), bytes)?;
        self.copy_old(target, end, target.to)
    }

    fn copy_old(&mut self, target: &Target, mut from: u64, to: u64) -> Result<()> {
        let mut piece = vec![0; PIECE.min((to - from) as usize)];
        while from < to {
            let n = piece.len().min((to - from) as usize);
            self.read(from, &mut piece[..n])?;
            if !(target.zeroed && is_zero(&piece[..n])) {
                self.layers[0].store(target.file).write(target.pos + (from - target.from), &piece[..n])?;
            }
            from += n as u64;
        }
        Ok(())
    }

    /// Makes `len` bytes at `offset` zeros, without storing them where the format can.
    ///
    /// # Errors
    /// As [`Disk::write`].
    pub fn write_zeros(&mut self, mut offset: u64, len: u64) -> Result<()> {
        self.check_range(offset, len)?;
        let end = offset + len;
        let zeros = vec![0; PIECE.min(len as usize)];
        while offset < end {
            let done = self.layers[0].zero(offset, end - offset)?;
            if done > 0 {
                offset += done;
                if self.layers[0].is_full() {
                    self.layers[0].flush()?;
                }
                continue;
            }
            let block = self.layers[0].block().max(PIECE as u64);
            let n = (block - offset % block).min(end - offset).min(zeros.len() as u64);
            if self.hole_at(offset, n)? < n {
                self.write(offset, &zeros[..n as usize])?;
            }
            offset += n;
        }
        Ok(())
    }

    /// Makes durable what was written.
    ///
    /// # Errors
    /// [`ImageError`] if the host fails.
    pub fn flush(&mut self) -> Result<()> {
        if self.changed { self.layers[0].flush() } else { Ok(()) }
    }

    /// [`Disk::flush`], and waits for the host's disk even if the image was opened with [`Options::unsynced`].
    ///
    /// # Errors
    /// As [`Disk::flush`].
    pub fn sync(&mut self) -> Result<()> {
        self.flush()?;
        let top = &self.layers[0];
        (0..top.stores()).map(|i| top.store(i)).try_for_each(|s| s.sync_now().map_err(|e| s.host(&e)))
    }

    /// Looks whether the image's tables make sense, and repairs.
    ///
    /// # Errors
    /// [`ImageError`] if the host fails, or so much is broken that the check can't go on.
    pub fn check(&mut self, fix: Fix) -> Result<Option<Findings>> {
        if self.layers[0].can_check() { self.layers[0].check(fix).map(Some) } else { Ok(None) }
    }

    /// Changes the size. What a smaller disk held beyond is lost.
    ///
    /// # Errors
    /// [`ImageError`] if the format can't, or the host fails.
    pub fn resize(&mut self, size: u64) -> Result<()> {
        self.check_range(0, 0)?;
        let old = self.size;
        if size < old && !size.is_multiple_of(PIECE as u64) {
            // What is left of the last block is zeros when the disk grows again.
            let rest = (size.next_multiple_of(PIECE as u64)).min(old) - size;
            self.write_zeros(size, rest)?;
        }
        self.layers[0].resize(size)?;
        self.size = self.layers[0].size();
        // A longer parent must not show through where the disk ended.
        let parent = self.layers.get(1).map_or(0, |p| p.size()).min(self.size);
        if parent > old {
            self.write_zeros(old, parent - old)?;
        }
        self.flush()
    }

    /// The snapshots inside of the image; `None` if the format has no such thing.
    pub fn snapshots(&mut self) -> Option<Vec<Snapshot>> {
        self.layers[0].snapshots().map(|s| s.list())
    }
}

/// Whether all bytes are 0.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<64>();
    words.iter().all(|w| w.iter().fold(0, |a, b| a | b) == 0) && rest.iter().all(|b| *b == 0)
}

impl Drop for Disk {
    /// Tables that were changed are written: what the owner never flushed may still be of use.
    fn drop(&mut self) {
        let _ = self.flush();
    }
}
