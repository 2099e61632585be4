//! Behaviour from the 8259A datasheet, and as an AT wires the chips.

use super::*;
use emu_core::bus::rig::{Rig, Surface};
use emu_core::{DeviceId, Sink};

struct Board {
    rig: Rig,
    irq: Vec<Wire>,
}

fn wired(kind: PicKind) -> (Rig, DeviceId, Vec<Wire>) {
    let mut rig = Rig::new();
    let intr = rig.bus.wire_to(Sink::Intr(0));
    let id = rig.bus.add(Box::new(DualPic::new(kind, PicWires { intr })));
    rig.bus.map_ports(id, 0x20, 2, REGION_MASTER, 1);
    rig.bus.map_ports(id, 0xA0, 2, REGION_SLAVE, 1);
    rig.bus.map_ports(id, 0x4D0, 2, REGION_ELCR, 1);
    rig.bus.add_interrupt_controller(id);
    let irq = (0..16).map(|n| rig.bus.wire_to(Sink::Pin(id, n))).collect();
    rig.reset();
    (rig, id, irq)
}

fn build() -> (Rig, DeviceId) {
    let (rig, id, _) = wired(PicKind::Piix);
    (rig, id)
}

fn surface() -> Surface {
    Surface { ports: vec![(0x20, 2), (0xA0, 2), (0x4D0, 2)], memory: vec![] }
}

emu_core::device_contract_tests!(build, surface);

impl Board {
    /// As a BIOS leaves them: vectors 08h and 70h, nothing masked.
    fn new(kind: PicKind) -> Board {
        let (rig, _, irq) = wired(kind);
        let mut board = Board { rig, irq };
        board.init(0x01, 0x01);
        board
    }

    fn init(&mut self, icw4_master: u8, icw4_slave: u8) {
        for (port, value) in [(0x20, 0x11), (0x21, 0x08), (0x21, 0x04), (0x21, icw4_master)] {
            self.rig.out8(port, value);
        }
        for (port, value) in [(0xA0, 0x11), (0xA1, 0x70), (0xA1, 0x02), (0xA1, icw4_slave)] {
            self.rig.out8(port, value);
        }
    }

    /// Drives an IRQ line through the board's wire, as a chip would.
    fn irq(&mut self, n: usize, level: bool) {
        let (wire, now) = (self.irq[n], self.rig.now);
        self.rig.bus.call(&mut self.rig.mem, now, DeviceId(0), |_, cx| cx.set_wire(wire, level));
    }

    fn intr(&mut self) -> bool {
        self.rig.bus.cpu_lines(0).intr
    }

    fn ack(&mut self) -> u8 {
        let now = self.rig.now;
        self.rig.bus.acknowledge(&mut self.rig.mem, now, 0).unwrap()
    }
}

#[test]
fn intr_follows_request_and_priority() {
    let mut b = Board::new(PicKind::At);
    b.irq(4, true);
    assert!(b.intr());
    assert_eq!(b.ack(), 0x0C);
    assert!(!b.intr(), "in service");
    b.irq(6, true);
    assert!(!b.intr(), "lower priority waits");
    b.irq(1, true);
    assert!(b.intr(), "higher priority nests");
    assert_eq!(b.ack(), 0x09);
    b.rig.out8(0x20, 0x20);
    assert!(!b.intr(), "IRQ4 is still in service");
    b.rig.out8(0x20, 0x20);
    assert_eq!(b.ack(), 0x0E);
    b.rig.out8(0x20, 0x0B);
    assert_eq!(b.rig.in8(0x20), 0x40, "ISR");
}

#[test]
fn edge_mode_needs_a_new_edge_and_a_lasting_level() {
    let mut b = Board::new(PicKind::At);
    b.irq(5, true);
    b.irq(5, false);
    assert!(!b.intr(), "the request went away with its pin");
    assert_eq!(b.ack(), 0x0F, "so an acknowledge finds IR7");
    b.rig.out8(0x20, 0x0B);
    assert_eq!(b.rig.in8(0x20), 0, "which is not in service");
    b.irq(5, true);
    b.ack();
    b.rig.out8(0x20, 0x20);
    assert!(!b.intr(), "still high, but no edge");
    b.irq(5, false);
    b.irq(5, true);
    assert!(b.intr());
}

#[test]
fn cascade_takes_both_into_service() {
    let mut b = Board::new(PicKind::At);
    b.irq(12, true);
    b.irq(14, true);
    assert_eq!(b.ack(), 0x74);
    b.rig.out8(0xA0, 0x0B);
    b.rig.out8(0x20, 0x0B);
    assert_eq!((b.rig.in8(0xA0), b.rig.in8(0x20)), (0x10, 0x04));
    b.rig.out8(0xA0, 0x20);
    assert!(!b.intr(), "the master has not seen its EOI");
    b.rig.out8(0x20, 0x20);
    assert_eq!(b.ack(), 0x76);
}

#[test]
fn a_masked_slave_request_is_gone_for_the_master_too() {
    let mut b = Board::new(PicKind::Piix);
    b.irq(2, true); // pin 2 is the cascade's, a wire to it does nothing
    assert!(!b.intr());
    b.irq(9, true);
    b.rig.out8(0xA1, 0xFF);
    assert!(!b.intr());
    assert_eq!(b.ack(), 0x0F, "the master itself finds nothing");
}

