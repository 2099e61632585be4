//! A case that failed, as people want to see it: the states side by side, and the instruction.

use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
use serde::{Deserialize, Serialize};

use crate::{Case, Comparison, Event, Outcome, Place, Reg};

/// A case that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// Its number in its file.
    pub case: u64,
    /// What the suite calls it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The instruction's bytes in hex.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub bytes: String,
    /// The instruction, disassembled.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instruction: String,
    /// Only undefined bits differ: it fails in the strict column alone.
    pub undefined_only: bool,
    /// What is wrong beside values: how the case ended, a write where none should be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// The states.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<Line>,
}

/// A place in the states before, wanted and got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Register or address.
    pub place: String,
    /// Before.
    pub before: String,
    /// What the suite wants.
    pub want: String,
    /// What the target has.
    pub got: String,
    /// Whether they agree.
    pub mark: Mark,
}

/// Whether a place agrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// It does.
    Same,
    /// It differs in undefined bits only.
    Undefined,
    /// It differs.
    Wrong,
}

impl Failure {
    /// The report of a case that failed.
    #[must_use]
    pub fn new(case: &Case, outcome: &Outcome, found: &Comparison) -> Failure {
        let mut remarks = Vec::new();
        if let Some((want, got)) = found.event {
            remarks.push(format!("it should have {}, and {}", ended(want, true), ended(got, false)));
        }
        if found.strayed {
            remarks.push("it wrote to memory that the case does not mention".to_owned());
        }
        Failure {
            case: case.index,
            name: case.name.clone(),
            bytes: case.code.iter().map(|b| format!("{b:02x}")).collect(),
            instruction: disassemble(&case.code, case.environment.bits(), case.initial.get(Reg::Rip).unwrap_or(0)),
            undefined_only: found.masked(),
            remarks,
            lines: lines(case, outcome, found),
        }
    }

    /// The report of a case that the target did not answer.
    #[must_use]
    pub fn unanswered(case: &Case, why: String) -> Failure {
        let comparison = Comparison { strayed: false, ..Comparison::default() };
        let whole = Failure::new(case, &Outcome::default(), &comparison);
        Failure { undefined_only: false, remarks: vec![why], lines: Vec::new(), ..whole }
    }

    /// Its number, in words; nothing for a check of a program, which has its words alone.
    #[must_use]
    pub fn number(&self) -> String {
        if self.bytes.is_empty() && self.instruction.is_empty() { String::new() } else { format!("case {}", self.case) }
    }

    /// Instruction and bytes in one line.
    #[must_use]
    pub fn title(&self) -> String {
        match (self.instruction.is_empty(), self.bytes.is_empty()) {
            (false, false) => format!("{}  ({})", self.instruction, self.bytes),
            (false, true) => self.instruction.clone(),
            _ => self.name.clone(),
        }
    }
}

/// An event as the end of a sentence: "it should have …", "and …".
fn ended(event: Event, wanted: bool) -> String {
    match event {
        Event::Retired if wanted => "completed".into(),
        Event::Retired => "completed instead".into(),
        Event::Halted if wanted => "come to its HLT".into(),
        Event::Halted => "halted".into(),
        Event::Exception(v) => format!("raised exception {v}{}", exception_name(v)),
        Event::Shutdown => "shut the CPU down".into(),
        Event::Endless => "did not come to an end".into(),
    }
}

fn exception_name(vector: u8) -> &'static str {
    match vector {
        0 => " (#DE)",
        1 => " (#DB)",
        3 => " (#BP)",
        4 => " (#OF)",
        5 => " (#BR)",
        6 => " (#UD)",
        7 => " (#NM)",
        12 => " (#SS)",
        13 => " (#GP)",
        14 => " (#PF)",
        16 => " (#MF)",
        17 => " (#AC)",
        19 => " (#XM)",
        _ => "",
    }
}

/// An instruction in Intel syntax, prefixes included.
pub(crate) fn disassemble(code: &[u8], bits: u32, ip: u64) -> String {
    let mut decoder = Decoder::with_ip(bits, code, ip, DecoderOptions::NO_INVALID_CHECK);
    let mut text = String::new();
    if decoder.can_decode() {
        IntelFormatter::new().format(&decoder.decode(), &mut text);
    }
    text
}

