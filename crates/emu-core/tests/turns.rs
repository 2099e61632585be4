//! Several CPUs on small real-mode programs: turns, halts, start-up, code that another CPU writes; and the same states
//! whatever the slicing, saved and loaded in between.

use emu_core::cpu::model::Kind;
use emu_core::cpu::{Activity, Model, Segment, reg, seg};
use emu_core::mem::Target;
use emu_core::{Bus, ClockRate, PhysMem, StateReader, StateWriter, Stop, System, Ticks};
use iced_x86::IcedError;
use iced_x86::code_asm::*;

/// Where a started CPU begins.
const START: u64 = 0x2000;

/// A machine of `cpus` CPUs with 1 MiB of RAM: the first starts at 0000:1000, the others wait for their start-up IPI.
fn machine(cpus: u8, first: &[u8], other: &[u8]) -> System {
    let mut mem = PhysMem::new(0x10_0000, 0).unwrap();
    mem.map(0, 0x10_0000, Target::Pool(0));
    mem.write(0x1000, first);
    mem.write(START, other);
    let mut sys = System::new(Model::new(Kind::P6), mem, Bus::new(ClockRate::DEFAULT, cpus.into()));
    sys.set_cpus(cpus);
    sys.reset();
    sys.each_cpu(|cpu| {
        for s in [seg::ES, seg::CS, seg::SS, seg::DS] {
            cpu.set_segment(s, Segment::real(0));
        }
        cpu.rip = 0x1000;
        cpu.regs[reg::RSP] = 0xF000 - 0x100 * u64::from(cpu.id);
        Ok::<(), ()>(())
    })
    .unwrap();
    sys
}

fn start_others(sys: &mut System) {
    (1..sys.cpu_count() as u8).for_each(|id| sys.bus.cpu_lines(id).sipi = Some((START >> 12) as u8));
}

