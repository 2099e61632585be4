//! Debugging of machines, forwards and backwards in time.
//!
//! [`Session`] is a machine with its past, live or recorded: it runs and steps both ways, stops at breakpoints and
//! watchpoints, goes to any tick, and reads memory and registers without a trace. [`gdb`] shows it to gdb, [`Console`] to
//! a person or a script; gdb's `monitor` commands are the console's.

pub mod console;
pub mod gdb;
mod memory;
pub mod registers;
mod session;
mod travel;

pub use console::Console;
pub use session::{Access, Halt, Place, Session, SessionError, Watchpoint};
