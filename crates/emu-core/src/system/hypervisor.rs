//! The CPU's side of a hypervisor's interface: which instructions ask it, and with which registers.

use super::System;
use crate::bus::hypervisor::BackdoorRegs;
use crate::cpu::{Fault, Mode, Outcome, reg};

/// CPUID leaves and MSRs that are set aside for hypervisors [SDM-2 CPUID; TLFS 2.3].
const LEAVES: core::ops::RangeInclusive<u32> = 0x4000_0000..=0x4FFF_FFFF;
const MSRS: core::ops::RangeInclusive<u32> = 0x4000_0000..=0x4000_00FF;

impl System {
    /// What a hypervisor's interface answers to CPUID's `leaf`; zeros above its highest.
    pub(crate) fn hypervisor_leaf(&mut self, leaf: u32) -> Option<[u32; 4]> {
        if !self.bus.has_hypervisor() || !LEAVES.contains(&leaf) {
            return None;
        }
        let (now, rate) = (self.now(), self.bus.rate());
        self.bus.hypervisor(&mut self.mem, now, |h, _| h.cpuid(rate, leaf).unwrap_or_default())
    }

    /// RDMSR of a hypervisor's register; `None` where there is no such interface.
    pub(super) fn read_hypervisor_msr(&mut self, number: u32) -> Option<Outcome<u64>> {
        if !MSRS.contains(&number) || !self.bus.has_hypervisor() {
            return None;
        }
        let (now, cpu) = (self.now(), self.cpu.id);
        let value = self.bus.hypervisor(&mut self.mem, now, |h, cx| h.read_msr(cx, cpu, number)).flatten();
        Some(value.ok_or(Fault::gp(0)))
    }

    /// WRMSR of a hypervisor's register; `None` where there is no such interface.
    pub(super) fn write_hypervisor_msr(&mut self, number: u32, value: u64) -> Option<Outcome> {
        if !MSRS.contains(&number) || !self.bus.has_hypervisor() {
            return None;
        }
        let (now, offset) = (self.now(), self.cpu.tsc_offset);
        let done = self.bus.hypervisor(&mut self.mem, now, |h, cx| h.write_msr(cx, number, value, offset)).flatten();
        self.after_device();
        Some(done.ok_or(Fault::gp(0)))
    }

    /// Tells the interface that the guest has written the time stamp counter.
    pub(super) fn tell_tsc_written(&mut self) {
        let (now, offset) = (self.now(), self.cpu.tsc_offset);
        if self.bus.hypervisor(&mut self.mem, now, |h, cx| h.tsc_written(cx, offset)).is_some() {
            self.after_device();
        }
    }

    /// IN EAX from a port that sees the registers. False if it is an ordinary IN.
    #[cold]
    #[inline(never)]
    pub(crate) fn backdoor(&mut self, port: u16) -> bool {
        const ORDER: [usize; 6] = [reg::RAX, reg::RBX, reg::RCX, reg::RDX, reg::RSI, reg::RDI];
        let [eax, ebx, ecx, edx, esi, edi] = ORDER.map(|r| self.cpu.regs[r] as u32);
        let old = BackdoorRegs { eax, ebx, ecx, edx, esi, edi };
        let mut new = old;
        let now = self.now();
        if self.bus.hypervisor(&mut self.mem, now, |h, cx| h.backdoor(cx, &mut new)) != Some(true) {
            return false;
        }
        self.watch_port(port, 4);
        self.after_device();
        let list = |r: &BackdoorRegs| [r.eax, r.ebx, r.ecx, r.edx, r.esi, r.edi];
        // EAX is IN's own destination; the others are written where they change. A write of 32 bits clears the upper ones.
        for (n, (was, is)) in list(&old).into_iter().zip(list(&new)).enumerate() {
            if n == 0 || was != is {
                self.cpu.regs[ORDER[n]] = is.into();
            }
        }
        true
    }

    /// VMCALL [SDM-3 "VMCALL"]: #UD outside of VMX operation, unless a hypervisor is there to be called by the kernel in
    /// protected mode [TLFS 3]. The input value is in RCX, or EDX:EAX, and the result in RAX, or EDX:EAX.
    ///
    /// # Errors
    /// #UD.
    pub(crate) fn hypercall(&mut self) -> Outcome {
        let kernel = self.cpu.mode.has(Mode::PE) && !self.cpu.mode.has(Mode::V86) && self.cpu.cpl == 0;
        if !kernel || !self.bus.has_hypervisor() {
            return Err(Fault::UD);
        }
        let long = self.cpu.mode.has(Mode::CODE64);
        let regs = &self.cpu.regs;
        let input = if long { regs[reg::RCX] } else { regs[reg::RDX] << 32 | regs[reg::RAX] & 0xFFFF_FFFF };
        let now = self.now();
        let result = self.bus.hypervisor(&mut self.mem, now, |h, cx| h.hypercall(cx, input)).flatten();
        let result = result.ok_or(Fault::UD)?;
        self.after_device();
        if long {
            self.cpu.regs[reg::RAX] = result;
        } else {
            (self.cpu.regs[reg::RAX], self.cpu.regs[reg::RDX]) = (result & 0xFFFF_FFFF, result >> 32);
        }
        Ok(())
    }
}
