//! Ops: what a block is made of.
//!
//! An op is 16 bytes: the handler that runs it and 8 bytes of operands. Ops of a block stand one after the other in an
//! arena; a handler ends by calling its successor's handler in tail position, so that optimised builds run a block
//! as a chain of jumps. Some ops are followed by a data slot of the same size.
//!
//! This module may use `unsafe`: an [`OpRef`] is a pointer into the arena. Its invariant: it is made only by the arena or
//! by stepping inside of one block; the arena's chunks never move, and are only freed by [`super::Engine`] when no chain
//! runs (between blocks, by the dispatcher), which then also drops every place that holds an `OpRef`. All of it happens on
//! the machine's one thread. Data slots are only read as such by the handler whose op stands before them.
#![allow(unsafe_code, reason = "ops refer to their successors by pointer; see the module text")]

use core::cell::UnsafeCell;

use crate::System;
use crate::mem::LinearPage;

/// Runs one op, and with it the rest of the chain.
pub(crate) type Handler = fn(&mut System, OpRef);

/// What a register field of an op stays below: the length of `Cpu::regs`, so that no handler tests it.
pub(super) const REGISTERS: usize = 32;

/// One op.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub(crate) struct Op {
    pub(crate) run: Handler,
    pub(crate) a: u8,
    pub(crate) b: u8,
    pub(crate) c: u8,
    pub(crate) d: u8,
    pub(crate) imm: u32,
}

/// An edge to another block: the op that is next when it is taken, and what to add to the instruction pointer.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub(crate) struct Edge {
    pub(crate) to: OpRef,
    pub(crate) delta: i32,
    /// What is to be entered on the way, as the target is the op behind its block's entry.
    pub(crate) enters: Enters,
}

/// A block that is entered without its entry op: its number, and how many instructions it has, which is 0 for none.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Enters(u32);

impl Enters {
    pub(crate) const NOTHING: Enters = Enters(0);

    /// Block `index` of `n` instructions; there are fewer than 2^24 blocks of fewer than 256 instructions.
    pub(super) fn block(index: u32, n: usize) -> Enters {
        Enters(index << 8 | n as u32 & 0xFF)
    }

    /// Its instructions.
    #[inline(always)]
    pub(crate) fn instructions(self) -> i64 {
        (self.0 & 0xFF).into()
    }

    /// Its number.
    #[inline(always)]
    pub(crate) fn index(self) -> u32 {
        self.0 >> 8
    }
}

/// 64 bits of operand behind an op.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub(crate) struct Wide {
    pub(crate) value: u64,
}

/// How an op that begins an x87 region found the unit last (see [`crate::fpu::lazy`]).
#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub(crate) struct Seen {
    /// What was left to be done.
    pub(crate) pending: u64,
    /// Registers in use without that, and with it.
    pub(crate) used: u8,
    pub(crate) after: u8,
}

impl Seen {
    /// Nothing is remembered. No op leaves that: registers can't be in use that its region has not touched.
    pub(crate) const NOTHING: Seen = Seen { pending: u64::MAX, used: 0, after: 0 };
}

/// Where a jump led last that can't be linked for good: the target's key (see [`super::context::Contexts::key`]), and the
/// op that is next there.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub(crate) struct Landing {
    pub(crate) key: u64,
    pub(crate) to: OpRef,
}

/// The page that a step along a chain came to last (see [`crate::exec::hot`]'s `follow`), and how often it was another one.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub(crate) struct Guess {
    pub(crate) page: LinearPage,
    pub(crate) strays: u32,
}

/// What a slot of the arena holds.
#[repr(C)]
pub(crate) union Slot {
    pub(crate) op: Op,
    pub(crate) edge: Edge,
    pub(crate) landing: Landing,
    pub(crate) wide: Wide,
    pub(crate) seen: Seen,
    pub(crate) guess: Guess,
    #[cfg(all(target_endian = "little", target_pointer_width = "64"))]
    halves: [u64; 2],
}

/// A place in the arena.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct OpRef(*const UnsafeCell<Slot>);

// SAFETY: an `OpRef` is only used by the thread that owns the machine (module text).
unsafe impl Send for OpRef {}

