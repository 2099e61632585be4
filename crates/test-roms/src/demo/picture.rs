//! The picture page: the Mandelbrot set in mode 13h, by 16-bit integers, with a palette that turns.
//!
//! Numbers are 5.11 fixed-point. A point has escaped when |z| > 3.5: then the next z still fits, and how far it went
//! gives the fraction of an iteration, so that the colours have no steps.

use iced_x86::code_asm::*;

use crate::asm::{Asm, Emit, IcedError};

const WIDTH: u32 = 320;
const ROWS: u32 = 200;
/// Iterations until a point counts as inside.
const ITERATIONS: u32 = 80;
/// Steps between points, so that circles are round on a 4:3 screen; and the left edge.
const STEP_X: u32 = 20;
const STEP_Y: u32 = 24;
const LEFT: i32 = -1280 - 160 * STEP_X as i32;
const TOP: i32 = -(100 * STEP_Y as i32) + STEP_Y as i32 / 2;
/// |z|² = 12.25, as the upper word of a 10.22 number: in 64ths.
const ESCAPE: u32 = 784;
/// Colours that an iteration spans.
const SPAN: u32 = 24;
/// Colours of the palette: all but 0, the inside.
const COLOURS: u32 = 255;
/// The palette's fixed points: colour, and 6-bit red, green, blue.
const STOPS: [(u32, [u32; 3]); 6] = [
    (0, [0, 1, 18]),
    (50, [5, 24, 52]),
    (110, [58, 63, 63]),
    (165, [63, 42, 2]),
    (215, [30, 4, 12]),
    (COLOURS, [0, 1, 18]),
];

struct Vars {
    cr: u32,
    ci: u32,
    /// Dword: zr², then zr² - zi².
    square: u32,
    /// Word: the palette's turn.
    turn: u32,
    /// The palette, twice: 3 bytes per colour.
    palette: u32,
    /// Byte per 16 of |z|² in 64ths: the fraction that the escape was early.
    early: u32,
}

/// A routine that shows the picture until a key is pressed, if the adapter has that mode. Leaves the graphics mode on.
pub(super) fn emit(a: &mut Asm, data: u16) -> Result<CodeLabel, IcedError> {
    let palette = palette();
    let vars = Vars {
        cr: a.space(2),
        ci: a.space(2),
        square: a.space(4),
        turn: a.space(2),
        palette: a.bytes(&[palette.as_slice(), &palette].concat()),
        early: a.bytes(&early()),
    };
    let colour = point(a, &vars)?;
    let turn = turn_palette(a, &vars)?;
    let (mut vga, mut end) = (a.create_label(), a.create_label());
    let entry = a.mark()?;
    a.mov(ax, 0x0013)?;
    a.int(0x10)?;
    a.mov(ah, 0x0F)?; // which mode is it now?
    a.int(0x10)?;
    a.and(al, 0x7F)?;
    a.cmp(al, 0x13)?;
    a.je(vga)?;
    a.ret()?;
    a.here(&mut vga)?;
    a.mov(ax, 0xA000u32)?;
    a.mov(es, ax)?;
    a.call(turn)?;
    draw(a, &vars, data, colour, end)?;
    let again = a.mark()?;
    a.call(turn)?;
    key_ready(a)?;
    a.jz(again)?;
    a.here(&mut end)?;
    a.xor(ax, ax)?;
    a.int(0x16)?;
    a.ret()?;
    Ok(entry)
}

/// Emits: ZF unless a key waits.
fn key_ready(a: &mut Asm) -> Emit {
    a.mov(ah, 1)?;
    a.int(0x16)
}

