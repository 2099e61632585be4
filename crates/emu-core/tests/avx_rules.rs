//! When VEX-encoded instructions fault, how gathers and masked moves meet faults, and the XSAVE family: what the hardware
//! vectors, taken from user programs on a CPU that had all enabled, don't show.

use emu_core::cpu::bits::*;
use emu_core::cpu::model::{Feature, Kind};
use emu_core::cpu::{Model, Segment, TableRegister, seg};
use emu_core::mem::Target;
use emu_core::{Bus, ClockRate, PhysMem, System};
use iced_x86::IcedError;
use iced_x86::code_asm::*;

const GDT: u64 = 0x800;
const IDT: u64 = 0x1000;
/// Where the handler of vector 0 is; the others follow at 16 bytes each.
const HANDLERS: u64 = 0x2000;
const CODE: u64 = 0x3000;
const DATA: u64 = 0x4000;
/// Where the data segment ends.
const END: u64 = 0x6000;

/// A machine in 32-bit protected mode at ring 0 with AVX enabled, whose exception handlers halt.
fn machine_of(model: Model) -> System {
    let mut mem = PhysMem::new(0x10_0000, 0).unwrap();
    mem.map(0, 0x10_0000, Target::Pool(0));
    mem.write(GDT + 8, &0x00cf_9b00_0000_ffffu64.to_le_bytes());
    for vector in 0..32 {
        let gate = (HANDLERS + 16 * vector) | 8 << 16 | 0x8e00 << 32;
        mem.write(IDT + 8 * vector, &gate.to_le_bytes());
        mem.write(HANDLERS + 16 * vector, &[0xf4]);
    }
    let mut sys = System::new(model, mem, Bus::new(ClockRate::DEFAULT, 1));
    sys.reset();
    sys.cpu.cr0 = CR0_PE | CR0_NE | CR0_ET;
    sys.cpu.cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
    sys.cpu.xcr0 = 7;
    let flat = Segment::from_descriptor(0x10, 0xffff, 0x00cf_9300);
    sys.cpu.seg = [flat; 6];
    sys.cpu.seg[seg::CS] = Segment::from_descriptor(8, 0xffff, 0x00cf_9b00);
    sys.cpu.seg[seg::DS] = Segment::from_descriptor(0x10, END as u32 - 1, 0x0040_9300);
    sys.cpu.gdtr = TableRegister { base: GDT, limit: 31 };
    sys.cpu.idtr = TableRegister { base: IDT, limit: 255 };
    sys.cpu.refresh_segments();
    (sys.cpu.regs[4], sys.cpu.regs[7]) = (0xf000, DATA);
    sys.cpu.fpu.init();
    sys
}

fn machine() -> System {
    machine_of(Model::new(Kind::X64V3))
}

/// Runs the instruction `code`; the vector of the exception it raised, if any.
fn run(sys: &mut System, code: &[u8]) -> Option<u64> {
    sys.mem.write(CODE, code);
    sys.cpu.rip = CODE;
    let end = sys.now() + 1;
    sys.run(end);
    sys.cpu.rip.checked_sub(HANDLERS).filter(|at| *at < 0x200).map(|at| at / 16)
}

type Assemble = fn(&mut CodeAssembler) -> Result<(), IcedError>;

fn assembled(bits: u32, f: Assemble) -> Vec<u8> {
    let mut a = CodeAssembler::new(bits).unwrap();
    f(&mut a).unwrap();
    a.assemble(CODE).unwrap()
}

fn step(sys: &mut System, f: Assemble) -> Option<u64> {
    run(sys, &assembled(32, f))
}

