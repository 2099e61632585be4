//! The lines of the protocol (docs/FORMAT-conform-protocol.md): what comes in as values, what goes out as text.

use std::fmt::Write as _;

use crate::state::{GPR_NAMES, State};

/// Code of which width runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// 32-bit code in compatibility mode.
    User32,
    /// 64-bit code.
    User64,
}

/// One case, as emu sends it.
#[derive(Debug)]
pub(crate) struct Case {
    /// Its number, as text: it is only repeated.
    pub(crate) id: String,
    pub(crate) mode: Mode,
    /// Bytes at RIP.
    pub(crate) code: Vec<u8>,
    pub(crate) state: State,
    /// Linear address and bytes.
    pub(crate) memory: Vec<(u64, Vec<u8>)>,
}

/// How a case ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It ran; `Some` is the vector of the exception it raised.
    Ran(Option<u8>),
    /// This adapter can't run such a case.
    Skip(String),
    /// The adapter failed.
    Error(String),
}

/// Reads the words of a `case` line after `case`.
///
/// # Errors
/// The case's number, as far as there is one, and why it can't be run.
pub(crate) fn parse_case(words: &str) -> Result<Case, (String, String)> {
    let mut words = words.split_ascii_whitespace();
    let id = words.next().unwrap_or("0").to_owned();
    let mut case = Case { id, mode: Mode::User64, code: Vec::new(), state: State::default(), memory: Vec::new() };
    for word in words {
        let known = word.split_once('=').ok_or("is not key=value").and_then(|(k, v)| set(&mut case, k, v));
        if let Err(why) = known {
            return Err((case.id, format!("{word} {why}")));
        }
    }
    Ok(case)
}

fn number(text: &str) -> Result<u64, &'static str> {
    u64::from_str_radix(text, 16).map_err(|_| "is not a number")
}

fn bytes(text: &str) -> Result<Vec<u8>, &'static str> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return Err("does not hold bytes");
    }
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| "does not hold bytes"))
        .collect()
}

/// A number of up to 32 bytes, as little-endian bytes.
fn wide<const N: usize>(text: &str) -> Result<[u8; N], &'static str> {
    let digits = format!("{text:0>width$}", width = 2 * N);
    let mut value = <[u8; N]>::try_from(bytes(&digits)?).map_err(|_| "is too long")?;
    value.reverse();
    Ok(value)
}

fn set(case: &mut Case, key: &str, value: &str) -> Result<(), &'static str> {
    let state = &mut case.state;
    if let Some(n) = GPR_NAMES.iter().position(|name| *name == key) {
        state.gpr[n] = number(value)?;
        return Ok(());
    }
    match key {
        "mode" => {
            case.mode = match value {
                "user32" => Mode::User32,
                "user64" => Mode::User64,
                _ => return Err("is no mode of a user program"),
            }
        }
        "code" => case.code = bytes(value)?,
        "rip" => state.rip = number(value)?,
        "flags" => state.flags = number(value)? as u32,
        "fcw" => state.fcw = number(value)? as u16,
        "fsw" => state.fsw = number(value)? as u16,
        "ftw" => state.ftw = number(value)? as u8,
        "mxcsr" => state.mxcsr = number(value)? as u32,
        "mem" => {
            let (at, data) = value.split_once(':').ok_or("has no colon")?;
            case.memory.push((number(at)?, bytes(data)?));
        }
        _ => {
            let (name, n) = key
                .split_at_checked(key.find(|c: char| c.is_ascii_digit()).ok_or("is not known here")?)
                .ok_or("is not known here")?;
            let n = n.parse::<usize>().map_err(|_| "is not known here")?;
            match (name, n) {
                ("st", 0..8) => state.st[n] = wide(value)?,
                ("ymm", 0..16) => state.ymm[n] = wide(value)?,
                ("xmm", 0..16) => state.ymm[n][..16].copy_from_slice(&wide::<16>(value)?),
                _ => return Err("is not known here"),
            }
        }
    }
    Ok(())
}

