//! Code that changes the immediate operands of other code: loops that programs adapt to their data before they run them.
//!
//! Such a change leaves the block as it is but for one field of one op, which is changed in its place. Once a block was
//! found changed that way, its operand is a *site*: a later store of just that operand changes bytes and op together, so
//! that the block never becomes suspect. A site holds only as long as no other good block can have been decoded from the
//! same bytes, and never for the block that runs, whose handlers may have read their op's fields ahead. docs/adr/0031.

use super::block::{Block, Health};
use super::op::OpRef;
use super::{Engine, NONE};
use crate::mem::{PAGE_SHIFT, PAGE_SIZE, PhysMem};
use crate::profile::Event;

/// Sites that are kept.
const SITES: usize = 64;

/// Where an immediate operand stands.
#[derive(Clone, Copy)]
struct Site {
    /// Pool offset of its first byte.
    offset: u64,
    /// Its bytes; 0 while there is no site.
    size: u8,
    /// Bytes from the block's start.
    at: u16,
    block: u32,
    op: OpRef,
    /// What [`Sites::epoch`] was when no other good block had these bytes.
    epoch: u32,
}

/// All sites.
pub(super) struct Sites {
    sites: Box<[Site; SITES]>,
    /// Rises whenever a block becomes good, or all are thrown away.
    epoch: u32,
}

fn slot(offset: u64) -> usize {
    (offset ^ offset >> 6) as usize % SITES
}

/// What an op holds for an immediate of `size` bytes whose low bytes are those of `value`.
fn extended(size: u8, value: u64) -> u32 {
    match size {
        1 => value as i8 as u32,
        2 => value as i16 as u32,
        _ => value as u32,
    }
}

/// The immediate in which all bytes lie that differ between a block's bytes and `now`: the number of its instruction, where
/// it begins, and its size.
fn only_change(block: &Block, now: &[u8]) -> Option<(usize, usize, u8)> {
    let differs = |(old, new): (&u8, &u8)| old != new;
    let first = block.bytes.iter().zip(now).position(differs)?;
    let last = block.bytes.iter().zip(now).rposition(differs)?;
    let n = block.insns.partition_point(|i| usize::from(i.offset) <= first) - 1;
    let place = &block.insns[n];
    let at = block.offset_of(n + 1) as usize - usize::from(place.immediate);
    let inside = place.immediate > 0 && at <= first && last < at + usize::from(place.immediate);
    inside.then_some((n, at, place.immediate))
}

impl Sites {
    pub(super) fn new(nowhere: OpRef) -> Sites {
        let none = Site { offset: 0, size: 0, at: 0, block: NONE, op: nowhere, epoch: 0 };
        Sites { sites: Box::new([none; SITES]), epoch: 0 }
    }

    /// No site holds any more.
    pub(super) fn end(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            self.sites.iter_mut().for_each(|site| site.size = 0);
        }
    }
}

impl Engine {
    /// Makes block `i` what memory has now, if it differs from that by no more than an immediate: by that of the
    /// instruction whose number is the answer. Not while a profile is taken, which tells blocks apart by their bytes.
    pub(super) fn change_immediate(&mut self, mem: &PhysMem, i: u32) -> Option<usize> {
        if self.profile.is_some() {
            return None;
        }
        let block = &mut self.blocks[i as usize];
        let now = mem.pool(block.key, block.bytes.len());
        let (n, at, size) = only_change(block, now)?;
        let slot = block.insns[n].slot;
        block.bytes.copy_from_slice(now);
        let value = now[at..][..usize::from(size)].iter().rev().fold(0, |v, &byte| v << 8 | u64::from(byte));
        block.entry.step(slot.into()).set_imm(extended(size, value));
        Some(n)
    }

    /// The immediate of instruction `n` of block `i`, which is good again after that changed, is a site from here on.
    pub(super) fn enter_site(&mut self, i: u32, n: usize) {
        let block = &self.blocks[i as usize];
        let (size, op) = (block.insns[n].immediate, block.entry.step(block.insns[n].slot.into()));
        let at = block.offset_of(n + 1) - u64::from(size);
        let offset = block.key + at;
        if !block.polls.any() && self.profile.is_none() && !self.others_decoded(i, offset, size.into()) {
            let epoch = self.sites.epoch;
            self.sites.sites[slot(offset)] = Site { offset, size, at: at as u16, block: i, op, epoch };
        }
    }

