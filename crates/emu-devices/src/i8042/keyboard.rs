//! An IBM enhanced keyboard at the end of its cable [PS/2 HITR, "Keyboard (101- and 102-key)"].
//!
//! It sends its self-test result after a reset command only: at power-on the PC's POST would wait for nothing else, and
//! resets it anyway.

use std::collections::VecDeque;

use super::scancodes::{KeyType, Modifiers, sequence, set_3};
use emu_core::{Key, State, StateError, StateReader, StateWriter};

const ACK: u8 = 0xFA;
const RESEND: u8 = 0xFE;
const BAT_OK: u8 = 0xAA;
/// 10.9 characters a second after half a second.
const DEFAULT_RATE: u8 = 0x2B;
/// Bytes of key codes that wait to be sent; one more is the overrun code.
const BUFFER: usize = 16;
/// Codes of set 3 end below this.
const SET_3_CODES: usize = 0x8E;

/// The keyboard.
#[derive(Debug)]
pub(super) struct Keyboard {
    /// Scan code set 1 to 3.
    set: u8,
    scanning: bool,
    /// Bit 0 Scroll Lock, 1 Num Lock, 2 Caps Lock.
    leds: u8,
    /// Typematic delay and rate, as the host gave them.
    rate: u8,
    /// A command that waits for its argument; 0 if none does.
    awaiting: u8,
    replies: VecDeque<u8>,
    keys: VecDeque<u8>,
    /// A self-test is running.
    testing: bool,
    last_sent: u8,
    /// Keys held down, by bit: set 1 code, plus 128 if E0h goes before it. Pause is bit 0.
    held: [u64; 4],
    /// The key that repeats, or will.
    pub(super) repeating: Option<u16>,
    /// Key types of set 3, by code.
    types: [KeyType; SET_3_CODES],
}

fn default_types() -> [KeyType; SET_3_CODES] {
    core::array::from_fn(|code| KeyType::of(code as u8))
}

fn bit_of(key: Key) -> usize {
    match key {
        Key::PAUSE => 0,
        Key(k) => usize::from(k & 0x7F) | usize::from(k & 0xFF00 == 0xE000) << 7,
    }
}

impl Keyboard {
    pub(super) fn new() -> Keyboard {
        Keyboard {
            set: 2,
            scanning: true,
            leds: 0,
            rate: DEFAULT_RATE,
            awaiting: 0,
            replies: VecDeque::new(),
            keys: VecDeque::new(),
            testing: false,
            last_sent: 0,
            held: [0; 4],
            repeating: None,
            types: default_types(),
        }
    }

    /// What the host can set goes back to its default, and key codes that wait are dropped.
    fn set_defaults(&mut self) {
        let fresh = Keyboard { held: self.held, leds: self.leds, last_sent: self.last_sent, ..Keyboard::new() };
        *self = fresh;
    }

    /// Whether a byte is to be sent: `Some(true)` at once, `Some(false)` once the self-test is over.
    pub(super) fn pending(&self) -> Option<bool> {
        match (self.replies.is_empty(), self.testing, self.keys.is_empty()) {
            (false, ..) => Some(true),
            (_, true, _) => Some(false),
            (_, _, false) => Some(true),
            _ => None,
        }
    }

    /// Sends the next byte.
    pub(super) fn send(&mut self) -> Option<u8> {
        let byte = match self.replies.pop_front() {
            Some(reply) => reply,
            None if core::mem::take(&mut self.testing) => BAT_OK,
            None => self.keys.pop_front()?,
        };
        self.last_sent = byte;
        Some(byte)
    }

    /// Ticks of 1/240 s before the first repetition, or between two: (8 + A) · 2^B, with A and B from the rate byte.
    pub(super) fn repeat_delay(&self, first: bool) -> u64 {
        if first {
            return 60 * (u64::from(self.rate >> 5 & 3) + 1);
        }
        (8 + u64::from(self.rate & 7)) << (self.rate >> 3 & 3)
    }

    // ---- keys ----

    fn is_held(&self, key: u16) -> bool {
        let bit = bit_of(Key(key));
        self.held[bit / 64] >> (bit % 64) & 1 != 0
    }

    fn modifiers(&self) -> Modifiers {
        Modifiers {
            left_shift: self.is_held(0x2A),
            right_shift: self.is_held(0x36),
            ctrl: self.is_held(0x1D) || self.is_held(0xE01D),
            alt: self.is_held(0x38) || self.is_held(0xE038),
            num_lock: self.leds & 2 != 0,
        }
    }

    /// A key goes down or up. A key that is down already does not go down again: repeating is the keyboard's own matter.
    pub(super) fn key(&mut self, key: Key, down: bool) {
        if self.is_held(key.0) == down {
            return;
        }
        let codes = self.codes(key, down);
        let bit = bit_of(key);
        self.held[bit / 64] ^= 1 << (bit % 64);
        if down {
            self.repeating = self.repeats(key).then_some(key.0);
        } else if self.repeating == Some(key.0) {
            self.repeating = None;
        }
        self.queue(&codes);
    }

    /// The repeating key sends its make code again.
    pub(super) fn repeat(&mut self) {
        if let Some(key) = self.repeating {
            let codes = self.codes(Key(key), true);
            self.queue(&codes);
        }
    }

