//! Where the images of a foreign machine may be. A folder that came from somewhere else must not name the files of its new
//! owner: a guest could read them.

use std::path::{Component, Path, PathBuf};

use super::VmError;
use super::foreign::{Foreign, Product};
use crate::image::Parents;

/// The folder that a product's description keeps to; `None` for those that are written on the host itself, where absolute
/// paths are the rule.
fn home(m: &Foreign) -> Option<PathBuf> {
    let folder = m.file.parent().unwrap_or(Path::new(""));
    match m.product {
        Product::Libvirt | Product::Qemu => None,
        // `Virtual Machines` beside `Virtual Hard Disks`.
        Product::HyperV if folder.ends_with("Virtual Machines") => Some(folder.parent().unwrap_or(folder).to_owned()),
        Product::VMware | Product::Ovf | Product::HyperV => Some(folder.to_owned()),
    }
}

/// `path` without links as far as it exists, and without `.` and `..`.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => _ = out.pop(),
            Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
}

/// Where the files may be that the images of `m` name in turn, unless its owner allows them `anywhere`.
#[must_use]
pub fn parents_of(m: &Foreign, anywhere: bool) -> Parents {
    if anywhere || home(m).is_none() { Parents::Anywhere } else { Parents::Folder }
}

/// Checks that everything that `m` names lies in its own folder.
///
/// # Errors
/// [`VmError::Invalid`] with the first that does not, and what to do.
pub fn check_places(m: &Foreign) -> Result<(), VmError> {
    let Some(home) = home(m).map(|h| real(&h)) else { return Ok(()) };
    for drive in &m.drives {
        let Some(image) = &drive.image else { continue };
        if !real(image).starts_with(&home) {
            let why = format!(
                "{}: {} lies outside of the machine's folder; if that is meant, import it with `emu vm import --anywhere`",
                drive.place(),
                image.display()
            );
            return Err(VmError::invalid(&m.file, why));
        }
    }
    for (n, target) in m.serials.iter().enumerate() {
        let path = target.strip_prefix("file:").or(target.strip_prefix("unix:"));
        let Some(path) = path.map(|p| p.strip_suffix(",server").unwrap_or(p)) else { continue };
        if !real(Path::new(path)).starts_with(&home) {
            let why = format!(
                "serial{n}: {path} lies outside of the machine's folder; if that is meant, import it with `emu vm import --anywhere`"
            );
            return Err(VmError::invalid(&m.file, why));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;
    use crate::vm::foreign::{Drive, DriveKind};

    #[test]
    fn images_stay_in_the_folder() {
        let dir = TempDir::new();
        let inside = dir.file("a.vmdk", b"x");
        let check = |product, image: PathBuf| {
            let mut m = Foreign::new(product, &dir.path().join("m.vmx"));
            let mut d = Drive::new(DriveKind::Disk, "ide", 0, 0);
            d.image = Some(image);
            m.drives.push(d);
            check_places(&m).map_err(|e| e.to_string())
        };
        check(Product::VMware, inside).unwrap();
        check(Product::VMware, dir.path().join("absent/../b.vmdk")).unwrap();
        for hostile in ["../../etc/passwd", "/etc/passwd", "x/../../y"] {
            let e = check(Product::Ovf, dir.path().join(hostile)).unwrap_err();
            assert!(e.contains("outside of the machine's folder") && e.lines().count() == 1, "{e}");
            check(Product::Libvirt, dir.path().join(hostile)).unwrap();
        }
        for (target, fine) in
            [("file:a.log", true), ("file:../a", false), ("unix:/run/x,server", false), ("null", true)]
        {
            let target = target.replace("file:", &format!("file:{}/", dir.path().display()));
            let mut m = Foreign::new(Product::VMware, &dir.path().join("m.vmx"));
            m.serials = vec![target.clone()];
            assert_eq!(check_places(&m).is_ok(), fine, "{target}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link.vmdk")).unwrap();
            assert!(check(Product::VMware, dir.path().join("link.vmdk")).is_err());
        }
    }
}
