//! Serial lines over TCP and Unix sockets. A server takes one client at a time; while there is none, bytes vanish, as on
//! a line with nothing at its end.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::queue::{Queue, queue};
use super::{Duplex, Feed, Peer, SerialError, SerialLink};

/// A client that takes nothing for this long is let go.
const PATIENCE: Duration = Duration::from_secs(5);

impl Duplex for TcpStream {
    fn twin(&self) -> io::Result<Self> {
        self.try_clone()
    }
}

#[cfg(unix)]
impl Duplex for std::os::unix::net::UnixStream {
    fn twin(&self) -> io::Result<Self> {
        self.try_clone()
    }
}

/// Sends to whoever is connected.
fn send_to<D: Duplex>(peer: &Peer<D>) -> Queue {
    let peer = Arc::clone(peer);
    queue(move |bytes| {
        let mut peer = peer.lock().unwrap_or_else(PoisonError::into_inner);
        if peer.as_mut().is_some_and(|p| p.write_all(bytes).is_err()) {
            *peer = None;
        }
        true
    })
}

/// Serves one connection: it becomes the peer, and what it sends is passed on until it ends.
fn serve<D: Duplex>(stream: D, peer: &Peer<D>, feed: &Feed) {
    let Ok(twin) = stream.twin() else { return };
    *peer.lock().unwrap_or_else(PoisonError::into_inner) = Some(twin);
    feed.pump(stream);
    *peer.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

fn connected<D: Duplex>(stream: D, feed: Feed) -> SerialLink {
    let peer: Peer<D> = Arc::new(Mutex::new(None));
    let link = SerialLink::new(Some(send_to(&peer)));
    // Here and not in the thread, so that the guest's first byte finds its peer.
    *peer.lock().unwrap_or_else(PoisonError::into_inner) = stream.twin().ok();
    std::thread::spawn(move || serve(stream, &peer, &feed));
    link
}

fn listening<D: Duplex>(mut accept: impl FnMut() -> io::Result<D> + Send + 'static, feed: Feed) -> SerialLink {
    let peer: Peer<D> = Arc::new(Mutex::new(None));
    let link = SerialLink::new(Some(send_to(&peer)));
    std::thread::spawn(move || {
        loop {
            match accept() {
                Ok(stream) => serve(stream, &peer, &feed),
                Err(_) => std::thread::sleep(Duration::from_millis(100)), // out of descriptors, say
            }
        }
    });
    link
}

fn opening(what: &str, e: &io::Error) -> SerialError {
    match e.kind() {
        io::ErrorKind::AddrInUse => SerialError::InUse(what.to_owned()),
        _ => SerialError::host(what, e),
    }
}

/// A TCP connection, or a server for one.
pub(super) fn tcp(address: &str, server: bool, feed: Feed) -> Result<SerialLink, SerialError> {
    let tune = |stream: TcpStream| {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    };
    if !server {
        return match TcpStream::connect(address).and_then(tune) {
            Ok(stream) => Ok(connected(stream, feed)),
            Err(e) => Err(opening(address, &e)),
        };
    }
    let listener = TcpListener::bind(address).map_err(|e| opening(address, &e))?;
    let local = listener.local_addr().map_or_else(|_| address.to_owned(), |a| a.to_string());
    let mut link = listening(move || tune(listener.accept()?.0), feed);
    link.notice = Some(format!("listens at tcp:{local}"));
    Ok(link)
}

/// A Unix socket, or a server for one.
#[cfg(unix)]
pub(super) fn unix(path: &std::path::Path, server: bool, feed: Feed) -> Result<SerialLink, SerialError> {
    use std::os::unix::net::{UnixListener, UnixStream};
    let what = path.to_string_lossy().into_owned();
    let tune = |stream: UnixStream| {
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    };
    if !server {
        return match UnixStream::connect(path).and_then(tune) {
            Ok(stream) => Ok(connected(stream, feed)),
            Err(e) => Err(opening(&what, &e)),
        };
    }
    let listener = UnixListener::bind(path).map_err(|e| opening(&what, &e))?;
    let mut link = listening(move || tune(listener.accept()?.0), feed);
    link.socket_file = Some(path.to_owned());
    link.notice = Some(format!("listens at unix:{what}"));
    Ok(link)
}
