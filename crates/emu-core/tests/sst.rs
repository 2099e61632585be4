//! Single-step tests captured from real CPUs: an 8086, an 80286 and an 80386, in real mode.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "test data is in files that the host names")]

mod moo;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use emu_core::cpu::model::{Feature, Kind};
use emu_core::cpu::{Activity, Model, Segment, Shadow};
use emu_core::mem::Target;
use emu_core::{Bus, ClockRate, PhysMem, Stop, System, Ticks};
use moo::{Case, State};

/// Registers of a REGS chunk, by their place there: index of a general register, or of a segment register.
const GENERAL: [(usize, usize); 8] = [(0, 0), (1, 3), (2, 1), (3, 2), (8, 4), (9, 5), (10, 6), (11, 7)];
const SEGMENTS: [(usize, usize); 4] = [(4, 1), (5, 2), (6, 3), (7, 0)];
/// The same of an RG32 chunk.
const GENERAL32: [(usize, usize); 8] = [(2, 0), (3, 3), (4, 1), (5, 2), (6, 6), (7, 7), (8, 5), (9, 4)];
const SEGMENTS32: [(usize, usize); 6] = [(10, 1), (11, 3), (12, 0), (13, 4), (14, 5), (15, 2)];

/// One of the suites.
struct Suite {
    folder: &'static str,
    kind: Kind,
    /// Cases end on a HLT.
    halts: bool,
    /// Bits of FLAGS that are compared at all.
    flags: u32,
    /// Cases that must pass with undefined flags compared too, of 10,000. Without those, all must.
    expected: u32,
}

fn shared() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    std::env::var_os("EMU_SHARED").map_or(default, PathBuf::from)
}

fn machine(kind: Kind) -> System {
    let mut mem = PhysMem::new(16 << 20, 0).unwrap();
    mem.map(0, 16 << 20, Target::Pool(0));
    mem.set_a20(kind > Kind::I80186);
    let model = Model::new(kind).with(Feature::Fpu, false);
    let mut sys = System::new(model, mem, Bus::new(ClockRate::DEFAULT, 1));
    sys.reset();
    sys
}

/// Places of registers in a case, with their indices in the CPU.
type Places = &'static [(usize, usize)];

/// Where a register of a case is: (general, segments, ip, flags).
fn layout(wide: bool) -> (Places, Places, usize, usize) {
    if wide { (&GENERAL32, &SEGMENTS32, 16, 17) } else { (&GENERAL, &SEGMENTS, 12, 13) }
}

fn set(sys: &mut System, s: &State, wide: bool, flags_mask: u32) {
    let (general, segments, ip, flags) = layout(wide);
    let value = |i: usize| s.regs[i].unwrap_or(0);
    general.iter().for_each(|&(from, to)| sys.cpu.regs[to] = value(from).into());
    segments.iter().for_each(|&(from, to)| sys.cpu.set_segment(to, Segment::real(value(from) as u16)));
    sys.cpu.rip = value(ip).into();
    sys.cpu.set_eflags(value(flags) & flags_mask);
    (sys.cpu.activity, sys.cpu.shadow) = (Activity::Running, Shadow::None);
    s.ram.iter().for_each(|&(at, v)| sys.mem.write(at.into(), &[v]));
}

/// Runs a case; says what is wrong if it does not end as it should.
fn run(sys: &mut System, c: &Case, suite: &Suite) -> Result<(), String> {
    let start = sys.cpu.rip;
    if suite.halts {
        let stop = sys.run(Ticks(sys.now().0 + 600));
        return if stop == Stop::Asleep { Ok(()) } else { Err(format!("{stop:?}")) };
    }
    let repeats = c.bytes.iter().take_while(|b| **b & 0xE7 == 0x26 || **b >= 0xF0).any(|b| matches!(b, 0xF2 | 0xF3));
    for _ in 0..200 {
        sys.run(Ticks(sys.now().0 + 1));
        if !repeats || sys.cpu.rip != start {
            return Ok(());
        }
    }
    Err("does not end".into())
}

