//! Page tables that are changed without telling the CPU, which may go on by what it has cached [SDM-3 4.10.4.4]. Here it
//! never does: were it to, what a guest sees would depend on where caches were emptied, as checkpoints and jumps in time do.

use super::guest::*;
use emu_core::cpu::model::{Feature, Kind};
use emu_core::cpu::{Activity, Model};
use emu_core::{StateHash, StateReader, StateWriter, Stop, Ticks};
use iced_x86::code_asm::*;

/// Eight pages of linear addresses; behind the guest's 4 MiB of memory, which lie where they are.
const X: u32 = 0x80_0000;
const PAGES: u32 = 8;
/// Frames that the pages are mapped to: `ADD EBX, n; RET`, and room for data.
const FRAMES: u32 = 0x28_0000;
const DATA: u32 = 0x100;
/// Two page tables for them, and two address spaces.
const TABLES: [u32; 2] = [0x32_0000, 0x32_1000];
const SPACES: [u32; 2] = [0x30_0000, 0x31_0000];
/// The handler of page faults, and the second CPU's program.
const HANDLER: u64 = CODE + 0x8000;
const SECOND: u64 = CODE + 0xA000;

/// Size of entries: 4 or, with PAE, 8 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Format(u32);

impl Format {
    fn entry(self, table: usize, page: u32) -> u32 {
        TABLES[table] + self.0 * page
    }

    /// The directory's entry of the pages.
    fn directory(self, space: usize) -> u32 {
        if self.0 == 8 { SPACES[space] + 0x1000 + 8 * (X >> 21) } else { SPACES[space] + 4 * (X >> 22) }
    }
}

/// A generator of test data.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32 % n
    }
}

/// An access of five bytes (`opcode` and an address) whose outcome goes into EBX.
fn access(a: &mut CodeAssembler, opcode: u8, address: u32) -> Result<(), IcedError> {
    a.mov(eax, ebx)?;
    a.db(&[opcode])?;
    a.dd(&[address])?;
    a.add(ebx, eax)?;
    a.rol(ebx, 3)
}

fn call(a: &mut CodeAssembler, page: u32) -> Result<(), IcedError> {
    a.mov(esp, ebp)?;
    a.call(u64::from(X + 0x1000 * page))
}

/// A use of some page.
fn visit(a: &mut CodeAssembler, r: &mut Random) -> Result<(), IcedError> {
    let page = r.below(PAGES);
    let data = X + 0x1000 * page + DATA;
    match r.below(5) {
        0 => access(a, 0xA1, data),
        1 => access(a, 0xA3, data),
        _ => call(a, page),
    }
}

/// A change of some entry, of which nobody is told.
fn change(a: &mut CodeAssembler, r: &mut Random, format: Format) -> Result<(), IcedError> {
    let at = format.entry(r.below(2) as usize, r.below(PAGES));
    let entry = dword_ptr(at);
    let directory = dword_ptr(format.directory(r.below(2) as usize));
    match r.below(12) {
        0 => a.xor(entry, 1),
        1 => a.xor(entry, 2),
        2 => a.xor(entry, 0x100),
        3 | 4 => a.and(entry, !0x60),
        5 => a.xor(byte_ptr(at + 1), 0x10),
        6 => a.and(directory, !0x20),
        7 => a.xor(directory, 0x1000),
        8 => a.mov(entry, FRAMES + 0x1000 * r.below(PAGES) + [0x63, 0x21, 0x103, 3][r.below(4) as usize]),
        9 => {
            a.mov(eax, SPACES[r.below(2) as usize])?;
            a.mov(cr3, eax)
        }
        10 => a.invlpg(ptr(X + 0x1000 * r.below(PAGES))),
        _ => a.xor(entry, 0x1000),
    }
}

/// `n` things to do, `rounds` times; some of them changes.
fn program(at: u64, seed: u64, rounds: u32, changes: Option<Format>) -> Vec<u8> {
    let mut r = Random(seed);
    assembled(32, at, |a| {
        let mut again = a.create_label();
        a.mov(esi, rounds)?;
        a.mov(ebp, esp)?;
        a.set_label(&mut again)?;
        for _ in 0..120 {
            match changes {
                Some(format) if r.below(3) == 0 => change(a, &mut r, format)?,
                _ if r.below(40) == 0 => a.pause()?,
                _ => visit(a, &mut r)?,
            }
        }
        a.dec(esi)?;
        a.jnz(again)?;
        a.cli()?;
        a.hlt()
    })
}

/// Goes on behind an access that faults, and returns from a call that does.
fn handler() -> Vec<u8> {
    assembled(32, HANDLER, |a| {
        let (mut fetch, mut out) = (a.create_label(), a.create_label());
        a.push(eax)?;
        a.mov(eax, cr2)?;
        a.add(ebx, eax)?;
        a.cmp(eax, dword_ptr(esp + 8))?;
        a.je(fetch)?;
        a.add(dword_ptr(esp + 8), 5)?;
        a.jmp(out)?;
        a.set_label(&mut fetch)?;
        a.mov(eax, dword_ptr(esp + 20))?;
        a.mov(dword_ptr(esp + 8), eax)?;
        a.set_label(&mut out)?;
        a.pop(eax)?;
        a.add(esp, 4)?;
        a.iretd()
    })
}

