//! OVA [OVF 1.1]: an envelope, a manifest with SHA-256, and streamOptimized disks, in one archive.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{ExportedDrive, Job, raw, xml_text};
use crate::config::SerialTarget;
use crate::image::Kind;
use crate::image::ops::NewImage;
use crate::vm::{DriveKind, VmError};

const STREAM: &str = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized";
/// CIM resource types [DSP0004].
const CPU: u32 = 3;
const MEMORY: u32 = 4;
const IDE: u32 = 5;
const NETWORK: u32 = 10;
const FLOPPY: u32 = 14;
const CD: u32 = 15;
const DISK: u32 = 17;
const SERIAL: u32 = 21;

/// Writes the archive `output`, by way of `folder`; returns it.
pub(super) fn write(
    job: &mut Job,
    folder: &Path,
    name: &str,
    output: &Path,
    each: &mut dyn FnMut(u64, u64),
) -> Result<PathBuf, VmError> {
    for n in 0..job.drives.len() {
        let new = |size| NewImage::new(Kind::Vmdk, size).with("subformat", "streamOptimized");
        if job.drives[n].read_only() {
            let place = job.drives[n].place;
            job.note(format!("disk{place}"), "OVF has no read-only disks: it can be written there");
        }
        match job.drives[n].kind {
            DriveKind::Disk => job.write_image(n, &folder.join(format!("{name}-disk{}.vmdk", n + 1)), new, each)?,
            DriveKind::Cd => job.write_image(n, &folder.join(format!("{name}-file{}.iso", n + 1)), raw, each)?,
            DriveKind::Floppy => job.write_image(n, &folder.join(format!("{name}-file{}.flp", n + 1)), raw, each)?,
        }
    }
    let envelope = envelope(job, folder, name)?;
    let descriptor = format!("{name}.ovf");
    let path = folder.join(&descriptor);
    std::fs::write(&path, envelope).map_err(|e| VmError::file(&path, &e))?;
    let mut names = vec![descriptor];
    names.extend(job.drives.iter().filter_map(|d| Some(d.file.as_ref()?.0.clone())));
    let mut manifest = String::new();
    for name in &names {
        _ = writeln!(manifest, "SHA256({name})= {}", hash(&folder.join(name))?);
    }
    let made = archive(folder, name, &names, &manifest, output);
    if made.is_err() {
        let _ = std::fs::remove_file(output);
    }
    made.map_err(|e| VmError::file(output, &e))?;
    Ok(output.to_owned())
}

