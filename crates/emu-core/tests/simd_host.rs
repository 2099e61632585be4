//! The SSE floating-point rules against the host's own SSE unit, where the host has one.
#![cfg(target_arch = "x86_64")]
#![expect(unsafe_code, reason = "the oracle is the host's SSE unit, reached by inline assembly that sets MXCSR")]

use std::arch::asm;

use emu_core::simd::approx;
use emu_core::simd::float::env::{self, Env, Rounding};
use emu_core::simd::float::fma::{Signs, fma, fused};
use emu_core::simd::float::{F32, F64, Format, Layout, arith, compare, convert, soft};

/// Result bits and MXCSR of one two-operand SSE instruction on the host; operands in the low bits of XMM0 and XMM1.
macro_rules! host {
    ($name:expr) => {
        |a: u64, b: u64, mxcsr: u32| -> (u64, u32) {
            let (mut a, mut control, normal) = (a, mxcsr, env::DEFAULT);
            // SAFETY: the block touches only the declared registers and the two locals, and leaves MXCSR as Rust
            // needs it.
            unsafe {
                asm!("ldmxcsr [{m}]", "movq xmm0, {a}", "movq xmm1, {b}", $name, "movq {a}, xmm0",
                    "stmxcsr [{m}]", "ldmxcsr [{d}]", a = inout(reg) a, b = inout(reg) b => _,
                    m = in(reg) &mut control, d = in(reg) &normal, out("xmm0") _, out("xmm1") _, options(nostack));
            }
            (a, control)
        }
    };
}

/// As `host!`, for an instruction that leaves its result in RAX.
macro_rules! host_int {
    ($name:literal) => {
        |a: u64, b: u64, mxcsr: u32| -> (u64, u32) {
            let (mut control, normal, mut out) = (mxcsr, env::DEFAULT, 0u64);
            // SAFETY: as in `host!`.
            unsafe {
                asm!("ldmxcsr [{m}]", "movq xmm0, {a}", "movq xmm1, {b}", "xor eax, eax", $name,
                    "stmxcsr [{m}]", "ldmxcsr [{d}]", a = in(reg) a, b = in(reg) b, m = in(reg) &mut control,
                    d = in(reg) &normal, inout("rax") out, out("xmm0") _, out("xmm1") _, options(nostack));
            }
            (out, control)
        }
    };
}

/// A small generator with a fixed seed: the cases are the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// Every combination of rounding mode, DAZ and FTZ, all exceptions masked, without and with PE set already.
fn modes() -> Vec<u32> {
    let mut all = Vec::new();
    for rc in 0..4 {
        for (daz, ftz, pe) in [(0, 0, 0), (0, 0, 1), (1, 0, 0), (0, 1, 0), (1, 1, 0)] {
            all.push(env::DEFAULT + (rc << 13) + daz * env::DAZ + ftz * env::FTZ + pe * env::PE);
        }
    }
    all
}

/// Operands where rules change: edges of the format, small integers, and patterns with few or many bits.
fn operands<F: Format>(random: &mut Random, count: usize) -> Vec<u64> {
    let one = (F::EMAX as u64) << F::FRAC;
    let mut pool =
        vec![0, 1, 2, 3, F::MIN_NORMAL - 1, F::MIN_NORMAL, F::MIN_NORMAL + 1, 2 * F::MIN_NORMAL, one, one + 1];
    pool.extend([one - 1, one + F::MIN_NORMAL, one - F::MIN_NORMAL, F::INF - 1, F::INF, F::INF + 1]);
    pool.extend([F::INF | F::QUIET, F::INF | F::QUIET | 5, F::INF - F::MIN_NORMAL, F::QUIET, F::QUIET + 1]);
    while pool.len() < count {
        let (r, pick) = (random.next(), random.next());
        let near = |base: u64, span: u64| base.wrapping_add(r % (span * F::MIN_NORMAL)) & F::MAGNITUDE;
        pool.push(match pick % 8 {
            0 => near(one - 4 * F::MIN_NORMAL, 8),
            1 => near(F::INF - 4 * F::MIN_NORMAL, 4),
            2 => near(0, 4),
            3 => near(0, 1),
            4 => near(one, 66),
            5 => near(one, 70) & !((F::MIN_NORMAL - 1) >> (pick >> 8 & 15)),
            6 => near((F::EMAX as u64 / 2) << F::FRAC, 3),
            _ => r & F::MAGNITUDE,
        });
    }
    let negated: Vec<u64> = pool.iter().map(|v| v | F::SIGN).collect();
    pool.extend(negated);
    pool
}

