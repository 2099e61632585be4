//! A machine under a debugger: where it may stop, and running it forwards until it does.

use emu_core::cpu::{Activity, Mode, seg};
use emu_core::mem::WatchHit;
use emu_core::timeline::{Divergence, SeekError};
use emu_core::{System, Ticks, Timeline};
use emu_machine::Machine;
use emu_machine::host::{End, Runner, Turn};

/// Parts of the memory pool: first and last byte.
pub(crate) type Pool = Vec<(u64, u64)>;

/// Why the machine stands where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Halt {
    /// What was asked for is done.
    Done,
    /// The instruction at a breakpoint is next.
    Breakpoint,
    /// Watched memory was accessed by the step just done, or will be by the next one if the machine ran backwards.
    Watch {
        /// Which watchpoint.
        number: usize,
        /// The step wrote.
        write: bool,
    },
    /// There is nothing before this.
    Start,
    /// The run ends here, or what is known of it.
    End(Box<End>),
    /// The user asked for it.
    Interrupted,
}

/// An address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// As programs see it, behind segments and before paging.
    Linear(u64),
    /// As the bus sees it.
    Physical(u64),
}

/// What a watchpoint stops at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Writes, of the CPU and of devices.
    Write,
    /// Reads of the CPU's instructions.
    Read,
    /// Both.
    Any,
}

impl Access {
    fn writes(self) -> bool {
        self != Access::Read
    }

    fn reads(self) -> bool {
        self != Access::Write
    }
}

/// Memory that is watched. It is the same memory all the time, even where its address once led elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watchpoint {
    /// How the user calls it.
    pub number: usize,
    /// Where it begins.
    pub place: Place,
    /// Bytes.
    pub len: u64,
    /// What it stops at.
    pub access: Access,
    /// The parts of the memory pool; none as long as the address leads to no memory.
    pool: Pool,
}

/// Why something could not be done. Each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The way back is not kept.
    #[error("there is no way back in time without the timeline: leave --timeline=off away")]
    NoTimeline,
    /// A recording is what it is.
    #[error("a recorded run can't be changed: what happened in it has happened")]
    Recorded,
    /// This run becomes a recording.
    #[error("this run is being recorded: what a debugger changes would be missing in the recording")]
    Recording,
    /// The machine can't be put there.
    #[error(transparent)]
    Seek(#[from] SeekError),
    /// No memory answers there.
    #[error("{0:#x} is not mapped to memory now")]
    Unmapped(u64),
    /// This register is part of the machine's mode.
    #[error("{0} can't be written here")]
    ReadOnly(String),
}

/// A machine with its past.
#[derive(Debug)]
pub struct Session {
    runner: Runner,
    /// Linear addresses; the same one as often as it was set.
    breakpoints: Vec<u64>,
    watchpoints: Vec<Watchpoint>,
    next_number: usize,
    /// Whether memory is being watched now.
    armed: bool,
    /// How far the machine has ever been: what it sent out up to there is not sent again.
    shown: Ticks,
}

impl Session {
    /// A session with what `runner` runs.
    ///
    /// # Errors
    /// [`SessionError::NoTimeline`]
    pub fn new(mut runner: Runner) -> Result<Session, SessionError> {
        let (machine, _) = runner.travel().ok_or(SessionError::NoTimeline)?;
        let shown = machine.system.now();
        let (breakpoints, watchpoints) = (Vec::new(), Vec::new());
        Ok(Session { runner, breakpoints, watchpoints, next_number: 1, armed: false, shown })
    }

