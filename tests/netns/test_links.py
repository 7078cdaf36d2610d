"""What the machine sees of its network, and how soon it sees a change, in real namespaces."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import itertools
import resource
import statistics
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from sekimori.host.links import Links, read_facts, read_neighbours
from sekimori.model.errors import Problem
from sekimori.model.network import Facts, InterfaceFacts, Neighbour, NeighbourState, Wan, find_roles
from sekimori.testing.netlab import HomeNetwork, Host, Lab, TwoWans, home_network, two_wans, why_not

pytestmark = pytest.mark.netns

DEADLINE = 10.0
ip = ipaddress.ip_address
net = ipaddress.ip_network

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(scope="module", autouse=True)
def _possible() -> None:
    why = why_not()
    if why is not None:
        pytest.skip(why)


@pytest.fixture(scope="module")
def home_net() -> Iterator[HomeNetwork]:
    with Lab() as lab:
        yield home_network(lab)


@pytest.fixture(scope="module")
def both() -> Iterator[TwoWans]:
    with Lab() as lab:
        yield two_wans(lab)


@pytest.fixture
def host() -> Iterator[Host]:
    """A machine with a link `lan`, whose other end is a machine `peer`."""
    with Lab() as lab:
        host, peer = lab.host("machine"), lab.host("peer")
        lab.cable(host, peer, ("lan", "far"))
        host.address("lan", "192.168.7.1/24")
        peer.address("far", "192.168.7.2/24", "fd00:7::2/64")
        yield host


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    started: Run = request.param
    return started


async def until(condition: Callable[[], object], deadline: float = DEADLINE) -> float:
    """Wait until something is so; how long it took."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() < begin + deadline, "it was not seen"
        await asyncio.sleep(0.002)
    return time.monotonic() - begin


@contextlib.asynccontextmanager
async def following(
    on_change: Callable[[Facts], None] | None = None,
    on_neighbours: Callable[[tuple[Neighbour, ...]], None] | None = None,
) -> AsyncIterator[Links]:
    links = Links(on_change, on_neighbours)
    await links.start()
    try:
        yield links
    finally:
        await links.close()


async def ip_command(host: Host, *commands: str) -> None:
    await asyncio.to_thread(host.ip, *commands)


def of(facts: Facts, name: str) -> InterfaceFacts:
    return next(each for each in facts.interfaces if each.name == name)


def addresses(links: Links, name: str = "lan") -> set[str]:
    return {str(each.address) for each in of(links.facts, name).addresses}


def test_the_roles_of_a_home_gateway(home_net: HomeNetwork) -> None:
    network = find_roles(home_net.gateway.call(read_facts))
    (wan,), (lan,) = network.wans, network.lans
    assert (wan.interface, lan.interface) == ("isp", "home")
    assert {str(each) for each in wan.addresses} == {*home_net.GATEWAY, *home_net.GATEWAY_TOO}
    assert (wan.gateway4, wan.gateway6) == (ip("203.0.113.1"), ip("2001:db8:2::1"))
    assert lan.prefixes == (net("192.168.1.0/24"), net("2001:db8:3::/64"))
    assert {str(each) for each in lan.addresses} == set(home_net.GATEWAY_INSIDE)
    assert network.forwarding4
    assert network.forwarding6


def test_the_roles_of_a_gateway_with_two_lines(both: TwoWans) -> None:
    network = find_roles(both.gateway.call(read_facts))
    (line_a, line_b), (lan,) = network.wans, network.lans
    expected = ((line_a, both.WAN_A, both.PROVIDER_A, 100), (line_b, both.WAN_B, both.PROVIDER_B, 200))
    assert (line_a.interface, line_b.interface, lan.interface) == both.DEVICES
    for wan, own, gateway, metric in expected:
        assert tuple(map(str, wan.addresses)) == own
        assert (str(wan.gateway4), str(wan.gateway6), wan.metric) == (*gateway, metric)
    assert net("192.0.2.0/24") in line_b.on_link
    assert net("fe80::/64") in line_b.on_link
    assert network.lan_of(ip(both.SERVER[1])) is lan


def test_a_server_is_no_gateway(home_net: HomeNetwork) -> None:
    network = find_roles(home_net.server.call(read_facts))
    assert [wan.interface for wan in network.wans] == ["gateway"]
    assert (network.lans, network.is_gateway, network.forwarding4) == ((), False, False)


