//! Keys: by name, by the character they type on a US keyboard, and as scripts of both.

mod layout;
mod script;

pub use layout::{Chord, chord_for_char, key_by_name};
pub use script::{KeyStep, parse_keys};

use emu_core::{Input, Key};

/// The modifier keys, on the left side.
pub const CTRL: Key = Key(0x1D);
/// Left Shift.
pub const SHIFT: Key = Key(0x2A);
/// Left Alt.
pub const ALT: Key = Key(0x38);
/// Delete of the separate block.
pub const DELETE: Key = Key(0xE053);

/// What pressing and releasing `chord` sends: its modifiers, the key, and all of it back.
#[must_use]
pub fn strokes(chord: &Chord) -> Vec<Input> {
    let keys: Vec<Key> = chord.modifiers.iter().copied().chain([chord.key]).collect();
    let down = keys.iter().map(|&key| Input::Key { key, down: true });
    let up = keys.iter().rev().map(|&key| Input::Key { key, down: false });
    down.chain(up).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modifiers_enclose_the_key() {
        let sent: Vec<(u16, bool)> = strokes(&chord_for_char('A').unwrap())
            .into_iter()
            .map(|i| if let Input::Key { key, down } = i { (key.0, down) } else { panic!("a key") })
            .collect();
        assert_eq!(sent, [(0x2A, true), (0x1E, true), (0x1E, false), (0x2A, false)]);
    }
}
