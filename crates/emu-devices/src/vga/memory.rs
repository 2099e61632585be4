//! The window at A0000h: from CPU addresses to planes, through latches, set/reset, rotator, ALU and bit mask.

use emu_core::Ticks;
use emu_core::bus::{DevCx, MmioDevice, MmioRun};
use emu_core::mem::{PhysMem, Shortcut};

use super::{Vga, WINDOW};

/// Writes of a mode after which the CPU's stores go to memory by themselves: changing that way costs the CPU what it has
/// cached of addresses, so that programs that change banks all the time are better off without.
const WRITES_BEFORE_SHORTCUT: u32 = 32;

/// For each of 16 sets of planes, FFh in the byte of each plane that belongs to it.
const PLANE_BYTES: [u32; 16] = plane_bytes();

const fn plane_bytes() -> [u32; 16] {
    let mut table = [0; 16];
    let mut set = 0;
    while set < 16 {
        let mut plane = 0;
        while plane < 4 {
            if set >> plane & 1 != 0 {
                table[set] |= 0xFF << (8 * plane);
            }
            plane += 1;
        }
        set += 1;
    }
    table
}

/// Number of the 4-byte word that holds plane address `a`. Address bits 0 and 1 stand on top of the 64 Ki words, so that
/// the chained mode's bytes (which the chip spreads over every fourth plane address) lie as the CPU counts them.
#[must_use]
pub const fn cell(a: u32) -> u32 {
    a & !0xFFFF | (a & 0xFFFF) >> 2 | (a & 3) << 14
}

/// How CPU addresses become plane addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Route {
    /// The chip does not answer.
    #[default]
    Closed,
    /// A bank of the linear frame buffer.
    Linear,
    /// Each address reaches the same address of all planes.
    Planar,
    /// Bit 0 selects even or odd planes, and is not part of the plane address; `chained`: bit 16 takes its place.
    OddEven { chained: bool },
    /// Bits 0 and 1 select the plane.
    Chain4,
}

/// What the registers say about the window, worked out when they change.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Path {
    pub(super) route: Route,
    /// First offset of the window from A0000h, and its bytes.
    pub(super) start: u32,
    pub(super) len: u32,
    /// Writes put the CPU's byte into the planes as it is.
    plain: bool,
    /// What a write comes to.
    pub(super) store: Store,
    /// The bytes of the planes that the map mask lets through.
    pub(super) mask: u32,
    /// What the bank adds to plane addresses.
    pub(super) bank: u32,
    /// The window as memory of the pool, if it is that.
    shortcut: Option<Shortcut>,
}

/// What a write comes to, where that can be said by the registers alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Store {
    /// A word of the four planes, through the whole of the chip.
    #[default]
    Planes,
    /// A bank of memory of the pool, from this offset on.
    Bank(u64),
    /// Pixels next to each other, 16 KiB of them together.
    Pixels,
    /// Text: characters and attributes next to each other, as they are.
    Cells,
}

impl Path {
    /// The window's first 64 KiB as the CPU may have them by itself, if they are as simple as memory.
    fn shortcut(&self, vram: u64) -> Option<Shortcut> {
        // Reads of planes load the latches.
        let (pool, piece, stride, reads) = match self.store {
            Store::Bank(pool) => (pool, 0x1_0000, 0x1_0000, true),
            Store::Pixels => (vram, 0x4000, 0x1_4000, false),
            Store::Planes | Store::Cells => return None,
        };
        (self.start == 0).then_some(Shortcut { start: WINDOW.0, len: 0x1_0000, pool, piece, stride, reads })
    }
}

impl Vga {
    /// Works out the window's path from the registers; call after they changed.
    pub(super) fn update_path(&mut self) {
        let r = &self.regs;
        let (start, len) = match r.gdc[6] >> 2 & 3 {
            0 => (0, 0x2_0000),
            1 => (0, 0x1_0000),
            2 => (0x1_0000, 0x8000),
            _ => (0x1_8000, 0x8000),
        };
        let plain = r.gdc[5] & 3 == 0 && r.gdc[3] == 0 && r.gdc[1] == 0 && r.gdc[8] == 0xFF;
        let route = if r.enable == 0 {
            Route::Closed
        } else if r.seq[4] & 8 != 0 {
            Route::Chain4
        } else if r.seq[4] & 4 == 0 && r.gdc[5] & 0x10 != 0 {
            Route::OddEven { chained: r.gdc[6] & 2 != 0 }
        } else {
            Route::Planar
        };
        let mask = r.seq[2] & 15;
        let store = match route {
            Route::Chain4 if plain && mask == 15 => Store::Pixels,
            Route::OddEven { chained: true } if plain && mask == 3 => Store::Cells,
            _ => Store::Planes,
        };
        let (mask, bank) = (PLANE_BYTES[usize::from(mask)], self.vbe.plane_bank());
        self.path = Path { route, start, len, plain, store, mask, bank, shortcut: None };
        if self.vbe.enabled() && !self.vbe.planar() {
            let store = Store::Bank(self.vram + u64::from(self.vbe.bank() & (self.vram_len - 1)));
            let route = Route::Linear;
            self.path = Path { route, start: 0, len: 0x1_0000, plain: true, store, mask, bank, shortcut: None };
        }
        self.path.shortcut = self.path.shortcut(self.vram);
    }

