//! The DSDT: the PCI root with its interrupts, the ISA devices, soft off.

use super::super::pci::{interrupt_of, pirq_of};
use super::aml::{self, Aml, device, dma, eisa_id, int, io, irq, method, name, package, resources, scope};

/// What is behind the ISA bridge: name, identifier, resources.
fn isa_devices() -> Vec<Aml> {
    let isa =
        |path: &str, id: &str, crs: &[Aml]| device(path, &[name("_HID", &eisa_id(id)), name("_CRS", &resources(crs))]);
    let serial = |path: &str, unit: u32, base: u16, line: u8| {
        let crs = resources(&[io(base, 8), irq(line)]);
        device(path, &[name("_HID", &eisa_id("PNP0501")), name("_UID", &int(unit)), name("_CRS", &crs)])
    };
    vec![
        isa("RTC", "PNP0B00", &[io(0x70, 2), irq(8)]),
        isa("TMR", "PNP0100", &[io(0x40, 4), irq(0)]),
        isa("SPKR", "PNP0800", &[io(0x61, 1)]),
        isa("KBD", "PNP0303", &[io(0x60, 1), io(0x64, 1), irq(1)]),
        isa("MOU", "PNP0F13", &[irq(12)]),
        isa("FDC0", "PNP0700", &[io(0x3F2, 4), io(0x3F7, 1), irq(6), dma(2)]),
        serial("COM1", 1, 0x3F8, 4),
        serial("COM2", 2, 0x2F8, 3),
    ]
}

/// Interrupts of every slot and pin: static, as the router's registers are set by POST.
fn routing() -> Aml {
    let mut entries = Vec::new();
    for slot in 1..32u32 {
        for pin in 0..4u32 {
            let gsi = interrupt_of(pirq_of(slot as u8, pin as u8));
            entries.push(package(&[int(slot << 16 | 0xFFFF), int(pin), int(0), int(gsi.into())]));
        }
    }
    package(&entries)
}

/// The table's body, for a machine whose RAM below 4 GiB ends at `low`, and with `cpus` processors.
pub(super) fn body(low: u32, cpus: u8) -> Aml {
    let hole = low.max(0x1000_0000);
    let crs = resources(&[
        aml::buses(0, 0xFF),
        io(0xCF8, 8),
        aml::ports(0x0000, 0x0CF7),
        aml::ports(0x0D00, 0xFFFF),
        aml::memory(0xA_0000, 0xB_FFFF, true),
        aml::memory(hole, 0xFEBF_FFFF, false),
    ]);
    let bridge = device("ISA", &[vec![name("_ADR", &int(0x0001_0000))], isa_devices()].concat());
    let root = device(
        "PCI0",
        &[
            name("_HID", &eisa_id("PNP0A03")),
            name("_UID", &int(0)),
            name("_CRS", &crs),
            name("_PRT", &routing()),
            bridge,
        ],
    );
    let processors: Vec<Aml> = (0..cpus).map(|i| aml::processor(&format!("CPU{i:X}"), i)).collect();
    let off = u32::from(crate::piix4_pm::SLP_TYP_S5);
    [
        name("\\_S5", &package(&[int(off), int(off), int(0), int(0)])),
        name("\\PICF", &int(0)),
        method("\\_PIC", 1, &[aml::store_arg0("\\PICF")]),
        scope("\\_PR", &processors),
        scope("\\_SB", &[root]),
    ]
    .concat()
}
