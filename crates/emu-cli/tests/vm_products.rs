//! Machines in the form that the products write them, each booting FreeDOS with its disk in the product's format; and back:
//! what is exported is the machine that was.
//!
//! The descriptions in `products` follow what docs/REFERENCES.md names for each; names, addresses and ids are made up.

mod common;

use std::path::{Path, PathBuf};

use common::{TempDir, emu, good, tar};
use emu_machine::config::{MachineConfig, SerialTarget, load_files};
use emu_machine::image::{Disk, Kind, Options, Parents};

/// What is wrong with `path`, in one line.
fn refused(path: &str, folder: &str) -> String {
    let output = emu(&["vm", "import", path, "-o", folder]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{path}: {errors}");
    assert_eq!(errors.lines().count(), 1, "{path}: {errors}");
    assert!(!Path::new(folder).exists(), "{path}: something was made");
    errors
}

/// FreeDOS's diskette, where the shared guests are.
fn freedos() -> Option<Vec<u8>> {
    let folder = std::env::var_os("EMU_SHARED").map_or_else(|| "../shared".into(), PathBuf::from);
    let path = folder.join("guests/freedos/fd1.4MB.img");
    let image = std::fs::read(&path).ok().filter(|_| !cfg!(debug_assertions));
    if image.is_none() {
        println!("skipped: {} is absent (set EMU_SHARED), or this is a debug build", path.display());
    }
    image
}

/// A disk of 4 MiB with something on it, in a format.
fn disk(dir: &TempDir, format: &str, options: &str, name: &str) {
    let bytes: Vec<u8> = (0..4 << 20).map(|i: u32| if i % 7 < 3 { (i / 512) as u8 } else { 0 }).collect();
    let raw = dir.file("raw.img", &bytes);
    let mut args = vec!["disk", "convert", "-O", format, &raw];
    let to = dir.path(name);
    args.push(&to);
    if !options.is_empty() {
        args.extend(["-o", options]);
    }
    good(&args);
    std::fs::remove_file(raw).unwrap();
}

fn product(name: &str, dir: &TempDir) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/products").join(name);
    std::fs::read_to_string(path).unwrap().replace("@DIR@", &dir.0.to_string_lossy())
}

/// Imports the description and boots what was made to FreeDOS's prompt; returns what the import said.
fn boots(dir: &TempDir, description: &str) -> String {
    let folder = dir.path("made");
    let said = good(&["vm", "import", description, "--output", &folder]);
    let screen =
        good(&["run", &folder, "--display", "none", "--timeout", "60", "--wait-for", "A:\\>", "--screen-text", "-"]);
    assert!(screen.contains("A:\\>"), "{screen}");
    said
}

#[test]
fn workstation_boots_freedos() {
    let (dir, Some(floppy)) = (TempDir::new("workstation"), freedos()) else { return };
    dir.file("freedos.flp", &floppy);
    disk(&dir, "vmdk", "", "FreeDOS.vmdk");
    let said = boots(&dir, &dir.file("FreeDOS.vmx", product("workstation.vmx", &dir).as_bytes()));
    for line in ["sound: no sound card", "network: vlance (00:0c:29:ff:00:11)", "svga: VMware's SVGA"] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let config = load_files(&[dir.0.join("made/machine.toml")]).unwrap();
    assert_eq!((config.memory, config.boot.as_str()), (64 << 20, "acd"));
    assert!(std::fs::read_to_string(dir.path("made/machine.toml")).unwrap().contains("hypervisor = \"vmware\""));
}

#[test]
fn ovftool_boots_freedos() {
    let (dir, Some(floppy)) = (TempDir::new("ovftool"), freedos()) else { return };
    dir.file("FreeDOS-file1.flp", &floppy);
    disk(&dir, "vmdk", "subformat=streamOptimized", "FreeDOS-disk1.vmdk");
    boots(&dir, &dir.file("FreeDOS.ovf", product("ovftool.ovf", &dir).as_bytes()));
}

#[test]
fn hyper_v_2012_boots_freedos() {
    let (dir, Some(floppy)) = (TempDir::new("hyperv2012"), freedos()) else { return };
    // As an export has it: the configuration and the disks in folders of their own.
    for folder in ["Virtual Machines", "Virtual Hard Disks"] {
        std::fs::create_dir(dir.0.join(folder)).unwrap();
    }
    dir.file("Virtual Hard Disks/freedos.vfd", &floppy);
    disk(&dir, "vhd", "", "Virtual Hard Disks/FreeDOS.vhd");
    let xml = product("hyperv-2012r2.xml", &dir);
    dir.file("Virtual Machines/8A4C2C7E-0000-4000-8000-00AABBCCDDEE.xml", xml.as_bytes());
    boots(&dir, &dir.path(""));
    assert!(std::fs::read_to_string(dir.path("made/machine.toml")).unwrap().contains("hypervisor = \"hyper-v\""));
}

