//! Loops that draw: stores to video memory in the modes that differ in what a store comes to.

use emu_core::System;
use emu_devices::vga::modes::{MODE_3, MODE_12, MODE_13, Mode};
use emu_devices::vga::{Vga, VgaConfig};
use iced_x86::IcedError;
use iced_x86::code_asm::*;

use crate::Width;
use crate::loops::{Loop, Program};

/// Puts a VGA into the machine, in a mode as a BIOS leaves it.
///
/// # Panics
/// If there is no room for it.
pub fn add_vga(sys: &mut System, mode: &Mode) {
    assert!(Vga::install(&mut sys.bus, &mut sys.mem, &VgaConfig::default()).is_some(), "no room for a VGA");
    if let Some(vga) = sys.bus.find_mut::<Vga>() {
        vga.set_mode(&mut sys.mem, mode);
    }
}

/// Four stores by MOV.
fn stores(a: &mut CodeAssembler, at: i32) -> Result<(), IcedError> {
    a.mov(edi, at)?;
    for i in 0..4 {
        a.mov(word_ptr(edi + 2 * i), cx)?;
    }
    Ok(())
}

fn fill(a: &mut CodeAssembler, at: i32) -> Result<(), IcedError> {
    a.mov(edi, at)?;
    a.mov(ecx, 1000)?;
    a.rep().stosw()
}

fn copy(a: &mut CodeAssembler, from: i32, to: i32) -> Result<(), IcedError> {
    a.mov(esi, from)?;
    a.mov(edi, to)?;
    a.mov(ecx, 1000)?;
    a.rep().movsb()
}

const TEXT: i32 = 0xB_8000;
const PIXELS: i32 = 0xA_0000;
const RAM: i32 = 0x40_0000;

const fn drawn(name: &'static str, mode: &'static Mode, body: Program) -> Loop {
    Loop { name, width: Width::Protected, body, mode: Some(mode) }
}

/// All of them.
pub const LOOPS: [Loop; 11] = [
    drawn("text: mov", &MODE_3, |a| stores(a, TEXT)),
    drawn("text: rep stosw", &MODE_3, |a| fill(a, TEXT)),
    drawn("text: rep movsb", &MODE_3, |a| copy(a, RAM, TEXT)),
    drawn("text: scroll", &MODE_3, |a| copy(a, TEXT + 160, TEXT)),
    drawn("pixels: mov", &MODE_13, |a| stores(a, PIXELS)),
    drawn("pixels: rep stosw", &MODE_13, |a| fill(a, PIXELS)),
    drawn("pixels: rep movsb", &MODE_13, |a| copy(a, RAM, PIXELS)),
    drawn("planes: mov", &MODE_12, |a| stores(a, PIXELS)),
    drawn("planes: rep stosw", &MODE_12, |a| fill(a, PIXELS)),
    drawn("planes: rep movsb", &MODE_12, |a| copy(a, RAM, PIXELS)),
    drawn("planes: scroll", &MODE_12, |a| copy(a, PIXELS + 80, PIXELS)),
];
