//! Pixels and characters in graphics modes.

use super::super::bda;
use super::super::guest::{Guest, Served};
use super::text::Window;
use crate::vga::modes::Mode;

/// Vectors of the fonts: INT 43h, and INT 1Fh for the upper half in the CGA's modes.
const FONT: u64 = 0x43 * 4;
const UPPER_FONT: u64 = 0x1F * 4;
/// Graphics controller and sequencer.
const GDC: u16 = 0x3CE;
const SEQ: u16 = 0x3C4;
/// Bit of a colour: XOR with what is there.
const XOR: u8 = 0x80;

/// How pixels lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// CGA: two or one bits each, odd lines 8 KiB behind even ones.
    Packed(u8),
    /// Four planes.
    Planar,
    /// A byte each.
    Bytes,
}

/// A graphics mode's screen.
#[derive(Clone, Copy)]
pub(super) struct Screen {
    layout: Layout,
    columns: u16,
    rows: u16,
    height: u16,
    page_base: u64,
}

/// Draws in planes: the graphics controller's registers are set for it, and put back at the end.
fn gdc(g: &mut Guest<'_>, index: u8, value: u8) {
    g.output(GDC, 2, u32::from(value) << 8 | u32::from(index));
}

fn write_mode(g: &mut Guest<'_>, mode: u8) {
    g.outb(GDC, 5);
    let keep = g.inb(GDC + 1) & !3;
    g.outb(GDC + 1, keep | mode);
}

impl Screen {
    /// The screen of `mode`, if that is a graphics mode.
    pub(super) fn of(g: &mut Guest<'_>, mode: Option<&'static Mode>, page: u8) -> Served<Option<Screen>> {
        let Some(mode) = mode.filter(|m| !m.is_text()) else { return Ok(None) };
        let layout = match mode.number {
            4 | 5 => Layout::Packed(2),
            6 => Layout::Packed(1),
            0x13 => Layout::Bytes,
            _ => Layout::Planar,
        };
        let page_base = match layout {
            Layout::Packed(_) => 0xB_8000,
            Layout::Bytes => 0xA_0000,
            Layout::Planar => 0xA_0000 + (u64::from(page) * u64::from(g.bda::<u16>(bda::PAGE_BYTES)?) & 0xFFFF),
        };
        let rows = u16::from(g.bda::<u8>(bda::ROWS)?) + 1;
        let height = g.bda::<u16>(bda::CHAR_HEIGHT)?.clamp(1, 32);
        Ok(Some(Screen { layout, columns: mode.chars.0.into(), rows, height, page_base }))
    }

    /// Address of the byte with pixel `x` of line `y`.
    fn address(&self, x: u16, y: u16) -> u64 {
        let (x, y, columns) = (u64::from(x), u64::from(y), u64::from(self.columns));
        let offset = match self.layout {
            Layout::Packed(bits) => (y & 1) * 0x2000 + (y >> 1) * 80 + x * u64::from(bits) / 8,
            Layout::Planar => y * columns + x / 8,
            Layout::Bytes => y * columns * 8 + x,
        };
        (self.page_base & !0xFFFF) + (self.page_base + offset & 0xFFFF)
    }

    /// Writes one pixel; bit 7 of `color` XORs, but with 256 colours.
    pub(super) fn put_pixel(&self, g: &mut Guest<'_>, x: u16, y: u16, color: u8) -> Served {
        let at = self.address(x, y);
        match self.layout {
            Layout::Bytes => g.poke(at, color),
            Layout::Packed(bits) => {
                let (mask, shift) = packed(bits, x);
                let old: u8 = g.peek(at)?;
                let value = color << shift & mask;
                g.poke(at, if color & XOR != 0 { old ^ value } else { old & !mask | value })
            }
            Layout::Planar => {
                self.start_planar(g, 2, color);
                gdc(g, 8, 0x80 >> (x & 7));
                g.peek::<u8>(at)?;
                g.poke(at, color & 0xF)?;
                end_planar(g);
                Ok(())
            }
        }
    }

    /// Reads one pixel.
    pub(super) fn pixel(&self, g: &mut Guest<'_>, x: u16, y: u16) -> Served<u8> {
        let at = self.address(x, y);
        match self.layout {
            Layout::Bytes => g.peek(at),
            Layout::Packed(bits) => {
                let (mask, shift) = packed(bits, x);
                Ok((g.peek::<u8>(at)? & mask) >> shift)
            }
            Layout::Planar => {
                let mut color = 0;
                for plane in 0..4 {
                    gdc(g, 4, plane);
                    color |= (g.peek::<u8>(at)? >> (7 - (x & 7)) & 1) << plane;
                }
                gdc(g, 4, 0);
                Ok(color)
            }
        }
    }

    fn start_planar(&self, g: &mut Guest<'_>, mode: u8, color: u8) {
        g.output(SEQ, 2, 0x0F02);
        write_mode(g, mode);
        gdc(g, 3, if color & XOR != 0 && mode == 2 { 0x18 } else { 0 });
    }

    /// The glyph of `c`.
    fn glyph(&self, g: &mut Guest<'_>, c: u8) -> Served<[u8; 32]> {
        let upper = matches!(self.layout, Layout::Packed(_)) && c >= 0x80;
        let (vector, index) = if upper { (UPPER_FONT, c & 0x7F) } else { (FONT, c) };
        let font: u32 = g.peek(vector)?;
        let at = Guest::at((font >> 16) as u16, font as u16) + u64::from(index) * u64::from(self.height);
        let mut rows = [0; 32];
        g.peek_bytes(at, &mut rows[..usize::from(self.height)])?;
        Ok(rows)
    }

