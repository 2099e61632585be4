//! Sizes as people write them.

/// Reads `640K`, `128M`, `2G`, `1T` or a plain number of bytes. Fractions are not sizes.
///
/// # Errors
/// One line that says what a size looks like.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_lowercase().trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(format!("`{text}` is not a size: a number with K, M, G or T, like 128M")),
    };
    let number: u64 = match number.parse() {
        Ok(n) => n,
        Err(_) if number.is_empty() => return Err(format!("`{text}` is not a size: a number like 128M")),
        Err(_) => return Err(format!("`{text}` is too large")),
    };
    number.checked_mul(1 << shift).ok_or_else(|| format!("`{text}` is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_powers_of_1024() {
        for (text, bytes) in [("512", 512), ("640K", 655_360), ("128M", 1 << 27), ("2GiB", 2 << 30), ("1t", 1 << 40)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "M", "-1", "1.5G", "12X", "99999999999999999999", "18446744073709551615K"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
