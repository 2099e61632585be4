//! Reader of MOO files: single-step tests captured from real CPUs (the format is in the samples' README).

use std::io::Read;
use std::path::Path;

/// Registers in the order of a REGS chunk's mask.
pub(crate) const REGS16: usize = 14;
/// Registers in the order of an RG32 chunk's mask.
pub(crate) const REGS32: usize = 20;

/// A machine state: the registers that it names, and bytes of memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) regs: [Option<u32>; REGS32],
    pub(crate) ram: Vec<(u32, u8)>,
}

/// One test case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) initial: State,
    pub(crate) last: State,
    /// Vector of an exception, and the address of the flags that it pushed.
    pub(crate) exception: Option<(u8, u32)>,
}

fn u32_at(b: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(b[at..at + 4].try_into().unwrap())
}

/// Calls `f` with the id and payload of every chunk.
fn chunks(mut b: &[u8], mut f: impl FnMut(&[u8], &[u8])) {
    while b.len() >= 8 {
        let len = u32_at(b, 4) as usize;
        f(&b[..4], &b[8..8 + len]);
        b = &b[8 + len..];
    }
}

fn registers(b: &[u8], wide: bool, regs: &mut [Option<u32>]) {
    let mask = if wide { u32_at(b, 0) } else { u16::from_le_bytes([b[0], b[1]]).into() };
    let size = if wide { 4 } else { 2 };
    let mut at = size;
    for (i, r) in regs.iter_mut().enumerate() {
        if mask >> i & 1 != 0 {
            *r = Some(if wide { u32_at(b, at) } else { u16::from_le_bytes([b[at], b[at + 1]]).into() });
            at += size;
        }
    }
}

fn state(b: &[u8]) -> State {
    let mut s = State::default();
    chunks(b, |id, b| match id {
        b"REGS" => registers(b, false, &mut s.regs[..REGS16]),
        b"RG32" => registers(b, true, &mut s.regs),
        b"RAM " => s.ram = (0..u32_at(b, 0) as usize).map(|i| (u32_at(b, 4 + 5 * i), b[8 + 5 * i])).collect(),
        _ => {}
    });
    s
}

fn case(b: &[u8]) -> Case {
    let mut c = Case::default();
    chunks(&b[4..], |id, b| match id {
        b"NAME" => c.name = String::from_utf8_lossy(&b[4..]).into_owned(),
        b"BYTS" => c.bytes = b[4..].to_vec(),
        b"INIT" => c.initial = state(b),
        b"FINA" => c.last = state(b),
        b"EXCP" => c.exception = Some((b[0], u32_at(b, 1))),
        _ => {}
    });
    c
}

/// All cases of a gzipped file, with the register mask of its own, if any.
pub(crate) fn read(path: &Path) -> (Vec<Case>, State) {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    let (mut cases, mut mask) = (Vec::new(), State::default());
    chunks(&bytes, |id, b| match id {
        b"TEST" => cases.push(case(b)),
        b"RM32" => registers(b, true, &mut mask.regs),
        b"RMSK" => registers(b, false, &mut mask.regs[..REGS16]),
        _ => {}
    });
    (cases, mask)
}
