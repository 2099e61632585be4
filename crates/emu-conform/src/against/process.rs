//! The adapter's process: lines to it, lines from it with a time-out, and its end.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// The longest line, with its end.
pub(super) const LINE: usize = 65_536;
/// How long an adapter has to end by itself after its input is closed.
const FAREWELL: Duration = Duration::from_millis(100);
/// How long after its output is closed its end may show: on a busy host that is no moment.
const ENDING: Duration = Duration::from_secs(1);

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    TimedOut(Duration),
    /// It closed its output; how it ended, as far as that is known.
    Ended(String),
    /// The line that came, and what is wrong with it.
    Garbage(String, String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::TimedOut(limit) => write!(f, "no answer within {} s", limit.as_secs_f64()),
            Failure::Ended(how) => write!(f, "it ended ({how}) instead of an answer"),
            Failure::Garbage(line, why) => write!(f, "its answer is none: {why}: {:?}", shown(line)),
        }
    }
}

/// As much of a line as a message should show.
fn shown(line: &str) -> String {
    let mut text: String = line.chars().take(160).collect();
    if text.len() < line.len() {
        text.push('…');
    }
    text
}

enum Line {
    Text(String),
    TooLong(String),
}

#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    /// Closed, by taking it, to tell the adapter that it may go.
    input: Option<ChildStdin>,
    output: Receiver<Line>,
}

impl Process {
    pub(super) fn start(command: &[String]) -> std::io::Result<Process> {
        let mut child =
            Command::new(&command[0]).args(&command[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(input), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(std::io::Error::other("it has no standard input and output"));
        };
        // A few lines: an adapter that talks without being asked is stopped by its full pipe, not by our memory.
        let (sender, output) = sync_channel(16);
        std::thread::Builder::new().name("adapter".into()).spawn(move || listen(stdout, &sender))?;
        Ok(Process { child, input: Some(input), output })
    }

    /// Sends a line, and waits for one that is no remark.
    pub(super) fn ask(&mut self, line: &str, limit: Duration) -> Result<String, Failure> {
        let deadline = Instant::now() + limit;
        if let Some(input) = &mut self.input {
            // Fails if it has ended; what it said before that is still to be heard.
            let _ = input.write_all(line.as_bytes()).and_then(|()| input.flush());
        }
        loop {
            match self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Line::Text(text)) if text.starts_with('#') => {}
                Ok(Line::Text(text)) => return Ok(text),
                Ok(Line::TooLong(text)) => {
                    return Err(Failure::Garbage(text, format!("it has more than {LINE} bytes")));
                }
                Err(RecvTimeoutError::Timeout) => return Err(Failure::TimedOut(limit)),
                Err(RecvTimeoutError::Disconnected) => return Err(Failure::Ended(self.how_it_ended())),
            }
        }
    }

    fn how_it_ended(&mut self) -> String {
        let deadline = Instant::now() + ENDING;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return status.to_string(),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
                _ => return "it closed its output, but runs on".into(),
            }
        }
    }
}

/// Lines of the adapter to the channel, until it closes its output or nobody listens.
fn listen(stdout: ChildStdout, sender: &SyncSender<Line>) {
    let mut reader = BufReader::new(stdout);
    loop {
        let mut bytes = Vec::new();
        match (&mut reader).take(LINE as u64).read_until(b'\n', &mut bytes) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let complete = bytes.last() == Some(&b'\n');
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        let line = if !complete && bytes.len() >= LINE { Line::TooLong(text) } else { Line::Text(text) };
        if sender.send(line).is_err() {
            return;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.input = None;
        let deadline = Instant::now() + FAREWELL;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        // Fails if it has ended, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
