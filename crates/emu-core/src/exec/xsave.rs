//! XSAVE and its kin [SDM-1 chapter 13; SDM-2C XGETBV, XRSTOR, XSAVE...].
//!
//! State components: 0 is x87, 1 SSE, 2 the upper halves of YMM registers, 9 PKRU. A component counts as in use (XINUSE)
//! when its values are not the initial ones; none is tracked as unmodified, so that XSAVEOPT and XSAVES save all that is in
//! use. In the standard format PKRU lies where Intel's CPUs have it, behind room for the components between.

use iced_x86::{Code, Instruction};

use super::Exec;
use crate::System;
use crate::cpu::bits::{CR0_TS, CR4_OSXSAVE};
use crate::cpu::model::Feature;
use crate::cpu::{Cpu, Fault, Outcome, reg};
use crate::fpu::{Fpu, Unit};
use crate::simd::float::env::{DEFAULT, WRITABLE};

const X87: u64 = 1;
const SSE: u64 = 2;
const AVX: u64 = 4;
const PKRU: u64 = 1 << 9;
/// XCOMP_BV's bit of the compacted format.
const COMPACTED: u64 = 1 << 63;
/// Offsets in an area.
const MXCSR: u64 = 24;
const XMM: u64 = 160;
const HEADER: u64 = 512;
const YMM_HIGH: u64 = 576;
/// PKRU in the standard format, and the bytes that it takes.
const PKRU_AT: u64 = 0xA80;
const PKRU_SIZE: u64 = 8;

pub(super) fn lookup(code: Code) -> Option<Exec> {
    use Code::*;
    Some(match code {
        Xgetbv => xgetbv,
        Xsetbv => xsetbv,
        Xsave_mem => |sys, insn| save(sys, insn, Form::Plain, false),
        Xsave64_mem => |sys, insn| save(sys, insn, Form::Plain, true),
        Xsaveopt_mem => |sys, insn| save(sys, insn, Form::Optimized, false),
        Xsaveopt64_mem => |sys, insn| save(sys, insn, Form::Optimized, true),
        Xsavec_mem => |sys, insn| save(sys, insn, Form::Compacted, false),
        Xsavec64_mem => |sys, insn| save(sys, insn, Form::Compacted, true),
        Xsaves_mem => |sys, insn| save(sys, insn, Form::Supervisor, false),
        Xsaves64_mem => |sys, insn| save(sys, insn, Form::Supervisor, true),
        Xrstor_mem => |sys, insn| restore(sys, insn, false, false),
        Xrstor64_mem => |sys, insn| restore(sys, insn, true, false),
        Xrstors_mem => |sys, insn| restore(sys, insn, false, true),
        Xrstors64_mem => |sys, insn| restore(sys, insn, true, true),
        _ => return None,
    })
}

impl Cpu {
    /// The bits that XCR0 may have.
    pub(crate) fn xcr0_mask(&self) -> u64 {
        let optional = |feature, component| if self.model.has(feature) { component } else { 0 };
        X87 | SSE | optional(Feature::Avx, AVX) | optional(Feature::Pku, PKRU)
    }

    /// Size and offset in the standard format of extended component `n`, if the model has it [SDM-2 CPUID, leaf 0Dh].
    pub(crate) fn xsave_component(&self, n: u32) -> Option<[u32; 2]> {
        let has = n < 64 && self.xcr0_mask() >> n & 1 != 0;
        match 1u64.checked_shl(n).filter(|_| has)? {
            AVX => Some([256, YMM_HIGH as u32]),
            PKRU => Some([PKRU_SIZE as u32, PKRU_AT as u32]),
            _ => None,
        }
    }

    /// Bytes of an area for the components in `mask`.
    pub(crate) fn xsave_size(mask: u64) -> u32 {
        match mask {
            m if m & PKRU != 0 => (PKRU_AT + PKRU_SIZE) as u32,
            m if m & AVX != 0 => 832,
            _ => 576,
        }
    }

