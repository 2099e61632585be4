//! `emu disk check` and `emu disk repair`.

use std::path::Path;

use emu_machine::image::{Disk, Findings, Fix, Options};
use serde_json::json;

use super::args::{CheckArgs, RepairArgs, TellArgs};
use super::{DIFFERS, LEAKS, NO_CHECK, failure, print, print_json};
use crate::run::Failure;

pub(super) fn check(args: &CheckArgs) -> Result<u8, Failure> {
    judge(&args.image, args.open.options(false), Fix::Nothing, &args.tell)
}

pub(super) fn repair(args: &RepairArgs) -> Result<u8, Failure> {
    let fix = if args.leaks { Fix::Leaks } else { Fix::All };
    judge(&args.image, Options { repair: true, ..args.open.options(true) }, fix, &args.tell)
}

fn judge(path: &Path, options: Options, fix: Fix, tell: &TellArgs) -> Result<u8, Failure> {
    let mut disk = Disk::open(path, &Options { alone: true, ..options }).map_err(failure)?;
    let Some(found) = disk.check(fix).map_err(failure)? else {
        if tell.json {
            print_json(&json!({ "filename": path.to_string_lossy(), "format": disk.kind().name(), "checked": false }));
        } else if !tell.quiet {
            print(&format!("{}: images of format {} have no tables to check\n", path.display(), disk.kind()));
        }
        return Ok(NO_CHECK);
    };
    if tell.json {
        print_json(&json!({
            "filename": path.to_string_lossy(),
            "format": disk.kind().name(),
            "checked": true,
            "corruptions": found.error_count,
            "leaks": found.leaks,
            "fixed": found.fixed,
            "image-end-offset": found.end,
            "total-clusters": found.blocks,
            "allocated-clusters": found.allocated,
            "compressed-clusters": found.compressed,
            "errors": found.errors,
        }));
    } else if !tell.quiet {
        print(&to_text(&found));
    }
    Ok(match found {
        Findings { error_count: 1.., .. } => DIFFERS,
        Findings { leaks: 1.., .. } => LEAKS,
        _ => 0,
    })
}

fn to_text(f: &Findings) -> String {
    let mut text = String::new();
    f.errors.iter().for_each(|e| text.push_str(&format!("ERROR {e}\n")));
    if f.error_count > f.errors.len() as u64 {
        text.push_str(&format!("… and {} more\n", f.error_count - f.errors.len() as u64));
    }
    if f.fixed > 0 {
        text.push_str(&format!("{} problems were repaired.\n", f.fixed));
    }
    if f.error_count > 0 {
        let s = if f.error_count == 1 { " was" } else { "s were" };
        text.push_str(&format!("\n{} error{s} found on the image.\n", f.error_count));
        text.push_str("Data may be lost, or will be by writing. `emu disk repair` puts right what can be.\n");
    }
    if f.leaks > 0 {
        let s = if f.leaks == 1 { " is" } else { "s are" };
        text.push_str(&format!("{} cluster{s} taken by nothing: {} bytes wasted, no harm.\n", f.leaks, f.leaked_bytes));
    }
    if f.error_count == 0 && f.leaks == 0 {
        text.push_str("No errors were found on the image.\n");
    }
    if f.blocks > 0 {
        let percent = |n: u64, of: u64| n as f64 * 100.0 / of.max(1) as f64;
        text.push_str(&format!(
            "{}/{} = {:.2}% allocated, {:.2}% of them compressed\n",
            f.allocated,
            f.blocks,
            percent(f.allocated, f.blocks),
            percent(f.compressed, f.allocated)
        ));
    }
    text.push_str(&format!("Image end offset: {}\n", f.end));
    text
}
