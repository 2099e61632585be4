//! The chips of an AT wired as on its board: interrupts reach the CPU with the vectors of the BIOS, and CPU lines move.

use emu_core::bus::rig::Rig;
use emu_core::mem::Target;
use emu_core::{Bus, DeviceId, Input, Key, Output, PhysMem, Sink, System, Ticks, Wire};
use emu_devices::ferr::{self, Ferr, FerrWires};
use emu_devices::i8042::{I8042, KbcWires};
use emu_devices::i8254::{I8254, PitWires};
use emu_devices::i8259::{self, DualPic, PicKind, PicWires};
use emu_devices::mc146818::{Mc146818, RtcWires};
use emu_devices::ns16550::{Ns16550, UartWires};
use emu_devices::port61::{self, Port61, Port61Wires};

fn irq(rig: &mut Rig, pic: DeviceId, n: u16) -> Wire {
    rig.bus.wire_to(Sink::Pin(pic, n))
}

/// Port 61h comes before the timer whose gate it drives, so that its wire is named first and led on later.
fn at() -> Rig {
    let mut rig = Rig::new();
    let intr = rig.bus.wire_to(Sink::Intr(0));
    let pic = rig.bus.add(Box::new(DualPic::new(PicKind::Piix, PicWires { intr })));
    let (gate2, out2) = (rig.bus.wire(), rig.bus.wire());
    let nmi = rig.bus.wire_to(Sink::Nmi(0));
    let p61 = rig.bus.add(Box::new(Port61::new(Port61Wires { gate2, nmi })));
    rig.bus.connect(out2, Sink::Pin(p61, port61::PIN_OUT2));
    let out0 = irq(&mut rig, pic, 0);
    let pit = rig.bus.add(Box::new(I8254::new(PitWires { out0, out2 })));
    rig.bus.connect(gate2, Sink::Pin(pit, 2));
    let rtc = RtcWires { irq: irq(&mut rig, pic, 8), nmi_mask: rig.bus.wire_to(Sink::Pin(p61, port61::PIN_NMI_MASK)) };
    let rtc = rig.bus.add(Box::new(Mc146818::new(rtc, 0)));
    let kbc = KbcWires {
        irq1: irq(&mut rig, pic, 1),
        irq12: irq(&mut rig, pic, 12),
        a20: rig.bus.wire_to(Sink::A20),
        reset: rig.bus.wire_to(Sink::CpuReset),
    };
    let kbc = rig.bus.add(Box::new(I8042::new(kbc)));
    let com1 = UartWires { irq: irq(&mut rig, pic, 4) };
    let com1 = rig.bus.add(Box::new(Ns16550::new(0, com1)));
    #[rustfmt::skip]
    let ports = [
        (pic, 0x20, 2, i8259::REGION_MASTER), (pic, 0xA0, 2, i8259::REGION_SLAVE), (p61, 0x61, 1, 0), (pit, 0x40, 4, 0),
        (rtc, 0x70, 2, 0), (kbc, 0x60, 1, 0), (kbc, 0x64, 1, 1), (com1, 0x3F8, 8, 0),
    ];
    ports.into_iter().for_each(|(id, base, len, region)| rig.bus.map_ports(id, base, len, region, 1));
    rig.bus.add_interrupt_controller(pic);
    rig.reset();
    outs(&mut rig, &[(0x20, 0x11), (0x21, 0x08), (0x21, 0x04), (0x21, 0x01)]);
    outs(&mut rig, &[(0xA0, 0x11), (0xA1, 0x70), (0xA1, 0x02), (0xA1, 0x01)]);
    rig
}

fn outs(rig: &mut Rig, writes: &[(u16, u8)]) {
    writes.iter().for_each(|&(port, value)| rig.out8(port, value));
}

/// Runs for `us` microseconds, taking each interrupt at its event and ending it; tells the vectors.
fn interrupts(rig: &mut Rig, us: u64, mut serve: impl FnMut(&mut Rig, u8)) -> Vec<u8> {
    let end = rig.now + rig.bus.rate().ticks_in_us(us);
    let mut vectors = vec![];
    loop {
        while rig.bus.cpu_lines(0).intr {
            let vector = rig.bus.acknowledge(&mut rig.mem, rig.now, 0).expect("a vector");
            vectors.push(vector);
            serve(rig, vector);
            if vector >= 0x70 {
                rig.out8(0xA0, 0x20);
            }
            rig.out8(0x20, 0x20);
        }
        if rig.bus.next_deadline() > end {
            rig.now = end;
            return vectors;
        }
        rig.now = rig.bus.next_deadline();
        rig.bus.run_events(&mut rig.mem, rig.now);
    }
}

#[test]
fn the_timer_ticks_a_thousand_times_a_second() {
    let mut rig = at();
    outs(&mut rig, &[(0x43, 0x34), (0x40, 0xA9), (0x40, 0x04)]);
    interrupts(&mut rig, 0, |_, _| {}); // the edge that the control word itself makes
    let vectors = interrupts(&mut rig, 1_000_000, |_, _| {});
    assert_eq!(vectors, vec![0x08; 1000]);
}

