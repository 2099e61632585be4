//! When MMX and SSE instructions fault, and that they change nothing then.

use emu_core::cpu::bits::{CR0_EM, CR0_NE, CR0_TS, CR4_OSFXSR, CR4_OSXMMEXCPT};
use emu_core::cpu::model::Kind;
use emu_core::cpu::{Model, Segment, seg};
use emu_core::mem::Target;
use emu_core::{Bus, ClockRate, PhysMem, System};
use iced_x86::IcedError;
use iced_x86::code_asm::*;

const CODE: u64 = 0x1000;
/// Where the handler of vector 0 is; the others follow at 16 bytes each.
const HANDLERS: u64 = 0x2000;
const DATA: u64 = 0x3000;

/// A machine in real mode with SSE enabled, whose exception handlers halt.
fn machine(kind: Kind) -> System {
    let mut mem = PhysMem::new(0x10_0000, 0).unwrap();
    mem.map(0, 0x10_0000, Target::Pool(0));
    for vector in 0..32 {
        mem.write(4 * vector, &((HANDLERS + 16 * vector) as u32).to_le_bytes());
        mem.write(HANDLERS + 16 * vector, &[0xf4]);
    }
    let mut sys = System::new(Model::new(kind), mem, Bus::new(ClockRate::DEFAULT, 1));
    sys.reset();
    for s in [seg::ES, seg::CS, seg::SS, seg::DS] {
        sys.cpu.set_segment(s, Segment::real(0));
    }
    (sys.cpu.regs[4], sys.cpu.regs[7]) = (0xf000, DATA);
    sys.cpu.cr0 |= CR0_NE;
    sys.cpu.cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT;
    sys.cpu.fpu.init();
    sys
}

