//! A serial line as a pseudo-terminal, for terminal programs of the host.

use std::fs::{File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use super::queue::writer;
use super::{Feed, SerialError, SerialLink};

/// Makes a pseudo-terminal in raw mode.
pub(super) fn open(feed: Feed) -> Result<SerialLink, SerialError> {
    let failed = |e: std::io::Error| SerialError::host("pty", &e);
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).map_err(|e| failed(e.into()))?;
    grantpt(&master).map_err(|e| failed(e.into()))?;
    unlockpt(&master).map_err(|e| failed(e.into()))?;
    let name = ptsname(&master, Vec::new()).map_err(|e| failed(e.into()))?;
    let path = std::path::PathBuf::from(std::ffi::OsStr::from_bytes(name.to_bytes()));
    // Our own handle of the far end stays open: without one, reads of the near end fail until somebody comes.
    let far = OpenOptions::new().read(true).write(true).custom_flags(OFlags::NOCTTY.bits() as i32).open(&path);
    let far = far.map_err(failed)?;
    let mut attributes = tcgetattr(&far).map_err(|e| failed(e.into()))?;
    attributes.make_raw();
    tcsetattr(&far, OptionalActions::Now, &attributes).map_err(|e| failed(e.into()))?;
    let near = File::from(master);
    let twin = near.try_clone().map_err(failed)?;
    std::thread::spawn(move || {
        let _far = far;
        feed.pump(near);
    });
    let mut link = SerialLink::new(Some(writer(twin)));
    link.notice = Some(format!("is at {}", path.display()));
    Ok(link)
}
