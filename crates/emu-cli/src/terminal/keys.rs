//! Keys of a terminal as keys of a PC.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use emu_machine::keys::{ALT, CTRL, Chord, SHIFT, chord_for_char, key_by_name};

/// The chord that a terminal's key event stands for; `None` for what a PC keyboard does not have.
pub(super) fn chord(event: &KeyEvent) -> Option<Chord> {
    let (mut chord, shift_counts) = match event.code {
        KeyCode::Char(c) => (chord_for_char(c.to_ascii_lowercase_if(event.modifiers))?, false),
        other => (key_by_name(&name(other)?)?, true),
    };
    let held = [
        (CTRL, event.modifiers.contains(KeyModifiers::CONTROL)),
        (ALT, event.modifiers.contains(KeyModifiers::ALT)),
        (SHIFT, event.modifiers.contains(KeyModifiers::SHIFT) && shift_counts),
    ];
    let modifiers = held.into_iter().filter_map(|(key, on)| on.then_some(key));
    chord.modifiers = modifiers.chain(chord.modifiers).collect();
    Some(chord)
}

trait LowerIf {
    /// Terminals report Ctrl-C as `c` or `C`; the key is the same.
    fn to_ascii_lowercase_if(self, modifiers: KeyModifiers) -> Self;
}

impl LowerIf for char {
    fn to_ascii_lowercase_if(self, modifiers: KeyModifiers) -> char {
        if modifiers.contains(KeyModifiers::CONTROL) { self.to_ascii_lowercase() } else { self }
    }
}

/// A key's name as `emu_machine::keys` knows it.
fn name(code: KeyCode) -> Option<String> {
    let name = match code {
        KeyCode::Enter => "enter",
        KeyCode::Backspace => "backspace",
        KeyCode::Esc => "esc",
        KeyCode::Tab => "tab",
        KeyCode::BackTab => "tab",
        KeyCode::Left => "left",
        KeyCode::Right => "right",
        KeyCode::Up => "up",
        KeyCode::Down => "down",
        KeyCode::Home => "home",
        KeyCode::End => "end",
        KeyCode::PageUp => "pgup",
        KeyCode::PageDown => "pgdn",
        KeyCode::Insert => "ins",
        KeyCode::Delete => "del",
        KeyCode::PrintScreen => "print",
        KeyCode::Pause => "pause",
        KeyCode::Menu => "menu",
        KeyCode::KeypadBegin => "kp5",
        KeyCode::F(n @ 1..=12) => return Some(format!("f{n}")),
        _ => return None,
    };
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use emu_core::Key;

    fn keys(code: KeyCode, modifiers: KeyModifiers) -> (Vec<Key>, Key) {
        let c = chord(&KeyEvent::new(code, modifiers)).unwrap();
        (c.modifiers, c.key)
    }

    #[test]
    fn terminal_keys_are_pc_keys() {
        assert_eq!(keys(KeyCode::Char('C'), KeyModifiers::CONTROL), (vec![CTRL], Key(0x2E)));
        assert_eq!(keys(KeyCode::Char('?'), KeyModifiers::SHIFT), (vec![SHIFT], Key(0x35)));
        assert_eq!(keys(KeyCode::Char('x'), KeyModifiers::ALT), (vec![ALT], Key(0x2D)));
        assert_eq!(keys(KeyCode::F(5), KeyModifiers::SHIFT), (vec![SHIFT], Key(0x3F)));
        assert_eq!(keys(KeyCode::BackTab, KeyModifiers::SHIFT), (vec![SHIFT], Key(0x0F)));
        assert_eq!(keys(KeyCode::Up, KeyModifiers::NONE), (vec![], Key(0xE048)));
        assert_eq!(chord(&KeyEvent::new(KeyCode::Char('ж'), KeyModifiers::NONE)), None);
    }
}
