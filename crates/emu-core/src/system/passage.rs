//! Gates and returns that were gone through before: the way that needs no checks, as all of them are known to pass.
//!
//! What a transfer through a gate finds in the tables is compared with what the last one found there, word by word, in the
//! memory itself: so nothing has to be told of writes to the tables. If it is the same, from the same mode, the checks and
//! the segments are the same too. Anything else takes the long way (`gate.rs`, `exec::far_return`), which ends with
//! remembering what it found. Nothing here is part of the machine's state.

use super::interrupt::Source;
use super::{Descriptor, Interrupt, System, is_canonical};
use crate::cpu::bits::*;
use crate::cpu::flags::STATUS;
use crate::cpu::model::Kind;
use crate::cpu::{CodeAndStack, Cpu, Mode, Segment, reg, seg};
use crate::mem::{HostPage, PAGE_SIZE};

/// Gates and returns that are remembered.
const GATES: usize = 32;
const RETURNS: usize = 8;
/// Segments of data that are remembered.
const LOADED: usize = 16;
const NO_LEVEL: u8 = 4;
/// No transfer starts from this mode.
const NO_MODE: u32 = u32::MAX;
/// Modes in which more can happen than is looked at here.
const SPECIAL: u32 = Mode::V86 | Mode::ALIGN | Mode::SINGLE | Mode::WATCH;
/// What IRET may change here.
const CHANGES: u32 = STATUS | DF | IF;

/// A gate with what it leads to.
#[derive(Clone, Copy)]
struct Gate {
    /// The mode in which the interrupt came.
    from: u32,
    vector: u8,
    /// Privilege level of the handler.
    cpl: u8,
    /// Software may use it.
    soft: bool,
    /// The handler has another stack: that of the TSS.
    inner: bool,
    /// The stack is one of the interrupt stack table.
    ist: u8,
    /// Selectors of the handler's code and stack.
    code_sel: u16,
    stack_sel: u16,
    /// Flags that the handler finds clear.
    clears: u32,
    /// The gate's words, and the last of a long one.
    words: u64,
    upper: u32,
    /// The descriptors.
    code: u64,
    stack: u64,
    rip: u64,
    cs: Segment,
    ss: Segment,
    /// The mode behind it; [`NO_MODE`] if it depends on more than the mode before.
    to: u32,
}

/// A pair of code and stack segment that an IRET led to.
#[derive(Clone, Copy)]
struct Return {
    /// The mode of the IRET.
    from: u32,
    code_sel: u16,
    stack_sel: u16,
    cpl: u8,
    /// The stack changes too.
    outer: bool,
    /// To 64-bit code.
    wide: bool,
    code: u64,
    stack: u64,
    cs: Segment,
    ss: Segment,
    /// The mode behind it; [`NO_MODE`] if it depends on more than the mode before.
    to: u32,
}

/// A segment that was loaded into a data segment register or SS.
#[derive(Clone, Copy)]
struct Loaded {
    sel: u16,
    /// Privilege level at which it was loaded; none has this value while nothing is remembered.
    cpl: u8,
    stack: bool,
    words: u64,
    segment: Segment,
}

/// What is remembered.
pub(crate) struct Passages {
    loaded: Box<[Loaded; LOADED]>,
    gates: Box<[Gate; GATES]>,
    returns: Box<[Return; RETURNS]>,
}

impl Default for Passages {
    fn default() -> Self {
        let none = Segment::null(0);
        let gate = Gate {
            from: NO_MODE,
            vector: 0,
            cpl: 0,
            soft: false,
            inner: false,
            ist: 0,
            code_sel: 0,
            stack_sel: 0,
            clears: 0,
            words: 0,
            upper: 0,
            code: 0,
            stack: 0,
            rip: 0,
            cs: none,
            ss: none,
            to: NO_MODE,
        };
        let back = Return {
            from: NO_MODE,
            code_sel: 0,
            stack_sel: 0,
            cpl: 0,
            outer: false,
            wide: false,
            code: 0,
            stack: 0,
            cs: none,
            ss: none,
            to: NO_MODE,
        };
        let loaded = Loaded { sel: 0, cpl: NO_LEVEL, stack: false, words: 0, segment: none };
        Passages {
            loaded: Box::new([loaded; LOADED]),
            gates: Box::new([gate; GATES]),
            returns: Box::new([back; RETURNS]),
        }
    }
}

