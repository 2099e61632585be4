//! Intel 82371SB (PIIX3): function 0 is the ISA bridge ([`isa`]), function 1 the IDE interface ([`ide`]). Source: Intel
//! 82371FB/82371SB datasheet, order number 290550.

pub mod ide;
pub mod isa;

pub use ide::{IdeWires, Piix3Ide};
pub use isa::{IsaBridgeWires, Piix3Isa};
