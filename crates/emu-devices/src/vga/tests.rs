//! The VGA as programs meet it.

use emu_core::Ticks;
use emu_core::bus::rig::{Rig, Surface, TestRng};
use emu_core::bus::{DeviceId, PciAddress};

use super::modes::{self, Mode};
use super::{Frame, TextScreen, Vga, VgaConfig};

const AT: PciAddress = PciAddress { bus: 0, device: 2, function: 0 };

fn build() -> (Rig, DeviceId) {
    let mut rig = Rig::new();
    let config = VgaConfig { vram: 0x8_0000, pci: Some(AT), rom: vec![0x55, 0xAA] };
    let id = Vga::install(&mut rig.bus, &mut rig.mem, &config).expect("room in the pool");
    rig.reset();
    (rig, id)
}

emu_core::device_contract_tests!(build, || Surface {
    ports: vec![(0x3B4, 2), (0x3BA, 1), (0x3C0, 16), (0x3D4, 2), (0x3DA, 1), (0x1CE, 4)],
    memory: vec![(0xA_0000, 0x2_0000)],
});

fn out_index(rig: &mut Rig, port: u16, index: u8, value: u8) {
    rig.out16(port, u16::from_le_bytes([index, value]));
}

/// Loads a mode as a BIOS does.
fn set_mode(rig: &mut Rig, mode: &Mode) {
    rig.out8(0x3C2, mode.misc);
    out_index(rig, 0x3C4, 0, 3);
    (0..4).for_each(|i| out_index(rig, 0x3C4, i as u8 + 1, mode.seq[i]));
    let port = mode.crtc_port();
    out_index(rig, port, 0x11, 0);
    (0..25).for_each(|i| out_index(rig, port, i as u8, mode.crtc[i]));
    (0..9).for_each(|i| out_index(rig, 0x3CE, i as u8, mode.gdc[i]));
    rig.in8(port + 6);
    for i in 0..20 {
        rig.out8(0x3C0, i as u8);
        rig.out8(0x3C0, mode.attr[i]);
    }
    rig.out8(0x3C0, 0x20);
    rig.out8(0x3C8, 0);
    (0..=255).flat_map(|i| mode.palette.color(i)).for_each(|c| rig.out8(0x3C9, c));
}

fn ready(mode: &Mode) -> Rig {
    let (mut rig, _) = build();
    set_mode(&mut rig, mode);
    rig
}

fn frame(rig: &Rig) -> Frame {
    let vga = rig.bus.find::<Vga>().expect("a VGA");
    vga.frame(&rig.mem, rig.now, rig.bus.rate())
}

fn text(rig: &Rig) -> Option<TextScreen> {
    rig.bus.find::<Vga>().expect("a VGA").text_screen(&rig.mem)
}

const BLACK: [u8; 3] = [0; 3];
const WHITE: [u8; 3] = [0xFF; 3];
const GREY: [u8; 3] = [0xAA; 3];
const BLUE: [u8; 3] = [0, 0, 0xAA];

#[test]
fn every_mode_has_the_size_that_its_name_says() {
    let sizes = [
        (0, 360, 400),
        (1, 360, 400),
        (2, 720, 400),
        (3, 720, 400),
        (4, 320, 200),
        (5, 320, 200),
        (6, 640, 200),
        (7, 720, 400),
        (0xD, 320, 200),
        (0xE, 640, 200),
        (0xF, 640, 350),
        (0x10, 640, 350),
        (0x11, 640, 480),
        (0x12, 640, 480),
        (0x13, 320, 200),
    ];
    for ((number, width, height), mode) in sizes.into_iter().zip(&modes::MODES) {
        let f = frame(&ready(mode));
        assert_eq!((mode.number, f.width, f.height), (number, width, height));
        assert_eq!(f.rgb.len(), width * height * 3);
    }
}

