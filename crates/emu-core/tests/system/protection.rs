//! Rights that depend on control registers: pages, ports, alignment, flags of virtual interrupts, addresses that exist.

use super::guest::*;
use emu_core::cpu::model::{Feature, Kind};
use emu_core::cpu::{Fault, Model};
use emu_core::{Access, Ticks};
use iced_x86::IcedError;
use iced_x86::code_asm::*;

const WP: u64 = 1 << 16;
const PAE: u64 = 1 << 5;
const SMEP: u64 = 1 << 20;
const SMAP: u64 = 1 << 21;
const PKE: u64 = 1 << 22;
const PKS: u64 = 1 << 24;
const AC: u32 = 1 << 18;

const READ: Access = Access { write: false, fetch: false, user: false, implicit: false };
const WRITE: Access = Access { write: true, ..READ };
const FETCH: Access = Access { fetch: true, ..READ };
const IMPLICIT: Access = Access { implicit: true, ..READ };

const fn user(a: Access) -> Access {
    Access { user: true, ..a }
}

/// Long mode by hand, with one page at 40_0000h that `entry` maps.
fn mapped(entry: u64) -> Guest {
    let mut g = Guest::with_model(
        [Feature::Smep, Feature::Smap, Feature::Pku, Feature::Pks, Feature::Pdpe1gb]
            .into_iter()
            .fold(Model::new(Kind::X64V1), |m, f| m.with(f, true)),
        &[],
    );
    let mut put = |at: u64, v: u64| g.sys.mem.write(at, &v.to_le_bytes());
    put(0x38_0000, 0x38_1007);
    put(0x38_1000, 0x38_2007);
    put(0x38_2010, 0x38_3007);
    put(0x38_3000, entry);
    let cpu = &mut g.sys.cpu;
    (cpu.cr0, cpu.cr3, cpu.cr4, cpu.efer) = (0x8000_0011, 0x38_0000, PAE, 0xD01);
    cpu.refresh_segments();
    g
}

fn code(g: &mut Guest, access: Access) -> Option<u16> {
    g.sys.translate(0x40_0123, access).err().and_then(Fault::code)
}

/// Access rights and error codes [SDM-3 4.6, 4.7].
#[test]
fn rights_of_pages() {
    const RO: u64 = 0x20_0001;
    const RW: u64 = 0x20_0003;
    const USER: u64 = 0x20_0005;
    const USER_RW: u64 = 0x20_0007;
    const XD: u64 = 1 << 63;
    const KEY: u64 = 5 << 59;
    // Entry; bits of CR0, CR4 and EFLAGS; the access; its error code.
    type Case = (u64, u64, u64, u32, Access, Option<u16>);
    let cases: &[Case] = &[
        (RW, 0, 0, 0, user(READ), Some(0x05)),
        (USER, 0, 0, 0, user(WRITE), Some(0x07)),
        (USER_RW, 0, 0, 0, user(WRITE), None),
        (RO, 0, 0, 0, WRITE, None),
        (RO, WP, 0, 0, WRITE, Some(0x03)),
        (USER, WP, 0, 0, WRITE, Some(0x03)),
        (USER | XD, 0, 0, 0, user(FETCH), Some(0x15)),
        (RW | XD, 0, 0, 0, FETCH, Some(0x11)),
        (USER, 0, 0, 0, FETCH, None),
        (USER, 0, SMEP, 0, FETCH, Some(0x11)),
        (USER, 0, SMEP, 0, READ, None),
        (USER, 0, SMAP, 0, READ, Some(0x01)),
        (USER_RW, 0, SMAP, 0, WRITE, Some(0x03)),
        (USER, 0, SMAP, AC, READ, None),
        (USER, 0, SMAP, AC, IMPLICIT, Some(0x01)),
        (USER, 0, SMAP, 0, user(READ), None),
        (RW | 1 << 51, 0, 0, 0, READ, Some(0x09)),
        (USER | 1 << 51, 0, 0, 0, user(WRITE), Some(0x0F)),
        (USER_RW | KEY, 0, PKE, 0, user(READ), None),
        (USER_RW | KEY | 1 << 59 << 1, 0, PKE, 0, user(READ), Some(0x25)),
        (USER_RW | KEY | 1 << 59 << 1, 0, PKE, 0, READ, Some(0x21)),
        (USER_RW | KEY | 1 << 59 << 1, 0, PKE, 0, user(FETCH), None),
        (USER_RW | KEY, 0, PKE, 0, user(WRITE), Some(0x27)),
        (USER_RW | KEY, 0, PKE, 0, WRITE, None),
        (USER_RW | KEY, WP, PKE, 0, WRITE, Some(0x23)),
        (RW | KEY, WP, PKE, 0, WRITE, None),
        (RW | KEY, 0, PKS, 0, READ, Some(0x21)),
    ];
    for &(entry, c0, c4, eflags, access, expected) in cases {
        let mut g = mapped(entry);
        g.sys.cpu.cr0 |= c0;
        g.sys.cpu.cr4 |= c4;
        g.sys.cpu.eflags |= eflags;
        // Key 5: no writes for user pages, nothing at all for supervisor pages; key 7: nothing for user pages.
        g.sys.cpu.key_rights = [2 << 10 | 1 << 14, 1 << 10];
        assert_eq!(code(&mut g, access), expected, "{entry:X} {c0:X} {c4:X} {access:?}");
    }
}

