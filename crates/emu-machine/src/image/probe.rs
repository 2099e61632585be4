//! What a file is, by its content and size alone: names lie.

use super::floppy_of_size;
use super::format::Kind;

/// What a file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Sectors of a diskette.
    Floppy,
    /// Sectors of a hard disk, with a boot signature.
    Disk,
    /// An ISO 9660 (or El Torito) CD; the bytes that its volume descriptor promises.
    Cd {
        /// Bytes of the volume.
        promised: u64,
    },
    /// A kernel with a Linux boot header.
    Linux,
    /// A multiboot kernel.
    Multiboot,
    /// An ELF executable.
    Elf,
    /// A format that we know by name only.
    Unsupported {
        /// Its name.
        format: &'static str,
        /// What its owner can do.
        hint: &'static str,
    },
    /// Nothing that we know; as raw sectors it can still be attached.
    Unknown,
}

/// Bytes from the file's start that [`probe`] looks at.
pub(super) const HEAD: usize = 0x9000;

const CONVERT: &str = "convert it with: qemu-img convert -O raw IN OUT";

/// File magics at offset 0 of what we recognise only to say what to do about it.
const MAGICS: &[(&[u8], &str, &str)] = &[
    (b"QED\0", "QED", CONVERT),
    (b"WithoutFreeSpace", "Parallels", CONVERT),
    (b"WithouFreSpacExt", "Parallels", CONVERT),
    (b"\x1F\x8B", "gzip", "unpack it with gunzip"),
    (b"\xFD7zXZ\0", "xz", "unpack it with unxz"),
    (b"BZh", "bzip2", "unpack it with bunzip2"),
    (b"\x28\xB5\x2F\xFD", "zstd", "unpack it with unzstd"),
    (b"PK\x03\x04", "zip", "unpack it with unzip"),
    (b"7z\xBC\xAF\x27\x1C", "7z", "unpack it with 7z x"),
];

/// File magics at offset 0 of the containers.
const CONTAINERS: &[(&[u8], Kind)] = &[
    (b"QFI\xFB", Kind::Qcow2),
    (b"KDMV", Kind::Vmdk),
    (b"COWD", Kind::Vmdk),
    (b"# Disk DescriptorFile", Kind::Vmdk),
    (b"vhdxfile", Kind::Vhdx),
    (b"conectix", Kind::Vhd),
    (b"IMD ", Kind::Imd),
    (b"\0\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\0", Kind::Cue),
];

/// The format that wraps the disk's sectors; `None` if nothing does. `head` is the file's beginning (512 bytes, fewer if
/// it is shorter), `tail` its last 512 bytes.
#[must_use]
pub(super) fn container(head: &[u8], tail: &[u8]) -> Option<Kind> {
    if let Some((_, kind)) = CONTAINERS.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Some(*kind);
    }
    if head.get(0x40..0x44) == Some(&0xBEDA_107F_u32.to_le_bytes()) {
        return Some(Kind::Vdi);
    }
    if tail.starts_with(b"conectix") {
        return Some(Kind::Vhd);
    }
    is_cue_sheet(head).then_some(Kind::Cue)
}

/// Whether this is the text of a cue sheet: its first command names a file or says something about the disc.
fn is_cue_sheet(head: &[u8]) -> bool {
    let text = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head);
    let Some(line) = text.split(|b| *b == b'\n' || *b == b'\r').find(|l| !l.trim_ascii().is_empty()) else {
        return false;
    };
    let word: Vec<u8> = line.trim_ascii().iter().take_while(|b| !b.is_ascii_whitespace()).copied().collect();
    let commands: [&[u8]; 6] = [b"FILE", b"REM", b"CATALOG", b"TITLE", b"PERFORMER", b"CDTEXTFILE"];
    let printable = head.iter().all(|b| *b >= b' ' || matches!(b, b'\n' | b'\r' | b'\t'));
    commands.contains(&&word.to_ascii_uppercase()[..]) && word.len() < line.trim_ascii().len() && printable
}

