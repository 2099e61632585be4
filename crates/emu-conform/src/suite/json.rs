//! SingleStepTests in JSON: one array of objects, each with `name`, `bytes`, `initial` and `final`.
//!
//! A state has `regs` (by name; in `final` perhaps only those that changed) and `ram` (pairs of address and value). Other
//! keys, of which `cycles` is the largest, are skipped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::moo::{FLAGS, find_pushed_flags};
use super::{Cases, SuiteError};
use crate::{Case, End, Environment, Mask, Reg, State};

#[derive(Deserialize)]
struct JsonCase {
    #[serde(default)]
    name: String,
    bytes: Vec<u8>,
    initial: JsonState,
    #[serde(rename = "final")]
    last: JsonState,
    idx: Option<u64>,
    exception: Option<JsonException>,
}

#[derive(Deserialize)]
struct JsonState {
    regs: BTreeMap<String, u32>,
    #[serde(default)]
    ram: Vec<(u32, u8)>,
}

#[derive(Deserialize)]
struct JsonException {
    number: u8,
}

/// A JSON file in memory.
#[derive(Debug)]
pub struct Json {
    path: PathBuf,
    data: Vec<u8>,
    at: usize,
    seen: u64,
    row: Arc<str>,
    masks: Vec<Mask>,
    halts: bool,
}

/// Whether these contents can be a file of JSON cases: an array.
#[must_use]
pub fn looks_like_cases(data: &[u8]) -> bool {
    data.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'[')
}

impl Json {
    /// Takes the unpacked contents of a file. `row` names its opcode; `masks` are the suite's for it; `halts` tells whether
    /// its cases end on an HLT.
    ///
    /// # Errors
    /// It is no array.
    pub fn new(path: &Path, data: Vec<u8>, row: &str, masks: Vec<Mask>, halts: bool) -> Result<Json, SuiteError> {
        let start = data.iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(0);
        if data.get(start) != Some(&b'[') {
            return Err(SuiteError::at(path, start as u64, "it is no array of test cases"));
        }
        Ok(Json { path: path.to_owned(), data, at: start + 1, seen: 0, row: row.into(), masks, halts })
    }

    fn error(&self, at: usize, what: impl Into<String>) -> SuiteError {
        SuiteError::at(&self.path, at as u64, what)
    }

    /// Skips white space, and tells the byte behind it.
    fn peek(&mut self) -> Option<u8> {
        while self.data.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.data.get(self.at).copied()
    }

    fn parse(&mut self) -> Result<JsonCase, SuiteError> {
        let mut values = serde_json::Deserializer::from_slice(&self.data[self.at..]).into_iter::<JsonCase>();
        let outcome = values.next();
        match outcome {
            Some(Ok(case)) => {
                self.at += values.byte_offset();
                Ok(case)
            }
            Some(Err(e)) => {
                // Line and column are those of the rest that was parsed; the byte says it better. The
                // stream's own offset is no help: on an error it may stay at the value's first byte.
                let end = self.at + offset_of(&self.data[self.at..], e.line(), e.column());
                let text = e.to_string();
                let what = text.split(" at line ").next().unwrap_or(&text).to_owned();
                Err(self.error(end, format!("case {}: {what}", self.seen)))
            }
            None => Err(self.error(self.at, "the file ends where a case is expected")),
        }
    }

    fn fill(&self, json: JsonCase, case: &mut Case) -> Result<(), SuiteError> {
        *case = Case {
            row: self.row.clone(),
            name: json.name,
            index: json.idx.unwrap_or(self.seen),
            code: json.bytes,
            exception: json.exception.map(|e| e.number),
            status: FLAGS,
            masks: self.masks.clone(),
            ..Case::new(Environment::Real, if self.halts { End::Halt } else { End::Step })
        };
        self.state(json.initial, &mut case.initial)?;
        self.state(json.last, &mut case.last)?;
        if let Some(reg) = [Reg::Cs, Reg::Rip, Reg::Rflags, Reg::Rsp].iter().find(|r| case.initial.get(**r).is_none()) {
            return Err(self.error(self.at, format!("case {}: its initial state lacks {}", self.seen, reg.name())));
        }
        find_pushed_flags(case);
        Ok(())
    }

    fn state(&self, json: JsonState, state: &mut State) -> Result<(), SuiteError> {
        for (name, value) in json.regs {
            let Some(reg) = Reg::by_name(&name) else {
                return Err(self.error(self.at, format!("case {}: there is no register {name:?}", self.seen)));
            };
            state.set(reg, value.into());
        }
        state.memory.extend(json.ram.iter().map(|(at, v)| (u64::from(*at), *v)));
        Ok(())
    }
}

/// Where line `line`, column `column` (both from 1; column 0 is a line's start) of `text` is, in bytes.
fn offset_of(text: &[u8], line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive(|b| *b == b'\n').take(line.saturating_sub(1)).map(<[u8]>::len).sum();
    (start + column.saturating_sub(1)).min(text.len())
}

impl Cases for Json {
    fn error_here(&self, what: String) -> SuiteError {
        SuiteError::at(&self.path, self.at.min(self.data.len()) as u64, what)
    }

    fn next(&mut self, case: &mut Case) -> Result<bool, SuiteError> {
        match self.peek() {
            Some(b']') => {
                self.at += 1;
                let rest = self.peek();
                let at = std::mem::replace(&mut self.at, usize::MAX);
                return if rest.is_none() {
                    Ok(false)
                } else {
                    Err(self.error(at, "something stands behind the array"))
                };
            }
            Some(b',') if self.seen > 0 => self.at += 1,
            Some(_) if self.seen == 0 => {}
            None if self.at == usize::MAX => return Ok(false),
            _ => {
                let at = std::mem::replace(&mut self.at, usize::MAX).min(self.data.len());
                return Err(self.error(at, format!("the array is cut short or damaged behind case {}", self.seen)));
            }
        }
        self.peek();
        let outcome = self.parse().and_then(|json| self.fill(json, case));
        if outcome.is_err() {
            // After an error there is nothing to be found behind it.
            self.at = usize::MAX;
        }
        self.seen += 1;
        outcome.map(|()| true)
    }
}
