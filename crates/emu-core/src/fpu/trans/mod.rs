//! The transcendental instructions [SDM-1 8.3.7 to 8.3.11].
//!
//! Each is computed to about 120 bits in integers and rounded once by the rounding control (precision control does
//! not touch them), so the error is far below the one unit in the last place that the architecture allows.

mod atan;
mod exp;
mod log;
mod tables;
mod trig;
mod wide;

pub use atan::atan2;
pub use exp::f2xm1;
pub use log::{yl2x, yl2xp1};
pub use trig::{cos, sin, sin_cos, tan};

use super::round::{Ctl, Out, round};
use wide::Wide;

/// Rounds a result that is never exact: there is always something below the last bit kept.
fn finish(ctl: Ctl, sign: u16, w: Wide, pre: u16) -> Out {
    let out = round(ctl.full_precision(), sign, w.exp + 16383, (w.sig >> 64) as u64, w.sig as u64 | 1);
    Out::with(out.value, out.flags | pre)
}
