//! A test rig for devices: a bus with memory and a clock that the test moves, and the contract that every device keeps.

use super::{Bus, DeviceId, Output};
use crate::mem::{PhysMem, Target};
use crate::state::{StateReader, StateWriter};
use crate::time::{ClockRate, Ticks};

/// A bus without a CPU, at a tick that the test chooses.
#[derive(Debug)]
pub struct Rig {
    /// The bus with the devices under test.
    pub bus: Bus,
    /// 2 MiB of RAM from address 0, and 1 MiB of extra room.
    pub mem: PhysMem,
    /// The present.
    pub now: Ticks,
}

impl Default for Rig {
    fn default() -> Self {
        Self::new()
    }
}

impl Rig {
    /// An empty rig at tick 0, at the default clock rate, with one CPU's pins.
    ///
    /// # Panics
    /// If the host can't give 3 MiB of memory.
    #[must_use]
    pub fn new() -> Rig {
        let mut mem = PhysMem::new(0x20_0000, 0x10_0000).expect("3 MiB of host memory");
        mem.map(0, 0x20_0000, Target::Pool(0));
        Rig { bus: Bus::new(ClockRate::DEFAULT, 1), mem, now: Ticks(0) }
    }

    /// Resets all devices.
    pub fn reset(&mut self) {
        self.bus.reset(&mut self.mem, self.now);
    }

    /// Moves the clock on by `ticks`, firing each event at its own tick.
    pub fn advance(&mut self, ticks: u64) {
        let end = self.now + ticks;
        while self.bus.next_deadline() <= end {
            self.now = self.now.max(self.bus.next_deadline());
            self.bus.run_events(&mut self.mem, self.now);
        }
        self.now = end;
    }

    /// Moves the clock on by `us` microseconds.
    pub fn advance_us(&mut self, us: u64) {
        self.advance(self.bus.rate().ticks_in_us(us));
    }

    /// IN AL, port.
    pub fn in8(&mut self, port: u16) -> u8 {
        self.bus.port_read(&mut self.mem, self.now, port, 1) as u8
    }

    /// IN AX, port.
    pub fn in16(&mut self, port: u16) -> u16 {
        self.bus.port_read(&mut self.mem, self.now, port, 2) as u16
    }

    /// IN EAX, port.
    pub fn in32(&mut self, port: u16) -> u32 {
        self.bus.port_read(&mut self.mem, self.now, port, 4)
    }

    /// OUT port, AL.
    pub fn out8(&mut self, port: u16, value: u8) {
        self.bus.port_write(&mut self.mem, self.now, port, 1, value.into());
    }

    /// OUT port, AX.
    pub fn out16(&mut self, port: u16, value: u16) {
        self.bus.port_write(&mut self.mem, self.now, port, 2, value.into());
    }

    /// OUT port, EAX.
    pub fn out32(&mut self, port: u16, value: u32) {
        self.bus.port_write(&mut self.mem, self.now, port, 4, value);
    }

    /// Reads a device register that is mapped at physical address `pa`.
    pub fn read(&mut self, pa: u64, size: u8) -> u64 {
        match self.mem.target(pa).0 {
            Target::Mmio(n) => self.bus.mmio_read(&mut self.mem, self.now, n, pa, size),
            _ => self.mem.load::<u64>(pa) & (u64::MAX >> (64 - 8 * u32::from(size))),
        }
    }

    /// Writes a device register that is mapped at physical address `pa`.
    pub fn write(&mut self, pa: u64, size: u8, value: u64) {
        match self.mem.target(pa).1 {
            Target::Mmio(n) => self.bus.mmio_write(&mut self.mem, self.now, n, pa, size, value),
            _ => self.mem.write(pa, &value.to_le_bytes()[..usize::from(size)]),
        }
    }

    /// What left the machine since the last call, without its ticks.
    pub fn output(&mut self) -> Vec<Output> {
        self.bus.take_output().into_iter().map(|(_, o)| o).collect()
    }

    /// The saved state of device `id`.
    pub fn saved(&mut self, id: DeviceId) -> Vec<u8> {
        let mut w = StateWriter::new();
        self.bus.device(id).save_chunk(&mut w);
        w.into_bytes()
    }
}

