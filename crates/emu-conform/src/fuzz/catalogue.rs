//! All encodings of the instructions that are drawn: found once by decoding every opcode, so that each instruction can
//! be drawn as often as any other of its class, however many encodings it has.

use std::collections::BTreeMap;

use iced_x86::{Decoder, DecoderOptions, Instruction};

use super::class::{Class, classify};
use super::rng::Rng;

/// The bytes of an encoding that decide which instruction it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Template {
    /// 66h, F2h, F3h, or 0 for none; in VEX the same as `pp`.
    pub(super) prefix: u8,
    /// REX.W or VEX.W.
    pub(super) wide: bool,
    /// 0: one byte; 1: 0F; 2: 0F 38; 3: 0F 3A.
    pub(super) map: u8,
    pub(super) opcode: u8,
    /// VEX, with its L.
    pub(super) vex: Option<bool>,
    /// ModRM: two registers (mod 3), or memory at `[rdi]`, which stands for any. `None`: there is none.
    pub(super) modrm: Option<u8>,
}

impl Template {
    /// The encoding without displacement and immediate.
    pub(super) fn bytes(&self, out: &mut Vec<u8>) {
        if let Some(long) = self.vex {
            let pp = [0, 0x66, 0xF3, 0xF2].iter().position(|p| *p == self.prefix).unwrap_or(0) as u8;
            // Inverted R, X, B and vvvv: none of them.
            out.extend([0xC4, 0xE0 | self.map, u8::from(self.wide) << 7 | 0x78 | u8::from(long) << 2 | pp]);
        } else {
            out.extend((self.prefix != 0).then_some(self.prefix));
            out.extend(self.wide.then_some(0x48));
            out.extend_from_slice([&[][..], &[0x0F], &[0x0F, 0x38], &[0x0F, 0x3A]][usize::from(self.map)]);
        }
        out.push(self.opcode);
        out.extend(self.modrm);
    }
}

/// The encodings of one instruction.
#[derive(Debug)]
struct Entry {
    templates: Vec<Template>,
}

/// What there is to be drawn, for one width of code.
#[derive(Debug)]
pub(super) struct Catalogue {
    /// Class, its weight summed up so far, its instructions.
    classes: Vec<(Class, usize, Vec<Entry>)>,
}

/// Encodings of one instruction that are kept; they differ in registers.
const KEPT: usize = 80;

fn decode(bits: u32, template: &Template, tail: &[u8]) -> Instruction {
    let mut bytes = Vec::with_capacity(32);
    template.bytes(&mut bytes);
    bytes.extend_from_slice(tail);
    bytes.resize(24, 0);
    Decoder::new(bits, &bytes, DecoderOptions::NONE).decode()
}

/// Whether a ModRM byte follows the opcode: a memory operand with a displacement makes the instruction longer.
fn has_modrm(bits: u32, template: &Template) -> bool {
    let lengths = [0xC0, 0x07, 0x05].map(|modrm| {
        let insn = decode(bits, template, &[modrm]);
        if insn.is_invalid() { 0 } else { insn.len() }
    });
    lengths[0] != lengths[2] || lengths[1] != lengths[2]
}

