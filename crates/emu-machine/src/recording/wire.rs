//! What the frames hold, as plain values in postcard's encoding. A change of any of these is a new version of the format.

use std::path::{Path, PathBuf};

use emu_core::timeline::{Mark, SpinePoint};
use emu_core::{ClockRate, Input, Key, StateHash, Ticks};
use emu_devices::geometry::Geometry;
use serde::{Deserialize, Serialize};

use crate::config::{
    BoardKind, Devices, HypervisorKind, KernelConfig, MAX_CPUS, MachineConfig, RtcStart, cpu_text, parse_cpu,
};
use crate::image::{ImageSpec, Mode, Parents, parse_format};

/// A hash of 128 bits, in little-endian order.
pub(super) type Digest = [u8; 16];

pub(super) fn digest(bytes: &[u8]) -> Digest {
    StateHash::of(bytes).0.to_le_bytes()
}

/// The first frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Start {
    /// Version of the emu that recorded.
    pub(super) emu: String,
    pub(super) machine: WireMachine,
    /// The files that the machine is built from.
    pub(super) files: Vec<WireFile>,
    /// Its drives: floppies, disks, CDs.
    pub(super) drives: Vec<WireDrive>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WireMachine {
    /// Bit 0: the board; bits 3:1: how many CPUs there are beside the first; bits 5:4: the hypervisor that the guest finds; bits
    /// 6 and 7: whether there are an IOMMU and `edu`.
    pub(super) board: u8,
    pub(super) cpu: String,
    pub(super) memory: u64,
    pub(super) rate: u64,
    /// Year, month, day, hour, minute, second.
    pub(super) rtc: (u16, [u8; 5]),
    pub(super) seed: u64,
    pub(super) boot: String,
    /// The kernel's command line.
    pub(super) append: String,
    /// Arguments of the multiboot modules.
    pub(super) modules: Vec<String>,
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Role {
    Firmware,
    VideoBios,
    Kernel,
    Initrd,
    Module,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WireFile {
    pub(super) role: Role,
    pub(super) path: String,
    pub(super) size: u64,
    pub(super) digest: Digest,
    /// The recording brings its contents.
    pub(super) packed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum DriveKind {
    Floppy,
    Disk,
    Cd,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WireDrive {
    pub(super) kind: DriveKind,
    pub(super) image: Option<WireImage>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WireImage {
    pub(super) path: String,
    /// Writes are refused.
    pub(super) read_only: bool,
    /// The size that was asked for.
    pub(super) size: Option<u64>,
    pub(super) sectors: u64,
    /// Format, parents (anywhere?) and snapshot, where they were given.
    pub(super) format: Option<String>,
    pub(super) parents_anywhere: bool,
    pub(super) snapshot: Option<String>,
    /// Cylinders, heads and sectors of a diskette, where they were given.
    pub(super) geometry: Option<(u16, u8, u8)>,
    /// The recording brings the blocks that the run used.
    pub(super) packed: bool,
}

/// Inputs, from number `first` on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Inputs {
    pub(super) first: u64,
    /// Ticks since the input before it (since tick 0, of the first of a frame), and the input.
    pub(super) list: Vec<(u64, WireInput)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum WireInput {
    Key { key: u16, down: bool },
    Mouse { dx: i16, dy: i16, dz: i8, buttons: u8 },
    Serial { port: u8, bytes: Vec<u8> },
    Eject { drive: String },
    Insert { drive: String, image: u32 },
    PowerButton,
    ResetButton,
    ShutdownReset,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spine {
    pub(super) tick: u64,
    pub(super) inputs: u64,
    pub(super) hash: Digest,
    /// Short hashes of the machine's parts.
    pub(super) parts: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    pub(super) tick: u64,
    pub(super) inputs: u64,
}

/// Digests of blocks in the start state of volume number `volume`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Blocks {
    pub(super) volume: u32,
    pub(super) list: Vec<(u64, Digest)>,
}

/// Their contents: the blocks one after the other, compressed by zstd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Contents {
    pub(super) volume: u32,
    pub(super) numbers: Vec<u64>,
    #[serde(with = "whole_bytes")]
    pub(super) bytes: Vec<u8>,
}

/// Part of what a file or a checkpoint holds; the parts, in order, are one zstd stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FilePart {
    pub(super) file: u32,
    #[serde(with = "whole_bytes")]
    pub(super) bytes: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CheckpointPart {
    pub(super) at: Spine,
    /// 0 for the first part.
    pub(super) part: u32,
    pub(super) last: bool,
    #[serde(with = "whole_bytes")]
    pub(super) bytes: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attach {
    pub(super) kind: DriveKind,
    pub(super) image: WireImage,
}

/// How a delta begins, unpacked; behind it stand the contents of its pages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DeltaHead {
    pub(super) a20: bool,
    #[serde(with = "whole_bytes")]
    pub(super) devices: Vec<u8>,
    /// Of each page: how far its key is from the one before it, and bytes that it has in the contents; none if all are zero.
    pub(super) pages: Vec<(u64, u16)>,
}

/// Bytes in one piece instead of one by one; the encoding is the same.
mod whole_bytes {
    use serde::de::{Deserializer, Error, Visitor};
    use serde::ser::Serializer;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        from.deserialize_bytes(Bytes)
    }
}

impl Spine {
    pub(super) fn of(point: &SpinePoint) -> Spine {
        let (tick, inputs) = (point.at.tick.0, point.at.inputs as u64);
        Spine { tick, inputs, hash: point.hash.0.to_le_bytes(), parts: point.parts.clone() }
    }

    pub(super) fn point(&self) -> SpinePoint {
        let at = Mark { tick: Ticks(self.tick), inputs: self.inputs as usize };
        SpinePoint { at, hash: StateHash(u128::from_le_bytes(self.hash)), parts: self.parts.clone() }
    }
}

impl WireInput {
    pub(super) fn of(input: &Input) -> WireInput {
        match input.clone() {
            Input::Key { key, down } => WireInput::Key { key: key.0, down },
            Input::Mouse { dx, dy, dz, buttons } => WireInput::Mouse { dx, dy, dz, buttons },
            Input::Serial { port, bytes } => WireInput::Serial { port, bytes },
            Input::Eject { drive } => WireInput::Eject { drive },
            Input::Insert { drive, image } => WireInput::Insert { drive, image },
            Input::PowerButton => WireInput::PowerButton,
            Input::ResetButton => WireInput::ResetButton,
            Input::ShutdownReset => WireInput::ShutdownReset,
        }
    }

    pub(super) fn input(self) -> Input {
        match self {
            WireInput::Key { key, down } => Input::Key { key: Key(key), down },
            WireInput::Mouse { dx, dy, dz, buttons } => Input::Mouse { dx, dy, dz, buttons },
            WireInput::Serial { port, bytes } => Input::Serial { port, bytes },
            WireInput::Eject { drive } => Input::Eject { drive },
            WireInput::Insert { drive, image } => Input::Insert { drive, image },
            WireInput::PowerButton => Input::PowerButton,
            WireInput::ResetButton => Input::ResetButton,
            WireInput::ShutdownReset => Input::ShutdownReset,
        }
    }
}

/// The hypervisors by their numbers.
const HYPERVISORS: [HypervisorKind; 3] = [HypervisorKind::None, HypervisorKind::Vmware, HypervisorKind::HyperV];

impl WireMachine {
    pub(super) fn of(c: &MachineConfig) -> WireMachine {
        let BoardKind::Pc = c.board;
        let RtcStart { year, month, day, hour, minute, second } = c.rtc;
        let kernel = c.kernel.as_ref();
        WireMachine {
            board: u8::from(c.devices.edu) << 7
                | u8::from(c.devices.intel_iommu) << 6
                | (c.hypervisor as u8) << 4
                | (c.cpus.clamp(1, MAX_CPUS) - 1) << 1,
            cpu: cpu_text(c.cpu),
            memory: c.memory,
            rate: c.rate.hz(),
            rtc: (year, [month, day, hour, minute, second]),
            seed: c.seed,
            boot: c.boot.clone(),
            append: kernel.map(|k| k.append.clone()).unwrap_or_default(),
            modules: kernel.map(|k| k.modules.iter().map(|m| m.1.clone()).collect()).unwrap_or_default(),
        }
    }

    /// The configuration without its files and drives; `None` for values that no emu wrote.
    pub(super) fn config(&self) -> Option<MachineConfig> {
        let (year, [month, day, hour, minute, second]) = self.rtc;
        let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
        Some(MachineConfig {
            board: (self.board & 1 == 0).then_some(BoardKind::Pc)?,
            cpus: (self.board >> 1 & 7) + 1,
            hypervisor: *HYPERVISORS.get(usize::from(self.board >> 4 & 3))?,
            devices: Devices { intel_iommu: self.board & 1 << 6 != 0, edu: self.board & 1 << 7 != 0 },
            cpu: parse_cpu(&self.cpu).ok()?,
            memory: self.memory,
            rate: ClockRate::new(self.rate)?,
            rtc: RtcStart::parse(&text).ok()?,
            seed: self.seed,
            boot: self.boot.clone(),
            ..MachineConfig::default()
        })
    }
}

impl WireImage {
    pub(super) fn spec(&self) -> ImageSpec {
        let mode = if self.read_only { Mode::Read } else { Mode::Overlay };
        ImageSpec {
            path: PathBuf::from(&self.path),
            mode,
            size: self.size,
            // A format that this emu does not know is found out when the image is opened, by its contents.
            format: self.format.as_deref().and_then(|f| parse_format(f).ok()),
            parents: if self.parents_anywhere { Parents::Anywhere } else { Parents::Folder },
            snapshot: self.snapshot.clone(),
            geometry: self.geometry.map(|(cylinders, heads, sectors)| Geometry { cylinders, heads, sectors }),
        }
    }
}

/// The files of a configuration, each with what it is for.
pub(super) fn files_of(c: &MachineConfig) -> Vec<(Role, &Path)> {
    let mut files = Vec::new();
    files.extend(c.bios.as_deref().map(|p| (Role::Firmware, p)));
    files.extend(c.vga_bios.as_deref().map(|p| (Role::VideoBios, p)));
    if let Some(k) = &c.kernel {
        files.push((Role::Kernel, &*k.image));
        files.extend(k.initrd.as_deref().map(|p| (Role::Initrd, p)));
        files.extend(k.modules.iter().map(|m| (Role::Module, &*m.0)));
    }
    files
}

/// Puts files into a configuration; the other way round than [`files_of`].
pub(super) fn put_files(c: &mut MachineConfig, machine: &WireMachine, files: &[(Role, PathBuf)]) {
    let of = |role: Role| files.iter().filter(move |f| f.0 == role).map(|f| f.1.clone());
    c.bios = of(Role::Firmware).next();
    c.vga_bios = of(Role::VideoBios).next();
    c.kernel = of(Role::Kernel).next().map(|image| KernelConfig {
        image,
        initrd: of(Role::Initrd).next(),
        append: machine.append.clone(),
        modules: of(Role::Module).zip(machine.modules.iter().cloned()).collect(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_read_back() {
        for n in 0..4 * HYPERVISORS.len() * usize::from(MAX_CPUS) {
            let config = MachineConfig {
                devices: Devices { intel_iommu: n & 1 != 0, edu: n & 2 != 0 },
                cpus: (n / 4) as u8 % MAX_CPUS + 1,
                hypervisor: HYPERVISORS[n / 4 / usize::from(MAX_CPUS)],
                ..MachineConfig::default()
            };
            assert_eq!(WireMachine::of(&config).config(), Some(config));
        }
        let wire = WireMachine { board: 3 << 4, ..WireMachine::of(&MachineConfig::default()) };
        assert_eq!(wire.config(), None, "no such hypervisor");
    }
}
