//! Hyper-V: VHDX disks, a PowerShell script that makes the machine of them, and the listing that `emu vm import` reads.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{ExportedDrive, Job, raw};
use crate::config::SerialTarget;
use crate::image::Kind;
use crate::image::ops::NewImage;
use crate::vm::{DriveKind, VmError, listing};

/// The folder of the images, as the product calls it.
const DISKS: &str = "Virtual Hard Disks";

/// Writes the folder; returns the script.
pub(super) fn write(
    job: &mut Job,
    folder: &Path,
    name: &str,
    each: &mut dyn FnMut(u64, u64),
) -> Result<PathBuf, VmError> {
    let disks = folder.join(DISKS);
    std::fs::create_dir(&disks).map_err(|e| VmError::file(&disks, &e))?;
    for n in 0..job.drives.len() {
        let number = if n == 0 { String::new() } else { format!("-{n}") };
        match job.drives[n].kind {
            DriveKind::Disk => {
                let new = |size| NewImage::new(Kind::Vhdx, size);
                job.write_image(n, &disks.join(format!("{name}{number}.vhdx")), new, each)?;
            }
            DriveKind::Cd => job.write_image(n, &disks.join(format!("{name}{number}.iso")), raw, each)?,
            DriveKind::Floppy => job.write_image(n, &disks.join(format!("{name}{number}.vfd")), raw, each)?,
        }
    }
    let memory = job.memory(2 << 20, 32 << 20, "Hyper-V");
    let script = script(job, memory, name);
    let listing = listing_of(job, memory);
    let file = folder.join(format!("{name}.ps1"));
    // The byte order mark tells Windows PowerShell that this is UTF-8.
    std::fs::write(&file, format!("\u{FEFF}{}", script.replace('\n', "\r\n"))).map_err(|e| VmError::file(&file, &e))?;
    let path = folder.join(format!("{name}{}", listing::SUFFIX));
    std::fs::write(&path, format!("{listing:#}\n")).map_err(|e| VmError::file(&path, &e))?;
    Ok(file)
}

/// A string of PowerShell, in which nothing is expanded.
fn quoted(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    // PowerShell takes typographic quotes for quotes too.
    let doubled = text.chars().fold(String::new(), |mut out, c| {
        if matches!(c, '\'' | '\u{2018}' | '\u{2019}' | '\u{201A}' | '\u{201B}') {
            out.push(c);
        }
        out.push(c);
        out
    });
    format!("'{doubled}'")
}

fn path_of(d: &ExportedDrive) -> Option<String> {
    d.file.as_ref().map(|f| format!("(Join-Path $PSScriptRoot {})", quoted(&format!("{DISKS}\\{}", f.0))))
}

fn script(job: &mut Job, memory: u64, file: &str) -> String {
    let (name, cpus) = (quoted(&job.own.name), job.own.config.cpus);
    let mut s = format!(
        "# Makes a Hyper-V machine of the images beside this script. Run it as an administrator on the host:\n\
         #   powershell -ExecutionPolicy Bypass -File \"{file}.ps1\" [-SwitchName NAME]\n\
         #Requires -Modules Hyper-V\n\
         #Requires -RunAsAdministrator\n\
         param([string] $SwitchName)\n\
         $ErrorActionPreference = 'Stop'\n\
         $vm = $null\n\
         # What can't be finished is not left half made; the images stay.\n\
         trap {{ if ($vm) {{ Remove-VM -VM $vm -Force }}; break }}\n\
         $vm = New-VM -Name {name} -Generation 1 -MemoryStartupBytes {memory} -NoVHD\n\
         Set-VM -VM $vm -ProcessorCount {cpus} -StaticMemory\n\
         Get-VMDvdDrive -VM $vm | Remove-VMDvdDrive\n\
         Get-VMNetworkAdapter -VM $vm | Remove-VMNetworkAdapter\n"
    );
    for n in 0..job.drives.len() {
        drive(job, n, &mut s);
    }
    serials(job, &mut s);
    for card in job.own.networks.clone() {
        // The legacy adapter is what a system without Hyper-V's drivers knows.
        let mac = card.mac.map(|m| format!(" -StaticMacAddress {}", quoted(&m.replace(':', "")))).unwrap_or_default();
        _ = writeln!(s, "$adapter = Add-VMNetworkAdapter -VM $vm -IsLegacy $true{mac} -Passthru");
        s += "if ($SwitchName) { Connect-VMNetworkAdapter -VMNetworkAdapter $adapter -SwitchName $SwitchName }\n";
        job.note(
            "network",
            format!("{} becomes a legacy network adapter; connect it with -SwitchName NAME", card.model),
        );
    }
    let mut order = boot_order(&job.own.config.boot);
    for device in ["IDE", "CD", "LegacyNetworkAdapter", "Floppy"] {
        if !order.contains(&device) {
            order.push(device);
        }
    }
    let order = order.iter().map(|d| quoted(d)).collect::<Vec<_>>().join(", ");
    _ = writeln!(s, "Set-VMBios -VM $vm -StartupOrder @({order})");
    _ = writeln!(s, "Write-Host \"$($vm.Name) is made; start it with: Start-VM '$($vm.Name)'\"");
    s
}

