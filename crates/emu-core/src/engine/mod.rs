//! The engine: blocks of decoded ops, how they are found, linked, thrown away and run.
//!
//! One engine only: handlers chained by tail calls in optimised builds, the same handlers run by a trampoline in all
//! others (see `build.rs`). docs/adr/0002 tells why it is as it is.

mod block;
mod build;
mod cache;
mod chain;
mod context;
mod front;
mod jumps;
mod op;
mod polls;
mod profiled;
mod sites;
pub mod survey;

pub(crate) use block::{Block, Health, InsnPlace};
pub(crate) use build::Builder;
pub(crate) use chain::{CLOSE_TO_END, cold, cold_end, land, landing, refuse_block, run_chain, run_decoded};
pub(crate) use op::{Edge, Enters, Guess, Handler, Landing, OpRef, Seen, Slot, goto, next};
pub(crate) use polls::{Poll, Polls};

use crate::exec::{self, Exec, ExecTable};
use crate::mem::PAGE_SIZE;
use crate::profile::Counting;
use context::Contexts;
use iced_x86::Instruction;
use jumps::Jumps;

/// For tests: what the 8086 makes of `bytes`.
#[cfg(test)]
pub(crate) fn decode_i8086(bytes: &[u8]) -> Option<Instruction> {
    front::decode(bytes, 0)
}

/// An instruction that is executed from its decoded form, off the fast path.
pub(crate) struct ColdInsn {
    pub(crate) exec: Exec,
    pub(crate) insn: Instruction,
}

/// What one CPU's translations make of addresses of code. Blocks themselves are shared by all CPUs.
struct View {
    jumps: Jumps,
    contexts: Contexts,
}

/// Caches of decoded code. Nothing here is part of the machine's state.
pub(crate) struct Engine {
    arena: op::Arena,
    blocks: Vec<Block>,
    /// First block of each bucket of the hash table.
    buckets: Box<[u32]>,
    /// First block of each pool page; grows as needed.
    pages: Vec<u32>,
    /// Blocks that cross a page.
    crossings: Vec<u32>,
    pub(crate) cold: Vec<ColdInsn>,
    jumps: Jumps,
    pub(crate) contexts: Contexts,
    /// What was remembered under the translations of the CPUs that wait for their turns.
    parked: Vec<View>,
    pub(crate) table: ExecTable,
    pub(crate) fusions: exec::hot::Fusions,
    /// An op that looks RIP up: the target of every edge that can't be linked.
    pub(crate) lookup_op: OpRef,
    /// The ops whose handlers are replaced so that the chain stops there, and their own handlers: one for a deadline, one
    /// for a slow path that must stop before it.
    patched: Vec<(OpRef, Handler)>,
    /// A debugger's breakpoints: linear addresses.
    pub(crate) breaks: Vec<u64>,
    sites: sites::Sites,
    /// Rises when all decoded code is thrown away.
    generation: u32,
    /// Where the trampoline goes next.
    #[cfg_attr(emu_chain, allow(dead_code, reason = "used by builds without tail calls"))]
    pub(crate) trampoline: Option<OpRef>,
    /// The counters, while a profile is taken.
    pub(crate) profile: Option<Box<Counting>>,
    /// What bounds the stack that a chain can take.
    pub(crate) depth: Depth,
    slots: Vec<Slot>,
    places: Vec<InsnPlace>,
    /// Room for what a block is decoded from and into.
    bytes: Vec<u8>,
    insns: Box<[Instruction; build::MAX_INSNS]>,
    edges: Vec<u16>,
    /// Instructions that a block may hold, at the most.
    longest_block: usize,
}

/// The guard against chains that nest (see [`run_chain`]).
#[derive(Default)]
pub(crate) struct Depth {
    /// Address in the frame that started the chain.
    base: usize,
    /// Ticks of the budget that are held back from the chain.
    pub(crate) held: i64,
}

/// Bytes in a block at the most, with room to spare.
const LONGEST_BLOCK: u64 = 512;
const BUCKETS: usize = 1 << 16;
const NONE: u32 = u32::MAX;
/// When decoded code takes more than any of these, all of it is thrown away: bytes of ops, blocks (some 200 bytes each),
/// instructions kept in decoded form (48 bytes each). Together they stay below 64 MiB.
const ARENA_LIMIT: usize = 24 << 20;
const BLOCK_LIMIT: usize = 100_000;
const COLD_LIMIT: usize = 300_000;

