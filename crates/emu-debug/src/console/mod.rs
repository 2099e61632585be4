//! The console: commands in lines of text, for persons, scripts, and gdb's `monitor`.

mod code;
mod command;
mod expression;
mod info;
mod motion;
mod search;
mod show;

use emu_machine::host::End;

use crate::session::{Halt, Place, Session};
use command::{COMMANDS, Command, Verb};

/// What a command came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// What to print; whole lines.
    pub text: String,
    /// Whether it was an error.
    pub failed: bool,
    /// Whether the user has had enough, or emu itself is to end.
    pub quit: bool,
}

/// The state of a console.
#[derive(Debug, Default)]
pub struct Console {
    /// The line that an empty one repeats.
    last: String,
    /// General registers as they were shown last.
    shown: Option<show::Snapshot>,
    /// What else there is to say.
    notes: Vec<String>,
    /// gdb's addresses are physical ones.
    physical: bool,
    /// The next address of `memory` and `disassemble` without one.
    next_memory: Option<Place>,
    next_code: Option<u64>,
    /// The machine ended for this reason, which ends the console too.
    ended: Option<End>,
}

/// What every command gets.
struct Context<'a> {
    console: &'a mut Console,
    session: &'a mut Session,
    interrupted: &'a mut dyn FnMut() -> bool,
}

/// What commands give back: text, or one line that says what is wrong.
type Answer = Result<String, String>;

impl Console {
    /// A console.
    #[must_use]
    pub fn new() -> Console {
        Console::default()
    }

    /// Forgets what an earlier client wanted.
    pub(crate) fn begin(&mut self) {
        *self = Console { notes: core::mem::take(&mut self.notes), ..Console::default() };
    }

    /// Remembers something to be said with the next `tick`.
    pub(crate) fn note(&mut self, text: String) {
        self.notes.push(text);
        if self.notes.len() > 8 {
            self.notes.remove(0);
        }
    }

    /// The machine goes on: what there was to say is said.
    pub(crate) fn forget_notes(&mut self) {
        self.notes.clear();
    }

    /// What gdb means by an address.
    pub(crate) fn place(&self, at: u64) -> Place {
        if self.physical { Place::Physical(at) } else { Place::Linear(at) }
    }

    /// Why emu itself is to end, if it is.
    #[must_use]
    pub fn ended(&self) -> Option<&End> {
        self.ended.as_ref()
    }

    /// Where the machine stands, for the start of a console.
    pub fn introduce(&mut self, session: &mut Session) -> String {
        show::position(self, session)
    }

    /// Obeys a line; an empty one repeats the last.
    pub fn obey(&mut self, session: &mut Session, line: &str, interrupted: &mut dyn FnMut() -> bool) -> Reply {
        let line = line.trim();
        if line.starts_with('#') {
            return Reply::default();
        }
        let line = if line.is_empty() { self.last.clone() } else { line.to_owned() };
        self.last.clone_from(&line);
        let mut words = line.split_whitespace();
        let Some(name) = words.next() else { return Reply::default() };
        let words: Vec<&str> = words.collect();
        let Some(command) = find(name) else {
            return Reply::error(format!("no command `{name}`: help lists them"));
        };
        if command.verb == Verb::Quit {
            return Reply { quit: true, ..Reply::default() };
        }
        let answer = command.run(&mut Context { console: self, session, interrupted }, &words);
        let quit = self.ended.is_some();
        match answer {
            Ok(text) => Reply { text, quit, failed: false },
            Err(what) => Reply { quit, ..Reply::error(format!("{}: {what}", command.name)) },
        }
    }

    /// Obeys a line of gdb's `monitor`: a command that leaves running, breakpoints and watchpoints to gdb.
    pub(crate) fn monitor(
        &mut self,
        session: &mut Session,
        line: &str,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> String {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or("help");
        let words: Vec<&str> = words.collect();
        let Some(command) = find(name).filter(|c| c.monitor) else {
            return format!("no monitor command `{name}`: monitor help lists them\n");
        };
        if command.verb == Verb::Help {
            return command::help(&words, true).unwrap_or_else(|e| e + "\n");
        }
        let before = session.now();
        let answer = command.run(&mut Context { console: self, session, interrupted }, &words);
        let mut text = answer.unwrap_or_else(|what| format!("{}: {what}\n", command.name));
        if session.now() != before {
            text += "gdb has not noticed yet: maintenance flush register-cache, then maintenance flush dcache\n";
        }
        text
    }
}

impl Reply {
    fn error(line: String) -> Reply {
        Reply { text: line + "\n", failed: true, quit: false }
    }
}

/// The command of this name, or with it as its short form.
fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|c| c.name == name || c.short.split(' ').any(|s| s == name))
}

/// Why the run ended, in a line.
pub(crate) fn describe_end(end: &End) -> String {
    match end {
        End::PowerOff => "the guest switched the machine off".into(),
        End::Exit(n) => format!("the guest ended the run with {n} at port F4h"),
        End::ScriptDone => "the script is done".into(),
        End::Quit => "ended by the user".into(),
        End::Signal(n) => format!("ended by signal {n}"),
        End::Timeout => "the time is over".into(),
        End::TripleFault => "triple fault: the CPU shut down".into(),
        End::Dead => "the CPU is halted with interrupts off".into(),
        End::Host(reason) => reason.clone(),
        End::Replayed => "the end of the recording".into(),
        End::Diverged(d) => {
            format!(
                "the replay differs from its recording before tick {}: {}",
                d.expected.at.tick.0,
                d.parts.join(", ")
            )
        }
    }
}

/// Why the machine stands, in a line; nothing if that is plain.
fn describe_halt(session: &Session, halt: &Halt) -> Option<String> {
    Some(match halt {
        Halt::Done => return None,
        Halt::Breakpoint => "breakpoint".into(),
        Halt::Watch { number, write } => {
            let how = if *write { "written" } else { "read" };
            let w = session.watchpoints().iter().find(|w| w.number == *number);
            format!("watchpoint {number}: {} {how}", w.map(show::place_and_len).unwrap_or_default())
        }
        Halt::Start => "the start: nothing is known before it".into(),
        Halt::End(end) => describe_end(end),
        Halt::Interrupted => "interrupted".into(),
    })
}
