//! QEMU's command line [QEMU invocation]: the words of it, and the options that describe a machine.
//!
//! It stands in a text file: the command as typed into a shell, with comments and continued lines. No shell runs: what
//! would need one (variables, pipes, substitutions) is refused.

use std::path::Path;

use super::VmError;
use super::foreign::{Firmware, Foreign, Kernel, Network, Product, mac_address};
use super::qemu_drives::Drives;
use crate::config::Devices;

/// Whether `text` is such a command.
pub(super) fn is_command(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines.any(|l| l.split_whitespace().take(4).any(is_program))
}

/// `qemu-system-i386`, with a folder or without; also the old names `qemu` and `kvm`.
fn is_program(word: &str) -> bool {
    let name = word.rsplit('/').next().unwrap_or(word);
    name.starts_with("qemu-system-") || matches!(name, "qemu" | "kvm" | "qemu-kvm")
}

/// Reads the machine that the command in `text` starts.
pub(super) fn read(path: &Path, text: &str) -> Result<Foreign, VmError> {
    let joined = text.replace("\\\r\n", " ").replace("\\\n", " ");
    let line =
        joined.lines().map(str::trim).find(|l| !l.starts_with('#') && l.split_whitespace().take(4).any(is_program));
    let nothing = || VmError::invalid(path, "no line starts qemu-system-…");
    let line = line.ok_or_else(nothing)?;
    let words = words(line).map_err(|e| VmError::invalid(path, e))?;
    // The line may have it behind a pipe, or within quotes.
    let program = words.iter().position(|w| is_program(w)).ok_or_else(nothing)?;
    let mut m = Foreign::new(Product::Qemu, path);
    m.memory = Some(128 << 20);
    m.guest = words[program].rsplit("qemu-system-").next().unwrap_or_default().into();
    if !matches!(m.guest.as_str(), "i386" | "x86_64" | "qemu" | "kvm" | "qemu-kvm") {
        return Err(VmError::invalid(path, format!("{} is not x86: emu can't run this guest", words[program])));
    }
    let mut drives = Drives::default();
    let mut rest = words[program + 1..].iter().map(String::as_str).peekable();
    while let Some(word) = rest.next() {
        let Some(option) = word.strip_prefix('-') else {
            drives.add_hda(word);
            continue;
        };
        let option = option.trim_start_matches('-');
        let value = if takes_value(option) { rest.next() } else { None };
        if takes_value(option) && value.is_none() {
            return Err(VmError::invalid(path, format!("-{option} needs a value")));
        }
        let value = value.unwrap_or_default();
        if !drives.take(path, option, value)? {
            take_option(path, &mut m, option, value)?;
        }
    }
    drives.finish(&mut m);
    Ok(m)
}

/// Options without a value; every other one has one.
fn takes_value(option: &str) -> bool {
    const FLAGS: &[&str] = &[
        "enable-kvm",
        "nographic",
        "snapshot",
        "no-reboot",
        "no-shutdown",
        "no-acpi",
        "no-hpet",
        "S",
        "s",
        "daemonize",
        "full-screen",
        "usb",
        "localtime",
        "nodefaults",
        "no-user-config",
        "win2k-hack",
        "no-fd-bootchk",
        "curses",
        "alt-grab",
        "ctrl-grab",
        "no-quit",
        "sdl",
        "portrait",
        "only-migratable",
        "singlestep",
        "no-kvm",
        "std-vga",
    ];
    !FLAGS.contains(&option)
}

/// Splits a line as a shell does: quotes and backslashes, but nothing that would have to be run.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some('\''), c) => word.get_or_insert_default().push(c),
            (_, '\\') => word.get_or_insert_default().extend(chars.next()),
            (_, '$' | '`') => return Err(format!("`{c}` would need a shell: write the command out")),
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                word.get_or_insert_default();
                quote = Some(c);
            }
            (None, '|' | ';' | '&' | '<' | '>') => break,
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed".into());
    }
    words.extend(word);
    Ok(words)
}

/// `a=b,c=d` with `,,` for a comma; a first word without `=` gets `first`'s name.
pub(super) fn properties(text: &str, first: &str) -> Vec<(String, String)> {
    let marked = text.replace(",,", "\0");
    let pair = |(n, part): (usize, &str)| match part.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.replace('\0', ",")),
        None if n == 0 && !first.is_empty() => (first.to_owned(), part.replace('\0', ",")),
        None => (part.replace('\0', ","), "on".into()),
    };
    marked.split(',').enumerate().map(pair).collect()
}

/// The value of a property.
pub(super) fn get<'a>(list: &'a [(String, String)], key: &str) -> Option<&'a str> {
    list.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
}

