//! Random x87 programs and loops of what compilers make, run in three ways that a guest must not be able to tell apart: whole, so that handlers and pairs of
//! them run; a tick at a time, so that every pair is cut; and with a breakpoint armed, which makes the machine execute
//! everything from its decoded form.

use emu_core::bus::rig::TestRng;
use emu_core::cpu::model::Kind;
use emu_core::cpu::{Model, Segment, TableRegister, bits, seg};
use emu_core::mem::Target;
use emu_core::{Bus, ClockRate, PhysMem, System};

const IDT: u64 = 0x1000;
const HANDLER: u64 = 0x2000;
const CODE: u64 = 0x3000;
const DATA: u64 = 0x5000;
const DATA_LEN: usize = 0x200;
const STACK: u64 = 0x8000;
const RAM: u64 = 0x10_0000;
/// Instructions of a program.
const LENGTH: usize = 24;
/// Rounds of a loop.
const ROUNDS: u64 = 5;

/// A machine in flat 32-bit code, whose exceptions all halt it; without handlers if `decoded`.
fn machine(kind: Kind, decoded: bool) -> System {
    let mut mem = PhysMem::new(RAM, 0).unwrap();
    mem.map(0, RAM, Target::Pool(0));
    for vector in 0..32 {
        mem.write(IDT + 8 * vector, &(HANDLER & 0xffff | 8 << 16 | 0x8e00 << 32).to_le_bytes());
    }
    mem.write(0x808, &0x00cf_9b00_0000_ffffu64.to_le_bytes());
    mem.write(HANDLER, &[0xf4]);
    let mut sys = System::new(Model::new(kind), mem, Bus::new(ClockRate::DEFAULT, 1));
    sys.reset();
    sys.cpu.cr0 |= 1 | bits::CR0_NE;
    sys.cpu.refresh_segments();
    sys.cpu.set_segment(seg::CS, Segment::from_descriptor(8, 0xffff, 0x00cf_9b00));
    for s in [seg::ES, seg::SS, seg::DS, seg::FS, seg::GS] {
        sys.cpu.set_segment(s, Segment::from_descriptor(16, 0xffff, 0x00cf_9300));
    }
    sys.cpu.gdtr = TableRegister { base: 0x800, limit: 0xf };
    sys.cpu.idtr = TableRegister { base: IDT, limit: 0xff };
    if decoded {
        (sys.cpu.dr[0], sys.cpu.dr[7]) = (0xf_0000, 1);
    }
    sys.cpu.refresh_mode();
    sys
}

/// What a program begins with.
struct Start {
    code: Vec<u8>,
    /// Instructions that it runs at the most.
    length: u64,
    data: Vec<u8>,
    control: u16,
    status: u16,
    used: u8,
    registers: [(u16, u64); 8],
}

fn pick<T: Copy>(rng: &mut TestRng, of: &[T]) -> T {
    of[rng.next() as usize % of.len()]
}

/// A significand that often lies at a boundary of rounding.
fn significand(rng: &mut TestRng) -> u64 {
    let any = rng.next() | 1 << 63;
    match rng.next() % 8 {
        0 => 1 << 63,
        1 => u64::MAX,
        2 => any >> 40 << 40,
        3 => any >> 11 << 11 | 0x400,
        4 => (any >> 11 << 11 | 0x400).wrapping_sub(1),
        5 => any >> 40 << 40 | 1 << 39,
        _ => any,
    }
}

fn register(rng: &mut TestRng) -> (u16, u64) {
    let sign = (rng.next() as u16 & 1) << 15;
    let near = rng.next() as u16 % 16;
    match rng.next() % 16 {
        0 => (sign, 0),
        1 => pick(
            rng,
            &[(0x7fff, 1 << 63), (0xffff, 3 << 62), (0x7fff, 5 << 61), (0x4000, 1), (0, 1), (0x8000, 1 << 63)],
        ),
        2 => (
            sign | pick(rng, &[0x3c01, 0x43fe, 0x3f81, 0x407e, 1, 0x7ffe_u16]).wrapping_add(near).wrapping_sub(8)
                & 0x7fff,
            significand(rng),
        ),
        _ => (sign | (0x3ff8 + near), significand(rng)),
    }
}

/// A number of a narrow format, mostly of ordinary size.
fn narrow(rng: &mut TestRng) -> [u8; 8] {
    let v = register(rng);
    let double = f64::from_bits(u64::from(v.0 >> 15) << 63 | (0x3fb + rng.next() % 9) << 52 | v.1 << 1 >> 12);
    match rng.next() % 8 {
        0 => 0u64.to_le_bytes(),
        1 => rng.next().to_le_bytes(),
        2 | 3 => {
            let bits = (double as f32).to_bits().to_le_bytes();
            core::array::from_fn(|i| bits[i % 4])
        }
        _ => double.to_le_bytes(),
    }
}

