//! What memory there is, from CMOS, as every call tells it its own way.

use emu_core::cpu::model::Kind as Processor;

use super::guest::Guest;

/// Bytes at the end of low RAM that hold the firmware's tables.
pub(super) const TABLES: u64 = 0x1_0000;
const MIB: u64 = 1 << 20;
/// What an 80286 can reach below its ROM.
const REACH_286: u64 = 0xFE_0000;

/// Kinds of E820h [ACPI 15.1].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Usable = 1,
    Reserved = 2,
    AcpiTables = 3,
    AcpiNvs = 4,
}

/// One range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) base: u64,
    pub(super) len: u64,
    pub(super) kind: Kind,
}

/// Bytes of RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Below 4 GiB; where the tables are, they are its end.
    pub(super) low: u64,
    /// From 4 GiB on.
    pub(super) high: u64,
}

/// Reads the sizes that setup left.
pub(super) fn sizes(g: &mut Guest<'_>) -> Sizes {
    let above_16m = u64::from(g.cmos_word(0x34)) << 16;
    let above_1m = u64::from(g.cmos_word(0x30)) << 10;
    let low = if above_16m > 0 { 16 * MIB + above_16m } else { MIB + above_1m };
    let high = u64::from(g.cmos_word(0x5B)) << 16 | u64::from(g.cmos(0x5D)) << 32;
    match g.sys.cpu.model.kind {
        Processor::I8086 | Processor::I80186 => Sizes { low: MIB, high: 0 },
        Processor::I80286 => Sizes { low: low.min(REACH_286), high: 0 },
        _ => Sizes { low, high },
    }
}

impl Sizes {
    /// Where the tables start, if there is room for them.
    pub(super) fn tables(self) -> Option<u64> {
        (self.low > MIB + TABLES).then(|| self.low - TABLES)
    }

    /// End of what programs may use below 4 GiB.
    fn end(self) -> u64 {
        self.tables().unwrap_or(self.low)
    }

    /// KiB above 1 MiB, up to 64 MiB.
    pub(super) fn extended_kib(self) -> u16 {
        (self.end().saturating_sub(MIB) >> 10).min(0xFC00) as u16
    }

    /// KiB from 1 to 16 MiB, and 64 KiB blocks above.
    pub(super) fn split(self) -> (u16, u16) {
        let low = (self.end().saturating_sub(MIB) >> 10).min(0x3C00) as u16;
        (low, (self.end().saturating_sub(16 * MIB) >> 16).min(0xFFFF) as u16)
    }

    /// The map of E820h.
    pub(super) fn map(self) -> Vec<Range> {
        let range = |base, end: u64, kind| Range { base, len: end - base, kind };
        let mut map = vec![
            range(0, 0x9_FC00, Kind::Usable),
            range(0x9_FC00, 0xA_0000, Kind::Reserved),
            range(0xF_0000, MIB, Kind::Reserved),
        ];
        if self.end() > MIB {
            map.push(range(MIB, self.end(), Kind::Usable));
        }
        if let Some(tables) = self.tables() {
            map.push(range(tables, tables + 0x1000, Kind::AcpiNvs));
            map.push(range(tables + 0x1000, self.low, Kind::AcpiTables));
        }
        map.push(range(0xFFFC_0000, 1 << 32, Kind::Reserved));
        if self.high > 0 {
            map.push(range(1 << 32, (1 << 32) + self.high, Kind::Usable));
        }
        map
    }
}
