//! `emu debug`: with the real gdb, by its own console, and with clients that misbehave.
#![cfg(unix)]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::gdb::{PATIENCE, Server, in_order, stdout};
use common::{TempDir, outcome};
use test_roms::roms::{Bug, FOUND, MAGIC, STRUCTURE, bugs};

const EMU: &str = env!("CARGO_BIN_EXE_emu");
static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// The planted bug `name`, as a recording of a run in which it has shown.
fn recorded(name: &str) -> (TempDir, Bug, String) {
    // Tests run side by side.
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let dir = TempDir::new(&format!("debug-{number}"));
    let bug = bugs().into_iter().find(|b| b.name == name).expect("a bug of this name");
    let image = dir.file("bug.img", &bug.floppy());
    let file = dir.path("bug.emurec");
    let args = ["run", &image, "--record", &file, "--display", "none", "--debug-console", "stdio", "-q"];
    let out = Command::new(EMU).args(args).stdin(Stdio::null()).output().expect("emu runs");
    assert_eq!(String::from_utf8_lossy(&out.stdout), bug.output);
    assert_eq!(out.status.code(), Some(64 + i32::from(FOUND)));
    (dir, bug, file)
}

/// `emu debug` by its console, fed with `script`.
fn console(args: &[&str], script: &str) -> Output {
    let mut child = Command::new(EMU)
        .arg("debug")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("emu starts");
    child.stdin.take().expect("its input").write_all(script.as_bytes()).expect("emu reads");
    child.wait_with_output().expect("emu ends")
}

#[test]
fn gdb_goes_back_to_the_write_that_corrupted_a_structure() {
    let (_dir, bug, file) = recorded("corrupted structure");
    let server = Server::start(&[&file], ":0");
    let check = bug.symbol("check");
    let culprit = format!("0x{:08x} in ?? ()", bug.symbol("culprit"));
    let text = server.gdb(&format!(
        "break *{check:#x}\ncontinue\nx/1hx {STRUCTURE:#x}\nwatch *(unsigned short*){STRUCTURE:#x}\nreverse-continue\n\
         p $edi\np $ecx\nx/1hx {STRUCTURE:#x}\nstepi\nx/1hx {STRUCTURE:#x}\nreverse-stepi\nx/1hx {STRUCTURE:#x}\n\
         p $eip == {:#x}\n",
        bug.symbol("culprit")
    ));
    let broken = format!("{STRUCTURE:#x}:\t0x0005");
    let whole = format!("{STRUCTURE:#x}:\t{MAGIC:#06x}");
    in_order(&text, &["Breakpoint 1, ", &broken, "Hardware watchpoint 2", &culprit]);
    // DI has come to the structure, with the one word too many to go.
    in_order(&text, &[&culprit, &format!("$1 = {STRUCTURE}"), "$2 = 1", &whole, &broken, &whole, "$3 = 1"]);
}

#[test]
fn gdb_reports_both_ends_and_steps_back_from_anywhere() {
    let (_dir, _bug, file) = recorded("corrupted structure");
    let server = Server::start(&[&file], ":0");
    let text = server.gdb(
        "p $eip\nmonitor tick\ncontinue\nmonitor tick\nreverse-stepi\nmonitor tick\nreverse-continue\nmonitor tick\n\
         stepi\nmonitor tick\nmonitor goto 1000\nmaintenance flush register-cache\nreverse-stepi\nmonitor tick\n\
         info registers cs cr0 efer ip mxcsr fctrl\nmonitor info pic\nmonitor info tlb\nmonitor help\nmonitor nonsense\n",
    );
    in_order(&text, &["$1 = (void (*)()) 0xfffffff0", "No more reverse-execution history"]);
    assert_eq!(text.matches("No more reverse-execution history").count(), 2, "{text}");
    in_order(&text, &["cs  ", "cr0  ", "efer  ", "ip  ", "mxcsr  ", "fctrl  "]);
}

#[test]
fn gdb_takes_the_registers_of_every_width() {
    let (_dir, _bug, file) = recorded("self-modifying loop");
    for (arch, last, wide) in [("i8086", "xmm7", "i8086"), ("i386", "xmm7", "i386"), ("x86-64", "xmm15", "i386:x86-64")]
    {
        let server = Server::start(&[&file, "--arch", arch], ":0");
        let text = server.gdb(&format!(
            "show architecture\nstepi 5\nreverse-stepi 5\np/x $ip\np ${last}.uint128\np $fs_base\np/x $cr0\np/x $fctrl\n\
             p $st0\np $mxcsr\np/x $dr6\n"
        ));
        let shown = format!("(currently \"{wide}\")");
        in_order(&text, &[&shown, "$1 = 0xfff0", "$2 = 0", "$3 = 0", "$4 = 0x60000010", "$5 = 0x40", "$6 = 0"]);
        in_order(&text, &["$7 = [ IM DM ZM OM UM PM ]", "$8 = 0xffff0ff0"]);
    }
}

