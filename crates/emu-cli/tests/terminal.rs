//! `emu run` as a person at a terminal has it: the menu, small terminals, signals, and a terminal that is closed.
#![cfg(unix)]

mod common;

use common::tty::Tty;
use common::{TempDir, floppy};
use rustix::process::Signal;
use test_roms::roms::desk_floppy;

/// Ctrl-], which opens the menu.
const MENU: &str = "\x1D";
const SIZE: (u16, u16) = (80, 26);

/// A machine with the desk program at its prompt.
fn at_the_desk(dir: &TempDir) -> Tty {
    dir.file("a.img", &desk_floppy(b'A'));
    let mut tty = Tty::start(&["a.img"], &dir.0, SIZE);
    tty.wait_for("boot 1");
    tty
}

fn quit(mut tty: Tty) {
    tty.press(MENU);
    tty.wait_for("q quit");
    tty.press("q");
    assert_eq!(tty.exit_code(), 0);
    assert!(tty.is_sane(), "{}", tty.text());
}

#[test]
fn ctrl_alt_del_and_the_reset_button_boot_again() {
    let dir = TempDir::new("reset");
    let mut tty = at_the_desk(&dir);
    tty.press("hello");
    tty.wait_for("hello");
    tty.press(MENU);
    tty.wait_for("d Ctrl-Alt-Del");
    tty.press("d");
    tty.wait_for("boot 2");
    tty.press("\x1Dr");
    tty.wait_for("boot 3");
    quit(tty);
    assert_eq!(dir.names(), ["a.img"]);
}

#[test]
fn media_are_changed_from_the_menu() {
    let dir = TempDir::new("media");
    let b = dir.file("b.img", &desk_floppy(b'B'));
    let mut tty = at_the_desk(&dir);
    tty.press("r");
    tty.wait_for("A");
    tty.press("\x1Dea");
    tty.press("xr");
    tty.wait_for("x!");
    tty.press("\x1Dia");
    tty.wait_for("image for fd0");
    tty.press(&format!("{b}\r"));
    // The first access after a change fails, and says so [PC/AT TR, INT 13h status 06].
    tty.press("yrr");
    tty.wait("the other diskette", |text| text.contains("y!B") || text.contains("yBB"));
    tty.press("\x1Dia");
    tty.wait_for("image for fd0");
    tty.press("nowhere.img\r");
    tty.wait_for("no such file");
    tty.press(" ");
    quit(tty);
}