/// 64-bit mode, for instructions that raise no fault.
fn in_64_bits(sys: &mut System, f: Assemble) {
    let (old_efer, old_cs) = (sys.cpu.efer, sys.cpu.seg[seg::CS]);
    sys.cpu.efer = EFER_LMA | EFER_LME;
    sys.cpu.seg[seg::CS] = Segment::from_descriptor(8, 0xffff, 0x00af_9b00);
    sys.cpu.refresh_segments();
    assert_eq!(run(sys, &assembled(64, f)), None);
    (sys.cpu.efer, sys.cpu.seg[seg::CS]) = (old_efer, old_cs);
    sys.cpu.refresh_segments();
}

fn bytes<const N: usize>(sys: &System, at: u64) -> [u8; N] {
    let mut v = [0; N];
    sys.mem.read(at, &mut v);
    v
}

fn word(sys: &System, at: u64) -> u64 {
    u64::from_le_bytes(bytes(sys, at))
}

/// [SDM-2A table 2-16...: #UD unless CR4.OSXSAVE and XCR0\[2:1\] are set, whatever CR0.EM and CR4.OSFXSR say; then #NM].
#[test]
fn control_registers_switch_avx_off() {
    let avx: Assemble = |a| a.vpaddb(ymm1, ymm2, ymm3);
    let bmi: Assemble = |a| a.andn(eax, ecx, edx);
    for (control0, control4, xcr0, want) in [
        (0, CR4_OSXSAVE, 7, None),
        (CR0_EM, CR4_OSXSAVE, 7, None),
        (CR0_TS, CR4_OSXSAVE, 7, Some(7)),
        (CR0_TS, 0, 7, Some(6)),
        (0, CR4_OSFXSR, 7, Some(6)),
        (0, CR4_OSXSAVE, 3, Some(6)),
        (0, CR4_OSXSAVE, 1, Some(6)),
    ] {
        let mut sys = machine();
        (sys.cpu.cr0, sys.cpu.cr4, sys.cpu.xcr0) = (CR0_PE | control0, control4, xcr0);
        assert_eq!(step(&mut sys, avx), want, "CR0 {control0:x} CR4 {control4:x} XCR0 {xcr0}");
        assert_eq!(step(&mut sys, bmi), None, "VEX alone needs no state");
    }
    let mut real = machine();
    real.cpu.cr0 &= !CR0_PE;
    real.cpu.refresh_segments();
    // Vectors of real mode are at 0: the exception runs into memory of zeros, far from the code.
    real.cpu.idtr = TableRegister { base: 0, limit: 0x3ff };
    run(&mut real, &[0xc5, 0xf4, 0x58, 0xc2]);
    assert_eq!(real.cpu.rip, 0, "#UD through vector 6");
}

/// [SDM-2A 2.3.2, 2.3.3: LOCK, 66, F2, F3 before VEX; 2.3.6.1: a vvvv that is not used; SDM-2C VGATHER: registers that are
/// not distinct].
#[test]
fn encodings_that_are_none() {
    let vpaddb = [0xc5, 0xf1, 0xfc, 0xc2];
    let good = run(&mut machine(), &vpaddb);
    assert_eq!(good, None);
    for prefix in [0xf0, 0x66, 0xf2, 0xf3] {
        assert_eq!(run(&mut machine(), &[&[prefix][..], &vpaddb].concat()), Some(6), "{prefix:x} before VEX");
    }
    // VMOVAPS with vvvv; VPADDQ with L where AVX2 is missing; VADDPS needs AVX alone.
    assert_eq!(run(&mut machine(), &[0xc5, 0xf0, 0x28, 0xc2]), Some(6));
    let mut avx1 = machine_of(Model::new(Kind::X64V3).with(Feature::Avx2, false));
    assert_eq!(step(&mut avx1, |a| a.vpaddq(ymm1, ymm2, ymm3)), Some(6));
    assert_eq!(step(&mut avx1, |a| a.vpaddq(xmm1, xmm2, xmm3)), None);
    assert_eq!(step(&mut avx1, |a| a.vaddps(ymm1, ymm2, ymm3)), None);
    // VPGATHERDD with 16-bit addresses, which can't be.
    assert_eq!(run(&mut machine(), &[0x67, 0xc4, 0xe2, 0x61, 0x90, 0x0c, 0x97]), Some(6));
    // VPGATHERDD whose index is the destination, whose index is the mask, whose mask is the destination.
    for (vvvv, sib) in [(0x61, 0x8f), (0x69, 0x97), (0x71, 0x97)] {
        assert_eq!(run(&mut machine(), &[0xc4, 0xe2, vvvv, 0x90, 0x0c, sib]), Some(6));
    }
}

