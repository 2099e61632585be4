//! What POST does for PCI functions: addresses, interrupts, and the chipset's own registers.

use emu_core::bus::PciAddress;

use super::guest::Guest;
use super::pci::{PM_BASE, interrupt_of, pirq_of, read, write};

/// Vendor and device, as the first four bytes of configuration space.
const PIIX3_ISA: u32 = 0x7000_8086;
const PIIX3_IDE: u32 = 0x7010_8086;
const PIIX4_PM: u32 = 0x7113_8086;
const SMBUS_BASE: u16 = 0xB100;
/// Where BARs are put.
const FIRST_MEMORY: u64 = 0xE000_0000;
const LAST_MEMORY: u64 = 0xFEBF_FFFF;
const FIRST_PORT: u32 = 0xC000;
/// Interrupts that are levels: SCI, and the two of the PIRQs.
const LEVELS: u16 = 1 << 9 | 1 << 10 | 1 << 11;

/// Free addresses.
struct Free {
    memory: u64,
    port: u32,
}

/// Sets up all functions.
pub(super) fn start(g: &mut Guest<'_>) {
    let functions = g.sys.bus.pci_functions();
    let mut free = Free { memory: FIRST_MEMORY, port: FIRST_PORT };
    for &f in &functions {
        let id = read(g, f, 0, 4);
        match id {
            PIIX3_ISA => route(g, f),
            PIIX4_PM => power_management(g, f),
            PIIX3_IDE => {
                // Both channels decode.
                write(g, f, 0x40, 2, 0x8000);
                write(g, f, 0x42, 2, 0x8000);
            }
            _ => {}
        }
        // Bridges have other registers where the BARs of others are.
        if read(g, f, 0x0E, 1) & 0x7F == 0 && read(g, f, 0x0B, 1) != 0x06 {
            (0..6).for_each(|i| place(g, f, 0x10 + 4 * i, &mut free));
            let command = read(g, f, 0x04, 2);
            write(g, f, 0x04, 2, command | 0x07);
        }
        if let Some(pin) = (read(g, f, 0x3D, 1) as u8).checked_sub(1).filter(|_| id != PIIX4_PM) {
            write(g, f, 0x3C, 1, interrupt_of(pirq_of(f.device, pin)).into());
        }
    }
}

/// Gives a BAR an address.
fn place(g: &mut Guest<'_>, f: PciAddress, register: u8, free: &mut Free) {
    write(g, f, register, 4, u32::MAX);
    let mask = read(g, f, register, 4);
    write(g, f, register, 4, 0);
    if mask & 1 != 0 {
        let size = (!(mask & 0xFFFC) & 0xFFFF) + 1;
        let at = free.port.next_multiple_of(size);
        if mask & 0xFFFC != 0 && at + size <= 0x1_0000 {
            free.port = at + size;
            write(g, f, register, 4, at);
        }
    } else if mask & !0xF != 0 {
        let size = u64::from(!(mask & !0xF)) + 1;
        let at = free.memory.next_multiple_of(size);
        if at + size <= LAST_MEMORY + 1 {
            free.memory = at + size;
            write(g, f, register, 4, at as u32);
        }
    }
}

/// PIRQs to interrupts 10 and 11, which become levels.
fn route(g: &mut Guest<'_>, bridge: PciAddress) {
    for pirq in 0..4u8 {
        write(g, bridge, 0x60 + pirq, 1, interrupt_of(pirq.into()).into());
    }
    g.outb(0x4D0, LEVELS as u8);
    g.outb(0x4D1, (LEVELS >> 8) as u8);
}

fn power_management(g: &mut Guest<'_>, f: PciAddress) {
    write(g, f, 0x40, 4, u32::from(PM_BASE) | 1);
    write(g, f, 0x80, 1, 1);
    write(g, f, 0x90, 4, u32::from(SMBUS_BASE) | 1);
    write(g, f, 0xD2, 1, 9);
    let command = read(g, f, 0x04, 2);
    write(g, f, 0x04, 2, command | 1);
    write(g, f, 0x3C, 1, 9);
}
