//! Host memory behind guest RAM, ROM and video memory.
//!
//! This is one of the modules that may use `unsafe`: a [`HostPage`] is a pointer that the TLB keeps. Its invariant: the
//! pool is mapped once, at construction, and neither moves nor shrinks while the machine lives; a `HostPage` is only made
//! by [`Pool::host_page`], for a page that lies wholly inside the pool; and accesses through it, or through the
//! [`LinearPage`] made of it, stay inside that page, which its users prove with the one compare of the TLB. All accesses
//! happen on the machine's one thread. Values in guest memory are little-endian, whatever the host is.
#![allow(unsafe_code, reason = "guest RAM is reached through raw pointers that the TLB caches")]

use super::PAGE_SIZE;

/// [`PAGE_SIZE`] as a length.
const PAGE: usize = PAGE_SIZE as usize;

/// An integer that guest memory holds.
pub trait Scalar: Copy + Default + Eq + 'static {
    /// Bytes that it takes.
    const SIZE: u64;
    /// From its value, truncated.
    fn from_u64(v: u64) -> Self;
    /// Its value, zero-extended.
    fn to_u64(self) -> u64;
    /// Converts between guest (little-endian) and host order.
    #[must_use]
    fn le(self) -> Self;
}

macro_rules! scalars {
    ($($t:ty),*) => {$(
        impl Scalar for $t {
            const SIZE: u64 = size_of::<$t>() as u64;
            #[inline(always)]
            fn from_u64(v: u64) -> Self { v as $t }
            #[inline(always)]
            fn to_u64(self) -> u64 { self as u64 }
            #[inline(always)]
            fn le(self) -> Self { self.to_le() }
        }
    )*};
}
scalars!(u8, u16, u32, u64);

/// The integer in `bytes`, of its size.
#[inline(always)]
fn from_le<T: Scalar>(bytes: &[u8]) -> T {
    let mut all = [0; 8];
    all[..size_of::<T>()].copy_from_slice(&bytes[..size_of::<T>()]);
    T::from_u64(u64::from_le_bytes(all))
}

/// A page of the pool as the host sees it.
#[derive(Clone, Copy, Debug)]
pub struct HostPage(*mut u8);

impl HostPage {
    /// Reads at `addr`'s offset in the page. The caller has checked that the access does not leave the page.
    #[inline(always)]
    pub(crate) fn read<T: Scalar>(self, addr: u64) -> T {
        let offset = (addr & (PAGE_SIZE - 1)) as usize;
        debug_assert!(offset as u64 + T::SIZE <= PAGE_SIZE);
        // SAFETY: a matching TLB entry's page lies wholly in the pool, and the access in the page (module invariant).
        unsafe { self.0.add(offset).cast::<T>().read_unaligned() }.le()
    }

    /// The `N` bytes at `addr`'s offset in the page. The caller has checked that the access does not leave the page.
    #[inline(always)]
    pub(crate) fn read_bytes<const N: usize>(self, addr: u64) -> [u8; N] {
        let offset = (addr & (PAGE_SIZE - 1)) as usize;
        debug_assert!(!self.0.is_null() && offset + N <= PAGE_SIZE as usize);
        // SAFETY: as for `read`.
        unsafe { self.0.add(offset).cast::<[u8; N]>().read() }
    }

    /// Writes at `addr`'s offset in the page. The caller has checked that the access does not leave the page.
    #[inline(always)]
    pub(crate) fn write<T: Scalar>(self, addr: u64, v: T) {
        let offset = (addr & (PAGE_SIZE - 1)) as usize;
        debug_assert!(offset as u64 + T::SIZE <= PAGE_SIZE);
        // SAFETY: as for `read`; only entries with the write tag reach here, so the page is writable RAM.
        unsafe { self.0.add(offset).cast::<T>().write_unaligned(v.le()) }
    }

    /// The page seen from linear addresses: what reaches it by those of the page at `page_lin`.
    #[inline]
    pub(crate) fn seen_from(self, page_lin: u64) -> LinearPage {
        LinearPage(self.0.wrapping_sub(page_lin as usize))
    }

