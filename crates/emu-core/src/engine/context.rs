//! Contexts: what must stay as it is for remembered addresses of code to lead where they led.
//!
//! A context is a mode with the code pages that were translated in it. A write to CR3 drops none at once: when the guest
//! comes back to the same mode and the same CR3, the pages that are not global are walked again, and if each still leads to
//! the same place and needs no accessed bit, everything that was remembered holds. That is what a CPU does that fetches
//! those translations right behind the write, which the architecture allows [SDM-3 4.10.2.3]; a page table that was changed
//! before it is noticed, and so is one that is changed while the context is in use (docs/adr/0035). INVLPG ends the contexts
//! that hold its page; any other change of translations ends all.
//!
//! Each context has a number of 15 bits. It takes the place of those bits of a linear address that a canonical one does not
//! need, so that one compare covers address and context.

use crate::mem::{PAGE_SHIFT, PAGE_SIZE};

/// Contexts that are kept.
const KEPT: usize = 12;
/// Pages that are not global and are walked again for one context at the most.
const PAGES: usize = 192;
/// Cached translations of code.
const TRANSLATIONS: usize = 256;
/// Numbers that contexts can have, from 1 on.
const NUMBERS: u32 = 0x7FFF;
const NUMBER_SHIFT: u32 = 48;
/// No mode has this value.
const NO_MODE: u32 = u32::MAX;
/// No canonical address in any context has this key.
pub(super) const NO_KEY: u64 = 1 << 63;

/// A code page: its linear and its physical address.
pub(crate) type CodePage = (u64, u64);

struct Context {
    mode: u32,
    /// CR3 of its pages; `None` while all of them are global.
    space: Option<u64>,
    number: u32,
    /// CR3 was written since its pages were walked.
    stale: bool,
    /// Has more pages than are walked again.
    large: bool,
    /// Its pages that are not global.
    pages: Vec<CodePage>,
    /// The first and the last of those that are.
    globals: (u64, u64),
    /// A bit for each value that the low bits of its page numbers have.
    filter: Box<[u64; 64]>,
}

impl Context {
    fn begin(mode: u32, number: u32) -> Context {
        let (pages, filter) = (Vec::new(), Box::new([0; 64]));
        Context { mode, space: None, number, stale: false, large: false, pages, globals: (u64::MAX, 0), filter }
    }

    /// Whether some page from `first` to `last` may have been translated in it; pages that will be walked again don't count.
    fn may_hold_any(&self, first: u64, last: u64) -> bool {
        let one = last - first < PAGE_SIZE;
        if one && !self.may_hold(first) {
            return false;
        }
        let inside = |lin: u64| low(lin) >= first && low(lin) <= last;
        let global = low(self.globals.0) <= last && low(self.globals.1) >= first && self.globals.0 <= self.globals.1;
        global || (!self.stale && (self.large || self.pages.iter().any(|p| inside(p.0))))
    }

    fn may_hold(&self, lin: u64) -> bool {
        let bit = lin >> PAGE_SHIFT;
        self.filter[(bit >> 6 & 63) as usize] >> (bit & 63) & 1 != 0
    }
}

/// Bits 47:0 of a linear address.
fn low(lin: u64) -> u64 {
    lin & ((1 << NUMBER_SHIFT) - 1)
}

/// Where a mode's hint stands.
fn hint(mode: u32) -> usize {
    (mode ^ mode >> 5) as usize % 16
}

/// The contexts of the CPU, and the code pages translated in them.
pub(crate) struct Contexts {
    /// Number of the present context, in bits 62:48; 0 if there is none.
    number: u64,
    /// The present context's mode.
    mode: u32,
    kept: Vec<Context>,
    /// The present one's index.
    present: usize,
    /// Mode, number and index of the context before the present one, if it can be so again without more ado.
    last: (u32, u64, usize),
    /// Indices by mode, of those that were present last: hints only.
    recent: [u8; 16],
    /// The number that was given last.
    newest: u32,
    translations: Box<[CodePage; TRANSLATIONS]>,
}

impl Default for Contexts {
    fn default() -> Self {
        let translations = Box::new([(NO_KEY, 0); TRANSLATIONS]);
        Contexts {
            number: 0,
            mode: NO_MODE,
            kept: Vec::new(),
            present: 0,
            last: (NO_MODE, 0, 0),
            recent: [0; 16],
            newest: 0,
            translations,
        }
    }
}

impl Contexts {
    /// Whether `mode`'s context is the present one.
    #[inline(always)]
    pub(crate) fn is_present(&self, mode: u32) -> bool {
        self.mode == mode
    }

    /// The key of a canonical address in the present context.
    #[inline(always)]
    pub(crate) fn key(&self, lin: u64) -> u64 {
        lin ^ self.number
    }

    /// Makes the context before the present one the present one, if it is that of `mode`: a system call and its return
    /// do nothing else.
    #[inline(always)]
    pub(crate) fn swap(&mut self, mode: u32) -> bool {
        if self.last.0 != mode {
            return false;
        }
        let (present, number, index) = self.last;
        self.last = (self.mode, self.number, self.present);
        (self.mode, self.number, self.present) = (present, number, index);
        true
    }

