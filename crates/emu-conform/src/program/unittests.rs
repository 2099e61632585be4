//! `unittests.cfg`, the list of tests of kvm-unit-tests: a section for each, with the kernel's file and its arguments.

use std::path::{Path, PathBuf};

use emu_core::cpu::Model;
use emu_core::cpu::model::{FEATURES, Feature, Kind};
use emu_machine::config::Devices;

use super::Kernel;
use crate::suite::{SuiteError, reason};

/// Seconds that a test may take, unless its section says otherwise.
const TIMEOUT: u64 = 90;

/// Reads the list in `path`. Tests for another architecture than the kernels were built for are left out, if
/// `config.mak` tells which that is.
pub(super) fn read(path: &Path) -> Result<Vec<Kernel>, SuiteError> {
    let text = std::fs::read_to_string(path).map_err(|e| SuiteError::new(path, reason(&e)))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let arch = built_for(folder);
    let sections = sections(path, &text)?;
    let wanted = |s: &&Section| arch.is_none() || s.get("arch").is_none_or(|a| Some(a) == arch.as_deref());
    sections.iter().filter(wanted).map(|s| kernel(path, folder, s)).collect()
}

/// What `config.mak`, which the build leaves in the folder or above it, says of the architecture.
fn built_for(folder: &Path) -> Option<String> {
    let above = folder.canonicalize().ok().and_then(|f| f.parent().map(Path::to_owned));
    let read = |f: &Path| std::fs::read_to_string(f.join("config.mak")).ok();
    let text = read(folder).or_else(|| above.as_deref().and_then(read))?;
    text.lines().find_map(|l| l.strip_prefix("ARCH=")).map(|a| a.trim().to_owned())
}

struct Section {
    name: String,
    keys: Vec<(String, String)>,
}

impl Section {
    fn get(&self, key: &str) -> Option<&str> {
        self.keys.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }
}

fn sections(path: &Path, text: &str) -> Result<Vec<Section>, SuiteError> {
    let mut list: Vec<Section> = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((n, line)) = lines.next() {
        let wrong = |what: &str| SuiteError::new(path, format!("line {}: {what}", n + 1));
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            let name = name.strip_suffix(']').ok_or_else(|| wrong("the name of a section has no end"))?;
            list.push(Section { name: name.to_owned(), keys: Vec::new() });
            continue;
        }
        let (key, value) = line.split_once('=').ok_or_else(|| wrong("neither a section nor a key with a value"))?;
        let mut value = value.trim().to_owned();
        if let Some(first) = value.strip_prefix("\"\"\"") {
            // A value of several lines.
            let mut whole = first.to_owned();
            while !whole.trim_end().ends_with("\"\"\"") {
                let (_, more) = lines.next().ok_or_else(|| wrong("the value has no end"))?;
                whole = format!("{whole} {}", more.trim());
            }
            value = whole.trim_end().trim_end_matches("\"\"\"").trim().to_owned();
        }
        let section = list.last_mut().ok_or_else(|| wrong("a key before the first section"))?;
        section.keys.push((key.trim().to_owned(), value));
    }
    Ok(list)
}

/// Splits as a shell does, quotes taken away.
fn words(text: &str) -> Vec<String> {
    let (mut list, mut word, mut quote, mut any) = (Vec::new(), String::new(), None, false);
    for c in text.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '\'' | '"') => (quote, any) = (Some(c), true),
            (None, c) if c.is_whitespace() => {
                if any || !word.is_empty() {
                    list.push(std::mem::take(&mut word));
                }
                any = false;
            }
            (_, c) => word.push(c),
        }
    }
    if any || !word.is_empty() {
        list.push(word);
    }
    list
}

