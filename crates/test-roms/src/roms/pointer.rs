//! VMware's absolute pointer, driven as a guest's driver does: by the backdoor port 5658h alone [VMware-backdoor].

use iced_x86::code_asm::*;

use super::{DONE, LOADED, Rom, begin, end, say, say_eax};
use crate::asm::{Emit, IcedError};
use crate::floppy::boot_sector;

const MAGIC: u32 = 0x564D_5868;
const PORT: u32 = 0x5658;
/// Commands: words of the queue, how many wait, and what EBX says.
const DATA: u32 = 0x27;
const STATUS: u32 = 0x28;
const COMMAND: u32 = 0x29;
const ENABLE: u32 = 0x4541_4552;
const ABSOLUTE: u32 = 0x5342_4152;
const DISABLE: u32 = 0xF5;

/// What the guest says when it waits for movements.
pub const POINTER_READY: &str = "ready\n";
/// How many it waits for.
pub const POINTER_MOVES: u32 = 3;

/// A guest that switches the pointer on, says [`POINTER_READY`], fetches [`POINTER_MOVES`] packets and prints their four
/// words each, then switches it off. Its output is what it prints without any packet; without VMware's interface it is
/// `none`.
///
/// # Panics
/// If it can't be assembled: it has no input, so this crate's tests find that.
#[must_use]
#[expect(clippy::expect_used, reason = "a program without input, assembled by this crate's tests")]
pub fn pointer() -> Rom {
    let sector = code().map(|code| boot_sector(&code)).expect("the program assembles");
    Rom { name: "absolute pointer", sector, output: format!("00000001\n3442554A\n{POINTER_READY}"), exit: DONE }
}

fn code() -> Result<Vec<u8>, IcedError> {
    let mut a = CodeAssembler::new(16)?;
    emit(&mut a)?;
    a.assemble(LOADED)
}

/// Emits: a call of the backdoor; EAX, EBX, ECX and EDX have what it answers.
fn call(a: &mut CodeAssembler, command: u32, argument: u32) -> Emit {
    a.mov(eax, MAGIC)?;
    a.mov(ebx, argument)?;
    a.mov(ecx, command)?;
    a.mov(edx, PORT)?;
    a.in_(eax, dx)
}

fn emit(a: &mut CodeAssembler) -> Emit {
    begin(a)?;
    let (mut print, mut start, mut none) = (a.create_label(), a.create_label(), a.create_label());
    let (mut next, mut wait) = (a.create_label(), a.create_label());
    a.jmp(start)?;
    a.set_label(&mut print)?;
    say_eax(a)?;
    a.ret()?;

    a.set_label(&mut start)?;
    call(a, COMMAND, ENABLE)?;
    call(a, STATUS, 0)?;
    a.cmp(eax, -1)?;
    a.je(none)?;
    a.call(print)?;
    call(a, DATA, 1)?;
    a.call(print)?;
    call(a, COMMAND, ABSOLUTE)?;
    say(a, POINTER_READY)?;
    a.mov(bp, POINTER_MOVES)?;
    a.set_label(&mut next)?;
    a.zero_bytes()?;
    a.set_label(&mut wait)?;
    call(a, STATUS, 0)?;
    a.cmp(ax, 4)?;
    a.jb(wait)?;
    call(a, DATA, 4)?;
    a.push(edx)?;
    a.push(ecx)?;
    a.push(ebx)?;
    a.push(eax)?;
    for _ in 0..4 {
        a.pop(eax)?;
        a.call(print)?;
    }
    a.dec(bp)?;
    a.jne(next)?;
    call(a, COMMAND, DISABLE)?;
    end(a)?;

    a.set_label(&mut none)?;
    say(a, "none\n")?;
    end(a)
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_a_boot_sector() {
        let rom = super::pointer();
        assert_eq!((rom.sector.len(), &rom.sector[510..]), (512, &[0x55, 0xAA][..]));
    }
}
