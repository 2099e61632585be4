//! What the terminal shall show: the guest's screen, cut or scaled to the terminal, with the menu's line over it.

use emu_devices::vga::cp437;
use emu_machine::host::{Frame, TextFrame};

/// A colour of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    /// One of the 16 of VGA text, in its order.
    Vga(u8),
    /// Red, green, blue.
    Rgb(u8, u8, u8),
}

/// One cell of the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) c: char,
    pub(super) fg: Colour,
    pub(super) bg: Colour,
    pub(super) blink: bool,
}

impl Cell {
    pub(super) const BLANK: Cell = Cell { c: ' ', fg: Colour::Vga(7), bg: Colour::Vga(0), blink: false };
}

/// All cells of the terminal, and where its cursor stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    pub(super) columns: usize,
    pub(super) rows: usize,
    pub(super) cells: Vec<Cell>,
    pub(super) cursor: Option<(usize, usize)>,
}

impl View {
    fn blank((columns, rows): (u16, u16)) -> View {
        let (columns, rows) = (usize::from(columns.clamp(1, 1000)), usize::from(rows.clamp(1, 1000)));
        View { columns, rows, cells: vec![Cell::BLANK; columns * rows], cursor: None }
    }

    fn put(&mut self, x: usize, y: usize, cell: Cell) {
        if x < self.columns && y < self.rows {
            self.cells[y * self.columns + x] = cell;
        }
    }

    /// Writes `text` over row `y`, black on grey.
    fn write_line(&mut self, y: usize, text: &str) {
        let letters = text.chars().map(|c| if c.is_control() { ' ' } else { c }).chain(core::iter::repeat(' '));
        for (x, c) in letters.take(self.columns).enumerate() {
            self.put(x, y, Cell { c, fg: Colour::Vga(0), bg: Colour::Vga(7), blink: false });
        }
    }
}

/// Puts `frame` on a terminal of `size` (columns, rows), with `line` in its last row.
pub(super) fn compose(frame: &Frame, line: Option<&str>, size: (u16, u16)) -> View {
    let mut view = View::blank(size);
    let cut = match frame {
        Frame::Text(text) => draw_text(&mut view, text, line.is_some()),
        Frame::Picture { width, height, rgb } => {
            draw_picture(&mut view, *width, *height, rgb);
            None
        }
    };
    let last = view.rows - 1;
    if let Some(text) = line.map(str::to_owned).or(cut) {
        view.write_line(last, &text);
        view.cursor = view.cursor.filter(|c| c.1 != last);
    }
    view
}

/// Draws text; what does not fit is cut around the cursor. Returns a message where it was cut.
fn draw_text(view: &mut View, text: &TextFrame, has_line: bool) -> Option<String> {
    let fits = text.columns <= view.columns && text.rows <= view.rows;
    // The message's row is taken off what can be seen, unless it would leave nothing.
    let rows = if fits && !has_line { view.rows } else { (view.rows - 1).max(1) };
    let (cx, cy) = text.cursor.unwrap_or((0, 0));
    let left = first_visible(cx, text.columns, view.columns);
    let top = if fits { 0 } else { first_visible(cy, text.rows, rows) };
    for y in 0..text.rows.min(view.rows) {
        for x in 0..text.columns.min(view.columns) {
            let at = (y + top) * text.columns + x + left;
            if let Some(&cell) = text.cells.get(at).filter(|_| y + top < text.rows) {
                view.put(x, y, text_cell(cell, text.blink));
            }
        }
    }
    let cursor = text.cursor.map(|(x, y)| (x.wrapping_sub(left), y.wrapping_sub(top)));
    view.cursor = cursor.filter(|&(x, y)| x < view.columns && y < view.rows);
    (!fits).then(|| format!("{}x{} of {}x{}; Ctrl-] menu", view.columns, rows, text.columns, text.rows))
}

/// The first column (or row) to be shown, so that `cursor` is among `room` of `all`.
fn first_visible(cursor: usize, all: usize, room: usize) -> usize {
    (cursor + 1).saturating_sub(room).min(all.saturating_sub(room))
}

fn text_cell((code, attribute): (u8, u8), blinks: bool) -> Cell {
    let background = if blinks { attribute >> 4 & 7 } else { attribute >> 4 };
    Cell {
        c: Some(cp437(code)).filter(|&c| c != '\u{A0}').unwrap_or(' '),
        fg: Colour::Vga(attribute & 15),
        bg: Colour::Vga(background),
        blink: blinks && attribute & 0x80 != 0,
    }
}

