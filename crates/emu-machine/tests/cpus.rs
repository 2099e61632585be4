//! Several CPUs on a whole PC: a boot sector that starts the others by INIT and start-up IPIs, and works with them.

mod common;

use common::again;
use emu_machine::Machine;
use emu_machine::config::MachineConfig;
use iced_x86::IcedError;
use iced_x86::code_asm::*;

const CPUS: u8 = 4;
/// Where the started CPUs begin, and where their program lies in the boot sector.
const START: u32 = 0x7000;
const OTHERS: usize = 0x100;
/// GDTR, and behind it a flat data segment.
const GDT: usize = 0x180;
/// Counters: of the started CPUs together, and of the first one's timer ticks.
const TOGETHER: u32 = 0x9000;
const TIMER: u32 = 0x9004;

/// The first CPU reaches its APIC through a segment of 4 GiB, starts the others, and counts timer interrupts.
fn first(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut ticks = a.create_label();
    a.cli()?;
    a.xor(ax, ax)?;
    a.mov(ds, ax)?;
    a.mov(es, ax)?;
    a.mov(si, 0x7C00 + OTHERS as u32)?;
    a.mov(di, START)?;
    a.mov(cx, 64)?;
    a.rep().movsb()?;
    a.lgdt(ptr(0x7C00 + GDT as u32))?;
    a.mov(eax, cr0)?;
    a.or(al, 1)?;
    a.mov(cr0, eax)?;
    a.mov(dx, 8)?;
    a.mov(ds, dx)?;
    a.and(al, 0xFE)?;
    a.mov(cr0, eax)?;
    a.mov(ebx, 0xFEE0_0000u32)?;
    a.mov(dword_ptr(ebx + 0xF0), 0x1FF)?;
    a.mov(dword_ptr(ebx + 0x300), 0x000C_4500)?; // INIT to all but this one
    a.mov(dword_ptr(ebx + 0x300), 0x000C_4600 | START >> 12)?;
    a.sti()?;
    a.set_label(&mut ticks)?;
    a.hlt()?;
    a.lock().add(dword_ptr(TIMER), 1)?;
    a.jmp(ticks)
}

/// The others count together, and look at the timer chip and at the time.
fn others(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut again = a.create_label();
    a.xor(bx, bx)?;
    a.mov(ds, bx)?;
    a.set_label(&mut again)?;
    a.lock().add(dword_ptr(TOGETHER), 1)?;
    a.in_(al, 0x40)?;
    a.xor(byte_ptr(0x9010), al)?;
    a.rdtsc()?;
    a.xchg(dword_ptr(0x9020), eax)?;
    a.jmp(again)
}

fn assembled(f: fn(&mut CodeAssembler) -> Result<(), IcedError>, at: u64) -> Vec<u8> {
    let mut a = CodeAssembler::new(16).unwrap();
    f(&mut a).unwrap();
    a.assemble(at).unwrap()
}

fn config() -> MachineConfig {
    let mut image = vec![0; 1440 << 10];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &assembled(first, 0x7C00));
    put(OTHERS, &assembled(others, 0));
    let base = (0x7C00 + GDT as u32 + 8).to_le_bytes();
    put(GDT, &[&[15, 0][..], &base].concat());
    put(GDT + 16, &[0xFF, 0xFF, 0, 0, 0, 0x92, 0xCF, 0]);
    put(510, &[0x55, 0xAA]);
    MachineConfig { cpus: CPUS, memory: 4 << 20, demo: Some(image), ..MachineConfig::default() }
}

fn machine() -> Machine {
    Machine::new(config()).expect("a machine")
}

#[test]
fn all_cpus_work_and_states_do_not_depend_on_slices() {
    let mut whole = again::the_same_in_slices(machine);
    let [together, timer] = [TOGETHER, TIMER].map(|at| whole.system.load_physical(at.into(), 4));
    assert!(together > 1_000_000 && timer > 3, "{together} {timer}");
    let started: Vec<u16> = whole.system.cpus().map(|cpu| cpu.seg[emu_core::cpu::seg::CS].sel).collect();
    assert_eq!(started[1..], [(START >> 4) as u16; CPUS as usize - 1]);
}

#[test]
fn recorded_and_replayed_to_the_same_states() {
    again::the_same_when_replayed(machine);
}
