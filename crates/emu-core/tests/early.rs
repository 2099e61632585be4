//! What only CPUs up to the 80486 have, where the captures of real ones (emu-conform, tests/samples.rs) say nothing of it.

use emu_core::cpu::model::{Feature, Kind};
use emu_core::cpu::{Model, Segment, Shadow, bits, reg, seg};
use emu_core::fpu::F80;
use emu_core::mem::Target;
use emu_core::{Bus, ClockRate, PhysMem, System, Ticks};

const CODE: u64 = 0x1000;
const HALT: u8 = 0xF4;

/// A real-mode machine with `code` at 0:1000h, which runs until a HLT; vector n is handled by one at 2000h + 10h n.
fn machine(model: Model, code: &[u8]) -> System {
    let mut mem = PhysMem::new(0x20_0000, 0).unwrap();
    mem.map(0, 0x20_0000, Target::Pool(0));
    mem.set_a20(model.kind > Kind::I80186);
    mem.write(CODE, code);
    for vector in 0..32u64 {
        mem.write(4 * vector, &(0x2000 + 0x10 * vector as u32).to_le_bytes());
        mem.write(0x2000 + 0x10 * vector, &[HALT]);
    }
    let mut sys = System::new(model, mem, Bus::new(ClockRate::DEFAULT, 1));
    sys.reset();
    for s in [seg::ES, seg::CS, seg::SS, seg::DS] {
        sys.cpu.set_segment(s, Segment::real(0));
    }
    (sys.cpu.rip, sys.cpu.regs[reg::RSP]) = (CODE, 0xF000);
    sys
}

/// Runs to the HLT; the vector whose handler it was in, if any.
fn run(sys: &mut System) -> Option<u64> {
    sys.run(Ticks(1000));
    (0x2000..0x3000).contains(&sys.cpu.rip).then(|| (sys.cpu.rip - 1 - 0x2000) / 0x10)
}

fn put(sys: &mut System, at: u64, words: &[u16]) {
    for (n, w) in words.iter().enumerate() {
        sys.mem.write(at + 2 * n as u64, &w.to_le_bytes());
    }
}

/// [LOADALL]: the image at 800h, with a data segment above 1 MiB that real mode then reads.
#[test]
fn loadall_of_the_80286_reaches_beyond_real_mode() {
    let mut sys = machine(Model::new(Kind::I80286), &[0x0F, 0x05]);
    let mut image = [0u16; 51];
    // TR, FLAGS, IP, LDT, DS, SS, CS, ES; then DI to AX.
    image[11..19].copy_from_slice(&[0, 0x0893, 0x3000, 0, 0x1111, 0, 0, 0x2222]);
    image[19..27].copy_from_slice(&[0xD1, 0x51, 0xB9, 0xE000, 0xBB, 0xDD, 0xCC, 0xAA]);
    // Base, rights, limit of ES, CS, SS, DS; GDT, LDT, IDT, TSS.
    image[27..39].copy_from_slice(&[0, 0x9300, 0xFFFF, 0, 0x9300, 0xFFFF, 0, 0x9300, 0xFFFF, 0x4560, 0x9312, 0xFFF]);
    image[39..51].copy_from_slice(&[0x100, 0, 0x7F, 0, 0x8200, 0, 0, 0, 0x3FF, 0, 0x8300, 0x2B]);
    put(&mut sys, 0x800, &image);
    sys.mem.write(0x12_4560 + 0x10, &[0x78, 0x56]);
    sys.mem.write(0x3000, &[0xA1, 0x10, 0x00, HALT]);
    assert_eq!(run(&mut sys), None);
    assert_eq!(sys.cpu.regs[..8], [0x5678, 0xCC, 0xDD, 0xBB, 0xE000, 0xB9, 0x51, 0xD1]);
    assert_eq!((sys.cpu.seg[seg::DS].sel, sys.cpu.seg[seg::DS].limit), (0x1111, 0xFFF));
    assert_eq!((sys.cpu.eflags(), sys.cpu.gdtr.base, sys.cpu.gdtr.limit), (0x893, 0x100, 0x7F));
    assert_eq!((sys.cpu.tr.limit, sys.cpu.seg[seg::ES].sel), (0x2B, 0x2222));
}

