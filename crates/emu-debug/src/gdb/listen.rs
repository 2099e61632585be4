//! Where the server listens, and the connections it gets.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
#[cfg(unix)]
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

/// An address to listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Host and port; without a host it is this computer's own clients only.
    Tcp(String),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Address {
    /// Reads `:PORT`, `PORT`, `HOST:PORT` or `unix:PATH`.
    ///
    /// # Errors
    /// One line, if it is none of them.
    pub fn parse(text: &str) -> Result<Address, String> {
        if let Some(path) = text.strip_prefix("unix:").filter(|p| !p.is_empty()) {
            return Ok(Address::Unix(path.into()));
        }
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        if port.parse::<u16>().is_err() {
            return Err(format!("`{text}` is no address like :1234, 127.0.0.1:1234 or unix:PATH"));
        }
        let host = if host.is_empty() { "127.0.0.1" } else { host };
        Ok(Address::Tcp(format!("{host}:{port}")))
    }
}

/// A socket that listens.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket, whose file is removed at the end.
    #[cfg(unix)]
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Listens at `address`.
    ///
    /// # Errors
    /// One line that says what the host says.
    pub fn bind(address: &Address) -> Result<Listener, String> {
        let bound = match address {
            Address::Tcp(at) => TcpListener::bind(at).map(Listener::Tcp),
            #[cfg(unix)]
            Address::Unix(path) => UnixListener::bind(path).map(|l| Listener::Unix(l, path.clone())),
            #[cfg(not(unix))]
            Address::Unix(_) => Err(std::io::Error::other("this host has no Unix sockets")),
        };
        let listener = bound.and_then(|l| {
            match &l {
                Listener::Tcp(l) => l.set_nonblocking(true)?,
                #[cfg(unix)]
                Listener::Unix(l, _) => l.set_nonblocking(true)?,
            }
            Ok(l)
        });
        listener.map_err(|e| match address {
            Address::Tcp(at) => format!("can't listen for gdb at {at}: {e}"),
            Address::Unix(path) => format!("can't listen for gdb at {}: {e}", path.display()),
        })
    }

    /// What gdb's `target remote` takes.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Listener::Tcp(l) => l.local_addr().map(|a| a.to_string()).unwrap_or_default(),
            #[cfg(unix)]
            Listener::Unix(_, path) => path.display().to_string(),
        }
    }

    /// A client, if one has come.
    pub(super) fn accept(&self) -> std::io::Result<Option<Stream>> {
        let stream = match self {
            Listener::Tcp(l) => l.accept().map(|(s, _)| Stream::Tcp(s)),
            #[cfg(unix)]
            Listener::Unix(l, _) => l.accept().map(|(s, _)| Stream::Unix(s)),
        };
        match stream {
            Ok(stream) => Ok(Some(stream)),
            // A client may be gone before it is looked at.
            Err(e) if is_passing(e.kind()) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

fn is_passing(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind::*;
    matches!(kind, WouldBlock | Interrupted | ConnectionAborted | ConnectionReset)
}

#[cfg(unix)]
impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix(_, path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Stream {
    /// Makes reads wait, and writes give up after `patience`.
    pub(super) fn set_up(&self, patience: Duration) -> std::io::Result<()> {
        match self {
            Stream::Tcp(s) => {
                s.set_nonblocking(false)?;
                s.set_nodelay(true)?;
                s.set_write_timeout(Some(patience))
            }
            #[cfg(unix)]
            Stream::Unix(s) => {
                s.set_nonblocking(false)?;
                s.set_write_timeout(Some(patience))
            }
        }
    }

    pub(super) fn try_clone(&self) -> std::io::Result<Stream> {
        match self {
            Stream::Tcp(s) => s.try_clone().map(Stream::Tcp),
            #[cfg(unix)]
            Stream::Unix(s) => s.try_clone().map(Stream::Unix),
        }
    }

    pub(super) fn shut(&self) {
        let _ = match self {
            Stream::Tcp(s) => s.shutdown(Shutdown::Both),
            #[cfg(unix)]
            Stream::Unix(s) => s.shutdown(Shutdown::Both),
        };
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Stream::Tcp(s) => s.read(buf),
            #[cfg(unix)]
            Stream::Unix(s) => s.read(buf),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        match self {
            Stream::Tcp(s) => s.write(buf),
            #[cfg(unix)]
            Stream::Unix(s) => s.write(buf),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Stream::Tcp(s) => s.flush(),
            #[cfg(unix)]
            Stream::Unix(s) => s.flush(),
        }
    }
}
