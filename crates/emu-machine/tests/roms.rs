//! emu's own guest programs, booted from a floppy by emu's own firmware.

use std::collections::BTreeSet;

use emu_core::cpu::Activity;
use emu_core::{Input, Key, Output, Stop, Ticks};
use emu_machine::Machine;
use emu_machine::config::{HypervisorKind, KernelConfig, MachineConfig};
use emu_machine::host::Frame;

/// Guest time, in ticks, after which a program that has not ended is stuck.
const PATIENCE: u64 = 2_000_000_000;

/// A PC with `image` in drive A:.
fn machine(image: Vec<u8>) -> Machine {
    Machine::new(MachineConfig { demo: Some(image), boot: "a".into(), ..MachineConfig::default() }).unwrap()
}

/// What a guest printed on the debug console, the value that it wrote to the exit port, and whether it switched off.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    printed: String,
    exit: Option<u32>,
    off: bool,
}

/// Runs until `done`, or until the guest exits, dies or takes too long.
fn run_until(m: &mut Machine, told: &mut Told, done: impl Fn(&Machine, &Told) -> bool) {
    let end = m.system.now().after(PATIENCE);
    while told.exit.is_none() && !told.off && !done(m, told) {
        let now = m.system.now();
        assert!(now < end, "still running; printed {:?}; screen:\n{}", told.printed, m.screen_text());
        let stop = m.system.run(now.after(1_000_000).min(end));
        for (_, output) in m.system.bus.take_output() {
            match output {
                Output::Debug(byte) => told.printed.push(char::from(byte)),
                Output::Exit(value) => told.exit = Some(value),
                Output::PowerOff => told.off = true,
                _ => {}
            }
        }
        let dead = stop == Stop::TripleFault || m.system.cpu.activity == Activity::Shutdown || m.is_halted_for_good();
        assert!(
            !dead || told.off || told.exit.is_some(),
            "died; printed {:?}; screen:\n{}",
            told.printed,
            m.screen_text()
        );
    }
}

#[test]
fn test_programs_give_their_results() {
    for rom in test_roms::roms::all() {
        let mut m = machine(rom.floppy());
        let mut told = Told::default();
        run_until(&mut m, &mut told, |_, _| false);
        let expected = Told { printed: rom.output, exit: Some(rom.exit.into()), off: false };
        assert_eq!(told, expected, "{}", rom.name);
    }
}

/// Presses and releases a key, with time for the guest between.
fn press(m: &mut Machine, told: &mut Told, key: Key) {
    for down in [true, false] {
        m.system.input(&Input::Key { key, down });
        let after = m.system.now().after(10_000_000);
        run_until(m, told, |m, _| m.system.now() >= after);
    }
}

/// The pointer's places come to a guest that asks the backdoor for them, and only on a machine that has it.
#[test]
fn a_guest_drives_vmwares_absolute_pointer() {
    let rom = test_roms::roms::pointer();
    let config = |hypervisor| MachineConfig {
        demo: Some(rom.floppy()),
        boot: "a".into(),
        hypervisor,
        ..MachineConfig::default()
    };
    let mut m = Machine::new(config(HypervisorKind::Vmware)).unwrap();
    let mut told = Told::default();
    run_until(&mut m, &mut told, |_, told| told.printed == rom.output);
    // To the right edge by more than there is, back and up, and a click.
    for (dx, dy, dz, buttons) in [(2000, 0, 0, 0), (-100, 10, -1, 0), (0, 0, 0, 5)] {
        m.system.input(&Input::Mouse { dx, dy, dz, buttons });
    }
    run_until(&mut m, &mut told, |_, _| false);
    let packets = [
        "00000000\n0000FFFF\n00008000\n00000000\n",
        "00000000\n0000E6FF\n00007D80\nFFFFFFFF\n",
        "00000028\n0000E6FF\n00007D80\n00000000\n",
    ];
    assert_eq!(packets.len() as u32, test_roms::roms::POINTER_MOVES);
    assert_eq!(told, Told { printed: rom.output.clone() + &packets.concat(), exit: Some(rom.exit.into()), off: false });

    let mut m = Machine::new(config(HypervisorKind::None)).unwrap();
    let mut told = Told::default();
    run_until(&mut m, &mut told, |_, _| false);
    assert_eq!(told, Told { printed: "none\n".into(), exit: Some(rom.exit.into()), off: false });
}

