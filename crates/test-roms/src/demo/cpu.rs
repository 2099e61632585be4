//! The CPU section: which CPU it is, by the classic differences [SDM-3 "Identifying Earlier IA-32 Processors"] and then
//! by CPUID [SDM-2 CPUID].

use iced_x86::code_asm::*;

use super::Shared;
use super::layout::{CPU, WIDTH};
use crate::asm::{Asm, Emit, IcedError};

/// What the classes are called.
const CLASSES: [&str; 6] = ["8086 or 8088", "80186", "80286", "80386", "80486", "CPU with CPUID"];

/// Feature flags worth telling: 32 × word (leaf 1 EDX, leaf 1 ECX, leaf 80000001h EDX) + bit, and name.
const FEATURES: [(u8, &str); 31] = [
    (64 + 29, "64-bit"),
    (4, "tsc"),
    (3, "pse"),
    (6, "pae"),
    (8, "cx8"),
    (9, "apic"),
    (11, "sep"),
    (12, "mtrr"),
    (13, "pge"),
    (15, "cmov"),
    (16, "pat"),
    (64 + 20, "nx"),
    (23, "mmx"),
    (24, "fxsr"),
    (25, "sse"),
    (26, "sse2"),
    (32, "sse3"),
    (32 + 9, "ssse3"),
    (32 + 19, "sse4.1"),
    (32 + 20, "sse4.2"),
    (32 + 23, "popcnt"),
    (32 + 13, "cx16"),
    (32 + 22, "movbe"),
    (32 + 25, "aes"),
    (32 + 1, "pclmul"),
    (32 + 26, "xsave"),
    (32 + 28, "avx"),
    (32 + 12, "fma"),
    (32 + 29, "f16c"),
    (32 + 30, "rdrand"),
    (1, "vme"),
];

/// Where CPUID's answers go, in the data segment.
struct Answers {
    vendor: u32,
    brand: u32,
    features: u32,
    signature: u32,
}

/// A routine that finds out about the CPU and prints it.
pub(super) fn emit(a: &mut Asm, shared: &Shared) -> Result<CodeLabel, IcedError> {
    let class = classify(a)?;
    let fpu = has_fpu(a)?;
    let answers = Answers { vendor: a.space(13), brand: a.space(49), features: a.space(12), signature: a.space(4) };
    let features = features(a, shared, &answers)?;
    let names: Vec<u32> = CLASSES.iter().map(|name| a.text(name)).collect();
    let names = a.bytes(&names.iter().flat_map(|&n| (n as u16).to_le_bytes()).collect::<Vec<u8>>());

    let mut end = a.create_label();
    let entry = a.mark()?;
    a.call(class)?;
    a.mov(word_ptr(shared.class), ax)?;
    a.mov(bx, ax)?;
    a.shl(bx, 1)?;
    a.mov(si, word_ptr(bx + names))?;
    a.mov(di, CPU.value(0))?;
    a.call(shared.print.text)?;
    print_fpu(a, shared, fpu)?;
    let mut cpuid = a.create_label();
    a.cmp(word_ptr(shared.class), 5)?;
    a.je(cpuid)?;
    a.jmp(end)?;
    a.here(&mut cpuid)?;
    a.newer(|a| ask(a, shared, &answers))?;
    a.call(features)?;
    a.here(&mut end)?;
    a.ret()?;
    Ok(entry)
}

/// A routine that answers the class of the CPU in AX.
fn classify(a: &mut Asm) -> Result<CodeLabel, IcedError> {
    let mut end = a.create_label();
    let (mut from_286, mut from_386) = (a.create_label(), a.create_label());
    let entry = a.mark()?;
    a.pushf()?; // bits 12 to 15 of FLAGS are always set up to the 80186
    a.pop(ax)?;
    a.and(ax, 0x0FFF)?;
    a.push(ax)?;
    a.popf()?;
    a.pushf()?;
    a.pop(ax)?;
    a.and(ax, 0xF000u32)?;
    a.cmp(ax, 0xF000u32)?;
    a.jne(from_286)?;
    a.mov(ax, 1)?; // the 80186 counts shifts modulo 32
    a.mov(cl, 33)?;
    a.shl(ax, cl)?;
    a.shr(ax, 1)?;
    a.jmp(end)?;
    a.here(&mut from_286)?;
    a.mov(ax, 0x7000)?; // the 80286 has them clear in real mode
    a.push(ax)?;
    a.popf()?;
    a.pushf()?;
    a.pop(ax)?;
    a.and(ax, 0x7000)?;
    a.mov(ax, 2)?;
    a.jnz(from_386)?;
    a.jmp(end)?;
    a.here(&mut from_386)?;
    a.xor(ax, ax)?;
    a.push(ax)?;
    a.popf()?;
    a.sti()?;
    a.newer(flags_of_486)?;
    a.here(&mut end)?;
    a.ret()?;
    Ok(entry)
}

