//! `emu run --profile`.

mod common;

use std::process::{Command, Output, Stdio};

use common::{TempDir, floppy};

/// mov cx, 1000; again: call f; loop again; mov al, 0; out F4h, al; f: inc ax; ret
const GUEST: &[u8] = &[0xB9, 0xE8, 0x03, 0xE8, 6, 0, 0xE2, 0xFB, 0xB0, 0, 0xE6, 0xF4, 0x40, 0xC3];

fn emu(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_emu"));
    command.args(["run", "--display", "none", "--timeout", "60"]).args(args).stdin(Stdio::null());
    command.output().expect("emu runs")
}

#[test]
fn a_profile_names_blocks_functions_and_calls() {
    let dir = TempDir::new("profile");
    let image = dir.file("a.img", &floppy(GUEST));
    let map = dir.file("System.map", b"00007c00 T main\n00007c0c t leaf\n00007c0e T end\n");
    let (folded, svg) = (dir.path("calls.folded"), dir.path("calls.svg"));
    let plain = emu(&[&image, "--state-hash"]);
    let profiled = emu(&[&image, "--state-hash", "--profile", "-", "--flame-graph", &folded, "--symbols", &map]);
    assert_eq!(profiled.status.code(), Some(0), "{}", String::from_utf8_lossy(&profiled.stderr));
    let hash = |o: &Output| String::from_utf8_lossy(&o.stderr).lines().last().map(str::to_owned);
    assert_eq!(hash(&plain), hash(&profiled), "a profile changes nothing");
    let text = String::from_utf8_lossy(&profiled.stdout);
    for line in ["2000  leaf", "entered 1000 times: 7c0c leaf, real mode", "1001  Inc_r16, Retnw", "blocks decoded"] {
        assert!(text.contains(line), "no `{line}` in {text}");
    }
    let calls = std::fs::read_to_string(&folded).expect("the folded calls");
    // The loop is jumped to by the BIOS.
    assert!(calls.lines().any(|l| l.ends_with("leaf 2000")), "{calls}");
    let drawn = emu(&[&image, "--flame-graph", &svg, "--symbols", &map]);
    assert_eq!(drawn.status.code(), Some(0));
    assert!(std::fs::read_to_string(&svg).expect("the graph").contains("leaf"));
}

#[test]
fn what_a_profile_can_not_use_is_refused_before_the_run() {
    let dir = TempDir::new("profile-bad");
    let image = dir.file("a.img", &floppy(GUEST));
    let odd = dir.file("odd", b"no symbols here");
    for (args, code, text) in [
        (&["--symbols", &odd][..], 2, "--symbols goes with"),
        (&["--profile", "-", "--symbols", &odd], 3, "has no symbols"),
        (&["--profile", "/nonexistent/p.txt"], 3, "/nonexistent/p.txt"),
        (&["--flame-graph", "/nonexistent/p.svg"], 3, "/nonexistent/p.svg"),
    ] {
        let output = emu(&[&[image.as_str()], args].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{errors}");
        assert!(errors.contains(text) && errors.lines().count() <= 2 && !errors.contains("ended the run"), "{errors}");
    }
}
