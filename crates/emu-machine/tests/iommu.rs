//! An IOMMU on a whole PC: a boot sector that lets `edu` move memory behind it, with messages for interrupts; Linux finds it.

mod common;

use common::session::Session;
use common::{again, cached_guest, pc_with_kernel};
use emu_machine::Machine;
use emu_machine::config::{Devices, KernelConfig, MachineConfig};
use iced_x86::IcedError;
use iced_x86::code_asm::*;

/// The interrupt's vector, and its handler's place in the boot sector.
const VECTOR: u32 = 0x60;
const HANDLER: usize = 0xC8;
/// What is written before, in place of code that does.
const LIST: usize = 0x150;
/// GDTR, and behind it a flat data segment.
const GDT: usize = 0x1D8;
/// Where the function's page 0 lies: a counter, and the copy that `edu` brings back.
const COUNTER: u32 = 0x3_0000;
const COPY: u32 = 0x3_0004;
const UNIT: u32 = 0xFED9_0000;

/// Addresses and values: the tables that the unit reads (root table, context of 00:03.0, four levels of pages, interrupt entry 1),
/// then its registers (root table, interrupt table of 16 entries, both taken over, all switched on), and the local APIC.
const WRITES: [(u32, u32); 15] = [
    (0x2_0000, 0x2_1001),
    (0x2_1180, 0x2_2001),
    (0x2_1188, 0x102),
    (0x2_2000, 0x2_3003),
    (0x2_3000, 0x2_4003),
    (0x2_4000, 0x2_5003),
    (0x2_5000, COUNTER | 3),
    (0x2_6010, VECTOR << 16 | 1),
    (0x2_6018, 1 << 18 | 0x18),
    (UNIT + 0x20, 0x2_0000),
    (UNIT + 0xB8, 0x2_6003),
    (UNIT + 0x18, 1 << 30),
    (UNIT + 0x18, 1 << 24),
    (UNIT + 0x18, 1 << 31 | 1 << 25),
    (0xFEE0_00F0, 0x1FF),
];
/// `edu`'s MSI: entry 1, and on.
const MSI: [(u32, u32); 2] = [(0x44, 0xFEE0_0030), (0x40, 0x0081_0005)];

/// Everything is set up; then the interrupts do the work.
fn main_program(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut again, mut next) = (a.create_label(), a.create_label());
    a.cli()?;
    a.cld()?;
    a.mov(al, 0xFF)?;
    a.out(0x21, al)?;
    a.out(0xA1, al)?;
    a.mov(al, 2)?;
    a.out(0x92, al)?; // the unit lies where A20 is high
    a.xor(bp, bp)?;
    a.xor(ax, ax)?;
    a.mov(ds, ax)?;
    a.mov(dword_ptr(VECTOR * 4), 0x7C00 + HANDLER as u32)?;
    a.lgdt(ptr(0x7C00 + GDT as u32))?;
    a.mov(eax, cr0)?;
    a.or(al, 1)?;
    a.mov(cr0, eax)?;
    a.mov(dx, 8)?;
    a.mov(ds, dx)?;
    a.and(al, 0xFE)?;
    a.mov(cr0, eax)?;
    a.mov(si, 0x7C00 + LIST as u32)?;
    a.mov(cx, WRITES.len() as u32)?;
    a.set_label(&mut next)?;
    a.lodsd()?;
    a.mov(ebx, eax)?;
    a.lodsd()?;
    a.mov(dword_ptr(ebx), eax)?;
    a.loop_(next)?;
    for (register, value) in MSI {
        a.mov(dx, 0xCF8)?;
        a.mov(eax, 0x8000_1800u32 | register)?;
        a.out(dx, eax)?;
        a.mov(dl, 0xFC)?;
        a.mov(eax, value)?;
        a.out(dx, eax)?;
    }
    a.mov(dl, 0xF8)?;
    a.mov(eax, 0x8000_1810u32)?;
    a.out(dx, eax)?;
    a.mov(dl, 0xFC)?;
    a.in_(eax, dx)?;
    a.mov(esi, eax)?;
    a.mov(dword_ptr(esi + 0x60), 0x100)?;
    a.sti()?;
    a.set_label(&mut again)?;
    a.hlt()?;
    a.jmp(again)
}

