//! What older versions of the format wrote otherwise.

use serde::{Deserialize, Serialize};

use super::reader::decode;
use super::wire::{Attach, DriveKind, Start, WireDrive, WireFile, WireImage, WireMachine};

/// An image before version 2: diskettes had no geometry of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ImageV1 {
    path: String,
    read_only: bool,
    size: Option<u64>,
    sectors: u64,
    format: Option<String>,
    parents_anywhere: bool,
    snapshot: Option<String>,
    packed: bool,
}

impl From<ImageV1> for WireImage {
    fn from(old: ImageV1) -> WireImage {
        let ImageV1 { path, read_only, size, sectors, format, parents_anywhere, snapshot, packed } = old;
        WireImage { path, read_only, size, sectors, format, parents_anywhere, snapshot, geometry: None, packed }
    }
}

/// The start frame's payload, of any version.
pub(super) fn start(version: u32, payload: &[u8]) -> Result<Start, &'static str> {
    type V1 = (String, WireMachine, Vec<WireFile>, Vec<(DriveKind, Option<ImageV1>)>);
    if version > 1 {
        return decode(payload);
    }
    let (emu, machine, files, drives): V1 = decode(payload)?;
    let drives = drives.into_iter().map(|(kind, image)| WireDrive { kind, image: image.map(WireImage::from) });
    Ok(Start { emu, machine, files, drives: drives.collect() })
}

/// The payload of an attach frame, of any version.
pub(super) fn attach(version: u32, payload: &[u8]) -> Result<Attach, &'static str> {
    if version > 1 {
        return decode(payload);
    }
    let (kind, image): (DriveKind, ImageV1) = decode(payload)?;
    Ok(Attach { kind, image: image.into() })
}
