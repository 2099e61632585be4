//! Opening: from a specification to sectors, with every way in which that can fail.

use std::path::Path;

use emu_core::block::SECTOR_SIZE;
use emu_core::{BlockBackend, BlockError, StateError, StateReader, StateWriter};

use super::file::{Base, open_file};
use super::overlay::Overlay;
use super::probe::HEAD;
use super::through::Through;
use super::{Content, FLOPPIES, ImageError, ImageSpec, Medium, Mode, floppy_of_size, probe};

/// An opened image.
pub struct Image {
    /// Its sectors.
    pub backend: Box<dyn BlockBackend>,
    /// What the file was found to be.
    pub content: Content,
    /// Bytes that the drive shows.
    pub size: u64,
}

impl core::fmt::Debug for Image {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Image({:?}, {} bytes)", self.content, self.size)
    }
}

/// The largest hard disk: what 48-bit LBA reaches.
const DISK_LIMIT: u64 = 1 << (48 + 9);
/// The largest CD: 32-bit block numbers.
const CD_LIMIT: u64 = 1 << (32 + 11);
/// Blocks of padding after a CD's volume that some writers count and others leave out.
const CD_RUN_OUT: u64 = 150 * 2048;

/// Opens the image `spec` for a drive of kind `medium`.
///
/// # Errors
/// Any [`ImageError`].
pub fn open(spec: &ImageSpec, medium: Medium) -> Result<Image, ImageError> {
    let path = spec.path.as_path();
    let mode = if medium == Medium::Cd { Mode::Read } else { spec.mode };
    let (file, file_size) = open_file(path, mode == Mode::Write)?;
    let base = Base::File(file);
    let content = inspect(&base, path, file_size)?;
    if let Content::Unsupported { format, hint } = content {
        return Err(ImageError::Unsupported { path: path.to_owned(), format, hint });
    }
    let size = shown_size(spec, file_size)?;
    check_size(path, medium, content, size)?;
    Ok(finish(base, content, size, mode))
}

/// An image whose contents emu brings itself. Writes go into memory.
///
/// # Errors
/// [`ImageError`] if no drive of kind `medium` has this size.
pub fn open_bytes(bytes: Vec<u8>, medium: Medium) -> Result<Image, ImageError> {
    let size = bytes.len() as u64;
    let base = Base::Bytes(bytes);
    let path = Path::new("(built-in image)");
    let content = inspect(&base, path, size)?;
    check_size(path, medium, content, size)?;
    Ok(finish(base, content, size, if medium == Medium::Cd { Mode::Read } else { Mode::Overlay }))
}

/// What the file at `path` is.
///
/// # Errors
/// Any [`ImageError`] that opening gives; a format that is only known by name is not one.
pub fn inspect_file(path: &Path) -> Result<(Content, u64), ImageError> {
    let (file, size) = open_file(path, false)?;
    Ok((inspect(&Base::File(file), path, size)?, size))
}

fn inspect(base: &Base, path: &Path, size: u64) -> Result<Content, ImageError> {
    let mut head = vec![0; HEAD.min(usize::try_from(size).unwrap_or(HEAD))];
    let mut tail = [0; SECTOR_SIZE];
    base.read(0, &mut head).map_err(|e| ImageError::host(path, &e))?;
    base.read(size.saturating_sub(SECTOR_SIZE as u64), &mut tail).map_err(|e| ImageError::host(path, &e))?;
    Ok(probe(&head, &tail, size))
}

fn shown_size(spec: &ImageSpec, file_size: u64) -> Result<u64, ImageError> {
    match spec.size {
        Some(asked) if asked < file_size => {
            Err(ImageError::LargerThanAsked { path: spec.path.clone(), size: file_size, asked })
        }
        Some(asked) => Ok(asked),
        None => Ok(file_size),
    }
}

fn check_size(path: &Path, medium: Medium, content: Content, size: u64) -> Result<(), ImageError> {
    let (drive, limit, sector) = match medium {
        Medium::Floppy => ("floppy", FLOPPIES[FLOPPIES.len() - 1].bytes(), 512),
        Medium::Disk => ("hard disk", DISK_LIMIT, 512),
        Medium::Cd => ("CD", CD_LIMIT, 2048),
    };
    let path = path.to_owned();
    if size > limit {
        return Err(ImageError::TooLarge { path, size, drive, limit });
    }
    if !size.is_multiple_of(sector) {
        return Err(ImageError::Ragged { path, size, sector });
    }
    if medium == Medium::Floppy && floppy_of_size(size).is_none() {
        return Err(ImageError::NoFloppySize { path, size });
    }
    match content {
        Content::Cd { promised } if medium == Medium::Cd && size + CD_RUN_OUT < promised => {
            Err(ImageError::Truncated { path, size, promised })
        }
        _ => Ok(()),
    }
}

