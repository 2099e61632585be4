//! What the command's tests share.

#![allow(dead_code, reason = "each test program uses a part of this")]

#[cfg(unix)]
pub(crate) mod gdb;
#[cfg(unix)]
pub(crate) mod tty;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// Runs emu to its end.
pub(crate) fn emu(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_emu")).args(args).output().expect("emu runs")
}

/// Runs emu, which must succeed; what it prints.
pub(crate) fn good(args: &[&str]) -> String {
    let output = emu(args);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{args:?}: {out}{err}");
    out.into_owned()
}

/// Runs emu with a gigabyte of address space, 20 seconds of CPU time and a minute: its output, if that was enough.
#[cfg(unix)]
pub(crate) fn emu_within_limits(args: &[&str]) -> Output {
    let limits = "ulimit -v 1048576 && ulimit -t 20 && exec timeout -s KILL 60 \"$0\" \"$@\"";
    let output = Command::new("bash")
        .args(["-c", limits, env!("CARGO_BIN_EXE_emu")])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("bash runs");
    // From 124 on: ended by `timeout`, or by a signal, as when memory is refused.
    let code = output.status.code().unwrap_or(255);
    assert!(code < 124, "{code}: {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// The exit code and what stands on the error output.
pub(crate) fn outcome(args: &[&str]) -> (i32, String) {
    let out = emu(args);
    (out.status.code().unwrap_or(-1), String::from_utf8_lossy(&out.stderr).into_owned())
}

/// The exit code and all that it said.
pub(crate) fn told(args: &[&str]) -> (i32, String) {
    let out = emu(args);
    let said = [out.stdout, out.stderr].concat();
    (out.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned())
}

/// A directory that is gone when its test is.
pub(crate) struct TempDir(pub(crate) PathBuf);

impl TempDir {
    pub(crate) fn new(name: &str) -> TempDir {
        let path = std::env::temp_dir().join(format!("emu-cli-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary directory");
        TempDir(path)
    }

    /// Writes a file, and returns its path.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> String {
        std::fs::write(self.0.join(name), bytes).expect("a temporary file");
        self.path(name)
    }

    /// The path of a file.
    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }

    /// The names of all files, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).expect("the directory");
        let mut names: Vec<_> =
            entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A floppy whose boot sector is `code`.
pub(crate) fn floppy(code: &[u8]) -> Vec<u8> {
    let mut image = vec![0; 163_840];
    image[..code.len()].copy_from_slice(code);
    image[510..512].copy_from_slice(&[0x55, 0xAA]);
    image
}

/// A tar archive by its headers, which may lie.
pub(crate) fn tar(files: &[(&str, u64, u8, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, size, kind, bytes) in files {
        let mut h = [0u8; 512];
        h[..name.len()].copy_from_slice(name.as_bytes());
        h[100..108].copy_from_slice(b"0000644\0");
        h[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        h[148..156].fill(b' ');
        h[156] = *kind;
        h[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = h.iter().map(|b| u32::from(*b)).sum();
        h[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend(h);
        out.extend(*bytes);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}
