//! Integer instructions against what a real CPU did (hardware vectors; see the README beside them).

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "test data is in files that the host names")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use emu_core::cpu::model::{Feature, Kind};
use emu_core::cpu::{Activity, Cpu, Model, Segment, TableRegister, seg};
use emu_core::mem::Target;
use emu_core::{Bus, ClockRate, PhysMem, System};
use serde_json::Value;

const MEMORY: u64 = 0x2000_0400;
const CODE: u64 = 0x1000_0100;
/// CF, PF, AF, ZF, SF, DF and OF.
const FLAGS: u32 = 0xCD5;
const NAMES: [&str; 16] =
    ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];

/// The lines of one group's file, or `None` (said aloud) if the shared data is not there.
fn vectors(group: &str) -> Option<impl Iterator<Item = Value>> {
    let shared = std::env::var_os("EMU_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let path = shared.join(format!("conformance/hwvec/{group}.jsonl.gz"));
    let Ok(file) = std::fs::File::open(&path) else {
        println!("SKIPPED: no {}", path.display());
        return None;
    };
    let lines = BufReader::new(flate2::read::GzDecoder::new(file)).lines().skip(1);
    Some(lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()))
}

fn bytes(hex: &Value) -> Vec<u8> {
    let text = hex.as_str().unwrap_or("");
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
}

/// What a vector speaks of.
#[derive(Clone, PartialEq, Debug)]
struct Machine {
    gpr: [u64; 16],
    flags: u32,
    memory: Vec<u8>,
    rip: u64,
    fault: Option<u8>,
}

fn registers(m: &mut Machine, v: &Value) {
    for (name, value) in v["r"].as_object().into_iter().flatten() {
        let n = NAMES.iter().position(|n| n[1..] == name[1..]).unwrap();
        m.gpr[n] = u64::from_str_radix(value.as_str().unwrap(), 16).unwrap();
    }
}

fn start(i: &Value, wide: bool) -> Machine {
    let mut m = Machine {
        gpr: std::array::from_fn(|k| 0x0101_0101_0101_0101 * k as u64),
        flags: i["fl"].as_u64().unwrap_or(0) as u32,
        memory: vec![0; 256],
        rip: 0,
        fault: None,
    };
    if !wide {
        m.gpr = std::array::from_fn(|k| if k < 8 { m.gpr[k] & 0xFFFF_FFFF } else { 0 });
    }
    (m.gpr[4], m.gpr[6], m.gpr[7]) = (0x2000_04C0, 0x2000_0440, 0x2000_0400);
    registers(&mut m, i);
    let memory = bytes(&i["mem"]);
    m.memory[..memory.len()].copy_from_slice(&memory);
    m
}

/// What the vector says is there afterwards.
fn expected(before: &Machine, o: &Value, length: usize) -> Machine {
    let mut m = before.clone();
    registers(&mut m, o);
    m.flags = o["fl"].as_u64().unwrap() as u32;
    m.fault = o["exc"].as_u64().map(|v| v as u8);
    m.rip = o["rip"].as_i64().unwrap_or(length as i64) as u64;
    if let Some(change) = o["mem"].as_array() {
        let (at, data) = (change[0].as_u64().unwrap() as usize, bytes(&change[1]));
        m.memory[at..at + data.len()].copy_from_slice(&data);
    }
    m
}

/// Physical layout of the tables: GDT, IDT, one handler for each vector, TSS, exception stack.
const GDT: u64 = 0x4000;
const IDT: u64 = 0x5000;
const HANDLERS: u64 = 0x6000;
const TSS: u64 = 0x7000;
const STACK: u64 = 0x9000;

const FEATURES: [Feature; 9] = [
    Feature::LahfLm,
    Feature::Movbe,
    Feature::Bmi1,
    Feature::Bmi2,
    Feature::Lzcnt,
    Feature::Popcnt,
    Feature::Adx,
    Feature::Cx16,
    Feature::Sse42,
];

/// A machine at CPL 3, in 64-bit mode if `wide`, that spins at `HANDLERS + 16 * vector` after an exception.
fn machine(wide: bool) -> System {
    let mut mem = PhysMem::new(0x4_0000, 0).unwrap();
    mem.map(0, 0x1_0000, Target::Pool(0));
    mem.map(CODE & !0xFFF, 0x2000, Target::Pool(0x1_0000));
    mem.map(MEMORY & !0xFFF, 0x2000, Target::Pool(0x2_0000));
    let mut put = |at: u64, v: u64| mem.write(at, &v.to_le_bytes());
    put(GDT + 8, if wide { 0x00AF_9B00_0000_FFFF } else { 0x00CF_9B00_0000_FFFF });
    put(GDT + 16, 0x00CF_9300_0000_FFFF);
    put(TSS + 4, if wide { STACK } else { 0x10 << 32 | STACK });
    for vector in 0..32 {
        let handler = HANDLERS + 16 * vector;
        // INT3, INTO and BOUND may come from CPL 3.
        let gate = handler & 0xFFFF | 8 << 16 | 0xEE00 << 32;
        put(IDT + vector * if wide { 16 } else { 8 }, gate);
        put(handler, 0xFEEB);
    }
    let model = FEATURES.into_iter().fold(Model::new(Kind::X64V3), |m, f| m.with(f, true));
    let mut sys = System::new(model, mem, Bus::new(ClockRate::DEFAULT, 1));
    sys.reset();
    let cpu = &mut sys.cpu;
    (cpu.cr0, cpu.efer) = (0x33, if wide { 0x500 } else { 0 });
    let descriptor = |selector: u16, v: u64| Segment::from_descriptor(selector, v as u32, (v >> 32) as u32);
    cpu.seg = [descriptor(0x23, 0x00CF_F300_0000_FFFF); 6];
    cpu.seg[seg::CS] = descriptor(0x1B, if wide { 0x00AF_FB00_0000_FFFF } else { 0x00CF_FB00_0000_FFFF });
    cpu.tr = descriptor(0x28, TSS << 16 | 0x0000_8B00_0000_0067);
    cpu.gdtr = TableRegister { base: GDT, limit: 23 };
    cpu.idtr = TableRegister { base: IDT, limit: 32 * 16 - 1 };
    cpu.cpl = 3;
    cpu.refresh_segments();
    sys.flush_translations();
    sys
}

