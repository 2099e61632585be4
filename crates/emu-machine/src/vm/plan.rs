//! The emu machine that comes closest to another product's, and what that leaves out.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::foreign::{Drive, DriveKind, Firmware, Foreign, Note, Product};
use super::hyperv::has_extension;
use emu_core::cpu::model::Feature;

use crate::config::{Devices, HypervisorKind, MAX_CPUS, RtcStart, SerialTarget, parse_cpu};
use crate::image::Kind;

/// The most RAM that emu's board has.
const MOST_MEMORY: u64 = 32 << 30;
/// What a machine gets whose description says nothing.
const USUAL_MEMORY: u64 = 128 << 20;
/// Disks and CDs at the two IDE channels.
const IDE_PLACES: usize = 4;

/// A drive of the new machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedDrive {
    /// What it is.
    pub kind: DriveKind,
    /// Where it was: `scsi0:1`.
    pub place: String,
    /// The image that it had.
    pub source: Option<PathBuf>,
    /// The image's format, if it must not be judged by its content.
    pub format: Option<Kind>,
    /// Whether the guest's writes are refused.
    pub read_only: bool,
}

/// What stands in a `machine.toml` for the image of a drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenImage {
    /// The file.
    pub path: PathBuf,
    /// Its format, if that is known.
    pub format: Option<Kind>,
    /// `overlay`, `write` or `read`.
    pub mode: &'static str,
    /// Whether what it names (parents, extents) may lie outside of its folder.
    pub anywhere: bool,
}

/// A machine for emu, with what the owner must know.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Disks, CDs and floppies, each kind in the order of its places.
    pub drives: Vec<PlannedDrive>,
    /// What has no counterpart, and what was chosen instead.
    pub notes: Vec<Note>,
    foreign: Foreign,
    memory: u64,
    cpu: String,
    cpus: u8,
    serials: Vec<String>,
}

/// Chooses.
#[must_use]
pub fn plan(mut foreign: Foreign) -> Plan {
    let mut notes = std::mem::take(&mut foreign.notes);
    let mut note = |about: &str, text: String| notes.push(Note { about: about.into(), text });
    let memory = choose_memory(&foreign, &mut note);
    let cpu = choose_cpu(&foreign, &mut note);
    let cpus = choose_cpus(&foreign, &cpu, &mut note);
    if foreign.firmware == Firmware::Efi {
        note("firmware", "UEFI: give emu a UEFI image by `bios`, as emu's own firmware is a BIOS".into());
    }
    let drives = choose_drives(&foreign, &mut note);
    for network in &foreign.networks {
        let mac = network.mac.as_deref().unwrap_or("no fixed address");
        note(
            "network",
            format!("{} ({mac}): emu has no network cards; its address is kept in [origin]", network.model),
        );
    }
    let serials = choose_serials(&foreign, &mut note);
    take_settings(&mut foreign, &mut note);
    Plan { drives, notes, foreign, memory, cpu, cpus, serials }
}

/// Keeps those of emu's own settings that mean something, and what they say of the machine.
fn take_settings(f: &mut Foreign, note: &mut impl FnMut(&str, String)) {
    f.settings.retain(|key, value| {
        let good = match key.as_str() {
            "cpu" => parse_cpu(value).is_ok(),
            "hypervisor" => HypervisorKind::parse(value).is_ok(),
            "devices" => Devices::parse(value).is_ok(),
            "rtc" => RtcStart::parse(value).is_ok(),
            "boot" => value.chars().all(|c| "acd".contains(c)),
            "seed" | "ticks-per-second" => value.parse::<u64>().is_ok(),
            _ => false,
        };
        if !good {
            note(&format!("emu.{key}"), "means nothing to this emu: left out".into());
        }
        good
    });
    if let Some(boot) = f.settings.get("boot") {
        f.boot.clone_from(boot);
    }
    if let Some(rtc) = f.settings.get("rtc") {
        f.rtc = Some(rtc.clone());
    }
    if let Some(rtc) = f.rtc.take_if(|rtc| RtcStart::parse(rtc).is_err()) {
        note("clock", format!("`{rtc}` is no time that emu knows: left out"));
    }
}

fn choose_memory(f: &Foreign, note: &mut impl FnMut(&str, String)) -> u64 {
    let asked = f.memory.unwrap_or_else(|| {
        note("memory", "not said: 128M".into());
        USUAL_MEMORY
    });
    let given = asked.clamp(1 << 20, MOST_MEMORY) & !0xFFFF;
    if given != asked {
        note("memory", format!("{asked} bytes become {}M", given >> 20));
    }
    given
}

