//! Intel 82077AA floppy disk controller in AT mode, with up to four drives.
//!
//! Ports: 3F2h (DOR), 3F3h (TDR), 3F4h (MSR, DSR), 3F5h (FIFO), 3F7h (DIR, CCR); 3F0h and 3F1h are there in PS/2 mode only.
//! Interrupt: IRQ 6. DMA: channel 2; without it (SPECIFY's ND bit) by the data port. Source: Intel 82077AA datasheet, order
//! number 290166.
//!
//! Left out: tape drives, FM recording, sectors of other sizes than 512 bytes, deleted data marks (none of them fit into an
//! image of sectors; the controller finds no such thing on a disk), power-down, and the data FIFO's threshold: the host has
//! a sector's time for each sector.

mod command;
mod drive;
#[cfg(test)]
mod tests;
mod transfer;

use emu_core::block::BlockBackend;
use emu_core::bus::{DevCx, Device, DmaClient, PortDevice, Wire};
use emu_core::input::Input;
use emu_core::state::{State, StateError, StateReader, StateWriter};
use emu_core::time::{ClockRate, Ticks};

use command::{Command, POLLED};
pub use drive::{DriveKind, FloppyDrive};
use transfer::Transfer;

use crate::geometry::Geometry;

/// Port region of 3F0h to 3F5h, 6 ports, width 1.
pub const REGION_MAIN: u16 = 0;
/// Port region of 3F7h, 1 port, width 1.
pub const REGION_DIR: u16 = 1;

const TAG_EXEC: u32 = 0;
/// And the three after it: one for each drive.
const TAG_SEEK: u32 = 1;
const TAG_RESET: u32 = 5;
const TAG_POLL: u32 = 6;
const TAG_BYTE: u32 = 7;

/// DOR: not in reset.
const NOT_RESET: u8 = 1 << 2;
/// DOR: interrupt and DMA request pins are driven.
const DMA_GATE: u8 = 1 << 3;
/// DSR: software reset, clears itself.
const DSR_RESET: u8 = 1 << 7;
/// CONFIGURE: the FIFO is off.
const FIFO_OFF: u8 = 1 << 5;
/// CONFIGURE: drives are not polled.
const POLL_OFF: u8 = 1 << 4;
/// From the end of a reset to its interrupt; the chip takes up to 250 µs.
const RESET_NS: u64 = 100_000;

// Main status register.
const RQM: u8 = 0x80;
const DIO: u8 = 0x40;
const NON_DMA: u8 = 0x20;
const BUSY: u8 = 0x10;

/// Output wires.
#[derive(Clone, Copy, Debug, Default)]
pub struct FdcWires {
    /// INT, to IRQ 6.
    pub irq: Wire,
    /// DRQ, to DMA channel 2.
    pub dreq: Wire,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Idle,
    Command,
    Execution,
    Result,
}

/// The controller.
#[derive(Debug)]
pub struct Fdc {
    // Configuration
    name: String,
    // Wiring
    wires: FdcWires,
    // Sub-devices
    drives: [Option<FloppyDrive>; 4],
    // State
    dor: u8,
    tdr: u8,
    /// Data rate: 0 = 500, 1 = 300, 2 = 250, 3 = 1000 kbit/s.
    rate: u8,
    precompensation: u8,
    /// After a reset, until the chip answers again.
    resetting: bool,
    phase: Phase,
    params: [u8; 9],
    received: u8,
    result: Vec<u8>,
    result_pos: usize,
    step_rate: u8,
    head_unload: u8,
    head_load: u8,
    non_dma: bool,
    /// Third byte of CONFIGURE: EIS, EFIFO, POLL, FIFOTHR.
    config: u8,
    precompensation_track: u8,
    lock: bool,
    perpendicular: u8,
    last_eot: u8,
    /// The cylinder at which the chip believes each drive to be.
    pcn: [u8; 4],
    /// ST0 of each drive that SENSE INTERRUPT STATUS will tell; 0 = none.
    pending: [u8; 4],
    /// ST0 that each drive's seek under way will end with; 0 = none.
    seeking: [u8; 4],
    /// INT and DRQ as they would be if the gate were open.
    irq: bool,
    dreq: bool,
    transfer: Transfer,
}