    /// Draws a character; the background is colour 0, or with XOR what is there.
    pub(super) fn draw(&self, g: &mut Guest<'_>, row: u8, column: u8, c: u8, color: u8) -> Served {
        let rows = self.glyph(g, c)?;
        let (x, top) = (u16::from(column) * 8, u16::from(row) * self.height);
        for (y, bits) in (top..).zip(&rows[..usize::from(self.height)]) {
            match self.layout {
                Layout::Planar => {
                    let at = self.address(x, y);
                    self.start_planar(g, 2, color);
                    let parts = [(*bits, color & 0xF), (!bits, 0)];
                    for (mask, color) in &parts[..if color & XOR != 0 { 1 } else { 2 }] {
                        gdc(g, 8, *mask);
                        g.peek::<u8>(at)?;
                        g.poke(at, *color)?;
                    }
                }
                _ => {
                    for i in 0..8 {
                        let ink = if bits >> (7 - i) & 1 != 0 { color } else { color & XOR };
                        let ink = if self.layout == Layout::Bytes && bits >> (7 - i) & 1 == 0 { 0 } else { ink };
                        self.put_pixel(g, x + i, y, ink)?;
                    }
                }
            }
        }
        if self.layout == Layout::Planar {
            end_planar(g);
        }
        Ok(())
    }

    /// The character whose glyph stands at a cell; 0 if none does.
    pub(super) fn character(&self, g: &mut Guest<'_>, row: u8, column: u8) -> Served<u8> {
        let mut seen = [0u8; 32];
        let (x, top) = (u16::from(column) * 8, u16::from(row) * self.height);
        for (y, bits) in (top..).zip(&mut seen[..usize::from(self.height)]) {
            for i in 0..8 {
                *bits = *bits << 1 | u8::from(self.pixel(g, x + i, y)? != 0);
            }
        }
        for c in 0..=255 {
            if self.glyph(g, c)? == seen {
                return Ok(c);
            }
        }
        Ok(0)
    }

    /// Scrolls as `text::scroll` does; `color` fills.
    pub(super) fn scroll(&self, g: &mut Guest<'_>, up: bool, lines: u8, w: Window, color: u8) -> Served {
        let bottom = u16::from(w.bottom).min(self.rows - 1);
        let right = u16::from(w.right).min(self.columns - 1);
        let (top, left) = (u16::from(w.top), u16::from(w.left));
        if top > bottom || left > right {
            return Ok(());
        }
        let height = (bottom - top + 1) * self.height;
        let by = if lines == 0 { height } else { (u16::from(lines) * self.height).min(height) };
        for i in 0..height {
            let y = if up { top * self.height + i } else { (bottom + 1) * self.height - 1 - i };
            let source = (i < height - by).then(|| if up { y + by } else { y - by });
            self.move_line(g, y, source, (left, right), color)?;
        }
        if self.layout == Layout::Planar {
            end_planar(g);
        }
        Ok(())
    }

    /// Copies line `source` to line `y` between two columns, or fills it.
    fn move_line(&self, g: &mut Guest<'_>, y: u16, source: Option<u16>, columns: (u16, u16), color: u8) -> Served {
        let (from, to) = (columns.0 * 8, columns.1 * 8 + 8);
        let to_at = self.address(from, y);
        let bytes = match self.layout {
            Layout::Packed(bits) => (to - from) * u16::from(bits) / 8,
            Layout::Planar => (to - from) / 8,
            Layout::Bytes => to - from,
        };
        if self.layout == Layout::Planar {
            self.start_planar(g, if source.is_some() { 1 } else { 2 }, 0);
        }
        let fill = match self.layout {
            Layout::Packed(2) => (color & 3) * 0x55,
            Layout::Packed(_) => (color & 1) * 0xFF,
            Layout::Planar => color & 0xF,
            Layout::Bytes => color,
        };
        let source = source.map(|s| self.address(from, s));
        for i in 0..u64::from(bytes) {
            let byte = match source {
                Some(at) => g.peek(at + i)?,
                None => fill,
            };
            g.poke(to_at + i, byte)?;
        }
        Ok(())
    }
}

/// Mask and shift of a pixel in its byte.
fn packed(bits: u8, x: u16) -> (u8, u32) {
    if bits == 2 {
        let shift = 6 - 2 * (u32::from(x) & 3);
        (3 << shift, shift)
    } else {
        let shift = 7 - (u32::from(x) & 7);
        (1 << shift, shift)
    }
}

fn end_planar(g: &mut Guest<'_>) {
    gdc(g, 8, 0xFF);
    gdc(g, 3, 0);
    write_mode(g, 0);
}

/// INT 10h, AH = 0Ch and 0Dh.
pub(super) fn pixel_service(g: &mut Guest<'_>) -> Served {
    let (mode, page) = (super::current(g)?, g.bh());
    let Some(screen) = Screen::of(g, mode, page)? else { return Ok(()) };
    let (x, y) = (g.cx(), g.dx());
    if x >= screen.columns * 8 || y >= screen.rows * screen.height {
        return Ok(());
    }
    if g.ah() == 0x0C {
        let color = g.al();
        return screen.put_pixel(g, x, y, color);
    }
    let color = screen.pixel(g, x, y)?;
    g.set_al(color);
    Ok(())
}
