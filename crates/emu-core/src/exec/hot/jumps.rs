//! Near jumps, calls and returns, in code whose segment's limit leaves every address open.

use core::marker::PhantomData;

use iced_x86::{Code, Instruction, OpKind, Register};

use super::addr::{Addr, MemoryOperand, by_addr};
use super::moves::{by_condition, condition};
use super::stack::{PushWidth, push_value, quick_push, quick_top};
use super::step::{End, end};
use super::width::{Width, field, load};
use crate::System;
use crate::cpu::{Mode, reg, seg};
use crate::engine::{Builder, CLOSE_TO_END, Edge, Enters, Handler, OpRef, goto, land, landing, refuse_block};
use crate::mem::Scalar;
use crate::system::{Exit, is_canonical};

/// Size of the instruction pointer.
pub(super) trait Ip {
    /// Its size in bytes.
    const SIZE: u64;
    /// Moves RIP along an edge. The answer is the edge as it holds there.
    fn advance(sys: &mut System, edge: Edge) -> Edge;
    /// `v` as wide as the instruction pointer.
    fn cut(v: u64) -> u64;
}

pub(super) struct Ip16;
impl Ip for Ip16 {
    const SIZE: u64 = 2;
    #[inline(always)]
    fn advance(sys: &mut System, edge: Edge) -> Edge {
        let to = sys.cpu.rip.wrapping_add(edge.delta as u64);
        sys.cpu.rip = to & 0xFFFF;
        if to >= CLOSE_TO_END {
            // The entry checks the segment's end. Wrapping around it leads elsewhere than the same number of bytes on: look
            // it up.
            let entry = if edge.enters == Enters::NOTHING { edge.to } else { edge.to.back() };
            let to = if to > 0xFFFF { sys.engine.lookup_op } else { entry };
            return Edge { to, enters: Enters::NOTHING, ..edge };
        }
        edge
    }
    #[inline(always)]
    fn cut(v: u64) -> u64 {
        v & 0xFFFF
    }
}

pub(super) struct Ip32;
impl Ip for Ip32 {
    const SIZE: u64 = 4;
    #[inline(always)]
    fn advance(sys: &mut System, edge: Edge) -> Edge {
        sys.cpu.rip = sys.cpu.rip.wrapping_add(edge.delta as u64) & 0xFFFF_FFFF;
        edge
    }
    #[inline(always)]
    fn cut(v: u64) -> u64 {
        v & 0xFFFF_FFFF
    }
}

pub(super) struct Ip64;
impl Ip for Ip64 {
    const SIZE: u64 = 8;
    #[inline(always)]
    fn advance(sys: &mut System, edge: Edge) -> Edge {
        sys.cpu.rip = sys.cpu.rip.wrapping_add(edge.delta as i64 as u64);
        edge
    }
    #[inline(always)]
    fn cut(v: u64) -> u64 {
        v
    }
}

/// Follows an edge: moves RIP, and enters the block there unless its entry op does. The answer is the op to go on with;
/// `None` if the block does not fit before the deadline.
#[inline(always)]
pub(super) fn follow<I: Ip>(sys: &mut System, edge: Edge) -> Option<OpRef> {
    debug_assert!(sys.budget >= 0, "what a block takes fitted when it was entered");
    let edge = I::advance(sys, edge);
    let left = sys.budget - edge.enters.instructions();
    if left < 0 {
        refuse_block(sys, edge.enters.index());
        return None;
    }
    sys.budget = left;
    sys.block = edge.enters.index();
    Some(edge.to)
}

/// Ends a handler: goes on along an edge.
macro_rules! along {
    ($sys:expr, $ip:ty, $edge:expr) => {
        if let Some(to) = $crate::exec::hot::jumps::follow::<$ip>($sys, $edge) {
            $crate::engine::goto!($sys, to)
        }
    };
}
pub(super) use along;