impl Fdc {
    /// A controller with these drives.
    #[must_use]
    pub fn new(name: impl Into<String>, wires: FdcWires, drives: [Option<FloppyDrive>; 4]) -> Fdc {
        Fdc {
            name: name.into(),
            wires,
            drives,
            dor: 0,
            tdr: 0,
            rate: 2,
            precompensation: 0,
            resetting: false,
            phase: Phase::Idle,
            params: [0; 9],
            received: 0,
            result: Vec::new(),
            result_pos: 0,
            step_rate: 0,
            head_unload: 0,
            head_load: 0,
            non_dma: false,
            config: FIFO_OFF,
            precompensation_track: 0,
            lock: false,
            perpendicular: 0,
            last_eot: 0,
            pcn: [0; 4],
            pending: [0; 4],
            seeking: [0; 4],
            irq: false,
            dreq: false,
            transfer: Transfer::default(),
        }
    }

    /// Drive `i` (0 to 3).
    pub fn drive(&mut self, i: usize) -> Option<&mut FloppyDrive> {
        self.drives.get_mut(i)?.as_mut()
    }

    /// The disk in drive `i` (0 to 3), and its format.
    pub fn media(&mut self, i: usize) -> Option<(&mut dyn BlockBackend, Geometry)> {
        let drive = self.drive(i)?;
        let geometry = drive.geometry()?;
        drive.tray.medium().map(|m| (m, geometry))
    }

    fn after_ns(&self, cx: &mut DevCx<'_>, tag: u32, ns: u64) {
        let ticks = cx.rate.ticks_in_ns(ns);
        cx.schedule(tag, cx.now + ticks);
    }

    fn set_irq(&mut self, cx: &mut DevCx<'_>, level: bool) {
        self.irq = level;
        cx.set_wire(self.wires.irq, level && self.dor & DMA_GATE != 0);
    }

    fn set_dreq(&mut self, cx: &mut DevCx<'_>, level: bool) {
        self.dreq = level;
        cx.set_wire(self.wires.dreq, level && self.dor & DMA_GATE != 0);
    }

    /// What every kind of reset does [82077AA 2.1.3, 6]. Drives, and what SPECIFY and LOCK have set, stay.
    fn enter_reset(&mut self, cx: &mut DevCx<'_>) {
        (TAG_EXEC..=TAG_BYTE).for_each(|tag| cx.cancel(tag));
        (self.phase, self.received, self.result_pos) = (Phase::Idle, 0, 0);
        self.result.clear();
        self.transfer = Transfer::default();
        (self.pending, self.seeking) = ([0; 4], [0; 4]);
        if self.lock {
            self.config &= 0x2F; // EFIFO and FIFOTHR
        } else {
            (self.config, self.precompensation_track) = (FIFO_OFF, 0);
        }
        self.perpendicular &= 0x3C;
        self.resetting = true;
        self.set_irq(cx, false);
        self.set_dreq(cx, false);
    }

    /// The chip has come out of reset: with polling on, each drive's ready line "changes".
    fn reset_done(&mut self, cx: &mut DevCx<'_>) {
        self.resetting = false;
        if self.config & POLL_OFF == 0 {
            self.pending = [POLLED, POLLED | 1, POLLED | 2, POLLED | 3];
            self.set_irq(cx, true);
        }
    }

    fn write_dor(&mut self, cx: &mut DevCx<'_>, value: u8) {
        let old = core::mem::replace(&mut self.dor, value);
        if old & !value & NOT_RESET != 0 {
            self.enter_reset(cx);
        } else if !old & value & NOT_RESET != 0 {
            self.after_ns(cx, TAG_RESET, RESET_NS);
        }
        self.set_irq(cx, self.irq);
        self.set_dreq(cx, self.dreq);
    }

    fn write_dsr(&mut self, cx: &mut DevCx<'_>, value: u8) {
        (self.rate, self.precompensation) = (value & 3, value >> 2 & 7);
        if value & DSR_RESET != 0 {
            self.enter_reset(cx);
            if self.dor & NOT_RESET != 0 {
                self.after_ns(cx, TAG_RESET, RESET_NS);
            }
        }
    }

    fn msr(&self) -> u8 {
        if self.resetting {
            return 0;
        }
        let seeking = (0..4).filter(|&i| self.seeking[i] != 0).fold(0, |bits, i| bits | 1 << i);
        seeking
            | match self.phase {
                Phase::Idle => RQM,
                Phase::Command => RQM | BUSY,
                Phase::Result => RQM | DIO | BUSY,
                Phase::Execution if !self.non_dma => BUSY,
                Phase::Execution => match self.host_turn() {
                    None => BUSY | NON_DMA,
                    Some(to_host) => RQM | BUSY | NON_DMA | if to_host { DIO } else { 0 },
                },
            }
    }

