//! MOV, MOVZX, MOVSX, LEA, XCHG, CMOVcc, SETcc, CBW and its kin.

use iced_x86::{Code, ConditionCode, Instruction, Mnemonic, OpKind};

use super::addr::{Addr, MemoryOperand, by_addr};
use super::width::{Width, by_width, by_width_and_addr, field, load, store};
use crate::System;
use crate::cpu::flags::sign_extend;
use crate::cpu::reg;
use crate::engine::{Builder, Handler, OpRef, next};

fn reg_reg<W: Width>(sys: &mut System, op: OpRef) {
    let v = W::get(sys, op.b());
    W::set(sys, op.a(), v);
    next!(sys, op)
}

fn reg_imm<W: Width>(sys: &mut System, op: OpRef) {
    W::set(sys, op.a(), op.imm() as i32 as i64 as u64);
    next!(sys, op)
}

fn reg_wide(sys: &mut System, op: OpRef) {
    sys.cpu.regs[op.a() & 15] = op.wide(1);
    next!(sys, op, 2)
}

fn reg_mem<W: Width, A: Addr>(sys: &mut System, op: OpRef) {
    let Some(lin) = A::lin(sys, op, W::SIZE, false) else { return };
    let Some(v) = load::<W>(sys, op, lin) else { return };
    W::set(sys, op.a(), v);
    next!(sys, op)
}

fn mem_reg<W: Width, A: Addr>(sys: &mut System, op: OpRef) {
    let Some(lin) = A::lin(sys, op, W::SIZE, true) else { return };
    let v = W::get(sys, op.a());
    if !store::<W>(sys, op, lin, v) {
        return;
    }
    next!(sys, op)
}

fn mem_imm<W: Width, A: Addr>(sys: &mut System, op: OpRef) {
    let Some(lin) = A::lin(sys, op, W::SIZE, true) else { return };
    if !store::<W>(sys, op, lin, op.wide(1)) {
        return;
    }
    next!(sys, op, 2)
}

fn lea<W: Width, A: Addr>(sys: &mut System, op: OpRef) {
    let ea = A::ea(sys, op);
    W::set(sys, op.a(), ea);
    next!(sys, op)
}

/// From `S` to `D`, zero-extended.
fn zero_reg<D: Width, S: Width>(sys: &mut System, op: OpRef) {
    let v = S::get(sys, op.b());
    D::set(sys, op.a(), v);
    next!(sys, op)
}

fn zero_mem<S: Width, A: Addr>(sys: &mut System, op: OpRef) {
    let Some(lin) = A::lin(sys, op, S::SIZE, false) else { return };
    let Some(v) = load::<S>(sys, op, lin) else { return };
    sys.cpu.regs[op.a() & 15] = v;
    next!(sys, op)
}

/// From `S` to `D`, sign-extended.
fn sign_reg<D: Width, S: Width>(sys: &mut System, op: OpRef) {
    let v = sign_extend(S::get(sys, op.b()), S::BITS);
    D::set(sys, op.a(), v);
    next!(sys, op)
}

fn sign_mem32<S: Width, A: Addr>(sys: &mut System, op: OpRef) {
    let Some(lin) = A::lin(sys, op, S::SIZE, false) else { return };
    let Some(v) = load::<S>(sys, op, lin) else { return };
    sys.cpu.regs[op.a() & 15] = sign_extend(v, S::BITS) & 0xFFFF_FFFF;
    next!(sys, op)
}

fn sign_mem64<S: Width, A: Addr>(sys: &mut System, op: OpRef) {
    let Some(lin) = A::lin(sys, op, S::SIZE, false) else { return };
    let Some(v) = load::<S>(sys, op, lin) else { return };
    sys.cpu.regs[op.a() & 15] = sign_extend(v, S::BITS);
    next!(sys, op)
}

fn xchg_reg<W: Width>(sys: &mut System, op: OpRef) {
    let (a, b) = (W::get(sys, op.a()), W::get(sys, op.b()));
    W::set(sys, op.a(), b);
    W::set(sys, op.b(), a);
    next!(sys, op)
}

