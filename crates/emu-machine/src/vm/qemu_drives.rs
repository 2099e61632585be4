//! Drives of a QEMU command line: `-hda`, `-drive`, `-blockdev` and the `-device`s that use them.

use std::collections::BTreeMap;
use std::path::Path;

use super::VmError;
use super::foreign::{Drive, DriveKind, Foreign};
use super::qemu::{get, properties};
use crate::image::Kind;

/// What `-drive if=none` and `-blockdev` promise to a `-device`: file, its format, whether it is a CD, whether it is read
/// only.
#[derive(Clone, Default)]
struct Backend {
    file: Option<String>,
    format: Option<Kind>,
    is_cd: bool,
    read_only: bool,
}

/// The drives met so far.
#[derive(Default)]
pub(super) struct Drives {
    found: Vec<(Drive, Option<String>)>,
    backends: BTreeMap<String, Backend>,
    /// Next free place of each bus.
    next: BTreeMap<String, u32>,
}

/// Devices that are drives, with their kind and bus.
const DEVICES: &[(&str, DriveKind, &str)] = &[
    ("ide-hd", DriveKind::Disk, "ide"),
    ("ide-cd", DriveKind::Cd, "ide"),
    ("scsi-hd", DriveKind::Disk, "scsi"),
    ("scsi-cd", DriveKind::Cd, "scsi"),
    ("virtio-blk", DriveKind::Disk, "virtio"),
    ("nvme", DriveKind::Disk, "nvme"),
    ("floppy", DriveKind::Floppy, "floppy"),
];

impl Drives {
    /// A disk given without an option is the first.
    pub(super) fn add_hda(&mut self, file: &str) {
        self.add(DriveKind::Disk, "ide", 0, 0, file);
    }

    fn add(&mut self, kind: DriveKind, bus: &str, controller: u32, unit: u32, file: &str) {
        self.found.push((Drive::new(kind, bus, controller, unit), Some(file.to_owned())));
    }

