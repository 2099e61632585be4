//! Interrupt delivery through the gates of protected and long mode [SDM-3 6.12, 6.14].

use super::interrupt::Source;
use super::{Descriptor, Interrupt, Stack, Switch, System, code_of};
use crate::cpu::bits::{IF, NT, RF, TF, VM};
use crate::cpu::{Fault, Mode, Outcome, Segment, reg, seg};

const TASK_GATE: u8 = 5;
const INTERRUPT_16: u8 = 6;
const TRAP_16: u8 = 7;
const INTERRUPT_32: u8 = 14;
const TRAP_32: u8 = 15;

impl System {
    pub(super) fn interrupt_through_gate(&mut self, int: Interrupt) -> Outcome {
        if self.pass_known_gate(int, self.flags_to_push(int)) {
            return Ok(());
        }
        let from = self.cpu.mode;
        let gate = self.checked_gate(int)?;
        if gate.kind() == TASK_GATE {
            return self.interrupt_task(&gate, int);
        }
        let code = self.checked_handler(&gate, int.ext())?;
        let sel_code = code_of(gate.target()) | int.ext();
        let inner = !code.is_conforming() && code.dpl() < self.cpu.cpl;
        if self.cpu.mode.has(Mode::V86) && !(inner && code.dpl() == 0) {
            return Err(Fault::gp(sel_code));
        }
        let cpl = if inner { code.dpl() } else { self.cpu.cpl };
        if self.cpu.mode.has(Mode::LONG) {
            self.enter_handler_64(&gate, &code, cpl, int)?;
        } else if inner {
            self.enter_inner_handler(&gate, &code, int)?;
        } else {
            self.enter_handler(&gate, &code, int)?;
        }
        self.remember_gate(int, &gate, &code, from);
        Ok(())
    }

    /// INT `vector`, if its gate is a remembered one. Nothing has changed if the answer is false.
    #[inline(never)]
    pub(crate) fn quick_int(&mut self, vector: u8) -> bool {
        let flags = self.cpu.eflags().into();
        let passed = self.pass_known_gate(Interrupt::software(vector), flags);
        self.single_step &= !passed;
        passed
    }

    /// The gate of `int`, with its own checks done.
    fn checked_gate(&mut self, int: Interrupt) -> Outcome<Descriptor> {
        let code = u16::from(int.vector) << 3 | 2 | int.ext();
        let long = self.cpu.mode.has(Mode::LONG);
        let size = if long { 16 } else { 8 };
        let at = u64::from(int.vector) * size;
        if at + size - 1 > self.cpu.idtr.limit.into() {
            return Err(Fault::gp(code));
        }
        let lin = self.cpu.idtr.base.wrapping_add(at);
        let words = self.read_system::<u64>(lin)?;
        let upper = if long { self.read_system::<u32>(lin.wrapping_add(8))? } else { 0 };
        let gate = Descriptor::gate(words as u32, (words >> 32) as u32, upper);
        let known = match gate.kind() {
            INTERRUPT_32 | TRAP_32 => true,
            TASK_GATE | INTERRUPT_16 | TRAP_16 => !long,
            _ => false,
        };
        if !known || (int.source == Source::Software && gate.dpl() < self.cpu.cpl) {
            return Err(Fault::gp(code));
        }
        if !gate.present() {
            return Err(Fault::np(code));
        }
        Ok(gate)
    }

    /// The code segment that `gate` leads to.
    fn checked_handler(&mut self, gate: &Descriptor, ext: u16) -> Outcome<Descriptor> {
        let sel = gate.target();
        if code_of(sel) == 0 {
            return Err(Fault::gp(ext));
        }
        let gp = Fault::gp(code_of(sel) | ext);
        let code = self.descriptor(sel, gp)?;
        if !code.is_code() || code.dpl() > self.cpu.cpl {
            return Err(gp);
        }
        if self.cpu.mode.has(Mode::LONG) && (!code.is_64() || code.is_l_and_d()) {
            return Err(gp);
        }
        if !code.present() {
            return Err(Fault::np(code_of(sel) | ext));
        }
        Ok(code)
    }

    /// EFLAGS as a handler finds them on its stack. Faults set RF there, so that the instruction is not stopped again by
    /// the same breakpoint [SDM-3 17.3.1.1].
    fn flags_to_push(&self, int: Interrupt) -> u64 {
        let fault = int.source == Source::Exception && !matches!(int.vector, 1 | 3 | 4 | 8 | 18);
        u64::from(self.cpu.eflags() | if fault { RF } else { 0 })
    }

