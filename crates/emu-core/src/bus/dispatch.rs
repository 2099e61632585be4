//! Calls into devices, and the effects of those calls.

use core::any::Any;

use super::device::{Ack, DevCx, Device, DmaKind, MmioRun};
use super::latch::Latch;
use super::lines::{Effects, Lines, Sink, Wire};
use super::map::{MmioMap, MmioRange, PortMap, PortRange};
use super::remap::{Posted, with_unit};
use super::steady::SteadyPorts;
use super::{CpuSignal, DeviceId, Output, PciAddress, Remap};
use crate::block::BlockBackend;
use crate::input::Input;
use crate::mem::{PhysMem, Target};
use crate::sched::Scheduler;
use crate::state::{StateError, StateReader, StateWriter};
use crate::time::{ClockRate, Ticks};
use crate::volume::Volume;

/// A DMA request is served at most this many cycles at a stretch: one pass of a 64 Ki-cycle channel. A device that never
/// drops its request (auto-initialised, nobody at home) can't hang the machine.
const DMA_BURST: u32 = 0x1_0000;

/// Wire changes carried out in one go before the rest is dropped: a board whose chips ring each other forever is a bug,
/// but not one that may hang the host.
const MAX_RIPPLES: u32 = 100_000;

/// The pins of one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuLines {
    /// INTR is high.
    pub intr: bool,
    /// An NMI edge has come and has not been taken.
    pub nmi: bool,
    /// An SMI edge has come and has not been taken.
    pub smi: bool,
    /// A reset pulse has come.
    pub reset: bool,
    /// INIT has come.
    pub init: bool,
    /// A start-up IPI has come, with this vector.
    pub sipi: Option<u8>,
    /// IGNNE# is asserted.
    pub ignne: bool,
}

/// The bus of a machine with all that is attached to it.
pub struct Bus {
    devices: Vec<Box<dyn Device>>,
    ports: PortMap,
    mmio: MmioMap,
    lines: Lines,
    effects: Effects,
    sched: Scheduler,
    rate: ClockRate,
    images: Vec<Option<Box<dyn BlockBackend>>>,
    /// Every image of the host that a drive of this machine can hold.
    volumes: Vec<Volume>,
    /// Contents of images that `load` has read, until `restored` has put the images back to where they were.
    loaded_images: Vec<(u32, Vec<u8>)>,
    pci: Vec<(PciAddress, DeviceId)>,
    /// Interrupt controllers in the order in which they answer an acknowledge cycle.
    intack: Vec<DeviceId>,
    dmac: Option<DeviceId>,
    /// The remapping unit, and the function as which the DMA controller accesses memory.
    unit: Option<(DeviceId, PciAddress)>,
    /// The device with a hypervisor's interface, and its port that sees the CPU's registers.
    pub(super) hypervisor: Option<DeviceId>,
    pub(super) backdoor_port: Option<u16>,
    /// The device at each DMA channel.
    dma_clients: [Option<DeviceId>; 8],
    dma_levels: [bool; 8],
    cpus: Vec<CpuLines>,
    /// The wire of FERR#.
    ferr: Wire,
    machine_reset: bool,
    /// Something has changed that the CPU must look at before its next instruction.
    attention: bool,
    /// Ports whose writes somebody looks for, first and last; and whether one was written. No part of the state.
    port_watch: Option<(u16, u16)>,
    port_watch_hit: bool,
    steady: SteadyPorts,
    latch: Latch,
}

impl core::fmt::Debug for Bus {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Bus").field("devices", &self.devices.iter().map(|d| d.name()).collect::<Vec<_>>()).finish()
    }
}

impl Bus {
    /// A bus with no devices, for `cpus` CPUs.
    #[must_use]
    pub fn new(rate: ClockRate, cpus: usize) -> Bus {
        Bus {
            devices: Vec::new(),
            ports: PortMap::default(),
            mmio: MmioMap::default(),
            lines: Lines::default(),
            effects: Effects::default(),
            sched: Scheduler::default(),
            rate,
            images: Vec::new(),
            volumes: Vec::new(),
            loaded_images: Vec::new(),
            pci: Vec::new(),
            intack: Vec::new(),
            dmac: None,
            unit: None,
            hypervisor: None,
            backdoor_port: None,
            dma_clients: [None; 8],
            dma_levels: [false; 8],
            cpus: vec![CpuLines::default(); cpus],
            ferr: Wire::NONE,
            machine_reset: false,
            attention: false,
            port_watch: None,
            port_watch_hit: false,
            steady: SteadyPorts::default(),
            latch: Latch::default(),
        }
    }

    // ---- wiring, done once by the board ----

    /// Adds a device; it is not reset yet.
    pub fn add(&mut self, device: Box<dyn Device>) -> DeviceId {
        let id = DeviceId(self.devices.len() as u16);
        self.devices.push(device);
        self.steady.add();
        if let Some(function) = self.device(id).pci() {
            let address = function.address();
            self.pci.push((address, id));
        }
        id
    }

