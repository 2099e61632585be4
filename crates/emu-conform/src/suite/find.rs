//! Finding suites: what a file or a folder on the command line holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::cpu::SuiteCpu;
use super::metadata::Metadata;
use super::{SuiteError, reason};
use crate::program::{Kernel, kernel, rom};

/// How a suite's files are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// SingleStepTests in MOO.
    Moo,
    /// SingleStepTests in JSON.
    Json,
    /// Hardware vectors, a JSON object a line.
    Hwvec,
    /// Multiboot kernels that leave by port F4h.
    Kernels,
    /// ROMs that report by POST code.
    Rom,
}

impl Format {
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Format::Moo => "SingleStepTests, MOO",
            Format::Json => "SingleStepTests, JSON",
            Format::Hwvec => "hardware vectors",
            Format::Kernels => "test kernels",
            Format::Rom => "ROM test",
        }
    }
}

/// Test files that belong together: a folder's, or one alone.
#[derive(Debug)]
pub struct Suite {
    /// Its name in reports: the folder's, or the group's.
    pub name: String,
    /// How its files are written.
    pub format: Format,
    /// The files, in order.
    pub files: Vec<PathBuf>,
    /// What `metadata.json` says, if there is one.
    pub metadata: Option<Metadata>,
    /// Test kernels: one for each of the files.
    pub(crate) kernels: Vec<Kernel>,
}

impl Suite {
    /// The CPU that the suite itself names, if it does: in its metadata, or in the folder's name.
    #[must_use]
    pub fn cpu(&self) -> Option<SuiteCpu> {
        match self.format {
            Format::Hwvec => return Some(SuiteCpu::ice_lake()),
            Format::Kernels | Format::Rom => return None,
            Format::Moo | Format::Json => {}
        }
        let named = self.metadata.as_ref().and_then(|m| m.cpu.as_deref()).and_then(SuiteCpu::by_id);
        let folder = self.files.first().and_then(|f| f.parent());
        named.or_else(|| folder.and_then(SuiteCpu::by_path))
    }
}

/// Folders inside of folders are looked into this deep.
const DEPTH: usize = 6;
const NOT_CASES: [&str; 3] = ["metadata.json", "manifest.json", "package.json"];

/// The suites in `paths`, each a file or a folder. What can't be used of it is noted in `problems`; the rest is there.
#[must_use]
pub fn find(paths: &[PathBuf], problems: &mut Vec<SuiteError>) -> Vec<Suite> {
    let mut groups: BTreeMap<(usize, PathBuf, Format, String), Vec<PathBuf>> = BTreeMap::new();
    for (n, path) in paths.iter().enumerate() {
        let mut files = Vec::new();
        match std::fs::metadata(path) {
            Err(e) => problems.push(SuiteError::new(path, reason(&e))),
            Ok(m) if m.is_dir() => {
                walk(path, DEPTH, &mut files, problems);
                files.sort();
                if files.is_empty() {
                    problems.push(SuiteError::new(path, "there is no test suite in this folder"));
                }
            }
            Ok(_) => match format_of(path) {
                Some(format) => files.push((path.clone(), format)),
                None => problems.push(SuiteError::new(path, KINDS)),
            },
        }
        for (file, format) in files {
            let folder = file.parent().unwrap_or(Path::new("")).to_owned();
            // Hardware vectors are a suite a file, their groups being as different as they are; so are ROMs.
            let single = if matches!(format, Format::Hwvec | Format::Rom) { stem(&file) } else { String::new() };
            groups.entry((n, folder, format, single)).or_default().push(file);
        }
    }
    let mut suites = Vec::new();
    for ((_, folder, format, single), files) in groups {
        let name = if single.is_empty() { folder_name(&folder) } else { single };
        let suite = Suite { name, format, files, metadata: None, kernels: Vec::new() };
        match complete(suite, &folder) {
            Ok(suite) => suites.push(suite),
            Err(e) => problems.push(e),
        }
    }
    distinguish(&mut suites);
    suites
}

