//! Opening: from a specification to sectors, with every way in which that can fail.

use std::path::Path;

use emu_core::block::SECTOR_SIZE;
use emu_core::{BlockBackend, BlockError, StateError, StateReader, StateWriter};
use emu_devices::geometry::Geometry;

use super::base::Base;
use super::disk::{Disk, Options};
use super::format::Kind;
use super::formats::raw::Raw;
use super::memory::Memory;
use super::overlay::Overlay;
use super::probe::HEAD;
use super::through::Through;
use super::{Content, FLOPPIES, ImageError, ImageSpec, Medium, Mode, is_floppy_size, probe};

/// An opened image.
pub struct Image {
    /// Its sectors.
    pub backend: Box<dyn BlockBackend>,
    /// What its disk was found to be.
    pub content: Content,
    /// Bytes that the drive shows.
    pub size: u64,
    /// The diskette's shape, where its owner said it.
    pub geometry: Option<Geometry>,
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
    if spec.snapshot.is_some() && mode == Mode::Write {
        let why = "a snapshot is not written; use mode=overlay, or emu disk snapshot -a to go back to it".into();
        return Err(ImageError::NoWay { path: path.to_owned(), why });
    }
    let mut disk = open_disk(spec, mode == Mode::Write)?;
    let content = content_of(&mut disk, spec)?;
    if let Content::Unsupported { format, hint } = content {
        return Err(ImageError::Unsupported { path: path.to_owned(), format, hint });
    }
    let size = shown_size(spec, disk.size())?;
    match (spec.geometry, medium) {
        (None, _) => check_size(path, medium, content, size)?,
        (Some(_), Medium::Floppy) => {}
        (Some(_), _) => return Err(ImageError::Spec(format!("{}: geometry= is for diskettes", path.display()))),
    }
    let guarded = spec.format.is_none() && disk.kind() == Kind::Raw;
    Ok(Image { geometry: spec.geometry, ..finish(Base::new(disk, guarded), content, size, mode) })
}

fn open_disk(spec: &ImageSpec, write: bool) -> Result<Disk, ImageError> {
    let options = Options {
        write,
        format: spec.format,
        parents: spec.parents,
        snapshot: spec.snapshot.clone(),
        ..Options::default()
    };
    Disk::open(&spec.path, &options)
}

/// An image whose contents emu brings itself. Writes go into memory.
///
/// # Errors
/// [`ImageError`] if no drive of kind `medium` has this size.
pub fn open_bytes(bytes: Vec<u8>, medium: Medium) -> Result<Image, ImageError> {
    let size = bytes.len() as u64;
    let path = Path::new("(built-in image)");
    let mut disk = Disk::of(Box::new(Raw::open(Box::new(Memory::new(path, bytes)))), false);
    let content = head_content(&mut disk)?;
    check_size(path, medium, content, size)?;
    let mode = if medium == Medium::Cd { Mode::Read } else { Mode::Overlay };
    Ok(finish(Base::new(disk, false), content, size, mode))
}

/// What the disk in the image `spec` is, and its bytes.
///
/// # Errors
/// Any [`ImageError`] that opening gives; a format that is only known by name is not one.
pub fn inspect(spec: &ImageSpec) -> Result<(Content, u64), ImageError> {
    let mut disk = open_disk(spec, false)?;
    Ok((content_of(&mut disk, spec)?, disk.size()))
}

/// What a disk is. A raw one that looks like a format which we only know by name is that, unless the user says that it
/// is raw.
fn content_of(disk: &mut Disk, spec: &ImageSpec) -> Result<Content, ImageError> {
    let content = head_content(disk)?;
    let guessed = spec.format.is_none() && disk.kind() == Kind::Raw;
    Ok(if matches!(content, Content::Unsupported { .. }) && !guessed { Content::Unknown } else { content })
}

fn head_content(disk: &mut Disk) -> Result<Content, ImageError> {
    let size = disk.size();
    let mut head = vec![0; HEAD.min(usize::try_from(size).unwrap_or(HEAD))];
    disk.read(0, &mut head)?;
    Ok(probe(&head, size))
}

fn shown_size(spec: &ImageSpec, file_size: u64) -> Result<u64, ImageError> {
    let of_geometry = spec.geometry.map(|g| g.total() * SECTOR_SIZE as u64);
    if let (Some(size), Some(of_geometry)) = (spec.size, of_geometry)
        && size != of_geometry
    {
        let text = format!("{}: size= and geometry= are not the same size", spec.path.display());
        return Err(ImageError::Spec(text));
    }
    match spec.size.or(of_geometry) {
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
    if medium == Medium::Floppy && !is_floppy_size(size) {
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
    Image { backend, content, size, geometry: None }
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
        assert!(matches!(error(&dir, "q", b"QED\0", Medium::Disk), ImageError::Unsupported { .. }));
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
    fn a_diskette_of_any_geometry() {
        let dir = TempDir::new();
        let path = dir.file("8.img", &[3; 77 * 2 * 8 * 512 - 1024]);
        let spec = |text: &str| ImageSpec::parse(&format!("{},{text}", path.display())).unwrap();
        let image = open(&spec("geometry=77/2/8"), Medium::Floppy).unwrap();
        assert_eq!((image.size, image.geometry.unwrap().sectors), (630_784, 8));
        let error = |text: &str, medium| open(&spec(text), medium).unwrap_err().to_string();
        assert!(error("geometry=77/1/8", Medium::Floppy).contains("more than its size"));
        assert!(error("geometry=77/2/8", Medium::Disk).contains("for diskettes"));
        assert!(error("geometry=77/2/8,size=720K", Medium::Floppy).contains("not the same size"));
        assert!(error("mode=read", Medium::Floppy).contains("no floppy has"));
    }

    #[test]
    fn protected_media_refuse_writes() {
        let mut image = open_bytes(vec![0; 2048 * 10], Medium::Cd).unwrap();
        assert!(image.backend.read_only());
        assert_eq!(image.backend.write(0, &[0; 512]), Err(BlockError::ReadOnly));
    }
}
