//! The memory section: sizes by INT 12h and INT 15h function 88h, the map by INT 15h function E820h [ACPI 15].

use iced_x86::code_asm::*;

use super::Shared;
use super::layout::{DIM, GOOD, LABEL, MEMORY, VALUE};
use crate::asm::{Asm, Emit, IcedError};
use crate::cells::at;

const SIGNATURE: u32 = u32::from_be_bytes(*b"SMAP");

/// A routine that prints the sizes into the frame, and the map.
pub(super) fn emit(a: &mut Asm, shared: &Shared) -> Result<CodeLabel, IcedError> {
    let buffer = a.space(20);
    let entry_line = map_entry(a, shared, buffer)?;
    let mut end = a.create_label();
    let entry = a.mark()?;
    sizes(a, shared)?;
    a.mov(di, MEMORY.line(0))?;
    let mut has_386 = a.create_label();
    a.cmp(word_ptr(shared.class), 3)?;
    a.jae(has_386)?;
    shared.print.say(a, DIM, "no map before the 386")?;
    a.ret()?;
    a.here(&mut has_386)?;
    a.newer(|a| walk(a, buffer, entry_line, end))?;
    a.here(&mut end)?;
    a.ret()?;
    Ok(entry)
}

/// Emits: " 639 + 64512 KB " into the top of the frame. Function 88h is the AT's; older machines answer an error.
fn sizes(a: &mut Asm, shared: &Shared) -> Emit {
    let mut none = a.create_label();
    a.mov(di, at(MEMORY.row - 1, 60))?;
    shared.print.say(a, LABEL, " ")?;
    a.int(0x12)?;
    a.xor(dx, dx)?;
    a.call(shared.print.decimal)?;
    a.stc()?;
    a.mov(ah, 0x88u32)?;
    a.int(0x15)?;
    a.jc(none)?;
    a.push(ax)?;
    shared.print.say(a, LABEL, " + ")?;
    a.pop(ax)?;
    a.xor(dx, dx)?;
    a.call(shared.print.decimal)?;
    a.here(&mut none)?;
    shared.print.say(a, LABEL, " KB ")
}

/// Emits: the map's entries into lines from DI on, as many as fit.
fn walk(a: &mut Asm, buffer: u32, entry_line: CodeLabel, end: CodeLabel) -> Emit {
    a.xor(ebx, ebx)?;
    let next = a.mark()?;
    a.push(es)?;
    a.push(di)?;
    a.push(ds)?;
    a.pop(es)?;
    a.mov(di, buffer)?;
    a.mov(eax, 0xE820u32)?;
    a.mov(edx, SIGNATURE)?;
    a.mov(ecx, 20)?;
    a.int(0x15)?;
    a.pop(di)?;
    a.pop(es)?;
    a.jc(end)?;
    a.cmp(eax, SIGNATURE)?;
    a.jne(end)?;
    a.push(ebx)?;
    a.push(di)?;
    a.call(entry_line)?;
    a.pop(di)?;
    a.pop(ebx)?;
    a.add(di, 160u32)?;
    a.cmp(di, MEMORY.line(MEMORY.rows))?;
    a.jae(end)?;
    a.or(ebx, ebx)?;
    a.jnz(next)
}

/// A routine that prints one entry: first and last address, size, kind.
fn map_entry(a: &mut Asm, shared: &Shared, buffer: u32) -> Result<CodeLabel, IcedError> {
    let address = nine_digits(a, shared)?;
    let (mut usable, mut end, mut kilobytes) = (a.create_label(), a.create_label(), a.create_label());
    let entry = a.mark()?;
    a.newer(|a| {
        a.mov(eax, dword_ptr(buffer))?;
        a.mov(edx, dword_ptr(buffer + 4))?;
        a.call(address)?;
        shared.print.say(a, DIM, "-")?;
        a.mov(eax, dword_ptr(buffer))?;
        a.mov(edx, dword_ptr(buffer + 4))?;
        a.add(eax, dword_ptr(buffer + 8))?;
        a.adc(edx, dword_ptr(buffer + 12))?;
        a.sub(eax, 1)?;
        a.sbb(edx, 0)?;
        a.call(address)?;
        shared.print.say(a, DIM, " ")?;
        a.mov(eax, dword_ptr(buffer + 8))?;
        a.mov(edx, dword_ptr(buffer + 12))?;
        a.shrd(eax, edx, 10)?;
        a.mov(cl, u32::from(b'K'))?;
        a.cmp(eax, 10_000)?;
        a.jb(kilobytes)?;
        a.shr(eax, 10)?;
        a.mov(cl, u32::from(b'M'))?;
        a.here(&mut kilobytes)?;
        a.mov(edx, eax)?;
        a.shr(edx, 16)?;
        a.call(shared.print.decimal)?;
        a.mov(al, cl)?;
        a.call(shared.print.character)?;
        a.cmp(dword_ptr(buffer + 16), 1)
    })?;
    a.je(usable)?;
    shared.print.say(a, DIM, " reserved")?;
    a.jmp(end)?;
    a.here(&mut usable)?;
    shared.print.say(a, GOOD, " usable")?;
    a.here(&mut end)?;
    a.ret()?;
    Ok(entry)
}

/// A routine that prints the low 36 bits of EDX:EAX in hexadecimal.
fn nine_digits(a: &mut Asm, shared: &Shared) -> Result<CodeLabel, IcedError> {
    let entry = a.mark()?;
    shared.print.colour(a, VALUE)?;
    a.newer(|a| {
        a.push(eax)?;
        a.mov(al, dl)?;
        a.and(al, 15)?;
        a.add(al, 0x90u32)?;
        a.daa()?;
        a.adc(al, 0x40)?;
        a.daa()?;
        a.call(shared.print.character)?;
        a.pop(eax)?;
        a.mov(edx, eax)?;
        a.shr(edx, 16)
    })?;
    a.jmp(shared.print.hex32)?;
    Ok(entry)
}