/// [SDM-1 14.6, SDM-2A 2.3.10]: a VEX.128 instruction clears the upper half, a legacy one keeps it.
#[test]
fn upper_halves() {
    let mut sys = machine();
    (sys.cpu.xmm[1], sys.cpu.ymm_high[1]) = (1, 2);
    assert_eq!(step(&mut sys, |a| a.paddb(xmm1, xmm1)), None);
    assert_eq!((sys.cpu.xmm[1], sys.cpu.ymm_high[1]), (2, 2));
    assert_eq!(step(&mut sys, |a| a.vpaddb(xmm1, xmm1, xmm1)), None);
    assert_eq!((sys.cpu.xmm[1], sys.cpu.ymm_high[1]), (4, 0));
    (sys.cpu.xmm, sys.cpu.ymm_high) = ([1; 16], [2; 16]);
    assert_eq!(step(&mut sys, |a| a.vzeroupper()), None);
    assert_eq!((sys.cpu.ymm_high[7], sys.cpu.ymm_high[8]), (0, 2), "outside of 64-bit mode there are eight");
    in_64_bits(&mut sys, |a| a.vzeroall());
    assert_eq!((sys.cpu.xmm, sys.cpu.ymm_high), ([0; 16], [0; 16]));
}

/// [SDM-2A 2.4, 14.9]: only the aligned moves and the non-temporal ones care.
#[test]
fn alignment() {
    let mut sys = machine();
    for f in [
        (|a| a.vmovaps(ymm1, ymmword_ptr(edi + 16))) as Assemble,
        |a| a.vmovdqa(ymmword_ptr(edi + 16), ymm1),
        |a| a.vmovapd(xmm1, xmmword_ptr(edi + 8)),
        |a| a.vmovntdq(ymmword_ptr(edi + 16), ymm1),
        |a| a.vmovntps(xmmword_ptr(edi + 8), xmm1),
        |a| a.vmovntdqa(ymm1, ymmword_ptr(edi + 16)),
    ] {
        assert_eq!(step(&mut sys, f), Some(13));
    }
    for f in [
        (|a| a.vmovups(ymm1, ymmword_ptr(edi + 1))) as Assemble,
        |a| a.vpaddd(ymm1, ymm2, ymmword_ptr(edi + 3)),
        |a| a.vaddps(xmm1, xmm2, xmmword_ptr(edi + 4)),
        |a| a.vmovdqa(xmm1, xmmword_ptr(edi + 16)),
        |a| a.vfmadd213pd(ymm1, ymm2, ymmword_ptr(edi + 8)),
    ] {
        assert_eq!(step(&mut sys, f), None);
    }
}

/// #XM, or #UD without CR4.OSXMMEXCPT, leaves the destination alone but not MXCSR [SDM-1 11.5.2, 14.5.2].
#[test]
fn unmasked_exceptions() {
    for (control4, vector) in [(CR4_OSXSAVE | CR4_OSXMMEXCPT, 19), (CR4_OSXSAVE, 6)] {
        let mut sys = machine();
        (sys.cpu.cr4, sys.cpu.mxcsr) = (control4, 0x1d80);
        (sys.cpu.xmm[1], sys.cpu.xmm[2], sys.cpu.ymm_high[2]) = (7, u128::MAX >> 4, 0x3f80_0000);
        assert_eq!(step(&mut sys, |a| a.vdivps(ymm1, ymm2, ymm3)), Some(vector));
        assert_eq!((sys.cpu.xmm[1], sys.cpu.mxcsr & 4), (7, 4), "the upper half divides by zero");
    }
}