/// [LOADALL]: 204 bytes at ES:EDI.
#[test]
fn loadall_of_the_80386_loads_everything() {
    let mut sys = machine(Model::new(Kind::I80386), &[0x0F, 0x07]);
    let mut image = vec![0x10u32, 0x893, 0x3000];
    image.extend([0xD1, 0x51, 0xB9, 0xE000, 0xBB, 0xDD, 0xCC, 0x1234_00AA]);
    // DR6, DR7, TR, LDT, GS, FS, DS, SS, CS, ES.
    image.extend([0, 0, 0, 0, 0x66, 0x55, 0x1111, 0, 0, 0x2222]);
    // Rights, base, limit of TSS, IDT, GDT, LDT, GS, FS, DS, SS, CS, ES.
    let real = [0x9300, 0, 0xFFFF];
    for part in [[0x8B00, 0, 0x67], [0, 0, 0x3FF], [0, 0x100, 0x7F], [0x8200, 0, 0], real, real] {
        image.extend(part);
    }
    for part in [[0x0040_9300, 0x10_0000, u32::MAX], real, real, real] {
        image.extend(part);
    }
    assert_eq!(image.len() * 4, 204);
    let bytes: Vec<u8> = image.iter().flat_map(|v| v.to_le_bytes()).collect();
    sys.mem.write(0x4000, &bytes);
    sys.cpu.regs[reg::RDI] = 0x4000;
    sys.mem.write(0x10_5678, &[0x21, 0x43]);
    sys.mem.write(0x3000, &[0x67, 0xA1, 0x78, 0x56, 0, 0, HALT]);
    assert_eq!(run(&mut sys), None);
    assert_eq!(sys.cpu.regs[..8], [0x1234_4321, 0xCC, 0xDD, 0xBB, 0xE000, 0xB9, 0x51, 0xD1]);
    assert_eq!((sys.cpu.seg[seg::DS].limit, sys.cpu.seg[seg::FS].sel), (u32::MAX, 0x55));
    assert_eq!((sys.cpu.tr.limit, sys.cpu.gdtr.base), (0x67, 0x100));
}

/// What one generation has and the next has not is #UD there.
#[test]
fn opcodes_of_the_0f_row_by_model() {
    let fault = |kind, code: &[u8]| {
        let mut sys = machine(Model::new(kind), &[code, &[HALT]].concat());
        sys.cpu.regs[reg::RBX] = 0x4000;
        run(&mut sys)
    };
    use Kind::*;
    for (code, kinds) in [
        // UMOV AL, [BX]; MOV EAX, TR6; MOV TR3, EAX; LOADALL of the 386.
        (&[0x0Fu8, 0x12, 0x07][..], &[I80386, I80486][..]),
        (&[0x0F, 0x24, 0xF0], &[I80386, I80486]),
        (&[0x0F, 0x26, 0xD8], &[I80486]),
        // CMPXCHG, XADD, BSWAP, INVD; CMPXCHG8B, RDTSC; UD2 is #UD everywhere.
        (&[0x0F, 0xB0, 0x07], &[I80486, Pentium]),
        (&[0x0F, 0xC0, 0x07], &[I80486, Pentium]),
        (&[0x0F, 0xC8], &[I80486, Pentium]),
        (&[0x0F, 0x08], &[I80486, Pentium]),
        (&[0x0F, 0xC7, 0x0F], &[Pentium]),
        (&[0x0F, 0x31], &[Pentium]),
        (&[0x0F, 0x0B], &[]),
        // SHLD, MOVZX, SETcc, LSS: since the 80386. CMOVcc: not before the P6.
        (&[0x0F, 0xA4, 0x07, 0x01], &[I80386, I80486, Pentium]),
        (&[0x0F, 0xB6, 0xC0], &[I80386, I80486, Pentium]),
        (&[0x0F, 0x90, 0xC0], &[I80386, I80486, Pentium]),
        (&[0x0F, 0x40, 0xC0], &[]),
    ] {
        for kind in [I80286, I80386, I80486, Pentium] {
            let expected = if kinds.contains(&kind) { None } else { Some(6) };
            assert_eq!(fault(kind, code), expected, "{kind:?} {code:02x?}");
        }
    }
}

