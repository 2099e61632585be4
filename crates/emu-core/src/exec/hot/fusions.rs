//! Ops that follow each other, done by one handler: a dispatch less for each.
//!
//! Every op keeps its own slot, and the fused handler stands in the first one's. It does the first instruction with its op,
//! the next with the op behind, and so on. So a fault in the middle is told by its op, and a slow path of the first goes on
//! with the second's own handler, where the chain may be stopped. Only a stop from outside between the two is not possible,
//! as with other fused pairs.
//!
//! Which ones there are was chosen from counts of pairs over Linux for i386 and amd64, compiled programs, and DOS; each
//! stands for all operand sizes and kinds of code that have it.

use super::addr::{A16, A32B, A32F, A64, A64B, Addr};
use super::alu::*;
use super::follow::Follow;
use super::fused::{self, OfImmediate, OfRegisters};
use super::jumps::{Ip, Ip16, Ip32, Ip64, JumpIf};
use super::moves;
use super::shift::{ByImmediate, RolQuiet, RorQuiet, ShlQuiet, Shr, ShrQuiet};
use super::stack::{P16S16, P32S32F, P64S64, PopReg, PushReg, PushWidth};
use super::step::{End, Load, Step, Store, end, one};
use super::width::{Low8, Width};
use crate::System;
use crate::engine::{Handler, OpRef, next};

pub(super) fn two<A: Step, B: Step>(sys: &mut System, op: OpRef) {
    if A::step(sys, op) && B::step(sys, op.step(A::SLOTS)) {
        next!(sys, op, A::SLOTS + B::SLOTS)
    }
}

pub(super) fn three<A: Step, B: Step, C: Step>(sys: &mut System, op: OpRef) {
    if A::step(sys, op) && B::step(sys, op.step(A::SLOTS)) && C::step(sys, op.step(A::SLOTS + B::SLOTS)) {
        next!(sys, op, A::SLOTS + B::SLOTS + C::SLOTS)
    }
}

fn then<A: Step, E: End>(sys: &mut System, op: OpRef) {
    if A::step(sys, op) {
        E::end(sys, op.step(A::SLOTS));
    }
}

/// The fused handlers, by the handlers of what they do.
pub(crate) struct Fusions {
    /// Sorted by the addresses of the first and the second.
    all: Vec<(usize, usize, Handler)>,
    /// Places in `all`, more by one, hashed; 0 is none. Decoding asks for each op.
    index: Box<[u16; SLOTS]>,
}

/// Four times as many as there are pairs, so that nearly every answer needs one look.
const SLOTS: usize = 1 << 13;

fn slot(first: usize, second: usize) -> usize {
    (first ^ second.rotate_left(20)).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as usize) >> (usize::BITS - 13)
}

fn address(run: Handler) -> usize {
    run as *const () as usize
}

type M<W> = moves::RegReg<W>;
type I<W> = moves::RegImm<W>;
type L<W, A> = Load<moves::RegMem<W>, A>;
type S<W, A> = Store<moves::MemReg<W>, A>;
type F<W, A> = Follow<W, A>;
type Z8<A> = Load<moves::ZeroMem<Low8>, A>;
type Lea<W, A> = moves::Address<W, A>;
type Rr<O, W> = RegReg<O, W>;
type Ri<O, W> = RegImm<O, W>;
type Sh<O, W> = ByImmediate<O, W>;

/// `rows!(all; A => [B, C]; ...)`: A with B, A with C.
macro_rules! rows {
    ($all:ident; $($a:ty => [$($b:ty),* $(,)?];)*) => { $($($all.pair::<$a, $b>();)*)* };
}

/// `ends!(all; A => |CC| End, for each condition; ...)`.
macro_rules! ends {
    ($all:ident; $conditions:tt; $($a:ty => |$n:ident| $e:ty;)*) => { $(ends!(@ $all, $conditions, $a, $n, $e);)* };
    (@ $all:ident, [$($cc:literal)*], $a:ty, $n:ident, $e:ty) => { $({
        const $n: u8 = $cc;
        $all.end::<$a, $e>();
    })* };
}

impl Fusions {
    /// The table of all of them.
    pub(crate) fn new() -> Fusions {
        let mut all = Fusions { all: Vec::new(), index: Box::new([0; SLOTS]) };
        all.registers::<u32>();
        all.registers::<u64>();
        all.registers::<u16>();
        all.memory::<u32, A32B, A32F>();
        all.memory::<u32, A64B, A64>();
        all.memory::<u64, A64B, A64>();
        all.memory::<u16, A16, A16>();
        all.stack::<P16S16>();
        all.stack::<P32S32F>();
        all.stack::<P64S64>();
        all.chains::<u32, A32B, Ip32>();
        all.chains::<u32, A64B, Ip64>();
        all.chains::<u64, A64B, Ip64>();
        all.jumps::<u16, A16, Ip16>();
        all.jumps::<u32, A32B, Ip32>();
        all.jumps::<u32, A64B, Ip64>();
        all.jumps::<u64, A64B, Ip64>();
        all.bytes::<A16, Ip16>();
        all.bytes::<A32B, Ip32>();
        all.bytes::<A64B, Ip64>();
        super::x87::pairs(&mut all);
        all.all.sort_by_key(|e| (e.0, e.1));
        all.all.dedup_by_key(|e| (e.0, e.1));
        assert!(all.all.len() < SLOTS / 2, "the index has room");
        for (i, e) in all.all.iter().enumerate() {
            let mut at = slot(e.0, e.1);
            while all.index[at] != 0 {
                at = (at + 1) % SLOTS;
            }
            all.index[at] = i as u16 + 1;
        }
        all
    }

