//! `emu conform --against` and `--fuzz`: another CPU under test, and random cases.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Args;
use emu_conform::against::{Against, Patience};
use emu_conform::file::write_atomically;
use emu_conform::fuzz::{self, Class, Common, Options, Report, text, vector};
use emu_conform::run::model_name;
use emu_conform::{Case, EmuTarget, End, Event, Model, Outcome, State, Target, TargetError};
use emu_core::cpu::model::{FEATURES, Kind};

use super::args::ConformArgs;
use super::progress::Bar;
use super::{BELOW, FILES};
use crate::run::Failure;

/// A span of time: `90`, `90s`, `500ms`, `10m`, `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let wrong = || format!("`{text}` is no time like 90s, 500ms, 10m or 1h");
    let n: u64 = number.parse().map_err(|_| wrong())?;
    let ms = match unit {
        "ms" => Some(n),
        "" | "s" => n.checked_mul(1000),
        "m" => n.checked_mul(60_000),
        "h" => n.checked_mul(3_600_000),
        _ => None,
    };
    ms.filter(|ms| (1..=1_000_000_000).contains(ms)).map(Duration::from_millis).ok_or_else(wrong)
}

fn class(text: &str) -> Result<Class, String> {
    let names = || Class::ALL.iter().map(|c| c.name()).collect::<Vec<_>>().join(", ");
    Class::by_name(text).ok_or_else(|| format!("`{text}` is no class of instructions; there are {}", names()))
}

/// Another CPU, by its adapter.
#[derive(Debug, Args)]
pub(crate) struct AgainstArgs {
    /// Test the CPU behind this command instead of emu (docs/FORMAT-conform-protocol.md)
    #[arg(long, value_name = "CMD")]
    pub(crate) against: Option<String>,
    /// Time that the adapter has for one case
    #[arg(long, value_parser = duration, value_name = "TIME", default_value = "2s")]
    pub(crate) case_timeout: Duration,
    /// How many times an adapter that failed is started again
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) restarts: u32,
}

/// Random cases.
#[derive(Debug, Args)]
pub(crate) struct FuzzArgs {
    /// Draw random instructions and states, and compare emu with the CPU behind --against (else with the host's own, by
    /// emu-native-cpu)
    #[arg(long, conflicts_with_all = ["suites", "shard", "jobs", "junit", "html"])]
    pub(crate) fuzz: bool,
    /// Seed: the same one draws the same cases; 1, unless given
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Number of the first case; 0, unless given
    #[arg(long, value_name = "N")]
    pub(crate) first: Option<u64>,
    /// Stop after this time; without --time and --count after 60s
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub(crate) time: Option<Duration>,
    /// Stop after this many cases
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Classes of instructions to draw, with commas between them; all, unless given
    #[arg(long, value_parser = class, value_name = "CLASS", value_delimiter = ',')]
    pub(crate) only: Vec<Class>,
    /// Go on after the first difference; each instruction is reported once
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Folder for the vectors of what is found; fuzz-found, unless given
    #[arg(long, value_name = "FOLDER")]
    pub(crate) found: Option<PathBuf>,
}

impl FuzzArgs {
    /// An option that means nothing without `--fuzz`, and was given without it.
    fn idle(&self) -> Option<&'static str> {
        let given = [
            (self.seed.is_some(), "--seed"),
            (self.first.is_some(), "--first"),
            (self.time.is_some(), "--time"),
            (self.count.is_some(), "--count"),
            (!self.only.is_empty(), "--only"),
            (self.keep_going, "--keep-going"),
            (self.found.is_some(), "--found"),
        ];
        given.into_iter().find(|g| g.0 && !self.fuzz).map(|g| g.1)
    }

    /// Refuses options of `--fuzz` without it.
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.idle()
            .map_or(Ok(()), |name| Err(Failure::usage(format!("{name} is an option of --fuzz, which is not given"))))
    }
}

/// Starts the adapter of `--against`.
pub(super) fn start(command: &str, args: &AgainstArgs) -> Result<Against, Failure> {
    let patience = Patience { case: args.case_timeout, restarts: args.restarts, ..Patience::default() };
    Against::start(command, patience).map_err(|e| Failure::host(e.to_string()))
}

/// One adapter for all models of a run: there may be only one of what it stands for.
pub(super) struct Shared(pub(super) Arc<Mutex<Against>>);

impl Shared {
    fn with<T>(&self, f: impl FnOnce(&mut Against) -> Result<T, TargetError>) -> Result<T, TargetError> {
        let mut adapter = self.0.lock().map_err(|_| TargetError::Broken("the adapter is not to be had".into()))?;
        f(&mut adapter)
    }
}

