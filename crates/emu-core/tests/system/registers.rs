//! Control, debug and model-specific registers.

use super::guest::*;
use emu_core::Interrupt;
use iced_x86::code_asm::*;

#[test]
fn general_detection_stops_an_access_to_debug_registers_once() {
    let code = assembled(32, CODE, |a| {
        a.mov(eax, 0x2000)?;
        a.mov(dr7, eax)?;
        a.mov(ebx, dr0)
    });
    let mut g = Guest::new(&code);
    assert_eq!(g.run_to_fault().0, 1);
    assert_eq!((g.sys.cpu.dr[6] & 0x2000, g.sys.cpu.dr[7]), (0x2000, 0x400));
    assert_eq!(g.stack(0), CODE as u32 + 8);
}

#[test]
fn debug_registers_4_and_5_are_6_and_7_unless_forbidden() {
    let code = assembled(32, CODE, |a| {
        a.db(&[0x0F, 0x21, 0xE3])?; // mov ebx, dr4
        a.mov(eax, 8)?;
        a.mov(cr4, eax)?;
        a.db(&[0x0F, 0x21, 0xE1]) // mov ecx, dr4
    });
    let mut g = Guest::new(&code);
    assert_eq!(g.run_to_fault().0, 6);
    assert_eq!((g.sys.cpu.regs[3], g.stack(0)), (0xFFFF_0FF0, CODE as u32 + 11));
}

#[test]
fn model_specific_registers_keep_what_is_written() {
    let code = assembled(32, CODE, |a| {
        a.mov(ecx, 0x176)?;
        a.mov(eax, 0x1234_5678)?;
        a.mov(edx, 0)?;
        a.wrmsr()?;
        a.mov(eax, 0)?;
        a.rdmsr()?;
        a.mov(ebx, eax)?;
        a.mov(ecx, 0x277)?;
        a.mov(eax, 0x0202_0202)?; // no memory type
        a.wrmsr()
    });
    let mut g = Guest::new(&code);
    assert_eq!(g.run_to_fault(), (13, Some(0)));
    assert_eq!(g.sys.cpu.regs[3], 0x1234_5678);
    assert_eq!(g.sys.cpu.msr.pat, 0x0007_0406_0007_0406);
}

#[test]
fn lmsw_sets_pe_but_does_not_clear_it() {
    let code = assembled(32, CODE, |a| {
        a.mov(eax, 0x8)?;
        a.lmsw(ax)?;
        a.smsw(ebx)?;
        a.clts()?;
        a.smsw(ecx)?;
        a.hlt()
    });
    let mut g = Guest::new(&code);
    g.run();
    assert_eq!((g.sys.cpu.regs[3], g.sys.cpu.regs[1]), (0x19, 0x11));
}

#[test]
fn leaving_protected_mode_keeps_the_segments_limits() {
    let code = assembled(32, CODE, |a| {
        a.mov(eax, 0x10)?;
        a.mov(cr0, eax)?;
        a.mov(ebx, dword_ptr(0x20_0000))?;
        a.hlt()
    });
    let mut g = Guest::new(&code);
    g.words(0x20_0000, &[0x55AA]);
    g.run();
    assert_eq!((g.sys.cpu.regs[3], g.sys.cpu.cr0), (0x55AA, 0x10));
}

#[test]
fn iret_ends_the_blocking_of_nmis() {
    let mut g = Guest::new(&[0xF4]);
    g.words(IDT + 16, &gate(CODE0, CODE as u32 + 0x100, 0x8E, 0));
    g.sys.mem.write(CODE + 0x100, &[0xCF]);
    g.sys.cpu.nmi_blocked = true;
    g.sys.interrupt(Interrupt::nmi()).unwrap();
    g.run();
    assert!(!g.sys.cpu.nmi_blocked);
    assert_eq!(g.sys.cpu.rip, CODE + 1);
}

#[test]
fn sixteen_bit_gates_push_words() {
    let mut g = Guest::new(&[0x0F, 0x0B]);
    g.words(IDT + 48, &gate(CODE0, HANDLERS as u32 + 96, 0x86, 0));
    g.run();
    assert_eq!(g.sys.cpu.rip, HANDLERS + 97);
    assert_eq!(g.sys.cpu.regs[4], u64::from(STACK0) - 6);
    assert_eq!((g.stack(0) as u16, (g.stack(0) >> 16) as u16), (CODE as u16, CODE0));
}

/// An NMI that comes while one is handled waits for IRET, and one that comes then is lost in it [SDM-3 6.7.1].
#[test]
fn nmis_wait_for_the_end_of_the_handler() {
    let mut g = Guest::new(&[0x90, 0xF4]);
    g.words(IDT + 16, &gate(CODE0, CODE as u32 + 0x100, 0x8E, 0));
    g.sys.mem.write(CODE + 0x100, &[0x43, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0xCF]); // inc ebx; nops; iretd
    g.sys.cpu.regs[3] = 0;
    for _ in 0..3 {
        g.sys.bus.cpu_lines(0).nmi = true;
        g.sys.run(g.sys.now() + 2);
        assert_eq!((g.sys.cpu.regs[3], g.sys.cpu.nmi_blocked, g.sys.cpu.regs[4]), (1, true, u64::from(STACK0) - 12));
    }
    g.run();
    assert_eq!((g.sys.cpu.regs[3], g.sys.cpu.nmi_blocked, g.sys.cpu.rip), (2, false, CODE + 2));
}

/// A load of SS holds interrupts and NMIs back for one instruction, so that the stack pointer's load belongs to it [SDM-3 6.8.3].
#[test]
fn a_load_of_ss_holds_the_nmi_back() {
    let load: [(&[u8], u32); 2] = [(&[0x8E, 0xD0], 2), (&[0x16, 0x17], 2)]; // mov ss, eax; push ss, pop ss
    for (bytes, len) in load {
        let mut g = Guest::new(&[bytes, &[0x90, 0x90, 0xF4]].concat());
        g.sys.cpu.regs[0] = DATA0.into();
        g.sys.run(g.sys.now() + u64::from(len == 2 && bytes[0] == 0x16) + 1);
        g.sys.bus.cpu_lines(0).nmi = true;
        assert_eq!(g.run_to_fault().0, 2);
        assert_eq!(g.stack(0), CODE as u32 + len + 1);
    }
}
