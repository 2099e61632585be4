//! A hard disk: the ATA-6 general and PIO feature sets, multiword DMA where the channel has a bus master.
//!
//! Left out: SMART, security, host protected area (SET MAX), power modes other than "active", READ/WRITE LONG and FORMAT
//! TRACK; all of them are aborted, as IDENTIFY DEVICE says.

use emu_core::block::{BlockBackend, BlockError, SECTOR_SIZE};
use emu_core::bus::DevCx;
use emu_core::state::{State, StateError, StateReader, StateWriter};

use super::busmaster::BusMaster;
use super::identify::{self, DiskFacts};
use super::port::{BLOCK_NS, COMMAND_NS, Phase, Port};
use super::taskfile::{ABRT, IDNF, TaskFile, UNC};
use crate::geometry::Geometry;
use crate::medium::Tray;

/// The largest block of READ/WRITE MULTIPLE.
pub(super) const MAX_MULTIPLE: u8 = 16;
/// Sectors moved in one piece by DMA.
const DMA_CHUNK: u32 = 64;

/// How a command gives its sector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Addressing {
    #[default]
    Chs,
    Lba28,
    Lba48,
}

/// A hard disk.
#[derive(Debug)]
pub(super) struct Disk {
    // Configuration
    serial: String,
    geometry: Geometry,
    // Sub-devices
    pub(super) tray: Tray,
    // State
    /// Heads and sectors of the translation in force.
    heads: u8,
    sectors: u8,
    /// Sectors in a block of READ/WRITE MULTIPLE; 0 = not set.
    multiple: u8,
    write_cache: bool,
    /// The transfer mode set last: 20h–22h are multiword DMA 0 to 2.
    mode: u8,
    addressing: Addressing,
    lba: u64,
    remaining: u32,
}

/// What a command moves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    ReadPio,
    WritePio,
    ReadDma,
    WriteDma,
    Verify,
}

/// Kind of a transfer command, whether it has a 48-bit address, and whether it moves blocks of several sectors.
fn transfer(command: u8) -> Option<(Kind, bool, bool)> {
    Some(match command {
        0x20 | 0x21 => (Kind::ReadPio, false, false),
        0x24 => (Kind::ReadPio, true, false),
        0xC4 => (Kind::ReadPio, false, true),
        0x29 => (Kind::ReadPio, true, true),
        0x30 | 0x31 | 0x3C => (Kind::WritePio, false, false),
        0x34 => (Kind::WritePio, true, false),
        0xC5 => (Kind::WritePio, false, true),
        0x39 => (Kind::WritePio, true, true),
        0x40 | 0x41 => (Kind::Verify, false, false),
        0x42 => (Kind::Verify, true, false),
        0xC8 | 0xC9 => (Kind::ReadDma, false, false),
        0x25 => (Kind::ReadDma, true, false),
        0xCA | 0xCB => (Kind::WriteDma, false, false),
        0x35 => (Kind::WriteDma, true, false),
        _ => return None,
    })
}

fn error_bits(error: &BlockError) -> u8 {
    match error {
        BlockError::OutOfRange(_) => IDNF,
        BlockError::ReadOnly => ABRT,
        BlockError::Host(_) => UNC,
    }
}

impl Disk {
    pub(super) fn new(serial: String, image: Box<dyn BlockBackend>, geometry: Option<Geometry>) -> Disk {
        let geometry = geometry.filter(|g| g.total() > 0).unwrap_or(Geometry::of_hard_disk(image.sectors()));
        Disk {
            serial,
            geometry,
            tray: Tray::new(Some(image)),
            heads: geometry.heads,
            sectors: geometry.sectors,
            multiple: 0,
            write_cache: true,
            mode: 0x22,
            addressing: Addressing::Chs,
            lba: 0,
            remaining: 0,
        }
    }

