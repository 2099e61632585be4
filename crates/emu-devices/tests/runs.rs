//! The short ways to video memory and to a disk's data port, against the long ones: a guest that draws, changes modes and
//! moves sectors ends in the same bits at every tick, whether the CPU has its caches and does many elements at once, or
//! is stopped after each instruction with nothing cached.

use emu_core::block::RamDisk;
use emu_core::bus::rig::TestRng;
use emu_core::cpu::model::Kind;
use emu_core::cpu::{Model, Segment, seg};
use emu_core::mem::{Shortcut, Target};
use emu_core::{Bus, ClockRate, PhysMem, Sink, System, Ticks};
use emu_devices::ata::{self, AtaChannel, AtaWires, Drive};
use emu_devices::fdc::{self, DriveKind, Fdc, FdcWires, FloppyDrive};
use emu_devices::vga::modes::MODES;
use emu_devices::vga::{Vga, VgaConfig};

const RAM: u64 = 0x10_0000;

/// A machine in real mode that runs `code` at 0000:1000, with patterned RAM at 20000h.
fn machine(code: &[u8], add: impl FnOnce(&mut Bus, &mut PhysMem)) -> System {
    let mut mem = PhysMem::new(RAM, 0x10_0000).unwrap();
    mem.map(0, RAM, Target::Pool(0));
    let mut bus = Bus::new(ClockRate::DEFAULT, 1);
    add(&mut bus, &mut mem);
    mem.write(0x1000, code);
    let pattern: Vec<u8> = (0..0x8000u32).map(|i| (i * 7 + (i >> 8)) as u8).collect();
    mem.write(0x2_0000, &pattern);
    let mut sys = System::new(Model::new(Kind::P6), mem, bus);
    sys.reset();
    for s in [seg::ES, seg::CS, seg::SS, seg::DS] {
        sys.cpu.set_segment(s, Segment::real(0));
    }
    (sys.cpu.rip, sys.cpu.regs[4]) = (0x1000, 0xF000);
    sys
}

/// Runs one tick with nothing cached of where addresses lead.
fn step(sys: &mut System) {
    let nowhere = Shortcut { start: 1 << 40, len: 4096, pool: 0, piece: 4096, stride: 4096, reads: false };
    sys.mem.set_shortcut(Some(nowhere));
    sys.mem.set_shortcut(None);
    let next = sys.now() + 1;
    sys.run(next);
}

/// Runs both machines for `ticks`, one in stretches and one in single ticks, and compares them at the end of each stretch.
fn compare(mut quick: System, mut slow: System, ticks: u64, rng: &mut TestRng, what: &str) {
    while quick.now() < Ticks(ticks) {
        let end = quick.now() + (1 + rng.next() % [3, 40, 700][rng.next() as usize % 3]);
        quick.run(end);
        while slow.now() < end {
            step(&mut slow);
        }
        assert_eq!(quick.cpu.regs, slow.cpu.regs, "{what} at {end:?}");
        assert_eq!(quick.hash(), slow.hash(), "{what} at {end:?}, {:x}", quick.cpu.rip);
    }
}

/// Code, put together byte by byte.
#[derive(Default)]
struct Code(Vec<u8>);

impl Code {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    /// MOV of an immediate to 16-bit register `r`.
    fn set(&mut self, r: u8, value: u64) {
        self.put(&[0xB8 + r]);
        self.put(&(value as u16).to_le_bytes());
    }
    /// MOV to segment register `s`, by AX.
    fn segment(&mut self, s: u8, value: u64) {
        self.set(0, value);
        self.put(&[0x8E, 0xC0 | s << 3]);
    }
    /// OUT of a word.
    fn out16(&mut self, port: u16, value: u64) {
        self.set(2, port.into());
        self.set(0, value);
        self.put(&[0xEF]);
    }
    /// OUT of a byte.
    fn out8(&mut self, port: u16, value: u8) {
        self.set(2, port.into());
        self.put(&[0xB0, value, 0xEE]);
    }
}

/// A segment of video memory, or now and then of RAM.
fn place(rng: &mut TestRng) -> u64 {
    [0xA000, 0xA000, 0xB800, 0xB800, 0xAC00, 0x2000, 0x3000][rng.next() as usize % 7]
}

