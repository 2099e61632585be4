//! What comes into the machine from outside: all of it passes through here, stamped with its tick.

/// One thing from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A key of the keyboard changed.
    Key {
        /// Which.
        key: Key,
        /// Pressed or released.
        down: bool,
    },
    /// The mouse moved, or a button changed.
    Mouse {
        /// Counts to the right.
        dx: i16,
        /// Counts upwards (as the PS/2 mouse counts).
        dy: i16,
        /// Wheel clicks towards the user.
        dz: i8,
        /// Buttons now down: bit 0 left, 1 right, 2 middle.
        buttons: u8,
    },
    /// Bytes for serial port `port` (0 = COM1).
    Serial {
        /// Which serial port.
        port: u8,
        /// What the other end sends.
        bytes: Vec<u8>,
    },
    /// The medium of a removable drive is taken out.
    Eject {
        /// The drive, as the board names it: `"fd0"`, `"cd0"`.
        drive: String,
    },
    /// A medium is put into a removable drive. Its image has the number under which the host attached it.
    Insert {
        /// The drive.
        drive: String,
        /// The image's number in the bus's list of images.
        image: u32,
    },
    /// The power button is pressed.
    PowerButton,
    /// The reset button is pressed.
    ResetButton,
    /// The board answers the CPU's shutdown by a reset of the CPU, as its owner decided.
    ShutdownReset,
}

/// A key by its place on the IBM enhanced keyboard: its scan code in set 1, with E0h in the upper byte where that is
/// sent before it. Pause is [`Key::PAUSE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u16);

impl Key {
    /// The Pause key, which sends E1 1D 45 E1 9D C5 when pressed, and nothing when released.
    pub const PAUSE: Key = Key(0xE11D);
}
