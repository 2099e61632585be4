//! The machine's saved state and its hash.

use super::System;
use crate::state::{StateError, StateHash, StateReader, StateWriter};
use crate::time::Ticks;

impl System {
    /// Writes the whole machine: clock, CPUs, memory, devices, firmware. Only between runs.
    pub fn save(&self, w: &mut StateWriter) {
        self.save_all_but_memory(w);
        w.chunk(&self.mem);
    }

    fn save_all_but_memory(&self, w: &mut StateWriter) {
        w.chunk_with(*b"SYS ", 1, |w| w.field(1, &self.now().0));
        w.chunk(&self.cpu);
        self.parked.iter().for_each(|(cpu, _)| w.chunk(cpu));
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
        let mut now = 0;
        r.chunk_with(*b"SYS ", 1, |r| {
            now = r.field(1)?;
            Ok(())
        })?;
        self.engine.clear(&mut self.mem);
        self.mem.take_fresh_code();
        (self.deadline, self.budget, self.at, self.ending) = (Ticks(now), 0, None, None);
        r.chunk(&mut self.cpu)?;
        self.parked.iter_mut().try_for_each(|(cpu, _)| r.chunk(cpu))?;
        self.bus.load(r)?;
        if let Some(firmware) = &mut self.firmware {
            firmware.load_chunk(r)?;
        }
        r.chunk(&mut self.mem)?;
        self.bus.restored(&mut self.mem, Ticks(now));
        self.mem.take_code_writes();
        self.flush_translations();
        self.leave = true;
        Ok(())
    }

    /// The hash of the whole state: the machine's identity at this tick. Pages of zeros cost little.
    #[must_use]
    pub fn hash(&self) -> StateHash {
        let mut w = StateWriter::new();
        self.save_all_but_memory(&mut w);
        StateHash::of(&w.into_bytes()).then(self.mem.hash())
    }
}

impl crate::mem::PhysMem {
    /// The hash of all memory: of its pages that are not zero, each with its place.
    #[must_use]
    pub fn hash(&self) -> StateHash {
        let mut all = StateHash::of(&[u8::from(self.a20())]);
        let pages = self.pool_len() / crate::mem::PAGE_SIZE;
        for page in 0..pages {
            let bytes = self.pool(page * crate::mem::PAGE_SIZE, crate::mem::PAGE_SIZE as usize);
            if bytes.iter().any(|&b| b != 0) {
                all = all.then(StateHash::of(&page.to_le_bytes())).then(StateHash::of(bytes));
            }
        }
        all
    }
}
