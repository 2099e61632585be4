//! String instructions, alone and repeated.
//!
//! Every iteration is one tick, and leaves a state from which the instruction goes on: registers show exactly the
//! iterations done, so that a fault, a deadline or an interrupt may come between any two. Runs of iterations inside of one
//! page are done at once where nobody could tell the difference.

use iced_x86::{Code, Instruction, Mnemonic, OpKind};

mod device_runs;

use super::Exec;
use super::alu::bits;
use super::operands::segment_index;
use crate::System;
use crate::cpu::bits::DF;
use crate::cpu::model::Kind;
use crate::cpu::{Mode, Outcome, reg, seg};
use crate::mem::{HostPage, PAGE_SIZE, Scalar};

pub(super) fn lookup(code: Code) -> Option<Exec> {
    use Code::*;
    Some(match code {
        Movsb_m8_m8 => movs::<u8>,
        Movsw_m16_m16 => movs::<u16>,
        Movsd_m32_m32 => movs::<u32>,
        Movsq_m64_m64 => movs::<u64>,
        Cmpsb_m8_m8 => cmps::<u8>,
        Cmpsw_m16_m16 => cmps::<u16>,
        Cmpsd_m32_m32 => cmps::<u32>,
        Cmpsq_m64_m64 => cmps::<u64>,
        Stosb_m8_AL => stos::<u8>,
        Stosw_m16_AX => stos::<u16>,
        Stosd_m32_EAX => stos::<u32>,
        Stosq_m64_RAX => stos::<u64>,
        Lodsb_AL_m8 => lods::<u8>,
        Lodsw_AX_m16 => lods::<u16>,
        Lodsd_EAX_m32 => lods::<u32>,
        Lodsq_RAX_m64 => lods::<u64>,
        Scasb_AL_m8 => scas::<u8>,
        Scasw_AX_m16 => scas::<u16>,
        Scasd_EAX_m32 => scas::<u32>,
        Scasq_RAX_m64 => scas::<u64>,
        Insb_m8_DX => ins::<u8>,
        Insw_m16_DX => ins::<u16>,
        Insd_m32_DX => ins::<u32>,
        Outsb_DX_m8 => outs::<u8>,
        Outsw_DX_m16 => outs::<u16>,
        Outsd_DX_m32 => outs::<u32>,
        _ => return None,
    })
}

/// What the iterations of one string instruction share.
#[derive(Clone, Copy)]
struct Form {
    /// The bits of the index and count registers that count.
    mask: u64,
    /// Segment of the source.
    source: usize,
    /// Bytes from one element to the next, by DF.
    step: u64,
    /// Whether there is a source at SI, and a destination at DI.
    uses: [bool; 2],
    /// ZF value with which a repeated comparison goes on; `None` if it does not matter.
    while_zf: Option<bool>,
}

impl Form {
    fn new<T: Scalar>(sys: &System, insn: &Instruction) -> Form {
        let uses = [is_source, is_destination].map(|is| (0..2).any(|n| is(insn.op_kind(n))));
        let memory = (0..2).map(|n| insn.op_kind(n)).find(|k| *k != OpKind::Register);
        let mask = match memory {
            Some(OpKind::MemorySegSI | OpKind::MemoryESDI) => 0xFFFF,
            Some(OpKind::MemorySegESI | OpKind::MemoryESEDI) => 0xFFFF_FFFF,
            _ => u64::MAX,
        };
        let source = segment_index(insn.memory_segment());
        let step = if sys.cpu.eflags & DF != 0 { T::SIZE.wrapping_neg() } else { T::SIZE };
        Form { mask, source, step, uses, while_zf: None }
    }

    fn index(&self, sys: &System, r: usize) -> u64 {
        sys.cpu.regs[r] & self.mask
    }

    /// Writes an index or count register: 16-bit ones keep what is above.
    fn set(&self, sys: &mut System, r: usize, v: u64) {
        let old = &mut sys.cpu.regs[r];
        *old = if self.mask == 0xFFFF { *old & !0xFFFF | v & 0xFFFF } else { v & self.mask };
    }

    /// Moves an index register on by `n` elements.
    fn advance(&self, sys: &mut System, r: usize, n: u64) {
        let v = sys.cpu.regs[r].wrapping_add(self.step.wrapping_mul(n));
        self.set(sys, r, v);
    }
}

