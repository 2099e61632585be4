//! Paging: 32-bit, PAE and 4-level, with accessed and dirty bits, and every check [SDM-3 chapter 4].

use super::System;
use crate::cpu::bits::*;
use crate::cpu::model::{Feature, Kind};
use crate::cpu::{Fault, Outcome};
use crate::mem::Path;

/// What an access does and on whose behalf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// It writes (or reads in order to write).
    pub write: bool,
    /// It fetches code.
    pub fetch: bool,
    /// It is a user-mode access: at CPL 3, and not an implicit access to a system table.
    pub user: bool,
    /// It is an implicit supervisor access, to a descriptor table or a TSS.
    pub implicit: bool,
}

impl Access {
    /// A data access at privilege level `cpl`.
    #[must_use]
    pub const fn data(cpl: u8, write: bool) -> Access {
        Access { write, fetch: false, user: cpl == 3, implicit: false }
    }
    /// A code fetch at privilege level `cpl`.
    #[must_use]
    pub const fn code(cpl: u8) -> Access {
        Access { write: false, fetch: true, user: cpl == 3, implicit: false }
    }
    /// An access to a descriptor table or TSS.
    #[must_use]
    pub const fn system(write: bool) -> Access {
        Access { write, fetch: false, user: false, implicit: true }
    }
}

/// Where a linear address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Physical address.
    pub pa: u64,
    /// A write of the same kind would be allowed too, and the dirty bit is set.
    pub writable: bool,
    /// The page stays over writes to CR3.
    pub global: bool,
    /// Bytes in the page: 4 KiB, 2 MiB, 4 MiB or 1 GiB.
    pub page_size: u64,
}

const P: u64 = 1 << 0;
const RW: u64 = 1 << 1;
const US: u64 = 1 << 2;
const A: u64 = 1 << 5;
const D: u64 = 1 << 6;
const PS: u64 = 1 << 7;
const G: u64 = 1 << 8;
const XD: u64 = 1 << 63;

/// A leaf entry as a walk found it.
struct Leaf {
    entry: u64,
    entry_at: u64,
    wide: bool,
    /// Physical base of the page.
    base: u64,
    page_size: u64,
    /// AND of the levels' R/W, U/S and A bits, OR of their XD bits.
    rights: u64,
    no_execute: bool,
    /// Place and value of a directory entry that is to be marked accessed only once the access is allowed.
    parent: Option<(u64, u64)>,
}

/// Why a walk ended: the bits of the page fault's error code that it decides.
enum Miss {
    NotPresent,
    Reserved,
}

impl System {
    /// Translates `lin` for `access`, sets accessed and dirty bits, and checks every right.
    ///
    /// # Errors
    /// #PF, with CR2 set.
    pub fn translate(&mut self, lin: u64, access: Access) -> Outcome<Translation> {
        if self.cpu.cr0 & CR0_PG == 0 {
            let pa = lin & 0xFFFF_FFFF;
            return Ok(Translation { pa, writable: true, global: false, page_size: 4096 });
        }
        let leaf = match self.walk(lin, true) {
            Ok(leaf) => leaf,
            Err(Miss::NotPresent) => return Err(self.page_fault(lin, access, 0)),
            Err(Miss::Reserved) => return Err(self.page_fault(lin, access, 1 | 8)),
        };
        let by_key = self.key_forbids(&leaf, access);
        if by_key || !self.allowed(&leaf, access) {
            return Err(self.page_fault(lin, access, 1 | u16::from(by_key) << 5));
        }
        if let Some((at, pde)) = leaf.parent {
            self.store_entry(at, pde | A, false);
        }
        let mut dirty = leaf.entry & D != 0;
        let wanted = leaf.entry | A | if access.write { D } else { 0 };
        if wanted != leaf.entry {
            self.store_entry(leaf.entry_at, wanted, leaf.wide);
            dirty |= access.write;
        }
        let store = Access { write: true, fetch: false, ..access };
        let writable = dirty && self.allowed(&leaf, store) && !self.key_forbids(&leaf, store);
        Ok(self.translation(lin, &leaf, writable))
    }

    /// Where `lin` leads, without side effects and without checking rights; for debuggers.
    #[must_use]
    pub fn peek_translation(&mut self, lin: u64) -> Option<u64> {
        if self.cpu.cr0 & CR0_PG == 0 {
            return Some(lin & 0xFFFF_FFFF);
        }
        let leaf = self.walk(lin, false).ok()?;
        Some(leaf.base | (lin & (leaf.page_size - 1)))
    }

