//! Far jumps and calls, to code segments and through gates [SDM-3 5.8, SDM-2 JMP, CALL].

use iced_x86::{Code, Instruction, OpKind};

use super::Exec;
use super::operands::address_size;
use crate::System;
use crate::cpu::{Fault, Mode, Outcome, reg, seg};
use crate::mem::Scalar;
use crate::system::{Descriptor, Switch, code_of};

pub(super) fn lookup(code: Code) -> Option<Exec> {
    use Code::*;
    Some(match code {
        Jmp_ptr1616 | Jmp_m1616 => jmp::<u16>,
        Jmp_ptr1632 | Jmp_m1632 => jmp::<u32>,
        Jmp_m1664 => jmp::<u64>,
        Call_ptr1616 | Call_m1616 => call::<u16>,
        Call_ptr1632 | Call_m1632 => call::<u32>,
        Call_m1664 => call::<u64>,
        _ => return None,
    })
}

const CALL_GATE_16: u8 = 4;
const TASK_GATE: u8 = 5;
const CALL_GATE: u8 = 12;

impl System {
    /// The far pointer that `insn` has as its operand `n`: selector and offset.
    pub(crate) fn far_pointer<T: Scalar>(&mut self, insn: &Instruction, n: u32) -> Outcome<(u16, u64)> {
        match insn.op_kind(n) {
            OpKind::FarBranch16 => Ok((insn.far_branch_selector(), insn.far_branch16().into())),
            OpKind::FarBranch32 => Ok((insn.far_branch_selector(), insn.far_branch32().into())),
            _ => {
                let (segment, at) = (self.operand_segment(insn), self.operand_offset(insn));
                let offset = self.read::<T>(segment, at)?.to_u64();
                let mask = u64::MAX >> (64 - 8 * address_size(insn));
                let sel = self.read::<u16>(segment, at.wrapping_add(T::SIZE) & mask)?;
                Ok((sel, offset))
            }
        }
    }

    /// Checks that code segment `d` can be entered directly, from selector `d.sel` [SDM-3 5.8.1].
    fn check_direct(&self, d: &Descriptor) -> Outcome {
        let cpl = self.cpu.cpl;
        let level_fits = if d.is_conforming() { d.dpl() <= cpl } else { d.rpl() <= cpl && d.dpl() == cpl };
        if !level_fits || (self.cpu.mode.has(Mode::LONG) && d.is_l_and_d()) {
            return Err(Fault::gp(code_of(d.sel)));
        }
        if d.present() { Ok(()) } else { Err(Fault::np(code_of(d.sel))) }
    }

    /// Checks the rights to a gate or TSS, and that it is there.
    fn check_gate(&self, d: &Descriptor) -> Outcome {
        if d.dpl() < self.cpu.cpl.max(d.rpl()) {
            return Err(Fault::gp(code_of(d.sel)));
        }
        if d.present() { Ok(()) } else { Err(Fault::np(code_of(d.sel))) }
    }

    /// The code segment that a call gate leads to; `call` may enter an inner level.
    fn gate_code(&mut self, gate: &Descriptor, call: bool) -> Outcome<Descriptor> {
        let sel = gate.target();
        if code_of(sel) == 0 {
            return Err(Fault::gp(0));
        }
        let gp = Fault::gp(code_of(sel));
        let code = self.descriptor(sel, gp)?;
        let cpl = self.cpu.cpl;
        let level_fits = if call || code.is_conforming() { code.dpl() <= cpl } else { code.dpl() == cpl };
        let wide_fits = !self.cpu.mode.has(Mode::LONG) || (code.is_64() && !code.is_l_and_d());
        if !code.is_code() || !level_fits || !wide_fits {
            return Err(gp);
        }
        if code.present() { Ok(code) } else { Err(Fault::np(code_of(sel))) }
    }

