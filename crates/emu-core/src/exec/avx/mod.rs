//! AVX, AVX2, FMA and F16C, and what else is VEX-encoded and works on vectors [SDM-1 chapter 14; SDM-2A 2.3].
//!
//! A YMM register is two halves, and nearly every instruction does to each half what its ancestor does to an XMM
//! register: so operands are pairs of halves here, and [`crate::simd`] computes half by half. A 128-bit instruction works
//! on the lower half and clears the upper one. Tables are by mnemonic: the width is in the registers' names.

mod access;
mod float;
mod fma;
mod gather;
mod integer;
mod masked;
mod moves;
mod permute;

use iced_x86::{Code, CpuidFeature, Mnemonic};

use super::Exec;
pub(crate) use access::*;

/// The function that executes `code`, if it is one of this module's.
pub(crate) fn lookup(code: Code) -> Option<Exec> {
    use CpuidFeature::*;
    let features = code.cpuid_features();
    let evex = features.iter().any(|f| matches!(f, AVX512F | AVX512VL));
    if evex || !features.iter().any(|f| matches!(f, AVX | AVX2 | FMA | F16C | VAES | VPCLMULQDQ)) {
        return None;
    }
    let mnemonic: Mnemonic = code.mnemonic();
    moves::by_code(code)
        .or_else(|| integer::lookup(mnemonic))
        .or_else(|| float::lookup(mnemonic))
        .or_else(|| fma::lookup(mnemonic))
        .or_else(|| moves::lookup(mnemonic))
        .or_else(|| permute::lookup(mnemonic))
        .or_else(|| masked::lookup(mnemonic))
        .or_else(|| gather::lookup(mnemonic))
}

/// A `match` from mnemonics to instances of generic functions: `function { Mnemonic => Operation, ... }`.
macro_rules! mnemonic_table {
    ($mnemonic:expr; $($f:ident { $($m:ident => $op:ty),* $(,)? })*) => {
        match $mnemonic {
            $($(Mnemonic::$m => Some($f::<$op> as Exec),)*)*
            _ => None,
        }
    };
}
use mnemonic_table;
