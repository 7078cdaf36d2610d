"""Where a mapping leads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.model.address import WHOLE, IpProtocol, PortPair, PortRange, UnixPath, parse_ports
from sekimori.model.errors import Problem
from sekimori.model.target import Target, TargetKind, pair_ports, parse_target
from sekimori.testing.strategies import targets

ADDRESS, NAME, SELF = TargetKind.ADDRESS, TargetKind.NAME, TargetKind.SELF
DEVICE, SUFFIX, TRIGGER = TargetKind.DEVICE, TargetKind.SUFFIX, TargetKind.TRIGGER
MAC = "aa:bb:cc:dd:ee:0f"


@pytest.mark.parametrize(
    ("text", "kind", "host", "ports"),
    [
        ("192.168.1.5", ADDRESS, "192.168.1.5", None),
        ("192.168.1.5:22", ADDRESS, "192.168.1.5", "22"),
        ("192.168.1.5:9000-9010", ADDRESS, "192.168.1.5", "9000-9010"),
        ("2001:DB8::5", ADDRESS, "2001:db8::5", None),
        ("[2001:db8::5]:22", ADDRESS, "2001:db8::5", "22"),
        ("[2001:db8::5]", ADDRESS, "2001:db8::5", None),
        ("::ffff:192.0.2.9", ADDRESS, "192.0.2.9", None),
        ("[::ffff:192.0.2.9]:80", ADDRESS, "192.0.2.9", "80"),
        ("::1", ADDRESS, "::1", None),
        ("fe80::1%eth0", ADDRESS, "fe80::1%eth0", None),
        ("kids-pc", NAME, "kids-pc", None),
        ("Kids-PC.lan.:22", NAME, "kids-pc.lan", "22"),
        ("_srv.example.org", NAME, "_srv.example.org", None),
        ("self", SELF, "self", None),
        ("SELF:80", SELF, "self", "80"),
        (":3000", SELF, "self", "3000"),
        (" host:1 ", NAME, "host", "1"),
    ],
)
def test_targets_are_read(text: str, kind: TargetKind, host: str, ports: str | None) -> None:
    assert parse_target(text) == (Target(kind, host), PortRange.parse(ports) if ports else None)


@pytest.mark.parametrize(
    ("text", "target", "ports"),
    [
        (MAC, Target(DEVICE, MAC, MAC), None),
        ("AA-BB-CC-DD-EE-0F", Target(DEVICE, MAC, MAC), None),
        (f"[{MAC}]:80", Target(DEVICE, MAC, MAC), "80"),
        ("device:nas", Target(DEVICE, "device:nas"), None),
        ("Device:NAS:8080", Target(DEVICE, "device:nas"), "8080"),
        ("device:nas.lan:80-81", Target(DEVICE, "device:nas.lan"), "80-81"),
        (f"device:nas@{MAC}", Target(DEVICE, "device:nas", MAC), None),
        (f"[device:nas@{MAC}]:80", Target(DEVICE, "device:nas", MAC), "80"),
        ("::10/-64", Target(SUFFIX, "::10/-64"), None),
        ("[::10/-64]:443", Target(SUFFIX, "::10/-64"), "443"),
        ("::0010/::ffff:ffff:ffff:ffff", Target(SUFFIX, "::10/-64"), None),
        ("::1:2:3:4/-64", Target(SUFFIX, "::1:2:3:4/-64"), None),
        ("trigger", Target(TRIGGER, "trigger"), None),
        ("SOCKS", Target(TargetKind.SOCKS, "socks"), None),
        ("socks.", Target(TargetKind.SOCKS, "socks"), None),  # the dot is not kept, so it cannot tell apart
        ("unix:/run/App.sock", Target(TargetKind.UNIX, "unix:/run/App.sock"), None),
        ("unix:/run/a:80", Target(TargetKind.UNIX, "unix:/run/a:80"), None),
        ("unix:80", Target(NAME, "unix"), "80"),  # a host of that name
    ],
)
def test_targets_that_move_are_read(text: str, target: Target, ports: str | None) -> None:
    assert parse_target(text) == (target, PortRange.parse(ports) if ports else None)


def test_a_device_is_pinned_to_the_address_it_was_found_with() -> None:
    named = Target.parse_host("device:nas")
    assert named.mac == ""
    assert str(named.pinned(MAC)) == f"device:nas@{MAC}"
    assert named.pinned(MAC).with_port(80) == f"[device:nas@{MAC}]:80"
    assert Target.parse_host(MAC).with_port(80) == f"[{MAC}]:80"
    assert named.with_port(80) == "device:nas:80"


def test_a_suffix_is_the_lower_half_of_an_address() -> None:
    assert Target.parse_host("::10/-64").suffix == 0x10
    assert Target.parse_host("::1:0:0:2/-64").suffix == 0x0001_0000_0000_0002
    assert Target.parse_host("2001:db8::10").suffix is None


@pytest.mark.parametrize(
    "text",
    [
        "::/-64",
        "::1:0:0:0:0/-64",
        "2001:db8::10/-64",
        "::10/64",
        "::10/-48",
        "::10%eth0/-64",
        "device:",
        "device:nas@",
        "device:nas@aa:bb",
        "device:a b",
        "device:nas:x",
        f"{MAC}:80",
        "aa:bb:cc:dd:ee",
        "gg:bb:cc:dd:ee:ff",
        "::g/-64",
        "::1:2:3:4:5:6:7:8/-64",
        "",
        "  ",
        ":",
        "host:",
        "host:0",
        "host:70000",
        "host:x",
        "host:9-8",
        "[::1",
        "[::1]22",
        "[::1]:",
        "1.2.3",
        "1.2.3.4.5",
        "256.1.1.1",
        "0.0.0.0",
        "::",
        "224.0.0.1:80",
        "ff02::1",
        "::ffff:0.0.0.0",
        "-host",
        "host-",
        "a..b",
        "a b",
        "host/22",
        "日本",
        "a" * 64,
        ".".join(["abcdefgh"] * 29),
    ],
)
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_target(text)
    assert caught.value.code == "bad-target"


@given(targets(), st.integers(1, 65535))
def test_a_target_with_its_port_is_read_back(target: Target, port: int) -> None:
    ports = PortRange(port, port) if target.kind.has_ports else None
    assert parse_target(target.with_port(port)) == (target, ports)
    assert Target.parse_host(str(target)) == target


def pairs(ports: str, inside: str | None = None) -> tuple[PortPair, ...]:
    return pair_ports(parse_ports(ports), PortRange.parse(inside) if inside else None, "host")


def pair(outside: str, inside: str, protocol: IpProtocol = IpProtocol.TCP) -> PortPair:
    return PortPair(protocol, PortRange.parse(outside), PortRange.parse(inside))


@pytest.mark.parametrize(
    ("ports", "inside", "made"),
    [
        ("80", None, (pair("80", "80"),)),
        ("80:81", None, (pair("80", "81"),)),
        ("80", "8080", (pair("80", "8080"),)),
        ("8000-8010", "9000-9010", (pair("8000-8010", "9000-9010"),)),
        ("tcp+udp/53", "5353", (pair("53", "5353"), pair("53", "5353", IpProtocol.UDP))),
        ("tcp/53,udp/53", "5353", (pair("53", "5353"), pair("53", "5353", IpProtocol.UDP))),
        ("80,80", None, (pair("80", "80"),)),
        ("gre", None, (PortPair(IpProtocol.GRE, WHOLE, WHOLE),)),
        ("gre,tcp/1723", None, (PortPair(IpProtocol.GRE, WHOLE, WHOLE), pair("1723", "1723"))),
    ],
)
def test_outside_and_inside_ports_are_joined(
    ports: str, inside: str | None, made: tuple[PortPair, ...]
) -> None:
    assert pairs(ports, inside) == made


@pytest.mark.parametrize(
    ("ports", "inside", "code"),
    [
        ("80:81", "82", "bad-target"),
        ("80,81", "82", "bad-target"),
        ("8000-8010", "9000", "range-mismatch"),
        ("80", "9000-9001", "range-mismatch"),
        ("80-90,85", None, "bad-ports"),
        ("gre", "80", "bad-target"),
        ("dmz", "1-65535", "bad-target"),
        ("tcp/1723,gre", "1723", "bad-target"),
        ("80:1,80:2", None, "bad-ports"),
        ("tcp/80-90,tcp+udp/90", None, "bad-ports"),
    ],
)
def test_what_does_not_join_is_refused(ports: str, inside: str | None, code: str) -> None:
    with pytest.raises(Problem) as caught:
        pairs(ports, inside)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("client", "for itself"),
        ("Client.", "for itself"),
        ("socks:1080", "has no ports"),
        ("unix:app.sock", "absolute path"),
        ("unix:/run/../x", "'..'"),
    ],
)
def test_what_only_looks_like_a_target_is_refused(text: str, why: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_target(text)
    assert caught.value.code == "bad-target"
    assert why in caught.value.title("en")


def test_the_clients_own_target_is_read_from_documents_only() -> None:
    target = Target.parse_host("client")
    assert (target.kind, target.with_port(80), target.unix) == (TargetKind.CLIENT, "client", None)


def test_a_unix_socket_is_known_by_its_path() -> None:
    target = Target.parse_host("unix:/run/a.sock")
    assert (target.unix, target.address) == (UnixPath("/run/a.sock"), None)
