"""PCP (RFC 6887, RFC 7753) over real sockets: MAP, ANNOUNCE and their options."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Any

import pytest

from sekimori.model.errors import Problem
from sekimori.model.lease import NonceRule
from sekimori.wire import natpmp, pcp
from sekimori.wire.pcpoptions import Filter, PortSet, PreferFailure, ThirdParty

from .house import CONSOLE, OUTSIDE, PHONE, House, ask, device_at

pytestmark = pytest.mark.loopback

Answer = pcp.Response | pcp.ErrorResponse | pcp.OtherVersion


def filter_of(text: str, port: int = 0) -> Filter:
    return Filter.of(ipaddress.ip_network(text), port)


CLEAR = Filter(ipaddress.ip_address("::"), 0, 0)


def granted(answer: Answer) -> tuple[pcp.Map, int]:
    assert isinstance(answer, pcp.Response), answer
    assert isinstance(answer.body, pcp.Map)
    return answer.body, answer.lifetime


def refusal(answer: Answer) -> tuple[int, int]:
    """The result and for how long it stands."""
    assert isinstance(answer, pcp.ErrorResponse), answer
    return answer.result, answer.lifetime


async def test_announce_is_answered_with_the_epoch(open_house: House) -> None:
    open_house.inside.pass_time(90)
    answer = await ask(open_house.client().announce)
    assert isinstance(answer, pcp.Response)
    assert (answer.body, answer.epoch, answer.lifetime) == (pcp.Announce(), 90, 0)


async def test_a_mapping_tells_its_outside_and_keeps_the_nonce(open_house: House) -> None:
    client = open_house.client()
    body, lifetime = granted(await ask(client.map, 5000, 6000, 3600, protocol=6))
    assert (str(body.outside_address), body.outside_port, lifetime) == (OUTSIDE, 6000, 3600)
    assert (body.nonce, body.inside_port, body.protocol) == (client.nonce, 5000, 6)
    (lease,) = open_house.leases
    assert lease.owner == device_at(PHONE)
    assert lease.lease is not None
    assert lease.lease.nonce == client.nonce.hex()


async def test_a_renewal_that_suggests_another_port_makes_no_second_mapping(open_house: House) -> None:
    client = open_house.client()
    await ask(client.map, 5000, 6000)
    open_house.inside.pass_time(3600)
    body, lifetime = granted(await ask(client.map, 5000, 7000))
    assert (body.outside_port, lifetime) == (6000, 7200)
    assert len(open_house.leases) == 1


@pytest.mark.parametrize(("wished", "told"), [(1, 120), (7200, 7200), (4_294_967_295, 86_400)])
async def test_lifetimes_are_clamped(open_house: House, wished: int, told: int) -> None:
    assert granted(await ask(open_house.client().map, 5000, 0, wished))[1] == told


async def test_an_address_that_is_not_the_senders_tells_of_a_nat_between(open_house: House) -> None:
    answer = await ask(open_house.client().map, 5000, client="192.168.7.7")
    assert refusal(answer) == (pcp.Result.ADDRESS_MISMATCH, 1800)
    assert open_house.leases == []


@pytest.mark.parametrize(("protocol", "port"), [(0, 0), (47, 5000), (33, 5000), (17, 0)])
async def test_what_has_no_one_port_is_not_supported(open_house: House, protocol: int, port: int) -> None:
    answer = await ask(open_house.client().map, port, protocol=protocol)
    assert refusal(answer) == (pcp.Result.UNSUPP_PROTOCOL, 1800)


@pytest.mark.parametrize("data", [bytes.fromhex("0201") + bytes(23), bytes.fromhex("0201") + bytes(1102)])
async def test_wrong_sizes_are_answered_in_the_version_and_opcode_that_asked(
    open_house: House, data: bytes
) -> None:
    answer = await ask(open_house.client().ask, data)
    assert answer[:4] == bytes((2, 0x81, 0, pcp.Result.MALFORMED_REQUEST))
    assert len(answer) <= 1100
    assert len(answer) % 4 == 0


async def test_without_an_outside_address_the_network_has_failed_for_a_short_while(open_house: House) -> None:
    open_house.inside.outside[4] = None
    assert refusal(await ask(open_house.client().map, 5000)) == (pcp.Result.NETWORK_FAILURE, 30)


async def test_refusals_by_their_codes(open_house: House) -> None:
    client = open_house.client()
    await open_house.permit("deny all outside 6000 inside 1-65535", "allow all most 1")
    denied = await ask(client.map, 5000, 6000, options=[PreferFailure()])
    assert refusal(denied) == (pcp.Result.NOT_AUTHORIZED, 1800)
    await ask(client.map, 5000)
    assert refusal(await ask(client.map, 5001)) == (pcp.Result.USER_EX_QUOTA, 30)
    open_house.world.plane.broken = Problem("state-unusable", directory="/", why="it is broken")
    answer = await ask(open_house.client(CONSOLE).map, 5000)
    assert refusal(answer) == (pcp.Result.NETWORK_FAILURE, 30)


async def test_who_is_not_proved_to_be_there_may_ask_again_soon(open_house: House) -> None:
    open_house.inside.unknown.add(ipaddress.ip_address(PHONE))
    assert refusal(await ask(open_house.client().map, 5000)) == (pcp.Result.NOT_AUTHORIZED, 30)
    assert open_house.leases == []


# -- closing -----------------------------------------------------------------------------


async def test_closing_ends_the_lease_and_says_so_with_what_was_asked(open_house: House) -> None:
    client = open_house.client()
    await ask(client.map, 5000, 6000)
    body, lifetime = granted(await ask(client.map, 5000, 6000, 0))
    assert (body.inside_port, body.outside_port, lifetime) == (5000, 6000, 0)
    assert open_house.leases == []


async def test_closing_what_is_not_there_succeeds(open_house: House) -> None:
    assert granted(await ask(open_house.client().map, 5000, 0, 0))[1] == 0


async def test_what_was_made_by_hand_is_not_a_devices_to_close(open_house: House) -> None:
    await open_house.world.open("udp/5000", PHONE, from_="anyone")
    answer = await ask(open_house.client().map, 5000, 0, 0)
    assert refusal(answer)[0] == pcp.Result.NOT_AUTHORIZED


@pytest.mark.parametrize("lifetime", [7200, 0])
async def test_another_nonce_is_the_same_devices_unless_the_rule_is_strict(
    house: House, lifetime: int
) -> None:
    async with house.running():
        client = house.client()
        await ask(client.map, 5000, 6000)
        body, told = granted(await ask(client.map, 5000, 6000, lifetime, nonce=b"another one!"))
        assert (body.outside_port, told, len(house.leases)) == (6000, lifetime, int(lifetime > 0))
    async with house.running(NonceRule.STRICT):
        client = house.client(CONSOLE)
        await ask(client.map, 5000, 6001)
        before = house.leases
        answer = await ask(client.map, 5000, 6001, lifetime, nonce=b"another one!")
        assert refusal(answer) == (pcp.Result.NOT_AUTHORIZED, 1800)
        assert house.leases == before


# -- PREFER_FAILURE ----------------------------------------------------------------------


async def test_prefer_failure_is_that_outside_or_none(open_house: House) -> None:
    phone, console = open_house.client(), open_house.client(CONSOLE)
    exact: dict[str, Any] = {"options": [PreferFailure()]}
    await ask(phone.map, 5000, 6000)
    taken = await ask(console.map, 5000, 6000, **exact)
    assert refusal(taken) == (pcp.Result.CANNOT_PROVIDE_EXTERNAL, 30)
    answer = await ask(console.map, 5000, 6001, **exact)
    assert isinstance(answer, pcp.Response)
    assert granted(answer)[0].outside_port == 6001
    assert answer.options == (PreferFailure(),)
    # The lease has another port already, so the port cannot be had.
    renewed = await ask(phone.map, 5000, 6002, **exact)
    assert refusal(renewed)[0] == pcp.Result.CANNOT_PROVIDE_EXTERNAL


async def test_prefer_failure_for_another_address_fails_and_a_hint_does_not(open_house: House) -> None:
    client, elsewhere = open_house.client(), "198.51.100.77"
    refused = await ask(client.map, 5000, outside_address=elsewhere, options=[PreferFailure()])
    assert refusal(refused)[0] == pcp.Result.CANNOT_PROVIDE_EXTERNAL
    assert open_house.leases == []
    body, _ = granted(await ask(client.map, 5000, outside_address=elsewhere))
    assert str(body.outside_address) == OUTSIDE
    body, _ = granted(await ask(client.map, 5001, outside_address=OUTSIDE, options=[PreferFailure()]))
    assert str(body.outside_address) == OUTSIDE


# -- FILTER ------------------------------------------------------------------------------


async def test_filters_are_the_sources_and_add_up(open_house: House) -> None:
    client = open_house.client()
    first, second = filter_of("198.51.100.0/24"), filter_of("192.0.2.7/32")
    answer = await ask(client.map, 5000, options=[first, second])
    assert isinstance(answer, pcp.Response)
    assert answer.options == (first, second)
    assert str(open_house.leases[0].sources) == "192.0.2.7/32,198.51.100.0/24"
    await ask(client.map, 5000, options=[filter_of("203.0.113.0/24")])
    assert str(open_house.leases[0].sources) == "192.0.2.7/32,198.51.100.0/24,203.0.113.0/24"


async def test_a_renewal_without_filters_leaves_them(open_house: House) -> None:
    client = open_house.client()
    await ask(client.map, 5000, options=[filter_of("198.51.100.0/24")])
    open_house.inside.pass_time(60)
    await ask(client.map, 5000)
    assert str(open_house.leases[0].sources) == "198.51.100.0/24"
    await ask(client.natpmp_map, 5000)
    assert str(open_house.leases[0].sources) == "198.51.100.0/24"


async def test_prefix_zero_clears_what_stands_before_it(open_house: House) -> None:
    client = open_house.client()
    await ask(client.map, 5000, options=[filter_of("198.51.100.0/24")])
    await ask(client.map, 5000, options=[filter_of("203.0.113.0/24"), CLEAR, filter_of("192.0.2.0/24")])
    assert str(open_house.leases[0].sources) == "192.0.2.0/24"
    await ask(client.map, 5000, options=[CLEAR])
    assert open_house.leases[0].sources.anyone


@pytest.mark.parametrize("wrong", [filter_of("198.51.100.0/24", 4000), filter_of("2001:db8::/32")])
async def test_filters_that_cannot_be_held_make_no_mapping(open_house: House, wrong: Filter) -> None:
    answer = await ask(open_house.client().map, 5000, options=[filter_of("192.0.2.0/24"), wrong])
    assert refusal(answer) == (pcp.Result.EXCESSIVE_REMOTE_PEERS, 30)
    assert open_house.leases == []


async def test_more_filters_than_fit_one_lease_are_refused_and_change_nothing(open_house: House) -> None:
    client = open_house.client()
    some = [filter_of(f"198.51.{each}.0/24") for each in range(40)]
    more = [filter_of(f"198.52.{each}.0/24") for each in range(40)]
    granted(await ask(client.map, 5000, options=some))
    answer = await ask(client.map, 5000, options=more)
    assert refusal(answer)[0] == pcp.Result.EXCESSIVE_REMOTE_PEERS
    assert len(open_house.leases[0].sources.prefixes) == 40


async def test_a_filter_of_what_is_closed_is_malformed(open_house: House) -> None:
    answer = await ask(open_house.client().map, 5000, 0, 0, options=[filter_of("198.51.100.0/24")])
    assert refusal(answer)[0] == pcp.Result.MALFORMED_OPTION


# -- THIRD_PARTY -------------------------------------------------------------------------


async def test_third_party_needs_a_rule_that_says_so(open_house: House) -> None:
    client = open_house.client()
    other = ThirdParty(ipaddress.ip_address("192.168.1.9"))
    assert refusal(await ask(client.map, 5000, options=[other]))[0] == pcp.Result.NOT_AUTHORIZED
    await open_house.permit("allow all others")
    answer = await ask(client.map, 5000, 6000, options=[other])
    assert isinstance(answer, pcp.Response)
    assert (granted(answer)[0].outside_port, answer.options) == (6000, (other,))
    (lease,) = open_house.leases
    assert (lease.owner, lease.target.host) == (device_at(PHONE), "192.168.1.9")
    # Its own port of that number is another matter.
    assert granted(await ask(client.map, 5000))[0].outside_port != 6000
    granted(await ask(client.map, 5000, 0, 0, options=[other]))
    assert [each.target.host for each in open_house.leases] == [PHONE]


async def test_third_party_that_is_the_sender_is_malformed(open_house: House) -> None:
    answer = await ask(open_house.client().map, 5000, options=[ThirdParty(ipaddress.ip_address(PHONE))])
    assert refusal(answer) == (pcp.Result.MALFORMED_REQUEST, 1800)


# -- PORT_SET ----------------------------------------------------------------------------


async def test_a_port_set_is_one_lease_of_ports_in_a_row(open_house: House) -> None:
    client = open_house.client()
    answer = await ask(client.map, 5000, 6000, options=[PortSet(4, 5000, True)])
    assert isinstance(answer, pcp.Response)
    assert (granted(answer)[0].outside_port, answer.options) == (6000, (PortSet(4, 5000, True),))
    assert [str(each.ports[0]) for each in open_house.leases] == ["udp/6000-6003:5000-5003"]
    # The same inside is the same lease, with the option or without it, of whatever size.
    for options in ([], [PortSet(9, 5000, False)]):
        body, _ = granted(await ask(client.map, 5000, 6000, options=options))
        assert body.outside_port == 6000
    assert [str(each.ports[0]) for each in open_house.leases] == ["udp/6000-6003:5000-5003"]
    await ask(client.map, 5000, 0, 0)
    assert open_house.leases == []


async def test_a_port_set_that_is_too_large_is_cut(open_house: House) -> None:
    answer = await ask(open_house.client().map, 5000, 6000, options=[PortSet(60_000, 5000, False)])
    assert isinstance(answer, pcp.Response)
    assert answer.options == (PortSet(64, 5000, False),)


async def test_where_so_many_are_not_allowed_in_a_row_one_is_given(open_house: House) -> None:
    await open_house.permit("allow all outside 6000-6001")
    answer = await ask(open_house.client().map, 5000, options=[PortSet(4, 5000, False)])
    assert isinstance(answer, pcp.Response)
    assert answer.options == (PortSet(1, 5000, False),)


async def test_a_port_set_that_begins_elsewhere_is_malformed(open_house: House) -> None:
    answer = await ask(open_house.client().map, 5000, options=[PortSet(4, 5001, False)])
    assert refusal(answer)[0] == pcp.Result.MALFORMED_OPTION


# -- both protocols ----------------------------------------------------------------------


async def test_nat_pmp_and_pcp_hold_one_lease_together(open_house: House) -> None:
    client = open_house.client()
    await ask(client.map, 5000, 6000)
    answer = await ask(client.natpmp_map, 5000)
    assert isinstance(answer, natpmp.MapResponse)
    assert answer.outside_port == 6000
    assert len(open_house.leases) == 1


async def test_what_was_asked_again_is_answered_again_the_same(open_house: House) -> None:
    client = open_house.client()
    first = await ask(client.map, 5000, 6000)
    again = await ask(client.map, 5000, 6000)
    assert isinstance(first, pcp.Response)
    assert again == replace(first, epoch=first.epoch)
