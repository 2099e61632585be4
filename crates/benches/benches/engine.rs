//! What the engine's parts cost: guest instructions (ticks) per second of small loops, each of which leans on one part.
//!
//! `cargo bench -p benches`, or with a name to run only what contains it.

use std::hint::black_box;
use std::time::Duration;

use benches::{CODE, DATA, HOLE, assembled, machine, run};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use iced_x86::IcedError;
use iced_x86::code_asm::*;

/// Instructions of one measured call: enough that entering and leaving `System::run` does not count.
const TICKS: u64 = 100_000;

/// Where the loop's body starts: behind two MOV of 5 bytes and CLD.
const BODY: i32 = CODE as i32 + 11;

type Program = fn(&mut CodeAssembler) -> Result<(), IcedError>;

/// Puts `body` into an endless loop, with EBX and ESI pointing to data.
fn looped(body: Program) -> Vec<u8> {
    assembled(|a| {
        let mut again = a.create_label();
        a.mov(ebx, DATA as i32)?;
        a.mov(esi, DATA as i32 + 0x2000)?;
        a.cld()?;
        a.set_label(&mut again)?;
        body(a)?;
        a.jmp(again)
    })
}

/// Six independent instructions of registers: one op each, nothing but dispatch.
fn dispatch(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.mov(eax, ecx)?;
    a.lea(edx, dword_ptr(eax + ecx * 4 + 8))?;
    a.mov(ebp, edx)?;
    a.movzx(edi, al)?;
    a.mov(eax, 7)?;
    a.xchg(eax, ecx)
}

/// Jumps and branches, taken and not, linked inside of one page.
fn branches(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut odd, mut even) = (a.create_label(), a.create_label());
    a.inc(ecx)?;
    a.test(cl, 1)?;
    a.jnz(odd)?;
    a.inc(edx)?;
    a.jmp(even)?;
    a.set_label(&mut odd)?;
    a.dec(edx)?;
    a.set_label(&mut even)?;
    a.nop()
}

/// A call through a register and its return: both look their targets up.
fn indirect(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut over = a.create_label();
    a.mov(eax, BODY + 5 + 2 + 2)?; // the RET: behind MOV, CALL and JMP
    a.call(eax)?;
    a.jmp(over)?;
    a.ret()?;
    a.set_label(&mut over)?;
    a.nop()
}

/// Loads, a store and a read-modify-write that find their page in the TLB.
fn tlb_hit(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.mov(eax, dword_ptr(ebx))?;
    a.mov(ecx, dword_ptr(esi + 4))?;
    a.mov(dword_ptr(ebx + 8), ecx)?;
    a.add(dword_ptr(esi + 12), eax)?;
    a.movzx(edx, byte_ptr(ebx + 16))?;
    a.mov(byte_ptr(esi + 20), dl)
}

/// Loads of pages 8 MiB apart, which share one place in the TLB: each walks the page tables.
fn tlb_miss(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.mov(eax, dword_ptr(ebx))?;
    a.mov(eax, dword_ptr(ebx + 0x80_0000))
}

/// Flags that somebody reads: carry chains, conditions, and the whole register.
fn flags(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.add(eax, 0x7654_3210)?;
    a.adc(edx, 0)?;
    a.sbb(ecx, eax)?;
    a.setle(cl)?;
    a.shr(edx, 1)?;
    a.cmovc(edi, eax)?;
    a.cmp(eax, edx)?;
    a.pushfd()?;
    a.pop(ebp)
}

fn rep(a: &mut CodeAssembler, count: i32) -> Result<(), IcedError> {
    a.mov(edi, DATA as i32 + 0x10_0000)?;
    a.mov(esi, DATA as i32)?;
    a.mov(ecx, count)
}

/// 4 KiB at a time, over page boundaries.
fn rep_movsd(a: &mut CodeAssembler) -> Result<(), IcedError> {
    rep(a, 1024)?;
    a.rep().movsd()
}