/// Ends a handler: goes on along the edge in slot `n` behind `op` if `taken`, along the one behind that if not. A host's
/// branch, which is guessed at once, and not the choice of an address, which waits for the condition.
macro_rules! branch {
    ($sys:expr, $ip:ty, $op:expr, $n:expr, $taken:expr) => {
        if $taken {
            $crate::exec::hot::jumps::along!($sys, $ip, $op.edge($n))
        } else {
            core::hint::cold_path();
            $crate::exec::hot::jumps::along!($sys, $ip, $op.edge($n + 2))
        }
    };
}
pub(super) use branch;

/// The instance of a generic handler for the mode's instruction pointer.
macro_rules! by_ip {
    ($mode:expr, $handler:ident $(, $t:ty)*) => {
        match $mode.bitness() {
            16 => $handler::<$($t,)* Ip16>,
            32 => $handler::<$($t,)* Ip32>,
            _ => $handler::<$($t,)* Ip64>,
        }
    };
}

fn jmp<I: Ip>(sys: &mut System, op: OpRef) {
    along!(sys, I, op.edge(1))
}

/// Jcc; edges: taken, not taken.
pub(super) struct JumpIf<const CC: u8, I>(PhantomData<I>);
impl<const CC: u8, I: Ip> End for JumpIf<CC, I> {
    #[inline(always)]
    fn end(sys: &mut System, op: OpRef) {
        let taken = sys.cpu.flags.condition(CC);
        branch!(sys, I, op, 1, taken)
    }
}

/// A jump to another page, `imm` bytes from the block's start.
fn jmp_away<I: Ip>(sys: &mut System, op: OpRef) {
    let target = I::cut(sys.cpu.rip.wrapping_add(op.imm() as i32 as i64 as u64));
    if !may_go(sys, op, I::SIZE, target) {
        return;
    }
    match kept(sys, op, 1, I::SIZE, target) {
        Some(to) => goto!(sys, to),
        None => land(sys, op.step(2)),
    }
}

fn loop_<W: Width, I: Ip>(sys: &mut System, op: OpRef) {
    let count = W::cut(W::get(sys, reg::RCX).wrapping_sub(1));
    W::set(sys, reg::RCX, count);
    branch!(sys, I, op, 1, count != 0)
}

fn jcxz<W: Width, I: Ip>(sys: &mut System, op: OpRef) {
    let taken = W::get(sys, reg::RCX) == 0;
    branch!(sys, I, op, 1, taken)
}

/// `imm`: from the block's start to the return address.
fn call<P: PushWidth, I: Ip>(sys: &mut System, op: OpRef) {
    let back = I::cut(sys.cpu.rip.wrapping_add(op.imm().into()));
    if !quick_push::<P>(sys, back) {
        return late_call::<P, I>(sys, op, back);
    }
    along!(sys, I, op.edge(1))
}

#[cold]
#[inline(never)]
fn late_call<P: PushWidth, I: Ip>(sys: &mut System, op: OpRef, back: u64) {
    if push_value::<P>(sys, op, back) {
        along!(sys, I, op.edge(1))
    }
}

/// A call to another page; as [`call`], with the landing behind the edge.
fn call_away<P: PushWidth, I: Ip>(sys: &mut System, op: OpRef) {
    let start = sys.cpu.rip;
    let target = I::cut(start.wrapping_add(op.wide(1)));
    let back = I::cut(start.wrapping_add(op.imm().into()));
    if !may_go(sys, op, I::SIZE, target) {
        return;
    }
    if !quick_push::<P>(sys, back) {
        return late_call_to::<P, 2>(sys, op, target, back);
    }
    match kept(sys, op, 2, I::SIZE, target) {
        Some(to) => goto!(sys, to),
        None => land(sys, op.step(3)),
    }
}

