//! The profile mode counts exactly, and changes nothing.

use emu_core::cpu::model::Kind;
use emu_core::cpu::{Model, Segment, seg};
use emu_core::mem::Target;
use emu_core::profile::{EVENTS, Event, Profile};
use emu_core::{Bus, ClockRate, PhysMem, System, Ticks};

const START: u64 = 0x1000;

/// A machine in real mode that is about to run `code`.
fn machine(code: &[u8]) -> System {
    let mut mem = PhysMem::new(0x1_0000, 0).expect("memory");
    mem.map(0, 0x1_0000, Target::Pool(0));
    mem.write(START, code);
    let mut sys = System::new(Model::new(Kind::P6), mem, Bus::new(ClockRate::DEFAULT, 1));
    sys.reset();
    for s in [seg::CS, seg::DS, seg::ES, seg::SS] {
        sys.cpu.set_segment(s, Segment::real(0));
    }
    sys.cpu.rip = START;
    sys.cpu.regs[4] = 0x8000;
    sys
}

/// `mov cx, 5; again: call f; loop again; hlt; f: inc ax; call g; ret; g: ret`
const CALLS: &[u8] = &[0xB9, 5, 0, 0xE8, 3, 0, 0xE2, 0xFB, 0xF4, 0x40, 0xE8, 1, 0, 0xC3, 0xC3];

fn profile(code: &[u8], ticks: u64) -> Profile {
    let (mut plain, mut profiled) = (machine(code), machine(code));
    profiled.start_profile();
    for sys in [&mut plain, &mut profiled] {
        // In slices, so that blocks are cut by deadlines.
        for end in (0..=ticks).step_by(7).chain([ticks]) {
            sys.run(Ticks(end));
        }
    }
    let profile = profiled.take_profile().expect("a profile");
    assert!(profiled.take_profile().is_none());
    assert_eq!(plain.hash(), profiled.hash());
    profile
}

fn event(profile: &Profile, event: Event) -> u64 {
    profile.events[EVENTS.iter().position(|e| e.0 == event).expect("an event")]
}

#[test]
fn every_tick_belongs_to_a_block_and_a_function() {
    // mov, 5 times (call, inc, call, ret, ret, loop), hlt, and 9 ticks asleep.
    let p = profile(CALLS, 41);
    assert_eq!((p.ticks, p.halted), (41, 9));
    assert_eq!(p.blocks.iter().map(|b| b.ticks).sum::<u64>(), 32);
    assert_eq!(p.calls.iter().map(|n| n.ticks).sum::<u64>(), 32);
    let of = |function: u64| p.calls.iter().filter(|n| n.function == function).map(|n| n.ticks).sum::<u64>();
    assert_eq!((of(0), of(START + 9), of(START + 14)), (12, 15, 5));
    let g = p.calls.iter().find(|n| n.function == START + 14).expect("g");
    assert_eq!(p.calls[g.parent as usize].function, START + 9);
}

#[test]
fn repetitions_belong_to_their_block() {
    // mov cx, 100; cld; rep stosb; again: jmp again
    let p = profile(&[0xB9, 100, 0, 0xFC, 0xF3, 0xAA, 0xEB, 0xFE], 202);
    assert_eq!(p.blocks.iter().map(|b| b.ticks).sum::<u64>(), 202);
    let jump = p.blocks.iter().find(|b| b.linear == START + 6).expect("the jump's block");
    assert_eq!((jump.ticks, jump.bytes.as_ref()), (100, &[0xEB, 0xFE][..]));
    assert_eq!(event(&p, Event::Changed), 0);
}

#[test]
fn code_that_changes_is_told_apart() {
    // again: inc byte [target + 1]; target: mov al, 0; jmp again
    let code = [0xFE, 0x06, 0x05, 0x10, 0xB0, 0, 0xEB, 0xF8];
    let p = profile(&code, 30);
    assert!(event(&p, Event::Built) > 5, "{:?}", p.events);
    let targets = p.blocks.iter().filter(|b| b.bytes.contains(&0xB0)).count();
    assert!(targets > 5, "each version is a block: {targets}");
}
