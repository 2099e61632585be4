//! The arguments of `emu run`.

use std::path::{Path, PathBuf};

use clap::{ArgAction, ArgMatches, Args, ValueEnum};
use emu_core::ClockRate;
use emu_core::cpu::Model;
use emu_core::timeline::TimelineSettings;
use emu_machine::config::{Devices, HypervisorKind, RtcStart, SerialTarget, parse_cpu, parse_size};
use emu_machine::host::Action;
use emu_machine::image::ImageSpec;
use emu_machine::keys::parse_keys;
use emu_machine::recording::Form;

use super::exit::Failure;
use super::profile::ProfileArgs;

/// Where the screen is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Display {
    /// In this terminal; Ctrl-] opens a menu.
    Terminal,
    /// Nowhere.
    None,
}

/// What a triple fault does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnTripleFault {
    /// Ends the run with a report, unless the guest prepared for a reset (CMOS shutdown byte).
    Report,
    /// Resets the CPU, as a real board does.
    Reset,
}

/// How much host memory the way back in time may take; nothing if it is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimelineArg(Option<usize>);

impl TimelineArg {
    /// The settings of the run's timeline.
    pub(crate) fn settings(self, spine: bool) -> Option<TimelineSettings> {
        self.0.map(|budget| TimelineSettings { budget, spine, ..TimelineSettings::default() })
    }
}

pub(crate) fn timeline(text: &str) -> Result<TimelineArg, String> {
    if text == "off" {
        return Ok(TimelineArg(None));
    }
    let bytes = parse_size(text).ok().and_then(|n| usize::try_from(n).ok()).filter(|&n| n >= 1 << 20);
    bytes.map(|n| TimelineArg(Some(n))).ok_or_else(|| format!("`{text}` is no size from 1M on, nor off"))
}

/// A drive of the command line: an image, or `none` for an empty drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DriveArg(pub(crate) Option<ImageSpec>);

fn drive(text: &str) -> Result<DriveArg, String> {
    if text == "none" { Ok(DriveArg(None)) } else { image(text).map(|i| DriveArg(Some(i))) }
}

fn image(text: &str) -> Result<ImageSpec, String> {
    // A file of just this name needs no doubled commas.
    if text.contains(',') && Path::new(text).exists() {
        return Ok(ImageSpec::new(text));
    }
    ImageSpec::parse(text).map_err(|e| e.to_string())
}

pub(crate) fn serial(text: &str) -> Result<SerialTarget, String> {
    SerialTarget::parse(text).map_err(|e| e.to_string())
}

fn cpu(text: &str) -> Result<Model, String> {
    parse_cpu(text).map_err(|e| e.to_string())
}

fn hypervisor(text: &str) -> Result<HypervisorKind, String> {
    HypervisorKind::parse(text).map_err(|e| e.to_string())
}

fn devices(text: &str) -> Result<Devices, String> {
    Devices::parse(text).map_err(|e| e.to_string())
}

fn rtc(text: &str) -> Result<RtcStart, String> {
    if text == "now" {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        return Ok(RtcStart::from_unix(now.map_or(0, |d| d.as_secs())));
    }
    RtcStart::parse(text).map_err(|e| e.to_string())
}

fn rate(text: &str) -> Result<ClockRate, String> {
    let hz = text.parse().ok().and_then(ClockRate::new);
    hz.ok_or_else(|| format!("`{text}` is not a number of ticks from 1000 to 100000000000"))
}

pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(s) if s > 0.0 && s <= 1e9 => Ok(s),
        _ => Err(format!("`{text}` is not a number of seconds")),
    }
}

