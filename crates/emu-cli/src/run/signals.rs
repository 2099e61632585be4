//! Signals become commands, so that a run ends in one place and leaves the terminal sane.

#[cfg(unix)]
use std::time::Duration;

use crossbeam_channel::Sender;
use emu_machine::host::Command;

/// How long a run may take to end: longer than serial lines take to drain.
#[cfg(unix)]
const PATIENCE: Duration = Duration::from_secs(3);

/// Sends SIGINT, SIGTERM and SIGHUP on as commands. A run that does not end then is ended.
#[cfg(unix)]
pub(crate) fn forward(commands: &Sender<Command>) -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let commands = commands.clone();
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let _ = commands.send(Command::Signal(signal));
            // The run ends by itself within milliseconds; if something hangs, this does not.
            std::thread::sleep(PATIENCE);
            crate::terminal::restore();
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

/// Nothing to forward here: the system ends the process.
#[cfg(not(unix))]
pub(crate) fn forward(_: &Sender<Command>) -> std::io::Result<()> {
    Ok(())
}
