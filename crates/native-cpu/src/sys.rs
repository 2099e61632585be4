//! The system calls beneath: a traced child process, and memory shared with it. The crate's only unsafe module.
//!
//! # Safety invariants
//! - The memory file is mapped once in this process, for as long as [`Shared`] lives, and is only touched through raw
//!   copies ([`Shared::read`], [`Shared::write`]) while the child is stopped: the child runs only inside
//!   [`Tracee::go`], which returns after it has stopped again. So no Rust reference ever sees memory change.
//! - The child of `fork` calls nothing but system calls before it stops for the first time, and executes nothing of
//!   ours afterwards: its instruction pointer is set before each resumption.
//! - Every `ptrace` call names a child of this process, and gets pointers to live values of the type it wants.
#![expect(unsafe_code, reason = "ptrace, fork and shared memory have no safe interface; see the header")]

use std::io::{Error, Result};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use libc::{c_int, c_long, c_void, pid_t};

/// Note type of the extended state [linux/elf.h].
const NT_X86_XSTATE: usize = 0x202;
/// [linux/ptrace.h], since Linux 5.13.
const PTRACE_GET_RSEQ_CONFIGURATION: c_int = 0x420f;

/// What a stopped child waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// A signal, with its `si_code`.
    Signal(c_int, c_int),
    /// It is gone.
    Ended,
}

fn check(result: c_long) -> Result<c_long> {
    if result == -1 { Err(Error::last_os_error()) } else { Ok(result) }
}

/// Memory that this process and the child share.
pub(crate) struct Shared {
    file: OwnedFd,
    at: *mut u8,
    length: usize,
}

impl Shared {
    /// `length` bytes of zeros.
    pub(crate) fn new(length: usize) -> Result<Shared> {
        // SAFETY: a constant C string; the descriptor is ours alone.
        let file = unsafe {
            let fd = libc::memfd_create(c"emu-native-cpu".as_ptr(), libc::MFD_CLOEXEC);
            check(fd.into())?;
            OwnedFd::from_raw_fd(fd)
        };
        // SAFETY: sets the length of our own file, then maps it at a place that the kernel chooses.
        let at = unsafe {
            check(libc::ftruncate(file.as_raw_fd(), length as libc::off_t).into())?;
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        Ok(Shared { file, at: at.cast(), length })
    }

    /// Copies `bytes` to `offset`.
    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) {
        assert!(offset <= self.length && bytes.len() <= self.length - offset);
        // SAFETY: within the mapping, by the assertion; the child is stopped.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.at.add(offset), bytes.len()) }
    }

