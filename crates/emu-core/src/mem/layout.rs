//! Which physical pages are RAM, ROM, a device, or nothing; for reads and for writes apart, as chipset shadowing needs.

use super::{PAGE_SHIFT, PAGE_SIZE};

/// What answers an access to a physical page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nothing: reads give all ones, writes vanish.
    Open,
    /// Host memory: the page's offset in the pool.
    Pool(u64),
    /// A device region, as the bus numbered it.
    Mmio(u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    /// First page number of the span; it ends where the next one starts.
    first: u64,
    read: Target,
    write: Target,
}

/// The map of the physical address space, as spans of pages in ascending order.
#[derive(Debug)]
pub(super) struct Layout {
    spans: Vec<Span>,
    /// What the spans say of the first pages, page by page: real mode looks nowhere else, and has many spans there.
    low: Vec<(Target, Target)>,
    /// For each chunk of [`CHUNK`] pages of the first 4 GiB: the span that all of it lies in, or [`MIXED`].
    chunks: Box<[u16; CHUNKS]>,
}

/// Pages in a chunk: 2 MiB.
const CHUNK: u64 = 512;
const CHUNKS: usize = 2048;
/// More than one span, or one with too high a number.
const MIXED: u16 = u16::MAX;

/// Those that real mode can reach, up to the end of the first chunk.
const LOW_PAGES: u64 = CHUNK;

impl Default for Layout {
    fn default() -> Self {
        let nothing = (Target::Open, Target::Open);
        let spans = vec![Span { first: 0, read: nothing.0, write: nothing.1 }];
        Layout { spans, low: vec![nothing; LOW_PAGES as usize], chunks: Box::new([0; CHUNKS]) }
    }
}

fn shifted(target: Target, pages: u64) -> Target {
    match target {
        Target::Pool(offset) => Target::Pool(offset + (pages << PAGE_SHIFT)),
        other => other,
    }
}

impl Layout {
    /// Targets of the page that holds physical address `pa`, for reads and for writes.
    #[inline]
    pub(super) fn lookup(&self, pa: u64) -> (Target, Target) {
        let page = pa >> PAGE_SHIFT;
        if let Some(&targets) = self.low.get(page as usize) {
            return targets;
        }
        if let Some(&n) = self.chunks.get((page / CHUNK) as usize)
            && let Some(span) = self.spans.get(usize::from(n))
        {
            return (shifted(span.read, page - span.first), shifted(span.write, page - span.first));
        }
        self.find(page)
    }

    #[inline(never)]
    fn find(&self, page: u64) -> (Target, Target) {
        let span = &self.spans[self.spans.partition_point(|s| s.first <= page) - 1];
        (shifted(span.read, page - span.first), shifted(span.write, page - span.first))
    }

    /// Maps `[start, start + len)`, in whole pages; `None` leaves that direction as it is.
    pub(super) fn set(&mut self, start: u64, len: u64, read: Option<Target>, write: Option<Target>) {
        let (first, end) = (start >> PAGE_SHIFT, start.saturating_add(len).div_ceil(PAGE_SIZE));
        if first >= end {
            return;
        }
        let spans = self.spans.len();
        self.split(first);
        self.split(end);
        for s in self.spans.iter_mut().filter(|s| s.first >= first && s.first < end) {
            if let Some(read) = read {
                s.read = shifted(read, s.first - first);
            }
            if let Some(write) = write {
                s.write = shifted(write, s.first - first);
            }
        }
        self.merge();
        for page in first..end.min(LOW_PAGES) {
            self.low[page as usize] = self.find(page);
        }
        if end > LOW_PAGES || self.spans.len() != spans {
            self.chart();
        }
    }

    /// Fills in which span each chunk lies in.
    fn chart(&mut self) {
        let mut i = 0;
        for (chunk, n) in (0..).zip(self.chunks.iter_mut()) {
            let (first, end) = (chunk * CHUNK, (chunk + 1) * CHUNK);
            while self.spans.get(i + 1).is_some_and(|s| s.first <= first) {
                i += 1;
            }
            let whole = self.spans.get(i + 1).is_none_or(|s| s.first >= end);
            *n = if whole { u16::try_from(i).unwrap_or(MIXED) } else { MIXED };
        }
    }

    fn split(&mut self, page: u64) {
        let i = self.spans.partition_point(|s| s.first < page);
        if self.spans.get(i).is_some_and(|s| s.first == page) || i == 0 {
            return;
        }
        let before = self.spans[i - 1];
        let n = page - before.first;
        self.spans.insert(i, Span { first: page, read: shifted(before.read, n), write: shifted(before.write, n) });
    }

    fn merge(&mut self) {
        self.spans.dedup_by(|next, kept| {
            let n = next.first - kept.first;
            shifted(kept.read, n) == next.read && shifted(kept.write, n) == next.write
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shadowing_splits_and_merges_spans() {
        let mut l = Layout::default();
        l.set(0, 0x10_0000, Some(Target::Pool(0)), Some(Target::Pool(0)));
        let plain = l.spans.clone();
        l.set(0xF_0000, 0x1_0000, Some(Target::Pool(0x80_0000)), Some(Target::Open));
        assert_eq!(l.lookup(0xF_1234), (Target::Pool(0x80_1000), Target::Open));
        assert_eq!(l.lookup(0xE_FFFF), (Target::Pool(0xE_F000), Target::Pool(0xE_F000)));
        l.set(0xF_0000, 0x1_0000, Some(Target::Pool(0xF_0000)), Some(Target::Pool(0xF_0000)));
        assert_eq!(l.spans, plain);
        l.set(0x10_E000, 0x10_0000, Some(Target::Pool(0)), None);
        l.set(0x40_0000, 0x80_1000, Some(Target::Pool(0)), Some(Target::Mmio(3)));
        for page in (0xE0..0x120).chain((0x100..0x2000).step_by(3)).chain([0xF_FFFF, 0x10_0000, 0x10_0001]) {
            assert_eq!(l.lookup(page << PAGE_SHIFT | 5), l.find(page), "{page:x}");
        }
        l.set(0x40_0000, 0x80_1000, Some(Target::Pool(0x9000)), None);
        assert_eq!(l.lookup(0x60_0000), (Target::Pool(0x20_9000), Target::Mmio(3)));
        assert_eq!(l.lookup(u64::MAX), (Target::Open, Target::Open));
    }
}
