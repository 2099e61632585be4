//! VESA BIOS extensions (INT 10h, AH = 4Fh), on the dispi registers [VBE 3.0].

use emu_core::cpu::seg;

use super::super::guest::{Guest, Served};
use super::super::{bda, pci, rom};
use super::mode;
use super::palette;

/// Ports of the dispi registers, and those that are used here.
const INDEX: u16 = 0x1CE;
const DATA: u16 = 0x1D0;
const XRES: u16 = 1;
const YRES: u16 = 2;
const BPP: u16 = 3;
const ENABLE: u16 = 4;
const BANK: u16 = 5;
const VIRT_WIDTH: u16 = 6;
const X_OFFSET: u16 = 8;
const Y_OFFSET: u16 = 9;
const MEMORY_64K: u16 = 10;
const ENABLED: u16 = 1;
const DAC_8BIT: u16 = 0x20;
const LINEAR: u16 = 0x40;
const NO_CLEAR: u16 = 0x80;
/// Where the VBE mode is kept.
const CURRENT: u64 = 0xBA;

/// What AX returns.
const OK: u16 = 0x004F;
const FAILED: u16 = 0x014F;

/// Numbers, width, height, bits: VESA's own, and from 140h on those that dispi's BIOSes have added.
const MODES: [(u16, u16, u16, u16); 36] = [
    (0x100, 640, 400, 8),
    (0x101, 640, 480, 8),
    (0x103, 800, 600, 8),
    (0x105, 1024, 768, 8),
    (0x107, 1280, 1024, 8),
    (0x10D, 320, 200, 15),
    (0x10E, 320, 200, 16),
    (0x10F, 320, 200, 24),
    (0x110, 640, 480, 15),
    (0x111, 640, 480, 16),
    (0x112, 640, 480, 24),
    (0x113, 800, 600, 15),
    (0x114, 800, 600, 16),
    (0x115, 800, 600, 24),
    (0x116, 1024, 768, 15),
    (0x117, 1024, 768, 16),
    (0x118, 1024, 768, 24),
    (0x119, 1280, 1024, 15),
    (0x11A, 1280, 1024, 16),
    (0x11B, 1280, 1024, 24),
    (0x11C, 1600, 1200, 8),
    (0x11D, 1600, 1200, 15),
    (0x11E, 1600, 1200, 16),
    (0x11F, 1600, 1200, 24),
    (0x140, 320, 200, 32),
    (0x141, 640, 400, 32),
    (0x142, 640, 480, 32),
    (0x143, 800, 600, 32),
    (0x144, 1024, 768, 32),
    (0x145, 1280, 1024, 32),
    (0x146, 320, 200, 8),
    (0x147, 1600, 1200, 32),
    (0x14A, 1152, 864, 32),
    (0x175, 1280, 720, 16),
    (0x178, 1280, 800, 32),
    (0x18D, 1280, 720, 32),
];

fn dispi(g: &mut Guest<'_>, index: u16) -> u16 {
    g.output(INDEX, 2, index.into());
    g.input(DATA, 2) as u16
}

fn set_dispi(g: &mut Guest<'_>, index: u16, v: u16) {
    g.output(INDEX, 2, index.into());
    g.output(DATA, 2, v.into());
}

/// Bytes of a pixel.
fn pixel_bytes(bits: u16) -> u16 {
    bits.div_ceil(8)
}

fn memory(g: &mut Guest<'_>) -> u16 {
    dispi(g, MEMORY_64K)
}

/// The mode `number`, if it fits into the card's memory.
fn find(g: &mut Guest<'_>, number: u16) -> Option<(u16, u16, u16, u16)> {
    let bytes = u32::from(memory(g)) << 16;
    let fits = |m: &(u16, u16, u16, u16)| u32::from(m.1) * u32::from(m.2) * u32::from(pixel_bytes(m.3)) <= bytes;
    MODES.into_iter().find(|m| m.0 == number).filter(fits)
}

/// The VGA's frame buffer.
fn frame_buffer(g: &mut Guest<'_>) -> u32 {
    let functions = g.sys.bus.pci_functions();
    let vga = functions.into_iter().find(|&f| pci::read(g, f, 0x08, 4) >> 16 == 0x0300);
    vga.map_or(0, |f| pci::read(g, f, 0x10, 4) & !0xF)
}

/// Leaves VBE: every standard mode does that.
pub(super) fn leave(g: &mut Guest<'_>) -> Served {
    g.set_bda(CURRENT, 0u16)
}