/// DOS and its time run on what they knew; everything else gets a current CPU.
fn choose_cpu(f: &Foreign, note: &mut impl FnMut(&str, String)) -> String {
    let known = f.settings.get("cpu").filter(|c| parse_cpu(c).is_ok());
    if let Some(cpu) = known.or(f.cpu.as_ref()) {
        return cpu.clone();
    }
    let guest = f.guest.to_lowercase();
    let starts = |words: &[&str]| words.iter().any(|w| guest.starts_with(w));
    let cpu = if starts(&["dos", "win31", "win3", "msdos"]) {
        "80486"
    } else if starts(&["win95", "win98", "winme", "winnt", "win2000", "os2"]) {
        "p6"
    } else {
        "x86-64-v3"
    };
    note("CPU", format!("the host's CPU becomes {cpu}"));
    cpu.into()
}

/// As many as there were, as far as the board has room for them and their model can be one of several.
fn choose_cpus(f: &Foreign, cpu: &str, note: &mut impl FnMut(&str, String)) -> u8 {
    let alone = parse_cpu(cpu).is_ok_and(|model| !model.has(Feature::Apic));
    let given = f.cpus.clamp(1, if alone { 1 } else { MAX_CPUS.into() });
    if given < f.cpus {
        let why = if alone { format!("a {cpu} has no local APIC") } else { "emu's board has room for no more".into() };
        note("CPUs", format!("{} become {given}: {why}", f.cpus));
    }
    given as u8
}

/// Orders the disks as the machine would try to boot from them, and gives them IDE's places.
fn choose_drives(f: &Foreign, note: &mut impl FnMut(&str, String)) -> Vec<PlannedDrive> {
    const BUSES: &[&str] = &["ide", "sata", "scsi", "nvme", "virtio", "usb"];
    let rank = |d: &Drive| {
        let bus = BUSES.iter().position(|b| *b == d.bus).unwrap_or(BUSES.len());
        (d.boot_index.unwrap_or(u32::MAX), bus, d.controller, d.unit)
    };
    let mut sorted: Vec<&Drive> = f.drives.iter().collect();
    sorted.sort_by_key(|d| rank(d));
    let of = |kind| sorted.iter().filter(move |d| d.kind == kind).copied();
    let disks: Vec<_> = of(DriveKind::Disk).filter(|d| d.image.is_some()).take(IDE_PLACES).collect();
    let cds: Vec<_> = of(DriveKind::Cd).take(IDE_PLACES - disks.len()).collect();
    let floppies: Vec<_> = of(DriveKind::Floppy).take(2).collect();
    for d in &sorted {
        let kept = [&disks, &cds, &floppies].iter().any(|l| l.iter().any(|k| std::ptr::eq(*k, *d)));
        match (kept, d.bus.as_str()) {
            (false, _) if d.kind == DriveKind::Disk && d.image.is_none() => {
                note(&d.place(), "no image: left out".into())
            }
            (false, _) => {
                note(&d.place(), "no place for it: emu has four IDE drives and two floppies; left out".into())
            }
            (true, "ide" | "floppy" | "fdc") => {}
            (true, bus) => note(&d.place(), format!("{bus} has no counterpart: the drive becomes IDE")),
        }
    }
    let planned = |d: &&Drive| PlannedDrive {
        kind: d.kind,
        place: d.place(),
        source: d.image.clone(),
        format: d.format.or_else(|| format_of(f.product, d)),
        read_only: d.read_only,
    };
    [disks, cds, floppies].iter().flatten().map(planned).collect()
}

/// The format of an image that a product takes for what it is without looking: else a guest that may write its diskette, or
/// a disk without tables, could make it name other files.
fn format_of(product: Product, d: &Drive) -> Option<Kind> {
    match (product, d.kind) {
        (Product::VMware | Product::Ovf | Product::HyperV, DriveKind::Floppy) => Some(Kind::Raw),
        (Product::VMware, DriveKind::Disk) => Some(Kind::Vmdk),
        (Product::HyperV, DriveKind::Disk) => {
            let image = d.image.as_ref()?;
            let is = |extensions: [&str; 2]| extensions.iter().any(|e| has_extension(image, e));
            if is(["vhd", "avhd"]) { Some(Kind::Vhd) } else { is(["vhdx", "avhdx"]).then_some(Kind::Vhdx) }
        }
        _ => None,
    }
}

