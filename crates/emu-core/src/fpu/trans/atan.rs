//! FPATAN [SDM-2A FPATAN].

use super::super::f80::{Class, F80};
use super::super::nan;
use super::super::round::{Ctl, Out};
use super::finish;
use super::tables::{ATAN_SIXTEENTHS, PI_66, PI_Q125};
use super::wide::{ONE, Terms, Wide, odd_reciprocals};

/// FPATAN: the angle of the point (x, y), from -pi to pi.
pub fn atan2(y: F80, x: F80, ctl: Ctl) -> Out {
    let (cy, cx) = (y.class(), x.class());
    if let Some(out) = nan::two(x, y, cx, cy, ctl) {
        return out;
    }
    let pre = nan::denormal(cx, cy);
    if !ctl.masked(pre) {
        return Out::with(x, pre);
    }
    let left = x.sign() != 0;
    let eighths = match (cy, cx) {
        (Class::Infinity, Class::Infinity) if left => 3,
        (Class::Infinity, Class::Infinity) => 1,
        (Class::Zero, _) | (_, Class::Infinity) if left => 4,
        (Class::Zero, _) | (_, Class::Infinity) => return Out::with(F80::zero(y.sign()), pre),
        (Class::Infinity, _) | (_, Class::Zero) => 2,
        _ => return finish(ctl, y.sign(), angle(y, x), pre),
    };
    let angle = Wide::from_fixed(PI_Q125 / 4 * eighths, 125);
    angle.map_or(Out::exact(y), |angle| finish(ctl, y.sign(), angle, pre))
}

/// The magnitude of the angle of a point off the axes.
fn angle(y: F80, x: F80) -> Wide {
    let ((_, ey, my), (_, ex, mx)) = (y.unpack(), x.unpack());
    let steep = (ey, my) > (ex, mx);
    let t = if steep { first_octant((ex, mx), (ey, my)) } else { first_octant((ey, my), (ex, mx)) };
    let left = x.sign() != 0;
    // Silicon adds to the pi of argument reduction.
    let (fixed, pi) = (t.to_fixed(125), PI_66 << 61);
    let sum = match (steep, left) {
        (false, false) => return t,
        (true, false) => pi / 2 - fixed,
        (true, true) => pi / 2 + fixed,
        (false, true) => pi - fixed,
    };
    Wide::from_fixed(sum, 125).unwrap_or(t)
}

/// `atan(a / b)` for `a <= b`, each a biased exponent and a significand.
fn first_octant(a: (i32, u64), b: (i32, u64)) -> Wide {
    let z = Wide::ratio(a, b).internal();
    let fixed = z.to_fixed(126);
    // The nearest sixteenth c: atan(z) = atan(c) + atan((z-c) / (1+zc)).
    let k = (fixed + (1 << 121)) >> 122;
    if k == 0 {
        return atan_series(z);
    }
    let c = k << 122;
    let table = ATAN_SIXTEENTHS.get(k as usize).copied().unwrap_or(0);
    let rest = Wide::from_fixed(fixed.abs_diff(c), 126)
        .zip(Wide::from_fixed(ONE + (fixed >> 4) * k, 126))
        .map_or(0, |(difference, sum)| atan_series(difference.div(sum)).to_fixed(126));
    let sum = if fixed < c { table - rest } else { table + rest };
    Wide::from_fixed(sum, 126).unwrap_or(z)
}

/// The series, for arguments up to 1/32.
fn atan_series(w: Wide) -> Wide {
    let p = odd_reciprocals(w.mul(w).to_fixed(128), 13, Terms::Alternating);
    Wide::from_fixed(p, 126).map_or(w, |p| w.mul(p))
}
