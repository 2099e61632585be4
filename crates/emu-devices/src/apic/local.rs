//! One CPU's local APIC: registers, priorities, local interrupts [SDM-3 11.4-11.8].

use emu_core::bus::Ack;
use emu_core::state::{State, StateError, StateReader, StateWriter};

use super::timer::Timer;
use super::{Destination, LOCAL_BASE, Message};

/// Six LVT entries, version 14h.
const VERSION: u32 = 0x0005_0014;

const BASE_ENABLE: u64 = 1 << 11;
const BASE_BSP: u64 = 1 << 8;
/// Bits of IA32_APIC_BASE that exist: address bits up to 35, enable, boot CPU.
const BASE_MASK: u64 = 0xF_FFFF_F900;

const SVR_ENABLE: u32 = 1 << 8;
const LVT_MASKED: u32 = 1 << 16;
const LVT_LEVEL: u32 = 1 << 15;
const LVT_REMOTE_IRR: u32 = 1 << 14;
const LVT_PERIODIC: u32 = 1 << 17;

const TIMER: usize = 0;
const LINT0: usize = 3;
const ERROR: usize = 5;
/// Bits that exist in each LVT entry: timer, thermal, performance, LINT0, LINT1, error.
const LVT_BITS: [u32; 6] = [0x3_00FF, 0x1_07FF, 0x1_07FF, 0x1_A7FF, 0x1_A7FF, 0x1_00FF];

const SEND_ILLEGAL_VECTOR: u32 = 1 << 5;
const RECEIVED_ILLEGAL_VECTOR: u32 = 1 << 6;
const ILLEGAL_REGISTER: u32 = 1 << 7;

const INIT: u8 = 5;
const EXT_INT: u8 = 7;

/// What the rest of the machine has to do after an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    TimerChanged,
    Send(Message),
    /// The CPU's own NMI.
    Nmi,
    /// The CPU's own SMI.
    Smi,
    /// A level interrupt with this vector ended.
    EndOfLevel(u8),
}

/// 256 bits, one for each vector.
type Vectors = [u32; 8];

fn highest(set: &Vectors) -> Option<u8> {
    let word = set.iter().rposition(|&w| w != 0)?;
    Some((word as u32 * 32 + 31 - set[word].leading_zeros()) as u8)
}

fn bit(vector: u8) -> (usize, u32) {
    (usize::from(vector >> 5), 1 << (vector & 31))
}

/// A local APIC.
#[derive(Clone, Debug)]
pub(super) struct LocalApic {
    // Configuration
    cpu: u8,
    virtual_wire: bool,
    // State
    base: u64,
    id: u8,
    pub(super) tpr: u8,
    ldr: u8,
    /// Bits 31-28 of the destination format register.
    dfr: u8,
    svr: u32,
    in_service: Vectors,
    trigger: Vectors,
    requested: Vectors,
    /// Errors that a read of ESR shows, and those since the last write to it.
    esr: u32,
    errors: u32,
    icr: u64,
    lvt: [u32; 6],
    timer: Timer,
    /// Levels of LINT0 and LINT1.
    lint: [bool; 2],
    /// An ExtINT message came, and the CPU has not acknowledged it.
    pub(super) ext_message: bool,
}

impl LocalApic {
    /// The local APIC of CPU `cpu` after power-on.
    pub(super) fn new(cpu: u8, virtual_wire: bool) -> LocalApic {
        let mut local = LocalApic {
            cpu,
            virtual_wire: virtual_wire && cpu == 0,
            base: 0,
            id: cpu,
            tpr: 0,
            ldr: 0,
            dfr: 0,
            svr: 0,
            in_service: [0; 8],
            trigger: [0; 8],
            requested: [0; 8],
            esr: 0,
            errors: 0,
            icr: 0,
            lvt: [0; 6],
            timer: Timer::default(),
            lint: [false; 2],
            ext_message: false,
        };
        local.reset();
        local
    }

    /// RESET: the wires at the LINT pins keep their levels.
    pub(super) fn reset(&mut self) {
        self.base = LOCAL_BASE | BASE_ENABLE | if self.cpu == 0 { BASE_BSP } else { 0 };
        self.id = self.cpu;
        self.init();
    }

    /// INIT: as after reset, but for the id and the base [SDM-3 11.4.7.3].
    pub(super) fn init(&mut self) {
        (self.tpr, self.ldr, self.dfr, self.svr) = (0, 0, 15, 0xFF);
        (self.in_service, self.trigger, self.requested) = ([0; 8], [0; 8], [0; 8]);
        (self.esr, self.errors, self.icr) = (0, 0, 0);
        self.lvt = [LVT_MASKED; 6];
        self.timer = Timer::default();
        self.ext_message = false;
        if self.virtual_wire {
            self.lvt[LINT0] = u32::from(EXT_INT) << 8;
            self.lvt[LINT0 + 1] = 4 << 8;
        }
    }