/// Compares the end of a case; says what differs.
fn compare(sys: &System, c: &Case, wide: bool, mask: u32, suite: &Suite) -> Result<(), String> {
    let (general, segments, ip, flags) = layout(wide);
    let want = |i: usize| c.last.regs[i].or(c.initial.regs[i]).unwrap_or(0);
    let mut wrong = Vec::new();
    let mut check = |what: &str, got: u32, want: u32| {
        if got != want {
            wrong.push(format!("{what} {got:x} for {want:x}"));
        }
    };
    let size = if wide { u32::MAX } else { 0xFFFF };
    general.iter().for_each(|&(i, n)| {
        check(["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"][n], sys.cpu.regs[n] as u32 & size, want(i))
    });
    segments
        .iter()
        .for_each(|&(i, n)| check(["es", "cs", "ss", "ds", "fs", "gs"][n], sys.cpu.seg[n].sel.into(), want(i)));
    check("ip", sys.cpu.rip as u32, want(ip));
    let mask = mask & suite.flags;
    check("flags", sys.cpu.eflags() & mask, want(flags) & mask);
    let stack_at = segments.iter().find(|s| s.1 == 2).map_or(0, |s| want(s.0)) * 16;
    let sp = general.iter().find(|g| g.1 == 4).map_or(0, |g| want(g.0));
    let pushed = stack_at + ((sp + 4) & 0xFFFF);
    let interrupted = c.exception.is_some() || !suite.halts;
    for &(at, v) in &c.last.ram {
        let bits = match at.wrapping_sub(pushed) {
            n @ (0 | 1) if interrupted => (mask >> (8 * n)) as u8,
            _ => 0xFF,
        };
        check(&format!("[{at:x}]"), (sys.mem.load::<u8>(at.into()) & bits).into(), (v & bits).into());
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join(", ")) }
}

/// Masks of the flags that an opcode leaves defined, by file name.
fn masks(folder: &Path) -> BTreeMap<String, u32> {
    let mut out = BTreeMap::new();
    let Ok(text) = std::fs::read(folder.join("metadata.json")) else { return out };
    let meta: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let mask = |v: &serde_json::Value| v["flags-mask"].as_u64().unwrap_or(0xFFFF) as u32;
    for (name, v) in meta["opcodes"].as_object().unwrap() {
        out.insert(name.clone(), mask(v));
        for (reg, v) in v["reg"].as_object().into_iter().flatten() {
            out.insert(format!("{name}.{reg}"), mask(v));
        }
    }
    out
}

fn run_suite(suite: &Suite) {
    let folder = shared().join("conformance/sst").join(suite.folder);
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("SKIPPED: no {}", folder.display());
        return;
    };
    let mut files: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "gz"));
    files.sort();
    let masks = masks(&folder);
    let mut sys = machine(suite.kind);
    let (mut passed, mut exact, mut total) = (0, 0, 0);
    for file in &files {
        let name = file.file_name().unwrap().to_string_lossy().replace(".MOO.gz", "");
        let mask = masks.get(&name).copied().unwrap_or(0xFFFF);
        let (good, same, all, first) = run_file(&mut sys, file, mask, suite);
        (passed, exact, total) = (passed + good, exact + same, total + all);
        if same < all {
            println!("{name:6} {good:3} {same:3}/{all} {}", first.unwrap_or_default());
        }
    }
    println!("{}: {passed} masked and {exact} strict of {total} cases pass", suite.folder);
    assert!(total > 0, "no cases");
    assert_eq!(passed, total, "a case fails");
    assert!(exact * 10_000 >= suite.expected * total, "fewer cases pass strictly than did before");
}

/// Runs a file's cases: how many pass with the mask and without, how many there are, and what is wrong with the first that
/// fails.
fn run_file(sys: &mut System, file: &Path, mask: u32, suite: &Suite) -> (u32, u32, u32, Option<String>) {
    let (cases, own_mask) = moo::read(file);
    let wide = suite.kind >= Kind::I80386;
    let mask = own_mask.regs[layout(wide).3].unwrap_or(mask);
    let (mut good, mut exact, mut first) = (0, 0, None);
    for c in &cases {
        set(sys, &c.initial, wide, suite.flags);
        let run = run(sys, c, suite);
        good += u32::from(run.is_ok() && compare(sys, c, wide, mask, suite).is_ok());
        match run.and_then(|()| compare(sys, c, wide, u32::MAX, suite)) {
            Ok(()) => exact += 1,
            Err(e) if first.is_none() => first = Some(format!("{}: {e}", c.name)),
            Err(_) => {}
        }
    }
    (good, exact, cases.len() as u32, first)
}

#[test]
fn i80286() {
    run_suite(&Suite { folder: "80286", kind: Kind::I80286, halts: true, flags: 0x0FFF, expected: 10_000 });
}

#[test]
fn i8086() {
    run_suite(&Suite { folder: "8086", kind: Kind::I8086, halts: false, flags: 0x0FFF, expected: 10_000 });
}

#[test]
fn i80386() {
    run_suite(&Suite { folder: "80386_partial", kind: Kind::I80386, halts: true, flags: 0x0FFF, expected: 10_000 });
}
