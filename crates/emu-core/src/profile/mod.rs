//! The profile mode: which blocks run, for how many ticks, under which calls, and what stops the engine.
//!
//! Blocks get an entry that counts; nothing else changes, so the machine's course is the same, bit for bit, and the
//! counts are exact: the ticks between two entries belong to the block entered first, with all its repetitions, and with
//! the delivery of interrupts behind it. Ticks in which the CPU was halted are told apart. Nothing here is part of the
//! machine's state.

mod calls;

use std::collections::BTreeMap;

pub use calls::CallNode;
use calls::Calls;
use iced_x86::FlowControl;

use crate::cpu::{Cpu, Mode, Model};
use crate::engine::Block;
use crate::system::{Exit, Interrupt};
use crate::time::Ticks;

/// Different blocks that are kept; what comes beyond is added up in one.
const BLOCKS: usize = 1 << 18;

/// What the engine does that costs more than its handlers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A block was decoded.
    Built,
    /// A store came near decoded code, whose blocks must be compared with memory.
    CodeWritten,
    /// A block near such a store was found as it was.
    Unchanged,
    /// A block was found changed, and thrown away.
    Changed,
    /// All decoded code was thrown away.
    Cleared,
    /// A page was entered into the data TLB: a miss of it.
    TlbMiss,
    /// A chain stopped at a deadline: an event of a device, or the end of a stretch.
    Deadline,
    /// A chain stopped because an instruction asked for it: a device was touched, a mode changed, interrupts went on.
    Left,
    /// A chain stopped at a fault.
    Fault,
    /// A chain stopped at a jump whose target was not remembered.
    Lookup,
    /// A chain stopped at the end of its segment or at a breakpoint.
    Other,
}

/// All events, with what a report calls them.
pub const EVENTS: [(Event, &str); 11] = [
    (Event::Deadline, "chains that stopped at a deadline"),
    (Event::Left, "chains that stopped for a device, a mode or an interrupt flag"),
    (Event::Fault, "chains that stopped at a fault"),
    (Event::Lookup, "chains that stopped at a jump to look up"),
    (Event::Other, "chains that stopped at a segment's end"),
    (Event::TlbMiss, "misses of the data TLB"),
    (Event::Built, "blocks decoded"),
    (Event::CodeWritten, "stores near decoded code"),
    (Event::Unchanged, "blocks near a store found unchanged"),
    (Event::Changed, "blocks near a store found changed"),
    (Event::Cleared, "times that all decoded code was thrown away"),
];

/// A block that has run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfiledBlock {
    /// Linear address.
    pub linear: u64,
    /// The mode that it was decoded for.
    pub mode: Mode,
    /// Its bytes.
    pub bytes: Box<[u8]>,
    /// Bit n: instruction n has no handler of its own and runs from its decoded form.
    pub decoded: u32,
    /// How often it was entered.
    pub entries: u64,
    /// Ticks between its entries and the next block's.
    pub ticks: u64,
}

/// What was counted.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Ticks from the start to now.
    pub ticks: u64,
    /// Those of them in which the CPU was halted.
    pub halted: u64,
    /// The blocks, the one with the most ticks first.
    pub blocks: Vec<ProfiledBlock>,
    /// Entries of blocks that were too many to keep apart.
    pub lost: u64,
    /// The tree of calls; each node after its parent.
    pub calls: Vec<CallNode>,
    /// How often each of [`EVENTS`] happened, in that order.
    pub events: Vec<u64>,
    /// Interrupts and exceptions by vector.
    pub interrupts: Vec<u64>,
}

#[derive(Clone, Copy, Default)]
struct Count {
    linear: u64,
    entries: u64,
    ticks: u64,
    /// Whether the block ends in a call; known once it has been entered.
    calls: bool,
}

type Key = (u64, u32, Box<[u8]>);

/// The counters of a machine whose profile is being taken.
pub(crate) struct Counting {
    /// By number of block.
    counts: Vec<Count>,
    /// Of blocks that were thrown away: entries, ticks, instructions in decoded form.
    past: BTreeMap<Key, (u64, u64, u32)>,
    lost: u64,
    last: Option<u32>,
    since: Ticks,
    start: Ticks,
    halted: u64,
    calls: Calls,
    events: [u64; EVENTS.len()],
    interrupts: [u64; 256],
}

