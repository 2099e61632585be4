//! The engine on small real-mode programs: exact deadlines, links, self-modifying code.

use emu_core::cpu::model::Kind;
use emu_core::cpu::{Model, Segment, seg};
use emu_core::mem::Target;
use emu_core::{Bus, ClockRate, PhysMem, Stop, System, Ticks};
use iced_x86::IcedError;
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

fn assembled(f: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Vec<u8> {
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

/// A loop over the forms that have handlers of their own: registers, memory, stack, calls, pairs.
fn busy() -> Vec<u8> {
    assembled(|a| {
        let mut again = a.create_label();
        let mut sub = a.create_label();
        let mut skip = a.create_label();
        a.xor(si, si)?;
        a.mov(bx, 0x8000)?;
        a.set_label(&mut again)?;
        a.add(eax, 0x1234_5677)?;
        a.adc(word_ptr(bx + si), ax)?;
        a.mov(cx, word_ptr(bx + si))?;
        a.push(cx)?;
        a.call(sub)?;
        a.pop(dx)?;
        a.lea(si, word_ptr(si + 2))?;
        a.and(si, 0xFFE)?;
        a.cmp(dx, 0x4000)?;
        a.jb(skip)?;
        a.sub(word_ptr(bx), 3)?;
        a.set_label(&mut skip)?;
        a.jmp(again)?;
        a.set_label(&mut sub)?;
        a.dec(dx)?;
        a.xchg(ax, dx)?;
        a.ret()
    })
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a thread is how a test gets a small stack")]
fn a_long_run_needs_no_stack() {
    let ticks = if cfg!(debug_assertions) { 300_000 } else { 50_000_000 };
    let run = move || {
        let mut sys = machine(&busy());
        assert_eq!(sys.run(Ticks(ticks)), Stop::Deadline);
        assert_eq!(sys.now(), Ticks(ticks));
    };
    std::thread::Builder::new().stack_size(256 << 10).spawn(run).unwrap().join().unwrap();
}

#[test]
fn stopping_anywhere_changes_nothing() {
    let mut whole = machine(&busy());
    let mut pieces = machine(&busy());
    let mut at = 0;
    let mut step = 1;
    while at < 5_000 {
        step = step * 7 % 61;
        at += step;
        whole.run(Ticks(at));
        (0..step).for_each(|i| {
            pieces.run(Ticks(at - step + i + 1));
        });
        assert_eq!(whole.hash(), pieces.hash(), "at {at}");
    }
}

/// Shifts, rotates and products of registers: by handlers in whole runs, from their decoded form where a run is cut.
fn shifting() -> Vec<u8> {
    assembled(|a| {
        let mut again = a.create_label();
        a.mov(eax, 0x89AB_CDEF_u32)?;
        a.mov(cl, 1)?;
        a.set_label(&mut again)?;
        a.rol(eax, cl)?;
        a.mov(ebx, eax)?;
        a.shl(bx, 3)?;
        a.pushf()?;
        a.pop(dx)?;
        a.sar(bl, cl)?;
        a.pushf()?;
        a.pop(bp)?;
        a.ror(ebx, 7)?;
        a.imul_3(esi, ebx, 0x1_2345)?;
        a.pushf()?;
        a.pop(di)?;
        a.shr(esi, cl)?;
        a.imul_2(ax, si)?;
        a.mul(ebx)?;
        a.adc(eax, edx)?;
        a.rol(bh, 5)?;
        a.pushf()?;
        a.pop(dx)?;
        a.add(eax, edx)?;
        a.inc(cl)?;
        a.jmp(again)
    })
}

#[test]
fn handlers_and_decoded_forms_give_the_same_bits() {
    let mut whole = machine(&shifting());
    let mut single = machine(&shifting());
    for t in 1..4_000 {
        single.run(Ticks(t));
        if t % 97 == 0 {
            whole.run(Ticks(t));
            assert_eq!(whole.hash(), single.hash(), "at {t}");
        }
    }
}

/// A machine in 64-bit mode, without paging's help: tables at 10000h map the first 2 MiB, code starts at 1000h.
fn machine_64(code: &[u8]) -> System {
    use emu_core::cpu::bits::{CR0_PE, CR0_PG, CR4_OSFXSR, CR4_PAE, EFER_LMA, EFER_LME};
    let mut mem = PhysMem::new(0x20_0000, 0).unwrap();
    mem.map(0, 0x20_0000, Target::Pool(0));
    mem.write(0x1000, code);
    mem.store(0x1_0000, 0x1_1003u64);
    mem.store(0x1_1000, 0x1_2003u64);
    mem.store(0x1_2000, 0x83u64);
    let mut sys = System::new(Model::new(Kind::X64V3), mem, Bus::new(ClockRate::DEFAULT, 1));
    sys.reset();
    sys.cpu.cr3 = 0x1_0000;
    sys.cpu.cr4 = CR4_PAE | CR4_OSFXSR;
    sys.cpu.efer = EFER_LMA | EFER_LME;
    sys.cpu.cr0 = CR0_PE | CR0_PG;
    sys.cpu.set_segment(seg::CS, Segment::from_descriptor(8, 0x0000_FFFF, 0x00AF_9B00));
    sys.cpu.set_segment(seg::SS, Segment::from_descriptor(16, 0x0000_FFFF, 0x00CF_9300));
    sys.cpu.refresh_segments();
    sys.cpu.rip = 0x1000;
    sys.cpu.regs[4] = 0xF000;
    sys
}

#[test]
fn every_byte_register_has_its_own_place() {
    let mut a = CodeAssembler::new(64).unwrap();
    for (i, r) in [spl, bpl, sil, dil, r8b, r9b, r15b].into_iter().enumerate() {
        a.mov(r, 0x41 + i as i32).unwrap();
    }
    a.mov(ah, 0x51).unwrap();
    a.mov(byte_ptr(0x8000), dil).unwrap();
    a.cmp(byte_ptr(0x8000), dil).unwrap();
    a.sete(r10b).unwrap();
    a.hlt().unwrap();
    let mut sys = machine_64(&a.assemble(0x1000).unwrap());
    assert_eq!(sys.run(Ticks(100)), Stop::Asleep);
    let low = |i: usize| sys.cpu.regs[i] & 0xFF;
    let seen: Vec<u64> = [4, 5, 6, 7, 8, 9, 15].into_iter().map(low).collect();
    assert_eq!(seen, [0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47]);
    assert_eq!((sys.cpu.regs[0] >> 8 & 0xFF, low(10)), (0x51, 1));
}

#[test]
fn a_triple_fault_tells_what_ran_last() {
    let code = assembled(|a| {
        a.mov(ax, 0x1234)?;
        a.ud2()
    });
    let mut sys = machine(&code);
    sys.cpu.idtr.limit = 0;
    assert_eq!(sys.run(Ticks(100)), Stop::TripleFault);
    let block = sys.last_block();
    assert_eq!((block.location, block.bitness), (0x1000, 16));
    assert_eq!(block.instructions, [vec![0xB8, 0x34, 0x12], vec![0x0F, 0x0B]]);
    let last = sys.last_interrupts().last().unwrap();
    assert_eq!((last.interrupt.vector, last.rip, last.at), (6, 0x1003, Ticks(1)));
}

/// The hash of [`busy`]'s machine after 5,000 ticks. Every build must give it: handlers that call each other and handlers
/// under the trampoline. It changes with the format of the saved state; then take the new one from either build.
const BUSY_AT_5000: u128 = 0x44bc_45c4_425e_af92_fe47_0a97_af0c_5187;

#[test]
fn every_build_profile_gives_the_same_machine() {
    let mut sys = machine(&busy());
    sys.run(Ticks(5_000));
    assert_eq!(sys.hash().0, BUSY_AT_5000, "{:#034x}", sys.hash().0);
}