    pub(super) fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// A software reset keeps what SET FEATURES and INITIALIZE DEVICE PARAMETERS have set.
    pub(super) fn reset(&mut self, hardware: bool) {
        (self.lba, self.remaining, self.addressing) = (0, 0, Addressing::Chs);
        if hardware {
            (self.heads, self.sectors) = (self.geometry.heads, self.geometry.sectors);
            (self.multiple, self.write_cache, self.mode) = (0, true, 0x22);
        }
    }

    /// A command is written. Writes by PIO ask for their data at once, without an interrupt; returns whether that was so.
    pub(super) fn begin(&mut self, port: &mut Port) -> bool {
        if !matches!(transfer(port.command), Some((Kind::WritePio, ..))) {
            return false;
        }
        match self.set_up(port) {
            Ok(block) => port.accept(block as usize * SECTOR_SIZE),
            Err(error) => port.fail(error),
        }
        true
    }

    /// Reads address and count of a transfer command; returns the sectors of its first block.
    fn set_up(&mut self, port: &mut Port) -> Result<u32, u8> {
        let (kind, ext, multiple) = transfer(port.command).ok_or(ABRT)?;
        let dma = matches!(kind, Kind::ReadDma | Kind::WriteDma);
        if (multiple && self.multiple == 0) || (dma && !port.dma) {
            return Err(ABRT);
        }
        let [low, high] = port.regs.count;
        self.remaining = match (ext, u32::from(low) | u32::from(high) << 8) {
            (true, 0) => 0x1_0000,
            (true, n) => n,
            (false, _) if low == 0 => 256,
            (false, _) => low.into(),
        };
        self.lba = self.address(&port.regs, ext).filter(|&l| l < self.tray.sectors()).ok_or(IDNF)?;
        if matches!(kind, Kind::WritePio | Kind::WriteDma) && self.tray.read_only() {
            return Err(ABRT);
        }
        Ok(self.block(port.command))
    }

    /// Sectors of the next block.
    fn block(&self, command: u8) -> u32 {
        let multiple = matches!(transfer(command), Some((_, _, true)));
        self.remaining.min(if multiple { self.multiple.max(1).into() } else { 1 })
    }

    fn address(&mut self, regs: &TaskFile, ext: bool) -> Option<u64> {
        if ext {
            self.addressing = Addressing::Lba48;
            return Some(regs.lba48());
        }
        if regs.device & 0x40 != 0 {
            self.addressing = Addressing::Lba28;
            return Some(regs.lba28());
        }
        self.addressing = Addressing::Chs;
        let translation = Geometry { cylinders: u16::MAX, heads: self.heads, sectors: self.sectors };
        translation.lba(regs.cylinder(), regs.device & 15, regs.low[0])
    }

    /// Shows sector `lba`, and how many sectors are left, in the registers.
    fn show(&self, regs: &mut TaskFile, lba: u64) {
        let [low, high, ..] = self.remaining.to_le_bytes();
        regs.count = [low, high];
        match self.addressing {
            Addressing::Lba48 => regs.set_lba48(lba),
            Addressing::Lba28 => regs.set_lba28(lba),
            Addressing::Chs => {
                let (heads, sectors) = (u64::from(self.heads.max(1)), u64::from(self.sectors.max(1)));
                let track = lba / sectors;
                regs.low[0] = (lba % sectors + 1) as u8;
                regs.device = regs.device & 0xF0 | (track % heads) as u8 & 15;
                regs.set_cylinder((track / heads) as u16);
            }
        }
    }

    /// `n` sectors have been moved.
    fn advance(&mut self, regs: &mut TaskFile, n: u32) {
        self.lba = self.lba.saturating_add(n.into());
        self.remaining = self.remaining.saturating_sub(n);
        self.show(regs, self.lba.saturating_sub(1));
    }

    fn fail(&self, port: &mut Port, error: u8) {
        if error & (IDNF | UNC) != 0 {
            self.show(&mut port.regs, self.lba.min(self.tray.sectors()));
        }
        port.fail(error);
    }

    fn read(&mut self, sectors: u32) -> Result<Vec<u8>, u8> {
        let mut data = vec![0; sectors as usize * SECTOR_SIZE];
        let lba = self.lba;
        let image = self.tray.medium().ok_or(ABRT)?;
        image.read(lba, &mut data).map_err(|e| error_bits(&e))?;
        Ok(data)
    }