/// Elements that the mask leaves out are not accessed [SDM-2C VMASKMOV, VPMASKMOV].
#[test]
fn masked_moves_suppress_faults() {
    let mut sys = machine();
    sys.cpu.regs[7] = END - 8;
    sys.mem.write(END - 8, &0x2222_2222_1111_1111u64.to_le_bytes());
    sys.cpu.xmm[2] = u128::from(u64::MAX);
    (sys.cpu.xmm[3], sys.cpu.ymm_high[1]) = (0x4444_4444_3333_3333, 9);
    assert_eq!(step(&mut sys, |a| a.vmaskmovps(xmm1, xmm2, xmmword_ptr(edi))), None);
    assert_eq!((sys.cpu.xmm[1], sys.cpu.ymm_high[1]), (0x2222_2222_1111_1111, 0));
    sys.cpu.xmm[2] = 0x8000_0000 << 32;
    assert_eq!(step(&mut sys, |a| a.vpmaskmovd(xmmword_ptr(edi), xmm2, xmm3)), None);
    assert_eq!(word(&sys, END - 8), 0x4444_4444_1111_1111);
    // One element lies beyond: nothing is stored.
    sys.cpu.xmm[2] = u128::MAX;
    assert_eq!(step(&mut sys, |a| a.vpmaskmovd(xmmword_ptr(edi), xmm2, xmm3)), Some(13));
    assert_eq!(word(&sys, END - 8), 0x4444_4444_1111_1111);
}

/// A gather that faults keeps what has arrived, clears those elements' masks, and goes on when it is executed again
/// [SDM-2C VPGATHERDD].
#[test]
fn gathers_restart() {
    let mut sys = machine();
    for i in 0..8u32 {
        sys.mem.write(DATA + 4 * u64::from(i), &(0x100 + i).to_le_bytes());
    }
    let lanes = |v: [u32; 4]| v.iter().rev().fold(0u128, |all, lane| all << 32 | u128::from(*lane));
    let outside = (END - DATA) as u32 / 4;
    sys.cpu.xmm[2] = lanes([5, 1, outside, 2]);
    (sys.cpu.xmm[3], sys.cpu.xmm[1]) = (lanes([0x8000_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]), lanes([9; 4]));
    sys.cpu.ymm_high[1] = 5;
    // VPGATHERDD xmm1, [edi + xmm2*4], xmm3
    let gather = [0xc4, 0xe2, 0x61, 0x90, 0x0c, 0x97];
    assert_eq!(run(&mut sys, &gather), Some(13));
    assert_eq!(sys.cpu.xmm[1], lanes([0x105, 9, 9, 9]));
    assert_eq!(sys.cpu.xmm[3], lanes([0, 0, u32::MAX, u32::MAX]));
    sys.cpu.xmm[2] = lanes([outside, outside, 3, 2]);
    assert_eq!(run(&mut sys, &gather), None);
    assert_eq!((sys.cpu.xmm[1], sys.cpu.xmm[3]), (lanes([0x105, 9, 0x103, 0x102]), 0));
    assert_eq!(sys.cpu.ymm_high[1], 0);
}

