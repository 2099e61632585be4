//! The colours page: every attribute of the text screen.

use iced_x86::code_asm::*;

use super::layout;
use crate::asm::{Asm, IcedError};
use crate::cells::Cells;

/// A routine that shows the page.
pub(super) fn emit(a: &mut Asm) -> Result<CodeLabel, IcedError> {
    let template = a.bytes(&page().image());
    let entry = a.mark()?;
    layout::set_text_mode(a)?;
    layout::copy_screen(a, template)?;
    a.ret()?;
    Ok(entry)
}

/// 16 x 16 fields: rows by background, columns by foreground.
fn page() -> Cells {
    let mut cells = layout::page();
    cells.frame((3, 23), (0, 79), layout::FRAME);
    cells.text(3, 2, layout::TITLE, " All 256 attributes ");
    let digit = |n: u8| format!("{n:X}");
    for foreground in 0..16u8 {
        cells.text(5, 12 + 4 * usize::from(foreground), layout::DIM, &digit(foreground));
    }
    for background in 0..16u8 {
        let row = 6 + usize::from(background);
        cells.text(row, 7, layout::DIM, &digit(background));
        for foreground in 0..16u8 {
            let attribute = background << 4 | foreground;
            cells.text(row, 10 + 4 * usize::from(foreground), attribute, &format!(" {attribute:02X} "));
        }
    }
    cells
}
