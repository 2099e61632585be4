//! What a device is: a chip with capabilities, that gets everything it may touch through one context.

use core::any::Any;

use super::hypervisor::HypervisorInterface;
use super::lines::{Effects, Wire};
use super::pci::PciFunction;
use super::remap::{InterruptMessage, RemappingUnit};
use super::{CpuSignal, DeviceId, Output, Remap};
use crate::block::BlockBackend;
use crate::input::Input;
use crate::mem::PhysMem;
use crate::sched::Scheduler;
use crate::state::{State, StateError, StateReader, StateWriter};
use crate::time::{ClockRate, Ticks};

/// A chip on the bus. What it can do beyond being reset and saved, it says by its capability getters.
pub trait Device: DynState + Any + Send {
    /// The name of this instance, unique on its board: `"pic0"`, `"com1"`. Used in reports and in saved state.
    fn name(&self) -> &str;

    /// Puts the chip into its state after power-on or RESET#. Wiring and attached media stay.
    fn reset(&mut self, cx: &mut DevCx<'_>);

    /// Answers port I/O.
    fn ports(&mut self) -> Option<&mut dyn PortDevice> {
        None
    }
    /// Answers memory accesses.
    fn mmio(&mut self) -> Option<&mut dyn MmioDevice> {
        None
    }
    /// [`PortDevice::read`] of [`Self::ports`], in one call.
    fn port_read(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u16, size: u8) -> u32 {
        self.ports().map_or(u32::MAX, |p| p.read(cx, region, offset, size))
    }
    /// [`PortDevice::write`] of [`Self::ports`], in one call.
    fn port_write(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u16, size: u8, value: u32) {
        if let Some(p) = self.ports() {
            p.write(cx, region, offset, size, value);
        }
    }
    /// [`MmioDevice::read`] of [`Self::mmio`], in one call.
    fn mmio_read(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u64, size: u8) -> u64 {
        self.mmio().map_or(u64::MAX, |m| m.read(cx, region, offset, size))
    }
    /// [`MmioDevice::write`] of [`Self::mmio`], in one call.
    fn mmio_write(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u64, size: u8, value: u64) {
        if let Some(m) = self.mmio() {
            m.write(cx, region, offset, size, value);
        }
    }
    /// [`MmioDevice::store`] of [`Self::mmio`].
    fn mmio_store(&mut self, mem: &mut PhysMem, region: u16, offset: u64, size: u8, value: u64) -> bool {
        self.mmio().is_some_and(|m| m.store(mem, region, offset, size, value))
    }
    /// [`MmioDevice::run`] of [`Self::mmio`].
    fn mmio_run(&mut self, mem: &mut PhysMem, region: u16, size: u8, run: MmioRun<'_>) -> u64 {
        self.mmio().map_or(0, |m| m.run(mem, region, size, run))
    }
    /// Is a function on the PCI bus.
    fn pci(&mut self) -> Option<&mut dyn PciFunction> {
        None
    }
    /// Has input pins that wires lead to.
    fn pins(&mut self) -> Option<&mut dyn InputPins> {
        None
    }
    /// Answers the CPU's interrupt acknowledge cycle.
    fn interrupt_controller(&mut self) -> Option<&mut dyn InterruptController> {
        None
    }
    /// Runs DMA cycles for others.
    fn dma_controller(&mut self) -> Option<&mut dyn DmaController> {
        None
    }
    /// Has a hypervisor's interface to its guests.
    fn hypervisor(&mut self) -> Option<&mut dyn HypervisorInterface> {
        None
    }
    /// Says where accesses and interrupts of others go.
    fn remapping_unit(&mut self) -> Option<&mut dyn RemappingUnit> {
        None
    }
    /// Has its bytes moved by a DMA controller.
    fn dma_client(&mut self) -> Option<&mut dyn DmaClient> {
        None
    }

    /// An event that the device asked for is due. `tag` is the one it named.
    fn event(&mut self, cx: &mut DevCx<'_>, tag: u32) {
        let _ = (cx, tag);
    }

    /// A state was loaded. The address map is not part of it: a device that moves its regions claims them again here, from
    /// its registers. It must not drive a wire, as levels are loaded with the bus.
    fn restored(&mut self, cx: &mut DevCx<'_>) {
        let _ = cx;
    }

    /// Something came from outside of the machine. Returns whether it was for this device.
    fn input(&mut self, cx: &mut DevCx<'_>, input: &Input) -> bool {
        let _ = (cx, input);
        false
    }
}

/// [`State`] for trait objects; every `State` has it.
pub trait DynState {
    /// Writes the chunk.
    fn save_chunk(&self, w: &mut StateWriter);
    /// Reads the chunk.
    ///
    /// # Errors
    /// Any [`StateError`].
    fn load_chunk(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError>;
}

impl<T: State> DynState for T {
    fn save_chunk(&self, w: &mut StateWriter) {
        w.chunk(self);
    }
    fn load_chunk(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        r.chunk(self)
    }
}

/// Port I/O. `region` is the number under which the board registered the range, `offset` counts from its start, `size`
/// is 1, 2 or 4 bytes and never more than the range was registered for: wider accesses arrive in parts.
pub trait PortDevice {
    /// IN. Bits above `size` bytes are ignored.
    fn read(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u16, size: u8) -> u32;
    /// OUT. Bits of `value` above `size` bytes are zero.
    fn write(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u16, size: u8, value: u32);
    /// The elements of a repeated INS, of `size` bytes each, as [`Self::read`] would give them one after the other, for as
    /// long as that depends on no time and has no effect but on what is read next. Returns how many it has given; 0 if the
    /// port is to be read one by one.
    fn read_run(&mut self, region: u16, offset: u16, size: u8, data: &mut [u8]) -> usize {
        let _ = (region, offset, size, data);
        0
    }
    /// The elements of a repeated OUTS, as for [`Self::read_run`]. Returns how many it has taken.
    fn write_run(&mut self, region: u16, offset: u16, size: u8, data: &[u8]) -> usize {
        let _ = (region, offset, size, data);
        0
    }
    /// A byte at `offset` was read. Until which tick (itself not included) reading it again would change nothing and give
    /// the same, if the device is neither written nor called for an event, an input or a pin before. `None`: not known.
    fn steady_until(&self, now: Ticks, rate: ClockRate, region: u16, offset: u16) -> Option<Ticks> {
        let _ = (now, rate, region, offset);
        None
    }
    /// Whether [`Self::write`] of a byte does nothing in `region` but what [`Self::latch`] does.
    fn latches(&self, region: u16) -> bool {
        let _ = region;
        false
    }
    /// Keeps a byte that was written at `offset`. Of several such writes between two calls the device may get the last one
    /// only. Returns what is to be seen outside.
    fn latch(&mut self, region: u16, offset: u16, value: u8) -> Option<Output> {
        let _ = (region, offset, value);
        None
    }
    /// What [`Self::read`] would give, without its side effects; for debuggers.
    fn peek(&self, now: Ticks, region: u16, offset: u16, size: u8) -> u32 {
        let _ = (now, region, offset, size);
        u32::MAX
    }
}

/// Memory-mapped I/O. Arguments as for [`PortDevice`]; `size` is 1, 2, 4 or 8, and no access crosses a page.
pub trait MmioDevice {
    /// A read. Bits above `size` bytes are ignored.
    fn read(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u64, size: u8) -> u64;
    /// A write. Bits of `value` above `size` bytes are zero.
    fn write(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u64, size: u8, value: u64);
    /// A write that depends on no time and has no effect but on the device itself and its own memory, where no decoded code
    /// lies and nobody looks for writes. Returns false, with nothing done that doing all of it again would not do too, if
    /// this is none: then it is for [`Self::write`].
    fn store(&mut self, mem: &mut PhysMem, region: u16, offset: u64, size: u8, value: u64) -> bool {
        let _ = (mem, region, offset, size, value);
        false
    }
    /// A run of accesses of `size` bytes each, for as long as they are what [`Self::store`] says. Returns how many it has
    /// done; 0 if it wants them one by one.
    fn run(&mut self, mem: &mut PhysMem, region: u16, size: u8, run: MmioRun<'_>) -> u64 {
        let _ = (mem, region, size, run);
        0
    }
    /// What [`Self::read`] would give, without its side effects; for debuggers.
    fn peek(&self, now: Ticks, region: u16, offset: u64, size: u8) -> u64 {
        let _ = (now, region, offset, size);
        u64::MAX
    }
}

/// What a repeated string instruction does to a device's memory region, upwards from element to element, each of them as
/// [`MmioDevice::read`] and [`MmioDevice::write`] would. No run crosses a page. Places are offsets in the region.
#[derive(Debug)]
pub enum MmioRun<'a> {
    /// `count` writes of `value`, from `to` on.
    Fill {
        /// Where the first one goes.
        to: u64,
        /// How many.
        count: u64,
        /// What each writes.
        value: u64,
    },
    /// Writes of the elements of `data`.
    Write {
        /// Where the first one goes.
        to: u64,
        /// Whole elements.
        data: &'a [u8],
    },
    /// Reads into `data`.
    Read {
        /// Where the first one is.
        from: u64,
        /// Whole elements.
        data: &'a mut [u8],
    },
    /// Reads and writes by turns.
    Copy {
        /// Where the first one is.
        from: u64,
        /// Where it goes.
        to: u64,
        /// How many.
        count: u64,
    },
}

impl MmioRun<'_> {
    /// The same with places that count from `base`.
    pub(super) fn relative_to(mut self, base: u64) -> Self {
        match &mut self {
            MmioRun::Fill { to, .. } | MmioRun::Write { to, .. } => *to = to.wrapping_sub(base),
            MmioRun::Read { from, .. } => *from = from.wrapping_sub(base),
            MmioRun::Copy { from, to, .. } => (*from, *to) = (from.wrapping_sub(base), to.wrapping_sub(base)),
        }
        self
    }
}

