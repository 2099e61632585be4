//! `emu` at a terminal: a pseudo-terminal that is its controlling one, and what a person would see there.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

/// Real time that anything may take; a busy host needs some of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// `emu run` at a terminal.
pub(crate) struct Tty {
    /// The person's side; `None` once the terminal is closed.
    person: Option<File>,
    /// The program's side, kept open to look at its modes afterwards.
    line: OwnedFd,
    before: Termios,
    screen: vt100::Parser,
    child: Child,
}

impl Tty {
    /// Starts `emu run` with `args` in `directory`, at a terminal of `size` (columns, rows).
    pub(crate) fn start(args: &[&str], directory: &std::path::Path, size: (u16, u16)) -> Tty {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&person).expect("access to it");
        unlockpt(&person).expect("its lock");
        let name = ptsname(&person, Vec::new()).expect("its name");
        let line = open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).expect("its other side");
        rustix::io::fcntl_setfd(&person, rustix::io::FdFlags::CLOEXEC).expect("its flags");
        let copy = || line.try_clone().expect("a copy");
        set_size(&line, size);
        let before = tcgetattr(&line).expect("its modes");
        // setsid makes it the controlling terminal, and then becomes emu.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(env!("CARGO_BIN_EXE_emu")).arg("run").args(args).current_dir(directory);
        command.env("TERM", "xterm-256color");
        let child = command.stdin(copy()).stdout(copy()).stderr(copy()).spawn().expect("setsid and emu");
        Tty {
            person: Some(person.into()),
            before,
            screen: vt100::Parser::new(cells(size.1), cells(size.0), 0),
            line,
            child,
        }
    }

    /// Takes what has been written to the terminal within a moment.
    fn look(&mut self) {
        let Some(person) = &mut self.person else { return std::thread::sleep(Duration::from_millis(20)) };
        let moment = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        let mut ready = [PollFd::new(person, PollFlags::IN)];
        if poll(&mut ready, Some(&moment)).expect("a look at the terminal") > 0 {
            let mut bytes = [0; 8192];
            let n = person.read(&mut bytes).unwrap_or(0);
            self.screen.process(&bytes[..n]);
        }
    }

    /// What a person sees.
    pub(crate) fn text(&self) -> String {
        self.screen.screen().contents()
    }

    /// Waits until `text` can be read on the terminal.
    pub(crate) fn wait_for(&mut self, text: &str) {
        self.wait(text, |seen| seen.contains(text));
    }

    /// Waits until `seen` holds for the terminal's text.
    pub(crate) fn wait(&mut self, what: &str, seen: impl Fn(&str) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !seen(&self.text()) {
            assert!(Instant::now() < end, "no {what:?} on the terminal:\n{}", self.text());
            self.look();
        }
    }

    /// Types.
    pub(crate) fn press(&mut self, keys: &str) {
        let person = self.person.as_mut().expect("an open terminal");
        person.write_all(keys.as_bytes()).expect("typing");
    }

    /// Makes the terminal another size.
    pub(crate) fn resize(&mut self, size: (u16, u16)) {
        self.screen.screen_mut().set_size(cells(size.1), cells(size.0));
        set_size(&self.line, size);
    }

    /// Closes the terminal's window.
    pub(crate) fn close(&mut self) {
        self.person = None;
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(pid, signal).expect("a signal");
    }

    /// Waits for the end; returns the exit code.
    pub(crate) fn exit_code(&mut self) -> i32 {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("its state") {
                self.look();
                return status.code().unwrap_or_else(|| panic!("{status}"));
            }
            assert!(Instant::now() < end, "emu does not end:\n{}", self.text());
            self.look();
        }
    }

    /// Whether the terminal is as it was: its modes, the screen that was shown before, and the cursor.
    pub(crate) fn is_sane(&mut self) -> bool {
        (0..3).for_each(|_| self.look());
        let now = tcgetattr(&self.line).expect("its modes");
        let screen = self.screen.screen();
        let modes = |t: &Termios| (t.input_modes, t.output_modes, t.local_modes, t.control_modes);
        modes(&now) == modes(&self.before)
            && !screen.alternate_screen()
            && !screen.hide_cursor()
            && !screen.bracketed_paste()
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn cells(n: u16) -> NonZeroU16 {
    NonZeroU16::new(n).expect("a size")
}

fn set_size(line: &OwnedFd, (columns, rows): (u16, u16)) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(line, size).expect("a size");
}
