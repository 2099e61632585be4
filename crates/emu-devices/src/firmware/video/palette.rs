//! INT 10h, AH = 10h and 0Bh: palette registers and the DAC.

use emu_core::cpu::seg;

use super::super::bda;
use super::super::guest::{Guest, Served};

const ATTRIBUTE: u16 = 0x3C0;
const DAC_MASK: u16 = 0x3C6;
const DAC_READ: u16 = 0x3C7;
const DAC_WRITE: u16 = 0x3C8;
const DAC_DATA: u16 = 0x3C9;
/// Attribute controller: mode control, overscan, colour select.
const MODE: u8 = 0x10;
const OVERSCAN: u8 = 0x11;
const SELECT: u8 = 0x14;
/// Index bit: the picture is shown.
const SHOWN: u8 = 0x20;

fn reset_flip_flop(g: &mut Guest<'_>) -> Served {
    let status = g.bda::<u16>(bda::CRTC)?.wrapping_add(6);
    g.inb(status);
    Ok(())
}

/// Reads an attribute register.
pub(super) fn attribute(g: &mut Guest<'_>, index: u8) -> Served<u8> {
    reset_flip_flop(g)?;
    g.outb(ATTRIBUTE, index & 0x1F | SHOWN);
    let v = g.inb(ATTRIBUTE + 1);
    reset_flip_flop(g)?;
    Ok(v)
}

/// Writes an attribute register.
pub(super) fn set_attribute(g: &mut Guest<'_>, index: u8, v: u8) -> Served {
    reset_flip_flop(g)?;
    g.outb(ATTRIBUTE, index & 0x1F);
    g.outb(ATTRIBUTE, v);
    g.outb(ATTRIBUTE, SHOWN);
    Ok(())
}

/// Reads a colour of the DAC: red, green, blue.
pub(super) fn dac(g: &mut Guest<'_>, index: u8) -> [u8; 3] {
    g.outb(DAC_READ, index);
    [0; 3].map(|_| g.inb(DAC_DATA))
}

/// Sets a colour of the DAC.
pub(super) fn set_dac(g: &mut Guest<'_>, index: u8, color: [u8; 3]) {
    g.outb(DAC_WRITE, index);
    color.into_iter().for_each(|c| g.outb(DAC_DATA, c));
}

/// Sums to grey as the VGA BIOS does: 30 % red, 59 % green, 11 % blue.
fn grey(g: &mut Guest<'_>, index: u8) {
    let [r, gr, b] = dac(g, index).map(u32::from);
    let level = ((77 * r + 151 * gr + 28 * b + 0x80) >> 8).min(0x3F) as u8;
    set_dac(g, index, [level; 3]);
}

/// INT 10h, AH = 10h.
pub(super) fn service(g: &mut Guest<'_>) -> Served {
    match g.al() {
        0x00..=0x03 | 0x07..=0x09 => registers(g),
        0x10 => {
            let color = [g.dh(), g.ch(), g.cl()];
            let index = g.bl();
            set_dac(g, index, color);
            Ok(())
        }
        0x12 => {
            let (at, first) = (g.in_segment(seg::ES, g.dx()), g.bx());
            for i in 0..g.cx().min(256) {
                let mut color = [0; 3];
                g.peek_bytes(at + 3 * u64::from(i), &mut color)?;
                set_dac(g, first.wrapping_add(i) as u8, color);
            }
            Ok(())
        }
        0x13 => page(g),
        0x15 => {
            let index = g.bl();
            let [r, gr, b] = dac(g, index);
            g.set_dh(r);
            g.set_ch(gr);
            g.set_cl(b);
            Ok(())
        }
        0x17 => {
            let (at, first) = (g.in_segment(seg::ES, g.dx()), g.bx());
            for i in 0..g.cx().min(256) {
                let color = dac(g, first.wrapping_add(i) as u8);
                g.poke_bytes(at + 3 * u64::from(i), &color)?;
            }
            Ok(())
        }
        0x18 => {
            let mask = g.bl();
            g.outb(DAC_MASK, mask);
            Ok(())
        }
        0x19 => {
            let mask = g.inb(DAC_MASK);
            g.set_bl(mask);
            Ok(())
        }
        0x1A => {
            let (mode, select) = (attribute(g, MODE)?, attribute(g, SELECT)?);
            let small = mode & 0x80 != 0;
            g.set_bl(u8::from(small));
            g.set_bh(if small { select & 0xF } else { select >> 2 & 3 });
            Ok(())
        }
        0x1B => {
            let first = g.bx();
            (0..g.cx().min(256)).for_each(|i| grey(g, first.wrapping_add(i) as u8));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// AL = 00h to 03h and 07h to 09h: the attribute controller.
fn registers(g: &mut Guest<'_>) -> Served {
    match g.al() {
        0x00 => {
            let (index, v) = (g.bl(), g.bh());
            if index <= SELECT { set_attribute(g, index, v) } else { Ok(()) }
        }
        0x01 => {
            let v = g.bh();
            set_attribute(g, OVERSCAN, v)
        }
        0x02 => {
            let at = g.in_segment(seg::ES, g.dx());
            for i in 0..=16u8 {
                let v = g.peek(at + u64::from(i))?;
                set_attribute(g, if i == 16 { OVERSCAN } else { i }, v)?;
            }
            Ok(())
        }
        0x03 => {
            let blink = if g.bl() & 1 != 0 { 8 } else { 0 };
            let mode = attribute(g, MODE)?;
            set_attribute(g, MODE, mode & !8 | blink)
        }
        0x07 => {
            let index = g.bl();
            let v = attribute(g, index)?;
            g.set_bh(v);
            Ok(())
        }
        0x08 => {
            let v = attribute(g, OVERSCAN)?;
            g.set_bh(v);
            Ok(())
        }
        _ => {
            let at = g.in_segment(seg::ES, g.dx());
            for i in 0..=16u8 {
                let v = attribute(g, if i == 16 { OVERSCAN } else { i })?;
                g.poke(at + u64::from(i), v)?;
            }
            Ok(())
        }
    }
}

/// AL = 13h: how the DAC is divided into pages (BL = 0), or which is used (1).
fn page(g: &mut Guest<'_>) -> Served {
    let (mode, v) = (attribute(g, MODE)?, g.bh());
    match g.bl() {
        0 => set_attribute(g, MODE, mode & 0x7F | v << 7),
        1 => set_attribute(g, SELECT, if mode & 0x80 != 0 { v & 0xF } else { v << 2 & 0xC }),
        _ => Ok(()),
    }
}

/// AH = 0Bh: the CGA's border and background (BH = 0), and its palette (1).
pub(super) fn cga(g: &mut Guest<'_>) -> Served {
    let (old, v): (u8, u8) = (g.bda(bda::CGA_COLOR)?, g.bl());
    let new = match g.bh() {
        0 => old & 0xE0 | v & 0x1F,
        1 => old & !0x20 | (v & 1) << 5,
        _ => return Ok(()),
    };
    g.set_bda(bda::CGA_COLOR, new)?;
    let mode: u8 = g.bda(bda::VIDEO_MODE)?;
    let bright = (new & 8) << 1;
    if mode <= 3 || g.bh() == 0 {
        set_attribute(g, OVERSCAN, new & 7 | bright)?;
    }
    if matches!(mode, 4 | 5) {
        set_attribute(g, 0, new & 7 | bright)?;
        for i in 1..4 {
            set_attribute(g, i, i << 1 | new >> 5 & 1 | new & 0x10)?;
        }
    } else if mode == 6 {
        set_attribute(g, 1, new & 7 | bright)?;
    }
    Ok(())
}
