//! Going back, and anywhere.

use emu_core::mem::WatchHit;
use emu_core::timeline::{Found, SeekError, Stops};
use emu_core::{System, Ticks, Timeline};
use emu_machine::host::End;

use crate::session::{Halt, Session, SessionError};

/// Ticks that take a second at the most: such a way in a recording is gone without asking whether to go on, which leaves
/// checkpoints on it.
const NEAR: u64 = 1 << 29;

impl Session {
    /// The machine and its past, with nothing watched.
    pub(crate) fn travel(&mut self) -> Result<(&mut System, &mut Timeline), SessionError> {
        self.disarm();
        let (machine, timeline) = self.runner().travel().ok_or(SessionError::NoTimeline)?;
        Ok((&mut machine.system, timeline))
    }

    /// One step back: see [`Session::step`].
    ///
    /// # Errors
    /// [`SessionError::Seek`]
    pub fn step_back(&mut self) -> Result<Halt, SessionError> {
        let (system, timeline) = self.travel()?;
        if !timeline.step_back(system)? {
            return Ok(Halt::Start);
        }
        if self.watchpoints().is_empty() {
            return Ok(Halt::Done);
        }
        let hits = self.hits_of_next_step()?;
        Ok(self.watchpoint_hit(&hits).unwrap_or(Halt::Done))
    }

    /// Runs backwards to where something last stopped the machine.
    ///
    /// # Errors
    /// [`SessionError::Seek`]
    pub fn run_back(&mut self, interrupted: &mut dyn FnMut() -> bool) -> Result<Halt, SessionError> {
        let (watches, reads) = self.watched_pool();
        let stops = Stops { breakpoints: self.breakpoints().to_vec(), watches, reads };
        let (system, timeline) = self.travel()?;
        match timeline.find_last_while(system, &stops, |_| !interrupted()) {
            Ok(None) => Ok(Halt::Start),
            Ok(Some(Found::Breakpoint(_))) => Ok(Halt::Breakpoint),
            Ok(Some(Found::Write(_) | Found::Read(_))) => {
                let hits = self.hits_of_next_step()?;
                Ok(self.watchpoint_hit(&hits).unwrap_or(Halt::Done))
            }
            Err(SeekError::GivenUp) => Ok(Halt::Interrupted),
            Err(e) => Err(e.into()),
        }
    }

    /// What the next step does to watched memory. The machine stands where it stood.
    fn hits_of_next_step(&mut self) -> Result<Vec<WatchHit>, SessionError> {
        let (writes, reads) = self.watched_pool();
        let (system, timeline) = self.travel()?;
        let now = system.now();
        system.watch_pool(&writes, &reads);
        timeline.run(system, now + 1);
        let hits = system.take_watch_hits();
        system.watch_pool(&[], &[]);
        timeline.seek(system, now)?;
        Ok(hits)
    }

    /// Goes to tick `tick`; breakpoints and watchpoints are passed over.
    ///
    /// # Errors
    /// [`SessionError::Seek`]
    pub fn goto(&mut self, tick: Ticks, interrupted: &mut dyn FnMut() -> bool) -> Result<Halt, SessionError> {
        let mut known = tick.min(self.reached());
        if self.is_replay() {
            // All of it has happened: nothing on the way there is shown, and checkpoints of the file save the way.
            known = known.max(self.runner().timeline().map_or(known, |t| t.nearest(tick)));
            self.skip_to(tick.min(self.end()));
        }
        let is_near = self.is_replay() && tick <= self.end() && tick.since(known) <= NEAR;
        let (system, timeline) = self.travel()?;
        timeline.seek(system, if is_near { tick } else { known })?;
        if is_near || tick == known {
            return Ok(Halt::Done);
        }
        let halt = self.run_unarmed(tick, interrupted);
        match halt {
            Halt::End(end) if *end == End::Replayed => match self.now() {
                now if now == tick => Ok(Halt::Done),
                now => Err(SeekError::BehindEnd { tick: tick.0, end: now.0 }.into()),
            },
            halt => Ok(halt),
        }
    }

    /// The last time before the present that one of `pool`'s bytes was written; the machine stands before it, or at the
    /// start.
    pub(crate) fn last_write(
        &mut self,
        pool: &[(u64, u64)],
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Ticks>, SessionError> {
        let stops = Stops { watches: pool.to_vec(), ..Stops::default() };
        let (system, timeline) = self.travel()?;
        Ok(timeline.find_last_while(system, &stops, |_| !interrupted())?.map(Found::tick))
    }

    /// Makes the machine's present, which the user has changed, the start of another run.
    pub(crate) fn changed(&mut self) {
        self.runner().begin_anew();
    }

    /// Whether the user may change the machine.
    pub(crate) fn may_change(&mut self) -> Result<(), SessionError> {
        if self.is_replay() {
            return Err(SessionError::Recorded);
        }
        if self.runner().is_recorded() { Err(SessionError::Recording) } else { Ok(()) }
    }
}
