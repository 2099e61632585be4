//! The profile as text.

use std::collections::BTreeMap;
use std::fmt::Write;

use emu_core::profile::{EVENTS, Profile, ProfiledBlock};
use iced_x86::{Code, Formatter, Instruction, IntelFormatter, OpKind};

use super::{Symbols, instructions, share};
use crate::report::mode_name;

/// Blocks that are shown with their instructions; rows of each table.
const BLOCKS: usize = 30;
const ROWS: usize = 30;

/// The whole report, of some hundred lines.
#[must_use]
pub fn profile_text(profile: &Profile, symbols: &Symbols) -> String {
    let mut out = String::new();
    let ran = profile.ticks.saturating_sub(profile.halted);
    let entries: u64 = profile.blocks.iter().map(|b| b.entries).sum();
    let _ = writeln!(
        out,
        "{} ticks, {} of them halted; {} blocks, entered {entries} times, {:.1} ticks each",
        profile.ticks,
        profile.halted,
        profile.blocks.len(),
        ran as f64 / entries.max(1) as f64
    );
    if profile.lost > 0 {
        let _ = writeln!(out, "{} entries of blocks that were too many are left out", profile.lost);
    }
    modes(&mut out, profile);
    events(&mut out, profile);
    interrupts(&mut out, profile);
    functions(&mut out, profile, symbols);
    blocks(&mut out, profile, symbols);
    instruction_tables(&mut out, profile);
    out
}

fn heading(out: &mut String, text: &str) {
    let _ = writeln!(out, "\n== {text}");
}

/// The rows with the largest numbers, as `share number name`.
fn table(out: &mut String, profile: &Profile, sums: BTreeMap<String, u64>) {
    let mut rows: Vec<_> = sums.into_iter().filter(|r| r.1 > 0).collect();
    rows.sort_by_key(|r| core::cmp::Reverse(r.1));
    for (name, number) in rows.into_iter().take(ROWS) {
        let _ = writeln!(out, "{:6.2} %  {number:>14}  {name}", share(profile, number));
    }
}

fn modes(out: &mut String, profile: &Profile) {
    heading(out, "ticks by mode");
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for b in &profile.blocks {
        let level = if b.mode.is_real() { String::new() } else { format!(", level {}", b.mode.cpl()) };
        *sums.entry(format!("{}{level}", mode_name(b.mode))).or_default() += b.ticks;
    }
    table(out, profile, sums);
}

fn events(out: &mut String, profile: &Profile) {
    heading(out, "what left the fast path");
    for ((_, name), number) in EVENTS.iter().zip(&profile.events).filter(|e| *e.1 > 0) {
        let _ = writeln!(out, "{number:>14}  {name}");
    }
}

fn interrupts(out: &mut String, profile: &Profile) {
    heading(out, "interrupts of devices and exceptions, by vector");
    for (vector, number) in profile.interrupts.iter().enumerate().filter(|v| *v.1 > 0) {
        let _ = writeln!(out, "{number:>14}  {vector:02X}h");
    }
}

fn functions(out: &mut String, profile: &Profile, symbols: &Symbols) {
    if symbols.is_empty() {
        return;
    }
    heading(out, "ticks by function");
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for b in &profile.blocks {
        let name = symbols.find(b.linear).map_or("(no symbol)", |f| f.0);
        *sums.entry(name.to_owned()).or_default() += b.ticks;
    }
    table(out, profile, sums);
}

fn blocks(out: &mut String, profile: &Profile, symbols: &Symbols) {
    heading(out, "blocks with the most ticks (* runs from its decoded form)");
    for b in profile.blocks.iter().take(BLOCKS) {
        let _ = writeln!(
            out,
            "{:6.2} %  {:>14} ticks, entered {} times: {}, {}",
            share(profile, b.ticks),
            b.ticks,
            b.entries,
            place(b.linear, symbols),
            mode_name(b.mode)
        );
        for (insn, decoded) in instructions(b) {
            let mark = if decoded { '*' } else { ' ' };
            let _ = writeln!(out, "         {mark} {:x}  {}", insn.ip(), text(&insn));
        }
    }
}

fn place(linear: u64, symbols: &Symbols) -> String {
    match symbols.find(linear) {
        Some((name, 0)) => format!("{linear:x} {name}"),
        Some((name, offset)) => format!("{linear:x} {name}+{offset:x}"),
        None => format!("{linear:x}"),
    }
}

fn text(insn: &Instruction) -> String {
    let mut text = String::new();
    IntelFormatter::new().format(insn, &mut text);
    text
}

/// Single instructions in decoded form, kinds of instructions, and pairs of them, each as often as their blocks were
/// entered.
fn instruction_tables(out: &mut String, profile: &Profile) {
    let (mut decoded, mut kinds, mut pairs) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for b in &profile.blocks {
        count(b, &mut decoded, &mut kinds, &mut pairs);
    }
    heading(out, "instructions that ran from their decoded form");
    table(out, profile, names(decoded, |k: Kind| k.name()));
    heading(out, "instructions");
    table(out, profile, names(kinds, |k: Kind| k.name()));
    heading(out, "pairs of instructions");
    table(out, profile, names(pairs, |(a, b): (Kind, Kind)| format!("{}, {}", a.name(), b.name())));
}

/// A kind of instruction: what it is, and whether one of its operands is in memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    code: Code,
    memory: bool,
}

impl Kind {
    fn of(insn: &Instruction) -> Kind {
        let memory = (0..insn.op_count()).any(|i| insn.op_kind(i) == OpKind::Memory);
        Kind { code: insn.code(), memory }
    }

    fn name(self) -> String {
        format!("{:?}{}", self.code, if self.memory { " [memory]" } else { "" })
    }
}

type Counts<K> = BTreeMap<K, u64>;

fn count(b: &ProfiledBlock, decoded: &mut Counts<Kind>, kinds: &mut Counts<Kind>, pairs: &mut Counts<(Kind, Kind)>) {
    let mut before = None;
    for (insn, is_decoded) in instructions(b) {
        let kind = Kind::of(&insn);
        *kinds.entry(kind).or_default() += b.entries;
        if is_decoded {
            *decoded.entry(kind).or_default() += b.entries;
        }
        if let Some(before) = before {
            *pairs.entry((before, kind)).or_default() += b.entries;
        }
        before = Some(kind);
    }
}

fn names<K>(counts: Counts<K>, name: impl Fn(K) -> String) -> BTreeMap<String, u64> {
    counts.into_iter().map(|(k, n)| (name(k), n)).collect()
}
