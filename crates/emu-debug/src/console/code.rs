//! Instructions at an address: their text, and where they lead.

use emu_core::cpu::Mode;
use iced_x86::{Decoder, DecoderOptions, FlowControl, Formatter, Instruction, IntelFormatter};

use crate::session::{Place, Session};

/// What a step does with the flow of instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// Goes on to the next instruction.
    Plain,
    /// May go elsewhere.
    Jump,
    /// Calls, by CALL, INT or SYSCALL.
    Call,
    /// Returns.
    Return,
    /// No instruction: an interrupt or exception was delivered.
    Delivery,
}

/// An instruction.
pub(super) struct Code {
    /// Its text, in Intel's syntax.
    pub(super) text: String,
    /// Its bytes; none if the address is not mapped.
    pub(super) bytes: Vec<u8>,
    pub(super) flow: Flow,
    /// It has a REP prefix.
    pub(super) repeats: bool,
}

/// The width of code in the present mode.
pub(super) fn bitness(session: &Session) -> u32 {
    match session.machine().system.cpu.mode {
        m if m.has(Mode::CODE64) => 64,
        m if m.has(Mode::CODE32) => 32,
        _ => 16,
    }
}

/// The instruction at linear address `at`.
pub(super) fn code_at(session: &mut Session, at: u64) -> Code {
    let mut bytes = [0; 15];
    let n = session.read_memory(Place::Linear(at), &mut bytes);
    let bits = bitness(session);
    // Targets of jumps are offsets in the code segment.
    let base = if bits == 64 { 0 } else { session.machine().system.cpu.seg[emu_core::cpu::seg::CS].base };
    let ip = at.wrapping_sub(base);
    if n == 0 {
        return Code { text: "(not mapped)".into(), bytes: Vec::new(), flow: Flow::Plain, repeats: false };
    }
    if let [0x0F, 0x3F, service, ..] = bytes
        && session.system().is_firmware_at(at)
    {
        let text = format!("(firmware service {service:02x})");
        return Code { text, bytes: bytes[..3].to_vec(), flow: Flow::Plain, repeats: false };
    }
    let insn = Decoder::with_ip(bits, &bytes[..n], ip, DecoderOptions::NONE).decode();
    let mut text = String::new();
    IntelFormatter::new().format(&insn, &mut text);
    let len = if insn.is_invalid() { 1 } else { insn.len() };
    let repeats = insn.has_rep_prefix() || insn.has_repne_prefix();
    Code { text, bytes: bytes[..len].to_vec(), flow: flow_of(&insn), repeats }
}

fn flow_of(insn: &Instruction) -> Flow {
    match insn.flow_control() {
        FlowControl::Call | FlowControl::IndirectCall | FlowControl::Interrupt => Flow::Call,
        FlowControl::Return => Flow::Return,
        FlowControl::Next | FlowControl::Exception => Flow::Plain,
        _ => Flow::Jump,
    }
}
