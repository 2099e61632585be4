//! Scripts: what a person would do at the guest, in order. They look and act at fixed ticks of guest time only, so a
//! scripted run is the same on every host.

use std::collections::VecDeque;
use std::path::PathBuf;

use emu_core::{ClockRate, Input, Ticks};

use crate::keys::{KeyStep, strokes};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Wait until this text is on the screen, or has come over a serial line since the last such wait.
    WaitFor(String),
    /// Type.
    Type(Vec<KeyStep>),
    /// Write a picture of the screen.
    Screenshot(PathBuf),
    /// Write the text of the screen.
    ScreenText(PathBuf),
    /// Write a snapshot of the machine.
    Snapshot(PathBuf),
    /// Wait until this tick.
    UntilTicks(u64),
}

/// What the script wants done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Hand this to the guest.
    Input(Input),
    /// Write a picture.
    Screenshot(PathBuf),
    /// Write the text.
    ScreenText(PathBuf),
    /// Write a snapshot.
    Snapshot(PathBuf),
}

/// Time between two key events: slow enough for every guest's keyboard driver, as a fast typist types.
const KEY_MS: u64 = 12;
/// Time between two looks at the screen.
const LOOK_MS: u64 = 10;
/// Serial output that is kept for waits.
const SERIAL_KEPT: usize = 1 << 16;

/// A script under way.
#[derive(Debug)]
pub struct Script {
    actions: VecDeque<Action>,
    /// Key events still to be sent of the action under way; `None` is a pause of milliseconds.
    keys: VecDeque<Pending>,
    /// Serial output since the last wait.
    serial: Vec<u8>,
    rate: ClockRate,
    wake: Ticks,
}

#[derive(Debug)]
enum Pending {
    Key(Input),
    Wait(u32),
}

impl Script {
    /// A script that starts at tick 0.
    #[must_use]
    pub fn new(actions: Vec<Action>, rate: ClockRate) -> Script {
        Script { actions: actions.into(), keys: VecDeque::new(), serial: Vec::new(), rate, wake: Ticks(0) }
    }

    /// When the script wants to be called next; [`Ticks::NEVER`] once it is finished.
    #[must_use]
    pub fn wake(&self) -> Ticks {
        if self.is_finished() { Ticks::NEVER } else { self.wake }
    }