/// The rest of a call whose landing is in slot `N`, where the push needs more.
#[cold]
#[inline(never)]
fn late_call_to<P: PushWidth, const N: usize>(sys: &mut System, op: OpRef, target: u64, back: u64) {
    if !push_value::<P>(sys, op, back) {
        return;
    }
    match kept(sys, op, N, P::Value::SIZE, target) {
        Some(to) => goto!(sys, to),
        None => land(sys, op.step(N + 1)),
    }
}

/// Whether near code may go on at an address of `size` bytes that it has computed; raises #GP(0) if not. Only 64-bit code
/// has addresses of 8 bytes, and they must be canonical before anything is changed [SDM-2 JMP, CALL, RET].
#[inline(always)]
fn may_go(sys: &mut System, op: OpRef, size: u64, target: u64) -> bool {
    if size == 8 && !is_canonical(target) {
        sys.segment_fault(op, seg::CS);
        return false;
    }
    true
}

/// RIP becomes `target`, an address of `size` bytes; the answer is the op to go on with, if it is
/// remembered.
#[inline(always)]
fn arrive(sys: &mut System, size: u64, target: u64) -> Option<OpRef> {
    sys.cpu.rip = target;
    let base = if size == 8 { 0 } else { sys.cpu.seg[seg::CS].base };
    let lin = base.wrapping_add(target) & (u64::MAX >> if size == 8 { 0 } else { 32 });
    sys.engine.landing(lin)
}

/// As [`arrive`], for a jump whose target seldom changes: it is kept in slot `n` behind `op`.
#[inline(always)]
fn kept(sys: &mut System, op: OpRef, n: usize, size: u64, target: u64) -> Option<OpRef> {
    sys.cpu.rip = target;
    let base = if size == 8 { 0 } else { sys.cpu.seg[seg::CS].base };
    let lin = base.wrapping_add(target) & (u64::MAX >> if size == 8 { 0 } else { 32 });
    landing(sys, op, n, lin)
}

fn call_reg<P: PushWidth, I: Ip>(sys: &mut System, op: OpRef) {
    let target = I::cut(sys.cpu.regs[op.ra()]);
    if !may_go(sys, op, P::Value::SIZE, target) {
        return;
    }
    let back = I::cut(sys.cpu.rip.wrapping_add(op.imm().into()));
    if !quick_push::<P>(sys, back) {
        return late_call_to::<P, 1>(sys, op, target, back);
    }
    match kept(sys, op, 1, I::SIZE, target) {
        Some(to) => goto!(sys, to),
        None => land(sys, op.step(2)),
    }
}

fn jmp_reg<I: Ip>(sys: &mut System, op: OpRef) {
    let target = I::cut(sys.cpu.regs[op.ra()]);
    if !may_go(sys, op, I::SIZE, target) {
        return;
    }
    match arrive(sys, I::SIZE, target) {
        Some(to) => goto!(sys, to),
        None => sys.exit = Exit::Lookup,
    }
}

fn jmp_mem<W: Width, A: Addr>(sys: &mut System, op: OpRef) {
    let Some(lin) = A::lin(sys, op, W::SIZE, false) else { return };
    match sys.tlb.read::<W>(lin) {
        Some(target) => jump_to::<W>(sys, op, target.to_u64()),
        None => late_jmp_mem::<W>(sys, op, lin),
    }
}

#[cold]
#[inline(never)]
fn late_jmp_mem<W: Width>(sys: &mut System, op: OpRef, lin: u64) {
    if let Some(target) = load::<W>(sys, op, lin) {
        jump_to::<W>(sys, op, target)
    }
}

#[inline(always)]
fn jump_to<W: Width>(sys: &mut System, op: OpRef, target: u64) {
    if !may_go(sys, op, W::SIZE, target) {
        return;
    }
    match arrive(sys, W::SIZE, target) {
        Some(to) => goto!(sys, to),
        None => sys.exit = Exit::Lookup,
    }
}

