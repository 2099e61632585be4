//! Frames: kind, length and payload, each checked; a file is a header and frames to its end.

use std::io::{Read, Write};

use emu_core::StateHash;

/// Bytes before a payload: kind, length, check of both.
const HEAD: usize = 9;
/// Bytes behind it: its check.
const TAIL: usize = 8;
/// The largest payload.
pub(super) const MAX_PAYLOAD: usize = 8 << 20;
/// Bytes of the file's header: magic and version.
pub(super) const FILE_HEAD: u64 = 12;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Configuration and file digests: the first frame.
    Start = 1,
    /// Inputs.
    Inputs = 2,
    /// A point of the spine.
    Spine = 3,
    /// How far the run has come.
    Progress = 4,
    /// Digests of disk blocks that the run has used.
    Blocks = 5,
    /// Contents of disk blocks, compressed.
    Contents = 6,
    /// Contents of a file of the machine, compressed, in parts.
    File = 7,
    /// An image that was put in while the machine ran.
    Attach = 8,
    /// A state of the machine, compressed, in parts.
    Checkpoint = 9,
    /// The end of the run.
    End = 10,
    /// What of the state has changed since the one before it, compressed, in parts.
    Delta = 11,
}

const KINDS: [Kind; 11] = [
    Kind::Start,
    Kind::Inputs,
    Kind::Spine,
    Kind::Progress,
    Kind::Blocks,
    Kind::Contents,
    Kind::File,
    Kind::Attach,
    Kind::Checkpoint,
    Kind::End,
    Kind::Delta,
];

/// The check of a frame's head at byte `at` of the file: a head that was moved or made up fails it.
fn head_check(kind: u8, len: u32, at: u64) -> u32 {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&at.to_le_bytes());
    StateHash::of(&bytes).0 as u32
}

fn payload_check(payload: &[u8]) -> u64 {
    StateHash::of(payload).0 as u64
}

/// Writes a frame at byte `at`; returns where the next one goes.
pub(super) fn write_frame(to: &mut impl Write, at: u64, kind: Kind, payload: &[u8]) -> std::io::Result<u64> {
    debug_assert!(payload.len() <= MAX_PAYLOAD);
    let len = payload.len() as u32;
    let mut bytes = Vec::with_capacity(HEAD + payload.len() + TAIL);
    bytes.push(kind as u8);
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&head_check(kind as u8, len, at).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(&payload_check(payload).to_le_bytes());
    to.write_all(&bytes)?;
    Ok(at + bytes.len() as u64)
}

/// What stands at a place of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A frame.
    Frame(Kind, Vec<u8>),
    /// The end of the file.
    End,
    /// The beginning of a frame, whose rest is not there.
    Cut,
    /// Something else.
    Damaged(&'static str),
}

/// Reads frames one by one.
pub(super) struct FrameReader<R> {
    from: R,
    /// Where the next frame begins.
    pub(super) at: u64,
}

impl<R: Read> FrameReader<R> {
    /// A reader behind the file's header.
    pub(super) fn new(from: R) -> FrameReader<R> {
        FrameReader { from, at: FILE_HEAD }
    }

    /// The next frame. After anything else than a frame there is no more.
    pub(super) fn next(&mut self) -> std::io::Result<Found> {
        let mut head = [0; HEAD];
        match fill(&mut self.from, &mut head)? {
            0 => return Ok(Found::End),
            HEAD => {}
            _ => return Ok(Found::Cut),
        }
        let [kind, a, b, c, d, rest @ ..] = head;
        let len = u32::from_le_bytes([a, b, c, d]);
        if u32::from_le_bytes(rest) != head_check(kind, len, self.at) || len as usize > MAX_PAYLOAD {
            return Ok(Found::Damaged("no record begins here"));
        }
        let mut payload = vec![0; len as usize];
        let mut tail = [0; TAIL];
        if fill(&mut self.from, &mut payload)? < payload.len() || fill(&mut self.from, &mut tail)? < TAIL {
            return Ok(Found::Cut);
        }
        if u64::from_le_bytes(tail) != payload_check(&payload) {
            return Ok(Found::Damaged("the record's contents have changed"));
        }
        let Some(kind) = KINDS.into_iter().find(|k| *k as u8 == kind) else {
            return Ok(Found::Damaged("a record of an unknown kind"));
        };
        self.at += (HEAD + payload.len() + TAIL) as u64;
        Ok(Found::Frame(kind, payload))
    }
}

/// Reads until `buf` is full or the file ends; returns how many bytes there were.
fn fill(from: &mut impl Read, buf: &mut [u8]) -> std::io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match from.read(&mut buf[done..]) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> (Vec<u8>, Vec<u64>) {
        let mut bytes = Vec::new();
        let mut edges = vec![FILE_HEAD];
        for (kind, payload) in [(Kind::Start, &b"abc"[..]), (Kind::End, &[]), (Kind::Inputs, &[7; 40])] {
            let at = edges[edges.len() - 1];
            edges.push(write_frame(&mut bytes, at, kind, payload).unwrap());
        }
        (bytes, edges)
    }

    fn read(bytes: &[u8]) -> (usize, Found) {
        let mut r = FrameReader::new(bytes);
        let mut frames = 0;
        loop {
            match r.next().unwrap() {
                Found::Frame(..) => frames += 1,
                other => return (frames, other),
            }
        }
    }

    #[test]
    fn a_file_cut_anywhere_keeps_its_whole_frames() {
        let (bytes, edges) = file();
        for n in 0..=bytes.len() {
            let whole = edges.iter().filter(|&&e| e - FILE_HEAD <= n as u64).count() - 1;
            let end = if edges.contains(&(n as u64 + FILE_HEAD)) { Found::End } else { Found::Cut };
            assert_eq!(read(&bytes[..n]), (whole, end), "cut at {n}");
        }
    }

    #[test]
    fn a_flipped_bit_is_noticed_where_it_is() {
        let (bytes, edges) = file();
        for i in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[i / 8] ^= 1 << (i % 8);
            let before = edges.iter().filter(|&&e| e - FILE_HEAD <= i as u64 / 8).count() - 1;
            let (frames, end) = read(&bytes);
            assert!(frames == before && matches!(end, Found::Damaged(_)), "bit {i}: {frames} {end:?}");
        }
    }
}
