//! Loops that only look are passed over up to the next event: the same ticks and bits as if every round had run.

use emu_core::bus::{DevCx, PortDevice};
use emu_core::cpu::model::Kind;
use emu_core::cpu::{Activity, Model, Segment, seg};
use emu_core::mem::Target;
use emu_core::{Bus, ClockRate, Device, PhysMem, State, StateError, StateReader, StateWriter, System, Ticks};

/// Ticks between changes of bit 0 of port 40h.
const PERIOD: u64 = 997;
/// When the byte at [`FLAG`] becomes 1.
const EVENT: u64 = 50_001;
const FLAG: u64 = 0x500;

/// Port 40h says how long it reads the same, port 41h (which reads 5) does not.
struct Clock {
    /// Port 40h does say so.
    tells: bool,
    /// How often it was read: what the host did, not the guest.
    reads: u32,
}

impl Device for Clock {
    fn name(&self) -> &str {
        "clock"
    }
    fn reset(&mut self, cx: &mut DevCx<'_>) {
        cx.schedule(0, Ticks(EVENT));
    }
    fn event(&mut self, cx: &mut DevCx<'_>, _tag: u32) {
        cx.mem.store(FLAG, 1u8);
    }
    fn ports(&mut self) -> Option<&mut dyn PortDevice> {
        Some(self)
    }
}

