//! Test kernels: multiboot kernels that print their checks on COM1, and leave by the exit port at F4h.

use std::path::{Path, PathBuf};

use emu_core::cpu::model::Kind;
use emu_core::cpu::{Cpu, Model, seg};
use emu_core::{Output, Stop};
use emu_devices::fw_cfg::FwCfg;
use emu_machine::Machine;
use emu_machine::config::{Devices, KernelConfig, MAX_CPUS, MachineConfig};

use super::lines::checks;
use super::qemu_pci::QemuPci;
use super::testdev::TestDevice;
use super::{ProgramReport, in_words, unittests};
use crate::report::{Row, Tally, keep_first};
use crate::suite::{SuiteError, stem};

/// Bytes of output that are kept.
const MAX_OUTPUT: usize = 16 << 20;
const STRETCH: u64 = 4_000_000;
/// What a kernel that could test nothing writes to the exit port, so that QEMU's exit code is 77.
const SKIPPED: u32 = 38;

/// A kernel with its arguments and the machine that it wants.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    pub(crate) name: String,
    pub(crate) file: PathBuf,
    pub(crate) arguments: String,
    pub(crate) model: Model,
    pub(crate) memory: u64,
    pub(crate) cpus: u64,
    pub(crate) devices: Devices,
    pub(crate) seconds: u64,
}

impl Kernel {
    /// A kernel without arguments.
    pub(crate) fn new(file: PathBuf) -> Kernel {
        Kernel {
            name: stem(&file),
            file,
            arguments: String::new(),
            model: Model::new(Kind::X64V3),
            memory: 128 << 20,
            cpus: 1,
            devices: Devices::default(),
            seconds: 90,
        }
    }
}

/// The kernels of a list in the form of kvm-unit-tests.
pub(crate) fn list(path: &Path) -> Result<Vec<Kernel>, SuiteError> {
    unittests::read(path)
}

/// Whether a file's contents begin as a multiboot kernel's do: the header's magic in the first 8 KiB.
pub(crate) fn looks_like_kernel(start: &[u8]) -> bool {
    let (words, _) = start[..start.len().min(8192)].as_chunks::<4>();
    words.iter().any(|w| u32::from_le_bytes(*w) == 0x1BAD_B002)
}

/// How a kernel ended.
enum End {
    Exit(u32),
    Other(&'static str),
}

/// Runs a kernel, for so many seconds of guest time at the most, or as many as it asks for.
pub(crate) fn run(
    kernel: &Kernel,
    model: Option<Model>,
    seconds: Option<u64>,
    failures: usize,
) -> Result<ProgramReport, SuiteError> {
    let model = model.unwrap_or(kernel.model);
    let mut row = Row { name: kernel.name.clone(), example: kernel.arguments.clone(), ..Row::default() };
    if !kernel.file.exists() {
        return Ok(skipped(model, row, format!("{} is not there", kernel.file.display())));
    }
    let cpus = kernel.cpus.clamp(1, MAX_CPUS.into()) as u8;
    if kernel.cpus > cpus.into() {
        row.name = format!("{} (on {cpus} CPUs of {})", kernel.name, kernel.cpus);
    }
    let config = MachineConfig {
        cpu: model,
        cpus,
        devices: kernel.devices,
        memory: kernel.memory,
        kernel: Some(KernelConfig {
            image: kernel.file.clone(),
            initrd: None,
            // Boot loaders put the kernel's name first.
            append: format!("{} {}", kernel.name, kernel.arguments).trim_end().to_owned(),
            modules: Vec::new(),
        }),
        ..MachineConfig::default()
    };
    let mut machine = Machine::new(config).map_err(|e| {
        let text = e.to_string();
        let own = format!("{}: ", kernel.file.display());
        SuiteError::new(&kernel.file, text.strip_prefix(&own).unwrap_or(&text))
    })?;
    let fw_cfg = machine.system.bus.add(Box::new(FwCfg::new(kernel.memory, cpus.into())));
    machine.system.bus.map_ports(fw_cfg, 0x510, 2, 0, 2);
    QemuPci::install(&mut machine.system);
    TestDevice::install(&mut machine.system);
    // Guest time: a test ends at the same instruction on every host.
    let ticks = machine.rate().hz().saturating_mul(seconds.unwrap_or(kernel.seconds));
    let (end, output) = listen(&mut machine, ticks);
    let (checks, failed) = checks(&output);
    row.tally =
        Tally { cases: checks.passed + failed, strict: checks.passed, masked: checks.passed, skipped: checks.skipped };
    for (n, line) in checks.failed.into_iter().enumerate() {
        row.failures.push(in_words(n as u64, line, Vec::new()));
    }
    let places = machine.system.cpus().map(place).collect();
    judge_end(&mut row, end, failed, &output, places);
    keep_first(&mut row.failures, failures);
    Ok(ProgramReport { model, rows: vec![row] })
}

fn skipped(model: Model, mut row: Row, why: String) -> ProgramReport {
    row.tally.skipped = 1;
    row.skipped_because = Some(why);
    ProgramReport { model, rows: vec![row] }
}

/// The way a kernel ends is a check of its own, if it says more than the lines did.
fn judge_end(row: &mut Row, end: End, failed: u64, output: &[u8], places: Vec<String>) {
    let what = match end {
        End::Exit(0) => {
            if row.tally.cases == 0 {
                row.tally = Tally { cases: 1, strict: 1, masked: 1, skipped: row.tally.skipped };
            }
            return;
        }
        End::Exit(SKIPPED) => {
            row.tally.skipped = row.tally.skipped.max(1);
            row.skipped_because = Some("the kernel found nothing that it could test".into());
            return;
        }
        End::Exit(_) if failed > 0 => return,
        End::Exit(code) => format!("it wrote {code} to the exit port ({} as QEMU's exit code)", code << 1 | 1),
        End::Other(text) => text.to_owned(),
    };
    row.tally.cases += 1;
    let text = String::from_utf8_lossy(output);
    let mut last: Vec<String> =
        text.lines().rev().filter(|l| !l.trim().is_empty()).take(6).map(str::to_owned).collect();
    last.reverse();
    last.extend(places);
    row.failures.push(in_words(u64::MAX, what, last));
}

/// Where a CPU stands.
fn place(cpu: &Cpu) -> String {
    format!("CPU {}: {:?} at {:04x}:{:x}", cpu.id, cpu.activity, cpu.seg[seg::CS].sel, cpu.rip)
}

/// Runs until the kernel leaves, dies or takes too long; what it printed.
fn listen(machine: &mut Machine, ticks: u64) -> (End, Vec<u8>) {
    let mut output = Vec::new();
    while machine.system.now().0 < ticks {
        let stop = machine.system.run(machine.system.now().after(STRETCH));
        for (_, what) in machine.system.bus.take_output() {
            match what {
                Output::Serial { port: 0, byte } if output.len() < MAX_OUTPUT => output.push(byte),
                Output::Exit(code) => return (End::Exit(code), output),
                Output::PowerOff => return (End::Other("it switched the machine off"), output),
                _ => {}
            }
        }
        if stop == Stop::TripleFault {
            return (End::Other("the CPU shut down by a triple fault"), output);
        }
        if machine.is_halted_for_good() {
            return (End::Other("the CPU is halted with interrupts off"), output);
        }
    }
    (End::Other("its time ran out"), output)
}