    /// Where a fetch at `lin` leads, if it changes nothing: it faults not, and all accessed bits are set.
    pub(crate) fn silent_fetch(&mut self, lin: u64) -> Option<Translation> {
        let access = Access::code(self.cpu.cpl);
        if self.cpu.cr0 & CR0_PG == 0 {
            return self.translate(lin, access).ok();
        }
        let leaf = self.walk(lin, false).ok()?;
        (leaf.rights & A != 0 && self.allowed(&leaf, access)).then(|| self.translation(lin, &leaf, false))
    }

    fn translation(&self, lin: u64, leaf: &Leaf, writable: bool) -> Translation {
        let global = leaf.entry & G != 0 && self.cpu.cr4 & CR4_PGE != 0;
        let pa = leaf.base | (lin & (leaf.page_size - 1));
        Translation { pa, writable, global, page_size: leaf.page_size }
    }

    pub(super) fn page_is_large(&mut self, lin: u64) -> bool {
        self.walk(lin, false).map_or(true, |leaf| leaf.page_size > 4096)
    }

    #[cold]
    fn page_fault(&mut self, lin: u64, access: Access, bits: u16) -> Fault {
        self.cpu.cr2 = lin;
        let fetch_bit = access.fetch && (self.no_execute_enabled() || self.cpu.cr4 & CR4_SMEP != 0);
        Fault::pf(bits | u16::from(access.write) << 1 | u16::from(access.user) << 2 | u16::from(fetch_bit) << 4)
    }

    fn no_execute_enabled(&self) -> bool {
        self.cpu.efer & EFER_NXE != 0 && self.cpu.cr4 & CR4_PAE != 0
    }

    /// Access rights of [SDM-3 4.6].
    fn allowed(&self, leaf: &Leaf, access: Access) -> bool {
        let user_page = leaf.rights & US != 0;
        let writable_page = leaf.rights & RW != 0;
        if access.fetch && leaf.no_execute {
            return false;
        }
        if access.user {
            return user_page && (!access.write || writable_page);
        }
        if user_page && access.fetch && self.cpu.cr4 & CR4_SMEP != 0 {
            return false;
        }
        let smap = self.cpu.cr4 & CR4_SMAP != 0 && (access.implicit || self.cpu.eflags & AC == 0);
        if user_page && !access.fetch && smap {
            return false;
        }
        !access.write || writable_page || self.cpu.cr0 & CR0_WP == 0
    }

    /// Whether the page's protection key forbids a data access [SDM-3 4.6.2].
    fn key_forbids(&self, leaf: &Leaf, access: Access) -> bool {
        let user_page = leaf.rights & US != 0;
        let (switch, rights) = if user_page { (CR4_PKE, 0) } else { (CR4_PKS, 1) };
        if self.cpu.cr4 & switch == 0 || access.fetch || self.cpu.efer & EFER_LMA == 0 {
            return false;
        }
        let key = leaf.entry >> 59 & 15;
        let bits = self.cpu.key_rights[rights] >> (2 * key);
        let write_counts = access.write && (access.user || self.cpu.cr0 & CR0_WP != 0);
        bits & 1 != 0 || (bits & 2 != 0 && write_counts)
    }

    fn walk(&mut self, lin: u64, mark: bool) -> Result<Leaf, Miss> {
        if self.cpu.cr4 & CR4_PAE == 0 {
            self.walk_32(lin, mark)
        } else if self.cpu.efer & EFER_LMA == 0 {
            let pdpte = self.cpu.pdptrs[(lin >> 30) as usize & 3];
            if pdpte & P == 0 {
                return Err(Miss::NotPresent);
            }
            self.walk_wide(lin, mark, pdpte & self.address_mask(), 2)
        } else {
            self.walk_wide(lin, mark, self.cpu.cr3 & self.address_mask(), 4)
        }
    }

    /// Bits of an 8-byte entry that are an address.
    pub(super) fn address_mask(&self) -> u64 {
        ((1 << self.cpu.model.physical_bits()) - 1) & !0xFFF
    }

