//! The architectural state of one CPU.

pub mod bits;
mod fault;
pub mod flags;
mod mode;
pub mod model;
mod needs;
mod save;
mod segment;
mod test_registers;

pub use fault::{Fault, Outcome};
pub use flags::LazyFlags;
pub(crate) use mode::CodeAndStack;
pub use mode::Mode;
pub use model::Model;
pub use segment::{Segment, TableRegister, attr, seg};
pub use test_registers::TestRegisters;

use crate::fpu::{Fpu, Unit};
use bits::*;

/// Indices of general registers in [`Cpu::regs`], by their encoding.
pub mod reg {
    #![allow(missing_docs, reason = "the names are the SDM's")]
    pub const RAX: usize = 0;
    pub const RCX: usize = 1;
    pub const RDX: usize = 2;
    pub const RBX: usize = 3;
    pub const RSP: usize = 4;
    pub const RBP: usize = 5;
    pub const RSI: usize = 6;
    pub const RDI: usize = 7;
    /// Always zero: stands for an absent base or index.
    pub const ZERO: usize = 16;
}

/// What an instruction leaves to be done before the next one may be interrupted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shadow {
    /// Nothing.
    #[default]
    None,
    /// STI: no maskable interrupt before the next instruction has finished.
    Sti,
    /// MOV SS or POP SS: no interrupt and no debug trap before the next instruction has finished.
    MovSs,
}

/// Why a CPU executes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activity {
    /// It runs.
    #[default]
    Running,
    /// HLT: waits for an interrupt.
    Halted,
    /// Waits for a start-up IPI.
    WaitForSipi,
    /// Shut down after a triple fault: only a reset wakes it.
    Shutdown,
    /// Stands before an x87 instruction until an interrupt comes, or IGNNE# is asserted [SDM-1 D.2.1.3].
    Stalled,
}

/// Model-specific registers that are plain storage or whose effect is elsewhere [SDM-4].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the SDM's")]
pub struct Msrs {
    pub sysenter_cs: u64,
    pub sysenter_esp: u64,
    pub sysenter_eip: u64,
    pub star: u64,
    pub lstar: u64,
    pub cstar: u64,
    pub fmask: u64,
    pub kernel_gs_base: u64,
    pub tsc_aux: u64,
    pub pat: u64,
    pub misc_enable: u64,
    pub mtrr_def_type: u64,
    pub mtrr_fixed: [u64; 11],
    pub mtrr_base: [u64; 8],
    pub mtrr_mask: [u64; 8],
    pub bios_sign_id: u64,
    pub mcg_status: u64,
    pub debugctl: u64,
}

