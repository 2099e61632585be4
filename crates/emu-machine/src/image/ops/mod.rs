//! What `emu disk` does with images, without a word of output.

mod compare;
mod convert;
mod create;
mod extents;
mod hash;
mod info;
mod layers;
mod partitions;

pub use compare::{Difference, compare};
pub use convert::{Conversion, Copied, convert};
#[cfg(test)]
pub(crate) use create::create_with;
pub use create::{NewImage, create};
pub use extents::{MapEntry, map};
pub use hash::sha256;
pub use info::{Info, info};
pub use layers::{commit, rebase, snapshot};
pub use partitions::{Partition, partitions};

/// What is done with a snapshot inside of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotAction {
    /// Take one, at this time in seconds since 1970.
    Take(String, u64),
    /// Go back to it.
    Apply(String),
    /// Delete it.
    Delete(String),
}