/// Input pins. A pin's level is the OR of the wires that lead to it; this is called when the level changes.
pub trait InputPins {
    /// Pin number `pin` (the chip's own numbering) now has `level`.
    fn set_pin(&mut self, cx: &mut DevCx<'_>, pin: u16, level: bool);
}

/// What an interrupt controller answers to the CPU's acknowledge cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// This vector.
    Vector(u8),
    /// Not for me: the next controller in the chain answers.
    Next,
}

/// Answers interrupt acknowledge cycles (and keeps the task priority of CR8, where there is one).
pub trait InterruptController {
    /// The CPU `cpu` acknowledges an interrupt.
    fn acknowledge(&mut self, cx: &mut DevCx<'_>, cpu: u8) -> Ack;
    /// An interrupt message has come over the bus.
    fn message(&mut self, cx: &mut DevCx<'_>, message: InterruptMessage) {
        let _ = (cx, message);
    }
    /// The task priority class (CR8) of `cpu`, 0 to 15.
    fn task_priority(&mut self, cpu: u8) -> Option<u8> {
        let _ = cpu;
        None
    }
    /// MOV to CR8.
    fn set_task_priority(&mut self, cx: &mut DevCx<'_>, cpu: u8, class: u8) {
        let _ = (cx, cpu, class);
    }
    /// The IA32_APIC_BASE register, where this controller has one.
    fn apic_base(&mut self, cpu: u8) -> Option<u64> {
        let _ = cpu;
        None
    }
    /// The turn passes to CPU `cpu`: accesses that come from now on are its own.
    fn turn_passes(&mut self, cx: &mut DevCx<'_>, cpu: u8) {
        let _ = (cx, cpu);
    }
    /// WRMSR to IA32_APIC_BASE; returns false for a value that faults.
    fn set_apic_base(&mut self, cx: &mut DevCx<'_>, cpu: u8, value: u64) -> bool {
        let _ = (cx, cpu, value);
        true
    }
}

/// Direction of one DMA cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DmaKind {
    /// The device's byte goes to memory.
    ToMemory,
    /// A byte of memory goes to the device.
    FromMemory,
    /// Only counted.
    Verify,
}

