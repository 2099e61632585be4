//! Memory accesses of the CPU: the slow paths behind the TLB, and what instructions use that are not on the fast path.

use iced_x86::OpKind;

use super::{Access, System, Translation};
use crate::bus::MmioRun;
use crate::cpu::bits::CR4_SMAP;
use crate::cpu::model::Kind;
use crate::cpu::{Fault, Mode, Outcome, reg, seg};
use crate::engine::{Health, OpRef};
use crate::mem::{DevicePage, Fill, HostPage, PAGE_SHIFT, PAGE_SIZE, Scalar, Target, Writable};
use crate::profile::Event;

/// Whether bits 63:47 of `lin` are alike [SDM-1 3.3.7.1].
#[inline]
#[must_use]
pub fn is_canonical(lin: u64) -> bool {
    ((lin << 16) as i64 >> 16) as u64 == lin
}

fn stays_in_page(lin: u64, size: u64) -> bool {
    lin % PAGE_SIZE + size <= PAGE_SIZE
}

/// Slow paths of handlers: they answer whether the instruction may go on, and put a fault into the CPU's exit if not.
impl System {
    /// A read that missed the TLB; the value is in `scratch`.
    #[cold]
    #[inline(never)]
    pub(crate) fn slow_load(&mut self, op: OpRef, lin: u64, size: u64, write: bool) -> bool {
        self.at = Some(op);
        if let Some(page) = self.tlb.device_read(lin, size, write) {
            let value = self.load_device(page, lin, size);
            return self.finish_slow(op, Ok(Some(value)));
        }
        let access = Access::data(self.cpu.cpl, write);
        let outcome = self.check_canonical(op, lin, size).and_then(|()| self.load_linear(lin, size, access));
        self.finish_slow(op, outcome.map(Some))
    }

    /// The first half of a change of what may not be written without notice; the value is in `scratch`.
    #[cold]
    #[inline(never)]
    pub(crate) fn slow_load_to_change<T: Scalar>(&mut self, op: OpRef, lin: u64) -> bool {
        // A guarded page may be written with notice, and be read as any: programs change page tables in use.
        if let Some((page, _)) = self.tlb.guarded_page(lin, T::SIZE) {
            self.poll.disturbed = true;
            self.scratch = page.read::<T>(lin).to_u64();
            return true;
        }
        self.slow_load(op, lin, T::SIZE, true)
    }

    /// A write that missed the TLB.
    #[cold]
    #[inline(never)]
    pub(crate) fn slow_store(&mut self, op: OpRef, lin: u64, size: u64, value: u64) -> bool {
        if let Some(page) = self.tlb.device_write(lin, size) {
            return self.store_device(op, page, lin, size, value);
        }
        if self.store_beside_code(op, lin, size, value) {
            return true;
        }
        self.at = Some(op);
        let access = Access::data(self.cpu.cpl, true);
        let outcome = self.check_canonical(op, lin, size).and_then(|()| self.store_linear(lin, size, value, access));
        self.finish_slow(op, outcome.map(|()| None))
    }

    /// A write that is only checked.
    #[cold]
    #[inline(never)]
    pub(crate) fn slow_check(&mut self, op: OpRef, lin: u64, size: u64) -> bool {
        self.at = Some(op);
        let access = Access::data(self.cpu.cpl, true);
        let outcome = self.checked_linear(lin, size, access).and_then(|lin| {
            self.translate(lin, access)?;
            if !stays_in_page(lin, size) {
                self.translate(self.next_page(lin), access)?;
            }
            Ok(())
        });
        self.finish_slow(op, outcome.map(|()| None))
    }

    /// A segment check of a handler failed: finds out which fault it is.
    #[cold]
    #[inline(never)]
    pub(crate) fn segment_fault(&mut self, op: OpRef, segment: usize) {
        self.at = Some(op);
        let fault = self.limit_fault(segment);
        self.stop_with_fault(op, fault);
    }

    fn finish_slow(&mut self, op: OpRef, outcome: Outcome<Option<u64>>) -> bool {
        match outcome {
            Ok(value) => {
                if let Some(value) = value {
                    self.scratch = value;
                }
                if self.leave {
                    self.leave_behind(op);
                }
                self.at = None;
                true
            }
            Err(fault) => {
                self.stop_with_fault(op, fault);
                false
            }
        }
    }

