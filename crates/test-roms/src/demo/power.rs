//! Power-off by APM [APM 1.2 function 07h]. Without it, an emulator (by its debug console) is asked to exit; a PC that
//! goes on after both is halted.

use iced_x86::code_asm::*;

use super::layout;
use crate::asm::{Asm, IcedError};
use crate::cells::Cells;

/// A routine that switches the PC off and does not return.
pub(super) fn emit(a: &mut Asm) -> Result<CodeLabel, IcedError> {
    let mut cells = Cells::new(layout::LABEL);
    cells.text(12, 23, layout::TITLE, "It is now safe to turn off the PC.");
    let template = a.bytes(&cells.image());
    let mut no_apm = a.create_label();
    let entry = a.mark()?;
    // Installation check, connect, version, enable, set the power state of all devices to off.
    let steps = [(0x5300, 0, 0), (0x5301, 0, 0), (0x530E, 0, 0x0102), (0x5308, 1, 1), (0x5307, 1, 3)];
    for (n, (function, device, argument)) in steps.into_iter().enumerate() {
        a.mov(ax, function)?;
        a.mov(bx, device)?;
        a.mov(cx, argument)?;
        a.stc()?;
        a.int(0x15)?;
        if n == 0 {
            a.jc(no_apm)?;
        }
    }
    a.here(&mut no_apm)?;
    layout::set_text_mode(a)?;
    layout::copy_screen(a, template)?;
    let mut stop = a.create_label();
    a.in_(al, 0xE9)?;
    a.cmp(al, 0xE9u32)?;
    a.jne(stop)?;
    a.xor(al, al)?;
    a.out(0xF4, al)?;
    a.here(&mut stop)?;
    a.cli()?;
    a.hlt()?;
    a.jmp(stop)?;
    Ok(entry)
}
