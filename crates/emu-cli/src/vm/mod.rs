//! `emu vm`: machines of other products.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use emu_machine::image::Kind;
use emu_machine::vm::{
    Disks, Note, Plan, Snapshot, Target, VmError, check_places, choose_snapshot, file_name, make_folder, parents_of,
    plan, read_machine,
};
use serde_json::json;

use crate::disk::progress;
use crate::run::{Failure, plain};

/// Machines of other products.
#[derive(Debug, Args)]
pub(crate) struct VmArgs {
    #[command(subcommand)]
    verb: VmVerb,
}

#[derive(Debug, Subcommand)]
enum VmVerb {
    /// Make an emu machine of another product's: VMware, OVF, Hyper-V, libvirt, or a QEMU command line.
    Import(ImportArgs),
    /// Make another product's machine of an emu machine folder.
    Export(ExportArgs),
}

#[derive(Debug, Args)]
struct ExportArgs {
    /// The machine folder, or its machine.toml.
    path: PathBuf,

    /// For which product: a VMware folder, an OVA, or VHDX images and a PowerShell script for Hyper-V.
    #[arg(long, value_enum)]
    to: ExportTarget,

    /// What is made: a folder, or the .ova; by default the machine's name beside its folder.
    #[arg(long, short)]
    output: Option<PathBuf>,

    /// Tell it as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ExportTarget {
    Vmx,
    Ova,
    Hyperv,
}

#[derive(Debug, Args)]
struct ImportArgs {
    /// The description (.vmx, .ovf, .xml, a text with a QEMU command), or the folder that it is in.
    path: PathBuf,

    /// The new machine's folder; by default the machine's name with .emu, beside the description.
    #[arg(long, short)]
    output: Option<PathBuf>,

    /// Copy the disks into the folder, instead of keeping what the guest writes over the originals.
    #[arg(long)]
    copy: bool,

    /// Start from this snapshot or checkpoint, by its name or id, instead of from the present state.
    #[arg(long, value_name = "NAME")]
    snapshot: Option<String>,

    /// Copy the disks in this format.
    #[arg(long, value_name = "FORMAT", value_parser = format_of)]
    convert: Option<Kind>,

    /// Allow disks outside of the machine's folder.
    #[arg(long)]
    anywhere: bool,

    /// Only say what would be made.
    #[arg(long)]
    dry_run: bool,

    /// Tell it as JSON.
    #[arg(long)]
    json: bool,
}

fn format_of(text: &str) -> Result<Kind, String> {
    emu_machine::image::parse_format(text).map_err(|e| e.to_string())
}

/// Runs one command; returns the exit code.
pub(crate) fn run(args: &VmArgs) -> Result<u8, Failure> {
    match &args.verb {
        VmVerb::Import(args) => import(args),
        VmVerb::Export(args) => export(args),
    }
}

fn export(args: &ExportArgs) -> Result<u8, Failure> {
    let target = match args.to {
        ExportTarget::Vmx => Target::Vmx,
        ExportTarget::Ova => Target::Ova,
        ExportTarget::Hyperv => Target::HyperV,
    };
    let bar = progress::bar(0, args.json);
    let made = emu_machine::vm::export(&args.path, target, args.output.as_deref(), &mut |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let made = made.map_err(failure)?;
    if args.json {
        let value =
            json!({ "name": made.name, "file": made.file.to_string_lossy(), "notes": notes_json(made.notes.iter()) });
        crate::disk::print(&format!("{value:#}\n"));
        return Ok(0);
    }
    let mut text = format!("{}\n", plain(&made.name));
    for note in &made.notes {
        text.push_str(&format!("  note: {}\n", plain(&format!("{}: {}", note.about, note.text))));
    }
    text.push_str(&format!("made {}\n", made.file.display()));
    crate::disk::print(&text);
    Ok(0)
}

fn notes_json<'a>(notes: impl Iterator<Item = &'a Note>) -> Vec<serde_json::Value> {
    notes.map(|n| json!({ "about": n.about, "text": n.text })).collect()
}