    /// The same for the compacted format.
    pub(crate) fn xsave_compacted_size(mask: u64) -> u32 {
        let pkru = if mask & PKRU != 0 { PKRU_SIZE as u32 } else { 0 };
        pkru_place(mask | COMPACTED) as u32 + pkru
    }

    /// x87 state in its initial configuration.
    fn initial_x87(&self) -> Fpu {
        Fpu::with_unit(Unit::of(self.model.kind))
    }

    /// The components that are not in their initial configuration [SDM-1 13.6]. MXCSR does not count.
    fn components_in_use(&self) -> u64 {
        let used = |on: bool, bit: u64| if on { bit } else { 0 };
        let high = if self.mode.is_64() { 16 } else { 8 };
        used(self.fpu != self.initial_x87(), X87)
            | used(self.xmm[..high].iter().any(|v| *v != 0), SSE)
            | used(self.ymm_high[..high].iter().any(|v| *v != 0), AVX)
            | used(self.key_rights[0] != 0, PKRU)
    }
}

/// Where PKRU lies in an area with `layout` as its XCOMP_BV [SDM-1 13.4.3].
fn pkru_place(layout: u64) -> u64 {
    match layout {
        l if l & COMPACTED == 0 => PKRU_AT,
        l if l & AVX != 0 => YMM_HIGH + 256,
        _ => YMM_HIGH,
    }
}

fn need_osxsave(sys: &System) -> Outcome {
    if sys.cpu.cr4 & CR4_OSXSAVE != 0 { Ok(()) } else { Err(Fault::UD) }
}

/// EDX:EAX
fn pair(sys: &System) -> u64 {
    sys.cpu.regs[reg::RDX] << 32 | sys.cpu.regs[reg::RAX] & 0xFFFF_FFFF
}

fn xgetbv(sys: &mut System, _: &Instruction) -> Outcome {
    need_osxsave(sys)?;
    let value = match sys.cpu.regs[reg::RCX] as u32 {
        0 => sys.cpu.xcr0,
        1 if sys.cpu.model.has(Feature::Xgetbv1) => sys.cpu.xcr0 & sys.cpu.components_in_use(),
        _ => return Err(Fault::gp(0)),
    };
    sys.cpu.regs[reg::RAX] = value & 0xFFFF_FFFF;
    sys.cpu.regs[reg::RDX] = value >> 32;
    Ok(())
}

fn xsetbv(sys: &mut System, _: &Instruction) -> Outcome {
    need_osxsave(sys)?;
    let value = pair(sys);
    let impossible = value & !sys.cpu.xcr0_mask() != 0 || value & X87 == 0 || value & (SSE | AVX) == AVX;
    if sys.cpu.cpl() != 0 || sys.cpu.regs[reg::RCX] as u32 != 0 || impossible {
        return Err(Fault::gp(0));
    }
    sys.cpu.xcr0 = value;
    Ok(())
}

/// An area in memory.
struct Area {
    segment: usize,
    offset: u64,
}

impl Area {
    /// The area of the memory operand, which lies at a multiple of 64, after the faults common to all instructions.
    fn of(sys: &System, insn: &Instruction, supervisor: bool, write: bool) -> Outcome<Area> {
        need_osxsave(sys)?;
        if supervisor && sys.cpu.cpl() != 0 {
            return Err(Fault::gp(0));
        }
        if sys.cpu.cr0 & CR0_TS != 0 {
            return Err(Fault::NM);
        }
        let (segment, offset) = (sys.operand_segment(insn), sys.operand_offset(insn));
        let linear = sys.linear(segment, offset, 1, write)?;
        if linear & 63 != 0 { Err(Fault::gp(0)) } else { Ok(Area { segment, offset }) }
    }