#[test]
fn the_demo_shows_its_machine_a_picture_and_leaves() {
    let mut m = machine(test_roms::demo_image());
    let mut told = Told::default();
    run_until(&mut m, &mut told, |_, told| told.printed.contains(test_roms::READY));
    let screen = m.screen_text();
    let expected = [
        "emu x86-64-v1",
        "GenuineIntel",
        "639 + 64512 KB",
        "PIT      1.19318",
        "IRQ 0    18 interrupts",
        "A:  1440 KB floppy  80/2/18",
        "B:  none",
        "8086:1237 host bridge",
        "8086:7000 ISA bridge",
        "03F8 16550A",
    ];
    for text in expected {
        assert!(screen.contains(text), "no `{text}` in\n{screen}");
    }
    press(&mut m, &mut told, Key(0x3D)); // F3
    let end = m.system.now().after(100_000_000);
    run_until(&mut m, &mut told, |m, _| m.system.now() >= end);
    let Frame::Picture { width, height, rgb } = m.frame() else { panic!("still text:\n{}", m.screen_text()) };
    assert_eq!((width, height), (320, 200));
    let colours: BTreeSet<&[u8]> = rgb.chunks(3).collect();
    assert!(colours.len() > 100, "{} colours", colours.len());
    assert!(rgb.chunks(3).filter(|c| *c == [0, 0, 0]).count() > 5000, "the set itself is black");
    press(&mut m, &mut told, Key(0x39));
    run_until(&mut m, &mut told, |m, _| m.screen_text().contains("1 second"));
    m.system.input(&Input::Key { key: Key(0x01), down: true });
    run_until(&mut m, &mut told, |_, _| false);
    // By APM where the firmware has it, else by the exit port.
    assert!(told.off || told.exit == Some(0), "{told:?}");
}

#[test]
fn a_program_ends_at_the_same_tick_in_the_same_state_however_often_it_is_stopped() {
    let rom = test_roms::roms::all().into_iter().find(|r| r.name == "timer interrupts").unwrap();
    let mut ends = Vec::new();
    for stretch in [1_000_000, 9_973] {
        let mut m = machine(rom.floppy());
        let exit = loop {
            let now = m.system.now();
            assert!(now < Ticks(PATIENCE));
            m.system.run(now.after(stretch));
            let output = m.system.bus.take_output();
            if let Some(&(tick, _)) = output.iter().find(|(_, o)| matches!(o, Output::Exit(_))) {
                break tick;
            }
        };
        let end = exit.after(5_000_000);
        while m.system.now() < end {
            m.system.run(end);
            m.system.bus.take_output();
        }
        ends.push((exit, m.system.now(), m.system.hash()));
    }
    assert_eq!(ends[0], ends[1]);
}

#[test]
fn a_multiboot_kernel_finds_its_modules() {
    let dir = std::env::temp_dir().join(format!("emu-modules-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let file = |name: &str, bytes: &[u8]| {
        std::fs::write(dir.join(name), bytes).unwrap();
        dir.join(name)
    };
    let image = file("kernel", &test_roms::roms::modules_kernel());
    let long: String = (0..2000).map(|i| char::from(b'a' + (i % 26) as u8)).collect();
    let modules = vec![
        (file("one", b"first contents"), "one arguments=yes".to_owned()),
        (file("page", &[b'p'; 4096]), String::new()),
        (file("long", long.as_bytes()), "x".to_owned()),
    ];
    let kernel = Some(KernelConfig { image, modules, ..KernelConfig::default() });
    let mut m = Machine::new(MachineConfig { kernel, ..MachineConfig::default() }).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    let mut told = Told::default();
    run_until(&mut m, &mut told, |_, _| false);
    assert_eq!(told.exit, Some(0x2A), "{told:?}");
    let lines: Vec<&str> = told.printed.lines().collect();
    assert_eq!(lines.len(), 3, "{told:?}");
    assert!(lines[0].starts_with("module ") && lines[0].ends_with("one arguments=yes: first contents"), "{told:?}");
    assert!(lines[1].ends_with(&format!(": {}", "p".repeat(4096))), "{told:?}");
    assert!(lines[2].ends_with(&format!("x: {long}")), "{told:?}");
}
