//! Where an image's start state comes from: the file in its format, or bytes of our own.

use std::cell::RefCell;

use emu_core::BlockError;
use emu_core::block::SECTOR_SIZE;

use super::disk::Disk;
use super::probe::container;

/// A virtual disk. Its caches change when it is read, so that it can be read through a shared reference.
#[derive(Debug)]
pub(super) struct Base {
    disk: RefCell<Disk>,
    /// A raw disk whose format was found by its content: the guest may not turn it into something else.
    guarded: bool,
}

fn host(e: &super::ImageError) -> BlockError {
    BlockError::Host(e.to_string())
}

impl Base {
    pub(super) fn new(disk: Disk, guarded: bool) -> Base {
        Base { disk: RefCell::new(disk), guarded }
    }

    /// Fills `buf` from `offset` on; what lies beyond the end reads as zeros.
    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        self.disk.borrow_mut().read(offset, buf).map_err(|e| host(&e))
    }

    /// Writes at `offset`.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), BlockError> {
        let disk = self.disk.get_mut();
        if self.guarded {
            guard(disk, offset, bytes)?;
        }
        if offset + bytes.len() as u64 > disk.size() {
            disk.resize(offset + bytes.len() as u64).map_err(|e| host(&e))?; // `size=` shows more than there is
        }
        disk.write(offset, bytes).map_err(|e| host(&e))
    }

    /// Makes what was written durable.
    pub(super) fn sync(&mut self) -> Result<(), BlockError> {
        self.disk.get_mut().flush().map_err(|e| host(&e))
    }
}

/// Refuses a write after which the next start would take this raw disk for a container, and follow what the guest wrote
/// in it.
fn guard(disk: &mut Disk, offset: u64, bytes: &[u8]) -> Result<(), BlockError> {
    let last = disk.size().saturating_sub(SECTOR_SIZE as u64);
    let end = offset + bytes.len() as u64;
    if offset >= SECTOR_SIZE as u64 && end <= last {
        return Ok(());
    }
    let mut sector = |at: u64| {
        let mut sector = [0; SECTOR_SIZE];
        disk.read(at, &mut sector).map_err(|e| host(&e))?;
        for (i, byte) in sector.iter_mut().enumerate() {
            if let Some(new) = (at + i as u64).checked_sub(offset).and_then(|n| bytes.get(n as usize)) {
                *byte = *new;
            }
        }
        Ok(sector)
    };
    let (head, tail) = (sector(0)?, sector(last)?);
    match container(&head, &tail) {
        None => Ok(()),
        Some(kind) => Err(BlockError::Host(format!(
            "the guest would make this raw image look like {kind}; format=raw in the image's options allows that"
        ))),
    }
}
