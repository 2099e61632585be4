//! libvirt's domain XML, as `virsh dumpxml` prints it [libvirt formatdomain].

use std::path::Path;

use roxmltree::Node;

use super::foreign::{Drive, DriveKind, Firmware, Foreign, Kernel, Network, Product, mac_address};
use super::xml::{at, attribute, child, children, text};
use super::{VmError, qemu, xml};
use crate::image::Kind;

/// Reads the domain at `root`.
pub(super) fn read(path: &Path, root: Node<'_, '_>) -> Result<Foreign, VmError> {
    let mut m = Foreign::new(Product::Libvirt, path);
    if let Some(name) = text(root, &["name"]) {
        m.name = name.into();
    }
    m.uuid = text(root, &["uuid"]).map(str::to_owned);
    m.memory = child(root, "memory").map(|n| memory(path, n)).transpose()?;
    m.cpus = text(root, &["vcpu"]).and_then(|t| t.parse().ok()).unwrap_or(1);
    // host-passthrough and host-model name none that counts.
    if let Some(model) =
        child(root, "cpu").filter(|c| attribute(*c, "mode") == Some("custom")).and_then(|c| text(c, &["model"]))
    {
        qemu::cpu(&mut m, "cpu", model);
    }
    if let Some(os) = child(root, "os") {
        system(os, &mut m);
    }
    if let Some(devices) = child(root, "devices") {
        for disk in children(devices, "disk") {
            drive(disk, &mut m);
        }
        for serial in children(devices, "serial") {
            serial_port(serial, &mut m);
        }
        for interface in children(devices, "interface") {
            network(interface, &mut m);
        }
        for (name, what) in [
            ("sound", "sound card"),
            ("hostdev", "device of the host"),
            ("tpm", "TPM"),
            ("filesystem", "shared folder"),
        ] {
            if child(devices, name).is_some() {
                m.note(name, format!("no {what}: left out"));
            }
        }
    }
    Ok(m)
}

/// Memory in its unit; KiB without one.
fn memory(path: &Path, node: Node<'_, '_>) -> Result<u64, VmError> {
    let shift = match attribute(node, "unit").unwrap_or("KiB") {
        "b" | "bytes" => 0,
        "KiB" | "k" => 10,
        "MiB" | "M" => 20,
        "GiB" | "G" => 30,
        "TiB" | "T" => 40,
        other => return Err(VmError::invalid(path, format!("memory in the unknown unit `{other}`"))),
    };
    let number = node.text().and_then(|t| t.trim().parse::<u64>().ok());
    number.and_then(|n| n.checked_mul(1 << shift)).ok_or_else(|| VmError::invalid(path, "<memory> is not a number"))
}

fn system(os: Node<'_, '_>, m: &mut Foreign) {
    if let Some(kind) = child(os, "type") {
        m.guest = attribute(kind, "arch").unwrap_or_default().into();
        if !matches!(m.guest.as_str(), "" | "x86_64" | "i686" | "i386") {
            let arch = m.guest.clone();
            m.note("arch", format!("{arch} is not x86: emu can't run this guest"));
        }
    }
    let efi = attribute(os, "firmware") == Some("efi");
    match child(os, "loader") {
        Some(loader) if attribute(loader, "type") == Some("pflash") => m.firmware = Firmware::Efi,
        Some(loader) => m.firmware = Firmware::File(loader.text().unwrap_or_default().trim().into()),
        None if efi => m.firmware = Firmware::Efi,
        None => {}
    }
    for boot in children(os, "boot") {
        m.boot.extend(match attribute(boot, "dev") {
            Some("fd") => Some('a'),
            Some("hd") => Some('c'),
            Some("cdrom") => Some('d'),
            _ => None,
        });
    }
    if let Some(kernel) = text(os, &["kernel"]) {
        m.kernel = Some(Kernel {
            image: m.resolve(kernel),
            initrd: text(os, &["initrd"]).map(|i| m.resolve(i)),
            append: text(os, &["cmdline"]).unwrap_or_default().into(),
        });
    }
}

fn drive(disk: Node<'_, '_>, m: &mut Foreign) {
    let (kind, usual) = match attribute(disk, "device") {
        Some("cdrom") => (DriveKind::Cd, "ide"),
        Some("floppy") => (DriveKind::Floppy, "fdc"),
        _ => (DriveKind::Disk, "ide"),
    };
    let target = child(disk, "target");
    let bus = target.and_then(|t| attribute(t, "bus")).unwrap_or(usual);
    let bus = if bus == "fdc" { "floppy" } else { bus };
    let name = target.and_then(|t| attribute(t, "dev")).unwrap_or_default();
    // `hdc`, `sdb`, `vda`: the last letter counts the places; IDE has two at each controller.
    let index = name.bytes().last().map_or(0, |b| u32::from(b.saturating_sub(b'a')) % 26);
    let (controller, unit) = if bus == "ide" { (index / 2, index % 2) } else { (0, index) };
    let mut d = Drive::new(kind, bus, controller, unit);
    let source = child(disk, "source");
    d.image = source.and_then(|s| attribute(s, "file").or(attribute(s, "dev"))).map(|f| m.resolve(f));
    if d.image.is_none() && source.is_some_and(|s| s.attributes().len() > 0) {
        let how = attribute(disk, "type").unwrap_or("network").to_owned();
        m.note(d.place(), format!("a {how} source is not a file: copy it to one; the drive is empty"));
    }
    d.format = match child(disk, "driver").and_then(|n| attribute(n, "type")) {
        Some(format) => Kind::parse(format),
        // What libvirt takes it for.
        None => (kind != DriveKind::Cd).then_some(Kind::Raw),
    };
    d.read_only = child(disk, "readonly").is_some();
    d.boot_index = child(disk, "boot").and_then(|b| attribute(b, "order")?.parse().ok());
    m.drives.push(d);
}

