//! A CD-ROM drive: PACKET command protocol [ATA-6 9.8], by PIO or multiword DMA. What the packets mean is in
//! [`super::mmc`].

use emu_core::block::BlockBackend;
use emu_core::bus::DevCx;
use emu_core::state::{State, StateError, StateReader, StateWriter};

use super::busmaster::BusMaster;
use super::identify;
use super::mmc::{self, Reply, Sense};
use super::port::{BLOCK_NS, COMMAND_NS, Phase, Port};
use super::taskfile::ABRT;
use crate::medium::Tray;

/// Bytes of a block, in sectors of the image.
const SECTORS_PER_BLOCK: u64 = 4;
/// Bytes of a block.
pub(super) const BLOCK: usize = 2048;
/// Blocks read in one piece; their bytes fit the 16-bit byte count.
const MAX_PIECE: u32 = 31;

const PACKET: u8 = 0xA0;
const IDENTIFY_PACKET_DEVICE: u8 = 0xA1;
/// Interrupt reason: the packet is expected.
const REASON_COMMAND: u8 = 1;
/// Interrupt reason: data for the host.
const REASON_TO_HOST: u8 = 2;
/// Interrupt reason: the command is done.
const REASON_STATUS: u8 = 3;

/// A CD-ROM drive.
#[derive(Debug)]
pub(super) struct Cdrom {
    // Configuration
    /// The name by which inputs call it, and its serial number.
    name: String,
    // Sub-devices
    pub(super) tray: Tray,
    // State
    pub(super) sense: Sense,
    /// A reset that no command has reported yet.
    pub(super) reset_attention: bool,
    /// A new medium that no command has reported yet.
    pub(super) media_attention: bool,
    /// Code of the media event that GET EVENT STATUS NOTIFICATION reports next [MMC-3 5.6.2].
    pub(super) media_event: u8,
    pub(super) locked: bool,
    dma: bool,
    mode: u8,
    /// Largest piece that the host takes at once.
    limit: u16,
    /// What is to be sent, and how much of it has been.
    data: Vec<u8>,
    sent: usize,
    /// Blocks that are to be read after that.
    lba: u32,
    blocks: u32,
}

