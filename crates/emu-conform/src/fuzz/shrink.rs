//! Makes a case that shows a difference as plain as possible: everything that can be as usual, is.

use super::draft::{Draft, WINDOW_SIZE, usual_gpr};
use crate::F80;

/// Runs of both machines that shrinking one case may take.
const BUDGET: usize = 3000;

/// The plainest case found, starting from `draft`, for which `differs` still holds.
pub(super) fn shrink(draft: &Draft, differs: &mut dyn FnMut(&Draft) -> bool) -> Draft {
    let registers = if draft.bits == 64 { 16 } else { 8 };
    let mut shrinker = Shrinker { best: draft.clone(), registers, left: BUDGET, differs };
    loop {
        let before = shrinker.best.clone();
        shrinker.groups();
        shrinker.registers();
        shrinker.memory();
        shrinker.lanes();
        shrinker.code();
        if shrinker.best == before || shrinker.left == 0 {
            return shrinker.best;
        }
    }
}

struct Shrinker<'a> {
    best: Draft,
    /// General registers, and vector registers, that there are.
    registers: usize,
    left: usize,
    differs: &'a mut dyn FnMut(&Draft) -> bool,
}

impl Shrinker<'_> {
    /// Keeps what `change` makes, if it is something else and still shows the difference.
    fn attempt(&mut self, change: impl FnOnce(&mut Draft)) -> bool {
        let mut next = self.best.clone();
        change(&mut next);
        if next == self.best || self.left == 0 {
            return false;
        }
        self.left -= 1;
        let kept = (self.differs)(&next);
        if kept {
            self.best = next;
        }
        kept
    }

    /// Whole groups of registers at once.
    fn groups(&mut self) {
        let usual = Draft::new(self.best.bits);
        self.attempt(|d| d.ymm = usual.ymm);
        self.attempt(|d| (d.st, d.ftw) = (usual.st, usual.ftw));
        self.attempt(|d| d.st = usual.st);
        self.attempt(|d| (d.fsw, d.fcw) = (usual.fsw, usual.fcw));
        self.attempt(|d| d.memory = usual.memory);
        self.attempt(|d| d.mxcsr = usual.mxcsr);
        self.attempt(|d| d.flags = 0);
        self.attempt(|d| d.gpr = usual_gpr(d.bits));
    }

    fn registers(&mut self) {
        let usual = usual_gpr(self.best.bits);
        for (n, usual) in usual.into_iter().enumerate().take(self.registers) {
            let old = self.best.gpr[n];
            let simple = [usual, 0, 1, old & 0xFF, old & 0xFFFF, old & 0xFFFF_FFFF];
            let _ = simple.into_iter().any(|v| v == old || self.attempt(|d| d.gpr[n] = v));
            self.attempt(|d| d.ymm[n] = [0; 32]);
        }
        for n in 0..8 {
            let old = self.best.st[n];
            let _ = [F80::default(), F80::ONE].into_iter().any(|v| v == old || self.attempt(|d| d.st[n] = v));
            self.attempt(|d| d.ftw &= !(1 << n));
            self.attempt(|d| d.st[n].sign_exp &= 0x7FFF);
        }
        for bit in 0..16 {
            self.attempt(|d| d.flags &= !(1 << bit));
            // The top of the stack is a number, not three bits.
            if !(11..14).contains(&bit) {
                self.attempt(|d| d.fsw &= !(1 << bit));
            }
            self.attempt(|d| d.fcw = d.fcw & !(1 << bit) | 0x37F & 1 << bit);
            self.attempt(|d| d.mxcsr = d.mxcsr & !(1 << bit) | 0x1F80 & 1 << bit);
        }
    }

    /// Memory in halves, quarters, down to bytes.
    fn memory(&mut self) {
        let mut size = WINDOW_SIZE / 2;
        while size > 0 {
            for at in (0..WINDOW_SIZE).step_by(size) {
                self.attempt(|d| d.memory[at..at + size].fill(0));
            }
            size /= 2;
        }
    }

    /// Vector registers lane by lane.
    fn lanes(&mut self) {
        for n in 0..self.registers {
            for size in [16, 8, 4, 2, 1] {
                for at in (0..32).step_by(size) {
                    self.attempt(|d| d.ymm[n][at..at + size].fill(0));
                }
            }
        }
    }

    /// Prefixes that the difference does not need.
    fn code(&mut self) {
        let mut at = 0;
        while at + 1 < self.best.code.len() {
            let shorter = self.attempt(|d| {
                d.code.remove(at);
                let insn = d.decode();
                // What is left must be one instruction, to its last byte.
                if insn.len() != d.code.len() || insn.is_invalid() {
                    d.code.clear();
                }
            });
            if !shorter {
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::rng::Rng;

    #[test]
    fn what_does_not_matter_goes() {
        let mut rng = Rng::new(3, 5);
        let mut draft = Draft::new(64);
        draft.code = vec![0x2E, 0x36, 0x48, 0x01, 0xD8]; // ADD RAX, RBX, with segment prefixes
        draft.draw_integers(&mut rng);
        draft.draw_x87(&mut rng);
        draft.draw_vectors(&mut rng);
        draft.gpr[3] = 0x1234_5678_9ABC_DEF0;
        draft.flags = 0x8D5;
        let mut differs = |d: &Draft| {
            d.code.ends_with(&[0x01, 0xD8])
                && d.gpr[3] & 0xF0 == 0xF0
                && d.flags & 0x80 != 0
                && d.memory[77] == draft.memory[77]
        };
        let least = shrink(&draft, &mut differs);
        let mut want = Draft::new(64);
        want.code = vec![0x01, 0xD8];
        (want.gpr[3], want.flags, want.memory[77]) = (0xF0, 0x80, draft.memory[77]);
        assert_eq!(least, want);
    }
}
