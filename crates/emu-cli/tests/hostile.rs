//! What nobody's product would write: descriptions, archives and images that want to see, write, take or stop more than they
//! may. Each is refused in one clear line that names the file, or taken with what is wrong in it left out; within a gigabyte
//! of memory and seconds of time, and nothing is made or written of what was refused.
#![cfg(unix)]

mod common;

use std::path::Path;

use common::{TempDir, emu, emu_within_limits, tar};
use emu_machine::config::load_files;

/// What becomes of an import.
#[derive(Clone, Copy)]
enum End {
    /// One line with this, and nothing made.
    Refused(&'static str),
    /// A machine, whose `machine.toml` has this.
    Taken(&'static str),
}
use End::{Refused, Taken};

/// A machine of VMware's with these lines.
fn vmx(lines: &str) -> Vec<u8> {
    format!("config.version = \"8\"\nmemsize = \"16\"\n{lines}\n").into()
}

fn vmx_disk(name: &str) -> Vec<u8> {
    vmx(&format!("ide0:0.present = \"TRUE\"\nide0:0.fileName = \"{name}\""))
}

fn ovf(references: &str, items: &str) -> Vec<u8> {
    format!(
        "<Envelope><References>{references}</References><DiskSection><Disk diskId='d' fileRef='f'/></DiskSection>\
         <VirtualSystem id='v'><VirtualHardwareSection>{items}</VirtualHardwareSection></VirtualSystem></Envelope>"
    )
    .into()
}

const OVF_DISK: &str =
    "<Item><InstanceID>5</InstanceID><HostResource>ovf:/disk/d</HostResource><ResourceType>17</ResourceType></Item>";

fn hyper_v(devices: &str, settings: &str) -> Vec<u8> {
    format!(
        "<configuration>{devices}<properties><name>v</name></properties><settings>{settings}</settings></configuration>"
    )
    .into()
}

fn hyper_v_disk(path: &str) -> Vec<u8> {
    hyper_v(
        &format!("<_x_><controller0><drive0><pathname>{path}</pathname><type>VHD</type></drive0></controller0></_x_>"),
        "",
    )
}

fn qemu(rest: &str) -> Vec<u8> {
    format!("qemu-system-i386 -m 16 {rest}\n").into()
}

fn domain(rest: &str) -> Vec<u8> {
    format!("<domain><name>v</name><memory unit='MiB'>16</memory>{rest}</domain>").into()
}

fn listing(rest: &str) -> Vec<u8> {
    format!("{{\"Format\":\"emu-hyperv-1\",\"Name\":\"v\",\"MemoryStartup\":16777216{rest}}}").into()
}

/// Many elements in each other.
fn deep(n: usize) -> String {
    "<a>".repeat(n) + &"</a>".repeat(n)
}

fn descriptions() -> Vec<(&'static str, Vec<u8>, End)> {
    let long = "x".repeat(100_000);
    let many_disks = "<disk type='file'><source file='/none'/><target dev='vda' bus='virtio'/></disk>".repeat(20_000);
    vec![
        // VMware.
        ("unknown.vmx", vmx("foo.bar = \"x\"\nide0:0.unheardof = \"y\"\nemu.nothing = \"z\""), Taken("16M")),
        (
            "twice.vmx",
            vmx("numvcpus = \"1\"\nNumVCPUs = \"2\""),
            Refused("line 4: `numvcpus` stands here a second time"),
        ),
        ("key.vmx", vmx("a\u{1b}b = \"1\""), Refused("line 3: the key before `=` is not one word")),
        ("open.vmx", vmx("a = \"1"), Refused("line 3: the value's quote is not closed")),
        ("no.vmx", vmx("just words"), Refused("line 3: not of the form")),
        ("memory.vmx", b"memsize = \"-1\"\n".to_vec(), Refused("not a number of megabytes")),
        ("huge.vmx", b"memsize = \"17592186044415\"\n".to_vec(), Taken("memory = \"")),
        ("cpus.vmx", vmx("numvcpus = \"99999999999\""), Taken("16M")),
        ("rtc.vmx", vmx("rtc.startTime = \"9223372036854775807\""), Taken("16M")),
        ("name.vmx", vmx(&format!("displayName = \"{long}\"")), Taken("16M")),
        ("colour.vmx", vmx("displayName = \"|1B]0;x|07|0A|9Bm\""), Taken("16M")),
        ("up.vmx", vmx_disk("../../../../etc/passwd"), Refused("lies outside of the machine's folder")),
        ("root.vmx", vmx_disk("/etc/passwd"), Refused("lies outside of the machine's folder")),
        ("share.vmx", vmx_disk(r"\\\\host\\c$\\x.vmdk"), Refused("x.vmdk: the image of ide0:0 is not there")),
        ("line.vmx", vmx_disk("a|0Ab.vmdk"), Refused("a\\nb.vmdk: the image of ide0:0 is not there")),
        ("nul.vmx", vmx_disk("a|00b.vmdk"), Refused("is not there")),
        ("long.vmx", vmx_disk(&long), Refused("ide0:0")),
        ("self.vmx", vmx_disk("self.vmx"), Refused("names no extents")),
        ("folder.vmx", vmx_disk("."), Refused("is a directory")),
        (
            "log.vmx",
            vmx("serial0.present = \"TRUE\"\nserial0.fileType = \"file\"\nserial0.fileName = \"../../.bashrc\""),
            Refused("serial0: "),
        ),
        (
            "socket.vmx",
            vmx("serial0.present = \"TRUE\"\nserial0.fileType = \"pipe\"\nserial0.fileName = \"/run/x\""),
            Refused("/run/x lies outside of the machine's folder"),
        ),
        // OVF.
        ("up.ovf", ovf("<File id='f' href='../../etc/passwd'/>", OVF_DISK), Refused("outside of the machine's folder")),
        (
            "root.ovf",
            ovf("<File id='f' href='file:///etc/passwd'/>", OVF_DISK),
            Refused("outside of the machine's folder"),
        ),
        (
            "gz.ovf",
            ovf("<File id='f' href='d.gz' compression='gzip'/>", OVF_DISK),
            Refused("d.gz is compressed (gzip)"),
        ),
        ("chunks.ovf", ovf("<File id='f' href='d' chunkSize='7'/>", OVF_DISK), Refused("d is cut into chunks")),
        ("none.ovf", ovf("", OVF_DISK), Taken("memory = \"")),
        (
            "unit.ovf",
            ovf("", "<Item><ResourceType>4</ResourceType><AllocationUnits>byte * 2^99</AllocationUnits></Item>"),
            Refused("unknown unit"),
        ),
        (
            "much.ovf",
            ovf(
                "",
                "<Item><ResourceType>4</ResourceType><AllocationUnits>byte * 2^63</AllocationUnits><VirtualQuantity>9</VirtualQuantity></Item>",
            ),
            Refused("VirtualQuantity"),
        ),
        (
            "twice.ovf",
            ovf("<File id='f' href='a'/><File id='f' href='b'/>", OVF_DISK),
            Refused("b: the image of ide0:0 is not there"),
        ),
        ("deep.ovf", ovf("", &deep(90_000)), Taken("memory = \"")),
        ("nodes.ovf", ovf("", &"<a/>".repeat(300_000)), Refused("not good XML")),
        ("entity.ovf", b"<!DOCTYPE x [<!ENTITY a 'b'>]><Envelope>&a;</Envelope>".to_vec(), Refused("not good XML")),
        // Hyper-V.
        ("up.xml", hyper_v_disk(r"..\..\..\etc\passwd"), Refused("lies outside of the machine's folder")),
        ("drive.xml", hyper_v_disk(r"C:\..\..\etc\passwd"), Refused("passwd: the image of scsi0:0 is not there")),
        ("unknown.xml", hyper_v("<_y_><z>1</z></_y_><properties/>", "<foo/>"), Taken("memory = \"")),
        (
            "memory.xml",
            hyper_v("", "<memory><bank><size>99999999999999999999</size></bank></memory>"),
            Refused("not a number of megabytes"),
        ),
        ("nothing.xml", b"<configuration><properties/></configuration>".to_vec(), Refused("no <settings>")),
        ("empty.vmcx", vec![], Refused("no header of a Hyper-V store")),
        ("zeros.vmcx", vec![0; 9000], Refused("PowerShell")),
        ("type.hyperv.json", listing(",\"Disks\":7"), Refused("not a listing")),
        ("twice.hyperv.json", listing(",\"Name\":\"w\""), Refused("not a listing")),
        ("deep.hyperv.json", listing(&format!(",\"Disks\":{}", "[".repeat(100_000))), Refused("not a listing")),
        ("unknown.hyperv.json", listing(",\"Strange\":[1,{}]"), Taken("16M")),
        (
            "up.hyperv.json",
            listing(
                r#","Disks":[{"ControllerType":"IDE","ControllerNumber":0,"ControllerLocation":0,"Path":"..\\..\\etc\\passwd"}]"#,
            ),
            Refused("outside of the machine's folder"),
        ),
        // libvirt.
        (
            "bomb.domain",
            b"<!DOCTYPE a [<!ENTITY b 'bb'><!ENTITY c '&b;&b;'>]><domain><name>&c;</name></domain>".to_vec(),
            Refused("not good XML"),
        ),
        ("unit.domain", b"<domain><memory unit='XB'>1</memory></domain>".to_vec(), Refused("unit")),
        (
            "many.domain",
            domain(&format!("<devices>{many_disks}</devices>")),
            Refused("the image of virtio0:0 is not there"),
        ),
        ("deep.domain", domain(&deep(90_000)), Taken("16M")),
        ("unknown.domain", domain("<foo/><devices><bar/><disk/><disk device='lun'/></devices>"), Taken("16M")),
        (
            "mac.domain",
            domain("<devices><interface><mac address='&#10;[x]&#10;'/></interface></devices>"),
            Taken("16M"),
        ),
        // QEMU.
        ("shell.sh", qemu("-hda $(touch made)"), Refused("`$` would need a shell")),
        ("tick.sh", qemu("-hda `touch made`"), Refused("would need a shell")),
        ("quote.sh", qemu("-hda 'x"), Refused("a quote is not closed")),
        ("value.sh", qemu("-hda"), Refused("-hda needs a value")),
        ("unknown.sh", qemu("-frobnicate 9 -device strange,a=b,,c"), Taken("16M")),
        ("twice.sh", qemu("-m 24 -name a -name b"), Taken("24M")),
        ("memory.sh", qemu("-m 99999999999T"), Refused("-m 99999999999T")),
        ("arm.sh", b"qemu-system-arm -hda x\n".to_vec(), Refused("not x86")),
        ("boot.sh", qemu("-boot order=zzz,strict=on"), Taken("16M")),
        // Anything.
        ("empty.vmx", vec![], Taken("memory = \"32M\"")),
        ("empty.ovf", vec![], Refused("describes no machine")),
        ("empty.ova", vec![], Refused("describes no machine")),
        ("empty.xml", vec![], Refused("describes no machine")),
        ("empty.sh", vec![], Refused("describes no machine")),
        ("large.vmx", vec![b'#'; 5 << 20], Refused("larger than 4 MiB")),
        ("noise.bin", (0..9999u32).map(|i| (i * 7919 >> 3) as u8).collect(), Refused("describes no machine")),
    ]
}

/// What stands in `dir`, at any depth.
fn all_files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        found.push(path.to_string_lossy().into_owned());
        if path.is_dir() {
            found.extend(all_files(&path));
        }
    }
    found.sort();
    found
}

