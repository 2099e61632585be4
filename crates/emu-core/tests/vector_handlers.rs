//! Handlers of SSE and AVX instructions against their decoded forms, under an MXCSR that opens the handlers' shortcut. The
//! operands are those of the hardware vectors; that both do as the silicon did, emu-conform's tests show.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "test data is in files that the host names")]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use emu_core::cpu::model::{Feature, Kind};
use emu_core::cpu::{Model, Segment, TableRegister, seg};
use emu_core::mem::Target;
use emu_core::{Bus, ClockRate, PhysMem, System};
use serde_json::Value;

const MEMORY: u64 = 0x2000_0400;
const CODE: u64 = 0x1000_0100;
const STATUS: u32 = 0x8d5;

/// The lines of one group's file, or `None` (said aloud) if the shared data is not there.
fn vectors(group: &str) -> Option<impl Iterator<Item = Value>> {
    let shared = std::env::var_os("EMU_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let path = shared.join(format!("conformance/hwvec/{group}.jsonl.gz"));
    let Ok(file) = std::fs::File::open(&path) else {
        println!("skipped: no {}", path.display());
        return None;
    };
    let lines = BufReader::new(flate2::read::GzDecoder::new(file)).lines().skip(1);
    Some(lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap()))
}

fn bytes(hex: &Value) -> Vec<u8> {
    let text = hex.as_str().unwrap_or("");
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
}

fn word(hex: &Value) -> u64 {
    u64::from_str_radix(hex.as_str().unwrap(), 16).unwrap()
}

fn le(bytes: &[u8]) -> u128 {
    bytes.iter().rev().fold(0, |v, b| v << 8 | u128::from(*b))
}

/// All that a vector speaks of.
#[derive(Clone, PartialEq, Debug)]
struct Machine {
    gpr: [u64; 16],
    flags: u32,
    memory: Vec<u8>,
    xmm: [u128; 16],
    ymm_high: [u128; 16],
    mxcsr: u32,
    /// Physical x87 registers: top 16 bits and significand.
    st: [(u16, u64); 8],
    control: u16,
    status: u16,
    used: u8,
}

const NAMES: [&str; 16] =
    ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];

fn number(v: &Value, default: u64) -> u64 {
    v.as_u64().unwrap_or(default)
}

fn start(i: &Value) -> Machine {
    let mut m = Machine {
        gpr: std::array::from_fn(|k| 0x0101_0101_0101_0101 * k as u64),
        flags: number(&i["fl"], 0) as u32,
        memory: vec![0; 256],
        xmm: [0; 16],
        ymm_high: [0; 16],
        mxcsr: number(&i["mx"], 0x1f80) as u32,
        st: [(0, 0); 8],
        control: number(&i["cw"], 0x37f) as u16,
        status: number(&i["sw"], 0) as u16,
        used: number(&i["tw"], 0) as u8,
    };
    (m.gpr[4], m.gpr[6], m.gpr[7]) = (0x2000_04c0, 0x2000_0440, 0x2000_0400);
    registers(&mut m, i);
    let memory = bytes(&i["mem"]);
    m.memory[..memory.len()].copy_from_slice(&memory);
    if let Some(mm) = i["mm"].as_object() {
        m.st = [(0xffff, 0); 8];
        for (n, v) in mm {
            m.st[n.parse::<usize>().unwrap()].1 = le(&bytes(v)) as u64;
        }
    }
    m
}

/// General and vector registers, as inputs and outputs name them.
fn registers(m: &mut Machine, v: &Value) {
    for (name, value) in v["r"].as_object().into_iter().flatten() {
        m.gpr[NAMES.iter().position(|n| n == name).unwrap()] = word(value);
    }
    for (n, value) in v["x"].as_object().into_iter().flatten() {
        let (n, v) = (n.parse::<usize>().unwrap(), bytes(value));
        (m.xmm[n], m.ymm_high[n]) = (le(&v[..16]), le(&v[16..]));
    }
}

