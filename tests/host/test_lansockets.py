"""Sockets of one interface, on the loopback; multicast among hosts is in `netns`."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from sekimori.host.lansockets import Datagram, LanSocket, open_lan_socket, serving
from sekimori.testing.peers import DEADLINE, eventually
from sekimori.testing.ports import free_ports

pytestmark = pytest.mark.loopback

LOOP = socket.if_nametoindex("lo")


@pytest.fixture(params=[4, 6])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[LanSocket, socket.socket, int]]:
    version, port = request.param, free_ports()
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with (
        closing(open_lan_socket("lo", version, port)) as here,
        socket.socket(family, socket.SOCK_DGRAM) as peer,
    ):
        peer.settimeout(DEADLINE)
        yield here, peer, port


def test_a_datagram_tells_from_where_and_to_where(pair: tuple[LanSocket, socket.socket, int]) -> None:
    here, peer, port = pair
    to = "127.0.0.7" if here.version == 4 else "::1"
    assert here.receive() is None
    peer.sendto(b"hello", (to, port))
    got = eventually(here.receive)
    assert got == Datagram(
        b"hello",
        ipaddress.ip_address("127.0.0.1" if here.version == 4 else "::1"),
        peer.getsockname()[1],
        ipaddress.ip_address(to),
        LOOP,
    )
    # The answer comes from the address that was asked, of however many there are.
    here.answer(got, b"and you")
    data, sender = peer.recvfrom(100)
    assert (data, sender[0], sender[1]) == (b"and you", to, port)


def test_an_answer_that_meets_nobody_does_no_harm(pair: tuple[LanSocket, socket.socket, int]) -> None:
    here, peer, port = pair
    to = "127.0.0.1" if here.version == 4 else "::1"
    peer.sendto(b"hello", (to, port))
    got = eventually(here.receive)
    gone = free_ports()
    here.send(b"is anybody there?", got.source, gone)
    peer.sendto(b"again", (to, port))
    assert eventually(here.receive).data == b"again"


@pytest.mark.parametrize("version", [4, 6])
def test_a_port_that_another_has_is_not_shared_unless_both_say_so(version: int) -> None:
    port = free_ports()
    with closing(open_lan_socket("lo", version, port)), pytest.raises(OSError, match="in use"):
        open_lan_socket("lo", version, port)
    with closing(open_lan_socket("lo", version, port, shared=True)):
        open_lan_socket("lo", version, port, shared=True).close()


def test_both_families_have_the_port_beside_each_other() -> None:
    port = free_ports()
    with closing(open_lan_socket("lo", 4, port)), closing(open_lan_socket("lo", 6, port)):
        pass


def test_an_interface_that_is_not_there_is_an_error() -> None:
    with pytest.raises(OSError, match=r"no interface|No such device"):
        open_lan_socket("gone0", 4, 0)


def test_a_group_is_heard_where_it_was_joined() -> None:
    port, group = free_ports(), "239.255.77.77"
    with (
        closing(open_lan_socket("lo", 4, port, groups=[group], loop_back=True)) as here,
        closing(open_lan_socket("lo", 4, 0, loop_back=True)) as there,
    ):
        there.send_group(b"to all", group, port, ipaddress.ip_address("127.0.0.1"))
        got = eventually(here.receive)
        assert (got.data, str(got.destination)) == (b"to all", group)
        here.answer(got, b"to one")
        back = eventually(there.receive)
        assert (back.data, back.port) == (b"to one", port)


async def test_serving_hands_over_what_comes_until_its_end() -> None:
    port = free_ports()
    got: list[bytes] = []
    with (
        closing(open_lan_socket("lo", 4, port)) as here,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
    ):
        three = asyncio.Event()

        def take(datagram: Datagram) -> None:
            got.append(datagram.data)
            if len(got) == 3:
                three.set()

        with serving(here, take, lambda error: pytest.fail(str(error))):
            for data in (b"1", b"2", b"3"):
                peer.sendto(data, ("127.0.0.1", port))
            async with asyncio.timeout(DEADLINE):
                await three.wait()
        peer.sendto(b"4", ("127.0.0.1", port))
        left = eventually(here.receive)
    assert (got, left.data) == ([b"1", b"2", b"3"], b"4")
