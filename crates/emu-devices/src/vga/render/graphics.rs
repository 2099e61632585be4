//! Graphics modes: planar, shifted (CGA), 256 colours, and the packed modes of the dispi registers.

use super::walk::Line;
use super::{Frame, View};

impl View<'_> {
    /// Scan lines that show the same memory: a picture has only the first of each group.
    pub(super) fn line_repeat(&self) -> usize {
        let c = &self.regs.crtc;
        let rows = if c[0x17] & 3 == 3 { usize::from(c[9] & 0x1F) + 1 } else { 1 };
        rows * (usize::from(c[9] >> 7) + 1)
    }

    /// The picture of a VGA graphics mode.
    pub(super) fn graphics_frame(&self) -> Frame {
        let r = self.regs;
        let wide_pixels = r.attr[0x10] & 0x40 != 0;
        let per_char = if wide_pixels { 4 } else { 8 };
        let (cols, repeat) = (r.columns(), self.line_repeat());
        let (width, height) = (cols * per_char, r.lines().div_ceil(repeat));
        let pan = usize::from(r.attr[0x13] & 7) / if wide_pixels { 2 } else { 1 };
        let palette = self.palette();
        let mut rgb = Vec::with_capacity(width * height * 3);
        for line in self.lines().step_by(repeat) {
            let pan = if line.unpanned { 0 } else { pan };
            for col in 0..=cols {
                let nibbles = self.nibbles(line, col);
                let first = if col == 0 { pan } else { 0 };
                let end = if col == cols { pan } else { per_char };
                for x in first..end {
                    let color = if wide_pixels {
                        self.dac.rgb(nibbles[2 * x] << 4 | nibbles[2 * x + 1])
                    } else {
                        palette[usize::from(nibbles[x])]
                    };
                    rgb.extend_from_slice(&color);
                }
            }
        }
        Frame { width, height, rgb }
    }

    /// The eight 4-bit values that the shift registers give for character `column` [VGA-TR 2-85].
    fn nibbles(&self, line: Line, column: usize) -> [u8; 8] {
        let p = self.fetch(line, column);
        match self.regs.gdc[5] >> 5 & 3 {
            0 => core::array::from_fn(|x| {
                let bit = |plane: u8| plane >> (7 - x) & 1;
                bit(p[0]) | bit(p[1]) << 1 | bit(p[2]) << 2 | bit(p[3]) << 3
            }),
            1 => core::array::from_fn(|x| {
                let (odd, shift) = (x / 4, 6 - 2 * (x % 4));
                p[odd] >> shift & 3 | (p[odd + 2] >> shift & 3) << 2
            }),
            _ => core::array::from_fn(|x| p[x / 2] >> if x % 2 == 0 { 4 } else { 0 } & 15),
        }
    }

    /// The picture of a dispi mode with four planes.
    pub(super) fn vbe_planar(&self) -> Frame {
        let v = self.vbe;
        let palette = self.palette();
        let mut frame = Frame::black(v.xres.into(), v.yres.into());
        for (y, row) in frame.rgb.chunks_exact_mut(usize::from(v.xres) * 3).enumerate() {
            let start = (y as u32 + u32::from(v.y_offset)) * v.pitch();
            for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
                let at = x as u32 + u32::from(v.x_offset);
                let shift = 7 - at % 8;
                let code = self
                    .planes(start + at / 8)
                    .iter()
                    .enumerate()
                    .fold(0, |code, (plane, byte)| code | usize::from(byte >> shift & 1) << plane);
                pixel.copy_from_slice(&palette[code]);
            }
        }
        frame
    }

    /// The picture of a dispi mode with packed pixels.
    pub(super) fn vbe_packed(&self) -> Frame {
        let v = self.vbe;
        let bytes = usize::from(v.bpp).div_ceil(8);
        let mut frame = Frame::black(v.xres.into(), v.yres.into());
        for (y, row) in frame.rgb.chunks_exact_mut(usize::from(v.xres) * 3).enumerate() {
            let start = (y + usize::from(v.y_offset)) * v.pitch() as usize + usize::from(v.x_offset) * bytes;
            let source = self.vram.get(start..).unwrap_or_default();
            for (pixel, from) in row.chunks_exact_mut(3).zip(source.chunks_exact(bytes)) {
                pixel.copy_from_slice(&self.packed_color(from));
            }
        }
        frame
    }

    /// The colour of a pixel of 1 to 4 bytes.
    fn packed_color(&self, from: &[u8]) -> [u8; 3] {
        let five = |v: u16| ((v & 31) << 3 | (v & 31) >> 2) as u8;
        let six = |v: u16| ((v & 63) << 2 | (v & 63) >> 4) as u8;
        match *from {
            [index] => self.dac.rgb(index),
            [low, high] => {
                let v = u16::from_le_bytes([low, high]);
                if self.vbe.bpp == 15 {
                    [five(v >> 10), five(v >> 5), five(v)]
                } else {
                    [five(v >> 11), six(v >> 5), five(v)]
                }
            }
            [blue, green, red, ..] => [red, green, blue],
            [] => [0; 3],
        }
    }
}
