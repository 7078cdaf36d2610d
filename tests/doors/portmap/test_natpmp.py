"""NAT-PMP (RFC 6886) over real sockets."""

from __future__ import annotations

import ipaddress

import pytest

from sekimori.model.errors import Problem
from sekimori.model.lease import LeaseProtocol
from sekimori.wire import natpmp

from .house import CONSOLE, OUTSIDE, PHONE, House, ask, device_at

pytestmark = pytest.mark.loopback


def mapped(response: natpmp.Response) -> natpmp.MapResponse:
    assert isinstance(response, natpmp.MapResponse), response
    return response


def refused(response: natpmp.Response) -> int:
    assert isinstance(response, natpmp.ErrorResponse), response
    return response.result


async def test_it_tells_the_outside_address(open_house: House) -> None:
    answer = await ask(open_house.client().ask_natpmp, natpmp.AddressRequest())
    assert isinstance(answer, natpmp.AddressResponse)
    assert str(answer.address) == OUTSIDE


async def test_without_an_outside_address_both_questions_fail_in_their_own_length(open_house: House) -> None:
    open_house.inside.outside[4] = None
    client = open_house.client()
    address = await ask(client.ask, natpmp.encode_request(natpmp.AddressRequest()))
    mapping = await ask(client.ask, bytes.fromhex("0001 0000 1388 1388 00001c20"))
    assert [len(address), len(mapping)] == [12, 16]
    for answer in (address, mapping):
        assert refused(natpmp.decode_response_untrusted(answer)) == natpmp.Result.NETWORK_FAILURE
    assert open_house.leases == []


async def test_a_mapping_is_a_lease_of_the_device_on_the_port_it_wished(open_house: House) -> None:
    answer = mapped(await ask(open_house.client().natpmp_map, 5000, 6000, 3600, udp=False))
    assert (answer.inside_port, answer.outside_port, answer.lifetime) == (5000, 6000, 3600)
    (lease,) = open_house.leases
    assert lease.owner == device_at(PHONE)
    assert lease.target_text == "127.0.0.5:5000"
    assert lease.lease is not None
    assert lease.lease.protocol is LeaseProtocol.NATPMP
    assert open_house.world.held(lease.name)


async def test_a_renewal_that_suggests_another_port_makes_no_second_mapping(open_house: House) -> None:
    client = open_house.client()
    await ask(client.natpmp_map, 5000, 6000)
    open_house.inside.pass_time(3600)
    again = mapped(await ask(client.natpmp_map, 5000, 7000))
    assert (again.outside_port, again.lifetime) == (6000, 7200)
    assert len(open_house.leases) == 1


async def test_a_taken_port_gives_another_to_the_second_device(open_house: House) -> None:
    first = mapped(await ask(open_house.client().natpmp_map, 5000, 6000))
    second = mapped(await ask(open_house.client(CONSOLE).natpmp_map, 5000, 6000))
    assert first.outside_port == 6000
    assert second.outside_port not in (0, 6000)


@pytest.mark.parametrize(("wished", "granted"), [(1, 120), (7200, 7200), (4_294_967_295, 86_400)])
async def test_lifetimes_are_clamped(open_house: House, wished: int, granted: int) -> None:
    assert mapped(await ask(open_house.client().natpmp_map, 5000, 0, wished)).lifetime == granted


async def test_the_lifetime_that_policy_granted_is_told(open_house: House) -> None:
    await open_house.permit("allow all for 10m")
    assert mapped(await ask(open_house.client().natpmp_map, 5000)).lifetime == 600


async def test_deleting_one_port_leaves_those_that_begin_with_the_same_digits(open_house: House) -> None:
    await open_house.permit("allow all outside 1-65535 inside 1-65535")
    client = open_house.client()
    for port in (1000, 10000, 10001):
        await ask(client.natpmp_map, port, port)
    await ask(client.natpmp_map, 1000, 1000, udp=False)
    gone = mapped(await ask(client.natpmp_map, 1000, 4711, 0))
    assert (gone.inside_port, gone.outside_port, gone.lifetime) == (1000, 0, 0)
    assert sorted(str(each.ports[0]) for each in open_house.leases) == ["tcp/1000", "udp/10000", "udp/10001"]


