//! What front ends do with a screen: a picture becomes a PNG, a text screen becomes lines of text.

use emu_devices::vga::{Frame, TextScreen};

/// Why a picture could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ScreenError {
    /// The picture has no pixels, or not as many bytes as its size says.
    #[error("the screen shows no picture")]
    Empty,
    /// The PNG encoder or what it writes to failed.
    #[error("the picture could not be written: {0}")]
    Png(#[from] png::EncodingError),
}

/// Writes `frame` as a PNG of 8-bit RGB to `out`.
///
/// # Errors
/// [`ScreenError`].
pub fn write_png(frame: &Frame, out: impl std::io::Write) -> Result<(), ScreenError> {
    let (width, height) = (u32::try_from(frame.width), u32::try_from(frame.height));
    let (Ok(width), Ok(height)) = (width, height) else { return Err(ScreenError::Empty) };
    if width == 0 || height == 0 || frame.rgb.len() != frame.width * frame.height * 3 {
        return Err(ScreenError::Empty);
    }
    let mut encoder = png::Encoder::new(out, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&frame.rgb)?;
    writer.finish()?;
    Ok(())
}

/// The PNG of `frame`.
///
/// # Errors
/// [`ScreenError`].
pub fn png_bytes(frame: &Frame) -> Result<Vec<u8>, ScreenError> {
    let mut bytes = Vec::new();
    write_png(frame, &mut bytes)?;
    Ok(bytes)
}

/// The characters of `screen` as Unicode: rows without their trailing blanks, joined by newlines.
#[must_use]
pub fn plain_text(screen: &TextScreen) -> String {
    let rows: Vec<String> = (0..screen.rows).map(|r| trimmed(screen, r)).collect();
    rows.join("\n")
}

fn trimmed(screen: &TextScreen, row: usize) -> String {
    screen.row_text(row).trim_end_matches([' ', '\u{a0}']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_png_holds_the_picture() {
        let frame = Frame { width: 3, height: 2, rgb: (0..18).collect() };
        let bytes = png_bytes(&frame).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; 18];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height, info.color_type), (3, 2, png::ColorType::Rgb));
        assert_eq!(pixels, frame.rgb);
        assert!(matches!(png_bytes(&Frame::default()), Err(ScreenError::Empty)));
        assert!(matches!(png_bytes(&Frame { width: 9, ..frame }), Err(ScreenError::Empty)));
    }

    #[test]
    fn text_has_no_trailing_blanks() {
        let cells = b"A \xC9 \0\0\xFF    x".map(|c| (c, 7)).to_vec();
        let screen = TextScreen { cols: 4, rows: 3, cells, cursor: None };
        assert_eq!(plain_text(&screen), "A ╔\n\n   x");
    }
}