/// Physical layout: page tables, then GDT, IDT, one handler for each vector, TSS, exception stack, code, data.
const TABLES: u64 = 0x1000;
const GDT: u64 = 0x4000;
const IDT: u64 = 0x5000;
const HANDLERS: u64 = 0x6000;
const TSS: u64 = 0x7000;
const STACK: u64 = 0x9000;
const CODE_PAGE: u64 = 0x20_0000;
const DATA_PAGE: u64 = 0x40_0000;
const RAM: u64 = 0x60_0000;

/// A machine in 64-bit mode, CPL 0, that spins at `HANDLERS + 16 * vector` after an exception.
fn machine() -> System {
    let mut mem = PhysMem::new(RAM, 0).unwrap();
    mem.map(0, RAM, Target::Pool(0));
    let mut put = |at: u64, v: u64| mem.write(at, &v.to_le_bytes());
    put(TABLES, (TABLES + 0x1000) | 7);
    put(TABLES + 0x1000, (TABLES + 0x2000) | 7);
    for (linear, physical) in [(0, 0), (CODE, CODE_PAGE), (MEMORY, DATA_PAGE)] {
        put(TABLES + 0x2000 + (linear >> 21) * 8, physical | 0x87);
    }
    put(GDT + 8, 0x00af_9b00_0000_ffff);
    put(GDT + 16, 0x00cf_9300_0000_ffff);
    put(TSS + 0x24, STACK);
    for vector in 0..32 {
        let handler = HANDLERS + 16 * vector;
        put(IDT + 16 * vector, handler & 0xffff | 8 << 16 | 0x8e01 << 32);
        put(handler, 0xfeeb);
    }
    let more = [Feature::Sha, Feature::Gfni, Feature::Vaes];
    let model = more.into_iter().fold(Model::new(Kind::X64V3), |m, f| m.with(f, true));
    let mut sys = System::new(model, mem, Bus::new(ClockRate::DEFAULT, 1));
    sys.reset();
    let cpu = &mut sys.cpu;
    (cpu.cr0, cpu.cr3, cpu.cr4, cpu.efer) = (0x8001_0033, TABLES, 0x4_0620, 0x500);
    cpu.xcr0 = 7;
    let descriptor = |selector: u16, v: u64| Segment::from_descriptor(selector, v as u32, (v >> 32) as u32);
    cpu.seg = [descriptor(16, 0x00cf_9300_0000_ffff); 6];
    cpu.seg[seg::CS] = descriptor(8, 0x00af_9b00_0000_ffff);
    cpu.tr = descriptor(24, TSS << 16 | 0x0000_8b00_0000_0067);
    cpu.gdtr = TableRegister { base: GDT, limit: 23 };
    cpu.idtr = TableRegister { base: IDT, limit: 32 * 16 - 1 };
    cpu.refresh_segments();
    sys.flush_translations();
    sys
}

/// One instruction from `before`; the vector of the exception it raised, if any.
fn run(sys: &mut System, before: &Machine, code: &[u8]) -> (Machine, Option<u8>) {
    let offset = |linear: u64| linear & 0x1f_ffff;
    sys.mem.write(CODE_PAGE + offset(CODE), &[code, &[0xf4]].concat());
    sys.mem.write(DATA_PAGE + offset(MEMORY), &before.memory);
    let cpu = &mut sys.cpu;
    cpu.regs[..16].copy_from_slice(&before.gpr);
    cpu.set_eflags(before.flags & STATUS | 2);
    (cpu.xmm, cpu.ymm_high, cpu.mxcsr, cpu.rip) = (before.xmm, before.ymm_high, before.mxcsr, CODE);
    cpu.fpu.set_control(before.control);
    cpu.fpu.set_status(before.status);
    for (n, st) in before.st.iter().enumerate() {
        cpu.fpu.set_mm(n as u8, st.1);
    }
    cpu.fpu.set_abridged_tags(before.used);
    let end = sys.now() + 1;
    sys.run(end);
    let cpu = &sys.cpu;
    let raised = cpu.rip.checked_sub(HANDLERS).filter(|at| *at < 0x200).map(|at| (at / 16) as u8);
    let mut after = before.clone();
    after.gpr.copy_from_slice(&cpu.regs[..16]);
    if raised.is_some() {
        // The exception switched stacks.
        after.gpr[4] = before.gpr[4];
    }
    (after.flags, after.mxcsr) = (cpu.eflags(), cpu.mxcsr);
    (after.xmm, after.ymm_high) = (cpu.xmm, cpu.ymm_high);
    (after.control, after.status, after.used) = (cpu.fpu.control(), cpu.fpu.status(), cpu.fpu.abridged_tags());
    for (n, st) in after.st.iter_mut().enumerate() {
        st.1 = cpu.fpu.mm(n as u8);
    }
    sys.mem.read(DATA_PAGE + offset(MEMORY), &mut after.memory);
    (after, raised)
}

