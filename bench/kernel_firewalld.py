"""2,000 forwards added one by one, then read anew: `python -m bench.kernel_firewalld [--count N]`.

firewalld as Debian has it, on a message bus of its own, in a namespace. Its forwards are added over D-Bus,
which costs a fifth of what `firewall-cmd` does. A forward that shall outlast a reload is added twice there,
as its manual says (`--permanent` and without); what only the run-time half costs is told too. Ours are
opened over the API, and each is on the disk when it is answered.

Reloaded is `firewall-cmd --reload` there: the daemon stays, and puts every forward into the kernel again
from what it keeps. Here the table is taken away and the daemon told to reload (SIGHUP), until the last
forward is in the kernel again; it notices the loss by itself.

Beside it is told what a restart of ours costs, which firewalld's reload is spared: a stop, the table taken
away, and a start, until the API answers and the last forward is in the kernel again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from bench.kernel_changes import Clock, Kernel, answers
from bench.kernel_lab import Road, build, cannot, quantile, verdict
from sekimori.host.nfsocket import NfSocket
from sekimori.planes.kernel.frame import TABLE
from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.netlab import Host, Lab
from sekimori.testing.peers import eventually

COUNT = 2000
FIRST_PORT = 20_000

BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/>
<allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>
"""

ADDER = """
import dbus, json, sys, time
first, count, to = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
bus, name = dbus.SystemBus(), "org.fedoraproject.FirewallD1"
root = bus.get_object(name, "/org/fedoraproject/FirewallD1")
config = dbus.Interface(bus.get_object(name, "/org/fedoraproject/FirewallD1/config"), name + ".config")
running = dbus.Interface(root, name + ".zone")
kept = dbus.Interface(bus.get_object(name, config.getZoneByName("public")), name + ".config.zone")
now, later = [], []
for port in range(first, first + count):
    begun = time.perf_counter()
    running.addForwardPort("public", str(port), "udp", str(port), to, 0)
    now.append(time.perf_counter() - begun)
    begun = time.perf_counter()
    kept.addForwardPort(str(port), "udp", str(port), to)
    later.append(time.perf_counter() - begun)
begun = time.perf_counter()
dbus.Interface(root, name).reload(timeout=600)
print(json.dumps({"running": now, "kept": later, "reload": time.perf_counter() - begun}))
"""
"""What adds forwards to firewalld: run by Debian's own Python, which has the D-Bus library."""


@contextmanager
def firewalld(road: Road, folder: Path) -> Iterator[dict[str, str]]:
    """It on the gateway, with the WAN in its public zone; yields the environment of its clients."""
    place, config = folder / "bus", folder / "bus.conf"
    config.write_text(BUS.format(path=place))
    environ = [f"DBUS_SYSTEM_BUS_ADDRESS=unix:path={place}"]
    _own_etc(road.gateway)
    log = (folder / "log").open("wb")
    bus = ["dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile"]
    command = ["env", *environ, "firewalld", "--nofork", "--nopid", "--log-target", "console"]
    with log, road.gateway.running(bus, stdout=log, stderr=log):
        eventually(place.exists)
        with road.gateway.running(command, stdout=log, stderr=log):
            ask = ["env", *environ, "firewall-cmd"]
            eventually(lambda: road.gateway.run([*ask, "--state"], check=False).returncode == 0, deadline=30)
            for zone, device in (("public", "wan"), ("internal", "home")):
                for where in ([], ["--permanent"]):
                    road.gateway.run([*ask, *where, f"--zone={zone}", f"--add-interface={device}"])
            yield dict(each.split("=", 1) for each in environ)


def _own_etc(host: Host) -> None:
    """Have firewalld write to a copy of its configuration: `ip netns exec` puts it over /etc/firewalld."""
    copy = Path("/etc/netns", host.netns, "firewalld")
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree("/etc/firewalld", copy, dirs_exist_ok=True)
    for zone in copy.glob("zones/*"):
        zone.unlink()


