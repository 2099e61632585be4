//! Boot loaders, kernels and programs without an operating system: what a person sees of them on the screen and the
//! serial port.

mod common;

use common::session::Session;
use common::{cached_guest, pc_with_cd, pc_with_floppy, pc_with_kernel, under_seabios};
use emu_core::ClockRate;
use emu_machine::config::{MachineConfig, parse_cpu};
use emu_machine::image::ImageSpec;

/// Boots memtest86+ and lets it test: it tells its mode, goes from test to test, and finds no error.
fn memtest(name: &str, config: MachineConfig, mode: &str) {
    let mut s = Session::start(name, config);
    s.wait_for("Memtest86+ v6.10", 20);
    s.wait_for(mode, 20);
    let screen = s.wait("third test", 60, |screen| screen.contains("Test #3") && screen.contains("of 63.6MB]"));
    assert!(screen.contains("Errors: 0"), "{screen}");
    s.passed();
}

/// A whole pass over the little memory that it needs: every test that there is. One waits for minutes, so this machine's
/// second is short.
#[test]
fn memtest_completes_a_pass() {
    let Some(kernel) = cached_guest("memtest/memtest86+x64.bin") else { return };
    let rate = ClockRate::new(10_000_000).expect("a rate");
    let mut s = Session::start("memtest86+x64.bin, a pass", MachineConfig { rate, ..pc_with_kernel(&kernel, 5) });
    let screen = s.wait("complete pass", 1500, |screen| screen.contains("│ Pass:  1 "));
    assert!(screen.contains("Status: Pass") && screen.contains("Errors: 0"), "{screen}");
    s.passed();
}

#[test]
fn memtest_ia32_by_its_boot_protocol() {
    let Some(kernel) = cached_guest("memtest/memtest86+ia32.bin") else { return };
    memtest("memtest86+ia32.bin", pc_with_kernel(&kernel, 64), "6.10.unknown.x32");
}

#[test]
fn memtest_x64_by_its_boot_protocol() {
    let Some(kernel) = cached_guest("memtest/memtest86+x64.bin") else { return };
    memtest("memtest86+x64.bin", pc_with_kernel(&kernel, 64), "6.10.unknown.x64");
}

#[test]
fn memtest_ia32_from_its_cd() {
    let Some(cd) = cached_guest("memtest/memtest86+ia32.iso") else { return };
    memtest("memtest86+ia32.iso", pc_with_cd(&cd, 64), "6.10.unknown.x32");
}

#[test]
fn memtest_x64_from_its_cd_under_seabios() {
    let Some(cd) = cached_guest("memtest/memtest86+x64.iso") else { return };
    let Some(config) = under_seabios(pc_with_cd(&cd, 64)) else { return };
    memtest("memtest86+x64.iso under SeaBIOS", config, "6.10.unknown.x64");
}

/// Boots the rescue disk to its menu; the command line is behind `c`, and knows the disk that it came from.
fn grub_rescue(name: &str, config: MachineConfig, disk: &str) {
    let mut s = Session::start(name, config);
    let screen = s.wait_for("`c' for a command-line.", 30);
    assert!(screen.contains("GNU GRUB  version 2.06"), "{screen}");
    assert!(screen.contains("│*GNU/Linux"), "{screen}");
    s.type_keys("<down>");
    s.wait_for("│*GNU (aka GNU/Hurd)", 10);
    s.type_keys("c");
    s.wait_for("grub>", 20);
    s.type_keys("ls<enter>");
    s.wait("list of disks", 30, |screen| screen.lines().any(|l| l.contains(disk) && !l.contains("grub>")));
    s.passed();
}

#[test]
fn grub_rescue_floppy() {
    let Some(image) = cached_guest("grub-rescue/grub-rescue-floppy.img") else { return };
    let floppies = vec![Some(ImageSpec { size: Some(1440 << 10), ..ImageSpec::new(&image) })];
    let config = MachineConfig { floppies, memory: 64 << 20, ..pc_with_floppy(&image) };
    grub_rescue("grub-rescue-floppy.img", config, "(fd0)");
}

#[test]
fn grub_rescue_cd() {
    let Some(image) = cached_guest("grub-rescue/grub-rescue-cdrom.iso") else { return };
    grub_rescue("grub-rescue-cdrom.iso", pc_with_cd(&image, 64), "(cd)");
}

#[test]
fn grub_rescue_cd_under_seabios() {
    let Some(image) = cached_guest("grub-rescue/grub-rescue-cdrom.iso") else { return };
    let Some(config) = under_seabios(pc_with_cd(&image, 64)) else { return };
    grub_rescue("grub-rescue-cdrom.iso under SeaBIOS", config, "(cd)");
}

