//! Moving in time: by instructions, blocks, calls and interrupts, forwards and backwards.

use emu_core::Ticks;
use emu_core::cpu::Activity;
use emu_machine::host::End;

use super::code::{Flow, code_at};
use super::expression::number;
use super::{Answer, Context, describe_halt, show};
use crate::session::{Halt, Session, SessionError};

/// How much of the past is looked through at a time, in ticks: first a little, then more.
const WINDOWS: [u64; 4] = [1 << 8, 1 << 12, 1 << 16, 1 << 20];
/// How far interrupts are searched in one piece: the machine remembers the last few of them only.
const PIECE: u64 = 1 << 14;

/// What a move is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Instruction,
    Block,
    Call,
    Interrupt,
}

/// A step of the past.
#[derive(Clone, Copy, Debug)]
pub(super) struct Past {
    pub(super) tick: Ticks,
    pub(super) pc: u64,
    pub(super) flow: Flow,
}

fn unit_and_count(words: &[&str]) -> Result<(Unit, u64), String> {
    let mut unit = Unit::Instruction;
    let mut count = 1;
    for word in words {
        match *word {
            "instruction" | "i" => unit = Unit::Instruction,
            "block" | "b" => unit = Unit::Block,
            "call" | "c" => unit = Unit::Call,
            "interrupt" | "int" => unit = Unit::Interrupt,
            text => count = number(text).map_err(|_| format!("`{text}` is no unit and no number"))?,
        }
    }
    Ok((unit, count))
}

/// Says where the machine has come to.
fn arrived(cx: &mut Context<'_>, halt: Halt) -> Answer {
    let mut text = String::new();
    if let Some(why) = describe_halt(cx.session, &halt) {
        text = why + "\n";
    }
    if let Halt::End(end) = halt
        && matches!(*end, End::Quit | End::Signal(_) | End::Timeout)
    {
        cx.console.ended = Some(*end);
    }
    cx.console.next_code = None;
    Ok(text + &show::position(cx.console, cx.session))
}

pub(super) fn step(cx: &mut Context<'_>, words: &[&str]) -> Answer {
    let (unit, count) = unit_and_count(words)?;
    let mut halt = Halt::Done;
    for _ in 0..count {
        halt = match unit {
            Unit::Instruction => cx.session.step(cx.interrupted),
            Unit::Block => until(cx, |flow, _| flow != Flow::Plain),
            Unit::Call => until(cx, returned()),
            Unit::Interrupt => to_interrupt(cx).map_err(|e| e.to_string())?,
        };
        if halt != Halt::Done {
            break;
        }
        if (cx.interrupted)() {
            halt = Halt::Interrupted;
            break;
        }
    }
    arrived(cx, halt)
}

/// Steps until `done` says so of the step that was made.
fn until(cx: &mut Context<'_>, mut done: impl FnMut(Flow, &Session) -> bool) -> Halt {
    loop {
        let flow = match step_flow(cx.session, cx.interrupted) {
            Ok(flow) => flow,
            Err(halt) => return halt,
        };
        if done(flow, cx.session) {
            return Halt::Done;
        }
        if cx.session.breakpoints().contains(&cx.session.pc()) {
            return Halt::Breakpoint;
        }
        if (cx.interrupted)() {
            return Halt::Interrupted;
        }
    }
}

/// Tells when the function that runs has returned.
fn returned() -> impl FnMut(Flow, &Session) -> bool {
    let mut depth = 0u64;
    move |flow, _| {
        match flow {
            Flow::Call | Flow::Delivery => depth += 1,
            Flow::Return if depth == 0 => return true,
            Flow::Return => depth -= 1,
            Flow::Plain | Flow::Jump => {}
        }
        false
    }
}

/// One step, and what it was.
fn step_flow(session: &mut Session, interrupted: &mut dyn FnMut() -> bool) -> Result<Flow, Halt> {
    let (before, pc) = (session.now(), session.pc());
    let flow = code_at(session, pc).flow;
    match session.step(interrupted) {
        Halt::Done => Ok(if delivered_at(session, before) { Flow::Delivery } else { flow }),
        halt => Err(halt),
    }
}

