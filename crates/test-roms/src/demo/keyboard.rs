//! The keyboard page: a picture of the keyboard on which keys light up, and the scan codes as they come.
//!
//! The demo takes over INT 9, so that it sees each code, also those the BIOS keeps for itself.

use iced_x86::code_asm::*;

use super::{Shared, layout};
use crate::asm::{Asm, Emit, IcedError};
use crate::cells::{Cells, at};

/// Attributes of a key before, while and after it is held.
const IDLE: u8 = 0x70;
const HELD: u8 = 0x2F;
const SEEN: u8 = 0x3F;
/// Where the codes are printed, each with a blank; the newest at the right.
const LOG: u32 = at(19, 4);
const LOG_CODES: u32 = 24;
/// Scan code of Esc when it is let go.
const ESC_RELEASED: u32 = 0x81;
/// Added to the number of a key whose code follows an E0h.
const EXTENDED: u8 = 0x80;

/// Keys: row, column, number, label; the label's length is the key's width.
fn keys() -> Vec<(usize, usize, u8, String)> {
    let mut keys = Vec::new();
    let mut run = |row: usize, mut column: usize, gap: usize, list: &[(u8, &str)]| {
        for &(number, label) in list {
            keys.push((row, column, number, label.to_owned()));
            column += label.chars().count() + gap;
        }
    };
    run(5, 3, 3, &[(0x01, "Esc")]);
    run(5, 9, 1, &[(0x3B, "F1"), (0x3C, "F2"), (0x3D, "F3"), (0x3E, "F4")]);
    run(5, 22, 1, &[(0x3F, "F5"), (0x40, "F6"), (0x41, "F7"), (0x42, "F8")]);
    run(5, 35, 1, &[(0x43, "F9"), (0x44, "F10"), (0x57, "F11"), (0x58, "F12")]);
    run(5, 52, 1, &[(0xB7, "Prt"), (0x46, "Scr")]);
    let letters = |first: u8, text: &str| -> Vec<(u8, String)> {
        text.chars().enumerate().map(|(n, c)| (first + u8::try_from(n).unwrap_or(0), format!(" {c}"))).collect()
    };
    for (row, head, first, text, tail) in [
        (7, (0x29, " `"), 0x02, "1234567890-=", (0x0E, "  Bksp")),
        (9, (0x0F, " Tab"), 0x10, "QWERTYUIOP[]", (0x2B, "   \\")),
        (11, (0x3A, " Caps"), 0x1E, "ASDFGHJKL;'", (0x1C, "  Enter")),
        (13, (0x2A, " Shift"), 0x2C, "ZXCVBNM,./", (0x36, "   Shift")),
    ] {
        let middle = letters(first, text);
        let middle = middle.iter().map(|(number, label)| (*number, label.as_str()));
        let list: Vec<(u8, &str)> = [head].into_iter().chain(middle).chain([tail]).collect();
        run(row, 3, 1, &list);
    }
    run(15, 3, 1, &[(0x1D, " Ctrl"), (0xDB, " ■"), (0x38, " Alt"), (0x39, "                 ")]);
    run(15, 35, 1, &[(0xB8, " Alt"), (0xDD, " ■"), (0x9D, " Ctrl")]);
    run(7, 52, 1, &[(0xD2, "Ins"), (0xC7, "Hom"), (0xC9, "PgU")]);
    run(9, 52, 1, &[(0xD3, "Del"), (0xCF, "End"), (0xD1, "PgD")]);
    run(13, 56, 1, &[(0xC8, " ↑ ")]);
    run(15, 52, 1, &[(0xCB, " ← "), (0xD0, " ↓ "), (0xCD, " → ")]);
    run(7, 66, 1, &[(0x45, "Nm"), (0xB5, " /"), (0x37, " *"), (0x4A, " -")]);
    run(9, 66, 1, &[(0x47, " 7"), (0x48, " 8"), (0x49, " 9"), (0x4E, " +")]);
    run(11, 66, 1, &[(0x4B, " 4"), (0x4C, " 5"), (0x4D, " 6")]);
    run(13, 66, 1, &[(0x4F, " 1"), (0x50, " 2"), (0x51, " 3"), (0x9C, " ┘")]);
    run(15, 66, 1, &[(0x52, "    0"), (0x53, " .")]);
    keys
}

