//! Places that can be asked for, as the command line names them.

use emu_core::System;
use emu_core::timeline::Watch;
use emu_machine::Machine;
use emu_machine::config::MachineConfig;

use crate::run::exit::Failure;

/// Bytes of a place in memory, and sectors of one on a disk, at the most.
const MOST: u64 = 4096;

/// What may have been written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Memory, by physical or linear address.
    Memory { linear: bool, start: u64, len: u64 },
    /// A register of the CPU, by its name.
    Register(String),
    /// I/O ports, first and last.
    Ports(u16, u16),
    /// Sectors of the image in a drive.
    Sectors { drive: String, first: u64, len: u64 },
    /// A character on the screen.
    Cell { row: usize, col: usize },
    /// A pixel.
    Pixel { x: usize, y: usize },
}

/// What the help says of places.
pub(super) const HELP: &str = "Places (numbers are decimal, or hexadecimal with 0x):\n\
    \x20 0x417, 0x500+4       physical memory; the screen's memory at 0xa0000 to 0xbffff too\n\
    \x20 lin:0xc0100000       memory by the linear address that it has at the tick where the search begins\n\
    \x20 reg:eax, reg:cr3     a register of the CPU: general, segment, control, eflags, gdtr, idtr, ldtr, tr, efer\n\
    \x20 port:0x3f8, +8       OUT to I/O ports\n\
    \x20 hd0:63, fd0:19+14    sectors of a hard disk, a floppy\n\
    \x20 cell:24,79           a character of the text screen, by row and column from 0\n\
    \x20 pixel:319,199        a pixel, by column and row from 0";

fn number(text: &str) -> Option<u64> {
    let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |hex| (hex, 16));
    u64::from_str_radix(digits, radix).ok()
}

/// `START` or `START+LEN`.
fn range(text: &str, most: u64) -> Option<(u64, u64)> {
    let (start, len) = text.split_once('+').unwrap_or((text, "1"));
    let (start, len) = (number(start)?, number(len)?);
    ((1..=most).contains(&len) && start.checked_add(len).is_some()).then_some((start, len))
}

fn pair(text: &str) -> Option<(usize, usize)> {
    let (a, b) = text.split_once(',')?;
    Some((number(a)?.try_into().ok()?, number(b)?.try_into().ok()?))
}

/// Reads a place.
pub(super) fn place(text: &str) -> Result<Place, String> {
    let memory = |linear, text| range(text, MOST).map(|(start, len)| Place::Memory { linear, start, len });
    let found = match text.split_once(':') {
        None => memory(false, text),
        Some(("lin", rest)) => memory(true, rest),
        Some(("reg", rest)) => {
            let name = rest.to_ascii_lowercase();
            Some(Place::Register(name.clone())).filter(|_| register(&name).is_some())
        }
        Some(("port", rest)) => range(rest, 0x1_0000)
            .and_then(|(first, len)| Some(Place::Ports(first.try_into().ok()?, (first + len - 1).try_into().ok()?))),
        Some(("cell", rest)) => pair(rest).map(|(row, col)| Place::Cell { row, col }),
        Some(("pixel", rest)) => pair(rest).map(|(x, y)| Place::Pixel { x, y }),
        Some((drive, rest)) if ["fd", "hd", "cd"].iter().any(|d| drive.starts_with(d)) => {
            range(rest, MOST).map(|(first, len)| Place::Sectors { drive: drive.into(), first, len })
        }
        Some(_) => None,
    };
    found.ok_or_else(|| {
        format!("`{text}` is no place like 0x417, lin:0xc0100000+4, reg:eax, port:0x3f8, hd0:63, cell:0,0 or pixel:0,0")
    })
}

/// Reads a register.
type Look = Box<dyn Fn(&System) -> u128>;

