//! Volumes: disk images as the machine knows them, with what time travel and recordings need of each.
//!
//! The board makes every image a [`Volume`], and gives the drive its [`VolumeDrive`]. In a drive's saved state an image is
//! only a digest of how it differs from its start state; the contents are saved once, beside the devices. So a checkpoint
//! costs nothing for disks that nobody wrote, and the blocks that were written are kept as pages of memory are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::block::{BlockBackend, BlockError, SECTOR_SIZE};
use crate::mem::{PAGE_SIZE, PageImage};
use crate::state::{StateError, StateHash, StateReader, StateWriter};

/// Bytes of a block, the grain in which contents are kept: as large as a page of memory.
pub const BLOCK_SIZE: usize = PAGE_SIZE as usize;
pub(crate) const SECTORS_PER_BLOCK: u64 = (BLOCK_SIZE / SECTOR_SIZE) as u64;

/// A block that the run has used, as it was in the image's start state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedBlock {
    /// Its number; it has [`BLOCK_SIZE`] bytes, fewer at the end of the image.
    pub number: u64,
    /// What it held.
    pub bytes: Vec<u8>,
}

struct Tracked {
    image: Box<dyn BlockBackend>,
    /// The sum over all sectors of (hash now - hash at the start), mod 2^128: 0 for an image that is as it was.
    digest: u128,
    /// Blocks written since the last seal, with what they held then; `None` while nobody wants to know.
    written: Option<BTreeMap<u64, PageImage>>,
    /// Which blocks the run has used; `None` while nobody wants to know.
    used: Option<Used>,
    /// Watched sectors: first and last; and whether one of them was written.
    watch: Option<(u64, u64)>,
    watch_hit: bool,
}

#[derive(Default)]
struct Used {
    seen: BTreeSet<u64>,
    fresh: Vec<UsedBlock>,
}

/// An image of the host with all that is tracked of it. Clones are the same volume.
#[derive(Clone)]
pub struct Volume(Arc<Mutex<Tracked>>);

/// A volume as its drive sees it.
pub struct VolumeDrive(Volume);

impl core::fmt::Debug for Volume {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Volume({} sectors)", self.lock().image.sectors())
    }
}

impl core::fmt::Debug for VolumeDrive {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

fn sector_hash(lba: u64, bytes: &[u8]) -> u128 {
    StateHash::of(&lba.to_le_bytes()).then(StateHash::of(bytes)).0
}

fn hash_sectors(lba: u64, bytes: &[u8]) -> u128 {
    let parts = bytes.chunks(SECTOR_SIZE).zip(lba..).map(|(bytes, lba)| sector_hash(lba, bytes));
    parts.fold(0, u128::wrapping_add)
}

impl Tracked {
    /// First sector and number of sectors of block `number`.
    fn extent(&self, number: u64) -> (u64, usize) {
        let first = number.saturating_mul(SECTORS_PER_BLOCK);
        (first, self.image.sectors().saturating_sub(first).min(SECTORS_PER_BLOCK) as usize)
    }

    fn read_block(&mut self, number: u64) -> Result<Vec<u8>, BlockError> {
        let (first, sectors) = self.extent(number);
        let mut bytes = vec![0; sectors * SECTOR_SIZE];
        self.image.read(first, &mut bytes)?;
        Ok(bytes)
    }

    fn blocks(lba: u64, len: usize) -> core::ops::RangeInclusive<u64> {
        let last = lba.saturating_add((len / SECTOR_SIZE).max(1) as u64 - 1);
        lba / SECTORS_PER_BLOCK..=last / SECTORS_PER_BLOCK
    }

    /// The run uses `len` bytes from sector `lba` on; nothing of it was used before unless it is noted already, so its
    /// blocks still hold what they held at the start.
    fn note_use(&mut self, lba: u64, len: usize) -> Result<(), BlockError> {
        let end = lba.checked_add((len / SECTOR_SIZE) as u64);
        if self.used.is_none() || end.is_none_or(|end| end > self.image.sectors()) {
            return Ok(());
        }
        for number in Self::blocks(lba, len) {
            if self.used.as_ref().is_some_and(|u| !u.seen.contains(&number)) {
                let bytes = self.read_block(number)?;
                if let Some(used) = &mut self.used {
                    used.seen.insert(number);
                    used.fresh.push(UsedBlock { number, bytes });
                }
            }
        }
        Ok(())
    }

    /// Keeps what the blocks hold that are about to be written.
    fn keep(&mut self, lba: u64, len: usize) -> Result<(), BlockError> {
        for number in Self::blocks(lba, len) {
            if self.written.as_ref().is_some_and(|w| !w.contains_key(&number)) {
                let image = PageImage::of(&self.read_block(number)?);
                self.written.as_mut().and_then(|w| w.insert(number, image));
            }
        }
        Ok(())
    }

