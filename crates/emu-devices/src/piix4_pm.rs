//! Power management of the Intel 82371AB (PIIX4), PCI function 3, id 8086:7113, as boards with an i440FX show it at
//! 00:01.3.
//!
//! Ports: 64 at PMBASE (configuration 40h, enabled by PMREGMISC bit 0), 16 of the SMBus host at SMBBA (90h, enabled by
//! SMBHSTCFG bit 0), and APMC/APMS at B2h/B3h. Source: Intel 82371AB datasheet, order number 290562.
//!
//! Without a wire at `smi` there is no system management mode, and this chip does by itself what a firmware's SMI handler
//! would do: the ACPI enable and disable commands set and clear SCI_EN, DEVACTB's APMC_EN is set from the start (which
//! tells firmware that SMM has been set up), and the power button switches off while ACPI is not enabled.
//!
//! Left out: throttling and C-states (PLVL2/PLVL3 read as zero), device activity timers, sleep states other than S5, and
//! SMBus slaves: every transaction ends with DEV_ERR, as when nobody acknowledges.

use emu_core::bus::{DevCx, Device, Output, PciAddress, PciFunction, PortDevice, Remap, Wire};
use emu_core::input::Input;
use emu_core::state::{State, StateError, StateReader, StateWriter};
use emu_core::time::{ClockRate, Ticks};

use crate::pci_config::ConfigSpace;

/// Port region of APMC and APMS, 2 ports at B2h, width 1; the board maps it.
pub const REGION_APM: u16 = 0;
/// Port region of the power management registers, 64 ports, width 4; mapped by configuration.
pub const REGION_PM: u16 = 1;
/// Port region of the SMBus host, 16 ports, width 1; mapped by configuration.
pub const REGION_SMBUS: u16 = 2;

/// What the FADT gives as ACPI_ENABLE.
pub const ACPI_ENABLE: u8 = 0xF1;
/// What the FADT gives as ACPI_DISABLE.
pub const ACPI_DISABLE: u8 = 0xF0;
/// SLP_TYP of S5 (soft off), for the `\_S5` package [82371AB 7.1.3: SUS_TYP 000].
pub const SLP_TYP_S5: u16 = 0;
/// Ticks of the PM timer in a second.
pub const PM_TIMER_HZ: u64 = 3_579_545;
/// Offset of the general purpose event block (2 bytes status, 2 bytes enable) from PMBASE.
pub const GPE0_OFFSET: u16 = 0x0C;

const PMBASE: u8 = 0x40;
const DEVACTB: u8 = 0x58;
const APMC_EN: u32 = 1 << 25;
const PMREGMISC: u8 = 0x80;
const SMBBA: u8 = 0x90;
const SMBHSTCFG: u8 = 0xD2;

const TMROF: u16 = 1 << 0;
const PWRBTN: u16 = 1 << 8;
/// Status bits of PMSTS, all cleared by writing 1: TMROF, BM, GBL, PWRBTN, RTC, RSM [82371AB 7.1.1].
const PMSTS_BITS: u16 = 0x8531;
const PMEN_BITS: u16 = 0x0521;
const SCI_EN: u16 = 1 << 0;
const SUS_EN: u16 = 1 << 13;
/// THRM, LID, RI and GPI in GPSTS and GPEN [82371AB 7.1.5].
const GP_BITS: u16 = 0x0F00;
/// The bit of the PM timer whose change sets TMROF_STS.
const TIMER_TOP: u32 = 23;

const EVENT_TIMER: u32 = 0;

/// Output wires.
#[derive(Clone, Copy, Debug, Default)]
pub struct PmWires {
    /// SCI, to ISA IRQ 9.
    pub sci: Wire,
    /// SMI#, as a positive pulse; unconnected on a machine without system management mode.
    pub smi: Wire,
}

/// Power management function.
#[derive(Debug)]
pub struct Piix4Pm {
    // Configuration
    name: String,
    address: PciAddress,
    // Wiring
    wires: PmWires,
    // State
    config: ConfigSpace,
    /// PMSTS without TMROF_STS, which follows from `timer_seen`.
    status: u16,
    enable: u16,
    control: u16,
    gp_status: u16,
    gp_enable: u16,
    /// The registers from 10h to 3Fh that are storage, one word per 4 ports.
    storage: [u32; 12],
    /// Changes of the timer's top bit that software has acknowledged, counted from power-on.
    timer_seen: u64,
    apm_control: u8,
    apm_status: u8,
    smbus: [u8; 16],
}