impl Engine {
    pub(crate) fn new(model: &crate::cpu::Model) -> Engine {
        let mut arena = op::Arena::default();
        let lookup_op = arena.push(&mut vec![chain::lookup_slot()]);
        Engine {
            arena,
            blocks: Vec::new(),
            buckets: vec![NONE; BUCKETS].into(),
            pages: Vec::new(),
            crossings: Vec::new(),
            cold: Vec::new(),
            jumps: Jumps::new(lookup_op),
            contexts: Contexts::default(),
            parked: Vec::new(),
            table: ExecTable::new(model),
            fusions: exec::hot::Fusions::new(),
            lookup_op,
            patched: Vec::new(),
            breaks: Vec::new(),
            sites: sites::Sites::new(lookup_op),
            generation: 0,
            trampoline: None,
            profile: None,
            depth: Depth::default(),
            slots: Vec::new(),
            places: Vec::new(),
            bytes: Vec::new(),
            insns: Box::new([Instruction::default(); build::MAX_INSNS]),
            edges: Vec::new(),
            longest_block: build::MAX_INSNS,
        }
    }

    #[inline]
    pub(crate) fn block(&self, index: u32) -> &Block {
        &self.blocks[index as usize]
    }

    /// Block `index`, unless it has been thrown away.
    pub(crate) fn block_if_any(&self, index: u32) -> Option<&Block> {
        self.blocks.get(index as usize)
    }

    /// How many instructions of block `index`, from that of `op` on, have not retired.
    pub(crate) fn instructions_from(&self, index: u32, op: OpRef) -> u32 {
        let block = self.block(index);
        (block.len() - block.instruction_at(op)) as u32
    }

    /// Decodes the instruction at `op` of block `index` again; its addresses count from the block's start.
    pub(crate) fn instruction(&self, index: u32, op: OpRef, model: &crate::cpu::Model) -> Instruction {
        let block = self.block(index);
        let offset = block.offset_of(block.instruction_at(op));
        let bytes = block.bytes.get(offset as usize..).unwrap_or_default();
        let (bits, options) = (crate::cpu::Mode(block.mode).bitness(), exec::decoder_options(model));
        iced_x86::Decoder::with_ip(bits, bytes, offset, options).decode()
    }

    /// Makes the chain stop behind the instruction at `op` of block `index`, if it is not the block's last.
    pub(crate) fn stop_after(&mut self, index: u32, op: OpRef) {
        let block = &self.blocks[index as usize];
        if let Some(next) = block.op_behind(block.instruction_at(op)) {
            self.stop_at(next);
        }
    }

    /// Makes the chain stop at `op`.
    pub(crate) fn stop_at(&mut self, op: OpRef) {
        if self.patched.iter().all(|p| p.0 != op) {
            self.patched.push((op, op.run()));
            op.set_run(chain::stop_here);
        }
    }

    /// Takes back what [`Self::stop_at`] did.
    #[inline]
    pub(crate) fn unpatch(&mut self) {
        while let Some((op, run)) = self.patched.pop() {
            op.set_run(run);
        }
    }

    /// Whether a breakpoint stands at this offset of some page.
    pub(crate) fn breaks_at(&self, page_offset: u64) -> bool {
        self.breaks.iter().any(|b| b % PAGE_SIZE == page_offset)
    }

    /// Whether a breakpoint may stand inside of a block that begins at this offset of its page, behind its first
    /// instruction.
    pub(crate) fn breaks_behind(&self, page_offset: u64) -> bool {
        let reach = page_offset + 1..page_offset + LONGEST_BLOCK;
        self.breaks.iter().any(|b| reach.contains(&(b % PAGE_SIZE)))
    }

    /// A number that changes when all decoded code is thrown away: every `OpRef` held before is dead then.
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Forgets the cached jump target of `lin`: its block's bytes may have changed.
    pub(crate) fn forget_jump(&mut self, lin: u64) {
        self.jumps.forget_one(lin);
    }

    /// Limits how many instructions a block may hold.
    pub(crate) fn limit_blocks(&mut self, instructions: usize) {
        self.longest_block = instructions.clamp(1, build::MAX_INSNS);
    }
}
