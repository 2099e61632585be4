//! What instructions do with the stack: operands, exceptions, results.

use super::compare::{C0, C2, C3, Compared, compare};
use super::f80::{EXP_MAX, F80};
use super::float::{from_f32, from_f64, quiet_on_load, to_f32, to_f64};
use super::int::{BCD_INDEFINITE, from_int, to_bcd, to_int};
use super::round::{C1, Ctl, DE, IE, Mode, OE, Out, SF, UE, ZE};
use super::{CONDITION_CODES, Fpu, constants::Constant, rem, scale, trans};

/// Exceptions that, unmasked, stop an instruction before it changes a register.
pub(crate) const STOPPING: u16 = IE | DE | ZE;
/// RC in the control word.
const ROUNDING_CONTROL: u16 = 3 << 10;

/// An operand from memory, widened, and [`DE`] if its own format had it as a denormal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operand {
    value: F80,
    pre: u16,
}

impl Operand {
    /// An m32fp operand.
    #[inline]
    pub fn f32(bits: u32) -> Operand {
        let (value, pre) = from_f32(bits);
        Operand { value, pre }
    }

    /// An m64fp operand.
    #[inline]
    pub fn f64(bits: u64) -> Operand {
        let (value, pre) = from_f64(bits);
        Operand { value, pre }
    }

    /// An integer operand.
    #[inline]
    pub fn int(v: i64) -> Operand {
        Operand { value: from_int(v), pre: 0 }
    }
}

/// A result for memory: None if an unmasked exception keeps it back. Write it, then call [`Fpu::stored`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Store<T> {
    /// The bits to write.
    pub value: Option<T>,
    flags: u16,
}

impl<T> Store<T> {
    /// The exceptions of the conversion.
    #[inline]
    pub(crate) fn flags(&self) -> u16 {
        self.flags
    }
}

impl Fpu {
    /// Takes the outcome of an instruction into ST(i); true if the result was stored (and a pop is due).
    #[inline]
    fn finish(&mut self, i: u8, out: Out) -> bool {
        self.raise(out.flags);
        let stored = self.ctl().masked(out.flags & STOPPING);
        if stored {
            self.set_st(i, out.value);
        }
        stored
    }

    /// `ST(dst) = f(ST(a), ST(b))`, then `pops` pops.
    #[inline]
    pub fn binary(&mut self, dst: u8, a: u8, b: u8, pops: u8, f: impl Fn(F80, F80, Ctl) -> Out) {
        let stored = if self.is_empty(a) || self.is_empty(b) {
            self.underflow_into(dst)
        } else {
            let out = f(self.st(a), self.st(b), self.ctl());
            self.finish(dst, out)
        };
        if stored {
            self.pop_n(pops);
        }
    }

    /// `ST(0) = f(ST(0), operand)`.
    #[inline]
    pub fn binary_mem(&mut self, operand: Operand, f: impl Fn(F80, F80, Ctl) -> Out) {
        if self.is_empty(0) {
            self.underflow_into(0);
            return;
        }
        let out = f(self.st(0), operand.value, Ctl { cw: self.cw, pre: operand.pre });
        self.finish(0, out);
    }

    /// `ST(0) = f(ST(0))`.
    #[inline]
    pub fn unary(&mut self, f: impl Fn(F80, Ctl) -> Out) {
        if self.is_empty(0) {
            self.underflow_into(0);
            return;
        }
        let out = f(self.st(0), self.ctl());
        self.finish(0, out);
    }

    #[cold]
    fn underflow_into(&mut self, i: u8) -> bool {
        let masked = self.underflowed();
        if masked {
            self.set_st(i, F80::INDEFINITE);
        }
        masked
    }

    /// FCHS and FABS: `f` on the sign and exponent word, whatever the register holds.
    #[inline]
    pub fn change_sign(&mut self, f: impl Fn(u16) -> u16) {
        if self.is_empty(0) {
            self.underflow_into(0);
            return;
        }
        let v = self.st(0);
        self.finish(0, Out::exact(F80::new(f(v.sign_exp), v.sig)));
    }

    /// FLD m32fp and m64fp.
    #[inline]
    pub fn load(&mut self, operand: Operand) {
        let (value, invalid) = quiet_on_load(operand.value, self.ctl());
        self.push(value, operand.pre | invalid);
    }

    /// FLD m80fp, FILD, FBLD: nothing but the stack can fail.
    #[inline]
    pub fn load_exact(&mut self, value: F80) {
        self.push(value, 0);
    }

