//! Saved state: tagged, numbered, canonical bytes.
//!
//! A [`State`] saves itself as one *chunk*: a 4-byte tag, a u16 version, a u32 length, and that many bytes of *fields*.
//! A field is a u8 number, a u32 length, and its value; all integers are little-endian. Fields stand in ascending order,
//! each number at most once, so that equal states have equal bytes: their hash is the machine's identity at a tick.
//! Chunks may nest as fields. A field that the reader does not ask for is an error (it comes from a newer version); one
//! that is missing is an error unless the reader names its default.

mod field;
mod hash;

pub use field::Field;
pub use hash::StateHash;

/// What can be saved, hashed and loaded. `save` should destructure `self` without `..`, so that a new field of the
/// struct can't be forgotten.
pub trait State {
    /// Four characters that name the part.
    const TAG: [u8; 4];
    /// Rises when the meaning of a field changes.
    const VERSION: u16;

    /// Writes every field that the guest could ever observe.
    fn save(&self, w: &mut StateWriter);

    /// Reads what [`State::save`] wrote. On an error `self` may be half loaded: the caller resets or drops it.
    ///
    /// # Errors
    /// Any [`StateError`]; a value that the part could never have saved is [`StateError::Invalid`].
    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError>;
}

/// Why saved bytes were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The bytes end inside a chunk or a field.
    #[error("saved state ends early in {0}")]
    Truncated(String),
    /// Another chunk was expected here.
    #[error("saved state holds {found} where {expected} was expected")]
    WrongTag {
        /// The tag that should stand here.
        expected: String,
        /// The tag that does.
        found: String,
    },
    /// The chunk was written by a newer emu.
    #[error("saved state of {tag} has version {found}, newer than {supported}")]
    Newer {
        /// The chunk.
        tag: String,
        /// Its version.
        found: u16,
        /// The newest version that this build reads.
        supported: u16,
    },
    /// A field that this version needs is not there.
    #[error("saved state of {0} lacks field {1}")]
    Missing(String, u8),
    /// A field that this version does not know.
    #[error("saved state of {0} has an unknown field {1}")]
    Unknown(String, u8),
    /// A value that the part could never have saved.
    #[error("saved state of {0} is invalid: {1}")]
    Invalid(String, &'static str),
}

fn tag_name(tag: [u8; 4]) -> String {
    tag.iter().map(|&b| if b.is_ascii_graphic() { b as char } else { '?' }).collect()
}

/// Collects the bytes of a machine's state.
#[derive(Debug, Default)]
pub struct StateWriter {
    bytes: Vec<u8>,
    last_field: u8,
}

impl StateWriter {
    /// An empty writer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the whole chunk of `part`.
    pub fn chunk<T: State + ?Sized>(&mut self, part: &T) {
        self.chunk_with(T::TAG, T::VERSION, |w| part.save(w));
    }

    /// Appends a chunk whose fields `save` writes; for trait objects.
    pub fn chunk_with(&mut self, tag: [u8; 4], version: u16, save: impl FnOnce(&mut StateWriter)) {
        self.bytes.extend_from_slice(&tag);
        self.bytes.extend_from_slice(&version.to_le_bytes());
        self.with_length(|w| {
            let outer = core::mem::take(&mut w.last_field);
            save(w);
            w.last_field = outer;
        });
    }

    /// Appends field `number` (from 1, ascending).
    pub fn field<F: Field + ?Sized>(&mut self, number: u8, value: &F) {
        self.start_field(number);
        self.with_length(|w| value.put(&mut w.bytes));
    }

