//! Cases as lines, and lines as answers.

use std::fmt::Write as _;

use super::hello::Hello;
use super::process::LINE;
use crate::{Case, End, Environment, Event, F80, Place, Reg, State};

/// Registers that the protocol calls otherwise than emu's reports, or that not every adapter has.
fn key(reg: Reg) -> &'static str {
    match reg {
        Reg::Rflags => "flags",
        other => other.name(),
    }
}

/// What an answer says of how the case ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Done,
    Fault(u8),
    Shutdown,
    Endless,
    Skip(String),
    Error(String),
}

/// The values of an answer.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) state: State,
    pub(super) event: Option<Event>,
}

/// Writes the line of a case, its end included. `Err`: why this adapter can't run it.
pub(super) fn encode(case: &Case, number: u64, hello: &Hello, line: &mut String) -> Result<(), String> {
    line.clear();
    let mode = match case.environment {
        Environment::Real => "real",
        Environment::Flat32 => "user32",
        Environment::Flat64 => "user64",
    };
    if !hello.modes.contains(&case.environment) {
        return Err(format!("the adapter does not run mode {mode}"));
    }
    let _ = write!(line, "case {number:x} mode={mode} code=");
    push_bytes(line, case.code.iter());
    if case.end == End::Halt {
        line.push_str(" until=hlt");
    }
    let s = &case.initial;
    for place in s.places() {
        match place {
            Place::Reg(reg) => register(case, reg, hello, line)?,
            _ if !hello.x87 && matches!(place, Place::St(_)) => return Err("the adapter has no x87 registers".into()),
            _ if !hello.sse && matches!(place, Place::Ymm(_)) => {
                return Err("the adapter has no vector registers".into());
            }
            Place::St(i) => st(line, i, s.st(i.into()).unwrap_or_default()),
            Place::Ymm(i) => ymm(line, i, s.ymm(i.into()).unwrap_or_default(), hello.avx)?,
            Place::Byte(_) => {}
        }
    }
    let code = (0..case.code.len() as u64).map(|i| case.address().wrapping_add(i));
    if let Some(at) = s.memory.iter().map(|b| b.0).chain(code).find(|at| !hello.has_memory(*at)) {
        return Err(format!("the adapter has no memory at {at:x}"));
    }
    memory(line, &s.memory);
    line.push('\n');
    if line.len() > LINE { Err(format!("the case makes a line of more than {LINE} bytes")) } else { Ok(()) }
}

fn register(case: &Case, reg: Reg, hello: &Hello, line: &mut String) -> Result<(), String> {
    let value = case.initial.get(reg).unwrap_or(0);
    let real = case.environment == Environment::Real;
    let (value, usual) = match reg {
        Reg::Rflags => (value & case.status, 0),
        Reg::Fcw => (value, 0x37F),
        Reg::Mxcsr => (value, 0x1F80),
        // RIP is always said.
        Reg::Rip => (value, value.wrapping_add(1)),
        Reg::Cr0 | Reg::Cr2 | Reg::Cr3 | Reg::Cr4 | Reg::Dr6 | Reg::Dr7 if !hello.control => return Ok(()),
        Reg::Es | Reg::Cs | Reg::Ss | Reg::Ds | Reg::Fs | Reg::Gs if !real => {
            return Err("selectors can be given in real mode only".into());
        }
        _ => (value, 0),
    };
    if value == usual {
        return Ok(());
    }
    match reg {
        Reg::Fcw | Reg::Fsw | Reg::Ftw if !hello.x87 => Err("the adapter has no x87 registers".into()),
        Reg::Mxcsr if !hello.sse => Err("the adapter has no vector registers".into()),
        _ => {
            let _ = write!(line, " {}={value:x}", key(reg));
            Ok(())
        }
    }
}

fn st(line: &mut String, i: u8, v: F80) {
    if v != F80::default() {
        let _ = write!(line, " st{i}={:04x}{:016x}", v.sign_exp, v.sig);
    }
}

fn ymm(line: &mut String, i: u8, v: [u128; 2], avx: bool) -> Result<(), String> {
    if v == [0; 2] {
        return Ok(());
    }
    let written = match (avx, v[1]) {
        (true, high) => write!(line, " ymm{i}={high:032x}{:032x}", v[0]),
        (false, 0) => write!(line, " xmm{i}={:032x}", v[0]),
        _ => return Err("the adapter has no upper halves of YMM registers".into()),
    };
    let _ = written;
    Ok(())
}