/// Says what a file is. `head` is the disk's beginning (36 KiB, fewer if it is shorter), `size`
/// all its bytes. What a format wraps is judged by what is inside.
#[must_use]
pub fn probe(head: &[u8], size: u64) -> Content {
    if let Some(promised) = iso_bytes(head) {
        return Content::Cd { promised }; // before the boot sector: hybrid images have both
    }
    if let Some((_, format, hint)) = MAGICS.iter().find(|(magic, ..)| head.starts_with(magic)) {
        return Content::Unsupported { format, hint };
    }
    if head.get(0x202..0x206) == Some(b"HdrS") && floppy_of_size(size).is_none() {
        return Content::Linux;
    }
    if crate::boot::multiboot::find_header(head).is_some() {
        return Content::Multiboot;
    }
    if head.starts_with(b"\x7FELF") {
        return Content::Elf;
    }
    if floppy_of_size(size).is_some() {
        return Content::Floppy;
    }
    if head.get(510..512) == Some(&[0x55, 0xAA]) { Content::Disk } else { Content::Unknown }
}

/// Bytes of the volume, if `head` has an ISO 9660 volume descriptor [ECMA-119 8.4.8, 8.4.12].
fn iso_bytes(head: &[u8]) -> Option<u64> {
    let descriptor = head.get(0x8000..0x8800)?;
    if &descriptor[1..6] != b"CD001" {
        return None;
    }
    if descriptor[0] != 1 {
        return Some(0); // no primary descriptor first: nothing is promised
    }
    let blocks = u32::from_le_bytes(descriptor[80..84].try_into().ok()?);
    let block = u16::from_le_bytes(descriptor[128..130].try_into().ok()?);
    Some(u64::from(blocks) * u64::from(block))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot_sector() -> Vec<u8> {
        let mut head = vec![0; 512];
        head[510..].copy_from_slice(&[0x55, 0xAA]);
        head
    }

    #[test]
    fn foreign_formats_are_named() {
        for (magic, name) in [(&b"QED\0"[..], "QED"), (b"WithoutFreeSpace", "Parallels"), (b"\x1F\x8B\x08", "gzip")] {
            let Content::Unsupported { format, .. } = probe(magic, 100_000) else { panic!("{name}") };
            assert_eq!(format, name);
        }
    }

    #[test]
    fn containers_are_known_by_content() {
        assert_eq!(container(b"QFI\xFB\0\0\0\x03", &[]), Some(Kind::Qcow2));
        assert_eq!(container(b"vhdxfile", &[]), Some(Kind::Vhdx));
        let mut vdi = vec![0; 0x200];
        vdi[0x40..0x44].copy_from_slice(&[0x7F, 0x10, 0xDA, 0xBE]);
        assert_eq!(container(&vdi, &[]), Some(Kind::Vdi));
        let mut footer = vec![0; 512];
        footer[..8].copy_from_slice(b"conectix");
        assert_eq!(container(&boot_sector(), &footer), Some(Kind::Vhd));
        assert_eq!(container(b"REM GENRE x\r\nFILE \"a.bin\" BINARY\r\n", &[]), Some(Kind::Cue));
        assert_eq!(container(b"FILENAME x", &[]), None);
        assert_eq!(container(&boot_sector(), &boot_sector()), None);
    }

    #[test]
    fn sizes_tell_floppies_from_disks() {
        assert_eq!(probe(&boot_sector(), 1_474_560), Content::Floppy);
        assert_eq!(probe(&[0; 512], 163_840), Content::Floppy); // early diskettes have no signature
        assert_eq!(probe(&boot_sector(), 10 << 20), Content::Disk);
        assert_eq!(probe(&[0; 512], 10 << 20), Content::Unknown);
        assert_eq!(probe(b"hello", 5), Content::Unknown);
    }

    #[test]
    fn a_hybrid_iso_is_a_cd() {
        let mut head = boot_sector();
        head.resize(HEAD, 0);
        head[0x8000..0x8006].copy_from_slice(b"\x01CD001");
        head[0x8050..0x8054].copy_from_slice(&100u32.to_le_bytes());
        head[0x8080..0x8082].copy_from_slice(&2048u16.to_le_bytes());
        assert_eq!(probe(&head, 204_800), Content::Cd { promised: 204_800 });
    }
}
