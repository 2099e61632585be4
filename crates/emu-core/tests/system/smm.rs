//! System management mode [SDM-3 chapter 34; APM-2 chapter 10].

use super::guest::*;
use emu_core::cpu::model::{Feature, Kind};
use emu_core::cpu::{Activity, Model, seg};
use emu_core::{Stop, Ticks};
use iced_x86::code_asm::*;

const SMBASE: u64 = 0x3_0000;

/// A guest of `kind` that loops, with `handler` at its SMI entry point; and the SMI itself.
fn with_handler(kind: Kind, handler: &[u8]) -> Guest {
    let mut g = Guest::with_model(Model::new(kind).with(Feature::Sep, true), &[0x40, 0xEB, 0xFD]);
    g.sys.mem.write(SMBASE + 0x8000, handler);
    g
}

fn smi(g: &mut Guest) {
    g.sys.bus.cpu_lines(0).smi = true;
}

#[test]
fn the_handler_starts_in_a_mode_of_its_own() {
    for kind in [Kind::P6, Kind::X64V1] {
        let mut g = with_handler(kind, &[0xF4]);
        g.sys.run(Ticks(10));
        let before = g.sys.cpu.clone();
        smi(&mut g);
        g.run();
        let cpu = &g.sys.cpu;
        assert!(cpu.smm && cpu.nmi_blocked);
        assert_eq!((cpu.rip, cpu.seg[seg::CS].sel, cpu.seg[seg::CS].base), (0x8001, 0x3000, SMBASE));
        assert_eq!((cpu.cr0 & 0x8000_0001, cpu.cr4, cpu.eflags(), cpu.dr[7]), (0, 0, 2, 0x400));
        assert_eq!((cpu.seg[seg::DS].base, cpu.seg[seg::DS].limit), (0, u32::MAX));
        // The base and EIP, where firmware looks for them by the revision.
        let (revision, base, eip) =
            if kind == Kind::P6 { (0x2_0000, 0xFEF8, 0xFFF0) } else { (0x2_0064, 0xFF00, 0xFF78) };
        assert_eq!(g.word(SMBASE + 0xFEFC), revision);
        assert_eq!(u64::from(g.word(SMBASE + base)), SMBASE);
        assert_eq!(u64::from(g.word(SMBASE + eip)), before.rip);
    }
}

#[test]
fn rsm_gives_everything_back() {
    for kind in [Kind::Pentium, Kind::P6, Kind::X64V1] {
        // Ruins what it can reach, then returns.
        let handler = assembled(16, 0x8000, |a| {
            a.mov(eax, 0x1234_5678u32)?;
            a.mov(ds, ax)?;
            a.mov(es, ax)?;
            a.mov(esp, eax)?;
            a.mov(ebx, eax)?;
            a.add(eax, ebx)?;
            a.rsm()
        });
        let mut g = with_handler(kind, &handler);
        g.identity_pages();
        g.ring(3);
        g.sys.cpu.dr[0] = 0x55;
        g.sys.cpu.refresh_segments();
        g.sys.run(Ticks(100));
        let before = g.sys.cpu.clone();
        smi(&mut g);
        g.sys.run(Ticks(107));
        let after = &g.sys.cpu;
        assert!(!after.smm && !after.nmi_blocked && after.activity == Activity::Running);
        assert_eq!((after.rip, after.eflags(), after.cpl), (before.rip, before.eflags(), 3), "{kind:?}");
        assert_eq!((after.regs, after.seg), (before.regs, before.seg));
        assert_eq!((after.cr0, after.cr3, after.cr4, after.efer), (before.cr0, before.cr3, before.cr4, before.efer));
        assert_eq!((after.gdtr, after.idtr, after.tr), (before.gdtr, before.idtr, before.tr));
        assert_eq!((after.ldtr.sel, after.ldtr.limit), (before.ldtr.sel, before.ldtr.limit));
        assert_eq!(after.mode, before.mode);
    }
}

#[test]
fn the_base_can_be_moved() {
    let handler = assembled(16, 0x8000, |a| {
        a.mov(bx, 0xFF00u32)?;
        a.mov(dword_ptr(ebx).cs(), 0x20_0000)?;
        a.rsm()
    });
    let mut g = with_handler(Kind::X64V1, &handler);
    g.sys.cpu.regs[3] = 0;
    smi(&mut g);
    g.sys.run(Ticks(20));
    assert_eq!((g.sys.cpu.smbase, g.sys.cpu.smm), (0x20_0000, false));
    g.sys.mem.write(0x20_8000, &[0xF4]);
    smi(&mut g);
    g.run();
    assert_eq!(g.sys.cpu.seg[seg::CS].base, 0x20_0000);
}

/// An SMI wakes a halted CPU, and RSM puts it back to sleep unless the handler says otherwise [SDM-3 34.10].
#[test]
fn halted_before_halted_after() {
    for restart in [true, false] {
        let handler = assembled(16, 0x8000, |a| {
            if !restart {
                a.mov(ebx, 0xFEC9u32)?;
                a.mov(byte_ptr(ebx).cs(), 0)?;
            }
            a.rsm()
        });
        let mut g = with_handler(Kind::X64V1, &handler);
        g.sys.mem.write(CODE, &[0xF4, 0xBE, 1, 0, 0, 0, 0xF4]);
        g.run();
        smi(&mut g);
        g.sys.run(Ticks(20_000));
        assert_eq!(g.sys.cpu.regs[6], u64::from(!restart));
        assert_eq!(g.sys.cpu.rip, CODE + if restart { 1 } else { 7 });
    }
}

#[test]
fn rsm_is_undefined_elsewhere_and_shuts_down_on_nonsense() {
    let mut g = Guest::new(&[0x0F, 0xAA]);
    assert_eq!(g.run_to_fault().0, 6);
    let handler = assembled(16, 0x8000, |a| {
        a.mov(ebx, 0xFF58u32)?;
        a.mov(dword_ptr(ebx).cs(), 0x8000_0010u32 as i32)?; // CR0: paging without protection
        a.rsm()
    });
    let mut g = with_handler(Kind::X64V1, &handler);
    smi(&mut g);
    assert_eq!(g.sys.run(Ticks(100)), Stop::TripleFault);
}

/// SMIs and NMIs wait for each other's end [SDM-3 34.3, 34.8].
#[test]
fn a_second_smi_waits_for_rsm() {
    let mut g = with_handler(Kind::X64V1, &[0x66, 0xFF, 0x06, 0x00, 0x60, 0x0F, 0xAA]); // inc dword [6000h]; rsm
    smi(&mut g);
    g.sys.run(Ticks(1));
    smi(&mut g);
    g.sys.run(Ticks(50));
    assert_eq!((g.word(0x6000), g.sys.cpu.smm), (2, false));
}
