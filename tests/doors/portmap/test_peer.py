"""PEER (RFC 6887 §12) over real sockets."""

from __future__ import annotations

import pytest

from sekimori.model.lease import NonceRule
from sekimori.wire import pcp

from .house import CONSOLE, House, ask
from .test_pcp import Answer, granted, refusal

pytestmark = pytest.mark.loopback

FAR = ("198.51.100.7", 443)
ALSO = ("192.0.2.9", 53)


def kept(answer: Answer) -> tuple[int, int]:
    """The outside port and the lifetime."""
    assert isinstance(answer, pcp.Response), answer
    assert isinstance(answer.body, pcp.Peer)
    return answer.body.outside_port, answer.lifetime


async def test_a_peer_is_the_only_one_that_is_let_in(open_house: House) -> None:
    port, lifetime = kept(await ask(open_house.client().peer, 5000, FAR, 6000))
    (lease,) = open_house.leases
    assert (port, lifetime, str(lease.sources)) == (6000, 7200, "198.51.100.7/32")
    assert lease.lease is not None
    assert lease.lease.outbound


async def test_a_second_peer_of_the_same_port_joins_the_first(open_house: House) -> None:
    client = open_house.client()
    port, _ = kept(await ask(client.peer, 5000, FAR))
    assert kept(await ask(client.peer, 5000, ALSO, lifetime=120)) == (port, 7200)
    assert str(open_house.leases[0].sources) == "192.0.2.9/32,198.51.100.7/32"


async def test_peer_neither_shortens_nor_renames_nor_narrows_a_lease_of_map(open_house: House) -> None:
    client = open_house.client()
    granted(await ask(client.map, 5000, 6000, 3600))
    before = open_house.leases
    assert kept(await ask(client.peer, 5000, FAR, lifetime=120, nonce=b"another one!")) == (6000, 3600)
    assert open_house.leases == before
    assert kept(await ask(client.peer, 5000, FAR, lifetime=7200, nonce=b"another one!")) == (6000, 7200)
    (lease,) = open_house.leases
    assert (lease.name, lease.lease, lease.sources) == (before[0].name, before[0].lease, before[0].sources)
    kept(await ask(client.peer, 5000, FAR, lifetime=0))
    assert open_house.leases == [lease]


@pytest.mark.parametrize("by_pcp", [True, False])
async def test_map_opens_to_all_what_peer_had_for_one(open_house: House, by_pcp: bool) -> None:
    client = open_house.client()
    port, _ = kept(await ask(client.peer, 5000, FAR))
    if by_pcp:
        assert granted(await ask(client.map, 5000))[0].outside_port == port
    else:
        await ask(client.natpmp_map, 5000)
    (lease,) = open_house.leases
    assert lease.sources.anyone
    assert lease.lease is not None
    assert not lease.lease.outbound


async def test_a_peer_that_leaves_is_let_in_no_longer_and_the_last_takes_the_lease_along(
    open_house: House,
) -> None:
    client = open_house.client()
    await ask(client.peer, 5000, FAR)
    await ask(client.peer, 5000, ALSO)
    kept(await ask(client.peer, 5000, FAR, lifetime=0))
    assert str(open_house.leases[0].sources) == "192.0.2.9/32"
    kept(await ask(client.peer, 5000, FAR, lifetime=0))  # gone already
    kept(await ask(client.peer, 5000, ALSO, lifetime=0))
    assert open_house.leases == []


async def test_peer_wants_the_port_it_had_or_none(open_house: House) -> None:
    client = open_house.client()
    kept(await ask(client.peer, 5000, FAR, 6000))
    other = await ask(client.peer, 5000, FAR, 6001)
    assert refusal(other)[0] == pcp.Result.CANNOT_PROVIDE_EXTERNAL
    taken = await ask(open_house.client(CONSOLE).peer, 5000, FAR, 6000)
    assert refusal(taken)[0] == pcp.Result.CANNOT_PROVIDE_EXTERNAL
    assert len(open_house.leases) == 1


async def test_a_peer_of_the_other_family_cannot_be_reached(open_house: House) -> None:
    answer = await ask(open_house.client().peer, 5000, ("2001:db8::1", 53))
    assert refusal(answer)[0] == pcp.Result.CANNOT_PROVIDE_EXTERNAL


async def test_one_port_has_so_many_peers_and_no_more(open_house: House) -> None:
    client = open_house.client()
    for last in range(16):
        kept(await ask(client.peer, 5000, (f"198.51.100.{last}", 53)))
    answer = await ask(client.peer, 5000, ALSO)
    assert refusal(answer)[0] == pcp.Result.NO_RESOURCES
    assert len(open_house.leases[0].sources.prefixes) == 16


async def test_a_strict_rule_holds_for_peer_as_well(house: House) -> None:
    async with house.running(NonceRule.STRICT):
        client = house.client()
        await ask(client.map, 5000, 6000)
        answer = await ask(client.peer, 5000, FAR, lifetime=120, nonce=b"another one!")
        assert refusal(answer)[0] == pcp.Result.NOT_AUTHORIZED