fn import(args: &ImportArgs) -> Result<u8, Failure> {
    let mut foreign = read_machine(&args.path).map_err(failure)?;
    if let Some(wanted) = &args.snapshot {
        choose_snapshot(&mut foreign, wanted).map_err(failure)?;
    }
    if !args.anywhere {
        check_places(&foreign).map_err(failure)?;
    }
    let plan = plan(foreign);
    let folder = args.output.clone().unwrap_or_else(|| default_folder(&plan));
    let disks = match (args.convert, args.copy) {
        (Some(kind), _) => Disks::Copy(Some(kind)),
        (None, true) => Disks::Copy(None),
        (None, false) => Disks::InPlace,
    };
    if args.dry_run {
        tell(args, &plan, None, &[]);
        return Ok(0);
    }
    let bar = progress::bar(0, args.json);
    let parents = parents_of(plan.foreign(), args.anywhere);
    let made = make_folder(&plan, &folder, disks, parents, &mut |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let made = made.map_err(failure)?;
    tell(args, &plan, Some(&folder), &made.notes);
    Ok(0)
}

/// Beside the description: the machine's name, as far as it can be a file's.
fn default_folder(plan: &Plan) -> PathBuf {
    let name = file_name(plan.name());
    plan.foreign().file.parent().unwrap_or(Path::new("")).join(format!("{name}.emu"))
}

fn tell(args: &ImportArgs, plan: &Plan, folder: Option<&Path>, more: &[Note]) {
    let notes: Vec<&Note> = plan.notes.iter().chain(more).collect();
    if args.json {
        let value = json!({
            "name": plan.name(),
            "product": plan.foreign().product.name(),
            "folder": folder.map(|f| f.to_string_lossy()),
            "drives": plan.drives.iter().map(|d| json!({ "place": d.place, "image": d.source })).collect::<Vec<_>>(),
            "snapshots": plan.foreign().snapshots.iter().map(snapshot_json).collect::<Vec<_>>(),
            "notes": notes_json(notes.into_iter()),
        });
        crate::disk::print(&format!("{value:#}\n"));
        return;
    }
    let mut text = format!("{}, a machine of {}\n", plain(plan.name()), plan.foreign().product.name());
    for drive in &plan.drives {
        let image = drive.source.as_ref().map_or("empty".into(), |s| s.display().to_string());
        text.push_str(&format!("  {:<10} {}\n", plain(&drive.place), plain(&image)));
    }
    text.push_str(&snapshot_tree(&plan.foreign().snapshots));
    for note in notes {
        text.push_str(&format!("  note: {}\n", plain(&format!("{}: {}", note.about, note.text))));
    }
    if let Some(folder) = folder {
        text.push_str(&format!("made {0}; start it with: emu run \"{0}\"\n", folder.display()));
    }
    crate::disk::print(&text);
}

fn snapshot_json(s: &Snapshot) -> serde_json::Value {
    json!({ "id": s.id, "parent": s.parent, "name": s.name, "current": s.current })
}

/// The snapshots, each below its parent.
fn snapshot_tree(snapshots: &[Snapshot]) -> String {
    let mut text = String::new();
    let mut depths = std::collections::BTreeMap::new();
    for s in snapshots {
        let depth = s.parent.as_ref().and_then(|p| depths.get(p)).map_or(0, |d: &usize| d + 1);
        depths.insert(&s.id, depth);
        let here = if s.current { ", which the machine follows" } else { "" };
        let name = plain(&format!("{} ({})", s.name, s.id));
        text.push_str(&format!("  snapshot   {}{name}{here}\n", "  ".repeat(depth.min(20))));
    }
    text
}

/// What to say and with which code.
pub(crate) fn failure(e: VmError) -> Failure {
    let text = plain(&e.to_string());
    match e {
        VmError::File { .. } => Failure::host(text),
        _ => Failure::file(text),
    }
}
