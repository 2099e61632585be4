//! INT 19h: the boot order, and how each kind of medium starts.

use emu_core::cpu::{reg, seg};

use super::Bios;
use super::guest::{Guest, Served};

/// Where a boot sector goes.
const SECTOR: u64 = 0x7C00;

impl Bios {
    /// Starts the first thing that boots; returns to the stub if nothing does.
    pub(super) fn boot(&mut self, g: &mut Guest<'_>) -> Served {
        if let Some(direct) = &self.direct {
            direct(g.sys);
            return Ok(());
        }
        for kind in boot_order(g) {
            let drive = match kind {
                1 => 0x00,
                2 => 0x80,
                3 => match self.disks.start_cd(g)? {
                    Some((drive, segment, count)) => {
                        if count == 0 {
                            continue;
                        }
                        return start_at(g, segment, 0, drive);
                    }
                    None => continue,
                },
                _ => continue,
            };
            let Some(sector) = self.disks.boot_sector(g, drive) else { continue };
            if bootable(&sector, drive) {
                g.poke_bytes(SECTOR, &sector)?;
                return start_at(g, 0, SECTOR as u16, drive);
            }
        }
        Ok(())
    }
}

/// A disk needs the signature 55AAh; a floppy only something that can be code.
fn bootable(sector: &[u8], drive: u8) -> bool {
    let signed = sector[510..512] == [0x55, 0xAA];
    signed || drive < 0x80 && sector[..2] != sector[2..4] && sector[0] != 0 && sector[0] != 0xF6
}

/// Four of them at most: 1 = floppy, 2 = disk, 3 = CD.
fn boot_order(g: &mut Guest<'_>) -> [u8; 3] {
    let (low, high) = (g.cmos(0x3D), g.cmos(0x38));
    let order = [low & 0xF, low >> 4, high >> 4];
    if order == [0; 3] { [1, 2, 3] } else { order }
}

/// The state in which every boot sector starts.
fn start_at(g: &mut Guest<'_>, cs: u16, ip: u16, drive: u8) -> Served {
    for s in [seg::DS, seg::ES, seg::SS] {
        g.set_selector(s, 0);
    }
    g.sys.cpu.regs[..8].fill(0);
    g.sys.cpu.regs[reg::RSP] = 0x7C00;
    g.sys.cpu.regs[reg::RAX] = 0xAA55;
    g.sys.cpu.regs[reg::RDX] = drive.into();
    g.jump(cs, ip);
    Ok(())
}
