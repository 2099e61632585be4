//! System management mode [SDM-3 chapter 34; APM-2 chapter 10].

use super::guest::*;
use emu_core::cpu::model::{Feature, Kind};
use emu_core::cpu::{Activity, Model, seg};
use emu_core::{StateReader, StateWriter, Stop, Ticks};
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

/// Where each of two CPUs has its SMBASE moved.
const BASES: [u64; 2] = [0x20_0000, 0x21_0000];

/// Two CPUs that loop; SMIs take them to the same handler first, which moves the base to where EBX says, and then each to its
/// own, which counts in a dword of its own.
fn two_cpus(kind: Kind) -> Guest {
    let mut g = Guest::with_cpus(Model::new(kind).with(Feature::Sep, true), 2, &[0x40, 0xEB, 0xFD]);
    let field = if kind == Kind::P6 { 0xFEF8u32 } else { 0xFF00 };
    let moves = assembled(16, 0x8000, |a| {
        a.mov(edx, field)?;
        a.mov(dword_ptr(edx).cs(), ebx)?;
        a.rsm()
    });
    g.sys.mem.write(SMBASE + 0x8000, &moves);
    for (i, base) in (0u16..).zip(BASES) {
        // inc dword [6000h + 4 i]; rsm
        let [low, high] = (0x6000 + 4 * i).to_le_bytes();
        g.sys.mem.write(base + 0x8000, &[0x66, 0xFF, 0x06, low, high, 0x0F, 0xAA]);
    }
    let first = g.sys.cpu.clone();
    g.sys
        .each_cpu(|cpu| {
            let id = cpu.id;
            *cpu = first.clone();
            (cpu.id, cpu.regs[3]) = (id, BASES[usize::from(id)]);
            Ok::<(), ()>(())
        })
        .unwrap();
    g
}

fn smi_to_both(g: &mut Guest) {
    (0..2).for_each(|cpu| g.sys.bus.cpu_lines(cpu).smi = true);
}

/// SMI# reaches all CPUs, and each has its own SMBASE and leaves by its own RSM [SDM-3 34.4, 34.11]; what happens there
/// is part of the state, wherever the machine is cut.
#[test]
fn each_cpu_has_a_base_of_its_own() {
    for kind in [Kind::P6, Kind::X64V1] {
        let run = |slice: u64, saves: bool| {
            let (mut g, mut hashes) = (two_cpus(kind), Vec::new());
            for goal in (1..=12).map(|n| Ticks(n * 2_501)) {
                if goal.0 % (3 * 2_501) == 0 {
                    smi_to_both(&mut g);
                }
                while g.sys.now() < goal {
                    g.sys.run(goal.min(g.sys.now().after(slice)));
                    if saves {
                        let mut w = StateWriter::new();
                        g.sys.save(&mut w);
                        g = two_cpus(kind);
                        g.sys.load(&mut StateReader::new(&w.into_bytes())).unwrap();
                    }
                }
                hashes.push(g.sys.hash());
            }
            (g, hashes)
        };
        let (whole, hashes) = run(u64::MAX, false);
        assert!(whole.sys.cpus().all(|cpu| !cpu.smm && cpu.activity == Activity::Running));
        assert_eq!(whole.sys.cpus().map(|cpu| u64::from(cpu.smbase)).collect::<Vec<_>>(), BASES);
        assert!(whole.sys.cpus().zip(BASES).all(|(cpu, base)| cpu.regs[3] == base), "registers come back");
        // The last of four SMIs waits for its CPU's turn, or not.
        assert!([0x6000, 0x6004].iter().all(|&at| (2..=3).contains(&whole.word(at))));
        assert_eq!(hashes, run(1, false).1, "{kind:?}, tick by tick");
        assert_eq!(hashes, run(499, true).1, "{kind:?}, saved and loaded");
    }
}

/// One CPU in system management mode sees SMRAM, the other does not, turn by turn.
#[test]
fn smram_is_seen_by_the_cpu_that_is_in_it() {
    let mut g = two_cpus(Kind::X64V1);
    g.sys.mem.write(0xA_0000, &[0x22; 4]);
    g.sys.mem.write(0x10_0000, &[0x11; 4]);
    g.sys.mem.set_smram(Some((0xA_0000..0xC_0000, 0x10_0000)), false);
    // Each copies what it finds, CPU 0 in its handler.
    let copies = |bits: u32, at: u64, to: u32| {
        assembled(bits, at, |a| {
            let mut again = a.create_label();
            a.mov(ecx, 0xA_0000u32)?;
            a.set_label(&mut again)?;
            a.mov(eax, dword_ptr(ecx))?;
            a.mov(dword_ptr(ecx + (to as i32 - 0xA_0000)), eax)?;
            a.jmp(again)
        })
    };
    g.sys.mem.write(SMBASE + 0x8000, &copies(16, 0x8000, 0x7004));
    g.sys.mem.write(CODE + 0x100, &copies(32, CODE + 0x100, 0x7000));
    g.sys
        .each_cpu(|cpu| {
            if cpu.id == 1 {
                cpu.rip = CODE + 0x100;
            }
            Ok::<(), ()>(())
        })
        .unwrap();
    smi(&mut g);
    g.sys.run(Ticks(20_000));
    assert_eq!(g.sys.cpus().map(|cpu| cpu.smm).collect::<Vec<_>>(), [true, false]);
    assert_eq!((g.word(0x7000), g.word(0x7004)), (0x2222_2222, 0x1111_1111));
}
