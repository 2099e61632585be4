//! From arguments to a machine: what the image is, which drive it goes into, and one line that says so.

use std::path::Path;

use emu_machine::Machine;
use emu_machine::config::{KernelConfig, MachineConfig, load_files, parse_module};
use emu_machine::image::{Content, ImageError, ImageSpec, floppy_of_size, inspect, is_floppy_size};
use emu_machine::recording::Snapshot;

use super::args::RunArgs;
use super::exit::Failure;
use super::foreign::describe;

/// A boot sector in a smaller file than this stands on a diskette: no hard disk was ever that small.
const SMALLEST_DISK: u64 = COMMON_FLOPPY;
/// Bytes of a diskette of 1440K.
const COMMON_FLOPPY: u64 = 1_474_560;

/// A built machine, and what was chosen, in one line.
pub(crate) struct Chosen {
    pub(crate) machine: Machine,
    pub(crate) summary: String,
    /// What the owner of another product's machine must know.
    pub(crate) notes: Vec<String>,
}

/// Builds the machine that the arguments describe.
pub(crate) fn choose(args: &RunArgs) -> Result<Chosen, Failure> {
    if let Some(file) = args.snapshot_file() {
        return restore(args, file);
    }
    let described = match &args.image {
        Some(image) => describe(&image.path, &args.machine)?,
        None => None,
    };
    let is_described = described.is_some();
    let (mut config, notes) = match described {
        Some(d) => (d.config, d.notes),
        None => (load_files(&args.machine)?, Vec::new()),
    };
    apply(args, &mut config);
    let what = match &args.image {
        Some(image) if !is_described => attach(&mut config, image)?,
        None if asks_for_nothing(&config) => {
            config.demo = Some(test_roms::demo_image());
            "the demo; give an image to boot that".into()
        }
        _ => describe_boot(&config),
    };
    kernel_options(args, &mut config)?;
    let machine = Machine::new(config)?;
    let summary = format!("{what} on a {}", describe_machine(&machine.config));
    Ok(Chosen { machine, summary, notes })
}

/// The machine of a snapshot, as it was.
fn restore(args: &RunArgs, file: &Path) -> Result<Chosen, Failure> {
    if let Some(option) = args.machine_option() {
        let why = format!("{option}: {} is a snapshot, and brings its own machine", file.display());
        return Err(Failure::usage(why));
    }
    let snapshot = Snapshot::open(file).map_err(Failure::file)?;
    let mut machine = snapshot.restore()?;
    machine.config.serials.clone_from(&args.serial);
    let at = snapshot.tick().0;
    let summary = format!("going on from tick {at} of {} on a {}", file.display(), describe_machine(&machine.config));
    Ok(Chosen { machine, summary, notes: Vec::new() })
}

/// Whether there is nothing to start but the demo: not even an empty drive or firmware was asked for.
fn asks_for_nothing(c: &MachineConfig) -> bool {
    c.kernel.is_none() && c.bios.is_none() && c.floppies.is_empty() && c.disks.is_empty() && c.cdroms.is_empty()
}

/// Options of the command line override the files.
fn apply(args: &RunArgs, c: &mut MachineConfig) {
    fn set<T: Clone>(to: &mut T, from: &Option<T>) {
        if let Some(value) = from {
            to.clone_from(value);
        }
    }
    set(&mut c.memory, &args.mem);
    set(&mut c.cpu, &args.cpu);
    set(&mut c.cpus, &args.cpus);
    set(&mut c.hypervisor, &args.hypervisor);
    c.devices = args.device.iter().fold(c.devices, |all, d| all.with(*d));
    set(&mut c.rtc, &args.rtc);
    set(&mut c.rate, &args.ticks_per_second);
    set(&mut c.seed, &args.seed);
    set(&mut c.boot, &args.boot);
    c.bios = args.bios.clone().or(c.bios.take());
    c.vga_bios = args.vga_bios.clone().or(c.vga_bios.take());
    if !args.floppy.is_empty() {
        c.floppies = args.floppy.iter().map(|d| d.0.clone()).collect();
    }
    if !args.disk.is_empty() {
        c.disks.clone_from(&args.disk);
    }
    if !args.cdrom.is_empty() {
        c.cdroms = args.cdrom.iter().map(|d| d.0.clone()).collect();
    }
    if !args.serial.is_empty() {
        c.serials.clone_from(&args.serial);
    }
    if let Some(image) = &args.kernel {
        c.kernel = Some(KernelConfig { image: image.clone(), ..KernelConfig::default() });
    }
}

