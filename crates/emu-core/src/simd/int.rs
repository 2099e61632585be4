//! Packed integer arithmetic whose result lanes depend on the operands' lanes of the same position
//! [SDM-2B P-instructions]. Each type is named after the mnemonic it computes.

use super::{Binary, lane};

macro_rules! lanewise {
    ($($name:ident: $t:ty = |$a:ident, $b:ident| $e:expr;)*) => {$(
        #[doc = concat!("Lanes of ", stringify!($t), ": `", stringify!($e), "`.")]
        #[derive(Debug)]
        pub struct $name;
        impl Binary for $name {
            #[inline]
            fn apply<const N: usize>(a: [u8; N], b: [u8; N]) -> [u8; N] {
                lane::zip::<$t, N>(a, b, |$a, $b| $e)
            }
        }
    )*};
}

lanewise! {
    Paddb: u8 = |a, b| a.wrapping_add(b);
    Paddw: u16 = |a, b| a.wrapping_add(b);
    Paddd: u32 = |a, b| a.wrapping_add(b);
    Paddq: u64 = |a, b| a.wrapping_add(b);
    Paddsb: i8 = |a, b| a.saturating_add(b);
    Paddsw: i16 = |a, b| a.saturating_add(b);
    Paddusb: u8 = |a, b| a.saturating_add(b);
    Paddusw: u16 = |a, b| a.saturating_add(b);
    Psubb: u8 = |a, b| a.wrapping_sub(b);
    Psubw: u16 = |a, b| a.wrapping_sub(b);
    Psubd: u32 = |a, b| a.wrapping_sub(b);
    Psubq: u64 = |a, b| a.wrapping_sub(b);
    Psubsb: i8 = |a, b| a.saturating_sub(b);
    Psubsw: i16 = |a, b| a.saturating_sub(b);
    Psubusb: u8 = |a, b| a.saturating_sub(b);
    Psubusw: u16 = |a, b| a.saturating_sub(b);

    Pmullw: u16 = |a, b| a.wrapping_mul(b);
    Pmulld: u32 = |a, b| a.wrapping_mul(b);
    Pmulhw: i16 = |a, b| ((i32::from(a) * i32::from(b)) >> 16) as i16;
    Pmulhuw: u16 = |a, b| ((u32::from(a) * u32::from(b)) >> 16) as u16;
    Pmulhrsw: i16 = |a, b| (((i32::from(a) * i32::from(b)) >> 14).wrapping_add(1) >> 1) as i16;
    Pavgb: u8 = |a, b| (u16::from(a) + u16::from(b)).div_ceil(2) as u8;
    Pavgw: u16 = |a, b| (u32::from(a) + u32::from(b)).div_ceil(2) as u16;

    Pminub: u8 = |a, b| a.min(b);
    Pminuw: u16 = |a, b| a.min(b);
    Pminud: u32 = |a, b| a.min(b);
    Pminsb: i8 = |a, b| a.min(b);
    Pminsw: i16 = |a, b| a.min(b);
    Pminsd: i32 = |a, b| a.min(b);
    Pmaxub: u8 = |a, b| a.max(b);
    Pmaxuw: u16 = |a, b| a.max(b);
    Pmaxud: u32 = |a, b| a.max(b);
    Pmaxsb: i8 = |a, b| a.max(b);
    Pmaxsw: i16 = |a, b| a.max(b);
    Pmaxsd: i32 = |a, b| a.max(b);

    Pcmpeqb: u8 = |a, b| if a == b { !0 } else { 0 };
    Pcmpeqw: u16 = |a, b| if a == b { !0 } else { 0 };
    Pcmpeqd: u32 = |a, b| if a == b { !0 } else { 0 };
    Pcmpeqq: u64 = |a, b| if a == b { !0 } else { 0 };
    Pcmpgtb: i8 = |a, b| if a > b { !0 } else { 0 };
    Pcmpgtw: i16 = |a, b| if a > b { !0 } else { 0 };
    Pcmpgtd: i32 = |a, b| if a > b { !0 } else { 0 };
    Pcmpgtq: i64 = |a, b| if a > b { !0 } else { 0 };

    Pand: u64 = |a, b| a & b;
    Pandn: u64 = |a, b| !a & b;
    Por: u64 = |a, b| a | b;
    Pxor: u64 = |a, b| a ^ b;

    Psllvd: u32 = |a, b| a.checked_shl(b).unwrap_or(0);
    Psllvq: u64 = |a, b| if b < 64 { a << b } else { 0 };
    Psrlvd: u32 = |a, b| a.checked_shr(b).unwrap_or(0);
    Psrlvq: u64 = |a, b| if b < 64 { a >> b } else { 0 };
    Psravd: i32 = |a, b| a >> (b as u32).min(31);

    Psignb: i8 = |a, b| a.wrapping_mul(b.signum());
    Psignw: i16 = |a, b| a.wrapping_mul(b.signum());
    Psignd: i32 = |a, b| a.wrapping_mul(b.signum());
    Pabsb: i8 = |_a, b| b.wrapping_abs();
    Pabsw: i16 = |_a, b| b.wrapping_abs();
    Pabsd: i32 = |_a, b| b.wrapping_abs();
}