/// One cycle that a DMA controller grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DmaCycle {
    /// Physical address (8-bit channels: of a byte, 16-bit channels: of a word).
    pub address: u64,
    /// Direction.
    pub kind: DmaKind,
    /// Bytes moved: 1 or 2.
    pub width: u8,
    /// Whether terminal count is reached with this cycle.
    pub terminal: bool,
}

/// Grants DMA cycles.
pub trait DmaController {
    /// The request line of `channel` (0 to 7) has `level`.
    fn request(&mut self, channel: u8, level: bool);
    /// Runs the next cycle of `channel`: `None` if it is masked, disabled, or not requested.
    fn cycle(&mut self, channel: u8) -> Option<DmaCycle>;
}

/// The device end of a DMA channel.
pub trait DmaClient {
    /// DACK#: the device puts its next byte or word on the bus.
    fn dma_read(&mut self, cx: &mut DevCx<'_>) -> u16;
    /// DACK#: the device takes a byte or word.
    fn dma_write(&mut self, cx: &mut DevCx<'_>, value: u16);
    /// TC: the cycle just done was the last one.
    fn dma_terminal_count(&mut self, cx: &mut DevCx<'_>);
}

/// All that a device may touch during a call.
pub struct DevCx<'a> {
    /// The exact present: instructions retired before the one that makes this access.
    pub now: Ticks,
    /// Ticks per second.
    pub rate: ClockRate,
    /// Guest physical memory, for devices that master the bus or own some of it.
    pub mem: &'a mut PhysMem,
    pub(super) me: DeviceId,
    pub(super) images: &'a mut Vec<Option<Box<dyn BlockBackend>>>,
    pub(super) sched: &'a mut Scheduler,
    pub(super) effects: &'a mut Effects,
    /// The machine's remapping unit, if that is another device than the one that is called.
    pub(super) unit: Option<(DeviceId, &'a mut dyn Device)>,
}

impl DevCx<'_> {
    /// Asks to be called with `tag` at `at`, instead of when an earlier request for this tag said. A time that is past
    /// means "before the next instruction".
    pub fn schedule(&mut self, tag: u32, at: Ticks) {
        self.sched.set(self.me, tag, at.max(self.now));
    }

    /// Forgets the request for `tag`.
    pub fn cancel(&mut self, tag: u32) {
        self.sched.cancel(self.me, tag);
    }

    /// When the event of `tag` is due.
    #[must_use]
    pub fn scheduled(&self, tag: u32) -> Option<Ticks> {
        self.sched.when(self.me, tag)
    }

    /// Drives a wire. Whoever is at its other end sees the change before the present instruction ends.
    pub fn set_wire(&mut self, wire: Wire, level: bool) {
        self.effects.set_wire(wire, level);
    }

    /// Tells a CPU something that is not a level.
    pub fn signal(&mut self, signal: CpuSignal) {
        self.effects.signals.push(signal);
    }

    /// Sends something out of the machine.
    pub fn output(&mut self, output: Output) {
        self.effects.ends |= matches!(output, Output::Exit(_) | Output::PowerOff);
        self.effects.output.push((self.now, output));
    }

    /// Asks for a change of the address map of this device's regions; it holds from the next access on.
    pub fn remap(&mut self, remap: Remap) {
        self.effects.remaps.push((self.me, remap));
    }

    /// A DMA channel may run again (it was unmasked, say).
    pub fn dma_kick(&mut self, channel: u8) {
        self.effects.dma_kicks.push(channel);
    }

    /// Takes image `number` of the host's list, to put it into a drive.
    pub fn take_image(&mut self, number: u32) -> Option<Box<dyn BlockBackend>> {
        self.images.get_mut(number as usize)?.take()
    }

    /// Puts an image back into the host's list, where it can be taken again.
    pub fn put_image(&mut self, number: u32, image: Box<dyn BlockBackend>) {
        if let Some(slot) = self.images.get_mut(number as usize) {
            *slot = Some(image);
        }
    }

    /// Answers the present port access by PCI configuration space: the bus does it, and drops this device's own answer.
    pub fn forward_to_pci(&mut self, function: super::PciAddress, register: u8) {
        self.effects.pci_forward = Some((function, register));
    }
}