#[test]
fn a_listing_of_powershell_boots_freedos() {
    let (dir, Some(floppy)) = (TempDir::new("listing"), freedos()) else { return };
    std::fs::create_dir(dir.0.join("Virtual Hard Disks")).unwrap();
    dir.file("Virtual Hard Disks/freedos.vfd", &floppy);
    disk(&dir, "vhdx", "", "Virtual Hard Disks/FreeDOS.vhdx");
    dir.file("FreeDOS.hyperv.json", product("powershell.hyperv.json", &dir).as_bytes());
    boots(&dir, &dir.path(""));
}

#[test]
fn libvirt_and_qemu_boot_freedos() {
    let (dir, Some(floppy)) = (TempDir::new("libvirt"), freedos()) else { return };
    dir.file("freedos.img", &floppy);
    disk(&dir, "qcow2", "", "FreeDOS.qcow2");
    boots(&dir, &dir.file("freedos.xml", product("domain.xml", &dir).as_bytes()));
    std::fs::remove_dir_all(dir.path("made")).unwrap();
    boots(&dir, &dir.file("start.sh", product("qemu.sh", &dir).as_bytes()));
}

#[test]
fn virtualbox_is_read() {
    let dir = TempDir::new("virtualbox");
    disk(&dir, "vmdk", "subformat=streamOptimized", "FreeDOS-disk001.vmdk");
    let ovf = dir.file("FreeDOS.ovf", product("virtualbox.ovf", &dir).as_bytes());
    good(&["vm", "import", &ovf, "--output", &dir.path("made")]);
    let c = load_files(&[dir.0.join("made/machine.toml")]).unwrap();
    assert_eq!((c.memory, c.disks.len(), &c.cdroms[..]), (32 << 20, 1, &[None][..]));
}

/// A machine folder with everything that an export can carry, whose disk is a chain: raw, and an overlay that was written.
fn machine(dir: &TempDir) -> PathBuf {
    let folder = dir.0.join("box.emu");
    std::fs::create_dir(&folder).unwrap();
    disk(dir, "raw", "", "box.emu/base.img");
    let overlay = folder.join("disk0.qcow2");
    let overlay_text = overlay.to_string_lossy().into_owned();
    good(&["disk", "create", "-f", "qcow2", "-b", "base.img", "-F", "raw", &overlay_text]);
    let options = Options { write: true, parents: Parents::Anywhere, ..Options::default() };
    let mut image = Disk::open(&overlay, &options).unwrap();
    image.write(1_000_000, b"what the guest wrote").unwrap();
    image.flush().unwrap();
    drop(image);
    // A program that another test is just starting has the image's lock until it runs.
    let read = Options { parents: Parents::Anywhere, ..Options::default() };
    let free = (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        Disk::open(&overlay, &read).is_ok()
    });
    assert!(free, "{overlay_text} is still in use");
    dir.file("box.emu/second.img", &vec![0x5A; 3 << 20]);
    dir.file("box.emu/a.img", &vec![0xF6; 1_474_560]);
    dir.file("box.emu/cd.iso", &vec![0x11; 40 * 2048]);
    let toml = "name = \"the | \\\"box\\\" <&'1'>\"\ncpu = \"p6,+sse3\"\nhypervisor = \"hyper-v\"\nmemory = \"64M\"\nrtc = \"1999-12-31T23:59:58\"\n\
                seed = 7\nticks-per-second = 50000000\nboot = \"dca\"\nserial = [\"null\", \"null\"]\n\
                floppy = [{ image = \"a.img\", mode = \"read\" }]\n\
                disk = [{ image = \"disk0.qcow2\", mode = \"write\" }, { image = \"second.img\", mode = \"read\", format = \"raw\" }]\n\
                cdrom = [{ image = \"cd.iso\" }, {}]\n\
                [origin]\nguest = \"winnt\"\nnetwork = [{ model = \"vlance\", mac = \"00:15:5d:01:2a:00\", connection = \"nat\" }]\n";
    dir.file("box.emu/machine.toml", toml.as_bytes());
    folder
}

