//! The line of a 16550A: bytes go out and come in one frame time apart.

use super::{EVENT_ARRIVED, EVENT_SENT, EVENT_TIMEOUT, LSR_OE, Ns16550, Output};
use emu_core::DevCx;
use std::collections::VecDeque;

/// How much the other end may send ahead of the line.
pub(super) const QUEUE: usize = 0x1_0000;

/// Bytes in order of arrival. Whoever fills it keeps it short.
#[derive(Debug, Default)]
pub(super) struct Fifo(VecDeque<u8>);

impl Fifo {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
    pub(super) fn first(&self) -> Option<u8> {
        self.0.front().copied()
    }
    pub(super) fn push(&mut self, byte: u8) {
        self.0.push_back(byte);
    }
    pub(super) fn pop(&mut self) -> Option<u8> {
        self.0.pop_front()
    }
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
    pub(super) fn to_vec(&self) -> Vec<u8> {
        self.0.iter().copied().collect()
    }
}

impl From<Vec<u8>> for Fifo {
    fn from(bytes: Vec<u8>) -> Fifo {
        Fifo(bytes.into())
    }
}

impl Ns16550 {
    /// A write to THR. Into a full FIFO it is lost; the holding register alone keeps the newer byte.
    pub(super) fn transmit(&mut self, cx: &mut DevCx<'_>, byte: u8) {
        self.thre_pending = false;
        if self.tx.len() >= self.depth() && !self.fifos() {
            self.tx.clear();
        }
        if self.tx.len() < self.depth() {
            self.tx.push(byte & self.data_mask());
        }
        // With an event pending the shift register is busy, or about to take the next byte this very tick.
        if cx.now >= self.sent_at && cx.scheduled(EVENT_SENT).is_none() {
            self.shift(cx);
        } else if cx.scheduled(EVENT_SENT).is_none() {
            cx.schedule(EVENT_SENT, self.sent_at);
        }
    }

    /// The shift register takes the next byte, if there is one; an event is needed only if one more waits, or loops.
    fn shift(&mut self, cx: &mut DevCx<'_>) {
        let Some(byte) = self.tx.pop() else { return };
        self.sent_at = cx.now + self.frame(cx, 1);
        if self.looped() {
            self.looping = Some(byte);
        } else {
            cx.output(Output::Serial { port: self.port, byte });
        }
        if self.tx.len() == 0 {
            self.thre_pending = true;
        }
        if self.tx.len() > 0 || self.looping.is_some() {
            cx.schedule(EVENT_SENT, self.sent_at);
        }
    }

    /// The shift register has become empty.
    pub(super) fn sent(&mut self, cx: &mut DevCx<'_>) {
        if let Some(byte) = self.looping.take() {
            if self.rx.len() < self.depth() {
                self.receive(cx, byte);
            } else {
                self.errors |= LSR_OE;
            }
        }
        self.shift(cx);
    }

    fn receive(&mut self, cx: &mut DevCx<'_>, byte: u8) {
        self.rx.push(byte & self.data_mask());
        self.touch_rx(cx);
    }

    /// The receive FIFO was filled or read: the character timeout of four frames starts again [16550 p.19].
    pub(super) fn touch_rx(&mut self, cx: &mut DevCx<'_>) {
        self.timed_out = false;
        if self.fifos() && self.rx.len() > 0 {
            cx.schedule(EVENT_TIMEOUT, cx.now + self.frame(cx, 4));
        } else {
            cx.cancel(EVENT_TIMEOUT);
        }
    }

    /// Asks for the arrival of the next byte from the other end, if it sends and there is room.
    pub(super) fn expect(&mut self, cx: &mut DevCx<'_>) {
        if self.queue.len() > 0 && self.rx.len() < self.depth() && cx.scheduled(EVENT_ARRIVED).is_none() {
            cx.schedule(EVENT_ARRIVED, cx.now + self.frame(cx, 1));
        }
    }

    /// A frame from the other end is complete. While the chip loops it hears nothing, and the other end waits.
    pub(super) fn arrived(&mut self, cx: &mut DevCx<'_>) {
        if self.rx.len() < self.depth()
            && !self.looped()
            && let Some(byte) = self.queue.pop()
        {
            self.receive(cx, byte);
        }
        self.expect(cx);
    }
}
