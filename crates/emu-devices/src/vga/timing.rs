//! Where the beam is: computed from the clock and the CRTC's timing registers when someone asks.
//!
//! Frames are counted from tick 0 at the present frame rate, so the beam needs no state of its own; a change of the
//! timing registers moves it, as it does on the chip.

use emu_core::{ClockRate, Ticks};

use super::Regs;

/// The timing of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timing {
    /// Dot clock in Hz, after the sequencer's divider.
    dot_hz: u64,
    /// Dots of a character clock.
    char_dots: u64,
    /// Character clocks of a line, and how many of them are shown.
    chars: u64,
    shown_chars: u64,
    /// Lines of a frame, how many of them are shown, and those of the vertical retrace.
    lines: u64,
    shown_lines: u64,
    retrace: (u64, u64),
}

/// Where the beam is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beam {
    pub(super) displaying: bool,
    pub(super) retrace: bool,
}

impl Timing {
    /// The timing that the registers make [VGA-TR 2-55 to 2-75].
    pub(super) fn of(regs: &Regs) -> Timing {
        let clock = if regs.misc & 0x0C == 4 { 28_322_000 } else { 25_175_000 };
        let lines = u64::from(regs.tall(6, 0, 5)) + 2;
        let start = u64::from(regs.tall(0x10, 2, 7));
        // The end register holds the low four bits of the line at which retrace ends: 1 to 16 lines.
        let height = u64::from(regs.crtc[0x11]).wrapping_sub(start).wrapping_sub(1) % 16 + 1;
        Timing {
            dot_hz: if regs.seq[1] & 8 != 0 { clock / 2 } else { clock },
            char_dots: regs.char_dots() as u64,
            chars: u64::from(regs.crtc[0]) + 5,
            shown_chars: regs.columns() as u64,
            lines,
            shown_lines: regs.lines() as u64,
            retrace: (start, start + height),
        }
    }

    fn dots_per_frame(&self) -> u64 {
        self.char_dots * self.chars * self.lines
    }

    /// Whole frames shown until `now`.
    pub(super) fn frames_at(&self, now: Ticks, rate: ClockRate) -> u64 {
        rate.cycles_at(now, self.dot_hz) / self.dots_per_frame()
    }

    /// The first tick after `now` at which [`Self::beam`] may be another.
    pub(super) fn beam_stays_until(&self, now: Ticks, rate: ClockRate) -> Ticks {
        let dot = rate.cycles_at(now, self.dot_hz);
        let at = dot % self.dots_per_frame();
        let line_dots = self.char_dots * self.chars;
        let (line, in_line) = (at / line_dots, at % line_dots);
        // The lines at which something begins or ends, and in lines with a picture its end.
        let edges = [self.shown_lines, self.retrace.0, self.retrace.1, self.lines];
        let next = edges.into_iter().filter(|&e| e > line).min().unwrap_or(line + 1) * line_dots;
        let shown = (self.shown_chars * self.char_dots).min(line_dots);
        let next = match line < self.shown_lines {
            true if in_line < shown => next.min(line * line_dots + shown),
            true => next.min((line + 1) * line_dots),
            false => next,
        };
        rate.tick_of_cycle(dot - at + next.min(self.dots_per_frame()), self.dot_hz)
    }

    /// Where the beam is at `now`.
    pub(super) fn beam(&self, now: Ticks, rate: ClockRate) -> Beam {
        let dot = rate.cycles_at(now, self.dot_hz) % self.dots_per_frame();
        let (line, char) = (dot / self.char_dots / self.chars, dot / self.char_dots % self.chars);
        Beam {
            displaying: line < self.shown_lines && char < self.shown_chars,
            retrace: (self.retrace.0..self.retrace.1).contains(&line),
        }
    }
}
