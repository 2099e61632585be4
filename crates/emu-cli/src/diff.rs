//! `emu diff` and `emu bisect`: where two runs part.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use emu_core::cpu::Model;
use emu_core::timeline::TimelineSettings;
use emu_core::{StateWriter, System, Ticks, Timeline};
use emu_machine::config::{parse_cpu, parse_size};
use emu_machine::recording::Recording;
use emu_machine::{Machine, describe_next, describe_registers};

use crate::replay::{learn, tell_lies};
use crate::run::exit::{DIFFERENT, DIVERGED, Failure, describe_divergence};

/// Options of `emu diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// Recording
    #[arg(value_name = "A")]
    a: PathBuf,
    /// Another one
    #[arg(value_name = "B")]
    b: PathBuf,
}

/// Options of `emu bisect`.
#[derive(Debug, Args)]
pub(crate) struct BisectArgs {
    /// Recording, whose inputs both machines get
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Another build of emu, which plays the same machine
    #[arg(long, value_name = "PROGRAM", conflicts_with_all = ["cpu", "mem", "seed", "bios"])]
    emu: Option<PathBuf>,
    /// CPU model of the other machine, as for `emu run`
    #[arg(long, value_name = "MODEL", value_parser = model, required_unless_present_any = ["emu", "mem", "seed", "bios"])]
    cpu: Option<Model>,
    /// RAM of the other machine
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    mem: Option<u64>,
    /// Seed of the other machine
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Firmware of the other machine
    #[arg(long, value_name = "FILE")]
    bios: Option<PathBuf>,
}

fn model(text: &str) -> Result<Model, String> {
    parse_cpu(text).map_err(|e| e.to_string())
}

/// One of the two runs.
struct Side {
    name: String,
    machine: Machine,
    timeline: Timeline,
}

/// What is compared of a machine.
type Look = fn(&System) -> u128;

/// Compares two recordings; returns the exit code.
pub(crate) fn diff(args: &DiffArgs) -> Result<u8, Failure> {
    let open = |path: &Path| Recording::open(path).map_err(Failure::file);
    let (a, b) = (open(&args.a)?, open(&args.b)?);
    let end = a.end().tick.min(b.end().tick);
    let start = a.begin().tick.max(b.begin().tick);
    if start > end {
        return Err(Failure::usage("the two recordings have no tick in common"));
    }
    let logs = (a.log(), b.log());
    match logs.0.iter().zip(logs.1).position(|(x, y)| x != y) {
        Some(n) => line(&format!("inputs differ from number {n} on: {:?}, and {:?}", logs.0[n], logs.1[n])),
        None if logs.0.len() != logs.1.len() => {
            line(&format!("the same {} inputs, then only one of them has more", logs.0.len().min(logs.1.len())));
        }
        None => line(&format!("the same {} inputs", logs.0.len())),
    }
    let (same, differs) = by_spines(&a, &b, start, end);
    let side = |path: &Path, r: &Recording| -> Result<Side, Failure> {
        let mut side = Side::new(path.display().to_string(), r.build()?, r);
        learn(r, &side.machine.system, &mut side.timeline);
        Ok(side)
    };
    let (a, b) = (side(&args.a, &a)?, side(&args.b, &b)?);
    let (code, [mut a, mut b]) = report(a, b, (same, differs.unwrap_or(end)), |s| s.hash().0)?;
    tell_lies(&args.a, &mut a.timeline);
    tell_lies(&args.b, &mut b.timeline);
    Ok(code)
}

/// Runs a recording's inputs on its own machine and on another; returns the exit code.
pub(crate) fn bisect(args: &BisectArgs) -> Result<u8, Failure> {
    let recording = Recording::open(&args.file).map_err(Failure::file)?;
    if let Some(other) = &args.emu {
        return crate::builds::between(&args.file, &recording, other);
    }
    if recording.begin().tick > Ticks(0) {
        return Err(Failure::usage("the recording begins with a snapshot: another machine can't go on from that"));
    }
    let machine = recording.build()?;
    let mut config = machine.config.clone();
    config.cpu = args.cpu.unwrap_or(config.cpu);
    config.memory = args.mem.unwrap_or(config.memory);
    config.seed = args.seed.unwrap_or(config.seed);
    config.bios = args.bios.clone().or(config.bios);
    let other = recording.build_with(config)?;
    let a = Side::new("as recorded".into(), machine, &recording);
    let b = Side::new("the other".into(), other, &recording);
    Ok(report(a, b, (Ticks(0), recording.end().tick), program)?.0)
}

/// What a program sees of a CPU, and of nothing else: another machine is never the same as a whole.
fn program(sys: &System) -> u128 {
    let cpu = &sys.cpu;
    let mut w = StateWriter::new();
    w.field(1, &(cpu.rip, u64::from(cpu.seg[emu_core::cpu::seg::CS].sel)));
    // EDX names the CPU at reset.
    let [ax, cx, _, rest @ ..] = cpu.regs;
    w.field(2, &vec![ax, cx]);
    w.field(3, &rest.to_vec());
    emu_core::StateHash::of(&w.into_bytes()).0
}

