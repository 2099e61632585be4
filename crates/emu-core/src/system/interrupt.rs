//! Interrupts and exceptions: what kind they are, how faults during delivery add up, and delivery in real mode.

use super::System;
use crate::cpu::bits::{AC, DR7_GD, IF, RF, TF};
use crate::cpu::{Activity, Fault, Mode, Outcome, Segment, seg};

/// Where an interrupt comes from; privilege checks and error codes depend on it [SDM-3 6.12].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// INTR or NMI.
    External,
    /// A fault or trap of an instruction.
    Exception,
    /// INT n, INT3 or INTO: the gate's DPL counts.
    Software,
    /// INT1 (ICEBP): as software, but the gate's DPL does not count.
    Icebp,
}

/// An interrupt or exception on its way to the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupt {
    /// Vector number.
    pub vector: u8,
    /// Error code to push, if any.
    pub code: Option<u16>,
    /// Where it comes from.
    pub source: Source,
}

impl Interrupt {
    /// From an interrupt controller.
    #[must_use]
    pub fn external(vector: u8) -> Interrupt {
        Interrupt { vector, code: None, source: Source::External }
    }
    /// NMI.
    #[must_use]
    pub fn nmi() -> Interrupt {
        Interrupt { vector: 2, code: None, source: Source::External }
    }
    /// An instruction's fault or trap.
    #[must_use]
    pub fn exception(fault: Fault) -> Interrupt {
        Interrupt { vector: fault.vector(), code: fault.code(), source: Source::Exception }
    }
    /// INT n, INT3, INTO.
    #[must_use]
    pub fn software(vector: u8) -> Interrupt {
        Interrupt { vector, code: None, source: Source::Software }
    }

    /// INT1.
    #[must_use]
    pub fn icebp() -> Interrupt {
        Interrupt { vector: 1, code: None, source: Source::Icebp }
    }

    /// The EXT bit of error codes raised while this is delivered [SDM-3 6.13].
    #[must_use]
    pub fn ext(&self) -> u16 {
        u16::from(self.source != Source::Software)
    }
}

/// How exceptions add up while another one is delivered [SDM-3 table 6-5].
fn contributory(vector: u8) -> bool {
    matches!(vector, 0 | 10..=13)
}

impl System {
    /// Delivers an interrupt; a fault on the way is delivered in its place, or becomes a double fault, or shuts the CPU
    /// down.
    pub(super) fn deliver_or_shut_down(&mut self, first: Interrupt) {
        let mut current = first;
        for _ in 0..8 {
            let Err(fault) = self.interrupt(current) else { return };
            let second = Interrupt::exception(fault);
            let during_exception = current.source == Source::Exception;
            let double = during_exception
                && match current.vector {
                    8 => {
                        self.cpu.activity = Activity::Shutdown;
                        return;
                    }
                    14 => contributory(second.vector) || second.vector == 14,
                    v => contributory(v) && contributory(second.vector),
                };
            current = if double { Interrupt::exception(Fault::df()) } else { second };
        }
        self.cpu.activity = Activity::Shutdown;
    }

    /// Transfers control to an interrupt's handler. RIP is the address to return to.
    ///
    /// # Errors
    /// A fault during delivery; nothing has changed then.
    pub fn interrupt(&mut self, int: Interrupt) -> Outcome {
        if self.cpu.mode.has(Mode::PE) {
            self.interrupt_through_gate(int)?
        } else {
            self.interrupt_real(int)?
        }
        // Whatever TF was: the handler is not stepped, and INT n itself is not either [SDM-3 17.3.1.4].
        self.single_step = false;
        if int.vector == 1 && int.source != Source::Software {
            // The handler must get at the debug registers [SDM-3 17.2.4].
            self.cpu.dr[7] &= !DR7_GD;
        }
        Ok(())
    }

    /// Real mode: through the vector table at IDTR's base [SDM-3 20.1.4].
    fn interrupt_real(&mut self, int: Interrupt) -> Outcome {
        let at = u64::from(int.vector) * 4;
        if at + 3 > self.cpu.idtr.limit.into() {
            // The table's end: #GP from there (vector 8 then shuts down by the rules above).
            return Err(Fault::gp(0));
        }
        let entry = self.read_system::<u32>(self.cpu.idtr.base + at)?;
        let sp = self.cpu.regs[crate::cpu::reg::RSP];
        let flags = self.cpu.pushed_flags() as u16;
        let (cs, ip) = (self.cpu.seg[seg::CS].sel, self.cpu.rip as u16);
        let pushed = self.push(flags).and_then(|()| self.push(cs)).and_then(|()| self.push(ip));
        if let Err(fault) = pushed {
            self.cpu.regs[crate::cpu::reg::RSP] = sp;
            return Err(fault);
        }
        self.load_real_segment(seg::CS, (entry >> 16) as u16);
        self.cpu.rip = u64::from(entry & 0xFFFF);
        let flags = self.cpu.eflags() & !(IF | TF | AC | RF);
        self.cpu.set_eflags(flags);
        Ok(())
    }

    /// Loads a segment register as real and V86 mode do: the base from the selector; real mode keeps limit and rights
    /// [SDM-3 20.1.1].
    pub(crate) fn load_real_segment(&mut self, index: usize, sel: u16) {
        let mut s = if self.cpu.mode.has(Mode::V86) { Segment::real(sel) } else { self.cpu.seg[index] };
        (s.sel, s.base, s.null) = (sel, u64::from(sel) << 4, false);
        s.refresh(false);
        self.cpu.reload_segment(index, &s);
    }
}
