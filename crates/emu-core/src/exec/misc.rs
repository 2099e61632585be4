//! Software interrupts, BOUND, XLAT, the time stamp counter, and instructions that do nothing.

use iced_x86::{Code, Instruction};

use super::Exec;
use super::alu::bits;
use super::operands::segment_index;
use crate::System;
use crate::cpu::bits::*;
use crate::cpu::flags::{STATUS, sign_extend};
use crate::cpu::{Fault, Mode, Outcome, reg, seg};
use crate::mem::Scalar;
use crate::system::Interrupt;

pub(super) fn lookup(code: Code) -> Option<Exec> {
    use Code::*;
    Some(match code {
        Int_imm8 => int,
        Int3 => int3,
        Int1 => icebp,
        Into => into,
        Bound_r16_m1616 => bound::<u16>,
        Bound_r32_m3232 => bound::<u32>,
        Xlat_m8 => xlat,
        Rdtsc => rdtsc,
        Rdtscp => rdtscp,
        Rdpmc => rdpmc,
        Rdrand_r16 | Rdrand_r32 | Rdrand_r64 | Rdseed_r16 | Rdseed_r32 | Rdseed_r64 => rdrand,
        Rdpid_r32 | Rdpid_r64 => rdpid,
        Endbr32 | Endbr64 | Cldemote_m8 | Prefetch_m8 | Prefetchw_m8 | Prefetchwt1_m8 => nothing,
        Prefetchreserved3_m8 | Prefetchreserved4_m8 | Prefetchreserved5_m8 | Prefetchreserved6_m8
        | Prefetchreserved7_m8 => nothing,
        Clflush_m8 | Clflushopt_m8 => flush_line,
        Monitorw | Monitord | Monitorq => monitor,
        Mwait => mwait,
        Reservednop_rm16_r16_0F0D
        | Reservednop_rm32_r32_0F0D
        | Reservednop_rm64_r64_0F0D
        | Reservednop_rm16_r16_0F18
        | Reservednop_rm32_r32_0F18
        | Reservednop_rm64_r64_0F18
        | Reservednop_rm16_r16_0F19
        | Reservednop_rm32_r32_0F19
        | Reservednop_rm64_r64_0F19
        | Reservednop_rm16_r16_0F1A
        | Reservednop_rm32_r32_0F1A
        | Reservednop_rm64_r64_0F1A
        | Reservednop_rm16_r16_0F1B
        | Reservednop_rm32_r32_0F1B
        | Reservednop_rm64_r64_0F1B
        | Reservednop_rm16_r16_0F1C
        | Reservednop_rm32_r32_0F1C
        | Reservednop_rm64_r64_0F1C
        | Reservednop_rm16_r16_0F1D
        | Reservednop_rm32_r32_0F1D
        | Reservednop_rm64_r64_0F1D
        | Reservednop_rm16_r16_0F1E
        | Reservednop_rm32_r32_0F1E
        | Reservednop_rm64_r64_0F1E
        | Reservednop_rm16_r16_0F1F
        | Reservednop_rm32_r32_0F1F
        | Reservednop_rm64_r64_0F1F => nothing,
        _ => return None,
    })
}

fn nothing(_: &mut System, _: &Instruction) -> Outcome {
    Ok(())
}

/// CLFLUSH: caches are never out of step with memory here, but it faults as a load does.
fn flush_line(sys: &mut System, insn: &Instruction) -> Outcome {
    let (s, off) = (sys.operand_segment(insn), sys.operand_offset(insn));
    sys.probe(s, off, 1, false)?;
    Ok(())
}

/// MONITOR [SDM-2B]. Nothing is watched, as MWAIT may always go on at once.
fn monitor(sys: &mut System, insn: &Instruction) -> Outcome {
    if sys.cpu.cpl != 0 {
        return Err(Fault::UD);
    }
    if sys.cpu.regs[reg::RCX] as u32 != 0 {
        return Err(Fault::gp(0));
    }
    let width = match insn.code() {
        Code::Monitorw => 0xFFFF,
        Code::Monitord => 0xFFFF_FFFF,
        _ => u64::MAX,
    };
    let s = segment_index(insn.segment_prefix());
    let off = sys.cpu.regs[reg::RAX] & width;
    sys.probe(s, off, 1, false)?;
    Ok(())
}

/// MWAIT [SDM-2B]: it may end for any reason, so it ends at once. A program that waits by it polls.
fn mwait(sys: &mut System, _: &Instruction) -> Outcome {
    if sys.cpu.cpl != 0 {
        return Err(Fault::UD);
    }
    if sys.cpu.regs[reg::RCX] as u32 & !1 != 0 {
        return Err(Fault::gp(0));
    }
    sys.give_way();
    Ok(())
}

/// INT n: V86 mode may use it with IOPL 3, or as the extensions' redirection bitmap says [SDM-3 20.3.3].
fn int(sys: &mut System, insn: &Instruction) -> Outcome {
    let vector = insn.immediate8();
    if sys.cpu.mode.has(Mode::V86) {
        if sys.cpu.cr4 & CR4_VME != 0 && is_redirected(sys, vector)? {
            return interrupt_v86(sys, vector);
        }
        if sys.cpu.iopl() < 3 {
            return Err(Fault::gp(0));
        }
    }
    sys.interrupt(Interrupt::software(vector))
}