/// Pages of 1 GiB, and of 4 MiB above 4 GiB [SDM-3 4.5.4, 4.3].
#[test]
fn large_pages() {
    let mut g = mapped(0);
    g.words(0x38_1000, &[0x4000_0087, 0]);
    assert_eq!(g.sys.translate(0x1234_5678, READ).unwrap().pa, 0x5234_5678);
    g.words(0x38_1000, &[0x4000_2087, 0]);
    assert_eq!(code(&mut g, READ), Some(9), "bits below the page are reserved");
    g.sys.cpu.model = g.sys.cpu.model.with(Feature::Pdpe1gb, false);
    g.words(0x38_1000, &[0x4000_0087, 0]);
    assert_eq!(code(&mut g, READ), Some(9));

    let mut g = Guest::with_model(Model::new(Kind::P6), &[]);
    g.words(0x30_0000, &[0, 0x0081_E083, 0x00A0_0083]);
    (g.sys.cpu.cr0, g.sys.cpu.cr3, g.sys.cpu.cr4) = (0x8000_0011, 0x30_0000, 0x10);
    assert_eq!(g.sys.translate(0x40_0123, READ).unwrap().pa, 0xF_0080_0123);
    assert_eq!(g.sys.translate(0x80_0123, READ).unwrap_err().code(), Some(9), "bit 21 is reserved");
}

/// Up to the Pentium a walk that faults marks nothing as accessed; later ones mark what they used.
#[test]
fn accessed_bits_of_walks_that_fault() {
    for (kind, directory) in [(Kind::I80386, 0x30_1007), (Kind::P6, 0x30_1027)] {
        let mut g = Guest::with_model(Model::new(kind), &[]);
        g.identity_pages();
        g.words(0x30_1800, &[0]);
        assert_eq!(g.sys.translate(0x20_0000, READ).unwrap_err().code(), Some(0));
        assert_eq!(g.word(0x30_0000), directory);
        g.sys.translate(0x20_1000, READ).unwrap();
        assert_eq!((g.word(0x30_0000), g.word(0x30_1804)), (0x30_1027, 0x20_1027));
    }
}

