//! Replays a recording with nothing around it: no display, no signals, no threads. `scripts/cross` runs it under WebAssembly.
//!
//! `replay FILE` prints the tick and the hash at the end, and at how many points of the spine the run was the same.
use std::process::ExitCode;

use crossbeam_channel::unbounded;
use emu_core::timeline::TimelineSettings;
use emu_machine::host::{End, Replay, Runner, RunnerOptions, Script};
use emu_machine::recording::Recording;

fn main() -> ExitCode {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("usage: replay FILE");
        return ExitCode::from(2);
    };
    match replay(path.as_ref()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("replay: {error}");
            ExitCode::from(3)
        }
    }
}

/// Whether the run was the same as recorded.
fn replay(path: &std::path::Path) -> Result<bool, Box<dyn std::error::Error>> {
    let recording = Recording::open(path)?;
    let machine = recording.build()?;
    let options = RunnerOptions {
        pace: false,
        end_with_script: false,
        script: Script::new(Vec::new(), machine.rate()),
        attended: false,
        timeout: None,
        reset_on_triple_fault: false,
        serials: Vec::new(),
        debug: None,
        show: None,
        timeline: Some(TimelineSettings { budget: 64 << 20, ..TimelineSettings::default() }),
        replay: Some(Replay {
            log: recording.log().to_vec(),
            spine: recording.spine().to_vec(),
            start: recording.begin(),
            end: recording.end(),
        }),
    };
    let (_commands, inbox) = unbounded();
    let mut runner = Runner::new(machine, options, inbox);
    let end = runner.run();
    let (good, all) = runner.verified();
    let (machine, _) = runner.finish();
    eprintln!("tick {} state {}, {good} of {all} points: {end:?}", machine.system.now().0, machine.system.hash());
    Ok(end == End::Replayed)
}
