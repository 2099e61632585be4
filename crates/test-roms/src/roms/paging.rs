//! Into protected mode with paging and back out of a page fault: two linear pages on one frame, and a page that is
//! not there [SDM-3 4.3, 6.15 "Page-Fault Exception"].

use iced_x86::code_asm::*;

use crate::asm::{Emit, IcedError};

pub(super) const EXPECTED: &str = "PAGE\nFAULT 00400ABC\n00000002\n";

/// Page directory, page table, IDT, and the frame that is mapped twice.
const DIRECTORY: u32 = 0x1000;
const TABLE: u32 = 0x2000;
const IDT: u32 = 0x3000;
const FRAME: u32 = 0x5000;
/// The other linear address of the frame: 3FF000h, the table's last entry; behind it nothing is mapped.
const ALIAS: u32 = 0x3F_F000;
const UNMAPPED: u32 = 0x40_0ABC;
/// Flat 32-bit code and data [SDM-3 3.4.5].
const GDT: [u32; 6] = [0, 0, 0x0000_FFFF, 0x00CF_9A00, 0x0000_FFFF, 0x00CF_9200];
const CODE: u32 = 8;
const DATA: u32 = 16;
/// Where the descriptor tables and their pointers are put.
const GDT_AT: u32 = 0x600;
const GDTR_AT: u32 = 0x640;
const IDTR_AT: u32 = 0x648;

/// The real-mode part: tables in memory, then CR0. The 32-bit part is assembled on its own and follows.
pub(super) fn emit(a: &mut CodeAssembler) -> Emit {
    super::begin(a)?;
    let (mut there, mut tables) = (a.create_label(), a.create_label());
    a.call(there)?;
    a.db(&protected()?)?;
    a.set_label(&mut there)?;
    a.pop(bp)?; // the address of the 32-bit code
    a.mov(di, DIRECTORY)?;
    a.xor(eax, eax)?;
    a.mov(cx, (IDT + 0x1000 - DIRECTORY) / 4)?;
    a.rep().stosd()?;
    a.mov(dword_ptr(DIRECTORY), TABLE | 3)?;
    a.mov(di, TABLE)?;
    a.mov(eax, 3)?;
    a.mov(cx, 1023)?;
    a.set_label(&mut tables)?;
    a.stosd()?;
    a.add(eax, 0x1000)?;
    a.loop_(tables)?;
    a.mov(dword_ptr(TABLE + 4 * 1023), FRAME | 3)?;
    for (n, word) in GDT.into_iter().enumerate() {
        a.mov(dword_ptr(GDT_AT + 4 * n as u32), word)?;
    }
    a.mov(word_ptr(GDTR_AT), 23)?;
    a.mov(dword_ptr(GDTR_AT + 2), GDT_AT)?;
    a.mov(word_ptr(IDTR_AT), 0x7FF)?;
    a.mov(dword_ptr(IDTR_AT + 2), IDT)?;
    a.lgdt(fword_ptr(GDTR_AT))?;
    a.lidt(fword_ptr(IDTR_AT))?;
    a.mov(eax, DIRECTORY)?;
    a.mov(cr3, eax)?;
    a.mov(eax, cr0)?;
    a.or(eax, 0x8000_0001u32)?;
    a.push(CODE)?;
    a.push(bp)?;
    a.mov(cr0, eax)?;
    a.retf()
}

/// The 32-bit code, which runs wherever it lies.
fn protected() -> Result<Vec<u8>, IcedError> {
    let mut a = CodeAssembler::new(32)?;
    let (mut handler, mut start) = (a.create_label(), a.create_label());
    a.mov(ax, DATA)?;
    for segment in [ds, es, ss] {
        a.mov(segment, ax)?;
    }
    a.mov(esp, 0x7C00)?;
    a.call(start)?;
    // The page fault's handler: error code, CR2, and the end.
    a.set_label(&mut handler)?;
    super::say(&mut a, "FAULT ")?;
    a.mov(eax, cr2)?;
    say_eax_32(&mut a)?;
    a.pop(eax)?;
    say_eax_32(&mut a)?;
    super::end(&mut a)?;
    a.set_label(&mut start)?;
    a.pop(eax)?;
    a.mov(word_ptr(IDT + 14 * 8), ax)?; // an interrupt gate [SDM-3 6.11]
    a.mov(dword_ptr(IDT + 14 * 8 + 2), 0x8E00_0000u32 | CODE)?;
    a.mov(dword_ptr(FRAME + 0xABC), 0x4547_4150)?; // "PAGE"
    a.mov(eax, dword_ptr(ALIAS + 0xABC))?;
    for _ in 0..4 {
        a.out(0xE9, al)?;
        a.ror(eax, 8)?;
    }
    super::say(&mut a, "\n")?;
    a.mov(dword_ptr(UNMAPPED), eax)?;
    super::say(&mut a, "no fault\n")?;
    super::end(&mut a)?;
    a.assemble(0)
}

fn say_eax_32(a: &mut CodeAssembler) -> Emit {
    a.mov(ecx, 0)?;
    super::say_eax(a)
}
