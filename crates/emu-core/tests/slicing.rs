//! Random code gives the same machine however its run is cut: handlers and decoded forms agree to the bit, and chains stop
//! where they are told to.
//!
//! A fault's handler steps over one byte, so that garbage goes on as other garbage.

use emu_core::bus::rig::TestRng;
use emu_core::cpu::bits::{CR0_PE, CR0_PG, CR4_OSFXSR, CR4_PAE, EFER_LMA, EFER_LME};
use emu_core::cpu::model::Kind;
use emu_core::cpu::{Model, Segment, TableRegister, seg};
use emu_core::mem::Target;
use emu_core::{Bus, ClockRate, PhysMem, Stop, System, Ticks};

const CODE: u64 = 0x4000;
const CODE_LEN: u64 = 0x200;
const HANDLER: u64 = 0x900;

/// Instructions that random bytes seldom make, but programs often: arithmetic, moves, shifts, stack, jumps.
const COMMON: &[u8] = &[
    0x00, 0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x11, 0x13, 0x19, 0x1B, 0x20, 0x21, 0x23, 0x28, 0x29, 0x2B, 0x30, 0x31,
    0x33, 0x38, 0x39, 0x3B, 0x3C, 0x3D, 0x40, 0x41, 0x48, 0x4B, 0x50, 0x53, 0x58, 0x5B, 0x66, 0x69, 0x6B, 0x72, 0x74,
    0x75, 0x7C, 0x80, 0x81, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8B, 0x8D, 0x90, 0x93, 0x98, 0x99, 0xA4,
    0xA5, 0xA8, 0xA9, 0xAA, 0xAB, 0xB0, 0xB8, 0xC0, 0xC1, 0xC6, 0xC7, 0xD0, 0xD1, 0xD3, 0xE2, 0xE3, 0xE8, 0xEB, 0xF6,
    0xF7, 0xFE, 0xFF,
];

fn random_code(rng: &mut TestRng) -> Vec<u8> {
    let mut code = Vec::new();
    while code.len() < CODE_LEN as usize {
        let r = rng.next();
        match r % 8 {
            0 => code.push((r >> 8) as u8),
            1 => code.extend([0x0F, (r >> 8) as u8]),
            _ => code.push(COMMON[(r >> 8) as usize % COMMON.len()]),
        }
        code.push((r >> 32) as u8 | if r & 0x100 != 0 { 0xC0 } else { 0 });
        if r & 0x200 != 0 {
            code.push((r >> 40) as u8);
        }
    }
    code
}

/// Appends an instruction as compilers make them: registers other than (E)BX and the stack pointer, memory at (E)BX, and
/// flags that somebody reads a few instructions later.
fn push_compiled(bits: u32, rng: &mut TestRng, code: &mut Vec<u8>) {
    const REGISTERS: [u8; 6] = [0, 1, 2, 5, 6, 7];
    const ALU: [u8; 9] = [0x01, 0x09, 0x11, 0x19, 0x21, 0x29, 0x31, 0x39, 0x85];
    let r = rng.next();
    let mut byte = |n: u64| (rng.next() % n) as u8;
    let (a, b) = (REGISTERS[byte(6) as usize], REGISTERS[byte(6) as usize]);
    let registers = 0xC0 | a << 3 | b;
    let memory = [0x40 | a << 3 | if bits == 16 { 7 } else { 3 }, byte(64)];
    let single = |n: u8| 0xC0 | n << 3 | b;
    match (r >> 8) % 8 {
        0 => code.push(0x66),
        1..=3 if bits == 64 => code.push(0x48),
        _ => {}
    }
    match r % 26 {
        0..=3 => code.extend([0x89, registers]),
        4..=7 => code.extend([ALU[byte(9) as usize], registers]),
        8 => code.extend([0x83, single(byte(8)), byte(255)]),
        9 => code.extend([0xC1, single([0, 1, 4, 5, 7][byte(5) as usize]), byte(255)]),
        10 => code.extend([0xD3, single([0, 1, 4, 5, 7][byte(5) as usize])]),
        11 => code.extend([0xD1, single([0, 1, 4, 5, 7][byte(5) as usize])]),
        12 => code.extend([0x0F, 0x40 | byte(16), registers]),
        13 => code.extend([0x0F, 0x90 | byte(16), 0xC0 | byte(3)]),
        14 => code.extend([0x0F, [0xAF, 0xB6, 0xB7, 0xBE, 0xBF][byte(5) as usize], 0xC0 | a << 3 | byte(3)]),
        15 => code.extend([0xFF, single(byte(2))]),
        16 => code.extend([0xF7, single(2 + byte(2))]),
        17 => code.extend([0x6B, registers, byte(255)]),
        18 => code.extend([0x0F, 0xBA, single(4), byte(64)]),
        19 => code.extend([0x8B, memory[0], memory[1], 0x89, registers]),
        20 => code.extend([[0x8B, 0x03, 0x3B, 0x39, 0x01, 0x89, 0x8D, 0x23][byte(8) as usize], memory[0], memory[1]]),
        21 => code.extend([0x0F, [0x42, 0x4F, 0xB6, 0xB7, 0xBE][byte(5) as usize], memory[0], memory[1]]),
        22 => code.extend([[0x80, 0x83][byte(2) as usize], memory[0] & 0x47 | 0x38, memory[1], byte(255)]),
        23 => code.extend([0x50 | a, 0x58 | b]),
        24 => code.extend([0x50 | a, 0x50 | b, 0x58 | a, 0x58 | b]),
        _ => code.extend([0x39, registers]),
    }
    if r >> 16 & 3 == 0 {
        code.extend([0x70 | byte(16), 2, 0x90, 0x90]);
    }
}

