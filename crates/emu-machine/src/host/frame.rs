//! What a person sees of the guest at one moment, as front ends get it.

/// A text screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextFrame {
    /// Columns.
    pub columns: usize,
    /// Rows.
    pub rows: usize,
    /// Character (code page 437) and attribute of each cell, row by row. Of the attribute bits 0–3 are the foreground and
    /// bits 4–6 the background in the palette's order; see `blink` for bit 7.
    pub cells: Vec<(u8, u8)>,
    /// Bit 7 of an attribute makes the character blink; otherwise it makes the background bright.
    pub blink: bool,
    /// Column and row of the cursor, where one is shown.
    pub cursor: Option<(usize, usize)>,
}

/// One moment of the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A text mode.
    Text(TextFrame),
    /// A graphics mode: three bytes (red, green, blue) per pixel, row by row.
    Picture {
        /// Pixels per row.
        width: usize,
        /// Rows.
        height: usize,
        /// The pixels.
        rgb: Vec<u8>,
    },
}
