//! What handlers leave to be done later.
//!
//! The decoder follows the stack through a *region*: the x87 instructions of a block, with whatever stands between them. So
//! their ops name registers by place, and an op tells in 64 bits ([`fields`]) where TOP is behind it, which registers are in use
//! then, and which instruction it is. A handler keeps these as they are; who wants to know puts them together.
//!
//! A region begins with an op that looks whether everything is as the decoder took it to be: where ST(0) is, which registers
//! are in use and which empty, that the unit may be used and no exception waits, and how results are rounded. If ST(0) is at
//! another place, all registers are moved, and `turn` tells by how far places are off from physical numbers. If something
//! else differs, the region's handlers find that there is nothing they may do on their own ([`Speed`]).
//!
//! *Settled*, nothing is left to be done, and places are physical numbers. So is the unit outside of a chain, and for every
//! instruction that runs from its decoded form.

use super::last::{self, Noted};
use super::round::{C1, PE};
use super::{ES, Fpu};

/// What the handlers of a region may do without looking at anything else; each may do what those before it may.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
#[repr(u8)]
pub(crate) enum Speed {
    /// Nothing.
    #[default]
    None,
    /// Move numbers, and compare them.
    Moves,
    /// Store numbers rounded to nearest, inexact results being masked.
    Rounds,
    /// Compute, with a precision of 53 bits.
    Double,
    /// Compute, with one of 64 bits, and not with one of 53.
    Extended,
}

/// What is left to be done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lazy {
    /// [`fields`] of the op that ran last; 0 if they have been heeded.
    pending: u64,
    /// Not 0 if results were inexact: PE is to be set.
    inexact: u64,
    /// Where the region's block begins, and its code segment.
    base: u64,
    fcs: u16,
    /// C1 of the last op, or [`IN_STATUS`].
    c1: u8,
    /// A register's physical number is its place and this.
    turn: u8,
    speed: Speed,
    /// What the control word allows. Follows from it.
    control: Speed,
}

/// C1 is where it belongs.
const IN_STATUS: u8 = 2;

impl Default for Lazy {
    fn default() -> Lazy {
        let speed = Speed::None;
        Lazy { pending: 0, inexact: 0, base: 0, fcs: 0, c1: IN_STATUS, turn: 0, speed, control: speed }
    }
}

impl Lazy {
    /// Nothing is left to be done under control word `cw`.
    pub(super) fn with_control(cw: u16) -> Lazy {
        Lazy { control: Speed::under(cw), ..Lazy::default() }
    }
}

impl Speed {
    /// What control word `cw` allows.
    fn under(cw: u16) -> Speed {
        const PM: u16 = 0x20;
        const ROUNDING: u16 = 0xC00;
        match cw >> 8 & 3 {
            _ if cw & (PM | ROUNDING) != PM => Speed::Moves,
            3 => Speed::Extended,
            2 => Speed::Double,
            _ => Speed::Rounds,
        }
    }
}

/// What an op tells of itself. Of the registers that the region has touched, those in `set` are in use behind it; `info` is what
/// [`last::info`] made. The lowest 16 bits are the op's own.
pub(crate) fn fields(touched: u8, set: u8, info: u32) -> u64 {
    u64::from(info) << 32 | u64::from(set) << 24 | u64::from(!touched) << 16
}

/// The instruction's information in `fields`.
#[inline(always)]
pub(crate) fn info_of(fields: u64) -> u32 {
    (fields >> 32) as u32
}

/// `used`, as it is behind the op of `fields`.
#[inline(always)]
fn used_behind(fields: u64, used: u8) -> u8 {
    used & (fields >> 16) as u8 | (fields >> 24) as u8
}

/// `registers` moved up by `by` places.
fn turned<T: Copy>(registers: &[T; 8], by: u8) -> [T; 8] {
    core::array::from_fn(|i| registers[i.wrapping_sub(by.into()) & 7])
}

impl Fpu {
    /// Whether nothing is left to be done.
    #[inline]
    pub(super) fn is_settled(&self) -> bool {
        let Lazy { pending, inexact, c1, turn, .. } = self.lazy;
        pending | inexact | u64::from(c1 ^ IN_STATUS) | u64::from(turn) == 0
    }

    /// Does what is left to be done.
    #[inline]
    pub(crate) fn settle(&mut self) {
        if !self.is_settled() {
            self.settle_all();
        }
    }

    #[inline(never)]
    fn settle_all(&mut self) {
        self.catch_up();
        self.turn_to(self.top.wrapping_add(self.lazy.turn));
        self.lazy.speed = Speed::None;
    }

    /// Does all but put registers back to their places.
    #[inline]
    pub(crate) fn catch_up(&mut self) {
        self.heed_pending();
        self.sw = self.present_status();
        (self.lazy.c1, self.lazy.inexact) = (IN_STATUS, 0);
    }

    #[inline(always)]
    fn heed_pending(&mut self) {
        let Lazy { pending, base, fcs, .. } = self.lazy;
        if pending != 0 {
            let info = info_of(pending);
            (self.top, self.used) = (last::top_behind(info), used_behind(pending, self.used));
            self.noted = Noted::new(base, info);
            self.last.fcs = fcs;
            self.lazy.pending = 0;
        }
    }

    /// The status word without TOP, as it would be settled.
    #[inline]
    pub(super) fn present_status(&self) -> u16 {
        let pe = if self.lazy.inexact == 0 { 0 } else { PE };
        let c1 = match self.lazy.c1 {
            IN_STATUS => self.sw & C1,
            c1 => u16::from(c1) * C1,
        };
        self.sw & !C1 | c1 | pe
    }

