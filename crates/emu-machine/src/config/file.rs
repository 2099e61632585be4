//! `machine.toml`: the configuration as a file, with overlays.

use std::path::{Path, PathBuf};

use emu_core::ClockRate;
use serde::Deserialize;
use toml::{Table, Value};

use super::{
    BoardKind, ConfigError, Devices, HypervisorKind, KernelConfig, MachineConfig, RtcStart, SerialTarget, parse_cpu,
    parse_size, suggestion,
};
use crate::image::{ImageSpec, Mode, Parents, parse_format, parse_geometry, reason};

/// The keys of the top level.
const KEYS: &[&str] = &[
    "name",
    "board",
    "cpu",
    "cpus",
    "hypervisor",
    "devices",
    "memory",
    "ticks-per-second",
    "rtc",
    "seed",
    "bios",
    "vga-bios",
    "boot",
    "kernel",
    "floppy",
    "disk",
    "cdrom",
    "serial",
    "origin",
];
/// The keys of `[[floppy]]`, `[[disk]]` and `[[cdrom]]`.
const DRIVE_KEYS: &[&str] = &["image", "mode", "size", "format", "parents", "snapshot", "geometry"];
/// The keys of `[kernel]`.
const KERNEL_KEYS: &[&str] = &["image", "initrd", "append", "modules"];

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    /// What the owner calls the machine; for people only.
    #[expect(dead_code, reason = "read so that a wrong type is refused")]
    name: Option<String>,
    board: Option<BoardKind>,
    cpu: Option<String>,
    cpus: Option<u8>,
    hypervisor: Option<String>,
    devices: Option<String>,
    memory: Option<SizeValue>,
    ticks_per_second: Option<u64>,
    rtc: Option<String>,
    seed: Option<u64>,
    bios: Option<PathBuf>,
    vga_bios: Option<PathBuf>,
    boot: Option<String>,
    kernel: Option<Kernel>,
    #[serde(default)]
    floppy: Vec<Drive>,
    #[serde(default)]
    disk: Vec<Drive>,
    #[serde(default)]
    cdrom: Vec<Drive>,
    #[serde(default)]
    serial: Vec<String>,
    /// Where an imported machine came from, with what emu keeps of it without using it.
    #[expect(dead_code, reason = "kept for its owner")]
    origin: Option<Table>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum SizeValue {
    Bytes(u64),
    Text(String),
}

