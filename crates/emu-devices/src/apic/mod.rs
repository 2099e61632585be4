//! The local APICs of all CPUs and the I/O APIC: one device, as they answer each other within an instruction.
//!
//! - Chips: the local APIC of the P6 family and later, xAPIC mode, version 14h [SDM-3 ch. 11]; Intel 82093AA
//!   (290566-001), "[82093AA p.N]".
//! - Memory: region 0 = local APIC (one page, FEE00000h, moved by IA32_APIC_BASE), 1 = I/O APIC (one page, FEC00000h).
//! - Pins: 0-23 are the I/O APIC's INTIN; [`PIN_LINT0`] and [`PIN_LINT1`] plus a CPU's number are its LINT pins. A high
//!   wire means "asserted": the polarity bits are kept for the guest, but select nothing.
//! - Left out: x2APIC, TSC-deadline mode, SMI messages, thermal and performance interrupts (their LVTs only store).
//!
//! The memory of region 0 belongs to the CPU whose turn it is; it lies where that one has it.

mod io;
mod local;
mod timer;

#[cfg(test)]
mod tests;

use emu_core::bus::{
    Ack, CpuSignal, DevCx, Device, DeviceId, InputPins, InterruptController, InterruptMessage, MmioDevice, Remap, Wire,
};
use emu_core::state::{State, StateError, StateReader, StateWriter};
use emu_core::{Bus, PhysMem, Ticks};

use io::IoApic;
use local::{Effect, LocalApic};

/// The page of the local APIC.
pub const REGION_LOCAL: u16 = 0;
/// The page of the I/O APIC.
pub const REGION_IO: u16 = 1;
/// Where the local APICs answer after reset.
pub const LOCAL_BASE: u64 = 0xFEE0_0000;
/// Where the I/O APIC answers.
pub const IO_BASE: u64 = 0xFEC0_0000;
/// Number of interrupt inputs of the I/O APIC.
pub const IO_PINS: u16 = 24;
/// Pin number of CPU 0's LINT0, where the 8259A's INTR goes.
pub const PIN_LINT0: u16 = 0x100;
/// Pin number of CPU 0's LINT1, where NMI goes.
pub const PIN_LINT1: u16 = 0x200;

const PAGE: u64 = 0x1000;

/// What the APICs are made of.
#[derive(Clone, Debug)]
pub struct ApicConfig {
    /// Frequency of the timers' clock in Hz, before the divider.
    pub bus_hz: u64,
    /// The I/O APIC's id after reset; 82093AA starts at 0, and firmware gives it one that no CPU has.
    pub io_id: u8,
    /// Whether the boot CPU comes out of reset in virtual wire mode (LINT0 = ExtINT, LINT1 = NMI, both open), as
    /// firmware leaves it, rather than masked. Direct boot and several BIOSes rely on it.
    pub virtual_wire: bool,
    /// Whether the I/O APIC's entries can have the format for a remapping unit: their upper halves are all there.
    pub remappable: bool,
}

impl Default for ApicConfig {
    /// 100 MHz, id 0, virtual wire mode.
    fn default() -> Self {
        ApicConfig { bus_hz: 100_000_000, io_id: 0, virtual_wire: true, remappable: false }
    }
}

/// Output wires.
#[derive(Clone, Debug, Default)]
pub struct ApicWires {
    /// INTR of each CPU.
    pub intr: Vec<Wire>,
}

/// How an interrupt message finds its CPUs [SDM-3 11.6.2].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Destination {
    Physical(u8),
    Logical(u8),
    Only(usize),
    All,
    AllBut(usize),
}

/// An interrupt message: what ICR, LVT entries and redirection entries have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Message {
    vector: u8,
    /// Bits 10-8: 0 fixed, 1 lowest priority, 2 SMI, 4 NMI, 5 INIT, 6 start-up, 7 ExtINT.
    mode: u8,
    level: bool,
    to: Destination,
}

