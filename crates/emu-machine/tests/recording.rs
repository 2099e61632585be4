//! Recordings of a DOS session: replayed whole, cut off, damaged, with other disks, and with the disks inside.

mod common;

use std::path::{Path, PathBuf};

use common::{pc_with_floppy, shared_guest};
use crossbeam_channel::unbounded;
use emu_core::timeline::{Mark, TimelineSettings};
use emu_core::{Input, Key, StateHash, Ticks};
use emu_machine::Machine;
use emu_machine::config::MachineConfig;
use emu_machine::host::{Action, End, Replay, Runner, RunnerOptions, Script};
use emu_machine::image::Mode;
use emu_machine::keys::parse_keys;
use emu_machine::recording::{Recorder, Recording, Tail};

/// Where the run ends.
const END: u64 = 460_000_000;

/// A folder that is gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("emu-recording-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn runner(machine: Machine, actions: Vec<Action>, replay: Option<Replay>) -> Runner {
    let (_, commands) = unbounded();
    let settings = TimelineSettings { interval: 20_000_000, spine: replay.is_none(), ..TimelineSettings::default() };
    let options = RunnerOptions {
        pace: false,
        script: Script::new(actions, machine.rate()),
        end_with_script: replay.is_none(),
        attended: false,
        timeout: None,
        reset_on_triple_fault: false,
        serials: Vec::new(),
        debug: None,
        show: None,
        timeline: Some(settings),
        replay,
    };
    Runner::new(machine, options, commands)
}

/// Records a session that writes to its diskette; returns where the machine ended.
fn record(config: MachineConfig, file: &Path, embed: bool) -> (Ticks, StateHash) {
    let keys = parse_keys("echo hello >a.txt<enter>dir<enter>").expect("keys");
    let script = vec![Action::WaitFor("A:\\>".into()), Action::Type(keys), Action::UntilTicks(END)];
    let machine = Machine::new(config).expect("a machine");
    let recorder = Recorder::create(file, &machine, embed).unwrap_or_else(|e| panic!("{e}"));
    let mut runner = runner(machine, script, None);
    runner.record(recorder);
    assert_eq!(runner.run(), End::ScriptDone);
    assert!(runner.warnings().is_empty());
    let (machine, _) = runner.finish();
    assert!(machine.screen_text().contains("A        TXT"), "{}", machine.screen_text());
    (machine.system.now(), machine.system.hash())
}

fn replay_of(recording: &Recording, start: Mark) -> Replay {
    Replay { log: recording.log().to_vec(), spine: recording.spine().to_vec(), start, end: recording.end() }
}

/// Replays all that a recording has; returns how it ended, where, and how many points were right.
fn replay(recording: &Recording) -> (End, Ticks, StateHash, (usize, usize)) {
    let machine = recording.build().unwrap_or_else(|e| panic!("{e}"));
    let mut runner = runner(machine, Vec::new(), Some(replay_of(recording, Mark::default())));
    let end = runner.run();
    let verified = runner.verified();
    let (machine, _) = runner.finish();
    (end, machine.system.now(), machine.system.hash(), verified)
}

