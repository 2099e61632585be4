//! Vectors of bytes seen as lanes of a width: the loops that every packed operation shares.

/// An integer that fills one lane of a vector, little-endian.
pub trait Lane: Copy {
    /// Bytes in a lane.
    const SIZE: usize;
    /// Lane `i` of `v`; `i` must be below `N / SIZE`.
    fn get<const N: usize>(v: &[u8; N], i: usize) -> Self;
    /// Store into lane `i` of `v`; `i` must be below `N / SIZE`.
    fn put<const N: usize>(self, v: &mut [u8; N], i: usize);
}

macro_rules! lanes {
    ($($t:ty)*) => {$(
        impl Lane for $t {
            const SIZE: usize = size_of::<$t>();
            #[inline(always)]
            fn get<const N: usize>(v: &[u8; N], i: usize) -> $t {
                let mut bytes = [0; size_of::<$t>()];
                bytes.copy_from_slice(&v[i * Self::SIZE..][..Self::SIZE]);
                <$t>::from_le_bytes(bytes)
            }
            #[inline(always)]
            fn put<const N: usize>(self, v: &mut [u8; N], i: usize) {
                v[i * Self::SIZE..][..Self::SIZE].copy_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}
lanes!(u8 i8 u16 i16 u32 i32 u64 i64);

/// Number of lanes of type `T` in a vector of `N` bytes.
#[inline(always)]
pub const fn count<T: Lane, const N: usize>() -> usize {
    N / T::SIZE
}

/// A vector whose lane `i` is `f(i)`.
#[inline(always)]
pub fn build<T: Lane, const N: usize>(mut f: impl FnMut(usize) -> T) -> [u8; N] {
    let mut out = [0; N];
    for i in 0..count::<T, N>() {
        f(i).put(&mut out, i);
    }
    out
}

/// `f` of each lane of `a`.
#[inline(always)]
pub fn map<T: Lane, const N: usize>(a: [u8; N], f: impl Fn(T) -> T) -> [u8; N] {
    build(|i| f(T::get(&a, i)))
}

/// `f` of the lanes of `a` and `b` pairwise.
#[inline(always)]
pub fn zip<T: Lane, const N: usize>(a: [u8; N], b: [u8; N], f: impl Fn(T, T) -> T) -> [u8; N] {
    build(|i| f(T::get(&a, i), T::get(&b, i)))
}

/// The top bit of each lane, lane 0 in bit 0 (PMOVMSKB, MOVMSKPS, MOVMSKPD) [SDM-2B].
#[inline]
pub fn sign_mask<T: Lane, const N: usize>(a: [u8; N]) -> u32 {
    let per_quadword = 8 / T::SIZE;
    (0..N / 8).fold(0, |mask, i| mask | tops::<T>(u64::get(&a, i)) << (i * per_quadword))
}

/// The top bits of a quadword's lanes.
#[inline(always)]
fn tops<T: Lane>(v: u64) -> u32 {
    match T::SIZE {
        // The product moves bit 8k to bit 56 + k, and no two of its terms meet above bit 55.
        1 => ((v >> 7 & 0x0101_0101_0101_0101).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32,
        2 => ((v >> 15 & 0x0001_0001_0001_0001).wrapping_mul(0x1000_2000_4000_8000) >> 60) as u32,
        4 => (v >> 31 & 1 | v >> 62 & 2) as u32,
        _ => (v >> 63) as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn masks_have_the_top_bit_of_each_lane(v: [u8; 16]) {
            let slow = |size: usize| {
                (0..16 / size).fold(0, |mask, i| mask | u32::from(v[(i + 1) * size - 1] >> 7) << i)
            };
            prop_assert_eq!(sign_mask::<u8, 16>(v), slow(1));
            prop_assert_eq!(sign_mask::<u16, 16>(v), slow(2));
            prop_assert_eq!(sign_mask::<u32, 16>(v), slow(4));
            prop_assert_eq!(sign_mask::<u64, 16>(v), slow(8));
        }
    }
}
