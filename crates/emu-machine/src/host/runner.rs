//! The loop of the machine's thread: it runs the CPU, carries inputs in and output out, and keeps the pace.

mod debug;

pub use debug::Turn;

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use emu_core::timeline::{Divergence, Mark, SpinePoint, TimelineSettings};
use emu_core::{Input, Output, Stop, Ticks, Timeline};

use super::keep::Keeper;
use super::script::Step;
use super::{Command, Pacer, Script, SerialLink, Show};
use crate::image::{Medium, open};
use crate::machine::Machine;
use crate::recording::{Recorder, Snapshot, save_past};

/// Guest time of one stretch between two looks at the front ends, in milliseconds: short, as a slow host may take ten
/// times as long for it.
const STRETCH_MS: u64 = 4;
/// Host time between two pictures of the screen.
const FRAME: Duration = Duration::from_millis(25);
/// The longest sleep of a paced machine, so that timers of the guest come near their time.
const NAP: Duration = Duration::from_millis(10);
/// Guest time that a paced machine waits for before it runs on, in milliseconds: not each microsecond that has passed, or
/// a guest that rests would keep the host awake. One that needs little of the host's time takes larger pieces.
const PIECE_MS: (u64, u64) = (2, 5);
/// Guest time between two key events of a person: terminals send bursts that no keyboard could.
const KEY_GAP_MS: u64 = 4;
/// Key events that wait at the most; a longer paste loses its end.
const MAX_KEYS: usize = 1 << 16;

/// Why a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The guest switched the machine off.
    PowerOff,
    /// The guest wrote this value to the exit port.
    Exit(u32),
    /// The script is done, and nobody watches.
    ScriptDone,
    /// A front end asked for it.
    Quit,
    /// This signal asked for it.
    Signal(i32),
    /// The host time given for the run is over.
    Timeout,
    /// The CPU shut down.
    TripleFault,
    /// The CPU is halted with interrupts off, for good.
    Dead,
    /// Something on the host failed.
    Host(String),
    /// A recording has been replayed to its end.
    Replayed,
    /// A replay was not the run that was recorded.
    Diverged(Divergence),
}

/// A recorded run that is to be repeated.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Every input, with its tick.
    pub log: Vec<(Ticks, Input)>,
    /// Hashes of the machine's state, in ascending order.
    pub spine: Vec<SpinePoint>,
    /// Where the machine stands.
    pub start: Mark,
    /// Where the run ends.
    pub end: Mark,
}

/// How a machine is run.
#[derive(Debug)]
pub struct RunnerOptions {
    /// Whether guest time is held back to host time.
    pub pace: bool,
    /// What to do in the person's place.
    pub script: Script,
    /// Whether the run ends with the script.
    pub end_with_script: bool,
    /// Whether somebody watches, who may reset a machine that died.
    pub attended: bool,
    /// Host time that the run may take.
    pub timeout: Option<Duration>,
    /// Whether a triple fault resets the CPU, as on a real board, instead of ending the run.
    pub reset_on_triple_fault: bool,
    /// The serial ports' links, COM1 first.
    pub serials: Vec<SerialLink>,
    /// Where the debug console's bytes go.
    pub debug: Option<SerialLink>,
    /// Where pictures of the screen go.
    pub show: Option<Sender<Show>>,
    /// How the way back is kept; `None` if it is not.
    pub timeline: Option<TimelineSettings>,
    /// The run to be repeated, instead of a new one.
    pub replay: Option<Replay>,
}

/// A machine being run.
pub struct Runner {
    /// The machine.
    pub machine: Machine,
    options: RunnerOptions,
    commands: Receiver<Command>,
    pacer: Pacer,
    /// Whether the host needed far less time than the guest for the last stretch.
    rests: bool,
    started: Instant,
    next_frame: Instant,
    keeper: Keeper,
    shown_generation: Option<u64>,
    keys: VecDeque<Input>,
    key_wake: Ticks,
    /// Since when the CPU has been halted with interrupts off.
    dead_since: Option<Ticks>,
    said_dead: bool,
    timeline: Option<Timeline>,
    recorder: Option<Recorder>,
    /// Where the run began.
    origin: Ticks,
    /// Where a replay ends.
    replay_end: Option<Mark>,
    log: Vec<(Ticks, Input)>,
    warnings: Vec<String>,
    end: Option<End>,
}

