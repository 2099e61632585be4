//! Reports of the profile mode ([`emu_core::profile`]): as text, and as a flame graph by the guest's symbols.

mod flame;
mod symbols;
mod text;

pub use flame::{FlameError, write_flame_graph};
pub use symbols::{SymbolError, Symbols};
pub use text::profile_text;

use emu_core::profile::{Profile, ProfiledBlock};
use iced_x86::{Decoder, DecoderOptions, Instruction};

/// The instructions of a block, and whether each runs from its decoded form.
fn instructions(block: &ProfiledBlock) -> Vec<(Instruction, bool)> {
    let mut decoder = Decoder::with_ip(block.mode.bitness(), &block.bytes, block.linear, DecoderOptions::NONE);
    let mut list = Vec::new();
    while decoder.can_decode() {
        let n = list.len();
        list.push((decoder.decode(), n < 32 && block.decoded >> n & 1 != 0));
    }
    list
}

/// `part` of all ticks in which the CPU was not halted, in percent.
fn share(profile: &Profile, part: u64) -> f64 {
    let ran = profile.ticks.saturating_sub(profile.halted).max(1);
    100.0 * part as f64 / ran as f64
}