impl Piix4Pm {
    /// The function at 00:`device`.3.
    #[must_use]
    pub fn new(name: impl Into<String>, device: u8, wires: PmWires) -> Piix4Pm {
        Piix4Pm {
            name: name.into(),
            address: PciAddress { bus: 0, device, function: 3 },
            wires,
            config: layout(wires.smi == Wire::NONE),
            status: 0,
            enable: 0,
            control: 0,
            gp_status: 0,
            gp_enable: 0,
            storage: [0; 12],
            timer_seen: 0,
            apm_control: 0,
            apm_status: 0,
            smbus: [0; 16],
        }
    }

    /// The PM timer's 24 bits at `now`.
    #[must_use]
    pub fn timer(now: Ticks, rate: ClockRate) -> u32 {
        rate.cycles_at(now, PM_TIMER_HZ) as u32 & 0xFF_FFFF
    }

    fn top_changes(now: Ticks, rate: ClockRate) -> u64 {
        rate.cycles_at(now, PM_TIMER_HZ) >> TIMER_TOP
    }

    fn pmsts(&self, now: Ticks, rate: ClockRate) -> u16 {
        self.status | if Self::top_changes(now, rate) > self.timer_seen { TMROF } else { 0 }
    }

    /// Drives SCI to what the registers say, and asks for the event at which the timer would change that.
    fn update(&mut self, cx: &mut DevCx<'_>) {
        let status = self.pmsts(cx.now, cx.rate);
        let active = status & self.enable != 0 || self.gp_status & self.gp_enable != 0;
        cx.set_wire(self.wires.sci, active && self.control & SCI_EN != 0);
        if self.enable & TMROF != 0 && status & TMROF == 0 && self.control & SCI_EN != 0 {
            let cycle = self.timer_seen.saturating_add(1) << TIMER_TOP;
            cx.schedule(EVENT_TIMER, cx.rate.tick_of_cycle(cycle, PM_TIMER_HZ));
        } else {
            cx.cancel(EVENT_TIMER);
        }
    }

    fn write_control(&mut self, cx: &mut DevCx<'_>, value: u16) {
        self.control = value & 0x1C03;
        if value & SUS_EN != 0 && value >> 10 & 7 == SLP_TYP_S5 {
            cx.output(Output::PowerOff);
        }
    }

    fn write_apmc(&mut self, cx: &mut DevCx<'_>, value: u8) {
        self.apm_control = value;
        if self.wires.smi != Wire::NONE {
            if self.config.read(DEVACTB, 4) & APMC_EN != 0 {
                cx.set_wire(self.wires.smi, true);
                cx.set_wire(self.wires.smi, false);
            }
            return;
        }
        match value {
            ACPI_ENABLE => self.control |= SCI_EN,
            ACPI_DISABLE => self.control &= !SCI_EN,
            _ => {}
        }
        self.update(cx);
    }

    /// The 4 ports from `offset` (a multiple of 4) on.
    fn pm_read(&self, now: Ticks, rate: ClockRate, offset: u16) -> u32 {
        match offset {
            0x00 => u32::from(self.pmsts(now, rate)) | u32::from(self.enable) << 16,
            0x04 => self.control.into(),
            0x08 => Self::timer(now, rate),
            0x0C => u32::from(self.gp_status) | u32::from(self.gp_enable) << 16,
            0x14 => 0, // PLVL2 and PLVL3 would stop the clock
            _ => self.storage.get(usize::from(offset / 4).wrapping_sub(4)).copied().unwrap_or(0),
        }
    }

    /// Writes the bits of `mask` in the 4 ports from `offset` on.
    fn pm_write(&mut self, cx: &mut DevCx<'_>, offset: u16, value: u32, mask: u32) {
        let (low, high, high_mask) = ((value & mask) as u16, (value >> 16) as u16, (mask >> 16) as u16);
        match offset {
            0x00 => {
                if low & TMROF != 0 {
                    self.timer_seen = Self::top_changes(cx.now, cx.rate);
                }
                self.status &= !(low & PMSTS_BITS);
                self.enable = (self.enable & !high_mask | high & high_mask) & PMEN_BITS;
            }
            0x04 => self.write_control(cx, self.control & !(mask as u16) | low),
            0x08 => {}
            0x0C => {
                self.gp_status &= !(low & GP_BITS);
                self.gp_enable = (self.gp_enable & !high_mask | high & high_mask) & GP_BITS;
            }
            0x18 | 0x1C => { // GLBSTS and DEVSTS: nothing ever sets their bits
            }
            _ => {
                if let Some(word) = self.storage.get_mut(usize::from(offset / 4).wrapping_sub(4)) {
                    let writable = storage_bits(offset);
                    *word = *word & !(mask & writable) | value & mask & writable;
                }
            }
        }
        self.update(cx);
    }

