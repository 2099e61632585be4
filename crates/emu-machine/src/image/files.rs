//! Which files an image may bring along: parents, extents, data files.
//!
//! An image is data from anywhere, and it may name any file. So what it names is opened only inside of the folder that
//! the image itself lies in, unless the user allows more; links are followed before that is judged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::ImageError;
use super::format::Result;
use super::memory::Memory;
use super::store::{HostFile, Store};

/// Where parents and extents may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Parents {
    /// In the image's own folder, or deeper.
    #[default]
    Folder,
    /// Anywhere.
    Anywhere,
}

/// Files that one image, its extents and its parents may have in all.
const MOST: usize = 4096;

/// Opens files for an image.
pub(crate) struct Files {
    place: Place,
    opened: usize,
    waits: bool,
}

enum Place {
    Host { root: Option<PathBuf> },
    Shelf(BTreeMap<PathBuf, Memory>),
}

impl Files {
    /// For the image at `path`.
    pub(crate) fn of(path: &Path, parents: Parents) -> Files {
        let real = path.canonicalize();
        let folder = real.as_deref().ok().and_then(Path::parent).map(Path::to_owned);
        let root = match parents {
            Parents::Folder => Some(folder.unwrap_or_default()),
            Parents::Anywhere => None,
        };
        Files { place: Place::Host { root }, opened: 0, waits: true }
    }

    /// Whether flushes wait for the host's disk.
    pub(crate) fn waiting(self, waits: bool) -> Files {
        Files { waits, ..self }
    }

    /// For images in memory, by their names.
    pub(crate) fn shelf(files: impl IntoIterator<Item = Memory>) -> Files {
        let files = files.into_iter().map(|m| (m.path().to_owned(), m)).collect();
        Files { place: Place::Shelf(files), opened: 0, waits: true }
    }

    /// Opens the image itself.
    pub(crate) fn top(&mut self, path: &Path, write: bool) -> Result<Box<dyn Store>> {
        self.open(path, write)
    }

    /// Opens the file that the image at `from` names.
    pub(crate) fn named(&mut self, from: &Path, name: &str, write: bool) -> Result<Box<dyn Store>> {
        let path = self.resolve(from, name)?;
        self.open(&path, write)
    }

    /// Opens the first of `names` that is there.
    pub(crate) fn first_named(&mut self, from: &Path, names: &[String]) -> Result<Box<dyn Store>> {
        let mut first_error = None;
        for name in names {
            match self.named(from, name, false) {
                Ok(store) => return Ok(store),
                Err(e) => _ = first_error.get_or_insert(e),
            }
        }
        Err(first_error
            .unwrap_or_else(|| ImageError::NoWay { path: from.to_owned(), why: "it names no parent file".into() }))
    }

    /// Files in the folder of the image at `from`, by name: for formats that know their parents by id alone.
    pub(crate) fn beside(&self, from: &Path, extension: &str) -> Vec<String> {
        let of_kind = |p: &Path| p.extension().is_some_and(|e| e.eq_ignore_ascii_case(extension));
        let name = |p: &Path| Some(p.file_name()?.to_str()?.to_owned());
        let mut names: Vec<String> = match &self.place {
            Place::Shelf(files) => files.keys().filter(|p| of_kind(p)).filter_map(|p| name(p)).collect(),
            Place::Host { .. } => {
                let folder = from.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
                let entries = std::fs::read_dir(folder).into_iter().flatten().take(MOST).flatten();
                entries.map(|e| e.path()).filter(|p| of_kind(p)).filter_map(|p| name(&p)).collect()
            }
        };
        names.sort();
        names
    }

    /// Whether this name is a file that may be opened.
    pub(crate) fn exists(&self, from: &Path, name: &str) -> bool {
        self.resolve(from, name).is_ok_and(|path| match &self.place {
            Place::Shelf(files) => files.contains_key(&path),
            Place::Host { .. } => path.exists(),
        })
    }

    fn resolve(&self, from: &Path, name: &str) -> Result<PathBuf> {
        if name.is_empty() || name.contains('\0') {
            return Err(ImageError::NoWay { path: from.to_owned(), why: "it names a file without a name".into() });
        }
        let path = from.parent().unwrap_or(Path::new("")).join(name);
        let Place::Host { root: Some(root) } = &self.place else { return Ok(path) };
        // Not canonicalize(path) alone: of a file that is not there, its folder must be judged all the same.
        let real = path.canonicalize().or_else(|e| {
            let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            folder.canonicalize().map_err(|_| e)
        });
        let real = real.map_err(|e| ImageError::host(&path, &e))?;
        if real.starts_with(root) {
            Ok(path)
        } else {
            Err(ImageError::Outside { path: from.to_owned(), name: name.to_owned() })
        }
    }

    fn open(&mut self, path: &Path, write: bool) -> Result<Box<dyn Store>> {
        self.opened += 1;
        if self.opened > MOST {
            let why = "its extents and parents are more than 4096 files".into();
            return Err(ImageError::NoWay { path: path.to_owned(), why });
        }
        let store: Box<dyn Store> = match &self.place {
            Place::Host { .. } if self.waits => Box::new(HostFile::open(path, write)?),
            Place::Host { .. } => Box::new(HostFile::open(path, write)?.without_waiting()),
            Place::Shelf(files) => match files.get(path) {
                Some(memory) => Box::new(memory.clone()),
                None => return Err(ImageError::host(path, &std::io::ErrorKind::NotFound.into())),
            },
        };
        if store.len() == 0 { Err(ImageError::Empty(path.to_owned())) } else { Ok(store) }
    }

    /// Two names of one file are one identity: for chains that come back to themselves.
    pub(crate) fn identity(path: &Path) -> PathBuf {
        path.canonicalize().unwrap_or_else(|_| path.to_owned())
    }
}

/// Makes the files of a new image; takes them away again unless it is kept.
pub(crate) struct Maker {
    shelf: Option<Vec<Memory>>,
    made: Vec<PathBuf>,
    kept: bool,
}

impl Maker {
    /// On the host.
    pub(crate) fn on_host() -> Maker {
        Maker { shelf: None, made: Vec::new(), kept: false }
    }

    /// In memory.
    #[cfg(test)]
    pub(crate) fn on_shelf() -> Maker {
        Maker { shelf: Some(Vec::new()), made: Vec::new(), kept: true }
    }

    /// What was made in memory.
    #[cfg(test)]
    pub(crate) fn shelf(&self) -> Vec<Memory> {
        self.shelf.clone().unwrap_or_default()
    }

    /// Makes a file, which must not be there yet.
    pub(crate) fn make(&mut self, path: &Path) -> Result<Box<dyn Store>> {
        if let Some(shelf) = &mut self.shelf {
            let memory = Memory::new(path, Vec::new());
            shelf.push(memory.clone());
            return Ok(Box::new(memory));
        }
        let file = HostFile::create(path)?;
        self.made.push(path.to_owned());
        Ok(Box::new(file))
    }

    /// The image is complete.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        if !self.kept {
            for path in &self.made {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}
