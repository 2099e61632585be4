//! The state of a CPU as test cases speak of it: named registers, and bytes of memory.

use emu_core::fpu::F80;

macro_rules! registers {
    ($($name:ident = $text:literal,)*) => {
        /// A register that holds an integer.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[allow(missing_docs, reason = "the names are the SDM's")]
        pub enum Reg { $($name,)* }

        impl Reg {
            /// All of them, in the order of their numbers: general registers first, as they are encoded.
            pub const ALL: &[Reg] = &[$(Reg::$name,)*];

            /// Its name, in the width of 64-bit mode.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Reg::$name => $text,)* }
            }
        }
    };
}

registers! {
    Rax = "rax", Rcx = "rcx", Rdx = "rdx", Rbx = "rbx", Rsp = "rsp", Rbp = "rbp", Rsi = "rsi", Rdi = "rdi",
    R8 = "r8", R9 = "r9", R10 = "r10", R11 = "r11", R12 = "r12", R13 = "r13", R14 = "r14", R15 = "r15",
    Rip = "rip", Rflags = "rflags",
    Es = "es", Cs = "cs", Ss = "ss", Ds = "ds", Fs = "fs", Gs = "gs",
    Cr0 = "cr0", Cr2 = "cr2", Cr3 = "cr3", Cr4 = "cr4", Dr6 = "dr6", Dr7 = "dr7",
    Mxcsr = "mxcsr", Fcw = "fcw", Fsw = "fsw", Ftw = "ftw",
}

impl Reg {
    /// General register `n` (0 to 15), as it is encoded.
    ///
    /// # Panics
    /// If there is no such register.
    #[must_use]
    pub fn general(n: usize) -> Reg {
        assert!(n < 16, "general registers are 0 to 15");
        Reg::ALL[n]
    }

    /// Segment register `n` (0 to 5), as it is encoded.
    ///
    /// # Panics
    /// If there is no such register.
    #[must_use]
    pub fn segment(n: usize) -> Reg {
        assert!(n < 6, "segment registers are 0 to 5");
        Reg::ALL[Reg::Es as usize + n]
    }

    /// The register called `name`, in any width: `rax`, `eax` and `ax` are the same.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Reg> {
        let is = |r: &&Reg| {
            let wide = r.name();
            let narrower = wide.starts_with('r') && wide.len() >= 3 && !wide.as_bytes()[1].is_ascii_digit();
            wide == name || narrower && (name == &wide[1..] || name.strip_prefix('e') == Some(&wide[1..]))
        };
        Reg::ALL.iter().find(is).copied()
    }
}

/// Where a value of a state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// An integer register.
    Reg(Reg),
    /// x87 register ST(i); MMi is the significand of the one whose physical number is i.
    St(u8),
    /// YMM register, XMM in its low half.
    Ymm(u8),
    /// A byte of memory, by linear address.
    Byte(u64),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Reg(r) => f.write_str(r.name()),
            Place::St(i) => write!(f, "st({i})"),
            Place::Ymm(i) => write!(f, "ymm{i}"),
            Place::Byte(at) => write!(f, "[{at:x}]"),
        }
    }
}

const REGS: usize = Reg::ALL.len();
const ST: u32 = 40;
const YMM: u32 = 48;

/// Values of registers, as many as are named, and bytes of memory.
///
/// Integers are zero-extended to 64 bits. x87 registers are in the order of FXSAVE: ST(0) is first whatever TOP is. `Ftw`
/// is FXSAVE's abridged tag word: a bit for each *physical* register, set if it is in use.
#[derive(Clone, Debug)]
pub struct State {
    /// A bit for every register that has a value here.
    named: u64,
    ints: [u64; REGS],
    st: [F80; 8],
    ymm: [[u128; 2]; 16],
    /// Bytes of memory: linear address, value. Where an address comes twice the later one holds.
    pub memory: Vec<(u64, u8)>,
}

impl Default for State {
    fn default() -> State {
        State::new()
    }
}

impl State {
    /// A state that says nothing.
    #[must_use]
    pub fn new() -> State {
        State { named: 0, ints: [0; REGS], st: [F80::ZERO; 8], ymm: [[0; 2]; 16], memory: Vec::new() }
    }

    /// Forgets everything, but keeps its room.
    pub fn clear(&mut self) {
        self.named = 0;
        self.memory.clear();
    }

    /// The value of `reg`, if it has one.
    #[inline]
    #[must_use]
    pub fn get(&self, reg: Reg) -> Option<u64> {
        (self.named >> reg as u8 & 1 != 0).then(|| self.ints[reg as usize])
    }

