//! Debug registers: breakpoints on instructions, data and ports, single steps, and when their traps are taken
//! [SDM-3 17.2, 17.3].
//!
//! A page with a data breakpoint has no place in the data TLB, so that every access to it comes through the slow path,
//! which looks for hits there; all other accesses cost nothing. A hit stops the chain behind its instruction (a repeated
//! string instruction behind its iteration). Instruction breakpoints and single steps run one instruction at a time.

use super::{Interrupt, System};
use crate::cpu::bits::*;
use crate::cpu::model::{Feature, Kind};
use crate::cpu::{Activity, Cpu, Fault, Shadow};
use crate::mem::PAGE_SIZE;

/// What a breakpoint stops at: the R/W field of DR7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watch {
    Execute,
    Write,
    Port,
    Access,
}

/// An enabled breakpoint.
#[derive(Clone, Copy, Debug)]
struct Breakpoint {
    /// Its bit in DR6.
    bit: u64,
    watch: Watch,
    first: u64,
    last: u64,
}

impl Breakpoint {
    fn overlaps(&self, first: u64, last: u64) -> bool {
        first <= self.last && self.first <= last
    }
}

impl Cpu {
    /// The breakpoints that DR7 enables. Lengths align their addresses; 8 bytes exist on 64-bit models only.
    fn breakpoints(&self) -> impl Iterator<Item = Breakpoint> {
        let (dr, wide, ports) = (self.dr, self.model.has(Feature::Lm), self.cr4 & CR4_DE != 0);
        (0..4).filter(move |i| dr[7] >> (2 * i) & 3 != 0).filter_map(move |i: usize| {
            let len = match dr[7] >> (18 + 4 * i) & 3 {
                1 => 2,
                3 => 4,
                2 if wide => 8,
                _ => 1,
            };
            let watch = match dr[7] >> (16 + 4 * i) & 3 {
                0 => Watch::Execute,
                1 => Watch::Write,
                2 if ports => Watch::Port,
                2 => return None,
                _ => Watch::Access,
            };
            let first = dr[i] & !(len - 1);
            Some(Breakpoint { bit: 1 << i, watch, first, last: first + (len - 1) })
        })
    }

    pub(crate) fn has_breakpoints(&self) -> bool {
        self.dr[7] & 0xFF != 0
    }

    /// Sets the bits of a debug exception; those of breakpoints tell of the latest one alone.
    fn set_debug_status(&mut self, bits: u64) {
        let old = if bits & DR6_HITS != 0 { self.dr[6] & !DR6_HITS } else { self.dr[6] };
        self.dr[6] = old | bits;
    }
}

impl System {
    /// Whether a data breakpoint lies in the page of `lin`.
    pub(super) fn page_is_watched(&self, lin: u64) -> bool {
        let first = lin & !(PAGE_SIZE - 1);
        self.cpu.has_breakpoints()
            && self
                .cpu
                .breakpoints()
                .any(|b| matches!(b.watch, Watch::Write | Watch::Access) && b.overlaps(first, first + (PAGE_SIZE - 1)))
    }

    /// Looks for data breakpoints that an access of `size` bytes at `lin` hits.
    #[inline]
    pub(super) fn watch_data(&mut self, lin: u64, size: u64, write: bool) {
        if self.cpu.has_breakpoints() {
            self.hit(lin, size, |w| w == Watch::Access || (write && w == Watch::Write));
        }
    }

    /// Looks for breakpoints that an access to `size` ports hits.
    #[inline]
    pub(crate) fn watch_port(&mut self, port: u16, size: u64) {
        if self.cpu.has_breakpoints() {
            self.hit(port.into(), size, |w| w == Watch::Port);
        }
    }

    #[cold]
    fn hit(&mut self, at: u64, size: u64, watches: impl Fn(Watch) -> bool) {
        let last = at.saturating_add(size - 1);
        let hits: u64 =
            self.cpu.breakpoints().filter(|b| watches(b.watch) && b.overlaps(at, last)).map(|b| b.bit).sum();
        if hits != 0 {
            self.debug_hits |= hits;
            self.leave = true;
        }
    }

    /// Whether an enabled instruction breakpoint stands at RIP and RF does not suppress it; sets DR6 [SDM-3 17.3.1.1].
    pub(super) fn code_breakpoint_hit(&mut self) -> bool {
        if self.cpu.eflags & RF != 0 {
            return false;
        }
        let lin = self.code_linear();
        let at_rip = |b: &Breakpoint| b.watch == Watch::Execute && b.first == lin;
        let bits: u64 = self.cpu.breakpoints().filter(at_rip).map(|b| b.bit).sum();
        self.cpu.set_debug_status(bits);
        bits != 0
    }

    /// An instruction has retired, or an interrupt has been delivered: what it hit becomes due, and its single step too if
    /// nothing has taken that away. MOV SS and POP SS have none.
    pub(super) fn note_debug_traps(&mut self) {
        self.cpu.pending_debug |= core::mem::take(&mut self.debug_hits);
        if core::mem::take(&mut self.single_step) && self.cpu.shadow != Shadow::MovSs {
            self.cpu.pending_debug |= DR6_BS;
        }
    }

    /// Takes the trap that is due, unless MOV SS holds it back for an instruction. Returns whether it did.
    pub(super) fn take_debug_trap(&mut self) -> bool {
        if self.cpu.pending_debug == 0 || self.cpu.shadow == Shadow::MovSs || self.cpu.activity == Activity::WaitForSipi
        {
            return false;
        }
        let bits = core::mem::take(&mut self.cpu.pending_debug);
        self.cpu.set_debug_status(bits);
        self.cpu.activity = Activity::Running;
        self.deliver(Interrupt::exception(Fault::DB));
        true
    }

    /// INT1 raises the same exception as the trap that MOV SS holds back: they are one.
    pub(crate) fn merge_debug_trap(&mut self) {
        let bits = core::mem::take(&mut self.cpu.pending_debug);
        self.cpu.set_debug_status(bits);
    }

    /// A repeated string instruction stops between two iterations: no instruction breakpoint stops it again, and an
    /// interrupt here saves RF set [SDM-3 17.3.1.1].
    pub(crate) fn resume_later(&mut self) {
        if self.cpu.model.kind >= Kind::I80386 {
            self.cpu.eflags |= RF;
        }
    }
}
