//! A program for somebody at the keyboard: it says how often it was booted, and prints every key. `r` reads the second
//! sector of the diskette and prints its first byte, or `!` if that fails.

use super::{LOADED, begin};
use crate::asm::{Emit, IcedError};
use crate::floppy::{FLOPPY_BYTES, boot_sector};
use iced_x86::code_asm::*;

/// A byte of CMOS memory that no BIOS uses: the number of boots.
const BOOTS: u32 = 0x50;
/// Where the sector is read to.
const BUFFER: u32 = 0x8000;

/// A diskette of 1440K with the program, whose second sector begins with `mark`.
///
/// # Panics
/// If the program can't be assembled: it has no input, so this crate's tests find that.
#[must_use]
#[expect(clippy::expect_used, reason = "a program without input, assembled by this crate's tests")]
pub fn desk_floppy(mark: u8) -> Vec<u8> {
    let mut image = sector().expect("the program assembles");
    image.resize(FLOPPY_BYTES, 0);
    image[512] = mark;
    image
}

fn sector() -> Result<Vec<u8>, IcedError> {
    let mut a = CodeAssembler::new(16)?;
    emit(&mut a)?;
    Ok(boot_sector(&a.assemble(LOADED)?))
}

fn emit(a: &mut CodeAssembler) -> Emit {
    begin(a)?;
    a.sti()?;
    for c in "boot ".bytes() {
        a.mov(al, u32::from(c))?;
        print(a)?;
    }
    count_boot(a)?;
    a.add(al, i32::from(b'0'))?;
    print(a)?;
    for c in *b"\r\n" {
        a.mov(al, u32::from(c))?;
        print(a)?;
    }
    let (mut again, mut read, mut failed, mut show) =
        (a.create_label(), a.create_label(), a.create_label(), a.create_label());
    a.set_label(&mut again)?;
    a.mov(ah, 0)?;
    a.int(0x16)?;
    a.cmp(al, i32::from(b'r'))?;
    a.je(read)?;
    a.set_label(&mut show)?;
    print(a)?;
    a.jmp(again)?;
    a.set_label(&mut read)?;
    a.mov(ax, 0x0201)?;
    a.mov(bx, BUFFER)?;
    a.mov(cx, 0x0002)?;
    a.mov(dx, 0)?;
    a.int(0x13)?;
    a.jc(failed)?;
    a.mov(al, byte_ptr(BUFFER))?;
    a.jmp(show)?;
    a.set_label(&mut failed)?;
    a.mov(al, u32::from(b'!'))?;
    a.jmp(show)
}

/// One more boot in CMOS memory; AL is the number.
fn count_boot(a: &mut CodeAssembler) -> Emit {
    a.mov(al, BOOTS)?;
    a.out(0x70, al)?;
    a.in_(al, 0x71)?;
    a.inc(al)?;
    a.mov(bl, al)?;
    a.mov(al, BOOTS)?;
    a.out(0x70, al)?;
    a.mov(al, bl)?;
    a.out(0x71, al)
}

/// AL on the screen.
fn print(a: &mut CodeAssembler) -> Emit {
    a.mov(ah, 0x0E)?;
    a.mov(bx, 7)?;
    a.int(0x10)
}
