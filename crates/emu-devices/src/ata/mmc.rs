//! The packet commands of a CD-ROM drive [MMC-3, SPC-2, SFF-8020i] with a disc of one data track.
//!
//! Left out: audio, sub-channels other than the position, raw sectors: READ CD gives user data only.

use emu_core::bus::DevCx;

use super::cdrom::Cdrom;

/// Media event: a disc has been put in.
pub(super) const EVENT_NEW: u8 = 2;
/// Media event: the disc has been taken out.
pub(super) const EVENT_REMOVED: u8 = 3;

/// Sense key, additional code and its qualifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sense {
    pub(super) key: u8,
    pub(super) code: u8,
    pub(super) qualifier: u8,
}

impl Sense {
    const fn new(key: u8, code: u8, qualifier: u8) -> Sense {
        Sense { key, code, qualifier }
    }
    pub(super) const NO_MEDIUM: Sense = Sense::new(2, 0x3A, 0);
    pub(super) const READ_ERROR: Sense = Sense::new(3, 0x11, 0);
    const INVALID_COMMAND: Sense = Sense::new(5, 0x20, 0);
    const OUT_OF_RANGE: Sense = Sense::new(5, 0x21, 0);
    pub(super) const INVALID_FIELD: Sense = Sense::new(5, 0x24, 0);
    const REMOVAL_PREVENTED: Sense = Sense::new(5, 0x53, 2);
    const NEW_MEDIUM: Sense = Sense::new(6, 0x28, 0);
    const WAS_RESET: Sense = Sense::new(6, 0x29, 0);
}

/// What a command sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Nothing,
    Data(Vec<u8>),
    /// Blocks of the disc: the first one, and how many.
    Blocks(u32, u32),
}

fn be16(p: &[u8; 12], at: usize) -> u16 {
    u16::from_be_bytes([p[at], p[at + 1]])
}

fn be32(p: &[u8; 12], at: usize) -> u32 {
    u32::from_be_bytes([p[at], p[at + 1], p[at + 2], p[at + 3]])
}

/// `data`, no longer than the host has allocated for it.
fn cut(mut data: Vec<u8>, allocated: u16) -> Result<Reply, Sense> {
    data.truncate(allocated.into());
    Ok(if data.is_empty() { Reply::Nothing } else { Reply::Data(data) })
}

/// An address as four bytes: plain, or minute, second and frame, which start two seconds before block 0.
fn address(lba: u32, msf: bool) -> [u8; 4] {
    if !msf {
        return lba.to_be_bytes();
    }
    let frames = lba.saturating_add(150);
    [0, (frames / (75 * 60)).min(255) as u8, (frames / 75 % 60) as u8, (frames % 75) as u8]
}

impl Cdrom {
    /// Carries out a packet.
    pub(super) fn execute(&mut self, cx: &mut DevCx<'_>, p: &[u8; 12]) -> Result<Reply, Sense> {
        // These never report a unit attention [SPC-2 5.9.4, MMC-3 6.6].
        if !matches!(p[0], 0x03 | 0x12 | 0x46 | 0x4A)
            && let Some(attention) = self.take_attention()
        {
            return Err(attention);
        }
        match p[0] {
            0x00 => self.ready().map(|()| Reply::Nothing), // TEST UNIT READY
            0x03 => self.request_sense(p),
            0x12 => inquiry(p),
            0x1B => self.start_stop(cx, p),
            0x1E => {
                self.locked = p[4] & 1 != 0; // PREVENT ALLOW MEDIUM REMOVAL
                Ok(Reply::Nothing)
            }
            0x25 => self.read_capacity(),
            0x28 => self.blocks(be32(p, 2), be16(p, 7).into()), // READ (10)
            0xA8 => self.blocks(be32(p, 2), be32(p, 6)),        // READ (12)
            0x2B => self.blocks(be32(p, 2), 0),                 // SEEK
            0x42 => self.read_subchannel(p),
            0x43 => self.read_toc(p),
            0x46 => self.get_configuration(p),
            0x4A => self.get_event_status(p),
            0x51 => self.read_disc_information(p),
            0x5A => self.mode_sense(p),
            0xBD => cut(vec![0; 8], be16(p, 8)), // MECHANISM STATUS: no changer
            0xBE => self.read_cd(p),
            _ => Err(Sense::INVALID_COMMAND),
        }
    }

    fn take_attention(&mut self) -> Option<Sense> {
        if core::mem::take(&mut self.reset_attention) {
            return Some(Sense::WAS_RESET);
        }
        core::mem::take(&mut self.media_attention).then_some(Sense::NEW_MEDIUM)
    }

    fn ready(&self) -> Result<(), Sense> {
        if self.tray.is_loaded() { Ok(()) } else { Err(Sense::NO_MEDIUM) }
    }