/// [SDM-2C XSETBV, SDM-1 13.3].
#[test]
fn xcr0_holds_what_can_be() {
    let try_value = |sys: &mut System, index: u64, value: u64| {
        (sys.cpu.regs[1], sys.cpu.regs[0], sys.cpu.regs[2]) = (index, value & 0xffff_ffff, value >> 32);
        step(sys, |a| a.xsetbv())
    };
    let mut sys = machine();
    for (index, value, want) in [
        (0, 7, None),
        (0, 3, None),
        (0, 1, None),
        (0, 0, Some(13)),
        (0, 2, Some(13)),
        (0, 5, Some(13)),
        (0, 0xf, Some(13)),
        (0, 1 << 63 | 7, Some(13)),
        (1, 7, Some(13)),
    ] {
        let before = sys.cpu.xcr0;
        assert_eq!(try_value(&mut sys, index, value), want, "XCR{index} = {value:x}");
        assert_eq!(sys.cpu.xcr0, if want.is_none() { value } else { before });
        let size = if sys.cpu.xcr0 & 4 != 0 { 832 } else { 576 };
        assert_eq!(sys.cpu.cpuid(0xd, 0, 1), [7, size, 832, 0]);
    }
    let mut old = machine_of(Model::new(Kind::X64V3).with(Feature::Avx, false));
    assert_eq!(try_value(&mut old, 0, 7), Some(13));
    assert_eq!(old.cpu.cpuid(0xd, 0, 1)[2], 576);
    sys.cpu.cr4 &= !CR4_OSXSAVE;
    assert_eq!(try_value(&mut sys, 0, 7), Some(6));
    assert_eq!(step(&mut sys, |a| a.xgetbv()), Some(6));
}

/// Registers that are all in use, and an area of EEh with a header of zeros.
fn prepared() -> System {
    let extras = [Feature::Xsavec, Feature::Xgetbv1, Feature::Xsaves];
    let mut sys = machine_of(extras.into_iter().fold(Model::new(Kind::X64V3), |m, f| m.with(f, true)));
    sys.mem.write(DATA, &[0xee; 1024]);
    sys.mem.write(DATA + 512, &[0; 64]);
    sys.cpu.xmm = core::array::from_fn(|i| 0x1000 + i as u128);
    sys.cpu.ymm_high = core::array::from_fn(|i| 0x2000 + i as u128);
    (sys.cpu.regs[0], sys.cpu.regs[2]) = (7, 0);
    sys
}

/// What is written, and what not [SDM-1 13.7, 13.9, 13.10].
#[test]
fn areas_hold_what_is_asked_for() {
    let mut sys = prepared();
    sys.mem.write(DATA + 512, &[5]);
    sys.cpu.regs[0] = 2;
    assert_eq!(step(&mut sys, |a| a.xsave(ptr(edi))), None);
    // Component 1 is saved; the bits of the others stay as they were. x87 and YMM parts are not touched.
    assert_eq!(word(&sys, DATA + 512), 7);
    assert_eq!((word(&sys, DATA), word(&sys, DATA + 24)), (0xeeee_eeee_eeee_eeee, 0xffff_0000_1f80));
    assert_eq!(word(&sys, DATA + 160 + 16 * 7), 0x1007);
    assert_eq!(bytes(&sys, DATA + 160 + 16 * 8), [0xee; 16], "outside of 64-bit mode there are eight registers");
    in_64_bits(&mut sys, |a| a.xsave64(ptr(rdi)));
    assert_eq!(word(&sys, DATA + 160 + 16 * 15), 0x100f);
    // XSAVEOPT leaves out what is in its initial configuration, and says so.
    sys.cpu.ymm_high = [0; 16];
    sys.cpu.regs[0] = 7;
    assert_eq!(step(&mut sys, |a| a.xsaveopt(ptr(edi))), None);
    assert_eq!((word(&sys, DATA + 512), word(&sys, DATA + 576)), (2, 0xeeee_eeee_eeee_eeee));
    // XSAVEC writes both header words; a changed MXCSR makes SSE state count as in use.
    (sys.cpu.xmm, sys.cpu.mxcsr, sys.cpu.ymm_high[3]) = ([0; 16], 0x1fa0, 1);
    assert_eq!(step(&mut sys, |a| a.xsavec(ptr(edi))), None);
    assert_eq!((word(&sys, DATA + 512), word(&sys, DATA + 520)), (6, 1 << 63 | 7));
    sys.cpu.regs[1] = 1;
    assert_eq!(step(&mut sys, |a| a.xgetbv()), None);
    assert_eq!(sys.cpu.regs[0], 4);
}

