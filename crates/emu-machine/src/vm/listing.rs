//! Hyper-V machines as PowerShell lists them: a JSON file that the command of docs/MIGRATING.md writes, for every version of
//! the product and without its binary format.
//!
//! The properties are those of the Hyper-V module's own objects (`Get-VM`, `Get-VMHardDiskDrive`, …); unknown ones are
//! left alone.

use std::path::Path;

use serde::Deserialize;

use super::VmError;
use super::foreign::{Drive, DriveKind, Firmware, Foreign, Network, Product, Snapshot, SnapshotDisk, mac_address};
use super::own::Settings;
use super::snapshots::parents_first;

/// How the name of such a file ends.
pub(super) const SUFFIX: &str = ".hyperv.json";
/// The word by which it is known.
pub(super) const FORMAT: &str = "emu-hyperv-1";
/// The most drives, adapters, checkpoints of each kind.
const MOST: usize = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listing {
    name: String,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    generation: u32,
    memory_startup: u64,
    #[serde(default)]
    processor_count: u32,
    #[serde(default)]
    guest: String,
    #[serde(default)]
    disks: Vec<Place>,
    #[serde(default)]
    dvds: Vec<Place>,
    #[serde(default)]
    floppies: Vec<Option<String>>,
    #[serde(default)]
    adapters: Vec<Adapter>,
    #[serde(default)]
    com_ports: Vec<Option<String>>,
    #[serde(default)]
    startup_order: Vec<String>,
    #[serde(default)]
    checkpoints: Vec<Checkpoint>,
    /// The checkpoint that the machine follows.
    #[serde(default)]
    parent_id: Option<String>,
    #[serde(default)]
    emu: Settings,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Place {
    controller_type: String,
    controller_number: u32,
    controller_location: u32,
    path: Option<String>,
    #[serde(default)]
    read_only: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Adapter {
    #[serde(default)]
    name: String,
    #[serde(default)]
    mac_address: Option<String>,
    #[serde(default)]
    switch_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Checkpoint {
    id: String,
    name: String,
    #[serde(default)]
    parent_id: Option<String>,
    #[serde(default)]
    disks: Vec<Place>,
    /// Older listings have the disks in their order alone.
    #[serde(default)]
    paths: Vec<String>,
}

/// Whether `text` is such a listing.
pub(super) fn is_listing(text: &str) -> bool {
    text.trim_start().starts_with('{') && text.contains(FORMAT)
}

/// Reads the machine that `text`, the content of `path`, lists.
pub(super) fn read(path: &Path, text: &str) -> Result<Foreign, VmError> {
    let l: Listing = serde_json::from_str(text)
        .map_err(|e| VmError::invalid(path, format!("not a listing of a Hyper-V machine: {e}")))?;
    let mut m = Foreign::new(Product::HyperV, path);
    m.uuid = l.id;
    m.name = l.name;
    m.memory = Some(l.memory_startup);
    m.cpus = l.processor_count.max(1);
    m.guest = l.guest;
    if l.generation == 2 {
        m.firmware = Firmware::Efi;
    }
    for (kind, list) in [(DriveKind::Disk, &l.disks), (DriveKind::Cd, &l.dvds)] {
        for place in list.iter().take(MOST) {
            m.drives.push(drive(&m, kind, place));
        }
    }
    for (n, image) in l.floppies.iter().take(2).enumerate() {
        let mut d = Drive::new(DriveKind::Floppy, "floppy", 0, n as u32);
        d.image = image.as_deref().filter(|p| !p.is_empty()).map(|p| m.resolve(p));
        m.drives.push(d);
    }
    for a in l.adapters.into_iter().take(10) {
        let mac = a.mac_address.as_deref().and_then(mac_address);
        m.networks.push(Network { model: a.name, mac, connection: a.switch_name.unwrap_or_default() });
    }
    serials(&mut m, &l.com_ports);
    m.boot = l.startup_order.iter().filter_map(|d| letter(d)).collect();
    m.settings = l.emu;
    let found = l.checkpoints.into_iter().take(MOST).map(|c| Snapshot {
        disks: disks_of(&m, &c),
        current: l.parent_id.as_ref().is_some_and(|p| p.eq_ignore_ascii_case(&c.id)),
        id: c.id,
        parent: c.parent_id.filter(|p| !p.is_empty()),
        name: c.name,
    });
    m.snapshots = parents_first(found.collect());
    Ok(m)
}

fn drive(m: &Foreign, kind: DriveKind, place: &Place) -> Drive {
    let bus = place.controller_type.to_lowercase();
    let bus = if bus == "ide" || bus == "0" { "ide" } else { "scsi" };
    let mut d = Drive::new(kind, bus, place.controller_number, place.controller_location);
    d.image = place.path.as_deref().filter(|p| !p.is_empty()).map(|p| m.resolve(p));
    d.read_only = place.read_only;
    d
}

fn disks_of(m: &Foreign, c: &Checkpoint) -> Vec<SnapshotDisk> {
    let placed = c.disks.iter().map(|p| drive(m, DriveKind::Disk, p));
    let placed = placed.filter_map(|d| Some(SnapshotDisk { place: Some(d.place()), image: d.image? }));
    let listed = c.paths.iter().filter(|_| c.disks.is_empty());
    placed.chain(listed.map(|p| SnapshotDisk { place: None, image: m.resolve(p) })).take(MOST).collect()
}

/// Ports that lead nowhere are not there, unless a later one leads somewhere.
fn serials(m: &mut Foreign, ports: &[Option<String>]) {
    for (n, port) in ports.iter().take(2).enumerate() {
        if let Some(pipe) = port.as_deref().filter(|p| !p.is_empty()) {
            m.note(format!("serial{n}"), format!("{pipe} is a pipe of Windows: the port is there, with nothing at it"));
        }
        m.serials.push("null".into());
    }
}

fn letter(device: &str) -> Option<char> {
    match device {
        "Floppy" => Some('a'),
        "IDE" => Some('c'),
        "CD" => Some('d'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_of_powershell() {
        let text = r#"{"Format":"emu-hyperv-1","Name":"web","Id":"1-2","Generation":2,"MemoryStartup":1073741824,
            "ProcessorCount":2,"Extra":{"x":1},
            "Disks":[{"ControllerType":"SCSI","ControllerNumber":0,"ControllerLocation":0,"Path":"C:\\VMs\\web.vhdx"}],
            "Dvds":[{"ControllerType":"SCSI","ControllerNumber":0,"ControllerLocation":1,"Path":null}],
            "Adapters":[{"Name":"Network Adapter","MacAddress":"00155D012A00","SwitchName":"LAN"}],
            "ComPorts":["\\\\.\\pipe\\web"],
            "ParentId":"B",
            "Checkpoints":[{"Id":"b","Name":"two","ParentId":"a","Disks":[
              {"ControllerType":"SCSI","ControllerNumber":0,"ControllerLocation":0,"Path":"C:\\VMs\\web_1.avhdx"}]},
              {"Id":"a","Name":"one","Paths":["x.avhdx"]}]}"#;
        assert!(is_listing(text));
        let m = read(Path::new("/x/web.hyperv.json"), text).unwrap();
        assert_eq!((m.name.as_str(), m.memory, m.firmware), ("web", Some(1 << 30), Firmware::Efi));
        assert_eq!(m.drives[0].image.as_deref(), Some(Path::new("/x/web.vhdx")));
        assert_eq!((m.drives[0].place(), m.drives[1].image.clone()), ("scsi0:0".into(), None));
        assert_eq!(
            m.snapshots.iter().map(|s| (s.id.as_str(), s.current)).collect::<Vec<_>>(),
            [("a", false), ("b", true)]
        );
        let disk =
            |place: Option<&str>, image: &str| SnapshotDisk { place: place.map(str::to_owned), image: image.into() };
        assert_eq!(m.snapshots[0].disks, [disk(None, "/x/x.avhdx")]);
        assert_eq!(m.snapshots[1].disks, [disk(Some("scsi0:0"), "/x/web_1.avhdx")]);
        assert_eq!(m.serials, ["null"]);
    }

    #[test]
    fn damaged_listings_are_refused_in_one_line() {
        for text in
            ["{\"Format\":\"emu-hyperv-1\"}", "{\"Format\":\"emu-hyperv-1\",\"Name\":\"x\",\"MemoryStartup\":-1}", "{"]
        {
            let e = read(Path::new("l.hyperv.json"), text).unwrap_err().to_string();
            assert!(e.contains("not a listing") && e.lines().count() == 1, "{e}");
        }
    }
}
