//! A multiboot kernel that lists its modules on the debug console: argument, size, then contents [Multiboot 3.3].

use iced_x86::code_asm::*;

use super::{DONE, say};
use crate::asm::{Emit, IcedError};

/// Where the kernel is loaded: its header comes first, then its code.
const LOADED: u32 = 0x10_0000;
/// Bytes of the header with its addresses.
const HEADER: u32 = 32;
const MAGIC: u32 = 0x1BAD_B002;
/// Modules on page boundaries (bit 0), addresses in the header (bit 16).
const FLAGS: u32 = 0x1_0001;
/// What EAX holds after a multiboot loader.
const LOADER: u32 = 0x2BAD_B002;

/// The kernel's file.
///
/// # Panics
/// If the kernel can't be assembled: it has no input, so this crate's tests find that.
#[must_use]
#[expect(clippy::expect_used, reason = "a program without input, assembled by this crate's tests")]
pub fn modules_kernel() -> Vec<u8> {
    let code = code().expect("the kernel assembles");
    let end = LOADED + HEADER + code.len() as u32;
    let checksum = 0u32.wrapping_sub(MAGIC.wrapping_add(FLAGS));
    let header = [MAGIC, FLAGS, checksum, LOADED, LOADED, end, end + 0x1000, LOADED + HEADER];
    header.iter().flat_map(|word| word.to_le_bytes()).chain(code).collect()
}

fn code() -> Result<Vec<u8>, IcedError> {
    let mut a = CodeAssembler::new(32)?;
    emit(&mut a)?;
    a.assemble((LOADED + HEADER).into())
}

fn emit(a: &mut CodeAssembler) -> Emit {
    let (mut next, mut done, mut strange) = (a.create_label(), a.create_label(), a.create_label());
    a.cmp(eax, LOADER as i32)?;
    a.jne(strange)?;
    a.test(dword_ptr(ebx), 1 << 3)?; // flags: there are modules
    a.je(done)?;
    a.mov(ecx, dword_ptr(ebx + 20))?; // mods_count
    a.mov(ebp, dword_ptr(ebx + 24))?; // mods_addr: start, end, string, 0
    a.set_label(&mut next)?;
    a.test(ecx, ecx)?;
    a.je(done)?;
    say(a, "module ")?;
    a.mov(esi, dword_ptr(ebp + 8))?;
    print_string(a)?;
    say(a, ": ")?;
    a.mov(esi, dword_ptr(ebp))?;
    a.mov(edi, dword_ptr(ebp + 4))?;
    print_bytes(a)?;
    a.test(dword_ptr(ebp), 0xFFF)?;
    a.jne(strange)?;
    say(a, "\n")?;
    a.add(ebp, 16)?;
    a.dec(ecx)?;
    a.jmp(next)?;
    a.set_label(&mut done)?;
    a.mov(al, u32::from(DONE))?;
    a.out(0xF4, al)?;
    a.hlt()?;
    a.set_label(&mut strange)?;
    a.mov(al, 1u32)?;
    a.out(0xF4, al)?;
    a.hlt()
}

/// The text at ESI, up to its 0.
fn print_string(a: &mut CodeAssembler) -> Emit {
    let (mut again, mut end) = (a.create_label(), a.create_label());
    a.set_label(&mut again)?;
    a.mov(al, byte_ptr(esi))?;
    a.inc(esi)?;
    a.test(al, al)?;
    a.je(end)?;
    a.out(0xE9, al)?;
    a.jmp(again)?;
    a.set_label(&mut end)?;
    a.zero_bytes()
}

/// The bytes from ESI to EDI.
fn print_bytes(a: &mut CodeAssembler) -> Emit {
    let (mut again, mut end) = (a.create_label(), a.create_label());
    a.set_label(&mut again)?;
    a.cmp(esi, edi)?;
    a.jae(end)?;
    a.mov(al, byte_ptr(esi))?;
    a.inc(esi)?;
    a.out(0xE9, al)?;
    a.jmp(again)?;
    a.set_label(&mut end)?;
    a.zero_bytes()
}
