//! A serial line on emu's own standard input and output.

use std::io::{IsTerminal, Read};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use super::queue::writer;
use super::{Command, Feed, SerialLink};

/// Ctrl-]: ends emu, as it ends telnet; every other key goes to the guest.
const QUIT: u8 = 0x1D;

/// A terminal that passes every key at once, until this is dropped.
#[derive(Debug)]
pub(super) struct RawTerminal(Termios);

impl RawTerminal {
    /// `None` if the standard input is no terminal.
    fn new() -> Option<RawTerminal> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return None;
        }
        let before = tcgetattr(&stdin).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        raw.output_modes = before.output_modes; // messages of our own still want their line ends
        tcsetattr(&stdin, OptionalActions::Now, &raw).ok()?;
        Some(RawTerminal(before))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// Connects to the standard input and output. A closed standard input is a line that never says anything.
pub(super) fn open(feed: Feed) -> SerialLink {
    let mut link = SerialLink::new(Some(writer(std::io::stdout())));
    link.terminal = RawTerminal::new();
    let raw = link.terminal.is_some();
    if raw {
        link.notice = Some("is this terminal; Ctrl-] ends emu".into());
    }
    std::thread::spawn(move || {
        if raw {
            feed.pump(QuitFilter { feed: feed.clone() });
        } else {
            feed.pump(std::io::stdin());
        }
    });
    link
}

/// The keyboard, without the quit key.
struct QuitFilter {
    feed: Feed,
}

impl Read for QuitFilter {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = std::io::stdin().read(buf)?;
        if buf[..n].contains(&QUIT) {
            let _ = self.feed.commands.send(Command::Quit);
            return Ok(0);
        }
        Ok(n)
    }
}