/// A machine with paging on; `cpus` of them run.
fn guest(format: Format, cpus: u8, code: &[u8], second: &[u8]) -> Guest {
    let mut g = Guest::with_cpus(Model::new(Kind::X64V1).with(Feature::Sep, true), cpus, code);
    g.sys.mem.write(SECOND, second);
    g.sys.mem.write(HANDLER, &handler());
    g.words(IDT + 8 * 14, &gate(CODE0, HANDLER as u32, 0x8E, 0));
    for i in 0..PAGES {
        let frame = FRAMES + 0x1000 * i;
        g.sys.mem.write(frame.into(), &[&[0x81, 0xC3][..], &(1u32 << (3 * i)).to_le_bytes(), &[0xC3]].concat());
        g.words((frame + DATA).into(), &[0x1111 * (i + 1)]);
        for t in 0..2 {
            let other = FRAMES + 0x1000 * ((i + t) % PAGES);
            g.words(format.entry(t as usize, i).into(), &[other | if i % 2 == 0 { 0x103 } else { 3 }]);
        }
    }
    for (i, &space) in SPACES.iter().enumerate() {
        if format.0 == 8 {
            g.words(space.into(), &[space + 0x1001, 0]);
            g.words(u64::from(space) + 0x1000, &[0x1E3, 0, 0x20_01E3, 0]);
        } else {
            g.words(space.into(), &[0x1E3]);
        }
        g.words(format.directory(i).into(), &[TABLES[i] | 3]);
    }
    let cpu = &mut g.sys.cpu;
    (cpu.cr3, cpu.cr4) = (SPACES[0].into(), if format.0 == 8 { 0xB0 } else { 0x90 });
    cpu.cr0 |= 0x8001_0000;
    if format.0 == 8 {
        g.sys.load_pdptrs(SPACES[0].into()).unwrap();
    }
    g.sys.cpu.refresh_segments();
    let first = g.sys.cpu.clone();
    g.sys
        .each_cpu(|cpu| {
            if cpu.id != 0 {
                let id = cpu.id;
                *cpu = first.clone();
                (cpu.id, cpu.rip, cpu.activity) = (id, SECOND, Activity::Running);
                cpu.regs[4] = STACK3.into();
            }
            Ok::<(), ()>(())
        })
        .unwrap();
    g
}

/// Empties all caches.
fn empty(g: &mut Guest) {
    let mut w = StateWriter::new();
    g.sys.save(&mut w);
    g.sys.load(&mut StateReader::new(&w.into_bytes())).unwrap();
}

/// Runs until all CPUs have halted; `between` is called every `slice` ticks. The states at some ticks.
fn states(mut g: Guest, slice: u64, between: fn(&mut Guest)) -> Vec<StateHash> {
    let mut states = Vec::new();
    let mut goal = Ticks(0);
    loop {
        goal = goal + 1_009;
        while g.sys.now() < goal {
            let until = goal.min(g.sys.now().after(slice));
            let stop = g.sys.run(until);
            assert!(matches!(stop, Stop::Deadline | Stop::Asleep), "{stop:?} at {:x}", g.sys.cpu.rip);
            between(&mut g);
        }
        states.push(g.sys.hash());
        if g.sys.cpus().all(|cpu| cpu.activity == Activity::Halted) {
            return states;
        }
        assert!(goal < Ticks(1_000_000), "it does not end");
    }
}

#[test]
fn what_is_cached_is_what_a_walk_would_give() {
    for (seed, format) in (0..24).map(|n| (n, Format(4 + 4 * (n as u32 & 1)))) {
        let fresh = || guest(format, 1, &program(CODE, seed, 4, Some(format)), &[]);
        let whole = states(fresh(), u64::MAX, |_| {});
        assert_eq!(whole, states(fresh(), 1, |g| g.sys.flush_translations()), "seed {seed}, nothing cached");
        assert_eq!(whole, states(fresh(), 1, |_| {}), "seed {seed}, tick by tick");
        assert_eq!(whole, states(fresh(), 61 + seed, empty), "seed {seed}, saved and loaded");
    }
}

#[test]
fn what_one_cpu_changes_the_others_see_at_once() {
    for (seed, format) in (100..106).map(|n| (n, Format(4 + 4 * (n as u32 & 1)))) {
        let second = program(SECOND, seed + 1000, 15, None);
        let fresh = || guest(format, 2, &program(CODE, seed, 15, Some(format)), &second);
        let whole = states(fresh(), u64::MAX, |_| {});
        assert!(whole.len() > 12, "turns end");
        assert_eq!(whole, states(fresh(), 1, |_| {}), "seed {seed}, tick by tick");
        assert_eq!(whole, states(fresh(), 61 + seed, empty), "seed {seed}, saved and loaded");
    }
}

