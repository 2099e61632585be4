//! `emu why`: who last wrote this?

mod place;

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use emu_core::mem::Target;
use emu_core::timeline::{SeekError, Watch};
use emu_core::{System, Ticks, Timeline};
use emu_devices::vga::Vga;
use emu_machine::{Machine, describe_next, describe_registers};

use crate::replay::{learn, open, tell_lies};
use crate::run::args::{TimelineArg, timeline};
use crate::run::exit::{DIVERGED, Failure, NOT_FOUND, describe_divergence};
use place::{HELP, Place, place, register, watch_of};

/// Bytes that are shown of what was written.
const SHOWN: usize = 16;

/// Options of `emu why`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct WhyArgs {
    /// Recording that `emu run --record` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What was written: 0x417, lin:0xc0100000+4, reg:eax, port:0x3f8, hd0:63, cell:0,0, pixel:0,0
    #[arg(value_parser = place, value_name = "PLACE")]
    place: Place,
    /// Search from this tick backwards, instead of from the end
    #[arg(long, value_name = "TICK")]
    before: Option<u64>,
    /// So many writes, the latest first
    #[arg(long, value_name = "N", default_value_t = 1)]
    history: u32,
    /// Pass over writes of what was there already
    #[arg(long)]
    changes: bool,
    /// How many ticks a register is followed back, step by step
    #[arg(long, value_name = "TICKS", default_value_t = 1 << 24)]
    within: u64,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Host memory for the way back in time, like 512M
    #[arg(long, value_parser = timeline, value_name = "SIZE", default_value = "512M")]
    timeline: TimelineArg,
}

/// What is searched for, as the machine knows it at the tick where the search begins.
enum Wanted {
    /// Parts of the memory pool (first and last byte); the same all the time, though their address may once have led
    /// elsewhere. The address of the first byte, if it has one.
    Memory(Vec<(u64, u64)>, Option<u64>),
    Watched(Watch),
    Register(Box<dyn Fn(&System) -> u128>),
}

/// Searches as the arguments say; returns the exit code.
pub(crate) fn why(args: &WhyArgs) -> Result<u8, Failure> {
    let recording = open(&args.file, false)?;
    let mut machine = recording.build()?;
    let end = recording.end().tick;
    let from = args.before.map_or(end, Ticks);
    if from > end {
        return Err(Failure::usage(format!("--before {}: the recording ends at tick {}", from.0, end.0)));
    }
    let settings = args.timeline.settings(false).unwrap_or_default();
    let mut timeline = Timeline::new(&mut machine.system, settings);
    timeline.expect(recording.log().to_vec(), recording.begin().inputs, recording.spine().to_vec(), end);
    learn(&recording, &machine.system, &mut timeline);
    timeline.seek(&mut machine.system, from).map_err(|e| failure(&timeline, &e))?;
    let target = target_of(&mut machine, &args.place)?;
    let sys = &mut machine.system;
    let (mut found, mut before) = (Vec::new(), from);
    let mut none = None;
    while found.len() < args.history.max(1) as usize {
        let tick = match &target {
            Wanted::Memory(memory, _) => timeline.last_write(sys, memory),
            Wanted::Watched(watch) => timeline.last_written(sys, *watch),
            Wanted::Register(look) => timeline.last_change(sys, look, args.within),
        };
        let Some(tick) = tick.map_err(|e| failure(&timeline, &e))? else {
            none = Some((sys.now(), before));
            break;
        };
        before = tick;
        let event = look_at(sys, &mut timeline, tick, &target)?;
        if args.changes && !event.changes {
            continue;
        }
        if !args.json {
            print(&event);
        }
        found.push(event);
    }
    tell_lies(&args.file, &mut timeline);
    if args.json {
        say_line(&serde_json::Value::Array(found.iter().map(Event::json).collect()).to_string());
    } else if let Some((first, last)) = none {
        let more = if matches!(target, Wanted::Register(_)) && first > timeline.start() {
            "; --within looks farther back"
        } else {
            ""
        };
        say_line(&format!("not written between tick {} and tick {}{more}", first.0, last.0));
    }
    Ok(if found.is_empty() { NOT_FOUND } else { 0 })
}

/// Why the machine can't be put where it was to be.
fn failure(timeline: &Timeline, error: &SeekError) -> Failure {
    match timeline.divergence() {
        Some(d) => Failure { message: describe_divergence(d), code: DIVERGED },
        None => Failure::host(error),
    }
}