impl Cdrom {
    pub(super) fn new(name: String, disc: Option<Box<dyn BlockBackend>>) -> Cdrom {
        Cdrom {
            name,
            tray: Tray::new(disc),
            sense: Sense::default(),
            reset_attention: true,
            media_attention: false,
            media_event: 0,
            locked: false,
            dma: false,
            mode: 0x22,
            limit: 0,
            data: Vec::new(),
            sent: 0,
            lba: 0,
            blocks: 0,
        }
    }

    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name == name
    }

    /// Blocks on the disc.
    pub(super) fn capacity(&self) -> u32 {
        u32::try_from(self.tray.sectors() / SECTORS_PER_BLOCK).unwrap_or(u32::MAX)
    }

    pub(super) fn reset(&mut self) {
        (self.sense, self.reset_attention, self.locked) = (Sense::default(), true, false);
        self.drop_data();
    }

    fn drop_data(&mut self) {
        self.data.clear();
        (self.sent, self.blocks) = (0, 0);
    }

    /// Someone takes the disc out by hand.
    pub(super) fn eject(&mut self, cx: &mut DevCx<'_>) {
        if self.tray.eject(cx) {
            (self.media_event, self.media_attention) = (mmc::EVENT_REMOVED, false);
        }
    }

    /// Someone puts a disc in.
    pub(super) fn insert(&mut self, cx: &mut DevCx<'_>, image: u32) {
        self.eject(cx);
        if self.tray.insert(cx, image) {
            (self.media_event, self.media_attention) = (mmc::EVENT_NEW, true);
        }
    }

    /// A command is written. PACKET asks for the packet at once, without an interrupt; returns whether that was so.
    pub(super) fn begin(&mut self, port: &mut Port) -> bool {
        if port.command != PACKET {
            return false;
        }
        self.drop_data();
        self.dma = port.regs.features[0] & 1 != 0;
        self.limit = port.regs.cylinder();
        if self.dma && !port.dma {
            self.check_condition(port, Sense::INVALID_FIELD);
        } else {
            port.accept(12);
            port.regs.count[0] = REASON_COMMAND;
        }
        true
    }

    /// The host has read a whole piece.
    pub(super) fn drained(port: &mut Port, cx: &mut DevCx<'_>) {
        if port.command == PACKET {
            port.busy(cx, Phase::NextIn, BLOCK_NS);
        } else {
            port.idle();
        }
    }

    /// The time of the present phase is over.
    pub(super) fn event(&mut self, port: &mut Port, cx: &mut DevCx<'_>) {
        match port.phase {
            Phase::Start => self.ata_command(port),
            Phase::Filled => self.packet(port, cx),
            Phase::NextIn => self.next_piece(port),
            Phase::DmaEnd => complete(port),
            _ => {}
        }
    }

    /// Commands other than PACKET. Those of disks put the signature into the registers [ATA-6 9.12].
    fn ata_command(&mut self, port: &mut Port) {
        match (port.command, port.regs.features[0], port.regs.count[0]) {
            (IDENTIFY_PACKET_DEVICE, ..) => {
                return port.offer(identify::cdrom(&self.name, port.dma.then_some(self.mode & 3)));
            }
            (0xE0..=0xE3 | 0xE6, ..) => {}
            (0xE5, ..) => port.regs.count[0] = 0xFF,
            (0xEF, 0x03, 0x00 | 0x01 | 0x08..=0x0C) => {}
            (0xEF, 0x03, mode @ 0x20..=0x22) => self.mode = mode,
            (0xEC | 0x20 | 0x21 | 0x24 | 0xC4, ..) => {
                port.regs.sign(true);
                return port.fail(ABRT);
            }
            _ => return port.fail(ABRT),
        }
        port.finish();
    }

    fn packet(&mut self, port: &mut Port, cx: &mut DevCx<'_>) {
        let mut packet = [0; 12];
        packet.iter_mut().zip(&port.buffer).for_each(|(p, b)| *p = *b);
        match self.execute(cx, &packet) {
            Ok(Reply::Nothing) => return complete(port),
            Ok(Reply::Data(data)) => (self.data, self.sent) = (data, 0),
            Ok(Reply::Blocks(lba, blocks)) => (self.lba, self.blocks) = (lba, blocks),
            Err(sense) => return self.check_condition(port, sense),
        }
        if self.dma && (!self.data.is_empty() || self.blocks > 0) {
            port.regs.count[0] = REASON_TO_HOST;
            port.await_dma();
        } else {
            self.next_piece(port);
        }
    }

    /// Reads on when all that was read has been sent.
    fn refill(&mut self, at_most: u32) -> Result<(), Sense> {
        if self.sent < self.data.len() || self.blocks == 0 {
            return Ok(());
        }
        let n = self.blocks.min(at_most.clamp(1, MAX_PIECE));
        let at = u64::from(self.lba) * SECTORS_PER_BLOCK;
        self.data.clear();
        self.data.resize(n as usize * BLOCK, 0);
        self.sent = 0;
        let disc = self.tray.medium().ok_or(Sense::NO_MEDIUM)?;
        disc.read(at, &mut self.data).map_err(|_| Sense::READ_ERROR)?;
        (self.lba, self.blocks) = (self.lba.saturating_add(n), self.blocks - n);
        Ok(())
    }

    /// Offers the next piece to the host, of no more bytes than it takes [ATA-6 8.23, byte count limit], or ends the
    /// command.
    fn next_piece(&mut self, port: &mut Port) {
        let limit = if matches!(self.limit, 0 | 0xFFFF) { 0xFFFE } else { usize::from(self.limit) };
        if let Err(sense) = self.refill((limit / BLOCK) as u32) {
            return self.check_condition(port, sense);
        }
        let left = &self.data[self.sent..];
        if left.is_empty() {
            return complete(port);
        }
        // Only the last piece may have an odd length.
        let n = if left.len() <= limit { left.len() } else { (limit & !1).max(2) };
        let piece = left[..n].to_vec();
        self.sent += n;
        port.regs.count[0] = REASON_TO_HOST;
        port.regs.set_cylinder(n as u16);
        port.offer(piece);
    }

    /// Moves all data through the bus master.
    pub(super) fn run_dma(&mut self, port: &mut Port, cx: &mut DevCx<'_>, bus_master: &mut BusMaster) {
        if !bus_master.ready(true) {
            return;
        }
        let pieces = u64::from(self.blocks) + 1;
        loop {
            if let Err(sense) = self.refill(MAX_PIECE) {
                return self.check_condition(port, sense);
            }
            if self.sent == self.data.len() {
                break;
            }
            if !bus_master.scatter(cx, &self.data[self.sent..]) {
                return;
            }
            self.sent = self.data.len();
        }
        bus_master.finish();
        port.busy(cx, Phase::DmaEnd, COMMAND_NS + BLOCK_NS * pieces);
    }

    fn check_condition(&mut self, port: &mut Port, sense: Sense) {
        self.sense = sense;
        self.drop_data();
        port.fail(sense.key << 4 | ABRT);
        port.regs.count[0] = REASON_STATUS;
    }
}

fn complete(port: &mut Port) {
    port.finish();
    port.regs.count[0] = REASON_STATUS;
}

impl State for Cdrom {
    const TAG: [u8; 4] = *b"ATCD";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self {
            name: _,
            tray,
            sense,
            reset_attention,
            media_attention,
            media_event,
            locked,
            dma,
            mode,
            limit,
            data,
            sent,
            lba,
            blocks,
        } = self;
        w.part(1, tray);
        w.field(2, &[sense.key, sense.code, sense.qualifier, *media_event, *mode]);
        w.field(3, &[*reset_attention, *media_attention, *locked, *dma]);
        w.field(4, limit);
        w.field(5, data);
        w.field(6, &[*sent as u32, *lba, *blocks]);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        r.part(1, &mut self.tray)?;
        let [key, code, qualifier, media_event, mode]: [u8; 5] = r.field(2)?;
        self.sense = Sense { key: key & 15, code, qualifier };
        (self.media_event, self.mode) = (media_event, mode);
        [self.reset_attention, self.media_attention, self.locked, self.dma] = r.field(3)?;
        self.limit = r.field(4)?;
        self.data = r.field(5)?;
        let [sent, lba, blocks]: [u32; 3] = r.field(6)?;
        (self.sent, self.lba, self.blocks) = (sent as usize, lba, blocks);
        if self.sent > self.data.len() || self.data.len() > MAX_PIECE as usize * BLOCK {
            return Err(r.invalid("it has sent more than it had"));
        }
        Ok(())
    }
}
