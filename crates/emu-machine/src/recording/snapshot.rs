//! Snapshots: one state of a machine in a file, and the past of a running machine as a recording.
//!
//! Both are written in a recording's frames. A snapshot has the start frame, a state at a tick, digests of some blocks of
//! each image, and no run: two snapshots of the same machine at the same tick are the same bytes. What was written to disks
//! under overlays is part of the state.

use std::path::Path;

use emu_core::Ticks;
use emu_core::timeline::Timeline;

use super::reader::{Recording, Tail};
use super::writer::Recorder;
use super::{Form, RecordingError};
use crate::image::open;
use crate::machine::{BuildError, Machine};

/// A snapshot, read: all but the state, which stays in the file.
#[derive(Debug)]
pub struct Snapshot(Recording);

impl Snapshot {
    /// Writes `machine` as it is to `path`. A file is there only when it is whole; another snapshot in its place is replaced.
    ///
    /// # Errors
    /// [`RecordingError`].
    pub fn save(path: &Path, machine: &Machine) -> Result<(), RecordingError> {
        if path.exists() && Form::of_file(path) != Some(Form::Snapshot) {
            return Err(RecordingError::InTheWay { path: path.to_owned(), wanted: Form::Snapshot });
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let part = path.with_file_name(name);
        let host = |e: std::io::Error| RecordingError::host(path, &e);
        let done = write(&part, machine).and_then(|()| std::fs::rename(&part, path).map_err(host));
        if done.is_err() {
            let _ = std::fs::remove_file(&part);
        }
        done
    }

    /// Reads the snapshot at `path`.
    ///
    /// # Errors
    /// [`RecordingError`]: anything that is not a whole snapshot.
    pub fn open(path: &Path) -> Result<Snapshot, RecordingError> {
        let inner = Recording::open_as(path, Form::Snapshot)?;
        match inner.tail() {
            Tail::Whole if inner.begin().tick == inner.end().tick => Ok(Snapshot(inner)),
            Tail::Whole => Err(damaged(path, 0, "it holds no state")),
            Tail::Cut { at } => Err(damaged(path, at, "it was cut off there")),
            Tail::Damaged { at, what } => Err(damaged(path, at, what)),
        }
    }

    /// The tick of the state.
    #[must_use]
    pub fn tick(&self) -> Ticks {
        self.0.begin().tick
    }

    /// The file as a recording without a run.
    #[must_use]
    pub fn recording(&self) -> &Recording {
        &self.0
    }

    /// Builds the machine in the state that was saved.
    ///
    /// # Errors
    /// [`BuildError`]: files or images are missing or have changed, or the state does not load.
    pub fn restore(&self) -> Result<Machine, BuildError> {
        self.0.build()
    }
}

fn damaged(path: &Path, at: u64, what: &'static str) -> RecordingError {
    RecordingError::Damaged { path: path.to_owned(), at, what }
}

fn write(path: &Path, machine: &Machine) -> Result<(), RecordingError> {
    let mut file = Recorder::begin(path, machine, false, Form::Snapshot)?;
    file.sample(machine)?;
    file.end(machine.system.now(), 0)
}

/// Writes the whole past of a running `machine` to `path`, as a recording. The run began at tick `origin`.
///
/// # Errors
/// [`RecordingError`].
pub fn save_past(
    path: &Path,
    machine: &mut Machine,
    timeline: &mut Timeline,
    origin: Ticks,
) -> Result<(), RecordingError> {
    let mark = timeline.mark(&machine.system);
    let refused = |reason: String| RecordingError::Refused(format!("the run can't be saved: {reason}"));
    if timeline.is_past(&machine.system) {
        return Err(refused("it stands in its past".into()));
    }
    let mut file = if origin == Ticks(0) {
        let fresh = || -> Result<Machine, BuildError> {
            let mut fresh = Machine::new(machine.config.clone())?;
            for (medium, spec) in &machine.attached {
                fresh.attach(open(spec, *medium)?.backend, *medium, spec.clone());
            }
            Ok(fresh)
        };
        let fresh = fresh().map_err(|e| refused(e.to_string()))?;
        let mut file = Recorder::begin(path, &fresh, false, Form::Recording)?;
        file.sample(&fresh)?;
        file
    } else {
        // It began with a snapshot: that state is needed again.
        if timeline.log().first().is_some_and(|i| i.0 == origin) {
            return Err(refused("it got an input before it ran".into()));
        }
        timeline.seek(&mut machine.system, origin).map_err(|e| refused(e.to_string()))?;
        let begun = Recorder::begin(path, machine, false, Form::Recording)
            .and_then(|mut file| file.sample(machine).map(|()| file));
        timeline.seek(&mut machine.system, mark.tick).map_err(|e| refused(e.to_string()))?;
        begun?
    };
    file.write_inputs(timeline.log())?;
    if timeline.start() == origin && mark.tick > origin {
        return file.past(timeline, &mut machine.system);
    }
    // The way back does not reach to the start: the state at the end is all that there is.
    file.state_at_end(&machine.system, mark)
}
