//! Searching, in time and in memory.

use core::fmt::Write;

use emu_core::Ticks;
use emu_core::timeline::SeekError;
use emu_machine::{describe_next, describe_registers};

use super::expression::{number, place_and_len};
use super::motion::steps_since;
use super::{Answer, Context, show};
use crate::session::{Place, Pool, SessionError};

/// Writes that `when` looks at before it gives up.
const MOST_WRITES: usize = 10_000;
/// Places that `find` lists.
const MOST_PLACES: usize = 32;

/// A write: when, and what the memory held before and after.
struct Written {
    tick: Ticks,
    before: Vec<u8>,
    after: Vec<u8>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(16).map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ")
}

/// Reads parts of the memory pool.
fn read(cx: &Context<'_>, pool: &[(u64, u64)]) -> Vec<u8> {
    let mem = &cx.session.machine().system.mem;
    pool.iter().flat_map(|&(first, last)| mem.pool(first, (last - first + 1) as usize).to_vec()).collect()
}

fn pool_of(cx: &mut Context<'_>, text: &str) -> Result<Pool, String> {
    let (place, len) = place_and_len(cx.session, text)?;
    let pool = cx.session.pool_of(place, len);
    if pool.is_empty() { Err(format!("{} is no memory now", show::show_place(place))) } else { Ok(pool) }
}

/// Goes back to before the last write, and says what it makes of the memory.
fn last_write(cx: &mut Context<'_>, pool: &[(u64, u64)]) -> Result<Option<Written>, SessionError> {
    let Some(tick) = cx.session.last_write(pool, cx.interrupted)? else { return Ok(None) };
    let before = read(cx, pool);
    let (system, timeline) = cx.session.travel()?;
    timeline.seek(system, tick + 1)?;
    let after = read(cx, pool);
    let (system, timeline) = cx.session.travel()?;
    timeline.seek(system, tick)?;
    Ok(Some(Written { tick, before, after }))
}

fn reason(error: &SessionError) -> String {
    match error {
        SessionError::Seek(SeekError::GivenUp) => "interrupted".into(),
        e => e.to_string(),
    }
}

pub(super) fn why(cx: &mut Context<'_>, words: &[&str]) -> Answer {
    let (text, times) = match words {
        [text] => (*text, 1),
        [text, times] => (*text, number(times)?),
        _ => return Err("needs a place".into()),
    };
    let pool = pool_of(cx, text)?;
    let now = cx.session.now();
    let mut out = String::new();
    for _ in 0..times.clamp(1, 1000) {
        match last_write(cx, &pool) {
            Ok(Some(Written { tick, before, after })) => {
                let insn = describe_next(cx.session.system());
                let _ = writeln!(out, "tick {}: {insn}: {} -> {}", tick.0, hex(&before), hex(&after));
                let _ = writeln!(out, "  {}", describe_registers(cx.session.system()));
            }
            Ok(None) => {
                let _ = writeln!(out, "not written since tick {}", cx.session.start().0);
                break;
            }
            Err(e) => {
                let _ = writeln!(out, "{}", reason(&e));
                break;
            }
        }
    }
    cx.session.goto(now, &mut || false).map_err(|e| e.to_string())?;
    Ok(out)
}

pub(super) fn when(cx: &mut Context<'_>, words: &[&str]) -> Answer {
    let [text, value] = words else { return Err("needs a place and a value".into()) };
    let pool = pool_of(cx, text)?;
    let value = number(value)?;
    let now = cx.session.now();
    let is = |bytes: &[u8]| bytes.iter().rev().fold(0u128, |v, b| v << 8 | u128::from(*b)) == u128::from(value);
    if pool.iter().map(|p| p.1 - p.0 + 1).sum::<u64>() > 8 {
        return Err("values have 8 bytes at the most".into());
    }
    for _ in 0..MOST_WRITES {
        match last_write(cx, &pool) {
            Ok(Some(Written { before, after, .. })) if is(&after) && !is(&before) => {
                return Ok(show::position(cx.console, cx.session));
            }
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(e) => {
                cx.session.goto(now, &mut || false).map_err(|e| e.to_string())?;
                return Err(reason(&e));
            }
        }
    }
    cx.session.goto(now, &mut || false).map_err(|e| e.to_string())?;
    Err(format!("no write made it {value:#x}"))
}

pub(super) fn find(cx: &mut Context<'_>, words: &[&str]) -> Answer {
    let text = words.join(" ");
    let needle = match text.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"').unwrap_or(quoted).as_bytes().to_vec(),
        None => {
            let (value, len) = text.split_once('+').unwrap_or((&text, "4"));
            let len = number(len)?.clamp(1, 8) as usize;
            number(value)?.to_le_bytes()[..len].to_vec()
        }
    };
    if needle.is_empty() {
        return Err("needs a value or a \"text\"".into());
    }
    let ram = cx.session.system().mem.ram_len();
    let (mut out, mut found) = (String::new(), 0);
    let mut chunk = vec![0; (1 << 20) + needle.len() - 1];
    for start in (0..ram).step_by(1 << 20) {
        let n = cx.session.read_memory(Place::Physical(start), &mut chunk);
        for i in (0..n.min(1 << 20)).filter(|&i| chunk[i..n].starts_with(&needle)) {
            found += 1;
            if found <= MOST_PLACES {
                let _ = writeln!(out, "phys:{:#010x}", start + i as u64);
            }
        }
        if (cx.interrupted)() {
            return Err("interrupted".into());
        }
    }
    match found {
        0 => Err("nowhere in RAM".into()),
        n if n > MOST_PLACES => Ok(out + &format!("and {} more\n", n - MOST_PLACES)),
        _ => Ok(out),
    }
}

pub(super) fn trace(cx: &mut Context<'_>, words: &[&str]) -> Answer {
    let n = words.first().map_or(Ok(16), |w| number(w))?.clamp(1, 10_000);
    let from = Ticks(cx.session.now().0.saturating_sub(n)).max(cx.session.start());
    let steps = steps_since(cx.session, from).map_err(|e| e.to_string())?;
    let mut out = String::new();
    for step in steps {
        // Code may have been changed since: what is shown is what stands there now.
        let code = super::code::code_at(cx.session, step.pc);
        let text = if step.flow == super::code::Flow::Delivery { "(interrupt)".into() } else { code.text };
        let _ = writeln!(out, "tick {}  {:08x}  {text}", step.tick.0, step.pc);
    }
    Ok(out)
}