#[inline(always)]
fn is_source(k: OpKind) -> bool {
    matches!(k, OpKind::MemorySegSI | OpKind::MemorySegESI | OpKind::MemorySegRSI)
}

#[inline(always)]
fn is_destination(k: OpKind) -> bool {
    matches!(k, OpKind::MemoryESDI | OpKind::MemoryESEDI | OpKind::MemoryESRDI)
}

/// The 80286 has moved its registers on already when an access at the segment's end faults: the index of every access up to
/// the one that faults, and the count. CMPS reads its destination first, and counts behind that; a store waits while the
/// next iteration, if there is one, is counted too.
fn leave_as_80286<T: Scalar>(sys: &mut System, insn: &Instruction, form: &Form) {
    let at_source = (reg::RSI, form.source);
    let at_destination = (reg::RDI, seg::ES);
    let compares = matches!(insn.mnemonic(), Mnemonic::Cmpsb | Mnemonic::Cmpsw);
    let stores = form.uses[1] && !compares && !matches!(insn.mnemonic(), Mnemonic::Scasb | Mnemonic::Scasw);
    let order = if compares { [(1, at_destination), (0, at_source)] } else { [(0, at_source), (1, at_destination)] };
    let mut ahead = 0;
    for (n, (r, s)) in order.into_iter().filter(|o| form.uses[o.0]) {
        let faults = sys.linear(s, form.index(sys, r), T::SIZE, false).is_err();
        form.advance(sys, r, 1);
        if faults {
            ahead = match n {
                1 if stores => 2,
                1 if compares => 0,
                _ => 1,
            };
            break;
        }
    }
    if insn.has_rep_prefix() || insn.has_repne_prefix() {
        let count = form.index(sys, reg::RCX);
        form.set(sys, reg::RCX, count.saturating_sub(ahead));
    }
}

/// One iteration, or a run of up to the given number of them (at least one); returns how many it did.
type Iteration = fn(&mut System, &Form, u64) -> Outcome<u64>;

/// Does the instruction once or, with a REP prefix, until the count is 0, the condition ends it, or time is up; RIP is left
/// at the instruction in the last case.
fn repeat<T: Scalar>(sys: &mut System, insn: &Instruction, form: Form, iteration: Iteration) -> Outcome {
    let outcome = iterate(sys, insn, &form, iteration);
    if outcome.is_err() && sys.cpu.model.kind == Kind::I80286 && sys.cpu.mode.is_real() {
        leave_as_80286::<T>(sys, insn, &form);
    }
    outcome
}

fn iterate(sys: &mut System, insn: &Instruction, form: &Form, iteration: Iteration) -> Outcome {
    if !insn.has_rep_prefix() && !insn.has_repne_prefix() {
        return iteration(sys, form, 1).map(|_| ());
    }
    loop {
        let count = form.index(sys, reg::RCX);
        if count == 0 {
            // Only reached at once: with a count of 0 nothing happens, in one tick.
            return Ok(());
        }
        let single = sys.cpu.mode.has(Mode::SINGLE);
        let most = if single { 1 } else { count.min(sys.ticks_left()) };
        let done = iteration(sys, form, most)?;
        form.set(sys, reg::RCX, count - done);
        let over = count == done || form.while_zf.is_some_and(|zf| sys.cpu.flags.zf() != zf);
        if over || single || sys.leave || sys.ticks_left() <= done {
            // The engine charges the last iteration.
            sys.charge(done - 1);
            if !over {
                sys.cpu.rip = sys.insn_ip();
                sys.resume_later();
            }
            return Ok(());
        }
        sys.charge(done);
    }
}

/// The page behind the elements from `off` in segment `s` on, the offset in it of the lowest of them, and how many of up
/// to `most` elements lie in it, if they can be reached without slow paths.
fn run_in_page<T: Scalar>(
    sys: &System,
    form: &Form,
    s: usize,
    off: u64,
    most: u64,
    write: bool,
) -> Option<(HostPage, usize, u64)> {
    if most < 4 || sys.cpu.mode.has(Mode::ALIGN) {
        return None;
    }
    let lin = sys.linear(s, off, T::SIZE, write).ok()?;
    let at = lin % PAGE_SIZE;
    if form.step != T::SIZE {
        // Descending: as many as lie below in the page, and in the segment.
        let n = most.min(at / T::SIZE + 1).min(off / T::SIZE + 1);
        let below = (n - 1) * T::SIZE;
        let fits = n >= 2 && at + T::SIZE <= PAGE_SIZE && sys.linear(s, off - below, n * T::SIZE, write).is_ok();
        return if fits { Some((sys.tlb.page(lin, write)?, (at - below) as usize, n)) } else { None };
    }
    let n = upwards::<T>(sys, form, s, (off, lin), most, write)?;
    Some((sys.tlb.page(lin, write)?, at as usize, n))
}

