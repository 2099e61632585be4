//! Programs with planted bugs, to be found by going back in time from where they show. Boot sectors that say on the debug
//! console what is wrong, and leave through the exit port with [`FOUND`].

use iced_x86::BlockEncoderOptions;
use iced_x86::code_asm::*;

use super::{LOADED, begin, say};
use crate::asm::IcedError;
use crate::floppy::{FLOPPY_BYTES, boot_sector};

/// What a program exits with when its bug has shown.
pub const FOUND: u8 = 1;

/// A program with a bug.
#[derive(Clone, Debug)]
pub struct Bug {
    /// Its name.
    pub name: &'static str,
    /// The boot sector: 512 bytes.
    pub sector: Vec<u8>,
    /// What it says when the bug has shown.
    pub output: &'static str,
    /// Places of its code, by name: linear addresses.
    pub symbols: Vec<(&'static str, u64)>,
}

impl Bug {
    /// The program on a 1.44 MB floppy.
    #[must_use]
    pub fn floppy(&self) -> Vec<u8> {
        let mut image = self.sector.clone();
        image.resize(FLOPPY_BYTES, 0);
        image
    }

    /// The address of `name`, or 0.
    #[must_use]
    pub fn symbol(&self, name: &str) -> u64 {
        self.symbols.iter().find(|s| s.0 == name).map_or(0, |s| s.1)
    }
}

/// The structure that [`bugs`]' first program corrupts, and the counter that its second loses updates of.
pub const STRUCTURE: u32 = 0x600;
/// What the structure's first word must be.
pub const MAGIC: u32 = 0xBEEF;

type Labels = Vec<(&'static str, CodeLabel)>;

/// All programs with bugs.
///
/// # Panics
/// If one can't be assembled: they have no input, so this crate's tests find that.
#[must_use]
#[expect(clippy::expect_used, reason = "programs without input, assembled by this crate's tests")]
pub fn bugs() -> Vec<Bug> {
    let bugs = [
        bug("corrupted structure", "the structure is damaged\n", corrupted),
        bug("interrupt race", "an update was lost\n", race),
        bug("self-modifying loop", "the sum is wrong\n", modifying),
    ];
    bugs.into_iter().collect::<Result<_, _>>().expect("the programs assemble")
}

fn bug(
    name: &'static str,
    output: &'static str,
    emit: fn(&mut CodeAssembler, &str) -> Result<Labels, IcedError>,
) -> Result<Bug, IcedError> {
    let mut a = CodeAssembler::new(16)?;
    let labels = emit(&mut a, output)?;
    let code = a.assemble_options(LOADED, BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS)?;
    let symbols = labels.iter().map(|(name, label)| Ok((*name, code.label_ip(label)?))).collect::<Result<_, _>>()?;
    Ok(Bug { name, sector: boot_sector(&code.inner.code_buffer), output, symbols })
}

/// Emits: `output`, and the end.
fn found(a: &mut CodeAssembler, output: &str) -> Result<(), IcedError> {
    say(a, output)?;
    a.mov(al, u32::from(FOUND))?;
    a.out(0xF4, al)?;
    let mut stop = a.create_label();
    a.set_label(&mut stop)?;
    a.cli()?;
    a.hlt()?;
    a.jmp(stop)
}

/// Ten rounds fill a buffer of 32 bytes that a structure lies behind; the sixth takes it to have 34. It shows long after.
fn corrupted(a: &mut CodeAssembler, output: &str) -> Result<Labels, IcedError> {
    const BUFFER: u32 = STRUCTURE - 32;
    const ROUNDS: u32 = 10;
    begin(a)?;
    let (mut round, mut right, mut work, mut good) =
        (a.create_label(), a.create_label(), a.create_label(), a.create_label());
    let (mut culprit, mut check) = (a.create_label(), a.create_label());
    a.mov(word_ptr(STRUCTURE), MAGIC)?;
    a.mov(bp, ROUNDS)?;
    a.set_label(&mut round)?;
    a.mov(cx, 32 / 2)?;
    a.cmp(bp, ROUNDS - 5)?;
    a.jne(right)?;
    a.inc(cx)?; // the bug
    a.set_label(&mut right)?;
    a.mov(di, BUFFER)?;
    a.mov(ax, bp)?;
    a.set_label(&mut culprit)?;
    a.rep().stosw()?;
    a.mov(cx, 20_000)?;
    a.set_label(&mut work)?;
    a.add(dx, cx)?;
    a.loop_(work)?;
    a.dec(bp)?;
    a.jnz(round)?;
    a.set_label(&mut check)?;
    a.cmp(word_ptr(STRUCTURE), MAGIC)?;
    a.je(good)?;
    found(a, output)?;
    a.set_label(&mut good)?;
    a.hlt()?;
    Ok(vec![("culprit", culprit), ("check", check)])
}

/// The timer's handler counts in the same variable as the program, which reads, adds and writes it with interrupts on.
fn race(a: &mut CodeAssembler, output: &str) -> Result<Labels, IcedError> {
    begin(a)?;
    let (mut start, mut again, mut lost) = (a.create_label(), a.create_label(), a.create_label());
    let (mut handler, mut load, mut store) = (a.create_label(), a.create_label(), a.create_label());
    a.call(start)?;
    a.set_label(&mut handler)?;
    a.push(ax)?;
    a.inc(word_ptr(STRUCTURE))?;
    a.inc(word_ptr(STRUCTURE + 4))?;
    a.mov(al, 0x20)?;
    a.out(0x20, al)?;
    a.pop(ax)?;
    a.iret()?;
    a.set_label(&mut start)?;
    a.pop(ax)?;
    a.mov(word_ptr(0x20u32), ax)?;
    a.mov(word_ptr(0x22u32), 0)?;
    // Shared counter, the program's share, the handler's share.
    for i in 0..3 {
        a.mov(word_ptr(STRUCTURE + 2 * i), 0)?;
    }
    super::irq::set_up(a)?;
    a.set_label(&mut again)?;
    a.sti()?;
    a.mov(cx, 50)?; // time for something else
    let mut rest = a.create_label();
    a.set_label(&mut rest)?;
    a.loop_(rest)?;
    a.set_label(&mut load)?;
    a.mov(ax, word_ptr(STRUCTURE))?;
    a.inc(ax)?;
    a.nop()?;
    a.set_label(&mut store)?;
    a.mov(word_ptr(STRUCTURE), ax)?;
    a.cli()?;
    a.inc(word_ptr(STRUCTURE + 2))?;
    a.mov(ax, word_ptr(STRUCTURE + 2))?;
    a.add(ax, word_ptr(STRUCTURE + 4))?;
    a.cmp(ax, word_ptr(STRUCTURE))?;
    a.je(again)?;
    a.set_label(&mut lost)?;
    found(a, output)?;
    Ok(vec![("handler", handler), ("load", load), ("store", store), ("lost", lost)])
}

/// A loop that counts up the operand of one of its own instructions, and once the opcode beside it.
fn modifying(a: &mut CodeAssembler, output: &str) -> Result<Labels, IcedError> {
    const ROUNDS: u32 = 1000;
    begin(a)?;
    let (mut again, mut right, mut good) = (a.create_label(), a.create_label(), a.create_label());
    let (mut target, mut culprit, mut check) = (a.create_label(), a.create_label(), a.create_label());
    let mut here = a.create_label();
    a.call(here)?;
    a.set_label(&mut here)?;
    a.pop(si)?; // the address of `here`
    a.mov(bp, ROUNDS)?;
    a.xor(dx, dx)?;
    a.set_label(&mut again)?;
    a.lea(bx, word_ptr(si + OPERAND))?;
    a.cmp(bp, 300)?;
    a.jne(right)?;
    a.dec(bx)?; // the bug
    a.set_label(&mut right)?;
    a.nop()?;
    a.set_label(&mut culprit)?;
    a.inc(byte_ptr(bx))?;
    a.jmp(target)?;
    a.set_label(&mut target)?;
    a.mov(al, 0)?; // its operand is the counter
    a.xor(ah, ah)?;
    a.add(dx, ax)?;
    a.dec(bp)?;
    a.jnz(again)?;
    a.set_label(&mut check)?;
    a.cmp(dx, SUM)?;
    a.je(good)?;
    found(a, output)?;
    a.set_label(&mut good)?;
    a.hlt()?;
    Ok(vec![("target", target), ("culprit", culprit), ("check", check)])
}

/// From `here` of [`modifying`] to the operand of its `target`.
const OPERAND: u32 = 22;
/// 1 + 2 + ... as bytes, a thousand times.
const SUM: u32 = 0xE814;
