//! An assembler for real-mode programs: code in one segment, data in another, and which code needs a newer CPU.

use std::ops::{Deref, DerefMut, Range};

use iced_x86::BlockEncoderOptions;
pub(crate) use iced_x86::IcedError;
use iced_x86::code_asm::{CodeAssembler, CodeLabel};

use crate::cp437;

/// What emitting code answers.
pub(crate) type Emit = Result<(), IcedError>;

/// A program being assembled.
pub(crate) struct Asm {
    code: CodeAssembler,
    data: Vec<u8>,
    /// Ranges of instruction numbers that run only after the CPU was found to be a 386 or newer.
    newer: Vec<Range<usize>>,
    /// The number of the instruction that got the last label.
    labelled: Option<usize>,
}

/// An assembled program.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// The code segment, from offset 0.
    pub(crate) code: Vec<u8>,
    /// The data segment, from offset 0.
    pub(crate) data: Vec<u8>,
    /// Offsets of the code that only a 386 or newer runs.
    #[cfg_attr(not(test), allow(dead_code, reason = "the test that no 8086 meets newer instructions reads it"))]
    pub(crate) newer: Vec<Range<u32>>,
}

impl Asm {
    pub(crate) fn new() -> Result<Asm, IcedError> {
        Ok(Asm { code: CodeAssembler::new(16)?, data: Vec::new(), newer: Vec::new(), labelled: None })
    }

    /// Puts `bytes` into the data segment; returns their offset.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> u32 {
        let at = u32::try_from(self.data.len()).unwrap_or(u32::MAX);
        self.data.extend_from_slice(bytes);
        at
    }

    /// Room for `len` bytes, zero at first.
    pub(crate) fn space(&mut self, len: usize) -> u32 {
        self.bytes(&vec![0; len])
    }

    /// A text that ends with a 0, in code page 437.
    pub(crate) fn text(&mut self, text: &str) -> u32 {
        let mut bytes = cp437::encode(text);
        bytes.push(0);
        self.bytes(&bytes)
    }

    /// Emits code that only a 386 or newer will run.
    pub(crate) fn newer(&mut self, emit: impl FnOnce(&mut Asm) -> Emit) -> Emit {
        let start = self.code.instructions().len();
        emit(self)?;
        self.newer.push(start..self.code.instructions().len());
        Ok(())
    }

    /// Puts `label` here. The assembler allows one per instruction: others get an empty one.
    pub(crate) fn here(&mut self, label: &mut CodeLabel) -> Emit {
        if self.labelled == Some(self.code.instructions().len()) {
            self.code.zero_bytes()?;
        }
        self.labelled = Some(self.code.instructions().len());
        self.code.set_label(label)
    }

    /// A new label, put here.
    pub(crate) fn mark(&mut self) -> Result<CodeLabel, IcedError> {
        let mut label = self.code.create_label();
        self.here(&mut label)?;
        Ok(label)
    }

    /// The program.
    pub(crate) fn finish(mut self) -> Result<Program, IcedError> {
        let result = self.code.assemble_options(0, BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS)?;
        let offsets = &result.inner.new_instruction_offsets;
        let end = u32::try_from(result.inner.code_buffer.len()).unwrap_or(u32::MAX);
        let offset = |n: usize| offsets.get(n).copied().unwrap_or(end);
        let newer = self.newer.iter().map(|r| offset(r.start)..offset(r.end)).collect();
        Ok(Program { code: result.inner.code_buffer, data: self.data, newer })
    }
}

impl Deref for Asm {
    type Target = CodeAssembler;
    fn deref(&self) -> &CodeAssembler {
        &self.code
    }
}

impl DerefMut for Asm {
    fn deref_mut(&mut self) -> &mut CodeAssembler {
        &mut self.code
    }
}
