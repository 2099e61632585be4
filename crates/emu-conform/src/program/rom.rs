//! ROM tests: an image that takes the place of the BIOS, tells by POST codes how far it has come, and prints results.
//!
//! It runs on a [bench](super::bench) with 16 MiB of RAM (what is below its address space, on smaller CPUs), the ROM at the
//! top of the address space and below 1 MiB, and no other chip. The last POST code must be FFh. If there is a reference
//! file, what the ROM printed must equal it line by line.

use std::path::{Path, PathBuf};

use emu_core::cpu::model::Kind;
use emu_core::cpu::{Activity, Model};
use emu_core::mem::Target as Memory;
use emu_core::{Bus, ClockRate, Output, PhysMem, Stop, System};

use super::bench::{Bench, PORTS};
use super::{ProgramReport, in_words};
use crate::report::{Row, Tally};
use crate::suite::{SuiteError, unpack};

/// POST code of a test that is through.
const DONE: u8 = 0xFF;
/// Instructions that a ROM may take.
const PATIENCE: u64 = 1_000_000_000;
/// Bytes of output that are kept.
const MAX_OUTPUT: usize = 64 << 20;
const RAM: u64 = 16 << 20;
const STRETCH: u64 = 1_000_000;

/// Whether these are the contents of a ROM: of a ROM's size, with a jump where CPUs start.
fn looks_like_rom(data: &[u8]) -> bool {
    let size = data.len();
    let fits = (size.is_power_of_two() && (16 << 10..=512 << 10).contains(&size)).then(|| data[size - 16]);
    matches!(fits, Some(0xE9..=0xEB))
}

/// Whether the file at `path` is a ROM.
pub(crate) fn file_looks_like_rom(path: &Path) -> bool {
    let small = std::fs::metadata(path).is_ok_and(|m| m.len() <= 512 << 10);
    small && std::fs::read(path).is_ok_and(|data| looks_like_rom(&data))
}

/// The file that what `rom` prints is compared with, if it stands beside it: `NAME-reference.txt`, or
/// `NAME-…-reference.txt`.
fn reference_beside(rom: &Path) -> Option<PathBuf> {
    let stem = rom.file_stem()?.to_string_lossy().into_owned();
    let entries =
        std::fs::read_dir(rom.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))).ok()?;
    let belongs =
        |name: &str| name.strip_prefix(&stem).is_some_and(|n| n.starts_with('-') && n.ends_with("reference.txt"));
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.file_name().is_some_and(|n| belongs(&n.to_string_lossy())))
        .collect();
    found.sort();
    found.into_iter().next()
}

/// What a ROM told.
#[derive(Default)]
struct Told {
    posts: Vec<u8>,
    /// By where it was written: the consoles, three printers, two serial ports.
    streams: [Vec<u8>; 6],
    end: &'static str,
}

/// Runs the ROM at `path`; `reference` is the file to compare with, if not the one beside it.
pub(crate) fn run(
    path: &Path,
    data: &[u8],
    model: Option<Model>,
    reference: Option<&Path>,
) -> Result<ProgramReport, SuiteError> {
    let model = model.unwrap_or(Model::new(Kind::I80386));
    let mut sys = bench(data, model).ok_or_else(|| SuiteError::new(path, "the host has no memory left"))?;
    let told = listen(&mut sys);
    let mut rows = vec![post_row(&told, &sys)];
    let reference = reference.map(Path::to_owned).or_else(|| reference_beside(path));
    if let Some(file) = reference {
        let wanted = unpack(&file)?;
        let printed = told.streams.iter().max_by_key(|s| s.len()).map(Vec::as_slice).unwrap_or_default();
        rows.push(output_row(printed, &wanted, &file));
    }
    Ok(ProgramReport { model, rows })
}

/// The machine.
fn bench(rom: &[u8], model: Model) -> Option<System> {
    let size = rom.len() as u64;
    let space: u64 = match model.kind {
        Kind::I8086 | Kind::I80186 => 1 << 20,
        Kind::I80286 => 1 << 24,
        _ => 1 << 32,
    };
    let mut mem = PhysMem::new(RAM, size)?;
    mem.map(0, RAM.min(space), Memory::Pool(0));
    let at = mem.allocate(size)?;
    mem.pool_write(at, rom);
    for top in [1 << 20, space] {
        mem.map_split(top - size, size, Some(Memory::Pool(at)), Some(Memory::Open));
    }
    mem.set_a20(space > 1 << 20);
    let mut bus = Bus::new(ClockRate::DEFAULT, 1);
    let id = bus.add(Box::new(Bench::default()));
    PORTS.iter().for_each(|(base, len, region)| bus.map_ports(id, *base, *len, *region, 1));
    let mut sys = System::new(model, mem, bus);
    sys.reset();
    Some(sys)
}