#[test]
fn monitor_commands_answer() {
    let (dir, _bug, file) = recorded("corrupted structure");
    let server = Server::start(&[&file], ":0");
    // What monitor says goes to gdb's standard error.
    let log = dir.path("log");
    let picture = dir.path("screen.png");
    server.gdb(&format!(
        "set logging file {log}\nset logging redirect on\nset logging enabled on\nmonitor tick\nmonitor goto 300000\n\
         monitor why {STRUCTURE:#x}+2\nmonitor info pic\nmonitor info tlb\nmonitor screenshot {picture}\n\
         monitor help why\nmonitor continue\nmonitor hash\nset logging enabled off\n"
    ));
    let said = std::fs::read_to_string(&log).expect("the log");
    in_order(
        &said,
        &[
            "tick 0  f000:fff0  jmp far",
            "a recording, known from tick 0 to tick ",
            "tick 300000  ",
            "gdb has not noticed yet",
            "rep stosw [di]: ef be -> 05 00",
            "master lines=",
            "paging is off",
            "wrote ",
            "why ",
            "no monitor command `continue`",
            "tick 300000 state ",
        ],
    );
    assert!(std::fs::read(picture).expect("a picture").starts_with(b"\x89PNG"));
}

#[test]
fn gdb_sees_reads_writes_and_hardware_breakpoints() {
    let (_dir, bug, file) = recorded("self-modifying loop");
    let server = Server::start(&[&file], ":0");
    let target = bug.symbol("target");
    let check = bug.symbol("check");
    let text = server.gdb(&format!(
        "hbreak *{check:#x}\ncontinue\nawatch *(unsigned char*){target:#x}\nreverse-continue\nstepi\nx/1bx {target:#x}\n\
         delete\nrwatch *(unsigned char*){:#x}\nreverse-continue\nstepi\ndelete\ninfo breakpoints\n",
        target + 1
    ));
    in_order(
        &text,
        &[
            "Breakpoint 1, ",
            "Hardware access (read/write) watchpoint 2",
            &format!("0x{:08x} in ?? ()", bug.symbol("culprit")),
            &format!("{target:#x}:\t0xb1"),
            "Hardware read watchpoint 3",
        ],
    );
}

#[test]
fn the_console_finds_each_bug_by_going_back() {
    let (_dir, bug, file) = recorded("interrupt race");
    let script = format!(
        "break {:#x}\ncontinue\nwatch {STRUCTURE:#x}+2\nreverse\nreverse\nback interrupt\nu pc 1\n",
        bug.symbol("lost")
    );
    let text = stdout(&console(&[&file, "-q"], &script));
    let place = |name: &str, extra: u64| format!("0000:{:x}  ", bug.symbol(name) + extra);
    in_order(
        &text,
        &[
            &place("lost", 0),
            // The store of a sum that was old by then; before it, the handler's count; and the interrupt in between.
            "watchpoint 1",
            &place("store", 0),
            "watchpoint 1",
            &place("handler", 1),
        ],
    );
    let interrupted = text.lines().rfind(|l| l.starts_with("tick ")).expect("a last place");
    let at = interrupted.split_whitespace().nth(2).and_then(|w| w.split_once(':')).expect("an address").1;
    let at = u64::from_str_radix(at, 16).expect("hexadecimal");
    assert!((bug.symbol("load") + 1..=bug.symbol("store")).contains(&at), "{text}");

    let (_dir, bug, file) = recorded("self-modifying loop");
    let target = bug.symbol("target");
    let out = console(
        &[&file, "-q"],
        &format!("goto end\nwhy {target:#x}\nwhen {target:#x} 0xb1\nregs bx\nx {target:#x} 1\n"),
    );
    let text = stdout(&out);
    in_order(&text, &["inc byte ptr [bx]: b0 -> b1", &place_of(&bug, "culprit"), &format!("{target:#010x}  b0")]);
}

fn place_of(bug: &Bug, name: &str) -> String {
    format!("0000:{:x}  ", bug.symbol(name))
}