    /// Appends `parts` as field `number`, which is a `Vec<u8>` for whoever reads it by [`StateReader::field`].
    pub(crate) fn bytes<'b>(&mut self, number: u8, parts: impl Iterator<Item = &'b [u8]> + Clone) {
        let len: usize = parts.clone().map(<[u8]>::len).sum();
        self.start_field(number);
        self.bytes.reserve(len + 8);
        self.with_length(|w| {
            (len as u32).put(&mut w.bytes);
            parts.for_each(|part| w.bytes.extend_from_slice(part));
        });
    }

    /// Appends a nested chunk as field `number`.
    pub fn part<T: State + ?Sized>(&mut self, number: u8, part: &T) {
        self.start_field(number);
        self.with_length(|w| w.chunk(part));
    }

    /// The bytes so far.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn start_field(&mut self, number: u8) {
        debug_assert!(number > self.last_field, "fields ascend");
        self.last_field = number;
        self.bytes.push(number);
    }

    fn with_length(&mut self, body: impl FnOnce(&mut Self)) {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        body(self);
        let len = u32::try_from(self.bytes.len() - at - 4).unwrap_or(u32::MAX);
        self.bytes[at..at + 4].copy_from_slice(&len.to_le_bytes());
    }
}

/// Reads what a [`StateWriter`] wrote.
#[derive(Debug, Clone)]
pub struct StateReader<'a> {
    rest: &'a [u8],
    name: String,
}

impl<'a> StateReader<'a> {
    /// A reader at the first chunk of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, name: "the file".into() }
    }

    /// Loads `part` from the next chunk.
    ///
    /// # Errors
    /// Any [`StateError`].
    pub fn chunk<T: State + ?Sized>(&mut self, part: &mut T) -> Result<(), StateError> {
        self.chunk_with(T::TAG, T::VERSION, |r| part.load(r))
    }

    /// Reads the next chunk with `load`; for trait objects.
    ///
    /// # Errors
    /// Any [`StateError`].
    pub fn chunk_with(
        &mut self,
        tag: [u8; 4],
        version: u16,
        load: impl FnOnce(&mut StateReader<'_>) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        let head = self.take(10)?;
        let found = [head[0], head[1], head[2], head[3]];
        if found != tag {
            return Err(StateError::WrongTag { expected: tag_name(tag), found: tag_name(found) });
        }
        let found = u16::from_le_bytes([head[4], head[5]]);
        if found > version {
            return Err(StateError::Newer { tag: tag_name(tag), found, supported: version });
        }
        let len = u32::from_le_bytes([head[6], head[7], head[8], head[9]]) as usize;
        let mut inner = StateReader { rest: self.take(len)?, name: tag_name(tag) };
        load(&mut inner)?;
        match inner.rest.first() {
            Some(&number) => Err(StateError::Unknown(inner.name, number)),
            None => Ok(()),
        }
    }

    /// Reads field `number`, which must be the next one.
    ///
    /// # Errors
    /// [`StateError::Missing`], [`StateError::Unknown`], [`StateError::Truncated`], or what the value's own rules say.
    pub fn field<F: Field>(&mut self, number: u8) -> Result<F, StateError> {
        self.optional(number)?.ok_or_else(|| StateError::Missing(self.name.clone(), number))
    }

    /// Reads field `number` if it is there; for fields that a later version added.
    ///
    /// # Errors
    /// As [`Self::field`], without `Missing`.
    pub fn optional<F: Field>(&mut self, number: u8) -> Result<Option<F>, StateError> {
        let Some(mut bytes) = self.raw(number)? else { return Ok(None) };
        let value = F::get(&mut bytes).ok_or_else(|| self.invalid("a value does not fit its field"))?;
        if bytes.is_empty() { Ok(Some(value)) } else { Err(self.invalid("a field is too long")) }
    }

    /// Reads field `number`, which was written as bytes, without a copy.
    ///
    /// # Errors
    /// As [`Self::field`].
    pub(crate) fn bytes(&mut self, number: u8) -> Result<&'a [u8], StateError> {
        let mut bytes = self.raw(number)?.ok_or_else(|| StateError::Missing(self.name.clone(), number))?;
        match u32::get(&mut bytes) {
            Some(len) if len as usize == bytes.len() => Ok(bytes),
            _ => Err(self.invalid("a value does not fit its field")),
        }
    }

    /// Loads a nested chunk from field `number`.
    ///
    /// # Errors
    /// As [`Self::field`].
    pub fn part<T: State + ?Sized>(&mut self, number: u8, part: &mut T) -> Result<(), StateError> {
        let bytes = self.raw(number)?.ok_or_else(|| StateError::Missing(self.name.clone(), number))?;
        let mut inner = StateReader { rest: bytes, name: self.name.clone() };
        inner.chunk(part)?;
        if inner.rest.is_empty() { Ok(()) } else { Err(self.invalid("a part is too long")) }
    }

    /// The error for a value that the part could never have saved.
    #[must_use]
    pub fn invalid(&self, why: &'static str) -> StateError {
        StateError::Invalid(self.name.clone(), why)
    }

    /// Whether every byte has been read.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    fn raw(&mut self, number: u8) -> Result<Option<&'a [u8]>, StateError> {
        match self.rest.first() {
            Some(&n) if n == number => {}
            Some(&n) if n < number => return Err(StateError::Unknown(self.name.clone(), n)),
            _ => return Ok(None),
        }
        let head = self.take(5)?;
        let len = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        self.take(len).map(Some)
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], StateError> {
        if n > self.rest.len() {
            return Err(StateError::Truncated(self.name.clone()));
        }
        let (head, rest) = self.rest.split_at(n);
        self.rest = rest;
        Ok(head)
    }
}