/// How many of up to `most` elements from `off` in segment `s` on, which is linear address `lin`, follow each other upwards
/// inside of one page, if more than one does.
fn upwards<T: Scalar>(
    sys: &System,
    form: &Form,
    s: usize,
    (off, lin): (u64, u64),
    most: u64,
    write: bool,
) -> Option<u64> {
    let before_wrap = (form.mask - off) / T::SIZE;
    let n = most.min((PAGE_SIZE - lin % PAGE_SIZE) / T::SIZE).min(before_wrap);
    if n < 2 || sys.linear(s, off, n * T::SIZE, write).is_err() { None } else { Some(n) }
}

fn movs<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    repeat::<T>(sys, insn, Form::new::<T>(sys, insn), |sys, form, most| {
        let (si, di) = (form.index(sys, reg::RSI), form.index(sys, reg::RDI));
        let mut done = 1;
        let source = run_in_page::<T>(sys, form, form.source, si, most, false);
        if let Some((from, from_at, n)) = source
            && let Some((to, to_at, n)) = run_in_page::<T>(sys, form, seg::ES, di, n, true)
        {
            // The source may have come with more elements than there is room for: of those, the first ones.
            let (len, grain) = ((n * T::SIZE) as usize, T::SIZE as usize);
            if form.step == T::SIZE {
                HostPage::copy_forward(to, to_at, from, from_at, len, grain);
            } else {
                let skip = ((source.map_or(n, |s| s.2) - n) * T::SIZE) as usize;
                HostPage::copy_backward(to, to_at, from, from_at + skip, len, grain);
            }
            done = n;
        } else if most >= 4
            && let Some(n) = device_runs::movs::<T>(sys, form, (si, di), most)
        {
            done = n;
        } else {
            let v = sys.read::<T>(form.source, si)?;
            sys.write(seg::ES, di, v)?;
        }
        form.advance(sys, reg::RSI, done);
        form.advance(sys, reg::RDI, done);
        Ok(done)
    })
}

fn stos<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    repeat::<T>(sys, insn, Form::new::<T>(sys, insn), |sys, form, most| {
        let di = form.index(sys, reg::RDI);
        let v = T::from_u64(sys.cpu.regs[reg::RAX]);
        let mut done = 1;
        if let Some((to, at, n)) = run_in_page::<T>(sys, form, seg::ES, di, most, true) {
            to.fill(at, (n * T::SIZE) as usize, v.to_u64(), T::SIZE as usize);
            done = n;
        } else if most >= 4
            && let Some(n) = device_runs::stos::<T>(sys, form, di, most, v)
        {
            done = n;
        } else {
            sys.write(seg::ES, di, v)?;
        }
        form.advance(sys, reg::RDI, done);
        Ok(done)
    })
}

fn lods<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    repeat::<T>(sys, insn, Form::new::<T>(sys, insn), |sys, form, most| {
        let si = form.index(sys, reg::RSI);
        let mut done = 1;
        let v = if let Some((page, at, n)) = run_in_page::<T>(sys, form, form.source, si, most, false) {
            // Only the last one stays.
            done = n;
            let last = if form.step == T::SIZE { at as u64 + (n - 1) * T::SIZE } else { at as u64 };
            page.read::<T>(last)
        } else {
            sys.read::<T>(form.source, si)?
        };
        let a = &mut sys.cpu.regs[reg::RAX];
        let kept = if T::SIZE >= 4 { 0 } else { *a & (u64::MAX << bits::<T>()) };
        *a = kept | v.to_u64();
        form.advance(sys, reg::RSI, done);
        Ok(done)
    })
}

/// With F3 a comparison is repeated while equal, with F2 while not.
fn comparing<T: Scalar>(sys: &System, insn: &Instruction) -> Form {
    Form { while_zf: Some(!insn.has_repne_prefix()), ..Form::new::<T>(sys, insn) }
}

