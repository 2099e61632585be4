//! CPUID [SDM-2 CPUID].

use iced_x86::{Code, Instruction};

use super::Exec;
use crate::System;
use crate::cpu::bits::{CR4_OSXSAVE, CR4_PKE};
use crate::cpu::model::{Feature, Kind, MODELS};
use crate::cpu::{Cpu, Model, Outcome, reg};

pub(super) fn lookup(code: Code) -> Option<Exec> {
    match code {
        Code::Cpuid => Some(cpuid),
        _ => None,
    }
}

/// IA32_APIC_BASE, and its bit that switches the local APIC on.
const APIC_BASE: u32 = 0x1B;
const APIC_ENABLE: u64 = 1 << 11;

/// EAX, EBX, ECX and EDX.
type Leaf = [u32; 4];

fn cpuid(sys: &mut System, _: &Instruction) -> Outcome {
    let (leaf, sub) = (sys.cpu.regs[reg::RAX] as u32, sys.cpu.regs[reg::RCX] as u32);
    let cpus = 1 + sys.parked.len() as u32;
    let [a, b, mut c, mut d] = match sys.hypervisor_leaf(leaf) {
        Some(answer) => answer,
        None => sys.cpu.cpuid(leaf, sub, cpus),
    };
    // The bit that silicon never sets [SDM-2 CPUID].
    if leaf == 1 && sys.bus.has_hypervisor() {
        c |= 1 << 31;
    }
    // A local APIC that is switched off is not there [SDM-3 11.4.3].
    if leaf == 1 && sys.read_msr(APIC_BASE).is_ok_and(|base| base & APIC_ENABLE == 0) {
        d &= !(1 << 9);
    }
    let regs = &mut sys.cpu.regs;
    (regs[reg::RAX], regs[reg::RBX]) = (a.into(), b.into());
    (regs[reg::RCX], regs[reg::RDX]) = (c.into(), d.into());
    Ok(())
}

/// Bit numbers of features in one register of a leaf.
type Bits = &'static [(Feature, u32)];

const LEAF1_EDX: Bits = &[
    (Feature::Fpu, 0),
    (Feature::Vme, 1),
    (Feature::De, 2),
    (Feature::Pse, 3),
    (Feature::Tsc, 4),
    (Feature::Msr, 5),
    (Feature::Pae, 6),
    (Feature::Cx8, 8),
    (Feature::Apic, 9),
    (Feature::Sep, 11),
    (Feature::Mtrr, 12),
    (Feature::Pge, 13),
    (Feature::Cmov, 15),
    (Feature::Pat, 16),
    (Feature::Pse36, 17),
    (Feature::Clflush, 19),
    (Feature::Mmx, 23),
    (Feature::Fxsr, 24),
    (Feature::Sse, 25),
    (Feature::Sse2, 26),
];
const LEAF1_ECX: Bits = &[
    (Feature::Sse3, 0),
    (Feature::Pclmul, 1),
    (Feature::Monitor, 3),
    (Feature::Ssse3, 9),
    (Feature::Fma, 12),
    (Feature::Cx16, 13),
    (Feature::Pcid, 17),
    (Feature::Sse41, 19),
    (Feature::Sse42, 20),
    (Feature::Movbe, 22),
    (Feature::Popcnt, 23),
    (Feature::Aes, 25),
    (Feature::Xsave, 26),
    (Feature::Avx, 28),
    (Feature::F16c, 29),
    (Feature::Rdrand, 30),
    (Feature::Hypervisor, 31),
];
const LEAF7_EBX: Bits = &[
    (Feature::Fsgsbase, 0),
    (Feature::Bmi1, 3),
    (Feature::Avx2, 5),
    (Feature::Smep, 7),
    (Feature::Bmi2, 8),
    (Feature::Invpcid, 10),
    (Feature::Rdseed, 18),
    (Feature::Adx, 19),
    (Feature::Smap, 20),
    (Feature::Clflushopt, 23),
    (Feature::Sha, 29),
];
const LEAF7_ECX: Bits = &[
    (Feature::Umip, 2),
    (Feature::Pku, 3),
    (Feature::Pks, 31),
    (Feature::Gfni, 8),
    (Feature::Vaes, 9),
    (Feature::Vpclmul, 10),
    (Feature::Rdpid, 22),
];
const LEAFD_1_EAX: Bits = &[(Feature::Xsaveopt, 0), (Feature::Xsavec, 1), (Feature::Xgetbv1, 2), (Feature::Xsaves, 3)];
const EXTENDED_EDX: Bits =
    &[(Feature::Syscall, 11), (Feature::Nx, 20), (Feature::Pdpe1gb, 26), (Feature::Rdtscp, 27), (Feature::Lm, 29)];