/// The ship's top is an underscore in the row above the last one.
fn ship(screen: &str) -> Option<usize> {
    screen.lines().rev().find_map(|l| l.find('_'))
}

#[test]
fn invaders_play() {
    let Some(kernel) = cached_guest("grub-invaders/invaders.exec") else { return };
    let mut s = Session::start("invaders.exec", pc_with_kernel(&kernel, 64));
    let invaders = |screen: &str| screen.matches("-*-").count();
    let screen = s.wait("rows of invaders", 20, |screen| invaders(screen) >= 24 && ship(screen).is_some());
    let (many, before) = (invaders(&screen), ship(&screen).expect("a ship"));
    s.type_keys("<right><right><right><right>");
    s.wait("ship to the right", 10, |screen| ship(screen).is_some_and(|at| at > before));
    s.type_keys(" ");
    s.wait("shot", 60, |screen| invaders(screen) < many);
    s.passed();
}

#[test]
fn ipxe_starts_its_devices() {
    let Some(cd) = cached_guest("ipxe/ipxe.iso") else { return };
    let mut s = Session::start("ipxe.iso", pc_with_cd(&cd, 64));
    s.wait_for("iPXE initialising devices...ok", 60);
    s.passed();
}

/// Firmware of its own kind: from the reset vector to a prompt on the serial port.
fn u_boot(file: &str) {
    let Some(bios) = cached_guest(&format!("u-boot/{file}")) else { return };
    let mut s = Session::start(file, MachineConfig { bios: Some(bios), memory: 64 << 20, ..MachineConfig::default() });
    s.wait_for_serial("U-Boot 2023.01", 60);
    // Its seconds are longer than ours: it takes the CPU for one of 1 GHz.
    s.wait_for_serial("Hit any key to stop autoboot", 60);
    s.type_serial("\n");
    s.wait_for_serial("=> ", 60);
    s.passed();
}

#[test]
fn u_boot_x86() {
    u_boot("u-boot-x86.rom");
}

#[test]
fn u_boot_x86_64() {
    u_boot("u-boot-x86_64.rom");
}

#[test]
fn grub_is_firmware() {
    let Some(bios) = cached_guest("grub-firmware/grub.bin") else { return };
    let config = MachineConfig { bios: Some(bios), memory: 64 << 20, ..MachineConfig::default() };
    let mut s = Session::start("GRUB as firmware", config);
    s.wait_for("GNU GRUB  version 2.06", 30);
    s.type_keys("c");
    s.wait_for("grub>", 10);
    s.type_keys("echo two words<enter>");
    s.wait("the words", 10, |text| text.lines().any(|l| l.trim() == "two words"));
    s.passed();
}

/// UEFI: from the reset vector to the shell, which answers.
#[test]
fn ovmf_reaches_its_shell() {
    let Some(bios) = cached_guest("ovmf/OVMF.fd") else { return };
    let cpu = parse_cpu("x86-64-v2").expect("a model");
    let config = MachineConfig { bios: Some(bios), memory: 128 << 20, cpu, ..MachineConfig::default() };
    let mut s = Session::start("OVMF", config);
    s.wait_for_serial("UEFI Interactive Shell v2.2", 60);
    s.wait_for_serial("in 5 seconds", 10);
    s.type_serial("\x1b");
    s.wait_for_serial("Shell> ", 10);
    s.type_serial("echo two words\r");
    s.wait_for_serial("\ntwo words", 10);
    s.passed();
}

/// A hypervisor, and Linux as its dom0: ring 3 of long mode for a kernel, with its page tables checked by Xen.
#[test]
fn xen_starts_dom0() {
    let Some(xen) = cached_guest("xen/xen") else { return };
    let (Some(kernel), Some(initrd)) = (cached_guest("linux-amd64/vmlinuz"), cached_guest("linux-amd64/initrd.gz"))
    else {
        return;
    };
    let mut config = pc_with_kernel(&xen, 512);
    config.cpu = parse_cpu("x86-64-v2").expect("a model");
    let boot = config.kernel.as_mut().expect("the kernel");
    boot.append = "com1=115200,8n1 console=com1 dom0_mem=384M".into();
    boot.modules = vec![(kernel, "console=hvc0 panic=-1".into()), (initrd, String::new())];
    let mut s = Session::start("Xen", config);
    s.wait_for_serial("Xen version 4.17", 20);
    s.wait_for_serial("Linux version 6.1", 120);
    s.wait_for_serial("Run /init as init process", 60);
    s.passed();
}
