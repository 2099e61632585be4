//! The absolute pointer ("VMMouse"): a queue of words that the driver fetches by the backdoor.
//!
//! The host's mouse counts are summed up to a place in 0..=FFFFh on both axes, from the middle at power-on.

use std::collections::VecDeque;

use emu_core::bus::BackdoorRegs;
use emu_core::{State, StateError, StateReader, StateWriter};

/// Commands in EBX: reports on, with the version word first; reports off; places, or counts.
const ENABLE: u32 = 0x4541_4552;
const DISABLE: u32 = 0x0000_00F5;
const ABSOLUTE: u32 = 0x5342_4152;
const RELATIVE: u32 = 0x4C45_5252;

/// The version word, "JUB4".
const VERSION_WORD: u32 = 0x3442_554A;
/// Buttons in a packet's first word, and that the packet has counts.
const BUTTONS: [(u8, u32); 3] = [(1, 0x20), (2, 0x10), (4, 0x08)];
const IS_RELATIVE: u32 = 0x0001_0000;
/// The status while nothing is to be had: reports are off, or the queue has overflowed.
const ERROR: u32 = 0xFFFF_0000;

/// Words in the queue at most: 256 packets of four.
const MOST: usize = 1024;
/// The middle of an axis, and how far one count of the mouse goes: across in 1024 counts.
const MIDDLE: u16 = 0x8000;
const STEP: i32 = 64;

/// The pointer.
#[derive(Debug)]
pub(super) struct Pointer {
    enabled: bool,
    absolute: bool,
    /// Words were lost.
    overflowed: bool,
    /// Right and down.
    place: [u16; 2],
    queue: VecDeque<u32>,
}

impl Pointer {
    pub(super) fn new() -> Pointer {
        Pointer { enabled: false, absolute: false, overflowed: false, place: [MIDDLE; 2], queue: VecDeque::new() }
    }

    /// Words that wait, or an error in the upper half.
    pub(super) fn status(&self) -> u32 {
        if self.overflowed { ERROR } else { self.queue.len() as u32 }
    }

    /// A command of the driver; one that is not there changes nothing.
    pub(super) fn command(&mut self, command: u32) {
        match command {
            ENABLE => {
                *self = Pointer { enabled: true, absolute: self.absolute, place: self.place, ..Pointer::new() };
                self.queue.push_back(VERSION_WORD);
            }
            DISABLE => *self = Pointer { place: self.place, ..Pointer::new() },
            ABSOLUTE => self.absolute = true,
            RELATIVE => self.absolute = false,
            _ => {}
        }
    }

    /// The driver takes as many words as EBX says, 1 to 4, in EAX, EBX, ECX and EDX.
    pub(super) fn take(&mut self, regs: &mut BackdoorRegs) {
        let n = regs.ebx as usize;
        if !(1..=4).contains(&n) || n > self.queue.len() {
            regs.eax = super::UNKNOWN;
            return;
        }
        let to = [&mut regs.eax, &mut regs.ebx, &mut regs.ecx, &mut regs.edx];
        to.into_iter().zip(self.queue.drain(..n)).for_each(|(to, word)| *to = word);
    }

    /// The mouse was moved, or a button changed.
    pub(super) fn moved(&mut self, dx: i16, dy: i16, dz: i8, buttons: u8) {
        let step = |at: u16, counts: i32| (i32::from(at) + counts * STEP).clamp(0, 0xFFFF) as u16;
        self.place = [step(self.place[0], dx.into()), step(self.place[1], -i32::from(dy))];
        if !self.enabled || self.overflowed {
            return;
        }
        if self.queue.len() + 4 > MOST {
            self.overflowed = true;
            self.queue.clear();
            return;
        }
        let held: u32 = BUTTONS.iter().filter(|b| buttons & b.0 != 0).map(|b| b.1).sum();
        let wheel = i32::from(dz) as u32;
        if self.absolute {
            self.queue.extend([held, self.place[0].into(), self.place[1].into(), wheel]);
        } else {
            self.queue.extend([held | IS_RELATIVE, i32::from(dx) as u32, i32::from(dy) as u32, wheel]);
        }
    }
}

impl State for Pointer {
    const TAG: [u8; 4] = *b"VMMS";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { enabled, absolute, overflowed, place, queue } = self;
        w.field(1, &[*enabled, *absolute, *overflowed]);
        w.field(2, place);
        w.field(3, &queue.iter().copied().collect::<Vec<u32>>());
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        [self.enabled, self.absolute, self.overflowed] = r.field(1)?;
        self.place = r.field(2)?;
        self.queue = r.field::<Vec<u32>>(3)?.into();
        if self.queue.len() > MOST {
            return Err(r.invalid("more words than the pointer's queue holds"));
        }
        Ok(())
    }
}
