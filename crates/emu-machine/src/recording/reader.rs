//! Reading a recording, and building its machine again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use emu_core::timeline::{Mark, SpinePoint};
use emu_core::volume::BLOCK_SIZE;
use emu_core::{Input, Ticks};
use serde::de::DeserializeOwned;

use super::checkpoints::Checkpoint;
use super::frame::{FILE_HEAD, Found, FrameReader, Kind};
use super::packed::{Packed, PackedImage};
use super::wire::{
    Attach, Blocks, Contents, Digest, DriveKind, FilePart, Inputs, Progress, Role, Spine, Start, WireImage, digest,
    put_files,
};
use super::{Form, OLDEST, RecordingError, VERSION, old};
use crate::config::MachineConfig;
use crate::image::{Medium, open};
use crate::machine::{BuildError, Machine};

/// How a recording's file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// With the end of the run.
    Whole,
    /// Before it: emu or its host was stopped. All that is there is good.
    Cut {
        /// Bytes that are good.
        at: u64,
    },
    /// What follows byte `at` is not what was written.
    Damaged {
        /// Bytes that are good.
        at: u64,
        /// What is wrong behind them.
        what: &'static str,
    },
}

/// A point of the recorded run, with the state's hash there.
pub type Point = SpinePoint;

/// A recording, read: all but the states of the machine, which stay in the file.
#[derive(Debug)]
pub struct Recording {
    pub(super) path: PathBuf,
    version: u32,
    start: Start,
    pub(super) log: Vec<(Ticks, Input)>,
    pub(super) spine: Vec<SpinePoint>,
    pub(super) end: Mark,
    tail: Tail,
    packed: Packed,
    attached: Vec<Attach>,
    /// What the run read of each volume.
    blocks: Vec<BTreeMap<u64, Digest>>,
    pub(super) checkpoints: Vec<Checkpoint>,
    /// Where the run begins, if not at power-on: at the first checkpoint.
    pub(super) begin: Option<Mark>,
    /// Whether anything of the run was read.
    pub(super) under_way: bool,
    file_parts: Vec<Vec<u8>>,
}

/// The most that one packed file may unpack to.
const MAX_FILE: u64 = 1 << 30;

pub(super) const CONTRADICTION: &str = "the record contradicts what stands before it";

pub(super) fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, &'static str> {
    match postcard::take_from_bytes(payload) {
        Ok((value, [])) => Ok(value),
        _ => Err("the record does not decode"),
    }
}

/// Unpacks `bytes`, at most `limit` of them.
pub(super) fn unpack(bytes: &[u8], limit: u64) -> Result<Vec<u8>, &'static str> {
    let mut out = Vec::new();
    let decoder = zstd::Decoder::new(bytes).map_err(|_| "the record does not unpack")?;
    decoder.take(limit + 1).read_to_end(&mut out).map_err(|_| "the record does not unpack")?;
    if out.len() as u64 > limit { Err("the record unpacks to too much") } else { Ok(out) }
}

impl Recording {
    /// Reads the recording at `path`. A file that was cut off, or is damaged after its start, gives what is good of it.
    ///
    /// # Errors
    /// [`RecordingError`], if there is nothing to replay.
    pub fn open(path: &Path) -> Result<Recording, RecordingError> {
        Recording::open_as(path, Form::Recording)
    }