fn boot_order(boot: &str) -> Vec<&'static str> {
    let device = |c| match c {
        'a' => Some("Floppy"),
        'c' => Some("IDE"),
        'd' => Some("CD"),
        _ => None,
    };
    boot.chars().filter_map(device).collect()
}

fn drive(job: &mut Job, n: usize, s: &mut String) {
    let d = &job.drives[n];
    let path = path_of(d).map(|p| format!(" -Path {p}")).unwrap_or_default();
    let (controller, place) = (d.place / 2, d.place % 2);
    let at = format!("-ControllerNumber {controller} -ControllerLocation {place}");
    match d.kind {
        DriveKind::Disk => {
            _ = writeln!(s, "Add-VMHardDiskDrive -VM $vm -ControllerType IDE {at}{path}");
            if d.read_only() {
                job.note(format!("disk{}", d.place), "Hyper-V has no read-only disks: it can be written there");
            }
        }
        DriveKind::Cd => _ = writeln!(s, "Add-VMDvdDrive -VM $vm {at}{path}"),
        DriveKind::Floppy if d.place > 0 => {
            job.note("floppy1", "Hyper-V has one diskette drive: the image lies in the folder");
        }
        DriveKind::Floppy if d.file.is_some() => _ = writeln!(s, "Set-VMFloppyDiskDrive -VM $vm{path}"),
        DriveKind::Floppy => {}
    }
}

fn serials(job: &mut Job, s: &mut String) {
    for (n, target) in job.own.config.serials.clone().iter().enumerate() {
        if *target == SerialTarget::Null {
            continue;
        }
        let pipe = format!(r"\\.\pipe\{}-com{}", super::file_name(&job.own.name).replace(' ', "-"), n + 1);
        _ = writeln!(s, "Set-VMComPort -VM $vm -Number {} -Path {}", n + 1, quoted(&pipe));
        job.note(format!("serial{n}"), format!("becomes the pipe {pipe}"));
    }
}

/// The listing that the PowerShell command of docs/MIGRATING.md makes of a machine.
fn listing_of(job: &Job, memory: u64) -> Value {
    let drives = |kind| job.drives.iter().filter(move |d| d.kind == kind);
    let path = |d: &ExportedDrive| d.file.as_ref().map(|f| format!("{DISKS}\\{}", f.0));
    let at = |d: &ExportedDrive| {
        json!({
            "ControllerType": "IDE",
            "ControllerNumber": d.place / 2,
            "ControllerLocation": d.place % 2,
            "Path": path(d),
            "ReadOnly": d.read_only(),
        })
    };
    let adapter = |n: &crate::vm::Network| {
        json!({ "Name": n.model, "IsLegacy": true, "MacAddress": n.mac.as_ref().map(|m| m.replace(':', "")),
                "SwitchName": n.connection })
    };
    json!({
        "Format": listing::FORMAT,
        "Name": job.own.name,
        "Generation": 1,
        "MemoryStartup": memory,
        "ProcessorCount": job.own.config.cpus,
        "Guest": job.own.guest,
        "Disks": drives(DriveKind::Disk).map(at).collect::<Vec<_>>(),
        "Dvds": drives(DriveKind::Cd).map(at).collect::<Vec<_>>(),
        "Floppies": drives(DriveKind::Floppy).map(path).collect::<Vec<_>>(),
        "Adapters": job.own.networks.iter().map(adapter).collect::<Vec<_>>(),
        "ComPorts": job.own.config.serials.iter().map(|_| "").collect::<Vec<_>>(),
        "StartupOrder": boot_order(&job.own.config.boot),
        "Emu": job.own.settings(),
    })
}
