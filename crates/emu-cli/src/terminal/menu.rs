//! The menu behind Ctrl-]: what a person does to the machine itself.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use emu_core::Input;
use emu_machine::host::Command;
use emu_machine::image::ImageSpec;
use emu_machine::keys::{ALT, CTRL, Chord, DELETE, chord_for_char, strokes};

use super::keys::chord;

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
    /// To the question for a file.
    File { drive: Option<&'static str>, text: String },
    /// Something to say, until the next key.
    Message(String),
}

const ITEMS: &str = "d Ctrl-Alt-Del  i insert  e eject  s screenshot  r reset  p power button  q quit  ] send Ctrl-]";

impl Menu {
    /// The line that is shown over the last row of the terminal.
    pub(super) fn line(&self) -> Option<String> {
        match self {
            Menu::Closed => None,
            Menu::Open => Some(ITEMS.into()),
            Menu::Drive { .. } => Some("which drive?  a floppy A:  b floppy B:  c CD".into()),
            Menu::File { drive: Some(drive), text } => Some(format!("image for {drive}: {text}_")),
            Menu::File { drive: None, text } => Some(format!("screenshot file (.png): {text}_")),
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
            KeyCode::Char('s') => self.go(Menu::File { drive: None, text: "screen.png".into() }),
            KeyCode::Char('r') => self.close_with(vec![Command::Input(Input::ResetButton)]),
            KeyCode::Char('p') => self.close_with(vec![Command::Input(Input::PowerButton)]),
            KeyCode::Char('q') => self.close_with(vec![Command::Quit]),
            KeyCode::Char(']') => self.close_with(menu_key_itself()),
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
            return self.go(Menu::File { drive: Some(drive), text: String::new() });
        }
        self.close_with(vec![Command::Input(Input::Eject { drive: drive.into() })])
    }

    fn edit(&mut self, event: &KeyEvent) -> Vec<Command> {
        let Menu::File { drive, text } = self else { return Vec::new() };
        match event.code {
            KeyCode::Esc => return self.go(Menu::Closed),
            KeyCode::Backspace => drop(text.pop()),
            KeyCode::Char(c) if !event.modifiers.contains(KeyModifiers::CONTROL) => text.push(c),
            KeyCode::Enter if text.is_empty() => return self.go(Menu::Closed),
            KeyCode::Enter => {
                let (drive, text) = (*drive, core::mem::take(text));
                return match drive {
                    None => self.close_with(vec![Command::Screenshot(text.into())]),
                    Some(drive) => match ImageSpec::parse(&text) {
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
