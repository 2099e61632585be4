//! Why a replay was not its recording: the stretch in which they part is run twice more, once as before, and once with every
//! instruction executed from its decoded form. Both must come to the same (docs/adr/0003). Where they do not, the first step
//! that differs is found. Where both are again what the replay was, it was another emu that recorded: only that one knows
//! the step, but the recording may have a state behind it.

use emu_core::timeline::{Divergence, Mark};
use emu_core::{StateHash, System, Timeline};
use emu_machine::recording::Recording;
use emu_machine::{Machine, describe_registers};

use crate::run::exit::Failure;
use crate::sides::{Side, everything, report, tell_of};

type Line<'a> = &'a dyn Fn(&str);

/// Says all that can be known of `d`, which the replay's machine, that stands there, has come to.
pub(crate) fn explain(recording: &Recording, machine: &mut Machine, timeline: &mut Timeline, d: &Divergence) {
    let line = |text: &str| say!("emu: {text}");
    let Some(good) = d.good else {
        // Already the first point differs: it is told as the machine is.
        return ask_the_other(recording, &line);
    };
    if good.tick == d.expected.at.tick {
        return line(&format!("it is input {} that made the difference", good.inputs));
    }
    if let Err(e) = look_again(recording, (machine, timeline), d, good, &line) {
        line(&format!("why, can't be told: {}", e.message));
        ask_the_other(recording, &line);
    }
}

fn ask_the_other(recording: &Recording, line: Line<'_>) {
    let by = recording.recorded_by();
    line(&format!("the step that did it: emu bisect FILE --emu PROGRAM, with the emu {by} that recorded"));
}

fn look_again(
    recording: &Recording,
    (machine, timeline): (&mut Machine, &mut Timeline),
    d: &Divergence,
    good: Mark,
    line: Line<'_>,
) -> Result<(), Failure> {
    let (first, point) = (Seen::of(&machine.system), &d.expected);
    timeline.stop_comparing();
    timeline.seek(&mut machine.system, good.tick).map_err(Failure::host)?;
    let fork = timeline.fork(&machine.system);
    let again = Side::forked("handlers", &fork, recording, point)?;
    let mut sides = [again, Side::forked("decoded forms", &fork, recording, point)?.decoded()];
    drop(fork);
    let (from, to) = (good.tick.0, point.at.tick.0);
    let [again, decoded] = [sides[0].hash_at(point)?, sides[1].hash_at(point)?];
    let as_recorded = |hash: StateHash| if hash == point.hash { "as recorded" } else { "not as recorded" };
    if again != decoded {
        line(&format!(
            "from tick {from} to {to} two ways through this emu's engine give two machines; please report it:"
        ));
        line(&format!("  handlers: {}; decoded forms: {}", as_recorded(again), as_recorded(decoded)));
        return report(&mut sides, (good.tick, point.at.tick), everything, line).map(|_| ());
    }
    if again == point.hash {
        line(&format!(
            "run again from tick {from}, it is what was recorded: the first time something went wrong that does"
        ));
        line("not come again, in the host's memory or in what this emu kept from before; please report it:");
        first.tell_beside(&sides[0].machine.system, line);
        return Ok(());
    }
    let same = if again == d.found { "the same as before" } else { "neither the same as before nor as recorded" };
    line(&format!("run again from tick {from}, both ways through the engine give {same}: another emu has recorded it"));
    let [mut side, _] = sides;
    recorded_state(recording, &mut side, point.at, line)?;
    ask_the_other(recording, line);
    Ok(())
}

/// Tells both states at the first point from `at` on for which the file has one.
fn recorded_state(recording: &Recording, side: &mut Side, at: Mark, line: Line<'_>) -> Result<(), Failure> {
    let Some(there) = recording.checkpoints().find(|c| *c >= at) else {
        line("the file has no state behind that: what the recorded machine was is not known");
        return Ok(());
    };
    let mut recorded = recording.build()?;
    match recording.load_checkpoint(&mut recorded, there.tick) {
        Ok(found) if found == there => {}
        _ => {
            line(&format!("the file's state at tick {} is none that this emu could make", there.tick.0));
            return Ok(());
        }
    }
    side.go(there.tick)?;
    line(&format!("at tick {}, of which the file has the state:", there.tick.0));
    tell_of([("recorded", &recorded.system), ("now", &side.machine.system)], line);
    Ok(())
}

/// What a machine was that is no more.
struct Seen {
    parts: Vec<(String, StateHash)>,
    registers: String,
}

impl Seen {
    fn of(system: &System) -> Seen {
        Seen { parts: system.part_hashes(), registers: describe_registers(system) }
    }

    fn tell_beside(&self, now: &System, line: Line<'_>) {
        let parts = now.part_hashes();
        let differing = self.parts.iter().zip(&parts).filter(|(a, b)| a != b).map(|(a, _)| a.0.as_str());
        line(&format!("then differ: {}", differing.collect::<Vec<_>>().join(", ")));
        line(&format!("  the first time: {}", self.registers));
        line(&format!("  now: {}", describe_registers(now)));
    }
}
