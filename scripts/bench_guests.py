"""The guests of scripts/bench: how each emulator runs them, what they must print, and how their cost is taken."""
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from bench_process import Failed, TIMEOUT, bochs, cpu_so_far, finish, reap

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("EMU_SHARED", ROOT.parent / "shared"))
CACHE = Path(os.environ.get("EMU_CACHE", ROOT / "target" / "guests"))
EMU = Path(os.environ.get("EMU", ROOT / "target" / "release" / "emu"))
APPEND = "console=tty0 console=ttyS0,115200 panic=-1"
FREEDOS = SHARED / "guests" / "freedos" / "fd1.4MB.img"
BENCH32 = SHARED / "bench" / "bench32.img"
PROMPT = "A:\\>"
ISOLINUX = ["/usr/lib/ISOLINUX/isolinux.bin", "/usr/lib/syslinux/modules/bios/ldlinux.c32"]
# emu's exit code for a CPU that is halted for good: a kernel's end on a machine without ACPI.
HALTED = 7


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


def isolinux_image(kernel_folder, work):
    """A CD image that boots a kernel, for an emulator that has no direct boot."""
    tree = work / "iso"
    (tree / "isolinux").mkdir(parents=True)
    for path in ISOLINUX:
        shutil.copy(path, tree / "isolinux")
    for name in ("vmlinuz", "initrd.gz"):
        shutil.copy(kernel_folder / name, tree)
    menu = f"DEFAULT linux\nPROMPT 0\nLABEL linux\nKERNEL /vmlinuz\nAPPEND initrd=/initrd.gz {APPEND}\n"
    (tree / "isolinux" / "isolinux.cfg").write_text(menu)
    finish(["xorriso", "-as", "mkisofs", "-quiet", "-o", work / "linux.iso", "-b", "isolinux/isolinux.bin", "-c",
            "isolinux/boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", tree])
    return work / "linux.iso"


def bochs_linux(kernel_folder, log):
    """Bochs from a CD with the kernel: its BIOS and boot loader add less than a second."""
    with tempfile.TemporaryDirectory() as folder:
        image = isolinux_image(kernel_folder, Path(folder))
        drive = f"ata0-master: type=cdrom, path={image}, status=inserted\nboot: cdrom"
        lines = []
        used = bochs(Path(folder), drive, lambda line, _: lines.append(line))
        log.write_bytes(b"\n".join(lines))
    return used


def run_linux(guest, emulator, log):
    """The Linux workload with 256 MB, from its kernel to the end."""
    folder = CACHE / guest
    boot = ["--kernel", folder / "vmlinuz", "--initrd", folder / "initrd.gz", "--append", APPEND]
    log.unlink(missing_ok=True)
    if emulator == "bochs":
        used = bochs_linux(folder, log)
    elif emulator == "emu":
        command = [EMU, "run", *boot, "--mem", "256M", "--serial", f"file:{log}", "--display", "none"]
        used = finish(command, ok=(0, HALTED))
    else:
        binary = "qemu-system-i386" if guest == "linux-i386" else "qemu-system-x86_64"
        boot = [arg.replace("--", "-", 1) if isinstance(arg, str) else arg for arg in boot]
        used = finish([*qemu(binary, emulator), *boot, "-m", "256M", "-serial", f"file:{log}"])
    check_linux(log)
    return {"": used}


def scaled(image, percent):
    """bench32's image with its workloads as long as `percent` says: its boot sector has a magic number, a mask of
    workloads, and the scale [README of the benchmark]."""
    data = bytearray(image.read_bytes())
    at = data.rfind(b"PBCF", 0, 512) + 8
    data[at:at + 4] = percent.to_bytes(4, "little")
    return data


class Parts:
    """Takes bench32's serial lines as they come, with the CPU time of its process at that moment."""

    def __init__(self):
        self.parts, self.lines, self.begun, self.unknown = {}, [], 0.0, {}

    def take(self, line, now):
        words = line.decode(errors="replace").split()
        self.lines.append(" ".join(words))
        if words[:1] == ["S"]:
            self.begun = now
        elif words[:1] == ["E"] and now >= self.begun:
            self.parts[words[1]] = (now - self.begun, 0)
        elif words[:1] == ["E"]:
            self.unknown[words[1]] = self.begun  # the process has ended already

    def finish(self, used, log):
        """All parts and the whole, once the process has ended."""
        self.parts |= {name: (used[0] - start, 0) for name, start in self.unknown.items()}
        log.write_text("\n".join(self.lines) + "\n")
        if self.lines[-1:] != ["DONE"]:
            raise Failed(f"bench32 ended after '{' '.join(self.lines[-1:])}'")
        return {"": used, **self.parts}


def run_bench32(emulator, log, percent=100):
    """Each workload of bench32: the CPU time between its two serial lines, taken when they arrive."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "bench32.img"
        image.write_bytes(scaled(BENCH32, percent))
        parts = Parts()
        if emulator == "bochs":
            used = bochs(Path(folder), f"floppya: 1_44={image}, status=inserted\nboot: floppy", parts.take)
        else:
            if emulator == "emu":
                command = [EMU, "run", image, "--serial", "stdio", "--display", "none", "--timeout", TIMEOUT]
            else:
                command = [*qemu_floppy(image, emulator), "-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4"]
            child = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=subprocess.DEVNULL)
            for line in child.stdout:
                parts.take(line, cpu_so_far(child.pid))
            used = reap(child)
    return parts.finish(used, log)


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
