//! Time travel in one run of a machine: checkpoints that share pages, the log of inputs, and jumps to any tick.
//!
//! A checkpoint is the state of CPUs and devices, and for each page of memory (and block of a volume) that was written
//! before the next checkpoint, what it held. To go back, those pages are put back; to go to a tick between checkpoints, the
//! machine runs again from the one before it, with the inputs of the log at their ticks. So the state at a tick does not
//! depend on the way there, and its hash is the same as in the run itself.
//!
//! While the machine stands in the past, the pages of its latest state that differ are kept as well: nothing of the
//! future is lost until [`Timeline::discard_future`] is called. Where the machine stands is no part of its state.

mod checkpoint;
mod keep;
mod pages;
mod search;
mod seek;
mod stored;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::input::Input;
use crate::mem::PageImage;
use crate::state::{StateHash, StateWriter};
use crate::system::{Stop, System};
use crate::time::Ticks;
use checkpoint::Checkpoint;
pub use pages::Key;
pub use pages::Key as PageKey;
pub use search::{Found, Stops, Watch};
pub use seek::SeekError;
pub use stored::Stored;

/// A point of a run: more than one input may come at a tick, and each of them makes another state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// The tick.
    pub tick: Ticks,
    /// Inputs since power-on.
    pub inputs: usize,
}

/// A point of the spine: the machine's identity there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpinePoint {
    /// Where.
    pub at: Mark,
    /// [`System::hash`] there.
    pub hash: StateHash,
    /// Short hashes of the machine's parts, to find the one that differs; may be empty.
    pub parts: Vec<u32>,
}

/// How a timeline is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimelineSettings {
    /// Host memory for checkpoints, in bytes.
    pub budget: usize,
    /// Ticks between two checkpoints; it doubles as the run grows, each time 256 of them have passed.
    pub interval: u64,
    /// Whether the machine is hashed at each checkpoint, and some checkpoints are stored, for a recording.
    pub spine: bool,
    /// Of so many checkpoints at the head of the run, one is stored.
    pub store: u64,
}

impl Default for TimelineSettings {
    fn default() -> Self {
        TimelineSettings { budget: 512 << 20, interval: 1 << 26, spine: false, store: 4 }
    }
}

/// The machine may run this many ticks before it is looked at how much it has written.
const STRETCH: u64 = 1 << 22;

/// The past of one machine, and its future as far as it is known. All calls take the same machine.
#[derive(Debug)]
pub struct Timeline {
    settings: TimelineSettings,
    /// In ascending order; there is always one.
    checkpoints: Vec<Checkpoint>,
    /// The last checkpoint that is not ahead of the machine: what was written since is what differs from it.
    base: usize,
    /// Every input, with its tick.
    log: Vec<(Ticks, Input)>,
    /// How many of them the machine has got.
    applied: usize,
    /// The farthest point that is known to be reached.
    end: Ticks,
    /// While checkpoints lie ahead: what pages hold at the last of them, where the machine holds something else.
    head: BTreeMap<Key, PageImage>,
    /// When the next checkpoint is due, if none lies ahead.
    due: Ticks,
    /// Hashes made since [`Self::take_spine`].
    spine: Vec<SpinePoint>,
    /// The last point that was hashed.
    spined: Option<Mark>,
    /// Checkpoints stored since [`Self::take_stored`]; the last one; when the next is due; and what was written since, as
    /// far as it is sealed.
    stored: Vec<Stored>,
    stored_at: Mark,
    store_due: Ticks,
    unstored: BTreeSet<Key>,
    /// Checkpoints from a recording that were not what they should be.
    lies: Vec<Ticks>,
    /// Whether checkpoints from a recording have blocks of disks.
    has_blocks: bool,
    /// Hashes that a recording promises, in ascending order, and how many of them have been compared.
    expected: Vec<SpinePoint>,
    compared: usize,
    diverged: Option<Divergence>,
}

