//! Floating-point instructions on whole XMM registers: which lanes an operation reads and writes.
//!
//! [`Operation`]s work on one lane; [`Packed`] and [`Scalar`] lift them to vectors. Conversions and horizontal
//! operations have shapes of their own.

use std::cmp::Ordering;
use std::marker::PhantomData;

use super::super::lane::{self, Lane};
use super::env::{Env, Rounding};
use super::format::{F32, F64, Format};
use super::{arith, compare, convert, fast};

/// An XMM register in memory order.
pub type Xmm = [u8; 16];

/// One lane's result from the destination's lane `a`, the source's lane `b` and the immediate.
pub trait Operation {
    /// The result bits; exceptions go into `env`.
    fn lane<F: Format>(a: u64, b: u64, imm: u8, env: &mut Env) -> u64;

    /// The host's result, and whether it is right in the default mode with PE set. The answer for operations that
    /// the host does not do is "no".
    #[inline(always)]
    fn host<F: Format>(_a: u64, _b: u64, _imm: u8) -> (u64, bool) {
        (0, false)
    }
}

macro_rules! operations {
    ($($name:ident $(($host:ident $($with:ident)?))? = |$a:ident, $b:ident, $imm:ident, $env:ident| $e:expr;)*) => {$(
        #[doc = concat!("`", stringify!($e), "` of each lane.")]
        #[derive(Debug)]
        pub struct $name;
        impl Operation for $name {
            #[inline(always)]
            fn lane<F: Format>($a: u64, $b: u64, $imm: u8, $env: &mut Env) -> u64 {
                $e
            }
            $(
                #[inline(always)]
                fn host<F: Format>(a: u64, b: u64, _imm: u8) -> (u64, bool) {
                    fast::$host::<F>(a, b $(, operations!($with _imm))?)
                }
            )?
        }
    )*};
    (imm $imm:ident) => {
        $imm
    };
}

operations! {
    Add(try_add) = |a, b, _imm, env| arith::add::<F>(a, b, env);
    Sub(try_sub) = |a, b, _imm, env| arith::sub::<F>(a, b, env);
    Mul(try_mul) = |a, b, _imm, env| arith::mul::<F>(a, b, env);
    Div(try_div) = |a, b, _imm, env| arith::div::<F>(a, b, env);
    Sqrt(try_sqrt) = |a, b, _imm, env| arith::sqrt::<F>(a, b, env);
    Min(try_min) = |a, b, _imm, env| compare::min::<F>(a, b, env);
    Max(try_max) = |a, b, _imm, env| compare::max::<F>(a, b, env);
    Compare(try_compare imm) = |a, b, imm, env| compare::predicate::<F>(a, b, imm & 7, env);
    CompareVex(try_compare_vex imm) = |a, b, imm, env| compare::predicate::<F>(a, b, imm & 31, env);
    Round(try_round imm) = |_a, b, imm, env| convert::round_integral::<F>(b, imm, env);
    Rcp = |_a, b, _imm, _env| super::super::approx::rcp(b as u32).into();
    Rsqrt = |_a, b, _imm, _env| super::super::approx::rsqrt(b as u32).into();
}

/// A vector operation under MXCSR.
pub trait Vector {
    /// Bytes the source has in memory.
    const SOURCE: usize;
    /// `a` is the destination's old value, `b` the source, in its low bytes if it is shorter than 16.
    fn apply(a: Xmm, b: Xmm, imm: u8, env: &mut Env) -> Xmm;
    /// The lower half, and the upper one if `wide`, else zeros: as one instruction on a YMM register.
    #[inline]
    fn both(a: [Xmm; 2], b: [Xmm; 2], wide: bool, imm: u8, env: &mut Env) -> [Xmm; 2] {
        let low = Self::apply(a[0], b[0], imm, env);
        [low, if wide { Self::apply(a[1], b[1], imm, env) } else { [0; 16] }]
    }
}

/// A vector operation that the host can answer in the default mode with PE set.
pub trait Quick: Vector {
    /// The host's result, and whether it is right (and raises nothing but PE).
    fn quick(a: Xmm, b: Xmm, imm: u8) -> (Xmm, bool);
}

