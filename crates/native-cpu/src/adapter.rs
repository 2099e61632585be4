//! The adapter's loop: lines in, lines out.

use std::io::{BufRead, Write, stdin, stdout};
use std::process::ExitCode;

use crate::cpu::{CODE, DATA, NativeCpu};
use crate::message::{Case, Outcome, answer, parse_case};
use crate::state::State;

const VERSION: u32 = 1;

/// Serves until the input ends.
pub(crate) fn main() -> ExitCode {
    if std::env::args_os().len() > 1 {
        eprintln!("emu-native-cpu: takes no arguments; it is started by emu conform --against emu-native-cpu");
        return ExitCode::from(2);
    }
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        // emu went away: nothing to say, and nobody to say it to.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("emu-native-cpu: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> std::io::Result<()> {
    let (mut cpu, mut input, mut out) = (NativeCpu::new()?, stdin().lock(), stdout().lock());
    let mut line = String::new();
    loop {
        line.clear();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let text = line.trim();
        let reply = match text.split_once(' ').unwrap_or((text, "")) {
            ("hello", _) => hello(),
            ("case", words) => run(&mut cpu, words),
            ("", _) => continue,
            (other, _) => format!("# no such message: {other}"),
        };
        writeln!(out, "{reply}")?;
        out.flush()?;
    }
}

fn run(cpu: &mut NativeCpu, words: &str) -> String {
    match parse_case(words) {
        Ok(case) => {
            let (outcome, after, memory) = cpu.run(&case);
            answer(&case, &outcome, &after, &memory)
        }
        Err((id, why)) => {
            let state = State::default();
            let case = Case { id, mode: crate::message::Mode::User64, code: Vec::new(), state, memory: Vec::new() };
            answer(&case, &Outcome::Skip(why), &State::default(), &[])
        }
    }
}

fn hello() -> String {
    let avx = if is_x86_feature_detected!("avx") { ",avx" } else { "" };
    format!(
        "hello {VERSION} modes=user32,user64 state=x87,sse{avx} memory={:x}+{:x},{:x}+{:x} features={} name={}",
        CODE.0,
        CODE.1,
        DATA.0,
        DATA.1,
        features(),
        cpu_name()
    )
}

/// Features by the names of `emu --cpu +NAME`.
fn features() -> String {
    macro_rules! list {
        ($($host:tt = $name:literal),*) => { [$((is_x86_feature_detected!($host), $name)),*] };
    }
    let found = list![
        "sse3" = "sse3",
        "ssse3" = "ssse3",
        "sse4.1" = "sse4.1",
        "sse4.2" = "sse4.2",
        "popcnt" = "popcnt",
        "cmpxchg16b" = "cx16",
        "movbe" = "movbe",
        "bmi1" = "bmi1",
        "bmi2" = "bmi2",
        "lzcnt" = "abm",
        "avx" = "avx",
        "avx2" = "avx2",
        "fma" = "fma",
        "f16c" = "f16c",
        "xsave" = "xsave",
        "rdrand" = "rdrand",
        "rdseed" = "rdseed",
        "adx" = "adx",
        "aes" = "aes",
        "pclmulqdq" = "pclmulqdq",
        "sha" = "sha",
        "gfni" = "gfni",
        "vaes" = "vaes",
        "vpclmulqdq" = "vpclmulqdq"
    ];
    // Every x86-64 CPU has these.
    let always = ["fpu", "cmov", "cx8", "mmx", "fxsr", "sse", "sse2", "clflush", "lahf_lm"];
    let found = found.iter().filter(|(there, _)| *there).map(|(_, name)| *name);
    always.into_iter().chain(found).collect::<Vec<_>>().join(",")
}

/// The CPU's name with family, model and stepping, as Linux tells it.
fn cpu_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = info.lines().find(|l| l.split(':').next().is_some_and(|key| key.trim() == name));
        line.and_then(|l| l.split_once(':')).map_or("?", |(_, value)| value.trim()).to_owned()
    };
    format!(
        "{} (family {} model {} stepping {})",
        field("model name"),
        field("cpu family"),
        field("model"),
        field("stepping")
    )
}
