//! FNSTENV, FLDENV, FNSAVE, FRSTOR, FXSAVE and FXRSTOR [SDM-1 8.1.10, 10.5].

use iced_x86::{Code, Instruction};

use super::super::Exec;
use super::{available, place, ready};
use crate::System;
use crate::cpu::bits::CR4_OSFXSR;
use crate::cpu::{Fault, Outcome};
use crate::fpu::image::Layout;

/// The MXCSR bits that exist: all but bits 31 to 16.
const MXCSR_MASK: u32 = 0xffff;

fn layout(sys: &System, wide: bool) -> Layout {
    match (sys.cpu.mode.is_protected(), wide) {
        (false, false) => Layout::Real16,
        (false, true) => Layout::Real32,
        (true, false) => Layout::Protected16,
        (true, true) => Layout::Protected32,
    }
}

fn fnstenv<const WIDE: bool>(sys: &mut System, insn: &Instruction) -> Outcome {
    available(sys)?;
    let (s, offset) = place(sys, insn);
    let layout = layout(sys, WIDE);
    let image = sys.cpu.fpu.store_env(layout);
    sys.write_bytes(s, offset, &image[..layout.env_len()])?;
    sys.cpu.fpu.mask_exceptions();
    sys.update_ferr();
    Ok(())
}

fn fldenv<const WIDE: bool>(sys: &mut System, insn: &Instruction) -> Outcome {
    ready(sys)?;
    let (s, offset) = place(sys, insn);
    let layout = layout(sys, WIDE);
    let mut image = [0; 28];
    let image = &mut image[..layout.env_len()];
    sys.read_bytes(s, offset, image)?;
    sys.cpu.fpu.load_env(layout, image);
    sys.update_ferr();
    Ok(())
}

fn fnsave<const WIDE: bool>(sys: &mut System, insn: &Instruction) -> Outcome {
    available(sys)?;
    let (s, offset) = place(sys, insn);
    let layout = layout(sys, WIDE);
    let image = sys.cpu.fpu.store_all(layout);
    sys.write_bytes(s, offset, &image[..layout.save_len()])?;
    sys.cpu.fpu.init();
    sys.update_ferr();
    Ok(())
}

fn frstor<const WIDE: bool>(sys: &mut System, insn: &Instruction) -> Outcome {
    ready(sys)?;
    let (s, offset) = place(sys, insn);
    let layout = layout(sys, WIDE);
    let mut image = [0; 108];
    let image = &mut image[..layout.save_len()];
    sys.read_bytes(s, offset, image)?;
    sys.cpu.fpu.load_all(layout, image);
    sys.update_ferr();
    Ok(())
}

/// Place of an FXSAVE area, which lies at a multiple of 16.
fn fx_area(sys: &System, insn: &Instruction, write: bool) -> Outcome<(usize, u64)> {
    available(sys)?;
    let (s, offset) = place(sys, insn);
    let linear = sys.linear(s, offset, 512, write)?;
    if linear & 15 != 0 { Err(Fault::gp(0)) } else { Ok((s, offset)) }
}

/// How many XMM registers an image holds.
fn xmm_registers(sys: &System) -> usize {
    if sys.cpu.mode.is_64() { 16 } else { 8 }
}

fn fxsave<const WIDE: bool>(sys: &mut System, insn: &Instruction) -> Outcome {
    let (s, offset) = fx_area(sys, insn, true)?;
    sys.probe(s, offset, 512, true)?;
    let mut area = [0; 512];
    // The registers beyond, and the 48 bytes that belong to software, are not written.
    sys.read_bytes(s, offset, &mut area)?;
    let (x87, rest) = area.split_at_mut(160);
    if let Ok(image) = x87.try_into() {
        sys.cpu.fpu.fxsave(WIDE, image);
    }
    let sse = sys.cpu.cr4 & CR4_OSFXSR != 0;
    if sse {
        x87[24..28].copy_from_slice(&sys.cpu.mxcsr.to_le_bytes());
        x87[28..32].copy_from_slice(&MXCSR_MASK.to_le_bytes());
        for (slot, v) in rest.chunks_exact_mut(16).zip(sys.cpu.xmm).take(xmm_registers(sys)) {
            slot.copy_from_slice(&v.to_le_bytes());
        }
    }
    sys.write_bytes(s, offset, &area[..416])
}

fn fxrstor<const WIDE: bool>(sys: &mut System, insn: &Instruction) -> Outcome {
    let (s, offset) = fx_area(sys, insn, false)?;
    let mut area = [0; 512];
    sys.read_bytes(s, offset, &mut area)?;
    let mxcsr = u32::from_le_bytes([area[24], area[25], area[26], area[27]]);
    let sse = sys.cpu.cr4 & CR4_OSFXSR != 0;
    if sse && mxcsr & !MXCSR_MASK != 0 {
        return Err(Fault::gp(0));
    }
    let (x87, rest) = area.split_at(160);
    if let Ok(image) = x87.try_into() {
        sys.cpu.fpu.fxrstor(WIDE, image);
    }
    if sse {
        sys.cpu.mxcsr = mxcsr;
        let registers = xmm_registers(sys);
        for (v, slot) in sys.cpu.xmm.iter_mut().zip(rest.chunks_exact(16)).take(registers) {
            let mut bytes = [0; 16];
            bytes.copy_from_slice(slot);
            *v = u128::from_le_bytes(bytes);
        }
    }
    sys.update_ferr();
    Ok(())
}

pub(super) fn lookup(code: Code) -> Option<Exec> {
    use Code::*;
    Some(match code {
        Fnstenv_m14byte => fnstenv::<false>,
        Fnstenv_m28byte => fnstenv::<true>,
        Fldenv_m14byte => fldenv::<false>,
        Fldenv_m28byte => fldenv::<true>,
        Fnsave_m94byte => fnsave::<false>,
        Fnsave_m108byte => fnsave::<true>,
        Frstor_m94byte => frstor::<false>,
        Frstor_m108byte => frstor::<true>,
        Fxsave_m512byte => fxsave::<false>,
        Fxsave64_m512byte => fxsave::<true>,
        Fxrstor_m512byte => fxrstor::<false>,
        Fxrstor64_m512byte => fxrstor::<true>,
        _ => return None,
    })
}
