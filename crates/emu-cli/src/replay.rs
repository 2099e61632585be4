//! `emu replay`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use crossbeam_channel::unbounded;
use emu_core::timeline::{Mark, TimelineSettings};
use emu_core::{System, Ticks, Timeline};
use emu_machine::config::SerialTarget;
use emu_machine::host::{Action, End, Replay, Runner, RunnerOptions, Script, SerialLink};
use emu_machine::recording::{Recording, Tail};
use emu_machine::{Machine, describe_cpu};

use crate::opinion::explain;
use crate::run::args::{Display, TimelineArg, seconds, serial, timeline, yes_no};
use crate::run::exit::{DAMAGED, Failure, code_of, describe};
use crate::run::{display_of, open_serials, signals};
use crate::terminal::{Terminal, restore_on_panic};

/// Where a replay begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartAt {
    /// At the last state of the file that is not behind this tick.
    Tick(u64),
    /// At the end of the recording.
    End,
}

fn start_at(text: &str) -> Result<StartAt, String> {
    match text {
        "end" => Ok(StartAt::End),
        _ => text.parse().map(StartAt::Tick).map_err(|_| format!("`{text}` is neither a tick nor `end`")),
    }
}

/// Options of `emu replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Recording that `emu run --record` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Begin with the last state in the file at or before this tick, or at the end
    #[arg(long, value_parser = start_at, value_name = "TICK|end")]
    start: Option<StartAt>,
    /// Where the screen is shown; without it: the terminal, if there is one
    #[arg(long, value_enum)]
    display: Option<Display>,
    /// Hold guest time back to real time (default with a display)
    #[arg(long, value_name = "yes|no", num_args = 0..=1, require_equals = true, default_missing_value = "yes", value_parser = yes_no)]
    pace: Option<bool>,
    /// Where what the guest sends over COM1, then COM2, goes; targets as for `emu run`
    #[arg(long, value_parser = serial, value_name = "TARGET")]
    serial: Vec<SerialTarget>,
    /// Where bytes written to ports E9h and 402h go
    #[arg(long, value_parser = serial, value_name = "TARGET")]
    debug_console: Option<SerialTarget>,

    /// Run until this tick
    #[arg(long = "until", value_name = "TICK", help_heading = "Script, in the order given", id = "until_ticks")]
    until: Vec<u64>,
    /// Wait until TEXT is on the screen or has come over a serial port
    #[arg(long, value_name = "TEXT", help_heading = "Script, in the order given", allow_hyphen_values = true)]
    wait_for: Vec<String>,
    /// Write a picture of the screen as PNG
    #[arg(long, value_name = "PNG", help_heading = "Script, in the order given")]
    screenshot: Vec<PathBuf>,
    /// Write the text of the screen; - is standard output
    #[arg(long, value_name = "TXT", help_heading = "Script, in the order given")]
    screen_text: Vec<PathBuf>,

    /// Host memory for the way back in time, like 512M
    #[arg(long, value_parser = timeline, value_name = "SIZE", default_value = "512M")]
    timeline: TimelineArg,
    /// End the replay after this much real time
    #[arg(long, value_parser = seconds, value_name = "SECONDS")]
    timeout: Option<f64>,
    /// Print the hash of the machine's state at the end
    #[arg(long)]
    state_hash: bool,
    /// Say nothing that is not an error
    #[arg(long, short)]
    quiet: bool,
}

impl ReplayArgs {
    fn uses_stdio(&self) -> bool {
        self.serial.iter().chain(&self.debug_console).any(|t| *t == SerialTarget::Stdio)
    }
}