    /// DIR: the change line of the selected drive, while its motor runs. Nobody drives the other bits.
    fn dir(&self) -> u8 {
        let i = usize::from(self.dor & 3);
        let selected = self.dor >> (4 + i) & 1 != 0;
        let changed = self.drives[i].as_ref().is_some_and(|d| d.changed || !d.tray.is_loaded());
        0x7F | if selected && changed { 0x80 } else { 0 }
    }

    fn write_data(&mut self, cx: &mut DevCx<'_>, value: u8) {
        if self.resetting {
            return;
        }
        match self.phase {
            Phase::Idle => {
                (self.params, self.received, self.phase) = ([value, 0, 0, 0, 0, 0, 0, 0, 0], 1, Phase::Command);
            }
            Phase::Command => {
                if let Some(p) = self.params.get_mut(usize::from(self.received)) {
                    *p = value;
                }
                self.received = self.received.saturating_add(1);
            }
            Phase::Execution if self.non_dma => return self.host_gives(cx, value),
            Phase::Execution | Phase::Result => return,
        }
        if usize::from(self.received) >= Command::of(self.params[0]).len() {
            self.execute(cx);
        }
    }

    fn read_data(&mut self, cx: &mut DevCx<'_>) -> u8 {
        match self.phase {
            Phase::Execution if self.non_dma => self.host_takes(cx),
            Phase::Result => {
                let byte = self.result.get(self.result_pos).copied().unwrap_or(0);
                self.result_pos += 1;
                self.set_irq(cx, false); // the first result byte takes the interrupt
                if self.result_pos >= self.result.len() {
                    self.result.clear();
                    (self.phase, self.result_pos) = (Phase::Idle, 0);
                    // A seek that ended meanwhile interrupts now.
                    if self.pending.iter().any(|&p| p != 0 && p & POLLED != POLLED) {
                        self.after_ns(cx, TAG_POLL, RESET_NS);
                    }
                }
                byte
            }
            _ => 0,
        }
    }
}

impl Device for Fdc {
    fn name(&self) -> &str {
        &self.name
    }

    fn reset(&mut self, cx: &mut DevCx<'_>) {
        self.lock = false;
        self.enter_reset(cx);
        (self.dor, self.tdr, self.rate, self.precompensation) = (0, 0, 2, 0);
        (self.step_rate, self.head_unload, self.head_load, self.non_dma) = (0, 0, 0, false);
        (self.perpendicular, self.last_eot, self.pcn, self.params) = (0, 0, [0; 4], [0; 9]);
    }

    #[inline]
    fn ports(&mut self) -> Option<&mut dyn PortDevice> {
        Some(self)
    }

    fn dma_client(&mut self) -> Option<&mut dyn DmaClient> {
        Some(self)
    }

    fn event(&mut self, cx: &mut DevCx<'_>, tag: u32) {
        match tag {
            TAG_EXEC => self.exec_event(cx),
            TAG_RESET => self.reset_done(cx),
            TAG_POLL => {
                if self.pending.iter().any(|&p| p != 0) {
                    self.set_irq(cx, true);
                }
            }
            TAG_BYTE => self.byte_due(cx),
            seek => self.seek_done(cx, (seek - TAG_SEEK) as usize & 3),
        }
    }

    fn restored(&mut self, cx: &mut DevCx<'_>) {
        self.drives.iter_mut().flatten().for_each(|d| d.tray.restored(cx));
    }

    fn input(&mut self, cx: &mut DevCx<'_>, input: &Input) -> bool {
        let (Input::Eject { drive: name } | Input::Insert { drive: name, .. }) = input else { return false };
        let Some(drive) = self.drives.iter_mut().flatten().find(|d| d.is_called(name)) else { return false };
        match input {
            Input::Insert { image, .. } => drive.insert(cx, *image),
            _ => drive.eject(cx),
        }
        true
    }
}

impl PortDevice for Fdc {
    fn read(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u16, size: u8) -> u32 {
        if (region, offset) == (REGION_MAIN, 5) {
            return self.read_data(cx).into();
        }
        self.peek(cx.now, region, offset, size)
    }

