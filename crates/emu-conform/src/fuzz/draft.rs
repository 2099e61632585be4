//! A drawn case before it is one: plain registers, which the shrinker can set back one by one.

use std::sync::Arc;

use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter, Mnemonic};

use super::rng::Rng;
use super::values;
use crate::{Case, End, Environment, F80, Reg};

/// Linear address of the memory that cases work on: a window of 256 bytes.
pub(super) const WINDOW: u64 = 0x2000_0400;
/// Its length.
pub(super) const WINDOW_SIZE: usize = 256;
/// Linear address of the instruction.
pub(super) const CODE: u64 = 0x1000_0100;
/// CF, PF, AF, ZF, SF, DF and OF: the flags that cases speak of.
pub(super) const FLAGS: u64 = 0xCD5;

/// A state and an instruction.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Draft {
    pub(super) bits: u32,
    pub(super) code: Vec<u8>,
    pub(super) gpr: [u64; 16],
    pub(super) flags: u64,
    pub(super) fcw: u16,
    pub(super) fsw: u16,
    pub(super) ftw: u8,
    pub(super) st: [F80; 8],
    pub(super) mxcsr: u32,
    pub(super) ymm: [[u8; 32]; 16],
    pub(super) memory: [u8; WINDOW_SIZE],
}

/// General registers as the hardware vectors have them when a vector does not name them.
pub(super) fn usual_gpr(bits: u32) -> [u64; 16] {
    let mut gpr = std::array::from_fn(|n| 0x0101_0101_0101_0101 * n as u64);
    if bits == 32 {
        gpr = std::array::from_fn(|n| if n < 8 { gpr[n] & 0xFFFF_FFFF } else { 0 });
    }
    (gpr[4], gpr[6], gpr[7]) = (WINDOW + 192, WINDOW + 64, WINDOW);
    gpr
}

impl Draft {
    /// An instruction in the state that vectors start from.
    pub(super) fn new(bits: u32) -> Draft {
        Draft {
            bits,
            code: Vec::new(),
            gpr: usual_gpr(bits),
            flags: 0,
            fcw: 0x37F,
            fsw: 0,
            ftw: 0,
            st: [F80::default(); 8],
            mxcsr: 0x1F80,
            ymm: [[0; 32]; 16],
            memory: [0; WINDOW_SIZE],
        }
    }

    /// The instruction, at its address.
    pub(super) fn decode(&self) -> Instruction {
        Decoder::with_ip(self.bits, &self.code, CODE, DecoderOptions::NONE).decode()
    }

    /// The instruction in words.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        IntelFormatter::new().format(&self.decode(), &mut text);
        text
    }

    /// Random general registers, flags and memory.
    pub(super) fn draw_integers(&mut self, rng: &mut Rng) {
        let width = if self.bits == 64 { u64::MAX } else { 0xFFFF_FFFF };
        let registers = if self.bits == 64 { 16 } else { 8 };
        for n in (0..registers).filter(|n| *n != 4) {
            self.gpr[n] = values::integer(rng) & width;
        }
        // Equal operands are what comparisons and CMPXCHG wait for.
        if rng.chance(20) {
            self.gpr[0] = self.gpr[rng.below(registers)];
        }
        self.gpr[4] = WINDOW + 128 + if rng.chance(85) { 8 * rng.below(9) } else { rng.below(72) } as u64;
        self.flags = rng.next() & FLAGS;
        for chunk in self.memory.chunks_mut(32) {
            chunk.copy_from_slice(&values::vector(rng));
        }
        if rng.chance(30) {
            let (at, n) = (8 * rng.below(32), rng.below(registers));
            self.memory[at..at + 8].copy_from_slice(&self.gpr[n].to_le_bytes());
        }
    }

    /// Random x87 registers, in a state that the CPU itself could be in.
    pub(super) fn draw_x87(&mut self, rng: &mut Rng) {
        for st in &mut self.st {
            *st = values::x87(rng);
        }
        let masks = if rng.chance(70) { 0x3F } else { rng.next() as u16 & 0x3F };
        let precision = rng.pick(&[0x300, 0x300, 0x200, 0, 0x100]);
        self.fcw = 0x40 | masks | precision | (rng.next() as u16 & 0xC00);
        let top = (rng.next() as u16 & 7) << 11;
        let mut flags = rng.next() as u16 & 0x7F;
        if rng.chance(92) {
            flags &= masks | 0x40;
        }
        // ES and B say that an unmasked exception is pending, and are nothing of their own [SDM-1 8.1.3.3].
        let pending = if flags & 0x3F & !masks != 0 { 0x8080 } else { 0 };
        self.fsw = top | rng.next() as u16 & 0x4700 | flags | pending;
        self.ftw = match rng.below(4) {
            0 => 0xFF,
            1 => rng.next() as u8,
            _ => (rng.next() | rng.next() | rng.next()) as u8,
        };
        for at in (0..WINDOW_SIZE).step_by(16) {
            if rng.chance(40) {
                let v = values::x87(rng);
                self.memory[at..at + 8].copy_from_slice(&v.sig.to_le_bytes());
                self.memory[at + 8..at + 10].copy_from_slice(&v.sign_exp.to_le_bytes());
            }
        }
    }

    /// Random vector registers and MXCSR.
    pub(super) fn draw_vectors(&mut self, rng: &mut Rng) {
        let registers = if self.bits == 64 { 16 } else { 8 };
        for n in 0..registers {
            self.ymm[n] = values::vector(rng);
        }
        let masks = if rng.chance(75) { 0x1F80 } else { (rng.next() as u32 & 0x3F) << 7 };
        let special = rng.pick(&[0, 0, 0, 0x8000, 0x40, 0x8040]);
        self.mxcsr =
            masks | special | (rng.next() as u32 & 0x6000) | if rng.chance(50) { rng.next() as u32 & 0x3F } else { 0 };
    }

    /// The case, without results.
    pub(super) fn case(&self, row: &Arc<str>, index: u64) -> Case {
        let environment = if self.bits == 64 { Environment::Flat64 } else { Environment::Flat32 };
        let mut case = Case::new(environment, End::Step);
        (case.row, case.index, case.status) = (row.clone(), index, FLAGS);
        case.name = self.text();
        case.code = self.code.clone();
        let s = &mut case.initial;
        for n in 0..if self.bits == 64 { 16 } else { 8 } {
            s.set(Reg::general(n), self.gpr[n]);
        }
        s.set(Reg::Rip, CODE);
        s.set(Reg::Rflags, self.flags);
        s.set(Reg::Fcw, self.fcw.into());
        s.set(Reg::Fsw, self.fsw.into());
        s.set(Reg::Ftw, self.ftw.into());
        s.set(Reg::Mxcsr, self.mxcsr.into());
        (0..8).for_each(|n| s.set_st(n, self.st[n]));
        for n in 0..if self.bits == 64 { 16 } else { 8 } {
            let half = |at: usize| self.ymm[n][at..at + 16].iter().rev().fold(0, |v, b| v << 8 | u128::from(*b));
            s.set_ymm(n, [half(0), half(16)]);
        }
        s.set_bytes(WINDOW, &self.memory);
        if matches!(self.decode().mnemonic(), Mnemonic::Pushf | Mnemonic::Pushfd | Mnemonic::Pushfq) {
            let size = self.decode().stack_pointer_increment().unsigned_abs();
            case.pushed_flags = Some(self.gpr[4].wrapping_sub(u64::from(size)));
        }
        case
    }
}