fn finish(base: Base, content: Content, size: u64, mode: Mode) -> Image {
    let sectors = size / SECTOR_SIZE as u64;
    let backend: Box<dyn BlockBackend> = match mode {
        Mode::Overlay => Box::new(Overlay::new(base, sectors)),
        Mode::Write => Box::new(Through::new(base, sectors)),
        Mode::Read => Box::new(WriteProtected(Overlay::new(base, sectors))),
    };
    Image { backend, content, size }
}

/// A medium that refuses writes.
struct WriteProtected(Overlay);

impl BlockBackend for WriteProtected {
    fn sectors(&self) -> u64 {
        self.0.sectors()
    }
    fn read_only(&self) -> bool {
        true
    }
    fn read(&mut self, lba: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        self.0.read(lba, buf)
    }
    fn write(&mut self, _: u64, _: &[u8]) -> Result<(), BlockError> {
        Err(BlockError::ReadOnly)
    }
    fn flush(&mut self) -> Result<(), BlockError> {
        Ok(())
    }
    fn save(&self, w: &mut StateWriter) {
        self.0.save(w);
    }
    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        self.0.load(r)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    fn error(dir: &TempDir, name: &str, bytes: &[u8], medium: Medium) -> ImageError {
        open(&ImageSpec::new(dir.file(name, bytes)), medium).unwrap_err()
    }

    #[test]
    fn bad_files_have_their_own_message() {
        let dir = TempDir::new();
        let missing = open(&ImageSpec::new(dir.path().join("none")), Medium::Disk).unwrap_err();
        assert!(missing.to_string().ends_with("none: no such file or directory"), "{missing}");
        assert!(matches!(open(&ImageSpec::new(dir.path()), Medium::Disk), Err(ImageError::Directory(_))));
        assert!(matches!(error(&dir, "0", &[], Medium::Floppy), ImageError::Empty(_)));
        assert!(matches!(error(&dir, "r", &[0; 1000], Medium::Disk), ImageError::Ragged { .. }));
        assert!(matches!(error(&dir, "f", &[0; 163_840 - 512], Medium::Floppy), ImageError::NoFloppySize { .. }));
        assert!(matches!(error(&dir, "b", &vec![0; 3 << 20], Medium::Floppy), ImageError::TooLarge { .. }));
        assert!(matches!(error(&dir, "q", b"QFI\xFB", Medium::Disk), ImageError::Unsupported { .. }));
        let big = dir.file("huge", &[1]);
        let spec = ImageSpec { size: Some(1 << 60), ..ImageSpec::new(big) };
        assert!(matches!(open(&spec, Medium::Disk), Err(ImageError::TooLarge { .. })));
    }

    #[test]
    fn overlays_leave_the_file_alone_and_write_mode_does_not() {
        let dir = TempDir::new();
        let path = dir.file("d.img", &[7; 4096 + 512]);
        let mut image = open(&ImageSpec::new(&path), Medium::Disk).unwrap();
        image.backend.write(0, &[1; 512]).unwrap();
        drop(image);
        assert_eq!(std::fs::read(&path).unwrap(), [7; 4608]);

        let spec = ImageSpec { mode: Mode::Write, ..ImageSpec::new(&path) };
        let mut image = open(&spec, Medium::Disk).unwrap();
        assert!(matches!(open(&spec, Medium::Disk), Err(ImageError::InUse(_))));
        let mut w = StateWriter::new();
        image.backend.save(&mut w);
        image.backend.write(8, &[1; 512]).unwrap();
        assert_eq!(std::fs::read(&path).unwrap()[4096..], [1; 512]);
        image.backend.load(&mut StateReader::new(&w.into_bytes())).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [7; 4608]); // back to the start, and not one byte longer
    }

    #[test]
    fn a_short_floppy_can_be_filled_up() {
        let dir = TempDir::new();
        let spec = ImageSpec { size: Some(1_474_560), ..ImageSpec::new(dir.file("s.img", &[9; 121_344])) };
        let mut image = open(&spec, Medium::Floppy).unwrap();
        let mut buf = [1; 1024];
        image.backend.read(236, &mut buf).unwrap();
        assert_eq!((buf[511], buf[512]), (9, 0));
    }

    #[test]
    fn protected_media_refuse_writes() {
        let mut image = open_bytes(vec![0; 2048 * 10], Medium::Cd).unwrap();
        assert!(image.backend.read_only());
        assert_eq!(image.backend.write(0, &[0; 512]), Err(BlockError::ReadOnly));
    }
}