    /// What does `first` and then `second`, where they stand one behind the other.
    pub(crate) fn of(&self, first: Handler, second: Handler) -> Option<Handler> {
        let (first, second) = (address(first), address(second));
        let mut at = slot(first, second);
        loop {
            let entry = &self.all[usize::from(self.index[at].checked_sub(1)?)];
            if (entry.0, entry.1) == (first, second) {
                return Some(entry.2);
            }
            at = (at + 1) % SLOTS;
        }
    }

    /// The handlers themselves.
    pub(crate) fn handlers(&self) -> impl Iterator<Item = Handler> + '_ {
        self.all.iter().map(|e| e.2)
    }

    pub(super) fn add(&mut self, first: Handler, second: Handler, both: Handler) {
        self.all.push((address(first), address(second), both));
    }

    pub(super) fn pair<A: Step, B: Step>(&mut self) {
        self.add(one::<A>, one::<B>, two::<A, B>);
    }

    /// Three of which the first two are a pair.
    pub(super) fn triple<A: Step, B: Step, C: Step>(&mut self) {
        self.add(two::<A, B>, one::<C>, three::<A, B, C>);
    }

    pub(super) fn end<A: Step, E: End>(&mut self) {
        self.add(one::<A>, end::<E>, then::<A, E>);
    }

    fn registers<W: Width>(&mut self) {
        rows!(self;
            M<W> => [M<W>, I<W>, Rr<AddQuiet, W>, Rr<Add, W>, Ri<AddQuiet, W>, Ri<SubQuiet, W>, Rr<XorQuiet, W>,
                Rr<AndQuiet, W>, Ri<AndQuiet, W>, Sh<ShlQuiet, W>, Sh<ShrQuiet, W>, Sh<RolQuiet, W>, Sh<RorQuiet, W>];
            I<W> => [I<W>, M<W>];
            Rr<AddQuiet, W> => [M<W>, Rr<AddQuiet, W>, Rr<Add, W>, Ri<AddQuiet, W>, Sh<ShlQuiet, W>, Sh<ShrQuiet, W>];
            Ri<AddQuiet, W> => [M<W>, Rr<AddQuiet, W>, Rr<Add, W>, Ri<AddQuiet, W>, Ri<Add, W>, Ri<SubQuiet, W>,
                Rr<XorQuiet, W>];
            Rr<SubQuiet, W> => [M<W>];
            Rr<XorQuiet, W> => [M<W>, Rr<AddQuiet, W>, Rr<Add, W>, Sh<ShlQuiet, W>, Sh<ShrQuiet, W>, Rr<XorQuiet, W>];
            Rr<AndQuiet, W> => [M<W>, Rr<XorQuiet, W>, Rr<Xor, W>];
            Ri<AndQuiet, W> => [M<W>, Rr<AddQuiet, W>];
            Sh<ShlQuiet, W> => [M<W>, Rr<XorQuiet, W>, Rr<AddQuiet, W>];
            Sh<ShrQuiet, W> => [M<W>, Rr<AddQuiet, W>, Rr<Add, W>, Rr<XorQuiet, W>, Ri<AndQuiet, W>, Sh<RolQuiet, W>];
            Sh<RolQuiet, W> => [M<W>, Rr<XorQuiet, W>, Rr<Xor, W>];
            Sh<RorQuiet, W> => [M<W>, Rr<XorQuiet, W>, Rr<Xor, W>];
            Rr<Xor, W> => [M<W>];
            Rr<Add, W> => [M<W>];
        );
        self.triple::<M<W>, M<W>, M<W>>();
        self.triple::<M<W>, Sh<RolQuiet, W>, Rr<XorQuiet, W>>();
        self.triple::<M<W>, Sh<RorQuiet, W>, Rr<XorQuiet, W>>();
    }

    /// `A` is without an index.
    fn memory<W: Width, A: Addr, X: Addr>(&mut self) {
        rows!(self;
            L<W, A> => [L<W, A>, L<W, X>, S<W, A>, M<W>, I<W>, Rr<AddQuiet, W>, Rr<Add, W>, Ri<AddQuiet, W>, Ri<Add, W>,
                Rr<And, W>, Lea<W, A>, Rr<Cmp, W>];
            L<W, X> => [M<W>, S<W, A>, S<W, X>, Rr<SubQuiet, W>];
            S<W, A> => [S<W, A>, L<W, A>, M<W>, I<W>, Lea<W, A>];
            M<W> => [L<W, A>, L<W, X>, S<W, A>, Lea<W, A>, Lea<W, X>];
            I<W> => [L<W, A>, S<W, A>];
            Rr<Add, W> => [L<W, A>, S<W, A>];
            Ri<Add, W> => [L<W, A>, S<W, A>];
            Rr<Sub, W> => [L<W, A>, S<W, A>];
            Ri<Sub, W> => [L<W, A>];
            Rr<Xor, W> => [L<W, A>];
            Sh<Shr, W> => [L<W, A>];
            Lea<W, A> => [Lea<W, A>, Lea<W, X>, L<W, A>, S<W, A>, M<W>, Ri<AndQuiet, W>];
            Lea<W, X> => [Lea<W, A>, Ri<AddQuiet, W>, Ri<Add, W>, M<W>];
            Ri<SubQuiet, W> => [Lea<W, X>, Lea<W, A>];
        );
        self.triple::<L<W, A>, L<W, A>, L<W, A>>();
        self.triple::<L<W, A>, Rr<Add, W>, L<W, A>>();
    }

    /// Steps along lists, with what is done at each element and the look for the end.
    fn chains<W: Width, A: Addr, J: Ip>(&mut self) {
        rows!(self;
            F<W, A> => [F<W, A>, L<W, A>, S<W, A>, M<W>];
            L<W, A> => [F<W, A>];
            M<W> => [F<W, A>];
        );
        ends!(self; [4 5];
            F<W, A> => |CC| OfRegisters<CC, fused::Test, W, J>;
            F<W, A> => |CC| OfRegisters<CC, fused::Cmp, W, J>;
            F<W, A> => |CC| OfImmediate<CC, fused::Cmp, W, J>;
        );
    }

    fn stack<P: PushWidth>(&mut self) {
        rows!(self;
            PushReg<P> => [PushReg<P>, M<P::Value>, Ri<Sub, P::Value>];
            PopReg<P> => [PopReg<P>];
            M<P::Value> => [PushReg<P>, PopReg<P>];
            Ri<Add, P::Value> => [PopReg<P>];
        );
        self.triple::<PushReg<P>, PushReg<P>, PushReg<P>>();
        self.triple::<PopReg<P>, PopReg<P>, PopReg<P>>();
    }

    fn jumps<W: Width, A: Addr, J: Ip>(&mut self) {
        ends!(self; [2 3 4 5 6 7 12 13 14 15];
            L<W, A> => |CC| OfRegisters<CC, fused::Cmp, W, J>;
            L<W, A> => |CC| OfImmediate<CC, fused::Cmp, W, J>;
            Rr<AddQuiet, W> => |CC| OfRegisters<CC, fused::Cmp, W, J>;
            Ri<AddQuiet, W> => |CC| OfRegisters<CC, fused::Cmp, W, J>;
            Ri<AddQuiet, W> => |CC| OfImmediate<CC, fused::Cmp, W, J>;
            M<W> => |CC| OfRegisters<CC, fused::Cmp, W, J>;
            Load<MemImm<Cmp, W>, A> => |CC| JumpIf<CC, J>;
            Load<MemReg<Cmp, W>, A> => |CC| JumpIf<CC, J>;
            Load<RegMem<Cmp, W>, A> => |CC| JumpIf<CC, J>;
        );
        ends!(self; [4 5 8 9];
            L<W, A> => |CC| OfRegisters<CC, fused::Test, W, J>;
            M<W> => |CC| OfRegisters<CC, fused::Test, W, J>;
            Ri<AddQuiet, W> => |CC| OfRegisters<CC, fused::Test, W, J>;
            Rr<Sub, W> => |CC| JumpIf<CC, J>;
            Ri<Add, W> => |CC| JumpIf<CC, J>;
            Ri<And, W> => |CC| JumpIf<CC, J>;
            Ri<Dec, W> => |CC| JumpIf<CC, J>;
            Ri<Inc, W> => |CC| JumpIf<CC, J>;
        );
        ends!(self; [2 3 4 5 8 9];
            Ri<Sub, W> => |CC| JumpIf<CC, J>;
        );
    }

    fn bytes<A: Addr, J: Ip>(&mut self) {
        rows!(self; Z8<A> => [Z8<A>];);
        ends!(self; [2 3 4 5 6 7];
            Load<MemImm<Cmp, Low8>, A> => |CC| JumpIf<CC, J>;
            moves::ZeroReg<u64, Low8> => |CC| OfImmediate<CC, fused::Cmp, Low8, J>;
            Z8<A> => |CC| OfImmediate<CC, fused::Cmp, Low8, J>;
        );
        ends!(self; [4 5 8 9];
            Load<MemImm<Test, Low8>, A> => |CC| JumpIf<CC, J>;
            Z8<A> => |CC| OfRegisters<CC, fused::Test, Low8, J>;
        );
    }
}
