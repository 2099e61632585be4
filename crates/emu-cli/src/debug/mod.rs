//! `emu debug`: a machine or a recording under gdb, or under emu's own console.

mod prompt;

use std::path::Path;

use clap::{Args, ValueEnum};
use crossbeam_channel::{Receiver, Sender, unbounded};
use emu_core::Ticks;
use emu_core::timeline::TimelineSettings;
use emu_debug::gdb::{Address, Listener, serve};
use emu_debug::registers::Width;
use emu_debug::{Console, Session};
use emu_machine::host::{Action, Command, Replay, Runner, RunnerOptions, Script, Show};
use emu_machine::recording::{Recorder, Recording};
use emu_machine::{Machine, config};

use crate::replay::{learn, open, tell_lies};
use crate::run::args::{Display, OnTripleFault, RunArgs};
use crate::run::choose::choose;
use crate::run::exit::{Failure, code_of};
use crate::run::{display_of, open_serials, signals};
use crate::terminal::{Terminal, restore_on_panic};

/// Which registers gdb gets to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ArchArg {
    /// Those of the mode that the CPU is in when gdb connects
    Auto,
    /// 16-bit code
    I8086,
    /// 32-bit
    I386,
    /// 64-bit
    #[value(name = "x86-64")]
    X86_64,
}

/// Where to stand first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Tick(u64),
    End,
}

fn at(text: &str) -> Result<At, String> {
    match text {
        "end" => Ok(At::End),
        _ => text.parse().map(At::Tick).map_err(|_| format!("`{text}` is neither a tick nor `end`")),
    }
}

/// Options of `emu debug`: those of `emu run`, and its own.
#[derive(Debug, Args)]
pub(crate) struct DebugArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Serve gdb at :PORT, HOST:PORT or unix:PATH, instead of emu's own console
    #[arg(long, value_parser = Address::parse, value_name = "ADDRESS", help_heading = "Debugger")]
    gdb: Option<Address>,
    /// Which registers gdb sees
    #[arg(long, value_enum, default_value = "auto", help_heading = "Debugger")]
    arch: ArchArg,
    /// Go to this tick first, or to the end of the recording
    #[arg(long, value_parser = at, value_name = "TICK|end", help_heading = "Debugger")]
    at: Option<At>,
    /// Obey this command first; of several, one after the other
    #[arg(long, short = 'x', value_name = "COMMAND", help_heading = "Debugger", allow_hyphen_values = true)]
    execute: Vec<String>,
}

/// A machine to be debugged, with what belongs to it.
struct Subject {
    machine: Machine,
    replay: Option<(Replay, Recording)>,
    recorder: Option<Recorder>,
    serials: Vec<config::SerialTarget>,
}

/// Debugs as the arguments say; returns the exit code.
pub(crate) fn debug(args: &DebugArgs, actions: Vec<Action>) -> Result<u8, Failure> {
    let recording = args.run.image.as_ref().is_some_and(|i| is_recording(&i.path));
    // The terminal is the console's, unless gdb is the debugger.
    let display = match (&args.gdb, args.run.display) {
        (None, Some(Display::Terminal)) => {
            return Err(Failure::usage("--display terminal needs --gdb: without it the terminal is the debugger's"));
        }
        (None, _) | (Some(_), None) => Display::None,
        (Some(_), Some(display)) => display_of(Some(display), args.run.uses_stdio())?,
    };
    if args.gdb.is_none() && args.run.uses_stdio() {
        return Err(Failure::usage("nothing else can be on stdio: it is the debugger's (or use --gdb)"));
    }
    // Before the machine is built: an address that is taken is known at once.
    let listener = args.gdb.as_ref().map(Listener::bind).transpose().map_err(Failure::host)?;
    let subject = if recording { recorded(args, &actions)? } else { live(args)? };
    let (commands, inbox) = unbounded();
    if listener.is_some() {
        signals::forward(&commands).map_err(|e| Failure::host(format!("signals: {e}")))?;
    }
    let (show, terminal) = open_display(display, &commands)?;
    let runner = runner_of(args, subject, actions, &commands, inbox, show)?;
    let mut session = Session::new(runner).map_err(Failure::usage)?;
    let mut console = Console::new();
    let done = run(args, &mut session, &mut console, listener.as_ref());
    if let (Some(image), Some((_, timeline))) = (&args.run.image, session.runner().travel()) {
        tell_lies(&image.path, timeline);
    }
    let (_, dropped) = session.into_runner().finish();
    if let Some(t) = terminal {
        t.finish();
    }
    if dropped > 0 {
        say!("emu: {dropped} bytes of serial output were dropped: nobody took them");
    }
    done
}