/// A line on the standard output, if anybody is there to read it.
fn say_line(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn target_of(machine: &mut Machine, place: &Place) -> Result<Wanted, Failure> {
    if let Some(watch) = watch_of(machine, place)? {
        return Ok(Wanted::Watched(watch));
    }
    let sys = &mut machine.system;
    let on_screen = |found: Option<(u64, u64)>, what: String| match found {
        Some(memory) => Ok(Wanted::Memory(vec![memory], None)),
        None => Err(Failure::usage(format!("the screen has no {what} at that tick"))),
    };
    let vga = |sys: &System, f: &dyn Fn(&Vga) -> Option<(u64, u64)>| sys.bus.find::<Vga>().and_then(f);
    match place {
        Place::Cell { row, col } => {
            let found = vga(sys, &|v| v.memory_of_cell(&sys.mem, *row, *col));
            on_screen(found, format!("character in row {row}, column {col}"))
        }
        Place::Pixel { x, y } => {
            on_screen(vga(sys, &|v| v.memory_of_pixel(&sys.mem, *x, *y)), format!("pixel at {x},{y}"))
        }
        Place::Register(name) => match register(name) {
            Some(look) => Ok(Wanted::Register(look)),
            None => Err(Failure::usage(format!("there is no register {name}"))),
        },
        Place::Memory { linear, start, len } => memory_at(sys, *linear, *start, *len),
        Place::Ports(..) | Place::Sectors { .. } => Err(Failure::usage("no such place")),
    }
}

/// Where memory is in the pool now.
fn memory_at(sys: &mut System, linear: bool, start: u64, len: u64) -> Result<Wanted, Failure> {
    let mut physical = start;
    if linear {
        if start % 4096 + len > 4096 {
            return Err(Failure::usage("a linear place must lie in one page"));
        }
        let found = sys.peek_translation(start);
        physical =
            found.ok_or_else(|| Failure::usage(format!("linear address {start:#x} is not mapped at that tick")))?;
    }
    let is_memory = |at: u64| matches!(sys.mem.target(at).1, Target::Pool(_));
    if is_memory(physical) && is_memory(physical + len - 1) {
        return Ok(Wanted::Memory(sys.pool_ranges(&[(physical, len)]), Some(physical)));
    }
    let of_screen = |at: u64| sys.bus.find::<Vga>().and_then(|v| v.memory_of_window(at));
    let window: Option<Vec<(u64, u64)>> = (physical..physical + len).map(of_screen).collect();
    window.map(|memory| Wanted::Memory(memory, None)).ok_or_else(|| {
        Failure::usage(format!("{start:#x} is no memory at that tick: a device or nothing answers there"))
    })
}

/// A step that wrote.
struct Event {
    tick: Ticks,
    instruction: String,
    /// The address of the first byte that changed.
    address: Option<u64>,
    /// Whether that is not the first byte of the place.
    is_inside: bool,
    old: String,
    new: String,
    /// Whether anything is another than before; of ports nobody knows.
    changes: bool,
    registers: String,
    place: String,
    interrupt: Option<String>,
}

/// What the machine does in the step that it stands before, at `tick`; it is left there.
fn look_at(sys: &mut System, timeline: &mut Timeline, tick: Ticks, target: &Wanted) -> Result<Event, Failure> {
    let (instruction, registers, old) = (describe_next(sys), describe_registers(sys), contents(sys, target));
    let place = format!("CPL {}, CR3 {:x}, task {:04x}", sys.cpu.cpl, sys.cpu.cr3, sys.cpu.tr.sel);
    timeline.seek(sys, tick + 1).map_err(|e| failure(timeline, &e))?;
    let new = contents(sys, target);
    // An interrupt of the step itself is what the step was.
    let last = sys.last_interrupts().last().map(|d| {
        let at = format!("vector {:02x}, at {:04x}:{:x}", d.interrupt.vector, d.cs, d.rip);
        if d.at == tick { format!("{at}, in this step") } else { format!("{at}, {} ticks before", tick.since(d.at)) }
    });
    timeline.seek(sys, tick).map_err(|e| failure(timeline, &e))?;
    let changes = old != new || new.is_empty();
    let (old, new, address, is_inside) = match target {
        Wanted::Register(_) => (hex_number(&old), hex_number(&new), None, false),
        _ => {
            let first = old.iter().zip(&new).position(|(a, b)| a != b).unwrap_or(0);
            let address = match target {
                Wanted::Memory(_, Some(start)) => Some(start + first as u64),
                _ => None,
            };
            (hex(&old[first..]), hex(&new[first..]), address, first > 0)
        }
    };
    Ok(Event { tick, instruction, address, is_inside, old, new, changes, registers, place, interrupt: last })
}

fn contents(sys: &System, target: &Wanted) -> Vec<u8> {
    match target {
        Wanted::Memory(memory, _) => {
            let part = |&(first, last): &(u64, u64)| sys.mem.pool(first, (last - first + 1) as usize).to_vec();
            memory.iter().flat_map(part).collect()
        }
        Wanted::Register(look) => look(sys).to_be_bytes().to_vec(),
        Wanted::Watched(Watch::Sectors { volume, first, last }) => {
            let Some(volume) = sys.bus.volumes().get(*volume) else { return Vec::new() };
            let sector = |lba: u64| {
                let block = volume.block(lba / 8).unwrap_or_default();
                block.chunks(512).nth((lba % 8) as usize).unwrap_or_default().to_vec()
            };
            (*first..=*last).flat_map(sector).collect()
        }
        Wanted::Watched(Watch::Ports(..)) => Vec::new(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(SHOWN).map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ")
}

fn hex_number(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let short = digits.trim_start_matches('0');
    if short.is_empty() { "0".into() } else { short.into() }
}

impl Event {
    fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "tick": self.tick.0, "instruction": self.instruction, "address": self.address, "old": self.old,
            "new": self.new, "changes": self.changes, "registers": self.registers, "place": self.place, "interrupt": self.interrupt,
        })
    }
}

fn print(e: &Event) {
    let at = e.address.filter(|_| e.is_inside).map_or_else(String::new, |a| format!(" at {a:#x}"));
    let mark = if e.changes { "" } else { " (as it was)" };
    let change = if e.new.is_empty() { String::new() } else { format!(":{at} {} -> {}{mark}", e.old, e.new) };
    say_line(&format!("tick {}: {}{change}", e.tick.0, e.instruction));
    say_line(&format!("  {}", e.registers));
    let last = e.interrupt.as_ref().map_or_else(String::new, |i| format!("; last interrupt: {i}"));
    say_line(&format!("  {}{last}", e.place));
}
