//! `emu run`.

pub(crate) mod args;
pub(crate) mod choose;
pub(crate) mod exit;
mod foreign;
mod profile;
pub(crate) mod signals;

pub(crate) use args::{RunArgs, script_of};
pub(crate) use exit::{Failure, exit_codes_help, plain};

use std::io::IsTerminal;
use std::time::Duration;

use crossbeam_channel::{Sender, unbounded};
use emu_core::{Input, Ticks};
use emu_machine::host::{Action, Command, End, Runner, RunnerOptions, Script, SerialLink};
use emu_machine::recording::Recorder;
use emu_machine::{Machine, describe_death};

use crate::terminal::{Terminal, restore_on_panic};
use args::Display;
use choose::choose;
use exit::code_of;

/// How long the last instructions of a machine that died are searched for.
const RETRACE: Duration = Duration::from_secs(10);

/// Runs a machine as the arguments say; returns the exit code.
pub(crate) fn run(mut args: RunArgs, actions: Vec<Action>) -> Result<u8, Failure> {
    let display = display_of(args.display, args.uses_stdio())?;
    if args.record.is_some() && args.timeline.settings(true).is_none() {
        return Err(Failure::usage("--record needs the timeline: leave --timeline=off away"));
    }
    let mut chosen = choose(&args)?;
    if !args.quiet {
        chosen.notes.iter().for_each(|n| say!("emu: note: {n}"));
        say!("emu: {}", chosen.summary);
    }
    let config = chosen.machine.config.clone();
    let (commands, inbox) = unbounded();
    // Before anything that a signal must not leave behind, such as a terminal in raw mode.
    signals::forward(&commands).map_err(|e| Failure::host(format!("signals: {e}")))?;
    let mut notices = Vec::new();
    let serials = open_serials(&config.serials, &commands, &mut notices)?;
    let debug = match &args.debug_console {
        Some(target) => Some(SerialLink::open(target, u8::MAX, &commands).map_err(Failure::host)?),
        None => None,
    };
    if !args.quiet {
        notices.iter().for_each(|n| say!("emu: {n}"));
    }
    let (show, terminal) = match display {
        Display::None => (None, None),
        Display::Terminal => {
            restore_on_panic();
            let (show, shows) = unbounded();
            let terminal = Terminal::start(shows, commands.clone());
            (Some(show), Some(terminal.map_err(|e| Failure::host(format!("terminal: {e}")))?))
        }
    };
    let attended = terminal.is_some();
    let options = RunnerOptions {
        pace: args.pace.unwrap_or(attended),
        end_with_script: !actions.is_empty() && !attended,
        script: Script::new(actions, config.rate),
        attended,
        timeout: args.timeout.map(Duration::from_secs_f64),
        reset_on_triple_fault: args.on_triple_fault == args::OnTripleFault::Reset,
        serials,
        debug,
        show,
        timeline: args.timeline.settings(args.record.is_some()),
        replay: None,
    };
    let recorder = match &args.record {
        Some(path) => Some(Recorder::create(path, &chosen.machine, args.embed_disks).map_err(Failure::file)?),
        None => None,
    };
    let profiler = core::mem::take(&mut args.profile).start(&mut chosen.machine)?;
    let mut runner = Runner::new(chosen.machine, options, inbox);
    if let Some(recorder) = recorder {
        runner.record(recorder);
    }
    let end = runner.run();
    let warnings = runner.warnings().to_vec();
    let unfinished = (!runner.script().is_finished()).then(|| runner.script().describe());
    let inputs = runner.input_log().to_vec();
    let (mut machine, dropped) = runner.finish(); // drops the sender of frames, which ends the terminal's thread
    if let Some(t) = terminal {
        t.finish();
    }
    warnings.iter().for_each(|w| say!("emu: {w}"));
    if dropped > 0 {
        say!("emu: {dropped} bytes of serial output were dropped: nobody took them");
    }
    let failures = profiler.map(|p| p.finish(&mut machine)).unwrap_or_default();
    report(&args, machine, &inputs, &end, unfinished.as_deref());
    match failures.first() {
        Some(failure) => Err(Failure::file(failure.clone())),
        None => Ok(code_of(&end, unfinished.is_some())),
    }
}

/// Where the screen is shown, if that can be.
pub(crate) fn display_of(display: Option<Display>, uses_stdio: bool) -> Result<Display, Failure> {
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    match display {
        Some(Display::Terminal) if !terminal => {
            Err(Failure::usage("--display terminal needs a terminal as standard input and output"))
        }
        Some(Display::Terminal) if uses_stdio => {
            Err(Failure::usage("--display terminal and a serial port on stdio can't share the terminal"))
        }
        Some(display) => Ok(display),
        None if terminal && !uses_stdio => Ok(Display::Terminal),
        None => Ok(Display::None),
    }
}

pub(crate) fn open_serials(
    targets: &[emu_machine::config::SerialTarget],
    commands: &Sender<Command>,
    notices: &mut Vec<String>,
) -> Result<Vec<SerialLink>, Failure> {
    let mut links = Vec::new();
    for (port, target) in targets.iter().enumerate() {
        let link = SerialLink::open(target, port as u8, commands).map_err(Failure::host)?;
        notices.extend(link.notice.as_ref().map(|n| format!("COM{} {n}", port + 1)));
        links.push(link);
    }
    Ok(links)
}

/// Says how it ended.
fn report(args: &RunArgs, mut machine: Machine, inputs: &[(Ticks, Input)], end: &End, unfinished: Option<&str>) {
    if let Some(line) = exit::describe(end, unfinished).filter(|_| !args.quiet || code_of(end, false) != 0) {
        say!("emu: {line}");
    }
    if matches!(end, End::TripleFault | End::Dead) {
        say!("{}", describe_death(&mut machine, inputs, RETRACE).trim_end());
    }
    if args.state_hash {
        say!("emu: tick {} state {}", machine.system.now().0, machine.system.hash());
    }
}
