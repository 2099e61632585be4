//! `emu debug` with gdb on a Linux kernel, by the names of its functions. The kernel itself tells where they are: the run
//! that is debugged prints its /proc/kallsyms.
#![cfg(unix)]

mod common;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use common::TempDir;
use common::gdb::{Server, in_order};

/// What is looked for in the kernel's list of symbols.
const NAMES: [&str; 4] = ["start_kernel", "kernel_init", "ksys_write", "panic"];

/// The shell's work as the first process: prints the symbols, and switches off. The kernel's tests of its ciphers would take
/// most of the time.
fn command_line() -> String {
    let patterns: String = NAMES.iter().map(|n| format!(" -e {n}")).collect();
    let busybox = "/bin/busybox";
    format!(
        "console=ttyS0,115200 nokaslr panic=-1 cryptomgr.notests rdinit={busybox} -- sh -c \"{busybox} mkdir -p /proc; {busybox} mount -t \
         proc p /proc; {busybox} grep -w{patterns} /proc/kallsyms; {busybox} poweroff -f\""
    )
}

/// An ELF file of no code, whose symbols are `symbols`: gdb's `file` takes it.
fn elf(symbols: &[(String, u32)]) -> Vec<u8> {
    let mut names = vec![0u8];
    let mut table = vec![0u8; 16];
    for (name, address) in symbols {
        let at = names.len() as u32;
        names.extend_from_slice(name.as_bytes());
        names.push(0);
        // A global function in section 1.
        table.extend([at.to_le_bytes(), address.to_le_bytes(), [0; 4], [0x12, 0, 1, 0]].concat());
    }
    let sections = b"\0.text\0.symtab\0.strtab\0";
    let (table_at, names_at) = (52u32, 52 + table.len() as u32);
    let sections_at = names_at + names.len() as u32;
    let headers_at = sections_at + sections.len() as u32;
    let mut file = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x03\0\x01\0\0\0".to_vec();
    file.extend([0, 0, headers_at, 0].iter().flat_map(|v: &u32| v.to_le_bytes()));
    file.extend([52u16, 0, 0, 40, 5, 4].iter().flat_map(|v| v.to_le_bytes()));
    file.extend_from_slice(&table);
    file.extend_from_slice(&names);
    file.extend_from_slice(sections);
    let text = 0xC100_0000u32;
    let headers: [[u32; 10]; 5] = [
        [0; 10],
        [1, 8, 6, text, 0, 0x0100_0000, 0, 0, 16, 0],
        [7, 2, 0, 0, table_at, table.len() as u32, 3, 1, 4, 16],
        [15, 3, 0, 0, names_at, names.len() as u32, 0, 0, 1, 0],
        [15, 3, 0, 0, sections_at, sections.len() as u32, 0, 0, 1, 0],
    ];
    file.extend(headers.iter().flatten().flat_map(|v| v.to_le_bytes()));
    file
}

/// A file of the built guests, or a word that it is not there.
fn guest(name: &str) -> Option<String> {
    let cache = std::env::var_os("EMU_CACHE").map(PathBuf::from)?;
    let path = cache.join("linux-i386").join(name);
    let there = path.exists();
    if !there {
        println!("skipped: {} is not there (scripts/guests makes it)", path.display());
    }
    there.then(|| path.to_string_lossy().into_owned())
}

#[test]
fn gdb_breaks_in_the_linux_kernel_and_goes_back_to_who_wrote() {
    let (Some(kernel), Some(initrd)) = (guest("vmlinuz"), guest("initrd.gz")) else { return };
    let dir = TempDir::new("debug-linux");
    let (recording, log) = (dir.path("linux.emurec"), dir.path("log"));
    let serial = format!("file:{log}");
    let line = command_line();
    let args =
        ["run", "--kernel", &kernel, "--initrd", &initrd, "--mem", "128M", "--append", &line, "--serial", &serial];
    let out = Command::new(env!("CARGO_BIN_EXE_emu"))
        .args(args)
        .args(["--record", &recording, "--display", "none", "--timeout", "300"])
        .stdin(Stdio::null())
        .output()
        .expect("emu runs");
    let said = String::from_utf8_lossy(&std::fs::read(&log).expect("the serial log")).into_owned();
    assert!(out.status.success(), "{}\n{said}", String::from_utf8_lossy(&out.stderr));
    let symbol = |line: &str| {
        let [address, _, name] = line.split_whitespace().collect::<Vec<_>>()[..] else { return None };
        NAMES.contains(&name).then(|| Some((name.to_owned(), u32::from_str_radix(address, 16).ok()?)))?
    };
    let symbols: Vec<(String, u32)> = said.lines().filter_map(symbol).collect();
    assert_eq!(symbols.len(), NAMES.len(), "{symbols:x?}\n{said}");
    let file = dir.file("vmlinux", &elf(&symbols));
    let server = Server::start(&[&recording, "--arch", "i386"], ":0");
    let text = server.gdb(&format!(
        "file {file}\nbreak start_kernel\ncontinue\np $cr0 >> 31\nbreak kernel_init\ncontinue\nbreak ksys_write\ncontinue\n\
         p $pc == ksys_write\nset $slot = $esp\nwatch *(int*)$slot\nreverse-continue\nx/i $pc\np (int)$esp - (int)$slot\nstepi\n\
         p $pc == ksys_write\ndelete\nreverse-stepi\nbreak kernel_init\nreverse-continue\n"
    ));
    in_order(
        &text,
        &[
            "Breakpoint 1, ",
            " in start_kernel ()",
            // Paging is on.
            "$1 = 1",
            "Breakpoint 2, ",
            " in kernel_init ()",
            "Breakpoint 3, ",
            " in ksys_write ()",
            "$2 = 1",
            // Who wrote the return address: the call, which stands before its step.
            "Hardware watchpoint 4: *(int*)$slot",
            "Old value = ",
            "New value = ",
            "call ",
            "<ksys_write>",
            "$3 = 4",
            "$4 = 1",
            "Breakpoint 5, ",
            " in kernel_init ()",
        ],
    );
}
