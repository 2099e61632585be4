//! The gdb server: gdb's remote protocol on a TCP port or a Unix socket, one client after the other.
//!
//! Whatever a client does, the machine stays: one that vanishes, talks nonsense or detaches leaves it where it stands, and
//! the next one may connect. gdb's `kill` ends the server. Clients talk to a reader thread; the machine's thread does the
//! rest, and looks between two stretches of the run whether there is something to read.

mod arch;
mod description;
mod listen;
mod target;

pub use listen::{Address, Listener};

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use emu_machine::host::End;
use gdbstub::common::Signal;
use gdbstub::conn::Connection;
use gdbstub::stub::state_machine::GdbStubStateMachine;
use gdbstub::stub::{DisconnectReason, GdbStub, SingleThreadStopReason};

use crate::registers::Width;
use crate::session::Session;
use crate::{Access, Console};
use listen::Stream;
use target::{Debuggee, Ran};

/// The longest packet of a client.
const PACKET: usize = 1 << 14;
/// How long a client may take to read what it asked for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often an idle server looks at what else there is to do.
const LOOK: Duration = Duration::from_millis(50);

/// How talking with a client ended.
#[derive(Debug)]
enum Parted {
    /// It is gone, for the reason given; others may come.
    Gone(String),
    /// It wants the machine to end.
    Kill,
    /// emu itself is to end.
    Quit(Box<End>),
}

/// Serves clients until one of them kills the machine, or something else ends it. Without a `width` each client gets the
/// registers of the mode that the CPU is in when it comes. What happens is told to `say`.
pub fn serve(
    listener: &Listener,
    session: &mut Session,
    console: &mut Console,
    width: Option<Width>,
    say: &mut dyn FnMut(&str),
) -> End {
    loop {
        let stream = match listener.accept() {
            Ok(Some(stream)) => stream,
            Ok(None) => match session.runner().attend() {
                Some(end) => return end,
                None => {
                    std::thread::sleep(LOOK);
                    continue;
                }
            },
            Err(e) => return End::Host(format!("gdb server: {e}")),
        };
        say("gdb has connected");
        let width = width.unwrap_or_else(|| Width::of(&session.system().cpu));
        let parted = talk(stream, session, console, width);
        forget_stops(session);
        match parted {
            Parted::Gone(reason) => say(&format!("gdb is gone ({reason}); the machine waits for the next one")),
            Parted::Kill => return End::Quit,
            Parted::Quit(end) => return *end,
        }
    }
}

/// Takes away what a client wanted the machine to stop at.
fn forget_stops(session: &mut Session) {
    while let Some(&at) = session.breakpoints().first() {
        session.remove_breakpoint(at);
    }
    while session.remove_watchpoint(|w| matches!(w.access, Access::Write | Access::Read | Access::Any)) {}
}

/// The writing side of a client. Answers are collected, and sent when they are whole.
struct Wire {
    stream: Stream,
    buffer: Vec<u8>,
}

impl Connection for Wire {
    type Error = std::io::Error;

    fn write(&mut self, byte: u8) -> std::io::Result<()> {
        self.buffer.push(byte);
        Ok(())
    }

    fn write_all(&mut self, buf: &[u8]) -> std::io::Result<()> {
        self.buffer.extend_from_slice(buf);
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let sent = self.stream.write_all(&self.buffer).and_then(|()| self.stream.flush());
        self.buffer.clear();
        sent
    }
}

/// The reading side of a client: pieces of what it says, then nothing once it is gone.
struct Inbox {
    pieces: Receiver<Vec<u8>>,
    bytes: VecDeque<u8>,
}

impl Inbox {
    /// Starts to read.
    fn of(mut stream: Stream) -> Inbox {
        let (send, pieces) = bounded(16);
        std::thread::spawn(move || {
            let mut buffer = vec![0; 4096];
            loop {
                match stream.read(&mut buffer) {
                    Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                    Ok(0) | Err(_) => {
                        let _ = send.send(Vec::new());
                        return;
                    }
                    Ok(n) if send.send(buffer[..n].to_vec()).is_err() => return,
                    Ok(_) => {}
                }
            }
        });
        Inbox { pieces, bytes: VecDeque::new() }
    }

    /// The next byte, if it comes within `wait`.
    fn next(&mut self, wait: Duration) -> Result<Option<u8>, Parted> {
        if let Some(byte) = self.bytes.pop_front() {
            return Ok(Some(byte));
        }
        match self.pieces.recv_timeout(wait) {
            Ok(piece) if !piece.is_empty() => {
                self.bytes.extend(piece);
                Ok(self.bytes.pop_front())
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Ok(_) | Err(RecvTimeoutError::Disconnected) => Err(Parted::Gone("the connection is closed".into())),
        }
    }
}

/// Talks with one client until it is gone.
fn talk(stream: Stream, session: &mut Session, console: &mut Console, width: Width) -> Parted {
    let reading = stream.set_up(PATIENCE).and_then(|()| stream.try_clone());
    let reading = match reading {
        Ok(reading) => reading,
        Err(e) => return Parted::Gone(e.to_string()),
    };
    let closing = reading.try_clone();
    let inbox = Inbox::of(reading);
    let parted = converse(Wire { stream, buffer: Vec::new() }, inbox, session, console, width);
    // Ends the reader too.
    if let Ok(closing) = closing {
        closing.shut();
    }
    parted.unwrap_or_else(|parted| parted)
}

fn converse(
    wire: Wire,
    mut inbox: Inbox,
    session: &mut Session,
    console: &mut Console,
    width: Width,
) -> Result<Parted, Parted> {
    let pieces = inbox.pieces.clone();
    let interrupted = move || !pieces.is_empty();
    let mut target = Debuggee::new(session, console, width, &interrupted);
    let gone = |e: &dyn core::fmt::Display| Parted::Gone(e.to_string());
    let stub = GdbStub::builder(wire).packet_buffer_size(PACKET).build().map_err(|e| gone(&e))?;
    let mut gdb = stub.run_state_machine(&mut target).map_err(|e| gone(&e))?;
    let mut idle = true;
    loop {
        gdb = match gdb {
            GdbStubStateMachine::Idle(state) => {
                idle = true;
                match inbox.next(LOOK)? {
                    Some(byte) => state.incoming_data(&mut target, byte).map_err(|e| gone(&e))?,
                    None => match target.session.runner().attend() {
                        Some(end) => return Err(Parted::Quit(Box::new(end))),
                        None => state.into(),
                    },
                }
            }
            GdbStubStateMachine::Running(state) => {
                idle = false;
                match inbox.next(Duration::ZERO)? {
                    Some(byte) => state.incoming_data(&mut target, byte).map_err(|e| gone(&e))?,
                    None => match target.run() {
                        Ran::Stop(reason) => state.report_stop(&mut target, reason).map_err(|e| gone(&e))?,
                        Ran::Interrupted => state.into(),
                        Ran::Quit(end) => return Err(Parted::Quit(end)),
                    },
                }
            }
            GdbStubStateMachine::CtrlCInterrupt(state) => {
                // One that comes too late, when the machine has just stopped, must not stop the next run.
                let reason = (!idle).then_some(SingleThreadStopReason::Signal(Signal::SIGINT));
                state.interrupt_handled(&mut target, reason).map_err(|e| gone(&e))?
            }
            GdbStubStateMachine::Disconnected(state) => {
                return Ok(match state.get_reason() {
                    DisconnectReason::Kill => Parted::Kill,
                    _ => Parted::Gone("it has detached".into()),
                });
            }
        }
    }
}