fn page() -> Cells {
    let mut cells = layout::page();
    cells.frame((3, 17), (0, 79), layout::FRAME);
    cells.frame((17, 23), (0, 79), layout::FRAME);
    cells.text(3, 2, layout::TITLE, " Keyboard ");
    cells.text(17, 2, layout::TITLE, " Scan codes ");
    cells.text(21, 4, layout::LABEL, "Press and release any key.");
    cells.text(21, 31, layout::VALUE, "Esc");
    cells.text(21, 35, layout::LABEL, "leaves.");
    for (row, column, _, label) in keys() {
        cells.text(row, column, IDLE, &label);
    }
    cells
}

/// Variables.
struct Vars {
    /// 256 bytes of codes, and where the next one goes and comes from.
    ring: u32,
    put: u32,
    take: u32,
    /// EXTENDED after an E0h.
    prefix: u32,
    /// Per key a word, its place on the screen, and a byte, its width.
    places: u32,
    widths: u32,
    /// INT 9 as it was.
    saved: u32,
}

impl Vars {
    fn new(a: &mut Asm) -> Vars {
        let mut places = vec![0; 512];
        let mut widths = vec![0; 256];
        for (row, column, number, label) in keys() {
            let place = at(row as u32, column as u32) as u16;
            let number = usize::from(number);
            places[2 * number..2 * number + 2].copy_from_slice(&place.to_le_bytes());
            widths[number] = u8::try_from(label.chars().count()).unwrap_or(0);
        }
        Vars {
            ring: a.space(256),
            put: a.space(2),
            take: a.space(2),
            prefix: a.space(2),
            places: a.bytes(&places),
            widths: a.bytes(&widths),
            saved: a.space(4),
        }
    }
}

/// A routine that shows the page until Esc is let go.
pub(super) fn emit(a: &mut Asm, shared: &Shared, data: u16) -> Result<CodeLabel, IcedError> {
    let template = a.bytes(&page().image());
    let vars = Vars::new(a);
    let handler = handler(a, &vars, data)?;
    let light = light(a, &vars)?;
    let log = log(a, shared)?;
    let (mut waiting, mut end) = (a.create_label(), a.create_label());
    let entry = a.mark()?;
    layout::set_text_mode(a)?;
    layout::copy_screen(a, template)?;
    hook(a, &vars, handler)?;
    let again = a.mark()?;
    a.mov(bl, byte_ptr(vars.take))?;
    a.cmp(bl, byte_ptr(vars.put))?;
    a.je(waiting)?;
    a.inc(byte_ptr(vars.take))?;
    a.xor(bh, bh)?;
    a.mov(dl, byte_ptr(bx + vars.ring))?;
    a.call(log)?;
    a.call(light)?;
    a.cmp(dl, ESC_RELEASED)?;
    a.je(end)?;
    a.jmp(again)?;
    a.here(&mut waiting)?;
    a.hlt()?;
    a.jmp(again)?;
    a.here(&mut end)?;
    unhook(a, &vars)?;
    a.ret()?;
    Ok(entry)
}

/// The interrupt's handler: keeps the code, acknowledges it to an XT's keyboard too, ends the interrupt.
fn handler(a: &mut Asm, vars: &Vars, data: u16) -> Result<CodeLabel, IcedError> {
    let entry = a.mark()?;
    a.push(ax)?;
    a.push(bx)?;
    a.push(ds)?;
    a.mov(ax, u32::from(data))?;
    a.mov(ds, ax)?;
    a.in_(al, 0x60)?;
    a.mov(bl, byte_ptr(vars.put))?;
    a.xor(bh, bh)?;
    a.mov(byte_ptr(bx + vars.ring), al)?;
    a.inc(byte_ptr(vars.put))?;
    a.in_(al, 0x61)?;
    a.mov(ah, al)?;
    a.or(al, 0x80u32)?;
    a.out(0x61, al)?;
    a.mov(al, ah)?;
    a.out(0x61, al)?;
    a.mov(al, 0x20)?;
    a.out(0x20, al)?;
    a.pop(ds)?;
    a.pop(bx)?;
    a.pop(ax)?;
    a.iret()?;
    Ok(entry)
}

