//! The firmware, as a boot sector sees it: each test boots code of its own from a floppy.

use emu_core::block::{BlockBackend, RamDisk};
use emu_core::bus::{Bus, Sink};
use emu_core::cpu::model::Kind;
use emu_core::cpu::{Model, reg};
use emu_core::mem::Target;
use emu_core::{ClockRate, Input, Key, PhysMem, StateReader, StateWriter, Stop, System, Ticks};
use emu_devices::ata::Drive;
use emu_devices::fdc::{self, DriveKind, Fdc, FdcWires, FloppyDrive};
use emu_devices::firmware::{Bios, rom};
use emu_devices::i8042::{I8042, KbcWires};
use emu_devices::i8254::{I8254, PitWires};
use emu_devices::i8259::{self, DualPic, PicKind, PicWires};
use emu_devices::mc146818::{Mc146818, RtcWires};
use emu_devices::piix3::{IdeWires, Piix3Ide};
use emu_devices::vga::{Vga, VgaConfig};

const MIB: u64 = 1 << 20;
/// HLT; JMP $-1, with interrupts off: where every boot sector here ends.
const END: [u8; 4] = [0xFA, 0xF4, 0xEB, 0xFD];

/// The memory of a machine with 16 MiB and the ROM.
fn memory() -> PhysMem {
    let mut mem = PhysMem::new(16 * MIB, 2 * MIB).unwrap();
    mem.map(0, 16 * MIB, Target::Pool(0));
    let rom = mem.allocate(rom::SIZE as u64).unwrap();
    mem.pool_write(rom, &rom::image());
    for base in [rom::BASE, (1 << 32) - rom::SIZE as u64, (1 << 24) - rom::SIZE as u64] {
        mem.map_split(base, rom::SIZE as u64, Some(Target::Pool(rom)), Some(Target::Open));
    }
    mem
}

/// A floppy with `code` as its boot sector, and its sector numbers in the first bytes of the others.
fn floppy(code: &[u8]) -> Box<dyn BlockBackend> {
    let mut disk = RamDisk::zeroed(2880);
    for n in 1..2880u64 {
        let mut sector = [0; 512];
        sector[..2].copy_from_slice(&(n as u16).to_le_bytes());
        disk.write(n, &sector).unwrap();
    }
    let mut sector = [0x90; 512];
    sector[..code.len()].copy_from_slice(code);
    sector[code.len()..code.len() + END.len()].copy_from_slice(&END);
    sector[510..].copy_from_slice(&[0x55, 0xAA]);
    disk.write(0, &sector).unwrap();
    Box::new(disk)
}

/// A machine of an AT's chips that will boot `code`.
fn machine(kind: Kind, code: &[u8]) -> System {
    let mut mem = memory();
    let mut bus = Bus::new(ClockRate::DEFAULT, 1);
    let b = &mut bus;
    let intr = b.wire_to(Sink::Intr(0));
    let pic = b.add(Box::new(DualPic::new(PicKind::Piix, PicWires { intr })));
    let irq = |b: &mut Bus, n| b.wire_to(Sink::Pin(pic, n));
    let pit = PitWires { out0: irq(b, 0), ..PitWires::default() };
    let pit = b.add(Box::new(I8254::new(pit)));
    let mut rtc = Mc146818::new(RtcWires { irq: irq(b, 8), ..RtcWires::default() }, 45_296);
    for (at, v) in [(0x10, 0x40), (0x14, 0x01), (0x30, 0x00), (0x31, 0x3C), (0x3D, 0x01)] {
        rtc.set_cmos(at, v);
    }
    let rtc = b.add(Box::new(rtc));
    let kbc =
        KbcWires { irq1: irq(b, 1), irq12: irq(b, 12), a20: b.wire_to(Sink::A20), reset: b.wire_to(Sink::CpuReset) };
    let kbc = b.add(Box::new(I8042::new(kbc)));
    let drive = FloppyDrive::new("fd0", DriveKind::K1440, Some(floppy(code)), None);
    let fdc = Fdc::new("fdc", FdcWires { irq: irq(b, 6), ..FdcWires::default() }, [Some(drive), None, None, None]);
    let fdc = b.add(Box::new(fdc));
    #[rustfmt::skip]
    let ports = [
        (pic, 0x20, 2, i8259::REGION_MASTER), (pic, 0xA0, 2, i8259::REGION_SLAVE), (pit, 0x40, 4, 0), (rtc, 0x70, 2, 0),
        (kbc, 0x60, 1, 0), (kbc, 0x64, 1, 1), (fdc, 0x3F0, 6, fdc::REGION_MAIN), (fdc, 0x3F7, 1, fdc::REGION_DIR),
    ];
    ports.into_iter().for_each(|(id, base, len, region)| b.map_ports(id, base, len, region, 1));
    b.add_interrupt_controller(pic);
    Vga::install(b, &mut mem, &VgaConfig::default()).unwrap();
    let mut system = System::new(Model::new(kind), mem, bus);
    Bios::new(None).install(&mut system);
    system.reset();
    system
}