/// The mode behind a transfer from mode `from` to the code and stack segment that `cpu` has now, if it is the same each time:
/// where all data segments were flat or did not count, they are no less so now, and alignment is not checked.
fn mode_behind(from: Mode, cpu: &Cpu) -> u32 {
    let pair = CodeAndStack::new(from.has(Mode::LONG), &cpu.seg[seg::CS], &cpu.seg[seg::SS]);
    let known = from.has(Mode::FLAT) && (pair.is_64() || !from.has(Mode::CODE64));
    if known { pair.flat_mode(from, cpu.cpl).0 } else { NO_MODE }
}

fn return_slot(code_sel: u16, from: u32) -> usize {
    usize::from(code_sel >> 3 ^ (from >> 7) as u16) % RETURNS
}

impl System {
    /// The words of a descriptor in the GDT, if they can be read without further notice.
    #[inline(always)]
    fn known_descriptor(&self, sel: u16) -> Option<u64> {
        let (table, index) = (self.cpu.gdtr, sel & 0xFFF8);
        let inside = sel & 4 == 0 && u32::from(index) + 7 <= u32::from(table.limit);
        if inside { self.tlb.read_for::<u64>(table.base.wrapping_add(index.into()), false) } else { None }
    }

    /// Loads segment register `index` in protected mode, if it is with a selector that was loaded before. Nothing has
    /// changed if the answer is false.
    pub(super) fn load_known_segment(&mut self, index: usize, sel: u16) -> bool {
        let known = &self.passages.loaded[usize::from(sel >> 3) % LOADED];
        let same = known.sel == sel && known.cpl == self.cpu.cpl && known.stack == (index == seg::SS);
        if !same || self.cpu.cr4 & CR4_SMAP != 0 || self.known_descriptor(sel) != Some(known.words) {
            return false;
        }
        self.cpu.reload_segment(index, &known.segment);
        true
    }

    /// Loads ES, DS, FS or GS. Nothing has changed if the answer is false: it takes more than a look.
    #[inline]
    pub(crate) fn load_quickly(&mut self, index: usize, sel: u16) -> bool {
        if self.cpu.mode.is_protected() {
            return self.load_known_segment(index, sel);
        }
        self.load_real_segment(index, sel);
        true
    }

    /// Remembers what segment register `index` has just been loaded with in protected mode.
    pub(super) fn remember_segment(&mut self, index: usize) {
        let segment = self.cpu.seg[index];
        let accessed = crate::cpu::attr::S | crate::cpu::attr::ACCESSED;
        let ordinary = !segment.null && segment.attr & accessed == accessed && self.cpu.model.kind >= Kind::I80386;
        if ordinary && let Some(words) = self.known_descriptor(segment.sel).filter(|w| w >> 40 & 1 != 0) {
            let (sel, cpl, stack) = (segment.sel, self.cpu.cpl, index == seg::SS);
            let loaded = Loaded { sel, cpl, stack, words, segment };
            self.passages.loaded[usize::from(sel >> 3) % LOADED] = loaded;
        }
    }

