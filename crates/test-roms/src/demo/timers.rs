//! The timers section and the clock: the RTC's second measures the PIT [8254], IRQ 0 and the TSC; the PIT measures how
//! fast the CPU runs a loop.

use iced_x86::code_asm::*;

use super::Shared;
use super::layout::{CLOCK, DIM, LABEL, TIMERS, TITLE};
use crate::asm::{Asm, Emit, IcedError};

/// The BIOS's count of IRQ 0, and the ends of its keyboard buffer [PC/AT TR, BIOS data area].
const BDA: u32 = 0x40;
const BDA_TICKS: u32 = 0x6C;
const BDA_KEYS: u32 = 0x1A;
/// IRQ 0 comes 18.2 times a second: after so many, the RTC does not run.
const PATIENCE: u32 = 40;
/// Iterations of the speed loop × the PIT's 1193182 Hz / 100000: tenths of millions a second, times PIT counts.
const SPEED_FAST: u32 = 781_964;
const SPEED_SLOW: u32 = SPEED_FAST / 8;

/// Variables of the measurement.
struct Vars {
    /// Word: the PIT's count when last seen; dword: PIT clocks so far.
    last: u32,
    clocks: u32,
    /// Qword: TSC when the second began.
    tsc: u32,
    /// Word: IRQ 0 count when the second began, and when waiting began.
    ticks: u32,
    waiting: u32,
    /// Byte: the RTC's second, as last seen.
    second: u32,
}

/// A routine that prints date and time into the header (of an AT or later; the BIOS waits for updates).
pub(super) fn clock(a: &mut Asm, shared: &Shared) -> Result<CodeLabel, IcedError> {
    let mut end = a.create_label();
    let entry = a.mark()?;
    shared.print.colour(a, 0x1F)?;
    a.mov(di, CLOCK)?;
    a.stc()?;
    a.mov(ah, 4)?;
    a.int(0x1A)?;
    a.jc(end)?;
    separated(a, shared, &[ch, cl, dh, dl], &[None, Some(b'-'), Some(b'-'), Some(b' ')])?;
    a.stc()?;
    a.mov(ah, 2)?;
    a.int(0x1A)?;
    a.jc(end)?;
    separated(a, shared, &[ch, cl, dh], &[Some(b':'), Some(b':'), None])?;
    a.here(&mut end)?;
    a.ret()?;
    Ok(entry)
}

fn separated(a: &mut Asm, shared: &Shared, parts: &[AsmRegister8], separators: &[Option<u8>]) -> Emit {
    for (&part, separator) in parts.iter().zip(separators) {
        a.mov(al, part)?;
        a.call(shared.print.bcd)?;
        if let &Some(separator) = separator {
            a.mov(al, u32::from(separator))?;
            a.call(shared.print.character)?;
        }
    }
    Ok(())
}

/// A routine that measures the timers and prints what it found. A key ends its wait for the RTC.
pub(super) fn emit(a: &mut Asm, shared: &Shared) -> Result<CodeLabel, IcedError> {
    let vars = Vars {
        last: a.space(2),
        clocks: a.space(4),
        tsc: a.space(8),
        ticks: a.space(2),
        waiting: a.space(2),
        second: a.bytes(&[0xFF]),
    };
    let sample = sample(a, &vars)?;
    let edge = second(a, &vars, sample)?;
    let start = start_counter(a, &vars)?;
    let entry = a.mark()?;
    speed(a, shared, start)?;
    let mut at = a.create_label();
    a.cmp(word_ptr(shared.class), 2)?;
    a.jae(at)?;
    a.mov(di, TIMERS.value(0))?;
    shared.print.say(a, DIM, "none")?;
    a.ret()?;
    a.here(&mut at)?;
    one_second(a, shared, &vars, start, edge)?;
    Ok(entry)
}

/// A routine that starts channel 2 as a rate generator over 65536, speaker off [8254 p.12].
fn start_counter(a: &mut Asm, vars: &Vars) -> Result<CodeLabel, IcedError> {
    let entry = a.mark()?;
    a.in_(al, 0x61)?;
    a.and(al, 0xFCu32)?;
    a.or(al, 1)?;
    a.out(0x61, al)?;
    a.mov(al, 0xB4u32)?;
    a.out(0x43, al)?;
    a.xor(ax, ax)?;
    a.out(0x42, al)?;
    a.out(0x42, al)?;
    a.mov(word_ptr(vars.last), ax)?;
    a.mov(word_ptr(vars.clocks), ax)?;
    a.mov(word_ptr(vars.clocks + 2), ax)?;
    a.ret()?;
    Ok(entry)
}

