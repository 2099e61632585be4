//! x87 instructions that one handler does, as those of [`super::super::fusions`]: how compiled code moves operands to where an
//! operation wants them, and results to where they belong ([`super::combined`] does most of these as if they were one). Two sums
//! are no pair, nor is a sum by itself with an operand from memory: what such a handler saves and restores costs more than going
//! from one to the other.

use super::super::addr::{A32B, A64B, Addr};
use super::super::fusions::{Fusions, three, two};
use super::super::jumps::{Ip, Ip32, Ip64, JumpIf};
use super::super::step::one;
use super::combined::*;
use super::full::{FstpSti, LoadOne, LoadZero, Operation};
use super::quick::*;
use super::region::{begin, begin_with};
use crate::fpu::arith::{Add, Mul, Sub, SubR};
use crate::fpu::quick::{self, Quick, Single};

type FstpSt0 = Simple<Drop, FstpSti>;
type Memory<O, R, A> = WithMemory<O, R, A, false>;
type Load<R, A> = LoadReal<R, A>;
type Store<R, A> = StoreReal<R, A>;
type Fcomip = CompareToFlags<false, 1>;
type Fucomip = CompareToFlags<true, 1>;

/// `rows!(all; A => [B, C]; ...)`: A with B, A with C.
macro_rules! rows {
    ($all:ident; $($a:ty => [$($b:ty),* $(,)?];)*) => { $($($all.pair::<$a, $b>();)*)* };
}

/// Adds all of them.
pub(in super::super) fn pairs(all: &mut Fusions) {
    rows!(all;
        Exch => [Fcomip, Fucomip, FstpSt0];
    );
    begins::<Exch>(all);
    begins::<Push>(all);
    begins::<FstpSt0>(all);
    begins::<Simple<One, LoadOne>>(all);
    begins::<Simple<Zero, LoadZero>>(all);
    joins::<Exch, AddItself, Kept<ExchAddItself>>(all);
    operation::<Add>(all);
    operation::<Sub>(all);
    operation::<SubR>(all);
    operation::<Mul>(all);
    joins::<To0<Mul>, To0<Mul>, Kept<OpOp<Mul, Mul>>>(all);
    joins::<To0<Mul>, Pop<Mul>, OpPop<Mul, Mul>>(all);
    joins::<Kept<PushOp<Mul>>, To0<Mul>, Kept<PushOpOp<Mul, Mul>>>(all);
    joins::<Kept<ExchOp<Mul>>, To0<Mul>, Kept<ExchOpOp<Mul, Mul>>>(all);
    joins::<Push, SquareRoot<false>, Kept<PushRoot>>(all);
    joins::<Kept<PushRoot>, Pop<Mul>, Popped<PushRoot, Mul>>(all);
    joins::<Kept<PushOp<Mul>>, Pop<Add>, Popped<PushOp<Mul>, Add>>(all);
    joins::<Kept<PushOp<Mul>>, Pop<Sub>, Popped<PushOp<Mul>, Sub>>(all);
    joins::<Kept<PushOp<Mul>>, Pop<SubR>, Popped<PushOp<Mul>, SubR>>(all);
    memory::<quick::Double, A32B>(all);
    memory::<quick::Double, A64B>(all);
    memory::<Single, A32B>(all);
    memory::<Single, A64B>(all);
    jumps::<Ip32, A32B>(all);
    jumps::<Ip64, A64B>(all);
}

/// `X` may be the first instruction of a region.
fn begins<X: Attempt>(all: &mut Fusions) {
    all.add(begin, one::<X>, begin_with::<X>);
}

/// `X` and then `Y` is `Both`, as the first instructions of a region too.
fn joins<X: Attempt, Y: Attempt, Both: Attempt>(all: &mut Fusions) {
    all.add(one::<X>, one::<Y>, one::<Both>);
    all.add(begin_with::<X>, one::<Y>, begin_with::<Both>);
}

fn operation<O: Quick + Operation>(all: &mut Fusions) {
    begins::<To0<O>>(all);
    begins::<Pop<O>>(all);
    joins::<Push, To0<O>, Kept<PushOp<O>>>(all);
    joins::<Exch, To0<O>, Kept<ExchOp<O>>>(all);
    joins::<To0<O>, Exch, OpExch<O>>(all);
    joins::<Pop<O>, Exch, PopExch<O>>(all);
    rows!(all; Exch => [Pop<O>];);
}