/// A little-endian number as digits.
fn digits(out: &mut String, value: &[u8]) {
    for byte in value.iter().rev() {
        let _ = write!(out, "{byte:02x}");
    }
}

/// The answer to `case`: what `after` and `memory` (address and bytes that changed) have of new values.
pub(crate) fn answer(case: &Case, outcome: &Outcome, after: &State, memory: &[(u64, Vec<u8>)]) -> String {
    let (mut out, id) = (String::new(), &case.id);
    match outcome {
        Outcome::Skip(why) => return format!("skip {id} reason={why}"),
        Outcome::Error(why) => return format!("error {id} reason={why}"),
        Outcome::Ran(None) => out += &format!("done {id}"),
        Outcome::Ran(Some(vector)) => out += &format!("fault {id} vector={vector:x}"),
    }
    let before = &case.state;
    let mut scalar = |name: &str, old: u64, new: u64| {
        if old != new {
            let _ = write!(out, " {name}={new:x}");
        }
    };
    for (n, name) in GPR_NAMES.iter().enumerate() {
        scalar(name, before.gpr[n], after.gpr[n]);
    }
    scalar("rip", before.rip, after.rip);
    scalar("flags", before.flags.into(), after.flags.into());
    scalar("fcw", before.fcw.into(), after.fcw.into());
    scalar("fsw", before.fsw.into(), after.fsw.into());
    scalar("ftw", before.ftw.into(), after.ftw.into());
    scalar("mxcsr", before.mxcsr.into(), after.mxcsr.into());
    for (n, (old, new)) in before.st.iter().zip(&after.st).enumerate() {
        if old != new {
            let _ = write!(out, " st{n}=");
            digits(&mut out, new);
        }
    }
    for (n, (old, new)) in before.ymm.iter().zip(&after.ymm).enumerate() {
        if old != new {
            let _ = write!(out, " ymm{n}=");
            digits(&mut out, new);
        }
    }
    for (at, data) in memory {
        let _ = write!(out, " mem={at:x}:");
        for byte in data {
            let _ = write!(out, "{byte:02x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_is_read_and_answered() {
        let line = "2a mode=user32 rip=100 code=00d8 rax=5 st1=3fff8000000000000000 ymm2=01 mem=20:0aFF mem=30:01";
        let case = parse_case(line).unwrap();
        assert_eq!((case.id.as_str(), case.mode, case.code.as_slice()), ("2a", Mode::User32, &[0, 0xd8][..]));
        assert_eq!((case.state.gpr[0], case.state.rip, case.state.fcw), (5, 0x100, 0x37f));
        assert_eq!(case.state.st[1], [0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f]);
        assert_eq!(case.state.ymm[2][0], 1);
        assert_eq!(case.memory, [(0x20, vec![0x0a, 0xff]), (0x30, vec![1])]);
        let mut after = case.state.clone();
        (after.gpr[15], after.flags, after.st[0][9]) = (0xabc, 4, 0x40);
        let text = answer(&case, &Outcome::Ran(Some(13)), &after, &[(0x21, vec![0, 1])]);
        assert_eq!(text, "fault 2a vector=d r15=abc flags=4 st0=40000000000000000000 mem=21:0001");
    }

    #[test]
    fn what_is_unknown_is_refused() {
        for (line, why) in [
            ("1 mode=real", "mode=real is no mode of a user program"),
            ("1 cr0=1", "cr0=1 is not known here"),
            ("1 st8=0", "st8=0 is not known here"),
            ("1 r16=0", "r16=0 is not known here"),
            ("1 rax=x", "rax=x is not a number"),
            ("1 mem=5", "mem=5 has no colon"),
            ("1 code=123", "code=123 does not hold bytes"),
            ("1 st0=123456789012345678901", "st0=123456789012345678901 does not hold bytes"),
            ("1 code", "code is not key=value"),
        ] {
            assert_eq!(parse_case(line).unwrap_err(), ("1".into(), why.into()));
        }
    }
}