    /// Delivers `int` if its gate is a remembered one. Nothing has changed if the answer is false.
    pub(super) fn pass_known_gate(&mut self, int: Interrupt, pushed_flags: u64) -> bool {
        let Some((sp, page)) = self.known_frame(int) else { return false };
        let n = usize::from(int.vector) % GATES;
        let gate = &self.passages.gates[n];
        let long = self.cpu.mode.has(Mode::LONG);
        let cpu = &mut self.cpu;
        let mut at = sp;
        let mut push = |word: u64| {
            if long {
                page.write(at, word);
                at += 8;
            } else {
                page.write(at, word as u32);
                at += 4;
            }
        };
        if let Some(code) = int.code {
            push(code.into());
        }
        push(cpu.rip);
        push(cpu.seg[seg::CS].sel.into());
        push(pushed_flags);
        if long || gate.inner {
            push(cpu.regs[reg::RSP]);
            push(cpu.seg[seg::SS].sel.into());
        }
        let bottom =
            if long { sp } else { sp.wrapping_sub(if gate.inner { &gate.ss } else { &cpu.seg[seg::SS] }.base) };
        cpu.regs[reg::RSP] = if long { bottom } else { bottom & 0xFFFF_FFFF };
        cpu.cpl = gate.cpl;
        self.tlb.set_user(gate.cpl == 3);
        cpu.seg[seg::CS] = gate.cs;
        cpu.rip = gate.rip;
        cpu.eflags &= !gate.clears;
        if gate.inner {
            cpu.seg[seg::SS] = gate.ss;
        }
        if gate.to == NO_MODE {
            cpu.refresh_segment_mode();
        } else {
            cpu.mode = Mode(gate.to);
            debug_assert!(cpu.mode_fits());
        }
        true
    }

    /// Where the frame of `int` ends (the linear address of its last word) and the page that it lies in, if its gate is a
    /// remembered one, and all of it can be written without further notice.
    #[inline(always)]
    fn known_frame(&self, int: Interrupt) -> Option<(u64, HostPage)> {
        let cpu = &self.cpu;
        let gate = &self.passages.gates[usize::from(int.vector) % GATES];
        let allowed = gate.soft || int.source != Source::Software;
        if gate.from != cpu.mode.0 || gate.vector != int.vector || !allowed || cpu.cr4 & CR4_SMAP != 0 {
            return None;
        }
        let long = cpu.mode.has(Mode::LONG);
        let size = if long { 16 } else { 8 };
        let at = u64::from(int.vector) * size;
        let lin = cpu.idtr.base.wrapping_add(at);
        let same = at + size - 1 <= cpu.idtr.limit.into()
            && self.tlb.read_for::<u64>(lin, false) == Some(gate.words)
            && (!long || self.tlb.read_for::<u32>(lin.wrapping_add(8), false) == Some(gate.upper))
            && self.known_descriptor(gate.code_sel) == Some(gate.code);
        if !same {
            return None;
        }
        let codes = u64::from(int.code.is_some());
        if long {
            let sp = if gate.inner || gate.ist != 0 {
                let n = if gate.ist != 0 { 28 + 8 * u32::from(gate.ist) } else { 4 + 8 * u32::from(gate.cpl) };
                if n + 7 > cpu.tr.limit {
                    return None;
                }
                self.tlb.read_for::<u64>(cpu.tr.base.wrapping_add(n.into()), false)?
            } else {
                cpu.regs[reg::RSP]
            };
            let len = 8 * (5 + codes);
            let bottom = (sp & !15).checked_sub(len)?;
            let good = is_canonical(bottom) && is_canonical(sp.wrapping_sub(1)) && is_canonical(sp);
            let page = if good { self.tlb.writable_page(bottom, len, gate.cpl == 3)? } else { return None };
            return Some((bottom, page));
        }
        let (sp, len, ss) = if gate.inner {
            let n = 4 + 8 * u32::from(gate.cpl);
            if cpu.tr.attr & 8 == 0 || n + 5 > cpu.tr.limit {
                return None;
            }
            let lin = cpu.tr.base.wrapping_add(n.into());
            let same = self.tlb.read_for::<u16>(lin.wrapping_add(4), false) == Some(gate.stack_sel)
                && self.known_descriptor(gate.stack_sel) == Some(gate.stack);
            if !same {
                return None;
            }
            (self.tlb.read_for::<u32>(lin, false)?, 4 * (5 + codes), &gate.ss)
        } else {
            (cpu.regs[reg::RSP] as u32, 4 * (3 + codes), &cpu.seg[seg::SS])
        };
        let bottom = u64::from(sp).checked_sub(len)?;
        if !ss.allows(bottom, len, true) {
            return None;
        }
        let lin = ss.base.wrapping_add(bottom) & 0xFFFF_FFFF;
        Some((lin, self.tlb.writable_page(lin, len, gate.cpl == 3)?))
    }

