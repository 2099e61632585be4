//! The flat environments: user code at CPL 3 in long mode, in a 64-bit or a 32-bit code segment, as an operating system
//! runs it.

use emu_core::cpu::model::{Feature, Kind};
use emu_core::cpu::{Activity, Cpu, Model, Segment, TableRegister, bits, seg};
use emu_core::mem::Target as Memory;
use emu_core::{System, Ticks};

use super::{avoid_fast_handlers, bare_system};
use crate::{Case, Environment, Event, Reg, State, TargetError};

/// Where the memory of the flat environments is: linear addresses, all of them readable and writable, none beyond.
pub mod window {
    /// First byte of the code page.
    pub const CODE: u64 = 0x1000_0000;
    /// First byte of the data page.
    pub const DATA: u64 = 0x2000_0000;
    /// Bytes of each.
    pub const SIZE: u64 = 0x1000;
}

/// Physical layout, one page each: page tables, then GDT, IDT, a handler for each vector, TSS, stack of the handlers, code
/// and data.
const TABLES: u64 = 0x1000;
const GDT: u64 = 0x8000;
const IDT: u64 = 0x9000;
const HANDLERS: u64 = 0xA000;
const TSS: u64 = 0xB000;
const STACK_TOP: u64 = 0xD000;
const CODE_PAGE: u64 = 0xE000;
const DATA_PAGE: u64 = 0xF000;
const RAM: u64 = 0x1_0000;

/// The selectors of Linux, which every captured state was run under.
const KERNEL_CODE: u16 = 0x10;
const USER_CODE32: u16 = 0x23;
const USER_DATA: u16 = 0x2B;
const USER_CODE64: u16 = 0x33;
const TASK: u16 = 0x40;

const CODE32: u64 = 0x00CF_FB00_0000_FFFF;
const CODE64: u64 = 0x00AF_FB00_0000_FFFF;
const DATA: u64 = 0x00CF_F300_0000_FFFF;

pub(super) struct Flat {
    pub(super) sys: System,
    fresh: Cpu,
    repeats: bool,
    /// The context that an exception has saved: RIP, RFLAGS, RSP.
    saved: Option<(u64, u64, u64)>,
    start: u64,
}

/// Physical address of a byte that cases may use.
pub(super) fn physical(linear: u64) -> Option<u64> {
    match linear & !(window::SIZE - 1) {
        window::CODE => Some(CODE_PAGE + linear % window::SIZE),
        window::DATA => Some(DATA_PAGE + linear % window::SIZE),
        _ => None,
    }
}

impl Flat {
    pub(super) fn new(model: Model, decoded: bool) -> Result<Flat, TargetError> {
        if !model.has(Feature::Lm) || model.kind < Kind::X64V1 {
            let text = "these cases are user code under a 64-bit system: they need a model from x86-64-v1 on";
            return Err(TargetError::Unsupported(text.into()));
        }
        let mut sys = bare_system(model, RAM, |mem| mem.map(0, RAM, Memory::Pool(0)))?;
        sys.expect_short_runs(1);
        tables(&mut sys);
        registers(&mut sys);
        if decoded {
            avoid_fast_handlers(&mut sys);
        }
        let fresh = sys.cpu.clone();
        Ok(Flat { sys, fresh, repeats: false, saved: None, start: 0 })
    }

    pub(super) fn load(&mut self, case: &Case) -> Result<(), TargetError> {
        let s = &case.initial;
        let rip = s.get(Reg::Rip).unwrap_or(window::CODE);
        self.sys.cpu = self.fresh.clone();
        self.sys.mem.pool_write(CODE_PAGE, &[0x90; window::SIZE as usize]);
        self.sys.mem.pool_write(DATA_PAGE, &[0; window::SIZE as usize]);
        let code = case.code.iter().enumerate().map(|(i, b)| (rip.wrapping_add(i as u64), *b));
        for (at, v) in s.memory.iter().copied().chain(code) {
            let Some(physical) = physical(at) else {
                return Err(TargetError::Unsupported(format!("this environment has no memory at {at:x}h")));
            };
            self.sys.mem.write(physical, &[v]);
        }
        let cpu = &mut self.sys.cpu;
        if case.environment == Environment::Flat32 {
            cpu.seg[seg::CS] = descriptor(USER_CODE32, CODE32);
        }
        for n in 0..16 {
            cpu.regs[n] = s.get(Reg::general(n)).unwrap_or(0);
        }
        cpu.rip = rip;
        cpu.set_eflags((s.get(Reg::Rflags).unwrap_or(0) & case.status) as u32 | bits::IF | 2);
        vectors(cpu, s);
        cpu.refresh_segments();
        self.repeats = super::repeats(&case.code, case.environment == Environment::Flat64);
        (self.saved, self.start) = (None, rip);
        Ok(())
    }

    pub(super) fn step(&mut self) -> Event {
        for _ in 0..if self.repeats { 0x2_0000 } else { 1 } {
            let end = Ticks(self.sys.now().0 + 1);
            self.sys.run(end);
            let cpu = &self.sys.cpu;
            if cpu.activity == Activity::Shutdown {
                return Event::Shutdown;
            }
            if cpu.seg[seg::CS].sel == KERNEL_CODE {
                return self.exception();
            }
            if cpu.rip != self.start || !self.repeats {
                return Event::Retired;
            }
        }
        Event::Endless
    }