/// Exchanges and loads of registers come often, as compiled code has them, and pairs begin with them.
fn instruction(rng: &mut TestRng, out: &mut Vec<u8>) {
    let i = rng.next() as u8 & 7;
    match rng.next() % 8 {
        0 => out.extend([0xd9, 0xc8 | i]),
        1 => out.extend([0xd9, 0xc0 | i]),
        2 => out.extend([pick(rng, &[0xd8, 0xdc, 0xde]), 0xc0 | pick(rng, &[0, 1, 4, 5, 6, 7]) << 3 | i]),
        3 => out.extend([pick(rng, &[0xd9, 0xdd]), 0x43, rng.next() as u8 & 0x78]),
        4 => out.extend([pick(rng, &[0xd8, 0xdc]), 0x43 | (rng.next() as u8 & 7) << 3, rng.next() as u8 & 0x78]),
        5 => out.extend([pick(rng, &[0xd9, 0xdd, 0xdb]), 0x5b, rng.next() as u8 & 0x78]),
        6 => out.extend([pick(rng, &[0xd9, 0xdb, 0xdd, 0xdf]), 0xc0 | rng.next() as u8 & 0x3f]),
        // FNSAVE and the like now and then, with their images in the data.
        _ => out.extend([0xd8 | rng.next() as u8 & 7, 0x43 | (rng.next() as u8 & 7) << 3, rng.next() as u8 & 0x7f]),
    }
}

fn start(rng: &mut TestRng) -> Start {
    let mut code = Vec::new();
    (0..LENGTH).for_each(|_| instruction(rng, &mut code));
    code.push(0xf4);
    let any = rng.next() as u16;
    let mask = pick(rng, &[0x3f, 0x3f, 0x3f, 0x3f, 0x1f, any & 0x3f]);
    Start {
        code,
        length: LENGTH as u64,
        data: (0..DATA_LEN / 8).flat_map(|_| narrow(rng)).collect(),
        control: mask | pick(rng, &[0x300, 0x300, 0x300, 0x200, 0x200, any & 0xf00]),
        status: rng.next() as u16 & 0x7f20 & if mask == 0x3f { 0x7fff } else { 0x7f00 },
        used: pick(rng, &[0xf, 0x3f, 0xf0, 0xff, any as u8]),
        registers: core::array::from_fn(|_| register(rng)),
    }
}

/// An operation on ST(0) and another register, mostly the same as the one before.
fn operation(rng: &mut TestRng) -> [u8; 2] {
    [0xd8, pick(rng, &[0xc0, 0xc8, 0xc8, 0xc8, 0xe0, 0xe8, 0xf0]) | pick(rng, &[0, 1, 1, 2, 2, 3])]
}

/// Some instructions as compilers put them together, which leave the stack as deep as it was, and how many.
fn compiled(rng: &mut TestRng, out: &mut Vec<u8>) -> u64 {
    let (i, j) = (pick(rng, &[1, 1, 1, 2, 3]), pick(rng, &[1, 1, 1, 2, 3]));
    let (from, to) = (rng.next() as u8 & 0x38, rng.next() as u8 & 0x78);
    let real = pick(rng, &[0xdd, 0xdd, 0xd9]);
    let operations = rng.next() % 3;
    let before = out.len();
    match rng.next() % 8 {
        0 | 1 => {
            out.extend([0xd9, 0xc0 | rng.next() as u8 & 3]);
            if rng.next().is_multiple_of(8) {
                out.extend([0xd9, 0xfa]);
            }
            (0..operations).for_each(|_| out.extend(operation(rng)));
            out.extend(pick(
                rng,
                &[[0xde, 0xc1], [0xde, 0xc9], [0xde, 0xe2], [0xde, 0xea], [0xdd, 0xda], [0xde, 0xf9]],
            ));
            out.extend(pick(rng, &[[0xd9, 0xc9], [0xd9, 0xca], [0xd9, 0xe1]]));
        }
        2 | 3 => {
            out.extend([0xd9, 0xc8 | i]);
            (0..=operations).for_each(|_| out.extend(operation(rng)));
        }
        4 => {
            out.extend(operation(rng));
            out.extend([0xd9, 0xc8 | j]);
        }
        5 | 6 => {
            // From 8-byte numbers for both widths, so that they stay ordinary.
            out.extend([real, 0x43, from & 0x78]);
            (0..operations).for_each(|_| out.extend(operation(rng)));
            out.extend([real - 1, 0x43 | pick(rng, &[0xc0, 0xc8, 0xe0, 0xe8, 0xf0]) & 0x38, from, real, 0x5b, to]);
        }
        _ => {
            let compare = pick(rng, &[[0xdf, 0xf1], [0xdf, 0xe9], [0xdf, 0xf2]]);
            out.extend([real, 0x43, from, 0xd9, 0xc8 | pick(rng, &[1, 1, 1, 2])]);
            out.extend(compare);
            out.extend([0xdd, 0xd8, pick(rng, &[0x76, 0x77, 0x72, 0x75, 0x7a]), 0]);
        }
    }
    ((out.len() - before) / 2) as u64 + 1
}