/// What is loaded, what is initialised and what stays [SDM-1 13.8, 13.12].
#[test]
fn restoring() {
    let mut sys = prepared();
    let saved = (sys.cpu.xmm, sys.cpu.ymm_high);
    in_64_bits(&mut sys, |a| a.xsave64(ptr(rdi)));
    (sys.cpu.xmm, sys.cpu.ymm_high, sys.cpu.mxcsr) = ([1; 16], [1; 16], 0x1fa0);
    in_64_bits(&mut sys, |a| a.xrstor64(ptr(rdi)));
    assert_eq!(((sys.cpu.xmm, sys.cpu.ymm_high), sys.cpu.mxcsr), (saved, 0x1f80));
    // A component that the area says is initial; MXCSR comes from the area all the same.
    sys.mem.write(DATA + 512, &[4]);
    sys.mem.write(DATA + 24, &0x9f80u32.to_le_bytes());
    sys.cpu.fpu.set_control(0x27f);
    in_64_bits(&mut sys, |a| a.xrstor64(ptr(rdi)));
    assert_eq!((sys.cpu.xmm, sys.cpu.ymm_high, sys.cpu.mxcsr), ([0; 16], saved.1, 0x9f80));
    assert_eq!(sys.cpu.fpu.control(), 0x37f);
    assert_eq!(sys.cpu.fpu, machine().cpu.fpu, "initial x87 state is FNINIT's, with registers of zero");
    // The compacted format has MXCSR in the component.
    sys.mem.write(DATA + 520, &(1u64 << 63 | 6).to_le_bytes());
    (sys.cpu.xmm[0], sys.cpu.regs[0]) = (5, 2);
    in_64_bits(&mut sys, |a| a.xrstors64(ptr(rdi)));
    assert_eq!((sys.cpu.xmm[0], sys.cpu.ymm_high, sys.cpu.mxcsr), (0, saved.1, 0x1f80));
}

