//! Hyper-V's `.xml` configurations of Windows Server 2008 to 2012 R2.
//!
//! [`super::vmcx`] turns the binary `.vmcx` of later versions into such a document.

use std::path::{Path, PathBuf};

use roxmltree::Node;

use super::VmError;
use super::foreign::{Drive, DriveKind, Foreign, Network, Product, Snapshot, SnapshotDisk, mac_address};
use super::snapshots::parents_first;
use super::xml::{child, children, is, text};
use super::{vmcx, xml};

/// Reads the configuration at `root`.
pub(super) fn read(path: &Path, root: Node<'_, '_>) -> Result<Foreign, VmError> {
    let mut m = Foreign::new(Product::HyperV, path);
    if let Some(name) = text(root, &["properties", "name"]) {
        m.name = name.into();
    }
    m.uuid = text(root, &["properties", "global_id"]).map(str::to_owned);
    let settings =
        child(root, "settings").ok_or_else(|| VmError::invalid(path, "no <settings>: is it a checkpoint's index?"))?;
    m.memory = memory(path, settings)?;
    m.cpus = text(settings, &["processors", "count"]).and_then(|t| t.parse().ok()).unwrap_or(1);
    // Generation 2 machines have no BIOS.
    if text(root, &["properties", "subtype"]) == Some("1") {
        m.firmware = super::Firmware::Efi;
    }
    take_devices(&mut m, root);
    m.boot = boot_order(root);
    if let Some(state) = text(root, &["savedstate", "memlocation"]).or(text(root, &["savedstate", "vsvlocation"])) {
        let what = format!("the machine was saved, its memory is in {state}: it starts anew, as after a power cut");
        m.note("saved state", what);
    }
    checkpoints(&mut m, text(root, &["properties", "parent_id"]));
    Ok(m)
}

fn take_devices(m: &mut Foreign, root: Node<'_, '_>) {
    let mut controllers = 0;
    for device in root.children().filter(Node::is_element) {
        take_device(m, device, &mut controllers);
    }
}

/// `<memory><bank><size>` is in MiB.
fn memory(path: &Path, settings: Node<'_, '_>) -> Result<Option<u64>, VmError> {
    let Some(size) = text(settings, &["memory", "bank", "size"]) else { return Ok(None) };
    let bytes = size.parse::<u64>().ok().and_then(|n| n.checked_mul(1 << 20));
    bytes
        .map(Some)
        .ok_or_else(|| VmError::invalid(path, format!("<memory><bank><size> is `{size}`, not a number of megabytes")))
}

/// A device's element is named by its class's GUID; what it is shows by what it holds.
fn take_device(m: &mut Foreign, device: Node<'_, '_>, controllers: &mut u32) {
    let drives: Vec<_> = device.children().filter(|n| n.tag_name().name().starts_with("controller")).collect();
    // One device holds both IDE controllers; each SCSI controller is a device of its own.
    let bus = if drives.len() == 2 { "ide" } else { "scsi" };
    for controller in &drives {
        let n = if bus == "ide" { number_behind(*controller, "controller") } else { *controllers };
        for drive in controller.children().filter(|n| n.tag_name().name().starts_with("drive")) {
            m.drives.extend(read_drive(m, drive, bus, n));
        }
    }
    if bus == "scsi" && !drives.is_empty() {
        *controllers += 1;
    }
    if drives.is_empty()
        && let Some(path) = text(device, &["drive0", "pathname"])
    {
        let mut floppy = Drive::new(DriveKind::Floppy, "floppy", 0, 0);
        floppy.image = Some(m.resolve(path));
        m.drives.push(floppy);
    }
    if let Some(mac) = text(device, &["MacAddress"]) {
        m.networks.push(Network {
            model: text(device, &["FriendlyName"]).unwrap_or("Network Adapter").into(),
            mac: mac_address(mac),
            connection: text(device, &["Connection", "AltSwitchName"])
                .or(text(device, &["SwitchName"]))
                .unwrap_or_default()
                .into(),
        });
    }
    for port in device.children().filter(|n| n.tag_name().name().starts_with("port")) {
        if let Some(pipe) = text(port, &["connection"]).or(text(port, &["pipename"])) {
            m.note("serial port", format!("{pipe} is a pipe of Windows: the port is there, with nothing at it"));
            m.serials.push("null".into());
        }
    }
}

