//! INT 10h, AH = 11h: fonts.

use emu_core::cpu::{reg, seg};

use super::super::guest::{Guest, Served};
use super::super::{bda, rom};

const SEQ: u16 = 0x3C4;
const GDC: u16 = 0x3CE;
const FONT: u64 = 0x43 * 4;
const UPPER_FONT: u64 = 0x1F * 4;

fn put(g: &mut Guest<'_>, port: u16, index: u8, v: u8) {
    g.output(port, 2, u32::from(v) << 8 | u32::from(index));
}

/// Where our own font of `height` lines is.
fn own(height: u8) -> u64 {
    let off = match height {
        8 => rom::at::FONT_8,
        14 => rom::at::FONT_14,
        _ => rom::at::FONT_16,
    };
    Guest::at(rom::SEGMENT, off)
}

/// INT 10h, AH = 11h.
pub(super) fn service(g: &mut Guest<'_>) -> Served {
    let kind = g.al();
    match kind {
        0x00 | 0x10 => {
            let (at, height) = (g.in_segment(seg::ES, g.bp()), g.bh());
            let (first, count, block) = (g.dx(), g.cx(), g.bl());
            load(g, at, height, first, count, block)?;
            if kind == 0x10 { resize(g, height) } else { Ok(()) }
        }
        0x01 | 0x02 | 0x04 | 0x11 | 0x12 | 0x14 => {
            let height = [14, 8, 0, 16][usize::from(kind & 0xF) - 1];
            let block = g.bl();
            load(g, own(height), height, 0, 256, block)?;
            if kind >= 0x10 { resize(g, height) } else { Ok(()) }
        }
        0x03 => {
            let v = g.bl();
            put(g, SEQ, 3, v);
            Ok(())
        }
        0x20 => {
            let pointer = u32::from(g.selector(seg::ES)) << 16 | u32::from(g.bp());
            g.poke(UPPER_FONT, pointer)
        }
        0x21..=0x24 => graphics_font(g, kind),
        0x30 => tell(g),
        _ => Ok(()),
    }
}

/// Puts glyphs into plane 2.
fn load(g: &mut Guest<'_>, at: u64, height: u8, first: u16, count: u16, block: u8) -> Served {
    if height == 0 || height > 32 {
        return Ok(());
    }
    let saved = [(SEQ, 2), (SEQ, 4), (GDC, 4), (GDC, 5), (GDC, 6)].map(|(port, index)| {
        g.outb(port, index);
        (port, index, g.inb(port + 1))
    });
    for (port, index, v) in [(SEQ, 2, 4), (SEQ, 4, 6), (GDC, 4, 2), (GDC, 5, 0), (GDC, 6, 4)] {
        put(g, port, index, v);
    }
    let base = 0xA_0000 + u64::from(block & 3) * 0x4000 + u64::from(block >> 2 & 1) * 0x2000;
    for i in 0..count.min(256) {
        let mut rows = [0; 32];
        let rows = &mut rows[..usize::from(height)];
        g.peek_bytes(at + u64::from(i) * u64::from(height), rows)?;
        let to = base + 32 * u64::from(first.wrapping_add(i) & 0xFF);
        for (y, &bits) in (0..).zip(rows.iter()) {
            g.poke(to + y, bits)?;
        }
    }
    saved.into_iter().for_each(|(port, index, v)| put(g, port, index, v));
    Ok(())
}

/// Fits the text mode to characters of `height` lines.
fn resize(g: &mut Guest<'_>, height: u8) -> Served {
    if height == 0 || height > 32 {
        return Ok(());
    }
    let crtc: u16 = g.bda(bda::CRTC)?;
    let register = |g: &mut Guest<'_>, index: u8| {
        g.outb(crtc, index);
        g.inb(crtc + 1)
    };
    let (nine, overflow) = (register(g, 0x09), register(g, 0x07));
    let lines = u16::from(register(g, 0x12)) | u16::from(overflow & 2) << 7 | u16::from(overflow & 0x40) << 3;
    let double = if nine & 0x80 != 0 { 2 } else { 1 };
    let rows = ((lines + 1) / (u16::from(height) * double)).clamp(1, 255);
    let end = rows * u16::from(height) * double - 1;
    put(g, crtc, 0x09, nine & 0xE0 | (height - 1));
    put(g, crtc, 0x12, end as u8);
    put(g, crtc, 0x07, overflow & !0x42 | (end >> 7) as u8 & 2 | (end >> 3) as u8 & 0x40);
    let (top, bottom) = if height > 8 { (height - 3, height - 2) } else { (height.max(2) - 2, height - 1) };
    put(g, crtc, 0x0A, top);
    put(g, crtc, 0x0B, bottom);
    let columns: u16 = g.bda(bda::COLUMNS)?;
    g.set_bda(bda::ROWS, rows as u8 - 1)?;
    g.set_bda(bda::CHAR_HEIGHT, u16::from(height))?;
    g.set_bda(bda::CURSOR_SHAPE, u16::from(top) << 8 | u16::from(bottom))?;
    // Pages lie 256 bytes apart at least, for the software that counts on room behind the last row.
    g.set_bda(bda::PAGE_BYTES, (rows.wrapping_mul(columns).wrapping_mul(2)).wrapping_add(0x1FF) & 0xFF00)
}

/// AL = 21h to 24h: INT 43h, and the rows of graphics modes.
fn graphics_font(g: &mut Guest<'_>, kind: u8) -> Served {
    let (pointer, height) = match kind {
        0x21 => (u32::from(g.selector(seg::ES)) << 16 | u32::from(g.bp()), g.cx()),
        0x22 => (u32::from(rom::SEGMENT) << 16 | u32::from(rom::at::FONT_14), 14),
        0x23 => (u32::from(rom::SEGMENT) << 16 | u32::from(rom::at::FONT_8), 8),
        _ => (u32::from(rom::SEGMENT) << 16 | u32::from(rom::at::FONT_16), 16),
    };
    let rows = match g.bl() {
        0 => g.dl(),
        1 => 14,
        3 => 43,
        _ => 25,
    };
    g.poke(FONT, pointer)?;
    g.set_bda(bda::ROWS, rows.max(1) - 1)?;
    g.set_bda(bda::CHAR_HEIGHT, height)
}

/// AL = 30h: where a font is, the height of characters, and the last row.
fn tell(g: &mut Guest<'_>) -> Served {
    let of_rom = |off: u16| u32::from(rom::SEGMENT) << 16 | u32::from(off);
    let pointer = match g.bh() {
        0 => g.peek(UPPER_FONT)?,
        1 => g.peek(FONT)?,
        2 | 5 => of_rom(rom::at::FONT_14),
        3 => of_rom(rom::at::FONT_8),
        4 => of_rom(rom::at::FONT_8 + 1024),
        6 | 7 => of_rom(rom::at::FONT_16),
        _ => return Ok(()),
    };
    let height = g.bda(bda::CHAR_HEIGHT)?;
    let last = g.bda(bda::ROWS)?;
    g.set_cx(height);
    g.set_dl(last);
    g.set_selector(seg::ES, (pointer >> 16) as u16);
    let bp = &mut g.sys.cpu.regs[reg::RBP];
    *bp = *bp & !0xFFFF | u64::from(pointer & 0xFFFF);
    Ok(())
}
