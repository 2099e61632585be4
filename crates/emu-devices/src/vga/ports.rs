//! The I/O ports.

use emu_core::bus::{DevCx, PortDevice};
use emu_core::mem::PhysMem;
use emu_core::{ClockRate, Ticks};

use super::Vga;
use super::timing::Timing;

impl Vga {
    /// Whether the chip answers at `port`: CRTC and status follow bit 0 of the miscellaneous register, and 3C3h can
    /// switch off all but itself.
    fn answers(&self, port: u16) -> bool {
        let selected = match port & 0x3F0 {
            0x3B0 => !self.regs.color(),
            0x3D0 => self.regs.color(),
            _ => true,
        };
        port == 0x3C3 || selected && self.regs.enable & 1 != 0
    }

    /// Input status 1 [VGA-TR 2-44]: bit 0 outside of the displayed area, bit 3 in vertical retrace.
    fn status1(&self, now: Ticks, rate: ClockRate) -> u8 {
        let beam = Timing::of(&self.regs).beam(now, rate);
        u8::from(!beam.displaying) | u8::from(beam.retrace) << 3
    }

    /// What a port reads as, without side effects; `None` where reading depends on time.
    fn port_value(&self, port: u16) -> Option<u8> {
        let r = &self.regs;
        Some(match port {
            0x3C0 => r.attr_index,
            0x3C1 => r.read_attr(),
            0x3C2 => 0x10, // switch sense: a colour monitor
            0x3C3 => r.enable,
            0x3C4 => r.seq_index,
            0x3C5 => r.read_seq(),
            0x3C6 => self.dac.mask,
            0x3C7 => self.dac.state(),
            0x3C8 => self.dac.write_index(),
            0x3C9 => self.dac.peek(),
            0x3CA => r.feature,
            0x3CC => r.misc,
            0x3CE => r.gdc_index,
            0x3CF => r.read_gdc(),
            0x3B4 | 0x3D4 => r.crtc_index,
            0x3B5 | 0x3D5 => self.read_crtc(),
            0x3BA | 0x3DA => return None,
            _ => 0xFF,
        })
    }

    /// CRTC data. Index 22h shows the latch of the plane that is selected for reading, as IBM's chip does untold.
    fn read_crtc(&self) -> u8 {
        match self.regs.crtc_index {
            0x22 => self.latches.to_le_bytes()[usize::from(self.regs.gdc[4] & 3)],
            i => self.regs.crtc.get(usize::from(i)).copied().unwrap_or(0),
        }
    }

    fn read_port(&mut self, cx: &DevCx<'_>, port: u16) -> u8 {
        match port {
            0x3C9 => self.dac.read(),
            0x3BA | 0x3DA => {
                self.regs.attr_data = false;
                self.status1(cx.now, cx.rate)
            }
            _ => self.port_value(port).unwrap_or(0xFF),
        }
    }

    fn write_port(&mut self, mem: &mut PhysMem, port: u16, value: u8) {
        let r = &mut self.regs;
        match port {
            0x3C0 => r.write_attr(value),
            0x3C2 => r.misc = value & 0xEF,
            0x3C3 => r.enable = value & 1,
            0x3C4 => r.seq_index = value & 7,
            0x3C5 => r.write_seq(value),
            0x3C6 => self.dac.mask = value,
            0x3C7 => self.dac.set_read_index(value),
            0x3C8 => self.dac.set_write_index(value),
            0x3C9 => self.dac.write(value),
            0x3CE => r.gdc_index = value & 0x0F,
            0x3CF => r.write_gdc(value),
            0x3B4 | 0x3D4 => r.crtc_index = value & 0x3F,
            0x3B5 | 0x3D5 => r.write_crtc(value),
            0x3BA | 0x3DA => r.feature = value & 8,
            _ => {}
        }
        if matches!(port, 0x3C2 | 0x3C3 | 0x3C5 | 0x3CF) {
            self.update_path();
            self.check_shortcut(mem);
        }
        self.touched();
    }
}

impl PortDevice for Vga {
    fn read(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u16, size: u8) -> u32 {
        let port = region.wrapping_add(offset);
        match region {
            0x1CE => self.vbe.read(offset, size, self.vram_len),
            _ if self.answers(port) => self.read_port(cx, port).into(),
            _ => u32::MAX,
        }
    }

    fn write(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u16, size: u8, value: u32) {
        let port = region.wrapping_add(offset);
        if region == 0x1CE {
            self.write_dispi(cx, offset, size, value as u16);
        } else if self.answers(port) {
            self.write_port(cx.mem, port, value as u8);
        }
    }

    fn steady_until(&self, now: Ticks, rate: ClockRate, region: u16, offset: u16) -> Option<Ticks> {
        // The first read has reset the flip-flop of the attribute controller.
        let status = matches!(region.wrapping_add(offset), 0x3BA | 0x3DA) && region != 0x1CE;
        status.then(|| Timing::of(&self.regs).beam_stays_until(now, rate))
    }

    fn peek(&self, _now: Ticks, region: u16, offset: u16, size: u8) -> u32 {
        let port = region.wrapping_add(offset);
        match region {
            0x1CE => self.vbe.read(offset, size, self.vram_len),
            _ if self.answers(port) => self.port_value(port).map_or(u32::MAX, u32::from),
            _ => u32::MAX,
        }
    }
}