    fn request_sense(&mut self, p: &[u8; 12]) -> Result<Reply, Sense> {
        let sense = match core::mem::take(&mut self.sense) {
            Sense { key: 0, .. } => self.take_attention().unwrap_or_default(),
            sense => sense,
        };
        let mut data = vec![0; 18];
        (data[0], data[2], data[7], data[12], data[13]) = (0x70, sense.key, 10, sense.code, sense.qualifier);
        cut(data, p[4].into())
    }

    fn start_stop(&mut self, cx: &mut DevCx<'_>, p: &[u8; 12]) -> Result<Reply, Sense> {
        const LOAD_EJECT: u8 = 2;
        const START: u8 = 1;
        if p[4] & (LOAD_EJECT | START) == LOAD_EJECT {
            if self.locked {
                return Err(Sense::REMOVAL_PREVENTED);
            }
            self.eject(cx);
        }
        Ok(Reply::Nothing)
    }

    fn read_capacity(&self) -> Result<Reply, Sense> {
        self.ready()?;
        let mut data = self.capacity().saturating_sub(1).to_be_bytes().to_vec();
        data.extend_from_slice(&2048u32.to_be_bytes());
        Ok(Reply::Data(data))
    }

    fn blocks(&self, lba: u32, n: u32) -> Result<Reply, Sense> {
        self.ready()?;
        match lba.checked_add(n) {
            Some(end) if end <= self.capacity() && (lba < self.capacity() || n == 0) => {}
            _ => return Err(Sense::OUT_OF_RANGE),
        }
        Ok(if n == 0 { Reply::Nothing } else { Reply::Blocks(lba, n) })
    }

    fn read_cd(&self, p: &[u8; 12]) -> Result<Reply, Sense> {
        let n = u32::from_be_bytes([0, p[6], p[7], p[8]]);
        match (p[9] & 0xF8, p[10] & 7) {
            (0, 0) => self.blocks(be32(p, 2), 0),
            (0x10, 0) => self.blocks(be32(p, 2), n),
            _ => Err(Sense::INVALID_FIELD),
        }
    }

    fn read_subchannel(&self, p: &[u8; 12]) -> Result<Reply, Sense> {
        self.ready()?;
        let mut data = vec![0, 0x15, 0, 0]; // no audio status
        if p[2] & 0x40 != 0 {
            match p[3] {
                1 => {
                    data[3] = 12;
                    data.extend_from_slice(&[1, 0x14, 1, 1]);
                    data.extend_from_slice(&address(0, p[1] & 2 != 0));
                    data.extend_from_slice(&address(0, p[1] & 2 != 0));
                }
                2 | 3 => {
                    data[3] = 20;
                    data.extend_from_slice(&[p[3], 0x14, 1, 0]);
                    data.resize(24, 0);
                }
                _ => return Err(Sense::INVALID_FIELD),
            }
        }
        cut(data, be16(p, 7))
    }

    fn read_toc(&self, p: &[u8; 12]) -> Result<Reply, Sense> {
        self.ready()?;
        let (msf, start) = (p[1] & 2 != 0, p[6]);
        // Format in byte 2; drives before MMC have it in the upper bits of byte 9.
        let format = if p[2] & 15 != 0 { p[2] & 15 } else { p[9] >> 6 };
        let mut data = vec![0, 0, 1, 1];
        let track = |data: &mut Vec<u8>, number: u8, lba: u32| {
            data.extend_from_slice(&[0, 0x14, number, 0]);
            data.extend_from_slice(&address(lba, msf));
        };
        match format {
            0 => {
                if start > 1 && start != 0xAA {
                    return Err(Sense::INVALID_FIELD);
                }
                if start <= 1 {
                    track(&mut data, 1, 0);
                }
                track(&mut data, 0xAA, self.capacity());
            }
            1 => track(&mut data, 1, 0), // the only session starts with track 1
            2 => {
                for (point, place) in [(0xA0, [1, 0, 0]), (0xA1, [1, 0, 0])] {
                    data.extend_from_slice(&[1, 0x14, 0, point, 0, 0, 0, 0]);
                    data.extend_from_slice(&place);
                }
                for (point, lba) in [(0xA2, self.capacity()), (1, 0)] {
                    data.extend_from_slice(&[1, 0x14, 0, point, 0, 0, 0]);
                    data.extend_from_slice(&address(lba, true));
                }
            }
            _ => return Err(Sense::INVALID_FIELD),
        }
        let len = (data.len() - 2) as u16;
        data[..2].copy_from_slice(&len.to_be_bytes());
        cut(data, be16(p, 7))
    }

