//! Far returns and returns from interrupts [SDM-2 RET, IRET].

use iced_x86::{Code, Instruction};

use super::Exec;
use crate::System;
use crate::cpu::bits::*;
use crate::cpu::flags::STATUS;
use crate::cpu::model::Kind;
use crate::cpu::{Fault, Mode, Outcome, Segment, attr, seg};
use crate::mem::Scalar;
use crate::system::{Descriptor, Stack, code_of};

pub(super) fn lookup(code: Code) -> Option<Exec> {
    use Code::*;
    Some(match code {
        Retfw | Retfw_imm16 => retf::<u16>,
        Retfd | Retfd_imm16 => retf::<u32>,
        Retfq | Retfq_imm16 => retf::<u64>,
        Iretw => iret::<u16>,
        Iretd => iret::<u32>,
        Iretq => iret::<u64>,
        _ => return None,
    })
}

/// Flags that every IRET replaces.
const ALWAYS: u32 = STATUS | TF | DF | NT;
/// And those that one of 32 or 64 bits does.
const WIDE: u32 = RF | AC | ID;

/// The frame of a return, as the stack has it.
struct Frame {
    rip: u64,
    cs: u16,
    /// Bytes of each word.
    size: u64,
    /// Words up to where an outer SS:RSP lies.
    words: u64,
    /// Bytes that RETF releases besides.
    released: u64,
}

impl System {
    /// Checks the code segment of a return [SDM-2 RET].
    fn return_code(&mut self, sel: u16) -> Outcome<Descriptor> {
        if code_of(sel) == 0 {
            return Err(Fault::gp(0));
        }
        let gp = Fault::gp(code_of(sel));
        let d = self.descriptor(sel, gp)?;
        let level_fits = if d.is_conforming() { d.dpl() <= d.rpl() } else { d.dpl() == d.rpl() };
        if !d.is_code() || d.rpl() < self.cpu.cpl || !level_fits {
            return Err(gp);
        }
        if self.cpu.mode.has(Mode::LONG) && d.is_l_and_d() {
            return Err(gp);
        }
        if d.present() { Ok(d) } else { Err(Fault::np(code_of(sel))) }
    }

    /// The stack that a return to code segment `code` finds on the present one.
    fn return_stack(&mut self, frame: &Frame, code: &Descriptor) -> Outcome<Stack> {
        let at = frame.words;
        let sp = self.peek_stack(at, frame.size, frame.released)?;
        let sel = self.peek_stack(at + 1, frame.size, frame.released)? as u16;
        let cpl = code.rpl();
        let to_64 = self.cpu.mode.has(Mode::LONG) && code.is_64();
        if code_of(sel) == 0 {
            let allowed = to_64 && cpl != 3 && sel as u8 & 3 == cpl;
            return if allowed { Ok(Stack::wide(Segment::null(sel), sp, cpl)) } else { Err(Fault::gp(0)) };
        }
        let gp = Fault::gp(code_of(sel));
        let d = self.descriptor(sel, gp)?;
        if d.rpl() != cpl || !d.is_writable_data() || d.dpl() != cpl {
            return Err(gp);
        }
        if !d.present() {
            return Err(Fault::ss(code_of(sel)));
        }
        self.mark_accessed(&d)?;
        Ok(if to_64 { Stack::wide(d.segment(), sp, cpl) } else { Stack::new(&d, sp, cpl) })
    }

    /// After a return to an outer level: its data segments must not be the inner level's.
    pub(crate) fn drop_inner_segments(&mut self) {
        for i in [seg::ES, seg::DS, seg::FS, seg::GS] {
            let s = &self.cpu.seg[i];
            let conforming = s.attr & (attr::CODE | attr::CE) == attr::CODE | attr::CE;
            if !s.null && s.dpl() < self.cpu.cpl && !conforming {
                // The selector is gone, and with it the right to use the segment; in long mode FS and GS keep their bases.
                self.cpu.change_segment(i, Segment { sel: 0, null: true, ..*s });
            }
        }
    }

    /// The return itself, in protected and long mode. With `whole`, SS:RSP are on the stack whatever the level.
    fn return_to(&mut self, frame: &Frame, whole: bool) -> Outcome {
        let code = self.return_code(frame.cs)?;
        let (old, new) = (self.cpu.cpl, code.rpl());
        let from = self.cpu.mode;
        let stack = if new != old || whole { Some(self.return_stack(frame, &code)?) } else { None };
        self.check_entry(&code, frame.rip)?;
        self.mark_accessed(&code)?;
        let Some(stack) = stack else {
            let sp = self.stack_pointer();
            self.set_stack_pointer(sp.wrapping_add(frame.words * frame.size).wrapping_add(frame.released));
            self.enter_code(&code, new, frame.rip);
            if frame.words == 3 {
                self.remember_return(from, &code, false, 0);
            }
            return Ok(());
        };
        self.enter_code_on(&stack, stack.sp.wrapping_add(frame.released), &code, new, frame.rip);
        if frame.words == 3 {
            self.remember_return(from, &code, true, stack.segment.sel);
        }
        if new != old {
            self.drop_inner_segments();
        }
        Ok(())
    }
}

