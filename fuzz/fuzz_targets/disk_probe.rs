//! See [`emu_fuzz::disk_probe`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| emu_fuzz::disk_probe(data));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    emu_fuzz::without_fuzzer(emu_fuzz::disk_probe)
}
