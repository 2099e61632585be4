//! Writes the images of this crate into a folder: `cargo run -p test-roms --example images -- FOLDER`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    std::fs::write(Path::new(&folder).join("demo.img"), test_roms::demo_image())
}
