//! The CRTC's walk through memory: which address and which row of the character each scan line shows.

use super::super::memory::cell;
use super::View;

/// A scan line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Memory address counter at its first character.
    base: u32,
    /// Row of the character.
    pub(super) row: u8,
    /// Whether it is the first line of a row of characters, or of the screen.
    pub(super) starts_row: bool,
    /// Whether it lies below the line compare, with panning held off there.
    pub(super) unpanned: bool,
}

impl View<'_> {
    /// The scan lines of a frame, from the top [VGA-TR 2-66 to 2-77].
    pub(super) fn lines(&self) -> impl Iterator<Item = Line> {
        let c = &self.regs.crtc;
        let (last_row, doubled) = (c[9] & 0x1F, c[9] & 0x80 != 0);
        let (pitch, compare) = (u32::from(c[0x13]) * 2, self.regs.line_compare());
        let holds_panning = self.regs.attr[0x10] & 0x20 != 0;
        let base = u32::from(self.regs.wide(0x0C)) + u32::from(c[8] >> 5 & 3);
        let mut line = Line { base, row: c[8] & 0x1F, starts_row: true, unpanned: false };
        let mut second = false;
        (0..self.regs.lines()).map(move |y| {
            let shown = line;
            line.starts_row = false;
            if y == compare {
                line = Line { base: 0, row: 0, starts_row: true, unpanned: holds_panning };
                second = false;
            } else if doubled && !second {
                second = true;
            } else {
                second = false;
                if line.row == last_row {
                    (line.base, line.row, line.starts_row) = (line.base + pitch, 0, true);
                } else {
                    line.row = (line.row + 1) & 0x1F;
                }
            }
            shown
        })
    }

    /// Memory address counter at character `column` of `line`.
    pub(super) fn counter(&self, line: Line, column: usize) -> u32 {
        let c = &self.regs.crtc;
        let step = if c[0x14] & 0x20 != 0 { 2 } else { u32::from(c[0x17] >> 3 & 1) };
        (line.base + (column as u32 >> step)) & 0xFFFF
    }

    /// Plane address for counter `ma` in row `row`: byte, word or doubleword addressing, and the two row bits that CGA
    /// and Hercules compatible modes put into it [VGA-TR 2-72 to 2-75].
    pub(super) fn address(&self, ma: u32, row: u8) -> u32 {
        let (underline, mode) = (self.regs.crtc[0x14], self.regs.crtc[0x17]);
        let mut a = if underline & 0x40 != 0 {
            ma << 2 | ma >> 12 & 3
        } else if mode & 0x40 == 0 {
            let wrap = if mode & 0x20 != 0 { 15 } else { 13 };
            ma << 1 | ma >> wrap & 1
        } else {
            ma
        };
        if mode & 1 == 0 {
            a = a & !0x2000 | u32::from(row & 1) << 13;
        }
        if mode & 2 == 0 {
            a = a & !0x4000 | u32::from(row >> 1 & 1) << 14;
        }
        a & 0xFFFF
    }

    /// The four planes' bytes at plane address `a`.
    pub(super) fn planes(&self, a: u32) -> [u8; 4] {
        let at = cell(a) as usize * 4;
        self.vram.get(at..).and_then(|v| v.first_chunk()).copied().unwrap_or([0; 4])
    }

    /// The four planes' bytes of character `column` of `line`.
    pub(super) fn fetch(&self, line: Line, column: usize) -> [u8; 4] {
        self.planes(self.address(self.counter(line, column), line.row))
    }
}