/// Draws a picture scaled to fit, two pixels per cell: the upper one in the foreground of a half block.
fn draw_picture(view: &mut View, width: usize, height: usize, rgb: &[u8]) {
    if width == 0 || height == 0 || rgb.len() < width * height * 3 {
        return;
    }
    let (room_w, room_h) = (view.columns, view.rows * 2);
    // The largest size of the same shape; pixels of a half block are about square.
    let shown_w = room_w.min(room_h * width * 3 / (height * 3).max(1)).max(1).min(width.max(room_w));
    let shown_h = (shown_w * height / width).clamp(1, room_h);
    let pixel = |x: usize, y: usize| {
        average(rgb, width, (x * width, (x + 1) * width), shown_w, (y * height, (y + 1) * height), shown_h)
    };
    for y in 0..shown_h.div_ceil(2) {
        for x in 0..shown_w {
            let upper = pixel(x, 2 * y);
            let lower = if 2 * y + 1 < shown_h { pixel(x, 2 * y + 1) } else { Colour::Vga(0) };
            view.put(x, y, Cell { c: '▀', fg: upper, bg: lower, blink: false });
        }
    }
}

/// The mean colour of the source pixels from `x.0 / nx` to `x.1 / nx` and from `y.0 / ny` to `y.1 / ny`.
fn average(rgb: &[u8], width: usize, x: (usize, usize), nx: usize, y: (usize, usize), ny: usize) -> Colour {
    let (x0, x1) = (x.0 / nx, (x.1 / nx).max(x.0 / nx + 1));
    let (y0, y1) = (y.0 / ny, (y.1 / ny).max(y.0 / ny + 1));
    let (mut sum, mut n) = ([0usize; 3], 0);
    for row in y0..y1 {
        for column in x0..x1 {
            let at = (row * width + column) * 3;
            if let Some(p) = rgb.get(at..at + 3) {
                sum.iter_mut().zip(p).for_each(|(s, &v)| *s += usize::from(v));
                n += 1;
            }
        }
    }
    let n = n.max(1);
    Colour::Rgb((sum[0] / n) as u8, (sum[1] / n) as u8, (sum[2] / n) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(cursor: (usize, usize)) -> Frame {
        let cells = (0..80 * 25).map(|i| (b'A' + (i / 80) as u8, 0x1E)).collect();
        Frame::Text(TextFrame { columns: 80, rows: 25, cells, blink: true, cursor: Some(cursor) })
    }

    fn row(view: &View, y: usize) -> String {
        view.cells[y * view.columns..(y + 1) * view.columns].iter().map(|c| c.c).collect()
    }

    #[test]
    fn a_large_terminal_shows_everything() {
        let v = compose(&screen((3, 24)), None, (100, 30));
        assert_eq!((&row(&v, 24)[..2], v.cells[0].bg, v.cells[0].fg), ("YY", Colour::Vga(1), Colour::Vga(14)));
        assert_eq!((row(&v, 25).trim(), v.cursor), ("", Some((3, 24))));
    }

    #[test]
    fn a_tiny_terminal_shows_where_the_cursor_is() {
        let v = compose(&screen((30, 24)), None, (20, 5));
        assert_eq!([&row(&v, 0)[..1], &row(&v, 3)[..1]], ["V", "Y"]);
        assert!(row(&v, 4).starts_with("20x4 of 80x25"));
        assert_eq!(v.cursor, Some((19, 3)));
        let one = compose(&screen((0, 0)), Some("menu"), (1, 1));
        assert_eq!(one.cells.len(), 1);
    }

    #[test]
    fn pictures_become_half_blocks_of_the_same_shape() {
        let rgb = [[255, 0, 0].repeat(320 * 100), [0, 0, 255].repeat(320 * 100)].concat();
        let v = compose(&Frame::Picture { width: 320, height: 200, rgb }, None, (80, 25));
        assert_eq!(v.cells[0], Cell { c: '▀', fg: Colour::Rgb(255, 0, 0), bg: Colour::Rgb(255, 0, 0), blink: false });
        assert_eq!(v.cells[20 * 80].bg, Colour::Rgb(0, 0, 255));
        compose(&Frame::Picture { width: 5, height: 5, rgb: vec![] }, None, (80, 25)); // short data draw nothing
    }
}
