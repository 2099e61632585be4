//! The PS/2 mouse: INT 15h, AH = C2h, and IRQ 12.

use super::guest::{Guest, Served};
use super::services::fail;

/// Function is not there.
const UNSUPPORTED: u8 = 0x86;

/// INT 15h, AH = C2h.
pub(super) fn service(g: &mut Guest<'_>) -> Served {
    fail(g, UNSUPPORTED)
}

/// IRQ 12.
pub(super) fn interrupt(g: &mut Guest<'_>) -> Served {
    g.inb(0x60);
    Ok(())
}