    fn smbus_write(&mut self, offset: u16, value: u8) {
        const START: u8 = 1 << 6;
        const DEV_ERR: u8 = 1 << 2;
        match offset & 15 {
            0 => self.smbus[0] &= !(value & 0x1E),
            1 => self.smbus[1] &= !(value & 0x3C),
            2 => {
                self.smbus[2] = value & 0x1F;
                if value & START != 0 {
                    self.smbus[0] |= DEV_ERR;
                }
            }
            n => self.smbus[usize::from(n)] = value,
        }
    }

    fn map(&self, cx: &mut DevCx<'_>) {
        let window = |base: u32, on: bool, len: u16, region: u16, width: u8| {
            let base = base as u16 & !(len - 1);
            if on && base != 0 { Remap::Ports { base, len, region, width } } else { Remap::UnmapPorts { region } }
        };
        let pm_on = self.config.byte(PMREGMISC) & 1 != 0;
        cx.remap(window(self.config.read(PMBASE, 2), pm_on, 64, REGION_PM, 4));
        let smbus_on = self.config.byte(SMBHSTCFG) & 1 != 0;
        cx.remap(window(self.config.read(SMBBA, 2), smbus_on, 16, REGION_SMBUS, 1));
    }
}

/// Writable bits of the storage registers [82371AB 7.1.6 ff.].
fn storage_bits(offset: u16) -> u32 {
    match offset {
        0x10 => 0x0002_3E1E, // PCNTRL
        0x20 => 0x0000_0F3D, // GLBEN
        0x28 => 0x07FF_FF07, // GLBCTL
        0x34 => 0x7FFF_FFFF, // GPOREG
        _ => 0,
    }
}

/// GPOREG after reset [82371AB 7.1.13].
const GPOREG_RESET: u32 = 0x7FFF_BFFF;

/// Registers with their reset values and writable bits [82371AB 7 (function 3)].
fn layout(without_smm: bool) -> ConfigSpace {
    let mut c = ConfigSpace::new(0x8086, 0x7113, 0x06_8000, 0x03)
        .with(0x04, 2, 0x0000, 0x0001)
        .with(0x06, 2, 0x0280, 0)
        .with_clears(0x06, 0xF900)
        .with(0x3C, 1, 0x00, 0xFF)
        .with(0x3D, 1, 0x01, 0)
        .with(PMBASE, 4, 0x0000_0001, 0x0000_FFC0)
        .with(DEVACTB, 4, if without_smm { APMC_EN } else { 0 }, 0x0300_0CFF)
        .with(PMREGMISC, 1, 0x00, 0x01)
        .with(SMBBA, 4, 0x0000_0001, 0x0000_FFF0)
        .with(SMBHSTCFG, 1, 0x00, 0x0F)
        .with(0xD3, 3, 0, 0x00FF_FFFF); // slave command, shadow addresses
    // CNTA, CNTB, GPICTL, DEVRESD, DEVACTA, and the device resource registers
    for register in [0x44, 0x48, 0x4C, 0x50, 0x54, 0x5C, 0x60, 0x64, 0x68, 0x6C, 0x70, 0x74, 0x78, 0x7C] {
        c = c.with(register, 4, 0, u32::MAX);
    }
    c
}

impl Device for Piix4Pm {
    fn name(&self) -> &str {
        &self.name
    }

    fn reset(&mut self, cx: &mut DevCx<'_>) {
        self.config.reset();
        (self.status, self.enable, self.control, self.gp_status, self.gp_enable) = (0, 0, 0, 0, 0);
        self.storage = [0; 12];
        self.storage[0x34 / 4 - 4] = GPOREG_RESET;
        self.timer_seen = Self::top_changes(cx.now, cx.rate);
        (self.apm_control, self.apm_status, self.smbus) = (0, 0, [0; 16]);
        self.map(cx);
        self.update(cx);
    }

    #[inline]
    fn ports(&mut self) -> Option<&mut dyn PortDevice> {
        Some(self)
    }

    fn pci(&mut self) -> Option<&mut dyn PciFunction> {
        Some(self)
    }

