"""What a mapping means to a router, and which cannot be."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from sekimori.model.address import Interface, IpProtocol, PortPair, PortRange, Span
from sekimori.model.mapping import Mapping, Trigger
from sekimori.model.network import Network, Wan
from sekimori.model.target import Target
from sekimori.planes.router.notice import Notice, read_notice_untrusted
from sekimori.planes.router.terms import (
    Line,
    Run,
    lines_behind_a_router,
    lines_for,
    nonce_for,
    runs_of,
    terms_of,
    why_unable,
)
from sekimori.wire.errors import BadPacket

from .rig import wanted

GATEWAY = IPv4Address("192.168.1.1")
WAN = Wan("eth0", (IPv4Address("192.168.1.5"), IPv4Address("192.168.1.6")), gateway4=GATEWAY, has4=True)
SHARED = Wan("wwan0", (IPv4Address("100.64.1.2"),), gateway4=IPv4Address("100.64.1.1"), has4=True)
PUBLIC = Wan("ppp0", (IPv4Address("8.8.8.8"),), gateway4=IPv4Address("8.8.8.1"), has4=True)
NETWORK = Network((WAN, SHARED, PUBLIC))


def test_routers_are_above_lines_with_private_and_shared_addresses() -> None:
    assert lines_behind_a_router(NETWORK) == (
        Line("eth0", WAN.addresses4[0], GATEWAY),
        Line("wwan0", SHARED.addresses4[0], IPv4Address("100.64.1.1")),
    )
    bare = [
        replace(WAN, gateway4=None),  # PPP: whoever is at the other end translates nothing when asked
        replace(WAN, gateway4=IPv6Address("fe80::1")),
        replace(WAN, addresses4=()),
        replace(WAN, addresses4=(IPv4Address("169.254.1.1"),)),
        replace(WAN, addresses4=(*WAN.addresses4, IPv4Address("8.8.8.8"))),
    ]
    assert [lines_behind_a_router(Network((wan,))) for wan in bare] == [()] * 5


@pytest.mark.parametrize(
    ("on", "interfaces"),
    [
        (None, ["eth0", "wwan0"]),
        (Interface("wwan0"), ["wwan0"]),
        (IPv4Address("192.168.1.6"), ["eth0"]),
        (IPv4Address("0.0.0.0"), ["eth0", "wwan0"]),
        (IPv4Address("8.8.8.8"), []),
        (Interface("eth9"), []),
    ],
)
def test_a_mapping_is_on_the_lines_it_names(on: object, interfaces: list[str]) -> None:
    mapping = replace(wanted(1).mapping, on=on)  # type: ignore[arg-type]
    assert [line.interface for line in lines_for(mapping, NETWORK)] == interfaces
    why = why_unable(mapping, NETWORK)
    assert (why is None) == bool(interfaces)


def test_inside_ports() -> None:
    both = wanted(1, "tcp/8080:80 udp/7000-7010:17000-17010").mapping
    assert runs_of(both) == (Run(IpProtocol.TCP, 8080, 8080), Run(IpProtocol.UDP, 7000, 7000, 11))
    alone = wanted(1, "tcp/8080:80", path="router", target="self").mapping
    assert runs_of(alone) == (Run(IpProtocol.TCP, 8080, 80),)
    assert [str(run) for run in runs_of(both)[1].singles(9)] == ["udp/7009", "udp/7010"]


def _with_ports(protocol: IpProtocol) -> Mapping:
    whole = PortRange(1, 65535)
    return replace(wanted(1).mapping, ports=(PortPair(protocol, whole, whole),))


@pytest.mark.parametrize(
    ("mapping", "word"),
    [
        (_with_ports(IpProtocol.DMZ), "DMZ"),
        (_with_ports(IpProtocol.GRE), "gre"),
        (wanted(1, "sctp/80").mapping, "sctp"),
        (wanted(1, "udp/7000-7064").mapping, "65 ports"),
        (
            replace(wanted(1).mapping, trigger=Trigger((Span(IpProtocol.TCP, PortRange(1, 1)),), 60)),
            "trigger",
        ),
        (replace(wanted(1).mapping, target=Target.parse_host("::10/-64")), "IPv6"),
        (replace(wanted(1).mapping, on=IPv6Address("2001:db8::1")), "IPv4 only"),
        (replace(wanted(1).mapping, on=Interface("eth9")), "eth9"),
    ],
)
def test_what_no_router_can_do(mapping: Mapping, word: str) -> None:
    why = why_unable(mapping, NETWORK)
    assert why is not None
    assert word in why["en"]
    assert why["ja"] != why["en"]


def test_without_a_router() -> None:
    assert why_unable(wanted(1, "udp/7000-7063").mapping, NETWORK) is None
    why = why_unable(wanted(1).mapping, Network((PUBLIC,)))
    assert why is not None
    assert "no router stands before" in why["en"]


def test_fingerprints_are_of_what_a_router_is_asked_for() -> None:
    plain = wanted(1)
    same = replace(plain, targets=("192.168.77.99",), grace=0.0)
    assert terms_of(plain) == terms_of(same)
    others = [
        wanted(1, "tcp/8081"),
        wanted(1, "udp/8080"),
        wanted(1, accept_until=2e9),
        wanted(1, on=Interface("eth0")),
        wanted(1, "tcp/8080:80", path="router"),
    ]
    assert len({terms_of(plain), *map(terms_of, others)}) == 6


def test_a_nonce_is_the_same_in_every_life_and_no_other_s() -> None:
    run = Run(IpProtocol.TCP, 8080, 80)
    nonce = nonce_for(b"secret", "m1", run)
    assert len(nonce) == 12
    assert nonce == nonce_for(b"secret", "m1", run) == nonce_for(b"secret", "m1", run.first(1))
    others = [
        nonce_for(b"other", "m1", run),
        nonce_for(b"secret", "m2", run),
        nonce_for(b"secret", "m1", Run(IpProtocol.UDP, 8080, 80)),
        nonce_for(b"secret", "m1", Run(IpProtocol.TCP, 8080, 81)),
    ]
    assert len({nonce, *others}) == 5


NOTIFY = "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nNT: {nt}\r\nNTS: {nts}\r\n{more}\r\n"
IGD = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"


@pytest.mark.parametrize(
    ("text", "notice"),
    [
        (NOTIFY.format(nt=IGD, nts="ssdp:byebye", more=""), Notice(True, None)),
        (
            NOTIFY.format(nt="upnp:rootdevice", nts="ssdp:alive", more="BOOTID.UPNP.ORG: 7\r\n"),
            Notice(False, 7),
        ),
        (NOTIFY.format(nt=IGD, nts="ssdp:alive", more="BOOTID.UPNP.ORG: x\r\n"), Notice(False, None)),
        (NOTIFY.format(nt="urn:schemas-upnp-org:device:MediaServer:1", nts="ssdp:byebye", more=""), None),
    ],
)
def test_announcements(text: str, notice: Notice | None) -> None:
    assert read_notice_untrusted(text.encode()) == notice


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00" * 40, b"M-SEARCH * HTTP/1.1\r\nNTS: ssdp:alive\r\n\r\n", b"NOTIFY * HTTP/1.1\r\n\r\n"],
)
def test_what_is_no_announcement(data: bytes) -> None:
    with pytest.raises(BadPacket):
        read_notice_untrusted(data)