const EXTENDED_ECX: Bits = &[(Feature::LahfLm, 0), (Feature::Lzcnt, 5)];

fn pick(model: &Model, bits: Bits) -> u32 {
    bits.iter().filter(|(f, _)| model.has(*f)).fold(0, |v, (_, bit)| v | 1 << bit)
}

impl Cpu {
    fn highest_leaf(&self) -> u32 {
        let model = &self.model;
        let by_kind = match model.kind {
            Kind::P6 => 2,
            k if k >= Kind::X64V1 => 0xB,
            _ => 1,
        };
        let structured = LEAF7_EBX.iter().chain(LEAF7_ECX).any(|(f, _)| model.has(*f));
        let by_feature = match () {
            () if model.has(Feature::Xsave) => 0xD,
            () if structured => 7,
            () if model.has(Feature::Monitor) => 5,
            () => 1,
        };
        by_kind.max(by_feature)
    }

    fn highest_extended_leaf(&self) -> u32 {
        match self.model.kind {
            Kind::P6 => 0x8000_0004,
            k if k >= Kind::X64V1 => 0x8000_0008,
            _ => 0,
        }
    }

    /// What CPUID answers for `leaf` and `sub`-leaf on a machine of `cpus` CPUs. A leaf above the highest reads as the
    /// highest basic one.
    #[must_use]
    pub fn cpuid(&self, leaf: u32, sub: u32, cpus: u32) -> Leaf {
        let highest = self.highest_leaf();
        match leaf {
            0x8000_0000.. if leaf <= self.highest_extended_leaf() => self.cpuid_extended(leaf),
            0..=0x7FFF_FFFF if leaf <= highest => self.cpuid_basic(leaf, sub, cpus),
            _ => self.cpuid_basic(highest, sub, cpus),
        }
    }

    fn cpuid_basic(&self, leaf: u32, sub: u32, cpus: u32) -> Leaf {
        match leaf {
            0 => [self.highest_leaf(), word(b"Genu"), word(b"ntel"), word(b"ineI")],
            1 => self.cpuid_features(cpus),
            // 8 KiB of L1 code and data, 256 KiB of L2, 4 KiB pages in the TLBs.
            2 => [0x0302_0101, 0, 0, 0x0C04_0842],
            4 => cache_leaf(sub, cpus),
            // The lines that MONITOR watches.
            5 if self.model.has(Feature::Monitor) => [64, 64, 3, 0],
            6 if self.model.kind >= Kind::X64V1 => [4, 0, 0, 0],
            7 if sub == 0 => {
                // Bit 13: x87 images have no selectors.
                let x87 = u32::from(self.model.kind >= Kind::X64V3) << 13;
                let os_keys = if self.cr4 & CR4_PKE != 0 { 1 << 4 } else { 0 };
                [0, pick(&self.model, LEAF7_EBX) | x87, pick(&self.model, LEAF7_ECX) | os_keys, 0]
            }
            0xB => self.cpuid_topology(sub, cpus),
            0xD if self.model.has(Feature::Xsave) => self.cpuid_xsave(sub),
            _ => [0; 4],
        }
    }

    fn cpuid_features(&self, cpus: u32) -> Leaf {
        let model = &self.model;
        let flush_line = if model.has(Feature::Clflush) { 8 << 8 } else { 0 };
        let logical = if cpus > 1 { cpus.min(255) << 16 } else { 0 };
        let many = if cpus > 1 { 1 << 28 } else { 0 };
        // MCE and MCA come with the P6's other features.
        let machine_check = if model.kind >= Kind::P6 { 1 << 7 | 1 << 14 } else { 0 };
        let os_xsave = if self.cr4 & CR4_OSXSAVE != 0 { 1 << 27 } else { 0 };
        let b = u32::from(self.id) << 24 | logical | flush_line;
        [self.signature(), b, pick(model, LEAF1_ECX) | os_xsave, pick(model, LEAF1_EDX) | machine_check | many]
    }