    fn write(&mut self, data: &[u8]) -> Result<(), u8> {
        let lba = self.lba;
        let image = self.tray.medium().ok_or(ABRT)?;
        image.write(lba, data).map_err(|e| error_bits(&e))
    }

    /// The host has read a whole block.
    pub(super) fn drained(&mut self, port: &mut Port, cx: &mut DevCx<'_>) {
        if self.remaining > 0 && transfer(port.command).is_some() {
            port.busy(cx, Phase::NextIn, BLOCK_NS);
        } else {
            port.idle(); // the last block of a read ends without an interrupt
        }
    }

    /// The time of the present phase is over.
    pub(super) fn event(&mut self, port: &mut Port) {
        match port.phase {
            Phase::Start => self.start(port),
            Phase::NextIn => self.fetch(port),
            Phase::Filled => self.store(port),
            Phase::DmaEnd => port.finish(),
            _ => {}
        }
    }

    fn start(&mut self, port: &mut Port) {
        let Some((kind, ..)) = transfer(port.command) else {
            return match self.control_command(port) {
                Ok(Some(data)) => port.offer(data),
                Ok(None) => port.finish(),
                Err(error) => port.fail(error),
            };
        };
        match (self.set_up(port), kind) {
            (Err(error), _) => self.fail(port, error),
            (Ok(_), Kind::ReadDma | Kind::WriteDma) => port.await_dma(),
            (Ok(_), Kind::Verify) => self.verify(port),
            (Ok(_), _) => self.fetch(port),
        }
    }

    /// Makes the next block of a read.
    fn fetch(&mut self, port: &mut Port) {
        let n = self.block(port.command);
        match self.read(n) {
            Ok(data) => {
                self.advance(&mut port.regs, n);
                port.offer(data);
            }
            Err(error) => self.fail(port, error),
        }
    }

    /// Writes the block that the host has filled.
    fn store(&mut self, port: &mut Port) {
        let n = (port.buffer.len() / SECTOR_SIZE) as u32;
        if let Err(error) = self.write(&port.buffer) {
            return self.fail(port, error);
        }
        self.advance(&mut port.regs, n);
        if self.remaining > 0 {
            port.accept(self.block(port.command) as usize * SECTOR_SIZE);
            port.interrupt = true;
        } else {
            port.finish();
        }
    }

    fn verify(&mut self, port: &mut Port) {
        while self.remaining > 0 {
            let n = self.remaining.min(DMA_CHUNK);
            if let Err(error) = self.read(n) {
                return self.fail(port, error);
            }
            self.advance(&mut port.regs, n);
        }
        port.finish();
    }

    /// Moves the whole transfer through the bus master. A table that is too short leaves the drive waiting.
    pub(super) fn run_dma(&mut self, port: &mut Port, cx: &mut DevCx<'_>, bus_master: &mut BusMaster) {
        let to_memory = matches!(transfer(port.command), Some((Kind::ReadDma, ..)));
        if !bus_master.ready(to_memory) {
            return;
        }
        let all = self.remaining;
        while self.remaining > 0 {
            let n = self.remaining.min(DMA_CHUNK);
            let moved = if to_memory {
                self.read(n).map(|data| bus_master.scatter(cx, &data))
            } else {
                let mut data = vec![0; n as usize * SECTOR_SIZE];
                if bus_master.gather(cx, &mut data) { self.write(&data).map(|()| true) } else { Ok(false) }
            };
            match moved {
                Ok(true) => self.advance(&mut port.regs, n),
                Ok(false) => return,
                Err(error) => return self.fail(port, error),
            }
        }
        bus_master.finish();
        port.busy(cx, Phase::DmaEnd, COMMAND_NS + BLOCK_NS * u64::from(all));
    }