/// The bytes of a drive's image.
fn content(spec: &emu_machine::image::ImageSpec) -> Vec<u8> {
    let options = Options { format: spec.format, parents: Parents::Anywhere, ..Options::default() };
    let mut disk = Disk::open(&spec.path, &options).unwrap();
    let mut bytes = vec![0; disk.size() as usize];
    disk.read(0, &mut bytes).unwrap();
    bytes
}

/// Both are the same machine, but for where its files are and in which formats.
fn same(was: &MachineConfig, is: &MachineConfig, disks_read_only: bool) {
    assert_eq!((is.cpu, is.hypervisor, is.memory, is.rate), (was.cpu, was.hypervisor, was.memory, was.rate));
    assert_eq!((is.rtc, is.seed, &is.boot), (was.rtc, was.seed, &was.boot));
    assert_eq!(is.serials, [SerialTarget::Null, SerialTarget::Null]);
    let all = |c: &MachineConfig| {
        let disks = c.disks.iter().cloned().map(Some);
        [disks.collect(), c.cdroms.clone(), c.floppies.clone()]
    };
    for (was, is) in all(was).iter().zip(&all(is)) {
        assert_eq!(was.len(), is.len());
        for (was, is) in was.iter().zip(is) {
            assert_eq!(was.is_some(), is.is_some());
            if let (Some(was), Some(is)) = (was, is) {
                assert!(content(was) == content(is), "{} is not {}", is.path.display(), was.path.display());
            }
        }
    }
    let read = emu_machine::image::Mode::Read;
    assert_eq!(is.disks[1].mode == read, disks_read_only);
}

fn there_and_back(name: &str, to: &str, import: &str, kind: Kind, disks_read_only: bool) -> String {
    let dir = TempDir::new(name);
    let folder = machine(&dir).to_string_lossy().into_owned();
    let out = dir.path(&format!("out.{to}"));
    let said = good(&["vm", "export", &folder, "--to", to, "-o", &out]);
    assert!(said.contains("CPU: p6,+sse3 becomes the host's CPU"), "{said}");
    assert!(said.contains("floppy0: is not write-protected there"), "{said}");
    let was = load_files(&[dir.0.join("box.emu/machine.toml")]).unwrap();
    if to == "vmx" {
        // Where the machine has its CDs: behind its two disks, at the secondary channel.
        let vmx = std::fs::read_to_string(dir.path("out.vmx/the _ _box_ ___1__.vmx")).unwrap();
        assert!(vmx.contains("ide1:0.deviceType = \"cdrom-image\"") && vmx.contains("ide1:1.present"), "{vmx}");
    }
    // The first disk is flat, and stands on its own.
    std::fs::rename(dir.0.join("box.emu"), dir.0.join("moved")).unwrap();
    good(&["vm", "import", &dir.path(import), "--output", &dir.path("back"), "--convert", "raw"]);
    std::fs::rename(dir.0.join("moved"), dir.0.join("box.emu")).unwrap();
    let is = load_files(&[dir.0.join("back/machine.toml")]).unwrap();
    same(&was, &is, disks_read_only);
    let text = std::fs::read_to_string(dir.0.join("back/machine.toml")).unwrap();
    assert!(text.contains("the | \"box\" <&'1'>") || text.contains("the | \\\"box\\\" <&'1'>"), "{text}");
    assert!(text.contains("00:15:5d:01:2a:00"), "{text}");
    for folder in [out.clone(), format!("{out}/Virtual Hard Disks")] {
        let files = std::fs::read_dir(folder).into_iter().flatten().map(|e| e.unwrap().path());
        let images = files.filter(|p| [Some("vmdk"), Some("vhdx")].contains(&p.extension().and_then(|e| e.to_str())));
        images.for_each(|p| assert_eq!(Disk::open(&p, &Options::default()).unwrap().kind(), kind));
    }
    assert!(emu(&["vm", "export", &folder, "--to", to, "-o", &out]).status.code() == Some(3), "it is there already");
    said
}

#[test]
fn vmware_and_back() {
    there_and_back("to-vmx", "vmx", "out.vmx", Kind::Vmdk, true);
}

#[test]
fn ova_and_back() {
    let said = there_and_back("to-ova", "ova", "out.ova", Kind::Vmdk, false);
    assert!(!said.contains("is a pipe"), "{said}");
    assert!(said.contains("disk1: OVF has no read-only disks"), "{said}");
}

