//! OVA: an OVF descriptor and its files in one tar archive [OVF 1.1 5.3], with their hashes in a manifest.
//!
//! The archive is not compressed, so that nothing in it can be larger than itself; sparse entries, which could, are
//! refused. Names with folders are refused too: an OVA has none.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tar::{Archive, Entry, EntryType};

use super::hyperv::has_extension;
use super::{LIMIT, VmError, decode};

/// Files that an archive may have.
const MOST: usize = 1024;

/// The longest description of a file in the archive: its long name, or its attributes [POSIX pax]. They come into memory.
const LONGEST: u64 = 64 << 10;

/// Whether the file at `path` begins like a tar archive.
pub(super) fn is_archive(head: &[u8]) -> bool {
    head.get(257..262) == Some(b"ustar")
}

/// Calls `each` for every file of the archive, by its name.
fn walk(path: &Path, mut each: impl FnMut(&str, Entry<'_, File>) -> Result<bool, VmError>) -> Result<(), VmError> {
    let open = || File::open(path).map_err(|e| VmError::file(path, &e));
    let damaged = |e: std::io::Error| VmError::invalid(path, format!("not a whole tar archive: {e}"));
    let mut archive = Archive::new(open()?);
    for (n, entry) in archive.entries_with_seek().map_err(damaged)?.raw(true).enumerate() {
        let entry = entry.map_err(damaged)?;
        let header = entry.header();
        let is_file = matches!(header.entry_type(), EntryType::Regular | EntryType::Continuous);
        if !is_file && header.entry_size().map_err(damaged)? > LONGEST {
            let why = format!("entry {} of the archive is no file, and has {} bytes", n + 1, entry.size());
            return Err(VmError::invalid(path, why));
        }
        if n > 3 * MOST {
            break; // the walk below refuses it
        }
    }
    let mut archive = Archive::new(open()?);
    let mut seen = BTreeSet::new();
    for entry in archive.entries().map_err(damaged)? {
        if seen.len() == MOST {
            return Err(VmError::invalid(
                path,
                format!("more than {MOST} files in the archive: no product writes that"),
            ));
        }
        let entry = entry.map_err(damaged)?;
        let name = entry.path().map_err(damaged)?.to_string_lossy().into_owned();
        if !matches!(entry.header().entry_type(), EntryType::Regular | EntryType::Continuous) {
            return Err(VmError::invalid(
                path,
                format!("{name} in the archive is no plain file: an OVA has no others"),
            ));
        }
        if name.contains(['/', '\\']) || name.starts_with('.') || name.is_empty() {
            return Err(VmError::invalid(path, format!("the name {name} in the archive has folders: an OVA has none")));
        }
        if !seen.insert(name.clone()) {
            return Err(VmError::invalid(path, format!("{name} stands in the archive a second time")));
        }
        if !each(&name, entry)? {
            break;
        }
    }
    Ok(())
}

/// The text of the descriptor: the first `.ovf`.
pub(super) fn descriptor(path: &Path) -> Result<String, VmError> {
    let mut found = None;
    walk(path, |name, entry| {
        if has_extension(Path::new(name), "ovf") {
            found = Some(text_of(path, entry)?);
        }
        Ok(found.is_none())
    })?;
    found.ok_or_else(|| VmError::invalid(path, "the archive has no .ovf: it is no OVA"))
}

fn text_of(path: &Path, entry: Entry<'_, File>) -> Result<String, VmError> {
    let mut bytes = Vec::new();
    entry.take(LIMIT).read_to_end(&mut bytes).map_err(|e| VmError::file(path, &e))?;
    Ok(decode(&bytes))
}

/// Copies the files called `names` into `folder`, and compares them with the manifest, if there is one.
pub(super) fn unpack(
    path: &Path,
    names: &[String],
    folder: &Path,
    each: &mut dyn FnMut(u64, u64),
) -> Result<BTreeMap<String, PathBuf>, VmError> {
    let mut unpacked = BTreeMap::new();
    let mut hashes = BTreeMap::new();
    let mut manifest = String::new();
    walk(path, |name, entry| {
        if has_extension(Path::new(name), "mf") {
            manifest = text_of(path, entry)?;
        } else if names.iter().any(|n| n == name) {
            let target = folder.join(name);
            hashes.insert(name.to_owned(), copy(path, entry, &target, each)?);
            unpacked.insert(name.to_owned(), target);
        }
        Ok(true)
    })?;
    for (name, hash) in &hashes {
        match promised(&manifest, name) {
            Some(wanted) if !wanted.eq_ignore_ascii_case(hash) => {
                let why =
                    format!("{name} in the archive is not what the manifest promises (SHA-256 {hash}): get it anew");
                return Err(VmError::invalid(path, why));
            }
            _ => {}
        }
    }
    Ok(unpacked)
}

fn copy(
    path: &Path,
    mut entry: Entry<'_, File>,
    target: &Path,
    each: &mut dyn FnMut(u64, u64),
) -> Result<String, VmError> {
    let all = entry.size();
    let mut file = File::options().write(true).create_new(true).open(target).map_err(|e| VmError::file(target, &e))?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    let mut done = 0;
    loop {
        let n = entry.read(&mut piece).map_err(|e| VmError::file(path, &e))?;
        if n == 0 {
            break;
        }
        hash.update(&piece[..n]);
        file.write_all(&piece[..n]).map_err(|e| VmError::file(target, &e))?;
        done += n as u64;
        each(done, all);
    }
    if done < all {
        return Err(VmError::invalid(
            path,
            format!("the archive ends {} bytes before its file does: it is cut short", all - done),
        ));
    }
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

/// The hash that the manifest gives for `name`: `SHA256(name)= 0123…`.
fn promised<'m>(manifest: &'m str, name: &str) -> Option<&'m str> {
    let of = |line: &'m str| {
        let (file, hash) = line.trim().strip_prefix("SHA256(")?.split_once(')')?;
        (file == name).then(|| hash.trim_start_matches(['=', ' ']).trim())
    };
    manifest.lines().find_map(of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, bytes) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, name, *bytes).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn try_unpack(files: &[(&str, &[u8])], cut: usize) -> Result<Vec<u8>, String> {
        let dir = TempDir::new();
        let whole = archive(files);
        let ova = dir.file("a.ova", &whole[..whole.len() - cut]);
        let made = unpack(&ova, &["d.vmdk".into()], dir.path(), &mut |_, _| {}).map_err(|e| e.to_string())?;
        Ok(std::fs::read(&made["d.vmdk"]).unwrap())
    }

    #[test]
    fn files_are_unpacked_and_compared() {
        let good: &[u8] = b"SHA256(d.vmdk)= 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\n";
        assert_eq!(try_unpack(&[("a.ovf", b""), ("a.mf", good), ("d.vmdk", b"hello")], 0).unwrap(), b"hello");
        let wrong = try_unpack(&[("a.ovf", b""), ("a.mf", good), ("d.vmdk", b"hallo")], 0).unwrap_err();
        assert!(wrong.contains("not what the manifest promises"), "{wrong}");
        let long = vec![7; 9000];
        assert!(try_unpack(&[("d.vmdk", &long)], 6000).unwrap_err().contains("cut short"));
    }

    #[test]
    fn names_with_folders_are_refused() {
        assert!(try_unpack(&[("x/d.vmdk", b"")], 0).unwrap_err().contains("has folders"));
        assert!(try_unpack(&[("..x", b"")], 0).unwrap_err().contains("has folders"));
    }
}
