//! The menu behind Ctrl-]: what a person does to the machine itself.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use emu_core::Input;
use emu_machine::host::Command;
use emu_machine::image::ImageSpec;
use emu_machine::keys::{ALT, CTRL, Chord, DELETE, chord_for_char, strokes};

use super::keys::chord;

/// What a file is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileFor {
    /// An image for this drive.
    Drive(&'static str),
    Screenshot,
    Snapshot,
    Recording,
}

/// Where the keys go at present.
#[derive(Debug, Default)]
pub(super) enum Menu {
    /// To the guest.
    #[default]
    Closed,
    /// To the menu.
    Open,
    /// To the question for which drive: and whether to insert after it.
    Drive { insert: bool },
    /// To the menu of time travel.
    Time,
    /// To the question for a file.
    File { use_of: FileFor, text: String },
    /// Something to say, until the next key.
    Message(String),
}

const ITEMS: &str = "d Ctrl-Alt-Del i insert e eject s picture t time r reset p power q quit ] Ctrl-]";
const TIME_ITEMS: &str = "s save a snapshot  r save the recording  b back 5 seconds";
/// How far one goes back, in milliseconds of guest time.
const BACK_MS: u64 = 5_000;

impl Menu {
    /// The line that is shown over the last row of the terminal.
    pub(super) fn line(&self) -> Option<String> {
        match self {
            Menu::Closed => None,
            Menu::Open => Some(ITEMS.into()),
            Menu::Drive { .. } => Some("which drive?  a floppy A:  b floppy B:  c CD".into()),
            Menu::Time => Some(TIME_ITEMS.into()),
            Menu::File { use_of, text } => Some(match use_of {
                FileFor::Drive(drive) => format!("image for {drive}: {text}_"),
                FileFor::Screenshot => format!("screenshot file (.png): {text}_"),
                FileFor::Snapshot => format!("snapshot file (.emusnap): {text}_"),
                FileFor::Recording => format!("recording file (.emurec): {text}_"),
            }),
            Menu::Message(text) => Some(text.clone()),
        }
    }

    /// A key was pressed. Returns what is to be done, and whether the menu looks different.
    pub(super) fn key(&mut self, event: &KeyEvent) -> (Vec<Command>, bool) {
        let commands = match self {
            Menu::Closed if is_menu_key(event) => self.go(Menu::Open),
            Menu::Closed => {
                let inputs = chord(event).map(|c| strokes(&c)).unwrap_or_default();
                return (inputs.into_iter().map(Command::Input).collect(), false);
            }
            Menu::Open => self.choose(event),
            Menu::Drive { insert } => {
                let insert = *insert;
                self.choose_drive(event, insert)
            }
            Menu::Time => self.choose_time(event),
            Menu::File { .. } => self.edit(event),
            Menu::Message(_) => self.go(Menu::Closed),
        };
        (commands, true)
    }

    fn go(&mut self, next: Menu) -> Vec<Command> {
        *self = next;
        Vec::new()
    }

    fn close_with(&mut self, commands: Vec<Command>) -> Vec<Command> {
        *self = Menu::Closed;
        commands
    }

    fn choose(&mut self, event: &KeyEvent) -> Vec<Command> {
        let press = |chord: &Chord| strokes(chord).into_iter().map(Command::Input).collect();
        if is_menu_key(event) {
            return self.close_with(menu_key_itself());
        }
        match event.code {
            KeyCode::Char('d') => self.close_with(press(&Chord { modifiers: vec![CTRL, ALT], key: DELETE })),
            KeyCode::Char('i') => self.go(Menu::Drive { insert: true }),
            KeyCode::Char('e') => self.go(Menu::Drive { insert: false }),
            KeyCode::Char('s') => self.ask(FileFor::Screenshot, "screen.png"),
            KeyCode::Char('t') => self.go(Menu::Time),
            KeyCode::Char('r') => self.close_with(vec![Command::Input(Input::ResetButton)]),
            KeyCode::Char('p') => self.close_with(vec![Command::Input(Input::PowerButton)]),
            KeyCode::Char('q') => self.close_with(vec![Command::Quit]),
            KeyCode::Char(']') => self.close_with(menu_key_itself()),
            _ => self.go(Menu::Closed),
        }
    }

    fn ask(&mut self, use_of: FileFor, text: &str) -> Vec<Command> {
        self.go(Menu::File { use_of, text: text.into() })
    }

