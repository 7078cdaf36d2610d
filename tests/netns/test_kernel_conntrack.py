"""Flows of real packets, asked for and cut. The table is written by hand: it does what a mapping's would."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from sekimori.planes.kernel.readings import read_flow, read_sources
from sekimori.testing.netlab import HomeNetwork, Host
from sekimori.testing.peers import DEADLINE, eventually
from sekimori.wire.conntrack import IPV4, IPV6, Entry, Filter, dump_request, parse_untrusted

from .byhand import (
    DESKTOP,
    GATEWAY,
    INSIDE,
    NETWORK,
    SERVER,
    STRANGER,
    TOO,
    VISITOR,
    Bench,
    flood,
    prepared,
    wanted,
)

pytestmark = pytest.mark.netns


def _echo(bench: Bench, *places: tuple[Host, str, int]) -> None:
    """Have a host answer at an address and port, over TCP and UDP."""
    for host, address, port in places:
        bench.peers(host).tcp_echo(address, port)
        bench.peers(host).udp_echo(address, port)


@pytest.fixture
def bench(network: HomeNetwork) -> Iterator[Bench]:
    with prepared(network) as made:
        yield made


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_closing_a_forward_cuts_its_flows_and_a_dozen_near_misses_go_on(bench: Bench, kind: str) -> None:
    net, other = bench.net, "udp" if kind == "tcp" else "tcp"
    _echo(
        bench,
        (net.server, SERVER[0], 443),
        (net.server, SERVER[0], 444),
        (net.server, SERVER[1], 8443),
        (net.desktop, DESKTOP[0], 443),
        (net.visitor, VISITOR[0], 8443),
        (net.visitor, VISITOR[0], 443),
        (net.gateway, INSIDE[0], 8443),
        (net.gateway, GATEWAY[0], 8445),
    )
    bench.element("add", "at", f"{GATEWAY[0]} . {kind} . 8443 : {SERVER[0]} . 443")
    bench.element("add", "at", f"{GATEWAY[0]} . {kind} . 8444 : {SERVER[0]} . 443")
    bench.element("add", "at", f"{GATEWAY[0]} . {other} . 8443 : {SERVER[0]} . 443")
    bench.element("add", "at", f"{TOO[0]} . {kind} . 8443 : {SERVER[0]} . 443")
    bench.element("add", "at", f"{GATEWAY[0]} . {kind} . 8446 : {DESKTOP[0]} . 443")
    bench.element("add", "at", f"{GATEWAY[0]} . {kind} . 8447 : {SERVER[0]} . 444")
    bench.element("add", "holes", f"{SERVER[1]} . {kind} . 8443")
    bench.element("add", "own", f"{kind} . 8445")
    mine = {
        "the visitor": bench.talk(kind, net.visitor, (VISITOR[0], 1111), (GATEWAY[0], 8443)),
        "the visitor again": bench.talk(kind, net.visitor, (VISITOR[0], 444), (GATEWAY[0], 8443)),
        "the stranger": bench.talk(kind, net.stranger, (STRANGER[0], 1111), (GATEWAY[0], 8443)),
        "hairpin": bench.talk(kind, net.desktop, (DESKTOP[0], 1111), (GATEWAY[0], 8443)),
        "the gateway": bench.talk(kind, net.gateway, (GATEWAY[0], 1111), (GATEWAY[0], 8443)),
    }
    others = {
        "same target": bench.talk(kind, net.visitor, (VISITOR[0], 1111), (GATEWAY[0], 8444)),
        "other protocol": bench.talk(other, net.visitor, (VISITOR[0], 1111), (GATEWAY[0], 8443)),
        "other address": bench.talk(kind, net.visitor, (VISITOR[0], 1111), (TOO[0], 8443)),
        "other address, hairpin": bench.talk(kind, net.desktop, (DESKTOP[0], 1112), (TOO[0], 8443)),
        "other host": bench.talk(kind, net.visitor, (VISITOR[0], 8444), (GATEWAY[0], 8446)),
        "other inside port": bench.talk(kind, net.visitor, (VISITOR[0], 1112), (GATEWAY[0], 8447)),
        "service of the gateway": bench.talk(kind, net.visitor, (VISITOR[0], 1111), (GATEWAY[0], 8445)),
        "gateway's from the LAN": bench.talk(kind, net.desktop, (DESKTOP[0], 1113), (INSIDE[0], 8443)),
        "out, same source port": bench.talk(kind, net.desktop, (DESKTOP[0], 8443), (VISITOR[0], 443)),
        "out, same target port": bench.talk(kind, net.server, (SERVER[0], 8443), (VISITOR[0], 8443)),
        "out from the inside port": bench.talk(kind, net.desktop, (DESKTOP[0], 444), (VISITOR[0], 443)),
        "out from the gateway": bench.talk(kind, net.gateway, (GATEWAY[0], 8443), (VISITOR[0], 8443)),
        "IPv6, same port": bench.talk(kind, net.visitor, (VISITOR[1], 1111), (SERVER[1], 8443)),
    }
    assert all(each(DEADLINE) for each in (*mine.values(), *others.values()))
    mapping = wanted("web", f"{kind}/8443", f"{SERVER[0]} 443", on=GATEWAY[0])
    told = bench.cutter.flows(mapping, NETWORK)
    assert len(told) == len(mine)
    shares = bench.cutter.share_out({"web": mapping}, NETWORK, [mapping])
    # What this machine sends to itself passes no chain that would label it.
    assert {entry.id for entry in told} - {entry.id for entry in shares["web"]} == {
        entry.id for entry in told if entry.original.source_text == GATEWAY[0]
    }
    bench.element("delete", "at", f"{GATEWAY[0]} . {kind} . 8443")

    assert bench.cutter.cut([(mapping, None)], NETWORK) == len(mine)
    assert bench.cutter.cut([(mapping, None)], NETWORK) == 0
    assert {name for name, each in others.items() if not each(DEADLINE)} == set()
    assert {name for name, each in mine.items() if each(0.5)} == set()
    assert {name for name, each in others.items() if not each(DEADLINE)} == set()


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_closing_a_pinhole_cuts_its_flows_only(bench: Bench, kind: str) -> None:
    net = bench.net
    _echo(
        bench,
        (net.server, SERVER[1], 8443),
        (net.server, SERVER[1], 8444),
        (net.desktop, DESKTOP[1], 8443),
        (net.visitor, VISITOR[1], 8443),
    )
    for element in (
        f"{SERVER[1]} . {kind} . 8443",
        f"{SERVER[1]} . {kind} . 8444",
        f"{DESKTOP[1]} . {kind} . 8443",
    ):
        bench.element("add", "holes", element)
    bench.element("add", "at6", f"{GATEWAY[1]} . {kind} . 8443 : {SERVER[1]} . 8443")
    mine = [
        bench.talk(kind, net.visitor, (VISITOR[1], 1111), (SERVER[1], 8443)),
        bench.talk(kind, net.stranger, (STRANGER[1], 8443), (SERVER[1], 8443)),
    ]
    others = {
        "translated to it": bench.talk(kind, net.visitor, (VISITOR[1], 1112), (GATEWAY[1], 8443)),
        "other port": bench.talk(kind, net.visitor, (VISITOR[1], 1111), (SERVER[1], 8444)),
        "other host": bench.talk(kind, net.visitor, (VISITOR[1], 1111), (DESKTOP[1], 8443)),
        "outward": bench.talk(kind, net.server, (SERVER[1], 1111), (VISITOR[1], 8443)),
        "from the gateway": bench.talk(kind, net.gateway, (INSIDE[1], 1111), (SERVER[1], 8443)),
    }
    assert all(each(DEADLINE) for each in (*mine, *others.values()))
    exact = wanted("hole", f"{kind}/8443", SERVER[1])
    suffix = wanted("hole", f"{kind}/8443", "::10/-64")
    assert len(bench.cutter.flows(exact, NETWORK)) == len(bench.cutter.flows(suffix, NETWORK)) == 2
    bench.element("delete", "holes", f"{SERVER[1]} . {kind} . 8443")
    assert bench.cutter.cut([(suffix, None)], NETWORK) == 2
    assert {name for name, each in others.items() if not each(DEADLINE)} == set()
    assert [each(0.5) for each in mine] == [False, False]
    translated = wanted("nat66", f"{kind}/8443", SERVER[1], on=GATEWAY[1])
    assert bench.cutter.cut([(translated, None)], NETWORK) == 1


def test_narrower_sources_and_another_target_cut_who_is_concerned(bench: Bench) -> None:
    net = bench.net
    bench.peers(net.server).tcp_echo(SERVER[0], 443)
    bench.peers(net.desktop).tcp_echo(DESKTOP[0], 443)
    element = f"{GATEWAY[0]} . tcp . 8443 : {{}} . 443"
    bench.element("add", "at", element.format(SERVER[0]))
    visitor = bench.talk("tcp", net.visitor, (VISITOR[0], 1111), (GATEWAY[0], 8443))
    stranger = bench.talk("tcp", net.stranger, (STRANGER[0], 1111), (GATEWAY[0], 8443))
    assert visitor(DEADLINE)
    assert stranger(DEADLINE)
    web = wanted("web", "tcp/8443", f"{SERVER[0]} 443")
    narrow = wanted("web", "tcp/8443", f"{SERVER[0]} 443", sources=VISITOR[0])
    assert bench.cutter.cut([(web, replace(web, accept_until=9.0))], NETWORK) == 0
    bench.element("add", "refused", STRANGER[0])
    assert bench.cutter.cut([(web, narrow)], NETWORK) == 1
    assert visitor(DEADLINE)
    assert not stranger(0.5)

    bench.element("delete", "at", element.format(SERVER[0]))
    bench.element("add", "at", element.format(DESKTOP[0]))
    after = bench.talk("tcp", net.visitor, (VISITOR[0], 2222), (GATEWAY[0], 8443))
    assert after(DEADLINE)
    moved = replace(wanted("web", "tcp/8443", f"{DESKTOP[0]} 443"), sources=narrow.sources)
    assert bench.cutter.cut([(narrow, moved)], NETWORK) == 1
    assert after(DEADLINE)
    assert not visitor(0.5)


def test_opening_frees_a_peer_that_sent_before(bench: Bench) -> None:
    net = bench.net
    bench.peers(net.server).udp_echo(SERVER[0], 7000)
    peer = bench.talk("udp", net.visitor, (VISITOR[0], 1111), (GATEWAY[0], 7000))
    assert not peer(0.3), "nobody is there"
    game = wanted("game", "udp/7000", SERVER[0])
    beside = wanted("beside", "udp/7001", SERVER[0])
    bench.element("add", "at", f"{GATEWAY[0]} . udp . 7000 : {SERVER[0]} . 7000")
    assert not peer(0.3), "the flow that has begun goes the old way"
    assert bench.cutter.cut([(None, beside)], NETWORK) == 0
    assert bench.cutter.cut([(None, game)], NETWORK) == 1
    assert peer(DEADLINE)
    assert bench.cutter.cut([(None, game)], NETWORK) == 0
    assert peer(DEADLINE)


def test_flows_of_mappings_that_ended_in_the_meantime_are_orphans(bench: Bench) -> None:
    net = bench.net
    server, here = bench.peers(net.server), bench.peers(net.gateway)
    server.tcp_echo(SERVER[0], 443)
    here.tcp_echo(GATEWAY[0], 8000)
    here.tcp_echo(GATEWAY[0], 8001)
    for port in (8443, 8444):
        bench.element("add", "at", f"{GATEWAY[0]} . tcp . {port} : {SERVER[0]} . 443")
    bench.element("add", "own", "tcp . 8000")
    ended = bench.talk("tcp", net.visitor, (VISITOR[0], 1111), (GATEWAY[0], 8443))
    stands = bench.talk("tcp", net.visitor, (VISITOR[0], 1111), (GATEWAY[0], 8444))
    relayed = bench.talk("tcp", net.visitor, (VISITOR[0], 1111), (GATEWAY[0], 8000))
    foreign = bench.talk("tcp", net.visitor, (VISITOR[0], 1111), (GATEWAY[0], 8001))
    out = bench.talk("udp", net.visitor, (VISITOR[0], 5), (GATEWAY[0], 9))
    assert all(each(DEADLINE) for each in (ended, stands, relayed, foreign))
    assert not out(0.2)
    bench.element("delete", "at", f"{GATEWAY[0]} . tcp . 8443")
    left = wanted("stands", "tcp/8444", f"{SERVER[0]} 443")
    listener = wanted("relayed", "tcp/8000", f"{SERVER[0]} 80").mapping
    assert bench.cutter.cut_orphans([left], NETWORK, [listener]) == 1
    assert all(each(DEADLINE) for each in (stands, relayed, foreign))
    assert not ended(0.5)
    assert bench.cutter.cut_orphans([left], NETWORK) == 1, "the relay's listener is permitted no more"


def test_kill_by_mapping_and_by_source(bench: Bench) -> None:
    net = bench.net
    bench.peers(net.server).tcp_echo(SERVER[0], 443)
    bench.peers(net.visitor).tcp_echo(VISITOR[0], 443)
    for port in (8443, 8444):
        bench.element("add", "at", f"{GATEWAY[0]} . tcp . {port} : {SERVER[0]} . 443")
    web = wanted("web", "tcp/8443", f"{SERVER[0]} 443")
    talks = [
        bench.talk("tcp", host, (source, 1111), (GATEWAY[0], port))
        for host, source in ((net.visitor, VISITOR[0]), (net.stranger, STRANGER[0]))
        for port in (8443, 8444)
    ]
    out = bench.talk("tcp", net.desktop, (DESKTOP[0], 1111), (VISITOR[0], 443))
    assert all(each(DEADLINE) for each in (*talks, out))
    visitors = ipaddress.ip_network(f"{VISITOR[0]}/32")
    strangers = ipaddress.ip_network("198.51.100.20/30")
    assert bench.cutter.kill(web, ipaddress.ip_network("2001:db8::/32"), NETWORK) == 0
    assert bench.cutter.kill(web, visitors, NETWORK) == 1
    assert bench.cutter.kill(None, strangers, NETWORK) == 2
    assert bench.cutter.kill(None, None, NETWORK) == 1
    assert out(DEADLINE)
    assert bench.cutter.kill(None, ipaddress.ip_network("192.168.1.0/24"), NETWORK) == 0


@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
def test_readings_of_a_real_flow(bench: Bench, family: int) -> None:
    net = bench.net
    bench.peers(net.server).tcp_echo(SERVER[family], 443)
    where = GATEWAY[0] if family == 0 else SERVER[1]
    if family == 0:
        bench.element("add", "at", f"{GATEWAY[0]} . tcp . 443 : {SERVER[0]} . 443")
    else:
        bench.element("add", "holes", f"{SERVER[1]} . tcp . 443")
    began = time.time()
    talk = bench.talk("tcp", net.visitor, (VISITOR[family], 1111), (where, 443))
    assert talk(DEADLINE)
    mapping = wanted("web", "tcp/443", SERVER[family])

    def settled() -> Entry | None:
        # The last acknowledgement may be under way, and shortens the timeout until it has come.
        (entry,) = bench.cutter.flows(mapping, NETWORK)
        return entry if (entry.timeout or 0) > 300 and (entry.packets or 0) >= 4 else None

    entry = eventually(settled)
    now = time.time()
    flow = read_flow(entry, now)
    ends = (f"{VISITOR[0]}:1111", f"{SERVER[0]}:443")
    ends6 = (f"[{VISITOR[1]}]:1111", f"[{SERVER[1]}]:443")
    assert (flow.source, flow.target) == (ends6 if family else ends)
    assert (flow.protocol, flow.state) == ("tcp", "established")
    assert flow.packets_in >= 4
    assert flow.packets_out >= 2
    assert flow.bytes_in > 6 + 40 * 3
    assert flow.bytes_out > 6
    assert 0 <= flow.age <= now - began + 0.1
    assert 0 <= flow.idle <= now - began + 1
    (use,) = read_sources([entry], now)
    assert (use.source, use.flows_active, use.flows_total) == (VISITOR[family], 1, 1)
    assert use.bytes_in == flow.bytes_in


def test_the_kernel_tells_only_what_it_is_asked_for(bench: Bench) -> None:
    net = bench.net
    bench.element("add", "at", f"{GATEWAY[0]} . udp . 7000 : {SERVER[0]} . 7000")
    flood(net.visitor, GATEWAY[0], 7000, range(2000, 2100))
    flood(net.visitor, GATEWAY[0], 7001, range(2000, 2100))
    wish = Filter(protocol=17, destination_port=7000)
    eventually(lambda: len(bench.entries(IPV4, wish)) == 100)
    answer = bench.socket.ask(dump_request(IPV4, wish))
    told = [entry for data in answer for entry in parse_untrusted(data)]
    assert len(told) == 100
    assert {entry.original.destination_port for entry in told} == {7000}
    assert bench.entries(IPV6, wish) == []


def test_twenty_thousand_flows(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """Half of them of one mapping, which alone is cut."""
    net = bench.net
    mappings = [wanted(f"m{port}", f"udp/{port}", SERVER[0]) for port in (7000, 7001)]
    for port in (7000, 7001):
        bench.element("add", "at", f"{GATEWAY[0]} . udp . {port} : {SERVER[0]} . {port}")
        flood(net.visitor, GATEWAY[0], port, range(10_000, 20_000))
    found = eventually(lambda: [each for each in bench.entries(IPV4) if each.protocol == 17][:20_000])
    assert len(found) == 20_000

    def timed(what: str, action: Callable[[], int], expected: int) -> None:
        began = time.perf_counter()
        assert action() == expected
        took = time.perf_counter() - began
        with capsys.disabled():
            print(f"\n{what}: {took * 1000:.1f} ms", end="")
        assert took < 5, what

    ids = [each.mapping.id for each in mappings]
    assert ids == ["m7000", "m7001"]
    timed("dump of 20,000", lambda: len(bench.entries(IPV4)), len(bench.entries(IPV4)))
    timed("dump of 10,000 of 20,000", lambda: len(bench.cutter.flows(mappings[0], NETWORK)), 10_000)
    quiet = wanted("quiet", "udp/7002", SERVER[0])
    timed("a cut of nothing among 20,000", lambda: bench.cutter.cut([(quiet, None)], NETWORK), 0)
    timed("a cut of 10,000 of 20,000", lambda: bench.cutter.cut([(mappings[0], None)], NETWORK), 10_000)
    left = bench.cutter.flows(mappings[1], NETWORK)
    assert len(left) == 10_000
    many = [(wanted(f"x{port}", f"udp/{port}", SERVER[0]), None) for port in range(20_000, 25_000)]
    timed("5,000 mappings closed, none of 10,000 flows", lambda: bench.cutter.cut(many, NETWORK), 0)
    assert bench.cutter.cut([(mappings[1], None)], NETWORK) == 10_000
