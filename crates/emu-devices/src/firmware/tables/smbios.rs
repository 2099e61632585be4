//! SMBIOS 2.8: what the machine calls itself [SMBIOS 2.8 ch. 5 to 7].

use super::acpi::close_sum;

/// One structure: its formatted part (without type, length and handle), and its strings.
fn structure(kind: u8, handle: u16, body: &[u8], strings: &[&str]) -> Vec<u8> {
    let mut s = vec![kind, 4 + body.len() as u8];
    s.extend_from_slice(&handle.to_le_bytes());
    s.extend_from_slice(body);
    for string in strings {
        s.extend_from_slice(string.as_bytes());
        s.push(0);
    }
    if strings.is_empty() {
        s.push(0);
    }
    s.push(0);
    s
}

/// The structure table for a machine with this much RAM, and the number of structures.
fn structures(memory: u64, signature: u32) -> (Vec<u8>, u16) {
    let mib = (memory >> 20).min(0x7FFE) as u16;
    let kib = (memory >> 10).min(0x7FFF_FFFF) as u32;
    let mut system = vec![1, 2, 0, 0];
    system.extend_from_slice(&[0; 16]);
    system.extend_from_slice(&[6, 0, 0]); // woken by the power switch
    let mut cpu = vec![1, 3, 1, 2];
    cpu.extend_from_slice(&signature.to_le_bytes());
    cpu.extend_from_slice(&[0; 4]);
    cpu.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0x41, 1]); // enabled; no upgrade
    cpu.extend_from_slice(&[0xFF; 6]); // no caches told
    cpu.extend_from_slice(&[0, 0, 0, 1, 1, 1, 0, 0, 2, 0]);
    let mut array = vec![3, 3, 3]; // system board, system memory, no ECC
    array.extend_from_slice(&kib.to_le_bytes());
    array.extend_from_slice(&[0xFE, 0xFF, 1, 0]);
    let mut module = vec![0x00, 0x10, 0xFE, 0xFF, 64, 0, 64, 0];
    module.extend_from_slice(&mib.to_le_bytes());
    module.extend_from_slice(&[9, 0, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0]); // DIMM, RAM
    let mut range = 0u32.to_le_bytes().to_vec();
    range.extend_from_slice(&kib.saturating_sub(1).to_le_bytes());
    range.extend_from_slice(&[0x00, 0x10, 1]);
    let parts = [
        // ROM from F000h, 64 KiB; PCI, can boot from CD; ACPI.
        structure(
            0,
            0x0000,
            &[1, 2, 0, 0xF0, 3, 0, 0x80, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0xFF, 0xFF, 0xFF, 0xFF],
            &["emu", env!("CARGO_PKG_VERSION"), "01/01/2026"],
        ),
        structure(1, 0x0100, &system, &["emu", "PC (i440FX + PIIX3)"]),
        structure(3, 0x0300, &[1, 1, 0, 0, 0, 3, 3, 3, 2], &["emu"]),
        structure(4, 0x0400, &cpu, &["CPU 0", "emu"]),
        structure(16, 0x1000, &array, &[]),
        structure(17, 0x1100, &module, &["DIMM 0"]),
        structure(19, 0x1300, &range, &[]),
        structure(32, 0x2000, &[0; 7], &[]),
        structure(127, 0x7F00, &[], &[]),
    ];
    (parts.concat(), parts.len() as u16)
}

/// The structure table at `address`, and the entry point, 31 bytes.
pub(super) fn tables(memory: u64, signature: u32, address: u32) -> (Vec<u8>, [u8; 31]) {
    let (table, count) = structures(memory, signature);
    let mut e = [0u8; 31];
    e[..4].copy_from_slice(b"_SM_");
    e[5..8].copy_from_slice(&[31, 2, 8]);
    e[8..10].copy_from_slice(&96u16.to_le_bytes());
    e[16..21].copy_from_slice(b"_DMI_");
    e[22..24].copy_from_slice(&(table.len() as u16).to_le_bytes());
    e[24..28].copy_from_slice(&address.to_le_bytes());
    e[28..30].copy_from_slice(&count.to_le_bytes());
    e[30] = 0x28;
    close_sum(&mut e[16..], 5);
    close_sum(&mut e, 4);
    (table, e)
}
