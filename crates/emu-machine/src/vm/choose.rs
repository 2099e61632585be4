//! Another state of a machine than its present one: a snapshot or checkpoint of its tree.

use super::VmError;
use super::foreign::{DriveKind, Foreign, Product, Snapshot, SnapshotDisk};

/// Gives `m` the disks that it had at the snapshot `wanted`, by its name or its id. A machine of libvirt's or QEMU's has its
/// snapshots inside of its images, which are opened later: there only the name is noted.
///
/// # Errors
/// [`VmError::Invalid`] if there is none of this name, or more than one, with those that there are.
pub fn choose_snapshot(m: &mut Foreign, wanted: &str) -> Result<(), VmError> {
    if m.snapshots.is_empty() && matches!(m.product, Product::Libvirt | Product::Qemu) {
        m.inside = Some(wanted.to_owned());
        return Ok(());
    }
    let found = find(m, wanted)?;
    let Snapshot { id, name, disks, .. } = m.snapshots[found].clone();
    for (n, disk) in disks.into_iter().enumerate() {
        put_back(m, n, disk);
    }
    m.snapshots.iter_mut().for_each(|s| s.current = s.id == id);
    m.note(
        "snapshot",
        format!("the disks are those of `{name}`; memory, CPUs and devices are the machine's present ones"),
    );
    Ok(())
}

fn find(m: &Foreign, wanted: &str) -> Result<usize, VmError> {
    if let Some(n) = m.snapshots.iter().position(|s| s.id.eq_ignore_ascii_case(wanted)) {
        return Ok(n);
    }
    let named: Vec<usize> = (0..m.snapshots.len()).filter(|n| m.snapshots[*n].name == wanted).collect();
    let list = |numbers: &mut dyn Iterator<Item = usize>| {
        let words = numbers.take(20).map(|n| format!("`{}` ({})", m.snapshots[n].name, m.snapshots[n].id));
        words.collect::<Vec<_>>().join(", ")
    };
    let why = match named[..] {
        [n] => return Ok(n),
        [] if m.snapshots.is_empty() => format!("no snapshot `{wanted}`: the machine has none"),
        [] => format!("no snapshot `{wanted}`; there are: {}", list(&mut (0..m.snapshots.len()))),
        _ => format!("{} snapshots are called `{wanted}`: name one by its id: {}", named.len(), {
            list(&mut named.iter().copied())
        }),
    };
    Err(VmError::invalid(&m.file, why))
}

/// The `n`-th disk of a snapshot goes where it was.
fn put_back(m: &mut Foreign, n: usize, disk: SnapshotDisk) {
    let mut disks = m.drives.iter_mut().filter(|d| d.kind == DriveKind::Disk);
    let drive = match &disk.place {
        Some(place) => disks.find(|d| d.place() == *place),
        None => disks.nth(n),
    };
    match drive {
        Some(drive) => drive.image = Some(disk.image),
        None => {
            let place = disk.place.unwrap_or_else(|| format!("disk{n}"));
            m.note(place, format!("{} was there at the snapshot, and is not any more: left out", disk.image.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::vm::foreign::Drive;

    fn machine() -> Foreign {
        let mut m = Foreign::new(Product::VMware, Path::new("/x/m.vmx"));
        for (unit, image) in [(0, "/x/a-000002.vmdk"), (1, "/x/b.vmdk")] {
            m.drives.push(Drive { image: Some(image.into()), ..Drive::new(DriveKind::Disk, "scsi", 0, unit) });
        }
        let snapshot = |id: &str, name: &str, disks: &[(Option<&str>, &str)]| Snapshot {
            id: id.into(),
            parent: None,
            name: name.into(),
            disks: disks.iter().map(|(p, i)| SnapshotDisk { place: p.map(str::to_owned), image: i.into() }).collect(),
            current: id == "3",
        };
        m.snapshots = vec![
            snapshot("1", "fresh", &[(Some("scsi0:0"), "/x/a.vmdk"), (Some("ide0:0"), "/x/gone.vmdk")]),
            snapshot("2", "twice", &[(None, "/x/first.vmdk"), (None, "/x/second.vmdk")]),
            snapshot("3", "twice", &[]),
        ];
        m
    }

    fn images(m: &Foreign) -> Vec<&str> {
        m.drives.iter().map(|d| d.image.as_ref().unwrap().to_str().unwrap()).collect()
    }

    #[test]
    fn disks_go_back_to_where_they_were() {
        let mut m = machine();
        choose_snapshot(&mut m, "fresh").unwrap();
        assert_eq!(images(&m), ["/x/a.vmdk", "/x/b.vmdk"]);
        assert!(m.snapshots[0].current && !m.snapshots[2].current);
        assert!(m.notes.iter().any(|n| n.about == "ide0:0" && n.text.contains("left out")), "{:?}", m.notes);
        let mut m = machine();
        choose_snapshot(&mut m, "2").unwrap();
        assert_eq!(images(&m), ["/x/first.vmdk", "/x/second.vmdk"]);
    }

    #[test]
    fn names_that_do_not_tell_are_refused() {
        let wrong = |m: &mut Foreign, name: &str| choose_snapshot(m, name).unwrap_err().to_string();
        assert!(wrong(&mut machine(), "old").contains("`fresh` (1), `twice` (2), `twice` (3)"));
        assert!(wrong(&mut machine(), "twice").contains("2 snapshots are called `twice`"));
        let mut bare = Foreign::new(Product::VMware, Path::new("/x/m.vmx"));
        assert!(wrong(&mut bare, "x").ends_with("the machine has none"));
        bare.product = Product::Qemu;
        choose_snapshot(&mut bare, "x").unwrap();
        assert_eq!(bare.inside.as_deref(), Some("x"));
    }
}
