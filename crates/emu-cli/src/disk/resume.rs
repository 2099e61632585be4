//! What a conversion leaves beside its target, so that it can go on after an interruption.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use emu_machine::image::{Disk, ImageError};
use serde_json::{Value, json};

use super::args::ConvertArgs;
use crate::run::Failure;

/// Bytes written between two notes, at least.
const BYTES: u64 = 64 << 20;
/// Time between two notes, at least.
const TIME: Duration = Duration::from_secs(2);

/// The note beside a target.
pub(super) struct Note {
    path: PathBuf,
    what: Value,
    at: u64,
    when: Instant,
    /// Bytes and time between two notes.
    every: (u64, Duration),
    /// Whether there is one on the disk.
    pub(super) written: bool,
}

impl Note {
    pub(super) fn new(args: &ConvertArgs) -> Note {
        let mut name = args.target.as_os_str().to_owned();
        name.push(".emu-convert");
        let every = args.note_every.map_or((BYTES, TIME), |bytes| (bytes, Duration::ZERO));
        Note { path: name.into(), what: describe(args), at: 0, when: Instant::now(), every, written: false }
    }

    /// Where an interrupted conversion stands.
    pub(super) fn position(&mut self, args: &ConvertArgs) -> Result<u64, Failure> {
        if args.options.iter().flatten().any(|(key, value)| key == "subformat" && value == "streamOptimized") {
            let text = "a streamOptimized image is written in one go, so that no conversion into it can go on: start anew \
                        with --force";
            return Err(Failure::usage(format!("{}: {text}", args.target.display())));
        }
        let bad = |why: &str| Failure::usage(format!("{}: {why}", self.path.display()));
        let text = std::fs::read(&self.path).map_err(|_| bad("there is no interrupted conversion to go on with"))?;
        let mut note: Value = serde_json::from_slice(&text).map_err(|_| bad("it is not a note of a conversion"))?;
        let at = note["position"].take().as_u64().ok_or_else(|| bad("it has no position"))?;
        if note["of"] != self.what {
            return Err(bad("the source or the options changed since; start anew with --force"));
        }
        self.written = true;
        self.at = at;
        Ok(at)
    }

    /// Whether an earlier conversion left one.
    pub(super) fn is_there(&self) -> bool {
        self.path.exists()
    }

    /// Writes where the conversion stands, if that is worth it by now.
    pub(super) fn maybe(&mut self, target: &mut Disk, done: u64) -> Result<(), ImageError> {
        let too_soon = done - self.at < self.every.0 || self.when.elapsed() < self.every.1;
        if too_soon || target.is_written_once() {
            return Ok(());
        }
        target.sync()?;
        (self.at, self.when) = (done, Instant::now());
        let text = json!({ "of": self.what, "position": done }).to_string();
        let mut new = self.path.clone().into_os_string();
        new.push(".new");
        // Without a note the conversion is only not resumable.
        self.written |= std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, &self.path)).is_ok();
        Ok(())
    }

    /// The conversion is complete, or starts anew.
    pub(super) fn remove(&self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// What must be the same for a conversion to go on.
fn describe(args: &ConvertArgs) -> Value {
    let meta = std::fs::metadata(&args.source).ok();
    let time = meta.as_ref().and_then(|m| m.modified().ok()).and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
    let text = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned();
    json!({
        "source": text(&args.source),
        "bytes": meta.map(|m| m.len()),
        "changed": time.map(|t| t.as_nanos().to_string()),
        "format": args.output_format.map(|f| f.name()),
        "options": args.options.concat(),
        "compress": args.compress,
        "full": args.full,
        "size": args.size,
        "backing": args.backing,
        "snapshot": args.snapshot,
    })
}
