//! Virtual-8086 mode [SDM-3 chapter 20].

use super::guest::*;
use emu_core::Interrupt;
use emu_core::cpu::seg;
use iced_x86::code_asm::*;

/// IRETD from ring 0 to 0500:0000, where `code` is.
fn guest(code: &[u8], flags: u32) -> Guest {
    let mut g = Guest::new(&[0xCF]);
    g.sys.mem.write(0x5000, code);
    let at = u64::from(STACK0) - 36;
    g.words(at, &[0, 0x500, 0x2_0002 | flags, 0xFFF0, 0x1000, 0x111, 0x222, 0x333, 0x444]);
    g.sys.cpu.regs[4] = at;
    g
}

#[test]
fn a_monitor_steps_over_a_privileged_instruction() {
    // hlt; mov bx, 55AA; mov es, bx; ud2
    let mut g = guest(&[0xF4, 0xBB, 0xAA, 0x55, 0x8E, 0xC3, 0x0F, 0x0B], 0);
    let monitor = assembled(32, HANDLERS + 13 * 16, |a| {
        a.mov(eax, dword_ptr(esp + 4))?;
        a.lea(eax, dword_ptr(eax + 1))?;
        a.mov(dword_ptr(esp + 4), eax)?;
        a.lea(esp, dword_ptr(esp + 4))?;
        a.iretd()
    });
    g.words(IDT + 13 * 8, &gate(CODE0, CODE as u32 + 0x200, 0x8E, 0));
    g.sys.mem.write(CODE + 0x200, &monitor);
    assert_eq!(g.run_to_fault().0, 6);
    let frame: Vec<u32> = (0..9).map(|n| g.stack(n)).collect();
    assert_eq!(frame, [6, 0x500, 0x3_0002, 0xFFF0, 0x1000, 0x55AA, 0x222, 0x333, 0x444]);
    assert_eq!((g.sys.cpu.cpl, g.sys.cpu.eflags() & 0x2_0000), (0, 0));
    assert!([seg::ES, seg::DS, seg::FS, seg::GS].iter().all(|&i| g.sys.cpu.seg[i].null));
    assert_eq!(g.sys.cpu.regs[4], u64::from(STACK0) - 36);
}

#[test]
fn segments_are_real_and_instructions_of_protected_mode_undefined() {
    let mut g = guest(&[0x0F, 0x00, 0xC8], 0); // str ax
    assert_eq!(g.run_to_fault().0, 6);
    let mut g = guest(&[0xEB, 0xFE], 0);
    g.sys.run(emu_core::Ticks(5));
    assert_eq!(g.sys.cpu.cpl, 3);
    assert_eq!((g.sys.cpu.seg[seg::DS].base, g.sys.cpu.seg[seg::DS].limit), (0x2220, 0xFFFF));
    // A gate to code that is not ring 0's is refused.
    g.words(IDT + 32, &gate(CODE3, 0, 0xEE, 0));
    let fault = g.sys.interrupt(Interrupt::software(4)).unwrap_err();
    assert_eq!((fault.vector(), fault.code()), (13, Some(CODE3 & !3)));
}

#[test]
fn iret_needs_iopl_3() {
    let mut g = guest(&[0xCF], 0);
    assert_eq!(g.run_to_fault(), (13, Some(0)));
    let mut g = guest(&[0xCF], 0x3000);
    for (i, word) in [2u16, 0x500, 0x0202].into_iter().enumerate() {
        g.sys.mem.write(0x1_FFF0 + 2 * i as u64, &word.to_le_bytes());
    }
    g.sys.mem.write(0x5002, &[0x0F, 0x0B]);
    assert_eq!(g.run_to_fault().0, 6);
    // IOPL stays what it was, IF is what was popped.
    assert_eq!((g.stack(0), g.stack(2) & 0x3200, g.stack(3)), (2, 0x3200, 0xFFF6));
}
