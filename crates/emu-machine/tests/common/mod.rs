//! What tests that boot guests share: where the guests are, and a person at the machine's keyboard and screen.
//!
//! Guests come from the folder of shared data (`EMU_SHARED`, else `../shared` beside the repository) and from the cache
//! that the project's scripts fill (`EMU_CACHE`, else `target/guests`). Where one is absent, its test says that it was
//! skipped. Booting takes the optimised engine: builds with debug assertions skip these tests as well.

#![allow(dead_code, reason = "each test program uses a part of this")]

pub(crate) mod again;
pub(crate) mod picture;
pub(crate) mod session;

use std::path::{Path, PathBuf};

use emu_machine::config::{KernelConfig, MachineConfig};
use emu_machine::image::ImageSpec;

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// `below` in the folder that `variable` names, or else in `default`; `None`, and a word about it, if there is none.
fn find(variable: &str, default: &str, below: &str) -> Option<PathBuf> {
    if cfg!(debug_assertions) {
        println!("skipped: booting {below} takes a release build");
        return None;
    }
    let folder = std::env::var_os(variable).map_or_else(|| root().join(default), PathBuf::from);
    let path = folder.join(below);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is absent (set {variable})", path.display());
    None
}

/// A guest of the shared folder.
pub(crate) fn shared_guest(name: &str) -> Option<PathBuf> {
    find("EMU_SHARED", "../shared", &format!("guests/{name}"))
}

/// A guest, or a part of one, of the cache.
pub(crate) fn cached_guest(name: &str) -> Option<PathBuf> {
    find("EMU_CACHE", "target/guests", name)
}

/// A PC that boots from the diskette in `image`.
pub(crate) fn pc_with_floppy(image: &Path) -> MachineConfig {
    MachineConfig { floppies: vec![Some(ImageSpec::new(image))], boot: "a".into(), ..MachineConfig::default() }
}

/// The same PC under SeaBIOS; `None` if the cache has none.
pub(crate) fn under_seabios(config: MachineConfig) -> Option<MachineConfig> {
    let bios = cached_guest("seabios/bios.bin")?;
    let vga_bios = cached_guest("seabios/vgabios-stdvga.bin")?;
    Some(MachineConfig { bios: Some(bios), vga_bios: Some(vga_bios), ..config })
}

/// A PC with `megabytes` of memory that boots from the CD in `image`.
pub(crate) fn pc_with_cd(image: &Path, megabytes: u64) -> MachineConfig {
    let cdroms = vec![Some(ImageSpec::new(image))];
    MachineConfig { cdroms, boot: "d".into(), memory: megabytes << 20, ..MachineConfig::default() }
}

/// A PC with `megabytes` of memory that starts the kernel in `image`.
pub(crate) fn pc_with_kernel(image: &Path, megabytes: u64) -> MachineConfig {
    let kernel = KernelConfig { image: image.into(), ..KernelConfig::default() };
    MachineConfig { kernel: Some(kernel), memory: megabytes << 20, ..MachineConfig::default() }
}
