//! The session as gdbstub's target. Resuming only notes what is asked for; the server's loop then does it.

use core::convert::Infallible;

use emu_core::Ticks;
use emu_machine::host::End;
use gdbstub::common::Signal;
use gdbstub::stub::SingleThreadStopReason;
use gdbstub::target::ext::base::BaseOps;
use gdbstub::target::ext::base::reverse_exec::{
    ReplayLogPosition, ReverseCont, ReverseContOps, ReverseStep, ReverseStepOps,
};
use gdbstub::target::ext::base::single_register_access::{SingleRegisterAccess, SingleRegisterAccessOps};
use gdbstub::target::ext::base::singlethread::*;
use gdbstub::target::ext::breakpoints::*;
use gdbstub::target::ext::monitor_cmd::{ConsoleOutput, MonitorCmd, MonitorCmdOps};
use gdbstub::target::ext::target_description_xml_override::*;
use gdbstub::target::{Target, TargetError, TargetResult};

use super::arch::{RegisterFile, RegisterNumber, X86};
use super::description::target_xml;
use crate::registers::{Register, Width, registers};
use crate::session::{Access, Halt, Place, Session, SessionError};
use crate::{Console, console};

/// What a client may have at the most: breakpoints, watchpoints, bytes of one of these.
const MOST_STOPS: usize = 4096;
const MOST_BYTES: u64 = 1 << 20;
/// EFAULT and EINVAL, as gdb has them.
const FAULT: u8 = 14;
const INVALID: u8 = 22;

/// How the client wants the machine to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resume {
    Continue,
    Step,
    /// Steps for as long as the next instruction lies in there.
    Range(u64, u64),
    ReverseStep,
    ReverseContinue,
}

/// What running came to.
#[derive(Debug)]
pub(super) enum Ran {
    /// Something to be told to gdb.
    Stop(SingleThreadStopReason<u64>),
    /// The client has something to say.
    Interrupted,
    /// emu itself is to end.
    Quit(Box<End>),
}

/// The machine, for one client.
pub(super) struct Debuggee<'a> {
    pub(super) session: &'a mut Session,
    console: &'a mut Console,
    registers: Vec<Register>,
    xml: String,
    resume: Resume,
    /// The client's breakpoints that it called hardware breakpoints.
    hardware: Vec<u64>,
    interrupted: &'a dyn Fn() -> bool,
}

impl<'a> Debuggee<'a> {
    pub(super) fn new(
        session: &'a mut Session,
        console: &'a mut Console,
        width: Width,
        interrupted: &'a dyn Fn() -> bool,
    ) -> Debuggee<'a> {
        let registers = registers(width);
        let xml = target_xml(width, &registers);
        console.begin();
        Debuggee { session, console, registers, xml, resume: Resume::Continue, hardware: Vec::new(), interrupted }
    }

    /// Runs the machine as the client wanted.
    pub(super) fn run(&mut self) -> Ran {
        let asked = self.interrupted;
        let interrupted = &mut || asked();
        self.console.forget_notes();
        let halt = match self.resume {
            Resume::Continue => Ok(self.session.run(Ticks::NEVER, interrupted)),
            Resume::Step => Ok(self.session.step(interrupted)),
            Resume::Range(start, end) => Ok(self.step_in(start, end)),
            Resume::ReverseStep => self.session.step_back(),
            Resume::ReverseContinue => self.session.run_back(interrupted),
        };
        match halt {
            Ok(halt) => self.tell(halt),
            Err(error) => {
                self.console.note(error.to_string());
                Ran::Stop(SingleThreadStopReason::Signal(Signal::SIGABRT))
            }
        }
    }

    fn step_in(&mut self, start: u64, end: u64) -> Halt {
        let asked = self.interrupted;
        loop {
            let halt = self.session.step(&mut || asked());
            let pc = self.session.pc();
            if halt != Halt::Done || !(start..end).contains(&pc) {
                return halt;
            }
            if self.session.breakpoints().contains(&pc) {
                return Halt::Breakpoint;
            }
            if asked() {
                return Halt::Interrupted;
            }
        }
    }

    /// A halt in gdb's words.
    fn tell(&mut self, halt: Halt) -> Ran {
        let replay_log = |pos| Ran::Stop(SingleThreadStopReason::ReplayLog { tid: None, pos });
        Ran::Stop(match halt {
            Halt::Done => SingleThreadStopReason::DoneStep,
            Halt::Breakpoint if self.hardware.contains(&self.session.pc()) => SingleThreadStopReason::HwBreak(()),
            Halt::Breakpoint => SingleThreadStopReason::SwBreak(()),
            Halt::Watch { number, .. } => match self.session.watchpoints().iter().find(|w| w.number == number) {
                Some(w) => {
                    let (Place::Linear(addr) | Place::Physical(addr)) = w.place;
                    SingleThreadStopReason::Watch { tid: (), kind: kind_of(w.access), addr }
                }
                None => SingleThreadStopReason::DoneStep,
            },
            Halt::Start => return replay_log(ReplayLogPosition::Begin),
            Halt::Interrupted => return Ran::Interrupted,
            Halt::End(end) if matches!(*end, End::Quit | End::Signal(_) | End::Timeout) => return Ran::Quit(end),
            Halt::End(end) => {
                self.console.note(console::describe_end(&end));
                match *end {
                    End::TripleFault => SingleThreadStopReason::Signal(Signal::SIGSEGV),
                    End::Dead | End::Host(_) | End::Diverged(_) => SingleThreadStopReason::Signal(Signal::SIGABRT),
                    _ => return replay_log(ReplayLogPosition::End),
                }
            }
        })
    }

    fn register(&self, number: usize) -> TargetResult<&Register, Self> {
        self.registers.get(number).ok_or(TargetError::Errno(INVALID))
    }
}

