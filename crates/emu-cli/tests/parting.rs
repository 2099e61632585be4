//! Runs that part in a known step: what replay, diff and bisect say of it. The other emu is played by this one with a CPU
//! that has one instruction more.
#![cfg(unix)]

mod common;

use std::os::unix::fs::PermissionsExt;

use common::{TempDir, floppy, outcome, told};
use emu_core::StateHash;

/// Where the CPU has no POPCNT the result is that of the handler for #UD. Before and behind it the program waits for longer
/// than it takes between two points of the spine (67,108,864 ticks).
fn program() -> Vec<u8> {
    let mut code = vec![
        0x31, 0xC0, // xor ax, ax
        0x8E, 0xD8, // mov ds, ax
        0xC7, 0x06, 0x18, 0x00, 0, 0, // mov word [18h], the handler
        0x8C, 0x0E, 0x1A, 0x00, // mov [1Ah], cs
    ];
    let wait = [
        0xBA, 0x00, 0x05, // mov dx, 500h
        0x31, 0xC9, // xor cx, cx
        0xE2, 0xFE, // loop $
        0x4A, // dec dx
        0x75, 0xF9, // jnz to xor cx, cx
    ];
    code.extend(wait);
    code.extend([
        0xBB, 0x0F, 0x00, // mov bx, 15
        0xF3, 0x0F, 0xB8, 0xC3, // popcnt ax, bx
        0xA3, 0x00, 0x50, // mov [5000h], ax
        0x88, 0xC4, // mov ah, al
        0xB0, 0x3F, // mov al, 3Fh
        0xE6, 0x70, // out 70h, al
        0x88, 0xE0, // mov al, ah
        0xE6, 0x71, // out 71h, al: into CMOS memory
    ]);
    code.extend(wait);
    code.extend([
        0x31, 0xC0, // xor ax, ax
        0xE7, 0xF4, // out F4h, ax
        0xF4, 0xEB, 0xFD, // hlt, for good
    ]);
    let handler = 0x7C00 + code.len() as u16;
    code[8..10].copy_from_slice(&handler.to_le_bytes());
    code.extend([
        0x55, // push bp
        0x89, 0xE5, // mov bp, sp
        0x83, 0x46, 0x02, 0x04, // add word [bp+2], 4
        0x5D, // pop bp
        0x31, 0xC0, // xor ax, ax
        0xCF, // iret
    ]);
    floppy(&code)
}

/// A recording of the program on a CPU without one feature.
fn record(dir: &TempDir, without: &str) -> String {
    let image = dir.file("boot.img", &program());
    let file = dir.path(&format!("{without}.emurec"));
    let cpu = format!("x86-64-v2,-{without}");
    let (code, said) = outcome(&["run", &image, "--cpu", &cpu, "--display", "none", "--record", &file, "--quiet"]);
    assert_eq!(code, 0, "{said}");
    file
}

/// The recording, with another CPU in its first frame: the run is that of a machine which it does not say it is.
fn with_another_cpu(file: &str, from: &str, to: &str) -> Vec<u8> {
    let mut bytes = std::fs::read(file).expect("the recording");
    let (head, tail) = (12 + 9, 8);
    let len = u32::from_le_bytes([bytes[13], bytes[14], bytes[15], bytes[16]]) as usize;
    let frame = &mut bytes[head..head + len + tail];
    let at = frame.windows(from.len()).position(|w| w == from.as_bytes()).expect("the CPU's name");
    frame[at..at + to.len()].copy_from_slice(to.as_bytes());
    let check = StateHash::of(&frame[..len]).0 as u64;
    frame[len..].copy_from_slice(&check.to_le_bytes());
    bytes
}

/// A program that debugs `file`, whatever recording it is given.
fn another_emu(dir: &TempDir, name: &str, file: &str) -> String {
    let emu = env!("CARGO_BIN_EXE_emu");
    let program = dir.file(name, format!("#!/bin/sh\nexec {emu} debug --quiet {file}\n").as_bytes());
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("a program");
    program
}

/// The lines of `text` have these beginnings and ends, in this order and no others between them.
#[track_caller]
fn lines_are(text: &str, expected: &[(&str, &str)]) {
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{text}");
    for (line, (begin, end)) in lines.iter().zip(expected) {
        assert!(line.starts_with(begin) && line.ends_with(end), "{line}\nis not {begin} … {end} in\n{text}");
    }
}

