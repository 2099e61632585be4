//! `emu disk` as people use it: every verb, with and without `--json`, and what they see when something is wrong.

mod common;

use std::process::{Command, Output, Stdio};

use common::TempDir;
use serde_json::Value;

fn emu(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_emu")).arg("disk").args(args).stdin(Stdio::null()).output().expect("emu runs")
}

/// What it prints when all is well.
fn ok(args: &[&str]) -> String {
    let output = emu(args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&ok(&[args, &["--json"]].concat())).unwrap_or_else(|e| panic!("{args:?}: {e}"))
}

/// The one line that it complains with, and nothing else.
fn fails(code: i32, args: &[&str]) -> String {
    let output = emu(args);
    let text = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    assert!(text.starts_with("emu: ") && text.lines().count() == 1, "{args:?}: {text}");
    assert!(output.stdout.is_empty(), "{args:?}");
    text
}

/// A raw disk of 4 MiB with data at both ends, a partition of 1 MiB at 1 MiB, and holes.
fn disk(dir: &TempDir) -> String {
    let mut bytes = vec![0; 4 << 20];
    bytes[446 + 4] = 0x0C;
    bytes[446 + 8..446 + 12].copy_from_slice(&2048u32.to_le_bytes());
    bytes[446 + 12..446 + 16].copy_from_slice(&2048u32.to_le_bytes());
    bytes[510..512].copy_from_slice(&[0x55, 0xAA]);
    bytes[1 << 20..(1 << 20) + 5000].fill(0x5A);
    bytes[(4 << 20) - 700..].fill(7);
    dir.file("d.img", &bytes)
}

#[test]
fn all_formats_are_converted_into_and_back() {
    let dir = TempDir::new("convert");
    let raw = disk(&dir);
    for (name, options) in [
        ("a.qcow2", &["-c", "--sync"][..]),
        ("b.qcow2", &["-o", "cluster_size=4K,extended_l2=off"]),
        ("a.vmdk", &[]),
        ("b.vmdk", &["-o", "subformat=streamOptimized"]),
        ("c.vmdk", &["-o", "subformat=twoGbMaxExtentSparse,extent_size=1M"]),
        ("a.vhd", &[]),
        ("a.vhdx", &[]),
        ("a.vdi", &[]),
        ("a.001", &["-o", "extent_size=1M"]),
        ("a.cue", &[]),
    ] {
        let image = dir.path(name);
        let told = json(&[&["convert", &raw, &image, "--hash"][..], options].concat());
        assert_eq!(told["virtual-size"], 4 << 20, "{name}");
        assert_eq!(told["sha256"], json(&["info", &raw, "--hash"])["sha256"], "{name}");
        assert!(told["written"].as_u64().unwrap() < 1 << 20, "{name}: holes were copied");
        assert_eq!(ok(&["compare", &raw, &image]), "Images are identical.\n");
        let back = dir.path("back.img");
        assert_eq!(ok(&["convert", &image, &back, "--force"]), "");
        assert_eq!(std::fs::read(&back).unwrap(), std::fs::read(&raw).unwrap(), "{name}");
    }
    let floppy = dir.file("f.img", &vec![0xF6; 1_474_560]);
    ok(&["convert", &floppy, &dir.path("f.imd")]);
    assert_eq!(json(&["compare", &floppy, &dir.path("f.imd"), "-s"])["equal"], true);
    assert!(dir.names().iter().all(|n| !n.contains("emu-convert")), "{:?}", dir.names());
}

