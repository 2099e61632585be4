//! Writes Hyper-V's `.vmcx` as its description has it (docs/REFERENCES.md, HyperVStorage), for tests: the reader and this share
//! no code.

#![allow(dead_code, reason = "each user needs a part of this")]

/// Bytes of a key before its name.
const KEY: usize = 21;
const INT: u8 = 3;
const STRING: u8 = 6;
const BOOL: u8 = 8;
const NODE: u8 = 9;
const IN_FILE: u8 = 1;

/// A store as its description has it: one key table behind the object table, values that are long in a file object.
pub(crate) struct Writer {
    keys: Vec<u8>,
    files: Vec<(usize, Vec<u8>)>,
}

/// Where the key table is.
pub(crate) const TABLE: usize = 0x4000;
const FILES: usize = 0x8000;

impl Writer {
    pub(crate) fn new() -> Writer {
        let mut keys = Vec::new();
        keys.extend(2u16.to_le_bytes());
        keys.extend([1, 0, 1, 0, 0, 0, 0, 0]);
        Writer { keys, files: Vec::new() }
    }

    fn key(&mut self, parent: u32, name: &str, kind: u8, flags: u8, value: &[u8]) -> u32 {
        let at = self.keys.len() as u32;
        let size = (KEY + name.len() + 1 + value.len()) as u32;
        self.keys.extend([kind, flags]);
        self.keys.extend(size.to_le_bytes());
        self.keys.extend(u16::from(parent != 0).to_le_bytes());
        self.keys.extend(parent.to_le_bytes());
        self.keys.extend([0; 8]);
        self.keys.push(name.len() as u8 + 1);
        self.keys.extend(name.bytes().chain([0]));
        self.keys.extend(value);
        at
    }

    pub(crate) fn node(&mut self, parent: u32, name: &str) -> u32 {
        self.key(parent, name, NODE, 0, &[0; 12])
    }

    pub(crate) fn string(&mut self, parent: u32, name: &str, value: &str) {
        let text: Vec<u8> = value.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let mut bytes = (text.len() as u32).to_le_bytes().to_vec();
        if text.len() < 0x800 {
            bytes.extend(text);
            self.key(parent, name, STRING, 0, &bytes);
        } else {
            let at = FILES + 0x2000 * self.files.len();
            bytes.extend((at as u64).to_le_bytes());
            self.files.push((at, text));
            self.key(parent, name, STRING, IN_FILE, &bytes);
        }
    }

    pub(crate) fn number(&mut self, parent: u32, name: &str, value: u64) {
        self.key(parent, name, INT, 0, &value.to_le_bytes());
    }

    pub(crate) fn truth(&mut self, parent: u32, name: &str, value: bool) {
        self.key(parent, name, BOOL, 0, &u32::from(value).to_le_bytes());
    }

    /// The beginning of a machine: name, id, generation (0 is the first), MiB of memory and processors. Returns the key that
    /// its devices hang on.
    pub(crate) fn machine(&mut self, name: &str, id: &str, generation: u64, memory: u64, processors: u64) -> u32 {
        self.machine_with_properties(name, id, generation, memory, processors).0
    }

    /// [`Writer::machine`], with the key of its properties too.
    pub(crate) fn machine_with_properties(
        &mut self,
        name: &str,
        id: &str,
        generation: u64,
        memory: u64,
        processors: u64,
    ) -> (u32, u32) {
        let root = self.node(0, "configuration");
        let properties = self.node(root, "properties");
        self.string(properties, "name", name);
        self.string(properties, "global_id", id);
        self.number(properties, "subtype", generation);
        // Longer than what stands in place.
        self.string(properties, "notes", &"long ".repeat(600));
        let settings = self.node(root, "settings");
        let banks = self.node(settings, "memory");
        let bank = self.node(banks, "bank");
        self.number(bank, "size", memory);
        self.truth(bank, "dynamic_memory_enabled", generation != 0);
        let count = self.node(settings, "processors");
        self.number(count, "count", processors);
        (root, properties)
    }

    /// A drive at a controller's key: its number, path and type.
    pub(crate) fn drive(&mut self, controller: u32, number: u32, path: &str, kind: &str) {
        let drive = self.node(controller, &format!("drive{number}"));
        self.string(drive, "pathname", path);
        self.string(drive, "type", kind);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        let mut out = vec![0; FILES + 0x2000 * self.files.len()];
        for (at, sequence) in [0, 0x1000].into_iter().zip([2u16, 1]) {
            out[at..at + 4].copy_from_slice(&0x0128_2014u32.to_le_bytes());
            out[at + 8..at + 10].copy_from_slice(&sequence.to_le_bytes());
            out[at + 10..at + 14].copy_from_slice(&0x400u32.to_le_bytes());
            out[at + 26..at + 34].copy_from_slice(&0x3000u64.to_le_bytes());
        }
        out[0x3000..0x3004].copy_from_slice(&0x0111_0003u32.to_le_bytes());
        let mut objects = vec![(2u8, TABLE, FILES - TABLE)];
        objects.extend(self.files.iter().map(|f| (3, f.0, 0x2000)));
        let t = 0x2000;
        out[t..t + 4].copy_from_slice(&0x0111_0001u32.to_le_bytes());
        out[t + 4..t + 8].copy_from_slice(&(objects.len() as u32).to_le_bytes());
        for (n, (kind, at, size)) in objects.into_iter().enumerate() {
            let e = t + 8 + n * 18;
            out[e] = kind;
            out[e + 5..e + 13].copy_from_slice(&(at as u64).to_le_bytes());
            out[e + 13..e + 17].copy_from_slice(&(size as u32).to_le_bytes());
            out[e + 17] = 1;
        }
        out[TABLE..TABLE + self.keys.len()].copy_from_slice(&self.keys);
        for (at, bytes) in self.files {
            out[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        out
    }
}

/// A machine of the first generation, or one of its checkpoints: MiB of memory, one disk, an empty CD drive, and `parent`'s id.
pub(crate) fn first_generation(name: &str, id: &str, parent: Option<&str>, memory: u64, disk: &str) -> Vec<u8> {
    let mut w = Writer::new();
    let (root, properties) = w.machine_with_properties(name, id, 0, memory, 1);
    if let Some(parent) = parent {
        w.string(properties, "parent_id", parent);
    }
    let ide = w.node(root, "_83f8638b-8dca-4152-9eda-2ca8b33039b4_");
    for (n, path, kind) in [(0, disk, "VHD"), (1, "", "ISO")] {
        let controller = w.node(ide, &format!("controller{n}"));
        w.drive(controller, 0, path, kind);
    }
    w.finish()
}