/// Nothing that a terminal would obey, and one line.
fn is_plain(text: &str, what: &str) {
    assert!(text.lines().count() == 1 && !text.trim_end().contains(char::is_control), "{what}: {text:?}");
}

fn import(dir: &TempDir, name: &str, end: End) {
    let (file, made) = (dir.path(name), dir.path("made"));
    let before = all_files(&dir.0);
    let output = emu_within_limits(&["vm", "import", &file, "-o", &made]);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    match end {
        Refused(wanted) => {
            assert!(matches!(output.status.code(), Some(1 | 3)), "{name}: {out}{err}");
            is_plain(&err, name);
            let start: String = err.chars().take(200_000).collect();
            assert!(start.contains(wanted) && out.is_empty(), "{name}: {out}{err}");
            assert_eq!(all_files(&dir.0), before, "{name}: something was made");
        }
        Taken(wanted) => {
            assert_eq!(output.status.code(), Some(0), "{name}: {err}");
            out.lines().for_each(|line| is_plain(line, name));
            let toml = std::fs::read_to_string(dir.0.join("made/machine.toml")).expect("a machine");
            assert!(toml.contains(wanted), "{name}: {toml}");
            // emu understands what it wrote.
            let config = load_files(&[dir.0.join("made/machine.toml")]).unwrap_or_else(|e| panic!("{name}: {e}"));
            config.check().unwrap_or_else(|e| panic!("{name}: {e}"));
            std::fs::remove_dir_all(made).expect("a folder");
        }
    }
}