/// Reads what stands beside a suite's files: metadata, lists of kernels.
fn complete(mut suite: Suite, folder: &Path) -> Result<Suite, SuiteError> {
    match suite.format {
        Format::Moo | Format::Json => suite.metadata = Metadata::of(folder)?,
        Format::Kernels => {
            let list = suite.files.iter().find(|f| is_list(f));
            suite.kernels = match list {
                Some(list) => kernel::list(list)?,
                None => suite.files.iter().cloned().map(Kernel::new).collect(),
            };
            suite.files = suite.kernels.iter().map(|k| k.file.clone()).collect();
        }
        Format::Hwvec | Format::Rom => {}
    }
    Ok(suite)
}

/// Whether a file is a list of kernels.
fn is_list(path: &Path) -> bool {
    path.file_name().is_some_and(|n| n == "unittests.cfg")
}

/// What is said of a file that is none of these.
const KINDS: &str =
    "it is no test suite: neither MOO, JSON cases, hardware vectors, a multiboot kernel, unittests.cfg, nor a ROM";

/// Suites of the same name get a number.
fn distinguish(suites: &mut [Suite]) {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for suite in suites {
        let n = seen.entry(suite.name.clone()).or_default();
        *n += 1;
        if *n > 1 {
            suite.name = format!("{} ({n})", suite.name);
        }
    }
}

/// A folder's name; that of its parent too, if it only tells a version.
fn folder_name(folder: &Path) -> String {
    let whole = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let name = |p: &Path| p.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let own = name(&whole);
    let version = own.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    match whole.parent().map(name) {
        Some(parent) if version && !parent.is_empty() => format!("{parent}/{own}"),
        _ => own,
    }
}

/// A file's name without the endings that tell its format.
#[must_use]
pub fn stem(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let lower = name.to_lowercase();
    let endings = [".gz", ".moo", ".jsonl", ".json", ".bin", ".rom", ".flat", ".elf"];
    let mut len = name.len();
    for ending in endings {
        if lower[..len].ends_with(ending) {
            len -= ending.len();
        }
    }
    name[..len].to_owned()
}

fn walk(folder: &Path, depth: usize, files: &mut Vec<(PathBuf, Format)>, problems: &mut Vec<SuiteError>) {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) => return problems.push(SuiteError::new(folder, reason(&e))),
    };
    for entry in entries.flatten() {
        let path = entry.path();
        // Links are followed to files only: a folder may lead back to itself.
        let is_folder = entry.file_type().is_ok_and(|t| t.is_dir());
        if is_folder && depth > 0 {
            walk(&path, depth - 1, files, problems);
        } else if !is_folder && let Some(format) = format_by_name(&path) {
            files.push((path, format));
        }
    }
}

/// The format that a file's name tells.
fn format_by_name(path: &Path) -> Option<Format> {
    let name = path.file_name()?.to_string_lossy().to_lowercase();
    if is_list(path) {
        return Some(Format::Kernels);
    }
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    match name.rsplit_once('.')?.1 {
        "moo" => Some(Format::Moo),
        "json" if !NOT_CASES.contains(&name) => Some(Format::Json),
        "jsonl" => Some(Format::Hwvec),
        "flat" => Some(Format::Kernels),
        _ => None,
    }
}

/// The format of a file that was named itself: by its content, or else by its name, so that a damaged file is told as one.
fn format_of(path: &Path) -> Option<Format> {
    let by_content = super::unpack::start_of(path).and_then(|start| {
        let text = start.iter().find(|b| !b.is_ascii_whitespace());
        match text {
            _ if start.starts_with(b"MOO ") => Some(Format::Moo),
            Some(b'[') if !is_list(path) => Some(Format::Json),
            _ if kernel::looks_like_kernel(&start) => Some(Format::Kernels),
            _ if rom::file_looks_like_rom(path) => Some(Format::Rom),
            Some(b'{') if start.windows(7).any(|w| w == b"\"group\"") => Some(Format::Hwvec),
            _ => None,
        }
    });
    by_content.or_else(|| format_by_name(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_endings() {
        for (file, name) in [
            ("a/00.MOO.gz", "00"),
            ("F6.7.moo", "F6.7"),
            ("x87.jsonl.gz", "x87"),
            ("0F.json", "0F"),
            ("a.b.flat", "a.b"),
        ] {
            assert_eq!(stem(file.as_ref()), name);
        }
        assert_eq!(format_by_name("a/metadata.json".as_ref()), None);
        assert_eq!(format_by_name("a/README.md".as_ref()), None);
    }
}
