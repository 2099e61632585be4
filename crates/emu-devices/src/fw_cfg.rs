//! QEMU's firmware configuration device: named and numbered items for firmware and test kernels.
//!
//! Source: [fw_cfg]. Ports 510h (selector, 16 bits, write only) and 511h (data, 8 bits, read only), in
//! one region from 510h. A selected item is read byte by byte; behind its end, and where there is none, zeros are read.
//! Left out: the DMA interface (so the revision is 1), and writing.

use emu_core::bus::PortDevice;
use emu_core::{DevCx, Device, State, StateError, StateReader, StateWriter, Ticks};

const SIGNATURE: u16 = 0;
const REVISION: u16 = 1;
const RAM_SIZE: u16 = 3;
const NUMBER_OF_CPUS: u16 = 5;
const MAX_CPUS: u16 = 0xF;
const FILE_DIRECTORY: u16 = 0x19;
const FIRST_FILE: u16 = 0x20;
/// Bit 14 of a selector asks for writing, which changes nothing about reading.
const WRITE: u16 = 0x4000;
/// Bytes of a name in the directory, with its final zero.
const NAME_SIZE: usize = 56;

/// The device.
#[derive(Debug)]
pub struct FwCfg {
    // Configuration
    items: Vec<(u16, Vec<u8>)>,
    files: Vec<(String, u16)>,
    // State
    selected: u16,
    offset: u32,
}

impl FwCfg {
    /// The items of a PC with so many bytes of RAM and so many CPUs.
    #[must_use]
    pub fn new(memory: u64, cpus: u16) -> FwCfg {
        let items = vec![
            (SIGNATURE, b"QEMU".to_vec()),
            (REVISION, 1u32.to_le_bytes().to_vec()),
            (RAM_SIZE, memory.to_le_bytes().to_vec()),
            (NUMBER_OF_CPUS, cpus.to_le_bytes().to_vec()),
            (MAX_CPUS, cpus.to_le_bytes().to_vec()),
        ];
        FwCfg { items, files: Vec::new(), selected: 0, offset: 0 }
    }

    /// Adds a file, with the next free number. Returns whether there was room, and the name fits the directory.
    pub fn add_file(&mut self, name: &str, contents: Vec<u8>) -> bool {
        let number = FIRST_FILE as usize + self.files.len();
        if name.len() >= NAME_SIZE || number >= usize::from(WRITE) || u32::try_from(contents.len()).is_err() {
            return false;
        }
        self.files.push((name.to_owned(), number as u16));
        self.items.push((number as u16, contents));
        true
    }

    /// Byte `at` of the directory: the number of files, then for each its size, its number, two bytes of nothing and its
    /// name, all big-endian.
    fn directory(&self, at: usize) -> u8 {
        let Some(at) = at.checked_sub(4) else { return (self.files.len() as u32).to_be_bytes()[at] };
        let Some((name, number)) = self.files.get(at / (8 + NAME_SIZE)) else { return 0 };
        let size = self.item(*number).map_or(0, |bytes| bytes.len() as u32);
        match at % (8 + NAME_SIZE) {
            n @ 0..4 => size.to_be_bytes()[n],
            n @ 4..6 => number.to_be_bytes()[n - 4],
            6 | 7 => 0,
            n => name.as_bytes().get(n - 8).copied().unwrap_or(0),
        }
    }

    fn item(&self, number: u16) -> Option<&[u8]> {
        self.items.iter().find(|i| i.0 == number).map(|i| i.1.as_slice())
    }

    fn byte(&self) -> u8 {
        match self.selected & !WRITE {
            FILE_DIRECTORY => self.directory(self.offset as usize),
            number => self.item(number).and_then(|bytes| bytes.get(self.offset as usize)).copied().unwrap_or(0),
        }
    }
}

impl Device for FwCfg {
    fn name(&self) -> &str {
        "fw_cfg"
    }
    fn reset(&mut self, _cx: &mut DevCx<'_>) {
        (self.selected, self.offset) = (0, 0);
    }
    #[inline]
    fn ports(&mut self) -> Option<&mut dyn PortDevice> {
        Some(self)
    }
}

impl PortDevice for FwCfg {
    fn read(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u16, size: u8) -> u32 {
        let value = self.peek(cx.now, region, offset, size);
        if offset == 1 {
            self.offset = self.offset.saturating_add(1);
        }
        value
    }

    fn write(&mut self, _cx: &mut DevCx<'_>, _region: u16, offset: u16, size: u8, value: u32) {
        if (offset, size) == (0, 2) {
            (self.selected, self.offset) = (value as u16, 0);
        }
    }

    fn peek(&self, _now: Ticks, _region: u16, offset: u16, _size: u8) -> u32 {
        if offset == 1 { self.byte().into() } else { u32::MAX }
    }
}

impl State for FwCfg {
    const TAG: [u8; 4] = *b"FWCF";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { items: _, files: _, selected, offset } = self;
        w.field(1, selected);
        w.field(2, offset);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        (self.selected, self.offset) = (r.field(1)?, r.field(2)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use emu_core::DeviceId;
    use emu_core::bus::rig::{Rig, Surface};

    fn build() -> (Rig, DeviceId) {
        let mut rig = Rig::new();
        let mut device = FwCfg::new(0x1234_5678, 3);
        assert!(device.add_file("etc/one", b"1st".to_vec()) && device.add_file("opt/two", vec![2; 5]));
        assert!(!device.add_file(&"x".repeat(NAME_SIZE), vec![]));
        let id = rig.bus.add(Box::new(device));
        rig.bus.map_ports(id, 0x510, 2, 0, 2);
        rig.reset();
        (rig, id)
    }

    emu_core::device_contract_tests!(build, || Surface { ports: vec![(0x510, 2)], memory: vec![] });

    fn read(rig: &mut Rig, item: u16, bytes: usize) -> Vec<u8> {
        rig.out16(0x510, item);
        (0..bytes).map(|_| rig.in8(0x511)).collect()
    }

    #[test]
    fn items_read_from_their_start_and_end_in_zeros() {
        let (mut rig, _) = build();
        assert_eq!(read(&mut rig, SIGNATURE, 6), b"QEMU\0\0");
        assert_eq!(read(&mut rig, NUMBER_OF_CPUS | WRITE, 2), [3, 0]);
        assert_eq!(read(&mut rig, RAM_SIZE, 8), 0x1234_5678u64.to_le_bytes());
        assert_eq!(read(&mut rig, 0x7777, 2), [0, 0]);
        assert_eq!(read(&mut rig, 0x8003, 1), [0], "an item of its architecture is another one");
    }

    #[test]
    fn the_directory_leads_to_the_files() {
        let (mut rig, _) = build();
        let directory = read(&mut rig, FILE_DIRECTORY, 4 + 3 * 64);
        assert_eq!(directory[..4], [0, 0, 0, 2]);
        assert_eq!(directory[4..20], *b"\0\0\0\x03\0\x20\0\0etc/one\0");
        assert_eq!(directory[68..84], *b"\0\0\0\x05\0\x21\0\0opt/two\0");
        assert!(directory[132..].iter().all(|&b| b == 0));
        assert_eq!(read(&mut rig, 0x20, 4), *b"1st\0");
    }
}
