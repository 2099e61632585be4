//! Intel 82371SB (PIIX3): function 0 is the ISA bridge ([`isa`]). Source: Intel 82371FB/82371SB datasheet, order number
//! 290550.

pub mod isa;

pub use isa::{IsaBridgeWires, Piix3Isa};
