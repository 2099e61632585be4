//! Scan codes of the keys that the demo obeys [PC/AT TR, "Keyboard", scan code set 1].

pub(super) const ESC: u32 = 0x01;
pub(super) const F1: u32 = 0x3B;
pub(super) const F2: u32 = 0x3C;
pub(super) const F3: u32 = 0x3D;
pub(super) const F4: u32 = 0x3E;