    /// A new wire that leads nowhere yet.
    pub fn wire(&mut self) -> Wire {
        self.lines.add_wire()
    }

    /// A new wire to `sink`.
    pub fn wire_to(&mut self, sink: Sink) -> Wire {
        let wire = self.wire();
        self.lines.connect(wire, sink);
        wire
    }

    /// Leads FERR#, the CPUs' x87 error line, to `sink`: on a PC the pin of IRQ 13 (on an XT, NMI).
    pub fn connect_ferr(&mut self, sink: Sink) {
        self.ferr = self.wire_to(sink);
    }

    /// Sets the level of FERR#, as a positive one.
    pub fn set_ferr(&mut self, mem: &mut PhysMem, now: Ticks, level: bool) {
        if self.ferr != Wire::NONE {
            self.effects.set_wire(self.ferr, level);
            self.ripple(mem, now);
        }
    }

    /// Whether `cpu` may go on over x87 errors that wait: its IGNNE# is asserted, as it is on a board that does nothing
    /// with FERR#.
    #[must_use]
    pub fn ignores_x87_errors(&self, cpu: u8) -> bool {
        self.ferr == Wire::NONE || self.cpus.get(usize::from(cpu)).is_some_and(|c| c.ignne)
    }

    /// Leads `wire` to one more sink.
    pub fn connect(&mut self, wire: Wire, sink: Sink) {
        self.lines.connect(wire, sink);
    }

    /// Maps a device's ports, as [`Remap::Ports`] does.
    pub fn map_ports(&mut self, device: DeviceId, base: u16, len: u16, region: u16, width: u8) {
        let latches = self.device(device).ports().is_some_and(|p| p.latches(region));
        self.steady.end_all();
        self.latch.close();
        self.ports.map(len, PortRange { device, base, region, width, latches });
    }

    /// Maps a device's memory region, as [`Remap::Mmio`] does.
    pub fn map_mmio(&mut self, mem: &mut PhysMem, device: DeviceId, base: u64, len: u64, region: u16) {
        let number = self.mmio.map(MmioRange { device, base, len, region });
        mem.map(base, len, Target::Mmio(number));
    }

    /// The target under which a mapped region is known to the memory map, for boards that overlay it themselves.
    #[must_use]
    pub fn mmio_target(&mut self, device: DeviceId, base: u64, len: u64, region: u16) -> Target {
        Target::Mmio(self.mmio.map(MmioRange { device, base, len, region }))
    }

    /// Appends a controller to the chain that answers interrupt acknowledge cycles.
    pub fn add_interrupt_controller(&mut self, device: DeviceId) {
        self.intack.push(device);
    }

    /// Names the DMA controller.
    pub fn set_dma_controller(&mut self, device: DeviceId) {
        self.dmac = Some(device);
    }

    /// Names the remapping unit, and the function as which the DMA controller accesses memory.
    pub fn set_remapping_unit(&mut self, device: DeviceId, dma_controller: PciAddress) {
        self.unit = Some((device, dma_controller));
    }

    /// Puts `device` at DMA channel `channel` (0 to 7).
    pub fn set_dma_client(&mut self, channel: u8, device: DeviceId) {
        self.dma_clients[channel as usize & 7] = Some(device);
    }

    /// Attaches an image of the host; its number is what [`Input::Insert`] names.
    pub fn attach_image(&mut self, image: Box<dyn BlockBackend>) -> u32 {
        let drive = self.add_volume(image);
        self.images.push(Some(drive));
        (self.images.len() - 1) as u32
    }

    /// Makes an image of the host a volume of this machine, and gives what its drive holds. For images that lie in a
    /// drive from the start.
    pub fn add_volume(&mut self, image: Box<dyn BlockBackend>) -> Box<dyn BlockBackend> {
        let volume = Volume::new(image);
        let drive = volume.drive();
        self.volumes.push(volume);
        drive
    }

    // ---- looking ----

    /// The machine's volumes, in the order in which they came.
    #[must_use]
    pub fn volumes(&self) -> &[Volume] {
        &self.volumes
    }

    /// Ticks per second.
    #[must_use]
    pub fn rate(&self) -> ClockRate {
        self.rate
    }

    /// The next deadline of any device.
    #[must_use]
    #[inline]
    pub fn next_deadline(&self) -> Ticks {
        self.sched.next_deadline()
    }

    /// The pins of CPU `cpu`.
    pub fn cpu_lines(&mut self, cpu: u8) -> &mut CpuLines {
        let last = self.cpus.len() - 1;
        &mut self.cpus[(cpu as usize).min(last)]
    }

    /// Whether INTR of CPU `cpu` is high.
    #[inline]
    pub(crate) fn intr(&self, cpu: u8) -> bool {
        self.cpus.get(usize::from(cpu)).is_some_and(|c| c.intr)
    }

