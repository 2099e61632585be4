//! Two builds of emu under one recording's inputs: each is driven through its own debugger's console.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use emu_core::Ticks;
use emu_machine::recording::{Recording, strip};

use crate::run::exit::{DIFFERENT, Failure};

/// Lines that a console's answer has at the most: what never ends is no emu.
const MOST: usize = 10_000;

/// A copy of the recording without its hashes, beside it, as long as this lives.
struct Stripped(PathBuf);

impl Drop for Stripped {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// One of the two.
struct Build {
    program: PathBuf,
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Drop for Build {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is compared at a tick.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// The hash of the whole state.
    Hash,
    /// The registers, where the builds save their states differently.
    Registers,
}

impl Build {
    fn start(program: &Path, file: &Path) -> Result<Build, Failure> {
        let mut command = Command::new(program);
        command.args(["debug", "--quiet"]).arg(file).stdin(Stdio::piped()).stdout(Stdio::piped());
        let failed = |e: std::io::Error| Failure::host(format!("{}: {e}", program.display()));
        let mut child = command.spawn().map_err(failed)?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::host(format!("{}: no pipe to it", program.display())));
        };
        let mut build = Build { program: program.to_owned(), child, to, from: BufReader::new(from) };
        build.until_hash()?; // what it says at the start
        Ok(build)
    }

    /// The lines up to the answer to `hash`, and that.
    fn until_hash(&mut self) -> Result<(Vec<String>, u64, String), Failure> {
        let gone = || Failure::host(format!("{} has no debugger's console for this file", self.program.display()));
        self.to.write_all(b"hash\n").and_then(|()| self.to.flush()).map_err(|_| gone())?;
        let mut lines = Vec::new();
        while lines.len() < MOST {
            let mut line = String::new();
            if self.from.read_line(&mut line).map_err(|_| gone())? == 0 {
                break;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["tick", tick, "state", hash] = words[..] {
                return Ok((lines, tick.parse().map_err(|_| gone())?, hash.to_owned()));
            }
            lines.push(line.trim_end().to_owned());
        }
        Err(gone())
    }

    fn ask(&mut self, question: &str) -> Result<(Vec<String>, u64, String), Failure> {
        let gone = |_| Failure::host(format!("{} ended", self.program.display()));
        self.to.write_all(format!("{question}\n").as_bytes()).map_err(gone)?;
        self.until_hash()
    }

    /// Goes to `tick`; a run that ends before stays at its end.
    fn go(&mut self, tick: Ticks) -> Result<(u64, String), Failure> {
        let (_, at, hash) = self.ask(&format!("goto {}", tick.0))?;
        Ok((at, hash))
    }

    /// Registers by name.
    fn registers(&mut self) -> Result<BTreeMap<String, String>, Failure> {
        let (lines, ..) = self.ask("registers")?;
        let pairs = lines.iter().flat_map(|l| l.split_whitespace()).filter_map(|w| w.trim_matches('*').split_once('='));
        Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    fn next_step(&mut self) -> Result<String, Failure> {
        Ok(self.ask("tick")?.0.first().cloned().unwrap_or_default())
    }
}

fn same(builds: &mut [Build; 2], tick: Ticks, look: Look) -> Result<bool, Failure> {
    let [a, b] = builds;
    let (x, y) = (a.go(tick)?, b.go(tick)?);
    if look == Look::Hash || x.0 != y.0 {
        return Ok(x == y);
    }
    let (x, y) = (a.registers()?, b.registers()?);
    Ok(x.iter().all(|(name, value)| y.get(name).is_none_or(|v| v == value)))
}

/// Finds the first step in which `other` goes another way than this emu; returns the exit code.
pub(crate) fn between(file: &Path, recording: &Recording, other: &Path) -> Result<u8, Failure> {
    let stripped = Stripped(file.with_extension(format!("bisect-{}", std::process::id())));
    strip(file, &stripped.0).map_err(Failure::file)?;
    let this = std::env::current_exe().map_err(Failure::host)?;
    let mut builds = [Build::start(&this, &stripped.0)?, Build::start(other, &stripped.0)?];
    let (mut good, mut bad) = (recording.begin().tick, recording.end().tick);
    let mut look = Look::Hash;
    if !same(&mut builds, good, look)? {
        look = Look::Registers;
        line("the builds save their states differently: only registers are compared");
        if !same(&mut builds, good, look)? {
            line(&format!("they differ from the start, tick {}, on", good.0));
            return tell(&mut builds).map(|()| DIFFERENT);
        }
    }
    // Where the recording was hashed is a good place to look first: from there on back, both keep checkpoints.
    for point in recording.spine().iter().map(|s| s.at.tick).filter(|t| *t > good && *t < bad).collect::<Vec<_>>() {
        if !same(&mut builds, point, look)? {
            bad = point;
            break;
        }
        good = point;
    }
    if same(&mut builds, bad, look)? {
        line(&format!("the same up to tick {}", bad.0));
        return Ok(0);
    }
    while bad.since(good) > 1 {
        let half = Ticks(good.0 + bad.since(good) / 2);
        *(if same(&mut builds, half, look)? { &mut good } else { &mut bad }) = half;
    }
    same(&mut builds, good, look)?;
    line(&format!("the same up to tick {}; the next step makes the difference:", good.0));
    for build in &mut builds {
        let next = build.next_step()?;
        line(&format!("  {}: {next}", build.program.display()));
    }
    same(&mut builds, bad, look)?;
    tell(&mut builds).map(|()| DIFFERENT)
}

/// Says which registers differ where the builds stand.
fn tell(builds: &mut [Build; 2]) -> Result<(), Failure> {
    let [a, b] = builds;
    let (x, y) = (a.registers()?, b.registers()?);
    let differing = x.iter().filter_map(|(name, value)| Some((name, value, y.get(name).filter(|v| *v != value)?)));
    let shown: Vec<String> = differing.map(|(name, v, w)| format!("{name} {v} and {w}")).collect();
    line(&if shown.is_empty() {
        "then differ: devices or memory, but no register".into()
    } else {
        format!("then differ: {}", shown.join(", "))
    });
    Ok(())
}

fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