#[test]
fn images_are_described() {
    let dir = TempDir::new("info");
    let image = dir.path("a.qcow2");
    assert_eq!(ok(&["create", &image, "1G"]), format!("{image}: qcow2, 1 GiB (1073741824 bytes)\n"));
    let text = ok(&["info", &image]);
    for line in ["file format: qcow2", "virtual size: 1 GiB (1073741824 bytes)", "cluster_size: 65536"] {
        assert!(text.lines().any(|l| l == line), "{text}");
    }
    let told = json(&["create", &dir.path("c.vhdx"), "3M"]);
    assert_eq!((&told["format"], &told["virtual-size"]), (&"vhdx".into(), &(3 << 20).into()));
    let over = dir.path("b.qcow2");
    ok(&["create", "-q", &over, "-b", "a.qcow2", "-F", "qcow2"]);
    let chain = json(&["info", "--backing-chain", &over]);
    assert_eq!(chain.as_array().map(Vec::len), Some(2));
    assert_eq!((&chain[0]["backing-filename"], &chain[0]["format"]), (&"a.qcow2".into(), &"qcow2".into()));
    std::fs::remove_file(&image).unwrap();
    assert_eq!(json(&["info", &over])["backing-filename"], "a.qcow2"); // of one image alone
    let missing = fails(3, &["info", "--backing-chain", &over]);
    assert!(missing.contains("the parent of") && missing.ends_with("no such file or directory"), "{missing}");
}

#[test]
fn damage_is_found_and_repaired() {
    let dir = TempDir::new("check");
    let image = dir.path("a.qcow2");
    ok(&["convert", &disk(&dir), &image]);
    assert!(ok(&["check", &image]).starts_with("No errors were found on the image.\n"));
    let mut bytes = std::fs::read(&image).unwrap();
    let table = u64::from_be_bytes(bytes[48..56].try_into().unwrap()) as usize;
    let block = u64::from_be_bytes(bytes[table..table + 8].try_into().unwrap()) as usize;
    bytes[block + 1] = 0; // nobody uses the header's cluster, it says
    std::fs::write(&image, &bytes).unwrap();
    let bad = emu(&["check", &image]);
    assert_eq!(bad.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&bad.stdout).contains("ERROR cluster 0 is used 1 times, its reference count is 0"));
    let bad = emu(&["check", "--json", &image]);
    let told: Value = serde_json::from_slice(&bad.stdout).unwrap();
    assert_eq!((&told["corruptions"], &told["checked"]), (&1.into(), &true.into()));
    assert!(ok(&["repair", &image]).contains("repaired"));
    assert_eq!(json(&["check", &image])["corruptions"], 0);
    assert_eq!(emu(&["check", &dir.path("d.img")]).status.code(), Some(6));
}

#[test]
fn sizes_change() {
    let dir = TempDir::new("resize");
    for (name, options) in
        [("a.img", ""), ("a.qcow2", ""), ("a.vhd", ""), ("b.vhd", "subformat=fixed"), ("a.vhdx", ""), ("a.vdi", "")]
    {
        let image = dir.path(name);
        let options = if options.is_empty() { vec![] } else { vec!["-o", options] };
        ok(&[&["create", "-q", &image, "64M"][..], &options].concat());
        assert_eq!(ok(&["resize", &image, "-32M", "--shrink"]), "Image resized.\n");
        let told = json(&["resize", &image, "+16M"]);
        assert_eq!((&told["was"], &told["virtual-size"]), (&(32 << 20).into(), &(48 << 20).into()), "{name}");
        assert_eq!(json(&["info", &image])["virtual-size"], 48 << 20, "{name}");
        assert!(fails(2, &["resize", &image, "1M"]).contains("--shrink"));
        assert!(fails(2, &["resize", &image, "1000", "--shrink"]).contains("whole sectors"));
    }
    for (name, larger) in [("c.vdi", "600G"), ("c.vmdk", "5G"), ("d.vmdk", "300M")] {
        let image = dir.path(name);
        let options = if name == "d.vmdk" { &["-o", "subformat=vmfsSparse"][..] } else { &[] };
        ok(&[&["convert", "-q", &disk(&dir), &image][..], options].concat());
        ok(&["resize", "-q", &image, larger]);
        assert_eq!(json(&["check", &image])["corruptions"], 0);
        assert_eq!(json(&["compare", &dir.path("d.img"), &image])["equal"], true);
    }
    assert!(fails(3, &["resize", &dir.path("c.vmdk"), "1G", "--shrink"]).contains("not made smaller"));
    // Large ones, of every format.
    for name in ["l.img", "l.qcow2", "l.vmdk", "l.vhdx", "l.vdi"] {
        let image = dir.path(name);
        ok(&["create", "-q", &image, "3T"]);
        assert_eq!(json(&["info", &image])["virtual-size"], 3_u64 << 40, "{name}");
        // A VMDK has all of its 50 million entries from the start: a check takes seconds.
        assert!(name == "l.vmdk" || [Some(0), Some(6)].contains(&emu(&["check", &image]).status.code()), "{name}");
    }
    assert!(fails(3, &["create", &dir.path("m.vmdk"), "65T"]).contains("at most 64 TiB"));
    assert!(fails(3, &["create", &dir.path("m.vmdk"), "3T", "-o", "subformat=vmfsSparse"]).contains("at most 2 TiB"));
    let image = dir.path("e.vdi");
    ok(&["create", "-q", &image, "64M"]);
    assert!(fails(2, &["convert", &image, &dir.path("d.vdi"), "--size", "1M"]).contains("nothing is cut off"));
    ok(&["convert", &image, &dir.path("d.vdi"), "--size", "4T"]);
    assert_eq!(json(&["info", &dir.path("d.vdi")])["virtual-size"], 4u64 << 40);
}