fn take_option(path: &Path, m: &mut Foreign, option: &str, value: &str) -> Result<(), VmError> {
    match option {
        "m" => m.memory = Some(memory(path, value)?),
        "smp" => {
            let list = properties(value, "cpus");
            m.cpus = get(&list, "cpus").and_then(|n| n.parse().ok()).unwrap_or(1);
        }
        "cpu" => cpu(m, "-cpu", value),
        "name" => m.name = get(&properties(value, "guest"), "guest").unwrap_or(value).into(),
        "uuid" => m.uuid = Some(value.into()),
        "bios" => m.firmware = Firmware::File(m.resolve(value)),
        "pflash" => m.firmware = Firmware::Efi,
        "kernel" => kernel(m).image = m.resolve(value),
        "initrd" => kernel(m).initrd = Some(m.resolve(value)),
        "append" => kernel(m).append = value.into(),
        "boot" => {
            m.boot =
                get(&properties(value, "order"), "order").unwrap_or("").chars().filter(|c| "acd".contains(*c)).collect()
        }
        "rtc" => {
            m.rtc = get(&properties(value, "base"), "base")
                .filter(|b| b.starts_with(|c: char| c.is_ascii_digit()))
                .map(str::to_owned)
        }
        "serial" => serial(m, value),
        "nographic" => m.serials.push("stdio".into()),
        "net" | "nic" | "netdev" => network(m, option, value),
        "device" => device(m, value),
        "soundhw" | "audiodev" | "audio" => m.note(format!("-{option}"), "no sound card: left out"),
        "usb" | "usbdevice" => m.note(format!("-{option}"), "no USB: left out"),
        "machine" | "M" => machine(m, value),
        "vga" if !matches!(value, "std" | "none") => {
            m.note("-vga", format!("{value}: a VGA with VBE modes takes its place"))
        }
        _ => {}
    }
    Ok(())
}

fn kernel(m: &mut Foreign) -> &mut Kernel {
    m.kernel.get_or_insert_default()
}

/// `-m 512`, `-m 2G`, `-m size=512M,slots=…`: megabytes unless a unit says otherwise.
fn memory(path: &Path, value: &str) -> Result<u64, VmError> {
    let list = properties(value, "size");
    let size = get(&list, "size").unwrap_or(value);
    let text = if size.ends_with(|c: char| c.is_ascii_digit()) { format!("{size}M") } else { size.to_owned() };
    crate::config::parse_size(&text).map_err(|e| VmError::invalid(path, format!("-m {value}: {e}")))
}

fn machine(m: &mut Foreign, value: &str) {
    let list = properties(value, "type");
    let kind = get(&list, "type").unwrap_or("pc");
    if kind != "pc" && !kind.starts_with("pc-i440fx") {
        m.note("-machine", format!("{kind} has no counterpart: the board is an i440FX PC"));
    }
}

/// Takes the CPU model that `about` names, in QEMU's words.
pub(super) fn cpu(m: &mut Foreign, about: &str, value: &str) {
    let name = value.split(',').next().unwrap_or(value);
    let ours = match name.to_lowercase().as_str() {
        "486" => "80486",
        "pentium" => "pentium",
        "pentium2" | "pentium3" | "qemu32" | "kvm32" => "p6",
        "qemu64" | "kvm64" | "core2duo" | "phenom" => "x86-64-v1",
        "nehalem" | "westmere" | "penryn" | "sandybridge" | "x86-64-v2-aes" => "x86-64-v2",
        "max" | "host" | "haswell" | "broadwell" | "skylake-client" | "skylake-server" | "epyc" => "x86-64-v3",
        _ => {
            m.note(about, format!("{name} has no counterpart: the default CPU is used"));
            return;
        }
    };
    m.cpu = Some(ours.into());
    if !name.eq_ignore_ascii_case(ours) && name != "486" {
        m.note(about, format!("{name} becomes {ours}"));
    }
}

fn serial(m: &mut Foreign, value: &str) {
    let (kind, rest) = value.split_once(':').unwrap_or((value, ""));
    let server = if rest.split(',').any(|o| o == "server" || o.starts_with("server=on")) { ",server" } else { "" };
    let address = rest.split(',').next().unwrap_or(rest);
    m.serials.push(match kind {
        "stdio" => "stdio".into(),
        "mon" if rest == "stdio" => "stdio".into(),
        "pty" => "pty".into(),
        "file" => format!("file:{}", m.resolve(rest).display()),
        "tcp" | "telnet" if address.starts_with(':') => format!("tcp:localhost{address}{server}"),
        "tcp" | "telnet" => format!("tcp:{address}{server}"),
        "unix" => format!("unix:{address}{server}"),
        "none" => return,
        _ => "null".into(),
    });
}

/// Names of network cards among `-device`s.
const CARDS: &[&str] = &["e1000", "rtl8139", "ne2k", "pcnet", "virtio-net", "vmxnet3", "i8255"];

