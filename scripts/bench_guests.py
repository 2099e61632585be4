"""The guests of scripts/bench: how each emulator runs them, what they must print, and how their cost is taken."""
import json
import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("EMU_SHARED", ROOT.parent / "shared"))
CACHE = Path(os.environ.get("EMU_CACHE", ROOT / "target" / "guests"))
EMU = Path(os.environ.get("EMU", ROOT / "target" / "release" / "emu"))
APPEND = "console=tty0 console=ttyS0,115200 panic=-1"
FREEDOS = SHARED / "guests" / "freedos" / "fd1.4MB.img"
BENCH32 = SHARED / "bench" / "bench32.img"
PROMPT = "A:\\>"
TIMEOUT = 900
# emu's exit code for a CPU that is halted for good: a kernel's end on a machine without ACPI.
HALTED = 7


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


def qemu(binary, emulator):
    """The common part of a QEMU command: the same PC that emu shows, without a network card."""
    clock = ["-icount", "shift=0,sleep=off"] if emulator == "qemu-icount" else []
    return [binary, "-accel", "tcg", *clock, "-display", "none", "-nic", "none", "-no-reboot"]


def qemu_floppy(image, emulator):
    drive = f"file={image},format=raw,if=floppy,readonly=on"
    return [*qemu("qemu-system-i386", emulator), "-drive", drive, "-boot", "a"]


def read_text_screen(monitor, path):
    """The 80×25 text of the emulated screen, read from guest memory at B8000h (FreeDOS does not move its start)."""
    request = {"execute": "pmemsave", "arguments": {"val": 0xB8000, "size": 4000, "filename": str(path)}}
    monitor.write(json.dumps(request).encode() + b"\n")
    monitor.flush()
    while "return" not in (reply := json.loads(monitor.readline() or b'{"return": 0}')):
        if "error" in reply:
            return ""
    return path.read_bytes()[::2].decode("latin1") if path.exists() else ""


def open_monitor(path):
    """Connects to QEMU's machine protocol as soon as its socket is there."""
    for _ in range(1000):
        try:
            link = socket.socket(socket.AF_UNIX)
            link.connect(str(path))
            break
        except OSError:
            link.close()
            time.sleep(0.01)
    else:
        raise Failed("QEMU's monitor did not open")
    monitor = link.makefile("rwb")
    monitor.readline()
    monitor.write(b'{"execute": "qmp_capabilities"}\n')
    monitor.flush()
    monitor.readline()
    return monitor


def qemu_until_prompt(command):
    """Runs QEMU until PROMPT is on the text screen; returns what it has used up to there."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "monitor"
        child = subprocess.Popen([*command, "-qmp", f"unix:{path},server=on,wait=off"], stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            monitor = open_monitor(path)
            give_up = time.monotonic() + 60
            while PROMPT not in read_text_screen(monitor, Path(folder) / "screen"):
                if time.monotonic() > give_up:
                    raise Failed("no prompt within 60 s")
                time.sleep(0.02)
        finally:
            child.kill()
            used = reap(child)
    return used


def run_freedos(emulator, _log):
    """FreeDOS on a 1.44 MB diskette, to its prompt."""
    if emulator == "emu":
        used = finish([EMU, "run", FREEDOS, "--display", "none", "--wait-for", PROMPT, "--timeout", TIMEOUT])
    else:
        used = qemu_until_prompt(qemu_floppy(FREEDOS, emulator))
    return {"": used}


def result_lines(text):
    """The lines of the workload that are the same on every machine: no marks, kernel or CPU names."""
    changing = ("@@MARK", "Linux ", "model name", "flags")
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith(changing)]


def check_linux(log):
    """Raises Failed unless every expected result line is in the serial log, in order."""
    expected = result_lines((SHARED / "guests" / "linux-i386" / "expected.txt").read_text())
    text = log.read_text(errors="replace")
    printed = iter(result_lines(text[text.find("@@MARK userspace-start"):]))
    for line in expected:
        if line not in printed:
            raise Failed(f"no line '{line}' in {log}")


def run_linux(guest, emulator, log):
    """The Linux workload with 256 MB, from its kernel to the end."""
    folder = CACHE / guest
    boot = ["--kernel", folder / "vmlinuz", "--initrd", folder / "initrd.gz", "--append", APPEND]
    log.unlink(missing_ok=True)
    if emulator == "emu":
        command = [EMU, "run", *boot, "--mem", "256M", "--serial", f"file:{log}", "--display", "none"]
        used = finish(command, ok=(0, HALTED))
    else:
        binary = "qemu-system-i386" if guest == "linux-i386" else "qemu-system-x86_64"
        boot = [arg.replace("--", "-", 1) if isinstance(arg, str) else arg for arg in boot]
        used = finish([*qemu(binary, emulator), *boot, "-m", "256M", "-serial", f"file:{log}"])
    check_linux(log)
    return {"": used}


def cpu_so_far(pid):
    """CPU seconds of all threads of a process, to the nanosecond that the kernel counts."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            pass  # a thread that has just ended
    return total / 1e9


def run_bench32(emulator, log):
    """Each workload of bench32: the CPU time between its two serial lines, taken when they arrive."""
    if emulator == "emu":
        command = [EMU, "run", BENCH32, "--serial", "stdio", "--display", "none", "--timeout", TIMEOUT]
    else:
        command = [*qemu_floppy(BENCH32, emulator), "-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4"]
    child = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL)
    parts, lines, begun, unknown = {}, [], 0.0, {}
    for line in child.stdout:
        now = cpu_so_far(child.pid)
        words = line.decode(errors="replace").split()
        lines.append(" ".join(words))
        if words[:1] == ["S"]:
            begun = now
        elif words[:1] == ["E"] and now >= begun:
            parts[words[1]] = (now - begun, 0)
        elif words[:1] == ["E"]:
            unknown[words[1]] = begun  # the process has ended already
    used = reap(child)
    parts |= {name: (used[0] - start, 0) for name, start in unknown.items()}
    log.write_text("\n".join(lines) + "\n")
    if lines[-1:] != ["DONE"]:
        raise Failed(f"bench32 ended after '{' '.join(lines[-1:])}'")
    return {"": used, **parts}


def checksums(log):
    """What bench32's workloads computed, by name: {name: 'n=.. sum=..'}."""
    ends = [line.split() for line in log.read_text().splitlines() if line.startswith("E ")]
    return {words[1]: " ".join(words[2:4]) for words in ends}


GUESTS = {
    "freedos": run_freedos,
    "linux-i386": lambda emulator, log: run_linux("linux-i386", emulator, log),
    "linux-amd64": lambda emulator, log: run_linux("linux-amd64", emulator, log),
    "bench32": run_bench32,
}
