//! What NaNs and invalid encodings make of an operation [SDM-1 table 4-7, 8.5.1].

use super::f80::{Class, F80};
use super::round::{Ctl, DE, IE, Out};

/// The result of a one-operand instruction on a NaN or an invalid encoding; None for numbers.
#[inline]
pub(crate) fn one(a: F80, class: Class, ctl: Ctl) -> Option<Out> {
    match class {
        Class::Unsupported => Some(Out::INVALID),
        Class::SNan | Class::QNan if ctl.one_kind_of_nan() => Some(Out::with(a, IE)),
        Class::SNan => Some(Out::with(a.quieted(), IE)),
        Class::QNan => Some(Out::exact(a)),
        _ => None,
    }
}

/// The result of a two-operand instruction with a NaN or an invalid encoding among them; None for two numbers.
#[inline]
pub(crate) fn two(a: F80, b: F80, ca: Class, cb: Class, ctl: Ctl) -> Option<Out> {
    use Class::{QNan, SNan, Unsupported};
    if ctl.one_kind_of_nan() {
        return two_of_one_kind(a, b, ca, cb);
    }
    match (ca, cb) {
        (Unsupported, _) | (_, Unsupported) => Some(Out::INVALID),
        (SNan, SNan) => Some(Out::with(larger(a, b).quieted(), IE)),
        (QNan, QNan) => Some(Out::exact(larger(a, b))),
        (SNan, QNan) => Some(Out::with(b, IE)),
        (QNan, SNan) => Some(Out::with(a, IE)),
        (SNan, _) => Some(Out::with(a.quieted(), IE)),
        (_, SNan) => Some(Out::with(b.quieted(), IE)),
        (QNan, _) => Some(Out::exact(a)),
        (_, QNan) => Some(Out::exact(b)),
        _ => None,
    }
}

/// The same on an 8087 or 80287: any NaN is an invalid operand, and it, or the larger of two, is the result as it is
/// [80287 PRM table 1-17].
#[cold]
fn two_of_one_kind(a: F80, b: F80, ca: Class, cb: Class) -> Option<Out> {
    let nan = |class: Class| matches!(class, Class::QNan | Class::SNan);
    match (nan(ca), nan(cb)) {
        _ if ca == Class::Unsupported || cb == Class::Unsupported => Some(Out::INVALID),
        (true, true) => Some(Out::with(larger(a, b), IE)),
        (true, false) => Some(Out::with(a, IE)),
        (false, true) => Some(Out::with(b, IE)),
        (false, false) => None,
    }
}

/// The NaN with the larger significand; of two equal ones the positive.
fn larger(a: F80, b: F80) -> F80 {
    if a.sig > b.sig || (a.sig == b.sig && a.sign_exp < b.sign_exp) { a } else { b }
}

/// DE if one of the classes is a denormal, else 0.
#[inline]
pub(crate) fn denormal(ca: Class, cb: Class) -> u16 {
    if ca == Class::Denormal || cb == Class::Denormal { DE } else { 0 }
}