    /// An access at `lin` in 64-bit mode must be canonical: if not, it is the segment by which the instruction at `op` made
    /// it that tells #SS(0) from #GP(0) [SDM-1 3.3.7.1].
    fn check_canonical(&mut self, op: OpRef, lin: u64, size: u64) -> Outcome {
        let good = !self.cpu.mode.has(Mode::CODE64) || (is_canonical(lin) && is_canonical(lin.wrapping_add(size - 1)));
        if good { Ok(()) } else { Err(self.not_canonical(op, lin)) }
    }

    #[cold]
    fn not_canonical(&mut self, op: OpRef, lin: u64) -> Fault {
        let insn = self.engine.instruction(self.block, op, &self.cpu.model);
        // PUSH and CALL of a memory operand: either address may be meant.
        let by_operand = insn.op_kinds().any(|k| k == OpKind::Memory) && {
            let (s, off) = (self.operand_segment(&insn), self.operand_offset(&insn));
            lin == off.wrapping_add(if s >= seg::FS { self.cpu.seg[s].base } else { 0 })
        };
        // What is not the operand is the stack.
        if by_operand && self.operand_segment(&insn) != seg::SS { Fault::gp(0) } else { Fault::ss(0) }
    }
}

/// Linear accesses.
impl System {
    /// `lin` as wide as linear addresses are in this mode.
    #[inline]
    #[must_use]
    pub fn wrap_linear(&self, lin: u64) -> u64 {
        if self.cpu.mode.has(Mode::CODE64) { lin } else { lin & 0xFFFF_FFFF }
    }

    /// Reads `size` (1, 2, 4 or 8) bytes at a linear address.
    ///
    /// # Errors
    /// #PF; #GP(0) for an address that is not canonical; #AC.
    pub fn load_linear(&mut self, lin: u64, size: u64, access: Access) -> Outcome<u64> {
        self.poll.disturbed = true;
        let lin = self.checked_linear(lin, size, access)?;
        if stays_in_page(lin, size) {
            let t = self.translate(lin, access)?;
            if let Some(page) = self.fill_tlb(lin, &t, access) {
                return Ok(match size {
                    1 => page.read::<u8>(lin).into(),
                    2 => page.read::<u16>(lin).into(),
                    4 => page.read::<u32>(lin).into(),
                    8 => page.read(lin),
                    _ => self.load_physical(t.pa, size),
                });
            }
            self.watch_access(lin, size, access, false);
            self.watch_read(t.pa, size);
            return Ok(self.load_physical(t.pa, size));
        }
        let first = PAGE_SIZE - lin % PAGE_SIZE;
        let next = self.next_page(lin);
        let (a, b) = (self.translate(lin, access)?.pa, self.translate(next, access)?.pa);
        self.watch_access(lin, size, access, false);
        let mut value = 0;
        for i in 0..size {
            let pa = if i < first { a + i } else { b + (i - first) };
            self.watch_read(pa, 1);
            value |= self.load_physical(pa, 1) << (8 * i);
        }
        Ok(value)
    }

    /// Writes `size` (1, 2, 4 or 8) bytes at a linear address; nothing is written if any of them faults.
    ///
    /// # Errors
    /// As [`Self::load_linear`].
    pub fn store_linear(&mut self, lin: u64, size: u64, value: u64, access: Access) -> Outcome {
        let lin = self.checked_linear(lin, size, access)?;
        if stays_in_page(lin, size) {
            let t = self.translate(lin, access)?;
            if let Some(page) = self.fill_tlb(lin, &t, access) {
                // It has a write tag: nobody needs to know.
                match size {
                    1 => page.write(lin, value as u8),
                    2 => page.write(lin, value as u16),
                    4 => page.write(lin, value as u32),
                    8 => page.write(lin, value),
                    _ => self.store_physical(t.pa, size, value),
                }
                return Ok(());
            }
            self.watch_access(lin, size, access, true);
            self.store_physical(t.pa, size, value);
            return Ok(());
        }
        let first = PAGE_SIZE - lin % PAGE_SIZE;
        let next = self.next_page(lin);
        let (a, b) = (self.translate(lin, access)?.pa, self.translate(next, access)?.pa);
        self.watch_access(lin, size, access, true);
        for i in 0..size {
            let pa = if i < first { a + i } else { b + (i - first) };
            self.store_physical(pa, 1, value >> (8 * i) & 0xFF);
        }
        Ok(())
    }

