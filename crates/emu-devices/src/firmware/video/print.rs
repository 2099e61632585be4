//! INT 5: the text on the screen goes to the printer.

use super::super::bda::{COLUMNS, PAGE, PRINTING, ROWS};
use super::super::guest::{Guest, Served};
use super::super::parallel;
use super::text;

/// Status bits that a printer which is out of paper, faulty or absent shows.
const FAILED: u8 = 0x29;

/// The body of INT 5.
pub(in super::super) fn print_screen(g: &mut Guest<'_>) -> Served {
    if g.bda::<u8>(PRINTING)? == 1 {
        return Ok(());
    }
    let (columns, last, page): (u16, u8, u8) = (g.bda(COLUMNS)?, g.bda(ROWS)?, g.bda(PAGE)?);
    let mut state = 0u8;
    'all: for row in 0..=last {
        let mut line = Vec::new();
        for column in 0..columns.min(256) {
            let c = text::cell(g, page, row, column as u8)? as u8;
            line.push(if c == 0 { b' ' } else { c });
        }
        line.extend_from_slice(b"\r\n");
        for byte in line {
            if parallel::send(g, 0, byte)? & FAILED != 0 {
                state = 0xFF;
                break 'all;
            }
        }
    }
    g.set_bda(PRINTING, state)
}
