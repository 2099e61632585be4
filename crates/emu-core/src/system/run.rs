//! The outer loop: events, interrupts and halts between chains; exact deadlines.

use super::{Exit, Interrupt, System};
use crate::cpu::bits::{IF, RF, TF};
use crate::cpu::{Activity, Fault, Mode, Shadow};
use crate::engine::{self, Health};
use crate::input::Input;
use crate::time::Ticks;

/// Why [`System::run`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The tick that was asked for is reached.
    Deadline,
    /// Output waits to be taken.
    Output,
    /// Watched memory was written; the hits wait to be taken.
    Watch,
    /// The next instruction is one at which a debugger's breakpoint stands. Running again goes over it.
    Breakpoint,
    /// The CPU is halted with nothing that could ever wake it but an input; the clock stands at the tick asked for.
    Asleep,
    /// The CPU shut down: a fault while it delivered a double fault. RIP is where it happened.
    TripleFault,
}

impl System {
    /// Runs until tick `until`, exactly, or until something needs the caller.
    pub fn run(&mut self, until: Ticks) -> Stop {
        loop {
            if let Some(stop) = self.between_chains(until) {
                return stop;
            }
            if !self.engine.breaks.is_empty() && self.comes_to_breakpoint() {
                return Stop::Breakpoint;
            }
            let pending = self.interrupt_pending();
            let now = self.now();
            let mut deadline = until.min(self.bus.next_deadline()).min(self.turn_end);
            let shadow = self.cpu.shadow;
            let one = self.cpu.mode.has(Mode::SINGLE);
            if one || shadow != Shadow::None && (pending || self.cpu.pending_debug != 0) {
                deadline = deadline.min(now + 1);
            }
            self.deadline = deadline;
            self.budget = deadline.since(now) as i64;
            self.run_chains(shadow);
            self.note_debug_traps();
        }
    }

    /// Runs until the deadline or until something must be looked at, from behind an instruction that left `shadow`.
    fn run_chains(&mut self, shadow: Shadow) {
        let stepping = self.cpu.mode.has(Mode::SINGLE);
        if stepping && shadow != Shadow::MovSs && self.code_breakpoint_hit() {
            return self.deliver(Interrupt::exception(Fault::DB));
        }
        let (now, resume) = (self.now(), self.cpu.eflags & RF);
        self.cpu.shadow = Shadow::None;
        self.cpu.eflags &= !RF;
        self.single_step = self.cpu.eflags & TF != 0;
        self.run_to_deadline();
        if self.now() == now {
            // Nothing has run yet: it only came to light that a block must be looked up anew, or that the CPU stalls.
            // Then there is no shadow: it could not end, as it keeps off what the CPU waits for.
            if self.cpu.activity != Activity::Stalled {
                self.cpu.shadow = shadow;
            }
            self.cpu.eflags |= resume;
            self.single_step = false;
        }
    }

    /// Whether a breakpoint stands at RIP that has not just been reported; the chain that follows goes over it.
    #[cold]
    fn comes_to_breakpoint(&mut self) -> bool {
        let now = self.now();
        let comes = self.break_told != Some(now) && self.engine.breaks.contains(&self.code_linear());
        self.break_told = comes.then_some(now);
        self.break_passed = now;
        comes
    }

    /// Whether the chain has come to a breakpoint.
    #[cold]
    #[inline(never)]
    pub(crate) fn stops_here(&mut self) -> bool {
        self.now() != self.break_passed && self.engine.breaks.contains(&self.code_linear())
    }

    /// Sets a debugger's breakpoints: the linear addresses of instructions before which the run stops. The machine sees
    /// nothing of them. Only between runs.
    pub fn set_breakpoints(&mut self, linear: &[u64]) {
        if self.engine.breaks != linear {
            self.engine.clear(&mut self.mem);
            self.engine.breaks = linear.to_vec();
        }
        self.break_told = None;
    }

    /// Has the next run go over a breakpoint at the present.
    pub fn pass_breakpoint(&mut self) {
        self.break_told = Some(self.now());
    }

