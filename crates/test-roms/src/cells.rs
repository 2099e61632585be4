//! An 80x25 text screen painted while the program is assembled, so that the guest only copies it.

use crate::cp437;

pub(crate) const COLUMNS: usize = 80;
pub(crate) const ROWS: usize = 25;

/// Sides on which a cell's line goes on.
const UP: u8 = 1;
const DOWN: u8 = 2;
const LEFT: u8 = 4;
const RIGHT: u8 = 8;
/// The single-line characters by their sides.
const LINES: [char; 16] = [' ', '│', '│', '│', '─', '┘', '┐', '┤', '─', '└', '┌', '├', '─', '┴', '┬', '┼'];

/// A text screen: per cell a character, its attribute, and the sides of the line through it.
pub(crate) struct Cells {
    cells: Vec<(u8, u8, u8)>,
}

/// Offset of a cell in text memory.
pub(crate) const fn at(row: u32, column: u32) -> u32 {
    (row * 80 + column) * 2
}

impl Cells {
    pub(crate) fn new(attribute: u8) -> Cells {
        Cells { cells: vec![(b' ', attribute, 0); COLUMNS * ROWS] }
    }

    fn set(&mut self, row: usize, column: usize, change: impl FnOnce(&mut (u8, u8, u8))) {
        if let Some(cell) = self.cells.get_mut(row * COLUMNS + column).filter(|_| column < COLUMNS) {
            change(cell);
        }
    }

    /// Writes `text` from a cell on; what is beyond the right edge is cut off.
    pub(crate) fn text(&mut self, row: usize, column: usize, attribute: u8, text: &str) {
        for (n, &code) in cp437::encode(text).iter().enumerate() {
            self.set(row, column + n, |cell| *cell = (code, attribute, 0));
        }
    }

    /// Gives `len` cells an attribute.
    pub(crate) fn paint(&mut self, row: usize, column: usize, len: usize, attribute: u8) {
        for n in 0..len {
            self.set(row, column + n, |cell| cell.1 = attribute);
        }
    }

    /// Joins a line to a cell.
    fn line(&mut self, row: usize, column: usize, attribute: u8, sides: u8) {
        self.set(row, column, |cell| {
            cell.2 |= sides;
            let character = LINES.get(usize::from(cell.2)).copied().unwrap_or(' ');
            (cell.0, cell.1) = (cp437::code(character), attribute);
        });
    }

    /// A frame around `rows` and `columns` (both inclusive); frames that touch join.
    pub(crate) fn frame(&mut self, rows: (usize, usize), columns: (usize, usize), attribute: u8) {
        for column in columns.0..=columns.1 {
            let sides = if column > columns.0 { LEFT } else { 0 } | if column < columns.1 { RIGHT } else { 0 };
            self.line(rows.0, column, attribute, sides);
            self.line(rows.1, column, attribute, sides);
        }
        for row in rows.0..=rows.1 {
            let sides = if row > rows.0 { UP } else { 0 } | if row < rows.1 { DOWN } else { 0 };
            self.line(row, columns.0, attribute, sides);
            self.line(row, columns.1, attribute, sides);
        }
    }

    /// A picture of half-character dots: `#` is set; two rows of dots make one of characters.
    pub(crate) fn dots(&mut self, row: usize, column: usize, attribute: u8, dots: &[&str]) {
        let set = |y: usize, x: usize| dots.get(y).is_some_and(|line| line.as_bytes().get(x) == Some(&b'#'));
        let width = dots.iter().map(|line| line.len()).max().unwrap_or(0);
        for y in 0..dots.len().div_ceil(2) {
            for x in 0..width {
                let character = match (set(2 * y, x), set(2 * y + 1, x)) {
                    (false, false) => continue,
                    (true, false) => "▀",
                    (false, true) => "▄",
                    (true, true) => "█",
                };
                self.text(row + y, column + x, attribute, character);
            }
        }
    }

    /// The screen as it lies in text memory: 4000 bytes.
    pub(crate) fn image(&self) -> Vec<u8> {
        self.cells.iter().flat_map(|&(character, attribute, _)| [character, attribute]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_share_a_wall_join() {
        let mut cells = Cells::new(7);
        cells.frame((0, 2), (0, 3), 8);
        cells.frame((0, 2), (3, 6), 8);
        let row = |n: usize| -> Vec<u8> { cells.image()[n * 160..n * 160 + 14].iter().step_by(2).copied().collect() };
        assert_eq!(row(0), cp437::encode("┌──┬──┐"));
        assert_eq!(row(1), cp437::encode("│  │  │"));
        assert_eq!(row(2), cp437::encode("└──┴──┘"));
    }
}
