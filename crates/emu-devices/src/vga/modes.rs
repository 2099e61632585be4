//! The standard modes: register values and palettes, as the IBM VGA BIOS loads them [VGA-TR 2-12 to 2-17].

/// Register values of a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// BIOS mode number.
    pub number: u8,
    /// Character columns and rows.
    pub chars: (u8, u8),
    /// Scan lines of a character.
    pub char_height: u8,
    /// Bytes of a page of the screen (0040:004C).
    pub page_bytes: u16,
    /// Sequencer registers 1-4 (register 0 is 3 in operation).
    pub seq: [u8; 4],
    /// Miscellaneous output.
    pub misc: u8,
    /// CRTC registers 0-18h.
    pub crtc: [u8; 25],
    /// Attribute controller registers 0-13h.
    pub attr: [u8; 20],
    /// Graphics controller registers 0-8.
    pub gdc: [u8; 9],
    /// Which of the default palettes goes into the DAC.
    pub palette: Palette,
}

/// The default palettes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Palette {
    /// 64 entries: black, grey, white (modes 7 and 0Fh).
    Mono,
    /// 64 entries: the CGA's sixteen colours, for modes with 200 lines.
    Cga,
    /// 64 entries: two bits of each colour, as on the EGA.
    Ega,
    /// 248 entries of mode 13h; the last eight are black.
    Vga256,
}

const fn crtc(head: [u8; 12], cursor: [u8; 4], tail: [u8; 9]) -> [u8; 25] {
    let mut all = [0; 25];
    let mut i = 0;
    while i < 12 {
        all[i] = head[i];
        i += 1;
    }
    i = 0;
    while i < 4 {
        all[12 + i] = cursor[i];
        i += 1;
    }
    i = 0;
    while i < 9 {
        all[16 + i] = tail[i];
        i += 1;
    }
    all
}

/// Attribute registers with a palette of sixteen entries and the registers 10h-13h.
const fn attr(palette: [u8; 16], rest: [u8; 4]) -> [u8; 20] {
    let mut all = [0; 20];
    let mut i = 0;
    while i < 16 {
        all[i] = palette[i];
        i += 1;
    }
    i = 0;
    while i < 4 {
        all[16 + i] = rest[i];
        i += 1;
    }
    all
}

/// A palette whose codes 1-15 are all `value`.
const fn two_colors(value: u8) -> [u8; 16] {
    let mut all = [value; 16];
    all[0] = 0;
    all
}

/// The sixteen colours among the EGA's 64.
const EGA_PALETTE: [u8; 16] = [0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3A, 0x3B, 0x3C, 0x3D, 0x3E, 0x3F];
/// The sixteen colours of modes with 200 lines.
const CGA_PALETTE: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17];
const LINEAR_PALETTE: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const MODE4_PALETTE: [u8; 16] = [0, 0x13, 0x15, 0x17, 2, 4, 6, 7, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17];
const MODE7_PALETTE: [u8; 16] = [0, 8, 8, 8, 8, 8, 8, 8, 0x10, 0x18, 0x18, 0x18, 0x18, 0x18, 0x18, 0x18];
const MODEF_PALETTE: [u8; 16] = [0, 8, 0, 0, 0x18, 0x18, 0, 0, 0, 8, 0, 0, 0, 0x18, 0, 0];

const NO_CURSOR: [u8; 4] = [0; 4];
const TEXT_GDC: [u8; 9] = [0, 0, 0, 0, 0, 0x10, 0x0E, 0, 0xFF];
const PLANAR_GDC: [u8; 9] = [0, 0, 0, 0, 0, 0, 5, 0x0F, 0xFF];

/// 40 × 25 characters.
pub const MODE_1: Mode = Mode {
    number: 1,
    chars: (40, 25),
    char_height: 16,
    page_bytes: 0x800,
    seq: [0x08, 0x03, 0x00, 0x02],
    misc: 0x67,
    crtc: crtc(
        [0x2D, 0x27, 0x28, 0x90, 0x2B, 0xA0, 0xBF, 0x1F, 0x00, 0x4F, 0x0D, 0x0E],
        NO_CURSOR,
        [0x9C, 0x8E, 0x8F, 0x14, 0x1F, 0x96, 0xB9, 0xA3, 0xFF],
    ),
    attr: attr(EGA_PALETTE, [0x0C, 0x00, 0x0F, 0x08]),
    gdc: TEXT_GDC,
    palette: Palette::Ega,
};

