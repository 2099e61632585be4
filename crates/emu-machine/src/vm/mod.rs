//! Machines of other products: what their files say, and the emu machine that comes closest.
//!
//! Each product's file is read into a [`Foreign`] machine (one file of this folder per format); [`plan`] turns that into a
//! `machine.toml` and says, line by line, what has no counterpart and what was chosen instead. Readers open no disk: paths
//! are all that they know of them. [`export()`] goes the other way.

mod choose;
mod confine;
mod export;
mod folder;
mod foreign;
mod hyperv;
mod inside;
mod libvirt;
mod lines;
mod listing;
mod ova;
mod ovf;
mod own;
mod plan;
mod probe;
mod qemu;
mod qemu_drives;
mod snapshots;
mod vmcx;
mod vmx;
mod xml;

pub use choose::choose_snapshot;
pub use confine::{check_places, parents_of};
pub use export::{Exported, Target, export, file_name};
pub use folder::{Disks, MACHINE, Made, make_folder};
pub use foreign::{Drive, DriveKind, Firmware, Foreign, Network, Note, Product, Snapshot, SnapshotDisk};
pub use plan::{ChosenImage, Plan, PlannedDrive, plan};
pub use probe::{read_description, read_machine};
pub use snapshots::read_snapshot_list;

use std::path::{Path, PathBuf};

/// Why another product's machine can't be read. Each message is one line: which file, where in it, what to do.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// A file that the host does not give us.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the host says.
        reason: String,
    },
    /// A file that is not what it should be.
    #[error("{path}: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// A disk that can't be used.
    #[error(transparent)]
    Image(Box<crate::image::ImageError>),
    /// A file or folder that describes no machine.
    #[error(
        "{0} describes no machine: wanted is a .vmx, .ovf or .ova file, a Hyper-V export folder, .vmcx or .xml, a libvirt domain \
         XML, or a text file with a QEMU command line"
    )]
    Unknown(PathBuf),
}

impl VmError {
    fn invalid(path: &Path, reason: impl Into<String>) -> VmError {
        VmError::Invalid { path: path.to_owned(), reason: reason.into() }
    }

    fn file(path: &Path, e: &std::io::Error) -> VmError {
        VmError::File { path: path.to_owned(), reason: crate::image::reason(e) }
    }
}

/// The largest description that is read: products write a few kilobytes.
pub(crate) const LIMIT: u64 = 4 << 20;

/// The bytes of a description file.
fn read_file(path: &Path) -> Result<Vec<u8>, VmError> {
    use std::io::Read as _;
    let file = std::fs::File::open(path).map_err(|e| VmError::file(path, &e))?;
    let mut bytes = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(|e| VmError::file(path, &e))?;
    if bytes.len() as u64 > LIMIT {
        return Err(VmError::invalid(path, "larger than 4 MiB: no product writes such a description"));
    }
    Ok(bytes)
}

/// Text in UTF-8 or UTF-16 with a byte order mark; other bytes are taken for Latin-1.
fn decode(bytes: &[u8]) -> String {
    match bytes {
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xEF, 0xBB, 0xBF, rest @ ..] => decode(rest),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => bytes.iter().map(|b| char::from(*b)).collect(),
        },
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let units = bytes.chunks_exact(2).map(|b| unit([b[0], b[1]]));
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_in_the_encodings_of_the_products() {
        assert_eq!(decode(b"a\xC3\xBC"), "aü");
        assert_eq!(decode(b"a\xFC"), "aü");
        assert_eq!(decode(b"\xFF\xFEa\0\xFC\0"), "aü");
        assert_eq!(decode(b"\xFE\xFF\0a"), "a");
        assert_eq!(decode(b"\xEF\xBB\xBFa"), "a");
    }
}
