//! The loops that are measured: small programs, each of which leans on one part of the engine.

use emu_devices::vga::modes::Mode;
use iced_x86::IcedError;
use iced_x86::code_asm::*;

use crate::{CODE, DATA, HOLE, Width, assembled};

/// Where the loop's body starts: behind two MOV of 5 bytes, CLD and FNINIT.
const BODY: i32 = CODE as i32 + 13;

/// Assembles a loop's body.
pub type Program = fn(&mut CodeAssembler) -> Result<(), IcedError>;

/// Puts a loop's body into an endless loop, with EBX and ESI (BX and SI, RBX and RSI) pointing to data.
///
/// # Panics
/// If it can't be assembled.
#[must_use]
pub fn looped(width: Width, body: Program) -> Vec<u8> {
    assembled(width, |a| {
        let mut again = a.create_label();
        if width == Width::Real {
            a.mov(bx, 0x2000)?;
            a.mov(si, 0x3000)?;
        } else {
            a.mov(ebx, DATA as i32)?;
            a.mov(esi, DATA as i32 + 0x2000)?;
        }
        a.cld()?;
        a.fninit()?;
        a.set_label(&mut again)?;
        body(a)?;
        a.jmp(again)
    })
}

/// Six independent instructions of registers: one op each, nothing but dispatch.
fn dispatch(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.mov(eax, ecx)?;
    a.lea(edx, dword_ptr(eax + ecx * 4 + 8))?;
    a.mov(ebp, edx)?;
    a.movzx(edi, al)?;
    a.mov(eax, 7)?;
    a.xchg(eax, ecx)
}

/// Jumps and branches, taken and not, linked inside of one page.
fn branches(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut odd, mut even) = (a.create_label(), a.create_label());
    a.inc(ecx)?;
    a.test(cl, 1)?;
    a.jnz(odd)?;
    a.inc(edx)?;
    a.jmp(even)?;
    a.set_label(&mut odd)?;
    a.dec(edx)?;
    a.set_label(&mut even)?;
    a.nop()
}

/// A call through a register and its return: both look their targets up.
fn indirect(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut over = a.create_label();
    a.mov(eax, BODY + 5 + 2 + 2)?; // the RET: behind MOV, CALL and JMP
    a.call(eax)?;
    a.jmp(over)?;
    a.ret()?;
    a.set_label(&mut over)?;
    a.nop()
}

/// Loads, a store and a read-modify-write that find their page in the TLB.
fn tlb_hit(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.mov(eax, dword_ptr(ebx))?;
    a.mov(ecx, dword_ptr(esi + 4))?;
    a.mov(dword_ptr(ebx + 8), ecx)?;
    a.add(dword_ptr(esi + 12), eax)?;
    a.movzx(edx, byte_ptr(ebx + 16))?;
    a.mov(byte_ptr(esi + 20), dl)
}

/// A load of a page whose translation was just dropped: it walks the page tables.
fn tlb_miss(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.invlpg(byte_ptr(ebx))?;
    a.mov(eax, dword_ptr(ebx))?;
    a.inc(ecx) // or it would be a poll, which is passed over
}

/// Flags that somebody reads: carry chains, conditions, and the whole register.
fn flags(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.add(eax, 0x7654_3210)?;
    a.adc(edx, 0)?;
    a.sbb(ecx, eax)?;
    a.setle(cl)?;
    a.shr(edx, 1)?;
    a.cmovc(edi, eax)?;
    a.cmp(eax, edx)?;
    a.pushfd()?;
    a.pop(ebp)
}

fn rep(a: &mut CodeAssembler, count: i32) -> Result<(), IcedError> {
    a.mov(edi, DATA as i32 + 0x10_0000)?;
    a.mov(esi, DATA as i32)?;
    a.mov(ecx, count)
}

/// 4 KiB at a time, over page boundaries.
fn rep_movsd(a: &mut CodeAssembler) -> Result<(), IcedError> {
    rep(a, 1024)?;
    a.rep().movsd()
}

/// 12 bytes at a time: what starting a REP costs.
fn rep_movsd_small(a: &mut CodeAssembler) -> Result<(), IcedError> {
    rep(a, 3)?;
    a.rep().movsd()
}

fn rep_stosb(a: &mut CodeAssembler) -> Result<(), IcedError> {
    rep(a, 4096)?;
    a.rep().stosb()
}

/// INT 80h and IRET at ring 0.
fn interrupts(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.int(0x80)
}

/// A page fault whose handler goes on behind the instruction.
fn page_faults(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.mov(ebx, HOLE as i32)?;
    a.db(&[0x8B, 0x43, 0x08]) // mov eax, [ebx + 8]: three bytes, as the handler expects
}

/// A CR3 reload and the two pages that are walked again.
fn cr3_reload(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.mov(eax, cr3)?;
    a.mov(cr3, eax)?;
    a.mov(ecx, dword_ptr(esi))
}

/// A store into the next instruction's immediate, which changes each time: the block is built anew.
fn self_modifying(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.inc(ecx)?;
    a.mov(byte_ptr(BODY + 1 + 6 + 1), cl)?; // behind INC, this MOV, and the next one's opcode
    a.mov(al, 0)
}