    /// Data breakpoints see what programs access, not what the CPU reads of its tables.
    #[inline]
    fn watch_access(&mut self, lin: u64, size: u64, access: Access, write: bool) {
        if !access.implicit && !access.fetch {
            self.watch_data(lin, size, write);
        }
    }

    /// A debugger's watchpoints see every read of the CPU but its fetches of code.
    #[inline]
    fn watch_read(&mut self, pa: u64, size: u64) {
        if self.mem.watches_reads()
            && let Target::Pool(offset) = self.mem.target(pa).0
            && self.mem.reads_watched(offset)
        {
            self.mem.note_read(offset + pa % PAGE_SIZE, size);
            self.leave |= self.mem.watch_was_hit();
        }
    }

    /// The page behind that of `lin`.
    fn next_page(&self, lin: u64) -> u64 {
        let next = (lin & !(PAGE_SIZE - 1)).wrapping_add(PAGE_SIZE);
        if lin >> 32 != 0 { next } else { self.wrap_linear(next) }
    }

    fn checked_linear(&mut self, lin: u64, size: u64, access: Access) -> Outcome<u64> {
        // Compatibility mode's own addresses have 32 bits, but its tables and the stacks that it changes to may lie higher.
        let high = self.cpu.mode.has(Mode::LONG) && lin >> 32 != 0;
        let lin = if high { lin } else { self.wrap_linear(lin) };
        let wide = high || self.cpu.mode.has(Mode::CODE64);
        if wide && !(is_canonical(lin) && is_canonical(lin.wrapping_add(size - 1))) {
            return Err(Fault::gp(0));
        }
        if self.cpu.mode.has(Mode::ALIGN) && access.user && !lin.is_multiple_of(size) {
            return Err(Fault::ac());
        }
        Ok(lin)
    }

    /// Enters a translation into the TLB, with the tags that it may have. The answer is the page, if an access like this
    /// one needs no further notice now.
    fn fill_tlb(&mut self, lin: u64, t: &Translation, access: Access) -> Option<HostPage> {
        if self.cpu.mode.has(Mode::ALIGN) || self.page_is_watched(lin) {
            return None;
        }
        let (read, write) = self.mem.target(t.pa);
        let Target::Pool(pool) = read else { return self.fill_device(lin, t, access, (read, write)) };
        if self.mem.reads_watched(pool) {
            return None;
        }
        let may = t.writable && write == read;
        let may = may && if access.write { self.mem.open_for_write(pool) } else { self.mem.is_open(pool) };
        if access.write && !may {
            return None;
        }
        self.engine.note(Event::TlbMiss);
        self.hold(lin, t, false);
        if access.write {
            self.mem.release_empty_table(pool);
        }
        let write = match may {
            false => Writable::No,
            true if self.mem.is_guarded(pool) => Writable::Guarded,
            true => {
                self.mem.note_tag(pool);
                Writable::Yes
            }
        };
        let page = self.mem.host_page(pool);
        let fill = Fill {
            page: Some((page, pool >> PAGE_SHIFT)),
            device: None,
            read: true,
            write,
            device_write: false,
            global: t.global,
        };
        self.fill(lin, &fill, access);
        (!access.write || write == Writable::Yes).then_some(page)
    }

    fn fill(&mut self, lin: u64, fill: &Fill, access: Access) {
        self.tlb.set_user(access.user);
        self.tlb.fill(lin, fill);
        self.tlb.set_user(self.cpu.cpl == 3);
    }

