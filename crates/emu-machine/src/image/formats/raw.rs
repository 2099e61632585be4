//! Raw: the bytes of the disk, as they are.

use super::super::format::{Extent, Findings, Fix, Format, Kind, Result, Target, Where};
use super::super::store::Store;

/// A raw image.
pub(crate) struct Raw {
    store: Box<dyn Store>,
}

impl Raw {
    pub(crate) fn open(store: Box<dyn Store>) -> Raw {
        Raw { store }
    }
}

impl Format for Raw {
    fn kind(&self) -> Kind {
        Kind::Raw
    }
    fn size(&self) -> u64 {
        self.store.len()
    }
    fn store(&self, _: usize) -> &dyn Store {
        &*self.store
    }

    fn lookup(&mut self, offset: u64, len: u64) -> Result<Extent> {
        Ok(Extent { len, place: Where::Data { file: 0, pos: offset } })
    }

    fn target(&mut self, offset: u64, len: u64) -> Result<Target> {
        Ok(Target { file: 0, pos: offset, from: offset, to: offset + len, zeroed: false })
    }

    fn zero(&mut self, offset: u64, len: u64) -> Result<u64> {
        let done = self.store.punch(offset, len).map_err(|e| self.store.host(&e))?;
        Ok(if done { len } else { 0 })
    }

    fn flush(&mut self) -> Result<()> {
        self.store.flush()
    }

    fn can_check(&self) -> bool {
        false
    }
    fn check(&mut self, _: Fix) -> Result<Findings> {
        Ok(Findings::default())
    }

    fn resize(&mut self, size: u64) -> Result<()> {
        self.store.resize(size)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::format::Kind;
    use super::super::super::model::{behaves_like_bytes, survives_crashes};
    use super::super::super::ops::NewImage;

    #[test]
    fn raw_and_split_images_hold_bytes() {
        behaves_like_bytes(&NewImage::new(Kind::Raw, 1 << 20), 100);
        survives_crashes(&NewImage::new(Kind::Raw, 1 << 20), 20);
        behaves_like_bytes(&NewImage::new(Kind::Split, 1 << 20).with("extent_size", "300K"), 100);
    }
}