    /// An exception has been delivered: which one, and the context that it saved.
    fn exception(&mut self) -> Event {
        let vector = (self.sys.cpu.rip - HANDLERS) / 16;
        let with_code = matches!(vector, 8 | 10..=14 | 17 | 21);
        let frame = self.sys.cpu.regs[4] + if with_code { 8 } else { 0 };
        let word = |i: u64| self.sys.mem.load::<u64>(frame + 8 * i);
        self.saved = Some((word(0), word(2), word(3)));
        Event::Exception(vector as u8)
    }

    /// Puts the context that an exception saved into what was read back.
    pub(super) fn finish(&mut self, state: &mut State) {
        let Some((rip, rflags, rsp)) = self.saved else { return };
        for (reg, value) in [(Reg::Rip, rip), (Reg::Rflags, rflags), (Reg::Rsp, rsp)] {
            if state.get(reg).is_some() {
                state.set(reg, value);
            }
        }
    }
}

/// x87 and vector registers.
fn vectors(cpu: &mut Cpu, s: &State) {
    cpu.mxcsr = s.get(Reg::Mxcsr).unwrap_or(0x1F80) as u32;
    cpu.fpu.set_control(s.get(Reg::Fcw).unwrap_or(0x37F) as u16);
    cpu.fpu.set_status(s.get(Reg::Fsw).unwrap_or(0) as u16);
    for i in 0..8 {
        cpu.fpu.set_st(i, s.st(i.into()).unwrap_or_default());
    }
    cpu.fpu.set_abridged_tags(s.get(Reg::Ftw).unwrap_or(0) as u8);
    for i in 0..16 {
        [cpu.xmm[i], cpu.ymm_high[i]] = s.ymm(i).unwrap_or_default();
    }
}

fn descriptor(selector: u16, v: u64) -> Segment {
    Segment::from_descriptor(selector, v as u32, (v >> 32) as u32)
}

/// Page tables, descriptor tables, handlers.
fn tables(sys: &mut System) {
    let mut put = |at: u64, v: u64| sys.mem.write(at, &v.to_le_bytes());
    // PML4, PDPT, PD; then page tables for the first 2 MiB, the code and the data.
    let user = 7;
    put(TABLES, (TABLES + 0x1000) | user);
    put(TABLES + 0x1000, (TABLES + 0x2000) | user);
    let mut next = TABLES + 0x3000;
    for (linear, physical, pages, rights) in
        [(0, 0, RAM / 4096, 3), (window::CODE, CODE_PAGE, 1, user), (window::DATA, DATA_PAGE, 1, user)]
    {
        put(TABLES + 0x2000 + (linear >> 21) * 8, next | user);
        for i in 0..pages {
            // Accessed and dirty already, so that a case's memory traffic is the instruction's own.
            put(next + ((linear >> 12 & 0x1FF) + i) * 8, (physical + i * 4096) | rights | 0x60);
        }
        next += 0x1000;
    }
    let descriptors = [(KERNEL_CODE, 0x00AF_9B00_0000_FFFF), (0x18, 0x00CF_9300_0000_FFFF), (USER_CODE32, CODE32)];
    for (selector, v) in descriptors.into_iter().chain([(USER_DATA, DATA), (USER_CODE64, CODE64)]) {
        put(GDT + u64::from(selector & !7), v);
    }
    put(TSS + 4, STACK_TOP);
    // No permission map: its place is beyond the TSS's limit.
    put(TSS + 0x60, 0x0068 << 48);
    for vector in 0..32 {
        let handler = HANDLERS + 16 * vector;
        // INT3, INTO and BOUND may come from CPL 3.
        put(IDT + 16 * vector, handler & 0xFFFF | u64::from(KERNEL_CODE) << 16 | 0xEE00 << 32);
        put(handler, 0xFEEB);
    }
}

/// Control and segment registers of user code.
fn registers(sys: &mut System) {
    let cpu = &mut sys.cpu;
    (cpu.cr0, cpu.cr3, cpu.cr4, cpu.efer) = (0x8001_0033, TABLES, 0x620, 0xD01);
    if cpu.model.has(Feature::Xsave) {
        cpu.cr4 |= bits::CR4_OSXSAVE;
        cpu.xcr0 = if cpu.model.has(Feature::Avx) { 7 } else { 3 };
    }
    cpu.seg = [Segment::null(0); 6];
    for s in [seg::ES, seg::SS, seg::DS] {
        cpu.seg[s] = descriptor(USER_DATA, DATA);
    }
    cpu.seg[seg::CS] = descriptor(USER_CODE64, CODE64);
    cpu.tr = descriptor(TASK, TSS << 16 | 0x0000_8B00_0000_0067);
    cpu.gdtr = TableRegister { base: GDT, limit: 0x5F };
    cpu.idtr = TableRegister { base: IDT, limit: 32 * 16 - 1 };
    cpu.cpl = 3;
    cpu.refresh_segments();
    sys.flush_translations();
}
