"""The history of scripts/bench: one line of JSON per run, in crates/benches/history.jsonl."""
import datetime
import json
import subprocess
import sys

from bench_guests import ROOT

HISTORY = ROOT / "crates" / "benches" / "history.jsonl"


def said(*command):
    """The first line that a command prints; empty if it is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    except OSError:
        return ""
    return (done.stdout.splitlines() or [""])[0].strip()


def processor():
    """The host's CPU, as Linux names it."""
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        names = [line.split(":", 1)[1].strip() for line in info if line.startswith("model name")]
    return f"{len(names)} × {names[0]}" if names else "unknown"


def save(least, chosen, failures):
    """Appends a run; one with failures is not worth keeping. Returns how many failures that adds."""
    if failures:
        print("bench: not saved, as something failed", file=sys.stderr)
        return 1
    with open("/proc/loadavg", encoding="utf-8") as load:
        busy = float(load.read().split()[0])
    changed = "+" if said("git", "status", "--porcelain", "--untracked-files=no") else ""
    entry = {
        "date": datetime.date.today().isoformat(), "commit": said("git", "rev-parse", "--short", "HEAD") + changed,
        "note": chosen.save, "host": processor(), "load": busy, "rounds": chosen.rounds, "scale": chosen.scale,
        "rustc": said("rustc", "--version"), "qemu": said("qemu-system-i386", "--version"), "seconds": least,
    }
    with HISTORY.open("a", encoding="utf-8") as history:
        history.write(json.dumps(entry, ensure_ascii=False) + "\n")
    print(f"bench: saved in {HISTORY.relative_to(ROOT)}", file=sys.stderr)
    return 0


def show():
    """emu's CPU time beside QEMU's, run by run: ratios of one run compare with those of another, seconds do not."""
    if not HISTORY.exists():
        print("bench: no history yet (scripts/bench --save)", file=sys.stderr)
        return 1
    entries = [json.loads(line) for line in HISTORY.read_text(encoding="utf-8").splitlines()]
    for number, entry in enumerate(entries, 1):
        print(f"{number}: {entry['date']} {entry['commit']} scale {entry['scale']}, load {entry['load']}, "
              f"{entry['host']}  {entry['note']}".rstrip())
    print("\nemu / QEMU" + " " * 12 + "".join(f"{n:>8}" for n in range(1, len(entries) + 1)))
    for name in dict.fromkeys(name for entry in entries for name in entry["seconds"]):
        rows = [entry["seconds"].get(name, {}) for entry in entries]
        cells = [f"{row['emu'] / max(row['qemu'], 1e-9):8.2f}" if {"emu", "qemu"} <= row.keys() else f"{'-':>8}"
                 for row in rows]
        print(f"{name:<22}" + "".join(cells))
    return 0
