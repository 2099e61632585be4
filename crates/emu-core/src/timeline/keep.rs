//! What is kept when memory runs short: many checkpoints near the present, fewer the older they are.

use super::Timeline;
use super::pages::PageSet;

/// Checkpoints at the most, whatever memory they take.
const MOST: usize = 1024;
/// Host memory for a page of the head, beside its image.
pub(super) const HEAD_ENTRY: usize = 64;

impl Timeline {
    /// Host memory that the timeline takes, but for what was written since the last checkpoint.
    #[must_use]
    pub fn cost(&self) -> usize {
        let checkpoints: usize = self.checkpoints.iter().map(|c| c.cost()).sum();
        checkpoints + self.head.values().map(|i| i.cost() + HEAD_ENTRY).sum::<usize>()
    }

    /// Host memory that the timeline may take while the machine stands in its past.
    pub(super) fn most(&self) -> usize {
        self.settings.budget + self.settings.budget / 16
    }

    /// If the past and the future together take too much memory, some checkpoints are dropped; if that is not enough, all
    /// those ahead are given up: their inputs are known, and running there again makes new ones.
    pub(super) fn spare_the_budget(&mut self) {
        if self.is_behind() && self.cost() > self.most() && self.thin(0) > self.most() {
            self.forget_ahead();
        }
    }

    /// Drops checkpoints until the rest fits the budget: those first whose loss costs the least, measured by how much
    /// longer the way to a tick there becomes, beside how long ago it is. Only at the head of the run.
    pub(super) fn keep_to_budget(&mut self) {
        let mut cost = self.thin(0);
        while cost > self.settings.budget && self.checkpoints.len() > 1 {
            // Even one stretch from the start to here is too much: the start is given up.
            cost -= self.checkpoints.remove(0).cost();
            self.base = self.base.saturating_sub(1);
        }
    }

    /// Drops checkpoints between the first and the last, until the rest and `more` bytes fit the budget. Returns what is still
    /// kept.
    pub(super) fn thin(&mut self, more: usize) -> usize {
        let mut cost = self.cost();
        while (cost + more > self.settings.budget || self.checkpoints.len() > MOST)
            && self.checkpoints.len() > 2
            && let Some(given_back) = self.drop_one()
        {
            cost -= given_back;
        }
        cost
    }

    /// Drops the least useful checkpoint but the first, the last, and that which memory notes its writes since; returns how
    /// much memory that gave back.
    fn drop_one(&mut self) -> Option<usize> {
        let head = self.checkpoints[self.checkpoints.len() - 1].at.tick;
        let worth = |i: usize| {
            let (before, behind) = (self.checkpoints[i - 1].at.tick, self.checkpoints[i + 1].at.tick);
            (u128::from(behind.since(before)) << 64) / u128::from(head.since(before).max(1))
        };
        let least = (1..self.checkpoints.len() - 1).filter(|&i| i != self.base).min_by_key(|&i| worth(i))?;
        let gone = self.checkpoints.remove(least);
        let earlier = &mut self.checkpoints[least - 1];
        let before = gone.cost() + earlier.cost();
        earlier.undo = core::mem::take::<PageSet>(&mut earlier.undo).then(gone.undo);
        if self.base >= least {
            self.base -= 1;
        }
        Some(before.saturating_sub(self.checkpoints[least - 1].cost()))
    }
}