    /// Takes away the CPU's own way to the window, if it does not lead there any more.
    pub(super) fn check_shortcut(&mut self, mem: &mut PhysMem) {
        if self.shortcut.is_some() && self.shortcut != self.path.shortcut {
            self.drop_shortcut(mem);
        }
    }

    /// Takes away the CPU's own way to the window.
    pub(super) fn drop_shortcut(&mut self, mem: &mut PhysMem) {
        mem.set_shortcut(None);
        (self.shortcut, self.writes) = (None, 0);
    }

    /// The guest writes to the window.
    fn count_write(&mut self, mem: &mut PhysMem) {
        self.touched();
        if self.shortcut.is_none() && self.path.shortcut.is_some() {
            self.writes += 1;
            if self.writes >= WRITES_BEFORE_SHORTCUT {
                self.shortcut = self.path.shortcut;
                mem.set_shortcut(self.shortcut);
            }
        }
    }

    /// Plane address and set of planes that a write to window offset `at` reaches, before the map mask.
    fn planes_at(&self, at: u32) -> (u32, u8) {
        let bank = self.vbe.plane_bank();
        match self.path.route {
            Route::Chain4 => (at & 0xFFFC | at >> 14 & 3, 1 << (at & 3)),
            Route::OddEven { chained } => {
                let a = at & 0xFFFE | if chained { at >> 16 & 1 } else { 0 };
                (a, if at & 1 == 0 { 0b0101 } else { 0b1010 })
            }
            _ => ((at & 0xFFFF) + bank, 0b1111),
        }
    }

    /// Pool offset of the word at plane address `a`.
    pub(super) fn word(&self, a: u32) -> u64 {
        self.vram + u64::from((cell(a) << 2) & (self.vram_len - 1))
    }

    fn linear_address(&self, at: u32) -> u64 {
        self.vram + u64::from((at + self.vbe.bank()) & (self.vram_len - 1))
    }

    /// Memory of the pool (first and last byte) behind offset `at` from A0000h.
    pub(super) fn window_memory(&self, at: u32) -> Option<(u64, u64)> {
        let at = at.checked_sub(self.path.start).filter(|&at| at < self.path.len)?;
        match self.path.route {
            Route::Closed => None,
            Route::Linear => Some((self.linear_address(at), self.linear_address(at))),
            _ => {
                let (a, planes) = self.planes_at(at);
                let (first, last) = (planes.trailing_zeros(), 7 - planes.leading_zeros());
                Some((self.word(a) + u64::from(first), self.word(a) + u64::from(last)))
            }
        }
    }

    /// The byte at offset `at` from A0000h, and what the latches then hold.
    pub(super) fn read_byte(&self, mem: &PhysMem, at: u32) -> (u8, u32) {
        let at = at.wrapping_sub(self.path.start);
        if at >= self.path.len {
            return (0xFF, self.latches);
        }
        match self.path.route {
            Route::Closed => (0xFF, self.latches),
            Route::Linear => (mem.pool(self.linear_address(at), 1)[0], self.latches),
            _ => self.read_planes(mem, at),
        }
    }

    fn read_planes(&self, mem: &PhysMem, at: u32) -> (u8, u32) {
        let (a, planes) = self.planes_at(at);
        let bytes: [u8; 4] = mem.pool(self.word(a), 4).try_into().unwrap_or([0xFF; 4]);
        let latches = u32::from_le_bytes(bytes);
        let r = &self.regs;
        if r.gdc[5] & 8 != 0 {
            return (self.compare_colors(latches), latches);
        }
        let select = usize::from(r.gdc[4] & 3);
        let plane = match self.path.route {
            Route::Chain4 => planes.trailing_zeros() as usize,
            // The read side has its own odd/even bit.
            _ if r.gdc[5] & 0x10 != 0 => select & 2 | at as usize & 1,
            _ => select,
        };
        (bytes[plane], latches)
    }

    /// Read mode 1: which of the eight pixels have the colour of the compare register, in the planes that count.
    fn compare_colors(&self, latches: u32) -> u8 {
        let care = PLANE_BYTES[usize::from(self.regs.gdc[7] & 15)];
        let differ = (latches ^ PLANE_BYTES[usize::from(self.regs.gdc[2] & 15)]) & care;
        !differ.to_le_bytes().into_iter().fold(0, |all, plane| all | plane)
    }

