//! Text modes.

use super::walk::Line;
use super::{Frame, View, cp437};

/// A character on the screen: its code (CP437 in the usual fonts) and its attribute.
pub type Cell = (u8, u8);

/// The cursor of a text screen, when it is switched on and in sight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Column from 0.
    pub col: usize,
    /// Row from 0.
    pub row: usize,
    /// First and last scan line of the character that it fills.
    pub shape: (u8, u8),
}

/// The characters on a screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextScreen {
    /// Columns.
    pub cols: usize,
    /// Rows.
    pub rows: usize,
    /// `cols * rows` cells, row by row.
    pub cells: Vec<Cell>,
    /// The cursor.
    pub cursor: Option<Cursor>,
}

impl TextScreen {
    /// Row `row` as Unicode, with its trailing blanks; empty beyond the last row.
    #[must_use]
    pub fn row_text(&self, row: usize) -> String {
        let cells = self.cells.chunks(self.cols.max(1)).nth(row).unwrap_or_default();
        cells.iter().map(|&(code, _)| cp437(code)).collect()
    }
}

/// Where each of the eight fonts stands in plane 2 [VGA-TR 2-49].
const FONT_BASES: [u32; 8] = [0x0000, 0x4000, 0x8000, 0xC000, 0x2000, 0x6000, 0xA000, 0xE000];

impl View<'_> {
    /// Whether characters that blink are in their dark half: 16 frames of 32.
    fn blinked_out(&self) -> bool {
        self.frames & 16 != 0
    }

    /// The cursor's address and lines, when it is switched on [VGA-TR 2-67].
    fn cursor(&self) -> Option<(u32, (u8, u8))> {
        let c = &self.regs.crtc;
        let shape = (c[0x0A] & 0x1F, c[0x0B] & 0x1F);
        (c[0x0A] & 0x20 == 0 && shape.0 <= shape.1).then_some((self.regs.wide(0x0E).into(), shape))
    }

    /// Offsets in plane 2 of the fonts for attribute bit 3 clear and set.
    fn fonts(&self) -> [u32; 2] {
        let s = self.regs.seq[3];
        let base = |low: u8, high: u8| FONT_BASES[usize::from(s >> low & 3 | (s >> high & 1) << 2)];
        [base(0, 4), base(2, 5)]
    }

    /// Character and attribute at `column` of `line`.
    fn cell_at(&self, line: Line, column: usize) -> Cell {
        let [code, attr, ..] = self.fetch(line, column);
        (code, attr)
    }

    /// The characters on the screen; `None` in graphics and VBE modes, and before any mode was set.
    pub(in super::super) fn text_screen(&self) -> Option<TextScreen> {
        if self.vbe.enabled() || !self.is_text() || self.regs.seq[0] & 3 != 3 || self.regs.crtc[1] == 0 {
            return None;
        }
        let cols = self.regs.columns();
        let mut screen = TextScreen { cols, ..TextScreen::default() };
        for line in self.lines().filter(|l| l.starts_row) {
            for col in 0..cols {
                screen.cells.push(self.cell_at(line, col));
                if let Some((_, shape)) = self.cursor().filter(|c| c.0 == self.counter(line, col)) {
                    screen.cursor = Some(Cursor { col, row: screen.rows, shape });
                }
            }
            screen.rows += 1;
        }
        Some(screen)
    }

    /// The picture of a text mode.
    pub(super) fn text_frame(&self) -> Frame {
        let (dots, cols) = (self.regs.char_dots(), self.regs.columns());
        let palette = self.palette();
        let doubled = usize::from(self.regs.crtc[9] >> 7) + 1;
        let (width, height) = (cols * dots, self.regs.lines().div_ceil(doubled));
        let pan = usize::from(self.regs.attr[0x13] & 15);
        // With nine dots, 8 stands for no shift and 0 for one dot [VGA-TR 2-95].
        let pan = if dots == 8 { pan & 7 } else { (pan + 1) % 9 };
        let mut rgb = Vec::with_capacity(width * height * 3);
        let mut codes = vec![0; (cols + 1) * dots];
        for line in self.lines().step_by(doubled) {
            for (col, out) in codes.chunks_mut(dots).enumerate() {
                self.draw_cell(line, col, out);
            }
            let skip = if line.unpanned { 0 } else { pan };
            codes[skip..skip + width].iter().for_each(|&c| rgb.extend_from_slice(&palette[usize::from(c)]));
        }
        Frame { width, height, rgb }
    }

    /// Attribute codes of one row of dots of a character.
    fn draw_cell(&self, line: Line, col: usize, out: &mut [u8]) {
        let (code, attr) = self.cell_at(line, col);
        let mode = self.regs.attr[0x10];
        let blinks = mode & 8 != 0;
        let back = attr >> 4 & if blinks { 7 } else { 15 };
        let fore = if blinks && attr & 0x80 != 0 && self.blinked_out() { back } else { attr & 15 };
        let font = self.fonts()[usize::from(attr >> 3 & 1)];
        let bits = self.planes(font + u32::from(code) * 32 + u32::from(line.row))[2];
        let underlined = attr & 0x77 == 1 && line.row == self.regs.crtc[0x14] & 0x1F;
        let solid = underlined || self.cursor_covers(line, col);
        // In line drawing characters the ninth dot repeats the eighth.
        let extends = mode & 4 != 0 && (0xC0..=0xDF).contains(&code) && bits & 1 != 0;
        for (x, dot) in out.iter_mut().enumerate() {
            let on = solid || if x < 8 { bits & 0x80 >> x != 0 } else { extends };
            *dot = if on { fore } else { back };
        }
    }

    /// Whether the cursor fills this row of the character. It shows in 8 frames of 16.
    fn cursor_covers(&self, line: Line, col: usize) -> bool {
        self.frames & 8 == 0
            && self.cursor().is_some_and(|(address, (first, last))| {
                (first..=last).contains(&line.row) && address == self.counter(line, col)
            })
    }
}
