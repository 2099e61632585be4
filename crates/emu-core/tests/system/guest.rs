//! A small protected-mode guest: descriptor tables in low memory, handlers that halt, code where a test puts it.

use emu_core::cpu::model::{Feature, Kind};
use emu_core::cpu::{Model, Segment, TableRegister, seg};
use emu_core::mem::Target;
use emu_core::{Bus, ClockRate, PhysMem, Stop, System, Ticks};
use iced_x86::code_asm::CodeAssembler;

pub(crate) const GDT: u64 = 0x1000;
pub(crate) const IDT: u64 = 0x2000;
pub(crate) const TSS: u64 = 0x3000;
pub(crate) const TSS2: u64 = 0x3800;
pub(crate) const LDT: u64 = 0x3C00;
/// Handler of vector `v` is at `HANDLERS + 16 * v`.
pub(crate) const HANDLERS: u64 = 0x8000;
pub(crate) const CODE: u64 = 0x1_0000;
pub(crate) const STACK0: u32 = 0x2_0000;
pub(crate) const STACK3: u32 = 0x3_0000;

pub(crate) const CODE0: u16 = 0x08;
pub(crate) const DATA0: u16 = 0x10;
pub(crate) const CODE3: u16 = 0x1B;
pub(crate) const DATA3: u16 = 0x23;
pub(crate) const TR: u16 = 0x28;
pub(crate) const TR2: u16 = 0x30;
pub(crate) const GATE: u16 = 0x38;
pub(crate) const ABSENT: u16 = 0x40;
pub(crate) const CONFORMING: u16 = 0x48;
pub(crate) const CODE64: u16 = 0x50;
pub(crate) const LDTR: u16 = 0x58;
pub(crate) const READ_ONLY: u16 = 0x60;
pub(crate) const TASK_GATE: u16 = 0x68;
/// Flat segments for SYSRET: 32-bit code, data, 64-bit code of ring 3.
pub(crate) const USER: u16 = 0x70;
/// The first selector beyond the GDT's limit.
pub(crate) const BEYOND: u16 = 0x90;

pub(crate) fn assembled(
    bits: u32,
    at: u64,
    f: impl FnOnce(&mut CodeAssembler) -> Result<(), iced_x86::IcedError>,
) -> Vec<u8> {
    let mut a = CodeAssembler::new(bits).unwrap();
    f(&mut a).unwrap();
    a.assemble(at).unwrap()
}

/// The words of a descriptor. `rights` as [`emu_core::cpu::attr`].
pub(crate) fn descriptor(base: u32, limit: u32, rights: u16) -> [u32; 2] {
    let flags = u32::from(rights & 0xF000) << 8;
    let high = (base & 0xFF00_0000) | flags | (limit & 0xF_0000) | u32::from(rights & 0xFF) << 8 | (base >> 16 & 0xFF);
    [base << 16 | (limit & 0xFFFF), high]
}

/// The words of a gate; `kind` is its access byte.
pub(crate) fn gate(sel: u16, offset: u32, kind: u8, parameters: u8) -> [u32; 2] {
    [u32::from(sel) << 16 | (offset & 0xFFFF), (offset & 0xFFFF_0000) | u32::from(kind) << 8 | u32::from(parameters)]
}

pub(crate) struct Guest {
    pub sys: System,
}

impl Guest {
    /// In 32-bit protected mode at ring 0, about to run `code`.
    pub(crate) fn new(code: &[u8]) -> Guest {
        Guest::with_model(Model::new(Kind::X64V1).with(Feature::Sep, true), code)
    }

    /// The same on another CPU.
    pub(crate) fn with_model(model: Model, code: &[u8]) -> Guest {
        Guest::with_cpus(model, 1, code)
    }

    /// The same with `cpus` CPUs, of which all but the first wait to be started.
    pub(crate) fn with_cpus(model: Model, cpus: u8, code: &[u8]) -> Guest {
        let mut mem = PhysMem::new(0x40_0000, 0).unwrap();
        mem.map(0, 0x40_0000, Target::Pool(0));
        let mut sys = System::new(model, mem, Bus::new(ClockRate::DEFAULT, cpus.into()));
        sys.set_cpus(cpus);
        sys.reset();
        let mut g = Guest { sys };
        g.tables();
        g.sys.mem.write(CODE, code);
        g.sys.cpu.cr0 = 0x11;
        g.sys.cpu.refresh_segments();
        g.ring(0);
        g.sys.cpu.rip = CODE;
        g
    }