#[test]
fn overlays_are_committed_and_moved() {
    let dir = TempDir::new("commit");
    let raw = disk(&dir);
    for format in ["qcow2", "vmdk", "vhd", "vhdx", "vdi"] {
        let (base, top) = (dir.path(&format!("base.{format}")), dir.path(&format!("top.{format}")));
        ok(&["create", "-q", &base, "4M"]);
        ok(&["convert", &raw, &top, "-B", &format!("base.{format}")]);
        assert_eq!(json(&["info", &top])["backing-filename"], format!("base.{format}"));
        assert_eq!(json(&["compare", &raw, &top])["equal"], true, "{format}");
        assert_eq!(json(&["commit", "-d", &top])["emptied"], false);
        assert!(ok(&["commit", &top]).starts_with("Image committed: "));
        assert_eq!(json(&["compare", &raw, &base])["equal"], true, "{format}");
        assert_eq!(json(&["compare", &raw, &top])["equal"], true, "{format}");
    }
    let (base, top) = (dir.path("base.qcow2"), dir.path("top.qcow2"));
    assert_eq!(json(&["rebase", &top, "-b", "base.qcow2", "-F", "qcow2"])["backing-filename"], "base.qcow2");
    assert_eq!(ok(&["rebase", &top, "-b", ""]), "Image rebased.\n");
    std::fs::remove_file(base).unwrap();
    assert_eq!(json(&["compare", &raw, &top])["equal"], true);
    assert!(fails(3, &["commit", &top]).contains("no parent"));
    let moved = fails(3, &["rebase", &top, "-b", "none.qcow2"]);
    assert!(moved.ends_with("no such file or directory"), "{moved}");
}

#[test]
fn snapshots_come_and_go() {
    let dir = TempDir::new("snapshot");
    let image = dir.path("a.qcow2");
    ok(&["convert", &disk(&dir), &image]);
    assert_eq!(json(&["snapshot", "-c", "one", &image])[0]["name"], "one");
    let list = json(&["snapshot", "-l", &image]);
    assert_eq!((&list[0]["name"], &list[0]["virtual-size"]), (&"one".into(), &(4 << 20).into()));
    assert!(ok(&["snapshot", "-l", &image]).contains("one"));
    ok(&["convert", "-l", "one", &image, &dir.path("s.img")]);
    assert_eq!(json(&["compare", &dir.path("s.img"), &dir.path("d.img")])["equal"], true);
    ok(&["snapshot", "-a", "one", &image]);
    ok(&["snapshot", "-d", "one", &image]);
    assert_eq!(json(&["snapshot", "-l", &image]), Value::Array(vec![]));
    assert!(fails(3, &["snapshot", "-d", "one", &image]).contains("emu disk snapshot -l"));
    ok(&["create", "-q", &dir.path("a.vhd"), "1M"]);
    assert!(fails(3, &["snapshot", "-c", "one", &dir.path("a.vhd")]).contains("qcow2 has"));
}

