//! VMware's snapshots: the `.vmsd` beside a `.vmx`.

use std::path::Path;

use super::foreign::{Foreign, Snapshot, SnapshotDisk};
use super::lines::Lines;
use super::{VmError, decode, read_file};

/// The most snapshots that are read; the product itself allows fewer.
const MOST: u32 = 1000;

/// Adds the snapshots of `m`'s `.vmsd`, if there is one.
pub(super) fn read_vmsd(m: &mut Foreign) -> Result<(), VmError> {
    let path = m.file.with_extension("vmsd");
    if !path.is_file() {
        return Ok(());
    }
    let bytes = read_file(&path)?;
    read_snapshot_list(m, &path, &bytes)
}

/// Adds the snapshots that the bytes of the `.vmsd` at `path` list.
///
/// # Errors
/// [`VmError::Invalid`] with the line that is wrong.
pub fn read_snapshot_list(m: &mut Foreign, path: &Path, bytes: &[u8]) -> Result<(), VmError> {
    let lines = Lines::parse(path, &decode(bytes))?;
    let current = lines.get("snapshot.current").map(str::to_owned);
    let count = lines.number("snapshot.numsnapshots").unwrap_or(0).min(MOST);
    let mut found = Vec::new();
    for n in 0..count {
        let key = |name: &str| format!("snapshot{n}.{name}");
        let Some(id) = lines.get(&key("uid")) else { continue };
        let disks = lines.number(&key("numdisks")).unwrap_or(0).min(64);
        let disk = |d: u32| {
            let of = |name: &str| lines.get(&key(&format!("disk{d}.{name}")));
            // The node is the disk's place: `scsi0:0`.
            Some(SnapshotDisk { place: of("node").map(str::to_lowercase), image: m.resolve(of("filename")?) })
        };
        found.push(Snapshot {
            id: id.into(),
            parent: lines.get(&key("parent")).map(str::to_owned),
            name: lines.get(&key("displayname")).unwrap_or(id).into(),
            disks: (0..disks).filter_map(disk).collect(),
            current: current.as_deref() == Some(id),
        });
    }
    m.snapshots = parents_first(found);
    Ok(())
}

/// Orders a tree so that each node follows its parent. Nodes whose parent is missing, or is among their own
/// descendants, become roots.
pub(super) fn parents_first(mut nodes: Vec<Snapshot>) -> Vec<Snapshot> {
    let mut ordered: Vec<Snapshot> = Vec::with_capacity(nodes.len());
    while !nodes.is_empty() {
        let ready = |s: &Snapshot| s.parent.as_ref().is_none_or(|p| ordered.iter().any(|o| o.id == *p));
        let (mut next, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut nodes).into_iter().partition(ready);
        nodes = rest;
        if next.is_empty() {
            let mut root = nodes.remove(0);
            root.parent = None;
            next.push(root);
        }
        ordered.append(&mut next);
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;
    use crate::vm::foreign::Product;

    const VMSD: &str = r#".encoding = "UTF-8"
snapshot.lastUID = "3"
snapshot.current = "2"
snapshot0.uid = "1"
snapshot0.displayName = "fresh"
snapshot0.numDisks = "1"
snapshot0.disk0.fileName = "a.vmdk"
snapshot0.disk0.node = "scsi0:0"
snapshot1.uid = "2"
snapshot1.parent = "1"
snapshot1.displayName = "patched"
snapshot1.numDisks = "1"
snapshot1.disk0.fileName = "a-000001.vmdk"
snapshot1.disk0.node = "SCSI0:0"
snapshot.numSnapshots = "2"
"#;

    #[test]
    fn a_chain_of_two() {
        let dir = TempDir::new();
        dir.file("m.vmsd", VMSD.as_bytes());
        let mut m = Foreign::new(Product::VMware, &dir.path().join("m.vmx"));
        read_vmsd(&mut m).unwrap();
        let names: Vec<_> = m.snapshots.iter().map(|s| (s.name.as_str(), s.parent.as_deref(), s.current)).collect();
        assert_eq!(names, [("fresh", None, false), ("patched", Some("1"), true)]);
        let disk = SnapshotDisk { place: Some("scsi0:0".into()), image: dir.path().join("a-000001.vmdk") };
        assert_eq!(m.snapshots[1].disks, [disk]);
    }

    #[test]
    fn a_ring_of_parents_ends() {
        let node = |id: &str, parent: &str| Snapshot {
            id: id.into(),
            parent: Some(parent.into()),
            name: id.into(),
            disks: vec![],
            current: false,
        };
        let order = parents_first(vec![node("a", "b"), node("b", "a"), node("c", "b")]);
        assert_eq!(order.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(order[0].parent, None);
    }
}
