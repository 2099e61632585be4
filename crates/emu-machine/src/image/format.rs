//! What a disk-image format must say; reading, writing and chains above it are common to all.

use std::borrow::Cow;

use super::ImageError;
use super::store::Store;

/// The result of everything here.
pub(crate) type Result<T> = core::result::Result<T, ImageError>;

/// The formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Sectors as they are: disks, diskettes, ISO 9660.
    Raw,
    /// Raw, cut into numbered files: `x.001`, `x.002`, …
    Split,
    /// QEMU's, versions 2 and 3.
    Qcow2,
    /// VMware's, with all its kinds of extents.
    Vmdk,
    /// Virtual PC's and the older Hyper-V's.
    Vhd,
    /// Hyper-V's.
    Vhdx,
    /// VirtualBox's.
    Vdi,
    /// ImageDisk's diskettes.
    Imd,
    /// A CD's raw sectors of 2352 bytes, with or without its `.cue`.
    Cue,
}

impl Kind {
    /// All, in the order in which they are named in messages.
    pub const ALL: [Kind; 9] =
        [Kind::Raw, Kind::Split, Kind::Qcow2, Kind::Vmdk, Kind::Vhd, Kind::Vhdx, Kind::Vdi, Kind::Imd, Kind::Cue];

    /// The name on a command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Raw => "raw",
            Kind::Split => "split",
            Kind::Qcow2 => "qcow2",
            Kind::Vmdk => "vmdk",
            Kind::Vhd => "vhd",
            Kind::Vhdx => "vhdx",
            Kind::Vdi => "vdi",
            Kind::Imd => "imd",
            Kind::Cue => "cue",
        }
    }

    /// The format of this name; QEMU's name for VHD counts too.
    #[must_use]
    pub fn parse(name: &str) -> Option<Kind> {
        if name == "vpc" {
            return Some(Kind::Vhd);
        }
        Kind::ALL.into_iter().find(|k| k.name() == name)
    }
}

impl core::fmt::Display for Kind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

/// Where bytes of the virtual disk are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    /// In one of the format's stores, at a position.
    Data { file: usize, pos: u64 },
    /// Nowhere: they are zeros, whatever a parent has.
    Zero,
    /// Nowhere: a parent has them; without one they are zeros.
    Parent,
    /// In the format's own wrapping: see [`Format::read_packed`].
    Packed,
}

/// A piece of the virtual disk that lies in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Its bytes.
    pub(crate) len: u64,
    /// Its place.
    pub(crate) place: Where,
}

/// Where bytes are to be written, and what must be written around them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The store.
    pub(crate) file: usize,
    /// The position in it of virtual byte `from`.
    pub(crate) pos: u64,
    /// The virtual range that must be filled: the bytes to write, and old contents around them.
    pub(crate) from: u64,
    /// Its end.
    pub(crate) to: u64,
    /// Whether the range is already zeros in the store.
    pub(crate) zeroed: bool,
}

/// How an image names its parent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ParentRef {
    /// File names to try, the likeliest first: relative to the image, or absolute.
    pub(crate) names: Vec<String>,
    /// Its format, if the image says so.
    pub(crate) kind: Option<Kind>,
    /// What the parent must say of itself.
    pub(crate) identity: Identity,
}

/// What makes an image that image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Identity {
    /// Nothing.
    #[default]
    None,
    /// VMDK's content id.
    Cid(u32),
    /// A GUID or UUID: VHD, VHDX, VDI.
    Uuid([u8; 16]),
}

impl core::fmt::Display for Identity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Identity::None => f.write_str("none"),
            Identity::Cid(cid) => write!(f, "CID {cid:08x}"),
            Identity::Uuid(bytes) => write!(f, "{{{}}}", uuid::Uuid::from_bytes(*bytes)),
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// What loses or may lose data.
    pub errors: Vec<String>,
    /// How many there are in all: the list is cut.
    pub error_count: u64,
    /// Space that nothing uses: harmless.
    pub leaks: u64,
    /// Bytes that the leaks take.
    pub leaked_bytes: u64,
    /// Errors and leaks that were repaired.
    pub fixed: u64,
    /// Blocks (clusters, grains) of the virtual disk in all.
    pub blocks: u64,
    /// Those with data.
    pub allocated: u64,
    /// Those that are compressed.
    pub compressed: u64,
    /// Where the image's last used byte ends.
    pub end: u64,
}