    fn cpuid_topology(&self, sub: u32, cpus: u32) -> Leaf {
        let shift = 32 - cpus.saturating_sub(1).leading_zeros();
        let id = u32::from(self.id);
        match sub {
            0 => [0, 1, 1 << 8, id],
            1 => [shift, cpus, 2 << 8 | 1, id],
            _ => [0, 0, sub & 0xFF, id],
        }
    }

    /// The XSAVE area: legacy region, header, and the extended components [SDM-1 13.2].
    fn cpuid_xsave(&self, sub: u32) -> Leaf {
        let (model, all) = (&self.model, self.xcr0_mask());
        match sub {
            0 => [all as u32, Cpu::xsave_size(self.xcr0), Cpu::xsave_size(all), 0],
            1 => {
                let compacts = model.has(Feature::Xsavec) || model.has(Feature::Xsaves);
                [pick(model, LEAFD_1_EAX), if compacts { Cpu::xsave_compacted_size(self.xcr0) } else { 0 }, 0, 0]
            }
            _ => self.xsave_component(sub).map_or([0; 4], |[size, offset]| [size, offset, 0, 0]),
        }
    }

    fn cpuid_extended(&self, leaf: u32) -> Leaf {
        match leaf {
            0x8000_0000 => [self.highest_extended_leaf(), 0, 0, 0],
            0x8000_0001 => [0, 0, pick(&self.model, EXTENDED_ECX), pick(&self.model, EXTENDED_EDX)],
            0x8000_0002..=0x8000_0004 => self.cpuid_brand((leaf - 0x8000_0002) as usize),
            0x8000_0006 => [0, 0, 256 << 16 | 6 << 12 | 64, 0],
            0x8000_0007 => [0, 0, 0, 1 << 8],
            0x8000_0008 => [48 << 8 | self.model.physical_bits(), 0, 0, 0],
            _ => [0; 4],
        }
    }

    /// 16 of the 48 bytes of the name.
    fn cpuid_brand(&self, part: usize) -> Leaf {
        let name = MODELS.iter().find(|m| m.1 == self.model.kind).map_or("", |m| m.0);
        let mut text = [0u8; 48];
        let bytes = b"emu ".iter().chain(name.as_bytes());
        text.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        let word = |i: usize| {
            let at = part * 16 + i * 4;
            text.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
        };
        [word(0), word(1), word(2), word(3)]
    }
}

const fn word(text: &[u8; 4]) -> u32 {
    u32::from_le_bytes(*text)
}

/// L1 data, L1 code and L2 caches: 32, 32 and 256 KiB, 8 ways, lines of 64 bytes.
fn cache_leaf(sub: u32, cpus: u32) -> Leaf {
    let (kind, level, sets) = match sub {
        0 => (1, 1, 64),
        1 => (2, 1, 64),
        2 => (3, 2, 512),
        _ => return [0; 4],
    };
    let cores = cpus.clamp(1, 64) - 1;
    [cores << 26 | 1 << 8 | level << 5 | kind, 7 << 22 | 63, sets - 1, 0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_above_the_highest_read_as_the_highest() {
        let cpu = Cpu::new(Model::new(Kind::X64V1), 0);
        assert_eq!(cpu.cpuid(0, 0, 1)[0], 0xB);
        assert_eq!(cpu.cpuid(0x4000_0000, 0, 1), cpu.cpuid(0xB, 0, 1));
        assert_eq!(cpu.cpuid(0x8000_0001, 0, 1)[3] >> 29 & 1, 1);
    }

    #[test]
    fn vendor_and_brand() {
        let cpu = Cpu::new(Model::new(Kind::P6), 0);
        let [_, b, c, d] = cpu.cpuid(0, 0, 1);
        let text: Vec<u8> = [b, d, c].iter().flat_map(|w| w.to_le_bytes()).collect();
        assert_eq!(text, b"GenuineIntel");
        assert_eq!(cpu.cpuid(0x8000_0002, 0, 1)[..2], [u32::from_le_bytes(*b"emu "), u32::from_le_bytes(*b"p6\0\0")]);
    }
}