#[test]
fn text_is_read_at_the_start_address() {
    let mut rig = ready(&modes::MODE_3);
    for (i, c) in (0u64..).zip(*b"hello") {
        rig.write(0xB_8000 + 160 + 2 * i, 2, u64::from(c) | 0x1E00);
    }
    assert_eq!(rig.read(0xB_8000 + 160, 4), 0x1E65_1E68);
    let screen = text(&rig).unwrap();
    assert_eq!((screen.cols, screen.rows), (80, 25));
    assert_eq!(screen.row_text(1).trim_end_matches('\0').trim_end(), "hello");
    assert_eq!(screen.cells[80], (b'h', 0x1E));

    out_index(&mut rig, 0x3D4, 0x0D, 80); // scrolled by a line
    out_index(&mut rig, 0x3D4, 0x0F, 83); // cursor at the second l
    let screen = text(&rig).unwrap();
    assert!(screen.row_text(0).starts_with("hello"));
    let cursor = screen.cursor.unwrap();
    assert_eq!((cursor.col, cursor.row, cursor.shape), (3, 0, (0x0D, 0x0E)));
    out_index(&mut rig, 0x3D4, 0x0A, 0x20);
    assert_eq!(text(&rig).unwrap().cursor, None);
    assert_eq!(text(&ready(&modes::MODE_13)), None);
}

/// Puts a font row into plane 2 the way a BIOS does: planar, through the map mask.
fn load_font_row(rig: &mut Rig, code: u8, row: u8, bits: u8) {
    for (port, index, value) in [(0x3C4, 2, 4), (0x3C4, 4, 7), (0x3CE, 5, 0), (0x3CE, 6, 4)] {
        out_index(rig, port, index, value);
    }
    rig.write(0xA_0000 + u64::from(code) * 32 + u64::from(row), 1, bits.into());
    for (port, index, value) in [(0x3C4, 2, 3), (0x3C4, 4, 2), (0x3CE, 5, 0x10), (0x3CE, 6, 0x0E)] {
        out_index(rig, port, index, value);
    }
}

#[test]
fn characters_are_drawn_with_the_font_of_plane_2() {
    let mut rig = ready(&modes::MODE_3);
    out_index(&mut rig, 0x3D4, 0x0A, 0x20);
    load_font_row(&mut rig, 0x41, 2, 0x81);
    load_font_row(&mut rig, 0xC4, 2, 0xFF);
    rig.write(0xB_8000, 4, 0x1FC4_1F41);
    let f = frame(&rig);
    let row: Vec<_> = (0..18).map(|x| f.pixel(x, 2).unwrap()).collect();
    assert_eq!(row[..9], [WHITE, BLUE, BLUE, BLUE, BLUE, BLUE, BLUE, WHITE, BLUE]);
    assert_eq!(row[9..], [WHITE; 9], "a line drawing character reaches its neighbour");
    assert_eq!(f.pixel(0, 3), Some(BLUE));
    assert_eq!(f.pixel(18, 2), Some(BLACK));

    rig.write(0xB_8000, 2, 0x9F41); // blinks
    assert_eq!(frame(&rig).pixel(0, 2), Some(WHITE));
    rig.advance_us(300_000); // 21 frames of 70 Hz on
    assert_eq!(frame(&rig).pixel(0, 2), Some(BLUE));
    rig.in8(0x3DA);
    rig.out8(0x3C0, 0x30);
    rig.out8(0x3C0, 0x04); // bright background instead
    assert_eq!(frame(&rig).pixel(0, 2), Some(WHITE));
    assert_eq!(frame(&rig).pixel(1, 2), Some([0x55, 0x55, 0xFF]));
}

#[test]
fn the_cursor_shows_and_blinks() {
    let mut rig = ready(&modes::MODE_3);
    rig.write(0xB_8000, 2, 0x0720);
    assert_eq!(frame(&rig).pixel(4, 13), Some(GREY));
    assert_eq!(frame(&rig).pixel(4, 12), Some(BLACK));
    rig.advance_us(150_000); // 10 frames
    assert_eq!(frame(&rig).pixel(4, 13), Some(BLACK));
}