/// 80 × 25 characters.
pub const MODE_3: Mode = Mode {
    number: 3,
    chars: (80, 25),
    char_height: 16,
    page_bytes: 0x1000,
    seq: [0x00, 0x03, 0x00, 0x02],
    misc: 0x67,
    crtc: crtc(
        [0x5F, 0x4F, 0x50, 0x82, 0x55, 0x81, 0xBF, 0x1F, 0x00, 0x4F, 0x0D, 0x0E],
        NO_CURSOR,
        [0x9C, 0x8E, 0x8F, 0x28, 0x1F, 0x96, 0xB9, 0xA3, 0xFF],
    ),
    attr: attr(EGA_PALETTE, [0x0C, 0x00, 0x0F, 0x08]),
    gdc: TEXT_GDC,
    palette: Palette::Ega,
};

/// 320 × 200 in four colours.
pub const MODE_4: Mode = Mode {
    number: 4,
    chars: (40, 25),
    char_height: 8,
    page_bytes: 0x4000,
    seq: [0x09, 0x03, 0x00, 0x02],
    misc: 0x63,
    crtc: crtc(
        [0x2D, 0x27, 0x28, 0x90, 0x2B, 0x80, 0xBF, 0x1F, 0x00, 0xC1, 0x00, 0x00],
        NO_CURSOR,
        [0x9C, 0x8E, 0x8F, 0x14, 0x00, 0x96, 0xB9, 0xA2, 0xFF],
    ),
    attr: attr(MODE4_PALETTE, [0x01, 0x00, 0x03, 0x00]),
    gdc: [0, 0, 0, 0, 0, 0x30, 0x0F, 0x00, 0xFF],
    palette: Palette::Cga,
};

/// 640 × 200 in two colours.
pub const MODE_6: Mode = Mode {
    number: 6,
    chars: (80, 25),
    char_height: 8,
    page_bytes: 0x4000,
    seq: [0x01, 0x01, 0x00, 0x06],
    misc: 0x63,
    crtc: crtc(
        [0x5F, 0x4F, 0x50, 0x82, 0x54, 0x80, 0xBF, 0x1F, 0x00, 0xC1, 0x00, 0x00],
        NO_CURSOR,
        [0x9C, 0x8E, 0x8F, 0x28, 0x00, 0x96, 0xB9, 0xC2, 0xFF],
    ),
    attr: attr(two_colors(0x17), [0x01, 0x00, 0x01, 0x00]),
    gdc: [0, 0, 0, 0, 0, 0x00, 0x0D, 0x00, 0xFF],
    palette: Palette::Cga,
};

/// 80 × 25 monochrome characters.
pub const MODE_7: Mode = Mode {
    number: 7,
    misc: 0x66,
    crtc: crtc(
        [0x5F, 0x4F, 0x50, 0x82, 0x55, 0x81, 0xBF, 0x1F, 0x00, 0x4F, 0x0D, 0x0E],
        NO_CURSOR,
        [0x9C, 0x8E, 0x8F, 0x28, 0x0D, 0x96, 0xB9, 0xA3, 0xFF],
    ),
    attr: attr(MODE7_PALETTE, [0x0E, 0x00, 0x0F, 0x08]),
    gdc: [0, 0, 0, 0, 0, 0x10, 0x0A, 0x00, 0xFF],
    palette: Palette::Mono,
    ..MODE_3
};

/// 320 × 200 in sixteen colours.
pub const MODE_D: Mode = Mode {
    number: 0x0D,
    chars: (40, 25),
    char_height: 8,
    page_bytes: 0x2000,
    seq: [0x09, 0x0F, 0x00, 0x06],
    misc: 0x63,
    crtc: crtc(
        [0x2D, 0x27, 0x28, 0x90, 0x2B, 0x80, 0xBF, 0x1F, 0x00, 0xC0, 0x00, 0x00],
        NO_CURSOR,
        [0x9C, 0x8E, 0x8F, 0x14, 0x00, 0x96, 0xB9, 0xE3, 0xFF],
    ),
    attr: attr(CGA_PALETTE, [0x01, 0x00, 0x0F, 0x00]),
    gdc: PLANAR_GDC,
    palette: Palette::Cga,
};