    /// FLD1 and its kin.
    pub fn load_constant(&mut self, constant: Constant) {
        // The rounding control does not reach them before the 387 [SDM-3 22.18.9].
        let cw = if self.unit.is_early() { self.cw & !ROUNDING_CONTROL } else { self.cw };
        self.push(constant.value(cw), 0);
    }

    /// FLD ST(i)
    #[inline]
    pub fn load_st(&mut self, i: u8) {
        if !self.is_empty(i) {
            self.push(self.st(i), 0);
        } else if self.underflowed() {
            self.push_unchecked(F80::INDEFINITE);
        }
    }

    /// FST and FSTP ST(i).
    #[inline]
    pub fn store_st(&mut self, i: u8, pops: u8) {
        let stored = if self.is_empty(0) { self.underflow_into(i) } else { self.finish(i, Out::exact(self.st(0))) };
        if stored {
            self.pop_n(pops);
        }
    }

    /// FSTP ST(i) in its D9 D8 encoding: an empty ST(0) is no fault, and is popped without being stored.
    pub fn store_st_no_check(&mut self, i: u8) {
        self.sw &= !C1;
        if !self.is_empty(0) {
            self.set_st(i, self.st(0));
        }
        self.pop();
    }

    /// FCMOVcc with its condition already decided. C1 stays unless the stack fails.
    #[inline]
    pub fn move_if(&mut self, i: u8, condition: bool) {
        if self.is_empty(0) || self.is_empty(i) {
            self.underflow_into(0);
        } else if condition {
            self.set_st(0, self.st(i));
        }
    }

    /// A store to memory that was prepared and written: raises its exceptions, pops if it happened.
    #[inline]
    pub fn stored<T>(&mut self, store: Store<T>, pops: u8) {
        self.finish_store(store.flags, store.value.is_some(), pops);
    }

    /// [`Self::stored`] in parts.
    #[inline]
    pub(crate) fn finish_store(&mut self, flags: u16, stored: bool, pops: u8) {
        self.raise(flags);
        if stored {
            self.pop_n(pops);
        }
    }

    #[inline]
    fn prepare<T>(&self, stopping: u16, indefinite: T, f: impl Fn(F80, Ctl) -> (T, u16)) -> Store<T> {
        let (value, flags) = if self.is_empty(0) { (indefinite, IE | SF) } else { f(self.st(0), self.ctl()) };
        let value = self.ctl().masked(flags & stopping).then_some(value);
        Store { value, flags }
    }

    /// FST m32fp
    #[inline]
    pub fn prepare_f32(&self) -> Store<u32> {
        self.prepare(IE | OE | UE, 0xffc0_0000, to_f32)
    }

    /// FST m64fp
    #[inline]
    pub fn prepare_f64(&self) -> Store<u64> {
        self.prepare(IE | OE | UE, 0xfff8 << 48, to_f64)
    }

    /// FSTP m80fp
    #[inline]
    pub fn prepare_f80(&self) -> Store<F80> {
        self.prepare(IE, F80::INDEFINITE, |v, _| (v, 0))
    }

    /// FIST of `bits` bits; FISTTP if `truncate`.
    #[inline]
    pub fn prepare_int(&self, bits: u32, truncate: bool) -> Store<i64> {
        let mode = if truncate { Mode::Zero } else { self.ctl().mode() };
        self.prepare(IE, i64::MIN >> (64 - bits), |v, _| to_int(v, bits, mode))
    }

    /// FBSTP
    pub fn prepare_bcd(&self) -> Store<[u8; 10]> {
        self.prepare(IE, BCD_INDEFINITE, |v, ctl| to_bcd(v, ctl.mode()))
    }

    /// Compares ST(0) with ST(i); an empty register is unordered and fails the stack.
    #[inline]
    fn compare_st(&self, i: u8, quiet: bool) -> Compared {
        if self.is_empty(0) || self.is_empty(i) {
            return Compared { order: None, flags: IE | SF };
        }
        compare(self.st(0), self.st(i), quiet, self.ctl())
    }

    /// The condition codes are set even if an unmasked exception then keeps back the pops.
    #[inline]
    fn settle_comparison(&mut self, out: Compared, pops: u8) {
        self.raise(out.flags);
        self.set_codes(C0 | C2 | C3, out.condition_codes());
        if self.ctl().masked(out.flags) {
            self.pop_n(pops);
        }
    }