/// As [`jmp_mem`], with a landing: for operands that are not the entry of a table.
fn jmp_slot<W: Width, A: Addr>(sys: &mut System, op: OpRef) {
    let Some(lin) = A::lin(sys, op, W::SIZE, false) else { return };
    match sys.tlb.read::<W>(lin) {
        Some(target) => jump_by_landing::<W>(sys, op, target.to_u64()),
        None => late_jmp_slot::<W>(sys, op, lin),
    }
}

#[cold]
#[inline(never)]
fn late_jmp_slot<W: Width>(sys: &mut System, op: OpRef, lin: u64) {
    if let Some(target) = load::<W>(sys, op, lin) {
        jump_by_landing::<W>(sys, op, target)
    }
}

#[inline(always)]
fn jump_by_landing<W: Width>(sys: &mut System, op: OpRef, target: u64) {
    if !may_go(sys, op, W::SIZE, target) {
        return;
    }
    match kept(sys, op, 1, W::SIZE, target) {
        Some(to) => goto!(sys, to),
        None => land(sys, op.step(2)),
    }
}

/// `wide(1)`: from the block's start to the return address.
fn call_mem<P: PushWidth, A: Addr>(sys: &mut System, op: OpRef) {
    let Some(lin) = A::lin(sys, op, P::Value::SIZE, false) else { return };
    let Some(target) = sys.tlb.read::<P::Value>(lin) else { return late_call_mem::<P>(sys, op, lin) };
    let (target, back) = (target.to_u64(), P::Value::cut(sys.cpu.rip.wrapping_add(op.wide(1))));
    if !may_go(sys, op, P::Value::SIZE, target) {
        return;
    }
    if !quick_push::<P>(sys, back) {
        return late_call_to::<P, 2>(sys, op, target, back);
    }
    match kept(sys, op, 2, P::Value::SIZE, target) {
        Some(to) => goto!(sys, to),
        None => land(sys, op.step(3)),
    }
}

#[cold]
#[inline(never)]
fn late_call_mem<P: PushWidth>(sys: &mut System, op: OpRef, lin: u64) {
    let Some(target) = load::<P::Value>(sys, op, lin) else { return };
    let back = P::Value::cut(sys.cpu.rip.wrapping_add(op.wide(1)));
    if may_go(sys, op, P::Value::SIZE, target) {
        late_call_to::<P, 2>(sys, op, target, back)
    }
}

/// `imm`: bytes released behind the return address.
fn ret<P: PushWidth>(sys: &mut System, op: OpRef) {
    let sp = P::stack_pointer(sys);
    match quick_top::<P>(sys, sp) {
        Some(target) => return_to::<P>(sys, op, sp, target),
        None => late_ret::<P>(sys, op, sp),
    }
}

#[cold]
#[inline(never)]
fn late_ret<P: PushWidth>(sys: &mut System, op: OpRef, sp: u64) {
    let Some(lin) = P::linear(sys, op, sp, false) else { return };
    if let Some(target) = load::<P::Value>(sys, op, lin) {
        return_to::<P>(sys, op, sp, target)
    }
}

#[inline(always)]
fn return_to<P: PushWidth>(sys: &mut System, op: OpRef, sp: u64, target: u64) {
    if !may_go(sys, op, P::Value::SIZE, target) {
        return;
    }
    P::set_stack_pointer(sys, sp.wrapping_add(P::Value::SIZE + u64::from(op.imm())));
    match arrive(sys, P::Value::SIZE, target) {
        Some(to) => goto!(sys, to),
        None => sys.exit = Exit::Lookup,
    }
}

/// Whether the operand size of a near branch is that of the mode, so that nothing is cut off, and whether an edge can hold
/// the way to its target: from the block's start it may be some bytes more than the 2 GiB that the branch itself can go.
pub(super) fn is_natural(insn: &Instruction, mode: Mode) -> bool {
    let size = match insn.op0_kind() {
        OpKind::NearBranch16 => 16,
        OpKind::NearBranch32 => 32,
        _ => 64,
    };
    let target = insn.near_branch_target() as i64;
    size == mode.bitness() && (size != 64 || i64::from(target as i32) == target)
}