#[test]
fn differences_maps_and_pieces() {
    let dir = TempDir::new("map");
    let raw = disk(&dir);
    let mut other = std::fs::read(&raw).unwrap();
    other[3_000_000] = 1;
    let other = dir.file("o.img", &other);
    let output = emu(&["compare", &raw, &other]);
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Content mismatch at offset 3000000!\n");

    let image = dir.path("a.qcow2");
    ok(&["convert", &raw, &image]);
    let map = json(&["map", &image]);
    let entries = map.as_array().unwrap();
    let total: u64 = entries.iter().map(|e| e["length"].as_u64().unwrap()).sum();
    assert_eq!(total, 4 << 20);
    let data = entries.iter().find(|e| e["start"] == 1 << 20).unwrap();
    assert_eq!((&data["data"], &data["zero"]), (&true.into(), &false.into()));
    let at = data["offset"].as_u64().unwrap() as usize;
    assert_eq!(std::fs::read(&image).unwrap()[at..at + 5000], [0x5A; 5000]);
    assert!(ok(&["map", &image]).contains("0x100000"));

    let list = json(&["extract", &image]);
    assert_eq!((&list[0]["number"], &list[0]["start"], &list[0]["type"]), (&1.into(), &(1 << 20).into(), &"0c".into()));
    let part = dir.path("p.img");
    assert_eq!(json(&["extract", &image, &part, "-p", "1"])["length"], 1 << 20);
    let bytes = std::fs::read(&part).unwrap();
    assert!(bytes.len() == 1 << 20 && bytes[..5000] == [0x5A; 5000] && bytes[5000..].iter().all(|b| *b == 0));
    assert!(fails(2, &["extract", &image, &dir.path("q.img"), "-p", "3"]).contains("it has 1"));
    assert!(fails(2, &["extract", &image, &dir.path("q.img"), "--offset", "4M", "--length", "1K"]).contains("ends"));
}

#[test]
fn mistakes_leave_nothing_behind() {
    let dir = TempDir::new("mistakes");
    let raw = disk(&dir);
    let empty = dir.file("empty.qcow2", b"");
    for verb in ["info", "check", "repair", "map", "extract"] {
        assert!(fails(3, &[verb, &empty]).ends_with("empty.qcow2 is empty"), "{verb}");
    }
    assert!(fails(3, &["convert", &empty, &dir.path("x.img")]).ends_with("is empty"));
    assert!(fails(2, &["convert", &raw, &dir.path("x.abc")]).contains("does not tell the format"));
    assert!(fails(2, &["convert", &raw, &raw, "--force"]).contains("the same file"));
    assert!(fails(2, &["convert", &raw, &empty]).contains("--force replaces it"));
    assert!(fails(2, &["convert", &raw, &dir.path("x.img"), "--resume"]).contains("no interrupted conversion"));
    assert!(fails(3, &["convert", &raw, &dir.path("x.vmdk"), "-o", "subformt=vmfs"]).contains("did you mean"));
    assert!(fails(3, &["create", &dir.path("x.vhd"), "3T"]).contains("VHDX holds more"));
    assert!(fails(3, &["convert", &raw, &dir.path("x.imd")]).contains("holds a diskette"));
    assert!(fails(1, &["create", &dir.path("none/x.img"), "1M"]).contains("no such file"));
    assert_eq!(dir.names(), ["d.img", "empty.qcow2"]);
}

/// A fixed VHD begins with what its guest wrote: it is not followed where that looks like another format.
#[test]
fn a_forged_beginning_is_not_believed() {
    let dir = TempDir::new("forged");
    let (raw, image) = (disk(&dir), dir.path("f.vhd"));
    ok(&["convert", &raw, &image, "-o", "subformat=fixed"]);
    let mut bytes = std::fs::read(&image).unwrap();
    bytes[..8].copy_from_slice(b"QFI\xFB\0\0\0\x03");
    std::fs::write(&image, &bytes).unwrap();
    assert!(
        fails(3, &["info", &image])
            .ends_with("it begins like qcow2, and ends like a fixed vhd: say by its format which it is")
    );
    assert_eq!(json(&["info", "-f", "vhd", &image])["virtual-size"], 4 << 20);
}

