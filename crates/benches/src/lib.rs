//! A small guest for benchmarks: real mode, 32-bit protected mode at ring 0 with flat segments, identity paging and interrupt
//! handlers, or 64-bit mode.
//!
//! Not a PC: no devices and no events, so that a run shows what the engine alone costs. `cargo bench -p benches` runs the
//! benchmarks; `scripts/bench` measures whole guests.

use emu_core::cpu::model::Kind;
use emu_core::cpu::{Model, Segment, TableRegister, seg};
use emu_core::mem::Target;
use emu_core::{Bus, ClockRate, PhysMem, Stop, System};
use iced_x86::IcedError;
use iced_x86::code_asm::CodeAssembler;

pub mod loops;
pub mod video;

/// Instructions of [`straight`].
pub const BUILT: u64 = 4000;

/// The mode that a benchmark's guest runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Real mode.
    Real,
    /// 32-bit protected mode with paging.
    Protected,
    /// 64-bit mode.
    Long,
}

/// Where the program starts, in linear (and physical) addresses.
pub const CODE: u64 = 0x1_0000;
/// Memory for the program's data, up to [`RAM`].
pub const DATA: u64 = 0x40_0000;
/// Bytes of guest memory, all of them mapped.
pub const RAM: u64 = 0x200_0000;
/// A page that is not mapped.
pub const HOLE: u64 = RAM;

const GDT: u64 = 0x1000;
const IDT: u64 = 0x2000;
const INT80: u64 = 0x3000;
const PAGE_FAULT: u64 = 0x3100;
const PAGE_DIRECTORY: u64 = 0x10_0000;
const PAGE_TABLES: u64 = 0x10_1000;
/// PML4, page directory pointers and page directory of 64-bit mode.
const LONG_TABLES: u64 = 0x1F_0000;
const STACK: u64 = 0x8_0000;

/// CR0 with PE, ET, WP and PG [SDM-3 2.5].
const CR0: u64 = 0x8001_0011;
/// CR4 with OSFXSR: SSE is on.
const CR4: u64 = 0x200;

