//! IN and OUT, and the right to use ports [SDM-1 18.5].

use iced_x86::{Code, Instruction, OpKind};

use super::Exec;
use super::alu::bits;
use crate::System;
use crate::cpu::{Fault, Mode, Outcome, attr, reg};
use crate::engine::OpRef;
use crate::mem::Scalar;
use crate::time::Ticks;

pub(super) fn lookup(code: Code) -> Option<Exec> {
    use Code::*;
    Some(match code {
        In_AL_imm8 | In_AL_DX => input::<u8>,
        In_AX_imm8 | In_AX_DX => input::<u16>,
        In_EAX_imm8 | In_EAX_DX => input::<u32>,
        Out_imm8_AL | Out_DX_AL => output::<u8>,
        Out_imm8_AX | Out_DX_AX => output::<u16>,
        Out_imm8_EAX | Out_DX_EAX => output::<u32>,
        _ => return None,
    })
}

impl System {
    /// Checks that `size` ports from `port` on may be used: by IOPL, or else by the bitmap in the TSS [SDM-1 18.5.2].
    ///
    /// # Errors
    /// #GP(0); #PF of reading the TSS.
    pub(crate) fn check_io(&mut self, port: u16, size: u64) -> Outcome {
        let mode = self.cpu.mode;
        if !mode.has(Mode::PE) || (!mode.has(Mode::V86) && self.cpu.cpl <= self.cpu.iopl()) {
            return Ok(());
        }
        let (base, limit) = (self.cpu.tr.base, u64::from(self.cpu.tr.limit));
        // Only the 32-bit TSS (type 9, or 11 when busy) has a bitmap.
        if self.cpu.tr.attr & (attr::S | 0xD) != 9 || limit < 0x67 {
            return Err(Fault::gp(0));
        }
        let offset = u64::from(self.read_system::<u16>(base.wrapping_add(0x66))?) + u64::from(port >> 3);
        if offset + 1 > limit {
            return Err(Fault::gp(0));
        }
        let bitmap = self.read_system::<u16>(base.wrapping_add(offset))?;
        let mask = ((1u16 << size) - 1) << (port & 7);
        if bitmap & mask == 0 { Ok(()) } else { Err(Fault::gp(0)) }
    }

    /// Reads a port, now.
    pub(super) fn port_in<T: Scalar>(&mut self, port: u16) -> T {
        self.poll.disturbed = true;
        self.watch_port(port, T::SIZE);
        let now = self.now();
        let v = self.bus.port_read(&mut self.mem, now, port, T::SIZE as u8);
        self.after_device();
        T::from_u64(v.into())
    }

    /// Writes a port, now.
    pub(super) fn port_out<T: Scalar>(&mut self, port: u16, v: T) {
        self.watch_port(port, T::SIZE);
        let now = self.now();
        self.bus.port_write(&mut self.mem, now, port, T::SIZE as u8, v.to_u64() as u32);
        self.after_device();
    }
}

/// What handlers use. Their op has the instruction's number in its block.
impl System {
    /// Whether the instruction at `op` may access `size` ports from `port` on; if not, its fault is noted.
    #[inline(always)]
    fn may_io(&mut self, op: OpRef, port: u16, size: u8) -> bool {
        let mode = self.cpu.mode;
        let free = !mode.has(Mode::PE) || (!mode.has(Mode::V86) && self.cpu.cpl <= self.cpu.iopl());
        free || self.may_io_by_map(op, port, size)
    }

    #[cold]
    #[inline(never)]
    fn may_io_by_map(&mut self, op: OpRef, port: u16, size: u8) -> bool {
        self.at = Some(op);
        let checked = self.check_io(port, size.into());
        self.at = None;
        match checked {
            Ok(()) => true,
            Err(fault) => {
                self.stop_with_fault(op, fault);
                false
            }
        }
    }

    /// The present, for the instruction at `op`.
    #[inline(always)]
    fn time_at(&self, op: OpRef) -> Ticks {
        let left = self.engine.block(self.block).len() - op.a();
        Ticks(self.deadline.0.wrapping_sub((self.budget + left as i64) as u64))
    }

    /// IN; the value is in `scratch`. Returns false if it faults; the handler looks at `leave` itself.
    #[inline(never)]
    pub(crate) fn quick_in(&mut self, op: OpRef, port: u16, size: u8) -> bool {
        if !self.may_io(op, port, size) {
            return false;
        }
        let now = self.time_at(op);
        let poll = &mut self.poll;
        (poll.reads, poll.port, poll.read_at) = (poll.reads.wrapping_add(1), port, now);
        if size == 1
            && let Some(value) = self.bus.steady_value(now, port)
        {
            self.scratch = value.into();
            return true;
        }
        self.at = Some(op);
        self.scratch = self.bus.port_read(&mut self.mem, now, port, size).into();
        self.at = None;
        self.after_device();
        true
    }

    /// OUT. Returns whether the chain goes on.
    #[inline(never)]
    pub(crate) fn quick_out(&mut self, op: OpRef, port: u16, size: u8, value: u32) -> bool {
        if !self.may_io(op, port, size) {
            return false;
        }
        let now = self.time_at(op);
        if size == 1 && self.bus.latch_write(now, port, value as u8) {
            return true;
        }
        self.at = Some(op);
        if size == 1 {
            self.bus.port_write_byte(&mut self.mem, now, port, value as u8);
        } else {
            self.bus.port_write(&mut self.mem, now, port, size, value);
        }
        self.at = None;
        self.after_device();
        if self.leave {
            self.stop_behind(op);
        }
        !self.leave
    }
}

/// The port that operand `n` names: an immediate or DX.
fn port(sys: &System, insn: &Instruction, n: u32) -> u16 {
    if insn.op_kind(n) == OpKind::Register { sys.cpu.regs[reg::RDX] as u16 } else { insn.immediate8().into() }
}

fn input<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let port = port(sys, insn, 1);
    if T::SIZE == 4 && sys.bus.backdoor_port() == Some(port) && sys.backdoor(port) {
        return Ok(());
    }
    sys.check_io(port, T::SIZE)?;
    let v = sys.port_in::<T>(port);
    sys.set_register(insn.op0_register(), v.to_u64());
    Ok(())
}

fn output<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let port = port(sys, insn, 0);
    sys.check_io(port, T::SIZE)?;
    let v = sys.cpu.regs[reg::RAX] & (u64::MAX >> (64 - bits::<T>()));
    sys.port_out(port, T::from_u64(v));
    Ok(())
}
