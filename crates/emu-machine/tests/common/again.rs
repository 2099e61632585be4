//! One and the same machine run in several ways, which must all lead to the same states.

use emu_core::timeline::TimelineSettings;
use emu_core::{StateHash, Ticks, Timeline};
use emu_machine::Machine;

const HALF: Ticks = Ticks(60_000_003);
const END: Ticks = Ticks(80_000_009);

/// Runs to `goal` in stretches of `slice` ticks.
fn run(machine: &mut Machine, goal: Ticks, slice: u64) -> StateHash {
    while machine.system.now() < goal {
        let until = machine.system.now().after(slice).min(goal);
        machine.system.run(until);
        machine.system.bus.take_output();
    }
    machine.system.hash()
}

/// A machine at its end, which it reaches by the same states whatever the slices of the run.
pub(crate) fn the_same_in_slices(machine: fn() -> Machine) -> Machine {
    let (mut whole, mut sliced) = (machine(), machine());
    for goal in [Ticks(20_000_001), HALF, END] {
        assert_eq!(run(&mut whole, goal, u64::MAX), run(&mut sliced, goal, 9_973), "at {goal:?}");
    }
    whole
}

/// A recorded run, its replay, and one without any recording are the same, forwards and backwards.
pub(crate) fn the_same_when_replayed(machine: fn() -> Machine) {
    let direct = [HALF, END].map(|goal| run(&mut machine(), goal, 99_991));
    let travel = |timeline: &mut Timeline, machine: &mut Machine| {
        while machine.system.now() < END && timeline.divergence().is_none() {
            timeline.run(&mut machine.system, END);
            machine.system.bus.take_output();
        }
        machine.system.hash()
    };
    let mut recorded = machine();
    let settings = TimelineSettings { spine: true, interval: 1 << 22, ..TimelineSettings::default() };
    let mut timeline = Timeline::new(&mut recorded.system, settings);
    assert_eq!(travel(&mut timeline, &mut recorded), direct[1]);
    timeline.seek(&mut recorded.system, HALF).expect("a tick of the past");
    assert_eq!(recorded.system.hash(), direct[0]);
    assert!(timeline.step_back(&mut recorded.system).expect("a step back"));
    timeline.seek(&mut recorded.system, END).expect("the end");
    assert_eq!(recorded.system.hash(), direct[1]);
    let spine = timeline.take_spine();
    let mut again = machine();
    let mut replay = Timeline::new(&mut again.system, TimelineSettings::default());
    replay.expect(Vec::new(), 0, spine, END);
    assert_eq!(travel(&mut replay, &mut again), direct[1]);
    let (verified, of) = replay.verified();
    assert!(replay.divergence().is_none() && verified == of && of > 10, "{verified} of {of}");
}