/// A transfer is over: the counter goes to the device, and from there to the copy.
fn handler(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut back = a.create_label();
    let mut start = a.create_label();
    a.mov(dword_ptr(esi + 0x64), 0x100)?;
    a.mov(ebx, 0xFEE0_0000u32)?;
    a.mov(dword_ptr(ebx + 0xB0), 0)?;
    a.mov(dword_ptr(esi + 0x90), 4)?;
    a.xor(bp, 1)?;
    a.jz(back)?;
    a.mov(ebx, COUNTER)?;
    a.inc(dword_ptr(ebx))?;
    a.mov(dword_ptr(esi + 0x80), 0)?;
    a.mov(dword_ptr(esi + 0x88), 0x4_0000)?;
    a.mov(al, 5)?;
    a.jmp(start)?;
    a.set_label(&mut back)?;
    a.mov(dword_ptr(esi + 0x80), 0x4_0000)?;
    a.mov(dword_ptr(esi + 0x88), 4)?;
    a.mov(al, 7)?;
    a.set_label(&mut start)?;
    a.movzx(eax, al)?;
    a.mov(dword_ptr(esi + 0x98), eax)?;
    a.iret()
}

fn assembled(f: fn(&mut CodeAssembler) -> Result<(), IcedError>) -> Vec<u8> {
    let mut a = CodeAssembler::new(16).unwrap();
    f(&mut a).unwrap();
    a.assemble(0x7C00).unwrap()
}

fn machine() -> Machine {
    let mut image = vec![0; 1440 << 10];
    let mut put = |at: usize, bytes: &[u8], room: usize| {
        assert!(bytes.len() <= room, "{} bytes at {at:x}", bytes.len());
        image[at..at + bytes.len()].copy_from_slice(bytes);
    };
    put(0, &assembled(main_program), HANDLER);
    put(HANDLER, &assembled(handler), LIST - HANDLER);
    let list: Vec<u8> = WRITES.iter().flat_map(|w| [w.0, w.1]).flat_map(u32::to_le_bytes).collect();
    put(LIST, &list, GDT - LIST);
    let base = (0x7C00 + GDT as u32 + 8).to_le_bytes();
    put(GDT, &[&[15, 0][..], &base].concat(), 6);
    put(GDT + 16, &[0xFF, 0xFF, 0, 0, 0, 0x92, 0xCF, 0], 8);
    put(510, &[0x55, 0xAA], 2);
    let devices = Devices { intel_iommu: true, edu: true };
    let config = MachineConfig { devices, memory: 4 << 20, demo: Some(image), ..MachineConfig::default() };
    Machine::new(config).expect("a machine")
}

#[test]
fn edu_copies_behind_the_iommu_and_slices_do_not_matter() {
    let mut whole = again::the_same_in_slices(machine);
    let [counter, copy] = [COUNTER, COPY].map(|at| whole.system.load_physical(at.into(), 4));
    assert!(counter > 1_000 && counter - copy < 2, "{counter} {copy}");
}

#[test]
fn recorded_and_replayed_to_the_same_states() {
    again::the_same_when_replayed(machine);
}

/// Debian's kernel finds the unit by its ACPI table, remaps its interrupts, and puts all functions behind it.
#[test]
fn linux_amd64_uses_the_iommu() {
    let Some(vmlinuz) = cached_guest("linux-amd64/vmlinuz") else { return };
    let config = pc_with_kernel(&vmlinuz, 256);
    let append = "nokaslr earlyprintk=serial,ttyS0,115200 console=ttyS0,115200 intel_iommu=on".into();
    let kernel = KernelConfig { append, ..config.kernel.expect("a kernel") };
    let devices = Devices { intel_iommu: true, edu: true };
    let mut s = Session::start("linux-amd64", MachineConfig { devices, kernel: Some(kernel), ..config });
    s.wait_for_serial("Intel(R) Virtualization Technology for Directed I/O", 200);
    let messages = s.serial();
    let lines = [
        "DMAR-IR: Enabled IRQ remapping in xapic mode",
        "dmar0: Using Queued invalidation",
        "pci 0000:00:01.1: Adding to iommu group",
        "pci 0000:00:03.0: Adding to iommu group",
    ];
    for line in lines {
        assert!(messages.contains(line), "no {line:?} in:\n{messages}");
    }
    assert!(!messages.contains("handling fault") && !messages.contains("timed out"), "{messages}");
    s.passed();
}
