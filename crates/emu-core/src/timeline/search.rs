//! Searching the past: the last time that something happened before the machine's present.
//!
//! Stretches between checkpoints are run again, the latest first, and what stops the machine last in one of them is the
//! answer. A stretch that did not write a watched page is passed over: its checkpoint lists the pages that it wrote.

use super::pages::{Key, PageSet};
use super::{SeekError, Timeline};
use crate::mem::PAGE_SHIFT;
use crate::system::{Stop, System};
use crate::time::Ticks;
use crate::volume::SECTORS_PER_BLOCK;

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

/// Something that may be written and is not memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// OUT to these I/O ports, first and last.
    Ports(u16, u16),
    /// Sectors of a volume.
    Sectors {
        /// Its number.
        volume: usize,
        /// First sector.
        first: u64,
        /// Last sector.
        last: u64,
    },
}

impl Watch {
    fn arm(self, sys: &mut System, on: bool) {
        match self {
            Watch::Ports(first, last) => sys.bus.watch_ports(on.then_some((first, last))),
            Watch::Sectors { volume, first, last } => {
                if let Some(v) = sys.bus.volumes().get(volume) {
                    v.watch(on.then_some((first, last)));
                }
            }
        }
    }

    fn take_hit(self, sys: &mut System) -> bool {
        match self {
            Watch::Ports(..) => sys.bus.take_port_hit(),
            Watch::Sectors { volume, .. } => sys.bus.volumes().get(volume).is_some_and(|v| v.take_watch_hit()),
        }
    }

    /// Whether it can have happened in a stretch that wrote `pages`.
    fn may_be_in(self, pages: &PageSet) -> bool {
        match self {
            Watch::Ports(..) => true,
            Watch::Sectors { volume, first, last } => {
                let mut blocks = first / SECTORS_PER_BLOCK..=last / SECTORS_PER_BLOCK;
                blocks.any(|b| pages.get(Key::block(volume, b)).is_some())
            }
        }
    }
}

/// Ticks of the pieces in which a stretch is first looked through; then pieces of pieces, down to a single tick.
const PIECE: u64 = 1 << 20;
const PIECES: u64 = 64;

impl Timeline {
    /// Goes back to before the last step before the present in which `watch` was written. If there was none, the machine
    /// stands at the start of the timeline.
    ///
    /// # Errors
    /// Any [`SeekError`].
    pub fn last_written(&mut self, sys: &mut System, watch: Watch) -> Result<Option<Ticks>, SeekError> {
        let limit = sys.now();
        self.leave_head(sys);
        for k in (0..self.checkpoints.partition_point(|c| c.at.tick < limit)).rev() {
            if !watch.may_be_in(&self.checkpoints[k].undo) {
                continue;
            }
            let end = self.checkpoints.get(k + 1).map_or(limit, |c| c.at.tick.min(limit));
            self.restore(sys, k);
            let mut found = self.last_piece(sys, watch, end, PIECE)?;
            while let Some((from, to)) = found.filter(|f| f.1.since(f.0) > 1) {
                self.seek(sys, from)?;
                found = self.last_piece(sys, watch, to, (to.since(from) / PIECES).max(1))?;
            }
            if let Some((at, _)) = found {
                self.seek(sys, at)?;
                return Ok(Some(at));
            }
        }
        self.seek(sys, self.start())?;
        Ok(None)
    }

    /// Runs to `end` in pieces of `piece` ticks; returns the last piece in which `watch` was written.
    fn last_piece(
        &mut self,
        sys: &mut System,
        watch: Watch,
        end: Ticks,
        piece: u64,
    ) -> Result<Option<(Ticks, Ticks)>, SeekError> {
        watch.arm(sys, true);
        let (mut found, mut done) = (None, Ok(()));
        while sys.now() < end && done.is_ok() {
            let from = sys.now();
            done = self.advance(sys, from.after(piece).min(end));
            if watch.take_hit(sys) {
                found = Some((from, sys.now().max(from + 1)));
            }
        }
        watch.arm(sys, false);
        match done {
            Ok(()) | Err(SeekError::Shutdown(_)) => Ok(found),
            Err(e) => Err(e),
        }
    }

    /// Goes back to before the last step in which what `value` sees changed, step by step, over at most `within` ticks.
    /// `None`: it is the same all that time; the machine stands where the search ended.
    ///
    /// # Errors
    /// Any [`SeekError`].
    pub fn last_change(
        &mut self,
        sys: &mut System,
        value: impl Fn(&System) -> u128,
        within: u64,
    ) -> Result<Option<Ticks>, SeekError> {
        let limit = sys.now();
        let first = Ticks(limit.0.saturating_sub(within)).max(self.start());
        let (mut end, mut length) = (limit, 4096);
        while end > first {
            let from = Ticks(end.0.saturating_sub(length)).max(first);
            self.seek(sys, from)?;
            let (mut last, mut found) = (value(sys), None);
            while sys.now() < end {
                let at = sys.now();
                self.advance(sys, at + 1)?;
                let now = value(sys);
                if core::mem::replace(&mut last, now) != now {
                    found = Some(at);
                }
            }
            if let Some(at) = found {
                self.seek(sys, at)?;
                return Ok(Some(at));
            }
            (end, length) = (from, length.saturating_mul(8));
        }
        self.seek(sys, first)?;
        Ok(None)
    }

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