/// INT 10h, AH = 4Fh.
pub(super) fn service(g: &mut Guest<'_>) -> Served {
    if dispi(g, 0) & 0xFFF0 != 0xB0C0 {
        return Ok(());
    }
    let answer = match g.al() {
        0x00 => controller(g)?,
        0x01 => mode_info(g)?,
        0x02 => set_mode(g)?,
        0x03 => {
            let number: u16 = g.bda(CURRENT)?;
            let standard = u16::from(g.bda::<u8>(bda::VIDEO_MODE)?);
            g.set_bx(if number != 0 { number } else { standard });
            OK
        }
        0x05 => bank(g),
        0x06 => line_length(g),
        0x07 => start(g),
        0x08 => dac_width(g),
        0x09 => palette_data(g)?,
        0x10 => {
            if g.bl() == 0 {
                g.set_bx(0x0F30);
                OK
            } else if g.bl() <= 2 {
                OK
            } else {
                FAILED
            }
        }
        _ => FAILED,
    };
    g.set_ax(answer);
    Ok(())
}

/// AL = 00h: fills the block at ES:DI.
fn controller(g: &mut Guest<'_>) -> Served<u16> {
    let at = g.in_segment(seg::ES, g.di());
    let asked: u32 = g.peek(at)?;
    let two = asked == u32::from_le_bytes(*b"VBE2");
    let mut block = vec![0u8; if two { 512 } else { 256 }];
    let far = |off: u16| (u32::from(rom::SEGMENT) << 16 | u32::from(off)).to_le_bytes();
    block[..6].copy_from_slice(b"VESA\x00\x03");
    block[6..10].copy_from_slice(&far(rom::at::VBE_NAME));
    block[10] = 1; // the DAC can have 8 bits
    let list = u32::from(g.selector(seg::ES)) << 16 | u32::from(g.di().wrapping_add(0x22));
    block[14..18].copy_from_slice(&list.to_le_bytes());
    let size = memory(g);
    block[18..20].copy_from_slice(&size.to_le_bytes());
    if two {
        block[20..22].copy_from_slice(&[0x01, 0x00]);
        for at in [22, 26, 30] {
            block[at..at + 4].copy_from_slice(&far(rom::at::VBE_NAME));
        }
    }
    let mut next = 0x22;
    for m in MODES {
        if find(g, m.0).is_some() {
            block[next..next + 2].copy_from_slice(&m.0.to_le_bytes());
            next += 2;
        }
    }
    block[next..next + 2].copy_from_slice(&[0xFF, 0xFF]);
    g.poke_bytes(at, &block)?;
    Ok(OK)
}

/// Sizes and positions of red, green, blue and the rest.
fn masks(bits: u16) -> [u8; 8] {
    match bits {
        15 => [5, 10, 5, 5, 5, 0, 1, 15],
        16 => [5, 11, 6, 5, 5, 0, 0, 0],
        24 => [8, 16, 8, 8, 8, 0, 0, 0],
        32 => [8, 16, 8, 8, 8, 0, 8, 24],
        _ => [0; 8],
    }
}

/// AL = 01h: fills 256 bytes at ES:DI about mode CX.
fn mode_info(g: &mut Guest<'_>) -> Served<u16> {
    let Some((_, width, height, bits)) = find(g, g.cx() & 0x1FF) else { return Ok(FAILED) };
    let pitch = width * pixel_bytes(bits);
    let size = u32::from(memory(g)) << 16;
    let base = frame_buffer(g);
    let last_page = ((size / (u32::from(pitch) * u32::from(height))).clamp(1, 256) - 1) as u8;
    let mut b = [0u8; 256];
    let mut put = |at: usize, bytes: &[u8]| b[at..at + bytes.len()].copy_from_slice(bytes);
    // Supported, with this information, in colour, graphics; with a frame buffer.
    put(0, &(0x1Bu16 | if base != 0 { 0x80 } else { 0 }).to_le_bytes());
    put(2, &[7, 0, 64, 0, 64, 0, 0x00, 0xA0, 0, 0]);
    put(12, &(u32::from(rom::SEGMENT) << 16 | u32::from(rom::at::VBE_BANK)).to_le_bytes());
    put(16, &pitch.to_le_bytes());
    put(18, &width.to_le_bytes());
    put(20, &height.to_le_bytes());
    put(22, &[8, 16, 1, bits as u8, 1, if bits == 8 { 4 } else { 6 }, 0, last_page, 1]);
    put(31, &masks(bits));
    put(39, &[if bits == 8 { 0 } else { 2 }]);
    put(40, &base.to_le_bytes());
    put(50, &pitch.to_le_bytes());
    put(52, &[last_page, last_page]);
    put(54, &masks(bits));
    put(62, &165_000_000u32.to_le_bytes());
    let at = g.in_segment(seg::ES, g.di());
    g.poke_bytes(at, &b)?;
    Ok(OK)
}

