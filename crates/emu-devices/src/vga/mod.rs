//! IBM VGA with the Bochs VBE extension ("dispi"), on the ISA bus or as a PCI function.
//!
//! - Chip: IBM PS/2 Video Graphics Array [VGA-TR: IBM Video Subsystem technical reference, 1992], 256 KiB in four planes;
//!   beyond it a linear frame buffer of up to 16 MiB that the dispi registers (id B0C5h) put to use.
//! - Ports: 3B4h-3B5h, 3BAh (monochrome), 3C0h-3CFh, 3D4h-3D5h, 3DAh (colour); 1CEh-1D1h (dispi).
//! - Memory: A0000h-BFFFFh, and the frame buffer at PCI BAR 0. PCI id 1234:1111, class 030000h, optional ROM BAR.
//! - Left out: the vertical retrace interrupt (no PC board wires it), the light pen, the diagnostic bits of input
//!   status 1, the odd/even page bit of the miscellaneous register, and the effects of sync skews. Two bits
//!   are kept but not obeyed, as by the adapters that bear this PCI id, for GRUB's firmware: that of the miscellaneous
//!   register which lets the CPU reach the memory, and the sequencer's odd/even bit where the graphics controller's is off.
//!
//! The planes lie interleaved in the pool: the four bytes of plane address `a` form one little-endian word (plane 0
//! lowest) at [`cell`]`(a)`.

mod dac;
mod memory;
pub mod modes;
mod pci;
mod ports;
mod regs;
pub mod render;
mod runs;
mod setup;
mod timing;
mod vbe;

#[cfg(test)]
mod tests;

use emu_core::bus::{DevCx, Device, DeviceId, MmioDevice, PciAddress, PciFunction, PortDevice};
use emu_core::mem::{PhysMem, Shortcut, Target};
use emu_core::state::{State, StateError, StateReader, StateWriter};
use emu_core::{Bus, ClockRate, Ticks};

pub use dac::Dac;
pub use memory::cell;
pub use regs::Regs;
pub use render::{Frame, TextScreen, cp437};
use vbe::Vbe;

/// The memory region of the window at A0000h-BFFFFh.
pub const WINDOW_REGION: u16 = 0;
/// The window: first address and bytes.
pub const WINDOW: (u64, u64) = (0xA_0000, 0x2_0000);
/// Port ranges: first port, how many, and widest access. A range's region number is its first port.
pub const PORTS: [(u16, u16, u8); 6] =
    [(0x3B4, 2, 1), (0x3BA, 1, 1), (0x3C0, 16, 1), (0x3D4, 2, 1), (0x3DA, 1, 1), (0x1CE, 4, 2)];
/// Bytes of memory of a plain VGA.
pub const PLANAR_BYTES: u32 = 0x4_0000;

/// What a VGA is made of.
#[derive(Clone, Debug)]
pub struct VgaConfig {
    /// Bytes of video memory: a power of two from 256 KiB to 16 MiB. More than 256 KiB brings the dispi registers.
    pub vram: u32,
    /// Where the PCI function sits; `None` for an ISA card.
    pub pci: Option<PciAddress>,
    /// An option ROM for the PCI ROM BAR (an ISA card's ROM is mapped by the board).
    pub rom: Vec<u8>,
}

impl Default for VgaConfig {
    /// A plain ISA VGA.
    fn default() -> Self {
        VgaConfig { vram: PLANAR_BYTES, pci: None, rom: Vec::new() }
    }
}

/// The VGA.
#[derive(Debug)]
pub struct Vga {
    // Configuration
    vram_len: u32,
    // Wiring
    /// Pool offset of the video memory, whose contents are saved with the pool.
    vram: u64,
    pci: Option<pci::Function>,
    // State
    regs: Regs,
    dac: Dac,
    vbe: Vbe,
    /// What the last read of the window left in the four planes' latches.
    latches: u32,
    // Volatile
    path: memory::Path,
    generation: u64,
    /// The way to the window that the CPU has by itself, and the writes that came by here before it got one.
    shortcut: Option<Shortcut>,
    writes: u32,
}

