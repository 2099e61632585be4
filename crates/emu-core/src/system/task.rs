//! Hardware task switching [SDM-3 chapter 7].

use super::{Access, Descriptor, System, code_of};
use crate::cpu::bits::{CR0_PG, CR0_TS, CR4_PAE, DR6_BT, EFER_LMA, NT, VM};
use crate::cpu::{Fault, Outcome, Segment, seg};

/// What switches tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Switch {
    /// JMP.
    Jump,
    /// CALL.
    Call,
    /// IRET with NT set.
    Return,
    /// An interrupt or exception, with its error code if it has one.
    Interrupt(Option<u16>),
}

/// Bit of a TSS descriptor's type: busy.
const BUSY: u8 = 2;

/// What a TSS holds of a task.
struct Task {
    cr3: u32,
    eip: u32,
    eflags: u32,
    regs: [u32; 8],
    /// In the order of [`seg`].
    sel: [u16; 6],
    ldt: u16,
    trap: bool,
}

impl System {
    /// The available TSS that `sel` (of a task gate) selects.
    ///
    /// # Errors
    /// #GP, #NP with the selector; #PF.
    pub(crate) fn available_tss(&mut self, sel: u16, ext: u16) -> Outcome<Descriptor> {
        let gp = Fault::gp(code_of(sel) | ext);
        if sel & 4 != 0 {
            return Err(gp);
        }
        let tss = self.descriptor(sel, gp)?;
        if !matches!(tss.kind(), 1 | 9) {
            return Err(gp);
        }
        if !tss.present() {
            return Err(Fault::np(code_of(sel) | ext));
        }
        Ok(tss)
    }

    /// Switches to the task of `tss`. `flags` is saved as the old task's EFLAGS, RIP as its instruction pointer. A fault
    /// behind the point of no return is left for the new task.
    ///
    /// # Errors
    /// #TS with the selector, #PF; nothing has changed then.
    pub(crate) fn switch_task(&mut self, tss: &Descriptor, how: Switch, flags: u32, ext: u16) -> Outcome {
        let new = tss.segment();
        let wide = tss.kind() & 8 != 0;
        if new.limit < if wide { 0x67 } else { 0x2B } {
            return Err(Fault::ts(code_of(tss.sel) | ext));
        }
        let old = self.cpu.tr;
        let old_wide = old.attr & 8 != 0;
        if old.limit < if old_wide { 0x5F } else { 0x29 } {
            return Err(Fault::ts(code_of(old.sel) | ext));
        }
        let task = self.read_task(new.base, wide)?;
        self.probe_system(old.base, if old_wide { 0x60 } else { 0x2A })?;
        self.probe_system(new.base, 2)?;
        self.probe_system(tss.at, 8)?;
        let old_at = self.cpu.gdtr.base.wrapping_add((old.sel & 0xFFF8).into());
        let saved = if how == Switch::Return { flags & !NT } else { flags };
        if matches!(how, Switch::Jump | Switch::Return) {
            let busy = self.read_system::<u8>(old_at.wrapping_add(5))?;
            self.write_system(old_at.wrapping_add(5), busy & !BUSY)?;
        }
        self.save_task(old.base, old_wide, saved)?;
        let nested = matches!(how, Switch::Call | Switch::Interrupt(_));
        if nested {
            self.write_system(new.base, old.sel)?;
        }
        if how != Switch::Return {
            let access_byte = tss.attr() as u8 | BUSY;
            self.write_system(tss.at.wrapping_add(5), access_byte)?;
        }
        self.cpu.tr = new;
        self.cpu.tr.attr |= u16::from(BUSY);
        self.cpu.cr0 |= CR0_TS;
        let entered = self.enter_task(&task, wide, nested, ext).and_then(|()| self.push_code(how, wide));
        self.single_step = false;
        self.late_fault = entered.err();
        if task.trap && self.late_fault.is_none() {
            self.cpu.dr[6] |= DR6_BT;
            self.late_fault = Some(Fault::DB);
        }
        self.request_leave();
        Ok(())
    }

