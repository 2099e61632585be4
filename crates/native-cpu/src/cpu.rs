//! The host's CPU as a machine that runs one instruction from a given state.
//!
//! A child process holds nothing but two stretches of memory, at the addresses that the hardware vectors use, and may
//! make no system call (a seccomp filter sees to it). Its registers are set, it runs one instruction under
//! single-step, and its registers are read. 32-bit code runs by the user code segment of compatibility mode.

use std::io::{Error, Result};

use libc::{SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP, user_regs_struct};

use crate::message::{Case, Mode, Outcome};
use crate::opcode::{Special, special};
use crate::state::State;
use crate::sys::{Mapping, Shared, Stop, Tracee};

/// Where code lies, and its length.
pub(crate) const CODE: (u64, usize) = (0x1000_0000, 0x1000);
/// Where data lies, and its length.
pub(crate) const DATA: (u64, usize) = (0x2000_0000, 0x1000);
/// User space ends below this page [Documentation/arch/x86/x86_64/mm.rst].
const USER_END: u64 = 0x7FFF_FFFF_F000;
/// Linux's user selectors on x86-64.
const CS64: u64 = 0x33;
const CS32: u64 = 0x23;
const SS: u64 = 0x2B;
/// Flags that a case can hold: CF, PF, AF, ZF, SF, DF, OF; and AC and ID besides.
const FLAGS: u64 = 0x24_0CD5;
/// Iterations of a repeated string instruction before the adapter gives up.
const ITERATIONS: usize = 8_192;
const NOP: u8 = 0x90;
const INT3: u8 = 0xCC;

/// The CPU, as far as a user program has it.
pub(crate) struct NativeCpu {
    shared: Shared,
    /// What the shared memory should hold before an instruction runs: code, then data.
    before: Vec<u8>,
    after: Vec<u8>,
    child: Option<Tracee>,
    xstate: Vec<u8>,
}

/// The memory's offset of a linear address, if `length` bytes from there are all in one of the two stretches.
fn offset(address: u64, length: usize) -> Option<usize> {
    let within = |(start, size): (u64, usize)| {
        let at = usize::try_from(address.checked_sub(start)?).ok()?;
        (at <= size && length <= size - at).then_some(at)
    };
    within(CODE).or_else(|| within(DATA).map(|at| CODE.1 + at))
}

impl NativeCpu {
    /// Makes the memory; the child is made when it is first needed.
    ///
    /// # Errors
    /// The host's, when it refuses memory.
    pub(crate) fn new() -> Result<NativeCpu> {
        let length = CODE.1 + DATA.1;
        Ok(NativeCpu {
            shared: Shared::new(length)?,
            before: vec![0; length],
            after: vec![0; length],
            child: None,
            xstate: Vec::new(),
        })
    }

    /// Runs `case`: how it ended, the registers then, and the memory that changed.
    pub(crate) fn run(&mut self, case: &Case) -> (Outcome, State, Vec<(u64, Vec<u8>)>) {
        let mut after = case.state.clone();
        let special = special(case.mode, &case.code);
        if let Special::Refused(why) = special {
            return (Outcome::Skip(why.into()), after, Vec::new());
        }
        if let Err(why) = self.load(case, special) {
            return (Outcome::Skip(why), after, Vec::new());
        }
        match self.step(case, special, &mut after) {
            Ok(Outcome::Ran(vector)) => (Outcome::Ran(vector), after, self.changes()),
            Ok(other) => (other, after, Vec::new()),
            Err(error) => {
                // A new child for the next case: nobody knows what this one is at.
                self.child = None;
                (Outcome::Error(error.to_string()), after, Vec::new())
            }
        }
    }

    /// Code and data to the shared memory.
    fn load(&mut self, case: &Case, special: Special) -> std::result::Result<(), String> {
        self.before.fill(0);
        for (at, bytes) in &case.memory {
            let to = offset(*at, bytes.len()).ok_or_else(|| format!("no memory of {} bytes at {at:x}", bytes.len()))?;
            self.before[to..to + bytes.len()].copy_from_slice(bytes);
        }
        // What follows is not executed, but after a PUSHF, which runs up to a breakpoint.
        let fill = if special == Special::PushFlags { INT3 } else { NOP };
        let code = [case.code.as_slice(), &[fill]].concat();
        let to = offset(case.state.rip, code.len()).ok_or_else(|| format!("no memory at {:x}", case.state.rip))?;
        self.before[to..to + code.len()].copy_from_slice(&code);
        self.shared.write(0, &self.before);
        Ok(())
    }