fn device(m: &mut Foreign, value: &str) {
    let list = properties(value, "driver");
    let driver = get(&list, "driver").unwrap_or_default();
    if CARDS.iter().any(|c| driver.starts_with(c)) {
        m.networks.push(Network {
            model: driver.into(),
            mac: get(&list, "mac").and_then(mac_address),
            connection: get(&list, "netdev").unwrap_or_default().into(),
        });
    } else if !driver.is_empty()
        && let Ok(new) = Devices::parse(driver)
    {
        // What emu has under the same name; it is as it is by default.
        let had = m.settings.get("devices").and_then(|d| Devices::parse(d).ok()).unwrap_or_default();
        m.settings.insert("devices".into(), had.with(new).text());
    } else if !matches!(driver, "isa-debug-exit" | "isa-debugcon" | "VGA" | "isa-vga") {
        m.note(format!("-device {driver}"), "no counterpart: left out");
    }
}

fn network(m: &mut Foreign, option: &str, value: &str) {
    let list = properties(value, "type");
    let kind = get(&list, "type").unwrap_or_default();
    if kind == "none" || option == "netdev" || (option == "net" && kind != "nic") {
        return;
    }
    m.networks.push(Network {
        model: get(&list, "model").unwrap_or("e1000").into(),
        mac: get(&list, "mac").or(get(&list, "macaddr")).and_then(mac_address),
        connection: kind.into(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Kind;
    use crate::vm::foreign::DriveKind;

    fn parse(text: &str) -> Result<Foreign, String> {
        read(Path::new("/x/start.sh"), text).map_err(|e| e.to_string())
    }

    #[test]
    fn a_script_that_starts_a_machine() {
        let text = "#!/bin/sh\n# my dos\nexec qemu-system-i386 -m 64 -cpu 486 \\\n  -fda 'dos boot.img' -hda c.qcow2 -cdrom tools.iso \\\n \
                    -boot order=ca -serial tcp::4444,server,nowait -nic user,model=ne2k_pci,mac=52:54:00:12:34:56 -name dos,debug-threads=on &\n";
        assert!(is_command(text));
        let m = parse(text).unwrap();
        assert_eq!((m.name.as_str(), m.memory, m.boot.as_str()), ("dos", Some(64 << 20), "ca"));
        assert_eq!(m.cpu.as_deref(), Some("80486"));
        let found: Vec<_> = m.drives.iter().map(|d| (d.kind, d.image.clone().unwrap().display().to_string())).collect();
        use DriveKind::*;
        assert_eq!(
            found,
            [(Floppy, "/x/dos boot.img".into()), (Disk, "/x/c.qcow2".into()), (Cd, "/x/tools.iso".into())]
        );
        assert_eq!(m.serials, ["tcp:localhost:4444,server"]);
        assert_eq!(m.networks[0].model, "ne2k_pci");
    }

    #[test]
    fn drives_by_if_and_by_device() {
        let m = parse(
            "qemu-system-x86_64 -drive file=a,,b.img,if=virtio,format=raw -drive file=s.img,if=none,id=d1 \
             -device scsi-hd,drive=d1 -blockdev driver=qcow2,node-name=n,file.driver=file,file.filename=q.qcow2 -device ide-hd,drive=n,bus=ide.1 -m 1G",
        )
        .unwrap();
        let found: Vec<_> =
            m.drives.iter().map(|d| (d.place(), d.image.clone().unwrap().display().to_string())).collect();
        assert_eq!(
            found,
            [
                ("virtio0:0".into(), "/x/a,b.img".into()),
                ("scsi0:0".into(), "/x/s.img".into()),
                ("ide1:0".into(), "/x/q.qcow2".into())
            ]
        );
        assert_eq!(m.memory, Some(1 << 30));
        // Where the command says nothing, QEMU looks at the image, and so does emu.
        assert_eq!(m.drives.iter().map(|d| d.format).collect::<Vec<_>>(), [Some(Kind::Raw), None, Some(Kind::Qcow2)]);
    }

    #[test]
    fn devices_that_emu_has_too_are_taken() {
        let m = parse("qemu-system-x86_64 -M q35 -device intel-iommu,intremap=on -device edu -device virtio-rng -m 64")
            .unwrap();
        assert_eq!(m.settings["devices"], "intel-iommu,edu");
        assert!(m.notes.iter().any(|n| n.about == "-device virtio-rng"), "{:?}", m.notes);
    }

    #[test]
    fn what_needs_a_shell_is_refused() {
        assert!(parse("qemu-system-i386 -hda $DISK").unwrap_err().contains("write the command out"));
        assert!(parse("qemu-system-i386 -hda 'x").unwrap_err().contains("not closed"));
        assert!(parse("qemu-system-arm -hda x").unwrap_err().contains("not x86"));
        assert!(parse("qemu-system-i386 -m").unwrap_err().contains("needs a value"));
        assert!(parse("|x qemu-system-i386 -m 64").unwrap_err().contains("no line starts"));
        assert!(parse("qemu-system-i386 -m lots").unwrap_err().contains("-m lots"));
    }
}
