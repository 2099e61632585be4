//! emu's own BIOS: a ROM of stubs, and the bodies of its services in Rust.
//!
//! Sources: IBM PC/AT and PS/2 technical references (data area, entry points, services); the BIOS interrupt lists in
//! public manuals for later additions; each file names its own. State that a guest can see lies in guest memory, as with
//! any BIOS. A service never waits: one that must, returns to a stub that passes time and calls it again.

mod apm;
mod bda;
mod boot;
mod clock;
mod disk;
mod guest;
mod keyboard;
mod memory_map;
mod mouse;
mod parallel;
mod pci;
mod pci_setup;
mod post;
pub mod rom;
mod serial;
mod services;
mod tables;
mod video;

use emu_core::cpu::Fault;
use emu_core::{Firmware, State, StateError, StateReader, StateWriter, System};

use guest::{Guest, Served};
pub use pci::pirq_of;
use rom::service;

/// What happens instead of a boot sector: memory is filled, and the CPU stands at a kernel's entry.
pub type DirectBoot = Box<dyn Fn(&mut System) + Send>;

/// The firmware.
#[derive(Default)]
pub struct Bios {
    // Configuration
    direct: Option<DirectBoot>,
    // State
    /// Next address to look at for an option ROM, in 512-byte blocks.
    scan: u16,
    disks: disk::Disks,
    polls: keyboard::PollWatch,
}

impl core::fmt::Debug for Bios {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Bios").field("direct", &self.direct.is_some()).field("scan", &self.scan).finish_non_exhaustive()
    }
}

impl Bios {
    /// Firmware that boots from a drive, or runs `direct` in place of that.
    #[must_use]
    pub fn new(direct: Option<DirectBoot>) -> Bios {
        Bios { direct, ..Bios::default() }
    }

    /// Gives `system` this firmware. The board maps [`rom::image`].
    pub fn install(self, system: &mut System) {
        let end = rom::BASE + rom::SIZE as u64;
        system.set_firmware(Box::new(self), rom::BASE..end);
    }

    fn serve(&mut self, g: &mut Guest<'_>, number: u8) -> Served {
        match number {
            service::POST => self.power_on(g),
            service::OPTION_ROM => self.option_rom(g),
            service::READY => self.ready(g),
            service::WAITING => services::go_on_waiting(g),
            service::PAUSED => keyboard::paused(g),
            0x05 => video::print_screen(g),
            0x08 => clock::tick(g),
            0x09 => keyboard::scan_code(g),
            0x0E => disk::floppy_interrupt(g),
            0x10 => video::service(g),
            0x11 => g.bda(bda::EQUIPMENT).map(|v| g.set_ax(v)),
            0x12 => g.bda(bda::MEMORY).map(|v| g.set_ax(v)),
            0x13 => self.disks.service(g),
            0x14 => serial::service(g),
            0x15 => services::service(g),
            0x16 => {
                if self.polls.may_answer(g)? {
                    keyboard::service(g)
                } else {
                    Ok(())
                }
            }
            0x17 => parallel::service(g),
            0x19 => self.boot(g),
            0x1A => clock::service(g),
            0x70 => clock::rtc_interrupt(g),
            0x74 => mouse::interrupt(g),
            _ => Err(Fault::UD),
        }
    }
}

impl Firmware for Bios {
    fn call(&mut self, sys: &mut System, number: u8) -> Result<(), Fault> {
        self.serve(&mut Guest { sys }, number)
    }
}

impl State for Bios {
    const TAG: [u8; 4] = *b"BIOS";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { direct: _, scan, disks, polls } = self;
        w.field(1, scan);
        w.part(2, disks);
        w.field(3, &polls.fields());
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        self.scan = r.field(1)?;
        r.part(2, &mut self.disks)?;
        self.polls = keyboard::PollWatch::from_fields(r.field(3)?);
        Ok(())
    }
}