/// One CPU: everything that software can see of it, and nothing of how emu runs it.
#[derive(Clone, Debug)]
pub struct Cpu {
    /// General registers; only the first 16 exist, [`reg::ZERO`] is 0 for ever. In 16- and 32-bit modes only the low
    /// halves count.
    pub regs: [u64; 32],
    /// Instruction pointer. While a block runs it is that of the block's start; handlers ask
    /// [`crate::System::insn_ip`].
    pub rip: u64,
    /// CF, PF, AF, ZF, SF, OF.
    pub flags: LazyFlags,
    /// The other bits of EFLAGS (bit 1 is set, the status flags are 0).
    pub eflags: u32,
    /// ES, CS, SS, DS, FS, GS: see [`seg`].
    pub seg: [Segment; 6],
    /// Bits of the mode, derived from all that follows.
    pub mode: Mode,
    /// Current privilege level: 0 in real mode, 3 in V86 mode. It is SS.DPL on silicon, not the low bits of CS: those
    /// are a real-mode value until the first far jump of protected mode.
    pub cpl: u8,
    /// What the last instruction inhibits.
    pub shadow: Shadow,
    /// Whether it runs.
    pub activity: Activity,
    /// LDTR.
    pub ldtr: Segment,
    /// TR.
    pub tr: Segment,
    /// GDTR.
    pub gdtr: TableRegister,
    /// IDTR.
    pub idtr: TableRegister,
    /// CR0.
    pub cr0: u64,
    /// CR2.
    pub cr2: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// The four page-directory pointers that PAE paging loads with CR3 [SDM-3 4.4.1].
    pub pdptrs: [u64; 4],
    /// IA32_EFER.
    pub efer: u64,
    /// DR0 to DR7 (4 and 5 unused).
    pub dr: [u64; 8],
    /// Other model-specific registers.
    pub msr: Msrs,
    /// What is added to the clock to give the time stamp counter.
    pub tsc_offset: u64,
    /// The x87 unit and the MMX registers in it.
    pub fpu: Fpu,
    /// XMM0 to XMM15.
    pub xmm: [u128; 16],
    /// The upper halves of YMM0 to YMM15.
    pub ymm_high: [u128; 16],
    /// XCR0: the state components that XSAVE and AVX may use.
    pub xcr0: u64,
    /// MXCSR.
    pub mxcsr: u32,
    /// State of the generator behind RDRAND and RDSEED.
    pub random: u64,
    /// NMIs are blocked until IRET.
    pub nmi_blocked: bool,
    /// In system management mode.
    pub smm: bool,
    /// Base of the SMRAM state save area.
    pub smbase: u32,
    /// TR3 to TR7.
    pub test: TestRegisters,
    /// DR6 bits of breakpoints and single steps whose trap has not been taken yet.
    pub pending_debug: u64,
    /// Rights of protection keys, two bits each: PKRU for user pages, IA32_PKRS for supervisor pages.
    pub key_rights: [u32; 2],
    /// IA32_MCi_CTL, ADDR and MISC of the machine check banks, one bank after the other.
    pub machine_check: [u64; 15],
    /// Which silicon it is.
    pub model: Model,
    /// Its number, which is also its initial APIC ID.
    pub id: u8,
}

impl Cpu {
    /// CPU number `id` of a machine, as after power-on.
    #[must_use]
    pub fn new(model: Model, id: u8) -> Cpu {
        let mut cpu = Cpu {
            regs: [0; 32],
            rip: 0,
            flags: LazyFlags::default(),
            eflags: 2,
            seg: [Segment::real(0); 6],
            mode: Mode::default(),
            cpl: 0,
            shadow: Shadow::None,
            activity: Activity::Running,
            ldtr: Segment::null(0),
            tr: Segment::null(0),
            gdtr: TableRegister::default(),
            idtr: TableRegister::default(),
            cr0: 0,
            cr2: 0,
            cr3: 0,
            cr4: 0,
            pdptrs: [0; 4],
            efer: 0,
            dr: [0; 8],
            msr: Msrs::default(),
            tsc_offset: 0,
            fpu: Fpu::with_unit(Unit::of(model.kind)),
            xmm: [0; 16],
            ymm_high: [0; 16],
            xcr0: 1,
            mxcsr: 0x1F80,
            random: u64::from(id) << 56,
            nmi_blocked: false,
            smm: false,
            smbase: 0x3_0000,
            test: TestRegisters::default(),
            pending_debug: 0,
            key_rights: [0; 2],
            machine_check: [0; 15],
            model,
            id,
        };
        cpu.reset(false);
        cpu
    }

