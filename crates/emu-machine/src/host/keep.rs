//! What a guest wrote and never had flushed, as DOS does not and a diskette drive can't, does not wait for the machine's end.

use std::time::{Duration, Instant};

use crate::Machine;

/// Host time between two looks.
const EVERY: Duration = Duration::from_secs(2);

/// When the machine's disks are flushed next.
pub(super) struct Keeper {
    next: Instant,
    failed: bool,
}

impl Keeper {
    pub(super) fn new(now: Instant) -> Keeper {
        Keeper { next: now + EVERY, failed: false }
    }

    /// Flushes the disks, if it is time to; those that were not written since do nothing. Returns the first failure: a
    /// guest that never flushes would not hear of it.
    pub(super) fn poll(&mut self, machine: &Machine) -> Option<String> {
        if Instant::now() < self.next {
            return None;
        }
        let results = machine.system.bus.volumes().iter().map(|v| v.drive().flush());
        let error = results.filter_map(Result::err).next().filter(|_| !core::mem::replace(&mut self.failed, true));
        self.next = Instant::now() + EVERY;
        error.map(|e| format!("what the guest wrote can't be kept: {e}"))
    }
}