fn assembled(at: u64, f: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Vec<u8> {
    let mut a = CodeAssembler::new(16).unwrap();
    f(&mut a).unwrap();
    a.assemble(at).unwrap()
}

/// Adds 1 to the word at 8000h `n` times, then halts.
fn adds(at: u64, n: u32) -> Vec<u8> {
    assembled(at, |a| {
        let mut again = a.create_label();
        a.mov(cx, n)?;
        a.xor(bx, bx)?;
        a.mov(ds, bx)?;
        a.set_label(&mut again)?;
        a.lock().add(word_ptr(0x8000), 1)?;
        a.loop_(again)?;
        a.cli()?;
        a.hlt()
    })
}

fn word(sys: &mut System, at: u64) -> u64 {
    sys.load_physical(at, 2)
}

#[test]
fn cpus_that_were_not_started_do_nothing_and_cost_nothing() {
    let run = |cpus| {
        let mut sys = machine(cpus, &adds(0x1000, 3000), &[]);
        assert_eq!(sys.run(Ticks(100_000)), Stop::Asleep);
        (word(&mut sys, 0x8000), sys.cpus().next().map(|cpu| (cpu.rip, cpu.regs)))
    };
    assert_eq!(run(1), run(4));
}

#[test]
fn started_cpus_share_memory_and_the_clock() {
    let mut sys = machine(3, &adds(0x1000, 20_000), &adds(START, 20_000));
    start_others(&mut sys);
    // Three CPUs with two instructions for each addition, and some around them.
    let busy = Ticks(3 * 40_000);
    assert_eq!(sys.run(busy), Stop::Deadline);
    assert!(sys.cpus().any(|cpu| cpu.activity == Activity::Running), "every tick is one CPU's instruction");
    assert_eq!(sys.run(busy + 100), Stop::Asleep);
    assert_eq!(word(&mut sys, 0x8000), 60_000);
    let selectors: Vec<u16> = sys.cpus().map(|cpu| cpu.seg[seg::CS].sel).collect();
    assert_eq!(selectors, [0, 0x200, 0x200]);
}

#[test]
fn states_do_not_depend_on_slices_nor_on_saving() {
    let fresh = || {
        let mut sys = machine(3, &adds(0x1000, 4_000), &adds(START, 3_000));
        start_others(&mut sys);
        sys
    };
    let (mut whole, mut sliced, mut moved) = (fresh(), fresh(), fresh());
    for goal in (1..=24).map(|i| Ticks(i * 997)) {
        whole.run(goal);
        while sliced.now() < goal {
            sliced.run(sliced.now() + 1);
        }
        moved.run(goal);
        let mut w = StateWriter::new();
        moved.save(&mut w);
        moved = fresh();
        moved.load(&mut StateReader::new(&w.into_bytes())).unwrap();
        assert_eq!(whole.hash(), sliced.hash(), "at {goal:?}");
        assert_eq!(whole.hash(), moved.hash(), "at {goal:?}");
    }
    assert!(whole.run(Ticks(100_000)) == Stop::Asleep && word(&mut whole, 0x8000) == 10_000);
}

/// A CPU that waits with PAUSE leaves its turn to the one that it waits for.
#[test]
fn pause_gives_way() {
    let waits = |pause: bool| {
        let first = assembled(0x1000, |a| {
            let mut again = a.create_label();
            a.set_label(&mut again)?;
            if pause {
                a.pause()?;
            }
            a.cmp(word_ptr(0x8000), 5_000)?;
            a.jne(again)?;
            a.cli()?;
            a.hlt()
        });
        let mut sys = machine(2, &first, &adds(START, 5_000));
        start_others(&mut sys);
        while sys.run(sys.now() + 100) != Stop::Asleep {}
        assert_eq!(word(&mut sys, 0x8000), 5_000);
        sys.now().0
    };
    let (with, without) = (waits(true), waits(false));
    assert!(with < 12_000 && without > 17_000, "{with} {without}");
}

/// What one CPU writes into code that another one runs, or has run, holds from its next turn on.
#[test]
fn code_that_another_cpu_writes_is_decoded_anew() {
    // CPU 1 runs at 3000h for ever; CPU 0 waits a while and replaces the constant there.
    let first = assembled(0x1000, |a| {
        let mut again = a.create_label();
        a.mov(cx, 5000)?;
        a.set_label(&mut again)?;
        a.loop_(again)?;
        a.mov(word_ptr(0x3001), 0x2222)?;
        a.cli()?;
        a.hlt()
    });
    // mov ax, 1111h; mov [8000h], ax; jmp 3000h
    let looping = assembled(0x3000, |a| {
        let mut again = a.create_label();
        a.set_label(&mut again)?;
        a.mov(ax, 0x1111)?;
        a.mov(word_ptr(0x8000), ax)?;
        a.jmp(again)
    });
    let mut sys = machine(2, &first, &[]);
    sys.mem.write(0x3000, &looping);
    sys.bus.cpu_lines(1).sipi = Some(3);
    sys.run(Ticks(4_000));
    assert_eq!(word(&mut sys, 0x8000), 0x1111);
    sys.run(Ticks(40_000));
    assert_eq!(word(&mut sys, 0x8000), 0x2222);
}

/// INIT takes a CPU out of its program; what comes before it, or without waiting for it, starts nothing.
#[test]
fn init_stops_a_cpu_and_a_start_up_ipi_starts_it_again() {
    let mut sys = machine(2, &[0xEB, 0xFE], &[0xEB, 0xFE]); // jmp $
    sys.run(Ticks(8_000));
    let activity = |sys: &System| sys.cpus().nth(1).map(|cpu| cpu.activity);
    assert_eq!(activity(&sys), Some(Activity::WaitForSipi));
    start_others(&mut sys);
    sys.run(Ticks(20_000));
    assert_eq!(activity(&sys), Some(Activity::Running));
    sys.bus.cpu_lines(1).init = true;
    sys.run(Ticks(32_000));
    assert_eq!(activity(&sys), Some(Activity::WaitForSipi));
    sys.bus.cpu_lines(1).nmi = true;
    sys.run(Ticks(44_000));
    assert_eq!(activity(&sys), Some(Activity::WaitForSipi), "it takes nothing else");
}

/// A machine with another number of CPUs says so, and does not load half of it in silence.
#[test]
fn states_of_other_machines_are_refused() {
    let saved = |cpus| {
        let mut w = StateWriter::new();
        machine(cpus, &[], &[]).save(&mut w);
        w.into_bytes()
    };
    for (from, to) in [(1, 2), (2, 1), (2, 3)] {
        assert!(machine(to, &[], &[]).load(&mut StateReader::new(&saved(from))).is_err(), "{from} to {to}");
    }
}
