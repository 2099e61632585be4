//! Memory as a debugger sees it: read without a trace, by linear and by physical address.

use emu_core::mem::{PAGE_SIZE, Target};

use crate::session::{Place, Pool, Session, SessionError};

impl Session {
    /// Reads memory from `place` on. Devices' memory is read as they show it to those who only look. Returns how many
    /// bytes could be read: up to the first that is mapped to nothing.
    pub fn read_memory(&mut self, place: Place, buffer: &mut [u8]) -> usize {
        let mut done = 0;
        while done < buffer.len() {
            let Some((pa, in_page)) = self.piece(place, done as u64) else { break };
            let n = in_page.min((buffer.len() - done) as u64) as usize;
            if !self.read_physical(pa, &mut buffer[done..done + n]) {
                break;
            }
            done += n;
        }
        done
    }

    /// Reads inside of a page; whether anything answers there.
    fn read_physical(&mut self, pa: u64, buffer: &mut [u8]) -> bool {
        let system = self.system();
        match system.mem.target(pa).0 {
            Target::Pool(_) => system.mem.read(pa, buffer),
            Target::Mmio(region) => {
                let (now, gated) = (system.now(), system.mem.gated(pa));
                for (at, byte) in (gated..).zip(buffer) {
                    *byte = system.bus.mmio_peek(now, region, at, 1) as u8;
                }
            }
            Target::Open => return false,
        }
        true
    }

    /// Where the byte `offset` behind `place` is in physical memory, and how many bytes follow in its page.
    fn piece(&mut self, place: Place, offset: u64) -> Option<(u64, u64)> {
        let pa = match place {
            Place::Physical(at) => at.checked_add(offset)?,
            Place::Linear(at) => {
                let lin = self.system().wrap_linear(at.wrapping_add(offset));
                self.system().peek_translation(lin)?
            }
        };
        Some((pa, PAGE_SIZE - pa % PAGE_SIZE))
    }

    /// The parts of the memory pool behind `len` bytes at `place`; none if some of them are not mapped to memory.
    pub(crate) fn pool_of(&mut self, place: Place, len: u64) -> Pool {
        let mut pool = Vec::new();
        let mut done = 0;
        while done < len {
            let Some((pa, in_page)) = self.piece(place, done) else { return Vec::new() };
            let n = in_page.min(len - done);
            let part = self.system().pool_ranges(&[(pa, n)]);
            if part.is_empty() {
                return part;
            }
            pool.extend(part);
            done += n;
        }
        pool
    }

    /// Writes memory; nothing if not all of it can be written. Of a live run only: its past ends here.
    ///
    /// # Errors
    /// [`SessionError::Recorded`], [`SessionError::Recording`], [`SessionError::Unmapped`]
    pub fn write_memory(&mut self, place: Place, bytes: &[u8]) -> Result<(), SessionError> {
        self.may_change()?;
        let pool = self.pool_of(place, bytes.len() as u64);
        if pool.is_empty() && !bytes.is_empty() {
            let (Place::Linear(at) | Place::Physical(at)) = place;
            return Err(SessionError::Unmapped(at));
        }
        self.disarm();
        let mut rest = bytes;
        for (first, last) in pool {
            let (now, later) = rest.split_at((last - first + 1) as usize);
            self.system().mem.pool_write(first, now);
            rest = later;
        }
        self.changed();
        Ok(())
    }
}