fn choose_serials(f: &Foreign, note: &mut impl FnMut(&str, String)) -> Vec<String> {
    let mut list = Vec::new();
    for (n, text) in f.serials.iter().enumerate() {
        if n >= 2 {
            note(&format!("serial{n}"), "emu has two serial ports: left out".into());
        } else if SerialTarget::parse(text).is_err() || (text == "stdio" && list.iter().any(|s| s == "stdio")) {
            note(&format!("serial{n}"), format!("`{text}` has no counterpart: nothing is connected"));
            list.push("null".into());
        } else {
            list.push(from_anywhere(text));
        }
    }
    list
}

/// A serial port's target whose file is the same from wherever the machine is started.
fn from_anywhere(target: &str) -> String {
    let Some((kind @ ("file" | "unix"), path)) = target.split_once(':') else { return target.to_owned() };
    match std::path::absolute(path) {
        Ok(path) => format!("{kind}:{}", path.display()),
        Err(_) => target.to_owned(),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    name: String,
    cpu: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpus: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hypervisor: Option<String>,
    devices: Option<String>,
    memory: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticks_per_second: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bios: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtc: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    boot: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    serial: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel: Option<KernelTable>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    floppy: Vec<DriveTable>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    disk: Vec<DriveTable>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cdrom: Vec<DriveTable>,
    origin: Origin,
}

#[derive(Serialize)]
struct KernelTable {
    image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    initrd: Option<String>,
    append: String,
}

#[derive(Default, Serialize)]
struct DriveTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parents: Option<&'static str>,
}

/// Where the machine came from, and what emu keeps of it without using it.
#[derive(Serialize)]
struct Origin {
    product: String,
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    uuid: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    guest: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    drive: Vec<OriginDrive>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    network: Vec<OriginNetwork>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    snapshot: Vec<OriginSnapshot>,
}

#[derive(Serialize)]
struct OriginDrive {
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
}

#[derive(Serialize)]
struct OriginNetwork {
    model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
    connection: String,
}

#[derive(Serialize)]
struct OriginSnapshot {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    name: String,
    current: bool,
    disk: Vec<OriginDrive>,
}

impl Plan {
    /// What the owner calls the machine.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.foreign.name
    }

    /// The machine that was read.
    #[must_use]
    pub fn foreign(&self) -> &Foreign {
        &self.foreign
    }

    /// The `machine.toml`. `image` says for the n-th drive what stands there for its image.
    #[must_use]
    pub fn toml(&self, image: impl Fn(usize, &PlannedDrive) -> Option<ChosenImage>) -> String {
        let of = |kind| {
            let drives = self.drives.iter().enumerate().filter(move |(_, d)| d.kind == kind);
            drives.map(|(n, d)| drive_table(image(n, d))).collect::<Vec<_>>()
        };
        let f = &self.foreign;
        let file = File {
            name: f.name.clone(),
            cpu: self.cpu.clone(),
            cpus: (self.cpus > 1).then_some(self.cpus),
            hypervisor: f.settings.get("hypervisor").cloned().or_else(|| hypervisor(f.product).map(str::to_owned)),
            devices: f.settings.get("devices").cloned(),
            memory: size_text(self.memory),
            seed: f.settings.get("seed").and_then(|s| s.parse().ok()),
            ticks_per_second: f.settings.get("ticks-per-second").and_then(|t| t.parse().ok()),
            bios: if let Firmware::File(path) = &f.firmware { Some(absolute(path)) } else { None },
            rtc: f.rtc.clone(),
            boot: f.boot.clone(),
            serial: self.serials.clone(),
            kernel: f.kernel.as_ref().map(|k| KernelTable {
                image: absolute(&k.image),
                initrd: k.initrd.as_ref().map(|i| absolute(i)),
                append: k.append.clone(),
            }),
            floppy: of(DriveKind::Floppy),
            disk: of(DriveKind::Disk),
            cdrom: of(DriveKind::Cd),
            origin: origin(f),
        };
        let text = toml::to_string(&file).unwrap_or_default(); // strings, lists and tables: nothing that TOML lacks
        let notes: String = self.notes.iter().map(|n| comment(&format!("{}: {}", n.about, n.text))).collect();
        let head = comment(&format!("Made from {} by emu vm import.", f.file.display()));
        format!("{head}{notes}\n{text}")
    }
}

/// A path that is the same from wherever the machine is started.
fn absolute(path: &Path) -> String {
    std::path::absolute(path).as_deref().unwrap_or(path).display().to_string()
}

/// A line that is nothing but a comment, whatever a description's words are.
fn comment(text: &str) -> String {
    format!("# {}\n", text.replace(|c: char| c.is_control(), " "))
}

