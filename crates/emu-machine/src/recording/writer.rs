//! Writing a recording while the machine runs.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use emu_core::timeline::{Mark, SpinePoint, Stored, Timeline};
use emu_core::volume::UsedBlock;
use emu_core::{Input, StateWriter, System, Ticks};
use serde::Serialize;

use super::frame::{FILE_HEAD, Kind, write_frame};
use super::wire::{
    Attach, Blocks, CheckpointPart, Contents, DriveKind, FilePart, Inputs, Progress, Spine, Start, WireDrive, WireFile,
    WireImage, WireInput, WireMachine, digest, files_of,
};
use super::{Form, RecordingError, delta};
use crate::config::MachineConfig;
use crate::image::{ImageSpec, Medium, Mode, Parents};
use crate::machine::Machine;

/// Host time between two writes: what a crash can lose.
const FLUSH: Duration = Duration::from_millis(500);
/// Blocks in a frame of contents; bytes in a part of a file or a checkpoint; inputs in a frame.
const BLOCKS: usize = 256;
const PART: usize = 1 << 20;
const BATCH: usize = 4096;
/// Bytes of a file that checkpoints on the way may take, about; and of how many checkpoints of the timeline one goes into
/// the file, until half of that is used. From there on half as many, until half of the rest is used, and so on.
const CHECKPOINTS: u64 = 64 << 20;
const ONE_OF: u64 = 4;
/// zstd's fastest ordinary level.
const LEVEL: i32 = 1;

/// A recording that is being written.
#[derive(Debug)]
pub struct Recorder {
    file: File,
    path: PathBuf,
    /// Where the next frame goes.
    at: u64,
    next_flush: Instant,
    /// Inputs that are written.
    inputs: usize,
    /// The last progress that is written.
    progress: (u64, usize),
    /// For each volume, whether its blocks' contents are packed.
    packed: Vec<bool>,
    embed: bool,
    /// Bytes that checkpoints have taken.
    checkpoints: u64,
    /// The last point of the spine that is written.
    spine: Option<Mark>,
}

impl Recorder {
    /// Begins the recording of `machine`, which has not run yet (or not since it was restored), in the file at `path`. With
    /// `embed` it brings the disk blocks that the run uses, and the machine's files.
    ///
    /// # Errors
    /// [`RecordingError`]: what can't be recorded is named.
    pub fn create(path: &Path, machine: &Machine, embed: bool) -> Result<Recorder, RecordingError> {
        let recorder = Recorder::begin(path, machine, embed, Form::Recording)?;
        machine.system.bus.volumes().iter().for_each(|v| v.note_uses());
        Ok(recorder)
    }

