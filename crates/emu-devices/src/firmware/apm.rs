//! Advanced power management (INT 15h, AH = 53h), as far as real-mode programs need it: idle and off [APM 1.2].

use super::guest::{Guest, Served};
use super::pci::PM_BASE;
use super::services::fail;
use crate::piix4_pm::SLP_TYP_S5;

/// The interface's version, in BCD.
const VERSION: u16 = 0x0102;
const BAD_DEVICE: u8 = 0x09;
const BAD_VALUE: u8 = 0x0A;
const NO_PROTECTED_MODE: u8 = 0x06;
const NO_EVENT: u8 = 0x80;
const UNSUPPORTED: u8 = 0x86;

/// INT 15h, AH = 53h.
pub(super) fn service(g: &mut Guest<'_>) -> Served {
    if g.sys.bus.pci_functions().is_empty() {
        return fail(g, UNSUPPORTED);
    }
    match g.al() {
        0x00 => {
            g.set_ax(VERSION);
            g.set_bx(u16::from_be_bytes(*b"PM"));
            g.set_cx(0);
        }
        0x01 | 0x04..=0x06 | 0x08 | 0x0D | 0x0F | 0x10 => g.set_ah(0),
        0x02 | 0x03 => return fail(g, NO_PROTECTED_MODE),
        0x07 => return set_state(g),
        0x0A => {
            // On line, no battery.
            g.set_bx(0x01FF);
            g.set_cx(0xFFFF);
            g.set_dx(0xFFFF);
        }
        0x0B => return fail(g, NO_EVENT),
        0x0E => g.set_ax(VERSION),
        _ => return fail(g, UNSUPPORTED),
    }
    g.set_carry(false)
}

/// AL = 07h: state CX of device BX; everything can be switched off.
fn set_state(g: &mut Guest<'_>) -> Served {
    if g.bx() != 1 {
        return fail(g, BAD_DEVICE);
    }
    if g.cx() > 3 {
        return fail(g, BAD_VALUE);
    }
    if g.cx() == 3 {
        g.output(PM_BASE + 4, 2, u32::from(SLP_TYP_S5) << 10 | 0x2000);
    }
    g.set_ah(0);
    g.set_carry(false)
}
