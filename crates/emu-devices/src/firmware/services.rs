//! INT 15h: what was the cassette's, and became everything else [PC/AT TR, PS/2 TR, "Interrupt 15h"].

use emu_core::cpu::model::Kind;
use emu_core::cpu::{Segment, TableRegister, reg, seg};

use super::bda::{EBDA_SEGMENT, WAIT_ACTIVE};
use super::guest::{Guest, Served};
use super::memory_map::{self, Sizes};
use super::{apm, clock, mouse, rom};

/// Function is not there.
const UNSUPPORTED: u8 = 0x86;
/// The gate's bit at port 92h.
const FAST_A20: u8 = 2;
const SMAP: u32 = u32::from_be_bytes(*b"SMAP");

/// INT 15h.
pub(super) fn service(g: &mut Guest<'_>) -> Served {
    match g.ah() {
        0x24 => gate_a20(g),
        // Keyboard intercept: the scan code is kept.
        0x4F => g.set_carry(true),
        // Device open, close, terminate; SysReq; device busy, interrupt complete.
        0x80..=0x82 | 0x85 | 0x90 | 0x91 => succeed(g),
        0x53 => apm::service(g),
        0x83 => event_wait(g),
        0x84 => fail(g, UNSUPPORTED),
        0x86 => wait(g),
        0x87 => block_move(g),
        0x88 => {
            let kib = memory_map::sizes(g).extended_kib();
            g.set_ax(kib);
            g.set_carry(false)
        }
        0x89 => protected_mode(g),
        0xC0 => {
            g.set_selector(seg::ES, rom::SEGMENT);
            g.set_bx(rom::at::CONFIG);
            succeed(g)
        }
        0xC1 => {
            let segment = g.bda(EBDA_SEGMENT)?;
            g.set_selector(seg::ES, segment);
            g.set_carry(false)
        }
        0xC2 => mouse::service(g),
        0xE8 => match g.al() {
            0x01 => {
                let (low, high) = memory_map::sizes(g).split();
                g.set_ax(low);
                g.set_bx(high);
                g.set_cx(low);
                g.set_dx(high);
                g.set_carry(false)
            }
            0x20 => memory_range(g),
            _ => fail(g, UNSUPPORTED),
        },
        _ => fail(g, UNSUPPORTED),
    }
}

fn succeed(g: &mut Guest<'_>) -> Served {
    g.set_ah(0);
    g.set_carry(false)
}

pub(super) fn fail(g: &mut Guest<'_>, code: u8) -> Served {
    g.set_ah(code);
    g.set_carry(true)
}

/// AH = 24h: the A20 gate.
fn gate_a20(g: &mut Guest<'_>) -> Served {
    let port = g.inb(0x92);
    match g.al() {
        0 => {
            g.outb(0x64, 0xDD);
            g.outb(0x92, port & !(FAST_A20 | 1));
        }
        1 => g.outb(0x92, port & !1 | FAST_A20),
        2 => {
            let open = g.sys.mem.a20();
            g.set_al(u8::from(open));
        }
        3 => g.set_bx(3),
        _ => return fail(g, UNSUPPORTED),
    }
    succeed(g)
}

/// CX:DX, in microseconds.
fn micros(g: &Guest<'_>) -> u32 {
    u32::from(g.cx()) << 16 | u32::from(g.dx())
}

/// AH = 83h: sets (AL = 0) or cancels (1) a wait.
fn event_wait(g: &mut Guest<'_>) -> Served {
    match g.al() {
        0 => {
            let flag = u32::from(g.selector(seg::ES)) << 16 | u32::from(g.bx());
            let micros = micros(g);
            if clock::start_wait(g, flag, micros)? { succeed(g) } else { fail(g, 0) }
        }
        1 => {
            clock::stop_wait(g)?;
            succeed(g)
        }
        _ => fail(g, UNSUPPORTED),
    }
}

/// AH = 86h: waits CX:DX microseconds, in the stub.
fn wait(g: &mut Guest<'_>) -> Served {
    let micros = micros(g);
    if !clock::start_wait(g, 0x0040_00A0, micros)? {
        return fail(g, 0x83);
    }
    g.set_carry(false)?;
    go_on_waiting(g)
}

/// The stub has passed some time: is it enough?
pub(super) fn go_on_waiting(g: &mut Guest<'_>) -> Served {
    if g.bda::<u8>(WAIT_ACTIVE)? & 0x80 != 0 {
        g.set_bda(WAIT_ACTIVE, 0u8)?;
        g.jump(rom::SEGMENT, rom::at::IRET);
    } else {
        g.jump(rom::SEGMENT, if g.is_v86() { rom::at::SPIN_15 } else { rom::at::WAIT_15 });
    }
    Ok(())
}

