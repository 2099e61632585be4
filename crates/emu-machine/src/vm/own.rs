//! emu's own machine folders as exports read them, and the settings of emu that travel inside of other products' files.
//!
//! Where a format keeps keys that it does not know, an export stores what only emu has under `emu.` keys, so that the way
//! back loses nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::foreign::Network;
use super::{MACHINE, VmError};
use crate::config::{HypervisorKind, MachineConfig, RtcStart, cpu_text, load_files};

/// What only emu has, by the keys of `machine.toml`.
pub(super) type Settings = BTreeMap<String, String>;

/// A machine of emu's.
#[derive(Debug)]
pub(super) struct Own {
    /// Its `machine.toml`.
    pub(super) file: PathBuf,
    pub(super) name: String,
    pub(super) config: MachineConfig,
    /// The guest's system in the words of the product that it came from.
    pub(super) guest: String,
    pub(super) networks: Vec<Network>,
    /// How many snapshots of its former life are known.
    pub(super) snapshots: usize,
}

/// Reads the folder, or the `machine.toml`, at `path`.
pub(super) fn read(path: &Path) -> Result<Own, VmError> {
    let file = if path.is_dir() { path.join(MACHINE) } else { path.to_owned() };
    let text = super::decode(&super::read_file(&file)?);
    let wrong = |e: crate::config::ConfigError| VmError::invalid(&file, strip(&e.to_string(), &file));
    let config = load_files(std::slice::from_ref(&file)).map_err(wrong)?;
    config.check().map_err(wrong)?;
    let table: Table = text.parse().unwrap_or_default();
    let folder = file.parent().and_then(Path::file_stem).unwrap_or_default().to_string_lossy().into_owned();
    let name = table.get("name").and_then(Value::as_str).map(str::to_owned).unwrap_or(folder);
    let origin = table.get("origin").and_then(Value::as_table).cloned().unwrap_or_default();
    let list = |key: &str| origin.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let networks = list("network").iter().filter_map(Value::as_table).map(network).take(10).collect();
    let guest = origin.get("guest").and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(Own { file, name, config, guest, networks, snapshots: list("snapshot").len() })
}

/// A message without the file that it begins with.
fn strip(text: &str, file: &Path) -> String {
    text.strip_prefix(&format!("{}: ", file.display())).unwrap_or(text).to_owned()
}

fn network(t: &Table) -> Network {
    let text = |key: &str| t.get(key).and_then(Value::as_str).map(str::to_owned);
    Network {
        model: text("model").unwrap_or_default(),
        mac: text("mac").as_deref().and_then(super::foreign::mac_address),
        connection: text("connection").unwrap_or_default(),
    }
}

impl Own {
    /// What only emu has, as far as it is not what every machine gets.
    pub(super) fn settings(&self) -> Settings {
        let (c, usual) = (&self.config, MachineConfig::default());
        let mut s = Settings::new();
        let mut set = |key: &str, differs: bool, value: String| {
            if differs {
                s.insert(key.into(), value);
            }
        };
        set("cpu", true, cpu_text(c.cpu));
        set("boot", !c.boot.is_empty(), c.boot.clone());
        let hypervisor = match c.hypervisor {
            HypervisorKind::None => "none",
            HypervisorKind::Vmware => "vmware",
            HypervisorKind::HyperV => "hyper-v",
        };
        set("hypervisor", true, hypervisor.into());
        set("devices", c.devices != usual.devices, c.devices.text());
        set("rtc", c.rtc != usual.rtc, rtc_text(c.rtc));
        set("seed", c.seed != usual.seed, c.seed.to_string());
        set("ticks-per-second", c.rate != usual.rate, c.rate.hz().to_string());
        s
    }
}

/// The text that [`RtcStart::parse`] reads.
pub(super) fn rtc_text(t: RtcStart) -> String {
    format!("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", t.year, t.month, t.day, t.hour, t.minute, t.second)
}