#[test]
fn the_console_moves_by_every_unit_and_back_to_where_it_was() {
    let (_dir, _bug, file) = recorded("interrupt race");
    for unit in ["", "block", "call", "interrupt"] {
        let script = format!("goto 300000\nhash\nstep {unit} 3\nback {unit} 3\nhash\ngoto 300000\nhash\n");
        let text = stdout(&console(&[&file, "-q"], &script));
        let hashes: Vec<&str> = text.lines().filter(|l| l.contains(" state ")).collect();
        assert_eq!(hashes.len(), 3, "{unit}: {text}");
        // Going somewhere and back, a tick has one state only.
        assert_eq!(hashes[0], hashes[2], "{unit}: {text}");
        let moved: Vec<u64> =
            text.lines().filter_map(|l| l.strip_prefix("tick ")?.split_whitespace().next()?.parse().ok()).collect();
        assert!(moved[2] == 300_000 || moved.len() > 5, "{unit}: {moved:?}");
        assert!(moved[3] > 300_000 && moved[4] < moved[3], "{unit}: {moved:?}\n{text}");
    }
}

#[test]
fn the_console_says_what_is_wrong() {
    let (_dir, _bug, file) = recorded("corrupted structure");
    let script = "nonsense\ngoto\ngoto 99999999999\nbreak\nbreak xyz\nwatch 0x600+99999\nx\nx phys:zz\nset eax 5\n\
                  set 0x600 1\nwhy 0xfffffff0\nfind\nwhen 0x600 x\ndelete 7\ninfo\nscreenshot\nregs q\ntype x\nstep 1 q\n\
                  help nothing\nphys\n";
    let out = console(&[&file, "-q"], script);
    let text = stdout(&out);
    assert_eq!(out.status.code(), Some(1), "{text}");
    let lines: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(lines.len(), script.lines().count(), "one line for each mistake:\n{text}");
    in_order(
        &text,
        &["no command `nonsense`", "goto: needs a tick", "is behind the last that is known", "can't be changed"],
    );
    assert!(!text.contains("panicked") && !String::from_utf8_lossy(&out.stderr).contains("panicked"));
}

#[test]
fn a_live_run_can_be_changed_and_a_taken_port_is_told() {
    let dir = TempDir::new("debug-live");
    let bug = bugs().into_iter().find(|b| b.name == "corrupted structure").expect("the bug");
    let image = dir.file("bug.img", &bug.floppy());
    // The structure is repaired before it is looked at, so the program sees nothing.
    let script = format!(
        "break {:#x}\ncontinue\nset {STRUCTURE:#x}+2 {MAGIC:#x}\nx {STRUCTURE:#x} 2\nset edx 0x1234\nregs edx\ndelete all\n\
         step 3\nback 2\ncontinue {}\nregs eip\n",
        bug.symbol("check"),
        2_000_000
    );
    let log = dir.path("console");
    let text = stdout(&console(&[&image, "-q", "--debug-console", &format!("file:{log}")], &script));
    in_order(&text, &["breakpoint\n", "ef be", "edx 0x1234", "tick 2000000"]);
    assert_eq!(std::fs::read(&log).expect("what the program said"), b"");
    // What was changed ends the past ...
    let script = "goto 300000\nset edx 0x1234\ngoto 299999\ngoto 300000\nregs edx\n";
    in_order(&stdout(&console(&[&image, "-q"], script)), &["is before the first that is kept, 300000", "edx 0x1234"]);
    // ... and would be missing in a recording, which ends whole wherever the debugger leaves the run.
    let file = dir.path("live.emurec");
    let script = "goto 300000\nset edx 0x1234\nback 10\n";
    let said = stdout(&console(&[&image, "-q", "--record", &file], script));
    in_order(&said, &["this run is being recorded", "tick 299990"]);
    let (code, said) = outcome(&["replay", &file, "--display", "none"]);
    assert!(code == 0 && said.contains("to tick 300000:") && !said.contains("before its run did"), "{said}");

    let out = console(&[&image, "--debug-console", "stdio"], "");
    assert_eq!(out.status.code(), Some(2), "the standard input is the debugger's");

    let server = Server::start(&[&image], ":0");
    let out = Command::new(EMU).args(["debug", "--gdb", &server.address, &image]).output().expect("emu runs");
    assert_eq!(out.status.code(), Some(1));
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("can't listen for gdb at"), "{said}");
}

/// Numbers that only look random.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// A packet of gdb's protocol.
fn packet(body: &str) -> Vec<u8> {
    let sum = body.bytes().fold(0u8, u8::wrapping_add);
    format!("${body}#{sum:02x}").into_bytes()
}

