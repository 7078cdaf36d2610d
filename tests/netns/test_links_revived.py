"""Whatever ends, freezes or is cut between a laptop behind two NATs and its gateway, its ports come back.

Three ports of the gateway lead to the laptop at once: by a link between two daemons of ours, by a link to an
OpenSSH server, and by OpenSSH's client at our door. Each harm is done to all that it concerns, and then all
three have to work again, under the same numbers, while somebody else keeps trying to get those of our door.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.peers import eventually, is_alive

from .linklab import (
    PAGE,
    Insistent,
    LinkLab,
    children,
    descriptors,
    link_lab,
    page,
    seconds_until,
    why_no_link_lab,
)

pytestmark = [
    pytest.mark.netns,
    pytest.mark.interop,
    pytest.mark.timeout(120),
    pytest.mark.skipif(why_no_link_lab() is not None, reason=str(why_no_link_lab())),
]

BACK = 15.0
"""Seconds in which a port has to work again once nothing but time is in its way."""
SILENT = 12.0
"""Seconds for which the path is cut: longer than either end waits for a word."""
FROZEN = 10.0
WEB = 3000
PORTS = {"ours": 8001, "stock server": 8002, "stock client": 8003}
FEW = 4
"""Descriptors that a process may have more than before: flows under way at the moment they are counted."""


@dataclass
class Ways:
    """The three ports, and who wants them.

    Attributes:
        client: OpenSSH's, started again whenever it ends.
        back: seconds until each port worked again, by harm and port.
    """

    net: LinkLab
    client: Insistent
    extra: ExitStack
    back: dict[str, dict[str, float]] = field(default_factory=dict)

    def works(self, name: str) -> bool:
        return self.net.fetch(PORTS[name]) == PAGE

    def all_work(self) -> bool:
        return all(map(self.works, PORTS))

    def come_back(
        self, within: float = BACK, begun: float | None = None, names: Iterable[str] = PORTS
    ) -> dict[str, float]:
        """Wait until each works; after how many seconds each did, from now or a time that has passed."""
        found: dict[str, float] = {}
        wanted = set(names)
        begun = time.monotonic() if begun is None else begun

        def look() -> bool:
            for name in wanted - found.keys():
                if self.works(name):
                    found[name] = round(time.monotonic() - begun, 1)
            return wanted == found.keys()

        try:
            seconds_until(look, within)
        except AssertionError:
            raise AssertionError(f"after {within:g} s only {found} were back") from None
        return found

    def link_pids(self) -> list[int]:
        return children(self.net.near.pid, "sekimori.planes.link")

    def door_pid(self) -> int:
        (pid,) = children(self.net.far.pid, "sekimori.doors.ssh")
        return pid

    def processes(self) -> dict[str, int]:
        """All that should outlive others, by name."""
        found = {"the laptop's daemon": self.net.near.pid, "the gateway's daemon": self.net.far.pid}
        found["the door"] = self.door_pid()
        for name, pids in (
            ("link", self.link_pids()),
            ("the laptop's worker", self.net.near.worker_pids),
            ("the gateway's worker", self.net.far.worker_pids),
        ):
            found |= {f"{name} {number}": pid for number, pid in enumerate(pids)}
        return found


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    with link_lab(tmp_path_factory.mktemp("links")) as net, page(net.laptop, WEB), ExitStack() as stack:
        for name, link in (("ours", "gw"), ("stock server", "stock")):
            net.link(link)
            words = ("--to", "127.0.0.1", "--at", link, "--from", "anyone", "--name", link)
            net.cli("open", f"{PORTS[name]}:{WEB}", *words)
        command = net.ssh("-N", "-R", f"{PORTS['stock client']}:127.0.0.1:{WEB}")
        client = stack.enter_context(Insistent(net.laptop, command))
        made = Ways(net, client, stack.enter_context(ExitStack()))
        made.come_back()
        yield made
    print()
    for harm, seconds in made.back.items():
        told = ", ".join(f"{name} {seconds[name]:.1f} s" for name in PORTS if name in seconds)
        print(f"back after {harm}: {told}")


@contextlib.contextmanager
def coveted(net: LinkLab, directory: Path) -> Iterator[None]:
    """Somebody else, with a key of the same rights, tries again and again to get the ports of the door."""
    said = directory / "eve"
    wanted = [PORTS["ours"], PORTS["stock client"]]
    forwards = [word for port in wanted for word in ("-R", f"{port}:127.0.0.1:1")]
    # It stays for as long as it gets only one of them: so every try asks for both.
    command = net.ssh("-v", "-N", *forwards, "-o", "ExitOnForwardFailure=no", key=net.eves_key)
    with Insistent(net.stranger, ["timeout", "-s", "KILL", "2", *command], said):
        yield
        eventually(lambda: "remote forward failure for" in said.read_text() or None)
    assert "remote forward success for" not in said.read_text()


# -- what is done to them ---------------------------------------------------------------------------


def _kill(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        eventually(lambda pid=pid: not is_alive(pid))  # type: ignore[misc]


def _freeze(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)


def kill_the_laptops_daemon(ways: Ways) -> None:
    ways.net.near.kill9()
    ways.net.near.start()


def kill_the_links(ways: Ways) -> None:
    _kill(*ways.link_pids())


def freeze_the_links(ways: Ways) -> None:
    _freeze(*ways.link_pids())


def kill_the_laptops_workers(ways: Ways) -> None:
    _kill(*ways.net.near.worker_pids)


def kill_the_gateways_daemon(ways: Ways) -> None:
    ways.net.far.kill9()
    ways.net.far.start()


def kill_the_door(ways: Ways) -> None:
    _kill(ways.door_pid())


def freeze_the_door(ways: Ways) -> None:
    _freeze(ways.door_pid())


def kill_the_gateways_workers(ways: Ways) -> None:
    _kill(*ways.net.far.worker_pids)


def kill_the_stock_server(ways: Ways) -> None:
    ways.net.sshd.kill()
    ways.net.gateway.call(ways.net.sshd.start)


def freeze_the_stock_server(ways: Ways) -> float:
    ways.net.sshd.freeze()
    time.sleep(FROZEN)  # what is tested is that so long a silence is noticed
    ways.net.sshd.thaw()
    return FROZEN


def kill_the_stock_client(ways: Ways) -> None:
    ways.client.signal(signal.SIGKILL)


def freeze_the_stock_client_and_start_another(ways: Ways) -> None:
    ways.client.signal(signal.SIGSTOP)
    net = ways.net
    command = net.ssh("-N", "-R", f"{PORTS['stock client']}:127.0.0.1:{WEB}")
    ways.extra.enter_context(net.laptop.running(command))


def cut_the_path(ways: Ways) -> float:
    ways.net.cut()
    time.sleep(SILENT)  # what is tested is that so long a silence is noticed
    ways.net.mend()
    return SILENT


def lose_the_translations(ways: Ways) -> None:
    ways.net.forget_translations()


def kill_both_daemons(ways: Ways) -> None:
    ways.net.near.kill9()
    ways.net.far.kill9()
    ways.net.near.start()  # the one that dials first: nobody is there yet
    ways.net.far.start()


def cut_the_path_while_the_laptops_daemon_is_killed(ways: Ways) -> None:
    """The gateway never hears that the laptop's connections ended."""
    ways.net.cut()
    ways.net.near.kill9()
    ways.net.mend()
    ways.net.near.start()