/// Runs one instruction; the vector of the exception it raised, if any.
fn step(sys: &mut System, f: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Option<u64> {
    let mut a = CodeAssembler::new(16).unwrap();
    f(&mut a).unwrap();
    sys.mem.write(CODE, &a.assemble(CODE).unwrap());
    sys.cpu.rip = CODE;
    let end = sys.now() + 1;
    sys.run(end);
    sys.cpu.rip.checked_sub(HANDLERS).filter(|at| *at < 0x200).map(|at| at / 16)
}

#[test]
fn control_registers_switch_instructions_off() {
    let packed = |a: &mut CodeAssembler| a.paddb(xmm1, xmm2);
    let mmx = |a: &mut CodeAssembler| a.paddb(mm1, mm2);
    let fence = |a: &mut CodeAssembler| a.sfence();
    for (control0, control4, sse, media) in [
        (CR0_NE, CR4_OSFXSR, None, None),
        (CR0_NE, 0, Some(6), None),
        (CR0_TS, CR4_OSFXSR, Some(7), Some(7)),
        (CR0_EM, CR4_OSFXSR, Some(6), Some(6)),
        (CR0_EM | CR0_TS, CR4_OSFXSR, Some(6), Some(6)),
    ] {
        let mut sys = machine(Kind::X64V2);
        (sys.cpu.cr0, sys.cpu.cr4) = (control0, control4);
        assert_eq!(step(&mut sys, packed), sse, "SSE with CR0 {control0:x} CR4 {control4:x}");
        assert_eq!(step(&mut sys, mmx), media, "MMX with CR0 {control0:x} CR4 {control4:x}");
        assert_eq!(step(&mut sys, fence), None);
    }
}

#[test]
fn models_lack_what_came_later() {
    let mut pentium = machine(Kind::Pentium);
    assert_eq!(step(&mut pentium, |a| a.paddb(mm1, mm2)), None);
    assert_eq!(step(&mut pentium, |a| a.addps(xmm1, xmm2)), Some(6));
    let mut p6 = machine(Kind::P6);
    assert_eq!(step(&mut p6, |a| a.addpd(xmm1, xmm2)), None);
    assert_eq!(step(&mut p6, |a| a.pshufb(xmm1, xmm2)), Some(6));
    assert_eq!(step(&mut machine(Kind::I80486), |a| a.emms()), Some(6));
}

#[test]
fn unmasked_exceptions_leave_the_destination_alone() {
    for (control4, vector) in [(CR4_OSFXSR | CR4_OSXMMEXCPT, 19), (CR4_OSFXSR, 6)] {
        let mut sys = machine(Kind::P6);
        sys.cpu.cr4 = control4;
        // Division by zero is unmasked; lane 0 would be inexact, which the fault hides.
        sys.cpu.mxcsr = 0x1d80;
        sys.cpu.xmm[1] = 0x3f80_0000_3f80_0000_3f80_0000_3f80_0000;
        sys.cpu.xmm[2] = 0x3f80_0000_3f80_0000_0000_0000_4040_0000;
        let before = sys.cpu.xmm;
        assert_eq!(step(&mut sys, |a| a.divps(xmm1, xmm2)), Some(vector));
        assert_eq!((sys.cpu.xmm, sys.cpu.mxcsr), (before, 0x1d84));
    }
}

#[test]
fn operands_of_sixteen_bytes_are_aligned() {
    let mut sys = machine(Kind::P6);
    assert_eq!(step(&mut sys, |a| a.movaps(xmm1, xmmword_ptr(di + 8))), Some(13));
    assert_eq!(step(&mut sys, |a| a.movdqa(xmmword_ptr(di + 8), xmm1)), Some(13));
    assert_eq!(step(&mut sys, |a| a.paddd(xmm1, xmmword_ptr(di + 4))), Some(13));
    assert_eq!(step(&mut sys, |a| a.movups(xmm1, xmmword_ptr(di + 3))), None);
    // Beyond the segment's limit.
    sys.cpu.regs[7] = 0xfff8;
    assert_eq!(step(&mut sys, |a| a.movups(xmmword_ptr(di), xmm1)), Some(13));
}

#[test]
fn ldmxcsr_refuses_reserved_bits() {
    let mut sys = machine(Kind::P6);
    sys.mem.write(DATA, &0x1_1f80u32.to_le_bytes());
    assert_eq!(step(&mut sys, |a| a.ldmxcsr(dword_ptr(di))), Some(13));
    sys.mem.write(DATA, &0xffffu32.to_le_bytes());
    assert_eq!(step(&mut sys, |a| a.ldmxcsr(dword_ptr(di))), None);
    assert_eq!(sys.cpu.mxcsr, 0xffff);
}

#[test]
fn masked_stores_touch_only_what_they_store() {
    let mut sys = machine(Kind::P6);
    (sys.cpu.xmm[1], sys.cpu.xmm[2]) = (0x1122_3344, 0x80_0080);
    sys.mem.write(DATA, &[0xee; 16]);
    assert_eq!(step(&mut sys, |a| a.maskmovdqu(xmm1, xmm2)), None);
    let mut bytes = [0; 4];
    sys.mem.read(DATA, &mut bytes);
    assert_eq!(bytes, [0x44, 0xee, 0x22, 0xee]);
}

#[test]
fn mmx_waits_for_x87_errors() {
    let mut sys = machine(Kind::P6);
    sys.cpu.fpu.set_control(0x37e);
    sys.cpu.fpu.set_status(1);
    assert_eq!(step(&mut sys, |a| a.paddb(mm1, mm2)), Some(16));
    assert_eq!(step(&mut sys, |a| a.cvtpi2ps(xmm1, mm2)), Some(16));
    assert_eq!(step(&mut sys, |a| a.paddb(xmm1, xmm2)), None);
}

/// A step that is over has raised what it raised, even if the next one's unmasked exception hides that one's others: the
/// products underflow, and the sums meet a denormal.
#[test]
fn the_steps_of_a_dot_product_raise_their_own() {
    let mut sys = machine(Kind::X64V2);
    sys.cpu.mxcsr = 0x1e80;
    (sys.cpu.xmm[1], sys.cpu.xmm[2]) = (0x0d80_0001, 0x2b80_0000);
    let before = sys.cpu.xmm;
    assert_eq!(step(&mut sys, |a| a.dpps(xmm1, xmm2, 0xff)), Some(19));
    assert_eq!((sys.cpu.xmm, sys.cpu.mxcsr), (before, 0x1eb2));
}
