//! The whole machine below its board: CPUs, memory, bus, and the engine that runs them.

mod access;
mod control;
mod debug;
mod descriptor;
mod exits;
mod gate;
mod hypervisor;
mod interrupt;
mod msr;
mod paging;
mod passage;
mod run;
mod save;
mod smm;
mod stack;
mod task;
mod trail;
mod translations;
mod turns;

pub use access::is_canonical;
pub(crate) use descriptor::{Descriptor, code_of};
pub(crate) use exits::{Conditions, Ending, Exit};
pub use interrupt::Interrupt;
pub use paging::{Access, Translation};
pub use run::Stop;
pub(crate) use stack::Stack;
pub(crate) use task::Switch;
pub use trail::{Delivered, LastBlock};

use crate::bus::Bus;
use crate::cpu::{Cpu, Fault, Model, Outcome};
use crate::engine::{Engine, OpRef};
use crate::mem::{PAGE_SIZE, PhysMem, Target, Tlb, WatchHit};
use crate::time::Ticks;

/// Services that the machine's own firmware has in Rust. A reserved opcode (`0F 3F nn`), valid only in the pages that
/// [`System::set_firmware`] names, calls them.
pub trait Firmware: crate::bus::DynState + Send {
    /// Service `number` is called. Registers, memory and devices are the system's; RIP is behind the opcode already.
    ///
    /// # Errors
    /// A fault that the opcode then raises, as any instruction does.
    fn call(&mut self, sys: &mut System, number: u8) -> Outcome;
}

/// A machine: CPUs that take turns, and what they share.
///
/// Field order puts what handlers touch most at the front.
#[allow(missing_debug_implementations, reason = "far too large to print; its parts can be")]
pub struct System {
    /// The CPU whose turn it is.
    pub cpu: Cpu,
    /// Its translation cache.
    pub(crate) tlb: Tlb,
    /// Ticks left until `deadline`, with the present block's instructions already taken off.
    pub(crate) budget: i64,
    /// The tick at which the chain must stop.
    pub(crate) deadline: Ticks,
    /// The block that runs.
    pub(crate) block: u32,
    /// The op that left the fast path; `None` between blocks.
    pub(crate) at: Option<OpRef>,
    /// The last instruction of a block, while it is executed from its decoded form.
    pub(crate) ending: Option<Ending>,
    /// The slow path asks that the chain stop behind the present instruction.
    pub(crate) leave: bool,
    /// DR6 bits of the breakpoints that the present instruction has hit.
    pub(crate) debug_hits: u64,
    /// A single-step trap is due behind the present instruction, unless that goes through a gate.
    pub(crate) single_step: bool,
    /// The TLB holds nothing that an alignment check must see.
    aligned: bool,
    /// A value on its way from a slow path to its handler.
    pub(crate) scratch: u64,
    /// Why the chain stopped.
    pub(crate) exit: Exit,
    /// The engine: blocks, ops, links.
    pub(crate) engine: Engine,
    /// Guest physical memory.
    pub mem: PhysMem,
    /// The bus with all devices.
    pub bus: Bus,
    /// The other CPUs.
    pub(crate) parked: Vec<turns::Parked>,
    /// When the turn of the CPU that runs ends, unless it is alone.
    turn_end: Ticks,
    /// A fault of a task switch that came too late to undo it: it belongs to the new task.
    pub(crate) late_fault: Option<Fault>,
    /// Since when the CPU has been halted, while it is. Not part of the state.
    halted_since: Option<Ticks>,
    /// When a breakpoint was last reported, and when a chain last began at one. Not part of the state.
    break_told: Option<Ticks>,
    break_passed: Ticks,
    trail: trail::Trail,
    pub(crate) passages: passage::Passages,
    pub(crate) flat: crate::exec::FlatSegments,
    pub(crate) poll: crate::engine::Poll,
    firmware: Option<Box<dyn Firmware>>,
    /// Physical range whose code may use the firmware opcode.
    firmware_range: core::ops::Range<u64>,
    /// The entries that the last walk of page tables read.
    path: crate::mem::Path,
    /// Where the CPU's global translations begin.
    globals: translations::Globals,
    /// `PhysMem::map_generation` that the TLBs were filled under.
    map_generation: u32,
    /// Physical address that the block being decoded starts at.
    pub(crate) code_physical: u64,
}

impl System {
    /// A machine with one CPU of `model`, not reset yet.
    #[must_use]
    pub fn new(model: Model, mem: PhysMem, bus: Bus) -> System {
        System {
            cpu: Cpu::new(model, 0),
            tlb: Tlb::default(),
            budget: 0,
            deadline: Ticks(0),
            block: 0,
            at: None,
            ending: None,
            leave: false,
            debug_hits: 0,
            single_step: false,
            aligned: false,
            scratch: 0,
            exit: Exit::Lookup,
            engine: Engine::new(&model),
            mem,
            bus,
            parked: Vec::new(),
            turn_end: Ticks::NEVER,
            late_fault: None,
            halted_since: None,
            break_told: None,
            break_passed: Ticks::NEVER,
            trail: trail::Trail::default(),
            passages: passage::Passages::default(),
            flat: crate::exec::FlatSegments::default(),
            poll: crate::engine::Poll::default(),
            firmware: None,
            firmware_range: 0..0,
            path: crate::mem::Path::new(0, false),
            globals: translations::Globals::default(),
            map_generation: 0,
            code_physical: 0,
        }
    }

    /// Installs the firmware's services; its opcode is valid in the physical range `pages`.
    pub fn set_firmware(&mut self, firmware: Box<dyn Firmware>, pages: core::ops::Range<u64>) {
        self.firmware = Some(firmware);
        self.firmware_range = pages;
    }