/// Goes where the debugging is to begin, and lets the debugger do its work.
fn run(
    args: &DebugArgs,
    session: &mut Session,
    console: &mut Console,
    listener: Option<&Listener>,
) -> Result<u8, Failure> {
    if let Some(at) = args.at {
        let tick = if let At::Tick(t) = at { Ticks(t) } else { session.end() };
        session.goto(tick, &mut || false).map_err(Failure::usage)?;
    }
    let Some(listener) = listener else { return prompt::run(session, console, &args.execute) };
    for line in &args.execute {
        let reply = console.obey(session, line, &mut || false);
        say!("{}", reply.text.trim_end());
    }
    if !args.run.quiet {
        say!("emu: waiting for gdb: target remote {}", listener.name());
    }
    let width = match args.arch {
        ArchArg::Auto => None,
        ArchArg::I8086 => Some(Width::I8086),
        ArchArg::I386 => Some(Width::I386),
        ArchArg::X86_64 => Some(Width::X86_64),
    };
    let quiet = args.run.quiet;
    let end = serve(listener, session, console, width, &mut |line| {
        if !quiet {
            say!("emu: {line}");
        }
    });
    Ok(code_of(&end, false))
}

/// Whether the file begins as recordings do.
fn is_recording(path: &Path) -> bool {
    emu_machine::recording::is_recording(path)
}

fn live(args: &DebugArgs) -> Result<Subject, Failure> {
    if args.run.timeline.settings(true).is_none() {
        return Err(Failure::usage("a debugger needs the timeline: leave --timeline=off away"));
    }
    let chosen = choose(&args.run)?;
    if !args.run.quiet {
        chosen.notes.iter().for_each(|n| say!("emu: note: {n}"));
        say!("emu: {}", chosen.summary);
    }
    let recorder = match &args.run.record {
        Some(path) => Some(Recorder::create(path, &chosen.machine, args.run.embed_disks).map_err(Failure::file)?),
        None => None,
    };
    let serials = chosen.machine.config.serials.clone();
    Ok(Subject { machine: chosen.machine, replay: None, recorder, serials })
}

fn recorded(args: &DebugArgs, actions: &[Action]) -> Result<Subject, Failure> {
    if !actions.is_empty() || args.run.record.is_some() {
        return Err(Failure::usage("a recording takes no script, and is not recorded again"));
    }
    let Some(image) = &args.run.image else { return Err(Failure::usage("no recording")) };
    let recording = open(&image.path, args.run.quiet)?;
    let machine = recording.build()?;
    let end = recording.end();
    if !args.run.quiet {
        say!("emu: {} is a recording of {} ticks with {} inputs", image.path.display(), end.tick.0, end.inputs);
    }
    let (log, spine) = (recording.log().to_vec(), recording.spine().to_vec());
    let replay = Some((Replay { log, spine, start: recording.begin(), end }, recording));
    Ok(Subject { machine, replay, recorder: None, serials: args.run.serial.clone() })
}

fn open_display(
    display: Display,
    commands: &Sender<Command>,
) -> Result<(Option<Sender<Show>>, Option<Terminal>), Failure> {
    if display == Display::None {
        return Ok((None, None));
    }
    restore_on_panic();
    let (show, shows) = unbounded();
    let terminal = Terminal::start(shows, commands.clone());
    Ok((Some(show), Some(terminal.map_err(|e| Failure::host(format!("terminal: {e}")))?)))
}

fn runner_of(
    args: &DebugArgs,
    subject: Subject,
    actions: Vec<Action>,
    commands: &Sender<Command>,
    inbox: Receiver<Command>,
    show: Option<Sender<Show>>,
) -> Result<Runner, Failure> {
    let mut notices = Vec::new();
    let serials = open_serials(&subject.serials, commands, &mut notices)?;
    notices.iter().for_each(|n| say!("emu: {n}"));
    let debug = match &args.run.debug_console {
        Some(target) => Some(emu_machine::host::SerialLink::open(target, u8::MAX, commands).map_err(Failure::host)?),
        None => None,
    };
    let attended = show.is_some();
    let (replay, recording) = subject.replay.unzip();
    let settings = args.run.timeline.settings(subject.recorder.is_some());
    let options = RunnerOptions {
        pace: args.run.pace.unwrap_or(attended),
        end_with_script: false,
        script: Script::new(actions, subject.machine.rate()),
        attended,
        timeout: None,
        reset_on_triple_fault: args.run.on_triple_fault == OnTripleFault::Reset,
        serials,
        debug,
        show,
        timeline: settings.or(Some(TimelineSettings::default())),
        replay,
    };
    let mut runner = Runner::new(subject.machine, options, inbox);
    if let (Some(recording), Some((machine, timeline))) = (recording, runner.travel()) {
        learn(&recording, &machine.system, timeline);
    }
    if let Some(recorder) = subject.recorder {
        runner.record(recorder);
    }
    Ok(runner)
}