/// Emits: the picture, from its upper and lower edge to the middle (it is symmetric); a key jumps to `end`.
fn draw(a: &mut Asm, vars: &Vars, data: u16, colour: CodeLabel, end: CodeLabel) -> Emit {
    a.mov(word_ptr(vars.ci), TOP)?;
    a.xor(di, di)?;
    let row = a.mark()?;
    a.mov(word_ptr(vars.cr), LEFT)?;
    a.mov(cx, WIDTH)?;
    let column = a.mark()?;
    a.push(cx)?;
    a.call(colour)?;
    a.stosb()?;
    a.pop(cx)?;
    a.add(word_ptr(vars.cr), STEP_X)?;
    a.loop_(column)?;
    a.push(di)?; // the row that mirrors this one ends as far from the end as this one begins
    a.mov(si, di)?;
    a.sub(si, WIDTH)?;
    a.mov(di, (ROWS - 1) * WIDTH)?;
    a.sub(di, si)?;
    a.push(es)?;
    a.pop(ds)?;
    a.mov(cx, WIDTH / 2)?;
    a.rep().movsw()?;
    a.mov(ax, u32::from(data))?;
    a.mov(ds, ax)?;
    a.pop(di)?;
    let mut go_on = a.create_label();
    key_ready(a)?;
    a.jz(go_on)?;
    a.jmp(end)?;
    a.here(&mut go_on)?;
    a.add(word_ptr(vars.ci), STEP_Y)?;
    a.cmp(di, ROWS / 2 * WIDTH)?;
    let mut done = a.create_label();
    a.jae(done)?;
    a.jmp(row)?;
    a.here(&mut done)
}

/// A routine that answers the colour of the point (cr, ci) in AL. Keeps DI.
fn point(a: &mut Asm, vars: &Vars) -> Result<CodeLabel, IcedError> {
    let mut escaped = a.create_label();
    let entry = a.mark()?;
    a.xor(si, si)?; // z = SI + i BP
    a.xor(bp, bp)?;
    a.mov(cx, ITERATIONS)?;
    let iterate = a.mark()?;
    a.mov(ax, si)?;
    a.imul(si)?;
    a.mov(word_ptr(vars.square), ax)?;
    a.mov(word_ptr(vars.square + 2), dx)?;
    a.mov(ax, bp)?;
    a.imul(bp)?;
    a.mov(bx, ax)?;
    a.add(bx, word_ptr(vars.square))?;
    a.mov(bx, dx)?;
    a.adc(bx, word_ptr(vars.square + 2))?;
    a.cmp(bx, ESCAPE)?;
    a.jae(escaped)?;
    a.sub(word_ptr(vars.square), ax)?;
    a.sbb(word_ptr(vars.square + 2), dx)?;
    a.mov(ax, bp)?;
    a.imul(si)?;
    shift_left(a, 6)?; // 2 zr zi
    a.add(dx, word_ptr(vars.ci))?;
    a.mov(bp, dx)?;
    a.mov(ax, word_ptr(vars.square))?;
    a.mov(dx, word_ptr(vars.square + 2))?;
    shift_left(a, 5)?;
    a.add(dx, word_ptr(vars.cr))?;
    a.mov(si, dx)?;
    a.dec(cx)?;
    let mut inside = a.create_label();
    a.jz(inside)?;
    a.jmp(iterate)?;
    a.here(&mut inside)?;
    a.xor(al, al)?;
    a.ret()?;
    a.here(&mut escaped)?;
    colour_of(a, vars)?;
    a.ret()?;
    Ok(entry)
}

/// Emits: DX:AX shifted left, by single bits as the 8086 must.
fn shift_left(a: &mut Asm, bits: u32) -> Emit {
    for _ in 0..bits {
        a.shl(ax, 1)?;
        a.rcl(dx, 1)?;
    }
    Ok(())
}

/// Emits: AL = the colour of a point that escaped with CX iterations left and |z|² = BX.
fn colour_of(a: &mut Asm, vars: &Vars) -> Emit {
    for _ in 0..4 {
        a.shr(bx, 1)?;
    }
    a.mov(dl, byte_ptr(bx + vars.early))?;
    a.mov(al, ITERATIONS)?;
    a.sub(al, cl)?;
    a.mov(ah, SPAN)?;
    a.mul(ah)?;
    a.add(ax, SPAN)?;
    a.xor(dh, dh)?;
    a.sub(ax, dx)?;
    a.mov(dl, COLOURS)?;
    a.div(dl)?;
    a.mov(al, ah)?;
    a.inc(al)
}