#[test]
fn umov_moves_and_test_registers_keep() {
    // MOV EAX, 12345678h; MOV TR7, EAX; UMOV [BX], EAX; UMOV ECX, [BX]; MOV EDX, TR7.
    let code = [
        &[0x66, 0xB8, 0x78, 0x56, 0x34, 0x12][..],
        &[0x0F, 0x26, 0xF8],
        &[0x66, 0x0F, 0x11, 0x07, 0x66, 0x0F, 0x13, 0x0F],
        &[0x0F, 0x24, 0xFA, HALT],
    ];
    let mut sys = machine(Model::new(Kind::I80386), &code.concat());
    sys.cpu.regs[reg::RBX] = 0x4000;
    assert_eq!(run(&mut sys), None);
    assert_eq!(
        (sys.mem.load::<u32>(0x4000), sys.cpu.regs[1], sys.cpu.regs[2]),
        (0x1234_5678, 0x1234_5678, 0x1234_5678)
    );
}

/// A word at offset FFFFh goes on at 0 up to the 80186, and is a fault from the 80286 on; handlers and decoded forms alike.
#[test]
fn words_at_the_end_of_a_segment() {
    for kind in [Kind::I8086, Kind::I80186, Kind::I80286, Kind::I80386] {
        // MOV [BX], AX; ADD CX, [BX]; PUSH AX at SP = 1.
        let mut sys = machine(Model::new(kind), &[0x89, 0x07, 0x03, 0x0F, 0x50, HALT]);
        (sys.cpu.regs[0], sys.cpu.regs[1], sys.cpu.regs[3]) = (0xABCD, 1, 0xFFFF);
        sys.cpu.set_segment(seg::DS, Segment::real(0x1000));
        sys.cpu.set_segment(seg::SS, Segment::real(0x2000));
        sys.cpu.regs[reg::RSP] = if kind.wraps() { 1 } else { 0xF000 };
        let vector = run(&mut sys);
        if kind > Kind::I80186 {
            assert_eq!((vector, sys.cpu.regs[1]), (Some(13), 1), "{kind:?}");
            continue;
        }
        assert_eq!((vector, sys.cpu.regs[1]), (None, 0xABCE), "{kind:?}");
        let bytes = [0x1_FFFF, 0x1_0000, 0x2_FFFF, 0x2_0000].map(|at| sys.mem.load::<u8>(at));
        assert_eq!(bytes, [0xCD, 0xAB, 0xCD, 0xAB], "{kind:?}");
    }
}

/// Code goes on at the start of its segment in the middle of an instruction.
#[test]
fn instructions_at_the_end_of_a_segment() {
    let mut sys = machine(Model::new(Kind::I8086), &[]);
    sys.mem.write(0x1_FFFD, &[0x40, 0xB8, 0x34]);
    sys.mem.write(0x1_0000, &[0x12, 0x40, HALT]);
    sys.cpu.set_segment(seg::CS, Segment::real(0x1000));
    sys.cpu.rip = 0xFFFD;
    sys.run(Ticks(1000));
    assert_eq!((sys.cpu.regs[0], sys.cpu.rip), (0x1235, 3));
}

/// PUSH SP, shift counts and divide errors by model [SDM-3 22.x, 80286 manual appendix C].
#[test]
fn old_ways_of_single_instructions() {
    for (kind, pushed, shifted) in
        [(Kind::I8086, 0xEFFE, 0), (Kind::I80186, 0xEFFE, 2), (Kind::I80286, 0xF000, 2), (Kind::I80386, 0xF000, 2)]
    {
        // PUSH SP; MOV CL, 33; SHL DX, CL (DX = 1).
        let mut sys = machine(Model::new(kind), &[0x54, 0xB1, 33, 0xD3, 0xE2, HALT]);
        sys.cpu.regs[2] = 1;
        assert_eq!(run(&mut sys), None);
        assert_eq!((sys.mem.load::<u16>(0xEFFE), sys.cpu.regs[2]), (pushed, shifted), "{kind:?}");
        // DIV CL with CL = 0.
        let mut sys = machine(Model::new(kind), &[0xF6, 0xF1, HALT]);
        assert_eq!(run(&mut sys), Some(0));
        let behind = if kind > Kind::I80186 { 0 } else { 2 };
        assert_eq!(u64::from(sys.mem.load::<u16>(0xEFFA)), CODE + behind, "{kind:?}");
    }
}