#[test]
fn the_clock_interrupts_through_the_slave() {
    let mut rig = at();
    outs(&mut rig, &[(0x70, 0x0B), (0x71, 0x42)]);
    let read_c = |rig: &mut Rig, _| {
        rig.out8(0x70, 0x0C);
        assert_eq!(rig.in8(0x71) & 0xC0, 0xC0);
    };
    assert_eq!(interrupts(&mut rig, 1_000_000, read_c), vec![0x70; 1024]);
}

#[test]
fn keys_and_serial_bytes_nest_by_priority() {
    let mut rig = at();
    outs(&mut rig, &[(0x64, 0x60), (0x60, 0x47), (0x3FB, 0x03), (0x3F9, 0x01), (0x3FC, 0x0B)]);
    let now = rig.now;
    let inputs = [
        Input::Serial { port: 0, bytes: b"x".to_vec() },
        Input::Key { key: Key(0x1E), down: true },
        Input::Key { key: Key(0x1E), down: false },
    ];
    inputs.iter().for_each(|i| assert!(rig.bus.input(&mut rig.mem, now, i)));
    let mut got = vec![];
    let vectors = interrupts(&mut rig, 5_000, |rig, vector| {
        got.push(rig.in8(if vector == 0x09 { 0x60 } else { 0x3F8 }));
    });
    assert_eq!((vectors, got), (vec![0x09, 0x0C, 0x09], vec![0x1E, b'x', 0x9E]));
}

#[test]
fn a_beep_is_heard_and_ends() {
    let mut rig = at();
    outs(&mut rig, &[(0x43, 0xB6), (0x42, 0x50), (0x42, 0x05), (0x61, 0x03)]);
    rig.advance_us(50_000);
    rig.out8(0x61, 0x00);
    assert_eq!(rig.output(), [Output::Speaker(877_339), Output::Speaker(0)]);
    rig.advance_us(1_000);
    assert_eq!(rig.bus.next_deadline(), Ticks::NEVER, "a held counter needs no events");
}

#[test]
fn each_answer_of_the_keyboard_controller_makes_its_own_edge() {
    let mut rig = at();
    outs(&mut rig, &[(0x64, 0x60), (0x60, 0x47), (0x64, 0x20), (0x64, 0xD0)]);
    let mut got = vec![];
    let vectors = interrupts(&mut rig, 100, |rig, _| got.push(rig.in8(0x60)));
    assert_eq!((vectors, got), (vec![0x09; 2], vec![0x47, 0xD3]));
}

/// A CPU with these chips: its x87 error comes as IRQ 13, the handler lets it go on by port F0h, and clears the error.
#[test]
fn an_x87_error_comes_as_irq_13_and_port_f0_lets_the_cpu_go_on() {
    use emu_core::cpu::model::Kind;
    use emu_core::cpu::{Model, Segment, seg};
    let mut rig = at();
    let pic = rig.bus.devices().find(|d| d.1 == "pic").expect("the 8259As").0;
    let wires = FerrWires { irq13: irq(&mut rig, pic, 13), ignne: rig.bus.wire_to(Sink::Ignne(0)) };
    let ferr = rig.bus.add(Box::new(Ferr::new(wires)));
    rig.bus.map_ports(ferr, 0xF0, 1, 0, 1);
    rig.bus.connect_ferr(Sink::Pin(ferr, ferr::PIN_FERR));
    // FNINIT; FLDCW [6000h] (division by zero unmasked); FLD1; FLDZ; FDIVP; MOV AL, 1; STI; FLD1; MOV AH, 2; HLT.
    let program = b"\xDB\xE3\xD9\x2E\x00\x60\xD9\xE8\xD9\xEE\xDE\xF9\xB0\x01\xFB\xD9\xE8\xB4\x02\xF4";
    // OUT F0h, AL; FLDZ (would wait but for that); FSTP ST; FNCLEX; INC BX; end of interrupt to both; IRET.
    let handler = b"\xE6\xF0\xD9\xEE\xDD\xD8\xDB\xE2\x43\xB0\x20\xE6\xA0\xE6\x20\xCF";
    for kind in [Kind::I80286, Kind::I80386, Kind::P6] {
        let mut mem = PhysMem::new(1 << 20, 0).unwrap();
        mem.map(0, 1 << 20, Target::Pool(0));
        mem.write(0x1000, program);
        mem.write(0x2000, handler);
        mem.write(4 * 0x75, &[0, 0x20, 0, 0]);
        mem.write(0x6000, &[0x7B, 3]);
        let bus = core::mem::replace(&mut rig.bus, Bus::new(emu_core::ClockRate::DEFAULT, 1));
        let mut sys = System::new(Model::new(kind), mem, bus);
        sys.cpu.reset(false);
        for s in [seg::CS, seg::SS, seg::DS] {
            sys.cpu.set_segment(s, Segment::real(0));
        }
        (sys.cpu.rip, sys.cpu.regs[4]) = (0x1000, 0x8000);
        for (port, value) in [(0xA1, 0xDF), (0x21, 0xFB)] {
            sys.bus.port_write(&mut sys.mem, Ticks(0), port, 1, value);
        }
        sys.run(Ticks(100));
        assert_eq!((sys.cpu.regs[0] & 0xFFFF, sys.cpu.regs[3]), (0x0220, 1), "{kind:?}");
        assert_eq!((sys.cpu.fpu.status() & 0xFF, sys.cpu.rip), (0, 0x1000 + program.len() as u64));
        rig.bus = sys.bus;
    }
}