async def test_deleting_all_takes_one_protocol_of_one_client(open_house: House) -> None:
    phone, console = open_house.client(), open_house.client(CONSOLE)
    for port in (5000, 5001):
        await ask(phone.natpmp_map, port)
    await ask(phone.natpmp_map, 5002, udp=False)
    await ask(console.natpmp_map, 5003)
    gone = mapped(await ask(phone.natpmp_map, 0, 0, 0))
    assert (gone.inside_port, gone.outside_port, gone.lifetime) == (0, 0, 0)
    left = sorted((each.target.host, str(each.ports[0].protocol)) for each in open_house.leases)
    assert left == [(PHONE, "tcp"), (CONSOLE, "udp")]


async def test_deleting_what_is_not_there_succeeds(open_house: House) -> None:
    assert mapped(await ask(open_house.client().natpmp_map, 5000, 0, 0)).lifetime == 0


async def test_nobody_deletes_what_is_another_devices(open_house: House) -> None:
    await ask(open_house.client().natpmp_map, 5000)
    await ask(open_house.client(CONSOLE).natpmp_map, 5000, 0, 0)
    assert len(open_house.leases) == 1


async def test_a_mapping_made_by_hand_is_told_and_not_deleted(open_house: House) -> None:
    made = await open_house.world.open("udp/5000", PHONE, from_="anyone", for_="2h")
    client = open_house.client()
    answer = mapped(await ask(client.natpmp_map, 5000, 5000))
    assert (answer.outside_port, answer.lifetime) == (5000, 7200)
    assert refused(await ask(client.natpmp_map, 5000, 0, 0)) == natpmp.Result.NOT_AUTHORIZED
    assert open_house.leases == []
    assert open_house.world.named(made.name) is not None


async def test_what_no_rule_allows_is_not_authorised(open_house: House) -> None:
    await open_house.permit("deny all")
    assert refused(await ask(open_house.client().natpmp_map, 5000)) == natpmp.Result.NOT_AUTHORIZED


async def test_all_ports_can_only_be_deleted(open_house: House) -> None:
    assert refused(await ask(open_house.client().natpmp_map, 0)) == natpmp.Result.NOT_AUTHORIZED


async def test_a_quota_is_out_of_resources(open_house: House) -> None:
    await open_house.permit("allow all most 1")
    client = open_house.client()
    await ask(client.natpmp_map, 5000)
    assert refused(await ask(client.natpmp_map, 5001)) == natpmp.Result.OUT_OF_RESOURCES


async def test_a_plane_that_fails_is_a_network_failure(open_house: House) -> None:
    open_house.world.plane.broken = Problem("state-unusable", directory="/", why="it is broken")
    assert refused(await ask(open_house.client().natpmp_map, 5000)) == natpmp.Result.NETWORK_FAILURE
    assert open_house.leases == []


@pytest.mark.parametrize(
    ("request_bytes", "answer"),
    [
        ("0003", "0083 0005"),  # an opcode that nobody knows
        ("0103", "0283 0001"),  # PCP version 1: PCP answers, with the version that it has
        ("0303", "0283 0001"),
    ],
)
async def test_what_is_not_spoken_is_answered_with_why(
    open_house: House, request_bytes: str, answer: str
) -> None:
    said = await ask(open_house.client().ask, bytes.fromhex(request_bytes))
    assert said[:4] == bytes.fromhex(answer)


async def test_responses_and_scraps_are_never_answered(open_house: House) -> None:
    client = open_house.client()
    for data in (b"", b"\0", bytes.fromhex("0080 0000"), bytes.fromhex("0281") + bytes(58), b"\0\1\0"):
        await ask(client.send, data)
    # The first answer is to the question that comes last: there was none to the others.
    answer = await ask(client.ask, natpmp.encode_request(natpmp.AddressRequest()))
    assert answer[1] == 0x80
    with pytest.raises(TimeoutError):
        await ask(client.receive, 0.05)


async def test_who_is_not_proved_to_be_there_gets_nothing(open_house: House) -> None:
    open_house.inside.unknown.add(ipaddress.ip_address(PHONE))
    assert refused(await ask(open_house.client().natpmp_map, 5000)) == natpmp.Result.NOT_AUTHORIZED
    assert open_house.leases == []
