//! Programs that change the immediate operands of their own code: however the run is cut, each change counts at once.

use emu_core::cpu::model::Kind;
use emu_core::cpu::{Model, Segment, seg};
use emu_core::mem::Target;
use emu_core::{Bus, ClockRate, PhysMem, Stop, System, Ticks};
use iced_x86::code_asm::*;
use iced_x86::{BlockEncoderOptions, IcedError};

const ORIGIN: u64 = 0x1000;

fn machine(code: &[u8]) -> System {
    let mut mem = PhysMem::new(0x10_0000, 0).unwrap();
    mem.map(0, 0x10_0000, Target::Pool(0));
    mem.write(ORIGIN, code);
    let mut sys = System::new(Model::new(Kind::P6), mem, Bus::new(ClockRate::DEFAULT, 1));
    sys.reset();
    for s in [seg::ES, seg::CS, seg::SS, seg::DS] {
        sys.cpu.set_segment(s, Segment::real(0));
    }
    sys.cpu.rip = ORIGIN;
    sys.cpu.regs[4] = 0xF000;
    sys
}

/// Where the immediates that the program changes stand.
#[derive(Clone, Copy, Default)]
struct Places {
    byte: u32,
    word: u32,
    double: u32,
    short: u32,
    compared: u32,
    nested: u32,
}

/// One pass of changes and calls, a hundred times over. The first assembly finds the places, the second one uses them.
fn program(p: Places, found: &mut Places) -> Vec<u8> {
    let mut a = CodeAssembler::new(16).unwrap();
    let mut labels = [a.create_label(); 6].map(|_| CodeLabel::default());
    labels.iter_mut().for_each(|l| *l = a.create_label());
    let mut emit = || -> Result<(), IcedError> {
        let (mut again, mut leaf, mut nested) = (a.create_label(), a.create_label(), a.create_label());
        a.mov(cx, 100)?;
        a.mov(esi, 0x1234_5678)?;
        a.set_label(&mut again)?;
        // Another pseudo-random number for each store.
        for (place, size) in [(p.byte, 1), (p.word, 2), (p.double, 4), (p.short, 1), (p.compared, 2)] {
            a.imul_3(esi, esi, 1_103_515_245)?;
            a.add(esi, 12345)?;
            a.mov(eax, esi)?;
            a.shr(eax, 8)?;
            match size {
                1 => a.mov(byte_ptr(place), al)?,
                2 => a.mov(word_ptr(place), ax)?,
                _ => a.mov(dword_ptr(place), eax)?,
            }
        }
        a.call(leaf)?;
        // Part of an operand only, and a store wider than it: its last byte is the next opcode, which stays.
        a.mov(byte_ptr(p.double + 2), al)?;
        a.call(leaf)?;
        // INC DX; DEC DX; NOP; RET, turned with each pass, as an operand and as code.
        a.mov(eax, 0xC390_4A42u32 as i32)?;
        a.test(cl, 1)?;
        let mut even = a.create_label();
        a.jz(even)?;
        a.mov(eax, 0xC342_9042u32 as i32)?;
        a.set_label(&mut even)?;
        a.mov(dword_ptr(p.nested), eax)?;
        a.call(nested)?;
        a.call(p.nested as u64)?;
        a.loop_(again)?;
        a.hlt()?;
        a.set_label(&mut leaf)?;
        a.mov(bl, 1)?;
        a.set_label(&mut labels[0])?;
        a.mov(di, 0x1111)?;
        a.set_label(&mut labels[1])?;
        a.mov(ebp, 0x2222_2222)?;
        a.set_label(&mut labels[2])?;
        a.add(ebp, 3)?;
        a.set_label(&mut labels[3])?;
        a.cmp(di, 0x4444)?;
        a.set_label(&mut labels[4])?;
        a.adc(dx, bp)?;
        a.add(dl, bl)?;
        a.ret()?;
        a.set_label(&mut nested)?;
        a.mov(ebx, 0xC390_9090u32 as i32)?;
        a.set_label(&mut labels[5])?;
        a.add(dx, bx)?;
        a.ret()
    };
    emit().unwrap();
    let result = a.assemble_options(ORIGIN, BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS).unwrap();
    let behind = |n: usize| result.label_ip(&labels[n]).unwrap() as u32;
    *found = Places {
        byte: behind(0) - 1,
        word: behind(1) - 2,
        double: behind(2) - 4,
        short: behind(3) - 1,
        compared: behind(4) - 2,
        nested: behind(5) - 4,
    };
    result.inner.code_buffer
}

fn assembled() -> Vec<u8> {
    let (mut places, mut again) = (Places { nested: 0x1100, ..Places::default() }, Places::default());
    // Addresses above 80h have the same length wherever they lead.
    for p in [&mut places.byte, &mut places.word, &mut places.double, &mut places.short, &mut places.compared] {
        *p = 0x1100;
    }
    program(places, &mut again);
    let mut last = Places::default();
    program(again, &mut last);
    program(last, &mut Places::default())
}

#[test]
fn each_change_counts_at_once_wherever_the_run_is_cut() {
    let code = assembled();
    // The last one is behind its end.
    for end in [777, 2500, 3501, 4200, 20_000] {
        let mut whole = machine(&code);
        whole.run(Ticks(end));
        for slice in [1, 2, 3, 7, 50] {
            let mut cut = machine(&code);
            while cut.run(Ticks((cut.now().0 + slice).min(end))) == Stop::Deadline && cut.now() < Ticks(end) {}
            let what = format!("{end} ticks in slices of {slice}");
            assert_eq!((cut.cpu.regs, cut.cpu.rip), (whole.cpu.regs, whole.cpu.rip), "{what}");
            assert_eq!(cut.cpu.eflags(), whole.cpu.eflags(), "{what}");
            let (mut a, mut b) = (vec![0; code.len()], vec![0; code.len()]);
            cut.mem.read(ORIGIN, &mut a);
            whole.mem.read(ORIGIN, &mut b);
            assert_eq!(a, b, "{what}");
        }
        assert_eq!(whole.run(Ticks(1_000_000)), Stop::Asleep, "the program ends");
    }
}
