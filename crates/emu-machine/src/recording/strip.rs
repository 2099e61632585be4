//! A recording without what its run was: only what it depends on.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use super::RecordingError;
use super::frame::{FILE_HEAD, Found, FrameReader, Kind, write_frame};

/// Writes the recording at `from` to `to` without the hashes and the checkpoints of its run: nothing then says how the run
/// goes, so that any emu that reads the file makes a run of its own under the same inputs.
///
/// # Errors
/// [`RecordingError`].
pub fn strip(from: &Path, to: &Path) -> Result<(), RecordingError> {
    let read = |e: std::io::Error| RecordingError::host(from, &e);
    let written = |e: std::io::Error| RecordingError::host(to, &e);
    let mut input = BufReader::new(File::open(from).map_err(read)?);
    let mut head = vec![0; FILE_HEAD as usize];
    input.read_exact(&mut head).map_err(read)?;
    let mut output = BufWriter::new(File::create_new(to).map_err(written)?);
    output.write_all(&head).map_err(written)?;
    let (mut frames, mut at, mut under_way) = (FrameReader::new(input), FILE_HEAD, false);
    while let Found::Frame(kind, payload) = frames.next().map_err(read)? {
        under_way |= matches!(kind, Kind::Inputs | Kind::Spine | Kind::Progress | Kind::End);
        let tells = matches!(kind, Kind::Spine | Kind::Delta) || kind == Kind::Checkpoint && under_way;
        if !tells {
            at = write_frame(&mut output, at, kind, &payload).map_err(written)?;
        }
    }
    output.flush().map_err(written)
}
