"""All benchmarks: `python -m bench [tcp] [udp] [mappings] [kernel] [doors] [links]`, each in its turn.

Prints the machine and the date first, for the table kept in docs/en/reference/benchmarks.md.
"""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from pathlib import Path

PARTS = {
    "tcp": ["bench.relay_tcp"],
    "udp": ["bench.relay_udp"],
    "mappings": ["bench.mappings", "10000"],
    "kernel-packets": ["bench.kernel_packets"],
    "kernel-changes": ["bench.kernel_changes"],
    "kernel-swaps": ["bench.kernel_swaps"],
    "kernel-firewalld": ["bench.kernel_firewalld"],
    "doors": ["bench.doors_leases"],
    "links": ["bench.links"],
}

GROUPS = {"kernel": [name for name in PARTS if name.startswith("kernel-")]}
"""Several parts by one word."""


def main(names: list[str]) -> int:
    names = [part for name in names for part in GROUPS.get(name, [name])]
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        print(f"cannot run {', '.join(unknown)}: the benchmarks are {', '.join((*PARTS, *GROUPS))}")
        return 2
    print(machine(), flush=True)
    worst = 0
    for name in names or PARTS:
        print(f"\n== {name}", flush=True)
        module, *arguments = PARTS[name]
        worst = max(worst, subprocess.call([sys.executable, "-m", module, *arguments]))
    return worst


def machine() -> str:
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "?")
    load = os.getloadavg()[0]
    return (
        f"{today}, {os.cpu_count()} x {model}, Linux {platform.release()}, "
        f"Python {platform.python_version()}, load {load:.1f}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