/// Emits: AX = channel 2's count, latched.
fn latch(a: &mut Asm) -> Emit {
    a.mov(al, 0x80u32)?;
    a.out(0x43, al)?;
    a.in_(al, 0x42)?;
    a.mov(ah, al)?;
    a.in_(al, 0x42)?;
    a.xchg(al, ah)
}

/// A routine that adds what the counter has run since the last sample. Destroys AX, BX.
fn sample(a: &mut Asm, vars: &Vars) -> Result<CodeLabel, IcedError> {
    let entry = a.mark()?;
    latch(a)?;
    a.mov(bx, word_ptr(vars.last))?;
    a.mov(word_ptr(vars.last), ax)?;
    a.sub(bx, ax)?;
    a.add(word_ptr(vars.clocks), bx)?;
    a.adc(word_ptr(vars.clocks + 2), 0)?;
    a.ret()?;
    Ok(entry)
}

/// A routine that samples until the RTC shows another second; CF if a key or the end of patience came first. The
/// second is read only while no update is near [MC146818 "UIP"].
fn second(a: &mut Asm, vars: &Vars, sample: CodeLabel) -> Result<CodeLabel, IcedError> {
    let (mut reached, mut unready) = (a.create_label(), a.create_label());
    let entry = a.mark()?;
    ticks(a)?;
    a.mov(word_ptr(vars.waiting), ax)?;
    let again = a.mark()?;
    a.call(sample)?;
    read_rtc(a, 0x0A)?;
    a.test(al, 0x80u32)?;
    a.jnz(unready)?;
    read_rtc(a, 0x00)?;
    a.cmp(al, byte_ptr(vars.second))?;
    a.jne(reached)?;
    a.here(&mut unready)?;
    key_waits(a)?;
    let mut give_up = a.create_label();
    a.jne(give_up)?;
    ticks(a)?;
    a.sub(ax, word_ptr(vars.waiting))?;
    a.cmp(ax, PATIENCE)?;
    a.jb(again)?;
    a.here(&mut give_up)?;
    a.stc()?;
    a.ret()?;
    a.here(&mut reached)?;
    a.mov(byte_ptr(vars.second), al)?;
    a.clc()?;
    a.ret()?;
    Ok(entry)
}

/// Emits: AL = a register of the RTC.
fn read_rtc(a: &mut Asm, register: u32) -> Emit {
    a.mov(al, register)?;
    a.out(0x70, al)?;
    a.in_(al, 0x71)
}

/// Emits: ZF unless the BIOS's keyboard buffer holds a key. Destroys AX.
fn key_waits(a: &mut Asm) -> Emit {
    a.push(ds)?;
    a.mov(ax, BDA)?;
    a.mov(ds, ax)?;
    a.mov(ax, word_ptr(BDA_KEYS))?;
    a.cmp(ax, word_ptr(BDA_KEYS + 2))?;
    a.pop(ds)
}

/// Emits: what happens from one end of an update to the next, printed; and the return.
fn one_second(a: &mut Asm, shared: &Shared, vars: &Vars, start: CodeLabel, edge: CodeLabel) -> Emit {
    let (mut ran, mut still) = (a.create_label(), a.create_label());
    a.mov(di, TIMERS.value(0))?;
    shared.print.say(a, TITLE, "measuring for a second ...")?;
    a.call(start)?;
    a.call(edge)?; // whatever second it is
    a.jc(still)?;
    a.call(edge)?;
    a.jc(still)?;
    mark_begin(a, shared, vars)?;
    a.call(edge)?;
    a.jnc(ran)?;
    a.here(&mut still)?;
    a.mov(di, TIMERS.value(0))?;
    shared.print.say(a, DIM, "not measured              ")?;
    a.ret()?;
    a.here(&mut ran)?;
    ticks(a)?;
    a.sub(ax, word_ptr(vars.ticks))?;
    a.push(ax)?;
    tsc_rate(a, shared, vars)?;
    a.mov(di, TIMERS.value(2))?;
    a.pop(ax)?;
    a.xor(dx, dx)?;
    a.call(shared.print.decimal)?;
    shared.print.say(a, LABEL, " interrupts")?;
    a.mov(di, TIMERS.value(1))?;
    a.mov(ax, word_ptr(vars.clocks))?;
    a.mov(dx, word_ptr(vars.clocks + 2))?;
    shared.print.fixed(a, 6)?;
    shared.print.say(a, LABEL, " MHz")?;
    a.mov(di, TIMERS.value(0))?;
    shared.print.say(a, super::layout::VALUE, "1 second, in which:       ")?;
    a.ret()
}

