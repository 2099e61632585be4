//! The registers of a user program, and their places in an XSAVE area.

/// Integer registers by number.
pub(crate) const GPR_NAMES: [&str; 16] =
    ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];

/// Registers of one case. Wide ones are little-endian bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
    pub(crate) gpr: [u64; 16],
    pub(crate) rip: u64,
    /// EFLAGS without bit 1 and IF.
    pub(crate) flags: u32,
    pub(crate) fcw: u16,
    pub(crate) fsw: u16,
    /// Abridged tags: bit p is physical register p in use.
    pub(crate) ftw: u8,
    /// From the top of the stack on: significand, then sign and exponent.
    pub(crate) st: [[u8; 10]; 8],
    pub(crate) mxcsr: u32,
    pub(crate) ymm: [[u8; 32]; 16],
}

impl Default for State {
    fn default() -> State {
        State {
            gpr: [0; 16],
            rip: 0,
            flags: 0,
            fcw: 0x37f,
            fsw: 0,
            ftw: 0,
            st: [[0; 10]; 8],
            mxcsr: 0x1f80,
            ymm: [[0; 32]; 16],
        }
    }
}

/// Places in the XSAVE area in standard form [SDM-1 13.4].
const FCW: usize = 0;
const FSW: usize = 2;
const FTW: usize = 4;
const MXCSR: usize = 24;
const ST: usize = 32;
const XMM: usize = 160;
const XSTATE_BV: usize = 512;
/// Where AVX's upper halves are on all CPUs that have them.
const YMM_HIGH: usize = 576;
/// Bytes of an area with AVX state.
const WITH_AVX: usize = 832;

impl State {
    /// Fills an XSAVE area; components other than x87, SSE and AVX are marked as initial.
    pub(crate) fn put_xsave(&self, area: &mut [u8]) {
        area.fill(0);
        area[FCW..FCW + 2].copy_from_slice(&self.fcw.to_le_bytes());
        area[FSW..FSW + 2].copy_from_slice(&self.fsw.to_le_bytes());
        area[FTW] = self.ftw;
        area[MXCSR..MXCSR + 4].copy_from_slice(&self.mxcsr.to_le_bytes());
        for (n, st) in self.st.iter().enumerate() {
            area[ST + 16 * n..][..10].copy_from_slice(st);
        }
        let avx = area.len() >= WITH_AVX;
        for (n, ymm) in self.ymm.iter().enumerate() {
            area[XMM + 16 * n..][..16].copy_from_slice(&ymm[..16]);
            if avx {
                area[YMM_HIGH + 16 * n..][..16].copy_from_slice(&ymm[16..]);
            }
        }
        area[XSTATE_BV] = if avx { 7 } else { 3 };
    }

    /// Takes x87, SSE and AVX registers from an XSAVE area. A component that is marked as initial is so.
    pub(crate) fn take_xsave(&mut self, area: &[u8]) {
        let initial = State::default();
        let present = area[XSTATE_BV];
        let word = |at: usize| u16::from_le_bytes([area[at], area[at + 1]]);
        if present & 1 != 0 {
            (self.fcw, self.fsw, self.ftw) = (word(FCW), word(FSW), area[FTW]);
            for (n, st) in self.st.iter_mut().enumerate() {
                st.copy_from_slice(&area[ST + 16 * n..][..10]);
            }
        } else {
            (self.fcw, self.fsw, self.ftw, self.st) = (initial.fcw, initial.fsw, initial.ftw, initial.st);
        }
        // MXCSR is there whenever SSE or AVX is [SDM-1 13.5.2].
        self.mxcsr =
            if present & 6 != 0 { u32::from(word(MXCSR)) | u32::from(word(MXCSR + 2)) << 16 } else { initial.mxcsr };
        for (n, ymm) in self.ymm.iter_mut().enumerate() {
            *ymm = [0; 32];
            if present & 2 != 0 {
                ymm[..16].copy_from_slice(&area[XMM + 16 * n..][..16]);
            }
            if present & 4 != 0 && area.len() >= WITH_AVX {
                ymm[16..].copy_from_slice(&area[YMM_HIGH + 16 * n..][..16]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn area_and_registers_are_each_others_inverse() {
        let mut state = State { fcw: 0x123, fsw: 0x3800, ftw: 0x81, mxcsr: 0x7f80, ..State::default() };
        for n in 0..16 {
            state.ymm[n] = std::array::from_fn(|i| (n * 32 + i) as u8);
            state.st[n / 2] = std::array::from_fn(|i| (n * 10 + i) as u8);
        }
        for length in [WITH_AVX, 2696] {
            let (mut area, mut read) = (vec![0xee; length], State::default());
            state.put_xsave(&mut area);
            read.take_xsave(&area);
            assert_eq!(read, state);
        }
        let mut read = state.clone();
        read.take_xsave(&[0; WITH_AVX]);
        assert_eq!(read, State::default(), "an area that is all initial");
    }
}