    /// The machine.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.runner.machine
    }

    /// The CPU with its memory and devices, to be looked at: some looks need it to be changeable, but none changes it.
    pub fn system(&mut self) -> &mut System {
        &mut self.runner.machine.system
    }

    /// What runs the machine.
    pub fn runner(&mut self) -> &mut Runner {
        &mut self.runner
    }

    /// Ends the session.
    #[must_use]
    pub fn into_runner(mut self) -> Runner {
        self.disarm();
        self.system().set_breakpoints(&[]);
        self.runner
    }

    /// Where the machine stands.
    #[must_use]
    pub fn now(&self) -> Ticks {
        self.machine().system.now()
    }

    /// The first tick that can be gone to.
    #[must_use]
    pub fn start(&self) -> Ticks {
        self.runner.timeline().map_or(Ticks(0), Timeline::start)
    }

    /// The last tick that is known.
    #[must_use]
    pub fn end(&self) -> Ticks {
        self.runner.timeline().map_or(Ticks(0), Timeline::end)
    }

    /// How far the machine has been.
    #[must_use]
    pub fn reached(&self) -> Ticks {
        self.shown
    }

    /// What the machine sends out before `tick` is not shown.
    pub(crate) fn skip_to(&mut self, tick: Ticks) {
        self.shown = self.shown.max(tick);
    }

    /// Whether it is a recording that plays.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        self.runner.replay_end().is_some()
    }

    /// Where the machine was not what its recording says, if that has come to light.
    #[must_use]
    pub fn divergence(&self) -> Option<&Divergence> {
        self.runner.timeline().and_then(Timeline::divergence)
    }

    /// The linear address of the next instruction.
    #[must_use]
    pub fn pc(&self) -> u64 {
        let cpu = &self.machine().system.cpu;
        if cpu.mode.has(Mode::CODE64) { cpu.rip } else { cpu.seg[seg::CS].base.wrapping_add(cpu.rip) & 0xFFFF_FFFF }
    }

    /// Has the machine stop before the instruction at linear address `at`.
    pub fn add_breakpoint(&mut self, at: u64) {
        self.breakpoints.push(at);
    }

    /// Takes one breakpoint at `at` away; whether there was one.
    pub fn remove_breakpoint(&mut self, at: u64) -> bool {
        let found = self.breakpoints.iter().position(|&b| b == at);
        found.map(|i| self.breakpoints.swap_remove(i)).is_some()
    }

    /// All breakpoints.
    #[must_use]
    pub fn breakpoints(&self) -> &[u64] {
        &self.breakpoints
    }

    /// Watches memory; returns the watchpoint's number. If nothing is mapped there yet, it is watched as soon as something
    /// is.
    pub fn add_watchpoint(&mut self, place: Place, len: u64, access: Access) -> usize {
        let number = self.next_number;
        self.next_number += 1;
        self.watchpoints.push(Watchpoint { number, place, len, access, pool: Vec::new() });
        self.resolve_watchpoints();
        number
    }

    /// Takes the first watchpoint away that `which` picks; whether there was one.
    pub fn remove_watchpoint(&mut self, which: impl Fn(&Watchpoint) -> bool) -> bool {
        let found = self.watchpoints.iter().position(which);
        found.map(|i| self.watchpoints.remove(i)).is_some()
    }

    /// All watchpoints.
    #[must_use]
    pub fn watchpoints(&self) -> &[Watchpoint] {
        &self.watchpoints
    }

    /// Finds the memory of watchpoints that had none so far. Returns whether some has been found.
    fn resolve_watchpoints(&mut self) -> bool {
        let mut watchpoints = core::mem::take(&mut self.watchpoints);
        let mut found = false;
        for w in watchpoints.iter_mut().filter(|w| w.pool.is_empty()) {
            w.pool = self.pool_of(w.place, w.len);
            found |= !w.pool.is_empty();
        }
        self.watchpoints = watchpoints;
        found
    }

    /// The parts of the pool that watchpoints lie in: those whose writes, and those whose reads, are watched.
    pub(crate) fn watched_pool(&self) -> (Pool, Pool) {
        let parts = |of: fn(Access) -> bool| {
            self.watchpoints.iter().filter(|w| of(w.access)).flat_map(|w| w.pool.iter().copied()).collect()
        };
        (parts(Access::writes), parts(Access::reads))
    }

    /// The watchpoint that one of `hits` belongs to.
    pub(crate) fn watchpoint_hit(&self, hits: &[WatchHit]) -> Option<Halt> {
        let touches = |w: &Watchpoint, h: &WatchHit| {
            (if h.write { w.access.writes() } else { w.access.reads() })
                && w.pool.iter().any(|&(first, last)| h.offset <= last && h.offset + h.len > first)
        };
        hits.iter().find_map(|h| {
            let w = self.watchpoints.iter().find(|w| touches(w, h))?;
            Some(Halt::Watch { number: w.number, write: h.write })
        })
    }

    /// Sets what the machine is to stop at.
    pub(crate) fn arm(&mut self) {
        self.resolve_watchpoints();
        let breakpoints = self.breakpoints.clone();
        self.system().set_breakpoints(&breakpoints);
        let (writes, reads) = self.watched_pool();
        if !writes.is_empty() || !reads.is_empty() || self.armed {
            self.system().watch_pool(&writes, &reads);
            self.armed = !writes.is_empty() || !reads.is_empty();
        }
    }

    /// Has watchpoints keep still, for jumps.
    pub(crate) fn disarm(&mut self) {
        if core::mem::take(&mut self.armed) {
            self.system().watch_pool(&[], &[]);
        }
    }

    /// Runs until tick `until`, or until something stops the machine. `interrupted` is asked again and again whether the
    /// user wants it to stop.
    pub fn run(&mut self, until: Ticks, interrupted: &mut dyn FnMut() -> bool) -> Halt {
        self.arm();
        self.system().pass_breakpoint();
        self.go_on(until, interrupted)
    }

    /// As [`Self::run`], over all breakpoints and watchpoints.
    pub(crate) fn run_unarmed(&mut self, until: Ticks, interrupted: &mut dyn FnMut() -> bool) -> Halt {
        let kept = (core::mem::take(&mut self.breakpoints), core::mem::take(&mut self.watchpoints));
        let halt = self.run(until, interrupted);
        (self.breakpoints, self.watchpoints) = kept;
        halt
    }

    fn go_on(&mut self, until: Ticks, interrupted: &mut dyn FnMut() -> bool) -> Halt {
        loop {
            let turn = self.runner.turn(until, self.shown);
            self.shown = self.shown.max(self.now());
            match turn {
                Turn::Breakpoint => return Halt::Breakpoint,
                Turn::Watch => {
                    let hits = self.system().take_watch_hits();
                    if let Some(halt) = self.watchpoint_hit(&hits) {
                        return halt;
                    }
                }
                Turn::Ended(end) => return Halt::End(Box::new(end)),
                Turn::Ran if self.now() >= until => return Halt::Done,
                Turn::Ran if interrupted() => return Halt::Interrupted,
                Turn::Ran => {}
            }
            if self.resolve_watchpoints() {
                let (writes, reads) = self.watched_pool();
                self.system().watch_pool(&writes, &reads);
                self.armed = true;
            }
        }
    }

    /// One step: an instruction, an iteration of a repeated string instruction, or the delivery of an interrupt; over all of
    /// the time that the CPU is halted.
    pub fn step(&mut self, interrupted: &mut dyn FnMut() -> bool) -> Halt {
        let halt = self.run(self.now() + 1, interrupted);
        if halt != Halt::Done {
            return halt;
        }
        while self.system().cpu.activity == Activity::Halted {
            let until = self.next_happening();
            match self.go_on(until, interrupted) {
                Halt::Done => {}
                halt => return halt,
            }
            if interrupted() {
                return Halt::Interrupted;
            }
        }
        Halt::Done
    }

    /// The tick behind the next thing that may wake a halted CPU.
    fn next_happening(&self) -> Ticks {
        let system = &self.machine().system;
        let input =
            self.runner.timeline().and_then(|t| t.log().get(t.mark(system).inputs)).map_or(Ticks::NEVER, |i| i.0);
        // A tick at the least, or a live run would never look at its inputs.
        let most = system.now().after(self.machine().rate().ticks_in_us(4000));
        system.bus.next_deadline().min(input).min(most).max(system.now()) + 1
    }
}
