//! Ports that only keep bytes: whoever looks finds the last one, however the run is cut.

use emu_core::bus::{DevCx, Output, PortDevice};
use emu_core::cpu::model::Kind;
use emu_core::cpu::{Model, Segment, seg};
use emu_core::mem::Target;
use emu_core::{Bus, ClockRate, Device, PhysMem, State, StateError, StateReader, StateWriter, System, Ticks};

/// Ticks between events, which put the byte of port 40h at [`SEEN`].
const PERIOD: u64 = 1009;
const SEEN: u64 = 0x500;

/// Ports 40h and 41h keep bytes; port 48h reads the sum of both.
#[derive(Default)]
struct Keeper {
    kept: [u8; 2],
    /// Bytes that it was given: what the host did, not the guest.
    given: u32,
}

impl Device for Keeper {
    fn name(&self) -> &str {
        "keeper"
    }
    fn reset(&mut self, cx: &mut DevCx<'_>) {
        cx.schedule(0, Ticks(PERIOD));
    }
    fn event(&mut self, cx: &mut DevCx<'_>, _tag: u32) {
        cx.mem.store(SEEN, self.kept[0]);
        cx.schedule(0, Ticks(cx.now.0 + PERIOD));
    }
    fn ports(&mut self) -> Option<&mut dyn PortDevice> {
        Some(self)
    }
}

impl PortDevice for Keeper {
    fn read(&mut self, _cx: &mut DevCx<'_>, region: u16, offset: u16, _size: u8) -> u32 {
        let sum = self.kept[0].wrapping_add(self.kept[1]);
        if region == 0 { self.kept[usize::from(offset)].into() } else { sum.into() }
    }
    fn write(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u16, _size: u8, value: u32) {
        if let Some(output) = self.latch(region, offset, value as u8) {
            cx.output(output);
        }
    }
    fn latches(&self, region: u16) -> bool {
        region == 0
    }
    fn latch(&mut self, _region: u16, offset: u16, value: u8) -> Option<Output> {
        self.given += 1;
        self.kept[usize::from(offset) % 2] = value;
        Some(Output::Post(value))
    }
}

impl State for Keeper {
    const TAG: [u8; 4] = *b"TKPR";
    const VERSION: u16 = 1;
    fn save(&self, w: &mut StateWriter) {
        w.field(1, &self.kept[0]);
        w.field(2, &self.kept[1]);
    }
    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        self.kept = [r.field(1)?, r.field(2)?];
        Ok(())
    }
}

fn machine(code: &[u8]) -> System {
    let mut mem = PhysMem::new(0x10_0000, 0).unwrap();
    mem.map(0, 0x10_0000, Target::Pool(0));
    mem.write(0x1000, code);
    let mut bus = Bus::new(ClockRate::DEFAULT, 1);
    let keeper = bus.add(Box::new(Keeper::default()));
    bus.map_ports(keeper, 0x40, 2, 0, 1);
    bus.map_ports(keeper, 0x48, 1, 1, 1);
    let mut sys = System::new(Model::new(Kind::P6), mem, bus);
    sys.reset();
    for s in [seg::ES, seg::CS, seg::SS, seg::DS] {
        sys.cpu.set_segment(s, Segment::real(0));
    }
    sys.cpu.rip = 0x1000;
    sys
}

fn keeper(sys: &System) -> ([u8; 2], u32) {
    let keeper = sys.bus.find::<Keeper>().unwrap();
    (keeper.kept, keeper.given)
}

/// Runs up to tick `n`, and remembers what was shown last.
fn run(sys: &mut System, n: u64, shown: &mut Option<Output>) {
    while sys.now() < Ticks(n) {
        sys.run(Ticks(n));
        if let Some((_, output)) = sys.bus.take_output().pop() {
            *shown = Some(output);
        }
    }
}

/// Runs `code` in long pieces and tick by tick; returns how many bytes the device was given each way.
fn both_ways(code: &[u8]) -> (u32, u32) {
    let (mut whole, mut pieces) = (machine(code), machine(code));
    let mut shown = [None, None];
    for n in 1..=30_000 {
        run(&mut pieces, n, &mut shown[0]);
        if n % 3_001 == 0 || n % 4_001 == 0 {
            run(&mut whole, n, &mut shown[1]);
            assert_eq!(whole.cpu.regs, pieces.cpu.regs, "at {n}");
            assert_eq!(keeper(&whole).0, keeper(&pieces).0, "at {n}");
            assert_eq!(whole.hash(), pieces.hash(), "at {n}");
            assert_eq!(shown[0], shown[1], "at {n}");
        }
    }
    (keeper(&whole).1, keeper(&pieces).1)
}

#[test]
fn bytes_that_nobody_looks_at() {
    // again: INC AX; OUT 40h, AL; JMP again
    let (quick, slow) = both_ways(&[0x40, 0xE6, 0x40, 0xEB, 0xFB]);
    assert!(slow >= 9_999 && quick < 200, "{quick} of {slow}");
}

#[test]
fn bytes_that_are_read_back_and_used() {
    // again: INC AX; OUT 40h, AL; OUT 40h, AL; INC CX; TEST CL, 7; JNZ again; IN AL, 40h; ADD DL, AL; IN AL, 48h;
    // ADD DL, AL; OUT 41h, AL; ADD BL, [500h]; JMP again
    let (quick, slow) = both_ways(&[
        0x40, 0xE6, 0x40, 0xE6, 0x40, 0x41, 0xF6, 0xC1, 0x07, 0x75, 0xF5, 0xE4, 0x40, 0x00, 0xC2, 0xE4, 0x48, 0x00,
        0xC2, 0xE6, 0x41, 0x02, 0x1E, 0x00, 0x05, 0xEB, 0xE5,
    ]);
    assert!(quick < slow, "{quick} of {slow}");
}

#[test]
fn wider_writes_and_two_ports_in_turn() {
    // again: INC AX; OUT 40h, AX; OUT 41h, AL; OUT 40h, AL; IN AL, 48h; JMP again
    both_ways(&[0x40, 0xE7, 0x40, 0xE6, 0x41, 0xE6, 0x40, 0xE4, 0x48, 0xEB, 0xF5]);
}
