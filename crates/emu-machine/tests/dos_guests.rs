//! Guests of the DOS era, booted from their diskettes: what a person sees at the screen, and what typed keys do.

mod common;

use common::session::Session;
use common::{pc_with_floppy, shared_guest, under_seabios};
use emu_machine::config::{MachineConfig, parse_cpu};
use emu_machine::image::ImageSpec;

/// Waits until the screen has nothing but DOS's prompt.
fn bare_prompt(name: &str, seconds: u64, config: MachineConfig) {
    let mut s = Session::start(name, config);
    s.wait("bare prompt", seconds, |screen| screen.trim() == "A:\\>");
    s.type_keys("ver<enter>");
    s.wait_for("FreeCom version 0.82", 10);
    s.passed();
}

/// A FreeDOS diskette of each format that a PC ever had: its last screen is exactly the prompt.
macro_rules! freedos_floppies {
    ($($test:ident: $file:literal,)*) => {$(
        #[test]
        fn $test() {
            let Some(image) = shared_guest(concat!("freedos/", $file)) else { return };
            bare_prompt($file, 30, pc_with_floppy(&image));
        }
    )*};
}

freedos_floppies! {
    freedos_on_a_160k_floppy: "fd160K.img",
    freedos_on_a_180k_floppy: "fd180K.img",
    freedos_on_a_320k_floppy: "fd320K.img",
    freedos_on_a_360k_floppy: "fd360K.img",
    freedos_on_a_640k_floppy: "fd640K.img",
    freedos_on_a_720k_floppy: "fd720K.img",
    freedos_on_a_1200k_floppy: "fd1200K.img",
    freedos_on_a_1440k_floppy: "fd1.4MB.img",
}

#[test]
fn freedos_under_seabios() {
    let Some(image) = shared_guest("freedos/fd1.4MB.img") else { return };
    let Some(config) = under_seabios(pc_with_floppy(&image)) else { return };
    bare_prompt("fd1.4MB.img under SeaBIOS", 30, config);
}

/// Boots the FreeDOS disk with HIMEM and games to its prompt.
fn freedos_722(name: &str) -> Option<Session> {
    let image = shared_guest("freedos/freedos722.img")?;
    let mut s = Session::start(name, pc_with_floppy(&image));
    let screen = s.wait_for("A:\\>", 60);
    assert!(screen.contains("Welcome to FreeDOS (http://www.freedos.org)!"), "{screen}");
    // HIMEM found memory above 1 MiB and a way to gate A20, and DOS lives there.
    assert!(screen.contains("Interface : XMS 2.00 80386 64MB"), "{screen}");
    assert!(screen.contains("in HMA"), "{screen}");
    assert_eq!(screen.trim_end().lines().last(), Some("A:\\>"), "{screen}");
    Some(s)
}

#[test]
fn freedos_722_answers_commands() {
    let Some(mut s) = freedos_722("freedos722.img: dir, mem") else { return };
    s.type_keys("dir<enter>");
    let screen = s.wait_for("bytes free", 20);
    assert!(screen.contains("VIM      EXE       205,718  10-25-12  7:07p"), "{screen}");
    assert!(screen.contains("18 file(s)        401,541 bytes"), "{screen}");
    assert!(screen.contains("3 dir(s)          46,080 bytes free"), "{screen}");
    // This disk has no MEM; the shell looks for it along the path, and says so.
    s.type_keys("mem<enter>");
    s.wait_for("Bad command or filename - \"MEM\".", 20);
    s.passed();
}

#[test]
fn freedos_722_plays_tetris() {
    let Some(mut s) = freedos_722("freedos722.img: tetris") else { return };
    s.type_keys("tetris<enter>");
    let start = s.wait_for("SmallTetris", 20);
    assert!(start.contains("HISCORE:39996"), "{start}");
    s.run_ms(1500);
    assert_ne!(s.screen(), start, "nothing moves");
    s.passed();
}

#[test]
fn freedos_722_plays_invaders() {
    let Some(mut s) = freedos_722("freedos722.img: invaders") else { return };
    s.type_keys("invaders<enter>");
    let picture = s.wait_for_picture(4, 30);
    s.run_ms(300);
    assert!(s.wait_for_picture(4, 5) != picture, "nothing moves");
    s.passed();
}

/// Code for the 8086 runs on every CPU since.
fn svarog86(cpu: &str) {
    let Some(image) = shared_guest("svardos/sv86-720.img") else { return };
    let mut config = pc_with_floppy(&image);
    config.cpu = parse_cpu(cpu).expect("a model");
    let mut s = Session::start(&format!("sv86-720.img on {cpu}"), config);
    let screen = s.wait_for("A:\\>", 60);
    assert!(screen.contains("Welcome to Svarog86, the micro-distribution of FreeDOS for 8086 computers."), "{screen}");
    s.type_keys("mem<enter>");
    s.wait_for("Total memory", 30);
    s.passed();
}

#[test]
fn svarog86_on_a_modern_cpu() {
    svarog86("x86-64-v1");
}

