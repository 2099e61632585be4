//! The demo guest: a floppy that shows the machine it runs on. It needs nothing but a PC with a BIOS: only 8086
//! instructions until the CPU was probed, and a colour text screen (or a monochrome one).
//!
//! DS is the data segment, ES the text screen's, except where a routine says otherwise. Routines that print take
//! their place from DI and leave it behind what they printed.

mod colours;
mod cpu;
mod disks;
mod keyboard;
mod keys;
mod layout;
mod memory;
mod pci;
mod picture;
mod ports;
mod power;
mod print;
mod timers;

use iced_x86::code_asm::*;

use crate::asm::{Asm, Emit, IcedError, Program};
use crate::floppy::{data_segment, image};
use print::Print;

/// The demo as a bootable 1.44 MB floppy.
///
/// # Panics
/// If the demo can't be assembled: it has no input, so its own tests find that.
#[must_use]
#[expect(clippy::expect_used, reason = "a program without input, assembled by this crate's tests")]
pub fn demo_image() -> Vec<u8> {
    program().and_then(|p| image(&p)).expect("the demo assembles")
}

/// Assembles the demo. Twice: only then is it known where its data segment will be.
fn program() -> Result<Program, IcedError> {
    let draft = assemble(0)?;
    assemble(data_segment(draft.code.len()))
}

/// What the parts of the demo share: addresses in the data segment, and routines.
struct Shared {
    print: Print,
    /// Word: 0 for an 8086, 1 80186, 2 80286, 3 80386, 4 80486, 5 one with CPUID.
    class: u32,
    /// Word: 0 unless CPUID shows a time stamp counter.
    has_tsc: u32,
}

fn assemble(data: u16) -> Result<Program, IcedError> {
    let mut a = Asm::new()?;
    let mut start = a.create_label();
    a.jmp(start)?;
    let shared = Shared { print: Print::emit(&mut a)?, class: a.space(2), has_tsc: a.space(2) };
    let mut machine = Machine::emit(&mut a, &shared)?;
    let clock = timers::clock(&mut a, &shared)?;
    let pages = Pages {
        colours: colours::emit(&mut a)?,
        picture: picture::emit(&mut a, data)?,
        keyboard: keyboard::emit(&mut a, &shared, data)?,
        power: power::emit(&mut a)?,
    };
    a.here(&mut start)?;
    a.sti()?;
    a.cld()?;
    main_loop(&mut a, &mut machine, clock, &pages)?;
    a.finish()
}

/// Routines that show a page; each leaves a text screen.
struct Pages {
    colours: CodeLabel,
    picture: CodeLabel,
    keyboard: CodeLabel,
    power: CodeLabel,
}

/// The page that lists the machine.
struct Machine {
    show: CodeLabel,
}

impl Machine {
    fn emit(a: &mut Asm, shared: &Shared) -> Result<Machine, IcedError> {
        let template = a.bytes(&layout::machine().image());
        let parts = [
            cpu::emit(a, shared)?,
            memory::emit(a, shared)?,
            disks::emit(a, shared)?,
            ports::emit(a, shared)?,
            pci::emit(a, shared)?,
            timers::emit(a, shared)?,
        ];
        let show = a.mark()?;
        layout::set_text_mode(a)?;
        layout::copy_screen(a, template)?;
        for part in parts {
            a.call(part)?;
        }
        a.ret()?;
        Ok(Machine { show })
    }
}

/// Shows the clock, sleeps until the next interrupt, and obeys keys, for ever.
fn main_loop(a: &mut Asm, machine: &mut Machine, clock: CodeLabel, pages: &Pages) -> Emit {
    a.call(machine.show)?;
    announce(a)?;
    let again = a.mark()?;
    a.call(clock)?;
    let mut pressed = a.create_label();
    a.mov(ah, 1)?;
    a.int(0x16)?;
    a.jnz(pressed)?;
    a.hlt()?;
    a.jmp(again)?;
    a.here(&mut pressed)?;
    a.xor(ax, ax)?;
    a.int(0x16)?;
    let choices = [
        (keys::F1, machine.show, None),
        (keys::F2, pages.colours, None),
        (keys::F3, pages.picture, Some(machine.show)),
        (keys::F4, pages.keyboard, Some(machine.show)),
        (keys::ESC, pages.power, None),
    ];
    for (scan, page, then) in choices {
        let mut other = a.create_label();
        a.cmp(ah, scan)?;
        a.jne(other)?;
        a.call(page)?;
        if let Some(then) = then {
            a.call(then)?;
        }
        a.jmp(again)?;
        a.here(&mut other)?;
    }
    a.jmp(again)
}

/// Says on the debug console, if there is one, that the demo is up: a sign for tests.
fn announce(a: &mut Asm) -> Emit {
    let text = a.bytes(&[super::READY.as_bytes(), b"\n"].concat());
    let mut none = a.create_label();
    a.in_(al, 0xE9)?;
    a.cmp(al, 0xE9u32)?;
    a.jne(none)?;
    a.mov(si, text)?;
    a.mov(cx, super::READY.len() as u32 + 1)?;
    let next = a.mark()?;
    a.lodsb()?;
    a.out(0xE9, al)?;
    a.loop_(next)?;
    a.here(&mut none)
}

#[cfg(test)]
mod tests {
    use iced_x86::{CpuidFeature, Decoder, DecoderOptions};

    use super::*;

    /// What an 8086 or an 8087 has.
    fn old(feature: CpuidFeature) -> bool {
        matches!(feature, CpuidFeature::INTEL8086 | CpuidFeature::INTEL8086_ONLY | CpuidFeature::FPU)
    }

    #[test]
    fn only_probed_cpus_meet_newer_instructions() {
        let program = program().unwrap();
        let mut decoder = Decoder::with_ip(16, &program.code, 0, DecoderOptions::NONE);
        let (mut newer, mut bad) = (0, Vec::new());
        for instruction in &mut decoder {
            let at = u32::from(instruction.ip16());
            if instruction.cpuid_features().iter().all(|&f| old(f)) {
                continue;
            }
            newer += 1;
            if !program.newer.iter().any(|r| r.contains(&at)) {
                bad.push(format!("{at:04X}: {instruction:?}"));
            }
        }
        assert!(newer > 10, "the probe of newer CPUs is gone");
        assert!(bad.is_empty(), "an 8086 would meet\n{}", bad.join("\n"));
    }

    #[test]
    fn code_and_data_fit_their_segments() {
        let program = program().unwrap();
        assert!(program.code.len() < 0x8000, "{:X}", program.code.len());
        assert!(program.data.len() < 0x8000, "{:X}", program.data.len());
    }

    #[test]
    fn the_image_is_a_bootable_floppy_and_always_the_same() {
        let image = demo_image();
        assert_eq!(image.len(), 1_474_560);
        assert_eq!(image[510..512], [0x55, 0xAA]);
        let program = program().unwrap();
        assert_eq!(image[512..512 + program.code.len()], program.code);
        assert!(image == demo_image());
    }
}