#[test]
fn split_screen_and_smooth_scrolling() {
    let mut rig = ready(&modes::MODE_3);
    rig.write(0xB_8000, 2, 0x1F20); // address 0: blue
    rig.write(0xB_8000 + 2 * 80, 2, 0x4F20); // second row: red
    out_index(&mut rig, 0x3D4, 0x0A, 0x20);
    out_index(&mut rig, 0x3D4, 0x0D, 80);
    assert_eq!(frame(&rig).pixel(0, 0), Some([0xAA, 0, 0]));
    // Line compare 199: overflow bit 4 is bit 8, maximum scan line bit 6 is bit 9.
    out_index(&mut rig, 0x3D4, 7, 0x1F & !0x10);
    out_index(&mut rig, 0x3D4, 9, 0x0F);
    out_index(&mut rig, 0x3D4, 0x18, 199);
    assert_eq!(frame(&rig).pixel(0, 199), Some(BLACK));
    assert_eq!(frame(&rig).pixel(0, 200), Some(BLUE));
    // Panning by two dots moves both parts, unless it is held off below the split.
    rig.in8(0x3DA);
    [0x33, 1].into_iter().for_each(|v| rig.out8(0x3C0, v));
    assert_eq!((frame(&rig).pixel(6, 0), frame(&rig).pixel(7, 0)), (Some([0xAA, 0, 0]), Some(BLACK)));
    assert_eq!(frame(&rig).pixel(7, 200), Some(BLACK));
    [0x30, 0x2C].into_iter().for_each(|v| rig.out8(0x3C0, v));
    assert_eq!(frame(&rig).pixel(8, 200), Some(BLUE));
}

#[test]
fn mode_13h_is_linear() {
    let mut rig = ready(&modes::MODE_13);
    for at in [0u64, 1, 319, 320, 0x4001, 0x8002, 63_999] {
        rig.write(0xA_0000 + at, 1, 15);
        let f = frame(&rig);
        assert_eq!(f.pixel(at as usize % 320, at as usize / 320), Some(WHITE), "{at:#x}");
        assert_eq!(f.rgb.iter().filter(|&&b| b != 0).count(), 3);
        assert_eq!(rig.read(0xA_0000 + at, 1), 15);
        rig.write(0xA_0000 + at, 1, 0);
    }
}

#[test]
fn unchained_256_colours() {
    let mut rig = ready(&modes::MODE_13);
    for (port, index, value) in [(0x3C4, 4, 6), (0x3D4, 0x14, 0), (0x3D4, 0x17, 0xE3), (0x3C4, 2, 4)] {
        out_index(&mut rig, port, index, value);
    }
    rig.write(0xA_0000 + 81, 1, 15);
    assert_eq!(frame(&rig).pixel(6, 1), Some(WHITE));
    assert_eq!(frame(&rig).rgb.iter().filter(|&&b| b != 0).count(), 3);
    out_index(&mut rig, 0x3D4, 0x0D, 80);
    assert_eq!(frame(&rig).pixel(6, 0), Some(WHITE));
    out_index(&mut rig, 0x3CE, 4, 2);
    assert_eq!(rig.read(0xA_0000 + 81, 1), 15);
}

#[test]
fn cga_modes_interleave_lines() {
    let mut rig = ready(&modes::MODE_4);
    rig.write(0xB_8000, 2, 0x001B); // colours 0 1 2 3
    rig.write(0xB_A000, 2, 0xC000); // second line, fifth pixel
    let f = frame(&rig);
    let row: Vec<_> = (0..4).map(|x| f.pixel(x, 0).unwrap()).collect();
    assert_eq!(row, [BLACK, [0x55, 0xFF, 0xFF], [0xFF, 0x55, 0xFF], WHITE]);
    assert_eq!(f.pixel(4, 1), Some(WHITE));
    let mut rig = ready(&modes::MODE_6);
    rig.write(0xB_8000 + 80, 1, 1);
    rig.write(0xB_A000, 1, 0x80);
    let f = frame(&rig);
    assert_eq!((f.pixel(7, 2), f.pixel(0, 1), f.pixel(0, 0)), (Some(WHITE), Some(WHITE), Some(BLACK)));
}