/// A full disk: no file may grow beyond a limit here.
#[test]
#[cfg(unix)]
fn a_full_disk_is_one_error() {
    let dir = TempDir::new("full");
    let raw = dir.file("big.img", &vec![0x3C; 6 << 20]);
    for name in ["a.img", "a.qcow2", "a.vmdk", "a.vhd", "a.vhdx", "a.vdi"] {
        let command = format!(
            "trap '' XFSZ; ulimit -f 4096; exec '{}' disk convert '{raw}' '{}'",
            env!("CARGO_BIN_EXE_emu"),
            dir.path(name)
        );
        let output = Command::new("bash").args(["-c", &command]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {text}");
        assert!(text.lines().count() == 1 && text.contains(name), "{name}: {text}");
    }
    assert_eq!(dir.names(), ["big.img"], "what could not be finished is gone");
}

/// A folder without the right to write in it, for users who are not root.
#[test]
#[cfg(unix)]
fn a_read_only_folder_is_read() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new("read-only");
    let raw = disk(&dir);
    let image = dir.path("a.vhdx");
    ok(&["convert", &raw, &image]);
    let set = |mode| std::fs::set_permissions(&dir.0, std::fs::Permissions::from_mode(mode)).unwrap();
    set(0o555);
    std::fs::set_permissions(&image, std::fs::Permissions::from_mode(0o444)).unwrap();
    assert_eq!(json(&["compare", &raw, &image])["equal"], true);
    assert_eq!(json(&["check", &image])["corruptions"], 0);
    let can_write = std::fs::File::create(dir.path("probe")).is_ok();
    if !can_write {
        assert!(fails(1, &["create", &dir.path("b.img"), "1M"]).contains("permission denied"));
        assert!(fails(1, &["resize", &image, "8M"]).contains("permission denied"));
    }
    set(0o755);
}

/// 24 MiB, every other 64 KiB of which is noise.
fn noise(dir: &TempDir) -> String {
    let byte = |i: u32| if i >> 16 & 1 == 0 { i.wrapping_mul(2_654_435_761).to_le_bytes()[3] } else { 0 };
    dir.file("r.img", &(0..24 << 20).map(byte).collect::<Vec<u8>>())
}

/// Starts the conversion and kills it behind its first note; returns where it stood.
fn killed(args: &[&str], image: &str) -> u64 {
    let note = format!("{image}.emu-convert");
    for _ in 0..20 {
        let mut child = Command::new(env!("CARGO_BIN_EXE_emu"))
            .args([&["disk"][..], args].concat())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("emu runs");
        while child.try_wait().unwrap().is_none() && !std::path::Path::new(&note).exists() {
            std::thread::sleep(std::time::Duration::from_micros(300));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if let Ok(text) = std::fs::read(&note) {
            let note: Value = serde_json::from_slice(&text).unwrap();
            return note["position"].as_u64().unwrap();
        }
        std::fs::remove_file(image).unwrap(); // it was faster
    }
    panic!("{args:?} could not be killed in the middle");
}

/// A conversion that was killed goes on, and the result is whole.
#[test]
fn a_killed_conversion_goes_on() {
    let dir = TempDir::new("killed");
    let raw = noise(&dir);
    for (name, options) in [
        ("a.img", &[][..]),
        ("a.001", &["-o", "extent_size=16M"]),
        ("a.qcow2", &[]),
        ("b.qcow2", &["-c"]),
        ("a.vmdk", &[]),
        ("b.vmdk", &["-o", "subformat=monolithicFlat"]),
        ("c.vmdk", &["-o", "subformat=twoGbMaxExtentSparse,extent_size=16M"]),
        ("d.vmdk", &["-o", "subformat=vmfsSparse"]),
        ("a.vhd", &[]),
        ("b.vhd", &["-o", "subformat=fixed"]),
        ("a.vhdx", &["-o", "block_size=1M"]),
        ("a.vdi", &[]),
        ("b.vdi", &["-o", "static=on"]),
    ] {
        let image = dir.path(name);
        let args = [&["convert", &raw, &image, "--note-every", "1M"][..], options].concat();
        let at = killed(&[&args[..], &["--force"]].concat(), &image);
        assert!((1 << 20..24 << 20).contains(&at), "{name}: {at}");
        ok(&[&args[..], &["--resume"]].concat());
        assert_eq!(ok(&["compare", "-s", &raw, &image]), "Images are identical.\n", "{name}");
        let check = emu(&["check", &image]);
        // 5: space that nothing uses; 6: nothing to check.
        assert!([Some(0), Some(5), Some(6)].contains(&check.status.code()), "{name}: {check:?}");
        assert!(!dir.names().iter().any(|n| n.contains("emu-convert")), "{:?}", dir.names());
        for part in dir.names().iter().filter(|n| *n != "r.img") {
            std::fs::remove_file(dir.path(part)).unwrap();
        }
    }
}

/// A streamOptimized image is written in one go: what was killed is not offered to go on with, and is not taken for whole.
#[test]
fn a_killed_conversion_to_a_stream_begins_anew() {
    let dir = TempDir::new("stream");
    let mut random = 1u32;
    let mut byte = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 24) as u8
    };
    let bytes: Vec<u8> = (0..24 << 20).map(|_| byte()).collect();
    let (raw, image) = (dir.file("r.img", &bytes), dir.path("s.vmdk"));
    let args = ["convert", &raw, &image, "-o", "subformat=streamOptimized", "--note-every", "64K"];
    let mut child =
        Command::new(env!("CARGO_BIN_EXE_emu")).arg("disk").args(args).stdin(Stdio::null()).spawn().expect("emu runs");
    while std::fs::metadata(&image).map_or(0, |m| m.len()) < 1 << 20 {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be killed");
        std::thread::sleep(std::time::Duration::from_micros(300));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(dir.names(), ["r.img", "s.vmdk"], "a note that nobody can use");
    let resumed = fails(2, &[&args[..], &["--resume"]].concat());
    assert!(resumed.ends_with("no conversion into it can go on: start anew with --force"), "{resumed}");
    assert!(fails(3, &["info", &image]).ends_with("is missing: is it truncated?"));
    ok(&[&args[..], &["--force"]].concat());
    assert_eq!(ok(&["compare", "-s", &raw, &image]), "Images are identical.\n");
}

