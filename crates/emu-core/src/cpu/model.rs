//! CPU models: which instructions and behaviours a machine's CPU has.

use super::needs::{since, with_needs, without_orphans};

/// The models, in the order of their making, so that `model >= Kind::I80386` reads as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Intel 8086.
    I8086,
    /// Intel 80186.
    I80186,
    /// Intel 80286.
    I80286,
    /// Intel 80386.
    I80386,
    /// Intel 80486 DX.
    I80486,
    /// Intel Pentium (P5) with MMX.
    Pentium,
    /// Intel Pentium Pro family with MMX, SSE and SSE2 (family 6).
    P6,
    /// x86-64 baseline (SSE2).
    X64V1,
    /// x86-64-v2 (SSE4.2, POPCNT, CMPXCHG16B).
    X64V2,
    /// x86-64-v3 (AVX2, BMI, FMA).
    X64V3,
}

impl Kind {
    /// Words and instructions that pass the end of a segment go on at its start; later CPUs raise a fault.
    #[inline]
    #[must_use]
    pub const fn wraps(self) -> bool {
        matches!(self, Kind::I8086 | Kind::I80186)
    }
}

macro_rules! features {
    ($($(#[$doc:meta])* $name:ident = $bit:literal, $text:literal;)*) => {
        /// One feature of a CPU, beyond what its [`Kind`] says by itself.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Feature { $($(#[$doc])* $name = $bit,)* }

        /// Every feature with its name on the command line.
        pub const FEATURES: &[(Feature, &str)] = &[$((Feature::$name, $text),)*];
    };
}

features! {
    /// x87 on chip.
    Fpu = 0, "fpu";
    /// V86 mode extensions.
    Vme = 1, "vme";
    /// Debugging extensions.
    De = 2, "de";
    /// 4 MiB pages.
    Pse = 3, "pse";
    /// Time stamp counter.
    Tsc = 4, "tsc";
    /// RDMSR and WRMSR.
    Msr = 5, "msr";
    /// Physical address extension.
    Pae = 6, "pae";
    /// CMPXCHG8B.
    Cx8 = 7, "cx8";
    /// Local APIC.
    Apic = 8, "apic";
    /// SYSENTER.
    Sep = 9, "sep";
    /// Memory type range registers.
    Mtrr = 10, "mtrr";
    /// Global pages.
    Pge = 11, "pge";
    /// CMOVcc.
    Cmov = 12, "cmov";
    /// Page attribute table.
    Pat = 13, "pat";
    /// 36-bit 4 MiB pages.
    Pse36 = 14, "pse36";
    /// CLFLUSH.
    Clflush = 15, "clflush";
    /// MMX.
    Mmx = 16, "mmx";
    /// FXSAVE.
    Fxsr = 17, "fxsr";
    /// SSE.
    Sse = 18, "sse";
    /// SSE2.
    Sse2 = 19, "sse2";
    /// SSE3.
    Sse3 = 20, "sse3";
    /// SSSE3.
    Ssse3 = 21, "ssse3";
    /// SSE4.1.
    Sse41 = 22, "sse4.1";
    /// SSE4.2.
    Sse42 = 23, "sse4.2";
    /// POPCNT.
    Popcnt = 24, "popcnt";
    /// CMPXCHG16B.
    Cx16 = 25, "cx16";
    /// SYSCALL.
    Syscall = 26, "syscall";
    /// No-execute pages.
    Nx = 27, "nx";
    /// Long mode.
    Lm = 28, "lm";
    /// LAHF and SAHF in 64-bit mode.
    LahfLm = 29, "lahf_lm";
    /// CPUID instruction.
    Cpuid = 30, "cpuid";
    /// RDTSCP.
    Rdtscp = 31, "rdtscp";
    /// 1 GiB pages.
    Pdpe1gb = 32, "pdpe1gb";
    /// MOVBE.
    Movbe = 33, "movbe";
    /// BMI1.
    Bmi1 = 34, "bmi1";
    /// BMI2.
    Bmi2 = 35, "bmi2";
    /// LZCNT.
    Lzcnt = 36, "abm";
    /// AVX.
    Avx = 37, "avx";
    /// AVX2.
    Avx2 = 38, "avx2";
    /// FMA.
    Fma = 39, "fma";
    /// F16C.
    F16c = 40, "f16c";
    /// XSAVE.
    Xsave = 41, "xsave";
    /// Supervisor-mode execution prevention.
    Smep = 42, "smep";
    /// Supervisor-mode access prevention.
    Smap = 43, "smap";
    /// User-mode instruction prevention.
    Umip = 44, "umip";
    /// RDFSBASE and its kin.
    Fsgsbase = 45, "fsgsbase";
    /// Process context identifiers.
    Pcid = 46, "pcid";
    /// INVPCID.
    Invpcid = 47, "invpcid";
    /// RDRAND.
    Rdrand = 48, "rdrand";
    /// RDSEED.
    Rdseed = 49, "rdseed";
    /// ADX.
    Adx = 50, "adx";
    /// AES-NI.
    Aes = 51, "aes";
    /// PCLMULQDQ.
    Pclmul = 52, "pclmulqdq";
    /// SHA extensions.
    Sha = 53, "sha";
    /// The hypervisor bit of CPUID leaf 1.
    Hypervisor = 54, "hypervisor";
    /// XSAVEOPT.
    Xsaveopt = 55, "xsaveopt";
    /// XSAVEC, and the compacted form of XRSTOR.
    Xsavec = 56, "xsavec";
    /// XGETBV of XINUSE.
    Xgetbv1 = 57, "xgetbv1";
    /// XSAVES and XRSTORS.
    Xsaves = 58, "xsaves";
    /// GF2P8MULB and its kin.
    Gfni = 59, "gfni";
    /// AES on YMM registers.
    Vaes = 60, "vaes";
    /// PCLMULQDQ on YMM registers.
    Vpclmul = 61, "vpclmulqdq";
    /// MONITOR and MWAIT.
    Monitor = 62, "monitor";
    /// RDPID.
    Rdpid = 63, "rdpid";
    /// CLFLUSHOPT.
    Clflushopt = 64, "clflushopt";
    /// Protection keys for user pages.
    Pku = 65, "pku";
    /// Protection keys for supervisor pages.
    Pks = 66, "pks";
    /// SYSCALL and SYSRET outside of 64-bit mode, as the CPUs have them whose maker brought them.
    Syscall32 = 67, "syscall32";
}

/// A CPU model with its features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Model {
    /// Which silicon.
    pub kind: Kind,
    features: u128,
}

const fn set(list: &[Feature]) -> u128 {
    let mut bits = 0;
    let mut i = 0;
    while i < list.len() {
        bits |= 1 << list[i] as u8;
        i += 1;
    }
    bits
}

use Feature::*;
const F486: u128 = set(&[Fpu, Cpuid]);
const F586: u128 = F486 | set(&[Vme, De, Pse, Tsc, Msr, Cx8, Apic, Mmx]);
const F686: u128 = F586 | set(&[Pae, Sep, Mtrr, Pge, Cmov, Pat, Pse36, Clflush, Fxsr, Sse, Sse2]);
const FV1: u128 = F686 | set(&[Syscall, Nx, Lm]);
const FV2: u128 = FV1 | set(&[Sse3, Ssse3, Sse41, Sse42, Popcnt, Cx16, LahfLm]);
const FV3: u128 = FV2
    | set(&[Aes, Pclmul, Bmi1, Bmi2, Lzcnt, Movbe, Xsave, Xsaveopt, Avx, Avx2, Fma, F16c])
    | set(&[Rdtscp, Pdpe1gb, Fsgsbase, Rdrand, Smep, Pcid, Invpcid]);

/// Names of the models on the command line.
pub const MODELS: &[(&str, Kind)] = &[
    ("8086", Kind::I8086),
    ("80186", Kind::I80186),
    ("80286", Kind::I80286),
    ("80386", Kind::I80386),
    ("80486", Kind::I80486),
    ("pentium", Kind::Pentium),
    ("p6", Kind::P6),
    ("x86-64-v1", Kind::X64V1),
    ("x86-64-v2", Kind::X64V2),
    ("x86-64-v3", Kind::X64V3),
];

impl Model {
    /// A model with the features that it has by default (only such as emu executes).
    #[must_use]
    pub const fn new(kind: Kind) -> Model {
        let features = match kind {
            Kind::I8086 | Kind::I80186 | Kind::I80286 | Kind::I80386 => set(&[Fpu]),
            Kind::I80486 => F486,
            Kind::Pentium => F586,
            Kind::P6 => F686,
            Kind::X64V1 => FV1,
            Kind::X64V2 => FV2,
            Kind::X64V3 => FV3,
        };
        Model { kind, features }
    }

    /// Whether it has `feature`.
    #[inline]
    #[must_use]
    pub const fn has(&self, feature: Feature) -> bool {
        self.features >> feature as u8 & 1 != 0
    }

    /// The same with `feature` added, together with all that it needs, or taken away, together with all that needs it.
    #[must_use]
    pub const fn with(mut self, feature: Feature, on: bool) -> Model {
        let bit = 1 << feature as u8;
        self.features = if on { with_needs(self.features | bit) } else { without_orphans(self.features & !bit) };
        self
    }

    /// The first model that `feature` can be added to.
    #[must_use]
    pub const fn first_with(feature: Feature) -> Kind {
        since(feature)
    }

    /// Width of physical addresses in bits.
    #[must_use]
    pub const fn physical_bits(&self) -> u32 {
        match self.kind {
            Kind::I8086 | Kind::I80186 => 20,
            Kind::I80286 => 24,
            Kind::I80386 | Kind::I80486 | Kind::Pentium => 32,
            Kind::P6 => 36,
            _ => 40,
        }
    }
}