    /// RESET#, or INIT where `init` (which keeps FPU, SSE and MSR state) [SDM-3 table 10-1].
    pub fn reset(&mut self, init: bool) {
        use model::Kind;
        let kind = self.model.kind;
        self.regs = [0; 32];
        self.regs[reg::RDX] = self.signature().into();
        self.flags = LazyFlags::from_bits(0);
        self.eflags = 2;
        self.seg = [Segment::real(0); 6];
        self.seg[seg::CS] = Segment::real(0xF000);
        self.rip = 0xFFF0;
        match kind {
            Kind::I8086 | Kind::I80186 => {
                self.seg[seg::CS] = Segment::real(0xFFFF);
                self.rip = 0;
            }
            Kind::I80286 => self.seg[seg::CS].base = 0xFF_0000,
            _ => self.seg[seg::CS].base = 0xFFFF_0000,
        }
        let table = TableRegister { base: 0, limit: if kind >= Kind::I80286 { 0x3FF } else { 0xFFFF } };
        self.idtr = table;
        self.gdtr = TableRegister { base: 0, limit: 0xFFFF };
        self.ldtr = Segment { limit: 0xFFFF, attr: attr::P | 2, null: false, ..Segment::null(0) };
        self.tr = Segment { limit: 0xFFFF, attr: attr::P | 3, null: false, ..Segment::null(0) };
        self.cr0 = match kind {
            k if k >= Kind::I80486 => CR0_CD | CR0_NW | CR0_ET,
            Kind::I80386 => CR0_ET,
            _ => 0,
        };
        if init {
            self.cr0 |= CR0_ET;
        }
        (self.cr2, self.cr3, self.cr4, self.efer) = (0, 0, 0, 0);
        self.pdptrs = [0; 4];
        self.dr = [0, 0, 0, 0, 0, 0, 0xFFFF_0FF0, 0x400];
        self.cpl = 0;
        self.shadow = Shadow::None;
        self.activity = if self.id == 0 { Activity::Running } else { Activity::WaitForSipi };
        self.nmi_blocked = false;
        self.pending_debug = 0;
        self.smm = false;
        if !init {
            self.key_rights = [0; 2];
            self.machine_check = [0; 15];
            self.msr = Msrs { pat: 0x0007_0406_0007_0406, misc_enable: 1, ..Msrs::default() };
            self.tsc_offset = 0;
            self.fpu.reset();
            (self.xmm, self.ymm_high) = ([0; 16], [0; 16]);
            self.xcr0 = 1;
            self.mxcsr = 0x1F80;
            self.smbase = 0x3_0000;
            self.test = TestRegisters::default();
        }
        self.refresh_segments();
    }

    /// Family, model and stepping as CPUID leaf 1 and EDX after reset give them.
    #[must_use]
    pub fn signature(&self) -> u32 {
        use model::Kind;
        match self.model.kind {
            Kind::I8086 | Kind::I80186 | Kind::I80286 => 0,
            Kind::I80386 => 0x0308,
            Kind::I80486 => 0x0435,
            Kind::Pentium => 0x0543,
            Kind::P6 => 0x0686,
            Kind::X64V1 => 0x0006_0FB1,
            Kind::X64V2 => 0x0001_06A5,
            Kind::X64V3 => 0x0003_06C3,
        }
    }

    /// Starts the generator behind RDRAND and RDSEED from a machine's seed; every CPU gets a sequence of its own.
    pub fn seed_random(&mut self, seed: u64) {
        self.random = seed ^ u64::from(self.id) << 56;
    }

    /// The next number of that generator (splitmix64).
    pub(crate) fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = self.random;
        let z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    /// The whole of EFLAGS.
    #[must_use]
    pub fn eflags(&self) -> u32 {
        self.eflags | self.flags.bits()
    }

    /// Replaces EFLAGS whole, without any check, and what is derived from it.
    pub fn set_eflags(&mut self, v: u32) {
        self.flags = LazyFlags::from_bits(v);
        let changed = self.eflags ^ v;
        self.eflags = v & !flags::STATUS & 0x003F_7FD5 | 2;
        if changed & VM != 0 {
            self.refresh_segments();
        } else if changed & (TF | AC) != 0 {
            self.refresh_mode();
        }
    }

    /// Current privilege level.
    #[inline(always)]
    #[must_use]
    pub fn cpl(&self) -> u8 {
        self.mode.cpl()
    }

    /// I/O privilege level.
    #[must_use]
    pub fn iopl(&self) -> u8 {
        (self.eflags >> 12) as u8 & 3
    }

    /// Replaces a segment register and what is derived from it.
    pub fn set_segment(&mut self, index: usize, s: Segment) {
        self.put_segment(index, s);
        self.refresh_mode();
    }

    /// As [`Self::set_segment`], where nothing but segments and the privilege level has changed since the mode was derived.
    pub(crate) fn change_segment(&mut self, index: usize, s: Segment) {
        self.put_segment(index, s);
        self.refresh_segment_mode();
    }