/// The 80186 has PUSHA, ENTER, BOUND and INT 6, but nothing of the 80286's protection.
#[test]
fn the_80186() {
    let code = [0x60, 0xC8, 4, 0, 0, 0xC9, 0x61, 0x68, 0x34, 0x12, 0x6B, 0xC0, 3, 0xC1, 0xE0, 2, HALT];
    let mut sys = machine(Model::new(Kind::I80186), &code);
    sys.cpu.regs[0] = 5;
    assert_eq!(run(&mut sys), None);
    assert_eq!((sys.cpu.regs[0], sys.cpu.regs[reg::RSP]), (60, 0xEFFE));
    for (code, vector) in [(&[0x0F, 0x01, 0xE0][..], 6), (&[0x66, 0x90], 6), (&[0x62, 0x07], 5), (&[0x63, 0xC0], 6)] {
        let mut sys = machine(Model::new(Kind::I80186), &[code, &[HALT]].concat());
        (sys.cpu.regs[0], sys.cpu.regs[3]) = (9, 0x4000);
        assert_eq!(run(&mut sys), Some(vector), "{code:02x?}");
    }
}

/// ICEBP is a #DB that no gate's privilege stops; in real mode, INT 1 with the address behind it.
#[test]
fn icebp_and_salc() {
    // STC; SALC; ICEBP.
    let mut sys = machine(Model::new(Kind::I80386), &[0xF9, 0xD6, 0xF1, HALT]);
    assert_eq!(run(&mut sys), Some(1));
    assert_eq!((sys.cpu.regs[0] & 0xFF, u64::from(sys.mem.load::<u16>(0xEFFA))), (0xFF, CODE + 3));
}

/// Without a coprocessor its instructions do nothing, so that programs can look for one: FNINIT; FNSTSW [BX].
#[test]
fn a_missing_coprocessor_answers_nothing() {
    let code = [0xDB, 0xE3, 0xDD, 0x3F, HALT];
    for kind in [Kind::I8086, Kind::I80286, Kind::I80386, Kind::I80486, Kind::P6] {
        for there in [false, true] {
            let mut sys = machine(Model::new(kind).with(Feature::Fpu, there), &code);
            sys.cpu.regs[3] = 0x4000;
            put(&mut sys, 0x4000, &[0x5A5A]);
            assert_eq!(run(&mut sys), None, "{kind:?}");
            assert_eq!(sys.mem.load::<u16>(0x4000), if there { 0 } else { 0x5A5A }, "{kind:?}");
        }
    }
}

/// The 387's instructions are ignored by the units before it; FSTSW AX came with the 287.
#[test]
fn the_8087_and_287_ignore_what_they_do_not_know() {
    // FLD1; FSIN; FNSTSW AX.
    let code = [0xD9, 0xE8, 0xD9, 0xFE, 0xDF, 0xE0, HALT];
    for (kind, sine, status) in [(Kind::I8086, false, false), (Kind::I80286, false, true), (Kind::I80386, true, true)] {
        let mut sys = machine(Model::new(kind), &code);
        sys.cpu.fpu.init();
        sys.cpu.regs[0] = 0x5A5A;
        sys.cpu.cr0 &= !bits::CR0_EM;
        assert_eq!(run(&mut sys), None, "{kind:?}");
        assert_eq!((sys.cpu.fpu.st(0) != F80::ONE, sys.cpu.regs[0] != 0x5A5A), (sine, status), "{kind:?}");
    }
}