impl Findings {
    /// Findings listed at most.
    const LISTED: usize = 100;

    /// Adds an error.
    pub(crate) fn error(&mut self, text: impl Into<String>) {
        self.error_count += 1;
        if self.errors.len() < Self::LISTED {
            self.errors.push(text.into());
        }
    }
}

/// What a check may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fix {
    /// Nothing.
    Nothing,
    /// Space that nothing uses.
    Leaks,
    /// All that can be put right without guessing.
    All,
}

/// A snapshot inside of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its id, unique in the image.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was taken, in seconds since 1970.
    pub seconds: u64,
    /// Guest time that had run, in nanoseconds.
    pub guest_ns: u64,
    /// Bytes of saved machine state that go with it.
    pub state_bytes: u64,
    /// Bytes of the virtual disk then.
    pub size: u64,
}

/// Snapshots inside of an image.
pub(crate) trait Snapshots {
    /// All of them, the oldest first.
    fn list(&self) -> Vec<Snapshot>;
    /// Takes one.
    fn take(&mut self, name: &str, seconds: u64) -> Result<()>;
    /// Goes back to one.
    fn apply(&mut self, name: &str) -> Result<()>;
    /// Deletes one.
    fn delete(&mut self, name: &str) -> Result<()>;
    /// Shows one from now on; nothing may be written then.
    fn show(&mut self, name: &str) -> Result<()>;
}

/// Blocks that are joined to one extent at most, so that a look at one place never walks a whole image.
const MOST_JOINED: u32 = 128;

/// Compresses blocks; several may do it at once.
pub(crate) trait Packer: Send {
    /// A block ([`Format::block`]; the disk's last one may be shorter) as the image stores it; `None` if it would not get
    /// smaller.
    fn pack(&mut self, block: &[u8]) -> Option<Vec<u8>>;
}

/// A layer of a virtual disk: one format's tables over its stores.
pub(crate) trait Format: Send {
    /// Which format.
    fn kind(&self) -> Kind;
    /// Bytes of the virtual disk.
    fn size(&self) -> u64;
    /// What is at `offset` as far as one of the format's blocks reaches: perhaps more than `len` bytes, or fewer; not 0.
    fn lookup(&mut self, offset: u64, len: u64) -> Result<Extent>;
    /// What is at `offset`: one place, of at most `len` bytes (more than 0, within the disk). Blocks that lie in a row
    /// are one.
    fn locate(&mut self, offset: u64, len: u64) -> Result<Extent> {
        let mut extent = self.lookup(offset, len)?;
        for _ in 0..MOST_JOINED {
            if extent.len >= len || extent.place == Where::Packed {
                break;
            }
            let next = self.lookup(offset + extent.len, len - extent.len)?;
            let follows = match (extent.place, next.place) {
                (Where::Data { file, pos }, Where::Data { file: f, pos: p }) => file == f && pos + extent.len == p,
                (a, b) => a == b,
            };
            if !follows {
                break;
            }
            extent.len += next.len;
        }
        extent.len = extent.len.min(len);
        Ok(extent)
    }
    /// One of its stores.
    fn store(&self, file: usize) -> &dyn Store;
    /// How many stores there are.
    fn stores(&self) -> usize {
        1
    }
    /// Reads bytes that [`Format::locate`] called packed; they lie in one such extent.
    fn read_packed(&mut self, _offset: u64, _buf: &mut [u8]) -> Result<()> {
        Err(self.store(0).no_way("it has no packed blocks"))
    }

