//! The real-mode environment: a CPU with a megabyte and a bit of RAM, and nothing else.

use emu_core::cpu::model::Kind;
use emu_core::cpu::{Activity, Cpu, Model, Segment};
use emu_core::mem::Target as Memory;
use emu_core::{Stop, System, Ticks};

use super::{avoid_fast_handlers, bare_system};
use crate::{Case, End, Event, Reg, TargetError};

/// All that real mode can address: FFFF:FFFF and what unaligned accesses at the very end reach.
const RAM: u64 = 0x11_0000;
/// Ticks after which a case that waits for a halt is given up: far more than the longest REP of the suites takes.
const PATIENCE: u64 = 140_000;
/// Cases after which decoded code is thrown away: their leftovers would slow down what comes next.
const FORGET: u32 = 256;
const EMPTY: [u8; 4096] = [0; 4096];
/// Bits of CR0 that have a meaning in real mode; the rest of what a case gives is only kept.
const CR0_KNOWN: u64 = 0x1E;

pub(super) struct Real {
    pub(super) sys: System,
    fresh: Cpu,
    decoded: bool,
    /// CR0 as the case gave it.
    pub(super) cr0: u64,
    /// Addresses that hold something of the last case.
    touched: Vec<u64>,
    repeats: bool,
    loads: u32,
}

/// CR0 as software would see it: known bits from the CPU, the others as they were loaded.
pub(super) fn cr0_seen(loaded: u64, cpu: u64) -> u64 {
    let known = CR0_KNOWN | 1;
    loaded & !known | cpu & known
}

impl Real {
    pub(super) fn new(model: Model, decoded: bool) -> Result<Real, TargetError> {
        let mut sys = bare_system(model, RAM, |mem| {
            mem.map(0, RAM, Memory::Pool(0));
            mem.set_a20(model.kind > Kind::I80186);
        })?;
        if decoded {
            avoid_fast_handlers(&mut sys);
        }
        let fresh = sys.cpu.clone();
        Ok(Real { sys, fresh, decoded, cr0: 0, touched: Vec::new(), repeats: false, loads: 0 })
    }

    pub(super) fn load(&mut self, case: &Case) -> Result<(), TargetError> {
        self.forget();
        if let Some((at, _)) = case.initial.memory.iter().chain(&case.last.memory).find(|b| b.0 >= RAM) {
            return Err(TargetError::Unsupported(format!("real mode has no memory at {at:x}h")));
        }
        self.loads += 1;
        if self.loads.is_multiple_of(FORGET) {
            self.sys.forget_decoded_code();
        }
        // The instruction, and the HLT behind it.
        self.sys.expect_short_runs(if case.end == End::Halt { 2 } else { 1 });
        self.sys.cpu = self.fresh.clone();
        let s = &case.initial;
        let cpu = &mut self.sys.cpu;
        for n in 0..8 {
            cpu.regs[n] = s.get(Reg::general(n)).unwrap_or(0);
        }
        for n in 0..6 {
            if let Some(v) = s.get(Reg::segment(n)) {
                cpu.seg[n] = Segment::real(v as u16);
            }
        }
        cpu.rip = s.get(Reg::Rip).unwrap_or(0);
        self.cr0 = s.get(Reg::Cr0).unwrap_or(0);
        cpu.cr0 = cpu.cr0 & !CR0_KNOWN | self.cr0 & CR0_KNOWN;
        if !self.decoded {
            cpu.dr[6] = s.get(Reg::Dr6).unwrap_or(cpu.dr[6]);
            cpu.dr[7] = s.get(Reg::Dr7).unwrap_or(cpu.dr[7]);
        }
        cpu.set_eflags((s.get(Reg::Rflags).unwrap_or(0) & case.status) as u32 | 2);
        cpu.refresh_mode();
        self.put(case);
        Ok(())
    }

    /// Writes the case's memory and its instruction.
    fn put(&mut self, case: &Case) {
        let mem = &mut self.sys.mem;
        let cs = case.initial.get(Reg::Cs).unwrap_or(0) << 4;
        for (i, byte) in case.code.iter().enumerate() {
            let at = cs + (self.sys.cpu.rip.wrapping_add(i as u64) & 0xFFFF);
            mem.write(at, &[*byte]);
            self.touched.push(at);
        }
        case.initial.memory.iter().for_each(|(at, v)| mem.write(*at, &[*v]));
        self.touched.extend(case.initial.memory.iter().map(|b| b.0));
        self.repeats = super::repeats(&case.code, false);
    }

    pub(super) fn step(&mut self, end: End) -> Event {
        let sys = &mut self.sys;
        let start = (sys.cpu.rip, sys.cpu.seg[1].sel);
        if end == End::Halt {
            return match sys.run(Ticks(sys.now().0 + PATIENCE)) {
                Stop::Asleep => Event::Halted,
                Stop::TripleFault => Event::Shutdown,
                _ => Event::Endless,
            };
        }
        for _ in 0..if self.repeats { 0x2_0000 } else { 1 } {
            let end = sys.now() + 1;
            sys.run(end);
            let moved = (sys.cpu.rip, sys.cpu.seg[1].sel) != start;
            match sys.cpu.activity {
                Activity::Running if moved || !self.repeats => return Event::Retired,
                Activity::Running => {}
                Activity::Shutdown => return Event::Shutdown,
                // The instruction was an HLT.
                _ => return Event::Retired,
            }
        }
        Event::Endless
    }

    /// Notes addresses that a case may have written.
    pub(super) fn touch(&mut self, memory: &[(u64, u8)]) {
        self.touched.extend(memory.iter().map(|b| b.0));
    }

    /// Wipes what the last case has left.
    fn forget(&mut self) {
        let mem = &mut self.sys.mem;
        self.touched.drain(..).for_each(|at| mem.write(at, &[0]));
    }

    /// Whether something is left in memory of cases that are over: one wrote where it should not.
    pub(super) fn strayed(&mut self) -> bool {
        self.forget();
        let dirty: Vec<u64> = {
            let bytes = self.sys.mem.pool(0, RAM as usize);
            let pages = bytes.chunks(4096).enumerate().filter(|(_, page)| **page != EMPTY[..page.len()]);
            pages.map(|(n, _)| n as u64 * 4096).collect()
        };
        dirty.iter().for_each(|at| self.sys.mem.pool_write(*at, &EMPTY));
        !dirty.is_empty()
    }
}