    /// The error code goes to the new task's stack.
    fn push_code(&mut self, how: Switch, wide: bool) -> Outcome {
        match how {
            Switch::Interrupt(Some(code)) if wide => self.push(u32::from(code)),
            Switch::Interrupt(Some(code)) => self.push(code),
            _ => Ok(()),
        }
    }

    /// Checks that `len` bytes of a system table can be written.
    fn probe_system(&mut self, lin: u64, len: u64) -> Outcome {
        self.translate(self.wrap_linear(lin), Access::system(true))?;
        self.translate(self.wrap_linear(lin.wrapping_add(len - 1)), Access::system(true))?;
        Ok(())
    }

    fn read_task(&mut self, base: u64, wide: bool) -> Outcome<Task> {
        let mut t = Task { cr3: 0, eip: 0, eflags: 0, regs: [0; 8], sel: [0; 6], ldt: 0, trap: false };
        if wide {
            let mut dword = |at: u64| self.read_system::<u32>(base.wrapping_add(at));
            (t.cr3, t.eip, t.eflags) = (dword(0x1C)?, dword(0x20)?, dword(0x24)?);
            for i in 0..8 {
                t.regs[i] = dword(0x28 + 4 * i as u64)?;
            }
            for i in 0..6 {
                t.sel[i] = dword(0x48 + 4 * i as u64)? as u16;
            }
            t.ldt = dword(0x60)? as u16;
            t.trap = dword(0x64)? & 1 != 0;
        } else {
            let mut word = |at: u64| self.read_system::<u16>(base.wrapping_add(at));
            (t.eip, t.eflags) = (word(0x0E)?.into(), word(0x10)?.into());
            for i in 0..8 {
                t.regs[i] = word(0x12 + 2 * i as u64)?.into();
            }
            for i in 0..4 {
                t.sel[i] = word(0x22 + 2 * i as u64)?;
            }
            t.ldt = word(0x2A)?;
        }
        Ok(t)
    }

    /// Writes the present state into the old TSS, whose pages are known to be writable.
    fn save_task(&mut self, base: u64, wide: bool, eflags: u32) -> Outcome {
        let (eip, regs) = (self.cpu.rip as u32, self.cpu.regs);
        let sel: [u16; 6] = core::array::from_fn(|i| self.cpu.seg[i].sel);
        if wide {
            self.write_system(base.wrapping_add(0x20), eip)?;
            self.write_system(base.wrapping_add(0x24), eflags)?;
            for i in 0..8 {
                self.write_system(base.wrapping_add(0x28 + 4 * i), regs[i as usize] as u32)?;
            }
            for i in 0..6 {
                self.write_system(base.wrapping_add(0x48 + 4 * i), sel[i as usize])?;
            }
        } else {
            self.write_system(base.wrapping_add(0x0E), eip as u16)?;
            self.write_system(base.wrapping_add(0x10), eflags as u16)?;
            for i in 0..8 {
                self.write_system(base.wrapping_add(0x12 + 2 * i), regs[i as usize] as u16)?;
            }
            for i in 0..4 {
                self.write_system(base.wrapping_add(0x22 + 2 * i), sel[i as usize])?;
            }
        }
        Ok(())
    }

    /// Loads the new task's state; from here on faults are its own.
    fn enter_task(&mut self, task: &Task, wide: bool, nested: bool, ext: u16) -> Outcome {
        self.cpu.dr[7] &= !0x155;
        self.cpu.rip = task.eip.into();
        for (to, from) in self.cpu.regs.iter_mut().zip(task.regs) {
            *to = from.into();
        }
        for (i, sel) in task.sel.into_iter().enumerate() {
            self.cpu.seg[i] = Segment::null(sel);
        }
        self.cpu.ldtr = Segment::null(task.ldt);
        self.replace_eflags(task.eflags | if nested { NT } else { 0 });
        let v86 = self.cpu.eflags & VM != 0;
        self.set_cpl(if v86 { 3 } else { task.sel[seg::CS] as u8 & 3 });
        self.cpu.refresh_mode();
        if wide && self.cpu.cr0 & CR0_PG != 0 {
            self.load_task_cr3(task.cr3.into())?;
        }
        self.load_task_ldt(task.ldt, ext)?;
        if v86 {
            (0..6).for_each(|i| self.load_real_segment(i, task.sel[i]));
            return Ok(());
        }
        self.load_task_code(task.sel[seg::CS], ext)?;
        self.load_task_stack(task.sel[seg::SS], ext)?;
        for i in [seg::DS, seg::ES, seg::FS, seg::GS] {
            self.load_task_data(i, task.sel[i], ext)?;
        }
        Ok(())
    }