    /// As [`Self::fill_tlb`], for what is not memory: a device's page is entered, and where it has a shortcut, that.
    fn fill_device(&mut self, lin: u64, t: &Translation, access: Access, to: (Target, Target)) -> Option<HostPage> {
        let (Target::Mmio(region), true) = (to.0, to.0 == to.1) else { return None };
        let pa = self.mem.gated(t.pa) & !(PAGE_SIZE - 1);
        let mut fill = Fill {
            page: None,
            device: Some(DevicePage { region, pa }),
            read: false,
            write: Writable::No,
            device_write: t.writable,
            global: t.global,
        };
        if let Some((pool, reads)) = self.mem.shortcut(pa) {
            // Watched or with code, the page is the device's for reads, and looked up again for each write.
            fill.device_write = false;
            fill.read = reads && !self.mem.reads_watched(pool);
            let open = t.writable && !self.mem.is_guarded(pool);
            if open && if access.write { self.mem.open_for_write(pool) } else { self.mem.is_open(pool) } {
                self.mem.note_tag(pool);
                fill.write = Writable::Yes;
            }
            fill.page = Some((self.mem.host_page(pool), pool >> PAGE_SHIFT));
        }
        self.engine.note(Event::TlbMiss);
        self.hold(lin, t, false);
        self.fill(lin, &fill, access);
        let here = if access.write { fill.write == Writable::Yes && fill.read } else { fill.read };
        if here { fill.page.map(|p| p.0) } else { None }
    }

    /// Reads of a device, whose page is `page`, at `lin`.
    fn load_device(&mut self, page: DevicePage, lin: u64, size: u64) -> u64 {
        self.poll.disturbed = true;
        let (now, pa) = (self.now(), page.pa | lin % PAGE_SIZE);
        let value = self.bus.mmio_read(&mut self.mem, now, page.region, pa, size as u8);
        self.after_device();
        value & (u64::MAX >> (64 - 8 * size))
    }

    /// Writes to a device, whose page is `page`, at `lin`.
    fn store_device(&mut self, op: OpRef, page: DevicePage, lin: u64, size: u64, value: u64) -> bool {
        let (pa, value) = (page.pa | lin % PAGE_SIZE, value & (u64::MAX >> (64 - 8 * size)));
        if !self.bus.mmio_store(&mut self.mem, page.region, pa, size as u8, value) {
            return self.store_with_effects(op, page.region, pa, size, value);
        }
        if self.mem.map_generation() != self.map_generation {
            self.leave = true;
            self.leave_behind(op);
        }
        true
    }

    /// Writes to a device what may have effects.
    #[inline(never)]
    fn store_with_effects(&mut self, op: OpRef, region: u16, pa: u64, size: u64, value: u64) -> bool {
        self.at = Some(op);
        let now = self.now();
        self.bus.mmio_write(&mut self.mem, now, region, pa, size as u8, value);
        self.after_device();
        self.finish_slow(op, Ok(None))
    }

    /// Does a run of accesses to a device's region; returns how many are done.
    pub(crate) fn run_device(&mut self, region: u16, size: u64, run: MmioRun<'_>) -> u64 {
        let done = self.bus.mmio_run(&mut self.mem, region, size as u8, run);
        self.after_device();
        done
    }

    /// Writes to a page that may be written but for the decoded code in it, or as it is a page table: programs whose variables
    /// lie among their code, or that write code, do many of these. Returns false if it is no such page.
    fn store_beside_code(&mut self, op: OpRef, lin: u64, size: u64, value: u64) -> bool {
        let Some((page, number)) = self.tlb.guarded_page(lin, size) else { return false };
        match size {
            1 => page.write(lin, value as u8),
            2 => page.write(lin, value as u16),
            4 => page.write(lin, value as u32),
            8 => page.write(lin, value),
            _ => return false,
        }
        let offset = number << PAGE_SHIFT | lin % PAGE_SIZE;
        let table = self.mem.is_table(offset);
        if self.engine.store_immediate(self.block, offset, size, value) {
            // Code and operation have changed together.
        } else if self.mem.hits_code(offset, size) {
            self.engine.code_written(&mut self.mem, offset, size);
            if self.engine.block(self.block).health == Health::Suspect {
                // It has changed what it is about to run.
                self.leave_now(op);
            }
        } else if !self.mem.has_code(offset) && self.mem.stays_data(offset) {
            self.mem.note_tag(offset);
            self.tlb.give_write_tag(lin);
        }
        if table {
            self.mem.note_table_write(offset, size);
            if self.mem.tables_were_written() && self.drop_lost() {
                self.leave_now(op);
            }
        }
        true
    }

    /// Has the chain stop behind the instruction at `op`, which is in a slow path.
    #[cold]
    fn leave_now(&mut self, op: OpRef) {
        self.at = Some(op);
        self.leave = true;
        self.leave_behind(op);
        self.at = None;
    }

