//! Where in video memory a place of the screen lies: for those who ask who wrote it.

use super::super::memory::cell;
use super::View;
use super::walk::Line;

/// First byte and number of bytes in video memory.
type Bytes = (usize, usize);

impl View<'_> {
    /// Character and attribute of a cell of a text mode.
    pub(in super::super) fn cell_bytes(&self, row: usize, col: usize) -> Option<Bytes> {
        if self.vbe.enabled() || !self.is_text() || col >= self.regs.columns() {
            return None;
        }
        let line = self.lines().filter(|l| l.starts_row).nth(row)?;
        Some((self.word(line, col), 2))
    }

    /// The bytes that hold a pixel; of a text mode, those of its cell.
    pub(in super::super) fn pixel_bytes(&self, x: usize, y: usize) -> Option<Bytes> {
        if self.vbe.enabled() {
            return self.vbe_pixel(x, y);
        }
        let r = self.regs;
        if self.is_text() {
            let doubled = usize::from(r.crtc[9] >> 7) + 1;
            let lines: Vec<Line> = self.lines().step_by(doubled).take(y + 1).collect();
            let line = lines.get(y)?;
            let col = x / r.char_dots();
            return (col < r.columns()).then(|| (self.word(*line, col), 2));
        }
        let wide_pixels = r.attr[0x10] & 0x40 != 0;
        let per_char = if wide_pixels { 4 } else { 8 };
        if x >= r.columns() * per_char {
            return None;
        }
        let line = self.lines().step_by(self.line_repeat()).nth(y)?;
        let pan = usize::from(r.attr[0x13] & 7) / if wide_pixels { 2 } else { 1 };
        let x = x + if line.unpanned { 0 } else { pan };
        Some((self.word(line, x / per_char), 4))
    }

    fn vbe_pixel(&self, x: usize, y: usize) -> Option<Bytes> {
        let v = self.vbe;
        if x >= v.xres.into() || y >= v.yres.into() {
            return None;
        }
        let (x, y) = (x + usize::from(v.x_offset), y + usize::from(v.y_offset));
        if v.planar() {
            let a = (y * v.pitch() as usize + x / 8) as u32;
            return Some((cell(a) as usize * 4, 4));
        }
        let bytes = usize::from(v.bpp).div_ceil(8);
        Some((y * v.pitch() as usize + x * bytes, bytes))
    }

    /// Where the four planes' bytes of character `column` of `line` lie.
    fn word(&self, line: Line, column: usize) -> usize {
        cell(self.address(self.counter(line, column), line.row)) as usize * 4
    }
}
