//! Debian's Linux kernels: the workload with its fixed results, the installer's dialogs, and the same states whatever
//! the slicing.

mod common;

use std::path::Path;

use common::session::Session;
use common::{cached_guest, pc_with_cd, pc_with_kernel, shared_guest, under_seabios};
use emu_core::cpu::Model;
use emu_core::cpu::model::{Feature, Kind};
use emu_core::{StateHash, Ticks};
use emu_machine::config::{Devices, KernelConfig, MachineConfig};

/// Kernel messages to the screen and the serial port; a panic resets at once.
const COMMAND_LINE: &str = "console=tty0 console=ttyS0,115200 panic=-1";

/// The kernel and initrd of the guest's folder, started directly.
fn linux(guest: &str, command_line: &str, megabytes: u64) -> Option<MachineConfig> {
    let names = if guest.starts_with("installer") { ["linux", "initrd.gz"] } else { ["vmlinuz", "initrd.gz"] };
    let [image, initrd] = names.map(|name| cached_guest(&format!("{guest}/{name}")));
    let config = pc_with_kernel(image.as_deref()?, megabytes);
    let kernel = KernelConfig { initrd: Some(initrd?), append: command_line.into(), ..config.kernel? };
    Some(MachineConfig { kernel: Some(kernel), ..config })
}

/// The lines of the expected results that do not depend on the machine.
fn expected_lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).expect("expected results");
    let own = |l: &&str| !["@@MARK", "Linux ", "model name", "flags"].iter().any(|start| l.starts_with(start));
    text.lines().map(str::trim_end).filter(own).filter(|l| !l.is_empty()).map(str::to_owned).collect()
}

/// Runs the workload to power-off: every result line comes, in order.
fn workload(name: &str, config: Option<MachineConfig>) {
    let (Some(config), Some(expected)) = (config, shared_guest("linux-i386/expected.txt")) else { return };
    let expected = expected_lines(&expected);
    assert!(expected.len() >= 12, "only {} expected lines", expected.len());
    let mut s = Session::start(name, config);
    s.wait_for_serial("@@MARK userspace-start", 200);
    s.wait_for_serial("@@MARK done", 300);
    s.wait_for_power_off(30);
    let serial = s.serial();
    let results = &serial[serial.find("@@MARK userspace-start").unwrap_or(0)..];
    let mut lines = results.lines().map(str::trim_end);
    for line in &expected {
        assert!(lines.any(|l| l == line), "{name}: no line {line:?} in its place in:\n{results}");
    }
    s.passed();
}

#[test]
fn linux_i386_runs_its_workload() {
    workload("linux-i386", linux("linux-i386", COMMAND_LINE, 256));
}

#[test]
fn linux_amd64_runs_its_workload() {
    workload("linux-amd64", linux("linux-amd64", COMMAND_LINE, 256));
}

#[test]
fn linux_amd64_runs_its_workload_from_cd_under_seabios() {
    let cd = cached_guest("linux-amd64/linux.iso");
    workload("linux-amd64 CD under SeaBIOS", cd.and_then(|cd| under_seabios(pc_with_cd(&cd, 256))));
}

/// All interrupts go through the IOMMU on their way to the four.
#[test]
fn linux_amd64_runs_its_workload_on_four_cpus_behind_an_iommu() {
    let devices = Devices { intel_iommu: true, edu: false };
    let config = linux("linux-amd64", &format!("{COMMAND_LINE} intel_iommu=on"), 256);
    workload("linux-amd64, 4 CPUs, IOMMU", config.map(|c| MachineConfig { cpus: 4, devices, ..c }));
}

#[test]
fn linux_i386_runs_its_workload_on_two_cpus() {
    workload("linux-i386, 2 CPUs", linux("linux-i386", COMMAND_LINE, 256).map(|c| MachineConfig { cpus: 2, ..c }));
}

/// What the CPU has reaches programs: the kernel switches AVX state on, and lists the features. It runs with process-context
/// identifiers, and with the supervisor kept off user pages.
#[test]
fn linux_amd64_finds_x86_64_v3() {
    let append = "console=ttyS0,115200 panic=-1 rdinit=/bin/busybox -- sh";
    let Some(config) = linux("linux-amd64", append, 256) else { return };
    let cpu = Model::new(Kind::X64V3).with(Feature::Smap, true).with(Feature::Umip, true);
    let mut s = Session::start("linux-amd64 v3", MachineConfig { cpu, ..config });
    s.wait_for_serial("# ", 200);
    s.type_serial(
        "PATH=/bin; busybox mkdir /proc; busybox mount -t proc none /proc; busybox sed -n 's/ /\\n/gp' /proc/cpuinfo\n",
    );
    s.type_serial("echo @@EN''D\n");
    s.wait_for_serial("@@END", 30);
    let serial = s.serial();
    assert!(serial.contains("x86/fpu: Enabled xstate features 0x7, context size is 832 bytes"), "{serial}");
    for feature in
        ["avx2", "fma", "f16c", "bmi2", "movbe", "abm", "xsaveopt", "smep", "smap", "umip", "pcid", "invpcid"]
    {
        assert!(serial.lines().any(|l| l.trim_end() == feature), "{feature} in {serial}");
    }
    s.passed();
}

/// The installer draws its dialogs in a graphics mode, with a font of its own; Enter takes the language it proposes.
#[test]
fn debian_installer_asks_for_language_and_location() {
    let Some(config) = linux("installer-i386", "", 512) else { return };
    let mut s = Session::start("installer-i386", config);
    s.wait_for_drawn(&["[!!] Select a language", "Choose the language to be used for the installation process."], 300);
    s.type_keys("<enter>");
    s.wait_for_drawn(&["[!!] Select your location", "The selected location will be used to set your time zone"], 60);
    s.passed();
}

/// States of a boot at twenty ticks, reached in slices of `slice` ticks.
fn states(config: MachineConfig, slice: u64) -> Vec<StateHash> {
    let mut s = Session::start("linux-i386", config);
    let states = (1..=20).map(|i| {
        let goal = Ticks(i * 300_000_007);
        while s.machine.system.now() < goal {
            s.run_until(s.machine.system.now().after(slice).min(goal));
        }
        assert_eq!(s.machine.system.now(), goal);
        s.machine.system.hash()
    });
    let states = states.collect();
    assert!(s.serial().contains("Linux version"), "the kernel should be running");
    states
}

#[test]
fn linux_states_do_not_depend_on_slices() {
    let Some(config) = linux("linux-i386", "earlyprintk=serial,ttyS0,115200 console=ttyS0,115200", 64) else { return };
    let whole = states(config.clone(), u64::MAX);
    let sliced = states(config, 99_991);
    assert_eq!(whole, sliced);
    assert!(whole.windows(2).all(|w| w[0] != w[1]), "the guest stands still");
}