Harm = Callable[[Ways], float | None]
"""Does it, and returns how many seconds it was made to last: before that nothing can come back."""

HARMS: tuple[Harm, ...] = (
    kill_the_laptops_daemon,
    kill_the_links,
    freeze_the_links,
    kill_the_laptops_workers,
    kill_the_gateways_daemon,
    kill_the_door,
    freeze_the_door,
    kill_the_gateways_workers,
    kill_the_stock_server,
    freeze_the_stock_server,
    kill_the_stock_client,
    freeze_the_stock_client_and_start_another,
    cut_the_path,
    cut_the_path_while_the_laptops_daemon_is_killed,
    lose_the_translations,
    kill_both_daemons,
)


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_the_ports_come_back(ways: Ways, harm: Harm, tmp_path: Path) -> None:
    assert ways.all_work()
    ids = {view["id"] for view in ways.net.far.client.mappings()}
    with coveted(ways.net, tmp_path):
        begun = time.monotonic()
        lasted = harm(ways) or 0.0
        back = ways.back[harm.__name__] = ways.come_back(begun=begun + lasted)
    assert max(back.values()) <= BACK
    assert {view["id"] for view in ways.net.far.client.mappings()} == ids
    ways.extra.close()
    if harm is freeze_the_stock_client_and_start_another:
        ways.client.signal(signal.SIGKILL)  # the one that stood still all the while
        ways.come_back()


