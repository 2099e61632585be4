//! Hyper-V's interface to its guests: CPUID leaves 40000000h to 40000006h, synthetic MSRs, the hypercall page.
//!
//! Source: Microsoft, Hypervisor Top Level Functional Specification [TLFS]: 2 (discovery), 3 (hypercalls), 12 (time). What
//! the leaf of privileges grants is here, and nothing else: hypercall MSRs, VP index, VP run time, the reference counter and
//! its page, the frequencies, reset; and the VP assist page, which guests set up without asking.
//! Left out: SynIC and synthetic timers, VMBus and what hangs on it, the APIC's MSRs, nested and extended calls: a guest
//! finds IDE, VGA and PS/2 instead. The hypercall page and the reference page are written into the guest's memory where
//! TLFS lays them over it: what was there does not come back when they are disabled. Of calls, the notice of a long spin
//! wait is accepted; all others answer HV_STATUS_INVALID_HYPERCALL_CODE.
//! Time counts from power-on in units of 100 ns, and is the machine's: a function of the tick.

use emu_core::bus::HypervisorInterface;
use emu_core::mem::Target;
use emu_core::{ClockRate, DevCx, Device, State, StateError, StateReader, StateWriter, Ticks, Wire};

const MSR_GUEST_OS_ID: u32 = 0x4000_0000;
const MSR_HYPERCALL: u32 = 0x4000_0001;
const MSR_VP_INDEX: u32 = 0x4000_0002;
const MSR_RESET: u32 = 0x4000_0003;
const MSR_VP_RUNTIME: u32 = 0x4000_0010;
const MSR_TIME_REF_COUNT: u32 = 0x4000_0020;
const MSR_REFERENCE_TSC: u32 = 0x4000_0021;
const MSR_TSC_FREQUENCY: u32 = 0x4000_0022;
const MSR_APIC_FREQUENCY: u32 = 0x4000_0023;
const MSR_VP_ASSIST_PAGE: u32 = 0x4000_0073;

/// Privileges [TLFS 2.4.3]: VP run time, reference counter, hypercall MSRs, VP index, reset, reference TSC, frequencies.
const PRIVILEGES: u32 = 1 | 1 << 1 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 9 | 1 << 11;
/// Feature bit 8: the frequency MSRs exist.
const FREQUENCIES: u32 = 1 << 8;
/// Hint: time-outs of the guest should be lax.
const RELAXED_TIMING: u32 = 1 << 5;
/// The version that is told: that of Windows Server 2016, 10.0.14393.
const BUILD: u32 = 14_393;

/// Bits of the MSRs that name a page: enabled; of the hypercall MSR alone: locked.
const ENABLE: u64 = 1;
const LOCKED: u64 = 2;
const PAGE: u64 = !0xFFF;

/// VMCALL and RET.
const HYPERCALL_CODE: [u8; 4] = [0x0F, 0x01, 0xC1, 0xC3];

const STATUS_SUCCESS: u64 = 0;
const STATUS_INVALID_CODE: u64 = 2;
const STATUS_INVALID_INPUT: u64 = 3;
const CALL_NOTIFY_LONG_SPIN_WAIT: u64 = 8;
/// Bits of the input value that must be zero [TLFS 3.7].
const INPUT_RESERVED: u64 = 0xF000_F000_F800_0000;

/// Units of reference time in a second.
const REFERENCE_HZ: u64 = 10_000_000;

/// What the interface tells of the machine, and its wire.
#[derive(Clone, Copy, Debug, Default)]
pub struct HypervConfig {
    /// Clock of the local APICs' timers, in Hz.
    pub bus_hz: u64,
    /// Virtual processors.
    pub cpus: u32,
    /// Resets the machine, pulsed.
    pub reset: Wire,
}

/// The interface.
#[derive(Debug)]
pub struct Hyperv {
    // Wiring
    config: HypervConfig,
    // State
    guest_os_id: u64,
    hypercall: u64,
    reference_tsc: u64,
    assist_page: u64,
    /// Sequence number in the reference page: it rises whenever the page changes.
    sequence: u32,
}