    /// Whether everything is done.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.actions.is_empty() && self.keys.is_empty()
    }

    /// Whether only the guest can bring the script on.
    #[must_use]
    pub fn waits_for_the_guest(&self) -> bool {
        self.keys.is_empty() && matches!(self.actions.front(), Some(Action::WaitFor(_)))
    }

    /// What the script is at, for messages: `waiting for "A:\>"`.
    #[must_use]
    pub fn describe(&self) -> String {
        match self.actions.front() {
            _ if !self.keys.is_empty() => "typing".into(),
            Some(Action::WaitFor(text)) => format!("waiting for \"{}\"", text.escape_debug()),
            Some(Action::UntilTicks(n)) => format!("waiting for tick {n}"),
            Some(_) => "working".into(),
            None => "finished".into(),
        }
    }

    /// Notes what the guest sent over a serial line.
    pub fn saw_serial(&mut self, bytes: &[u8]) {
        self.serial.extend_from_slice(bytes);
        if self.serial.len() > 2 * SERIAL_KEPT {
            self.serial.drain(..self.serial.len() - SERIAL_KEPT);
        }
    }

    /// Does what is due at `now`; `screen` reads the screen's text, and is called only when somebody waits for it.
    pub(super) fn step(&mut self, now: Ticks, mut screen: impl FnMut() -> String) -> Vec<Step> {
        let mut steps = Vec::new();
        while now >= self.wake && !self.is_finished() {
            if let Some(pending) = self.keys.pop_front() {
                match pending {
                    Pending::Key(input) => {
                        steps.push(Step::Input(input));
                        self.sleep(now, KEY_MS);
                    }
                    Pending::Wait(ms) => self.sleep(now, ms.into()),
                }
            } else if !self.act(now, &mut screen, &mut steps) {
                break;
            }
        }
        steps
    }

    fn sleep(&mut self, now: Ticks, ms: u64) {
        self.wake = now.after(self.rate.ticks_in_us(ms * 1000));
    }

    /// Starts the next action; returns false if it has to wait.
    fn act(&mut self, now: Ticks, screen: &mut impl FnMut() -> String, steps: &mut Vec<Step>) -> bool {
        match self.actions.front() {
            Some(Action::WaitFor(text)) => {
                let text = text.clone();
                if !self.take_from_serial(&text) && !screen().contains(&text) {
                    self.sleep(now, LOOK_MS);
                    return false;
                }
            }
            Some(Action::UntilTicks(n)) if now.0 < *n => {
                self.wake = Ticks(*n);
                return false;
            }
            _ => {}
        }
        match self.actions.pop_front() {
            Some(Action::Type(typed)) => {
                for step in typed {
                    match step {
                        KeyStep::Press(chord) => self.keys.extend(strokes(&chord).into_iter().map(Pending::Key)),
                        KeyStep::Wait(ms) => self.keys.push_back(Pending::Wait(ms)),
                    }
                }
            }
            Some(Action::Screenshot(path)) => steps.push(Step::Screenshot(path)),
            Some(Action::ScreenText(path)) => steps.push(Step::ScreenText(path)),
            Some(Action::Snapshot(path)) => steps.push(Step::Snapshot(path)),
            Some(Action::WaitFor(_) | Action::UntilTicks(_)) | None => {}
        }
        true
    }

    /// If `text` came over the serial line, forgets everything up to its end.
    fn take_from_serial(&mut self, text: &str) -> bool {
        if text.is_empty() {
            return true;
        }
        match self.serial.windows(text.len()).position(|w| w == text.as_bytes()) {
            Some(at) => {
                self.serial.drain(..at + text.len());
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::parse_keys;

    fn run(script: &mut Script, screen: &str, until: u64) -> Vec<(u64, Step)> {
        let mut done = Vec::new();
        while script.wake() <= Ticks(until) {
            let now = script.wake();
            done.extend(script.step(now, || screen.to_owned()).into_iter().map(|s| (now.0, s)));
        }
        done
    }

    #[test]
    fn waits_then_types_at_a_typists_pace() {
        let actions = vec![Action::WaitFor("A:\\>".into()), Action::Type(parse_keys("x<wait 1s>y").unwrap())];
        let mut s = Script::new(actions, ClockRate::DEFAULT);
        assert_eq!(run(&mut s, "booting", 50_000_000), []);
        assert_eq!(s.describe(), "waiting for \"A:\\\\>\"");
        let typed = run(&mut s, "A:\\>", 1_000_000_000);
        assert_eq!(typed.len(), 4);
        assert_eq!(typed[1].0 - typed[0].0, 1_200_000);
        assert!(typed[2].0 - typed[1].0 >= 100_000_000);
        assert!(s.is_finished() && s.wake() == Ticks::NEVER);
    }

    #[test]
    fn serial_output_is_seen_once() {
        let actions = vec![Action::WaitFor("login:".into()), Action::WaitFor("login:".into())];
        let mut s = Script::new(actions, ClockRate::DEFAULT);
        s.saw_serial(b"host login: ");
        run(&mut s, "", 10_000_000);
        assert!(!s.is_finished());
        s.saw_serial(b"login:");
        run(&mut s, "", 20_000_000);
        assert!(s.is_finished());
    }

    #[test]
    fn actions_happen_in_order() {
        let actions = vec![Action::UntilTicks(5000), Action::ScreenText("a".into()), Action::Screenshot("b".into())];
        let mut s = Script::new(actions, ClockRate::DEFAULT);
        let done = run(&mut s, "", 10_000);
        assert_eq!(done, [(5000, Step::ScreenText("a".into())), (5000, Step::Screenshot("b".into()))]);
    }
}
