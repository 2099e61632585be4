//! Scan codes: the three sets, and the 8042's translation of set 2 into set 1.
//!
//! Source: IBM PS/2 Hardware Interface Technical Reference, "Keyboard (101- and 102-key)", and the translation table of the
//! 8042's firmware. A key is named by its code in set 1 ([`emu_core::Key`]).

use emu_core::Key;

/// What the 8042 makes of a byte of set 2 below 80h. Above, only 83h (F7) and 84h (SysRq) change.
#[rustfmt::skip]
const TO_SET_1: [u8; 128] = [
    0xFF, 0x43, 0x41, 0x3F, 0x3D, 0x3B, 0x3C, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3E, 0x0F, 0x29, 0x59,
    0x65, 0x38, 0x2A, 0x70, 0x1D, 0x10, 0x02, 0x5A, 0x66, 0x71, 0x2C, 0x1F, 0x1E, 0x11, 0x03, 0x5B,
    0x67, 0x2E, 0x2D, 0x20, 0x12, 0x05, 0x04, 0x5C, 0x68, 0x39, 0x2F, 0x21, 0x14, 0x13, 0x06, 0x5D,
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5E, 0x6A, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5F,
    0x6B, 0x33, 0x25, 0x17, 0x18, 0x0B, 0x0A, 0x60, 0x6C, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0C, 0x61,
    0x6D, 0x73, 0x28, 0x74, 0x1A, 0x0D, 0x62, 0x6E, 0x3A, 0x36, 0x1C, 0x1B, 0x75, 0x2B, 0x63, 0x76,
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7A, 0x0E, 0x7B, 0x7C, 0x4F, 0x7D, 0x4B, 0x47, 0x7E, 0x7F, 0x6F,
    0x52, 0x53, 0x50, 0x4C, 0x4D, 0x48, 0x01, 0x45, 0x57, 0x4E, 0x51, 0x4A, 0x37, 0x49, 0x46, 0x54,
];

/// The translation of one byte, apart from the F0h of a break code.
pub(super) fn translate(byte: u8) -> u8 {
    match byte {
        0x00..=0x7F => TO_SET_1[usize::from(byte)],
        0x83 => 0x41,
        0x84 => 0x54,
        _ => byte,
    }
}

/// The code in set 2 of a code in set 1 (below 80h): the inverse of the translation.
fn set_2(code: u8) -> u8 {
    match code & 0x7F {
        0x41 => 0x83,
        0x54 => 0x84,
        c => TO_SET_1.iter().position(|&t| t == c).unwrap_or(0) as u8,
    }
}

/// Codes of set 3 by key: (set 1 code with E0h above, set 3 code).
#[rustfmt::skip]
const SET_3: [(u16, u8); 107] = [
    (0x01, 0x08), (0x02, 0x16), (0x03, 0x1E), (0x04, 0x26), (0x05, 0x25), (0x06, 0x2E), (0x07, 0x36), (0x08, 0x3D),
    (0x09, 0x3E), (0x0A, 0x46), (0x0B, 0x45), (0x0C, 0x4E), (0x0D, 0x55), (0x0E, 0x66), (0x0F, 0x0D), (0x10, 0x15),
    (0x11, 0x1D), (0x12, 0x24), (0x13, 0x2D), (0x14, 0x2C), (0x15, 0x35), (0x16, 0x3C), (0x17, 0x43), (0x18, 0x44),
    (0x19, 0x4D), (0x1A, 0x54), (0x1B, 0x5B), (0x1C, 0x5A), (0x1D, 0x11), (0x1E, 0x1C), (0x1F, 0x1B), (0x20, 0x23),
    (0x21, 0x2B), (0x22, 0x34), (0x23, 0x33), (0x24, 0x3B), (0x25, 0x42), (0x26, 0x4B), (0x27, 0x4C), (0x28, 0x52),
    (0x29, 0x0E), (0x2A, 0x12), (0x2B, 0x5C), (0x2C, 0x1A), (0x2D, 0x22), (0x2E, 0x21), (0x2F, 0x2A), (0x30, 0x32),
    (0x31, 0x31), (0x32, 0x3A), (0x33, 0x41), (0x34, 0x49), (0x35, 0x4A), (0x36, 0x59), (0x37, 0x7E), (0x38, 0x19),
    (0x39, 0x29), (0x3A, 0x14), (0x3B, 0x07), (0x3C, 0x0F), (0x3D, 0x17), (0x3E, 0x1F), (0x3F, 0x27), (0x40, 0x2F),
    (0x41, 0x37), (0x42, 0x3F), (0x43, 0x47), (0x44, 0x4F), (0x45, 0x76), (0x46, 0x5F), (0x47, 0x6C), (0x48, 0x75),
    (0x49, 0x7D), (0x4A, 0x84), (0x4B, 0x6B), (0x4C, 0x73), (0x4D, 0x74), (0x4E, 0x7C), (0x4F, 0x69), (0x50, 0x72),
    (0x51, 0x7A), (0x52, 0x70), (0x53, 0x71), (0x56, 0x13), (0x57, 0x56), (0x58, 0x5E), (0xE01C, 0x79), (0xE01D, 0x58),
    (0xE035, 0x77), (0xE037, 0x57), (0xE038, 0x39), (0xE047, 0x6E), (0xE048, 0x63), (0xE049, 0x6F), (0xE04B, 0x61),
    (0xE04D, 0x6A), (0xE04F, 0x65), (0xE050, 0x60), (0xE051, 0x6D), (0xE052, 0x67), (0xE053, 0x64), (0xE05B, 0x8B),
    (0xE05C, 0x8C), (0xE05D, 0x8D), (0xE11D, 0x62), (0x70, 0x87), (0x73, 0x51),
];