fn drive_table(image: Option<ChosenImage>) -> DriveTable {
    let Some(image) = image else { return DriveTable::default() };
    let parents = image.anywhere.then_some("anywhere");
    DriveTable {
        image: Some(image.path.display().to_string()),
        format: image.format.map(Kind::name),
        mode: Some(image.mode.into()),
        parents,
    }
}

/// What the guest found there, it finds here.
fn hypervisor(product: Product) -> Option<&'static str> {
    match product {
        Product::VMware => Some("vmware"),
        Product::HyperV => Some("hyper-v"),
        Product::Ovf | Product::Libvirt | Product::Qemu => None,
    }
}

fn size_text(bytes: u64) -> String {
    if bytes.is_multiple_of(1 << 20) { format!("{}M", bytes >> 20) } else { format!("{}K", bytes >> 10) }
}

fn origin(f: &Foreign) -> Origin {
    let text = |p: &PathBuf| absolute(p);
    let snapshot_disk = |d: &super::SnapshotDisk| OriginDrive { place: d.place.clone(), image: Some(text(&d.image)) };
    Origin {
        product: f.product.name().into(),
        file: text(&f.file),
        uuid: f.uuid.clone(),
        guest: f.guest.clone(),
        drive: f
            .drives
            .iter()
            .map(|d| OriginDrive { place: Some(d.place()), image: d.image.as_ref().map(text) })
            .collect(),
        network: f
            .networks
            .iter()
            .map(|n| OriginNetwork { model: n.model.clone(), mac: n.mac.clone(), connection: n.connection.clone() })
            .collect(),
        snapshot: f
            .snapshots
            .iter()
            .map(|s| OriginSnapshot {
                id: s.id.clone(),
                parent: s.parent.clone(),
                name: s.name.clone(),
                current: s.current,
                disk: s.disks.iter().map(snapshot_disk).collect(),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_text;
    use crate::vm::foreign::{Network, Product, Snapshot};

    fn machine() -> Foreign {
        let mut f = Foreign::new(Product::VMware, Path::new("/x/a.vmx"));
        f.memory = Some(64 << 20);
        let mut disk = Drive::new(DriveKind::Disk, "scsi", 0, 0);
        disk.image = Some("/x/a \"b\".vmdk".into());
        f.drives = vec![disk, Drive::new(DriveKind::Cd, "ide", 1, 0), Drive::new(DriveKind::Floppy, "floppy", 0, 0)];
        f.networks = vec![Network { model: "e1000".into(), mac: None, connection: "nat".into() }];
        f.snapshots = vec![Snapshot { id: "1".into(), parent: None, name: "s".into(), disks: vec![], current: true }];
        f
    }

    #[test]
    fn the_file_is_one_that_emu_reads() {
        let p = plan(machine());
        let text = p.toml(|_, d| {
            d.source.clone().map(|path| ChosenImage { path, format: None, mode: "overlay", anywhere: true })
        });
        let c = load_text(&text).unwrap();
        assert_eq!((c.memory, c.disks.len(), c.cdroms.len(), c.floppies.len()), (64 << 20, 1, 1, 1));
        assert_eq!(c.disks[0].path, Path::new("/x/a \"b\".vmdk"));
        c.check().unwrap();
        let about: Vec<_> = p.notes.iter().map(|n| n.about.as_str()).collect();
        assert_eq!(about, ["CPU", "scsi0:0", "network"]);
    }

    #[test]
    fn what_is_too_much_is_left_out_and_said() {
        let mut f = machine();
        for unit in 1..6 {
            let mut d = Drive::new(DriveKind::Disk, "scsi", 0, unit);
            d.image = Some(format!("/x/{unit}").into());
            f.drives.push(d);
        }
        f.memory = Some(1 << 50);
        f.cpus = 8;
        f.serials = vec!["stdio".into(), "stdio".into(), "null".into()];
        let p = plan(f);
        assert_eq!(p.drives.iter().filter(|d| d.kind == DriveKind::Disk).count(), 4);
        load_text(&p.toml(|_, _| Some(ChosenImage { path: "/y".into(), format: None, mode: "read", anywhere: false })))
            .unwrap()
            .check()
            .unwrap();
        let left: Vec<_> = p.notes.iter().filter(|n| n.text.contains("left out")).map(|n| n.about.as_str()).collect();
        assert_eq!(left, ["ide1:0", "scsi0:4", "scsi0:5", "serial2"]);
    }

    #[test]
    fn words_of_a_description_stay_in_their_comment() {
        let text = comment("a\u{7f}b\nbios = \"x\"\r\u{0}");
        assert_eq!(text, "# a b bios = \"x\"  \n");
    }
}
