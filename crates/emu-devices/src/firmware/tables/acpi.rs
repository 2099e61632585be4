//! ACPI tables: RSDP, RSDT, FADT, FACS, DSDT, MADT [ACPI 3.0 ch. 5]; DMAR, where there is an IOMMU [VT-d 8].

use super::dsdt;
use crate::apic::{IO_BASE, LOCAL_BASE};
use crate::piix4_pm::{ACPI_DISABLE, ACPI_ENABLE, GPE0_OFFSET};
use crate::vtd;

/// Interrupt of the power management.
const SCI: u16 = 9;
/// MADT flags: high active, level.
const LEVEL_HIGH: u16 = 0x000D;

/// Makes all bytes of `table` add up to 0 by setting the one at `at`.
pub(super) fn close_sum(table: &mut [u8], at: usize) {
    table[at] = 0;
    table[at] = table.iter().fold(0u8, |s, b| s.wrapping_sub(*b));
}

/// A table: header [ACPI 5.2.6] and body.
fn table(signature: &[u8; 4], revision: u8, body: &[u8]) -> Vec<u8> {
    let mut t = Vec::with_capacity(36 + body.len());
    t.extend_from_slice(signature);
    t.extend_from_slice(&(36 + body.len() as u32).to_le_bytes());
    t.extend_from_slice(&[revision, 0]);
    t.extend_from_slice(b"EMU   EMUPC   ");
    t.extend_from_slice(&1u32.to_le_bytes());
    t.extend_from_slice(b"EMU \x01\0\0\0");
    t.extend_from_slice(body);
    close_sum(&mut t, 9);
    t
}

/// The firmware's shared memory, 64 bytes.
pub(super) fn facs() -> [u8; 64] {
    let mut f = [0; 64];
    f[..4].copy_from_slice(b"FACS");
    f[4] = 64;
    f
}

/// The root pointer, 20 bytes.
pub(super) fn rsdp(rsdt: u32) -> [u8; 20] {
    let mut r = [0; 20];
    r[..8].copy_from_slice(b"RSD PTR ");
    r[9..15].copy_from_slice(b"EMU   ");
    r[16..].copy_from_slice(&rsdt.to_le_bytes());
    close_sum(&mut r, 8);
    r
}

/// A generic address: a port of `bits` width [ACPI 5.2.3.1].
fn port(bits: u8, port: u16) -> [u8; 12] {
    let mut a = [0; 12];
    a[..2].copy_from_slice(&[1, bits]);
    a[4..6].copy_from_slice(&port.to_le_bytes());
    a
}

/// The fixed description, revision 3.
fn fadt(facs: u32, dsdt: u32, pm: u16) -> Vec<u8> {
    let mut b = [0u8; 244];
    let mut put = |at: usize, bytes: &[u8]| b[at..at + bytes.len()].copy_from_slice(bytes);
    let block = |offset: u16| u32::from(pm + offset).to_le_bytes();
    put(36, &facs.to_le_bytes());
    put(40, &dsdt.to_le_bytes());
    put(46, &SCI.to_le_bytes());
    put(48, &0xB2u32.to_le_bytes());
    put(52, &[ACPI_ENABLE, ACPI_DISABLE]);
    put(56, &block(0)); // PM1a event
    put(64, &block(4)); // PM1a control
    put(76, &block(8)); // timer
    put(80, &block(GPE0_OFFSET));
    put(88, &[4, 2, 0, 4, 4]); // their lengths
    put(96, &0xFFFu16.to_le_bytes()); // no C2
    put(98, &0xFFFu16.to_le_bytes()); // no C3
    put(108, &[0x32]); // century
    put(109, &0x0003u16.to_le_bytes()); // legacy devices, 8042
    // WBINVD works, C1 works, no sleep button, the reset register works.
    put(112, &(1u32 | 1 << 2 | 1 << 5 | 1 << 10).to_le_bytes());
    put(116, &port(8, 0xCF9));
    put(128, &[0x06]);
    put(132, &u64::from(facs).to_le_bytes());
    put(140, &u64::from(dsdt).to_le_bytes());
    put(148, &port(32, pm));
    put(172, &port(16, pm + 4));
    put(208, &port(32, pm + 8));
    put(220, &port(32, pm + GPE0_OFFSET));
    table(b"FACP", 3, &b[36..])
}

