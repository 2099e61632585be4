//! A bootable 1.44 MB floppy: a boot sector that loads the sectors after it by INT 13h and jumps into them.

use iced_x86::code_asm::*;

use crate::asm::{Asm, IcedError, Program};

/// Bytes per sector.
pub(crate) const SECTOR: usize = 512;
/// Bytes on a 1.44 MB floppy: 80 cylinders, 2 heads, 18 sectors.
pub const FLOPPY_BYTES: usize = 80 * 2 * 18 * SECTOR;
/// Where the program is loaded, as a segment.
pub(crate) const CODE_SEGMENT: u16 = 0x1000;
const SECTORS_PER_TRACK: u32 = 18;
const HEADS: u32 = 2;

/// The data segment of a program with so much code: it follows the code, at the next sector.
pub(crate) fn data_segment(code_bytes: usize) -> u16 {
    let paragraphs = code_bytes.div_ceil(SECTOR) * SECTOR / 16;
    CODE_SEGMENT + u16::try_from(paragraphs).unwrap_or(0xE000)
}

/// A floppy that boots `program`: CS:0 with DS its data, SS:SP = 0:7C00h.
pub(crate) fn image(program: &Program) -> Result<Vec<u8>, IcedError> {
    let mut payload = program.code.clone();
    payload.resize(payload.len().next_multiple_of(SECTOR), 0);
    payload.extend_from_slice(&program.data);
    let sectors = u16::try_from(payload.len().div_ceil(SECTOR)).unwrap_or(u16::MAX);
    let mut image = boot_sector(&loader(sectors, data_segment(program.code.len()))?);
    image.extend_from_slice(&payload);
    image.resize(FLOPPY_BYTES, 0);
    Ok(image)
}

/// A boot sector: `code` for 0000:7C00h, and the signature.
pub(crate) fn boot_sector(code: &[u8]) -> Vec<u8> {
    let mut sector = code.to_vec();
    sector.resize(SECTOR - 2, 0);
    sector.extend_from_slice(&[0x55, 0xAA]);
    sector
}

/// Code that loads sectors 1 to `sectors` one by one (a read across a track's end fails on many BIOSes) and jumps.
fn loader(sectors: u16, data: u16) -> Result<Vec<u8>, IcedError> {
    let mut a = Asm::new()?;
    let (mut retry, mut good) = (a.create_label(), a.create_label());
    a.cli()?;
    a.xor(ax, ax)?;
    a.mov(ss, ax)?;
    a.mov(sp, 0x7C00)?;
    a.sti()?;
    a.cld()?;
    a.mov(ax, u32::from(CODE_SEGMENT))?;
    a.mov(es, ax)?;
    a.mov(si, 1)?;
    let next = a.mark()?;
    a.mov(bp, 3)?;
    a.here(&mut retry)?;
    split_sector_number(&mut a)?;
    a.xor(bx, bx)?;
    a.mov(ax, 0x0201)?;
    a.int(0x13)?;
    a.jnc(good)?;
    a.xor(ax, ax)?;
    a.int(0x13)?;
    a.dec(bp)?;
    a.jnz(retry)?;
    a.mov(ax, 0x0E45)?; // "E": the floppy can't be read
    a.int(0x10)?;
    let stop = a.mark()?;
    a.hlt()?;
    a.jmp(stop)?;
    a.here(&mut good)?;
    a.mov(ax, es)?;
    a.add(ax, 32)?;
    a.mov(es, ax)?;
    a.inc(si)?;
    a.cmp(si, u32::from(sectors))?;
    a.jbe(next)?;
    a.mov(ax, u32::from(data))?;
    a.mov(ds, ax)?;
    a.mov(ax, u32::from(CODE_SEGMENT))?;
    a.push(ax)?;
    a.xor(ax, ax)?;
    a.push(ax)?;
    a.retf()?;
    Ok(a.finish()?.code)
}

/// Cylinder, head and sector of the sector number SI into CH, DH, CL; drive 0. Destroys AX, DL.
fn split_sector_number(a: &mut Asm) -> crate::asm::Emit {
    a.mov(ax, si)?;
    a.mov(cl, SECTORS_PER_TRACK)?;
    a.div(cl)?;
    a.mov(cl, ah)?;
    a.inc(cl)?;
    a.xor(ah, ah)?;
    a.mov(ch, HEADS)?;
    a.div(ch)?;
    a.mov(ch, al)?;
    a.mov(dh, ah)?;
    a.xor(dl, dl)
}