impl Catalogue {
    /// Everything that code of `bits` (32 or 64) has, whose instructions satisfy `wanted`.
    pub(super) fn new(bits: u32, wanted: impl Fn(&Instruction, Class) -> bool) -> Catalogue {
        let mut found: BTreeMap<(Class, u16), Entry> = BTreeMap::new();
        let mut take = |template: Template| {
            let insn = decode(bits, &template, &[]);
            if insn.is_invalid() {
                return;
            }
            let Some(class) = classify(&insn).filter(|c| wanted(&insn, *c)) else { return };
            let entry = found.entry((class, insn.code() as u16)).or_insert_with(|| Entry { templates: Vec::new() });
            if entry.templates.len() < KEPT {
                entry.templates.push(template);
            }
        };
        for template in opcodes(bits) {
            if !has_modrm(bits, &template) {
                take(template);
                continue;
            }
            // Memory first, so that it is always among those that are kept.
            (0..8).for_each(|reg| take(Template { modrm: Some(reg << 3 | 7), ..template }));
            (0xC0..=0xFF).for_each(|modrm| take(Template { modrm: Some(modrm), ..template }));
        }
        let mut classes: Vec<(Class, usize, Vec<Entry>)> = Vec::new();
        for ((class, _), entry) in found {
            match classes.last_mut() {
                Some(last) if last.0 == class => last.2.push(entry),
                last => {
                    let sum = last.map_or(0, |l| l.1) + class.weight();
                    classes.push((class, sum, vec![entry]));
                }
            }
        }
        Catalogue { classes }
    }

    /// How many instructions (iced's `Code`s) there are.
    pub(super) fn len(&self) -> usize {
        self.classes.iter().map(|c| c.2.len()).sum()
    }

    /// An encoding of an instruction: a class by weight, any of its instructions, any encoding. `None` if there is nothing.
    pub(super) fn draw(&self, rng: &mut Rng) -> Option<(Class, Template)> {
        let at = rng.below(self.classes.last()?.1);
        let (class, _, entries) = self.classes.iter().find(|c| at < c.1)?;
        let templates = &entries[rng.below(entries.len())].templates;
        // Memory operands are few among the encodings and many in programs.
        let memory = |t: &&Template| t.modrm.is_some_and(|m| m < 0xC0);
        let first = templates.iter().take_while(memory).count();
        let pick = if first > 0 && rng.chance(40) { rng.below(first) } else { rng.below(templates.len()) };
        Some((*class, templates[pick]))
    }
}

fn opcodes(bits: u32) -> impl Iterator<Item = Template> {
    let prefixes = [0, 0x66, 0xF3, 0xF2];
    let widths: &[bool] = if bits == 64 { &[false, true] } else { &[false] };
    let legacy = prefixes.into_iter().flat_map(move |prefix| {
        widths.iter().flat_map(move |wide| {
            (0..4).flat_map(move |map| {
                (0..=255).map(move |opcode| Template { prefix, wide: *wide, map, opcode, vex: None, modrm: None })
            })
        })
    });
    let vex = prefixes.into_iter().flat_map(|prefix| {
        [false, true].into_iter().flat_map(move |wide| {
            [false, true].into_iter().flat_map(move |long| {
                (1..4).flat_map(move |map| {
                    (0..=255).map(move |opcode| Template { prefix, wide, map, opcode, vex: Some(long), modrm: None })
                })
            })
        })
    });
    // Prefixes and escapes are no opcodes.
    let escape = |t: &Template| {
        let opcode = t.opcode;
        let escapes = t.map == 0
            && (opcode == 0x0F || matches!(opcode, 0x26 | 0x2E | 0x36 | 0x3E | 0x64..=0x67 | 0xF0 | 0xF2 | 0xF3));
        escapes || t.map == 1 && t.vex.is_none() && matches!(opcode, 0x38 | 0x3A)
    };
    legacy.chain(vex).filter(move |t| {
        !escape(t) && (bits != 64 || t.map != 0 || t.vex.is_some() || !(0x40..0x50).contains(&t.opcode))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_there() {
        for bits in [32, 64] {
            let all = Catalogue::new(bits, |_, _| true);
            let classes: Vec<Class> = all.classes.iter().map(|c| c.0).collect();
            let want: Vec<Class> = Class::ALL.iter().copied().filter(|c| bits == 32 || *c != Class::Bcd).collect();
            assert_eq!(classes, want, "{bits}");
            assert!(all.len() > 1500, "{}", all.len());
        }
        let paddb = Catalogue::new(64, |insn, _| insn.code() == iced_x86::Code::Paddb_xmm_xmmm128);
        assert_eq!(paddb.len(), 1);
    }
}