    /// Remembers the gate of `int`, through which the CPU has just gone from `from` to code segment `code`.
    pub(super) fn remember_gate(&mut self, int: Interrupt, gate: &Descriptor, code: &Descriptor, from: Mode) {
        let cpu = &self.cpu;
        let inner = from.cpl() != cpu.cpl;
        let long = from.has(Mode::LONG);
        let stack_fits = long || (cpu.seg[seg::SS].is_32() && cpu.seg[seg::SS].attr & crate::cpu::attr::S != 0);
        let ordinary = !from.has(SPECIAL) && cpu.model.kind >= Kind::I80386 && int.vector != 1;
        if !ordinary || gate.kind() & !1 != 14 || !code.is_accessed() || !stack_fits {
            return;
        }
        let stack_sel = if inner && !long { cpu.seg[seg::SS].sel } else { 0 };
        let (code_words, stack) = (self.known_descriptor(gate.target()), self.known_descriptor(stack_sel));
        let Some(code_words) = code_words.filter(|&w| w == code.words()) else { return };
        self.passages.gates[usize::from(int.vector) % GATES] = Gate {
            from: from.0,
            vector: int.vector,
            cpl: cpu.cpl,
            soft: gate.dpl() >= from.cpl(),
            inner,
            ist: if long { gate.stack_index() } else { 0 },
            code_sel: gate.target(),
            stack_sel,
            clears: TF | NT | RF | VM | if gate.kind() == 14 { IF } else { 0 },
            words: gate.words(),
            upper: gate.upper(),
            code: code_words,
            stack: stack.unwrap_or(0),
            rip: gate.offset(),
            cs: cpu.seg[seg::CS],
            ss: cpu.seg[seg::SS],
            to: mode_behind(from, cpu),
        };
    }

    /// IRET with words of `size` bytes (8 in 64-bit mode, else 4) in protected mode, if it leads where one led before.
    /// Nothing has changed if the answer is false.
    #[inline(never)]
    pub(crate) fn quick_iret(&mut self, size: u64) -> bool {
        let cpu = &self.cpu;
        if cpu.nmi_blocked || cpu.eflags & NT != 0 || cpu.cr4 & CR4_SMAP != 0 {
            return false;
        }
        let Some((lin, words)) = self.return_frame(size) else { return false };
        let Some(page) = self.tlb.readable_page(lin, 3 * size, cpu.cpl == 3) else { return false };
        let word = |n: u64| match size {
            8 => page.read::<u64>(lin + 8 * n),
            _ => page.read::<u32>(lin + 4 * n).into(),
        };
        let (rip, cs, flags) = (word(0), word(1), word(2));
        let back = &self.passages.returns[return_slot(cs as u16, cpu.mode.0)];
        let same = back.from == cpu.mode.0 && back.code_sel == cs as u16;
        if !same || self.known_descriptor(back.code_sel) != Some(back.code) {
            return false;
        }
        let inside = if back.wide { is_canonical(rip) } else { rip <= back.cs.limit.into() };
        let Some(new) = self.returned_flags(flags as u32).filter(|_| inside) else { return false };
        let mut sp = self.cpu.regs[reg::RSP].wrapping_add(3 * size);
        if back.outer {
            // Stacks often end with a page, so only who needs five words asks for them.
            if words < 5 || lin / PAGE_SIZE != (lin + 5 * size - 1) / PAGE_SIZE {
                return false;
            }
            let (outer, ss) = (word(3), word(4));
            let known = back.stack_sel == ss as u16
                && (back.stack_sel & !3 == 0 || self.known_descriptor(back.stack_sel) == Some(back.stack));
            if !known {
                return false;
            }
            sp = outer;
        }
        self.finish_return(return_slot(cs as u16, self.cpu.mode.0), rip, sp, new);
        true
    }

