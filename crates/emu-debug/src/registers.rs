//! Registers by name and number: what gdb gets to see, and what the console prints.
//!
//! gdb knows flat memory only. So its `eip` or `rip` is the linear address of the next instruction, base of the code
//! segment included, and breakpoints, symbols and disassembly fit also where segments have bases; `ip` is the offset in
//! the code segment. The stack pointer is the offset in the stack segment: add `ss_base` where that is not 0.

use emu_core::System;
use emu_core::cpu::{Cpu, Mode, Segment, TableRegister, seg};
use emu_core::fpu::F80;

use crate::session::{Session, SessionError};

/// Which registers there are, and how wide: gdb can't change that while it is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 16-bit code is expected; registers are those of the i386.
    I8086,
    /// 32-bit registers.
    I386,
    /// 64-bit registers.
    X86_64,
}

impl Width {
    /// What the CPU is in now.
    #[must_use]
    pub fn of(cpu: &Cpu) -> Width {
        match cpu.mode {
            m if m.has(Mode::LONG) => Width::X86_64,
            m if m.has(Mode::CODE32) => Width::I386,
            _ => Width::I8086,
        }
    }

    /// gdb's name of the architecture.
    #[must_use]
    pub fn architecture(self) -> &'static str {
        match self {
            Width::I8086 => "i8086",
            Width::I386 => "i386",
            Width::X86_64 => "i386:x86-64",
        }
    }

    fn is_64(self) -> bool {
        self == Width::X86_64
    }
}

/// Which register it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Id {
    General(usize),
    Pc,
    Flags,
    Selector(usize),
    St(u8),
    FpuControl,
    FpuStatus,
    FpuTags,
    FpuCodeSegment,
    FpuCode,
    FpuDataSegment,
    FpuData,
    FpuOpcode,
    Xmm(usize),
    Mxcsr,
    Base(usize),
    Limit(usize),
    Ip,
    Task,
    Ldt,
    Gdt,
    GdtLimit,
    Idt,
    IdtLimit,
    Control(u8),
    Efer,
    Debug(usize),
    Privilege,
}

/// A register.
#[derive(Clone, Debug)]
pub struct Register {
    /// Its name, as gdb has it.
    pub name: String,
    /// Its width in bits.
    pub bits: u32,
    /// gdb's type.
    pub kind: &'static str,
    /// gdb's feature, which is a group of registers.
    pub feature: &'static str,
    id: Id,
}

const CORE: &str = "org.gnu.gdb.i386.core";
const SSE: &str = "org.gnu.gdb.i386.sse";
const SEGMENTS: &str = "org.gnu.gdb.i386.segments";
const SYSTEM: &str = "org.emu.system";

const SELECTORS: [(&str, usize); 6] =
    [("cs", seg::CS), ("ss", seg::SS), ("ds", seg::DS), ("es", seg::ES), ("fs", seg::FS), ("gs", seg::GS)];

/// All registers, in gdb's order.
#[must_use]
pub fn registers(width: Width) -> Vec<Register> {
    let mut list = Vec::new();
    core(&mut list, width);
    let mut add = |name: &str, bits, kind, feature, id| {
        list.push(Register { name: name.to_owned(), bits, kind, feature, id });
    };
    for i in 0..if width.is_64() { 16 } else { 8 } {
        add(&format!("xmm{i}"), 128, "vec128", SSE, Id::Xmm(i));
    }
    add("mxcsr", 32, "i386_mxcsr", SSE, Id::Mxcsr);
    let (wide, kind) = if width.is_64() { (64, "uint64") } else { (32, "uint32") };
    if width.is_64() {
        add("fs_base", 64, "uint64", SEGMENTS, Id::Base(seg::FS));
        add("gs_base", 64, "uint64", SEGMENTS, Id::Base(seg::GS));
    }
    for (name, i) in SELECTORS {
        if !(width.is_64() && i >= seg::FS) {
            add(&format!("{name}_base"), wide, kind, SYSTEM, Id::Base(i));
        }
        add(&format!("{name}_limit"), 32, "uint32", SYSTEM, Id::Limit(i));
    }
    let system = [
        ("ip", wide, Id::Ip),
        ("cpl", 32, Id::Privilege),
        ("tr", 32, Id::Task),
        ("ldtr", 32, Id::Ldt),
        ("gdtr_base", wide, Id::Gdt),
        ("gdtr_limit", 32, Id::GdtLimit),
        ("idtr_base", wide, Id::Idt),
        ("idtr_limit", 32, Id::IdtLimit),
        ("cr0", wide, Id::Control(0)),
        ("cr2", wide, Id::Control(2)),
        ("cr3", wide, Id::Control(3)),
        ("cr4", wide, Id::Control(4)),
        ("efer", wide, Id::Efer),
        ("dr0", wide, Id::Debug(0)),
        ("dr1", wide, Id::Debug(1)),
        ("dr2", wide, Id::Debug(2)),
        ("dr3", wide, Id::Debug(3)),
        ("dr6", wide, Id::Debug(6)),
        ("dr7", wide, Id::Debug(7)),
    ];
    for (name, bits, id) in system {
        add(name, bits, if bits == 64 { "uint64" } else { "uint32" }, SYSTEM, id);
    }
    list
}

