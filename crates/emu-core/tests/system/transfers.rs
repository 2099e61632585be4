//! Transfers that are allowed: to ring 3 and back by interrupt, call gate, SYSENTER; far calls and returns.

use super::guest::*;
use emu_core::Interrupt;
use iced_x86::code_asm::*;

/// Puts the frame of a return to ring 3 on the stack: EIP, CS, [EFLAGS,] ESP, SS.
fn frame(g: &mut Guest, words: &[u32]) {
    let at = u64::from(STACK0) - 4 * words.len() as u64;
    g.words(at, words);
    g.sys.cpu.regs[4] = at;
}

const USER_CODE: u32 = CODE as u32 + 0x400;

#[test]
fn iret_to_ring_3_and_a_software_interrupt_back() {
    let mut g = Guest::new(&[0xCF]);
    g.sys.mem.write(USER_CODE.into(), &[0xB8, 0x78, 0x56, 0x34, 0x12, 0xEB, 0xFE]);
    frame(&mut g, &[USER_CODE, CODE3.into(), 0x202, STACK3, DATA3.into()]);
    g.sys.run(emu_core::Ticks(10));
    assert_eq!((g.sys.cpu.cpl, g.sys.cpu.rip, g.sys.cpu.regs[0]), (3, u64::from(USER_CODE) + 5, 0x1234_5678));
    assert_eq!(g.sys.cpu.regs[4], STACK3.into());
    // The ring 0 data segments are gone.
    assert!(g.sys.cpu.seg[3].null && g.sys.cpu.seg[0].null);
    g.sys.interrupt(Interrupt::software(4)).unwrap();
    g.run();
    assert_eq!((g.sys.cpu.cpl, g.sys.cpu.rip), (0, HANDLERS + 64 + 1));
    let frame: Vec<u32> = (0..5).map(|n| g.stack(n)).collect();
    assert_eq!(frame, [USER_CODE + 5, CODE3.into(), 0x202, STACK3, DATA3.into()]);
    assert_eq!(g.sys.cpu.regs[4], u64::from(STACK0) - 20);
    assert_eq!(g.sys.cpu.eflags() & 0x200, 0);
    // A gate of ring 0 refuses software interrupts of ring 3, with the vector's code.
    g.ring(3);
    let fault = g.sys.interrupt(Interrupt::software(5)).unwrap_err();
    assert_eq!((fault.vector(), fault.code()), (13, Some(5 << 3 | 2)));
}

#[test]
fn a_call_gate_copies_parameters_and_retf_drops_them() {
    let code = assembled(32, CODE, |a| {
        a.db(&[0x9A, 0, 0, 0, 0])?;
        a.dw(&[GATE])?;
        a.mov(ebx, esp)?;
        a.db(&[0x0F, 0x0B])
    });
    let mut g = Guest::new(&code);
    let inner = assembled(32, CODE + 0x800, |a| {
        a.mov(eax, dword_ptr(esp + 8))?;
        a.mov(edx, dword_ptr(esp + 12))?;
        a.mov(ecx, esp)?;
        a.db(&[0xCA, 8, 0]) // retf 8
    });
    g.sys.mem.write(CODE + 0x800, &inner);
    g.ring(3);
    g.sys.cpu.regs[4] -= 8;
    g.words(u64::from(STACK3) - 8, &[0x1111, 0x2222]);
    assert_eq!(g.run_to_fault().0, 6);
    let r = g.sys.cpu.regs;
    assert_eq!((r[0], r[2]), (0x1111, 0x2222));
    assert_eq!(r[1], u64::from(STACK0) - 24);
    // Both stacks have lost the parameters.
    assert_eq!(r[3], u64::from(STACK3));
    assert_eq!(g.stack(1) as u16, CODE3);
}