/// A machine whose only drive is a hard disk of 64 MiB, that boots `code` as its master boot record.
fn machine_with_disk(code: &[u8]) -> System {
    let mut disk = RamDisk::zeroed(131_072);
    let mut record = [0x90; 512];
    record[..code.len()].copy_from_slice(code);
    record[code.len()..code.len() + END.len()].copy_from_slice(&END);
    record[510..].copy_from_slice(&[0x55, 0xAA]);
    disk.write(0, &record).unwrap();
    disk.write(1007, &[0x77; 512]).unwrap();
    let mut system = machine(Kind::P6, &[]);
    let drive = Drive::disk("test", Box::new(disk), None);
    let ide = Piix3Ide::new("ide", 1, IdeWires::default(), [[Some(drive), None], [None, None]]);
    system.bus.add(Box::new(ide));
    system.bus.find_mut::<Mc146818>().unwrap().set_cmos(0x3D, 0x02);
    system
}

/// Runs until the boot sector's end, or a second of the machine's time at most.
fn finish(system: &mut System) {
    let end = system.now() + system.bus.rate().ticks_in_us(1_000_000);
    while system.now() < end && !ended(system) {
        let step = system.now() + 10_000;
        let stop = system.run(Ticks(step.0.min(end.0)));
        assert_ne!(stop, Stop::TripleFault);
    }
}

fn ended(system: &System) -> bool {
    system.cpu.activity == emu_core::cpu::Activity::Halted && system.cpu.eflags() & 0x200 == 0
}

/// Boots `code`, and runs it to its end.
fn boot(code: &[u8]) -> System {
    let mut system = machine(Kind::P6, code);
    finish(&mut system);
    assert!(ended(&system), "the boot sector ends");
    system
}

fn ax(system: &System) -> u16 {
    system.cpu.regs[reg::RAX] as u16
}

fn carry(system: &System) -> bool {
    system.cpu.eflags() & 1 != 0
}

fn row(system: &System, row: usize) -> String {
    let vga = system.bus.find::<Vga>().unwrap();
    vga.text_screen(&system.mem).unwrap().row_text(row).trim_end().to_string()
}

fn bda<T: emu_core::mem::Scalar>(system: &System, off: u64) -> T {
    system.mem.load(0x400 + off)
}

#[test]
fn a_boot_sector_starts_with_a_clean_screen_on_every_model() {
    for kind in [Kind::I8086, Kind::I80286, Kind::I80386, Kind::P6, Kind::X64V1] {
        let mut system = machine(kind, &[]);
        finish(&mut system);
        assert_eq!((system.cpu.rip, system.cpu.seg[1].sel), (0x7C02, 0), "{kind:?}");
        assert_eq!(system.cpu.regs[reg::RDX] as u8, 0);
        assert!((0..25).all(|r| row(&system, r).is_empty()));
        assert_eq!(bda::<u16>(&system, 0x10) & 0x31, 0x21, "80 x 25, one floppy");
        assert_eq!((bda::<u16>(&system, 0x13), bda::<u8>(&system, 0x49)), (639, 3));
        // 12:34:56 are 824 682.9 ticks.
        let ticks: u32 = bda(&system, 0x6C);
        assert!((824_682..824_700).contains(&ticks), "{ticks}");
    }
}

#[test]
fn teletype_wraps_and_scrolls() {
    // MOV CX, 25 * 80 + 3; next: MOV AX, 0E41h; INT 10h; LOOP next; MOV AL, 'B'; INT 10h; MOV AX, 0E0Dh; INT 10h
    let code =
        [0xB9, 0xD3, 0x07, 0xB8, 0x41, 0x0E, 0xCD, 0x10, 0xE2, 0xF9, 0xB0, 0x42, 0xCD, 0x10, 0xB0, 0x0D, 0xCD, 0x10];
    let system = boot(&code);
    assert_eq!(row(&system, 0), "A".repeat(80));
    assert_eq!(row(&system, 24), "AAAB");
    assert_eq!(bda::<u16>(&system, 0x50), 24 << 8);
}

