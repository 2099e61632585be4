//! The ports section: serial and parallel ports that the BIOS found [PC/AT TR, BIOS data area 40:00h, 40:08h], and
//! which UART each serial port is [PC16550D "FIFO control register"].

use iced_x86::code_asm::*;

use super::Shared;
use super::layout::{DIM, PORTS};
use crate::asm::{Asm, Emit, IcedError};

/// A routine that prints the ports.
pub(super) fn emit(a: &mut Asm, shared: &Shared) -> Result<CodeLabel, IcedError> {
    let base = a.space(2);
    let serial = serial(a, shared)?;
    let entry = a.mark()?;
    for n in 0..4 {
        let mut none = a.create_label();
        bda_word(a, base, 2 * n)?;
        a.jz(none)?;
        a.mov(di, PORTS.value(0) + 2 * 14 * (n % 2) + 160 * (n / 2))?;
        a.mov(dx, word_ptr(base))?;
        a.call(serial)?;
        a.here(&mut none)?;
    }
    for n in 0..3 {
        let mut none = a.create_label();
        bda_word(a, base, 8 + 2 * n)?;
        a.jz(none)?;
        a.mov(di, PORTS.value(3) + 2 * 9 * n)?;
        a.mov(ax, word_ptr(base))?;
        a.call(shared.print.hex16)?;
        a.here(&mut none)?;
    }
    a.ret()?;
    Ok(entry)
}

/// Emits: a word of the BIOS data area into memory; ZF if it is 0.
fn bda_word(a: &mut Asm, to: u32, offset: u32) -> Emit {
    a.push(es)?;
    a.mov(ax, 0x40)?;
    a.mov(es, ax)?;
    a.mov(ax, word_ptr(offset).es())?;
    a.pop(es)?;
    a.mov(word_ptr(to), ax)?;
    a.or(ax, ax)
}

/// A routine that prints the serial port at DX: FIFOs show in IIR, a scratch register only in later chips.
fn serial(a: &mut Asm, shared: &Shared) -> Result<CodeLabel, IcedError> {
    let (mut fifo, mut end, mut old) = (a.create_label(), a.create_label(), a.create_label());
    let entry = a.mark()?;
    a.mov(ax, dx)?;
    a.call(shared.print.hex16)?;
    a.add(dx, 2)?;
    a.mov(al, 1)?;
    a.out(dx, al)?;
    a.in_(al, dx)?;
    a.mov(ah, al)?;
    a.mov(al, 0)?;
    a.out(dx, al)?;
    a.and(ah, 0xC0u32)?;
    a.cmp(ah, 0xC0u32)?;
    a.je(fifo)?;
    a.add(dx, 5)?;
    a.mov(al, 0x5A)?;
    a.out(dx, al)?;
    a.in_(al, dx)?;
    a.cmp(al, 0x5A)?;
    a.jne(old)?;
    shared.print.say(a, DIM, " 16450")?;
    a.jmp(end)?;
    a.here(&mut old)?;
    shared.print.say(a, DIM, " 8250")?;
    a.jmp(end)?;
    a.here(&mut fifo)?;
    shared.print.say(a, DIM, " 16550A")?;
    a.here(&mut end)?;
    a.ret()?;
    Ok(entry)
}