    /// Where `len` bytes at `offset` can be written, or the first of them. Space is taken if need be, but nothing points
    /// to it before [`Format::link`].
    fn target(&mut self, _offset: u64, _len: u64) -> Result<Target> {
        Err(self.store(0).no_way("this kind of image can't be written in place: use an overlay, or convert it"))
    }
    /// The target has been filled: makes it count.
    fn link(&mut self, _target: &Target) -> Result<()> {
        Ok(())
    }
    /// Makes `len` bytes at `offset` read as zeros without storing them, as far as the format can: returns how many
    /// bytes from `offset` on it did, 0 for none.
    fn zero(&mut self, _offset: u64, _len: u64) -> Result<u64> {
        Ok(0)
    }
    /// What compresses blocks for it.
    fn packer(&self) -> Result<Box<dyn Packer>> {
        Err(self.store(0).no_way("this format has no compression"))
    }
    /// Writes one whole block ([`Format::block`]) at `offset`, as [`Format::packer`] made it.
    fn write_packed(&mut self, _offset: u64, _packed: &[u8]) -> Result<()> {
        Err(self.store(0).no_way("this format has no compression"))
    }
    /// Whether blocks can be written with [`Format::write_packed`] alone, each once, in order.
    fn only_packed(&self) -> bool {
        false
    }
    /// All has been written: adds what comes last.
    fn finish(&mut self) -> Result<()> {
        self.flush()
    }
    /// Makes everything durable that was written.
    fn flush(&mut self) -> Result<()>;
    /// Whether so many changes wait that [`Format::flush`] should be called.
    fn is_full(&self) -> bool {
        false
    }

    /// Bytes of its unit of allocation; 0 if it has none.
    fn block(&self) -> u64 {
        0
    }
    /// The parent that it names.
    fn parent(&self) -> Option<ParentRef> {
        None
    }
    /// What children know it by.
    fn identity(&self) -> Identity {
        Identity::None
    }
    /// Facts for people, as name and value.
    fn facts(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
    /// Looks whether all tables make sense.
    fn check(&mut self, fix: Fix) -> Result<Findings>;
    /// Whether [`Format::check`] knows anything to check.
    fn can_check(&self) -> bool {
        true
    }
    /// Changes the virtual size. What a shrunk disk held beyond is lost.
    fn resize(&mut self, _size: u64) -> Result<()> {
        Err(self
            .store(0)
            .no_way("this kind of image can't change its size: emu disk convert --size makes a larger copy"))
    }
    /// Names another parent.
    fn set_parent(&mut self, _parent: Option<&NewParent>) -> Result<()> {
        Err(self.store(0).no_way("this kind of image has no parents"))
    }
    /// Its snapshots, if the format has such.
    fn snapshots(&mut self) -> Option<&mut dyn Snapshots> {
        None
    }
    /// Clears all contents, so that a parent shows through everywhere.
    fn clear(&mut self) -> Result<()> {
        Err(self.store(0).no_way("this kind of image can't be emptied"))
    }
}

/// The parent of an image to be made, or to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewParent {
    /// Its name as the image shall say it.
    pub(crate) name: String,
    /// Its absolute path.
    pub(crate) absolute: std::path::PathBuf,
    /// Its format.
    pub(crate) kind: Kind,
    /// What it says of itself.
    pub(crate) identity: Identity,
    /// Bytes of its virtual disk.
    pub(crate) size: u64,
}

impl dyn Store + '_ {
    /// The error for a structure that makes no sense.
    pub(crate) fn bad(
        &self,
        kind: Kind,
        structure: &'static str,
        offset: u64,
        problem: impl Into<Cow<'static, str>>,
    ) -> ImageError {
        let (path, problem) = (self.path().to_owned(), problem.into());
        ImageError::Corrupt { path, format: kind, structure, offset, problem }
    }

    /// The error for what can't be done with this image.
    pub(crate) fn no_way(&self, why: impl Into<Cow<'static, str>>) -> ImageError {
        ImageError::NoWay { path: self.path().to_owned(), why: why.into() }
    }
}
