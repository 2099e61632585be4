//! Little-endian fields of a file that may end anywhere.

/// The `N` bytes at `at`.
fn bytes<const N: usize>(file: &[u8], at: u64) -> Option<[u8; N]> {
    let at = usize::try_from(at).ok()?;
    file.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// The byte at `at`.
pub(super) fn u8_at(file: &[u8], at: u64) -> Option<u8> {
    bytes::<1>(file, at).map(|b| b[0])
}

/// The 16-bit field at `at`.
pub(super) fn u16_at(file: &[u8], at: u64) -> Option<u16> {
    bytes(file, at).map(u16::from_le_bytes)
}

/// The 32-bit field at `at`.
pub(super) fn u32_at(file: &[u8], at: u64) -> Option<u32> {
    bytes(file, at).map(u32::from_le_bytes)
}

/// The 64-bit field at `at`.
pub(super) fn u64_at(file: &[u8], at: u64) -> Option<u64> {
    bytes(file, at).map(u64::from_le_bytes)
}

/// `len` bytes from `at` on.
pub(super) fn slice(file: &[u8], at: u64, len: u64) -> Option<&[u8]> {
    let from = usize::try_from(at).ok()?;
    let end = usize::try_from(at.checked_add(len)?).ok()?;
    file.get(from..end)
}
