//! Saved state that somebody has tampered with.

use emu_core::{StateReader, StateWriter};
use emu_machine::Machine;
use emu_machine::config::MachineConfig;

/// A PC with as little memory as there can be.
fn machine() -> Machine {
    Machine::new(MachineConfig { memory: 1 << 20, ..MachineConfig::default() }).expect("a plain PC")
}

thread_local! {
    /// The saved state of a machine that has run its first instructions.
    static GOOD: Vec<u8> = {
        let mut m = machine();
        m.system.run(emu_core::Ticks(100_000));
        let mut w = StateWriter::new();
        m.system.save(&mut w);
        w.into_bytes()
    };
}

/// An even first byte: the rest is loaded as it is. An odd one: the rest changes a good state, in steps of three bytes
/// of place and one of value, and cuts it off if there are bytes left over. What loads must also run, and save again.
pub fn state_load(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else { return };
    let bytes = if choice & 1 == 0 { data.to_vec() } else { GOOD.with(|good| tampered(good, data)) };
    let mut m = machine();
    if m.system.load(&mut StateReader::new(&bytes)).is_err() {
        m.system.reset();
    }
    let until = m.system.now().after(2000);
    m.system.run(until);
    m.system.bus.take_output();
    let mut w = StateWriter::new();
    m.system.save(&mut w);
}

fn tampered(good: &[u8], data: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    let changes = data.chunks_exact(4);
    let rest = changes.remainder();
    for change in changes {
        let place = u32::from_le_bytes([change[0], change[1], change[2], 0]) as usize;
        let len = bytes.len().max(1);
        if let Some(byte) = bytes.get_mut(place % len) {
            *byte = change[3];
        }
    }
    if let &[low, high, ..] = rest {
        bytes.truncate(bytes.len().saturating_sub(usize::from(u16::from_le_bytes([low, high]))));
    }
    bytes
}
