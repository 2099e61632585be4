//! `emu debug` with gdb on Linux kernels, by the names of their functions. The kernel itself tells where they are: the run
//! that is debugged prints its /proc/kallsyms. In that run the host name, a structure of the kernel's data, is planted,
//! overwritten later by another value, and then the kernel is made to panic.
#![cfg(unix)]

mod common;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use common::gdb::{Server, in_order};
use common::{TempDir, emu};

/// What is looked for in the kernel's list of symbols.
const NAMES: [&str; 6] = ["start_kernel", "kernel_init", "ksys_write", "panic", "proc_do_uts_string", "_etext"];
/// What the structure holds in the end. No other memory has this text: the command line has it in two pieces.
const CORRUPTED: &str = "Zapped-host";

/// A kernel, and what a debugger must know of its CPU.
struct Kernel {
    guest: &'static str,
    arch: &'static str,
    long: bool,
    /// Where the kernel's image is mapped, less its physical address.
    base: u64,
}

const I386: Kernel = Kernel { guest: "linux-i386", arch: "i386", long: false, base: 0xC000_0000 };

const AMD64: Kernel = Kernel { guest: "linux-amd64", arch: "x86-64", long: true, base: 0xFFFF_FFFF_8000_0000 };

/// The shell's work as the first process: prints the symbols, changes the structure twice, and has the kernel panic. The
/// kernel's tests of its ciphers would take most of the time.
fn command_line() -> String {
    let patterns: String = NAMES.iter().map(|n| format!(" -e {n}")).collect();
    let (busybox, name) = ("/bin/busybox", "/proc/sys/kernel/hostname");
    let (first, last) = CORRUPTED.split_at(4);
    format!(
        "console=ttyS0,115200 nokaslr panic=0 cryptomgr.notests rdinit={busybox} -- sh -c \"{busybox} mkdir -p /proc; \
         {busybox} mount -t proc p /proc; {busybox} grep -w{patterns} /proc/kallsyms; echo planted >{name}; \
         {busybox} cat {name}; echo {first}''{last} >{name}; echo c >/proc/sysrq-trigger\""
    )
}

