//! Loops that do nothing but look: a block that jumps back to its own start and only reads memory or one port, compares,
//! and moves registers.
//!
//! Once such a loop has gone round with all registers and flags as they were before, each further round would do the same
//! again, until a device or an interrupt changes what it looks at. Nothing of that comes before the next deadline, and
//! whatever reads as the present time says how long it reads the same ([`crate::bus::PortDevice::steady_until`]). So the
//! clock moves on by as many whole rounds as fit, and the loop goes on there: the same ticks and the same state as if
//! they had run. A loop may also count down, by DEC and JNZ or by LOOP, in a register that nothing else of it uses: that
//! register moves on with the clock. docs/adr/0027.

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

/// What a block is as a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Polls {
    /// None that is known here.
    No,
    /// It only looks.
    Looks,
    /// It only looks, and counts down.
    Counts(Counter),
}

impl Polls {
    /// Whether it may be passed over.
    pub(crate) fn any(self) -> bool {
        self != Polls::No
    }
}

/// The register that a loop counts down to 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counter {
    register: u8,
    /// The bits that count. Of 32, those above are cleared; of 16, they stay.
    mask: u64,
}

impl Counter {
    fn of(register: Register) -> Option<Counter> {
        let mask = u64::MAX >> (64 - 8 * register.size().clamp(1, 8));
        (register.is_gpr() && register.size() > 1)
            .then(|| Counter { register: register.full_register().number() as u8, mask })
    }

    /// The register's value after `rounds` from `v` on.
    fn after(self, v: u64, rounds: u64) -> u64 {
        v.wrapping_sub(rounds) & self.mask | if self.mask == 0xFFFF { v & !0xFFFF } else { 0 }
    }

    /// Rounds that pass over are at most these: the last one leaves the loop.
    fn left(self, v: u64) -> u64 {
        (v & self.mask).wrapping_sub(1) & self.mask
    }
}

/// Which such loop `insns`, a whole block decoded from address 0 on, are.
pub(super) fn polls(insns: &[Instruction]) -> Polls {
    let Some((last, body)) = insns.split_last() else { return Polls::No };
    match last.op0_kind() {
        OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 if last.near_branch_target() == 0 => {}
        _ => return Polls::No,
    }
    let looks = |body: &[Instruction]| body.iter().all(only_looks) && !body.iter().any(|insn| moves_on(insn, body));
    if (last.is_jcc_short_or_near() || last.is_jmp_short_or_near()) && looks(body) {
        return Polls::Looks;
    }
    match counter(last, body) {
        Some((counter, body)) if looks(body) && !body.iter().any(|insn| uses(insn, counter)) => Polls::Counts(counter),
        _ => Polls::No,
    }
}

/// The counter of a loop that ends with LOOP, or with DEC and JNZ, and what comes before these.
fn counter<'a>(last: &Instruction, body: &'a [Instruction]) -> Option<(Counter, &'a [Instruction])> {
    use Code::*;
    let by_loop = match last.code() {
        Loop_rel8_16_CX | Loop_rel8_32_CX => Some(Register::CX),
        Loop_rel8_16_ECX | Loop_rel8_32_ECX | Loop_rel8_64_ECX => Some(Register::ECX),
        Loop_rel8_16_RCX | Loop_rel8_64_RCX => Some(Register::RCX),
        _ => None,
    };
    if let Some(register) = by_loop {
        return Some((Counter::of(register)?, body));
    }
    let (dec, body) = body.split_last()?;
    let counts = last.mnemonic() == Mnemonic::Jne && dec.mnemonic() == Mnemonic::Dec;
    let register = (counts && dec.op0_kind() == OpKind::Register).then(|| dec.op0_register())?;
    Some((Counter::of(register)?, body))
}

/// Whether `insn` names the counter, or a part of it.
fn uses(insn: &Instruction, counter: Counter) -> bool {
    let is = |r: Register| r.is_gpr() && r.full_register().number() == usize::from(counter.register);
    (0..insn.op_count()).any(|n| insn.op_kind(n) == OpKind::Register && is(insn.op_register(n)))
        || is(insn.memory_base())
        || is(insn.memory_index())
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
        Nop | Pause => true,
        Cmp | Test | Bt => from_register,
        Mov | Movzx | Movsx | And | Or => to_register && from_register,
        In => matches!(insn.code(), Code::In_AL_DX | Code::In_AL_imm8),
        _ => false,
    }
}

impl System {
    /// A round of the loop in block `index`, of `n` ticks, begins: passes over as many as would change nothing, or nothing but
    /// the counter.
    #[inline(never)]
    pub(super) fn pass_rounds(&mut self, index: u32, n: u64) {
        let now = self.deadline.0.wrapping_sub(self.budget as u64);
        let poll = &self.poll;
        let whole = poll.block == Some(index) && !poll.disturbed && now.wrapping_sub(poll.at) == n;
        let polls = self.engine.block(index).polls;
        let same = whole
            && match polls {
                Polls::Counts(counter) => self.has_counted(counter),
                _ => poll.regs[..] == self.cpu.regs[..16] && poll.flags == self.cpu.flags,
            };
        let mut begins = now;
        if same && let Some(steady) = self.steady_until() {
            let mut rounds = steady.since(Ticks(now)).min(self.budget.max(0) as u64) / n;
            if let Polls::Counts(counter) = polls {
                // One more runs before anybody looks: from it are the flags of the last DEC.
                let v = &mut self.cpu.regs[usize::from(counter.register)];
                rounds = rounds.saturating_sub(1).min(counter.left(*v));
                *v = if rounds > 0 { counter.after(*v, rounds) } else { *v };
            }
            self.budget -= (rounds * n) as i64;
            begins += rounds * n;
        }
        let poll = &mut self.poll;
        poll.regs.copy_from_slice(&self.cpu.regs[..16]);
        (poll.block, poll.at, poll.flags) = (Some(index), begins, self.cpu.flags);
        (poll.reads, poll.disturbed) = (0, false);
    }

    /// Whether the last round has counted down by one, and changed no other register. The flags do not matter: no round reads
    /// them before it has set them.
    fn has_counted(&self, counter: Counter) -> bool {
        let at = usize::from(counter.register);
        let (old, new) = (&self.poll.regs, &self.cpu.regs);
        (0..16).all(|i| if i == at { new[i] == counter.after(old[i], 1) } else { new[i] == old[i] })
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