    /// FCOM, FUCOM and their popping forms.
    #[inline]
    pub fn compare(&mut self, i: u8, quiet: bool, pops: u8) {
        let out = self.compare_st(i, quiet);
        self.settle_comparison(out, pops);
    }

    /// FCOM m32fp, m64fp and FICOM; FTST with +0.
    #[inline]
    pub fn compare_mem(&mut self, operand: Operand, pops: u8) {
        let out = if self.is_empty(0) {
            Compared { order: None, flags: IE | SF }
        } else {
            compare(self.st(0), operand.value, false, Ctl { cw: self.cw, pre: operand.pre })
        };
        self.settle_comparison(out, pops);
    }

    /// FCOMI and FUCOMI: the new ZF, PF and CF. C1 stays unless the stack fails.
    #[inline]
    pub fn compare_flags(&mut self, i: u8, quiet: bool, pops: u8) -> u32 {
        let out = self.compare_st(i, quiet);
        let c1 = if out.flags & SF != 0 { 0 } else { self.sw & C1 };
        self.raise(out.flags | c1);
        if self.ctl().masked(out.flags) {
            self.pop_n(pops);
        }
        out.eflags()
    }

    /// FPREM and FPREM1.
    pub fn remainder(&mut self, nearest: bool) {
        self.set_codes(C2, 0);
        if self.is_empty(0) || self.is_empty(1) {
            self.underflow_into(0);
            return;
        }
        let (a, b) = (self.st(0), self.st(1));
        let out = rem::remainder(a, b, nearest, self.ctl());
        // Without a quotient (NaNs and invalid operands) only C2 changes.
        let nan = |v: F80| v.exp() == EXP_MAX && !v.is_infinity();
        let quotient = out.flags & IE == 0 && !nan(a) && !nan(b);
        if self.finish(0, out) && quotient {
            self.set_codes(CONDITION_CODES, out.flags);
        }
    }

    /// FSCALE
    pub fn scale(&mut self) {
        self.binary(0, 0, 1, 0, scale::scale);
    }

    /// FXTRACT: the exponent replaces ST(0), the significand is pushed.
    pub fn extract(&mut self) {
        if self.is_empty(0) || self.is_full() {
            self.fault_on_replace_and_push();
            return;
        }
        let (exponent, significand) = scale::extract(self.st(0), self.ctl());
        if self.finish(0, Out::with(exponent, significand.flags)) {
            self.push_unchecked(significand.value);
        }
    }

    /// A stack fault of an instruction that replaces ST(0) and pushes.
    fn fault_on_replace_and_push(&mut self) {
        let masked = if self.is_empty(0) { self.underflowed() } else { self.overflowed() };
        if masked {
            self.set_st(0, F80::INDEFINITE);
            self.push_unchecked(F80::INDEFINITE);
        }
    }

    /// FSIN and FCOS: C2 tells of an argument out of range.
    pub fn trigonometric(&mut self, f: impl Fn(F80, Ctl) -> Out) {
        self.set_codes(C2, 0);
        if self.is_empty(0) {
            self.underflow_into(0);
            return;
        }
        let out = f(self.st(0), self.ctl());
        self.set_codes(C2, out.flags);
        self.finish(0, out);
    }

    /// FPTAN (which pushes 1) and FSINCOS (which pushes the cosine).
    fn two_results(&mut self, first: Out, second: Out) {
        self.set_codes(C2, first.flags);
        let stored = self.finish(0, Out::with(first.value, first.flags | second.flags));
        if stored && first.flags & C2 == 0 {
            self.push_unchecked(second.value);
        }
    }

    /// FPTAN
    pub fn tangent(&mut self) {
        self.set_codes(C2, 0);
        if self.is_empty(0) || self.is_full() {
            self.fault_on_replace_and_push();
            return;
        }
        let out = trans::tan(self.st(0), self.ctl());
        let pushed = if out.flags & IE != 0 || self.st(0).exp() == 0x7fff { out.value } else { F80::ONE };
        self.two_results(out, Out::exact(pushed));
    }

    /// FSINCOS
    pub fn sine_cosine(&mut self) {
        self.set_codes(C2, 0);
        if self.is_empty(0) || self.is_full() {
            self.fault_on_replace_and_push();
            return;
        }
        let (sine, cosine) = trans::sin_cos(self.st(0), self.ctl());
        self.two_results(sine, cosine);
    }
}
