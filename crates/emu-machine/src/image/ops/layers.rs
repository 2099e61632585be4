//! Chains of parents: putting an image's contents into its parent, and putting it on another parent.

use std::path::Path;

use super::super::ImageError;
use super::super::disk::{Disk, Options, is_zero};
use super::super::files::Parents;
use super::super::format::{Kind, Result, Where};
use super::SnapshotAction;
use super::create::find_parent;

/// Bytes copied at a time.
const PIECE: u64 = 1 << 20;

/// Writes what the image at `path` has into its parent; returns the bytes written. With `empty` the image has nothing of
/// its own afterwards.
///
/// # Errors
/// Any [`ImageError`]. Until the parent has all, the image keeps all.
pub fn commit(path: &Path, options: &Options, empty: bool, each: &mut dyn FnMut(u64)) -> Result<u64> {
    let no_way = |why: &str| ImageError::NoWay { path: path.to_owned(), why: why.to_owned().into() };
    let chain = Disk::open(path, &Options { write: false, ..options.clone() })?;
    let Some(parent) = chain.layers().get(1) else { return Err(no_way("it has no parent to commit to")) };
    let parent_path = parent.store(0).path().to_owned();
    let parent_kind = parent.kind();
    let size = chain.size();
    // Both are opened a second time, for writing: the chain's own handles on them must go first.
    drop(chain);
    let mut top = Disk::open(path, &Options { write: empty, alone: true, ..options.clone() })?;
    let parents = Parents::Anywhere; // the chain was allowed just now
    let write = Options { write: true, format: Some(parent_kind), parents, ..Options::default() };
    let mut base = Disk::open(&parent_path, &write)?;
    if base.size() < size {
        base.resize(size)?;
    }
    let mut written = 0;
    let mut buf = vec![0; PIECE as usize];
    let mut at = 0;
    while at < size {
        let (_, extent) = top.locate(at, (size - at).min(PIECE))?;
        let bytes = &mut buf[..extent.len as usize];
        match extent.place {
            Where::Parent => {}
            Where::Zero => base.write_zeros(at, extent.len)?,
            _ => {
                top.read(at, bytes)?;
                if is_zero(bytes) {
                    base.write_zeros(at, extent.len)?
                } else {
                    base.write(at, bytes)?
                }
                written += extent.len;
            }
        }
        at += extent.len;
        each(at);
    }
    base.flush()?;
    let identity = base.layers()[0].identity();
    let parent = top.layers()[0].parent();
    drop(base);
    if empty {
        top.clear()?;
    }
    // The parent's content changed, and with it perhaps its identity: an image that stays as it is fits it still.
    if let Some(parent) = parent.filter(|p| p.identity != identity) {
        if !empty {
            drop(top);
            top = Disk::open(path, &Options { write: true, alone: true, ..options.clone() })?;
        }
        let name = parent.names.first().cloned().unwrap_or_default();
        let new = find_parent(path, &name, parent.kind.or(Some(parent_kind)), Parents::Anywhere)?;
        top.set_parent(Some(&new))?;
    }
    top.flush()?;
    Ok(written)
}

/// Puts the image at `path` on another parent, or on none. With `keep` its disk stays the same: what the parents show
/// differently is written into the image; without, only the name changes.
///
/// # Errors
/// Any [`ImageError`].
pub fn rebase(
    path: &Path,
    options: &Options,
    parent: Option<(&str, Option<Kind>)>,
    keep: bool,
    each: &mut dyn FnMut(u64),
) -> Result<()> {
    let new = match parent {
        Some((name, kind)) if keep => Some(find_parent(path, name, kind, options.parents)?),
        Some((name, kind)) => Some(find_parent(path, name, kind, options.parents).or_else(|e| match kind {
            // Without looking at it, a parent may be named that is not there yet.
            Some(kind) => Ok(super::super::format::NewParent {
                name: name.into(),
                absolute: name.into(),
                kind,
                identity: super::super::format::Identity::None,
                size: 0,
            }),
            None => Err(e),
        })?),
        None => None,
    };
    if keep {
        let mut disk = Disk::open(path, &Options { write: true, ..options.clone() })?;
        let mut other = match &new {
            Some(new) => Some(Disk::open(
                &new.absolute,
                &Options { write: false, format: Some(new.kind), parents: Parents::Anywhere, ..Options::default() },
            )?),
            None => None,
        };
        keep_contents(&mut disk, other.as_mut(), each)?;
        disk.set_parent(new.as_ref())?;
        return disk.flush();
    }
    let mut disk = Disk::open(path, &Options { write: true, alone: true, ..options.clone() })?;
    disk.set_parent(new.as_ref())?;
    disk.flush()
}

/// Writes into the image what its new parent would show differently.
fn keep_contents(disk: &mut Disk, mut other: Option<&mut Disk>, each: &mut dyn FnMut(u64)) -> Result<()> {
    let size = disk.size();
    let (mut old, mut new) = (vec![0; PIECE as usize], vec![0; PIECE as usize]);
    let grain = disk.block().clamp(512, PIECE);
    let mut at = 0;
    while at < size {
        let extent = disk.top().locate(at, (size - at).min(grain - at % grain))?;
        let n = extent.len as usize;
        if extent.place == Where::Parent {
            disk.read(at, &mut old[..n])?;
            match &mut other {
                Some(other) => other.read(at, &mut new[..n])?,
                None => new[..n].fill(0),
            }
            if old[..n] != new[..n] {
                disk.write(at, &old[..n])?;
            }
        }
        at += extent.len;
        each(at);
    }
    disk.flush()
}

/// Takes, applies or deletes a snapshot inside of an image.
///
/// # Errors
/// Any [`ImageError`].
pub fn snapshot(disk: &mut Disk, action: &SnapshotAction) -> Result<()> {
    let path = disk.layers()[0].store(0).path().to_owned();
    let no = || ImageError::NoWay { path, why: "this format has no snapshots; qcow2 has".into() };
    disk.change_top(|top| {
        let snapshots = top.snapshots().ok_or_else(no)?;
        match action {
            SnapshotAction::Take(name, seconds) => snapshots.take(name, *seconds),
            SnapshotAction::Apply(name) => snapshots.apply(name),
            SnapshotAction::Delete(name) => snapshots.delete(name),
        }
    })
}
