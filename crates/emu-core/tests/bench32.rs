//! A bare-metal guest of the shared benchmark: protected mode, paging, INT 80h, SYSENTER, page faults and CR3 reloads,
//! each with a checksum that a known machine printed.
#![allow(clippy::disallowed_methods, reason = "tests read their guests from the host")]

use std::path::{Path, PathBuf};

use emu_core::bus::PortDevice;
use emu_core::cpu::model::Kind;
use emu_core::cpu::{Model, Segment, reg, seg};
use emu_core::mem::Target;
use emu_core::{
    Bus, ClockRate, DevCx, Device, Output, PhysMem, State, StateError, StateReader, StateWriter, Stop, System, Ticks,
};

/// COM1's transmitter, always ready (region 0), and the exit port (region 1).
#[derive(Default)]
struct Console;

impl Device for Console {
    fn name(&self) -> &str {
        "console"
    }
    fn reset(&mut self, _cx: &mut DevCx<'_>) {}
    fn ports(&mut self) -> Option<&mut dyn PortDevice> {
        Some(self)
    }
}

impl PortDevice for Console {
    fn read(&mut self, _cx: &mut DevCx<'_>, _region: u16, _offset: u16, _size: u8) -> u32 {
        0x60
    }
    fn write(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u16, _size: u8, value: u32) {
        match (region, offset) {
            (0, 0) => cx.output(Output::Serial { port: 0, byte: value as u8 }),
            (1, _) => cx.output(Output::Exit(value)),
            _ => {}
        }
    }
}

impl State for Console {
    const TAG: [u8; 4] = *b"TCON";
    const VERSION: u16 = 1;
    fn save(&self, _w: &mut StateWriter) {}
    fn load(&mut self, _r: &mut StateReader<'_>) -> Result<(), StateError> {
        Ok(())
    }
}

fn shared() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    std::env::var_os("EMU_SHARED").map_or(default, PathBuf::from)
}

fn word(elf: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(elf[at..at + 4].try_into().unwrap())
}

/// A machine as a multiboot loader leaves it.
fn machine(elf: &[u8], command_line: &str) -> System {
    let mut mem = PhysMem::new(128 << 20, 0).unwrap();
    mem.map(0, 128 << 20, Target::Pool(0));
    let headers = word(elf, 28) as usize;
    for i in 0..usize::from(elf[44]) {
        let at = headers + 32 * i;
        let (kind, offset, pa, len) = (word(elf, at), word(elf, at + 4), word(elf, at + 12), word(elf, at + 16));
        if kind == 1 {
            mem.write(pa.into(), &elf[offset as usize..(offset + len) as usize]);
        }
    }
    mem.write(0x9000, &4u32.to_le_bytes());
    mem.write(0x9010, &0x9100u32.to_le_bytes());
    mem.write(0x9100, command_line.as_bytes());
    let mut bus = Bus::new(ClockRate::DEFAULT, 1);
    let console = bus.add(Box::new(Console));
    bus.map_ports(console, 0x3F8, 8, 0, 1);
    bus.map_ports(console, 0xF4, 4, 1, 4);
    let mut sys = System::new(Model::new(Kind::P6), mem, bus);
    sys.reset();
    sys.cpu.cr0 |= 1;
    sys.cpu.refresh_segments();
    sys.cpu.set_segment(seg::CS, Segment::from_descriptor(8, 0xFFFF, 0x00CF_9B00));
    for i in [seg::ES, seg::SS, seg::DS, seg::FS, seg::GS] {
        sys.cpu.set_segment(i, Segment::from_descriptor(16, 0xFFFF, 0x00CF_9300));
    }
    sys.cpu.regs[reg::RAX] = 0x2BAD_B002;
    sys.cpu.regs[reg::RBX] = 0x9000;
    sys.cpu.rip = word(elf, 24).into();
    sys
}

/// Runs the guest to its exit; returns what it printed.
fn printed(elf: &[u8], command_line: &str) -> String {
    let mut sys = machine(elf, command_line);
    let mut text = Vec::new();
    loop {
        let stop = sys.run(Ticks(20_000_000_000));
        for (_, output) in sys.bus.take_output() {
            match output {
                Output::Serial { byte, .. } => text.push(byte),
                Output::Exit(_) => return String::from_utf8_lossy(&text).into_owned(),
                _ => {}
            }
        }
        assert_eq!(stop, Stop::Output, "after: {}", String::from_utf8_lossy(&text));
    }
}

/// What a workload of this name printed: its number of rounds, and the checksum.
fn result(text: &str, name: &str) -> (u32, u32) {
    let line =
        text.lines().find(|l| l.starts_with(&format!("E {name} "))).unwrap_or_else(|| panic!("no {name}: {text}"));
    let field = |key: &str| line.split(' ').find_map(|f| f.strip_prefix(key)).unwrap();
    (field("n=").parse().unwrap(), u32::from_str_radix(field("sum="), 16).unwrap())
}

#[test]
fn system_calls_page_faults_and_changing_code() {
    let file = shared().join("bench/bench32.elf");
    let Ok(elf) = std::fs::read(&file) else {
        println!("SKIPPED: no {}", file.display());
        return;
    };
    let text = printed(&elf, "m=1d8000 s=1");
    assert!(!text.contains("EXC"), "{text}");
    for name in ["int80", "sysenter"] {
        let (n, sum) = result(&text, name);
        assert!(n >= 1000, "{text}");
        assert_eq!(sum, n, "each call counts one: {name}");
    }
    for name in ["smc", "pf"] {
        let (n, sum) = result(&text, name);
        assert!(n >= 1000, "{text}");
        assert_eq!(sum, n * (n - 1) / 2, "each round adds its number: {name}");
    }
}