/// A routine that waits for two vertical retraces and turns the palette by one colour.
fn turn_palette(a: &mut Asm, vars: &Vars) -> Result<CodeLabel, IcedError> {
    let entry = a.mark()?;
    for awaited in [0x08u32, 0, 0x08] {
        a.mov(dx, 0x3DA)?;
        a.xor(cx, cx)?;
        let wait = a.mark()?;
        a.in_(al, dx)?;
        a.and(al, 8)?;
        a.cmp(al, awaited)?;
        a.loopne(wait)?;
    }
    let mut same = a.create_label();
    a.mov(ax, word_ptr(vars.turn))?;
    a.inc(ax)?;
    a.cmp(ax, COLOURS)?;
    a.jb(same)?;
    a.xor(ax, ax)?;
    a.here(&mut same)?;
    a.mov(word_ptr(vars.turn), ax)?;
    a.mov(si, ax)?;
    a.shl(ax, 1)?;
    a.add(si, ax)?;
    a.add(si, vars.palette)?;
    a.mov(dx, 0x3C8)?;
    a.mov(al, 1)?;
    a.out(dx, al)?;
    a.inc(dx)?;
    a.mov(cx, 3 * COLOURS)?;
    let next = a.mark()?;
    a.lodsb()?;
    a.out(dx, al)?;
    a.loop_(next)?;
    a.ret()?;
    Ok(entry)
}

/// The palette: 3 bytes per colour, on straight lines between the stops.
fn palette() -> Vec<u8> {
    let mut bytes = Vec::new();
    for pair in STOPS.windows(2) {
        let &[(from, a), (to, b)] = pair else { continue };
        for colour in from..to {
            for (a, b) in a.iter().zip(b) {
                let value = (a * (to - colour) + b * (colour - from)) / (to - from);
                bytes.push(u8::try_from(value).unwrap_or(63));
            }
        }
    }
    bytes
}

/// log2 of a number of at least 1, both with 16 bits of fraction.
fn log2(mut x: u64) -> u64 {
    let mut result = 0;
    while x >= 2 << 16 {
        x >>= 1;
        result += 1 << 16;
    }
    for bit in (0..16).rev() {
        x = (x * x) >> 16;
        if x >= 2 << 16 {
            x >>= 1;
            result += 1 << bit;
        }
    }
    result
}

/// Per |z|² / 16 in 64ths: SPAN × log2(log |z|² / log 12.25).
fn early() -> Vec<u8> {
    let value = |n: u64| {
        let square = (n.max(u64::from(ESCAPE) / 16) * 16 + 8) << 10;
        let ratio = (log2(square) << 16) / log2(u64::from(ESCAPE) << 10);
        (u64::from(SPAN) * log2(ratio.max(1 << 16))) >> 16
    };
    (0..1024).map(|n| u8::try_from(value(n)).unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_palette_closes() {
        let palette = palette();
        assert_eq!(palette.len(), 3 * COLOURS as usize);
        assert!(palette.iter().all(|&v| v < 64));
        let step = |a: &[u8], b: &[u8]| a.iter().zip(b).all(|(&a, &b)| a.abs_diff(b) <= 2);
        assert!(step(&palette[..3], &palette[3 * 254..]));
    }

    #[test]
    fn logarithms() {
        assert_eq!(log2(1 << 16), 0);
        assert_eq!(log2(8 << 16), 3 << 16);
        assert_eq!(log2(3 << 16), 103_872, "1.58496");
    }

    #[test]
    fn an_escape_is_early_by_at_most_an_iteration() {
        let early = early();
        assert_eq!(early[49], 0);
        assert!(early.is_sorted());
        assert!((SPAN - 2..=SPAN).contains(&u32::from(early[600])), "|z| = 3.5² has come a whole iteration");
    }
}
