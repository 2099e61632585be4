//! Debian's Linux kernels look for the hypervisor below them, and use what they find.

mod common;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use common::session::Session;
use common::{cached_guest, pc_with_kernel};
use emu_core::Input;
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

/// A file in the archive of an initial RAM disk, with its header: "newc" [Linux initramfs buffer format].
fn in_archive(name: &str, bytes: &[u8]) -> Vec<u8> {
    let fields = [1, 0o100_644, 0, 0, 1, 0, bytes.len(), 0, 0, 0, 0, name.len() + 1, 0];
    let mut out = b"070701".to_vec();
    fields.iter().for_each(|f| write!(out, "{f:08x}").expect("memory"));
    for part in [&[name.as_bytes(), &[0]].concat()[..], bytes] {
        out.extend_from_slice(part);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    out
}

/// The initial RAM disk of the 64-bit guest with the kernel's own drivers of the mouse.
fn with_mouse_drivers(to: &Path) -> Option<()> {
    let mut bytes = std::fs::read(cached_guest("linux-amd64/initrd.gz")?).expect("the initrd");
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    for name in ["psmouse.ko", "evdev.ko"] {
        let module = std::fs::read(cached_guest(&format!("linux-amd64/modules/{name}"))?).expect("a module");
        bytes.extend(in_archive(name, &module));
    }
    bytes.extend(in_archive("TRAILER!!!", &[]));
    std::fs::write(to, bytes).expect("a temporary file");
    Some(())
}

/// Debian's own driver finds the absolute pointer, and reports its places to programs.
#[test]
fn linux_amd64_drives_vmwares_absolute_pointer() {
    let initrd: PathBuf = std::env::temp_dir().join(format!("emu-mouse-{}.gz", std::process::id()));
    let (Some(kernel), Some(())) = (cached_guest("linux-amd64/vmlinuz"), with_mouse_drivers(&initrd)) else { return };
    let config = pc_with_kernel(&kernel, 256);
    let append = "console=ttyS0,115200 panic=-1 rdinit=/bin/busybox -- sh".into();
    let kernel = config.kernel.clone().map(|k| KernelConfig { initrd: Some(initrd.clone()), append, ..k });
    let machine = MachineConfig { hypervisor: HypervisorKind::Vmware, kernel, ..config };
    let mut s = Session::start("linux-amd64 VMMouse", machine);
    std::fs::remove_file(initrd).expect("a temporary file");
    s.wait_for_serial("# ", 200);
    s.type_serial(
        "PATH=/bin; alias b=busybox\nb mkdir /sys; b mount -t sysfs none /sys; b mount -t devtmpfs none /dev\n",
    );
    s.type_serial("b insmod /evdev.ko; b insmod /psmouse.ko\n");
    s.wait_for_serial("input: VirtualPS/2 VMware VMMouse as", 60);
    s.run_ms(1000);
    // Of each event its time, in four words, then type, code and value.
    s.type_serial("for e in /dev/input/event*; do b hexdump -v -e '4/4 \"%x,\" 2/2 \"%u,\" 1/4 \"%d\\n\"' $e & done\n");
    s.type_serial("echo @@REA''DY\n");
    s.wait_for_serial("@@READY", 60);
    s.run_ms(500);
    for (dx, dy, buttons) in [(2000, 0, 0), (-100, 10, 0), (0, 0, 1)] {
        s.machine.system.input(&Input::Mouse { dx, dy, dz: 0, buttons });
        s.run_ms(300);
    }
    s.type_serial("\necho @@EN''D\n");
    s.wait_for_serial("@@END", 30);
    let serial = s.serial();
    // EV_ABS x, then x and y, then EV_KEY BTN_LEFT.
    for event in [",3,0,65535", ",3,0,59135", ",3,1,32128", ",1,272,1"] {
        assert!(serial.lines().any(|l| l.trim().ends_with(event)), "no event {event:?} in:\n{serial}");
    }
    s.passed();
}