    fn changes(&mut self) -> Vec<(u64, Vec<u8>)> {
        self.shared.read(0, &mut self.after);
        let mut changes: Vec<(u64, Vec<u8>)> = Vec::new();
        if self.before == self.after {
            return changes;
        }
        for (i, (old, new)) in self.before.iter().zip(&self.after).enumerate() {
            let at = if i < CODE.1 { CODE.0 + i as u64 } else { DATA.0 + (i - CODE.1) as u64 };
            match changes.last_mut() {
                _ if old == new => {}
                Some((start, bytes)) if *start + bytes.len() as u64 == at => bytes.push(*new),
                _ => changes.push((at, vec![*new])),
            }
        }
        changes
    }

    fn step(&mut self, case: &Case, special: Special, after: &mut State) -> Result<Outcome> {
        if self.child.is_none() {
            let child = spawn(&mut self.shared)?;
            self.xstate = vec![0; child.xstate_length()];
            self.child = Some(child);
            self.shared.write(0, &self.before);
        }
        let Some(child) = &self.child else { return Err(Error::other("no child")) };
        case.state.put_xsave(&mut self.xstate);
        child.set_xstate(&mut self.xstate)?;
        child.set_regs(&user_regs(case))?;
        let (mut stop, mut rounds) = (child.go(special != Special::PushFlags)?, 1);
        let mut regs = child.regs()?;
        while special == Special::Repeat && regs.rip == case.state.rip && matches!(stop, Stop::Signal(SIGTRAP, _)) {
            if rounds == ITERATIONS {
                return Ok(Outcome::Skip(format!("more than {ITERATIONS} iterations")));
            }
            rounds += 1;
            stop = child.go(true)?;
            regs = child.regs()?;
        }
        child.xstate(&mut self.xstate)?;
        if special == Special::PushFlags && matches!(stop, Stop::Signal(SIGTRAP, _)) {
            regs.rip -= 1;
            stop = Stop::Signal(SIGTRAP, TRAP_TRACE);
        }
        take_regs(after, &regs, case.mode);
        after.take_xsave(&self.xstate);
        outcome(stop, special, after)
    }
}

fn user_regs(case: &Case) -> user_regs_struct {
    let g = &case.state.gpr;
    let data = if case.mode == Mode::User32 { SS } else { 0 };
    user_regs_struct {
        rax: g[0],
        rcx: g[1],
        rdx: g[2],
        rbx: g[3],
        rsp: g[4],
        rbp: g[5],
        rsi: g[6],
        rdi: g[7],
        r8: g[8],
        r9: g[9],
        r10: g[10],
        r11: g[11],
        r12: g[12],
        r13: g[13],
        r14: g[14],
        r15: g[15],
        // None of Linux's system calls: there is none to restart.
        orig_rax: u64::MAX,
        rip: case.state.rip,
        cs: if case.mode == Mode::User32 { CS32 } else { CS64 },
        eflags: u64::from(case.state.flags) & FLAGS | 0x202,
        ss: SS,
        fs_base: 0,
        gs_base: 0,
        ds: data,
        es: data,
        fs: 0,
        gs: 0,
    }
}

fn take_regs(after: &mut State, r: &user_regs_struct, mode: Mode) {
    after.gpr =
        [r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi, r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15];
    if mode == Mode::User32 {
        // The upper halves and R8 to R15 are not there.
        after.gpr = std::array::from_fn(|n| if n < 8 { after.gpr[n] & 0xFFFF_FFFF } else { 0 });
    }
    (after.rip, after.flags) = (r.rip, (r.eflags & FLAGS) as u32);
}

/// `si_code` of a single-step trap, and of signals that the kernel sends for an exception without a better code
/// [asm-generic/siginfo.h].
const TRAP_TRACE: i32 = 2;
const SI_KERNEL: i32 = 0x80;
const BUS_ADRALN: i32 = 1;
const FPE_INTDIV: i32 = 1;

