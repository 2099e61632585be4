//! INT 8 and 1Ah: ticks since midnight, and the real-time clock; INT 70h: alarm and event wait.

use super::bda::{FLOPPY_COUNT, FLOPPY_MOTOR, MIDNIGHT, TICKS, WAIT_ACTIVE, WAIT_FLAG, WAIT_LEFT};
use super::guest::{CARRY, Guest, Served};
use super::{pci, rom};

/// Ticks of 18.2 Hz in a day.
const DAY: u32 = 0x0018_00B0;
/// RTC registers.
const STATUS_A: u8 = 0x0A;
const STATUS_B: u8 = 0x0B;
const STATUS_C: u8 = 0x0C;
const CENTURY: u8 = 0x32;
/// Status register B: updates stop; periodic, alarm interrupts.
const SET: u8 = 0x80;
const PERIODIC: u8 = 0x40;
const ALARM: u8 = 0x20;
/// Microseconds between two periodic interrupts at 1024 Hz.
const PERIOD: u32 = 976;

/// Starts the timer at 18.2 Hz, and sets the tick count from the clock.
pub(super) fn start(g: &mut Guest<'_>) -> Served {
    // Channel 0: square wave; 1: refresh every 15 microseconds; 2: off.
    for (command, port, count) in [(0x36, 0x40, 0u16), (0x54, 0x41, 0x0012), (0xB6, 0x42, 0)] {
        g.outb(0x43, command);
        g.outb(port, count as u8);
        if command != 0x54 {
            g.outb(port, (count >> 8) as u8);
        }
    }
    let status_b = g.cmos(STATUS_B);
    g.set_cmos(STATUS_A, 0x26);
    g.set_cmos(STATUS_B, status_b & !(SET | PERIODIC | ALARM | 0x10) | 0x02);
    g.cmos(STATUS_C);
    g.cmos(0x0D);
    let [s, m, h] = [0, 2, 4].map(|r| u64::from(from_bcd(g.cmos(r))));
    let seconds = (h * 60 + m) * 60 + s;
    // One tick is 65536 periods of 1193182 Hz.
    let ticks = (seconds * 1_193_182 / 0x1_0000) as u32;
    g.set_bda(TICKS, ticks.min(DAY - 1))?;
    g.set_bda(MIDNIGHT, 0u8)
}

fn from_bcd(v: u8) -> u8 {
    (v >> 4) * 10 + (v & 0xF)
}

/// IRQ 0.
pub(super) fn tick(g: &mut Guest<'_>) -> Served {
    let ticks = g.bda::<u32>(TICKS)?.wrapping_add(1);
    if ticks >= DAY {
        g.set_bda(MIDNIGHT, 1u8)?;
    }
    g.set_bda(TICKS, if ticks >= DAY { 0 } else { ticks })?;
    let count: u8 = g.bda(FLOPPY_COUNT)?;
    if count > 0 {
        g.set_bda(FLOPPY_COUNT, count - 1)?;
        if count == 1 {
            let motor: u8 = g.bda(FLOPPY_MOTOR)?;
            g.set_bda(FLOPPY_MOTOR, motor & 0xF0)?;
            g.outb(0x3F2, 0x0C);
        }
    }
    Ok(())
}

/// IRQ 8: counts down a wait, and rings the alarm (INT 4Ah).
pub(super) fn rtc_interrupt(g: &mut Guest<'_>) -> Served {
    let cause = g.cmos(STATUS_C) & g.cmos(STATUS_B);
    if cause & PERIODIC != 0 && g.bda::<u8>(WAIT_ACTIVE)? & 1 != 0 {
        let left: u32 = g.bda(WAIT_LEFT)?;
        g.set_bda(WAIT_LEFT, left.saturating_sub(PERIOD))?;
        if left <= PERIOD {
            let flag: u32 = g.bda(WAIT_FLAG)?;
            let at = Guest::at((flag >> 16) as u16, flag as u16);
            stop_wait(g)?;
            let old: u8 = g.peek(at)?;
            g.poke(at, old | 0x80)?;
        }
    }
    if cause & ALARM != 0 {
        g.jump(rom::SEGMENT, rom::at::ALARM);
    }
    Ok(())
}

