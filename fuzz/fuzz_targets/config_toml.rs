//! See [`emu_fuzz::config_toml`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| emu_fuzz::config_toml(data));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    emu_fuzz::without_fuzzer(emu_fuzz::config_toml)
}