/// [SDM-2C XRSTOR, XRSTORS: protected mode exceptions].
#[test]
fn headers_are_checked() {
    let compacted = 1u64 << 63;
    for (components, layout, at_16, at_24, standard, supervisor) in [
        (7, 0, 0, 0, None, Some(13)),
        (8, 0, 0, 0, Some(13), Some(13)),
        (7, 1, 0, 0, Some(13), Some(13)),
        (7, 0, 1, 0, Some(13), Some(13)),
        // Bytes 63:24 of the header don't count in the standard format.
        (7, 0, 0, 1, None, Some(13)),
        (7, compacted | 7, 0, 0, None, None),
        (1, compacted | 7, 0, 0, None, None),
        (7, compacted | 3, 0, 0, Some(13), Some(13)),
        (7, compacted | 0xf, 0, 0, Some(13), Some(13)),
        (7, compacted | 7, 1, 0, Some(13), Some(13)),
        (7, compacted | 7, 0, 1, Some(13), Some(13)),
    ] {
        let mut sys = prepared();
        sys.mem.write(DATA, &[0; 512]);
        for (i, v) in [components, layout, at_16, at_24].into_iter().enumerate() {
            sys.mem.write(DATA + 512 + 8 * i as u64, &u64::to_le_bytes(v));
        }
        assert_eq!(step(&mut sys, |a| a.xrstor(ptr(edi))), standard, "{components:x} {layout:x} {at_16} {at_24}");
        (sys.cpu.regs[4], sys.cpu.regs[7]) = (0xf000, DATA);
        assert_eq!(step(&mut sys, |a| a.xrstors(ptr(edi))), supervisor, "{components:x} {layout:x} {at_16} {at_24}");
    }
    let mut sys = prepared();
    sys.mem.write(DATA + 24, &0x1_0000u32.to_le_bytes());
    assert_eq!(step(&mut sys, |a| a.xrstor(ptr(edi))), Some(13), "reserved bits of MXCSR");
    sys.mem.write(DATA + 520, &(compacted | 7).to_le_bytes());
    let mut plain = machine();
    plain.mem.write(DATA + 520, &(compacted | 7).to_le_bytes());
    assert_eq!(step(&mut plain, |a| a.xrstor(ptr(edi))), Some(13), "no compaction without XSAVEC");
    assert_eq!(step(&mut plain, |a| a.xsavec(ptr(edi))), Some(6));
    sys.cpu.regs[7] = DATA + 32;
    for f in [(|a| a.xsave(ptr(edi))) as Assemble, |a| a.xrstor(ptr(edi)), |a| a.xsavec(ptr(edi))] {
        assert_eq!(step(&mut sys, f), Some(13), "areas lie at multiples of 64");
    }
    (sys.cpu.cr0, sys.cpu.regs[7]) = (CR0_PE | CR0_TS, DATA);
    assert_eq!(step(&mut sys, |a| a.xsave(ptr(edi))), Some(7));
    // An area that ends beyond the segment: nothing of it is written.
    (sys.cpu.cr0, sys.cpu.regs[7], sys.cpu.regs[0]) = (CR0_PE, END - 576 - 128, 7);
    let before = bytes::<64>(&sys, END - 576 - 128);
    in_64_bits(&mut sys, |a| a.vzeroall());
    sys.cpu.ymm_high[0] = 1;
    assert_eq!(step(&mut sys, |a| a.xsave(ptr(edi))), None, "eight registers end at the segment's end");
    sys.cpu.regs[7] = END - 576 - 64;
    assert_eq!(step(&mut sys, |a| a.xsave(ptr(edi))), Some(13));
    assert_ne!(before, bytes::<64>(&sys, END - 576 - 128));
}

/// RDRAND comes from the seed, goes on, and is part of the saved state.
#[test]
fn random_numbers_are_reproducible() {
    let draw = |seed: u64| {
        let mut sys = machine();
        sys.cpu.seed_random(seed);
        let mut next = || {
            assert_eq!(step(&mut sys, |a| a.rdrand(eax)), None);
            assert!(sys.cpu.flags.bits() & CF != 0);
            sys.cpu.regs[0]
        };
        [next(), next(), next()]
    };
    let (a, b, c) = (draw(1), draw(1), draw(2));
    assert_eq!(a, b);
    assert!(a != c && a[0] != a[1] && a[1] != a[2]);
}

