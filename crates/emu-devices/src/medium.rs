//! A removable-media tray: which image of the host lies in it, and how that travels through saved state.

use emu_core::block::BlockBackend;
use emu_core::bus::DevCx;
use emu_core::state::{State, StateError, StateReader, StateWriter};

/// An image with its place in the host's list; none if the board put it in at the start.
struct Medium {
    number: Option<u32>,
    image: Box<dyn BlockBackend>,
}

/// What lies in the tray once saved state is loaded.
enum Wanted {
    Nothing,
    /// The medium that the board put in, with its contents.
    Own(Vec<u8>),
    /// An image of the host's list, with its contents.
    Listed(u32, Vec<u8>),
}

/// The tray of one drive. A drive whose medium is fixed is a tray that nobody opens.
#[derive(Default)]
pub(crate) struct Tray {
    // State
    inside: Option<Medium>,
    /// The medium that the board put in, while it lies beside the drive.
    aside: Option<Box<dyn BlockBackend>>,
    // Volatile: between loading and `loaded`
    wanted: Option<Wanted>,
}

impl core::fmt::Debug for Tray {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Tray").field("sectors", &self.inside.as_ref().map(|m| m.image.sectors())).finish()
    }
}

fn contents(image: &dyn BlockBackend) -> Vec<u8> {
    let mut w = StateWriter::new();
    image.save(&mut w);
    w.into_bytes()
}

impl Tray {
    /// A tray with the medium that the board puts in.
    pub(crate) fn new(image: Option<Box<dyn BlockBackend>>) -> Tray {
        Tray { inside: image.map(|image| Medium { number: None, image }), ..Tray::default() }
    }

    /// The medium.
    pub(crate) fn medium(&mut self) -> Option<&mut dyn BlockBackend> {
        match &mut self.inside {
            Some(m) => Some(&mut *m.image),
            None => None,
        }
    }

    /// Sectors of 512 bytes on the medium; 0 without one.
    pub(crate) fn sectors(&self) -> u64 {
        self.inside.as_ref().map_or(0, |m| m.image.sectors())
    }

    /// Whether there is a medium.
    pub(crate) fn is_loaded(&self) -> bool {
        self.inside.is_some()
    }

    /// Whether the medium is the one that the board put in.
    pub(crate) fn is_own(&self) -> bool {
        self.inside.as_ref().is_some_and(|m| m.number.is_none())
    }

    /// Whether the medium refuses writes.
    pub(crate) fn read_only(&self) -> bool {
        self.inside.as_ref().is_some_and(|m| m.image.read_only())
    }

    /// Takes the medium out; returns whether there was one.
    pub(crate) fn eject(&mut self, cx: &mut DevCx<'_>) -> bool {
        let Some(Medium { number, mut image }) = self.inside.take() else { return false };
        // The host hears of a failing flush through its own image; the guest can't any more.
        let _ = image.flush();
        match number {
            Some(number) => cx.put_image(number, image),
            None => self.aside = Some(image),
        }
        true
    }

    /// Puts in image `number`, in place of what is there. Returns false if the host has no such image at hand.
    pub(crate) fn insert(&mut self, cx: &mut DevCx<'_>, number: u32) -> bool {
        self.eject(cx);
        self.inside = cx.take_image(number).map(|image| Medium { number: Some(number), image });
        self.inside.is_some()
    }

    /// Puts in the medium that `load` asked for. If the host has it not at hand, or it can't have such contents, the tray
    /// stays empty, and goes on asking for it in saved state.
    pub(crate) fn restored(&mut self, cx: &mut DevCx<'_>) {
        let bytes = match &self.wanted {
            None => return,
            Some(Wanted::Nothing) => {
                self.eject(cx);
                self.wanted = None;
                return;
            }
            Some(Wanted::Own(bytes)) => {
                let bytes = bytes.clone();
                self.eject(cx);
                self.inside = self.aside.take().map(|image| Medium { number: None, image });
                bytes
            }
            Some(Wanted::Listed(number, bytes)) => {
                let (number, bytes) = (*number, bytes.clone());
                self.insert(cx, number);
                bytes
            }
        };
        match self.medium().map(|image| image.load(&mut StateReader::new(&bytes))) {
            Some(Ok(())) => self.wanted = None,
            Some(Err(_)) => _ = self.eject(cx),
            None => {}
        }
    }
}

/// 0 = empty, 1 = the board's own medium, 2 = one of the host's list.
impl State for Tray {
    const TAG: [u8; 4] = *b"TRAY";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { inside, aside, wanted } = self;
        let (kind, number, bytes) = match (wanted, inside) {
            (Some(Wanted::Nothing), _) | (None, None) => (0u8, 0, Vec::new()),
            (Some(Wanted::Own(bytes)), _) => (1, 0, bytes.clone()),
            (Some(Wanted::Listed(number, bytes)), _) => (2, *number, bytes.clone()),
            (None, Some(Medium { number: None, image })) => (1, 0, contents(&**image)),
            (None, Some(Medium { number: Some(number), image })) => (2, *number, contents(&**image)),
        };
        w.field(1, &kind);
        w.field(2, &number);
        w.field(3, &bytes);
        w.field(4, &aside.as_ref().map(|image| contents(&**image)));
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let (kind, number, bytes): (u8, u32, Vec<u8>) = (r.field(1)?, r.field(2)?, r.field(3)?);
        let aside: Option<Vec<u8>> = r.field(4)?;
        if let (Some(image), Some(bytes)) = (&mut self.aside, aside) {
            image.load(&mut StateReader::new(&bytes))?;
        }
        // The medium that lies in the drive already gets its contents at once; another one must wait for `loaded`.
        let here = match (&self.inside, kind) {
            (None, 0) => {
                self.wanted = None;
                return Ok(());
            }
            (Some(m), 1) => m.number.is_none(),
            (Some(m), 2) => m.number == Some(number),
            _ => false,
        };
        self.wanted = match kind {
            _ if here => {
                self.medium().map_or(Ok(()), |image| image.load(&mut StateReader::new(&bytes)))?;
                None
            }
            0 => Some(Wanted::Nothing),
            1 => Some(Wanted::Own(bytes)),
            2 => Some(Wanted::Listed(number, bytes)),
            _ => return Err(r.invalid("it has an unknown kind of medium")),
        };
        Ok(())
    }
}