/// A small generator for test sequences (SplitMix64).
#[derive(Debug, Clone)]
pub struct TestRng(pub u64);

impl TestRng {
    /// The next 64 random bits.
    #[allow(clippy::should_implement_trait, reason = "an endless source, not an iterator")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

/// Which accesses the contract tests throw at a device.
#[derive(Debug, Clone, Default)]
pub struct Surface {
    /// Ranges of ports: first, number.
    pub ports: Vec<(u16, u16)>,
    /// Ranges of memory: first address, bytes.
    pub memory: Vec<(u64, u64)>,
}

fn shake(rig: &mut Rig, surface: &Surface, rng: &mut TestRng, steps: u32) {
    for _ in 0..steps {
        let (r, value) = (rng.next(), rng.next());
        let size = [1u8, 2, 4][(r >> 8) as usize % 3];
        if r % 8 == 0 {
            rig.advance(value % 2_000_000);
        }
        if !surface.ports.is_empty() && (surface.memory.is_empty() || r & 0x80 != 0) {
            let (base, len) = surface.ports[(r >> 16) as usize % surface.ports.len()];
            let port = base + (r >> 32) as u16 % len;
            if r & 16 == 0 {
                rig.bus.port_read(&mut rig.mem, rig.now, port, size);
            } else {
                let value = value as u32 & (u32::MAX >> (32 - 8 * u32::from(size)));
                rig.bus.port_write(&mut rig.mem, rig.now, port, size, value);
            }
        } else if !surface.memory.is_empty() {
            let (base, len) = surface.memory[(r >> 16) as usize % surface.memory.len()];
            let pa = (base + (r >> 24) % len) & !u64::from(size - 1);
            if r & 16 == 0 {
                rig.read(pa, size);
            } else {
                rig.write(pa, size, value & (u64::MAX >> (64 - 8 * u32::from(size))));
            }
        }
        rig.bus.take_output();
    }
}

/// Checks the contract of a device: what is saved loads to the same bytes; reset is idempotent; no sequence of accesses
/// stops it; loading garbage is an error or harmless. `build` makes a rig with the device, wired and reset, and names it.
///
/// # Panics
/// When the device breaks its contract.
pub fn check_contract(build: impl Fn() -> (Rig, DeviceId), surface: &Surface) {
    for seed in 0..24 {
        let mut rng = TestRng(seed);
        let (mut rig, id) = build();
        shake(&mut rig, surface, &mut rng, 300);
        let saved = rig.saved(id);
        let (mut other, other_id) = build();
        other.bus.device(other_id).load_chunk(&mut StateReader::new(&saved)).expect("saved state loads");
        assert_eq!(other.saved(other_id), saved, "save, load, save (seed {seed})");

        let mut garbage = saved.clone();
        for _ in 0..64 {
            let at = rng.next() as usize % garbage.len();
            garbage[at] ^= 1 << (rng.next() % 8);
            let cut = rng.next() as usize % (garbage.len() + 1);
            for bytes in [&garbage[..], &saved[..cut.min(saved.len() - 1)]] {
                let (mut victim, victim_id) = build();
                if victim.bus.device(victim_id).load_chunk(&mut StateReader::new(bytes)).is_ok() {
                    shake(&mut victim, surface, &mut rng.clone(), 20);
                }
            }
            if rng.next().is_multiple_of(4) {
                garbage.clone_from(&saved);
            }
        }

        rig.reset();
        let once = rig.saved(id);
        rig.reset();
        assert_eq!(rig.saved(id), once, "reset is idempotent (seed {seed})");
    }
}

/// Makes the contract tests of a device: `device_contract_tests!(build, surface)`, where `build: fn() -> (Rig, DeviceId)`
/// and `surface: fn() -> Surface`. Stands in the device's own `mod tests`.
#[macro_export]
macro_rules! device_contract_tests {
    ($build:expr, $surface:expr) => {
        #[test]
        fn keeps_the_device_contract() {
            $crate::bus::rig::check_contract($build, &$surface());
        }
    };
}
