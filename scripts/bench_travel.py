#!/usr/bin/env python3
"""What time travel costs, on the Linux i386 workload: CPU seconds of whole commands, beside what they may take.

    scripts/bench_travel.py [--rounds N] [--until TICKS]

The workload runs without a timeline, with it, and recorded, and the recording is replayed, in turns (the least of the rounds counts;
--until cuts it short); then it is searched, gone through and compared, then a snapshot is saved and restored. Times are user + system by
wait4; wall time depends on the host's load and is not shown. Exits with 1 if a command fails or a limit is passed.
"""
import argparse
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from bench_guests import APPEND, CACHE, EMU

LINUX = CACHE / "linux-i386"
BOOT = ["--kernel", LINUX / "vmlinuz", "--initrd", LINUX / "initrd.gz", "--append", APPEND, "--mem", "256M",
        "--serial", "null", "--display", "none", "--quiet"]
# Limits in seconds, or beside the run without a timeline.
ROWS = []


def cpu(*words, stdin=b"", codes=(0,)):
    """CPU seconds of an emu command, and what it said on its standard output."""
    child = subprocess.Popen([str(EMU), *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
    child.stdin.write(stdin)
    child.stdin.close()
    said = child.stdout.read()
    complaint = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode not in codes:
        sys.exit(f"bench: FAILED emu {words[0]}: exit {child.returncode}: {complaint.decode()}")
    return usage.ru_utime + usage.ru_stime, said.decode()


def row(name, value, limit=None, unit="s"):
    """Notes and prints a figure."""
    ROWS.append(limit is None or value <= limit)
    print(f"{name:<58}{value:>10.3f} {unit:<3}" + (f"at most {limit}" if limit is not None else ""))
    sys.stdout.flush()


def whole_runs(rounds, file, end):
    """Running, with a timeline, recording, and replaying that; the least of the rounds."""
    plans = {"off": ["--timeline", "off"], "timeline": [], "recorded": ["--record", file]}
    least = {}
    for _ in range(rounds):
        for name, options in plans.items():
            seconds, _ = cpu("run", *BOOT, *options, *end)
            least[name] = min(seconds, least.get(name, seconds))
        seconds, _ = cpu("replay", file, "--display", "none")
        least["replay"] = min(seconds, least.get("replay", seconds))
    row("the run without a timeline", least["off"])
    row("with its timeline, beside that", least["timeline"] / least["off"], 1.02, "×")
    row("recording, beside that", least["recorded"] / least["off"], 1.03, "×")
    row("replay, verified, beside that", least["replay"] / least["off"], 1.03, "×")


def searches(file):
    """What is asked of the recording."""
    _, said = cpu("debug", file, "-q", "--at", "end", stdin=b"hash\n")
    end = int(said.split("state")[0].split()[-1])
    row("recording: MiB", file.stat().st_size / (1 << 20), None, "MiB")
    row("emu why: memory that nothing wrote", cpu("why", file, "0x3123456", codes=(0, 10))[0], 3)
    row("emu why: a screen cell", cpu("why", file, "cell:0,0")[0], 3)
    row("emu diff with itself", cpu("diff", file, file)[0], None)
    ticks = [random.Random(4).randrange(end) for _ in range(5)]
    seeks = [cpu("debug", file, "-q", "--at", tick)[0] for tick in ticks]
    row("seek to a random tick, the longest of 5", max(seeks), 1)
    cold = [cpu("debug", file, "-q", "--at", tick, stdin=b"back\n")[0] for tick in ticks]
    row("reverse-stepi there, cold, with the seek, the longest of 5", max(cold), 1)
    warm = [cpu("debug", file, "-q", "--at", tick, stdin=b"back\n" * 21)[0] for tick in ticks]
    row("reverse-stepi again, warm", max((w - c) / 20 for w, c in zip(warm, cold, strict=True)), 0.1)
    there = f"--at {end - 1}".split()
    back = f"watch phys:0x3123456\ngoto {end - 10**9}\ngoto {end - 1}\nreverse\n".encode()
    row("reverse-continue to the start, nothing found", cpu("debug", file, "-q", *there, stdin=back)[0], 5)


def snapshots(folder, file):
    """Saving and restoring."""
    saved = folder / "linux.emusnap"
    _, said = cpu("debug", file, "-q", "--at", "end", stdin=b"hash\n")
    at = min(3_000_000_000, int(said.split("state")[0].split()[-1]))
    sought, _ = cpu("debug", file, "-q", "--at", at)
    row("emu snapshot save, beyond the seek", cpu("snapshot", "save", file, saved, "--at", at)[0] - sought, 0.2)
    row("emu run SNAPSHOT, to its end at once",
        cpu("run", saved, "--display", "none", "-q", "--serial", "null", "--until-ticks", at)[0], 0.2)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--until", type=int, help="end the workload at this tick")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "linux.emurec"
        whole_runs(chosen.rounds, file, ["--until-ticks", chosen.until] if chosen.until else [])
        searches(file)
        snapshots(folder, file)
    return 0 if all(ROWS) else 1


if __name__ == "__main__":
    sys.exit(main())
