//! The log of a file that was not closed: what it still has to write [MS-VHDX 2.3].

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::super::super::format::{Kind, Result};
use super::super::super::store::Store;
use super::header::{Header, checksum, id_at, u32_at, u64_at};

const PAGE: u64 = 4096;
/// Bytes of pages that a log may have: more is not held in memory.
const MOST: usize = 64 << 20;

/// What the log writes, and the length that the file must have.
#[derive(Debug, Default)]
pub(super) struct Replay {
    pages: BTreeMap<u64, Box<[u8; PAGE as usize]>>,
    zeros: Vec<(u64, u64)>,
    len: u64,
}

struct Entry {
    bytes: Vec<u8>,
    sequence: u64,
    tail: u64,
}

/// Reads the log of `header`; an empty replay if there is none.
pub(super) fn read(store: &dyn Store, header: &Header) -> Result<Replay> {
    let mut replay = Replay { len: store.len(), ..Replay::default() };
    if header.log_id.is_nil() {
        return Ok(replay);
    }
    let (start, len) = header.log;
    let bad = |why: &str| store.bad(Kind::Vhdx, "log", start, why.to_owned());
    let log = store.read_vec(start, len as usize)?;
    let sequence = active_sequence(&log, header).ok_or_else(|| {
        bad("the file was not closed, and its log holds nothing that is whole: what it wrote last is lost, or it is damaged")
    })?;
    for entry in sequence {
        if store.len() < u64_at(&entry.bytes, 48) {
            return Err(bad("the file is shorter than it was when its log was written: it is truncated"));
        }
        replay.len = replay.len.max(u64_at(&entry.bytes, 56));
        add(&entry, &mut replay).ok_or_else(|| bad("an entry is damaged"))?;
    }
    if replay.len > 1 << 50 {
        return Err(bad("it wants an absurdly long file"));
    }
    Ok(replay)
}

/// The entry at `at` of the ring, if it is whole.
fn entry_at(log: &[u8], at: u64, header: &Header, budget: &mut u64) -> Option<Entry> {
    let len = log.len() as u64;
    let head = &log[at as usize..];
    if &head[..4] != b"loge" || id_at(head, 32) != header.log_id {
        return None;
    }
    let n = u64::from(u32_at(head, 8));
    if n < PAGE || n % PAGE != 0 || n > len {
        return None;
    }
    // Entries that overlap each other could make this slow on purpose.
    *budget = budget.checked_sub(n)?;
    let first = n.min(len - at) as usize;
    let mut bytes = log[at as usize..at as usize + first].to_vec();
    bytes.extend_from_slice(&log[..n as usize - first]);
    if checksum(&bytes) != u32_at(&bytes, 4) {
        return None;
    }
    Some(Entry { sequence: u64_at(&bytes, 16), tail: u64::from(u32_at(&bytes, 12)), bytes })
}

/// The newest run of entries that is whole from its tail on.
fn active_sequence(log: &[u8], header: &Header) -> Option<Vec<Entry>> {
    let len = log.len() as u64;
    let mut budget = len * 4 + (64 << 20);
    let mut whole: BTreeMap<u64, Entry> = BTreeMap::new();
    for at in (0..len).step_by(PAGE as usize) {
        if let Some(entry) = entry_at(log, at, header, &mut budget) {
            whole.insert(at, entry);
        }
    }
    // From the newest entry back: its tail, and all between, must be there.
    let mut heads: Vec<(u64, u64)> = whole.iter().map(|(at, e)| (e.sequence, *at)).collect();
    heads.sort_unstable();
    for &(_, head) in heads.iter().rev() {
        let mut at = whole[&head].tail;
        let mut run = Vec::new();
        let mut expected = None;
        while let Some(entry) = whole.get(&at) {
            if expected.is_some_and(|s| s != entry.sequence) || run.len() > whole.len() {
                break;
            }
            run.push(at);
            if at == head {
                return Some(run.iter().filter_map(|at| whole.remove(at)).collect());
            }
            expected = Some(entry.sequence + 1);
            at = (at + entry.bytes.len() as u64) % len;
        }
    }
    None
}

/// Adds what an entry writes.
fn add(entry: &Entry, replay: &mut Replay) -> Option<()> {
    let bytes = &entry.bytes;
    let count = u32_at(bytes, 24) as usize;
    let mut data = (64 + count.checked_mul(32)?).next_multiple_of(PAGE as usize);
    for i in 0..count {
        let d = bytes.get(64 + i * 32..96 + i * 32)?;
        let at = u64_at(d, 16);
        if u64_at(d, 24) != entry.sequence || !at.is_multiple_of(PAGE) {
            return None;
        }
        match &d[..4] {
            b"zero" => {
                let len = u64_at(d, 8);
                let end = at.checked_add(len)?;
                replay.pages.retain(|page, _| *page < at || *page >= end);
                replay.zeros.push((at, len));
            }
            b"desc" => {
                let sector = bytes.get(data..data + PAGE as usize)?;
                let sequence = u64::from(u32_at(sector, 4)) << 32 | u64::from(u32_at(sector, 4092));
                if &sector[..4] != b"data" || sequence != entry.sequence {
                    return None;
                }
                let mut page = Box::new([0; PAGE as usize]);
                page[..8].copy_from_slice(&d[8..16]);
                page[8..4092].copy_from_slice(&sector[8..4092]);
                page[4092..].copy_from_slice(&d[4..8]);
                replay.pages.insert(at, page);
                data += PAGE as usize;
                if replay.pages.len() * PAGE as usize > MOST {
                    return None;
                }
            }
            _ => return None,
        }
    }
    Some(())
}

impl Replay {
    pub(super) fn is_empty(&self) -> bool {
        self.pages.is_empty() && self.zeros.is_empty()
    }

    /// Writes it into the file.
    pub(super) fn apply(&self, store: &dyn Store) -> Result<()> {
        if store.len() < self.len {
            store.resize(self.len)?;
        }
        for (at, len) in &self.zeros {
            let end = (at + len).min(self.len.max(store.len()));
            let mut at = *at;
            let zeros = vec![0; 1 << 20];
            while at < end {
                let n = (end - at).min(zeros.len() as u64);
                store.write(at, &zeros[..n as usize])?;
                at += n;
            }
        }
        for (at, page) in &self.pages {
            store.write(*at, &page[..])?;
        }
        store.flush()
    }
}

/// A file as it will be once its log is replayed: for readers, who write nothing.
pub(super) struct Replayed {
    pub(super) file: Box<dyn Store>,
    pub(super) replay: Replay,
}

impl Store for Replayed {
    fn path(&self) -> &Path {
        self.file.path()
    }
    fn len(&self) -> u64 {
        self.replay.len
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, buf)?;
        let end = offset + buf.len() as u64;
        let mut put = |at: u64, len: u64, bytes: Option<&[u8]>| {
            let (from, to) = (at.max(offset), at.saturating_add(len).min(end));
            if from < to {
                let there = &mut buf[(from - offset) as usize..(to - offset) as usize];
                match bytes {
                    Some(bytes) => there.copy_from_slice(&bytes[(from - at) as usize..(to - at) as usize]),
                    None => there.fill(0),
                }
            }
        };
        self.replay.zeros.iter().for_each(|(at, len)| put(*at, *len, None));
        let first = offset / PAGE * PAGE;
        self.replay.pages.range(first..end).for_each(|(at, page)| put(*at, PAGE, Some(&page[..])));
        Ok(())
    }
    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::Error::other("its log is replayed for reading only"))
    }
    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::Error::other("its log is replayed for reading only"))
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn allocated(&self) -> u64 {
        self.file.allocated()
    }
}
