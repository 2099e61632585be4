//! Searching the past: the last time that something happened before the machine's present.
//!
//! Stretches between checkpoints are run again, the latest first, and what stops the machine last in one of them is the
//! answer. A stretch that did not write a watched page is passed over: its checkpoint lists the pages that it wrote.

use super::pages::Key;
use super::{SeekError, Timeline};
use crate::mem::PAGE_SHIFT;
use crate::system::{Stop, System};
use crate::time::Ticks;

/// What to look for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stops {
    /// Linear addresses of instructions.
    pub breakpoints: Vec<u64>,
    /// Memory that is written: parts of the pool (first and last byte), as [`System::pool_ranges`] gives them. A physical
    /// address may lead elsewhere in the past.
    pub watches: Vec<(u64, u64)>,
    /// Memory that is read by the CPU's instructions: parts of the pool. No stretch can be passed over for their sake.
    pub reads: Vec<(u64, u64)>,
}

/// What was found. The machine stands before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The instruction at a breakpoint is next.
    Breakpoint(Ticks),
    /// The next step writes to watched memory.
    Write(Ticks),
    /// The next step reads watched memory, and writes none of it.
    Read(Ticks),
}

impl Found {
    /// When it happens.
    #[must_use]
    pub fn tick(self) -> Ticks {
        let (Found::Breakpoint(tick) | Found::Write(tick) | Found::Read(tick)) = self;
        tick
    }
}

impl Timeline {
    /// Goes back to the last time that one of `stops` happened before the present. If there was none, the machine stands at
    /// the start of the timeline.
    ///
    /// # Errors
    /// Any [`SeekError`].
    pub fn find_last(&mut self, sys: &mut System, stops: &Stops) -> Result<Option<Found>, SeekError> {
        self.find_last_while(sys, stops, |_| true)
    }

    /// As [`Self::find_last`], for as long as `go_on` says so: it is asked before each stretch, and told where that ends.
    /// Otherwise the machine stands where it stood.
    ///
    /// # Errors
    /// [`SeekError::GivenUp`] if `go_on` said no, or any other.
    pub fn find_last_while(
        &mut self,
        sys: &mut System,
        stops: &Stops,
        mut go_on: impl FnMut(Ticks) -> bool,
    ) -> Result<Option<Found>, SeekError> {
        let limit = sys.now();
        self.leave_head(sys);
        let last = self.checkpoints.partition_point(|c| c.at.tick < limit);
        let pages: Vec<u64> = stops.watches.iter().flat_map(|w| w.0 >> PAGE_SHIFT..=w.1 >> PAGE_SHIFT).collect();
        let mut found = None;
        for k in (0..last).rev() {
            let wrote = |page: &u64| self.checkpoints[k].undo.get(Key::memory(*page)).is_some();
            if stops.breakpoints.is_empty() && stops.reads.is_empty() && !pages.iter().any(wrote) {
                continue;
            }
            let end = self.checkpoints.get(k + 1).map_or(limit, |c| c.at.tick.min(limit));
            if !go_on(end) {
                self.seek(sys, limit)?;
                return Err(SeekError::GivenUp);
            }
            self.restore(sys, k);
            sys.set_breakpoints(&stops.breakpoints);
            sys.watch_pool(&stops.watches, &stops.reads);
            let outcome = self.last_in(sys, end);
            sys.watch_pool(&[], &[]);
            sys.set_breakpoints(&[]);
            found = outcome?;
            if found.is_some() {
                break;
            }
        }
        let to = found.map_or(self.start(), Found::tick);
        self.seek(sys, to)?;
        Ok(found)
    }

    /// Goes back to before the last write to any byte of `memory`: parts of the pool, as [`System::pool_ranges`] gives them.
    ///
    /// # Errors
    /// Any [`SeekError`].
    pub fn last_write(&mut self, sys: &mut System, memory: &[(u64, u64)]) -> Result<Option<Ticks>, SeekError> {
        let stops = Stops { watches: memory.to_vec(), ..Stops::default() };
        Ok(self.find_last(sys, &stops)?.map(Found::tick))
    }

    /// Runs to `end`, and says what stopped the machine last before it.
    fn last_in(&mut self, sys: &mut System, end: Ticks) -> Result<Option<Found>, SeekError> {
        let mut found = None;
        loop {
            let stop = self.run(sys, end);
            sys.bus.take_output();
            let hits = sys.take_watch_hits();
            if !hits.is_empty() {
                // The step that ended here did it.
                let before = Ticks(sys.now().0.saturating_sub(1));
                let write = hits.iter().any(|h| h.write);
                found = Some(if write { Found::Write(before) } else { Found::Read(before) });
            }
            match stop {
                Stop::Breakpoint => found = Some(Found::Breakpoint(sys.now())),
                Stop::TripleFault => return Ok(found),
                _ if self.diverged.is_some() => return Err(SeekError::Diverged(sys.now().0)),
                _ if sys.now() >= end => return Ok(found),
                _ => {}
            }
        }
    }
}
