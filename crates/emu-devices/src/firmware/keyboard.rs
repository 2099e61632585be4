//! IRQ 1 and INT 16h: scan codes become characters [PC/AT TR, "Keyboard"; PS/2 TR, "Interrupt 16h"].

use emu_core::Ticks;
use emu_core::cpu::bits::IF;

use super::bda::{
    ALT_CODE, BREAK, KEY_BUFFER, KEY_END, KEY_HEAD, KEY_START, KEY_TAIL, KEYBOARD_FLAGS, LAMPS, SHIFT, SHIFT_HELD,
};
use super::guest::{Guest, Served, ZERO};
use super::rom::{SEGMENT, at};

/// Bits of 40:17.
const RIGHT_SHIFT: u8 = 0x01;
const LEFT_SHIFT: u8 = 0x02;
const CTRL: u8 = 0x04;
const ALT: u8 = 0x08;
const SCROLL: u8 = 0x10;
const NUM: u8 = 0x20;
const CAPS: u8 = 0x40;
const INSERT: u8 = 0x80;
/// Bits of 40:18 (the locks' bits there say that the key is down).
const LEFT_CTRL: u8 = 0x01;
const LEFT_ALT: u8 = 0x02;
const SYS_REQ: u8 = 0x04;
const PAUSE: u8 = 0x08;
/// Bits of 40:96.
const SAW_E1: u8 = 0x01;
const SAW_E0: u8 = 0x02;
const RIGHT_CTRL: u8 = 0x04;
const RIGHT_ALT: u8 = 0x08;
const KEYS_101: u8 = 0x10;
/// Bit of 40:97: the lamps' new state has been announced to the keyboard.
const LAMPS_ON_WAY: u8 = 0x40;

/// Offset of the buffer in segment 40h, and its end.
const BUFFER: u16 = KEY_BUFFER as u16;
const BUFFER_END: u16 = BUFFER + 32;

const PLAIN: &[u8; 58] = b"\0\x1B1234567890-=\x08\tqwertyuiop[]\r\0asdfghjkl;'`\0\\zxcvbnm,./\0*\0 ";
const SHIFTED: &[u8; 58] = b"\0\x1B!@#$%^&*()_+\x08\0QWERTYUIOP{}\r\0ASDFGHJKL:\"~\0|ZXCVBNM<>?\0*\0 ";
const KEYPAD: &[u8; 13] = b"789-456+1230.";
/// Scan codes of keypad keys with Ctrl, from 47h on.
const CTRL_KEYPAD: [u8; 13] = [0x77, 0x8D, 0x84, 0x8E, 0x73, 0x8F, 0x74, 0x90, 0x75, 0x91, 0x76, 0x92, 0x93];

/// Data area, keyboard controller.
pub(super) fn start(g: &mut Guest<'_>) -> Served {
    for (off, v) in [(KEY_HEAD, BUFFER), (KEY_TAIL, BUFFER), (KEY_START, BUFFER), (KEY_END, BUFFER_END)] {
        g.set_bda(off, v)?;
    }
    g.set_bda(KEYBOARD_FLAGS, KEYS_101)?;
    // Self-test, then: IRQ 1, translation, the mouse's clock off.
    g.outb(0x64, 0xAA);
    g.inb(0x60);
    g.outb(0x64, 0x60);
    g.outb(0x60, 0x65);
    // A20 closed, as every PC has it at the start: programs that pack themselves rely on addresses that wrap.
    g.outb(0x64, 0xDD);
    Ok(())
}

/// Where a scan code leads after it is dealt with.
enum Then {
    Nothing,
    Jump(u16),
}

/// The body of IRQ 1: AL is the byte, which INT 15h, AH = 4Fh may have changed.
pub(super) fn scan_code(g: &mut Guest<'_>) -> Served {
    let byte = g.al();
    match byte {
        0xFA => return lamps_answer(g),
        0xFE | 0xEE | 0x00 | 0xFF => return Ok(()),
        0xE0 | 0xE1 => {
            let flags: u8 = g.bda(KEYBOARD_FLAGS)?;
            return g.set_bda(KEYBOARD_FLAGS, flags | if byte == 0xE0 { SAW_E0 } else { SAW_E1 });
        }
        _ => {}
    }
    let flags: u8 = g.bda(KEYBOARD_FLAGS)?;
    if flags & SAW_E1 != 0 {
        // E1 1D 45 is Pause; its break code follows at once and says nothing.
        if byte & 0x7F == 0x1D {
            return Ok(());
        }
        g.set_bda(KEYBOARD_FLAGS, flags & !(SAW_E1 | SAW_E0))?;
        return if byte == 0x45 { pause(g) } else { Ok(()) };
    }
    g.set_bda(KEYBOARD_FLAGS, flags & !SAW_E0)?;
    let grey = flags & SAW_E0 != 0;
    if modifier(g, byte, grey)? {
        return Ok(());
    }
    if let Then::Jump(to) = key(g, byte, grey)? {
        g.jump(SEGMENT, to);
    }
    Ok(())
}