    /// IA32_APIC_BASE.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// Writes IA32_APIC_BASE; false for bits that do not exist. Switching off resets the APIC [SDM-3 11.4.3].
    pub(super) fn set_base(&mut self, value: u64) -> bool {
        if value & !BASE_MASK != 0 {
            return false;
        }
        self.base = value & !BASE_BSP | if self.cpu == 0 { BASE_BSP } else { 0 };
        if !self.on_bus() {
            self.init();
        }
        true
    }

    /// Whether IA32_APIC_BASE has it switched on.
    pub(super) fn on_bus(&self) -> bool {
        self.base & BASE_ENABLE != 0
    }

    /// Whether it is switched on, and enabled by the spurious vector register: it takes interrupts.
    pub(super) fn enabled(&self) -> bool {
        self.on_bus() && self.svr & SVR_ENABLE != 0
    }

    pub(super) fn has_id(&self, id: u8) -> bool {
        id == self.id || id == 0xFF
    }

    /// Whether a logical destination names it, in the flat or the cluster model [SDM-3 11.6.2.2].
    pub(super) fn in_logical(&self, set: u8) -> bool {
        if self.dfr == 15 {
            return self.ldr & set != 0;
        }
        (set >> 4 == 15 || set >> 4 == self.ldr >> 4) && self.ldr & set & 15 != 0
    }

    /// The processor priority register [SDM-3 11.8.3.1].
    pub(super) fn priority(&self) -> u8 {
        let serving = highest(&self.in_service).unwrap_or(0) & 0xF0;
        if self.tpr & 0xF0 >= serving { self.tpr } else { serving }
    }

    /// The vector that the CPU gets next, if its class is above the processor's priority.
    fn deliverable(&self) -> Option<u8> {
        highest(&self.requested).filter(|v| v & 0xF0 > self.priority() & 0xF0 && self.enabled())
    }

    /// Whether the 8259A's interrupt is let through: by LINT0 as ExtINT, or by a message; always while switched off.
    fn ext_int(&self) -> bool {
        let lvt = self.lvt[LINT0];
        let open = lvt & LVT_MASKED == 0 && (lvt >> 8 & 7) as u8 == EXT_INT;
        self.ext_message || self.lint[0] && (open || !self.on_bus())
    }

    /// INTR to the CPU.
    pub(super) fn intr(&self) -> bool {
        self.deliverable().is_some() || self.ext_int()
    }

    /// The CPU's acknowledge cycle.
    pub(super) fn acknowledge(&mut self) -> Ack {
        if let Some(vector) = self.deliverable() {
            let (word, mask) = bit(vector);
            self.requested[word] &= !mask;
            self.in_service[word] |= mask;
            return Ack::Vector(vector);
        }
        if self.ext_int() || !self.on_bus() {
            self.ext_message = false;
            return Ack::Next;
        }
        Ack::Vector(self.svr as u8)
    }

    /// Takes a fixed interrupt; false if it does not.
    pub(super) fn accept(&mut self, vector: u8, level: bool) -> bool {
        if !self.enabled() {
            return false;
        }
        if vector < 16 {
            self.error(RECEIVED_ILLEGAL_VECTOR);
            return false;
        }
        let (word, mask) = bit(vector);
        self.requested[word] |= mask;
        self.trigger[word] = self.trigger[word] & !mask | if level { mask } else { 0 };
        true
    }

    /// Notes an error, and rings the error LVT [SDM-3 11.5.3].
    fn error(&mut self, which: u32) {
        self.errors |= which;
        let lvt = self.lvt[ERROR];
        // An error entry with an illegal vector of its own is not an error of the error interrupt.
        if lvt & LVT_MASKED == 0 && lvt & 0xF0 != 0 {
            self.accept(lvt as u8, false);
        }
    }

    /// A LINT pin changed [SDM-3 11.5.1].
    pub(super) fn set_lint(&mut self, cpu: usize, pin: usize, level: bool) -> Effect {
        let rises = level && !self.lint[pin];
        self.lint[pin] = level;
        let lvt = self.lvt[LINT0 + pin];
        if !self.on_bus() {
            return if rises && pin == 1 { Effect::Nmi } else { Effect::None };
        }
        if lvt & LVT_MASKED != 0 {
            return Effect::None;
        }
        match (lvt >> 8 & 7) as u8 {
            0 => {
                self.ring_lint(pin, rises);
                Effect::None
            }
            2 if rises => Effect::Smi,
            4 if rises => Effect::Nmi,
            INIT if rises => Effect::Send(Message { vector: 0, mode: INIT, level: false, to: Destination::Only(cpu) }),
            _ => Effect::None,
        }
    }

