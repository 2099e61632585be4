//! PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM: string comparison in one instruction [SDM-2B 4.1 "Imm8 control byte operation
//! for PCMPxSTRx"]. The control byte chooses element type (1:0), aggregation (3:2), polarity (5:4) and output form (6).

use super::lane::{self, Lane};

/// One of the two strings: elements as integers of one type, and how many of them are valid.
#[derive(Debug, Clone, Copy)]
struct Text {
    elements: [i32; 16],
    valid: usize,
}

/// What a comparison yields before it is put into ECX or XMM0.
#[derive(Debug, Clone, Copy)]
pub struct Matches {
    bits: u32,
    count: usize,
    first_valid: usize,
    second_valid: usize,
}

/// Elements in a vector under control byte `imm`: 8 words or 16 bytes.
fn elements(imm: u8) -> usize {
    if imm & 1 != 0 { 8 } else { 16 }
}

fn element(v: &[u8; 16], i: usize, imm: u8) -> i32 {
    match imm & 3 {
        0 => u8::get(v, i).into(),
        1 => u16::get(v, i).into(),
        2 => i8::get(v, i).into(),
        _ => i16::get(v, i).into(),
    }
}

/// Split a vector into elements; `length` is the explicit length, or `None` to end at the first zero element.
fn split(v: [u8; 16], imm: u8, length: Option<u64>) -> Text {
    let count = elements(imm);
    let mut text = Text { elements: [0; 16], valid: 0 };
    for (i, slot) in text.elements[..count].iter_mut().enumerate() {
        *slot = element(&v, i, imm);
    }
    let zero = || text.elements[..count].iter().position(|&e| e == 0).unwrap_or(count);
    text.valid = length.map_or_else(zero, |n| n.min(count as u64) as usize);
    text
}

/// Whether position `j` matches under the aggregation of `imm`, with the overrides for invalid elements.
fn matches_at(a: &Text, b: &Text, j: usize, imm: u8, count: usize) -> bool {
    let (set, x) = (&a.elements[..a.valid], b.elements[j]);
    match imm >> 2 & 3 {
        0 => j < b.valid && set.contains(&x),
        1 => j < b.valid && set.chunks_exact(2).any(|range| range[0] <= x && x <= range[1]),
        2 => match (j < a.valid, j < b.valid) {
            (true, true) => a.elements[j] == x,
            (first, second) => first == second,
        },
        _ => (0..a.valid.min(count - j)).all(|i| i + j < b.valid && a.elements[i] == b.elements[i + j]),
    }
}

/// Compare string `a` (the destination operand) with `b` (the source). `lengths` are the absolute values of EAX and
/// EDX for the explicit forms.
pub fn compare(a: [u8; 16], b: [u8; 16], imm: u8, lengths: Option<(u64, u64)>) -> Matches {
    let (a, b) = (split(a, imm, lengths.map(|l| l.0)), split(b, imm, lengths.map(|l| l.1)));
    let count = elements(imm);
    let raw = (0..count).fold(0u32, |bits, j| bits | u32::from(matches_at(&a, &b, j, imm, count)) << j);
    let all = (1u32 << count) - 1;
    let bits = match imm >> 4 & 3 {
        1 => raw ^ all,
        3 => raw ^ ((1u32 << b.valid) - 1),
        _ => raw,
    };
    Matches { bits, count, first_valid: a.valid, second_valid: b.valid }
}

impl Matches {
    /// The index for ECX: of the first or, with bit 6 of `imm`, last match; the element count if there is none.
    pub fn index(&self, imm: u8) -> u32 {
        if self.bits == 0 {
            self.count as u32
        } else if imm & 0x40 != 0 {
            31 - self.bits.leading_zeros()
        } else {
            self.bits.trailing_zeros()
        }
    }

    /// The mask for XMM0: one bit per element or, with bit 6 of `imm`, one element of all ones each.
    pub fn mask(&self, imm: u8) -> [u8; 16] {
        if imm & 0x40 == 0 {
            u128::from(self.bits).to_le_bytes()
        } else if imm & 1 != 0 {
            lane::build::<u16, 16>(|i| 0u16.wrapping_sub((self.bits >> i & 1) as u16))
        } else {
            lane::build::<u8, 16>(|i| 0u8.wrapping_sub((self.bits >> i & 1) as u8))
        }
    }

    /// (CF, ZF, SF, OF); AF and PF are cleared.
    pub fn flags(&self) -> (bool, bool, bool, bool) {
        (self.bits != 0, self.second_valid < self.count, self.first_valid < self.count, self.bits & 1 != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn padded(text: &str) -> [u8; 16] {
        std::array::from_fn(|i| *text.as_bytes().get(i).unwrap_or(&0))
    }

    #[test]
    fn finds_sets_ranges_and_substrings() {
        let index = |set, text, imm| compare(padded(set), padded(text), imm, None).index(imm);
        assert_eq!(index("\r\n", "a line\n", 0x00), 6);
        assert_eq!(index("09", "room 101", 0x04), 5);
        assert_eq!(index("09", "room 101", 0x44), 7);
        assert_eq!(index("need", "a needle", 0x0c), 2);
        assert_eq!(index("none", "a needle", 0x0c), 16);
        // "Each equal", negated within the valid part: where two strings first differ.
        assert_eq!(index("abcde", "abxde", 0x18), 2);
        assert_eq!(index("same", "same", 0x18), 16);
    }

    #[test]
    fn lengths_and_masks() {
        let m = compare(padded("ab"), padded("xaxb"), 0x40, Some((2, 3)));
        assert_eq!(m.flags(), (true, true, true, false));
        assert_eq!(u128::from_le_bytes(m.mask(0x40)), 0xff00);
        assert_eq!(u128::from_le_bytes(m.mask(0)), 2);
        let words = compare([1; 16], [1; 16], 0x49, Some((u64::MAX, 8)));
        assert_eq!((words.flags(), words.mask(0x49)), ((true, false, false, true), [0xff; 16]));
    }
}