    /// Takes an option that is about drives; says whether it was.
    pub(super) fn take(&mut self, path: &Path, option: &str, value: &str) -> Result<bool, VmError> {
        match option {
            "hda" | "hdb" | "hdc" | "hdd" => {
                let n = u32::from(option.as_bytes()[2] - b'a');
                self.add(DriveKind::Disk, "ide", n / 2, n % 2, value);
            }
            "cdrom" => self.add(DriveKind::Cd, "ide", 1, 0, value),
            "fda" | "fdb" => self.add(DriveKind::Floppy, "floppy", 0, u32::from(option == "fdb"), value),
            "drive" => self.drive(value),
            "blockdev" => self.block_device(path, value)?,
            "device" => return Ok(self.device(value)),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn drive(&mut self, value: &str) {
        let list = properties(value, "file");
        let is_cd = get(&list, "media") == Some("cdrom");
        let read_only = ["readonly", "read-only"].iter().any(|k| get(&list, k) == Some("on"));
        let file = get(&list, "file").map(str::to_owned);
        let format = get(&list, "format").and_then(Kind::parse);
        let bus = match get(&list, "if").unwrap_or("ide") {
            "none" => {
                let id = get(&list, "id").unwrap_or_default().to_owned();
                self.backends.insert(id, Backend { file, format, is_cd, read_only });
                return;
            }
            // Firmware in flash is not a drive: `Firmware::Efi` stands for it.
            "pflash" => return,
            other => other,
        };
        let kind = match bus {
            "floppy" => DriveKind::Floppy,
            _ if is_cd => DriveKind::Cd,
            _ => DriveKind::Disk,
        };
        let number = |key| get(&list, key).and_then(|v| v.parse::<u32>().ok());
        let place = number("index").unwrap_or_else(|| self.free(bus));
        let (controller, unit) = if bus == "ide" { (place / 2, place % 2) } else { (0, place) };
        let mut d = Drive::new(kind, bus, number("bus").unwrap_or(controller), number("unit").unwrap_or(unit));
        d.read_only = read_only;
        d.format = format;
        self.found.push((d, file));
    }

    /// The next place of a bus that nothing stands at.
    fn free(&mut self, bus: &str) -> u32 {
        let n = self.next.entry(bus.to_owned()).or_default();
        let taken = |p: u32| {
            let at = if bus == "ide" { (p / 2, p % 2) } else { (0, p) };
            self.found.iter().any(|(d, _)| d.bus == bus && (d.controller, d.unit) == at)
        };
        while taken(*n) {
            *n += 1;
        }
        *n += 1;
        *n - 1
    }

    fn block_device(&mut self, path: &Path, value: &str) -> Result<(), VmError> {
        let list = if value.trim_start().starts_with('{') {
            let json = serde_json::from_str(value).map_err(|e| VmError::invalid(path, format!("-blockdev: {e}")))?;
            flatten(&json)
        } else {
            properties(value, "driver")
        };
        let Some(id) = get(&list, "node-name").map(str::to_owned) else { return Ok(()) };
        // A format node over a file node by name.
        let below = get(&list, "file").and_then(|f| self.backends.get(f)).and_then(|b| b.file.clone());
        let file = get(&list, "file.filename").or(get(&list, "filename")).map(str::to_owned).or(below);
        let read_only = get(&list, "read-only") == Some("on");
        let format = get(&list, "driver").and_then(Kind::parse);
        self.backends.insert(id, Backend { file, format, is_cd: false, read_only });
        Ok(())
    }

    fn device(&mut self, value: &str) -> bool {
        let list = properties(value, "driver");
        let driver = get(&list, "driver").unwrap_or_default();
        // Controllers and hubs of drives are noted by nobody: the drives are.
        if ["virtio-scsi", "lsi", "ahci", "ich9-ahci", "piix3-ide", "megasas"].iter().any(|c| driver.starts_with(c)) {
            return true;
        }
        let Some(&(_, kind, bus)) = DEVICES.iter().find(|(name, ..)| driver.starts_with(name)) else { return false };
        let backend = get(&list, "drive").and_then(|id| self.backends.get(id)).cloned();
        let Backend { file, format, is_cd, read_only } = backend.unwrap_or_default();
        let bus_number: Option<u32> = get(&list, "bus").and_then(|b| b.rsplit('.').next()?.parse().ok());
        let number = |key: &str| get(&list, key).and_then(|v| v.parse::<u32>().ok());
        let place = match (bus, bus_number) {
            ("ide", Some(n)) => n.min(1) * 2 + number("unit").unwrap_or(0).min(1),
            _ => self.free(bus),
        };
        let (controller, unit) = if bus == "ide" { (place / 2, place % 2) } else { (0, place) };
        let mut d = Drive::new(if is_cd { DriveKind::Cd } else { kind }, bus, controller, unit);
        d.read_only = read_only;
        d.format = format;
        d.boot_index = number("bootindex");
        self.found.push((d, file));
        true
    }

    /// Hands the drives to the machine.
    pub(super) fn finish(self, m: &mut Foreign) {
        for (mut drive, file) in self.found {
            match file {
                Some(f) if f.contains("://") || f.starts_with("nbd:") || f.starts_with("/dev/cdrom") => {
                    m.note(drive.place(), format!("{f} is not a file: the drive is empty"));
                }
                Some(f) if !f.is_empty() => drive.image = Some(m.resolve(f.strip_prefix("file:").unwrap_or(&f))),
                _ => {}
            }
            m.drives.push(drive);
        }
    }
}

/// `a.b=c` for what is nested.
fn flatten(value: &serde_json::Value) -> Vec<(String, String)> {
    use serde_json::Value;
    fn walk(prefix: &str, value: &Value, out: &mut Vec<(String, String)>) {
        match value {
            Value::Object(map) => {
                for (key, v) in map {
                    walk(&if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") }, v, out);
                }
            }
            Value::Bool(b) => out.push((prefix.into(), if *b { "on" } else { "off" }.into())),
            Value::String(s) => out.push((prefix.into(), s.clone())),
            other => out.push((prefix.into(), other.to_string())),
        }
    }
    let mut out = Vec::new();
    walk("", value, &mut out);
    out
}