    /// Whether something has happened since the last call that the CPU must look at.
    pub fn take_attention(&mut self) -> bool {
        core::mem::take(&mut self.effects.ends) | core::mem::take(&mut self.attention)
    }

    /// Whether something has happened that the CPU must look at.
    #[inline]
    #[must_use]
    pub fn needs_attention(&self) -> bool {
        self.attention || self.effects.ends
    }

    /// Whether a reset of the whole machine was asked for since the last call.
    pub fn take_machine_reset(&mut self) -> bool {
        core::mem::take(&mut self.machine_reset)
    }

    /// What left the machine since the last call.
    pub fn take_output(&mut self) -> Vec<(Ticks, Output)> {
        core::mem::take(&mut self.effects.output)
    }

    /// How much output waits.
    #[must_use]
    pub fn output_waiting(&self) -> usize {
        self.effects.output.len()
    }

    /// The device with number `id`.
    pub fn device(&mut self, id: DeviceId) -> &mut dyn Device {
        self.settle_latch();
        self.steady.end(id);
        &mut *self.devices[id.0 as usize]
    }

    /// Gives its device what was written to a port that latches. To be called before anybody looks at a device other than
    /// by a call.
    #[inline]
    pub(crate) fn settle_latch(&mut self) {
        if self.latch.waits(None) {
            self.hand_over();
        }
    }

    #[cold]
    #[inline(never)]
    fn hand_over(&mut self) {
        let Some(kept) = self.latch.take() else { return };
        let Some(ports) = self.devices[usize::from(kept.device.0)].ports() else { return };
        if let Some(output) = ports.latch(kept.region, kept.offset, kept.value) {
            self.effects.output.push((kept.at, output));
        }
    }

    /// The first device of type `T`.
    #[must_use]
    pub fn find<T: Device>(&self) -> Option<&T> {
        self.devices.iter().find_map(|d| (&**d as &dyn Any).downcast_ref())
    }

    /// The first device of type `T`, to be changed.
    pub fn find_mut<T: Device>(&mut self) -> Option<&mut T> {
        self.settle_latch();
        self.steady.end_all();
        self.devices.iter_mut().find_map(|d| (&mut **d as &mut dyn Any).downcast_mut())
    }

    /// Names and numbers of all devices.
    pub fn devices(&self) -> impl Iterator<Item = (DeviceId, &str)> {
        self.devices.iter().enumerate().map(|(i, d)| (DeviceId(i as u16), d.name()))
    }

    // ---- calls ----

