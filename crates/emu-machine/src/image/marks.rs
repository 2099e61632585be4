//! A set of numbers for checks of tables: which places of a file are taken. Neighbours take a bit each, so that the set of
//! a whole image's blocks stays small.

use std::collections::BTreeMap;

/// Numbers of a piece.
const PIECE: u64 = 4096;

/// The set.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    pieces: BTreeMap<u64, Box<[u64; PIECE as usize / 64]>>,
    len: u64,
}

impl Marks {
    /// Adds a number; returns false if it was there.
    pub(crate) fn add(&mut self, n: u64) -> bool {
        let piece = self.pieces.entry(n / PIECE).or_insert_with(|| Box::new([0; PIECE as usize / 64]));
        let (word, bit) = (&mut piece[(n % PIECE / 64) as usize], 1 << (n % 64));
        let new = *word & bit == 0;
        *word |= bit;
        self.len += u64::from(new);
        new
    }

    /// Adds `n` numbers from `first` on; returns false if one was there.
    pub(crate) fn add_range(&mut self, first: u64, n: u64) -> bool {
        (first..first + n).filter(|n| !self.add(*n)).count() == 0
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The largest.
    pub(crate) fn last(&self) -> Option<u64> {
        let (number, piece) = self.pieces.last_key_value()?;
        let word = piece.iter().rposition(|w| *w != 0)?;
        Some(number * PIECE + word as u64 * 64 + u64::from(piece[word].ilog2()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_set() {
        let mut marks = Marks::default();
        let numbers = [5, 0, 63, 64, 4095, 4096, 1 << 40];
        assert!(numbers.iter().all(|n| marks.add(*n)) && !numbers.iter().any(|n| marks.add(*n)));
        assert_eq!((marks.len(), marks.last(), Marks::default().last()), (7, Some(1 << 40), None));
    }
}
