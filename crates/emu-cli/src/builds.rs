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
        build.ask("")?; // with what it says at the start
        Ok(build)
    }

    /// Asks a question, and for the hash behind it: what tells where the answer ends.
    fn send(&mut self, question: &str) -> Result<(), Failure> {
        let sent = self.to.write_all(format!("{question}\nhash\n").as_bytes()).and_then(|()| self.to.flush());
        sent.map_err(|_| self.gone())
    }

    fn gone(&self) -> Failure {
        Failure::host(format!("{} has no debugger's console for this file", self.program.display()))
    }

    /// The answer to what was sent: its lines, then tick and hash.
    fn receive(&mut self) -> Result<(Vec<String>, u64, String), Failure> {
        let mut lines = Vec::new();
        while lines.len() < MOST {
            let mut line = String::new();
            if self.from.read_line(&mut line).map_err(|_| self.gone())? == 0 {
                break;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["tick", tick, "state", hash] = words[..] {
                return Ok((lines, tick.parse().map_err(|_| self.gone())?, hash.to_owned()));
            }
            lines.push(line.trim_end().to_owned());
        }
        Err(self.gone())
    }

    fn ask(&mut self, question: &str) -> Result<Vec<String>, Failure> {
        self.send(question)?;
        Ok(self.receive()?.0)
    }

    /// Registers by name.
    fn registers(&mut self) -> Result<BTreeMap<String, String>, Failure> {
        let lines = self.ask("registers")?;
        let pairs = lines.iter().flat_map(|l| l.split_whitespace()).filter_map(|w| w.trim_matches('*').split_once('='));
        Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// Hashes of the machine's parts, and bytes of its memory; nothing of an emu that does not tell.
    fn parts(&mut self) -> Result<(Vec<(String, String)>, u64), Failure> {
        let (mut parts, mut len) = (Vec::new(), 0);
        for line in self.ask("info parts")? {
            if let Some((name, hash)) = line.strip_prefix("part ").and_then(|l| l.rsplit_once(' ')) {
                parts.push((name.to_owned(), hash.to_owned()));
            } else if let Some(bytes) = line.strip_prefix("pool ") {
                len = bytes.parse().unwrap_or(0);
            }
        }
        Ok((parts, len))
    }

    /// The hash of a stretch of memory, with its bytes if they are few.
    fn memory(&mut self, offset: u64, len: u64) -> Result<String, Failure> {
        let lines = self.ask(&format!("info memory {offset} {len}"))?;
        let line = lines.first().and_then(|l| l.strip_prefix("pool ")).and_then(|l| l.split_once(' '));
        Ok(line.map(|l| l.1.to_owned()).unwrap_or_default())
    }

    fn next_step(&mut self) -> Result<String, Failure> {
        Ok(self.ask("tick")?.first().cloned().unwrap_or_default())
    }
}

/// Has both go to `tick`, at the same time; a run that ends before stays at its end. Whether they are the same there.
fn same(builds: &mut [Build; 2], tick: Ticks, look: Look) -> Result<bool, Failure> {
    let question = format!("goto {}", tick.0);
    builds.iter_mut().try_for_each(|b| b.send(&question))?;
    let [a, b] = builds;
    let ((_, at, x), (_, other, y)) = (a.receive()?, b.receive()?);
    if look == Look::Hash || at != other {
        return Ok((at, x) == (other, y));
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

/// Says what differs where the builds stand: parts of the machine, registers, the first byte of memory.
fn tell(builds: &mut [Build; 2]) -> Result<(), Failure> {
    let [a, b] = builds;
    let ((x, len), (y, other_len)) = (a.parts()?, b.parts()?);
    let hash = |name: &String| y.iter().find(|p| p.0 == *name).map(|p| &p.1);
    let parts: Vec<&str> =
        x.iter().filter(|(name, h)| hash(name).is_some_and(|o| o != h)).map(|p| p.0.as_str()).collect();
    let (v, w) = (a.registers()?, b.registers()?);
    let registers = v.iter().filter_map(|(name, v)| Some((name, v, w.get(name).filter(|w| *w != v)?)));
    let registers: Vec<String> = registers.map(|(name, v, w)| format!("{name} {v} and {w}")).collect();
    line(&match (parts.is_empty(), registers.is_empty()) {
        (true, true) => "then differ: devices or memory, but no register".into(),
        (true, false) => format!("then differ: {}", registers.join(", ")),
        (false, true) => format!("then differ: {}", parts.join(", ")),
        (false, false) => format!("then differ: {}: {}", parts.join(", "), registers.join(", ")),
    });
    for build in [&mut *a, &mut *b] {
        let registers = build.registers()?;
        let all: Vec<String> = registers.iter().map(|(name, value)| format!("{name}={value}")).collect();
        line(&format!("  {}: {}", build.program.display(), all.join(" ")));
    }
    if parts.contains(&"memory") {
        first_byte(builds, len.min(other_len))?;
    }
    Ok(())
}

/// Says which is the first byte of memory that differs.
fn first_byte([a, b]: &mut [Build; 2], len: u64) -> Result<(), Failure> {
    let (mut from, mut to) = (0, len);
    while to - from > 1 {
        let half = (to - from) / 2;
        let differ = a.memory(from, half)? != b.memory(from, half)?;
        (from, to) = if differ { (from, from + half) } else { (from + half, to) };
    }
    let byte = |answer: String| answer.split_once(' ').map(|a| a.1.to_owned()).unwrap_or_default();
    let (x, y) = (byte(a.memory(from, 1)?), byte(b.memory(from, 1)?));
    if x != y {
        line(&format!("  memory at {from:#x}: {x}, and {y}"));
    }
    Ok(())
}

fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
