//! The same inputs at the same ticks lead to the same state, however the run is cut into slices, watched and paced.

mod common;

use common::{cached_guest, pc_with_floppy, pc_with_kernel, shared_guest};
use crossbeam_channel::{Receiver, unbounded};
use emu_core::timeline::TimelineSettings;
use emu_core::{Input, StateHash, Stop, Ticks};
use emu_machine::Machine;
use emu_machine::config::{KernelConfig, MachineConfig};
use emu_machine::host::{Action, End, Runner, RunnerOptions, Script, Show};
use emu_machine::keys::parse_keys;

/// What a run was: its inputs with their ticks, and where it ended.
struct Recording {
    inputs: Vec<(Ticks, Input)>,
    end: Ticks,
    hash: StateHash,
}

/// A guest, and a person's session with it.
struct Guest<'a> {
    name: &'a str,
    config: MachineConfig,
    /// Text that the person waits for, keys that are then typed, and what the screen shows at the end.
    session: [&'a str; 3],
    /// The last tick.
    end: u64,
}

/// Runs a guest by its session in the machine's own loop.
fn record(guest: &Guest<'_>, pace: bool, display: bool) -> Recording {
    let (config, [text, keys, seen]) = (guest.config.clone(), guest.session);
    let keys = Action::Type(parse_keys(keys).expect("keys"));
    let script = vec![Action::WaitFor(text.into()), keys, Action::UntilTicks(guest.end)];
    let (_keep, commands) = unbounded();
    let (show, frames): (_, Receiver<Show>) = unbounded();
    let watcher = std::thread::spawn(move || frames.iter().count());
    let options = RunnerOptions {
        pace,
        script: Script::new(script, config.rate),
        end_with_script: true,
        attended: false,
        timeout: None,
        reset_on_triple_fault: false,
        serials: Vec::new(),
        debug: None,
        show: display.then_some(show),
        timeline: pace.then(TimelineSettings::default),
        replay: None,
    };
    let mut runner = Runner::new(Machine::new(config).expect("a machine"), options, commands);
    assert_eq!(runner.run(), End::ScriptDone);
    let inputs = runner.input_log().to_vec();
    let (machine, _) = runner.finish();
    assert_eq!(watcher.join().expect("the watcher") > 0, display);
    assert!(machine.screen_text().contains(seen), "{}", machine.screen_text());
    Recording { inputs, end: machine.system.now(), hash: machine.system.hash() }
}

/// Repeats a run in slices of `slice()` ticks, looking at the screen after each of them if `watch`.
fn repeat(config: MachineConfig, recording: &Recording, watch: bool, mut slice: impl FnMut() -> u64) -> StateHash {
    let mut machine = Machine::new(config).expect("a machine");
    let mut run_to = |machine: &mut Machine, tick: Ticks| {
        while machine.system.now() < tick {
            let until = machine.system.now().after(slice()).min(tick);
            assert_ne!(machine.system.run(until), Stop::TripleFault);
            machine.system.bus.take_output();
            if watch {
                let _ = machine.frame();
            }
        }
    };
    for (tick, input) in &recording.inputs {
        run_to(&mut machine, *tick);
        machine.system.input(input);
    }
    run_to(&mut machine, recording.end);
    assert_eq!(machine.system.now(), recording.end);
    machine.system.hash()
}

/// Numbers that are the same in every run: xorshift [Marsaglia 2003].
fn uneven(most: u64) -> impl FnMut() -> u64 {
    let mut x = 0x9E37_79B9_7F4A_7C15_u64;
    move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        1 + x % most
    }
}

/// A guest that boots, answers keys and stands at its prompt again when `end` comes.
fn holds(guest: &Guest<'_>) {
    let (name, config) = (guest.name, &guest.config);
    let recording = record(guest, false, false);
    assert_eq!(recording.end, Ticks(guest.end), "{name}");
    assert!(recording.inputs.len() > 8, "{name}");
    let paced = record(guest, true, true);
    assert_eq!((paced.end, &paced.inputs), (recording.end, &recording.inputs), "{name}: paced, with a display");
    assert_eq!(paced.hash, recording.hash, "{name}: paced, with a display");
    assert_eq!(repeat(config.clone(), &recording, false, || u64::MAX), recording.hash, "{name}: in one piece");
    assert_eq!(repeat(config.clone(), &recording, true, uneven(2_000_000)), recording.hash, "{name}: in slices");
    assert_eq!(repeat(config.clone(), &recording, false, uneven(2_000)), recording.hash, "{name}: in small slices");
    let mut other = recording;
    other.inputs.truncate(other.inputs.len() - 2);
    assert_ne!(
        repeat(config.clone(), &other, false, || u64::MAX),
        other.hash,
        "{name}: a key less makes no difference"
    );
}

#[test]
fn freedos_is_the_same_however_it_is_run() {
    let Some(image) = shared_guest("freedos/fd1.4MB.img") else { return };
    let session = ["A:\\>", "dir<enter><wait 50ms>echo x<ctrl-c><up>", "bytes free"];
    holds(&Guest { name: "FreeDOS", config: pc_with_floppy(&image), session, end: 450_000_000 });
}

#[test]
fn linux_is_the_same_however_it_is_run() {
    let (Some(image), Some(initrd)) = (cached_guest("linux-i386/vmlinuz"), cached_guest("linux-i386/initrd.gz")) else {
        return;
    };
    let config = pc_with_kernel(&image, 64);
    let kernel = config.kernel.map(|k| KernelConfig { initrd: Some(initrd), append: "console=tty0".into(), ..k });
    // This early it shows nothing yet; the keys wait in its controller.
    let session = ["", "<wait 500ms>early<enter>", ""];
    holds(&Guest { name: "Linux", config: MachineConfig { kernel, ..config }, session, end: 350_000_000 });
}