    /// Copies `len` bytes forward from `from` to `to`, byte by byte in effect: overlap repeats the pattern, as MOVSB does.
    pub(crate) fn copy_forward(to: HostPage, to_at: usize, from: HostPage, from_at: usize, len: usize, grain: usize) {
        let page = PAGE_SIZE as usize;
        assert!(to_at + len <= page && from_at + len <= page, "bulk copies stay in their pages");
        // SAFETY: both ranges lie in their pages (asserted). `ptr::copy` handles overlap where the destination is below;
        // where it overlaps from above, the copy is done `grain` bytes at a time, ascending.
        unsafe {
            let (d, s) = (to.0.add(to_at), from.0.add(from_at));
            let distance = (d as usize).wrapping_sub(s as usize);
            if distance >= len {
                core::ptr::copy(s, d, len);
            } else {
                let mut i = 0;
                while i < len {
                    let n = grain.min(len - i);
                    let mut element = [0u8; 8];
                    core::ptr::copy_nonoverlapping(s.add(i), element.as_mut_ptr(), n);
                    core::ptr::copy_nonoverlapping(element.as_ptr(), d.add(i), n);
                    i += n;
                }
            }
        }
    }

    /// Fills `len` bytes at `at` with repeated `pattern` of `grain` bytes (little-endian).
    pub(crate) fn fill(self, at: usize, len: usize, pattern: u64, grain: usize) {
        assert!(at + len <= PAGE_SIZE as usize && (1..=8).contains(&grain), "bulk fills stay in their page");
        // SAFETY: the range lies in the page (asserted), and no other reference to the pool is alive.
        let bytes = unsafe { core::slice::from_raw_parts_mut(self.0.add(at), len) };
        let element = pattern.to_le_bytes();
        if element[..grain].iter().all(|&b| b == element[0]) {
            return bytes.fill(element[0]);
        }
        // As many elements as fit, in pieces that the host moves at once.
        let mut piece = [0; 32];
        piece.iter_mut().enumerate().for_each(|(i, b)| *b = element[i % grain]);
        let whole = 32 / grain * grain;
        if whole < 32 {
            return bytes.chunks_mut(whole).for_each(|c| c.copy_from_slice(&piece[..c.len()]));
        }
        let (pieces, rest) = bytes.as_chunks_mut::<32>();
        pieces.iter_mut().for_each(|p| *p = piece);
        rest.copy_from_slice(&piece[..rest.len()]);
    }

    /// As [`Self::copy_forward`], with the last element first: `to_at` and `from_at` are those of the lowest one.
    pub(crate) fn copy_backward(to: HostPage, to_at: usize, from: HostPage, from_at: usize, len: usize, grain: usize) {
        let page = PAGE_SIZE as usize;
        assert!(to_at + len <= page && from_at + len <= page, "bulk copies stay in their pages");
        // SAFETY: both ranges lie in their pages (asserted). Where the source overlaps the destination from above, elements
        // are copied one by one, descending.
        unsafe {
            let (d, s) = (to.0.add(to_at), from.0.add(from_at));
            let distance = (s as usize).wrapping_sub(d as usize);
            if distance >= len {
                core::ptr::copy(s, d, len);
            } else {
                let mut i = len;
                while i > 0 {
                    i -= grain.min(i);
                    let mut element = [0u8; 8];
                    core::ptr::copy_nonoverlapping(s.add(i), element.as_mut_ptr(), grain.min(8));
                    core::ptr::copy_nonoverlapping(element.as_ptr(), d.add(i), grain.min(8));
                }
            }
        }
    }

    /// How many of the `n` elements from `at` on are equal to `value` (or differ from it), one after the other.
    pub(crate) fn run_of<T: Scalar>(self, at: usize, n: usize, value: T, equal: bool) -> usize {
        let differs = |bytes: &[u8]| {
            let elements = bytes.chunks_exact(size_of::<T>());
            // No early end, so that the host compares all of a piece at once.
            elements.fold(false, |any, e| any | ((from_le::<T>(e) == value) != equal))
        };
        let bytes = self.bytes(at, n * size_of::<T>());
        let (pieces, rest) = bytes.as_chunks::<64>();
        let same = pieces.iter().take_while(|p| !differs(*p)).count();
        let stop = if same < pieces.len() { &pieces[same][..] } else { rest };
        let tail = stop.chunks_exact(size_of::<T>()).take_while(|e| (from_le::<T>(e) == value) == equal).count();
        same * 64 / size_of::<T>() + tail
    }

