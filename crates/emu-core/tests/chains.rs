//! Lists that are followed from element to element: the loads guess where the next page lies in the host.

use emu_core::cpu::bits::CR0_PE;
use emu_core::cpu::model::Kind;
use emu_core::cpu::{Model, Segment, seg};
use emu_core::mem::Target;
use emu_core::{Bus, ClockRate, PhysMem, Stop, System, Ticks};
use iced_x86::IcedError;
use iced_x86::code_asm::*;

/// Pages that the list goes over, more often than a chain guesses anew.
const PAGES: u64 = 500;
const FIRST: u64 = 0x10_0000;
const CODE: u64 = 0x1000;

/// The element in page `n`: its first word leads to the next element, the second is summed up.
fn element(n: u64) -> u64 {
    FIRST + n * 0x1000 + n % 7 * 8
}

/// A list through all pages, which lie in memory as they do in the host, or in reverse; the code at 1000h in a flat segment.
fn machine(reversed: bool, code: &[u8]) -> System {
    let end = FIRST + PAGES * 0x1000;
    let mut mem = PhysMem::new(end, 0).unwrap();
    mem.map(0, FIRST, Target::Pool(0));
    for n in 0..PAGES {
        let place = if reversed { PAGES - 1 - n } else { n };
        mem.map(FIRST + n * 0x1000, 0x1000, Target::Pool(FIRST + place * 0x1000));
    }
    mem.write(CODE, code);
    for n in 0..PAGES {
        let after = if n + 1 < PAGES { element((n * 201 + 201) % PAGES) } else { 0 };
        mem.store(element(n * 201 % PAGES), after | (n + 1) << 32);
    }
    let mut sys = System::new(Model::new(Kind::P6), mem, Bus::new(ClockRate::DEFAULT, 1));
    sys.reset();
    sys.cpu.cr0 |= CR0_PE;
    sys.cpu.set_segment(seg::CS, Segment::from_descriptor(8, 0x0000_FFFF, 0x00CF_9B00));
    for s in [seg::ES, seg::SS, seg::DS] {
        sys.cpu.set_segment(s, Segment::from_descriptor(16, 0x0000_FFFF, 0x00CF_9300));
    }
    sys.cpu.refresh_segments();
    (sys.cpu.rip, sys.cpu.regs[4]) = (CODE, 0xF000);
    sys
}

/// Goes over the list twice, by `step`, with the sum in EAX.
fn twice(step: impl Fn(&mut CodeAssembler) -> Result<(), IcedError>) -> Vec<u8> {
    let mut a = CodeAssembler::new(32).unwrap();
    let mut write = || -> Result<(), IcedError> {
        let (mut again, mut next) = (a.create_label(), a.create_label());
        a.mov(edx, 2)?;
        a.xor(eax, eax)?;
        a.set_label(&mut again)?;
        a.mov(ecx, FIRST as u32)?;
        a.set_label(&mut next)?;
        a.add(eax, dword_ptr(ecx + 4))?;
        step(&mut a)?;
        a.test(ecx, ecx)?;
        a.jne(next)?;
        a.dec(edx)?;
        a.jne(again)?;
        a.hlt()
    };
    write().unwrap();
    a.assemble(CODE).unwrap()
}

fn goes_over_the_list(code: &[u8]) {
    for reversed in [false, true] {
        let mut whole = machine(reversed, code);
        let mut pieces = machine(reversed, code);
        assert_eq!(whole.run(Ticks(100_000)), Stop::Asleep);
        assert_eq!(whole.cpu.regs[0], PAGES * (PAGES + 1), "reversed: {reversed}");
        let mut at = 0;
        while pieces.now() < whole.now() {
            at += 1 + at % 3;
            pieces.run(Ticks(at));
            if at % 401 == 0 {
                let mut other = machine(reversed, code);
                other.run(Ticks(at));
                assert_eq!(other.cpu.regs, pieces.cpu.regs, "tick {at}, reversed: {reversed}");
            }
        }
        assert_eq!((pieces.cpu.regs, pieces.now()), (whole.cpu.regs, whole.now()));
    }
}

#[test]
fn by_its_base() {
    goes_over_the_list(&twice(|a| a.mov(ecx, dword_ptr(ecx))));
}

#[test]
fn by_its_index() {
    goes_over_the_list(&twice(|a| {
        a.shr(ecx, 3)?;
        a.mov(ecx, dword_ptr(ecx * 8))
    }));
}

#[test]
fn a_load_on_the_way_and_one_behind_it() {
    goes_over_the_list(&twice(|a| {
        a.mov(esi, dword_ptr(ecx + 4))?;
        a.mov(ecx, dword_ptr(ecx))?;
        a.mov(edi, esi)
    }));
}

#[test]
fn pages_that_move_while_the_list_is_followed() {
    let mut sys = machine(false, &twice(|a| a.mov(ecx, dword_ptr(ecx))));
    for n in 0..16 {
        sys.run(Ticks(100 + n * 200));
        // A page goes to another place in the host, contents and all.
        let (page, spare) = (FIRST + n * 30 * 0x1000, 0x8_0000 + n * 0x1000);
        let mut bytes = [0; 0x1000];
        sys.mem.read(page, &mut bytes);
        sys.mem.write(page, &[0xCC; 0x1000]);
        sys.mem.map(page, 0x1000, Target::Pool(spare));
        sys.mem.write(page, &bytes);
    }
    assert_eq!(sys.run(Ticks(100_000)), Stop::Asleep);
    assert_eq!(sys.cpu.regs[0], PAGES * (PAGES + 1));
}
