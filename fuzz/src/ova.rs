//! OVA archives: an OVF descriptor and its disks in a tar archive.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use emu_machine::image::Parents;
use emu_machine::vm::{Disks, check_places, make_folder, plan, read_machine};

use crate::Random;

const BLOCK: usize = 512;

/// An archive, imported: an error that leaves nothing, or a machine folder that has all it was made of. Beside both, nothing
/// is written.
///
/// # Panics
/// If something else came to be.
pub fn vm_ova(data: &[u8]) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!("emu-fuzz-ova-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let home = std::env::temp_dir().join(name);
    let _ = std::fs::remove_dir_all(&home);
    std::fs::create_dir_all(&home).expect("a temporary folder");
    std::fs::write(home.join("m.ova"), data).expect("a temporary file");
    let made = import(&home);
    let names = names(&home);
    let bytes = std::fs::read(home.join("m.ova")).expect("the archive");
    std::fs::remove_dir_all(&home).expect("the temporary folder");
    assert!(bytes == data, "the archive was written");
    let wanted: &[&str] = if made { &["m.ova", "made"] } else { &["m.ova"] };
    assert_eq!(names, wanted);
}

/// Whether a machine came out.
fn import(home: &Path) -> bool {
    let Ok(machine) = read_machine(&home.join("m.ova")) else { return false };
    if check_places(&machine).is_err() {
        return false;
    }
    make_folder(&plan(machine), &home.join("made"), Disks::InPlace, Parents::Folder, &mut |_, _| {}).is_ok()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> = entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// [`vm_ova`] without a fuzzer: see [`crate::changing`].
///
/// # Errors
/// The host's, of files.
///
/// # Panics
/// As the code under test does; the input is left in `crash-N`.
pub fn vm_ova_without_fuzzer() -> std::io::Result<()> {
    crate::changing("vm_ova", seeds, change, vm_ova)
}

/// Bytes anywhere, then checksums of headers as they should be, so that what is behind them is reached.
fn change(data: &mut Vec<u8>, random: &mut Random) {
    if random.next() % 4 == 0 {
        // A kind of entry, or a size, by hand: both are what the walk goes by.
        let at = random.next() as usize % (data.len() / BLOCK).max(1) * BLOCK;
        let (from, new): (usize, &[u8]) = match random.next() % 6 {
            0 => (156, b"L"),
            1 => (156, b"x"),
            2 => (156, b"S"),
            3 => (124, b"77777777777"),
            4 => (124, b"\x80\0\0\0\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF"),
            _ => (0, b"../../x\0"),
        };
        if let Some(field) = data.get_mut(at + from..at + from + new.len()) {
            field.copy_from_slice(new);
        }
    } else if !data.is_empty() {
        crate::disk::damage(data, random);
    }
    if random.next() % 8 != 0 {
        data.chunks_exact_mut(BLOCK).filter(|h| &h[257..262] == b"ustar").for_each(mend);
    }
}

/// The checksum of a header: its bytes with spaces in the checksum's place.
fn mend(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

fn entry(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0; BLOCK];
    out[..name.len()].copy_from_slice(name.as_bytes());
    out[100..108].copy_from_slice(b"0000644\0");
    out[124..136].copy_from_slice(format!("{:011o}\0", bytes.len()).as_bytes());
    out[156] = b'0';
    out[257..265].copy_from_slice(b"ustar\x0000");
    mend(&mut out);
    out.extend_from_slice(bytes);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
    out
}

/// Archives with the products' descriptors, with a disk and with a manifest.
fn seeds() -> std::io::Result<Vec<Vec<u8>>> {
    let disk = crate::disk::seeds(emu_machine::image::Kind::Vmdk)?.swap_remove(2);
    let ovftool = include_bytes!("../../crates/emu-cli/tests/products/ovftool.ovf");
    let virtualbox = include_bytes!("../../crates/emu-cli/tests/products/virtualbox.ovf");
    let files: [&[(&str, &[u8])]; 3] = [
        &[("FreeDOS.ovf", ovftool), ("FreeDOS-disk1.vmdk", &disk), ("FreeDOS-file1.flp", &[0; 1024])],
        &[("FreeDOS.ovf", virtualbox), ("FreeDOS.mf", b"SHA256(x)= 0\n"), ("FreeDOS-disk001.vmdk", &disk)],
        &[("a.ovf", b"<Envelope><VirtualSystem id='v'><VirtualHardwareSection/></VirtualSystem></Envelope>")],
    ];
    let archive = |files: &&[(&str, &[u8])]| {
        let mut tar: Vec<u8> = files.iter().flat_map(|(name, bytes)| entry(name, bytes)).collect();
        tar.extend_from_slice(&[0; 2 * BLOCK]);
        tar
    };
    Ok(files.iter().map(archive).collect())
}