def test_what_the_kernel_says_is_read_as_it_is_meant(host: Host) -> None:
    host.ip(
        "link add name ppp0 type veth peer name other",
        "link set ppp0 up",
        "link set other up",
        "address add 203.0.113.9 peer 198.51.100.1/32 dev ppp0",
        "address add 2001:db8:9::1/64 dev ppp0 nodad preferred_lft 0",
        "route add default dev ppp0 src 203.0.113.9 metric 7",
        "route add 10.9.0.0/16 metric 5 nexthop via 192.168.7.2 nexthop via 198.51.100.1 dev ppp0 onlink",
        "route add 10.10.0.0/16 via inet6 fe80::9 dev lan",
        "route add blackhole 10.11.0.0/16",
        "route add 10.12.0.0/16 via 192.168.7.2 table 77",
    )
    host.sysctl(ipv6__conf__ppp0__accept_dad=1)
    host.ip("link set other down", "address add 2001:db8:9::2/64 dev ppp0")  # without a carrier, no detection
    facts = host.call(read_facts)
    four = of(facts, "ppp0").addresses[0]
    assert (four.address, four.peer, four.network) == (
        ip("203.0.113.9"),
        ip("198.51.100.1"),
        net("198.51.100.1"),
    )
    found = {str(each.address): each for each in of(facts, "ppp0").addresses}
    six, late = found["2001:db8:9::1"], found["2001:db8:9::2"]
    assert (late.deprecated, late.tentative) == (False, True)
    assert (six.deprecated, six.temporary, six.tentative, six.prefixlen) == (True, False, False, 64)
    routes = {(str(each.destination), each.interface): each for each in facts.routes}
    default = routes["0.0.0.0/0", "ppp0"]
    assert (default.gateway, default.metric, default.source) == (None, 7, ip("203.0.113.9"))
    assert routes["10.9.0.0/16", "lan"].gateway == ip("192.168.7.2")
    assert routes["10.9.0.0/16", "ppp0"].gateway == ip("198.51.100.1")
    assert routes["10.9.0.0/16", "ppp0"].metric == 5
    assert routes["10.10.0.0/16", "lan"].gateway == ip("fe80::9")
    assert not {"10.11.0.0/16", "10.12.0.0/16", "127.0.0.0/8"} & {prefix for prefix, _ in routes}
    assert of(facts, "lo").loopback
    mac = of(facts, "lan").mac
    assert mac == host.run(["cat", "/sys/class/net/lan/address"]).stdout.strip()
    (wan,) = find_roles(facts).wans
    assert (wan.interface, wan.addresses, wan.has4, wan.has6) == ("ppp0", (ip("203.0.113.9"),), True, False)


def test_an_address_is_seen_when_it_comes_changes_and_goes(host: Host, run: Run) -> None:
    async def scenario() -> None:
        seen: list[Facts] = []
        async with following(seen.append) as links:
            assert seen == [links.facts]
            for _ in range(3):
                await ip_command(host, "address add 192.168.8.1/24 dev lan")
                await until(lambda: "192.168.8.1" in addresses(links))
                await ip_command(host, "address add fd00:8::1/64 dev lan nodad")
                await until(lambda: "fd00:8::1" in addresses(links))
                await ip_command(host, "address change fd00:8::1/64 dev lan preferred_lft 0")
                await until(lambda: any(each.deprecated for each in of(links.facts, "lan").addresses))
                await ip_command(
                    host, "address delete 192.168.8.1/24 dev lan", "address delete fd00:8::1/64 dev lan"
                )
                await until(lambda: not {"192.168.8.1", "fd00:8::1"} & addresses(links))
            assert seen[-1] == links.facts
            assert all(one != other for one, other in itertools.pairwise(seen))

    host.call(lambda: run(scenario()))


def test_a_change_is_seen_within_a_fifth_of_a_second(host: Host, run: Run) -> None:
    async def scenario() -> None:
        async with following() as links:
            took = []
            for at in range(2, 9):
                await ip_command(host, f"address add 192.168.9.{at}/32 dev lan")
                took.append(await until(lambda at=at: f"192.168.9.{at}" in addresses(links)))  # type: ignore[misc]
            assert statistics.median(took) < 0.2

    host.call(lambda: run(scenario()))


def test_a_default_route_that_moves_moves_the_wan(both: TwoWans, run: Run) -> None:
    gateway = both.gateway

    async def scenario() -> None:
        async with following() as links:

            def wans() -> list[Wan]:
                return list(find_roles(links.facts).wans)

            assert [wan.interface for wan in wans()] == ["wan_a", "wan_b"]
            way = f"default via {both.PROVIDER_A[0]}"
            await ip_command(gateway, f"route delete {way} metric 100", f"route add {way} metric 300")
            await until(lambda: [wan.interface for wan in wans()] == ["wan_b", "wan_a"])
            # The kernel says nothing of the IPv4 routes that go with a link.
            await ip_command(gateway, "link set wan_b down")
            await until(lambda: [wan.interface for wan in wans()] == ["wan_a"])
            await ip_command(gateway, "link set wan_b up")
            for each in both.PROVIDER_B:
                if ":" in each:  # a link that goes down loses its global IPv6 addresses too
                    await ip_command(gateway, f"address add {both.WAN_B[1]}/64 dev wan_b nodad")
                await ip_command(gateway, f"route add default via {each} metric 200")
            await ip_command(gateway, f"route delete {way} metric 300", f"route add {way} metric 100")
            await until(
                lambda: [(wan.interface, wan.metric) for wan in wans()] == [("wan_a", 100), ("wan_b", 200)]
            )

    gateway.call(lambda: run(scenario()))