    /// Writes everything up to where the run begins.
    pub(super) fn begin(path: &Path, machine: &Machine, embed: bool, form: Form) -> Result<Recorder, RecordingError> {
        refuse_what_cannot(machine, embed, form)?;
        let sectors: Vec<u64> = machine.system.bus.volumes().iter().map(|v| v.sectors()).collect();
        let drives = drives_of(&machine.config, &sectors, embed);
        let files = files_of(&machine.config);
        let read = |p: &Path| match machine.config.packed.files.get(p) {
            Some(bytes) => Ok(bytes.to_vec()),
            None => std::fs::read(p).map_err(|e| RecordingError::host(p, &e)),
        };
        let contents: Vec<Vec<u8>> = files.iter().map(|(_, p)| read(p)).collect::<Result<_, _>>()?;
        let is_packed = |path: &Path| embed || machine.config.packed.files.contains_key(path);
        let described = files.iter().zip(&contents).map(|((role, path), bytes)| WireFile {
            role: *role,
            path: absolute(path),
            size: bytes.len() as u64,
            digest: digest(bytes),
            packed: is_packed(path),
        });
        let start = Start {
            emu: env!("CARGO_PKG_VERSION").into(),
            machine: WireMachine::of(&machine.config),
            files: described.collect(),
            drives,
        };
        let packed: Vec<bool> = start.drives.iter().filter_map(|d| d.image.as_ref()).map(|i| i.packed).collect();
        let mut file = create_file(path, form)?;
        let mut head = form.magic().to_vec();
        head.extend_from_slice(&super::VERSION.to_le_bytes());
        file.write_all(&head).map_err(|e| RecordingError::host(path, &e))?;
        let mut recorder = Recorder {
            file,
            path: path.to_owned(),
            at: FILE_HEAD,
            next_flush: Instant::now() + FLUSH,
            inputs: 0,
            progress: (0, 0),
            packed,
            embed,
            checkpoints: 0,
            spine: None,
        };
        recorder.frame(Kind::Start, &start)?;
        for (number, ((_, path), bytes)) in files.iter().zip(&contents).enumerate() {
            if is_packed(path) {
                recorder.pack_file(number as u32, bytes)?;
            }
        }
        let attached = machine.attached.iter().zip(&sectors[sectors.len() - machine.attached.len()..]);
        for ((medium, spec), sectors) in attached {
            recorder.attach_frame(machine, *medium, spec, *sectors)?;
        }
        let now = machine.system.now();
        if now.0 > 0 {
            recorder.state(&machine.system, Mark { tick: now, inputs: 0 })?;
        }
        Ok(recorder)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes that an image was attached while the machine ran, the last one of the machine.
    ///
    /// # Errors
    /// [`RecordingError`].
    pub fn attach(&mut self, machine: &Machine) -> Result<(), RecordingError> {
        let volumes = machine.system.bus.volumes();
        let (Some(volume), Some((medium, spec))) = (volumes.last(), machine.attached.last()) else { return Ok(()) };
        self.attach_frame(machine, *medium, spec, volume.sectors())?;
        volume.note_uses();
        Ok(())
    }

    fn attach_frame(
        &mut self,
        machine: &Machine,
        medium: Medium,
        spec: &ImageSpec,
        sectors: u64,
    ) -> Result<(), RecordingError> {
        let kind = if medium == Medium::Cd { DriveKind::Cd } else { DriveKind::Floppy };
        let packed = self.embed || spec.mode == Mode::Write;
        let image = image_of(&machine.config, spec, sectors, kind, packed);
        self.packed.push(image.packed);
        self.frame(Kind::Attach, &Attach { kind, image })
    }

    /// Writes what has come, if it is time.
    ///
    /// # Errors
    /// [`RecordingError`]; then the file ends with the last whole frame, and nothing more is to be written.
    pub fn poll(&mut self, timeline: &mut Timeline, system: &System) -> Result<(), RecordingError> {
        let now = Instant::now();
        if now < self.next_flush {
            return Ok(());
        }
        self.next_flush = now + FLUSH;
        self.write_news(timeline, system)
    }

    /// Ends the recording, with a checkpoint of the machine as it is.
    ///
    /// # Errors
    /// [`RecordingError`].
    pub fn finish(mut self, timeline: &mut Timeline, system: &mut System) -> Result<(), RecordingError> {
        if !timeline.store_end(system) {
            self.write_news(timeline, system)?;
            return self.state_at_end(system, timeline.mark(system));
        }
        self.write_news(timeline, system)?;
        let at = timeline.mark(system);
        self.end(at.tick, at.inputs as u64)
    }

    /// Writes the end of a run that was not recorded as it went, with checkpoints of its past.
    pub(super) fn past(&mut self, timeline: &mut Timeline, system: &mut System) -> Result<(), RecordingError> {
        let at = timeline.mark(system);
        timeline.store_past(system, ONE_OF as usize).iter().try_for_each(|stored| self.delta(stored))?;
        self.end(at.tick, at.inputs as u64)
    }

    fn point(&mut self, point: &SpinePoint) -> Result<(), RecordingError> {
        self.spine = Some(point.at);
        self.frame(Kind::Spine, &Spine::of(point))
    }

    fn delta(&mut self, stored: &Stored) -> Result<(), RecordingError> {
        let before = self.at;
        let packed = delta::pack(stored).map_err(|e| RecordingError::host(&self.path, &e))?;
        let point = SpinePoint { at: stored.at, hash: stored.hash, parts: Vec::new() };
        if self.spine.is_none_or(|last| last < point.at) {
            self.point(&point)?;
        }
        self.parts(Kind::Delta, &Spine::of(&point), &packed)?;
        self.checkpoints += self.at - before;
        Ok(())
    }

    fn write_checkpoints(&mut self, timeline: &mut Timeline) -> Result<(), RecordingError> {
        timeline.take_stored().iter().try_for_each(|stored| self.delta(stored))?;
        let left = CHECKPOINTS.saturating_sub(self.checkpoints);
        let halvings = CHECKPOINTS.checked_div(left).map_or(63, u64::ilog2);
        timeline.store_one_of(ONE_OF.saturating_mul(1 << halvings));
        Ok(())
    }

    pub(super) fn state_at_end(&mut self, system: &System, at: Mark) -> Result<(), RecordingError> {
        let point =
            Spine { tick: at.tick.0, inputs: at.inputs as u64, hash: system.hash().0.to_le_bytes(), parts: vec![] };
        self.frame(Kind::Spine, &point)?;
        self.state(system, at)?;
        self.end(at.tick, point.inputs)
    }

    /// Writes the end of the run.
    pub(super) fn end(&mut self, tick: Ticks, inputs: u64) -> Result<(), RecordingError> {
        self.frame(Kind::End, &Progress { tick: tick.0, inputs })
    }

    /// Writes the machine's state.
    fn state(&mut self, system: &System, at: Mark) -> Result<(), RecordingError> {
        let mut w = StateWriter::new();
        system.save(&mut w);
        let hash = system.hash().0.to_le_bytes();
        let at = Spine { tick: at.tick.0, inputs: at.inputs as u64, hash, parts: Vec::new() };
        self.parts(Kind::Checkpoint, &at, &compress(&w.into_bytes()))
    }

    fn parts(&mut self, kind: Kind, at: &Spine, packed: &[u8]) -> Result<(), RecordingError> {
        for (part, bytes) in packed.chunks(PART).enumerate() {
            let last = (part + 1) * PART >= packed.len();
            let part = CheckpointPart { at: at.clone(), part: part as u32, last, bytes: bytes.to_vec() };
            self.frame(kind, &part)?;
        }
        Ok(())
    }

    /// Notes some blocks of each volume, so that another image in its place is found out; of packed ones, all blocks.
    /// `start` is a machine whose images are as they were where the run begins.
    pub(super) fn sample(&mut self, start: &Machine) -> Result<(), RecordingError> {
        for (number, volume) in start.system.bus.volumes().iter().enumerate() {
            let blocks = volume.sectors().div_ceil(8);
            let numbers: BTreeSet<u64> = if self.packed.get(number) == Some(&true) {
                (0..blocks).collect()
            } else {
                (0..16.min(blocks)).chain((0..48).map(|i| i * blocks / 48)).collect()
            };
            // Of a packed image not all blocks are known, nor used.
            let used = numbers.into_iter().filter_map(|n| Some(UsedBlock { number: n, bytes: volume.block(n).ok()? }));
            self.write_blocks(number, &used.collect::<Vec<_>>())?;
        }
        Ok(())
    }

    pub(super) fn write_inputs(&mut self, log: &[(Ticks, Input)]) -> Result<(), RecordingError> {
        for list in log.chunks(BATCH) {
            let mut last = 0;
            let wire = list.iter().map(|(tick, input)| {
                let since = tick.0 - core::mem::replace(&mut last, tick.0);
                (since, WireInput::of(input))
            });
            let inputs = Inputs { first: self.inputs as u64, list: wire.collect() };
            self.frame(Kind::Inputs, &inputs)?;
            self.inputs += list.len();
        }
        Ok(())
    }

    pub(super) fn write_news(&mut self, timeline: &mut Timeline, system: &System) -> Result<(), RecordingError> {
        for (number, volume) in system.bus.volumes().iter().enumerate() {
            self.write_blocks(number, &volume.take_used())?;
        }
        let mark = timeline.mark(system);
        self.write_inputs(&timeline.log()[self.inputs..mark.inputs])?;
        for point in timeline.take_spine() {
            self.point(&point)?;
        }
        self.write_checkpoints(timeline)?;
        if self.progress != (mark.tick.0, mark.inputs) {
            self.progress = (mark.tick.0, mark.inputs);
            self.frame(Kind::Progress, &Progress { tick: mark.tick.0, inputs: mark.inputs as u64 })?;
        }
        Ok(())
    }

    fn write_blocks(&mut self, number: usize, used: &[UsedBlock]) -> Result<(), RecordingError> {
        let volume = number as u32;
        for blocks in used.chunks(BLOCKS) {
            let list = blocks.iter().map(|b| (b.number, digest(&b.bytes))).collect();
            self.frame(Kind::Blocks, &Blocks { volume, list })?;
            if self.packed.get(number) == Some(&true) {
                let numbers = blocks.iter().map(|b| b.number).collect();
                let mut bytes = Vec::new();
                for b in blocks {
                    let end = bytes.len() + emu_core::volume::BLOCK_SIZE;
                    bytes.extend_from_slice(&b.bytes);
                    bytes.resize(end, 0);
                }
                self.frame(Kind::Contents, &Contents { volume, numbers, bytes: compress(&bytes) })?;
            }
        }
        Ok(())
    }

    fn pack_file(&mut self, file: u32, bytes: &[u8]) -> Result<(), RecordingError> {
        let bytes = compress(bytes);
        bytes.chunks(PART).try_for_each(|b| self.frame(Kind::File, &FilePart { file, bytes: b.to_vec() }))
    }

    fn frame(&mut self, kind: Kind, value: &impl Serialize) -> Result<(), RecordingError> {
        let failed = |path: &Path, reason: String| RecordingError::Host { path: path.to_owned(), reason };
        let payload = postcard::to_allocvec(value).map_err(|e| failed(&self.path, e.to_string()))?;
        match write_frame(&mut self.file, self.at, kind, &payload) {
            Ok(at) => {
                self.at = at;
                Ok(())
            }
            Err(e) => {
                // What is there stays whole; a half frame would be skipped anyway.
                let _ = self.file.set_len(self.at);
                Err(RecordingError::host(&self.path, &e))
            }
        }
    }
}

fn compress(bytes: &[u8]) -> Vec<u8> {
    // Into memory nothing can fail but memory itself.
    zstd::encode_all(bytes, LEVEL).unwrap_or_default()
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
}

/// Opens the file, unless that would destroy something else than a recording.
fn create_file(path: &Path, form: Form) -> Result<File, RecordingError> {
    let host = |e: std::io::Error| RecordingError::host(path, &e);
    if let Ok(meta) = std::fs::metadata(path) {
        let ours = meta.is_file() && (meta.len() == 0 || Form::of_file(path) == Some(form));
        if !ours {
            return Err(RecordingError::InTheWay { path: path.to_owned(), wanted: form });
        }
    }
    OpenOptions::new().write(true).create(true).truncate(true).open(path).map_err(host)
}

/// Names what the file could not give back.
fn refuse_what_cannot(machine: &Machine, embed: bool, form: Form) -> Result<(), RecordingError> {
    let config = &machine.config;
    let images = config.floppies.iter().flatten().chain(&config.disks).chain(config.cdroms.iter().flatten());
    for image in images.chain(machine.attached.iter().map(|a| &a.1)) {
        if image.mode == Mode::Write && !embed {
            let instead = match form {
                Form::Recording => "use mode=overlay, or --embed-disks to keep what it held",
                Form::Snapshot => "use mode=overlay",
            };
            return Err(RecordingError::Refused(format!(
                "{} has mode=write: the run changes it, so a {form} can't begin with it again; {instead}",
                image.path.display()
            )));
        }
    }
    Ok(())
}

fn image_of(c: &MachineConfig, spec: &ImageSpec, sectors: u64, kind: DriveKind, packed: bool) -> WireImage {
    let read_only = spec.mode == Mode::Read || kind == DriveKind::Cd;
    // One that came from a recording has no other place.
    let inside = c.packed.images.contains_key(&spec.path);
    WireImage {
        path: if inside { spec.path.to_string_lossy().into_owned() } else { absolute(&spec.path) },
        read_only,
        size: spec.size,
        sectors,
        format: spec.format.map(|f| f.name().into()),
        parents_anywhere: spec.parents == Parents::Anywhere,
        snapshot: spec.snapshot.clone(),
        geometry: spec.geometry.map(|g| (g.cylinders, g.heads, g.sectors)),
        packed: packed || inside,
    }
}

/// The drives of a configuration, in the order of the board's volumes. `sectors` are those of the volumes.
fn drives_of(c: &MachineConfig, sectors: &[u64], embed: bool) -> Vec<WireDrive> {
    let mut sectors = sectors.iter().copied();
    let mut drive = |kind, spec: Option<&ImageSpec>| WireDrive {
        kind,
        image: spec.map(|s| image_of(c, s, sectors.next().unwrap_or(0), kind, embed)),
    };
    let mut drives = Vec::new();
    if c.demo.is_some() {
        let mut own = drive(DriveKind::Floppy, Some(&ImageSpec::new("demo")));
        if let Some(image) = &mut own.image {
            (image.path, image.packed) = ("demo".into(), true);
        }
        drives.push(own);
    }
    let floppies = 2 - drives.len();
    drives.extend(c.floppies.iter().take(floppies).map(|f| drive(DriveKind::Floppy, f.as_ref())));
    drives.extend(c.disks.iter().map(|d| drive(DriveKind::Disk, Some(d))));
    drives.extend(c.cdroms.iter().map(|d| drive(DriveKind::Cd, d.as_ref())));
    drives
}
