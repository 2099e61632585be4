//! What instructions ask a hypervisor's interface, with which registers, and what they are without one.

use super::guest::*;
use emu_core::bus::{BackdoorRegs, HypervisorInterface};
use emu_core::{ClockRate, DevCx, Device, State, StateError, StateReader, StateWriter};
use iced_x86::code_asm::*;

const MAGIC: u32 = 0x1234_5678;
const PORT: u16 = 0x5658;

/// An interface that answers with what it was asked.
struct Fake(u64);

impl Device for Fake {
    fn name(&self) -> &str {
        "fake"
    }
    fn reset(&mut self, _cx: &mut DevCx<'_>) {}
    fn hypervisor(&mut self) -> Option<&mut dyn HypervisorInterface> {
        Some(self)
    }
}

impl HypervisorInterface for Fake {
    fn cpuid(&self, _rate: ClockRate, leaf: u32) -> Option<[u32; 4]> {
        (leaf == 0x4000_0000).then_some([1, 2, 3, 4])
    }
    fn read_msr(&mut self, _cx: &mut DevCx<'_>, _cpu: u8, number: u32) -> Option<u64> {
        (number == 0x4000_0000).then_some(self.0)
    }
    fn write_msr(&mut self, _cx: &mut DevCx<'_>, number: u32, value: u64, _tsc: u64) -> Option<()> {
        self.0 = value;
        (number == 0x4000_0000).then_some(())
    }
    fn backdoor_port(&self) -> Option<u16> {
        Some(PORT)
    }
    fn backdoor(&mut self, _cx: &mut DevCx<'_>, regs: &mut BackdoorRegs) -> bool {
        if regs.eax == MAGIC {
            *regs = BackdoorRegs { eax: 7, ebx: regs.ecx, esi: !regs.esi, ..*regs };
        }
        regs.eax == 7
    }
    fn hypercall(&mut self, _cx: &mut DevCx<'_>, input: u64) -> Option<u64> {
        Some(input.rotate_left(32))
    }
}

impl State for Fake {
    const TAG: [u8; 4] = *b"FAKE";
    const VERSION: u16 = 1;
    fn save(&self, w: &mut StateWriter) {
        w.field(1, &self.0);
    }
    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        self.0 = r.field(1)?;
        Ok(())
    }
}

fn below(code: &[u8]) -> Guest {
    let mut g = Guest::new(code);
    let id = g.sys.bus.add(Box::new(Fake(5)));
    g.sys.bus.set_hypervisor(id);
    g
}

#[test]
fn vmcall_is_undefined_unless_the_kernel_calls_a_hypervisor() {
    let code = assembled(32, CODE, |a| {
        a.mov(eax, 0x1111)?;
        a.mov(edx, 0x2222)?;
        a.vmcall()?;
        a.ud2()
    });
    assert_eq!(Guest::new(&code).run_to_fault().0, 6);
    let mut g = below(&code);
    assert_eq!(g.run_to_fault().0, 6);
    assert_eq!((g.sys.cpu.regs[0], g.sys.cpu.regs[2]), (0x2222, 0x1111), "it returned, and UD2 faulted");
    let mut g = below(&code);
    g.ring(3);
    assert_eq!(g.run_to_fault().0, 6);
    assert_eq!(g.sys.cpu.regs[0], 0x1111, "VMCALL itself");
}

#[test]
fn the_backdoor_sees_registers_at_any_privilege() {
    let code = |magic: u32| {
        assembled(32, CODE, move |a| {
            a.mov(eax, magic)?;
            a.mov(ecx, 0xCC)?;
            a.mov(esi, 0x0F)?;
            a.mov(edx, u32::from(PORT))?;
            a.in_(eax, dx)?;
            a.ud2()
        })
    };
    let mut g = below(&code(MAGIC));
    g.ring(3);
    assert_eq!(g.run_to_fault().0, 6);
    let regs = &g.sys.cpu.regs;
    assert_eq!([regs[0], regs[3], regs[1], regs[6]], [7, 0xCC, 0xCC, 0xFFFF_FFF0]);
    // Without the magic it is a port that this ring may not read.
    let mut g = below(&code(MAGIC + 1));
    g.ring(3);
    assert_eq!(g.run_to_fault(), (13, Some(0)));
    let mut g = below(&code(MAGIC + 1));
    assert_eq!(g.run_to_fault().0, 6);
    assert_eq!(g.sys.cpu.regs[0], 0xFFFF_FFFF);
}

#[test]
fn leaves_and_registers_are_there_with_a_hypervisor_only() {
    let leaves = assembled(32, CODE, |a| {
        a.mov(eax, 1)?;
        a.cpuid()?;
        a.mov(edi, ecx)?;
        a.mov(eax, 0x4000_0000)?;
        a.cpuid()?;
        a.mov(esi, edx)?;
        a.mov(eax, 0x4000_0001)?;
        a.cpuid()?;
        a.ud2()
    });
    let mut g = below(&leaves);
    g.run_to_fault();
    let regs = &g.sys.cpu.regs;
    assert_eq!([regs[7] >> 31, regs[6], regs[0], regs[3]], [1, 4, 0, 0]);
    let mut g = Guest::new(&leaves);
    g.run_to_fault();
    assert_eq!(g.sys.cpu.regs[7] >> 31, 0);

    let msr = |number: u32| {
        assembled(32, CODE, move |a| {
            a.mov(ecx, number)?;
            a.rdmsr()?;
            a.mov(ebx, eax)?;
            a.mov(edx, 9)?;
            a.wrmsr()?;
            a.rdmsr()?;
            a.ud2()
        })
    };
    let mut g = below(&msr(0x4000_0000));
    assert_eq!(g.run_to_fault().0, 6);
    assert_eq!([g.sys.cpu.regs[3], g.sys.cpu.regs[0], g.sys.cpu.regs[2]], [5, 5, 9]);
    assert_eq!(below(&msr(0x4000_0001)).run_to_fault(), (13, Some(0)));
    assert_eq!(Guest::new(&msr(0x4000_0000)).run_to_fault(), (13, Some(0)));
}
