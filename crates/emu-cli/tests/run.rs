//! `emu run` as a script sees it: exit codes, one clear line, nothing written that was not asked for.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A directory that is gone when its test is.
struct TempDir(PathBuf);

impl TempDir {
    fn new(name: &str) -> TempDir {
        let path = std::env::temp_dir().join(format!("emu-cli-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary directory");
        TempDir(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).expect("a temporary file");
        path.to_string_lossy().into_owned()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn emu(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_emu"));
    command.arg("run").args(args).stdin(Stdio::null());
    for default in [["--display", "none"], ["--timeout", "60"]] {
        if !args.contains(&default[0]) {
            command.args(default);
        }
    }
    command.output().expect("emu runs")
}

/// Runs, and checks the exit code and that the last line of the error output has `text`.
fn check(args: &[&str], code: i32, text: &str) {
    let output = emu(args);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {errors}");
    assert!(errors.lines().any(|l| l.contains(text)), "{args:?}: {errors}");
    assert!(!errors.contains("panicked"), "{args:?}: {errors}");
}

/// A floppy whose boot sector is `code`.
fn floppy(code: &[u8]) -> Vec<u8> {
    let mut image = vec![0; 163_840];
    image[..code.len()].copy_from_slice(code);
    image[510..512].copy_from_slice(&[0x55, 0xAA]);
    image
}

#[test]
fn unusable_files_exit_with_3() {
    let dir = TempDir::new("files");
    let empty = dir.file("empty", b"");
    let ragged = dir.file("ragged", &[1; 1000]);
    let qcow = dir.file("q.img", b"QFI\xFB\0\0\0\x03");
    let odd = dir.file("odd.img", &[0; 512 * 7]);
    check(&["/nonexistent/x.img"], 3, "no such file or directory");
    check(&[&dir.0.to_string_lossy()], 3, "is a directory");
    check(&[&empty], 3, "is empty");
    check(&[&ragged], 3, "truncated");
    check(&[&qcow], 3, "qcow2");
    check(&["--floppy", &odd], 3, "which no floppy has");
    check(&["--kernel", &odd], 3, "no kernel");
    check(&["--bios", &odd], 3, "firmware has a multiple of 64K");
}

#[test]
fn wrong_command_lines_exit_with_2() {
    let dir = TempDir::new("usage");
    let config = dir.file("machine.toml", b"memroy = 1");
    check(&["--flopy", "x"], 2, "--floppy");
    check(&["--mem", "64"], 2, "out of range");
    check(&["--mem", "99999G"], 2, "out of range");
    check(&["--cpu", "pentuim"], 2, "did you mean `pentium`");
    check(&["--append", "x"], 2, "--kernel");
    check(&["--type", "<entre>"], 2, "did you mean `enter`");
    check(&["--machine", &config], 2, "did you mean `memory`");
    check(&["--display", "terminal"], 2, "needs a terminal");
}

#[test]
fn a_socket_in_use_exits_with_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = format!("tcp:{},server", taken.local_addr().expect("its address"));
    check(&["--serial", &target], 1, "already in use");
}

#[test]
fn the_guest_decides_how_it_ends() {
    let dir = TempDir::new("ends");
    // mov al, 5; out F4h, al
    let exit = dir.file("exit.img", &floppy(&[0xB0, 0x05, 0xE6, 0xF4, 0xEB, 0xFE]));
    check(&[&exit], 64 + 5, "ended the run with 5");
    // cli; hlt
    let dead = dir.file("dead.img", &floppy(&[0xFA, 0xF4, 0xEB, 0xFD]));
    check(&[&dead], 7, "CS=0000");
    check(&[&dead, "--wait-for", "never"], 7, "waiting for \"never\"");
    // lidt [an empty limit]; int 3, in real mode: a fault without a vector is a triple fault
    let code = [0x0F, 0x01, 0x1E, 0x08, 0x7C, 0xCC, 0, 0, 0, 0, 0, 0, 0, 0];
    let triple = dir.file("triple.img", &floppy(&code));
    check(&[&triple], 6, "triple fault");
    // jmp $
    let busy = dir.file("busy.img", &floppy(&[0xEB, 0xFE]));
    check(&[&busy, "--until-ticks", "1000000"], 0, "160K floppy");
    check(&[&busy, "--wait-for", "never", "--timeout", "0.5"], 4, "waiting for \"never\"");
}

#[test]
fn an_overlay_leaves_the_image_alone() {
    let dir = TempDir::new("overlay");
    // Writes itself to sector 2 by INT 13h, then ends.
    let code = [
        0xB8, 0x01, 0x03, 0xB9, 0x02, 0x00, 0xBA, 0x00, 0x00, 0xBB, 0x00, 0x7C, 0xCD, 0x13, // int 13h, ah = 3
        0xB0, 0x00, 0x73, 0x02, 0xB0, 0x01, 0xE6, 0xF4, 0xEB, 0xFE, // exit 0 if it worked
    ];
    let image = floppy(&code);
    let path = dir.file("w.img", &image);
    check(&[&path], 0, "160K floppy");
    assert_eq!(std::fs::read(&path).expect("the image"), image);
    check(&[&format!("{path},mode=write")], 0, "160K floppy");
    let written = std::fs::read(&path).expect("the image");
    assert_eq!(written[512..1024], image[..512]);
    check(&[&format!("{path},mode=read")], 65, "with 1 at port F4h");
    assert!(Path::new(&path).exists());
}

#[test]
fn two_runs_have_the_same_state() {
    let run = |pace: &str| {
        let output = emu(&["--until-ticks", "30000000", "--state-hash", "--type", "<f2>", pace]);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        errors.lines().find(|l| l.contains(" state ")).map(str::to_owned).expect("a hash")
    };
    assert_eq!(run("--pace=no"), run("--pace=yes"));
}
