//! The PS/2 mouse: INT 15h, AH = C2h, and IRQ 12 [PS/2 TR, "Pointing device BIOS interface"].
//!
//! Commands go to the mouse without waiting: its acknowledgements come by IRQ 12 and are told from packets by their upper
//! bits. What the calls answer is what this firmware has set.

use emu_core::cpu::seg;

use super::bda::EBDA_SEGMENT;
use super::guest::{Guest, Served};
use super::rom::{SEGMENT, at};
use super::services::fail;

/// Offsets in the extended data area: the driver's routine, bytes of the packet so far, flags, packet.
const ROUTINE: u64 = 0x22;
const COUNT: u64 = 0x26;
const FLAGS: u64 = 0x27;
const PACKET: u64 = 0x28;
/// What was set: status byte, resolution, rate.
const STATUS: u64 = 0x30;
const RESOLUTION: u64 = 0x31;
const RATE: u64 = 0x32;
/// Flag: there is a routine.
const HAS_ROUTINE: u8 = 0x80;
/// Status bits: reporting, scaled 2:1.
const REPORTING: u8 = 0x20;
const SCALED: u8 = 0x10;

/// Error codes.
const BAD_FUNCTION: u8 = 0x01;
const BAD_INPUT: u8 = 0x02;
const NO_ROUTINE: u8 = 0x05;

const ACK: u8 = 0xFA;
const RATES: [u8; 7] = [10, 20, 40, 60, 80, 100, 200];

fn area(g: &mut Guest<'_>) -> Served<u64> {
    Ok(u64::from(g.bda::<u16>(EBDA_SEGMENT)?) << 4)
}

/// Sends a byte to the mouse.
fn send(g: &mut Guest<'_>, byte: u8) {
    g.outb(0x64, 0xD4);
    g.outb(0x60, byte);
}

/// Writes the controller's command byte: keyboard with IRQ 1 and translation, mouse on or off.
fn set_cable(g: &mut Guest<'_>, on: bool) {
    g.outb(0x64, 0x60);
    g.outb(0x60, if on { 0x47 } else { 0x65 });
    let mask = g.inb(0xA1);
    g.outb(0xA1, if on { mask & !0x10 } else { mask | 0x10 });
}

/// INT 15h, AH = C2h.
pub(super) fn service(g: &mut Guest<'_>) -> Served {
    let ebda = area(g)?;
    let status: u8 = g.peek(ebda + STATUS)?;
    let bh = g.bh();
    match g.al() {
        0x00 => {
            if bh > 1 {
                return fail(g, BAD_INPUT);
            }
            if bh == 1 && g.peek::<u8>(ebda + FLAGS)? & HAS_ROUTINE == 0 {
                return fail(g, NO_ROUTINE);
            }
            g.poke(ebda + COUNT, 0u8)?;
            g.poke(ebda + STATUS, if bh == 1 { status | REPORTING } else { status & !REPORTING })?;
            set_cable(g, bh == 1);
            send(g, if bh == 1 { 0xF4 } else { 0xF5 });
        }
        0x01 | 0x05 => {
            if g.al() == 5 && bh != 3 {
                return fail(g, BAD_INPUT);
            }
            set_cable(g, false);
            send(g, 0xF6);
            g.poke_bytes(ebda + STATUS, &[0, 2, 100])?;
            g.poke(ebda + COUNT, 0u8)?;
            g.set_bx(0x00AA);
        }
        0x02 => {
            let Some(&rate) = RATES.get(usize::from(bh)) else { return fail(g, BAD_INPUT) };
            g.poke(ebda + RATE, rate)?;
            send(g, 0xF3);
            send(g, rate);
        }
        0x03 => {
            if bh > 3 {
                return fail(g, BAD_INPUT);
            }
            g.poke(ebda + RESOLUTION, bh)?;
            send(g, 0xE8);
            send(g, bh);
        }
        0x04 => g.set_bh(0),
        0x06 => match bh {
            0 => {
                let (resolution, rate): (u8, u8) = (g.peek(ebda + RESOLUTION)?, g.peek(ebda + RATE)?);
                g.set_bl(status);
                g.set_cl(resolution);
                g.set_dl(rate);
            }
            1 | 2 => {
                g.poke(ebda + STATUS, if bh == 2 { status | SCALED } else { status & !SCALED })?;
                send(g, 0xE5 + bh);
            }
            _ => return fail(g, BAD_INPUT),
        },
        0x07 => {
            let routine = u32::from(g.selector(seg::ES)) << 16 | u32::from(g.bx());
            g.poke(ebda + ROUTINE, routine)?;
            g.poke(ebda + FLAGS, if routine == 0 { 0 } else { HAS_ROUTINE | 3u8 })?;
        }
        _ => return fail(g, BAD_FUNCTION),
    }
    g.set_ah(0);
    g.set_carry(false)
}

/// IRQ 12: collects a packet, then calls the driver's routine with four words on the stack: status, X, Y, 0.
pub(super) fn interrupt(g: &mut Guest<'_>) -> Served {
    if g.inb(0x64) & 0x21 != 0x21 {
        return Ok(());
    }
    let byte = g.inb(0x60);
    let ebda = area(g)?;
    let count: u8 = g.peek(ebda + COUNT)?;
    if count == 0 && (byte == ACK || byte & 0xC0 != 0) {
        return Ok(());
    }
    let count = count.min(2);
    g.poke(ebda + PACKET + u64::from(count), byte)?;
    if count < 2 {
        return g.poke(ebda + COUNT, count + 1);
    }
    g.poke(ebda + COUNT, 0u8)?;
    if g.peek::<u8>(ebda + FLAGS)? & HAS_ROUTINE == 0 {
        return Ok(());
    }
    let routine: u32 = g.peek(ebda + ROUTINE)?;
    for i in 0..3 {
        let v: u8 = g.peek(ebda + PACKET + i)?;
        g.sys.push(u16::from(v))?;
    }
    for v in [0, SEGMENT, at::MOUSE_END] {
        g.sys.push(v)?;
    }
    g.jump((routine >> 16) as u16, routine as u16);
    Ok(())
}
