//! `emu run` as a script sees it: exit codes, one clear line, nothing written that was not asked for.

mod common;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::{TempDir, floppy};

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

#[test]
fn unusable_files_exit_with_3() {
    let dir = TempDir::new("files");
    let empty = dir.file("empty", b"");
    let ragged = dir.file("ragged", &[1; 1000]);
    let qcow = dir.file("q.img", b"QFI\xFB\0\0\0\x03");
    let odd = dir.file("odd.img", &[0; 512 * 7]);
    check(&["/nonexistent/x.img"], 3, "no such file or directory");
    check(&[&dir.0.to_string_lossy()], 3, "describes no machine");
    check(&[&empty], 3, "is empty");
    check(&[&ragged], 3, "truncated");
    check(&[&qcow], 3, "qcow2");
    check(&["--floppy", &odd], 3, "which no floppy has");
    check(&["--kernel", &odd], 3, "no kernel");
    check(&["--bios", &odd], 3, "firmware has a multiple of 64K");
    for option in ["--floppy", "--disk", "--cdrom", "--kernel", "--bios"] {
        check(&[option, &empty], 3, "is empty");
    }
}

#[test]
fn oversized_files_exit_with_3_and_are_not_read() {
    let dir = TempDir::new("oversized");
    // Holes: no host has that much memory or disk for them.
    let huge = dir.file("huge", &[]);
    std::fs::File::options().write(true).open(&huge).unwrap().set_len(1 << 40).unwrap();
    let kernel = dir.file("kernel", &multiboot_kernel());
    check(&["--floppy", &huge], 3, "more than a floppy can hold");
    check(&["--bios", &huge], 3, "are too many");
    check(&["--kernel", &huge], 3, "are too many");
    check(&["--kernel", &kernel, "--module", &huge], 3, "are too many");
    // A disk may be as large as that.
    check(&["--disk", &huge, "--until-ticks", "1000"], 0, "booting from C:");
}

#[test]
fn truncated_files_exit_with_3() {
    let dir = TempDir::new("truncated");
    let mut cd = vec![0; 20 * 2048 + 100];
    cd[16 * 2048..16 * 2048 + 6].copy_from_slice(b"\x01CD001");
    let cd = dir.file("cd.iso", &cd);
    let kernel = multiboot_kernel();
    let short = dir.file("short", &kernel[..kernel.len() - 1]);
    check(&[&cd], 3, "is it truncated?");
    check(&["--cdrom", &cd], 3, "is it truncated?");
    check(&[&short], 3, "the kernel is truncated");
}

/// The smallest multiboot kernel: a header with its own addresses, and a jump to itself.
fn multiboot_kernel() -> Vec<u8> {
    let load: u32 = 0x10_0000;
    let words = [0x1BAD_B002, 0x1_0000, 0u32.wrapping_sub(0x1BAD_B002 + 0x1_0000), load, load, load + 36, 0, load + 32];
    let mut bytes: Vec<u8> = words.iter().flat_map(|w: &u32| w.to_le_bytes()).collect();
    bytes.extend([0xEB, 0xFE, 0x90, 0x90]);
    bytes
}

/// Runs as a user whom file permissions hold back: root is not.
#[cfg(unix)]
fn emu_as_a_user(dir: &TempDir, args: &[&str]) -> Output {
    use std::os::unix::fs::PermissionsExt;
    if !rustix::process::getuid().is_root() {
        return emu(args);
    }
    let copy = dir.path("emu");
    // By a process of its own: a descriptor of ours that writes to the copy would be inherited by what other tests start
    // just then, and the copy could not be run ("text file busy").
    if !Path::new(&copy).exists() {
        let copied = Command::new("cp").args([env!("CARGO_BIN_EXE_emu"), copy.as_str()]).status();
        assert!(copied.expect("cp runs").success(), "a copy that everybody may run");
    }
    std::fs::set_permissions(&dir.0, PermissionsExt::from_mode(0o755)).expect("its directory");
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let mut command = Command::new("setpriv");
    command.args(nobody).arg(copy).arg("run").args(args).args(["--display", "none"]).stdin(Stdio::null());
    command.output().expect("setpriv runs emu")
}

#[test]
#[cfg(unix)]
fn a_read_only_file_is_not_written_and_not_opened_for_it() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new("readonly");
    let image = floppy(&[0xB0, 0x00, 0xE6, 0xF4, 0xEB, 0xFE]); // mov al, 0; out F4h, al
    let path = dir.file("a.img", &image);
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o444)).expect("permissions");
    let told = |args: &[&str]| {
        let output = emu_as_a_user(&dir, args);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, errors) = told(&[&format!("{path},mode=write")]);
    assert_eq!(code, Some(3), "{errors}");
    assert!(errors.contains("permission denied"), "{errors}");
    assert_eq!(told(&[&path]).0, Some(0));
    assert_eq!(told(&[&format!("{path},mode=read")]).0, Some(0));
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o000)).expect("permissions");
    let (code, errors) = told(&[&path]);
    assert_eq!(code, Some(3), "{errors}");
    assert!(errors.contains("permission denied"), "{errors}");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).expect("permissions");
    assert_eq!(std::fs::read(&path).expect("the image"), image);
}