def theirs(road: Road, count: int) -> tuple[list[float], list[float], float]:
    """Seconds of each run-time addition, each permanent one, and the reload."""
    with tempfile.TemporaryDirectory(prefix="skm-") as folder, firewalld(road, Path(folder)) as environ:
        words = [f"{key}={value}" for key, value in environ.items()]
        command = ["env", *words, "/usr/bin/python3", "-c", ADDER]
        done = road.gateway.run([*command, str(FIRST_PORT), str(count), road.inside], timeout=3600)
        found = json.loads(done.stdout)
    return found["running"], found["kept"], found["reload"]


def ours(road: Road, count: int) -> tuple[list[float], float, float]:
    """Seconds of each `open`, of the reload, and of a restart."""
    took = []
    with (
        DaemonProcess(netns=road.gateway.netns) as daemon,
        closing(Kernel(road.gateway.call(NfSocket))) as kernel,
    ):
        for port in range(FIRST_PORT, FIRST_PORT + count):
            fields = {"ports": f"udp/{port}", "to": road.inside, "from": "anyone", "via": "kernel"}
            begun = time.perf_counter()
            daemon.client.open(fields)
            took.append(time.perf_counter() - begun)
        return took, _reload(road, kernel, daemon, count), _restart(road, kernel, daemon, count)


def _reload(road: Road, kernel: Kernel, daemon: DaemonProcess, count: int) -> float:
    begun = time.perf_counter()
    road.gateway.run(["nft", "delete", "table", "inet", TABLE])
    os.kill(daemon.pid, signal.SIGHUP)
    before = time.perf_counter() - begun
    return before + Clock(lambda: _is_whole(kernel, count), 0.002).read()


def _restart(road: Road, kernel: Kernel, daemon: DaemonProcess, count: int) -> float:
    begun = time.perf_counter()
    daemon.stop()
    road.gateway.run(["nft", "delete", "table", "inet", TABLE])
    held = Clock(lambda: _is_whole(kernel, count), 0.005)
    ready = Clock(lambda: answers(daemon.client), 0.01)
    before = time.perf_counter() - begun
    daemon.start()
    return before + max(held.read(), ready.read())


def _is_whole(kernel: Kernel, count: int) -> bool:
    return kernel.leads(FIRST_PORT + count - 1) and kernel.leads(FIRST_PORT)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT, help="of forwards")
    options = parser.parse_args()
    why = cannot("nft", "firewalld", "firewall-cmd", "dbus-daemon")
    if why is not None:
        print(f"cannot measure: {why}")
        return 1
    count = options.count
    with Lab() as lab:
        roads = build(lab, ("firewalld", "sekimori")).roads
        running, kept, reloaded = theirs(roads[0], count)
        opened, again, restarted = ours(roads[1], count)
    print(f"{count:,} forwards, one by one        {'firewalld':>12}{'sekimori':>12}")
    added = [one + other for one, other in zip(running, kept, strict=True)]
    rows = (
        ("all of them, s", sum(added), sum(opened)),
        ("the last hundred, median, ms", _last(added), _last(opened)),
        ("reloaded, s", reloaded, again),
        ("together, s", sum(added) + reloaded, sum(opened) + again),
    )
    for what, other, mine in rows:
        goal = verdict(other / mine, 20, at_most=False) if what == "together, s" else ""
        print(f"  {what:32}{other:12.2f}{mine:12.2f}  x {other / mine:6.1f}  {goal}", flush=True)
    other, mine = sum(running) + reloaded, sum(opened) + again
    print(f"  {'together, theirs run-time only':32}{other:12.2f}{mine:12.2f}  x {other / mine:6.1f}")
    print(f"  {'ours stopped and started, s':32}{'-':>12}{restarted:12.2f}")
    return 0


def _last(values: list[float]) -> float:
    return quantile(values[-100:], 0.5) * 1e3


if __name__ == "__main__":
    sys.exit(main())