    fn write_byte(&mut self, mem: &mut PhysMem, at: u32, value: u8) {
        let at = at.wrapping_sub(self.path.start);
        if at >= self.path.len {
            return;
        }
        match self.path.route {
            Route::Closed => {}
            Route::Linear => mem.pool_write(self.linear_address(at), &[value]),
            _ => self.write_planes(mem, at, value),
        }
    }

    fn write_planes(&self, mem: &mut PhysMem, at: u32, value: u8) {
        let (a, planes) = self.planes_at(at);
        let (word, planes) = (self.word(a), planes & self.regs.seq[2]);
        if self.path.plain && planes.is_power_of_two() {
            mem.pool_write(word + u64::from(planes.trailing_zeros()), &[value]);
            return;
        }
        let old = u32::from_le_bytes(mem.pool(word, 4).try_into().unwrap_or([0; 4]));
        let mask = PLANE_BYTES[usize::from(planes & 15)];
        let new = old & !mask | self.shaped(value) & mask;
        mem.pool_write(word, &new.to_le_bytes());
    }

    /// The four planes' bytes that a CPU byte becomes [VGA-TR 2-24].
    #[inline]
    pub(super) fn shaped(&self, value: u8) -> u32 {
        if self.path.plain { splat(value) } else { self.shaped_by_registers(value) }
    }

    #[inline(never)]
    fn shaped_by_registers(&self, value: u8) -> u32 {
        let g = &self.regs.gdc;
        let set = PLANE_BYTES[usize::from(g[0] & 15)];
        let rotated = splat(value.rotate_right(u32::from(g[3] & 7)));
        let (source, mask) = match g[5] & 3 {
            0 => {
                let enable = PLANE_BYTES[usize::from(g[1] & 15)];
                (rotated & !enable | set & enable, splat(g[8]))
            }
            1 => return self.latches,
            2 => (PLANE_BYTES[usize::from(value & 15)], splat(g[8])),
            _ => (set, rotated & splat(g[8])),
        };
        let mixed = match g[3] >> 3 & 3 {
            0 => source,
            1 => source & self.latches,
            2 => source | self.latches,
            _ => source ^ self.latches,
        };
        mixed & mask | self.latches & !mask
    }
}

/// Accesses that move several bytes at once: text cells, chained pixels, the linear bank. They do what the bytes would do
/// one by one, and leave everything else to them.
impl Vga {
    /// Bytes that lie next to each other in the pool for an access of `size` bytes at `at` of the window: 0 for none.
    fn run_length(&self, at: u32, size: u32, planes: u8) -> u32 {
        let n = match self.path.route {
            Route::Linear => size,
            Route::Chain4 if planes == 0b1111 => 4,
            Route::OddEven { chained: true } if planes == 0b0011 => 2,
            _ => return 0,
        };
        let fits = at.is_multiple_of(n) && size.is_multiple_of(n) && at.saturating_add(size) <= self.path.len;
        if fits { n } else { 0 }
    }

    /// Pool offset of the run at `at`.
    fn run_at(&self, at: u32) -> u64 {
        if self.path.route == Route::Linear { self.linear_address(at) } else { self.word(self.planes_at(at).0) }
    }

    pub(super) fn read_runs(&mut self, mem: &PhysMem, at: u32, size: u32) -> Option<u64> {
        let at = at.wrapping_sub(self.path.start);
        let g = &self.regs.gdc;
        let from_pair = g[5] & 0x10 != 0 && g[4] & 2 == 0;
        let planes = if from_pair { 0b0011 } else { 0b1111 };
        let n = if g[5] & 8 == 0 || self.path.route == Route::Linear { self.run_length(at, size, planes) } else { 0 };
        if n == 0 {
            return None;
        }
        let mut bytes = [0; 8];
        for (i, run) in (0u32..).zip(bytes[..size as usize].chunks_mut(n as usize)) {
            run.copy_from_slice(mem.pool(self.run_at(at + i * n), n as usize));
        }
        if self.path.route != Route::Linear {
            let last = mem.pool(self.word(self.planes_at(at + size - 1).0), 4);
            self.latches = u32::from_le_bytes(last.try_into().unwrap_or([0; 4]));
        }
        Some(u64::from_le_bytes(bytes))
    }
}