/// Whether the bitmap below the TSS's I/O bitmap sends `vector` to the V86 program's own handler: its bit is clear.
fn is_redirected(sys: &mut System, vector: u8) -> Outcome<bool> {
    let base = sys.cpu.tr.base;
    let io_map = u64::from(sys.read_system::<u16>(base.wrapping_add(0x66))?);
    let offset = io_map.wrapping_sub(32).wrapping_add(u64::from(vector >> 3));
    if offset > sys.cpu.tr.limit.into() {
        return Err(Fault::gp(0));
    }
    let bits = sys.read_system::<u8>(base.wrapping_add(offset))?;
    Ok(bits >> (vector & 7) & 1 == 0)
}

/// An interrupt inside of V86 mode: as real mode does it, with VIF for IF when IOPL is below 3 [SDM-3 20.3.3.4].
fn interrupt_v86(sys: &mut System, vector: u8) -> Outcome {
    let entry = sys.read_system::<u32>(u64::from(vector) * 4)?;
    let old = sys.cpu.eflags();
    let (mut pushed, mut cleared) = (old, TF | IF);
    if sys.cpu.iopl() < 3 {
        pushed = old & !IF | IOPL | if old & VIF != 0 { IF } else { 0 };
        cleared = TF | VIF;
    }
    let sp = sys.cpu.regs[reg::RSP];
    let (cs, ip) = (sys.cpu.seg[seg::CS].sel, sys.cpu.rip as u16);
    let outcome = sys.push(pushed as u16).and_then(|()| sys.push(cs)).and_then(|()| sys.push(ip));
    if outcome.is_err() {
        sys.cpu.regs[reg::RSP] = sp;
        return outcome;
    }
    sys.load_real_segment(seg::CS, (entry >> 16) as u16);
    sys.cpu.rip = u64::from(entry & 0xFFFF);
    sys.cpu.set_eflags(old & !cleared);
    Ok(())
}

fn int3(sys: &mut System, _: &Instruction) -> Outcome {
    sys.interrupt(Interrupt::software(3))
}

fn icebp(sys: &mut System, _: &Instruction) -> Outcome {
    sys.merge_debug_trap();
    sys.interrupt(Interrupt::icebp())
}

fn into(sys: &mut System, _: &Instruction) -> Outcome {
    if sys.cpu.flags.of() { sys.interrupt(Interrupt::software(4)) } else { Ok(()) }
}

fn bound<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let (s, off) = (sys.operand_segment(insn), sys.operand_offset(insn));
    let wide = |v: T| sign_extend(v.to_u64(), bits::<T>()) as i64;
    let low = wide(sys.read(s, off)?);
    let mask = u64::MAX >> (64 - 8 * super::operands::address_size(insn));
    let high = wide(sys.read(s, off.wrapping_add(T::SIZE) & mask)?);
    let index = wide(sys.operand(insn, 0)?);
    if (low..=high).contains(&index) { Ok(()) } else { Err(Fault::BR) }
}

fn xlat(sys: &mut System, insn: &Instruction) -> Outcome {
    let v = sys.operand::<u8>(insn, 0)?;
    let a = &mut sys.cpu.regs[reg::RAX];
    *a = *a & !0xFF | u64::from(v);
    Ok(())
}

fn set_pair(sys: &mut System, v: u64) {
    sys.cpu.regs[reg::RAX] = v & 0xFFFF_FFFF;
    sys.cpu.regs[reg::RDX] = v >> 32;
}

fn rdtsc(sys: &mut System, _: &Instruction) -> Outcome {
    if sys.cpu.cr4 & CR4_TSD != 0 && sys.cpu.cpl != 0 {
        return Err(Fault::gp(0));
    }
    let v = sys.time_stamp();
    set_pair(sys, v);
    Ok(())
}

fn rdtscp(sys: &mut System, insn: &Instruction) -> Outcome {
    rdtsc(sys, insn)?;
    sys.cpu.regs[reg::RCX] = sys.cpu.msr.tsc_aux & 0xFFFF_FFFF;
    Ok(())
}

fn rdpid(sys: &mut System, insn: &Instruction) -> Outcome {
    let v = sys.cpu.msr.tsc_aux & 0xFFFF_FFFF;
    sys.set_register(insn.op0_register(), v);
    Ok(())
}

/// There are two counters, and no events that they count.
fn rdpmc(sys: &mut System, _: &Instruction) -> Outcome {
    let allowed = sys.cpu.cr4 & CR4_PCE != 0 || sys.cpu.cpl == 0;
    if !allowed || sys.cpu.regs[reg::RCX] & 0xFFFF_FFFF > 1 {
        return Err(Fault::gp(0));
    }
    set_pair(sys, 0);
    Ok(())
}

/// RDRAND and RDSEED: random to the guest, but the same in every run of a machine of the same seed. It never runs dry.
fn rdrand(sys: &mut System, insn: &Instruction) -> Outcome {
    let v = sys.cpu.next_random();
    sys.set_register(insn.op0_register(), v);
    sys.cpu.flags.replace(STATUS, CF);
    Ok(())
}