#[test]
#[cfg(unix)]
fn closed_standard_streams_are_no_harm() {
    let dir = TempDir::new("closed");
    let path = dir.file("a.img", &floppy(&[0xB0, 0x05, 0xE6, 0xF4, 0xEB, 0xFE])); // mov al, 5; out F4h, al
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        for serial in ["null", "stdio"] {
            let line = format!("exec \"$0\" run \"$1\" --display none --serial {serial} {closed}");
            let mut shell = Command::new("sh");
            shell.args(["-c", &line, env!("CARGO_BIN_EXE_emu"), &path]).current_dir(&dir.0);
            let output = shell.output().expect("a shell");
            assert_eq!(output.status.code(), Some(69), "{closed} {serial}: {output:?}");
        }
    }
    assert_eq!(dir.names(), ["a.img"]);
    assert_eq!(std::fs::read(&path).expect("the image").len(), 163_840);
}

#[test]
#[cfg(unix)]
fn signals_without_a_terminal_have_their_codes() {
    use rustix::process::{Pid, Signal, kill_process};
    use std::io::{BufRead, BufReader};
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_emu"));
        command.args(["run", "--display", "none", "--serial", "pty"]).stdin(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("emu runs");
        let mut lines = BufReader::new(child.stderr.take().expect("its errors")).lines();
        lines.find(|l| l.as_ref().is_ok_and(|l| l.contains("/dev/pts"))).expect("a line about the pty").expect("text");
        kill_process(Pid::from_child(&child), signal).expect("a signal");
        assert_eq!(child.wait().expect("its end").code(), Some(code), "{signal:?}");
    }
}

#[test]
fn wrong_command_lines_exit_with_2() {
    let dir = TempDir::new("usage");
    let config = dir.file("machine.toml", b"memroy = 1");
    check(&["--flopy", "x"], 2, "--floppy");
    check(&["--mem", "64"], 2, "out of range");
    check(&["--mem", "99999G"], 2, "out of range");
    check(&["--mem", "0"], 2, "out of range");
    check(&["--mem=-1"], 2, "is not a size");
    check(&["--mem", "18446744073709551616"], 2, "is too large");
    check(&["--mem", "3.5X"], 2, "is not a size");
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
#[cfg(unix)]
fn what_stands_in_a_socket_s_place_stays_there() {
    let dir = TempDir::new("socket");
    let file = dir.file("file", b"precious");
    let path = dir.path("socket");
    let _taken = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    check(&["--serial", &format!("unix:{path},server")], 1, "already in use");
    check(&["--serial", &format!("unix:{file},server")], 1, "already in use");
    check(&["--serial", "unix:/nonexistent/x"], 1, "no such file");
    check(&["--serial", "file:/nonexistent/x"], 1, "no such file");
    assert_eq!(std::fs::read(&file).expect("the file"), b"precious");
    assert_eq!(dir.names(), ["file", "socket"]);
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

/// What is printed when the guest `code` dies, with more arguments.
fn last_words(dir: &TempDir, code: &[u8], mode: &str, more: &[&str]) -> String {
    let image = dir.file("dies.img", &floppy(code)) + mode;
    let output = emu(&[&[image.as_str()], more].concat());
    assert!(matches!(output.status.code(), Some(6 | 7)), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Whether `parts` stand in `text` in this order.
fn in_order(text: &str, parts: &[&str]) -> bool {
    parts.iter().try_fold(text, |rest, part| rest.split_once(part).map(|halves| halves.1)).is_some()
}

#[test]
fn a_dead_machine_shows_its_last_instructions() {
    let dir = TempDir::new("death");
    let begun = "last instructions, found by repeating the run";
    // mov cx, 300; loop $; jmp $+2; jmp $+2; cli; hlt: five blocks.
    let loops = [0xB9, 0x2C, 0x01, 0xE2, 0xFE, 0xEB, 0x00, 0xEB, 0x00, 0xFA, 0xF4];
    let text = last_words(&dir, &loops, "", &[]);
    let lines =
        ["mov cx,12Ch", "0000:7c03", "loop", "(300 times)", "0000:7c05", "jmp", "0000:7c07", "jmp", "cli", "hlt"];
    assert!(in_order(&text, &[&[begun][..], &lines].concat()), "{text}");
    // The same after a key: xor ah, ah; int 16h; cli; hlt.
    let waits = [0x30, 0xE4, 0xCD, 0x16, 0xFA, 0xF4];
    let text = last_words(&dir, &waits, "", &["--type", "<wait 300ms>x", "--wait-for", "never"]);
    assert!(in_order(&text, &[begun, "iret", "0000:7c04", "cli", "0000:7c05", "hlt"]), "{text}");
    // lidt [an empty limit]; jmp $+2; int3
    let triple = [0x0F, 0x01, 0x1E, 0x08, 0x7C, 0xEB, 0x00, 0xCC, 0, 0, 0, 0, 0, 0];
    let text = last_words(&dir, &triple, "", &[]);
    assert!(in_order(&text, &[begun, "lidt", "jmp", "0000:7c07", "int3", "last interrupts"]), "{text}");
    // What was written can't be taken back: the last block must do.
    let text = last_words(&dir, &loops, ",mode=write", &[]);
    assert!(in_order(&text, &["last instructions, from memory at 7c09", "cli", "hlt"]), "{text}");
}
