//! The command as a user meets it: record, replay, ask who wrote; and what it says of bad recordings.

mod common;

use std::process::{Command, Output};

use common::{TempDir, floppy};

fn emu(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_emu")).args(args).output().expect("emu runs")
}

/// The exit code and what stands on the error output.
fn outcome(args: &[&str]) -> (i32, String) {
    let out = emu(args);
    (out.status.code().unwrap_or(-1), String::from_utf8_lossy(&out.stderr).into_owned())
}

/// A diskette whose boot sector writes a word, waits, writes it again, and ends the run by port F4h.
fn diskette() -> Vec<u8> {
    let code = [
        0x31, 0xC0, // xor ax, ax
        0x8E, 0xD8, // mov ds, ax
        0xC7, 0x06, 0x00, 0x50, 0x34, 0x12, // mov word [5000h], 1234h
        0xB9, 0x00, 0xF0, // mov cx, F000h
        0xE2, 0xFE, // loop $
        0xC7, 0x06, 0x00, 0x50, 0x78, 0x56, // mov word [5000h], 5678h
        0xE7, 0xF4, // out F4h, ax
        0xF4, 0xEB, 0xFD, // hlt, for good
    ];
    floppy(&code)
}

#[test]
fn a_run_is_recorded_replayed_and_asked() {
    let folder = TempDir::new("asked");
    let (image, file) = (folder.file("boot.img", &diskette()), folder.path("r.emurec"));
    let run = ["run", &image, "--display", "none", "--record", &file, "--state-hash", "--quiet"];
    let (code, said) = outcome(&run);
    assert_eq!(code, 0, "{said}");
    let (code, replayed) = outcome(&["replay", &file, "--display", "none", "--state-hash"]);
    assert_eq!(code, 0, "{replayed}");
    assert!(replayed.contains("the same run as recorded, at 2 of 2 points"), "{replayed}");
    assert_eq!(replayed.lines().last(), said.lines().last());
    let (code, at_end) = outcome(&["replay", &file, "--display", "none", "--state-hash", "--quiet", "--start", "end"]);
    assert_eq!((code, at_end.lines().last()), (0, said.lines().last()));

    let out = emu(&["why", &file, "0x5000+2", "--history", "2"]);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(out.status.code(), Some(0), "{text}");
    let lines: Vec<&str> = text.lines().filter(|l| l.starts_with("tick")).collect();
    assert!(lines[0].ends_with("0000:7c0f mov word ptr [5000h],5678h: 34 12 -> 78 56"), "{text}");
    assert!(lines[1].ends_with("0000:7c04 mov word ptr [5000h],1234h: 00 00 -> 34 12"), "{text}");
    assert_eq!(emu(&["why", &file, "0x90000"]).status.code(), Some(10));
    assert_eq!(outcome(&["why", &file, "0xa0000"]).0, 2);
    assert_eq!(outcome(&["why", &file, "0x5000", "--before", "99999999999"]).0, 2);
}

#[test]
fn bad_recordings_get_one_line_and_their_own_code() {
    let folder = TempDir::new("bad");
    let (image, file) = (folder.file("boot.img", &diskette()), folder.path("r.emurec"));
    assert_eq!(outcome(&["run", &image, "--display", "none", "--record", &file, "--quiet"]).0, 0);
    let replay = |file: &str| outcome(&["replay", file, "--display", "none", "--quiet"]);
    let bytes = std::fs::read(&file).expect("the recording");

    // Cut in the state at the end: all of the run is there.
    let cut = folder.file("cut.emurec", &bytes[..bytes.len() - 100]);
    assert_eq!(replay(&cut), (0, String::new()));
    let (code, said) = outcome(&["replay", &cut, "--display", "none"]);
    assert!(code == 0 && said.contains("before its run did"), "{said}");

    let mut damaged = bytes.clone();
    let last = damaged.len() - 100;
    damaged[last] ^= 1;
    let (code, said) = replay(&folder.file("damaged.emurec", &damaged));
    assert!(code == 9 && said.contains("is damaged at byte"), "{code} {said}");
    damaged[20] ^= 1;
    let (code, said) = replay(&folder.file("start.emurec", &damaged));
    assert!(code == 3 && said.contains("is damaged at byte 12"), "{code} {said}");
    assert_eq!(said.lines().count(), 1);

    let (code, said) = replay(&image);
    assert!(code == 3 && said.contains("is no recording of emu"), "{said}");
    assert_eq!(replay(&folder.path("none.emurec")).0, 3);
    assert_eq!(outcome(&["replay", &file, "--display", "none", "--until", "99999999999"]).0, 2);
    let (code, said) = outcome(&["run", &image, "--display", "none", "--record", &image]);
    assert!(code == 3 && said.contains("is left alone"), "{said}");
    assert_eq!(outcome(&["run", &image, "--display", "none", "--record", &file, "--timeline", "off"]).0, 2);

    std::fs::write(&image, vec![0; 163_840]).expect("an image");
    let (code, said) = replay(&file);
    assert!(code == 3 && said.contains("boot.img is not what it was when"), "{said}");
    assert_eq!(said.lines().count(), 1);
}
