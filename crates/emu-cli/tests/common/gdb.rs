//! `emu debug --gdb`, and gdb at the other end of it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::TempDir;

const EMU: &str = env!("CARGO_BIN_EXE_emu");
/// How long a debugger may take for a test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// `emu debug --gdb` at work.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
}

impl Server {
    pub(crate) fn start(args: &[&str], address: &str) -> Server {
        let mut child = Command::new(EMU)
            .args(["debug", "--gdb", address])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("emu starts");
        let mut lines = BufReader::new(child.stderr.take().expect("its messages"));
        let mut said = String::new();
        let address = loop {
            let mut line = String::new();
            assert!(lines.read_line(&mut line).expect("a line") > 0, "emu ended: {said}");
            if let Some((_, address)) = line.trim().split_once("target remote ") {
                break address.to_owned();
            }
            said += &line;
        };
        std::thread::spawn(move || _ = std::io::copy(&mut lines, &mut std::io::sink()));
        Server { child, address }
    }

    /// What gdb prints while it obeys `script`.
    pub(crate) fn gdb(&self, script: &str) -> String {
        let dir = TempDir::new(&format!("gdb-{}", self.address.replace([':', '/', '.'], "-")));
        let address = &self.address;
        let head =
            format!("set pagination off\nset confirm off\nset tcp connect-timeout 10\ntarget remote {address}\n");
        let file = dir.file("script.gdb", (head + script).as_bytes());
        let out = Command::new("timeout")
            .args([&PATIENCE.as_secs().to_string(), "gdb", "-nx", "-batch", "-x", &file])
            .stdin(Stdio::null())
            .output()
            .expect("gdb runs: scripts/setup installs it");
        let text = stdout(&out);
        assert!(out.status.success(), "{text}\n{}", String::from_utf8_lossy(&out.stderr));
        text
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("its state").is_none()
    }

    /// Waits for its end.
    pub(crate) fn code(mut self) -> Option<i32> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().expect("its state") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("emu has not ended");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn stdout(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// `needles` stand in `text` one behind the other.
#[track_caller]
pub(crate) fn in_order(text: &str, needles: &[&str]) {
    let mut at = 0;
    for needle in needles {
        match text[at..].find(needle) {
            Some(i) => at += i + needle.len(),
            None => panic!("no {needle:?} in its place in:\n{text}"),
        }
    }
}