/// Whether the step just made from `before` on ended with the delivery of an interrupt, not with an instruction.
fn delivered_at(session: &Session, before: Ticks) -> bool {
    let now = session.now();
    session.machine().system.last_interrupts().last().is_some_and(|d| d.at >= before && d.at < now)
}

/// Over a call: to the instruction behind it, on the same stack.
pub(super) fn next(cx: &mut Context<'_>) -> Answer {
    let pc = cx.session.pc();
    let code = code_at(cx.session, pc);
    if code.flow != Flow::Call && !code.repeats {
        return step(cx, &[]);
    }
    let behind = pc.wrapping_add(code.bytes.len() as u64);
    let stack = |s: &Session| s.machine().system.cpu.regs[emu_core::cpu::reg::RSP];
    let sp = stack(cx.session);
    cx.session.add_breakpoint(behind);
    let halt = loop {
        let halt = cx.session.run(Ticks::NEVER, cx.interrupted);
        // A deeper call of the same function comes here too, on a lower stack.
        if halt != Halt::Breakpoint || cx.session.pc() != behind || stack(cx.session) >= sp {
            break halt;
        }
    };
    cx.session.remove_breakpoint(behind);
    let own = halt == Halt::Breakpoint && cx.session.pc() == behind && !cx.session.breakpoints().contains(&behind);
    arrived(cx, if own { Halt::Done } else { halt })
}

pub(super) fn go(cx: &mut Context<'_>, words: &[&str]) -> Answer {
    let until = words.first().map_or(Ok(Ticks::NEVER), |w| number(w).map(Ticks))?;
    let halt = cx.session.run(until, cx.interrupted);
    arrived(cx, halt)
}

pub(super) fn reverse(cx: &mut Context<'_>) -> Answer {
    let halt = cx.session.run_back(cx.interrupted).map_err(|e| e.to_string())?;
    arrived(cx, halt)
}

pub(super) fn goto(cx: &mut Context<'_>, words: &[&str]) -> Answer {
    let [text] = words else { return Err("needs a tick, start or end".into()) };
    let now = cx.session.now().0;
    let tick = match *text {
        "start" => cx.session.start().0,
        "end" => cx.session.end().0.max(now),
        t if t.starts_with('+') => now.saturating_add(number(&t[1..])?),
        t if t.starts_with('-') => now.saturating_sub(number(&t[1..])?),
        t => number(t)?,
    };
    let halt = cx.session.goto(Ticks(tick), cx.interrupted).map_err(|e| e.to_string())?;
    arrived(cx, halt)
}

pub(super) fn back(cx: &mut Context<'_>, words: &[&str]) -> Answer {
    let (unit, count) = unit_and_count(words)?;
    let mut halt = Halt::Done;
    for _ in 0..count {
        let moved = match unit {
            Unit::Instruction => cx.session.step_back(),
            Unit::Block => back_to(cx, start_of_block),
            Unit::Call => back_to(cx, caller),
            Unit::Interrupt => back_to_interrupt(cx),
        };
        halt = moved.map_err(|e| e.to_string())?;
        if halt != Halt::Done {
            break;
        }
        if (cx.interrupted)() {
            halt = Halt::Interrupted;
            break;
        }
    }
    arrived(cx, halt)
}

/// The steps between tick `from` and the present, which the machine is left at.
pub(super) fn steps_since(session: &mut Session, from: Ticks) -> Result<Vec<Past>, SessionError> {
    let end = session.now();
    let (system, timeline) = session.travel()?;
    timeline.seek(system, from)?;
    let mut steps = Vec::new();
    while session.now() < end {
        let (tick, pc) = (session.now(), session.pc());
        let flow = code_at(session, pc).flow;
        let halted = session.system().cpu.activity == Activity::Halted;
        let wake = session.system().bus.next_deadline().max(tick);
        let (system, timeline) = session.travel()?;
        let to = if halted { end.min(wake + 1) } else { tick + 1 };
        timeline.run(system, to);
        system.bus.take_output();
        let flow = if delivered_at(session, tick) { Flow::Delivery } else { flow };
        if !halted || flow == Flow::Delivery {
            steps.push(Past { tick, pc, flow });
        }
        if session.now() <= tick && session.system().cpu.activity == Activity::Shutdown {
            break;
        }
    }
    Ok(steps)
}

