//! `emu conform --against` and `--fuzz` as users meet them: adapters that are no adapters, and the host's own CPU.
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn emu(args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_emu")).args(args).output().expect("emu starts");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

/// A folder of this test's own.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("a folder");
    path
}

/// Three vectors of INC EAX, of which the adapter gets the second wrong.
fn vectors(folder: &Path) -> String {
    let path = folder.join("inc.jsonl");
    let head = r#"{"group":"inc","bits":64,"cases":3,"forms":1}"#;
    let line = r#"{"f":"inc eax","b":"ffc0","i":{"r":{"rax":"5"},"fl":0},"o":{"r":{"rax":"6"},"fl":4}}"#;
    std::fs::write(&path, format!("{head}\n{line}\n{line}\n{line}\n")).expect("a file");
    path.to_string_lossy().into_owned()
}

fn adapter(misdeed: &str) -> String {
    let right = "echo done $n rip=10000102 rax=6 flags=4";
    format!(
        "sh -c 'read h; echo hello 1 modes=user64 name=fake; while read v n rest; do \
         case $n in 2) {misdeed};; *) {right};; esac; done'"
    )
}

#[test]
fn an_adapter_that_fails_is_named_and_the_rest_goes_on() {
    let dir = folder("against");
    let file = vectors(&dir);
    for (misdeed, word, code) in [
        ("echo done $n rip=10000102 rax=6 flags=4", "", 0),
        ("echo done $n rip=10000102 rax=7 flags=4", "rax", 10),
        ("exec sleep 60", "no answer within 0.2 s", 1),
        ("exit 5", "exit status: 5", 1),
        ("echo banana", "banana", 1),
    ] {
        let (status, out, err) = emu(&["conform", "--against", &adapter(misdeed), "--case-timeout", "200ms", &file]);
        let all = format!("{out}{err}");
        assert_eq!(status, code, "{misdeed}: {all}");
        assert!(all.contains(word) && (code != 1 || all.contains("adapter sh: case 2 (inc eax")), "{misdeed}: {all}");
        assert!(!all.contains("panicked"), "{all}");
    }
}

#[test]
fn what_is_no_adapter_is_told_in_a_line() {
    let file = vectors(&folder("no-adapter"));
    for (args, word) in [
        (&["conform", "--against", "/nowhere/at-all", &file][..], "adapter /nowhere/at-all: can't be started"),
        (&["conform", "--against", "false", &file], "on hello"),
        (&["conform", "--fuzz", "--against", "echo hi"], "its hello is none"),
    ] {
        let (status, _, err) = emu(args);
        assert!(status == 1 && err.contains(word) && err.lines().count() == 1, "{args:?}: {status} {err}");
    }
    for (args, word) in [
        (&["conform"][..], "SUITE"),
        (&["conform", "--seed", "1", &file], "--fuzz"),
        (&["conform", "--fuzz", &file], "cannot be used with"),
        (&["conform", "--fuzz", "--only", "fpu"], "no class of instructions"),
        (&["conform", "--fuzz", "--time", "soon"], "no time like 90s"),
    ] {
        let (status, _, err) = emu(args);
        assert!(status == 2 && err.contains(word), "{args:?}: {status} {err}");
    }
}

/// Integer instructions, about which no two makers disagree in what is defined, on the host's own CPU.
#[test]
fn the_hosts_cpu_and_emu_agree() {
    let beside = Path::new(env!("CARGO_BIN_EXE_emu")).with_file_name("emu-native-cpu");
    if !beside.exists() || cfg!(not(all(target_os = "linux", target_arch = "x86_64"))) {
        println!("SKIPPED: no {}", beside.display());
        return;
    }
    let found = folder("fuzz").join("found");
    let only = "alu,muldiv,shift,bits,bcd,string,stack";
    let found_text = found.to_string_lossy().into_owned();
    let (status, out, err) =
        emu(&["conform", "--fuzz", "--count", "20000", "--seed", "3", "--only", only, "--found", &found_text]);
    if status == 1 && err.contains("failed") || out.contains("Operation not permitted") {
        println!("SKIPPED: this host allows no ptrace: {out}{err}");
        return;
    }
    assert_eq!(status, 0, "{out}{err}");
    assert!(out.contains("muldiv") && !found.exists(), "{out}{err}");
}
