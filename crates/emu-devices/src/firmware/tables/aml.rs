//! A small assembler of ACPI machine language [ACPI 20.2].

/// Bytes of a term.
pub(super) type Aml = Vec<u8>;

fn join(parts: &[&[u8]]) -> Aml {
    parts.concat()
}

/// A name of at most four characters, or a path of them with dots; `\` and `^` stay in front.
fn name_string(path: &str) -> Aml {
    let rest = path.trim_start_matches(['\\', '^']);
    let mut out = path.as_bytes()[..path.len() - rest.len()].to_vec();
    let parts: Vec<&str> = rest.split('.').collect();
    match parts.len() {
        1 => {}
        2 => out.push(0x2E),
        n => out.extend([0x2F, n as u8]),
    }
    for part in parts {
        out.extend(part.bytes().chain(*b"____").take(4));
    }
    out
}

/// `body` with the length of itself and of the body in front.
fn with_length(body: &[u8]) -> Aml {
    let len = body.len();
    let mut out = match len {
        0..=0x3E => vec![len as u8 + 1],
        0x3F..=0xFFD => vec![0x40 | (len + 2) as u8 & 0xF, ((len + 2) >> 4) as u8],
        _ => vec![0x80 | (len + 3) as u8 & 0xF, ((len + 3) >> 4) as u8, ((len + 3) >> 12) as u8],
    };
    out.extend_from_slice(body);
    out
}

/// An integer, in its shortest form.
pub(super) fn int(v: u32) -> Aml {
    match v {
        0 => vec![0x00],
        1 => vec![0x01],
        2..=0xFF => vec![0x0A, v as u8],
        0x100..=0xFFFF => join(&[&[0x0B], &(v as u16).to_le_bytes()]),
        _ => join(&[&[0x0C], &v.to_le_bytes()]),
    }
}

/// An EISA identifier such as `PNP0A03`.
pub(super) fn eisa_id(id: &str) -> Aml {
    let (letters, digits) = id.split_at(3);
    let code = letters.bytes().fold(0u16, |c, l| c << 5 | u16::from(l & 0x1F));
    let product = u16::from_str_radix(digits, 16).unwrap_or(0);
    join(&[&[0x0C], &code.to_be_bytes(), &product.to_be_bytes()])
}

/// `Name (path, value)`.
pub(super) fn name(path: &str, value: &[u8]) -> Aml {
    join(&[&[0x08], &name_string(path), value])
}

/// `Package () { items }`.
pub(super) fn package(items: &[Aml]) -> Aml {
    join(&[&[0x12], &with_length(&join(&[&[items.len() as u8], &items.concat()]))])
}

/// `Scope (path) { body }`.
pub(super) fn scope(path: &str, body: &[Aml]) -> Aml {
    join(&[&[0x10], &with_length(&join(&[&name_string(path), &body.concat()]))])
}

/// `Device (path) { body }`.
pub(super) fn device(path: &str, body: &[Aml]) -> Aml {
    join(&[&[0x5B, 0x82], &with_length(&join(&[&name_string(path), &body.concat()]))])
}

/// `Processor (path, id, 0, 0) {}`.
pub(super) fn processor(path: &str, id: u8) -> Aml {
    join(&[&[0x5B, 0x83], &with_length(&join(&[&name_string(path), &[id, 0, 0, 0, 0, 0]]))])
}

/// `Method (path, arguments) { body }`, not serialised.
pub(super) fn method(path: &str, arguments: u8, body: &[Aml]) -> Aml {
    join(&[&[0x14], &with_length(&join(&[&name_string(path), &[arguments], &body.concat()]))])
}

/// `Store (Arg0, path)`.
pub(super) fn store_arg0(path: &str) -> Aml {
    join(&[&[0x70, 0x68], &name_string(path)])
}

/// `ResourceTemplate () { items }`.
pub(super) fn resources(items: &[Aml]) -> Aml {
    let bytes = join(&[&items.concat(), &[0x79, 0x00]]);
    join(&[&[0x11], &with_length(&join(&[&int(bytes.len() as u32), &bytes]))])
}

/// `IO (Decode16, base, base, 1, len)`.
pub(super) fn io(base: u16, len: u8) -> Aml {
    let [low, high] = base.to_le_bytes();
    vec![0x47, 0x01, low, high, low, high, 0x01, len]
}

/// `IRQNoFlags () { irq }`.
pub(super) fn irq(irq: u8) -> Aml {
    join(&[&[0x22], &(1u16 << irq).to_le_bytes()])
}

/// `DMA (Compatibility, NotBusMaster, Transfer8) { channel }`.
pub(super) fn dma(channel: u8) -> Aml {
    vec![0x2A, 1 << channel, 0x00]
}

/// `WordBusNumber` of a root bridge.
pub(super) fn buses(first: u16, last: u16) -> Aml {
    word_space(2, 0x00, first, last)
}

/// `WordIO` of a root bridge.
pub(super) fn ports(first: u16, last: u16) -> Aml {
    word_space(1, 0x03, first, last)
}

fn word_space(kind: u8, flags: u8, first: u16, last: u16) -> Aml {
    let words = [0, first, last, 0, last.wrapping_sub(first).wrapping_add(1)];
    let words: Vec<u8> = words.into_iter().flat_map(u16::to_le_bytes).collect();
    // Producer, fixed at both ends.
    join(&[&[0x88, 13, 0, kind, 0x0C, flags], &words])
}

/// `DWordMemory` of a root bridge, read and write; `cached` for the video window.
pub(super) fn memory(first: u32, last: u32, cached: bool) -> Aml {
    let words = [0, first, last, 0, last - first + 1];
    let words: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    join(&[&[0x87, 23, 0, 0, 0x0C, if cached { 0x03 } else { 0x01 }], &words])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_have_the_bytes_of_the_specification() {
        assert_eq!(eisa_id("PNP0A03"), [0x0C, 0x41, 0xD0, 0x0A, 0x03]);
        let s5 = name("\\_S5", &package(&[int(0), int(5), int(0x1234), int(0x1_0000)]));
        assert_eq!(s5[..7], [0x08, b'\\', b'_', b'S', b'5', b'_', 0x12]);
        assert_eq!(s5[7..], [13, 4, 0, 0x0A, 5, 0x0B, 0x34, 0x12, 0x0C, 0, 0, 1, 0]);
        assert_eq!(name_string("^AB.CDEF"), *b"^\x2EAB__CDEF");
        assert_eq!(with_length(&[0; 0x3E])[0], 0x3F);
        assert_eq!(with_length(&[0; 0x3F])[..2], [0x41, 4]);
        assert_eq!(with_length(&[0; 0x1000])[..3], [0x83, 0x00, 0x01]);
    }
}