fn open(path: &Path) -> Recording {
    Recording::open(path).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn a_replay_is_the_run() {
    let Some(image) = shared_guest("freedos/fd1.4MB.img") else { return };
    let folder = Folder::new("whole");
    let file = folder.file("dos.emurec");
    let (tick, hash) = record(pc_with_floppy(&image), &file, false);
    let recording = open(&file);
    assert_eq!((recording.tail(), recording.end().tick), (Tail::Whole, tick));
    let (end, at, found, (good, all)) = replay(&recording);
    assert_eq!((end, at, found), (End::Replayed, tick, hash));
    assert!(good == all && all > 20, "{good} of {all}");

    // From the state at the end, at once.
    let mut machine = recording.build().expect("a machine");
    let start = recording.load_checkpoint(&mut machine, recording.end().tick).expect("a checkpoint");
    assert_eq!((start, machine.system.hash()), (recording.end(), hash));

    // Another key is found out.
    let mut wrong = replay_of(&recording, Mark::default());
    let at = wrong.log.len() / 2;
    wrong.log[at].1 = Input::Key { key: Key(0x2C), down: true };
    let tick = wrong.log[at].0;
    let mut runner = runner(recording.build().expect("a machine"), Vec::new(), Some(wrong));
    let End::Diverged(d) = runner.run() else { panic!("it was taken for the same") };
    assert!(d.good.is_some_and(|m| m.tick <= tick) && d.expected.at.tick >= tick, "{d:?}");
    assert!(d.parts.iter().any(|p| p == "memory"), "{d:?}");
}

#[test]
fn a_file_cut_anywhere_plays_as_far_as_it_goes() {
    let Some(image) = shared_guest("freedos/fd1.4MB.img") else { return };
    let folder = Folder::new("cut");
    let (file, cut) = (folder.file("dos.emurec"), folder.file("cut.emurec"));
    record(pc_with_floppy(&image), &file, false);
    let bytes = std::fs::read(&file).expect("the recording");
    let mut plays = 0;
    let mut last = Ticks(0);
    for i in 0..60 {
        let n = if i < 40 { i * 300 } else { i * bytes.len() / 60 };
        std::fs::write(&cut, &bytes[..n.min(bytes.len() - 1)]).expect("a file");
        let Ok(recording) = Recording::open(&cut) else {
            assert!(n < 2_000, "nothing to play at {n}");
            continue;
        };
        assert!(matches!(recording.tail(), Tail::Cut { at } if at <= n as u64), "{:?}", recording.tail());
        assert!(recording.end().tick >= last);
        last = recording.end().tick;
        if plays < 12 || i > 55 {
            let (end, at, _, (good, all)) = replay(&recording);
            assert_eq!((end, at, good), (End::Replayed, recording.end().tick, all), "cut at {n}");
            plays += 1;
        }
    }
    assert!(plays > 10 && last == Ticks(END));
}

#[test]
fn damage_is_found_wherever_it_is() {
    let Some(image) = shared_guest("freedos/fd1.4MB.img") else { return };
    let folder = Folder::new("damaged");
    let (file, bad) = (folder.file("dos.emurec"), folder.file("bad.emurec"));
    record(pc_with_floppy(&image), &file, true);
    let bytes = std::fs::read(&file).expect("the recording");
    for i in 0..200usize {
        let at = if i < 120 { i * 7 } else { (i * 7919 * 131) % bytes.len() };
        let mut bytes = bytes.clone();
        bytes[at] ^= 1 << (i % 8);
        std::fs::write(&bad, &bytes).expect("a file");
        match Recording::open(&bad) {
            Err(e) => assert_eq!(e.to_string().lines().count(), 1, "{e}"),
            Ok(recording) => {
                assert!(matches!(recording.tail(), Tail::Damaged { at: from, .. } if from <= at as u64), "at {at}");
                // What it still has may lack disk blocks: then the replay differs, or ends early; it never hangs.
                if i % 20 == 0 && recording.build().is_ok() {
                    replay(&recording);
                }
            }
        }
    }
    let text = |bytes: &[u8]| {
        std::fs::write(&bad, bytes).expect("a file");
        Recording::open(&bad).expect_err("refused").to_string()
    };
    let newer = [&bytes[..8], &[9, 0, 0, 0], &bytes[12..]].concat();
    assert!(text(&newer).contains("bad.emurec is a recording of format 9; this emu reads formats 1 to "));
    assert!(text(b"\x7FELF and so on").ends_with("is no recording of emu"));
    assert!(text(&[]).ends_with("is no recording of emu"));
    assert!(text(&bytes[..30]).contains("ends at byte 30, before the run begins"));
}

#[test]
fn disks_must_be_what_they_were_or_come_along() {
    let Some(image) = shared_guest("freedos/fd1.4MB.img") else { return };
    let folder = Folder::new("disks");
    let (own, file, packed) = (folder.file("own.img"), folder.file("r.emurec"), folder.file("p.emurec"));
    let contents = std::fs::read(&image).expect("the image");
    std::fs::write(&own, &contents).expect("an image");
    let (tick, hash) = record(pc_with_floppy(&own), &file, false);
    record(pc_with_floppy(&own), &packed, true);
    assert_eq!(std::fs::read(&own).expect("the image"), contents);

    let mut changed = contents.clone();
    changed[600] ^= 1; // in the first FAT
    std::fs::write(&own, &changed).expect("an image");
    let failure = open(&file).build().err().map(|e| e.to_string()).unwrap_or_default();
    assert!(failure.contains("own.img is not what it was when") && failure.contains("sectors 0 to 7"), "{failure}");
    std::fs::write(&own, &contents[..737_280]).expect("an image");
    assert!(open(&file).build().is_err_and(|e| e.to_string().contains("1440 sectors instead of 2880")));
    std::fs::remove_file(&own).expect("gone");
    assert!(open(&file).build().is_err_and(|e| e.to_string().contains("no such file")));
    let (end, at, found, (good, all)) = replay(&open(&packed));
    assert_eq!((end, at, found, good), (End::Replayed, tick, hash, all));

    // An image that the run itself changes is refused, unless it comes along.
    std::fs::write(&own, &contents).expect("an image");
    let mut config = pc_with_floppy(&own);
    config.floppies[0].as_mut().expect("a floppy").mode = Mode::Write;
    let machine = Machine::new(config.clone()).expect("a machine");
    let refused = Recorder::create(&file, &machine, false).expect_err("refused").to_string();
    assert!(refused.contains("mode=write") && refused.contains("--embed-disks"), "{refused}");
    drop(machine);
    let (tick, hash) = record(config, &packed, true);
    assert_ne!(std::fs::read(&own).expect("the image"), contents);
    let (end, at, found, _) = replay(&open(&packed));
    assert_eq!((end, at, found), (End::Replayed, tick, hash));

    // What is no recording is never overwritten.
    let machine = Machine::new(pc_with_floppy(&image)).expect("a machine");
    assert!(Recorder::create(&own, &machine, false).is_err_and(|e| e.to_string().contains("left alone")));
}
