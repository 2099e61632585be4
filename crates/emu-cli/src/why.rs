//! `emu why`: who last wrote this?

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use emu_core::mem::Target;
use emu_core::timeline::{Mark, SeekError};
use emu_core::{System, Ticks, Timeline};
use emu_machine::recording::Recording;
use emu_machine::{describe_next, describe_registers};

use crate::run::args::{TimelineArg, timeline};
use crate::run::exit::{DIVERGED, Failure, NOT_FOUND, describe_divergence};

/// Bytes of a place at the most.
const MOST: u64 = 4096;
/// Bytes that are shown of what was written.
const SHOWN: usize = 16;

/// A place of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    linear: bool,
    start: u64,
    len: u64,
}

fn number(text: &str) -> Option<u64> {
    let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |hex| (hex, 16));
    u64::from_str_radix(digits, radix).ok()
}

fn place(text: &str) -> Result<Place, String> {
    let (linear, rest) = text.strip_prefix("lin:").map_or((false, text), |rest| (true, rest));
    let (start, len) = rest.split_once('+').unwrap_or((rest, "1"));
    match (number(start), number(len)) {
        (Some(start), Some(len)) if (1..=MOST).contains(&len) && start.checked_add(len).is_some() => {
            Ok(Place { linear, start, len })
        }
        _ => Err(format!("`{text}` is no place like 0x417, lin:0xc0100000 or 0x500+4 (at most {MOST} bytes)")),
    }
}

/// Options of `emu why`.
#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// Recording that `emu run --record` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Physical address, or lin:ADDRESS; +N behind it for N bytes
    #[arg(value_parser = place, value_name = "PLACE")]
    place: Place,
    /// Search from this tick backwards, instead of from the end
    #[arg(long, value_name = "TICK")]
    before: Option<u64>,
    /// So many writes, the latest first
    #[arg(long, value_name = "N", default_value_t = 1)]
    history: u32,
    /// Host memory for the way back in time, like 512M
    #[arg(long, value_parser = timeline, value_name = "SIZE", default_value = "512M")]
    timeline: TimelineArg,
}

/// Searches as the arguments say; returns the exit code.
pub(crate) fn why(args: &WhyArgs) -> Result<u8, Failure> {
    let recording = Recording::open(&args.file).map_err(Failure::file)?;
    let mut machine = recording.build()?;
    let sys = &mut machine.system;
    let end = recording.end().tick;
    let from = args.before.map_or(end, Ticks);
    if from > end {
        return Err(Failure::usage(format!("--before {}: the recording ends at tick {}", from.0, end.0)));
    }
    let settings = args.timeline.settings(false).unwrap_or_default();
    let mut timeline = Timeline::new(sys, settings);
    timeline.expect(recording.log().to_vec(), Mark::default().inputs, recording.spine().to_vec(), end);
    timeline.seek(sys, from).map_err(|e| failure(&timeline, &e))?;
    let start = physical(sys, args.place)?;
    // The same memory all the time, though its address may once have led elsewhere.
    let memory = sys.pool_ranges(&[(start, args.place.len)]);
    let mut found = false;
    let mut before = from;
    for _ in 0..args.history.max(1) {
        let Some(tick) = timeline.last_write(sys, &memory).map_err(|e| failure(&timeline, &e))? else {
            print(&format!("not written between tick {} and tick {}", timeline.start().0, before.0));
            break;
        };
        (found, before) = (true, tick);
        show(sys, &mut timeline, tick, start, &memory)?;
    }
    Ok(if found { 0 } else { NOT_FOUND })
}

/// Why the machine can't be put where it was to be.
fn failure(timeline: &Timeline, error: &SeekError) -> Failure {
    match timeline.divergence() {
        Some(d) => Failure { message: describe_divergence(d), code: DIVERGED },
        None => Failure::host(error),
    }
}

/// A line on the standard output, if anybody is there to read it.
fn print(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Where the place is in physical memory now.
fn physical(sys: &mut System, place: Place) -> Result<u64, Failure> {
    if !place.linear {
        let memory = |at: u64| matches!(sys.mem.target(at).1, Target::Pool(_));
        return if memory(place.start) && memory(place.start + place.len - 1) {
            Ok(place.start)
        } else {
            Err(Failure::usage(format!(
                "{:#x} is no memory at that tick: a device or nothing answers there",
                place.start
            )))
        };
    }
    if place.start % 4096 + place.len > 4096 {
        return Err(Failure::usage("a linear place must lie in one page"));
    }
    let found = sys.peek_translation(place.start);
    found.ok_or_else(|| Failure::usage(format!("linear address {:#x} is not mapped at that tick", place.start)))
}

/// Prints the step that the machine stands before, and leaves it there.
fn show(
    sys: &mut System,
    timeline: &mut Timeline,
    tick: Ticks,
    start: u64,
    memory: &[(u64, u64)],
) -> Result<(), Failure> {
    let read = |sys: &System| -> Vec<u8> {
        memory.iter().flat_map(|&(first, last)| sys.mem.pool(first, (last - first + 1) as usize).to_vec()).collect()
    };
    let (instruction, registers, before) = (describe_next(sys), describe_registers(sys), read(sys));
    timeline.seek(sys, tick + 1).map_err(|e| failure(timeline, &e))?;
    let after = read(sys);
    timeline.seek(sys, tick).map_err(|e| failure(timeline, &e))?;
    let first = before.iter().zip(&after).position(|(a, b)| a != b).unwrap_or(0);
    let hex = |bytes: &[u8]| {
        let shown = bytes[first..].iter().take(SHOWN);
        shown.map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ")
    };
    let at = if first == 0 { String::new() } else { format!(" at {:#x}", start + first as u64) };
    print(&format!("tick {}: {instruction}:{at} {} -> {}", tick.0, hex(&before), hex(&after)));
    print(&format!("  {registers}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read() {
        assert_eq!(place("0x417"), Ok(Place { linear: false, start: 0x417, len: 1 }));
        assert_eq!(place("lin:4096+16"), Ok(Place { linear: true, start: 4096, len: 16 }));
        for bad in ["", "x", "0x", "1+0", "1+4097", "0xffffffffffffffff+1", "lin:"] {
            assert!(place(bad).is_err(), "{bad}");
        }
    }
}
