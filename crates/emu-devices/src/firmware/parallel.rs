//! INT 17h: parallel ports.

use super::bda::{EQUIPMENT, LPT_PORTS, LPT_TIMEOUT};
use super::guest::{Guest, Served};

/// Where ports are looked for.
const BASES: [u16; 3] = [0x3BC, 0x378, 0x278];
/// What a call answers if there is no printer: time-out.
const TIMEOUT: u8 = 0x01;
/// Control port: strobe, initialise (active low), select.
const IDLE: u8 = 0x0C;

/// Finds the ports: each whose data latch holds a value.
pub(super) fn start(g: &mut Guest<'_>) -> Served {
    let mut count = 0u16;
    for base in BASES {
        g.outb(base, 0xAA);
        if g.inb(base) == 0xAA {
            g.set_bda(LPT_PORTS + 2 * u64::from(count), base)?;
            g.set_bda(LPT_TIMEOUT + u64::from(count), 0x14u8)?;
            count += 1;
        }
    }
    let equipment: u16 = g.bda(EQUIPMENT)?;
    g.set_bda(EQUIPMENT, equipment & 0x3FFF | count << 14)
}

/// Sends a byte to printer `port`; returns the status as AH holds it.
pub(super) fn send(g: &mut Guest<'_>, port: u16, byte: u8) -> Served<u8> {
    let base = if port < 3 { g.bda(LPT_PORTS + 2 * u64::from(port))? } else { 0u16 };
    if base == 0 {
        return Ok(TIMEOUT);
    }
    g.outb(base, byte);
    g.outb(base + 2, IDLE | 1);
    g.outb(base + 2, IDLE);
    Ok(status(g, base))
}

/// Status lines, with the two that are active low turned.
fn status(g: &mut Guest<'_>, base: u16) -> u8 {
    g.inb(base + 1) & 0xF8 ^ 0x48
}

/// INT 17h.
pub(super) fn service(g: &mut Guest<'_>) -> Served {
    let port = g.dx();
    let base = if port < 3 { g.bda(LPT_PORTS + 2 * u64::from(port))? } else { 0u16 };
    let answer = match g.ah() {
        _ if base == 0 => TIMEOUT,
        0 => {
            let byte = g.al();
            send(g, port, byte)?
        }
        1 => {
            g.outb(base + 2, IDLE & !4);
            g.outb(base + 2, IDLE);
            status(g, base)
        }
        2 => status(g, base),
        _ => return Ok(()),
    };
    g.set_ah(answer);
    Ok(())
}