    /// Commands that move no sectors; returns data for the host, if they have any.
    fn control_command(&mut self, port: &mut Port) -> Result<Option<Vec<u8>>, u8> {
        let regs = &mut port.regs;
        match port.command {
            0x10..=0x1F => regs.set_cylinder(0), // RECALIBRATE
            0x70..=0x7F => {
                // SEEK
                self.address(regs, false).filter(|&l| l < self.tray.sectors()).ok_or(IDNF)?;
            }
            0x91 => self.initialize_parameters(regs)?,
            0xC6 => {
                let n = regs.count[0];
                if n > MAX_MULTIPLE || !(n == 0 || n.is_power_of_two()) {
                    return Err(ABRT);
                }
                self.multiple = n;
            }
            0x94..=0x97 | 0x99 | 0xE0..=0xE3 | 0xE6 => {} // STANDBY, IDLE, SLEEP: this disk always spins
            0x98 | 0xE5 => regs.count[0] = 0xFF,          // CHECK POWER MODE: active
            0xE7 | 0xEA => self.tray.medium().map_or(Ok(()), |i| i.flush()).map_err(|e| error_bits(&e))?,
            0xEC => return Ok(Some(self.identify(port.dma))),
            0xEF => self.set_features(regs)?,
            0xF8 => regs.set_lba28((self.tray.sectors().saturating_sub(1)).min(0x0FFF_FFFF)),
            0x27 => regs.set_lba48(self.tray.sectors().saturating_sub(1)),
            _ => return Err(ABRT), // NOP among them
        }
        Ok(None)
    }

    fn initialize_parameters(&mut self, regs: &TaskFile) -> Result<(), u8> {
        if regs.count[0] == 0 {
            return Err(ABRT);
        }
        (self.heads, self.sectors) = ((regs.device & 15) + 1, regs.count[0]);
        Ok(())
    }

    fn set_features(&mut self, regs: &TaskFile) -> Result<(), u8> {
        match regs.features[0] {
            0x02 => self.write_cache = true,
            0x82 => self.write_cache = false,
            0x03 => match regs.count[0] {
                0x00 | 0x01 | 0x08..=0x0C => {}
                mode @ 0x20..=0x22 => self.mode = mode,
                _ => return Err(ABRT),
            },
            0x55 | 0xAA | 0x66 | 0xCC => {} // look-ahead, and whether a software reset restores defaults
            _ => return Err(ABRT),
        }
        Ok(())
    }

    fn identify(&self, dma: bool) -> Vec<u8> {
        identify::disk(&DiskFacts {
            serial: &self.serial,
            total: self.tray.sectors(),
            geometry: self.geometry,
            heads: self.heads,
            sectors: self.sectors,
            multiple: self.multiple,
            write_cache: self.write_cache,
            dma_mode: dma.then_some(self.mode & 3),
        })
    }
}

impl State for Disk {
    const TAG: [u8; 4] = *b"ATDK";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self {
            serial: _,
            geometry: _,
            tray,
            heads,
            sectors,
            multiple,
            write_cache,
            mode,
            addressing,
            lba,
            remaining,
        } = self;
        w.part(1, tray);
        w.field(2, &[*heads, *sectors, *multiple, *mode, *addressing as u8]);
        w.field(3, write_cache);
        w.field(4, lba);
        w.field(5, remaining);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        r.part(1, &mut self.tray)?;
        let [heads, sectors, multiple, mode, addressing]: [u8; 5] = r.field(2)?;
        self.write_cache = r.field(3)?;
        self.lba = r.field(4)?;
        self.remaining = r.field(5)?;
        let modes = [Addressing::Chs, Addressing::Lba28, Addressing::Lba48];
        self.addressing = *modes.get(usize::from(addressing)).ok_or_else(|| r.invalid("unknown addressing"))?;
        if heads == 0 || sectors == 0 || multiple > MAX_MULTIPLE || self.remaining > 0x1_0000 {
            return Err(r.invalid("a transfer of a size that no command has"));
        }
        (self.heads, self.sectors, self.multiple, self.mode) = (heads, sectors, multiple, mode);
        Ok(())
    }
}