    /// Reads `size` bytes inside one page at a physical address, from memory or a device.
    pub fn load_physical(&mut self, pa: u64, size: u64) -> u64 {
        match self.mem.target(pa).0 {
            Target::Mmio(region) => {
                let (now, pa) = (self.now(), self.mem.gated(pa));
                let value = self.bus.mmio_read(&mut self.mem, now, region, pa, size as u8);
                self.after_device();
                value & (u64::MAX >> (64 - 8 * size))
            }
            _ => match size {
                1 => self.mem.load::<u8>(pa).into(),
                2 => self.mem.load::<u16>(pa).into(),
                4 => self.mem.load::<u32>(pa).into(),
                _ => self.mem.load::<u64>(pa),
            },
        }
    }

    /// Writes `size` bytes inside one page at a physical address, to memory or a device.
    pub fn store_physical(&mut self, pa: u64, size: u64, value: u64) {
        match self.mem.target(pa).1 {
            Target::Mmio(region) => {
                let (now, pa) = (self.now(), self.mem.gated(pa));
                let value = value & (u64::MAX >> (64 - 8 * size));
                self.bus.mmio_write(&mut self.mem, now, region, pa, size as u8, value);
                self.after_device();
            }
            _ => {
                match size {
                    1 => self.mem.store(pa, value as u8),
                    2 => self.mem.store(pa, value as u16),
                    4 => self.mem.store(pa, value as u32),
                    8 => self.mem.store(pa, value),
                    _ => self.mem.write(pa, &value.to_le_bytes()[..size as usize & 15]),
                }
                if self.mem.tables_were_written() {
                    self.leave |= self.drop_lost();
                }
                self.leave |= self.mem.code_was_written() || self.mem.watch_was_hit();
            }
        }
    }

    /// After a device was called: must the CPU look at something before its next instruction?
    #[inline]
    pub(crate) fn after_device(&mut self) {
        let stale = self.mem.map_generation() != self.map_generation;
        self.leave |=
            stale || self.bus.needs_attention() || self.mem.code_was_written() || self.bus.output_waiting() > 4096;
        self.leave |= self.mem.watch_was_hit();
        if self.mem.tables_were_written() {
            self.leave |= self.drop_lost();
        }
    }
}

/// What instructions use: accesses by segment and offset.
impl System {
    /// Checks an access of `size` bytes at `off` in segment `s`, and gives its linear address.
    ///
    /// # Errors
    /// #SS(0) for the stack segment, #GP(0) for the others.
    #[inline]
    pub fn linear(&self, s: usize, off: u64, size: u64, write: bool) -> Outcome<u64> {
        if self.cpu.mode.has(Mode::CODE64) {
            let lin = if s >= seg::FS { off.wrapping_add(self.cpu.seg[s].base) } else { off };
            if is_canonical(lin) && is_canonical(lin.wrapping_add(size - 1)) {
                return Ok(lin);
            }
        } else {
            let segment = &self.cpu.seg[s];
            if segment.allows(off, size, write) {
                return Ok(segment.base.wrapping_add(off) & 0xFFFF_FFFF);
            }
        }
        Err(self.limit_fault(s))
    }

    /// The fault of an access outside of segment `s`. In real mode the 80286 knows no #SS.
    #[cold]
    fn limit_fault(&self, s: usize) -> Fault {
        let old = self.cpu.model.kind == Kind::I80286 && self.cpu.mode.is_real();
        if s == seg::SS && !old { Fault::ss(0) } else { Fault::gp(0) }
    }

    /// Reads an integer at `off` in segment `s`.
    ///
    /// # Errors
    /// Segment faults, #PF, #AC.
    #[inline]
    pub fn read<T: Scalar>(&mut self, s: usize, off: u64) -> Outcome<T> {
        let lin = match self.linear(s, off, T::SIZE, false) {
            Ok(lin) => lin,
            Err(fault) => return self.read_around(s, off, T::SIZE, fault).map(T::from_u64),
        };
        match self.tlb.read(lin) {
            Some(v) => Ok(v),
            None => Ok(T::from_u64(self.read_slowly(lin, T::SIZE, false)?)),
        }
    }

