//! Machine folders: a `machine.toml`, and beside it what the guest writes.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::foreign::DriveKind;
use super::inside::Inside;
use super::plan::{ChosenImage, Plan, PlannedDrive};
use super::{Note, VmError, ova};
use crate::image::ops::{self, Conversion, NewImage};
use crate::image::{Disk, ImageError, Kind, Options, Parents};

/// The file that makes a folder a machine.
pub const MACHINE: &str = "machine.toml";

/// What becomes of the disks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Disks {
    /// They stay where they are, and are never written: the folder gets a qcow2 image over each.
    #[default]
    InPlace,
    /// The folder gets a copy of each, in this format; without, in its own, if a guest can write that.
    Copy(Option<Kind>),
}

/// What was made.
#[derive(Clone, Debug, Default)]
pub struct Made {
    /// The folder's `machine.toml`.
    pub file: PathBuf,
    /// Images of the folder with what they stand for.
    pub images: Vec<(PathBuf, PathBuf)>,
    /// What the owner must know beside the plan's notes.
    pub notes: Vec<Note>,
}

/// Makes the folder `folder`, where nothing may be yet. `parents` says where the files may be that images of the machine
/// name in turn; `each` hears of bytes that were copied, of all there are.
///
/// # Errors
/// [`VmError`]; then there is no new folder.
pub fn make_folder(
    plan: &Plan,
    folder: &Path,
    disks: Disks,
    parents: Parents,
    each: &mut dyn FnMut(u64, u64),
) -> Result<Made, VmError> {
    if folder.exists() {
        return Err(VmError::invalid(folder, "is there already: choose another folder with --output"));
    }
    std::fs::create_dir_all(folder).map_err(|e| VmError::file(folder, &e))?;
    let made = fill(plan, folder, disks, parents, each);
    if made.is_err() {
        // Everything in it was made just now.
        let _ = std::fs::remove_dir_all(folder);
    }
    made
}

fn fill(
    plan: &Plan,
    folder: &Path,
    disks: Disks,
    parents: Parents,
    each: &mut dyn FnMut(u64, u64),
) -> Result<Made, VmError> {
    let mut made = Made { file: folder.join(MACHINE), ..Made::default() };
    let mut chosen: Vec<Option<ChosenImage>> = Vec::new();
    let unpacked = unpack(plan, folder, each)?;
    let snapshots = Inside::of(plan, disks)?;
    let product = plan.foreign().product.name();
    for (n, drive) in plan.drives.iter().enumerate() {
        let name = drive.source.as_deref().and_then(Path::file_name).map(|n| n.to_string_lossy().into_owned());
        let inside = name.and_then(|n| unpacked.get(&n)).cloned();
        let drive = PlannedDrive { source: inside.or(drive.source.clone()), ..drive.clone() };
        check_parents(&drive, parents)?;
        let snapshot = snapshots.look(&drive, &mut made.notes)?;
        chosen.push(take_drive(n, &drive, folder, disks, (product, snapshot), &mut made, each)?);
    }
    let text = plan.toml(|n, _| chosen[n].clone());
    std::fs::write(&made.file, text).map_err(|e| VmError::file(&made.file, &e))?;
    Ok(made)
}

/// The disks of an OVA come into the folder first: in the archive nothing can be put over them.
fn unpack(plan: &Plan, folder: &Path, each: &mut dyn FnMut(u64, u64)) -> Result<BTreeMap<String, PathBuf>, VmError> {
    let file = &plan.foreign().file;
    let mut head = [0; 512];
    let read = std::fs::File::open(file).and_then(|mut f| f.read(&mut head)).unwrap_or(0);
    if !ova::is_archive(&head[..read]) {
        return Ok(BTreeMap::new());
    }
    let name = |d: &PlannedDrive| Some(d.source.as_deref()?.file_name()?.to_string_lossy().into_owned());
    let names: Vec<String> = plan.drives.iter().filter_map(name).collect();
    ova::unpack(file, &names, folder, each)
}

/// An image of a machine that came from elsewhere may name its new owner's files as its extents or parents: it is opened
/// once as it must be, before its chain may be anywhere.
fn check_parents(drive: &PlannedDrive, parents: Parents) -> Result<(), VmError> {
    let Some(source) = drive.source.as_deref().filter(|s| parents == Parents::Folder && s.exists()) else {
        return Ok(());
    };
    match Disk::open(source, &Options { parents, format: drive.format, ..Options::default() }) {
        Err(ImageError::Outside { path, name }) => {
            let why = format!(
                "names the file {name}, which is not in its folder; if that is meant, import it with `--anywhere`"
            );
            Err(VmError::invalid(&path, why))
        }
        _ => Ok(()),
    }
}

