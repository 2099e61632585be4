//! A guest that writes a disk for ever, and tells what the disk has acknowledged: for tests that end it at any moment.

use iced_x86::code_asm::*;

use super::{LOADED, begin, end, say, say_eax};
use crate::asm::{Emit, IcedError};
use crate::floppy::{FLOPPY_BYTES, boot_sector};

/// The buffer of a write, at 1000:0000.
const BUFFER: u32 = 0x1000;
/// The packet of INT 13h AH=43h, behind the boot sector.
const PACKET: u32 = 0x7E00;
/// Sectors of a write.
const LENGTH: u32 = 40;
/// Writes between two flushes.
const BURST: u32 = 3;

/// What the guest writes on a disk of so many `sectors`: the first sector, and the number that each of the bytes there is
/// filled with as 32-bit words, the same in the [`LENGTH`] sectors.
#[must_use]
pub fn written(number: u32, sectors: u32) -> (u64, u32, u32) {
    let place = number.wrapping_mul(0x9E37_79B1) >> 8;
    ((place % (sectors - LENGTH)).into(), LENGTH, number)
}

/// The diskette of the guest that writes a disk of so many `sectors`. Write N, from 1 on, fills sectors of the first disk with N as [`written`] says, by the BIOS;
/// after every third the guest has the drive flush its cache [ATA/ATAPI-6 8.13] and prints N as eight digits.
///
/// # Panics
/// If it can't be assembled: it has no input, so this crate's tests find that.
#[must_use]
#[expect(clippy::expect_used, reason = "a program without input, assembled by this crate's tests")]
pub fn writer_floppy(sectors: u32) -> Vec<u8> {
    let mut image = code(sectors).map(|code| boot_sector(&code)).expect("the program assembles");
    image.resize(FLOPPY_BYTES, 0);
    image
}

fn code(sectors: u32) -> Result<Vec<u8>, IcedError> {
    let mut a = CodeAssembler::new(16)?;
    emit(&mut a, sectors)?;
    a.assemble(LOADED)
}

fn emit(a: &mut CodeAssembler, sectors: u32) -> Emit {
    begin(a)?;
    let (mut next, mut failed, mut busy) = (a.create_label(), a.create_label(), a.create_label());
    a.sti()?;
    a.mov(dword_ptr(PACKET), (LENGTH << 16 | 0x10) as i32)?;
    a.mov(dword_ptr(PACKET + 4), (BUFFER << 16) as i32)?;
    a.mov(dword_ptr(PACKET + 12), 0)?;
    a.xor(esi, esi)?;
    a.set_label(&mut next)?;
    a.inc(esi)?;
    fill(a)?;
    a.imul_3(eax, esi, 0x9E37_79B1_u32 as i32)?;
    a.shr(eax, 8)?;
    a.xor(edx, edx)?;
    a.mov(ecx, sectors - LENGTH)?;
    a.div(ecx)?;
    a.mov(dword_ptr(PACKET + 8), edx)?;
    a.push(esi)?;
    a.mov(ax, 0x4300)?;
    a.mov(dl, 0x80u32)?;
    a.mov(si, PACKET)?;
    a.int(0x13)?;
    a.pop(esi)?;
    a.jc(failed)?;
    a.mov(eax, esi)?;
    a.xor(edx, edx)?;
    a.mov(ecx, BURST)?;
    a.div(ecx)?;
    a.test(edx, edx)?;
    a.jne(next)?;
    // FLUSH CACHE of the first drive.
    a.mov(dx, 0x1F7)?;
    a.mov(al, 0xE7u32)?;
    a.out(dx, al)?;
    a.set_label(&mut busy)?;
    a.in_(al, dx)?;
    a.test(al, 0x80)?;
    a.jne(busy)?;
    a.test(al, 0x21)?; // device fault, error
    a.jne(failed)?;
    a.mov(eax, esi)?;
    say_eax(a)?;
    a.jmp(next)?;
    a.set_label(&mut failed)?;
    say(a, "failed\n")?;
    end(a)
}

/// Emits: the buffer's words are ESI.
fn fill(a: &mut CodeAssembler) -> Emit {
    a.mov(ax, BUFFER)?;
    a.mov(es, ax)?;
    a.xor(di, di)?;
    a.mov(eax, esi)?;
    a.mov(cx, LENGTH * 128)?;
    a.rep().stosd()
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_a_diskette_and_stays_on_its_disk() {
        let image = super::writer_floppy(8192);
        assert_eq!((image.len(), &image[510..512]), (super::FLOPPY_BYTES, &[0x55, 0xAA][..]));
        assert!((0..10_000).all(|n| super::written(n, 8192).0 + 40 <= 8192));
    }
}