/// Units of reference time per tick, as a fraction of 2^64; `None` if a tick is longer than a unit.
fn scale(rate: ClockRate) -> Option<u64> {
    u64::try_from((u128::from(REFERENCE_HZ) << 64) / u128::from(rate.hz())).ok()
}

/// Reference time at `now`: by the same fraction as in the page, so that both agree to the unit.
fn reference_time(rate: ClockRate, now: Ticks) -> u64 {
    match scale(rate) {
        Some(scale) => ((u128::from(now.0) * u128::from(scale)) >> 64) as u64,
        None => rate.cycles_at(now, REFERENCE_HZ),
    }
}

impl Hyperv {
    /// The interface of a machine.
    #[must_use]
    pub fn new(config: HypervConfig) -> Hyperv {
        Hyperv { config, guest_os_id: 0, hypercall: 0, reference_tsc: 0, assist_page: 0, sequence: 0 }
    }

    /// Whether the page that `value` names is memory.
    fn is_memory(cx: &DevCx<'_>, value: u64) -> bool {
        matches!(cx.mem.target(value & PAGE).1, Target::Pool(_))
    }

    /// The guest's identity; without one there is no hypercall page [TLFS 2.6].
    fn set_guest_os_id(&mut self, value: u64) {
        self.guest_os_id = value;
        if value == 0 {
            self.hypercall &= !ENABLE;
        }
    }

    fn set_hypercall(&mut self, cx: &mut DevCx<'_>, value: u64) -> Option<()> {
        if self.hypercall & LOCKED != 0 {
            return Some(());
        }
        let enable = value & ENABLE != 0 && self.guest_os_id != 0;
        if enable && !Self::is_memory(cx, value) {
            return None;
        }
        self.hypercall = if enable { value } else { value & !ENABLE };
        if enable {
            cx.mem.write(value & PAGE, &HYPERCALL_CODE);
        }
        Some(())
    }

    fn set_reference_tsc(&mut self, cx: &mut DevCx<'_>, value: u64, tsc_offset: u64) -> Option<()> {
        if value & ENABLE != 0 && !Self::is_memory(cx, value) {
            return None;
        }
        self.reference_tsc = value;
        self.write_reference_page(cx, tsc_offset);
        Some(())
    }

    /// The reference page [TLFS 12.6]: sequence, scale and offset, such that time = (TSC · scale >> 64) + offset.
    fn write_reference_page(&mut self, cx: &mut DevCx<'_>, tsc_offset: u64) {
        if self.reference_tsc & ENABLE == 0 {
            return;
        }
        let mut page = [0; 24];
        if let Some(scale) = scale(cx.rate) {
            // Sequence 0 says that the page can't be used, which is so where a tick is longer than a unit.
            self.sequence = self.sequence.wrapping_add(1).max(1);
            // What a counter that is ahead of the clock adds is taken off again.
            let ahead = tsc_offset as i64;
            let units = (i128::from(ahead) * i128::from(scale)) >> 64;
            page[..4].copy_from_slice(&self.sequence.to_le_bytes());
            page[8..16].copy_from_slice(&scale.to_le_bytes());
            page[16..].copy_from_slice(&(-units as i64).to_le_bytes());
        }
        cx.mem.write(self.reference_tsc & PAGE, &page);
    }
}

impl HypervisorInterface for Hyperv {
    fn cpuid(&self, _rate: ClockRate, leaf: u32) -> Option<[u32; 4]> {
        let word = |text: &[u8; 4]| u32::from_le_bytes(*text);
        Some(match leaf {
            0x4000_0000 => [0x4000_0006, word(b"Micr"), word(b"osof"), word(b"t Hv")],
            0x4000_0001 => [word(b"Hv#1"), 0, 0, 0],
            0x4000_0002 => [BUILD, 10 << 16, 0, 0],
            0x4000_0003 => [PRIVILEGES, 0, 0, FREQUENCIES],
            // EBX: how often to try a spin lock before telling the hypervisor: never tell it.
            0x4000_0004 => [RELAXED_TIMING, u32::MAX, 0, 0],
            0x4000_0005 => [self.config.cpus, self.config.cpus, 0, 0],
            0x4000_0006 => [0; 4],
            _ => return None,
        })
    }