impl Target for Shared {
    fn name(&self) -> String {
        self.with(|a| Ok(a.name())).unwrap_or_default()
    }
    fn load(&mut self, case: &Case) -> Result<(), TargetError> {
        self.with(|a| a.load(case))
    }
    fn step(&mut self, end: End) -> Result<Event, TargetError> {
        self.with(|a| a.step(end))
    }
    fn read(&mut self, state: &mut State) -> Result<(), TargetError> {
        self.with(|a| a.read(state))
    }
    fn run(&mut self, case: &Case, outcome: &mut Outcome) -> Result<(), TargetError> {
        self.with(|a| a.run(case, outcome))
    }
    fn strayed(&mut self) -> bool {
        self.with(|a| Ok(a.strayed())).unwrap_or(false)
    }
}

/// The adapter for the host's own CPU: beside emu, or wherever commands are found.
fn native() -> String {
    let beside = std::env::current_exe().ok().map(|emu| emu.with_file_name("emu-native-cpu")).filter(|p| p.exists());
    beside.map_or("emu-native-cpu".into(), |path| format!("\"{}\"", path.display()))
}

/// Runs `emu conform --fuzz`; returns the exit code.
pub(super) fn fuzz(args: &ConformArgs) -> Result<u8, Failure> {
    let command = args.against.against.clone().unwrap_or_else(native);
    let mut reference = start(&command, &args.against)?;
    let hello = reference.hello().clone();
    let given = args.cpu.unwrap_or_else(|| {
        // All that both have; an adapter that does not say has what the model has.
        let all = FEATURES.iter().filter(|f| hello.features.is_some() && hello.has(f.1));
        all.fold(Model::new(Kind::X64V3), |model, f| model.with(f.0, true))
    });
    let features: BTreeSet<String> =
        FEATURES.iter().filter(|f| given.has(f.0) && hello.has(f.1)).map(|f| f.1.to_owned()).collect();
    let mut emu = EmuTarget::new(given);
    if args.no_fast_handlers {
        emu = emu.without_fast_handlers();
    }
    let f = &args.fuzz;
    let time = f.time.or_else(|| f.count.is_none().then_some(Duration::from_secs(60)));
    let (seed, count, first) = (f.seed.unwrap_or(1), f.count, f.first.unwrap_or(0));
    let options = Options { seed, first, count, time, only: f.only.clone(), keep_going: f.keep_going };
    let bar = Bar::new(args.output.quiet).endless();
    let mut report = Report::default();
    let common = Common { bits: fuzz::bits_of(&hello.modes), features };
    let ended = fuzz::run(&options, &common, &mut reference, &mut emu, &mut report, &mut |r| {
        bar.fuzzing(r.next - first, r.differing);
        true
    });
    bar.finish();
    if let Err(e) = ended {
        report.failures.push(e.to_string());
    }
    let emu_name = format!("emu {}", model_name(&given));
    say!("emu: {} against {emu_name}, seed {seed}, next case {}", hello.name, report.next);
    tell(args, &report, seed, (&hello.name, &emu_name))
}

/// Prints and stores what a run has found; returns the exit code.
fn tell(args: &ConformArgs, report: &Report, seed: u64, who: (&str, &str)) -> Result<u8, Failure> {
    let folder = args.fuzz.found.as_deref().unwrap_or(Path::new("fuzz-found"));
    print_text(&text::text(report, ("silicon", "emu")))?;
    for bits in [32, 64] {
        let lines: Vec<String> =
            report.findings.iter().filter(|f| f.bits == bits).map(|f| f.vector.to_string()).collect();
        if lines.is_empty() {
            continue;
        }
        let head = vector::header(bits, lines.len(), who.0, seed);
        let path = folder.join(format!("fuzz{bits}-seed{seed}-{}.jsonl", report.findings[0].number));
        store(&path, format!("{head}\n{}\n", lines.join("\n")).as_bytes())?;
        say!("emu: stored {}; `emu conform {}` runs it", path.display(), path.display());
    }
    if let Some(path) = &args.output.json {
        let json = text::to_json(report, seed, who);
        write_atomically(path, format!("{json:#}\n").as_bytes()).map_err(Failure::host)?;
    }
    if !report.failures.is_empty() || report.total().cases == 0 {
        return Ok(FILES);
    }
    Ok(if report.differing > 0 { BELOW } else { 0 })
}

fn store(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| Failure::host(format!("{}: {e}", folder.display())))?;
    }
    write_atomically(path, bytes).map_err(Failure::host)
}

fn print_text(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::host(format!("can't write the report to the standard output: {e}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, ms) in [("5", 5000), ("5s", 5000), ("500ms", 500), ("2m", 120_000), ("1h", 3_600_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "0", "s", "5d", "-1s", "99999999999999999999s", "400h"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(class("x87").is_ok());
        assert!(class("fpu").unwrap_err().contains("x87, mmx"));
    }
}
