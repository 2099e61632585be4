//! Bytes by position: what every format stands on. Several may read one without a shared cursor.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::ImageError;

/// A growable array of bytes, on the host's disk or in memory.
pub(crate) trait Store: Send + Sync {
    /// What it is called in messages.
    fn path(&self) -> &Path;
    /// Bytes that it has.
    fn len(&self) -> u64;
    /// Fills `buf` from `offset` on; what lies beyond the end reads as zeros.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;
    /// Writes at `offset`, and grows to hold it; a gap reads as zeros.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts or grows (with zeros).
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes what was written durable, or leaves that to the host if its owner does not need it.
    fn sync(&self) -> io::Result<()>;
    /// Makes what was written durable in any case.
    fn sync_now(&self) -> io::Result<()> {
        self.sync()
    }
    /// Where the data from `offset` on begin and end, if the host knows of holes: `None` when there are none left.
    fn next_data(&self, offset: u64) -> Option<(u64, u64)> {
        (offset < self.len()).then(|| (offset, self.len()))
    }
    /// Bytes that it takes on the host.
    fn allocated(&self) -> u64 {
        self.len()
    }
    /// Gives the range back to the host; it reads as zeros then. Returns false if the host can't.
    fn punch(&self, _offset: u64, _len: u64) -> io::Result<bool> {
        Ok(false)
    }
}