fn cmov_reg<W: Width>(sys: &mut System, op: OpRef) {
    // A 32-bit CMOV clears the upper half whether it moves or not.
    let from = if sys.cpu.flags.condition(op.imm() as u8) { op.b() } else { op.a() };
    let v = W::get(sys, from);
    W::set(sys, op.a(), v);
    next!(sys, op)
}

fn setcc_reg(sys: &mut System, op: OpRef) {
    let v = sys.cpu.flags.condition(op.imm() as u8);
    u8::set(sys, op.a(), v.into());
    next!(sys, op)
}

/// CWD, CDQ, CQO.
fn sign_to_dx<W: Width>(sys: &mut System, op: OpRef) {
    let negative = W::get(sys, reg::RAX) >> (W::BITS - 1) != 0;
    W::set(sys, reg::RDX, if negative { u64::MAX } else { 0 });
    next!(sys, op)
}

/// CBW, CWDE, CDQE: from `S` in the accumulator to `D` in the accumulator.
fn widen_ax<D: Width, S: Width>(sys: &mut System, op: OpRef) {
    let v = sign_extend(S::get(sys, reg::RAX), S::BITS);
    D::set(sys, reg::RAX, v);
    next!(sys, op)
}

fn nop(sys: &mut System, op: OpRef) {
    next!(sys, op)
}

fn is_general(insn: &Instruction, n: u32) -> bool {
    insn.op_kind(n) == OpKind::Register && insn.op_register(n).is_gpr()
}

fn lower_mov(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    match (insn.op0_kind(), insn.op1_kind()) {
        (OpKind::Register, OpKind::Register) if is_general(insn, 0) && is_general(insn, 1) => {
            let run: Handler = by_width!(insn.op0_register().size(), reg_reg);
            b.op(run, [field(insn.op0_register()), field(insn.op1_register()), 0, 0], 0);
        }
        (OpKind::Register, OpKind::Memory) if is_general(insn, 0) => {
            let Some(m) = MemoryOperand::of(insn, b.mode) else { return false };
            let run: Handler = by_width_and_addr!(insn.op0_register().size(), m.kind, reg_mem);
            b.op(run, [field(insn.op0_register()), m.b, m.c, m.d], m.imm);
        }
        (OpKind::Memory, OpKind::Register) if is_general(insn, 1) => {
            let Some(m) = MemoryOperand::of(insn, b.mode) else { return false };
            let run: Handler = by_width_and_addr!(insn.op1_register().size(), m.kind, mem_reg);
            b.op(run, [field(insn.op1_register()), m.b, m.c, m.d], m.imm);
        }
        (OpKind::Memory, k) if k != OpKind::Register => {
            let Some(m) = MemoryOperand::of(insn, b.mode) else { return false };
            let run: Handler = by_width_and_addr!(insn.memory_size().size(), m.kind, mem_imm);
            b.op(run, [0, m.b, m.c, m.d], m.imm);
            b.wide(insn.immediate(1));
        }
        (OpKind::Register, k) if is_general(insn, 0) && k != OpKind::Register => {
            let (v, dest) = (insn.immediate(1), field(insn.op0_register()));
            if v as u32 as i32 as i64 as u64 == v || insn.op0_register().size() < 8 {
                let run: Handler = by_width!(insn.op0_register().size(), reg_imm);
                b.op(run, [dest, 0, 0, 0], v as u32);
            } else {
                b.op(reg_wide, [dest, 0, 0, 0], 0);
                b.wide(v);
            }
        }
        _ => return false,
    }
    true
}

fn lower_lea(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    let Some(m) = MemoryOperand::of(insn, b.mode) else { return false };
    let run: Handler = match insn.op0_register().size() {
        2 => by_addr!(m.kind, lea, u16),
        4 => by_addr!(m.kind, lea, u32),
        _ => by_addr!(m.kind, lea, u64),
    };
    b.op(run, [field(insn.op0_register()), m.b, m.c, m.d], m.imm);
    true
}