    /// Reads an integer that will be written back: every fault that the write would raise is raised now.
    ///
    /// # Errors
    /// As [`Self::read`].
    #[inline]
    pub fn read_for_write<T: Scalar>(&mut self, s: usize, off: u64) -> Outcome<T> {
        let lin = match self.linear(s, off, T::SIZE, true) {
            Ok(lin) => lin,
            Err(fault) => return self.read_around(s, off, T::SIZE, fault).map(T::from_u64),
        };
        match self.tlb.read_for_write(lin) {
            Some(v) => Ok(v),
            None => Ok(T::from_u64(self.read_slowly(lin, T::SIZE, true)?)),
        }
    }

    /// Writes an integer at `off` in segment `s`.
    ///
    /// # Errors
    /// As [`Self::read`].
    #[inline]
    pub fn write<T: Scalar>(&mut self, s: usize, off: u64, v: T) -> Outcome {
        let lin = match self.linear(s, off, T::SIZE, true) {
            Ok(lin) => lin,
            Err(fault) => return self.write_around(s, off, T::SIZE, v.to_u64(), fault),
        };
        if self.tlb.write(lin, v) {
            return Ok(());
        }
        self.write_slowly(lin, T::SIZE, v.to_u64())
    }

    /// A read at `lin` that is not of memory in the TLB.
    #[inline(never)]
    fn read_slowly(&mut self, lin: u64, size: u64, write: bool) -> Outcome<u64> {
        match self.tlb.device_read(lin, size, write) {
            Some(page) => Ok(self.load_device(page, lin, size)),
            None => self.load_linear(lin, size, Access::data(self.cpu.cpl, write)),
        }
    }

    /// A write at `lin` that is not to memory in the TLB.
    #[inline(never)]
    fn write_slowly(&mut self, lin: u64, size: u64, value: u64) -> Outcome {
        if let Some(page) = self.tlb.device_write(lin, size)
            && self.bus.mmio_store(&mut self.mem, page.region, page.pa | lin % PAGE_SIZE, size as u8, value)
        {
            self.leave |= self.mem.map_generation() != self.map_generation;
            return Ok(());
        }
        self.store_linear(lin, size, value, Access::data(self.cpu.cpl, true))
    }

    /// A read that passes the end of segment `s`: goes on at its start where the CPU's model does, and faults elsewhere.
    #[cold]
    #[inline(never)]
    fn read_around(&mut self, s: usize, off: u64, size: u64, fault: Fault) -> Outcome<u64> {
        if !self.cpu.model.kind.wraps() {
            return Err(fault);
        }
        let mut v = 0;
        for i in 0..size {
            v |= u64::from(self.read::<u8>(s, (off + i) & 0xFFFF)?) << (8 * i);
        }
        Ok(v)
    }

    /// As [`Self::read_around`], for a write.
    #[cold]
    #[inline(never)]
    fn write_around(&mut self, s: usize, off: u64, size: u64, v: u64, fault: Fault) -> Outcome {
        if !self.cpu.model.kind.wraps() {
            return Err(fault);
        }
        (0..size).try_for_each(|i| self.write(s, (off + i) & 0xFFFF, (v >> (8 * i)) as u8))
    }

    /// Whether `fault` of a handler is only its not knowing how this CPU's model passes the end of a segment: the
    /// instruction's decoded form knows.
    pub(super) fn is_only_wrap(&self, fault: Fault) -> bool {
        self.cpu.model.kind.wraps() && matches!(fault.vector(), 12 | 13)
    }

