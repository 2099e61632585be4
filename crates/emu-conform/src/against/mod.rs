//! Any other CPU as a target: a program that speaks the protocol of docs/FORMAT-conform-protocol.md.
//!
//! Whatever the program does or does not answer, a case costs at most its time-out, and the program is started anew a
//! limited number of times.

mod hello;
mod process;
mod wire;

use std::time::Duration;

use crate::{Case, End, Event, Outcome, Place, Reg, State, Target, TargetError, ask};
pub use hello::Hello;
use process::{Failure, Process};
use wire::{Answer, Verdict};

/// How much patience an adapter gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For one case.
    pub case: Duration,
    /// For the first answer after its start.
    pub start: Duration,
    /// How many times it is started again after it failed.
    pub restarts: u32,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { case: Duration::from_secs(2), start: Duration::from_secs(10), restarts: 8 }
    }
}

/// An adapter, running or to be started anew.
#[derive(Debug)]
pub struct Against {
    command: Vec<String>,
    patience: Patience,
    hello: Hello,
    process: Option<Process>,
    /// Starts that are left.
    left: u32,
    /// The number of the next case.
    next: u64,
    line: String,
    /// What the case that is loaded starts from, and its answer.
    initial: State,
    end: End,
    answer: Answer,
    strayed: bool,
}