impl PortDevice for Clock {
    fn read(&mut self, cx: &mut DevCx<'_>, _region: u16, offset: u16, _size: u8) -> u32 {
        self.reads += 1;
        if offset == 0 { (cx.now.0 / PERIOD % 2) as u32 } else { 5 }
    }
    fn steady_until(&self, now: Ticks, _rate: ClockRate, _region: u16, offset: u16) -> Option<Ticks> {
        (self.tells && offset == 0).then(|| Ticks((now.0 / PERIOD + 1) * PERIOD))
    }
    fn write(&mut self, _cx: &mut DevCx<'_>, _region: u16, _offset: u16, _size: u8, _value: u32) {}
}

impl State for Clock {
    const TAG: [u8; 4] = *b"TCLK";
    const VERSION: u16 = 1;
    fn save(&self, _w: &mut StateWriter) {}
    fn load(&mut self, _r: &mut StateReader<'_>) -> Result<(), StateError> {
        Ok(())
    }
}

/// A machine that runs `code` at 0000:1000, whose port 40h says how long it reads the same, or does not.
fn machine(code: &[u8], tells: bool) -> System {
    let mut mem = PhysMem::new(0x10_0000, 0).unwrap();
    mem.map(0, 0x10_0000, Target::Pool(0));
    mem.write(0x1000, code);
    let mut bus = Bus::new(ClockRate::DEFAULT, 1);
    let clock = bus.add(Box::new(Clock { tells, reads: 0 }));
    bus.map_ports(clock, 0x40, 2, 0, 1);
    let mut sys = System::new(Model::new(Kind::P6), mem, bus);
    sys.reset();
    for s in [seg::ES, seg::CS, seg::SS, seg::DS] {
        sys.cpu.set_segment(s, Segment::real(0));
    }
    sys.cpu.rip = 0x1000;
    sys
}

fn reads(sys: &System) -> u32 {
    sys.bus.find::<Clock>().unwrap().reads
}

/// Runs to the HLT at the end of `code` at once, and tick by tick, where no round is ever passed over, with a port that does
/// not tell, so that it is asked in each; returns how often each has read a port.
fn both_ways(code: &[u8]) -> (u32, u32) {
    let (mut whole, mut pieces) = (machine(code, true), machine(code, false));
    for n in 1..=100_000 {
        pieces.run(Ticks(n));
        if n % 9_973 == 0 || pieces.cpu.activity == Activity::Halted {
            whole.run(Ticks(n));
            assert_eq!(whole.cpu.regs, pieces.cpu.regs, "at {n}");
            assert_eq!((whole.cpu.rip, whole.cpu.eflags()), (pieces.cpu.rip, pieces.cpu.eflags()), "at {n}");
            assert_eq!(whole.hash(), pieces.hash(), "at {n}");
        }
        if pieces.cpu.activity == Activity::Halted {
            return (reads(&whole), reads(&pieces));
        }
    }
    panic!("does not end");
}

#[test]
fn a_port_that_changes_with_time() {
    // Four times: wait for 1, wait for 0. Then HLT.
    let wait = [0xE4, 0x40, 0xA8, 0x01, 0x74, 0xFA, 0xE4, 0x40, 0xA8, 0x01, 0x75, 0xFA];
    let code = [&wait[..], &wait, &wait, &wait, &[0xF4]].concat();
    let (quick, slow) = both_ways(&code);
    assert!(quick < slow / 20 && slow > 2000, "{quick} of {slow} reads");
}

#[test]
fn memory_that_a_device_writes() {
    // MOV AX, [500h]; AND AX, AX; JZ back: the event ends it.
    let (quick, slow) = both_ways(&[0xA1, 0x00, 0x05, 0x21, 0xC0, 0x74, 0xF9, 0xF4]);
    assert_eq!((quick, slow), (0, 0));
}

#[test]
fn a_port_that_does_not_tell_is_read_each_time() {
    // IN AL, 41h; CMP BYTE [500h], 0; JE back; HLT.
    let (quick, slow) = both_ways(&[0xE4, 0x41, 0x80, 0x3E, 0x00, 0x05, 0x00, 0x74, 0xF7, 0xF4]);
    assert_eq!(quick, slow);
}

/// Whatever the bits of the counter, and whether it comes to 0 or the loop is cut by a deadline.
#[test]
fn loops_that_count_down() {
    // IN AL, 40h; LOOP back, from 30,000 on. IN AL, 40h; DEC ESI; JNZ back, from 200 on. HLT.
    let looped = [0xB9, 0x30, 0x75, 0xE4, 0x40, 0xE2, 0xFC];
    let wide = [0x66, 0xBE, 200, 0, 0, 0, 0xE4, 0x40, 0x66, 0x4E, 0x75, 0xFA];
    let (quick, slow) = both_ways(&[&looped[..], &wide, &[0xF4]].concat());
    assert!(quick < slow / 20 && slow > 30_000, "{quick} of {slow} reads");
    // CMP [500h], AX; PAUSE; DEC CX; JNZ back: what is above CX stays, and the carry is that of CMP. Looked at on both sides of
    // many deadlines.
    let code = [0x66, 0xB9, 0, 0x80, 5, 0, 0x39, 0x06, 0x00, 0x05, 0xF3, 0x90, 0x49, 0x75, 0xF7, 0xF4];
    let (mut whole, mut pieces) = (machine(&code, true), machine(&code, false));
    for n in 1..=99_000u64 {
        pieces.run(Ticks(n));
        if n % 3_331 < 5 {
            whole.run(Ticks(n));
            assert_eq!(whole.cpu.regs, pieces.cpu.regs, "at {n}");
            assert_eq!((whole.cpu.rip, whole.cpu.eflags()), (pieces.cpu.rip, pieces.cpu.eflags()), "at {n}");
        }
    }
    // LOOP to itself, with the carry set; DEC BX with JNZ, and BX used: not passed over.
    both_ways(&[0xF9, 0xB9, 0, 0x40, 0xE2, 0xFE, 0xBB, 0x99, 0x02, 0x39, 0xD8, 0x4B, 0x75, 0xFB, 0xF4]);
}

#[test]
fn a_walk_along_a_list_is_none() {
    // MOV BX, [BX]; TEST BX, BX; JNZ back; HLT.
    let mut code = vec![0x8B, 0x1F, 0x85, 0xDB, 0x75, 0xFA, 0xF4];
    code.resize(0x100, 0);
    let mut sys = machine(&code, true);
    (0..100).for_each(|i| sys.mem.store::<u16>(0x2000 + 2 * i, if i == 99 { 0 } else { 0x2002 + 2 * i as u16 }));
    sys.cpu.regs[3] = 0x2000;
    sys.run(Ticks(1000));
    assert_eq!((sys.cpu.regs[3], sys.cpu.activity), (0, Activity::Halted));
    assert_eq!(sys.last_halt(), Some(Ticks(300)));
}
