//! What becomes of a recording when emu is killed, or the disk is full.
#![cfg(unix)]

mod common;

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{TempDir, floppy};
use test_roms::roms::desk_floppy;

fn emu(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_emu")).args(args).output().expect("emu runs")
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// The tick to which a recording plays, from what `emu replay` says.
fn end_of(said: &str) -> u64 {
    let (_, rest) = said.split_once(" to tick ").expect("where it ends");
    rest.split([':', ' ', '\n']).next().and_then(|n| n.parse().ok()).expect("a tick")
}

/// Whatever was flushed, at least each second, is there and is right: the guest runs at its own pace, 100 million ticks a
/// second, so the time until the kill says how far the recording must go.
#[test]
fn what_was_flushed_before_a_kill_plays() {
    let folder = TempDir::new("killed");
    let (image, file) = (folder.file("desk.img", &desk_floppy(b'A')), folder.path("r.emurec"));
    let script =
        ["--wait-for", "boot 1", "--type", "xyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxy", "--until-ticks", "9999999999"];
    // A stretch of times at which anything may be under way; the same each time, so that a failure comes again.
    for ms in [3, 40, 90, 510, 520, 777, 1010, 1111, 1240, 1600] {
        let args =
            [&["run", &image, "--display", "none", "--pace=yes", "--record", &file, "--quiet"][..], &script].concat();
        let began = Instant::now();
        let mut child =
            Command::new(env!("CARGO_BIN_EXE_emu")).args(args).stdin(Stdio::null()).spawn().expect("emu runs");
        std::thread::sleep(Duration::from_millis(ms));
        child.kill().expect("killed");
        child.wait().expect("gone");
        let lived = began.elapsed();
        let out = emu(&["replay", &file, "--display", "none"]);
        if ms < 500 && out.status.code() == Some(3) {
            continue; // it had not begun
        }
        let text = said(&out);
        assert_eq!(out.status.code(), Some(0), "{ms}: {text}");
        assert!(text.contains("the same run as recorded"), "{ms}: {text}");
        // On a host that is busy with other things the guest falls behind its clock: so this asks for little.
        if lived > Duration::from_millis(1500) {
            assert!(end_of(&text) > 1_000_000, "{ms}: {text}");
        }
    }
}

/// With a limit on the size of files, as a full disk has it: the guest goes on to its end, one line says what happened,
/// and what is in the file plays.
#[test]
fn a_full_disk_ends_the_recording_and_not_the_run() {
    let folder = TempDir::new("full");
    // Stores, and waits for 20 ms 400 times by the BIOS, so that the run takes a few seconds of guest time.
    let code = [
        0xBE, 0x90, 0x01, // mov si, 400
        0xB4, 0x86, // mov ah, 86h: wait
        0x31, 0xC9, // xor cx, cx
        0xBA, 0x20, 0x4E, // mov dx, 20000
        0xCD, 0x15, // int 15h
        0x4E, // dec si
        0x75, 0xF4, // jnz to mov ah
        0x31, 0xC0, // xor ax, ax
        0xE7, 0xF4, // out F4h, ax
        0xF4, 0xEB, 0xFD, // hlt, for good
    ];
    let (image, file) = (folder.file("boot.img", &floppy(&code)), folder.path("r.emurec"));
    for (kib, begins) in [(0, false), (1, true), (2, true)] {
        let script = format!(
            "trap '' XFSZ; ulimit -f {kib}; exec {} run {image} --display none --record {file} --state-hash --quiet",
            env!("CARGO_BIN_EXE_emu"),
        );
        let _ = std::fs::remove_file(&file);
        let out = Command::new("bash").args(["-c", &script]).output().expect("bash runs");
        let text = said(&out);
        let lines: Vec<&str> = text.lines().collect();
        if !begins {
            assert!(out.status.code() == Some(3) && lines.len() == 1 && lines[0].contains("r.emurec"), "{text}");
            continue;
        }
        assert!(out.status.code() == Some(0) && lines.len() == 2, "{text}");
        assert!(lines[0].contains("r.emurec: ") && lines[0].contains("the recording"), "{text}");
        assert!(lines[1].contains(" state "), "{text}");
        let out = emu(&["replay", &file, "--display", "none"]);
        assert!(out.status.code() == Some(0) && said(&out).contains("before its run did"), "{}", said(&out));
    }
}
