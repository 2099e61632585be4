//! What a person gets to read when a machine has died: registers, the code at the instruction pointer, the last
//! instructions and the last interrupts.

mod retrace;

use core::fmt::Write;
use std::time::Duration;

use emu_core::cpu::{Mode, Segment};
use emu_core::{Input, System, Ticks};
use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter};

use crate::Machine;
use retrace::{Retraced, retrace};

const NAMES: [&str; 8] = ["AX", "CX", "DX", "BX", "SP", "BP", "SI", "DI"];
const SEGMENTS: [&str; 6] = ["ES", "CS", "SS", "DS", "FS", "GS"];
/// Bytes of code that are shown from the instruction pointer on.
const CODE: usize = 24;

/// What there is to say about a machine that died after it got `inputs`: as [`describe_cpu`], but with the last instructions
/// before its end. To find them the run is repeated, which takes up to `patience` of host time; where it can't be, they are
/// those of the last block.
#[must_use]
pub fn describe_death(machine: &mut Machine, inputs: &[(Ticks, Input)], patience: Duration) -> String {
    let steps = retrace(machine, inputs, patience);
    describe(&mut machine.system, steps.as_deref())
}

/// Registers of the CPU whose turn it is, code at its instruction pointer, the last block and the last interrupts; several
/// lines.
#[must_use]
pub fn describe_cpu(system: &mut System) -> String {
    describe(system, None)
}

fn describe(system: &mut System, steps: Option<&[Retraced]>) -> String {
    let mut out = registers(system);
    code(&mut out, system);
    match steps {
        Some(steps) => retraced(&mut out, steps),
        None => last_instructions(&mut out, system),
    }
    last_interrupts(&mut out, system);
    out
}

/// Registers; several lines.
fn registers(system: &System) -> String {
    let mut out = String::new();
    let cpu = &system.cpu;
    let long = cpu.mode.has(Mode::LONG);
    let _ = writeln!(out, "tick {}  {}", system.now().0, mode_name(cpu.mode));
    let count = if long { 16 } else { 8 };
    for (i, value) in cpu.regs.iter().take(count).enumerate() {
        let name = NAMES.get(i).map_or_else(|| format!("R{i}"), |n| format!("{}{n}", if long { 'R' } else { 'E' }));
        let _ =
            if long { write!(out, "{name:>3}={value:016x}") } else { write!(out, "{name:>3}={:08x}", *value as u32) };
        out.push(if i % 4 == 3 { '\n' } else { ' ' });
    }
    let _ = writeln!(out, "RIP={:016x} EFLAGS={:08x} CPL={}", cpu.rip, cpu.eflags(), cpu.cpl);
    for (name, s) in SEGMENTS.iter().zip(&cpu.seg) {
        segment(&mut out, name, s);
    }
    segment(&mut out, "TR", &cpu.tr);
    segment(&mut out, "LDT", &cpu.ldtr);
    let _ = writeln!(
        out,
        "GDT={:016x}/{:04x} IDT={:016x}/{:04x}",
        cpu.gdtr.base, cpu.gdtr.limit, cpu.idtr.base, cpu.idtr.limit
    );
    let _ = writeln!(
        out,
        "CR0={:08x} CR2={:016x} CR3={:016x} CR4={:08x} EFER={:04x}",
        cpu.cr0, cpu.cr2, cpu.cr3, cpu.cr4, cpu.efer
    );
    out
}

/// The instruction that runs next, with its address: `0070:1234 mov [bx],ax`; one line.
#[must_use]
pub fn describe_next(system: &mut System) -> String {
    let (mode, rip, cs) = (system.cpu.mode, system.cpu.rip, system.cpu.seg[emu_core::cpu::seg::CS]);
    let bitness = match mode {
        m if m.has(Mode::CODE64) => 64,
        m if m.has(Mode::CODE32) => 32,
        _ => 16,
    };
    let start = if bitness == 64 { rip } else { cs.base.wrapping_add(rip) };
    let bytes: Vec<u8> = (0..15)
        .map_while(|i| {
            let lin = system.wrap_linear(start.wrapping_add(i));
            system.peek_translation(lin).map(|pa| system.mem.load::<u8>(pa))
        })
        .collect();
    let place = if bitness == 64 { format!("{rip:x}") } else { format!("{:04x}:{rip:x}", cs.sel) };
    if bytes.is_empty() {
        return format!("{place} (not mapped)");
    }
    if let [0x0F, 0x3F, number, ..] = bytes[..]
        && system.is_firmware_at(start)
    {
        return format!("{place} (firmware service {number:02x})");
    }
    let mut text = String::new();
    let insn = Decoder::with_ip(bitness, &bytes, rip, DecoderOptions::NONE).decode();
    IntelFormatter::new().format(&insn, &mut text);
    format!("{place} {text}")
}