    /// Writes, and keeps the digest right whatever the host did.
    fn put(&mut self, lba: u64, buf: &[u8]) -> Result<(), BlockError> {
        let mut before = vec![0; buf.len()];
        self.image.read(lba, &mut before)?;
        let done = self.image.write(lba, buf);
        let old = hash_sectors(lba, &before);
        let new = match &done {
            Ok(()) => hash_sectors(lba, buf),
            Err(_) => match self.image.read(lba, &mut before) {
                Ok(()) => hash_sectors(lba, &before),
                Err(_) => old,
            },
        };
        self.digest = self.digest.wrapping_add(new).wrapping_sub(old);
        done
    }
}

impl Volume {
    /// Makes `image` a volume. It is in its start state.
    #[must_use]
    pub fn new(image: Box<dyn BlockBackend>) -> Volume {
        Volume(Arc::new(Mutex::new(Tracked {
            image,
            digest: 0,
            written: None,
            used: None,
            watch: None,
            watch_hit: false,
        })))
    }

    /// What the drive gets.
    #[must_use]
    pub fn drive(&self) -> Box<dyn BlockBackend> {
        Box::new(VolumeDrive(self.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, Tracked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sectors of 512 bytes.
    #[must_use]
    pub fn sectors(&self) -> u64 {
        self.lock().image.sectors()
    }

    /// Notes from here on which blocks are used, for [`Self::take_used`].
    pub fn note_uses(&self) {
        self.lock().used.get_or_insert_default();
    }

    /// Takes the blocks used since the last call, each with its contents in the start state. No block comes twice.
    pub fn take_used(&self) -> Vec<UsedBlock> {
        self.lock().used.as_mut().map(|u| core::mem::take(&mut u.fresh)).unwrap_or_default()
    }

    /// What block `number` holds; for comparing with what a recording says of it.
    ///
    /// # Errors
    /// [`BlockError`], as for any read.
    pub fn block(&self, number: u64) -> Result<Vec<u8>, BlockError> {
        let mut tracked = self.lock();
        let (first, sectors) = tracked.extent(number);
        if sectors == 0 { Err(BlockError::OutOfRange(first)) } else { tracked.read_block(number) }
    }

    /// Keeps what is written from here on, or no more.
    pub(crate) fn track(&self, on: bool) {
        self.lock().written = on.then(BTreeMap::new);
    }

    /// Watches writes of the guest to sectors `first` to `last`, or to none.
    pub(crate) fn watch(&self, sectors: Option<(u64, u64)>) {
        let mut tracked = self.lock();
        (tracked.watch, tracked.watch_hit) = (sectors, false);
    }

    /// Whether a watched sector was written since the last call.
    pub(crate) fn take_watch_hit(&self) -> bool {
        core::mem::take(&mut self.lock().watch_hit)
    }

    /// Takes the blocks written since the last call, in ascending order, with what they held then.
    pub(crate) fn seal(&self) -> Vec<(u64, PageImage)> {
        self.lock().written.as_mut().map(core::mem::take).unwrap_or_default().into_iter().collect()
    }

    /// What block `number` holds.
    pub(crate) fn block_image(&self, number: u64) -> PageImage {
        PageImage::of(&self.lock().read_block(number).unwrap_or_default())
    }

    /// Puts `image` into block `number`. For jumps in time: it is no write of the guest's.
    pub(crate) fn restore_block(&self, number: u64, image: &PageImage) -> Result<(), BlockError> {
        let mut tracked = self.lock();
        let (first, sectors) = tracked.extent(number);
        let zeros = vec![0; sectors * SECTOR_SIZE];
        tracked.put(first, image.bytes().unwrap_or(&zeros))
    }

    /// Writes the volume's contents, as far as they differ from the start state.
    pub(crate) fn save(&self, w: &mut StateWriter) {
        let tracked = self.lock();
        let mut inner = StateWriter::new();
        tracked.image.save(&mut inner);
        w.chunk_with(*b"VOL ", 1, |w| {
            w.field(1, &tracked.image.sectors());
            w.field(2, &(tracked.digest as u64, (tracked.digest >> 64) as u64));
            w.field(3, &inner.into_bytes());
        });
    }

    /// Reads what [`Self::save`] wrote. What was written since the last seal is forgotten.
    pub(crate) fn load(&self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let mut tracked = self.lock();
        r.chunk_with(*b"VOL ", 1, |r| {
            let sectors: u64 = r.field(1)?;
            if sectors != tracked.image.sectors() {
                return Err(r.invalid("it belongs to an image of another size"));
            }
            let (low, high): (u64, u64) = r.field(2)?;
            let bytes: Vec<u8> = r.field(3)?;
            tracked.image.load(&mut StateReader::new(&bytes))?;
            tracked.digest = u128::from(low) | u128::from(high) << 64;
            if let Some(written) = &mut tracked.written {
                written.clear();
            }
            Ok(())
        })
    }
}

impl BlockBackend for VolumeDrive {
    fn sectors(&self) -> u64 {
        self.0.sectors()
    }

    fn read_only(&self) -> bool {
        self.0.lock().image.read_only()
    }

    fn read(&mut self, lba: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        let mut tracked = self.0.lock();
        tracked.note_use(lba, buf.len())?;
        tracked.image.read(lba, buf)
    }

    fn write(&mut self, lba: u64, buf: &[u8]) -> Result<(), BlockError> {
        let mut tracked = self.0.lock();
        if tracked.image.read_only() {
            return tracked.image.write(lba, buf);
        }
        tracked.note_use(lba, buf.len())?;
        tracked.keep(lba, buf.len())?;
        if let Some((first, last)) = tracked.watch {
            let end = lba.saturating_add((buf.len() / SECTOR_SIZE) as u64);
            tracked.watch_hit |= lba <= last && end > first;
        }
        tracked.put(lba, buf)
    }

    fn flush(&mut self) -> Result<(), BlockError> {
        self.0.lock().image.flush()
    }

    fn changed(&self) -> bool {
        self.0.lock().digest != 0
    }

    /// Only the digest: the contents are saved beside the devices, by [`Volume::save`].
    fn save(&self, w: &mut StateWriter) {
        let tracked = self.0.lock();
        w.chunk_with(*b"IMGD", 1, |w| {
            w.field(1, &tracked.image.sectors());
            w.field(2, &(tracked.digest as u64, (tracked.digest >> 64) as u64));
        });
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let sectors = self.sectors();
        r.chunk_with(*b"IMGD", 1, |r| {
            let (saved, _): (u64, (u64, u64)) = (r.field(1)?, r.field(2)?);
            if saved == sectors { Ok(()) } else { Err(r.invalid("it belongs to an image of another size")) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::RamDisk;

    fn volume() -> (Volume, Box<dyn BlockBackend>) {
        let volume = Volume::new(Box::new(RamDisk::new((0..20 * 512).map(|i| (i / 512) as u8).collect(), false)));
        let drive = volume.drive();
        (volume, drive)
    }

    fn state(drive: &dyn BlockBackend) -> Vec<u8> {
        let mut w = StateWriter::new();
        drive.save(&mut w);
        w.into_bytes()
    }

    #[test]
    fn blocks_go_back_to_what_they_held() {
        let (volume, mut drive) = volume();
        let start = state(&*drive);
        volume.track(true);
        drive.write(7, &[9; 1024]).unwrap();
        drive.write(7, &[8; 512]).unwrap();
        let written = volume.seal();
        assert_eq!(written.iter().map(|w| w.0).collect::<Vec<_>>(), [0, 1]);
        drive.write(19, &[7; 512]).unwrap(); // the last block is half a block
        let last = volume.seal();
        assert_ne!(state(&*drive), start);
        assert!(drive.changed());
        for (number, image) in last.iter().chain(&written) {
            volume.restore_block(*number, image).unwrap();
        }
        assert_eq!(state(&*drive), start);
        let mut all = vec![0; 20 * 512];
        drive.read(0, &mut all).unwrap();
        assert!(all.iter().enumerate().all(|(i, &b)| b == (i / 512) as u8));
    }

    #[test]
    fn used_blocks_come_once_and_as_they_were() {
        let (volume, mut drive) = volume();
        volume.note_uses();
        drive.read(1, &mut [0; 512]).unwrap();
        drive.write(17, &[1; 512]).unwrap();
        drive.read(16, &mut [0; 1024]).unwrap();
        assert!(drive.read(19, &mut [0; 1024]).is_err());
        let used = volume.take_used();
        assert_eq!(used.iter().map(|u| (u.number, u.bytes.len())).collect::<Vec<_>>(), [(0, 4096), (2, 2048)]);
        assert_eq!(used[1].bytes[512], 17);
        drive.read(0, &mut [0; 512]).unwrap();
        assert!(volume.take_used().is_empty());
    }

    #[test]
    fn contents_survive_saving() {
        let (volume, mut drive) = volume();
        drive.write(3, &[1; 512]).unwrap();
        let mut w = StateWriter::new();
        volume.save(&mut w);
        let bytes = w.into_bytes();
        let other = Volume::new(Box::new(RamDisk::zeroed(20)));
        other.load(&mut StateReader::new(&bytes)).unwrap();
        assert_eq!(state(&*other.drive()), state(&*drive));
        assert_eq!(other.block(0).unwrap(), volume.block(0).unwrap());
        for n in 0..bytes.len() {
            assert!(other.load(&mut StateReader::new(&bytes[..n])).is_err(), "cut at {n}");
        }
    }
}
