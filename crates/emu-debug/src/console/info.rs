//! What the machine is doing: paging, interrupt controllers, devices, the screen; and typing on its keyboard.

use core::fmt::Write;
use std::path::Path;

use emu_core::{Input, StateHash};
use emu_devices::i8259::DualPic;
use emu_machine::describe_cpu;
use emu_machine::keys::parse_keys;

use super::expression::{address, number};
use super::{Answer, Context};
use crate::session::Place;

/// Lines of a list of pages.
const MOST_LINES: usize = 512;

pub(super) fn info(cx: &mut Context<'_>, words: &[&str]) -> Answer {
    match words {
        ["tlb"] => pages(cx),
        ["tlb", at] => translation(cx, at),
        ["pic"] => pic(cx),
        ["interrupts"] => Ok(interrupts(cx)),
        ["cpu"] => Ok(describe_cpu(cx.session.system())),
        ["cpus"] => Ok(cpus(cx)),
        ["devices"] => {
            let bus = &cx.session.machine().system.bus;
            Ok(bus.devices().map(|(_, name)| format!("{name}\n")).collect())
        }
        ["parts"] => Ok(parts(cx)),
        ["memory", offset, len] => pool(cx, number(offset)?, number(len)?),
        _ => Err("tlb [ADDR], pic, interrupts, cpu, cpus, devices, parts or memory OFFSET LEN".into()),
    }
}

/// The hash of each part of the machine; of memory also how many bytes the pool has.
fn parts(cx: &mut Context<'_>) -> String {
    let system = &cx.session.machine().system;
    let mut out = String::new();
    for (name, hash) in system.part_hashes() {
        let _ = writeln!(out, "part {name} {hash}");
    }
    let _ = writeln!(out, "pool {}", system.mem.pool_len());
    out
}

/// Bytes of the pool that are shown beside their hash.
const SHOWN: u64 = 16;

/// The hash of a stretch of the memory pool, in which RAM comes first, and its bytes if they are few.
fn pool(cx: &mut Context<'_>, offset: u64, len: u64) -> Answer {
    let mem = &cx.session.machine().system.mem;
    if offset.checked_add(len).is_none_or(|end| end > mem.pool_len()) {
        return Err(format!("memory has {} bytes", mem.pool_len()));
    }
    let bytes = mem.pool(offset, len as usize);
    let shown: String = bytes.iter().take_while(|_| len <= SHOWN).map(|b| format!(" {b:02x}")).collect();
    Ok(format!("pool {offset:#x}+{len} {}{shown}\n", StateHash::of(bytes)))
}

/// Where every CPU stands; a * marks the one whose instruction comes next.
fn cpus(cx: &mut Context<'_>) -> String {
    let system = &cx.session.machine().system;
    let mut out = String::new();
    for cpu in system.cpus() {
        let mark = if cpu.id == system.cpu.id { '*' } else { ' ' };
        let (cs, activity) = (cpu.seg[emu_core::cpu::seg::CS].sel, cpu.activity);
        let _ = writeln!(out, "{mark} cpu{} {cs:04x}:{:08x} CPL {} {activity:?}", cpu.id, cpu.rip, cpu.cpl);
    }
    out
}

/// A run of pages that lie one behind the other in both spaces, with the same rights.
struct Pages {
    linear: u64,
    physical: u64,
    len: u64,
    rights: u64,
}

/// How the CPU's tables are built [SDM-3 chapter 4].
struct Tables {
    /// Bytes of an entry.
    entry: u64,
    /// Bits of the address that select an entry.
    bits: u32,
    /// Levels that may hold large pages.
    large: fn(u32) -> bool,
    list: Vec<Pages>,
}

const PRESENT: u64 = 1;
const LARGE: u64 = 1 << 7;
/// R/W, U/S, global.
const RIGHTS: u64 = 0x106;
const NO_EXECUTE: u64 = 1 << 63;

impl Tables {
    /// Adds the pages of a table of `level` (1: its entries are 4 KiB pages).
    fn walk(&mut self, cx: &mut Context<'_>, table: u64, level: u32, linear: u64, rights: u64) {
        let mut bytes = vec![0; (self.entry << self.bits) as usize];
        if cx.session.read_memory(Place::Physical(table), &mut bytes) < bytes.len() {
            return;
        }
        let shift = 12 + self.bits * (level - 1);
        for (i, raw) in (0u64..).zip(bytes.chunks(self.entry as usize)) {
            let entry = raw.iter().rev().fold(0, |v, b| v << 8 | u64::from(*b));
            if entry & PRESENT == 0 || self.list.len() > 1 << 20 {
                continue;
            }
            let linear = linear | i << shift;
            // Both levels must allow writes and users; either may forbid execution.
            let both = rights & entry & 6 | (rights | entry) & NO_EXECUTE;
            if level == 1 || (entry & LARGE != 0 && (self.large)(level)) {
                let base = entry & 0x000F_FFFF_FFFF_F000 & !((1 << shift) - 1);
                self.add(Pages { linear, physical: base, len: 1 << shift, rights: both | entry & 0x100 });
            } else {
                self.walk(cx, entry & 0x000F_FFFF_FFFF_F000, level - 1, linear, both);
            }
        }
    }

