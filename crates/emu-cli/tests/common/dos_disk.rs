//! A hard disk that boots FreeDOS.

#![allow(dead_code, reason = "each user needs a part of this")]

use std::path::PathBuf;

/// Loads the first sector of the first partition and starts it, from 0600h: cli; xor ax,ax; mov ss,ax; mov sp,7C00h; mov
/// ds,ax; mov es,ax; sti; cld; mov si,7C00h; mov di,0600h; mov cx,100h; rep movsw; jmp 0:061Eh; mov si,07BEh; mov dx,[si];
/// mov cx,[si+2]; mov bx,7C00h; mov ax,0201h; int 13h; jc $; jmp 0:7C00h.
const LOADER: [u8; 51] = [
    0xFA, 0x31, 0xC0, 0x8E, 0xD0, 0xBC, 0x00, 0x7C, 0x8E, 0xD8, 0x8E, 0xC0, 0xFB, 0xFC, 0xBE, 0x00, 0x7C, 0xBF, 0x00,
    0x06, 0xB9, 0x00, 0x01, 0xF3, 0xA5, 0xEA, 0x1E, 0x06, 0x00, 0x00, 0xBE, 0xBE, 0x07, 0x8B, 0x14, 0x8B, 0x4C, 0x02,
    0xBB, 0x00, 0x7C, 0xB8, 0x01, 0x02, 0xCD, 0x13, 0x72, 0xFE, 0xEA, 0x00, 0x7C,
];
const HEADS: u16 = 16;
const TRACK: u16 = 63;

/// FreeDOS's diskette as the first partition of a disk of 4 MiB, which boots it.
pub(crate) fn freedos() -> Option<Vec<u8>> {
    let folder = std::env::var_os("EMU_SHARED").map_or_else(|| "../shared".into(), PathBuf::from);
    let path = folder.join("guests/freedos/fd1.4MB.img");
    let Ok(mut part) = std::fs::read(&path) else {
        println!("skipped: {} is absent (set EMU_SHARED)", path.display());
        return None;
    };
    if cfg!(debug_assertions) {
        println!("skipped: this is a debug build");
        return None;
    }
    // The boot sector's parameters: where the partition is, and what the BIOS says of the disk.
    part[0x18..0x1A].copy_from_slice(&TRACK.to_le_bytes());
    part[0x1A..0x1C].copy_from_slice(&HEADS.to_le_bytes());
    part[0x1C..0x20].copy_from_slice(&u32::from(TRACK).to_le_bytes());
    part[0x24] = 0x80;
    let shell = b"SHELL=A:\\COMMAND.COM";
    let at = part.windows(shell.len()).position(|w| w == shell).expect("its CONFIG.SYS names the shell");
    part[at + 6] = b'C';
    let mut disk = vec![0; 4 << 20];
    disk[..LOADER.len()].copy_from_slice(&LOADER);
    let entry: [u8; 16] = [0x80, 1, 1, 0, 1, 14, 45, 2, TRACK as u8, 0, 0, 0, 0x40, 0x0B, 0, 0];
    disk[446..462].copy_from_slice(&entry);
    disk[510..512].copy_from_slice(&[0x55, 0xAA]);
    let start = usize::from(TRACK) * 512;
    disk[start..start + part.len()].copy_from_slice(&part);
    Some(disk)
}

/// [`freedos`]'s disk with other contents in a file of its root directory, which is as long as it was. `name` is of eleven
/// characters, as FAT has it.
pub(crate) fn with_file(mut disk: Vec<u8>, name: &str, text: &str) -> Vec<u8> {
    let part = usize::from(TRACK) * 512;
    let word = |disk: &[u8], at: usize| usize::from(u16::from_le_bytes([disk[part + at], disk[part + at + 1]]));
    let (cluster, fats, entries) = (usize::from(disk[part + 13]) * 512, usize::from(disk[part + 16]), word(&disk, 17));
    let root = part + (word(&disk, 14) + fats * word(&disk, 22)) * 512;
    let found = disk[root..root + entries * 32].chunks(32).position(|e| e.starts_with(name.as_bytes()));
    let entry = root + 32 * found.expect("the file is there");
    let first = usize::from(u16::from_le_bytes([disk[entry + 26], disk[entry + 27]]));
    let len = u32::from_le_bytes(*disk[entry + 28..].first_chunk().expect("an entry")) as usize;
    assert!(text.len() <= len && len <= cluster, "{name} has {len} bytes");
    let at = root + entries * 32 + (first - 2) * cluster;
    disk[at..at + len].fill(b' ');
    disk[at..at + text.len()].copy_from_slice(text.as_bytes());
    disk
}