    fn event(&mut self, cx: &mut DevCx<'_>, _tag: u32) {
        self.update(cx);
    }

    fn restored(&mut self, cx: &mut DevCx<'_>) {
        self.map(cx);
    }

    fn input(&mut self, cx: &mut DevCx<'_>, input: &Input) -> bool {
        if *input != Input::PowerButton {
            return false;
        }
        self.status |= PWRBTN;
        if self.control & SCI_EN == 0 && self.wires.smi == Wire::NONE {
            cx.output(Output::PowerOff);
        }
        self.update(cx);
        true
    }
}

impl PortDevice for Piix4Pm {
    fn read(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u16, size: u8) -> u32 {
        if region == REGION_PM {
            return self.pm_read(cx.now, cx.rate, offset & 0x3C) >> (8 * u32::from(offset & 3));
        }
        self.peek(cx.now, region, offset, size)
    }

    fn write(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u16, size: u8, value: u32) {
        let shift = 8 * u32::from(offset & 3);
        let mask = u32::MAX >> (32 - 8 * u32::from(size.clamp(1, 4)));
        match (region, offset) {
            (REGION_PM, _) => self.pm_write(cx, offset & 0x3C, value << shift, mask << shift),
            (REGION_SMBUS, _) => self.smbus_write(offset, value as u8),
            (REGION_APM, 0) => self.write_apmc(cx, value as u8),
            (REGION_APM, 1) => self.apm_status = value as u8,
            _ => {}
        }
    }

    fn peek(&self, _now: Ticks, region: u16, offset: u16, _size: u8) -> u32 {
        match (region, offset) {
            (REGION_SMBUS, _) => self.smbus[usize::from(offset & 15)].into(),
            (REGION_APM, 0) => self.apm_control.into(),
            (REGION_APM, 1) => self.apm_status.into(),
            _ => u32::MAX,
        }
    }
}

impl PciFunction for Piix4Pm {
    fn address(&self) -> PciAddress {
        self.address
    }

    fn config_read(&mut self, _cx: &mut DevCx<'_>, register: u8, size: u8) -> u32 {
        self.config.read(register, size)
    }

    fn config_write(&mut self, cx: &mut DevCx<'_>, register: u8, size: u8, value: u32) {
        self.config.write(register, size, value);
        let windows = [PMBASE, PMBASE + 1, PMREGMISC, SMBBA, SMBBA + 1, SMBHSTCFG];
        if windows.iter().any(|&w| ConfigSpace::touches(register, size, w, w)) {
            self.map(cx);
        }
    }
}

impl State for Piix4Pm {
    const TAG: [u8; 4] = *b"P4PM";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self {
            name: _,
            address: _,
            wires: _,
            config,
            status,
            enable,
            control,
            gp_status,
            gp_enable,
            storage,
            timer_seen,
            apm_control,
            apm_status,
            smbus,
        } = self;
        w.part(1, config);
        w.field(2, status);
        w.field(3, enable);
        w.field(4, control);
        w.field(5, gp_status);
        w.field(6, gp_enable);
        w.field(7, storage);
        w.field(8, timer_seen);
        w.field(9, apm_control);
        w.field(10, apm_status);
        w.field(11, smbus);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        r.part(1, &mut self.config)?;
        self.status = r.field::<u16>(2)? & PMSTS_BITS & !TMROF;
        self.enable = r.field::<u16>(3)? & PMEN_BITS;
        self.control = r.field::<u16>(4)? & 0x1C03;
        self.gp_status = r.field::<u16>(5)? & GP_BITS;
        self.gp_enable = r.field::<u16>(6)? & GP_BITS;
        self.storage = r.field(7)?;
        self.timer_seen = r.field::<u64>(8)? & u64::MAX >> TIMER_TOP;
        self.apm_control = r.field(9)?;
        self.apm_status = r.field(10)?;
        self.smbus = r.field(11)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use emu_core::bus::rig::{Rig, Surface};
    use emu_core::bus::{DeviceId, Sink};
    use emu_core::device_contract_tests;

    const BASE: u16 = 0x600;

