//! Control words, the status word, the stack pointer, FWAIT and what has become of the 8087's and 287's own
//! instructions [SDM-1 8.3.12].

use iced_x86::{Code, Instruction, Register};

use super::super::Exec;
use super::{available, begin, end, place, ready, ready_to_wait, st_i};
use crate::System;
use crate::cpu::Outcome;

fn fldcw(sys: &mut System, insn: &Instruction) -> Outcome {
    ready(sys)?;
    let (s, offset) = place(sys, insn);
    let cw = sys.read(s, offset)?;
    sys.cpu.fpu.set_control(cw);
    if sys.cpu.fpu.exception_pending() {
        sys.update_ferr();
    }
    Ok(())
}

fn fnstcw(sys: &mut System, insn: &Instruction) -> Outcome {
    available(sys)?;
    let (s, offset) = place(sys, insn);
    sys.write(s, offset, sys.cpu.fpu.control())
}

fn fnstsw(sys: &mut System, insn: &Instruction) -> Outcome {
    available(sys)?;
    let (s, offset) = place(sys, insn);
    sys.write(s, offset, sys.cpu.fpu.status())
}

fn fnstsw_ax(sys: &mut System, _insn: &Instruction) -> Outcome {
    available(sys)?;
    sys.set_register(Register::AX, sys.cpu.fpu.status().into());
    Ok(())
}

fn fnclex(sys: &mut System, _insn: &Instruction) -> Outcome {
    available(sys)?;
    sys.cpu.fpu.clear_exceptions();
    sys.update_ferr();
    Ok(())
}

fn fninit(sys: &mut System, _insn: &Instruction) -> Outcome {
    available(sys)?;
    sys.cpu.fpu.init();
    sys.update_ferr();
    Ok(())
}

fn fwait(sys: &mut System, _insn: &Instruction) -> Outcome {
    ready_to_wait(sys)
}

/// FNENI and FNDISI: nothing since the 287.
fn interrupts(sys: &mut System, insn: &Instruction) -> Outcome {
    available(sys)?;
    sys.cpu.fpu.allow_interrupts(insn.code() == Code::Fneni);
    sys.update_ferr();
    Ok(())
}

/// FNSETPM, which only a 287 needs (here it sees the CPU's mode), and FRSTPM. They do not wait.
fn ignored(sys: &mut System, _insn: &Instruction) -> Outcome {
    available(sys)
}

fn fnop(sys: &mut System, insn: &Instruction) -> Outcome {
    begin(sys)?;
    end(sys, insn)
}

fn fincstp(sys: &mut System, insn: &Instruction) -> Outcome {
    begin(sys)?;
    sys.cpu.fpu.rotate(1);
    end(sys, insn)
}

fn fdecstp(sys: &mut System, insn: &Instruction) -> Outcome {
    begin(sys)?;
    sys.cpu.fpu.rotate(7);
    end(sys, insn)
}

fn ffree(sys: &mut System, insn: &Instruction) -> Outcome {
    begin(sys)?;
    sys.cpu.fpu.free(st_i(insn));
    end(sys, insn)
}

fn ffreep(sys: &mut System, insn: &Instruction) -> Outcome {
    begin(sys)?;
    sys.cpu.fpu.free(st_i(insn));
    sys.cpu.fpu.pop();
    end(sys, insn)
}

pub(super) fn lookup(code: Code) -> Option<Exec> {
    use Code::*;
    Some(match code {
        Fldcw_m2byte => fldcw,
        Fnstcw_m2byte => fnstcw,
        Fnstsw_m2byte => fnstsw,
        Fnstsw_AX => fnstsw_ax,
        Fnclex => fnclex,
        Fninit => fninit,
        Wait => fwait,
        Fneni | Fndisi => interrupts,
        Fnsetpm | Frstpm => ignored,
        Fnop => fnop,
        Fincstp => fincstp,
        Fdecstp => fdecstp,
        Ffree_sti => ffree,
        Ffreep_sti => ffreep,
        _ => return None,
    })
}
