//! VMware's `.vmx` [VMX], with the snapshots of the `.vmsd` beside it.

use std::path::Path;

use super::VmError;
use super::foreign::{Drive, DriveKind, Firmware, Foreign, Network, Product, mac_address};
use super::lines::Lines;
use super::own::rtc_text;
use crate::config::RtcStart;

/// Controllers with the number of their buses and of the places at each.
const CONTROLLERS: &[(&str, u32, u32)] = &[("ide", 2, 2), ("sata", 4, 30), ("scsi", 4, 16), ("nvme", 4, 15)];

/// Reads the machine that `text`, of the file at `path`, describes.
pub(super) fn read(path: &Path, text: &str) -> Result<Foreign, VmError> {
    let lines = Lines::parse(path, text)?;
    let mut m = Foreign::new(Product::VMware, path);
    if let Some(name) = lines.get("displayname") {
        m.name = name.into();
    }
    m.uuid = lines.get("uuid.bios").map(str::to_owned);
    m.guest = lines.get("guestos").unwrap_or_default().into();
    m.memory = Some(memory(path, &lines)?);
    m.cpus = lines.number("numvcpus").unwrap_or(1);
    firmware(&lines, &mut m);
    for &(bus, buses, units) in CONTROLLERS {
        for (controller, unit) in (0..buses).flat_map(|c| (0..units).map(move |u| (c, u))) {
            m.drives.extend(drive(&lines, &m, bus, controller, unit));
        }
    }
    floppies(&lines, &mut m);
    serials(&lines, &mut m);
    networks(&lines, &mut m);
    m.boot = boot_order(&lines);
    m.rtc = lines.number("rtc.starttime").map(|s| rtc_text(RtcStart::from_unix(s)));
    let settings = lines.keys().filter_map(|k| Some((k.strip_prefix("emu.")?.to_owned(), lines.get(k)?.to_owned())));
    m.settings = settings.collect();
    others(&lines, &mut m);
    Ok(m)
}

/// `memsize` is in MiB; the product's default is 32.
fn memory(path: &Path, lines: &Lines) -> Result<u64, VmError> {
    let Some(text) = lines.get("memsize") else { return Ok(32 << 20) };
    let wrong = || VmError::invalid(path, format!("memsize = \"{text}\" is not a number of megabytes"));
    text.trim().parse().ok().and_then(|n: u64| n.checked_mul(1 << 20)).ok_or_else(wrong)
}

fn firmware(lines: &Lines, m: &mut Foreign) {
    if lines.get("firmware").is_some_and(|f| f.eq_ignore_ascii_case("efi")) {
        m.firmware = Firmware::Efi;
    } else if let Some(rom) = lines.get("bios440.filename") {
        m.note("bios440.filename", format!("{rom} is a BIOS for VMware's own board: emu's BIOS is used"));
    }
}

fn drive(lines: &Lines, m: &Foreign, bus: &str, controller: u32, unit: u32) -> Option<Drive> {
    let place = format!("{bus}{controller}:{unit}");
    let key = |name: &str| format!("{place}.{name}");
    if !lines.is_true(&key("present"), false) || !lines.is_true(&format!("{bus}{controller}.present"), bus == "ide") {
        return None;
    }
    let device = lines.get(&key("devicetype")).unwrap_or("disk").to_lowercase();
    let kind = if device.contains("cdrom") { DriveKind::Cd } else { DriveKind::Disk };
    let mut drive = Drive::new(kind, bus, controller, unit);
    // A drive of the host, or one that is not connected, is an empty drive.
    let of_host = device == "cdrom-raw" || device == "atapi-cdrom";
    let connected = kind == DriveKind::Disk || lines.is_true(&key("startconnected"), true);
    if !of_host && connected {
        drive.image = lines.get(&key("filename")).filter(|f| *f != "emptyBackingString").map(|f| m.resolve(f));
    }
    drive.read_only = lines.is_true(&key("readonly"), false);
    Some(drive)
}

fn floppies(lines: &Lines, m: &mut Foreign) {
    for unit in 0..2 {
        let key = |name: &str| format!("floppy{unit}.{name}");
        // The product gives each machine a first diskette drive unless it is told not to.
        if !lines.is_true(&key("present"), unit == 0) {
            continue;
        }
        let mut drive = Drive::new(DriveKind::Floppy, "floppy", 0, unit);
        let is_file = lines.get(&key("filetype")).is_some_and(|t| t.eq_ignore_ascii_case("file"));
        if is_file && lines.is_true(&key("startconnected"), true) {
            drive.image = lines.get(&key("filename")).map(|f| m.resolve(f));
        }
        drive.read_only = lines.is_true(&key("readonly"), false);
        m.drives.push(drive);
    }
}

fn serials(lines: &Lines, m: &mut Foreign) {
    for n in 0..4 {
        let key = |name: &str| format!("serial{n}.{name}");
        if !lines.is_true(&key("present"), false) {
            continue;
        }
        let server = if lines.get(&key("pipe.endpoint")) == Some("client") { "" } else { ",server" };
        let name = lines.get(&key("filename")).unwrap_or_default();
        let target = match lines.get(&key("filetype")).unwrap_or("device") {
            "file" if !name.is_empty() => format!("file:{}", m.resolve(name).display()),
            "pipe" if name.starts_with('/') => format!("unix:{name}{server}"),
            "network" => network_serial(name, lines.get(&key("network.endpoint"))),
            _ => "null".into(),
        };
        if target == "null" {
            m.note(format!("serial{n}"), format!("{name} is the host's: the port is there, with nothing at it"));
        }
        m.serials.push(target);
    }
}