#[test]
fn windows_scroll_and_cells_are_read_back() {
    #[rustfmt::skip]
    let code = [
        0xB4, 0x02, 0xB7, 0x00, 0xBA, 0x05, 0x05, 0xCD, 0x10,             // cursor to row 5, column 5
        0xB8, 0x58, 0x09, 0xBB, 0x1E, 0x00, 0xB9, 0x03, 0x00, 0xCD, 0x10, // three X in yellow on blue
        0xB8, 0x01, 0x06, 0xB7, 0x70, 0xB9, 0x06, 0x04, 0xBA, 0x06, 0x05, 0xCD, 0x10, // (4,6)-(5,6) up by one
        0xB4, 0x02, 0xB7, 0x00, 0xBA, 0x06, 0x04, 0xCD, 0x10,             // cursor to row 4, column 6
        0xB4, 0x08, 0xCD, 0x10,
    ];
    let system = boot(&code);
    assert_eq!(ax(&system), 0x1E58);
    assert_eq!((row(&system, 4), row(&system, 5)), ("      X".to_string(), "     X X".to_string()));
    assert_eq!(system.mem.load::<u16>(0xB_8000).wrapping_add(1), 0, "the window is not RAM");
}

/// MOV AX, ax; MOV CX, cx; MOV DX, dx; MOV BX, 8000h; INT 13h: then AX and CF are kept where the end finds them.
fn int13(ax: u16, cx: u16, dx: u16, bx: u16) -> Vec<u8> {
    let mut code = Vec::new();
    for (opcode, v) in [(0xB8u8, ax), (0xB9, cx), (0xBA, dx), (0xBB, bx)] {
        code.push(opcode);
        code.extend_from_slice(&v.to_le_bytes());
    }
    code.extend_from_slice(&[0xCD, 0x13]);
    code
}

#[test]
fn sectors_are_read_by_cylinder_head_and_sector() {
    // Cylinder 1, head 1, sector 2: number 36 + 18 + 1.
    let system = boot(&int13(0x0203, 0x0102, 0x0100, 0x8000));
    assert!(!carry(&system));
    assert_eq!(ax(&system), 0x0003);
    let numbers = [0, 512, 1024].map(|o| system.mem.load::<u16>(0x8000 + o));
    assert_eq!(numbers, [55, 56, 57]);
}

#[test]
fn bad_sectors_boundaries_and_drives_are_refused() {
    for (call, answer) in [
        (int13(0x0201, 0x0013, 0x0000, 0x8000), 0x0400),     // sector 19
        (int13(0x0201, 0x5001, 0x0000, 0x8000), 0x0400),     // cylinder 80
        (int13(0x0202, 0x0001, 0x0000, 0xFD00), 0x0900),     // across 64 KiB
        (int13(0x0201, 0x0001, 0x0001, 0x8000), 0x8000 | 1), // drive B:
        (int13(0x0201, 0x0001, 0x0080, 0x8000), 0x0100 | 1), // no disk
        (int13(0x7700, 0x0001, 0x0000, 0x8000), 0x0100),     // no such function
    ] {
        let system = boot(&call);
        assert_eq!((carry(&system), ax(&system)), (true, answer));
    }
}

#[test]
fn written_sectors_are_on_the_disk_and_parameters_are_the_drives() {
    let mut code = int13(0x0301, 0x0003, 0x0000, 0x7C00);
    code.extend(int13(0x0201, 0x0003, 0x0000, 0x9000));
    code.extend(int13(0x0800, 0x0000, 0x0000, 0x0000));
    let system = boot(&code);
    assert_eq!(system.mem.load::<u32>(0x9000), system.mem.load::<u32>(0x7C00));
    let [cx, dx, bx] = [reg::RCX, reg::RDX, reg::RBX].map(|r| system.cpu.regs[r] as u16);
    assert_eq!((cx, dx, bx as u8), (0x4F12, 0x0101, 4));
}