/// What a client that means no good sends.
fn nonsense(noise: &mut Noise, round: u64) -> Vec<u8> {
    const BODIES: [&str; 24] = [
        "qSupported:multiprocess+",
        "?",
        "g",
        "G00",
        "p999999999",
        "P0=00",
        "m0,ffffffffffffffff",
        "mffffffffffffffff,10",
        "M0,4:deadbeef",
        "X0,4:abcd",
        "Z0,ffffffffffffffffff,1",
        "Z2,0,ffffffffffffffff",
        "Z4,600,2",
        "z9,0,0",
        "vCont;s",
        "vCont;r0,ffffffffffffffff",
        "bs",
        "qRcmd,ff00fe",
        "qRcmd,676f746f20393939393939393939393939",
        "vCont?",
        "Hgp0.0",
        "qXfer:features:read:target.xml:ffffffffffffffff,ffff",
        "QStartNoAckMode",
        "vMustReplyEmpty",
    ];
    match round % 5 {
        0 => (0..noise.next() % 300).map(|_| noise.next() as u8).collect(),
        1 => packet(BODIES[(noise.next() % 24) as usize]),
        2 => {
            let whole = packet(BODIES[(noise.next() % 24) as usize]);
            let n = noise.next() as usize % whole.len();
            whole[..n].to_vec()
        }
        3 => {
            let mut bytes = packet(BODIES[(noise.next() % 24) as usize]);
            let at = noise.next() as usize % bytes.len();
            bytes[at] = noise.next() as u8;
            bytes
        }
        _ => (0..8).flat_map(|_| packet(BODIES[(noise.next() % 24) as usize])).chain([3]).collect(),
    }
}

#[test]
fn clients_that_misbehave_leave_the_machine_whole() {
    let (_dir, bug, file) = recorded("corrupted structure");
    let mut server = Server::start(&[&file], ":0");
    let mut noise = Noise(0x5EED);
    for round in 0..150 {
        let Ok(mut stream) = TcpStream::connect(&server.address) else { panic!("round {round}: nobody listens") };
        stream.set_read_timeout(Some(Duration::from_millis(20))).expect("a time limit");
        let bytes = nonsense(&mut noise, round);
        let _ = stream.write_all(&bytes);
        if round % 3 == 0 {
            let _ = stream.read(&mut [0; 512]);
        }
        // It vanishes, with or without a word.
        assert!(server.is_alive(), "round {round}: emu ended after {:?}", String::from_utf8_lossy(&bytes));
    }
    // One that asks for everything and never reads.
    let mut stream = TcpStream::connect(&server.address).expect("a connection");
    for _ in 0..2000 {
        let _ = stream.write_all(&packet("g"));
    }
    drop(stream);
    let check = bug.symbol("check");
    let text = server.gdb(&format!("reverse-continue\nbreak *{check:#x}\ncontinue\n"));
    in_order(&text, &["Breakpoint 1, "]);
    let mut killer = TcpStream::connect(&server.address).expect("a connection");
    killer.write_all(&packet("k")).expect("sent");
    assert_eq!(server.code(), Some(0), "gdb's kill ends emu");
}

#[test]
fn ctrl_c_stops_a_run_and_unix_sockets_serve() {
    let dir = TempDir::new("debug-unix");
    let path = dir.path("gdb");
    // The demo waits for keys for ever.
    let server = Server::start(&[], &format!("unix:{path}"));
    let mut stream = std::os::unix::net::UnixStream::connect(&path).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    stream.write_all(&packet("vCont;c")).expect("sent");
    std::thread::sleep(Duration::from_millis(300));
    stream.write_all(&[3]).expect("sent");
    let mut said = Vec::new();
    while !said.windows(3).any(|w| w == b"S02") {
        let mut buffer = [0; 256];
        let n = stream.read(&mut buffer).expect("an answer");
        assert!(n > 0, "{}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&buffer[..n]);
    }
    // Vanishing in the middle of a run leaves the machine where it is; the next client is served.
    stream.write_all(&packet("vCont;c")).expect("sent");
    drop(stream);
    let text = server.gdb("p $cs\nstepi\nreverse-stepi\n");
    in_order(&text, &["$1 = "]);
    let mut killer = std::os::unix::net::UnixStream::connect(&path).expect("a connection");
    killer.write_all(&packet("k")).expect("sent");
    assert_eq!(server.code(), Some(0));
    assert!(!std::path::Path::new(&path).exists(), "the socket's file is left behind");
}
