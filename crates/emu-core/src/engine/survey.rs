//! For tests: which handlers there are. The engine relies on each of them ending in a jump, which no type says; a test
//! takes their addresses from here, and looks at the machine code there.

use std::collections::BTreeSet;

use iced_x86::{Decoder, DecoderOptions, Instruction};

use super::build::{End, lower_all};
use super::op::{Arena, Handler};
use super::{Builder, chain};
use crate::System;
use crate::cpu::model::Kind;
use crate::cpu::{Mode, Model};
use crate::exec::ExecTable;

/// Whether this build's handlers jump to each other; otherwise a loop calls them.
pub const CHAINED: bool = cfg!(emu_chain);

/// Addresses of handlers.
#[derive(Debug, Default)]
pub struct Handlers {
    /// Those that can go on to another op.
    pub going_on: BTreeSet<usize>,
    /// Those that always stop the chain.
    pub stopping: BTreeSet<usize>,
}

fn address(run: Handler) -> usize {
    run as *const () as usize
}

/// The kinds of code that handlers differ by.
const MODES: [u32; 7] = [
    Mode::OPEN_LIMIT,
    Mode::OPEN_LIMIT | Mode::STACK32,
    Mode::OPEN_LIMIT | Mode::CODE32 | Mode::PE,
    Mode::OPEN_LIMIT | Mode::CODE32 | Mode::STACK32 | Mode::PE,
    Mode::OPEN_LIMIT | Mode::CODE32 | Mode::STACK32 | Mode::PE | Mode::FLAT,
    Mode::OPEN_LIMIT | Mode::STACK32 | Mode::PE | Mode::FLAT,
    Mode::OPEN_LIMIT | Mode::CODE64 | Mode::PE | Mode::FLAT | Mode::LONG,
];

/// Prefixes of instructions; those from 40h on are for 64-bit mode.
const PREFIXES: [&[u8]; 15] = [
    &[],
    &[0x66],
    &[0xF2],
    &[0xF3],
    &[0x67],
    &[0x66, 0x67],
    &[0x64],
    &[0x66, 0x64],
    &[0x40],
    &[0x48],
    &[0x4F],
    &[0x66, 0x48],
    &[0xF2, 0x48],
    &[0xF3, 0x48],
    &[0x64, 0x48],
];

const MAPS: [&[u8]; 4] = [&[], &[0x0F], &[0x0F, 0x38], &[0x0F, 0x3A]];

/// `XOR EAX, EAX`: nobody sees the flags of an instruction before it.
const HIDES_FLAGS: [u8; 2] = [0x31, 0xC0];

/// ModRM bytes, with a SIB byte behind them: every form of operand.
fn operands() -> Vec<[u8; 2]> {
    let mut all = Vec::new();
    for modrm in 0..=255u8 {
        match modrm & 0xC7 {
            0x04 | 0x44 | 0x84 => all.extend([[modrm, 0x24], [modrm, 0x25], [modrm, 0x48], [modrm, 0x8D]]),
            0x00 | 0x05 | 0x06 | 0x40 | 0x46 | 0x80 | 0xC0 | 0xC1 | 0xC4 => all.push([modrm, 0x12]),
            _ => {}
        }
    }
    all
}

/// Lowers instructions and keeps the handlers that came out.
struct Survey {
    table: ExecTable,
    model: Model,
    arena: Arena,
    found: BTreeSet<usize>,
}

impl Survey {
    fn lower(&mut self, mode: Mode, code: &[u8]) {
        let mut decoder = Decoder::with_ip(mode.bitness(), code, 0, DecoderOptions::NONE);
        let mut insns = [Instruction::default(); 2];
        for insn in &mut insns {
            decoder.decode_out(insn);
            if insn.is_invalid() {
                return;
            }
        }
        let (mut slots, mut places, mut cold) = (Vec::new(), Vec::new(), Vec::new());
        if self.arena.bytes() > 1 << 20 {
            self.arena = Arena::default();
        }
        let lookup_op = self.arena.push(&mut vec![chain::lookup_slot()]);
        let mut b = Builder::new(mode, self.model, &mut slots, &mut places, &mut cold, lookup_op, Some(0x800));
        lower_all(&mut b, &insns, &self.table, End::Jump);
        let stops = chain::STOPS.map(address);
        self.found.extend(b.handlers().map(address).filter(|run| !stops.contains(run)));
    }