    /// How many of the `n` elements at `at` here and at `other_at` in `other` are equal, one after the other.
    pub(crate) fn common<T: Scalar>(self, at: usize, other: HostPage, other_at: usize, n: usize) -> usize {
        let (a, b) = (self.bytes(at, n * size_of::<T>()), other.bytes(other_at, n * size_of::<T>()));
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<32>(), b.as_chunks::<32>());
        let same = a.iter().zip(b).take_while(|(x, y)| x == y).count();
        let (x, y) = if same < a.len() { (&a[same][..], &b[same][..]) } else { (a_rest, b_rest) };
        let size = size_of::<T>();
        let tail = x.chunks_exact(size).zip(y.chunks_exact(size)).take_while(|(x, y)| x == y).count();
        same * 32 / size + tail
    }

    /// Reads the bytes at `at` into `to`.
    pub(crate) fn copy_out(self, at: usize, to: &mut [u8]) {
        to.copy_from_slice(self.bytes(at, to.len()));
    }

    /// Writes `from` at `at`.
    pub(crate) fn copy_in(self, at: usize, from: &[u8]) {
        assert!(at + from.len() <= PAGE_SIZE as usize, "bulk writes stay in their page");
        // SAFETY: the range lies in the page (asserted), and no other reference to the pool is alive.
        unsafe { core::slice::from_raw_parts_mut(self.0.add(at), from.len()) }.copy_from_slice(from);
    }

    /// The bytes at `at`, while nothing else touches the page.
    fn bytes<'a>(self, at: usize, len: usize) -> &'a [u8] {
        assert!(at + len <= PAGE_SIZE as usize, "bulk reads stay in their page");
        // SAFETY: the range lies in the page (asserted); the callers' shared slices end before anybody writes.
        unsafe { core::slice::from_raw_parts(self.0.add(at), len) }
    }
}

/// A page of the pool, less the linear address that it has: the host address of a byte is the sum of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinearPage(*mut u8);

impl LinearPage {
    /// Leads nowhere: for entries that never match.
    pub(crate) const NONE: LinearPage = LinearPage(core::ptr::null_mut());
    /// Another one, which is not that of any page: those are aligned.
    pub(crate) const UNKNOWN: LinearPage = LinearPage(core::ptr::without_provenance_mut(1));

    /// Reads at linear address `lin`. The caller has checked that the whole access lies in the page.
    #[inline(always)]
    pub(crate) fn read<T: Scalar>(self, lin: u64) -> T {
        // SAFETY: a matching TLB entry's page lies wholly in the pool, and the access in the page (module invariant).
        unsafe { self.0.wrapping_add(lin as usize).cast::<T>().read_unaligned() }.le()
    }

    /// Writes at linear address `lin`. The caller has checked that the whole access lies in the page.
    #[inline(always)]
    pub(crate) fn write<T: Scalar>(self, lin: u64, v: T) {
        // SAFETY: as for `read`; only entries with the write tag reach here, so the page is writable RAM.
        unsafe { self.0.wrapping_add(lin as usize).cast::<T>().write_unaligned(v.le()) }
    }

    /// The page itself, whose linear address is `page_lin`.
    #[inline]
    pub(crate) fn host(self, page_lin: u64) -> HostPage {
        HostPage(self.0.wrapping_add(page_lin as usize))
    }
}

/// The host memory of a machine: one zeroed mapping whose pages cost nothing until they are touched.
pub(crate) struct Pool {
    #[cfg(not(target_arch = "wasm32"))]
    map: memmap2::MmapMut,
    #[cfg(target_arch = "wasm32")]
    map: Box<[u8]>,
    base: *mut u8,
}

impl core::fmt::Debug for Pool {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Pool({} bytes)", self.len())
    }
}

// SAFETY: the pool owns its memory; raw pointers into it are only used by the one thread that owns the machine, which may
// be moved as a whole.
unsafe impl Send for Pool {}
// SAFETY: a `HostPage` is only dereferenced by the machine that owns the pool (see above).
unsafe impl Send for HostPage {}
// SAFETY: the same page, seen from another address.
unsafe impl Send for LinearPage {}

impl Pool {
    /// A pool of `len` zero bytes; `None` if the host can't give that much.
    pub(crate) fn new(len: usize) -> Option<Pool> {
        let len = len.max(PAGE_SIZE as usize).checked_next_multiple_of(PAGE_SIZE as usize)?;
        #[cfg(not(target_arch = "wasm32"))]
        let mut map = memmap2::MmapMut::map_anon(len).ok()?;
        #[cfg(target_arch = "wasm32")]
        let mut map = vec![0u8; len].into_boxed_slice();
        let base = map.as_mut_ptr();
        Some(Pool { map, base })
    }

