"""Root descriptions of routers: which services there are, and where they may be called."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.wire.errors import BadPacket
from sekimori.wire.httpmessage import HttpUrl
from sekimori.wire.igdroot import LONGEST, connections, firewalls, parse_root_untrusted

LOCATION = HttpUrl(ip_address("192.168.1.1"), 5000, "/dir/rootDesc.xml")
TYPE = "urn:schemas-upnp-org:service:"


def service(kind: str, control: str, events: str = "") -> str:
    return (
        f"<service><serviceType>{TYPE}{kind}</serviceType><serviceId>x</serviceId>"
        f"<controlURL>{control}</controlURL><eventSubURL>{events}</eventSubURL></service>"
    )


def device(udn: str, services: str, inner: str = "") -> str:
    return (
        f"<device><deviceType>d</deviceType><friendlyName>Router &amp; Co</friendlyName><UDN>{udn}</UDN>"
        f"<serviceList>{services}</serviceList><deviceList>{inner}</deviceList></device>"
    )


def root(inner: str, base: str = "") -> bytes:
    return (
        f'<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0">{base}{inner}</root>'
    ).encode()


SEVERAL_LINES = root(
    device(
        "r",
        service("Layer3Forwarding:1", "/l3f"),
        device(
            "w1",
            service("WANCommonInterfaceConfig:1", "/c"),
            device(
                "c1", service("WANPPPConnection:1", "/ppp1") + service("WANIPConnection:1", "/ip1", "/e1")
            ),
        )
        + device(
            "w2",
            "",
            device("c2", service("WANIPConnection:1", "/ip2") + service("WANIPv6FirewallControl:1", "/6")),
        ),
    )
)


def test_every_line_of_a_router_is_found_the_best_first() -> None:
    found = parse_root_untrusted(SEVERAL_LINES, LOCATION)
    assert (found.device_type, found.friendly_name, found.model_name) == ("d", "Router & Co", "")
    assert len(found.services) == 6
    assert [(each.control.path, each.device) for each in connections(found.services)] == [
        ("/ip1", "c1"),
        ("/ip2", "c2"),
        ("/ppp1", "c1"),
    ]
    assert [each.control.path for each in firewalls(found.services)] == ["/6"]
    first = connections(found.services)[0]
    assert first.events == HttpUrl(LOCATION.address, 5000, "/e1")
    assert connections(found.services)[1].events is None


def test_version_2_comes_before_version_1() -> None:
    document = root(device("r", service("WANIPConnection:1", "/1") + service("WANIPConnection:2", "/2")))
    assert [each.control.path for each in connections(parse_root_untrusted(document, LOCATION).services)] == [
        "/2",
        "/1",
    ]


@pytest.mark.parametrize(
    ("base", "control", "url"),
    [
        ("", "/ctl", "http://192.168.1.1:5000/ctl"),
        ("", "ctl", "http://192.168.1.1:5000/dir/ctl"),
        ("", "../ctl?a=1&amp;b=2", "http://192.168.1.1:5000/ctl?a=1&b=2"),
        ("", "http://192.168.1.1:1780/ctl", "http://192.168.1.1:1780/ctl"),
        ("<URLBase>http://192.168.1.1:1780/up/</URLBase>", "ctl", "http://192.168.1.1:1780/up/ctl"),
        ("<URLBase>\n http://192.168.1.1:1780 </URLBase>", "/ctl", "http://192.168.1.1:1780/ctl"),
        ("<URLBase>http://10.0.0.1:2828</URLBase>", "/ctl", "http://192.168.1.1:5000/ctl"),
        ("<URLBase>http://router.lan/</URLBase>", "ctl", "http://192.168.1.1:5000/dir/ctl"),
        ("<URLBase></URLBase>", "ctl", "http://192.168.1.1:5000/dir/ctl"),
    ],
)
def test_urls_are_made_whole(base: str, control: str, url: str) -> None:
    found = parse_root_untrusted(root(device("r", service("WANIPConnection:1", control)), base), LOCATION)
    assert [str(each.control) for each in found.services] == [url]


@pytest.mark.parametrize(
    "control",
    [
        "",
        "http://10.0.0.1/ctl",
        "//10.0.0.1/ctl",
        "http://router.lan/ctl",
        "https://192.168.1.1/ctl",
        "file:///etc/passwd",
        "http://192.168.1.1@10.0.0.1/ctl",
        "http://[::1/ctl",
        "/c t l",
    ],
)
def test_a_service_elsewhere_is_left_out(control: str) -> None:
    document = root(device("r", service("WANIPConnection:1", control) + service("WANIPConnection:1", "/ok")))
    assert [each.control.path for each in parse_root_untrusted(document, LOCATION).services] == ["/ok"]


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<html/>",
        b"<root/>",
        b"<!DOCTYPE x>" + SEVERAL_LINES,
        SEVERAL_LINES.replace(b"</root>", b""),
        SEVERAL_LINES + b" " * LONGEST,
        root("<device>" + "<deviceList><device>" * 20 + "</device></deviceList>" * 20 + "</device>"),
    ],
)
def test_what_is_no_root_description_is_refused(document: bytes) -> None:
    with pytest.raises(BadPacket):
        parse_root_untrusted(document, LOCATION)


def test_names_cannot_control_a_terminal() -> None:
    document = SEVERAL_LINES.replace(b"Router &amp; Co", b"R\x9b2J" + b"x" * 300)
    name = parse_root_untrusted(document, LOCATION).friendly_name
    assert name.startswith("R2Jxx")
    assert len(name) == 128


@given(st.binary(max_size=200), st.integers(0, len(SEVERAL_LINES)))
def test_any_bytes_are_a_description_or_refused(data: bytes, place: int) -> None:
    for document in (
        data,
        SEVERAL_LINES[:place] + data + SEVERAL_LINES[place:],
        root("<device><serviceList><service><serviceType>x</serviceType><controlURL>").replace(
            b"</root>", data
        )
        + b"</controlURL></service></serviceList></device></root>",
    ):
        try:
            found = parse_root_untrusted(document, LOCATION)
        except BadPacket:
            continue
        assert all(each.control.address == LOCATION.address for each in found.services)