/// The code in set 3; `None` for keys that it does not have.
pub(super) fn set_3(key: Key) -> Option<u8> {
    SET_3.iter().find(|k| k.0 == key.0).map(|k| k.1)
}

/// How keys of set 3 behave after power-on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyType {
    Typematic,
    MakeBreak,
    Make,
    All,
}

impl KeyType {
    pub(super) const ALL: [KeyType; 4] = [KeyType::Typematic, KeyType::MakeBreak, KeyType::Make, KeyType::All];

    /// The type by default of the key with this code in set 3.
    pub(super) fn of(code: u8) -> KeyType {
        match code {
            0x11 | 0x12 | 0x14 | 0x19 | 0x59 => KeyType::MakeBreak,
            // Functions, right Alt and Ctrl, editing keys, the keypad but for its plus, windows keys.
            0x08 | 0x07 | 0x0F | 0x17 | 0x1F | 0x27 | 0x2F | 0x37 | 0x3F | 0x47 | 0x4F | 0x56 | 0x5E => KeyType::Make,
            0x39 | 0x57 | 0x58 | 0x5F | 0x62 | 0x65 | 0x67 | 0x69 | 0x6B..=0x7B | 0x7D..=0x8D => KeyType::Make,
            _ => KeyType::Typematic,
        }
    }

    pub(super) fn repeats(self) -> bool {
        matches!(self, KeyType::Typematic | KeyType::All)
    }

    pub(super) fn breaks(self) -> bool {
        matches!(self, KeyType::MakeBreak | KeyType::All)
    }
}

/// Modifiers that change what a key sends in sets 1 and 2.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Modifiers {
    pub(super) left_shift: bool,
    pub(super) right_shift: bool,
    pub(super) ctrl: bool,
    pub(super) alt: bool,
    pub(super) num_lock: bool,
}

/// Appends one code of set 1 or 2, with E0h before it if `key` says so.
fn push(out: &mut Vec<u8>, set: u8, key: u16, down: bool) {
    if key & 0xFF00 == 0xE000 {
        out.push(0xE0);
    }
    let code = key as u8 & 0x7F;
    if set == 1 {
        out.push(if down { code } else { code | 0x80 });
    } else {
        if !down {
            out.push(0xF0);
        }
        out.push(set_2(code));
    }
}

/// The make or break sequence of `key` in set 1 or 2.
pub(super) fn sequence(set: u8, key: Key, down: bool, m: Modifiers) -> Vec<u8> {
    let mut out = Vec::new();
    match key {
        // Ctrl+Pause is Break; both make and break come with the make.
        Key::PAUSE if down && m.ctrl => {
            push(&mut out, set, 0xE046, true);
            push(&mut out, set, 0xE046, false);
        }
        Key::PAUSE if down => {
            for down in [true, false] {
                out.push(0xE1);
                push(&mut out, set, 0x1D, down);
                push(&mut out, set, 0x45, down);
            }
        }
        Key::PAUSE => {}
        Key(0xE037) if m.alt => push(&mut out, set, 0x54, down), // SysRq
        Key(0xE037) => wrapped(&mut out, set, 0xE037, down, &fake_shift(!(m.ctrl || m.left_shift || m.right_shift))),
        Key(k @ (0xE047..=0xE049 | 0xE04B | 0xE04D | 0xE04F..=0xE053)) => {
            wrapped(&mut out, set, k, down, &navigation(m));
        }
        Key(0xE035) => wrapped(&mut out, set, 0xE035, down, &released_shifts(m)),
        Key(k) => push(&mut out, set, k, down),
    }
    out
}

