//! `emu diff` and `emu bisect`: where two runs part.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use emu_core::cpu::Model;
use emu_core::{StateWriter, System, Ticks};
use emu_machine::config::{parse_cpu, parse_size};
use emu_machine::recording::Recording;

use crate::replay::{learn, open, tell_lies};
use crate::run::exit::Failure;
use crate::sides::{Side, everything, report};

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
    #[arg(long, value_name = "PROGRAM", conflicts_with_all = ["cpu", "mem", "seed", "bios", "decoded"])]
    emu: Option<PathBuf>,
    /// CPU model of the other machine, as for `emu run`
    #[arg(long, value_name = "MODEL", value_parser = model, required_unless_present_any = ["emu", "mem", "seed", "bios", "decoded"])]
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
    /// The same machine, by another way through the engine: every instruction from its decoded form. A difference is a defect
    /// of emu
    #[arg(long, conflicts_with_all = ["cpu", "mem", "seed", "bios"])]
    decoded: bool,
}

fn model(text: &str) -> Result<Model, String> {
    parse_cpu(text).map_err(|e| e.to_string())
}

/// Compares two recordings; returns the exit code.
pub(crate) fn diff(args: &DiffArgs) -> Result<u8, Failure> {
    let (a, b) = (open(&args.a, false)?, open(&args.b, false)?);
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
    let mut sides = [side(&args.a, &a)?, side(&args.b, &b)?];
    let code = report(&mut sides, (same, differs.unwrap_or(end)), everything, &line)?;
    for (path, side) in [&args.a, &args.b].into_iter().zip(&mut sides) {
        tell_lies(path, &mut side.timeline);
    }
    Ok(code)
}

/// Runs a recording's inputs on its own machine and on another; returns the exit code.
pub(crate) fn bisect(args: &BisectArgs) -> Result<u8, Failure> {
    let recording = open(&args.file, false)?;
    if let Some(other) = &args.emu {
        return crate::builds::between(&args.file, &recording, other);
    }
    if args.decoded {
        let side = |name: &str| Ok::<_, Failure>(Side::new(name.into(), recording.build()?, &recording));
        let mut sides = [side("handlers")?, side("decoded forms")?.decoded()];
        return report(&mut sides, (recording.begin().tick, recording.end().tick), everything, &line);
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
    let mut sides =
        [Side::new("as recorded".into(), machine, &recording), Side::new("the other".into(), other, &recording)];
    report(&mut sides, (Ticks(0), recording.end().tick), program, &line)
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

fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
