//! INT 10h: the screen [PS/2 TR, "Interrupt 10h"].

mod font;
mod graphics;
mod info;
mod mode;
mod palette;
mod print;
mod text;
mod vbe;

pub(super) use print::print_screen;

use super::bda;
use super::guest::{Guest, Served};
use crate::vga::modes::Mode;

/// Sets mode 3, as POST leaves the screen.
pub(super) fn start(g: &mut Guest<'_>) -> Served {
    mode::set(g, 3)
}

/// The standard mode that is set; `None` in a mode of another card's BIOS or of VBE.
fn current(g: &mut Guest<'_>) -> Served<Option<&'static Mode>> {
    Ok(Mode::by_number(g.bda::<u8>(bda::VIDEO_MODE)? & 0x7F))
}

/// INT 10h.
pub(super) fn service(g: &mut Guest<'_>) -> Served {
    match g.ah() {
        0x00 => {
            let number = g.al();
            mode::set_by_caller(g, number)
        }
        0x01 => text::set_shape(g),
        0x02 => {
            let (page, row, column) = (g.bh(), g.dh(), g.dl());
            text::set_cursor(g, page, row, column)
        }
        0x03 => {
            let position: u16 = g.bda(bda::CURSOR + 2 * u64::from(g.bh() & 7))?;
            let shape = g.bda(bda::CURSOR_SHAPE)?;
            g.set_dx(position);
            g.set_cx(shape);
            Ok(())
        }
        0x04 => {
            g.set_ah(0); // no light pen
            Ok(())
        }
        0x05 => {
            let page = g.al();
            text::show_page(g, page)
        }
        0x06 | 0x07 => text::scroll_service(g),
        0x08 => text::read_cell(g),
        0x09 | 0x0A => text::write_cells(g),
        0x0B => palette::cga(g),
        0x0C | 0x0D => graphics::pixel_service(g),
        0x0E => {
            let (byte, page) = (g.al(), g.bda(bda::PAGE)?);
            let color = g.bl();
            text::teletype(g, page, byte, text::Attribute::Keep(color))
        }
        0x0F => {
            let (number, columns): (u8, u16) = (g.bda(bda::VIDEO_MODE)?, g.bda(bda::COLUMNS)?);
            let no_clear: u8 = g.bda(bda::VIDEO_CONTROL)?;
            g.set_al(number | no_clear & 0x80);
            g.set_ah(columns as u8);
            let page = g.bda(bda::PAGE)?;
            g.set_bh(page);
            Ok(())
        }
        0x10 => palette::service(g),
        0x11 => font::service(g),
        0x12 => info::alternate(g),
        0x13 => text::write_string(g),
        0x1A => info::combination(g),
        0x1B => info::state(g),
        0x4F => vbe::service(g),
        _ => Ok(()),
    }
}