impl Message {
    /// What a message on the bus says [SDM-3 10.11]: with the redirection hint the CPU of the lowest priority takes it.
    fn from_bus(message: InterruptMessage) -> Message {
        let InterruptMessage { address, data } = message;
        let dest = (address >> 12) as u8;
        let to = if address & 1 << 2 != 0 { Destination::Logical(dest) } else { Destination::Physical(dest) };
        let mode = match (data >> 8 & 7) as u8 {
            0 if address & 1 << 3 != 0 => 1,
            mode => mode,
        };
        Message { vector: data as u8, mode, level: data & 1 << 15 != 0, to }
    }
}

/// The APICs of a machine.
#[derive(Debug)]
pub struct Apic {
    // Configuration
    config: ApicConfig,
    // Wiring
    wires: ApicWires,
    // State
    locals: Vec<LocalApic>,
    io: IoApic,
    // Volatile
    /// The CPU whose turn it is: its accesses arrive.
    current: usize,
}

impl Apic {
    /// The APICs of `cpus` CPUs (1 to 64) in their power-on state; CPU 0 is the boot CPU, and ids are CPU numbers.
    #[must_use]
    pub fn new(cpus: u8, config: ApicConfig, wires: ApicWires) -> Apic {
        let locals = (0..cpus.clamp(1, 64)).map(|id| LocalApic::new(id, config.virtual_wire)).collect();
        let io = IoApic::new(config.io_id, config.remappable);
        let config = ApicConfig { bus_hz: config.bus_hz.clamp(1, 10_000_000_000), ..config };
        Apic { config, wires, locals, io, current: 0 }
    }

    /// Puts the APICs on the bus: maps both pages, and makes them the first to answer acknowledge cycles.
    pub fn install(bus: &mut Bus, mem: &mut PhysMem, cpus: u8, config: ApicConfig) -> DeviceId {
        let intr = (0..cpus.clamp(1, 64)).map(|cpu| bus.wire_to(emu_core::Sink::Intr(cpu))).collect();
        let id = bus.add(Box::new(Apic::new(cpus, config, ApicWires { intr })));
        bus.map_mmio(mem, id, LOCAL_BASE, PAGE, REGION_LOCAL);
        bus.map_mmio(mem, id, IO_BASE, PAGE, REGION_IO);
        bus.add_interrupt_controller(id);
        id
    }

    fn cycles(&self, cx: &DevCx<'_>) -> u64 {
        cx.rate.cycles_at(cx.now, self.config.bus_hz)
    }

    fn local(&mut self, cpu: u8) -> Option<&mut LocalApic> {
        self.locals.get_mut(usize::from(cpu))
    }

    /// Drives every CPU's INTR.
    fn settle(&self, cx: &mut DevCx<'_>) {
        for (local, &wire) in self.locals.iter().zip(&self.wires.intr) {
            cx.set_wire(wire, local.intr());
        }
    }

    /// Asks for the event at which CPU `cpu`'s timer next interrupts, if it can.
    fn schedule_timer(&mut self, cx: &mut DevCx<'_>, cpu: usize) {
        match self.locals[cpu].timer_deadline() {
            Some(cycle) => cx.schedule(cpu as u32, cx.rate.tick_of_cycle(cycle, self.config.bus_hz)),
            None => cx.cancel(cpu as u32),
        }
    }

    /// Numbers of the CPUs that `to` names.
    fn targets(&self, to: Destination) -> Vec<usize> {
        let wanted = |(i, local): &(usize, &LocalApic)| match to {
            Destination::Physical(id) => local.has_id(id),
            Destination::Logical(set) => local.in_logical(set),
            Destination::Only(cpu) => *i == cpu,
            Destination::All => true,
            Destination::AllBut(cpu) => *i != cpu,
        };
        self.locals.iter().enumerate().filter(|(_, local)| local.on_bus()).filter(wanted).map(|(i, _)| i).collect()
    }

