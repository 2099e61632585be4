//! Repeated string instructions: every iteration is a tick, and the machine may stop between any two.

use emu_core::cpu::model::Kind;
use emu_core::cpu::{Model, Segment, reg, seg};
use emu_core::mem::Target;
use emu_core::{Bus, ClockRate, PhysMem, System, Ticks};

/// A machine with 1 MiB of patterned RAM that runs `code` at 0000:1000.
fn machine(code: &[u8]) -> System {
    let mut mem = PhysMem::new(0x10_0000, 0).unwrap();
    mem.map(0, 0x10_0000, Target::Pool(0));
    let pattern: Vec<u8> = (0..0x8000u32).map(|i| (i * 7 + (i >> 8)) as u8).collect();
    mem.write(0x2_0000, &pattern);
    mem.write(0x1000, code);
    let mut sys = System::new(Model::new(Kind::P6), mem, Bus::new(ClockRate::DEFAULT, 1));
    sys.reset();
    for (s, sel) in [(seg::ES, 0x3000), (seg::CS, 0), (seg::SS, 0), (seg::DS, 0x2000)] {
        sys.cpu.set_segment(s, Segment::real(sel));
    }
    sys.cpu.rip = 0x1000;
    sys.cpu.regs[reg::RSP] = 0xF000;
    sys
}

/// `cld; mov si, 0x0FF0; mov di, 0x0003; mov cx, 0x1234; <instruction>; hlt`
fn program(instruction: &[u8]) -> Vec<u8> {
    let mut code = vec![0xFC, 0xBE, 0xF0, 0x0F, 0xBF, 0x03, 0x00, 0xB9, 0x34, 0x12];
    code.extend_from_slice(instruction);
    code.push(0xF4);
    code
}

/// Ticks until HLT has run.
fn ticks(sys: &mut System) -> u64 {
    let mut n = 0;
    while sys.cpu.activity == emu_core::cpu::Activity::Running {
        n += 1;
        sys.run(Ticks(n));
        assert!(n < 100_000, "does not end");
    }
    n
}

#[test]
fn every_iteration_is_a_tick() {
    // Four instructions before it, HLT behind it.
    let copies = program(&[0xF3, 0xA4]);
    assert_eq!(ticks(&mut machine(&copies)), 4 + 0x1234 + 1);
    let mut none = copies.clone();
    (none[8], none[9]) = (0, 0);
    assert_eq!(ticks(&mut machine(&none)), 4 + 1 + 1);
}

/// Runs in steps of every size and demands the states that one run has at the same ticks.
fn stops_anywhere(instruction: &[u8]) {
    let code = program(instruction);
    for stop in [5, 100, 1000, 4097, 4650] {
        let mut whole = machine(&code);
        whole.run(Ticks(stop));
        for step in [1, 3, 64, 999] {
            let mut pieces = machine(&code);
            let mut now = 0;
            while now < stop {
                now = (now + step).min(stop);
                pieces.run(Ticks(now));
                assert_eq!(pieces.now(), Ticks(now));
            }
            assert_eq!(whole.cpu.regs, pieces.cpu.regs, "at {stop} by {step}");
            assert_eq!(whole.hash(), pieces.hash(), "at {stop} by {step}");
        }
    }
}

#[test]
fn bulk_and_single_iterations_leave_the_same_state() {
    stops_anywhere(&[0xF3, 0xA4]); // rep movsb
    stops_anywhere(&[0xF3, 0xA5]); // rep movsw, odd destination: elements cross pages
    stops_anywhere(&[0xF3, 0x66, 0xAB]); // rep stosd
    stops_anywhere(&[0xF3, 0x26, 0xA6]); // repe es:cmpsb
    stops_anywhere(&[0xF2, 0xAE]); // repne scasb
    stops_anywhere(&[0xFD, 0xF3, 0xA4]); // std; rep movsb
    stops_anywhere(&[0xFD, 0xBE, 0x00, 0x30, 0xBF, 0xF1, 0x2F, 0xF3, 0xA5]); // downwards; rep movsw
    stops_anywhere(&[0xFD, 0xBE, 0x00, 0x30, 0xBF, 0x02, 0x30, 0xF3, 0x26, 0x66, 0xA5]); // …; rep es:movsd, overlapping
    stops_anywhere(&[0xFD, 0xBF, 0x03, 0x30, 0xF3, 0xAB]); // …; rep stosw
    stops_anywhere(&[0xFD, 0xBF, 0x03, 0x30, 0xF3, 0xAE]); // …; repe scasb
    stops_anywhere(&[0xFD, 0xBE, 0x00, 0x40, 0xBF, 0x00, 0x41, 0xF3, 0xA6]); // …; repe cmpsb
    stops_anywhere(&[0xF3, 0xAC]); // rep lodsb
    stops_anywhere(&[0xFD, 0xF3, 0x66, 0xAD]); // std; rep lodsd, past the segment's start
    stops_anywhere(&[0xF3, 0x26, 0xA7]); // repe es:cmpsw
}

#[test]
fn overlapping_copy_repeats_the_pattern() {
    let mut sys = machine(&program(&[0xF3, 0x26, 0xA4])); // rep es:movsb
    sys.mem.write(0x3_0FF0, &[1, 2, 3]);
    sys.mem.write(0x1000 + 5, &[0xF3, 0x0F]); // destination three bytes above the source
    sys.run(Ticks(100_000));
    let mut copied = [0; 9];
    sys.mem.read(0x3_0FF3, &mut copied);
    assert_eq!(copied, [1, 2, 3, 1, 2, 3, 1, 2, 3]);
    // 1233h is a multiple of the pattern's three bytes.
    assert_eq!(sys.mem.load::<u8>(0x3_0FF3 + 0x1233), 1);
}

#[test]
fn a_fault_leaves_the_iterations_before_it_done() {
    // The word at FFFFh of the source ends the segment: #GP, whose handler is a HLT.
    let mut code = program(&[0xF3, 0xA5]);
    (code[2], code[3]) = (0xF1, 0xFF);
    let mut sys = machine(&code);
    sys.mem.write(13 * 4, &[0x00, 0x08, 0x00, 0x00]);
    sys.mem.write(0x800, &[0xF4]);
    sys.run(Ticks(1000));
    assert_eq!(sys.cpu.rip, 0x801);
    let regs = &sys.cpu.regs;
    assert_eq!((regs[reg::RSI], regs[reg::RDI], regs[reg::RCX]), (0xFFFF, 3 + 14, 0x1234 - 7));
    // The return address is that of the instruction, prefix included.
    assert_eq!(sys.mem.load::<u16>(0xEFFA), 0x1000 + 10);
}

#[test]
fn scas_stops_at_the_byte_it_looks_for() {
    let mut code = program(&[0xB0, 0x5A, 0xF2, 0xAE]); // mov al, 5Ah; repne scasb
    code[0] = 0xFC;
    let mut sys = machine(&code);
    sys.mem.write(0x3_0003 + 4096, &[0x5A]);
    sys.run(Ticks(100_000));
    let regs = &sys.cpu.regs;
    assert_eq!((regs[reg::RDI], regs[reg::RCX]), (3 + 4097, 0x1234 - 4097));
    assert!(sys.cpu.flags.zf());
}
