//! `emu disk`: looking at disk images, changing and converting them.

mod args;
mod change;
mod check;
mod compare;
mod convert;
mod extract;
mod info;
mod map;
pub(crate) mod progress;
mod resume;
mod show;

use emu_machine::image::ImageError;

pub(crate) use args::{DiskArgs, DiskVerb};

use crate::run::{Failure, plain};

/// A check found errors; two images differ.
const DIFFERS: u8 = 4;
/// A check found unused space, and nothing else.
const LEAKS: u8 = 5;
/// There is nothing to check in this format.
const NO_CHECK: u8 = 6;

/// The part of `emu disk --help` that lists the codes.
pub(crate) fn exit_codes_help() -> &'static str {
    "Exit codes:\n\
     \x20   0  done; a check found nothing; the images are equal\n\
     \x20   1  something on the host failed\n\
     \x20   2  the command line is wrong\n\
     \x20   3  an image can't be used\n\
     \x20   4  check: errors were found; compare: the images differ\n\
     \x20   5  check: space is taken that nothing uses, and nothing else is wrong\n\
     \x20   6  check: the format has nothing to check"
}

/// Runs one command; returns the exit code.
pub(crate) fn run(args: DiskArgs) -> Result<u8, Failure> {
    match args.verb {
        DiskVerb::Info(a) => info::info(&a),
        DiskVerb::Check(a) => check::check(&a),
        DiskVerb::Repair(a) => check::repair(&a),
        DiskVerb::Convert(a) => convert::convert(&a),
        DiskVerb::Create(a) => change::create(&a),
        DiskVerb::Resize(a) => change::resize(&a),
        DiskVerb::Commit(a) => change::commit(&a),
        DiskVerb::Rebase(a) => change::rebase(&a),
        DiskVerb::Snapshot(a) => change::snapshot(&a),
        DiskVerb::Compare(a) => compare::compare(&a),
        DiskVerb::Map(a) => map::map(&a),
        DiskVerb::Extract(a) => extract::extract(&a),
    }
}

/// An image that can't be used, or the host's fault.
fn failure(e: ImageError) -> Failure {
    let text = plain(&e.to_string());
    match e {
        ImageError::Host { .. } => Failure::host(text),
        ImageError::Spec(_) => Failure::usage(text),
        _ => Failure::file(text),
    }
}

/// Prints to the standard output; a reader that went away is no error.
pub(crate) fn print(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Prints a value as JSON.
fn print_json(value: &serde_json::Value) {
    print(&format!("{value:#}\n"));
}