fn push_bytes<'a>(line: &mut String, bytes: impl Iterator<Item = &'a u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        line.push(DIGITS[usize::from(byte >> 4)] as char);
        line.push(DIGITS[usize::from(byte & 15)] as char);
    }
}

/// Runs of bytes at consecutive addresses. Zeros need not be said if no address comes twice.
fn memory(line: &mut String, bytes: &[(u64, u8)]) {
    let rising = bytes.windows(2).all(|pair| pair[0].0 < pair[1].0);
    let mut left = bytes;
    while let Some((first, _)) = left.first() {
        let length = left.iter().zip(*first..).take_while(|(b, at)| b.0 == *at).count();
        let (mut run, rest) = left.split_at(length.max(1));
        left = rest;
        if rising {
            let start = run.iter().position(|b| b.1 != 0).unwrap_or(run.len());
            let end = run.iter().rposition(|b| b.1 != 0).map_or(start, |n| n + 1);
            run = &run[start..end];
        }
        if let Some((at, _)) = run.first() {
            let _ = write!(line, " mem={at:x}:");
            push_bytes(line, run.iter().map(|b| &b.1));
        }
    }
}

impl Answer {
    /// Reads the answer to case `number`.
    ///
    /// # Errors
    /// Why it is none.
    pub(super) fn read(&mut self, line: &str, number: u64) -> Result<Verdict, String> {
        self.state.clear();
        self.event = None;
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (id, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        if !["done", "fault", "skip", "error", "shutdown", "endless"].contains(&verb) {
            return Err(format!("{:?} is no answer", verb.chars().take(40).collect::<String>()));
        }
        if u64::from_str_radix(id, 16) != Ok(number) {
            return Err(format!("it answers case {:?}, not {number:x}", id.chars().take(40).collect::<String>()));
        }
        let reason = || {
            let text = rest.trim().strip_prefix("reason=").unwrap_or("it did not say why");
            text.chars().filter(|c| !c.is_control()).take(200).collect()
        };
        match verb {
            "skip" => return Ok(Verdict::Skip(reason())),
            "error" => return Ok(Verdict::Error(reason())),
            _ => {}
        }
        let mut vector = None;
        for word in rest.split_ascii_whitespace() {
            let (key, value) = word.split_once('=').ok_or(format!("{word:?} is not key=value"))?;
            match key {
                "vector" => vector = u8::from_str_radix(value, 16).ok(),
                _ => self.set(key, value).ok_or(format!("{word:?} is no register or memory with its value"))?,
            }
        }
        match (verb, vector) {
            ("fault", Some(vector)) => Ok(Verdict::Fault(vector)),
            ("fault", None) => Err("it names no vector".into()),
            ("shutdown", _) => Ok(Verdict::Shutdown),
            ("endless", _) => Ok(Verdict::Endless),
            _ => Ok(Verdict::Done),
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        if key == "mem" {
            let (at, bytes) = value.split_once(':')?;
            let at = u64::from_str_radix(at, 16).ok()?;
            let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
            for (i, pair) in bytes.as_bytes().chunks(2).enumerate() {
                let byte = digit(pair[0])? << 4 | digit(*pair.get(1)?)?;
                self.state.memory.push((at.wrapping_add(i as u64), byte));
            }
            return Some(());
        }
        let numbered = |prefix: &str, limit: usize| {
            let n = key.strip_prefix(prefix)?.parse::<usize>().ok()?;
            (n < limit).then_some(n)
        };
        // Digits of 128 bits each, from the end.
        let long = |limit: usize| {
            let good = value.len() <= limit && !value.is_empty() && value.bytes().all(|b| b.is_ascii_hexdigit());
            let (high, low) = good.then(|| value.split_at(value.len().saturating_sub(32)))?;
            let high = if high.is_empty() { 0 } else { u128::from_str_radix(high, 16).ok()? };
            Some([u128::from_str_radix(low, 16).ok()?, high])
        };
        if let Some(n) = numbered("st", 8) {
            let v = long(20)?[0];
            self.state.set_st(n, F80::new((v >> 64) as u16, v as u64));
        } else if let Some(n) = numbered("ymm", 16) {
            self.state.set_ymm(n, long(64)?);
        } else if let Some(n) = numbered("xmm", 16) {
            self.state.set_ymm(n, long(32)?);
        } else {
            let reg = Reg::ALL.iter().find(|reg| self::key(**reg) == key)?;
            let [low, high] = long(32)?;
            self.state.set(*reg, u64::try_from(low).ok().filter(|_| high == 0)?);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello::read("hello 1 modes=real,user64 state=x87,avx").unwrap()
    }

    fn case() -> Case {
        let mut case = Case::new(Environment::Flat64, End::Step);
        (case.code, case.status) = (vec![0x48, 0x01, 0xD8], 0xCD5);
        let s = &mut case.initial;
        for (reg, v) in [(Reg::Rax, 5), (Reg::Rbx, 0), (Reg::Rip, 0x100), (Reg::Rflags, 0x3), (Reg::Mxcsr, 0x1F80)] {
            s.set(reg, v);
        }
        s.set_st(1, F80::ONE);
        s.set_ymm(2, [0x10, 1]);
        s.set_bytes(0x200, &[0, 7, 0, 8, 0]);
        case
    }

    #[test]
    fn only_what_is_unusual_is_said() {
        let mut line = String::new();
        encode(&case(), 0x2A, &hello(), &mut line).unwrap();
        let ymm = format!("{:032x}{:032x}", 1, 0x10);
        let want = format!(
            "case 2a mode=user64 code=4801d8 rax=5 rip=100 flags=1 st1=3fff8000000000000000 ymm2={ymm} mem=201:070008\n"
        );
        assert_eq!(line, want);
        let mut twice = case();
        twice.initial.set_bytes(0x201, &[0]);
        encode(&twice, 1, &hello(), &mut line).unwrap();
        assert!(line.ends_with(" mem=200:0007000800 mem=201:00\n"), "{line}");
    }

    #[test]
    fn an_adapter_gets_only_what_it_has() {
        let mut line = String::new();
        let mut refused = |hello: &str| encode(&case(), 1, &Hello::read(hello).unwrap(), &mut line).unwrap_err();
        assert!(refused("hello 1 modes=real state=x87,avx").contains("mode user64"));
        assert!(refused("hello 1 modes=user64 state=avx").contains("x87"));
        assert!(refused("hello 1 modes=user64 state=x87").contains("vector"));
        assert!(refused("hello 1 modes=user64 state=x87,sse").contains("upper halves"));
        assert!(refused("hello 1 modes=user64 state=x87,avx memory=0+204").contains("at 204"));
        assert!(refused("hello 1 modes=user64 state=x87,avx memory=200+100").contains("at 100"));
    }

    #[test]
    fn answers_are_read() {
        let mut answer = Answer::default();
        let line = "fault 2a vector=D rax=0F st7=1 ymm15=100000000000000000000000000000002 mem=ff:01aB flags=2";
        assert_eq!(answer.read(line, 0x2A), Ok(Verdict::Fault(13)));
        let s = &answer.state;
        assert_eq!((s.get(Reg::Rax), s.get(Reg::Rflags), s.byte(0x100)), (Some(15), Some(2), Some(0xAB)));
        assert_eq!((s.st(7), s.ymm(15)), (Some(F80::new(0, 1)), Some([2, 1])));
        assert_eq!(answer.read("done 1", 1), Ok(Verdict::Done));
        assert_eq!(answer.state.places().count(), 0);
        assert_eq!(answer.read("skip 1 reason=no such thing", 1), Ok(Verdict::Skip("no such thing".into())));
        assert_eq!(answer.read("error 1", 1), Ok(Verdict::Error("it did not say why".into())));
    }

    #[test]
    fn garbage_is_named() {
        let mut answer = Answer::default();
        for (line, why) in [
            ("", "is no answer"),
            ("ok 1", "is no answer"),
            ("done", "answers case"),
            ("done 2", "answers case"),
            ("done 1 rax", "not key=value"),
            ("done 1 rax=", "no register"),
            ("done 1 rax=10000000000000000", "no register"),
            ("done 1 zmm0=0", "no register"),
            ("done 1 st8=0", "no register"),
            ("done 1 st0=+1", "no register"),
            ("done 1 st0=100000000000000000000", "no register"),
            ("done 1 mem=5", "no register"),
            ("done 1 mem=5:1", "no register"),
            ("done 1 mem=5:é", "no register"),
            ("fault 1", "no vector"),
            ("fault 1 vector=100", "no vector"),
        ] {
            let error = answer.read(line, 1).unwrap_err();
            assert!(error.contains(why), "{line}: {error}");
        }
    }
}