    fn add(&mut self, new: Pages) {
        match self.list.last_mut() {
            Some(last)
                if last.linear + last.len == new.linear
                    && last.physical + last.len == new.physical
                    && (last.rights ^ new.rights) & (RIGHTS | NO_EXECUTE) == 0 =>
            {
                last.len += new.len;
            }
            _ => self.list.push(new),
        }
    }
}

fn pages(cx: &mut Context<'_>) -> Answer {
    let cpu = &cx.session.machine().system.cpu;
    let (cr0, cr3, cr4, efer, pdptrs) = (cpu.cr0, cpu.cr3, cpu.cr4, cpu.efer, cpu.pdptrs);
    if cr0 >> 31 & 1 == 0 {
        return Ok("paging is off: linear addresses are physical ones\n".into());
    }
    let mut tables = Tables { entry: 8, bits: 9, large: |level| level == 2 || level == 3, list: Vec::new() };
    if cr4 >> 5 & 1 == 0 {
        let large: fn(u32) -> bool = if cr4 >> 4 & 1 != 0 { |level| level == 2 } else { |_| false };
        tables = Tables { entry: 4, bits: 10, large, list: Vec::new() };
        tables.walk(cx, cr3 & 0xFFFF_F000, 2, 0, 6);
    } else if efer >> 10 & 1 == 0 {
        for (i, entry) in (0u64..).zip(pdptrs).filter(|(_, e)| e & PRESENT != 0) {
            tables.walk(cx, entry & 0x000F_FFFF_FFFF_F000, 2, i << 30, 6);
        }
    } else {
        tables.walk(cx, cr3 & 0x000F_FFFF_FFFF_F000, 4, 0, 6);
    }
    let mut out = String::new();
    for p in tables.list.iter().take(MOST_LINES) {
        // The upper half of 48-bit addresses is sign-extended.
        let linear = if p.linear >> 47 & 1 != 0 { p.linear | 0xFFFF << 48 } else { p.linear };
        let last = linear + (p.len - 1);
        let flag = |bit: u64, c: char| if p.rights & bit != 0 { c } else { '-' };
        let execute = if p.rights & NO_EXECUTE == 0 { 'x' } else { '-' };
        let flags = [flag(2, 'w'), execute, flag(4, 'u'), flag(0x100, 'g')].iter().collect::<String>();
        let _ = writeln!(out, "{linear:#010x}-{last:#010x} -> phys:{:#010x}  {flags}", p.physical);
    }
    if tables.list.len() > MOST_LINES {
        let _ = writeln!(out, "and {} more", tables.list.len() - MOST_LINES);
    }
    Ok(out)
}

fn translation(cx: &mut Context<'_>, text: &str) -> Answer {
    let at = address(cx.session, text)?;
    match cx.session.system().peek_translation(at) {
        Some(pa) => Ok(format!("{at:#010x} -> phys:{pa:#010x}\n")),
        None => Ok(format!("{at:#010x} is not mapped\n")),
    }
}

fn pic(cx: &mut Context<'_>) -> Answer {
    let pic = cx.session.machine().system.bus.find::<DualPic>().ok_or("this machine has none")?;
    let mut out = String::new();
    for (name, r) in ["master", "slave"].iter().zip(pic.registers()) {
        let _ = writeln!(
            out,
            "{name:<6} lines={:02x} irr={:02x} imr={:02x} isr={:02x} base={:02x}",
            r.lines, r.irr, r.imr, r.isr, r.base
        );
    }
    let _ = writeln!(out, "INTR is {}", if pic.intr() { "high" } else { "low" });
    Ok(out)
}

/// The last deliveries that this session has seen.
fn interrupts(cx: &mut Context<'_>) -> String {
    let now = cx.session.now();
    let mut out = String::new();
    // What lies ahead, or is out of order, is from before a jump into the past.
    let mut list: Vec<_> = cx.session.machine().system.last_interrupts().iter().filter(|d| d.at < now).collect();
    list.sort_by_key(|d| d.at);
    list.dedup_by_key(|d| d.at);
    for d in list {
        let _ = writeln!(out, "tick {}  vector {:02x}  at {:04x}:{:x}", d.at.0, d.interrupt.vector, d.cs, d.rip);
    }
    if out.is_empty() { "none seen\n".into() } else { out }
}

pub(super) fn screenshot(cx: &mut Context<'_>, words: &[&str]) -> Answer {
    if words.is_empty() {
        return Err("needs a file".into());
    }
    let path = words.join(" ");
    cx.session.machine().write_screenshot(Path::new(&path)).map_err(|e| e.to_string())?;
    Ok(format!("wrote {path}\n"))
}

pub(super) fn type_keys(cx: &mut Context<'_>, words: &[&str]) -> Answer {
    let steps = parse_keys(&words.join(" "))?;
    let keys: Vec<Input> = steps
        .iter()
        .flat_map(|step| match step {
            emu_machine::keys::KeyStep::Press(chord) => emu_machine::keys::strokes(chord),
            emu_machine::keys::KeyStep::Wait(_) => Vec::new(),
        })
        .collect();
    if cx.session.runner().press(keys) {
        return Ok("the keys come when the machine runs on from its present\n".into());
    }
    Err("a recording takes no keys".into())
}

pub(super) fn physical(cx: &mut Context<'_>, words: &[&str]) -> Answer {
    cx.console.physical = match words {
        ["on"] => true,
        ["off"] => false,
        _ => return Err("on or off".into()),
    };
    Ok(String::new())
}
