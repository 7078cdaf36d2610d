"""Ports through SSH over a long path, 100 ms there and back; see `bench.links`."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.links_lab import Tunnel
from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.longpath import FAR, LongPath, why_no_path
from sekimori.testing.netlab import Host, Lab, why_not
from sekimori.testing.peers import eventually
from sekimori.testing.sshd import Sshd

DELAY = 0.05
SSHD, DOOR, PLACE = 2200, 2222, 5201
OPENSSH, STOCK, OURS = 8000, 8001, 8002
WARM = 2
"""Seconds that are not counted: windows grow, TCP's among them."""


def why_no_far() -> str | None:
    """Why it cannot be measured here; None where it can."""
    return why_not() or why_no_path()


@contextmanager
def far_tunnels(run: Path) -> Iterator[tuple[Host, list[Tunnel]]]:
    """The host to measure from, and its ports that lead to iperf3 at the far end. Ours to ours is first."""
    with ExitStack() as stack:
        lab = stack.enter_context(Lab())
        near, far = lab.host("near"), lab.host("far")
        stack.enter_context(LongPath(near, far, DELAY))
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        stack.enter_context(far.running(["iperf3", "-s", "-p", str(PLACE)], **quiet))
        sshd = Sshd(run / "sshd", {"ListenAddress": "0.0.0.0"}, SSHD)
        stack.callback(sshd.kill)
        far.call(sshd.start)
        laptop = stack.enter_context(DaemonProcess(netns=near.netns))
        gateway = stack.enter_context(DaemonProcess(netns=far.netns))
        link(laptop, "gate", sshd.key, DOOR, open_door(gateway, sshd.key), OURS)
        link(laptop, "stock", sshd.key, SSHD, sshd.host_key_line.split(maxsplit=1)[1], STOCK)
        stack.enter_context(near.running(ssh_words(sshd.key), stdin=subprocess.DEVNULL))
        yield (
            near,
            [
                Tunnel("both ours", OURS, []),
                Tunnel("openssh", OPENSSH, []),
                Tunnel("ours to sshd", STOCK, []),
            ],
        )


def far_throughput(host: Host, tunnel: Tunnel, seconds: int) -> None:
    """Both ways, one after the other."""
    for name, words in (("from far", ["-R"]), ("to far", [])):
        command = ["iperf3", "-c", "127.0.0.1", "-p", str(tunnel.base), "-J", "-O", str(WARM), *words]
        for _ in range(40):  # the server takes one test at a time and needs a moment between two
            done = host.run([*command, "-t", str(seconds)], check=False, timeout=60)
            result = json.loads(done.stdout or "{}")
            if "sum_received" in result.get("end", {}):
                break
            time.sleep(0.2)
        tunnel.note(f"Gbit/s {name}, 1 stream", result["end"]["sum_received"]["bits_per_second"] / 1e9)


def open_door(gateway: DaemonProcess, key: Path) -> str:
    """Have an SSH door at the far end; its fingerprint."""
    public = Path(f"{key}.pub").read_text().strip()
    grant = {"to": ["127.0.0.1"], "quota": "none"}
    gateway.client.add_user("bench", {"keys": [public], "grant": grant})
    gateway.client.change_doors({"ssh": {"listen": [f"{FAR}:{DOOR}"]}})

    def host_keys() -> list[str]:
        (door,) = [each for each in gateway.client.doors()["doors"] if each["name"] == "ssh"]
        keys: list[str] = door["host_keys"]
        return keys

    eventually(lambda: bool(host_keys()), 20)
    return host_keys()[0].split()[1]


def link(laptop: DaemonProcess, name: str, key: Path, port: int, host_key: str, through: int) -> None:
    """Have a link to the far end, and a port that leads through it."""
    fields = {"identity": [str(key)], "host_keys": [host_key], "config": "none"}
    laptop.client.put_link(name, {"to": f"ssh://root@{FAR}:{port}", **fields})
    eventually(lambda: bool(laptop.client.link(name)["phase"] == "up"), 20)
    laptop.client.open({"ports": str(through), "to": f"127.0.0.1:{PLACE}", "via": name, "on": "127.0.0.1"})


def ssh_words(key: Path) -> list[str]:
    """OpenSSH's client with the port that leads through it."""
    known = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    forward = ["-L", f"127.0.0.1:{OPENSSH}:127.0.0.1:{PLACE}"]
    return ["ssh", "-F", "none", "-N", "-i", str(key), "-p", str(SSHD), *known, *forward, f"root@{FAR}"]
