//! The arguments of `emu conform` and `emu report`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use emu_conform::report::Shard;
use emu_core::cpu::Model;
use emu_machine::config::parse_cpu;

use super::fuzz::{AgainstArgs, FuzzArgs};

fn cpu(text: &str) -> Result<Model, String> {
    parse_cpu(text).map_err(|e| e.to_string())
}

/// A percentage in hundredths of a percent.
fn threshold(text: &str) -> Result<u64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(p) if (0.0..=100.0).contains(&p) => Ok((p * 100.0).round() as u64),
        _ => Err(format!("`{text}` is no percentage from 0 to 100")),
    }
}

fn jobs(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| (1..=1024).contains(n)).ok_or_else(|| format!("`{text}` is no number from 1 to 1024"))
}

/// What becomes of a report; for `conform` and for `report merge`.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the report as JUnit XML, for build servers
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Write the report as one HTML file, with the figures of earlier runs
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Where the figures of all runs are kept for --html; FILE.history.json beside the report, unless given
    #[arg(long, value_name = "FILE", requires = "html")]
    pub(crate) history: Option<PathBuf>,
    /// Masked percentage that must be reached
    #[arg(long, value_parser = threshold, value_name = "PERCENT", default_value = "100")]
    pub(crate) threshold: u64,
    /// Strict percentage that must be reached
    #[arg(long, value_parser = threshold, value_name = "PERCENT", default_value = "0")]
    pub(crate) strict_threshold: u64,
    /// List all rows, not only those in which something fails
    #[arg(long)]
    pub(crate) all: bool,
    /// Print nothing but errors and the last lines
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Failing cases to keep of each row, and to print of each suite
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) failures: usize,
}

/// Options of `emu conform`.
#[derive(Debug, Args)]
pub(crate) struct ConformArgs {
    /// Files or folders: SingleStepTests (MOO, JSON), hardware vectors, test kernels, ROM tests
    #[arg(value_name = "SUITE", required_unless_present = "fuzz")]
    pub(crate) suites: Vec<PathBuf>,
    /// CPU model to run, in place of the one that the suite is for
    #[arg(long, value_parser = cpu, value_name = "MODEL")]
    pub(crate) cpu: Option<Model>,
    /// Run one of n parts of the cases, chosen by a stable hash
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,
    /// Threads; as many as the host has cores, unless given
    #[arg(long, value_parser = jobs, value_name = "N")]
    pub(crate) jobs: Option<usize>,
    /// Execute every instruction from its decoded form, without the engine's fast handlers
    #[arg(long)]
    pub(crate) no_fast_handlers: bool,
    /// Seconds of guest time that a test kernel may take; what its list says or 90, unless given
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000), value_name = "SECONDS")]
    pub(crate) timeout: Option<u64>,
    /// What a ROM test must print; NAME-reference.txt beside the ROM, unless given
    #[arg(long, value_name = "FILE")]
    pub(crate) reference: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) against: AgainstArgs,
    #[command(flatten)]
    pub(crate) fuzz: FuzzArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Options of `emu report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    #[command(subcommand)]
    pub(crate) action: ReportAction,
}

/// What to do with reports.
#[derive(Debug, Subcommand)]
pub(crate) enum ReportAction {
    /// Put the JSON reports of all shards of a run together
    Merge(MergeArgs),
}

/// Options of `emu report merge`.
#[derive(Debug, Args)]
pub(crate) struct MergeArgs {
    /// The shards' JSON reports
    #[arg(value_name = "FILE", required = true)]
    pub(crate) reports: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