impl OpRef {
    #[inline(always)]
    pub(crate) fn run(self) -> Handler {
        // SAFETY: as above.
        unsafe { (*(*self.0).get()).op.run }
    }
    #[inline(always)]
    pub(crate) fn a(self) -> usize {
        // SAFETY: as above.
        unsafe { (*(*self.0).get()).op.a as usize }
    }
    #[inline(always)]
    pub(crate) fn b(self) -> usize {
        // SAFETY: as above.
        unsafe { (*(*self.0).get()).op.b as usize }
    }
    #[inline(always)]
    pub(crate) fn c(self) -> usize {
        // SAFETY: as above.
        unsafe { (*(*self.0).get()).op.c as usize }
    }
    #[inline(always)]
    pub(crate) fn d(self) -> usize {
        // SAFETY: as above.
        unsafe { (*(*self.0).get()).op.d as usize }
    }
    #[inline(always)]
    pub(crate) fn imm(self) -> u32 {
        // SAFETY: as above.
        unsafe { (*(*self.0).get()).op.imm }
    }
    /// Field `a` of an op made by [`super::Builder::registers_op`]: a register's.
    #[inline(always)]
    pub(crate) fn ra(self) -> usize {
        // SAFETY: that function refuses larger fields, and nobody changes an op's fields.
        unsafe { core::hint::assert_unchecked(self.a() < REGISTERS) };
        self.a()
    }
    /// As [`Self::ra`], field `b`.
    #[inline(always)]
    pub(crate) fn rb(self) -> usize {
        // SAFETY: as for `ra`.
        unsafe { core::hint::assert_unchecked(self.b() < REGISTERS) };
        self.b()
    }
    /// As [`Self::ra`], field `c`.
    #[inline(always)]
    pub(crate) fn rc(self) -> usize {
        // SAFETY: as for `ra`.
        unsafe { core::hint::assert_unchecked(self.c() < REGISTERS) };
        self.c()
    }
    /// Field `a` of an op made by [`super::Builder::x87_op`]: a place of the x87 stack.
    #[inline(always)]
    pub(crate) fn place_a(self) -> usize {
        // SAFETY: that function refuses larger fields, and nobody changes an op's fields.
        unsafe { core::hint::assert_unchecked(self.a() < 8) };
        self.a()
    }
    /// As [`Self::place_a`], field `b` of an op without a memory operand.
    #[inline(always)]
    pub(crate) fn place_b(self) -> usize {
        // SAFETY: as for `place_a`.
        unsafe { core::hint::assert_unchecked(self.b() < 8) };
        self.b()
    }
    /// All fields in one number: `a` lowest, `imm` highest.
    #[inline(always)]
    pub(crate) fn fields(self) -> u64 {
        #[cfg(all(target_endian = "little", target_pointer_width = "64"))]
        // SAFETY: as above; the fields are the second half of an op, without gaps.
        return unsafe { (*(*self.0).get()).halves[1] };
        #[cfg(not(all(target_endian = "little", target_pointer_width = "64")))]
        {
            let bytes = (self.a() | self.b() << 8 | self.c() << 16 | self.d() << 24) as u64;
            bytes | u64::from(self.imm()) << 32
        }
    }
    /// The edge in slot `n` behind this op.
    #[inline(always)]
    pub(crate) fn edge(self, n: usize) -> Edge {
        // SAFETY: the handler's own data slot (module invariant).
        unsafe { (*(*self.0.add(n)).get()).edge }
    }
    /// The landing in slot `n` behind this op.
    #[inline(always)]
    pub(crate) fn landing(self, n: usize) -> Landing {
        // SAFETY: the handler's own data slot (module invariant).
        unsafe { (*(*self.0.add(n)).get()).landing }
    }
    /// What is remembered in slot `n` behind this op.
    #[inline(always)]
    pub(crate) fn seen(self, n: usize) -> Seen {
        // SAFETY: the handler's own data slot (module invariant).
        unsafe { (*(*self.0.add(n)).get()).seen }
    }
    /// The 64-bit operand in slot `n` behind this op.
    #[inline(always)]
    pub(crate) fn wide(self, n: usize) -> u64 {
        // SAFETY: the handler's own data slot (module invariant).
        unsafe { (*(*self.0.add(n)).get()).wide.value }
    }
    /// The guess in slot `n` behind this op.
    #[inline(always)]
    pub(crate) fn guess(self, n: usize) -> Guess {
        // SAFETY: the handler's own data slot (module invariant).
        unsafe { (*(*self.0.add(n)).get()).guess }
    }
    /// Replaces the guess in slot `n` behind this op.
    pub(crate) fn set_guess(self, n: usize, guess: Guess) {
        // SAFETY: as for `set_run`; only called by handlers that have one.
        unsafe { (*(*self.0.add(n)).get()).guess = guess }
    }
    /// The op `n` slots on, in the same block.
    #[inline(always)]
    pub(crate) fn step(self, n: usize) -> OpRef {
        // SAFETY: every block ends with an op that does not step on (module invariant).
        OpRef(unsafe { self.0.add(n) })
    }
    /// The slot before this one, in the same block.
    #[inline(always)]
    pub(crate) fn back(self) -> OpRef {
        // SAFETY: only used by ops that the builder puts behind another slot.
        OpRef(unsafe { self.0.sub(1) })
    }
    /// Slots from `first` to `self`, in the same block.
    pub(crate) fn index_from(self, first: OpRef) -> usize {
        (self.0 as usize).wrapping_sub(first.0 as usize) / size_of::<Slot>()
    }
    /// Replaces the slots from here on: a block's, from its entry, which has at least as many.
    pub(super) fn replace(self, slots: &[Slot]) {
        for (i, slot) in slots.iter().enumerate() {
            // SAFETY: inside of one block (module invariant); accessors copy out, so no reference into a slot is alive.
            unsafe { (*self.0.add(i)).get().copy_from_nonoverlapping(slot, 1) }
        }
    }
    /// Replaces the immediate operand here.
    pub(super) fn set_imm(self, imm: u32) {
        // SAFETY: as for `set_run`; only called on ops.
        unsafe { (*(*self.0).get()).op.imm = imm }
    }
    /// Replaces the handler here.
    pub(crate) fn set_run(self, run: Handler) {
        // SAFETY: no reference into the slot is alive: accessors copy out (module invariant).
        unsafe { (*(*self.0).get()).op.run = run }
    }
    /// Replaces the target of the edge here.
    pub(crate) fn set_edge(self, to: OpRef, enters: Enters) {
        // SAFETY: as for `set_run`; only called on edges.
        let edge = unsafe { &mut (*(*self.0).get()).edge };
        (edge.to, edge.enters) = (to, enters);
    }
}

