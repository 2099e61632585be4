//! Guest physical memory: what answers at each physical page, and the only `unsafe` accesses to guest RAM.

mod layout;
mod phys;
mod ram;
mod tables;
mod tlb;
mod track;

pub use layout::Target;
pub(crate) use phys::{CODE_GRANULE, granule_mask};
pub use phys::{PhysMem, Shortcut};
pub(crate) use ram::LinearPage;
pub use ram::{HostPage, Scalar};
pub(crate) use tables::{Path, Place};
pub(crate) use tlb::{DevicePage, Fill, Tlb, Writable};
pub(crate) use track::page_hash;
pub use track::{PageImage, WatchHit};

/// Bytes in a page, the grain of everything that maps memory.
pub const PAGE_SIZE: u64 = 4096;
/// log2 of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;