/// The second CPU calls a page again and again, while the first one maps it elsewhere, and never says so.
#[test]
fn a_code_page_that_another_cpu_maps_elsewhere() {
    let first = assembled(32, CODE, |a| {
        let mut wait = a.create_label();
        a.mov(ecx, 7_000)?;
        a.set_label(&mut wait)?;
        a.loop_(wait)?;
        a.mov(dword_ptr(TABLES[0]), FRAMES + 0x1003)?;
        a.cli()?;
        a.hlt()
    });
    let second = assembled(32, SECOND, |a| {
        let mut again = a.create_label();
        a.mov(esi, 5_000)?;
        a.mov(ebp, esp)?;
        a.set_label(&mut again)?;
        call(a, 0)?;
        a.dec(esi)?;
        a.jnz(again)?;
        a.cli()?;
        a.hlt()
    });
    let fresh = || guest(Format(4), 2, &first, &second);
    let whole = states(fresh(), u64::MAX, |_| {});
    for slice in [1, 997, 3_989, 7_001, 7_919] {
        assert_eq!(whole, states(fresh(), slice, |_| {}), "in slices of {slice}");
        if slice > 1 {
            assert_eq!(whole, states(fresh(), slice, empty), "saved and loaded every {slice} ticks");
        }
    }
    let mut g = fresh();
    g.sys.run(Ticks(100_000));
    let sum = g.sys.cpus().nth(1).map(|cpu| cpu.regs[3]).unwrap();
    assert!(sum > 5_000 && sum < 8 * 5_000, "both frames were called: {sum}");
}

/// Four levels, in the upper half of the linear addresses: each level's entry is changed in turn, and the space.
#[test]
fn all_four_levels() {
    const HIGH: u64 = 0xFFFF_8000_0000_0000;
    // Entry 256 of the PML4, and the first of the tables below it, of two spaces. Each table has a twin, 1000h behind it.
    const LEVELS: [[u64; 4]; 2] =
        [[0x38_0800, 0x3A_2000, 0x3A_4000, 0x3A_6000], [0x39_0800, 0x3A_A000, 0x3A_C000, 0x3A_E000]];
    let code = assembled(64, CODE + 0x200, |a| {
        let visit = |a: &mut CodeAssembler| {
            a.mov(rsi, HIGH)?;
            a.call(rsi)?;
            a.mov(eax, dword_ptr(rsi + (0x1000 + DATA as i32)))?;
            a.add(ebx, eax)?;
            a.rol(ebx, 3)
        };
        a.mov(eax, 0xA0)?;
        a.mov(cr4, rax)?;
        for change in [(0, 3, 0), (0, 3, 1), (0, 2, 0), (0, 1, 0), (0, 0, 0), (1, 3, 1), (1, 0, 0)] {
            let (space, level, entry) = change;
            visit(a)?;
            a.mov(rdi, LEVELS[space][level] + 8 * entry)?;
            a.xor(dword_ptr(rdi), 0x1000)?;
            visit(a)?;
            a.mov(eax, LEVELS[usize::from(level == 1)][0] as u32 & !0xFFF)?;
            a.mov(cr3, rax)?;
        }
        visit(a)?;
        a.hlt()
    });
    let fresh = || {
        let mut g = super::long::guest(&code);
        for (i, levels) in LEVELS.iter().enumerate() {
            g.words(levels[0] & !0xFFF, &[0x38_1007, 0]);
            g.words(levels[0], &[levels[1] as u32 | 3, 0]);
            for (l, twin) in [(1, 0), (1, 0x1000), (2, 0), (2, 0x1000)] {
                g.words(levels[l] + twin, &[levels[l + 1] as u32 | 3, 0]);
            }
            for (twin, shift) in [(0, 0), (0x1000, 2)] {
                let frame = FRAMES + 0x1000 * (i as u32 + shift);
                g.words(levels[3] + twin, &[frame | 0x103, 0, (frame + 0x1000) | 0x103, 0]);
            }
        }
        for i in 0..PAGES {
            let frame = FRAMES + 0x1000 * i;
            g.sys.mem.write(frame.into(), &[&[0x81, 0xC3][..], &(1u32 << (3 * i)).to_le_bytes(), &[0xC3]].concat());
            g.words((frame + DATA).into(), &[0x1111 * (i + 1)]);
        }
        g
    };
    let mut whole = fresh();
    whole.run();
    for slice in [1, 7, 50] {
        let mut cut = fresh();
        while cut.sys.now() < whole.sys.now() {
            cut.sys.run(whole.sys.now().min(cut.sys.now().after(slice)));
            if slice == 7 {
                empty(&mut cut);
            } else {
                cut.sys.flush_translations();
            }
        }
        assert_eq!(whole.sys.hash(), cut.sys.hash(), "in slices of {slice}");
    }
}
