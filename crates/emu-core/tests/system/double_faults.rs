//! Exceptions during the delivery of exceptions, every pair of the table [SDM-3 table 6-5].

use super::guest::*;
use emu_core::cpu::Segment;
use emu_core::{Stop, Ticks};

/// A page that is absent, with a table of segments in it and something for programs to read.
const ABSENT_PAGE: u32 = 0x20_5000;

/// Programs of ring 3, each with the exception that it raises.
const FIRST: &[(u8, &[u8])] = &[
    (0, &[0x31, 0xC9, 0xF7, 0xF1]),                       // xor ecx, ecx; div ecx
    (5, &[0x62, 0x05, 0, 0, 1, 0]),                       // bound eax, [CODE]
    (6, &[0x0F, 0x0B]),                                   // ud2
    (7, &[0xD9, 0xE8]),                                   // fld1 with CR0.EM
    (10, &[0xCF]),                                        // iretd with NT and no link back
    (11, &[0x66, 0xB8, ABSENT as u8 | 3, 0, 0x8E, 0xD8]), // mov ds, an absent segment
    (12, &[0x66, 0xB8, ABSENT as u8 | 3, 0, 0x8E, 0xD0]), // mov ss, an absent segment
    (13, &[0xF4]),                                        // hlt
    (14, &[0xA1, 0, (ABSENT_PAGE >> 8) as u8, (ABSENT_PAGE >> 16) as u8, 0]), // mov eax, [an absent page]
];

/// What goes wrong while an exception is delivered, each a gate in its place.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Second {
    /// #TS: the stack of ring 0 is a null segment.
    Ts,
    /// #NP: the gate is absent.
    Np,
    /// #SS: the stack of ring 0 is absent.
    Ss,
    /// #GP: the gate is none.
    Gp,
    /// #PF: the code segment's descriptor lies in an absent page.
    Pf,
}

impl Second {
    const ALL: [Second; 5] = [Second::Ts, Second::Np, Second::Ss, Second::Gp, Second::Pf];

    fn vector(self) -> u8 {
        match self {
            Second::Ts => 10,
            Second::Np => 11,
            Second::Ss => 12,
            Second::Gp => 13,
            Second::Pf => 14,
        }
    }

    /// Spoils the delivery of `vector`.
    fn spoil(self, g: &mut Guest, vector: u8) {
        let handler = (HANDLERS + 16 * u64::from(vector)) as u32;
        let words = match self {
            Second::Ts | Second::Ss => {
                let stack = if self == Second::Ts { 0 } else { 0x80 };
                g.words(TSS + 8, &[stack]);
                gate(CODE0, handler, 0x8E, 0)
            }
            Second::Np => gate(CODE0, handler, 0x0E, 0),
            Second::Gp => gate(CODE0, handler, 0x80, 0),
            Second::Pf => gate(0x0C, handler, 0x8E, 0),
        };
        g.words(IDT + 8 * u64::from(vector), &words);
    }
}

/// A guest of ring 3 whose handlers loop in a conforming segment, so that they need no stack of their own.
fn guest(code: &[u8]) -> Guest {
    let mut g = Guest::new(code);
    g.identity_pages();
    g.words(0x30_1000 + u64::from(ABSENT_PAGE >> 10), &[0]);
    // The absent data segment of ring 0 takes the place of a user's descriptor.
    g.words(GDT + 0x80, &descriptor(0, 0xFFFFF, 0xC013));
    g.sys.cpu.ldtr = Segment::from_descriptor(LDTR, (ABSENT_PAGE << 16) | 0xFF, 0x0000_8200 | ABSENT_PAGE >> 16);
    for v in 0..32 {
        g.words(IDT + 8 * v, &gate(CONFORMING, (HANDLERS + 16 * v) as u32, 0x8E, 0));
        g.sys.mem.write(HANDLERS + 16 * v, &[0xEB, 0xFE]);
    }
    g.ring(3);
    g
}

/// The vector whose handler loops in the end; `None` after a shutdown.
fn outcome(g: &mut Guest) -> Option<u8> {
    match g.sys.run(Ticks(200)) {
        Stop::TripleFault => None,
        stop => {
            assert_eq!(stop, Stop::Deadline);
            Some(((g.sys.cpu.rip - HANDLERS) / 16) as u8)
        }
    }
}

fn begin(first: u8, code: &[u8]) -> Guest {
    let mut g = guest(code);
    match first {
        5 => g.sys.cpu.regs[0] = 0x7FFF_FFFF,
        7 => g.sys.cpu.cr0 |= 4,
        10 => g.sys.cpu.set_eflags(0x4002),
        _ => {}
    }
    g
}

#[test]
fn the_exceptions_alone() {
    for &(first, code) in FIRST {
        assert_eq!(outcome(&mut begin(first, code)), Some(first));
    }
}

#[test]
fn a_second_exception_is_handled_or_makes_a_double_fault() {
    let contributory = |v: u8| matches!(v, 0 | 10..=13);
    for &(first, code) in FIRST {
        for second in Second::ALL {
            let double = match first {
                14 => true,
                v if contributory(v) => contributory(second.vector()),
                _ => false,
            };
            let mut g = begin(first, code);
            second.spoil(&mut g, first);
            let expected = if double { 8 } else { second.vector() };
            assert_eq!(outcome(&mut g), Some(expected), "{second:?} during {first}");
        }
    }
}

/// A third one, of either class, while the double fault is delivered: shutdown.
#[test]
fn a_third_exception_shuts_the_cpu_down() {
    for second in Second::ALL {
        let mut g = guest(&[0xF4]);
        Second::Np.spoil(&mut g, 13);
        second.spoil(&mut g, 8);
        assert_eq!(outcome(&mut g), None, "{second:?} during #DF");
    }
}