/// AL = 02h: BX is the mode, bit 14 its frame buffer, bit 15 keeps memory.
fn set_mode(g: &mut Guest<'_>) -> Served<u16> {
    let wanted = g.bx();
    if wanted & 0x1FF < 0x100 {
        let number = wanted as u8 & 0x7F | (wanted >> 8) as u8 & 0x80;
        mode::set(g, number)?;
        return Ok(OK);
    }
    let Some((number, width, height, bits)) = find(g, wanted & 0x1FF) else { return Ok(FAILED) };
    // Graphics registers and the palette of 256 colours below the dispi mode.
    mode::set(g, 0x13 | 0x80)?;
    for (index, v) in [(ENABLE, 0), (XRES, width), (YRES, height), (BPP, bits)] {
        set_dispi(g, index, v);
    }
    let keep = if wanted & 0x8000 != 0 { NO_CLEAR } else { 0 };
    set_dispi(g, ENABLE, ENABLED | LINEAR | keep);
    set_dispi(g, BANK, 0);
    g.set_bda(CURRENT, number | wanted & 0xC000)?;
    g.set_bda(bda::COLUMNS, width / 8)?;
    g.set_bda(bda::ROWS, (height / 16 - 1).min(255) as u8)?;
    g.set_bda(bda::CHAR_HEIGHT, 16u16)?;
    Ok(OK)
}

/// AL = 05h: the 64 KiB that window A shows.
fn bank(g: &mut Guest<'_>) -> u16 {
    if g.bl() != 0 {
        return FAILED;
    }
    if g.bh() & 1 == 0 {
        let wanted = g.dx();
        if wanted >= memory(g) {
            return FAILED;
        }
        set_dispi(g, BANK, wanted);
    } else {
        let now = dispi(g, BANK);
        g.set_dx(now);
    }
    OK
}

/// AL = 06h: the length of a line; CX in pixels (BL = 0) or bytes (2), 3 asks for the longest.
fn line_length(g: &mut Guest<'_>) -> u16 {
    let bits = dispi(g, BPP);
    let bytes = pixel_bytes(bits).max(1);
    let height = dispi(g, YRES).max(1);
    let total = u32::from(memory(g)) << 16;
    let longest = (total / u32::from(height) / u32::from(bytes)).min(0x7FF8) as u16;
    let wanted = match g.bl() {
        0 => g.cx(),
        1 => dispi(g, VIRT_WIDTH),
        2 => g.cx() / bytes,
        3 => longest,
        _ => return FAILED,
    };
    if wanted > longest || wanted < dispi(g, XRES) {
        return 0x024F;
    }
    if matches!(g.bl(), 0 | 2) {
        set_dispi(g, VIRT_WIDTH, wanted);
    }
    let pixels = if g.bl() == 3 { longest } else { dispi(g, VIRT_WIDTH) };
    let pitch = u32::from(pixels) * u32::from(bytes);
    g.set_bx(pitch.min(0xFFFF) as u16);
    g.set_cx(pixels);
    g.set_dx((total / pitch.max(1)).min(0xFFFF) as u16);
    OK
}

/// AL = 07h: the pixel in the upper left corner.
fn start(g: &mut Guest<'_>) -> u16 {
    match g.bl() {
        0x00 | 0x80 => {
            let (x, y) = (g.cx(), g.dx());
            set_dispi(g, X_OFFSET, x);
            set_dispi(g, Y_OFFSET, y);
            if (dispi(g, X_OFFSET), dispi(g, Y_OFFSET)) == (x, y) { OK } else { FAILED }
        }
        0x01 => {
            let (x, y) = (dispi(g, X_OFFSET), dispi(g, Y_OFFSET));
            g.set_bh(0);
            g.set_cx(x);
            g.set_dx(y);
            OK
        }
        _ => FAILED,
    }
}

/// AL = 08h: bits of a colour in the DAC.
fn dac_width(g: &mut Guest<'_>) -> u16 {
    let enable = dispi(g, ENABLE);
    match g.bl() {
        0 => {
            let eight = if g.bh() >= 8 { DAC_8BIT } else { 0 };
            set_dispi(g, ENABLE, enable & !DAC_8BIT | eight | NO_CLEAR);
        }
        1 => {}
        _ => return FAILED,
    }
    let eight = dispi(g, ENABLE) & DAC_8BIT != 0;
    g.set_bh(if eight { 8 } else { 6 });
    OK
}

/// AL = 09h: blue, green, red and a filler for CX entries from DX on, at ES:DI.
fn palette_data(g: &mut Guest<'_>) -> Served<u16> {
    let (at, first) = (g.in_segment(seg::ES, g.di()), g.dx());
    if g.cx() > 256 || first > 255 {
        return Ok(FAILED);
    }
    for i in 0..g.cx() {
        let entry = at + 4 * u64::from(i);
        let index = first.wrapping_add(i) as u8;
        match g.bl() {
            0x00 | 0x80 => {
                let [b, gr, r, _] = g.peek::<u32>(entry)?.to_le_bytes();
                palette::set_dac(g, index, [r, gr, b]);
            }
            0x01 => {
                let [r, gr, b] = palette::dac(g, index);
                g.poke(entry, u32::from_le_bytes([b, gr, r, 0]))?;
            }
            _ => return Ok(FAILED),
        }
    }
    Ok(OK)
}
