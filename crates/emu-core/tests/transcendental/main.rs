//! The transcendental instructions against exact values: the error is below 1 ulp when rounding to nearest, below 1.5 in
//! the other modes [SDM-1 8.3.10]; and their monotonicity. What the silicon's own bits are is another question (tests/hwvec_x87.rs).

mod fix;

use emu_core::fpu::round::{Ctl, Mode, Out};
use emu_core::fpu::{F80, compare, trans};
use fix::Fix;

/// A reproducible stream of numbers (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    /// A number with an exponent of `low..=high`, of either sign if `signed`. Every fourth has few bits.
    fn f80(&mut self, low: i32, high: i32, signed: bool) -> F80 {
        let exp = low + (self.next() % (high - low + 1) as u64) as i32;
        let sign = if signed && self.next() & 1 != 0 { 0x8000 } else { 0 };
        let keep = if self.next() & 3 == 0 { u64::MAX << 52 } else { u64::MAX };
        F80::new(sign | (16383 + exp) as u16, 1 << 63 | self.next() & keep)
    }

    /// All masked, any rounding, any precision control (which counts for nothing here).
    fn control(&mut self) -> Ctl {
        Ctl::new(0x3F | (self.next() as u16 & 0xF00))
    }
}

/// Cases of each function: few enough for builds without optimisation.
const CASES: usize = 300;

fn check(what: &str, args: &[F80], ctl: Ctl, out: Out, negative: bool, exact: Fix) {
    let ulp = Fix::scaled(1, i32::from(out.value.exp()) - 16383 - 63);
    let error = Fix::magnitude(out.value).distance(exact);
    let nearest = ctl.mode() == Mode::Nearest;
    let allowed = if nearest { ulp } else { ulp.add(Fix::scaled(1, i32::from(out.value.exp()) - 16383 - 64)) };
    assert!(error < allowed, "{what} of {args:x?} with {:x}: {:x?} is too far off", ctl.cw, out.value);
    assert_eq!(out.value.sign() != 0, negative, "{what} of {args:x?}: {:x?}", out.value);
}

/// The pi of argument reduction has 66 bits [SDM-1 8.3.8]; in units of 2^-65, half of it.
const HALF_PI_66: u128 = 0x3_243F_6A88_85A3_08D3;

/// An argument's magnitude as quadrants and a rest of at most an eighth of a turn; the last says whether that is negative.
fn reduced(v: F80) -> (u128, Fix, bool) {
    let exp = i32::from(v.exp()) - 16383;
    if exp < -1 {
        return (0, Fix::magnitude(v), false);
    }
    let n = u128::from(v.sig) << (exp + 2);
    let rest = n % HALF_PI_66;
    let past = rest > HALF_PI_66 / 2;
    let rest = if past { HALF_PI_66 - rest } else { rest };
    let quadrant = (n / HALF_PI_66 + u128::from(past)) & 3;
    (quadrant, Fix::scaled(rest as u64, -65).add(Fix::scaled((rest >> 64) as u64, -1)), past)
}

#[test]
fn sine_cosine_and_tangent() {
    let mut numbers = Numbers(1);
    for n in 0..CASES {
        let range = if n % 2 == 0 { (-30, 2) } else { (0, 62) };
        let (a, ctl) = (numbers.f80(range.0, range.1, true), numbers.control());
        let (quadrant, r, turned) = reduced(a);
        let (s, c) = (fix::sin(r), fix::cos(r));
        let (sine, cosine) = if quadrant & 1 == 0 { (s, c) } else { (c, s) };
        let (sine_negative, cosine_negative) = match quadrant {
            0 => (turned, false),
            1 => (false, !turned),
            2 => (!turned, true),
            _ => (true, turned),
        };
        let negative = a.sign() != 0;
        check("FSIN", &[a], ctl, trans::sin(a, ctl), sine_negative != negative, sine);
        check("FCOS", &[a], ctl, trans::cos(a, ctl), cosine_negative, cosine);
        let both = trans::sin_cos(a, ctl);
        assert_eq!((both.0.value, both.1.value), (trans::sin(a, ctl).value, trans::cos(a, ctl).value));
        let sign = (sine_negative != negative) != cosine_negative;
        check("FPTAN", &[a], ctl, trans::tan(a, ctl), sign, sine.div(cosine));
    }
}

#[test]
fn arguments_of_2_to_the_63_are_refused() {
    for sign in [0, 0x8000] {
        let a = F80::new(sign | (16383 + 63), 1 << 63);
        let ctl = Ctl::new(0x37F);
        for out in [trans::sin(a, ctl), trans::cos(a, ctl), trans::tan(a, ctl), trans::sin_cos(a, ctl).0] {
            assert_eq!((out.value, out.flags), (a, compare::C2));
        }
        let below = F80::new(sign | (16383 + 62), u64::MAX);
        assert_eq!(trans::sin(below, ctl).flags & compare::C2, 0);
    }
}

