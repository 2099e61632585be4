//! `emu-native-cpu`: the host's own CPU as an adapter for `emu conform --against` (docs/FORMAT-conform-protocol.md).
//!
//! Runs one instruction at a time in user mode, 64-bit or 32-bit code, by single-stepping a child process. x86-64
//! Linux only. What it can't run: what needs the kernel, what holds off or sets the trap flag, 16-bit code.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod adapter;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod cpu;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod message;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod opcode;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod state;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod sys;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() -> std::process::ExitCode {
    adapter::main()
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() -> std::process::ExitCode {
    eprintln!("emu-native-cpu: this host is not x86-64 Linux; it can't run instructions on its own CPU here");
    std::process::ExitCode::from(2)
}
