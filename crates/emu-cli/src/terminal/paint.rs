//! Drawing: from one view to the next with as few bytes as that takes.

use std::io::Write;

use super::view::{Cell, Colour, View};

/// What the terminal shows at present.
#[derive(Debug, Default)]
pub(super) struct Painter {
    shown: Option<View>,
}

impl Painter {
    /// The terminal's contents are not known any more.
    pub(super) fn forget(&mut self) {
        self.shown = None;
    }

    /// Appends to `out` what turns the terminal's contents into `view`.
    pub(super) fn paint(&mut self, view: &View, out: &mut Vec<u8>) {
        let old = self.shown.take().filter(|o| (o.columns, o.rows) == (view.columns, view.rows));
        if old.is_none() {
            out.extend_from_slice(b"\x1B[0m\x1B[2J");
        }
        out.extend_from_slice(b"\x1B[?25l");
        let mut pen = None;
        for y in 0..view.rows {
            let mut at = None;
            for x in 0..view.columns {
                let i = y * view.columns + x;
                let before = old.as_ref().map_or(Cell::BLANK, |o| o.cells[i]);
                if before == view.cells[i] {
                    continue;
                }
                if at != Some(x) {
                    write(out, format_args!("\x1B[{};{}H", y + 1, x + 1));
                }
                put_cell(&view.cells[i], &mut pen, out);
                at = Some(x + 1);
            }
        }
        if let Some((x, y)) = view.cursor {
            write(out, format_args!("\x1B[0m\x1B[{};{}H\x1B[?25h", y + 1, x + 1));
        }
        self.shown = Some(view.clone());
    }
}

fn write(out: &mut Vec<u8>, text: core::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a vector takes everything");
}

fn put_cell(cell: &Cell, pen: &mut Option<(Colour, Colour, bool)>, out: &mut Vec<u8>) {
    let wanted = (cell.fg, cell.bg, cell.blink);
    if *pen != Some(wanted) {
        out.extend_from_slice(if cell.blink { b"\x1B[0;5;" } else { b"\x1B[0;" });
        colour(cell.fg, 30, out);
        out.push(b';');
        colour(cell.bg, 40, out);
        out.push(b'm');
        *pen = Some(wanted);
    }
    let mut buf = [0; 4];
    out.extend_from_slice(cell.c.encode_utf8(&mut buf).as_bytes());
}

/// The SGR parameters of a colour; `base` is 30 for the foreground and 40 for the background [ECMA-48 8.3.117].
fn colour(c: Colour, base: u8, out: &mut Vec<u8>) {
    /// VGA counts blue, green, red from bit 0 up; terminals count red, green, blue.
    const ORDER: [u8; 8] = [0, 4, 2, 6, 1, 5, 3, 7];
    match c {
        Colour::Vga(n) => {
            let bright = if n & 8 != 0 { 60 } else { 0 };
            write(out, format_args!("{}", base + bright + ORDER[usize::from(n & 7)]));
        }
        Colour::Rgb(r, g, b) => write(out, format_args!("{};2;{r};{g};{b}", base + 8)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use emu_machine::host::{Frame, TextFrame};

    fn view(text: &[u8]) -> View {
        let cells = text.iter().map(|&c| (c, 0x4F)).collect();
        let frame = TextFrame { columns: text.len(), rows: 1, cells, blink: false, cursor: Some((1, 0)) };
        super::super::view::compose(&Frame::Text(frame), None, (10, 2))
    }

    fn paint(p: &mut Painter, v: &View) -> String {
        let mut out = Vec::new();
        p.paint(v, &mut out);
        String::from_utf8(out).unwrap().replace('\x1B', "~")
    }

    #[test]
    fn only_differences_are_drawn() {
        let mut p = Painter::default();
        let first = paint(&mut p, &view(b"abc"));
        assert_eq!(first, "~[0m~[2J~[?25l~[1;1H~[0;97;41mabc~[0m~[1;2H~[?25h");
        assert_eq!(paint(&mut p, &view(b"abX")), "~[?25l~[1;3H~[0;97;41mX~[0m~[1;2H~[?25h");
        p.forget();
        assert!(paint(&mut p, &view(b"abX")).contains("~[2J"));
    }
}
