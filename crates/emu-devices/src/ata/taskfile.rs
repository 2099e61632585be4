//! The command block registers of one drive [ATA-6 7].

use emu_core::state::{State, StateError, StateReader, StateWriter};

pub(super) const BSY: u8 = 1 << 7;
pub(super) const DRDY: u8 = 1 << 6;
/// Device seek complete, as drives up to ATA-3 show it.
pub(super) const DSC: u8 = 1 << 4;
pub(super) const DRQ: u8 = 1 << 3;
pub(super) const ERR: u8 = 1 << 0;
/// A disk that waits for commands.
pub(super) const READY: u8 = DRDY | DSC;

/// Error register: command aborted.
pub(super) const ABRT: u8 = 1 << 2;
/// Error register: no such sector.
pub(super) const IDNF: u8 = 1 << 4;
/// Error register: the sector can't be read.
pub(super) const UNC: u8 = 1 << 6;

/// Registers that hold two bytes keep the newest first; the older one is read with HOB [ATA-6 6.20].
#[derive(Clone, Debug, Default)]
pub(super) struct TaskFile {
    pub(super) features: [u8; 2],
    pub(super) count: [u8; 2],
    pub(super) low: [u8; 2],
    pub(super) mid: [u8; 2],
    pub(super) high: [u8; 2],
    pub(super) device: u8,
    pub(super) status: u8,
    pub(super) error: u8,
}

fn pair(reg: [u8; 2]) -> u64 {
    u64::from(reg[0]) | u64::from(reg[1]) << 24
}

impl TaskFile {
    /// A host's write of register `n` (1 to 5).
    pub(super) fn write(&mut self, n: u16, value: u8) {
        let reg = match n {
            1 => &mut self.features,
            2 => &mut self.count,
            3 => &mut self.low,
            4 => &mut self.mid,
            5 => &mut self.high,
            _ => return,
        };
        *reg = [value, reg[0]];
    }

    /// A host's read of register `n` (1 to 7); `hob` selects the older bytes.
    pub(super) fn read(&self, n: u16, hob: bool) -> u8 {
        let i = usize::from(hob);
        match n {
            1 => self.error,
            2 => self.count[i],
            3 => self.low[i],
            4 => self.mid[i],
            5 => self.high[i],
            6 => self.device | 0xA0,
            _ => self.status,
        }
    }

    /// The 48-bit sector number.
    pub(super) fn lba48(&self) -> u64 {
        pair(self.low) | pair(self.mid) << 8 | pair(self.high) << 16
    }

    /// Shows a 48-bit sector number.
    pub(super) fn set_lba48(&mut self, lba: u64) {
        let b = lba.to_le_bytes();
        (self.low, self.mid, self.high) = ([b[0], b[3]], [b[1], b[4]], [b[2], b[5]]);
    }

    /// The 28-bit sector number.
    pub(super) fn lba28(&self) -> u64 {
        u32::from_le_bytes([self.low[0], self.mid[0], self.high[0], self.device & 15]).into()
    }

    /// Shows a 28-bit sector number.
    pub(super) fn set_lba28(&mut self, lba: u64) {
        let b = lba.to_le_bytes();
        (self.low[0], self.mid[0], self.high[0]) = (b[0], b[1], b[2]);
        self.device = self.device & 0xF0 | b[3] & 15;
    }

    /// The cylinder, of a CHS address; for packet devices the byte count.
    pub(super) fn cylinder(&self) -> u16 {
        u16::from_le_bytes([self.mid[0], self.high[0]])
    }

    /// Shows a cylinder or byte count.
    pub(super) fn set_cylinder(&mut self, cylinder: u16) {
        [self.mid[0], self.high[0]] = cylinder.to_le_bytes();
    }

    /// The signature that tells a disk from a packet device after a reset [ATA-6 9.12].
    pub(super) fn sign(&mut self, packet: bool) {
        (self.count, self.low) = ([1, 0], [1, 0]);
        (self.mid, self.high) = if packet { ([0x14, 0], [0xEB, 0]) } else { ([0, 0], [0, 0]) };
        self.device &= 0x10;
        self.error = 1;
        self.status = if packet { 0 } else { READY };
    }
}

impl State for TaskFile {
    const TAG: [u8; 4] = *b"ATTF";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { features, count, low, mid, high, device, status, error } = self;
        w.field(1, &[*features, *count, *low, *mid, *high]);
        w.field(2, &[*device, *status, *error]);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        [self.features, self.count, self.low, self.mid, self.high] = r.field(1)?;
        [self.device, self.status, self.error] = r.field(2)?;
        Ok(())
    }
}
