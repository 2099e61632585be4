//! SingleStepTests in MOO files, version 1: captures of real CPUs, one instruction each, in real mode.
//!
//! A file is a sequence of chunks: a four-byte id, a 32-bit length, a payload; little-endian throughout. `MOO ` comes
//! first (version, number of tests, CPU id); `RMSK` and `RM32` are register masks; a `TEST` holds chunks of its own
//! (`NAME`, `BYTS`, `INIT`, `FINA`, `EXCP`), of which the states hold chunks again (`REGS` or `RG32`, `RAM `). Chunks with
//! another id are skipped.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Cases, SuiteError};
use crate::{Case, End, Environment, Mask, MaskSource, Reg, State};

/// Bits of FLAGS that mean something in real mode, on all CPUs of the suites.
pub(super) const FLAGS: u64 = 0xFFF;

/// Registers of a `REGS` chunk, by their bit in its mask.
const REGS: [Reg; 14] = [
    Reg::Rax,
    Reg::Rbx,
    Reg::Rcx,
    Reg::Rdx,
    Reg::Cs,
    Reg::Ss,
    Reg::Ds,
    Reg::Es,
    Reg::Rsp,
    Reg::Rbp,
    Reg::Rsi,
    Reg::Rdi,
    Reg::Rip,
    Reg::Rflags,
];
/// Registers of an `RG32` chunk.
const REGS32: [Reg; 20] = [
    Reg::Cr0,
    Reg::Cr3,
    Reg::Rax,
    Reg::Rbx,
    Reg::Rcx,
    Reg::Rdx,
    Reg::Rsi,
    Reg::Rdi,
    Reg::Rbp,
    Reg::Rsp,
    Reg::Cs,
    Reg::Ds,
    Reg::Es,
    Reg::Fs,
    Reg::Gs,
    Reg::Ss,
    Reg::Rip,
    Reg::Rflags,
    Reg::Dr6,
    Reg::Dr7,
];

/// A MOO file in memory.
#[derive(Debug)]
pub struct Moo {
    path: PathBuf,
    data: Vec<u8>,
    at: usize,
    cpu: String,
    /// Tests that the header promises, and how many have come.
    promised: u32,
    seen: u32,
    row: Arc<str>,
    masks: Vec<Mask>,
    /// Cases end on an HLT.
    halts: bool,
}

/// The payload of a chunk: its place in the file.
#[derive(Clone, Copy)]
struct Chunk {
    id: [u8; 4],
    start: usize,
    end: usize,
}

impl Moo {
    /// Takes the unpacked contents of a file. `row` names its opcode; `masks` are the suite's for it, and hold unless the
    /// file has its own.
    ///
    /// # Errors
    /// It does not begin as a MOO file of version 1 does.
    pub fn new(path: &Path, data: Vec<u8>, row: &str, masks: Vec<Mask>) -> Result<Moo, SuiteError> {
        let mut moo = Moo {
            path: path.to_owned(),
            data,
            at: 0,
            cpu: String::new(),
            promised: 0,
            seen: 0,
            row: row.into(),
            masks,
            halts: false,
        };
        let header = moo.chunk(0, moo.data.len())?;
        if header.id != *b"MOO " || header.end - header.start < 12 {
            return Err(moo.error(0, "it does not begin with a MOO header"));
        }
        let version = moo.data[header.start];
        if version != 1 {
            return Err(moo.error(header.start, format!("version {version} of the MOO format is not known")));
        }
        moo.promised = moo.u32(header.start + 4, header.end)?;
        moo.cpu = String::from_utf8_lossy(&moo.data[header.start + 8..header.start + 12]).trim().to_owned();
        moo.at = header.end;
        Ok(moo)
    }

    /// The id of the CPU that the cases were captured from, as the header has it.
    #[must_use]
    pub fn cpu(&self) -> &str {
        &self.cpu
    }

    /// Tests that the header promises.
    #[must_use]
    pub fn promised(&self) -> u32 {
        self.promised
    }

    /// Tells whether cases end on an HLT, as those of the 286 and 386 do, or after one instruction.
    pub fn set_halts(&mut self, halts: bool) {
        self.halts = halts;
    }

