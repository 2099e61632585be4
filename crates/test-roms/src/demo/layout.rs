//! The looks of the text pages: header, frames, menu, and where the machine page's sections are.

use iced_x86::code_asm::*;

use crate::asm::{Asm, Emit};
use crate::cells::{COLUMNS, Cells, at};

/// Attributes.
pub(super) const FRAME: u8 = 0x03;
pub(super) const TITLE: u8 = 0x0E;
pub(super) const LABEL: u8 = 0x07;
pub(super) const VALUE: u8 = 0x0F;
pub(super) const DIM: u8 = 0x08;
pub(super) const GOOD: u8 = 0x0A;
const LOGO: u8 = 0x1F;
const HEADER: u8 = 0x1B;
const MENU: u8 = 0x30;
const MENU_KEY: u8 = 0x1F;

/// A part of the machine page: the rows and columns inside its frame.
#[derive(Clone, Copy)]
pub(super) struct Area {
    pub(super) row: u32,
    pub(super) rows: u32,
    pub(super) column: u32,
}

/// Characters in a row of an area.
pub(super) const WIDTH: u32 = 37;

impl Area {
    /// Offset in text memory of a row's first character.
    pub(super) const fn line(self, row: u32) -> u32 {
        at(self.row + row, self.column)
    }

    /// Offset behind label and blank.
    pub(super) const fn value(self, row: u32) -> u32 {
        self.line(row) + 2 * 9
    }
}

pub(super) const CPU: Area = Area { row: 4, rows: 8, column: 2 };
pub(super) const TIMERS: Area = Area { row: 13, rows: 5, column: 2 };
pub(super) const PORTS: Area = Area { row: 19, rows: 4, column: 2 };
pub(super) const MEMORY: Area = Area { row: 4, rows: 7, column: 42 };
pub(super) const DISKS: Area = Area { row: 12, rows: 4, column: 42 };
pub(super) const PCI: Area = Area { row: 17, rows: 6, column: 42 };

/// Where the clock is, on every text page.
pub(super) const CLOCK: u32 = at(0, 59);

/// The dots of the name.
const NAME: [&str; 6] = [
    "                           ",
    " #####   #########   ##  ##",
    "##   ##  ##  ##  ##  ##  ##",
    "#######  ##  ##  ##  ##  ##",
    "##       ##  ##  ##  ##  ##",
    " ######  ##  ##  ##   #####",
];

/// A page with header and menu.
pub(super) fn page() -> Cells {
    let mut cells = Cells::new(LABEL);
    for row in 0..3 {
        cells.paint(row, 0, COLUMNS, HEADER);
    }
    cells.dots(0, 2, LOGO, &NAME);
    cells.text(0, 32, LOGO, "A whole PC in software");
    cells.text(1, 32, HEADER, "exact · deterministic · fast");
    cells.text(2, 32, 0x13, "this is its demo guest");
    cells.paint(24, 0, COLUMNS, MENU);
    let menu = [("F1", "Machine"), ("F2", "Colours"), ("F3", "Picture"), ("F4", "Keyboard"), ("Esc", "Power off")];
    let mut column = 2;
    for (key, text) in menu {
        cells.text(24, column, MENU_KEY, &format!(" {key} "));
        cells.text(24, column + key.len() + 3, MENU, text);
        column += key.len() + text.len() + 6;
    }
    cells
}

/// The machine page without its values.
pub(super) fn machine() -> Cells {
    let mut cells = page();
    let sections: [(&str, Area, &[&str]); 6] = [
        ("CPU", CPU, &["Class", "", "Vendor", "Version", "Has"]),
        ("Timers", TIMERS, &["RTC", "PIT", "IRQ 0", "TSC", "Speed"]),
        ("Ports", PORTS, &["Serial", "", "", "Parallel"]),
        ("Memory", MEMORY, &[]),
        ("Disks", DISKS, &["A:", "B:", "C:", "D:"]),
        ("PCI", PCI, &[]),
    ];
    for (_, area, _) in sections {
        let (row, column) = (area.row as usize, area.column as usize);
        let right = if column > 40 { 79 } else { 40 };
        cells.frame((row - 1, row + area.rows as usize), (column - 2, right), FRAME);
    }
    for (title, area, labels) in sections {
        let (row, column) = (area.row as usize, area.column as usize);
        cells.text(row - 1, column, TITLE, &format!(" {title} "));
        for (n, label) in labels.iter().enumerate() {
            cells.text(row + n, column, LABEL, label);
        }
    }
    // What the BIOS does not list stays so.
    for row in [0, 3] {
        cells.text(PORTS.row as usize + row, PORTS.column as usize + 9, DIM, "none");
    }
    cells
}

/// Emits: text mode, no cursor, bright backgrounds instead of blinking; ES = the text screen's segment.
pub(super) fn set_text_mode(a: &mut Asm) -> Emit {
    a.mov(ax, 0x0003)?;
    a.int(0x10)?;
    a.mov(ah, 1)?;
    a.mov(cx, 0x2000)?;
    a.int(0x10)?;
    a.mov(ax, 0x1003)?;
    a.mov(bl, 0)?;
    a.int(0x10)?;
    let mut colour = a.create_label();
    a.mov(ah, 0x0F)?;
    a.int(0x10)?;
    a.cmp(al, 7)?;
    a.mov(ax, 0xB800u32)?;
    a.jne(colour)?;
    a.mov(ah, 0xB0u32)?;
    a.here(&mut colour)?;
    a.mov(es, ax)
}

/// Emits: the screen at `template` in the data segment becomes the text screen.
pub(super) fn copy_screen(a: &mut Asm, template: u32) -> Emit {
    a.mov(si, template)?;
    a.xor(di, di)?;
    a.mov(cx, 2000)?;
    a.rep().movsw()
}