    fn tables(&mut self) {
        let flat = 0xFFFFF;
        let gdt = [
            [0, 0],
            descriptor(0, flat, 0xC09B),
            descriptor(0, flat, 0xC093),
            descriptor(0, flat, 0xC0FB),
            descriptor(0, flat, 0xC0F3),
            descriptor(TSS as u32, 0x67, 0x89),
            descriptor(TSS2 as u32, 0x67, 0x89),
            gate(CODE0, CODE as u32 + 0x800, 0xEC, 2),
            descriptor(0, flat, 0xC073),
            descriptor(0, flat, 0xC09F),
            descriptor(0, flat, 0xA09B),
            descriptor(LDT as u32, 0x17, 0x82),
            descriptor(0, flat, 0xC090),
            gate(TR2, 0, 0xE5, 0),
            descriptor(0, flat, 0xC0FB),
            descriptor(0, flat, 0xC0F3),
            descriptor(0, flat, 0xA0FB),
            [0, 0],
        ];
        for (i, words) in gdt.into_iter().enumerate() {
            self.words(GDT + 8 * i as u64, &words);
        }
        for v in 0..32 {
            let dpl = if v == 4 { 0xEE } else { 0x8E };
            self.words(IDT + 8 * v, &gate(CODE0, (HANDLERS + 16 * v) as u32, dpl, 0));
            self.sys.mem.write(HANDLERS + 16 * v, &[0xF4]);
        }
        self.words(LDT, &[0, 0]);
        self.words(LDT + 8, &descriptor(0x5000, 0xFFF, 0x4093));
        self.words(TSS + 4, &[STACK0, DATA0.into()]);
        self.sys.cpu.gdtr = TableRegister { base: GDT, limit: BEYOND - 1 };
        self.sys.cpu.idtr = TableRegister { base: IDT, limit: 0xFF };
        let [low, high] = descriptor(TSS as u32, 0x67, 0x8B);
        self.words(GDT + u64::from(TR), &[low, high]);
        self.sys.cpu.tr = Segment::from_descriptor(TR, low, high);
    }

    /// Loads flat segments of `ring`, with its stack.
    pub(crate) fn ring(&mut self, ring: u8) {
        let dpl = u32::from(ring) << 13;
        let (code, data) = if ring == 0 { (CODE0, DATA0) } else { (CODE3, DATA3) };
        self.sys.cpu.cpl = ring;
        for i in [seg::ES, seg::SS, seg::DS, seg::FS, seg::GS] {
            self.sys.cpu.set_segment(i, Segment::from_descriptor(data, 0xFFFF, 0x00CF_9300 | dpl));
        }
        self.sys.cpu.set_segment(seg::CS, Segment::from_descriptor(code, 0xFFFF, 0x00CF_9B00 | dpl));
        self.sys.cpu.regs[4] = if ring == 0 { STACK0 } else { STACK3 }.into();
    }

    pub(crate) fn words(&mut self, at: u64, words: &[u32]) {
        for (i, w) in words.iter().enumerate() {
            self.sys.mem.write(at + 4 * i as u64, &w.to_le_bytes());
        }
    }

    pub(crate) fn word(&self, at: u64) -> u32 {
        self.sys.mem.load::<u32>(at)
    }

    /// Word `n` of the present (flat) stack.
    pub(crate) fn stack(&self, n: u64) -> u32 {
        self.word(self.sys.cpu.regs[4] + 4 * n)
    }

    /// Identity-maps the first 4 MiB with 4 KiB user pages, by tables at 3 MiB.
    pub(crate) fn identity_pages(&mut self) {
        self.words(0x30_0000, &[0x30_1007]);
        let entries: Vec<u32> = (0..1024).map(|i| i << 12 | 7).collect();
        self.words(0x30_1000, &entries);
        self.sys.cpu.cr3 = 0x30_0000;
        self.sys.cpu.cr0 |= 0x8001_0000;
    }

    /// Runs until the guest halts.
    pub(crate) fn run(&mut self) {
        let stop = self.sys.run(Ticks(10_000));
        assert_eq!(stop, Stop::Asleep, "at {:04X}:{:X}", self.sys.cpu.seg[seg::CS].sel, self.sys.cpu.rip);
    }

    /// Runs until a handler halts; returns its vector, and the error code if the vector has one.
    pub(crate) fn run_to_fault(&mut self) -> (u8, Option<u16>) {
        self.run();
        let v = ((self.sys.cpu.rip - HANDLERS) / 16) as u8;
        let has_code = matches!(v, 8 | 10..=14 | 17);
        (v, has_code.then(|| self.stack(0) as u16))
    }
}
