//! INT 10h, AH = 12h, 1Ah, 1Bh: what the card is, and its switches.

use emu_core::cpu::seg;

use super::super::guest::{Guest, Served};
use super::super::{bda, rom};

/// The card has the function.
const SUPPORTED: u8 = 0x12;

/// AH = 12h.
pub(super) fn alternate(g: &mut Guest<'_>) -> Served {
    let al = g.al();
    match g.bl() {
        0x10 => {
            let switches: u8 = g.bda(bda::VIDEO_SWITCHES)?;
            let mono = g.bda::<u16>(bda::CRTC)? == 0x3B4;
            g.set_bx(u16::from(mono) << 8 | 3);
            g.set_cx(u16::from(switches & 0xF));
            return Ok(());
        }
        0x30 => {
            // 200, 350 or 400 lines for the next text mode: kept for the caller; modes have 400.
            let flags = g.bda::<u8>(bda::VIDEO_FLAGS)? & !0x90;
            let bits = match al {
                0 => 0x80,
                1 => 0x00,
                _ => 0x10,
            };
            g.set_bda(bda::VIDEO_FLAGS, flags | bits)?;
        }
        0x31 => flag(g, bda::VIDEO_FLAGS, 0x08, al & 1 != 0)?,
        0x32 => {
            let misc = g.inb(0x3CC);
            g.outb(0x3C2, misc & !2 | if al & 1 == 0 { 2 } else { 0 });
        }
        0x33 => flag(g, bda::VIDEO_FLAGS, 0x02, al & 1 == 0)?,
        0x34 => flag(g, bda::VIDEO_CONTROL, 0x01, al & 1 != 0)?,
        0x36 => {
            g.outb(0x3C4, 1);
            let clocking = g.inb(0x3C5) & !0x20;
            g.outb(0x3C5, clocking | if al & 1 != 0 { 0x20 } else { 0 });
        }
        0x20 => return Ok(()),
        _ => return Ok(()),
    }
    g.set_al(SUPPORTED);
    Ok(())
}

fn flag(g: &mut Guest<'_>, off: u64, bit: u8, on: bool) -> Served {
    let old: u8 = g.bda(off)?;
    g.set_bda(off, if on { old | bit } else { old & !bit })
}

/// AH = 1Ah: the display combination.
pub(super) fn combination(g: &mut Guest<'_>) -> Served {
    match g.al() {
        0 => {
            let active: u8 = g.bda(bda::DISPLAY)?;
            g.set_bx(active.into());
        }
        1 => {
            let active = g.bl();
            g.set_bda(bda::DISPLAY, active)?;
        }
        _ => return Ok(()),
    }
    g.set_al(0x1A);
    Ok(())
}

/// AH = 1Bh: 64 bytes of state at ES:DI.
pub(super) fn state(g: &mut Guest<'_>) -> Served {
    if g.bx() != 0 {
        return Ok(());
    }
    let mut s = [0u8; 64];
    s[..4].copy_from_slice(&(u32::from(rom::SEGMENT) << 16 | u32::from(rom::at::VIDEO_STATE)).to_le_bytes());
    g.peek_bytes(0x400 + bda::VIDEO_MODE, &mut s[4..0x22])?;
    s[0x22] = g.bda::<u8>(bda::ROWS)?.wrapping_add(1);
    s[0x23..0x25].copy_from_slice(&g.bda::<u16>(bda::CHAR_HEIGHT)?.to_le_bytes());
    s[0x25] = g.bda(bda::DISPLAY)?;
    let mode = super::current(g)?;
    let (colors, pages) = match mode.map(|m| m.number) {
        Some(4 | 5) => (4u16, 1),
        Some(6 | 0x11) => (2, 1),
        Some(7) => (0, 8),
        Some(0x13) => (256, 1),
        Some(0x0D) => (16, 8),
        Some(0x0E) => (16, 4),
        Some(0x0F | 0x10) => (16, 2),
        Some(0x12) => (16, 1),
        _ => (16, 8),
    };
    s[0x27..0x29].copy_from_slice(&colors.to_le_bytes());
    s[0x29] = pages;
    s[0x2A] = match mode.map(|m| (m.is_text(), m.number)) {
        Some((false, 0x11 | 0x12)) => 3,
        Some((false, 0x0F | 0x10)) => 1,
        Some((false, _)) => 0,
        _ => 2,
    };
    s[0x2D] = 0x21; // blinking, all modes on all displays
    s[0x31] = 3; // 256 KiB
    let at = g.in_segment(seg::ES, g.di());
    g.poke_bytes(at, &s)?;
    g.set_al(0x1B);
    Ok(())
}