#[test]
fn write_modes_follow_the_book() {
    let mut rig = ready(&modes::MODE_12);
    let pa = 0xA_0000;
    let gdc = |rig: &mut Rig, index, value| out_index(rig, 0x3CE, index, value);
    // Mode 0 with set/reset: planes 0 and 2 from set/reset, the others from the CPU, bits 7-4 only.
    [(0, 0b0001), (1, 0b0101), (8, 0xF0)].into_iter().for_each(|(i, v)| gdc(&mut rig, i, v));
    rig.read(pa, 1);
    rig.write(pa, 1, 0xAA);
    let planes = |rig: &mut Rig| {
        [0u8, 1, 2, 3].map(|p| {
            out_index(rig, 0x3CE, 4, p);
            rig.read(pa, 1) as u8
        })
    };
    assert_eq!(planes(&mut rig), [0xF0, 0xA0, 0x00, 0xA0]);
    // Rotate by 4 and XOR with the latches.
    [(1, 0), (8, 0xFF), (3, 0x18 | 4)].into_iter().for_each(|(i, v)| gdc(&mut rig, i, v));
    rig.read(pa, 1);
    rig.write(pa, 1, 0x0F);
    assert_eq!(planes(&mut rig), [0x00, 0x50, 0xF0, 0x50]);
    // Mode 1 copies the latches.
    gdc(&mut rig, 5, 1);
    rig.read(pa, 1);
    rig.write(pa + 5, 1, 0);
    rig.write(pa, 1, 0x77);
    assert_eq!(planes(&mut rig), [0x00, 0x50, 0xF0, 0x50]);
    // Mode 2: a colour through the bit mask. Mode 3: set/reset through the CPU's byte.
    [(3, 0), (5, 2), (8, 0x01)].into_iter().for_each(|(i, v)| gdc(&mut rig, i, v));
    rig.read(pa, 1);
    rig.write(pa, 1, 0x0D);
    assert_eq!(planes(&mut rig), [0x01, 0x50, 0xF1, 0x51]);
    [(0, 0b1010), (5, 3), (8, 0x0F)].into_iter().for_each(|(i, v)| gdc(&mut rig, i, v));
    rig.read(pa, 1);
    rig.write(pa, 1, 0x3C);
    assert_eq!(planes(&mut rig), [0x01, 0x5C, 0xF1, 0x5D]);
    // Read mode 1: pixels of colour 0Fh, then with plane 1 not compared.
    [(5, 8), (2, 0x0F)].into_iter().for_each(|(i, v)| gdc(&mut rig, i, v));
    assert_eq!(rig.read(pa, 1), 0x00);
    gdc(&mut rig, 7, 0b1101);
    assert_eq!(rig.read(pa, 1), 0x01);
}

#[test]
fn crtc_registers_can_be_protected() {
    let mut rig = ready(&modes::MODE_3);
    for index in [0, 7] {
        out_index(&mut rig, 0x3D4, index, 0x00);
    }
    rig.out8(0x3D4, 0);
    assert_eq!(rig.in8(0x3D5), 0x5F);
    rig.out8(0x3D4, 7);
    assert_eq!(rig.in8(0x3D5), 0x0F, "only the line compare bit is open");
    assert_eq!(rig.in8(0x3B5), 0xFF, "the monochrome ports are silent");
}

#[test]
fn dac_takes_three_components_at_a_time() {
    let (mut rig, _) = build();
    rig.out8(0x3C8, 0xFF);
    [1, 2, 0xFF, 4, 5].into_iter().for_each(|v| rig.out8(0x3C9, v));
    rig.out8(0x3C7, 0xFF);
    assert_eq!(rig.in8(0x3C7), 3);
    assert_eq!([(); 6].map(|()| rig.in8(0x3C9)), [1, 2, 0x3F, 0, 0, 0], "the second colour never got whole");
}

