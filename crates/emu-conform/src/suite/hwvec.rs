//! Hardware vectors: what an Intel CPU did for one instruction of user code, a JSON object a line.
//!
//! The first line names the group and its width. Each other line has `f` (the form), `b` (bytes), `i` and `o` (input and
//! output) and, where the architecture leaves something open, `u` (a mask of flags) and `ur` (1: the destination is
//! undefined; 2: an approximation). The README beside the vectors tells the defaults of what `i` does not name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::{Cases, SuiteError};
use crate::{Case, End, Environment, F80, Mask, MaskSource, Reg, State, Tolerance};

/// Linear address of the 256 bytes of memory that the vectors show.
const MEMORY: u64 = 0x2000_0400;
const CODE: u64 = 0x1000_0100;
/// CF, PF, AF, ZF, SF, DF and OF.
const FLAGS: u64 = 0xCD5;
/// Instructions whose x87 results are approximations on silicon too.
const TRANSCENDENTAL: [&str; 8] = ["f2xm1", "fcos", "fpatan", "fptan", "fsin", "fsincos", "fyl2x", "fyl2xp1"];

/// A file of hardware vectors in memory.
#[derive(Debug)]
pub struct Hwvec {
    path: PathBuf,
    data: Vec<u8>,
    at: usize,
    group: String,
    wide: bool,
    promised: u64,
    seen: u64,
    forms: BTreeMap<String, Arc<str>>,
    source: MaskSource,
}

impl Hwvec {
    /// Takes the unpacked contents of a file.
    ///
    /// # Errors
    /// Its first line is not one of hardware vectors.
    pub fn new(path: &Path, data: Vec<u8>) -> Result<Hwvec, SuiteError> {
        let (line, at) = line_at(&data, 0);
        let bad = |what: String| SuiteError::at(path, 0, what);
        let head: Value = serde_json::from_slice(line).map_err(|e| bad(format!("the first line is no JSON: {e}")))?;
        let (group, bits) = (head["group"].as_str(), head["bits"].as_u64());
        let (Some(group), Some(bits @ (32 | 64))) = (group, bits) else {
            return Err(bad("the first line names no group of hardware vectors and its width".into()));
        };
        let source = MaskSource::Suite(format!("the vectors of {group}").into());
        let promised = head["cases"].as_u64().unwrap_or(u64::MAX);
        let (group, path) = (group.to_owned(), path.to_owned());
        Ok(Hwvec { path, data, at, group, wide: bits == 64, promised, seen: 0, forms: BTreeMap::new(), source })
    }

    /// The group: `alu64`, `sse`.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Cases that the first line promises.
    #[must_use]
    pub fn promised(&self) -> u64 {
        self.promised
    }

    fn vector(&mut self, v: &Value, case: &mut Case) -> Result<(), String> {
        let form = v["f"].as_str().ok_or("it has no form")?;
        let row = match self.forms.get(form) {
            Some(row) => row.clone(),
            None => self.forms.entry(form.to_owned()).or_insert_with(|| form.into()).clone(),
        };
        let environment = if self.wide { Environment::Flat64 } else { Environment::Flat32 };
        *case = Case { row, index: self.seen, status: FLAGS, ..Case::new(environment, End::Step) };
        case.code = hex(&v["b"]).filter(|b| (1..=15).contains(&b.len())).ok_or("its bytes are no instruction")?;
        let (i, o) = (&v["i"], &v["o"]);
        self.input(i, &mut case.initial)?;
        names(o, &mut case.last)?;
        case.exception = o["exc"].as_u64().map(|v| v as u8);
        let rip = o["rip"].as_i64().unwrap_or(case.code.len() as i64);
        case.last.set(Reg::Rip, CODE.wrapping_add_signed(rip));
        if let Some(st) = o["st"].as_object() {
            for (n, value) in st {
                case.last.set_st(index(n, 8)?, f80(value).ok_or("a value of st is wrong")?);
            }
        }
        if let Some(change) = o["mem"].as_array() {
            let at = change.first().and_then(Value::as_u64).filter(|at| *at < 256).ok_or("o.mem has no offset")?;
            let bytes = change.get(1).and_then(hex).filter(|b| b.len() as u64 + at <= 256).ok_or("o.mem is wrong")?;
            case.last.set_bytes(MEMORY + at, &bytes);
        }
        self.undefined(v, form, case);
        Ok(())
    }

