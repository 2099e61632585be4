//! Numbers with 256 fraction bits, and the functions by their plainest series: slow, and sharing nothing with what is
//! tested.

use emu_core::fpu::F80;

/// A number below 2^64, with 256 fraction bits; the lowest limb first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fix(pub(crate) [u64; 5]);

impl PartialOrd for Fix {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.0.iter().rev().cmp(other.0.iter().rev()))
    }
}

impl Fix {
    pub(crate) const ZERO: Fix = Fix([0; 5]);

    pub(crate) fn int(n: u64) -> Fix {
        Fix([0, 0, 0, 0, n])
    }

    /// `v × 2^exp`.
    pub(crate) fn scaled(v: u64, exp: i32) -> Fix {
        let at = 256 + exp;
        let mut out = Fix::ZERO;
        for bit in (0..64).filter(|b| v >> b & 1 != 0) {
            let place = at + bit;
            if place >= 0 {
                out.0[place as usize / 64] |= 1 << (place % 64);
            }
        }
        out
    }

    /// The magnitude of a finite number.
    pub(crate) fn magnitude(v: F80) -> Fix {
        Fix::scaled(v.sig, i32::from(v.exp()) - 16383 - 63)
    }

    pub(crate) fn add(self, other: Fix) -> Fix {
        let (mut out, mut carry) = ([0; 5], false);
        for (i, o) in out.iter_mut().enumerate() {
            let (a, c1) = self.0[i].overflowing_add(other.0[i]);
            let (b, c2) = a.overflowing_add(carry.into());
            (*o, carry) = (b, c1 | c2);
        }
        Fix(out)
    }

    pub(crate) fn sub(self, other: Fix) -> Fix {
        let not = Fix(other.0.map(|l| !l));
        self.add(not).add(Fix([1, 0, 0, 0, 0]))
    }

    pub(crate) fn distance(self, other: Fix) -> Fix {
        if self > other { self.sub(other) } else { other.sub(self) }
    }

    pub(crate) fn mul(self, other: Fix) -> Fix {
        let mut wide = [0u64; 10];
        for (i, a) in self.0.iter().enumerate() {
            let mut carry = 0u128;
            for (j, b) in other.0.iter().enumerate() {
                let t = u128::from(*a) * u128::from(*b) + u128::from(wide[i + j]) + carry;
                (wide[i + j], carry) = (t as u64, t >> 64);
            }
            wide[i + 5] = carry as u64;
        }
        Fix(wide[4..9].try_into().unwrap())
    }

    pub(crate) fn over(self, n: u64) -> Fix {
        let (mut out, mut rest) = (self.0, 0u128);
        for limb in out.iter_mut().rev() {
            let t = rest << 64 | u128::from(*limb);
            (*limb, rest) = ((t / u128::from(n)) as u64, t % u128::from(n));
        }
        Fix(out)
    }

    fn doubled(self) -> Fix {
        self.add(self)
    }

    /// The quotient, which must be below 2^64; `self` below 2^63.
    pub(crate) fn div(self, other: Fix) -> Fix {
        let (mut rest, mut quotient) = (self, Fix::ZERO);
        // Whole part by doubling the divisor as often as it goes.
        let mut steps = vec![other];
        while steps.len() < 64 && steps[steps.len() - 1] <= rest && steps[steps.len() - 1].0[4] >> 62 == 0 {
            steps.push(steps[steps.len() - 1].doubled());
        }
        for (n, d) in steps.iter().enumerate().rev() {
            if *d <= rest {
                rest = rest.sub(*d);
                quotient = quotient.add(Fix::int(1 << n));
            }
        }
        for place in (0..256).rev() {
            rest = rest.doubled();
            if other <= rest {
                rest = rest.sub(other);
                quotient.0[place / 64] |= 1 << (place % 64);
            }
        }
        quotient
    }

    pub(crate) fn is_zero(self) -> bool {
        self == Fix::ZERO
    }
}

/// Sum of `first × factor(1) × ... × factor(k)`, with alternating signs if asked for.
fn series(first: Fix, alternating: bool, next: impl Fn(Fix, u64) -> Fix) -> Fix {
    let (mut sum, mut term) = (first, first);
    for k in 1.. {
        term = next(term, k);
        if term.is_zero() {
            break;
        }
        sum = if alternating && k % 2 == 1 { sum.sub(term) } else { sum.add(term) };
    }
    sum
}

pub(crate) fn sin(r: Fix) -> Fix {
    let z = r.mul(r);
    series(r, true, |t, k| t.mul(z).over(2 * k * (2 * k + 1)))
}

pub(crate) fn cos(r: Fix) -> Fix {
    let z = r.mul(r);
    series(Fix::int(1), true, |t, k| t.mul(z).over(2 * k * (2 * k - 1)))
}

/// `|e^±y - 1|`.
pub(crate) fn exp_m1(y: Fix, negative: bool) -> Fix {
    series(y, negative, |t, k| t.mul(y).over(k + 1))
}

/// `2 atanh(s)`: the logarithm of `(1 + s) / (1 - s)`.
pub(crate) fn two_atanh(s: Fix) -> Fix {
    let (z, mut power, mut sum) = (s.mul(s), s, Fix::ZERO);
    for k in (1..).step_by(2) {
        if power.is_zero() {
            break;
        }
        sum = sum.add(power.over(k));
        power = power.mul(z);
    }
    sum.add(sum)
}

/// Euler's series, for arguments up to 1.
pub(crate) fn atan(t: Fix) -> Fix {
    let z = t.mul(t);
    let w = z.div(Fix::int(1).add(z));
    let first = t.div(Fix::int(1).add(z));
    series(first, false, |term, k| {
        let v = term.mul(w);
        v.add(v).over(2 * k + 1).mul(Fix::int(k))
    })
}

pub(crate) fn ln_2() -> Fix {
    two_atanh(Fix::int(1).over(3))
}

/// Machin's formula.
pub(crate) fn pi() -> Fix {
    let part = |n: u64| atan(Fix::int(1).over(n));
    part(5).mul(Fix::int(16)).sub(part(239).mul(Fix::int(4)))
}