/// `O` on every lane of format `F`.
#[derive(Debug)]
pub struct Packed<F, O>(PhantomData<(F, O)>);

impl<F: Format, O: Operation> Vector for Packed<F, O> {
    const SOURCE: usize = 16;
    #[inline]
    fn apply(a: Xmm, b: Xmm, imm: u8, env: &mut Env) -> Xmm {
        if env.is_default() && env.inexact_known() {
            let (r, right) = Self::quick(a, b, imm);
            if right {
                return r;
            }
        }
        build::<F>(|i| O::lane::<F>(F::get(&a, i), F::get(&b, i), imm, env))
    }
}

impl<F: Format, O: Operation> Quick for Packed<F, O> {
    #[inline(always)]
    fn quick(a: Xmm, b: Xmm, imm: u8) -> (Xmm, bool) {
        let mut right = true;
        let r = build::<F>(|i| {
            let (r, ok) = O::host::<F>(F::get(&a, i), F::get(&b, i), imm);
            right &= ok;
            r
        });
        (r, right)
    }
}

/// `O` on lane 0; the other lanes are the destination's.
#[derive(Debug)]
pub struct Scalar<F, O>(PhantomData<(F, O)>);

impl<F: Format, O: Operation> Vector for Scalar<F, O> {
    const SOURCE: usize = F::WIDTH as usize / 8;
    #[inline]
    fn apply(mut a: Xmm, b: Xmm, imm: u8, env: &mut Env) -> Xmm {
        F::put(O::lane::<F>(F::get(&a, 0), F::get(&b, 0), imm, env), &mut a, 0);
        a
    }
}

impl<F: Format, O: Operation> Quick for Scalar<F, O> {
    #[inline(always)]
    fn quick(mut a: Xmm, b: Xmm, imm: u8) -> (Xmm, bool) {
        let (r, right) = O::host::<F>(F::get(&a, 0), F::get(&b, 0), imm);
        F::put(r, &mut a, 0);
        (a, right)
    }
}

const fn lanes<F: Format>() -> usize {
    128 / F::WIDTH as usize
}

/// A vector whose lane `i` of format `F` is `f(i)`.
#[inline(always)]
fn build<F: Format>(mut f: impl FnMut(usize) -> u64) -> Xmm {
    let mut out = [0; 16];
    for i in 0..lanes::<F>() {
        F::put(f(i), &mut out, i);
    }
    out
}