/// Emits: AX = 3 for a 386, 4 if AC can be changed, 5 if ID can.
fn flags_of_486(a: &mut Asm) -> Emit {
    a.mov(bx, 3)?;
    let mut old = a.create_label();
    for bit in [18, 21] {
        a.pushfd()?;
        a.pop(eax)?;
        a.mov(ecx, eax)?;
        a.xor(eax, 1 << bit)?;
        a.push(eax)?;
        a.popfd()?;
        a.pushfd()?;
        a.pop(eax)?;
        a.push(ecx)?;
        a.popfd()?;
        a.xor(eax, ecx)?;
        a.test(eax, 1 << bit)?;
        a.jz(old)?;
        a.inc(bx)?;
    }
    a.here(&mut old)?;
    a.mov(ax, bx)
}

/// A routine that clears ZF if there is an FPU: one that is there writes its status, 0 after FNINIT.
fn has_fpu(a: &mut Asm) -> Result<CodeLabel, IcedError> {
    let status = a.space(2);
    let entry = a.mark()?;
    a.mov(word_ptr(status), 0x5A5A)?;
    a.fninit()?;
    a.fnstsw(word_ptr(status))?;
    a.mov(cx, 20)?; // an 8087 runs on its own
    let wait = a.mark()?;
    a.loop_(wait)?;
    a.cmp(byte_ptr(status), 0)?;
    a.mov(al, 1)?;
    let mut there = a.create_label();
    a.je(there)?;
    a.mov(al, 0)?;
    a.here(&mut there)?;
    a.or(al, al)?;
    a.ret()?;
    Ok(entry)
}

fn print_fpu(a: &mut Asm, shared: &Shared, has_fpu: CodeLabel) -> Emit {
    let mut none = a.create_label();
    a.call(has_fpu)?;
    a.jz(none)?;
    shared.print.say(a, super::layout::DIM, " with x87")?;
    a.here(&mut none)
}

/// Emits, for CPUs that have it: CPUID's answers into memory, vendor, version and name onto the screen.
fn ask(a: &mut Asm, shared: &Shared, to: &Answers) -> Emit {
    a.xor(eax, eax)?;
    a.cpuid()?;
    a.mov(dword_ptr(to.vendor), ebx)?;
    a.mov(dword_ptr(to.vendor + 4), edx)?;
    a.mov(dword_ptr(to.vendor + 8), ecx)?;
    a.mov(eax, 1)?;
    a.cpuid()?;
    a.mov(dword_ptr(to.signature), eax)?;
    a.mov(dword_ptr(to.features), edx)?;
    a.mov(dword_ptr(to.features + 4), ecx)?;
    a.shr(edx, 4)?;
    a.and(dx, 1)?;
    a.mov(word_ptr(shared.has_tsc), dx)?;
    let (mut no_more, mut no_name) = (a.create_label(), a.create_label());
    a.mov(eax, 0x8000_0000u32)?;
    a.cpuid()?;
    a.cmp(eax, 0x8000_0001u32)?;
    a.jb(no_more)?;
    a.cmp(eax, 0x8000_0004u32)?;
    a.pushf()?;
    a.mov(eax, 0x8000_0001u32)?;
    a.cpuid()?;
    a.mov(dword_ptr(to.features + 8), edx)?;
    a.popf()?;
    a.jb(no_name)?;
    brand(a, shared, to.brand)?;
    a.here(&mut no_name)?;
    a.here(&mut no_more)?;
    a.mov(si, to.vendor)?;
    a.mov(di, CPU.value(2))?;
    a.call(shared.print.text)?;
    version(a, shared, to.signature)
}

