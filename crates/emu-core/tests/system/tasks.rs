//! Hardware tasks [SDM-3 chapter 7].

use super::guest::*;
use iced_x86::code_asm::*;

const BUSY: u32 = 0x200;

/// Fills the second TSS: ring 0, at `eip`, EAX 0xAAAA.
fn second_task(g: &mut Guest, eip: u32) {
    g.words(TSS2 + 0x1C, &[0, eip, 2, 0xAAAA, 0, 0, 0, 0x2_8000, 0, 0, 0]);
    let data = u32::from(DATA0);
    g.words(TSS2 + 0x48, &[data, CODE0.into(), data, data, 0, 0, LDTR.into(), 0]);
}

fn busy(g: &Guest, sel: u16) -> bool {
    g.word(GDT + u64::from(sel) + 4) & BUSY != 0
}

fn far(opcode: u8, sel: u16) -> Vec<u8> {
    [&[opcode, 0, 0, 0, 0][..], &sel.to_le_bytes()].concat()
}

#[test]
fn a_jump_switches_and_saves() {
    let mut code = assembled(32, CODE, |a| {
        a.mov(ebx, 0x1234)?;
        a.db(&[0xEA, 0, 0, 0, 0])?;
        a.dw(&[TR2])
    });
    code.push(0xF4);
    let mut g = Guest::new(&code);
    second_task(&mut g, CODE as u32 + 0x100);
    g.sys.mem.write(CODE + 0x100, &[0xF4]);
    g.run();
    assert_eq!((g.sys.cpu.regs[0], g.sys.cpu.regs[4], g.sys.cpu.rip), (0xAAAA, 0x2_8000, CODE + 0x101));
    assert_eq!((g.sys.cpu.tr.sel, g.sys.cpu.ldtr.sel), (TR2, LDTR));
    assert!(busy(&g, TR2) && !busy(&g, TR));
    assert_eq!(g.sys.cpu.cr0 & 8, 8);
    // EIP behind the jump, EBX, ESP, selectors.
    assert_eq!(g.word(TSS + 0x20), CODE as u32 + 12);
    assert_eq!((g.word(TSS + 0x34), g.word(TSS + 0x38)), (0x1234, STACK0));
    assert_eq!(g.word(TSS + 0x4C) as u16, CODE0);
}

#[test]
fn a_call_nests_and_iret_returns() {
    for target in [TR2, TASK_GATE] {
        let mut g = Guest::new(&[far(0x9A, target), vec![0xF4]].concat());
        second_task(&mut g, CODE as u32 + 0x100);
        g.sys.mem.write(CODE + 0x100, &[0xCF]);
        g.run();
        assert_eq!((g.sys.cpu.tr.sel, g.sys.cpu.rip, g.sys.cpu.regs[4]), (TR, CODE + 8, STACK0.into()));
        assert!(busy(&g, TR) && !busy(&g, TR2));
        assert_eq!(g.word(TSS2) as u16, TR);
        // The nested task was saved without NT, behind its IRET.
        assert_eq!((g.word(TSS2 + 0x20), g.word(TSS2 + 0x24) & 0x4000), (CODE as u32 + 0x101, 0));
        assert_eq!(g.sys.cpu.eflags() & 0x4000, 0);
    }
}

#[test]
fn an_interrupt_through_a_task_gate_pushes_its_code_there() {
    let mut g = Guest::new(&[0xB8, 0x90, 0, 0, 0, 0x8E, 0xD8]); // mov ds, <beyond the table>
    second_task(&mut g, CODE as u32 + 0x100);
    g.sys.mem.write(CODE + 0x100, &[0xF4]);
    g.words(IDT + 13 * 8, &gate(TR2, 0, 0x85, 0));
    g.run();
    assert_eq!((g.sys.cpu.tr.sel, g.sys.cpu.regs[4]), (TR2, 0x2_8000 - 4));
    assert_eq!(g.stack(0) as u16, BEYOND);
    assert_eq!(g.word(TSS + 0x20), CODE as u32 + 5);
    assert_eq!(g.sys.cpu.eflags() & 0x4000, 0x4000);
}

#[test]
fn a_bad_segment_of_the_new_task_faults_in_it() {
    let mut g = Guest::new(&far(0xEA, TR2));
    second_task(&mut g, CODE as u32 + 0x100);
    g.words(TSS2 + 0x54, &[u32::from(READ_ONLY | 4)]); // DS beyond the LDT
    assert_eq!(g.run_to_fault(), (10, Some(READ_ONLY | 4)));
    assert_eq!((g.sys.cpu.tr.sel, g.stack(1)), (TR2, CODE as u32 + 0x100));
}