    fn read(&self, sys: &mut System, at: u64, bytes: &mut [u8]) -> Outcome {
        sys.read_bytes(self.segment, self.offset.wrapping_add(at), bytes)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// XSAVE.
    Plain,
    /// XSAVEOPT.
    Optimized,
    /// XSAVEC.
    Compacted,
    /// XSAVES.
    Supervisor,
}

fn save(sys: &mut System, insn: &Instruction, form: Form, wide: bool) -> Outcome {
    let area = Area::of(sys, insn, form == Form::Supervisor, true)?;
    let requested = sys.cpu.xcr0 & pair(sys);
    let compacted = matches!(form, Form::Compacted | Form::Supervisor);
    let in_use = requested & sys.cpu.components_in_use();
    let mut saved = if form == Form::Plain { requested } else { in_use };
    if compacted && sys.cpu.mxcsr != DEFAULT {
        saved |= requested & SSE;
    }
    let with_mxcsr = if compacted { saved & SSE != 0 } else { requested & (SSE | AVX) != 0 };
    let mut old = [0; 8];
    if !compacted {
        area.read(sys, HEADER, &mut old)?;
    }
    let layout = if compacted { requested | COMPACTED } else { 0 };
    let mut parts = image(sys, saved, with_mxcsr, wide);
    if saved & PKRU != 0 {
        parts.push((pkru_place(layout), u64::from(sys.cpu.key_rights[0]).to_le_bytes().to_vec()));
    }
    if compacted {
        let header = [saved.to_le_bytes(), layout.to_le_bytes()].concat();
        parts.push((HEADER, header));
    } else {
        let components = u64::from_le_bytes(old) & !requested | in_use;
        parts.push((HEADER, components.to_le_bytes().to_vec()));
    }
    for (at, bytes) in &parts {
        sys.probe(area.segment, area.offset.wrapping_add(*at), bytes.len() as u64, true)?;
    }
    for (at, bytes) in &parts {
        sys.write_bytes(area.segment, area.offset.wrapping_add(*at), bytes)?;
    }
    Ok(())
}

/// What is to be written for the components `saved` but PKRU: offsets in the area, and bytes. Registers that the mode does not have
/// are not written.
fn image(sys: &System, saved: u64, with_mxcsr: bool, wide: bool) -> Vec<(u64, Vec<u8>)> {
    let mut parts = Vec::new();
    if saved & X87 != 0 {
        let mut x87 = [0; 160];
        sys.cpu.fpu.fxsave(wide, &mut x87);
        parts.push((0, x87[..24].to_vec()));
        parts.push((32, x87[32..].to_vec()));
    }
    if with_mxcsr {
        parts.push((MXCSR, [sys.cpu.mxcsr.to_le_bytes(), WRITABLE.to_le_bytes()].concat()));
    }
    let bytes = |registers: &[u128; 16]| registers[..count(sys)].iter().flat_map(|v| v.to_le_bytes()).collect();
    if saved & SSE != 0 {
        parts.push((XMM, bytes(&sys.cpu.xmm)));
    }
    if saved & AVX != 0 {
        parts.push((YMM_HIGH, bytes(&sys.cpu.ymm_high)));
    }
    parts
}

/// How many vector registers the mode has.
fn count(sys: &System) -> usize {
    if sys.cpu.mode.is_64() { 16 } else { 8 }
}

/// Checks the header; gives XSTATE_BV and XCOMP_BV [SDM-1 13.8.1, 13.8.2, 13.12].
fn header(sys: &mut System, area: &Area, supervisor: bool) -> Outcome<(u64, u64)> {
    let mut bytes = [0; 64];
    area.read(sys, HEADER, &mut bytes)?;
    let word = |n: usize| u64::from_le_bytes(core::array::from_fn(|i| bytes[8 * n + i]));
    let (components, layout) = (word(0), word(1));
    let compacted = layout & COMPACTED != 0;
    let rest_is_zero = |from: usize, to: usize| bytes[from..to].iter().all(|b| *b == 0);
    let xcr0 = sys.cpu.xcr0;
    let good = if compacted {
        let known = sys.cpu.model.has(Feature::Xsavec) || supervisor;
        known && layout & !COMPACTED & !xcr0 == 0 && components & !(layout & !COMPACTED) == 0 && rest_is_zero(16, 64)
    } else {
        !supervisor && components & !xcr0 == 0 && rest_is_zero(8, 24)
    };
    if good { Ok((components, layout)) } else { Err(Fault::gp(0)) }
}

/// All that is to be loaded, read before anything changes.
#[derive(Default)]
struct Loaded {
    x87: Option<[u8; 160]>,
    mxcsr: Option<u32>,
    xmm: Option<[u8; 256]>,
    ymm_high: Option<[u8; 256]>,
    pkru: u32,
}

fn restore(sys: &mut System, insn: &Instruction, wide: bool, supervisor: bool) -> Outcome {
    let area = Area::of(sys, insn, supervisor, false)?;
    let requested = sys.cpu.xcr0 & pair(sys);
    let (components, layout) = header(sys, &area, supervisor)?;
    let loaded = read_components(sys, &area, requested, requested & components, layout)?;
    let n = count(sys);
    if requested & X87 != 0 {
        sys.cpu.fpu = sys.cpu.initial_x87();
        if let Some(image) = &loaded.x87 {
            sys.cpu.fpu.fxrstor(wide, image);
        }
        sys.update_ferr();
    }
    if let Some(v) = loaded.mxcsr {
        sys.cpu.mxcsr = v;
    }
    if requested & SSE != 0 {
        fill(&mut sys.cpu.xmm[..n], loaded.xmm);
    }
    if requested & AVX != 0 {
        fill(&mut sys.cpu.ymm_high[..n], loaded.ymm_high);
    }
    if requested & PKRU != 0 && sys.cpu.key_rights[0] != loaded.pkru {
        sys.cpu.key_rights[0] = loaded.pkru;
        sys.tlb.flush(false);
    }
    Ok(())
}

fn read_components(sys: &mut System, area: &Area, requested: u64, wanted: u64, layout: u64) -> Outcome<Loaded> {
    let compacted = layout & COMPACTED != 0;
    let mut loaded = Loaded::default();
    // The standard format loads MXCSR with either kind of registers; for the compacted one it is SSE state.
    let from_memory = if compacted { wanted & SSE != 0 } else { requested & (SSE | AVX) != 0 };
    if from_memory {
        let mut bytes = [0; 4];
        area.read(sys, MXCSR, &mut bytes)?;
        let v = u32::from_le_bytes(bytes);
        if v & !WRITABLE != 0 {
            return Err(Fault::gp(0));
        }
        loaded.mxcsr = Some(v);
    } else if compacted && requested & SSE != 0 {
        loaded.mxcsr = Some(DEFAULT);
    }
    if wanted & X87 != 0 {
        let mut image = [0; 160];
        area.read(sys, 0, &mut image[..24])?;
        area.read(sys, 32, &mut image[32..])?;
        loaded.x87 = Some(image);
    }
    let len = 16 * count(sys);
    if wanted & SSE != 0 {
        let mut bytes = [0; 256];
        area.read(sys, XMM, &mut bytes[..len])?;
        loaded.xmm = Some(bytes);
    }
    if wanted & AVX != 0 {
        let mut bytes = [0; 256];
        area.read(sys, YMM_HIGH, &mut bytes[..len])?;
        loaded.ymm_high = Some(bytes);
    }
    if wanted & PKRU != 0 {
        let mut bytes = [0; 4];
        area.read(sys, pkru_place(layout), &mut bytes)?;
        loaded.pkru = u32::from_le_bytes(bytes);
    }
    Ok(loaded)
}

/// Registers from an image, or zeros.
fn fill(registers: &mut [u128], image: Option<[u8; 256]>) {
    let bytes = image.unwrap_or([0; 256]);
    for (v, slot) in registers.iter_mut().zip(bytes.chunks_exact(16)) {
        *v = u128::from_le_bytes(core::array::from_fn(|i| slot[i]));
    }
}
