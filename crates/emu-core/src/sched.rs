//! The event queue: devices ask to be called at a tick, and never poll.
//!
//! A device has at most one pending event per tag; asking again moves it. Events due at the same tick fire in the order
//! in which they were asked for, so two runs of a machine fire them alike.

use crate::bus::DeviceId;
use crate::state::{State, StateError, StateReader, StateWriter};
use crate::time::Ticks;

/// A pending event, as its device asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it is due.
    pub at: Ticks,
    /// Order among events of the same tick.
    pub seq: u64,
    /// Whom to call.
    pub device: DeviceId,
    /// Which of the device's timers it is.
    pub tag: u32,
}

/// The pending events of a machine. There are a few dozen at the most, so a plain vector is the fastest queue.
#[derive(Debug, Default)]
pub struct Scheduler {
    pending: Vec<Event>,
    next_seq: u64,
    earliest: Option<Ticks>,
}

impl Scheduler {
    /// Calls `device` with `tag` at `at`, instead of when an earlier request for the same tag said.
    pub fn set(&mut self, device: DeviceId, tag: u32, at: Ticks) {
        self.pending.retain(|e| e.device != device || e.tag != tag);
        self.pending.push(Event { at, seq: self.next_seq, device, tag });
        self.next_seq += 1;
        self.refresh();
    }

    /// Forgets the event of `device` with `tag`, if there is one.
    pub fn cancel(&mut self, device: DeviceId, tag: u32) {
        self.pending.retain(|e| e.device != device || e.tag != tag);
        self.refresh();
    }

    /// When the event of `device` with `tag` is due.
    #[must_use]
    pub fn when(&self, device: DeviceId, tag: u32) -> Option<Ticks> {
        self.pending.iter().find(|e| e.device == device && e.tag == tag).map(|e| e.at)
    }

    /// The earliest deadline; [`Ticks::NEVER`] if nothing is pending.
    #[must_use]
    pub fn next_deadline(&self) -> Ticks {
        self.earliest.unwrap_or(Ticks::NEVER)
    }

    /// Takes the first event that is due at `now`.
    pub fn pop_due(&mut self, now: Ticks) -> Option<Event> {
        if self.next_deadline() > now {
            return None;
        }
        let first = (0..self.pending.len()).min_by_key(|&i| (self.pending[i].at, self.pending[i].seq))?;
        let event = self.pending.remove(first);
        self.refresh();
        Some(event)
    }

    fn refresh(&mut self) {
        self.earliest = self.pending.iter().map(|e| e.at).min();
    }
}

impl State for Scheduler {
    const TAG: [u8; 4] = *b"SCHD";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { pending, next_seq, earliest: _ } = self;
        let mut sorted: Vec<_> = pending.iter().map(|e| (e.at.0, e.seq, e.device.0, e.tag)).collect();
        sorted.sort_unstable();
        w.field(1, &sorted);
        w.field(2, next_seq);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let sorted: Vec<(u64, u64, u16, u32)> = r.field(1)?;
        self.next_seq = r.field(2)?;
        self.pending = sorted
            .into_iter()
            .map(|(at, seq, device, tag)| Event { at: Ticks(at), seq, device: DeviceId(device), tag })
            .collect();
        self.refresh();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_break_by_order_of_asking() {
        let mut s = Scheduler::default();
        s.set(DeviceId(2), 0, Ticks(5));
        s.set(DeviceId(1), 0, Ticks(5));
        s.set(DeviceId(1), 1, Ticks(4));
        s.set(DeviceId(2), 0, Ticks(5)); // asked again: now after device 1
        let order: Vec<_> = core::iter::from_fn(|| s.pop_due(Ticks(5))).map(|e| (e.device.0, e.tag)).collect();
        assert_eq!(order, [(1, 1), (1, 0), (2, 0)]);
        assert_eq!(s.next_deadline(), Ticks::NEVER);
    }
}
