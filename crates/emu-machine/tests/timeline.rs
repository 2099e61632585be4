//! Jumps in time over a whole guest: any order of them, with keys at random ticks and a disk that is written, gives the
//! states of a run that never jumped.

mod common;

use common::{pc_with_floppy, shared_guest};
use emu_core::timeline::TimelineSettings;
use emu_core::{Input, StateHash, Ticks, Timeline};
use emu_machine::Machine;
use emu_machine::config::MachineConfig;
use emu_machine::keys::{KeyStep, parse_keys, strokes};

/// Numbers that are the same in every run: xorshift [Marsaglia 2003].
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

/// When FreeDOS is at its prompt, and when the run ends.
const PROMPT: u64 = 300_000_000;
const END: u64 = 900_000_000;

/// A command that writes to the diskette, and keys at random between them.
fn inputs(numbers: &mut Numbers) -> Vec<(u64, Input)> {
    let mut log = Vec::new();
    let mut tick = PROMPT;
    for step in parse_keys("echo hello >a.txt<enter>dir<enter>copy a.txt b.txt<enter>").expect("keys") {
        if let KeyStep::Press(chord) = step {
            for key in strokes(&chord) {
                tick += 1_200_000 + numbers.below(1_500_000);
                log.push((tick, key));
            }
        }
    }
    assert!(tick < END);
    log
}

fn straight(config: &MachineConfig, log: &[(u64, Input)], ticks: &[u64]) -> Vec<StateHash> {
    let mut machine = Machine::new(config.clone()).expect("a machine");
    let mut rest = log.iter().peekable();
    let run_to = |machine: &mut Machine, tick: u64| {
        while machine.system.now() < Ticks(tick) {
            machine.system.run(Ticks(tick));
            machine.system.bus.take_output();
        }
    };
    let mut hashes = Vec::new();
    for &tick in ticks {
        while let Some((at, input)) = rest.next_if(|i| i.0 <= tick) {
            run_to(&mut machine, *at);
            machine.system.input(input);
        }
        run_to(&mut machine, tick);
        hashes.push(machine.system.hash());
    }
    hashes
}

#[test]
fn freedos_is_the_same_in_any_order() {
    let Some(image) = shared_guest("freedos/fd1.4MB.img") else { return };
    let config = pc_with_floppy(&image);
    let mut numbers = Numbers(0x1234_5678_9ABC_DEF1);
    let log = inputs(&mut numbers);
    // Ticks all over the run, and just before and behind inputs.
    let jumps: Vec<u64> = (0..24)
        .map(|i| match i % 3 {
            0 => numbers.below(END),
            1 => log[numbers.below(log.len() as u64) as usize].0 - numbers.below(2),
            _ => PROMPT + numbers.below(END - PROMPT),
        })
        .collect();
    let mut ticks = jumps.clone();
    ticks.push(END);
    ticks.sort_unstable();
    ticks.dedup();
    let hashes = straight(&config, &log, &ticks);
    let hash_at = |tick: u64| hashes[ticks.binary_search(&tick).expect("a tick of the list")];

    let mut machine = Machine::new(config).expect("a machine");
    let system = &mut machine.system;
    let mut timeline = Timeline::new(system, TimelineSettings { interval: 40_000_000, ..TimelineSettings::default() });
    for (tick, input) in &log {
        while system.now() < Ticks(*tick) {
            timeline.run(system, Ticks(*tick));
            system.bus.take_output();
        }
        timeline.input(system, input.clone());
    }
    while system.now() < Ticks(END) {
        timeline.run(system, Ticks(END));
        system.bus.take_output();
    }
    assert_eq!(system.hash(), hash_at(END));
    assert!(system.bus.volumes()[0].drive().changed(), "the diskette was written");
    for tick in jumps {
        timeline.seek(system, Ticks(tick)).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(system.hash(), hash_at(tick), "at {tick}");
    }
    timeline.seek(system, Ticks(END)).expect("the end");
    assert_eq!(system.hash(), hash_at(END));
}