/// A source or a target that is not what it was: nothing is put together of two.
#[test]
fn a_conversion_goes_on_only_with_the_same_disks() {
    let dir = TempDir::new("resume");
    let raw = noise(&dir);
    let image = dir.path("r.qcow2");
    let args = ["convert", &raw, &image, "--note-every", "1M"];
    let resume = [&args[..], &["--resume"]].concat();
    killed(&args, &image);
    assert!(fails(2, &args).ends_with("--force replaces it, --resume goes on with its interrupted conversion"));
    // The target is written to.
    let bytes = std::fs::read(&image).unwrap();
    let mut other = bytes.clone();
    let map = json(&["map", &image]);
    let at = map.as_array().unwrap().iter().find(|e| e["data"] == true).unwrap()["offset"].as_u64().unwrap();
    other[at as usize + 100] ^= 1;
    std::fs::write(&image, &other).unwrap();
    assert!(fails(2, &resume).contains("r.qcow2: it differs from the source at offset 100: it was changed since"));
    // It is another one altogether, or is gone.
    std::fs::remove_file(&image).unwrap();
    assert!(fails(1, &resume).ends_with("r.qcow2: no such file or directory"));
    ok(&["create", &image, "1M"]);
    assert!(fails(2, &resume).contains("it has 1048576 bytes, the source 25165824"));
    // The source is.
    std::fs::write(&image, &bytes).unwrap();
    std::fs::write(&raw, vec![1; 24 << 20]).unwrap();
    assert!(fails(2, &resume).contains("the source or the options changed since"));
    // Notes that are none.
    let note = format!("{image}.emu-convert");
    std::fs::write(&note, "{}").unwrap();
    assert!(fails(2, &resume).contains("it has no position"));
    std::fs::write(&note, "{\"of\": 1, \"position\": 8388608}").unwrap();
    assert!(fails(2, &resume).contains("changed since"));
    std::fs::remove_file(&note).unwrap();
    assert!(fails(2, &resume).contains("no interrupted conversion"));
    assert_eq!(std::fs::read(&image).unwrap(), bytes, "what could not go on is as it was");
}