/// 12 bytes at a time: what starting a REP costs.
fn rep_movsd_small(a: &mut CodeAssembler) -> Result<(), IcedError> {
    rep(a, 3)?;
    a.rep().movsd()
}

fn rep_stosb(a: &mut CodeAssembler) -> Result<(), IcedError> {
    rep(a, 4096)?;
    a.rep().stosb()
}

/// INT 80h and IRET at ring 0.
fn interrupts(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.int(0x80)
}

/// A page fault whose handler goes on behind the instruction.
fn page_faults(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.mov(ebx, HOLE as i32)?;
    a.db(&[0x8B, 0x43, 0x08]) // mov eax, [ebx + 8]: three bytes, as the handler expects
}

/// A CR3 reload and the two pages that are walked again.
fn cr3_reload(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.mov(eax, cr3)?;
    a.mov(cr3, eax)?;
    a.mov(ecx, dword_ptr(esi))
}

/// A store into the next instruction's immediate, which changes each time: the block is built anew.
fn self_modifying(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.inc(ecx)?;
    a.mov(byte_ptr(BODY + 1 + 6 + 1), cl)?; // behind INC, this MOV, and the next one's opcode
    a.mov(al, 0)
}

/// x87: load, multiply, add, store.
fn x87(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.fld1()?;
    a.fldpi()?;
    a.fmul_2(st0, st1)?;
    a.db(&[0xDE, 0xC1])?; // faddp st(1), st
    a.fstp(qword_ptr(ebx))
}

fn sse2(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.movups(xmm0, xmmword_ptr(ebx))?;
    a.paddd(xmm0, xmm1)?;
    a.pxor(xmm1, xmm0)?;
    a.cvtsi2sd(xmm2, ecx)?;
    a.mulsd(xmm2, xmm2)?;
    a.movups(xmmword_ptr(esi), xmm0)
}

/// An instruction without a handler of its own, run from its decoded form.
fn decoded_form(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.daa()
}

const LOOPS: [(&str, Program); 17] = [
    ("dispatch", dispatch),
    ("branches", branches),
    ("indirect", indirect),
    ("tlb hit", tlb_hit),
    ("tlb miss", tlb_miss),
    ("flags", flags),
    ("rep movsd 4 KiB", rep_movsd),
    ("rep movsd 12 B", rep_movsd_small),
    ("rep stosb 4 KiB", rep_stosb),
    ("int and iret", interrupts),
    ("page fault", page_faults),
    ("cr3 reload", cr3_reload),
    ("self-modifying", self_modifying),
    ("x87", x87),
    ("sse2", sse2),
    ("decoded form", decoded_form),
    ("empty loop", |_| Ok(())),
];

fn loops(c: &mut Criterion) {
    let mut group = c.benchmark_group("loop");
    group.throughput(Throughput::Elements(TICKS));
    for (name, program) in LOOPS {
        let mut sys = machine(&looped(program));
        group.bench_function(name, |b| b.iter(|| run(&mut sys, TICKS)));
    }
}

/// Straight code that runs once: the cost of decoding it, per instruction.
fn block_build(c: &mut Criterion) {
    const INSNS: u64 = 4000;
    let code = assembled(|a| {
        for i in 0..INSNS as i32 / 4 {
            a.mov(eax, dword_ptr(ebx + i))?;
            a.add(eax, i)?;
            a.lea(ecx, dword_ptr(eax + ecx * 2))?;
            a.cmp(ecx, 3)?;
        }
        a.hlt()
    });
    let mut group = c.benchmark_group("build");
    group.throughput(Throughput::Elements(INSNS));
    group.bench_function("straight code", |b| {
        b.iter_batched_ref(|| machine(&code), |sys| run(sys, INSNS), BatchSize::PerIteration);
    });
    group.bench_function("machine", |b| b.iter(|| black_box(machine(&code).cpu.rip == CODE)));
}

criterion_group! {
    name = engine;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(500));
    targets = loops, block_build
}
criterion_main!(engine);
