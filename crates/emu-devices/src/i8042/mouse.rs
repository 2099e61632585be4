//! A PS/2 mouse with a wheel [PS/2 HITR, "Mouse"; Microsoft IntelliMouse protocol: ids 3 and 4].
//!
//! Like the keyboard, it reports its self-test after a reset command only. Counts that do not fit into one packet wait for
//! the next one, so that the overflow bits are never set.

use std::collections::VecDeque;

use emu_core::{State, StateError, StateReader, StateWriter};

const ACK: u8 = 0xFA;
const ERROR: u8 = 0xFE;
const BAT_OK: u8 = 0xAA;
const RATES: [u8; 7] = [10, 20, 40, 60, 80, 100, 200];
/// Counts that wait, at the most.
const FAR: i32 = 0x3FFF;

/// The mouse.
#[derive(Debug)]
pub(super) struct Mouse {
    /// Device id: 0 plain, 3 with a wheel, 4 with five buttons.
    id: u8,
    remote: bool,
    wrapping: bool,
    reporting: bool,
    double: bool,
    resolution: u8,
    rate: u8,
    /// The last three sample rates: a knock at the door of the wheel.
    knock: [u8; 3],
    /// A command that waits for its argument; 0 if none does.
    awaiting: u8,
    /// Counts since the last packet: right, up, wheel.
    moved: [i32; 3],
    buttons: u8,
    sent_buttons: u8,
    out: VecDeque<u8>,
    /// The last reply or packet, for the resend command.
    last: Vec<u8>,
    testing: bool,
}

impl Mouse {
    pub(super) fn new() -> Mouse {
        Mouse {
            id: 0,
            remote: false,
            wrapping: false,
            reporting: false,
            double: false,
            resolution: 2,
            rate: 100,
            knock: [0; 3],
            awaiting: 0,
            moved: [0; 3],
            buttons: 0,
            sent_buttons: 0,
            out: VecDeque::new(),
            last: Vec::new(),
            testing: false,
        }
    }

    /// Samples per second, at which packets follow each other.
    pub(super) fn rate(&self) -> u64 {
        u64::from(self.rate).max(1)
    }

    /// As [`super::keyboard::Keyboard::pending`].
    pub(super) fn pending(&self) -> Option<bool> {
        match (self.out.is_empty(), self.testing) {
            (false, _) => Some(true),
            (true, true) => Some(false),
            _ => None,
        }
    }

    /// Sends the next byte.
    pub(super) fn send(&mut self) -> Option<u8> {
        if self.out.is_empty() && core::mem::take(&mut self.testing) {
            self.out.push_back(self.id);
            return Some(BAT_OK);
        }
        self.out.pop_front()
    }

    // ---- movement ----

    /// The mouse was moved or a button changed.
    pub(super) fn moved(&mut self, counts: [i32; 3], buttons: u8) {
        self.buttons = buttons & 0x1F;
        if self.reporting || self.remote {
            for (sum, n) in self.moved.iter_mut().zip(counts) {
                *sum = (*sum + n).clamp(-FAR, FAR);
            }
        }
    }

    /// Whether a packet is due at the next sample.
    pub(super) fn wants_to_report(&self) -> bool {
        let changed = self.moved != [0; 3] || self.buttons != self.sent_buttons;
        self.reporting && !self.remote && !self.wrapping && changed
    }

    /// One sample: queues a packet if there is something to tell and the last one is gone.
    pub(super) fn sample(&mut self) {
        if self.wants_to_report() && self.out.is_empty() && !self.testing {
            let packet = self.packet(self.double);
            self.reply(&packet);
        }
    }

    /// 2:1 scaling of one packet's counts.
    fn doubled(n: i32) -> i32 {
        let size = match n.abs() {
            m @ (0 | 1) => m,
            2 => 1,
            3 => 3,
            4 => 6,
            5 => 9,
            m => 2 * m,
        };
        size * n.signum()
    }

    fn packet(&mut self, double: bool) -> Vec<u8> {
        let limit = if double { 127 } else { 255 };
        let mut counts = [0; 2];
        for (sent, waiting) in counts.iter_mut().zip(&mut self.moved) {
            let n = (*waiting).clamp(-limit, limit);
            *waiting -= n;
            *sent = if double { Self::doubled(n) } else { n };
        }
        let signs = u8::from(counts[0] < 0) << 4 | u8::from(counts[1] < 0) << 5;
        let mut packet = vec![0x08 | signs | self.buttons & 7, counts[0] as u8, counts[1] as u8];
        self.sent_buttons = self.buttons;
        let z = self.moved[2].clamp(-8, 7);
        match self.id {
            3 => packet.push(z as u8),
            4 => packet.push(z as u8 & 0x0F | (self.buttons & 0x18) << 1),
            _ => {}
        }
        self.moved[2] = if self.id == 0 { 0 } else { self.moved[2] - z };
        packet
    }