    /// The state before: defaults, then what the vector names.
    fn input(&self, i: &Value, s: &mut State) -> Result<(), String> {
        let (registers, width) = if self.wide { (16, u64::MAX) } else { (8, 0xFFFF_FFFF) };
        for n in 0..registers {
            s.set(Reg::general(n), 0x0101_0101_0101_0101u64.wrapping_mul(n as u64) & width);
        }
        for (reg, v) in [(Reg::Rsp, MEMORY + 0xC0), (Reg::Rsi, MEMORY + 0x40), (Reg::Rdi, MEMORY), (Reg::Rip, CODE)] {
            s.set(reg, v);
        }
        names(i, s)?;
        let mut memory = [0; 256];
        let given = if i["mem"].is_null() { Vec::new() } else { hex(&i["mem"]).ok_or("i.mem is wrong")? };
        memory.get_mut(..given.len()).ok_or("i.mem is too long")?.copy_from_slice(&given);
        s.set_bytes(MEMORY, &memory);
        if let Some(st) = i["st"].as_array() {
            for (n, value) in st.iter().enumerate().take(8) {
                s.set_st(n, f80(value).ok_or("a value of st is wrong")?);
            }
        }
        if let Some(mm) = i["mm"].as_object() {
            (0..8).for_each(|n| s.set_st(n, F80::new(0xFFFF, 0)));
            for (n, value) in mm {
                let bytes: [u8; 8] = hex(value).and_then(|b| b.try_into().ok()).ok_or("a value of mm is wrong")?;
                s.set_st(index(n, 8)?, F80::new(0xFFFF, u64::from_le_bytes(bytes)));
            }
        }
        if i["x"].is_object() {
            (0..16).filter(|n| s.ymm(*n).is_none()).collect::<Vec<_>>().into_iter().for_each(|n| s.set_ymm(n, [0; 2]));
            if s.get(Reg::Mxcsr).is_none() {
                s.set(Reg::Mxcsr, 0x1F80);
            }
        }
        Ok(())
    }

    /// What the vector declares undefined.
    fn undefined(&self, v: &Value, form: &str, case: &mut Case) {
        let undefined = v["u"].as_u64().unwrap_or(0);
        if undefined != 0 {
            case.masks.push(Mask { reg: Reg::Rflags, undefined, source: self.source.clone() });
        }
        match v["ur"].as_u64() {
            Some(1) => case.undefined_destination = Some(self.source.clone()),
            Some(2) => case.tolerance = Tolerance::Approximate,
            _ if TRANSCENDENTAL.contains(&form) => case.tolerance = Tolerance::OneUlp,
            _ => {}
        }
    }
}

/// General, vector and control registers, as inputs and outputs name them.
fn names(v: &Value, s: &mut State) -> Result<(), String> {
    for (name, value) in v["r"].as_object().into_iter().flatten() {
        let reg = Reg::by_name(name).filter(|r| *r <= Reg::R15).ok_or(format!("there is no register {name}"))?;
        let value = value.as_str().and_then(|t| u64::from_str_radix(t, 16).ok());
        s.set(reg, value.ok_or(format!("the value of {name} is wrong"))?);
    }
    for (n, value) in v["x"].as_object().into_iter().flatten() {
        let bytes: [u8; 32] = hex(value).and_then(|b| b.try_into().ok()).ok_or("a value of x is wrong")?;
        let half = |at: usize| bytes[at..at + 16].iter().rev().fold(0, |v, b| v << 8 | u128::from(*b));
        s.set_ymm(index(n, 16)?, [half(0), half(16)]);
    }
    let keys = [("fl", Reg::Rflags), ("mx", Reg::Mxcsr), ("cw", Reg::Fcw), ("sw", Reg::Fsw), ("tw", Reg::Ftw)];
    for (key, reg) in keys {
        if let Some(value) = v[key].as_u64() {
            s.set(reg, value);
        }
    }
    Ok(())
}

fn index(text: &str, limit: usize) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n < limit).ok_or(format!("there is no register number {text:?}"))
}

fn hex(v: &Value) -> Option<Vec<u8>> {
    let text = v.as_str()?.as_bytes();
    let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    let pair = |p: &[u8]| Some(digit(p[0])? << 4 | digit(*p.get(1)?)?);
    text.chunks(2).map(pair).collect()
}

/// Sign and exponent in four digits, then the significand in sixteen.
fn f80(v: &Value) -> Option<F80> {
    let text = v.as_str().filter(|t| t.len() == 20 && t.is_ascii())?;
    let (high, low) = text.split_at(4);
    Some(F80::new(u16::from_str_radix(high, 16).ok()?, u64::from_str_radix(low, 16).ok()?))
}

/// The line at `at`, and where the next one begins.
fn line_at(data: &[u8], at: usize) -> (&[u8], usize) {
    let rest = &data[at..];
    match rest.iter().position(|b| *b == b'\n') {
        Some(n) => (&rest[..n], at + n + 1),
        None => (rest, data.len()),
    }
}

impl Cases for Hwvec {
    fn error_here(&self, what: String) -> SuiteError {
        SuiteError::at(&self.path, self.at.min(self.data.len()) as u64, what)
    }

    fn next(&mut self, case: &mut Case) -> Result<bool, SuiteError> {
        while self.at < self.data.len() {
            let start = self.at;
            let (line, next) = line_at(&self.data, start);
            if line.is_empty() {
                self.at = next;
                continue;
            }
            let parsed = serde_json::from_slice::<Value>(line);
            // After an error there is nothing to be found behind it.
            self.at = self.data.len();
            let bad = |path: &Path, what: String| SuiteError::at(path, start as u64, what);
            let v = parsed.map_err(|e| bad(&self.path, format!("the line is no JSON: {e}")))?;
            self.vector(&v, case).map_err(|e| bad(&self.path, e))?;
            (self.at, self.seen) = (next, self.seen + 1);
            return Ok(true);
        }
        if self.promised != u64::MAX && self.seen != self.promised {
            let what = format!("the first line promises {} cases, and there are {}", self.promised, self.seen);
            self.promised = u64::MAX;
            return Err(SuiteError::at(&self.path, self.data.len() as u64, what));
        }
        Ok(false)
    }
}
