//! `--profile`: what the guest spends its ticks on, as text and as a flame graph.

use std::path::{Path, PathBuf};

use clap::Args;
use emu_machine::Machine;
use emu_machine::profile::{Symbols, profile_text, write_flame_graph};

use super::Failure;

/// Options of the profile mode.
#[derive(Debug, Default, Args)]
pub(crate) struct ProfileArgs {
    /// Write what the guest spent its ticks on: blocks, instructions, pairs, interrupts; - is standard output
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Draw the guest's calls as a flame graph: an SVG, or its lines if FILE ends in .folded
    #[arg(long, value_name = "FILE.svg")]
    flame_graph: Option<PathBuf>,
    /// The guest's symbols for both: an ELF file (vmlinux), or System.map
    #[arg(long, value_name = "FILE")]
    symbols: Vec<PathBuf>,
}

/// A profile that is being taken.
pub(crate) struct Profiler {
    args: ProfileArgs,
    symbols: Symbols,
}

impl ProfileArgs {
    /// Begins the profile, if one is wanted. Files that can't be read or written are refused before the run.
    pub(crate) fn start(self, machine: &mut Machine) -> Result<Option<Profiler>, Failure> {
        if self.profile.is_none() && self.flame_graph.is_none() {
            let unused = self.symbols.is_empty();
            return if unused {
                Ok(None)
            } else {
                Err(Failure::usage("--symbols goes with --profile or --flame-graph"))
            };
        }
        let mut symbols = Symbols::default();
        for path in &self.symbols {
            symbols.add(path).map_err(Failure::file)?;
        }
        for path in self.profile.iter().chain(&self.flame_graph).filter(|p| *p != Path::new("-")) {
            std::fs::File::create(path).map_err(|e| Failure::file(format!("{}: {e}", path.display())))?;
        }
        machine.system.start_profile();
        Ok(Some(Profiler { args: self, symbols }))
    }
}

impl Profiler {
    /// Writes what was asked for; the texts of what failed.
    pub(crate) fn finish(self, machine: &mut Machine) -> Vec<String> {
        let Some(profile) = machine.system.take_profile() else { return Vec::new() };
        let mut failures = Vec::new();
        if let Some(path) = &self.args.profile {
            let text = profile_text(&profile, &self.symbols);
            let written = if path == Path::new("-") {
                std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes())
            } else {
                std::fs::write(path, text)
            };
            failures.extend(written.err().map(|e| format!("{}: {e}", path.display())));
        }
        if let Some(path) = &self.args.flame_graph {
            failures.extend(write_flame_graph(path, &profile, &self.symbols).err().map(|e| e.to_string()));
        }
        failures
    }
}