/// What gdb must have of every x86.
fn core(list: &mut Vec<Register>, width: Width) {
    let mut add = |name: &str, bits, kind, id| {
        list.push(Register { name: name.to_owned(), bits, kind, feature: CORE, id });
    };
    // Encoded order for 32 bits; gdb's 64-bit order puts RBX second, and RBP before RSP.
    if width.is_64() {
        let old = [("rax", 0), ("rbx", 3), ("rcx", 1), ("rdx", 2), ("rsi", 6), ("rdi", 7), ("rbp", 5), ("rsp", 4)];
        for (name, i) in old {
            add(name, 64, if i == 4 || i == 5 { "data_ptr" } else { "int64" }, Id::General(i));
        }
        (8..16).for_each(|i| add(&format!("r{i}"), 64, "int64", Id::General(i)));
        add("rip", 64, "code_ptr", Id::Pc);
    } else {
        let names = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"];
        for (i, name) in names.into_iter().enumerate() {
            add(name, 32, if i == 4 || i == 5 { "data_ptr" } else { "int32" }, Id::General(i));
        }
        add("eip", 32, "code_ptr", Id::Pc);
    }
    add("eflags", 32, "i386_eflags", Id::Flags);
    SELECTORS.iter().for_each(|(name, i)| add(name, 32, "int32", Id::Selector(*i)));
    (0..8).for_each(|i| add(&format!("st{i}"), 80, "i387_ext", Id::St(i)));
    let fpu = [
        ("fctrl", Id::FpuControl),
        ("fstat", Id::FpuStatus),
        ("ftag", Id::FpuTags),
        ("fiseg", Id::FpuCodeSegment),
        ("fioff", Id::FpuCode),
        ("foseg", Id::FpuDataSegment),
        ("fooff", Id::FpuData),
        ("fop", Id::FpuOpcode),
    ];
    fpu.into_iter().for_each(|(name, id)| add(name, 32, "int", id));
}

impl Register {
    /// Bytes that gdb sends and gets.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bits as usize / 8
    }

    /// Whether its name is `name`, in whatever case.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Its value, cut to its width.
    #[must_use]
    pub fn value(&self, session: &Session) -> u128 {
        let system = &session.machine().system;
        let value = if self.id == Id::Pc { session.pc().into() } else { read(system, self.id) };
        if self.bits == 128 { value } else { value & ((1 << self.bits) - 1) }
    }

    /// Changes it; of a live run only, whose past ends here.
    ///
    /// # Errors
    /// [`SessionError::ReadOnly`], or that the run can't be changed.
    pub fn set(&self, session: &mut Session, value: u128) -> Result<(), SessionError> {
        if self.value(session) == value {
            return Ok(());
        }
        session.may_change()?;
        session.disarm();
        if !write(session.system(), self.id, value) {
            return Err(SessionError::ReadOnly(self.name.clone()));
        }
        session.changed();
        Ok(())
    }
}

fn st(cpu: &Cpu, i: u8) -> u128 {
    let mut image = [0; 160];
    cpu.fpu.fxsave(false, &mut image);
    let at = 32 + 16 * usize::from(i & 7);
    image[at..at + 10].iter().rev().fold(0, |v, b| v << 8 | u128::from(*b))
}