#[test]
fn a_read_waits_for_a_key_and_knows_shift() {
    // STI; XOR AX, AX; INT 16h; MOV BX, AX; XOR AX, AX; INT 16h; MOV SI, AX; MOV AH, 10h; INT 16h
    let read = [0x31, 0xC0, 0xCD, 0x16];
    let code = [&[0xFB][..], &read, &[0x89, 0xC3], &read, &[0x89, 0xC6, 0xB4, 0x10, 0xCD, 0x16]].concat();
    let mut system = machine(Kind::P6, &code);
    finish(&mut system);
    assert!(!ended(&system), "no key has come yet");
    for (key, down) in [(0x1E, true), (0x1E, false), (0x2A, true), (0xE048, true), (0x1E, true)] {
        assert!(system.input(&Input::Key { key: Key(key), down }));
        system.run(system.now() + system.bus.rate().ticks_in_us(20_000));
    }
    finish(&mut system);
    assert!(ended(&system));
    // With shift held, the grey arrow is still an arrow; function 0 hides its E0h.
    let [bx, si] = [reg::RBX, reg::RSI].map(|r| system.cpu.regs[r] as u16);
    assert_eq!((bx, si, ax(&system)), (0x1E61, 0x4800, 0x1E41));
    assert_eq!(bda::<u8>(&system, 0x17) & 0x0F, 0x02);
}

#[test]
fn services_let_interrupts_in() {
    // CLI; MOV AH, 0; INT 1Ah; MOV BX, DX; next: MOV AH, 0; INT 1Ah; CMP DX, BX; JE next; CLI: until the time moves on
    let code =
        [0xFA, 0xB4, 0x00, 0xCD, 0x1A, 0x89, 0xD3, 0xB4, 0x00, 0xCD, 0x1A, 0x39, 0xDA, 0x74, 0xF8, 0x9C, 0x58, 0xFA];
    let system = boot(&code);
    assert_eq!(ax(&system) & 0x200, 0, "the caller's flags come back");
}

#[test]
fn a_wait_takes_its_time() {
    // MOV AH, 86h; XOR CX, CX; MOV DX, 50000; INT 15h
    let start = boot(&[]).now();
    let system = boot(&[0xB4, 0x86, 0x31, 0xC9, 0xBA, 0x50, 0xC3, 0xCD, 0x15]);
    let us = system.now().since(start) / (system.bus.rate().ticks_in_us(1_000_000) / 1_000_000);
    assert!((50_000..62_000).contains(&us), "{us} microseconds");
}

#[test]
fn memory_is_told_alike_by_every_call() {
    // MOV AH, 88h; INT 15h; MOV SI, AX; MOV AX, E801h; INT 15h
    let system = boot(&[0xB4, 0x88, 0xCD, 0x15, 0x89, 0xC6, 0xB8, 0x01, 0xE8, 0xCD, 0x15]);
    let si = system.cpu.regs[reg::RSI] as u16;
    assert_eq!((si, ax(&system), system.cpu.regs[reg::RBX] as u16), (15 * 1024 - 64, 15 * 1024 - 64, 0));
    #[rustfmt::skip]
    let e820 = [
        0x66, 0x31, 0xDB, 0xBF, 0x00, 0x90,                         // XOR EBX, EBX; MOV DI, 9000h
        0x66, 0xB8, 0x20, 0xE8, 0, 0, 0x66, 0xBA, 0x50, 0x41, 0x4D, 0x53, // next: MOV EAX, E820h; MOV EDX, 'SMAP'
        0x66, 0xB9, 0x14, 0, 0, 0, 0xCD, 0x15, 0x83, 0xC7, 0x14,    // MOV ECX, 20; INT 15h; ADD DI, 20
        0x66, 0x85, 0xDB, 0x75, 0xE4,                               // TEST EBX, EBX; JNZ next
    ];
    let system = boot(&e820);
    let end = system.cpu.regs[reg::RDI] & 0xFFFF;
    let ranges: Vec<(u64, u64, u32)> = (0x9000..end)
        .step_by(20)
        .map(|at| (system.mem.load(at), system.mem.load(at + 8), system.mem.load(at + 16)))
        .collect();
    assert_eq!(ranges[0], (0, 0x9_FC00, 1));
    assert_eq!(ranges[3], (MIB, 15 * MIB - 0x1_0000, 1));
    assert!(ranges.windows(2).all(|w| w[0].0 + w[0].1 <= w[1].0), "ascending, none overlaps");
    assert_eq!(ranges.len(), 7);
}

