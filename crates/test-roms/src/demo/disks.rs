//! The disks section: what INT 13h says of two floppy and two hard disk drives [PC/AT TR "Fixed disk BIOS"; EDD-3].

use iced_x86::code_asm::*;

use super::Shared;
use super::layout::{DIM, DISKS, LABEL};
use crate::asm::{Asm, Emit, IcedError};

/// A routine that prints the four drives.
pub(super) fn emit(a: &mut Asm, shared: &Shared) -> Result<CodeLabel, IcedError> {
    let floppy = floppy(a, shared)?;
    let disk = hard_disk(a, shared)?;
    let entry = a.mark()?;
    for (row, drive) in [0x00u32, 0x01, 0x80, 0x81].into_iter().enumerate() {
        a.mov(di, DISKS.line(row as u32) + 2 * 4)?;
        a.mov(dl, drive)?;
        a.call(if drive < 0x80 { floppy } else { disk })?;
    }
    a.ret()?;
    Ok(entry)
}

/// Emits: function 8 for drive DL: CX, DH as answered; to `none` on an error. Keeps DI, ES, and DL in BP.
fn geometry(a: &mut Asm, none: CodeLabel) -> Emit {
    a.mov(bp, dx)?;
    a.push(di)?;
    a.push(es)?;
    a.mov(ah, 8)?;
    a.int(0x13)?;
    a.pop(es)?;
    a.pop(di)?;
    a.jc(none)
}

/// A routine for floppy drive DL, if the equipment word counts it.
fn floppy(a: &mut Asm, shared: &Shared) -> Result<CodeLabel, IcedError> {
    let mut none = a.create_label();
    let entry = a.mark()?;
    a.int(0x11)?;
    a.test(al, 1)?;
    a.jz(none)?;
    a.mov(cl, 6)?;
    a.shr(al, cl)?; // drives - 1
    a.and(al, 3)?;
    a.cmp(al, dl)?;
    a.jb(none)?;
    geometry(a, none)?;
    let mut some = a.create_label();
    a.or(cl, cl)?;
    a.jnz(some)?;
    a.here(&mut none)?;
    shared.print.say(a, DIM, "none")?;
    a.ret()?;
    a.here(&mut some)?;
    total(a)?;
    a.shr(dx, 1)?; // sectors to KB
    a.rcr(ax, 1)?;
    a.call(shared.print.decimal)?;
    a.push(si)?;
    shared.print.say(a, LABEL, " KB floppy")?;
    a.pop(si)?;
    chs(a, shared)?;
    a.ret()?;
    Ok(entry)
}

/// Emits: from CX, DH: SI cylinders, BH heads, BL sectors, and DX:AX all sectors.
fn total(a: &mut Asm) -> Emit {
    a.mov(bl, cl)?;
    a.and(bl, 63)?;
    a.mov(bh, dh)?;
    a.inc(bh)?;
    a.mov(al, ch)?;
    a.mov(ah, cl)?;
    a.mov(cl, 6)?;
    a.shr(ah, cl)?;
    a.inc(ax)?;
    a.mov(si, ax)?;
    a.mov(al, bl)?;
    a.mul(bh)?;
    a.mul(si)
}

/// Emits: "  C/H/S" of SI, BH, BL.
fn chs(a: &mut Asm, shared: &Shared) -> Emit {
    a.push(si)?;
    shared.print.say(a, DIM, "  ")?;
    a.pop(ax)?;
    a.xor(dx, dx)?;
    a.call(shared.print.decimal)?;
    for register in [bh, bl] {
        a.mov(al, u32::from(b'/'))?;
        a.call(shared.print.character)?;
        a.mov(al, register)?;
        a.xor(ah, ah)?;
        a.call(shared.print.decimal)?;
    }
    Ok(())
}

/// A routine for hard disk DL, if function 8 counts it. The size is EDD's where there is EDD.
fn hard_disk(a: &mut Asm, shared: &Shared) -> Result<CodeLabel, IcedError> {
    let packet = a.space(0x1A);
    let mut none = a.create_label();
    let entry = a.mark()?;
    geometry(a, none)?;
    a.mov(ax, bp)?;
    a.and(al, 0x7F)?;
    a.cmp(al, dl)?;
    let mut some = a.create_label();
    a.jb(some)?;
    a.here(&mut none)?;
    shared.print.say(a, DIM, "none")?;
    a.ret()?;
    a.here(&mut some)?;
    total(a)?;
    let mut old = a.create_label();
    for register in [bx, si, dx, ax] {
        a.push(register)?;
    }
    a.mov(ah, 0x41)?;
    a.mov(bx, 0x55AA)?;
    a.mov(dx, bp)?;
    a.int(0x13)?;
    a.jc(old)?;
    a.cmp(bx, 0xAA55u32)?;
    a.jne(old)?;
    a.mov(word_ptr(packet), 0x1A)?;
    a.mov(si, packet)?;
    a.mov(ah, 0x48)?;
    a.mov(dx, bp)?;
    a.int(0x13)?;
    a.jc(old)?;
    a.add(sp, 4)?;
    a.push(word_ptr(packet + 0x12))?;
    a.push(word_ptr(packet + 0x10))?;
    a.here(&mut old)?;
    a.pop(ax)?;
    a.pop(dx)?;
    a.mov(al, ah)?; // sectors / 2048 = MB: by 8 bits, then by 3
    a.mov(ah, dl)?;
    a.mov(dl, dh)?;
    a.xor(dh, dh)?;
    for _ in 0..3 {
        a.shr(dx, 1)?;
        a.rcr(ax, 1)?;
    }
    a.call(shared.print.decimal)?;
    shared.print.say(a, LABEL, " MB disk")?;
    a.pop(si)?;
    a.pop(bx)?;
    chs(a, shared)?;
    a.ret()?;
    Ok(entry)
}
