//! Checkpoints: taking them at the head of a run and in its past, and going back to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::keep::HEAD_ENTRY;
use super::pages::{Key, PageSet, seal};
use super::{Mark, SpinePoint, Timeline};
use crate::mem::PageImage;
use crate::state::{StateHash, StateWriter};
use crate::system::System;

/// A point to which the machine can be put back at once.
#[derive(Debug)]
pub(super) struct Checkpoint {
    pub(super) at: Mark,
    /// CPUs, devices, firmware: everything but the contents of memory and volumes.
    pub(super) devices: Arc<[u8]>,
    pub(super) a20: bool,
    /// What was written between this checkpoint and the next one. Of the last one: nothing, while the machine stands before
    /// it or at it; what was written since is noted by memory and volumes themselves.
    pub(super) undo: PageSet,
    /// It comes from a recording, and nobody has looked yet whether the machine has this hash there.
    pub(super) promised: Option<StateHash>,
}

impl Checkpoint {
    /// The machine as it is, with nothing written yet.
    fn of(sys: &System, at: Mark) -> Checkpoint {
        let mut w = StateWriter::new();
        sys.save_all_but_memory(&mut w);
        Checkpoint { at, devices: w.into_bytes().into(), a20: sys.mem.a20(), undo: PageSet::default(), promised: None }
    }

    /// Host memory that it takes.
    pub(super) fn cost(&self) -> usize {
        self.devices.len() + self.undo.cost() + size_of::<Checkpoint>()
    }
}

impl Timeline {
    /// Whether checkpoints lie ahead of the machine.
    pub(super) fn is_behind(&self) -> bool {
        self.base + 1 < self.checkpoints.len()
    }

    /// Notes that the machine has come to a checkpoint, or makes one if it is time for it.
    pub(super) fn pass_checkpoint(&mut self, sys: &mut System, mark: Mark) {
        while self.checkpoints.get(self.base + 1).is_some_and(|c| c.at <= mark) {
            self.absorb(sys);
            self.base += 1;
            if !self.is_behind() {
                // The machine is what it was when it first came here.
                self.head.clear();
            }
        }
        if !self.is_behind() && (mark.tick >= self.due || sys.written_cost() > self.settings.budget / 16) {
            self.checkpoint(sys);
        }
    }

    /// Makes a checkpoint at the machine's present, ahead of all others.
    pub(super) fn checkpoint(&mut self, sys: &mut System) {
        self.checkpoint_with(sys, self.settings.spine);
    }

    fn checkpoint_with(&mut self, sys: &mut System, spine: bool) {
        let at = self.mark(sys);
        if self.checkpoints.last().is_some_and(|last| last.at >= at) {
            return;
        }
        let written = seal(sys);
        if self.settings.spine {
            self.unstored.extend(written.iter().map(|p| p.0));
        }
        if let Some(last) = self.checkpoints.last_mut() {
            last.undo = written;
        }
        self.checkpoints.push(Checkpoint::of(sys, at));
        self.base = self.checkpoints.len() - 1;
        // Where the machine comes a second time it was hashed the first time.
        if spine && self.spined.is_none_or(|last| at > last) {
            let (hash, parts) = sys.tracked_hash();
            self.spine.push(SpinePoint { at, hash, parts });
            self.spined = Some(at);
            self.store_if_due(sys, hash);
        }
        self.due = at.tick.after(self.interval(at));
        self.keep_to_budget();
    }

    pub(super) fn interval(&self, at: Mark) -> u64 {
        let interval = self.settings.interval.max(1);
        let doublings = (at.tick.since(self.start()) / interval / 256).checked_ilog2().map_or(0, |n| n + 1);
        interval.saturating_mul(1 << doublings.min(40))
    }

    /// Takes over what memory and volumes have noted since the base: what pages held there is what they hold at the last
    /// checkpoint, unless that is known already. Returns the pages.
    fn absorb(&mut self, sys: &mut System) -> PageSet {
        let written = seal(sys);
        for (key, image) in written.iter() {
            self.head.entry(*key).or_insert_with(|| image.clone());
        }
        written
    }

