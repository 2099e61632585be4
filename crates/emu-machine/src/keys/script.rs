//! Key scripts: text to type, with keys that have no character in angle brackets.

use super::layout::{Chord, chord_for_char, key_by_name, modifier_by_name, names};
use crate::config::suggestion;

/// One step of a key script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyStep {
    /// Press and release.
    Press(Chord),
    /// Wait for this many milliseconds of guest time.
    Wait(u32),
}

/// Reads a script: characters stand for themselves, `<enter>`, `<f1>`, `<up>`, `<ctrl-alt-del>`, `<alt-x>` for keys,
/// `<wait 500ms>` and `<wait 2s>` for pauses, `<lt>` for `<`.
///
/// # Errors
/// One line, for an unknown key name or a character that a US keyboard does not have.
pub fn parse_keys(text: &str) -> Result<Vec<KeyStep>, String> {
    let mut steps = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '<' {
            let Some(end) = rest.find('>') else {
                return Err(format!("`{rest}` has no `>`; a `<` to be typed is written <lt>"));
            };
            steps.push(parse_name(&rest[1..end])?);
            rest = &rest[end + 1..];
        } else {
            let chord = chord_for_char(c).ok_or_else(|| format!("a US keyboard has no key for `{c}`"))?;
            steps.push(KeyStep::Press(chord));
            rest = &rest[c.len_utf8()..];
        }
    }
    Ok(steps)
}

fn parse_name(name: &str) -> Result<KeyStep, String> {
    if let Some(time) = name.strip_prefix("wait") {
        return parse_wait(time.trim()).map(KeyStep::Wait).ok_or_else(|| format!("<{name}>: say <wait 500ms>"));
    }
    if let Some(chord) = key_by_name(name) {
        return Ok(KeyStep::Press(chord));
    }
    let mut modifiers = Vec::new();
    let mut rest = name;
    while let Some((first, others)) = rest.split_once('-') {
        let Some(key) = modifier_by_name(first).filter(|_| !others.is_empty()) else { break };
        modifiers.push(key);
        rest = others;
    }
    match key_by_name(rest) {
        Some(chord) => {
            modifiers.extend(chord.modifiers);
            Ok(KeyStep::Press(Chord { modifiers, key: chord.key }))
        }
        None => Err(format!("<{name}>: there is no key `{rest}`{}", suggestion(rest, &names()))),
    }
}

/// Milliseconds; at most an hour.
fn parse_wait(text: &str) -> Option<u32> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s')?, 1000),
    };
    number.trim().parse::<u32>().ok()?.checked_mul(unit).filter(|&ms| ms <= 3_600_000)
}

#[cfg(test)]
mod tests {
    use super::super::{ALT, CTRL, SHIFT};
    use super::*;
    use emu_core::Key;

    fn press(modifiers: &[Key], code: u16) -> KeyStep {
        KeyStep::Press(Chord { modifiers: modifiers.to_vec(), key: Key(code) })
    }

    #[test]
    fn scripts_mix_text_and_keys() {
        let steps = parse_keys("a<enter><ctrl-alt-del><alt-X><wait 2s><lt><f10><ctrl-->").unwrap();
        let expected = [
            press(&[], 0x1E),
            press(&[], 0x1C),
            press(&[CTRL, ALT], 0xE053),
            press(&[ALT, SHIFT], 0x2D),
            KeyStep::Wait(2000),
            press(&[SHIFT], 0x33),
            press(&[], 0x44),
            press(&[CTRL], 0x0C),
        ];
        assert_eq!(steps, expected);
    }

    #[test]
    fn mistakes_are_explained() {
        let text = |s| parse_keys(s).unwrap_err();
        assert!(text("<entre>").contains("did you mean `enter`"));
        assert!(text("a < b").contains("<lt>"));
        assert!(text("ü").contains('ü'));
        assert!(text("<wait x>").contains("<wait 500ms>"));
        assert!(text("<ctrl->").contains("no key"));
    }
}
