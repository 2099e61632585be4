//! Checkpoints that leave a timeline for a file, and those that come from one.
//!
//! A stored checkpoint has the pages that were written since the one before it, with what they hold *there*: so a file of
//! them is good up to wherever it was cut off. What a timeline keeps, pages as they were at the start of a stretch, follows
//! from it. What comes from a file is believed only when the machine in that state has the hash that was recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::checkpoint::Checkpoint;
use super::keep::HEAD_ENTRY;
use super::pages::PageSet;
use super::{Key, Mark, SeekError, Timeline};
use crate::mem::{PageImage, PhysMem};
use crate::state::StateHash;
use crate::system::System;
use crate::time::Ticks;

/// A checkpoint apart from its timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Where.
    pub at: Mark,
    /// [`System::hash`] there.
    pub hash: StateHash,
    /// Whether the A20 gate is open.
    pub a20: bool,
    /// The saved state of clock, CPUs, devices and firmware.
    pub devices: Arc<[u8]>,
    /// Pages and blocks that were written since the stored checkpoint before it, with what they hold here; ascending.
    pub pages: Vec<(Key, PageImage)>,
}

impl Timeline {
    /// Notes that `written` has changed, and stores the checkpoint just made, of hash `hash`, if it is time for it.
    pub(super) fn store_if_due(&mut self, sys: &System, hash: StateHash) {
        let at = self.mark(sys);
        if at.tick >= self.store_due {
            self.store(sys, at, hash);
        }
    }

    fn store(&mut self, sys: &System, at: Mark, hash: StateHash) {
        let Some(last) = self.checkpoints.last().filter(|c| c.at == at) else { return };
        let pages = core::mem::take(&mut self.unstored).into_iter().map(|key| (key, key.look(sys))).collect();
        let (a20, devices) = (last.a20, Arc::clone(&last.devices));
        self.stored.push(Stored { at, hash, a20, devices, pages });
        self.stored_at = at;
        self.store_due = at.tick.after(self.interval(at).saturating_mul(self.settings.store));
    }

    /// Changes of how many checkpoints one is stored, from the next one on.
    pub fn store_one_of(&mut self, checkpoints: u64) {
        self.settings.store = checkpoints;
    }

    /// Takes the checkpoints stored since the last call.
    pub fn take_stored(&mut self) -> Vec<Stored> {
        core::mem::take(&mut self.stored)
    }

    /// Makes and stores a checkpoint of the machine's present, which must be the end of what is known. Returns whether a
    /// stored checkpoint is there now.
    pub fn store_end(&mut self, sys: &mut System) -> bool {
        let at = self.mark(sys);
        if !self.settings.spine || self.is_past(sys) || self.is_behind() {
            return false;
        }
        self.store_due = Ticks::NEVER;
        self.checkpoint(sys);
        if self.stored_at != at {
            let (hash, _) = sys.tracked_hash();
            self.store(sys, at, hash);
        }
        self.stored_at == at
    }

    /// What [`Self::take_stored`] would have given of a run that was not to be stored: one of `one_of` checkpoints of the past,
    /// and the present. The machine must stand at the end of what is known.
    pub fn store_past(&mut self, sys: &mut System, one_of: usize) -> Vec<Stored> {
        if self.is_past(sys) || self.is_behind() {
            return Vec::new();
        }
        self.leave_head(sys);
        let last = self.checkpoints.len() - 1;
        let is_chosen = |i: usize| i > 0 && (i == last || i.is_multiple_of(one_of.max(1)));
        // From the present backwards: what pages hold that differ from it, and the sum of all pages' hashes.
        let (mut held, mut sum) = (BTreeMap::<Key, PageImage>::new(), sys.mem.tracked_page_sum());
        let mut all = Vec::new();
        for i in (0..=last).rev() {
            for (key, image) in self.checkpoints[i].undo.iter() {
                let later = held.insert(*key, image.clone()).unwrap_or_else(|| key.look(sys));
                sum = sum.wrapping_sub(key.hash(&later)).wrapping_add(key.hash(image));
            }
            if is_chosen(i) {
                let before = (0..i).rev().find(|&j| is_chosen(j)).unwrap_or(0);
                let stretches = &self.checkpoints[before..i];
                let keys: BTreeSet<Key> = stretches.iter().flat_map(|c| c.undo.iter().map(|p| p.0)).collect();
                let now = |key: Key| (key, held.get(&key).cloned().unwrap_or_else(|| key.look(sys)));
                let Checkpoint { at, ref devices, a20, .. } = self.checkpoints[i];
                let hash = StateHash::of(devices).then(PhysMem::hash_of(a20, sum));
                let pages = keys.into_iter().map(now).collect();
                all.push(Stored { at, hash, a20, devices: Arc::clone(devices), pages });
            }
        }
        all.reverse();
        all
    }