/// Stands for an exception that the machine could not deliver; any vector is taken for it.
const UNDELIVERED: u8 = 0xFF;

/// One instruction from `before`.
fn run(sys: &mut System, fresh: &Cpu, before: &Machine, code: &[u8]) -> Machine {
    sys.mem.write(CODE, code);
    sys.mem.write(MEMORY, &before.memory);
    sys.cpu = fresh.clone();
    let cpu = &mut sys.cpu;
    cpu.regs[..16].copy_from_slice(&before.gpr);
    cpu.set_eflags(before.flags & FLAGS | 2);
    cpu.rip = CODE;
    for _ in 0..100 {
        let end = sys.now() + 1;
        sys.run(end);
        if sys.cpu.rip != CODE || sys.cpu.activity != Activity::Running {
            break;
        }
    }
    let cpu = &sys.cpu;
    let raised = cpu.rip.checked_sub(HANDLERS).filter(|at| *at < 0x200).map(|at| (at / 16) as u8);
    let fault = if cpu.activity == Activity::Shutdown { Some(UNDELIVERED) } else { raised };
    let mut after = before.clone();
    after.gpr.copy_from_slice(&cpu.regs[..16]);
    (after.flags, after.rip, after.fault) = (cpu.eflags(), cpu.rip.wrapping_sub(CODE), fault);
    sys.mem.read(MEMORY, &mut after.memory);
    after
}

/// Forms that differ: how many vectors of each, and the first.
type Differing = BTreeMap<String, (usize, String)>;

fn count(m: &Differing) -> usize {
    m.values().map(|w| w.0).sum()
}

fn show(m: &Differing) -> String {
    m.iter().map(|(form, (n, first))| format!("{form}: {n}, first {first}")).collect::<Vec<_>>().join("\n")
}

/// Whether `got` is `want` but for what the vector `v` says is undefined.
fn agrees_in_what_is_defined(v: &Value, got: &Machine, want: &Machine) -> bool {
    let undefined = v["u"].as_u64().unwrap_or(0) as u32;
    let mut masked = got.clone();
    masked.flags = got.flags & !undefined | want.flags & undefined;
    if v["ur"].as_u64() == Some(1) {
        (masked.gpr, masked.memory) = (want.gpr, want.memory.clone());
    }
    masked == *want
}

/// Runs all vectors of a group, and demands that all agree, in what is undefined too; `known` forms may differ.
fn check(group: &str, wide: bool, known: &[&str]) {
    let Some(lines) = vectors(group) else { return };
    let (mut wrong, mut loose) = (Differing::new(), Differing::new());
    let (mut sys, mut cases) = (machine(wide), 0);
    let fresh = sys.cpu.clone();
    for v in lines {
        cases += 1;
        let (before, code) = (start(&v["i"], wide), bytes(&v["b"]));
        let mut want = expected(&before, &v["o"], code.len());
        let mut got = run(&mut sys, &fresh, &before, &code);
        if want.fault.is_some() && got.fault.is_some() {
            // The exception switched stacks and changed RIP; a fault that can't be delivered has no vector.
            (want.gpr[4], want.rip) = (got.gpr[4], got.rip);
            got.fault = if got.fault == Some(UNDELIVERED) { want.fault } else { got.fault };
        }
        got.flags &= FLAGS;
        want.flags &= FLAGS;
        if got == want {
            continue;
        }
        let list = if agrees_in_what_is_defined(&v, &got, &want) { &mut loose } else { &mut wrong };
        let form = v["f"].as_str().unwrap().to_owned();
        let report = || {
            format!(
                "{v}\n  got {:x?} flags {:x} {:?} rip {:x}\n want {:x?} flags {:x} {:?}",
                got.gpr, got.flags, got.fault, got.rip, want.gpr, want.flags, want.fault
            )
        };
        list.entry(form).or_insert_with(|| (0, report())).0 += 1;
    }
    println!(
        "{group}: {} of {cases} vectors agree, {} but for what is undefined",
        cases - count(&wrong),
        count(&loose)
    );
    wrong.retain(|form, _| !known.iter().any(|k| form.starts_with(k)));
    assert!(wrong.is_empty() && cases > 1000, "{} of {cases} differ:\n{}", count(&wrong), show(&wrong));
    assert!(loose.is_empty(), "{} of {cases} differ in what is undefined:\n{}", count(&loose), show(&loose));
}

#[test]
fn alu32() {
    check("alu32", false, &["arpl "]);
}

#[test]
fn alu64() {
    check("alu64", true, &[]);
}