    /// Gives `reg` a value.
    #[inline]
    pub fn set(&mut self, reg: Reg, value: u64) {
        self.named |= 1 << reg as u8;
        self.ints[reg as usize] = value;
    }

    /// The value of ST(`i`), if it has one.
    #[must_use]
    pub fn st(&self, i: usize) -> Option<F80> {
        (self.named >> (ST + i as u32) & 1 != 0).then(|| self.st[i])
    }

    /// Gives ST(`i`) a value.
    pub fn set_st(&mut self, i: usize, value: F80) {
        self.named |= 1 << (ST + i as u32);
        self.st[i] = value;
    }

    /// The value of YMM`i`, low half first, if it has one.
    #[must_use]
    pub fn ymm(&self, i: usize) -> Option<[u128; 2]> {
        (self.named >> (YMM + i as u32) & 1 != 0).then(|| self.ymm[i])
    }

    /// Gives YMM`i` a value, low half first.
    pub fn set_ymm(&mut self, i: usize, value: [u128; 2]) {
        self.named |= 1 << (YMM + i as u32);
        self.ymm[i] = value;
    }

    /// The byte at a linear address, if it has a value.
    #[must_use]
    pub fn byte(&self, at: u64) -> Option<u8> {
        self.memory.iter().rev().find(|b| b.0 == at).map(|b| b.1)
    }

    /// Appends `bytes` at a linear address.
    pub fn set_bytes(&mut self, at: u64, bytes: &[u8]) {
        self.memory.extend(bytes.iter().enumerate().map(|(i, b)| (at.wrapping_add(i as u64), *b)));
    }

    /// Whether any of ST(0) to ST(7), or of YMM0 to YMM15, has a value.
    #[must_use]
    pub fn names_vectors(&self) -> bool {
        self.named >> ST != 0
    }

    /// The registers that have a value, in order.
    pub fn places(&self) -> impl Iterator<Item = Place> + use<> {
        let mut left = self.named;
        std::iter::from_fn(move || {
            let n = left.trailing_zeros();
            left &= left.wrapping_sub(1);
            match n {
                64 => None,
                YMM.. => Some(Place::Ymm((n - YMM) as u8)),
                ST.. => Some(Place::St((n - ST) as u8)),
                n => Some(Place::Reg(Reg::ALL[n as usize])),
            }
        })
    }

    /// Names the registers that either of two states names, without values yet: what a target shall read back.
    pub fn ask_for(&mut self, a: &State, b: &State) {
        self.named = a.named | b.named;
    }

    /// The value of a place in 256 bits, low half first; an x87 register in 80.
    #[must_use]
    pub fn value(&self, place: Place) -> Option<[u128; 2]> {
        match place {
            Place::Reg(r) => self.get(r).map(|v| [v.into(), 0]),
            Place::St(i) => self.st(i.into()).map(|v| [u128::from(v.sign_exp) << 64 | u128::from(v.sig), 0]),
            Place::Ymm(i) => self.ymm(i.into()),
            Place::Byte(at) => self.byte(at).map(|v| [v.into(), 0]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_go_by_any_width() {
        for (name, reg) in [("rax", Reg::Rax), ("eax", Reg::Rax), ("ax", Reg::Rax), ("flags", Reg::Rflags)] {
            assert_eq!(Reg::by_name(name), Some(reg), "{name}");
        }
        for (name, reg) in [("r8", Reg::R8), ("cs", Reg::Cs), ("eip", Reg::Rip), ("cr0", Reg::Cr0), ("sp", Reg::Rsp)] {
            assert_eq!(Reg::by_name(name), Some(reg), "{name}");
        }
        for name in ["", "8", "e8", "xax", "es2"] {
            assert_eq!(Reg::by_name(name), None, "{name}");
        }
        assert_eq!((Reg::general(15), Reg::segment(5)), (Reg::R15, Reg::Gs));
    }

    #[test]
    fn states_name_what_they_hold() {
        let mut s = State::new();
        s.set(Reg::Rip, 7);
        s.set_st(7, F80::ONE);
        s.set_ymm(15, [1, 2]);
        s.set_bytes(u64::MAX, &[1, 2]);
        s.set_bytes(0, &[3]);
        let places: Vec<_> = s.places().collect();
        assert_eq!(places, [Place::Reg(Reg::Rip), Place::St(7), Place::Ymm(15)]);
        assert_eq!((s.byte(0), s.byte(u64::MAX), s.byte(1)), (Some(3), Some(1), None));
        assert_eq!(s.value(Place::Ymm(15)), Some([1, 2]));
        let mut other = State::new();
        other.ask_for(&s, &State::new());
        assert_eq!(other.places().count(), 3);
        s.clear();
        assert_eq!(s.places().count() + s.memory.len(), 0);
    }
}