/// The bitmap is asked where IOPL is too low: a bit per port, all of an access's [SDM-1 18.5.2].
#[test]
fn the_port_bitmap() {
    // in al, dx; in ax, dx; in eax, dx
    for (code, size) in [(&[0xEC][..], 1u16), (&[0x66, 0xED], 2), (&[0xED], 4)] {
        for (port, iopl, limit, allowed) in [
            (0x40u16, 0u32, 0x88u32, true),
            (0x41, 0, 0x88, true),
            (0x43, 0, 0x88, size == 1),
            (0x44, 0, 0x88, false),
            (0x45, 0, 0x88, true),
            (0x44, 3, 0x88, true),
            (0x60, 0, 0x73, false),
            (0x40, 0, 0x71, true),
            (0x40, 0, 0x70, false),
        ] {
            let mut g = Guest::new(&[code, &[0x0F, 0x0B]].concat());
            g.ring(3);
            g.words(TSS + 0x64, &[0x68 << 16]);
            g.sys.mem.write(TSS + 0x68 + 8, &[0x10, 0]); // port 44h
            g.sys.cpu.tr.limit = limit;
            g.sys.cpu.eflags |= iopl << 12;
            g.sys.cpu.regs[2] = port.into();
            let wide = port == 0x41 && size == 4;
            let expected = if allowed && !wide { (6, None) } else { (13, Some(0)) };
            assert_eq!(g.run_to_fault(), expected, "{size} ports at {port:X}, limit {limit:X}");
        }
    }
}

/// #AC at ring 3 only, and past no warm translation [SDM-3 6.15, "Interrupt 17"].
#[test]
fn alignment() {
    let code = assembled(32, CODE, |a| {
        a.mov(eax, dword_ptr(0x7_0001))?; // warms the translation
        a.pushfd()?;
        a.or(dword_ptr(esp), AC as i32)?;
        a.popfd()?;
        a.mov(eax, dword_ptr(0x7_0004))?;
        a.mov(al, byte_ptr(0x7_0005))?;
        a.mov(eax, dword_ptr(0x7_0005))?;
        a.db(&[0x0F, 0x0B])
    });
    let misaligned = code.len() as u32 - 7;
    for (ring, am, expected) in [(3, true, 17), (3, false, 6), (0, true, 6)] {
        let mut g = Guest::new(&code);
        g.sys.cpu.cr0 |= if am { AC.into() } else { 0 };
        g.ring(ring);
        let (vector, error) = g.run_to_fault();
        assert_eq!(vector, expected);
        if vector == 17 {
            assert_eq!((error, g.stack(1)), (Some(0), CODE as u32 + misaligned));
        }
    }
}

const VIF: u32 = 1 << 19;
const VIP: u32 = 1 << 20;

/// V86 mode with its extensions: ring 0's IRETD to 0500:0000 with `flags`; the redirection bitmap lies at TSS + 68h.
fn v86(code: &[u8], flags: u32) -> Guest {
    let mut g = Guest::new(&[0xCF]);
    g.sys.mem.write(0x5000, code);
    let at = u64::from(STACK0) - 36;
    g.words(at, &[0, 0x500, 0x2_0002 | flags, 0xFFF0, 0x4000, 0, 0, 0, 0]);
    g.sys.cpu.regs[4] = at;
    g.sys.cpu.cr4 = 1;
    g.words(TSS + 0x64, &[0x88 << 16]);
    g.sys.cpu.tr.limit = 0x90;
    g
}

/// CLI, STI, PUSHF and POPF act on VIF below IOPL 3, on IF at IOPL 3 [SDM-3 20.3].
#[test]
fn virtual_interrupt_flag() {
    // sti; pushf; pop ax; cli; pushf; pop bx; ud2
    let program = [0xFB, 0x9C, 0x58, 0xFA, 0x9C, 0x5B, 0x0F, 0x0B];
    for (iopl, set) in [(0, VIF), (3, 0x200)] {
        let mut g = v86(&program, iopl << 12);
        assert_eq!(g.run_to_fault().0, 6);
        assert_eq!(g.sys.cpu.regs[0] & 0x3200, 0x3200, "IF as the program sees it, and IOPL 3");
        assert_eq!(g.sys.cpu.regs[3] & 0x3200, 0x3000);
        assert_eq!(g.stack(2) & (VIF | 0x200), 0);
        let mut g = v86(&[0xFB, 0x0F, 0x0B], iopl << 12);
        g.run_to_fault();
        assert_eq!(g.stack(2) & (VIF | 0x200), set);
    }
    let mut g = v86(&[0xFB], VIP);
    assert_eq!(g.run_to_fault(), (13, Some(0)), "an interrupt waits");
    let mut g = v86(&[0x66, 0x9C], 0);
    assert_eq!(g.run_to_fault(), (13, Some(0)), "there is no 32-bit form");
}

