//! Exit codes, and the last line.

use emu_core::timeline::Divergence;
use emu_machine::BuildError;
use emu_machine::config::ConfigError;
use emu_machine::host::End;

/// Something on the host failed.
const HOST: u8 = 1;
/// The command line or a configuration file is wrong.
const USAGE: u8 = 2;
/// An image, a kernel or a firmware file can't be used.
const FILE: u8 = 3;
/// `--timeout` ran out.
const TIMEOUT: u8 = 4;
/// The machine ended before the script did.
const SCRIPT: u8 = 5;
/// The CPU shut down by a triple fault.
const TRIPLE_FAULT: u8 = 6;
/// The CPU is halted with interrupts off.
const DEAD: u8 = 7;
/// A replay differs from its recording.
pub(crate) const DIVERGED: u8 = 8;
/// A recording is damaged; what stands before the damage was replayed.
pub(crate) const DAMAGED: u8 = 9;
/// What was searched for is not there.
pub(crate) const NOT_FOUND: u8 = 10;
/// Two runs differ.
pub(crate) const DIFFERENT: u8 = 11;
/// The guest wrote a value other than 0 to port F4h: this, plus the value (at most 63).
const GUEST: u8 = 64;
/// A signal: this, plus its number.
const SIGNAL: u8 = 128;

/// The part of `emu run --help` that lists the codes.
pub(crate) fn exit_codes_help() -> String {
    "Exit codes:\n\
     \x20   0  the guest switched off, the script is done, the person quit, or the guest wrote 0 to port F4h\n\
     \x20   1  something on the host failed: a file, a socket, the terminal\n\
     \x20   2  the command line or a configuration file is wrong\n\
     \x20   3  an image, a kernel or a firmware file can't be used\n\
     \x20   4  --timeout ran out\n\
     \x20   5  the machine ended before the script did\n\
     \x20   6  the CPU shut down by a triple fault\n\
     \x20   7  the CPU is halted with interrupts off\n\
     \x20   8  a replay differs from its recording\n\
     \x20   9  a recording is damaged; what stands before the damage was replayed\n\
     \x20  10  what was searched for is not there\n\
     \x20  11  two runs differ\n\
     \x20  64+n  the guest wrote n to port F4h (n from 1 to 63; larger values count as 63)\n\
     \x20 128+n  signal n: 129 SIGHUP or a closed terminal, 130 SIGINT, 143 SIGTERM"
        .into()
}

/// Why a run did not even start: one line, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    /// One line.
    pub(crate) message: String,
    /// The exit code.
    pub(crate) code: u8,
}

impl Failure {
    /// The command line is wrong.
    pub(crate) fn usage(message: impl ToString) -> Failure {
        Failure { message: message.to_string(), code: USAGE }
    }

    /// The host failed.
    pub(crate) fn host(message: impl ToString) -> Failure {
        Failure { message: message.to_string(), code: HOST }
    }

    /// A file can't be used.
    pub(crate) fn file(message: impl ToString) -> Failure {
        Failure { message: message.to_string(), code: FILE }
    }
}

/// One line whatever the names in `text` are, and nothing in it that a terminal would obey: images and machines of others
/// name files as they like.
pub(crate) fn plain(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect()
}

impl From<ConfigError> for Failure {
    fn from(e: ConfigError) -> Failure {
        Failure::usage(e)
    }
}

impl From<BuildError> for Failure {
    fn from(e: BuildError) -> Failure {
        match e {
            BuildError::Config(e) => Failure::usage(e),
            BuildError::Memory(_) => Failure::host(e),
            other => Failure::file(plain(&other.to_string())),
        }
    }
}

/// The exit code of a run.
pub(crate) fn code_of(end: &End, script_unfinished: bool) -> u8 {
    match end {
        End::Host(_) => HOST,
        End::Timeout => TIMEOUT,
        End::TripleFault => TRIPLE_FAULT,
        End::Dead => DEAD,
        End::Diverged(_) => DIVERGED,
        End::Signal(n) => SIGNAL.saturating_add(u8::try_from(*n).unwrap_or(0)),
        End::Exit(0) | End::PowerOff if script_unfinished => SCRIPT,
        End::Exit(0) | End::PowerOff | End::ScriptDone | End::Quit | End::Replayed => 0,
        End::Exit(n) => GUEST + (*n).min(63) as u8,
    }
}

/// How the run ended, where a person could wonder.
pub(crate) fn describe(end: &End, unfinished: Option<&str>) -> Option<String> {
    let text = match end {
        End::PowerOff => "the guest switched the machine off".into(),
        End::Exit(n) => format!("the guest ended the run with {n} at port F4h"),
        End::Timeout => "the time is over".into(),
        End::TripleFault => "triple fault: the CPU shut down".into(),
        End::Dead => "the CPU is halted with interrupts off".into(),
        End::Host(reason) => reason.clone(),
        End::Signal(n) => format!("ended by signal {n}"),
        End::Diverged(d) => describe_divergence(d),
        End::ScriptDone | End::Quit | End::Replayed => return None,
    };
    Some(match unfinished {
        Some(at) => format!("{text}; the script was {at}"),
        None => text,
    })
}

/// Where a replay left its recording, and which parts of the machine differ.
pub(crate) fn describe_divergence(d: &Divergence) -> String {
    let parts = if d.parts.is_empty() { "the state".into() } else { d.parts.join(", ") };
    match d.good {
        Some(good) => {
            let (from, to) = (good.tick.0, d.expected.at.tick.0);
            format!("the replay differs from its recording between tick {from} and tick {to}: {parts}")
        }
        None => format!(
            "at its start the machine is not that of the recording ({parts}): it was recorded by another version of emu"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_as_documented() {
        let codes = [
            (End::PowerOff, 0),
            (End::Exit(0), 0),
            (End::Exit(1), 65),
            (End::Exit(0xFFFF_FFFF), 127),
            (End::Signal(15), 143),
            (End::Timeout, TIMEOUT),
        ];
        for (end, code) in codes {
            assert_eq!(code_of(&end, false), code, "{end:?}");
        }
        assert_eq!(code_of(&End::PowerOff, true), SCRIPT);
    }
}
