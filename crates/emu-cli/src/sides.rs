//! Two runs side by side: the first step that makes them differ, both states behind it, and what of the machines differs.

use emu_core::timeline::{Fork, SpinePoint, TimelineSettings};
use emu_core::{StateHash, StateReader, System, Ticks, Timeline};
use emu_machine::recording::Recording;
use emu_machine::{Machine, describe_next, describe_registers};

use crate::run::exit::{DIFFERENT, DIVERGED, Failure, describe_divergence};

/// One of the two runs.
pub(crate) struct Side {
    pub(crate) name: String,
    pub(crate) machine: Machine,
    pub(crate) timeline: Timeline,
}

/// What is compared of a machine.
pub(crate) type Look = fn(&System) -> u128;

/// The whole state.
pub(crate) fn everything(system: &System) -> u128 {
    system.hash().0
}

impl Side {
    pub(crate) fn new(name: String, mut machine: Machine, recording: &Recording) -> Side {
        let mut timeline = Timeline::new(&mut machine.system, TimelineSettings::default());
        // The spine is not compared: another machine need not be the recorded one.
        timeline.expect(recording.log().to_vec(), recording.begin().inputs, Vec::new(), recording.end().tick);
        Side { name, machine, timeline }
    }

    /// A machine that goes on from `fork` to `point`, and no farther.
    pub(crate) fn forked(name: &str, fork: &Fork, recording: &Recording, point: &SpinePoint) -> Result<Side, Failure> {
        let mut machine = recording.build()?;
        let system = &mut machine.system;
        system
            .load(&mut StateReader::new(&fork.state))
            .map_err(|e| Failure::host(format!("the machine's state: {e}")))?;
        let mut timeline = Timeline::new(system, TimelineSettings::default());
        timeline.expect(recording.log().to_vec(), fork.at.inputs, vec![point.clone()], recording.end().tick);
        Ok(Side { name: name.into(), machine, timeline })
    }

    /// Has every instruction run from its decoded form from now on.
    pub(crate) fn decoded(mut self) -> Side {
        self.machine.system.use_handlers(false);
        self
    }

    /// Goes to the point that it was made for, and says what the machine is there.
    pub(crate) fn hash_at(&mut self, point: &SpinePoint) -> Result<StateHash, Failure> {
        let gone = self.timeline.seek(&mut self.machine.system, point.at.tick);
        let found = self.timeline.divergence().map(|d| d.found);
        self.timeline.stop_comparing();
        match (found, gone) {
            (Some(hash), _) => Ok(hash),
            (None, Ok(())) => Ok(point.hash),
            (None, Err(e)) => Err(Failure::host(format!("{}: {e}", self.name))),
        }
    }

    pub(crate) fn go(&mut self, tick: Ticks) -> Result<(), Failure> {
        self.timeline.seek(&mut self.machine.system, tick).map_err(|e| match self.timeline.divergence() {
            Some(d) => Failure { message: describe_divergence(d), code: DIVERGED },
            None => Failure::host(format!("{}: {e}", self.name)),
        })
    }
}

fn both([a, b]: &mut [Side; 2], tick: Ticks, look: Look) -> Result<bool, Failure> {
    a.go(tick)?;
    b.go(tick)?;
    Ok(look(&a.machine.system) == look(&b.machine.system))
}

/// Narrows down where the runs part, between a tick where they are the same and one where they may differ, and tells;
/// returns the exit code.
pub(crate) fn report(
    sides: &mut [Side; 2],
    (mut same, mut differs): (Ticks, Ticks),
    look: Look,
    line: &dyn Fn(&str),
) -> Result<u8, Failure> {
    if !both(sides, same, look)? {
        line(&format!("they differ from the start, tick {}, on", same.0));
        tell(sides, line);
        return Ok(DIFFERENT);
    }
    if both(sides, differs, look)? {
        line(&format!("the same up to tick {}", differs.0));
        return Ok(0);
    }
    while differs.since(same) > 1 {
        let half = Ticks(same.0 + differs.since(same) / 2);
        *(if both(sides, half, look)? { &mut same } else { &mut differs }) = half;
    }
    both(sides, same, look)?;
    line(&format!("the same up to tick {}; the next step makes the difference:", same.0));
    for side in sides.iter_mut() {
        let next = describe_next(&mut side.machine.system);
        line(&format!("  {}: {next}", side.name));
    }
    both(sides, differs, look)?;
    tell(sides, line);
    Ok(DIFFERENT)
}

/// Tells what of the machines differs where they stand.
fn tell([a, b]: &[Side; 2], line: &dyn Fn(&str)) {
    tell_of([(&a.name, &a.machine.system), (&b.name, &b.machine.system)], line);
}

/// Tells what of two machines differs, line by line.
pub(crate) fn tell_of(machines: [(&str, &System); 2], line: &dyn Fn(&str)) {
    let [(_, a), (_, b)] = machines;
    let (x, y) = (a.part_hashes(), b.part_hashes());
    let differing: Vec<&str> = x.iter().zip(&y).filter(|(x, y)| x != y).map(|n| n.0.0.as_str()).collect();
    line(&format!("then differ: {}", if differing.is_empty() { "nothing".into() } else { differing.join(", ") }));
    for (name, system) in machines {
        let next = describe_registers(system);
        line(&format!("  {name}: {next}"));
    }
    let (m, n) = (&a.mem, &b.mem);
    let len = m.pool_len().min(n.pool_len());
    let page = (0..len / 4096).map(|p| p * 4096).find(|&p| m.pool(p, 4096) != n.pool(p, 4096));
    if let Some(page) = page {
        let (x, y) = (m.pool(page, 4096), n.pool(page, 4096));
        if let Some(at) = x.iter().zip(y).position(|(x, y)| x != y) {
            let at = page + at as u64;
            line(&format!("  memory at {at:#x}: {:02x}, and {:02x}", m.pool(at, 1)[0], n.pool(at, 1)[0]));
        }
    }
}