#[test]
fn pixels_and_characters_come_back_in_every_graphics_mode() {
    for mode in [0x04u8, 0x06, 0x0D, 0x0E, 0x10, 0x11, 0x12, 0x13] {
        let color = if mode == 6 || mode == 0x11 { 1 } else { 3 };
        #[rustfmt::skip]
        let code = [
            0xB8, mode, 0x00, 0xCD, 0x10,
            0xB8, color, 0x0C, 0xB9, 0x64, 0x00, 0xBA, 0x32, 0x00, 0x31, 0xDB, 0xCD, 0x10, // pixel (100, 50)
            0xB4, 0x0D, 0xCD, 0x10, 0x89, 0xC6,             // read it; MOV SI, AX
            0xB8, 0x47, 0x0E, 0xBB, color, 0x00, 0xCD, 0x10, // teletype G
            0xB8, 0x0D, 0x0E, 0xCD, 0x10,
            0xB4, 0x08, 0xCD, 0x10,                         // what stands there?
        ];
        let system = boot(&code);
        assert_eq!(system.cpu.regs[reg::RSI] as u8, color, "mode {mode:02x}");
        assert_eq!(ax(&system) as u8, b'G', "mode {mode:02x}");
        assert_eq!(bda::<u8>(&system, 0x49), mode);
    }
}

#[test]
fn the_small_font_makes_fifty_rows() {
    // MOV AX, 1112h; XOR BX, BX; INT 10h; MOV AH, 02h; MOV DX, 3100h; INT 10h; MOV AX, 0E5Ah; INT 10h
    let code =
        [0xB8, 0x12, 0x11, 0x31, 0xDB, 0xCD, 0x10, 0xB4, 2, 0xBA, 0, 0x31, 0xCD, 0x10, 0xB8, 0x5A, 0x0E, 0xCD, 0x10];
    let system = boot(&code);
    assert_eq!((bda::<u8>(&system, 0x84), bda::<u16>(&system, 0x85)), (49, 8));
    assert_eq!(row(&system, 49), "Z");
}

#[test]
fn the_clock_is_set_and_read() {
    // MOV AH, 3; MOV CX, 2359h; MOV DX, 5800h; INT 1Ah; MOV AH, 2; INT 1Ah
    let system = boot(&[0xB4, 3, 0xB9, 0x59, 0x23, 0xBA, 0x00, 0x58, 0xCD, 0x1A, 0xB4, 2, 0xCD, 0x1A]);
    assert!(!carry(&system));
    assert_eq!([reg::RCX, reg::RDX].map(|r| system.cpu.regs[r] as u16), [0x2359, 0x5800]);
}

#[test]
fn blocks_move_above_the_first_mebibyte_with_a20_closed() {
    let mut code = vec![0xB4, 0x87, 0xB9, 0x02, 0x00, 0xBE, 0x40, 0x7C, 0xCD, 0x15]; // CX = 2, table at 7C40h
    code.extend_from_slice(&END);
    code.resize(0x40 + 0x10, 0);
    code.extend_from_slice(&[0xFF, 0xFF, 0x00, 0x7C, 0x00, 0x93, 0, 0]); // from 7C00h
    code.extend_from_slice(&[0xFF, 0xFF, 0x00, 0x00, 0x30, 0x93, 0, 0]); // to 300000h
    let mut system = boot(&code);
    assert!(!system.mem.a20());
    system.mem.set_a20(true);
    assert_eq!(system.mem.load::<u32>(0x30_0000), system.mem.load::<u32>(0x7C00));
}

