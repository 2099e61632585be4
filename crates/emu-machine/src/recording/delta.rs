//! Deltas: checkpoints in the file, each with what changed since the one before it.

use std::io::{Read, Write};

use emu_core::mem::PageImage;
use emu_core::timeline::{PageKey, SpinePoint, Stored};

use super::wire::DeltaHead;

/// zstd's level: a page or two is hardly worth a longer look, and most of a run's pages are written only once.
const LEVEL: i32 = 1;

/// A stored checkpoint as bytes of a zstd stream.
pub(super) fn pack(stored: &Stored) -> std::io::Result<Vec<u8>> {
    let mut last = 0;
    let entry = |(key, image): &(PageKey, PageImage)| {
        let step = key.raw() - core::mem::replace(&mut last, key.raw());
        (step, image.bytes().map_or(0, |b| b.len() as u16))
    };
    let pages = stored.pages.iter().map(entry).collect();
    let head = DeltaHead { a20: stored.a20, devices: stored.devices.to_vec(), pages };
    let mut out = zstd::Encoder::new(Vec::new(), LEVEL)?;
    out.write_all(&postcard::to_allocvec(&head).map_err(std::io::Error::other)?)?;
    stored.pages.iter().filter_map(|p| p.1.bytes()).try_for_each(|bytes| out.write_all(bytes))?;
    out.finish()
}

/// The other way round. `limit` is the most that the bytes may unpack to.
pub(super) fn unpack(bytes: &[u8], limit: u64, point: &SpinePoint) -> Result<Stored, &'static str> {
    const BAD: &str = "the checkpoint does not unpack";
    let mut all = Vec::new();
    let decoder = zstd::Decoder::new(bytes).map_err(|_| BAD)?;
    decoder.take(limit + 1).read_to_end(&mut all).map_err(|_| BAD)?;
    if all.len() as u64 > limit {
        return Err("the checkpoint unpacks to too much");
    }
    let (head, mut contents): (DeltaHead, &[u8]) = postcard::take_from_bytes(&all).map_err(|_| BAD)?;
    let mut key = 0u64;
    let mut page = |(step, len): (u64, u16)| {
        key = key.checked_add(step)?;
        let (bytes, rest) = contents.split_at_checked(len.into())?;
        contents = rest;
        Some((PageKey::from_raw(key), PageImage::of(bytes)))
    };
    let pages: Option<Vec<_>> = head.pages.into_iter().map(&mut page).collect();
    let pages = pages.filter(|_| contents.is_empty()).ok_or(BAD)?;
    Ok(Stored { at: point.at, hash: point.hash, a20: head.a20, devices: head.devices.into(), pages })
}