    /// Makes a checkpoint between two that are there, where the machine stands.
    pub(super) fn split(&mut self, sys: &mut System) {
        let at = self.mark(sys);
        if !self.is_behind() || self.checkpoints[self.base].at >= at {
            return;
        }
        let first = self.absorb(sys);
        let whole = core::mem::take(&mut self.checkpoints[self.base].undo);
        let second = whole.iter().map(|(key, image)| match first.get(*key) {
            Some(_) => (*key, key.look(sys)),
            None => (*key, image.clone()),
        });
        let mut second: Vec<_> = second.collect();
        // A page that the stretch as a whole never wrote can't be written in its first part; were it, it must come back.
        let stray = first.iter().filter(|(key, _)| whole.get(*key).is_none());
        second.extend(stray.map(|(key, _)| (*key, key.look(sys))));
        let mut new = Checkpoint::of(sys, at);
        new.undo = PageSet::new(second);
        self.checkpoints[self.base].undo = first;
        self.base += 1;
        self.checkpoints.insert(self.base, new);
    }

    /// Keeps the machine's present, so that it can come back to it after a jump into the past.
    pub(super) fn leave_head(&mut self, sys: &mut System) {
        if !self.is_behind() {
            let due = self.due;
            self.checkpoint_with(sys, false);
            self.due = due;
        }
    }

    /// Puts the machine back (or forth) to checkpoint `to`, or to one before it if that lies. The present is lost unless a
    /// checkpoint holds it.
    pub(super) fn restore(&mut self, sys: &mut System, to: usize) {
        let mut honest = to;
        while !self.put_back(sys, honest) && honest > 0 {
            honest -= 1;
        }
        (honest + 1..=to).rev().for_each(|lie| self.forget_lie(lie));
        self.spare_the_budget();
    }

    /// Puts the machine to checkpoint `to`. Returns false if it is not what its recording promised.
    fn put_back(&mut self, sys: &mut System, to: usize) -> bool {
        let from = self.base;
        let present = self.absorb(sys);
        // Every page that may differ between here and there, with what it holds there as soon as that is known.
        let mut pages: BTreeMap<Key, Option<PageImage>> = present.iter().map(|p| (p.0, None)).collect();
        for stretch in &self.checkpoints[from.min(to)..from.max(to)] {
            stretch.undo.iter().for_each(|p| _ = pages.entry(p.0).or_insert(None));
        }
        let mut unknown = pages.len();
        for stretch in &self.checkpoints[to..] {
            if unknown == 0 {
                break;
            }
            for (key, image) in stretch.undo.iter() {
                if let Some(slot @ None) = pages.get_mut(key) {
                    *slot = Some(image.clone());
                    unknown -= 1;
                }
            }
        }
        let to_head = to + 1 == self.checkpoints.len();
        let (held, at_head): (Vec<_>, Vec<_>) = pages.into_iter().partition(|p| p.1.is_some());
        for (key, _) in at_head {
            // Without an entry it holds that already.
            if let Some(image) = self.head.remove(&key) {
                key.put(sys, &image);
            }
        }
        let keeps_head = !to_head && self.note_head(sys, &held);
        for (key, image) in held {
            image.into_iter().for_each(|image| key.put(sys, &image));
        }
        self.base = to;
        if !to_head && !keeps_head {
            self.forget_ahead();
        }
        if to_head {
            self.head.clear();
        }
        let checkpoint = &self.checkpoints[to];
        let (at, a20, devices) = (checkpoint.at, checkpoint.a20, Arc::clone(&checkpoint.devices));
        sys.mem.set_a20(a20);
        let loaded = sys.load_all_but_memory(&devices);
        // The machine wrote these bytes itself, from the same devices, unless they come from a recording.
        debug_assert!(loaded.is_ok() || self.checkpoints[to].promised.is_some(), "{loaded:?}");
        self.applied = at.inputs;
        self.compared = self.expected.partition_point(|s| s.at <= at);
        self.diverged = None;
        loaded.is_ok() && self.keeps_its_promise(sys, to)
    }

    /// Notes what `pages` hold at the head, where the machine leaves it. Returns false if there is no memory for that.
    fn note_head(&mut self, sys: &System, pages: &[(Key, Option<PageImage>)]) -> bool {
        let mut room = self.most().saturating_sub(self.cost());
        for (key, _) in pages {
            if !self.head.contains_key(key) {
                let image = key.look(sys);
                let cost = image.cost() + HEAD_ENTRY;
                if cost > room {
                    return false;
                }
                room -= cost;
                self.head.insert(*key, image);
            }
        }
        true
    }

    /// Forgets all checkpoints ahead of the machine.
    pub(super) fn forget_ahead(&mut self) {
        if self.is_behind() {
            self.checkpoints.truncate(self.base + 1);
            self.checkpoints[self.base].undo = PageSet::default();
            self.head.clear();
            let at = self.checkpoints[self.base].at;
            self.due = at.tick.after(self.interval(at));
        }
    }
}