/// Instructions that came one by one [SDM-2 of each].
#[test]
fn late_instructions() {
    let more = [Feature::Monitor, Feature::Rdpid, Feature::Clflushopt];
    let mut sys = machine_of(more.into_iter().fold(Model::new(Kind::X64V3), |m, f| m.with(f, true)));
    sys.cpu.msr.tsc_aux = 0x1234;
    assert_eq!(step(&mut sys, |a| a.rdtscp()), None);
    assert_eq!(sys.cpu.regs[1], 0x1234);
    assert_eq!(step(&mut sys, |a| a.rdpid(edx)), None);
    assert_eq!(sys.cpu.regs[2], 0x1234);
    // CLFLUSH faults as a load does; PREFETCHW does not.
    sys.cpu.regs[7] = END;
    assert_eq!(step(&mut sys, |a| a.prefetchw(byte_ptr(edi))), None);
    for f in [(|a| a.clflush(byte_ptr(edi))) as Assemble, |a| a.clflushopt(byte_ptr(edi))] {
        assert_eq!(step(&mut sys, f), Some(13));
    }
    // MONITOR: an address that can be read, no extensions in ECX. MWAIT: only extension 0.
    (sys.cpu.regs[0], sys.cpu.regs[1]) = (DATA, 0);
    assert_eq!(step(&mut sys, |a| a.monitor()), None);
    assert_eq!(step(&mut sys, |a| a.mwait()), None);
    (sys.cpu.regs[0], sys.cpu.regs[1]) = (END, 0);
    assert_eq!(step(&mut sys, |a| a.monitor()), Some(13));
    (sys.cpu.regs[0], sys.cpu.regs[1]) = (DATA, 2);
    assert_eq!(step(&mut sys, |a| a.monitor()), Some(13));
    assert_eq!(step(&mut sys, |a| a.mwait()), Some(13));
    // UD0, UD1 and UD2; WRFSBASE outside of 64-bit mode; RDPID where the model has none.
    for code in [&[0x0f, 0xff, 0xc0][..], &[0x0f, 0xb9, 0xc0], &[0x0f, 0x0b], &[0xf3, 0x0f, 0xae, 0xd0]] {
        assert_eq!(run(&mut sys, code), Some(6), "{code:02x?}");
    }
    assert_eq!(step(&mut machine(), |a| a.rdpid(edx)), Some(6));
    // What is new only by its prefix is the old instruction to a CPU without it: RDSSPD a NOP, WBNOINVD a WBINVD.
    sys.cpu.regs[2] = 5;
    assert_eq!(run(&mut sys, &[0xf3, 0x0f, 0x1e, 0xca]), None);
    assert_eq!(run(&mut sys, &[0xf3, 0x0f, 0x09]), None);
    assert_eq!(sys.cpu.regs[2], 5);
}

/// PKRU is component 9: behind room for others in the standard format, behind what is there in the compacted one [SDM-1
/// 13.4, 13.5.7].
#[test]
fn rights_of_protection_keys_are_a_component() {
    let model = [Feature::Pku, Feature::Xsavec, Feature::Xgetbv1].into_iter();
    let mut sys = machine_of(model.fold(Model::new(Kind::X64V3), |m, f| m.with(f, true)));
    (sys.cpu.regs[0], sys.cpu.regs[1], sys.cpu.regs[2]) = (0x207, 0, 0);
    assert_eq!(step(&mut sys, |a| a.xsetbv()), None);
    assert_eq!(sys.cpu.cpuid(0xd, 0, 1), [0x207, 0xa88, 0xa88, 0]);
    assert_eq!((sys.cpu.cpuid(0xd, 1, 1)[1], sys.cpu.cpuid(0xd, 9, 1)), (840, [8, 0xa80, 0, 0]));
    (sys.cpu.regs[1], sys.cpu.key_rights[0]) = (1, 0x5555_0004);
    assert_eq!(step(&mut sys, |a| a.xgetbv()), None);
    assert_eq!(sys.cpu.regs[0] & 0x200, 0x200, "in use");
    sys.cpu.regs[0] = 0x200;
    let (saves, restores): ([Assemble; 2], Assemble) =
        ([|a| a.xsave(ptr(edi)), |a| a.xsavec(ptr(edi))], |a| a.xrstor(ptr(edi)));
    for (n, requested, place) in [(0, 0x200, 0xa80), (1, 0x200, 576), (1, 0x204, 832)] {
        sys.mem.write(DATA, &[0; 0xb00]);
        (sys.cpu.regs[0], sys.cpu.key_rights[0]) = (requested, 0x5555_0004);
        assert_eq!(step(&mut sys, saves[n]), None);
        assert_eq!((word(&sys, DATA + 512), word(&sys, DATA + place)), (0x200, 0x5555_0004), "{requested:x}");
        sys.cpu.key_rights[0] = 1;
        assert_eq!(step(&mut sys, restores), None);
        assert_eq!(sys.cpu.key_rights[0], 0x5555_0004);
        sys.mem.write(DATA + 512, &[0; 8]);
        assert_eq!(step(&mut sys, restores), None);
        assert_eq!(sys.cpu.key_rights[0], 0, "initial");
    }
}
