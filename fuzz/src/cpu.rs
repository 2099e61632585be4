//! Random bytes as code.

use emu_core::cpu::model::Kind;
use emu_core::cpu::{Model, Segment, seg};
use emu_core::mem::Target;
use emu_core::{Bus, ClockRate, PhysMem, Stop, System, Ticks};

const MEMORY: u64 = 0x2_0000;
const CODE: u64 = 0x1000;
const TICKS: u64 = 500;
/// Flat descriptors: 32-bit code of ring 0, data.
const CODE32: [u32; 2] = [0x0000_FFFF, 0x00CF_9B00];
const DATA32: [u32; 2] = [0x0000_FFFF, 0x00CF_9300];

/// The first byte chooses CPU and mode; the rest is code, and the registers' contents. The code runs twice: in one go,
/// and cut into stretches. Both must end in the same state.
pub fn cpu_block(data: &[u8]) {
    let Some((&choice, code)) = data.split_first() else { return };
    let (mut whole, mut cut) = (machine(choice, code), machine(choice, code));
    run(&mut whole, TICKS);
    run(&mut cut, u64::from(choice >> 4) + 1);
    assert_eq!(whole.now(), cut.now(), "the clock depends on where the run was cut");
    let same = whole.hash() == cut.hash();
    assert!(same, "the state depends on where the run was cut:\n{:#?}\n{:#?}", whole.cpu, cut.cpu);
}

/// Runs to TICKS, at most `stretch` at a time.
fn run(sys: &mut System, stretch: u64) {
    while sys.now() < Ticks(TICKS) {
        let until = sys.now().after(stretch).min(Ticks(TICKS));
        let stop = sys.run(until);
        sys.bus.take_output();
        if stop == Stop::TripleFault {
            return;
        }
    }
}

fn machine(choice: u8, code: &[u8]) -> System {
    let kinds =
        [Kind::I8086, Kind::I80286, Kind::I80386, Kind::I80486, Kind::Pentium, Kind::P6, Kind::X64V1, Kind::X64V2];
    let kind = kinds[usize::from(choice & 7)];
    let mut mem = PhysMem::new(MEMORY, 0).expect("128 KiB");
    mem.map(0, MEMORY, Target::Pool(0));
    mem.write(CODE, code.get(..(MEMORY - CODE) as usize).unwrap_or(code));
    let mut sys = System::new(Model::new(kind), mem, Bus::new(ClockRate::DEFAULT, 1));
    sys.reset();
    if choice & 8 != 0 && !matches!(kind, Kind::I8086 | Kind::I80286) {
        sys.cpu.cr0 |= 1;
        sys.cpu.refresh_segments();
        for s in [seg::ES, seg::SS, seg::DS] {
            sys.cpu.set_segment(s, Segment::from_descriptor(16, DATA32[0], DATA32[1]));
        }
        sys.cpu.set_segment(seg::CS, Segment::from_descriptor(8, CODE32[0], CODE32[1]));
    } else {
        [seg::ES, seg::CS, seg::SS, seg::DS].into_iter().for_each(|s| sys.cpu.set_segment(s, Segment::real(0)));
    }
    for (n, bytes) in code.chunks_exact(2).take(8).enumerate() {
        sys.cpu.regs[n] = u64::from(u16::from_le_bytes([bytes[0], bytes[1]]));
    }
    sys.cpu.regs[4] = 0xF000;
    sys.cpu.rip = CODE;
    sys
}
