//! A machine folder as another product's: VMware's folder, an OVA, or images and a script for Hyper-V.
//!
//! Overlays are flattened: what the guest sees on a disk is what the new image holds, and nothing refers to the folder any
//! more. What has no counterpart is told.

mod hyperv;
mod ova;
mod vmx;

use std::path::{Path, PathBuf};

use super::own::{self, Own};
use super::{DriveKind, Note, VmError};
use crate::board::first_cd_place;
use crate::image::ops::{self, Conversion, NewImage};
use crate::image::{Disk, ImageSpec, Kind, Mode, Options};

/// The product that an export is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A VMware folder: `.vmx` and `.vmdk`.
    Vmx,
    /// An OVA, for every product that reads OVF.
    Ova,
    /// VHDX images, and a PowerShell script that makes the machine.
    HyperV,
}

/// What was made.
#[derive(Clone, Debug)]
pub struct Exported {
    /// What to open in the other product.
    pub file: PathBuf,
    /// What the machine is called.
    pub name: String,
    /// What has no counterpart there.
    pub notes: Vec<Note>,
}

/// A drive of the machine, at the place that it has in emu.
struct ExportedDrive {
    kind: DriveKind,
    /// Place among its kind, and among the IDE drives (floppies: at their controller).
    place: u32,
    spec: Option<ImageSpec>,
    /// The file that holds its image in the export, without a folder, and the disk's bytes.
    file: Option<(String, u64)>,
}

impl ExportedDrive {
    fn read_only(&self) -> bool {
        self.kind == DriveKind::Disk && self.spec.as_ref().is_some_and(|s| s.mode == Mode::Read)
    }
}

/// What the writers of the formats get: the machine and its notes so far.
struct Job {
    own: Own,
    drives: Vec<ExportedDrive>,
    notes: Vec<Note>,
}

impl Job {
    fn note(&mut self, about: impl Into<String>, text: impl Into<String>) {
        self.notes.push(Note { about: about.into(), text: text.into() });
    }

    /// Bytes of RAM rounded up to a multiple of `unit` that is at least `least`.
    fn memory(&mut self, unit: u64, least: u64, product: &str) -> u64 {
        let is = self.own.config.memory;
        let given = is.next_multiple_of(unit).max(least);
        if given != is {
            self.note("memory", format!("{}K become {}M, which {product} can have", is >> 10, given >> 20));
        }
        given
    }

    /// The image of drive `n` written as `file` of `folder`.
    fn write_image(
        &mut self,
        n: usize,
        path: &Path,
        new: impl Fn(u64) -> NewImage,
        each: &mut dyn FnMut(u64, u64),
    ) -> Result<(), VmError> {
        let Some(spec) = self.drives[n].spec.clone() else { return Ok(()) };
        let image = |e| VmError::Image(Box::new(e));
        let options = Options {
            format: spec.format,
            parents: spec.parents,
            snapshot: spec.snapshot.clone(),
            ..Options::default()
        };
        let mut from = Disk::open(&spec.path, &options).map_err(image)?;
        let size = from.size().max(spec.size.unwrap_or(0)).next_multiple_of(512);
        let new = new(size);
        let kind = new.kind;
        ops::create(path, &new).map_err(image)?;
        let mut to =
            Disk::open(path, &Options { write: true, format: Some(kind), ..Options::default() }).map_err(image)?;
        let done = ops::convert(&mut from, &mut to, Conversion::default(), &mut |_, copied| {
            each(copied.done, size);
            Ok(())
        });
        done.map_err(image)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.drives[n].file = Some((name, size));
        Ok(())
    }
}

/// The machine's name as far as it can be a file's, on every system.
#[must_use]
pub fn file_name(name: &str) -> String {
    let safe = |c: char| if c.is_alphanumeric() || " ._-()".contains(c) { c } else { '_' };
    let name: String = name.chars().map(safe).take(100).collect();
    let name = name.trim_matches(['.', ' ']);
    if name.is_empty() { "machine".into() } else { name.into() }
}