def test_interfaces_come_go_and_are_renamed(host: Host, run: Run) -> None:
    async def scenario() -> None:
        async with following() as links:

            def up() -> dict[str, bool]:
                return {each.name: each.up for each in links.facts.interfaces}

            await ip_command(host, "link add name tap0 type bridge")
            await until(lambda: up().get("tap0") is False)
            await ip_command(host, "link set tap0 up")
            await until(lambda: up()["tap0"])
            await ip_command(host, "link set tap0 down", "link set tap0 name tap1")
            await until(lambda: "tap1" in up() and "tap0" not in up())
            await ip_command(host, "link delete tap1")
            await until(lambda: "tap1" not in up())

    host.call(lambda: run(scenario()))


def test_forwarding_is_seen(host: Host, run: Run) -> None:
    async def scenario() -> None:
        async with following() as links:
            for on in (True, False):
                await asyncio.to_thread(host.sysctl, ipv4__ip_forward=int(on))
                await until(lambda on=on: links.facts.forwarding4 is on)  # type: ignore[misc]
                await asyncio.to_thread(host.sysctl, ipv6__conf__all__forwarding=int(on))
                await until(lambda on=on: links.facts.forwarding6 is on)  # type: ignore[misc]

    host.call(lambda: run(scenario()))


@pytest.mark.parametrize("target", ["192.168.7.2", "fd00:7::2"])
def test_a_neighbour_appears_after_traffic(host: Host, run: Run, target: str) -> None:
    host.address("lan", "fd00:7::1/64")

    async def scenario() -> None:
        told: list[tuple[Neighbour, ...]] = []
        async with following(on_neighbours=told.append) as links:

            def neighbour() -> Neighbour | None:
                return next((each for each in links.neighbours() if each.address == ip(target)), None)

            assert neighbour() is None
            await asyncio.to_thread(host.run, ["bash", "-c", f"echo > /dev/udp/{target}/9"])
            await until(lambda: (found := neighbour()) and found.mac)
            found = neighbour()
            assert found is not None
            assert found.interface == "lan"
            assert found.state in {NeighbourState.REACHABLE, NeighbourState.DELAY, NeighbourState.STALE}
            await ip_command(
                host, f"neighbour replace {target} lladdr 02:00:00:00:00:FE dev lan nud permanent"
            )
            await until(lambda: (found := neighbour()) and found.state is NeighbourState.PERMANENT)
            found = neighbour()
            assert found is not None
            assert found.mac == "02:00:00:00:00:fe"
            assert found in host.call(read_neighbours)
            await ip_command(host, f"neighbour delete {target} dev lan")
            await until(lambda: neighbour() is None)
            assert told[-1] == links.neighbours()

    host.call(lambda: run(scenario()))


def test_a_flood_of_notices_is_not_missed(host: Host, run: Run) -> None:
    """More notices than the socket holds while the loop is busy: the kernel drops them (ENOBUFS)."""

    async def scenario() -> None:
        async with following() as links:
            for second in (1, 2):  # the second time shows that it still listens after the first
                last = net(f"10.{second}.0.0/30")
                flood = [f"route {verb} 10.9.0.0/30 dev lan" for verb in ("add", "delete")] * 5_000
                host.ip(*flood, f"route add {last} dev lan")  # in the loop's own thread: nobody listens
                assert _drops() >= second
                await until(lambda last=last: last in {each.destination for each in links.facts.routes})  # type: ignore[misc]
            await ip_command(host, "address add 192.168.8.1/24 dev lan")
            await until(lambda: "192.168.8.1" in addresses(links))

    host.call(lambda: run(scenario()))


def _drops() -> int:
    """How many notices the kernel could not deliver in this thread's network."""
    header, *rows = Path("/proc/thread-self/net/netlink").read_text().splitlines()
    column = header.split().index("Drops")
    return sum(int(row.split()[column]) for row in rows)


def test_nothing_is_told_after_the_close(host: Host, run: Run) -> None:
    async def scenario() -> None:
        told: list[object] = []
        links = Links(told.append, told.append)
        await links.start()
        told.clear()
        host.ip("address add 192.168.8.1/24 dev lan")
        await asyncio.sleep(0.021)  # long enough for the notice; a read may or may not have begun
        before = list(told)
        await links.close()
        await links.close()
        host.ip("address add 192.168.8.2/24 dev lan")
        await asyncio.sleep(0.1)
        assert told == before

    host.call(lambda: run(scenario()))


def test_it_starts_again_after_a_close(host: Host, run: Run) -> None:
    async def scenario() -> None:
        links = Links()
        for at in (1, 2):
            await links.start()
            await ip_command(host, f"address add 192.168.{at}0.1/24 dev lan")
            await until(lambda at=at: f"192.168.{at}0.1" in addresses(links))  # type: ignore[misc]
            await links.close()

    host.call(lambda: run(scenario()))


def test_without_netlink_it_says_so() -> None:
    async def scenario() -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        links = Links()
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            with pytest.raises(Problem) as caught:
                await links.start()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert caught.value.code == "network-not-read"
        await links.close()

    asyncio.run(scenario())
