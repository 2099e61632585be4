//! The PCI interrupt routing table [$PIR 1.0], for systems that route by the 8259A.

use super::super::pci::pirq_of;
use super::acpi::close_sum;

/// Interrupts that POST's routing can be changed to: 5, 9 to 11.
const CHOICE: u16 = 0x0E20;

/// The table for these devices; the router is the ISA bridge `bridge`.
pub(super) fn table(bridge: u8, devices: &[u8]) -> Vec<u8> {
    let mut t = b"$PIR\0\x01".to_vec();
    t.extend_from_slice(&(32 + 16 * devices.len() as u16).to_le_bytes());
    t.extend_from_slice(&[0, bridge << 3, 0, 0]);
    t.extend_from_slice(&[0x86, 0x80, 0x00, 0x70]); // compatible with the PIIX3
    t.resize(32, 0);
    for &device in devices {
        t.extend_from_slice(&[0, device << 3]);
        for pin in 0..4 {
            t.push(0x60 + pirq_of(device, pin) as u8);
            t.extend_from_slice(&CHOICE.to_le_bytes());
        }
        t.extend_from_slice(&[0, 0]);
    }
    close_sum(&mut t, 31);
    t
}
