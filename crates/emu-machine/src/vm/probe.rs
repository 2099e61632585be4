//! Which product's description a file or folder is, by its content.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::foreign::{Foreign, Product};
use super::hyperv::has_extension;
use super::{VmError, decode, hyperv, libvirt, listing, ova, ovf, qemu, read_file, snapshots, vmcx, vmx, xml};

/// Reads the machine at `path`: a description, or a folder that holds one.
///
/// # Errors
/// Any [`VmError`].
pub fn read_machine(path: &Path) -> Result<Foreign, VmError> {
    if path.is_dir() {
        return read_machine(&find_in_folder(path)?);
    }
    if ova::is_archive(&head(path)?) {
        return read_xml(path, path, &ova::descriptor(path)?);
    }
    let bytes = read_file(path)?;
    let mut machine = read_description(path, &bytes)?;
    if machine.product == Product::VMware {
        snapshots::read_vmsd(&mut machine)?;
    }
    Ok(machine)
}

/// Reads the machine that the bytes of the file at `path` describe: no archive, and nothing of what lies beside it.
///
/// # Errors
/// Any [`VmError`].
pub fn read_description(path: &Path, bytes: &[u8]) -> Result<Foreign, VmError> {
    if vmcx::is_storage(bytes) || has_extension(path, "vmcx") {
        return read_xml(path, path, &vmcx::to_xml(path, bytes)?);
    }
    let text = decode(bytes);
    if text.trim_start().starts_with('<') {
        return read_xml(path, path, &text);
    }
    if listing::is_listing(&text) {
        return listing::read(path, &text);
    }
    if has_extension(path, "vmx") || looks_like_vmx(&text) {
        return vmx::read(path, &text);
    }
    if qemu::is_command(&text) {
        return qemu::read(path, &text);
    }
    Err(VmError::Unknown(path.to_owned()))
}

fn head(path: &Path) -> Result<Vec<u8>, VmError> {
    let mut head = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| VmError::file(path, &e))?;
    file.take(512).read_to_end(&mut head).map_err(|e| VmError::file(path, &e))?;
    Ok(head)
}

/// Every `.vmx` names its format's version.
fn looks_like_vmx(text: &str) -> bool {
    text.lines().take(50).any(|l| l.trim_start().to_lowercase().starts_with("config.version"))
}

fn read_xml(blame: &Path, path: &Path, text: &str) -> Result<Foreign, VmError> {
    let doc = xml::parse(blame, text)?;
    let root = doc.root_element();
    if ovf::is_envelope(root) {
        ovf::read(path, root)
    } else if libvirt::is_domain(root) {
        libvirt::read(path, root)
    } else if hyperv::is_configuration(root) {
        hyperv::read(path, root)
    } else {
        Err(VmError::Unknown(blame.to_owned()))
    }
}

/// The extensions of descriptions, the richest first. A listing of Hyper-V's, whose owner made it for emu, goes before all.
const EXTENSIONS: &[&str] = &["json", "vmx", "ovf", "ova", "vmcx", "xml"];

/// Files of a folder that are looked at.
const MOST_FILES: usize = 10_000;

fn is_listing(path: &Path) -> bool {
    path.to_string_lossy().to_lowercase().ends_with(listing::SUFFIX)
}

/// The one description in a folder; in a Hyper-V export it stands in `Virtual Machines`.
fn find_in_folder(folder: &Path) -> Result<PathBuf, VmError> {
    let (mut found, mut old_export) = (Vec::new(), false);
    for place in [folder.to_owned(), folder.join("Virtual Machines")] {
        let entries = match std::fs::read_dir(&place) {
            Ok(entries) => entries,
            Err(_) if place != folder => continue,
            Err(e) => return Err(VmError::file(&place, &e)),
        };
        let known = |p: &PathBuf| {
            p.is_file()
                && (EXTENSIONS.iter().any(|e| has_extension(p, e)) && (is_listing(p) || !has_extension(p, "json")))
        };
        let files: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).take(MOST_FILES).collect();
        old_export |= files.iter().any(|p| has_extension(p, "exp"));
        found.extend(files.into_iter().filter(known).take(100));
    }
    found.sort();
    // Where a product wrote the same machine twice, the richer description counts.
    for extension in EXTENSIONS {
        let mut of_kind: Vec<_> = found.iter().filter(|p| has_extension(p, extension)).collect();
        match of_kind.len() {
            0 => {}
            1 => return Ok(of_kind.remove(0).clone()),
            n => {
                let first = of_kind[0].file_name().unwrap_or_default().to_string_lossy().into_owned();
                return Err(VmError::invalid(
                    folder,
                    format!("{n} machines are in this folder: name one of them, like {first}"),
                ));
            }
        }
    }
    if old_export {
        let why = "an export of Windows Server 2008, whose .exp is not read: bring the machine's own folder, with its .xml in \
                   Virtual Machines, or an export of a later version";
        return Err(VmError::invalid(folder, why));
    }
    Err(VmError::Unknown(folder.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;
    use crate::vm::Product;

    #[test]
    fn content_decides() {
        let dir = TempDir::new();
        let vmx = dir.file("renamed.txt", b"config.version = \"8\"\nmemsize = \"16\"\n");
        assert_eq!(read_machine(&vmx).unwrap().product, Product::VMware);
        let xml = dir.file("d.conf", b"<?xml version='1.0'?><domain type='kvm'><name>a</name></domain>");
        assert_eq!(read_machine(&xml).unwrap().product, Product::Libvirt);
        let sh = dir.file("run", b"#!/bin/sh\nqemu-system-i386 -m 16 -fda a.img\n");
        assert_eq!(read_machine(&sh).unwrap().product, Product::Qemu);
        let nothing = dir.file("x.txt", b"hello");
        assert!(read_machine(&nothing).unwrap_err().to_string().contains("describes no machine"));
        assert!(read_machine(&dir.path().join("absent")).is_err());
    }

    #[test]
    fn folders_hold_one_machine() {
        let dir = TempDir::new();
        assert!(read_machine(dir.path()).is_err());
        dir.file("a.vmx", b"memsize = \"16\"\n");
        assert_eq!(read_machine(dir.path()).unwrap().name, "a");
        let export = TempDir::new();
        export.file("x.exp", b"<DECLARATIONS/>");
        assert!(read_machine(export.path()).unwrap_err().to_string().contains("an export of Windows Server 2008"));
        dir.file("b.vmx", b"memsize = \"16\"\n");
        assert!(read_machine(dir.path()).unwrap_err().to_string().contains("name one of them, like a.vmx"));
    }

    #[test]
    fn an_ova_is_read_by_its_descriptor() {
        let dir = TempDir::new();
        let ovf = b"<Envelope><VirtualSystem id='v'><VirtualHardwareSection/></VirtualSystem></Envelope>";
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(ovf.len() as u64);
        tar.append_data(&mut header, "v.ovf", &ovf[..]).unwrap();
        let whole = tar.into_inner().unwrap();
        assert_eq!(read_machine(&dir.file("v.ova", &whole)).unwrap().name, "v");
        assert!(read_machine(&dir.file("cut.ova", &whole[..530])).is_err());
    }
}
