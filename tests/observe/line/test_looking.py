"""Asking real servers over loopback, good ones and bad ones."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterator

import pytest

from sekimori.model.behaviour import Endpoint, FilteringBehaviour, MappingBehaviour
from sekimori.observe.line.looking import ask_servers
from sekimori.testing.stunserver import Manner, StunServer
from sekimori.wire.natbehaviour import Timing

pytestmark = pytest.mark.loopback

HERE = ipaddress.ip_address("127.0.0.1")
QUICK = Timing(first=0.05, times=2, last=0.15)


@pytest.fixture(params=[each for each in Manner if each is not Manner.HONEST])
def bad(request: pytest.FixtureRequest) -> Iterator[tuple[Manner, StunServer]]:
    with StunServer("127.0.0.1", "127.0.0.2", request.param) as server:
        yield request.param, server


async def test_an_honest_server_sees_us_as_we_are() -> None:
    with StunServer("127.0.0.1", "127.0.0.2") as server:
        found = await ask_servers(HERE, "lo", [server.endpoint], QUICK)
    assert found.mapping is MappingBehaviour.UNTRANSLATED
    assert found.filtering is FilteringBehaviour.ENDPOINT_INDEPENDENT
    assert found.mapped is not None
    assert found.mapped.address == HERE


async def test_bad_servers_tell_no_more_than_is_true(bad: tuple[Manner, StunServer]) -> None:
    manner, server = bad
    found = await ask_servers(HERE, "lo", [server.endpoint], QUICK)
    (seen,) = found.seen
    assert seen.silent is (manner is Manner.SILENT)
    assert seen.refusal == (401 if manner is Manner.REFUSES else None)
    if manner is Manner.GARBAGE:
        assert found.filtering is FilteringBehaviour.ENDPOINT_INDEPENDENT
    else:
        assert found.filtering is FilteringBehaviour.UNKNOWN
    if manner in (Manner.LIES, Manner.DEAF, Manner.SINGLE, Manner.GARBAGE):
        assert found.mapping is MappingBehaviour.UNTRANSLATED


async def test_one_good_server_among_bad_ones_is_enough() -> None:
    with (
        StunServer("127.0.0.3", "127.0.0.4", Manner.SILENT) as silent,
        StunServer("127.0.0.5", "127.0.0.6", Manner.REFUSES) as refusing,
        StunServer("127.0.0.1", "127.0.0.2") as good,
    ):
        found = await ask_servers(HERE, "lo", [silent.endpoint, refusing.endpoint, good.endpoint], QUICK)
        assert silent.asked == QUICK.times
        assert refusing.asked == 1
    assert [each.mapped is not None for each in found.seen] == [False, False, True]
    assert found.filtering is FilteringBehaviour.ENDPOINT_INDEPENDENT


async def test_what_strangers_send_meanwhile_does_not_matter() -> None:
    """A flood at the very port that asks, while the exam waits for a silent server."""
    sent = asyncio.Event()

    async def flood(port: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for each in range(2000):
                sock.sendto(b"\x01\x01" + bytes(18) + each.to_bytes(2), ("127.0.0.1", port))
                if each % 100 == 0:
                    await asyncio.sleep(0)
        sent.set()

    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    with listener:
        listener.bind(("127.0.0.9", 0))
        asked = Endpoint(ipaddress.ip_address("127.0.0.9"), listener.getsockname()[1])
        async with asyncio.TaskGroup() as group:
            looking = group.create_task(ask_servers(HERE, "lo", [asked], QUICK))
            _, peer = await asyncio.get_running_loop().sock_recvfrom(listener, 100)
            group.create_task(flood(peer[1]))
    assert sent.is_set()
    assert looking.result().seen[0].silent


async def test_what_cannot_be_sent_is_an_error() -> None:
    nobody = Endpoint(ipaddress.ip_address("192.0.2.1"), 3478)
    with pytest.raises(OSError):
        await ask_servers(ipaddress.ip_address("192.0.2.77"), "lo", [nobody], QUICK)  # not ours
    with pytest.raises(OSError):
        await ask_servers(HERE, "skm-no-such", [nobody], QUICK)
    with pytest.raises(OSError):
        # From a loopback address nothing leaves the machine.
        await ask_servers(HERE, "lo", [Endpoint(ipaddress.ip_address("255.255.255.255"), 3478)], QUICK)


async def test_ipv6() -> None:
    here = ipaddress.ip_address("::1")
    with StunServer("::1", None, Manner.SINGLE) as server:
        found = await ask_servers(here, "lo", [server.endpoint], QUICK)
    assert found.mapping is MappingBehaviour.UNTRANSLATED
    assert found.mapped is not None
    assert found.mapped.address == here