/// INT n by the redirection bitmap: the program's own handler, or the monitor's [SDM-3 20.3.3, table 20-2].
#[test]
fn redirected_interrupts() {
    for (iopl, clear, own) in [(0, true, true), (3, true, true), (3, false, false), (0, false, false)] {
        let mut g = v86(&[0xCD, 0x04], iopl << 12 | VIF);
        g.words(0x10, &[0x0600_0000]); // vector 4: 0600:0000
        g.sys.mem.write(0x6000, &[0x0F, 0x0B]);
        g.sys.mem.write(TSS + 0x68, &[if clear { 0 } else { 0x10 }]);
        let (vector, error) = g.run_to_fault();
        if own {
            assert_eq!((vector, g.stack(1), g.stack(2) & (VIF | 0x300)), (6, 0x600, if iopl == 0 { 0 } else { VIF }));
            // The frame in V86 memory: IP, CS, FLAGS with IOPL 3 and VIF in the place of IF below IOPL 3.
            let frame: Vec<u16> = (0..3).map(|i| g.sys.mem.load::<u16>(0x4_FFEA + 2 * i)).collect();
            assert_eq!((frame[0], frame[1], frame[2] & 0x3200), (2, 0x500, if iopl == 0 { 0x3200 } else { 0x3000 }));
        } else {
            assert_eq!((vector, error), if iopl == 3 { (4, None) } else { (13, Some(0)) });
        }
    }
}

/// Protected-mode virtual interrupts: CLI and STI of ring 3 [SDM-3 20.4].
#[test]
fn protected_virtual_interrupts() {
    for (pvi, flags, program, expected) in [
        (true, 0, &[0xFB, 0x0F, 0x0B][..], (6, None, VIF)),
        (true, VIF, &[0xFA, 0x0F, 0x0B], (6, None, 0)),
        (true, VIP, &[0xFB, 0x0F, 0x0B], (13, Some(0), 0)),
        (false, 0, &[0xFB, 0x0F, 0x0B], (13, Some(0), 0)),
    ] {
        let mut g = Guest::new(program);
        g.ring(3);
        g.sys.cpu.eflags |= flags;
        g.sys.cpu.cr4 = u64::from(pvi) << 1;
        let (vector, error) = g.run_to_fault();
        let pushed = g.stack(2 + u64::from(error.is_some()));
        assert_eq!((vector, error, pushed & VIF), expected);
    }
}

/// Addresses that are not canonical: #SS(0) by the stack and by RSP or RBP, #GP(0) by all others [SDM-1 3.3.7.1].
#[test]
fn addresses_that_do_not_exist() {
    const BAD: u64 = 0x8000_0000_1000;
    type Insn = fn(&mut CodeAssembler) -> Result<(), IcedError>;
    let cases: [(&str, Insn, u8); 9] = [
        ("mov [rax]", |a| a.mov(rcx, qword_ptr(rax)), 13),
        ("mov [rax], store", |a| a.mov(dword_ptr(rax), ecx), 13),
        ("mov [rbp]", |a| a.mov(rcx, qword_ptr(rbp)), 12),
        ("add [rbp], store", |a| a.add(dword_ptr(rbp), ecx), 12),
        ("push", |a| a.push(rax), 12),
        ("push [rax]", |a| a.push(qword_ptr(rax)), 13),
        ("pop", |a| a.pop(rcx), 12),
        ("jmp", |a| a.jmp(rax), 13),
        ("movups [rax]", |a| a.movups(xmm0, xmmword_ptr(rax)), 13),
    ];
    for (name, insn, vector) in cases {
        let mut g = super::long::guest(&assembled(64, CODE + 0x200, insn));
        let start = CODE + 0x200;
        while g.sys.cpu.rip != start {
            g.sys.run(Ticks(g.sys.now().0 + 1));
        }
        g.sys.cpu.cr4 |= 1 << 9; // OSFXSR
        for r in [0, 4, 5] {
            g.sys.cpu.regs[r] = BAD;
        }
        if name.contains("[rax]") || name == "jmp" {
            g.sys.cpu.regs[4] = STACK0.into();
        }
        if vector == 12 {
            // A handler needs a stack of its own.
            let [low, high] = gate(CODE64, (HANDLERS + 16 * 12) as u32, 0x8E, 1);
            g.words(IDT + 16 * 12, &[low, high, 0, 0]);
        }
        assert_eq!(g.run_to_fault(), (vector, Some(0)), "{name}");
    }
}