/// An ELF file of no code, whose symbols are `symbols`: gdb's `file` takes it.
fn elf(long: bool, symbols: &[(String, u64)]) -> Vec<u8> {
    let word = |value: u64| if long { value.to_le_bytes().to_vec() } else { (value as u32).to_le_bytes().to_vec() };
    let (head, entry, section) = if long { (64u64, 24usize, 64u16) } else { (52, 16, 40) };
    let mut names = vec![0u8];
    let mut table = vec![0u8; entry];
    for (name, address) in symbols {
        let at = (names.len() as u32).to_le_bytes();
        names.extend_from_slice(name.as_bytes());
        names.push(0);
        // A global function in section 1.
        let (info, place) = ([0x12, 0, 1, 0], [word(*address), word(0)].concat());
        let symbol = if long { [&at[..], &info, &place].concat() } else { [&at[..], &place, &info].concat() };
        table.extend_from_slice(&symbol);
    }
    let sections = b"\0.text\0.symtab\0.strtab\0";
    let names_at = head + table.len() as u64;
    let sections_at = names_at + names.len() as u64;
    let headers_at = sections_at + sections.len() as u64;
    let class = if long { 2 } else { 1 };
    let mut file = vec![0x7F, b'E', b'L', b'F', class, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    file.extend([2, 0, if long { 62 } else { 3 }, 0, 1, 0, 0, 0]);
    file.extend([0, 0, headers_at].into_iter().flat_map(word));
    file.extend([0; 4]);
    file.extend([head as u16, 0, 0, section, 5, 4].iter().flat_map(|v| v.to_le_bytes()));
    file.extend_from_slice(&table);
    file.extend_from_slice(&names);
    file.extend_from_slice(sections);
    let text = symbols.iter().map(|s| s.1).min().unwrap_or(0) & !0xFFF;
    // Name, kind, flags, address, place, size, link, info, alignment, size of an entry.
    let headers: [[u64; 10]; 5] = [
        [0; 10],
        [1, 8, 6, text, 0, 0x0200_0000, 0, 0, 16, 0],
        [7, 2, 0, 0, head, table.len() as u64, 3, 1, 8, entry as u64],
        [15, 3, 0, 0, names_at, names.len() as u64, 0, 0, 1, 0],
        [15, 3, 0, 0, sections_at, sections.len() as u64, 0, 0, 1, 0],
    ];
    for [name, kind, flags, address, at, size, link, info, align, entry] in headers {
        file.extend([name as u32, kind as u32].iter().flat_map(|v| v.to_le_bytes()));
        file.extend([flags, address, at, size].into_iter().flat_map(word));
        file.extend([link as u32, info as u32].iter().flat_map(|v| v.to_le_bytes()));
        file.extend([align, entry].into_iter().flat_map(word));
    }
    file
}

/// A file of the built guests, or a word that it is not there.
fn guest(kernel: &Kernel, name: &str) -> Option<String> {
    let cache = std::env::var_os("EMU_CACHE").map(PathBuf::from)?;
    let path = cache.join(kernel.guest).join(name);
    let there = path.exists();
    if !there {
        println!("skipped: {} is not there (scripts/guests makes it)", path.display());
    }
    there.then(|| path.to_string_lossy().into_owned())
}

/// A recorded run up to the panic, and a file of symbols for gdb.
struct Crash {
    recording: String,
    symbols: String,
    /// Where the kernel's code ends.
    etext: u64,
}

fn crash(dir: &TempDir, kernel: &Kernel) -> Option<Crash> {
    let (image, initrd) = (guest(kernel, "vmlinuz")?, guest(kernel, "initrd.gz")?);
    let (recording, log) = (dir.path("linux.emurec"), dir.path("log"));
    let serial = format!("file:{log}");
    let line = command_line();
    let args =
        ["run", "--kernel", &image, "--initrd", &initrd, "--mem", "128M", "--append", &line, "--serial", &serial];
    let out = Command::new(env!("CARGO_BIN_EXE_emu"))
        .args(args)
        .args(["--record", &recording, "--display", "none", "--timeout", "300", "--wait-for", "end Kernel panic"])
        .stdin(Stdio::null())
        .output()
        .expect("emu runs");
    let said = String::from_utf8_lossy(&std::fs::read(&log).expect("the serial log")).into_owned();
    assert!(out.status.success(), "{}\n{said}", String::from_utf8_lossy(&out.stderr));
    assert!(said.lines().any(|l| l == "planted"), "{said}");
    let symbol = |line: &str| {
        let [address, _, name] = line.split_whitespace().collect::<Vec<_>>()[..] else { return None };
        NAMES.contains(&name).then(|| Some((name.to_owned(), u64::from_str_radix(address, 16).ok()?)))?
    };
    let symbols: Vec<(String, u64)> = said.lines().filter_map(symbol).collect();
    assert_eq!(symbols.len(), NAMES.len(), "{symbols:x?}\n{said}");
    let etext = symbols.iter().find(|s| s.0 == "_etext").map_or(0, |s| s.1);
    Some(Crash { recording, symbols: dir.file("vmlinux", &elf(kernel.long, &symbols)), etext })
}

/// Where the kernel's own data has the text, as linear addresses: it lies behind the code, within 16 MiB.
fn in_kernel_data(crash: &Crash, kernel: &Kernel, text: &str) -> Vec<u64> {
    let out =
        emu(&["debug", "--quiet", &crash.recording, "--at", "end", "-x", &format!("find \"{text}\""), "-x", "quit"]);
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let places = said.lines().filter_map(|l| u64::from_str_radix(l.strip_prefix("phys:0x")?, 16).ok());
    places.map(|p| p + kernel.base).filter(|a| (crash.etext..crash.etext + (16 << 20)).contains(a)).collect()
}

/// From the first instruction on, and a step back from the middle to who wrote a return address.
fn forwards(kernel: &Kernel, crash: &Crash) {
    let (arch, file) = (kernel.arch, &crash.symbols);
    let server = Server::start(&[&crash.recording, "--arch", arch], ":0");
    let text = server.gdb(&format!(
        "file {file}\nbreak start_kernel\ncontinue\np $cr0 >> 31 & 1\nbreak kernel_init\ncontinue\n\
         break ksys_write\ncontinue\np $pc == &ksys_write\nset $slot = $esp\nwatch *(int*)$slot\n\
         reverse-continue\nx/i $pc\np (long)$esp - (long)$slot\nstepi\nx/i $pc\n\
         delete\nreverse-stepi\nbreak kernel_init\nreverse-continue\n"
    ));
    let expected = [
        "Breakpoint 1, ",
        " in start_kernel ()",
        // Paging is on.
        "$1 = 1",
        "Breakpoint 2, ",
        " in kernel_init ()",
        "Breakpoint 3, ",
        " in ksys_write ()",
        "$2 = 1",
        // Who wrote the return address: the call, which stands before its step. It may be that of a function which goes on
        // with this one.
        "Hardware watchpoint 4: *(int*)$slot",
        "Old value = ",
        "New value = ",
        "call ",
        "$3 = 4",
        "Breakpoint 5, ",
        " in kernel_init ()",
    ];
    in_order(&text, &expected);
}

/// From the panic to the write that changed the structure, and to the one that planted it.
fn back_from_the_panic(kernel: &Kernel, crash: &Crash) {
    let (arch, file) = (kernel.arch, &crash.symbols);
    let places = in_kernel_data(crash, kernel, CORRUPTED);
    let [victim] = places[..] else { panic!("not in one place: {places:x?}") };
    let server = Server::start(&[&crash.recording, "--arch", arch, "--at", "end"], ":0");
    let text = server.gdb(&format!(
        "file {file}\nbreak panic\nreverse-continue\nx/s {victim:#x}\ndelete\nwatch *(char*){victim:#x}\n\
         reverse-continue\np $pc - (unsigned long)&proc_do_uts_string < 0x200\nx/s {victim:#x}\nstepi\n\
         x/s {victim:#x}\nreverse-stepi\nreverse-continue\n\
         p $pc - (unsigned long)&proc_do_uts_string < 0x200\nx/s {victim:#x}\n"
    ));
    let expected = [
        "Breakpoint 1, ",
        " in panic ()",
        "\"Zapped-host",
        "Old value = 90 'Z'",
        "New value = 112 'p'",
        "$1 = 1",
        "\"planted\"",
        "\"Z",
        "Old value = 112 'p'",
        "New value = 40 '('",
        "$2 = 1",
        "\"(none)\"",
    ];
    in_order(&text, &expected);
}

#[test]
fn gdb_goes_back_in_a_32_bit_kernel_to_who_corrupted_a_structure() {
    let dir = TempDir::new("debug-i386");
    if let Some(crash) = crash(&dir, &I386) {
        forwards(&I386, &crash);
        back_from_the_panic(&I386, &crash);
    }
}

#[test]
fn gdb_goes_back_in_a_64_bit_kernel_to_who_corrupted_a_structure() {
    let dir = TempDir::new("debug-amd64");
    if let Some(crash) = crash(&dir, &AMD64) {
        back_from_the_panic(&AMD64, &crash);
    }
}
