//! VMware's interface to its guests: the backdoor port 5658h, CPUID leaves 40000000h and 40000010h, the absolute pointer.
//!
//! Sources: VMware knowledge base 1009458, "Mechanisms to determine if software is running in a VMware virtual machine"
//! (CPUID leaf 40000000h, the port, its magic and GETVERSION); "CPUID based hypervisor interface" [CPUID-HV] for the timing
//! leaf; the commands as the documentation of open-vm-tools and Ken Kato's "VMware Backdoor I/O Port" list them
//! [VMware-backdoor]; the pointer's protocol as guests' drivers speak it, in `pointer`. Port: 5658h, a 32-bit IN that sees
//! EAX = 564D5868h (magic), ECX = command, and answers in EAX to EDI at any privilege; it is no port of the bus, and
//! without the magic, what else answers there does.
//! Answered: speed (1), version (0Ah), memory size (14h), time (17h and 2Eh), frequencies (2Dh), pointer (27h to 29h).
//! Left out, and answered as unknown (EAX = FFFFFFFFh): the RPC channel (1Eh) with all that VMware Tools does by it, the
//! host's clipboard and cursor, the high-bandwidth port 5659h. Time is the machine's own: what the clock chip said at
//! power-on, and the time since.

mod pointer;

use emu_core::bus::{BackdoorRegs, HypervisorInterface};
use emu_core::{ClockRate, DevCx, Device, Input, State, StateError, StateReader, StateWriter, Ticks};
use pointer::Pointer;

/// The backdoor's port, "VX".
pub const PORT: u16 = 0x5658;
/// "VMXh" in EAX.
const MAGIC: u32 = 0x564D_5868;
/// The answer to a command that is not there.
const UNKNOWN: u32 = u32::MAX;

const GET_MHZ: u16 = 0x01;
const GET_VERSION: u16 = 0x0A;
const GET_MEMORY_SIZE: u16 = 0x14;
const GET_TIME: u16 = 0x17;
const POINTER_DATA: u16 = 0x27;
const POINTER_STATUS: u16 = 0x28;
const POINTER_COMMAND: u16 = 0x29;
const GET_HZ: u16 = 0x2D;
const GET_TIME_FULL: u16 = 0x2E;

/// Version of the interface, and the product: Workstation.
const VERSION: u32 = 6;
const WORKSTATION: u32 = 4;
/// How far the guest's time may lag behind before tools set it, in microseconds: a figure of the product.
const MAX_TIME_LAG_US: u32 = 1_000_000;

/// The highest leaf: timing information.
const TIMING_LEAF: u32 = 0x4000_0010;

/// What the interface tells of the machine.
#[derive(Clone, Copy, Debug)]
pub struct VmwareConfig {
    /// Bytes of RAM.
    pub memory: u64,
    /// Clock of the local APICs' timers, in Hz.
    pub bus_hz: u64,
    /// What the clock chip says at tick 0, in seconds since 1970.
    pub start: u64,
}

/// The interface.
#[derive(Debug)]
pub struct Vmware {
    // Wiring
    config: VmwareConfig,
    // Sub-devices
    pointer: Pointer,
}

impl Vmware {
    /// The interface of a machine.
    #[must_use]
    pub fn new(config: VmwareConfig) -> Vmware {
        Vmware { config, pointer: Pointer::new() }
    }

    /// Seconds since 1970, and microseconds.
    fn time(&self, rate: ClockRate, now: Ticks) -> (u64, u32) {
        let us = rate.cycles_at(now, 1_000_000);
        (self.config.start + us / 1_000_000, (us % 1_000_000) as u32)
    }

    fn get_time(&self, cx: &DevCx<'_>, regs: &mut BackdoorRegs, full: bool) {
        let (seconds, us) = self.time(cx.rate, cx.now);
        (regs.ebx, regs.ecx) = (us, MAX_TIME_LAG_US);
        if full {
            (regs.eax, regs.esi, regs.edx) = (MAGIC, (seconds >> 32) as u32, seconds as u32);
        } else {
            // EDX: minutes west of Greenwich.
            (regs.eax, regs.edx) = (seconds as u32, 0);
        }
    }
}

impl HypervisorInterface for Vmware {
    fn cpuid(&self, rate: ClockRate, leaf: u32) -> Option<[u32; 4]> {
        let word = |text: &[u8; 4]| u32::from_le_bytes(*text);
        let khz = |hz: u64| u32::try_from(hz / 1000).unwrap_or(u32::MAX);
        match leaf {
            0x4000_0000 => Some([TIMING_LEAF, word(b"VMwa"), word(b"reVM"), word(b"ware")]),
            TIMING_LEAF => Some([khz(rate.hz()), khz(self.config.bus_hz), 0, 0]),
            _ => None,
        }
    }

    fn backdoor_port(&self) -> Option<u16> {
        Some(PORT)
    }

    fn backdoor(&mut self, cx: &mut DevCx<'_>, regs: &mut BackdoorRegs) -> bool {
        if regs.eax != MAGIC {
            return false;
        }
        let hz = cx.rate.hz();
        match regs.ecx as u16 {
            GET_MHZ => regs.eax = (hz / 1_000_000) as u32,
            GET_VERSION => (regs.eax, regs.ebx, regs.ecx) = (VERSION, MAGIC, WORKSTATION),
            GET_MEMORY_SIZE => regs.eax = (self.config.memory >> 20) as u32,
            GET_TIME => self.get_time(cx, regs, false),
            GET_TIME_FULL => self.get_time(cx, regs, true),
            GET_HZ => (regs.eax, regs.ebx, regs.ecx) = (hz as u32, (hz >> 32) as u32, self.config.bus_hz as u32),
            POINTER_DATA => self.pointer.take(regs),
            POINTER_STATUS => regs.eax = self.pointer.status(),
            POINTER_COMMAND => self.pointer.command(regs.ebx),
            _ => regs.eax = UNKNOWN,
        }
        true
    }
}

