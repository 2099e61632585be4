//! Rules of the x87 unit that the captures (emu-conform, tests/samples.rs) do not cover, each from its section of the manual.

use emu_core::fpu::compare::{C0, C2, C3};
use emu_core::fpu::image::Layout;
use emu_core::fpu::round::{C1, Ctl, DE, IE, Out, PE, SF, ZE};
use emu_core::fpu::{F80, Fpu, LastInstruction, Operand, arith, float, int};

const INTEGER: u64 = 1 << 63;
const QUIET: u64 = 3 << 62;

fn with(values: &[F80]) -> Fpu {
    let mut fpu = Fpu::new();
    values.iter().rev().for_each(|&v| fpu.load_exact(v));
    fpu
}

/// A reproducible stream of numbers (splitmix64).
fn numbers(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }
}

/// [SDM-1 figures 8-9 to 8-12].
#[test]
fn the_environment_in_its_four_layouts() {
    let mut fpu = with(&[F80::ONE, F80::ZERO]);
    fpu.set_control(0x27F);
    *fpu.last_mut() = LastInstruction { fop: 0x5C1, fcs: 0xABCD, fip: 0x1234_5678, fds: 0xB800, fdp: 0x0009_ABCD };
    let word = |image: &[u8], n: usize| u16::from_le_bytes([image[2 * n], image[2 * n + 1]]);
    let long = |image: &[u8], n: usize| u32::from(word(image, 2 * n)) | u32::from(word(image, 2 * n + 1)) << 16;
    let (sw, tw) = (6 << 11, 0x4FFF);
    let image = fpu.store_env(Layout::Protected16);
    assert_eq!([0, 1, 2, 3, 4, 5, 6].map(|n| word(&image, n)), [0x27F, sw, tw, 0x5678, 0xABCD, 0xABCD, 0xB800]);
    let image = fpu.store_env(Layout::Protected32);
    assert_eq!([0, 1, 2].map(|n| word(&image, 2 * n)), [0x27F, sw, tw]);
    assert_eq!([3, 4, 5].map(|n| long(&image, n)), [0x1234_5678, 0x05C1_ABCD, 0x0009_ABCD]);
    assert_eq!(word(&image, 12), 0xB800);
    // Real mode has linear addresses: CS:IP is ABCD0h + 5678h, DS:DP is B8000h + ABCDh.
    fpu.last_mut().fip = 0x5678;
    fpu.last_mut().fdp = 0xABCD;
    let image = fpu.store_env(Layout::Real16);
    assert_eq!([3, 4, 5, 6].map(|n| word(&image, n)), [0x1348, 0xB5C1, 0x2BCD, 0xC000]);
    let image = fpu.store_env(Layout::Real32);
    assert_eq!([6, 10].map(|n| word(&image, n)), [0x1348, 0x2BCD]);
    assert_eq!([4, 6].map(|n| long(&image, n)), [0x0000_B5C1, 0x0000_C000]);
}

/// `base × 2^n` modulo `m`.
fn shifted_mod(base: u64, n: u32, m: u128) -> u128 {
    (0..n).fold(u128::from(base) % m, |v, _| v * 2 % m)
}

/// [SDM-2A FPREM, FPREM1]: whatever the exponents, the steps lead to the exact remainder, with the low bits of the quotient;
/// a partial step sets C2 and takes 32 to 63 off the difference of the exponents.
#[test]
fn remainders_come_out_exact() {
    let mut next = numbers(11);
    for n in 0..400 {
        let (ma, mb) = (next() | INTEGER, if n % 5 == 0 { INTEGER } else { next() | INTEGER });
        let distance = (next() % if n % 2 == 0 { 70 } else { 2000 }) as u32;
        let (a, b) = (F80::new(0x4000 + distance as u16, ma), F80::new(0x4000, mb));
        for nearest in [false, true] {
            let mut fpu = with(&[a, b]);
            let mut left = distance;
            loop {
                fpu.remainder(nearest);
                if fpu.status() & C2 == 0 {
                    break;
                }
                let now = u32::from(fpu.st(0).exp()).saturating_sub(0x4000);
                assert!(left >= 64 && (fpu.st(0).is_zero() || left - now >= 32), "a step from {left} to {now}");
                left = now;
            }
            // The quotient's low bits: the remainder by 8b tells them.
            let by_8 = shifted_mod(ma, distance, u128::from(mb) << 3);
            let (mut quotient, mut rest) = ((by_8 / u128::from(mb)) as u64, by_8 % u128::from(mb));
            let mut negative = false;
            if nearest && (rest * 2 > u128::from(mb) || (rest * 2 == u128::from(mb) && quotient & 1 != 0)) {
                (quotient, rest, negative) = (quotient + 1, u128::from(mb) - rest, true);
            }
            let shift = (rest as u64).leading_zeros();
            let want = match rest {
                0 => F80::ZERO,
                _ => F80::new(0x4000 - shift as u16 | u16::from(negative) << 15, (rest as u64) << shift),
            };
            let bits = [(4, C0), (2, C3), (1, C1)].iter().filter(|b| quotient & b.0 != 0).fold(0, |v, b| v | b.1);
            assert_eq!(fpu.st(0), want, "{a:x?} by {b:x?}, nearest {nearest}");
            // After partial steps only the last one's quotient counts; its low bits are the whole one's.
            assert_eq!(fpu.status() & (C0 | C1 | C3), bits, "{a:x?} by {b:x?}, nearest {nearest}");
        }
    }
}

