//! A machine as another product describes it, without that product's words.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::image::Kind;

/// Whose machine it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// VMware Workstation, Player, Fusion, ESXi: a `.vmx` file.
    VMware,
    /// Any product that writes OVF: `.ovf`, `.ova`.
    Ovf,
    /// Hyper-V: an export folder.
    HyperV,
    /// libvirt: a domain XML.
    Libvirt,
    /// QEMU: a command line.
    Qemu,
}

impl Product {
    /// Its name, as it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Product::VMware => "VMware",
            Product::Ovf => "OVF",
            Product::HyperV => "Hyper-V",
            Product::Libvirt => "libvirt",
            Product::Qemu => "QEMU",
        }
    }
}

/// What kind of drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriveKind {
    /// A hard disk.
    Disk,
    /// A CD or DVD drive.
    Cd,
    /// A diskette drive.
    Floppy,
}

/// A drive and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drive {
    /// What it is.
    pub kind: DriveKind,
    /// The controller: `ide`, `sata`, `scsi`, `nvme`, `virtio`, `floppy`, `usb`.
    pub bus: String,
    /// Which controller of that kind.
    pub controller: u32,
    /// Which place at it.
    pub unit: u32,
    /// The image; none is an empty drive (or a drive of the host).
    pub image: Option<PathBuf>,
    /// The image's format, where the description or the product leaves no doubt: then the image is not asked, whose
    /// guest could have written anything to its beginning.
    pub format: Option<Kind>,
    /// Whether the guest's writes are refused.
    pub read_only: bool,
    /// Place in the boot order, if the description gives one for each drive.
    pub boot_index: Option<u32>,
}

impl Drive {
    /// A drive at a place of a controller.
    #[must_use]
    pub fn new(kind: DriveKind, bus: &str, controller: u32, unit: u32) -> Drive {
        Drive { kind, bus: bus.into(), controller, unit, image: None, format: None, read_only: false, boot_index: None }
    }

    /// Its name in messages: `scsi0:1`.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}{}:{}", self.bus, self.controller, self.unit)
    }
}

/// What starts the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Firmware {
    /// A PC BIOS.
    #[default]
    Bios,
    /// UEFI.
    Efi,
    /// A file.
    File(PathBuf),
}

/// A network card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// The product's name of the card: `e1000`, `vmxnet3`, `virtio`.
    pub model: String,
    /// Its address as six bytes in hexadecimal, with colons.
    pub mac: Option<String>,
    /// What it is connected to, in the product's words.
    pub connection: String,
}

/// A snapshot or checkpoint, as a node of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The product's id of it.
    pub id: String,
    /// The id of the one before.
    pub parent: Option<String>,
    /// What the owner called it.
    pub name: String,
    /// Its disks.
    pub disks: Vec<SnapshotDisk>,
    /// Whether the machine's state follows it.
    pub current: bool,
}

/// A disk as it was at a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotDisk {
    /// Its place, as [`Drive::place`] says it; none if the description gives disks in their order alone.
    pub place: Option<String>,
    /// The image, to which nothing was written since.
    pub image: PathBuf,
}

/// Something that the owner must know: what it was about, and what was made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The part: `scsi0`, `numvcpus`.
    pub about: String,
    /// What was chosen instead, or that nothing was.
    pub text: String,
}

/// A kernel that is started without a boot loader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kernel {
    /// The kernel's file.
    pub image: PathBuf,
    /// Its initial RAM disk.
    pub initrd: Option<PathBuf>,
    /// Its command line.
    pub append: String,
}