/// The words of a command line: separated by spaces; quotes, single or double, keep them together.
///
/// # Errors
/// There is no word, or a quote is not closed.
pub fn words(command: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut open) = (Vec::new(), None::<String>, None);
    for c in command.chars() {
        match (open, c) {
            (Some(quote), c) if c == quote => open = None,
            (None, '"' | '\'') => {
                open = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if open.is_some() {
        return Err(format!("a quote is not closed in {command:?}"));
    }
    words.extend(word);
    if words.is_empty() { Err("the adapter's command is empty".into()) } else { Ok(words) }
}

impl Against {
    /// Starts the adapter and exchanges hellos.
    ///
    /// # Errors
    /// [`TargetError::Broken`]: the command can't be started, does not answer, or speaks another version.
    pub fn start(command: &str, patience: Patience) -> Result<Against, TargetError> {
        let command = words(command).map_err(TargetError::Broken)?;
        let (process, hello) = greet(&command, patience)?;
        Ok(Against {
            command,
            patience,
            hello,
            process: Some(process),
            left: patience.restarts,
            next: 1,
            line: String::new(),
            initial: State::new(),
            end: End::Step,
            answer: Answer::default(),
            strayed: false,
        })
    }

    /// What the adapter said of itself.
    #[must_use]
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    fn failed(&mut self, case: &Case, failure: &Failure) -> TargetError {
        // Drop ends it.
        self.process = None;
        let name = if case.name.is_empty() { &*case.row } else { &case.name };
        let which = format!("case {:x} ({name}, {})", self.next, hex(&case.code));
        TargetError::Failed(format!("adapter {}: {which}: {failure}", self.command[0]))
    }

    /// Starts it again if it is gone.
    fn revive(&mut self) -> Result<(), TargetError> {
        if self.process.is_some() {
            return Ok(());
        }
        if self.left == 0 {
            let times = self.patience.restarts;
            let text = format!("adapter {}: failed again after {times} restarts; nothing more is run", self.command[0]);
            return Err(TargetError::Broken(text));
        }
        self.left -= 1;
        let (process, hello) = greet(&self.command, self.patience)?;
        (self.process, self.hello) = (Some(process), hello);
        Ok(())
    }

    /// Sends the case and takes its answer.
    fn exchange(&mut self, case: &Case) -> Result<Event, TargetError> {
        wire::encode(case, self.next, &self.hello, &mut self.line).map_err(TargetError::Unsupported)?;
        self.revive()?;
        let Some(process) = &mut self.process else { return Err(TargetError::Broken("no adapter".into())) };
        let answer = process.ask(&self.line, self.patience.case).and_then(|text| {
            let read = self.answer.read(&text, self.next);
            read.map_err(|why| Failure::Garbage(text, why))
        });
        let verdict = match answer {
            Ok(verdict) => verdict,
            Err(failure) => {
                let error = self.failed(case, &failure);
                self.next += 1;
                return Err(error);
            }
        };
        self.next += 1;
        match verdict {
            Verdict::Done if case.end == End::Halt => Ok(Event::Halted),
            Verdict::Done => Ok(Event::Retired),
            Verdict::Fault(vector) => Ok(Event::Exception(vector)),
            Verdict::Shutdown => Ok(Event::Shutdown),
            Verdict::Endless => Ok(Event::Endless),
            Verdict::Skip(why) => Err(TargetError::Unsupported(why)),
            Verdict::Error(why) => {
                Err(TargetError::Failed(format!("adapter {}: {}: {why}", self.command[0], case.name)))
            }
        }
    }

    /// The registers and bytes that `state` names: from the answer, else as the case began.
    fn fill(&mut self, initial: &State, state: &mut State) {
        let got = &self.answer.state;
        for place in state.places() {
            match place {
                Place::Reg(r) => state.set(r, got.get(r).or(initial.get(r)).unwrap_or(by_default(r))),
                Place::St(i) => {
                    let i = usize::from(i);
                    state.set_st(i, got.st(i).or(initial.st(i)).unwrap_or_default());
                }
                Place::Ymm(i) => {
                    let i = usize::from(i);
                    let old = initial.ymm(i).unwrap_or_default();
                    let new = got.ymm(i).unwrap_or(old);
                    state.set_ymm(i, if self.hello.avx { new } else { [new[0], old[1]] });
                }
                Place::Byte(_) => {}
            }
        }
        let asked = state.memory.len();
        for (at, value) in &mut state.memory {
            *value = got.byte(*at).or_else(|| initial.byte(*at)).unwrap_or(0);
        }
        let known = |at: u64| state.memory[..asked].iter().any(|b| b.0 == at);
        self.strayed |= got.memory.iter().any(|(at, v)| !known(*at) && initial.byte(*at).unwrap_or(0) != *v);
    }
}

/// The value of a register that nobody named.
fn by_default(reg: Reg) -> u64 {
    match reg {
        Reg::Fcw => 0x37F,
        Reg::Mxcsr => 0x1F80,
        _ => 0,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn greet(command: &[String], patience: Patience) -> Result<(Process, Hello), TargetError> {
    let broken = |what: String| TargetError::Broken(format!("adapter {}: {what}", command[0]));
    let mut process = Process::start(command).map_err(|e| broken(format!("can't be started: {e}")))?;
    let text = process.ask("hello 1\n", patience.start).map_err(|f| broken(format!("on hello: {f}")))?;
    let hello = Hello::read(&text).map_err(|why| broken(format!("its hello is none: {why}: {text:?}")))?;
    Ok((process, hello))
}

impl Target for Against {
    fn name(&self) -> String {
        self.hello.name.clone()
    }

    fn load(&mut self, case: &Case) -> Result<(), TargetError> {
        // The protocol knows no half of a case: it is run as soon as it is loaded.
        self.initial.clone_from(&case.initial);
        self.end = case.end;
        let event = self.exchange(case)?;
        self.answer.event = Some(event);
        Ok(())
    }

    fn step(&mut self, end: End) -> Result<Event, TargetError> {
        if end != self.end {
            return Err(TargetError::Unsupported("an adapter runs a case to the end that the case names".into()));
        }
        self.answer.event.ok_or_else(|| TargetError::Broken("no case is loaded".into()))
    }

    fn read(&mut self, state: &mut State) -> Result<(), TargetError> {
        let initial = std::mem::take(&mut self.initial);
        self.fill(&initial, state);
        self.initial = initial;
        Ok(())
    }

    fn run(&mut self, case: &Case, outcome: &mut Outcome) -> Result<(), TargetError> {
        outcome.event = self.exchange(case)?;
        ask(case, &mut outcome.state);
        self.fill(&case.initial, &mut outcome.state);
        Ok(())
    }

    fn strayed(&mut self) -> bool {
        std::mem::take(&mut self.strayed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_split_at_spaces() {
        assert_eq!(words(" a  b\tc ").unwrap(), ["a", "b", "c"]);
        assert_eq!(words(r#"'a b' "c'd"e ''"#).unwrap(), ["a b", "c'de", ""]);
        assert!(words("").is_err() && words("  ").is_err());
        assert!(words("a 'b").unwrap_err().contains("quote"));
    }
}