impl dyn Store + '_ {
    /// An error of the host at this store.
    pub(crate) fn host(&self, e: &io::Error) -> ImageError {
        ImageError::host(self.path(), e)
    }

    /// Reads `N` bytes.
    pub(crate) fn read_array<const N: usize>(&self, offset: u64) -> Result<[u8; N], ImageError> {
        let mut bytes = [0; N];
        self.read(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads `len` bytes; the caller has checked that this is no absurd number.
    pub(crate) fn read_vec(&self, offset: u64, len: usize) -> Result<Vec<u8>, ImageError> {
        let mut bytes = vec![0; len];
        self.read(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// [`Store::read_at`], with an error that names the file.
    pub(crate) fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), ImageError> {
        self.read_at(offset, buf).map_err(|e| self.host(&e))
    }

    /// [`Store::write_at`], with an error that names the file.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), ImageError> {
        self.write_at(offset, bytes).map_err(|e| self.host(&e))
    }

    /// [`Store::set_len`], with an error that names the file.
    pub(crate) fn resize(&self, len: u64) -> Result<(), ImageError> {
        self.set_len(len).map_err(|e| self.host(&e))
    }

    /// [`Store::sync`], with an error that names the file.
    pub(crate) fn flush(&self) -> Result<(), ImageError> {
        self.sync().map_err(|e| self.host(&e))
    }
}

/// A file of the host.
#[derive(Debug)]
pub(crate) struct HostFile {
    path: PathBuf,
    file: File,
    len: AtomicU64,
    /// A block device, whose size is fixed.
    device: bool,
    /// Whether [`Store::sync`] waits for the disk.
    waits: bool,
    /// A range that is known to have data all over: the host may look through the whole file to say that.
    data: Mutex<(u64, u64)>,
}

impl HostFile {
    /// Opens an image file. With `write` it is opened for writing, and nobody else may have it open; without, nobody
    /// may have it open for writing.
    pub(crate) fn open(path: &Path, write: bool) -> Result<HostFile, ImageError> {
        let host = |e: &io::Error| ImageError::host(path, e);
        let meta = std::fs::metadata(path).map_err(|e| host(&e))?;
        if meta.is_dir() {
            return Err(ImageError::Directory(path.to_owned()));
        }
        let device = is_block_device(&meta);
        if !meta.is_file() && !device {
            return Err(ImageError::NotAFile(path.to_owned())); // before opening: a pipe would block us
        }
        let mut file = OpenOptions::new().read(true).write(write).open(path).map_err(|e| host(&e))?;
        lock(&file, path, write)?;
        let len = file.seek(SeekFrom::End(0)).map_err(|e| host(&e))?;
        Ok(HostFile {
            path: path.to_owned(),
            file,
            len: AtomicU64::new(len),
            device,
            waits: true,
            data: Mutex::default(),
        })
    }

    /// Leaves it to the host when what was written becomes durable.
    pub(crate) fn without_waiting(self) -> HostFile {
        HostFile { waits: false, ..self }
    }

    /// Makes a new file, which must not be there yet.
    pub(crate) fn create(path: &Path) -> Result<HostFile, ImageError> {
        let made = OpenOptions::new().read(true).write(true).create_new(true).open(path);
        let file = made.map_err(|e| ImageError::host(path, &e))?;
        lock(&file, path, true)?;
        let (path, len) = (path.to_owned(), AtomicU64::new(0));
        Ok(HostFile { path, file, len, device: false, waits: true, data: Mutex::default() })
    }

    fn known_data(&self) -> MutexGuard<'_, (u64, u64)> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for HostFile {
    fn path(&self) -> &Path {
        &self.path
    }
    fn len(&self) -> u64 {
        self.len.load(Ordering::Relaxed)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let got = if offset < self.len() { read_up_to(&self.file, offset, buf)? } else { 0 };
        buf[got..].fill(0);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        write_all_at(&self.file, offset, bytes)?;
        self.len.fetch_max(offset + bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.device {
            return if len <= self.len() { Ok(()) } else { Err(io::Error::other("a block device can't grow")) };
        }
        *self.known_data() = (0, 0);
        self.file.set_len(len)?;
        self.len.store(len, Ordering::Relaxed);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if self.waits { self.file.sync_data() } else { Ok(()) }
    }

    fn sync_now(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    #[cfg(unix)]
    fn next_data(&self, offset: u64) -> Option<(u64, u64)> {
        use rustix::fs::{SeekFrom, seek};
        if offset >= self.len() {
            return None;
        }
        let mut known = self.known_data();
        if (known.0..known.1).contains(&offset) {
            return Some((offset, known.1));
        }
        let data = match seek(&self.file, SeekFrom::Data(offset)) {
            Ok(at) => at,
            Err(rustix::io::Errno::NXIO) => return None,
            Err(_) => return Some((offset, self.len())), // a file system that knows no holes
        };
        *known = (data, seek(&self.file, SeekFrom::Hole(data)).unwrap_or(self.len()));
        Some(*known)
    }

    #[cfg(unix)]
    fn allocated(&self) -> u64 {
        use std::os::unix::fs::MetadataExt;
        self.file.metadata().map_or(self.len(), |m| if self.device { self.len() } else { m.blocks() * 512 })
    }

    #[cfg(target_os = "linux")]
    fn punch(&self, offset: u64, len: u64) -> io::Result<bool> {
        use rustix::fs::{FallocateFlags, fallocate};
        *self.known_data() = (0, 0);
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(fallocate(&self.file, flags, offset, len).is_ok())
    }
}

fn read_up_to(file: &File, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match read_at(file, offset + done as u64, &mut buf[done..]) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

#[cfg(unix)]
fn read_at(file: &File, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buf, offset)
}

#[cfg(unix)]
fn write_all_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(not(unix))]
fn read_at(mut file: &File, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
    file.seek(SeekFrom::Start(offset))?;
    io::Read::read(&mut file, buf)
}

#[cfg(not(unix))]
fn write_all_at(mut file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(offset))?;
    io::Write::write_all(&mut file, bytes)
}

fn lock(file: &File, path: &Path, write: bool) -> Result<(), ImageError> {
    let locked = if write { file.try_lock() } else { file.try_lock_shared() };
    match locked {
        Err(TryLockError::WouldBlock) => Err(ImageError::InUse(PathBuf::from(path))),
        // Some file systems have no locks; then nothing is guarded, as with any other program.
        Err(TryLockError::Error(_)) | Ok(()) => Ok(()),
    }
}

#[cfg(unix)]
fn is_block_device(meta: &std::fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_block_device(&meta.file_type())
}

#[cfg(not(unix))]
fn is_block_device(_: &std::fs::Metadata) -> bool {
    false
}