fn hash(path: &Path) -> Result<String, VmError> {
    let wrong = |e: std::io::Error| VmError::file(path, &e);
    let (mut hash, mut piece) = (Sha256::new(), vec![0; 1 << 20]);
    let mut file = File::open(path).map_err(wrong)?;
    loop {
        let n = file.read(&mut piece).map_err(wrong)?;
        if n == 0 {
            break;
        }
        hash.update(&piece[..n]);
    }
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

/// The descriptor stands first, the manifest second, so that a reader of a stream can check as it goes.
fn archive(folder: &Path, name: &str, names: &[String], manifest: &str, output: &Path) -> std::io::Result<()> {
    let mut tar = tar::Builder::new(File::options().write(true).create_new(true).open(output)?);
    let header = |len: u64| {
        let mut header = tar::Header::new_ustar();
        header.set_size(len);
        header.set_mode(0o644);
        header
    };
    for (n, file) in names.iter().enumerate() {
        let from = File::open(folder.join(file))?;
        tar.append_data(&mut header(from.metadata()?.len()), file, from)?;
        if n == 0 {
            tar.append_data(&mut header(manifest.len() as u64), format!("{name}.mf"), manifest.as_bytes())?;
        }
    }
    tar.into_inner()?.sync_all()
}

/// The items of the hardware section, each with an id of its own.
struct Items {
    text: String,
    next: u32,
}

impl Items {
    /// Adds an item of a resource type; elements stand in the order of their names, as the schema wants.
    fn add(&mut self, kind: u32, label: &str, mut elements: Vec<(&str, String)>) -> u32 {
        let id = self.next;
        self.next += 1;
        elements.push(("ElementName", label.into()));
        elements.push(("InstanceID", id.to_string()));
        elements.push(("ResourceType", kind.to_string()));
        elements.sort_by_key(|e| e.0);
        self.text += "      <Item>\n";
        for (name, value) in elements {
            _ = writeln!(self.text, "        <rasd:{name}>{}</rasd:{name}>", xml_text(&value));
        }
        self.text += "      </Item>\n";
        id
    }
}

fn envelope(job: &mut Job, folder: &Path, name: &str) -> Result<String, VmError> {
    let (mut files, mut disks) = (String::new(), String::new());
    for (n, d) in job.drives.iter().enumerate() {
        let Some((file, size)) = &d.file else { continue };
        let path = folder.join(file);
        let bytes = path.metadata().map_err(|e| VmError::file(&path, &e))?.len();
        let file = xml_text(file);
        _ = writeln!(files, "    <File ovf:href=\"{file}\" ovf:id=\"file{n}\" ovf:size=\"{bytes}\"/>");
        if d.kind == DriveKind::Disk {
            _ = writeln!(
                disks,
                "    <Disk ovf:capacity=\"{size}\" ovf:capacityAllocationUnits=\"byte\" ovf:diskId=\"disk{n}\" \
                 ovf:fileRef=\"file{n}\" ovf:format=\"{STREAM}\"/>"
            );
        }
    }
    let items = items(job);
    let settings: String = job
        .own
        .settings()
        .iter()
        .map(|(k, v)| {
            format!(
                "      <vmw:ExtraConfig ovf:required=\"false\" vmw:key=\"emu.{k}\" vmw:value=\"{}\"/>\n",
                xml_text(v)
            )
        })
        .collect();
    let networks = if job.own.networks.is_empty() {
        String::new()
    } else {
        "  <NetworkSection>\n    <Info>Networks</Info>\n    <Network ovf:name=\"network\"/>\n  </NetworkSection>\n"
            .into()
    };
    let (id, label) = (xml_text(name), xml_text(&job.own.name));
    let guest = if job.own.guest.is_empty() { "otherGuest".into() } else { xml_text(&job.own.guest) };
    Ok(format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData" xmlns:vmw="http://www.vmware.com/schema/ovf">
  <References>
{files}  </References>
  <DiskSection>
    <Info>Disks</Info>
{disks}  </DiskSection>
{networks}  <VirtualSystem ovf:id="{id}">
    <Info>A virtual machine</Info>
    <Name>{label}</Name>
    <OperatingSystemSection ovf:id="1" vmw:osType="{guest}">
      <Info>The guest's system</Info>
    </OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>Hardware</Info>
      <System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>{id}</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>vmx-08</vssd:VirtualSystemType>
      </System>
{items}      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="bios"/>
{settings}    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
"#
    ))
}

fn items(job: &mut Job) -> String {
    let mut items = Items { text: String::new(), next: 1 };
    let memory = job.memory(4 << 20, 4 << 20, "every reader of OVF") >> 20;
    let cpus = job.own.config.cpus;
    let label = if cpus == 1 { "1 virtual CPU".into() } else { format!("{cpus} virtual CPUs") };
    items.add(CPU, &label, vec![("VirtualQuantity", cpus.to_string())]);
    items.add(
        MEMORY,
        &format!("{memory} MB of memory"),
        vec![("AllocationUnits", "byte * 2^20".into()), ("VirtualQuantity", memory.to_string())],
    );
    let controllers = [0, 1].map(|n| items.add(IDE, &format!("IDE {n}"), vec![("Address", n.to_string())]));
    for (n, d) in job.drives.iter().enumerate() {
        drive(&mut items, n, d, controllers);
    }
    for (n, target) in job.own.config.serials.clone().iter().enumerate() {
        items.add(SERIAL, &format!("Serial port {n}"), vec![("Address", n.to_string())]);
        if *target != SerialTarget::Null {
            job.note(format!("serial{n}"), "OVF says nothing of what a serial port is connected to: connect it again");
        }
    }
    for (n, card) in job.own.networks.iter().enumerate() {
        let mut elements = vec![("Connection", "network".into()), ("ResourceSubType", card.model.clone())];
        elements.extend(card.mac.clone().map(|mac| ("Address", mac)));
        items.add(NETWORK, &format!("Network adapter {n}"), elements);
    }
    items.text
}

fn drive(items: &mut Items, n: usize, d: &ExportedDrive, controllers: [u32; 2]) {
    let (kind, label, resource) = match d.kind {
        DriveKind::Disk => (DISK, "Hard disk", format!("ovf:/disk/disk{n}")),
        DriveKind::Cd => (CD, "CD drive", format!("ovf:/file/file{n}")),
        DriveKind::Floppy => (FLOPPY, "Floppy drive", format!("ovf:/file/file{n}")),
    };
    let mut elements = vec![("AddressOnParent", (d.place % 2).to_string())];
    if d.kind != DriveKind::Floppy {
        elements.push(("Parent", controllers[(d.place / 2 % 2) as usize].to_string()));
    }
    if d.file.is_some() {
        elements.push(("HostResource", resource));
    }
    items.add(kind, &format!("{label} {n}"), elements);
}
