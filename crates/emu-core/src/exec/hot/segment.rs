//! MOV, PUSH and POP of ES, DS, FS and GS. Loading SS leaves a shadow, and loading CS is a jump: they keep their decoded form.
//!
//! A load has its decoded form behind it (`imm` is its number), which takes over before anything has changed wherever the
//! segment is not one that was loaded before. Field a: the segment register.

use core::marker::PhantomData;

use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};

use super::stack::{P16S16, P16S32, P32S16, P32S32, P32S32F, P64S64, PushWidth, StackKind, by_push, stack_kind};
use super::step::Step;
use super::width::{Width, by_width, field};
use crate::System;
use crate::cpu::model::Kind;
use crate::cpu::{Mode, seg};
use crate::engine::{Builder, Handler, OpRef, cold, next};
use crate::exec::operands::segment_index;
use crate::mem::Scalar;

/// Segment register `a` was loaded under `before`: whether the chain goes on in the same mode.
#[inline(always)]
fn same_mode(sys: &mut System, op: OpRef, before: Mode) -> bool {
    let same = sys.cpu.mode == before;
    if !same {
        sys.stop_behind(op);
    }
    same
}

/// MOV from register b.
fn mov_to(sys: &mut System, op: OpRef) {
    let (before, sel) = (sys.cpu.mode, sys.cpu.regs[op.rb()] as u16);
    if !sys.load_quickly(op.a(), sel) {
        return cold(sys, op);
    }
    if same_mode(sys, op, before) {
        next!(sys, op)
    }
}

fn pop<P: PushWidth>(sys: &mut System, op: OpRef) {
    let (before, sp) = (sys.cpu.mode, P::stack_pointer(sys));
    // Of a wider slot only the selector is read.
    let sel = P::open(sys, sp, false).and_then(|lin| sys.tlb.read::<u16>(lin));
    let Some(sel) = sel else { return cold(sys, op) };
    if !sys.load_quickly(op.a(), sel) {
        return cold(sys, op);
    }
    P::set_stack_pointer(sys, sp.wrapping_add(P::Value::SIZE));
    if same_mode(sys, op, before) {
        next!(sys, op)
    }
}

/// Of a doubleword only the selector is written, and a word is all there is.
fn push<P: PushWidth>(sys: &mut System, op: OpRef) {
    let sp = P::stack_pointer(sys).wrapping_sub(P::Value::SIZE);
    let sel = sys.cpu.seg[op.a()].sel;
    match P::open(sys, sp, true) {
        Some(lin) if sys.tlb.write(lin, sel) => {
            P::set_stack_pointer(sys, sp);
            next!(sys, op)
        }
        _ => cold(sys, op),
    }
}

/// MOV of the segment register in b to register a.
struct MovFrom<W>(PhantomData<W>);
impl<W: Width> Step for MovFrom<W> {
    #[inline(always)]
    fn step(sys: &mut System, op: OpRef) -> bool {
        let sel = sys.cpu.seg[op.b()].sel;
        W::set(sys, op.ra(), sel.into());
        true
    }
}

/// The handlers of this file that [`super::lower`] does not know.
pub(crate) const HANDLERS: [Handler; 13] = [
    mov_to,
    pop::<P16S16>,
    pop::<P32S16>,
    pop::<P16S32>,
    pop::<P32S32>,
    pop::<P32S32F>,
    pop::<P64S64>,
    push::<P16S16>,
    push::<P32S16>,
    push::<P16S32>,
    push::<P32S32>,
    push::<P32S32F>,
    push::<P64S64>,
];

/// Lowers `insn` if it is one of these; `decoded` keeps its decoded form.
pub(crate) fn lower(insn: &Instruction, b: &mut Builder<'_>, decoded: impl FnOnce(&mut Builder<'_>) -> u32) -> bool {
    use Code::*;
    let registers = insn.op1_kind() == OpKind::Register && insn.op0_kind() == OpKind::Register;
    let (run, of): (Option<Handler>, Register) = match insn.code() {
        Mov_rm16_Sreg | Mov_r32m16_Sreg | Mov_r64m16_Sreg if registers => {
            let from = segment_index(insn.op1_register());
            if b.model.kind < Kind::I80386 {
                return false;
            }
            let run = by_width!(insn.op0_register().size(), MovFrom);
            b.registers_op(run, [field(insn.op0_register()), from as u8, 0, 0], 0);
            return true;
        }
        Mov_Sreg_rm16 | Mov_Sreg_r32m16 | Mov_Sreg_r64m16 if registers => (Some(mov_to), insn.op0_register()),
        Popw_ES | Popw_DS | Popw_FS | Popw_GS => (by_push!(16, b.mode, |P| pop::<P>), insn.op0_register()),
        Popd_ES | Popd_DS | Popd_FS | Popd_GS => (by_push!(32, b.mode, |P| pop::<P>), insn.op0_register()),
        Pushw_ES | Pushw_CS | Pushw_SS | Pushw_DS | Pushw_FS | Pushw_GS => {
            (by_push!(16, b.mode, |P| push::<P>), insn.op0_register())
        }
        Pushd_ES | Pushd_CS | Pushd_SS | Pushd_DS | Pushd_FS | Pushd_GS => {
            (by_push!(32, b.mode, |P| push::<P>), insn.op0_register())
        }
        _ => return false,
    };
    let (Some(run), index) = (run, segment_index(of)) else { return false };
    let ordinary = insn.mnemonic() == Mnemonic::Push || !matches!(index, seg::CS | seg::SS);
    if !ordinary || b.model.kind < Kind::I80386 {
        return false;
    }
    let from = if registers { field(insn.op1_register()) & 15 } else { 0 };
    let number = decoded(b);
    b.registers_op(run, [index as u8, from, 0, 0], number);
    true
}