    pub(super) fn open_as(path: &Path, wanted: Form) -> Result<Recording, RecordingError> {
        let host = |e: std::io::Error| RecordingError::host(path, &e);
        let meta = std::fs::metadata(path).map_err(host)?;
        if !meta.is_file() {
            return Err(RecordingError::Foreign { path: path.to_owned(), wanted });
        }
        let mut file = BufReader::new(File::open(path).map_err(host)?);
        let mut head = Vec::new();
        file.by_ref().take(FILE_HEAD).read_to_end(&mut head).map_err(host)?;
        let magic = wanted.magic();
        if head.is_empty() || !magic.starts_with(&head[..head.len().min(magic.len())]) {
            return Err(RecordingError::Foreign { path: path.to_owned(), wanted });
        }
        let Some(version) = head.get(magic.len()..).and_then(|v| v.try_into().ok()).map(u32::from_le_bytes) else {
            return Err(RecordingError::TooShort { path: path.to_owned(), at: head.len() as u64 });
        };
        if !(OLDEST..=VERSION).contains(&version) {
            return Err(RecordingError::Version { path: path.to_owned(), found: version });
        }
        let mut frames = FrameReader::new(file);
        let damaged = |at, what| RecordingError::Damaged { path: path.to_owned(), at, what };
        let start: Start = match frames.next().map_err(host)? {
            Found::Frame(Kind::Start, payload) => {
                old::start(version, &payload).map_err(|what| damaged(FILE_HEAD, what))?
            }
            Found::Frame(..) => return Err(damaged(FILE_HEAD, "the first record is not the start of a run")),
            Found::End | Found::Cut => return Err(RecordingError::TooShort { path: path.to_owned(), at: meta.len() }),
            Found::Damaged(what) => return Err(damaged(FILE_HEAD, what)),
        };
        let volumes = start.drives.iter().filter(|d| d.image.is_some()).count();
        let mut recording = Recording {
            path: path.to_owned(),
            version,
            file_parts: vec![Vec::new(); start.files.len()],
            start,
            log: Vec::new(),
            spine: Vec::new(),
            end: Mark::default(),
            tail: Tail::Whole,
            packed: Packed::default(),
            attached: Vec::new(),
            blocks: vec![BTreeMap::new(); volumes],
            checkpoints: Vec::new(),
            begin: None,
            under_way: false,
        };
        recording.prepare();
        recording.read_frames(&mut frames).map_err(host)?;
        recording.unpack_files().map_err(|what| damaged(FILE_HEAD, what))?;
        Ok(recording)
    }

    /// Makes room for the images that the file brings.
    fn prepare(&mut self) {
        for image in self.start.drives.iter().filter_map(|d| d.image.as_ref()) {
            add_packed(&mut self.packed, image);
        }
    }

    fn read_frames(&mut self, frames: &mut FrameReader<impl Read>) -> std::io::Result<()> {
        let mut ended = false;
        loop {
            let at = frames.at;
            let taken = match frames.next()? {
                Found::Frame(..) if ended => Err("something stands behind the end of the run"),
                Found::Frame(kind, payload) => {
                    ended = kind == Kind::End;
                    self.take(kind, &payload, at)
                }
                Found::End if ended => return Ok(()),
                Found::End | Found::Cut => {
                    self.tail = Tail::Cut { at };
                    return Ok(());
                }
                Found::Damaged(what) => Err(what),
            };
            if let Err(what) = taken {
                self.tail = Tail::Damaged { at, what };
                return Ok(());
            }
        }
    }