def test_another_address_and_a_server_that_is_not_told(ways: Ways, tmp_path: Path) -> None:
    """Nothing reaches whoever had the former address: an OpenSSH server that does not ask keeps its port."""
    wanted = PORTS.keys() - {"stock server"}
    with coveted(ways.net, tmp_path):
        begun = time.monotonic()
        ways.net.renumber()
        back = ways.back["another address"] = ways.come_back(begun=begun, names=wanted)
    assert max(back.values()) <= BACK
    status = ways.net.near.client.get("stock")["status"]
    assert (status["state"], status["problem"]["code"]) == ("failed", "link-port-taken")
    ways.net.sshd.cut()  # what the person does who is told so
    ways.back["the server's sessions end"] = ways.come_back()


def test_eve_could_have_had_a_port_of_her_own(ways: Ways, tmp_path: Path) -> None:
    """So that it means something that she did not get the others."""
    said = tmp_path / "eve"
    command = ways.net.ssh("-v", "-N", "-R", "8009:127.0.0.1:1", key=ways.net.eves_key)
    with Insistent(ways.net.stranger, command, said):
        eventually(lambda: "remote forward success for" in said.read_text() or None)
    (view,) = [each for each in ways.net.far.client.mappings() if each["owner"] == "key:eve"]
    ways.net.far.client.close(view["id"])


ROUNDS = 5


@pytest.mark.parametrize("harm", [kill_the_links, kill_the_door], ids=lambda harm: harm.__name__)
def test_nothing_is_left_open_after_many_losses(ways: Ways, harm: Harm) -> None:
    ways.come_back()
    begun = ways.processes()
    before = {name: descriptors(pid) for name, pid in begun.items()}
    for _ in range(ROUNDS):
        harm(ways)
        ways.come_back()
    ended = ways.processes()
    survivors = {name: pid for name, pid in begun.items() if ended.get(name) == pid}
    assert len(survivors) >= len(begun) - 2  # all but those that were killed
    eventually(lambda: not _more(survivors, before) or None)
    assert ended.keys() == begun.keys()
    for daemon in (ways.net.near, ways.net.far):
        assert all(map(is_alive, children(daemon.pid)))
    assert len(children(ways.net.near.pid)) == 2 + _workers_of(ways.net.near)
    assert len(children(ways.net.far.pid)) == 1 + _workers_of(ways.net.far)


def _more(pids: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    """Those that have more descriptors than they had, and how many more."""
    more = {name: descriptors(pid) - before[name] for name, pid in pids.items()}
    return {name: count for name, count in more.items() if count > FEW}


def _workers_of(daemon: DaemonProcess) -> int:
    return len(set(children(daemon.pid)) & set(daemon.worker_pids))


def test_no_process_is_left_in_the_end(ways: Ways) -> None:
    """The last of this module: it ends both daemons, as their owners do."""
    for daemon in (ways.net.near, ways.net.far):
        below = children(daemon.pid)
        assert below
        daemon.close()
        assert [pid for pid in below if is_alive(pid)] == []
    ours = [pid for host in (ways.net.laptop, ways.net.gateway) for pid in _ours(host.netns)]
    assert ours == []


def _ours(netns: str) -> list[str]:
    """What of this program runs in a namespace."""
    pids = subprocess.run(["ip", "netns", "pids", netns], capture_output=True, text=True, check=True).stdout
    commands = [Path(f"/proc/{pid}/cmdline") for pid in pids.split()]
    return [text for each in commands if each.exists() and "sekimori" in (text := each.read_text())]