    fn write(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u16, _size: u8, value: u32) {
        let value = value as u8;
        match (region, offset) {
            (REGION_MAIN, 2) => self.write_dor(cx, value),
            (REGION_MAIN, 3) => self.tdr = value & 3,
            (REGION_MAIN, 4) => self.write_dsr(cx, value),
            (REGION_MAIN, 5) => self.write_data(cx, value),
            (REGION_DIR, _) => self.rate = value & 3,
            _ => {}
        }
    }

    fn steady_until(&self, _now: Ticks, _rate: ClockRate, region: u16, offset: u16) -> Option<Ticks> {
        ((region, offset) != (REGION_MAIN, 5)).then_some(Ticks::NEVER)
    }

    fn peek(&self, _now: Ticks, region: u16, offset: u16, _size: u8) -> u32 {
        match (region, offset) {
            (REGION_MAIN, 2) => self.dor.into(),
            (REGION_MAIN, 3) => (self.tdr | 0xFC).into(),
            (REGION_MAIN, 4) => self.msr().into(),
            (REGION_MAIN, 5) => self.result.get(self.result_pos).copied().unwrap_or(0).into(),
            (REGION_DIR, _) => self.dir().into(),
            _ => u32::MAX,
        }
    }
}

impl DmaClient for Fdc {
    fn dma_read(&mut self, cx: &mut DevCx<'_>) -> u16 {
        self.host_takes(cx).into()
    }

    fn dma_write(&mut self, cx: &mut DevCx<'_>, value: u16) {
        self.host_gives(cx, value as u8);
    }

    fn dma_terminal_count(&mut self, cx: &mut DevCx<'_>) {
        self.terminal_count(cx);
    }
}

impl State for Fdc {
    const TAG: [u8; 4] = *b"FDC ";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self {
            name: _,
            wires: _,
            drives,
            dor,
            tdr,
            rate,
            precompensation,
            resetting,
            phase,
            params,
            received,
            result,
            result_pos,
            step_rate,
            head_unload,
            head_load,
            non_dma,
            config,
            precompensation_track,
            lock,
            perpendicular,
            last_eot,
            pcn,
            pending,
            seeking,
            irq,
            dreq,
            transfer,
        } = self;
        w.field(1, &[*dor, *tdr, *rate, *precompensation, *phase as u8, *received, *step_rate, *head_unload]);
        w.field(2, &[*head_load, *config, *precompensation_track, *perpendicular, *last_eot]);
        w.field(3, &[*resetting, *non_dma, *lock, *irq, *dreq]);
        w.field(4, params);
        w.field(5, result);
        w.field(6, &(*result_pos as u32));
        w.field(7, &[*pcn, *pending, *seeking]);
        w.part(8, transfer);
        for (i, drive) in drives.iter().enumerate() {
            if let Some(d) = drive {
                w.part(9 + i as u8, d);
            }
        }
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let [dor, tdr, rate, precompensation, phase, received, step_rate, head_unload]: [u8; 8] = r.field(1)?;
        let phases = [Phase::Idle, Phase::Command, Phase::Execution, Phase::Result];
        self.phase = *phases.get(usize::from(phase)).ok_or_else(|| r.invalid("it has an unknown phase"))?;
        (self.dor, self.tdr, self.rate, self.precompensation) = (dor, tdr & 3, rate & 3, precompensation & 7);
        (self.received, self.step_rate, self.head_unload) = (received, step_rate & 15, head_unload & 15);
        let [head_load, config, precompensation_track, perpendicular, last_eot]: [u8; 5] = r.field(2)?;
        (self.head_load, self.config, self.precompensation_track) = (head_load & 0x7F, config, precompensation_track);
        (self.perpendicular, self.last_eot) = (perpendicular, last_eot);
        [self.resetting, self.non_dma, self.lock, self.irq, self.dreq] = r.field(3)?;
        self.params = r.field(4)?;
        self.result = r.field(5)?;
        self.result_pos = r.field::<u32>(6)? as usize;
        [self.pcn, self.pending, self.seeking] = r.field(7)?;
        if self.result.len() > 10 || self.result_pos > self.result.len() {
            return Err(r.invalid("its result is too long"));
        }
        r.part(8, &mut self.transfer)?;
        for (i, drive) in self.drives.iter_mut().enumerate() {
            if let Some(d) = drive {
                r.part(9 + i as u8, d)?;
            }
        }
        Ok(())
    }
}