    /// As [`Self::change_segment`], where nothing but this segment has changed, and its limits are derived.
    #[inline(always)]
    pub(crate) fn reload_segment(&mut self, index: usize, s: &Segment) {
        let before = core::mem::replace(&mut self.seg[index], *s).flat;
        // Of these registers the mode knows no more than whether they are flat.
        let mode_stays = match index {
            seg::ES | seg::DS => before == s.flat,
            seg::FS | seg::GS => true,
            _ => false,
        };
        if !mode_stays {
            self.refresh_segment_mode();
        }
    }

    /// Replaces a segment register; another one that is replaced right behind it brings what is derived from it.
    pub(crate) fn put_segment(&mut self, index: usize, mut s: Segment) {
        s.refresh(self.mode.is_protected());
        self.seg[index] = s;
    }

    /// Derives the segments' limits and the mode anew; after CR0.PE or EFLAGS.VM changed, or a state was loaded.
    pub fn refresh_segments(&mut self) {
        self.refresh_mode();
        let checked = self.mode.is_protected();
        self.seg.iter_mut().for_each(|s| s.refresh(checked));
        self.refresh_mode();
    }

    /// Derives the mode anew; after control registers, EFLAGS, segments or the privilege level changed.
    pub fn refresh_mode(&mut self) {
        let pe = self.cr0 & CR0_PE != 0;
        let bits = [
            (Mode::PE, pe),
            (Mode::V86, pe && self.eflags & VM != 0),
            (Mode::LONG, self.efer & EFER_LMA != 0),
            (Mode::SINGLE, self.eflags & TF != 0 || self.has_code_breakpoints()),
            (Mode::WATCH, self.has_data_breakpoints()),
        ];
        self.mode = Mode(bits.iter().filter(|b| b.1).fold(0, |m, b| m | b.0));
        self.refresh_segment_mode();
    }

    /// Derives those bits of the mode anew that come from segments and the privilege level.
    pub(crate) fn refresh_segment_mode(&mut self) {
        self.refresh_mode_from(self.code_and_stack());
    }

    fn code_and_stack(&self) -> CodeAndStack {
        CodeAndStack::new(self.mode.has(Mode::LONG), &self.seg[seg::CS], &self.seg[seg::SS])
    }

    /// Whether the mode is what [`Self::refresh_segment_mode`] would make it.
    pub(crate) fn mode_fits(&self) -> bool {
        self.mode == self.mode_from(self.code_and_stack())
    }

    /// As [`Self::refresh_segment_mode`], where it is known what follows from CS and SS.
    #[inline(always)]
    pub(crate) fn refresh_mode_from(&mut self, pair: CodeAndStack) {
        self.mode = self.mode_from(pair);
        debug_assert!(self.mode_fits());
    }

    #[inline(always)]
    fn mode_from(&self, pair: CodeAndStack) -> Mode {
        let [es, _, _, ds, ..] = &self.seg;
        // Without branches: system calls come here twice each.
        let flat = pair.flat * u32::from(es.is_flat(true) & ds.is_flat(true));
        let aligned = (self.cpl == 3) & (self.cr0 & CR0_AM != 0) & (self.eflags & AC != 0);
        let align = Mode::ALIGN * u32::from(aligned);
        Mode(self.mode.0 & Mode::APART | pair.set | flat | align | u32::from(self.cpl) << 7)
    }

    /// Whether DR7 enables a breakpoint on data or ports.
    fn has_data_breakpoints(&self) -> bool {
        self.dr[7] & 0xFF != 0 && (0..4).any(|i| self.dr[7] >> (2 * i) & 3 != 0 && self.dr[7] >> (16 + 4 * i) & 3 != 0)
    }

    /// Whether DR7 enables a breakpoint on instruction execution [SDM-3 17.2.4].
    #[must_use]
    pub fn has_code_breakpoints(&self) -> bool {
        self.dr[7] & 0xFF != 0 && (0..4).any(|i| self.dr[7] >> (2 * i) & 3 != 0 && self.dr[7] >> (16 + 4 * i) & 3 == 0)
    }
}