/// How gdb names accesses.
fn kind_of(access: Access) -> WatchKind {
    match access {
        Access::Write => WatchKind::Write,
        Access::Read => WatchKind::Read,
        Access::Any => WatchKind::ReadWrite,
    }
}

fn access_of(kind: WatchKind) -> Access {
    match kind {
        WatchKind::Write => Access::Write,
        WatchKind::Read => Access::Read,
        WatchKind::ReadWrite => Access::Any,
    }
}

impl Target for Debuggee<'_> {
    type Arch = X86;
    type Error = Infallible;

    fn base_ops(&mut self) -> BaseOps<'_, X86, Infallible> {
        BaseOps::SingleThread(self)
    }

    fn guard_rail_implicit_sw_breakpoints(&self) -> bool {
        true
    }

    fn support_breakpoints(&mut self) -> Option<BreakpointsOps<'_, Self>> {
        Some(self)
    }

    fn support_monitor_cmd(&mut self) -> Option<MonitorCmdOps<'_, Self>> {
        Some(self)
    }

    fn support_target_description_xml_override(&mut self) -> Option<TargetDescriptionXmlOverrideOps<'_, Self>> {
        Some(self)
    }
}

impl SingleThreadBase for Debuggee<'_> {
    fn read_registers(&mut self, file: &mut RegisterFile) -> TargetResult<(), Self> {
        file.pc = self.session.pc();
        let bytes = self.registers.iter().flat_map(|r| r.value(self.session).to_le_bytes().into_iter().take(r.bytes()));
        file.bytes = bytes.collect();
        Ok(())
    }

    fn write_registers(&mut self, file: &RegisterFile) -> TargetResult<(), Self> {
        if file.bytes.len() != self.registers.iter().map(Register::bytes).sum::<usize>() {
            return Err(TargetError::Errno(INVALID));
        }
        let mut rest = &file.bytes[..];
        for number in 0..self.registers.len() {
            let (bytes, later) = rest.split_at(self.registers[number].bytes());
            self.write_register((), RegisterNumber(number), bytes)?;
            rest = later;
        }
        Ok(())
    }

    fn support_single_register_access(&mut self) -> Option<SingleRegisterAccessOps<'_, (), Self>> {
        Some(self)
    }

    fn read_addrs(&mut self, start: u64, data: &mut [u8]) -> TargetResult<usize, Self> {
        let place = self.console.place(start);
        match self.session.read_memory(place, data) {
            0 if !data.is_empty() => Err(TargetError::Errno(FAULT)),
            n => Ok(n),
        }
    }

    fn write_addrs(&mut self, start: u64, data: &[u8]) -> TargetResult<(), Self> {
        let place = self.console.place(start);
        let written = self.session.write_memory(place, data);
        written.map_err(|e| refused(self.console, &e))
    }

    fn support_resume(&mut self) -> Option<SingleThreadResumeOps<'_, Self>> {
        Some(self)
    }
}

fn refused(console: &mut Console, error: &SessionError) -> TargetError<Infallible> {
    console.note(error.to_string());
    TargetError::Errno(FAULT)
}

impl SingleRegisterAccess<()> for Debuggee<'_> {
    fn read_register(&mut self, _: (), id: RegisterNumber, buf: &mut [u8]) -> TargetResult<usize, Self> {
        let register = self.register(id.0)?;
        let n = register.bytes();
        let to = buf.get_mut(..n).ok_or(TargetError::Errno(INVALID))?;
        to.copy_from_slice(&register.value(self.session).to_le_bytes()[..n]);
        Ok(n)
    }

    fn write_register(&mut self, _: (), id: RegisterNumber, val: &[u8]) -> TargetResult<(), Self> {
        let register = self.register(id.0)?.clone();
        if val.len() != register.bytes() {
            return Err(TargetError::Errno(INVALID));
        }
        let value = val.iter().rev().fold(0, |v, b| v << 8 | u128::from(*b));
        register.set(self.session, value).map_err(|e| refused(self.console, &e))
    }
}