fn serial_port(serial: Node<'_, '_>, m: &mut Foreign) {
    let source = child(serial, "source");
    let of = |name| source.and_then(|s| attribute(s, name));
    let server = if of("mode") == Some("bind") { ",server" } else { "" };
    let target = match attribute(serial, "type") {
        Some("pty") => "pty".into(),
        Some("file") => format!("file:{}", m.resolve(of("path").unwrap_or("serial.log")).display()),
        Some("unix") => format!("unix:{}{server}", of("path").unwrap_or("serial.sock")),
        Some("tcp") => format!("tcp:{}:{}{server}", of("host").unwrap_or("localhost"), of("service").unwrap_or("0")),
        Some("stdio") => "stdio".into(),
        _ => "null".into(),
    };
    m.serials.push(target);
}

fn network(interface: Node<'_, '_>, m: &mut Foreign) {
    let source = child(interface, "source").and_then(|s| s.attributes().next().map(|a| a.value().to_owned()));
    let kind = attribute(interface, "type").unwrap_or("user");
    m.networks.push(Network {
        model: at(interface, &["model"]).and_then(|n| attribute(n, "type")).unwrap_or("rtl8139").into(),
        mac: child(interface, "mac").and_then(|n| attribute(n, "address")).and_then(mac_address),
        connection: source.map_or_else(|| kind.to_owned(), |s| format!("{kind} {s}")),
    });
}

/// Whether `root` is a domain.
pub(super) fn is_domain(root: Node<'_, '_>) -> bool {
    xml::is(root, "domain")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `virsh dumpxml` prints it, shortened.
    const DOMAIN: &str = r"<domain type='kvm' id='1'>
  <name>deb12</name><uuid>c7a5fdbd-edaf-9455-926a-d65c16db1809</uuid>
  <memory unit='KiB'>1048576</memory><currentMemory unit='KiB'>1048576</currentMemory>
  <vcpu placement='static'>2</vcpu><cpu mode='custom' match='exact'><model fallback='allow'>Westmere</model></cpu>
  <os><type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type><boot dev='cdrom'/><boot dev='hd'/></os>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/var/lib/libvirt/images/deb.qcow2'/>
      <target dev='vda' bus='virtio'/></disk>
    <disk type='file' device='cdrom'><target dev='hdc' bus='ide'/><readonly/></disk>
    <disk type='network' device='disk'><source protocol='rbd' name='p/i'/><target dev='sdb' bus='scsi'/></disk>
    <interface type='network'><mac address='52:54:00:11:22:33'/><source network='default'/><model type='virtio'/></interface>
    <serial type='tcp'><source mode='bind' host='127.0.0.1' service='4555'/></serial>
  </devices>
</domain>";

    #[test]
    fn a_domain() {
        let doc = xml::parse(Path::new("d.xml"), DOMAIN).unwrap();
        assert!(is_domain(doc.root_element()));
        let m = read(Path::new("/x/d.xml"), doc.root_element()).unwrap();
        assert_eq!((m.name.as_str(), m.memory, m.cpus, m.boot.as_str()), ("deb12", Some(1 << 30), 2, "dc"));
        assert_eq!(m.cpu.as_deref(), Some("x86-64-v2"));
        let places: Vec<_> = m.drives.iter().map(|d| (d.place(), d.image.is_some())).collect();
        assert_eq!(places, [("virtio0:0".into(), true), ("ide1:0".into(), false), ("scsi0:1".into(), false)]);
        assert!(m.drives[1].read_only);
        assert_eq!((m.drives[0].format, m.drives[1].format), (Some(Kind::Qcow2), None));
        assert_eq!(m.drives[2].format, Some(Kind::Raw));
        assert_eq!(m.serials, ["tcp:127.0.0.1:4555,server"]);
        assert_eq!(m.networks[0].connection, "network default");
        assert!(m.notes.iter().any(|n| n.text.contains("copy it to one")));
    }

    #[test]
    fn bad_values_are_refused() {
        for xml in ["<domain><memory>x</memory></domain>", "<domain><memory unit='XB'>1</memory></domain>"] {
            let doc = xml::parse(Path::new("d"), xml).unwrap();
            assert!(read(Path::new("d"), doc.root_element()).is_err());
        }
        let bomb = "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>";
        assert!(xml::parse(Path::new("d"), bomb).is_err());
    }
}