    /// Hands an input to the machine, now.
    pub fn input(&mut self, input: &Input) -> bool {
        let now = self.now();
        let taken = self.bus.input(&mut self.mem, now, input);
        self.leave = true;
        taken
    }

    /// Everything that happens between two instructions. Returns a reason to stop, or `None` when the CPU may run.
    fn between_chains(&mut self, until: Ticks) -> Option<Stop> {
        loop {
            self.stand_still();
            self.deliver_late_fault();
            self.note_debug_traps();
            let now = self.now();
            self.bus.run_events(&mut self.mem, now);
            self.bus.take_attention();
            self.take_notice();
            self.take_resets();
            if !self.parked.is_empty() && self.pass_turn() {
                continue;
            }
            if self.mem.watch_was_hit() {
                return Some(Stop::Watch);
            }
            if self.bus.output_waiting() > 0 {
                return Some(Stop::Output);
            }
            if now >= until {
                return Some(Stop::Deadline);
            }
            if self.cpu.activity == Activity::Shutdown {
                return Some(Stop::TripleFault);
            }
            if self.take_debug_trap() || (self.cpu.shadow == Shadow::None && self.take_smi()) {
                continue;
            }
            if self.cpu.shadow == Shadow::None && self.take_interrupt() {
                continue;
            }
            if self.cpu.activity == Activity::Stalled && !self.x87_stalls() {
                self.cpu.activity = Activity::Running;
            }
            if self.cpu.activity == Activity::Running {
                self.halted_since = None;
                return None;
            }
            self.halted_since.get_or_insert(now);
            // Halted: the next event is the next thing that happens.
            let next = self.bus.next_deadline();
            if let Some(profile) = &mut self.engine.profile {
                profile.idle(next.max(now).min(until).since(now));
            }
            if next > until {
                self.deadline = until;
                return Some(if next == Ticks::NEVER { Stop::Asleep } else { Stop::Deadline });
            }
            self.deadline = next.max(now);
        }
    }

    /// Delivers what a task switch left behind; handlers that are such tasks themselves may leave more.
    fn deliver_late_fault(&mut self) {
        for _ in 0..8 {
            let Some(fault) = self.late_fault.take() else { return };
            self.deliver_or_shut_down(Interrupt::exception(fault));
        }
        if self.late_fault.take().is_some() {
            self.cpu.activity = Activity::Shutdown;
        }
    }

    /// Lets the clock stand at the present, with no deadline ahead.
    fn stand_still(&mut self) {
        let now = self.now();
        (self.deadline, self.budget, self.at) = (now, 0, None);
        self.leave = false;
    }

    /// Looks at what devices, DMA or firmware have changed under the CPU.
    fn take_notice(&mut self) {
        if self.mem.map_generation() != self.map_generation {
            self.map_generation = self.mem.map_generation();
            self.flush_all_translations();
        }
        self.drop_lost();
        if self.mem.code_was_written() {
            for (offset, len) in self.mem.take_code_writes() {
                self.engine.code_written(&mut self.mem, offset, len.into());
            }
        }
        self.tlb.set_user(self.cpu.cpl == 3);
        let aligned = self.cpu.mode.has(Mode::ALIGN);
        if aligned && !self.aligned {
            // Nothing may be reached past the check; nothing is entered while it is on.
            self.tlb.flush(false);
        }
        self.aligned = aligned;
    }

    fn take_resets(&mut self) {
        if self.bus.take_machine_reset() {
            self.reset();
            self.bus.take_attention();
            self.take_notice();
        }
        let lines = *self.bus.cpu_lines(self.cpu.id);
        // INIT waits for the end of system management mode [SDM-3 34.3].
        if lines.reset || (lines.init && !self.cpu.smm) {
            self.cpu.reset(lines.init && !lines.reset);
            let lines = self.bus.cpu_lines(self.cpu.id);
            (lines.reset, lines.init) = (false, false);
            self.mem.set_smm(false);
            self.flush_translations();
            self.take_notice();
        }
        if let Some(vector) = lines.sipi {
            self.bus.cpu_lines(self.cpu.id).sipi = None;
            if self.cpu.activity == Activity::WaitForSipi {
                self.start_up(vector);
            }
        }
    }

