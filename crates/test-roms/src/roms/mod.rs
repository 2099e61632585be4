//! Small test programs: boot sectors that print what they found on the debug console (port E9h) and leave through the
//! exit port (F4h). They run from a floppy under any BIOS, or loaded to 0000:7C00h without one.

mod arithmetic;
mod bugs;
mod desk;
mod irq;
mod modules;
mod paging;
mod pointer;
mod smc;
mod writer;

pub use bugs::{Bug, FOUND, MAGIC, STRUCTURE, bugs};
pub use desk::desk_floppy;
use iced_x86::code_asm::*;
pub use modules::modules_kernel;
pub use pointer::{POINTER_MOVES, POINTER_READY, pointer};
pub use writer::{writer_floppy, written};

use crate::asm::{Emit, IcedError};
use crate::floppy::{FLOPPY_BYTES, boot_sector};

/// Where a BIOS loads a boot sector.
const LOADED: u64 = 0x7C00;
/// What a program exits with when it went to its end.
const DONE: u8 = 0x2A;

/// A test program and what it must do on any PC from the 80386 on.
#[derive(Clone, Debug)]
pub struct Rom {
    /// Its name.
    pub name: &'static str,
    /// The boot sector: 512 bytes.
    pub sector: Vec<u8>,
    /// All that it must print.
    pub output: String,
    /// The value that it must write to the exit port.
    pub exit: u8,
}

impl Rom {
    /// The program on a 1.44 MB floppy.
    #[must_use]
    pub fn floppy(&self) -> Vec<u8> {
        let mut image = self.sector.clone();
        image.resize(FLOPPY_BYTES, 0);
        image
    }
}

/// All test programs.
///
/// # Panics
/// If one can't be assembled: they have no input, so this crate's tests find that.
#[must_use]
#[expect(clippy::expect_used, reason = "programs without input, assembled by this crate's tests")]
pub fn all() -> Vec<Rom> {
    let roms = [
        rom("arithmetic", arithmetic::emit, arithmetic::expected()),
        rom("self-modifying loop", smc::emit, smc::expected()),
        rom("timer interrupts", irq::emit, irq::EXPECTED.to_owned()),
        rom("protected mode and paging", paging::emit, paging::EXPECTED.to_owned()),
    ];
    roms.into_iter().collect::<Result<_, _>>().expect("the test programs assemble")
}

fn rom(name: &'static str, emit: fn(&mut CodeAssembler) -> Emit, output: String) -> Result<Rom, IcedError> {
    let mut a = CodeAssembler::new(16)?;
    emit(&mut a)?;
    Ok(Rom { name, sector: boot_sector(&a.assemble(LOADED)?), output, exit: DONE })
}

/// Emits: 16-bit segments at 0, a stack below the program, interrupts off, upwards.
fn begin(a: &mut CodeAssembler) -> Emit {
    a.cli()?;
    a.cld()?;
    a.xor(ax, ax)?;
    a.mov(ds, ax)?;
    a.mov(es, ax)?;
    a.mov(ss, ax)?;
    a.mov(sp, 0x7C00)
}

/// Emits: `text` on the debug console.
fn say(a: &mut CodeAssembler, text: &str) -> Emit {
    for byte in text.bytes() {
        a.mov(al, u32::from(byte))?;
        a.out(0xE9, al)?;
    }
    Ok(())
}

/// Emits: EAX in 8 hexadecimal digits and a line's end on the debug console. Destroys EAX, CX, EDX.
fn say_eax(a: &mut CodeAssembler) -> Emit {
    let mut digit = a.create_label();
    a.mov(edx, eax)?;
    a.mov(cx, 8)?;
    a.set_label(&mut digit)?;
    a.rol(edx, 4)?;
    a.mov(al, dl)?;
    a.and(al, 15)?;
    a.cmp(al, 10)?;
    a.sbb(al, 0x69)?;
    a.das()?;
    a.out(0xE9, al)?;
    a.loop_(digit)?;
    say(a, "\n")
}

/// Emits: the end.
fn end(a: &mut CodeAssembler) -> Emit {
    a.mov(al, u32::from(DONE))?;
    a.out(0xF4, al)?;
    let mut stop = a.create_label();
    a.set_label(&mut stop)?;
    a.cli()?;
    a.hlt()?;
    a.jmp(stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bugs_assemble_and_know_their_places() {
        for bug in bugs() {
            assert_eq!(bug.sector.len(), 512, "{}", bug.name);
            assert!(bug.symbols.iter().all(|s| (LOADED..LOADED + 510).contains(&s.1)), "{:?}", bug.symbols);
        }
    }

    #[test]
    fn each_is_a_boot_sector_of_its_own() {
        let roms = all();
        assert_eq!(roms.len(), 4);
        for rom in &roms {
            assert_eq!(rom.sector.len(), 512, "{}: the code does not fit", rom.name);
            assert_eq!(rom.sector[510..], [0x55, 0xAA]);
            assert_eq!(rom.floppy().len(), FLOPPY_BYTES);
            assert!(rom.output.ends_with('\n'));
            assert_eq!(roms.iter().filter(|r| r.sector == rom.sector || r.name == rom.name).count(), 1);
        }
    }
}