impl OpRef {
    /// Replaces what is remembered here.
    pub(crate) fn set_seen(self, seen: Seen) {
        // SAFETY: as for `set_run`; only called on slots that remember.
        unsafe { (*(*self.0).get()).seen = seen }
    }
    /// Replaces the landing here.
    pub(crate) fn set_landing(self, landing: Landing) {
        // SAFETY: as for `set_run`; only called on landings.
        unsafe { (*(*self.0).get()).landing = landing }
    }
}

/// Slots in a chunk: 64 KiB.
const CHUNK: usize = 4096;

/// Where ops live: chunks that never move.
#[derive(Default)]
pub(crate) struct Arena {
    chunks: Vec<Box<[UnsafeCell<Slot>]>>,
    used: usize,
}

impl Arena {
    /// Copies a block's slots in; they must be fewer than a chunk holds.
    pub(crate) fn push(&mut self, slots: &mut Vec<Slot>) -> OpRef {
        assert!(slots.len() <= CHUNK, "a block fits a chunk");
        if self.chunks.is_empty() || self.used + slots.len() > CHUNK {
            let empty = || UnsafeCell::new(Slot { wide: Wide { value: 0 } });
            self.chunks.push((0..CHUNK).map(|_| empty()).collect());
            self.used = 0;
        }
        let first = self.used;
        self.used += slots.len();
        // The last chunk is the one that has room: made above if there was none.
        let last = self.chunks.len() - 1;
        for (cell, slot) in self.chunks[last][first..].iter_mut().zip(slots.drain(..)) {
            *cell.get_mut() = slot;
        }
        // SAFETY: inside the chunk; derived from the whole of it, so that stepping through the block is allowed.
        OpRef(unsafe { self.chunks[last].as_ptr().add(first) })
    }

    /// Forgets all ops, but keeps room for the next ones.
    pub(crate) fn clear(&mut self) {
        self.chunks.truncate(1);
        self.used = 0;
    }

    /// Bytes in use.
    pub(crate) fn bytes(&self) -> usize {
        self.chunks.len() * CHUNK * size_of::<Slot>()
    }
}

/// Ends a handler: goes on with the op `n` slots on. In optimised builds a tail call; elsewhere the trampoline of
/// [`super::Engine::run_chain`] does the call.
macro_rules! next {
    ($sys:expr, $op:expr) => {
        next!($sys, $op, 1)
    };
    ($sys:expr, $op:expr, $n:expr) => {{
        let to = $op.step($n);
        $crate::engine::goto!($sys, to)
    }};
}

/// Ends a handler: goes on with any op.
macro_rules! goto {
    ($sys:expr, $to:expr) => {{
        let to: $crate::engine::OpRef = $to;
        #[cfg(emu_chain)]
        return (to.run())($sys, to);
        #[cfg(not(emu_chain))]
        {
            $sys.engine.trampoline = Some(to);
            return;
        }
    }};
}
pub(crate) use {goto, next};