    fn load_task_cr3(&mut self, cr3: u64) -> Outcome {
        let before = self.root();
        self.cpu.cr3 = cr3;
        let pae = self.cpu.cr4 & CR4_PAE != 0 && self.cpu.efer & EFER_LMA == 0;
        let loaded = if pae { self.load_pdptrs(cr3) } else { Ok(()) };
        self.change_space(&before);
        loaded
    }

    fn load_task_ldt(&mut self, sel: u16, ext: u16) -> Outcome {
        if code_of(sel) == 0 {
            return Ok(());
        }
        let ts = Fault::ts(code_of(sel) | ext);
        if sel & 4 != 0 {
            return Err(ts);
        }
        let d = self.descriptor(sel, ts)?;
        if d.kind() != 2 || !d.present() {
            return Err(ts);
        }
        self.cpu.ldtr = d.segment();
        Ok(())
    }

    fn load_task_code(&mut self, sel: u16, ext: u16) -> Outcome {
        let ts = Fault::ts(code_of(sel) | ext);
        if code_of(sel) == 0 {
            return Err(ts);
        }
        let d = self.descriptor(sel, ts)?;
        let level_fits = if d.is_conforming() { d.dpl() <= d.rpl() } else { d.dpl() == d.rpl() };
        if !d.is_code() || !level_fits {
            return Err(ts);
        }
        if !d.present() {
            return Err(Fault::np(code_of(sel) | ext));
        }
        self.mark_accessed(&d)?;
        self.cpu.set_segment(seg::CS, d.segment());
        Ok(())
    }

    fn load_task_stack(&mut self, sel: u16, ext: u16) -> Outcome {
        let ts = Fault::ts(code_of(sel) | ext);
        if code_of(sel) == 0 {
            return Err(ts);
        }
        let d = self.descriptor(sel, ts)?;
        if !d.is_writable_data() || d.dpl() != self.cpu.cpl || d.rpl() != self.cpu.cpl {
            return Err(ts);
        }
        if !d.present() {
            return Err(Fault::ss(code_of(sel) | ext));
        }
        self.mark_accessed(&d)?;
        self.cpu.set_segment(seg::SS, d.segment());
        Ok(())
    }

    fn load_task_data(&mut self, index: usize, sel: u16, ext: u16) -> Outcome {
        if code_of(sel) == 0 {
            return Ok(());
        }
        let ts = Fault::ts(code_of(sel) | ext);
        let d = self.descriptor(sel, ts)?;
        if !d.is_readable() || (!d.is_conforming() && d.rpl().max(self.cpu.cpl) > d.dpl()) {
            return Err(ts);
        }
        if !d.present() {
            return Err(Fault::np(code_of(sel) | ext));
        }
        self.mark_accessed(&d)?;
        self.cpu.set_segment(index, d.segment());
        Ok(())
    }

    /// IRET with NT set: back to the task that the present one's link names [SDM-2 IRET].
    ///
    /// # Errors
    /// #TS, #NP with the link; #PF.
    pub(crate) fn return_to_linked_task(&mut self) -> Outcome {
        let link = self.read_system::<u16>(self.cpu.tr.base)?;
        let ts = Fault::ts(code_of(link));
        if link & 4 != 0 || code_of(link) == 0 {
            return Err(ts);
        }
        let tss = self.descriptor(link, ts)?;
        if !matches!(tss.kind(), 3 | 11) {
            return Err(ts);
        }
        if !tss.present() {
            return Err(Fault::np(code_of(link)));
        }
        let flags = self.cpu.eflags();
        self.switch_task(&tss, Switch::Return, flags, 0)
    }
}