    /// Sends a message. Returns whether any CPU accepted it.
    fn send(&mut self, cx: &mut DevCx<'_>, message: Message) -> bool {
        let mut targets = self.targets(message.to);
        if message.mode == 1 {
            // Of those named the one with the lowest processor priority takes it; the lowest id breaks ties.
            let best = targets.into_iter().filter(|&i| self.locals[i].enabled());
            targets = best.min_by_key(|&i| self.locals[i].priority()).into_iter().collect();
        }
        let mut accepted = false;
        for cpu in targets {
            accepted |= self.deliver(cx, cpu, message);
        }
        accepted
    }

    fn deliver(&mut self, cx: &mut DevCx<'_>, cpu: usize, message: Message) -> bool {
        let local = &mut self.locals[cpu];
        match message.mode {
            0 | 1 => return local.accept(message.vector, message.level),
            2 => cx.signal(CpuSignal::Smi(cpu as u8)),
            4 => cx.signal(CpuSignal::Nmi(cpu as u8)),
            5 => {
                local.init();
                cx.cancel(cpu as u32);
                cx.signal(CpuSignal::Init(cpu as u8));
            }
            6 => cx.signal(CpuSignal::Sipi(cpu as u8, message.vector)),
            7 => local.ext_message = true,
            _ => return false,
        }
        true
    }

    /// Carries out what an access or a pin asked for.
    fn carry_out(&mut self, cx: &mut DevCx<'_>, cpu: usize, effect: Effect) {
        match effect {
            Effect::None => {}
            Effect::TimerChanged => self.schedule_timer(cx, cpu),
            Effect::Send(message) => {
                self.send(cx, message);
            }
            Effect::Nmi => cx.signal(CpuSignal::Nmi(cpu as u8)),
            Effect::Smi => cx.signal(CpuSignal::Smi(cpu as u8)),
            Effect::EndOfLevel(vector) => {
                for message in self.io.end_of_interrupt(vector) {
                    self.send_io(cx, message);
                }
            }
        }
    }

    /// Sends what pin `pin` of the I/O APIC asks for.
    fn send_io(&mut self, cx: &mut DevCx<'_>, (pin, message): (usize, InterruptMessage)) {
        // It goes past the remapping unit, where there is one.
        if let Some(message) = cx.remap_interrupt(message)
            && self.send(cx, Message::from_bus(message))
        {
            self.io.accepted(pin);
        }
    }
}

impl Device for Apic {
    fn name(&self) -> &str {
        "apic"
    }

    fn reset(&mut self, cx: &mut DevCx<'_>) {
        for (i, local) in self.locals.iter_mut().enumerate() {
            local.reset();
            cx.cancel(i as u32);
        }
        self.io.reset();
        cx.remap(Remap::Mmio { base: LOCAL_BASE, len: PAGE, region: REGION_LOCAL });
        self.settle(cx);
    }

    fn mmio(&mut self) -> Option<&mut dyn MmioDevice> {
        Some(self)
    }

    fn pins(&mut self) -> Option<&mut dyn InputPins> {
        Some(self)
    }

    fn interrupt_controller(&mut self) -> Option<&mut dyn InterruptController> {
        Some(self)
    }

    fn event(&mut self, cx: &mut DevCx<'_>, tag: u32) {
        let (cpu, now) = (tag as usize, self.cycles(cx));
        if cpu < self.locals.len() {
            self.locals[cpu].timer_event(now);
            self.schedule_timer(cx, cpu);
            self.settle(cx);
        }
    }

    fn restored(&mut self, cx: &mut DevCx<'_>) {
        self.map_local(cx);
    }
}

impl Apic {
    /// Where CPU `cpu` has its APIC.
    fn page_of(&self, cpu: usize) -> Option<u64> {
        let local = &self.locals[cpu];
        local.on_bus().then(|| local.base() & !(PAGE - 1))
    }

    /// Maps region 0 where the CPU whose turn it is has its APIC, or nowhere.
    fn map_local(&self, cx: &mut DevCx<'_>) {
        cx.remap(match self.page_of(self.current) {
            Some(base) => Remap::Mmio { base, len: PAGE, region: REGION_LOCAL },
            None => Remap::UnmapMmio { region: REGION_LOCAL },
        });
    }
}