/// INT 15h, AH = 83h: sets bit 7 of the byte at `flag` after `micros` microseconds. Returns false if a wait runs already.
pub(super) fn start_wait(g: &mut Guest<'_>, flag: u32, micros: u32) -> Served<bool> {
    if g.bda::<u8>(WAIT_ACTIVE)? & 1 != 0 {
        return Ok(false);
    }
    g.set_bda(WAIT_FLAG, flag)?;
    g.set_bda(WAIT_LEFT, micros)?;
    g.set_bda(WAIT_ACTIVE, 1u8)?;
    let mask = g.inb(0xA1);
    g.outb(0xA1, mask & !1);
    let status_b = g.cmos(STATUS_B);
    g.set_cmos(STATUS_B, status_b | PERIODIC);
    Ok(true)
}

/// Ends a wait.
pub(super) fn stop_wait(g: &mut Guest<'_>) -> Served {
    let status_b = g.cmos(STATUS_B);
    g.set_cmos(STATUS_B, status_b & !PERIODIC);
    g.set_bda(WAIT_ACTIVE, 0u8)
}

/// INT 1Ah.
pub(super) fn service(g: &mut Guest<'_>) -> Served {
    g.set_carry(false)?;
    match g.ah() {
        0x00 => {
            let ticks: u32 = g.bda(TICKS)?;
            let midnight: u8 = g.bda(MIDNIGHT)?;
            g.set_bda(MIDNIGHT, 0u8)?;
            g.set_cx((ticks >> 16) as u16);
            g.set_dx(ticks as u16);
            g.set_ax(midnight.into());
        }
        0x01 => {
            let ticks = u32::from(g.cx()) << 16 | u32::from(g.dx());
            g.set_bda(TICKS, ticks)?;
            g.set_bda(MIDNIGHT, 0u8)?;
            g.set_ah(0);
        }
        0x02 => {
            let [s, m, h, b] = [0, 2, 4, STATUS_B].map(|r| g.cmos(r));
            g.set_ch(h);
            g.set_cl(m);
            g.set_dh(s);
            g.set_dl(b & 1);
            g.set_ax(h.into());
        }
        0x03 => {
            let time = [(0, g.dh()), (2, g.cl()), (4, g.ch())];
            let daylight = g.dl() & 1;
            set_clock(g, &time, daylight);
        }
        0x04 => {
            let [d, m, y, c] = [7, 8, 9, CENTURY].map(|r| g.cmos(r));
            g.set_ch(c);
            g.set_cl(y);
            g.set_dh(m);
            g.set_dl(d);
            g.set_ah(0);
        }
        0x05 => {
            let date = [(7, g.dl()), (8, g.dh()), (9, g.cl()), (CENTURY, g.ch())];
            let daylight = g.cmos(STATUS_B) & 1;
            set_clock(g, &date, daylight);
            g.set_ah(0);
        }
        0x06 => return set_alarm(g),
        0x07 => {
            let status_b = g.cmos(STATUS_B);
            g.set_cmos(STATUS_B, status_b & !ALARM);
        }
        0x0A => {
            let days = g.bda(0xCE)?;
            g.set_cx(days);
        }
        0x0B => {
            let days = g.cx();
            g.set_bda(0xCE, days)?;
        }
        0xB1 => return pci::service(g),
        _ => return g.set_flags(CARRY, true),
    }
    Ok(())
}

fn set_clock(g: &mut Guest<'_>, values: &[(u8, u8)], daylight: u8) {
    let status_b = g.cmos(STATUS_B) & !1 | daylight;
    g.set_cmos(STATUS_B, status_b | SET);
    values.iter().for_each(|&(r, v)| g.set_cmos(r, v));
    g.set_cmos(STATUS_B, status_b & !SET);
}

fn set_alarm(g: &mut Guest<'_>) -> Served {
    let status_b = g.cmos(STATUS_B);
    if status_b & ALARM != 0 {
        return g.set_carry(true);
    }
    for (r, v) in [(1, g.dh()), (3, g.cl()), (5, g.ch())] {
        g.set_cmos(r, v);
    }
    let mask = g.inb(0xA1);
    g.outb(0xA1, mask & !1);
    g.set_cmos(STATUS_B, status_b & !SET | ALARM);
    Ok(())
}