fn set_st(cpu: &mut Cpu, i: u8, value: u128) {
    let mut image = [0; 160];
    cpu.fpu.fxsave(false, &mut image);
    let at = 32 + 16 * usize::from(i & 7);
    image[at..at + 10].copy_from_slice(&value.to_le_bytes()[..10]);
    cpu.fpu.fxrstor(false, &image);
}

fn read(system: &System, id: Id) -> u128 {
    let cpu = &system.cpu;
    let last = cpu.fpu.last();
    u128::from(match id {
        Id::General(i) => cpu.regs[i],
        Id::Pc | Id::Ip => cpu.rip,
        Id::Flags => cpu.eflags().into(),
        Id::Selector(i) => cpu.seg[i].sel.into(),
        Id::St(i) => return st(cpu, i),
        Id::FpuControl => cpu.fpu.control().into(),
        Id::FpuStatus => cpu.fpu.status().into(),
        Id::FpuTags => cpu.fpu.tags().into(),
        Id::FpuCodeSegment => last.fcs.into(),
        Id::FpuCode => last.fip,
        Id::FpuDataSegment => last.fds.into(),
        Id::FpuData => last.fdp,
        Id::FpuOpcode => last.fop.into(),
        Id::Xmm(i) => return cpu.xmm[i],
        Id::Mxcsr => cpu.mxcsr.into(),
        Id::Base(i) => cpu.seg[i].base,
        Id::Limit(i) => cpu.seg[i].limit.into(),
        Id::Task => cpu.tr.sel.into(),
        Id::Ldt => cpu.ldtr.sel.into(),
        Id::Gdt => cpu.gdtr.base,
        Id::GdtLimit => cpu.gdtr.limit.into(),
        Id::Idt => cpu.idtr.base,
        Id::IdtLimit => cpu.idtr.limit.into(),
        Id::Control(0) => cpu.cr0,
        Id::Control(2) => cpu.cr2,
        Id::Control(3) => cpu.cr3,
        Id::Control(_) => cpu.cr4,
        Id::Efer => cpu.efer,
        Id::Debug(i) => cpu.dr[i],
        Id::Privilege => cpu.cpl().into(),
    })
}

/// Changes a register, unless the CPU's mode hangs on it.
fn write(system: &mut System, id: Id, value: u128) -> bool {
    let cpu = &mut system.cpu;
    let low = value as u64;
    match id {
        Id::General(i) => cpu.regs[i] = low,
        Id::Pc if cpu.mode.has(Mode::CODE64) => cpu.rip = low,
        Id::Pc => cpu.rip = low.wrapping_sub(cpu.seg[seg::CS].base) & 0xFFFF_FFFF,
        Id::Ip => cpu.rip = low,
        Id::Flags => cpu.set_eflags(low as u32),
        Id::Selector(i) if !cpu.mode.is_protected() => cpu.set_segment(i, Segment::real(low as u16)),
        Id::St(i) => set_st(cpu, i, value),
        Id::FpuControl => cpu.fpu.set_control(low as u16),
        Id::FpuStatus => cpu.fpu.set_status(low as u16),
        Id::FpuTags => cpu.fpu.set_tags(low as u16),
        Id::Xmm(i) => cpu.xmm[i] = value,
        Id::Mxcsr => cpu.mxcsr = low as u32 & 0xFFFF,
        Id::Control(2) => cpu.cr2 = low,
        _ => return false,
    }
    true
}

/// A table register as the console prints it.
pub(crate) fn table(t: &TableRegister) -> String {
    format!("{:x}/{:x}", t.base, t.limit)
}

/// The value of an x87 register as a number of double precision.
pub(crate) fn to_double(value: u128) -> f64 {
    let mut bytes = [0; 10];
    bytes.copy_from_slice(&value.to_le_bytes()[..10]);
    let v = F80::from_bytes(bytes);
    f64::from_bits(emu_core::fpu::float::to_f64(v, emu_core::fpu::round::Ctl { cw: 0x37F, pre: 0 }).0)
}
