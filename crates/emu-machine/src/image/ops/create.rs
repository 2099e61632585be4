//! New images of any format, with options named as QEMU names them.

use std::path::{Path, PathBuf};

use super::super::ImageError;
use super::super::disk::{Disk, Options};
use super::super::files::{Maker, Parents};
use super::super::format::{Kind, NewParent, Result};
use super::super::formats::qcow2::{self, Compression};
use super::super::formats::{cue, imd, split, vdi, vhd, vhdx, vmdk};
use crate::config::{parse_size, suggestion};

/// A new image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewImage {
    /// Its format.
    pub kind: Kind,
    /// Bytes of its disk; without, those of its parent.
    pub size: Option<u64>,
    /// `key=value`, as on QEMU's command line.
    pub options: Vec<(String, String)>,
    /// Its parent's file, as the image shall name it, and the parent's format.
    pub parent: Option<(String, Option<Kind>)>,
    /// Where the parent may be.
    pub parents: Parents,
}

impl NewImage {
    /// An image without options.
    #[must_use]
    pub fn new(kind: Kind, size: u64) -> NewImage {
        NewImage { kind, size: Some(size), options: Vec::new(), parent: None, parents: Parents::default() }
    }

    /// With an option.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> NewImage {
        self.options.push((key.into(), value.into()));
        self
    }
}

/// Makes an empty image at `path`, where nothing may be yet.
///
/// # Errors
/// [`ImageError`]; then there is no new file.
pub fn create(path: &Path, new: &NewImage) -> Result<()> {
    let parent = new.parent.as_ref().map(|(name, kind)| find_parent(path, name, *kind, new.parents)).transpose()?;
    let mut maker = Maker::on_host();
    create_with(path, new, parent, &mut maker)?;
    maker.keep();
    Ok(())
}

/// Opens the parent that `name` is, seen from the image at `path`.
pub(crate) fn find_parent(path: &Path, name: &str, kind: Option<Kind>, parents: Parents) -> Result<NewParent> {
    let file = path.parent().unwrap_or(Path::new("")).join(name);
    let options = Options { format: kind, parents, ..Options::default() };
    let disk = Disk::open(&file, &options).map_err(|e| e.in_parent_of(path))?;
    let absolute = file.canonicalize().unwrap_or_else(|_| PathBuf::from(name));
    let top = &disk.layers()[0];
    Ok(NewParent { name: name.into(), absolute, kind: disk.kind(), identity: top.identity(), size: disk.size() })
}

/// The options of a new image, each taken once.
pub(crate) struct Choices<'a> {
    path: &'a Path,
    left: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl<'a> Choices<'a> {
    fn no_way(&self, why: String) -> ImageError {
        ImageError::NoWay { path: self.path.to_owned(), why: why.into() }
    }

    /// The value of an option.
    pub(crate) fn text(&mut self, key: &'static str) -> Option<String> {
        self.known.push(key);
        let at = self.left.iter().rposition(|(k, _)| k == key)?;
        Some(self.left.remove(at).1)
    }

    /// A size.
    pub(crate) fn size(&mut self, key: &'static str, default: u64) -> Result<u64> {
        match self.text(key) {
            None => Ok(default),
            Some(text) => {
                let plain = text.parse().ok();
                plain.map_or_else(|| parse_size(&text).map_err(|e| self.no_way(format!("{key}={text}: {e}"))), Ok)
            }
        }
    }

    /// `on` or `off`.
    pub(crate) fn switch(&mut self, key: &'static str) -> Result<bool> {
        match self.text(key).as_deref() {
            None | Some("off" | "no" | "false") => Ok(false),
            Some("on" | "yes" | "true") => Ok(true),
            Some(other) => Err(self.no_way(format!("{key}={other} is neither on nor off"))),
        }
    }

    /// One of several words; the first is the default.
    pub(crate) fn word(&mut self, key: &'static str, words: &[&'static str]) -> Result<&'static str> {
        let Some(text) = self.text(key) else { return Ok(words[0]) };
        let found = words.iter().find(|w| w.eq_ignore_ascii_case(&text));
        found.copied().ok_or_else(|| {
            let hint = suggestion(&text, words);
            self.no_way(format!("{key}={text} is none of {}{hint}", words.join(", ")))
        })
    }

    /// Complains about what nobody asked for.
    fn end(self) -> Result<()> {
        match self.left.first() {
            None => Ok(()),
            Some((key, _)) => {
                let hint = suggestion(key, &self.known);
                let known = if self.known.is_empty() { "it has none".into() } else { self.known.join(", ") };
                Err(self.no_way(format!("this format has no option `{key}`{hint} ({known})")))
            }
        }
    }
}

