"""What a change ends: bytes that go on flowing, and those that stop, when a mapping of the kernel changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from sekimori.testing.netlab import HomeNetwork, Host
from sekimori.testing.peers import Transfer, eventually
from sekimori.testing.ports import free_ports

from .home import Home
from .talks import SHORT, Talk, go_on, have_ended, talk

pytestmark = pytest.mark.netns

GATEWAY, SERVER, DESKTOP = HomeNetwork.GATEWAY, HomeNetwork.SERVER, HomeNetwork.DESKTOP
VISITOR, STRANGER = HomeNetwork.VISITOR, HomeNetwork.STRANGER


class Scene:
    """Two mappings, an IPv4 forward and an IPv6 pinhole, and two more beside them to the same server.

    Outside ports are the inside ones: where the gateway translates what the LAN sends out, a connection whose
    flow was forgotten would otherwise go on as one of the server's own.
    """

    def __init__(self, home: Home, stack: ExitStack, is_guarded: bool, **words: object) -> None:
        self.home, self._stack, self._is_guarded = home, stack, is_guarded
        self.port, self.beside = free_ports(), free_ports()
        for family in (0, 1):
            for port in (self.port, self.beside):
                home.server.tcp_echo(SERVER[family], port)
                home.server.udp_echo(SERVER[family], port)
            home.desktop.tcp_echo(DESKTOP[family], self.port)
            home.desktop.udp_echo(DESKTOP[family], self.port)
        self.views = [self._open(self.port, family, **words) for family in (0, 1)]
        for family in (0, 1):
            self._open(self.beside, family)

    def _open(self, port: int, family: int, **words: object) -> dict[str, Any]:
        fields: dict[str, object] = {"to": SERVER[family], "from": "anyone", **words}
        return self.home.open({"ports": f"tcp+udp/{port}", **fields})

    def talks(self, host: Host, port: int, kinds: str = "tcp udp") -> list[Talk]:
        """Conversations from a host by a port, in both families."""
        source = {self.home.net.visitor: VISITOR, self.home.net.stranger: STRANGER}[host]
        made = [
            talk(self._stack, kind, host, (source[family], 0), (self.at(family), port))
            for kind in kinds.split()
            for family in (0, 1)
        ]
        assert go_on(made)
        return made

    def doomed(self, host: Host) -> list[Talk]:
        """What ends with the mappings: not UDP by IPv6 where no firewall keeps out who has no pinhole."""
        made = self.talks(host, self.port)
        return made if self._is_guarded else made[:3]

    def transfers(self) -> list[Transfer]:
        """Connections of the visitor's that carry as much as they can, both ways."""
        made = [Transfer(self.home.visitor.dial(self.port, self.at(family))) for family in (0, 1)]
        eventually(lambda: all(each.blocks > 3 for each in made))
        return made

    def at(self, family: int) -> str:
        """Where the mapping of a family is found."""
        return (GATEWAY[0], SERVER[1])[family]


@pytest.fixture(params=["bare", "gateway"])
def scene_of(kernel_home: Home, request: pytest.FixtureRequest) -> Iterator[Callable[..., Scene]]:
    """Makes the scene, on a machine that is no more than a router, and on one that is a gateway."""
    if request.param == "gateway":
        kernel_home.daemon.client.enable_gateway(masquerade=True, firewall=True)
    with ExitStack() as stack:
        yield lambda **words: Scene(kernel_home, stack, request.param == "gateway", **words)


def stand_still(transfers: list[Transfer]) -> bool:
    """Whether nothing comes through any more, though both ends still try (TCP does after 0.2 s).

    What had come already may be read a little later.
    """
    before = [-1]
    for _ in range(4):
        now = [each.blocks for each in transfers]
        if now == before:
            return True
        before = now
        _let_pass(2 * SHORT)
    return False


def _let_pass(seconds: float) -> None:
    end = time.monotonic() + seconds
    eventually(lambda: time.monotonic() > end)


def test_closing_ends_all_of_it_and_nothing_else(scene_of: Callable[..., Scene]) -> None:
    scene = scene_of()
    net, client = scene.home.net, scene.home.daemon.client
    mine = [*scene.doomed(net.visitor), *scene.doomed(net.stranger)]
    others = [*scene.talks(net.visitor, scene.beside), *scene.talks(net.stranger, scene.beside)]
    transfers = scene.transfers()
    for view in scene.views:
        client.close(view["id"], now=True)
    assert stand_still(transfers)
    assert have_ended(mine)
    assert go_on(others)


