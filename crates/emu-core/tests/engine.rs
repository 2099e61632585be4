//! The engine on small real-mode programs: exact deadlines, links, self-modifying code.

use emu_core::cpu::model::Kind;
use emu_core::cpu::{Model, Segment, seg};
use emu_core::mem::Target;
use emu_core::{Bus, ClockRate, PhysMem, Stop, System, Ticks};
use iced_x86::code_asm::*;

/// A machine with 1 MiB of RAM that starts at 0000:1000, with its stack at 0000:F000.
fn machine(code: &[u8]) -> System {
    let mut mem = PhysMem::new(0x10_0000, 0).unwrap();
    mem.map(0, 0x10_0000, Target::Pool(0));
    mem.write(0x1000, code);
    let mut sys = System::new(Model::new(Kind::P6), mem, Bus::new(ClockRate::DEFAULT, 1));
    sys.reset();
    for s in [seg::ES, seg::CS, seg::SS, seg::DS] {
        sys.cpu.set_segment(s, Segment::real(0));
    }
    sys.cpu.rip = 0x1000;
    sys.cpu.regs[4] = 0xF000;
    sys
}

fn assembled(f: impl FnOnce(&mut CodeAssembler) -> Result<(), iced_x86::IcedError>) -> Vec<u8> {
    let mut a = CodeAssembler::new(16).unwrap();
    f(&mut a).unwrap();
    a.assemble(0x1000).unwrap()
}

/// `mov cx, 1000; again: mov ax, cx; loop again; hlt`
fn counting() -> Vec<u8> {
    assembled(|a| {
        let mut again = a.create_label();
        a.mov(cx, 1000)?;
        a.set_label(&mut again)?;
        a.mov(ax, cx)?;
        a.loop_(again)?;
        a.hlt()
    })
}

#[test]
fn runs_to_hlt_and_counts_every_instruction() {
    let mut sys = machine(&counting());
    assert_eq!(sys.run(Ticks(10_000)), Stop::Asleep);
    assert_eq!(sys.cpu.regs[0], 1);
    assert_eq!(sys.cpu.rip, 0x1000 + counting().len() as u64);
}

#[test]
fn stops_at_every_tick_exactly_and_in_the_same_state() {
    let mut whole = machine(&counting());
    whole.run(Ticks(300));
    let mut pieces = machine(&counting());
    for t in 1..=300 {
        assert_eq!(pieces.run(Ticks(t)), Stop::Deadline);
        assert_eq!(pieces.now(), Ticks(t));
    }
    assert_eq!(whole.now(), Ticks(300));
    assert_eq!((whole.cpu.rip, whole.cpu.regs), (pieces.cpu.rip, pieces.cpu.regs));
    assert_eq!(whole.hash(), pieces.hash());
}

#[test]
fn a_store_into_the_running_block_takes_effect_at_once() {
    // The MOV overwrites the immediate of the instruction right behind it.
    let code = assembled(|a| {
        a.mov(byte_ptr(0x1000 + 5 + 1), 0x77)?;
        a.mov(al, 0x11)?;
        a.hlt()
    });
    let mut sys = machine(&code);
    sys.run(Ticks(100));
    assert_eq!(sys.cpu.regs[0], 0x77);
}

#[test]
fn a_saved_machine_goes_on_as_the_one_that_was_saved() {
    let mut first = machine(&counting());
    first.run(Ticks(501));
    let mut w = emu_core::StateWriter::new();
    first.save(&mut w);
    let bytes = w.into_bytes();
    let mut second = machine(&[]);
    second.load(&mut emu_core::StateReader::new(&bytes)).unwrap();
    assert_eq!(second.hash(), first.hash());
    first.run(Ticks(900));
    second.run(Ticks(900));
    assert_eq!(second.hash(), first.hash());
}
