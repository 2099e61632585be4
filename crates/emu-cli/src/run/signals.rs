//! Signals become commands, so that a run ends in one place and leaves the terminal sane.

use crossbeam_channel::Sender;
use emu_machine::host::Command;

/// Sends SIGINT, SIGTERM and SIGHUP on as commands. A second one ends the process at once.
#[cfg(unix)]
pub(super) fn forward(commands: &Sender<Command>) -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let commands = commands.clone();
    std::thread::spawn(move || {
        for (n, signal) in signals.forever().enumerate() {
            if n > 0 || commands.send(Command::Signal(signal)).is_err() {
                std::process::exit(128 + signal);
            }
        }
    });
    Ok(())
}

/// Nothing to forward here: the system ends the process.
#[cfg(not(unix))]
pub(super) fn forward(_: &Sender<Command>) -> std::io::Result<()> {
    Ok(())
}