fn kernel(path: &Path, folder: &Path, section: &Section) -> Result<Kernel, SuiteError> {
    let wrong = |what: String| SuiteError::new(path, format!("[{}]: {what}", section.name));
    let number = |key: &str, default: u64| match section.get(key) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| wrong(format!("{key} is no number: {text}"))),
    };
    let file: PathBuf = folder.join(section.get("file").ok_or_else(|| wrong("it names no file".into()))?);
    let mut kernel = Kernel::new(file);
    kernel.name.clone_from(&section.name);
    kernel.seconds = number("timeout", TIMEOUT)?;
    kernel.cpus = number("smp", 1)?;
    kernel.arguments = words(section.get("test_args").unwrap_or_default()).join(" ");
    let options = section.get("qemu_params").or_else(|| section.get("extra_params")).unwrap_or_default();
    let mut options = words(options).into_iter();
    while let Some(option) = options.next() {
        match option.as_str() {
            "-append" => kernel.arguments = options.next().unwrap_or_default(),
            "-m" => {
                let size = options.next().unwrap_or_default();
                kernel.memory = memory(&size).ok_or_else(|| wrong(format!("-m {size} is no size")))?;
            }
            "-smp" => kernel.cpus = options.next().and_then(|n| n.split(',').next()?.parse().ok()).unwrap_or(1),
            "-device" => kernel.devices = kernel.devices.with(device(&options.next().unwrap_or_default())),
            "-cpu" => kernel.model = cpu(&options.next().unwrap_or_default()),
            _ => {}
        }
    }
    Ok(kernel)
}

/// A device of the list's, if emu has it; what is said of it beyond its name is how emu's is anyway, or changes nothing.
fn device(text: &str) -> Devices {
    text.split(',').next().and_then(|name| Devices::parse(name).ok()).unwrap_or_default()
}

/// A size in MiB, or with a unit.
fn memory(text: &str) -> Option<u64> {
    let (digits, shift) = match text.chars().last()? {
        'G' | 'g' => (&text[..text.len() - 1], 30),
        'M' | 'm' => (&text[..text.len() - 1], 20),
        _ => (text, 20),
    };
    digits.parse::<u64>().ok()?.checked_shl(shift).filter(|b| (1 << 20..=32 << 30).contains(b))
}

/// The model for `-cpu NAME,+feature,-feature`: x86-64-v3; `max` and `host` have every feature that emu knows, and
/// AMD's models SYSCALL in all modes. Features that emu knows are added and taken away.
fn cpu(text: &str) -> Model {
    let mut parts = text.split(',');
    let name = parts.next().unwrap_or_default();
    let base = Model::new(Kind::X64V3);
    let base = match name {
        "max" | "host" => FEATURES.iter().fold(base, |model, (feature, _)| match feature {
            // Neither is this a virtual machine, nor do Intel's CPUs have the other.
            Feature::Hypervisor | Feature::Syscall32 => model,
            feature => model.with(*feature, true),
        }),
        name if name.starts_with("Opteron") || name.starts_with("EPYC") => base.with(Feature::Syscall32, true),
        _ => base,
    };
    parts.fold(base, |model, part| {
        let Some((sign, name)) = part.split_at_checked(1) else { return model };
        match (sign, FEATURES.iter().find(|f| f.1 == name)) {
            ("+", Some((feature, _))) => model.with(*feature, true),
            ("-", Some((feature, _))) => model.with(*feature, false),
            _ => model,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_read_as_their_own_runner_does() {
        let text = "# comment\n[a]\nfile = a.flat\nsmp = 2\nqemu_params = -cpu max,-umip,+x2apic -m 2048 -append 'x \"y\"'\n\
                    timeout = 7\n\n[b]\nfile = b.flat\ntest_args = \"one two\"\narch = i386\n\
                    qemu_params = -device edu,dma_mask=1 -device pci-testdev -device intel-iommu,eim=off\n\
                    [c]\nfile = a.flat\ntest_args = \"\"\"\n one\n two\n\"\"\"\n";
        let path = Path::new("folder/unittests.cfg");
        let list: Vec<Kernel> =
            sections(path, text).unwrap().iter().map(|s| kernel(path, Path::new("folder"), s).unwrap()).collect();
        let a = &list[0];
        assert_eq!((a.name.as_str(), a.cpus, a.memory, a.seconds), ("a", 2, 2 << 30, 7));
        assert_eq!((a.arguments.as_str(), a.model.has(Feature::Umip)), ("x \"y\"", false));
        assert!(a.model.has(Feature::Pks) && !a.model.has(Feature::Hypervisor));
        assert_eq!((list[1].arguments.as_str(), list[1].seconds), ("one two", TIMEOUT));
        assert_eq!((list[0].devices, list[1].devices.text().as_str()), (Devices::default(), "intel-iommu,edu"));
        assert_eq!(list[2].arguments, "one two");
        for bad in ["key = 1", "[a\n", "[a]\nwhat\n", "[a]\nfile=x\ntest_args=\"\"\"\n"] {
            assert!(sections(path, bad).is_err(), "{bad}");
        }
    }
}
