//! The guest's symbols: what stands at a linear address.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use object::{Object, ObjectSymbol, SymbolKind};

use crate::image::reason;

/// The largest file of symbols that is read: a Linux kernel with all its debug information has about 1 GiB.
const LARGEST: u64 = 2 << 30;

/// Why a file of symbols can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SymbolError {
    /// It can't be read.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the host says.
        reason: String,
    },
    /// It is something else.
    #[error("{path} has no symbols: it must be an ELF file that is not stripped, or lines as in System.map (`nm`)")]
    None {
        /// The file.
        path: PathBuf,
    },
}

/// Names by linear address.
#[derive(Clone, Debug, Default)]
pub struct Symbols {
    names: BTreeMap<u64, String>,
}

impl Symbols {
    /// Adds the symbols of a file: ELF, or lines of address, kind and name as `nm` prints them and System.map has them.
    ///
    /// # Errors
    /// [`SymbolError`].
    pub fn add(&mut self, path: &Path) -> Result<(), SymbolError> {
        let failed = |e: &std::io::Error| SymbolError::File { path: path.to_owned(), reason: reason(e) };
        let size = std::fs::metadata(path).map_err(|e| failed(&e))?.len();
        if size > LARGEST {
            return Err(SymbolError::File { path: path.to_owned(), reason: "it is larger than 2 GiB".into() });
        }
        let bytes = std::fs::read(path).map_err(|e| failed(&e))?;
        let found = if bytes.starts_with(b"\x7FELF") { from_elf(&bytes) } else { from_lines(&bytes) };
        if found.is_empty() {
            return Err(SymbolError::None { path: path.to_owned() });
        }
        self.names.extend(found);
        Ok(())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The symbol at or before `linear`, and the distance; `None` if the distance is no function's.
    #[must_use]
    pub fn find(&self, linear: u64) -> Option<(&str, u64)> {
        const LONGEST: u64 = 1 << 20;
        let (start, name) = self.names.range(..=linear).next_back()?;
        (linear - start < LONGEST).then_some((name, linear - start))
    }

    /// The function at `linear`; its address where there is no symbol.
    #[must_use]
    pub fn function(&self, linear: u64) -> String {
        self.find(linear).map_or_else(|| format!("{linear:x}"), |(name, _)| name.to_owned())
    }
}

fn from_elf(bytes: &[u8]) -> BTreeMap<u64, String> {
    let Ok(file) = object::File::parse(bytes) else { return BTreeMap::new() };
    let code = |s: &object::Symbol<'_, '_>| matches!(s.kind(), SymbolKind::Text | SymbolKind::Unknown);
    let named = file.symbols().filter(|s| code(s) && s.is_definition());
    named.filter_map(|s| Some((s.address(), s.name().ok().filter(|n| !n.is_empty())?.to_owned()))).collect()
}

fn from_lines(bytes: &[u8]) -> BTreeMap<u64, String> {
    let Ok(text) = core::str::from_utf8(bytes) else { return BTreeMap::new() };
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let address = u64::from_str_radix(words.next()?, 16).ok()?;
        let kind = words.next()?;
        let name = words.next()?;
        ["t", "T", "w", "W"].contains(&kind).then(|| (address, name.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_nm_give_functions() {
        let names = from_lines(b"c1000000 T startup_32\nc1000100 d a_datum\nc1000200 t local\nnonsense\n\n12\n");
        let symbols = Symbols { names };
        assert_eq!(symbols.find(0xC100_0004), Some(("startup_32", 4)));
        assert_eq!(symbols.find(0xC100_0201), Some(("local", 1)));
        assert_eq!(symbols.find(0xC0FF_FFFF), None);
        assert_eq!(symbols.find(0xC100_0200 + (1 << 20)), None);
        assert_eq!((symbols.function(0xC100_0100), symbols.function(0x7C00)), ("startup_32".into(), "7c00".into()));
    }

    #[test]
    fn what_is_no_file_of_symbols_is_refused() {
        let folder = std::env::temp_dir().join(format!("emu-symbols-{}", std::process::id()));
        for bytes in [
            &b""[..],
            b"hello world\n",
            b"\x7FELF",
            b"\x7FELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x03\0\xFF\xFF\xFF\xFF",
        ] {
            std::fs::write(&folder, bytes).expect("a temporary file");
            let error = Symbols::default().add(&folder).expect_err("no symbols").to_string();
            assert!(error.contains("has no symbols"), "{error}");
        }
        std::fs::remove_file(&folder).expect("removed");
        assert!(Symbols::default().add(&folder).is_err());
    }
}