/// The keyboard has taken a byte of ours: the second is the lamps' state.
fn lamps_answer(g: &mut Guest<'_>) -> Served {
    let lamps: u8 = g.bda(LAMPS)?;
    if lamps & LAMPS_ON_WAY != 0 {
        g.set_bda(LAMPS, lamps & !LAMPS_ON_WAY)?;
        g.outb(0x60, lamps & 7);
    }
    Ok(())
}

/// Announces the locks' lamps if they have changed.
fn update_lamps(g: &mut Guest<'_>) -> Served {
    let lamps: u8 = g.bda(LAMPS)?;
    let wanted = g.bda::<u8>(SHIFT)? >> 4 & 7;
    if lamps & 7 != wanted {
        g.set_bda(LAMPS, lamps & !7 | wanted | LAMPS_ON_WAY)?;
        g.outb(0x60, 0xED);
    }
    Ok(())
}

/// Keys that have a state. Returns whether `byte` was of one of them.
fn modifier(g: &mut Guest<'_>, byte: u8, grey: bool) -> Served<bool> {
    let (code, down) = (byte & 0x7F, byte & 0x80 == 0);
    match (code, grey) {
        (0x2A | 0x36, true) => {} // the keyboard's own shifts around grey keys
        (0x2A, false) => put_bit(g, SHIFT, LEFT_SHIFT, down)?,
        (0x36, false) => put_bit(g, SHIFT, RIGHT_SHIFT, down)?,
        (0x1D, _) => {
            put_bit(
                g,
                if grey { KEYBOARD_FLAGS } else { SHIFT_HELD },
                if grey { RIGHT_CTRL } else { LEFT_CTRL },
                down,
            )?;
            let held = g.bda::<u8>(SHIFT_HELD)? & LEFT_CTRL | g.bda::<u8>(KEYBOARD_FLAGS)? & RIGHT_CTRL;
            put_bit(g, SHIFT, CTRL, held != 0)?;
        }
        (0x38, _) => {
            put_bit(g, if grey { KEYBOARD_FLAGS } else { SHIFT_HELD }, if grey { RIGHT_ALT } else { LEFT_ALT }, down)?;
            let held = g.bda::<u8>(SHIFT_HELD)? & LEFT_ALT | g.bda::<u8>(KEYBOARD_FLAGS)? & RIGHT_ALT;
            put_bit(g, SHIFT, ALT, held != 0)?;
            let typed: u8 = g.bda(ALT_CODE)?;
            if !down && typed != 0 {
                g.set_bda(ALT_CODE, 0u8)?;
                put_key(g, typed.into())?;
            }
        }
        (0x3A, false) => lock(g, CAPS, down)?,
        (0x45, false) if g.bda::<u8>(SHIFT)? & CTRL == 0 => lock(g, NUM, down)?,
        (0x46, false) if g.bda::<u8>(SHIFT)? & CTRL == 0 => lock(g, SCROLL, down)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn put_bit(g: &mut Guest<'_>, off: u64, bit: u8, on: bool) -> Served {
    let old: u8 = g.bda(off)?;
    g.set_bda(off, if on { old | bit } else { old & !bit })
}

/// A lock's key: turns the lock when it goes down, not when it repeats.
fn lock(g: &mut Guest<'_>, bit: u8, down: bool) -> Served {
    let held: u8 = g.bda(SHIFT_HELD)?;
    put_bit(g, SHIFT_HELD, bit, down)?;
    if down && held & bit == 0 {
        let old: u8 = g.bda(SHIFT)?;
        g.set_bda(SHIFT, old ^ bit)?;
        update_lamps(g)?;
    }
    Ok(())
}

fn pause(g: &mut Guest<'_>) -> Served {
    put_bit(g, SHIFT_HELD, PAUSE, true)?;
    g.jump(SEGMENT, at::PAUSE);
    Ok(())
}

/// While the pause lasts: goes on behind the stub's jump when it is over.
pub(super) fn paused(g: &mut Guest<'_>) -> Served {
    if g.bda::<u8>(SHIFT_HELD)? & PAUSE == 0 {
        g.sys.cpu.rip += 2;
    }
    Ok(())
}

/// All other keys.
fn key(g: &mut Guest<'_>, byte: u8, grey: bool) -> Served<Then> {
    let shift: u8 = g.bda(SHIFT)?;
    let (ctrl, alt) = (shift & CTRL != 0, shift & ALT != 0);
    if byte & 0x80 != 0 {
        return released(g, byte & 0x7F, grey);
    }
    if g.bda::<u8>(SHIFT_HELD)? & PAUSE != 0 {
        put_bit(g, SHIFT_HELD, PAUSE, false)?;
        return Ok(Then::Nothing);
    }
    match byte {
        0x53 if ctrl && alt => {
            g.set_bda(super::bda::WARM_START, 0x1234u16)?;
            g.outb(0x64, 0xFE);
            return Ok(Then::Nothing);
        }
        0x46 if ctrl => {
            g.set_bda(BREAK, 0x80u8)?;
            let start: u16 = g.bda(KEY_START)?;
            g.set_bda(KEY_HEAD, start)?;
            g.set_bda(KEY_TAIL, start)?;
            put_key(g, 0)?;
            return Ok(Then::Jump(at::BREAK));
        }
        0x45 if ctrl => {
            pause(g)?;
            return Ok(Then::Nothing);
        }
        0x54 => return sys_req(g, true),
        0x37 if grey && !ctrl && !alt => return Ok(Then::Jump(at::PRINT)),
        0x52 if !ctrl && !alt => {
            let held: u8 = g.bda(SHIFT_HELD)?;
            put_bit(g, SHIFT_HELD, INSERT, true)?;
            if held & INSERT == 0 && (grey || digits(shift) == 0) {
                g.set_bda(SHIFT, shift ^ INSERT)?;
            }
        }
        0x47..=0x53 if alt && !grey && byte != 0x4A && byte != 0x4E => {
            let digit = KEYPAD[usize::from(byte - 0x47)].wrapping_sub(b'0');
            if digit <= 9 {
                let typed: u8 = g.bda(ALT_CODE)?;
                g.set_bda(ALT_CODE, typed.wrapping_mul(10).wrapping_add(digit))?;
            }
            return Ok(Then::Nothing);
        }
        _ => {}
    }
    if let Some(code) = code_of(byte, grey, shift) {
        put_key(g, code)?;
    }
    Ok(Then::Nothing)
}

fn released(g: &mut Guest<'_>, code: u8, grey: bool) -> Served<Then> {
    match code {
        0x52 => put_bit(g, SHIFT_HELD, INSERT, false)?,
        0x54 if !grey => return sys_req(g, false),
        _ => {}
    }
    Ok(Then::Nothing)
}

fn sys_req(g: &mut Guest<'_>, down: bool) -> Served<Then> {
    let held = g.bda::<u8>(SHIFT_HELD)? & SYS_REQ != 0;
    put_bit(g, SHIFT_HELD, SYS_REQ, down)?;
    if held == down {
        return Ok(Then::Nothing);
    }
    g.set_al(u8::from(!down));
    Ok(Then::Jump(at::SYS_REQ))
}

/// Whether the keypad gives digits (not 0).
fn digits(shift: u8) -> u8 {
    u8::from((shift & NUM != 0) != (shift & (LEFT_SHIFT | RIGHT_SHIFT) != 0))
}

/// The code that a key gives: scan code and character.
fn code_of(scan: u8, grey: bool, shift: u8) -> Option<u16> {
    let (shifted, ctrl, alt) = (shift & 3 != 0, shift & CTRL != 0, shift & ALT != 0);
    let word = |high: u8, low: u8| Some(u16::from(high) << 8 | u16::from(low));
    match scan {
        0x35 if grey && alt => word(0xA4, 0),
        0x35 if grey && ctrl => word(0x95, 0),
        0x35 if grey => word(0xE0, b'/'),
        0x1C if grey && alt => word(0xA6, 0),
        0x1C if grey => word(0xE0, if ctrl { 10 } else { 13 }),
        0x37 if grey => word(0x72, 0).filter(|_| ctrl),
        0x47..=0x53 if grey => match (alt, ctrl) {
            (true, _) => word(scan + 0x50, 0),
            (_, true) => word(CTRL_KEYPAD[usize::from(scan - 0x47)], 0xE0),
            _ => word(scan, 0xE0),
        },
        _ if grey => None,
        0x47..=0x53 => keypad(scan, shift),
        0x3B..=0x44 => {
            let base = if alt {
                0x68
            } else if ctrl {
                0x5E
            } else if shifted {
                0x54
            } else {
                0x3B
            };
            word(base + scan - 0x3B, 0)
        }
        0x57 | 0x58 => {
            let base = if alt {
                0x8B
            } else if ctrl {
                0x89
            } else if shifted {
                0x87
            } else {
                0x85
            };
            word(base + scan - 0x57, 0)
        }
        0x56 if !ctrl && !alt => word(scan, if shifted { b'|' } else { b'\\' }),
        0x01..=0x39 if alt => alt_code(scan),
        0x01..=0x39 if ctrl => ctrl_code(scan),
        0x0F if shifted => word(scan, 0),
        0x01..=0x39 => {
            let plain = PLAIN[usize::from(scan)];
            let upper = shifted != (shift & CAPS != 0 && plain.is_ascii_lowercase());
            let c = if upper { SHIFTED[usize::from(scan)] } else { plain };
            word(scan, c).filter(|_| c != 0)
        }
        _ => None,
    }
}

fn keypad(scan: u8, shift: u8) -> Option<u16> {
    let i = usize::from(scan - 0x47);
    let high = u16::from(scan) << 8;
    let sign = scan == 0x4A || scan == 0x4E;
    if shift & ALT != 0 {
        return sign.then_some(high);
    }
    if shift & CTRL != 0 {
        return Some(u16::from(CTRL_KEYPAD[i]) << 8);
    }
    Some(high | if sign || digits(shift) != 0 { u16::from(KEYPAD[i]) } else { 0 })
}

fn alt_code(scan: u8) -> Option<u16> {
    let high = match scan {
        0x02..=0x0D => scan + 0x76,
        0x0F => 0xA5,
        0x39 => return Some(0x3920),
        0x1D | 0x2A | 0x36 | 0x38 => return None,
        _ => scan,
    };
    Some(u16::from(high) << 8)
}

fn ctrl_code(scan: u8) -> Option<u16> {
    let (high, low) = match scan {
        0x03 => (scan, 0),
        0x07 => (scan, 0x1E),
        0x0C => (scan, 0x1F),
        0x0E => (scan, 0x7F),
        0x0F => (0x94, 0),
        0x1C => (scan, 0x0A),
        0x37 => (0x96, 0),
        0x01 | 0x39 => (scan, PLAIN[usize::from(scan)]),
        _ => match PLAIN[usize::from(scan)] {
            c @ (b'a'..=b'z' | b'[' | b']' | b'\\') => (scan, c & 0x1F),
            _ => return None,
        },
    };
    Some(u16::from(high) << 8 | u16::from(low))
}

fn next(g: &mut Guest<'_>, at: u16) -> Served<u16> {
    let (start, end): (u16, u16) = (g.bda(KEY_START)?, g.bda(KEY_END)?);
    let at = at.wrapping_add(2);
    Ok(if at >= end { start } else { at })
}

/// Appends a code to the buffer. Returns false if it is full.
fn put_key(g: &mut Guest<'_>, code: u16) -> Served<bool> {
    let tail: u16 = g.bda(KEY_TAIL)?;
    let after = next(g, tail)?;
    if after == g.bda::<u16>(KEY_HEAD)? {
        return Ok(false);
    }
    g.set_bda(tail.into(), code)?;
    g.set_bda(KEY_TAIL, after)?;
    Ok(true)
}

/// Drops what old programs don't know, for functions 0 and 1: `None` for a key that the first PCs did not have.
fn old_style(code: u16) -> Option<u16> {
    let (high, low) = ((code >> 8) as u8, code as u8);
    match (high, low) {
        (0xE0, b'/') => Some(0x3500 | u16::from(low)),
        (0xE0, 10 | 13) => Some(0x1C00 | u16::from(low)),
        (0x85.., _) => None,
        (0x56, b'\\' | b'|') => None,
        (1.., 0xE0 | 0xF0) => Some(code & 0xFF00),
        _ => Some(code),
    }
}

/// The code at the head of the buffer, without those that the caller would not understand.
fn head(g: &mut Guest<'_>, extended: bool) -> Served<Option<u16>> {
    loop {
        let head: u16 = g.bda(KEY_HEAD)?;
        if head == g.bda::<u16>(KEY_TAIL)? {
            return Ok(None);
        }
        let code: u16 = g.bda(head.into())?;
        let known = if !extended {
            old_style(code)
        } else if code & 0xFF == 0xF0 && code > 0xFF {
            Some(code & 0xFF00)
        } else {
            Some(code)
        };
        if known.is_some() {
            return Ok(known);
        }
        drop_head(g)?;
    }
}

fn drop_head(g: &mut Guest<'_>) -> Served {
    let head: u16 = g.bda(KEY_HEAD)?;
    let after = next(g, head)?;
    g.set_bda(KEY_HEAD, after)
}

/// Polls for a key that come closer together than this are a program that waits.
const TIGHT_US: u64 = 200;
/// How many such polls in a row it takes.
const MANY_POLLS: u32 = 64;
/// How long a poll then takes.
const REST_US: u64 = 2_000;

/// Notices programs that wait for a key by polling, as DOS does at its prompt, and lets each poll take a while: the
/// interrupt handlers still run, a key ends the wait, and the host's CPU rests.
#[derive(Default)]
pub(super) struct PollWatch {
    polls: u32,
    last: u64,
    /// When the present poll may answer; 0 if it may at once.
    until: u64,
}

impl PollWatch {
    /// INT 16h, functions 01h and 11h. Returns whether the service may answer now; if not, it is called again.
    pub(super) fn may_answer(&mut self, g: &mut Guest<'_>) -> Served<bool> {
        let waits = matches!(g.ah(), 0x01 | 0x11) && !g.is_v86() && head(g, g.ah() == 0x11)?.is_none();
        if !waits {
            (self.polls, self.until) = (0, 0);
            return Ok(true);
        }
        let (now, rate) = (g.sys.now(), g.sys.bus.rate());
        if self.until == 0 {
            let tight = now.0.saturating_sub(self.last) < rate.ticks_in_us(TIGHT_US);
            self.polls = if tight { self.polls.saturating_add(1) } else { 0 };
            self.last = now.0;
            if self.polls < MANY_POLLS {
                return Ok(true);
            }
            self.until = now.after(rate.ticks_in_us(REST_US)).0;
        }
        // As any BIOS does at this service's start; the caller's flags come back with IRET.
        g.sys.cpu.set_eflags(g.sys.cpu.eflags() | IF);
        if now.0 < self.until && !g.sys.pass_time(Ticks(self.until)) {
            g.sys.cpu.rip = g.sys.insn_ip();
            return Ok(false);
        }
        (self.last, self.until) = (g.sys.now().0, 0);
        Ok(true)
    }

    /// For saved state.
    pub(super) fn fields(&self) -> (u32, u64, u64) {
        let Self { polls, last, until } = self;
        (*polls, *last, *until)
    }

    /// From saved state.
    pub(super) fn from_fields((polls, last, until): (u32, u64, u64)) -> PollWatch {
        PollWatch { polls, last, until }
    }
}

/// INT 16h.
pub(super) fn service(g: &mut Guest<'_>) -> Served {
    match g.ah() {
        f @ (0x00 | 0x10) => match head(g, f != 0)? {
            Some(code) => {
                drop_head(g)?;
                g.set_ax(code);
            }
            None => g.jump(SEGMENT, if g.is_v86() { at::SPIN_16 } else { at::WAIT_16 }),
        },
        f @ (0x01 | 0x11) => {
            let code = head(g, f == 0x11)?;
            if let Some(code) = code {
                g.set_ax(code);
            }
            g.set_flags(ZERO, code.is_none())?;
        }
        0x02 => {
            let shift = g.bda(SHIFT)?;
            g.set_al(shift);
        }
        0x03 => set_repeat(g),
        0x05 => {
            let code = g.cx();
            let stored = put_key(g, code)?;
            g.set_al(u8::from(!stored));
        }
        0x09 => g.set_al(0x26),
        0x0A => g.set_bx(0x83AB),
        0x12 => {
            let shift: u8 = g.bda(SHIFT)?;
            let (held, flags): (u8, u8) = (g.bda(SHIFT_HELD)?, g.bda(KEYBOARD_FLAGS)?);
            let high = held & 0x73 | (held & SYS_REQ) << 5 | flags & (RIGHT_CTRL | RIGHT_ALT);
            g.set_ax(u16::from(high) << 8 | u16::from(shift));
        }
        0x92 => g.set_ah(0x80),
        _ => {}
    }
    Ok(())
}

/// AH = 03h, AL = 05h: typematic rate and delay. The keyboard's answers come by IRQ 1, which ignores them.
fn set_repeat(g: &mut Guest<'_>) {
    if g.al() == 5 {
        let value = (g.bh() & 3) << 5 | g.bl() & 0x1F;
        g.outb(0x60, 0xF3);
        g.outb(0x60, value);
    }
}
