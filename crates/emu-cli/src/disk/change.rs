//! `emu disk create`, `resize`, `commit`, `rebase` and `snapshot`.

use std::path::Path;

use emu_machine::image::ops::{self, NewImage, SnapshotAction};
use emu_machine::image::{Disk, Options, Parents};
use serde_json::{Value, json};

use super::args::{CommitArgs, CreateArgs, NewSize, ParentsArg, RebaseArgs, ResizeArgs, SnapshotArgs, TellArgs};
use super::{failure, info, print, print_json, progress, show};
use crate::run::Failure;

/// Says what was done to `image`: in words, or as JSON with the facts.
fn tell(args: &TellArgs, image: &Path, facts: Value, text: impl Fn() -> String) -> Result<u8, Failure> {
    if args.json {
        let mut value = facts;
        value["filename"] = image.to_string_lossy().into();
        print_json(&value);
    } else if !args.quiet {
        print(&format!("{}\n", text()));
    }
    Ok(0)
}

pub(super) fn create(args: &CreateArgs) -> Result<u8, Failure> {
    let kind = args.format.map_or_else(|| show::format_of_name(&args.image), Ok)?;
    let new = NewImage {
        kind,
        size: args.size,
        options: args.options.concat(),
        parent: args.backing.clone().map(|b| (b, args.backing_format)),
        parents: if args.parents == ParentsArg::Folder { Parents::Folder } else { Parents::Anywhere },
    };
    ops::create(&args.image, &new).map_err(failure)?;
    let options = Options { alone: true, format: Some(kind), ..Options::default() };
    let size = Disk::open(&args.image, &options).map_or(args.size.unwrap_or(0), |d| d.size());
    let text = || format!("{}: {kind}, {} ({size} bytes)", args.image.display(), show::size(size));
    tell(&args.tell, &args.image, json!({ "format": kind.name(), "virtual-size": size }), text)
}

pub(super) fn resize(args: &ResizeArgs) -> Result<u8, Failure> {
    let mut disk = Disk::open(&args.image, &args.open.options(true)).map_err(failure)?;
    let old = disk.size();
    let new = match args.size {
        NewSize::To(size) => Some(size),
        NewSize::Plus(more) => old.checked_add(more),
        NewSize::Minus(less) => old.checked_sub(less),
    };
    let new = new.ok_or_else(|| Failure::usage(format!("the disk has {old} bytes: that is no size to come to")))?;
    if new == 0 || new % 512 != 0 {
        return Err(Failure::usage(format!("{new} bytes are not whole sectors")));
    }
    if new < old && !args.shrink {
        let text =
            "a smaller disk loses what lies beyond its end: make its partitions smaller first, then use --shrink";
        return Err(Failure::usage(text));
    }
    disk.resize(new).map_err(failure)?;
    tell(&args.tell, &args.image, json!({ "virtual-size": new, "was": old }), || "Image resized.".into())
}

pub(super) fn commit(args: &CommitArgs) -> Result<u8, Failure> {
    let options = args.open.options(false);
    let size = Disk::open(&args.image, &options).map_err(failure)?.size();
    let bar = progress::bar(size, args.tell.quiet);
    let written =
        ops::commit(&args.image, &options, !args.keep, &mut |done| bar.set_position(done)).map_err(failure)?;
    bar.finish_and_clear();
    let text = || format!("Image committed: {} written to its parent.", show::size(written));
    tell(&args.tell, &args.image, json!({ "written": written, "emptied": !args.keep }), text)
}

pub(super) fn rebase(args: &RebaseArgs) -> Result<u8, Failure> {
    let parent = (!args.backing.is_empty()).then_some((args.backing.as_str(), args.backing_format));
    let options = args.open.options(false);
    let size = Disk::open(&args.image, &Options { alone: true, ..options.clone() }).map_err(failure)?.size();
    let bar = progress::bar(size, args.tell.quiet || args.rename);
    ops::rebase(&args.image, &options, parent, !args.rename, &mut |done| bar.set_position(done)).map_err(failure)?;
    bar.finish_and_clear();
    let parent = parent.map(|p| p.0);
    tell(&args.tell, &args.image, json!({ "backing-filename": parent }), || "Image rebased.".into())
}

pub(super) fn snapshot(args: &SnapshotArgs) -> Result<u8, Failure> {
    let now = || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(0, |d| d.as_secs())
    };
    let a = &args.action;
    let action = match (&a.create, &a.apply, &a.delete) {
        (Some(name), ..) => Some(SnapshotAction::Take(name.clone(), now())),
        (_, Some(name), _) => Some(SnapshotAction::Apply(name.clone())),
        (.., Some(name)) => Some(SnapshotAction::Delete(name.clone())),
        _ => None,
    };
    let options = Options { alone: true, ..args.open.options(action.is_some()) };
    let mut disk = Disk::open(&args.image, &options).map_err(failure)?;
    if let Some(action) = action {
        ops::snapshot(&mut disk, &action).map_err(failure)?;
        if args.tell.json {
            // What there is now.
            print_json(&info::snapshots_json(&disk.snapshots().unwrap_or_default()));
        }
        return Ok(0);
    }
    let Some(snapshots) = disk.snapshots() else {
        let text = format!("{}: images of format {} have no snapshots", args.image.display(), disk.kind());
        return Err(Failure::file(text));
    };
    if args.tell.json {
        print_json(&info::snapshots_json(&snapshots));
    } else if !snapshots.is_empty() {
        print("Snapshot list:\n");
        print(&info::snapshot_table(&snapshots));
    }
    Ok(0)
}
