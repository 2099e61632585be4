//! The window at A0000h: from CPU addresses to planes, through latches, set/reset, rotator, ALU and bit mask.

use emu_core::Ticks;
use emu_core::bus::{DevCx, MmioDevice};
use emu_core::mem::PhysMem;

use super::Vga;

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
enum Route {
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
    route: Route,
    /// First offset of the window from A0000h, and its bytes.
    start: u32,
    len: u32,
    /// Writes put the CPU's byte into the planes as it is.
    plain: bool,
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
        self.path = Path { route, start, len, plain };
        if self.vbe.enabled() && !self.vbe.planar() {
            self.path = Path { route: Route::Linear, start: 0, len: 0x1_0000, plain: true };
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
    fn word(&self, a: u32) -> u64 {
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
    fn shaped(&self, value: u8) -> u32 {
        let g = &self.regs.gdc;
        let splat = |byte: u8| u32::from(byte) * 0x0101_0101;
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

    fn write_runs(&self, mem: &mut PhysMem, at: u32, size: u32, value: u64) -> bool {
        let at = at.wrapping_sub(self.path.start);
        let n = if self.path.plain { self.run_length(at, size, self.regs.seq[2]) } else { 0 };
        if n == 0 {
            return false;
        }
        let bytes = value.to_le_bytes();
        for (i, run) in (0u32..).zip(bytes[..size as usize].chunks(n as usize)) {
            mem.pool_write(self.run_at(at + i * n), run);
        }
        true
    }

    fn read_runs(&mut self, mem: &PhysMem, at: u32, size: u32) -> Option<u64> {
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

impl MmioDevice for Vga {
    fn read(&mut self, cx: &mut DevCx<'_>, _region: u16, offset: u64, size: u8) -> u64 {
        if size > 1
            && let Some(value) = self.read_runs(cx.mem, offset as u32, size.into())
        {
            return value;
        }
        let mut value = 0;
        for i in 0..u32::from(size) {
            let (byte, latches) = self.read_byte(cx.mem, offset as u32 + i);
            self.latches = latches;
            value |= u64::from(byte) << (8 * i);
        }
        value
    }

    fn write(&mut self, cx: &mut DevCx<'_>, _region: u16, offset: u64, size: u8, value: u64) {
        self.touched();
        if size > 1 && self.write_runs(cx.mem, offset as u32, size.into(), value) {
            return;
        }
        for i in 0..u32::from(size) {
            self.write_byte(cx.mem, offset as u32 + i, (value >> (8 * i)) as u8);
        }
    }

    /// Video memory lies in the pool, which is not at hand here: see [`Vga::peek_window`].
    fn peek(&self, _now: Ticks, _region: u16, _offset: u64, _size: u8) -> u64 {
        u64::MAX
    }
}
