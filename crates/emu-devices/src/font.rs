//! The fonts that a VGA BIOS brings: code page 437 in 8, 14 and 16 lines. Their sources and licences stand in
//! `fonts/LICENSE`.
//!
//! Each glyph is one byte per scan line, from the top; bit 7 is the leftmost dot.

/// 8 × 8, for modes with 200 lines and for 50 rows of text.
pub const FONT_8X8: &[u8; 256 * 8] = include_bytes!("../fonts/cp437-8x8.bin");
/// 8 × 14, for modes with 350 lines.
pub const FONT_8X14: &[u8; 256 * 14] = include_bytes!("../fonts/cp437-8x14.bin");
/// 8 × 16, for modes with 400 and 480 lines.
pub const FONT_8X16: &[u8; 256 * 16] = include_bytes!("../fonts/cp437-8x16.bin");

/// The glyph of `code` in the font of `height` lines (8, 14 or 16).
#[must_use]
pub fn glyph(height: usize, code: u8) -> Option<&'static [u8]> {
    let font: &'static [u8] = match height {
        8 => FONT_8X8,
        14 => FONT_8X14,
        16 => FONT_8X16,
        _ => return None,
    };
    font.chunks_exact(height).nth(code.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(height: usize, code: u8) -> &'static [u8] {
        glyph(height, code).expect("three fonts of 256 glyphs")
    }

    #[test]
    fn only_the_blanks_are_blank() {
        for height in [8, 14, 16] {
            let blank: Vec<u8> = (0..=255).filter(|&c| rows(height, c).iter().all(|&r| r == 0)).collect();
            assert_eq!(blank, [0x00, 0x20, 0xFF]);
            let letters: std::collections::BTreeSet<_> = (0x21..0x7F).map(|c| rows(height, c)).collect();
            assert_eq!(letters.len(), 0x7F - 0x21, "each glyph looks its own way");
        }
    }

    /// At each edge a line is one of the two kinds that exist, and lies where the plain line of that kind has it.
    #[test]
    fn box_drawing_connects() {
        for height in [8, 14, 16] {
            let edge = |code, bit: u8| rows(height, code).iter().map(|r| r >> bit & 1).collect::<Vec<_>>();
            let (first, last) = (|c| rows(height, c)[0], |c| rows(height, c)[height - 1]);
            for code in 0xB3..=0xDA {
                for bit in [0, 7] {
                    let e = edge(code, bit);
                    assert!(e.contains(&0));
                    assert!(e.iter().all(|&b| b == 0) || [0xC4, 0xCD].iter().any(|&l| edge(l, bit) == e), "{code:#x}");
                }
                for row in [first(code), last(code)] {
                    assert!([0, first(0xB3), first(0xBA)].contains(&row), "{code:#x}");
                }
            }
            let reaches = |code| {
                let side = |bit| edge(code, bit).contains(&1);
                (first(code) != 0, last(code) != 0, side(7), side(0))
            };
            assert_eq!(reaches(0xB4), (true, true, true, false));
            assert_eq!(reaches(0xC9), (false, true, false, true));
            assert_eq!(reaches(0xD0), (true, false, true, true));
            assert_eq!(reaches(0xD9), (true, false, true, false));
            assert_eq!(reaches(0xC5), (true, true, true, true));
        }
    }
}