def test_expiring_ends_all_of_it_and_nothing_else(scene_of: Callable[..., Scene]) -> None:
    scene = scene_of(**{"for": "3s"})
    net, client = scene.home.net, scene.home.daemon.client
    mine = scene.doomed(net.visitor)
    others = scene.talks(net.visitor, scene.beside)
    transfers = scene.transfers()
    gone = {view["id"] for view in scene.views}
    eventually(lambda: not gone & {view["id"] for view in client.mappings()})
    assert stand_still(transfers)
    assert have_ended(mine)
    assert go_on(others)


def test_narrowing_ends_those_who_may_not_come_any_more(scene_of: Callable[..., Scene]) -> None:
    scene = scene_of()
    net, client = scene.home.net, scene.home.daemon.client
    mine, others = scene.talks(net.visitor, scene.port), scene.talks(net.visitor, scene.beside)
    others += scene.talks(net.stranger, scene.port)
    transfers = scene.transfers()
    for view, source in zip(scene.views, STRANGER, strict=True):
        client.edit(view["id"], {"from": source})
    assert stand_still(transfers)
    assert have_ended(mine)
    assert go_on(others)


def test_leading_it_elsewhere_ends_what_went_to_the_old_target(scene_of: Callable[..., Scene]) -> None:
    """A pinhole to another host is at another address; a forward is where it was, and UDP goes on there."""
    scene = scene_of()
    net, client = scene.home.net, scene.home.daemon.client
    tcp, others = scene.talks(net.visitor, scene.port, "tcp"), scene.talks(net.visitor, scene.beside)
    datagrams = scene.talks(net.visitor, scene.port, "udp")
    transfers = scene.transfers()
    for view, target in zip(scene.views, DESKTOP, strict=True):
        client.edit(view["id"], {"to": target})
    assert stand_still(transfers)
    assert have_ended(tcp)
    assert go_on(others)
    assert go_on(datagrams[:1])
    assert scene.home.visitor.accepts(scene.port, DESKTOP[1])


def test_a_ban_ends_what_its_prefix_has_and_keeps_it_out(scene_of: Callable[..., Scene]) -> None:
    scene = scene_of()
    net, client = scene.home.net, scene.home.daemon.client
    mine = [*scene.talks(net.visitor, scene.port), *scene.talks(net.visitor, scene.beside)]
    others = [*scene.talks(net.stranger, scene.port), *scene.talks(net.stranger, scene.beside)]
    transfers = scene.transfers()
    for prefix in ("198.51.100.8/29", f"{VISITOR[1]}/128"):
        client.ban(prefix, {"for": "1h"})
    assert stand_still(transfers)
    assert have_ended(mine)
    assert go_on(others)
    for prefix in ("198.51.100.8/29", f"{VISITOR[1]}/128"):
        client.unban(prefix)
    assert go_on(scene.talks(net.visitor, scene.port))


def test_a_kill_ends_connections_that_could_be_had_again(scene_of: Callable[..., Scene]) -> None:
    scene = scene_of()
    net, client = scene.home.net, scene.home.daemon.client
    mine, others = scene.talks(net.visitor, scene.port, "tcp"), scene.talks(net.visitor, scene.beside)
    strangers = scene.talks(net.stranger, scene.port)
    transfers = scene.transfers()
    assert (
        sum(client.kill(view["id"], f"{source}") for view, source in zip(scene.views, VISITOR, strict=True))
        >= 4
    )
    assert stand_still(transfers)
    assert have_ended(mine)
    assert go_on([*others, *strangers])
    assert go_on(scene.talks(net.visitor, scene.port))


def test_opening_frees_peers_that_sent_before(scene_of: Callable[..., Scene]) -> None:
    """A peer's datagrams keep its flow to nowhere alive for as long as they come."""
    scene = scene_of()
    home, port = scene.home, free_ports()
    home.server.udp_echo(SERVER[0], port)
    with ExitStack() as stack:
        early = talk(stack, "udp", home.net.visitor, (VISITOR[0], 0), (GATEWAY[0], port))
        assert not early(SHORT)
        home.open({"ports": f"udp/{port}", "to": SERVER[0], "from": "anyone"})
        assert go_on([early])


def test_peers_are_freed_of_ports_opened_close_upon_each_other(scene_of: Callable[..., Scene]) -> None:
    """Conntrack is not looked through after each, and so the later ones wait their turn."""
    scene = scene_of()
    home, first = scene.home, free_ports(3)
    with ExitStack() as stack:
        early = {}
        for port in range(first, first + 3):
            home.server.udp_echo(SERVER[0], port)
            early[port] = talk(stack, "udp", home.net.visitor, (VISITOR[0], 0), (GATEWAY[0], port))
            assert not early[port](SHORT)
        for port in early:
            home.open({"ports": f"udp/{port}", "to": SERVER[0], "from": "anyone"})
            assert port > first + 1 or go_on([early[port]])
        assert go_on(early.values())
