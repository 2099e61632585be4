//! The formats, one file or folder each.

pub(crate) mod cue;
pub(crate) mod imd;
pub(crate) mod qcow2;
pub(crate) mod raw;
pub(crate) mod split;
pub(crate) mod vdi;
pub(crate) mod vhd;
pub(crate) mod vhdx;
pub(crate) mod vmdk;

use super::files::Files;
use super::format::{Format, Kind, Result};
use super::probe::container;
use super::store::Store;

/// Opens the layer in `store`; what else it needs (extents, data files) comes from `files`.
pub(crate) fn open(
    store: Box<dyn Store>,
    kind: Option<Kind>,
    files: &mut Files,
    write: bool,
    repair: bool,
) -> Result<Box<dyn Format>> {
    let kind = match kind {
        Some(kind) => kind,
        None => probe_store(&*store)?,
    };
    Ok(match kind {
        Kind::Raw if split::is_first(store.path(), files) => Box::new(split::Split::open(store, files, write)?),
        Kind::Raw => Box::new(raw::Raw::open(store)),
        Kind::Split => Box::new(split::Split::open(store, files, write)?),
        Kind::Qcow2 => Box::new(qcow2::Qcow2::open(store, files, write, repair)?),
        Kind::Vhd => Box::new(vhd::Vhd::open(store, files)?),
        Kind::Vmdk => Box::new(vmdk::Vmdk::open(store, files, write)?),
        Kind::Vhdx => Box::new(vhdx::Vhdx::open(store, write)?),
        Kind::Vdi => Box::new(vdi::Vdi::open(store, files)?),
        Kind::Imd => Box::new(imd::Imd::open(store)?),
        Kind::Cue => Box::new(cue::Cue::open(store, files, write)?),
    })
}

/// What the store's content says. A fixed VHD's beginning is its guest's, and so may be another format's end: where both
/// say something, its owner must.
pub(crate) fn probe_store(store: &dyn Store) -> Result<Kind> {
    let len = store.len();
    let head = store.read_vec(0, len.min(512) as usize)?;
    let tail: [u8; 512] = store.read_array(len.saturating_sub(512))?;
    let tail = &tail[..len.min(512) as usize];
    match container(&head, tail) {
        Some(kind) if kind != Kind::Vhd && vhd::ends_fixed(tail) => {
            let why = format!("it begins like {kind}, and ends like a fixed vhd: say by its format which it is");
            Err(store.no_way(why))
        }
        kind => Ok(kind.unwrap_or(Kind::Raw)),
    }
}
