//! Going to a tick: from the nearest checkpoint before it, by running again.

use super::Timeline;
use crate::cpu::Activity;
use crate::system::{Stop, System};
use crate::time::Ticks;

/// Why the machine could not be put at a tick. It stands where the attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeekError {
    /// Before everything that is kept.
    #[error("tick {tick} is before the first that is kept, {start}")]
    BeforeStart {
        /// What was asked for.
        tick: u64,
        /// The first.
        start: u64,
    },
    /// Behind everything that is known.
    #[error("tick {tick} is behind the last that is known, {end}")]
    BehindEnd {
        /// What was asked for.
        tick: u64,
        /// The last.
        end: u64,
    },
    /// The CPU shut down on the way, and nothing wakes it.
    #[error("the CPU shut down at tick {0}")]
    Shutdown(u64),
    /// On the way the machine was not what its recording says.
    #[error("the run differs from its recording at tick {0}")]
    Diverged(u64),
    /// The caller gave a search up.
    #[error("the search was given up")]
    GivenUp,
}

/// Going somewhere in the past makes checkpoints on the way, each time half as far from its end, down to this distance:
/// whoever goes there once will go back from there.
const DENSE: u64 = 1 << 20;

impl Timeline {
    /// Puts the machine at tick `tick`, with all inputs up to it.
    ///
    /// # Errors
    /// Any [`SeekError`].
    pub fn seek(&mut self, sys: &mut System, tick: Ticks) -> Result<(), SeekError> {
        let (start, end) = (self.start(), self.end.max(sys.now()));
        if tick < start {
            return Err(SeekError::BeforeStart { tick: tick.0, start: start.0 });
        }
        if tick > end {
            return Err(SeekError::BehindEnd { tick: tick.0, end: end.0 });
        }
        let nearest = self.checkpoints.partition_point(|c| c.at.tick <= tick).saturating_sub(1);
        let back = tick < sys.now();
        if back || self.checkpoints[nearest].at > self.mark(sys) {
            if !self.is_behind() {
                self.leave_head(sys);
            }
            // The list may have been thinned.
            let nearest = self.checkpoints.partition_point(|c| c.at.tick <= tick);
            let Some(nearest) = nearest.checked_sub(1) else {
                return Err(SeekError::BeforeStart { tick: tick.0, start: self.start().0 });
            };
            self.restore(sys, nearest);
        }
        self.approach(sys, tick)?;
        let done = self.advance(sys, tick);
        self.spare_the_budget();
        done
    }

    /// Puts the machine one step back: an instruction, an iteration of a string instruction, or the delivery of an
    /// interrupt; over all of the time that the CPU was halted. Returns false at the start of the timeline.
    ///
    /// # Errors
    /// Any [`SeekError`].
    pub fn step_back(&mut self, sys: &mut System) -> Result<bool, SeekError> {
        let mut now = sys.now();
        loop {
            if now <= self.start() {
                return Ok(false);
            }
            self.seek(sys, Ticks(now.0 - 1))?;
            if !matches!(sys.cpu.activity, Activity::Halted | Activity::Stalled) {
                return Ok(true);
            }
            // It was halted all the time from there on; before that lies either HLT itself or more of the halt.
            now = sys.halted_since().max(self.start());
            self.seek(sys, now)?;
            if !matches!(sys.cpu.activity, Activity::Halted | Activity::Stalled) {
                return Ok(true);
            }
        }
    }

    /// Runs most of the way to `tick`, and leaves checkpoints there.
    fn approach(&mut self, sys: &mut System, tick: Ticks) -> Result<(), SeekError> {
        while self.is_behind() && tick.since(sys.now()) > 2 * DENSE {
            let half = sys.now().after(tick.since(sys.now()) / 2);
            self.advance(sys, half)?;
            self.split(sys);
        }
        Ok(())
    }

    /// Runs on to `tick`. What the machine sends out on the way has been sent before, and is dropped.
    pub(super) fn advance(&mut self, sys: &mut System, tick: Ticks) -> Result<(), SeekError> {
        loop {
            let stop = self.run(sys, tick);
            sys.bus.take_output();
            if let Some(d) = &self.diverged {
                return Err(SeekError::Diverged(d.expected.at.tick.0));
            }
            if sys.now() >= tick {
                return Ok(());
            }
            if stop == Stop::TripleFault {
                return Err(SeekError::Shutdown(sys.now().0));
            }
        }
    }
}