impl SizeValue {
    fn bytes(&self) -> Result<u64, String> {
        match self {
            SizeValue::Bytes(n) => Ok(*n),
            SizeValue::Text(text) => parse_size(text),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Drive {
    image: Option<PathBuf>,
    #[serde(default)]
    mode: Mode,
    size: Option<SizeValue>,
    format: Option<String>,
    #[serde(default)]
    parents: Parents,
    snapshot: Option<String>,
    geometry: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Kernel {
    image: PathBuf,
    initrd: Option<PathBuf>,
    #[serde(default)]
    append: String,
    #[serde(default)]
    modules: Vec<String>,
}

/// Reads `files` in order; a later file's keys replace those of an earlier one, tables key by key, lists as a whole.
/// Paths in a file are relative to the file's directory.
///
/// # Errors
/// Any [`ConfigError`], with the file that is to blame.
pub fn load_files(files: &[PathBuf]) -> Result<MachineConfig, ConfigError> {
    let mut merged = Table::new();
    let mut last = PathBuf::from("machine.toml");
    for path in files {
        let text =
            std::fs::read_to_string(path).map_err(|e| ConfigError::File { path: path.clone(), reason: reason(&e) })?;
        let mut table = read_table(path, &text)?;
        anchor_paths(&mut table, path.parent().unwrap_or(Path::new("")));
        merge(&mut merged, table);
        last.clone_from(path);
    }
    let invalid = |reason| ConfigError::Invalid { path: last.clone(), reason };
    let file: File = merged.try_into().map_err(|e: toml::de::Error| invalid(one_line(e.message())))?;
    build(file).map_err(invalid)
}

/// Reads the text of one file. Paths in it stay as they are.
///
/// # Errors
/// Any [`ConfigError`]; the file is called `machine.toml`.
pub fn load_text(text: &str) -> Result<MachineConfig, ConfigError> {
    let path = Path::new("machine.toml");
    let invalid = |reason| ConfigError::Invalid { path: path.to_owned(), reason };
    let file: File = read_table(path, text)?.try_into().map_err(|e: toml::de::Error| invalid(one_line(e.message())))?;
    build(file).map_err(invalid)
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// Parses one file and checks its keys, while the file's name is still known.
fn read_table(path: &Path, text: &str) -> Result<Table, ConfigError> {
    let invalid = |reason| ConfigError::Invalid { path: path.to_owned(), reason };
    let table: Table = text.parse().map_err(|e: toml::de::Error| {
        let line = e.span().map_or(1, |s| text[..s.start.min(text.len())].lines().count().max(1));
        invalid(format!("line {line}: {}", one_line(e.message())))
    })?;
    check_keys(&table, KEYS, "").map_err(invalid)?;
    for (key, value) in &table {
        let (known, tables) = match (key.as_str(), value) {
            ("kernel", Value::Table(t)) => (KERNEL_KEYS, vec![t]),
            ("floppy" | "disk" | "cdrom", Value::Array(list)) => {
                (DRIVE_KEYS, list.iter().filter_map(Value::as_table).collect())
            }
            _ => continue,
        };
        tables.into_iter().try_for_each(|t| check_keys(t, known, key)).map_err(invalid)?;
    }
    // A check of this file alone, so that a wrong value is blamed on the file that holds it.
    let _: File = table.clone().try_into().map_err(|e: toml::de::Error| invalid(one_line(e.message())))?;
    Ok(table)
}

fn check_keys(table: &Table, known: &[&str], within: &str) -> Result<(), String> {
    match table.keys().find(|k| !known.contains(&k.as_str())) {
        None => Ok(()),
        Some(key) => {
            let place = if within.is_empty() { String::new() } else { format!(" in `{within}`") };
            Err(format!("unknown key `{key}`{place}{}", suggestion(key, known)))
        }
    }
}

fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// Makes the relative paths of a file relative to its directory.
fn anchor_paths(table: &mut Table, dir: &Path) {
    for (key, value) in table.iter_mut() {
        match (key.as_str(), value) {
            ("image" | "initrd" | "bios" | "vga-bios", Value::String(path)) => {
                *path = dir.join(&*path).to_string_lossy().into_owned();
            }
            ("modules", Value::Array(list)) => {
                for module in list.iter_mut().filter_map(|m| if let Value::String(s) = m { Some(s) } else { None }) {
                    *module = dir.join(&*module).to_string_lossy().into_owned();
                }
            }
            (_, Value::Table(inner)) => anchor_paths(inner, dir),
            (_, Value::Array(list)) => {
                list.iter_mut().filter_map(Value::as_table_mut).for_each(|t| anchor_paths(t, dir));
            }
            _ => {}
        }
    }
}

fn build(file: File) -> Result<MachineConfig, String> {
    let mut c = MachineConfig { board: file.board.unwrap_or_default(), ..MachineConfig::default() };
    let text = |e: ConfigError| e.to_string();
    if let Some(cpu) = file.cpu {
        c.cpu = parse_cpu(&cpu).map_err(text)?;
    }
    if let Some(cpus) = file.cpus {
        c.cpus = cpus;
    }
    if let Some(hypervisor) = file.hypervisor {
        c.hypervisor = HypervisorKind::parse(&hypervisor).map_err(text)?;
    }
    if let Some(devices) = file.devices {
        c.devices = Devices::parse(&devices).map_err(text)?;
    }
    if let Some(memory) = file.memory {
        c.memory = memory.bytes()?;
    }
    if let Some(hz) = file.ticks_per_second {
        c.rate = ClockRate::new(hz).ok_or("ticks-per-second is out of range: 1000 to 100000000000")?;
    }
    if let Some(rtc) = file.rtc {
        c.rtc = RtcStart::parse(&rtc).map_err(text)?;
    }
    c.seed = file.seed.unwrap_or_default();
    c.bios = file.bios;
    c.vga_bios = file.vga_bios;
    c.boot = file.boot.unwrap_or_default();
    c.kernel = file.kernel.map(|k| KernelConfig {
        image: k.image,
        initrd: k.initrd,
        append: k.append,
        modules: k.modules.iter().map(|m| parse_module(m)).collect(),
    });
    c.floppies = file.floppy.into_iter().map(drive).collect::<Result<_, _>>()?;
    c.cdroms = file.cdrom.into_iter().map(drive).collect::<Result<_, _>>()?;
    let disks: Vec<Option<ImageSpec>> = file.disk.into_iter().map(drive).collect::<Result<_, _>>()?;
    c.disks = disks.into_iter().map(|d| d.ok_or("a disk needs an image")).collect::<Result<_, _>>()?;
    c.serials = file.serial.iter().map(|s| SerialTarget::parse(s)).collect::<Result<_, _>>().map_err(text)?;
    Ok(c)
}

fn drive(drive: Drive) -> Result<Option<ImageSpec>, String> {
    let size = drive.size.map(|s| s.bytes()).transpose()?;
    let format = drive.format.map(|f| parse_format(&f)).transpose().map_err(|e| e.to_string())?;
    let geometry = drive.geometry.map(|g| parse_geometry(&g)).transpose().map_err(|e| e.to_string())?;
    let Drive { mode, parents, snapshot, .. } = drive;
    Ok(drive.image.map(|path| ImageSpec { path, mode, size, format, parents, snapshot, geometry }))
}

/// Splits `PATH ARGUMENTS` of a multiboot module at the first space.
#[must_use]
pub fn parse_module(text: &str) -> (PathBuf, String) {
    let (path, arguments) = text.split_once(' ').unwrap_or((text, ""));
    (path.into(), arguments.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    fn load(texts: &[&str]) -> Result<MachineConfig, String> {
        let dir = TempDir::new();
        let files: Vec<_> =
            texts.iter().enumerate().map(|(i, t)| dir.file(&format!("{i}.toml"), t.as_bytes())).collect();
        load_files(&files).map_err(|e| e.to_string())
    }

    /// Every key at once: what [`KEYS`] lists is what the file can hold.
    const FULL: &str = r#"
        name = "dos"
        board = "pc"
        cpu = "486,-fpu"
        hypervisor = "vmware"
        devices = "edu"
        memory = "16M"
        cpus = 2
        ticks-per-second = 33_000_000
        rtc = "1994-05-31"
        seed = 7
        bios = "/b"
        vga-bios = "/v"
        boot = "ca"
        serial = ["null", "tcp:localhost:1,server"]
        kernel = { image = "/k", initrd = "/i", append = "a b", modules = ["/m x y"] }
        floppy = [{ image = "/a.img", mode = "read", size = "1440K", format = "raw", parents = "anywhere", snapshot = "s" }, {}]
        disk = [{ image = "/c.img", mode = "write", size = 1024 }]
        cdrom = [{}]
        origin = { product = "VMware", anything = 1 }
    "#;

    #[test]
    fn every_key_is_known_and_read() {
        let table: Table = FULL.parse().unwrap();
        for key in KEYS {
            assert!(table.contains_key(*key), "{key} is missing from the test");
        }
        let c = load(&[FULL]).unwrap();
        assert_eq!((c.memory, c.rate.hz(), c.seed, c.boot.as_str()), (16 << 20, 33_000_000, 7, "ca"));
        assert_eq!((c.cpus, c.devices.text().as_str()), (2, "edu"));
        assert_eq!((c.cpu, c.hypervisor), (parse_cpu("486,-fpu").unwrap(), HypervisorKind::Vmware));
        assert_eq!(
            c.disks[0],
            ImageSpec { path: "/c.img".into(), mode: Mode::Write, size: Some(1024), ..ImageSpec::default() }
        );
        assert_eq!((c.floppies.len(), &c.floppies[1], &c.cdroms[0]), (2, &None, &None));
        assert_eq!(c.kernel.unwrap().modules, [(PathBuf::from("/m"), "x y".to_owned())]);
    }

    #[test]
    fn later_files_override() {
        let c = load(&["memory = \"8M\"\nseed = 1", "memory = \"9M\""]).unwrap();
        assert_eq!((c.memory, c.seed), (9 << 20, 1));
    }

    #[test]
    fn paths_are_relative_to_their_file() {
        let dir = TempDir::new();
        let file = dir.file("m.toml", b"disk = [{ image = \"x.img\" }]");
        assert_eq!(load_files(&[file]).unwrap().disks[0].path, dir.path().join("x.img"));
    }

    #[test]
    fn mistakes_name_the_file_and_what_was_meant() {
        let text = |s| load(&[s]).unwrap_err();
        assert!(text("memroy = 1").contains("0.toml: unknown key `memroy`; did you mean `memory`?"));
        assert!(text("disk = [{ imag = \"x\" }]").contains("unknown key `imag` in `disk`; did you mean `image`?"));
        assert!(text("seed = \n").contains("line 1"));
        assert!(text("seed = \"x\"").contains("0.toml"));
        assert!(text("board = \"pcx\"").contains("pc"));
        assert!(text("hypervisor = \"vmwre\"").contains("did you mean `vmware`"));
        assert!(text("devices = \"eduu\"").contains("did you mean `edu`"));
        assert!(text("disk = [{}]").contains("needs an image"));
        assert!(!text("memory = \"x\"").contains('\n'));
    }
}