    /// Reads `buf.len()` bytes at `off` in segment `s`; every byte is checked before the first is read.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_bytes(&mut self, s: usize, off: u64, buf: &mut [u8]) -> Outcome {
        if self.cpu.model.kind.wraps() {
            return (off..).zip(buf).try_for_each(|(off, b)| self.read(s, off & 0xFFFF).map(|v| *b = v));
        }
        let lin = self.probe(s, off, buf.len() as u64, false)?;
        let access = Access::data(self.cpu.cpl, false);
        for (i, b) in buf.iter_mut().enumerate() {
            *b = self.load_linear(lin.wrapping_add(i as u64), 1, access)? as u8;
        }
        Ok(())
    }

    /// Writes `bytes` at `off` in segment `s`; nothing is written if any of them faults.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn write_bytes(&mut self, s: usize, off: u64, bytes: &[u8]) -> Outcome {
        if self.cpu.model.kind.wraps() {
            return (off..).zip(bytes).try_for_each(|(off, &b)| self.write(s, off & 0xFFFF, b));
        }
        let lin = self.probe(s, off, bytes.len() as u64, true)?;
        let access = Access::data(self.cpu.cpl, true);
        for (i, b) in bytes.iter().enumerate() {
            self.store_linear(lin.wrapping_add(i as u64), 1, (*b).into(), access)?;
        }
        Ok(())
    }

    /// Checks that `[off, off + len)` of segment `s` can be accessed, and gives its linear address. `len` is at most a page.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn probe(&mut self, s: usize, off: u64, len: u64, write: bool) -> Outcome<u64> {
        if self.cpu.model.kind.wraps() {
            return Ok(self.cpu.seg[s].base.wrapping_add(off));
        }
        let lin = self.linear(s, off, len.max(1), write)?;
        let access = Access::data(self.cpu.cpl, write);
        self.translate(lin, access)?;
        if !stays_in_page(lin, len.max(1)) {
            let last = self.wrap_linear(lin.wrapping_add(len - 1));
            self.translate(last & !(PAGE_SIZE - 1), access)?;
        }
        Ok(lin)
    }

    /// Reads an integer of a system table (GDT, LDT, IDT, TSS) at a linear address, with supervisor rights.
    ///
    /// # Errors
    /// #PF.
    pub fn read_system<T: Scalar>(&mut self, lin: u64) -> Outcome<T> {
        if self.cpu.cr4 & CR4_SMAP == 0
            && let Some(page) = self.cached_page(lin, T::SIZE, Access::system(false))
        {
            return Ok(page.read(lin));
        }
        Ok(T::from_u64(self.load_linear(lin, T::SIZE, Access::system(false))?))
    }

    /// The host page behind an access that needs no further notice: translated, allowed, in one page, and memory.
    pub(super) fn cached_page(&mut self, lin: u64, size: u64, access: Access) -> Option<HostPage> {
        if !stays_in_page(lin, size) {
            return None;
        }
        self.tlb.set_user(access.user);
        let page = self.tlb.page(lin, access.write);
        self.tlb.set_user(self.cpu.cpl == 3);
        page
    }

    /// Writes an integer of a system table at a linear address, with supervisor rights.
    ///
    /// # Errors
    /// #PF.
    pub fn write_system<T: Scalar>(&mut self, lin: u64, v: T) -> Outcome {
        self.store_linear(lin, T::SIZE, v.to_u64(), Access::system(true))
    }

    /// The bits of RSP that are the stack pointer in this mode.
    #[inline]
    #[must_use]
    pub fn stack_mask(&self) -> u64 {
        if self.cpu.mode.has(Mode::CODE64) {
            u64::MAX
        } else if self.cpu.mode.has(Mode::STACK32) {
            0xFFFF_FFFF
        } else {
            0xFFFF
        }
    }

    /// The stack pointer.
    #[inline]
    #[must_use]
    pub fn stack_pointer(&self) -> u64 {
        self.cpu.regs[reg::RSP] & self.stack_mask()
    }

    /// Replaces the stack pointer; above its width RSP keeps its bits in 16-bit mode, and loses them in 32-bit mode.
    #[inline]
    pub fn set_stack_pointer(&mut self, v: u64) {
        let mask = self.stack_mask();
        let keep = if mask == 0xFFFF { self.cpu.regs[reg::RSP] & !0xFFFF } else { 0 };
        self.cpu.regs[reg::RSP] = keep | (v & mask);
    }

    /// PUSH of a value as wide as `T`.
    ///
    /// # Errors
    /// #SS(0), #PF, #AC; the stack pointer is unchanged then.
    #[inline]
    pub fn push<T: Scalar>(&mut self, v: T) -> Outcome {
        let sp = self.stack_pointer().wrapping_sub(T::SIZE) & self.stack_mask();
        self.write(seg::SS, sp, v)?;
        self.set_stack_pointer(sp);
        Ok(())
    }

    /// POP of a value as wide as `T`.
    ///
    /// # Errors
    /// As [`Self::push`].
    #[inline]
    pub fn pop<T: Scalar>(&mut self) -> Outcome<T> {
        let sp = self.stack_pointer();
        let v = self.read(seg::SS, sp)?;
        self.set_stack_pointer(sp.wrapping_add(T::SIZE));
        Ok(v)
    }
}
