//! Machines with snapshots and checkpoints, as the products leave them: a chain of three disks boots FreeDOS, which shows what
//! each one changed; and so does each of the older states.

mod common;
#[path = "common/dos_disk.rs"]
mod dos_disk;
#[path = "../../emu-machine/tests/common/vmcx.rs"]
mod vmcx;

use std::path::Path;
use std::process::Command;

use common::{TempDir, emu, good};
use dos_disk::{freedos, with_file};
use vmcx::first_generation;

/// The disk at the three moments of its life: as it was installed, after a first change to one file, and after a second to
/// another. DOS shows both when it starts.
fn states() -> Option<[Vec<u8>; 3]> {
    let fresh = with_file(freedos()?, "AUTOEXECBAT", "@ECHO OFF\r\nECHO AUTOEXEC=0\r\nTYPE C:\\README.TXT\r\n");
    let fresh = with_file(fresh, "README  TXT", "README=0\r\n");
    let patched = with_file(fresh.clone(), "AUTOEXECBAT", "@ECHO OFF\r\nECHO AUTOEXEC=1\r\nTYPE C:\\README.TXT\r\n");
    let now = with_file(patched.clone(), "README  TXT", "README=2\r\n");
    Some([fresh, patched, now])
}

/// What stands on the screen when the machine of `folder` has come to DOS's prompt.
fn screen(folder: &str) -> String {
    let wait = ["--display", "none", "--timeout", "60", "--wait-for", "C:\\>", "--screen-text", "-"];
    good(&[&["run", folder][..], &wait].concat())
}

