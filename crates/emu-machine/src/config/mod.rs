//! What a machine is made of: everything that could make two runs differ, as plain values.
//!
//! A [`MachineConfig`] comes from `machine.toml` files (later ones override earlier ones) and the command line.

mod cpu;
mod date;
mod devices;
mod file;
mod size;
mod suggest;

pub use cpu::{cpu_text, parse_cpu};
pub use date::RtcStart;
pub use devices::Devices;
pub use file::{load_files, load_text, parse_module};
pub use size::parse_size;
pub use suggest::suggestion;

use std::path::PathBuf;

use emu_core::ClockRate;
use emu_core::cpu::Model;
use emu_core::cpu::model::Feature;

use crate::image::ImageSpec;
use crate::recording::Packed;

/// Why a configuration is refused. Each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that can't be read.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the host says.
        reason: String,
    },
    /// A key or a value of a file that means nothing.
    #[error("{path}: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what was perhaps meant.
        reason: String,
    },
    /// A value that no machine has.
    #[error("{0}")]
    Value(String),
}

/// A board: which chips there are, and how they are wired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BoardKind {
    /// PCI PC: i440FX and PIIX3, with the power management of PIIX4.
    #[default]
    Pc,
}

/// The hypervisor below the machine, as its guest sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HypervisorKind {
    /// None: the machine is bare silicon.
    #[default]
    None,
    /// VMware's backdoor, CPUID leaves and absolute pointer.
    Vmware,
    /// Hyper-V's CPUID leaves, MSRs and hypercall page.
    HyperV,
}

impl HypervisorKind {
    /// Reads `none`, `vmware` or `hyper-v`.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for anything else.
    pub fn parse(text: &str) -> Result<HypervisorKind, ConfigError> {
        match text {
            "none" => Ok(HypervisorKind::None),
            "vmware" => Ok(HypervisorKind::Vmware),
            "hyper-v" | "hyperv" => Ok(HypervisorKind::HyperV),
            _ => {
                let hint = suggestion(text, &["none", "vmware", "hyper-v"]);
                Err(ConfigError::Value(format!("hypervisor `{text}` is none of none, vmware, hyper-v{hint}")))
            }
        }
    }
}

/// A kernel that is started without a boot loader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelConfig {
    /// The kernel: Linux, multiboot or ELF.
    pub image: PathBuf,
    /// Linux's initial RAM disk.
    pub initrd: Option<PathBuf>,
    /// Its command line.
    pub append: String,
    /// Multiboot modules: file, and its argument string.
    pub modules: Vec<(PathBuf, String)>,
}

/// What a serial port is connected to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SerialTarget {
    /// Nothing: bytes vanish.
    #[default]
    Null,
    /// emu's own standard input and output.
    Stdio,
    /// Output goes into a file, which is replaced.
    File(PathBuf),
    /// A pseudo-terminal, whose name is said at the start.
    Pty,
    /// A TCP connection.
    Tcp {
        /// `host:port`.
        address: String,
        /// Whether emu listens there, instead of connecting to it.
        server: bool,
    },
    /// A Unix socket.
    Unix {
        /// Its path.
        path: PathBuf,
        /// Whether emu listens there, instead of connecting to it.
        server: bool,
    },
}

impl SerialTarget {
    /// Reads `stdio`, `null`, `pty`, `file:PATH`, `tcp:HOST:PORT[,server]` or `unix:PATH[,server]`.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for anything else.
    pub fn parse(text: &str) -> Result<SerialTarget, ConfigError> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        let (place, server) = match rest.strip_suffix(",server") {
            Some(place) => (place, true),
            None => (rest, false),
        };
        match (kind, place.is_empty()) {
            ("null" | "none", true) => Ok(SerialTarget::Null),
            ("stdio", true) => Ok(SerialTarget::Stdio),
            ("pty", true) => Ok(SerialTarget::Pty),
            ("file", false) => Ok(SerialTarget::File(rest.into())),
            ("tcp", false) if place.contains(':') => Ok(SerialTarget::Tcp { address: place.into(), server }),
            ("unix", false) => Ok(SerialTarget::Unix { path: place.into(), server }),
            _ => {
                let hint = suggestion(kind, &["stdio", "null", "pty", "file", "tcp", "unix"]);
                Err(ConfigError::Value(format!(
                    "serial port `{text}` is none of stdio, null, pty, file:PATH, tcp:HOST:PORT[,server], \
                     unix:PATH[,server]{hint}"
                )))
            }
        }
    }
}

/// A machine, ready to be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineConfig {
    /// Which board.
    pub board: BoardKind,
    /// Which CPU.
    pub cpu: Model,
    /// How many of them.
    pub cpus: u8,
    /// What the guest finds when it looks for a hypervisor.
    pub hypervisor: HypervisorKind,
    /// Devices beside the board's own.
    pub devices: Devices,
    /// Bytes of RAM.
    pub memory: u64,
    /// Ticks per second of guest time.
    pub rate: ClockRate,
    /// What the clock chip says at power-on.
    pub rtc: RtcStart,
    /// Start of every pseudo-random sequence in the machine.
    pub seed: u64,
    /// Firmware instead of emu's own.
    pub bios: Option<PathBuf>,
    /// Video BIOS to go with it.
    pub vga_bios: Option<PathBuf>,
    /// Diskettes of drives A: and B:; `None` is an empty drive.
    pub floppies: Vec<Option<ImageSpec>>,
    /// Hard disks.
    pub disks: Vec<ImageSpec>,
    /// CDs; `None` is an empty drive.
    pub cdroms: Vec<Option<ImageSpec>>,
    /// COM1 and COM2.
    pub serials: Vec<SerialTarget>,
    /// A kernel to start directly.
    pub kernel: Option<KernelConfig>,
    /// An image that emu brings itself, as a diskette in A:; drives of `floppies` follow it.
    pub demo: Option<Vec<u8>>,
    /// Boot order, as letters: `a` floppy, `c` hard disk, `d` CD. Empty: floppy, disk, CD, as far as there are any.
    pub boot: String,
    /// Files and images that are not taken from the host.
    pub packed: Packed,
}