#[test]
fn far_calls_return_to_where_they_came_from() {
    let code = assembled(32, CODE, |a| {
        a.db(&[0x9A])?;
        a.dd(&[CODE as u32 + 0x100])?;
        a.dw(&[CODE0])?;
        a.hlt()
    });
    let mut g = Guest::new(&code);
    g.sys.mem.write(CODE + 0x100, &[0x89, 0xE1, 0xCB]); // mov ecx, esp; retf
    g.run();
    assert_eq!(g.sys.cpu.rip, CODE + 8);
    assert_eq!((g.sys.cpu.regs[1], g.sys.cpu.regs[4]), (u64::from(STACK0) - 8, u64::from(STACK0)));
}

#[test]
fn a_conforming_segment_keeps_the_level() {
    let code = assembled(32, CODE, |a| {
        a.db(&[0xEA])?;
        a.dd(&[CODE as u32 + 0x100])?;
        a.dw(&[CONFORMING])
    });
    let mut g = Guest::new(&code);
    g.sys.mem.write(CODE + 0x100, &[0x0F, 0x0B]);
    g.ring(3);
    assert_eq!(g.run_to_fault().0, 6);
    assert_eq!(g.stack(1) as u16, CONFORMING | 3);
}

#[test]
fn sysenter_and_sysexit() {
    let mut g = Guest::new(&[0x0F, 0x34]);
    g.sys.cpu.msr.sysenter_cs = CODE0.into();
    g.sys.cpu.msr.sysenter_eip = CODE + 0x100;
    g.sys.cpu.msr.sysenter_esp = 0x1_8000;
    let kernel = assembled(32, CODE + 0x100, |a| {
        a.mov(eax, esp)?;
        a.mov(edx, USER_CODE)?;
        a.mov(ecx, STACK3 - 64)?;
        a.sysexit()
    });
    g.sys.mem.write(CODE + 0x100, &kernel);
    g.sys.mem.write(USER_CODE.into(), &[0x0F, 0x0B]);
    g.ring(3);
    assert_eq!(g.run_to_fault().0, 6);
    assert_eq!(g.sys.cpu.regs[0], 0x1_8000);
    let frame: Vec<u32> = [0, 1, 3, 4].into_iter().map(|n| g.stack(n)).collect();
    assert_eq!(frame, [USER_CODE, CODE3.into(), STACK3 - 64, DATA3.into()]);
}

#[test]
fn a_failing_push_on_the_new_stack_changes_nothing() {
    let mut g = Guest::new(&[0x0F, 0x0B]);
    g.ring(3);
    g.identity_pages();
    // The ring 0 stack's page is absent: the #PF can't be delivered either, nor the double fault.
    g.words(0x30_1000 + 4 * (u64::from(STACK0) / 4096 - 1), &[0]);
    let before = (g.sys.cpu.regs, g.sys.cpu.cpl, g.sys.cpu.eflags());
    let fault = g.sys.interrupt(Interrupt::software(4)).unwrap_err();
    assert_eq!((fault.vector(), fault.code()), (14, Some(2)));
    assert_eq!((g.sys.cpu.regs, g.sys.cpu.cpl, g.sys.cpu.eflags()), before);
    assert_eq!(g.sys.cpu.cr2, u64::from(STACK0) - 4);
    assert_eq!(g.sys.run(emu_core::Ticks(100)), emu_core::Stop::TripleFault);
}

#[test]
fn real_mode_enters_protected_mode_by_a_far_jump() {
    let mut g = Guest::new(&[]);
    g.sys.reset();
    let code = assembled(16, 0x7C00, |a| {
        a.lgdt(fword_ptr(0x600))?;
        a.mov(eax, cr0)?;
        a.mov(eax, 0x11)?;
        a.mov(cr0, eax)?;
        a.db(&[0x66, 0xEA])?;
        a.dd(&[CODE as u32])?;
        a.dw(&[CODE0])
    });
    g.sys.mem.write(0x7C00, &code);
    g.sys.mem.write(0x600, &[0x8F, 0, 0, 0x10, 0, 0]);
    let protected = assembled(32, CODE, |a| {
        a.mov(eax, u32::from(DATA0))?;
        a.mov(ds, ax)?;
        a.mov(ss, ax)?;
        a.mov(esp, STACK0)?;
        a.mov(ebx, dword_ptr(0x20_0000))?;
        a.hlt()
    });
    g.sys.mem.write(CODE, &protected);
    g.words(0x20_0000, &[0xCAFE_F00D]);
    g.sys.cpu.set_segment(emu_core::cpu::seg::CS, emu_core::cpu::Segment::real(0));
    g.sys.cpu.rip = 0x7C00;
    g.run();
    assert_eq!((g.sys.cpu.regs[3], g.sys.cpu.regs[4]), (0xCAFE_F00D, STACK0.into()));
    assert_eq!(g.sys.cpu.seg[emu_core::cpu::seg::CS].sel, CODE0);
}