    /// A start-up IPI's effect on a CPU that waits for it [SDM-3 8.4].
    fn start_up(&mut self, vector: u8) {
        let mut cs = crate::cpu::Segment::real(u16::from(vector) << 8);
        cs.refresh(false);
        self.cpu.set_segment(crate::cpu::seg::CS, cs);
        self.cpu.rip = 0;
        self.cpu.activity = Activity::Running;
    }

    fn interrupt_pending(&mut self) -> bool {
        let lines = *self.bus.cpu_lines(self.cpu.id);
        (lines.nmi && !self.cpu.nmi_blocked)
            || (lines.smi && !self.cpu.smm)
            || (lines.intr && self.cpu.eflags & IF != 0)
    }

    /// Delivers a pending NMI or interrupt. Returns whether it did.
    fn take_interrupt(&mut self) -> bool {
        let id = self.cpu.id;
        let lines = *self.bus.cpu_lines(id);
        if self.cpu.activity == Activity::WaitForSipi {
            return false;
        }
        if lines.nmi && !self.cpu.nmi_blocked {
            self.bus.cpu_lines(id).nmi = false;
            self.cpu.nmi_blocked = true;
            self.cpu.activity = Activity::Running;
            self.deliver(Interrupt::nmi());
            return true;
        }
        if lines.intr && self.cpu.eflags & IF != 0 {
            let now = self.now();
            let Some(vector) = self.bus.acknowledge(&mut self.mem, now, id) else { return false };
            self.cpu.activity = Activity::Running;
            self.deliver(Interrupt::external(vector));
            return true;
        }
        false
    }

    /// Runs chains until the budget is used up or something must be looked at.
    fn run_to_deadline(&mut self) {
        let mut mode = self.cpu.mode;
        let stepping = mode.has(Mode::SINGLE);
        loop {
            let entry = match self.entry(mode) {
                Ok(entry) => entry,
                Err(fault) => return self.raise(fault),
            };
            engine::run_chain(self, entry);
            self.engine.unpatch();
            let exit = self.exit;
            if let Some(profile) = &mut self.engine.profile {
                profile.note_exit(exit);
            }
            mode = self.cpu.mode;
            match exit {
                Exit::Deadline if self.budget > 0 => self.run_part_of_block(),
                Exit::Deadline => return,
                Exit::Fault(fault)
                    if self.is_only_wrap(fault) && self.engine.block(self.block).mode & Mode::SINGLE == 0 =>
                {
                    mode.0 |= Mode::SINGLE;
                    continue;
                }
                Exit::Fault(Fault::STALL) => return self.stall(),
                Exit::Fault(fault) => {
                    if !self.deliver_and_go_on(fault) || stepping {
                        return;
                    }
                    mode = self.cpu.mode;
                    continue;
                }
                Exit::Limit if self.engine.block(self.block).mode & Mode::SINGLE != 0 => {
                    return self.deliver(Interrupt::exception(Fault::gp(0)));
                }
                Exit::Limit => {
                    mode.0 |= Mode::SINGLE;
                    continue;
                }
                Exit::Left => {}
                Exit::Break => return,
                Exit::Lookup | Exit::Link(_) | Exit::Land(_) => {}
            }
            if self.leave || matches!(exit, Exit::Left) || self.budget <= 0 || stepping {
                return;
            }
            match exit {
                Exit::Link(edge) => self.link(edge),
                Exit::Land(landing) => self.land(landing),
                _ => {}
            }
        }
    }

    /// Links an edge to the block at RIP, where it leads, unless that can't be found or is not kept.
    fn link(&mut self, edge: engine::OpRef) {
        let generation = self.engine.generation();
        let lin = self.code_linear();
        if self.entry(self.cpu.mode).is_ok()
            && generation == self.engine.generation()
            && let Some(entry) = self.engine.jump_target(lin)
            && self.engine.block(entry.imm()).second_page.is_none()
        {
            // A block that crosses a page must be looked up each time: the next page may be another one by then.
            self.engine.link(edge, entry.imm());
        }
    }

