//! `emu conform` and `emu report merge` as users meet them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("emu-conform-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn emu(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_emu")).args(arguments).output().unwrap();
    let text = |b: Vec<u8>| String::from_utf8(b).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// Two cases of an 8088: NOP, and STC of which the second wants another carry.
fn cases(carry: u16) -> Vec<u8> {
    format!(
        r#"[{{"name":"nop","bytes":[144],"initial":{{"regs":{{"cs":16,"ip":0,"sp":9,"flags":2}},"ram":[[256,144]]}},
             "final":{{"regs":{{"ip":1}},"ram":[]}}}},
            {{"name":"stc","bytes":[249],"initial":{{"regs":{{"cs":16,"ip":0,"sp":9,"flags":2}},"ram":[[256,249]]}},
             "final":{{"regs":{{"ip":1,"flags":{}}},"ram":[]}}}}]"#,
        2 + carry
    )
    .into_bytes()
}

#[test]
fn results_are_told_in_every_form() {
    let folder = Folder::new("forms");
    let suite = folder.file("8088/v1/F9.json", &cases(0));
    let at = |name: &str| folder.0.join(name).display().to_string();
    let (json, junit, html) = (at("r.json"), at("r.xml"), at("r.html"));
    let files = ["--json", &json, "--junit", &junit, "--html", &html];
    let (code, out, err) = emu(&[&["conform", &suite][..], &files].concat());
    assert_eq!(code, 10, "{out}{err}");
    assert!(out.contains("F9 case 1 fails: stc  (f9)") && out.contains("50.00"), "{out}");
    assert!(err.contains("masked result 50.00 % is below the threshold of 100.00 %"), "{err}");
    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    assert!(read(&json).contains("\"masked\": 1") && read(&junit).contains("1 of 2 cases fail"));
    assert!(read(&html).contains("8088/v1") && !read(&html).contains("History"));
    // A second run has a history.
    let (code, ..) = emu(&[&["conform", &suite, "--threshold", "50"][..], &files].concat());
    assert_eq!(code, 0);
    assert!(read(&html).contains("History"));
    assert!(read(&at("r.history.json")).matches("\"time\"").count() == 2);
    let (code, _, err) = emu(&["conform", &suite, "--threshold", "50", "--strict-threshold", "50.01"]);
    assert!(code == 10 && err.contains("strict result 50.00 %"), "{err}");
}

/// What can't be used is named; everything else still runs.
#[test]
fn bad_files_are_named_and_the_others_run() {
    let folder = Folder::new("bad");
    folder.file("8088/90.json", &cases(1));
    folder.file("8088/91.json", b"[\n{\"name\":\n 7");
    folder.file("8088/92.json.gz", &[0x1F, 0x8B, 8, 0, 1]);
    folder.file("moo/00.moo", b"MOO \x0c\0\0\0\x01\0\0\0\0\0\0\x006502");
    let whole = folder.0.display().to_string();
    let (code, out, err) = emu(&["conform", &whole, "/nowhere/at/all"]);
    assert_eq!(code, 1, "{out}{err}");
    for text in [
        "error: /nowhere/at/all: ",
        "91.json: at byte 12: case 0: ",
        "92.json.gz: at byte 0: the gzip data is damaged or cut short",
        "00.moo: at byte 16: CPU id \"6502\" is not known; name a model with --cpu",
    ] {
        assert!(out.contains(text), "{text} in {out}");
    }
    assert!(out.lines().any(|l| l.starts_with("8088 ") && l.contains("100.00")), "{out}");
    // A model for the unknown CPU: the file, being empty, is fine then.
    let moo = folder.0.join("moo").display().to_string();
    let (code, _, err) = emu(&["conform", &moo, "--cpu", "8086"]);
    assert!(code == 10 && err.contains("no case ran"), "{err}");
    let (code, out, _) = emu(&["conform", &folder.file("text.txt", b"hello")]);
    assert!(code == 1 && out.contains("it is no test suite"), "{out}");
}

#[test]
fn a_full_disk_is_an_error() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let folder = Folder::new("full");
    let suite = folder.file("8088/90.json", &cases(1));
    for option in ["--json", "--junit", "--html"] {
        let (code, out, err) = emu(&["conform", &suite, option, "/dev/full", "--history", "/nowhere/h"]
            [..if option == "--html" { 6 } else { 4 }]);
        assert!(code == 1 && err.contains("can't write /dev/full: No space left on device"), "{option}: {err}");
        assert!(out.contains("100.00"), "the report is still shown: {out}");
    }
    let (code, _, err) = emu(&["conform", &suite, "--json", "/nowhere/report.json"]);
    assert!(code == 1 && err.contains("can't write /nowhere/report.json"), "{err}");
    // A history that is none is left as it is.
    let history = folder.file("h.json", b"precious");
    let html = folder.0.join("r.html").display().to_string();
    let (code, _, err) = emu(&["conform", &suite, "--html", &html, "--history", &history]);
    assert!(code == 1 && err.contains("h.json: it is no history of runs"), "{err}");
    assert_eq!(std::fs::read(&history).unwrap(), b"precious");
}

#[test]
fn shards_are_merged_or_refused() {
    let folder = Folder::new("shards");
    let suite = folder.file("8088/90.json", &cases(1));
    let at = |name: &str| folder.0.join(name).display().to_string();
    let (one, two, all) = (at("1.json"), at("2.json"), at("all.json"));
    for (shard, file) in [("1/2", &one), ("2/2", &two)] {
        assert_eq!(emu(&["conform", &suite, "--shard", shard, "--json", file]).0, 0);
    }
    let (code, out, err) = emu(&["report", "merge", &two, &one, "--json", &all]);
    assert_eq!(code, 0, "{out}{err}");
    let whole = at("whole.json");
    assert_eq!(emu(&["conform", &suite, "--json", &whole]).0, 0);
    assert_eq!(std::fs::read(&all).unwrap(), std::fs::read(&whole).unwrap());
    for (files, text) in [
        (vec![&one], "shard 2 of 2 missing"),
        (vec![&one, &one, &two], "shard 1/2 is there twice"),
        (vec![&whole], "is no shard"),
        (vec![&suite], "it is no report of emu conform"),
    ] {
        let files: Vec<&str> = files.iter().map(|f| f.as_str()).collect();
        let (code, _, err) = emu(&[&["report", "merge"][..], &files].concat());
        assert!(code == 1 && err.contains(text) && err.lines().count() == 1, "{err}");
    }
    let (code, _, err) = emu(&["conform", &suite, "--shard", "3/2"]);
    assert!(code == 2 && err.contains("is no shard"), "{err}");
}
