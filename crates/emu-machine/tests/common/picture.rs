//! A picture of a graphics mode, and text in it that was drawn in cells of 8 by 16 pixels with any font.

/// A picture of a graphics mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    /// Pixels per row.
    pub(crate) width: usize,
    /// Rows.
    pub(crate) height: usize,
    /// Red, green, blue of each pixel.
    pub(crate) rgb: Vec<u8>,
}

/// The pixels of a cell that have another colour than the upper left one, the background.
type Glyph = u128;

/// Which glyph each character was found to have.
type Alphabet = Vec<(char, Glyph)>;

const CELL: (usize, usize) = (8, 16);

impl Picture {
    /// How many different colours there are.
    pub(crate) fn colours(&self) -> usize {
        let mut all: Vec<&[u8]> = self.rgb.chunks_exact(3).collect();
        all.sort_unstable();
        all.dedup();
        all.len()
    }

    /// Whether all of `texts` can be read in the picture. The font need not be known: each character has one glyph in
    /// all of them, no two share one, and only the blank is empty. Any other text of some length fails that.
    pub(crate) fn reads(&self, texts: &[&str]) -> bool {
        let rows: Vec<Vec<Glyph>> = (0..self.height / CELL.1).map(|r| self.row(r)).collect();
        find_all(&rows, texts, &vec![(' ', 0)])
    }

    fn row(&self, row: usize) -> Vec<Glyph> {
        (0..self.width / CELL.0).map(|column| self.glyph(column, row)).collect()
    }

    fn glyph(&self, column: usize, row: usize) -> Glyph {
        let pixel = |i: usize| {
            let at = (row * CELL.1 + i / CELL.0) * self.width + column * CELL.0 + i % CELL.0;
            &self.rgb[3 * at..3 * at + 3]
        };
        (0..CELL.0 * CELL.1).filter(|&i| pixel(i) != pixel(0)).fold(0, |bits, i| bits | 1 << i)
    }
}

/// Whether every text stands somewhere, by an alphabet that has `known` in it.
fn find_all(rows: &[Vec<Glyph>], texts: &[&str], known: &Alphabet) -> bool {
    let Some((first, others)) = texts.split_first() else { return true };
    let length = first.chars().count();
    rows.iter()
        .flat_map(|row| row.windows(length))
        .any(|cells| read(cells, first, known.clone()).is_some_and(|alphabet| find_all(rows, others, &alphabet)))
}

/// The alphabet by which `cells` are `text`, if there is one.
fn read(cells: &[Glyph], text: &str, mut alphabet: Alphabet) -> Option<Alphabet> {
    for (&glyph, c) in cells.iter().zip(text.chars()) {
        match alphabet.iter().find(|known| known.0 == c || known.1 == glyph) {
            Some(&known) if known == (c, glyph) => {}
            Some(_) => return None,
            None => alphabet.push((c, glyph)),
        }
    }
    Some(alphabet)
}

#[test]
fn text_is_read_in_any_font() {
    // The glyph of a character: its code in the second row of pixels.
    let draw = |text: &str| {
        let mut rgb = vec![7; 3 * 64 * 8 * 16];
        for (i, c) in text.bytes().enumerate() {
            for bit in (0..8).filter(|bit| c != b' ' && c >> bit & 1 != 0) {
                rgb[3 * (64 * 8 + 8 * i + bit)] = 200;
            }
        }
        Picture { width: 64 * 8, height: 16, rgb }
    };
    let picture = draw("  [!!] Select a language  Choose");
    assert!(picture.reads(&["[!!] Select a language", "Choose"]));
    assert!(!picture.reads(&["[!!] Select a location"]));
    assert!(!picture.reads(&["[!!] Select a language", "Cheese"]));
}
