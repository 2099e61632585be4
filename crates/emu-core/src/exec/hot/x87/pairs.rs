//! Pairs of x87 instructions that one handler does, as those of [`super::super::fusions`]: how compiled code moves operands to
//! where an operation wants them, and results to where they belong. Two sums are no pair, nor is a sum with an operand from
//! memory: what such a handler saves and restores costs more than going from one to the other.

use super::super::addr::{A32B, A64B, Addr};
use super::super::fusions::Fusions;
use super::super::jumps::{Ip, Ip32, Ip64, JumpIf};
use super::full::*;
use super::quick::*;
use crate::fpu::arith::{Add, Mul, Sub, SubR};
use crate::fpu::quick::{Double, Quick, Single};

type Fxch = Simple<Exchange, super::full::Fxch>;
type Fld = Simple<Copy, FldSti>;
type FstpSt0 = Simple<Drop, FstpSti>;
type To0<O> = Arithmetic<O, St0Sti<O>, false>;
type Pop<O> = Arithmetic<O, StiSt0Pop<O>, false>;
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
        Fxch => [Fld, Fcomip, Fucomip, FstpSt0];
        Fld => [Fld, SquareRoot<false>];
    );
    operation::<Add>(all);
    operation::<Sub>(all);
    operation::<SubR>(all);
    operation::<Mul>(all);
    rows!(all; To0<Mul> => [To0<Mul>, Pop<Mul>];);
    memory::<Double, A32B>(all);
    memory::<Double, A64B>(all);
    memory::<Single, A32B>(all);
    memory::<Single, A64B>(all);
    jumps::<Ip32>(all);
    jumps::<Ip64>(all);
}

fn operation<O: Quick + Operation>(all: &mut Fusions) {
    rows!(all;
        Fxch => [To0<O>, Pop<O>];
        Fld => [To0<O>];
        To0<O> => [Fld, Fxch];
        Pop<O> => [Fld, Fxch];
    );
}

fn memory<R: Real, A: Addr>(all: &mut Fusions) {
    rows!(all;
        Load<R, A> => [Load<R, A>, Store<R, A>, Fld, Fxch, To0<Mul>];
        Store<R, A> => [Load<R, A>, Fld, Fxch, To0<Mul>];
        Memory<Add, R, A> => [Store<R, A>];
        Memory<Sub, R, A> => [Store<R, A>];
        Memory<SubR, R, A> => [Store<R, A>];
        Memory<Mul, R, A> => [Store<R, A>];
        To0<Mul> => [Load<R, A>];
        To0<Add> => [Store<R, A>];
        Pop<Add> => [Store<R, A>];
        Fld => [Memory<Mul, R, A>];
    );
}

/// Comparisons, and what is done with their operands.
fn jumps<J: Ip>(all: &mut Fusions) {
    macro_rules! conditions {
        ($($cc:literal)*) => {$(
            all.end::<FstpSt0, JumpIf<$cc, J>>();
            all.end::<Fcomip, JumpIf<$cc, J>>();
            all.end::<Fucomip, JumpIf<$cc, J>>();
        )*};
    }
    conditions!(2 3 4 5 6 7 10 11);
}
