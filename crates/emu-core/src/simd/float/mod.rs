//! SSE and AVX floating point: IEEE 754 binary32 and binary64 with MXCSR's rounding, DAZ, FTZ and exception flags
//! [SDM-1 4.8, 4.9, 11.5, appendix E].
//!
//! Every function takes bit patterns in the low bits of a `u64`, and an [`Env`] that carries MXCSR in and raised
//! flags out. [`soft`] computes in integers and is the definition. [`fast`] answers from the host's own arithmetic
//! when MXCSR is in its default mode and operands and result are ordinary.

pub mod arith;
pub mod compare;
pub mod convert;
pub mod env;
pub mod fast;
pub mod fma;
pub mod format;
pub mod packed;
pub mod round;
pub mod soft;

pub use env::Env;
pub use format::{F16, F32, F64, Format, Layout};