/// Assembles code to run at [`CODE`]; in real mode at the same offset, which is 0 in segment 1000h.
///
/// # Panics
/// If the program can't be assembled: it is the benchmark's own.
pub fn assembled(width: Width, program: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Vec<u8> {
    let code = CodeAssembler::new(width.bits()).and_then(|mut a| {
        program(&mut a)?;
        a.assemble(if width == Width::Real { 0 } else { CODE })
    });
    code.unwrap_or_else(|e| panic!("the benchmark's program: {e}"))
}

/// A machine that is about to run `code` at [`CODE`]. INT 80h returns at once; a page fault returns behind the three
/// bytes that caused it.
///
/// # Panics
/// If the host has no memory for it.
#[must_use]
pub fn machine(width: Width, code: &[u8]) -> System {
    let Some(mut mem) = PhysMem::new(RAM, 0x10_0000) else { panic!("no memory for the guest") };
    mem.map(0, RAM, Target::Pool(0));
    mem.write(CODE, code);
    write_tables(&mut mem);
    let mut sys = System::new(Model::new(Kind::X64V1), mem, Bus::new(ClockRate::DEFAULT, 1));
    sys.reset();
    match width {
        Width::Real => start_real(&mut sys),
        Width::Protected => start_protected(&mut sys),
        Width::Long => start_long(&mut sys),
    }
    sys
}

impl Width {
    fn bits(self) -> u32 {
        match self {
            Width::Real => 16,
            Width::Protected => 32,
            Width::Long => 64,
        }
    }
}

/// Straight code of [`BUILT`] instructions, to be decoded.
#[must_use]
pub fn straight() -> Vec<u8> {
    use iced_x86::code_asm::*;
    assembled(Width::Protected, |a| {
        for i in 0..BUILT as i32 / 4 {
            a.mov(eax, dword_ptr(ebx + i))?;
            a.add(eax, i)?;
            a.lea(ecx, dword_ptr(eax + ecx * 2))?;
            a.cmp(ecx, 3)?;
        }
        a.hlt()
    })
}

fn start_real(sys: &mut System) {
    for s in [seg::ES, seg::SS, seg::DS, seg::CS] {
        sys.cpu.set_segment(s, Segment::real((CODE >> 4) as u16));
    }
    sys.cpu.rip = 0;
    sys.cpu.regs[4] = 0xFFF0;
}

fn start_long(sys: &mut System) {
    start_protected(sys);
    for i in 0..RAM >> 21 {
        sys.mem.store(LONG_TABLES + 0x2000 + 8 * i, i << 21 | 0x83);
    }
    sys.mem.store(LONG_TABLES, LONG_TABLES + 0x1000 + 3);
    sys.mem.store(LONG_TABLES + 0x1000, LONG_TABLES + 0x2000 + 3);
    (sys.cpu.cr3, sys.cpu.cr4, sys.cpu.efer) = (LONG_TABLES, CR4 | 0x20, 0x500);
    sys.cpu.refresh_segments();
    sys.cpu.set_segment(seg::CS, Segment::from_descriptor(0x08, 0xFFFF, 0x00AF_9B00));
}

fn start_protected(sys: &mut System) {
    sys.cpu.gdtr = TableRegister { base: GDT, limit: 0x17 };
    sys.cpu.idtr = TableRegister { base: IDT, limit: 0x7FF };
    (sys.cpu.cr0, sys.cpu.cr3, sys.cpu.cr4) = (CR0, PAGE_DIRECTORY, CR4);
    sys.cpu.refresh_segments();
    for s in [seg::ES, seg::SS, seg::DS, seg::FS, seg::GS] {
        sys.cpu.set_segment(s, Segment::from_descriptor(0x10, 0xFFFF, 0x00CF_9300));
    }
    sys.cpu.set_segment(seg::CS, Segment::from_descriptor(0x08, 0xFFFF, 0x00CF_9B00));
    sys.cpu.rip = CODE;
    sys.cpu.regs[4] = STACK;
}

/// Runs `ticks` instructions more.
///
/// # Panics
/// If the guest stops before: then the benchmark does not measure what it says.
pub fn run(sys: &mut System, ticks: u64) {
    let until = sys.now() + ticks;
    assert_eq!(sys.run(until), Stop::Deadline, "at {:X}", sys.cpu.rip);
}

fn write_tables(mem: &mut PhysMem) {
    for (i, entry) in [0u64, 0x00CF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF].into_iter().enumerate() {
        mem.store(GDT + 8 * i as u64, entry);
    }
    for (vector, handler) in [(14, PAGE_FAULT), (0x80, INT80)] {
        mem.store(IDT + 8 * vector, 0x8E00_0008_0000 | handler);
    }
    mem.write(INT80, &[0xCF]); // iret
    // add esp, 4; add dword ptr [esp], 3; iret
    mem.write(PAGE_FAULT, &[0x83, 0xC4, 0x04, 0x83, 0x04, 0x24, 0x03, 0xCF]);
    for i in 0..RAM >> 22 {
        mem.store(PAGE_DIRECTORY + 4 * i, (PAGE_TABLES + 0x1000 * i) as u32 | 3);
    }
    for page in 0..RAM >> 12 {
        mem.store(PAGE_TABLES + 4 * page, (page << 12) as u32 | 3);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use emu_core::Ticks;
    use iced_x86::code_asm::*;

    #[test]
    fn interrupts_and_page_faults_come_back() {
        let code = assembled(Width::Protected, |a| {
            let mut again = a.create_label();
            a.mov(ebx, HOLE as i32)?;
            a.set_label(&mut again)?;
            a.int(0x80)?;
            a.db(&[0x8B, 0x43, 0x08])?; // mov eax, [ebx + 8]: faults
            a.inc(edi)?;
            a.jmp(again)
        });
        let mut sys = machine(Width::Protected, &code);
        // 1 + n * (int, iret, the fault, three of its handler, inc, jmp)
        run(&mut sys, 1 + 100 * 8);
        assert_eq!((sys.cpu.regs[7], sys.cpu.regs[4]), (100, STACK));
        assert_eq!(sys.now(), Ticks(801));
    }
}
