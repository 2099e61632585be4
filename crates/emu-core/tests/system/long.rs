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

/// A guest whose program of ring 3 calls far to `selector`, by a pointer whose offset does not count.
fn calling(selector: u16) -> Guest {
    let user = CODE + 0x400;
    let code = assembled(64, CODE + 0x200, |a| {
        a.mov(rcx, user)?;
        a.mov(r11, 0x202u64)?;
        a.sysretq()
    });
    let mut g = guest(&code);
    g.sys.cpu.msr.star = u64::from(USER) << 48 | u64::from(CODE64) << 32;
    g.sys.mem.write(user, &[0xFF, 0x1C, 0x25, 0, 0x80, 1, 0, 0x0F, 0x0B]); // call far [18000h]; ud2
    g.words(0x1_8000, &[0xDEAD_BEEF, selector.into()]);
    g.sys.mem.write(CODE + 0x600, &[0xF4]);
    g
}

/// The 16 bytes of a 64-bit call gate, in place of [`GATE`] and the entry behind it.
fn call_gate(g: &mut Guest, sel: u16, offset: u64, kind: u8, upper_type: u32) {
    let [low, high] = gate(sel, offset as u32, kind, 0);
    g.words(GDT + u64::from(GATE), &[low, high, (offset >> 32) as u32, upper_type]);
}

/// Call gates of IA-32e mode: 16 bytes, no parameters, a frame of 8-byte words, a null SS [SDM-3 5.8.3.1, 5.8.5.1].
#[test]
fn a_call_gate_leads_from_ring_3_to_64_bit_code_and_back() {
    let user = CODE + 0x400;
    let code_sel = (USER + 16) | 3;
    let mut g = calling(GATE | 3);
    call_gate(&mut g, CODE64, CODE + 0x600, 0xEC, 0);
    g.run();
    assert_eq!((g.sys.cpu.cpl, g.sys.cpu.rip, g.sys.cpu.seg[2].sel), (0, CODE + 0x601, 0));
    assert_eq!(g.sys.cpu.regs[4], u64::from(STACK0) - 32);
    let pushed: Vec<u64> = (0..4).map(|n| g.sys.mem.load::<u64>(g.sys.cpu.regs[4] + 8 * n)).collect();
    assert_eq!(pushed, [user + 7, code_sel.into(), u64::from(STACK0), u64::from((USER + 8) | 3)]);
    let mut g = calling(GATE | 3);
    call_gate(&mut g, CODE64, CODE + 0x600, 0xEC, 0);
    g.sys.mem.write(CODE + 0x600, &[0x48, 0xCB]); // retfq
    g.run();
    assert_eq!(g.sys.cpu.rip, HANDLERS + 6 * 16 + 1);
    let pushed: Vec<u64> = (0..2).map(|n| g.sys.mem.load::<u64>(g.sys.cpu.regs[4] + 8 * n)).collect();
    assert_eq!(pushed, [user + 7, code_sel.into()]);
}

/// What such a gate refuses [SDM-2A CALL, 64-bit mode exceptions].
#[test]
fn call_gates_of_ia_32e_mode_are_checked() {
    let canonical = CODE + 0x600;
    for (sel, offset, kind, upper, vector, error) in [
        (CODE64, canonical, 0xEC, 0xC00, 13, GATE), // the type field of the upper half is not 0
        (CODE64, canonical, 0xE4, 0, 13, GATE),     // a 16-bit call gate is none
        (CODE64, canonical, 0x8C, 0, 13, GATE),     // DPL
        (CODE64, canonical, 0x6C, 0, 11, GATE),     // absent
        (CODE0, canonical, 0xEC, 0, 13, CODE0),     // 32-bit code
        (DATA0, canonical, 0xEC, 0, 13, DATA0),     // data
        (0, canonical, 0xEC, 0, 13, 0),             // null
        (CODE64, 0x8000_0000_0000, 0xEC, 0, 13, 0), // no address
    ] {
        let mut g = calling(GATE | 3);
        call_gate(&mut g, sel, offset, kind, upper);
        g.run();
        assert_eq!(
            g.sys.cpu.rip,
            HANDLERS + u64::from(vector as u16) * 16 + 1,
            "{sel:X} {offset:X} {kind:X} {upper:X}"
        );
        assert_eq!(g.stack(0) as u16, error, "{sel:X} {offset:X} {kind:X} {upper:X}");
    }
}

/// SYSCALL clears what FMASK names, keeps all flags but RF in R11, and SYSRET loads those that it may [SDM-2B SYSCALL, SYSRET].
#[test]
fn masks_of_syscall_and_sysret() {
    let user = CODE + 0x400;
    let code = assembled(64, CODE + 0x200, |a| {
        a.mov(rcx, user)?;
        a.mov(r11, 0xFFFF_FFFF_FFFF_FEFFu64)?; // all but TF
        a.sysretq()
    });
    for (fmask, left) in [(0u64, 0x24_4AD7u32), (0x4_7700, 0x20_08D7), (u64::MAX, 2)] {
        let mut g = guest(&code);
        g.sys.cpu.msr.star = u64::from(USER) << 48 | u64::from(CODE64) << 32;
        (g.sys.cpu.msr.lstar, g.sys.cpu.msr.fmask) = (CODE + 0x600, fmask);
        g.sys.mem.write(user, &[0x0F, 0x05]);
        g.sys.mem.write(CODE + 0x600, &[0xF4]);
        g.run();
        let loaded = 0x3C_7ED7; // of 3C7FD7h
        assert_eq!(g.sys.cpu.regs[11], loaded & !0x10_0000 | g.sys.cpu.regs[11] & 0x10_0000);
        assert_eq!(g.sys.cpu.eflags() & 0x24_4AD7, left, "{fmask:X}");
    }
}