    /// A fixed interrupt from a LINT pin: at its edge, or while it is asserted and not in service.
    fn ring_lint(&mut self, pin: usize, rises: bool) {
        let lvt = self.lvt[LINT0 + pin];
        if lvt & LVT_LEVEL == 0 {
            if rises {
                self.accept(lvt as u8, false);
            }
        } else if self.lint[pin] && lvt & LVT_REMOTE_IRR == 0 && self.accept(lvt as u8, true) {
            self.lvt[LINT0 + pin] |= LVT_REMOTE_IRR;
        }
    }

    /// Fixed level interrupts of the LINT pins that can ring again.
    fn recheck_lints(&mut self) {
        for pin in 0..2 {
            let lvt = self.lvt[LINT0 + pin];
            if lvt & (LVT_MASKED | 0x700 | LVT_LEVEL) == LVT_LEVEL {
                self.ring_lint(pin, false);
            }
        }
    }

    fn periodic(&self) -> bool {
        self.lvt[TIMER] & LVT_PERIODIC != 0
    }

    /// Clock cycle of the timer's next interrupt; `None` when it can't interrupt.
    pub(super) fn timer_deadline(&self) -> Option<u64> {
        self.timer.deadline().filter(|_| self.lvt[TIMER] & LVT_MASKED == 0)
    }

    /// The timer's event at cycle `now`.
    pub(super) fn timer_event(&mut self, now: u64) {
        if self.timer.advance(now, self.periodic()) && self.lvt[TIMER] & LVT_MASKED == 0 {
            self.accept(self.lvt[TIMER] as u8, false);
        }
    }

    /// Reads a register at clock cycle `now`.
    pub(super) fn read(&mut self, offset: u64, now: u64) -> u32 {
        if offset == 0x390 {
            // What is due at this very cycle is the event's to deliver.
            let mut timer = self.timer.clone();
            timer.advance(now, self.periodic());
            return timer.current(now);
        }
        if offset & 15 == 0 && self.register(offset).is_none() && offset != 0xB0 {
            self.error(ILLEGAL_REGISTER);
        }
        self.peek(offset)
    }

    /// What a read gives without side effects; the current count shows as 0.
    pub(super) fn peek(&self, offset: u64) -> u32 {
        self.register(offset).unwrap_or(0)
    }

    fn register(&self, offset: u64) -> Option<u32> {
        let word = (offset >> 4 & 7) as usize;
        Some(match offset {
            0x20 => u32::from(self.id) << 24,
            0x30 => VERSION,
            0x80 => self.tpr.into(),
            0x90 | 0xA0 => self.priority().into(),
            0xD0 => u32::from(self.ldr) << 24,
            0xE0 => u32::from(self.dfr) << 28 | 0x0FFF_FFFF,
            0xF0 => self.svr,
            0x100..=0x170 if offset & 15 == 0 => self.in_service[word],
            0x180..=0x1F0 if offset & 15 == 0 => self.trigger[word],
            0x200..=0x270 if offset & 15 == 0 => self.requested[word],
            0x280 => self.esr,
            0x300 => self.icr as u32,
            0x310 => (self.icr >> 32) as u32,
            0x320 | 0x330 | 0x340 | 0x350 | 0x360 | 0x370 => self.lvt[(offset as usize - 0x320) >> 4],
            0x380 => self.timer.initial,
            0x390 => 0,
            0x3E0 => self.timer.divide.into(),
            _ => return None,
        })
    }

    /// Writes a register of CPU number `cpu` at clock cycle `now`.
    pub(super) fn write(&mut self, cpu: usize, offset: u64, value: u32, now: u64) -> Effect {
        match offset {
            0x20 => self.id = (value >> 24) as u8,
            0x80 => self.tpr = value as u8,
            0xB0 => return self.end_of_interrupt(),
            0xD0 => self.ldr = (value >> 24) as u8,
            0xE0 => self.dfr = (value >> 28) as u8,
            0xF0 => return self.write_svr(value),
            0x280 => self.esr = core::mem::take(&mut self.errors),
            0x300 => return self.write_icr(cpu, value),
            0x310 => self.icr = self.icr & 0xFFFF_FFFF | u64::from(value & 0xFF00_0000) << 32,
            0x320 | 0x330 | 0x340 | 0x350 | 0x360 | 0x370 => {
                return self.write_lvt((offset as usize - 0x320) >> 4, value, now);
            }
            0x380 => {
                self.timer.start(now, value);
                return Effect::TimerChanged;
            }
            0x3E0 => {
                self.timer.advance(now, self.periodic());
                self.timer.set_divide(now, value as u8);
                return Effect::TimerChanged;
            }
            // Read-only registers ignore writes.
            _ if offset & 15 != 0 || self.register(offset).is_some() => {}
            _ => self.error(ILLEGAL_REGISTER),
        }
        Effect::None
    }