fn memory<R: Real, A: Addr>(all: &mut Fusions) {
    rows!(all;
        Load<R, A> => [Load<R, A>, Store<R, A>, Exch];
        Store<R, A> => [Load<R, A>, Exch, To0<Mul>];
        To0<Mul> => [Load<R, A>];
        To0<Add> => [Store<R, A>];
        Pop<Add> => [Store<R, A>];
        Push => [Memory<Mul, R, A>];
    );
    begins::<Load<R, A>>(all);
    begins::<LoadInteger<u32, A>>(all);
    begins::<Store<R, A>>(all);
    stored::<Add, R, A>(all);
    stored::<Sub, R, A>(all);
    stored::<SubR, R, A>(all);
    stored::<Mul, R, A>(all);
    loaded::<Add, R, A>(all);
    loaded::<Sub, R, A>(all);
    loaded::<SubR, R, A>(all);
    loaded::<Mul, R, A>(all);
    products::<Kept<LoadOp<Mul, R, A>>, LoadOp<Mul, R, A>, R, A>(all);
    products::<Kept<PushOpOp<Mul, Mul>>, PushOpOp<Mul, Mul>, R, A>(all);
    products::<Kept<ExchOpOp<Mul, Mul>>, ExchOpOp<Mul, Mul>, R, A>(all);
    products::<Kept<OpOp<Mul, Mul>>, OpOp<Mul, Mul>, R, A>(all);
    all.triple::<Load<R, A>, Exch, Fcomip>();
    all.triple::<Load<R, A>, Exch, Fucomip>();
    all.add(three::<Load<R, A>, Exch, Fcomip>, one::<FstpSt0>, one::<CompareLoaded<false, R, A>>);
    all.add(three::<Load<R, A>, Exch, Fucomip>, one::<FstpSt0>, one::<CompareLoaded<true, R, A>>);
}

fn stored<O: Quick + Operation, R: Real, A: Addr>(all: &mut Fusions) {
    joins::<Memory<O, R, A>, Store<R, A>, MemoryOpStore<O, R, A>>(all);
    begins::<Memory<O, R, A>>(all);
}

fn loaded<O: Quick + Operation, R: Real, A: Addr>(all: &mut Fusions) {
    joins::<Load<R, A>, To0<O>, Kept<LoadOp<O, R, A>>>(all);
    joins::<Load<R, A>, Memory<O, R, A>, Kept<LoadMemoryOp<O, R, A>>>(all);
}

/// Sums of products and memory that go back there.
fn products<K: Attempt, V: Value, R: Real, A: Addr>(all: &mut Fusions) {
    product::<K, V, Add, R, A>(all);
    product::<K, V, Sub, R, A>(all);
    product::<K, V, SubR, R, A>(all);
}

fn product<K: Attempt, V: Value, O: Quick + Operation, R: Real, A: Addr>(all: &mut Fusions) {
    all.pair::<K, Memory<O, R, A>>();
    all.add(two::<K, Memory<O, R, A>>, one::<Store<R, A>>, one::<Stored<V, O, R, A>>);
}

/// Comparisons, and what is done with their operands.
fn jumps<J: Ip, A: Addr>(all: &mut Fusions) {
    macro_rules! conditions {
        ($($cc:literal)*) => {$(
            all.end::<CompareLoaded<false, quick::Double, A>, JumpIf<$cc, J>>();
            all.end::<CompareLoaded<false, Single, A>, JumpIf<$cc, J>>();
            all.end::<CompareLoaded<true, quick::Double, A>, JumpIf<$cc, J>>();
            all.end::<CompareLoaded<true, Single, A>, JumpIf<$cc, J>>();
            all.end::<FstpSt0, JumpIf<$cc, J>>();
            all.end::<Fcomip, JumpIf<$cc, J>>();
            all.end::<Fucomip, JumpIf<$cc, J>>();
        )*};
    }
    conditions!(2 3 4 5 6 7 10 11);
}
