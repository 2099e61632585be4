//! The command as a user meets it: record, replay, ask who wrote; and what it says of bad recordings.

mod common;

use common::{TempDir, emu, floppy, outcome, told};

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
    assert_eq!(outcome(&["why", &file, "0xc0000000"]).0, 2);
    asks_for_other_places(&file);
    assert_eq!(outcome(&["why", &file, "0x5000", "--before", "99999999999"]).0, 2);
}

/// Registers, ports, sectors, the screen.
fn asks_for_other_places(file: &str) {
    let why = |args: &[&str]| {
        let out = emu(&[&["why", file], args].concat());
        (out.status.code().unwrap_or(-1), String::from_utf8_lossy(&out.stdout).into_owned())
    };
    let (code, text) = why(&["reg:cx", "--history", "2"]);
    assert!(code == 0 && text.contains(": 1 -> 0"), "{text}");
    assert!(text.contains(": 2 -> 1"), "{text}");
    let (code, text) = why(&["reg:ds", "--within", "100"]);
    assert!(code == 10 && text.contains("--within looks farther back"), "{text}");
    let (code, text) = why(&["port:0xf4"]);
    assert!(code == 0 && text.contains("out 0F4h,ax"), "{text}");
    let (code, text) = why(&["port:0xf4", "--history", "9", "--json"]);
    assert_eq!((code, text.matches("\"tick\"").count()), (0, 1), "{text}");
    // The BIOS has cleared the screen: by the cell, by its address, and by one of its pixels it is the same step.
    let ticks: Vec<String> = ["cell:3,0", "0xb81e0+2", "pixel:0,50"]
        .iter()
        .map(|place| {
            let (code, text) = why(&[place]);
            assert_eq!(code, 0, "{place}: {text}");
            text.split(':').next().unwrap_or_default().to_owned()
        })
        .collect();
    assert!(ticks[0].starts_with("tick ") && ticks.iter().all(|t| *t == ticks[0]), "{ticks:?}");
    assert_eq!(why(&["cell:99,0"]).0, 2);
    assert_eq!(why(&["fd0:0"]).0, 10);
    assert_eq!(why(&["fd0:99999"]).0, 2);
    assert_eq!(why(&["hd3:0"]).0, 2);
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
    let bad = folder.file("damaged.emurec", &damaged);
    let (code, said) = replay(&bad);
    assert!(code == 9 && said.contains("is damaged at byte"), "{code} {said}");
    // Whoever reads it says so.
    let ask = [&["why", &bad, "0x5000"][..], &["diff", &bad, &file], &["bisect", &bad, "--decoded"]];
    for words in ask.into_iter().chain([&["debug", "--quiet", &bad, "-x", "quit"][..]]) {
        let (code, said) = outcome(words);
        assert!(code == 0 && said.contains("damaged.emurec is damaged at byte"), "{words:?}: {code} {said}");
        let words: Vec<&str> = words.iter().map(|w| if *w == bad { &cut[..] } else { *w }).collect();
        let said = outcome(&words).1;
        assert!(said.contains("before its run did") || words[0] == "debug" && said.is_empty(), "{words:?}: {said}");
    }
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

#[test]
fn two_runs_are_compared() {
    let folder = TempDir::new("compared");
    let mut image = diskette();
    let (a, b) = (folder.file("a.img", &image), folder.path("a.emurec"));
    image[0x13] = 0x79; // the second word: 5679h
    let (c, d) = (folder.file("c.img", &image), folder.path("c.emurec"));
    for (image, file) in [(&a, &b), (&c, &d)] {
        assert_eq!(outcome(&["run", image, "--display", "none", "--record", file, "--quiet"]).0, 0);
    }
    let compare = |args: &[&str]| {
        let out = emu(args);
        (out.status.code().unwrap_or(-1), String::from_utf8_lossy(&out.stdout).into_owned())
    };
    let (code, text) = compare(&["diff", &b, &b]);
    assert!(code == 0 && text.contains("the same up to tick"), "{text}");
    // The boot sector is read from the image, so memory differs as soon as it has been loaded.
    let (code, text) = compare(&["diff", &b, &d]);
    assert!(code == 11 && text.contains("the next step makes the difference"), "{text}");
    assert!(text.contains("then differ: ") && text.contains("memory at 0x7c13: 78, and 79"), "{text}");

    // The loop takes as long on every CPU; another memory size shows only where the program asks.
    let (code, text) = compare(&["bisect", &b, "--cpu", "486"]);
    assert!(code == 0 || text.contains("differ"), "{text}");
    assert_eq!(compare(&["bisect", &b]).0, 2);
}

/// A build that is the same never differs; another program is told to be none.
#[test]
fn two_builds_are_compared_by_their_debuggers() {
    let folder = TempDir::new("builds");
    let (image, file) = (folder.file("boot.img", &diskette()), folder.path("r.emurec"));
    let (code, said) = outcome(&["run", &image, "--display", "none", "--record", &file, "--quiet"]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = told(&["bisect", &file, "--emu", env!("CARGO_BIN_EXE_emu")]);
    assert!(code == 0 && said.starts_with("the same up to tick "), "{code} {said}");
    let (code, said) = told(&["bisect", &file, "--emu", "/bin/false"]);
    assert!(code == 1 && said.contains("/bin/false has no debugger's console"), "{code} {said}");
    assert_eq!(folder.names(), ["boot.img", "r.emurec"], "nothing is left behind");
}

#[test]
fn writes_of_the_same_are_marked_or_passed_over() {
    let folder = TempDir::new("marked");
    let code = [
        0x31, 0xC0, // xor ax, ax
        0x8E, 0xD8, // mov ds, ax
        0xC7, 0x06, 0x00, 0x50, 0x34, 0x12, // mov word [5000h], 1234h
        0xC7, 0x06, 0x00, 0x50, 0x34, 0x12, // and again
        0xE7, 0xF4, // out F4h, ax
        0xF4, 0xEB, 0xFD, // hlt, for good
    ];
    let (image, file) = (folder.file("boot.img", &floppy(&code)), folder.path("r.emurec"));
    outcome(&["run", &image, "--display", "none", "--record", &file, "--quiet"]);
    let (code, said) = told(&["why", &file, "0x5000+2"]);
    assert!(code == 0 && said.contains("34 12 -> 34 12 (as it was)"), "{said}");
    let (code, said) = told(&["why", &file, "0x5000+2", "--changes"]);
    assert!(code == 0 && said.contains("00 00 -> 34 12\n"), "{said}");
}
