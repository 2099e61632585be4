//! Loops that do nothing but look: a block that jumps back to its own start and only reads memory or one port, compares,
//! and moves registers.
//!
//! Once such a loop has gone round with all registers and flags as they were before, each further round would do the same
//! again, until a device or an interrupt changes what it looks at. Nothing of that comes before the next deadline, and
//! whatever reads as the present time says how long it reads the same ([`crate::bus::PortDevice::steady_until`]). So the
//! clock moves on by as many whole rounds as fit, and the loop goes on there: the same ticks and the same state as if
//! they had run. docs/adr/0027.

use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};

use crate::System;
use crate::cpu::flags::LazyFlags;
use crate::time::Ticks;

/// What a loop was like when it last began a round.
#[derive(Default)]
pub(crate) struct Poll {
    /// Its block; `None` if something else may have happened since.
    block: Option<u32>,
    at: u64,
    regs: [u64; 16],
    flags: LazyFlags,
    /// Ports read since then by the quick way, and the last of them.
    pub(crate) reads: u32,
    pub(crate) port: u16,
    pub(crate) read_at: Ticks,
    /// Something happened since then that a round can't have again without being noticed.
    pub(crate) disturbed: bool,
}

impl Poll {
    /// Something else may happen now.
    #[inline]
    pub(crate) fn end(&mut self) {
        self.block = None;
    }
}

/// Whether `insns`, a whole block decoded from address 0 on, are such a loop.
pub(super) fn is_poll(insns: &[Instruction]) -> bool {
    let Some((last, body)) = insns.split_last() else { return false };
    let back = last.is_jcc_short_or_near() || last.is_jmp_short_or_near();
    let target = match last.op0_kind() {
        OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => last.near_branch_target(),
        _ => return false,
    };
    back && target == 0 && body.iter().all(only_looks) && !body.iter().any(|insn| moves_on(insn, body))
}

/// Whether `insn` reads through a register that the loop loads: a walk along a list.
fn moves_on(insn: &Instruction, body: &[Instruction]) -> bool {
    let loaded = |r: Register| {
        r != Register::None
            && body.iter().any(|i| {
                i.op0_kind() == OpKind::Register
                    && i.op0_register().full_register() == r.full_register()
                    && !matches!(i.mnemonic(), Mnemonic::Cmp | Mnemonic::Test | Mnemonic::Bt)
            })
    };
    insn.op_kinds().any(|k| k == OpKind::Memory) && (loaded(insn.memory_base()) || loaded(insn.memory_index()))
}

/// Whether `insn` changes nothing but registers and flags, and nothing step by step.
fn only_looks(insn: &Instruction) -> bool {
    use Mnemonic::*;
    let to_register = insn.op0_kind() == OpKind::Register && insn.op0_register().is_gpr();
    let from_register = insn.op1_kind() != OpKind::Register || insn.op1_register().is_gpr();
    match insn.mnemonic() {
        Nop => true,
        Cmp | Test | Bt => from_register,
        Mov | Movzx | Movsx | And | Or => to_register && from_register,
        In => matches!(insn.code(), Code::In_AL_DX | Code::In_AL_imm8),
        _ => false,
    }
}

impl System {
    /// A round of the loop in block `index`, of `n` ticks, begins: passes over as many as would change nothing.
    #[inline(never)]
    pub(super) fn pass_rounds(&mut self, index: u32, n: u64) {
        let now = self.deadline.0.wrapping_sub(self.budget as u64);
        let poll = &self.poll;
        let same = poll.block == Some(index)
            && !poll.disturbed
            && now.wrapping_sub(poll.at) == n
            && poll.regs[..] == self.cpu.regs[..16]
            && poll.flags == self.cpu.flags;
        let mut begins = now;
        if same && let Some(steady) = self.steady_until() {
            let rounds = steady.since(Ticks(now)).min(self.budget.max(0) as u64) / n;
            self.budget -= (rounds * n) as i64;
            begins += rounds * n;
        }
        let poll = &mut self.poll;
        poll.regs.copy_from_slice(&self.cpu.regs[..16]);
        (poll.block, poll.at, poll.flags) = (Some(index), begins, self.cpu.flags);
        (poll.reads, poll.disturbed) = (0, false);
    }

    /// Until when the port that the last round read reads the same; `None` if that is not known.
    fn steady_until(&mut self) -> Option<Ticks> {
        if self.mem.watches_reads() {
            return None;
        }
        match self.poll.reads {
            0 => Some(Ticks::NEVER),
            1 => self.bus.steady_until(self.poll.read_at, self.poll.port),
            _ => None,
        }
    }
}