fn lower_extension(insn: &Instruction, b: &mut Builder<'_>, sign: bool) -> bool {
    let to = insn.op0_register().size();
    let dest = field(insn.op0_register());
    if insn.op1_kind() == OpKind::Register {
        let run: Handler = match (sign, to, insn.op1_register().size()) {
            (false, 2, 1) => zero_reg::<u16, u8>,
            (false, 4, 1) => zero_reg::<u32, u8>,
            (false, 8, 1) => zero_reg::<u64, u8>,
            (false, 4, 2) => zero_reg::<u32, u16>,
            (false, 8, 2) => zero_reg::<u64, u16>,
            (true, 2, 1) => sign_reg::<u16, u8>,
            (true, 4, 1) => sign_reg::<u32, u8>,
            (true, 8, 1) => sign_reg::<u64, u8>,
            (true, 4, 2) => sign_reg::<u32, u16>,
            (true, 8, 2) => sign_reg::<u64, u16>,
            (true, 8, 4) => sign_reg::<u64, u32>,
            _ => return false,
        };
        b.op(run, [dest, field(insn.op1_register()), 0, 0], 0);
        return true;
    }
    let Some(m) = MemoryOperand::of(insn, b.mode) else { return false };
    let run: Handler = match (sign, to, insn.memory_size().size()) {
        (false, 4 | 8, 1) => by_addr!(m.kind, zero_mem, u8),
        (false, 4 | 8, 2) => by_addr!(m.kind, zero_mem, u16),
        (true, 4, 1) => by_addr!(m.kind, sign_mem32, u8),
        (true, 4, 2) => by_addr!(m.kind, sign_mem32, u16),
        (true, 8, 1) => by_addr!(m.kind, sign_mem64, u8),
        (true, 8, 2) => by_addr!(m.kind, sign_mem64, u16),
        (true, 8, 4) => by_addr!(m.kind, sign_mem64, u32),
        _ => return false,
    };
    b.op(run, [dest, m.b, m.c, m.d], m.imm);
    true
}

/// The condition of a Jcc, SETcc or CMOVcc as the low four bits of its opcode.
pub(super) fn condition(insn: &Instruction) -> u8 {
    // iced numbers its condition codes from 1 in that order.
    (insn.condition_code() as u8).wrapping_sub(1) & 15
}

pub(super) fn lower(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    match insn.mnemonic() {
        Mnemonic::Mov => return lower_mov(insn, b),
        Mnemonic::Lea => return lower_lea(insn, b),
        Mnemonic::Movzx => return lower_extension(insn, b, false),
        Mnemonic::Movsx | Mnemonic::Movsxd => return lower_extension(insn, b, true),
        Mnemonic::Nop if insn.op_count() == 0 => b.op(nop, [0; 4], 0),
        Mnemonic::Xchg if is_general(insn, 0) && is_general(insn, 1) && !insn.has_lock_prefix() => {
            let run: Handler = by_width!(insn.op0_register().size(), xchg_reg);
            b.op(run, [field(insn.op0_register()), field(insn.op1_register()), 0, 0], 0);
        }
        _ => return lower_by_code(insn, b),
    }
    true
}

fn lower_by_code(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    // Of the conditional instructions, SETcc has one register and CMOVcc two; jumps have none, FCMOVcc others.
    let conditional = insn.condition_code() != ConditionCode::None;
    match insn.code() {
        Code::Cwd => b.op(sign_to_dx::<u16>, [0; 4], 0),
        Code::Cdq => b.op(sign_to_dx::<u32>, [0; 4], 0),
        Code::Cqo => b.op(sign_to_dx::<u64>, [0; 4], 0),
        Code::Cbw => b.op(widen_ax::<u16, u8>, [0; 4], 0),
        Code::Cwde => b.op(widen_ax::<u32, u16>, [0; 4], 0),
        Code::Cdqe => b.op(widen_ax::<u64, u32>, [0; 4], 0),
        _ if conditional && insn.op_count() == 1 && is_general(insn, 0) => {
            b.op(setcc_reg, [field(insn.op0_register()), 0, 0, 0], condition(insn).into());
        }
        _ if conditional && insn.op_count() == 2 && is_general(insn, 0) && is_general(insn, 1) => {
            let run: Handler = by_width!(insn.op0_register().size(), cmov_reg);
            let fields = [field(insn.op0_register()), field(insn.op1_register()), 0, 0];
            b.op(run, fields, condition(insn).into());
        }
        _ => return false,
    }
    true
}
