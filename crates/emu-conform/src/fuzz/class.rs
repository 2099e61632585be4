//! Which instructions the fuzzer draws, in which classes.
//!
//! Left out is what a user program cannot run to a result that two machines could agree on: what asks the operating
//! system or the clock, what depends on descriptor tables, what single-stepping changes, and what reads addresses of the
//! last x87 instruction.

use iced_x86::{CpuidFeature, EncodingKind, FlowControl, Instruction, Mnemonic, OpKind, Register};

macro_rules! classes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $weight:literal;)*) => {
        /// A class of instructions, for `--only` and for the share of cases that each gets.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Class { $($(#[$doc])* $name,)* }

        impl Class {
            /// All of them.
            pub const ALL: &[Class] = &[$(Class::$name,)*];

            /// Its name on the command line.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Class::$name => $text,)* }
            }

            /// Its share of the cases.
            #[must_use]
            pub(super) fn weight(self) -> usize {
                match self { $(Class::$name => $weight,)* }
            }
        }
    };
}

classes! {
    /// Moves, additions, logic, comparisons, conditional moves.
    Alu = "alu", 12;
    /// Multiplication and division.
    MulDiv = "muldiv", 5;
    /// Shifts and rotates.
    Shift = "shift", 6;
    /// Bit tests and scans.
    Bits = "bits", 4;
    /// Decimal adjustments.
    Bcd = "bcd", 3;
    /// String instructions, repeated or not.
    String = "string", 4;
    /// Pushes, pops, frames.
    Stack = "stack", 4;
    /// Jumps, calls, returns, loops; INT3, INTO, BOUND.
    Branch = "branch", 4;
    /// What CPL 3 may not do.
    Privileged = "privileged", 1;
    /// x87.
    X87 = "x87", 16;
    /// MMX registers, later extensions of MMX too.
    Mmx = "mmx", 6;
    /// SSE to SSE4.2.
    Sse = "sse", 14;
    /// AVX, AVX2, FMA, F16C.
    Avx = "avx", 16;
    /// BMI1, BMI2, ADX, LZCNT, POPCNT, MOVBE, CRC32.
    Bmi = "bmi", 5;
    /// AES, PCLMULQDQ, SHA.
    Crypto = "crypto", 3;
}

impl Class {
    /// The class called `name`.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Class> {
        Class::ALL.iter().find(|c| c.name() == name).copied()
    }
}

/// The names (of `--cpu +NAME`) of the features that an instruction needs; `None` if one of them is none of emu's.
pub(super) fn features(insn: &Instruction) -> Option<Vec<&'static str>> {
    use CpuidFeature as F;
    let name = |f: &CpuidFeature| {
        Some(match *f {
            F::INTEL8086
            | F::INTEL186
            | F::INTEL286
            | F::INTEL386
            | F::INTEL486
            | F::X64
            | F::MULTIBYTENOP
            | F::PAUSE => "",
            F::FPU | F::FPU287 | F::FPU387 => "fpu",
            F::CMOV => "cmov",
            F::CX8 => "cx8",
            F::CMPXCHG16B => "cx16",
            F::MMX => "mmx",
            F::SSE => "sse",
            F::SSE2 => "sse2",
            F::SSE3 => "sse3",
            F::SSSE3 => "ssse3",
            F::SSE4_1 => "sse4.1",
            F::SSE4_2 => "sse4.2",
            F::CLFSH => "clflush",
            F::POPCNT => "popcnt",
            F::LZCNT => "abm",
            F::MOVBE => "movbe",
            F::BMI1 => "bmi1",
            F::BMI2 => "bmi2",
            F::ADX => "adx",
            F::AES => "aes",
            F::PCLMULQDQ => "pclmulqdq",
            F::SHA => "sha",
            F::AVX => "avx",
            F::AVX2 => "avx2",
            F::FMA => "fma",
            F::F16C => "f16c",
            F::GFNI => "gfni",
            F::VAES => "vaes",
            F::VPCLMULQDQ => "vpclmulqdq",
            _ => return None,
        })
    };
    insn.cpuid_features().iter().map(name).collect()
}