/// Options that go with a kernel, wherever it came from.
fn kernel_options(args: &RunArgs, c: &mut MachineConfig) -> Result<(), Failure> {
    let Some(kernel) = &mut c.kernel else {
        let given = [
            ("--initrd", args.initrd.is_some()),
            ("--append", args.append.is_some()),
            ("--module", !args.module.is_empty()),
        ];
        return match given.iter().find(|g| g.1) {
            Some((name, _)) => Err(Failure::usage(format!("{name} needs a kernel (--kernel)"))),
            None => Ok(()),
        };
    };
    if args.initrd.is_some() {
        kernel.initrd.clone_from(&args.initrd);
    }
    if let Some(append) = &args.append {
        kernel.append.clone_from(append);
    }
    if !args.module.is_empty() {
        kernel.modules = args.module.iter().map(|m| parse_module(m)).collect();
    }
    Ok(())
}

/// Puts the image where it belongs, first in the boot order; returns what it is.
fn attach(c: &mut MachineConfig, image: &ImageSpec) -> Result<String, Failure> {
    let (content, size) = inspect(image).map_err(Failure::file)?;
    let size = image.size.unwrap_or(size);
    let name = image.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let boot = |c: &mut MachineConfig, letter| {
        if c.boot.is_empty() {
            c.boot = letter;
        }
    };
    match content {
        _ if (is_floppy_size(size) || image.geometry.is_some()) && !matches!(content, Content::Unsupported { .. }) => {
            c.floppies.insert(0, Some(image.clone()));
            boot(c, "a".into());
            let format = floppy_of_size(size).map_or_else(|| format!("{}K", size / 1024), |f| f.name.into());
            Ok(format!("{name} is a {format} floppy: booting from A:"))
        }
        Content::Cd { .. } => {
            c.cdroms.insert(0, Some(image.clone()));
            boot(c, "d".into());
            Ok(format!("{name} is a CD: booting from it"))
        }
        Content::Disk if size < SMALLEST_DISK => {
            c.floppies.insert(0, Some(ImageSpec { size: Some(COMMON_FLOPPY), ..image.clone() }));
            boot(c, "a".into());
            Ok(format!("{name} is a boot floppy cut short: filled up to 1440K, booting from A:"))
        }
        Content::Disk => {
            c.disks.insert(0, image.clone());
            boot(c, "c".into());
            Ok(format!("{name} is a hard disk of {}: booting from C:", describe_size(size)))
        }
        Content::Linux | Content::Multiboot | Content::Elf => {
            c.kernel = Some(KernelConfig { image: image.path.clone(), ..KernelConfig::default() });
            let kind = match content {
                Content::Linux => "a Linux kernel",
                Content::Multiboot => "a multiboot kernel",
                _ => "an ELF kernel",
            };
            Ok(format!("{name} is {kind}: starting it directly"))
        }
        Content::Unsupported { format, hint } => {
            Err(Failure::file(ImageError::Unsupported { path: image.path.clone(), format, hint }))
        }
        Content::Floppy | Content::Unknown => Err(Failure::file(unknown(&image.path, size))),
    }
}

/// What to say of a file that is nothing bootable: of a small one with a boot sector, that it may be a short floppy.
fn unknown(path: &Path, size: u64) -> ImageError {
    if size.is_multiple_of(512) {
        ImageError::NotBootable(path.to_owned())
    } else {
        ImageError::Ragged { path: path.to_owned(), size, sector: 512 }
    }
}

fn describe_boot(c: &MachineConfig) -> String {
    if let Some(kernel) = &c.kernel {
        return format!("starting {} directly", kernel.image.display());
    }
    let present = [
        ("A:", c.floppies.iter().any(Option::is_some)),
        ("C:", !c.disks.is_empty()),
        ("CD", c.cdroms.iter().any(Option::is_some)),
    ];
    let names: Vec<&str> = present.iter().filter(|p| p.1).map(|p| p.0).collect();
    if names.is_empty() {
        "no drive has a medium: starting the firmware".into()
    } else {
        format!("booting from {}", names.join(", "))
    }
}

pub(crate) fn describe_machine(c: &MachineConfig) -> String {
    use emu_core::cpu::model::MODELS;
    let cpu = MODELS.iter().find(|(_, kind)| *kind == c.cpu.kind).map_or("", |(name, _)| *name);
    let firmware = c.bios.as_ref().map(|b| format!(", firmware {}", b.display())).unwrap_or_default();
    let count = if c.cpus > 1 { format!("{} CPUs ", c.cpus) } else { String::new() };
    let devices = match c.devices.text().replace(',', ", ") {
        none if none.is_empty() => none,
        names => format!(", {names}"),
    };
    format!("PC with {count}{cpu} and {}{firmware}{devices}", describe_size(c.memory))
}

fn describe_size(bytes: u64) -> String {
    let (unit, shift) = match bytes {
        b if b >= 10 << 30 => ("G", 30),
        b if b >= 10 << 20 || b.is_multiple_of(1 << 20) => ("M", 20),
        _ => ("K", 10),
    };
    format!("{}{unit}", bytes >> shift)
}
