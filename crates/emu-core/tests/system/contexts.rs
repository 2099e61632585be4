//! Remembered places of code hold as long as their translations do; transitions go on without a look around.

use super::guest::*;
use emu_core::{Stop, Ticks};
use iced_x86::code_asm::*;

/// A page with a subroutine, its entry in the first page table, and two directories of pages.
const X: u64 = 0x20_0000;
const PTE: u64 = 0x30_1000 + 4 * 0x200;
const A: u32 = 0x30_0000;
const B: u32 = 0x31_0000;

/// `ADD EBX, n; RET`.
fn adds(n: u32) -> Vec<u8> {
    [&[0x81, 0xC3][..], &n.to_le_bytes(), &[0xC3]].concat()
}

/// Runs `main`, which can call `visit`, and that calls the page: by one and the same instruction each time. The page adds 1
/// under A, 100h under B, and 1_0000h at 29_0000h.
fn guest(main: impl FnOnce(&mut CodeAssembler, CodeLabel) -> Result<(), IcedError>) -> Guest {
    let code = assembled(32, CODE, |a| {
        let (mut visit, mut start) = (a.create_label(), a.create_label());
        a.jmp(start)?;
        a.set_label(&mut visit)?;
        a.call(X)?;
        a.ret()?;
        a.set_label(&mut start)?;
        main(a, visit)?;
        a.hlt()
    });
    let mut g = Guest::new(&code);
    g.identity_pages();
    g.words(B.into(), &[B + 0x1007]);
    let entries: Vec<u32> = (0..1024).map(|i| (if i == 0x200 { 0x28_0000 } else { i << 12 }) | 7).collect();
    g.words(u64::from(B) + 0x1000, &entries);
    for (at, n) in [(X, 1), (0x28_0000, 0x100), (0x29_0000, 0x1_0000)] {
        g.sys.mem.write(at, &adds(n));
    }
    g
}

fn enter(a: &mut CodeAssembler, space: u32) -> Result<(), IcedError> {
    a.mov(ecx, space)?;
    a.mov(cr3, ecx)
}

#[test]
fn a_code_page_that_was_replaced_meanwhile_is_noticed_behind_a_write_to_cr3() {
    let mut g = guest(|a, visit| {
        for space in [A, A, B, A, B] {
            enter(a, space)?;
            a.call(visit)?;
        }
        a.mov(dword_ptr(PTE), 0x29_0007)?;
        enter(a, A)?;
        a.call(visit)?;
        enter(a, B)?;
        a.call(visit)?;
        enter(a, A)?;
        a.call(visit)
    });
    g.run();
    assert_eq!(g.sys.cpu.regs[3], 0x2_0303);
}

#[test]
fn an_accessed_bit_that_was_cleared_is_set_again() {
    let mut g = guest(|a, visit| {
        a.call(visit)?;
        a.mov(esi, dword_ptr(PTE))?;
        a.mov(dword_ptr(PTE), X as u32 | 7)?;
        a.mov(edi, dword_ptr(A))?;
        a.mov(dword_ptr(A), A + 0x1007)?;
        enter(a, A)?;
        a.call(visit)
    });
    g.run();
    assert_eq!((g.sys.cpu.regs[6], g.sys.cpu.regs[7]), (0x20_0027, 0x30_1027));
    assert_eq!((g.word(PTE), g.word(A.into())), (0x20_0027, 0x30_1027));
    assert_eq!(g.sys.cpu.regs[3], 2);
}

#[test]
fn invlpg_shows_another_page_even_where_it_was_global() {
    let mut g = guest(|a, visit| {
        a.call(visit)?;
        enter(a, A)?;
        a.call(visit)?;
        a.mov(dword_ptr(PTE), 0x28_0107)?;
        a.invlpg(ptr(X))?;
        a.call(visit)
    });
    g.words(PTE, &[X as u32 | 0x107]);
    g.sys.cpu.cr4 = 0x80;
    g.run();
    assert_eq!(g.sys.cpu.regs[3], 0x102);
}

#[test]
fn a_call_goes_on_to_what_took_the_place_of_its_target() {
    let mut g = guest(|a, visit| {
        let mut again = a.create_label();
        a.mov(esi, 60)?;
        a.set_label(&mut again)?;
        a.mov(dword_ptr(X + 2), esi)?;
        a.call(visit)?;
        a.call(visit)?;
        a.dec(esi)?;
        a.jnz(again)
    });
    g.run();
    assert_eq!(g.sys.cpu.regs[3], 60 * 61);
}

/// Rings 3 and 0 by turns: interrupts, SYSENTER, page faults.
fn transitions() -> Guest {
    let (again, back) = (CODE + 0x100, CODE + 0x200);
    let mut g = Guest::new(&assembled(32, CODE, |a| {
        a.mov(esi, 20)?;
        a.jmp(again)
    }));
    let enter = assembled(32, again, |a| {
        a.int(4)?;
        a.mov(ecx, esp)?;
        a.mov(edx, back as u32)?;
        a.sysenter()
    });
    g.sys.mem.write(again, &enter);
    let behind = assembled(32, back, |a| {
        a.pushfd()?;
        a.pop(ebp)?;
        a.mov(dword_ptr(X + 0x10), esi)?;
        a.call(X)?;
        a.dec(esi)?;
        a.jnz(again)?;
        a.db(&[0x0F, 0x0B])
    });
    g.sys.mem.write(back, &behind);
    g.ring(3);
    g.identity_pages();
    g.words(PTE, &[0]);
    g.sys.mem.write(0x28_0000, &adds(1));
    let handler = |g: &mut Guest, v: u64, f: &dyn Fn(&mut CodeAssembler) -> Result<(), IcedError>| {
        let at = CODE + 0x1000 * v;
        g.sys.mem.write(at, &assembled(32, at, f));
        g.words(IDT + 8 * v, &gate(CODE0, at as u32, 0xEE, 0));
    };
    handler(&mut g, 4, &|a| {
        a.push(ds)?;
        a.pop(es)?;
        a.add(ebx, 0x100)?;
        // Its page is not there the next time.
        a.mov(dword_ptr(PTE), 0)?;
        a.invlpg(ptr(X))?;
        a.iretd()
    });
    handler(&mut g, 14, &|a| {
        a.mov(dword_ptr(PTE), 0x28_0007)?;
        a.add(esp, 4)?;
        a.iretd()
    });
    let at = CODE + 0x800;
    let sysenter = assembled(32, at, |a| {
        a.add(ebx, 0x1_0000)?;
        a.sti()?;
        a.sysexit()
    });
    g.sys.mem.write(at, &sysenter);
    let msr = &mut g.sys.cpu.msr;
    (msr.sysenter_cs, msr.sysenter_esp, msr.sysenter_eip) = (CODE0.into(), STACK0.into(), at);
    g
}

#[test]
fn transitions_are_the_same_in_one_run_and_tick_by_tick() {
    let (mut whole, mut cut) = (transitions(), transitions());
    assert_eq!(whole.run_to_fault().0, 6);
    assert_eq!(whole.sys.cpu.regs[3], 20 * 0x1_0101);
    let end = whole.sys.now();
    let mut tick = Ticks(0);
    while tick < end && cut.sys.run(tick) != Stop::Asleep {
        tick = tick + 1;
    }
    cut.sys.run(end);
    let seen = |g: &Guest| {
        let cpu = &g.sys.cpu;
        (g.sys.now(), cpu.regs, cpu.rip, cpu.eflags(), cpu.seg.map(|s| s.sel), cpu.cr2, g.word(PTE))
    };
    assert_eq!(seen(&whole), seen(&cut));
}
