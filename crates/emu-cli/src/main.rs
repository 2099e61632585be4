//! The `emu` command.
fn main() {}
