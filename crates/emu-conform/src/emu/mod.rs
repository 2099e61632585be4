//! emu's own CPU as a target.

mod flat;
mod real;

pub use flat::window;

use emu_core::cpu::Model;
use emu_core::{ClockRate, PhysMem, System};

use crate::{Case, End, Environment, Event, Place, Reg, State, Target, TargetError};
use flat::Flat;
use real::Real;

/// emu's CPU of one model, with just the memory that test cases need. It is made once and used for any number of cases.
#[allow(missing_debug_implementations, reason = "it holds a whole machine")]
pub struct EmuTarget {
    model: Model,
    decoded: bool,
    real: Option<Real>,
    flat: Option<Flat>,
    /// The environment of the case that is loaded.
    now: Environment,
}

impl EmuTarget {
    /// A CPU of this model.
    #[must_use]
    pub fn new(model: Model) -> EmuTarget {
        EmuTarget { model, decoded: false, real: None, flat: None, now: Environment::Real }
    }

    /// The same with every instruction executed from its decoded form, instead of by its fast handler if it has one. Both
    /// must give the same bits.
    #[must_use]
    pub fn without_fast_handlers(mut self) -> EmuTarget {
        self.decoded = true;
        self
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> Model {
        self.model
    }

    fn system(&mut self) -> Result<&mut System, TargetError> {
        let system = match self.now {
            Environment::Real => self.real.as_mut().map(|r| &mut r.sys),
            _ => self.flat.as_mut().map(|f| &mut f.sys),
        };
        system.ok_or_else(|| TargetError::Broken("no case is loaded".into()))
    }
}

/// A machine with `ram` bytes of memory, mapped nowhere yet, and no device.
fn bare_system(model: Model, ram: u64, map: impl FnOnce(&mut PhysMem)) -> Result<System, TargetError> {
    let mut mem = PhysMem::new(ram, 0).ok_or_else(|| TargetError::Broken("the host has no memory left".into()))?;
    map(&mut mem);
    let mut sys = System::new(model, mem, emu_core::Bus::new(ClockRate::DEFAULT, 1));
    sys.reset();
    Ok(sys)
}

/// Whether `code` is a repeated string instruction, which takes a step for each iteration. Other instructions ignore F2h
/// and F3h or are other instructions with them; a jump to itself must not be taken for an iteration.
fn repeats(code: &[u8], wide: bool) -> bool {
    let prefix =
        |b: &u8| b & 0xE7 == 0x26 || *b >= 0xF0 || wide && (0x40..0x50).contains(b) || (0x64..0x68).contains(b);
    let prefixes = code.iter().take_while(|b| prefix(b)).count();
    let string = matches!(code.get(prefixes), Some(0x6C..=0x6F | 0xA4..=0xA7 | 0xAA..=0xAF));
    string && code[..prefixes].iter().any(|b| matches!(b, 0xF2 | 0xF3))
}

/// Arms a breakpoint that no case reaches: the engine then executes every instruction from its decoded form.
fn avoid_fast_handlers(sys: &mut System) {
    (sys.cpu.dr[0], sys.cpu.dr[7]) = (0xFFFF_FFF0, 0x402);
    sys.cpu.refresh_mode();
}

impl Target for EmuTarget {
    fn name(&self) -> String {
        "emu".into()
    }

    fn load(&mut self, case: &Case) -> Result<(), TargetError> {
        self.now = case.environment;
        match case.environment {
            Environment::Real => {
                if self.real.is_none() {
                    self.real = Some(Real::new(self.model, self.decoded)?);
                }
                self.real.as_mut().map_or(Ok(()), |real| real.load(case))
            }
            _ => {
                if self.flat.is_none() {
                    self.flat = Some(Flat::new(self.model, self.decoded)?);
                }
                self.flat.as_mut().map_or(Ok(()), |flat| flat.load(case))
            }
        }
    }

    fn step(&mut self, end: End) -> Result<Event, TargetError> {
        match (self.now, &mut self.real, &mut self.flat) {
            (Environment::Real, Some(real), _) => Ok(real.step(end)),
            (Environment::Flat32 | Environment::Flat64, _, Some(flat)) => Ok(flat.step()),
            _ => Err(TargetError::Broken("no case is loaded".into())),
        }
    }

    fn read(&mut self, state: &mut State) -> Result<(), TargetError> {
        let environment = self.now;
        let constant = self.real.as_ref().map_or(0, |r| r.cr0);
        let sys = self.system()?;
        for place in state.places() {
            match place {
                Place::Reg(Reg::Cr0) if environment == Environment::Real => {
                    state.set(Reg::Cr0, real::cr0_seen(constant, sys.cpu.cr0));
                }
                Place::Reg(reg) => state.set(reg, register(sys, reg, environment)),
                Place::St(i) => state.set_st(i.into(), sys.cpu.fpu.st(i)),
                Place::Ymm(i) => {
                    let i = usize::from(i);
                    state.set_ymm(i, [sys.cpu.xmm[i], sys.cpu.ymm_high[i]]);
                }
                Place::Byte(_) => {}
            }
        }
        match environment {
            Environment::Real => state.memory.iter_mut().for_each(|(at, v)| *v = sys.mem.load(*at)),
            _ => state.memory.iter_mut().for_each(|(at, v)| *v = sys.mem.load(flat::physical(*at).unwrap_or(0))),
        }
        match (environment, &mut self.real, &mut self.flat) {
            (Environment::Real, Some(real), _) => real.touch(&state.memory),
            (_, _, Some(flat)) => flat.finish(state),
            _ => {}
        }
        Ok(())
    }

    fn strayed(&mut self) -> bool {
        self.real.as_mut().is_some_and(Real::strayed)
    }
}

/// The value of an integer register.
fn register(sys: &System, reg: Reg, environment: Environment) -> u64 {
    let cpu = &sys.cpu;
    let n = reg as usize;
    match reg {
        Reg::Rip => cpu.rip,
        Reg::Rflags => cpu.eflags().into(),
        Reg::Es | Reg::Cs | Reg::Ss | Reg::Ds | Reg::Fs | Reg::Gs => cpu.seg[n - Reg::Es as usize].sel.into(),
        Reg::Cr0 => cpu.cr0,
        Reg::Cr2 => cpu.cr2,
        Reg::Cr3 => cpu.cr3,
        Reg::Cr4 => cpu.cr4,
        Reg::Dr6 => cpu.dr[6],
        Reg::Dr7 => cpu.dr[7],
        Reg::Mxcsr => cpu.mxcsr.into(),
        Reg::Fcw => cpu.fpu.control().into(),
        Reg::Fsw => cpu.fpu.status().into(),
        Reg::Ftw => cpu.fpu.abridged_tags().into(),
        _ => cpu.regs[n] & width_of(cpu.model.kind, environment),
    }
}

/// The bits of a general register that the environment has.
fn width_of(kind: emu_core::cpu::model::Kind, environment: Environment) -> u64 {
    match environment {
        Environment::Flat64 => u64::MAX,
        Environment::Real if kind < emu_core::cpu::model::Kind::I80386 => 0xFFFF,
        _ => 0xFFFF_FFFF,
    }
}
