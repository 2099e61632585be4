//! `emu disk compare`.

use emu_machine::image::ops::{self, Difference};
use emu_machine::image::{Disk, Options};
use serde_json::json;

use super::args::CompareArgs;
use super::{DIFFERS, failure, print, print_json, progress};
use crate::run::Failure;

pub(super) fn compare(args: &CompareArgs) -> Result<u8, Failure> {
    let options = args.open.options(false);
    let mut first = Disk::open(&args.first, &options).map_err(failure)?;
    let mut second = Disk::open(&args.second, &Options { format: args.second_format, ..options }).map_err(failure)?;
    let bar = progress::bar(first.size().max(second.size()), args.tell.quiet);
    let difference = ops::compare(&mut first, &mut second, &mut |done| bar.set_position(done)).map_err(failure)?;
    bar.finish_and_clear();
    let (equal, text, offset) = match difference {
        None => (true, "Images are identical.".into(), None),
        Some(Difference::Size(a, b)) if args.strict => (false, format!("Image sizes differ: {a} and {b} bytes!"), None),
        Some(Difference::Size(a, b)) => {
            (true, format!("Images are identical, but for zeros at the end of one ({a} and {b} bytes)."), None)
        }
        Some(Difference::At(at)) => (false, format!("Content mismatch at offset {at}!"), Some(at)),
        Some(Difference::Beyond(at)) => {
            (false, format!("Content mismatch at offset {at}: beyond the end of the shorter image!"), Some(at))
        }
    };
    if args.tell.json {
        print_json(&json!({ "equal": equal, "offset": offset, "sizes": [first.size(), second.size()] }));
    } else if !args.tell.quiet {
        print(&format!("{text}\n"));
    }
    Ok(if equal { 0 } else { DIFFERS })
}