#[test]
fn a_short_tss_is_refused_before_anything_changes() {
    let mut g = Guest::new(&far(0xEA, TR2));
    g.words(GDT + u64::from(TR2), &descriptor(TSS2 as u32, 0x66, 0x89));
    assert_eq!(g.run_to_fault(), (10, Some(TR2)));
    assert_eq!(g.sys.cpu.tr.sel, TR);
}

#[test]
fn the_trap_bit_of_a_tss_raises_a_debug_exception() {
    let mut g = Guest::new(&far(0xEA, TR2));
    second_task(&mut g, CODE as u32 + 0x100);
    g.words(TSS2 + 0x64, &[1]);
    assert_eq!(g.run_to_fault().0, 1);
    assert_eq!((g.sys.cpu.dr[6] & 0x8000, g.stack(0)), (0x8000, CODE as u32 + 0x100));
}

#[test]
fn sixteen_bit_tasks() {
    let mut g = Guest::new(&far(0xEA, TR2));
    g.words(GDT + u64::from(TR2), &descriptor(TSS2 as u32, 0x2B, 0x81));
    let code = descriptor(0x1_0000, 0xFFFF, 0x009B);
    g.words(GDT + u64::from(CONFORMING), &code);
    for (at, word) in [(0x0E, 0x100u16), (0x10, 2), (0x12, 0x5555), (0x1A, 0x8000), (0x22, DATA0), (0x24, CONFORMING)] {
        g.sys.mem.write(TSS2 + at, &word.to_le_bytes());
    }
    g.sys.mem.write(TSS2 + 0x26, &[DATA0 as u8, 0, DATA0 as u8, 0, 0, 0]);
    g.sys.mem.write(CODE + 0x100, &[0xF4]);
    g.run();
    assert_eq!((g.sys.cpu.regs[0], g.sys.cpu.rip, g.sys.cpu.tr.sel), (0x5555, 0x101, TR2));
}

/// Privileges and states of task gates and their TSS [SDM-3 7.2.5; SDM-2A CALL, task gate].
#[test]
fn task_gates_are_checked() {
    let task_gate = |sel: u16, kind: u8| gate(sel, 0, kind, 0);
    for (kind, target, state, found) in [
        (0x85, TR2, 0x89, (13, Some(TASK_GATE))),     // DPL 0
        (0x65, TR2, 0x89, (11, Some(TASK_GATE))),     // absent
        (0xE5, TR2, 0x8B, (13, Some(TR2))),           // busy
        (0xE5, TR2, 0x09, (11, Some(TR2))),           // absent
        (0xE5, 0, 0x89, (13, Some(0))),               // null
        (0xE5, LDTR | 4, 0x89, (13, Some(LDTR | 4))), // in the LDT
        (0xE5, DATA0, 0x89, (13, Some(DATA0))),       // no TSS
        (0xE5, BEYOND, 0x89, (13, Some(BEYOND))),
    ] {
        for opcode in [0x9A, 0xEA] {
            let mut g = Guest::new(&far(opcode, TASK_GATE | 3));
            g.words(GDT + u64::from(TASK_GATE), &task_gate(target, kind));
            g.words(GDT + u64::from(TR2), &descriptor(TSS2 as u32, 0x67, state));
            second_task(&mut g, CODE as u32 + 0x100);
            g.ring(3);
            assert_eq!(g.run_to_fault(), found, "{kind:X} {target:X} {state:X}");
        }
    }
    // Ring 3 may switch to a task whose TSS it could not name itself.
    let mut g = Guest::new(&far(0x9A, TASK_GATE | 3));
    second_task(&mut g, CODE as u32 + 0x100);
    g.sys.mem.write(CODE + 0x100, &[0xF4]);
    g.ring(3);
    g.run();
    assert_eq!((g.sys.cpu.tr.sel, g.sys.cpu.cpl, g.word(TSS2) as u16), (TR2, 0, TR));
    // INT n asks for the gate's DPL; an exception does not.
    for (code, found) in [(&[0xCD, 4][..], (13, Some(4 << 3 | 2))), (&[0x0F, 0x0B], (0, None))] {
        let mut g = Guest::new(code);
        second_task(&mut g, HANDLERS as u32);
        [4, 6].into_iter().for_each(|v| g.words(IDT + 8 * v, &task_gate(TR2, 0x85)));
        g.ring(3);
        assert_eq!(g.run_to_fault(), found);
    }
}
