//! Routines that print at ES:DI: characters, texts, numbers. They keep all registers but AX, DI and what they say.

use iced_x86::code_asm::*;

use super::layout;
use crate::asm::{Asm, Emit, IcedError};

/// The routines.
pub(super) struct Print {
    /// Byte: the attribute of what is printed.
    pub(super) attribute: u32,
    /// Byte: digits behind the point of the next decimal number.
    point: u32,
    /// AL: a character.
    pub(super) character: CodeLabel,
    /// DS:SI: a text that ends with 0; SI is left behind it.
    pub(super) text: CodeLabel,
    /// AL, AX or DX:AX as 2, 4 or 8 hexadecimal digits.
    pub(super) hex8: CodeLabel,
    pub(super) hex16: CodeLabel,
    pub(super) hex32: CodeLabel,
    /// DX:AX in decimal.
    pub(super) decimal: CodeLabel,
    /// AL, two BCD digits.
    pub(super) bcd: CodeLabel,
}

impl Print {
    pub(super) fn emit(a: &mut Asm) -> Result<Print, IcedError> {
        let attribute = a.bytes(&[layout::VALUE]);
        let point = a.space(2);
        let character = character(a, attribute)?;
        let text = text(a, attribute)?;
        let hex8 = hex8(a, character)?;
        let hex16 = halves(a, hex8)?;
        let hex32 = a.mark()?;
        a.push(ax)?;
        a.mov(ax, dx)?;
        a.call(hex16)?;
        a.pop(ax)?;
        a.jmp(hex16)?;
        let decimal = decimal(a, character, point)?;
        Ok(Print { attribute, point, character, text, hex8, hex16, hex32, decimal, bcd: hex8 })
    }

    /// Emits: prints `text` in an attribute, and goes on in that of values.
    pub(super) fn say(&self, a: &mut Asm, attribute: u8, text: &str) -> Emit {
        let text = a.text(text);
        self.colour(a, attribute)?;
        a.mov(si, text)?;
        a.call(self.text)?;
        self.colour(a, layout::VALUE)
    }

    /// Emits: the attribute from here on.
    pub(super) fn colour(&self, a: &mut Asm, attribute: u8) -> Emit {
        a.mov(byte_ptr(self.attribute), u32::from(attribute))
    }

    /// Emits: DX:AX in decimal with a point before the last `digits`.
    pub(super) fn fixed(&self, a: &mut Asm, digits: u32) -> Emit {
        a.mov(byte_ptr(self.point), digits)?;
        a.call(self.decimal)?;
        a.mov(byte_ptr(self.point), 0)
    }
}

fn character(a: &mut Asm, attribute: u32) -> Result<CodeLabel, IcedError> {
    let entry = a.mark()?;
    a.mov(ah, byte_ptr(attribute))?;
    a.stosw()?;
    a.ret()?;
    Ok(entry)
}

fn text(a: &mut Asm, attribute: u32) -> Result<CodeLabel, IcedError> {
    let mut end = a.create_label();
    let entry = a.mark()?;
    a.mov(ah, byte_ptr(attribute))?;
    let next = a.mark()?;
    a.lodsb()?;
    a.or(al, al)?;
    a.jz(end)?;
    a.stosw()?;
    a.jmp(next)?;
    a.here(&mut end)?;
    a.ret()?;
    Ok(entry)
}

fn hex8(a: &mut Asm, character: CodeLabel) -> Result<CodeLabel, IcedError> {
    let mut digit = a.create_label();
    let entry = a.mark()?;
    a.push(ax)?;
    for _ in 0..4 {
        a.shr(al, 1)?;
    }
    a.call(digit)?;
    a.pop(ax)?;
    a.here(&mut digit)?;
    a.and(al, 15)?;
    a.add(al, 0x90u32)?; // AL becomes '0'-'9', 'A'-'F'
    a.daa()?;
    a.adc(al, 0x40)?;
    a.daa()?;
    a.jmp(character)?;
    Ok(entry)
}

/// A routine that prints AX by its bytes.
fn halves(a: &mut Asm, hex8: CodeLabel) -> Result<CodeLabel, IcedError> {
    let entry = a.mark()?;
    a.push(ax)?;
    a.mov(al, ah)?;
    a.call(hex8)?;
    a.pop(ax)?;
    a.jmp(hex8)?;
    Ok(entry)
}

fn decimal(a: &mut Asm, character: CodeLabel, point: u32) -> Result<CodeLabel, IcedError> {
    let entry = a.mark()?;
    for register in [bx, cx, dx, si] {
        a.push(register)?;
    }
    a.xor(si, si)?;
    a.mov(cx, 10)?;
    let divide = a.mark()?;
    a.mov(bx, ax)?;
    a.mov(ax, dx)?;
    a.xor(dx, dx)?;
    a.div(cx)?;
    a.xchg(bx, ax)?;
    a.div(cx)?;
    a.push(dx)?;
    a.inc(si)?;
    a.mov(dx, bx)?;
    a.or(bx, ax)?;
    a.jnz(divide)?;
    let digit = a.mark()?;
    let mut whole = a.create_label();
    a.cmp(si, word_ptr(point))?;
    a.jne(whole)?;
    a.mov(al, u32::from(b'.'))?;
    a.call(character)?;
    a.here(&mut whole)?;
    a.pop(ax)?;
    a.add(al, u32::from(b'0'))?;
    a.call(character)?;
    a.dec(si)?;
    a.jnz(digit)?;
    for register in [si, dx, cx, bx] {
        a.pop(register)?;
    }
    a.ret()?;
    Ok(entry)
}
