//! Control, debug and model-specific registers, caches and translations.

use iced_x86::{Code, Instruction};

use super::Exec;
use super::tables::{need_no_umip, need_ring_0};
use crate::System;
use crate::cpu::bits::*;
use crate::cpu::model::{Feature, Kind};
use crate::cpu::{Fault, Mode, Outcome, reg, seg};
use crate::system::is_canonical;

pub(super) fn lookup(code: Code) -> Option<Exec> {
    use Code::*;
    Some(match code {
        Mov_r32_cr | Mov_r64_cr => mov_from_cr,
        Mov_cr_r32 | Mov_cr_r64 => mov_to_cr,
        Mov_r32_dr | Mov_r64_dr => mov_from_dr,
        Mov_dr_r32 | Mov_dr_r64 => mov_to_dr,
        Smsw_rm16 | Smsw_r32m16 | Smsw_r64m16 => smsw,
        Lmsw_rm16 | Lmsw_r32m16 | Lmsw_r64m16 => lmsw,
        Clts => clts,
        Rdmsr => rdmsr,
        Wrmsr => wrmsr,
        Vmcall => |sys, _| sys.hypercall(),
        Invlpg_m => invlpg,
        Invpcid_r32_m128 | Invpcid_r64_m128 => invpcid,
        Rdpkru => rdpkru,
        Wrpkru => wrpkru,
        Invd | Wbinvd => invalidate_caches,
        Rsm => |sys, _| sys.resume_from_smm(),
        Clac => |sys, _| set_ac(sys, false),
        Stac => |sys, _| set_ac(sys, true),
        Swapgs => swapgs,
        Rdfsbase_r32 | Rdfsbase_r64 => |sys, insn| read_base(sys, insn, seg::FS),
        Rdgsbase_r32 | Rdgsbase_r64 => |sys, insn| read_base(sys, insn, seg::GS),
        Wrfsbase_r32 | Wrfsbase_r64 => |sys, insn| write_base(sys, insn, seg::FS),
        Wrgsbase_r32 | Wrgsbase_r64 => |sys, insn| write_base(sys, insn, seg::GS),
        _ => return None,
    })
}

/// Whether the model has control register `n`.
fn has_control_register(sys: &System, n: usize) -> bool {
    match n {
        0 | 2 | 3 => sys.cpu.model.kind >= Kind::I80386,
        4 => sys.cpu.model.kind >= Kind::Pentium,
        8 => sys.cpu.mode.has(Mode::CODE64),
        _ => false,
    }
}

fn mov_from_cr(sys: &mut System, insn: &Instruction) -> Outcome {
    let n = insn.op1_register().number();
    if !has_control_register(sys, n) {
        return Err(Fault::UD);
    }
    need_ring_0(sys)?;
    let value = match n {
        0 => sys.cpu.cr0,
        2 => sys.cpu.cr2,
        3 => sys.cpu.cr3,
        4 => sys.cpu.cr4,
        _ => sys.read_cr8(),
    };
    sys.set_register(insn.op0_register(), value);
    Ok(())
}

fn mov_to_cr(sys: &mut System, insn: &Instruction) -> Outcome {
    let n = insn.op0_register().number();
    if !has_control_register(sys, n) {
        return Err(Fault::UD);
    }
    need_ring_0(sys)?;
    let value = sys.register(insn.op1_register());
    match n {
        0 => sys.write_cr0(value),
        2 => {
            sys.cpu.cr2 = value;
            Ok(())
        }
        3 => sys.write_cr3(value),
        4 => sys.write_cr4(value),
        _ => sys.write_cr8(value),
    }
}

fn mov_from_dr(sys: &mut System, insn: &Instruction) -> Outcome {
    let value = sys.read_debug_register(insn.op1_register().number())?;
    sys.set_register(insn.op0_register(), value);
    Ok(())
}

fn mov_to_dr(sys: &mut System, insn: &Instruction) -> Outcome {
    let value = sys.register(insn.op1_register());
    sys.write_debug_register(insn.op0_register().number(), value)
}

fn smsw(sys: &mut System, insn: &Instruction) -> Outcome {
    need_no_umip(sys)?;
    // What the 80286's machine status word has not reads as ones.
    let cr0 = sys.cpu.cr0 | if sys.cpu.model.kind == Kind::I80286 { 0xFFF0 } else { 0 };
    match insn.op0_kind() {
        iced_x86::OpKind::Memory => sys.set_operand(insn, 0, cr0 as u16),
        _ => {
            sys.set_register(insn.op0_register(), cr0);
            Ok(())
        }
    }
}

/// LMSW: PE, MP, EM and TS; PE can be set but not cleared.
fn lmsw(sys: &mut System, insn: &Instruction) -> Outcome {
    need_ring_0(sys)?;
    let value = u64::from(sys.operand::<u16>(insn, 0)?);
    let old = sys.cpu.cr0;
    sys.write_cr0(old & !(CR0_MP | CR0_EM | CR0_TS) | value & (CR0_PE | CR0_MP | CR0_EM | CR0_TS))
}

fn clts(sys: &mut System, _: &Instruction) -> Outcome {
    need_ring_0(sys)?;
    sys.cpu.cr0 &= !CR0_TS;
    Ok(())
}

fn need_feature(sys: &System, feature: Feature) -> Outcome {
    if sys.cpu.model.has(feature) { Ok(()) } else { Err(Fault::UD) }
}

