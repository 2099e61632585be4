//! Carrying out a plan: memory is filled, and the CPU stands at the kernel's entry.

use emu_core::System;
use emu_core::cpu::bits::{CR0_PE, CR0_PG, CR4_PAE, EFER_LMA, EFER_LME};
use emu_core::cpu::{Segment, reg, seg};

use super::{Entry, LoadPlan};

/// Selectors and high descriptor words of the flat segments [SDM-3 3.4.5].
const CODE: (u16, u32) = (0x10, 0x00CF_9B00);
const CODE64: (u16, u32) = (0x10, 0x00AF_9B00);
const DATA: (u16, u32) = (0x18, 0x00CF_9300);
const FLAT_LOW: u32 = 0xFFFF;

/// Fills memory as `plan` says, and puts the first CPU at its entry. The firmware calls this in place of loading a boot
/// sector.
pub fn start(plan: &LoadPlan, system: &mut System) {
    // The keyboard controller may have left A20 closed; the other gate opens it.
    let now = system.now();
    system.bus.port_write(&mut system.mem, now, 0x92, 1, 2);
    for s in &plan.segments {
        system.mem.write(s.addr, &s.bytes);
        let mut at = s.addr + s.bytes.len() as u64;
        let end = s.addr + s.len;
        while at < end {
            let n = (end - at).min(0x1_0000);
            system.mem.write(at, &vec![0; n as usize]);
            at += n;
        }
    }
    let cpu = &mut system.cpu;
    cpu.regs[..16].fill(0);
    cpu.set_eflags(2);
    match plan.entry {
        Entry::Real { cs, ip, ds, sp } => {
            cpu.regs[reg::RSP] = sp.into();
            cpu.seg = [Segment::real(ds); 6];
            cpu.seg[seg::CS] = Segment::real(cs);
            cpu.rip = ip.into();
        }
        Entry::Protected { eip, eax, ebx, esp } => {
            cpu.regs[reg::RAX] = eax.into();
            cpu.regs[reg::RBX] = ebx.into();
            cpu.regs[reg::RSP] = esp.into();
            cpu.cr0 |= CR0_PE;
            flat_segments(cpu, CODE);
            cpu.rip = eip.into();
        }
        Entry::Long { rip, cr3, rsp } => {
            cpu.regs[reg::RSP] = rsp;
            cpu.cr3 = cr3;
            cpu.cr4 |= CR4_PAE;
            cpu.efer |= EFER_LME | EFER_LMA;
            cpu.cr0 |= CR0_PE | CR0_PG;
            flat_segments(cpu, CODE64);
            cpu.rip = rip;
        }
    }
    cpu.refresh_segments();
    system.flush_translations();
    system.request_leave();
}

fn flat_segments(cpu: &mut emu_core::cpu::Cpu, code: (u16, u32)) {
    cpu.seg = [Segment::from_descriptor(DATA.0, FLAT_LOW, DATA.1); 6];
    cpu.seg[seg::CS] = Segment::from_descriptor(code.0, FLAT_LOW, code.1);
}
