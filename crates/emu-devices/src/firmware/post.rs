//! Power-on: interrupt controllers, timer, data area, vectors, screen; then option ROMs.

use emu_core::cpu::{reg, seg};

use super::guest::{Guest, Served};
use super::rom::{SEGMENT, at};
use super::{Bios, bda, clock, disk, keyboard, parallel, pci_setup, serial, tables, video};

/// Where the stack is until something boots.
const STACK: u16 = 0x7000;
/// The last KiB of base memory.
pub(super) const EBDA: u16 = 0x9FC0;
/// The shutdown byte of CMOS memory: what a reset means [PC/AT TR, "Shutdown"].
const SHUTDOWN: u8 = 0x0F;

/// Interrupt vectors that are not those of [`VECTORS`] are a plain IRET.
const VECTORS: [(u8, u16); 35] = [
    (0x02, at::NMI),
    (0x05, at::INT_05),
    (0x08, at::INT_08),
    (0x09, at::INT_09),
    (0x0A, at::EOI_MASTER),
    (0x0B, at::EOI_MASTER),
    (0x0C, at::EOI_MASTER),
    (0x0D, at::EOI_MASTER),
    (0x0E, at::INT_0E),
    (0x0F, at::EOI_MASTER),
    (0x10, at::INT_10),
    (0x11, at::INT_11),
    (0x12, at::INT_12),
    (0x13, at::INT_13),
    (0x14, at::INT_14),
    (0x15, at::INT_15),
    (0x16, at::INT_16),
    (0x17, at::INT_17),
    (0x18, at::NO_BOOT),
    (0x19, at::INT_19),
    (0x1A, at::INT_1A),
    (0x1D, at::VIDEO_TABLE),
    (0x1E, at::FLOPPY_TABLE),
    (0x1F, at::FONT_8 + 1024),
    (0x40, at::INT_13),
    (0x42, at::INT_10),
    (0x43, at::FONT_16),
    (0x70, at::IRQ8),
    (0x71, at::IRQ9),
    (0x72, at::EOI_SLAVE),
    (0x73, at::EOI_SLAVE),
    (0x74, at::IRQ12),
    (0x75, at::IRQ13),
    (0x76, at::EOI_SLAVE),
    (0x77, at::EOI_SLAVE),
];

impl Bios {
    /// POST, or the way back from protected mode that the shutdown byte names.
    pub(super) fn power_on(&mut self, g: &mut Guest<'_>) -> Served {
        let why = g.cmos(SHUTDOWN);
        g.set_cmos(SHUTDOWN, 0);
        match why {
            0x05 => return resume(g, true),
            0x0A => return resume(g, false),
            _ => {}
        }
        g.set_selector(seg::SS, 0);
        g.sys.cpu.regs[reg::RSP] = STACK.into();
        self.scan = 0xC000;
        interrupt_controllers(g);
        dma_controllers(g);
        g.outb(0x64, 0xDF); // A20 is open until the tables are written
        pci_setup::start(g);
        tables::write(g);
        let warm: u16 = g.bda(bda::WARM_START)?;
        g.poke_bytes(0x400, &[0; 0x100])?;
        g.set_bda(bda::WARM_START, warm)?;
        vectors(g)?;
        data_area(g)?;
        clock::start(g)?;
        keyboard::start(g)?;
        serial::start(g)?;
        parallel::start(g)?;
        self.disks.start(g)?;
        disk::start_floppies(g)?;
        video::start(g)
    }

    /// Calls the next option ROM from C0000h on; it returns here.
    pub(super) fn option_rom(&mut self, g: &mut Guest<'_>) -> Served {
        while self.scan < 0xE000 {
            let base = u64::from(self.scan) << 4;
            let (mark, blocks): (u16, u8) = (g.peek(base)?, g.peek(base + 2)?);
            if mark != 0xAA55 || blocks == 0 || !sum_is_zero(g, base, blocks)? {
                self.scan += 0x80;
                continue;
            }
            let segment = self.scan;
            self.scan = segment.saturating_add((u16::from(blocks) * 0x20).next_multiple_of(0x80));
            let sp = g.sys.stack_pointer().wrapping_sub(4);
            g.sys.set_stack_pointer(sp);
            g.poke(u64::from(sp as u16), u32::from(SEGMENT) << 16 | u32::from(at::OPTION_ROMS))?;
            g.jump(segment, 3);
            break;
        }
        Ok(())
    }

    /// Everything is set up: interrupts may come.
    pub(super) fn ready(&mut self, g: &mut Guest<'_>) -> Served {
        g.sys.cpu.regs[reg::RSP] = STACK.into();
        g.set_bda(bda::WARM_START, 0u16)
    }
}

fn sum_is_zero(g: &mut Guest<'_>, base: u64, blocks: u8) -> Served<bool> {
    let mut sum = 0u8;
    for i in 0..u64::from(blocks) * 64 {
        sum = g.peek::<u64>(base + 8 * i)?.to_le_bytes().iter().fold(sum, |s, b| s.wrapping_add(*b));
    }
    Ok(sum == 0)
}

/// Goes on at the address in 0040:0067.
fn resume(g: &mut Guest<'_>, eoi: bool) -> Served {
    if eoi {
        g.outb(0xA0, 0x20);
        g.outb(0x20, 0x20);
        if g.inb(0x64) & 1 != 0 {
            g.inb(0x60);
        }
    }
    let (ip, cs): (u16, u16) = (g.bda(0x67)?, g.bda(0x69)?);
    g.jump(cs, ip);
    Ok(())
}

/// Clears both, and opens the slave's channel 0, through which the master's requests pass [PC/AT TR, "System Board",
/// DMA controller].
fn dma_controllers(g: &mut Guest<'_>) {
    g.outb(0x0D, 0);
    g.outb(0xDA, 0);
    g.outb(0xD6, 0xC0);
    g.outb(0xD4, 0);
}

/// Vectors 8 and 70h; all masked but the timer, the keyboard, floppy and the cascade.
fn interrupt_controllers(g: &mut Guest<'_>) {
    for (port, words, mask) in [(0x20, [0x11, 0x08, 0x04, 0x01], 0xB8), (0xA0, [0x11, 0x70, 0x02, 0x01], 0x8F)] {
        g.outb(port, words[0]);
        words[1..].iter().for_each(|&w| g.outb(port + 1, w));
        g.outb(port + 1, mask);
    }
}

fn vectors(g: &mut Guest<'_>) -> Served {
    for n in 0..0x78u64 {
        g.poke(4 * n, u32::from(SEGMENT) << 16 | u32::from(at::IRET))?;
    }
    for n in 0x78..0x100u64 {
        g.poke(4 * n, 0u32)?;
    }
    for n in 0x60..0x68u64 {
        g.poke(4 * n, 0u32)?;
    }
    for (n, ip) in VECTORS {
        g.poke(4 * u64::from(n), u32::from(SEGMENT) << 16 | u32::from(ip))?;
    }
    Ok(())
}

/// Memory, equipment; the rest is what each service's `start` does.
fn data_area(g: &mut Guest<'_>) -> Served {
    g.set_bda(bda::EBDA_SEGMENT, EBDA)?;
    g.poke_bytes(u64::from(EBDA) << 4, &[0; 0x400])?;
    g.poke(u64::from(EBDA) << 4, 1u8)?;
    g.set_bda(bda::MEMORY, 639u16)?;
    // CMOS has floppies and coprocessor; the screen is 80 x 25 in colour, as a VGA says.
    let equipment = u16::from(g.cmos(0x14)) & 0xCF | 0x20 | 0x04;
    g.set_bda(bda::EQUIPMENT, equipment)
}