    /// Makes the context of `mode` under `cr3` the present one. The answer are pages that must be walked again first, and
    /// handed back with the result by [`Self::walked`].
    pub(crate) fn select(&mut self, mode: u32, cr3: u64) -> Option<Vec<CodePage>> {
        let mut before = (self.mode, self.number, self.present);
        let fits = |c: &Context| c.mode == mode && c.space.is_none_or(|s| s == cr3);
        let hinted = usize::from(self.recent[hint(mode)]);
        if !self.kept.get(hinted).is_some_and(fits) {
            self.search(mode, fits);
            before.0 = NO_MODE;
        } else {
            self.present = hinted;
        }
        let c = &mut self.kept[self.present];
        if core::mem::take(&mut c.stale) {
            let pages = core::mem::take(&mut c.pages);
            self.leave();
            return Some(pages);
        }
        let number = u64::from(c.number) << NUMBER_SHIFT;
        self.last = before;
        (self.mode, self.number) = (mode, number);
        None
    }

    /// Has the context of `mode` that `fits` be the present one; there it is new if there is none.
    #[inline(never)]
    fn search(&mut self, mode: u32, fits: impl Fn(&Context) -> bool) {
        self.present = self.kept.iter().position(fits).unwrap_or_else(|| {
            self.newest += 1;
            let context = Context::begin(mode, self.newest);
            if self.kept.len() < KEPT {
                self.kept.push(context);
                return self.kept.len() - 1;
            }
            // One after the other is replaced.
            let victim = self.newest as usize % KEPT;
            self.kept[victim] = context;
            victim
        });
        self.recent[hint(mode)] = self.present as u8;
    }

    /// The pages that [`Self::select`] gave are walked. Select again.
    pub(crate) fn walked(&mut self, pages: Vec<CodePage>, same: bool) {
        if same {
            self.kept[self.present].pages = pages;
        } else {
            self.kept.swap_remove(self.present);
        }
    }

    /// Whether numbers must be used again, so that whoever holds keys must drop them.
    pub(crate) fn run_out(&self) -> bool {
        self.newest >= NUMBERS
    }

    /// The next context gets a number above all of `other`'s.
    pub(super) fn number_after(&mut self, other: &Contexts) {
        self.newest = self.newest.max(other.newest);
    }

    /// Begins the numbers anew; nobody holds a key any more.
    pub(crate) fn restart(&mut self) {
        *self = Contexts::default();
    }

    /// The physical page of a canonical address, if it was translated in the present context.
    #[inline]
    pub(crate) fn translation(&self, lin: u64) -> Option<u64> {
        let (key, page) = self.translations[(lin >> PAGE_SHIFT) as usize % TRANSLATIONS];
        (key == self.key(lin & !(PAGE_SIZE - 1))).then_some(page)
    }

    /// Code at `lin` was translated under `cr3` in the present context; it leads to `pa`.
    pub(crate) fn note(&mut self, lin: u64, pa: u64, global: bool, cr3: u64) {
        let (lin, pa) = (lin & !(PAGE_SIZE - 1), pa & !(PAGE_SIZE - 1));
        self.translations[(lin >> PAGE_SHIFT) as usize % TRANSLATIONS] = (self.key(lin), pa);
        let Some(c) = self.kept.get_mut(self.present).filter(|_| self.number != 0) else { return };
        let known = c.may_hold(lin) && c.pages.iter().any(|p| p.0 == lin);
        if global {
            c.globals = (c.globals.0.min(lin), c.globals.1.max(lin));
        } else if !known {
            c.space = Some(cr3);
            c.large |= c.pages.len() >= PAGES;
            if !c.large {
                c.pages.push((lin, pa));
            }
        }
        let bit = lin >> PAGE_SHIFT;
        c.filter[(bit >> 6 & 63) as usize] |= 1 << (bit & 63);
    }

    fn leave(&mut self) {
        (self.number, self.mode) = (0, NO_MODE);
        self.last = (NO_MODE, 0, 0);
    }

    /// CR3 was written, which drops the translations that are not global.
    pub(crate) fn change_space(&mut self) {
        self.kept.retain_mut(|c| {
            c.stale |= c.space.is_some();
            !c.large
        });
        self.leave();
    }

    /// The translation of the page at `lin` is dropped. Returns whether some context held it.
    pub(crate) fn drop_page(&mut self, lin: u64) -> bool {
        if !self.kept.iter().any(|c| c.may_hold(lin)) {
            return false;
        }
        self.kept.retain(|c| !c.may_hold(lin));
        self.leave();
        true
    }

    /// Translations of pages from `first` to `last` (bits 47:0) don't hold any more. Returns whether some context held such a
    /// page.
    pub(crate) fn unmap(&mut self, first: u64, last: u64) -> bool {
        let before = self.kept.len();
        self.kept.retain(|c| !c.may_hold_any(first, last));
        let dropped = self.kept.len() < before;
        if dropped {
            self.leave();
        }
        dropped
    }

    /// All translations are dropped.
    pub(crate) fn drop_all(&mut self) {
        self.kept.clear();
        self.leave();
    }
}
