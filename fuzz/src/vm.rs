//! Descriptions of machines in the products' forms: `.vmx`, OVF, Hyper-V's XML, `.vmcx` and listing, libvirt, QEMU.

#[path = "../../crates/emu-machine/tests/common/vmcx.rs"]
mod vmcx;

use std::path::Path;

use emu_machine::config::load_text;
use emu_machine::vm::{
    ChosenImage, DriveKind, Foreign, PlannedDrive, Product, choose_snapshot, plan, read_description, read_snapshot_list,
};

use crate::Random;

/// A description: an error, or a machine whose `machine.toml` is one that emu reads, whatever names and numbers it has, also
/// with the disks of each of its snapshots. VMware's list of them may stand in the same text.
///
/// # Panics
/// If emu does not understand what it would write.
pub fn vm_description(data: &[u8]) {
    let path = Path::new("/none/machine");
    let Ok(mut machine) = read_description(path, data) else { return };
    if machine.product == Product::VMware {
        let _ = read_snapshot_list(&mut machine, path, data);
    }
    let ids: Vec<String> = machine.snapshots.iter().take(5).map(|s| s.id.clone()).collect();
    for id in ids {
        let mut then = machine.clone();
        if choose_snapshot(&mut then, &id).is_ok() {
            is_understood(then);
        }
    }
    is_understood(machine);
}

fn is_understood(machine: Foreign) {
    let plan = plan(machine);
    let image = |_: usize, drive: &PlannedDrive| {
        let mode = if drive.kind == DriveKind::Cd { "read" } else { "overlay" };
        drive.source.clone().map(|path| ChosenImage { path, format: drive.format, mode, anywhere: false })
    };
    let text = plan.toml(image);
    if let Err(e) = load_text(&text) {
        panic!("{e}: {text}");
    }
}

/// [`vm_description`] without a fuzzer: see [`crate::changing`].
///
/// # Errors
/// The host's, of files.
///
/// # Panics
/// As the code under test does; the input is left in `crash-N`.
pub fn vm_description_without_fuzzer() -> std::io::Result<()> {
    crate::changing("vm_description", || Ok(seeds()), change, vm_description)
}

/// What makes a value strange in one of the forms, or in what emu writes.
const STRANGE: [&str; 20] = [
    "\"",
    "'",
    "\\",
    "\n",
    "|22",
    "|0",
    "&amp;",
    "&#0;",
    "<a>",
    "]]>",
    "../..",
    "/etc/passwd",
    "18446744073709551615",
    "-1",
    "1e999",
    "\u{0}",
    "\u{fffd}\u{10ffff}",
    "=",
    ",",
    "TRUE",
];

/// Bytes of any kind, lines that come twice or in another order, and strange values.
fn change(data: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.next() % 4 {
        let len = data.len().max(1);
        match random.next() % 6 {
            0 if !data.is_empty() => crate::disk::damage(data, random),
            1 | 2 => {
                let at = random.next() as usize % len;
                let strange = STRANGE[random.next() as usize % STRANGE.len()].repeat(1 + (random.next() % 3) as usize);
                let end = (at + random.next() as usize % 8).min(data.len());
                data.splice(at.min(end)..end, strange.bytes());
            }
            3 => {
                // A line somewhere else, or twice.
                let mut lines: Vec<Vec<u8>> = data.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
                let (from, to) = (random.next() as usize % lines.len(), random.next() as usize % lines.len());
                let line = lines[from].clone();
                if random.next() % 2 == 0 {
                    lines.remove(from);
                }
                lines.insert(to.min(lines.len()), line);
                *data = lines.join(&b'\n');
            }
            4 => {
                // A number becomes another.
                let digits: Vec<usize> = (0..data.len()).filter(|i| data[*i].is_ascii_digit()).collect();
                if let Some(at) = digits.get(random.next() as usize % digits.len().max(1)) {
                    data[*at] = b'0' + (random.next() % 10) as u8;
                }
            }
            _ => {
                // A stretch of it comes twice.
                let from = random.next() as usize % len;
                let to = (from + random.next() as usize % 200).min(data.len());
                let piece = data[from.min(to)..to].to_vec();
                let at = random.next() as usize % len;
                data.splice(at.min(data.len())..at.min(data.len()), piece);
            }
        }
    }
}

/// The descriptions that the tests of `emu vm import` have, and a `.vmcx`.
fn seeds() -> Vec<Vec<u8>> {
    macro_rules! product {
        ($name:literal) => {
            include_bytes!(concat!("../../crates/emu-cli/tests/products/", $name)).to_vec()
        };
    }
    let vmsd = product!("workstation.vmsd");
    let snapshots = vmsd.splitn(2, |b| *b == b'\n').nth(1).unwrap_or_default();
    vec![
        [product!("workstation.vmx"), snapshots.to_vec()].concat(),
        product!("workstation.vmx"),
        product!("ovftool.ovf"),
        product!("virtualbox.ovf"),
        product!("hyperv-2012r2.xml"),
        product!("powershell.hyperv.json"),
        product!("domain.xml"),
        product!("qemu.sh"),
        server_2016(),
    ]
}

fn server_2016() -> Vec<u8> {
    let mut w = vmcx::Writer::new();
    let root = w.machine("a & <b>", "8A4C2C7E", 1, 2048, 4);
    let scsi = w.node(root, "_d422512d-2bf2-4752-809d-7b82b5fcb1b4_");
    let controller = w.node(scsi, "controller0");
    w.drive(controller, 0, r"C:\VMs\web.vhdx", "VHD");
    w.finish()
}