/// One to a few instructions that touch video memory.
fn draw(code: &mut Code, rng: &mut TestRng) {
    code.segment(0, place(rng));
    code.segment(3, place(rng));
    let near = if rng.next().is_multiple_of(3) { 0x0FF0 } else { 0 };
    code.set(7, near + rng.next() % 64);
    code.set(6, near + rng.next() % 64);
    code.set(1, rng.next() % [5, 40, 600][rng.next() as usize % 3]);
    code.set(0, rng.next());
    if rng.next().is_multiple_of(12) {
        code.put(&[0xFD]);
    }
    let wide: &[u8] = if rng.next().is_multiple_of(3) { &[0x66] } else { &[] };
    let string = [0xAA, 0xAB, 0xA4, 0xA5, 0xA4, 0xA5, 0xAC, 0xAE][rng.next() as usize % 8];
    match rng.next() % 6 {
        0..=2 => {
            code.put(wide);
            code.put(&[0xF3, string]);
        }
        // MOV to and from ES:[DI], XCHG, ADD, and string instructions by themselves; several times, as only then are
        // pages found by what is cached.
        _ => {
            for _ in 0..1 + rng.next() % 40 {
                let op: &[u8] = match rng.next() % 6 {
                    0 => &[0x26, 0x89, 0x05],
                    1 => &[0x26, 0x88, 0x65, 0x03],
                    2 => &[0x26, 0x8A, 0x0D],
                    3 => &[0x26, 0x87, 0x05],
                    4 => &[0x26, 0x01, 0x05],
                    _ => &[string],
                };
                code.put(wide);
                code.put(op);
            }
        }
    }
    code.put(&[0xFC]);
}

/// Changes what stores to video memory come to.
fn change_mode(code: &mut Code, rng: &mut TestRng) {
    match rng.next() % 6 {
        0 => code.out16(0x3C4, (rng.next() % 16) << 8 | 2),
        1 => code.out16(0x3C4, [0x0E04, 0x0604, 0x0204][rng.next() as usize % 3]),
        2 | 3 => code.out16(0x3CE, rng.next() % 0x1_0000 & 0xFF00 | rng.next() % 9),
        // As a mode has it.
        4 => {
            let mode = &MODES[rng.next() as usize % MODES.len()];
            for (port, index, value) in [
                (0x3C4, 2, mode.seq[1]),
                (0x3C4, 4, mode.seq[3]),
                (0x3CE, 1, 0),
                (0x3CE, 3, 0),
                (0x3CE, 5, mode.gdc[5]),
                (0x3CE, 6, mode.gdc[6]),
                (0x3CE, 8, 0xFF),
            ] {
                code.out16(port, u64::from(value) << 8 | index);
            }
        }
        // VBE, its bank, or none.
        _ => {
            let (index, value) = if rng.next() & 1 == 0 { (5, rng.next() % 8) } else { (4, 0x80 | rng.next() % 2) };
            for (port, value) in [(0x1CE, index), (0x1CF, value & 0xFF)] {
                code.out16(port, value);
            }
        }
    }
}

#[test]
fn drawing_in_every_mode() {
    for seed in 0..24 {
        let mut rng = TestRng(seed);
        let mut code = Code::default();
        // 8 bits for each of 64 × 64 pixels, once VBE is switched on.
        for (index, value) in [(1, 64), (2, 64), (3, 8)] {
            code.out16(0x1CE, index);
            code.out16(0x1CF, value);
        }
        while code.0.len() < 5000 {
            if rng.next().is_multiple_of(5) {
                change_mode(&mut code, &mut rng);
            }
            draw(&mut code, &mut rng);
        }
        code.put(&[0xF4]);
        let mode = &MODES[seed as usize % MODES.len()];
        let build = || {
            let mut sys = machine(&code.0, |bus, mem| {
                let config = VgaConfig { vram: 0x8_0000, ..VgaConfig::default() };
                Vga::install(bus, mem, &config).expect("room for a VGA");
            });
            sys.bus.find_mut::<Vga>().unwrap().set_mode(&mut sys.mem, mode);
            sys
        };
        compare(build(), build(), 4000, &mut rng, &format!("seed {seed}, mode {:x}", mode.number));
    }
}

