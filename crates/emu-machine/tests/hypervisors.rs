//! Debian's Linux kernels look for the hypervisor below them, and use what they find.

mod common;

use common::session::Session;
use common::{cached_guest, pc_with_kernel};
use emu_machine::config::{HypervisorKind, KernelConfig, MachineConfig};

/// The kernel's messages until `last`, in a machine with a hypervisor's interface.
fn messages(guest: &str, hypervisor: HypervisorKind, last: &str) -> Option<String> {
    let config = pc_with_kernel(&cached_guest(&format!("{guest}/vmlinuz"))?, 256);
    let append = "nokaslr earlyprintk=serial,ttyS0,115200 console=ttyS0,115200".into();
    let kernel = KernelConfig { append, ..config.kernel? };
    let mut s = Session::start(guest, MachineConfig { hypervisor, kernel: Some(kernel), ..config });
    s.wait_for_serial(last, 200);
    let serial = s.serial();
    s.passed();
    Some(serial)
}

/// Each of `lines` stands in the messages.
fn says(messages: Option<String>, lines: &[&str]) {
    let Some(messages) = messages else { return };
    for line in lines {
        assert!(messages.contains(line), "no {line:?} in:\n{messages}");
    }
    assert!(!messages.contains("unchecked MSR access"), "{messages}");
}

/// The 32-bit kernel takes the TSC's and the APIC timer's frequencies from the backdoor.
#[test]
fn linux_i386_finds_vmware() {
    let messages = messages("linux-i386", HypervisorKind::Vmware, "kernel on VMware hypervisor");
    let lines = [
        "Hypervisor detected: VMware",
        "vmware: TSC freq read from hypervisor : 100.000 MHz",
        "vmware: Host bus clock speed read from hypervisor : 100000000 Hz",
        "Booting paravirtualized kernel on VMware hypervisor",
    ];
    says(messages, &lines);
}

/// The 64-bit kernel takes its time from the reference page.
#[test]
fn linux_amd64_finds_hyper_v() {
    let messages =
        messages("linux-amd64", HypervisorKind::HyperV, "Switched to clocksource hyperv_clocksource_tsc_page");
    let lines = [
        "Hypervisor detected: Microsoft Hyper-V",
        "Hyper-V: privilege flags low 0xae3, high 0x0, hints 0x20, misc 0x100",
        "Hyper-V: LAPIC Timer Frequency: 0x61a80",
        "tsc: Detected 100.000 MHz processor",
        "Booting paravirtualized kernel on Hyper-V",
    ];
    says(messages, &lines);
}
