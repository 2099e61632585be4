"""What emu costs its host: its start, an idle guest, and memory. These numbers are emu's alone, without QEMU beside."""
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
import time

from bench_guests import APPEND, CACHE, EMU, FREEDOS, PROMPT
from bench_process import Failed, cpu_so_far, finish


def start():
    """Wall and CPU seconds of a whole run that ends after the guest's first instruction: an upper bound of the start."""
    began = time.monotonic()
    child = subprocess.Popen([str(EMU), "run", str(FREEDOS), "--display", "none", "--quiet", "--until-ticks", "1"],
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise Failed(f"one instruction: exit {child.returncode}")
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime


def idle_share(image, text, seconds=10):
    """The share of one core that a guest takes after `text` is on its screen, paced, shown in a terminal of 80×25."""
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("4H", 27, 80, 0, 0))
        os.environ["TERM"] = "xterm-256color"
        os.execv(EMU, [str(EMU), "run", *image, "--display", "terminal"])
    screen = bytearray()
    reader = threading.Thread(target=drain, args=(terminal, screen), daemon=True)
    reader.start()
    try:
        give_up = time.monotonic() + 60
        while text.encode() not in screen:
            if time.monotonic() > give_up:
                raise Failed(f"no '{text}' on the terminal within 60 s")
            time.sleep(0.1)
        time.sleep(5)  # until what the guest does after its first screen is done
        before, began = cpu_so_far(pid), time.monotonic()
        time.sleep(seconds)
        return (cpu_so_far(pid) - before) / (time.monotonic() - began)
    finally:
        os.kill(pid, 15)
        os.waitpid(pid, 0)


def drain(terminal, screen):
    """Reads a terminal as fast as it is written, and keeps the text."""
    try:
        while data := os.read(terminal, 4096):
            screen += re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", data)
    except OSError:
        pass  # the other end is closed


def overhead(boot, memory):
    """Resident KiB beyond the guest's RAM that it touched: (all at the highest, of it not RAM), read at the run's end.

    Touched guest RAM is what is resident of emu's largest mapping, from the kernel's smaps, a moment before the end.
    """
    child = subprocess.Popen([str(part) for part in boot], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    worst = (0, 0)
    try:
        while child.poll() is None:
            worst = max(worst, resident(child.pid, memory), key=lambda pair: pair[1])
            time.sleep(0.05)
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    return worst


def resident(pid, memory):
    """(all resident KiB, of it not in mappings of at least `memory` bytes)."""
    total, outside, size = 0, 0, 0
    try:
        with open(f"/proc/{pid}/smaps", encoding="ascii", errors="replace") as smaps:
            for line in smaps:
                if line.startswith("Size:"):
                    size = int(line.split()[1]) * 1024
                elif line.startswith("Rss:"):
                    rss = int(line.split()[1])
                    total += rss
                    outside += rss if size < memory else 0
    except OSError:
        return 0, 0
    return total, outside


def memory_runs():
    """The runs whose memory is looked at: (name, guest RAM in bytes, command)."""
    linux = CACHE / "linux-i386"
    return [
        ("FreeDOS", 128 << 20, [EMU, "run", FREEDOS, "--display", "none", "--wait-for", PROMPT, "--mem", "128M"]),
        ("Linux i386", 256 << 20, [EMU, "run", "--kernel", linux / "vmlinuz", "--initrd", linux / "initrd.gz",
                                   "--append", APPEND, "--mem", "256M", "--serial", "null", "--display", "none"]),
    ]


def report(rounds):
    """Measures and prints all of it."""
    finish([EMU, "run", FREEDOS, "--display", "none", "--until-ticks", "1"])  # the image is in the page cache now
    starts = [start() for _ in range(max(rounds, 5))]
    print(f"start to end of a run of one instruction: {min(s[0] for s in starts) * 1e3:.1f} ms wall, "
          f"{min(s[1] for s in starts) * 1e3:.1f} ms CPU (least of {len(starts)})")
    for name, image, text in [("FreeDOS at its prompt", [str(FREEDOS)], PROMPT), ("the demo", [], "Power off")]:
        print(f"idle, paced, in a terminal: {name}: {idle_share(image, text) * 100:.2f} % of a core")
    for name, memory, command in memory_runs():
        with_timeline, without = [overhead([*command, "--timeline", budget], memory)[1] / 1024 for budget in ("512M", "off")]
        print(f"memory: {name}: {without:.1f} MiB resident beyond guest RAM, and "
              f"{with_timeline - without:.1f} MiB kept by the timeline (within its budget, 512 MiB)")
