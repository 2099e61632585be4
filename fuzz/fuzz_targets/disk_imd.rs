//! See [`emu_fuzz::disk_image`].
#![cfg_attr(fuzzing, no_main)]

use emu_machine::image::Kind;

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| emu_fuzz::disk_image(Kind::Imd, data));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    emu_fuzz::disk_image_without_fuzzer(Kind::Imd)
}
