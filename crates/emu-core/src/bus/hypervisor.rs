//! What a guest finds that looks for the hypervisor below it: CPUID leaves, MSRs, a port that sees registers, a call.
//!
//! A device that has such an interface answers here; the CPU asks it from the cold paths of CPUID, RDMSR, WRMSR, IN and
//! VMCALL. Without one, all of them are what they are on bare silicon.

use super::{Bus, DevCx, DeviceId};
use crate::mem::PhysMem;
use crate::time::Ticks;

/// The general registers that a backdoor's port reads and writes, 32 bits of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackdoorRegs {
    /// EAX: the magic number, then the answer.
    pub eax: u32,
    /// EBX.
    pub ebx: u32,
    /// ECX: the command.
    pub ecx: u32,
    /// EDX: the port in its low half.
    pub edx: u32,
    /// ESI.
    pub esi: u32,
    /// EDI.
    pub edi: u32,
}

/// An interface of a hypervisor.
pub trait HypervisorInterface {
    /// CPUID's `leaf` from 40000000h to 4FFFFFFFh; `None` for one above the highest.
    fn cpuid(&self, rate: crate::ClockRate, leaf: u32) -> Option<[u32; 4]>;

    /// RDMSR of a register from 40000000h to 400000FFh on CPU `cpu`; `None` faults.
    fn read_msr(&mut self, cx: &mut DevCx<'_>, cpu: u8, number: u32) -> Option<u64> {
        let _ = (cx, cpu, number);
        None
    }

    /// WRMSR of such a register; `None` faults. `tsc_offset` is what the CPU's time stamp counter is ahead of the clock.
    fn write_msr(&mut self, cx: &mut DevCx<'_>, number: u32, value: u64, tsc_offset: u64) -> Option<()> {
        let _ = (cx, number, value, tsc_offset);
        None
    }

    /// The guest has written the time stamp counter.
    fn tsc_written(&mut self, cx: &mut DevCx<'_>, tsc_offset: u64) {
        let _ = (cx, tsc_offset);
    }

    /// The port at which a 32-bit IN sees the registers.
    fn backdoor_port(&self) -> Option<u16> {
        None
    }

    /// IN from that port, at any privilege. False leaves it to what else answers there.
    fn backdoor(&mut self, cx: &mut DevCx<'_>, regs: &mut BackdoorRegs) -> bool {
        let _ = (cx, regs);
        false
    }

    /// VMCALL of the kernel with its input value; gives the result value, or `None` where the instruction faults.
    fn hypercall(&mut self, cx: &mut DevCx<'_>, input: u64) -> Option<u64> {
        let _ = (cx, input);
        None
    }
}

impl Bus {
    /// Names the device that has a hypervisor's interface.
    pub fn set_hypervisor(&mut self, device: DeviceId) {
        self.hypervisor = Some(device);
        self.backdoor_port = self.device(device).hypervisor().and_then(|h| h.backdoor_port());
    }

    /// Whether there is a hypervisor's interface.
    #[must_use]
    pub fn has_hypervisor(&self) -> bool {
        self.hypervisor.is_some()
    }

    /// The port at which a 32-bit IN sees the registers.
    pub(crate) fn backdoor_port(&self) -> Option<u16> {
        self.backdoor_port
    }

    /// Calls the hypervisor's interface, if there is one.
    pub fn hypervisor<R>(
        &mut self,
        mem: &mut PhysMem,
        now: Ticks,
        f: impl FnOnce(&mut dyn HypervisorInterface, &mut DevCx<'_>) -> R,
    ) -> Option<R> {
        let id = self.hypervisor?;
        self.call(mem, now, id, |d, cx| d.hypervisor().map(|h| f(h, cx)))
    }
}