#[test]
fn time_is_in_the_menu() {
    let dir = TempDir::new("time");
    let mut tty = at_the_desk(&dir);
    tty.press("hello");
    tty.wait_for("hello");
    tty.press("\x1Dts");
    tty.wait_for("snapshot file (.emusnap): state.emusnap");
    tty.press("\r");
    tty.wait_for("wrote state.emusnap");
    tty.press(" \x1Dtr");
    tty.wait_for("recording file (.emurec): run.emurec");
    tty.press("\r");
    tty.wait_for("wrote run.emurec");
    tty.press(" xyz");
    tty.wait_for("xyz");
    tty.press("\x1Dtb");
    tty.wait_for("what came after is forgotten");
    tty.press(" ");
    tty.wait("the screen of five seconds ago", |text| !text.contains("xyz"));
    quit(tty);
    let emu = |args: &[&str]| {
        let mut emu = std::process::Command::new(env!("CARGO_BIN_EXE_emu"));
        let out = emu.current_dir(&dir.0).args(args).output().expect("emu runs");
        (out.status.code(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
    };
    let (code, said) = emu(&["replay", "run.emurec", "--display", "none", "--screen-text", "-"]);
    assert!(code == Some(0) && said.contains("hello") && said.contains("1 of 1 points"), "{said}");
    let (code, said) = emu(&["run", "state.emusnap", "--display", "none", "--screen-text", "-"]);
    assert!(code == Some(0) && said.contains("hello"), "{said}");
}

#[test]
fn a_screenshot_is_written_where_it_was_asked_for() {
    let dir = TempDir::new("screenshot");
    let mut tty = at_the_desk(&dir);
    tty.press("\x1Ds");
    tty.wait_for("screenshot file (.png): screen.png");
    tty.press(&"\x7F".repeat("screen.png".len()));
    tty.press("shot.png\r");
    tty.wait_for("wrote shot.png");
    assert_eq!(std::fs::read(dir.path("shot.png")).expect("the picture")[..8], *b"\x89PNG\r\n\x1A\n");
    tty.press(" \x1Ds");
    tty.wait_for("screenshot file");
    tty.press("/\r");
    tty.wait_for("is a directory");
    tty.press(" ");
    quit(tty);
    assert_eq!(dir.names(), ["a.img", "shot.png"]);
}

#[test]
fn the_power_button_switches_off() {
    let dir = TempDir::new("power");
    let mut tty = at_the_desk(&dir);
    tty.press("\x1Dp");
    assert_eq!(tty.exit_code(), 0);
    assert!(tty.is_sane());
    assert!(tty.text().contains("the guest switched the machine off"), "{}", tty.text());
}

#[test]
fn a_small_terminal_shows_a_part_and_can_grow() {
    let dir = TempDir::new("small");
    let path = dir.file("a.img", &desk_floppy(b'A'));
    let mut tty = Tty::start(&[&path], &dir.0, (20, 5));
    tty.wait_for("20x4 of 80x25");
    tty.wait_for("boot 1");
    tty.press("0123456789abcdefghijklmnopq");
    // The cursor is kept in sight.
    tty.wait_for("klmnopq");
    tty.press("\x1D");
    tty.wait_for("d Ctrl-Alt-Del");
    tty.press("x");
    tty.resize((100, 30));
    tty.wait_for("0123456789abcdefghijklmnopq");
    assert!(!tty.text().contains("of 80x25"));
    tty.resize((1, 1));
    tty.press("z");
    tty.resize((80, 26));
    tty.wait_for("klmnopqz");
    quit(tty);
}

#[test]
fn signals_end_the_run_and_leave_the_terminal_sane() {
    let dir = TempDir::new("signals");
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let mut tty = at_the_desk(&dir);
        tty.signal(signal);
        assert_eq!(tty.exit_code(), code);
        assert!(tty.is_sane(), "{signal:?}: {}", tty.text());
        assert!(tty.text().contains("ended by signal"), "{signal:?}: {}", tty.text());
    }
    assert_eq!(dir.names(), ["a.img"]);
}

#[test]
fn a_closed_terminal_ends_the_run() {
    let dir = TempDir::new("closed");
    let mut tty = at_the_desk(&dir);
    tty.close();
    assert_eq!(tty.exit_code(), 129);
    assert_eq!(dir.names(), ["a.img"]);
}

#[test]
fn a_serial_line_has_the_terminal_raw_and_gives_it_back() {
    let dir = TempDir::new("serial");
    // COM1 to 8 bits (LCR = 3); then each byte that comes goes back with its bit 5 changed.
    let code = [
        0xBA, 0xFB, 0x03, 0xB0, 0x03, 0xEE, 0xBA, 0xFD, 0x03, 0xEC, 0xA8, 0x01, 0x74, 0xF8, 0xBA, 0xF8, 0x03, 0xEC,
        0x34, 0x20, 0xEE, 0xEB, 0xEF,
    ];
    let image = dir.file("echo.img", &floppy(&code));
    let args: &[&str] = &[&image, "--serial", "stdio", "--display", "none"];
    let mut tty = Tty::start(args, &dir.0, SIZE);
    tty.wait_for("Ctrl-] ends emu");
    std::thread::sleep(std::time::Duration::from_millis(300));
    // Each letter comes back in its other case, and no echo of the terminal's beside it.
    tty.press("Emu");
    tty.wait_for("eMU");
    assert!(!tty.text().contains("Emu"), "{}", tty.text());
    tty.press(MENU);
    assert_eq!(tty.exit_code(), 0);
    assert!(tty.is_sane());
    let mut tty = Tty::start(args, &dir.0, SIZE);
    tty.wait_for("Ctrl-] ends emu");
    tty.close();
    assert_eq!(tty.exit_code(), 129);
}
