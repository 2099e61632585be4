//! What there is to know about an image.

use std::path::PathBuf;

use super::super::disk::Disk;
use super::super::format::{Identity, Kind, Snapshot};

/// Facts about one image of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its file.
    pub path: PathBuf,
    /// Its format.
    pub kind: Kind,
    /// Bytes of its disk.
    pub size: u64,
    /// Bytes that all its files take on the host.
    pub allocated: u64,
    /// Its unit of allocation, 0 if it has none.
    pub block: u64,
    /// The name of its parent, as the image says it.
    pub parent: Option<String>,
    /// The parent's format, if the image says it.
    pub parent_kind: Option<Kind>,
    /// What the format has to say.
    pub facts: Vec<(&'static str, String)>,
    /// Its snapshots.
    pub snapshots: Vec<Snapshot>,
    /// All its files, if they are several.
    pub files: Vec<PathBuf>,
}

/// Facts about the image and its parents, the image first.
pub fn info(disk: &mut Disk) -> Vec<Info> {
    disk.layers_mut()
        .iter_mut()
        .map(|layer| {
            let snapshots = layer.snapshots().map(|s| s.list()).unwrap_or_default();
            let stores = || (0..layer.stores()).map(|i| layer.store(i));
            let parent = layer.parent();
            let mut facts = layer.facts();
            if let Some(ParentId(id)) = parent.as_ref().and_then(|p| ParentId::of(p.identity)) {
                facts.push(("parent id", id));
            }
            Info {
                path: layer.store(0).path().to_owned(),
                kind: layer.kind(),
                size: layer.size(),
                allocated: stores().map(|s| s.allocated()).sum(),
                block: layer.block(),
                parent_kind: parent.as_ref().and_then(|p| p.kind),
                parent: parent.and_then(|p| p.names.into_iter().next()),
                facts,
                snapshots,
                files: if layer.stores() > 1 { stores().map(|s| s.path().to_owned()).collect() } else { Vec::new() },
            }
        })
        .collect()
}

/// What a parent must say of itself, in words.
struct ParentId(String);

impl ParentId {
    fn of(identity: Identity) -> Option<ParentId> {
        (identity != Identity::None).then(|| ParentId(identity.to_string()))
    }
}
