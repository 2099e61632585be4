//! The last instructions of a machine that died, found by running it once more.
//!
//! Keeping them as they run would cost every block something. But a run can be repeated exactly: a second machine of the
//! same configuration gets the same inputs at the same ticks, and its last stretch is gone through tick by tick.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use emu_core::cpu::{Activity, seg};
use emu_core::{Input, Stop, System, Ticks};

use crate::Machine;
use crate::config::MachineConfig;
use crate::image::Mode;

/// How many instructions are kept.
const KEPT: usize = 24;
/// Ticks before the death from which on the machine is looked at after each: enough for iterations and deliveries between
/// the instructions.
const CLOSE: u64 = 4096;
/// The longest instruction [SDM-2 2.3.11].
const LONGEST: u64 = 15;

/// An instruction that ran, or faulted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Retraced {
    /// The tick before it.
    pub(super) tick: u64,
    /// Its place.
    pub(super) cs: u16,
    /// See `cs`.
    pub(super) rip: u64,
    /// Its bytes, and some behind it.
    pub(super) bytes: Vec<u8>,
    /// 16, 32 or 64.
    pub(super) bitness: u32,
    /// How often it ran in a row.
    pub(super) times: u64,
}

/// The last instructions of a machine that died after it got `inputs`, oldest first. `None` if they can't be found: what
/// the guest wrote into an image's own file can't be taken back, a medium that somebody put in may have changed since, or
/// repeating the run would take more than `patience`.
#[must_use]
pub(super) fn retrace(dead: &Machine, inputs: &[(Ticks, Input)], patience: Duration) -> Option<Vec<Retraced>> {
    let started = Instant::now();
    let halt = dead.system.last_halt().filter(|_| dead.is_halted_for_good());
    let died = halt.map_or(dead.system.now(), |before| before + 1);
    if !can_be_repeated(&dead.config, inputs) {
        return None;
    }
    let mut again = Machine::new(dead.config.clone()).ok()?;
    let close = Ticks(died.0.saturating_sub(CLOSE));
    let mut inputs = inputs.iter().take_while(|(tick, _)| *tick < died).peekable();
    while again.system.now() < close {
        let next = inputs.peek().map_or(close, |(tick, _)| (*tick).min(close));
        go_to(&mut again, next, || started.elapsed() < patience)?;
        while let Some((_, input)) = inputs.next_if(|(tick, _)| *tick <= again.system.now()) {
            again.system.input(input);
        }
    }
    let mut last = VecDeque::new();
    while again.system.now() < died && started.elapsed() < patience {
        note(&mut again.system, &mut last);
        let stop = again.system.run(again.system.now() + 1);
        again.system.bus.take_output();
        while let Some((_, input)) = inputs.next_if(|(tick, _)| *tick <= again.system.now()) {
            again.system.input(input);
        }
        if stop == Stop::TripleFault {
            if again.shutdown_code() == 0 {
                break;
            }
            again.system.bus.cpu_lines(0).reset = true;
        }
        if again.is_halted_for_good() {
            break;
        }
    }
    let (a, b) = (&again.system.cpu, &dead.system.cpu);
    ((a.rip, a.regs, a.activity) == (b.rip, b.regs, b.activity)).then(|| last.into())
}

fn can_be_repeated(config: &MachineConfig, inputs: &[(Ticks, Input)]) -> bool {
    let images = config.floppies.iter().chain(&config.cdroms).flatten().chain(&config.disks);
    images.into_iter().all(|i| i.mode != Mode::Write) && !inputs.iter().any(|i| matches!(i.1, Input::Insert { .. }))
}

/// Runs to `tick`, in stretches between which `go_on` is asked.
fn go_to(machine: &mut Machine, tick: Ticks, go_on: impl Fn() -> bool) -> Option<()> {
    let stretch = machine.rate().hz();
    while machine.system.now() < tick {
        if !go_on() {
            return None;
        }
        let until = machine.system.now().after(stretch).min(tick);
        if machine.system.run(until) == Stop::TripleFault {
            machine.system.bus.cpu_lines(0).reset = true;
        }
        machine.system.bus.take_output();
    }
    Some(())
}

/// Notes the instruction that is next.
fn note(system: &mut System, last: &mut VecDeque<Retraced>) {
    let cpu = &system.cpu;
    if cpu.activity != Activity::Running {
        return;
    }
    let (cs, base, rip, bitness) = (cpu.seg[seg::CS].sel, cpu.seg[seg::CS].base, cpu.rip, cpu.mode.bitness());
    match last.back_mut() {
        Some(same) if (same.cs, same.rip, same.bitness) == (cs, rip, bitness) => same.times += 1,
        _ => {
            let start = if bitness == 64 { rip } else { base.wrapping_add(rip) };
            let byte = |i| {
                let pa = system.peek_translation(system.wrap_linear(start.wrapping_add(i)))?;
                Some(system.mem.load::<u8>(pa))
            };
            let bytes = (0..LONGEST).map_while(byte).collect();
            last.push_back(Retraced { tick: system.now().0, cs, rip, bytes, bitness, times: 1 });
            if last.len() > KEPT {
                last.pop_front();
            }
        }
    }
}