fn number_behind(node: Node<'_, '_>, prefix: &str) -> u32 {
    node.tag_name().name().strip_prefix(prefix).and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn read_drive(m: &Foreign, node: Node<'_, '_>, bus: &str, controller: u32) -> Option<Drive> {
    let kind = match text(node, &["type"])? {
        "VHD" => DriveKind::Disk,
        "ISO" => DriveKind::Cd,
        "NONE" => return None,
        _ => DriveKind::Disk,
    };
    let mut d = Drive::new(kind, bus, controller, number_behind(node, "drive"));
    d.image = text(node, &["pathname"]).map(|p| m.resolve(p));
    Some(d)
}

/// `<boot_device0>` and on: `Floppy`, `Optical`, `IDE`, `Net`.
fn boot_order(root: Node<'_, '_>) -> String {
    let letter = |n: Node<'_, '_>| match n.text().unwrap_or_default().trim() {
        "Floppy" => Some('a'),
        "IDE" => Some('c'),
        "Optical" => Some('d'),
        _ => None,
    };
    root.descendants()
        .filter(|n| n.tag_name().name().starts_with("device") && n.parent().is_some_and(|p| is(p, "boot")))
        .filter_map(letter)
        .collect()
}

/// Checkpoints: each is a configuration of its own in the folder `Snapshots` of the export. `last` is the one that the
/// machine's present state follows.
fn checkpoints(m: &mut Foreign, last: Option<&str>) {
    let machine = m.file.parent().unwrap_or_else(|| Path::new(""));
    let folder = machine.parent().unwrap_or(machine).join("Snapshots");
    let Ok(entries) = std::fs::read_dir(&folder) else { return };
    let is_one = |p: &PathBuf| has_extension(p, "xml") || has_extension(p, "vmcx");
    let mut files: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).filter(is_one).take(1000).collect();
    files.sort();
    let mut found = Vec::new();
    for file in files {
        match checkpoint(m, &file, last) {
            Ok(checkpoint) => found.extend(checkpoint),
            // The machine itself is whole without it.
            Err(e) => m.note("checkpoint", format!("left out: {e}")),
        }
    }
    m.snapshots = parents_first(found);
}

fn checkpoint(m: &Foreign, file: &Path, last: Option<&str>) -> Result<Option<Snapshot>, VmError> {
    let bytes = super::read_file(file)?;
    let binary = vmcx::is_storage(&bytes) || has_extension(file, "vmcx");
    let source = if binary { vmcx::to_xml(file, &bytes)? } else { super::decode(&bytes) };
    let doc = xml::parse(file, &source)?;
    let root = doc.root_element();
    if !is_configuration(root) {
        return Ok(None);
    }
    let id = file.file_stem().unwrap_or_default().to_string_lossy().to_uppercase();
    // Its paths count from where the machine's do.
    let mut then = Foreign::new(Product::HyperV, &m.file);
    take_devices(&mut then, root);
    let disks = then.drives.into_iter().filter(|d| d.kind == DriveKind::Disk);
    Ok(Some(Snapshot {
        parent: text(root, &["properties", "parent_id"]).map(plain_id),
        name: text(root, &["properties", "name"]).unwrap_or(&id).into(),
        disks: disks.filter_map(|d| Some(SnapshotDisk { place: Some(d.place()), image: d.image? })).collect(),
        current: last.is_some_and(|l| plain_id(l) == id),
        id,
    }))
}

/// A GUID as the names of configurations have it.
fn plain_id(text: &str) -> String {
    text.trim_matches(['{', '}']).to_uppercase()
}

/// Whether `path` ends in `.extension`, in any case.
pub(super) fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case(extension))
}

/// Whether `root` is a machine's configuration.
pub(super) fn is_configuration(root: Node<'_, '_>) -> bool {
    is(root, "configuration") && children(root, "properties").next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::xml;

    const XML: &str = r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<configuration>
  <_83f8638b-8dca-4152-9eda-2ca8b33039b4_>
    <VDEVVersion type="integer">512</VDEVVersion>
    <controller0><drive0><pathname type="string">C:\VMs\nt\nt.vhd</pathname><type type="string">VHD</type></drive0>
      <drive1><pathname type="string"></pathname><type type="string">NONE</type></drive1></controller0>
    <controller1><drive0><pathname type="string">C:\iso\cd.iso</pathname><type type="string">ISO</type></drive0></controller1>
  </_83f8638b-8dca-4152-9eda-2ca8b33039b4_>
  <_ea63fd07-bc00-41e9-a2fc-e4fc4b4fa4a3_>
    <controller0><drive0><pathname type="string">C:\VMs\nt\data.vhdx</pathname><type type="string">VHD</type></drive0></controller0>
  </_ea63fd07-bc00-41e9-a2fc-e4fc4b4fa4a3_>
  <_adapter_><FriendlyName type="string">Legacy Network Adapter</FriendlyName><MacAddress type="string">00155D012A00</MacAddress></_adapter_>
  <properties><global_id type="string">11112222-3333</global_id><name type="string">nt box</name><subtype type="integer">0</subtype></properties>
  <settings><memory><bank><size type="integer">512</size></bank></memory><processors><count type="integer">2</count></processors></settings>
</configuration>"#;

    #[test]
    fn a_configuration_of_2012() {
        let doc = xml::parse(Path::new("m.xml"), XML).unwrap();
        assert!(is_configuration(doc.root_element()));
        let m = read(Path::new("/x/Virtual Machines/m.xml"), doc.root_element()).unwrap();
        assert_eq!((m.name.as_str(), m.memory, m.cpus), ("nt box", Some(512 << 20), 2));
        let places: Vec<_> = m.drives.iter().map(|d| (d.place(), d.kind)).collect();
        use DriveKind::*;
        assert_eq!(places, [("ide0:0".into(), Disk), ("ide1:0".into(), Cd), ("scsi0:0".into(), Disk)]);
        assert_eq!(m.networks[0].mac.as_deref(), Some("00:15:5d:01:2a:00"));
    }
}
