//! `emu disk info`.

use emu_machine::image::ops::{self, Info};
use emu_machine::image::{Disk, Snapshot};
use serde_json::{Map, Value, json};

use super::args::InfoArgs;
use super::{failure, print, print_json, progress, show};
use crate::run::Failure;

pub(super) fn info(args: &InfoArgs) -> Result<u8, Failure> {
    // Of one image alone something can be said even if its parent is missing.
    let mut options = args.open.options(false);
    options.alone = !args.backing_chain && !args.hash;
    let mut disk = Disk::open(&args.image, &options).map_err(failure)?;
    let hash = args.hash.then(|| hash(&mut disk, args.tell.quiet)).transpose()?;
    let mut infos = ops::info(&mut disk);
    if !args.backing_chain {
        infos.truncate(1);
    }
    if args.tell.json {
        let mut values: Vec<Value> = infos.iter().map(to_json).collect();
        if let Some(hash) = hash {
            values[0]["sha256"] = hash.into();
        }
        print_json(&if args.backing_chain { Value::Array(values) } else { values.remove(0) });
        return Ok(0);
    }
    let mut texts: Vec<String> = infos.iter().map(to_text).collect();
    if let Some(hash) = hash {
        texts[0].push_str(&format!("sha256 of the disk: {hash}\n"));
    }
    print(&texts.join("\n"));
    Ok(0)
}

/// The hash of a disk's contents.
pub(super) fn hash(disk: &mut Disk, quiet: bool) -> Result<String, Failure> {
    let bar = progress::bar(disk.size(), quiet);
    let hash = ops::sha256(disk, &mut |done| bar.set_position(done)).map_err(failure)?;
    bar.finish_and_clear();
    Ok(hash)
}

fn to_text(info: &Info) -> String {
    let mut text = format!(
        "image: {}\nfile format: {}\nvirtual size: {} ({} bytes)\ndisk size: {}\n",
        info.path.display(),
        info.kind,
        show::size(info.size),
        info.size,
        show::size(info.allocated)
    );
    if info.block > 0 {
        text.push_str(&format!("cluster_size: {}\n", info.block));
    }
    if let Some(parent) = &info.parent {
        text.push_str(&format!("backing file: {parent}\n"));
    }
    if let Some(kind) = info.parent_kind {
        text.push_str(&format!("backing file format: {kind}\n"));
    }
    if !info.snapshots.is_empty() {
        text.push_str("Snapshot list:\n");
        text.push_str(&snapshot_table(&info.snapshots));
    }
    if !info.facts.is_empty() {
        text.push_str("Format specific information:\n");
        info.facts.iter().for_each(|(name, value)| text.push_str(&format!("    {name}: {value}\n")));
    }
    if !info.files.is_empty() {
        text.push_str("Files:\n");
        info.files.iter().for_each(|f| text.push_str(&format!("    {}\n", f.display())));
    }
    text
}

/// The snapshots as a table.
pub(super) fn snapshot_table(snapshots: &[Snapshot]) -> String {
    let mut text = format!("{:<10}{:<20}{:>10}  {:<20} {}\n", "ID", "TAG", "VM SIZE", "DATE (UTC)", "VM CLOCK");
    for s in snapshots {
        let (size, date) = (show::size(s.state_bytes), show::date(s.seconds));
        let clock = show::clock(s.guest_ns);
        text.push_str(&format!("{:<10}{:<20}{size:>10}  {date:<20} {clock}\n", s.id, s.name));
    }
    text
}

/// The snapshots as JSON.
pub(super) fn snapshots_json(snapshots: &[Snapshot]) -> Value {
    let one = |s: &Snapshot| {
        json!({
            "id": s.id,
            "name": s.name,
            "vm-state-size": s.state_bytes,
            "date-sec": s.seconds,
            "vm-clock-nsec": s.guest_ns,
            "virtual-size": s.size,
        })
    };
    Value::Array(snapshots.iter().map(one).collect())
}

fn to_json(info: &Info) -> Value {
    let mut value = json!({
        "filename": info.path.to_string_lossy(),
        "format": info.kind.name(),
        "virtual-size": info.size,
        "actual-size": info.allocated,
    });
    if info.block > 0 {
        value["cluster-size"] = info.block.into();
    }
    if let Some(parent) = &info.parent {
        value["backing-filename"] = parent.clone().into();
    }
    if let Some(kind) = info.parent_kind {
        value["backing-filename-format"] = kind.name().into();
    }
    if !info.snapshots.is_empty() {
        value["snapshots"] = snapshots_json(&info.snapshots);
    }
    if !info.facts.is_empty() {
        let facts: Map<String, Value> = info.facts.iter().map(|(k, v)| (k.replace(' ', "-"), typed(v))).collect();
        value["format-specific"] = Value::Object(facts);
    }
    if !info.files.is_empty() {
        value["files"] = info.files.iter().map(|f| f.to_string_lossy().into_owned()).collect();
    }
    value
}

fn typed(text: &str) -> Value {
    match text {
        "true" => true.into(),
        "false" => false.into(),
        text => text.parse::<u64>().map_or_else(|_| text.into(), Value::from),
    }
}
