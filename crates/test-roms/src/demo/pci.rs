//! The PCI section: bus 0 by configuration mechanism 1 [PCI 2.1 3.7.4.1].

use iced_x86::code_asm::*;

use super::Shared;
use super::layout::{DIM, LABEL, PCI};
use crate::asm::{Asm, Emit, IcedError};

const ADDRESS: u32 = 0xCF8;
const DATA: u32 = 0xCFC;
const ENABLE: u32 = 0x8000_0000;

/// Names of classes: class and subclass [PCI 2.1 appendix D]; a subclass of FFh stands for any.
const CLASSES: [(u8, u8, &str); 15] = [
    (0x01, 0x01, "IDE"),
    (0x01, 0x06, "SATA"),
    (0x01, 0xFF, "storage"),
    (0x02, 0xFF, "network"),
    (0x03, 0xFF, "graphics"),
    (0x04, 0xFF, "multimedia"),
    (0x06, 0x00, "host bridge"),
    (0x06, 0x01, "ISA bridge"),
    (0x06, 0x04, "PCI bridge"),
    (0x06, 0xFF, "bridge"),
    (0x07, 0xFF, "serial"),
    (0x08, 0xFF, "system"),
    (0x0C, 0x03, "USB"),
    (0x0C, 0xFF, "serial bus"),
    (0xFF, 0xFF, ""),
];

/// A routine that prints the functions found, as many as fit.
pub(super) fn emit(a: &mut Asm, shared: &Shared) -> Result<CodeLabel, IcedError> {
    let address = a.space(4);
    let found = function(a, shared, address)?;
    let (mut none, mut newer) = (a.create_label(), a.create_label());
    let entry = a.mark()?;
    a.mov(di, PCI.line(0))?;
    a.cmp(word_ptr(shared.class), 3)?;
    a.jae(newer)?;
    a.here(&mut none)?;
    shared.print.say(a, DIM, "none")?;
    a.ret()?;
    a.here(&mut newer)?;
    a.newer(|a| {
        a.mov(dx, ADDRESS)?;
        a.mov(eax, ENABLE)?;
        a.out(dx, eax)?;
        a.in_(eax, dx)?;
        a.cmp(eax, ENABLE)?;
        a.jne(none)?;
        scan(a, address, found)
    })?;
    a.ret()?;
    Ok(entry)
}

/// Emits: all functions of bus 0 whose vendor is there. Functions 1 to 7 only where function 0 says there are any.
fn scan(a: &mut Asm, address: u32, found: CodeLabel) -> Emit {
    let (mut absent, mut next, mut single) = (a.create_label(), a.create_label(), a.create_label());
    a.mov(dword_ptr(address), ENABLE)?;
    let again = a.mark()?;
    a.mov(eax, dword_ptr(address))?;
    read(a)?;
    a.cmp(ax, 0xFFFFu32)?;
    a.je(absent)?;
    a.cmp(di, PCI.line(PCI.rows))?;
    a.jae(absent)?;
    a.call(found)?;
    a.here(&mut absent)?;
    a.mov(eax, dword_ptr(address))?;
    a.test(ah, 7)?;
    a.jnz(next)?;
    a.mov(al, 0x0C)?;
    read(a)?;
    a.cmp(eax, 0xFFFF_FFFFu32)?;
    a.je(single)?;
    a.test(eax, 0x0080_0000)?;
    a.jnz(next)?;
    a.here(&mut single)?;
    a.add(dword_ptr(address), 0x700)?;
    a.here(&mut next)?;
    a.add(dword_ptr(address), 0x100)?;
    a.test(dword_ptr(address), 0x0001_0000)?;
    a.jz(again)
}

/// Emits: EAX = the configuration register whose address is in EAX. Destroys DX.
fn read(a: &mut Asm) -> Emit {
    a.mov(dx, ADDRESS)?;
    a.out(dx, eax)?;
    a.mov(dx, DATA)?;
    a.in_(eax, dx)
}

/// A routine that prints the function at `address`: "00:01.1 8086:7010 IDE"; then DI is at the next line.
fn function(a: &mut Asm, shared: &Shared, address: u32) -> Result<CodeLabel, IcedError> {
    let mut table = Vec::new();
    for (class, subclass, name) in CLASSES {
        let name = a.text(name) as u16;
        table.extend_from_slice(&[subclass, class]);
        table.extend_from_slice(&name.to_le_bytes());
    }
    let table = a.bytes(&table);
    let entry = a.mark()?;
    a.push(di)?;
    shared.print.say(a, LABEL, "00:")?;
    shared.print.colour(a, LABEL)?;
    let character = |a: &mut Asm, c: u8| {
        a.mov(al, u32::from(c))?;
        a.call(shared.print.character)
    };
    a.newer(|a| {
        a.mov(ax, word_ptr(address))?;
        a.mov(al, ah)?;
        a.shr(al, 3)?;
        a.call(shared.print.hex8)?;
        character(a, b'.')?;
        a.mov(al, byte_ptr(address + 1))?;
        a.and(al, 7)?;
        a.add(al, u32::from(b'0'))?;
        a.call(shared.print.character)?;
        character(a, b' ')?;
        shared.print.colour(a, super::layout::VALUE)?;
        a.mov(eax, dword_ptr(address))?;
        read(a)?;
        a.push(eax)?;
        a.call(shared.print.hex16)?;
        character(a, b':')?;
        a.pop(eax)?;
        a.shr(eax, 16)?;
        a.call(shared.print.hex16)?;
        character(a, b' ')?;
        a.mov(eax, dword_ptr(address))?;
        a.mov(al, 8)?;
        read(a)?;
        a.shr(eax, 16)
    })?;
    class_name(a, shared, table)?;
    a.pop(di)?;
    a.add(di, 160u32)?;
    a.ret()?;
    Ok(entry)
}

/// Emits: the name of class AH, subclass AL.
fn class_name(a: &mut Asm, shared: &Shared, table: u32) -> Emit {
    let mut found = a.create_label();
    a.mov(bx, table - 4)?;
    let next = a.mark()?;
    a.add(bx, 4)?;
    a.mov(dx, word_ptr(bx))?;
    a.cmp(dh, 0xFFu32)?;
    a.je(found)?;
    a.cmp(dh, ah)?;
    a.jne(next)?;
    a.cmp(dl, 0xFFu32)?;
    a.je(found)?;
    a.cmp(dl, al)?;
    a.jne(next)?;
    a.here(&mut found)?;
    a.mov(si, word_ptr(bx + 2))?;
    shared.print.colour(a, super::layout::GOOD)?;
    a.call(shared.print.text)?;
    shared.print.colour(a, super::layout::VALUE)
}
