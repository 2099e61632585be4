//! Which instructions a CPU model has.

use iced_x86::{Code, CpuidFeature, DecoderOptions, Instruction, OpKind, Register};

use crate::cpu::Model;
use crate::cpu::model::{Feature, Kind};

/// How the decoder has to read code for `model`: up to the 80286, LOCK is allowed everywhere; some opcodes of the 0F row had
/// another meaning up to the 80486.
pub(crate) fn decoder_options(model: &Model) -> u32 {
    match model.kind {
        Kind::I8086 | Kind::I80186 => DecoderOptions::NO_INVALID_CHECK,
        Kind::I80286 => DecoderOptions::NO_INVALID_CHECK | DecoderOptions::LOADALL286,
        Kind::I80386 => DecoderOptions::LOADALL386 | DecoderOptions::UMOV | DecoderOptions::MOV_TR,
        Kind::I80486 => DecoderOptions::UMOV | DecoderOptions::MOV_TR,
        _ => DecoderOptions::NONE,
    }
}

/// The longest instruction [SDM-2 2.3.11; 80286 manual, appendix B].
pub(crate) fn longest(model: &Model) -> usize {
    if model.kind == Kind::I80286 { 10 } else { 15 }
}

/// Whether `model` takes an instruction's registers and length; [`has`] knows whether it has the operation.
pub(crate) fn accepts(model: &Model, insn: &Instruction) -> bool {
    let late = |r: Register| matches!(r, Register::FS | Register::GS);
    model.kind >= Kind::I80386
        || (insn.len() <= longest(model)
            && !late(insn.segment_prefix())
            && !(0..insn.op_count()).any(|n| insn.op_kind(n) == OpKind::Register && late(insn.op_register(n))))
}

/// Whether `model` executes `code`; without it the opcode raises #UD.
pub(super) fn has(model: &Model, code: Code) -> bool {
    // VMCALL calls whatever hypervisor is below the system; without VMX, or one below, it raises #UD itself.
    let called = code == Code::Vmcall && model.kind >= Kind::P6;
    called || code.cpuid_features().iter().all(|f| has_feature(model, *f))
}

fn has_feature(model: &Model, feature: CpuidFeature) -> bool {
    by_generation(model.kind, feature).or_else(|| by_feature(model, feature)).unwrap_or(false)
}

/// Features that a generation of CPUs brought.
fn by_generation(kind: Kind, feature: CpuidFeature) -> Option<bool> {
    use CpuidFeature::*;
    let since = match feature {
        INTEL8086 => Kind::I8086,
        INTEL186 => Kind::I80186,
        INTEL286 | FPU287 | FPU287XL_ONLY => Kind::I80286,
        INTEL386 | FPU387 => Kind::I80386,
        INTEL486 | SMM => Kind::I80486,
        RDPMC => Kind::Pentium,
        MULTIBYTENOP | CET_IBT | CLDEMOTE | PREFETCHW | PREFETCHWT1 => Kind::P6,
        INTEL8086_ONLY => return Some(kind == Kind::I8086),
        INTEL286_ONLY => return Some(kind == Kind::I80286),
        INTEL386_ONLY | INTEL386_A0_ONLY => return Some(kind == Kind::I80386),
        INTEL486_A_ONLY => return Some(false),
        _ => return None,
    };
    Some(kind >= since)
}

