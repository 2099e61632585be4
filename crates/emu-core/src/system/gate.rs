//! Interrupt delivery through the gates of protected and long mode.

use super::{Interrupt, System};
use crate::cpu::{Fault, Outcome};

impl System {
    pub(super) fn interrupt_through_gate(&mut self, int: Interrupt) -> Outcome {
        Err(Fault::gp(u16::from(int.vector) << 3 | 2 | int.ext()))
    }
}