/// Which exception a signal stands for, as sigaction(2) describes them. The vector itself is not to be had.
fn outcome(stop: Stop, special: Special, after: &State) -> Result<Outcome> {
    let Stop::Signal(signal, code) = stop else { return Err(Error::other("the child ended")) };
    let vector = match (signal, code) {
        (SIGTRAP, TRAP_TRACE) => return Ok(Outcome::Ran(None)),
        (SIGTRAP, SI_KERNEL) => 3,
        (SIGTRAP, _) => 1,
        (SIGILL, _) => 6,
        (SIGFPE, FPE_INTDIV) => 0,
        (SIGFPE, _) if special == Special::Float && after.fsw & 0x80 != 0 => 16,
        (SIGFPE, _) => 19,
        (SIGSEGV, SI_KERNEL) => match special {
            Special::Into => 4,
            Special::Bound => 5,
            _ => 13,
        },
        (SIGSEGV, _) => 14,
        (SIGBUS, BUS_ADRALN) => 17,
        (SIGBUS, _) => 12,
        (SIGSYS, _) => return Ok(Outcome::Skip("it calls the operating system".into())),
        _ => return Err(Error::other(format!("signal {signal} came in between"))),
    };
    Ok(Outcome::Ran(Some(vector)))
}

/// A child with the two stretches of memory and nothing else, that may make no system call any more.
fn spawn(shared: &mut Shared) -> Result<Tracee> {
    let address = |(start, _): (u64, usize)| start as usize;
    let child = Tracee::spawn(
        shared,
        &[
            Mapping { address: address(CODE), length: CODE.1, offset: 0, code: true },
            Mapping { address: address(DATA), length: DATA.1, offset: CODE.1, code: false },
        ],
    )?;
    // SYSCALL.
    shared.write(0, &[0x0F, 0x05]);
    let call = |number: i64, arguments: [u64; 4]| system_call(&child, number, arguments);
    if let Some((at, length, signature)) = child.rseq() {
        const UNREGISTER: u64 = 1;
        call(libc::SYS_rseq, [at, length, UNREGISTER, signature])?;
    }
    let (code_end, data_end) = (CODE.0 + CODE.1 as u64, DATA.0 + DATA.1 as u64);
    for (from, to) in [(0, CODE.0), (code_end, DATA.0), (data_end, USER_END)] {
        call(libc::SYS_munmap, [from, to - from, 0, 0])?;
    }
    // struct sock_fprog { u16 len = 1; filter at DATA + 16 }, whose one instruction is BPF_RET | BPF_K.
    const RETURN: u16 = 6;
    let program = [1, DATA.0 + 16, u64::from(RETURN) | u64::from(libc::SECCOMP_RET_TRAP) << 32];
    for (i, word) in program.iter().enumerate() {
        shared.write(CODE.1 + 8 * i, &word.to_le_bytes());
    }
    call(libc::SYS_prctl, [libc::PR_SET_NO_NEW_PRIVS as u64, 1, 0, 0])?;
    call(libc::SYS_prctl, [libc::PR_SET_SECCOMP as u64, libc::SECCOMP_MODE_FILTER.into(), DATA.0, 0])?;
    Ok(child)
}

/// Lets the child make a system call.
fn system_call(child: &Tracee, number: i64, arguments: [u64; 4]) -> Result<()> {
    let mut regs = child.regs()?;
    let [a, b, c, d] = arguments;
    (regs.rip, regs.rax, regs.orig_rax) = (CODE.0, number as u64, u64::MAX);
    (regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8) = (a, b, c, d, 0);
    child.set_regs(&regs)?;
    let stop = child.go(true)?;
    if !matches!(stop, Stop::Signal(SIGTRAP, _)) {
        return Err(Error::other(format!("setting up the child: system call {number} ended with {stop:?}")));
    }
    match child.regs()?.rax as i64 {
        error @ -4095..0 => Err(Error::other(format!(
            "setting up the child: system call {number}: {}",
            Error::from_raw_os_error(-error as i32)
        ))),
        _ => Ok(()),
    }
}