/// From the block's start to where a branch of `insn` leads.
pub(super) fn branch_delta(insn: &Instruction, mode: Mode) -> i32 {
    let target = insn.near_branch_target();
    match mode.bitness() {
        // Backwards or forwards: the shorter way round is the one that does not wrap.
        16 => target as u16 as i16 as i32,
        _ => target as i32,
    }
}

fn jcc_handler(cc: u8, mode: Mode) -> Handler {
    match mode.bitness() {
        16 => by_condition!(cc, |CC| end::<JumpIf<CC, Ip16>>),
        32 => by_condition!(cc, |CC| end::<JumpIf<CC, Ip32>>),
        _ => by_condition!(cc, |CC| end::<JumpIf<CC, Ip64>>),
    }
}

fn two_edges(insn: &Instruction, b: &mut Builder<'_>, run: Handler) -> bool {
    let behind = i32::from(b.offset) + insn.len() as i32;
    b.op(run, [0; 4], 0);
    b.edge(branch_delta(insn, b.mode));
    b.edge(behind);
    true
}

pub(super) fn lower_jmp(delta: i32, b: &mut Builder<'_>) {
    if b.is_near(delta) {
        let run: Handler = by_ip!(b.mode, jmp);
        b.op(run, [0; 4], 0);
        b.edge(delta);
    } else {
        let run: Handler = by_ip!(b.mode, jmp_away);
        b.op(run, [0; 4], delta as u32);
        b.landing();
    }
}

fn lower_call(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    use super::stack::*;
    let behind = u32::from(b.offset) + insn.len() as u32;
    let run: Handler = match (stack_kind(b.mode), b.mode.bitness()) {
        (StackKind::S16, 16) => call::<P16S16, Ip16>,
        (StackKind::S32F, 32) => call::<P32S32F, Ip32>,
        (StackKind::S32, 32) => call::<P32S32, Ip32>,
        (StackKind::S64, 64) => call::<P64S64, Ip64>,
        _ => return false,
    };
    let delta = branch_delta(insn, b.mode);
    if b.is_near(delta) {
        b.op(run, [0; 4], behind);
        b.edge(delta);
        return true;
    }
    let run: Handler = match stack_kind(b.mode) {
        StackKind::S16 => call_away::<P16S16, Ip16>,
        StackKind::S32F => call_away::<P32S32F, Ip32>,
        StackKind::S32 => call_away::<P32S32, Ip32>,
        StackKind::S64 => call_away::<P64S64, Ip64>,
    };
    b.op(run, [0; 4], behind);
    b.wide(delta as i64 as u64);
    b.landing();
    true
}

fn lower_indirect(insn: &Instruction, b: &mut Builder<'_>, is_call: bool) -> bool {
    use super::stack::*;
    let behind = u32::from(b.offset) + insn.len() as u32;
    let bits = b.mode.bitness();
    if insn.op0_kind() == OpKind::Register {
        if insn.op0_register().size() as u32 * 8 != bits {
            return false;
        }
        let run: Handler = match (is_call, stack_kind(b.mode), bits) {
            (false, ..) => by_ip!(b.mode, jmp_reg),
            (_, StackKind::S16, 16) => call_reg::<P16S16, Ip16>,
            (_, StackKind::S32F, 32) => call_reg::<P32S32F, Ip32>,
            (_, StackKind::S32, 32) => call_reg::<P32S32, Ip32>,
            (_, StackKind::S64, 64) => call_reg::<P64S64, Ip64>,
            _ => return false,
        };
        b.registers_op(run, [field(insn.op0_register()), 0, 0, 0], behind);
        if is_call {
            b.landing();
        }
        return true;
    }
    if insn.memory_size().size() as u32 * 8 != bits {
        return false;
    }
    let Some(m) = MemoryOperand::of(insn, b.mode) else { return false };
    let lands = is_call || insn.memory_index() == Register::None;
    let run: Handler = match (is_call, stack_kind(b.mode), bits) {
        (false, _, 16) if lands => by_addr!(m.kind, jmp_slot, u16),
        (false, _, 32) if lands => by_addr!(m.kind, jmp_slot, u32),
        (false, ..) if lands => by_addr!(m.kind, jmp_slot, u64),
        (false, _, 16) => by_addr!(m.kind, jmp_mem, u16),
        (false, _, 32) => by_addr!(m.kind, jmp_mem, u32),
        (false, ..) => by_addr!(m.kind, jmp_mem, u64),
        (_, StackKind::S16, 16) => by_addr!(m.kind, call_mem, P16S16),
        (_, StackKind::S32F, 32) => by_addr!(m.kind, call_mem, P32S32F),
        (_, StackKind::S32, 32) => by_addr!(m.kind, call_mem, P32S32),
        (_, StackKind::S64, 64) => by_addr!(m.kind, call_mem, P64S64),
        _ => return false,
    };
    b.registers_op(run, [0, m.b, m.c, m.d], m.imm);
    if is_call {
        b.wide(behind.into());
    }
    if lands {
        b.landing();
    }
    true
}

