//! Snapshots inside of a machine's images: qcow2's, as libvirt and QEMU take them.

use std::cell::Cell;
use std::path::PathBuf;

use super::folder::Disks;
use super::foreign::DriveKind;
use super::plan::{Plan, PlannedDrive};
use super::{Note, VmError};
use crate::image::{Disk, Options};

/// The snapshot that a machine is to start from, while its disks are looked at.
pub(super) struct Inside<'a> {
    wanted: Option<&'a str>,
    file: PathBuf,
    /// Disks that are still to come, and whether one had the snapshot.
    left: Cell<usize>,
    met: Cell<bool>,
}

impl<'a> Inside<'a> {
    /// # Errors
    /// [`VmError::Invalid`] if the disks stay where they are: over a snapshot inside of an image nothing can be put.
    pub(super) fn of(plan: &'a Plan, disks: Disks) -> Result<Inside<'a>, VmError> {
        let (f, wanted) = (plan.foreign(), plan.foreign().inside.as_deref());
        if let (Some(wanted), Disks::InPlace) = (wanted, disks) {
            let why = format!("the snapshot `{wanted}` is inside of the disks: take them by --copy, or by --convert");
            return Err(VmError::invalid(&f.file, why));
        }
        let left = plan.drives.iter().filter(|d| d.kind == DriveKind::Disk).count();
        Ok(Inside { wanted, file: f.file.clone(), left: Cell::new(left), met: Cell::new(false) })
    }

    /// The snapshot to show of `drive`, if it has it. Of one that has others, `notes` tell.
    ///
    /// # Errors
    /// [`VmError::Invalid`] at the last disk, if none had the snapshot.
    pub(super) fn look(&self, drive: &PlannedDrive, notes: &mut Vec<Note>) -> Result<Option<String>, VmError> {
        if drive.kind != DriveKind::Disk {
            return Ok(None);
        }
        self.left.set(self.left.get() - 1);
        let options = Options { format: drive.format, alone: true, ..Options::default() };
        // What is wrong with an image is told where it is opened to be used.
        let disk = drive.source.as_deref().and_then(|s| Disk::open(s, &options).ok());
        let names: Vec<String> =
            disk.and_then(|mut d| d.snapshots()).unwrap_or_default().into_iter().map(|s| s.name).collect();
        let chosen = self.wanted.filter(|w| names.iter().any(|n| n == w)).map(str::to_owned);
        self.met.set(self.met.get() || chosen.is_some());
        let note = |text| Note { about: drive.place.clone(), text };
        match (&chosen, self.wanted) {
            (Some(name), _) => notes.push(note(format!("as it is in its snapshot `{name}`"))),
            (None, Some(wanted)) => notes.push(note(format!("has no snapshot `{wanted}`: as it is now"))),
            (None, None) if names.is_empty() => {}
            (None, None) => {
                let (list, more) = (names.iter().take(20), names.len().saturating_sub(20));
                let list = list.map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                notes
                    .push(note(format!("has snapshots inside ({list}{more}): --snapshot NAME --copy starts from one")));
            }
        }
        if let (Some(wanted), 0, false) = (self.wanted, self.left.get(), self.met.get()) {
            return Err(VmError::invalid(&self.file, format!("no disk has a snapshot `{wanted}` inside")));
        }
        Ok(chosen)
    }
}