    fn error(&self, at: usize, what: impl Into<String>) -> SuiteError {
        SuiteError::at(&self.path, at as u64, what)
    }

    /// The chunk at `at`, which must end at `end` at the latest.
    fn chunk(&self, at: usize, end: usize) -> Result<Chunk, SuiteError> {
        let Some(head) = self.data[..end].get(at..at + 8) else {
            return Err(self.error(at, "the file ends in the head of a chunk"));
        };
        let id = [head[0], head[1], head[2], head[3]];
        let len = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let start = at + 8;
        if len > end - start {
            let name = String::from_utf8_lossy(&id).into_owned();
            let left = end - start;
            return Err(self.error(at, format!("chunk {name:?} claims {len} bytes where {left} are left")));
        }
        Ok(Chunk { id, start, end: start + len })
    }

    fn u32(&self, at: usize, end: usize) -> Result<u32, SuiteError> {
        match self.data[..end].get(at..at + 4) {
            Some(b) => Ok(u32::from_le_bytes([b[0], b[1], b[2], b[3]])),
            None => Err(self.error(at, "a chunk is too short for what it must hold")),
        }
    }

    fn u16(&self, at: usize, end: usize) -> Result<u16, SuiteError> {
        match self.data[..end].get(at..at + 2) {
            Some(b) => Ok(u16::from_le_bytes([b[0], b[1]])),
            None => Err(self.error(at, "a chunk is too short for what it must hold")),
        }
    }

    /// A `NAME` or `BYTS`: a 32-bit length, and as many bytes.
    fn counted(&self, c: Chunk) -> Result<&[u8], SuiteError> {
        let len = self.u32(c.start, c.end)? as usize;
        let start = c.start + 4;
        if len > c.end - start {
            return Err(self.error(c.start, format!("it counts {len} bytes where {} are left", c.end - start)));
        }
        Ok(&self.data[start..start + len])
    }

    /// A register chunk's values, in the order of its mask.
    fn registers(&self, c: Chunk, mut set: impl FnMut(Reg, u64)) -> Result<(), SuiteError> {
        let wide = matches!(&c.id, b"RG32" | b"RM32");
        let (mask, size) = if wide { (self.u32(c.start, c.end)?, 4) } else { (self.u16(c.start, c.end)?.into(), 2) };
        let names: &[Reg] = if wide { &REGS32 } else { &REGS };
        if mask >> names.len() != 0 {
            return Err(self.error(c.start, format!("register mask {mask:x}h names registers that there are not")));
        }
        let mut at = c.start + size;
        for (i, reg) in names.iter().enumerate().filter(|(i, _)| mask >> i & 1 != 0) {
            let _ = i;
            let value = if wide { self.u32(at, c.end)? } else { self.u16(at, c.end)?.into() };
            set(*reg, value.into());
            at += size;
        }
        Ok(())
    }

    fn state(&self, c: Chunk, state: &mut State) -> Result<(), SuiteError> {
        state.clear();
        let mut at = c.start;
        while at < c.end {
            let part = self.chunk(at, c.end)?;
            match &part.id {
                b"REGS" | b"RG32" => self.registers(part, |reg, v| state.set(reg, v))?,
                b"RAM " => self.ram(part, state)?,
                _ => {}
            }
            at = part.end;
        }
        Ok(())
    }

    fn ram(&self, c: Chunk, state: &mut State) -> Result<(), SuiteError> {
        let n = self.u32(c.start, c.end)? as usize;
        let entries = &self.data[c.start + 4..c.end];
        if n > entries.len() / 5 {
            return Err(self.error(c.start, format!("it counts {n} bytes of memory where {} fit", entries.len() / 5)));
        }
        let entry = |e: &[u8]| (u32::from_le_bytes([e[0], e[1], e[2], e[3]]).into(), e[4]);
        state.memory.extend(entries[..5 * n].chunks_exact(5).map(entry));
        Ok(())
    }