/// Handlers and decoded forms must agree where the handlers' shortcut is open: the vectors' operands under the default
/// MXCSR with PE set, once as blocks run, once with a breakpoint armed that makes the machine go by decoded forms.
#[test]
fn handlers_agree_with_decoded_forms() {
    let (Some(sse), Some(avx)) = (vectors("sse"), vectors("avx")) else { return };
    let (mut blocks, mut decoded) = (machine(), machine());
    (decoded.cpu.dr[0], decoded.cpu.dr[7]) = (0xdead_0000, 0x401);
    decoded.cpu.refresh_mode();
    let mut cases = 0;
    for v in sse.chain(avx) {
        let before = Machine { mxcsr: 0x1fa0, ..start(&v["i"]) };
        let code = bytes(&v["b"]);
        let (a, b) = (run(&mut blocks, &before, &code), run(&mut decoded, &before, &code));
        assert_eq!(a, b, "{v}");
        cases += 1;
    }
    assert!(cases > 1000);
}

/// The same for every VEX-encoded opcode, with its last operand a register or in memory in each form of address.
#[test]
fn handlers_agree_on_every_vex_opcode() {
    let (mut blocks, mut decoded) = (machine(), machine());
    (decoded.cpu.dr[0], decoded.cpu.dr[7]) = (0xdead_0000, 0x401);
    decoded.cpu.refresh_mode();
    let mut seed = 1u64;
    let mut word = || {
        seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        // Mostly numbers of ordinary size, whether seen as singles or as doubles.
        seed >> 12 & 0xf_ffff_ffff_ffff & !0x7800_0000 | 0x3ff0_0000_3800_0000
    };
    let mut before = start(&Value::Null);
    before.mxcsr = 0x1fa0;
    for v in before.xmm.iter_mut().chain(&mut before.ymm_high) {
        *v = u128::from(word()) << 64 | u128::from(word());
    }
    before.memory = (0..32).flat_map(|_| word().to_le_bytes()).collect();
    before.gpr[1] = 4;
    let relative = (MEMORY + 0x80 - CODE) as u32;
    let mut known = 0;
    let opcodes = (1..=3u8).flat_map(|m| (0..16u8).flat_map(move |r| (0..=255u8).map(move |o| (m, r, o))));
    for (map, rest, opcode) in opcodes {
        // xmm3; [rdi+40h]; [rdi+rcx*8+1]; [rip+...]; the byte behind each is an immediate.
        let at = (relative - 9 - u32::from(map == 3)).to_le_bytes();
        let operands =
            [&[0xcb, 0x1e][..], &[0x4f, 0x40, 0x1e], &[0x4c, 0xcf, 0x01, 0x1e], &[&[0x0d][..], &at, &[0x1e]].concat()];
        // W, L and pp; vvvv is 2, or none.
        let last = (rest & 8) << 4 | rest & 7;
        for (operand, vvvv) in operands.into_iter().flat_map(|o| [(o, 0x68), (o, 0x78)]) {
            let code = [&[0xc4, 0xe0 | map, last | vvvv, opcode][..], operand].concat();
            let (a, b) = (run(&mut blocks, &before, &code), run(&mut decoded, &before, &code));
            known += u32::from(a.1.is_none());
            assert_eq!(a, b, "{code:02x?}");
        }
    }
    assert!(known > 5_000, "only {known} forms were executed");
}
