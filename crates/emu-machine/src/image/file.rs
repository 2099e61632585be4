//! The bytes of an image on the host, by position: the file may be read by several without a shared cursor.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::ImageError;

/// Where an image's start state comes from.
#[derive(Debug)]
pub(super) enum Base {
    /// A file on the host; beyond its end, zeros.
    File(File),
    /// Bytes in memory: images that emu itself brings.
    Bytes(Vec<u8>),
}

impl Base {
    /// Fills `buf` from `offset` on; what lies beyond the end reads as zeros.
    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let got = match self {
            Base::File(file) => read_up_to(file, offset, buf)?,
            Base::Bytes(bytes) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let n = buf.len().min(bytes.len() - from);
                buf[..n].copy_from_slice(&bytes[from..from + n]);
                n
            }
        };
        buf[got..].fill(0);
        Ok(())
    }

    /// Writes at `offset`.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match self {
            Base::File(file) => write_all_at(file, offset, bytes),
            Base::Bytes(_) => Err(io::Error::other("this image has no file")),
        }
    }

    /// Makes what was written durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        match self {
            Base::File(file) => file.sync_data(),
            Base::Bytes(_) => Ok(()),
        }
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

/// Opens an image file and says how many bytes it has. With `write` it is opened for writing, and nobody else may
/// have it open; without, nobody may have it open for writing.
pub(super) fn open_file(path: &Path, write: bool) -> Result<(File, u64), ImageError> {
    let host = |e: &io::Error| ImageError::host(path, e);
    let meta = std::fs::metadata(path).map_err(|e| host(&e))?;
    if meta.is_dir() {
        return Err(ImageError::Directory(path.to_owned()));
    }
    if !meta.is_file() && !is_block_device(&meta) {
        return Err(ImageError::NotAFile(path.to_owned())); // before opening: a pipe would block us
    }
    let mut file = OpenOptions::new().read(true).write(write).open(path).map_err(|e| host(&e))?;
    lock(&file, path, write)?;
    let size = file.seek(SeekFrom::End(0)).map_err(|e| host(&e))?;
    if size == 0 { Err(ImageError::Empty(path.to_owned())) } else { Ok((file, size)) }
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
