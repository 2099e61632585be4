//! Characters in text modes: cursor, scrolling, teletype.

use super::super::bda;
use super::super::guest::{Guest, Served};
use super::graphics::Screen;

/// What a written character's colour is.
#[derive(Clone, Copy)]
pub(super) enum Attribute {
    /// The cell's own; in graphics modes this colour.
    Keep(u8),
    /// This one.
    Set(u8),
}

/// The geometry of the screen.
#[derive(Clone, Copy)]
struct Grid {
    base: u64,
    columns: u16,
    rows: u16,
}

impl Grid {
    fn of_page(g: &mut Guest<'_>, page: u8) -> Served<Grid> {
        let segment = if g.bda::<u8>(bda::VIDEO_MODE)? == 7 { 0xB_0000 } else { 0xB_8000 };
        let size: u16 = g.bda(bda::PAGE_BYTES)?;
        let columns = g.bda::<u16>(bda::COLUMNS)?.max(1);
        let rows = u16::from(g.bda::<u8>(bda::ROWS)?) + 1;
        let base = segment + (u64::from(page & 7) * u64::from(size) & 0x7FFF);
        Ok(Grid { base, columns, rows })
    }

    fn cell(&self, row: u8, column: u8) -> u64 {
        self.base + 2 * (u64::from(row) * u64::from(self.columns) + u64::from(column))
    }
}

fn crtc(g: &mut Guest<'_>, index: u8, value: u16) -> Served {
    let port: u16 = g.bda(bda::CRTC)?;
    g.outb(port, index);
    g.outb(port + 1, (value >> 8) as u8);
    g.outb(port, index + 1);
    g.outb(port + 1, value as u8);
    Ok(())
}

/// INT 10h, AH = 01h. Programs give lines of an 8-line character; they are spread over the real one.
pub(super) fn set_shape(g: &mut Guest<'_>) -> Served {
    let shape = g.cx();
    g.set_bda(bda::CURSOR_SHAPE, shape)?;
    let height: u16 = g.bda(bda::CHAR_HEIGHT)?;
    let scaled = g.bda::<u8>(bda::VIDEO_CONTROL)? & 1 == 0 && height > 8;
    let (first, last) = (shape >> 8 & 0x3F, shape & 0x1F);
    let shape = if scaled && first < 8 && last < 8 && first <= last {
        let spread = |line: u16| (line + 1) * height / 8 - 1;
        match (first, last) {
            (6, 7) => (height - 3) << 8 | (height - 2),
            _ => (if first == 0 { 0 } else { spread(first) }) << 8 | spread(last),
        }
    } else {
        shape
    };
    crtc(g, 0x0A, shape)
}

/// Moves the cursor of `page`.
pub(super) fn set_cursor(g: &mut Guest<'_>, page: u8, row: u8, column: u8) -> Served {
    g.set_bda(bda::CURSOR + 2 * u64::from(page & 7), u16::from(row) << 8 | u16::from(column))?;
    if page != g.bda::<u8>(bda::PAGE)? {
        return Ok(());
    }
    let (start, columns): (u16, u16) = (g.bda(bda::PAGE_START)?, g.bda(bda::COLUMNS)?);
    let at = (start / 2).wrapping_add(columns.wrapping_mul(row.into())).wrapping_add(column.into());
    crtc(g, 0x0E, at)
}

/// INT 10h, AH = 05h.
pub(super) fn show_page(g: &mut Guest<'_>, page: u8) -> Served {
    if page > 7 {
        return Ok(());
    }
    let start = g.bda::<u16>(bda::PAGE_BYTES)?.wrapping_mul(page.into());
    g.set_bda(bda::PAGE, page)?;
    g.set_bda(bda::PAGE_START, start)?;
    let text = super::current(g)?.is_none_or(|m| m.is_text());
    crtc(g, 0x0C, if text { start / 2 } else { start })?;
    let [column, row] = g.bda::<u16>(bda::CURSOR + 2 * u64::from(page))?.to_le_bytes();
    set_cursor(g, page, row, column)
}

/// A part of the screen, both corners inside.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub(super) top: u8,
    pub(super) left: u8,
    pub(super) bottom: u8,
    pub(super) right: u8,
}

