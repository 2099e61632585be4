//! A store in memory: images that emu brings itself, fuzzing, and tests of what a crash leaves behind.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::store::Store;

/// What happened to a [`Memory`], for tests that cut it short.
#[cfg(test)]
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Bytes were written.
    Write(u64, Vec<u8>),
    /// The length was set.
    SetLen(u64),
    /// All before is durable.
    Sync,
}

#[derive(Debug, Default)]
struct Inner {
    bytes: Vec<u8>,
    #[cfg(test)]
    steps: Option<Vec<Step>>,
    /// Writes that succeed before the disk is full.
    #[cfg(test)]
    room: Option<u64>,
}

/// Bytes in memory. Clones are the same bytes.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    path: PathBuf,
    inner: Arc<Mutex<Inner>>,
    limit: u64,
}

/// The longest that one may grow to: images in memory are small.
const LIMIT: u64 = 1 << 30;

impl Memory {
    /// A store of these bytes, called `name`.
    pub(crate) fn new(name: impl Into<PathBuf>, bytes: Vec<u8>) -> Memory {
        Memory {
            path: name.into(),
            inner: Arc::new(Mutex::new(Inner {
                bytes,
                #[cfg(test)]
                steps: None,
                #[cfg(test)]
                room: None,
            })),
            limit: LIMIT,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Memory {
    /// From now on, keeps a list of what happens.
    pub(crate) fn record(&self) {
        self.inner().steps = Some(Vec::new());
    }

    /// What has happened since [`Memory::record`].
    pub(crate) fn steps(&self) -> Vec<Step> {
        self.inner().steps.clone().unwrap_or_default()
    }

    /// Its bytes now.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.inner().bytes.clone()
    }

    /// After `writes` more writes the disk is full.
    pub(crate) fn fill_up_after(&self, writes: u64) {
        self.inner().room = Some(writes);
    }
}

impl Store for Memory {
    fn path(&self) -> &Path {
        &self.path
    }
    fn len(&self) -> u64 {
        self.inner().bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let inner = self.inner();
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(inner.bytes.len());
        let n = buf.len().min(inner.bytes.len() - from);
        buf[..n].copy_from_slice(&inner.bytes[from..from + n]);
        buf[n..].fill(0);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.inner();
        let end = offset.checked_add(bytes.len() as u64).filter(|e| *e <= self.limit);
        let end = end.ok_or_else(|| io::Error::other("no space left"))? as usize;
        #[cfg(test)]
        match &mut inner.room {
            Some(0) => return Err(io::Error::from(io::ErrorKind::StorageFull)),
            Some(room) => *room -= 1,
            None => {}
        }
        if inner.bytes.len() < end {
            inner.bytes.resize(end, 0);
        }
        inner.bytes[end - bytes.len()..end].copy_from_slice(bytes);
        #[cfg(test)]
        if let Some(steps) = &mut inner.steps {
            steps.push(Step::Write(offset, bytes.to_vec()));
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if len > self.limit {
            return Err(io::Error::other("no space left"));
        }
        let mut inner = self.inner();
        inner.bytes.resize(len as usize, 0);
        #[cfg(test)]
        if let Some(steps) = &mut inner.steps {
            steps.push(Step::SetLen(len));
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        #[cfg(test)]
        if let Some(steps) = &mut self.inner().steps {
            steps.push(Step::Sync);
        }
        Ok(())
    }
}