    /// Takes over a checkpoint of the run that the machine is going to repeat: after [`Self::expect`], in ascending order,
    /// before the machine has run. Returns false if there is no memory for it: it is left away, and so must be all behind it.
    ///
    /// # Errors
    /// What is wrong with one that can't be of this machine and its run.
    pub fn adopt(&mut self, sys: &System, stored: Stored) -> Result<bool, &'static str> {
        let Stored { at, hash, a20, devices, pages } = stored;
        let Some(last) = self.checkpoints.last() else { return Ok(false) };
        let is_next = at > last.at && at.inputs <= self.log.len() && pages.is_sorted_by(|a, b| a.0 < b.0);
        let known = self.log.get(at.inputs).is_none_or(|i| i.0 >= at.tick);
        if self.base != 0 || !is_next || !known {
            return Err("the checkpoint is not of this run");
        }
        if !pages.iter().all(|(key, image)| key.takes(sys, image)) {
            return Err("the checkpoint is not of this machine");
        }
        let before = pages.iter().map(|(key, _)| (*key, self.head.get(key).cloned().unwrap_or_else(|| key.look(sys))));
        let undo = PageSet::new(before.collect());
        let new = Checkpoint { at, devices, a20, undo: PageSet::default(), promised: Some(hash) };
        let held = |key: &Key| self.head.get(key).map_or(0, |i| i.cost() + HEAD_ENTRY);
        let more = pages.iter().map(|(key, image)| (image.cost() + HEAD_ENTRY).saturating_sub(held(key)));
        let more = undo.cost() + new.cost() + more.sum::<usize>();
        if self.thin(more) + more > self.settings.budget {
            return Ok(false);
        }
        if let Some(last) = self.checkpoints.last_mut() {
            last.undo = undo;
        }
        self.has_blocks |= pages.iter().any(|p| p.0.is_block());
        self.head.extend(pages);
        self.checkpoints.push(new);
        self.end = self.end.max(at.tick);
        self.due = at.tick.after(self.interval(at));
        Ok(true)
    }

    /// Puts the machine at the last checkpoint at or before `tick`, without running it. Returns where that is.
    ///
    /// # Errors
    /// [`SeekError::BeforeStart`].
    pub fn jump(&mut self, sys: &mut System, tick: Ticks) -> Result<Mark, SeekError> {
        let nearest = self.checkpoints.partition_point(|c| c.at.tick <= tick);
        let Some(nearest) = nearest.checked_sub(1) else {
            return Err(SeekError::BeforeStart { tick: tick.0, start: self.start().0 });
        };
        self.leave_head(sys);
        self.restore(sys, nearest);
        Ok(self.mark(sys))
    }

    /// The tick of the last checkpoint at or before `tick`; the start if there is none.
    #[must_use]
    pub fn nearest(&self, tick: Ticks) -> Ticks {
        let nearest = self.checkpoints.partition_point(|c| c.at.tick <= tick);
        self.checkpoints[nearest.saturating_sub(1)].at.tick
    }

    /// Checkpoints that were not what their hash says, since the last call. They are forgotten; the machine was put back
    /// from another one.
    pub fn take_lies(&mut self) -> Vec<Ticks> {
        core::mem::take(&mut self.lies)
    }

    /// Whether the machine, just put back to checkpoint `to`, is what was recorded there. Asked once of each.
    pub(super) fn keeps_its_promise(&mut self, sys: &mut System, to: usize) -> bool {
        let checkpoint = &mut self.checkpoints[to];
        let Some(hash) = checkpoint.promised.take() else { return true };
        if sys.now() != checkpoint.at.tick {
            return false;
        }
        // What an older emu saved, this one may save otherwise: then the bytes that it saved must do, unless disks were
        // written. Those bytes only claim what a disk's digest is.
        sys.tracked_hash().0 == hash || !self.has_blocks && sys.tracked_hash_of(&checkpoint.devices) == hash
    }

    /// Forgets the lying checkpoint `gone`; the machine stands at an earlier one.
    pub(super) fn forget_lie(&mut self, gone: usize) {
        let lie = self.checkpoints.remove(gone);
        self.lies.push(lie.at.tick);
        let was_last = gone == self.checkpoints.len();
        let earlier = &mut self.checkpoints[gone - 1];
        if !was_last {
            earlier.undo = core::mem::take(&mut earlier.undo).then(lie.undo);
            return;
        }
        // What was the head is none any more.
        let (undo, at) = (core::mem::take(&mut earlier.undo), earlier.at);
        self.due = at.tick.after(self.interval(at));
        self.head = if self.is_behind() {
            let mut head: BTreeMap<Key, PageImage> = core::mem::take(&mut self.head);
            head.extend(undo.iter().cloned());
            head
        } else {
            BTreeMap::new()
        };
    }
}