/// The chunks that `bytes` are made of, each with its head.
pub(crate) fn chunks(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    core::iter::from_fn(move || {
        let len = rest.get(6..10).and_then(|l| l.try_into().ok()).map(u32::from_le_bytes)?;
        let (chunk, behind) = rest.split_at_checked(10 + len as usize)?;
        rest = behind;
        Some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Toy {
        a: u16,
        b: Vec<u8>,
    }

    impl State for Toy {
        const TAG: [u8; 4] = *b"TOY ";
        const VERSION: u16 = 2;
        fn save(&self, w: &mut StateWriter) {
            let Self { a, b } = self;
            w.field(1, a);
            w.field(2, b);
        }
        fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
            self.a = r.field(1)?;
            self.b = r.field(2)?;
            Ok(())
        }
    }

    fn toy() -> (Toy, Vec<u8>) {
        let toy = Toy { a: 0x1234, b: vec![1, 2, 3] };
        let mut w = StateWriter::new();
        w.chunk(&toy);
        (toy, w.into_bytes())
    }

    #[test]
    fn what_was_saved_loads() {
        let (toy, bytes) = toy();
        let mut back = Toy::default();
        StateReader::new(&bytes).chunk(&mut back).unwrap();
        assert_eq!(back, toy);
    }

    #[test]
    fn every_truncation_is_an_error() {
        let (_, bytes) = toy();
        for n in 0..bytes.len() {
            assert!(StateReader::new(&bytes[..n]).chunk(&mut Toy::default()).is_err(), "cut at {n}");
        }
    }

    #[test]
    fn newer_versions_and_unknown_fields_are_named() {
        let (_, mut bytes) = toy();
        bytes[4] = 3;
        let newer = StateReader::new(&bytes).chunk(&mut Toy::default()).unwrap_err();
        assert_eq!(newer, StateError::Newer { tag: "TOY ".replace(' ', "?"), found: 3, supported: 2 });
        let mut w = StateWriter::new();
        w.chunk_with(*b"TOY ", 2, |w| {
            w.field(1, &1u16);
            w.field(2, &vec![0u8]);
            w.field(9, &1u8);
        });
        let unknown = StateReader::new(&w.into_bytes()).chunk(&mut Toy::default()).unwrap_err();
        assert_eq!(unknown, StateError::Unknown("TOY?".into(), 9));
    }
}