#[test]
fn status_1_follows_the_beam() {
    let mut rig = ready(&modes::MODE_3);
    let mut edges = 0;
    let (mut retrace, mut blank, mut last) = (0u64, 0u64, false);
    let step = rig.bus.rate().hz() / 1_000_000; // a microsecond
    for _ in 0..100_000 {
        rig.now = rig.now + step;
        let status = rig.in8(0x3DA);
        let now = status & 8 != 0;
        edges += u32::from(now && !last);
        last = now;
        retrace += u64::from(now);
        blank += u64::from(status & 1 != 0);
        assert!(status & 1 != 0 || !now, "no picture in retrace");
    }
    assert!((6..=8).contains(&edges), "{edges} retraces in 0.1 s at 70 Hz");
    assert!((300..=600).contains(&retrace), "two lines of 449 take {retrace} of 100000 us");
    // 720 of 900 dots in 400 of 449 lines are shown.
    let shown = 100_000 - blank;
    assert!((70_500..72_000).contains(&shown), "{shown}");
}

#[test]
fn dispi_modes_have_a_linear_frame_buffer() {
    let (mut rig, _) = build();
    let dispi = |rig: &mut Rig, index, value| {
        rig.out16(0x1CE, index);
        rig.out16(0x1CF, value);
    };
    rig.out16(0x1CE, 0);
    assert_eq!(rig.in16(0x1CF), 0xB0C5);
    assert_eq!(rig.in16(0x1D0), 0xB0C5);
    [(1, 320), (2, 200), (3, 32), (4, 0x41)].into_iter().for_each(|(i, v)| dispi(&mut rig, i, v));
    assert_eq!(rig.in16(0x1CF), 0x41);
    let (mem, now) = (&mut rig.mem, rig.now);
    rig.bus.pci_write(mem, now, AT, 0x10, 4, u32::MAX);
    assert_eq!(rig.bus.pci_read(mem, now, AT, 0x10, 4), 0xFFF8_0008);
    rig.bus.pci_write(mem, now, AT, 0x10, 4, 0xE000_0000);
    rig.bus.pci_write(mem, now, AT, 4, 2, 2);
    rig.write(0xE000_0000 + 4 * (320 + 7), 4, 0x0011_2233);
    assert_eq!(frame(&rig).pixel(7, 1), Some([0x11, 0x22, 0x33]));
    assert_eq!(rig.read(0xA_0000 + 4 * (320 + 7), 4), 0x0011_2233);
    dispi(&mut rig, 5, 3); // bank
    rig.write(0xA_0000, 1, 0xFF);
    assert_eq!(rig.read(0xE003_0000, 1), 0xFF);
    dispi(&mut rig, 9, 1); // y offset
    assert_eq!(frame(&rig).pixel(7, 0), Some([0x11, 0x22, 0x33]));
    dispi(&mut rig, 9, 300); // beyond the memory: refused
    assert_eq!(frame(&rig).pixel(7, 0), Some([0x11, 0x22, 0x33]));
    rig.bus.pci_write(&mut rig.mem, rig.now, AT, 4, 2, 0);
    assert_eq!(rig.read(0xE000_0000, 4), 0xFFFF_FFFF);
    for (bpp, bytes, value, rgb) in
        [(16, 2, 0xF81F, [0xFF, 0, 0xFF]), (15, 2, 0x03E0, [0, 0xFF, 0]), (24, 3, 0xFF, BLUE_8)]
    {
        [(4, 0), (3, bpp), (4, 0x41)].into_iter().for_each(|(i, v)| dispi(&mut rig, i, v));
        rig.write(0xA_0000 + 5 * bytes, 2, value);
        assert_eq!(frame(&rig).pixel(5, 0), Some(rgb), "{bpp}");
    }
}

