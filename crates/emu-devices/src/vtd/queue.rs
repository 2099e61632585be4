//! Queued invalidation: descriptors of 16 bytes in memory, between a head and a tail [VT-d 6.5.2, 10.4.21-28].

use emu_core::PhysMem;
use emu_core::bus::DevCx;
use emu_core::state::{State, StateError, StateReader, StateWriter};

use super::faults::Event;
use super::{MAX_ADDRESS_MASK, MAX_HANDLE_MASK, at, entry};

/// Bits of head and tail.
const PLACE: u64 = 0x7_FFF0;
const SIZE: u64 = 7;
/// Bits of a wait descriptor: an interrupt, a write, a fence.
const INTERRUPT: u64 = 1 << 4;
const STATUS_WRITE: u64 = 1 << 5;

/// What a descriptor asks for beyond itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    Nothing,
    /// A wait: memory to write, and whether to interrupt.
    Wait {
        write: Option<(u64, u32)>,
        interrupt: bool,
    },
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) event: Event,
    /// IQA: its address, and its size in bits 2:0.
    address: u64,
    head: u64,
    tail: u64,
    /// ICS: a wait that interrupts is over.
    completed: bool,
}

impl Queue {
    /// IQH, IQT or IQA.
    pub(super) fn register(&self, offset: u64) -> u64 {
        match offset {
            at::IQH => self.head,
            at::IQA => self.address,
            _ => self.tail,
        }
    }

    /// Writes half of one of them; the head is read-only.
    pub(super) fn write(&mut self, offset: u64, value: u32) {
        match offset & !7 {
            at::IQH => {}
            at::IQA => super::put(&mut self.address, offset, value, !0xFFF | SIZE),
            _ => super::put(&mut self.tail, offset, value, PLACE),
        }
    }

    /// It was switched off: the head goes back to the start.
    pub(super) fn stop(&mut self) {
        self.head = 0;
    }

    /// The invalidation completion status register.
    pub(super) fn completion(&self) -> u32 {
        self.completed.into()
    }

    /// A one clears it.
    pub(super) fn clear_completion(&mut self, value: u32) {
        if value & 1 != 0 {
            self.completed = false;
            self.event.withdraw();
        }
    }

    /// Does all that the queue holds, once round at most. Returns false if it stands before something that it can't do.
    pub(super) fn run(&mut self, cx: &mut DevCx<'_>) -> bool {
        let bytes = 0x1000 << (self.address & SIZE);
        if self.head == self.tail {
            return true;
        }
        if self.tail >= bytes || self.head >= bytes {
            return false;
        }
        while self.head != self.tail {
            let done = descriptor(cx.mem, (self.address & !0xFFF) + self.head);
            let Some(done) = done else { return false };
            if let Done::Wait { write, interrupt } = done {
                if let Some((at, value)) = write {
                    cx.mem.store(at, value);
                }
                if interrupt && !self.completed {
                    self.completed = true;
                    self.event.raise(cx);
                }
            }
            self.head = (self.head + 16) & (bytes - 1);
        }
        true
    }
}

/// What the descriptor at `at` asks for; `None` if it is none. As nothing is cached, invalidations only have to be valid.
fn descriptor(mem: &PhysMem, at: u64) -> Option<Done> {
    let (low, high) = entry(mem, at)?;
    let granularity = low >> 4 & 3;
    let plain = |bits: (u64, u64)| low & bits.0 == 0 && high & bits.1 == 0;
    // The type, with its upper part in bits 11:9.
    match low & 0xE0F {
        // Context cache: all, a domain, or a function.
        0x1 => (granularity != 0 && plain((0xFFFC_0000_0000_F1C0, !0))).then_some(Done::Nothing),
        // IOTLB: all, a domain, or pages.
        0x2 => {
            let fits = granularity != 3 || high & 0x3F <= MAX_ADDRESS_MASK;
            (granularity != 0 && fits && plain((0xFFFF_FFFF_0000_F100, 0xF80))).then_some(Done::Nothing)
        }
        // Interrupt entries: all, or some.
        0x4 => {
            let fits = granularity == 0 || low >> 27 & 31 <= MAX_HANDLE_MASK;
            (fits && plain((0xFFFF_0000_07FF_F1E0, !0))).then_some(Done::Nothing)
        }
        0x5 => plain((0xFFFF_F180, 3)).then(|| Done::Wait {
            write: (low & STATUS_WRITE != 0).then_some((high, (low >> 32) as u32)),
            interrupt: low & INTERRUPT != 0,
        }),
        _ => None,
    }
}

impl State for Queue {
    const TAG: [u8; 4] = *b"VTDQ";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { event, address, head, tail, completed } = self;
        event.save(w, 1);
        w.field(2, &[*address, *head, *tail]);
        w.field(3, completed);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        self.event.load(r, 1)?;
        [self.address, self.head, self.tail] = r.field(2)?;
        self.completed = r.field(3)?;
        if (self.head | self.tail) & !PLACE != 0 || self.address & 0xFFF & !SIZE != 0 {
            return Err(r.invalid("the queue's registers hold bits that do not exist"));
        }
        Ok(())
    }
}