    // ---- commands ----

    fn reply(&mut self, bytes: &[u8]) {
        self.out.extend(bytes);
        self.last = bytes.to_vec();
    }

    /// A byte from the host: it drops what the mouse was about to send.
    pub(super) fn command(&mut self, byte: u8) {
        self.out.clear();
        let awaiting = core::mem::take(&mut self.awaiting);
        if self.wrapping && !matches!(byte, 0xEC | 0xFF) {
            self.reply(&[byte]);
            return;
        }
        match (awaiting, byte) {
            (0xF3, rate) if RATES.contains(&rate) => self.set_rate(rate),
            (0xE8, 0..=3) => {
                self.resolution = byte;
                self.reply(&[ACK]);
            }
            (0, 0xE6..) | (0xE8 | 0xF3, 0xE6..) => self.plain_command(byte),
            _ => self.reply(&[ERROR]),
        }
    }

    fn set_rate(&mut self, rate: u8) {
        self.rate = rate;
        self.knock = [self.knock[1], self.knock[2], rate];
        match (self.knock, self.id) {
            ([200, 100, 80], 0) => self.id = 3,
            ([200, 200, 80], 3) => self.id = 4,
            _ => {}
        }
        self.reply(&[ACK]);
    }

    fn plain_command(&mut self, byte: u8) {
        match byte {
            0xE6 | 0xE7 => self.double = byte == 0xE7,
            0xE8 | 0xF3 => self.awaiting = byte,
            0xE9 => {
                let status = self.status();
                return self.reply(&[ACK, status, self.resolution, self.rate]);
            }
            0xEA | 0xF0 => {
                self.remote = byte == 0xF0;
                self.moved = [0; 3];
            }
            0xEB => {
                let mut reply = vec![ACK];
                reply.extend(self.packet(false));
                return self.reply(&reply);
            }
            0xEC | 0xEE => self.wrapping = byte == 0xEE,
            0xF2 => return self.reply(&[ACK, self.id]),
            0xF4 | 0xF5 => {
                self.reporting = byte == 0xF4;
                self.moved = [0; 3];
            }
            0xF6 => self.set_defaults(),
            0xFE => {
                let last = core::mem::take(&mut self.last);
                return self.reply(&last);
            }
            0xFF => {
                self.set_defaults();
                self.id = 0;
                self.testing = true;
            }
            _ => return self.reply(&[ERROR]),
        }
        self.reply(&[ACK]);
    }

    /// Sampling, scaling and mode by default; the id stays.
    fn set_defaults(&mut self) {
        let (id, buttons, knock) = (self.id, self.buttons, self.knock);
        *self = Mouse { id, buttons, sent_buttons: buttons, knock, ..Mouse::new() };
    }

    fn status(&self) -> u8 {
        let b = self.buttons;
        let buttons = (b & 1) << 2 | (b & 4) >> 1 | (b & 2) >> 1;
        buttons | u8::from(self.double) << 4 | u8::from(self.reporting) << 5 | u8::from(self.remote) << 6
    }
}

impl State for Mouse {
    const TAG: [u8; 4] = *b"MOUS";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        #[rustfmt::skip]
        let Self {
            id, remote, wrapping, reporting, double, resolution, rate, knock, awaiting, moved, buttons, sent_buttons, out,
            last, testing,
        } = self;
        w.field(1, &[*id, *resolution, *rate, *awaiting, *buttons, *sent_buttons]);
        w.field(2, &[*remote, *wrapping, *reporting, *double, *testing]);
        w.field(3, knock);
        w.field(4, moved);
        w.field(5, &out.iter().copied().collect::<Vec<u8>>());
        w.field(6, last);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        [self.id, self.resolution, self.rate, self.awaiting, self.buttons, self.sent_buttons] = r.field(1)?;
        [self.remote, self.wrapping, self.reporting, self.double, self.testing] = r.field(2)?;
        self.knock = r.field(3)?;
        self.moved = r.field(4)?;
        self.out = r.field::<Vec<u8>>(5)?.into();
        self.last = r.field(6)?;
        if self.moved.iter().any(|n| !(-FAR..=FAR).contains(n)) || self.out.len() > 5 || self.last.len() > 5 {
            return Err(r.invalid("more than the mouse holds"));
        }
        if !matches!(self.id, 0 | 3 | 4) || !RATES.contains(&self.rate) {
            return Err(r.invalid("an id or rate that does not exist"));
        }
        Ok(())
    }
}