pub(crate) fn create_with(path: &Path, new: &NewImage, parent: Option<NewParent>, maker: &mut Maker) -> Result<()> {
    let mut c = Choices { path, left: new.options.clone(), known: Vec::new() };
    let no_size = || ImageError::NoWay { path: path.to_owned(), why: "a new image needs a size".into() };
    let size = new.size.or(parent.as_ref().map(|p| p.size)).ok_or_else(no_size)?;
    match new.kind {
        Kind::Raw => {
            c.end()?;
            if parent.is_some() {
                return Err(ImageError::NoWay { path: path.to_owned(), why: "raw images have no parents".into() });
            }
            maker.make(path)?.resize(size)
        }
        Kind::Split => {
            let part = c.size("extent_size", 2 << 30)?;
            c.end()?;
            split::create(path, size, part, maker)
        }
        Kind::Qcow2 => {
            let how = qcow2_choices(&mut c, size, parent)?;
            c.end()?;
            if let Some((name, raw)) = &how.data_file {
                let data = maker.make(&path.parent().unwrap_or(Path::new("")).join(name))?;
                data.resize(if *raw { size } else { size.min(1) })?;
            }
            qcow2::create(&*maker.make(path)?, &how)
        }
        Kind::Vhd => {
            let fixed = c.word("subformat", &["dynamic", "fixed"])? == "fixed";
            let how = vhd::Create { size, fixed, block: c.size("block_size", 2 << 20)?, parent };
            c.end()?;
            vhd::create(&*maker.make(path)?, &how)
        }
        Kind::Vmdk => {
            let how = vmdk::Create {
                size,
                subformat: c.word("subformat", &vmdk::SUBFORMATS)?,
                adapter: c.word("adapter_type", &["ide", "lsilogic", "buslogic", "pvscsi"])?,
                zeroed_grain: c.switch("zeroed_grain")?,
                part: c.size("extent_size", vmdk::PART)?,
                parent,
            };
            c.end()?;
            vmdk::create(path, &how, maker)
        }
        Kind::Vhdx => {
            let fixed = c.word("subformat", &["dynamic", "fixed"])? == "fixed";
            let block = c.size("block_size", if parent.is_some() { 2 << 20 } else { 8 << 20 })?;
            let sector = c.size("logical_sector_size", 512)?;
            c.end()?;
            vhdx::create(&*maker.make(path)?, &vhdx::Create { size, fixed, block, sector, parent })
        }
        Kind::Vdi => {
            let how = vdi::Create { size, fixed: c.switch("static")?, block: c.size("block_size", 1 << 20)?, parent };
            c.end()?;
            vdi::create(&*maker.make(path)?, &how)
        }
        Kind::Imd | Kind::Cue if parent.is_some() => {
            Err(ImageError::NoWay { path: path.to_owned(), why: "diskettes and CDs have no parents".into() })
        }
        Kind::Imd => {
            c.end()?;
            imd::create(&*maker.make(path)?, size)
        }
        Kind::Cue => {
            c.end()?;
            cue::create(path, size, maker)
        }
    }
}

fn qcow2_choices(c: &mut Choices<'_>, size: u64, parent: Option<NewParent>) -> Result<qcow2::Create> {
    let mut how = qcow2::Create::new(size);
    how.version = if c.word("compat", &["1.1", "0.10", "v3", "v2"])?.ends_with(['1', '3']) { 3 } else { 2 };
    how.extended_l2 = c.switch("extended_l2")?;
    how.cluster = c.size("cluster_size", how.cluster)?;
    how.refcount_bits = c.size("refcount_bits", 16)?;
    how.lazy_refcounts = c.switch("lazy_refcounts")?;
    how.compression = match c.word("compression_type", &["zlib", "zstd"])? {
        "zstd" => Compression::Zstd,
        _ => Compression::Zlib,
    };
    let raw = c.switch("data_file_raw")?;
    how.data_file = c.text("data_file").map(|name| (name, raw));
    how.parent = parent;
    Ok(how)
}