/// The class of an instruction; `None` if it is not to be drawn.
pub(super) fn classify(insn: &Instruction) -> Option<Class> {
    let names = features(insn)?;
    if excluded(insn) {
        return None;
    }
    let has = |name: &str| names.contains(&name);
    let registers =
        || (0..insn.op_count()).filter(|n| insn.op_kind(*n) == OpKind::Register).map(|n| insn.op_register(n));
    Some(if privileged(insn) {
        Class::Privileged
    } else if has("fpu") {
        Class::X87
    } else if has("bmi1") || has("bmi2") || has("adx") || has("abm") || has("popcnt") || has("movbe") {
        Class::Bmi
    } else if insn.encoding() == EncodingKind::VEX {
        Class::Avx
    } else if has("aes") || has("pclmulqdq") || has("sha") || has("gfni") {
        Class::Crypto
    } else if has("mmx") || registers().any(Register::is_mm) {
        Class::Mmx
    } else if insn.mnemonic() == Mnemonic::Crc32 {
        Class::Bmi
    } else if names.iter().any(|n| n.starts_with("sse") || *n == "ssse3") {
        Class::Sse
    } else {
        integer(insn)
    })
}

fn integer(insn: &Instruction) -> Class {
    use Mnemonic as M;
    match insn.mnemonic() {
        M::Mul | M::Imul | M::Div | M::Idiv => Class::MulDiv,
        M::Shl | M::Sal | M::Shr | M::Sar | M::Rol | M::Ror | M::Rcl | M::Rcr | M::Shld | M::Shrd => Class::Shift,
        M::Bt | M::Bts | M::Btr | M::Btc | M::Bsf | M::Bsr => Class::Bits,
        M::Aaa | M::Aas | M::Aad | M::Aam | M::Daa | M::Das => Class::Bcd,
        M::Bound => Class::Branch,
        _ if insn.is_string_instruction() => Class::String,
        _ if insn.flow_control() != FlowControl::Next => Class::Branch,
        _ if insn.is_stack_instruction() || matches!(insn.mnemonic(), M::Enter | M::Leave) => Class::Stack,
        _ => Class::Alu,
    }
}

fn privileged(insn: &Instruction) -> bool {
    use Mnemonic as M;
    let ports = matches!(insn.mnemonic(), M::In | M::Out | M::Cli | M::Sti)
        || matches!(insn.mnemonic(), M::Insb | M::Insw | M::Insd | M::Outsb | M::Outsw | M::Outsd);
    insn.is_privileged() || ports
}

fn excluded(insn: &Instruction) -> bool {
    use Mnemonic as M;
    let segments =
        (0..insn.op_count()).any(|n| insn.op_kind(n) == OpKind::Register && insn.op_register(n).is_segment_register());
    let far = matches!(insn.op0_kind(), OpKind::FarBranch16 | OpKind::FarBranch32)
        || insn.is_jmp_far_indirect()
        || insn.is_call_far_indirect();
    segments
        || far
        || matches!(
            insn.mnemonic(),
            // The operating system's, the clock's, or random.
            M::Cpuid | M::Rdtsc | M::Rdtscp | M::Rdpmc | M::Rdrand | M::Rdseed | M::Xgetbv | M::Int | M::Int1
                | M::Syscall | M::Sysenter | M::Sysexit | M::Sysexitq | M::Sysret | M::Sysretq
                | M::Sgdt | M::Sidt | M::Smsw | M::Sldt | M::Str
            // Descriptor tables'.
                | M::Lar | M::Lsl | M::Verr | M::Verw | M::Lds | M::Les | M::Lfs | M::Lgs | M::Lss | M::Retf
                | M::Iret | M::Iretd | M::Iretq
            // Of the trap flag.
                | M::Popf | M::Popfd | M::Popfq
            // With the last x87 instruction's address.
                | M::Fnstenv | M::Fstenv | M::Fnsave | M::Fsave | M::Fxsave | M::Fxsave64 | M::Fxrstor | M::Fxrstor64
            // Whose hint bits or privileges differ from maker to maker.
                | M::Loadall | M::Rsm | M::Umov | M::Ibts | M::Xbts | M::Storeall
        )
}
