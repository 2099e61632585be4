//! Stacks that transfers of control push to before the stack is theirs.

use super::{Access, Descriptor, System, code_of, is_canonical};
use crate::cpu::model::Kind;
use crate::cpu::{Fault, Mode, Outcome, Segment, reg, seg};
use crate::mem::PAGE_SIZE;

/// A stack: the present one, or the one that a transfer is about to change to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stack {
    pub(crate) segment: Segment,
    pub(crate) sp: u64,
    /// The bits of RSP that are the stack pointer.
    mask: u64,
    /// Accessed with user rights.
    user: bool,
    /// The descriptor, if its accessed bit is to be set.
    descriptor: Option<Descriptor>,
}

impl Stack {
    /// A stack of 64-bit mode.
    pub(crate) fn wide(segment: Segment, sp: u64, cpl: u8) -> Stack {
        Stack { segment, sp, mask: u64::MAX, user: cpl == 3, descriptor: None }
    }

    /// A stack of protected mode, in the segment of `d`.
    pub(crate) fn new(d: &Descriptor, sp: u64, cpl: u8) -> Stack {
        let segment = d.segment();
        let mask = if segment.is_32() { 0xFFFF_FFFF } else { 0xFFFF };
        Stack { segment, sp: sp & mask, mask, user: cpl == 3, descriptor: Some(*d) }
    }
}

impl System {
    /// The present stack.
    pub(crate) fn present_stack(&self) -> Stack {
        Stack {
            segment: self.cpu.seg[seg::SS],
            sp: self.stack_pointer(),
            mask: self.stack_mask(),
            user: self.cpu.cpl == 3,
            descriptor: None,
        }
    }

    fn stack_slot(&self, stack: &Stack, off: u64, size: u64, write: bool, fault: Fault) -> Outcome<u64> {
        if stack.mask == u64::MAX {
            let good = is_canonical(off) && is_canonical(off.wrapping_add(size - 1));
            return if good { Ok(off) } else { Err(fault) };
        }
        if stack.segment.allows(off, size, write) {
            return Ok(stack.segment.base.wrapping_add(off) & 0xFFFF_FFFF);
        }
        Err(fault)
    }

    /// Pushes `values`, each `size` bytes wide, first to last; returns the new stack pointer. Nothing is written if any of
    /// them can't be.
    ///
    /// # Errors
    /// `fault` where the segment ends, #PF.
    pub(crate) fn push_all(&mut self, stack: &Stack, values: &[u64], size: u64, fault: Fault) -> Outcome<u64> {
        let access = Access { write: true, fetch: false, user: stack.user, implicit: false };
        if let Some(sp) = self.push_in_page(stack, values, size, access) {
            return Ok(sp);
        }
        let mut sp = stack.sp;
        for _ in values {
            sp = sp.wrapping_sub(size) & stack.mask;
            let lin = self.stack_slot(stack, sp, size, true, fault)?;
            if self.cached_page(lin, size, access).is_none() {
                self.translate(lin, access)?;
                let last = lin.wrapping_add(size - 1);
                if lin / PAGE_SIZE != last / PAGE_SIZE {
                    self.translate(last & !(PAGE_SIZE - 1), access)?;
                }
            }
        }
        if let Some(d) = &stack.descriptor {
            self.mark_accessed(d)?;
        }
        sp = stack.sp;
        for &value in values {
            sp = sp.wrapping_sub(size) & stack.mask;
            let lin = self.stack_slot(stack, sp, size, true, fault)?;
            match self.cached_page(lin, size, access) {
                Some(page) if size == 8 => page.write(lin, value),
                Some(page) if size == 4 => page.write(lin, value as u32),
                Some(page) if size == 2 => page.write(lin, value as u16),
                _ => self.store_linear(lin, size, value, access)?,
            }
        }
        Ok(sp)
    }

    /// [`Self::push_all`] where nothing can go wrong: onto one page that is cached for writes.
    fn push_in_page(&mut self, stack: &Stack, values: &[u64], size: u64, access: Access) -> Option<u64> {
        let len = size * values.len() as u64;
        let bottom = stack.sp.checked_sub(len)?;
        if stack.descriptor.is_some_and(|d| !d.is_accessed()) {
            return None;
        }
        let lin = if stack.mask == u64::MAX {
            (is_canonical(bottom) && is_canonical(stack.sp - 1)).then_some(bottom)?
        } else {
            let inside = stack.segment.allows(bottom, len, true);
            inside.then(|| stack.segment.base.wrapping_add(bottom) & 0xFFFF_FFFF)?
        };
        let page = self.cached_page(lin, len, access)?;
        let mut at = lin + len;
        for &value in values {
            at -= size;
            match size {
                8 => page.write(at, value),
                4 => page.write(at, value as u32),
                _ => page.write(at, value as u16),
            }
        }
        Some(bottom)
    }

