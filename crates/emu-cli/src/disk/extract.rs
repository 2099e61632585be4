//! `emu disk extract`: partitions and stretches of a disk as raw files.

use std::path::Path;

use emu_machine::image::ops::{self, NewImage, Partition};
use emu_machine::image::{Disk, Kind, Options};
use serde_json::{Value, json};

use super::args::ExtractArgs;
use super::{failure, print, print_json, progress, show};
use crate::run::Failure;

/// Bytes copied at a time.
const PIECE: u64 = 1 << 20;

pub(super) fn extract(args: &ExtractArgs) -> Result<u8, Failure> {
    let options = Options { snapshot: args.snapshot.clone(), ..args.open.options(false) };
    let mut disk = Disk::open(&args.image, &options).map_err(failure)?;
    let Some(target) = &args.target else {
        list(&ops::partitions(&mut disk).map_err(failure)?, args.tell.json);
        return Ok(0);
    };
    let (start, length) = stretch(args, &mut disk)?;
    copy(&mut disk, start, length, target, args.tell.quiet)?;
    if args.tell.json {
        print_json(&json!({ "offset": start, "length": length, "file": target.to_string_lossy() }));
    } else if !args.tell.quiet {
        print(&format!("{}: {} from offset {start}\n", target.display(), show::size(length)));
    }
    Ok(0)
}

fn stretch(args: &ExtractArgs, disk: &mut Disk) -> Result<(u64, u64), Failure> {
    if let Some(number) = args.partition {
        let all = ops::partitions(disk).map_err(failure)?;
        let found = all.iter().find(|p| p.number == number);
        let found = found.ok_or_else(|| {
            let numbers: Vec<String> = all.iter().map(|p| p.number.to_string()).collect();
            let there = if all.is_empty() { "it has none".into() } else { format!("it has {}", numbers.join(", ")) };
            Failure::usage(format!("{}: no partition {number}; {there}", args.image.display()))
        })?;
        return Ok((found.start, found.length));
    }
    let start = args.offset.unwrap_or(0);
    let left = disk.size().saturating_sub(start);
    let length = args.length.unwrap_or(left);
    if length > left {
        let text = format!("{}: the disk ends {left} bytes after offset {start}", args.image.display());
        return Err(Failure::usage(text));
    }
    Ok((start, length))
}

fn copy(disk: &mut Disk, start: u64, length: u64, target: &Path, quiet: bool) -> Result<(), Failure> {
    ops::create(target, &NewImage::new(Kind::Raw, length)).map_err(failure)?;
    if length == 0 {
        return Ok(());
    }
    let write = Options { write: true, format: Some(Kind::Raw), ..Options::default() };
    let mut out = Disk::open(target, &write).map_err(failure)?;
    let bar = progress::bar(length, quiet);
    let mut buf = vec![0; PIECE as usize];
    let mut done = 0;
    while done < length {
        let n = PIECE.min(length - done) as usize;
        disk.read(start + done, &mut buf[..n]).map_err(failure)?;
        if buf[..n].iter().any(|b| *b != 0) {
            out.write(done, &buf[..n]).map_err(failure)?;
        }
        done += n as u64;
        bar.set_position(done);
    }
    bar.finish_and_clear();
    out.flush().map_err(failure)
}

fn list(partitions: &[Partition], json: bool) {
    if json {
        let one = |p: &Partition| json!({ "number": p.number, "start": p.start, "length": p.length, "type": p.kind });
        return print_json(&Value::Array(partitions.iter().map(one).collect()));
    }
    if partitions.is_empty() {
        return print("no partition table\n");
    }
    print(&format!("{:<8}{:<16}{:<16}{:<12}Type\n", "Number", "Start", "Length", ""));
    for p in partitions {
        print(&format!("{:<8}{:<16}{:<16}{:<12}{}\n", p.number, p.start, p.length, show::size(p.length), p.kind));
    }
}
