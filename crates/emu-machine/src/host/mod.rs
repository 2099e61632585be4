//! Running a machine beside its front ends: the loop of the machine's thread, pacing, scripts, serial lines.
//!
//! Front ends have threads of their own, and send [`Command`]s. What reaches the guest does so between two runs of the
//! CPU, stamped with its tick; so a run is the same whoever watches it, and however fast.

mod frame;
mod keep;
mod pace;
mod runner;
mod script;
mod serial;

pub use frame::{Frame, TextFrame};
pub use pace::Pacer;
pub use runner::{End, Replay, Runner, RunnerOptions, Turn};
pub use script::{Action, Script};
pub use serial::{SerialError, SerialLink};

use std::path::PathBuf;

use emu_core::Input;

use crate::image::ImageSpec;

/// What the machine's thread sends to a display.
#[derive(Clone, Debug, PartialEq)]
pub enum Show {
    /// The screen.
    Frame(Frame),
    /// One line for the person.
    Notice(String),
}

/// What a front end asks of the machine's thread.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Something for the guest.
    Input(Input),
    /// Put an image into a drive.
    Insert {
        /// The drive: `"fd0"`, `"cd0"`.
        drive: String,
        /// The image.
        image: ImageSpec,
    },
    /// Write a picture of the screen.
    Screenshot(PathBuf),
    /// Write a snapshot of the machine.
    Snapshot(PathBuf),
    /// Write all of the run so far as a recording.
    SaveRecording(PathBuf),
    /// Go back in guest time by so many milliseconds, and on from there.
    Back(u64),
    /// End the run.
    Quit,
    /// End the run because of this signal.
    Signal(i32),
}
