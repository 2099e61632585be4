//! SSE to SSE4.2, AES, PCLMULQDQ and SHA in their legacy encodings: fetching operands, raising faults, storing
//! results. What the instructions compute is in [`crate::simd`].

mod access;
pub(crate) mod compare;
pub(crate) mod control;
pub(crate) mod convert;
pub(crate) mod element;
mod float;
mod integer;
pub(crate) mod moves;
pub(crate) mod text;

pub(crate) use access::*;

use super::Exec;
use iced_x86::Code;

/// The function that executes `code`, if it is one of this module's.
pub(crate) fn lookup(code: Code) -> Option<Exec> {
    integer::lookup(code)
        .or_else(|| float::lookup(code))
        .or_else(|| moves::lookup(code))
        .or_else(|| convert::lookup(code))
        .or_else(|| compare::lookup(code))
        .or_else(|| element::lookup(code))
        .or_else(|| control::lookup(code))
        .or_else(|| text::lookup(code))
}

/// A `match` from codes to instances of generic functions: `function { Code => Operation, ... }`.
macro_rules! exec_table {
    ($code:expr; $($f:ident { $($c:ident => $op:ty),* $(,)? })*) => {
        match $code {
            $($(Code::$c => Some($f::<$op> as Exec),)*)*
            _ => None,
        }
    };
}
pub(crate) use exec_table;