/// 640 × 200 in sixteen colours.
pub const MODE_E: Mode = Mode {
    number: 0x0E,
    chars: (80, 25),
    page_bytes: 0x4000,
    seq: [0x01, 0x0F, 0x00, 0x06],
    crtc: crtc(
        [0x5F, 0x4F, 0x50, 0x82, 0x54, 0x80, 0xBF, 0x1F, 0x00, 0xC0, 0x00, 0x00],
        NO_CURSOR,
        [0x9C, 0x8E, 0x8F, 0x28, 0x00, 0x96, 0xB9, 0xE3, 0xFF],
    ),
    ..MODE_D
};

/// 640 × 350 monochrome.
pub const MODE_F: Mode = Mode {
    number: 0x0F,
    char_height: 14,
    page_bytes: 0x8000,
    misc: 0xA2,
    attr: attr(MODEF_PALETTE, [0x0B, 0x00, 0x05, 0x00]),
    gdc: [0, 0, 0, 0, 0, 0, 5, 5, 0xFF],
    palette: Palette::Mono,
    ..MODE_10
};

/// 640 × 350 in sixteen colours.
pub const MODE_10: Mode = Mode {
    number: 0x10,
    chars: (80, 25),
    char_height: 14,
    page_bytes: 0x8000,
    seq: [0x01, 0x0F, 0x00, 0x06],
    misc: 0xA3,
    crtc: crtc(
        [0x5F, 0x4F, 0x50, 0x82, 0x54, 0x80, 0xBF, 0x1F, 0x00, 0x40, 0x00, 0x00],
        NO_CURSOR,
        [0x83, 0x85, 0x5D, 0x28, 0x0F, 0x63, 0xBA, 0xE3, 0xFF],
    ),
    attr: attr(EGA_PALETTE, [0x01, 0x00, 0x0F, 0x00]),
    gdc: PLANAR_GDC,
    palette: Palette::Ega,
};

/// 640 × 480 in two colours.
pub const MODE_11: Mode = Mode {
    number: 0x11,
    crtc: crtc(
        [0x5F, 0x4F, 0x50, 0x82, 0x54, 0x80, 0x0B, 0x3E, 0x00, 0x40, 0x00, 0x00],
        NO_CURSOR,
        [0xEA, 0x8C, 0xDF, 0x28, 0x00, 0xE7, 0x04, 0xC3, 0xFF],
    ),
    attr: attr(two_colors(0x3F), [0x01, 0x00, 0x0F, 0x00]),
    gdc: [0, 0, 0, 0, 0, 0, 5, 1, 0xFF],
    ..MODE_12
};

/// 640 × 480 in sixteen colours.
pub const MODE_12: Mode = Mode {
    number: 0x12,
    chars: (80, 30),
    char_height: 16,
    page_bytes: 0xA000,
    misc: 0xE3,
    crtc: crtc(
        [0x5F, 0x4F, 0x50, 0x82, 0x54, 0x80, 0x0B, 0x3E, 0x00, 0x40, 0x00, 0x00],
        NO_CURSOR,
        [0xEA, 0x8C, 0xDF, 0x28, 0x00, 0xE7, 0x04, 0xE3, 0xFF],
    ),
    ..MODE_10
};

/// 320 × 200 in 256 colours.
pub const MODE_13: Mode = Mode {
    number: 0x13,
    chars: (40, 25),
    char_height: 8,
    page_bytes: 0x2000,
    seq: [0x01, 0x0F, 0x00, 0x0E],
    misc: 0x63,
    crtc: crtc(
        [0x5F, 0x4F, 0x50, 0x82, 0x54, 0x80, 0xBF, 0x1F, 0x00, 0x41, 0x00, 0x00],
        NO_CURSOR,
        [0x9C, 0x8E, 0x8F, 0x28, 0x40, 0x96, 0xB9, 0xA3, 0xFF],
    ),
    attr: attr(LINEAR_PALETTE, [0x41, 0x00, 0x0F, 0x00]),
    gdc: [0, 0, 0, 0, 0, 0x40, 5, 0x0F, 0xFF],
    palette: Palette::Vga256,
};

/// Every standard mode, ascending; a mode and its colour-burst twin (0/1, 2/3, 4/5) share their registers.
pub const MODES: [Mode; 15] = [
    Mode { number: 0, ..MODE_1 },
    MODE_1,
    Mode { number: 2, ..MODE_3 },
    MODE_3,
    MODE_4,
    Mode { number: 5, ..MODE_4 },
    MODE_6,
    MODE_7,
    MODE_D,
    MODE_E,
    MODE_F,
    MODE_10,
    MODE_11,
    MODE_12,
    MODE_13,
];