    fn choose_time(&mut self, event: &KeyEvent) -> Vec<Command> {
        match event.code {
            KeyCode::Char('s') => self.ask(FileFor::Snapshot, "state.emusnap"),
            KeyCode::Char('r') => self.ask(FileFor::Recording, "run.emurec"),
            KeyCode::Char('b') => self.close_with(vec![Command::Back(BACK_MS)]),
            _ => self.go(Menu::Closed),
        }
    }

    fn choose_drive(&mut self, event: &KeyEvent, insert: bool) -> Vec<Command> {
        let drive = match event.code {
            KeyCode::Char('a') => "fd0",
            KeyCode::Char('b') => "fd1",
            KeyCode::Char('c') => "cd0",
            _ => return self.go(Menu::Closed),
        };
        if insert {
            return self.ask(FileFor::Drive(drive), "");
        }
        self.close_with(vec![Command::Input(Input::Eject { drive: drive.into() })])
    }

    fn edit(&mut self, event: &KeyEvent) -> Vec<Command> {
        let Menu::File { use_of, text } = self else { return Vec::new() };
        match event.code {
            KeyCode::Esc => return self.go(Menu::Closed),
            KeyCode::Backspace => drop(text.pop()),
            KeyCode::Char(c) if !event.modifiers.contains(KeyModifiers::CONTROL) => text.push(c),
            KeyCode::Enter if text.is_empty() => return self.go(Menu::Closed),
            KeyCode::Enter => {
                let (use_of, text) = (*use_of, core::mem::take(text));
                return match use_of {
                    FileFor::Screenshot => self.close_with(vec![Command::Screenshot(text.into())]),
                    FileFor::Snapshot => self.close_with(vec![Command::Snapshot(text.into())]),
                    FileFor::Recording => self.close_with(vec![Command::SaveRecording(text.into())]),
                    FileFor::Drive(drive) => match ImageSpec::parse(&text) {
                        Ok(image) => self.close_with(vec![Command::Insert { drive: drive.into(), image }]),
                        Err(e) => self.go(Menu::Message(e.to_string())),
                    },
                };
            }
            _ => {}
        }
        Vec::new()
    }
}

/// Terminals send one byte for Ctrl-] and Ctrl-5.
fn is_menu_key(event: &KeyEvent) -> bool {
    event.modifiers.contains(KeyModifiers::CONTROL) && matches!(event.code, KeyCode::Char(']' | '5'))
}

fn menu_key_itself() -> Vec<Command> {
    let key = chord_for_char(']').map(|c| Chord { modifiers: vec![CTRL], key: c.key });
    key.map(|c| strokes(&c)).unwrap_or_default().into_iter().map(Command::Input).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(menu: &mut Menu, keys: &str) -> Vec<Command> {
        let mut all = Vec::new();
        for c in keys.chars() {
            let event = match c {
                '^' => KeyEvent::new(KeyCode::Char('5'), KeyModifiers::CONTROL),
                '\n' => KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE),
                _ => KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE),
            };
            all.extend(menu.key(&event).0);
        }
        all
    }

    #[test]
    fn keys_go_to_the_guest_until_the_menu_opens() {
        let mut menu = Menu::default();
        assert_eq!(send(&mut menu, "q").len(), 2);
        assert_eq!(send(&mut menu, "^q"), [Command::Quit]);
        assert_eq!(send(&mut menu, "^d").len(), 6);
        assert_eq!(send(&mut menu, "^x"), []);
        assert!(menu.line().is_none());
    }

    #[test]
    fn time_has_a_menu_of_its_own() {
        let mut menu = Menu::default();
        assert_eq!(send(&mut menu, "^tb"), [Command::Back(BACK_MS)]);
        assert_eq!(send(&mut menu, "^ts\n"), [Command::Snapshot("state.emusnap".into())]);
        assert_eq!(send(&mut menu, "^tr2\n"), [Command::SaveRecording("run.emurec2".into())]);
        assert_eq!(send(&mut menu, "^tx"), []);
        assert!(menu.line().is_none());
    }

    #[test]
    fn a_medium_is_changed() {
        let mut menu = Menu::default();
        assert_eq!(send(&mut menu, "^ea"), [Command::Input(Input::Eject { drive: "fd0".into() })]);
        let image = ImageSpec::new("x.img");
        assert_eq!(send(&mut menu, "^icx.img\n"), [Command::Insert { drive: "cd0".into(), image }]);
        assert_eq!(send(&mut menu, "^iax.img,mod=w\n"), []);
        assert!(menu.line().unwrap().contains("did you mean `mode`"));
        assert_eq!(send(&mut menu, " "), []);
        assert!(menu.line().is_none());
    }
}