impl MmioDevice for Apic {
    fn read(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u64, _size: u8) -> u64 {
        let now = self.cycles(cx);
        match region {
            REGION_LOCAL => {
                let value = self.locals[self.current].read(offset, now);
                self.settle(cx);
                value.into()
            }
            _ => self.io.read(offset).into(),
        }
    }

    fn write(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u64, _size: u8, value: u64) {
        let (now, cpu) = (self.cycles(cx), self.current);
        if region == REGION_LOCAL {
            let effect = self.locals[cpu].write(cpu, offset, value as u32, now);
            self.carry_out(cx, cpu, effect);
            // A changed id, destination or enable bit may let this APIC take what waits.
            if matches!(offset, 0x20 | 0xD0 | 0xE0 | 0xF0) {
                self.io.unaccepted().into_iter().for_each(|message| self.send_io(cx, message));
            }
        } else if let Some(message) = self.io.write(offset, value as u32) {
            self.send_io(cx, message);
        }
        self.settle(cx);
    }

    fn peek(&self, _now: Ticks, region: u16, offset: u64, _size: u8) -> u64 {
        match region {
            REGION_LOCAL => self.locals[self.current].peek(offset).into(),
            _ => self.io.read(offset).into(),
        }
    }
}

impl InputPins for Apic {
    fn set_pin(&mut self, cx: &mut DevCx<'_>, pin: u16, level: bool) {
        if pin < IO_PINS {
            if let Some(message) = self.io.set_pin(usize::from(pin), level) {
                self.send_io(cx, message);
            }
        } else {
            let (cpu, lint) = (usize::from(pin & 0xFF), usize::from(pin >= PIN_LINT1));
            if let Some(local) = self.locals.get_mut(cpu) {
                let effect = local.set_lint(cpu, lint, level);
                self.carry_out(cx, cpu, effect);
            }
        }
        self.settle(cx);
    }
}

impl InterruptController for Apic {
    fn acknowledge(&mut self, cx: &mut DevCx<'_>, cpu: u8) -> Ack {
        let ack = self.local(cpu).map_or(Ack::Next, LocalApic::acknowledge);
        self.settle(cx);
        ack
    }

    fn message(&mut self, cx: &mut DevCx<'_>, message: InterruptMessage) {
        self.send(cx, Message::from_bus(message));
        self.settle(cx);
    }

    fn task_priority(&mut self, cpu: u8) -> Option<u8> {
        self.local(cpu).map(|local| local.tpr >> 4)
    }

    fn set_task_priority(&mut self, cx: &mut DevCx<'_>, cpu: u8, class: u8) {
        if let Some(local) = self.local(cpu) {
            local.tpr = class << 4;
        }
        self.settle(cx);
    }

    fn apic_base(&mut self, cpu: u8) -> Option<u64> {
        self.local(cpu).map(|local| local.base())
    }

    fn turn_passes(&mut self, cx: &mut DevCx<'_>, cpu: u8) {
        let before = self.page_of(self.current);
        self.current = usize::from(cpu).min(self.locals.len() - 1);
        if self.page_of(self.current) != before {
            self.map_local(cx);
        }
    }

    fn set_apic_base(&mut self, cx: &mut DevCx<'_>, cpu: u8, value: u64) -> bool {
        let Some(local) = self.local(cpu) else { return false };
        if !local.set_base(value) {
            return false;
        }
        if !local.on_bus() {
            cx.cancel(cpu.into());
        }
        self.map_local(cx);
        self.settle(cx);
        true
    }
}

impl State for Apic {
    const TAG: [u8; 4] = *b"APIC";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { config: _, wires: _, locals, io, current: _ } = self;
        w.field(1, &(locals.len() as u32));
        w.part(2, io);
        for (i, local) in locals.iter().enumerate() {
            w.part(3 + i as u8, local);
        }
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        if r.field::<u32>(1)? as usize != self.locals.len() {
            return Err(r.invalid("it belongs to a machine with another number of CPUs"));
        }
        r.part(2, &mut self.io)?;
        self.locals.iter_mut().zip(3..).try_for_each(|(local, number)| r.part(number, local))
    }
}