/// A machine at a point of its run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// Where.
    pub at: Mark,
    /// Its state.
    pub state: Vec<u8>,
    /// The inputs that led there.
    pub log: Vec<(Ticks, Input)>,
}

/// A machine that is not what its recording says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The last point at which it still was; `None` if there was none.
    pub good: Option<Mark>,
    /// What was expected, and where.
    pub expected: SpinePoint,
    /// What it is.
    pub found: StateHash,
    /// The parts of the machine that differ, by name.
    pub parts: Vec<String>,
}

impl Timeline {
    /// Begins at the machine's present.
    #[must_use]
    pub fn new(sys: &mut System, settings: TimelineSettings) -> Timeline {
        sys.track_writes(true);
        let now = sys.now();
        let mut timeline = Timeline {
            settings,
            checkpoints: Vec::new(),
            base: 0,
            log: Vec::new(),
            applied: 0,
            end: now,
            head: BTreeMap::new(),
            due: now,
            spine: Vec::new(),
            spined: None,
            stored: Vec::new(),
            stored_at: Mark { tick: now, inputs: 0 },
            store_due: now.after(settings.interval.saturating_mul(settings.store)),
            unstored: BTreeSet::new(),
            lies: Vec::new(),
            has_blocks: false,
            expected: Vec::new(),
            compared: 0,
            diverged: None,
        };
        timeline.checkpoint(sys);
        timeline
    }

    /// How it is kept.
    #[must_use]
    pub fn settings(&self) -> TimelineSettings {
        self.settings
    }

    /// Ends it: the machine runs on as it is, and nothing is noted any more.
    pub fn close(self, sys: &mut System) {
        sys.track_writes(false);
    }

    /// Gives the machine a past and a future: those of a recording, which ends at tick `end`. The machine stands where it
    /// has got `applied` of the inputs. Only before it has run.
    pub fn expect(&mut self, log: Vec<(Ticks, Input)>, applied: usize, spine: Vec<SpinePoint>, end: Ticks) {
        let at = Mark { tick: self.checkpoints[0].at.tick, inputs: applied.min(log.len()) };
        self.checkpoints[0].at = at;
        self.compared = spine.partition_point(|s| s.at < at);
        (self.log, self.applied, self.expected) = (log, at.inputs, spine);
        self.end = self.end.max(end);
    }

    /// Every input that the machine has got, and those that it will get.
    #[must_use]
    pub fn log(&self) -> &[(Ticks, Input)] {
        &self.log
    }

    /// The farthest tick that is known.
    #[must_use]
    pub fn end(&self) -> Ticks {
        self.end
    }

    /// The first tick that can be gone to.
    #[must_use]
    pub fn start(&self) -> Ticks {
        self.checkpoints[0].at.tick
    }

    /// Where the machine stands.
    #[must_use]
    pub fn mark(&self, sys: &System) -> Mark {
        Mark { tick: sys.now(), inputs: self.applied }
    }

    /// Whether the machine stands before the end of what is known.
    #[must_use]
    pub fn is_past(&self, sys: &System) -> bool {
        self.applied < self.log.len() || sys.now() < self.end
    }

    /// Compares nothing more with what a recording says: the machine goes on as it is.
    pub fn stop_comparing(&mut self) {
        self.expected.clear();
        (self.compared, self.diverged) = (0, None);
    }

    /// Takes the hashes made since the last call.
    pub fn take_spine(&mut self) -> Vec<SpinePoint> {
        core::mem::take(&mut self.spine)
    }

    /// Where the machine first was not what its recording says, if that has happened.
    #[must_use]
    pub fn divergence(&self) -> Option<&Divergence> {
        self.diverged.as_ref()
    }

    /// How many points of the recording's spine have been found right, and how many there are.
    #[must_use]
    pub fn verified(&self) -> (usize, usize) {
        (self.compared, self.expected.len())
    }