/// How the register `name` is read.
pub(super) fn register(name: &str) -> Option<Look> {
    const WORDS: [&str; 8] = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"];
    const BYTES: [&str; 8] = ["al", "cl", "dl", "bl", "ah", "ch", "dh", "bh"];
    const SEGMENTS: [&str; 6] = ["es", "cs", "ss", "ds", "fs", "gs"];
    let of = |names: &[&str], name: &str| names.iter().position(|n| *n == name);
    let general = |i: usize, shift: u32, bits: u32| -> Look {
        Box::new(move |s| u128::from(s.cpu.regs[i] >> shift & (u64::MAX >> (64 - bits))))
    };
    if let Some(i) = of(&WORDS, name) {
        return Some(general(i, 0, 16));
    }
    if let Some(i) = of(&BYTES, name) {
        return Some(general(i & 3, if i < 4 { 0 } else { 8 }, 8));
    }
    if let Some(i) = of(&SEGMENTS, name) {
        return Some(Box::new(move |s| u128::from(s.cpu.seg[i].sel) << 64 | u128::from(s.cpu.seg[i].base)));
    }
    let word = name.get(1..).and_then(|rest| of(&WORDS, rest));
    match (name.chars().next()?, word) {
        ('e', Some(i)) => return Some(general(i, 0, 32)),
        ('r', Some(i)) => return Some(general(i, 0, 64)),
        ('r', None) => {
            let number = name[1..].parse::<usize>().ok().filter(|n| (8..16).contains(n))?;
            return Some(general(number, 0, 64));
        }
        _ => {}
    }
    let table = |base: u64, limit: u32| u128::from(base) << 32 | u128::from(limit);
    Some(match name {
        "eflags" => Box::new(|s| u128::from(s.cpu.eflags())),
        "cr0" => Box::new(|s| s.cpu.cr0.into()),
        "cr2" => Box::new(|s| s.cpu.cr2.into()),
        "cr3" => Box::new(|s| s.cpu.cr3.into()),
        "cr4" => Box::new(|s| s.cpu.cr4.into()),
        "efer" => Box::new(|s| s.cpu.efer.into()),
        "gdtr" => Box::new(move |s| table(s.cpu.gdtr.base, s.cpu.gdtr.limit.into())),
        "idtr" => Box::new(move |s| table(s.cpu.idtr.base, s.cpu.idtr.limit.into())),
        "tr" => Box::new(|s| s.cpu.tr.sel.into()),
        "ldtr" => Box::new(|s| s.cpu.ldtr.sel.into()),
        _ => return None,
    })
}

/// The number of the volume in a drive.
pub(super) fn volume_of(config: &MachineConfig, drive: &str) -> Result<usize, Failure> {
    let mut names = Vec::new();
    let own = usize::from(config.demo.is_some());
    names.extend((0..own).map(|n| format!("fd{n}")));
    let with_image = |list: &[Option<emu_machine::image::ImageSpec>]| -> Vec<usize> {
        list.iter().enumerate().filter(|d| d.1.is_some()).map(|d| d.0).collect()
    };
    names.extend(with_image(&config.floppies).iter().map(|n| format!("fd{}", n + own)));
    names.extend((0..config.disks.len()).map(|n| format!("hd{n}")));
    names.extend(with_image(&config.cdroms).iter().map(|n| format!("cd{n}")));
    names.iter().position(|n| n == drive).ok_or_else(|| {
        let known = if names.is_empty() { "none".into() } else { names.join(", ") };
        Failure::usage(format!("no image was in a drive {drive} at the start; drives with one: {known}"))
    })
}

/// The watch for ports or sectors.
pub(super) fn watch_of(machine: &Machine, place: &Place) -> Result<Option<Watch>, Failure> {
    Ok(match place {
        Place::Ports(first, last) => Some(Watch::Ports(*first, *last)),
        Place::Sectors { drive, first, len } => {
            let volume = volume_of(&machine.config, drive)?;
            let sectors = machine.system.bus.volumes().get(volume).map_or(0, |v| v.sectors());
            if first + len > sectors {
                return Err(Failure::usage(format!("{drive} has sectors 0 to {}", sectors.saturating_sub(1))));
            }
            Some(Watch::Sectors { volume, first: *first, last: first + len - 1 })
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read() {
        let memory = |linear, start, len| Ok(Place::Memory { linear, start, len });
        assert_eq!(place("0x417"), memory(false, 0x417, 1));
        assert_eq!(place("lin:4096+16"), memory(true, 4096, 16));
        assert_eq!(place("port:0x3f8+8"), Ok(Place::Ports(0x3F8, 0x3FF)));
        assert_eq!(place("hd0:63"), Ok(Place::Sectors { drive: "hd0".into(), first: 63, len: 1 }));
        assert_eq!(place("cell:24,79"), Ok(Place::Cell { row: 24, col: 79 }));
        let bad =
            ["", "x", "0x", "1+0", "1+4097", "0xffffffffffffffff+1", "lin:", "port:0xffff+2", "reg:r16", "cell:1"];
        for bad in bad.into_iter().chain(["reg:", "reg:e", "pixel:-1,0", "xd0:1"]) {
            assert!(place(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_register_has_its_name() {
        for name in ["al", "bh", "sp", "edi", "rax", "r8", "r15", "cs", "eflags", "cr0", "cr4", "gdtr", "tr", "efer"] {
            assert!(register(name).is_some(), "{name}");
        }
    }
}