impl Vga {
    /// Puts a VGA on the bus: takes its memory from the pool and maps its ports and window. `None` if the pool has no
    /// room, or the configuration is out of range.
    pub fn install(bus: &mut Bus, mem: &mut PhysMem, config: &VgaConfig) -> Option<DeviceId> {
        if !config.vram.is_power_of_two() || !(PLANAR_BYTES..=0x100_0000).contains(&config.vram) {
            return None;
        }
        let vram = mem.allocate(config.vram.into())?;
        let pci = match config.pci {
            Some(address) => Some(pci::Function::new(mem, address, vram, config.vram, &config.rom)?),
            None => None,
        };
        let id = bus.add(Box::new(Vga::new(config.vram, vram, pci)));
        let dispi = config.vram > PLANAR_BYTES;
        for (base, len, width) in PORTS.into_iter().filter(|p| p.0 != 0x1CE || dispi) {
            bus.map_ports(id, base, len, base, width);
        }
        bus.map_mmio(mem, id, WINDOW.0, WINDOW.1, WINDOW_REGION);
        Some(id)
    }

    fn new(vram_len: u32, vram: u64, pci: Option<pci::Function>) -> Vga {
        let mut vga = Vga {
            vram_len,
            vram,
            pci,
            regs: Regs::default(),
            dac: Dac::default(),
            vbe: Vbe::default(),
            latches: 0,
            path: memory::Path::default(),
            generation: 0,
            shortcut: None,
            writes: 0,
        };
        vga.update_path();
        vga
    }

    /// A number that differs whenever a guest access may have changed the picture. `None` in VBE modes, whose frame buffer
    /// the guest writes without passing by here: only frames tell.
    #[must_use]
    pub fn generation(&self, mem: &PhysMem) -> Option<u64> {
        match self.shortcut {
            _ if self.vbe.enabled() => None,
            None => Some(self.generation),
            Some(s) => {
                let pieces = (0..s.len).step_by(s.piece as usize).map(|at| mem.pool(s.place(at), s.piece as usize));
                Some(pieces.flat_map(|piece| piece.chunks_exact(8)).fold(self.generation, |mark, bytes| {
                    let word = bytes.try_into().map_or(0, u64::from_le_bytes);
                    (mark.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15)
                }))
            }
        }
    }

    /// The picture at `now`.
    #[must_use]
    pub fn frame(&self, mem: &PhysMem, now: Ticks, rate: ClockRate) -> Frame {
        self.view(mem, now, rate).frame()
    }

    /// The characters on the screen, if it is in a text mode.
    #[must_use]
    pub fn text_screen(&self, mem: &PhysMem) -> Option<TextScreen> {
        self.view(mem, Ticks(0), ClockRate::DEFAULT).text_screen()
    }

    /// What a debugger sees at `pa` of the window, without touching the latches; FFh outside of it.
    #[must_use]
    pub fn peek_window(&self, mem: &PhysMem, pa: u64) -> u8 {
        let offset = pa.wrapping_sub(WINDOW.0);
        if offset < WINDOW.1 { self.read_byte(mem, offset as u32).0 } else { 0xFF }
    }

    /// Memory of the pool (first and last byte) that shows in cell `col` of row `row`, in a text mode.
    #[must_use]
    pub fn memory_of_cell(&self, mem: &PhysMem, row: usize, col: usize) -> Option<(u64, u64)> {
        self.in_pool(self.view(mem, Ticks(0), ClockRate::DEFAULT).cell_bytes(row, col)?)
    }

    /// Memory of the pool (first and last byte) that holds the pixel at `x`, `y`; of a text mode, its cell.
    #[must_use]
    pub fn memory_of_pixel(&self, mem: &PhysMem, x: usize, y: usize) -> Option<(u64, u64)> {
        self.in_pool(self.view(mem, Ticks(0), ClockRate::DEFAULT).pixel_bytes(x, y)?)
    }