#[test]
fn hostile_descriptions() {
    let dir = TempDir::new("hostile");
    for (name, bytes, end) in descriptions() {
        dir.file(name, &bytes);
        import(&dir, name, end);
        std::fs::remove_file(dir.path(name)).expect("a file");
    }
}

/// Writes a file of `size` bytes that takes hardly any space, with `head` at its beginning.
fn sparse(dir: &TempDir, name: &str, head: &[u8], size: u64) {
    let file = dir.file(name, head);
    std::fs::File::options().write(true).open(file).and_then(|f| f.set_len(size)).expect("a sparse file");
}

/// Archives that would fill memory or the disk, or reach out of their folder.
#[test]
fn hostile_archives() {
    let dir = TempDir::new("bombs");
    let envelope = ovf("<File id='f' href='d.vmdk'/>", OVF_DISK);
    let ovf = ("v.ovf", envelope.len() as u64, b'0', &envelope[..]);
    let end = |mut bytes: Vec<u8>| {
        bytes.truncate(bytes.len() - 1024);
        bytes
    };
    // A file's long name, or its attributes, of 6 GiB.
    for kind in [b'L', b'K', b'x', b'g'] {
        let head = end(tar(&[ovf, ("././@LongLink", 6 << 30, kind, b"")]));
        sparse(&dir, "name.ova", &head, 7 << 30);
        import(&dir, "name.ova", Refused("entry 2 of the archive is no file, and has 6442450944 bytes"));
    }
    // A disk of zeros without end, which is no disk: it is unpacked, and then thrown away.
    sparse(&dir, "zeros.ova", &end(tar(&[ovf, ("d.vmdk", 64 << 20, b'0', b"")])), (64 << 20) + 8192);
    import(&dir, "zeros.ova", Taken("memory = \""));
    // An envelope of 5 MiB, of which only the beginning is read.
    let long = [&envelope[..], &vec![b' '; 5 << 20]].concat();
    dir.file("long.ova", &tar(&[("v.ovf", long.len() as u64, b'0', &long)]));
    import(&dir, "long.ova", Refused("d.vmdk"));
    // A manifest that promises something else; and links, folders and devices.
    let manifest = format!("SHA256(d.vmdk)= {}\n", "0".repeat(64));
    let mf = ("v.mf", manifest.len() as u64, b'0', manifest.as_bytes());
    dir.file("wrong.ova", &tar(&[ovf, mf, ("d.vmdk", 4, b'0', b"disk")]));
    import(&dir, "wrong.ova", Refused("not what the manifest promises"));
    for kind in *b"123456" {
        dir.file("kind.ova", &tar(&[ovf, ("d.vmdk", 0, kind, b"")]));
        import(&dir, "kind.ova", Refused("is no plain file"));
    }
    for name in ["../d.vmdk", "/tmp/d.vmdk", "a/b", "a\\b", ".hidden"] {
        dir.file("place.ova", &tar(&[ovf, (name, 0, b'0', b"")]));
        import(&dir, "place.ova", Refused("has folders"));
    }
    // What the descriptor names is not in the archive.
    dir.file("without.ova", &tar(&[ovf]));
    import(&dir, "without.ova", Refused("the image of ide0:0 is not there"));
}