    /// Calls `f` on a device with its context, then carries out what it asked for. Everything that happens to a device
    /// goes through here.
    pub fn call<R>(
        &mut self,
        mem: &mut PhysMem,
        now: Ticks,
        id: DeviceId,
        f: impl FnOnce(&mut dyn Device, &mut DevCx<'_>) -> R,
    ) -> R {
        let result = self.call_raw(mem, now, id, f);
        if !self.effects.is_quiet() {
            self.carry_out(mem, now);
        }
        result
    }

    /// Carries out what a device asked for.
    #[inline(never)]
    fn carry_out(&mut self, mem: &mut PhysMem, now: Ticks) {
        // Chips drive their outputs after every access, and mostly to the levels that they have.
        if self.effects.wires.iter().all(|&(wire, level)| self.lines.is_at(wire, level)) {
            self.effects.wires.clear();
        }
        if !self.effects.rings_nobody() {
            self.ripple(mem, now);
        }
        if !self.effects.remaps.is_empty() {
            self.apply_remaps(mem);
        }
    }

    #[inline]
    fn call_raw<R>(
        &mut self,
        mem: &mut PhysMem,
        now: Ticks,
        id: DeviceId,
        f: impl FnOnce(&mut dyn Device, &mut DevCx<'_>) -> R,
    ) -> R {
        if self.latch.waits(Some(id)) {
            self.hand_over();
        }
        self.steady.end(id);
        let (sched, effects, images) = (&mut self.sched, &mut self.effects, &mut self.images);
        let before = sched.next_deadline();
        let (device, unit) = match self.unit {
            None => (&mut *self.devices[id.0 as usize], None),
            Some((unit, _)) => with_unit(&mut self.devices, id, unit),
        };
        let mut cx = DevCx { now, rate: self.rate, mem, me: id, sched, effects, images, unit };
        let result = f(device, &mut cx);
        if self.sched.next_deadline() < before {
            self.attention = true;
        }
        result
    }

    /// Calls every device's reset, and drops all events.
    pub fn reset(&mut self, mem: &mut PhysMem, now: Ticks) {
        self.machine_reset = false;
        for i in 0..self.devices.len() {
            self.call(mem, now, DeviceId(i as u16), |d, cx| d.reset(cx));
        }
        self.attention = true;
    }

    /// Fires every event that is due.
    pub fn run_events(&mut self, mem: &mut PhysMem, now: Ticks) {
        while let Some(event) = self.sched.pop_due(now) {
            self.call(mem, now, event.device, |d, cx| d.event(cx, event.tag));
        }
    }

    /// Hands an input to the device that it is for. Returns false if there is none.
    pub fn input(&mut self, mem: &mut PhysMem, now: Ticks, input: &Input) -> bool {
        if *input == Input::ResetButton {
            self.machine_reset = true;
            self.attention = true;
            return true;
        }
        if *input == Input::ShutdownReset {
            self.cpus.iter_mut().for_each(|cpu| cpu.reset = true);
            return true;
        }
        (0..self.devices.len()).any(|i| self.call(mem, now, DeviceId(i as u16), |d, cx| d.input(cx, input)))
    }

    /// IN from `port`, `size` 1, 2 or 4.
    pub fn port_read(&mut self, mem: &mut PhysMem, now: Ticks, port: u16, size: u8) -> u32 {
        if size == 1 {
            return self.port_read_part(mem, now, port, 1).0 & 0xFF;
        }
        let mut value = 0;
        let mut done = 0;
        while done < size {
            let (at, left) = (port.wrapping_add(u16::from(done)), size - done);
            let (part, n) = self.port_read_part(mem, now, at, left);
            value |= (part & (u32::MAX >> (32 - 8 * u32::from(n)))) << (8 * u32::from(done));
            done += n;
        }
        value
    }

    #[inline]
    fn port_read_part(&mut self, mem: &mut PhysMem, now: Ticks, port: u16, left: u8) -> (u32, u8) {
        let Some(range) = self.ports.get(port) else { return (0xFF, 1) };
        let n = if left == 1 { 1 } else { part_size(range.width, port, left) };
        let offset = port.wrapping_sub(range.base);
        let again = self.steady.is_last(range.device, port);
        let value = self.call(mem, now, range.device, |d, cx| d.port_read(cx, range.region, offset, n));
        if let Some((address, register)) = self.effects.pci_forward.take() {
            return (self.pci_read(mem, now, address, register, n), n);
        }
        if n == 1 {
            let until = if again { self.steady_until(now, port) } else { None };
            self.steady.note(range.device, port, value as u8, until);
        }
        (value, n)
    }

    /// What a byte of `port` reads, if its device need not be asked.
    #[inline(always)]
    pub(crate) fn steady_value(&self, now: Ticks, port: u16) -> Option<u8> {
        self.steady.value(port, now)
    }

    /// Until when reading a byte of `port` again would change nothing, and give what it gave now, as long as nothing else
    /// happens; `None` if the device does not say.
    pub(crate) fn steady_until(&mut self, now: Ticks, port: u16) -> Option<Ticks> {
        let rate = self.rate;
        self.settle_latch();
        let Some(range) = self.ports.get(port) else { return Some(Ticks::NEVER) };
        let offset = port.wrapping_sub(range.base);
        self.devices[range.device.0 as usize].ports()?.steady_until(now, rate, range.region, offset)
    }

    /// OUT to `port`, `size` 1, 2 or 4.
    pub fn port_write(&mut self, mem: &mut PhysMem, now: Ticks, port: u16, size: u8, value: u32) {
        if let Some((first, last)) = self.port_watch {
            self.port_watch_hit |= port <= last && u32::from(port) + u32::from(size) > u32::from(first);
        }
        if size == 1 {
            if let Some(range) = self.ports.get(port) {
                self.port_write_part(mem, now, port, range, 1, value & 0xFF);
            }
            return;
        }
        let mut done = 0;
        while done < size {
            let at = port.wrapping_add(u16::from(done));
            let Some(range) = self.ports.get(at) else {
                done += 1;
                continue;
            };
            let n = if size - done == 1 { 1 } else { part_size(range.width, at, size - done) };
            let part = (value >> (8 * u32::from(done))) & (u32::MAX >> (32 - 8 * u32::from(n)));
            self.port_write_part(mem, now, at, range, n, part);
            done += n;
        }
    }

    /// OUT of a byte.
    #[inline(always)]
    pub(crate) fn port_write_byte(&mut self, mem: &mut PhysMem, now: Ticks, port: u16, value: u8) {
        match self.ports.get(port) {
            Some(range) if self.port_watch.is_none() => self.port_write_part(mem, now, port, range, 1, value.into()),
            _ => self.port_write(mem, now, port, 1, value.into()),
        }
    }

    #[inline]
    fn port_write_part(&mut self, mem: &mut PhysMem, now: Ticks, port: u16, range: PortRange, n: u8, part: u32) {
        let offset = port.wrapping_sub(range.base);
        self.call(mem, now, range.device, |d, cx| d.port_write(cx, range.region, offset, n, part));
        if let Some((address, register)) = self.effects.pci_forward.take() {
            self.pci_write(mem, now, address, register, n, part);
        }
        if range.latches && n == 1 && self.port_watch.is_none() {
            self.latch.open(port, range);
        }
    }

    /// OUT of a byte to the port that was written last, if it is one that latches: then that is all.
    #[inline(always)]
    pub(crate) fn latch_write(&mut self, now: Ticks, port: u16, value: u8) -> bool {
        self.latch.write(now, port, value)
    }

    /// Reads `port` into the elements of `data`, `size` bytes each, for as long as its device gives them at once; returns how
    /// many that were. Of the rest each is for [`Self::port_read`].
    pub(crate) fn port_read_run(&mut self, port: u16, size: u8, data: &mut [u8]) -> usize {
        let Some(range) = self.whole(port, size) else { return 0 };
        let Some(device) = self.device(range.device).ports() else { return 0 };
        device.read_run(range.region, port.wrapping_sub(range.base), size, data)
    }

    /// Writes the elements of `data` to `port`, as [`Self::port_read_run`] reads them.
    pub(crate) fn port_write_run(&mut self, port: u16, size: u8, data: &[u8]) -> usize {
        let Some(range) = self.whole(port, size).filter(|_| self.port_watch.is_none()) else { return 0 };
        let Some(device) = self.device(range.device).ports() else { return 0 };
        device.write_run(range.region, port.wrapping_sub(range.base), size, data)
    }

    /// The range of `port`, if its device takes `size` bytes there as one.
    fn whole(&self, port: u16, size: u8) -> Option<PortRange> {
        self.ports.get(port).filter(|range| part_size(range.width, port, size) == size)
    }

    /// Watches OUT to ports `first` to `last`, or to none.
    pub(crate) fn watch_ports(&mut self, ports: Option<(u16, u16)>) {
        self.settle_latch();
        self.latch.close();
        (self.port_watch, self.port_watch_hit) = (ports, false);
    }

    /// Whether a watched port was written since the last call.
    pub(crate) fn take_port_hit(&mut self) -> bool {
        core::mem::take(&mut self.port_watch_hit)
    }

    /// What a read of `port` would give, without side effects.
    #[must_use]
    pub fn port_peek(&mut self, now: Ticks, port: u16, size: u8) -> u32 {
        let Some(range) = self.ports.get(port) else { return u32::MAX };
        let offset = port.wrapping_sub(range.base);
        self.device(range.device).ports().map_or(u32::MAX, |p| p.peek(now, range.region, offset, size))
    }

    /// Reads region `number` of the memory map at physical address `pa`; `size` 1, 2, 4 or 8, within a page.
    pub fn mmio_read(&mut self, mem: &mut PhysMem, now: Ticks, number: u16, pa: u64, size: u8) -> u64 {
        let Some(range) = self.mmio.get(number) else { return u64::MAX };
        let offset = pa.wrapping_sub(range.base);
        self.call(mem, now, range.device, |d, cx| d.mmio_read(cx, range.region, offset, size))
    }

    /// Writes region `number` of the memory map at physical address `pa`.
    pub fn mmio_write(&mut self, mem: &mut PhysMem, now: Ticks, number: u16, pa: u64, size: u8, value: u64) {
        let Some(range) = self.mmio.get(number) else { return };
        let offset = pa.wrapping_sub(range.base);
        self.call(mem, now, range.device, |d, cx| d.mmio_write(cx, range.region, offset, size, value));
    }

    /// Writes region `number` at physical address `pa` if nobody but the device and its memory is concerned.
    #[inline]
    pub(crate) fn mmio_store(&mut self, mem: &mut PhysMem, number: u16, pa: u64, size: u8, value: u64) -> bool {
        let Some(range) = self.mmio.get(number) else { return false };
        self.device(range.device).mmio_store(mem, range.region, pa.wrapping_sub(range.base), size, value)
    }

    /// Does a run of accesses of `size` bytes to region `number`, with places that are physical addresses; returns how many of
    /// them are done. Of the rest each is for [`Self::mmio_read`] and [`Self::mmio_write`].
    pub(crate) fn mmio_run(&mut self, mem: &mut PhysMem, number: u16, size: u8, run: MmioRun<'_>) -> u64 {
        let Some(range) = self.mmio.get(number) else { return 0 };
        self.device(range.device).mmio_run(mem, range.region, size, run.relative_to(range.base))
    }

    /// What [`Self::mmio_read`] would give, without side effects.
    #[must_use]
    pub fn mmio_peek(&mut self, now: Ticks, number: u16, pa: u64, size: u8) -> u64 {
        let Some(range) = self.mmio.get(number) else { return u64::MAX };
        let offset = pa.wrapping_sub(range.base);
        self.device(range.device).mmio().map_or(u64::MAX, |m| m.peek(now, range.region, offset, size))
    }

    /// Reads PCI configuration space; all ones where no function sits.
    pub fn pci_read(&mut self, mem: &mut PhysMem, now: Ticks, address: PciAddress, register: u8, size: u8) -> u32 {
        let Some(&(_, id)) = self.pci.iter().find(|(a, _)| *a == address) else { return u32::MAX };
        self.call(mem, now, id, |d, cx| d.pci().map_or(u32::MAX, |f| f.config_read(cx, register, size)))
    }

    /// Writes PCI configuration space.
    pub fn pci_write(
        &mut self,
        mem: &mut PhysMem,
        now: Ticks,
        address: PciAddress,
        register: u8,
        size: u8,
        value: u32,
    ) {
        let Some(&(_, id)) = self.pci.iter().find(|(a, _)| *a == address) else { return };
        self.call(mem, now, id, |d, cx| {
            if let Some(f) = d.pci() {
                f.config_write(cx, register, size, value);
            }
        });
    }

    /// The addresses of all PCI functions, ascending.
    #[must_use]
    pub fn pci_functions(&self) -> Vec<PciAddress> {
        let mut all: Vec<_> = self.pci.iter().map(|p| p.0).collect();
        all.sort_unstable();
        all
    }

    /// The interrupt acknowledge cycle of `cpu`: the vector that the first controller of the chain gives.
    pub fn acknowledge(&mut self, mem: &mut PhysMem, now: Ticks, cpu: u8) -> Option<u8> {
        for i in 0..self.intack.len() {
            let ack = self.call(mem, now, self.intack[i], |d, cx| {
                d.interrupt_controller().map_or(Ack::Next, |c| c.acknowledge(cx, cpu))
            });
            if let Ack::Vector(v) = ack {
                return Some(v);
            }
        }
        None
    }

    /// Calls the first interrupt controller of the chain (the local APIC, where there is one).
    pub fn local_interrupt_controller<R>(
        &mut self,
        mem: &mut PhysMem,
        now: Ticks,
        f: impl FnOnce(&mut dyn super::InterruptController, &mut DevCx<'_>) -> R,
    ) -> Option<R> {
        let id = *self.intack.first()?;
        self.call(mem, now, id, |d, cx| d.interrupt_controller().map(|c| f(c, cx)))
    }

    /// Tells the local interrupt controllers that the turn passes to CPU `cpu`.
    pub fn pass_turn(&mut self, mem: &mut PhysMem, now: Ticks, cpu: u8) {
        self.local_interrupt_controller(mem, now, |c, cx| c.turn_passes(cx, cpu));
    }

    /// The pins of CPU `cpu`, to be looked at.
    pub(crate) fn cpu_pins(&self, cpu: u8) -> CpuLines {
        self.cpus.get(usize::from(cpu)).copied().unwrap_or_default()
    }

    // ---- effects ----

    /// Carries wire changes and signals to where they lead, and what those ask for in turn.
    fn ripple(&mut self, mem: &mut PhysMem, now: Ticks) {
        for _ in 0..MAX_RIPPLES {
            if self.effects.rings_nobody() {
                return;
            }
            for (wire, level) in core::mem::take(&mut self.effects.wires) {
                let mut changed = Vec::new();
                self.lines.set(wire, level, |sink, level| changed.push((sink, level)));
                changed.into_iter().for_each(|(sink, level)| self.drive(mem, now, sink, level));
            }
            core::mem::take(&mut self.effects.signals).into_iter().for_each(|s| self.take_signal(s));
            core::mem::take(&mut self.effects.dma_kicks).into_iter().for_each(|c| self.run_dma(mem, now, c));
            core::mem::take(&mut self.effects.messages).into_iter().for_each(|m| self.take_message(mem, now, m));
        }
        self.effects.wires.clear();
        self.effects.messages.clear();
    }

    /// Takes an interrupt message to the local APICs, past the remapping unit.
    fn take_message(&mut self, mem: &mut PhysMem, now: Ticks, posted: Posted) {
        let Some(&apic) = self.intack.first() else { return };
        self.call_raw(mem, now, apic, |d, cx| {
            let message = match posted.source {
                None => Some(posted.message),
                source => cx.remapped(source, posted.message),
            };
            if let (Some(message), Some(apic)) = (message, d.interrupt_controller()) {
                apic.message(cx, message);
            }
        });
    }

    fn drive(&mut self, mem: &mut PhysMem, now: Ticks, sink: Sink, level: bool) {
        match sink {
            Sink::Pin(id, pin) => self.call_raw(mem, now, id, |d, cx| {
                if let Some(pins) = d.pins() {
                    pins.set_pin(cx, pin, level);
                }
            }),
            Sink::Intr(cpu) => self.cpu_lines(cpu).intr = level,
            Sink::Nmi(cpu) => self.cpu_lines(cpu).nmi |= level,
            Sink::Ignne(cpu) => self.cpu_lines(cpu).ignne = level,
            Sink::Smi => self.cpus.iter_mut().for_each(|c| c.smi |= level),
            Sink::A20 => mem.set_a20(level),
            Sink::CpuReset => self.cpus.iter_mut().for_each(|c| c.reset |= level),
            Sink::MachineReset => self.machine_reset |= level,
            Sink::DmaRequest(channel) => {
                self.dma_levels[channel as usize & 7] = level;
                if let Some(id) = self.dmac {
                    self.call_raw(mem, now, id, |d, _| {
                        if let Some(c) = d.dma_controller() {
                            c.request(channel, level);
                        }
                    });
                }
                if level {
                    self.run_dma(mem, now, channel);
                }
            }
        }
        self.attention = true;
    }

    fn take_signal(&mut self, signal: CpuSignal) {
        match signal {
            CpuSignal::Init(cpu) => {
                let lines = self.cpu_lines(cpu);
                // A start-up IPI that came before, to a CPU that was not waiting for one, is lost.
                (lines.init, lines.sipi) = (true, None);
            }
            CpuSignal::Sipi(cpu, vector) => self.cpu_lines(cpu).sipi = Some(vector),
            CpuSignal::Nmi(cpu) => self.cpu_lines(cpu).nmi = true,
            CpuSignal::Smi(cpu) => self.cpu_lines(cpu).smi = true,
        }
        self.attention = true;
    }

    /// Serves a DMA channel for as long as its device requests and the controller grants.
    fn run_dma(&mut self, mem: &mut PhysMem, now: Ticks, channel: u8) {
        let c = channel as usize & 7;
        let (Some(dmac), Some(client)) = (self.dmac, self.dma_clients[c]) else { return };
        let source = self.unit.map(|unit| unit.1);
        for _ in 0..DMA_BURST {
            if !self.dma_levels[c] {
                return;
            }
            let granted = self.call_raw(mem, now, dmac, |d, _| d.dma_controller().and_then(|c| c.cycle(channel)));
            let Some(cycle) = granted else { return };
            self.call_raw(mem, now, client, |d, cx| {
                let Some(device) = d.dma_client() else { return };
                let bytes = usize::from(cycle.width.clamp(1, 2));
                match cycle.kind {
                    DmaKind::ToMemory => {
                        let value = device.dma_read(cx).to_le_bytes();
                        match source {
                            Some(source) => _ = cx.dma_write(source, cycle.address, &value[..bytes]),
                            None => cx.mem.write(cycle.address, &value[..bytes]),
                        }
                    }
                    DmaKind::FromMemory => {
                        let mut value = [0; 2];
                        match source {
                            Some(source) => _ = cx.dma_read(source, cycle.address, &mut value[..bytes]),
                            None => cx.mem.read(cycle.address, &mut value[..bytes]),
                        }
                        device.dma_write(cx, u16::from_le_bytes(value));
                    }
                    // The device sees its DACK#, and moves on as for a read; the byte goes nowhere.
                    DmaKind::Verify => _ = device.dma_read(cx),
                }
                if cycle.terminal {
                    device.dma_terminal_count(cx);
                }
            });
            // The request line may have fallen with this byte; other wires wait until the burst is over.
            let wires = &mut self.effects.wires;
            let mut level = self.dma_levels[c];
            let lines = &mut self.lines;
            wires.retain(|&(wire, l)| {
                let mut ours = false;
                if lines.leads_only_to(wire, Sink::DmaRequest(channel)) {
                    lines.set(wire, l, |_, l| level = l);
                    ours = true;
                }
                !ours
            });
            if level != self.dma_levels[c] {
                self.dma_levels[c] = level;
                self.call_raw(mem, now, dmac, |d, _| {
                    if let Some(c) = d.dma_controller() {
                        c.request(channel, level);
                    }
                });
            }
        }
    }

    fn apply_remaps(&mut self, mem: &mut PhysMem) {
        self.settle_latch();
        self.latch.close();
        self.steady.end_all();
        for (id, remap) in core::mem::take(&mut self.effects.remaps) {
            match remap {
                Remap::Ports { base, len, region, width } => {
                    self.ports.unmap(id, region);
                    self.map_ports(id, base, len, region, width);
                }
                Remap::UnmapPorts { region } => self.ports.unmap(id, region),
                Remap::Mmio { base, len, region } => {
                    self.unmap_mmio(mem, id, region);
                    self.map_mmio(mem, id, base, len, region);
                }
                Remap::UnmapMmio { region } => self.unmap_mmio(mem, id, region),
            }
        }
    }

    fn unmap_mmio(&mut self, mem: &mut PhysMem, id: DeviceId, region: u16) {
        for range in self.mmio.unmap(id, region) {
            mem.map(range.base, range.len, Target::Open);
        }
    }

    // ---- saved state ----

    /// Writes the bus's own state and a chunk for each device, in the order in which the board added them.
    pub fn save(&self, w: &mut StateWriter) {
        w.chunk(&self.sched);
        w.chunk(&self.lines);
        w.chunk_with(*b"BUS ", 2, |w| {
            w.field(1, &self.dma_levels);
            let pins = |c: &CpuLines| (c.intr, c.nmi, c.smi, c.reset, c.init, c.sipi);
            w.field(2, &self.cpus.iter().map(pins).collect::<Vec<_>>());
            w.field(3, &self.machine_reset);
            w.field(4, &self.image_contents());
            w.field(5, &self.cpus.iter().map(|c| c.ignne).collect::<Vec<_>>());
        });
        self.devices.iter().for_each(|d| d.save_chunk(w));
    }

    /// Reads what [`Self::save`] wrote, on a board wired alike.
    ///
    /// # Errors
    /// Any [`StateError`]; then the machine must be reset.
    pub fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        r.chunk(&mut self.sched)?;
        r.chunk(&mut self.lines)?;
        // 2: IGNNE#, released before.
        r.chunk_with(*b"BUS ", 2, |r| {
            self.dma_levels = r.field(1)?;
            let pins: Vec<(bool, bool, bool, bool, bool, Option<u8>)> = r.field(2)?;
            if pins.len() != self.cpus.len() {
                return Err(r.invalid("it has another number of CPUs"));
            }
            let lines =
                |(intr, nmi, smi, reset, init, sipi)| CpuLines { intr, nmi, smi, reset, init, sipi, ignne: false };
            self.cpus = pins.into_iter().map(lines).collect();
            self.machine_reset = r.field(3)?;
            self.loaded_images = r.optional(4)?.unwrap_or_default();
            let ignne: Vec<bool> = r.optional(5)?.unwrap_or_default();
            self.cpus.iter_mut().zip(ignne).for_each(|(cpu, level)| cpu.ignne = level);
            Ok(())
        })?;
        self.steady.end_all();
        self.devices.iter_mut().try_for_each(|d| d.load_chunk(r))?;
        self.attention = true;
        Ok(())
    }

    /// Has every device claim its part of the address map again. To be called after [`Self::load`], when memory and clock
    /// are loaded too.
    pub fn restored(&mut self, mem: &mut PhysMem, now: Ticks) {
        // Twice, as one drive may want the image that another one has yet to give back.
        for _ in 0..2 {
            for i in 0..self.devices.len() {
                self.call(mem, now, DeviceId(i as u16), |d, cx| d.restored(cx));
            }
        }
        for (number, bytes) in core::mem::take(&mut self.loaded_images) {
            if let Some(Some(image)) = self.images.get_mut(number as usize) {
                // An image that can't have such contents is another one than was saved: it stays as it is.
                let _ = image.load(&mut StateReader::new(&bytes));
            }
        }
    }

    /// Writes the contents of all volumes, a chunk for each: of drives' images [`Self::save`] writes digests only.
    pub fn save_volumes(&self, w: &mut StateWriter) {
        self.volumes.iter().for_each(|v| v.save(w));
    }

    /// Reads what [`Self::save_volumes`] wrote. Volumes that came later than the state was saved keep what they have.
    ///
    /// # Errors
    /// Any [`StateError`]; then the machine must be reset.
    pub fn load_volumes(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        self.volumes.iter().try_for_each(|v| if r.is_at_end() { Ok(()) } else { v.load(r) })
    }

    /// Contents of the images that lie in no drive, and are not as they came: when they came is the host's affair.
    fn image_contents(&self) -> Vec<(u32, Vec<u8>)> {
        let here = self.images.iter().enumerate().filter_map(|(i, image)| Some((i as u32, image.as_ref()?)));
        here.filter(|(_, image)| image.changed())
            .map(|(i, image)| {
                let mut w = StateWriter::new();
                image.save(&mut w);
                (i, w.into_bytes())
            })
            .collect()
    }
}

/// How many bytes of an access at `port` with `left` bytes to go are one access of a device that takes `width` at most.
fn part_size(width: u8, port: u16, left: u8) -> u8 {
    let mut n = width.clamp(1, 4).min(left).next_power_of_two();
    while n > left || !port.is_multiple_of(u16::from(n)) {
        n /= 2;
    }
    n.max(1)
}

#[cfg(test)]
mod tests {
    use super::part_size;

    #[test]
    fn wide_accesses_split_by_width_and_alignment() {
        assert_eq!(part_size(4, 0x1F0, 4), 4);
        assert_eq!(part_size(1, 0x3C4, 2), 1);
        assert_eq!(part_size(2, 0x1F0, 4), 2);
        assert_eq!(part_size(4, 0x1F1, 4), 1);
        assert_eq!(part_size(4, 0x1F2, 4), 2);
    }
}