    /// A mask chunk of the file itself: it holds for all tests, in place of the suite's.
    fn mask(&mut self, c: Chunk) -> Result<(), SuiteError> {
        let id = String::from_utf8_lossy(&c.id).into_owned();
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let source = MaskSource::Suite(format!("{id} chunk of {name}").into());
        let mut masks = Vec::new();
        let all = if c.id == *b"RM32" { 0xFFFF_FFFF } else { 0xFFFF };
        self.registers(c, |reg, keep| {
            if keep != all {
                masks.push(Mask { reg, undefined: !keep & all, source: source.clone() });
            }
        })?;
        self.masks = masks;
        Ok(())
    }

    fn test(&self, c: Chunk, case: &mut Case) -> Result<(), SuiteError> {
        case.index = self.u32(c.start, c.end)?.into();
        case.name.clear();
        case.code.clear();
        (case.exception, case.pushed_flags) = (None, None);
        let (mut at, mut found) = (c.start + 4, 0);
        while at < c.end {
            let part = self.chunk(at, c.end)?;
            match &part.id {
                b"NAME" => case.name.push_str(&String::from_utf8_lossy(self.counted(part)?)),
                b"BYTS" => case.code.extend_from_slice(self.counted(part)?),
                b"INIT" => self.state(part, &mut case.initial).map(|()| found |= 1)?,
                b"FINA" => self.state(part, &mut case.last).map(|()| found |= 2)?,
                b"EXCP" => match self.data.get(part.start) {
                    Some(vector) if part.end > part.start => case.exception = Some(*vector),
                    _ => return Err(self.error(part.start, "the exception has no vector")),
                },
                _ => {}
            }
            at = part.end;
        }
        if found != 3 {
            return Err(self.error(c.start, "a test has no initial or no final state"));
        }
        if let Some(reg) = [Reg::Cs, Reg::Rip, Reg::Rflags, Reg::Rsp].iter().find(|r| case.initial.get(**r).is_none()) {
            return Err(self.error(c.start, format!("a test's initial state lacks {}", reg.name())));
        }
        Ok(())
    }
}

/// Where an interrupt or exception pushed FLAGS, if the case shows one: it is masked like the register. The files' own
/// address is not used: the 286 suite's is rounded down to an even one.
pub(super) fn find_pushed_flags(case: &mut Case) {
    let (before, after) = (&case.initial, &case.last);
    let now = |reg| after.get(reg).or(before.get(reg)).unwrap_or(0);
    let (sp, ss) = (now(Reg::Rsp) & 0xFFFF, now(Reg::Ss));
    let pushed_three = before.get(Reg::Rsp).unwrap_or(0).wrapping_sub(6) & 0xFFFF == sp;
    if case.exception.is_some() || (pushed_three && after.get(Reg::Cs).is_some()) {
        case.pushed_flags = Some((ss << 4) + ((sp + 4) & 0xFFFF));
    }
}

impl Cases for Moo {
    fn error_here(&self, what: String) -> SuiteError {
        SuiteError::at(&self.path, self.at.min(self.data.len()) as u64, what)
    }

    fn next(&mut self, case: &mut Case) -> Result<bool, SuiteError> {
        while self.at < self.data.len() {
            let chunk = self.chunk(self.at, self.data.len());
            // After an error there is nothing to be found behind it.
            self.at = chunk.as_ref().map_or(self.data.len(), |c| c.end);
            let chunk = chunk?;
            match &chunk.id {
                b"RMSK" | b"RM32" => self.mask(chunk)?,
                b"TEST" => {
                    if self.seen == 0 {
                        (case.environment, case.status) = (Environment::Real, FLAGS);
                        case.end = if self.halts { End::Halt } else { End::Step };
                        (case.row, case.masks) = (self.row.clone(), self.masks.clone());
                    }
                    self.seen += 1;
                    self.test(chunk, case)?;
                    find_pushed_flags(case);
                    return Ok(true);
                }
                _ => {}
            }
        }
        if self.seen != self.promised {
            let (promised, seen) = (self.promised, self.seen);
            self.seen = promised;
            return Err(
                self.error(self.data.len(), format!("the header promises {promised} tests, and there are {seen}"))
            );
        }
        Ok(false)
    }
}