/// The 8086 takes no interrupt behind a load of any segment register; later CPUs only behind one of SS [8086 Family User's
/// Manual, "Interrupts"; SDM-3 6.8.3].
#[test]
fn segment_loads_hold_interrupts_back() {
    for (kind, load, held) in
        [(Kind::I8086, 0xD8, true), (Kind::I8086, 0xD0, true), (Kind::I80286, 0xD8, false), (Kind::I80286, 0xD0, true)]
    {
        // MOV DS, AX or MOV SS, AX; NOP.
        let mut sys = machine(Model::new(kind), &[0x8E, load, 0x90, HALT]);
        sys.run(Ticks(1));
        assert_eq!(sys.cpu.shadow == Shadow::MovSs, held, "{kind:?} {load:x}");
        sys.run(Ticks(2));
        assert_eq!((sys.cpu.shadow, sys.cpu.rip), (Shadow::None, CODE + 3));
    }
}

/// What an 8087 and 80287 take for numbers, and the 387 for invalid operands: unnormals, pseudo-zeros, pseudo-infinities. Every
/// NaN is invalid to them, quiet or not; nothing tells of a stack fault; constants are rounded to nearest [SDM-3 22.18].
#[test]
fn numbers_of_the_8087_and_287() {
    let value = |sign_exp: u16, sig: u64| F80::new(sign_exp, sig);
    let one = F80::ONE;
    let (quiet, signalling) = (value(0x7FFF, 0xC000_0000_0000_1234), value(0x7FFF, 0x8000_0000_0000_1234));
    // FADD ST, ST(1) of these, and what comes out of it on the early units and on the 387, with IE.
    let unnormal = value(0x4003, 1 << 60); // 2.0, by its digits
    let cases = [
        (unnormal, value(0x4000, 1 << 63), value(0x4001, 1 << 63), false),
        (value(0x4003, 0), one, one, false),
        (value(0x7FFF, 0), one, value(0x7FFF, 0), false),
        (quiet, one, quiet, true),
        (signalling, one, signalling, true),
        (F80::INDEFINITE, one, F80::INDEFINITE, true),
        (one, one, value(0x4000, 1 << 63), false),
    ];
    for kind in [Kind::I8086, Kind::I80286, Kind::I80386] {
        for (a, b, sum, invalid) in cases {
            let early = kind < Kind::I80386;
            let mut sys = machine(Model::new(kind), &[0xD8, 0xC1, HALT]);
            sys.cpu.cr0 &= !bits::CR0_EM;
            sys.cpu.fpu.init();
            // Infinities with signs.
            sys.cpu.fpu.set_control(0x137F);
            sys.cpu.fpu.load_exact(b);
            sys.cpu.fpu.load_exact(a);
            assert_eq!(run(&mut sys), None);
            let (sum, invalid) = match () {
                () if early => (sum, invalid),
                () if a == quiet || a == F80::INDEFINITE => (a, false),
                () if a == signalling => (quiet, true),
                () if a.sig >> 63 == 0 => (F80::INDEFINITE, true),
                () => (sum, invalid),
            };
            let status = sys.cpu.fpu.status();
            assert_eq!((sys.cpu.fpu.st(0), status & 1 != 0), (sum, invalid), "{kind:?} {a:x?}");
            assert_eq!(sys.cpu.fpu.st(1), b, "operands stay");
        }
        // FADD ST, ST(1) on an empty stack; FLDPI rounded up.
        let mut sys = machine(Model::new(kind), &[0xD8, 0xC1, 0xD9, 0xEB, HALT]);
        sys.cpu.cr0 &= !bits::CR0_EM;
        sys.cpu.fpu.init();
        sys.cpu.fpu.set_control(0xB7F);
        assert_eq!(run(&mut sys), None);
        let early = kind < Kind::I80386;
        assert_eq!(sys.cpu.fpu.status() & 0x41, if early { 1 } else { 0x41 });
        assert_eq!(sys.cpu.fpu.st(0).sig & 0xF, 5);
        let mut sys = machine(Model::new(kind), &[0xD9, 0xEB, HALT]);
        sys.cpu.cr0 &= !bits::CR0_EM;
        sys.cpu.fpu.init();
        sys.cpu.fpu.set_control(0xF7F);
        assert_eq!(run(&mut sys), None);
        assert_eq!(sys.cpu.fpu.st(0).sig & 0xF, if early { 5 } else { 4 }, "pi, chopped by a 387");
    }
}