    /// Whether a good block other than `i` was decoded from some of `[offset, offset + len)`.
    fn others_decoded(&self, i: u32, offset: u64, len: u64) -> bool {
        let crosses = |&n: &u32| self.blocks[n as usize].second_page == Some(offset & !(PAGE_SIZE - 1));
        if self.crossings.iter().any(crosses) {
            return true;
        }
        let mut n = self.pages.get((offset >> PAGE_SHIFT) as usize).copied().unwrap_or(NONE);
        while n != NONE {
            let b = &self.blocks[n as usize];
            let overlaps = b.key < offset + len && b.key + b.bytes.len() as u64 > offset;
            if n != i && b.health == Health::Good && overlaps {
                return true;
            }
            n = b.next_in_page;
        }
        false
    }

    /// The guest has stored `value`, of `size` bytes, at pool offset `offset`, where code was decoded, while block
    /// `running` ran. Whether that was a site, so that no block differs from memory.
    #[inline]
    pub(crate) fn store_immediate(&mut self, running: u32, offset: u64, size: u64, value: u64) -> bool {
        let site = &self.sites.sites[slot(offset)];
        let holds = site.offset == offset && u64::from(site.size) == size && site.epoch == self.sites.epoch;
        if !holds || site.block == running {
            return false;
        }
        let block = &mut self.blocks[site.block as usize];
        if block.health != Health::Good {
            return false;
        }
        let bytes = block.bytes.get_mut(usize::from(site.at)..).unwrap_or_default();
        match (size, bytes.len()) {
            (4, 4..) => bytes[..4].copy_from_slice(&(value as u32).to_le_bytes()),
            (2, 2..) => bytes[..2].copy_from_slice(&(value as u16).to_le_bytes()),
            (1, 1..) => bytes[0] = value as u8,
            _ => return false,
        }
        site.op.set_imm(extended(site.size, value));
        self.note(Event::CodeWritten);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::model::Kind;
    use crate::cpu::{Model, Segment, seg};
    use crate::mem::Target;
    use crate::{Bus, ClockRate, System, Ticks};

    /// A machine whose code at 1000h stores AX over the operand of `mov bx` in the function at 1020h, and calls it.
    fn changing() -> System {
        let mut mem = PhysMem::new(0x1_0000, 0).unwrap();
        mem.map(0, 0x1_0000, Target::Pool(0));
        // again: inc ax; mov [1021h], ax; call 1020h; jmp again
        mem.write(0x1000, &[0x40, 0xA3, 0x21, 0x10, 0xE8, 0x19, 0x00, 0xEB, 0xF7]);
        // mov bx, 0; ret
        mem.write(0x1020, &[0xBB, 0x00, 0x00, 0xC3]);
        let mut sys = System::new(Model::new(Kind::P6), mem, Bus::new(ClockRate::DEFAULT, 1));
        sys.reset();
        for s in [seg::CS, seg::DS, seg::SS] {
            sys.cpu.set_segment(s, Segment::real(0));
        }
        (sys.cpu.rip, sys.cpu.regs[4]) = (0x1000, 0xF000);
        sys
    }

    #[test]
    fn an_operand_that_changes_again_and_again_costs_no_block() {
        let mut sys = changing();
        sys.run(Ticks(600));
        let (blocks, cold) = (sys.engine.blocks.len(), sys.engine.cold.len());
        assert!(sys.engine.sites.sites.iter().any(|s| s.size == 2 && s.offset == 0x1021));
        sys.run(Ticks(60_000));
        assert_eq!((sys.engine.blocks.len(), sys.engine.cold.len()), (blocks, cold));
        assert_eq!((sys.cpu.regs[0], sys.cpu.regs[3]), (10_000, 10_000));
    }

    #[test]
    fn a_site_ends_where_another_block_has_its_bytes() {
        let mut sys = changing();
        sys.run(Ticks(600));
        // The deadline may have made blocks of its own.
        let Sites { sites, epoch } = &mut sys.engine.sites;
        sites.iter_mut().for_each(|s| s.epoch = *epoch);
        let now = sys.mem.load::<u16>(0x1021).into();
        assert!(sys.engine.store_immediate(NONE, 0x1021, 2, now));
        // The operand, as code: inc ax; ret.
        sys.mem.write(0x1021, &[0x40, 0xC3]);
        sys.cpu.rip = 0x1021;
        sys.run(Ticks(602));
        assert!(!sys.engine.store_immediate(NONE, 0x1021, 2, 0xC340));
    }
}
