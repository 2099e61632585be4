//! Transfers through a bus with a device at channels 2 and 5, as the floppy and a sound card sit there.

use super::*;
use emu_core::bus::DmaClient;
use emu_core::bus::rig::{Rig, Surface};
use emu_core::{DeviceId, Sink, Wire};

/// A device that gives 1, 2, 3, ..., keeps what it gets, and drops its request after `left` cycles or at TC.
struct Source {
    request: Wire,
    left: u16,
    next: u16,
    got: Vec<u16>,
    done: bool,
}

impl Source {
    fn count(&mut self, cx: &mut DevCx<'_>) {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            cx.set_wire(self.request, false);
        }
    }
}

impl DmaClient for Source {
    fn dma_read(&mut self, cx: &mut DevCx<'_>) -> u16 {
        self.next += 1;
        self.count(cx);
        self.next
    }
    fn dma_write(&mut self, cx: &mut DevCx<'_>, value: u16) {
        self.got.push(value);
        self.count(cx);
    }
    fn dma_terminal_count(&mut self, cx: &mut DevCx<'_>) {
        self.done = true;
        cx.set_wire(self.request, false);
    }
}

impl Device for Source {
    fn name(&self) -> &str {
        "source"
    }
    fn reset(&mut self, _cx: &mut DevCx<'_>) {}
    fn dma_client(&mut self) -> Option<&mut dyn DmaClient> {
        Some(self)
    }
}

impl State for Source {
    const TAG: [u8; 4] = *b"SRC ";
    const VERSION: u16 = 1;
    fn save(&self, _w: &mut StateWriter) {}
    fn load(&mut self, _r: &mut StateReader<'_>) -> Result<(), StateError> {
        Ok(())
    }
}

fn board(channel: u8, kind: DmaBoard) -> (Rig, DeviceId, Wire) {
    let mut rig = Rig::new();
    let id = rig.bus.add(Box::new(Dma::new(kind)));
    rig.bus.set_dma_controller(id);
    let request = rig.bus.wire_to(Sink::DmaRequest(channel));
    let source = Source { request, left: 1000, next: 0, got: vec![], done: false };
    let source = rig.bus.add(Box::new(source));
    rig.bus.set_dma_client(channel, source);
    rig.bus.map_ports(id, 0, 0x20, REGION_BYTE, 1);
    rig.bus.map_ports(id, 0xC0, 0x20, REGION_WORD, 1);
    rig.bus.map_ports(id, 0x80, 16, REGION_PAGE, 1);
    rig.reset();
    (rig, id, request)
}

fn build() -> (Rig, DeviceId) {
    let (rig, id, _) = board(2, DmaBoard::At);
    (rig, id)
}

emu_core::device_contract_tests!(build, || Surface { ports: vec![(0, 32), (0xC0, 32), (0x80, 16)], memory: vec![] });

fn outs(rig: &mut Rig, writes: &[(u16, u8)]) {
    writes.iter().for_each(|&(port, value)| rig.out8(port, value));
}

fn request(rig: &mut Rig, wire: Wire) {
    let now = rig.now;
    rig.bus.call(&mut rig.mem, now, DeviceId(1), |_, cx| cx.set_wire(wire, true));
}

fn source(rig: &mut Rig) -> &mut Source {
    rig.bus.find_mut().unwrap()
}

/// Channel 2: 4 bytes at 0x1FFFE with page 1, which wraps within its 64 KiB.
#[rustfmt::skip]
const FLOPPY: [(u16, u8); 10] = [
    (0xD6, 0xC0), (0xD4, 0x00), (0x0C, 0), (0x04, 0xFE), (0x04, 0xFF), (0x05, 3), (0x05, 0), (0x81, 1), (0x0B, 0x46), (0x0A, 2),
];

#[test]
fn bytes_go_to_memory_and_wrap_in_their_page() {
    let (mut rig, _, wire) = board(2, DmaBoard::At);
    outs(&mut rig, &FLOPPY);
    request(&mut rig, wire);
    assert!(source(&mut rig).done);
    assert_eq!([0x1_FFFE, 0x1_FFFF, 0x1_0000, 0x1_0001].map(|pa| rig.mem.load::<u8>(pa)), [1, 2, 3, 4]);
    assert_eq!(rig.in8(0x08), 0x04, "TC; the request has gone");
    assert_eq!(rig.in8(0x08), 0x00, "reading clears TC");
    assert_eq!(rig.in8(0x0F) & 4, 4, "the channel masked itself");
    assert_eq!((rig.in8(0x05), rig.in8(0x05)), (0xFF, 0xFF));
}

#[test]
fn unmasking_starts_what_waits() {
    let (mut rig, _, wire) = board(2, DmaBoard::At);
    request(&mut rig, wire);
    outs(&mut rig, &FLOPPY[1..9]);
    rig.out8(0x0A, 2);
    assert!(!source(&mut rig).done, "channel 4 does not cascade yet");
    assert_eq!(rig.in8(0x08), 0x40, "the request waits");
    rig.out8(0xD6, 0xC0);
    assert!(source(&mut rig).done);
}

#[test]
fn words_come_from_memory_downwards() {
    let (mut rig, _, wire) = board(5, DmaBoard::At);
    (0..4u64).for_each(|i| rig.mem.store::<u16>(0x2_0000 + 2 * i, 0x1110 + i as u16));
    // 0x20006 is word 3 of page 2; bit 0 of the page is ignored.
    outs(&mut rig, &[(0xD8, 0), (0xC4, 3), (0xC4, 0), (0xC6, 2), (0xC6, 0), (0x8B, 3), (0xD6, 0x69), (0xD4, 1)]);
    request(&mut rig, wire);
    assert_eq!(source(&mut rig).got, [0x1113, 0x1112, 0x1111]);
}

#[test]
fn autoinit_goes_round() {
    let (mut rig, _, wire) = board(2, DmaBoard::Xt);
    outs(&mut rig, &[(4, 0), (4, 0x10), (5, 1), (5, 0), (0x81, 0xF0), (0x0B, 0x56), (0x0A, 2)]);
    for round in 0..3 {
        source(&mut rig).done = false;
        request(&mut rig, wire);
        assert!(source(&mut rig).done, "{round}");
        assert_eq!((rig.in8(4), rig.in8(4)), (0, 0x10));
    }
    assert_eq!(rig.mem.load::<u8>(0x1001), 6, "an XT has 4 page bits");
}

#[test]
fn the_device_can_pause() {
    let (mut rig, _, wire) = board(2, DmaBoard::At);
    outs(&mut rig, &FLOPPY);
    source(&mut rig).left = 1;
    request(&mut rig, wire);
    outs(&mut rig, &[(0x0C, 0)]);
    assert_eq!((rig.in8(5), rig.in8(5)), (2, 0), "one cycle only");
    source(&mut rig).left = 10;
    request(&mut rig, wire);
    assert!(source(&mut rig).done);
}

#[test]
fn verify_paces_the_device_and_leaves_memory_alone() {
    let (mut rig, _, wire) = board(2, DmaBoard::At);
    outs(&mut rig, &FLOPPY[..8]);
    outs(&mut rig, &[(0x0B, 0x42), (0x0A, 2)]);
    request(&mut rig, wire);
    assert!(source(&mut rig).done);
    assert_eq!(source(&mut rig).next, 4, "each cycle is acknowledged");
    assert_eq!([0x1_FFFE, 0x1_FFFF, 0x1_0000, 0x1_0001].map(|pa| rig.mem.load::<u8>(pa)), [0; 4]);
}

#[test]
fn disabled_controller_and_master_clear_hold_everything() {
    let (mut rig, _, wire) = board(2, DmaBoard::At);
    outs(&mut rig, &FLOPPY);
    rig.out8(0x08, 0x04);
    request(&mut rig, wire);
    assert!(!source(&mut rig).done);
    rig.out8(0x0D, 0);
    assert!(!source(&mut rig).done, "all channels are masked");
    rig.out8(0x0E, 0);
    assert!(source(&mut rig).done, "clear mask; command was cleared too");
}

#[test]
fn software_request_shows_in_status() {
    let (mut rig, _, _) = board(2, DmaBoard::At);
    rig.out8(0x09, 0x07);
    assert_eq!(rig.in8(0x08), 0x80);
    rig.out8(0x09, 0x03);
    assert_eq!(rig.in8(0x08), 0x00);
}

#[test]
fn port_80_shows_post_codes_and_keeps_them() {
    let (mut rig, _) = build();
    rig.out8(0x80, 0x55);
    rig.out8(0x84, 0x66);
    assert_eq!(rig.output(), [Output::Post(0x55)]);
    assert_eq!((rig.in8(0x80), rig.in8(0x84)), (0x55, 0x66));
}

#[test]
fn software_requests_pass_the_mask_and_end_with_tc() {
    let mut c = Controller::new();
    for (register, value) in [(11, 0x85), (2, 0x34), (2, 0x12), (3, 1), (3, 0), (9, 0x05)] {
        c.write(register, value);
    }
    let run: Vec<_> = core::iter::from_fn(|| c.cycle(1)).take(9).map(|cycle| (cycle.address, cycle.terminal)).collect();
    assert_eq!(run, [(0x1234, false), (0x1235, true)]);
    assert_eq!(c.read(8), 0x02);
}
