//! A machine: a board built from its configuration, with what front ends ask of it.

use std::io::Write;
use std::path::{Path, PathBuf};

use emu_core::bus::DeviceId;
use emu_core::cpu::{Activity, bits};
use emu_core::{BlockBackend, ClockRate, System};
use emu_devices::mc146818::Mc146818;
use emu_devices::vga::{TextScreen, Vga};

use crate::board;
use crate::boot::BootError;
use crate::config::{ConfigError, MachineConfig};
use crate::host::{Frame, TextFrame};
use crate::image::{ImageError, ImageSpec, Medium, reason};
use crate::recording::RecordingError;
use crate::screen::{ScreenError, plain_text, write_png};

/// Where the reason for a reset is kept in CMOS memory [PC/AT TR, "CMOS RAM": shutdown status byte].
const SHUTDOWN_STATUS: u8 = 0x0F;

/// Why a machine can't be built. Each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A recording, or what it needs.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// A kernel.
    #[error("{path}: {error}")]
    Boot {
        /// The kernel's file.
        path: PathBuf,
        /// What is wrong with it.
        error: BootError,
    },
    /// A kernel, initrd, module or firmware that can't be read.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the host says.
        reason: String,
    },
    /// Firmware of no possible size.
    #[error("{path} has {size} bytes: firmware has a multiple of 64K, up to 16M, and a video BIOS up to 64K")]
    Firmware {
        /// The file.
        path: PathBuf,
        /// Its size.
        size: u64,
    },
    /// The host has not that much memory.
    #[error("the host can't give {0} bytes of memory")]
    Memory(u64),
}

/// Why a file of the machine's output could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct OutputError {
    /// The file.
    pub path: PathBuf,
    /// What the host says.
    pub reason: String,
}

/// A machine, built and reset.
#[allow(missing_debug_implementations, reason = "a whole machine is too large to print")]
pub struct Machine {
    /// CPUs, memory, devices.
    pub system: System,
    /// What it was built from.
    pub config: MachineConfig,
    /// Images that it got later, in this order.
    pub attached: Vec<(Medium, ImageSpec)>,
}

impl Machine {
    /// Builds and resets the machine that `config` describes.
    ///
    /// # Errors
    /// Any [`BuildError`].
    pub fn new(config: MachineConfig) -> Result<Machine, BuildError> {
        config.check()?;
        let mut system = board::pc::build(&config)?;
        system.reset();
        Ok(Machine { system, config, attached: Vec::new() })
    }

    /// Makes the opened image of `spec` one of the machine's; returns its number, which [`emu_core::Input::Insert`] takes.
    pub fn attach(&mut self, backend: Box<dyn BlockBackend>, medium: Medium, spec: ImageSpec) -> u32 {
        self.attached.push((medium, spec));
        self.system.bus.attach_image(backend)
    }

    /// Ticks per second of guest time.
    #[must_use]
    pub fn rate(&self) -> ClockRate {
        self.system.bus.rate()
    }

    /// The characters on the screen, if it is in a text mode.
    #[must_use]
    pub fn text_screen(&self) -> Option<TextScreen> {
        self.system.bus.find::<Vga>()?.text_screen(&self.system.mem)
    }

    /// The text on the screen, row by row; empty in graphics modes.
    #[must_use]
    pub fn screen_text(&self) -> String {
        self.text_screen().map(|t| plain_text(&t)).unwrap_or_default()
    }

    /// What a person sees.
    #[must_use]
    pub fn frame(&self) -> Frame {
        if let Some(t) = self.text_screen() {
            let cursor = t.cursor.map(|c| (c.col, c.row));
            return Frame::Text(TextFrame { columns: t.cols, rows: t.rows, cells: t.cells, blink: true, cursor });
        }
        let picture = self.picture();
        Frame::Picture { width: picture.width, height: picture.height, rgb: picture.rgb }
    }

    /// A number that changes whenever the screen may have changed; `None` if only a look at it can tell.
    #[must_use]
    pub fn screen_generation(&self) -> Option<u64> {
        self.system.bus.find::<Vga>()?.generation(&self.system.mem)
    }

    fn picture(&self) -> emu_devices::vga::Frame {
        let vga = self.system.bus.find::<Vga>();
        vga.map(|v| v.frame(&self.system.mem, self.system.now(), self.rate())).unwrap_or_default()
    }

    /// Writes a picture of the screen, as PNG.
    ///
    /// # Errors
    /// [`OutputError`], also when the screen is dark.
    pub fn write_screenshot(&self, path: &Path) -> Result<(), OutputError> {
        let failed = |reason| OutputError { path: path.to_owned(), reason };
        let mut png = Vec::new();
        write_png(&self.picture(), &mut png).map_err(|e: ScreenError| failed(e.to_string()))?;
        std::fs::write(path, png).map_err(|e| failed(reason(&e)))
    }

    /// Writes the text of the screen; `-` is the standard output.
    ///
    /// # Errors
    /// [`OutputError`].
    pub fn write_screen_text(&self, path: &Path) -> Result<(), OutputError> {
        let failed = |e: std::io::Error| OutputError { path: path.to_owned(), reason: reason(&e) };
        let text = self.screen_text() + "\n";
        if path == Path::new("-") {
            return std::io::stdout().write_all(text.as_bytes()).map_err(failed);
        }
        std::fs::write(path, text).map_err(failed)
    }

    /// The shutdown status byte: not 0 when the guest expects to be reset.
    #[must_use]
    pub fn shutdown_code(&self) -> u8 {
        self.system.bus.find::<Mc146818>().map_or(0, |rtc| rtc.cmos(SHUTDOWN_STATUS))
    }

    /// Whether every CPU is halted, or stands before an x87 instruction, with interrupts off, or was never started.
    #[must_use]
    pub fn is_halted_for_good(&self) -> bool {
        self.system.cpus().all(|cpu| match cpu.activity {
            Activity::Halted | Activity::Stalled => cpu.eflags & bits::IF == 0,
            Activity::WaitForSipi => cpu.id != 0,
            _ => false,
        })
    }

    /// The device with `name`.
    #[must_use]
    pub fn device(&self, name: &str) -> Option<DeviceId> {
        self.system.bus.devices().find(|(_, n)| *n == name).map(|(id, _)| id)
    }
}