/// What stands in the `machine.toml` for one drive.
fn take_drive(
    n: usize,
    drive: &PlannedDrive,
    folder: &Path,
    disks: Disks,
    (product, snapshot): (&str, Option<String>),
    made: &mut Made,
    each: &mut dyn FnMut(u64, u64),
) -> Result<Option<ChosenImage>, VmError> {
    let Some(source) = &drive.source else { return Ok(None) };
    if !source.exists() {
        // A removable medium that is gone is an empty drive; a disk that is gone is no machine.
        if drive.kind == DriveKind::Disk {
            return Err(VmError::invalid(source, format!("the image of {} is not there: bring it along", drive.place)));
        }
        made.notes.push(Note {
            about: drive.place.clone(),
            text: format!("{} is not there: the drive is empty", source.display()),
        });
        return Ok(None);
    }
    let source = source.canonicalize().map_err(|e| VmError::file(source, &e))?;
    if drive.kind == DriveKind::Cd || drive.read_only {
        return Ok(Some(ChosenImage { path: source, format: drive.format, mode: "read", anywhere: true }));
    }
    let image = |e| VmError::Image(Box::new(e));
    let options = Options { format: drive.format, parents: Parents::Anywhere, snapshot, ..Options::default() };
    let mut from = Disk::open(&source, &options).map_err(image)?;
    if let Some(kind) = looks_like(&source, drive) {
        let text = format!("begins like {kind}, and is raw all the same, as {product} takes it");
        made.notes.push(Note { about: drive.place.clone(), text });
    }
    let kind = match disks {
        Disks::InPlace => Kind::Qcow2,
        Disks::Copy(kind) => kind.unwrap_or_else(|| of_a_copy(from.kind())),
    };
    let name = format!("{}.{}", drive_name(n, drive), extension(kind));
    let path = folder.join(&name);
    make_image(&mut from, &source, &path, kind, disks, each).map_err(image)?;
    made.images.push((path, source));
    let anywhere = disks == Disks::InPlace;
    Ok(Some(ChosenImage { path: name.into(), format: Some(kind), mode: "write", anywhere }))
}

/// What a raw image looks like besides: its guest may have written that, or its owner forgot to say what it is.
fn looks_like(source: &Path, drive: &PlannedDrive) -> Option<Kind> {
    let asked = drive.format == Some(Kind::Raw) && drive.kind == DriveKind::Disk;
    let disk = asked.then(|| Disk::open(source, &Options { alone: true, ..Options::default() }).ok())??;
    (!matches!(disk.kind(), Kind::Raw | Kind::Split)).then(|| disk.kind())
}

/// The format of a copy whose owner did not say one: the image's, or one that can be written everywhere.
fn of_a_copy(kind: Kind) -> Kind {
    if matches!(kind, Kind::Split | Kind::Imd | Kind::Cue) { Kind::Raw } else { kind }
}

/// `disk0-scsi0-1`: unique, and its owner sees what it was.
fn drive_name(n: usize, drive: &PlannedDrive) -> String {
    let kind = if drive.kind == DriveKind::Floppy { "floppy" } else { "disk" };
    format!("{kind}{n}-{}", drive.place.replace(':', "-"))
}

fn extension(kind: Kind) -> &'static str {
    if kind == Kind::Raw { "img" } else { kind.name() }
}

fn make_image(
    from: &mut Disk,
    source: &Path,
    path: &Path,
    kind: Kind,
    disks: Disks,
    each: &mut dyn FnMut(u64, u64),
) -> Result<(), ImageError> {
    let mut new = NewImage::new(kind, from.size());
    new.parents = Parents::Anywhere;
    if disks == Disks::InPlace {
        new.parent = Some((source.display().to_string(), Some(from.kind())));
        return ops::create(path, &new);
    }
    ops::create(path, &new)?;
    let mut to = Disk::open(path, &Options { write: true, format: Some(kind), ..Options::default() })?;
    let all = from.size();
    ops::convert(from, &mut to, Conversion::default(), &mut |_, copied| {
        each(copied.done, all);
        Ok(())
    })?;
    Ok(())
}