/// Reads `n` cells from `at` on.
fn cells(g: &mut Guest<'_>, at: u64, n: usize) -> Served<Vec<u8>> {
    let mut bytes = Vec::with_capacity(2 * n + 8);
    while bytes.len() < 2 * n {
        let word: u64 = g.peek(at + bytes.len() as u64)?;
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.truncate(2 * n);
    Ok(bytes)
}

/// Moves a window's lines up (or down) by `lines`, 0 for all, and blanks what is left.
pub(super) fn scroll(g: &mut Guest<'_>, page: u8, up: bool, lines: u8, w: Window, attribute: u8) -> Served {
    let mode = super::current(g)?;
    if let Some(screen) = Screen::of(g, mode, page)? {
        return screen.scroll(g, up, lines, w, attribute);
    }
    let grid = Grid::of_page(g, page)?;
    let bottom = w.bottom.min((grid.rows - 1) as u8);
    let right = w.right.min((grid.columns - 1) as u8);
    if w.top > bottom || w.left > right {
        return Ok(());
    }
    let width = usize::from(right - w.left) + 1;
    let height = bottom - w.top + 1;
    let lines = if lines == 0 || lines > height { height } else { lines };
    let blank = [b' ', attribute].repeat(width);
    for i in 0..height {
        let row = if up { w.top + i } else { bottom - i };
        let line = if i < height - lines {
            let from = if up { row + lines } else { row - lines };
            cells(g, grid.cell(from, w.left), width)?
        } else {
            blank.clone()
        };
        g.poke_bytes(grid.cell(row, w.left), &line)?;
    }
    Ok(())
}

/// INT 10h, AH = 06h and 07h.
pub(super) fn scroll_service(g: &mut Guest<'_>) -> Served {
    let w = Window { top: g.ch(), left: g.cl(), bottom: g.dh(), right: g.dl() };
    let (page, up, lines, attribute) = (g.bda(bda::PAGE)?, g.ah() == 6, g.al(), g.bh());
    scroll(g, page, up, lines, w, attribute)
}

/// Character and attribute of a cell; in graphics modes the attribute is 0.
pub(super) fn cell(g: &mut Guest<'_>, page: u8, row: u8, column: u8) -> Served<u16> {
    let mode = super::current(g)?;
    if let Some(screen) = Screen::of(g, mode, page)? {
        return Ok(screen.character(g, row, column)?.into());
    }
    let at = Grid::of_page(g, page)?.cell(row, column);
    g.peek(at)
}

/// INT 10h, AH = 08h.
pub(super) fn read_cell(g: &mut Guest<'_>) -> Served {
    let page = g.bh();
    let [column, row] = g.bda::<u16>(bda::CURSOR + 2 * u64::from(page & 7))?.to_le_bytes();
    let cell = cell(g, page, row, column)?;
    g.set_ax(cell);
    Ok(())
}

/// INT 10h, AH = 09h (with attribute) and 0Ah.
pub(super) fn write_cells(g: &mut Guest<'_>) -> Served {
    let page = g.bh();
    let [column, row] = g.bda::<u16>(bda::CURSOR + 2 * u64::from(page & 7))?.to_le_bytes();
    let mode = super::current(g)?;
    if let Some(screen) = Screen::of(g, mode, page)? {
        let (c, color) = (g.al(), g.bl());
        for i in 0..g.cx().min(256) {
            screen.draw(g, row, column.wrapping_add(i as u8), c, color)?;
        }
        return Ok(());
    }
    let at = Grid::of_page(g, page)?.cell(row, column);
    for i in 0..u64::from(g.cx()).min(0x4000) {
        let at = at & !0x7FFF | (at + 2 * i) & 0x7FFF;
        let c = g.al();
        g.poke(at, c)?;
        if g.ah() == 9 {
            let attribute = g.bl();
            g.poke(at + 1, attribute)?;
        }
    }
    Ok(())
}

/// Writes a character as a terminal does: it moves the cursor, and scrolls.
pub(super) fn teletype(g: &mut Guest<'_>, page: u8, c: u8, attribute: Attribute) -> Served {
    let [mut column, mut row] = g.bda::<u16>(bda::CURSOR + 2 * u64::from(page & 7))?.to_le_bytes();
    let grid = Grid::of_page(g, page)?;
    let mode = super::current(g)?;
    let screen = Screen::of(g, mode, page)?;
    match c {
        7 => return Ok(()),
        8 => column = column.saturating_sub(1),
        10 => row = row.wrapping_add(1),
        13 => column = 0,
        _ => {
            let at = grid.cell(row, column);
            match (&screen, attribute) {
                (Some(s), Attribute::Keep(color) | Attribute::Set(color)) => s.draw(g, row, column, c, color)?,
                (None, Attribute::Keep(_)) => g.poke(at, c)?,
                (None, Attribute::Set(a)) => g.poke(at, u16::from_le_bytes([c, a]))?,
            }
            column = column.wrapping_add(1);
        }
    }
    if u16::from(column) >= grid.columns {
        column = 0;
        row = row.wrapping_add(1);
    }
    if u16::from(row) >= grid.rows {
        row = (grid.rows - 1) as u8;
        let attribute = if screen.is_some() { 0 } else { g.peek(grid.cell(row, column) + 1)? };
        let all = Window { top: 0, left: 0, bottom: row, right: (grid.columns - 1) as u8 };
        scroll(g, page, true, 1, all, attribute)?;
    }
    set_cursor(g, page, row, column)
}

/// INT 10h, AH = 13h: AL bit 0 leaves the cursor behind the string, bit 1 says that each character has its attribute.
pub(super) fn write_string(g: &mut Guest<'_>) -> Served {
    let (page, kind) = (g.bh(), g.al());
    let before: u16 = g.bda(bda::CURSOR + 2 * u64::from(page & 7))?;
    let (row, column) = (g.dh(), g.dl());
    if row != 0xFF {
        set_cursor(g, page, row, column)?;
    }
    let (mut off, es) = (g.bp(), emu_core::cpu::seg::ES);
    for _ in 0..g.cx() {
        let c: u8 = g.peek(g.in_segment(es, off))?;
        off = off.wrapping_add(1);
        let attribute = if kind & 2 != 0 {
            let a: u8 = g.peek(g.in_segment(es, off))?;
            off = off.wrapping_add(1);
            a
        } else {
            g.bl()
        };
        teletype(g, page, c, Attribute::Set(attribute))?;
    }
    if kind & 1 == 0 {
        let [column, row] = before.to_le_bytes();
        set_cursor(g, page, row, column)?;
    }
    Ok(())
}