impl SingleThreadResume for Debuggee<'_> {
    fn resume(&mut self, _: Option<Signal>) -> Result<(), Infallible> {
        self.resume = Resume::Continue;
        Ok(())
    }

    fn support_single_step(&mut self) -> Option<SingleThreadSingleStepOps<'_, Self>> {
        Some(self)
    }

    fn support_range_step(&mut self) -> Option<SingleThreadRangeSteppingOps<'_, Self>> {
        Some(self)
    }

    fn support_reverse_step(&mut self) -> Option<ReverseStepOps<'_, (), Self>> {
        Some(self)
    }

    fn support_reverse_cont(&mut self) -> Option<ReverseContOps<'_, (), Self>> {
        Some(self)
    }
}

impl SingleThreadSingleStep for Debuggee<'_> {
    fn step(&mut self, _: Option<Signal>) -> Result<(), Infallible> {
        self.resume = Resume::Step;
        Ok(())
    }
}

impl SingleThreadRangeStepping for Debuggee<'_> {
    fn resume_range_step(&mut self, start: u64, end: u64) -> Result<(), Infallible> {
        self.resume = Resume::Range(start, end);
        Ok(())
    }
}

impl ReverseStep<()> for Debuggee<'_> {
    fn reverse_step(&mut self, _: ()) -> Result<(), Infallible> {
        self.resume = Resume::ReverseStep;
        Ok(())
    }
}

impl ReverseCont<()> for Debuggee<'_> {
    fn reverse_cont(&mut self) -> Result<(), Infallible> {
        self.resume = Resume::ReverseContinue;
        Ok(())
    }
}

impl Breakpoints for Debuggee<'_> {
    fn support_sw_breakpoint(&mut self) -> Option<SwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_breakpoint(&mut self) -> Option<HwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_watchpoint(&mut self) -> Option<HwWatchpointOps<'_, Self>> {
        Some(self)
    }
}

impl SwBreakpoint for Debuggee<'_> {
    fn add_sw_breakpoint(&mut self, addr: u64, _: usize) -> TargetResult<bool, Self> {
        let room = self.session.breakpoints().len() < MOST_STOPS;
        if room {
            self.session.add_breakpoint(addr);
        }
        Ok(room)
    }

    fn remove_sw_breakpoint(&mut self, addr: u64, _: usize) -> TargetResult<bool, Self> {
        Ok(self.session.remove_breakpoint(addr))
    }
}

impl HwBreakpoint for Debuggee<'_> {
    fn add_hw_breakpoint(&mut self, addr: u64, kind: usize) -> TargetResult<bool, Self> {
        let added = self.add_sw_breakpoint(addr, kind)?;
        if added {
            self.hardware.push(addr);
        }
        Ok(added)
    }

    fn remove_hw_breakpoint(&mut self, addr: u64, kind: usize) -> TargetResult<bool, Self> {
        if let Some(i) = self.hardware.iter().position(|&a| a == addr) {
            self.hardware.swap_remove(i);
        }
        self.remove_sw_breakpoint(addr, kind)
    }
}

impl HwWatchpoint for Debuggee<'_> {
    fn add_hw_watchpoint(&mut self, addr: u64, len: u64, kind: WatchKind) -> TargetResult<bool, Self> {
        let room = self.session.watchpoints().len() < MOST_STOPS && (1..=MOST_BYTES).contains(&len);
        if room {
            self.session.add_watchpoint(self.console.place(addr), len, access_of(kind));
        }
        Ok(room)
    }

    fn remove_hw_watchpoint(&mut self, addr: u64, len: u64, kind: WatchKind) -> TargetResult<bool, Self> {
        let is_it = |place| matches!(place, Place::Linear(at) | Place::Physical(at) if at == addr);
        let which = |w: &crate::Watchpoint| is_it(w.place) && w.len == len && w.access == access_of(kind);
        Ok(self.session.remove_watchpoint(which))
    }
}

impl TargetDescriptionXmlOverride for Debuggee<'_> {
    fn target_description_xml(
        &self,
        annex: &[u8],
        offset: u64,
        length: usize,
        buf: &mut [u8],
    ) -> TargetResult<usize, Self> {
        if annex != b"target.xml" {
            return Err(TargetError::Errno(INVALID));
        }
        let rest = usize::try_from(offset).ok().and_then(|o| self.xml.as_bytes().get(o..)).unwrap_or_default();
        let n = rest.len().min(length).min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }
}

impl MonitorCmd for Debuggee<'_> {
    fn handle_monitor_cmd(&mut self, cmd: &[u8], mut out: ConsoleOutput<'_>) -> Result<(), Infallible> {
        let line = String::from_utf8_lossy(cmd);
        let asked = self.interrupted;
        let text = self.console.monitor(self.session, &line, &mut || asked());
        out.write_raw(text.as_bytes());
        Ok(())
    }
}
