//! INT 14h: serial ports.

use super::bda::{COM_PORTS, COM_TIMEOUT};
use super::guest::{Guest, Served};

/// Where ports are looked for.
const BASES: [u16; 4] = [0x3F8, 0x2F8, 0x3E8, 0x2E8];
/// Divisors of 110 to 9600 bit/s, and 19200 for the extended call.
const DIVISORS: [u16; 9] = [1047, 768, 384, 192, 96, 48, 24, 12, 6];
/// Line status: nothing came, or could go, in time.
const TIMEOUT: u8 = 0x80;
/// Line status: a byte has come; the transmitter is empty.
const READY: u8 = 0x01;
const EMPTY: u8 = 0x20;

/// Finds the ports: each whose scratch register holds a value.
pub(super) fn start(g: &mut Guest<'_>) -> Served {
    let mut count = 0u16;
    for base in BASES {
        g.outb(base + 7, 0x5A);
        if g.inb(base + 7) == 0x5A && g.inb(base + 2) & 0x30 == 0 {
            g.set_bda(COM_PORTS + 2 * u64::from(count), base)?;
            g.set_bda(COM_TIMEOUT + u64::from(count), 1u8)?;
            count += 1;
        }
    }
    let equipment: u16 = g.bda(super::bda::EQUIPMENT)?;
    g.set_bda(super::bda::EQUIPMENT, equipment & !0x0E00 | count << 9)
}

/// INT 14h. A call that would wait answers with a time-out, as it does when the time is over.
pub(super) fn service(g: &mut Guest<'_>) -> Served {
    let port = g.dx();
    let base = if port < 4 { g.bda(COM_PORTS + 2 * u64::from(port))? } else { 0u16 };
    if base == 0 {
        g.set_ah(TIMEOUT);
        return Ok(());
    }
    match g.ah() {
        0 => {
            let v = g.al();
            set_line(g, base, DIVISORS[usize::from(v >> 5)], v & 0x1F);
        }
        1 => {
            let status = g.inb(base + 5);
            if status & EMPTY == 0 {
                g.set_ah(status | TIMEOUT);
                return Ok(());
            }
            let v = g.al();
            g.outb(base + 4, 3);
            g.outb(base, v);
            let status = g.inb(base + 5);
            g.set_ah(status & !TIMEOUT);
            return Ok(());
        }
        2 => {
            let status = g.inb(base + 5);
            if status & READY == 0 {
                g.set_ah(status | TIMEOUT);
                return Ok(());
            }
            let v = g.inb(base);
            g.set_al(v);
            g.set_ah(status & 0x1E);
            return Ok(());
        }
        3 => {}
        4 => {
            let parity = [0, 0x08, 0x18, 0x28, 0x38].get(usize::from(g.bh())).copied().unwrap_or(0);
            let line = parity | (g.bl() & 1) << 2 | g.ch() & 3;
            let divisor = DIVISORS.get(usize::from(g.cl())).copied().unwrap_or(12);
            set_line(g, base, divisor, line);
        }
        5 => {
            if g.al() == 1 {
                let v = g.bl();
                g.outb(base + 4, v);
            }
            let v = g.inb(base + 4);
            g.set_bl(v);
        }
        _ => return Ok(()),
    }
    let status = u16::from(g.inb(base + 5)) << 8 | u16::from(g.inb(base + 6));
    g.set_ax(status);
    Ok(())
}

fn set_line(g: &mut Guest<'_>, base: u16, divisor: u16, line: u8) {
    g.outb(base + 3, 0x80);
    g.outb(base, divisor as u8);
    g.outb(base + 1, (divisor >> 8) as u8);
    g.outb(base + 3, line & 0x1F);
    g.outb(base + 1, 0);
}