macro_rules! vectors {
    ($($(#[$doc:meta])* $name:ident$(<$f:ident>)?($source:expr) = |$a:ident, $b:ident, $imm:ident, $env:ident| $e:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name$(<$f>(PhantomData<$f>))?;
        impl$(<$f: Format>)? Vector for $name$(<$f>)? {
            const SOURCE: usize = $source;
            #[inline]
            fn apply($a: Xmm, $b: Xmm, $imm: u8, $env: &mut Env) -> Xmm {
                $e
            }
        }
    )*};
}

vectors! {
    /// Sums of neighbouring lanes, of `a` then of `b`.
    HorizontalAdd<F>(16) = |a, b, _imm, env| build::<F>(|i| {
        let (x, y) = neighbours::<F>(&a, &b, i);
        arith::add::<F>(x, y, env)
    });
    /// Differences of neighbouring lanes, of `a` then of `b`.
    HorizontalSub<F>(16) = |a, b, _imm, env| build::<F>(|i| {
        let (x, y) = neighbours::<F>(&a, &b, i);
        arith::sub::<F>(x, y, env)
    });
    /// Differences in even lanes, sums in odd lanes.
    AddSub<F>(16) = |a, b, _imm, env| build::<F>(|i| {
        let (x, y) = (F::get(&a, i), F::get(&b, i));
        if i & 1 == 0 { arith::sub::<F>(x, y, env) } else { arith::add::<F>(x, y, env) }
    });
    /// CVTPS2PD: the low two singles.
    SinglesToDoubles(8) = |_a, b, _imm, env| build::<F64>(|i| convert::widen(F32::get(&b, i), env));
    /// CVTPD2PS: two singles, the upper half zero.
    DoublesToSingles(16) = |_a, b, _imm, env| {
        build::<F32>(|i| if i < 2 { convert::narrow(F64::get(&b, i), env) } else { 0 })
    };
    /// CVTSS2SD.
    SingleToDouble(4) = |a, b, _imm, env| {
        build::<F64>(|i| if i == 0 { convert::widen(F32::get(&b, 0), env) } else { F64::get(&a, i) })
    };
    /// CVTSD2SS.
    DoubleToSingle(8) = |a, b, _imm, env| {
        build::<F32>(|i| if i == 0 { convert::narrow(F64::get(&b, 0), env) } else { F32::get(&a, i) })
    };
    /// CVTDQ2PS.
    IntegersToSingles(16) = |_a, b, _imm, env| {
        build::<F32>(|i| convert::from_int::<F32>(i32::get(&b, i).into(), env))
    };
    /// CVTDQ2PD: the low two integers.
    IntegersToDoubles(8) = |_a, b, _imm, env| {
        build::<F64>(|i| convert::from_int::<F64>(i32::get(&b, i).into(), env))
    };
    /// CVTPI2PS: two singles, the upper half kept.
    PairToSingles(8) = |a, b, _imm, env| {
        build::<F32>(|i| if i < 2 { convert::from_int::<F32>(i32::get(&b, i).into(), env) } else { F32::get(&a, i) })
    };
    /// CVTPS2DQ.
    SinglesToIntegers(16) = |_a, b, _imm, env| to_integers::<F32>(b, 4, env.rounding(), env);
    /// CVTTPS2DQ.
    SinglesTruncated(16) = |_a, b, _imm, env| to_integers::<F32>(b, 4, Rounding::Zero, env);
    /// CVTPD2DQ: two integers, the upper half zero.
    DoublesToIntegers(16) = |_a, b, _imm, env| to_integers::<F64>(b, 2, env.rounding(), env);
    /// CVTTPD2DQ: two integers, the upper half zero.
    DoublesTruncated(16) = |_a, b, _imm, env| to_integers::<F64>(b, 2, Rounding::Zero, env);
    /// CVTPS2PI: the low two singles.
    SinglesToPair(8) = |_a, b, _imm, env| to_integers::<F32>(b, 2, env.rounding(), env);
    /// CVTTPS2PI: the low two singles.
    SinglesTruncatedToPair(8) = |_a, b, _imm, env| to_integers::<F32>(b, 2, Rounding::Zero, env);
}

impl Quick for SingleToDouble {
    #[inline(always)]
    fn quick(mut a: Xmm, b: Xmm, _imm: u8) -> (Xmm, bool) {
        let (r, right) = fast::try_widen(F32::get(&b, 0));
        F64::put(r, &mut a, 0);
        (a, right)
    }
}

impl Quick for SinglesToDoubles {
    #[inline(always)]
    fn quick(_a: Xmm, b: Xmm, _imm: u8) -> (Xmm, bool) {
        let (low, high) = (fast::try_widen(F32::get(&b, 0)), fast::try_widen(F32::get(&b, 1)));
        (build::<F64>(|i| if i == 0 { low.0 } else { high.0 }), low.1 & high.1)
    }
}

impl Quick for DoubleToSingle {
    #[inline(always)]
    fn quick(mut a: Xmm, b: Xmm, _imm: u8) -> (Xmm, bool) {
        let (r, right) = fast::try_narrow(F64::get(&b, 0));
        F32::put(r, &mut a, 0);
        (a, right)
    }
}

impl Quick for DoublesToSingles {
    #[inline(always)]
    fn quick(_a: Xmm, b: Xmm, _imm: u8) -> (Xmm, bool) {
        let (low, high) = (fast::try_narrow(F64::get(&b, 0)), fast::try_narrow(F64::get(&b, 1)));
        ((u128::from(low.0) | u128::from(high.0) << 32).to_le_bytes(), low.1 & high.1)
    }
}

impl Quick for SinglesTruncated {
    #[inline(always)]
    fn quick(_a: Xmm, b: Xmm, _imm: u8) -> (Xmm, bool) {
        let mut right = true;
        let r = lane::build(|i| {
            let (v, ok) = fast::try_truncate::<F32>(F32::get(&b, i), 32);
            right &= ok;
            v as i32
        });
        (r, right)
    }
}

impl Quick for SinglesToIntegers {
    #[inline(always)]
    fn quick(_a: Xmm, b: Xmm, _imm: u8) -> (Xmm, bool) {
        let mut right = true;
        let r = lane::build(|i| {
            let (v, ok) = fast::try_to_int::<F32>(F32::get(&b, i), 32);
            right &= ok;
            v as i32
        });
        (r, right)
    }
}

impl Quick for IntegersToDoubles {
    #[inline(always)]
    fn quick(_a: Xmm, b: Xmm, _imm: u8) -> (Xmm, bool) {
        (build::<F64>(|i| F64::host_from_int(i32::get(&b, i).into())), true)
    }
}

impl Quick for IntegersToSingles {
    #[inline(always)]
    fn quick(_a: Xmm, b: Xmm, _imm: u8) -> (Xmm, bool) {
        (build::<F32>(|i| F32::host_from_int(i32::get(&b, i).into())), true)
    }
}

/// The `count` low lanes as 32-bit integers, zero above them.
#[inline(always)]
fn to_integers<F: Format>(b: Xmm, count: usize, mode: Rounding, env: &mut Env) -> Xmm {
    lane::build(|i| if i < count { convert::to_int::<F>(F::get(&b, i), 32, mode, env) as i32 } else { 0 })
}

/// Operands of lane `i` of a horizontal operation.
#[inline(always)]
fn neighbours<F: Format>(a: &Xmm, b: &Xmm, i: usize) -> (u64, u64) {
    let half = lanes::<F>() / 2;
    let v = if i < half { a } else { b };
    let at = i % half * 2;
    (F::get(v, at), F::get(v, at + 1))
}

/// Products, then sums of neighbours, then of pairs, to the lanes in `imm` 3:0 [SDM-2A DPPS].
#[derive(Debug)]
pub struct DotProduct<F>(PhantomData<F>);

impl<F: Format> Vector for DotProduct<F> {
    const SOURCE: usize = 16;
    fn apply(a: Xmm, b: Xmm, imm: u8, env: &mut Env) -> Xmm {
        Self::both([a, [0; 16]], [b, [0; 16]], false, imm, env)[0]
    }

    /// Step by step in both halves: an unmasked exception of one step keeps the next from being computed. Every lane sums
    /// for itself, its partner's term first but for the last step: this shows in which of two NaNs a lane gets, and is what
    /// Intel's silicon does.
    fn both(a: [Xmm; 2], b: [Xmm; 2], wide: bool, imm: u8, env: &mut Env) -> [Xmm; 2] {
        let (halves, count) = (1 + usize::from(wide), lanes::<F>());
        let mut terms = [[0; 4]; 2];
        for (h, i) in (0..halves).flat_map(|h| (0..count).map(move |i| (h, i))) {
            if imm >> (4 + i) & 1 != 0 {
                terms[h][i] = arith::mul::<F>(F::get(&a[h], i), F::get(&b[h], i), env);
            }
        }
        let mut distance = 1;
        while distance < count && !env.finish().1 {
            env.settle();
            for terms in &mut terms[..halves] {
                *terms = sums::<F>(*terms, distance, env);
            }
            distance *= 2;
        }
        let chosen = |terms: [u64; 4]| build::<F>(|i| if imm >> i & 1 != 0 { terms[i] } else { 0 });
        [chosen(terms[0]), if wide { chosen(terms[1]) } else { [0; 16] }]
    }
}

/// The sum of each term and that at `distance`.
fn sums<F: Format>(terms: [u64; 4], distance: usize, env: &mut Env) -> [u64; 4] {
    let last = 2 * distance == lanes::<F>();
    let mut sums = terms;
    for (i, sum) in sums[..lanes::<F>()].iter_mut().enumerate() {
        let (own, other) = (terms[i], terms[i ^ distance]);
        let (x, y) = if last { (own, other) } else { (other, own) };
        *sum = arith::add::<F>(x, y, env);
    }
    sums
}

/// The scalar comparison of COMISS (`signals`) and UCOMISS.
#[inline]
pub fn relate_low<F: Format>(a: Xmm, b: Xmm, signals: bool, env: &mut Env) -> Option<Ordering> {
    compare::relate::<F>(F::get(&a, 0), F::get(&b, 0), signals, env)
}
