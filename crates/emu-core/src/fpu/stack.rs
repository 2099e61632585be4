//! The register stack: access by ST(i), push, pop, and stack faults [SDM-1 8.1.2, 8.5.1.1].

use super::f80::F80;
use super::quick::Num;
use super::round::{C1, IE, SF};
use super::{Fpu, compare};

impl Fpu {
    /// The place of ST(i).
    #[inline]
    pub(super) fn place(&self, i: u8) -> usize {
        usize::from(self.top.wrapping_add(i) & 7)
    }

    /// What place `n` holds.
    #[inline]
    pub(super) fn at(&self, n: usize) -> F80 {
        Num { word: self.word[n & 7], sig: self.sig[n & 7] }.into()
    }

    /// The contents of ST(i), empty or not.
    #[inline]
    pub fn st(&self, i: u8) -> F80 {
        self.at(self.place(i))
    }

    /// True if ST(i) is empty.
    #[inline]
    pub fn is_empty(&self, i: u8) -> bool {
        self.used >> self.place(i) & 1 == 0
    }

    /// Writes ST(i), which is then in use.
    #[inline]
    pub fn set_st(&mut self, i: u8, v: F80) {
        let n = self.place(i);
        self.write(n, v);
        self.used |= 1 << n;
    }

    /// Writes place `n`, and not whether it is in use.
    #[inline]
    pub(super) fn write(&mut self, n: usize, v: F80) {
        let v = Num::from(v);
        (self.word[n & 7], self.sig[n & 7]) = (v.word, v.sig);
    }

    /// Takes ST(0) off the stack.
    #[inline]
    pub fn pop(&mut self) {
        self.used &= !(1 << self.top);
        self.top = (self.top + 1) & 7;
    }

    /// Takes `n` registers off the stack.
    #[inline]
    pub(crate) fn pop_n(&mut self, n: u8) {
        for _ in 0..n {
            self.pop();
        }
    }

    /// Pushes without looking whether there is room.
    #[inline]
    pub(crate) fn push_unchecked(&mut self, v: F80) {
        self.top = self.top.wrapping_sub(1) & 7;
        self.write(usize::from(self.top), v);
        self.used |= 1 << self.top;
    }

    /// True if a push would overflow.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        !self.is_empty(7)
    }

    /// Pushes a value that was computed with the exceptions `flags`. An unmasked IE leaves everything as it was; DE,
    /// even unmasked, does not stop a load.
    #[inline]
    pub fn push(&mut self, v: F80, flags: u16) {
        if self.is_full() {
            if self.overflowed() {
                self.push_unchecked(F80::INDEFINITE);
            }
            return;
        }
        self.raise(flags);
        if self.ctl().masked(flags & IE) {
            self.push_unchecked(v);
        }
    }

    /// Reports stack overflow; true if it is masked and the indefinite is to be pushed.
    #[cold]
    pub(crate) fn overflowed(&mut self) -> bool {
        self.raise(IE | SF | C1);
        self.ctl().masked(IE)
    }

    /// Reports stack underflow; true if it is masked and the indefinite is to be the result.
    #[cold]
    pub(crate) fn underflowed(&mut self) -> bool {
        self.raise(IE | SF);
        self.ctl().masked(IE)
    }

    /// FFREE. C1, which the architecture leaves undefined, is cleared.
    pub fn free(&mut self, i: u8) {
        self.sw &= !C1;
        self.used &= !(1 << self.place(i));
    }

    /// FINCSTP and FDECSTP: the stack turns by `by`, tags stay.
    pub fn rotate(&mut self, by: u8) {
        self.top = self.top.wrapping_add(by) & 7;
        self.sw &= !C1;
    }

    /// FXCH. Empty registers take part as the indefinite if the fault is masked.
    #[inline]
    pub fn exchange(&mut self, i: u8) {
        if self.is_empty(0) || self.is_empty(i) {
            if !self.underflowed() {
                return;
            }
            for n in [0, i] {
                if self.is_empty(n) {
                    self.set_st(n, F80::INDEFINITE);
                }
            }
        } else {
            self.sw &= !C1;
        }
        let (a, b) = (self.st(0), self.st(i));
        self.set_st(0, b);
        self.set_st(i, a);
    }

    /// FXAM
    pub fn examine(&mut self) {
        let codes = compare::examine(self.st(0), self.is_empty(0));
        self.set_codes(super::CONDITION_CODES, codes);
    }
}