/// Replays a recording as the arguments say; returns the exit code.
pub(crate) fn replay(args: &ReplayArgs, actions: Vec<Action>) -> Result<u8, Failure> {
    let display = display_of(args.display, args.uses_stdio())?;
    let recording = open(&args.file, args.quiet)?;
    let mut machine = recording.build()?;
    let start = match args.start {
        None => recording.begin(),
        Some(at) => {
            let tick = if let StartAt::Tick(t) = at { Ticks(t) } else { recording.end().tick };
            recording.load_checkpoint(&mut machine, tick).map_err(Failure::file)?
        }
    };
    let actions = at_the_end(args, actions, recording.end().tick)?;
    introduce(args, &recording, start);
    let (commands, inbox) = unbounded();
    let serials = open_serials(&args.serial, &commands, &mut Vec::new())?;
    let debug = args.debug_console.as_ref().map(|t| SerialLink::open(t, u8::MAX, &commands)).transpose();
    signals::forward(&commands).map_err(|e| Failure::host(format!("signals: {e}")))?;
    let (show, terminal) = match display {
        Display::None => (None, None),
        Display::Terminal => {
            restore_on_panic();
            let (show, shows) = unbounded();
            let terminal = Terminal::start(shows, commands.clone());
            (Some(show), Some(terminal.map_err(|e| Failure::host(format!("terminal: {e}")))?))
        }
    };
    let options = RunnerOptions {
        pace: args.pace.unwrap_or(terminal.is_some()),
        end_with_script: !actions.is_empty() && terminal.is_none(),
        script: Script::new(actions, machine.rate()),
        attended: terminal.is_some(),
        timeout: args.timeout.map(Duration::from_secs_f64),
        reset_on_triple_fault: false,
        serials,
        debug: debug.map_err(Failure::host)?,
        show,
        timeline: args.timeline.settings(false).or(Some(TimelineSettings::default())),
        replay: Some(Replay {
            log: recording.log().to_vec(),
            spine: recording.spine().to_vec(),
            start,
            end: recording.end(),
        }),
    };
    let mut runner = Runner::new(machine, options, inbox);
    let end = runner.run();
    let unfinished = (!runner.script().is_finished()).then(|| runner.script().describe());
    let skipped = recording.spine().iter().filter(|s| s.at < start).count();
    let (good, all) = runner.verified();
    let verified = (good.saturating_sub(skipped), all - skipped);
    if let Some(t) = terminal {
        t.finish();
    }
    if let Some(line) = describe(&end, unfinished.as_deref()) {
        say!("emu: {line}");
    }
    if let (End::Diverged(d), Some((machine, timeline))) = (&end, runner.travel()) {
        explain(&recording, machine, timeline, d);
    }
    let (machine, _) = runner.finish();
    conclude(args, machine, &end, verified);
    Ok(match (code_of(&end, unfinished.is_some()), recording.tail()) {
        (0, _) if end == End::Replayed && unfinished.is_some() => code_of(&End::PowerOff, true),
        (0, Tail::Damaged { .. }) if end == End::Replayed => DAMAGED,
        (code, _) => code,
    })
}

/// What a script looks at without saying when, it looks at where the recording ends.
fn at_the_end(args: &ReplayArgs, mut actions: Vec<Action>, end: Ticks) -> Result<Vec<Action>, Failure> {
    if let Some(late) = args.until.iter().find(|&&t| t > end.0) {
        return Err(Failure::usage(format!("--until {late}: the recording ends at tick {}", end.0)));
    }
    let waits = |a: &Action| matches!(a, Action::UntilTicks(_) | Action::WaitFor(_));
    if !actions.is_empty() && !actions.iter().any(waits) {
        actions.insert(0, Action::UntilTicks(end.0));
    }
    Ok(actions)
}

/// Opens the recording in `path`, and says what it lacks; how much of its run is there only if not `quiet`.
pub(crate) fn open(path: &Path, quiet: bool) -> Result<Recording, Failure> {
    let recording = Recording::open(path).map_err(Failure::file)?;
    let (file, tick) = (path.display(), recording.end().tick.0);
    match recording.tail() {
        Tail::Damaged { at, what } => say!("emu: {file} is damaged at byte {at} ({what}): it plays to tick {tick}"),
        Tail::Cut { at } if !quiet => {
            say!("emu: {file} ends at byte {at}, before its run did: it plays to tick {tick}");
        }
        _ => {}
    }
    Ok(recording)
}

/// Says what the file is.
fn introduce(args: &ReplayArgs, recording: &Recording, start: Mark) {
    let file = args.file.display();
    let end = recording.end();
    if !args.quiet {
        let from = if start.tick == Ticks(0) { String::new() } else { format!(" from tick {}", start.tick.0) };
        let by = recording.recorded_by();
        say!("emu: replaying {file}{from} to tick {}: {} inputs, recorded by emu {by}", end.tick.0, end.inputs);
    }
}

/// Gives the timeline of a machine that stands where the recording begins the checkpoints of the file: what comes then is
/// at once anywhere near them. A file without is as good, but slower.
pub(crate) fn learn(recording: &Recording, system: &System, timeline: &mut Timeline) {
    if let Err(e) = recording.give_checkpoints(system, timeline, recording.end().tick) {
        say!("emu: {e}: it is left aside, what it would have said takes longer");
    }
}

/// Says which checkpoints were found out.
pub(crate) fn tell_lies(file: &Path, timeline: &mut Timeline) {
    for tick in timeline.take_lies() {
        let file = file.display();
        say!("emu: {file}: the checkpoint at tick {} is not what its hash says: it was left aside", tick.0);
    }
}

/// Says how it ended.
fn conclude(args: &ReplayArgs, mut machine: Machine, end: &End, verified: (usize, usize)) {
    if !args.quiet && matches!(end, End::Replayed | End::ScriptDone) {
        let (good, all) = verified;
        say!("emu: the same run as recorded, at {good} of {all} points");
    }
    if matches!(end, End::TripleFault | End::Dead) {
        say!("{}", describe_cpu(&mut machine.system).trim_end());
    }
    if let (true, End::Diverged(d)) = (args.state_hash, end) {
        say!("emu: tick {} state {}", d.expected.at.tick.0, d.found);
    } else if args.state_hash {
        say!("emu: tick {} state {}", machine.system.now().0, machine.system.hash());
    }
}