/// Goes back to the step that `choose` picks of the steps before the present, looking farther and farther back.
fn back_to(cx: &mut Context<'_>, choose: fn(&[Past]) -> Option<usize>) -> Result<Halt, SessionError> {
    let (now, start) = (cx.session.now(), cx.session.start());
    for window in WINDOWS {
        let from = Ticks(now.0.saturating_sub(window)).max(start);
        let steps = steps_since(cx.session, from)?;
        if let Some(i) = choose(&steps) {
            let tick = steps[i].tick;
            return cx.session.goto(tick, cx.interrupted);
        }
        if from == start || (cx.interrupted)() {
            break;
        }
    }
    cx.console.note(format!("not found within {} ticks", WINDOWS[WINDOWS.len() - 1]));
    Ok(if now.since(start) <= WINDOWS[WINDOWS.len() - 1] { Halt::Start } else { Halt::Interrupted })
}

/// The first step of the block that ran before the present.
fn start_of_block(steps: &[Past]) -> Option<usize> {
    let inner = &steps[..steps.len().checked_sub(1)?];
    inner.iter().rposition(|s| s.flow != Flow::Plain).map(|i| i + 1)
}

/// The call, or the delivery, that led to the function that runs.
fn caller(steps: &[Past]) -> Option<usize> {
    let mut depth = 0u64;
    steps.iter().rposition(|s| {
        match s.flow {
            Flow::Return => depth += 1,
            Flow::Call | Flow::Delivery if depth == 0 => return true,
            Flow::Call | Flow::Delivery => depth -= 1,
            Flow::Plain | Flow::Jump => {}
        }
        false
    })
}

/// Runs to the next delivery of an interrupt or exception, and stands before it.
fn to_interrupt(cx: &mut Context<'_>) -> Result<Halt, SessionError> {
    let start = cx.session.now();
    // The one that is next does not count: the machine may stand before it because of the last such move.
    let first = start + 1;
    loop {
        let from = cx.session.now();
        let halt = cx.session.run_unarmed(from.after(PIECE), cx.interrupted);
        let found = deliveries(cx.session).find(|&at| at >= first.max(from));
        if let Some(at) = found {
            return cx.session.goto(at, cx.interrupted);
        }
        if halt != Halt::Done {
            return Ok(halt);
        }
        if (cx.interrupted)() {
            return Ok(Halt::Interrupted);
        }
    }
}

/// The deliveries that are remembered, oldest first.
fn deliveries(session: &Session) -> impl DoubleEndedIterator<Item = Ticks> + '_ {
    session.machine().system.last_interrupts().iter().map(|d| d.at)
}

/// Goes back to before the last delivery of an interrupt or exception.
fn back_to_interrupt(cx: &mut Context<'_>) -> Result<Halt, SessionError> {
    let (mut end, start) = (cx.session.now(), cx.session.start());
    let mut piece = PIECE;
    while end > start {
        let from = Ticks(end.0.saturating_sub(piece)).max(start);
        let (system, timeline) = cx.session.travel()?;
        timeline.seek(system, from)?;
        while system.now() < end {
            timeline.run(system, end);
            system.bus.take_output();
            if system.cpu.activity == Activity::Shutdown {
                break;
            }
        }
        let found = deliveries(cx.session).rfind(|&at| at >= from && at < end);
        if let Some(at) = found {
            return cx.session.goto(at, cx.interrupted);
        }
        if (cx.interrupted)() {
            return Ok(Halt::Interrupted);
        }
        end = from;
        piece = (piece * 2).min(1 << 22);
    }
    cx.session.goto(start, cx.interrupted)?;
    Ok(Halt::Start)
}
