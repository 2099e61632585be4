//! `emu disk convert`.

use std::path::Path;

use emu_machine::image::ops::{self, Conversion, Copied, NewImage};
use emu_machine::image::{Disk, Kind, Options, Parents};
use serde_json::json;

use super::args::ConvertArgs;
use super::resume::Note;
use super::{failure, info, print, print_json, progress, show};
use crate::run::Failure;

pub(super) fn convert(args: &ConvertArgs) -> Result<u8, Failure> {
    let kind = args.output_format.map_or_else(|| show::format_of_name(&args.target), Ok)?;
    let options = Options { snapshot: args.snapshot.clone(), ..args.open.options(false) };
    let mut source = Disk::open(&args.source, &options).map_err(failure)?;
    let mut note = Note::new(args);
    let from = if args.resume { note.position(args)? } else { 0 };
    if !args.resume {
        if let Some(size) = args.size.filter(|s| *s < source.size()) {
            let text = format!("{size} bytes are fewer than the disk has ({}): nothing is cut off", source.size());
            return Err(Failure::usage(text));
        }
        make(args, kind, source.size())?;
        note.remove();
    } else {
        still_the_same(args, kind, &mut source, from)?;
    }
    let copied = copy(args, kind, &mut source, from, &mut note).inspect_err(|_| {
        if !note.written {
            remove(&args.target, kind);
        }
    });
    let copied = copied.map_err(|f| match note.written {
        true => Failure { message: format!("{}; --resume goes on where it stopped", f.message), ..f },
        false => f,
    })?;
    note.remove();
    tell(args, kind, copied)
}

fn make(args: &ConvertArgs, kind: Kind, size: u64) -> Result<(), Failure> {
    if args.target.exists() {
        if !args.force {
            let or = if Note::new(args).is_there() { ", --resume goes on with its interrupted conversion" } else { "" };
            return Err(Failure::usage(format!("{} is there already; --force replaces it{or}", args.target.display())));
        }
        if same_file(&args.source, &args.target) {
            return Err(Failure::usage("source and target are the same file"));
        }
        remove(&args.target, kind);
    }
    let new = NewImage {
        kind,
        size: Some(args.size.unwrap_or(size)),
        options: args.options.concat(),
        parent: args.backing.clone().map(|b| (b, args.backing_format)),
        parents: args.open.parents(),
    };
    ops::create(&args.target, &new).map_err(failure)
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Removes an image with the files that belong to it, as far as they lie beside it.
fn remove(path: &Path, kind: Kind) {
    let options = Options { format: Some(kind), alone: true, ..Options::default() };
    let folder = path.parent();
    if let Ok(mut disk) = Disk::open(path, &options) {
        for file in ops::info(&mut disk).into_iter().flat_map(|i| i.files).filter(|f| f.parent() == folder) {
            let _ = std::fs::remove_file(file);
        }
    }
    let _ = std::fs::remove_file(path);
}

/// What an interrupted conversion has done is still what it would do: else the rest would be put to something else.
fn still_the_same(args: &ConvertArgs, kind: Kind, source: &mut Disk, done: u64) -> Result<(), Failure> {
    let options = Options { format: Some(kind), parents: Parents::Anywhere, ..Options::default() };
    let mut target = Disk::open(&args.target, &options).map_err(failure)?;
    let changed = |what: String| {
        Failure::usage(format!("{}: {what}: it was changed since; start anew with --force", args.target.display()))
    };
    if target.size() < source.size() || done > source.size() {
        return Err(changed(format!("it has {} bytes, the source {}", target.size(), source.size())));
    }
    let (mut wanted, mut found) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for at in (0..done).step_by(wanted.len()) {
        let n = (done - at).min(wanted.len() as u64) as usize;
        source.read(at, &mut wanted[..n]).map_err(failure)?;
        target.read(at, &mut found[..n]).map_err(failure)?;
        if let Some(i) = (0..n).find(|i| wanted[*i] != found[*i]) {
            return Err(changed(format!("it differs from the source at offset {}", at + i as u64)));
        }
    }
    Ok(())
}

fn copy(args: &ConvertArgs, kind: Kind, source: &mut Disk, from: u64, note: &mut Note) -> Result<Copied, Failure> {
    // What the new image names was made, or allowed, just now.
    let options = Options {
        write: true,
        format: Some(kind),
        parents: Parents::Anywhere,
        unsynced: !args.sync,
        ..Options::default()
    };
    let mut target = Disk::open(&args.target, &options).map_err(failure)?;
    let how = Conversion { compress: args.compress, from, over_parent: args.backing.is_some(), full: args.full };
    let bar = progress::bar(source.size(), args.tell.quiet);
    bar.set_position(from);
    let copied = ops::convert(source, &mut target, how, &mut |target, copied| {
        bar.set_position(copied.done);
        note.maybe(target, copied.done)
    });
    bar.finish_and_clear();
    copied.map_err(failure)
}

fn tell(args: &ConvertArgs, kind: Kind, copied: Copied) -> Result<u8, Failure> {
    let hash = match args.hash {
        false => None,
        true => {
            let options = Options { format: Some(kind), parents: Parents::Anywhere, ..Options::default() };
            let mut disk = Disk::open(&args.target, &options).map_err(failure)?;
            Some(info::hash(&mut disk, args.tell.quiet)?)
        }
    };
    if args.tell.json {
        print_json(&json!({
            "target": args.target.to_string_lossy(),
            "format": kind.name(),
            "virtual-size": copied.done,
            "written": copied.written,
            "sha256": hash,
        }));
    } else if let Some(hash) = hash {
        print(&format!("{hash}  {}\n", args.target.display()));
    }
    Ok(0)
}
