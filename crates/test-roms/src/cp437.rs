//! Text in code page 437, the character set of the PC's text screens [IBM PC TR, "Character set"].

/// The characters of codes B0h to DFh: shades, box drawing, blocks.
const BLOCKS: &str = "░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀";
/// A few others that the screens use.
const OTHERS: [(char, u8); 8] =
    [('►', 0x10), ('◄', 0x11), ('↑', 0x18), ('↓', 0x19), ('→', 0x1A), ('←', 0x1B), ('·', 0xFA), ('■', 0xFE)];

/// The code of `c`; `?` if the page has none that is used here.
#[must_use]
pub(crate) fn code(c: char) -> u8 {
    if c.is_ascii() {
        return u8::try_from(c).unwrap_or(b'?');
    }
    if let Some(at) = BLOCKS.chars().position(|b| b == c) {
        return u8::try_from(0xB0 + at).unwrap_or(b'?');
    }
    OTHERS.iter().find(|(o, _)| *o == c).map_or(b'?', |&(_, code)| code)
}

/// `text` in code page 437.
#[must_use]
pub(crate) fn encode(text: &str) -> Vec<u8> {
    text.chars().map(code).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_page() {
        assert_eq!(encode("A░│┌█▀·"), [b'A', 0xB0, 0xB3, 0xDA, 0xDB, 0xDF, 0xFA]);
        assert_eq!(code('é'), b'?');
    }
}