/// Runs until the ROM halts or has said that it is through.
fn listen(sys: &mut System) -> Told {
    let mut told = Told { end: "it did not come to an end", ..Told::default() };
    while sys.now().0 < PATIENCE {
        let stop = sys.run(sys.now().after(STRETCH));
        for (_, output) in sys.bus.take_output() {
            let (stream, byte) = match output {
                Output::Post(code) => {
                    told.posts.push(code);
                    continue;
                }
                Output::Debug(byte) => (0, byte),
                Output::Parallel { port, byte } => (1 + usize::from(port), byte),
                Output::Serial { port, byte } => (4 + usize::from(port), byte),
                _ => continue,
            };
            if told.streams[stream].len() < MAX_OUTPUT {
                told.streams[stream].push(byte);
            }
        }
        // Loops of POST codes, as of a ROM that starts anew again and again, may not fill the memory.
        let surplus = told.posts.len().saturating_sub(1024);
        told.posts.drain(..surplus);
        let halted = sys.cpu.activity == Activity::Halted;
        match stop {
            Stop::TripleFault => told.end = "the CPU shut down",
            _ if halted => told.end = "the CPU halted",
            _ if told.posts.last() == Some(&DONE) => told.end = "it runs on",
            _ => continue,
        }
        break;
    }
    told
}

fn post_row(told: &Told, sys: &System) -> Row {
    let last = told.posts.last();
    let passed = u64::from(last == Some(&DONE));
    let mut row = Row { name: "last POST code is FF".into(), ..Row::default() };
    row.tally = Tally { cases: 1, strict: passed, masked: passed, skipped: 0 };
    if passed == 0 {
        let came = match last {
            Some(code) => format!("the last POST code is {code:02X}h"),
            None => "there was no POST code (ports 80h and 190h)".into(),
        };
        let trail: Vec<String> = told.posts.iter().rev().take(16).rev().map(|p| format!("{p:02X}")).collect();
        let cpu = &sys.cpu;
        let at = format!("{} at {:04x}:{:08x}", told.end, cpu.seg[1].sel, cpu.rip);
        row.failures.push(in_words(0, came, vec![at, format!("POST codes: {}", trail.join(" "))]));
    }
    row
}

fn output_row(printed: &[u8], wanted: &[u8], file: &Path) -> Row {
    let split = |bytes: &[u8]| -> Vec<String> {
        let text = String::from_utf8_lossy(bytes);
        text.lines().map(|l| l.trim_end().to_owned()).collect()
    };
    let (got, want) = (split(printed), split(wanted));
    let mut row = Row {
        name: format!("lines as in {}", file.file_name().unwrap_or_default().to_string_lossy()),
        ..Row::default()
    };
    for n in 0..want.len().max(got.len()) {
        let same = want.get(n) == got.get(n);
        row.tally.add(Tally { cases: 1, strict: same.into(), masked: same.into(), skipped: 0 });
        if !same && row.failures.len() < 8 {
            let show = |line: Option<&String>| line.map_or("nothing".to_owned(), |l| format!("`{l}`"));
            let remarks = vec![format!("wanted {}", show(want.get(n))), format!("got    {}", show(got.get(n)))];
            row.failures.push(in_words(n as u64 + 1, format!("line {}", n + 1), remarks));
        }
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ROM of `code` at F000:0000.
    fn rom(code: &[u8]) -> Vec<u8> {
        let mut rom = vec![0xF4; 64 << 10];
        rom[..code.len()].copy_from_slice(code);
        rom[0xFFF0..0xFFF5].copy_from_slice(&[0xEA, 0, 0, 0, 0xF0]);
        rom
    }

    /// MOV AL, v; OUT port, AL (in DX).
    fn out(code: &mut Vec<u8>, port: u16, v: u8) {
        code.extend([0xBA, port as u8, (port >> 8) as u8, 0xB0, v, 0xEE]);
    }

    #[test]
    fn roms_tell_by_post_code_printer_and_serial_line() {
        let mut code = Vec::new();
        out(&mut code, 0x190, 1);
        for byte in *b"A\r\nB\n" {
            out(&mut code, 0x378, byte);
            out(&mut code, 0x37A, 1);
            out(&mut code, 0x37A, 0);
        }
        out(&mut code, 0x80, 0xFF);
        code.push(0xF4);
        for kind in [Kind::I8086, Kind::I80286, Kind::I80386] {
            let image = rom(&code);
            assert!(looks_like_rom(&image));
            let mut sys = bench(&image, Model::new(kind)).unwrap();
            let told = listen(&mut sys);
            assert_eq!(
                (told.posts.as_slice(), told.streams[2].as_slice()),
                (&[1, 0xFF][..], &b"A\r\nB\n"[..]),
                "{kind:?}"
            );
            assert!(post_row(&told, &sys).tally.passes());
            let row = output_row(&told.streams[2], b"A\nC\nB\n", Path::new("x"));
            assert_eq!((row.tally.cases, row.tally.masked, row.failures.len()), (3, 1, 2));
        }
    }

    #[test]
    fn roms_that_stop_early_say_where() {
        let mut code = Vec::new();
        out(&mut code, 0x80, 7);
        code.push(0xF4);
        let mut sys = bench(&rom(&code), Model::new(Kind::I80386)).unwrap();
        let row = post_row(&listen(&mut sys), &sys);
        assert!(!row.tally.passes() && row.failures[0].name.contains("07h"), "{row:?}");
        assert!(row.failures[0].remarks[0].contains("halted at f000"), "{row:?}");
    }
}