impl core::fmt::Debug for Runner {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Runner").field("now", &self.machine.system.now()).finish_non_exhaustive()
    }
}

impl Runner {
    /// A runner of `machine`, from where it stands.
    #[must_use]
    pub fn new(mut machine: Machine, mut options: RunnerOptions, commands: Receiver<Command>) -> Runner {
        let (now, now_tick) = (Instant::now(), machine.system.now());
        let replay = options.replay.take();
        // A replay is a run with the log as the source of its inputs: that is the timeline's work.
        let settings = options.timeline.or(replay.is_some().then(TimelineSettings::default));
        let mut timeline = settings.map(|settings| Timeline::new(&mut machine.system, settings));
        let replay_end = replay.as_ref().map(|r| r.end);
        if let (Some(r), Some(timeline)) = (replay, &mut timeline) {
            timeline.expect(r.log, r.start.inputs, r.spine, r.end.tick);
        }
        let pacer = Pacer::new(machine.rate(), now, now_tick);
        Runner {
            machine,
            options,
            commands,
            pacer,
            rests: false,
            started: now,
            next_frame: now,
            keeper: Keeper::new(now),
            shown_generation: None,
            keys: VecDeque::new(),
            key_wake: Ticks(0),
            dead_since: None,
            said_dead: false,
            timeline,
            recorder: None,
            origin: now_tick,
            replay_end,
            log: Vec::new(),
            warnings: Vec::new(),
            end: None,
        }
    }

    /// Writes the run into a recording, which was begun before the machine first ran. The timeline must be on, and make
    /// a spine.
    pub fn record(&mut self, recorder: Recorder) {
        self.recorder = Some(recorder);
    }

    /// Points of a replay's recording that were found right, and how many there are.
    #[must_use]
    pub fn verified(&self) -> (usize, usize) {
        self.timeline.as_ref().map_or((0, 0), Timeline::verified)
    }

    /// Runs until something ends the run.
    pub fn run(&mut self) -> End {
        loop {
            self.take_commands();
            self.check_time();
            self.check_replay();
            self.run_script();
            self.release_keys();
            self.publish();
            self.write_recording();
            if let Some(failure) = self.keeper.poll(&self.machine) {
                self.warn(failure);
            }
            if let Some(end) = self.end.take() {
                self.publish_now();
                self.finish_recording();
                return end;
            }
            self.run_stretch();
        }
    }

    /// Ends a replay that has come to its end, or off its way.
    fn check_replay(&mut self) {
        let (Some(end), Some(timeline)) = (self.replay_end, &mut self.timeline) else { return };
        if self.machine.system.now() >= end.tick {
            // The last inputs, and the last look at the spine.
            timeline.run(&mut self.machine.system, end.tick);
        }
        if let Some(d) = timeline.divergence() {
            self.end = Some(End::Diverged(d.clone()));
        } else if timeline.mark(&self.machine.system) >= end {
            self.end.get_or_insert(End::Replayed);
        }
    }

    fn write_recording(&mut self) {
        if let (Some(recorder), Some(timeline)) = (&mut self.recorder, &mut self.timeline)
            && let Err(e) = recorder.poll(timeline, &self.machine.system)
        {
            self.recorder = None;
            self.warn(format!("{e}: the recording ends here, the guest goes on"));
        }
    }

    fn finish_recording(&mut self) {
        if let (Some(recorder), Some(timeline)) = (self.recorder.take(), &mut self.timeline)
            && let Err(e) = recorder.finish(timeline, &mut self.machine.system)
        {
            self.warn(format!("{e}: the recording lacks its end"));
        }
    }

