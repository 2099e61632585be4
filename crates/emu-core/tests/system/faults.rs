//! Which fault with which error code each failing check raises [SDM-3 chapter 5, 6.15].

use super::guest::*;

/// `mov eax, sel` and then `mov <sreg>, eax`.
fn load(sreg: u8, sel: u16) -> Vec<u8> {
    let mut code = vec![0xB8];
    code.extend(u32::from(sel).to_le_bytes());
    code.extend([0x8E, 0xC0 | sreg << 3]);
    code
}

fn far(opcode: u8, sel: u16) -> Vec<u8> {
    let mut code = vec![opcode];
    code.extend((CODE as u32).to_le_bytes());
    code.extend(sel.to_le_bytes());
    code
}

const ES: u8 = 0;
const SS: u8 = 2;
const DS: u8 = 3;
const JMP: u8 = 0xEA;
const CALL: u8 = 0x9A;
const HLT: &[u8] = &[0xF4];

#[test]
fn segment_loads() {
    let cases: &[(u8, Vec<u8>, u8, Option<u16>)] = &[
        (0, load(SS, 0), 13, Some(0)),
        (0, load(SS, BEYOND), 13, Some(BEYOND)),
        (0, load(SS, DATA3), 13, Some(DATA3 & !3)),
        (0, load(SS, DATA0 | 3), 13, Some(DATA0)),
        (0, load(SS, CODE0), 13, Some(CODE0)),
        (0, load(SS, READ_ONLY), 13, Some(READ_ONLY)),
        (3, load(SS, DATA0), 13, Some(DATA0)),
        (0, load(DS, BEYOND), 13, Some(BEYOND)),
        (0, load(DS, LDTR), 13, Some(LDTR)),
        (3, load(DS, DATA0), 13, Some(DATA0)),
        (3, load(ES, 0x0C), 13, Some(0x0C)),
        (3, load(DS, ABSENT | 3), 11, Some(ABSENT)),
        (0, load(DS, ABSENT), 11, Some(ABSENT)),
        (3, HLT.to_vec(), 13, Some(0)),
    ];
    check(cases);
}

#[test]
fn far_transfers() {
    let cases: &[(u8, Vec<u8>, u8, Option<u16>)] = &[
        (0, far(JMP, 0), 13, Some(0)),
        (0, far(JMP, BEYOND), 13, Some(BEYOND)),
        (0, far(JMP, DATA0), 13, Some(DATA0)),
        (3, far(JMP, CODE0), 13, Some(CODE0)),
        (0, far(JMP, CODE3), 13, Some(CODE3 & !3)),
        (3, far(CALL, TR), 13, Some(TR)),
        (0, far(JMP, TR), 13, Some(TR)), // busy
        (0, far(CALL, LDTR), 13, Some(LDTR)),
        // A call gate may lead inwards, a jump through it may not.
        (3, far(JMP, GATE), 13, Some(CODE0)),
    ];
    check(cases);
}

#[test]
fn what_only_ring_0_may_do() {
    let privileged: &[&[u8]] = &[
        &[0x0F, 0x22, 0xC0],             // mov cr0, eax
        &[0x0F, 0x20, 0xC0],             // mov eax, cr0
        &[0x0F, 0x23, 0xC0],             // mov dr0, eax
        &[0x0F, 0x01, 0x15, 0, 0, 1, 0], // lgdt
        &[0x0F, 0x00, 0xD8],             // ltr ax
        &[0x0F, 0x00, 0xD0],             // lldt ax
        &[0x0F, 0x01, 0xF0],             // lmsw ax
        &[0x0F, 0x06],                   // clts
        &[0x0F, 0x30],                   // wrmsr
        &[0x0F, 0x32],                   // rdmsr
        &[0x0F, 0x08],                   // invd
        &[0x0F, 0x01, 0x38],             // invlpg [eax]
    ];
    let cases: Vec<_> = privileged.iter().map(|code| (3, code.to_vec(), 13, Some(0))).collect();
    check(&cases);
}

#[test]
fn values_that_control_registers_refuse() {
    let with = |eax: u32, code: &[u8]| [&[0xB8], &eax.to_le_bytes()[..], code].concat();
    check(&[
        (0, with(0x8000_0010, &[0x0F, 0x22, 0xC0]), 13, Some(0)),
        (0, with(0x2000_0011, &[0x0F, 0x22, 0xC0]), 13, Some(0)),
        (0, with(0x8000_0000, &[0x0F, 0x22, 0xE0]), 13, Some(0)),
        (0, vec![0x0F, 0x22, 0xC8], 6, None),
        (0, vec![0xB9, 0xFF, 0xFF, 0, 0, 0x0F, 0x32], 13, Some(0)),
        (0, vec![0x0F, 0x05], 6, None),
    ]);
}

