//! The unit's saved state.

use super::{F80, Fpu, LastInstruction};
use crate::state::{State, StateError, StateReader, StateWriter};

impl State for Fpu {
    const TAG: [u8; 4] = *b"FPU ";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        debug_assert!(self.is_settled());
        let Self { sig: _, word: _, cw: _, sw, top, used, lazy: _, last: _, noted: _, unit: _ } = self;
        let regs: [F80; 8] = core::array::from_fn(|n| self.at(n));
        let LastInstruction { fop, fcs, fip, fds, fdp } = self.last();
        w.field(1, &regs.map(|r| (r.sign_exp, r.sig)));
        w.field(2, &(self.control(), *sw, *top, *used));
        w.field(3, &(fop, fcs, fip, fds, fdp));
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        self.settle();
        let regs: [(u16, u64); 8] = r.field(1)?;
        for (n, (sign_exp, sig)) in regs.into_iter().enumerate() {
            self.write(n, F80 { sign_exp, sig });
        }
        let cw: u16;
        (cw, self.sw, self.top, self.used) = r.field(2)?;
        self.put_control(cw);
        if self.top > 7 {
            return Err(r.invalid("TOP is beyond 7"));
        }
        let (fop, fcs, fip, fds, fdp) = r.field(3)?;
        *self.last_mut() = LastInstruction { fop, fcs, fip, fds, fdp };
        Ok(())
    }
}