    fn take(&mut self, kind: Kind, payload: &[u8], at: u64) -> Result<(), &'static str> {
        self.under_way |= matches!(kind, Kind::Inputs | Kind::Spine | Kind::Progress | Kind::End);
        match kind {
            Kind::Start => Err(CONTRADICTION),
            Kind::Inputs => self.take_inputs(decode(payload)?),
            Kind::Spine => self.take_spine(&decode(payload)?),
            Kind::Progress | Kind::End => {
                let p: Progress = decode(payload)?;
                self.advance(p.tick, p.inputs)
            }
            Kind::Blocks => {
                let b: Blocks = decode(payload)?;
                let blocks = self.blocks.get_mut(b.volume as usize).ok_or(CONTRADICTION)?;
                blocks.extend(b.list);
                Ok(())
            }
            Kind::Contents => self.take_contents(&decode(payload)?),
            Kind::File => {
                let p: FilePart = decode(payload)?;
                self.file_parts.get_mut(p.file as usize).ok_or(CONTRADICTION)?.extend(p.bytes);
                Ok(())
            }
            Kind::Attach => {
                let a = old::attach(self.version, payload)?;
                add_packed(&mut self.packed, &a.image);
                self.blocks.push(BTreeMap::new());
                self.attached.push(a);
                Ok(())
            }
            Kind::Checkpoint | Kind::Delta => self.take_checkpoint(kind, &decode(payload)?, at),
        }
    }

    pub(super) fn advance(&mut self, tick: u64, inputs: u64) -> Result<(), &'static str> {
        let mark = Mark { tick: Ticks(tick), inputs: inputs as usize };
        if inputs != self.log.len() as u64 || mark < self.end {
            return Err(CONTRADICTION);
        }
        self.end = mark;
        Ok(())
    }

    fn take_inputs(&mut self, inputs: Inputs) -> Result<(), &'static str> {
        if inputs.first != self.log.len() as u64 {
            return Err(CONTRADICTION);
        }
        let mut tick = 0u64;
        for (since, input) in inputs.list {
            tick = tick.checked_add(since).ok_or(CONTRADICTION)?;
            if tick < self.end.tick.0 {
                return Err(CONTRADICTION);
            }
            self.log.push((Ticks(tick), input.input()));
            self.end = Mark { tick: Ticks(tick), inputs: self.log.len() };
        }
        Ok(())
    }

    /// Points of the spine stand behind the inputs before them, and before a later progress.
    fn take_spine(&mut self, spine: &Spine) -> Result<(), &'static str> {
        let point = spine.point();
        let last = self.spine.last().map(|s| s.at);
        if last == Some(point.at) {
            return if self.spine.last().map(|s| s.hash) == Some(point.hash) { Ok(()) } else { Err(CONTRADICTION) };
        }
        if last.is_some_and(|l| l > point.at) || point.at.inputs > self.log.len() {
            return Err(CONTRADICTION);
        }
        if point.at.inputs == self.log.len() && point.at.tick > self.end.tick {
            self.end.tick = point.at.tick;
        }
        self.spine.push(point);
        Ok(())
    }

    fn take_contents(&mut self, c: &Contents) -> Result<(), &'static str> {
        let blocks = self.blocks.get(c.volume as usize).ok_or(CONTRADICTION)?;
        let bytes = unpack(&c.bytes, (c.numbers.len() * BLOCK_SIZE) as u64)?;
        let (contents, rest) = bytes.as_chunks::<BLOCK_SIZE>();
        if contents.len() != c.numbers.len() || !rest.is_empty() {
            return Err(CONTRADICTION);
        }
        let image = self.image_of(c.volume as usize).ok_or(CONTRADICTION)?;
        let (path, sectors) = (PathBuf::from(&image.path), image.sectors);
        let expected: Vec<Option<Digest>> = c.numbers.iter().map(|n| blocks.get(n).copied()).collect();
        let packed = self.packed.images.get_mut(&path).map(Arc::make_mut).ok_or(CONTRADICTION)?;
        for ((number, block), expected) in c.numbers.iter().zip(contents).zip(expected) {
            let left = sectors.saturating_sub(number.saturating_mul(8)).min(8) as usize * 512;
            if expected != Some(digest(&block[..left])) {
                return Err(CONTRADICTION);
            }
            packed.blocks.insert(*number, Box::new(*block));
        }
        Ok(())
    }

    /// The image of volume number `volume`.
    fn image_of(&self, volume: usize) -> Option<&WireImage> {
        let first = self.start.drives.iter().filter_map(|d| d.image.as_ref());
        first.chain(self.attached.iter().map(|a| &a.image)).nth(volume)
    }

    fn unpack_files(&mut self) -> Result<(), &'static str> {
        for (file, parts) in self.start.files.iter().zip(&self.file_parts) {
            if file.packed {
                let bytes = unpack(parts, file.size.min(MAX_FILE))?;
                if digest(&bytes) != file.digest {
                    return Err("a file that it brings is not whole");
                }
                self.packed.files.insert(PathBuf::from(&file.path), bytes.into());
            }
        }
        self.file_parts = Vec::new();
        Ok(())
    }

    /// How the file ends.
    #[must_use]
    pub fn tail(&self) -> Tail {
        self.tail
    }

    /// Where the recorded run begins: at power-on, or at a snapshot.
    #[must_use]
    pub fn begin(&self) -> Mark {
        self.begin.unwrap_or_default()
    }

    /// Where the recorded run ends, as far as the file tells.
    #[must_use]
    pub fn end(&self) -> Mark {
        self.end
    }

    /// Every input, with its tick.
    #[must_use]
    pub fn log(&self) -> &[(Ticks, Input)] {
        &self.log
    }

    /// The hashes of the run.
    #[must_use]
    pub fn spine(&self) -> &[SpinePoint] {
        &self.spine
    }

    /// The version of the emu that recorded.
    #[must_use]
    pub fn recorded_by(&self) -> &str {
        &self.start.emu
    }

    /// The machine, without its files and drives; `None` if this emu does not know it.
    #[must_use]
    pub fn machine(&self) -> Option<MachineConfig> {
        self.start.machine.config()
    }

    /// Where to look for a file that the recording names: there, or else beside the recording.
    fn locate(&self, path: &str) -> PathBuf {
        let there = PathBuf::from(path);
        let beside = there.file_name().map(|name| self.path.with_file_name(name));
        match beside {
            Some(beside) if !there.exists() && beside.exists() => beside,
            _ => there,
        }
    }

    /// The configuration of the machine.
    ///
    /// # Errors
    /// [`RecordingError`]: a file is missing or has changed.
    pub fn config(&self) -> Result<MachineConfig, RecordingError> {
        let damaged = |what| RecordingError::Damaged { path: self.path.clone(), at: FILE_HEAD, what };
        let mut config = self.start.machine.config().ok_or_else(|| damaged("a machine that this emu does not know"))?;
        config.packed = self.packed.clone();
        let mut files: Vec<(Role, PathBuf)> = Vec::new();
        for file in &self.start.files {
            let path = if file.packed { PathBuf::from(&file.path) } else { self.locate(&file.path) };
            if !file.packed {
                self.check_file(&path, file.size, file.digest)?;
            }
            files.push((file.role, path));
        }
        put_files(&mut config, &self.start.machine, &files);
        for drive in &self.start.drives {
            let spec = drive.image.as_ref().map(|image| self.spec_of(image));
            match (drive.kind, spec) {
                (DriveKind::Floppy, spec) => config.floppies.push(spec),
                (DriveKind::Disk, Some(spec)) => config.disks.push(spec),
                (DriveKind::Disk, None) => return Err(damaged("a hard disk without an image")),
                (DriveKind::Cd, spec) => config.cdroms.push(spec),
            }
        }
        Ok(config)
    }

    fn spec_of(&self, image: &WireImage) -> crate::image::ImageSpec {
        let mut spec = image.spec();
        if !image.packed {
            spec.path = self.locate(&image.path);
        }
        spec
    }

    fn check_file(&self, path: &Path, size: u64, expected: Digest) -> Result<(), RecordingError> {
        let host = |e: std::io::Error| RecordingError::host(path, &e);
        let found = std::fs::metadata(path).map_err(host)?.len();
        let changed = |detail| RecordingError::Changed { file: path.to_owned(), recording: self.path.clone(), detail };
        if found != size {
            return Err(changed(format!(": it has {found} bytes instead of {size}")));
        }
        if digest(&std::fs::read(path).map_err(host)?) != expected {
            return Err(changed(String::new()));
        }
        Ok(())
    }

    /// Builds the machine as it was where the run begins, with all images that it ever got, and checks that what the run read of
    /// them is still there.
    ///
    /// # Errors
    /// [`BuildError`], with a [`RecordingError`] for what has changed.
    pub fn build(&self) -> Result<Machine, BuildError> {
        self.build_with(self.config()?)
    }

    /// The same for another configuration, made from that of [`Self::build`]'s machine.
    ///
    /// # Errors
    /// As [`Self::build`].
    pub fn build_with(&self, config: MachineConfig) -> Result<Machine, BuildError> {
        let mut machine = Machine::new(config)?;
        for attach in &self.attached {
            let spec = self.spec_of(&attach.image);
            let medium = if attach.kind == DriveKind::Cd { Medium::Cd } else { Medium::Floppy };
            let backend = match machine.config.packed.image(&spec.path) {
                Some(backend) => backend,
                None => open(&spec, medium)?.backend,
            };
            machine.attach(backend, medium, spec);
        }
        if self.begin.is_some() {
            let at = std::fs::metadata(&self.path).map_or(0, |m| m.len());
            let first = self.first_state().ok_or_else(|| RecordingError::TooShort { path: self.path.clone(), at })?;
            self.load(&mut machine, first)?;
        }
        self.check_images(&machine)?;
        Ok(machine)
    }

    fn check_images(&self, machine: &Machine) -> Result<(), RecordingError> {
        for (number, volume) in machine.system.bus.volumes().iter().enumerate() {
            let (Some(image), Some(blocks)) = (self.image_of(number), self.blocks.get(number)) else { continue };
            let changed = |detail| {
                let file = if image.packed { PathBuf::from(&image.path) } else { self.locate(&image.path) };
                RecordingError::Changed { file, recording: self.path.clone(), detail }
            };
            if volume.sectors() != image.sectors {
                return Err(changed(format!(": it has {} sectors instead of {}", volume.sectors(), image.sectors)));
            }
            for (block, expected) in blocks {
                let found = volume.block(*block).ok().map(|b| digest(&b));
                if found != Some(*expected) {
                    let first = block * (BLOCK_SIZE as u64 / 512);
                    return Err(changed(format!(": sectors {first} to {} differ", first + 7)));
                }
            }
        }
        Ok(())
    }
}

fn add_packed(packed: &mut Packed, image: &WireImage) {
    if image.packed {
        let entry = PackedImage { sectors: image.sectors, read_only: image.read_only, ..PackedImage::default() };
        packed.images.entry(PathBuf::from(&image.path)).or_insert_with(|| Arc::new(entry));
    }
}