const BLUE_8: [u8; 3] = [0, 0, 0xFF];

#[test]
fn a_loaded_card_answers_where_the_saved_one_did() {
    let (mut rig, id) = build();
    rig.bus.pci_write(&mut rig.mem, rig.now, AT, 0x10, 4, 0xE000_0000);
    rig.bus.pci_write(&mut rig.mem, rig.now, AT, 0x30, 4, 0xE100_0001);
    rig.bus.pci_write(&mut rig.mem, rig.now, AT, 4, 2, 2);
    assert_eq!(rig.read(0xE100_0000, 2), 0xAA55);
    rig.write(0xE100_0000, 2, 0);
    assert_eq!(rig.read(0xE100_0000, 2), 0xAA55, "a ROM");
    let saved = rig.saved(id);
    let (mut other, other_id) = build();
    other.bus.device(other_id).load_chunk(&mut emu_core::StateReader::new(&saved)).unwrap();
    other.bus.restored(&mut other.mem, Ticks(0));
    other.write(0xE000_0000, 4, 0x1234_5678);
    assert_eq!(other.read(0xE000_0000, 4), 0x1234_5678);
}

#[test]
fn standard_palettes() {
    use modes::Palette::{Cga, Ega, Mono, Vga256};
    assert_eq!(Ega.color(0x14), [0x2A, 0x15, 0], "brown");
    assert_eq!(Ega.color(0x3F), [0x3F; 3]);
    assert_eq!(Cga.color(6), [0x2A, 0x15, 0]);
    assert_eq!(Cga.color(0x16), [0x3F, 0x3F, 0x15]);
    assert_eq!(Mono.color(0x18), [0x3F; 3]);
    let hues = [(32, [0, 0, 0x3F]), (36, [0x3F, 0, 0x3F]), (40, [0x3F, 0, 0]), (41, [0x3F, 0x10, 0])];
    let more = [(44, [0x3F, 0x3F, 0]), (48, [0, 0x3F, 0]), (52, [0, 0x3F, 0x3F]), (247, [0x0B, 0x0C, 0x10])];
    hues.into_iter().chain(more).for_each(|(i, c)| assert_eq!(Vga256.color(i), c, "{i}"));
}

/// A word or doubleword does what its bytes do one after the other, whatever the registers say.
#[test]
fn wide_accesses_are_their_bytes() {
    let mut rng = TestRng(7);
    for mode in modes::MODES.iter().cycle().take(150) {
        let (mut wide, mut bytes) = (ready(mode), ready(mode));
        for step in 0..200 {
            let r = rng.next();
            let (pa, size) = (0xA_0000 + (r >> 8) % 0x1_FFF8, [1, 2, 4, 8][r as usize % 4]);
            let pa = if r & 0x80 != 0 { pa & !7 } else { 0xB_8000 + (pa & 0xFFF) };
            let pa = if pa % 4096 > 4088 { pa - 8 } else { pa };
            if step % 20 == 0 && r & 0x40 != 0 {
                let (port, index) = if r & 0x20 != 0 { (0x3C4, 2 + 2 * (r >> 40 & 1)) } else { (0x3CE, (r >> 40) % 9) };
                for rig in [&mut wide, &mut bytes] {
                    out_index(rig, port, index as u8, (r >> 48) as u8);
                }
            }
            let parts = 0..u64::from(size);
            if r & 0x10 != 0 {
                let value = rng.next() & (u64::MAX >> (64 - 8 * u32::from(size)));
                wide.write(pa, size, value);
                parts.for_each(|i| bytes.write(pa + i, 1, value >> (8 * i) & 0xFF));
            } else {
                let value = parts.fold(0, |v, i| v | bytes.read(pa + i, 1) << (8 * i));
                assert_eq!(wide.read(pa, size), value, "mode {:x} at {pa:#x}, {size} bytes", mode.number);
            }
        }
        let memory = |rig: &Rig| {
            let vga = rig.bus.find::<Vga>().expect("a VGA");
            (vga.latches, rig.mem.pool(vga.vram, 0x4_0000).to_vec())
        };
        assert_eq!(memory(&wide), memory(&bytes), "mode {:x}", mode.number);
    }
}

