//! What the fuzz targets do with their bytes. None of it may panic, hang, or allocate without bound.

mod cpu;
mod disk;
mod ova;
mod state;
mod vm;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use cpu::cpu_block;
pub use disk::{disk_image, disk_image_without_fuzzer, seeds};
pub use ova::{vm_ova, vm_ova_without_fuzzer};
pub use state::state_load;
pub use vm::{vm_description, vm_description_without_fuzzer};

/// A `machine.toml`.
pub fn config_toml(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(config) = emu_machine::config::load_text(text)
    {
        let _ = config.check();
    }
}

/// An image or a kernel: what it is, and if it is a kernel, how it would be started.
pub fn disk_probe(data: &[u8]) {
    use emu_machine::boot::{KernelFiles, pc_memory_map, plan};
    let head = data.get(..36 << 10).unwrap_or(data);
    let _ = emu_machine::image::probe(head, data.len() as u64);
    let files = KernelFiles { image: data.to_vec(), ..KernelFiles::default() };
    let _ = plan(&files, &pc_memory_map(64 << 20));
}

/// Runs `target` without a fuzzer: on the files that the command line names, else on pseudo-random bytes, the same
/// ones every time. The input that made it panic is left in a file `crash-N`.
pub fn without_fuzzer(target: impl Fn(&[u8]) + std::panic::RefUnwindSafe) -> std::io::Result<()> {
    let files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    for file in &files {
        target(&std::fs::read(file)?);
    }
    if files.is_empty() {
        let mut random = Random(1);
        for round in 0..ROUNDS {
            let len = random.next() % 256;
            let data: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
            if let Err(panic) = std::panic::catch_unwind(|| target(&data)) {
                std::fs::write(format!("crash-{round}"), data)?;
                std::panic::resume_unwind(panic);
            }
        }
    }
    Ok(())
}

/// Runs `target` without a fuzzer. `--seeds DIR` writes good inputs to begin with, `--seconds N` (10 without) changes such
/// inputs at random for that long, the same way every time, and files are looked at one by one.
///
/// # Errors
/// The host's, of files.
///
/// # Panics
/// As the code under test does, the input is left in `crash-N`; and if an input takes more than ten seconds.
pub fn changing(
    name: &str,
    seeds: impl Fn() -> std::io::Result<Vec<Vec<u8>>>,
    change: impl Fn(&mut Vec<u8>, &mut Random),
    target: impl Fn(&[u8]) + std::panic::RefUnwindSafe,
) -> std::io::Result<()> {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let seconds = match (args.first().and_then(|a| a.to_str()), args.get(1)) {
        (Some("--seeds"), Some(folder)) => return write_seeds(&seeds()?, Path::new(folder)),
        (Some("--seconds"), Some(n)) => n.to_string_lossy().parse().unwrap_or(60),
        (None, _) => 10,
        _ => return without_fuzzer(target),
    };
    let seeds = seeds()?;
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut random = Random(1);
    let mut slowest = Duration::ZERO;
    for round in 0.. {
        let begun = Instant::now();
        if begun >= end {
            println!("{name}: {round} inputs of {} seeds, the slowest took {} ms", seeds.len(), slowest.as_millis());
            return Ok(());
        }
        let mut data = seeds[random.next() as usize % seeds.len()].clone();
        change(&mut data, &mut random);
        if let Err(panic) = std::panic::catch_unwind(|| target(&data)) {
            std::fs::write(format!("crash-{name}-{round}"), data)?;
            std::panic::resume_unwind(panic);
        }
        let mut took = begun.elapsed();
        if took > PATIENCE {
            // A busy host, or really slow?
            let again = Instant::now();
            target(&data);
            took = took.min(again.elapsed());
        }
        if took > PATIENCE {
            std::fs::write(format!("slow-{name}-{round}"), &data)?;
            panic!("input {round} took {took:?}: it is in slow-{name}-{round}");
        }
        slowest = slowest.max(took);
    }
    Ok(())
}

fn write_seeds(seeds: &[Vec<u8>], folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (i, seed) in seeds.iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{i}")), seed)?;
    }
    Ok(())
}

/// The longest that an input may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Inputs of a run without a fuzzer.
const ROUNDS: usize = 2000;

/// xorshift64*.
pub struct Random(u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32
    }
}