fn rdmsr(sys: &mut System, _: &Instruction) -> Outcome {
    need_feature(sys, Feature::Msr)?;
    need_ring_0(sys)?;
    let value = sys.read_msr(sys.cpu.regs[reg::RCX] as u32)?;
    sys.cpu.regs[reg::RAX] = value & 0xFFFF_FFFF;
    sys.cpu.regs[reg::RDX] = value >> 32;
    Ok(())
}

fn wrmsr(sys: &mut System, _: &Instruction) -> Outcome {
    need_feature(sys, Feature::Msr)?;
    need_ring_0(sys)?;
    let value = sys.cpu.regs[reg::RDX] << 32 | sys.cpu.regs[reg::RAX] & 0xFFFF_FFFF;
    sys.write_msr(sys.cpu.regs[reg::RCX] as u32, value)
}

fn invlpg(sys: &mut System, insn: &Instruction) -> Outcome {
    if sys.cpu.model.kind < Kind::I80486 {
        return Err(Fault::UD);
    }
    need_ring_0(sys)?;
    let (segment, offset) = (sys.operand_segment(insn), sys.operand_offset(insn));
    let lin = if sys.cpu.mode.has(Mode::CODE64) {
        let lin = if segment >= seg::FS { offset.wrapping_add(sys.cpu.seg[segment].base) } else { offset };
        if !is_canonical(lin) {
            return Ok(());
        }
        lin
    } else {
        offset.wrapping_add(sys.cpu.seg[segment].base) & 0xFFFF_FFFF
    };
    if sys.flush_page(lin) {
        sys.request_leave();
    }
    Ok(())
}

/// INVPCID: whatever it names, all translations go; which is more than it asks for [SDM-2 INVPCID].
fn invpcid(sys: &mut System, insn: &Instruction) -> Outcome {
    need_ring_0(sys)?;
    let kind = sys.register(insn.op0_register());
    let (segment, at) = (sys.operand_segment(insn), sys.operand_offset(insn));
    let mut bytes = [0; 16];
    sys.read_bytes(segment, at, &mut bytes)?;
    let [context, lin] = [0, 8].map(|i| u64::from_le_bytes(core::array::from_fn(|n| bytes[i + n])));
    let one_context = kind <= 1;
    let bad = kind > 3
        || (one_context && context > 0xFFF)
        || (one_context && context != 0 && sys.cpu.cr4 & CR4_PCIDE == 0)
        || (kind == 0 && !is_canonical(lin));
    if bad {
        return Err(Fault::gp(0));
    }
    sys.flush_translations();
    sys.request_leave();
    Ok(())
}

/// RDPKRU and WRPKRU want zeros in ECX (and EDX), and CR4.PKE [SDM-2].
fn need_keys(sys: &System, zeros: u64) -> Outcome {
    if sys.cpu.cr4 & CR4_PKE == 0 {
        return Err(Fault::UD);
    }
    if zeros & 0xFFFF_FFFF == 0 { Ok(()) } else { Err(Fault::gp(0)) }
}

fn rdpkru(sys: &mut System, _: &Instruction) -> Outcome {
    need_keys(sys, sys.cpu.regs[reg::RCX])?;
    sys.cpu.regs[reg::RAX] = sys.cpu.key_rights[0].into();
    sys.cpu.regs[reg::RDX] = 0;
    Ok(())
}

fn wrpkru(sys: &mut System, _: &Instruction) -> Outcome {
    need_keys(sys, sys.cpu.regs[reg::RCX] | sys.cpu.regs[reg::RDX])?;
    sys.cpu.key_rights[0] = sys.cpu.regs[reg::RAX] as u32;
    sys.tlb.flush(false);
    Ok(())
}

/// INVD and WBINVD: caches are never out of step with memory here.
fn invalidate_caches(sys: &mut System, _: &Instruction) -> Outcome {
    if sys.cpu.model.kind < Kind::I80486 {
        return Err(Fault::UD);
    }
    need_ring_0(sys)
}

fn set_ac(sys: &mut System, on: bool) -> Outcome {
    need_feature(sys, Feature::Smap)?;
    if sys.cpu.cpl != 0 {
        return Err(Fault::UD);
    }
    let flags = sys.cpu.eflags() & !AC;
    sys.replace_eflags(flags | if on { AC } else { 0 });
    Ok(())
}

fn swapgs(sys: &mut System, _: &Instruction) -> Outcome {
    if !sys.cpu.mode.has(Mode::CODE64) {
        return Err(Fault::UD);
    }
    need_ring_0(sys)?;
    core::mem::swap(&mut sys.cpu.seg[seg::GS].base, &mut sys.cpu.msr.kernel_gs_base);
    Ok(())
}

fn need_base_access(sys: &System) -> Outcome {
    let on = sys.cpu.mode.has(Mode::CODE64) && sys.cpu.cr4 & CR4_FSGSBASE != 0;
    if on { Ok(()) } else { Err(Fault::UD) }
}

fn read_base(sys: &mut System, insn: &Instruction, index: usize) -> Outcome {
    need_base_access(sys)?;
    sys.set_register(insn.op0_register(), sys.cpu.seg[index].base);
    Ok(())
}

fn write_base(sys: &mut System, insn: &Instruction, index: usize) -> Outcome {
    need_base_access(sys)?;
    let base = sys.register(insn.op0_register());
    if !is_canonical(base) {
        return Err(Fault::gp(0));
    }
    sys.cpu.seg[index].base = base;
    Ok(())
}
