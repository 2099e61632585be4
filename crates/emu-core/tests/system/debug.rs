//! Breakpoints and single steps [SDM-3 chapter 17].

use super::guest::*;
use emu_core::cpu::TableRegister;
use iced_x86::IcedError;
use iced_x86::code_asm::*;

const BS: u32 = 1 << 14;
/// Where the #DB handler keeps its records: their number, then for each the return address, DR6 and the pushed flags.
const LOG: u64 = 0x6000;
/// What the breakpoints watch.
const DATA: u32 = 0x7_0000;

/// A guest whose #DB handler records EIP, DR6 and EFLAGS, clears DR6, and returns with RF set.
fn logging(code: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Guest {
    let mut g = Guest::new(&assembled(32, CODE, code));
    let handler = assembled(32, CODE + 0x2000, |a| {
        a.pushad()?;
        a.mov(edi, dword_ptr(LOG))?;
        a.inc(dword_ptr(LOG))?;
        a.shl(edi, 4)?;
        a.mov(eax, dword_ptr(esp + 32))?;
        a.mov(dword_ptr(edi + LOG + 16), eax)?;
        a.mov(eax, dr6)?;
        a.mov(dword_ptr(edi + LOG + 20), eax)?;
        a.mov(eax, dword_ptr(esp + 40))?;
        a.mov(dword_ptr(edi + LOG + 24), eax)?;
        a.xor(eax, eax)?;
        a.mov(dr6, eax)?;
        a.or(dword_ptr(esp + 40), 0x1_0000)?;
        a.popad()?;
        a.iretd()
    });
    g.sys.mem.write(CODE + 0x2000, &handler);
    g.words(IDT + 8, &gate(CODE0, CODE as u32 + 0x2000, 0x8E, 0));
    g
}

/// Arms breakpoint `n`: R/W field, LEN field.
fn arm(g: &mut Guest, n: usize, address: u32, rw: u64, len: u64) {
    g.sys.cpu.dr[n] = address.into();
    g.sys.cpu.dr[7] |= 2 << (2 * n) | rw << (16 + 4 * n) | len << (18 + 4 * n);
    g.sys.cpu.refresh_mode();
}

/// The records: offset from the code's start, and DR6's low half but for the bits that are always set.
fn log(g: &Guest) -> Vec<(u32, u32)> {
    let n = g.word(LOG);
    let at = |i: u32| LOG + 16 + 16 * u64::from(i);
    (0..n).map(|i| (g.word(at(i)).wrapping_sub(CODE as u32), g.word(at(i) + 4) & 0xE00F)).collect()
}

fn flags(g: &Guest, i: u64) -> u32 {
    g.word(LOG + 24 + 16 * i)
}

const WRITE: u64 = 1;
const PORT: u64 = 2;
const ACCESS: u64 = 3;

#[test]
fn data_breakpoints_trap_behind_the_access() {
    let mut g = logging(|a| {
        a.mov(eax, dword_ptr(DATA))?; // 5 bytes
        a.mov(dword_ptr(DATA), eax)?; // 10
        a.inc(byte_ptr(DATA + 3))?; // 16
        a.mov(dword_ptr(DATA + 4), eax)?; // 21
        a.mov(ebx, dword_ptr(DATA - 2))?; // 27
        a.hlt()
    });
    arm(&mut g, 0, DATA, WRITE, 3);
    arm(&mut g, 2, DATA, ACCESS, 0);
    g.run();
    assert_eq!(log(&g), [(5, 4), (10, 5), (16, 1), (27, 4)]);
    assert_eq!(flags(&g, 0) & 0x1_0000, 0, "a trap pushes RF clear");
}

/// Between two instructions that otherwise share an op, and with flags that nobody else would see.
#[test]
fn the_trap_comes_before_the_next_instruction_whatever_that_is() {
    let mut g = logging(|a| {
        let mut there = a.create_label();
        a.cmp(dword_ptr(DATA), 0)?; // 7 bytes
        a.jz(there)?;
        a.nop()?;
        a.set_label(&mut there)?;
        a.sub(eax, dword_ptr(DATA))?; // 16
        a.add(eax, 1)?;
        a.hlt()
    });
    g.sys.cpu.regs[0] = 0;
    arm(&mut g, 0, DATA, ACCESS, 3);
    g.run();
    assert_eq!(log(&g), [(7, 1), (16, 1)]);
    assert_eq!([flags(&g, 0) & 0x8D5, flags(&g, 1) & 0x8D5], [0x44, 0x44]);
}

/// LEN aligns the address [SDM-3 17.2.5].
#[test]
fn lengths_align_and_extend() {
    for (len, first, last) in [(0, 5, 5), (1, 4, 5), (3, 4, 7), (2, 0, 7)] {
        for offset in 0..12u32 {
            let mut g = logging(|a| {
                a.mov(byte_ptr(DATA + offset), al)?;
                a.hlt()
            });
            arm(&mut g, 1, DATA + 5, WRITE, len);
            g.run();
            let hit = (first..=last).contains(&offset);
            assert_eq!(log(&g).len(), usize::from(hit), "LEN {len}, byte {offset}");
        }
    }
}

#[test]
fn a_fast_path_does_not_outrun_a_breakpoint_set_later() {
    let mut g = logging(|a| {
        a.mov(dword_ptr(DATA), eax)?; // fills the TLB
        a.mov(ebx, DATA)?;
        a.mov(dr0, ebx)?;
        a.mov(ebx, 0xD_0002u32)?;
        a.mov(dr7, ebx)?;
        a.mov(dword_ptr(DATA), eax)?;
        a.nop()?;
        a.mov(dword_ptr(DATA + 8), eax)?; // the same page
        a.push(eax)?;
        a.hlt()
    });
    g.run();
    assert_eq!(log(&g).iter().map(|l| l.1).collect::<Vec<_>>(), [1]);
}

#[test]
fn stack_accesses_count_and_instruction_fetches_do_not() {
    let mut g = logging(|a| {
        a.push(eax)?; // 1 byte
        a.nop()?; // 2
        a.mov(eax, dword_ptr(esp))?; // 5
        a.hlt()
    });
    // The handler's frame lies lower than the watched word.
    arm(&mut g, 0, STACK0 - 4, ACCESS, 3);
    arm(&mut g, 1, CODE as u32 + 1, ACCESS, 0);
    g.run();
    assert_eq!(log(&g), [(1, 1), (5, 1)]);
}

/// Each iteration is a boundary, and the trap returns to the instruction [SDM-3 17.2.4, 17.3.1.2].
#[test]
fn string_instructions_trap_behind_the_iteration() {
    let mut g = logging(|a| {
        a.mov(edi, DATA)?; // 5 bytes
        a.mov(ecx, 16u32)?; // 10
        a.rep().stosd()?; // 12
        a.hlt()
    });
    arm(&mut g, 0, DATA + 20, WRITE, 3);
    arm(&mut g, 1, DATA + 60, WRITE, 3);
    g.run();
    assert_eq!(log(&g), [(10, 1), (12, 2)]);
    assert_eq!(flags(&g, 0) & 0x1_0000, 0x1_0000, "RF is set between two iterations");
    assert_eq!((g.sys.cpu.regs[1], g.sys.cpu.regs[7]), (0, u64::from(DATA) + 64));
}

#[test]
fn port_breakpoints_need_the_debugging_extensions() {
    for de in [false, true] {
        let mut g = logging(|a| {
            a.mov(dx, 0x1234u32)?; // 4 bytes
            a.in_(al, dx)?; // 5
            a.out(dx, eax)?; // 6
            a.hlt()
        });
        arm(&mut g, 3, 0x1236, PORT, 0);
        g.sys.cpu.cr4 = if de { 8 } else { 0 };
        g.run();
        let expected: &[(u32, u32)] = if de { &[(6, 8)] } else { &[] };
        assert_eq!(log(&g), expected);
    }
}

/// An instruction breakpoint is a fault, and RF passes one instruction [SDM-3 17.3.1.1].
#[test]
fn instruction_breakpoints_fault_before_it() {
    let mut g = logging(|a| {
        let mut again = a.create_label();
        a.mov(ecx, 2u32)?; // 5 bytes
        a.set_label(&mut again)?;
        a.inc(eax)?; // 6
        a.dec(ecx)?;
        a.jnz(again)?;
        a.hlt()
    });
    arm(&mut g, 1, CODE as u32 + 5, 0, 0);
    g.run();
    assert_eq!((log(&g), g.sys.cpu.regs[0]), (vec![(5, 2), (5, 2)], 2));
}

#[test]
fn an_instruction_breakpoint_stops_a_repeated_instruction_once() {
    let mut g = logging(|a| {
        a.mov(edi, DATA)?;
        a.mov(ecx, 5u32)?; // 10 bytes
        a.rep().stosb()?;
        a.hlt()
    });
    arm(&mut g, 0, CODE as u32 + 10, 0, 0);
    g.run();
    assert_eq!((log(&g), g.sys.cpu.regs[1]), (vec![(10, 1)], 0));
}

/// The code that sets TF, then `what`, then clears it; returns the offsets of the steps behind the POPF that set it.
fn stepped(what: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Vec<(u32, u32)> {
    let mut g = logging(|a| {
        a.push(0x102)?; // 5 bytes
        a.popfd()?; // 6
        what(a)?;
        a.push(2)?;
        a.popfd()?;
        a.nop()?;
        a.hlt()
    });
    g.run();
    log(&g)
}

/// POPF is not stepped by the TF that it sets, but by the one that it clears [SDM-3 17.3.1.4].
#[test]
fn single_steps() {
    assert_eq!(stepped(|a| a.nop()), [(7, BS), (9, BS), (10, BS)]);
    // Each iteration is a step.
    let repeated = stepped(|a| {
        a.mov(edi, DATA)?; // 11
        a.mov(ecx, 3u32)?; // 16
        a.rep().stosb() // 18
    });
    assert_eq!(repeated[..5].iter().map(|l| l.0).collect::<Vec<_>>(), [11, 16, 16, 16, 18]);
}

/// MOV SS takes away its own step, and leaves that of the next instruction.
#[test]
fn no_step_behind_mov_ss() {
    let steps = stepped(|a| {
        a.mov(eax, ss)?; // 8
        a.mov(ss, eax)?; // 10
        a.nop()?; // 11
        a.nop() // 12
    });
    assert_eq!(steps.iter().map(|l| l.0).collect::<Vec<_>>(), [8, 11, 12, 14, 15]);
}

/// INT n and exceptions clear TF, and the handler is not stepped.
#[test]
fn int_n_is_not_stepped() {
    let mut g = logging(|a| {
        a.push(0x102)?;
        a.popfd()?; // 6
        a.int(4)?; // 8
        a.nop()?; // 9
        a.push(2)?; // 11
        a.popfd()?; // 12
        a.hlt()
    });
    g.sys.mem.write(HANDLERS + 16 * 4, &[0x90, 0xCF]);
    g.run();
    assert_eq!(log(&g), [(9, BS), (11, BS), (12, BS)]);
}

/// A data breakpoint that MOV SS hits waits for the next instruction, even if that enters a handler [SDM-3 6.8.3].
#[test]
fn mov_ss_holds_its_data_breakpoint_back() {
    let mut g = logging(|a| {
        a.mov(ss, word_ptr(DATA))?; // 6 bytes
        a.nop()?; // 7
        a.hlt()
    });
    g.words(u64::from(DATA), &[DATA0.into()]);
    arm(&mut g, 0, DATA, ACCESS, 1);
    g.run();
    assert_eq!(log(&g), [(7, 1)]);
}

/// Both causes are reported at once, and B0 to B3 tell of the latest exception only.
#[test]
fn a_step_and_a_breakpoint_make_one_exception() {
    let mut g = logging(|a| {
        a.push(0x102)?;
        a.popfd()?; // 6
        a.mov(dword_ptr(DATA), eax)?; // 11
        a.push(2)?;
        a.popfd()?;
        a.hlt()
    });
    arm(&mut g, 0, DATA, WRITE, 3);
    g.run();
    assert_eq!(log(&g), [(11, BS | 1), (13, BS), (14, BS)]);
}

/// General detection is a fault, and its delivery clears GD so that the handler may look [SDM-3 17.2.4].
#[test]
fn general_detection() {
    let mut g = logging(|a| {
        a.mov(eax, 0x2400u32)?; // 5 bytes
        a.mov(dr7, eax)?; // 8
        a.mov(ebx, dr0)?; // 11
        a.hlt()
    });
    g.run();
    assert_eq!(log(&g), [(8, 1 << 13)]);
    assert_eq!(g.sys.cpu.dr[7], 0x400);
}

/// HLT is stepped at once; the CPU runs on.
#[test]
fn a_step_wakes_from_hlt() {
    let steps = stepped(|a| a.hlt());
    assert_eq!(steps[0], (7, BS));
}

/// A fault takes its instruction's hits with it: it has not happened.
#[test]
fn a_faulting_instruction_hits_nothing() {
    let mut g = logging(|a| {
        a.push(dword_ptr(DATA))?;
        a.hlt()
    });
    arm(&mut g, 0, DATA, ACCESS, 3);
    g.sys.cpu.seg[emu_core::cpu::seg::SS].limit = 0xFFFF;
    g.sys.cpu.seg[emu_core::cpu::seg::SS].attr &= !0x8000;
    g.sys.cpu.refresh_segments();
    g.sys.cpu.idtr = TableRegister { base: IDT, limit: 0xFF };
    // #SS, whose frame fits nowhere: a double fault, and the end.
    assert_eq!(g.sys.run(emu_core::Ticks(100)), emu_core::Stop::TripleFault);
    assert_eq!(g.word(LOG), 0);
}