/// `telnet://host:port` or `tcp://host:port`, as server or client.
fn network_serial(uri: &str, end: Option<&str>) -> String {
    let address = uri.split_once("://").map_or(uri, |(_, a)| a);
    let server = end.is_none_or(|e| e.eq_ignore_ascii_case("server"));
    match address.rsplit_once(':') {
        Some((host, port)) if server => {
            format!("tcp:{}:{port},server", if host.is_empty() { "localhost" } else { host })
        }
        Some(_) => format!("tcp:{address}"),
        None => "null".into(),
    }
}

fn networks(lines: &Lines, m: &mut Foreign) {
    for n in 0..10 {
        let key = |name: &str| format!("ethernet{n}.{name}");
        if !lines.is_true(&key("present"), false) {
            continue;
        }
        let address = lines.get(&key("address")).or(lines.get(&key("generatedaddress")));
        m.networks.push(Network {
            model: lines.get(&key("virtualdev")).unwrap_or("vlance").into(),
            mac: address.and_then(mac_address),
            connection: lines.get(&key("connectiontype")).unwrap_or("bridged").into(),
        });
    }
}

/// `bios.bootOrder` is a list of `hdd`, `cdrom`, `floppy`, `ethernet0`.
fn boot_order(lines: &Lines) -> String {
    let order = lines.get("bios.bootorder").unwrap_or_default().to_lowercase();
    let letter = |word: &str| match word.trim() {
        "hdd" => Some('c'),
        "cdrom" => Some('d'),
        "floppy" => Some('a'),
        _ => None,
    };
    order.split(',').filter_map(letter).collect()
}

/// Devices that emu has no counterpart of.
fn others(lines: &Lines, m: &mut Foreign) {
    let absent = [
        ("sound.present", "sound", "no sound card: left out"),
        ("usb.present", "usb", "no USB: left out"),
        ("ehci.present", "ehci", "no USB: left out"),
        ("usb_xhci.present", "usb_xhci", "no USB: left out"),
        ("parallel0.present", "parallel0", "no parallel port: left out"),
        ("vtpm.present", "vtpm", "no TPM: left out"),
    ];
    for (key, about, text) in absent {
        if lines.is_true(key, false) {
            m.note(about, text);
        }
    }
    if lines.is_true("svga.present", false) || lines.keys().any(|k| k.starts_with("svga.")) {
        m.note("svga", "VMware's SVGA has no counterpart: a VGA with VBE modes takes its place");
    }
    if let Some(state) = lines.get("checkpoint.vmstate") {
        let text = format!("the machine is suspended, its memory is in {state}: it starts anew, as after a power cut");
        m.note("checkpoint.vmState", text);
    }
    if lines.get("encryption.data").is_some() || lines.get("encryption.keysafe").is_some() {
        m.note("encryption", "the machine is encrypted: decrypt it with the product that made it first");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    /// As Workstation 17 writes it, shortened.
    const VMX: &str = r#".encoding = "UTF-8"
config.version = "8"
virtualHW.version = "19"
displayName = "Old |22NT|22 box"
guestOS = "winnt"
memsize = "256"
numvcpus = "2"
floppy0.fileType = "file"
floppy0.fileName = "boot.flp"
ide0:0.present = "TRUE"
ide0:0.fileName = "NT.vmdk"
ide1:0.present = "TRUE"
ide1:0.deviceType = "cdrom-raw"
ide1:0.fileName = "auto detect"
scsi0.present = "TRUE"
scsi0.virtualDev = "buslogic"
scsi0:1.present = "TRUE"
scsi0:1.fileName = "data-000001.vmdk"
scsi1:0.present = "TRUE"
scsi1:0.fileName = "lost.vmdk"
serial0.present = "TRUE"
serial0.fileType = "network"
serial0.fileName = "telnet://:9001"
serial0.network.endPoint = "server"
ethernet0.present = "TRUE"
ethernet0.virtualDev = "vlance"
ethernet0.generatedAddress = "00:0c:29:aa:bb:cc"
bios.bootOrder = "cdrom,hdd,floppy"
sound.present = "TRUE"
uuid.bios = "56 4d 12 34"
"#;

    #[test]
    fn a_machine_of_workstation() {
        let dir = TempDir::new();
        let m = crate::vm::read_machine(&dir.file("nt.vmx", VMX.as_bytes())).unwrap();
        assert_eq!((m.name.as_str(), m.memory, m.cpus), ("Old \"NT\" box", Some(256 << 20), 2));
        let places: Vec<_> = m.drives.iter().map(|d| (d.place(), d.kind, d.image.is_some())).collect();
        use DriveKind::*;
        assert_eq!(
            places,
            [
                ("ide0:0".into(), Disk, true),
                ("ide1:0".into(), Cd, false),
                ("scsi0:1".into(), Disk, true), // scsi1 itself is absent, and so is its disk
                ("floppy0:0".into(), Floppy, true)
            ]
        );
        assert_eq!(m.drives[0].image.as_deref(), Some(dir.path().join("NT.vmdk").as_path()));
        assert_eq!(m.serials, ["tcp:localhost:9001,server"]);
        assert_eq!(m.networks[0].mac.as_deref(), Some("00:0c:29:aa:bb:cc"));
        assert_eq!(m.boot, "dca");
        assert!(m.notes.iter().any(|n| n.about == "sound"));
    }

    #[test]
    fn a_wrong_size_is_refused() {
        let dir = TempDir::new();
        for size in ["lots", "-1", "99999999999999999999"] {
            let file = dir.file("x.vmx", format!("memsize = \"{size}\"").as_bytes());
            assert!(crate::vm::read_machine(&file).unwrap_err().to_string().contains("megabytes"), "{size}");
        }
    }
}