/// x87: load, multiply, add, store.
fn x87(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.fld1()?;
    a.fldpi()?;
    a.fmul_2(st0, st1)?;
    a.db(&[0xDE, 0xC1])?; // faddp st(1), st
    a.fstp(qword_ptr(ebx))
}

fn sse2(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.movups(xmm0, xmmword_ptr(ebx))?;
    a.paddd(xmm0, xmm1)?;
    a.pxor(xmm1, xmm0)?;
    a.cvtsi2sd(xmm2, ecx)?;
    a.mulsd(xmm2, xmm2)?;
    a.movups(xmmword_ptr(esi), xmm0)
}

/// An instruction without a handler of its own, run from its decoded form.
fn decoded_form(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.daa()
}

/// A delay by a counter, which is passed over but for a few rounds.
fn count_down(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut again = a.create_label();
    a.mov(ecx, 5000)?;
    a.set_label(&mut again)?;
    a.dec(ecx)?;
    a.jnz(again)
}

/// An access of a port that no device has.
fn port(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.mov(edx, 0x2E0)?;
    a.in_(al, dx)?;
    a.inc(ecx)
}

/// What a compiler makes of a small function with a frame, called in a loop: 32-bit code.
fn compiled(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut f, mut over, mut other) = (a.create_label(), a.create_label(), a.create_label());
    a.push(ebx)?;
    a.call(f)?;
    a.add(esp, 4)?;
    a.jmp(over)?;
    a.set_label(&mut f)?;
    a.push(ebp)?;
    a.mov(ebp, esp)?;
    a.sub(esp, 8)?;
    a.mov(eax, dword_ptr(ebp + 8))?;
    a.mov(ecx, dword_ptr(eax + 4))?;
    a.mov(dword_ptr(ebp - 4), ecx)?;
    a.cmp(dword_ptr(eax + 8), 0)?;
    a.je(other)?;
    a.xor(eax, eax)?;
    a.set_label(&mut other)?;
    a.leave()?;
    a.ret()?;
    a.set_label(&mut over)?;
    a.nop()
}

/// The same in 64-bit code, with arguments in registers.
fn compiled_64(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut f, mut over, mut other) = (a.create_label(), a.create_label(), a.create_label());
    a.mov(rdi, rbx)?;
    a.call(f)?;
    a.jmp(over)?;
    a.set_label(&mut f)?;
    a.push(rbx)?;
    a.sub(rsp, 16)?;
    a.mov(rax, qword_ptr(rdi + 8))?;
    a.movzx(ecx, byte_ptr(rdi + 16))?;
    a.lea(rdx, qword_ptr(rax + rcx * 8))?;
    a.mov(qword_ptr(rsp + 8), rdx)?;
    a.cmp(dword_ptr(rdi + 24), 0)?;
    a.je(other)?;
    a.xor(eax, eax)?;
    a.set_label(&mut other)?;
    a.add(rsp, 16)?;
    a.pop(rbx)?;
    a.ret()?;
    a.set_label(&mut over)?;
    a.nop()
}

/// What a DOS program does: 16-bit code with segments.
fn real_mode(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.mov(ax, word_ptr(bx))?;
    a.add(ax, cx)?;
    a.mov(word_ptr(si + 2), ax)?;
    a.inc(cx)?;
    a.push(ax)?;
    a.pop(dx)?;
    a.shl(dx, 1)?;
    a.mov(byte_ptr(bx + 8), dl)?;
    a.lodsb()?;
    a.mov(si, 0x3000)
}

/// A loop.
#[derive(Clone, Copy, Debug)]
pub struct Loop {
    /// What it is called in results.
    pub name: &'static str,
    /// The mode that it runs in.
    pub width: Width,
    /// Its body.
    pub body: Program,
    /// The video mode of the machine, if it has a VGA.
    pub mode: Option<&'static Mode>,
}

const fn flat(name: &'static str, body: Program) -> Loop {
    Loop { name, width: Width::Protected, body, mode: None }
}

/// All of them.
pub const LOOPS: [Loop; 22] = [
    flat("dispatch", dispatch),
    flat("branches", branches),
    flat("indirect", indirect),
    flat("tlb hit", tlb_hit),
    flat("tlb miss", tlb_miss),
    flat("flags", flags),
    flat("rep movsd 4 KiB", rep_movsd),
    flat("rep movsd 12 B", rep_movsd_small),
    flat("rep stosb 4 KiB", rep_stosb),
    flat("int and iret", interrupts),
    flat("page fault", page_faults),
    flat("cr3 reload", cr3_reload),
    flat("self-modifying", self_modifying),
    flat("x87", x87),
    flat("sse2", sse2),
    flat("decoded form", decoded_form),
    flat("poll", |_| Ok(())),
    flat("count down", count_down),
    flat("port", port),
    flat("compiled", compiled),
    Loop { name: "compiled, 64-bit", width: Width::Long, body: compiled_64, mode: None },
    Loop { name: "real mode", width: Width::Real, body: real_mode, mode: None },
];