/// A shift that is not there, made before the key.
fn fake_shift(wanted: bool) -> Vec<(u16, bool)> {
    if wanted { vec![(0xE02A, true)] } else { vec![] }
}

/// Shifts that are there, released before the key.
fn released_shifts(m: Modifiers) -> Vec<(u16, bool)> {
    let held = [(m.left_shift, 0xE02A), (m.right_shift, 0xE036)];
    held.into_iter().filter(|h| h.0).map(|h| (h.1, false)).collect()
}

/// The grey cursor keys pretend to be those of the keypad of an 84-key keyboard without Num Lock.
fn navigation(m: Modifiers) -> Vec<(u16, bool)> {
    let shifted = m.left_shift || m.right_shift;
    if m.num_lock { fake_shift(!shifted) } else { released_shifts(m) }
}

/// The key between changes of shift and their undoing.
fn wrapped(out: &mut Vec<u8>, set: u8, key: u16, down: bool, shifts: &[(u16, bool)]) {
    if down {
        shifts.iter().for_each(|&(k, made)| push(out, set, k, made));
    }
    push(out, set, key, down);
    if !down {
        shifts.iter().rev().for_each(|&(k, made)| push(out, set, k, !made));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Set 2 through the 8042 is set 1, for every key and modifier.
    #[test]
    fn translated_set_2_is_set_1() {
        let keys = SET_3.iter().map(|k| k.0).chain([0x54]);
        for key in keys {
            for bits in 0..32u8 {
                let bit = |n: u8| bits >> n & 1 != 0;
                let (left_shift, right_shift, ctrl, alt, num_lock) = (bit(0), bit(1), bit(2), bit(3), bit(4));
                let m = Modifiers { left_shift, right_shift, ctrl, alt, num_lock };
                for down in [true, false] {
                    let mut brk = 0;
                    let mut translated = vec![];
                    for b in sequence(2, Key(key), down, m) {
                        if b == 0xF0 {
                            brk = 0x80;
                        } else {
                            translated.push(translate(b) | brk);
                            brk = 0;
                        }
                    }
                    assert_eq!(translated, sequence(1, Key(key), down, m), "{key:x} {m:?}");
                }
            }
        }
    }

    #[test]
    fn special_keys_send_what_the_reference_lists() {
        let none = Modifiers::default();
        let shift = Modifiers { left_shift: true, ..none };
        let num = Modifiers { num_lock: true, ..none };
        let ctrl = Modifiers { ctrl: true, ..none };
        let cases: [(u16, bool, Modifiers, &[u8]); 10] = [
            (0x1E, true, none, &[0x1C]),
            (0x1E, false, none, &[0xF0, 0x1C]),
            (0x41, true, none, &[0x83]),
            (0xE052, true, none, &[0xE0, 0x70]),
            (0xE052, true, shift, &[0xE0, 0xF0, 0x12, 0xE0, 0x70]),
            (0xE052, false, num, &[0xE0, 0xF0, 0x70, 0xE0, 0xF0, 0x12]),
            (0xE037, true, none, &[0xE0, 0x12, 0xE0, 0x7C]),
            (0xE037, true, ctrl, &[0xE0, 0x7C]),
            (0xE11D, true, none, &[0xE1, 0x14, 0x77, 0xE1, 0xF0, 0x14, 0xF0, 0x77]),
            (0xE11D, true, ctrl, &[0xE0, 0x7E, 0xE0, 0xF0, 0x7E]),
        ];
        for (key, down, m, bytes) in cases {
            assert_eq!(sequence(2, Key(key), down, m), bytes, "{key:x} {down} {m:?}");
        }
        assert_eq!(set_3(Key(0x0F)), Some(0x0D));
    }

    #[test]
    fn set_3_codes_are_unique() {
        let mut codes: Vec<u8> = SET_3.iter().map(|k| k.1).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), SET_3.len());
    }
}
