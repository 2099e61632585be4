//! The US layout of the IBM enhanced keyboard, in scan codes of set 1 [IBM PS/2 TR, keyboard p.4].

use emu_core::Key;

use super::{ALT, CTRL, SHIFT};

/// A key with the modifiers that are held while it is pressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chord {
    /// Held keys, in the order in which they are pressed.
    pub modifiers: Vec<Key>,
    /// The key.
    pub key: Key,
}

/// Rows of the keyboard: the first scan code, the characters without and with Shift.
const ROWS: [(u16, &str, &str); 4] = [
    (0x02, "1234567890-=", "!@#$%^&*()_+"),
    (0x10, "qwertyuiop[]", "QWERTYUIOP{}"),
    (0x1E, "asdfghjkl;'`", "ASDFGHJKL:\"~"),
    (0x2B, "\\zxcvbnm,./", "|ZXCVBNM<>?"),
];

/// The other keys by name.
const NAMES: &[(&str, u16)] = &[
    ("esc", 0x01),
    ("escape", 0x01),
    ("backspace", 0x0E),
    ("bs", 0x0E),
    ("tab", 0x0F),
    ("enter", 0x1C),
    ("return", 0x1C),
    ("ctrl", 0x1D),
    ("shift", 0x2A),
    ("rshift", 0x36),
    ("alt", 0x38),
    ("space", 0x39),
    ("caps", 0x3A),
    ("capslock", 0x3A),
    ("f1", 0x3B),
    ("f2", 0x3C),
    ("f3", 0x3D),
    ("f4", 0x3E),
    ("f5", 0x3F),
    ("f6", 0x40),
    ("f7", 0x41),
    ("f8", 0x42),
    ("f9", 0x43),
    ("f10", 0x44),
    ("f11", 0x57),
    ("f12", 0x58),
    ("numlock", 0x45),
    ("scrolllock", 0x46),
    ("kp7", 0x47),
    ("kp8", 0x48),
    ("kp9", 0x49),
    ("kp-", 0x4A),
    ("kp4", 0x4B),
    ("kp5", 0x4C),
    ("kp6", 0x4D),
    ("kp+", 0x4E),
    ("kp1", 0x4F),
    ("kp2", 0x50),
    ("kp3", 0x51),
    ("kp0", 0x52),
    ("kp.", 0x53),
    ("kp*", 0x37),
    ("kp/", 0xE035),
    ("kpenter", 0xE01C),
    ("rctrl", 0xE01D),
    ("ralt", 0xE038),
    ("altgr", 0xE038),
    ("print", 0xE037),
    ("sysrq", 0x54),
    ("home", 0xE047),
    ("up", 0xE048),
    ("pgup", 0xE049),
    ("pageup", 0xE049),
    ("left", 0xE04B),
    ("right", 0xE04D),
    ("end", 0xE04F),
    ("down", 0xE050),
    ("pgdn", 0xE051),
    ("pagedown", 0xE051),
    ("ins", 0xE052),
    ("insert", 0xE052),
    ("del", 0xE053),
    ("delete", 0xE053),
    ("win", 0xE05B),
    ("rwin", 0xE05C),
    ("menu", 0xE05D),
    ("pause", 0xE11D),
    ("break", 0xE046),
    // Characters that have a meaning of their own in scripts.
    ("lt", 0x33),
    ("gt", 0x34),
];

/// The chord that types `c`: a printable ASCII character, or one of the control characters that keyboards have.
#[must_use]
pub fn chord_for_char(c: char) -> Option<Chord> {
    let plain = |code| Some(Chord { modifiers: Vec::new(), key: Key(code) });
    match c {
        '\r' | '\n' => return plain(0x1C),
        '\t' => return plain(0x0F),
        '\x1B' => return plain(0x01),
        '\x08' | '\x7F' => return plain(0x0E),
        ' ' => return plain(0x39),
        '\x01'..='\x1A' => {
            let letter = chord_for_char((b'a' + (c as u8 - 1)) as char)?;
            return Some(Chord { modifiers: vec![CTRL], key: letter.key });
        }
        _ => {}
    }
    ROWS.iter().find_map(|&(first, lower, upper)| {
        let key = |i: usize| Key(first + i as u16);
        let at = |row: &str| row.chars().position(|r| r == c);
        if let Some(i) = at(lower) {
            return Some(Chord { modifiers: Vec::new(), key: key(i) });
        }
        at(upper).map(|i| Chord { modifiers: vec![SHIFT], key: key(i) })
    })
}

/// The key with `name`: as in the table, or a single character.
#[must_use]
pub fn key_by_name(name: &str) -> Option<Chord> {
    let lower = name.to_ascii_lowercase();
    if let Some((_, code)) = NAMES.iter().find(|(n, _)| *n == lower) {
        let modifiers = if matches!(lower.as_str(), "lt" | "gt") { vec![SHIFT] } else { Vec::new() };
        return Some(Chord { modifiers, key: Key(*code) });
    }
    let mut chars = name.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) => chord_for_char(c),
        _ => None,
    }
}

/// The modifier with `name`.
pub(super) fn modifier_by_name(name: &str) -> Option<Key> {
    match name.to_ascii_lowercase().as_str() {
        "ctrl" | "c" => Some(CTRL),
        "shift" | "s" => Some(SHIFT),
        "alt" | "a" => Some(ALT),
        "rctrl" => Some(Key(0xE01D)),
        "rshift" => Some(Key(0x36)),
        "ralt" | "altgr" => Some(Key(0xE038)),
        "win" => Some(Key(0xE05B)),
        _ => None,
    }
}

/// All names, for suggestions.
pub(super) fn names() -> Vec<&'static str> {
    NAMES.iter().map(|(n, _)| *n).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_printable_character_has_its_key() {
        let mut seen = Vec::new();
        for c in ' '..='~' {
            let chord = chord_for_char(c).unwrap_or_else(|| panic!("{c:?}"));
            assert!(!seen.contains(&chord), "{c:?}");
            seen.push(chord);
        }
        let key = |c| chord_for_char(c).unwrap().key.0;
        assert_eq!([key('='), key(']'), key('`'), key('\\'), key('z'), key('/')], [0x0D, 0x1B, 0x29, 0x2B, 0x2C, 0x35]);
        assert_eq!(chord_for_char('é'), None);
    }

    #[test]
    fn control_characters_are_chords() {
        assert_eq!(chord_for_char('\x03'), Some(Chord { modifiers: vec![CTRL], key: Key(0x2E) }));
        assert_eq!(chord_for_char('\r').unwrap().key, Key(0x1C));
    }
}