impl Counting {
    pub(crate) fn new(now: Ticks) -> Counting {
        Counting {
            counts: Vec::new(),
            past: BTreeMap::new(),
            lost: 0,
            last: None,
            since: now,
            start: now,
            halted: 0,
            calls: Calls::default(),
            events: [0; EVENTS.len()],
            interrupts: [0; 256],
        }
    }

    /// Block `index`, which is `block`, is entered at `now`, at linear address `linear`.
    pub(crate) fn enter(&mut self, index: u32, block: &Block, cpu: &Cpu, linear: u64, now: Ticks) {
        self.settle(now);
        let at = index as usize;
        if self.counts.len() <= at {
            self.counts.resize(at + 1, Count::default());
        }
        let count = &mut self.counts[at];
        if count.entries == 0 {
            (count.linear, count.calls) = (linear, ends_in_call(block, &cpu.model));
        }
        count.entries += 1;
        let calls = count.calls;
        self.calls.enter(cpu, linear);
        if calls {
            self.calls.expect_call(linear + 1..linear + block.bytes.len() as u64);
        }
        self.last = Some(index);
    }

    /// Gives the ticks up to `now` to the block that was entered last.
    fn settle(&mut self, now: Ticks) {
        let ticks = now.since(self.since);
        self.since = now;
        if let Some(last) = self.last {
            self.counts[last as usize].ticks += ticks;
            self.calls.charge(ticks);
        }
    }

    /// The CPU is halted for `ticks`.
    pub(crate) fn idle(&mut self, ticks: u64) {
        self.halted += ticks;
        self.since = self.since + ticks;
    }

    pub(crate) fn note(&mut self, event: Event) {
        if let Some(i) = EVENTS.iter().position(|e| e.0 == event) {
            self.events[i] += 1;
        }
    }

    pub(crate) fn note_exit(&mut self, exit: Exit) {
        self.note(match exit {
            Exit::Deadline => Event::Deadline,
            Exit::Left => Event::Left,
            Exit::Fault(_) => Event::Fault,
            Exit::Lookup | Exit::Link(_) | Exit::Land(_) => Event::Lookup,
            Exit::Limit | Exit::Break => Event::Other,
        });
    }

    /// An interrupt or exception is about to be delivered.
    pub(crate) fn note_interrupt(&mut self, interrupt: Interrupt) {
        self.interrupts[usize::from(interrupt.vector)] += 1;
        self.calls.expect_handler();
    }

    /// All blocks are about to be thrown away. `decoded` tells which instructions of one run from their decoded form.
    pub(crate) fn drain(&mut self, blocks: &[Block], decoded: impl Fn(&Block) -> u32) {
        self.last = None;
        for (count, block) in core::mem::take(&mut self.counts).iter().zip(blocks) {
            let key = (count.linear, block.mode, block.bytes.clone());
            if count.entries == 0 {
                continue;
            }
            if self.past.len() >= BLOCKS && !self.past.contains_key(&key) {
                self.lost += count.entries;
                continue;
            }
            let sum = self.past.entry(key).or_default();
            *sum = (sum.0 + count.entries, sum.1 + count.ticks, decoded(block));
        }
    }

    /// Everything that was counted up to `now`; the blocks have been drained.
    pub(crate) fn finish(mut self, now: Ticks) -> Profile {
        let blocks =
            core::mem::take(&mut self.past).into_iter().map(|((linear, mode, bytes), (entries, ticks, decoded))| {
                ProfiledBlock { linear, mode: Mode(mode), bytes, decoded, entries, ticks }
            });
        let mut blocks: Vec<_> = blocks.collect();
        blocks.sort_by_key(|b| core::cmp::Reverse(b.ticks));
        Profile {
            ticks: now.since(self.start),
            halted: self.halted,
            blocks,
            lost: self.lost,
            calls: self.calls.finish(),
            events: self.events.to_vec(),
            interrupts: self.interrupts.to_vec(),
        }
    }

    /// As [`Self::settle`], before the blocks are drained.
    pub(crate) fn stop(&mut self, now: Ticks) {
        self.settle(now);
    }
}

/// Whether a block's last instruction is a call.
fn ends_in_call(block: &Block, model: &Model) -> bool {
    let offset = block.offset_of(block.len().saturating_sub(1)) as usize;
    let bytes = block.bytes.get(offset..).unwrap_or_default();
    let bits = Mode(block.mode).bitness();
    let insn = iced_x86::Decoder::new(bits, bytes, crate::exec::decoder_options(model)).decode();
    matches!(insn.flow_control(), FlowControl::Call | FlowControl::IndirectCall)
}
