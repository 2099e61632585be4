//! Serial lines to the host. Each has threads of its own: the machine never waits for one. What nobody takes in time is
//! dropped, and counted.

#[cfg(unix)]
mod pty;
mod queue;
mod socket;
#[cfg(unix)]
mod stdio;

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use emu_core::Input;

use self::queue::{Queue, writer};
use super::Command;
use crate::config::SerialTarget;
use crate::image::reason;

/// Why a serial line can't be opened. Each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum SerialError {
    /// The host refuses.
    #[error("serial port: {what}: {reason}")]
    Host {
        /// The file, address or socket.
        what: String,
        /// What the host says.
        reason: String,
    },
    /// Somebody else has it.
    #[error("serial port: {0} is already in use")]
    InUse(String),
    /// This host has no such thing.
    #[error("serial port: {0} is not available on this host")]
    NotHere(&'static str),
}

impl SerialError {
    fn host(what: impl Into<String>, e: &std::io::Error) -> SerialError {
        SerialError::Host { what: what.into(), reason: reason(e) }
    }
}

/// The host's end of one serial port.
#[derive(Debug)]
pub struct SerialLink {
    queue: Option<Queue>,
    /// What a person must know to connect to it.
    pub notice: Option<String>,
    /// A socket file of ours, to be removed at the end.
    socket_file: Option<PathBuf>,
    #[cfg(unix)]
    terminal: Option<stdio::RawTerminal>,
}

impl SerialLink {
    fn new(queue: Option<Queue>) -> SerialLink {
        SerialLink {
            queue,
            notice: None,
            socket_file: None,
            #[cfg(unix)]
            terminal: None,
        }
    }

    /// Connects serial port `port` to `target`; what comes in goes to `commands`.
    ///
    /// # Errors
    /// Any [`SerialError`].
    pub fn open(target: &SerialTarget, port: u8, commands: &Sender<Command>) -> Result<SerialLink, SerialError> {
        let feed = Feed { port, commands: commands.clone() };
        match target {
            SerialTarget::Null => Ok(SerialLink::new(None)),
            SerialTarget::File(path) => {
                let file = File::create(path).map_err(|e| SerialError::host(path.to_string_lossy(), &e))?;
                Ok(SerialLink::new(Some(writer(file))))
            }
            SerialTarget::Tcp { address, server } => socket::tcp(address, *server, feed),
            #[cfg(unix)]
            SerialTarget::Unix { path, server } => socket::unix(path, *server, feed),
            #[cfg(unix)]
            SerialTarget::Pty => pty::open(feed),
            #[cfg(unix)]
            SerialTarget::Stdio => Ok(stdio::open(feed)),
            #[cfg(not(unix))]
            _ => Err(SerialError::NotHere("this kind of connection")),
        }
    }

    /// Sends what the guest wrote.
    pub fn send(&mut self, bytes: &[u8]) {
        if let Some(queue) = &mut self.queue {
            queue.push(bytes);
        }
    }

    /// Lets what is queued go out, for a second at the most, and closes. Returns how many bytes were dropped in all.
    pub fn close(mut self) -> u64 {
        let dropped = self.queue.take().map_or(0, |q| q.close(Duration::from_secs(1)));
        #[cfg(unix)]
        drop(self.terminal.take());
        dropped
    }
}

impl Drop for SerialLink {
    fn drop(&mut self) {
        if let Some(path) = self.socket_file.take() {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Where incoming bytes go.
#[derive(Clone, Debug)]
struct Feed {
    port: u8,
    commands: Sender<Command>,
}

impl Feed {
    /// Passes bytes on; false when the machine is gone.
    fn send(&self, bytes: &[u8]) -> bool {
        self.commands.send(Command::Input(Input::Serial { port: self.port, bytes: bytes.to_vec() })).is_ok()
    }

    /// Passes on what `from` gives, until it ends.
    fn pump(&self, mut from: impl Read) {
        let mut buf = [0; 256];
        loop {
            match from.read(&mut buf) {
                Ok(0) => return,
                Ok(n) if self.send(&buf[..n]) => {}
                Ok(_) => return,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }
}

/// A connection that can be read and written by two threads.
trait Duplex: Read + Write + Send + Sized + 'static {
    fn twin(&self) -> std::io::Result<Self>;
}

/// The connection of the moment, if there is one.
type Peer<D> = Arc<std::sync::Mutex<Option<D>>>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;
    use crossbeam_channel::unbounded;

    #[test]
    fn files_take_what_the_guest_sends() {
        let dir = TempDir::new();
        let path = dir.path().join("log");
        let mut link = SerialLink::open(&SerialTarget::File(path.clone()), 0, &unbounded().0).unwrap();
        link.send(b"hello ");
        link.send(b"world");
        assert_eq!(link.close(), 0);
        assert_eq!(std::fs::read(&path).unwrap(), b"hello world");
        let missing = SerialTarget::File(dir.path().join("no/such"));
        assert!(matches!(SerialLink::open(&missing, 0, &unbounded().0), Err(SerialError::Host { .. })));
    }

    #[test]
    fn a_tcp_server_talks_both_ways_and_its_port_is_taken() {
        let (tx, rx) = unbounded();
        let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = probe.local_addr().unwrap().to_string();
        let target = SerialTarget::Tcp { address: address.clone(), server: true };
        assert!(matches!(SerialLink::open(&target, 0, &tx), Err(SerialError::InUse(_))));
        drop(probe);
        let mut link = SerialLink::open(&target, 1, &tx).unwrap();
        let mut client = std::net::TcpStream::connect(&address).unwrap();
        client.write_all(b"in").unwrap();
        let got = rx.recv_timeout(Duration::from_secs(5)).unwrap();
        assert_eq!(got, Command::Input(Input::Serial { port: 1, bytes: b"in".to_vec() }));
        link.send(b"out"); // the reader has been fed, so the connection stands
        let mut answer = [0; 3];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"out");
    }

    #[cfg(unix)]
    #[test]
    fn a_unix_socket_is_removed_at_the_end() {
        let dir = TempDir::new();
        let path = dir.path().join("sock");
        let target = SerialTarget::Unix { path: path.clone(), server: true };
        let link = SerialLink::open(&target, 0, &unbounded().0).unwrap();
        assert!(matches!(SerialLink::open(&target, 0, &unbounded().0), Err(SerialError::InUse(_))));
        assert!(path.exists());
        link.close();
        assert!(!path.exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_pty_talks_both_ways() {
        let (tx, rx) = unbounded();
        let mut link = SerialLink::open(&SerialTarget::Pty, 0, &tx).unwrap();
        let name = link.notice.clone().unwrap().split_whitespace().last().unwrap().to_owned();
        let mut far = File::options().read(true).write(true).open(name).unwrap();
        far.write_all(b"x\r").unwrap();
        let mut got = Vec::new();
        while got.len() < 2 {
            match rx.recv_timeout(Duration::from_secs(5)).unwrap() {
                Command::Input(Input::Serial { bytes, .. }) => got.extend(bytes),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(got, b"x\r"); // raw: no echo, no translation
        link.send(b"y\n");
        let mut answer = [0; 2];
        far.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"y\n");
    }
}