/// Code as compilers make it, in a loop.
fn compiled_code(bits: u32, rng: &mut TestRng) -> Vec<u8> {
    let mut code = Vec::new();
    while code.len() < CODE_LEN as usize {
        push_compiled(bits, rng, &mut code);
    }
    let back = (-(code.len() as i32 + if bits == 16 { 3 } else { 5 })).to_le_bytes();
    code.push(0xE9);
    code.extend(&back[..if bits == 16 { 2 } else { 4 }]);
    code
}

/// A machine about to run [`compiled_code`].
fn compiled_machine(bits: u32, seed: u64) -> System {
    let mut sys = machine(bits, seed);
    sys.mem.write(CODE, &compiled_code(bits, &mut TestRng(seed ^ 0x1234_5678_9ABC)));
    sys.cpu.regs[3] = 0xA000;
    sys
}

fn machine(bits: u32, seed: u64) -> System {
    let mut rng = TestRng(seed);
    let mut mem = PhysMem::new(0x20_0000, 0).unwrap();
    mem.map(0, 0x20_0000, Target::Pool(0));
    mem.write(CODE, &random_code(&mut rng));
    let kind = [Kind::P6, Kind::X64V2][(seed & 1) as usize];
    let mut sys =
        System::new(Model::new(if bits == 64 { Kind::X64V2 } else { kind }), mem, Bus::new(ClockRate::DEFAULT, 1));
    sys.reset();
    for i in 0..8 {
        sys.cpu.regs[i] = rng.next() & if bits == 16 { 0xFFFF_7FFF } else { 0xF_FFFF };
    }
    match bits {
        16 => enter_real(&mut sys),
        32 => enter_flat(&mut sys),
        _ => enter_long(&mut sys),
    }
    sys.cpu.regs[4] = 0xF000;
    sys.cpu.rip = CODE;
    sys
}

/// Vectors lead to `push bp; mov bp, sp; inc word [bp+2]; pop bp; iret`.
fn enter_real(sys: &mut System) {
    sys.mem.write(HANDLER, &[0x55, 0x89, 0xE5, 0xFF, 0x46, 0x02, 0x5D, 0xCF]);
    (0..256u64).for_each(|v| sys.mem.store(v * 4, HANDLER as u32));
    for s in [seg::ES, seg::CS, seg::SS, seg::DS] {
        sys.cpu.set_segment(s, Segment::real(0));
    }
}

/// Whether exception `v` pushes an error code.
fn pushes_code(v: u64) -> bool {
    matches!(v, 8 | 10..=14 | 17)
}

/// Flat segments, and gates to `inc dword [esp]; iretd`, with `add esp, 4` before it where there is an error code.
fn enter_flat(sys: &mut System) {
    sys.mem.write(HANDLER, &[0xFF, 0x04, 0x24, 0xCF]);
    sys.mem.write(HANDLER + 16, &[0x83, 0xC4, 0x04, 0xFF, 0x04, 0x24, 0xCF]);
    for v in 0..256u64 {
        let handler = HANDLER + if pushes_code(v) { 16 } else { 0 };
        sys.mem.store(0x1000 + v * 8, handler | 8 << 16 | 0x8E00 << 32);
    }
    sys.mem.store(0x8008u64, 0x00CF_9B00_0000_FFFFu64);
    sys.mem.store(0x8010u64, 0x00CF_9300_0000_FFFFu64);
    sys.cpu.gdtr = TableRegister { base: 0x8000, limit: 0x17 };
    sys.cpu.idtr = TableRegister { base: 0x1000, limit: 0x7FF };
    sys.cpu.cr0 |= CR0_PE;
    sys.cpu.set_segment(seg::CS, Segment::from_descriptor(8, 0x0000_FFFF, 0x00CF_9B00));
    for s in [seg::ES, seg::SS, seg::DS, seg::FS, seg::GS] {
        sys.cpu.set_segment(s, Segment::from_descriptor(16, 0x0000_FFFF, 0x00CF_9300));
    }
    sys.cpu.refresh_segments();
}

