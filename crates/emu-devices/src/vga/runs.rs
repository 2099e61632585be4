//! Repeated string instructions to and from the window: a page's elements at once. They do what the elements would do one
//! by one; where that is not known here, they go by [`Vga::put`] and [`Vga::load`].

use emu_core::bus::MmioRun;
use emu_core::mem::PhysMem;

use super::Vga;
use super::memory::{Route, Store};

/// Runs of fewer bytes go element by element: they may not reach all of the pages that a long one does.
const SHORT: usize = 16;
/// The longest run: a page.
const LONGEST: usize = 4096;

impl Vga {
    /// Does a run of accesses of `size` bytes each, none of which leaves its page; returns how many are done.
    pub(super) fn do_run(&mut self, mem: &mut PhysMem, size: usize, run: MmioRun<'_>) -> usize {
        match run {
            MmioRun::Fill { to, count, value } => {
                let mut data = [0; LONGEST];
                let data = &mut data[..(count as usize * size).min(LONGEST)];
                repeat(data, size, value);
                self.write_run(mem, to as u32, size, data)
            }
            MmioRun::Write { to, data } => self.write_run(mem, to as u32, size, data),
            MmioRun::Read { from, data } => {
                self.read_run(mem, from as u32, size, data);
                data.len() / size
            }
            MmioRun::Copy { from, to, count } => self.copy_run(mem, from as u32, to as u32, size, count as usize),
        }
    }

    /// Offset from the window's start, if a run of `len` bytes at `offset` from A0000h lies in it.
    fn inside(&self, offset: u32, len: usize) -> Option<u32> {
        let at = offset.wrapping_sub(self.path.start);
        (at < self.path.len && (self.path.len - at) as usize >= len).then_some(at)
    }

    fn write_run(&self, mem: &mut PhysMem, to: u32, size: usize, data: &[u8]) -> usize {
        if self.write_at_once(mem, to, data) {
            return data.len() / size;
        }
        let elements = (to..).step_by(size).zip(data.chunks_exact(size));
        elements.map(|(at, e)| self.put(mem, at, size as u32, number(e))).take_while(|&done| done).count()
    }

    /// Writes `data`, which lies in one page; returns false, with nothing done, if it is not known how.
    fn write_at_once(&self, mem: &mut PhysMem, to: u32, data: &[u8]) -> bool {
        let Some(at) = self.inside(to, data.len()).filter(|_| data.len() >= SHORT) else { return false };
        match self.path.store {
            Store::Bank(_) | Store::Pixels => {
                let Some([page]) = mem.pool_pages([self.flat(at)]) else { return false };
                page[at as usize % 4096..][..data.len()].copy_from_slice(data);
            }
            Store::Cells => {
                let Some(pages) = mem.pool_pages([0, 2].map(|cell| self.cell_at(at & !3 | cell))) else { return false };
                for (at, &byte) in (at as usize..).zip(data) {
                    pages[at >> 1 & 1][at & 0xFFC | at & 1] = byte;
                }
            }
            Store::Planes if self.path.route == Route::Planar => return self.write_planes_at_once(mem, at, data),
            Store::Planes => return false,
        }
        true
    }

    /// Writes bytes to planes that all have the CPU's address: four pages of the pool take turns.
    fn write_planes_at_once(&self, mem: &mut PhysMem, at: u32, data: &[u8]) -> bool {
        let first = (at & 0xFFFF) + self.path.bank;
        let Some(pages) = mem.pool_pages([0, 1, 2, 3].map(|lane| self.word(first & !3 | lane))) else { return false };
        let mask = self.path.mask;
        let mut last = (data[0], self.shaped(data[0]));
        for (a, &byte) in (first as usize..).zip(data) {
            if byte != last.0 {
                last = (byte, self.shaped(byte));
            }
            let word = &mut pages[a & 3].as_chunks_mut::<4>().0[a >> 2 & 0x3FF];
            *word = (u32::from_le_bytes(*word) & !mask | last.1 & mask).to_le_bytes();
        }
        true
    }

    fn read_run(&mut self, mem: &PhysMem, from: u32, size: usize, data: &mut [u8]) {
        let mut done = 0;
        if size < 8 {
            // What the widest accesses read, of whole cells and pixels.
            for (at, e) in (from..).step_by(8).zip(data.chunks_exact_mut(8)) {
                let Some(value) = self.read_runs(mem, at, 8) else { break };
                e.copy_from_slice(&value.to_le_bytes());
                done += 8;
            }
        }
        for (at, e) in (from + done..).step_by(size).zip(data[done as usize..].chunks_exact_mut(size)) {
            e.copy_from_slice(&self.load(mem, at, size as u32).to_le_bytes()[..size]);
        }
    }

    /// Reads and writes by turns. The latches may be left with what was read of an element that was not written: that is
    /// read once more.
    fn copy_run(&mut self, mem: &mut PhysMem, from: u32, to: u32, size: usize, count: usize) -> usize {
        let len = count * size;
        // A write that does not depend on the latches, nor is read later, may as well come later. The last read puts what
        // lies around it into the latches, and the window may show 64 KiB twice.
        let apart = (len + 4..=0x1_0000 - 4).contains(&(to.wrapping_sub(from) as usize & 0xFFFF));
        if self.path.store != Store::Planes && apart && len <= LONGEST {
            let mut data = [0; LONGEST];
            self.read_run(mem, from, size, &mut data[..len]);
            if self.write_at_once(mem, to, &data[..len]) {
                return count;
            }
        }
        let by_latches = self.path.route == Route::Planar && self.regs.gdc[5] & 3 == 1 && size == 1;
        if by_latches && let Some(done) = self.copy_planes(mem, from, to, count) {
            return done;
        }
        let places = (0..count as u32).map(|i| i * size as u32);
        places
            .map(|i| {
                let value = self.load(mem, from + i, size as u32);
                self.put(mem, to + i, size as u32, value)
            })
            .take_while(|&done| done)
            .count()
    }

    /// Write mode 1 with all planes at one address: moves words of four planes. `None` if it is not known how.
    fn copy_planes(&mut self, mem: &mut PhysMem, from: u32, to: u32, count: usize) -> Option<usize> {
        let (from, to) = (self.inside(from, count)?, self.inside(to, count)?);
        let (bank, mask) = (self.path.bank, self.path.mask);
        for i in 0..count as u32 {
            let latches = mem.pool_load(self.word((from + i & 0xFFFF) + bank));
            self.latches = latches;
            let word = self.word((to + i & 0xFFFF) + bank);
            let old: u32 = mem.pool_load(word);
            if !mem.pool_store(word, old & !mask | latches & mask) {
                return Some(i as usize);
            }
        }
        Some(count)
    }
}

/// Fills `data` with elements of `size` bytes, a part of 8.
fn repeat(data: &mut [u8], size: usize, value: u64) {
    let value = value.to_le_bytes();
    let pattern: [u8; 8] = core::array::from_fn(|i| value[i % size]);
    let (pieces, rest) = data.as_chunks_mut::<8>();
    pieces.fill(pattern);
    rest.copy_from_slice(&pattern[..rest.len()]);
}

/// The integer in up to 8 bytes.
fn number(bytes: &[u8]) -> u64 {
    let mut all = [0; 8];
    all[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(all)
}