    /// The descriptor that a far JMP or CALL names, and what kind of transfer it makes.
    fn far_target(&mut self, sel: u16) -> Outcome<Descriptor> {
        if code_of(sel) == 0 {
            return Err(Fault::gp(0));
        }
        let gp = Fault::gp(code_of(sel));
        let d = self.descriptor(sel, gp)?;
        let long = self.cpu.mode.has(Mode::LONG);
        match d.kind() {
            _ if d.is_code() => self.check_direct(&d)?,
            CALL_GATE => self.check_gate(&d)?,
            CALL_GATE_16 | TASK_GATE | 1 | 9 if !long => self.check_gate(&d)?,
            _ => return Err(gp),
        }
        Ok(d)
    }

    /// A task switch by JMP or CALL, through a task gate or directly.
    fn far_task(&mut self, d: &Descriptor, how: Switch) -> Outcome {
        let tss = if d.kind() == TASK_GATE { self.available_tss(d.target(), 0)? } else { *d };
        let flags = self.cpu.eflags();
        self.switch_task(&tss, how, flags, 0)
    }
}

fn jmp<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let (sel, offset) = sys.far_pointer::<T>(insn, 0)?;
    if !sys.cpu.mode.is_protected() {
        sys.check_target(offset)?;
        sys.load_real_segment(seg::CS, sel);
        sys.cpu.rip = offset;
        return Ok(());
    }
    let d = sys.far_target(sel)?;
    let (code, offset) = match d.kind() {
        _ if d.is_code() => (d, offset),
        CALL_GATE | CALL_GATE_16 => (sys.gate_code(&d, false)?, d.offset()),
        _ => return sys.far_task(&d, Switch::Jump),
    };
    sys.check_entry(&code, offset)?;
    sys.mark_accessed(&code)?;
    sys.enter_code(&code, sys.cpu.cpl, offset);
    Ok(())
}

fn call<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let (sel, offset) = sys.far_pointer::<T>(insn, 0)?;
    if !sys.cpu.mode.is_protected() {
        sys.check_target(offset)?;
        push_return(sys, T::SIZE)?;
        sys.load_real_segment(seg::CS, sel);
        sys.cpu.rip = offset;
        return Ok(());
    }
    let d = sys.far_target(sel)?;
    match d.kind() {
        _ if d.is_code() => call_code(sys, &d, offset, T::SIZE),
        CALL_GATE | CALL_GATE_16 => call_gate(sys, &d),
        _ => sys.far_task(&d, Switch::Call),
    }
}

/// Pushes CS and RIP, or neither.
fn push_return(sys: &mut System, size: u64) -> Outcome {
    let frame = [sys.cpu.seg[seg::CS].sel.into(), sys.cpu.rip];
    let sp = sys.push_all(&sys.present_stack(), &frame, size, Fault::ss(0))?;
    sys.set_stack_pointer(sp);
    Ok(())
}

/// A call that keeps the privilege level.
fn call_code(sys: &mut System, code: &Descriptor, offset: u64, size: u64) -> Outcome {
    sys.check_entry(code, offset)?;
    sys.mark_accessed(code)?;
    push_return(sys, size)?;
    sys.enter_code(code, sys.cpu.cpl, offset);
    Ok(())
}

fn call_gate(sys: &mut System, gate: &Descriptor) -> Outcome {
    let code = sys.gate_code(gate, true)?;
    let long = sys.cpu.mode.has(Mode::LONG);
    let size = match gate.kind() {
        _ if long => 8,
        CALL_GATE => 4,
        _ => 2,
    };
    if code.is_conforming() || code.dpl() == sys.cpu.cpl {
        return call_code(sys, &code, gate.offset(), size);
    }
    let cpl = code.dpl();
    let stack = sys.inner_stack(cpl, 0)?;
    let mut frame = vec![u64::from(sys.cpu.seg[seg::SS].sel), sys.cpu.regs[reg::RSP]];
    if !long {
        for i in (0..gate.parameters()).rev() {
            frame.push(sys.peek_stack(i.into(), size, 0)?);
        }
    }
    frame.extend([sys.cpu.seg[seg::CS].sel.into(), sys.cpu.rip]);
    sys.check_entry(&code, gate.offset())?;
    sys.mark_accessed(&code)?;
    let sp = sys.push_all(&stack, &frame, size, Fault::ss(code_of(stack.segment.sel)))?;
    sys.enter_code(&code, cpl, gate.offset());
    sys.change_stack(&stack, sp);
    Ok(())
}