/// Options of `emu run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Disk image, CD image or kernel to boot: PATH[,mode=overlay|write|read][,size=SIZE]
    #[arg(value_parser = image, value_name = "IMAGE")]
    pub(crate) image: Option<ImageSpec>,

    /// Go on from this snapshot, which brings its own machine
    #[arg(long, value_name = "SNAPSHOT", conflicts_with = "image")]
    pub(crate) restore: Option<PathBuf>,

    /// Configuration file; of several, later ones override earlier ones
    #[arg(long, value_name = "MACHINE.TOML")]
    pub(crate) machine: Vec<PathBuf>,
    /// Diskette for A:, then B:; `none` is an empty drive
    #[arg(long, value_parser = drive, value_name = "IMAGE")]
    pub(crate) floppy: Vec<DriveArg>,
    /// Hard disk; writes stay in memory unless ,mode=write
    #[arg(long, value_parser = image, value_name = "IMAGE")]
    pub(crate) disk: Vec<ImageSpec>,
    /// CD; `none` is an empty drive
    #[arg(long, value_parser = drive, value_name = "IMAGE")]
    pub(crate) cdrom: Vec<DriveArg>,

    /// Kernel to start without a boot loader: Linux, multiboot, ELF
    #[arg(long, value_name = "FILE")]
    pub(crate) kernel: Option<PathBuf>,
    /// Linux's initial RAM disk
    #[arg(long, value_name = "FILE")]
    pub(crate) initrd: Option<PathBuf>,
    /// The kernel's command line
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) append: Option<String>,
    /// Multiboot module, with its arguments after a space
    #[arg(long, value_name = "FILE ARGS")]
    pub(crate) module: Vec<String>,

    /// RAM, like 640K, 128M or 2G
    #[arg(long, value_parser = parse_size, value_name = "SIZE")]
    pub(crate) mem: Option<u64>,
    /// CPU model with features, like 486, p6 or x86-64-v1,-sse2
    #[arg(long, value_parser = cpu, value_name = "MODEL")]
    pub(crate) cpu: Option<Model>,
    /// How many CPUs, 1 to 8; they run in turn, and share the ticks of a second
    #[arg(long, value_name = "N")]
    pub(crate) cpus: Option<u8>,
    /// What the guest finds that looks for a hypervisor: none, vmware or hyper-v
    #[arg(long, value_parser = hypervisor, value_name = "KIND")]
    pub(crate) hypervisor: Option<HypervisorKind>,
    /// A device beside the board's own: intel-iommu, edu
    #[arg(long, value_parser = devices, value_name = "NAME")]
    pub(crate) device: Vec<Devices>,
    /// What the clock shows at the start: 1994-05-31T12:00:00, or now
    #[arg(long, value_parser = rtc, value_name = "DATE")]
    pub(crate) rtc: Option<RtcStart>,
    /// Ticks (instructions) in a second of guest time
    #[arg(long, value_parser = rate, value_name = "N")]
    pub(crate) ticks_per_second: Option<ClockRate>,
    /// Start of the machine's pseudo-random numbers
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Firmware instead of emu's own
    #[arg(long, value_name = "FILE")]
    pub(crate) bios: Option<PathBuf>,
    /// Video BIOS to go with --bios
    #[arg(long, value_name = "FILE")]
    pub(crate) vga_bios: Option<PathBuf>,
    /// Boot order: a (floppy), c (disk), d (CD)
    #[arg(long, value_name = "ORDER")]
    pub(crate) boot: Option<String>,

    /// COM1, then COM2: stdio, null, pty, file:PATH, tcp:HOST:PORT[,server], unix:PATH[,server]
    #[arg(long, value_parser = serial, value_name = "TARGET")]
    pub(crate) serial: Vec<SerialTarget>,
    /// Where bytes written to ports E9h and 402h go; targets as for --serial
    #[arg(long, value_parser = serial, value_name = "TARGET")]
    pub(crate) debug_console: Option<SerialTarget>,
    /// Where the screen is shown; without it: the terminal, if there is one
    #[arg(long, value_enum)]
    pub(crate) display: Option<Display>,
    /// Hold guest time back to real time (default with a display)
    #[arg(long, value_name = "yes|no", num_args = 0..=1, require_equals = true, default_missing_value = "yes", value_parser = yes_no)]
    pub(crate) pace: Option<bool>,
    /// What a triple fault does
    #[arg(long, value_enum, default_value = "report")]
    pub(crate) on_triple_fault: OnTripleFault,
    /// Write a recording of the run, for `emu replay`
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// The recording brings the disk blocks and files that the run used
    #[arg(long, requires = "record")]
    pub(crate) embed_disks: bool,
    /// Host memory for the way back in time, like 512M, or off
    #[arg(long, value_parser = timeline, value_name = "SIZE|off", default_value = "512M")]
    pub(crate) timeline: TimelineArg,

    /// Wait until TEXT is on the screen or has come over a serial port
    #[arg(long, value_name = "TEXT", help_heading = "Script, in the order given", allow_hyphen_values = true)]
    wait_for: Vec<String>,
    /// Type; <enter>, <f1>, <ctrl-c>, <alt-x>, <wait 500ms> are keys and pauses
    #[arg(long = "type", value_name = "KEYS", help_heading = "Script, in the order given", allow_hyphen_values = true)]
    type_keys: Vec<String>,
    /// Write a picture of the screen as PNG
    #[arg(long, value_name = "FILE", help_heading = "Script, in the order given")]
    screenshot: Vec<PathBuf>,
    /// Write the text of the screen; - is standard output
    #[arg(long, value_name = "FILE", help_heading = "Script, in the order given")]
    screen_text: Vec<PathBuf>,
    /// Write a snapshot of the machine, for --restore
    #[arg(long, value_name = "FILE", help_heading = "Script, in the order given")]
    snapshot: Vec<PathBuf>,
    /// Run until this tick
    #[arg(long, value_name = "N", help_heading = "Script, in the order given")]
    until_ticks: Vec<u64>,

    #[command(flatten, next_help_heading = "Profile")]
    pub(crate) profile: ProfileArgs,

    /// End the run after this much real time
    #[arg(long, value_parser = seconds, value_name = "SECONDS")]
    pub(crate) timeout: Option<f64>,
    /// Print the hash of the machine's state at the end
    #[arg(long)]
    pub(crate) state_hash: bool,
    /// Say nothing that is not an error
    #[arg(long, short, action = ArgAction::SetTrue)]
    pub(crate) quiet: bool,
}