    /// Puts the whole machine into its state after power-on, but for memory contents and the clock.
    pub fn reset(&mut self) {
        let now = self.now();
        self.cpu.reset(false);
        self.parked.iter_mut().for_each(|other| other.cpu.reset(false));
        self.mem.set_smm(false);
        self.flush_all_translations();
        self.bus.reset(&mut self.mem, now);
        self.leave = true;
    }

    /// The exact present: how many ticks have passed before the instruction that runs (or would run next).
    #[must_use]
    pub fn now(&self) -> Ticks {
        let unfinished = match self.at {
            Some(op) => self.engine.instructions_from(self.block, op),
            None => 0,
        };
        Ticks(self.deadline.0.wrapping_sub((self.budget + i64::from(unfinished)) as u64))
    }

    /// Whether the opcode at physical address `pa` may call the firmware.
    pub(crate) fn firmware_at(&self, pa: u64) -> bool {
        self.firmware.is_some() && self.firmware_range.contains(&pa)
    }

    /// Whether the opcode at linear address `lin` may call the firmware; for debuggers.
    #[must_use]
    pub fn is_firmware_at(&mut self, lin: u64) -> bool {
        let pa = self.peek_translation(self.wrap_linear(lin));
        pa.is_some_and(|pa| self.firmware_at(self.mem.gated(pa)))
    }

    /// Runs service `number`.
    pub(crate) fn call_firmware(&mut self, number: u8) -> Outcome {
        let Some(mut firmware) = self.firmware.take() else { return Err(Fault::UD) };
        let outcome = firmware.call(self, number);
        self.firmware = Some(firmware);
        outcome
    }

    /// Since when the CPU has been halted, as far as this run of it has seen; the present if it is not.
    pub(crate) fn halted_since(&self) -> Ticks {
        self.halted_since.unwrap_or_else(|| self.now())
    }

    /// Starts or stops noting which pages of memory and blocks of volumes are written.
    pub(crate) fn track_writes(&mut self, on: bool) {
        if on {
            self.mem.start_tracking();
        } else {
            self.mem.stop_tracking();
        }
        self.bus.volumes().iter().for_each(|v| v.track(on));
        self.protect_memory();
    }

    /// Takes the pages of memory written since the last call, with what they held; the next write to any page is noted.
    pub(crate) fn seal_memory(&mut self) -> Vec<(u64, crate::mem::PageImage)> {
        self.protect_memory();
        self.mem.seal()
    }

    /// Watches writes to `ranges` of physical memory (first byte, length), and nothing else: the run stops behind the
    /// instruction that writes there, or the device that does. Where no memory answers now, nothing is watched.
    pub fn watch(&mut self, ranges: &[(u64, u64)]) {
        let pool = self.pool_ranges(ranges);
        self.watch_pool(&pool, &[]);
    }

    /// The parts of the memory pool (first and last byte) that answer to `ranges` of physical memory (first byte, length)
    /// as the map and the A20 gate stand now.
    #[must_use]
    pub fn pool_ranges(&self, ranges: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let mut pool = Vec::new();
        for &(start, len) in ranges {
            let mut at = start;
            while at < start.saturating_add(len) {
                let n = (start.saturating_add(len) - at).min(PAGE_SIZE - at % PAGE_SIZE);
                if let Target::Pool(page) = self.mem.target(at).1 {
                    let first = page + at % PAGE_SIZE;
                    pool.push((first, first + n - 1));
                }
                at += n;
            }
        }
        pool
    }

    /// Watches writes to parts of the memory pool (first and last byte), and reads of parts of it, and nothing else: the run
    /// stops as for [`Self::watch`]. Fetches of code and devices' reads are not seen.
    pub fn watch_pool(&mut self, writes: &[(u64, u64)], reads: &[(u64, u64)]) {
        self.mem.watch(writes, reads);
        self.protect_memory();
        if !reads.is_empty() {
            self.tlb.flush(false);
            self.parked.iter_mut().for_each(|other| other.tlb.flush(false));
        }
    }

    /// Takes the accesses to watched memory since the last call.
    pub fn take_watch_hits(&mut self) -> Vec<WatchHit> {
        self.mem.take_watch_hits()
    }

    /// Host memory taken by what was written since the last checkpoint.
    pub(crate) fn written_cost(&self) -> usize {
        self.mem.written_cost()
    }

    /// Has the next write to every page take the slow path.
    pub(crate) fn protect_memory(&mut self) {
        self.tlb.protect_all();
        self.parked.iter_mut().for_each(|other| other.tlb.protect_all());
    }

    /// Tells that code runs once and is replaced, as in tests of single instructions: `block` instructions are decoded ahead
    /// at the most, where it is 32 otherwise. That changes how fast the machine is, and nothing else.
    pub fn expect_short_runs(&mut self, block: usize) {
        self.engine.limit_blocks(block);
    }

    /// Whether instructions run by handlers of their own, where they have one, or all of them from their decoded form. That
    /// changes how fast the machine is, and nothing else: a run that differs shows a defect of emu.
    pub fn use_handlers(&mut self, on: bool) {
        if core::mem::replace(&mut self.engine.table.handlers, on) != on {
            self.engine.clear(&mut self.mem);
        }
    }

    /// Throws all decoded code away. It is decoded again when it runs, so that this changes nothing but speed: whoever
    /// replaces code again and again spares the engine the search among what is left of it.
    pub fn forget_decoded_code(&mut self) {
        self.engine.clear(&mut self.mem);
    }
}