/// Emits: INT 9 is ours.
fn hook(a: &mut Asm, vars: &Vars, handler: CodeLabel) -> Emit {
    let mut there = a.create_label();
    a.mov(word_ptr(vars.put), 0)?;
    a.mov(word_ptr(vars.take), 0)?;
    a.mov(word_ptr(vars.prefix), 0)?;
    a.call(there)?; // 8086 code learns an address by a call
    a.jmp(handler)?;
    a.here(&mut there)?;
    a.pop(bx)?;
    vector(a, |a| {
        for (n, offset) in [0x24u32, 0x26].into_iter().enumerate() {
            a.mov(ax, word_ptr(offset).es())?;
            a.mov(word_ptr(vars.saved + 2 * n as u32), ax)?;
        }
        a.mov(word_ptr(0x24u32).es(), bx)?;
        a.mov(word_ptr(0x26u32).es(), cs)
    })
}

/// Emits: INT 9 is as it was.
fn unhook(a: &mut Asm, vars: &Vars) -> Emit {
    vector(a, |a| {
        for (n, offset) in [0x24u32, 0x26].into_iter().enumerate() {
            a.mov(ax, word_ptr(vars.saved + 2 * n as u32))?;
            a.mov(word_ptr(offset).es(), ax)?;
        }
        Ok(())
    })
}

/// Emits something with ES = 0 and interrupts off.
fn vector(a: &mut Asm, emit: impl FnOnce(&mut Asm) -> Emit) -> Emit {
    a.push(es)?;
    a.xor(ax, ax)?;
    a.mov(es, ax)?;
    a.cli()?;
    emit(a)?;
    a.sti()?;
    a.pop(es)
}

/// A routine that prints code DL at the log's right end, after moving the others left.
fn log(a: &mut Asm, shared: &Shared) -> Result<CodeLabel, IcedError> {
    let entry = a.mark()?;
    a.push(ds)?;
    a.push(es)?;
    a.pop(ds)?;
    a.mov(di, LOG)?;
    a.mov(si, LOG + 6)?;
    a.mov(cx, 3 * (LOG_CODES - 1))?;
    a.rep().movsw()?;
    a.pop(ds)?;
    let (mut released, mut go) = (a.create_label(), a.create_label());
    a.test(dl, 0x80u32)?;
    a.jnz(released)?;
    shared.print.colour(a, layout::GOOD)?;
    a.jmp(go)?;
    a.here(&mut released)?;
    shared.print.colour(a, layout::LABEL)?;
    a.here(&mut go)?;
    a.mov(al, dl)?;
    a.call(shared.print.hex8)?;
    a.ret()?;
    Ok(entry)
}

/// A routine that shows by attributes what code DL says of its key.
fn light(a: &mut Asm, vars: &Vars) -> Result<CodeLabel, IcedError> {
    let (mut key, mut held, mut end) = (a.create_label(), a.create_label(), a.create_label());
    let entry = a.mark()?;
    a.cmp(dl, 0xE0u32)?;
    a.jne(key)?;
    a.mov(byte_ptr(vars.prefix), u32::from(EXTENDED))?;
    a.ret()?;
    a.here(&mut key)?;
    a.mov(bl, dl)?;
    a.and(bl, 0x7F)?;
    a.or(bl, byte_ptr(vars.prefix))?;
    a.mov(byte_ptr(vars.prefix), 0)?;
    a.xor(bh, bh)?;
    a.mov(cl, byte_ptr(bx + vars.widths))?;
    a.xor(ch, ch)?;
    a.jcxz(end)?;
    a.shl(bx, 1)?;
    a.mov(di, word_ptr(bx + vars.places))?;
    a.mov(al, u32::from(HELD))?;
    a.test(dl, 0x80u32)?;
    a.jz(held)?;
    a.mov(al, u32::from(SEEN))?;
    a.here(&mut held)?;
    let next = a.mark()?;
    a.inc(di)?;
    a.stosb()?;
    a.loop_(next)?;
    a.here(&mut end)?;
    a.ret()?;
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_lies_on_another() {
        let mut taken = std::collections::BTreeSet::new();
        let mut numbers = std::collections::BTreeSet::new();
        for (row, column, number, label) in keys() {
            assert!(numbers.insert(number), "{number:02X} twice");
            for n in 0..label.chars().count() {
                assert!(column + n < 79 && taken.insert((row, column + n)), "{label} at {row}, {column}");
            }
        }
        assert!(numbers.len() >= 101);
    }
}