pub(crate) fn yes_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("say yes or no".into()),
    }
}

impl RunArgs {
    /// The snapshot to go on from, if it is one: by its option, or given as the image.
    pub(crate) fn snapshot_file(&self) -> Option<&Path> {
        let image = self.image.as_ref().map(|i| &*i.path).filter(|p| Form::of_file(p) == Some(Form::Snapshot));
        self.restore.as_deref().or(image)
    }

    /// An option that says what the machine is, if any was given.
    pub(crate) fn machine_option(&self) -> Option<&'static str> {
        let given = [
            ("--machine", !self.machine.is_empty()),
            ("--floppy", !self.floppy.is_empty()),
            ("--disk", !self.disk.is_empty()),
            ("--cdrom", !self.cdrom.is_empty()),
            ("--kernel", self.kernel.is_some()),
            ("--initrd", self.initrd.is_some()),
            ("--append", self.append.is_some()),
            ("--module", !self.module.is_empty()),
            ("--mem", self.mem.is_some()),
            ("--cpu", self.cpu.is_some()),
            ("--cpus", self.cpus.is_some()),
            ("--hypervisor", self.hypervisor.is_some()),
            ("--device", !self.device.is_empty()),
            ("--rtc", self.rtc.is_some()),
            ("--ticks-per-second", self.ticks_per_second.is_some()),
            ("--seed", self.seed.is_some()),
            ("--bios", self.bios.is_some()),
            ("--vga-bios", self.vga_bios.is_some()),
            ("--boot", self.boot.is_some()),
        ];
        given.iter().find(|g| g.1).map(|g| g.0)
    }

    /// Whether something of the machine is connected to the standard input and output.
    pub(crate) fn uses_stdio(&self) -> bool {
        self.serial.iter().chain(&self.debug_console).any(|t| *t == SerialTarget::Stdio)
    }
}

/// The script of the command line: its actions in the order in which they stand there.
pub(crate) fn script_of(matches: &ArgMatches) -> Result<Vec<Action>, Failure> {
    let mut actions: Vec<(usize, Action)> = Vec::new();
    let mut collect = |id: &str, make: &dyn Fn(&str) -> Result<Action, Failure>| {
        // Not every verb has all of them.
        let Ok(Some(texts)) = matches.try_get_raw(id) else { return Ok(()) };
        let places = matches.indices_of(id).into_iter().flatten();
        for (place, text) in places.zip(texts) {
            actions.push((place, make(&text.to_string_lossy())?));
        }
        Ok::<(), Failure>(())
    };
    collect("wait_for", &|t| Ok(Action::WaitFor(t.to_owned())))?;
    collect("type_keys", &|t| parse_keys(t).map(Action::Type).map_err(|e| Failure::usage(format!("--type: {e}"))))?;
    collect("screenshot", &|t| Ok(Action::Screenshot(t.into())))?;
    collect("screen_text", &|t| Ok(Action::ScreenText(t.into())))?;
    collect("snapshot", &|t| Ok(Action::Snapshot(t.into())))?;
    collect("until_ticks", &|t| {
        t.parse().map(Action::UntilTicks).map_err(|_| Failure::usage("--until-ticks: no number"))
    })?;
    actions.sort_by_key(|(place, _)| *place);
    Ok(actions.into_iter().map(|(_, action)| action).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cli;
    use clap::CommandFactory;

    fn script(args: &[&str]) -> Vec<Action> {
        let all = ["emu", "run"].iter().chain(args);
        let matches = Cli::command().try_get_matches_from(all).unwrap();
        script_of(matches.subcommand().unwrap().1).unwrap_or_else(|f| panic!("{}", f.message))
    }

    #[test]
    fn the_command_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn scripts_keep_their_order() {
        let actions = script(&["--wait-for", "a", "--type", "x", "--wait-for", "-b", "--until-ticks", "7", "i.img"]);
        let kinds: Vec<_> = actions.iter().map(|a| format!("{a:?}").chars().take(7).collect::<String>()).collect();
        assert_eq!(kinds, ["WaitFor", "Type([P", "WaitFor", "UntilTi"]);
    }

    #[test]
    fn mistakes_get_suggestions() {
        let error = |args: &[&str]| Cli::command().try_get_matches_from(args).unwrap_err().to_string();
        assert!(error(&["emu", "run", "--flopy", "x"]).contains("--floppy"));
        assert!(error(&["emu", "run", "--cpu", "pentuim"]).contains("did you mean `pentium`"));
        assert!(error(&["emu", "run", "--mem", "lots"]).contains("not a size"));
        assert!(error(&["emu", "rum"]).contains("run"));
    }
}