/// AH = 87h: moves CX words between the segments whose descriptors stand at ES:SI + 10h and + 18h.
fn block_move(g: &mut Guest<'_>) -> Served {
    let table = g.in_segment(seg::ES, g.si());
    let mut base = [0u64; 2];
    for (i, base) in (2u64..).zip(&mut base) {
        let [_, _, a, b, c, _, _, d] = g.peek::<u64>(table + 8 * i)?.to_le_bytes();
        *base = u32::from_le_bytes([a, b, c, d]).into();
    }
    let words = u64::from(g.cx());
    if words > 0x8000 {
        return fail(g, 0x02);
    }
    let a20 = g.sys.mem.a20();
    g.sys.mem.set_a20(true);
    for i in 0..words {
        let word = [0, 1].map(|k| g.sys.load_physical(base[0] + 2 * i + k, 1));
        for (k, byte) in (0..).zip(word) {
            g.sys.store_physical(base[1] + 2 * i + k, 1, byte);
        }
    }
    g.sys.mem.set_a20(a20);
    succeed(g)
}

/// AH = 89h: goes on in protected mode, with the descriptors at ES:SI: 1 = GDT, 2 = IDT, 3 = DS, 4 = ES, 5 = SS, 6 = CS.
/// BH and BL are the new first vectors of the interrupt controllers.
fn protected_mode(g: &mut Guest<'_>) -> Served {
    use emu_core::cpu::bits::{CR0_PE, IF};
    if g.sys.cpu.model.kind < Kind::I80286 || g.sys.cpu.mode.is_protected() || g.is_v86() {
        return fail(g, UNSUPPORTED);
    }
    let table = g.in_segment(seg::ES, g.si());
    let mut descriptors = [(0, 0); 8];
    for (i, d) in (0..).zip(&mut descriptors) {
        *d = (g.peek::<u32>(table + 8 * i)?, g.peek::<u32>(table + 8 * i + 4)?);
    }
    let ip = g.on_stack(0)?;
    let sp = g.sys.stack_pointer().wrapping_add(6);
    g.outb(0x92, FAST_A20);
    for (port, first, wiring) in [(0x20, g.bh(), 4), (0xA0, g.bl(), 2)] {
        g.outb(port, 0x11);
        [first, wiring, 1, 0xFF].into_iter().for_each(|w| g.outb(port + 1, w));
    }
    let cpu = &mut g.sys.cpu;
    let of_table = |i: usize| {
        let s = Segment::from_descriptor(0, descriptors[i].0, descriptors[i].1);
        TableRegister { base: s.base, limit: s.limit as u16 }
    };
    (cpu.gdtr, cpu.idtr) = (of_table(1), of_table(2));
    cpu.cr0 |= CR0_PE;
    for (s, i) in [(seg::DS, 3), (seg::ES, 4), (seg::SS, 5), (seg::CS, 6)] {
        cpu.seg[s] = Segment::from_descriptor(8 * i as u16, descriptors[i].0, descriptors[i].1);
    }
    cpu.refresh_segments();
    cpu.set_eflags(cpu.eflags() & !IF);
    cpu.regs[reg::RAX] &= !0xFF00;
    cpu.rip = ip.into();
    g.sys.set_stack_pointer(sp);
    g.sys.flush_translations();
    g.sys.request_leave();
    Ok(())
}

/// AX = E820h.
fn memory_range(g: &mut Guest<'_>) -> Served {
    let sizes: Sizes = memory_map::sizes(g);
    let map = sizes.map();
    let index = g.r32(reg::RBX) as usize;
    let (Some(range), true) = (map.get(index), g.r32(reg::RDX) == SMAP && g.r32(reg::RCX) >= 20) else {
        return fail(g, UNSUPPORTED);
    };
    let mut bytes = [0; 20];
    bytes[..8].copy_from_slice(&range.base.to_le_bytes());
    bytes[8..16].copy_from_slice(&range.len.to_le_bytes());
    bytes[16..].copy_from_slice(&(range.kind as u32).to_le_bytes());
    let at = g.in_segment(seg::ES, g.di());
    g.poke_bytes(at, &bytes)?;
    g.set_r32(reg::RAX, SMAP);
    g.set_r32(reg::RBX, if index + 1 < map.len() { index as u32 + 1 } else { 0 });
    g.set_r32(reg::RCX, 20);
    g.set_carry(false)
}