    /// Bytes in the pool.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// The page at `offset` (rounded down to a page).
    #[inline]
    pub(crate) fn host_page(&self, offset: u64) -> HostPage {
        let offset = (offset & !(PAGE_SIZE - 1)) as usize;
        assert!(offset + PAGE_SIZE as usize <= self.len(), "page outside of the pool");
        // SAFETY: inside the mapping (asserted).
        HostPage(unsafe { self.base.add(offset) })
    }

    /// The bytes at `offset`.
    pub(crate) fn slice(&self, offset: u64, len: usize) -> &[u8] {
        let at = offset as usize;
        assert!(at.checked_add(len).is_some_and(|end| end <= self.len()), "range outside of the pool");
        // SAFETY: inside the mapping (asserted); `&self` keeps `slice_mut` out for as long as the slice lives.
        unsafe { core::slice::from_raw_parts(self.base.add(at), len) }
    }

    /// The pages at `offsets`, to be written; `None` if two of them are the same.
    pub(crate) fn pages_mut<const N: usize>(&mut self, offsets: [u64; N]) -> Option<[&mut [u8; PAGE]; N]> {
        let (pages, _) = self.slice_mut(0, self.len()).as_chunks_mut::<PAGE>();
        pages.get_disjoint_mut(offsets.map(|at| at as usize / PAGE)).ok()
    }

    /// The bytes at `offset`, to be written.
    pub(crate) fn slice_mut(&mut self, offset: u64, len: usize) -> &mut [u8] {
        let at = offset as usize;
        assert!(at.checked_add(len).is_some_and(|end| end <= self.len()), "range outside of the pool");
        // SAFETY: inside the mapping (asserted); `&mut self` makes the reference unique.
        unsafe { core::slice::from_raw_parts_mut(self.base.add(at), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_forward_copy_repeats_the_pattern() {
        let mut pool = Pool::new(4096).unwrap();
        pool.slice_mut(0, 4).copy_from_slice(&[1, 2, 3, 4]);
        let page = pool.host_page(0);
        HostPage::copy_forward(page, 1, page, 0, 6, 1); // MOVSB with the destination one above the source
        assert_eq!(pool.slice(0, 8), [1, 1, 1, 1, 1, 1, 1, 0]);
        pool.slice_mut(0, 8).copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        HostPage::copy_forward(page, 0, page, 2, 6, 2); // downwards: a plain move
        assert_eq!(pool.slice(0, 8), [3, 4, 5, 6, 7, 8, 7, 8]);
    }

    #[test]
    fn overlapping_backward_copy_repeats_the_pattern() {
        let mut pool = Pool::new(4096).unwrap();
        pool.slice_mut(0, 8).copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        let page = pool.host_page(0);
        HostPage::copy_backward(page, 0, page, 1, 6, 1); // STD, MOVSB with the destination one below the source
        assert_eq!(pool.slice(0, 8), [7, 7, 7, 7, 7, 7, 7, 8]);
        pool.slice_mut(0, 8).copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        HostPage::copy_backward(page, 2, page, 0, 6, 2); // upwards: a plain move
        assert_eq!(pool.slice(0, 8), [1, 2, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn fills_scans_and_comparisons_of_any_length() {
        let pool = Pool::new(8192).unwrap();
        let (a, b) = (pool.host_page(0), pool.host_page(4096));
        for n in 1..150 {
            a.fill(3, 4 * n, 0x1122_3344, 4);
            b.fill(5, 4 * n, 0x1122_3344, 4);
            a.write(3 + 4 * n as u64, 7u32);
            assert_eq!(a.run_of(3, n + 1, 0x1122_3344u32, true), n);
            assert_eq!(a.run_of(3, n + 1, 7u32, false), n);
            assert_eq!(a.run_of(3, n, 7u32, false), n);
            assert_eq!(a.common::<u32>(3, b, 5, n + 1), n);
            assert_eq!(a.common::<u8>(3, b, 5, 4 * n), 4 * n);
        }
    }

    #[test]
    fn scalars_are_little_endian() {
        let pool = Pool::new(4096).unwrap();
        pool.host_page(0).write(8, 0x1122_3344u32);
        assert_eq!(pool.slice(8, 4), [0x44, 0x33, 0x22, 0x11]);
        assert_eq!(pool.host_page(0).read::<u16>(9), 0x2233);
    }
}
