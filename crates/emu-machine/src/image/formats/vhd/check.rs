//! Whether the blocks are in the file, and none lies on another.

use super::super::super::format::{Findings, Fix, Result};
use super::super::super::meta::Rank;
use super::{SECTOR, UNUSED, Vhd};

impl Vhd {
    pub(super) fn check_blocks(&mut self, fix: Fix) -> Result<Findings> {
        let Some(h) = self.dynamic.clone() else { return Ok(Findings::default()) };
        let mut found = Findings { blocks: self.footer.size.div_ceil(h.block), ..Findings::default() };
        let mut starts = Vec::new();
        for index in 0..h.entries {
            let at = h.table + index * 4;
            let sector = u32::from_be_bytes(self.meta.get(&*self.store, at)?);
            let start = u64::from(sector) * SECTOR;
            if sector == UNUSED {
                continue;
            }
            if !h.may_begin(start) || start + h.bitmap >= self.store.len() {
                found.error(format!("block {index} at {start:#x} is not in the file"));
                if fix == Fix::All {
                    self.meta.write(&*self.store, at, &UNUSED.to_be_bytes(), Rank::Root)?;
                    found.fixed += 1;
                }
                continue;
            }
            found.allocated += 1;
            starts.push((start, index));
            let used = h.block.min(self.footer.size.saturating_sub(index * h.block));
            if start + h.bitmap + used > self.store.len() {
                found.error(format!(
                    "block {index} at {start:#x} is cut off by the end of the file: its rest is not in the file"
                ));
                if fix == Fix::All {
                    self.store.resize(start + h.bitmap + h.block)?;
                    found.fixed += 1;
                }
            }
        }
        starts.sort_unstable();
        for pair in starts.windows(2) {
            let ((a, first), (b, second)) = (pair[0], pair[1]);
            if b < a + h.bitmap + h.block {
                found.error(format!("blocks {first} at {a:#x} and {second} at {b:#x} lie on each other"));
            }
        }
        let end = starts.last().map_or(0, |s| s.0 + h.bitmap + h.block).max(h.locators_end).max(h.tables_end());
        let whole = (h.bitmap + h.block).max(1);
        let used = starts.len() as u64 * whole;
        // A table that was moved to the end leaves its old place, which is not counted.
        let moved = starts.first().is_some_and(|s| s.0 < h.table);
        let first = if moved { starts[0].0 + h.entries * 4 } else { h.tables_end().max(h.locators_end.min(end)) };
        found.leaked_bytes = (self.store.len().saturating_sub(SECTOR)).saturating_sub(first + used) / whole * whole;
        found.leaks = found.leaked_bytes / whole;
        found.end = end;
        if fix == Fix::All {
            self.store.flush()?;
            self.meta.write_back(&*self.store)?;
            let fixed = found.fixed;
            found.error_count -= fixed;
            found.errors.retain(|e| !e.ends_with("is not in the file"));
        }
        if fix != Fix::Nothing && found.error_count == 0 && self.store.len() > end + SECTOR {
            // What lies behind the last block.
            self.end = None;
            self.begin_writing(&h)?;
            found.fixed += core::mem::take(&mut found.leaks);
            found.leaked_bytes = 0;
        }
        Ok(found)
    }
}
