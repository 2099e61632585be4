//! The terminal as the machine's screen and keyboard.

mod guard;
mod keys;
mod menu;
mod paint;
mod view;

use std::io::Write;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select};
use crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use emu_machine::host::{Command, Frame, Show};

use guard::TerminalGuard;
pub(crate) use guard::{restore, restore_on_panic};
use menu::Menu;
use paint::Painter;
use view::compose;

/// How long the display's thread may take to end.
const PATIENCE: Duration = Duration::from_millis(500);

/// The display's thread, which ends when the machine drops its sender of frames.
pub(crate) struct Terminal {
    thread: std::thread::JoinHandle<()>,
}

impl Terminal {
    /// Takes over the terminal: `shows` are drawn, keys go to `commands`.
    ///
    /// # Errors
    /// When the terminal can't be switched.
    pub(crate) fn start(shows: Receiver<Show>, commands: Sender<Command>) -> std::io::Result<Terminal> {
        let guard = TerminalGuard::new()?;
        let thread = std::thread::spawn(move || {
            let _guard = guard;
            if run(&shows, &commands).is_err() {
                // The terminal is gone: nobody is there any more.
                let _ = commands.send(Command::Signal(guard::HANGUP));
            }
        });
        Ok(Terminal { thread })
    }

    /// Waits until the terminal is as it was. Where the terminal is gone, its thread may hang in a read: it is left there.
    pub(crate) fn finish(self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        restore();
    }
}

/// Reads keys in a thread of its own, which sleeps until there is one. (crossterm's reading with a time limit keeps a core
/// busy for the last millisecond of it.) It ends with its terminal, or with the process.
fn events() -> Receiver<std::io::Result<Event>> {
    let (sender, events) = bounded(64);
    std::thread::spawn(move || {
        loop {
            let event = event::read();
            let failed = event.is_err();
            if sender.send(event).is_err() || failed {
                return;
            }
        }
    });
    events
}

fn run(shows: &Receiver<Show>, commands: &Sender<Command>) -> std::io::Result<()> {
    let events = events();
    let mut painter = Painter::default();
    let mut menu = Menu::default();
    let mut frame = Frame::Text(Default::default());
    let mut dirty = true;
    loop {
        if dirty && events.is_empty() && shows.is_empty() {
            // A burst of events is drawn once.
            let size = crossterm::terminal::size()?;
            let view = compose(&frame, menu.line().as_deref(), size);
            let mut out = Vec::new();
            painter.paint(&view, &mut out);
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(&out)?;
            stdout.flush()?;
            dirty = false;
        }
        select! {
            recv(shows) -> show => match show {
                Ok(Show::Frame(new)) => {
                    dirty |= new != frame;
                    frame = new;
                }
                Ok(Show::Notice(text)) => {
                    menu = Menu::Message(text);
                    dirty = true;
                }
                Err(_) => return Ok(()),
            },
            recv(events) -> event => match event {
                Ok(event) => dirty |= handle(event?, &mut menu, &mut painter, commands),
                Err(_) => return Ok(()),
            },
        }
    }
}

/// Returns whether something must be drawn.
fn handle(event: Event, menu: &mut Menu, painter: &mut Painter, commands: &Sender<Command>) -> bool {
    match event {
        Event::Key(KeyEvent { kind: KeyEventKind::Release, .. }) => false,
        Event::Key(key) => {
            let (sent, redraw) = menu.key(&key);
            sent.into_iter().for_each(|c| drop(commands.send(c)));
            redraw
        }
        Event::Paste(text) => {
            let chords = text.chars().filter_map(emu_machine::keys::chord_for_char);
            let inputs = chords.flat_map(|c| emu_machine::keys::strokes(&c));
            inputs.for_each(|i| drop(commands.send(Command::Input(i))));
            false
        }
        Event::Resize(..) => {
            painter.forget();
            true
        }
        _ => false,
    }
}
