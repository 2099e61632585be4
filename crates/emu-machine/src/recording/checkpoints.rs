//! The checkpoints of a recording: given to a timeline, or gone to at once.

use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};

use emu_core::timeline::{Mark, TimelineSettings};
use emu_core::{StateReader, System, Ticks, Timeline};

use super::frame::{FILE_HEAD, Found, FrameReader, Kind};
use super::reader::{CONTRADICTION, Point, Recording, decode, unpack};
use super::wire::CheckpointPart;
use super::{RecordingError, delta};
use crate::machine::Machine;

/// A state of the machine in the file.
#[derive(Clone, Debug)]
pub(super) struct Checkpoint {
    pub(super) point: Point,
    /// The kind of its frames: whole, or what changed since the one before it.
    kind: Kind,
    /// Where they begin.
    frames: Vec<u64>,
    whole: bool,
}

impl Recording {
    pub(super) fn take_checkpoint(&mut self, kind: Kind, part: &CheckpointPart, at: u64) -> Result<(), &'static str> {
        let point = part.at.point();
        let spine = self.spine.binary_search_by_key(&point.at, |s| s.at).map(|i| self.spine[i].hash);
        if spine.is_ok_and(|hash| hash != point.hash) || kind == Kind::Delta && spine.is_err() {
            return Err(CONTRADICTION);
        }
        if part.part == 0 {
            if kind == Kind::Checkpoint && !self.under_way && self.checkpoints.is_empty() {
                self.advance(point.at.tick.0, point.at.inputs as u64)?;
                self.begin = Some(point.at);
            }
            if self.checkpoints.last().is_some_and(|c| c.point.at > point.at) {
                return Err(CONTRADICTION);
            }
            self.checkpoints.push(Checkpoint { point: point.clone(), kind, frames: Vec::new(), whole: false });
        }
        let checkpoint = self.checkpoints.last_mut().ok_or(CONTRADICTION)?;
        let is_next = checkpoint.kind == kind && checkpoint.frames.len() == part.part as usize;
        if checkpoint.whole || checkpoint.point != point || !is_next {
            return Err(CONTRADICTION);
        }
        checkpoint.frames.push(at);
        checkpoint.whole = part.last;
        Ok(())
    }

    /// Where the file has states that can be gone to at once, but for where the run begins.
    pub fn checkpoints(&self) -> impl Iterator<Item = Mark> {
        self.checkpoints.iter().filter(|c| c.whole).map(|c| c.point.at).filter(|at| *at > self.begin())
    }

    /// Gives `timeline`, which expects this run and has not run, the checkpoints of the file up to `tick`. Returns how many
    /// there were.
    ///
    /// # Errors
    /// [`RecordingError`]: one of them is not what was written; those before it are given.
    pub fn give_checkpoints(
        &self,
        system: &System,
        timeline: &mut Timeline,
        tick: Ticks,
    ) -> Result<usize, RecordingError> {
        let deltas = self.checkpoints.iter().filter(|c| c.kind == Kind::Delta && c.whole && c.point.at.tick <= tick);
        let mut given = 0;
        for checkpoint in deltas {
            let damaged = |what| self.damaged_at(checkpoint, what);
            let packed = self.read_parts(checkpoint).map_err(|e| RecordingError::host(&self.path, &e))?;
            let stored = delta::unpack(&packed, most(system), &checkpoint.point).map_err(damaged)?;
            if !timeline.adopt(system, stored).map_err(damaged)? {
                break; // no memory for more
            }
            given += 1;
        }
        Ok(given)
    }

    /// Puts `machine`, just built, into the last state that the file holds at or before `tick`. Returns where that is; the
    /// start if there is none.
    ///
    /// # Errors
    /// [`RecordingError`]: the state does not load, or is not what its hash says.
    pub fn load_checkpoint(&self, machine: &mut Machine, tick: Ticks) -> Result<Mark, RecordingError> {
        let Some(found) = self.checkpoints.iter().rev().find(|c| c.whole && c.point.at.tick <= tick) else {
            return Ok(self.begin());
        };
        if found.kind == Kind::Checkpoint {
            return self.load(machine, found);
        }
        let system = &mut machine.system;
        let budget = usize::try_from(most(system).saturating_mul(2)).unwrap_or(usize::MAX);
        let mut timeline = Timeline::new(system, TimelineSettings { budget, ..TimelineSettings::default() });
        timeline.expect(self.log.clone(), self.begin().inputs, Vec::new(), self.end.tick);
        self.give_checkpoints(system, &mut timeline, tick)?;
        let failed = |_| self.damaged_at(found, "it is before the run");
        let at = timeline.jump(system, tick).map_err(failed)?;
        if !timeline.take_lies().is_empty() {
            return Err(self.damaged_at(found, "the state that it holds is not what its hash says"));
        }
        timeline.close(system);
        Ok(at)
    }

    pub(super) fn load(&self, machine: &mut Machine, checkpoint: &Checkpoint) -> Result<Mark, RecordingError> {
        let damaged = |what| self.damaged_at(checkpoint, what);
        let packed = self.read_parts(checkpoint).map_err(|e| RecordingError::host(&self.path, &e))?;
        let system = &mut machine.system;
        let bytes = unpack(&packed, most(system)).map_err(damaged)?;
        let loaded = system.load(&mut StateReader::new(&bytes));
        if loaded.is_err() || checkpoint.point.at.inputs > self.log.len() {
            return Err(damaged("the state that it holds does not load"));
        }
        if system.hash_when_saved(&bytes) != checkpoint.point.hash {
            return Err(damaged("the state that it holds is not what its hash says"));
        }
        if system.now() != checkpoint.point.at.tick {
            return Err(damaged("the state that it holds is of another tick"));
        }
        Ok(checkpoint.point.at)
    }

    /// The state that the run begins with, if that is not power-on.
    pub(super) fn first_state(&self) -> Option<&Checkpoint> {
        self.checkpoints.first().filter(|c| c.whole && c.kind == Kind::Checkpoint)
    }

    fn damaged_at(&self, checkpoint: &Checkpoint, what: &'static str) -> RecordingError {
        let at = checkpoint.frames.first().copied().unwrap_or(FILE_HEAD);
        RecordingError::Damaged { path: self.path.clone(), at, what }
    }

    fn read_parts(&self, checkpoint: &Checkpoint) -> std::io::Result<Vec<u8>> {
        let mut file = File::open(&self.path)?;
        let mut packed = Vec::new();
        for &at in &checkpoint.frames {
            file.seek(SeekFrom::Start(at))?;
            let mut frames = FrameReader::new(BufReader::new(&mut file));
            frames.at = at;
            match frames.next()? {
                Found::Frame(Kind::Checkpoint | Kind::Delta, payload) => {
                    let part: CheckpointPart = decode(&payload).map_err(std::io::Error::other)?;
                    packed.extend(part.bytes);
                }
                _ => return Err(std::io::Error::other("the file changes while it is read")),
            }
        }
        Ok(packed)
    }
}

/// Bytes that a state of this machine can have at the most.
fn most(system: &System) -> u64 {
    let volumes: u64 = system.bus.volumes().iter().map(|v| v.sectors().saturating_mul(512)).sum();
    system.mem.pool_len() + volumes.min(64 << 30) + (64 << 20)
}
