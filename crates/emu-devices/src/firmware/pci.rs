//! PCI BIOS 2.1 (INT 1Ah, AH = B1h), and what POST does for PCI functions.

use emu_core::bus::PciAddress;

use super::guest::{Guest, Served};

const SUCCESSFUL: u8 = 0x00;
const UNSUPPORTED: u8 = 0x81;
const NOT_FOUND: u8 = 0x86;
const BAD_REGISTER: u8 = 0x87;

/// Ports of the power management.
pub(super) const PM_BASE: u16 = 0xB000;

/// The PIRQ (0 = A) that `pin` (0 = INTA) of a device on bus 0 leads to: each slot starts with the next.
#[must_use]
pub fn pirq_of(device: u8, pin: u8) -> usize {
    usize::from(device.wrapping_add(pin).wrapping_sub(1) & 3)
}

/// The interrupt that POST routes a PIRQ to.
pub(super) fn interrupt_of(pirq: usize) -> u8 {
    if pirq < 2 { 10 } else { 11 }
}

/// An address as BX holds it.
fn from_bx(bx: u16) -> PciAddress {
    PciAddress { bus: (bx >> 8) as u8, device: (bx >> 3) as u8 & 31, function: bx as u8 & 7 }
}

fn to_bx(a: PciAddress) -> u16 {
    u16::from(a.bus) << 8 | u16::from(a.device) << 3 | u16::from(a.function)
}

/// Reads configuration space.
pub(super) fn read(g: &mut Guest<'_>, a: PciAddress, register: u8, size: u8) -> u32 {
    let now = g.sys.now();
    g.sys.bus.pci_read(&mut g.sys.mem, now, a, register, size)
}

/// Writes configuration space.
pub(super) fn write(g: &mut Guest<'_>, a: PciAddress, register: u8, size: u8, v: u32) {
    let now = g.sys.now();
    g.sys.bus.pci_write(&mut g.sys.mem, now, a, register, size, v);
}

/// INT 1Ah, AH = B1h.
pub(super) fn service(g: &mut Guest<'_>) -> Served {
    let functions = g.sys.bus.pci_functions();
    if functions.is_empty() {
        return g.set_carry(true);
    }
    let address = from_bx(g.bx());
    let register = g.di() as u8;
    let status = match g.al() {
        0x01 => {
            let last = functions.iter().map(|a| a.bus).max().unwrap_or(0);
            g.set_r32(2, u32::from_le_bytes(*b"PCI "));
            g.set_ax(0x0001); // mechanism 1
            g.set_bx(0x0210);
            g.set_cl(last);
            SUCCESSFUL
        }
        0x02 => {
            let id = u32::from(g.cx()) << 16 | u32::from(g.dx());
            find(g, &functions, |g, a| read(g, a, 0, 4) == id)
        }
        0x03 => {
            let class = g.r32(1) & 0xFF_FFFF;
            find(g, &functions, |g, a| read(g, a, 8, 4) >> 8 == class)
        }
        n @ 0x08..=0x0D => {
            let size = 1 << ((n - 8) % 3);
            access(g, address, register, size, n >= 0x0B)
        }
        _ => UNSUPPORTED,
    };
    if g.al() != 0x01 || status != SUCCESSFUL {
        g.set_ah(status);
    }
    g.set_carry(status != SUCCESSFUL)
}

fn find(g: &mut Guest<'_>, all: &[PciAddress], mut is: impl FnMut(&mut Guest<'_>, PciAddress) -> bool) -> u8 {
    let mut left = g.si();
    for &a in all {
        if is(g, a) {
            if left == 0 {
                g.set_bx(to_bx(a));
                return SUCCESSFUL;
            }
            left -= 1;
        }
    }
    NOT_FOUND
}

fn access(g: &mut Guest<'_>, a: PciAddress, register: u8, size: u8, is_write: bool) -> u8 {
    if g.di() > 0xFF || !register.is_multiple_of(size) {
        return BAD_REGISTER;
    }
    match (is_write, size) {
        (false, 4) => {
            let v = read(g, a, register, 4);
            g.set_r32(1, v);
        }
        (false, 2) => {
            let v = read(g, a, register, 2);
            g.set_cx(v as u16);
        }
        (false, _) => {
            let v = read(g, a, register, 1);
            g.set_cl(v as u8);
        }
        (true, _) => {
            let v = g.r32(1) & (u32::MAX >> (32 - 8 * u32::from(size)));
            write(g, a, register, size, v);
        }
    }
    SUCCESSFUL
}