/// The sixteenth byte is a #GP(0); the 80286 stops at ten [SDM-2 2.3.11].
#[test]
fn instruction_lengths() {
    let prefixed = |n: usize| [vec![0x3E; n], vec![0x90, 0x0F, 0x0B]].concat();
    assert_eq!(Guest::new(&prefixed(14)).run_to_fault().0, 6);
    assert_eq!(Guest::new(&prefixed(15)).run_to_fault(), (13, Some(0)));
    // Of an instruction that may not be locked, too: the length comes first. So with an opcode that nobody knows.
    let locked = |n: usize, opcode: &[u8]| [&vec![0x3E; n][..], opcode, &[0x90; 4]].concat();
    for (opcode, fits) in [(&[0xF0, 0x40][..], 13), (&[0xF0, 0x05, 1, 2, 3, 4], 9), (&[0x0F, 0xFF, 0xC0], 12)] {
        assert_eq!(Guest::new(&locked(fits, opcode)).run_to_fault(), (6, None), "{opcode:x?}");
        assert_eq!(Guest::new(&locked(fits + 1, opcode)).run_to_fault(), (13, Some(0)), "{opcode:x?}");
    }
}

/// Registers that a model has not [SDM-4 chapter 2].
#[test]
fn absent_model_specific_registers() {
    for (kind, number, there) in [
        (Kind::Pentium, 0x10u32, true),
        (Kind::Pentium, 0x1B, false),
        (Kind::Pentium, 0x277, false),
        (Kind::P6, 0x277, true),
        (Kind::P6, 0xC000_0080, false),
        (Kind::X64V1, 0xC000_0080, true),
        (Kind::X64V1, 0xC000_0103, false),
        (Kind::X64V1, 0x6E1, false),
        (Kind::X64V1, 0x1234_5678, false),
    ] {
        let code = assembled(32, CODE, |a| {
            a.mov(ecx, number)?;
            a.rdmsr()?;
            a.db(&[0x0F, 0x0B])
        });
        let mut g = Guest::with_model(Model::new(kind), &code);
        assert_eq!(g.run_to_fault().0, if there { 6 } else { 13 }, "{number:X} on {kind:?}");
    }
}

/// A page fault while a page fault is delivered is a double fault; after a contributory one it is not [SDM-3 table 6-5].
#[test]
fn page_faults_on_top_of_others() {
    // IDT entries 0 to 15 in a page of their own, at 20_0000h.
    let with_gates_of = |vector: u64, missing: &[u64]| {
        let mut g =
            Guest::new(if vector == 14 { &[0xA1, 0, 0x10, 0x20, 0][..] } else { &[0xEA, 0, 0, 0, 0, 0, 0][..] });
        g.identity_pages();
        g.words(0x30_1804, &[0]); // 20_1000h, which the program reads
        for &v in missing {
            // Its handler's segment is absent: #NP with the vector's gate.
            g.words(IDT + 8 * v, &gate(ABSENT, 0, 0x8E, 0));
        }
        g.run_to_fault()
    };
    assert_eq!(with_gates_of(14, &[14]), (8, Some(0)), "#NP during #PF");
    assert_eq!(with_gates_of(13, &[13]), (8, Some(0)), "#NP during #GP");
    assert_eq!(with_gates_of(13, &[]), (13, Some(0)));
}