/// The tick of the step that parts the runs, as `emu diff` finds it.
fn parting(text: &str) -> u64 {
    let (_, rest) = text.split_once("the same up to tick ").expect("where they part");
    rest.split(';').next().and_then(|n| n.parse().ok()).expect("a tick")
}

#[test]
fn the_step_and_the_device_that_part_two_runs_are_named() {
    let dir = TempDir::new("parting");
    let (without, with) = (record(&dir, "popcnt"), record(&dir, "sse4.2"));
    let (code, text) = told(&["diff", &without, &with]);
    assert_eq!(code, 11, "{text}");
    let tick = parting(&text);
    assert!(tick > 1 << 26 && text.contains(": 0000:7c1b popcnt ax,bx\n"), "{text}");

    // Two builds.
    let other = another_emu(&dir, "other", &with);
    let (code, text) = told(&["bisect", &without, "--emu", &other]);
    assert_eq!(code, 11, "{text}");
    let (same, next) = (format!("the same up to tick {tick};"), format!(" tick {tick}  0000:7c1b  popcnt ax,bx"));
    let expected = [
        (&same[..], "the next step makes the difference:"),
        ("  /", &next),
        ("  /", &next),
        ("then differ: cpu0, memory: eax 00000000 and 00000004, ", "esp 00007bfa and 00007c00"),
        ("  /", ""),
        ("  /", ""),
        ("  memory at 0x7bfa: 1b, and ", ""),
    ];
    lines_are(&text, &expected);

    // A replay of what a machine did that this is not.
    let file = dir.file("lie.emurec", &with_another_cpu(&with, "v2,-sse4.2", "v2,-popcnt"));
    let (code, text) = told(&["replay", &file, "--display", "none", "--quiet"]);
    assert_eq!(code, 8, "{text}");
    let (from, to) = (tick >> 26 << 26, ((tick >> 26) + 1) << 26);
    let differs = format!("emu: the replay differs from its recording between tick {from} and tick {to}: ");
    let again = format!("emu: run again from tick {from}, both ways through the engine give the same as before: ");
    let expected = [
        (&differs[..], "cpu0, rtc, memory"),
        (&again, "another emu has recorded it"),
        ("emu: at tick ", ", of which the file has the state:"),
        ("emu: then differ: ", ", memory"),
        ("emu:   recorded: EAX=0 ", ""),
        ("emu:   now: EAX=0 ", ""),
        ("emu:   memory at 0x5000: 04, and 00", ""),
        ("emu: the step that did it: emu bisect FILE --emu PROGRAM", "that recorded"),
    ];
    lines_are(&text, &expected);
    // Which is what the emu that recorded makes of it.
    let (code, text) = told(&["bisect", &file, "--emu", &other]);
    assert!(code == 11 && parting(&text) == tick && text.contains("popcnt ax,bx"), "{text}");

    // Both ways through the engine are one.
    let (code, text) = told(&["bisect", &with, "--decoded"]);
    assert!(code == 0 && text.starts_with("the same up to tick "), "{text}");
}

/// A step that changes nothing but a device.
#[test]
fn a_device_that_differs_alone_is_named() {
    let dir = TempDir::new("device");
    let image = dir.file("boot.img", &floppy(&[0xFA, 0x90, 0xEB, 0xFD])); // cli; nop; jmp to the nop
    let record = |name: &str, key: &[&str]| {
        let file = dir.path(name);
        let run = ["run", &image, "--display", "none", "--record", &file, "--quiet", "--until-ticks", "5000000"];
        let args = [&run[..], key, &["--until-ticks", "9000000"]].concat();
        let (code, said) = outcome(&args);
        assert_eq!(code, 0, "{said}");
        file
    };
    let (a, b) = (record("a.emurec", &[]), record("b.emurec", &["--type", "x"]));
    let (code, text) = told(&["bisect", &a, "--emu", &another_emu(&dir, "other", &b)]);
    assert_eq!(code, 11, "{text}");
    assert!(text.starts_with("the same up to tick 4999999; "), "{text}");
    assert!(text.lines().nth(3).is_some_and(|l| l == "then differ: events, kbc"), "{text}");
    assert!(!text.contains("memory"), "{text}");
}
