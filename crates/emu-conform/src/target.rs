//! A CPU that can be tested.

use crate::{Case, End, State};

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The instruction is done.
    Retired,
    /// The CPU halted.
    Halted,
    /// An exception was raised. RIP and the other registers are as its handler would find them saved.
    Exception(u8),
    /// The CPU shut down: an exception that could not be delivered.
    Shutdown,
    /// It neither halted nor came to an end in the time that it had.
    Endless,
}

/// What a target did.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub event: Event,
    /// The state afterwards: the registers and the bytes that were asked for.
    pub state: State,
}

impl Default for Outcome {
    fn default() -> Outcome {
        Outcome { event: Event::Endless, state: State::new() }
    }
}

/// Why a target can't run a case. That is no failure of the case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It has no such environment, register or address. The case is skipped.
    #[error("{0}")]
    Unsupported(String),
    /// It should have been able to, but did not answer, or with nonsense. The case is an error; the next ones go on.
    #[error("{0}")]
    Failed(String),
    /// It is dead, and can't be started again. All its cases end here.
    #[error("{0}")]
    Broken(String),
}

/// A CPU that can be put into a state, stepped, and read back.
pub trait Target {
    /// What it is, for reports.
    fn name(&self) -> String;

    /// Loads the registers and the memory of `case.initial`, and the instruction's bytes. Nothing of the case before it may
    /// be left.
    ///
    /// # Errors
    /// [`TargetError`].
    fn load(&mut self, case: &Case) -> Result<(), TargetError>;

    /// Runs until `end`.
    ///
    /// # Errors
    /// [`TargetError`].
    fn step(&mut self, end: End) -> Result<Event, TargetError>;

    /// Reads back: gives every register that `state` names its value, and every byte of `state.memory`.
    ///
    /// # Errors
    /// [`TargetError`].
    fn read(&mut self, state: &mut State) -> Result<(), TargetError>;

    /// A whole case. A target that is far away does it in one exchange.
    ///
    /// # Errors
    /// [`TargetError`].
    fn run(&mut self, case: &Case, outcome: &mut Outcome) -> Result<(), TargetError> {
        self.load(case)?;
        outcome.event = self.step(case.end)?;
        ask(case, &mut outcome.state);
        self.read(&mut outcome.state)
    }

    /// Checks memory that the cases since the last call should have left alone, and says whether one of them did not. Who
    /// cannot tell, says no.
    fn strayed(&mut self) -> bool {
        false
    }
}

/// Names in `state` all that a comparison with `case` needs.
pub fn ask(case: &Case, state: &mut State) {
    state.clear();
    state.ask_for(&case.initial, &case.last);
    state.memory.extend_from_slice(&case.initial.memory);
    state.memory.extend_from_slice(&case.last.memory);
}