fn retf<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let size = T::SIZE;
    let released = if insn.op_count() == 1 { u64::from(insn.immediate16()) } else { 0 };
    let rip = sys.peek_stack(0, size, 0)?;
    let cs = sys.peek_stack(1, size, 0)? as u16;
    if sys.cpu.mode.is_protected() {
        return sys.return_to(&Frame { rip, cs, size, words: 2, released }, false);
    }
    sys.check_target(rip)?;
    let sp = sys.stack_pointer();
    sys.set_stack_pointer(sp.wrapping_add(2 * size).wrapping_add(released));
    sys.load_real_segment(seg::CS, cs);
    sys.cpu.rip = rip;
    Ok(())
}

fn iret<T: Scalar>(sys: &mut System, _: &Instruction) -> Outcome {
    if core::mem::take(&mut sys.cpu.nmi_blocked) {
        // An NMI may be waiting.
        sys.request_leave();
    }
    let size = T::SIZE;
    if sys.cpu.mode.is_protected() && sys.cpu.eflags & NT != 0 {
        if sys.cpu.mode.has(Mode::LONG) {
            return Err(Fault::gp(0));
        }
        return sys.return_to_linked_task();
    }
    let v86 = sys.cpu.mode.has(Mode::V86);
    let extended = sys.cpu.cr4 & CR4_VME != 0 && size == 2;
    if v86 && sys.cpu.iopl() < 3 && !extended {
        return Err(Fault::gp(0));
    }
    let rip = sys.peek_stack(0, size, 0)?;
    let cs = sys.peek_stack(1, size, 0)? as u16;
    let flags = sys.peek_stack(2, size, 0)? as u32;
    let frame = Frame { rip, cs, size, words: 3, released: 0 };
    if v86 || sys.cpu.mode.is_real() {
        return iret_real(sys, &frame, flags);
    }
    if flags & VM != 0 && sys.cpu.cpl == 0 && size == 4 && !sys.cpu.mode.has(Mode::LONG) {
        return iret_to_v86(sys, &frame, flags);
    }
    let (cpl, iopl) = (sys.cpu.cpl, sys.cpu.iopl());
    sys.return_to(&frame, sys.cpu.mode.has(Mode::CODE64))?;
    let mut mask = ALWAYS | if size == 2 { 0 } else { WIDE };
    if cpl <= iopl {
        mask |= IF;
    }
    if cpl == 0 {
        mask |= IOPL | if size == 2 { 0 } else { VIF | VIP };
    }
    set_flags(sys, flags, mask);
    Ok(())
}

/// Replaces the flags in `mask`. RF counts for one instruction only, and only where breakpoints can be hit: anywhere else
/// it is not kept.
fn set_flags(sys: &mut System, flags: u32, mask: u32) {
    let rf = if sys.cpu.has_code_breakpoints() { 0 } else { RF };
    let old = sys.cpu.eflags();
    let mask = mask & (sys.cpu.known_flags() | VM);
    let new = (old & !mask | flags & mask) & !rf;
    sys.replace_eflags(new);
    if !old & new & IF != 0 && sys.interrupt_waits() {
        sys.request_leave();
    }
}

/// Real and V86 mode.
fn iret_real(sys: &mut System, frame: &Frame, flags: u32) -> Outcome {
    sys.check_target(frame.rip)?;
    let v86 = sys.cpu.mode.has(Mode::V86);
    let virtual_if = v86 && sys.cpu.iopl() < 3;
    let mut flags = flags;
    let mut mask = ALWAYS | IF | if frame.size == 2 { 0 } else { WIDE };
    if virtual_if {
        let old = sys.cpu.eflags;
        if flags & TF != 0 || (flags & IF != 0 && old & VIP != 0) {
            return Err(Fault::gp(0));
        }
        flags = flags & !VIF | if flags & IF != 0 { VIF } else { 0 };
        mask = mask & !IF | VIF;
    } else if sys.cpu.model.kind == Kind::I80286 {
        // In real mode it lets nothing change these.
        mask &= !NT;
    } else if !v86 {
        mask |= IOPL;
    }
    let sp = sys.stack_pointer();
    sys.set_stack_pointer(sp.wrapping_add(3 * frame.size));
    sys.load_real_segment(seg::CS, frame.cs);
    sys.cpu.rip = frame.rip;
    set_flags(sys, flags, mask);
    Ok(())
}

/// From ring 0 to V86 mode: nine words [SDM-3 20.2.2].
fn iret_to_v86(sys: &mut System, frame: &Frame, flags: u32) -> Outcome {
    let mut word = |n: u64| sys.peek_stack(n, 4, 0);
    let esp = word(3)?;
    let (ss, es, ds) = (word(4)? as u16, word(5)? as u16, word(6)? as u16);
    let (fs, gs) = (word(7)? as u16, word(8)? as u16);
    if frame.rip > 0xFFFF {
        return Err(Fault::gp(0));
    }
    sys.set_cpl(3);
    set_flags(sys, flags, u32::MAX);
    let loads = [(seg::CS, frame.cs), (seg::SS, ss), (seg::ES, es), (seg::DS, ds), (seg::FS, fs), (seg::GS, gs)];
    loads.into_iter().for_each(|(i, sel)| sys.load_real_segment(i, sel));
    sys.cpu.regs[crate::cpu::reg::RSP] = esp;
    sys.cpu.rip = frame.rip;
    Ok(())
}