    /// TOP, as it would be settled.
    #[inline]
    pub(super) fn present_top(&self) -> u8 {
        self.present_place().wrapping_add(self.lazy.turn) & 7
    }

    /// The place of ST(0).
    #[inline]
    pub(crate) fn present_place(&self) -> u8 {
        if self.lazy.pending == 0 { self.top } else { last::top_behind(info_of(self.lazy.pending)) }
    }

    /// Moves all registers so that ST(0) is at place `top`. Nothing may be pending.
    pub(crate) fn turn_to(&mut self, top: u8) {
        let top = top & 7;
        let by = top.wrapping_sub(self.top) & 7;
        (self.sig, self.word) = (turned(&self.sig, by), turned(&self.word, by));
        self.used = self.used.rotate_left(by.into());
        self.lazy.turn = self.lazy.turn.wrapping_sub(by) & 7;
        self.top = top;
    }

    /// What is left to be done, and the registers in use without that and with it.
    #[inline]
    pub(crate) fn to_remember(&self) -> (u64, u8, u8) {
        let pending = self.lazy.pending;
        (pending, self.used, used_behind(pending, self.used))
    }

    /// Whether handlers may do anything.
    #[inline]
    pub(crate) fn is_quick(&self) -> bool {
        self.lazy.speed != Speed::None
    }

    /// Whether what is left to be done is `pending`, and registers in use without that are `used`. If a region began so before,
    /// and all was as the decoder took it to be, all is so again: what is pending tells where ST(0) is and what is in use; it
    /// was done by a handler that found the unit usable and no exception waiting; and whatever changes that settles the unit.
    #[inline(always)]
    pub(crate) fn is_again(&self, pending: u64, used: u8) -> bool {
        self.lazy.pending == pending && self.used == used
    }

    /// An op has begun a region, as the one that remembered [`Self::is_again`], and done its first instruction.
    #[inline(always)]
    pub(crate) fn began_again(&mut self, used: u8, base: u64, fcs: u16) {
        self.used = used;
        (self.lazy.base, self.lazy.fcs) = (base, fcs);
    }

    /// Begins a region in the block at `base`, code segment `fcs`. `false` if ST(0) is not at place `top`: have it
    /// [moved](Self::turn_to), and begin again. Of the places in `mask` exactly those in `used` are to be in use; `usable` is
    /// whether CR0 allows the unit's use.
    #[inline(always)]
    pub(crate) fn begin_region(&mut self, top: u8, used: u8, mask: u8, usable: bool, base: u64, fcs: u16) -> bool {
        self.heed_pending();
        (self.lazy.base, self.lazy.fcs) = (base, fcs);
        if self.top != top {
            return false;
        }
        let fits = self.used & mask == used;
        self.lazy.speed = if usable && fits { self.speed() } else { Speed::None };
        true
    }

    /// What handlers may do, as far as the control and status words are concerned.
    #[inline(always)]
    fn speed(&self) -> Speed {
        if self.sw & ES == 0 { self.lazy.control } else { Speed::None }
    }

    /// Replaces the control word.
    #[inline]
    pub(super) fn put_control(&mut self, cw: u16) {
        self.cw = self.kept_control(cw);
        self.lazy.control = Speed::under(self.cw);
    }

    /// The control word has changed in a region.
    #[inline]
    pub(crate) fn recheck_control(&mut self) {
        if self.lazy.speed != Speed::None {
            self.lazy.speed = self.speed();
        }
    }

    /// Whether an op that was done in full has left everything as the decoder takes it to be; if not, the rest of the region
    /// is done so, too.
    #[inline]
    pub(crate) fn recheck(&mut self, fields: u64) {
        let same = self.top == last::top_behind(info_of(fields)) && self.used == used_behind(fields, self.used);
        if !same || self.sw & ES != 0 {
            self.lazy.speed = Speed::None;
        }
    }

    /// Whether a handler may do what takes `speed`.
    #[inline(always)]
    pub(crate) fn allows(&self, speed: Speed) -> bool {
        self.lazy.speed as u8 >= speed as u8
    }

    /// Whether handlers compute with a precision of 53 bits if `DOUBLE`, else of 64.
    #[inline(always)]
    pub(crate) fn computes<const DOUBLE: bool>(&self) -> bool {
        self.lazy.speed as u8 == if DOUBLE { Speed::Double } else { Speed::Extended } as u8
    }

    /// Keeps what an op tells of itself.
    #[inline(always)]
    pub(crate) fn passed(&mut self, fields: u64) {
        self.lazy.pending = fields;
    }

    /// Keeps what an op tells of itself that sets C1 to 0.
    #[inline(always)]
    pub(crate) fn passed_exactly(&mut self, fields: u64) {
        self.lazy.pending = fields;
        self.lazy.c1 = 0;
    }

    /// The same, and what rounding lost before.
    #[inline(always)]
    pub(crate) fn passed_after(&mut self, fields: u64, inexact: u64) {
        self.passed_exactly(fields);
        self.lazy.inexact |= inexact;
    }

    /// Keeps what an op tells of itself, with what rounding lost and whether it was up.
    #[inline(always)]
    pub(crate) fn passed_rounding(&mut self, fields: u64, inexact: u64, up: bool) {
        self.lazy.pending = fields;
        self.lazy.inexact |= inexact;
        self.lazy.c1 = up.into();
    }
}