    fn read_msr(&mut self, cx: &mut DevCx<'_>, cpu: u8, number: u32) -> Option<u64> {
        Some(match number {
            MSR_GUEST_OS_ID => self.guest_os_id,
            MSR_HYPERCALL => self.hypercall,
            MSR_VP_INDEX => cpu.into(),
            MSR_RESET => 0,
            // No processor ever waits for the host.
            MSR_VP_RUNTIME | MSR_TIME_REF_COUNT => reference_time(cx.rate, cx.now),
            MSR_REFERENCE_TSC => self.reference_tsc,
            MSR_TSC_FREQUENCY => cx.rate.hz(),
            MSR_APIC_FREQUENCY => self.config.bus_hz,
            MSR_VP_ASSIST_PAGE => self.assist_page,
            _ => return None,
        })
    }

    fn write_msr(&mut self, cx: &mut DevCx<'_>, number: u32, value: u64, tsc_offset: u64) -> Option<()> {
        match number {
            MSR_GUEST_OS_ID => self.set_guest_os_id(value),
            MSR_HYPERCALL => return self.set_hypercall(cx, value),
            MSR_RESET if value & 1 != 0 => {
                cx.set_wire(self.config.reset, true);
                cx.set_wire(self.config.reset, false);
            }
            MSR_RESET => {}
            MSR_REFERENCE_TSC => return self.set_reference_tsc(cx, value, tsc_offset),
            MSR_VP_ASSIST_PAGE => self.assist_page = value,
            _ => return None,
        }
        Some(())
    }

    fn tsc_written(&mut self, cx: &mut DevCx<'_>, tsc_offset: u64) {
        self.write_reference_page(cx, tsc_offset);
    }

    /// The call code is in bits 15:0; the result's status in bits 15:0, and no repetition completed in bits 43:32.
    fn hypercall(&mut self, _cx: &mut DevCx<'_>, input: u64) -> Option<u64> {
        if self.hypercall & ENABLE == 0 {
            return None;
        }
        Some(match input & 0xFFFF {
            _ if input & INPUT_RESERVED != 0 => STATUS_INVALID_INPUT,
            CALL_NOTIFY_LONG_SPIN_WAIT => STATUS_SUCCESS,
            _ => STATUS_INVALID_CODE,
        })
    }
}

impl Device for Hyperv {
    fn name(&self) -> &str {
        "hyperv"
    }

    fn reset(&mut self, _cx: &mut DevCx<'_>) {
        *self = Hyperv::new(self.config);
    }

    fn hypervisor(&mut self) -> Option<&mut dyn HypervisorInterface> {
        Some(self)
    }
}

impl State for Hyperv {
    const TAG: [u8; 4] = *b"MSHV";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { config: _, guest_os_id, hypercall, reference_tsc, assist_page, sequence } = self;
        w.field(1, &[*guest_os_id, *hypercall, *reference_tsc, *assist_page]);
        w.field(2, sequence);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        [self.guest_os_id, self.hypercall, self.reference_tsc, self.assist_page] = r.field(1)?;
        self.sequence = r.field(2)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use emu_core::bus::rig::{Rig, Surface};
    use emu_core::{DeviceId, Sink};

    fn build() -> (Rig, DeviceId) {
        let mut rig = Rig::new();
        let reset = rig.bus.wire_to(Sink::MachineReset);
        let id = rig.bus.add(Box::new(Hyperv::new(HypervConfig { bus_hz: 100_000_000, cpus: 1, reset })));
        rig.bus.set_hypervisor(id);
        rig.reset();
        (rig, id)
    }

    emu_core::device_contract_tests!(build, Surface::default);

