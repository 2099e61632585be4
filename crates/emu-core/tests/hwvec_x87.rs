//! The x87 instructions against what a real CPU did, one at a time (hwvec/x87.jsonl.gz of the shared vectors).
//!
//! Everything must agree to the bit; the transcendental results of an Intel CPU are themselves only good to within
//! one unit in the last place, so there a neighbour is accepted in few of the cases.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test may read the host's files")]

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use emu_core::cpu::model::{Feature, Kind};
use emu_core::cpu::{Model, Segment, bits, seg};
use emu_core::fpu::F80;
use emu_core::mem::Target;
use emu_core::{Bus, ClockRate, PhysMem, System};
use serde_json::Value;

const CODE: u64 = 0x1000;
const HANDLER: u64 = 0x2000;
const DATA: u64 = 0x4000;

/// A real-mode machine whose #MF handler is at [`HANDLER`].
fn machine() -> System {
    let mut mem = PhysMem::new(0x10_0000, 0).expect("RAM");
    mem.map(0, 0x10_0000, Target::Pool(0));
    mem.write(4 * 16, &[0x00, 0x20, 0, 0]);
    mem.write(HANDLER, &[0x90; 16]);
    let mut sys = System::new(Model::new(Kind::P6).with(Feature::Sse3, true), mem, Bus::new(ClockRate::DEFAULT, 1));
    sys.reset();
    for s in [seg::ES, seg::CS, seg::SS, seg::DS] {
        sys.cpu.set_segment(s, Segment::real(0));
    }
    sys.cpu.cr0 |= bits::CR0_NE;
    sys.cpu.refresh_mode();
    sys
}

fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("EMU_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let file = root.join(path);
    file.exists().then_some(file)
}

fn number(v: &Value, key: &str) -> u64 {
    v.get(key).and_then(Value::as_u64).unwrap_or(0)
}

fn hex(s: &str) -> Vec<u8> {
    (0..s.len() / 2).map(|i| u8::from_str_radix(&s[2 * i..2 * i + 2], 16).expect("hex")).collect()
}

fn f80(v: &Value) -> F80 {
    let s = v.as_str().expect("a register");
    F80::new(u16::from_str_radix(&s[..4], 16).expect("hex"), u64::from_str_radix(&s[4..], 16).expect("hex"))
}

/// Puts a vector's input into the machine. `[rdi]` of the vectors' 64-bit code is `[bx]` here.
fn set_up(sys: &mut System, code: &[u8], input: &Value) {
    let fpu = &mut sys.cpu.fpu;
    fpu.set_control(number(input, "cw") as u16);
    fpu.set_status(number(input, "sw") as u16);
    for (i, v) in input["st"].as_array().into_iter().flatten().enumerate() {
        fpu.set_st(i as u8, f80(v));
    }
    fpu.set_abridged_tags(number(input, "tw") as u8);
    sys.mem.write(CODE, &[0x90; 16]);
    sys.mem.write(CODE, code);
    sys.mem.write(DATA, &memory(input));
    sys.cpu.regs = [0; 32];
    (sys.cpu.regs[3], sys.cpu.regs[4]) = (DATA, 0xf000);
    sys.cpu.rip = CODE;
    sys.cpu.set_eflags(number(input, "fl") as u32 | 2);
}

/// The 16 bytes at the operand's place.
fn memory(input: &Value) -> [u8; 16] {
    let mut mem = [0; 16];
    let bytes = hex(input.get("mem").and_then(Value::as_str).unwrap_or(""));
    mem[..bytes.len()].copy_from_slice(&bytes);
    mem
}

/// What differs from the silicon, in words; empty if nothing.
fn differences(c: &System, input: &Value, output: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut check = |what: &str, ours: String, theirs: String| {
        if ours != theirs {
            found.push(format!("{what} {ours} silicon {theirs}"));
        }
    };
    check("cw", format!("{:04x}", c.cpu.fpu.control()), format!("{:04x}", number(output, "cw")));
    check("sw", format!("{:04x}", c.cpu.fpu.status()), format!("{:04x}", number(output, "sw")));
    check("tw", format!("{:02x}", c.cpu.fpu.abridged_tags()), format!("{:02x}", number(output, "tw")));
    check("flags", format!("{:x}", c.cpu.eflags() & 0xcd5), format!("{:x}", number(output, "fl") & 0xcd5));
    let mut mem = memory(input);
    if let Some(changed) = output.get("mem") {
        let (at, bytes) = (changed[0].as_u64().unwrap_or(0) as usize, hex(changed[1].as_str().unwrap_or("")));
        mem[at..at + bytes.len()].copy_from_slice(&bytes);
    }
    let mut ours = [0; 16];
    c.mem.read(DATA, &mut ours);
    check("mem", format!("{ours:x?}"), format!("{mem:x?}"));
    if let Some(rax) = output.get("r").and_then(|r| r.get("rax")) {
        check("ax", format!("{:x}", c.cpu.regs[0]), rax.as_str().unwrap_or("").to_string());
    }
    for i in 0..8 {
        let theirs = output["st"].get(i.to_string()).unwrap_or(&input["st"][i]);
        let ours = c.cpu.fpu.st(i as u8);
        check(
            &format!("st{i}"),
            format!("{:04x}{:016x}", ours.sign_exp, ours.sig),
            theirs.as_str().unwrap_or("").to_string(),
        );
    }
    found
}

