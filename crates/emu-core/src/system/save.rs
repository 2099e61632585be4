//! The machine's saved state and its hash.

use super::System;
use crate::mem::PhysMem;
use crate::state::{State, StateError, StateHash, StateReader, StateWriter, chunks};
use crate::time::Ticks;

impl System {
    /// Writes the whole machine: clock, CPUs, memory, devices, firmware. Only between runs.
    pub fn save(&self, w: &mut StateWriter) {
        self.save_all_but_memory(w);
        w.chunk(&self.mem);
        self.bus.save_volumes(w);
    }

    /// Writes the whole machine without the contents of memory and volumes.
    pub(crate) fn save_all_but_memory(&self, w: &mut StateWriter) {
        self.save_turn(w);
        self.cpus().for_each(|cpu| w.chunk(cpu));
        self.bus.save(w);
        if let Some(firmware) = &self.firmware {
            firmware.save_chunk(w);
        }
    }

    /// Reads what [`Self::save`] wrote, into a machine of the same configuration.
    ///
    /// # Errors
    /// Any [`StateError`]; then the machine must be reset before it runs.
    pub fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let now = self.load_parts(r)?;
        self.engine.clear(&mut self.mem);
        self.mem.take_fresh_code();
        r.chunk(&mut self.mem)?;
        self.settle_loaded(now);
        // Volumes come last: drives only know the digests of what lies in them.
        self.bus.load_volumes(r)?;
        self.mem.take_code_writes();
        Ok(())
    }

    /// Reads what [`Self::save_all_but_memory`] wrote. Memory and volumes have their contents already; decoded code that
    /// changed with them is noted in memory.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub(crate) fn load_all_but_memory(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let now = self.load_parts(&mut StateReader::new(bytes))?;
        self.settle_loaded(now);
        Ok(())
    }

    /// Reads clock, CPUs, devices and firmware.
    fn load_parts(&mut self, r: &mut StateReader<'_>) -> Result<Ticks, StateError> {
        let now = self.load_turn(r)?;
        (self.deadline, self.budget, self.at, self.ending) = (now, 0, None, None);
        self.each_cpu(|cpu| r.chunk(cpu))?;
        self.bus.load(r)?;
        if let Some(firmware) = &mut self.firmware {
            firmware.load_chunk(r)?;
        }
        Ok(now)
    }

    /// Puts everything right that follows from what was loaded.
    fn settle_loaded(&mut self, now: Ticks) {
        self.mem.set_smm(self.cpu.smm);
        self.bus.restored(&mut self.mem, now);
        self.bus.take_output();
        (self.late_fault, self.halted_since) = (None, None);
        (self.debug_hits, self.single_step) = (0, false);
        // What happened last is not known of another moment.
        self.trail = super::trail::Trail::default();
        self.flush_all_translations();
        self.leave = true;
    }

    /// The hash that [`Self::hash`] had when `bytes` were saved, if memory now holds what they say of it: after loading them,
    /// also those of an older version, which this one would save otherwise.
    #[must_use]
    pub fn hash_when_saved(&self, bytes: &[u8]) -> StateHash {
        let before_memory = chunks(bytes).take_while(|c| !c.starts_with(&PhysMem::TAG)).map(<[u8]>::len).sum();
        StateHash::of(&bytes[..before_memory]).then(self.mem.hash())
    }

    /// The hash of the whole state: the machine's identity at this tick. Pages of zeros cost little.
    #[must_use]
    pub fn hash(&self) -> StateHash {
        let mut w = StateWriter::new();
        self.save_all_but_memory(&mut w);
        StateHash::of(&w.into_bytes()).then(self.mem.hash())
    }

    /// The same hash, from the pages that changed since the last call; and a short one of each part of the machine, in the
    /// order of [`Self::part_names`]. Only while memory is tracked.
    pub(crate) fn tracked_hash(&mut self) -> (StateHash, Vec<u32>) {
        let mut w = StateWriter::new();
        self.save_all_but_memory(&mut w);
        let bytes = w.into_bytes();
        let sum = self.mem.tracked_page_sum();
        let memory = self.mem.hash_with(sum);
        let mut parts: Vec<u32> = chunks(&bytes).map(|c| StateHash::of(c).0 as u32).collect();
        parts.push(memory.0 as u32);
        (StateHash::of(&bytes).then(memory), parts)
    }

    /// The hash that the machine had when all but its memory was saved as `bytes`, if memory now holds what it held then.
    /// Only while memory is tracked.
    pub(crate) fn tracked_hash_of(&mut self, bytes: &[u8]) -> StateHash {
        let sum = self.mem.tracked_page_sum();
        StateHash::of(bytes).then(self.mem.hash_with(sum))
    }

    /// The hash of each part of the machine, with its name; without the contents of disks, of which drives have digests.
    #[must_use]
    pub fn part_hashes(&self) -> Vec<(String, StateHash)> {
        let mut w = StateWriter::new();
        self.save_all_but_memory(&mut w);
        let bytes = w.into_bytes();
        let hashes = chunks(&bytes).map(StateHash::of).chain([self.mem.hash()]);
        self.part_names().into_iter().zip(hashes).collect()
    }

    /// The parts that the machine's state is made of: devices by their own names.
    #[must_use]
    pub fn part_names(&self) -> Vec<String> {
        let mut names = vec!["clock".to_owned()];
        names.extend((0..=self.parked.len()).map(|n| format!("cpu{n}")));
        names.extend(["events", "wires", "bus"].map(String::from));
        names.extend(self.bus.devices().map(|(_, name)| name.to_owned()));
        names.extend(self.firmware.as_ref().map(|_| "firmware".to_owned()));
        names.push("memory".into());
        names
    }
}

impl PhysMem {
    /// The hash of all memory: the A20 gate, and the sum over all pages that are not zero of a hash of number and contents.
    #[must_use]
    pub fn hash(&self) -> StateHash {
        self.hash_with(self.page_sum())
    }

    fn hash_with(&self, sum: u128) -> StateHash {
        PhysMem::hash_of(self.a20(), sum)
    }

    /// The hash of a memory whose pages' hashes have this sum.
    pub(crate) fn hash_of(a20: bool, sum: u128) -> StateHash {
        StateHash::of(&[u8::from(a20)]).then(StateHash(sum))
    }
}
