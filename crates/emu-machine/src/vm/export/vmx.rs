//! VMware folders [VMX]: `.vmx` with sparse `.vmdk` disks, diskettes and CDs as raw images.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::{Job, raw};
use crate::config::SerialTarget;
use crate::image::Kind;
use crate::image::ops::NewImage;
use crate::vm::{DriveKind, VmError};

/// Network cards that VMware has.
const CARDS: &[&str] = &["vlance", "e1000", "e1000e", "vmxnet", "vmxnet2", "vmxnet3"];

/// Writes the folder; returns the `.vmx`.
pub(super) fn write(
    job: &mut Job,
    folder: &Path,
    name: &str,
    each: &mut dyn FnMut(u64, u64),
) -> Result<PathBuf, VmError> {
    for n in 0..job.drives.len() {
        let d = &job.drives[n];
        let number = if n == 0 { String::new() } else { format!("-{n}") };
        match d.kind {
            DriveKind::Disk => {
                let new = |size| NewImage::new(Kind::Vmdk, size);
                job.write_image(n, &folder.join(format!("{name}{number}.vmdk")), new, each)?;
            }
            DriveKind::Cd => job.write_image(n, &folder.join(format!("{name}{number}.iso")), raw, each)?,
            DriveKind::Floppy => job.write_image(n, &folder.join(format!("{name}{number}.flp")), raw, each)?,
        }
    }
    let file = folder.join(format!("{name}.vmx"));
    let text = text(job);
    std::fs::write(&file, text).map_err(|e| VmError::file(&file, &e))?;
    Ok(file)
}

/// A file of `key = "value"` lines.
struct Lines(String);

impl Lines {
    /// Quotes, bars and control characters are written as `|hh`.
    fn put(&mut self, key: &str, value: impl AsRef<str>) {
        let mut quoted = String::new();
        for c in value.as_ref().chars() {
            match c {
                '"' | '|' => _ = write!(quoted, "|{:02X}", c as u32),
                c if c.is_control() => quoted.push(' '),
                c => quoted.push(c),
            }
        }
        self.0 += &format!("{key} = \"{quoted}\"\n");
    }
}

fn text(job: &mut Job) -> String {
    let mut l = Lines(String::new());
    l.put(".encoding", "UTF-8");
    l.put("config.version", "8");
    l.put("virtualHW.version", "8");
    l.put("displayName", &job.own.name);
    l.put("guestOS", if job.own.guest.is_empty() { "other" } else { &job.own.guest });
    // The product counts in 4 MiB.
    l.put("memsize", (job.memory(4 << 20, 4 << 20, "VMware") >> 20).to_string());
    l.put("numvcpus", job.own.config.cpus.to_string());
    drives(job, &mut l);
    serials(job, &mut l);
    networks(job, &mut l);
    let order = job.own.config.boot.chars().filter_map(|c| match c {
        'a' => Some("floppy"),
        'c' => Some("hdd"),
        'd' => Some("cdrom"),
        _ => None,
    });
    let order = order.collect::<Vec<_>>().join(",");
    if !order.is_empty() {
        l.put("bios.bootOrder", order);
    }
    let rtc = job.own.config.rtc;
    if rtc != crate::config::RtcStart::default() {
        l.put("rtc.startTime", rtc.to_unix().to_string());
    }
    // The product keeps keys that it does not know; emu takes them up again.
    for (key, value) in job.own.settings() {
        l.put(&format!("emu.{key}"), value);
    }
    l.0
}

fn drives(job: &Job, l: &mut Lines) {
    let yes = |b: bool| if b { "TRUE" } else { "FALSE" };
    let has_floppy = job.drives.iter().any(|d| d.kind == DriveKind::Floppy);
    if !has_floppy {
        // Without a word the product gives the machine one.
        l.put("floppy0.present", "FALSE");
    }
    for d in &job.drives {
        let place = match d.kind {
            DriveKind::Floppy => format!("floppy{}", d.place),
            _ => format!("ide{}:{}", d.place / 2, d.place % 2),
        };
        l.put(&format!("{place}.present"), "TRUE");
        match d.kind {
            DriveKind::Floppy => l.put(&format!("{place}.fileType"), "file"),
            DriveKind::Cd => l.put(&format!("{place}.deviceType"), "cdrom-image"),
            DriveKind::Disk => {}
        }
        l.put(&format!("{place}.fileName"), d.file.as_ref().map_or("", |f| &f.0));
        if d.kind != DriveKind::Disk {
            l.put(&format!("{place}.startConnected"), yes(d.file.is_some()));
        }
        if d.read_only() {
            l.put(&format!("{place}.readonly"), "TRUE");
        }
    }
}

fn serials(job: &mut Job, l: &mut Lines) {
    for (n, target) in job.own.config.serials.clone().into_iter().enumerate() {
        let key = |name: &str| format!("serial{n}.{name}");
        l.put(&key("present"), "TRUE");
        let end = |server: bool| if server { "server" } else { "client" };
        match target {
            SerialTarget::File(path) => {
                l.put(&key("fileType"), "file");
                l.put(&key("fileName"), path.to_string_lossy());
            }
            SerialTarget::Tcp { address, server } => {
                l.put(&key("fileType"), "network");
                l.put(&key("fileName"), format!("tcp://{address}"));
                l.put(&key("network.endPoint"), end(server));
            }
            SerialTarget::Unix { path, server } => {
                l.put(&key("fileType"), "pipe");
                l.put(&key("fileName"), path.to_string_lossy());
                l.put(&key("pipe.endPoint"), end(server));
            }
            SerialTarget::Null | SerialTarget::Stdio | SerialTarget::Pty => {
                l.put(&key("fileType"), "device");
                l.put(&key("startConnected"), "FALSE");
                if target != SerialTarget::Null {
                    job.note(format!("serial{n}"), "emu's terminal has no counterpart: nothing is connected");
                }
            }
        }
    }
}

fn networks(job: &mut Job, l: &mut Lines) {
    for (n, card) in job.own.networks.clone().into_iter().enumerate() {
        let key = |name: &str| format!("ethernet{n}.{name}");
        let model = if CARDS.contains(&&*card.model) { card.model.as_str() } else { "e1000" };
        if model != card.model {
            job.note(format!("ethernet{n}"), format!("`{}` has no counterpart: e1000 takes its place", card.model));
        }
        l.put(&key("present"), "TRUE");
        l.put(&key("virtualDev"), model);
        let known = ["bridged", "nat", "hostonly", "custom"].contains(&&*card.connection);
        l.put(&key("connectionType"), if known { &card.connection } else { "nat" });
        match &card.mac {
            Some(mac) => {
                l.put(&key("addressType"), "static");
                l.put(&key("address"), mac);
            }
            None => l.put(&key("addressType"), "generated"),
        }
    }
}
