//! Files that were cut off anywhere, changed anywhere, or lie: what they still give, and what is said of them.

use std::path::{Path, PathBuf};

use emu_core::mem::PageImage;
use emu_core::timeline::{Mark, PageKey, Stored, Timeline, TimelineSettings};
use emu_core::{Input, Key, Ticks};
use test_roms::roms::desk_floppy;

use super::frame::{FILE_HEAD, Found, FrameReader, Kind, write_frame};
use super::wire::CheckpointPart;
use super::*;
use crate::config::MachineConfig;
use crate::image::ImageSpec;
use crate::machine::Machine;
use crate::testing::TempDir;

/// Without optimisation a part of the places must do.
const STEP: usize = if cfg!(debug_assertions) { 97 } else { 1 };
/// Where the run ends.
const END: u64 = 12_000_000;

fn machine(dir: &TempDir) -> Machine {
    let image = dir.path().join("desk.img");
    if !image.exists() {
        dir.file("desk.img", &desk_floppy(b'A'));
    }
    let floppies = vec![Some(ImageSpec::new(image))];
    Machine::new(MachineConfig { memory: 1 << 20, floppies, ..MachineConfig::default() }).expect("a machine")
}

fn run(machine: &mut Machine, timeline: &mut Timeline, to: u64) {
    while machine.system.now().0 < to {
        timeline.run(&mut machine.system, Ticks(to));
        machine.system.bus.take_output();
    }
}

/// A short recording of somebody who types; and the machine at its end.
fn record(dir: &TempDir, embed: bool) -> (PathBuf, Machine) {
    let (mut machine, path) = (machine(dir), dir.path().join("r.emurec"));
    let mut recorder = Recorder::create(&path, &machine, embed).expect("a recording");
    let settings = TimelineSettings { interval: 1 << 21, spine: true, ..TimelineSettings::default() };
    let mut timeline = Timeline::new(&mut machine.system, settings);
    for i in 0..5 {
        run(&mut machine, &mut timeline, (i + 1) * END / 6);
        timeline.input(&mut machine.system, Input::Key { key: Key(0x10 + i as u16), down: true });
        recorder.write_news(&mut timeline, &machine.system).expect("written");
    }
    run(&mut machine, &mut timeline, END);
    recorder.finish(&mut timeline, &mut machine.system).expect("written");
    timeline.close(&mut machine.system);
    (path, machine)
}

/// Writes a new file: over an old one, some hosts would wait for the disk each time.
fn put(path: &Path, bytes: &[u8]) {
    let _ = std::fs::remove_file(path);
    std::fs::write(path, bytes).expect("a file");
}

fn one_line(e: &RecordingError) {
    assert_eq!(e.to_string().lines().count(), 1, "{e}");
}

#[test]
fn cut_at_every_length() {
    let dir = TempDir::new();
    let bytes = std::fs::read(record(&dir, false).0).expect("the recording");
    let cut = dir.path().join("cut");
    let mut last = Mark::default();
    for n in (0..bytes.len()).step_by(STEP) {
        put(&cut, &bytes[..n]);
        match Recording::open(&cut) {
            Ok(r) => {
                assert!(matches!(r.tail(), Tail::Cut { at } if at <= n as u64), "{n}: {:?}", r.tail());
                assert!(r.end() >= last && r.end().inputs == r.log().len(), "{n}: {:?}", r.end());
                last = r.end();
            }
            Err(e) => {
                assert!(last == Mark::default(), "{n}: {e}");
                one_line(&e);
            }
        }
    }
    assert_eq!(last, Mark { tick: Ticks(END), inputs: 5 });
}

