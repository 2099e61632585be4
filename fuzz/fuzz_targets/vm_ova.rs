//! See [`emu_fuzz::vm_ova`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| emu_fuzz::vm_ova(data));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    emu_fuzz::vm_ova_without_fuzzer()
}