    /// Fills `bytes` from `offset`.
    pub(crate) fn read(&self, offset: usize, bytes: &mut [u8]) {
        assert!(offset <= self.length && bytes.len() <= self.length - offset);
        // SAFETY: within the mapping, by the assertion; the child is stopped.
        unsafe { ptr::copy_nonoverlapping(self.at.add(offset), bytes.as_mut_ptr(), bytes.len()) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: our own mapping, which nothing refers to any more.
        unsafe { libc::munmap(self.at.cast(), self.length) };
    }
}

/// A part of the shared memory, mapped in the child at a fixed address.
pub(crate) struct Mapping {
    pub(crate) address: usize,
    pub(crate) length: usize,
    /// Where in the shared memory.
    pub(crate) offset: usize,
    /// Whether it can be executed.
    pub(crate) code: bool,
}

/// A child process that runs what it is told to.
pub(crate) struct Tracee {
    pid: pid_t,
    /// Bytes of its extended state.
    xstate: usize,
}

impl Tracee {
    /// Forks a child that has `mappings` and is stopped.
    pub(crate) fn spawn(shared: &Shared, mappings: &[Mapping]) -> Result<Tracee> {
        // SAFETY: this process has one thread; the child goes by the header's second invariant.
        let pid = unsafe { libc::fork() };
        check(pid.into())?;
        if pid == 0 {
            // SAFETY: system calls only; MAP_FIXED_NOREPLACE never takes the place of a mapping that exists.
            unsafe {
                let mut good = libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0
                    && libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) == 0;
                for m in mappings {
                    let rights = libc::PROT_READ | libc::PROT_WRITE | if m.code { libc::PROT_EXEC } else { 0 };
                    let how = libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE;
                    let (at, fd) = (m.address as *mut c_void, shared.file.as_raw_fd());
                    good &= libc::mmap(at, m.length, rights, how, fd, m.offset as libc::off_t) == at;
                }
                if good {
                    libc::raise(libc::SIGSTOP);
                }
                libc::_exit(1);
            }
        }
        let mut child = Tracee { pid, xstate: 0 };
        if !matches!(child.wait()?, Stop::Signal(libc::SIGSTOP, _)) {
            return Err(Error::other("the child can't be traced, or its memory is not to be had"));
        }
        let mut area = vec![0; 1 << 16];
        child.xstate = child.regset(libc::PTRACE_GETREGSET, &mut area)?;
        if child.xstate < 576 {
            return Err(Error::other("the kernel has no XSAVE state"));
        }
        // SAFETY: an option without a pointer, for our own child.
        check(unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, pid, 0, libc::PTRACE_O_EXITKILL) })?;
        Ok(child)
    }

    /// Bytes of the extended state.
    pub(crate) fn xstate_length(&self) -> usize {
        self.xstate
    }

    fn regset(&self, request: libc::c_uint, area: &mut [u8]) -> Result<usize> {
        let mut vector = libc::iovec { iov_base: area.as_mut_ptr().cast(), iov_len: area.len() };
        // SAFETY: the vector describes `area`, which lives longer than the call.
        check(unsafe { libc::ptrace(request, self.pid, NT_X86_XSTATE, &raw mut vector) })?;
        Ok(vector.iov_len)
    }

    /// Sets the extended state: an XSAVE area of `xstate_length` bytes.
    pub(crate) fn set_xstate(&self, area: &mut [u8]) -> Result<()> {
        self.regset(libc::PTRACE_SETREGSET, area).map(|_| ())
    }

    /// Reads the extended state.
    pub(crate) fn xstate(&self, area: &mut [u8]) -> Result<()> {
        self.regset(libc::PTRACE_GETREGSET, area).map(|_| ())
    }

    pub(crate) fn set_regs(&self, regs: &libc::user_regs_struct) -> Result<()> {
        // SAFETY: a live value of the type that PTRACE_SETREGS wants.
        check(unsafe { libc::ptrace(libc::PTRACE_SETREGS, self.pid, 0, ptr::from_ref(regs)) }).map(|_| ())
    }

    pub(crate) fn regs(&self) -> Result<libc::user_regs_struct> {
        // SAFETY: plain integers, for which zeros are a value; filled by the call.
        unsafe {
            let mut regs: libc::user_regs_struct = std::mem::zeroed();
            check(libc::ptrace(libc::PTRACE_GETREGS, self.pid, 0, &raw mut regs))?;
            Ok(regs)
        }
    }

    fn wait(&self) -> Result<Stop> {
        let mut status = 0;
        // SAFETY: waits for our own child; `status` is live.
        while unsafe { libc::waitpid(self.pid, &raw mut status, 0) } == -1 {
            let error = Error::last_os_error();
            if error.raw_os_error() != Some(libc::EINTR) {
                return Err(error);
            }
        }
        if !libc::WIFSTOPPED(status) {
            return Ok(Stop::Ended);
        }
        // SAFETY: zeros are a siginfo_t; filled by the call. Stops without one leave it as it is.
        let code = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            libc::ptrace(libc::PTRACE_GETSIGINFO, self.pid, 0, &raw mut info);
            info.si_code
        };
        Ok(Stop::Signal(libc::WSTOPSIG(status), code))
    }

    /// Lets the child run one instruction if `step`, else until something stops it.
    pub(crate) fn go(&self, step: bool) -> Result<Stop> {
        let request = if step { libc::PTRACE_SINGLESTEP } else { libc::PTRACE_CONT };
        // SAFETY: no pointers; the child is ours and stopped.
        check(unsafe { libc::ptrace(request, self.pid, 0, 0) })?;
        self.wait()
    }

    /// Address, length and signature of the child's registered rseq area, if it has one. The kernel writes there, so
    /// it must be taken back before the memory is given up.
    pub(crate) fn rseq(&self) -> Option<(u64, u64, u64)> {
        let mut answer = [0_u64; 3];
        let length = size_of_val(&answer);
        // SAFETY: the kernel writes at most `length` bytes to `answer`.
        let got = unsafe {
            libc::ptrace(PTRACE_GET_RSEQ_CONFIGURATION as libc::c_uint, self.pid, length, answer.as_mut_ptr())
        };
        // struct ptrace_rseq_configuration: u64 pointer, u32 size, u32 signature, u32 flags.
        (got > 0 && answer[0] != 0).then_some((answer[0], answer[1] & 0xffff_ffff, answer[1] >> 32))
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        // SAFETY: ends our own child, and takes its status so that no zombie stays.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, ptr::null_mut(), 0);
        }
    }
}