/// NaNs of an 8087 and 80287 are of one kind: each is an invalid operand, in a register or in memory, and goes into the result
/// as it is; of two the one with the larger significand does, whatever their signs [80287 PRM table 1-17].
#[test]
fn nans_of_the_8087_and_287() {
    let nan = |sig: u64| F80::new(0x7FFF, sig);
    let negative = |sig: u64| F80::new(0xFFFF, sig);
    // Of these the 387 would take the quiet one, whatever the other is.
    let (small, large) = (nan(0xC000_0000_0000_0100), nan(0xE000_0000_0000_0000));
    let (low, high) = (nan(0x8000_0000_0000_0001), negative(0xBFFF_FFFF_FFFF_FFFF));
    let prepared = |kind: Kind, code: &[u8], stack: &[F80]| {
        let mut sys = machine(Model::new(kind), code);
        sys.cpu.cr0 &= !bits::CR0_EM;
        sys.cpu.regs[3] = 0x4000;
        sys.cpu.fpu.init();
        stack.iter().for_each(|&v| sys.cpu.fpu.load_exact(v));
        // A single whose NaN 387s call signalling, and one of which they don't.
        put(&mut sys, 0x4000, &[0x0200, 0x7F80, 0x0200, 0x7FC0]);
        assert_eq!(run(&mut sys), None, "{kind:?}");
        sys
    };
    for kind in [Kind::I8086, Kind::I80286] {
        for (a, b, result) in [(small, large, large), (large, high, large), (low, high, high), (small, low, small)] {
            // FADD, FMUL, FDIV ST, ST(1); the same the other way round.
            for (code, stack) in [(0xC1, [a, b]), (0xC9, [a, b]), (0xF1, [a, b]), (0xC1, [b, a]), (0xF9, [b, a])] {
                let sys = prepared(kind, &[0xD8, code, HALT], &stack);
                assert_eq!(
                    (sys.cpu.fpu.st(0), sys.cpu.fpu.status() & 1),
                    (result, 1),
                    "{kind:?} {code:x} {a:x?} {b:x?}"
                );
            }
        }
        for (at, sig) in [(0, 0x8002_0000_0000_0000), (4, 0xC002_0000_0000_0000)] {
            // FLD dword [BX+at]; FADD dword [BX+at]; FCOM dword [BX+at], on 1.
            let sys = prepared(kind, &[0xD9, 0x47, at, HALT], &[]);
            assert_eq!((sys.cpu.fpu.st(0), sys.cpu.fpu.status() & 1), (nan(sig), 1), "{kind:?} {at}");
            let sys = prepared(kind, &[0xD8, 0x47, at, HALT], &[F80::ONE]);
            assert_eq!((sys.cpu.fpu.st(0), sys.cpu.fpu.status() & 1), (nan(sig), 1), "{kind:?} {at}");
            let sys = prepared(kind, &[0xD8, 0x57, at, HALT], &[F80::ONE]);
            assert_eq!((sys.cpu.fpu.st(0), sys.cpu.fpu.status() & 0x4501), (F80::ONE, 0x4501), "{kind:?} {at}");
        }
        // FST dword [BX]: what fits of it, and a NaN even if that is nothing.
        for (value, stored) in [(small, 0x7FC0_0000), (low, 0x7FC0_0000), (high, 0xFFBF_FFFF)] {
            let sys = prepared(kind, &[0xD9, 0x17, HALT], &[value]);
            assert_eq!((sys.mem.load::<u32>(0x4000), sys.cpu.fpu.status() & 1), (stored, 1), "{kind:?} {value:x?}");
        }
        // FSQRT.
        let sys = prepared(kind, &[0xD9, 0xFA, HALT], &[low]);
        assert_eq!((sys.cpu.fpu.st(0), sys.cpu.fpu.status() & 1), (low, 1));
        assert_eq!(sys.cpu.fpu.control() & 0xE000, 0);
    }
    let sys = prepared(Kind::I80386, &[0xD9, 0x47, 4, HALT], &[]);
    assert_eq!(sys.cpu.fpu.status() & 1, 0, "a 387 loads a quiet NaN");
}