#[test]
fn a_mode_set_directly_is_the_mode_set_by_ports() {
    for mode in &modes::MODES {
        let by_ports = ready(mode);
        let (mut rig, _) = build();
        assert_eq!(text(&rig), None, "no mode is set yet");
        let vga = rig.bus.find_mut::<Vga>().unwrap();
        vga.set_mode(&mut rig.mem, mode);
        let (a, b) = (rig.bus.find::<Vga>().unwrap(), by_ports.bus.find::<Vga>().unwrap());
        assert_eq!(
            (a.regs.seq, a.regs.crtc, a.regs.gdc, a.regs.attr),
            (b.regs.seq, b.regs.crtc, b.regs.gdc, b.regs.attr)
        );
        assert_eq!((a.regs.misc, a.dac.colors), (b.regs.misc, b.dac.colors));
        assert!(mode.is_text() || frame(&rig).rgb.iter().all(|&v| v == 0));
    }
}

#[test]
fn a_text_mode_comes_with_its_font() {
    let (mut rig, _) = build();
    rig.bus.find_mut::<Vga>().unwrap().set_mode(&mut rig.mem, &modes::MODE_3);
    assert!(text(&rig).unwrap().cells.iter().all(|&c| c == (b' ', 7)));
    rig.write(0xB_8000 + 2 * 81, 2, 0x0700 | u64::from(b'R'));
    let f = frame(&rig);
    for (y, bits) in crate::font::glyph(16, b'R').unwrap().iter().enumerate() {
        let row = (0..8).fold(0, |v, x| v << 1 | u8::from(f.pixel(9 + x, 16 + y) == Some(GREY)));
        assert_eq!(row, *bits);
    }
}

#[test]
fn no_register_values_stop_the_renderer() {
    let mut rng = TestRng(11);
    let mut sizes = std::collections::BTreeSet::new();
    for _ in 0..300 {
        let (mut rig, _) = build();
        rig.out8(0x3C2, 0x67);
        for _ in 0..120 {
            let r = rng.next();
            let port = [0x3C4, 0x3CE, 0x3D4][r as usize % 3];
            // A few values make long lines and rows often, the others anything.
            out_index(&mut rig, port, (r >> 8) as u8 % 0x19, if r & 0x80 != 0 { (r >> 16) as u8 } else { 0x9F });
        }
        rig.in8(0x3DA);
        for index in 0x10..0x15 {
            [index, rng.next() as u8].into_iter().for_each(|v| rig.out8(0x3C0, v));
        }
        rig.out8(0x3C0, 0x20);
        out_index(&mut rig, 0x3C4, 0, 3);
        out_index(&mut rig, 0x3C4, 1, rng.next() as u8 & 0x1F);
        rig.now = Ticks(rng.next() >> 8);
        let f = frame(&rig);
        assert_eq!(f.rgb.len(), f.width * f.height * 3);
        sizes.insert((f.width, f.height));
        if let Some(screen) = text(&rig) {
            assert_eq!(screen.cells.len(), screen.cols * screen.rows);
        }
        let status = rig.in8(0x3DA);
        assert_eq!(status & !9, 0);
    }
    assert!(sizes.len() > 50, "the registers did make different pictures: {}", sizes.len());
}

#[test]
fn fifty_rows_of_text() {
    let mut rig = ready(&modes::MODE_3);
    out_index(&mut rig, 0x3D4, 9, 0x47);
    rig.write(0xB_8000 + 49 * 160, 2, 0x0700 | u64::from(b'$'));
    let screen = text(&rig).unwrap();
    assert_eq!((screen.cols, screen.rows, screen.cells[49 * 80].0), (80, 50, b'$'));
}
