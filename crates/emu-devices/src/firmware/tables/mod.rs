//! What the firmware tells kernels about the machine: ACPI, MP, $PIR and SMBIOS tables.
//!
//! The pointers that kernels look for lie in the ROM's segment, which POST shadows for that; the tables lie in the last
//! 64 KiB of RAM below 4 GiB.

mod acpi;
mod aml;
mod dsdt;
mod mp;
mod pir;
mod smbios;

use emu_core::bus::PciAddress;
use emu_core::cpu::model::Feature;

use super::guest::Guest;
use super::memory_map::{self, TABLES};
use super::{pci, rom};
use crate::vtd::Vtd;

/// Where the pointers and the tables without pointers go, in the ROM's segment.
const RSDP: u64 = rom::BASE + 0x10;
const SMBIOS: u64 = rom::BASE + 0x40;
const MP_POINTER: u64 = rom::BASE + 0x80;
const MP_TABLE: u64 = rom::BASE + 0x100;
const PIR: u64 = rom::BASE + 0x800;
/// The host bridge and its PAM register for F0000h-FFFFFh: reads and writes go to ROM, RAM, or RAM read only.
const HOST: PciAddress = PciAddress { bus: 0, device: 0, function: 0 };
const PAM0: u8 = 0x59;
const PAM_RAM: u32 = 0x30;
const PAM_READ_ONLY: u32 = 0x10;
/// Bytes of the tables' area before ACPI's: the FACS.
const NVS: u64 = 0x1000;
/// Bytes before SMBIOS's.
const SMBIOS_OFFSET: u64 = 0x8000;

/// Writes all tables. A machine without PCI has none.
pub(super) fn write(g: &mut Guest<'_>) {
    let functions = g.sys.bus.pci_functions();
    let sizes = memory_map::sizes(g);
    let (Some(base), true) = (sizes.tables(), functions.contains(&HOST)) else { return };
    shadow(g);
    let apics = if g.sys.cpu.model.has(Feature::Apic) { g.sys.cpu_count() as u8 } else { 0 };
    let facs = base as u32;
    let iommu = g.sys.bus.find::<Vtd>().is_some();
    let machine = acpi::Machine { low: sizes.low as u32, apics, pm: pci::PM_BASE, iommu };
    let (tables, rsdt) = acpi::lay_out(&machine, facs + NVS as u32, facs);
    let mem = &mut g.sys.mem;
    mem.write(base, &[0; TABLES as usize]);
    mem.write(base, &acpi::facs());
    mem.write(base + NVS, &tables);
    mem.write(RSDP, &acpi::rsdp(rsdt));
    let signature = g.sys.cpu.signature();
    let at = base + SMBIOS_OFFSET;
    let (table, entry) = smbios::tables(sizes.low + sizes.high, signature, at as u32);
    g.sys.mem.write(at, &table);
    g.sys.mem.write(SMBIOS, &entry);
    let mut devices: Vec<u8> = functions.iter().map(|f| f.device).collect();
    devices.dedup();
    g.sys.mem.write(PIR, &pir::table(1, &devices));
    if apics > 0 {
        let slots: Vec<(u8, u8)> = functions
            .iter()
            .filter_map(|&f| Some((f.device, (pci::read(g, f, 0x3D, 1) as u8).checked_sub(1)? & 3)))
            .collect();
        g.sys.mem.write(MP_TABLE, &mp::table(apics, signature, &slots));
        g.sys.mem.write(MP_POINTER, &mp::pointer(MP_TABLE as u32));
        // The I/O APIC gets the identifier that the tables give.
        g.sys.store_physical(crate::apic::IO_BASE, 4, 0);
        g.sys.store_physical(crate::apic::IO_BASE + 0x10, 4, u64::from(apics) << 24);
    }
    pci::write(g, HOST, PAM0, 1, PAM_READ_ONLY);
}

/// Copies the ROM to the RAM behind it, and leaves that writable.
fn shadow(g: &mut Guest<'_>) {
    let mut image = vec![0; rom::SIZE];
    pci::write(g, HOST, PAM0, 1, 0);
    g.sys.mem.read(rom::BASE, &mut image);
    pci::write(g, HOST, PAM0, 1, PAM_RAM);
    g.sys.mem.write(rom::BASE, &image);
}