#[test]
fn powers_of_two() {
    let (mut numbers, ln_2) = (Numbers(2), fix::ln_2());
    for _ in 0..CASES {
        let (a, ctl) = (numbers.f80(-40, -1, true), numbers.control());
        let negative = a.sign() != 0;
        let exact = fix::exp_m1(Fix::magnitude(a).mul(ln_2), negative);
        check("F2XM1", &[a], ctl, trans::f2xm1(a, ctl), negative, exact);
    }
}

#[test]
fn logarithms() {
    let (mut numbers, ln_2, one) = (Numbers(3), fix::ln_2(), Fix::int(1));
    for n in 0..CASES {
        let (y, ctl) = (numbers.f80(-3, 3, true), numbers.control());
        // Near 1 as well as anywhere.
        let x = if n % 3 == 0 { numbers.f80(-1, 0, false) } else { numbers.f80(-200, 200, false) };
        let m = Fix::scaled(x.sig, -63);
        let tail = fix::two_atanh(m.sub(one).div(m.add(one))).div(ln_2);
        let exp = i32::from(x.exp()) - 16383;
        let below = exp < 0;
        let log = if below { Fix::int(exp.unsigned_abs().into()).sub(tail) } else { Fix::int(exp as u64).add(tail) };
        if !log.is_zero() {
            let negative = below != (y.sign() != 0);
            check("FYL2X", &[y, x], ctl, trans::yl2x(y, x, ctl), negative, log.mul(Fix::magnitude(y)));
        }
        let x = numbers.f80(-40, -3, true);
        let (size, below) = (Fix::magnitude(x), x.sign() != 0);
        let sum = if below { Fix::int(2).sub(size) } else { Fix::int(2).add(size) };
        // ln(1+x) = 2 atanh(x / (2+x)), of either sign.
        let log = fix::two_atanh(size.div(sum)).div(ln_2);
        let negative = below != (y.sign() != 0);
        check("FYL2XP1", &[y, x], ctl, trans::yl2xp1(y, x, ctl), negative, log.mul(Fix::magnitude(y)));
    }
}

#[test]
fn angles() {
    let (mut numbers, pi) = (Numbers(4), fix::pi());
    for _ in 0..CASES {
        let (y, x, ctl) = (numbers.f80(-20, 20, true), numbers.f80(-20, 20, true), numbers.control());
        let (a, b) = (Fix::magnitude(y), Fix::magnitude(x));
        let steep = a > b;
        let t = fix::atan(if steep { b.div(a) } else { a.div(b) });
        let first = if steep { pi.over(2).sub(t) } else { t };
        let exact = if x.sign() != 0 { pi.sub(first) } else { first };
        check("FPATAN", &[y, x], ctl, trans::atan2(y, x, ctl), y.sign() != 0, exact);
    }
}

/// The next number away from zero.
fn next(v: F80) -> F80 {
    if v.sig == u64::MAX { F80::new(v.sign_exp + 1, 1 << 63) } else { F80::new(v.sign_exp, v.sig + 1) }
}

/// [SDM-1 8.3.10]: "the function is guaranteed to be monotonic over its entire domain".
#[test]
fn neighbours_keep_their_order() {
    type Function = (&'static str, i32, bool, fn(F80, Ctl) -> Out);
    let functions: [Function; 7] = [
        ("FSIN", -1, true, trans::sin),
        ("FCOS", -1, false, trans::cos),
        ("FPTAN", -1, true, trans::tan),
        ("F2XM1", -1, true, trans::f2xm1),
        ("FYL2X", 60, true, |x, ctl| trans::yl2x(F80::ONE, x, ctl)),
        ("FYL2XP1", -3, true, |x, ctl| trans::yl2xp1(F80::ONE, x, ctl)),
        ("FPATAN", 60, true, |y, ctl| trans::atan2(y, F80::ONE, ctl)),
    ];
    let mut numbers = Numbers(5);
    for (name, highest, rises, f) in functions {
        for _ in 0..4 * CASES {
            let (mut x, ctl) = (numbers.f80(-12, highest, false), numbers.control());
            for _ in 0..4 {
                let (a, b) = (f(x, ctl).value, f(next(x), ctl).value);
                let (low, high) = if rises { (a, b) } else { (b, a) };
                let order = compare::compare(low, high, false, ctl).order;
                assert!(order.is_some_and(|o| o.is_le()), "{name} at {x:x?}: {a:x?}, {b:x?}");
                x = next(x);
            }
        }
    }
}