/// A machine of another product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// Whose.
    pub product: Product,
    /// The file that describes it; relative paths in it count from its folder.
    pub file: PathBuf,
    /// What the owner calls it.
    pub name: String,
    /// The product's id.
    pub uuid: Option<String>,
    /// Bytes of RAM.
    pub memory: Option<u64>,
    /// Virtual CPUs.
    pub cpus: u32,
    /// The CPU model, in emu's words, if the description names one that emu has.
    pub cpu: Option<String>,
    /// The guest's system in the product's words.
    pub guest: String,
    /// What starts it.
    pub firmware: Firmware,
    /// All drives.
    pub drives: Vec<Drive>,
    /// Boot order as emu's letters: `a`, `c`, `d`.
    pub boot: String,
    /// Serial ports, as `SerialTarget` texts.
    pub serials: Vec<String>,
    /// Network cards.
    pub networks: Vec<Network>,
    /// A kernel that is started directly.
    pub kernel: Option<Kernel>,
    /// The clock's start, as emu's `rtc`.
    pub rtc: Option<String>,
    /// What an export of emu's has kept of a machine.toml, by its keys.
    pub settings: BTreeMap<String, String>,
    /// Snapshots, each before its children.
    pub snapshots: Vec<Snapshot>,
    /// The snapshot inside of its images that the machine starts from.
    pub inside: Option<String>,
    /// What could not be taken over.
    pub notes: Vec<Note>,
}

impl Foreign {
    pub(super) fn new(product: Product, file: &std::path::Path) -> Foreign {
        Foreign {
            product,
            file: file.to_owned(),
            name: file.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            uuid: None,
            memory: None,
            cpus: 1,
            cpu: None,
            guest: String::new(),
            firmware: Firmware::Bios,
            drives: Vec::new(),
            boot: String::new(),
            serials: Vec::new(),
            networks: Vec::new(),
            kernel: None,
            rtc: None,
            settings: BTreeMap::new(),
            snapshots: Vec::new(),
            inside: None,
            notes: Vec::new(),
        }
    }

    pub(super) fn note(&mut self, about: impl Into<String>, text: impl Into<String>) {
        self.notes.push(Note { about: about.into(), text: text.into() });
    }

    /// A path of the description, from the folder that the description is in. Windows separators are taken for ours.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        let folder = self.file.parent().unwrap_or_else(|| std::path::Path::new(""));
        match windows_path(path) {
            // A path of another host: the file itself, if it was brought along, stands beside the description, or where a
            // Hyper-V export has its disks.
            Some(name) => {
                let places = ["", "../Virtual Hard Disks", "Virtual Hard Disks"].map(|p| folder.join(p).join(&name));
                let there = places.iter().find(|p| p.exists()).cloned();
                there.unwrap_or_else(|| folder.join(name))
            }
            None => folder.join(path.strip_prefix("file://").unwrap_or(path)),
        }
    }
}

/// For a Windows path: what to look for beside the description. An absolute one loses its folders.
fn windows_path(path: &str) -> Option<String> {
    let absolute = path.as_bytes().get(1) == Some(&b':') || path.starts_with("\\\\");
    if absolute {
        Some(path.rsplit(['\\', '/']).next().unwrap_or(path).to_owned())
    } else {
        path.contains('\\').then(|| path.replace('\\', "/"))
    }
}

/// A hardware address as emu writes it, if `text` is one in any of the products' forms.
pub(super) fn mac_address(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| !matches!(c, ':' | '-' | '.')).collect();
    let valid = digits.len() == 12 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let pairs = |d: &str| (0..6).map(|i| d[2 * i..2 * i + 2].to_lowercase()).collect::<Vec<_>>().join(":");
    valid.then(|| pairs(&digits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn paths_of_other_hosts_are_looked_for_beside_the_description() {
        let f = Foreign::new(Product::HyperV, Path::new("/vms/x/machine.xml"));
        assert_eq!(f.resolve(r"C:\VMs\My Disk.vhd"), Path::new("/vms/x/My Disk.vhd"));
        assert_eq!(f.resolve(r"..\Disks\a.vhd"), Path::new("/vms/x/../Disks/a.vhd"));
        assert_eq!(f.resolve("/abs/a.img"), Path::new("/abs/a.img"));
        assert_eq!(f.resolve("a.vmdk"), Path::new("/vms/x/a.vmdk"));
        assert_eq!(f.name, "machine");
    }

    #[test]
    fn addresses_in_all_forms() {
        assert_eq!(mac_address("00155D012A00").as_deref(), Some("00:15:5d:01:2a:00"));
        assert_eq!(mac_address("00-15-5D-01-2A-00").as_deref(), Some("00:15:5d:01:2a:00"));
        assert_eq!((mac_address("00155D012A0"), mac_address("zz:15:5d:01:2a:00")), (None, None));
    }
}