fn compare<T: Scalar>(sys: &mut System, a: T, b: T) {
    let (a, b) = (a.to_u64(), b.to_u64());
    sys.cpu.flags.set_sub(a, b, a.wrapping_sub(b), bits::<T>());
}

fn cmps<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    repeat::<T>(sys, insn, comparing::<T>(sys, insn), |sys, form, most| {
        let (si, di) = (form.index(sys, reg::RSI), form.index(sys, reg::RDI));
        let mut done = 1;
        let source = run_in_page::<T>(sys, form, form.source, si, most, false);
        if let Some((a, a_at, n)) = source
            && let Some((b, b_at, n)) = run_in_page::<T>(sys, form, seg::ES, di, n, false)
        {
            let more = source.map_or(n, |s| s.2) - n;
            let up = form.step == T::SIZE;
            let place = |at: usize, more: u64, i: u64| at as u64 + (if up { i } else { more + n - 1 - i }) * T::SIZE;
            let pair = |i: u64| (a.read::<T>(place(a_at, more, i)), b.read::<T>(place(b_at, 0, i)));
            let goes_on = |i: u64| Some(pair(i).0 == pair(i).1) == form.while_zf;
            let last = if up && form.while_zf == Some(true) {
                (a.common::<T>(a_at, b, b_at, n as usize) as u64).min(n - 1)
            } else {
                (0..n).find(|&i| !goes_on(i)).unwrap_or(n - 1)
            };
            let (x, y) = pair(last);
            compare(sys, x, y);
            done = last + 1;
        } else {
            let a = sys.read::<T>(form.source, si)?;
            let b = sys.read::<T>(seg::ES, di)?;
            compare(sys, a, b);
        }
        form.advance(sys, reg::RSI, done);
        form.advance(sys, reg::RDI, done);
        Ok(done)
    })
}

fn scas<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    repeat::<T>(sys, insn, comparing::<T>(sys, insn), |sys, form, most| {
        let di = form.index(sys, reg::RDI);
        let wanted = T::from_u64(sys.cpu.regs[reg::RAX]);
        let mut done = 1;
        if let Some((page, at, n)) = run_in_page::<T>(sys, form, seg::ES, di, most, false) {
            let up = form.step == T::SIZE;
            let element = |i: u64| page.read::<T>(at as u64 + (if up { i } else { n - 1 - i }) * T::SIZE);
            let last = match form.while_zf {
                Some(equal) if up => (page.run_of(at, n as usize, wanted, equal) as u64).min(n - 1),
                _ => (0..n).find(|&i| Some(element(i) == wanted) != form.while_zf).unwrap_or(n - 1),
            };
            compare(sys, wanted, element(last));
            done = last + 1;
        } else {
            let v = sys.read::<T>(seg::ES, di)?;
            compare(sys, wanted, v);
        }
        form.advance(sys, reg::RDI, done);
        Ok(done)
    })
}

/// The port is only read when its value can be stored.
fn ins<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let port = sys.cpu.regs[reg::RDX] as u16;
    sys.check_io(port, T::SIZE)?;
    repeat::<T>(sys, insn, Form::new::<T>(sys, insn), |sys, form, most| {
        let (port, di) = (sys.cpu.regs[reg::RDX] as u16, form.index(sys, reg::RDI));
        let mut done = 1;
        if let Some(n) = device_runs::ins::<T>(sys, form, port, di, most) {
            done = n;
        } else {
            if run_in_page::<T>(sys, form, seg::ES, di, u64::MAX, true).is_none() {
                sys.probe(seg::ES, di, T::SIZE, true)?;
            }
            let v = sys.port_in::<T>(port);
            sys.write(seg::ES, di, v)?;
        }
        form.advance(sys, reg::RDI, done);
        Ok(done)
    })
}

fn outs<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let port = sys.cpu.regs[reg::RDX] as u16;
    sys.check_io(port, T::SIZE)?;
    repeat::<T>(sys, insn, Form::new::<T>(sys, insn), |sys, form, most| {
        let (port, si) = (sys.cpu.regs[reg::RDX] as u16, form.index(sys, reg::RSI));
        let mut done = 1;
        if let Some(n) = device_runs::outs::<T>(sys, form, port, si, most) {
            done = n;
        } else {
            let v = sys.read::<T>(form.source, si)?;
            sys.port_out(port, v);
        }
        form.advance(sys, reg::RSI, done);
        Ok(done)
    })
}
