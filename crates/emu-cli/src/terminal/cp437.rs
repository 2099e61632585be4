//! Code page 437, the character set of the IBM PC's ROM, in Unicode.

const LOW: &str = " ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼";
const HIGH: &str = "⌂ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{A0}";

/// The character that `code` shows.
pub(super) fn to_char(code: u8) -> char {
    let c = match code {
        0..=31 => LOW.chars().nth(code.into()),
        32..=126 => Some(code as char),
        _ => HIGH.chars().nth(usize::from(code) - 127),
    };
    c.unwrap_or(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_its_256_places() {
        assert_eq!((LOW.chars().count(), HIGH.chars().count()), (32, 129));
        assert_eq!([0xB0, 0xC9, 0xDB, 0xE1, 0xFB, 0x10].map(to_char), ['░', '╔', '█', 'ß', '√', '►']);
    }
}