impl Mode {
    /// The mode with BIOS number `number`.
    #[must_use]
    pub fn by_number(number: u8) -> Option<&'static Mode> {
        const ALL: &[Mode] = &MODES;
        ALL.iter().find(|m| m.number == number)
    }

    /// Whether it is a text mode.
    #[must_use]
    pub const fn is_text(&self) -> bool {
        self.gdc[6] & 1 == 0
    }

    /// First port of the CRTC: 3D4h, or 3B4h in a monochrome mode.
    #[must_use]
    pub const fn crtc_port(&self) -> u16 {
        if self.misc & 1 != 0 { 0x3D4 } else { 0x3B4 }
    }
}

impl Palette {
    /// Red, green and blue of entry `index`, 6 bits each; black beyond the palette's end (64 entries repeat).
    #[must_use]
    pub const fn color(self, index: u8) -> [u8; 3] {
        match self {
            Palette::Mono => {
                let level = [0x00, 0x2A, 0x00, 0x3F][index as usize >> 3 & 3];
                [level; 3]
            }
            Palette::Cga => cga(index & 7, index & 0x10 != 0),
            Palette::Ega => ega(index),
            Palette::Vga256 => vga256(index),
        }
    }
}

/// Colour `rgb` (bit 2 red, 1 green, 0 blue), dark or bright; dark yellow is brown.
const fn cga(rgb: u8, bright: bool) -> [u8; 3] {
    let base = if bright { 0x15 } else { 0 };
    if rgb == 6 && !bright {
        return [0x2A, 0x15, 0x00];
    }
    [level_of(base, rgb & 4), level_of(base, rgb & 2), level_of(base, rgb & 1)]
}

const fn level_of(base: u8, on: u8) -> u8 {
    base + if on != 0 { 0x2A } else { 0 }
}

/// Two bits of each colour: bits 2-0 count two thirds, bits 5-3 one third.
const fn ega(index: u8) -> [u8; 3] {
    const fn level(index: u8, bit: u8) -> u8 {
        (index >> bit & 1) * 0x2A + (index >> (bit + 3) & 1) * 0x15
    }
    [level(index, 2), level(index, 1), level(index, 0)]
}

const GREYS: [u8; 16] = [0, 5, 8, 0x0B, 0x0E, 0x11, 0x14, 0x18, 0x1C, 0x20, 0x24, 0x28, 0x2D, 0x32, 0x38, 0x3F];

/// Five levels from the lowest to the highest, for each of three intensities times three saturations.
const RAMPS: [[u8; 5]; 9] = [
    [0x00, 0x10, 0x1F, 0x2F, 0x3F],
    [0x1F, 0x27, 0x2F, 0x37, 0x3F],
    [0x2D, 0x31, 0x36, 0x3A, 0x3F],
    [0x00, 0x07, 0x0E, 0x15, 0x1C],
    [0x0E, 0x11, 0x15, 0x18, 0x1C],
    [0x14, 0x16, 0x18, 0x1A, 0x1C],
    [0x00, 0x04, 0x08, 0x0C, 0x10],
    [0x08, 0x0A, 0x0C, 0x0E, 0x10],
    [0x0B, 0x0C, 0x0D, 0x0F, 0x10],
];

/// Sixteen CGA colours, sixteen greys, nine circles of 24 hues from blue over red and green, eight black.
const fn vga256(index: u8) -> [u8; 3] {
    match index {
        0..=15 => cga(index & 7, index & 8 != 0),
        16..=31 => [GREYS[index as usize - 16]; 3],
        32..=247 => {
            let ramp = RAMPS[(index as usize - 32) / 24];
            let hue = (index as usize - 32) % 24;
            [ramp[level_at(hue)], ramp[level_at((hue + 16) % 24)], ramp[level_at((hue + 8) % 24)]]
        }
        _ => [0; 3],
    }
}

/// Level of red at `hue`: up from blue to magenta, full to yellow, down to green, none to blue.
const fn level_at(hue: usize) -> usize {
    match hue {
        0..=3 => hue,
        4..=12 => 4,
        13..=16 => 16 - hue,
        _ => 0,
    }
}
