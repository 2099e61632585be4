//! Which features of a CPU need which others, and which silicon they need at least.

use super::model::{Feature, Kind};
use Feature::*;

/// A feature, and those that it can't be without.
pub(super) const NEEDS: &[(Feature, &[Feature])] = &[
    (Mmx, &[Fpu]),
    (Fxsr, &[Fpu]),
    (Sse, &[Fxsr]),
    (Sse2, &[Sse]),
    (Sse3, &[Sse2]),
    (Ssse3, &[Sse3]),
    (Sse41, &[Ssse3]),
    (Sse42, &[Sse41]),
    (Aes, &[Sse2]),
    (Pclmul, &[Sse2]),
    (Sha, &[Sse2]),
    (Gfni, &[Sse2]),
    (Xsave, &[Fxsr]),
    (Xsaveopt, &[Xsave]),
    (Xsavec, &[Xsave]),
    (Xgetbv1, &[Xsave]),
    (Xsaves, &[Xsavec]),
    (Avx, &[Sse42, Xsave]),
    (Avx2, &[Avx]),
    (Fma, &[Avx]),
    (F16c, &[Avx]),
    (Vaes, &[Avx, Aes]),
    (Vpclmul, &[Avx, Pclmul]),
    (Clflushopt, &[Clflush]),
    (Cx16, &[Cx8]),
    (Pse36, &[Pse]),
    (Sep, &[Msr]),
    (Mtrr, &[Msr]),
    (Pat, &[Msr]),
    (Rdtscp, &[Tsc, Msr]),
    (Rdpid, &[Rdtscp]),
    (Nx, &[Pae, Msr]),
    (Syscall, &[Msr]),
    (Lm, &[Pae, Pse, Pge, Msr, Syscall, Cpuid]),
    (LahfLm, &[Lm]),
    (Pdpe1gb, &[Lm]),
    (Fsgsbase, &[Lm]),
    (Pcid, &[Lm]),
    (Syscall32, &[Syscall]),
    (Pku, &[Lm]),
    (Pks, &[Lm]),
];

/// The first silicon that a feature can be added to: the CPUID instruction and what it tells of, control register 4, and
/// 64-bit mode each want a generation.
pub(super) const fn since(feature: Feature) -> Kind {
    match feature {
        Fpu => Kind::I8086,
        Cpuid | Cx8 | Tsc | Msr | Cmov | Mmx | Popcnt | Lzcnt | Movbe | Bmi1 | Adx | Rdrand | Rdseed | Apic | Mtrr
        | Clflush | Hypervisor => Kind::I80486,
        Lm | LahfLm | Pdpe1gb | Fsgsbase | Pcid | Pku | Pks | Syscall | Syscall32 | Nx => Kind::P6,
        _ => Kind::Pentium,
    }
}

/// A set of features, widened by all that they need.
pub(super) const fn with_needs(mut bits: u128) -> u128 {
    loop {
        let old = bits;
        let mut i = 0;
        while i < NEEDS.len() {
            if bits >> NEEDS[i].0 as u8 & 1 != 0 {
                let mut k = 0;
                while k < NEEDS[i].1.len() {
                    bits |= 1 << NEEDS[i].1[k] as u8;
                    k += 1;
                }
            }
            i += 1;
        }
        if bits == old {
            return bits;
        }
    }
}

/// A set of features without those that lack what they need.
pub(super) const fn without_orphans(mut bits: u128) -> u128 {
    loop {
        let old = bits;
        let mut i = 0;
        while i < NEEDS.len() {
            let mut k = 0;
            while k < NEEDS[i].1.len() {
                if bits >> NEEDS[i].1[k] as u8 & 1 == 0 {
                    bits &= !(1 << NEEDS[i].0 as u8);
                }
                k += 1;
            }
            i += 1;
        }
        if bits == old {
            return bits;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Model;
    use super::super::model::MODELS;
    use super::*;

    #[test]
    fn models_are_complete() {
        for (name, kind) in MODELS {
            let model = Model::new(*kind);
            let broken = |(f, needs): &&(Feature, &[Feature])| model.has(*f) && !needs.iter().all(|n| model.has(*n));
            assert_eq!(NEEDS.iter().find(broken), None, "{name}");
        }
    }

    #[test]
    fn features_bring_what_they_need_and_take_away_what_needs_them() {
        let v1 = Model::new(Kind::X64V1).with(Avx2, true);
        assert!([Avx, Xsave, Sse42, Sse3].iter().all(|f| v1.has(*f)) && !v1.has(Fma));
        let v3 = Model::new(Kind::X64V3).with(Sse2, false);
        assert!(v3.has(Sse) && ![Sse42, Avx, Avx2, Fma, F16c, Aes].iter().any(|f| v3.has(*f)));
        assert!(v3.has(Xsave));
    }
}
