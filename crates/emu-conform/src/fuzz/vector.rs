//! A found case as a file of hardware vectors, which `emu conform FILE` runs like any other.

use serde_json::{Map, Value, json};

use super::draft::{Draft, FLAGS, WINDOW, usual_gpr};
use crate::{Case, Reg, State, Tolerance};

const NAMES: [&str; 16] =
    ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];

/// The first line of a file with `cases` cases: the group's name, and where they come from.
#[must_use]
pub fn header(bits: u32, cases: usize, cpu: &str, seed: u64) -> Value {
    json!({ "group": format!("fuzz{bits}"), "bits": bits, "cases": cases, "forms": cases, "cpu": cpu, "seed": seed })
}

/// The line of a case: `case` holds what the CPU did, `draft` what it started from.
pub(super) fn line(draft: &Draft, case: &Case) -> Value {
    let mut line = json!({ "f": draft.text(), "b": hex(&draft.code), "i": input(draft), "o": output(draft, case) });
    let undefined = case.undefined(Reg::Rflags);
    if undefined != 0 {
        line["u"] = undefined.into();
    }
    if case.undefined_destination.is_some() {
        line["ur"] = 1.into();
    } else if case.tolerance == Tolerance::Approximate {
        line["ur"] = 2.into();
    }
    line
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn name(draft: &Draft, n: usize) -> String {
    if draft.bits == 64 { NAMES[n].to_owned() } else { format!("e{}", &NAMES[n][1..]) }
}

fn st_text(sign_exp: u16, sig: u64) -> Value {
    format!("{sign_exp:04x}{sig:016x}").into()
}

fn input(draft: &Draft) -> Value {
    let usual = usual_gpr(draft.bits);
    let changed = (0..16).filter(|n| draft.gpr[*n] != usual[*n]);
    let r: Map<String, Value> = changed.map(|n| (name(draft, n), format!("{:x}", draft.gpr[n]).into())).collect();
    let mut input = json!({ "fl": draft.flags, "cw": draft.fcw, "sw": draft.fsw, "tw": draft.ftw, "mx": draft.mxcsr });
    input["st"] = draft.st.iter().map(|v| st_text(v.sign_exp, v.sig)).collect();
    if !r.is_empty() {
        input["r"] = r.into();
    }
    let registers = if draft.bits == 64 { 16 } else { 8 };
    let named = (0..registers).filter(|n| draft.ymm[*n] != [0; 32]);
    let x: Map<String, Value> = named.map(|n| (n.to_string(), hex(&draft.ymm[n]).into())).collect();
    // Named even if empty: the vector registers are part of the case.
    input["x"] = x.into();
    let end = draft.memory.iter().rposition(|b| *b != 0).map_or(0, |n| n + 1);
    if end > 0 {
        input["mem"] = hex(&draft.memory[..end]).into();
    }
    input
}

/// What changed, by the rules of the vectors' README.
fn output(draft: &Draft, case: &Case) -> Value {
    let last = &case.last;
    let word = |reg: Reg| last.get(reg).or(case.initial.get(reg)).unwrap_or(0);
    let mut output = json!({
        "fl": word(Reg::Rflags) & FLAGS, "cw": word(Reg::Fcw), "sw": word(Reg::Fsw), "tw": word(Reg::Ftw), "mx": word(Reg::Mxcsr),
    });
    let registers = if draft.bits == 64 { 16 } else { 8 };
    let r: Map<String, Value> = (0..registers)
        .filter(|n| word(Reg::general(*n)) != draft.gpr[*n])
        .map(|n| (name(draft, n), format!("{:x}", word(Reg::general(n))).into()))
        .collect();
    if !r.is_empty() {
        output["r"] = r.into();
    }
    let rip = word(Reg::Rip).wrapping_sub(super::draft::CODE) as i64;
    if rip != draft.code.len() as i64 {
        output["rip"] = rip.into();
    }
    if let Some(vector) = case.exception {
        output["exc"] = vector.into();
    }
    wide(draft, last, registers, &mut output);
    let memory: Vec<u8> =
        (0..draft.memory.len()).map(|n| last.byte(WINDOW + n as u64).unwrap_or(draft.memory[n])).collect();
    let differ = |n: &usize| memory[*n] != draft.memory[*n];
    let all = 0..memory.len();
    if let (Some(first), Some(end)) = (all.clone().find(differ), all.rev().find(differ)) {
        output["mem"] = json!([first, hex(&memory[first..=end])]);
    }
    output
}

fn wide(draft: &Draft, last: &State, registers: usize, output: &mut Value) {
    let st: Map<String, Value> = (0..8)
        .filter_map(|n| last.st(n).filter(|v| *v != draft.st[n]).map(|v| (n.to_string(), st_text(v.sign_exp, v.sig))))
        .collect();
    if !st.is_empty() {
        output["st"] = st.into();
    }
    let x: Map<String, Value> = (0..registers)
        .filter_map(|n| {
            let bytes: Vec<u8> = last.ymm(n)?.iter().flat_map(|half| half.to_le_bytes()).collect();
            (bytes != draft.ymm[n]).then(|| (n.to_string(), hex(&bytes).into()))
        })
        .collect();
    if !x.is_empty() {
        output["x"] = x.into();
    }
}