    fn rig_with(smi: bool) -> (Rig, DeviceId) {
        let mut rig = Rig::new();
        let sci = rig.bus.wire_to(Sink::Intr(0));
        let smi = if smi { rig.bus.wire_to(Sink::Smi) } else { Wire::NONE };
        let id = rig.bus.add(Box::new(Piix4Pm::new("pm", 1, PmWires { sci, smi })));
        rig.bus.map_ports(id, 0xB2, 2, REGION_APM, 1);
        rig.reset();
        for (register, value) in [(PMBASE, u32::from(BASE) | 1), (PMREGMISC, 1), (SMBBA, 0x701), (SMBHSTCFG, 9)] {
            let at = PciAddress { bus: 0, device: 1, function: 3 };
            let size = if register == PMBASE || register == SMBBA { 4 } else { 1 };
            rig.bus.pci_write(&mut rig.mem, rig.now, at, register, size, value);
        }
        (rig, id)
    }

    fn build() -> (Rig, DeviceId) {
        rig_with(false)
    }

    device_contract_tests!(build, || Surface { ports: vec![(BASE, 64), (0xB2, 2), (0x700, 16)], memory: vec![] });

    fn sci(rig: &mut Rig) -> bool {
        rig.bus.cpu_lines(0).intr
    }

    #[test]
    fn the_timer_counts_at_its_rate_and_overflows_into_sci() {
        let (mut rig, _) = build();
        rig.advance(rig.bus.rate().hz());
        assert_eq!(rig.in32(BASE + 8), 3_579_545);
        assert_eq!(rig.in8(BASE + 9), (3_579_545u32 >> 8) as u8);
        rig.out8(0xB2, ACPI_ENABLE);
        assert_eq!(rig.in16(BASE + 4) & SCI_EN, SCI_EN);
        rig.out16(BASE + 2, TMROF);
        let half = rig.bus.rate().tick_of_cycle(1 << 23, PM_TIMER_HZ);
        rig.advance(half - rig.now - 1);
        assert!(!sci(&mut rig) && rig.in16(BASE) & TMROF == 0);
        rig.advance(1);
        assert!(sci(&mut rig) && rig.in16(BASE) & TMROF != 0);
        rig.out16(BASE, TMROF);
        assert!(!sci(&mut rig));
        assert_eq!(rig.bus.next_deadline(), rig.bus.rate().tick_of_cycle(2 << 23, PM_TIMER_HZ));
        rig.out16(BASE + 2, 0);
        assert_eq!(rig.bus.next_deadline(), Ticks::NEVER, "nobody can see it");
    }

    #[test]
    fn the_power_button_is_an_event_of_acpi_and_a_switch_without() {
        let (mut rig, _) = build();
        assert!(rig.bus.input(&mut rig.mem, rig.now, &Input::PowerButton));
        assert_eq!(rig.output(), [Output::PowerOff]);
        rig.out16(BASE, PWRBTN);
        rig.out8(0xB2, ACPI_ENABLE);
        rig.out16(BASE + 2, PWRBTN);
        rig.bus.input(&mut rig.mem, rig.now, &Input::PowerButton);
        assert!(sci(&mut rig) && rig.output().is_empty());
        rig.out16(BASE, PWRBTN);
        assert!(!sci(&mut rig));
    }

    #[test]
    fn s5_switches_off() {
        let (mut rig, _) = build();
        rig.out16(BASE + 4, 1 << 10 | SUS_EN);
        assert!(rig.output().is_empty(), "S1 does not");
        rig.out16(BASE + 4, SLP_TYP_S5 << 10);
        assert!(rig.output().is_empty(), "not without SUS_EN");
        rig.out16(BASE + 4, SLP_TYP_S5 << 10 | SUS_EN);
        assert_eq!(rig.output(), [Output::PowerOff]);
        assert_eq!(rig.in16(BASE + 4) & SUS_EN, 0, "SUS_EN reads as zero");
    }

    #[test]
    fn apm_commands_are_smis_where_there_is_smm() {
        let (mut rig, _) = rig_with(true);
        rig.out8(0xB2, ACPI_ENABLE);
        assert!(!rig.bus.cpu_lines(0).smi && rig.in16(BASE + 4) == 0);
        let at = PciAddress { bus: 0, device: 1, function: 3 };
        rig.bus.pci_write(&mut rig.mem, rig.now, at, DEVACTB, 4, APMC_EN);
        rig.out8(0xB2, ACPI_ENABLE);
        assert!(rig.bus.cpu_lines(0).smi);
    }

    #[test]
    fn nobody_answers_on_the_smbus() {
        let (mut rig, _) = build();
        rig.out8(0x704, 0xA1);
        rig.out8(0x702, 0x48);
        assert_eq!(rig.in8(0x700), 4);
        rig.out8(0x700, 0xFF);
        assert_eq!(rig.in8(0x700), 0);
    }
}
