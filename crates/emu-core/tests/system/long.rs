//! Long mode: how it is entered, its interrupts, SYSCALL and SYSRET.

use super::guest::*;
use iced_x86::code_asm::*;

const PML4: u64 = 0x38_0000;

/// Identity-maps 4 MiB for user and supervisor with 2 MiB pages.
fn tables(g: &mut Guest) {
    g.words(PML4, &[0x38_1007, 0]);
    g.words(0x38_1000, &[0x38_2007, 0]);
    g.words(0x38_2000, &[0x87, 0, 0x20_0087, 0]);
    for v in 0..16 {
        let [low, high] = gate(CODE64, (HANDLERS + 16 * v) as u32, 0x8E, 0);
        g.words(IDT + 16 * v, &[low, high, 0, 0]);
    }
    // RSP0 and IST1.
    g.words(TSS + 4, &[STACK0, 0]);
    g.words(TSS + 36, &[0x2_8008, 0]);
}

/// Switches long mode on and goes on at `CODE + 0x200` in 64-bit mode, where `code` is.
pub(crate) fn guest(code: &[u8]) -> Guest {
    let enter = assembled(32, CODE, |a| {
        a.mov(eax, 0x20)?;
        a.mov(cr4, eax)?;
        a.mov(eax, PML4 as u32)?;
        a.mov(cr3, eax)?;
        a.mov(ecx, 0xC000_0080u32)?;
        a.mov(eax, 0x101)?;
        a.mov(edx, 0)?;
        a.wrmsr()?;
        a.mov(eax, 0x8000_0011u32)?;
        a.mov(cr0, eax)?;
        a.db(&[0xEA])?;
        a.dd(&[CODE as u32 + 0x200])?;
        a.dw(&[CODE64])
    });
    let mut g = Guest::new(&enter);
    tables(&mut g);
    g.sys.mem.write(CODE + 0x200, code);
    g
}

#[test]
fn long_mode_is_entered_by_paging_and_a_far_jump() {
    let code = assembled(64, CODE + 0x200, |a| {
        a.mov(rax, 0x1234_5678_9ABC_DEF0u64)?;
        a.mov(r9, rax)?;
        a.hlt()
    });
    let mut g = guest(&code);
    g.run();
    assert_eq!(g.sys.cpu.regs[9], 0x1234_5678_9ABC_DEF0);
    assert_eq!(g.sys.cpu.efer, 0x501);
}

#[test]
fn a_fault_pushes_five_words_and_its_code_on_an_aligned_stack() {
    let code = assembled(64, CODE + 0x200, |a| {
        a.lea(rsp, qword_ptr(rsp - 3))?;
        a.mov(rax, 0x8000_0000_0000_0000u64)?;
        a.mov(rbx, qword_ptr(rax))
    });
    let mut g = guest(&code);
    g.run();
    assert_eq!(g.sys.cpu.rip, HANDLERS + 13 * 16 + 1);
    let top = g.sys.cpu.regs[4];
    assert_eq!(top, u64::from(STACK0) - 16 - 48);
    let frame: Vec<u64> = (0..6).map(|n| g.sys.mem.load::<u64>(top + 8 * n)).collect();
    assert_eq!(frame[0], 0);
    assert_eq!(frame[2], CODE64.into());
    assert_eq!((frame[4], frame[5]), (u64::from(STACK0) - 3, DATA0.into()));
}

#[test]
fn the_interrupt_stack_table() {
    let mut g = guest(&[0x0F, 0x0B]);
    g.words(IDT + 6 * 16 + 4, &[0x8E01]);
    g.run();
    assert_eq!(g.sys.cpu.regs[4], 0x2_8000 - 40);
}

#[test]
fn syscall_and_sysret() {
    let user = CODE + 0x400;
    let code = assembled(64, CODE + 0x200, |a| {
        a.mov(rcx, user)?;
        a.mov(r11, 0x246u64)?;
        a.sysretq()
    });
    let mut g = guest(&code);
    g.sys.cpu.msr.star = u64::from(USER) << 48 | u64::from(CODE64) << 32;
    g.sys.cpu.msr.lstar = CODE + 0x600;
    g.sys.cpu.msr.fmask = 0x200;
    g.sys.mem.write(user, &[0x48, 0xC7, 0xC7, 5, 0, 0, 0, 0x0F, 0x05]); // mov rdi, 5; syscall
    g.sys.mem.write(CODE + 0x600, &[0xF4]);
    g.run();
    let r = g.sys.cpu.regs;
    assert_eq!((r[7], r[1], r[11]), (5, user + 9, 0x246));
    assert_eq!((g.sys.cpu.cpl, g.sys.cpu.eflags()), (0, 0x46));
    assert_eq!(g.sys.cpu.seg[1].sel, CODE64);
    assert_eq!(g.sys.cpu.seg[2].sel, CODE64 + 8);
}

#[test]
fn an_interrupt_from_64_bit_ring_3_and_iretq() {
    let code = assembled(64, CODE + 0x200, |a| a.iretq());
    let mut g = guest(&code);
    let user = CODE + 0x400;
    let code_sel = (USER + 16) | 3;
    let frame = [user, code_sel.into(), 0x2, u64::from(STACK3), u64::from((USER + 8) | 3)];
    for (i, word) in frame.into_iter().enumerate() {
        g.sys.mem.write(u64::from(STACK0) + 0x100 + 8 * i as u64, &word.to_le_bytes());
    }
    g.sys.cpu.regs[4] += 0x100;
    g.sys.mem.write(user, &[0x0F, 0x0B]);
    g.run();
    assert_eq!(g.sys.cpu.rip, HANDLERS + 6 * 16 + 1);
    assert_eq!(g.sys.cpu.regs[4], u64::from(STACK0) - 40);
    let pushed: Vec<u64> = (0..5).map(|n| g.sys.mem.load::<u64>(g.sys.cpu.regs[4] + 8 * n)).collect();
    assert_eq!(pushed, [user, code_sel.into(), 0x1_0002, STACK3.into(), u64::from((USER + 8) | 3)]);
    // The handler's SS is null, of its own level.
    assert_eq!(g.sys.cpu.seg[2].sel, 0);
}