    /// Ends the interrupt of the highest priority in service [SDM-3 11.8.5].
    fn end_of_interrupt(&mut self) -> Effect {
        let Some(vector) = highest(&self.in_service) else { return Effect::None };
        let (word, mask) = bit(vector);
        self.in_service[word] &= !mask;
        if self.trigger[word] & mask == 0 {
            return Effect::None;
        }
        for lvt in &mut self.lvt[LINT0..LINT0 + 2] {
            if *lvt as u8 == vector {
                *lvt &= !LVT_REMOTE_IRR;
            }
        }
        self.recheck_lints();
        Effect::EndOfLevel(vector)
    }

    /// Disabling by software masks every local interrupt [SDM-3 11.4.7.2].
    fn write_svr(&mut self, value: u32) -> Effect {
        self.svr = value & 0x3FF;
        if self.svr & SVR_ENABLE == 0 {
            self.lvt.iter_mut().for_each(|lvt| *lvt |= LVT_MASKED);
        }
        Effect::TimerChanged
    }

    fn write_lvt(&mut self, entry: usize, value: u32, now: u64) -> Effect {
        if entry == TIMER {
            self.timer.advance(now, self.periodic());
        }
        let mut new = value & LVT_BITS[entry] | self.lvt[entry] & LVT_REMOTE_IRR;
        if new & LVT_LEVEL == 0 {
            new &= !LVT_REMOTE_IRR;
        }
        if self.svr & SVR_ENABLE == 0 {
            new |= LVT_MASKED;
        }
        self.lvt[entry] = new;
        self.recheck_lints();
        Effect::TimerChanged
    }

    /// Writes the low half of ICR, which sends an IPI [SDM-3 11.6.1].
    fn write_icr(&mut self, cpu: usize, value: u32) -> Effect {
        self.icr = self.icr & !0xFFFF_FFFF | u64::from(value & 0x000C_CFFF);
        let (vector, mode) = (value as u8, (value >> 8 & 7) as u8);
        let dest = (self.icr >> 56) as u8;
        let (asserts, level) = (value & 1 << 14 != 0, value & 1 << 15 != 0);
        if mode == INIT && level && !asserts {
            return Effect::None; // INIT level de-assert only sets arbitration ids
        }
        if mode < 2 && vector < 16 {
            self.error(SEND_ILLEGAL_VECTOR);
            return Effect::None;
        }
        let to = match value >> 18 & 3 {
            0 if value & 0x800 != 0 => Destination::Logical(dest),
            0 => Destination::Physical(dest),
            1 => Destination::Only(cpu),
            2 => Destination::All,
            _ => Destination::AllBut(cpu),
        };
        // IPIs are edges, whatever the trigger bit says.
        if mode == 3 || mode == EXT_INT {
            return Effect::None;
        }
        Effect::Send(Message { vector, mode, level: false, to })
    }
}

impl State for LocalApic {
    const TAG: [u8; 4] = *b"LAPC";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self {
            cpu: _,
            virtual_wire: _,
            base,
            id,
            tpr,
            ldr,
            dfr,
            svr,
            in_service,
            trigger,
            requested,
            esr,
            errors,
            icr,
            lvt,
            timer,
            lint,
            ext_message,
        } = self;
        w.field(1, base);
        w.field(2, &[*id, *tpr, *ldr, *dfr]);
        w.field(3, svr);
        w.field(4, &[*in_service, *trigger, *requested]);
        w.field(5, &[*esr, *errors]);
        w.field(6, icr);
        w.field(7, lvt);
        w.part(8, timer);
        w.field(9, lint);
        w.field(10, ext_message);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        self.base = r.field(1)?;
        [self.id, self.tpr, self.ldr, self.dfr] = r.field(2)?;
        self.svr = r.field(3)?;
        [self.in_service, self.trigger, self.requested] = r.field(4)?;
        [self.esr, self.errors] = r.field(5)?;
        self.icr = r.field(6)?;
        self.lvt = r.field(7)?;
        r.part(8, &mut self.timer)?;
        self.lint = r.field(9)?;
        self.ext_message = r.field(10)?;
        let lvt_fits = self.lvt.iter().zip(LVT_BITS).all(|(lvt, bits)| lvt & !(bits | LVT_REMOTE_IRR) == 0);
        if self.base & !BASE_MASK != 0 || self.dfr > 15 || self.svr > 0x3FF || !lvt_fits {
            return Err(r.invalid("a register holds bits that do not exist"));
        }
        Ok(())
    }
}
