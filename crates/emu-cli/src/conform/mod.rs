//! `emu conform` and `emu report`.

mod args;
mod fuzz;
mod progress;

pub(crate) use args::{ConformArgs, ReportAction, ReportArgs};

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use emu_conform::file::write_atomically;
use emu_conform::report::text::{Detail, text};
use emu_conform::report::{History, Report, basis_points, html, junit};
use emu_conform::run::{Options, run};
use emu_conform::suite::find;
use emu_conform::{EmuTarget, Model, Target, TargetError};

use crate::run::Failure;
use args::OutputArgs;
use progress::Bar;

/// A file could not be used, or the report not be written.
const FILES: u8 = 1;
/// Fewer cases pass than the thresholds want.
const BELOW: u8 = 10;

/// The part of `emu conform --help` that lists the exit codes.
pub(crate) fn exit_codes_help() -> &'static str {
    "Exit codes:\n\
     \x20   0  the thresholds are reached\n\
     \x20   1  a file of a suite can't be used, the CPU under test does not answer, or a report can't be written\n\
     \x20   2  the command line is wrong\n\
     \x20  10  fewer cases pass than the thresholds want"
}

/// Runs suites; returns the exit code.
pub(crate) fn conform(args: &ConformArgs) -> Result<u8, Failure> {
    args.fuzz.check()?;
    if args.fuzz.fuzz {
        return fuzz::fuzz(args);
    }
    let mut problems = Vec::new();
    let suites = find(&args.suites, &mut problems);
    let decoded = args.no_fast_handlers;
    let adapter = args.against.against.as_deref().map(|command| fuzz::start(command, &args.against)).transpose()?;
    let emu_name = if decoded { "emu without fast handlers" } else { "emu" };
    let target_name = adapter.as_ref().map_or(emu_name.to_owned(), Target::name);
    let alone = adapter.is_some().then_some(1);
    let adapter = adapter.map(|a| Arc::new(Mutex::new(a)));
    let make_target = move |model: Model| -> Result<Box<dyn Target>, TargetError> {
        if let Some(adapter) = &adapter {
            return Ok(Box::new(fuzz::Shared(adapter.clone())));
        }
        let target = EmuTarget::new(model);
        Ok(Box::new(if decoded { target.without_fast_handlers() } else { target }))
    };
    let options = Options {
        model: args.cpu,
        shard: args.shard,
        failures: args.output.failures,
        // One adapter runs one case at a time.
        jobs: alone.or(args.jobs).unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
        seconds: args.timeout,
        reference: args.reference.clone(),
        target_name,
        make_target: &make_target,
    };
    let bar = Bar::new(args.output.quiet);
    let mut report = run(&suites, &options, &bar);
    bar.finish();
    report.problems.splice(0..0, problems.iter().map(ToString::to_string));
    finish(&report, &args.output)
}

/// Prints and writes a report; returns the exit code.
fn finish(report: &Report, output: &OutputArgs) -> Result<u8, Failure> {
    let written = [
        output.json.as_deref().map(|path| put(path, &report.to_json())),
        output.junit.as_deref().map(|path| junit(report).map_err(Failure::host).and_then(|xml| put(path, &xml))),
        output.html.as_deref().map(|path| put_html(path, report, output)),
        Some(print(report, output)),
    ];
    let failures: Vec<Failure> = written.into_iter().flatten().filter_map(Result::err).collect();
    failures.iter().for_each(|f| say!("emu: {}", f.message));
    if !failures.is_empty() || !report.problems.is_empty() {
        return Ok(FILES);
    }
    Ok(if reaches(report, output) { 0 } else { BELOW })
}

fn print(report: &Report, output: &OutputArgs) -> Result<(), Failure> {
    let detail = Detail { all: output.all, cases: output.failures, rows: !output.quiet };
    let mut out = std::io::stdout().lock();
    match out.write_all(text(report, detail).as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::host(format!("can't write the report to the standard output: {e}")))
        }
        _ => Ok(()),
    }
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write_atomically(path, bytes).map_err(Failure::host)
}

/// Enters the run into the history, if it is a whole one, and writes the page.
fn put_html(path: &Path, report: &Report, output: &OutputArgs) -> Result<(), Failure> {
    let beside = || path.with_extension("history.json");
    let file = output.history.clone().unwrap_or_else(beside);
    let mut history = History::read(&file).map_err(Failure::host)?;
    if report.shard.is_none() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        history.add(report, now.map_or(0, |d| d.as_secs()));
    }
    put(path, html(report, &history).as_bytes())?;
    if report.shard.is_none() { put(&file, &history.to_json()) } else { Ok(()) }
}

/// Whether the thresholds are reached; says so if not.
fn reaches(report: &Report, output: &OutputArgs) -> bool {
    let sum = report.tally();
    if sum.cases == 0 && report.shard.is_none() {
        say!("emu: no case ran");
        return false;
    }
    let mut good = true;
    for (name, passed, wanted) in
        [("masked", sum.masked, output.threshold), ("strict", sum.strict, output.strict_threshold)]
    {
        if basis_points(passed, sum.cases) < wanted {
            let percent = |p: u64| format!("{}.{:02}", p / 100, p % 100);
            let (has, wants) = (percent(basis_points(passed, sum.cases)), percent(wanted));
            say!("emu: {name} result {has} % is below the threshold of {wants} %");
            good = false;
        }
    }
    good
}

/// `emu report`; returns the exit code.
pub(crate) fn report(args: &ReportArgs) -> Result<u8, Failure> {
    let ReportAction::Merge(args) = &args.action;
    let mut shards = Vec::new();
    for path in &args.reports {
        let bytes = std::fs::read(path).map_err(|e| Failure::host(format!("{}: {e}", path.display())))?;
        let report = Report::from_json(&bytes).map_err(|e| Failure::host(format!("{}: {e}", path.display())))?;
        shards.push((path.display().to_string(), report));
    }
    let merged = emu_conform::report::merge(shards, args.output.failures).map_err(Failure::host)?;
    finish(&merged, &args.output)
}