/// Exports the machine at `path` (a machine folder, or its `machine.toml`) to `output`, where nothing may be yet; by
/// default beside the folder. `each` hears of bytes that were copied, of all there are of an image.
///
/// # Errors
/// [`VmError`]; then nothing was made.
pub fn export(
    path: &Path,
    target: Target,
    output: Option<&Path>,
    each: &mut dyn FnMut(u64, u64),
) -> Result<Exported, VmError> {
    let own = own::read(path)?;
    let name = file_name(&own.name);
    let extension = match target {
        Target::Vmx => "vmware",
        Target::Ova => "ova",
        Target::HyperV => "hyperv",
    };
    let folder = own.file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
    let beside = folder.canonicalize().ok().and_then(|f| f.parent().map(Path::to_owned)).unwrap_or(folder);
    let output = output.map_or_else(|| beside.join(format!("{name}.{extension}")), Path::to_owned);
    if output.symlink_metadata().is_ok() {
        return Err(VmError::invalid(&output, "is there already: choose another place with --output"));
    }
    let mut job = Job { drives: drives(&own)?, own, notes: Vec::new() };
    common_notes(&mut job);
    // An archive is made of a folder that goes away again.
    let work = if target == Target::Ova { with_suffix(&output, ".part") } else { output.clone() };
    std::fs::create_dir_all(&work).map_err(|e| VmError::file(&work, &e))?;
    let made = match target {
        Target::Vmx => vmx::write(&mut job, &work, &name, each),
        Target::Ova => ova::write(&mut job, &work, &name, &output, each),
        Target::HyperV => hyperv::write(&mut job, &work, &name, each),
    };
    if made.is_err() || target == Target::Ova {
        // Everything in it was made just now.
        let _ = std::fs::remove_dir_all(&work);
    }
    Ok(Exported { file: made?, name: job.own.name, notes: job.notes })
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

fn drives(own: &Own) -> Result<Vec<ExportedDrive>, VmError> {
    let c = &own.config;
    let mut list = Vec::new();
    let mut add = |kind, place: usize, spec: Option<ImageSpec>| {
        list.push(ExportedDrive { kind, place: place as u32, spec, file: None });
    };
    c.disks.iter().enumerate().for_each(|(n, d)| add(DriveKind::Disk, n, Some(d.clone())));
    let first_cd = first_cd_place(c.disks.len(), c.cdroms.len());
    c.cdroms.iter().enumerate().for_each(|(n, d)| add(DriveKind::Cd, first_cd + n, d.clone()));
    c.floppies.iter().enumerate().for_each(|(n, d)| add(DriveKind::Floppy, n, d.clone()));
    for spec in list.iter().filter_map(|d| d.spec.as_ref()) {
        if !spec.path.exists() {
            return Err(VmError::invalid(&own.file, format!("the image {} is not there", spec.path.display())));
        }
    }
    Ok(list)
}

/// What no product has.
fn common_notes(job: &mut Job) {
    let c = job.own.config.clone();
    job.note("CPU", format!("{} becomes the host's CPU", crate::config::cpu_text(c.cpu)));
    if let Some(bios) = &c.bios {
        job.note("bios", format!("{} stays behind: the product starts its own BIOS", bios.display()));
    }
    if let Some(kernel) = &c.kernel {
        job.note("kernel", format!("{} is not started directly there: install a boot loader", kernel.image.display()));
    }
    for (n, floppy) in c.floppies.iter().enumerate() {
        if floppy.as_ref().is_some_and(|f| f.mode == Mode::Read) {
            job.note(format!("floppy{n}"), "is not write-protected there: it can be written");
        }
    }
    if job.own.snapshots > 0 {
        job.note("snapshots", "those of the original stay with it: the export holds the present state alone");
    }
    if c.rate != emu_core::ClockRate::DEFAULT {
        job.note("ticks-per-second", "the product's guests run in real time");
    }
}

/// Text as an XML attribute or content.
pub(super) fn xml_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// A raw image of a removable medium: every product takes it.
fn raw(size: u64) -> NewImage {
    NewImage::new(Kind::Raw, size)
}
