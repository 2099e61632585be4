//! As much of an instruction's bytes as the adapter must understand: what single-stepping or signals make ambiguous.

use crate::message::Mode;

/// What is special about an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    /// Nothing.
    None,
    /// A repeated string instruction: single-stepping stops after each iteration.
    Repeat,
    /// PUSHF would store the flag that makes the CPU single-step.
    PushFlags,
    /// INTO: its exception arrives as that of a general-protection fault.
    Into,
    /// BOUND: likewise.
    Bound,
    /// x87, WAIT and those MMX instructions that report a pending x87 exception.
    Float,
    /// Can't be run here, and why.
    Refused(&'static str),
}

/// Looks at the prefixes and the opcode.
pub(crate) fn special(mode: Mode, code: &[u8]) -> Special {
    let (mut at, mut repeat, mut null) = (0, false, false);
    while let Some(byte) = code.get(at) {
        match byte {
            0xF2 | 0xF3 => repeat = true,
            // FS and GS hold null selectors: what uses them gets its #GP before any other exception.
            0x64 | 0x65 => null = true,
            0x26 | 0x2E | 0x36 | 0x3E => null = false,
            0x66 | 0x67 | 0xF0 => {}
            0x40..=0x4F if mode == Mode::User64 => {}
            _ => break,
        }
        at += 1;
    }
    let next = |n: usize| code.get(at + n).copied().unwrap_or(0);
    let narrow = mode == Mode::User32;
    match next(0) {
        0xA4..=0xA7 | 0xAA..=0xAF if repeat => Special::Repeat,
        0x9C => Special::PushFlags,
        0x9D | 0xCF => Special::Refused("it may set the flag that the adapter steps by"),
        0xCE if narrow => Special::Into,
        0x62 if narrow && next(1) < 0xC0 && !null => Special::Bound,
        0x8E if next(1) >> 3 & 7 == 2 => Special::Refused("it holds off the trap that the adapter steps by"),
        0x17 if narrow => Special::Refused("it holds off the trap that the adapter steps by"),
        0xCD => Special::Refused("it calls the operating system"),
        0x9B | 0xD8..=0xDF => Special::Float,
        0x0F => match next(1) {
            0x05 | 0x34 => Special::Refused("it calls the operating system"),
            0x2A | 0x2C | 0x2D | 0x60..=0x7F | 0xC4 | 0xC5 | 0xD1..=0xFE | 0x38 | 0x3A => Special::Float,
            _ => Special::None,
        },
        _ => Special::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_looked_through() {
        for (mode, code, what) in [
            (Mode::User64, &[0xF3, 0x48, 0xAB][..], Special::Repeat),
            (Mode::User64, &[0xAB], Special::None),
            (Mode::User32, &[0x66, 0xF2, 0xAF], Special::Repeat),
            (Mode::User32, &[0x48, 0x9C], Special::None),
            (Mode::User64, &[0x48, 0x9C], Special::PushFlags),
            (Mode::User32, &[0x62, 0x07], Special::Bound),
            (Mode::User32, &[0x65, 0x62, 0x07], Special::None),
            (Mode::User64, &[0x62, 0x07], Special::None),
            (Mode::User64, &[0xD8, 0x00], Special::Float),
            (Mode::User64, &[0xCD, 0x80], Special::Refused("it calls the operating system")),
            (Mode::User64, &[], Special::None),
        ] {
            assert_eq!(special(mode, code), what, "{code:x?}");
        }
    }
}