/// Emits: AX = the BIOS's count of IRQ 0.
fn ticks(a: &mut Asm) -> Emit {
    a.push(ds)?;
    a.mov(ax, BDA)?;
    a.mov(ds, ax)?;
    a.mov(ax, word_ptr(BDA_TICKS))?;
    a.pop(ds)
}

/// Emits: the second begins now.
fn mark_begin(a: &mut Asm, shared: &Shared, vars: &Vars) -> Emit {
    let mut no_tsc = a.create_label();
    a.cmp(word_ptr(shared.has_tsc), 0)?;
    a.je(no_tsc)?;
    a.newer(|a| {
        a.rdtsc()?;
        a.mov(dword_ptr(vars.tsc), eax)?;
        a.mov(dword_ptr(vars.tsc + 4), edx)
    })?;
    a.here(&mut no_tsc)?;
    a.xor(ax, ax)?;
    a.mov(word_ptr(vars.clocks), ax)?;
    a.mov(word_ptr(vars.clocks + 2), ax)?;
    ticks(a)?;
    a.mov(word_ptr(vars.ticks), ax)
}

/// Emits: the TSC's rate: counts of this second / 1000 are kHz. At 4 THz and more it is not printed.
fn tsc_rate(a: &mut Asm, shared: &Shared, vars: &Vars) -> Emit {
    let (mut none, mut end) = (a.create_label(), a.create_label());
    a.mov(di, TIMERS.value(3))?;
    a.cmp(word_ptr(shared.has_tsc), 0)?;
    a.je(none)?;
    a.newer(|a| {
        a.rdtsc()?;
        a.sub(eax, dword_ptr(vars.tsc))?;
        a.sbb(edx, dword_ptr(vars.tsc + 4))?;
        a.mov(ecx, 1000)?;
        a.cmp(edx, ecx)?;
        a.jae(none)?;
        a.div(ecx)?;
        a.mov(edx, eax)?;
        a.shr(edx, 16)
    })?;
    shared.print.fixed(a, 3)?;
    shared.print.say(a, LABEL, " MHz")?;
    a.jmp(end)?;
    a.here(&mut none)?;
    shared.print.say(a, DIM, "none")?;
    a.here(&mut end)
}

/// Emits: how many LOOP instructions a second, from one run that the PIT times (less where that would take too long).
fn speed(a: &mut Asm, shared: &Shared, start: CodeLabel) -> Emit {
    let (mut slow, mut go, mut end) = (a.create_label(), a.create_label(), a.create_label());
    a.call(start)?;
    a.mov(cx, 8192)?;
    a.cmp(word_ptr(shared.class), 3)?;
    a.jb(slow)?;
    a.xor(cx, cx)?;
    a.here(&mut slow)?;
    a.mov(bp, cx)?;
    a.cli()?;
    latch(a)?;
    a.mov(bx, ax)?;
    let spin = a.mark()?;
    a.loop_(spin)?;
    latch(a)?;
    a.sti()?;
    a.sub(bx, ax)?;
    a.mov(di, TIMERS.value(4))?;
    a.cmp(bx, 16)?;
    let mut measured = a.create_label();
    a.ja(measured)?;
    shared.print.say(a, DIM, "too fast to measure")?;
    a.jmp(end)?;
    a.here(&mut measured)?;
    for (n, value) in [SPEED_FAST, SPEED_SLOW].into_iter().enumerate() {
        a.mov(dx, value >> 16)?;
        a.mov(ax, value & 0xFFFF)?;
        if n == 0 {
            a.or(bp, bp)?;
            a.jz(go)?;
        }
    }
    a.here(&mut go)?;
    a.div(bx)?;
    a.xor(dx, dx)?;
    shared.print.fixed(a, 1)?;
    shared.print.say(a, LABEL, " million loops/s")?;
    a.here(&mut end)
}
