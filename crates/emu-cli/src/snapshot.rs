//! `emu snapshot`: states of a machine as files.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args, Subcommand};
use emu_core::timeline::TimelineSettings;
use emu_core::{Ticks, Timeline};
use emu_machine::recording::{Form, Snapshot};

use crate::replay::open;
use crate::run::choose::describe_machine;
use crate::run::exit::{DIVERGED, Failure, describe_divergence};
use crate::run::{RunArgs, run, script_of};

/// Options of `emu snapshot`.
#[derive(Debug, Args)]
pub(crate) struct SnapshotArgs {
    #[command(subcommand)]
    verb: SnapshotVerb,
}

#[derive(Debug, Subcommand)]
enum SnapshotVerb {
    /// Write the state that a recording has at a tick. (Of a running machine: Ctrl-] t, or `emu run --snapshot FILE`.)
    Save {
        /// Recording that `emu run --record` wrote
        #[arg(value_name = "RECORDING")]
        recording: PathBuf,
        /// The snapshot
        #[arg(value_name = "SNAPSHOT")]
        file: PathBuf,
        /// The tick; without it, the end
        #[arg(long, value_name = "TICK")]
        at: Option<u64>,
    },
    /// Say what snapshots hold.
    List {
        /// Snapshots, or folders with some; without any, this folder
        #[arg(value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Go on from a snapshot; the same as `emu run SNAPSHOT`, with its options.
    Restore(Box<RunArgs>),
}

/// Obeys; returns the exit code.
pub(crate) fn snapshot(args: SnapshotArgs, matches: &ArgMatches) -> Result<u8, Failure> {
    match args.verb {
        SnapshotVerb::Save { recording, file, at } => save(&recording, &file, at),
        SnapshotVerb::List { paths, json } => list(&paths, json),
        SnapshotVerb::Restore(mut args) => {
            let Some(image) = args.image.take() else {
                return Err(Failure::usage("which snapshot? emu snapshot restore FILE"));
            };
            args.restore = Some(image.path);
            let inner = matches.subcommand().and_then(|(_, m)| m.subcommand());
            run(*args, inner.map_or_else(|| Ok(Vec::new()), |(_, m)| script_of(m))?)
        }
    }
}

fn save(recording: &Path, file: &Path, at: Option<u64>) -> Result<u8, Failure> {
    let recording = open(recording, false)?;
    let end = recording.end().tick;
    let tick = at.map_or(end, Ticks);
    if tick > end || tick < recording.begin().tick {
        let (from, to) = (recording.begin().tick.0, end.0);
        return Err(Failure::usage(format!("--at {}: the recording has ticks {from} to {to}", tick.0)));
    }
    let mut machine = recording.build()?;
    let start = recording.load_checkpoint(&mut machine, tick).map_err(Failure::file)?;
    let mut timeline = Timeline::new(&mut machine.system, TimelineSettings::default());
    timeline.expect(recording.log().to_vec(), start.inputs, recording.spine().to_vec(), end);
    timeline.seek(&mut machine.system, tick).map_err(|e| match timeline.divergence() {
        Some(d) => Failure { message: describe_divergence(d), code: DIVERGED },
        None => Failure::host(e),
    })?;
    Snapshot::save(file, &machine).map_err(Failure::file)?;
    Ok(0)
}

/// Snapshots of a folder, by name.
fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let host = |e: std::io::Error| Failure::host(format!("{}: {e}", folder.display()));
    let all = std::fs::read_dir(folder).map_err(host)?.map(|entry| entry.map(|e| e.path()));
    let mut files = all.collect::<Result<Vec<_>, _>>().map_err(host)?;
    files.retain(|p| Form::of_file(p) == Some(Form::Snapshot));
    files.sort();
    Ok(files)
}

fn list(paths: &[PathBuf], json: bool) -> Result<u8, Failure> {
    let here = [PathBuf::from(".")];
    let mut files = Vec::new();
    for path in if paths.is_empty() { &here[..] } else { paths } {
        if path.is_dir() { files.extend(in_folder(path)?) } else { files.push(path.clone()) }
    }
    let mut failed = None;
    let mut rows = Vec::new();
    for file in files {
        match Snapshot::open(&file) {
            Ok(snapshot) => rows.push(row(&file, &snapshot)),
            Err(e) => {
                say!("emu: {e}");
                failed = Some(Failure::file("not all of them can be read"));
            }
        }
    }
    let mut out = std::io::stdout();
    if json {
        let _ = writeln!(out, "{}", serde_json::Value::Array(rows));
    } else {
        for row in &rows {
            let text = |key: &str| row[key].as_str().map_or_else(|| row[key].to_string(), str::to_owned);
            let seconds = row["seconds"].as_f64().unwrap_or_default();
            let (name, tick, bytes) = (text("file"), text("tick"), text("bytes"));
            let _ = writeln!(out, "{name}: tick {tick} ({seconds:.3} s), {}, {bytes} bytes", text("machine"));
        }
    }
    failed.map_or(Ok(0), Err)
}

fn row(file: &Path, snapshot: &Snapshot) -> serde_json::Value {
    let recording = snapshot.recording();
    let (machine, rate) = recording.machine().map_or((None, 0), |c| (Some(describe_machine(&c)), c.rate.hz()));
    serde_json::json!({
        "file": file.to_string_lossy(),
        "tick": snapshot.tick().0,
        "seconds": snapshot.tick().0 as f64 / rate.max(1) as f64,
        "machine": machine,
        "bytes": std::fs::metadata(file).map_or(0, |m| m.len()),
        "emu": recording.recorded_by(),
    })
}
