//! Looking: registers, memory, code, and what the machine stops at; and changing them.

use core::fmt::Write;

use emu_core::cpu::Mode;

use super::code::code_at;
use super::expression::{MOST, address, number, place, place_and_len as parse_place};
use super::{Answer, Console, Context};
use crate::registers::{Register, Width, registers as all_registers, table, to_double};
use crate::session::{Access, Place, Session, Watchpoint};

/// General registers and flags.
pub(super) type Snapshot = Vec<(String, u128)>;

fn width(session: &Session) -> Width {
    match Width::of(&session.machine().system.cpu) {
        Width::I8086 => Width::I386,
        width => width,
    }
}

/// The registers that are shown without being asked for.
fn general(session: &Session) -> Vec<Register> {
    let list = all_registers(width(session));
    let last = list.iter().position(|r| r.name == "gs").unwrap_or(0);
    list.into_iter().take(last + 1).filter(|r| r.kind != "code_ptr").collect()
}

fn snapshot(session: &Session) -> Snapshot {
    general(session).into_iter().map(|r| (r.name.clone(), r.value(session))).collect()
}

/// The instruction pointer as programs know it.
fn location(session: &Session) -> String {
    let cpu = &session.machine().system.cpu;
    if cpu.mode.has(Mode::CODE64) {
        format!("{:x}", cpu.rip)
    } else {
        format!("{:04x}:{:x}", cpu.seg[emu_core::cpu::seg::CS].sel, cpu.rip)
    }
}

/// One line on where the machine stands, and one on what has changed since the last.
pub(super) fn position(console: &mut Console, session: &mut Session) -> String {
    let pc = session.pc();
    let halted = session.machine().system.cpu.activity != emu_core::cpu::Activity::Running;
    let code = code_at(session, pc).text;
    let code = if halted { format!("(CPU halted) {code}") } else { code };
    let mut text = format!("tick {}  {}  {code}\n", session.now().0, location(session));
    let now = snapshot(session);
    if let Some(before) = console.shown.replace(now.clone()) {
        let changed: Vec<String> = now
            .iter()
            .filter_map(|(name, value)| {
                let old = before.iter().find(|b| b.0 == *name)?.1;
                (old != *value).then(|| format!("{name} {old:x}->{value:x}"))
            })
            .collect();
        if !changed.is_empty() {
            let _ = writeln!(text, "  {}", changed.join("  "));
        }
    }
    text
}

/// Where the machine stands and what is known of its time.
pub(super) fn status(cx: &mut Context<'_>) -> String {
    let mut text = position(cx.console, cx.session);
    let s = &cx.session;
    let kind = if s.is_replay() { "a recording" } else { "a live run" };
    let _ = writeln!(text, "  {kind}, known from tick {} to tick {}", s.start().0, s.end().0.max(s.now().0));
    for note in core::mem::take(&mut cx.console.notes) {
        let _ = writeln!(text, "  {note}");
    }
    text
}

