//! See [`emu_fuzz::vm_description`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| emu_fuzz::vm_description(data));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    emu_fuzz::vm_description_without_fuzzer()
}