#[test]
fn slave_in_aeoi_mode_makes_a_new_edge_for_each_request() {
    let mut b = Board::new(PicKind::At);
    b.init(0x03, 0x03);
    b.irq(9, true);
    b.irq(10, true);
    assert_eq!(b.ack(), 0x71);
    assert!(b.intr());
    assert_eq!(b.ack(), 0x72);
    assert!(!b.intr());
}

#[test]
fn special_fully_nested_lets_the_slave_ask_again() {
    let mut b = Board::new(PicKind::At);
    b.init(0x11, 0x01);
    b.irq(14, true);
    assert_eq!(b.ack(), 0x76);
    b.irq(9, true);
    assert!(b.intr());
    assert_eq!(b.ack(), 0x71);
}

#[test]
fn rotation_and_specific_eoi() {
    let mut b = Board::new(PicKind::At);
    for n in [3, 4] {
        b.irq(n, true);
    }
    assert_eq!(b.ack(), 0x0B);
    b.rig.out8(0x20, 0xA0); // rotate on non-specific EOI: 3 becomes the lowest
    assert_eq!(b.ack(), 0x0C);
    b.irq(3, false);
    b.irq(3, true);
    assert!(!b.intr(), "3 is now below 4");
    b.rig.out8(0x20, 0x64); // specific EOI
    assert_eq!(b.ack(), 0x0B);
    b.rig.out8(0x20, 0x63);
    b.rig.out8(0x20, 0xC7); // set priority: 7 the lowest again
    b.irq(0, true);
    b.irq(7, true);
    assert_eq!(b.ack(), 0x08);
}

#[test]
fn special_mask_mode_admits_lower_levels() {
    let mut b = Board::new(PicKind::At);
    b.irq(1, true);
    b.ack();
    b.irq(6, true);
    assert!(!b.intr());
    b.rig.out8(0x21, 0x02);
    assert!(!b.intr(), "masking alone does not");
    b.rig.out8(0x20, 0x68);
    assert!(b.intr());
    assert_eq!(b.ack(), 0x0E);
    b.rig.out8(0x20, 0x20);
    b.rig.out8(0x20, 0x0B);
    assert_eq!(b.rig.in8(0x20), 0x02, "the EOI spared the masked level");
}

#[test]
fn poll_acknowledges() {
    let mut b = Board::new(PicKind::At);
    b.rig.out8(0x20, 0x0C);
    assert_eq!(b.rig.in8(0x20) & 0x80, 0);
    b.irq(3, true);
    b.rig.out8(0x20, 0x0C);
    assert_eq!(b.rig.in8(0x20), 0x83);
    assert!(!b.intr());
    assert_eq!(b.rig.in8(0x20), 0, "one poll only; then IRR");
}

#[test]
fn elcr_makes_levels_and_keeps_fixed_bits() {
    let mut b = Board::new(PicKind::Piix);
    b.rig.out16(0x4D0, 0xFFFF);
    assert_eq!(b.rig.in16(0x4D0), 0xDEF8);
    b.irq(11, true);
    assert_eq!(b.ack(), 0x73);
    b.rig.out8(0xA0, 0x20);
    b.rig.out8(0x20, 0x20);
    assert!(b.intr(), "still high, so it asks again");
    b.irq(11, false);
    assert!(!b.intr());
}

#[test]
fn initialisation_clears_mask_and_edges() {
    let mut b = Board::new(PicKind::At);
    b.rig.out8(0x21, 0xFB);
    assert_eq!(b.rig.in8(0x21), 0xFB);
    b.irq(0, true);
    b.init(0x01, 0x01);
    assert_eq!(b.rig.in8(0x21), 0);
    assert!(!b.intr(), "the edge sense circuit was reset");
}

#[test]
fn xt_has_one_chip_and_a_plain_irq2() {
    let mut b = Board::new(PicKind::Xt);
    for (port, value) in [(0x20, 0x13), (0x21, 0x08), (0x21, 0x09)] {
        b.rig.out8(port, value);
    }
    b.irq(2, true);
    assert_eq!(b.ack(), 0x0A);
    assert_eq!(b.rig.in8(0xA1), 0xFF);
}

#[test]
fn automatic_rotation_puts_the_served_level_last() {
    let mut b = Board::new(PicKind::At);
    b.init(0x03, 0x01);
    b.rig.out8(0x20, 0x80);
    b.irq(3, true);
    b.irq(4, true);
    assert_eq!(b.ack(), 0x0B);
    b.irq(3, false);
    b.irq(3, true);
    assert_eq!((b.ack(), b.ack()), (0x0C, 0x0B), "4 before 3 now");
    b.rig.out8(0x20, 0x00);
    b.irq(1, true);
    b.ack();
    b.irq(3, false);
    b.irq(3, true);
    b.irq(4, false);
    b.irq(4, true);
    assert_eq!(b.ack(), 0x0C, "rotation is off: 3 is still the lowest");
}

#[test]
fn icw1_chooses_levels_unless_there_is_an_elcr() {
    for (kind, again) in [(PicKind::At, true), (PicKind::Piix, false)] {
        let mut b = Board::new(kind);
        for (port, value) in [(0x20, 0x19), (0x21, 0x08), (0x21, 0x04), (0x21, 0x01)] {
            b.rig.out8(port, value);
        }
        b.irq(5, true);
        b.ack();
        b.rig.out8(0x20, 0x20);
        assert_eq!(b.intr(), again, "{kind:?}");
    }
}
