//! OVF descriptors [OVF 1.1, DMTF DSP0243], as VMware, VirtualBox and others write them.

use std::collections::BTreeMap;
use std::path::Path;

use roxmltree::Node;

use super::VmError;
use super::foreign::{Drive, DriveKind, Firmware, Foreign, Network, Product, mac_address};
use super::xml::{attribute, child, children, is, text};

/// Controllers by their InstanceID: bus, and which of that kind.
type Controllers = BTreeMap<String, (&'static str, u32)>;

/// Reads the envelope at `root`.
pub(super) fn read(path: &Path, root: Node<'_, '_>) -> Result<Foreign, VmError> {
    let mut m = Foreign::new(Product::Ovf, path);
    let system = child(root, "VirtualSystem")
        .or_else(|| root.descendants().find(|n| is(*n, "VirtualSystem")))
        .ok_or_else(|| VmError::invalid(path, "no VirtualSystem in the envelope: it describes no machine"))?;
    let others = root.descendants().filter(|n| is(*n, "VirtualSystem")).count() - 1;
    if others > 0 {
        m.note("VirtualSystemCollection", format!("only the first of {} machines is taken", others + 1));
    }
    if let Some(name) = text(system, &["Name"]).or(attribute(system, "id")) {
        m.name = name.into();
    }
    if let Some(os) = child(system, "OperatingSystemSection") {
        m.guest = attribute(os, "osType").or(text(os, &["Description"])).unwrap_or_default().into();
    }
    let disks = disk_files(path, root)?;
    let hardware = child(system, "VirtualHardwareSection")
        .ok_or_else(|| VmError::invalid(path, "the VirtualSystem has no VirtualHardwareSection"))?;
    let firmware = |n: &Node<'_, '_>| attribute(*n, "key") == Some("firmware") && attribute(*n, "value") == Some("efi");
    if hardware.descendants().any(|n| firmware(&n)) {
        m.firmware = Firmware::Efi;
    }
    for extra in children(hardware, "ExtraConfig") {
        let key = attribute(extra, "key").and_then(|k| k.strip_prefix("emu."));
        if let (Some(key), Some(value)) = (key, attribute(extra, "value")) {
            m.settings.insert(key.into(), value.into());
        }
    }
    // `vmx-19` is a machine of VMware's, whose tools look for its backdoor.
    if text(hardware, &["System", "VirtualSystemType"]).is_some_and(|t| t.starts_with("vmx-")) {
        m.settings.entry("hypervisor".into()).or_insert_with(|| "vmware".into());
    }
    let items: Vec<_> =
        hardware.children().filter(|n| ["Item", "StorageItem", "EthernetPortItem"].iter().any(|i| is(*n, i))).collect();
    let controllers = controllers(&items);
    for item in items {
        take_item(path, &mut m, item, &controllers, &disks)?;
    }
    Ok(m)
}

/// Disk ids with the files that hold them. Files that are compressed as a whole, or cut into chunks [OVF 1.1 7.1], are
/// refused: nothing could be put over them.
fn disk_files(path: &Path, root: Node<'_, '_>) -> Result<BTreeMap<String, String>, VmError> {
    for file in child(root, "References").iter().flat_map(|r| children(*r, "File")) {
        let name = attribute(file, "href").unwrap_or_default();
        if let Some(how) = attribute(file, "compression").filter(|c| !c.is_empty() && *c != "identity") {
            let why = format!(
                "the file {name} is compressed ({how}): unpack it first, and take `compression` out of its File"
            );
            return Err(VmError::invalid(path, why));
        }
        if attribute(file, "chunkSize").is_some() {
            let why =
                format!("the file {name} is cut into chunks: join them first, and take `chunkSize` out of its File");
            return Err(VmError::invalid(path, why));
        }
    }
    let files: BTreeMap<&str, &str> = child(root, "References")
        .map(|r| children(r, "File").filter_map(|f| Some((attribute(f, "id")?, attribute(f, "href")?))).collect())
        .unwrap_or_default();
    let mut map = BTreeMap::new();
    for (id, href) in &files {
        map.insert(format!("file/{id}"), (*href).to_owned());
    }
    for disk in child(root, "DiskSection").iter().flat_map(|s| children(*s, "Disk")) {
        if let (Some(id), Some(file)) =
            (attribute(disk, "diskId"), attribute(disk, "fileRef").and_then(|f| files.get(f)))
        {
            map.insert(format!("disk/{id}"), (*file).to_owned());
        }
    }
    Ok(map)
}

fn kind_of(item: Node<'_, '_>) -> u32 {
    text(item, &["ResourceType"]).and_then(|t| t.parse().ok()).unwrap_or(0)
}

fn controllers(items: &[Node<'_, '_>]) -> Controllers {
    let mut map = Controllers::new();
    let mut counts = BTreeMap::new();
    for item in items {
        let subtype = text(*item, &["ResourceSubType"]).unwrap_or_default().to_lowercase();
        let bus = match kind_of(*item) {
            5 => "ide",
            6 => "scsi",
            20 if subtype.contains("nvme") => "nvme",
            20 => "sata",
            _ => continue,
        };
        let n = counts.entry(bus).or_insert(0);
        if let Some(id) = text(*item, &["InstanceID"]) {
            map.insert(id.to_owned(), (bus, *n));
        }
        *n += 1;
    }
    map
}

/// Takes over one item, by its CIM resource type [DSP0004, CIM_ResourceAllocationSettingData].
fn take_item(
    path: &Path,
    m: &mut Foreign,
    item: Node<'_, '_>,
    controllers: &Controllers,
    disks: &BTreeMap<String, String>,
) -> Result<(), VmError> {
    let kind = kind_of(item);
    let quantity = || text(item, &["VirtualQuantity"]).and_then(|t| t.parse::<u64>().ok());
    match kind {
        3 => m.cpus = quantity().and_then(|n| u32::try_from(n).ok()).unwrap_or(1),
        4 => {
            let unit = text(item, &["AllocationUnits"]).unwrap_or("byte * 2^20");
            let shift = unit_shift(unit)
                .ok_or_else(|| VmError::invalid(path, format!("memory in the unknown unit `{unit}`")))?;
            let bytes = quantity().and_then(|n| n.checked_mul(1 << shift));
            m.memory =
                Some(bytes.ok_or_else(|| VmError::invalid(path, "the memory's VirtualQuantity is not a number"))?);
        }
        14..=17 => drive(m, item, kind, controllers, disks),
        10 => m.networks.push(Network {
            model: text(item, &["ResourceSubType"]).unwrap_or("E1000").to_lowercase(),
            mac: text(item, &["Address"]).or(text(item, &["MACAddress"])).and_then(mac_address),
            connection: text(item, &["Connection"]).unwrap_or_default().into(),
        }),
        21 => m.serials.push("null".into()),
        23 | 35 => {
            let what = if kind == 23 { "USB controller" } else { "sound card" };
            m.note(text(item, &["ElementName"]).unwrap_or(what), format!("no {what}: left out"));
        }
        _ => {}
    }
    Ok(())
}

/// The power of two in `byte * 2^20`, or what the older names stand for.
fn unit_shift(unit: &str) -> Option<u32> {
    match unit.to_lowercase().as_str() {
        "byte" | "bytes" => Some(0),
        "kilobytes" | "kb" => Some(10),
        "megabytes" | "mb" => Some(20),
        "gigabytes" | "gb" => Some(30),
        other => {
            let power = other.strip_prefix("byte")?.trim().strip_prefix('*')?.trim().strip_prefix("2^")?;
            power.parse().ok().filter(|p| *p < 64)
        }
    }
}

fn drive(m: &mut Foreign, item: Node<'_, '_>, kind: u32, controllers: &Controllers, disks: &BTreeMap<String, String>) {
    let (kind, bus) = match kind {
        14 => (DriveKind::Floppy, "floppy"),
        15 | 16 => (DriveKind::Cd, "ide"),
        _ => (DriveKind::Disk, "ide"),
    };
    let parent = text(item, &["Parent"]).and_then(|p| controllers.get(p)).copied().unwrap_or((bus, 0));
    let unit = text(item, &["AddressOnParent"]).and_then(|u| u.parse().ok()).unwrap_or(0);
    let (bus, controller) = if kind == DriveKind::Floppy { ("floppy", 0) } else { parent };
    let mut d = Drive::new(kind, bus, controller, unit);
    if let Some(resource) = text(item, &["HostResource"]) {
        let key = resource.trim_start_matches("ovf:").trim_start_matches('/');
        match disks.get(key) {
            Some(file) => d.image = Some(m.resolve(file)),
            None => m.note(d.place(), format!("{resource} names no file of the package: the drive is empty")),
        }
    }
    m.drives.push(d);
}

/// Whether `root` is an OVF envelope.
pub(super) fn is_envelope(root: Node<'_, '_>) -> bool {
    is(root, "Envelope")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::xml;

    /// As ovftool writes it, shortened.
    const OVF: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
 xmlns:vmw="http://www.vmware.com/schema/ovf">
 <References><File ovf:href="box-disk1.vmdk" ovf:id="file1" ovf:size="68608"/></References>
 <DiskSection><Info>d</Info><Disk ovf:capacity="8" ovf:capacityAllocationUnits="byte * 2^30" ovf:diskId="vmdisk1"
  ovf:fileRef="file1" ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/></DiskSection>
 <VirtualSystem ovf:id="box"><Info>x</Info><Name>box</Name>
  <OperatingSystemSection ovf:id="1" vmw:osType="dosGuest"><Info>os</Info></OperatingSystemSection>
  <VirtualHardwareSection><Info>h</Info>
   <Item><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>1</rasd:VirtualQuantity></Item>
   <Item><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>64</rasd:VirtualQuantity></Item>
   <Item><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceSubType>lsilogic</rasd:ResourceSubType><rasd:ResourceType>6</rasd:ResourceType></Item>
   <Item><rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:HostResource>ovf:/disk/vmdisk1</rasd:HostResource><rasd:InstanceID>5</rasd:InstanceID><rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>
   <Item><rasd:AddressOnParent>7</rasd:AddressOnParent><rasd:Connection>VM Network</rasd:Connection><rasd:InstanceID>6</rasd:InstanceID><rasd:ResourceSubType>PCNet32</rasd:ResourceSubType><rasd:ResourceType>10</rasd:ResourceType></Item>
   <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="bios"/>
  </VirtualHardwareSection></VirtualSystem></Envelope>"#;

    #[test]
    fn an_envelope_of_ovftool() {
        let doc = xml::parse(Path::new("b.ovf"), OVF).unwrap();
        assert!(is_envelope(doc.root_element()));
        let m = read(Path::new("/x/b.ovf"), doc.root_element()).unwrap();
        assert_eq!((m.name.as_str(), m.memory, m.guest.as_str()), ("box", Some(64 << 20), "dosGuest"));
        assert_eq!(m.drives[0].place(), "scsi0:0");
        assert_eq!(m.drives[0].image.as_deref(), Some(Path::new("/x/box-disk1.vmdk")));
        assert_eq!((m.networks[0].model.as_str(), m.firmware), ("pcnet32", Firmware::Bios));
    }

    #[test]
    fn files_that_are_packed_are_refused() {
        for (attribute, wanted) in [("compression='gzip'", "compressed (gzip)"), ("chunkSize='7'", "cut into chunks")] {
            let text = OVF.replace("ovf:id=\"file1\"", &format!("ovf:id=\"file1\" ovf:{attribute}"));
            let doc = xml::parse(Path::new("b.ovf"), &text).unwrap();
            let e = read(Path::new("/x/b.ovf"), doc.root_element()).unwrap_err().to_string();
            assert!(e.contains("box-disk1.vmdk") && e.contains(wanted), "{e}");
        }
    }

    #[test]
    fn units() {
        assert_eq!(
            [unit_shift("byte * 2^20"), unit_shift("MegaBytes"), unit_shift("byte")],
            [Some(20), Some(20), Some(0)]
        );
        assert_eq!([unit_shift("byte * 2^99"), unit_shift("furlongs")], [None, None]);
    }

    #[test]
    fn envelopes_without_a_machine_are_refused() {
        for xml in ["<Envelope/>", "<Envelope><VirtualSystem/></Envelope>"] {
            let doc = xml::parse(Path::new("e"), xml).unwrap();
            assert!(read(Path::new("e"), doc.root_element()).is_err(), "{xml}");
        }
    }
}
