//! Descriptor table registers, and questions about selectors [SDM-2 LGDT, LLDT, LTR, LAR, LSL, VERR, ARPL].

use iced_x86::{Code, Instruction};

use super::Exec;
use super::segment::store_selector;
use crate::System;
use crate::cpu::bits::{CR4_UMIP, ZF};
use crate::cpu::model::Kind;
use crate::cpu::{Fault, Mode, Outcome, Segment, TableRegister};
use crate::system::{Descriptor, code_of, is_canonical};

pub(super) fn lookup(code: Code) -> Option<Exec> {
    use Code::*;
    Some(match code {
        Lgdt_m1632_16 | Lgdt_m1632 | Lgdt_m1664 => |sys, insn| lgdt_lidt(sys, insn, false),
        Lidt_m1632_16 | Lidt_m1632 | Lidt_m1664 => |sys, insn| lgdt_lidt(sys, insn, true),
        Sgdt_m1632_16 | Sgdt_m1632 | Sgdt_m1664 => |sys, insn| store_table(sys, insn, sys.cpu.gdtr),
        Sidt_m1632_16 | Sidt_m1632 | Sidt_m1664 => |sys, insn| store_table(sys, insn, sys.cpu.idtr),
        Lldt_rm16 | Lldt_r32m16 | Lldt_r64m16 => lldt,
        Ltr_rm16 | Ltr_r32m16 | Ltr_r64m16 => ltr,
        Sldt_rm16 | Sldt_r32m16 | Sldt_r64m16 => |sys, insn| store_system(sys, insn, sys.cpu.ldtr.sel),
        Str_rm16 | Str_r32m16 | Str_r64m16 => |sys, insn| store_system(sys, insn, sys.cpu.tr.sel),
        Verr_rm16 | Verr_r32m16 | Verr_r64m16 => |sys, insn| verify(sys, insn, false),
        Verw_rm16 | Verw_r32m16 | Verw_r64m16 => |sys, insn| verify(sys, insn, true),
        Lar_r16_rm16 | Lar_r32_r32m16 | Lar_r64_r64m16 => lar,
        Lsl_r16_rm16 | Lsl_r32_r32m16 | Lsl_r64_r64m16 => lsl,
        Arpl_rm16_r16 | Arpl_r32m16_r32 => arpl,
        _ => return None,
    })
}

/// Raises #GP(0) outside of privilege level 0.
pub(super) fn need_ring_0(sys: &System) -> Outcome {
    if sys.cpu.cpl == 0 { Ok(()) } else { Err(Fault::gp(0)) }
}

/// #UD in real and V86 mode, where selectors mean nothing.
fn need_protected(sys: &System) -> Outcome {
    if sys.cpu.mode.is_protected() { Ok(()) } else { Err(Fault::UD) }
}

/// #GP(0) where user-mode instruction prevention forbids looking at system registers.
pub(super) fn need_no_umip(sys: &System) -> Outcome {
    if sys.cpu.cr4 & CR4_UMIP != 0 && sys.cpu.cpl != 0 { Err(Fault::gp(0)) } else { Ok(()) }
}

fn lgdt_lidt(sys: &mut System, insn: &Instruction, idt: bool) -> Outcome {
    need_ring_0(sys)?;
    let (segment, at) = (sys.operand_segment(insn), sys.operand_offset(insn));
    let wide = sys.cpu.mode.has(Mode::CODE64);
    let mut bytes = [0; 10];
    sys.read_bytes(segment, at, &mut bytes[..if wide { 10 } else { 6 }])?;
    let limit = u16::from_le_bytes([bytes[0], bytes[1]]);
    let base = u64::from_le_bytes(core::array::from_fn(|i| bytes[i + 2]));
    let base = match insn.code() {
        Code::Lgdt_m1632_16 | Code::Lidt_m1632_16 => base & 0xFF_FFFF,
        _ => base,
    };
    if wide && !is_canonical(base) {
        return Err(Fault::gp(0));
    }
    let table = TableRegister { base, limit };
    if idt {
        sys.cpu.idtr = table;
    } else {
        sys.cpu.gdtr = table;
    }
    Ok(())
}

fn store_table(sys: &mut System, insn: &Instruction, table: TableRegister) -> Outcome {
    need_no_umip(sys)?;
    let (segment, at) = (sys.operand_segment(insn), sys.operand_offset(insn));
    let mut bytes = [0; 10];
    bytes[..2].copy_from_slice(&table.limit.to_le_bytes());
    bytes[2..].copy_from_slice(&table.base.to_le_bytes());
    if sys.cpu.model.kind == Kind::I80286 {
        // Its tables have 24-bit bases; the sixth byte reads as ones.
        bytes[5] = 0xFF;
    }
    let len = if sys.cpu.mode.has(Mode::CODE64) { 10 } else { 6 };
    sys.write_bytes(segment, at, &bytes[..len])
}

fn store_system(sys: &mut System, insn: &Instruction, sel: u16) -> Outcome {
    need_protected(sys)?;
    need_no_umip(sys)?;
    store_selector(sys, insn, sel)
}

