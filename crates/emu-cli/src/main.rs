//! The `emu` command.

/// `eprintln!` that does not panic when nobody is left to read, as on a closed terminal.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}

mod builds;
mod conform;
mod debug;
mod diff;
mod disk;
mod opinion;
mod replay;
mod run;
mod sides;
mod snapshot;
mod terminal;
mod vm;
mod why;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use conform::{ConformArgs, ReportArgs};
use debug::DebugArgs;
use diff::{BisectArgs, DiffArgs};
use disk::DiskArgs;
use replay::ReplayArgs;
use run::{Failure, RunArgs};
use snapshot::SnapshotArgs;
use vm::VmArgs;
use why::WhyArgs;

/// A PC in software: exact, deterministic, fast.
#[derive(Debug, Parser)]
#[command(name = "emu", version, about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a machine: from an image, a kernel, or a machine.toml; with nothing, the demo.
    Run(Box<RunArgs>),
    /// Run again what `emu run --record` recorded, and verify that it is the same run.
    Replay(Box<ReplayArgs>),
    /// Debug a machine or a recording, forwards and backwards: with gdb, or with emu's own console.
    Debug(Box<DebugArgs>),
    /// Who last wrote this: memory, a register, a port, a sector, a place on the screen; in a recording.
    Why(Box<WhyArgs>),
    /// Where two recordings part: the first tick and instruction that differ.
    Diff(DiffArgs),
    /// Where a recording's run parts from that of another emu, CPU model, memory, seed or firmware under the same inputs.
    Bisect(BisectArgs),
    /// Write states of a machine to files, list them, go on from them.
    Snapshot(SnapshotArgs),
    /// Look at disk images, convert, make, change and repair them.
    Disk(DiskArgs),
    /// Take over machines of other products.
    Vm(VmArgs),
    /// Test the CPU, or another one, with suites of captured cases
    Conform(Box<ConformArgs>),
    /// Work with the reports of `emu conform`
    Report(Box<ReportArgs>),
}

fn main() -> std::process::ExitCode {
    let matches = RunArgs::augment_help(Cli::command()).get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(e) => e.exit(),
    };
    match obey(cli.verb, &matches) {
        Ok(code) => code.into(),
        Err(failure) => {
            say!("emu: {}", failure.message);
            failure.code.into()
        }
    }
}

fn obey(verb: Verb, matches: &clap::ArgMatches) -> Result<u8, Failure> {
    let script = || matches.subcommand().map_or_else(|| Ok(Vec::new()), |(_, m)| run::script_of(m));
    match verb {
        Verb::Run(args) => run::run(*args, script()?),
        Verb::Replay(args) => replay::replay(&args, script()?),
        Verb::Debug(args) => debug::debug(&args, script()?),
        Verb::Why(args) => why::why(&args),
        Verb::Diff(args) => diff::diff(&args),
        Verb::Bisect(args) => diff::bisect(&args),
        Verb::Snapshot(args) => snapshot::snapshot(args, matches),
        Verb::Disk(args) => disk::run(args),
        Verb::Vm(args) => vm::run(&args),
        Verb::Conform(args) => conform::conform(&args),
        Verb::Report(args) => conform::report(&args),
    }
}

/// What clap's derive has no words for.
trait AugmentHelp: Args {
    fn augment_help(command: clap::Command) -> clap::Command;
}

impl AugmentHelp for RunArgs {
    fn augment_help(command: clap::Command) -> clap::Command {
        let with_codes = |verb: clap::Command| verb.after_help(run::exit_codes_help());
        let commands = command.mut_subcommand("run", with_codes).mut_subcommand("replay", with_codes);
        let commands = commands.mut_subcommand("conform", |verb| verb.after_help(conform::exit_codes_help()));
        let commands = commands.mut_subcommand("why", with_codes).mut_subcommand("debug", with_codes);
        let commands = commands.mut_subcommand("snapshot", with_codes);
        let commands = commands.mut_subcommand("diff", with_codes).mut_subcommand("bisect", with_codes);
        commands.mut_subcommand("disk", |disk| disk.after_help(disk::exit_codes_help()))
    }
}
