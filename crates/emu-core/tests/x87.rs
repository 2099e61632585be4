//! x87 instructions in a machine: availability, error reporting, pointers and images.

use emu_core::cpu::model::Kind;
use emu_core::cpu::{Activity, Model, Segment, bits, seg};
use emu_core::fpu::F80;
use emu_core::mem::Target;
use emu_core::{Bus, ClockRate, PhysMem, System, Ticks};
use iced_x86::IcedError;
use iced_x86::code_asm::*;

const CODE: u64 = 0x1000;
const DATA: u64 = 0x4000;

/// A real-mode machine that runs `code`; vector n is handled by a HLT at 2000h + 10h n.
fn machine(kind: Kind, code: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> System {
    let mut a = CodeAssembler::new(16).unwrap();
    code(&mut a).unwrap();
    a.hlt().unwrap();
    let mut mem = PhysMem::new(0x10_0000, 0).unwrap();
    mem.map(0, 0x10_0000, Target::Pool(0));
    mem.write(CODE, &a.assemble(CODE).unwrap());
    for vector in 0..32u64 {
        mem.write(4 * vector, &(handler(vector) as u32).to_le_bytes());
        mem.write(handler(vector), &[0xf4]);
    }
    let mut sys = System::new(Model::new(kind), mem, Bus::new(ClockRate::DEFAULT, 1));
    sys.reset();
    for s in [seg::ES, seg::CS, seg::SS, seg::DS] {
        sys.cpu.set_segment(s, Segment::real(0));
    }
    (sys.cpu.rip, sys.cpu.regs[4], sys.cpu.regs[3]) = (CODE, 0xf000, DATA);
    sys.cpu.cr0 |= bits::CR0_NE;
    sys
}

fn handler(vector: u64) -> u64 {
    0x2000 + 0x10 * vector
}

/// The vector whose handler the machine has come to, if it did not reach the program's own HLT.
fn fault(sys: &mut System) -> Option<u64> {
    sys.run(Ticks(1000));
    (sys.cpu.rip > 0x2000).then(|| (sys.cpu.rip - 1 - 0x2000) / 0x10)
}

fn word(sys: &System, at: u64) -> u16 {
    sys.mem.load(at)
}

#[test]
fn em_and_ts_make_the_unit_unavailable() {
    for (set, esc, wait) in [
        (0, None, None),
        (bits::CR0_EM, Some(7), None),
        (bits::CR0_TS, Some(7), None),
        (bits::CR0_MP, None, None),
        (bits::CR0_TS | bits::CR0_MP, Some(7), Some(7)),
    ] {
        let mut sys = machine(Kind::P6, |a| a.fninit());
        sys.cpu.cr0 |= set;
        assert_eq!(fault(&mut sys), esc, "FNINIT with {set:x}");
        let mut sys = machine(Kind::P6, |a| a.wait());
        sys.cpu.cr0 |= set;
        assert_eq!(fault(&mut sys), wait, "FWAIT with {set:x}");
    }
}

/// Unmasks division by zero and divides 1 by 0.
fn divide_by_zero(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.fninit()?;
    a.mov(word_ptr(bx), 0x37b)?;
    a.fldcw(word_ptr(bx))?;
    a.fld1()?;
    a.fldz()?;
    a.fdivp(st1, st0)
}

#[test]
fn an_unmasked_error_is_raised_by_the_next_waiting_instruction() {
    let mut sys = machine(Kind::P6, |a| {
        divide_by_zero(a)?;
        a.fnstsw(word_ptr(bx + 2))?;
        a.mov(cx, 1)?;
        a.fld1()
    });
    assert_eq!(fault(&mut sys), Some(16));
    assert_eq!((word(&sys, DATA + 2), sys.cpu.regs[1]), (0xb084, 1));
    // Operands are untouched, and the fault points at the FLD1.
    assert_eq!((sys.cpu.fpu.st(0), sys.cpu.fpu.st(1)), (F80::ZERO, F80::ONE));
    assert_eq!(u64::from(word(&sys, 0xf000 - 6)), CODE + 20);
}

#[test]
fn without_ne_the_error_goes_out_on_ferr() {
    for (kind, expected) in [(Kind::I80386, Some(2)), (Kind::P6, Some(2))] {
        let mut sys = machine(kind, divide_by_zero);
        sys.bus.connect_ferr(emu_core::Sink::Nmi(0));
        sys.cpu.cr0 &= !bits::CR0_NE;
        assert_eq!(fault(&mut sys), expected);
    }
}

/// A machine without NE whose FERR# leads to a DMA request, which nobody serves, with a breakpoint that is never hit if
/// instructions are to be executed from their decoded forms.
fn deferring(kind: Kind, decoded: bool, code: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> System {
    let mut sys = machine(kind, code);
    sys.bus.connect_ferr(emu_core::Sink::DmaRequest(0));
    sys.cpu.cr0 &= !bits::CR0_NE;
    if decoded && kind >= Kind::I80386 {
        (sys.cpu.dr[0], sys.cpu.dr[7]) = (0xf_0000, 1);
        sys.cpu.refresh_mode();
    }
    sys
}

type Program = fn(&mut CodeAssembler) -> Result<(), IcedError>;

/// [SDM-1 D.2.1.3]: with IGNNE# released, the CPU stops before the next waiting instruction, and waits for an interrupt.
#[test]
fn the_cpu_waits_before_the_next_waiting_instruction() {
    for (kind, decoded) in [(Kind::I80286, false), (Kind::I80386, true), (Kind::I80486, false), (Kind::P6, true)] {
        let next: [Program; 5] =
            [|a| a.fld1(), |a| a.fadd(dword_ptr(bx)), |a| a.wait(), |a| a.fldcw(word_ptr(bx)), |a| a.emms()];
        for next in &next[..if kind >= Kind::P6 { 5 } else { 4 }] {
            let mut sys = deferring(kind, decoded, |a| {
                divide_by_zero(a)?;
                a.fnstsw(word_ptr(bx + 2))?;
                a.mov(cx, 1)?;
                a.sti()?;
                next(a)?;
                a.mov(cx, 2)
            });
            assert_eq!(sys.run(Ticks(500)), emu_core::Stop::Asleep);
            assert_eq!((sys.cpu.activity, sys.cpu.regs[1], word(&sys, DATA + 2) & 0xff), (Activity::Stalled, 1, 0x84));
            let at = sys.cpu.rip;
            // An interrupt gets through for all of STI's shadow, and returns there.
            sys.bus.cpu_lines(0).nmi = true;
            sys.run(Ticks(510));
            assert_eq!(u64::from(word(&sys, 0xf000 - 6)), at);
            assert_eq!((sys.cpu.rip, sys.cpu.activity), (handler(2) + 1, Activity::Halted));
            // With IGNNE# asserted, it goes on.
            (sys.cpu.rip, sys.cpu.regs[4], sys.cpu.activity) = (at, 0xf000, Activity::Running);
            sys.run(Ticks(520));
            assert_eq!((sys.cpu.activity, sys.cpu.rip), (Activity::Stalled, at));
            sys.bus.cpu_lines(0).ignne = true;
            sys.run(Ticks(1000));
            assert_eq!((sys.cpu.activity, sys.cpu.regs[1]), (Activity::Halted, 2));
        }
    }
}

/// An 8086 watches its coprocessor's BUSY (its TEST# pin) at WAIT alone.
#[test]
fn an_8086_waits_at_wait_only() {
    let mut sys = deferring(Kind::I8086, false, |a| {
        divide_by_zero(a)?;
        a.fld1()?;
        a.mov(cx, 1)?;
        a.wait()
    });
    sys.cpu.fpu.allow_interrupts(true);
    assert_eq!(sys.run(Ticks(500)), emu_core::Stop::Asleep);
    assert_eq!((sys.cpu.activity, sys.cpu.regs[1]), (Activity::Stalled, 1));
}

/// What does not wait lets the program look at the error, and clear it [SDM-1 8.3.12].
#[test]
fn instructions_that_do_not_wait_run_on() {
    let mut sys = deferring(Kind::P6, false, |a| {
        divide_by_zero(a)?;
        a.fnstsw(ax)?;
        a.fnstcw(word_ptr(bx + 2))?;
        a.fnclex()?;
        a.fld1()
    });
    assert_eq!(fault(&mut sys), None);
    assert_eq!((sys.cpu.regs[0] & 0xff, sys.cpu.activity), (0x84, Activity::Halted));
}

#[test]
fn pointers_tell_of_the_last_instruction_that_was_not_control() {
    // With an armed breakpoint everything is executed from its decoded form.
    [0, 1].into_iter().for_each(pointers);
}

fn pointers(breakpoints: u64) {
    let mut sys = machine(Kind::Pentium, |a| {
        a.fninit()?;
        a.fld1()?;
        a.fadd(dword_ptr(bx + 0x12))?;
        a.fnstcw(word_ptr(bx))?;
        a.fnop()?;
        a.fmul(qword_ptr(si + 0x100))?;
        a.fnstsw(ax)
    });
    (sys.cpu.dr[0], sys.cpu.dr[7]) = (0xf_0000, breakpoints);
    sys.cpu.refresh_mode();
    sys.run(Ticks(3));
    let last = sys.cpu.fpu.last();
    assert_eq!((last.fip, last.fcs, last.fdp, last.fds, last.fop), (CODE + 4, 0, DATA + 0x12, 0, 0x047));
    sys.run(Ticks(5));
    assert_eq!(
        (sys.cpu.fpu.last().fip, sys.cpu.fpu.last().fdp, sys.cpu.fpu.last().fop),
        (CODE + 9, DATA + 0x12, 0x1d0)
    );
    assert_eq!(fault(&mut sys), None);
    assert_eq!((sys.cpu.fpu.last().fip, sys.cpu.fpu.last().fdp, sys.cpu.fpu.last().fop), (CODE + 11, 0x100, 0x48c));
}

#[test]
fn saving_initialises_and_restoring_brings_back() {
    let mut sys = machine(Kind::P6, |a| {
        a.fninit()?;
        a.fldpi()?;
        a.fldl2e()?;
        a.fnsave(ptr(bx))?;
        a.fnstsw(ax)?;
        a.fld1()?;
        a.frstor(ptr(bx))
    });
    assert_eq!(fault(&mut sys), None);
    assert_eq!(sys.cpu.regs[0], 0);
    assert_eq!((word(&sys, DATA), word(&sys, DATA + 2), word(&sys, DATA + 4)), (0x37f, 0x3000, 0x0fff));
    assert_eq!((sys.cpu.fpu.st(1).sig, sys.cpu.fpu.tags()), (0xc90f_daa2_2168_c235, 0x0fff));
    assert_eq!(sys.cpu.fpu.status(), 0x3000);
}

#[test]
fn storing_the_environment_masks_everything() {
    let mut sys = machine(Kind::P6, |a| {
        divide_by_zero(a)?;
        a.fnstenv(ptr(bx))?;
        a.fld1()
    });
    assert_eq!(fault(&mut sys), None);
    assert_eq!((word(&sys, DATA), word(&sys, DATA + 2)), (0x37b, 0xb084));
    assert_eq!((sys.cpu.fpu.control(), sys.cpu.fpu.status() & 0x80ff), (0x37f, 4));
}

#[test]
fn a_store_that_faults_changes_nothing() {
    let mut sys = machine(Kind::P6, |a| {
        a.fninit()?;
        a.fld1()?;
        a.fstp(tword_ptr(si))
    });
    // The operand's last byte is beyond the segment.
    sys.cpu.regs[6] = 0xfff7;
    assert_eq!(fault(&mut sys), Some(13));
    assert_eq!((sys.cpu.fpu.st(0), sys.cpu.fpu.status()), (F80::ONE, 0x3800));
    assert_eq!(word(&sys, 0xfff7), 0);
}

#[test]
fn fxsave_needs_its_alignment_and_round_trips() {
    let program = |a: &mut CodeAssembler| {
        a.fxsave(ptr(bx))?;
        a.fninit()?;
        a.xorps(xmm1, xmm1)?;
        a.fxrstor(ptr(bx))
    };
    let mut sys = machine(Kind::P6, program);
    sys.cpu.cr4 |= bits::CR4_OSFXSR;
    sys.cpu.fpu.init();
    sys.cpu.fpu.load_exact(F80::ONE);
    sys.cpu.xmm[1] = 0x0123_4567_89ab_cdef_1122_3344_5566_7788;
    sys.cpu.mxcsr = 0x1fa0;
    let (before, mxcsr) = (sys.cpu.fpu.clone(), sys.cpu.mxcsr);
    assert_eq!(fault(&mut sys), None);
    assert_eq!((&sys.cpu.fpu, sys.cpu.mxcsr), (&before, mxcsr));
    assert_eq!(sys.cpu.xmm[1], 0x0123_4567_89ab_cdef_1122_3344_5566_7788);
    assert_eq!((word(&sys, DATA), word(&sys, DATA + 4), word(&sys, DATA + 28)), (0x37f, 0x80, 0xffff));
    let mut sys = machine(Kind::P6, program);
    sys.cpu.regs[3] += 8;
    assert_eq!(fault(&mut sys), Some(13));
}

#[test]
fn fcomi_sets_and_clears_every_status_flag() {
    let mut sys = machine(Kind::P6, |a| {
        a.fninit()?;
        a.fldz()?;
        a.fld1()?;
        a.fcomi(st0, st1)?;
        a.pushf()?;
        a.pop(ax)?;
        a.fcomi(st0, st5)?;
        a.pushf()?;
        a.pop(cx)
    });
    sys.cpu.set_eflags(0x8d7);
    assert_eq!(fault(&mut sys), None);
    assert_eq!((sys.cpu.regs[0] & 0x8d5, sys.cpu.regs[1] & 0x8d5), (0, 0x45));
}