    fn get_configuration(&self, p: &[u8; 12]) -> Result<Reply, Sense> {
        let current = u8::from(self.tray.is_loaded());
        // Feature code, version/persistent/current, data [MMC-3 5.3].
        let features: [(u16, u8, &[u8]); 5] = [
            (0x0000, 3, &[0, 8, current, 0]),             // profiles: CD-ROM
            (0x0001, 3, &[0, 0, 0, 2]),                   // core: ATAPI
            (0x0003, 3, &[0x29, 0, 0, 0]),                // removable: tray, eject, lock
            (0x0010, current, &[0, 0, 8, 0, 0, 1, 0, 0]), // random readable
            (0x001E, current, &[0, 0, 0, 0]),             // CD read
        ];
        let (which, start) = (p[1] & 3, be16(p, 2));
        let mut data = vec![0, 0, 0, 0, 0, 0, 0, 8 * current];
        for (code, flags, bytes) in features {
            let wanted = match which {
                0 => code >= start,
                1 => code >= start && flags & 1 != 0,
                2 => code == start,
                _ => return Err(Sense::INVALID_FIELD),
            };
            if wanted {
                data.extend_from_slice(&code.to_be_bytes());
                data.extend_from_slice(&[flags, bytes.len() as u8]);
                data.extend_from_slice(bytes);
            }
        }
        let len = (data.len() - 4) as u32;
        data[..4].copy_from_slice(&len.to_be_bytes());
        cut(data, be16(p, 7))
    }

    fn get_event_status(&mut self, p: &[u8; 12]) -> Result<Reply, Sense> {
        const MEDIA_CLASS: u8 = 4;
        if p[1] & 1 == 0 {
            return Err(Sense::INVALID_FIELD); // only polling
        }
        if p[4] & 1 << MEDIA_CLASS == 0 {
            return cut(vec![0, 2, 0x80, 1 << MEDIA_CLASS], be16(p, 7));
        }
        let status = if self.tray.is_loaded() { 2 } else { 0 };
        let event = if be16(p, 7) > 4 { core::mem::take(&mut self.media_event) } else { 0 };
        cut(vec![0, 6, MEDIA_CLASS, 1 << MEDIA_CLASS, event, status, 0, 0], be16(p, 7))
    }

    fn read_disc_information(&self, p: &[u8; 12]) -> Result<Reply, Sense> {
        self.ready()?;
        let mut data = vec![0; 34];
        data[1] = 32;
        data[2] = 0x0E; // finalised, last session complete
        (data[3], data[4], data[5], data[6]) = (1, 1, 1, 1); // first track, sessions, tracks of the last session
        data[7] = 0x20; // unrestricted use
        cut(data, be16(p, 7))
    }

    fn mode_sense(&self, p: &[u8; 12]) -> Result<Reply, Sense> {
        let (control, page) = (p[2] >> 6, p[2] & 0x3F);
        let locked = u8::from(self.locked) << 1;
        let pages: [&[u8]; 4] = [
            &[0x01, 6, 0, 5, 0, 0, 0, 0],
            &[0x0D, 6, 0, 13, 0, 60, 0, 75],
            &[0x0E, 14, 4, 0, 0, 0, 0, 75, 1, 255, 2, 255, 0, 0, 0, 0],
            // Capabilities: reads CD-R; mode 2; tray, eject, lock; 5645 KB/s (32x)
            &[0x2A, 18, 1, 0, 0x30, 0, 0x29 | locked, 0, 0x16, 0x0D, 0, 2, 0, 128, 0x16, 0x0D, 0, 0, 0, 0],
        ];
        if control == 3 {
            return Err(Sense::new(5, 0x39, 0)); // no saved values
        }
        let medium = if self.tray.is_loaded() { 0x01 } else { 0x70 };
        let mut data = vec![0, 0, medium, 0, 0, 0, 0, 0];
        for bytes in pages.into_iter().filter(|b| page == 0x3F || b[0] == page) {
            data.extend_from_slice(&bytes[..2]);
            // Control 1 asks which values can be changed: none.
            data.extend(bytes[2..].iter().map(|&b| if control == 1 { 0 } else { b }));
        }
        if data.len() == 8 {
            return Err(Sense::INVALID_FIELD);
        }
        data[1] = (data.len() - 2) as u8;
        cut(data, be16(p, 7))
    }
}

fn inquiry(p: &[u8; 12]) -> Result<Reply, Sense> {
    if p[1] & 1 != 0 {
        return Err(Sense::INVALID_FIELD); // no vital product data
    }
    let mut data = vec![0x05, 0x80, 0x00, 0x21, 31, 0, 0, 0];
    data.extend_from_slice(b"EMU     CD-ROM          1.0 ");
    cut(data, p[4].into())
}