/// Imports the machine in `dir` as it is now and as it was at its two snapshots; each shows its own state, and the images
/// stay as they are.
fn each_state_boots(dir: &TempDir, description: &str, images: &[&str], names: [&str; 2]) {
    let bytes = || images.iter().map(|n| std::fs::read(dir.path(n)).unwrap()).collect::<Vec<_>>();
    let before = bytes();
    let choices: [(&[&str], &str, &str); 3] = [
        (&[], "AUTOEXEC=1", "README=2"),
        (&["--snapshot", names[0]], "AUTOEXEC=0", "README=0"),
        (&["--snapshot", names[1], "--copy"], "AUTOEXEC=1", "README=0"),
    ];
    for (options, first, second) in choices {
        let folder = dir.path("made");
        let said = good(&[&["vm", "import", description, "--output", &folder][..], options].concat());
        assert!(said.contains("  snapshot   fresh (") && said.contains("  snapshot     patched ("), "{said}");
        assert_eq!(said.contains("the disks are those of"), !options.is_empty(), "{said}");
        assert!(said.contains("), which the machine follows"), "{said}");
        let shown = screen(&folder);
        assert!(shown.contains(first) && shown.contains(second), "{options:?}: {shown}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
    assert!(bytes() == before, "an image was written");
    let wrong = emu(&["vm", "import", description, "--output", &dir.path("made"), "--snapshot", "none"]);
    let errors = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(wrong.status.code() == Some(3) && errors.lines().count() == 1, "{errors}");
    assert!(errors.contains("no snapshot `none`; there are: `fresh`"), "{errors}");
}

fn product(name: &str, cuts: &[(&str, &str)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/products").join(name);
    let mut text = std::fs::read_to_string(path).unwrap();
    for (what, with) in cuts {
        assert!(text.contains(what), "{name}: {what}");
        text = text.replace(what, with);
    }
    text
}

/// A machine of VMware's with two snapshots; `disk` makes an image of a raw one, over a parent or over none.
fn vmware(name: &str, disk: impl Fn(&TempDir, &str, &str, Option<&str>)) {
    let (dir, Some(states)) = (TempDir::new(name), states()) else { return };
    let images = ["FreeDOS.vmdk", "FreeDOS-000001.vmdk", "FreeDOS-000002.vmdk"];
    for (n, (image, state)) in images.iter().zip(&states).enumerate() {
        let raw = dir.file("source.raw", state);
        disk(&dir, &raw, image, n.checked_sub(1).map(|n| images[n]));
        std::fs::remove_file(raw).unwrap();
    }
    let cuts = [
        ("floppy0.fileType = \"file\"", "floppy0.present = \"FALSE\""),
        ("\"FreeDOS.vmdk\"", "\"FreeDOS-000002.vmdk\""),
    ];
    dir.file("FreeDOS.vmsd", product("workstation.vmsd", &[]).as_bytes());
    let vmx = dir.file("FreeDOS.vmx", product("workstation.vmx", &cuts).as_bytes());
    each_state_boots(&dir, &vmx, &images, ["fresh", "2"]);
}

fn by_emu(dir: &TempDir, raw: &str, image: &str, parent: Option<&str>, options: &[&str]) {
    let parent = parent.map_or(vec![], |p| vec!["-B", p]);
    good(&[&["disk", "convert", raw, &dir.path(image)][..], &parent, options].concat());
}

/// Workstation's: each snapshot is a sparse file over the one before.
#[test]
fn vmware_workstation() {
    vmware("snap-ws", |dir, raw, image, parent| by_emu(dir, raw, image, parent, &[]));
}

/// Rewrites the descriptor of a VMDK that emu made as the product writes it. Its ids and extents stay; `hint` is how it
/// names its parent.
fn in_the_products_words(dir: &TempDir, image: &str, hint: Option<&str>) {
    let path = dir.path(image);
    let ours = std::fs::read_to_string(&path).unwrap();
    let of = |key: &str| ours.lines().find(|l| l.starts_with(key)).expect("a line of the descriptor");
    let extents: Vec<&str> = ours.lines().filter(|l| l.starts_with("RW ")).collect();
    let hint = hint.map_or(String::new(), |h| format!("parentFileNameHint=\"{h}\"\n"));
    let text = format!(
        "# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\n{}\n{}\nisNativeSnapshot=\"no\"\n{}\n{hint}# Extent description\n\
         {}\n\n# The Disk Data Base \n#DDB\n\nddb.adapterType = \"ide\"\nddb.geometry.cylinders = \"8\"\n\
         ddb.geometry.heads = \"16\"\nddb.geometry.sectors = \"63\"\n\
         ddb.longContentID = \"7e0d6ce5aabbccddeeff0011{}\"\nddb.toolsVersion = \"0\"\n\
         ddb.uuid = \"60 00 C2 9a aa bb cc dd-ee ff 00 11 22 33 44 55\"\nddb.virtualHWVersion = \"19\"\n",
        of("CID="),
        of("parentCID="),
        of("createType="),
        extents.join("\n"),
        of("CID=").trim_start_matches("CID="),
    );
    std::fs::write(&path, text).unwrap();
}

/// Workstation's, each disk in split files with a descriptor beside them that names its parent by a path of its host.
#[test]
fn vmware_workstation_split() {
    vmware("snap-split", |dir, raw, image, parent| {
        by_emu(dir, raw, image, parent, &["-o", "subformat=twoGbMaxExtentSparse"]);
        let hint = parent.map(|p| format!(r"C:\Users\me\Documents\Virtual Machines\FreeDOS\{p}"));
        in_the_products_words(dir, image, hint.as_deref());
    });
}

/// ESX's: a flat base, and deltas with descriptors of their own.
#[test]
fn vmware_esx() {
    vmware("snap-esx", |dir, raw, image, parent| {
        let form = if parent.is_some() { "subformat=vmfsSparse" } else { "subformat=vmfs" };
        by_emu(dir, raw, image, parent, &["-o", form]);
        in_the_products_words(dir, image, parent);
    });
}

#[test]
fn vmware_by_qemu_img() {
    if Command::new("qemu-img").arg("--version").output().is_err() {
        println!("skipped: qemu-img is not installed");
        return;
    }
    vmware("snap-qemu", |dir, raw, image, parent| {
        let parent = parent.map_or(vec![], |p| vec!["-B", p, "-F", "vmdk"]);
        let args = [&["convert", "-f", "raw", "-O", "vmdk"][..], &parent, &[raw, image]].concat();
        let status = Command::new("qemu-img").current_dir(&dir.0).args(&args).status().unwrap();
        assert!(status.success(), "{args:?}");
    });
}

const MACHINE: &str = "8A4C2C7E-0000-4000-8000-00AABBCCDDEE";
const FRESH: &str = "11111111-0000-4000-8000-00AABBCCDDEE";
const PATCHED: &str = "22222222-0000-4000-8000-00AABBCCDDEE";
/// The same, as other writers have it.
const IN_BRACES: &str = "{22222222-0000-4000-8000-00aabbccddee}";

/// An export with two checkpoints: the disks that they kept, and the machine's differencing disk over both.
#[test]
fn hyper_v_2016() {
    let (dir, Some(states)) = (TempDir::new("snap-hyperv"), states()) else { return };
    for folder in ["Virtual Machines", "Virtual Hard Disks", "Snapshots"] {
        std::fs::create_dir(dir.0.join(folder)).unwrap();
    }
    let names = ["FreeDOS.vhdx", "FreeDOS_1B2F0C1D.avhdx", "FreeDOS_2B2F0C1D.avhdx"];
    let images = names.map(|n| format!("Virtual Hard Disks/{n}"));
    for (n, (image, state)) in images.iter().zip(&states).enumerate() {
        let raw = dir.file("source.raw", state);
        by_emu(&dir, &raw, image, n.checked_sub(1).map(|n| names[n]), &["-O", "vhdx", "-o", "block_size=1M"]);
        std::fs::remove_file(raw).unwrap();
    }
    let paths = names.map(|n| format!(r"C:\Hyper-V\Virtual Hard Disks\{n}"));
    dir.file(
        &format!("Virtual Machines/{MACHINE}.vmcx"),
        &first_generation("FreeDOS", MACHINE, Some(IN_BRACES), 64, &paths[2]),
    );
    dir.file(&format!("Snapshots/{FRESH}.vmcx"), &first_generation("fresh", MACHINE, None, 64, &paths[0]));
    dir.file(&format!("Snapshots/{PATCHED}.vmcx"), &first_generation("patched", MACHINE, Some(FRESH), 64, &paths[1]));
    let images = images.each_ref().map(String::as_str);
    each_state_boots(&dir, &dir.path(""), &images, ["fresh", &PATCHED.to_lowercase()]);
}

/// Snapshots inside of a qcow2 image, as QEMU and libvirt take them: they are told, and one can be started from.
#[test]
fn qcow2_inside() {
    let (dir, Some([fresh, patched, _])) = (TempDir::new("snap-qcow2"), states()) else { return };
    let (fresh, patched) = (dir.file("fresh.raw", &fresh), dir.file("patched.raw", &patched));
    let image = dir.path("FreeDOS.qcow2");
    good(&["disk", "convert", &fresh, &image]);
    good(&["disk", "snapshot", "-c", "fresh", &image]);
    let top = dir.path("top.qcow2");
    good(&["disk", "convert", &patched, &top, "-B", "FreeDOS.qcow2"]);
    good(&["disk", "commit", &top]);
    let script = dir.file("start.sh", b"qemu-system-i386 -m 32 -drive file=FreeDOS.qcow2,format=qcow2\n");
    let folder = dir.path("made");
    let said = good(&["vm", "import", &script, "-o", &folder]);
    assert!(said.contains("ide0:0: has snapshots inside (`fresh`): --snapshot NAME --copy starts from one"), "{said}");
    assert!(screen(&folder).contains("AUTOEXEC=1"));
    let wrong = |options: &[&str]| {
        let out = emu(&[&["vm", "import", &script, "-o", &dir.path("other")][..], options].concat());
        assert_eq!(out.status.code(), Some(3));
        String::from_utf8_lossy(&out.stderr).into_owned()
    };
    assert!(wrong(&["--snapshot", "fresh"]).contains("take them by --copy"));
    assert!(wrong(&["--snapshot", "old", "--copy"]).contains("no disk has a snapshot `old` inside"));
    std::fs::remove_dir_all(&folder).unwrap();
    good(&["vm", "import", &script, "-o", &folder, "--snapshot", "fresh", "--convert", "vdi"]);
    assert!(screen(&folder).contains("AUTOEXEC=0"));
}
