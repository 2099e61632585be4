//! Running under a debugger: turn by turn, up to a tick, with every stop told.
//!
//! The debugger moves the machine about in its past. There nothing comes in from outside, and what the machine sends out
//! has been sent before: it is dropped.

use super::*;

/// What a turn under a debugger came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The machine stands at the tick asked for, or in front of it: go on.
    Ran,
    /// It stands at a breakpoint.
    Breakpoint,
    /// The last step accessed watched memory; the hits wait to be taken.
    Watch,
    /// This ends the run. For a replay, or in the past, it is the end of what is known.
    Ended(End),
}

impl Runner {
    /// The machine and its past.
    ///
    /// # Errors
    /// If the way back is not kept.
    pub fn travel(&mut self) -> Option<(&mut Machine, &mut Timeline)> {
        Some((&mut self.machine, self.timeline.as_mut()?))
    }

    /// The machine's past.
    #[must_use]
    pub fn timeline(&self) -> Option<&Timeline> {
        self.timeline.as_ref()
    }

    /// Where a replay ends; `None` for a new run.
    #[must_use]
    pub fn replay_end(&self) -> Option<Mark> {
        self.replay_end
    }

    /// Whether the run goes into a recording.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.recorder.is_some()
    }

    /// Makes the machine's present, which something other than the guest has changed, the first point of its past.
    pub fn begin_anew(&mut self) {
        if let Some(old) = self.timeline.take() {
            let settings = old.settings();
            old.close(&mut self.machine.system);
            self.timeline = Some(Timeline::new(&mut self.machine.system, settings));
        }
    }

    /// Has keys pressed and released as a person would, once the machine runs in its present. Whether it can.
    pub fn press(&mut self, keys: Vec<Input>) -> bool {
        let room = self.replay_end.is_none() && self.keys.len() + keys.len() <= MAX_KEYS;
        if room {
            self.keys.extend(keys);
        }
        room
    }

    /// Obeys the front ends while the machine stands still. Returns what ends the run, if one of them asked for it.
    pub fn attend(&mut self) -> Option<End> {
        self.take_commands();
        self.publish();
        self.end.take()
    }

    /// Runs for a stretch, up to `until` at the most. What it sends out before tick `shown` is dropped.
    pub fn turn(&mut self, until: Ticks, shown: Ticks) -> Turn {
        self.take_commands();
        let (now, live) = (self.machine.system.now(), !self.stands_in_the_past());
        if live {
            self.run_script();
            self.release_keys();
            self.write_recording();
        }
        self.publish();
        if let Some(end) = self.end.take() {
            return Turn::Ended(end);
        }
        let mut until = until.min(self.replay_end.map_or(Ticks::NEVER, |end| end.tick));
        if now >= until {
            return self.arrive(until);
        }
        until = until.min(now.after(self.milliseconds(STRETCH_MS)));
        if live {
            until = until.min(self.options.script.wake());
            if !self.keys.is_empty() {
                until = until.min(self.key_wake);
            }
        }
        if now < shown {
            until = until.min(shown);
        }
        if live && self.options.pace {
            let instant = Instant::now();
            if self.pacer.allowed(instant, now) < now.after(self.milliseconds(1)) {
                self.nap(self.pacer.until(instant, now.after(self.milliseconds(2))).min(NAP));
                return Turn::Ran;
            }
        }
        self.run_debugged(until.max(now + 1), now < shown, live)
    }

    fn run_debugged(&mut self, until: Ticks, mute: bool, live: bool) -> Turn {
        let Some(timeline) = &mut self.timeline else { return Turn::Ended(End::Host("no timeline".into())) };
        let stop = timeline.run(&mut self.machine.system, until);
        if let Some(d) = timeline.divergence() {
            return Turn::Ended(End::Diverged(d.clone()));
        }
        if mute {
            self.machine.system.bus.take_output();
        } else {
            self.carry_output();
        }
        if stop == Stop::TripleFault {
            if !live {
                return Turn::Ended(End::TripleFault);
            }
            self.triple_fault();
        }
        if live {
            self.watch_for_death();
        }
        match stop {
            Stop::Breakpoint => Turn::Breakpoint,
            Stop::Watch => Turn::Watch,
            _ => self.end.take().map_or(Turn::Ran, Turn::Ended),
        }
    }

    /// The machine stands at the tick asked for; a replay that stands at its end has the last inputs and the last look at
    /// its spine before it.
    fn arrive(&mut self, until: Ticks) -> Turn {
        match (self.replay_end, &mut self.timeline) {
            (Some(end), Some(timeline)) if end.tick == until => {
                timeline.run(&mut self.machine.system, until);
                match timeline.divergence() {
                    Some(d) => Turn::Ended(End::Diverged(d.clone())),
                    None => Turn::Ended(End::Replayed),
                }
            }
            _ => Turn::Ran,
        }
    }

    fn stands_in_the_past(&self) -> bool {
        self.timeline.as_ref().is_some_and(|t| t.is_past(&self.machine.system))
    }
}