pub(super) fn registers(cx: &mut Context<'_>, words: &[&str]) -> Answer {
    let session = &*cx.session;
    let list = all_registers(width(session));
    if let Some(name) = words.first().filter(|w| **w != "all") {
        let found = list.iter().find(|r| r.is_called(name));
        let r = found.ok_or_else(|| format!("no register `{name}`"))?;
        return Ok(format!("{} {:#x}{}\n", r.name, r.value(session), as_double(r, session)));
    }
    let all = !words.is_empty();
    let shown = cx.console.shown.clone().unwrap_or_default();
    let mut text = String::new();
    let chosen = if all { list } else { general(session) };
    let mut column = 0;
    for r in chosen {
        let value = r.value(session);
        let old = shown.iter().find(|s| s.0 == r.name).map_or(value, |s| s.1);
        let digits = r.bits as usize / 4;
        let digits = if r.kind == "int32" && r.name.len() == 2 { 4 } else { digits };
        let field = format!("{}{}={value:0digits$x}", if old == value { " " } else { "*" }, r.name);
        let _ = write!(text, "{field:<22}{}", as_double(&r, session));
        column += if r.bits > 64 { 4 } else { 1 };
        if column >= 4 {
            column = 0;
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
    }
    if column > 0 {
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    let cpu = &session.machine().system.cpu;
    let _ = writeln!(
        text,
        " {} CPL={} GDT={} IDT={} CR0={:x} CR2={:x} CR3={:x} CR4={:x}",
        location(session),
        cpu.cpl(),
        table(&cpu.gdtr),
        table(&cpu.idtr),
        cpu.cr0,
        cpu.cr2,
        cpu.cr3,
        cpu.cr4
    );
    Ok(text)
}

fn as_double(r: &Register, session: &Session) -> String {
    if r.bits == 80 { format!(" ({})", to_double(r.value(session))) } else { String::new() }
}

pub(super) fn memory(cx: &mut Context<'_>, words: &[&str]) -> Answer {
    let at = match (words.first(), cx.console.next_memory) {
        (Some(text), _) => place(cx.session, text)?,
        (None, Some(next)) => next,
        (None, None) => return Err("which place?".into()),
    };
    let n = words.get(1).map_or(Ok(64), |w| number(w))?.min(MOST);
    let mut bytes = vec![0; n as usize];
    let read = cx.session.read_memory(at, &mut bytes);
    let mut text = dump(at, &bytes[..read]);
    if read < bytes.len() {
        let _ = writeln!(text, "{} is not mapped", show_place(plus(at, read as u64)));
    }
    cx.console.next_memory = Some(plus(at, n));
    Ok(text)
}

fn plus(place: Place, n: u64) -> Place {
    match place {
        Place::Linear(at) => Place::Linear(at.wrapping_add(n)),
        Place::Physical(at) => Place::Physical(at.wrapping_add(n)),
    }
}

fn dump(at: Place, bytes: &[u8]) -> String {
    let mut text = String::new();
    for (row, chunk) in (0u64..).zip(bytes.chunks(16)) {
        let hex: Vec<String> = chunk.iter().map(|b| format!("{b:02x}")).collect();
        let letters: String = chunk.iter().map(|&b| if (32..127).contains(&b) { char::from(b) } else { '.' }).collect();
        let _ = writeln!(text, "{}  {:<47}  {letters}", show_place(plus(at, row * 16)), hex.join(" "));
    }
    text
}

pub(super) fn show_place(place: Place) -> String {
    match place {
        Place::Linear(at) => format!("{at:#010x}"),
        Place::Physical(at) => format!("phys:{at:#010x}"),
    }
}

pub(super) fn place_and_len(w: &Watchpoint) -> String {
    if w.len == 1 { show_place(w.place) } else { format!("{}+{}", show_place(w.place), w.len) }
}

pub(super) fn disassemble(cx: &mut Context<'_>, words: &[&str]) -> Answer {
    let pc = cx.session.pc();
    let mut at = match words.first() {
        Some(text) => address(cx.session, text)?,
        None => cx.console.next_code.unwrap_or(pc),
    };
    let n = words.get(1).map_or(Ok(8), |w| number(w))?.min(1000);
    let mut text = String::new();
    for _ in 0..n {
        let code = code_at(cx.session, at);
        let bytes: String = code.bytes.iter().map(|b| format!("{b:02x}")).collect();
        let mark = if at == pc { "=>" } else { "  " };
        let _ = writeln!(text, "{mark} {at:08x}  {bytes:<20}  {}", code.text);
        if code.bytes.is_empty() {
            break;
        }
        at = at.wrapping_add(code.bytes.len() as u64);
    }
    cx.console.next_code = Some(at);
    Ok(text)
}

pub(super) fn add_break(cx: &mut Context<'_>, words: &[&str]) -> Answer {
    let [text] = words else { return Err("needs an address".into()) };
    let at = address(cx.session, text)?;
    cx.session.add_breakpoint(at);
    Ok(format!("breakpoint at {at:#x}\n"))
}

pub(super) fn add_watch(cx: &mut Context<'_>, words: &[&str], access: Access) -> Answer {
    let [text] = words else { return Err("needs a place".into()) };
    let (place, len) = parse_place(cx.session, text)?;
    let number = cx.session.add_watchpoint(place, len, access);
    let mapped = !cx.session.pool_of(place, len).is_empty();
    let later = if mapped { "" } else { ", which is not mapped yet: it is watched from when it is" };
    Ok(format!("watchpoint {number} at {}{later}\n", show_place(place)))
}

pub(super) fn delete(cx: &mut Context<'_>, words: &[&str]) -> Answer {
    let [text] = words else { return Err("needs an address, a watchpoint's number, or all".into()) };
    if *text == "all" {
        while let Some(&at) = cx.session.breakpoints().first() {
            cx.session.remove_breakpoint(at);
        }
        while cx.session.remove_watchpoint(|_| true) {}
        return Ok(String::new());
    }
    let at = address(cx.session, text)?;
    if cx.session.remove_watchpoint(|w| w.number as u64 == at) || cx.session.remove_breakpoint(at) {
        return Ok(String::new());
    }
    Err(format!("there is no breakpoint at {at:#x}, nor a watchpoint of this number"))
}

pub(super) fn list(cx: &mut Context<'_>) -> String {
    let mut text = String::new();
    for at in cx.session.breakpoints() {
        let _ = writeln!(text, "breakpoint at {at:#x}");
    }
    for w in cx.session.watchpoints() {
        let access = match w.access {
            Access::Write => "writes",
            Access::Read => "reads",
            Access::Any => "reads and writes",
        };
        let _ = writeln!(text, "watchpoint {} at {}: {access}", w.number, place_and_len(w));
    }
    if text.is_empty() { "none\n".into() } else { text }
}

pub(super) fn set(cx: &mut Context<'_>, words: &[&str]) -> Answer {
    let [what, value] = words else { return Err("needs a register or place, and a value".into()) };
    let list = all_registers(width(cx.session));
    if let Some(register) = list.iter().find(|r| r.is_called(what)) {
        let value = number(value)?;
        register.set(cx.session, value.into()).map_err(|e| e.to_string())?;
        return Ok(String::new());
    }
    let (place, len) = parse_place(cx.session, what)?;
    let value = number(value)?;
    let bytes: Vec<u8> = value.to_le_bytes().into_iter().chain([0].into_iter().cycle()).take(len as usize).collect();
    if len < 8 && value >> (8 * len) != 0 {
        return Err(format!("{value:#x} does not fit into {len} bytes: PLACE+N says how many"));
    }
    cx.session.write_memory(place, &bytes).map_err(|e| e.to_string())?;
    Ok(String::new())
}