    /// Every opcode with every form of operand, alone and where its flags are not seen.
    fn singles(&mut self, mode: Mode) {
        let operands = operands();
        // Jumps and calls that stay in their page.
        for opcode in [0xE8, 0xE9] {
            self.lower(mode, &[opcode, 8, 0, 0, 0, 0x90]);
        }
        let prefixes = PREFIXES.iter().filter(|p| mode.is_64() || p.last().is_none_or(|b| !(0x40..0x50).contains(b)));
        for prefix in prefixes {
            for map in MAPS {
                for opcode in 0..=255u8 {
                    for operand in &operands {
                        let start = [prefix, map, &[opcode], operand, &[0x11; 10]].concat();
                        let mut decoder = Decoder::with_ip(mode.bitness(), &start, 0, DecoderOptions::NONE);
                        let len = decoder.decode().len();
                        self.lower(mode, &[&start[..len], &[0x90]].concat());
                        self.lower(mode, &[&start[..len], &HIDES_FLAGS].concat());
                    }
                }
            }
        }
    }

    /// Every VEX-encoded opcode with every form of operand.
    fn vex(&mut self, mode: Mode) {
        let operands = operands();
        for (map, rest) in (1..=3u8).flat_map(|map| (0..16).map(move |rest| (map, rest))) {
            // W, L and pp; vvvv is 1, or none.
            let last = (rest & 8) << 4 | rest & 7;
            for vvvv in [0x70, 0x78] {
                for opcode in 0..=255u8 {
                    for operand in &operands {
                        let start = [&[0xC4, 0xE0 | map, last | vvvv, opcode][..], operand, &[0x11; 10]].concat();
                        let mut decoder = Decoder::with_ip(mode.bitness(), &start, 0, DecoderOptions::NONE);
                        let len = decoder.decode().len();
                        self.lower(mode, &[&start[..len], &[0x90]].concat());
                    }
                }
            }
        }
    }

    /// Every opcode of one byte before every conditional jump.
    fn pairs(&mut self, mode: Mode) {
        let prefixes = PREFIXES.iter().filter(|p| p.is_empty() || **p == [0x66] || mode.is_64() && **p == [0x48]);
        for prefix in prefixes {
            for opcode in 0..=255u8 {
                for operand in operands().into_iter().filter(|o| o[0] & 7 < 2 || o[0] & 0xC7 == 4) {
                    let start = [prefix, &[opcode][..], &operand, &[0x11; 10]].concat();
                    let mut decoder = Decoder::with_ip(mode.bitness(), &start, 0, DecoderOptions::NONE);
                    let len = decoder.decode().len();
                    (0x70..0x80).for_each(|jcc| self.lower(mode, &[&start[..len], &[jcc, 0x10]].concat()));
                }
            }
        }
    }
}

/// All handlers that instructions are lowered to, and those between them.
#[must_use]
pub fn all() -> Handlers {
    let model = Model::new(Kind::X64V3);
    let mut survey = Survey { table: ExecTable::new(&model), model, arena: Arena::default(), found: BTreeSet::new() };
    survey.found.extend(chain::BRIDGES.map(address));
    survey.found.extend(crate::exec::hot::Fusions::new().handlers().map(address));
    survey.found.extend(super::profiled::COUNTED.map(address));
    survey.found.extend(crate::exec::hot::transit::HANDLERS.map(address));
    survey.found.extend(crate::exec::hot::segment::HANDLERS.map(address));
    survey.found.extend(crate::exec::hot::control::HANDLERS.map(address));
    for mode in MODES.map(Mode) {
        survey.singles(mode);
        survey.pairs(mode);
        if mode.is_64() {
            survey.vex(mode);
        }
    }
    Handlers { going_on: survey.found, stopping: chain::STOPS.map(address).into() }
}

/// The handlers of all instructions that are decoded in `sys` at present.
#[must_use]
pub fn in_use(sys: &System) -> BTreeSet<usize> {
    let ops = |b: &super::Block| {
        let first = b.entry;
        let inner = b.insns.iter().map(move |i| first.step(i.slot.into()));
        core::iter::once(first).chain(inner).map(|op| address(op.run())).collect::<Vec<_>>()
    };
    sys.engine.blocks.iter().flat_map(ops).collect()
}