    fn read(rig: &mut Rig, number: u32) -> Option<u64> {
        rig.bus.hypervisor(&mut rig.mem, rig.now, |h, cx| h.read_msr(cx, 0, number)).flatten()
    }
    fn write(rig: &mut Rig, number: u32, value: u64) -> Option<()> {
        rig.bus.hypervisor(&mut rig.mem, rig.now, |h, cx| h.write_msr(cx, number, value, 0)).flatten()
    }
    fn call(rig: &mut Rig, input: u64) -> Option<u64> {
        rig.bus.hypervisor(&mut rig.mem, rig.now, |h, cx| h.hypercall(cx, input)).flatten()
    }

    #[test]
    fn the_hypercall_page_needs_an_identity_and_memory() {
        let (mut rig, _) = build();
        assert_eq!(write(&mut rig, MSR_HYPERCALL, 0x5001), Some(()));
        assert_eq!((read(&mut rig, MSR_HYPERCALL), call(&mut rig, 1)), (Some(0x5000), None));
        write(&mut rig, MSR_GUEST_OS_ID, 0x8100 << 48).unwrap();
        assert_eq!(write(&mut rig, MSR_HYPERCALL, 0xFFFF_FFFF_F001), None, "no memory is there");
        write(&mut rig, MSR_HYPERCALL, 0x5001).unwrap();
        let mut code = [0; 4];
        rig.mem.read(0x5000, &mut code);
        assert_eq!(code, HYPERCALL_CODE);
        assert_eq!([1, 8, 1 << 63].map(|c| call(&mut rig, c)), [Some(2), Some(0), Some(3)]);
        write(&mut rig, MSR_HYPERCALL, 0x5003).unwrap();
        write(&mut rig, MSR_HYPERCALL, 0).unwrap();
        assert_eq!(read(&mut rig, MSR_HYPERCALL), Some(0x5003), "locked");
        write(&mut rig, MSR_GUEST_OS_ID, 0).unwrap();
        assert_eq!(call(&mut rig, 1), None);
    }

    #[test]
    fn page_and_counter_tell_the_same_time() {
        let (mut rig, id) = build();
        write(&mut rig, MSR_REFERENCE_TSC, 0x7001).unwrap();
        let time = |rig: &Rig, ahead: u64| {
            assert_ne!(rig.mem.load::<u32>(0x7000), 0);
            let (scale, offset) = (rig.mem.load::<u64>(0x7008), rig.mem.load::<u64>(0x7010));
            let tsc = rig.now.0.wrapping_add(ahead);
            (((u128::from(tsc) * u128::from(scale)) >> 64) as u64).wrapping_add(offset)
        };
        for _ in 0..50 {
            rig.advance(12_345_677);
            assert_eq!(Some(time(&rig, 0)), read(&mut rig, MSR_TIME_REF_COUNT));
        }
        let sequence = rig.mem.load::<u32>(0x7000);
        rig.bus.call(&mut rig.mem, rig.now, id, |d, cx| d.hypervisor().unwrap().tsc_written(cx, 99_999));
        assert_eq!(rig.mem.load::<u32>(0x7000), sequence + 1);
        assert!(time(&rig, 99_999).abs_diff(read(&mut rig, MSR_TIME_REF_COUNT).unwrap()) <= 1);
    }

    #[test]
    fn registers_that_no_privilege_grants_fault() {
        let (mut rig, _) = build();
        for number in [0x4000_0070, 0x4000_0080, 0x4000_00B0, 0x4000_00F0] {
            assert_eq!((read(&mut rig, number), write(&mut rig, number, 0)), (None, None), "{number:x}");
        }
        assert_eq!(write(&mut rig, MSR_TIME_REF_COUNT, 0), None);
        assert_eq!(read(&mut rig, MSR_TSC_FREQUENCY), Some(rig.bus.rate().hz()));
        write(&mut rig, MSR_RESET, 1).unwrap();
        assert!(rig.bus.take_machine_reset());
    }
}
