//! Repeated string instructions to, from and between devices: many elements in one call, where the device says that nobody
//! could tell the difference ([`crate::bus::MmioDevice::run`], [`crate::bus::PortDevice::read_run`]). `None` for what goes
//! element by element.

use super::{Form, run_in_page, upwards};
use crate::System;
use crate::bus::MmioRun;
use crate::cpu::{Mode, seg};
use crate::mem::{HostPage, PAGE_SHIFT, PAGE_SIZE, Scalar};

/// Bytes that are moved at once: a sector.
const PIECE: usize = 512;

/// Elements in a device's page: its region, the physical address of the first one, and how many.
#[derive(Clone, Copy)]
struct Run {
    region: u16,
    pa: u64,
    n: u64,
}

/// The elements from `off` in segment `s` on, if they lie in a device's page that was found before.
fn run_in_device<T: Scalar>(sys: &System, form: &Form, s: usize, off: u64, most: u64, write: bool) -> Option<Run> {
    if most < 2 || form.step != T::SIZE || sys.cpu.mode.has(Mode::ALIGN) {
        return None;
    }
    let lin = sys.linear(s, off, T::SIZE, write).ok()?;
    let page = if write { sys.tlb.device_write(lin, T::SIZE)? } else { sys.tlb.device_read(lin, T::SIZE, false)? };
    let n = upwards::<T>(sys, form, s, (off, lin), most, write)?;
    Some(Run { region: page.region, pa: page.pa | lin % PAGE_SIZE, n })
}

/// The elements from `off` in segment `s` on, upwards in a page of RAM: as many as are moved at once.
fn run_in_ram<T: Scalar>(
    sys: &System,
    form: &Form,
    s: usize,
    off: u64,
    most: u64,
    write: bool,
) -> Option<(HostPage, usize, u64)> {
    let most = most.min(PIECE as u64 / T::SIZE);
    let run = if form.step == T::SIZE { run_in_page::<T>(sys, form, s, off, most, write)? } else { return None };
    // Devices' own memory may be what the other end changes.
    let lin = sys.linear(s, off, T::SIZE, write).ok()?;
    if sys.tlb.pool_page(lin) << PAGE_SHIFT < sys.mem.ram_len() { Some(run) } else { None }
}

fn some(done: u64) -> Option<u64> {
    if done == 0 { None } else { Some(done) }
}

/// REP STOS to a device.
#[inline(never)]
pub(super) fn stos<T: Scalar>(sys: &mut System, form: &Form, di: u64, most: u64, v: T) -> Option<u64> {
    let run = run_in_device::<T>(sys, form, seg::ES, di, most, true)?;
    some(sys.run_device(run.region, T::SIZE, MmioRun::Fill { to: run.pa, count: run.n, value: v.to_u64() }))
}

/// REP MOVS with a device at one end or at both.
#[inline(never)]
pub(super) fn movs<T: Scalar>(sys: &mut System, form: &Form, (si, di): (u64, u64), most: u64) -> Option<u64> {
    let to = run_in_device::<T>(sys, form, seg::ES, di, most, true);
    let from = run_in_device::<T>(sys, form, form.source, si, most, false);
    match (from, to) {
        (Some(from), Some(to)) if from.region == to.region => {
            let run = MmioRun::Copy { from: from.pa, to: to.pa, count: from.n.min(to.n) };
            some(sys.run_device(to.region, T::SIZE, run))
        }
        (None, Some(to)) => to_device::<T>(sys, form, si, to),
        (Some(from), None) => from_device::<T>(sys, form, from, di),
        _ => None,
    }
}

fn to_device<T: Scalar>(sys: &mut System, form: &Form, si: u64, to: Run) -> Option<u64> {
    let (page, at, n) = run_in_ram::<T>(sys, form, form.source, si, to.n, false)?;
    let mut piece = [0; PIECE];
    let data = &mut piece[..(n * T::SIZE) as usize];
    page.copy_out(at, data);
    some(sys.run_device(to.region, T::SIZE, MmioRun::Write { to: to.pa, data }))
}

fn from_device<T: Scalar>(sys: &mut System, form: &Form, from: Run, di: u64) -> Option<u64> {
    let (page, at, n) = run_in_ram::<T>(sys, form, seg::ES, di, from.n, true)?;
    let mut piece = [0; PIECE];
    let data = &mut piece[..(n * T::SIZE) as usize];
    let done = sys.run_device(from.region, T::SIZE, MmioRun::Read { from: from.pa, data });
    page.copy_in(at, &piece[..(done * T::SIZE) as usize]);
    some(done)
}

/// REP INS.
#[inline(never)]
pub(super) fn ins<T: Scalar>(sys: &mut System, form: &Form, port: u16, di: u64, most: u64) -> Option<u64> {
    if most < 4 || sys.cpu.has_breakpoints() {
        return None;
    }
    let (page, at, n) = run_in_ram::<T>(sys, form, seg::ES, di, most, true)?;
    let mut piece = [0; PIECE];
    let data = &mut piece[..(n * T::SIZE) as usize];
    let done = sys.bus.port_read_run(port, T::SIZE as u8, data);
    page.copy_in(at, &data[..done * T::SIZE as usize]);
    some(done as u64)
}

/// REP OUTS.
#[inline(never)]
pub(super) fn outs<T: Scalar>(sys: &mut System, form: &Form, port: u16, si: u64, most: u64) -> Option<u64> {
    if most < 4 || sys.cpu.has_breakpoints() {
        return None;
    }
    let (page, at, n) = run_in_ram::<T>(sys, form, form.source, si, most, false)?;
    let mut piece = [0; PIECE];
    let data = &mut piece[..(n * T::SIZE) as usize];
    page.copy_out(at, data);
    some(sys.bus.port_write_run(port, T::SIZE as u8, data) as u64)
}