#[test]
fn svarog86_on_an_8086() {
    svarog86("8086");
}

#[test]
fn svarog86_on_an_80286() {
    svarog86("80286");
}

#[test]
fn mikeos_runs_a_program_of_its_menu() {
    let Some(image) = shared_guest("mikeos/mikeos.flp") else { return };
    let mut s = Session::start("mikeos.flp", pc_with_floppy(&image));
    let screen = s.wait_for("Version 4.5", 20);
    assert!(screen.contains("Thanks for trying out MikeOS!"), "{screen}");
    s.type_keys("<enter>");
    s.wait_for("KERNEL.BIN", 10);
    s.type_keys("<down><down><down><enter>");
    s.wait_for("Deep Sea Fisher", 10);
    s.type_keys("<enter><wait 300ms>");
    let before = s.screen();
    assert!(!before.contains("Press Enter to start"), "{before}");
    s.type_keys("<wait 800ms>");
    assert_ne!(s.screen(), before, "no fish moves");
    s.passed();
}

#[test]
fn bootos_runs_its_programs() {
    let Some(image) = shared_guest("bootos/osall.img") else { return };
    let mut s = Session::start("osall.img", pc_with_floppy(&image));
    let screen = s.wait("prompt", 20, |screen| screen.trim_end().ends_with("bootOS\n$"));
    assert!(!screen.contains("fbird"), "{screen}");
    s.type_keys("dir<enter>");
    let screen = s.wait_for("bootle\n$", 10);
    assert!(screen.contains("\nfbird\npillman\ninvaders\nbasic\n"), "{screen}");
    s.type_keys("basic<enter>");
    s.wait_for("\n>", 10);
    s.type_keys("10 print 6*7<enter>run<enter>");
    s.wait_for("\n42\n>", 10);
    s.passed();
}

#[test]
fn bootos_draws_a_game() {
    let Some(image) = shared_guest("bootos/osall.img") else { return };
    let mut s = Session::start("osall.img: pillman", pc_with_floppy(&image));
    s.wait("prompt", 20, |screen| screen.trim_end().ends_with("bootOS\n$"));
    s.type_keys("pillman<enter>");
    let picture = s.wait_for_picture(5, 10);
    s.type_keys("<left><wait 300ms>");
    assert!(s.wait_for_picture(5, 10) != picture, "nothing moves");
    s.passed();
}

#[test]
fn msdos_4_starts_and_stops() {
    let Some(image) = shared_guest("msdos4/d1.img") else { return };
    let mut s = Session::start("msdos4/d1.img", pc_with_floppy(&image));
    let screen = s.wait_for("HardErr: no handler", 60);
    for line in ["Internal Work #2.06 - May 25, 1984", "MS-DOS version 4.00"] {
        assert!(screen.contains(line), "{screen}");
    }
    // It has stopped for good: no key brings an answer.
    s.type_keys("<wait 500ms>dir<enter><wait 500ms>");
    assert_eq!(s.screen(), screen);
    s.passed();
}

#[test]
fn coherent_3_runs_an_80286s_protected_mode() {
    let Some(image) = shared_guest("coherent/coherent3live144.img") else { return };
    let mut s = Session::start("coherent3live144.img", pc_with_floppy(&image));
    let screen = s.wait_for("Coherent login:", 120);
    assert!(screen.contains("Mark Williams COHERENT Version 3.0.0 - Protected Mode"), "{screen}");
    assert!(screen.contains("372 files 2781 blocks 37 free"), "{screen}");
    s.passed();
}

/// Boots `boot` from A:, with the root file system in B:, where the boot images look for it. These kernels switch tasks by
/// their TSS, and have a driver of their own for the floppy controller.
fn linux_0_1x(name: &str, boot: &str) -> Option<Session> {
    let boot = shared_guest(boot)?;
    let root = shared_guest("linux-0.1x/rootimage-0.11")?;
    let boot = ImageSpec { size: Some(1440 << 10), ..ImageSpec::new(boot) };
    let floppies = vec![Some(boot), Some(ImageSpec::new(&root))];
    Some(Session::start(name, MachineConfig { floppies, ..pc_with_floppy(&root) }))
}

#[test]
fn linux_0_11_gets_to_its_shell() {
    let Some(mut s) = linux_0_1x("Linux 0.11", "linux-0.1x/bootimage-0.11-fd") else { return };
    s.wait_for("Insert root floppy and press ENTER", 60);
    s.type_keys("<enter>");
    let screen = s.wait_for("[/usr/root]#", 60);
    assert!(screen.contains("37/1440 free blocks"), "{screen}");
    s.passed();
}

#[test]
fn linux_0_12_mounts_its_root() {
    let Some(mut s) = linux_0_1x("Linux 0.12", "linux-0.1x/boot012-rootB.img") else { return };
    s.wait_for("any other key to continue", 60);
    s.type_keys("<space>");
    s.wait_for("Insert root floppy and press ENTER", 60);
    s.type_keys("<enter>");
    s.wait_for("free blocks", 60);
    s.passed();
}