    /// Hands an input to the machine, now, and logs it. Returns whether there was a device for it; nothing happens in the
    /// past.
    pub fn input(&mut self, sys: &mut System, input: Input) -> bool {
        if self.is_past(sys) {
            return false;
        }
        let taken = hand(sys, &input);
        self.end = sys.now();
        self.log.push((sys.now(), input));
        self.applied += 1;
        taken
    }

    /// The machine at its present, for another machine of the same configuration to go on from: its whole state, which
    /// [`System::load`] reads, and the inputs that it has got. This one is not changed.
    #[must_use]
    pub fn fork(&self, sys: &System) -> Fork {
        let mut w = StateWriter::new();
        sys.save(&mut w);
        Fork { at: self.mark(sys), state: w.into_bytes(), log: self.log[..self.applied].to_vec() }
    }

    /// Forgets everything behind the machine's present.
    pub fn discard_future(&mut self, sys: &System) {
        self.log.truncate(self.applied);
        self.expected.truncate(self.compared);
        self.forget_ahead();
        self.end = sys.now();
    }

    /// Runs as [`System::run`] does, with the inputs that the log has.
    pub fn run(&mut self, sys: &mut System, until: Ticks) -> Stop {
        loop {
            self.pass(sys);
            let now = sys.now();
            if now >= until || self.diverged.is_some() {
                return Stop::Deadline;
            }
            let to = until.min(self.next_stop(now));
            let stop = sys.run(to);
            self.end = self.end.max(sys.now());
            match stop {
                Stop::Deadline | Stop::Asleep if sys.now() < until => {}
                Stop::TripleFault if self.log.get(self.applied).is_some_and(|i| i.0 <= sys.now()) => {}
                Stop::Deadline | Stop::Asleep => {
                    self.pass(sys);
                    return stop;
                }
                _ => return stop,
            }
        }
    }

    /// The next tick at which something is to be done.
    fn next_stop(&self, now: Ticks) -> Ticks {
        let input = self.log.get(self.applied).map_or(Ticks::NEVER, |i| i.0);
        let check = self.expected.get(self.compared).map_or(Ticks::NEVER, |s| s.at.tick);
        let checkpoint = self.checkpoints.get(self.base + 1).map_or(self.due, |c| c.at.tick);
        let next = input.min(check).min(checkpoint).max(now + 1);
        next.min(now.after(STRETCH))
    }

    /// Does what is due at the machine's present: checkpoints, comparing, inputs.
    fn pass(&mut self, sys: &mut System) {
        loop {
            let mark = self.mark(sys);
            self.pass_checkpoint(sys, mark);
            self.compare(sys, mark);
            if self.diverged.is_some() {
                return; // the machine stays what it was compared as
            }
            match self.log.get(self.applied) {
                Some((tick, input)) if *tick <= mark.tick => {
                    let input = input.clone();
                    hand(sys, &input);
                    self.applied += 1;
                }
                _ => return,
            }
        }
    }

    /// Compares the machine with what its recording says of this point.
    fn compare(&mut self, sys: &mut System, mark: Mark) {
        while let Some(expected) = self.expected.get(self.compared).filter(|s| s.at <= mark) {
            let good = self.compared.checked_sub(1).map(|i| self.expected[i].at);
            if expected.at == mark {
                let (found, parts) = sys.tracked_hash();
                if found != expected.hash {
                    let differ = sys.part_names().into_iter().zip(parts.iter().zip(&expected.parts));
                    let parts = differ.filter(|(_, (a, b))| a != b).map(|d| d.0).collect();
                    self.diverged = Some(Divergence { good, expected: expected.clone(), found, parts });
                    return;
                }
            }
            self.compared += 1;
        }
    }
}

/// Gives `input` to the machine, at a moment that is the same whatever came before at this tick.
fn hand(sys: &mut System, input: &Input) -> bool {
    let now = sys.now();
    sys.run(now);
    sys.input(input)
}
