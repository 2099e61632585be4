//! Setting a standard mode, and what the data area then says.

use super::super::guest::{Guest, Served};
use super::super::{bda, rom};
use crate::vga::Vga;
use crate::vga::modes::Mode;

/// Video control at 40:87: 256 KiB; bit 7 repeats the caller's "don't clear".
const CONTROL: u8 = 0x60;
/// Switches at 40:88 of a card with a colour monitor.
const SWITCHES: u8 = 0xF9;
/// 40:89: VGA is active, 400 lines.
const FLAGS: u8 = 0x11;
/// 40:8A: VGA with a colour monitor.
const DISPLAY: u8 = 0x08;

/// INT 10h, AH = 00h.
pub(super) fn set_by_caller(g: &mut Guest<'_>, number: u8) -> Served {
    if Mode::by_number(number & 0x7F).is_some() {
        set(g, number)?;
        // What old programs get back: 20h for graphics with a CGA's picture, 30h for text, 3Fh for mode 6.
        let answer = match number & 0x7F {
            6 => 0x3F,
            0..=5 | 7 => 0x30,
            _ => 0x20,
        };
        g.set_al(answer);
    }
    Ok(())
}

/// Sets mode `number`; bit 7 keeps the contents of video memory.
pub(super) fn set(g: &mut Guest<'_>, number: u8) -> Served {
    let Some(mode) = Mode::by_number(number & 0x7F) else { return Ok(()) };
    let clear = number & 0x80 == 0;
    let sys = &mut *g.sys;
    if let Some(vga) = sys.bus.find_mut::<Vga>() {
        vga.load_mode(&mut sys.mem, mode, clear);
    }
    super::vbe::leave(g)?;
    g.set_bda(bda::VIDEO_MODE, mode.number)?;
    g.set_bda(bda::COLUMNS, u16::from(mode.chars.0))?;
    g.set_bda(bda::PAGE_BYTES, mode.page_bytes)?;
    g.set_bda(bda::PAGE_START, 0u16)?;
    g.poke_bytes(0x400 + bda::CURSOR, &[0; 16])?;
    g.set_bda(bda::CURSOR_SHAPE, if mode.is_text() { 0x0607u16 } else { 0 })?;
    g.set_bda(bda::PAGE, 0u8)?;
    g.set_bda(bda::CRTC, mode.crtc_port())?;
    let (cga_mode, cga_color) = cga_registers(mode.number);
    g.set_bda(bda::CGA_MODE, cga_mode)?;
    g.set_bda(bda::CGA_COLOR, cga_color)?;
    g.set_bda(bda::ROWS, mode.chars.1 - 1)?;
    g.set_bda(bda::CHAR_HEIGHT, u16::from(mode.char_height))?;
    g.set_bda(bda::VIDEO_CONTROL, CONTROL | if clear { 0 } else { 0x80 })?;
    g.set_bda(bda::VIDEO_SWITCHES, SWITCHES)?;
    g.set_bda(bda::VIDEO_FLAGS, FLAGS)?;
    g.set_bda(bda::DISPLAY, DISPLAY)?;
    let font = match mode.char_height {
        8 => rom::at::FONT_8,
        14 => rom::at::FONT_14,
        _ => rom::at::FONT_16,
    };
    g.poke(0x43 * 4, u32::from(rom::SEGMENT) << 16 | u32::from(font))
}

/// What the CGA's mode and colour registers would hold.
fn cga_registers(number: u8) -> (u8, u8) {
    let mode = match number {
        0 => 0x2C,
        1 => 0x28,
        2 => 0x2D,
        3 | 7 => 0x29,
        4 => 0x2A,
        5 => 0x2E,
        6 => 0x1E,
        _ => 0,
    };
    (mode, if number == 6 { 0x3F } else { 0x30 })
}