fn lower_ret(insn: &Instruction, b: &mut Builder<'_>, bits: u32) -> bool {
    use super::stack::*;
    let run: Handler = match (stack_kind(b.mode), bits, b.mode.bitness()) {
        (StackKind::S16, 16, 16) => ret::<P16S16>,
        (StackKind::S32F, 32, 32) => ret::<P32S32F>,
        (StackKind::S32, 32, 32) => ret::<P32S32>,
        (StackKind::S64, 64, 64) => ret::<P64S64>,
        _ => return false,
    };
    let released = if insn.op_count() == 1 { insn.immediate16().into() } else { 0 };
    b.op(run, [0; 4], released);
    true
}

fn lower_counted(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    use Code::*;
    let run: Handler = match insn.code() {
        Loop_rel8_16_CX => loop_::<u16, Ip16>,
        Loop_rel8_32_ECX => loop_::<u32, Ip32>,
        Loop_rel8_64_RCX => loop_::<u64, Ip64>,
        Jcxz_rel8_16 => jcxz::<u16, Ip16>,
        Jecxz_rel8_32 => jcxz::<u32, Ip32>,
        Jrcxz_rel8_64 => jcxz::<u64, Ip64>,
        _ => return false,
    };
    two_edges(insn, b, run)
}

pub(super) fn lower(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    use Code::*;
    // Elsewhere a target must be checked against the limit before the jump.
    if !b.mode.has(Mode::OPEN_LIMIT) {
        return false;
    }
    let code = insn.code();
    match code {
        Jmp_rel8_16 | Jmp_rel8_32 | Jmp_rel8_64 | Jmp_rel16 | Jmp_rel32_32 | Jmp_rel32_64
            if is_natural(insn, b.mode) =>
        {
            lower_jmp(branch_delta(insn, b.mode), b);
            true
        }
        Call_rel16 | Call_rel32_32 | Call_rel32_64 if is_natural(insn, b.mode) => lower_call(insn, b),
        Jmp_rm16 | Jmp_rm32 | Jmp_rm64 => lower_indirect(insn, b, false),
        Call_rm16 | Call_rm32 | Call_rm64 => lower_indirect(insn, b, true),
        Retnw | Retnw_imm16 => lower_ret(insn, b, 16),
        Retnd | Retnd_imm16 => lower_ret(insn, b, 32),
        Retnq | Retnq_imm16 => lower_ret(insn, b, 64),
        _ if code.is_jcc_short_or_near() && is_natural(insn, b.mode) => {
            two_edges(insn, b, jcc_handler(condition(insn), b.mode))
        }
        _ if code.is_jcx_short() || code.is_loop() => is_natural(insn, b.mode) && lower_counted(insn, b),
        _ => false,
    }
}
