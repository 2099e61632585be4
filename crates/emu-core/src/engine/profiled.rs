//! Entries of blocks while a profile is taken: they count, and then do what the others do.

use super::block::Block;
use super::op::{Handler, OpRef};
use super::{Engine, chain};
use crate::System;
use crate::profile::{Counting, Event, Profile};

/// The handlers of this file.
pub(super) const COUNTED: [Handler; 2] = [enter, enter_checked];

fn enter(sys: &mut System, op: OpRef) {
    count(sys, op);
    chain::enter(sys, op);
}

fn enter_checked(sys: &mut System, op: OpRef) {
    count(sys, op);
    chain::enter_checked(sys, op);
}

#[inline(never)]
fn count(sys: &mut System, op: OpRef) {
    if sys.budget <= 0 {
        return; // comes here again once there is a budget
    }
    let (index, now, linear) = (op.imm(), sys.now(), sys.code_linear());
    if let Some(mut profile) = sys.engine.profile.take() {
        profile.enter(index, sys.engine.block(index), &sys.cpu, linear, now);
        sys.engine.profile = Some(profile);
    }
}

fn counted(run: Handler) -> Handler {
    if run as usize == chain::enter as Handler as usize { enter } else { enter_checked }
}

impl Engine {
    /// The entry handler of blocks of this mode. One that `wraps` goes on at the start of its segment.
    pub(super) fn entry_handler(&self, mode: u32, wraps: bool) -> Handler {
        let run = if wraps { chain::enter } else { chain::entry_handler(mode) };
        if self.profile.is_some() { counted(run) } else { run }
    }

    /// Notes an event, if a profile is taken.
    #[inline]
    pub(crate) fn note(&mut self, event: Event) {
        if let Some(profile) = &mut self.profile {
            profile.note(event);
        }
    }

    /// Moves the counts of all blocks out, before these are thrown away.
    pub(super) fn drain_profile(&mut self) {
        if let Some(profile) = &mut self.profile {
            profile.drain(&self.blocks, decoded_forms);
        }
    }
}

/// Bit n: instruction n of `block` runs from its decoded form.
fn decoded_forms(block: &Block) -> u32 {
    let cold = [chain::cold as Handler as usize, chain::cold_end as Handler as usize];
    let is_cold = |i: &usize| block.op_of(*i).is_some_and(|op| cold.contains(&(op.run() as usize)));
    (0..block.len().min(32)).filter(is_cold).fold(0, |bits, i| bits | 1 << i)
}

impl System {
    /// Takes a profile from here on; all code is decoded anew. Only between runs.
    pub fn start_profile(&mut self) {
        self.engine.clear(&mut self.mem);
        self.engine.profile = Some(Box::new(Counting::new(self.now())));
    }

    /// Ends the profile; `None` if none was begun. Only between runs.
    pub fn take_profile(&mut self) -> Option<Profile> {
        let now = self.now();
        self.engine.profile.as_mut()?.stop(now);
        self.engine.clear(&mut self.mem);
        Some(self.engine.profile.take()?.finish(now))
    }
}