#[test]
fn changed_at_every_byte() {
    let dir = TempDir::new();
    let bytes = std::fs::read(record(&dir, true).0).expect("the recording");
    let bad = dir.path().join("bad");
    for at in (0..bytes.len()).step_by(STEP) {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        put(&bad, &changed);
        match Recording::open(&bad) {
            // The version itself: as one of version 2 the file is the same.
            Ok(r) if at == 8 => assert_eq!((r.tail(), r.log().len()), (Tail::Whole, 5)),
            Ok(r) => assert!(matches!(r.tail(), Tail::Damaged { at: from, .. } if from <= at as u64), "{at}"),
            Err(e) => one_line(&e),
        }
    }
    for version in [0u8, 200, 255] {
        let mut other = bytes.clone();
        other[8] = version;
        put(&bad, &other);
        let said = Recording::open(&bad).expect_err("refused").to_string();
        assert!(
            said.contains(&format!("a recording of format {version}; this emu reads formats {OLDEST} to {VERSION}")),
            "{said}"
        );
    }
}

/// Writes `from` again to `to`, with the checkpoints' parts changed, and every check right.
fn rewrite(from: &Path, to: &Path, change: impl Fn(&mut CheckpointPart)) {
    rewrite_kind(from, to, Kind::Checkpoint, change);
}

fn rewrite_kind(from: &Path, to: &Path, of: Kind, mut change: impl FnMut(&mut CheckpointPart)) {
    let bytes = std::fs::read(from).expect("the file");
    let mut out = bytes[..FILE_HEAD as usize].to_vec();
    let mut frames = FrameReader::new(&bytes[FILE_HEAD as usize..]);
    while let Found::Frame(kind, mut payload) = frames.next().expect("a frame") {
        if kind == of {
            let mut part: CheckpointPart = postcard::from_bytes(&payload).expect("a part");
            change(&mut part);
            payload = postcard::to_allocvec(&part).expect("a part");
        }
        let at = out.len() as u64;
        write_frame(&mut out, at, kind, &payload).expect("a frame");
    }
    std::fs::write(to, out).expect("a file");
}

#[test]
fn states_that_lie_are_found_out() {
    let dir = TempDir::new();
    let (whole, machine) = record(&dir, false);
    let snapshot = dir.path().join("s.emusnap");
    Snapshot::save(&snapshot, &machine).expect("a snapshot");
    let lie = dir.path().join("lie");
    rewrite(&snapshot, &lie, |_| {});
    let restored = Snapshot::open(&lie).expect("a snapshot").restore().expect("a machine");
    assert_eq!(restored.system.hash(), machine.system.hash());

    // Another hash than that of the state.
    rewrite(&snapshot, &lie, |part| part.at.hash[3] ^= 1);
    let said = Snapshot::open(&lie).expect("a snapshot").restore().err().map(|e| e.to_string()).unwrap_or_default();
    assert!(said.contains("is not what its hash says"), "{said}");
    rewrite_kind(&whole, &lie, Kind::Delta, |part| part.at.hash[3] ^= 1);
    assert!(matches!(Recording::open(&lie).expect("a recording").tail(), Tail::Damaged { .. }));

    // Another state than that of the hash: a byte of the machine's memory, and one of its structure.
    for (place, what) in [(0.7, "is not what its hash says"), (0.0, "does not load")] {
        rewrite(&snapshot, &lie, |part| {
            let mut state = zstd::decode_all(&part.bytes[..]).expect("a state");
            let at = (state.len() as f64 * place) as usize;
            state[at] ^= 1;
            part.bytes = zstd::encode_all(&state[..], 1).expect("a state");
        });
        let said = Snapshot::open(&lie).expect("a snapshot").restore().err().map(|e| e.to_string()).unwrap_or_default();
        assert!(said.contains(what), "{said}");
    }
    // No zstd stream; and one that unpacks to far more than the machine can hold.
    for bytes in [vec![1, 2, 3], zstd::encode_all(&vec![0; 100 << 20][..], 1).expect("zeros")] {
        rewrite(&snapshot, &lie, |part| part.bytes.clone_from(&bytes));
        let said = Snapshot::open(&lie).expect("a snapshot").restore().err().map(|e| e.to_string()).unwrap_or_default();
        assert!(said.contains("unpack"), "{said}");
    }
    // A tick that the state does not have.
    rewrite(&snapshot, &lie, |part| part.at.tick += 1);
    assert!(Snapshot::open(&lie).is_err());
}