/// The last common point of the two spines where the runs are the same, and the first where they are not.
fn by_spines(a: &Recording, b: &Recording, start: Ticks, end: Ticks) -> (Ticks, Option<Ticks>) {
    let mut same = start;
    for point in a.spine().iter().filter(|p| p.at.tick >= start && p.at.tick <= end) {
        let others = b.spine();
        let Ok(i) = others.binary_search_by_key(&point.at, |p| p.at) else { continue };
        if others[i].hash != point.hash {
            return (same, Some(point.at.tick));
        }
        same = point.at.tick;
    }
    (same, None)
}

impl Side {
    fn new(name: String, mut machine: Machine, recording: &Recording) -> Side {
        let mut timeline = Timeline::new(&mut machine.system, TimelineSettings::default());
        // The spine is not compared: another machine need not be the recorded one.
        timeline.expect(recording.log().to_vec(), recording.begin().inputs, Vec::new(), recording.end().tick);
        Side { name, machine, timeline }
    }

    fn go(&mut self, tick: Ticks) -> Result<(), Failure> {
        self.timeline.seek(&mut self.machine.system, tick).map_err(|e| match self.timeline.divergence() {
            Some(d) => Failure { message: describe_divergence(d), code: DIVERGED },
            None => Failure::host(format!("{}: {e}", self.name)),
        })
    }
}

fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn both(a: &mut Side, b: &mut Side, tick: Ticks, look: Look) -> Result<bool, Failure> {
    a.go(tick)?;
    b.go(tick)?;
    Ok(look(&a.machine.system) == look(&b.machine.system))
}

/// Narrows down where the runs part, between a tick where they are the same and one where they may differ, and tells.
fn report(
    mut a: Side,
    mut b: Side,
    (mut same, mut differs): (Ticks, Ticks),
    look: Look,
) -> Result<(u8, [Side; 2]), Failure> {
    if !both(&mut a, &mut b, same, look)? {
        line(&format!("they differ from the start, tick {}, on", same.0));
        tell(&mut a, &mut b);
        return Ok((DIFFERENT, [a, b]));
    }
    if both(&mut a, &mut b, differs, look)? {
        line(&format!("the same up to tick {}", differs.0));
        return Ok((0, [a, b]));
    }
    while differs.since(same) > 1 {
        let half = Ticks(same.0 + differs.since(same) / 2);
        if both(&mut a, &mut b, half, look)? {
            same = half;
        } else {
            differs = half;
        }
    }
    both(&mut a, &mut b, same, look)?;
    line(&format!("the same up to tick {}; the next step makes the difference:", same.0));
    for side in [&mut a, &mut b] {
        let next = describe_next(&mut side.machine.system);
        line(&format!("  {}: {next}", side.name));
    }
    both(&mut a, &mut b, differs, look)?;
    tell(&mut a, &mut b);
    Ok((DIFFERENT, [a, b]))
}

/// Tells what of the machines differs where they stand.
fn tell(a: &mut Side, b: &mut Side) {
    tell_of([(&a.name, &a.machine.system), (&b.name, &b.machine.system)], line);
}

/// Tells what of two machines differs, line by line.
pub(crate) fn tell_of(machines: [(&str, &System); 2], line: impl Fn(&str)) {
    let [(_, a), (_, b)] = machines;
    let (x, y) = (parts(a), parts(b));
    let names = a.part_names();
    let differing: Vec<&str> =
        names.iter().zip(x.iter().zip(&y)).filter(|(_, (x, y))| x != y).map(|n| n.0.as_str()).collect();
    line(&format!("then differ: {}", if differing.is_empty() { "nothing".into() } else { differing.join(", ") }));
    for (name, system) in machines {
        line(&format!("  {name}: {}", describe_registers(system)));
    }
    let (m, n) = (&a.mem, &b.mem);
    let len = m.pool_len().min(n.pool_len());
    let page = (0..len / 4096).map(|p| p * 4096).find(|&p| m.pool(p, 4096) != n.pool(p, 4096));
    if let Some(page) = page {
        let (x, y) = (m.pool(page, 4096), n.pool(page, 4096));
        if let Some(at) = x.iter().zip(y).position(|(x, y)| x != y) {
            let at = page + at as u64;
            line(&format!("  memory at {at:#x}: {:02x}, and {:02x}", m.pool(at, 1)[0], n.pool(at, 1)[0]));
        }
    }
}

/// The chunks of a machine's state, but for disks; in the order of [`System::part_names`].
fn parts(sys: &System) -> Vec<Vec<u8>> {
    let mut w = StateWriter::new();
    sys.save(&mut w);
    let bytes = w.into_bytes();
    let mut rest = &bytes[..];
    let mut all = Vec::new();
    while let Some(len) = rest.get(6..10).and_then(|l| l.try_into().ok()).map(u32::from_le_bytes) {
        let Some((chunk, behind)) = rest.split_at_checked(10 + len as usize) else { break };
        all.push(chunk.to_vec());
        rest = behind;
    }
    all
}