/// 64-bit mode over identity-mapped 2 MiB, and gates to `inc qword [rsp]; iretq`, with `add rsp, 8` before it.
fn enter_long(sys: &mut System) {
    enter_flat(sys);
    sys.mem.write(HANDLER, &[0x48, 0xFF, 0x04, 0x24, 0x48, 0xCF]);
    sys.mem.write(HANDLER + 16, &[0x48, 0x83, 0xC4, 0x08, 0x48, 0xFF, 0x04, 0x24, 0x48, 0xCF]);
    for v in 0..256u64 {
        let handler = HANDLER + if pushes_code(v) { 16 } else { 0 };
        sys.mem.store(0x1000 + v * 16, handler | 8 << 16 | 0x8E00 << 32);
        sys.mem.store(0x1008 + v * 16, 0u64);
    }
    sys.cpu.idtr = TableRegister { base: 0x1000, limit: 0xFFF };
    sys.mem.store(0x8008u64, 0x00AF_9B00_0000_FFFFu64);
    sys.mem.store(0x1_0000u64, 0x1_1003u64);
    sys.mem.store(0x1_1000u64, 0x1_2003u64);
    sys.mem.store(0x1_2000u64, 0x83u64);
    sys.cpu.cr3 = 0x1_0000;
    sys.cpu.cr4 = CR4_PAE | CR4_OSFXSR;
    sys.cpu.efer = EFER_LMA | EFER_LME;
    sys.cpu.cr0 |= CR0_PG;
    sys.cpu.set_segment(seg::CS, Segment::from_descriptor(8, 0x0000_FFFF, 0x00AF_9B00));
    sys.cpu.refresh_segments();
}

/// Makes a machine with code for so many bits from a seed.
type Make = fn(u32, u64) -> System;

fn check(make: Make, bits: u32, seeds: core::ops::Range<u64>) {
    const TICKS: u64 = 600;
    for seed in seeds {
        let (mut whole, mut pieces) = (make(bits, seed), make(bits, seed));
        let mut rng = TestRng(!seed);
        let mut at = 0;
        while at < TICKS {
            let end = (at + 1 + rng.next() % 90).min(TICKS);
            let stop = whole.run(Ticks(end));
            for t in at + 1..=end {
                pieces.run(Ticks(t));
            }
            if whole.hash() != pieces.hash() {
                panic!("{}", first_difference(make, bits, seed, at, end));
            }
            if stop == Stop::TripleFault {
                break;
            }
            at = end;
        }
    }
}

/// Where a run in one go first differs from one tick by tick: the instruction, and both machines behind it.
fn first_difference(make: Make, bits: u32, seed: u64, from: u64, to: u64) -> String {
    let mut pieces = make(bits, seed);
    (1..=from).for_each(|t| {
        pieces.run(Ticks(t));
    });
    for t in from + 1..=to {
        let before = pieces.cpu.rip;
        pieces.run(Ticks(t));
        let mut whole = make(bits, seed);
        whole.run(Ticks(from));
        whole.run(Ticks(t));
        if whole.hash() != pieces.hash() {
            let mut code = [0; 15];
            pieces.mem.read(before, &mut code);
            let show =
                |s: &System| format!("rip {:x} regs {:x?} eflags {:x}", s.cpu.rip, &s.cpu.regs[..9], s.cpu.eflags());
            return format!(
                "{bits} bits, seed {seed}, run to {from}, then tick {t}: at {before:x} {code:02x?}\nwhole  {}\npieces {}\nmemory {}",
                show(&whole),
                show(&pieces),
                if whole.mem.hash() == pieces.mem.hash() { "alike" } else { "differs" },
            );
        }
    }
    format!("{bits} bits, seed {seed}: differs only when cut as the test did")
}

/// How many seeds: more where handlers are compiled to be fast.
const SEEDS: u64 = if cfg!(debug_assertions) { 12 } else { 150 };

#[test]
fn real_mode() {
    check(machine, 16, 0..SEEDS);
}

#[test]
fn flat_protected_mode() {
    check(machine, 32, 0..SEEDS);
}

#[test]
fn long_mode() {
    check(machine, 64, 0..SEEDS);
}

#[test]
fn compiled_code_in_every_mode() {
    for bits in [16, 32, 64] {
        check(compiled_machine, bits, 0..SEEDS);
    }
}