/// [SDM-1 8.1.5.2]: precision control rounds add, subtract, multiply, divide and square root. On doubles within their range
/// it gives what the double format does.
#[test]
fn precision_control_of_53_and_24_bits() {
    let mut next = numbers(12);
    let double = |n: u64| f64::from_bits((n & !(0x7FF << 52)) | (1023 - 100 + n % 200) << 52);
    let single = |n: u64| f32::from_bits((n as u32 & !(0xFF << 23)) | (127 - 30 + n as u32 % 60) << 23);
    type Operation<T> = (fn(F80, F80, Ctl) -> Out, fn(T, T) -> T);
    let doubles: [Operation<f64>; 4] = [
        (arith::add, |a, b| a + b),
        (arith::sub, |a, b| a - b),
        (arith::mul, |a, b| a * b),
        (arith::div, |a, b| a / b),
    ];
    let singles: [Operation<f32>; 4] = [
        (arith::add, |a, b| a + b),
        (arith::sub, |a, b| a - b),
        (arith::mul, |a, b| a * b),
        (arith::div, |a, b| a / b),
    ];
    for _ in 0..500 {
        let (a, b, ctl) = (double(next()), double(next()), Ctl::new(0x27F));
        let wide = |v: f64| float::from_f64(v.to_bits()).0;
        for (ours, host) in doubles {
            assert_eq!(ours(wide(a), wide(b), ctl).value, wide(host(a, b)), "{a:e} {b:e}");
        }
        assert_eq!(arith::sqrt(wide(a.abs()), ctl).value, wide(a.abs().sqrt()));
        let (a, b, ctl) = (single(next()), single(next()), Ctl::new(0x07F));
        let wide = |v: f32| float::from_f32(v.to_bits()).0;
        for (ours, host) in singles {
            assert_eq!(ours(wide(a), wide(b), ctl).value, wide(host(a, b)), "{a:e} {b:e}");
        }
        assert_eq!(arith::sqrt(wide(a.abs()), ctl).value, wide(a.abs().sqrt()));
    }
    // Loads and FRNDINT are not touched by it.
    let third = F80::new(0x3FFD, 0xAAAA_AAAA_AAAA_AAAB);
    let mut fpu = with(&[third]);
    fpu.set_control(0x07F);
    fpu.load_st(0);
    assert_eq!((fpu.st(0), fpu.status() & PE), (third, 0));
    let big = F80::new(0x403D, u64::MAX);
    assert_eq!(int::round_to_int(big, Ctl::new(0x07F)).value.sig, 0x8000_0000_0000_0000);
}

/// [SDM-1 8.2.2, table 8-3]: unnormals, pseudo-infinities and pseudo-NaNs are invalid operands; moves of 80 bits keep them.
#[test]
fn unsupported_encodings_are_invalid() {
    for bad in [F80::new(0x3FFF, INTEGER >> 1), F80::new(0x7FFF, 0), F80::new(0xFFFF, QUIET >> 1), F80::new(1, 5)] {
        let operations: [fn(F80, F80, Ctl) -> Out; 4] =
            [arith::add, arith::mul, arith::div, |a, _, c| arith::sqrt(a, c)];
        for f in operations {
            let mut fpu = with(&[bad, F80::ONE]);
            fpu.binary(0, 0, 1, 0, f);
            assert_eq!((fpu.st(0), fpu.status() & 0x3F), (F80::INDEFINITE, IE), "{bad:x?}");
        }
        let mut fpu = with(&[bad, F80::ONE]);
        fpu.compare(1, true, 0);
        assert_eq!(fpu.status() & (C0 | C2 | C3 | IE), C0 | C2 | C3 | IE);
        let mut fpu = with(&[bad]);
        fpu.examine();
        assert_eq!((fpu.status() & (C0 | C2 | C3), fpu.tags() >> 14), (0, 2));
        let store = fpu.prepare_f80();
        assert_eq!(store.value, Some(bad));
        assert_eq!((fpu.prepare_int(16, false).value, fpu.prepare_f32().value), (Some(-0x8000), Some(0xFFC0_0000)));
    }
}

