//! `emu run FOLDER` and `emu run x.vmx`: machine folders, and machines of other products as they are.

use std::path::{Path, PathBuf};

use emu_machine::config::{MachineConfig, load_files, load_text};
use emu_machine::vm::{ChosenImage, DriveKind, MACHINE, check_places, plan, read_machine};

use super::exit::{Failure, plain};

/// Extensions of descriptions. An image is known by its content; a description is text, which could be anything.
const DESCRIPTIONS: &[&str] = &["vmx", "ovf", "ova", "xml", "vmcx"];

/// A machine that is described by a file or a folder, with what its owner must know.
pub(super) struct Described {
    pub(super) config: MachineConfig,
    pub(super) notes: Vec<String>,
}

/// The machine at `path`, if that is a folder or a description. `more` are configuration files that override it.
pub(super) fn describe(path: &Path, more: &[PathBuf]) -> Result<Option<Described>, Failure> {
    let file = path.join(MACHINE);
    if path.is_dir() && file.is_file() {
        let files: Vec<PathBuf> = std::iter::once(file).chain(more.iter().cloned()).collect();
        return Ok(Some(Described { config: load_files(&files)?, notes: Vec::new() }));
    }
    let listed = path.to_string_lossy().to_lowercase().ends_with(".hyperv.json");
    let named = listed || path.extension().is_some_and(|e| DESCRIPTIONS.iter().any(|d| e.eq_ignore_ascii_case(d)));
    if !path.is_dir() && !named {
        return Ok(None);
    }
    if !more.is_empty() {
        return Err(Failure::usage(
            "--machine can't go with another product's machine: import it first (emu vm import)",
        ));
    }
    let foreign = read_machine(path).map_err(crate::vm::failure)?;
    check_places(&foreign).map_err(crate::vm::failure)?;
    let plan = plan(foreign);
    let file = &plan.foreign().file;
    if file.extension().is_some_and(|e| e.eq_ignore_ascii_case("ova")) {
        let text = "its disks are inside of the archive, and must come out first: import it (emu vm import)";
        return Err(Failure::file(plain(&format!("{}: {text}", file.display()))));
    }
    let mut notes: Vec<String> = plan.notes.iter().map(|n| plain(&format!("{}: {}", n.about, n.text))).collect();
    notes.push("the disks are not written: what the guest writes stays in memory (emu vm import keeps it)".into());
    let text = plan.toml(|_, drive| {
        let path = drive.source.clone().filter(|s| drive.kind == DriveKind::Disk || s.exists())?;
        let mode = if drive.read_only || drive.kind == DriveKind::Cd { "read" } else { "overlay" };
        let path = std::path::absolute(&path).unwrap_or(path);
        Some(ChosenImage { path, format: drive.format, mode, anywhere: false })
    });
    Ok(Some(Described { config: load_text(&text)?, notes }))
}
