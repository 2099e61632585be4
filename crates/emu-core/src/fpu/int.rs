//! Integers in and out: FILD, FIST(P), FISTTP, FRNDINT, and packed decimal [SDM-1 4.2.1, 4.7].

use super::f80::{Class, F80, INTEGER_BIT};
use super::nan;
use super::round::{C1, Ctl, IE, Mode, Out, PE};

/// The packed-decimal indefinite [SDM-1 table 4-4].
pub const BCD_INDEFINITE: [u8; 10] = [0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff];

/// The number `v`, exactly.
#[inline]
pub fn from_int(v: i64) -> F80 {
    let sign = if v < 0 { 0x8000 } else { 0 };
    from_magnitude(sign, v.unsigned_abs())
}

fn from_magnitude(sign: u16, v: u64) -> F80 {
    if v == 0 {
        return F80::zero(sign);
    }
    let shift = v.leading_zeros();
    F80::new(sign | (16383 + 63 - shift as u16), v << shift)
}

/// A magnitude below 2^63 in value rounded to an integer: the integer and PE, C1.
fn to_magnitude(sign: u16, exp: i32, sig: u64, mode: Mode) -> (u64, u16) {
    let shift = 63 - (exp - 16383);
    let (whole, rest) = match shift {
        1..=63 => (sig >> shift, sig << (64 - shift)),
        64 => (0, sig),
        _ => (0, 1),
    };
    if rest == 0 {
        return (whole, 0);
    }
    let up = match mode {
        Mode::Nearest => rest > INTEGER_BIT || (rest == INTEGER_BIT && whole & 1 != 0),
        Mode::Down => sign != 0,
        Mode::Up => sign == 0,
        Mode::Zero => false,
    };
    if up { (whole + 1, PE | C1) } else { (whole, PE) }
}

/// `a` as a signed integer of `bits` bits (16, 32, 64), rounded in `mode`, with IE, or PE and C1. Whatever does
/// not fit gives the integer indefinite and IE.
pub fn to_int(a: F80, bits: u32, mode: Mode) -> (i64, u16) {
    let indefinite = (i64::MIN >> (64 - bits), IE);
    let (sign, exp, sig) = match a.class() {
        Class::Zero => return (0, 0),
        Class::Normal | Class::Denormal => a.unpack(),
        _ => return indefinite,
    };
    if exp - 16383 >= 63 {
        let is_min = bits == 64 && sign != 0 && exp - 16383 == 63 && sig == INTEGER_BIT;
        return if is_min { (i64::MIN, 0) } else { indefinite };
    }
    let (magnitude, flags) = to_magnitude(sign, exp, sig, mode);
    let limit = (1u64 << (bits - 1)) - u64::from(sign == 0);
    if magnitude > limit {
        return indefinite;
    }
    let value = if sign != 0 { (magnitude as i64).wrapping_neg() } else { magnitude as i64 };
    (value, flags)
}

/// FRNDINT.
pub fn round_to_int(a: F80, ctl: Ctl) -> Out {
    let class = a.class();
    if let Some(out) = nan::one(a, class, ctl) {
        return out;
    }
    if matches!(class, Class::Zero | Class::Infinity) {
        return Out::exact(a);
    }
    let pre = nan::denormal(class, class);
    if !ctl.masked(pre) {
        return Out::with(a, pre);
    }
    let (sign, exp, sig) = a.unpack();
    if exp - 16383 >= 63 {
        return Out::exact(a);
    }
    let (magnitude, flags) = to_magnitude(sign, exp, sig, ctl.mode());
    Out::with(from_magnitude(sign, magnitude), pre | flags)
}

/// FBLD: eighteen decimal digits and a sign. Digits above nine are undefined by the architecture; they count with
/// their binary value, as in silicon.
pub fn from_bcd(b: [u8; 10]) -> F80 {
    let magnitude = b[..9]
        .iter()
        .rev()
        .fold(0u64, |acc, &byte| acc.wrapping_mul(100).wrapping_add(u64::from(byte >> 4) * 10 + u64::from(byte & 15)));
    from_magnitude(u16::from(b[9] & 0x80) << 8, magnitude)
}

/// FBSTP: `a` rounded to an integer of at most eighteen digits, else the indefinite with IE.
pub fn to_bcd(a: F80, mode: Mode) -> ([u8; 10], u16) {
    let (sign, exp, sig) = match a.class() {
        Class::Zero => (a.sign(), 0, 0),
        Class::Normal | Class::Denormal => a.unpack(),
        _ => return (BCD_INDEFINITE, IE),
    };
    if exp - 16383 >= 63 {
        return (BCD_INDEFINITE, IE);
    }
    let (mut magnitude, flags) = if sig == 0 { (0, 0) } else { to_magnitude(sign, exp, sig, mode) };
    if magnitude > 999_999_999_999_999_999 {
        return (BCD_INDEFINITE, IE);
    }
    let mut b = [0; 10];
    for byte in &mut b[..9] {
        let pair = (magnitude % 100) as u8;
        *byte = ((pair / 10) << 4) | (pair % 10);
        magnitude /= 100;
    }
    b[9] = (sign >> 8) as u8;
    (b, flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_round_trip() {
        for v in [0, 1, -1, 7, i64::MIN, i64::MAX, -32768, 1 << 52] {
            assert_eq!(to_int(from_int(v), 64, Mode::Nearest), (v, 0));
        }
        assert_eq!(to_int(from_int(32768), 16, Mode::Nearest), (-32768, IE));
        assert_eq!(to_int(from_int(-32768), 16, Mode::Nearest), (-32768, 0));
    }

    #[test]
    fn rounding_reports_its_direction() {
        let two_and_a_half = F80::new(0x4000, 0xa << 60);
        assert_eq!(to_int(two_and_a_half, 32, Mode::Nearest), (2, PE));
        assert_eq!(to_int(two_and_a_half, 32, Mode::Up), (3, PE | C1));
        assert_eq!(to_int(two_and_a_half.negate(), 32, Mode::Down), (-3, PE | C1));
        let tiny = F80::new(0, 1);
        assert_eq!(to_int(tiny, 64, Mode::Up), (1, PE | C1));
        let rounded_out = F80::new(16383 + 14, 0xffff_ffff_ffff_ffff);
        assert_eq!(to_int(rounded_out, 16, Mode::Nearest), (-32768, IE));
    }

    #[test]
    fn decimals_round_trip() {
        let digits = [0x90, 0x78, 0x56, 0x34, 0x12, 0, 0, 0, 0x99, 0x80];
        assert_eq!(to_bcd(from_bcd(digits), Mode::Nearest), (digits, 0));
        let too_big = from_int(1_000_000_000_000_000_000);
        assert_eq!(to_bcd(too_big, Mode::Nearest), (BCD_INDEFINITE, IE));
        for mode in [Mode::Nearest, Mode::Up, Mode::Down, Mode::Zero] {
            assert_eq!(to_bcd(F80::zero(0x8000), mode), ([0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80], 0));
        }
    }
}
