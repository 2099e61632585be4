//! CPUs in turn: which of them runs, until when, and what is kept of the others (docs/adr/0025).
//!
//! One CPU runs at a time, and every tick belongs to one of them, so that the clock, what devices see of it and the time
//! stamp counters only grow. A turn ends behind a fixed number of ticks, or when its CPU waits: in HLT, for a start-up IPI,
//! or for another CPU by PAUSE. Who runs next follows from the machine's state alone. A CPU that is the only one with
//! something to do keeps the turn until another one has.

use super::System;
use super::translations::Globals;
use crate::cpu::bits::IF;
use crate::cpu::{Activity, Cpu};
use crate::mem::Tlb;
use crate::state::{StateError, StateReader, StateWriter};
use crate::time::Ticks;

/// Ticks of a turn: long enough that passing it on costs little, short enough that nobody waits for a lock for long.
const TURN: u64 = 4000;

/// The most CPUs that a machine can have.
const MOST: u8 = 8;

/// A CPU that waits for its turn, with its translation cache.
pub(crate) struct Parked {
    pub(crate) cpu: Cpu,
    pub(crate) tlb: Tlb,
    pub(super) globals: Globals,
    /// Its cache holds nothing that an alignment check must see.
    aligned: bool,
}

impl System {
    /// Gives the machine `count` CPUs (up to 8) of the first one's model, all but that one waiting to be started. Before
    /// the first reset only; the bus must be one for as many.
    pub fn set_cpus(&mut self, count: u8) {
        for id in 1..count.min(MOST) {
            let cpu = Cpu::new(self.cpu.model, id);
            self.parked.push(Parked { cpu, tlb: Tlb::default(), globals: Globals::default(), aligned: false });
            self.engine.add_view();
        }
    }

    /// How many CPUs there are.
    #[must_use]
    pub fn cpu_count(&self) -> usize {
        1 + self.parked.len()
    }

    /// All CPUs, in the order of their numbers.
    pub fn cpus(&self) -> impl Iterator<Item = &Cpu> {
        let all = move || core::iter::once(&self.cpu).chain(self.parked.iter().map(|other| &other.cpu));
        (0..self.cpu_count() as u8).filter_map(move |id| all().find(|cpu| cpu.id == id))
    }

    /// Calls `f` with each CPU, in the order of their numbers.
    ///
    /// # Errors
    /// The first that `f` gives.
    pub fn each_cpu<E>(&mut self, mut f: impl FnMut(&mut Cpu) -> Result<(), E>) -> Result<(), E> {
        for id in 0..self.cpu_count() as u8 {
            let mut all = core::iter::once(&mut self.cpu).chain(self.parked.iter_mut().map(|other| &mut other.cpu));
            all.find(|cpu| cpu.id == id).map_or(Ok(()), &mut f)?;
        }
        Ok(())
    }

    /// Starts the generators behind RDRAND and RDSEED from a machine's seed; every CPU gets a sequence of its own.
    pub fn seed_random(&mut self, seed: u64) {
        self.cpu.seed_random(seed);
        self.parked.iter_mut().for_each(|other| other.cpu.seed_random(seed));
    }

    /// The CPU that runs waits for another one: the turn ends behind the present instruction, if there is another one.
    pub(crate) fn give_way(&mut self) {
        if self.turn_end != Ticks::NEVER {
            self.turn_end = self.now() + 1;
            self.leave = true;
        }
    }

    /// Passes the turn on if it is over. Returns whether another CPU has it now. This depends on the machine's state alone,
    /// and does nothing when it is called again.
    #[cold]
    #[inline(never)]
    pub(super) fn pass_turn(&mut self) -> bool {
        // The machine stands where a CPU has shut down, until someone resets it.
        if self.cpu.activity == Activity::Shutdown {
            return false;
        }
        let now = self.now();
        let runs = self.has_work(&self.cpu);
        let alone = self.turn_end == Ticks::NEVER;
        if runs && !alone && now < self.turn_end {
            return false;
        }
        match self.next_in_turn() {
            Some(index) => {
                self.switch_to(index);
                self.turn_end = now.after(TURN);
                true
            }
            None => {
                self.turn_end = Ticks::NEVER;
                false
            }
        }
    }

    /// Where the CPU is parked that comes next among those that have something to do.
    fn next_in_turn(&self) -> Option<usize> {
        let count = self.cpu_count();
        let distance = |cpu: &Cpu| (usize::from(cpu.id) + count - usize::from(self.cpu.id)) % count;
        let waiting = self.parked.iter().enumerate().filter(|(_, other)| self.has_work(&other.cpu));
        waiting.min_by_key(|(_, other)| distance(&other.cpu)).map(|(index, _)| index)
    }

    /// Whether `cpu` runs, or has something waiting that wakes it.
    fn has_work(&self, cpu: &Cpu) -> bool {
        let pins = self.bus.cpu_pins(cpu.id);
        if pins.reset || (pins.init && !cpu.smm) {
            return true;
        }
        let interrupt = || {
            cpu.pending_debug != 0
                || (pins.nmi && !cpu.nmi_blocked)
                || (pins.smi && !cpu.smm)
                || (pins.intr && cpu.eflags & IF != 0)
        };
        match cpu.activity {
            Activity::Running | Activity::Shutdown => true,
            Activity::WaitForSipi => pins.sipi.is_some(),
            Activity::Halted => interrupt(),
            Activity::Stalled => self.bus.ignores_x87_errors(cpu.id) || interrupt(),
        }
    }

    /// Makes the CPU parked at `index` the one that runs.
    fn switch_to(&mut self, index: usize) {
        let now = self.now();
        let Some(other) = self.parked.get_mut(index) else { return };
        core::mem::swap(&mut self.cpu, &mut other.cpu);
        core::mem::swap(&mut self.tlb, &mut other.tlb);
        core::mem::swap(&mut self.globals, &mut other.globals);
        // Of what others write to page tables only the TLB of the CPU that runs is told.
        self.tlb.flush(false);
        core::mem::swap(&mut self.aligned, &mut other.aligned);
        self.engine.swap_view(index);
        self.mem.set_smm(self.cpu.smm);
        self.bus.pass_turn(&mut self.mem, now, self.cpu.id);
        self.halted_since = None;
    }

    /// Writes the clock, and of several CPUs whose turn it is and until when.
    pub(super) fn save_turn(&self, w: &mut StateWriter) {
        let version = if self.parked.is_empty() { 1 } else { 2 };
        w.chunk_with(*b"SYS ", version, |w| {
            w.field(1, &self.now().0);
            if !self.parked.is_empty() {
                w.field(2, &self.cpu.id);
                w.field(3, &self.turn_end.0);
            }
        });
    }

    /// Reads what [`Self::save_turn`] wrote; gives the tick.
    ///
    /// # Errors
    /// Any [`StateError`].
    pub(super) fn load_turn(&mut self, r: &mut StateReader<'_>) -> Result<Ticks, StateError> {
        let count = self.cpu_count();
        let (mut now, mut running) = (0, 0);
        // 2: turns of several CPUs.
        r.chunk_with(*b"SYS ", 2, |r| {
            now = r.field(1)?;
            if count > 1 {
                let id: u8 = r.field(2)?;
                if usize::from(id) >= count {
                    return Err(r.invalid("it has no CPU of that number"));
                }
                (running, self.turn_end) = (id, Ticks(r.field(3)?));
            }
            Ok(())
        })?;
        if let Some(index) = self.parked.iter().position(|other| other.cpu.id == running) {
            self.switch_to(index);
        }
        Ok(Ticks(now))
    }
}
