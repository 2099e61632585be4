//! IRQ 0 against the PIT that makes it: 21 interrupts, each at a reload of channel 0, none lost and none twice.
//!
//! Channel 0 counts 3000 in mode 2, channel 2 65536; both run from the same clock [8254 p.11]. Between the second and
//! the last channel 2 runs 19 periods, give or take what it takes to enter the handler.

use iced_x86::code_asm::*;

use crate::asm::Emit;

/// PIT clocks per interrupt; 19 of them fit into channel 2's count.
const PERIOD: u32 = 3000;
/// The interrupts between which the time is taken. (The first may be one that setting the mode made.)
const FIRST: u32 = 2;
const LAST: u32 = 21;
/// PIT clocks that the entry into the handler may vary by.
const TOLERANCE: u32 = 1000;

pub(super) const EXPECTED: &str = "21 interrupts on time\n";

/// Where the handler counts, and channel 2's count at interrupt FIRST.
const COUNT: u32 = 0x600;

pub(super) fn emit(a: &mut CodeAssembler) -> Emit {
    super::begin(a)?;
    let (mut handler, mut start) = (a.create_label(), a.create_label());
    a.call(start)?;
    handler_code(a, &mut handler)?;
    a.set_label(&mut start)?;
    a.pop(ax)?; // the handler's address
    a.mov(word_ptr(0x20u32), ax)?;
    a.mov(word_ptr(0x22u32), 0)?;
    a.mov(word_ptr(COUNT), 0)?;
    set_up(a)?;
    a.sti()?;
    let (mut wait, mut late, mut done) = (a.create_label(), a.create_label(), a.create_label());
    a.set_label(&mut wait)?;
    a.hlt()?;
    a.cmp(word_ptr(COUNT), LAST)?;
    a.jb(wait)?;
    a.cli()?;
    latch(a)?;
    a.mov(bx, word_ptr(COUNT + 2))?;
    a.sub(bx, ax)?;
    a.sub(bx, (LAST - FIRST) * PERIOD - TOLERANCE)?;
    a.cmp(bx, 2 * TOLERANCE)?;
    a.ja(late)?;
    a.cmp(word_ptr(COUNT), LAST)?;
    a.jne(late)?;
    super::say(a, EXPECTED)?;
    a.jmp(done)?;
    a.set_label(&mut late)?;
    a.movzx(eax, bx)?;
    super::say_eax(a)?;
    a.set_label(&mut done)?;
    super::end(a)
}

/// Emits: only IRQ 0 gets through, from channel 0 every PERIOD clocks.
pub(super) fn set_up(a: &mut CodeAssembler) -> Emit {
    set_up_pics(a)?;
    set_up_timers(a)
}

/// The handler: counts, keeps channel 2's count at FIRST, ends the interrupt.
fn handler_code(a: &mut CodeAssembler, handler: &mut CodeLabel) -> Emit {
    let mut again = a.create_label();
    a.set_label(handler)?;
    a.push(ax)?;
    a.inc(word_ptr(COUNT))?;
    a.cmp(word_ptr(COUNT), FIRST)?;
    a.jne(again)?;
    latch(a)?;
    a.mov(word_ptr(COUNT + 2), ax)?;
    a.set_label(&mut again)?;
    a.mov(al, 0x20)?;
    a.out(0x20, al)?;
    a.pop(ax)?;
    a.iret()
}

/// Emits: AX = channel 2's count.
fn latch(a: &mut CodeAssembler) -> Emit {
    a.mov(al, 0x80u32)?;
    a.out(0x43, al)?;
    a.in_(al, 0x42)?;
    a.mov(ah, al)?;
    a.in_(al, 0x42)?;
    a.xchg(al, ah)
}

/// Emits: the 8259As of an AT, vectors 08h and 70h, only IRQ 0 [8259A p.10-13].
fn set_up_pics(a: &mut CodeAssembler) -> Emit {
    for (port, bytes) in [
        (0x20u32, &[0x11u32][..]),
        (0x21, &[0x08, 0x04, 0x01, 0xFE]),
        (0xA0, &[0x11]),
        (0xA1, &[0x70, 0x02, 0x01, 0xFF]),
    ] {
        for &byte in bytes {
            a.mov(al, byte)?;
            a.out(port, al)?;
        }
    }
    Ok(())
}

/// Emits: channel 2 in mode 2 over 65536 with its gate open, then channel 0 in mode 2.
fn set_up_timers(a: &mut CodeAssembler) -> Emit {
    a.in_(al, 0x61)?;
    a.and(al, 0xFCu32)?;
    a.or(al, 1)?;
    a.out(0x61, al)?;
    for (port, byte) in
        [(0x43u32, 0xB4u32), (0x42, 0), (0x42, 0), (0x43, 0x34), (0x40, PERIOD & 0xFF), (0x40, PERIOD >> 8)]
    {
        a.mov(al, byte)?;
        a.out(port, al)?;
    }
    Ok(())
}
