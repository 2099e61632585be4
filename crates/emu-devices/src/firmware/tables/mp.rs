//! The MultiProcessor tables [MP 1.4], for kernels that don't read ACPI's.

use super::super::pci::{interrupt_of, pirq_of};
use super::acpi::close_sum;
use crate::apic::{IO_BASE, LOCAL_BASE};

const PCI_BUS: u8 = 0;
const ISA_BUS: u8 = 1;

/// The floating pointer, 16 bytes.
pub(super) fn pointer(table: u32) -> [u8; 16] {
    let mut p = [0; 16];
    p[..4].copy_from_slice(b"_MP_");
    p[4..8].copy_from_slice(&table.to_le_bytes());
    p[8..10].copy_from_slice(&[1, 4]);
    close_sum(&mut p, 10);
    p
}

/// The configuration table; `slots` are the PCI devices with an interrupt pin: device, pin (0 = INTA).
pub(super) fn table(cpus: u8, signature: u32, slots: &[(u8, u8)]) -> Vec<u8> {
    let mut entries: Vec<Vec<u8>> = Vec::new();
    for id in 0..cpus {
        let mut e = vec![0, id, 0x14, if id == 0 { 3 } else { 1 }];
        e.extend_from_slice(&signature.to_le_bytes());
        e.extend_from_slice(&[0x01, 0x02, 0, 0]); // FPU, APIC
        e.extend_from_slice(&[0; 8]);
        entries.push(e);
    }
    for (id, kind) in [(PCI_BUS, b"PCI   "), (ISA_BUS, b"ISA   ")] {
        entries.push([&[1, id], &kind[..]].concat());
    }
    let io = cpus;
    entries.push([&[2, io, 0x11, 1], &(IO_BASE as u32).to_le_bytes()[..]].concat());
    for irq in (0..16).filter(|&irq| irq != 2) {
        let level = matches!(irq, 9..=11);
        // High active where it is level, else as the bus does.
        entries.push(vec![3, 0, if level { 0x0D } else { 0 }, 0, ISA_BUS, irq, io, if irq == 0 { 2 } else { irq }]);
    }
    for &(device, pin) in slots {
        let input = interrupt_of(pirq_of(device, pin));
        entries.push(vec![3, 0, 0x0D, 0, PCI_BUS, device << 2 | pin, io, input]);
    }
    entries.push(vec![4, 3, 0, 0, ISA_BUS, 0, 0, 0]); // ExtINT at LINT0
    entries.push(vec![4, 1, 0, 0, ISA_BUS, 0, 0xFF, 1]); // NMI at LINT1
    let body = entries.concat();
    let mut t = b"PCMP".to_vec();
    t.extend_from_slice(&(44 + body.len() as u16).to_le_bytes());
    t.extend_from_slice(&[4, 0]);
    t.extend_from_slice(b"EMU     EMUPC       ");
    t.extend_from_slice(&[0; 6]);
    t.extend_from_slice(&(entries.len() as u16).to_le_bytes());
    t.extend_from_slice(&(LOCAL_BASE as u32).to_le_bytes());
    t.extend_from_slice(&[0; 4]);
    t.extend_from_slice(&body);
    close_sum(&mut t, 7);
    t
}