    /// Has a landing hold for RIP, unless its block can't be found or is not kept.
    fn land(&mut self, landing: engine::OpRef) {
        let generation = self.engine.generation();
        let lin = self.code_linear();
        if self.entry(self.cpu.mode).is_ok()
            && generation == self.engine.generation()
            && let Some(to) = self.engine.jump_target(lin)
        {
            landing.set_landing(engine::Landing { key: self.engine.contexts.key(lin), to });
        }
    }

    /// The entry op of RIP's block; if it is kept, it is a remembered jump target afterwards.
    fn entry(&mut self, mode: Mode) -> Result<engine::OpRef, Fault> {
        let lin = self.code_linear();
        self.select_context();
        if mode == self.cpu.mode
            && let Some(to) = self.engine.jump_target(lin)
        {
            return Ok(to);
        }
        let index = self.find_block(mode)?;
        let block = self.engine.block(index);
        let (entry, keep) = (block.entry, block.health == Health::Good);
        if keep && mode == self.cpu.mode {
            self.engine.remember_jump(lin, entry);
        }
        Ok(entry)
    }

    /// The block at RIP does not fit into the budget: runs as many of its instructions as do.
    fn run_part_of_block(&mut self) {
        let block = self.engine.block(self.block);
        let (n, k) = (block.len(), self.budget as usize);
        match block.op_of(k) {
            Some(stop) => {
                let first = block.entry.step(1);
                self.engine.stop_at(stop);
                self.budget -= n as i64;
                engine::run_chain(self, first);
                self.engine.unpatch();
            }
            None => self.run_one(),
        }
        if let Exit::Fault(fault) = self.exit
            && self.is_only_wrap(fault)
        {
            self.run_one();
        }
        match self.exit {
            Exit::Fault(fault) => self.raise(fault),
            _ => self.leave = true,
        }
    }

    /// Runs one instruction as a block of its own.
    fn run_one(&mut self) {
        let single = Mode(self.cpu.mode.0 | Mode::SINGLE);
        match self.entry(single) {
            Ok(entry) => {
                engine::run_chain(self, entry);
                self.engine.unpatch();
                if let Exit::Limit = self.exit {
                    self.exit = Exit::Fault(Fault::gp(0));
                }
            }
            Err(fault) => self.exit = Exit::Fault(fault),
        }
    }

    /// The instruction at RIP ended with `fault`.
    fn raise(&mut self, fault: Fault) {
        if fault == Fault::STALL { self.stall() } else { self.deliver(Interrupt::exception(fault)) }
    }

    /// The CPU stands still before the instruction at RIP; that takes no tick.
    #[cold]
    fn stall(&mut self) {
        self.at = None;
        self.leave = true;
        self.debug_hits = 0;
        self.single_step = false;
        self.cpu.shadow = Shadow::None;
        self.cpu.activity = Activity::Stalled;
    }

    /// Delivers `interrupt`, with double and triple faults; costs one tick.
    pub(super) fn deliver(&mut self, interrupt: Interrupt) {
        self.deliver_in_chain(interrupt);
        self.leave = true;
    }

    /// Delivers an instruction's fault. Returns whether its handler may run at once, without a look at what else is due.
    fn deliver_and_go_on(&mut self, fault: Fault) -> bool {
        let before = self.conditions();
        self.deliver_in_chain(Interrupt::exception(fault));
        let runs = self.cpu.activity == Activity::Running && self.cpu.pending_debug == 0;
        !self.leave && self.budget > 0 && runs && self.goes_on_from(before)
    }

    fn deliver_in_chain(&mut self, interrupt: Interrupt) {
        self.at = None;
        self.poll.end();
        // An instruction that faults has hit nothing; nor does it leave a shadow behind, or take its step.
        self.debug_hits = 0;
        self.single_step = false;
        self.cpu.shadow = Shadow::None;
        self.remember(interrupt);
        self.deliver_or_shut_down(interrupt);
        self.budget -= 1;
    }
}