/// Features that a model has or has not by itself.
fn by_feature(model: &Model, feature: CpuidFeature) -> Option<bool> {
    use CpuidFeature as C;
    let ours = match feature {
        C::X64 => Feature::Lm,
        C::FPU => Feature::Fpu,
        C::CPUID => Feature::Cpuid,
        C::TSC => Feature::Tsc,
        C::MSR => Feature::Msr,
        C::CX8 => Feature::Cx8,
        C::CMOV => Feature::Cmov,
        C::SEP => Feature::Sep,
        C::MMX => Feature::Mmx,
        C::FXSR => Feature::Fxsr,
        C::SSE => Feature::Sse,
        C::SSE2 => Feature::Sse2,
        C::CLFSH => Feature::Clflush,
        C::CLFLUSHOPT => Feature::Clflushopt,
        C::SSE3 => Feature::Sse3,
        C::SSSE3 => Feature::Ssse3,
        C::SSE4_1 => Feature::Sse41,
        C::SSE4_2 => Feature::Sse42,
        C::POPCNT => Feature::Popcnt,
        C::CMPXCHG16B => Feature::Cx16,
        C::SYSCALL => Feature::Syscall,
        C::RDTSCP => Feature::Rdtscp,
        C::MOVBE => Feature::Movbe,
        C::BMI1 => Feature::Bmi1,
        C::BMI2 => Feature::Bmi2,
        C::LZCNT => Feature::Lzcnt,
        C::AVX => Feature::Avx,
        C::AVX2 => Feature::Avx2,
        C::FMA => Feature::Fma,
        C::F16C => Feature::F16c,
        C::XSAVE => Feature::Xsave,
        C::XSAVEOPT => Feature::Xsaveopt,
        C::XSAVEC => Feature::Xsavec,
        C::XSAVES => Feature::Xsaves,
        C::MONITOR => Feature::Monitor,
        C::SMAP => Feature::Smap,
        C::FSGSBASE => Feature::Fsgsbase,
        C::INVPCID => Feature::Invpcid,
        C::RDRAND => Feature::Rdrand,
        C::RDSEED => Feature::Rdseed,
        C::ADX => Feature::Adx,
        C::AES => Feature::Aes,
        C::PCLMULQDQ => Feature::Pclmul,
        C::SHA => Feature::Sha,
        C::GFNI => Feature::Gfni,
        C::VAES => Feature::Vaes,
        C::VPCLMULQDQ => Feature::Vpclmul,
        C::RDPID => Feature::Rdpid,
        C::PKU => Feature::Pku,
        _ => return None,
    };
    Some(model.has(ours))
}

/// What `code` means to `model`: a prefix that makes a new instruction of an old one is without effect on CPUs that don't
/// know the new one.
pub(super) fn meaning(model: &Model, code: Code) -> Code {
    use Code::*;
    match code {
        Lzcnt_r16_rm16 if !model.has(Feature::Lzcnt) => Bsr_r16_rm16,
        Lzcnt_r32_rm32 if !model.has(Feature::Lzcnt) => Bsr_r32_rm32,
        Lzcnt_r64_rm64 if !model.has(Feature::Lzcnt) => Bsr_r64_rm64,
        Tzcnt_r16_rm16 if !model.has(Feature::Bmi1) => Bsf_r16_rm16,
        Tzcnt_r32_rm32 if !model.has(Feature::Bmi1) => Bsf_r32_rm32,
        Tzcnt_r64_rm64 if !model.has(Feature::Bmi1) => Bsf_r64_rm64,
        Pause => Nopd,
        Wbnoinvd => Wbinvd,
        Rdsspd_r32 => Reservednop_rm32_r32_0F1E,
        Rdsspq_r64 => Reservednop_rm64_r64_0F1E,
        code => code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations() {
        let on = |kind, code| has(&Model::new(kind), code);
        assert!(!on(Kind::I80286, Code::Add_rm32_r32) && on(Kind::I80386, Code::Add_rm32_r32));
        assert!(!on(Kind::I80386, Code::Xadd_rm8_r8) && on(Kind::I80486, Code::Xadd_rm8_r8));
        assert!(!on(Kind::Pentium, Code::Cmovo_r32_rm32) && on(Kind::P6, Code::Cmovo_r32_rm32));
        assert!(!on(Kind::P6, Code::Syscall) && on(Kind::X64V1, Code::Add_rm64_r64));
        assert!(on(Kind::I8086, Code::Nopw) && !on(Kind::I8086, Code::Push_imm16));
    }
}