    fn enter_flags(&mut self, gate: &Descriptor) {
        let mask = if matches!(gate.kind(), INTERRUPT_16 | INTERRUPT_32) { IF } else { 0 };
        let flags = self.cpu.eflags() & !(mask | TF | NT | RF | VM);
        self.replace_eflags(flags);
    }

    /// Same privilege level: the handler uses the present stack.
    fn enter_handler(&mut self, gate: &Descriptor, code: &Descriptor, int: Interrupt) -> Outcome {
        let stack = self.present_stack();
        let size = if gate.kind() & 8 != 0 { 4 } else { 2 };
        let frame = [self.flags_to_push(int), self.cpu.seg[seg::CS].sel.into(), self.cpu.rip, code_word(int)];
        let rip = gate.offset();
        self.check_entry(code, rip).map_err(|_| Fault::gp(int.ext()))?;
        self.mark_accessed(code)?;
        let n = if int.code.is_some() { 4 } else { 3 };
        let sp = self.push_all(&stack, &frame[..n], size, Fault::ss(int.ext()))?;
        self.set_stack_pointer(sp);
        self.enter_code(code, self.cpu.cpl, rip);
        self.enter_flags(gate);
        Ok(())
    }

    /// To an inner privilege level, from V86 mode too: the handler's stack is the TSS's.
    fn enter_inner_handler(&mut self, gate: &Descriptor, code: &Descriptor, int: Interrupt) -> Outcome {
        let cpl = code.dpl();
        let stack = self.inner_stack(cpl, int.ext())?;
        let v86 = self.cpu.mode.has(Mode::V86);
        let s = |i: usize| u64::from(self.cpu.seg[i].sel);
        let frame = [
            s(seg::GS),
            s(seg::FS),
            s(seg::DS),
            s(seg::ES),
            s(seg::SS),
            self.cpu.regs[reg::RSP],
            self.flags_to_push(int),
            s(seg::CS),
            self.cpu.rip,
            code_word(int),
        ];
        let first = if v86 { 0 } else { 4 };
        let end = if int.code.is_some() { 10 } else { 9 };
        let size = if gate.kind() & 8 != 0 { 4 } else { 2 };
        let rip = gate.offset();
        self.check_entry(code, rip).map_err(|_| Fault::gp(int.ext()))?;
        self.mark_accessed(code)?;
        let fault = Fault::ss(code_of(stack.segment.sel) | int.ext());
        let sp = self.push_all(&stack, &frame[first..end], size, fault)?;
        self.enter_flags(gate);
        self.enter_code_on(&stack, sp, code, cpl, rip);
        if v86 {
            for i in [seg::GS, seg::FS, seg::DS, seg::ES] {
                self.cpu.set_segment(i, Segment::null(0));
            }
        }
        Ok(())
    }

    /// Long mode: the frame always has five words or six, on a stack aligned to 16 bytes [SDM-3 6.14.2].
    fn enter_handler_64(&mut self, gate: &Descriptor, code: &Descriptor, cpl: u8, int: Interrupt) -> Outcome {
        let (ist, inner) = (gate.stack_index(), cpl != self.cpu.cpl);
        let mut stack = if inner || ist != 0 {
            self.inner_stack_64(cpl, ist, int.ext())?
        } else {
            Stack::wide(self.cpu.seg[seg::SS], self.cpu.regs[reg::RSP], cpl)
        };
        let rip = gate.offset();
        self.check_entry(code, rip).map_err(|_| Fault::gp(int.ext()))?;
        self.mark_accessed(code)?;
        stack.sp &= !15;
        let (ss, cs) = (self.cpu.seg[seg::SS].sel.into(), self.cpu.seg[seg::CS].sel.into());
        let frame = [ss, self.cpu.regs[reg::RSP], self.flags_to_push(int), cs, self.cpu.rip, code_word(int)];
        let n = if int.code.is_some() { 6 } else { 5 };
        let sp = self.push_all(&stack, &frame[..n], 8, Fault::ss(int.ext()))?;
        self.enter_code(code, cpl, rip);
        if inner {
            self.cpu.set_segment(seg::SS, stack.segment);
        }
        self.cpu.regs[reg::RSP] = sp;
        self.enter_flags(gate);
        Ok(())
    }

    fn interrupt_task(&mut self, gate: &Descriptor, int: Interrupt) -> Outcome {
        let tss = self.available_tss(gate.target(), int.ext())?;
        let flags = self.flags_to_push(int) as u32;
        self.switch_task(&tss, Switch::Interrupt(int.code), flags, int.ext())
    }
}

fn code_word(int: Interrupt) -> u64 {
    int.code.unwrap_or(0).into()
}
