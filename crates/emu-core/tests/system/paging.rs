//! Page faults: their codes, and that the instruction starts again.

use super::guest::*;
use iced_x86::code_asm::*;

const PTE: u64 = 0x30_1000 + 4 * 0x200; // of 0x20_0000

fn with_page(ring: u8, pte: u32, code: &[u8]) -> Guest {
    let mut g = Guest::new(code);
    g.ring(ring);
    g.identity_pages();
    g.words(PTE, &[pte]);
    g
}

#[test]
fn error_codes() {
    let read = assembled(32, CODE, |a| a.mov(eax, dword_ptr(0x20_0010)));
    let write = assembled(32, CODE, |a| a.mov(dword_ptr(0x20_0010), eax));
    let fetch = [&[0xEA, 0x10, 0, 0x20, 0][..], &CODE0.to_le_bytes()].concat();
    for (ring, pte, code, error) in [
        (0, 0, &read, 0),
        (0, 0, &write, 2),
        (0, 0x20_0005, &write, 3),
        (3, 0x20_0003, &read, 5),
        (3, 0x20_0005, &write, 7),
        (3, 0, &write, 6),
        (0, 0, &fetch, 0),
    ] {
        let mut g = with_page(ring, pte, code);
        assert_eq!(g.run_to_fault(), (14, Some(error)), "ring {ring}, entry {pte:X}");
        assert_eq!(g.sys.cpu.cr2, 0x20_0010);
    }
}

#[test]
fn a_handler_maps_the_page_and_the_instruction_goes_on() {
    let code = assembled(32, CODE, |a| {
        a.mov(eax, 0x77)?;
        a.mov(dword_ptr(0x20_0010), eax)?;
        a.mov(ebx, dword_ptr(0x20_0010))?;
        a.db(&[0x0F, 0x0B])
    });
    let mut g = with_page(3, 0, &code);
    let handler = assembled(32, CODE + 0x200, |a| {
        a.mov(dword_ptr(PTE), 0x28_0007)?;
        a.invlpg(ptr(0x20_0010))?;
        a.lea(esp, dword_ptr(esp + 4))?;
        a.iretd()
    });
    g.sys.mem.write(CODE + 0x200, &handler);
    g.words(IDT + 14 * 8, &gate(CODE0, CODE as u32 + 0x200, 0x8E, 0));
    assert_eq!(g.run_to_fault().0, 6);
    assert_eq!((g.sys.cpu.regs[3], g.word(0x28_0010)), (0x77, 0x77));
    // Accessed and dirty.
    assert_eq!(g.word(PTE), 0x28_0067);
}

#[test]
fn a_write_to_cr3_shows_other_pages() {
    let code = assembled(32, CODE, |a| {
        a.mov(eax, dword_ptr(0x20_0000))?;
        a.mov(ecx, 0x31_0000)?;
        a.mov(cr3, ecx)?;
        a.mov(ebx, dword_ptr(0x20_0000))?;
        a.hlt()
    });
    let mut g = with_page(0, 0x20_0007, &code);
    g.words(0x31_0000, &[0x31_1007]);
    let entries: Vec<u32> = (0..1024).map(|i| (if i == 0x200 { 0x28_0000 } else { i << 12 }) | 7).collect();
    g.words(0x31_1000, &entries);
    g.words(0x20_0000, &[1]);
    g.words(0x28_0000, &[2]);
    g.run();
    assert_eq!((g.sys.cpu.regs[0], g.sys.cpu.regs[3]), (1, 2));
}

/// PAT, PCD and PWT choose a memory type, which shows in nothing here but that the bit is not reserved [SDM-3 4.9.2, 11.12].
#[test]
fn memory_types_are_accepted() {
    let code = assembled(32, CODE, |a| {
        a.mov(ecx, 0x277)?;
        a.mov(eax, 0x0106_0500)?;
        a.mov(edx, 0x0004_0701)?;
        a.wrmsr()?;
        a.mov(dword_ptr(0x20_0010), ecx)?;
        a.mov(ebx, dword_ptr(0x20_0010))?;
        a.hlt()
    });
    for bits in 0..8 {
        let mut g = with_page(0, 0x20_0003 | (bits & 3) << 3 | (bits >> 2) << 7, &code);
        g.run();
        assert_eq!((g.sys.cpu.regs[3], g.sys.cpu.msr.pat), (0x277, 0x0004_0701_0106_0500));
    }
}
