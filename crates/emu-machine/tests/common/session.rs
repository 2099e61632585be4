//! A person at the machine: looks at the screen, types, waits. All by the guest's clock, so a session is the same on
//! every host.

use std::time::Instant;

use emu_core::{Input, Output, Stop, Ticks};
use emu_machine::Machine;
use emu_machine::config::MachineConfig;
use emu_machine::host::Frame;
use emu_machine::keys::{KeyStep, parse_keys, strokes};

use super::picture::Picture;

/// Milliseconds between two key events, and between two looks at the screen.
const STEP_MS: u64 = 12;

/// A machine that somebody uses.
pub(crate) struct Session {
    /// The machine.
    pub(crate) machine: Machine,
    /// What the guest sent over COM1.
    serial: Vec<u8>,
    /// Whether the guest switched the machine off.
    off: bool,
    name: String,
    started: Instant,
}

impl Session {
    /// Switches the machine of `config` on; messages call it `name`.
    pub(crate) fn start(name: &str, config: MachineConfig) -> Session {
        let machine = Machine::new(config).unwrap_or_else(|e| panic!("{name}: {e}"));
        Session { machine, serial: Vec::new(), off: false, name: name.into(), started: Instant::now() }
    }

    /// Ticks of guest time in `ms` milliseconds.
    pub(crate) fn milliseconds(&self, ms: u64) -> u64 {
        self.machine.rate().ticks_in_us(ms * 1000)
    }

    /// Lets the guest run for `ms` milliseconds of its time.
    pub(crate) fn run_ms(&mut self, ms: u64) {
        let until = self.machine.system.now().after(self.milliseconds(ms));
        self.run_until(until);
    }

    /// Lets the guest run until `tick`, or until it switches the machine off.
    pub(crate) fn run_until(&mut self, tick: Ticks) {
        while self.machine.system.now() < tick && !self.off {
            let stop = self.machine.system.run(tick);
            self.take_output();
            if stop == Stop::TripleFault {
                panic!("{}: triple fault{}", self.name, self.describe());
            }
        }
    }

    fn take_output(&mut self) {
        for (_, output) in self.machine.system.bus.take_output() {
            match output {
                Output::Serial { port: 0, byte } => self.serial.push(byte),
                Output::PowerOff => self.off = true,
                _ => {}
            }
        }
    }

    /// Everything that came over COM1.
    pub(crate) fn serial(&self) -> String {
        String::from_utf8_lossy(&self.serial).replace('\r', "")
    }

    /// Waits until `text` has come over COM1, for `seconds` of guest time at the most.
    pub(crate) fn wait_for_serial(&mut self, text: &str, seconds: u64) {
        let end = self.machine.system.now().after(self.milliseconds(seconds * 1000));
        let mut seen = 0;
        loop {
            if self.serial[seen..].windows(text.len()).any(|w| w == text.as_bytes()) {
                return;
            }
            seen = self.serial.len().saturating_sub(text.len());
            self.fail_at(end, &format!("{text:?} over the serial port"), seconds);
            self.run_ms(STEP_MS);
        }
    }

    /// Waits until the guest switches the machine off, for `seconds` of guest time at the most.
    pub(crate) fn wait_for_power_off(&mut self, seconds: u64) {
        let end = self.machine.system.now().after(self.milliseconds(seconds * 1000));
        while !self.off {
            self.fail_at(end, "power-off", seconds);
            self.run_ms(STEP_MS);
        }
    }

    fn fail_at(&self, end: Ticks, what: &str, seconds: u64) {
        if self.off || self.machine.system.now() >= end {
            let serial = self.serial();
            let last: Vec<&str> = serial.lines().rev().take(20).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            panic!("{}: no {what} within {seconds} s{}\nserial:\n{}", self.name, self.describe(), last.join("\n"));
        }
    }

    /// The text on the screen, blank rows and all.
    pub(crate) fn screen(&self) -> String {
        self.machine.screen_text()
    }

    /// Waits until `seen` is true of the screen's text, for `seconds` of guest time at the most; returns the text.
    pub(crate) fn wait(&mut self, what: &str, seconds: u64, seen: impl Fn(&str) -> bool) -> String {
        let end = self.machine.system.now().after(self.milliseconds(seconds * 1000));
        loop {
            let text = self.screen();
            if seen(&text) {
                return text;
            }
            if self.machine.system.now() >= end {
                panic!("{}: no {what} within {seconds} s{}", self.name, self.describe());
            }
            self.run_ms(STEP_MS);
        }
    }

    /// Waits for `text` on the screen, for `seconds` of guest time at the most.
    pub(crate) fn wait_for(&mut self, text: &str, seconds: u64) -> String {
        self.wait(&format!("{text:?}"), seconds, |screen| screen.contains(text))
    }

    /// Waits for a picture in a graphics mode that shows at least `colours` different colours.
    pub(crate) fn wait_for_picture(&mut self, colours: usize, seconds: u64) -> Picture {
        let end = self.machine.system.now().after(self.milliseconds(seconds * 1000));
        loop {
            if let Frame::Picture { width, height, rgb } = self.machine.frame() {
                let picture = Picture { width, height, rgb };
                if picture.colours() >= colours {
                    return picture;
                }
            }
            if self.machine.system.now() >= end {
                panic!("{}: no picture of {colours} colours within {seconds} s{}", self.name, self.describe());
            }
            self.run_ms(5 * STEP_MS);
        }
    }

    /// Waits until all of `texts` can be read in a picture of a graphics mode.
    pub(crate) fn wait_for_drawn(&mut self, texts: &[&str], seconds: u64) {
        let end = self.machine.system.now().after(self.milliseconds(seconds * 1000));
        loop {
            if let Frame::Picture { width, height, rgb } = self.machine.frame()
                && (Picture { width, height, rgb }).reads(texts)
            {
                return;
            }
            self.fail_at(end, &format!("picture with {texts:?}"), seconds);
            self.run_ms(1000);
        }
    }

    /// Types `keys`, written as `emu run --type` takes them.
    pub(crate) fn type_keys(&mut self, keys: &str) {
        for step in parse_keys(keys).expect("keys of a US keyboard") {
            match step {
                KeyStep::Press(chord) => {
                    for input in strokes(&chord) {
                        self.machine.system.input(&input);
                        self.run_ms(STEP_MS);
                    }
                }
                KeyStep::Wait(ms) => self.run_ms(ms.into()),
            }
        }
    }

    /// Types at the other end of COM1.
    pub(crate) fn type_serial(&mut self, text: &str) {
        self.machine.system.input(&Input::Serial { port: 0, bytes: text.into() });
    }

    /// Says that the guest did what it should, and what that took.
    pub(crate) fn passed(&self) {
        let (ticks, host) = (self.machine.system.now().0, self.started.elapsed().as_secs_f64());
        println!("{}: ok, {ticks} ticks, {host:.2} s", self.name);
    }

    /// Where the machine stands, for messages.
    fn describe(&self) -> String {
        let (cpu, now) = (&self.machine.system.cpu, self.machine.system.now().0);
        format!(" (tick {now}, rip {:x}, {:?}); the screen:\n{}", cpu.rip, cpu.activity, non_blank(&self.screen()))
    }
}

/// The rows of `text` that are not blank.
fn non_blank(text: &str) -> String {
    text.lines().filter(|l| !l.trim().is_empty()).collect::<Vec<_>>().join("\n")
}