    /// Whether the script has come to its end.
    #[must_use]
    pub fn script(&self) -> &Script {
        &self.options.script
    }

    /// Every input that the guest got, with its tick: with the configuration, all that it takes to repeat the run.
    #[must_use]
    pub fn input_log(&self) -> &[(Ticks, Input)] {
        self.timeline.as_ref().map_or(&self.log, Timeline::log)
    }

    /// Ends the run: closes the serial lines, and returns the machine and how many bytes were dropped.
    #[must_use]
    pub fn finish(mut self) -> (Machine, u64) {
        if let (Some(_), Some(timeline)) = (&self.recorder, &mut self.timeline) {
            // A debugger left it, perhaps in its past: the recording ends where the run does.
            let _ = timeline.seek(&mut self.machine.system, timeline.end());
            self.finish_recording();
        }
        let links = self.options.serials.into_iter().chain(self.options.debug);
        let dropped = links.map(SerialLink::close).sum();
        (self.machine, dropped)
    }

    fn milliseconds(&self, ms: u64) -> u64 {
        self.machine.rate().ticks_in_us(ms * 1000)
    }

    /// Runs the CPU for a while, or sleeps if the guest is ahead of its time.
    fn run_stretch(&mut self) {
        let now = self.machine.system.now();
        let mut until = now.after(self.milliseconds(STRETCH_MS)).min(self.options.script.wake());
        if !self.keys.is_empty() {
            until = until.min(self.key_wake);
        }
        let instant = Instant::now();
        if self.options.pace {
            let allowed = self.pacer.allowed(instant, now);
            let piece = if self.rests { PIECE_MS.1 } else { PIECE_MS.0 };
            if allowed < now.after(self.milliseconds(piece) / 2) {
                let next = now.after(self.milliseconds(piece));
                return self.nap(self.pacer.until(instant, next).clamp(Duration::from_millis(1), NAP));
            }
            until = until.min(allowed);
        }
        let until = until.max(now + 1).min(self.replay_end.map_or(Ticks::NEVER, |end| end.tick));
        let stop = match &mut self.timeline {
            Some(timeline) => timeline.run(&mut self.machine.system, until),
            None => self.machine.system.run(until),
        };
        let took = self.machine.rate().ticks_in_us(instant.elapsed().as_micros() as u64);
        self.rests = self.machine.system.now().since(now) > 8 * took;
        self.carry_output();
        if stop == Stop::TripleFault {
            self.triple_fault();
        }
        self.watch_for_death();
        if self.options.pace && self.machine.system.now() >= until && self.is_halted() {
            // Idle: the next thing happens at an event or an input.
            let next = self.machine.system.bus.next_deadline();
            let wait = self.pacer.until(Instant::now(), next);
            self.nap(wait.min(NAP));
        }
    }

    fn is_halted(&self) -> bool {
        use emu_core::cpu::Activity;
        matches!(self.machine.system.cpu.activity, Activity::Halted | Activity::Stalled | Activity::WaitForSipi)
    }

    /// Sleeps until a command comes, for `time` at the most.
    fn nap(&mut self, time: Duration) {
        match self.commands.recv_timeout(time) {
            Ok(command) => self.obey(command),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(time),
        }
    }