fn lldt(sys: &mut System, insn: &Instruction) -> Outcome {
    need_protected(sys)?;
    need_ring_0(sys)?;
    let sel = sys.operand::<u16>(insn, 0)?;
    if code_of(sel) == 0 {
        sys.cpu.ldtr = Segment::null(sel);
        return Ok(());
    }
    let gp = Fault::gp(code_of(sel));
    let d = if sel & 4 == 0 { sys.descriptor(sel, gp)? } else { return Err(gp) };
    if d.kind() != 2 {
        return Err(gp);
    }
    if !d.present() {
        return Err(Fault::np(code_of(sel)));
    }
    let segment = d.segment();
    if !is_canonical(segment.base) {
        return Err(gp);
    }
    sys.cpu.ldtr = segment;
    Ok(())
}

fn ltr(sys: &mut System, insn: &Instruction) -> Outcome {
    need_protected(sys)?;
    need_ring_0(sys)?;
    let sel = sys.operand::<u16>(insn, 0)?;
    if code_of(sel) == 0 {
        return Err(Fault::gp(0));
    }
    let tss = sys.available_tss(sel, 0)?;
    if sys.cpu.mode.has(Mode::LONG) && tss.kind() != 9 {
        return Err(Fault::gp(code_of(sel)));
    }
    if !is_canonical(tss.segment().base) {
        return Err(Fault::gp(code_of(sel)));
    }
    sys.write_system(tss.at.wrapping_add(5), tss.attr() as u8 | 2)?;
    sys.cpu.tr = tss.segment();
    sys.cpu.tr.attr |= 2;
    Ok(())
}

fn set_zf(sys: &mut System, on: bool) {
    sys.cpu.flags.replace(ZF, if on { ZF } else { 0 });
}

/// The descriptor of `sel` if the present level may know of it.
fn visible(sys: &mut System, sel: u16) -> Outcome<Option<Descriptor>> {
    if code_of(sel) == 0 {
        return Ok(None);
    }
    // The fault says only that there is no descriptor; a page fault is one.
    let absent = Fault::gp(code_of(sel));
    let d = match sys.descriptor(sel, absent) {
        Ok(d) => d,
        Err(fault) if fault == absent => return Ok(None),
        Err(fault) => return Err(fault),
    };
    let allowed = d.is_conforming() || d.dpl() >= sys.cpu.cpl.max(d.rpl());
    Ok(Some(d).filter(|_| allowed))
}

fn verify(sys: &mut System, insn: &Instruction, write: bool) -> Outcome {
    need_protected(sys)?;
    let sel = sys.operand::<u16>(insn, 0)?;
    let good = visible(sys, sel)?.is_some_and(|d| if write { d.is_writable_data() } else { d.is_readable() });
    set_zf(sys, good);
    Ok(())
}

fn lar(sys: &mut System, insn: &Instruction) -> Outcome {
    need_protected(sys)?;
    let sel = sys.operand::<u16>(insn, 1)?;
    let long = sys.cpu.mode.has(Mode::LONG);
    let known = |d: &Descriptor| match d.kind() {
        2 | 9 | 11 | 12 => true,
        1 | 3 | 4 | 5 => !long,
        kind => kind & 0x10 != 0,
    };
    let found = visible(sys, sel)?.filter(known);
    if let Some(d) = &found {
        sys.set_register(insn.op0_register(), d.access_rights().into());
    }
    set_zf(sys, found.is_some());
    Ok(())
}

fn lsl(sys: &mut System, insn: &Instruction) -> Outcome {
    need_protected(sys)?;
    let sel = sys.operand::<u16>(insn, 1)?;
    let long = sys.cpu.mode.has(Mode::LONG);
    let known = |d: &Descriptor| match d.kind() {
        2 | 9 | 11 => true,
        1 | 3 => !long,
        kind => kind & 0x10 != 0,
    };
    let found = visible(sys, sel)?.filter(known);
    if let Some(d) = &found {
        sys.set_register(insn.op0_register(), d.segment().limit.into());
    }
    set_zf(sys, found.is_some());
    Ok(())
}

fn arpl(sys: &mut System, insn: &Instruction) -> Outcome {
    need_protected(sys)?;
    let source = sys.register(insn.op1_register()) as u16;
    // A selector that stays as it is, is not written [test386.asm, POST 17].
    let sel: u16 = sys.operand(insn, 0)?;
    let lower = sel & 3 < source & 3;
    let adjusted = if lower { sel & !3 | source & 3 } else { sel };
    match insn.op0_kind() {
        iced_x86::OpKind::Memory if lower => sys.set_operand(insn, 0, adjusted)?,
        iced_x86::OpKind::Register if lower => {
            let old = sys.register(insn.op0_register());
            sys.set_register(insn.op0_register(), old & !0xFFFF | u64::from(adjusted));
        }
        _ => {}
    }
    set_zf(sys, lower);
    Ok(())
}