    /// 32-bit paging [SDM-3 4.3].
    fn walk_32(&mut self, lin: u64, mark: bool) -> Result<Leaf, Miss> {
        let pde_at = (self.cpu.cr3 & 0xFFFF_F000) | (lin >> 20 & 0xFFC);
        self.path = Path::new(pde_at, false);
        let pde = u64::from(self.mem.load::<u32>(pde_at));
        if pde & P == 0 {
            return Err(Miss::NotPresent);
        }
        if pde & PS != 0 && self.cpu.cr4 & CR4_PSE != 0 {
            let pse36 = self.cpu.model.has(Feature::Pse36);
            let reserved = if pse36 { 1 << 21 } else { 0x3F_E000 };
            if pde & reserved != 0 {
                return Err(Miss::Reserved);
            }
            let high = if pse36 { (pde >> 13 & 0xFF) << 32 & self.address_mask() } else { 0 };
            let base = (pde & 0xFFC0_0000) | high;
            let rights = pde & (RW | US | A);
            let leaf = Leaf {
                entry: pde,
                entry_at: pde_at,
                wide: false,
                base,
                page_size: 4 << 20,
                rights,
                no_execute: false,
                parent: None,
            };
            return Ok(leaf);
        }
        let pte_at = (pde & 0xFFFF_F000) | (lin >> 10 & 0xFFC);
        (self.path.leaf, self.path.above[0]) = (pte_at, pde_at);
        let pte = u64::from(self.mem.load::<u32>(pte_at));
        // Up to the Pentium a walk that faults leaves no trace in the directory; later CPUs mark what they have used.
        let late = self.cpu.model.kind <= Kind::Pentium;
        if mark && pde & A == 0 && !late {
            self.store_entry(pde_at, pde | A, false);
        }
        if pte & P == 0 {
            return Err(Miss::NotPresent);
        }
        let (base, rights) = (pte & 0xFFFF_F000, pde & pte & (RW | US | A));
        let parent = (late && pde & A == 0).then_some((pde_at, pde));
        Ok(Leaf { entry: pte, entry_at: pte_at, wide: false, base, page_size: 4096, rights, no_execute: false, parent })
    }

    /// PAE and 4-level paging [SDM-3 4.4, 4.5]: `levels` tables from the one at `table` on.
    fn walk_wide(&mut self, lin: u64, mark: bool, table: u64, levels: u32) -> Result<Leaf, Miss> {
        let nx = self.no_execute_enabled();
        let address = self.address_mask();
        let always_reserved = !address & 0x000F_FFFF_FFFF_F000 | if nx { 0 } else { XD };
        let (mut table, mut rights, mut no_execute) = (table, RW | US | A, false);
        self.path = Path::new(0, true);
        for level in (1..=levels).rev() {
            let shift = 12 + 9 * (level - 1);
            let at = table | (lin >> shift & 0x1FF) << 3;
            let entry = self.mem.load::<u64>(at);
            if entry & P == 0 {
                return Err(Miss::NotPresent);
            }
            rights &= entry;
            no_execute |= nx && entry & XD != 0;
            let large = level > 1 && entry & PS != 0;
            let large_allowed = level == 2 || (level == 3 && self.cpu.model.has(Feature::Pdpe1gb));
            let low_reserved = if large { ((1 << shift) - 1) & !0x1FFF } else { 0 };
            let long_pae = if levels == 2 { 0x7FF0_0000_0000_0000 } else { 0 };
            if entry & (always_reserved | low_reserved | long_pae) != 0 || (large && !large_allowed) {
                return Err(Miss::Reserved);
            }
            if level == 1 || large {
                self.path.leaf = at;
                let page_size = 1 << shift;
                let base = entry & address & !(page_size - 1);
                return Ok(Leaf { entry, entry_at: at, wide: true, base, page_size, rights, no_execute, parent: None });
            }
            if mark && entry & A == 0 {
                self.store_entry(at, entry | A, true);
            }
            self.path.above[level as usize - 2] = at;
            table = entry & address;
        }
        Err(Miss::NotPresent)
    }

    fn store_entry(&mut self, at: u64, entry: u64, wide: bool) {
        if wide {
            self.mem.store_entry::<u64>(at, entry);
        } else {
            self.mem.store_entry::<u32>(at, entry as u32);
        }
    }

    /// Loads the PAE page-directory pointers from CR3 [SDM-3 4.4.1].
    ///
    /// # Errors
    /// #GP(0) if a present entry has a reserved bit set; nothing is loaded then.
    pub fn load_pdptrs(&mut self, cr3: u64) -> Outcome {
        let base = cr3 & 0xFFFF_FFE0;
        let new: [u64; 4] = core::array::from_fn(|i| self.mem.load::<u64>(base + 8 * i as u64));
        let reserved = !self.address_mask() & !0xE19;
        if new.iter().any(|e| e & P != 0 && e & (reserved & !P | 0x1E6) != 0) {
            return Err(Fault::gp(0));
        }
        self.cpu.pdptrs = new;
        Ok(())
    }
}