/// All registers that the case names, and the bytes of memory that change or differ.
fn lines(case: &Case, outcome: &Outcome, found: &Comparison) -> Vec<Line> {
    let mut places: Vec<Place> = outcome.state.places().collect();
    let mut bytes: Vec<u64> = case.last.memory.iter().map(|b| b.0).collect();
    bytes.extend(found.differences.iter().filter_map(|d| if let Place::Byte(at) = d.place { Some(at) } else { None }));
    bytes.sort_unstable();
    bytes.dedup();
    places.extend(bytes.into_iter().map(Place::Byte));
    places.into_iter().filter_map(|place| line(case, outcome, found, place)).collect()
}

fn line(case: &Case, outcome: &Outcome, found: &Comparison, place: Place) -> Option<Line> {
    let before = case.initial.value(place);
    let want = case.last.value(place).or(before)?;
    let got = outcome.state.value(place)?;
    let mark = match found.differences.iter().find(|d| d.place == place) {
        None => Mark::Same,
        Some(d) if d.undefined => Mark::Undefined,
        Some(_) => Mark::Wrong,
    };
    // What the instruction has nothing to do with would hide what it has.
    let untouched = mark == Mark::Same && Some(want) == before;
    let flat = case.environment != crate::Environment::Real;
    let often_idle = match place {
        Place::Byte(_) | Place::Ymm(_) => true,
        Place::Reg(r) => flat && r < Reg::Rip,
        Place::St(_) => false,
    };
    if untouched && often_idle && !mentions(case, place) {
        return None;
    }
    let show = |v: [u128; 2]| value_text(case, place, v);
    Some(Line {
        place: name(case, place),
        before: before.map_or(String::new(), show),
        want: show(want),
        got: show(got),
        mark,
    })
}

/// Whether the instruction's text has the register in it.
fn mentions(case: &Case, place: Place) -> bool {
    let text = disassemble(&case.code, case.environment.bits(), 0);
    let has = |name: String| {
        let ends = |at: usize| !text[at + name.len()..].starts_with(|c: char| c.is_ascii_digit());
        text.match_indices(name.as_str()).any(|(at, _)| ends(at))
    };
    match place {
        Place::Ymm(i) => has(format!("xmm{i}")) || has(format!("ymm{i}")),
        Place::Reg(r) if r >= Reg::R8 => has(r.name().to_owned()),
        // Any width: AX of EAX and RAX, but AL and AH too.
        Place::Reg(r) => has(r.name()[1..].to_owned()) || has(format!("{}l", &r.name()[1..2])),
        Place::St(_) | Place::Byte(_) => false,
    }
}

/// A register as it is called in this environment.
fn name(case: &Case, place: Place) -> String {
    let wide = place.to_string();
    let Place::Reg(reg) = place else { return wide };
    let narrow = !(Reg::R8..=Reg::R15).contains(&reg) && (reg <= Reg::Rflags);
    match (case.environment.bits(), wide_state(case)) {
        (16, false) if narrow => wide[1..].to_owned(),
        (16, true) | (32, _) if narrow => format!("e{}", &wide[1..]),
        _ => wide,
    }
}

/// Whether the case has 32-bit registers.
fn wide_state(case: &Case) -> bool {
    case.initial.get(Reg::Cr0).is_some()
}

fn value_text(case: &Case, place: Place, v: [u128; 2]) -> String {
    let digits = match (place, case.environment.bits()) {
        (Place::Byte(_), _) => 2,
        (Place::St(_), _) => return format!("{:04x}:{:016x}", v[0] >> 64, v[0] as u64),
        (Place::Ymm(_), _) => return format!("{:032x}:{:032x}", v[1], v[0]),
        (Place::Reg(Reg::Es | Reg::Cs | Reg::Ss | Reg::Ds | Reg::Fs | Reg::Gs | Reg::Fcw | Reg::Fsw), _) => 4,
        (Place::Reg(Reg::Ftw), _) => 2,
        (Place::Reg(Reg::Mxcsr), _) => 8,
        (Place::Reg(Reg::Rflags), _) => 4,
        (_, 64) => 16,
        (_, 16) if !wide_state(case) => 4,
        _ => 8,
    };
    match place {
        Place::Reg(Reg::Rflags) => {
            let flags = v[0] as u64 & case.status;
            format!("{flags:0digits$x} {}", flag_names(flags))
        }
        _ => format!("{:0digits$x}", v[0]),
    }
}

/// The flags that are set, by letter: `ODITSZAPC`, a dot for each that is clear.
pub(crate) fn flag_names(flags: u64) -> String {
    let bits = [(11, 'O'), (10, 'D'), (9, 'I'), (8, 'T'), (7, 'S'), (6, 'Z'), (4, 'A'), (2, 'P'), (0, 'C')];
    bits.iter().map(|(bit, name)| if flags >> bit & 1 != 0 { *name } else { '.' }).collect()
}