fn check(cases: &[(u8, Vec<u8>, u8, Option<u16>)]) {
    for (ring, code, vector, error) in cases {
        let mut g = Guest::new(code);
        g.ring(*ring);
        let found = g.run_to_fault();
        assert_eq!(found, (*vector, *error), "ring {ring}, {code:02X?}");
        // The frame's return address is that of the instruction, and its CS the old one.
        let first = u64::from(error.is_some());
        assert!(u64::from(g.stack(first)) >= CODE && u64::from(g.stack(first)) < CODE + code.len() as u64);
        assert_eq!(g.stack(first + 1) as u16, if *ring == 0 { CODE0 } else { CODE3 });
    }
}

#[test]
fn a_null_selector_faults_on_use_only() {
    let mut code = load(DS, 3);
    code.extend([0xA1, 0, 0, 0, 0]); // mov eax, [0]
    let mut g = Guest::new(&code);
    assert_eq!(g.run_to_fault(), (13, Some(0)));
    assert_eq!(g.stack(1), CODE as u32 + 7);
}

#[test]
fn loading_sets_the_accessed_bit() {
    let mut g = Guest::new(&[load(DS, DATA0), HLT.to_vec()].concat());
    let at = GDT + u64::from(DATA0) + 4;
    let clear = g.word(at) & !0x100;
    g.words(at, &[clear]);
    g.run();
    assert_eq!(g.word(at), clear | 0x100);
}

#[test]
fn questions_about_selectors() {
    // verr, verw, lar, lsl on selectors in AX; ZF of each is collected by SETcc-free means: the flags at the end.
    for (ring, sel, op, good) in [
        (3, DATA3, 0xE0, true),
        (3, DATA0, 0xE0, false),
        (3, CONFORMING, 0xE0, true),
        (0, READ_ONLY, 0xE0, true),
        (0, READ_ONLY, 0xE8, false),
        (0, DATA0, 0xE8, true),
        (0, CODE0, 0xE8, false),
        (0, BEYOND, 0xE0, false),
        (0, 0, 0xE0, false),
        (0, TR, 0xE0, false),
    ] {
        let mut code = vec![0xB8];
        code.extend(u32::from(sel).to_le_bytes());
        code.extend([0x0F, 0x00, op, 0x0F, 0x0B]);
        let mut g = Guest::new(&code);
        g.ring(ring);
        assert_eq!(g.run_to_fault().0, 6);
        assert_eq!(g.stack(2) & 0x40 != 0, good, "{op:X} of {sel:X} at ring {ring}");
    }
    let code = assembled(32, CODE, |a| {
        use iced_x86::code_asm::*;
        a.mov(eax, u32::from(LDTR))?;
        a.lar(ebx, eax)?;
        a.lsl(ecx, eax)?;
        a.mov(eax, u32::from(DATA0))?;
        a.lsl(edx, eax)?;
        a.hlt()
    });
    let mut g = Guest::new(&code);
    g.run();
    assert_eq!(g.sys.cpu.regs[3], 0x8200);
    assert_eq!(g.sys.cpu.regs[1], 0x17);
    assert_eq!(g.sys.cpu.regs[2], 0xFFFF_FFFF);
}

#[test]
fn a_fault_without_a_gate_ends_in_shutdown() {
    let mut g = Guest::new(&[0x0F, 0x0B]);
    g.sys.cpu.idtr.limit = 0;
    assert_eq!(g.sys.run(emu_core::Ticks(100)), emu_core::Stop::TripleFault);
}

#[test]
fn a_contributory_pair_is_a_double_fault() {
    // Vector 6's gate leads to a segment that is absent: #NP is delivered, as #UD is benign.
    let mut g = Guest::new(&[0x0F, 0x0B]);
    g.words(IDT + 48, &gate(ABSENT, 0, 0x0E, 0));
    assert_eq!(g.run_to_fault(), (11, Some(6 << 3 | 3)));
    // #GP whose gate is absent: contributory twice.
    let mut g = Guest::new(&far(JMP, 0));
    g.words(IDT + 13 * 8, &gate(CODE0, 0, 0x0E, 0));
    assert_eq!(g.run_to_fault(), (8, Some(0)));
}