/// Emits: the brand string without leading blanks, cut to the width of the section.
fn brand(a: &mut Asm, shared: &Shared, to: u32) -> Emit {
    for leaf in 0..3 {
        a.mov(eax, 0x8000_0002u32 + leaf)?;
        a.cpuid()?;
        for (n, register) in [eax, ebx, ecx, edx].into_iter().enumerate() {
            a.mov(dword_ptr(to + 16 * leaf + 4 * n as u32), register)?;
        }
    }
    a.mov(si, to)?;
    let mut begin = a.create_label();
    let blanks = a.mark()?;
    a.cmp(byte_ptr(si), u32::from(b' '))?;
    a.jne(begin)?;
    a.inc(si)?;
    a.jmp(blanks)?;
    a.here(&mut begin)?;
    a.mov(byte_ptr(si + WIDTH), 0)?;
    a.mov(di, CPU.line(1))?;
    shared.print.colour(a, super::layout::GOOD)?;
    a.call(shared.print.text)?;
    shared.print.colour(a, super::layout::VALUE)
}

/// Emits: family, model and stepping, with their extensions [SDM-2 CPUID figure 3-6].
fn version(a: &mut Asm, shared: &Shared, signature: u32) -> Emit {
    let (mut plain, mut small) = (a.create_label(), a.create_label());
    a.mov(di, CPU.value(3))?;
    shared.print.say(a, super::layout::DIM, "family ")?;
    a.mov(eax, dword_ptr(signature))?;
    a.mov(ebx, eax)?;
    a.shr(eax, 8)?;
    a.and(ax, 15)?;
    a.cmp(al, 15)?;
    a.jne(plain)?;
    a.mov(ecx, ebx)?;
    a.shr(ecx, 20)?;
    a.xor(ch, ch)?;
    a.add(ax, cx)?;
    a.here(&mut plain)?;
    a.push(ax)?;
    a.xor(dx, dx)?;
    a.call(shared.print.decimal)?;
    shared.print.say(a, super::layout::DIM, " model ")?;
    a.pop(dx)?;
    a.mov(ax, bx)?;
    a.shr(ax, 4)?;
    a.and(ax, 15)?;
    a.cmp(dl, 6)?;
    a.jb(small)?;
    a.mov(ecx, ebx)?;
    a.shr(ecx, 12)?;
    a.and(cx, 0xF0)?;
    a.or(ax, cx)?;
    a.here(&mut small)?;
    a.xor(dx, dx)?;
    a.call(shared.print.decimal)?;
    shared.print.say(a, super::layout::DIM, " step ")?;
    a.mov(ax, bx)?;
    a.and(ax, 15)?;
    a.xor(dx, dx)?;
    a.call(shared.print.decimal)
}

/// A routine that prints the names of the features, wrapped into the section's last lines.
fn features(a: &mut Asm, shared: &Shared, answers: &Answers) -> Result<CodeLabel, IcedError> {
    let mut table = Vec::new();
    for (bit, name) in FEATURES {
        table.extend_from_slice(&[bit, u8::try_from(name.len()).unwrap_or(0) + 1]);
        table.extend_from_slice(format!("{name} \0").as_bytes());
    }
    table.push(0xFF);
    let table = a.bytes(&table);
    let (first, last) = (CPU.value(4), CPU.value(7));
    // Characters of a line of names: BP is where the line began.
    let width = 2 * (WIDTH - 9 + 1);
    let (mut show, mut fits, mut end) = (a.create_label(), a.create_label(), a.create_label());
    let entry = a.mark()?;
    a.mov(si, table)?;
    a.mov(di, first)?;
    a.mov(bp, di)?;
    let next = a.mark()?;
    a.lodsw()?;
    a.cmp(al, 0xFFu32)?;
    a.je(end)?;
    a.mov(dl, ah)?;
    a.xor(dh, dh)?;
    a.newer(|a| {
        a.xor(ah, ah)?;
        a.bt(word_ptr(answers.features), ax)
    })?;
    a.jc(show)?;
    a.add(si, dx)?;
    a.inc(si)?;
    a.jmp(next)?;
    a.here(&mut show)?;
    a.mov(bx, dx)?;
    a.shl(bx, 1)?;
    a.add(bx, di)?;
    a.sub(bx, bp)?;
    a.cmp(bx, width)?;
    a.jbe(fits)?;
    a.add(bp, 160u32)?;
    a.mov(di, bp)?;
    a.cmp(di, last)?;
    a.ja(end)?;
    a.here(&mut fits)?;
    a.call(shared.print.text)?;
    a.jmp(next)?;
    a.here(&mut end)?;
    a.ret()?;
    Ok(entry)
}