/// A disk of 64 sectors as the primary channel, and its interrupt at INTR.
fn with_disk(bus: &mut Bus, _mem: &mut PhysMem) {
    let bytes = (0..64 * 512u32).map(|i| (i * 13 + (i >> 9)) as u8).collect();
    let drive = Drive::disk("1", bus.add_volume(Box::new(RamDisk::new(bytes, false))), None);
    let wires = AtaWires { irq: bus.wire_to(Sink::Intr(0)) };
    let disk = bus.add(Box::new(AtaChannel::new("ide0", wires, [Some(drive), None])));
    bus.map_ports(disk, 0x1F0, 8, ata::REGION_COMMAND, 4);
    bus.map_ports(disk, 0x3F6, 1, ata::REGION_CONTROL, 1);
}

/// Waits for DRQ, or for the end of BSY: IN AL, DX; TEST AL, mask; JZ (or JNZ) back.
fn wait(code: &mut Code, mask: u8, set: bool) {
    code.set(2, 0x1F7);
    code.put(&[0xEC, 0xA8, mask, if set { 0x74 } else { 0x75 }, 0xFB]);
}

#[test]
fn sectors_in_and_out_by_the_data_port() {
    for seed in 0..16 {
        let mut rng = TestRng(seed);
        let mut code = Code::default();
        code.put(&[0xFC]);
        let sectors = 1 + rng.next() % 3;
        let write = seed % 2 == 1;
        for (port, value) in [
            (0x3F6, 2),
            (0x1F2, sectors as u8),
            (0x1F3, 5),
            (0x1F4, 0),
            (0x1F5, 0),
            (0x1F6, 0xE0),
            (0x1F7, if write { 0x30 } else { 0x20 }),
        ] {
            code.out8(port, value);
        }
        code.segment(0, 0x3000);
        code.segment(3, 0x2000);
        code.set(7, rng.next() % 0x2000);
        code.set(6, rng.next() % 0x2000);
        for _ in 0..sectors {
            wait(&mut code, 0x08, true);
            // In one go or in two, that need not end where the sector does; words or doublewords, sometimes one too many.
            let wide = rng.next() & 1 == 0;
            let whole = if wide { 128 } else { 256 };
            let first = rng.next() % (whole + 1);
            for count in [first, whole - first + u64::from(rng.next().is_multiple_of(4))] {
                code.set(1, count);
                code.set(2, 0x1F0);
                if wide {
                    code.put(&[0x66]);
                }
                code.put(&[0xF3, if write { 0x6F } else { 0x6D }]);
            }
        }
        wait(&mut code, 0x80, false);
        code.put(&[0xF4]);
        let (quick, slow) = (machine(&code.0, with_disk), machine(&code.0, with_disk));
        compare(quick, slow, 30_000 * sectors, &mut rng, &format!("seed {seed}"));
    }
}

/// A floppy controller with an empty drive.
fn with_fdc(bus: &mut Bus, _mem: &mut PhysMem) {
    let wires = FdcWires { irq: bus.wire_to(Sink::Intr(0)), dreq: bus.wire_to(Sink::DmaRequest(2)) };
    let drive = FloppyDrive::new("fd0", DriveKind::K1440, None, None);
    let fdc = bus.add(Box::new(Fdc::new("fdc", wires, [Some(drive), None, None, None])));
    bus.map_ports(fdc, 0x3F0, 6, fdc::REGION_MAIN, 1);
}

#[test]
fn waits_for_a_floppy_controller() {
    let mut code = Code::default();
    // Out of reset, then RECALIBRATE: RQM comes with an event, and the drive's bit goes with others.
    code.out8(0x3F2, 0);
    code.out8(0x3F2, 0x1C);
    code.set(2, 0x3F4);
    code.put(&[0xEC, 0xA8, 0x80, 0x74, 0xFB]);
    code.out8(0x3F5, 0x07);
    code.out8(0x3F5, 0);
    code.set(2, 0x3F4);
    code.put(&[0xEC, 0xA8, 0x01, 0x75, 0xFB, 0xF4]);
    let mut rng = TestRng(1);
    compare(machine(&code.0, with_fdc), machine(&code.0, with_fdc), 60_000, &mut rng, "floppy");
}