/// True if the only differences are results next to the silicon's, and C1, which tells how they were rounded.
fn within_one_ulp(c: &System, input: &Value, output: &Value) -> bool {
    let mut near = number(output, "tw") as u8 == c.cpu.fpu.abridged_tags();
    near &= (number(output, "sw") as u16 ^ c.cpu.fpu.status()) & !0x200 == 0;
    for i in 0..8 {
        let theirs = f80(output["st"].get(i.to_string()).unwrap_or(&input["st"][i]));
        let ours = c.cpu.fpu.st(i as u8);
        let key = |v: F80| (u128::from(v.sign_exp) << 63) + u128::from(v.sig & !(1 << 63));
        near &= key(ours).abs_diff(key(theirs)) <= 1;
    }
    near
}

/// With the specialised handlers of the engine.
#[test]
fn agrees_with_silicon() {
    replay(|_| ());
}

/// An armed breakpoint, wherever it is, has every instruction executed from its decoded form.
#[test]
fn agrees_with_silicon_off_the_fast_path() {
    replay(|sys| {
        (sys.cpu.dr[0], sys.cpu.dr[7]) = (0xf_0000, 1);
        sys.cpu.refresh_mode();
    });
}

fn replay(prepare: impl Fn(&mut System)) {
    let Some(file) = shared("conformance/hwvec/x87.jsonl.gz") else {
        println!("skipped: no shared vectors (set EMU_SHARED)");
        return;
    };
    let mut text = String::new();
    let packed = std::fs::File::open(file).expect("readable vectors");
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).expect("gzip");
    // Form: cases, equal, near, the first difference.
    let mut forms: BTreeMap<String, (u32, u32, u32, String)> = BTreeMap::new();
    let mut sys = machine();
    prepare(&mut sys);
    for line in text.lines().skip(1) {
        let v: Value = serde_json::from_str(line).expect("JSON");
        let (input, output) = (&v["i"], &v["o"]);
        let code = hex(v["b"].as_str().expect("bytes"));
        set_up(&mut sys, &code, input);
        sys.run(sys.now() + 1);
        let mut found = differences(&sys, input, output);
        let rip = if output.get("exc").is_some() { HANDLER } else { CODE + code.len() as u64 };
        if sys.cpu.rip != rip {
            found.push(format!("rip {:x}, not {rip:x}", sys.cpu.rip));
        }
        let entry = forms.entry(v["f"].as_str().unwrap_or("?").to_string()).or_default();
        entry.0 += 1;
        if found.is_empty() {
            entry.1 += 1;
        } else if within_one_ulp(&sys, input, output) {
            entry.2 += 1;
            entry.3 += &format!("    near {}\n    in {input}\n", found.join("; "));
        } else {
            entry.3 += &format!("    {}\n    in {input}\n", found.join("; "));
        }
    }
    judge(&forms);
}

const TRANSCENDENTAL: [&str; 8] = ["f2xm1", "fcos", "fpatan", "fptan", "fsin", "fsincos", "fyl2x", "fyl2xp1"];

fn judge(forms: &BTreeMap<String, (u32, u32, u32, String)>) {
    let (mut wrong, mut approximated, mut near) = (0, 0, 0);
    for (form, (cases, equal, close, first)) in forms {
        if cases != equal {
            println!("{form}: {equal}/{cases} equal, {close} near\n{first}");
        }
        let transcendental = TRANSCENDENTAL.contains(&form.as_str());
        wrong += cases - equal - if transcendental { *close } else { 0 };
        if transcendental {
            approximated += cases;
            near += close;
        }
    }
    println!("transcendental: {near} of {approximated} one unit off");
    assert_eq!(wrong, 0, "cases differ from silicon");
    assert!(near * 100 <= approximated * 3, "{near} of {approximated} transcendental results are not the silicon's");
}
