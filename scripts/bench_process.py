"""Processes of scripts/bench: how their cost is taken, and how Bochs is run."""
import os
import pty
import subprocess
import tempfile
import termios
import threading
import time
from contextlib import contextmanager
from pathlib import Path

TIMEOUT = 900


class Failed(Exception):
    """The guest did not do its work; the text says what is missing."""


def reap(process):
    """Waits for a child; returns its CPU seconds (user + system) and the most memory it had resident, in KiB."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss


def finish(command, ok=(0,)):
    """Runs a command to its end; returns what `reap` does."""
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=errors)
        give_up = time.monotonic() + TIMEOUT
        while os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            if time.monotonic() > give_up:
                child.kill()
            time.sleep(0.01)
        used = reap(child)
        errors.seek(0)
        if child.returncode not in ok:
            raise Failed(f"exit {child.returncode}: {errors.read().decode(errors='replace')[-300:].strip()}")
    return used


def cpu_so_far(pid):
    """CPU seconds of all threads of a process, to the nanosecond that the kernel counts."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            pass  # a thread that has just ended
    return total / 1e9


BOCHS_SETUP = """\
megs: 256
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: model=corei5_lynnfield_750, count=1, ips=50000000, reset_on_triple_fault=0
clock: sync=none
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
com1: enabled=1, mode=file, dev={folder}/serial
display_library: term
sound: driver=dummy
speaker: enabled=0
log: {folder}/log
panic: action=fatal
error: action=ignore
info: action=ignore
{drive}
"""


@contextmanager
def drained_terminal():
    """A terminal for a program that insists on one; what it draws is thrown away."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, 132))

    def drain():
        try:
            while os.read(ours, 65536):
                pass
        except OSError:
            pass  # the other side has closed

    thread = threading.Thread(target=drain, daemon=True)
    thread.start()
    try:
        yield theirs
    finally:
        os.close(theirs)
        thread.join(timeout=5)
        os.close(ours)


def bochs(folder, drive, take):
    """Runs Debian's Bochs, a build with its debugger, which is told to continue; its guest ends it by a shutdown.
    `drive` are the lines of its setup that say where to boot from; `take` gets each serial line and the CPU time then."""
    (folder / "setup").write_text(BOCHS_SETUP.format(folder=folder, drive=drive))
    (folder / "continue").write_text("c\n")
    os.mkfifo(folder / "serial")
    serial = os.fdopen(os.open(folder / "serial", os.O_RDONLY | os.O_NONBLOCK), "rb")
    with drained_terminal() as terminal, serial:
        child = subprocess.Popen(["bochs", "-q", "-f", str(folder / "setup"), "-rc", str(folder / "continue")],
                                 preexec_fn=lambda: os.login_tty(terminal), env={**os.environ, "TERM": "vt100"})
        rest, give_up = b"", time.monotonic() + TIMEOUT
        while True:
            ended = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
            now = cpu_so_far(child.pid)
            *lines, rest = (rest + (serial.read() or b"")).split(b"\n")
            for line in lines:
                take(line, now)
            if ended:
                return reap(child)
            if time.monotonic() > give_up:
                child.kill()
            time.sleep(0.0005)