/// SYSENTER clears VM and IF and nothing else; CS is the register's without its RPL; a null one is #GP(0) [SDM-2B].
#[test]
fn what_sysenter_changes_and_refuses() {
    let mut g = Guest::new(&[0x0F, 0x34]);
    g.sys.cpu.msr.sysenter_cs = u64::from(CODE0) | 0xF_0003;
    (g.sys.cpu.msr.sysenter_eip, g.sys.cpu.msr.sysenter_esp) = (CODE + 0x100, 0x1_8000);
    g.sys.mem.write(CODE + 0x100, &[0xF4]);
    g.ring(3);
    g.sys.cpu.set_eflags(0x4_0AD7);
    g.run();
    assert_eq!((g.sys.cpu.eflags(), g.sys.cpu.cpl, g.sys.cpu.regs[4]), (0x4_08D7, 0, 0x1_8000));
    assert_eq!((g.sys.cpu.seg[1].sel, g.sys.cpu.seg[2].sel), (CODE0, DATA0));
    for null in [0, 3] {
        for opcode in [0x34, 0x35] {
            let mut g = Guest::new(&[0x0F, opcode]);
            g.sys.cpu.msr.sysenter_cs = null;
            assert_eq!(g.run_to_fault(), (13, Some(0)));
        }
    }
    let mut g = Guest::new(&[0x0F, 0x35]);
    g.sys.cpu.msr.sysenter_cs = CODE0.into();
    g.ring(3);
    assert_eq!(g.run_to_fault(), (13, Some(0)), "SYSEXIT at ring 3");
}

/// SYSCALL outside of long mode: the target is in STAR, no mask applies but IF and VM; SYSRET sets IF. Intel's CPUs have it
/// in 64-bit mode only [APM-3 SYSCALL, SYSRET; SDM-2B SYSCALL].
#[test]
fn syscall_of_32_bits() {
    let program = [0x0F, 0x05, 0x0F, 0x0B];
    let mut g = Guest::new(&program);
    g.sys.cpu.efer = 1;
    assert_eq!(g.run_to_fault(), (6, None));
    assert_eq!(g.stack(0), CODE as u32);
    let model = emu_core::cpu::Model::new(emu_core::cpu::model::Kind::X64V1);
    for sce in [1, 0] {
        let mut g = Guest::with_model(model.with(emu_core::cpu::model::Feature::Syscall32, true), &program);
        g.sys.cpu.efer = sce;
        g.sys.cpu.msr.star = u64::from(CODE3 - 3) << 48 | u64::from(CODE0) << 32 | (CODE + 0x100);
        (g.sys.cpu.msr.fmask, g.sys.cpu.regs[3]) = (0xFFFF, 0);
        // Its flags to EBX, and back with IF set.
        g.sys.mem.write(CODE + 0x100, &[0x9C, 0x5B, 0x0F, 0x07]);
        g.ring(3);
        // The kernel's stack is its own affair: ESP stays.
        g.sys.cpu.set_eflags(0x6D7);
        assert_eq!(g.run_to_fault(), (6, None));
        assert_eq!(g.stack(0), CODE as u32 + if sce == 1 { 2 } else { 0 });
        if sce == 1 {
            assert_eq!((g.sys.cpu.regs[1], g.sys.cpu.regs[3]), (CODE + 2, 0x4D7));
            assert_eq!(g.stack(2) & 0x200, 0x200);
        }
    }
}