/// Writes that do not go byte by byte, each as the mode in force has it. They write pages that nobody looks at, and leave all
/// others to bytes.
impl Vga {
    /// Writes `size` bytes at `offset` from A0000h; returns false if some of it is not done: then all of it is to be done by
    /// bytes, once more where it was.
    #[inline(always)]
    pub(super) fn put(&self, mem: &mut PhysMem, offset: u32, size: u32, value: u64) -> bool {
        let at = offset.wrapping_sub(self.path.start);
        if at >= self.path.len || self.path.len - at < size {
            return false;
        }
        match self.path.store {
            Store::Planes if size == 1 => self.put_planes(mem, at, self.shaped(value as u8)),
            Store::Planes => self.put_wide_planes(mem, at, size, value),
            Store::Cells if size == 2 && at & 1 == 0 => mem.pool_store(self.cell_at(at), value as u16),
            Store::Cells => self.put_cells(mem, at, size, value),
            Store::Bank(_) | Store::Pixels => put(mem, self.flat(at), size, value),
        }
    }

    /// Pool offset of the byte at `at` of a bank or of chained pixels, whose pages are pages of the pool.
    pub(super) fn flat(&self, at: u32) -> u64 {
        match self.path.store {
            Store::Bank(base) => base + u64::from(at),
            _ => self.vram + u64::from(at & 0xFFFF) + u64::from(at >> 14 & 3) * 0x1_0000,
        }
    }

    #[inline(never)]
    fn put_cells(&self, mem: &mut PhysMem, at: u32, size: u32, value: u64) -> bool {
        (0..size).all(|i| mem.pool_store(self.cell_at(at + i), (value >> (8 * i)) as u8))
    }

    #[inline(never)]
    fn put_wide_planes(&self, mem: &mut PhysMem, at: u32, size: u32, value: u64) -> bool {
        (0..size).all(|i| self.put_planes(mem, at + i, self.shaped((value >> (8 * i)) as u8)))
    }

    /// Pool offset of the byte at `at` of a window to text.
    pub(super) fn cell_at(&self, at: u32) -> u64 {
        self.word(at & 0xFFFE | at >> 16 & 1) + u64::from(at & 1)
    }

    /// Writes the planes' bytes `shaped` where the window's offset `at` reaches.
    #[inline]
    fn put_planes(&self, mem: &mut PhysMem, at: u32, shaped: u32) -> bool {
        let (word, mask) = match self.path.route {
            Route::Closed => return true,
            Route::Planar => (self.word((at & 0xFFFF) + self.path.bank), self.path.mask),
            _ => {
                let (a, planes) = self.planes_at(at);
                (self.word(a), PLANE_BYTES[usize::from(planes)] & self.path.mask)
            }
        };
        let old: u32 = mem.pool_load(word);
        mem.pool_store(word, old & !mask | shaped & mask)
    }

    pub(super) fn load(&mut self, mem: &PhysMem, offset: u32, size: u32) -> u64 {
        if size > 1
            && let Some(value) = self.read_runs(mem, offset, size)
        {
            return value;
        }
        let mut value = 0;
        for i in 0..size {
            let (byte, latches) = self.read_byte(mem, offset + i);
            self.latches = latches;
            value |= u64::from(byte) << (8 * i);
        }
        value
    }
}

impl MmioDevice for Vga {
    fn read(&mut self, cx: &mut DevCx<'_>, _region: u16, offset: u64, size: u8) -> u64 {
        self.load(cx.mem, offset as u32, size.into())
    }

    fn write(&mut self, cx: &mut DevCx<'_>, _region: u16, offset: u64, size: u8, value: u64) {
        self.count_write(cx.mem);
        for i in 0..u32::from(size) {
            self.write_byte(cx.mem, offset as u32 + i, (value >> (8 * i)) as u8);
        }
    }

    fn store(&mut self, mem: &mut PhysMem, _region: u16, offset: u64, size: u8, value: u64) -> bool {
        let done = self.put(mem, offset as u32, size.into(), value);
        if done {
            self.count_write(mem);
        }
        done
    }

    fn run(&mut self, mem: &mut PhysMem, _region: u16, size: u8, run: MmioRun<'_>) -> u64 {
        let done = self.do_run(mem, size.into(), run);
        if done > 0 {
            self.count_write(mem);
        }
        done as u64
    }

    /// Video memory lies in the pool, which is not at hand here: see [`Vga::peek_window`].
    fn peek(&self, _now: Ticks, _region: u16, _offset: u64, _size: u8) -> u64 {
        u64::MAX
    }
}

/// `byte` in all four planes.
fn splat(byte: u8) -> u32 {
    u32::from(byte) * 0x0101_0101
}

/// Writes `size` bytes to the pool.
#[inline(never)]
fn put(mem: &mut PhysMem, to: u64, size: u32, value: u64) -> bool {
    match size {
        1 => mem.pool_store(to, value as u8),
        2 => mem.pool_store(to, value as u16),
        4 => mem.pool_store(to, value as u32),
        _ => mem.pool_store(to, value),
    }
}
