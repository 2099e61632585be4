//! What the setup program of a PC would have left in CMOS memory: sizes of memory, kinds of drives, boot order.
//!
//! 10h–2Fh and 30h–33h are the AT's own [PC/AT TR, "CMOS RAM"]; 34h, 35h, 38h, 3Dh, 5Bh–5Dh and 5Fh are what firmware for
//! boards with an i440FX reads.

use emu_devices::fdc::DriveKind;
use emu_devices::mc146818::Mc146818;

use crate::config::MachineConfig;

/// Fills the memory. `floppies` are the kinds of the drives.
pub(super) fn fill(rtc: &mut Mc146818, config: &MachineConfig, floppies: &[DriveKind], low_memory: u64) {
    let mut word = |at: u8, value: u64| {
        rtc.set_cmos(at, value as u8);
        rtc.set_cmos(at + 1, (value >> 8) as u8);
    };
    word(0x15, 640);
    let extended = ((low_memory >> 10).saturating_sub(1024)).min(0xFFFF);
    word(0x17, extended);
    word(0x30, extended);
    word(0x34, (low_memory.saturating_sub(16 << 20) >> 16).min(0xFFFF));
    let high = config.memory.saturating_sub(low_memory) >> 16;
    word(0x5B, high);
    rtc.set_cmos(0x5D, (high >> 16) as u8);

    let kind = |i: usize| floppies.get(i).map_or(0, |k| k.cmos_type());
    rtc.set_cmos(0x10, kind(0) << 4 | kind(1));
    let disk = |i: usize| if i < config.disks.len() { 0xF } else { 0 };
    rtc.set_cmos(0x12, disk(0) << 4 | disk(1));
    // Type 47: the parameters come from the drive.
    rtc.set_cmos(0x19, if disk(0) != 0 { 47 } else { 0 });
    rtc.set_cmos(0x1A, if disk(1) != 0 { 47 } else { 0 });
    let drives = floppies.len().min(2) as u8;
    let floppy_bits = if drives == 0 { 0 } else { 1 | (drives - 1) << 6 };
    rtc.set_cmos(0x14, 0x06 | floppy_bits); // 80x25 colour would be 20h; 0 is a card with its own BIOS
    let order = boot_order(config);
    let code = |i: usize| order.get(i).copied().unwrap_or(0);
    rtc.set_cmos(0x3D, code(0) | code(1) << 4);
    rtc.set_cmos(0x38, code(2) << 4 | 1); // bit 0: no check of the boot signature of floppies
    // CPUs beside the first.
    rtc.set_cmos(0x5F, config.cpus.saturating_sub(1));
    rtc.update_checksum();
}

/// Boot devices as firmware counts them: 1 = floppy, 2 = disk, 3 = CD.
fn boot_order(config: &MachineConfig) -> Vec<u8> {
    let code = |c| match c {
        'a' => 1,
        'c' => 2,
        _ => 3,
    };
    if !config.boot.is_empty() {
        return config.boot.chars().map(code).collect();
    }
    let there = [
        ('a', config.demo.is_some() || config.floppies.iter().any(Option::is_some)),
        ('c', !config.disks.is_empty()),
        ('d', config.cdroms.iter().any(Option::is_some)),
    ];
    there.into_iter().filter(|t| t.1).map(|t| code(t.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageSpec;
    use emu_devices::mc146818::RtcWires;

    #[test]
    fn setup_says_what_there_is() {
        let mut rtc = Mc146818::new(RtcWires::default(), 0);
        let disks = vec![ImageSpec::new("x")];
        let config = MachineConfig { memory: 5 << 30, disks, boot: "dc".into(), ..MachineConfig::default() };
        fill(&mut rtc, &config, &[DriveKind::K1440, DriveKind::K360], 3 << 30);
        let word = |at| u16::from(rtc.cmos(at)) | u16::from(rtc.cmos(at + 1)) << 8;
        assert_eq!((word(0x15), word(0x17), word(0x34)), (640, 0xFFFF, 0xBF00));
        assert_eq!((word(0x5B), rtc.cmos(0x10), rtc.cmos(0x12)), (0x8000, 0x41, 0xF0));
        assert_eq!((rtc.cmos(0x14), rtc.cmos(0x3D)), (0x47, 0x23));
    }
}
