//! Numbers, addresses and places as users write them.

use emu_core::cpu::{Mode, reg, seg};

use crate::registers::{Width, registers};
use crate::session::{Place, Session};

/// Bytes of a place at the most.
pub(super) const MOST: u64 = 4096;

/// A number: decimal, or hexadecimal behind 0x.
pub(super) fn number(text: &str) -> Result<u64, String> {
    let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |hex| (hex, 16));
    u64::from_str_radix(digits, radix).map_err(|_| format!("`{text}` is no number"))
}

/// A linear address: terms with + and - between them, or SEG:OFFSET.
pub(super) fn address(session: &Session, text: &str) -> Result<u64, String> {
    if let Some((segment, offset)) = text.split_once(':') {
        let base = segment_base(session, segment)?;
        return Ok(base.wrapping_add(sum(session, offset, true)?));
    }
    sum(session, text, false)
}

fn sum(session: &Session, text: &str, hexadecimal: bool) -> Result<u64, String> {
    let mut total = 0u64;
    let mut rest = text;
    let mut minus = false;
    loop {
        let end = rest.find(['+', '-']).unwrap_or(rest.len());
        let value = term(session, &rest[..end], hexadecimal)?;
        total = if minus { total.wrapping_sub(value) } else { total.wrapping_add(value) };
        let Some(sign) = rest[end..].chars().next() else { return Ok(total) };
        minus = sign == '-';
        rest = &rest[end + 1..];
    }
}

fn term(session: &Session, text: &str, hexadecimal: bool) -> Result<u64, String> {
    let name = text.strip_prefix('$').unwrap_or(text);
    if let Some(value) = register(session, name) {
        return Ok(value);
    }
    if hexadecimal && let Ok(value) = u64::from_str_radix(text.trim_start_matches("0x"), 16) {
        return Ok(value);
    }
    number(text).map_err(|_| format!("`{text}` is neither a number nor a register"))
}

/// The value of a register, of any mode.
pub(super) fn register(session: &Session, name: &str) -> Option<u64> {
    let cpu = &session.machine().system.cpu;
    let short = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"];
    if let Some(i) = short.iter().position(|s| s.eq_ignore_ascii_case(name)) {
        return Some(cpu.regs[reg::RAX + i] & 0xFFFF);
    }
    if name.eq_ignore_ascii_case("pc") {
        return Some(session.pc());
    }
    [Width::I386, Width::X86_64].into_iter().find_map(|width| {
        let list = registers(width);
        let found = list.iter().find(|r| r.is_called(name))?;
        Some(found.value(session) as u64)
    })
}

/// The base of a segment: by register, or by its number in real mode.
fn segment_base(session: &Session, text: &str) -> Result<u64, String> {
    let cpu = &session.machine().system.cpu;
    let names = [("es", seg::ES), ("cs", seg::CS), ("ss", seg::SS), ("ds", seg::DS), ("fs", seg::FS), ("gs", seg::GS)];
    if let Some((_, i)) = names.iter().find(|n| n.0.eq_ignore_ascii_case(text)) {
        return Ok(cpu.seg[*i].base);
    }
    let value = u16::from_str_radix(text.trim_start_matches("0x"), 16);
    let value = value.map_err(|_| format!("`{text}` is neither a segment register nor a segment"))?;
    if let Some((_, i)) = names.iter().find(|n| cpu.seg[n.1].sel == value) {
        return Ok(cpu.seg[*i].base);
    }
    if cpu.mode.has(Mode::PE) && !cpu.mode.has(Mode::V86) {
        return Err(format!("no segment register holds {value:04x}: in protected mode, name the register"));
    }
    Ok(u64::from(value) << 4)
}

/// A place, without a length.
pub(super) fn place(session: &Session, text: &str) -> Result<Place, String> {
    match text.strip_prefix("phys:") {
        Some(rest) => sum(session, rest, false).map(Place::Physical),
        None => address(session, text.strip_prefix("lin:").unwrap_or(text)).map(Place::Linear),
    }
}

/// A place, and a length behind the last plus; 1 if there is none.
pub(super) fn place_and_len(session: &Session, text: &str) -> Result<(Place, u64), String> {
    let (start, len) = match text.rsplit_once('+') {
        Some((start, len)) => (start, number(len)?),
        None => (text, 1),
    };
    if !(1..=MOST).contains(&len) {
        return Err(format!("{len} bytes: 1 to {MOST} are possible"));
    }
    Ok((place(session, start)?, len))
}