/// [SDM-1 table 4-7]: which of two NaNs is the result.
#[test]
fn the_nan_with_the_larger_significand_wins() {
    let q = |n: u64| F80::new(0x7FFF, QUIET | n);
    let s = |n: u64| F80::new(0xFFFF, INTEGER | n);
    for (a, b, want, flags) in [
        (q(1), q(2), q(2), 0),
        (q(3), q(2), q(3), 0),
        (s(9), q(2), q(2), IE),
        (q(2), s(9), q(2), IE),
        (s(1), s(2), F80::new(0xFFFF, QUIET | 2), IE),
        (s(1), F80::ONE, F80::new(0xFFFF, QUIET | 1), IE),
        (F80::infinity(0), q(7), q(7), 0),
        // Equal significands: the positive one.
        (q(5), F80::new(0xFFFF, QUIET | 5), q(5), 0),
    ] {
        for (x, y) in [(a, b), (b, a)] {
            let mut fpu = with(&[x, y]);
            fpu.binary(0, 0, 1, 0, arith::mul);
            assert_eq!((fpu.st(0), fpu.status() & 0x3F), (want, flags), "{x:x?} {y:x?}");
        }
    }
}

/// [SDM-1 8.5.1.1]: C1 tells overflow from underflow; unmasked, nothing changes.
#[test]
fn stack_faults() {
    let mut fpu = with(&[F80::ONE; 8]);
    fpu.load_exact(F80::ZERO);
    assert_eq!((fpu.status() & (IE | SF | C1), fpu.st(0)), (IE | SF | C1, F80::INDEFINITE));
    let mut fpu = Fpu::new();
    fpu.binary(0, 0, 1, 0, arith::add);
    assert_eq!((fpu.status() & (IE | SF | C1), fpu.st(0)), (IE | SF, F80::INDEFINITE));
    let mut fpu = with(&[F80::ONE; 8]);
    fpu.set_control(0x37E);
    let before = (fpu.st(0), fpu.status() & 0x3800);
    fpu.load_exact(F80::ZERO);
    assert_eq!((fpu.st(0), fpu.status() & 0x3800), before);
    assert!(fpu.exception_pending());
}

/// [SDM-1 8.5.2]: a load of a denormal reports it, and goes through even unmasked; arithmetic then stops. FLD m80fp does not
/// report.
#[test]
fn denormal_operands() {
    let mut fpu = Fpu::new();
    fpu.set_control(0x37D);
    fpu.load(Operand::f32(1));
    assert_eq!((fpu.status() & DE, fpu.st(0)), (DE, F80::new(16383 - 149, INTEGER)));
    let mut fpu = with(&[F80::new(0, 1), F80::ONE]);
    assert_eq!(fpu.status() & DE, 0);
    fpu.set_control(0x37D);
    fpu.binary(0, 0, 1, 0, arith::add);
    assert_eq!((fpu.status() & DE, fpu.st(0)), (DE, F80::new(0, 1)));
    // A pseudo-denormal is a denormal operand with the value of the smallest normal number.
    let mut fpu = with(&[F80::new(0, INTEGER), F80::ONE]);
    fpu.binary(0, 0, 1, 0, arith::mul);
    assert_eq!((fpu.status() & 0x3F, fpu.st(0)), (DE, F80::new(1, INTEGER)));
}

/// [SDM-1 8.6, 8.7]: the summary follows the masks, whatever changes them.
#[test]
fn the_summary_follows_exceptions_and_masks() {
    let mut fpu = with(&[F80::ONE, F80::ZERO]);
    fpu.binary(0, 0, 1, 0, arith::div);
    assert_eq!((fpu.status() & ZE, fpu.exception_pending()), (ZE, false));
    fpu.set_control(0x37B);
    assert_eq!((fpu.exception_pending(), fpu.status() & 0x8080), (true, 0x8080));
    let image = fpu.store_env(Layout::Protected32);
    fpu.mask_exceptions();
    assert!(!fpu.exception_pending());
    fpu.load_env(Layout::Protected32, &image);
    assert!(fpu.exception_pending());
    fpu.clear_exceptions();
    assert_eq!((fpu.exception_pending(), fpu.status() & 0x80FF), (false, 0));
}