type Model = dyn Fn(u64, u64, &mut Env) -> u64;
type Host = dyn Fn(u64, u64, u32) -> (u64, u32);

/// Compare a model with the host on pairs of operands in every mode; the first few differences go into the panic.
fn check(name: &str, pairs: &[(u64, u64)], mask: u64, model: &Model, host: &Host) {
    let mut wrong = Vec::new();
    for mxcsr in modes() {
        for &(a, b) in pairs {
            let mut env = Env::new(mxcsr);
            let got = (model(a, b, &mut env) & mask, env.finish().0);
            let (bits, control) = host(a, b, mxcsr);
            if got != (bits & mask, control) {
                wrong.push(format!("{name} {a:x} {b:x} mxcsr {mxcsr:x}: {got:x?}, host {:x?}", (bits & mask, control)));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong[..wrong.len().min(12)].join("\n"));
}

/// All pairs of the edge values, and many random pairs.
fn pairs<F: Format>(seed: u64) -> Vec<(u64, u64)> {
    let mut random = Random(seed);
    let edges = operands::<F>(&mut random, 24);
    let wide = operands::<F>(&mut random, 2000);
    let mut all: Vec<_> = edges.iter().flat_map(|&a| edges.iter().map(move |&b| (a, b))).collect();
    all.extend((0..6000).map(|_| {
        let pick = |r: u64| wide[(r % wide.len() as u64) as usize];
        (pick(random.next()), pick(random.next()))
    }));
    all
}

const SINGLE: u64 = 0xffff_ffff;
const DOUBLE: u64 = !0;

macro_rules! binary {
    ($($test:ident: $f:ident $single:literal $double:literal, $module:ident;)*) => {$(
        #[test]
        fn $test() {
            let single = host!($single);
            let double = host!($double);
            check($single, &pairs::<F32>(11), SINGLE, &|a, b, e| $module::$f::<F32>(a, b, e), &single);
            check($double, &pairs::<F64>(12), DOUBLE, &|a, b, e| $module::$f::<F64>(a, b, e), &double);
        }
    )*};
}

binary! {
    add_in_software: add "addss xmm0, xmm1" "addsd xmm0, xmm1", soft;
    sub_in_software: sub "subss xmm0, xmm1" "subsd xmm0, xmm1", soft;
    mul_in_software: mul "mulss xmm0, xmm1" "mulsd xmm0, xmm1", soft;
    div_in_software: div "divss xmm0, xmm1" "divsd xmm0, xmm1", soft;
    add_as_used: add "addss xmm0, xmm1" "addsd xmm0, xmm1", arith;
    sub_as_used: sub "subss xmm0, xmm1" "subsd xmm0, xmm1", arith;
    mul_as_used: mul "mulss xmm0, xmm1" "mulsd xmm0, xmm1", arith;
    div_as_used: div "divss xmm0, xmm1" "divsd xmm0, xmm1", arith;
    sqrt_as_used: sqrt "sqrtss xmm0, xmm1" "sqrtsd xmm0, xmm1", arith;
    minimum: min "minss xmm0, xmm1" "minsd xmm0, xmm1", compare;
    maximum: max "maxss xmm0, xmm1" "maxsd xmm0, xmm1", compare;
}

#[test]
fn sqrt_in_software() {
    let host = host!("sqrtsd xmm0, xmm1");
    check("sqrtsd", &pairs::<F64>(13), DOUBLE, &|_, b, e| soft::sqrt::<F64>(b, e), &host);
    let host = host!("sqrtss xmm0, xmm1");
    check("sqrtss", &pairs::<F32>(14), SINGLE, &|_, b, e| soft::sqrt::<F32>(b, e), &host);
}

macro_rules! predicates {
    ($($imm:literal)*) => {
        #[test]
        fn predicates() {
            if !std::is_x86_feature_detected!("avx") {
                println!("skipped: the host has no AVX, whose compares take all 32 predicates");
                return;
            }
            $(
                let host = host!(concat!("vcmpsd xmm0, xmm0, xmm1, ", $imm));
                check($imm, &pairs::<F64>(15), DOUBLE, &|a, b, e| {
                    compare::predicate::<F64>(a, b, $imm.parse().unwrap(), e)
                }, &host);
                let host = host!(concat!("vcmpss xmm0, xmm0, xmm1, ", $imm));
                check($imm, &pairs::<F32>(16), SINGLE, &|a, b, e| {
                    compare::predicate::<F32>(a, b, $imm.parse().unwrap(), e)
                }, &host);
            )*
        }
    };
}
predicates!("0" "1" "2" "3" "4" "5" "6" "7" "8" "9" "10" "11" "12" "13" "14" "15"
    "16" "17" "18" "19" "20" "21" "22" "23" "24" "25" "26" "27" "28" "29" "30" "31");

/// The flags of a comparison as LAHF shows them: ZF, PF, CF.
fn lahf(relation: Option<std::cmp::Ordering>) -> u64 {
    let (zf, pf, cf) = compare::comparison_flags(relation);
    u64::from(zf) << 14 | u64::from(pf) << 10 | u64::from(cf) << 8
}

#[test]
fn comi() {
    let host = host_int!("comisd xmm0, xmm1\nlahf");
    check("comisd", &pairs::<F64>(17), 0x4500, &|a, b, e| lahf(compare::relate::<F64>(a, b, true, e)), &host);
    let host = host_int!("ucomiss xmm0, xmm1\nlahf");
    check("ucomiss", &pairs::<F32>(18), 0x4500, &|a, b, e| lahf(compare::relate::<F32>(a, b, false, e)), &host);
}

#[test]
fn between_formats() {
    let host = host!("cvtss2sd xmm0, xmm1");
    check("cvtss2sd", &pairs::<F32>(19), DOUBLE, &|_, b, e| convert::widen(b, e), &host);
    let host = host!("cvtsd2ss xmm0, xmm1");
    let mut random = Random(20);
    let mut cases = pairs::<F64>(20);
    // Doubles whose exponents lie where singles end.
    cases.extend((0..6000).map(|_| {
        let r = random.next();
        let exponent = [1023 - 150 + (r >> 8 & 31), 1023 + 120 + (r >> 8 & 15)][(r >> 4 & 1) as usize];
        (0, (random.next() & !F64::INF | exponent << 52) & !(0xfff_ffff * (r >> 5 & 1)))
    }));
    check("cvtsd2ss", &cases, SINGLE, &|_, b, e| convert::narrow(b, e), &host);
}

fn nearby(mxcsr_rounds: bool, e: &Env) -> Rounding {
    if mxcsr_rounds { e.rounding() } else { Rounding::Zero }
}

#[test]
fn to_integers() {
    macro_rules! to_int {
        ($($name:literal $f:ty, $bits:literal, $rounds:literal;)*) => {$(
            let host = host_int!($name);
            check($name, &pairs::<$f>(21), DOUBLE >> (64 - $bits), &|_, b, e| {
                convert::to_int::<$f>(b, $bits, nearby($rounds, e), e) as u64
            }, &host);
        )*};
    }
    to_int! {
        "cvtsd2si eax, xmm1" F64, 32, true;
        "cvtsd2si rax, xmm1" F64, 64, true;
        "cvttsd2si eax, xmm1" F64, 32, false;
        "cvttsd2si rax, xmm1" F64, 64, false;
        "cvtss2si eax, xmm1" F32, 32, true;
        "cvtss2si rax, xmm1" F32, 64, true;
        "cvttss2si eax, xmm1" F32, 32, false;
        "cvttss2si rax, xmm1" F32, 64, false;
    }
}

#[test]
fn from_integers() {
    let mut random = Random(22);
    let cases: Vec<_> = (0..8000).map(|_| (0, random.next() as i64 >> (random.next() & 63))).collect();
    let cases: Vec<_> = cases.into_iter().map(|(a, b)| (a, b as u64)).collect();
    let host = host!("movq {b}, xmm1\ncvtsi2sd xmm0, {b}");
    check("cvtsi2sd", &cases, DOUBLE, &|_, b, e| convert::from_int::<F64>(b as i64, e), &host);
    let cases: Vec<_> = cases.into_iter().map(|(a, b)| (a, b & SINGLE)).collect();
    let host = host!("cvtdq2ps xmm0, xmm1");
    check("cvtdq2ps", &cases, SINGLE, &|_, b, e| convert::from_int::<F32>((b as i32).into(), e), &host);
}

macro_rules! integral {
    ($($imm:literal)*) => {
        #[test]
        fn integral() {
            if !std::is_x86_feature_detected!("sse4.1") {
                println!("skipped: the host has no SSE4.1");
                return;
            }
            $(
                let host = host!(concat!("roundsd xmm0, xmm1, ", $imm));
                check($imm, &pairs::<F64>(23), DOUBLE, &|_, b, e| {
                    convert::round_integral::<F64>(b, $imm.parse().unwrap(), e)
                }, &host);
                let host = host!(concat!("roundss xmm0, xmm1, ", $imm));
                check($imm, &pairs::<F32>(24), SINGLE, &|_, b, e| {
                    convert::round_integral::<F32>(b, $imm.parse().unwrap(), e)
                }, &host);
            )*
        }
    };
}
integral!("0" "1" "2" "3" "4" "8" "9" "10" "11" "12");

/// A fused multiply-add on the host: result bits and MXCSR.
macro_rules! host_fma {
    ($name:literal) => {
        |[x, y, z]: [u64; 3], mxcsr: u32| -> (u64, u32) {
            let (mut x, mut control, normal) = (x, mxcsr, env::DEFAULT);
            // SAFETY: as in `host!`.
            unsafe {
                asm!("ldmxcsr [{m}]", "movq xmm1, {x}", "movq xmm0, {y}", "movq xmm2, {z}", $name,
                    "movq {x}, xmm0", "stmxcsr [{m}]", "ldmxcsr [{d}]", x = inout(reg) x, y = in(reg) y,
                    z = in(reg) z, m = in(reg) &mut control, d = in(reg) &normal, out("xmm0") _, out("xmm1") _,
                    out("xmm2") _, options(nostack));
            }
            (x, control)
        }
    };
}

/// Addends of all kinds, and such as nearly cancel the product.
fn triples<F: Format>(seed: u64) -> Vec<[u64; 3]> {
    let mut random = Random(seed);
    let wide = operands::<F>(&mut random, 500);
    let near_product = |x: u64, y: u64, r: u64| {
        let mut env = Env::new(env::DEFAULT);
        (soft::mul::<F>(x, y, &mut env) ^ F::SIGN).wrapping_add(r % 5).wrapping_sub(2) & (F::SIGN | F::MAGNITUDE)
    };
    pairs::<F>(seed)
        .into_iter()
        .map(|(x, y)| match random.next() % 3 {
            0 => [x, y, near_product(x, y, random.next())],
            _ => [x, y, wide[(random.next() % wide.len() as u64) as usize]],
        })
        .collect()
}

fn check_fma<F: Format>(seed: u64, signs: Signs, host: &dyn Fn([u64; 3], u32) -> (u64, u32)) {
    for mxcsr in modes() {
        for [x, y, z] in triples::<F>(seed) {
            let mut env = Env::new(mxcsr);
            let got = (fma::<F>(x, y, z, signs, &mut env), env.finish().0);
            let (bits, control) = host([x, y, z], mxcsr);
            let want = (bits & (F::SIGN | F::MAGNITUDE), control);
            assert_eq!(got, want, "{x:x} * {y:x} + {z:x}, {signs:?}, mxcsr {mxcsr:x}");
            if mxcsr == env::DEFAULT | env::PE && control == mxcsr {
                assert_eq!(fused::<F>(x, y, z, signs), Some(want.0), "{x:x} * {y:x} + {z:x}, {signs:?}");
            }
        }
    }
}

#[test]
fn fused_multiply_add() {
    if !std::is_x86_feature_detected!("fma") {
        println!("skipped: the host has no FMA");
        return;
    }
    let signs = |product, addend| Signs { product, addend };
    check_fma::<F64>(26, signs(false, false), &host_fma!("vfmadd213sd xmm0, xmm1, xmm2"));
    check_fma::<F32>(27, signs(false, false), &host_fma!("vfmadd213ss xmm0, xmm1, xmm2"));
    check_fma::<F64>(28, signs(true, true), &host_fma!("vfnmsub213sd xmm0, xmm1, xmm2"));
    check_fma::<F32>(29, signs(true, false), &host_fma!("vfnmadd213ss xmm0, xmm1, xmm2"));
}

#[test]
fn half_precision() {
    if !std::is_x86_feature_detected!("f16c") {
        println!("skipped: the host has no F16C");
        return;
    }
    let all: Vec<_> = (0..0x1_0000).map(|h| (0, h)).collect();
    let host = host!("vcvtph2ps xmm0, xmm1");
    check("vcvtph2ps", &all, SINGLE, &|_, b, e| convert::from_half(b, e), &host);
    let mut cases = pairs::<F32>(30);
    let mut random = Random(31);
    // Singles whose exponents lie where half precision ends.
    cases.extend((0..6000).map(|_| {
        let r = random.next();
        (0, r & !F32::INF & SINGLE | (127 - 28 + (r >> 40 & 63) % 46) << 23)
    }));
    let rounded =
        |imm: u8, host: &Host| check("vcvtps2ph", &cases, 0xffff, &move |_, b, e| convert::to_half(b, imm, e), host);
    rounded(0, &host!("vcvtps2ph xmm0, xmm1, 0"));
    rounded(3, &host!("vcvtps2ph xmm0, xmm1, 3"));
    rounded(4, &host!("vcvtps2ph xmm0, xmm1, 4"));
}

/// Intel's RCPSS and RSQRTSS, at every step of their tables and around it.
#[test]
fn approximations() {
    let vendor = std::arch::x86_64::__cpuid(0);
    if vendor.ebx != u32::from_le_bytes(*b"Genu") {
        println!("skipped: another vendor's approximations differ");
        return;
    }
    let (rcp, rsqrt) = (host!("rcpss xmm0, xmm1"), host!("rsqrtss xmm0, xmm1"));
    let mut cases: Vec<u64> = (0..1 << 20).map(|i| i << 12).collect();
    cases.extend((1..1 << 20).map(|i| (i << 12) - 1));
    for x in cases {
        let want = (rcp(0, x, env::DEFAULT).0 as u32, rsqrt(0, x, env::DEFAULT).0 as u32);
        assert_eq!((approx::rcp(x as u32), approx::rsqrt(x as u32)), want, "{x:08x}");
    }
}

/// The host-arithmetic shortcut in its own mode, harder: sums and products that are nearly exact.
#[test]
fn shortcut_agrees_with_software() {
    let mut random = Random(25);
    for _ in 0..400_000 {
        let (r, a, b) = (random.next(), random.next(), random.next());
        // Clear a random number of low bits, so that exact results are common; keep exponents close.
        let trim = |x: u64, by: u64| x & !((1u64 << (by % 52)) - 1);
        let exponent = |by: u64| (1023 + (by & 63)) << 52;
        let a = trim(a, r) & !F64::INF | exponent(r >> 8);
        let b = trim(b, r >> 16) & !F64::INF | exponent(r >> 24);
        for op in 0..4 {
            let (mut fast, mut slow) = (Env::new(env::DEFAULT), Env::new(env::DEFAULT));
            let got = match op {
                0 => (arith::add::<F64>(a, b, &mut fast), soft::add::<F64>(a, b, &mut slow)),
                1 => (arith::mul::<F64>(a, b, &mut fast), soft::mul::<F64>(a, b, &mut slow)),
                2 => (arith::div::<F64>(a, b, &mut fast), soft::div::<F64>(a, b, &mut slow)),
                _ => (arith::sqrt::<F64>(a, a, &mut fast), soft::sqrt::<F64>(a, &mut slow)),
            };
            assert_eq!((got.0, fast.raised()), (got.1, slow.raised()), "op {op} {a:x} {b:x}");
        }
    }
}