    fn key_type(&self, code: u8) -> KeyType {
        self.types.get(usize::from(code)).copied().unwrap_or(KeyType::Make)
    }

    fn repeats(&self, key: Key) -> bool {
        match set_3(key) {
            Some(code) if self.set == 3 => self.key_type(code).repeats(),
            _ => key != Key::PAUSE && self.set != 3,
        }
    }

    fn codes(&self, key: Key, down: bool) -> Vec<u8> {
        if self.set != 3 {
            return sequence(self.set, key, down, self.modifiers());
        }
        match set_3(key) {
            Some(code) if down => vec![code],
            Some(code) if self.key_type(code).breaks() => vec![0xF0, code],
            _ => vec![],
        }
    }

    fn queue(&mut self, codes: &[u8]) {
        if !self.scanning {
            self.repeating = None;
        } else if self.keys.len() + codes.len() <= BUFFER {
            self.keys.extend(codes);
        } else if self.keys.len() <= BUFFER && !codes.is_empty() {
            let overrun = if self.set == 1 { 0xFF } else { 0x00 };
            if self.keys.back() != Some(&overrun) {
                self.keys.push_back(overrun);
            }
        }
    }

    // ---- commands ----

    /// A byte from the host.
    pub(super) fn command(&mut self, byte: u8) {
        let awaiting = core::mem::take(&mut self.awaiting);
        self.replies.clear();
        if awaiting != 0 && usize::from(byte) < SET_3_CODES {
            self.argument(awaiting, byte);
            return;
        }
        match byte {
            0xEE => self.replies.push_back(0xEE),
            0xFE => self.replies.push_back(self.last_sent),
            0xED | 0xF0 | 0xF3 | 0xFB..=0xFD => {
                self.awaiting = byte;
                self.replies.push_back(ACK);
            }
            0xF2 => self.replies.extend([ACK, 0xAB, 0x83]),
            0xF4..=0xFA | 0xFF => self.simple(byte),
            _ => self.replies.push_back(RESEND),
        }
    }

    /// Commands without an argument that are only acknowledged.
    fn simple(&mut self, byte: u8) {
        match byte {
            0xF4 => {
                self.keys.clear();
                self.repeating = None;
                self.scanning = true;
            }
            0xF5 => {
                self.set_defaults();
                self.scanning = false;
            }
            0xF6 => {
                let scanning = self.scanning;
                self.set_defaults();
                self.scanning = scanning;
            }
            0xFF => {
                self.set_defaults();
                self.leds = 0;
                self.testing = true;
            }
            _ => self.types = [self.type_by_command(byte - 0xF7); SET_3_CODES],
        }
        self.replies.push_back(ACK);
    }

    /// Commands F7h to FAh and FBh to FDh name key types in the same order.
    fn type_by_command(&self, n: u8) -> KeyType {
        KeyType::ALL[usize::from(n & 3)]
    }

    fn argument(&mut self, command: u8, byte: u8) {
        self.replies.push_back(ACK);
        match command {
            0xED => self.leds = byte & 7,
            0xF3 => self.rate = byte & 0x7F,
            0xF0 if byte == 0 => self.replies.push_back(self.set),
            0xF0 if byte <= 3 => {
                self.set = byte;
                self.keys.clear();
                self.repeating = None;
            }
            0xFB..=0xFD => {
                self.types[usize::from(byte)] = self.type_by_command(command - 0xFB);
                self.awaiting = command; // more keys may follow
            }
            _ => {
                self.replies.clear();
                self.replies.push_back(RESEND);
            }
        }
    }
}

impl State for Keyboard {
    const TAG: [u8; 4] = *b"KBD ";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        #[rustfmt::skip]
        let Self {
            set, scanning, leds, rate, awaiting, replies, keys, testing, last_sent, held, repeating, types,
        } = self;
        w.field(1, &[*set, *leds, *rate, *awaiting, *last_sent]);
        w.field(2, &[*scanning, *testing]);
        w.field(3, &replies.iter().copied().collect::<Vec<u8>>());
        w.field(4, &keys.iter().copied().collect::<Vec<u8>>());
        w.field(5, held);
        w.field(6, repeating);
        w.field(7, &types.map(|t| t as u8));
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        [self.set, self.leds, self.rate, self.awaiting, self.last_sent] = r.field(1)?;
        [self.scanning, self.testing] = r.field(2)?;
        self.replies = r.field::<Vec<u8>>(3)?.into();
        self.keys = r.field::<Vec<u8>>(4)?.into();
        self.held = r.field(5)?;
        self.repeating = r.field(6)?;
        let types: [u8; SET_3_CODES] = r.field(7)?;
        if types.iter().any(|&t| t > 3) || !(1..=3).contains(&self.set) {
            return Err(r.invalid("a key type or scan code set that does not exist"));
        }
        if self.replies.len() > 3 || self.keys.len() > BUFFER + 1 {
            return Err(r.invalid("more bytes than the keyboard holds"));
        }
        self.types = types.map(|t| KeyType::ALL[usize::from(t & 3)]);
        Ok(())
    }
}