    /// Memory of the pool (first and last byte) that a write to physical address `pa` of the window at A0000h may change;
    /// with planes, all four bytes of the address.
    #[must_use]
    pub fn memory_of_window(&self, pa: u64) -> Option<(u64, u64)> {
        let offset = pa.checked_sub(WINDOW.0).filter(|&o| o < WINDOW.1)?;
        self.window_memory(offset as u32)
    }

    fn in_pool(&self, (first, len): (usize, usize)) -> Option<(u64, u64)> {
        let end = first.checked_add(len).filter(|&end| end <= self.vram_len as usize)?;
        Some((self.vram + first as u64, self.vram + end as u64 - 1))
    }

    fn view<'a>(&'a self, mem: &'a PhysMem, now: Ticks, rate: ClockRate) -> render::View<'a> {
        let vram = mem.pool(self.vram, self.vram_len as usize);
        let frames = timing::Timing::of(&self.regs).frames_at(now, rate);
        render::View { regs: &self.regs, dac: &self.dac, vbe: &self.vbe, vram, frames }
    }

    fn touched(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }
}

impl Device for Vga {
    fn name(&self) -> &str {
        "vga"
    }

    fn reset(&mut self, cx: &mut DevCx<'_>) {
        self.regs = Regs::default();
        self.dac = Dac::default();
        self.vbe = Vbe::default();
        self.latches = 0;
        if let Some(f) = &mut self.pci {
            f.reset(cx);
        }
        self.update_path();
        self.drop_shortcut(cx.mem);
        self.touched();
    }

    #[inline]
    fn ports(&mut self) -> Option<&mut dyn PortDevice> {
        Some(self)
    }

    fn mmio(&mut self) -> Option<&mut dyn MmioDevice> {
        Some(self)
    }

    fn pci(&mut self) -> Option<&mut dyn PciFunction> {
        self.pci.as_mut().map(|f| f as &mut dyn PciFunction)
    }

    fn mmio_write(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u64, size: u8, value: u64) {
        MmioDevice::write(self, cx, region, offset, size, value);
    }

    fn mmio_store(&mut self, mem: &mut PhysMem, region: u16, offset: u64, size: u8, value: u64) -> bool {
        MmioDevice::store(self, mem, region, offset, size, value)
    }

    fn restored(&mut self, cx: &mut DevCx<'_>) {
        self.drop_shortcut(cx.mem);
        if let Some(f) = &mut self.pci {
            f.remap(cx);
        }
    }
}

impl State for Vga {
    const TAG: [u8; 4] = *b"VGA ";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { vram_len, vram: _, pci, regs, dac, vbe, latches, path: _, generation: _, shortcut: _, writes: _ } =
            self;
        w.field(1, vram_len);
        w.part(2, regs);
        w.part(3, dac);
        w.part(4, vbe);
        w.field(5, latches);
        if let Some(f) = pci {
            w.part(6, f);
        }
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        if r.field::<u32>(1)? != self.vram_len {
            return Err(r.invalid("it belongs to a card with another memory size"));
        }
        r.part(2, &mut self.regs)?;
        r.part(3, &mut self.dac)?;
        r.part(4, &mut self.vbe)?;
        if !self.vbe.fits(self.vram_len) {
            return Err(r.invalid("its VBE mode does not fit its memory"));
        }
        self.latches = r.field(5)?;
        if let Some(f) = &mut self.pci {
            r.part(6, f)?;
        }
        self.update_path();
        self.touched();
        Ok(())
    }
}

/// Maps pool memory, or nothing, at a range that a BAR moved.
fn move_pool(cx: &mut DevCx<'_>, from: Option<u64>, to: Option<u64>, len: u64, pool: u64) {
    if let Some(base) = from {
        cx.mem.map(base, len, Target::Open);
    }
    if let Some(base) = to {
        cx.mem.map(base, len, Target::Pool(pool));
    }
}