/// Images that are nothing, or say to be huge, with every verb that only looks, and under a machine.
#[test]
fn hostile_images() {
    let dir = TempDir::new("images");
    let verbs: &[&[&str]] = &[&["info"], &["check"], &["map", "--json"], &["extract"], &["snapshot", "-l"]];
    for name in ["e.img", "e.qcow2", "e.vmdk", "e.vhd", "e.vhdx", "e.vdi", "e.iso", "e.cue", "e.imd", "e.001"] {
        let file = dir.file(name, b"");
        for verb in [verbs, &[&["repair"], &["commit"], &["resize"]]].concat() {
            let tail: &[&str] = if verb[0] == "resize" { &["1M"] } else { &[] };
            let output = emu_within_limits(&[&["disk"], verb, &[&*file], tail].concat());
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                output.status.code() == Some(3) && error.ends_with(&format!("{name} is empty\n")),
                "{verb:?}: {error}"
            );
        }
        let run = emu_within_limits(&["run", "--disk", &file, "--display", "none", "--timeout", "1"]);
        let error = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(run.status.code() == Some(3) && error.ends_with("is empty\n"), "{name}: {error}");
        assert_eq!(std::fs::metadata(&file).expect("the file").len(), 0, "{name} was written");
    }
    // The largest that can be made: the tables are read page by page, holes are passed over.
    for (name, size, options) in [
        ("h.img", "4T", ""),
        ("h.qcow2", "64T", "cluster_size=64K"),
        ("h.vmdk", "1T", ""),
        ("h.vhd", "2040G", ""),
        ("h.vhdx", "64T", ""),
        ("h.vdi", "8T", ""),
    ] {
        let image = dir.path(name);
        let options = if options.is_empty() { vec![] } else { vec!["-o", options] };
        let made = emu_within_limits(&[&["disk", "create", &image, size][..], &options].concat());
        assert!(made.status.success(), "{name}: {}", String::from_utf8_lossy(&made.stderr));
        for verb in verbs {
            let output = emu_within_limits(&[&["disk"], *verb, &[&*image]].concat());
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(error.lines().count() <= 1, "{name} {verb:?}: {error}");
            assert!(matches!(output.status.code(), Some(0 | 3 | 6)), "{name} {verb:?}: {error}");
        }
    }
    // What is no file at all.
    let pipe = dir.path("pipe");
    std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
    for (path, wanted) in
        [(&*pipe, "is not a regular file"), (&*dir.path(""), "is a directory"), ("/dev/null", "is not a regular file")]
    {
        let output = emu_within_limits(&["disk", "info", path]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(3) && error.contains(wanted), "{path}: {error}");
    }
    assert!(!emu(&["disk", "info", &dir.path("none\n\u{1b}[31m.img")]).status.success());
}