/// A loop, so that its blocks find the unit as they left it.
fn looped(rng: &mut TestRng) -> Start {
    let (mut code, mut length) = (Vec::new(), 2);
    for _ in 0..1 + rng.next() % 5 {
        length += compiled(rng, &mut code);
    }
    if rng.next().is_multiple_of(8) {
        instruction(rng, &mut code);
        length += 1;
    }
    let back = -(code.len() as i32 + 7);
    code.extend([0x49, 0x0f, 0x85]);
    code.extend(back.to_le_bytes());
    code.push(0xf4);
    let top = rng.next() as u32 & 7;
    let control = pick(rng, &[0x37f, 0x37f, 0x37f, 0x37f, 0x27f, 0xf7f, 0x35f]);
    Start {
        length: length * ROUNDS,
        control,
        status: (top as u16) << 11,
        used: 0xfu8.rotate_left(top),
        ..Start { code, ..start(rng) }
    }
}

fn prepare(sys: &mut System, start: &Start) {
    sys.mem.write(CODE, &start.code);
    sys.mem.write(DATA, &start.data);
    let mut image = [0; 160];
    image[..2].copy_from_slice(&start.control.to_le_bytes());
    image[2..4].copy_from_slice(&start.status.to_le_bytes());
    image[4] = start.used;
    for (slot, (sign_exp, sig)) in image[32..].chunks_exact_mut(16).zip(start.registers) {
        slot[..8].copy_from_slice(&sig.to_le_bytes());
        slot[8..10].copy_from_slice(&sign_exp.to_le_bytes());
    }
    let cpu = &mut sys.cpu;
    cpu.fpu.fxrstor(false, &image);
    cpu.regs[..16].copy_from_slice(&[7; 16]);
    (cpu.regs[1], cpu.regs[3], cpu.regs[4], cpu.rip) = (ROUNDS, DATA + 0x40, STACK, CODE);
    cpu.set_eflags(2);
    cpu.activity = emu_core::cpu::Activity::Running;
}

/// Everything that a program can have changed.
fn seen(sys: &System) -> (emu_core::fpu::Fpu, [u64; 16], u64, u32, Vec<u8>) {
    let mut data = vec![0; DATA_LEN];
    sys.mem.read(DATA, &mut data);
    (sys.cpu.fpu.clone(), core::array::from_fn(|i| sys.cpu.regs[i]), sys.cpu.rip, sys.cpu.eflags(), data)
}

fn check(kind: Kind, seed: u64, programs: u32, make: fn(&mut TestRng) -> Start) {
    let mut rng = TestRng(seed);
    let (mut whole, mut cut, mut decoded) = (machine(kind, false), machine(kind, false), machine(kind, true));
    for n in 0..programs {
        let start = make(&mut rng);
        compare(n, &start, &mut rng, [&mut whole, &mut cut, &mut decoded]);
        if n % 2 == 0 {
            // The same code, which is decoded already, with the stack elsewhere.
            let status = start.status ^ (rng.next() as u16 & 0x3800);
            let again = Start { status, used: start.used.rotate_left(rng.next() as u32 % 8), ..start };
            compare(n, &again, &mut rng, [&mut whole, &mut cut, &mut decoded]);
        }
    }
}

/// Runs a program in all three ways.
fn compare(n: u32, start: &Start, rng: &mut TestRng, [whole, cut, decoded]: [&mut System; 3]) {
    for sys in [&mut *whole, &mut *cut, &mut *decoded] {
        prepare(sys, start);
    }
    // Up to a point between two instructions, then on to the HLT.
    let first = rng.next() % start.length;
    let text = || format!("program {n}, code {:02x?}, control {:x}", start.code, start.control);
    for ticks in [first, start.length + 8] {
        let end = whole.now() + ticks;
        whole.run(end);
        for _ in 0..ticks {
            for sys in [&mut *cut, &mut *decoded] {
                let end = sys.now() + 1;
                sys.run(end);
            }
            assert_eq!(cut.cpu.fpu, decoded.cpu.fpu, "before {:x}: {}", cut.cpu.rip, text());
        }
        assert_eq!(seen(cut), seen(decoded), "handlers: {}", text());
        assert_eq!(seen(whole), seen(cut), "cut: {}", text());
    }
}

#[test]
fn handlers_do_what_decoded_forms_do() {
    check(Kind::P6, 1, 5_000, start);
    check(Kind::X64V1, 2, 5_000, start);
    check(Kind::I80386, 3, 2_000, start);
}

#[test]
fn loops_do_what_decoded_forms_do() {
    check(Kind::P6, 4, 2_500, looped);
    check(Kind::X64V1, 5, 2_500, looped);
}
