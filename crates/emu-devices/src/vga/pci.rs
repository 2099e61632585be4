//! The PCI function of the VGA: 1234:1111, class 030000h, the frame buffer at BAR 0, an optional ROM [PCI 2.1 6.1-6.2].

use emu_core::bus::{DevCx, PciAddress, PciFunction};
use emu_core::mem::{PhysMem, Target};
use emu_core::state::{State, StateError, StateReader, StateWriter};

use super::move_pool;
use crate::pci_config::ConfigSpace;

const COMMAND: u8 = 0x04;
const BAR0: u8 = 0x10;
const ROM_BAR: u8 = 0x30;
const INTERRUPT_LINE: u8 = 0x3C;

/// Command register: memory decoding.
const MEMORY_ENABLE: u8 = 2;
/// BAR bit 3.
const PREFETCHABLE: u32 = 8;
/// Neither memory nor the chips at the top of the address space are in the way below this.
const MMIO_END: u64 = 0xFEC0_0000;

/// A range of the pool that a BAR moves about.
#[derive(Debug, Clone)]
struct Range {
    pool: u64,
    len: u32,
    /// Where it is mapped now.
    mapped: Option<u64>,
}

impl Range {
    /// Maps it at `to`, unless something else answers there: while a guest sizes a BAR its address lies anywhere.
    fn move_to(&mut self, cx: &mut DevCx<'_>, to: Option<u64>) {
        if to == self.mapped {
            return;
        }
        let len = u64::from(self.len);
        move_pool(cx, self.mapped.take(), None, len, self.pool);
        let free = |base: u64| {
            let open = |at| cx.mem.target(at) == (Target::Open, Target::Open);
            base + len <= MMIO_END && (base..base + len).step_by(0x1_0000).all(open)
        };
        if let Some(base) = to.filter(|&base| free(base)) {
            move_pool(cx, None, Some(base), len, self.pool);
            self.mapped = Some(base);
        }
    }
}

/// The PCI function.
#[derive(Debug, Clone)]
pub(super) struct Function {
    // Configuration
    address: PciAddress,
    // State
    space: ConfigSpace,
    // Volatile
    vram: Range,
    rom: Option<Range>,
}

impl Function {
    /// The function for `len` bytes of video memory at pool offset `vram`; `None` if the pool has no room for `rom`.
    pub(super) fn new(mem: &mut PhysMem, address: PciAddress, vram: u64, len: u32, rom: &[u8]) -> Option<Function> {
        let rom = if rom.is_empty() {
            None
        } else {
            let len = u32::try_from(rom.len()).ok()?.max(0x1000).checked_next_power_of_two()?;
            let pool = mem.allocate(len.into())?;
            mem.pool_write(pool, rom);
            Some(Range { pool, len, mapped: None })
        };
        let space = ConfigSpace::new(0x1234, 0x1111, 0x03_0000, 0)
            .with(COMMAND, 2, 0, 7)
            .with(BAR0, 4, PREFETCHABLE, !(len - 1))
            .with(ROM_BAR, 4, 0, rom.as_ref().map_or(0, |rom| !(rom.len - 1) | 1))
            .with(INTERRUPT_LINE, 1, 0, 0xFF);
        let vram = Range { pool: vram, len, mapped: None };
        Some(Function { address, space, vram, rom })
    }

    pub(super) fn reset(&mut self, cx: &mut DevCx<'_>) {
        self.space.reset();
        self.remap(cx);
    }

    /// Maps memory as the registers say.
    pub(super) fn remap(&mut self, cx: &mut DevCx<'_>) {
        let decodes = self.space.byte(COMMAND) & MEMORY_ENABLE != 0;
        let (bar, rom_bar) = (self.space.read(BAR0, 4) & !15, self.space.read(ROM_BAR, 4));
        self.vram.move_to(cx, (decodes && bar != 0).then_some(bar.into()));
        if let Some(rom) = &mut self.rom {
            let base = rom_bar & !1;
            rom.move_to(cx, (decodes && rom_bar & 1 != 0 && base != 0).then_some(base.into()));
            if let Some(base) = rom.mapped {
                cx.mem.map_split(base, rom.len.into(), None, Some(Target::Open));
            }
        }
    }
}

impl PciFunction for Function {
    fn address(&self) -> PciAddress {
        self.address
    }

    fn config_read(&mut self, _cx: &mut DevCx<'_>, register: u8, size: u8) -> u32 {
        self.space.read(register, size)
    }

    fn config_write(&mut self, cx: &mut DevCx<'_>, register: u8, size: u8, value: u32) {
        self.space.write(register, size, value);
        let moves = [(COMMAND, COMMAND), (BAR0, BAR0 + 3), (ROM_BAR, ROM_BAR + 3)];
        if moves.iter().any(|&(first, last)| ConfigSpace::touches(register, size, first, last)) {
            self.remap(cx);
        }
    }
}

impl State for Function {
    const TAG: [u8; 4] = *b"VPCI";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { address: _, space, vram: _, rom: _ } = self;
        w.part(1, space);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        r.part(1, &mut self.space)
    }
}