impl Default for MachineConfig {
    fn default() -> Self {
        MachineConfig {
            board: BoardKind::Pc,
            cpu: cpu::DEFAULT,
            cpus: 1,
            hypervisor: HypervisorKind::None,
            devices: Devices::default(),
            memory: 128 << 20,
            rate: ClockRate::DEFAULT,
            rtc: RtcStart::default(),
            seed: 0,
            bios: None,
            vga_bios: None,
            floppies: Vec::new(),
            disks: Vec::new(),
            cdroms: Vec::new(),
            serials: Vec::new(),
            kernel: None,
            demo: None,
            boot: String::new(),
            packed: Packed::default(),
        }
    }
}

/// The least RAM of a PC board: the conventional memory and the first extended megabyte.
const MIN_MEMORY: u64 = 1 << 20;
/// The most RAM of a machine: what the chipset's PCI hole and 36 address bits leave.
const MAX_MEMORY: u64 = 32 << 30;
/// The most CPUs of a machine.
pub const MAX_CPUS: u8 = 8;

impl MachineConfig {
    /// Checks what no single value shows.
    ///
    /// # Errors
    /// [`ConfigError::Value`], for values that no machine has.
    pub fn check(&self) -> Result<(), ConfigError> {
        let error = |text: String| Err(ConfigError::Value(text));
        if !(MIN_MEMORY..=MAX_MEMORY).contains(&self.memory) {
            return error(format!("memory of {} bytes is out of range: 1M to 32G", self.memory));
        }
        if !self.memory.is_multiple_of(64 << 10) {
            return error(format!("memory of {} bytes is not a multiple of 64K", self.memory));
        }
        if !(1..=MAX_CPUS).contains(&self.cpus) {
            return error(format!("{} CPUs are out of range: 1 to {MAX_CPUS}", self.cpus));
        }
        if self.cpus > 1 && !self.cpu.has(Feature::Apic) {
            return error(format!("{} CPUs need local APICs, and `{}` has none", self.cpus, cpu_text(self.cpu)));
        }
        if self.devices.intel_iommu && !self.cpu.has(Feature::Apic) {
            return error(format!("intel-iommu needs a local APIC, and `{}` has none", cpu_text(self.cpu)));
        }
        let too_many = |what, n: usize, most: usize| {
            if n > most { error(format!("{n} {what}: this board has room for {most}")) } else { Ok(()) }
        };
        too_many("floppies", self.floppies.len(), 2)?;
        too_many("serial ports", self.serials.len(), 2)?;
        too_many("hard disks and CDs", self.disks.len() + self.cdroms.len(), 4)?;
        if self.serials.iter().filter(|s| **s == SerialTarget::Stdio).count() > 1 {
            return error("only one serial port can have the standard input and output".into());
        }
        if let Some(c) = self.boot.chars().find(|c| !"acd".contains(*c)) {
            return error(format!("boot order `{}`: `{c}` is none of a (floppy), c (disk), d (CD)", self.boot));
        }
        if self.kernel.is_some() && self.bios.is_some() {
            return error("--kernel needs emu's own firmware, so it can't go with --bios".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_targets_read_back() {
        let parse = |s| SerialTarget::parse(s).unwrap();
        assert_eq!(
            parse("tcp:localhost:4000,server"),
            SerialTarget::Tcp { address: "localhost:4000".into(), server: true }
        );
        assert_eq!(parse("unix:/tmp/x"), SerialTarget::Unix { path: "/tmp/x".into(), server: false });
        assert_eq!(parse("file:a:b"), SerialTarget::File("a:b".into()));
        for bad in ["", "tcp:localhost", "file:", "stdio:x", "studio"] {
            assert!(SerialTarget::parse(bad).is_err(), "{bad}");
        }
        assert!(SerialTarget::parse("studio").unwrap_err().to_string().contains("did you mean `stdio`"));
    }

    #[test]
    fn absurd_machines_are_refused() {
        let refused = |change: fn(&mut MachineConfig)| {
            let mut c = MachineConfig::default();
            assert!(c.check().is_ok());
            change(&mut c);
            c.check().unwrap_err().to_string()
        };
        assert!(refused(|c| c.memory = 0).contains("out of range"));
        assert!(refused(|c| c.memory = u64::MAX).contains("out of range"));
        assert!(refused(|c| c.memory = (1 << 20) + 1).contains("multiple of 64K"));
        assert!(refused(|c| c.cpus = 0).contains("1 to 8"));
        assert!(refused(|c| c.cpus = 9).contains("1 to 8"));
        let old = |c: &mut MachineConfig| (c.cpus, c.cpu) = (2, parse_cpu("486").unwrap());
        assert!(refused(old).contains("need local APICs"));
        let no_apic = |c: &mut MachineConfig| (c.devices.intel_iommu, c.cpu) = (true, parse_cpu("486").unwrap());
        assert!(refused(no_apic).contains("intel-iommu needs"));
        assert!(refused(|c| c.floppies = vec![None; 3]).contains("room for 2"));
        assert!(refused(|c| c.boot = "ax".into()).contains("`x`"));
        assert!(refused(|c| c.serials = vec![SerialTarget::Stdio; 2]).contains("only one"));
    }
}