    /// Where an IRET's frame begins on the present stack, and how many words of it may be read as far as its segment goes.
    #[inline(always)]
    fn return_frame(&self, size: u64) -> Option<(u64, u64)> {
        let sp = self.cpu.regs[reg::RSP];
        if size == 8 {
            return Some((sp, 5));
        }
        let (sp, ss) = (sp & 0xFFFF_FFFF, &self.cpu.seg[seg::SS]);
        let lin = ss.base.wrapping_add(sp) & 0xFFFF_FFFF;
        if ss.allows(sp, 20, false) { Some((lin, 5)) } else { ss.allows(sp, 12, false).then_some((lin, 3)) }
    }

    /// EFLAGS as an IRET from protected mode that pops `flags` leaves them, if nothing follows from that.
    #[inline(always)]
    fn returned_flags(&self, flags: u32) -> Option<u32> {
        let cpu = &self.cpu;
        let mut mask = STATUS | TF | DF | NT | AC | ID;
        if cpu.cpl <= cpu.iopl() {
            mask |= IF;
        }
        if cpu.cpl == 0 {
            mask |= IOPL | VIF | VIP | VM;
        }
        let old = cpu.eflags();
        // No model that knows a flag less than another one pops it set: such a difference is none of `CHANGES`.
        let new = old & !mask | flags & mask;
        let quiet = (old ^ new) & !CHANGES == 0 && (flags & VM == 0);
        let waits = !old & new & IF != 0 && self.interrupt_waits();
        (quiet && !waits).then_some(new)
    }

    /// Goes on at `rip` in the segments of remembered return `n`.
    #[inline(always)]
    fn finish_return(&mut self, n: usize, rip: u64, sp: u64, flags: u32) {
        let back = &self.passages.returns[n];
        let cpu = &mut self.cpu;
        let old = cpu.cpl;
        cpu.regs[reg::RSP] = if back.wide { sp } else { sp & 0xFFFF_FFFF };
        cpu.cpl = back.cpl;
        self.tlb.set_user(back.cpl == 3);
        cpu.seg[seg::CS] = back.cs;
        cpu.rip = rip;
        if back.outer {
            cpu.seg[seg::SS] = back.ss;
        }
        // Alignment may be checked from here on.
        if back.to == NO_MODE || flags & AC != 0 {
            cpu.refresh_segment_mode();
        } else {
            cpu.mode = Mode(back.to);
            debug_assert!(cpu.mode_fits());
        }
        if cpu.cpl != old {
            self.drop_inner_segments();
        }
        self.cpu.set_eflags(flags);
    }

    /// Remembers where an IRET of `size` bytes a word has just led from `from`; `whole` if it took SS:RSP from its frame.
    pub(crate) fn remember_return(&mut self, from: Mode, code: &Descriptor, whole: bool, stack_sel: u16) {
        let cpu = &self.cpu;
        let wide = cpu.mode.has(Mode::CODE64);
        let ss = &cpu.seg[seg::SS];
        let stack_fits = wide || (ss.is_32() && from.has(Mode::STACK32 | Mode::CODE64));
        let ordinary = !from.has(SPECIAL) && cpu.model.kind >= Kind::I80386;
        if !ordinary || !code.is_accessed() || !stack_fits {
            return;
        }
        let words = self.known_descriptor(code.sel).filter(|&w| w == code.words());
        let stack = if stack_sel & !3 == 0 { Some(0) } else { self.known_descriptor(stack_sel) };
        let (Some(code_words), Some(stack)) = (words, if whole { stack } else { Some(0) }) else { return };
        self.passages.returns[return_slot(code.sel, from.0)] = Return {
            from: from.0,
            code_sel: code.sel,
            stack_sel: if whole { stack_sel } else { 0 },
            cpl: cpu.cpl,
            outer: whole,
            wide,
            code: code_words,
            stack,
            cs: cpu.seg[seg::CS],
            ss: *ss,
            to: mode_behind(from, cpu),
        };
    }

    /// Whether an interrupt would be taken as soon as IF lets it.
    #[inline]
    pub(crate) fn interrupt_waits(&self) -> bool {
        self.bus.intr(self.cpu.id)
    }
}