/// The general registers in one line.
#[must_use]
pub fn describe_registers(system: &System) -> String {
    let long = system.cpu.mode.has(Mode::LONG);
    let (prefix, count) = if long { ("R", 16) } else { ("E", 8) };
    let register = |(i, value): (usize, &u64)| {
        let name = NAMES.get(i).map_or_else(|| format!("R{i}"), |n| format!("{prefix}{n}"));
        if long { format!("{name}={value:x}") } else { format!("{name}={:x}", *value as u32) }
    };
    system.cpu.regs.iter().take(count).enumerate().map(register).collect::<Vec<_>>().join(" ")
}

pub(crate) fn mode_name(mode: Mode) -> &'static str {
    match mode {
        m if m.has(Mode::CODE64) => "64-bit mode",
        m if m.has(Mode::LONG) => "compatibility mode",
        m if m.has(Mode::V86) => "virtual 8086 mode",
        m if m.has(Mode::PE) && m.has(Mode::CODE32) => "32-bit protected mode",
        m if m.has(Mode::PE) => "16-bit protected mode",
        _ => "real mode",
    }
}

fn segment(out: &mut String, name: &str, s: &Segment) {
    let _ = writeln!(out, "{name:>3}={:04x} base={:016x} limit={:08x} attr={:04x}", s.sel, s.base, s.limit, s.attr);
}

/// The code bytes; a translation that faults ends them.
fn code(out: &mut String, system: &mut System) {
    let start = system.cpu.seg[emu_core::cpu::seg::CS].base.wrapping_add(system.cpu.rip);
    let _ = write!(out, "code at {start:x}:");
    for i in 0..CODE as u64 {
        let lin = system.wrap_linear(start.wrapping_add(i));
        match system.peek_translation(lin).map(|pa| system.mem.load::<u8>(pa)) {
            Some(byte) => {
                let _ = write!(out, " {byte:02x}");
            }
            None => {
                out.push_str(" (not mapped)");
                break;
            }
        }
    }
    out.push('\n');
}

/// The instructions before the end, oldest first.
fn retraced(out: &mut String, steps: &[Retraced]) {
    out.push_str("last instructions, found by repeating the run:\n");
    for step in steps {
        let insn = Decoder::with_ip(step.bitness, &step.bytes, step.rip, DecoderOptions::NONE).decode();
        let len = if insn.is_invalid() { step.bytes.len().min(2) } else { insn.len() };
        let times = if step.times > 1 { format!("  ({} times)", step.times) } else { String::new() };
        let at = format!("{:04x}:{:x}", step.cs, step.rip);
        let _ =
            writeln!(out, "  tick {:<12} {at:<14} {:<20} {}{times}", step.tick, hex(&step.bytes[..len]), text(&insn));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn text(insn: &Instruction) -> String {
    let mut text = String::new();
    IntelFormatter::new().format(insn, &mut text);
    text
}

/// The block that ran last, disassembled as if it stood where its memory is.
fn last_instructions(out: &mut String, system: &System) {
    let block = system.last_block();
    if block.instructions.is_empty() {
        return;
    }
    let _ = writeln!(out, "last instructions, from memory at {:x}:", block.location);
    let mut at = block.location;
    for bytes in &block.instructions {
        let insn = Decoder::with_ip(block.bitness, bytes, at, DecoderOptions::NONE).decode();
        let _ = writeln!(out, "  {at:8x}  {:<20} {}", hex(bytes), text(&insn));
        at += bytes.len() as u64;
    }
}

fn last_interrupts(out: &mut String, system: &System) {
    let list = system.last_interrupts();
    if !list.is_empty() {
        out.push_str("last interrupts and exceptions:\n");
    }
    for d in list {
        let code = d.interrupt.code.map_or_else(String::new, |c| format!(" code {c:04x}"));
        let _ =
            writeln!(out, "  tick {}  vector {:02x}{code}  at {:04x}:{:x}", d.at.0, d.interrupt.vector, d.cs, d.rip);
    }
}
