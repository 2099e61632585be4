//! The console's lines: from a person at a terminal, or from a pipe.

use std::io::{BufRead, IsTerminal, Write};
#[cfg(unix)]
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use emu_debug::{Console, Session};

use crate::run::exit::{Failure, code_of};

/// What a script exits with if one of its commands failed.
const FAILED: u8 = 1;

/// Set by Ctrl-C: whatever runs is to stop.
#[cfg(unix)]
fn interrupt_flag() -> std::io::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&flag))?;
    Ok(flag)
}

/// Nothing to catch here: Ctrl-C ends emu.
#[cfg(not(unix))]
fn interrupt_flag() -> std::io::Result<std::sync::Arc<AtomicBool>> {
    Ok(std::sync::Arc::default())
}

/// A console at work.
struct Prompt<'a> {
    session: &'a mut Session,
    console: &'a mut Console,
    failed: bool,
}

impl Prompt<'_> {
    /// Obeys a line; whether that was the last.
    fn obey(&mut self, line: &str, interrupted: &mut dyn FnMut() -> bool) -> bool {
        let reply = self.console.obey(self.session, line, interrupted);
        self.failed |= reply.failed;
        let printed = print(&reply.text);
        reply.quit || !printed
    }
}

/// Whether anybody is there to read it.
fn print(text: &str) -> bool {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

/// Obeys `first`, then what comes over the standard input, until its end or `quit`.
pub(super) fn run(session: &mut Session, console: &mut Console, first: &[String]) -> Result<u8, Failure> {
    let flag = interrupt_flag().map_err(|e| Failure::host(format!("signals: {e}")))?;
    let interrupted = &mut || flag.swap(false, Ordering::Relaxed);
    let attended = std::io::stdin().is_terminal();
    print(&console.introduce(session));
    let mut prompt = Prompt { session, console, failed: false };
    let mut quit = first.iter().any(|line| prompt.obey(line, interrupted));
    let mut lines = std::io::stdin().lock();
    let mut line = String::new();
    while !quit {
        if attended {
            print("(emu) ");
        }
        line.clear();
        match lines.read_line(&mut line) {
            Ok(0) => break,
            Ok(_) => quit = prompt.obey(&line, interrupted),
            // Ctrl-C at the prompt: a new line.
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => _ = print("\n"),
            Err(e) => return Err(Failure::host(format!("standard input: {e}"))),
        }
    }
    let failed = prompt.failed && !attended;
    let code = console.ended().map_or(0, |end| code_of(end, false));
    Ok(if code == 0 && failed { FAILED } else { code })
}
