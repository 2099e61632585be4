//! Snapshots as a user meets them: saved by a run, by a recording and from the menu; restored, recorded on; and bad ones.

mod common;

use common::{TempDir, emu, floppy, outcome};

/// A diskette whose boot sector counts in memory and writes what it counted to its own second sector, then ends the run.
fn diskette() -> Vec<u8> {
    let code = [
        0x31, 0xC0, // xor ax, ax
        0x8E, 0xD8, // mov ds, ax
        0x8E, 0xC0, // mov es, ax
        0xB9, 0x00, 0x60, // mov cx, 6000h
        0xFF, 0x06, 0x00, 0x50, // inc word [5000h]
        0xE2, 0xFA, // loop back to inc
        0xB8, 0x01, 0x03, // mov ax, 301h: write a sector
        0xB9, 0x02, 0x00, // mov cx, 2
        0xBA, 0x00, 0x00, // mov dx, 0
        0xBB, 0x00, 0x50, // mov bx, 5000h
        0xCD, 0x13, // int 13h
        0x31, 0xC0, // xor ax, ax
        0xE7, 0xF4, // out F4h, ax
        0xF4, 0xEB, 0xFD, // hlt, for good
    ];
    floppy(&code)
}

const QUIET: [&str; 3] = ["--display", "none", "--quiet"];

/// Arguments of a run without display.
fn run<'a>(args: &[&'a str]) -> Vec<&'a str> {
    let verb = if args[0] == "snapshot" { &args[..2] } else { &args[..1] };
    [verb, &QUIET[..], &args[verb.len()..]].concat()
}

/// Tick and hash at the end of a run.
fn end(said: &str) -> (u64, String) {
    let words: Vec<&str> = said.lines().last().unwrap_or_default().split(' ').collect();
    (words[2].parse().expect("a tick"), words[4].to_owned())
}

/// A snapshot of the run in its middle; the image, the tick, and how the run ends.
fn saved(folder: &TempDir) -> (String, String, u64, (u64, String)) {
    let (image, file) = (folder.file("boot.img", &diskette()), folder.path("a.emusnap"));
    let (code, said) = outcome(&run(&["run", &image, "--state-hash"]));
    assert_eq!(code, 0, "{said}");
    let last = end(&said);
    let tick = last.0 / 2;
    let (code, said) = outcome(&run(&["run", &image, "--until-ticks", &tick.to_string(), "--snapshot", &file]));
    assert_eq!((code, said.as_str()), (0, ""));
    (image, file, tick, last)
}

#[test]
fn a_restored_machine_goes_on_as_the_run_did() {
    let folder = TempDir::new("restored");
    let (image, file, tick, last) = saved(&folder);
    let (again, recording) = (folder.path("b.emusnap"), folder.path("r.emurec"));
    let at = tick.to_string();
    outcome(&run(&["run", &image, "--until-ticks", &at, "--snapshot", &again]));
    let bytes = std::fs::read(&file).expect("the snapshot");
    assert!(bytes == std::fs::read(&again).expect("the snapshot"), "two snapshots of the same state differ");

    for args in [vec!["run", &file], vec!["run", "--restore", &file], vec!["snapshot", "restore", &file]] {
        let (code, said) = outcome(&run(&[&args[..], &["--state-hash"]].concat()));
        assert_eq!((code, end(&said)), (0, last.clone()), "{args:?}: {said}");
    }
    // A snapshot of a restored machine, at once, is the same.
    assert_eq!(outcome(&run(&["run", &file, "--until-ticks", &at, "--snapshot", &again])).0, 0);
    assert!(bytes == std::fs::read(&again).expect("the snapshot"), "restoring has changed something");

    // What a restored machine does can be recorded, and asked.
    let (code, said) = outcome(&run(&["run", &file, "--record", &recording, "--state-hash"]));
    assert_eq!((code, end(&said)), (0, last.clone()), "{said}");
    let (code, said) = outcome(&["replay", &recording, "--display", "none", "--state-hash"]);
    assert!(code == 0 && said.contains("the same run as recorded"), "{said}");
    assert_eq!(end(&said), last);
    assert_eq!(emu(&["why", &recording, "fd0:1"]).status.code(), Some(0));

    // A recording gives the same snapshot as the run.
    assert_eq!(outcome(&run(&["run", &image, "--record", &recording])).0, 0);
    let (code, said) = outcome(&["snapshot", "save", &recording, &again, "--at", &at]);
    assert_eq!((code, said.as_str()), (0, ""));
    assert!(bytes == std::fs::read(&again).expect("the snapshot"), "the recording gives another state");

    let out = emu(&["snapshot", "list", &folder.0.to_string_lossy(), "--json"]);
    let list: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(list.as_array().map(Vec::len), Some(2));
    assert_eq!(list[0]["tick"], tick);
    let out = emu(&["snapshot", "list", &file]);
    assert!(String::from_utf8_lossy(&out.stdout).contains("PC with"));
}

#[test]
fn the_demo_comes_along() {
    let folder = TempDir::new("demo");
    let (file, again) = (folder.path("a.emusnap"), folder.path("b.emusnap"));
    let ticks = ["--until-ticks", "150000000", "--state-hash"];
    let (code, said) =
        outcome(&run(&[&["run", "--until-ticks", "90000000", "--snapshot", &file][..], &ticks].concat()));
    assert_eq!(code, 0, "{said}");
    let (code, restored) = outcome(&run(&[&["run", &file][..], &ticks, &["--snapshot", &again]].concat()));
    assert_eq!((code, end(&restored)), (0, end(&said)), "{restored}");
    let (code, twice) = outcome(&run(&["run", &again, "--until-ticks", "150000000", "--state-hash"]));
    assert_eq!((code, end(&twice)), (0, end(&said)), "{twice}");
}

#[test]
fn bad_snapshots_get_one_line() {
    let folder = TempDir::new("bad");
    let (image, file, ..) = saved(&folder);
    let refused = |args: &[&str], code: i32, text: &str| {
        let (found, said) = outcome(&run(args));
        assert_eq!((found, said.lines().count()), (code, 1), "{said}");
        assert!(said.contains(text), "{said}");
    };
    refused(&["run", &file, "--mem", "64M"], 2, "--mem: ");
    refused(&["run", "--restore", &image], 3, "is no snapshot of emu");
    refused(&["run", "--restore", &folder.path("none")], 3, "no such file");
    refused(&["run", &image, "--until-ticks", "9", "--snapshot", &image], 1, "exists and is no snapshot");
    refused(&["run", &format!("{image},mode=write"), "--until-ticks", "9", "--snapshot", &file], 1, "mode=write");
    refused(&["replay", &file], 3, "is no recording of emu: it is a snapshot");

    let bytes = std::fs::read(&file).expect("the snapshot");
    let bad = folder.path("bad.emusnap");
    for n in [9, 12, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&bad, &bytes[..n]).expect("a file");
        refused(&["run", "--restore", &bad], 3, "bad.emusnap");
    }
    let mut newer = bytes.clone();
    newer[8] = 9;
    std::fs::write(&bad, &newer).expect("a file");
    refused(&["run", &bad], 3, "format 9");
    let mut changed = std::fs::read(&image).expect("the image");
    changed[511 * 9] ^= 1;
    std::fs::write(&image, &changed).expect("an image");
    refused(&["run", &file], 3, "boot.img is not what it was when");
}
