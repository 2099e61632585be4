//! `emu disk map`.

use emu_machine::image::Disk;
use emu_machine::image::ops::{self, MapEntry};
use serde_json::{Value, json};

use super::args::MapArgs;
use super::{failure, print};
use crate::run::Failure;

pub(super) fn map(args: &MapArgs) -> Result<u8, Failure> {
    let mut disk = Disk::open(&args.image, &args.open.options(false)).map_err(failure)?;
    if args.json {
        let mut first = true;
        print("[");
        let told = ops::map(&mut disk, &mut |entry| {
            print(if core::mem::take(&mut first) { "" } else { ",\n" });
            print(&to_json(entry).to_string());
        });
        print("]\n");
        return told.map(|()| 0).map_err(failure);
    }
    print(&format!("{:<16}{:<16}{:<16}File\n", "Offset", "Length", "Mapped to"));
    ops::map(&mut disk, &mut |entry| {
        if entry.data {
            print(&to_text(entry));
        }
    })
    .map_err(failure)?;
    Ok(0)
}

fn to_text(e: &MapEntry) -> String {
    let (place, file) = match &e.place {
        Some((path, at)) => (format!("{at:#x}"), path.display().to_string()),
        None => ("-".into(), "(compressed)".into()),
    };
    format!("{:<16}{:<16}{place:<16}{file}\n", format!("{:#x}", e.start), format!("{:#x}", e.length))
}

fn to_json(e: &MapEntry) -> Value {
    let mut value = json!({
        "start": e.start,
        "length": e.length,
        "depth": e.depth,
        "present": e.present,
        "zero": e.zero,
        "data": e.data,
        "compressed": e.compressed,
    });
    if let Some((path, at)) = &e.place {
        value["offset"] = (*at).into();
        value["file"] = path.to_string_lossy().into();
    }
    value
}
