//! The `emu` command.

/// `eprintln!` that does not panic when nobody is left to read, as on a closed terminal.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}

mod run;
mod terminal;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use run::RunArgs;

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
}

fn main() -> std::process::ExitCode {
    let matches = RunArgs::augment_help(Cli::command()).get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(e) => e.exit(),
    };
    let Verb::Run(args) = cli.verb;
    let script = matches.subcommand().map(|(_, m)| run::script_of(m));
    match script.unwrap_or_else(|| Ok(Vec::new())).and_then(|script| run::run(*args, script)) {
        Ok(code) => code.into(),
        Err(failure) => {
            say!("emu: {}", failure.message);
            failure.code.into()
        }
    }
}

/// What clap's derive has no words for.
trait AugmentHelp: Args {
    fn augment_help(command: clap::Command) -> clap::Command;
}

impl AugmentHelp for RunArgs {
    fn augment_help(command: clap::Command) -> clap::Command {
        command.mut_subcommand("run", |run| run.after_help(run::exit_codes_help()))
    }
}
