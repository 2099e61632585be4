//! The terminal's own state: taken over here, and given back however emu ends.

use std::io::{Write, stdout};
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::terminal::{disable_raw_mode, enable_raw_mode};

/// SIGHUP: what a closed terminal sends.
pub(super) const HANGUP: i32 = 1;

/// Alternate screen, cleared; no wrapping at the right edge; bracketed paste.
const ENTER: &[u8] = b"\x1B[?1049h\x1B[2J\x1B[?7l\x1B[?2004h";
/// Colours, cursor, wrapping and paste as before; the old screen.
const LEAVE: &[u8] = b"\x1B[0m\x1B[?2004l\x1B[?7h\x1B[?25h\x1B[?1049l";

static ACTIVE: AtomicBool = AtomicBool::new(false);

/// While it lives, the terminal is ours.
#[derive(Debug)]
pub(super) struct TerminalGuard(());

impl TerminalGuard {
    pub(super) fn new() -> std::io::Result<TerminalGuard> {
        enable_raw_mode()?;
        ACTIVE.store(true, Ordering::SeqCst);
        let guard = TerminalGuard(());
        stdout().write_all(ENTER).and_then(|()| stdout().flush())?;
        Ok(guard)
    }
}

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back, once. Errors have nobody left to read them.
pub(crate) fn restore() {
    if ACTIVE.swap(false, Ordering::SeqCst) {
        let mut out = stdout();
        let _ = out.write_all(LEAVE).and_then(|()| out.flush());
        let _ = disable_raw_mode();
    }
}

/// Makes a panic's message appear on a terminal that is sane again.
pub(crate) fn restore_on_panic() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        restore();
        before(info);
    }));
}