impl Device for Vmware {
    fn name(&self) -> &str {
        "vmware"
    }

    fn reset(&mut self, _cx: &mut DevCx<'_>) {
        self.pointer = Pointer::new();
    }

    fn hypervisor(&mut self) -> Option<&mut dyn HypervisorInterface> {
        Some(self)
    }

    /// The mouse moves the pointer too. The input is left to the PS/2 mouse, whose report is how the driver learns that
    /// there is something to fetch here.
    fn input(&mut self, _cx: &mut DevCx<'_>, input: &Input) -> bool {
        if let Input::Mouse { dx, dy, dz, buttons } = *input {
            self.pointer.moved(dx, dy, dz, buttons);
        }
        false
    }
}

impl State for Vmware {
    const TAG: [u8; 4] = *b"VMWB";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { config: _, pointer } = self;
        w.part(1, pointer);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        r.part(1, &mut self.pointer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use emu_core::DeviceId;
    use emu_core::bus::rig::{Rig, Surface};

    fn build() -> (Rig, DeviceId) {
        let mut rig = Rig::new();
        let config = VmwareConfig { memory: 48 << 20, bus_hz: 100_000_000, start: (1 << 32) + 10 };
        let id = rig.bus.add(Box::new(Vmware::new(config)));
        rig.bus.set_hypervisor(id);
        rig.reset();
        (rig, id)
    }

    emu_core::device_contract_tests!(build, Surface::default);

    /// IN with magic, command and EBX.
    fn call(rig: &mut Rig, command: u32, ebx: u32) -> BackdoorRegs {
        let mut regs = BackdoorRegs { eax: MAGIC, ebx, ecx: command, edx: PORT.into(), ..BackdoorRegs::default() };
        let done = rig.bus.hypervisor(&mut rig.mem, rig.now, |h, cx| h.backdoor(cx, &mut regs));
        assert_eq!(done, Some(true));
        regs
    }

    #[test]
    fn facts_of_the_machine() {
        let (mut rig, _) = build();
        let hz = rig.bus.rate().hz();
        let version = call(&mut rig, 0x0A, !MAGIC);
        assert_eq!((version.eax, version.ebx, version.ecx), (6, MAGIC, 4));
        assert_eq!(call(&mut rig, 0x14, 0).eax, 48);
        let rates = call(&mut rig, 0x2D, 0);
        assert_eq!((u64::from(rates.eax) | u64::from(rates.ebx) << 32, rates.ecx), (hz, 100_000_000));
        assert_eq!(call(&mut rig, 0x1E, 0).eax, UNKNOWN);
        let mut leaf = |n| rig.bus.hypervisor(&mut rig.mem, rig.now, |h, _| h.cpuid(ClockRate::DEFAULT, n)).flatten();
        assert_eq!(leaf(0x4000_0010).map(|l| l[1]), Some(100_000));
    }

    #[test]
    fn time_goes_on_with_the_clock() {
        let (mut rig, _) = build();
        rig.advance_us(2_500_000);
        let time = call(&mut rig, 0x17, 0);
        assert_eq!((time.eax, time.ebx), (12, 500_000));
        let full = call(&mut rig, 0x2E, 0);
        assert_eq!((full.eax, full.esi, full.edx, full.ebx), (MAGIC, 1, 12, 500_000));
    }

    #[test]
    fn without_the_magic_it_is_not_there() {
        let (mut rig, _) = build();
        let mut regs = BackdoorRegs { eax: MAGIC + 1, ecx: 0x0A, ..BackdoorRegs::default() };
        let before = regs;
        let done = rig.bus.hypervisor(&mut rig.mem, rig.now, |h, cx| h.backdoor(cx, &mut regs));
        assert_eq!((done, regs), (Some(false), before));
    }

    #[test]
    fn the_pointer_is_fetched_in_packets_of_four_words() {
        let (mut rig, id) = build();
        assert_eq!(call(&mut rig, 0x28, 0).eax & 0xFFFF, 0);
        call(&mut rig, 0x29, 0x4541_4552);
        assert_eq!(call(&mut rig, 0x28, 0).eax, 1);
        assert_eq!(call(&mut rig, 0x27, 1).eax, 0x3442_554A);
        call(&mut rig, 0x29, 0x5342_4152);
        let input = Input::Mouse { dx: 10, dy: -5, dz: 1, buttons: 1 };
        let (mem, now) = (&mut rig.mem, rig.now);
        assert!(!rig.bus.call(mem, now, id, |d, cx| d.input(cx, &input)), "the PS/2 mouse hears of it too");
        assert_eq!(call(&mut rig, 0x28, 0).eax, 4);
        let got = call(&mut rig, 0x27, 4);
        assert_eq!([got.eax, got.ebx, got.ecx, got.edx], [0x20, 0x8000 + 640, 0x8000 + 320, 1]);
        assert_eq!(call(&mut rig, 0x28, 0).eax, 0);
        for _ in 0..1000 {
            rig.bus.call(&mut rig.mem, rig.now, id, |d, cx| d.input(cx, &input));
        }
        assert_eq!(call(&mut rig, 0x28, 0).eax >> 16, 0xFFFF, "it overflowed");
        assert_eq!(call(&mut rig, 0x27, 9).eax, UNKNOWN);
        call(&mut rig, 0x29, 0xF5);
        assert_eq!(call(&mut rig, 0x28, 0).eax, 0);
    }
}