#[test]
fn hyper_v_and_back() {
    let said = there_and_back("to-hyperv", "hyperv", "out.hyperv", Kind::Vhdx, true);
    assert!(said.contains("Hyper-V has no read-only disks") && said.contains("legacy network adapter"), "{said}");
}

#[test]
fn hostile_descriptions_are_refused_in_one_line() {
    let dir = TempDir::new("hostile");
    let made = dir.path("made");
    let vmx = |name: &str| {
        format!("config.version = \"8\"\nmemsize = \"16\"\nide0:0.present = \"TRUE\"\nide0:0.fileName = \"{name}\"\n")
    };
    for (n, name) in ["../../../../etc/passwd", "/etc/passwd"].iter().enumerate() {
        let file = dir.file(&format!("{n}.vmx"), vmx(name).as_bytes());
        assert!(refused(&file, &made).contains("outside of the machine's folder"));
        let run = emu(&["run", &file, "--display", "none", "--timeout", "5"]);
        assert_eq!(run.status.code(), Some(3), "{name}");
    }
    // A disk in the folder whose extent is not: the image that it is put under must not lead out either.
    let extent = "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n\
                  RW 8 FLAT \"/etc/passwd\" 0\nddb.adapterType = \"ide\"\n";
    dir.file("flat.vmdk", extent.as_bytes());
    let error = refused(&dir.file("flat.vmx", vmx("flat.vmdk").as_bytes()), &made);
    assert!(error.contains("names the file /etc/passwd"), "{error}");
    // Keys that nobody knows, however they look, are passed over; the disk that is not there is what is wrong.
    let odd = format!("{}emu.cpu = \"../../x\"\nemu.unknown = \"y\"\nfoo.|00bar = \"|ZZ|\"\n", vmx("gone.vmdk"));
    assert!(refused(&dir.file("odd.vmx", odd.as_bytes()), &made).contains("is not there"));
    let huge = format!("memsize = \"16\"\n{}", "a".repeat(5 << 20));
    assert!(refused(&dir.file("huge.vmx", huge.as_bytes()), &made).contains("larger than 4 MiB"));
    let bomb = "<!DOCTYPE a [<!ENTITY b \"bbbb\"><!ENTITY c \"&b;&b;&b;\">]><domain><name>&c;</name></domain>";
    assert!(refused(&dir.file("bomb.xml", bomb.as_bytes()), &made).contains("not good XML"));
    let href = product("ovftool.ovf", &dir).replace("FreeDOS-disk1.vmdk", "../../../etc/passwd");
    assert!(refused(&dir.file("href.ovf", href.as_bytes()), &made).contains("outside of the machine's folder"));
    let json = product("powershell.hyperv.json", &dir).replace("67108864", "\"much\"");
    assert!(refused(&dir.file("x.hyperv.json", json.as_bytes()), &made).contains("not a listing"));
}

#[test]
fn archives_that_lie_are_refused_in_one_line() {
    let dir = TempDir::new("tar-bombs");
    let made = dir.path("made");
    let ovf = product("ovftool.ovf", &dir);
    let ovf = ("FreeDOS.ovf", ovf.len() as u64, b'0', ovf.as_bytes());
    let disk: (&str, u64, u8, &[u8]) = ("FreeDOS-disk1.vmdk", 4, b'0', b"disk");
    let names: Vec<String> = (0..2000).map(|n| format!("x{n}")).collect();
    let many: Vec<_> = names.iter().map(|n| (n.as_str(), 0, b'0', &b""[..])).collect();
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("huge", tar(&[ovf, ("FreeDOS-disk1.vmdk", 0o77777777777, b'0', b"")]), "cut short"),
        ("sparse", tar(&[ovf, ("FreeDOS-disk1.vmdk", 4, b'S', b"")]), "sparse entry"),
        ("link", tar(&[ovf, ("FreeDOS-disk1.vmdk", 0, b'2', b"")]), "no plain file"),
        ("climb", tar(&[ovf, ("../../x.vmdk", 4, b'0', b"disk")]), "has folders"),
        ("twice", tar(&[ovf, disk, disk]), "a second time"),
        ("without", tar(&[disk]), "no .ovf"),
        ("many", tar(&[&[ovf][..], &many].concat()), "more than 1024 files"),
    ];
    for (name, bytes, wanted) in cases {
        let error = refused(&dir.file(&format!("{name}.ova"), bytes), &made);
        assert!(error.contains(wanted), "{name}: {error}");
    }
}