    /// Reads slot `n` (of `size` bytes each) above the present stack pointer and `skip` bytes.
    ///
    /// # Errors
    /// #SS(0), #PF.
    pub(crate) fn peek_stack(&mut self, n: u64, size: u64, skip: u64) -> Outcome<u64> {
        let mask = self.stack_mask();
        let off = self.stack_pointer().wrapping_add(n * size).wrapping_add(skip) & mask;
        if self.cpu.model.kind <= Kind::I80286 && self.cpu.mode.is_real() {
            // A word at the segment's end goes on at its start, or is a #GP: not the #SS of later CPUs.
            return self.read::<u16>(seg::SS, off).map(u64::from);
        }
        let lin = if mask == u64::MAX {
            let good = is_canonical(off) && is_canonical(off.wrapping_add(size - 1));
            good.then_some(off)
        } else {
            let segment = &self.cpu.seg[seg::SS];
            segment.allows(off, size, false).then(|| segment.base.wrapping_add(off) & 0xFFFF_FFFF)
        };
        let lin = lin.ok_or(Fault::ss(0))?;
        let cached = match size {
            8 => self.tlb.read::<u64>(lin),
            4 => self.tlb.read::<u32>(lin).map(u64::from),
            _ => self.tlb.read::<u16>(lin).map(u64::from),
        };
        match cached {
            Some(value) => Ok(value),
            None => self.load_linear(lin, size, Access::data(self.cpu.cpl, false)),
        }
    }

    /// Makes `stack` the present one, with `sp` in it.
    pub(crate) fn change_stack(&mut self, stack: &Stack, sp: u64) {
        self.cpu.change_segment(seg::SS, stack.segment);
        let keep = if stack.mask == 0xFFFF { self.cpu.regs[reg::RSP] & !0xFFFF } else { 0 };
        self.cpu.regs[reg::RSP] = keep | (sp & stack.mask);
    }

    /// The stack that the TSS names for privilege level `cpl`, checked [SDM-3 5.8.5]. `ext` goes into error codes.
    ///
    /// # Errors
    /// #TS, #SS with the selector, #PF.
    pub(crate) fn inner_stack(&mut self, cpl: u8, ext: u16) -> Outcome<Stack> {
        if self.cpu.mode.has(Mode::LONG) {
            return self.inner_stack_64(cpl, 0, ext);
        }
        let wide = self.cpu.tr.attr & 8 != 0;
        // Offset of the stack pointer in the TSS, and bytes of it and SS [SDM-3 figures 7-2, 7-10].
        let (at, len) = if wide { (4 + 8 * u32::from(cpl), 6) } else { (2 + 4 * u32::from(cpl), 4) };
        if at + len - 1 > self.cpu.tr.limit {
            return Err(Fault::ts(code_of(self.cpu.tr.sel) | ext));
        }
        let lin = self.cpu.tr.base.wrapping_add(at.into());
        let (sp, sel) = if wide {
            (self.read_system::<u32>(lin)?, self.read_system::<u16>(lin.wrapping_add(4))?)
        } else {
            (u32::from(self.read_system::<u16>(lin)?), self.read_system::<u16>(lin.wrapping_add(2))?)
        };
        let ts = Fault::ts(code_of(sel) | ext);
        if code_of(sel) == 0 {
            return Err(ts);
        }
        let d = self.descriptor(sel, ts)?;
        if d.rpl() != cpl || d.dpl() != cpl || !d.is_writable_data() {
            return Err(ts);
        }
        if !d.present() {
            return Err(Fault::ss(code_of(sel) | ext));
        }
        Ok(Stack::new(&d, sp.into(), cpl))
    }

    /// Long mode's stack for privilege level `cpl`, or entry `ist` (1 to 7) of the interrupt stack table [SDM-3 6.14].
    ///
    /// # Errors
    /// #TS with TR's selector, #PF.
    pub(crate) fn inner_stack_64(&mut self, cpl: u8, ist: u8, ext: u16) -> Outcome<Stack> {
        let at = if ist != 0 { 28 + 8 * u32::from(ist) } else { 4 + 8 * u32::from(cpl) };
        if at + 7 > self.cpu.tr.limit {
            return Err(Fault::ts(code_of(self.cpu.tr.sel) | ext));
        }
        let sp = self.read_system::<u64>(self.cpu.tr.base.wrapping_add(at.into()))?;
        if !is_canonical(sp) {
            return Err(Fault::ss(ext));
        }
        Ok(Stack::wide(Segment::null(cpl.into()), sp, cpl))
    }
}