    fn take_commands(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            self.obey(command);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Input(_) | Command::Insert { .. } if self.replay_end.is_some() => {
                self.notice("this is a replay: it takes no inputs".into());
            }
            Command::Input(key @ Input::Key { .. }) => {
                if self.keys.len() < MAX_KEYS {
                    self.keys.push_back(key);
                }
            }
            Command::Input(input) => self.input(input),
            Command::Insert { drive, image } => {
                let medium = if drive.starts_with("cd") { Medium::Cd } else { Medium::Floppy };
                match open(&image, medium) {
                    Ok(backend) => {
                        let number = self.machine.attach(backend.backend, medium, image);
                        if let Some(recorder) = &mut self.recorder
                            && let Err(e) = recorder.attach(&self.machine)
                        {
                            self.recorder = None;
                            self.warn(format!("{e}: the recording ends here, the guest goes on"));
                        }
                        self.input(Input::Insert { drive, image: number });
                    }
                    Err(e) => self.notice(e.to_string()),
                }
            }
            Command::Screenshot(path) => {
                let done = self.machine.write_screenshot(&path);
                self.notice(done.map_or_else(|e| e.to_string(), |()| format!("wrote {}", path.display())));
            }
            Command::Snapshot(path) => {
                let done = Snapshot::save(&path, &self.machine);
                self.notice(done.map_or_else(|e| e.to_string(), |()| format!("wrote {}", path.display())));
            }
            Command::SaveRecording(path) => self.save_recording(&path),
            Command::Back(ms) => self.go_back(ms),
            Command::Quit => self.end = Some(End::Quit),
            Command::Signal(n) => self.end = Some(End::Signal(n)),
        }
    }

    fn save_recording(&mut self, path: &Path) {
        let Some(timeline) = &mut self.timeline else {
            return self.notice("the timeline is off: there is no past to save".into());
        };
        let done = match &self.recorder {
            Some(recorder) if recorder.path() == path => Err("that file is being written anyway".into()),
            _ => save_past(path, &mut self.machine, timeline, self.origin).map_err(|e| e.to_string()),
        };
        self.notice(done.map_or_else(|e| e, |()| format!("wrote {}", path.display())));
    }

    /// Goes back, and forgets what came after: the guest goes on from there.
    fn go_back(&mut self, ms: u64) {
        let by = self.milliseconds(ms);
        let (Some(timeline), None, None) = (&mut self.timeline, &self.recorder, self.replay_end) else {
            return self.notice("there is no way back: the timeline is off, or the run is in a recording".into());
        };
        let now = self.machine.system.now();
        let to = Ticks(now.0.saturating_sub(by)).max(timeline.start());
        if let Err(e) = timeline.seek(&mut self.machine.system, to) {
            return self.notice(e.to_string());
        }
        timeline.discard_future(&self.machine.system);
        self.keys.clear();
        (self.key_wake, self.dead_since, self.shown_generation) = (to, None, None);
        self.pacer = Pacer::new(self.machine.rate(), Instant::now(), to);
        let passed = now.since(to) / self.milliseconds(1).max(1);
        self.notice(format!("{passed} ms back, at tick {}; what came after is forgotten", to.0));
    }

    /// Hands an input to the guest now, and logs it.
    fn input(&mut self, input: Input) {
        let asked = matches!(input, Input::Eject { .. } | Input::Insert { .. } | Input::PowerButton);
        let system = &mut self.machine.system;
        let taken = match &mut self.timeline {
            Some(timeline) => timeline.input(system, input),
            None => {
                let taken = system.input(&input);
                self.log.push((system.now(), input));
                taken
            }
        };
        if !taken && asked {
            self.notice("this machine has no such thing".into());
        }
    }

    /// Lets the next key through when its time has come.
    fn release_keys(&mut self) {
        let now = self.machine.system.now();
        if now >= self.key_wake
            && let Some(key) = self.keys.pop_front()
        {
            self.input(key);
            self.key_wake = now.after(self.milliseconds(KEY_GAP_MS));
        }
    }

    fn check_time(&mut self) {
        if self.options.timeout.is_some_and(|t| self.started.elapsed() >= t) {
            self.end.get_or_insert(End::Timeout);
        }
    }

    fn run_script(&mut self) {
        self.do_due_steps();
        if self.options.end_with_script && self.options.script.is_finished() {
            self.end.get_or_insert(End::ScriptDone);
        }
    }

    fn do_due_steps(&mut self) {
        let machine = &self.machine;
        let steps = self.options.script.step(machine.system.now(), || machine.screen_text());
        for step in steps {
            let done = match step {
                Step::Input(input) => {
                    self.input(input);
                    Ok(())
                }
                Step::Screenshot(path) => self.machine.write_screenshot(&path).map_err(|e| e.to_string()),
                Step::ScreenText(path) => self.machine.write_screen_text(&path).map_err(|e| e.to_string()),
                Step::Snapshot(path) => Snapshot::save(&path, &self.machine).map_err(|e| e.to_string()),
            };
            if let Err(e) = done {
                self.end = Some(End::Host(e));
            }
        }
    }

    fn carry_output(&mut self) {
        let mut serial: [Vec<u8>; 4] = Default::default();
        let mut debug = Vec::new();
        for (_, output) in self.machine.system.bus.take_output() {
            match output {
                Output::Serial { port, byte } => serial[usize::from(port & 3)].push(byte),
                Output::Debug(byte) => debug.push(byte),
                // A replay ends where the recorded run did.
                Output::Exit(_) | Output::PowerOff if self.replay_end.is_some() => {}
                Output::Exit(value) => self.end = Some(End::Exit(value)),
                Output::PowerOff => self.end = Some(End::PowerOff),
                Output::Parallel { .. } | Output::Post(_) | Output::Speaker(_) => {}
            }
        }
        for (port, bytes) in serial.iter().enumerate().filter(|(_, b)| !b.is_empty()) {
            self.options.script.saw_serial(bytes);
            if let Some(link) = self.options.serials.get_mut(port) {
                link.send(bytes);
            }
        }
        if let (Some(link), false) = (&mut self.options.debug, debug.is_empty()) {
            link.send(&debug);
        }
    }

    /// A shutdown cycle resets a PC. Guests that use it to leave protected mode say so in the CMOS shutdown byte; for the
    /// others it is the end, as nothing good ever follows.
    fn triple_fault(&mut self) {
        if let Some(end) = self.replay_end {
            if self.machine.system.now() < end.tick {
                self.end = Some(End::TripleFault);
            }
            return;
        }
        if self.options.reset_on_triple_fault || self.machine.shutdown_code() != 0 {
            self.input(Input::ShutdownReset);
        } else {
            self.end = Some(End::TripleFault);
        }
    }

    /// Notices a CPU that stays halted with interrupts off for a second of guest time.
    fn watch_for_death(&mut self) {
        if self.replay_end.is_some() || !self.machine.is_halted_for_good() {
            self.dead_since = None;
            self.said_dead = false;
            return;
        }
        let now = self.machine.system.now();
        let since = *self.dead_since.get_or_insert(now);
        if now.since(since) < self.machine.rate().hz() {
            return;
        }
        if self.options.attended {
            if !core::mem::replace(&mut self.said_dead, true) {
                self.notice("the CPU is halted with interrupts off; Ctrl-] then r resets, q quits".into());
            }
        } else if self.options.script.is_finished() || self.options.script.waits_for_the_guest() {
            self.end.get_or_insert(End::Dead);
        }
    }

    /// Something that the person should know even where no display shows it.
    fn warn(&mut self, text: String) {
        if self.options.show.is_none() {
            self.warnings.push(text);
        } else {
            self.notice(text);
        }
    }

    /// What went wrong without ending the run, and was not shown.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn notice(&self, text: String) {
        if let Some(show) = &self.options.show {
            let _ = show.send(Show::Notice(text));
        }
    }

    /// Sends a picture of the screen, if the last one is old and something may have changed.
    fn publish(&mut self) {
        if self.options.show.is_some() && Instant::now() >= self.next_frame {
            self.publish_now();
        }
    }

    fn publish_now(&mut self) {
        let Some(show) = &self.options.show else { return };
        self.next_frame = Instant::now() + FRAME;
        let generation = self.machine.screen_generation();
        if generation.is_some() && generation == self.shown_generation {
            return;
        }
        if show.len() < 4 && show.send(Show::Frame(self.machine.frame())).is_ok() {
            self.shown_generation = generation;
        }
    }
}
