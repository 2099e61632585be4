//! Writes the images of this crate into a folder: `cargo run -p test-roms --example images -- FOLDER`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let folder = Path::new(&folder);
    for rom in test_roms::roms::all() {
        let name = rom.name.replace(' ', "-");
        std::fs::write(folder.join(format!("{name}.img")), rom.floppy())?;
        std::fs::write(folder.join(format!("{name}.expected")), rom.output)?;
    }
    for bug in test_roms::roms::bugs() {
        std::fs::write(folder.join(format!("bug-{}.img", bug.name.replace(' ', "-"))), bug.floppy())?;
    }
    std::fs::write(folder.join("demo.img"), test_roms::demo_image())
}