/// Writes `from` again to `to` with some deltas changed, and every check right.
fn rewrite_deltas(from: &Path, to: &Path, change: impl Fn(usize, &mut Stored)) {
    let mut number = 0;
    rewrite_kind(from, to, Kind::Delta, |part| {
        assert!(part.part == 0 && part.last, "a small machine");
        let mut stored = delta::unpack(&part.bytes, 1 << 30, &part.at.point()).expect("a delta");
        change(number, &mut stored);
        number += 1;
        part.bytes = delta::pack(&stored).expect("a delta");
    });
}

#[test]
fn checkpoints_that_lie_are_passed_over() {
    let dir = TempDir::new();
    let (whole, machine) = record(&dir, false);
    let lie = dir.path().join("lie");
    let seek = |file: &Path, tick: u64| {
        let recording = Recording::open(file).expect("a recording");
        let mut other = recording.build().expect("a machine");
        let mut timeline = Timeline::new(&mut other.system, TimelineSettings::default());
        timeline.expect(recording.log().to_vec(), 0, recording.spine().to_vec(), recording.end().tick);
        let given = recording.give_checkpoints(&other.system, &mut timeline, recording.end().tick);
        timeline.seek(&mut other.system, Ticks(tick)).expect("there");
        (given, timeline.take_lies(), other.system.hash())
    };
    let (given, lies, hash) = seek(&whole, END);
    assert_eq!((given.expect("checkpoints"), lies, hash), (2, vec![], machine.system.hash()));
    // A page, the devices, or the A20 gate of the first one: the second is made from it, unless it has the page itself.
    for what in 0..3 {
        rewrite_deltas(&whole, &lie, |number, stored| match what {
            _ if number > 0 => {}
            0 => stored.pages[7].1 = PageImage::of(&[0x5A; 4096]),
            1 => stored.devices = stored.devices[1..].into(),
            _ => stored.a20 ^= true,
        });
        for tick in [END, END * 7 / 8] {
            let (given, lies, hash) = seek(&lie, tick);
            assert!(given.is_ok() && (what > 0 || !lies.is_empty()), "{what}: {lies:?}");
            assert_eq!(hash, seek(&whole, tick).2, "{what} at {tick}");
        }
        let recording = Recording::open(&lie).expect("a recording");
        let mut other = recording.build().expect("a machine");
        let said = recording.load_checkpoint(&mut other, Ticks(END * 7 / 8)).expect_err("a lie").to_string();
        assert!(said.contains("is not what its hash says"), "{said}");
    }
    // A page that the machine does not have, and pages out of order.
    for what in 0..2 {
        rewrite_deltas(&whole, &lie, |_, stored| match what {
            0 => stored.pages.push((PageKey::from_raw(1 << 40), PageImage::of(&[1; 4096]))),
            _ => stored.pages.insert(1, stored.pages[0].clone()),
        });
        let (given, lies, hash) = seek(&lie, END);
        assert!(given.is_err_and(|e| e.to_string().contains("is not of this")) && lies.is_empty());
        assert_eq!(hash, machine.system.hash());
    }
    // No zstd stream; and too much.
    for bytes in [vec![1, 2, 3], zstd::encode_all(&vec![0; 100 << 20][..], 1).expect("zeros")] {
        rewrite_kind(&whole, &lie, Kind::Delta, |part| part.bytes.clone_from(&bytes));
        let (given, _, hash) = seek(&lie, END);
        assert!(given.is_err_and(|e| e.to_string().contains("unpack")));
        assert_eq!(hash, machine.system.hash());
    }
}

#[test]
fn snapshots_are_whole_or_refused() {
    let dir = TempDir::new();
    let (_, machine) = record(&dir, false);
    let (file, bad) = (dir.path().join("s.emusnap"), dir.path().join("bad"));
    Snapshot::save(&file, &machine).expect("a snapshot");
    let bytes = std::fs::read(&file).expect("the snapshot");
    for n in (0..bytes.len()).step_by(3 * STEP) {
        put(&bad, &bytes[..n]);
        one_line(&Snapshot::open(&bad).expect_err("cut"));
        let mut changed = bytes.clone();
        changed[n] ^= 1 << (n % 8);
        put(&bad, &changed);
        one_line(&Snapshot::open(&bad).expect_err("changed"));
    }
}