#[test]
fn a_disk_boots_and_is_read_by_both_kinds_of_call() {
    #[rustfmt::skip]
    let code = [
        0xB4, 0x41, 0xBB, 0xAA, 0x55, 0xCD, 0x13, 0x89, 0xDD,       // AH = 41h, BX = 55AAh; MOV BP, BX
        0xBE, 0x50, 0x7C, 0xB4, 0x42, 0xCD, 0x13, 0x9C, 0x5F,       // packet at 7C50h; PUSHF; POP DI
        0xB8, 0x01, 0x02, 0xB9, 0x00, 0x00, 0xB1, 0x3F, 0xB6, 0x0F, // AX = 0201h: cylinder 0, head 15, sector 63
        0xBB, 0x00, 0xA0, 0xCD, 0x13,                               // to A000h
        0xB4, 0x15, 0xCD, 0x13, 0x51, 0x52,                         // AH = 15h; PUSH CX; PUSH DX
        0xB2, 0x80, 0xB4, 0x08, 0xCD, 0x13,
    ];
    let mut code = code.to_vec();
    code.extend_from_slice(&END);
    code.resize(0x50, 0x90);
    code.extend_from_slice(&[0x10, 0, 1, 0, 0x00, 0x90, 0, 0, 0xEF, 0x03, 0, 0, 0, 0, 0, 0]); // 1007 to 0:9000h
    let mut system = machine_with_disk(&code);
    finish(&mut system);
    assert!(ended(&system));
    assert_eq!(system.cpu.regs[reg::RBP] as u16, 0xAA55, "extensions");
    assert_eq!(system.cpu.regs[reg::RDI] & 1, 0);
    assert_eq!([0x9000, 0xA000].map(|at| system.mem.load::<u16>(at)), [0x7777; 2]);
    let sp = system.cpu.regs[reg::RSP] & 0xFFFF;
    let total = u32::from(system.mem.load::<u16>(sp + 2)) << 16 | u32::from(system.mem.load::<u16>(sp));
    assert_eq!(total, 130 * 16 * 63);
    let [cx, dx] = [reg::RCX, reg::RDX].map(|r| system.cpu.regs[r] as u16);
    assert_eq!((cx, dx), (0x813F, 0x0F01), "130 cylinders, 16 heads, 63 sectors; one disk");
    let table: u32 = system.mem.load(4 * 0x41);
    let at = u64::from(table >> 16 << 4) + u64::from(table & 0xFFFF);
    assert_eq!(
        (system.mem.load::<u16>(at), system.mem.load::<u8>(at + 2), system.mem.load::<u8>(at + 14)),
        (130, 16, 63)
    );
}

#[test]
fn the_mouse_calls_its_driver() {
    let mut code = vec![
        0xFB, 0xB8, 0x07, 0xC2, 0xBB, 0x40, 0x7C, 0xCD, 0x15, // STI; routine 0:7C40h
        0xB8, 0x00, 0xC2, 0xB7, 0x01, 0xCD, 0x15, // on
        0x80, 0x3E, 0x00, 0x90, 0x00, 0x74, 0xF9, // wait: CMP [9000h], 0; JZ wait
    ];
    code.extend_from_slice(&END);
    code.resize(0x40, 0x90);
    // PUSH BP; MOV BP, SP; status, X, Y to 9000h; POP BP; RETF
    code.extend_from_slice(&[0x55, 0x89, 0xE5, 0x8B, 0x46, 0x0C, 0xC4, 0x5E, 0x08, 0x89, 0x1E, 0x01, 0x90, 0x8C, 0x06]);
    code.extend_from_slice(&[0x03, 0x90, 0xA2, 0x00, 0x90, 0x5D, 0xCB]);
    let mut system = machine(Kind::P6, &code);
    finish(&mut system);
    assert!(!ended(&system));
    assert!(system.input(&Input::Mouse { dx: 5, dy: -3, dz: 0, buttons: 1 }));
    finish(&mut system);
    assert!(ended(&system));
    let [y, x] = [1, 3].map(|at| system.mem.load::<u16>(0x9000 + at));
    assert_eq!((system.mem.load::<u8>(0x9000), x, y), (0x29, 5, 0xFD));
}

#[test]
fn firmware_state_survives() {
    let system = boot(&[]);
    let mut w = StateWriter::new();
    system.save(&mut w);
    let mut other = machine(Kind::P6, &[]);
    assert_ne!(other.hash(), system.hash());
    other.load(&mut StateReader::new(&w.into_bytes())).unwrap();
    assert_eq!(other.hash(), system.hash());
}

#[test]
fn without_anything_to_boot_it_says_so_and_waits() {
    let mut system = machine(Kind::P6, &[]);
    let (medium, _) = system.bus.find_mut::<Fdc>().unwrap().media(0).unwrap();
    medium.write(0, &[0; 512]).unwrap();
    finish(&mut system);
    assert_eq!(row(&system, 0), "No bootable device. Press a key to try again.");
    system.input(&Input::Key { key: Key(0x39), down: true });
    finish(&mut system);
    assert_eq!(row(&system, 1), "No bootable device. Press a key to try again.");
}
