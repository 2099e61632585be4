//! Decides how ops reach their successors: by tail calls where the build optimises them, by a trampoline elsewhere.
#![allow(clippy::disallowed_methods, reason = "a build script runs on the host, and reads what cargo tells it")]

fn main() {
    println!("cargo::rustc-check-cfg=cfg(emu_chain)");
    println!("cargo::rerun-if-env-changed=EMU_TRAMPOLINE");
    let set = |name: &str| std::env::var(name).unwrap_or_default();
    let optimised = matches!(set("OPT_LEVEL").as_str(), "2" | "3");
    // 32-bit hosts: i686 passes arguments on the stack, where not every handler can end in a jump; wasm has no jumps at all.
    let narrow = set("CARGO_CFG_TARGET_POINTER_WIDTH") == "32";
    let coverage = set("CARGO_ENCODED_RUSTFLAGS").contains("instrument-coverage");
    let asked = !set("EMU_TRAMPOLINE").is_empty();
    if optimised && !narrow && !coverage && !asked {
        println!("cargo::rustc-cfg=emu_chain");
    }
}