/// Interrupt controllers.
fn madt(cpus: u8) -> Vec<u8> {
    let mut b = Vec::new();
    b.extend_from_slice(&(LOCAL_BASE as u32).to_le_bytes());
    b.extend_from_slice(&1u32.to_le_bytes()); // there are 8259As too
    for id in 0..cpus {
        b.extend_from_slice(&[0, 8, id, id, 1, 0, 0, 0]);
    }
    b.extend_from_slice(&[1, 12, cpus, 0]);
    b.extend_from_slice(&(IO_BASE as u32).to_le_bytes());
    b.extend_from_slice(&0u32.to_le_bytes());
    for (source, input, flags) in [(0u8, 2u32, 0u16), (9, 9, LEVEL_HIGH), (10, 10, LEVEL_HIGH), (11, 11, LEVEL_HIGH)] {
        b.extend_from_slice(&[2, 10, 0, source]);
        b.extend_from_slice(&input.to_le_bytes());
        b.extend_from_slice(&flags.to_le_bytes());
    }
    b.extend_from_slice(&[4, 6, 0xFF, 0, 0, 1]); // NMI at LINT1 of all
    table(b"APIC", 1, &b)
}

/// The IOMMU: one unit for all functions of PCI, and for the I/O APIC. That one needs a source-id, though none is checked.
fn dmar(io_apic: u8) -> Vec<u8> {
    let mut b = vec![39 - 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]; // 39 bits of address; interrupts can be remapped
    b.extend_from_slice(&[0, 0, 16 + 8, 0, 1, 0, 0, 0]); // a unit for all of segment 0
    b.extend_from_slice(&vtd::BASE.to_le_bytes());
    b.extend_from_slice(&[3, 8, 0, 0, io_apic, 0xF0, 0x1F, 7]);
    table(b"DMAR", 1, &b)
}

/// What the tables say of the machine.
pub(super) struct Machine {
    /// End of RAM below 4 GiB.
    pub(super) low: u32,
    /// Processors with a local APIC; 0 without any.
    pub(super) apics: u8,
    /// Ports of the power management.
    pub(super) pm: u16,
    /// There is an IOMMU.
    pub(super) iommu: bool,
}

/// Lays out all tables from address `base` on, with the FACS at `facs`; gives their bytes and the RSDT's address.
pub(super) fn lay_out(machine: &Machine, base: u32, facs: u32) -> (Vec<u8>, u32) {
    let mut bytes = table(b"DSDT", 1, &dsdt::body(machine.low, machine.apics.max(1)));
    let mut pointers = Vec::new();
    let append = |bytes: &mut Vec<u8>, t: Vec<u8>| {
        bytes.resize(bytes.len().next_multiple_of(16), 0);
        let at = base + bytes.len() as u32;
        bytes.extend_from_slice(&t);
        at
    };
    pointers.push(append(&mut bytes, fadt(facs, base, machine.pm)));
    if machine.apics > 0 {
        pointers.push(append(&mut bytes, madt(machine.apics)));
    }
    if machine.iommu {
        pointers.push(append(&mut bytes, dmar(machine.apics)));
    }
    let list: Vec<u8> = pointers.iter().flat_map(|p| p.to_le_bytes()).collect();
    let rsdt = append(&mut bytes, table(b"RSDT", 1, &list));
    (bytes, rsdt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_adds_up() {
        let machine = Machine { low: 0x800_0000, apics: 1, pm: 0xB000, iommu: true };
        let (bytes, rsdt) = lay_out(&machine, 0x7FF_1000, 0x7FF_0000);
        let at = |address: u32| {
            let at = (address - 0x7FF_1000) as usize;
            let len = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
            &bytes[at..at + len]
        };
        let sum = |t: &[u8]| t.iter().fold(0u8, |s, b| s.wrapping_add(*b));
        let list = at(rsdt);
        assert_eq!((&list[..4], sum(list), list.len()), (&b"RSDT"[..], 0, 48));
        let names: Vec<&[u8]> = list[36..].chunks(4).map(|p| at(u32::from_le_bytes(p.try_into().unwrap()))).collect();
        assert_eq!((&names[0][..4], &names[1][..4]), (&b"FACP"[..], &b"APIC"[..]));
        assert_eq!((&names[2][..4], names[2].len()), (&b"DMAR"[..], 72));
        assert!(names.iter().all(|t| sum(t) == 0));
        assert_eq!((names[0].len(), sum(at(0x7FF_1000)), sum(&rsdp(rsdt))), (244, 0, 0));
    }
}
