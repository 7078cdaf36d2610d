"""SSDP: searches as real clients send them, which targets answer, and answers of real routers."""

from __future__ import annotations

from ipaddress import ip_address
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.wire.errors import BadPacket
from sekimori.wire.igddescription import Gateway
from sekimori.wire.igdservices import IgdVersion
from sekimori.wire.ssdp import (
    LONGEST,
    Found,
    MSearch,
    Presence,
    Target,
    answers_to,
    decode_answer_untrusted,
    decode_search_untrusted,
    encode_alive,
    encode_answer,
    encode_byebye,
    encode_search,
    targets_of,
)

GATEWAY = Gateway(UUID("7d3b2a5e-1c53-4b5e-9f40-0d1f6f3a9c11"), "Gate", "Sekimori", "Sekimori")
PRESENCE = Presence("http://192.168.1.1:5000/v1/root.xml", "Linux UPnP/1.1 Sekimori/0.1", 7, 9)
IGD = "urn:schemas-upnp-org:device:InternetGatewayDevice:"
WANIP = "urn:schemas-upnp-org:service:WANIPConnection:"

SEARCHES = {
    "miniupnpc": (
        b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nST: " + IGD.encode() + b"1\r\n"
        b'MAN: "ssdp:discover"\r\nMX: 2\r\n\r\n',
        MSearch(IGD + "1", 2),
    ),
    "Tailscale": (
        b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nST: ssdp:all\r\n"
        b'MAN: "ssdp:discover"\r\nMX: 2\r\n\r\n',
        MSearch("ssdp:all", 2),
    ),
    "Windows": (
        b"M-SEARCH * HTTP/1.1\r\nHost:239.255.255.250:1900\r\nST:" + IGD.encode() + b"1\r\n"
        b'Man:"ssdp:discover"\r\nMX:3\r\n\r\n',
        MSearch(IGD + "1", 3),
    ),
    "libtorrent": (
        b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nST:upnp:rootdevice\r\n"
        b'MAN:"ssdp:discover"\r\nMX:3\r\n\r\n\r\n',
        MSearch("upnp:rootdevice", 3),
    ),
    "unicast, without MX": (
        b'M-SEARCH * HTTP/1.1\r\nHOST: 192.168.1.1:1900\r\nMAN: "ssdp:discover"\r\nST: ssdp:all\r\n\r\n',
        MSearch("ssdp:all", 1),
    ),
    "MX beyond its bounds": (
        b"M-SEARCH * HTTP/1.1\nMAN: ssdp:discover\nMX: 120\nST: ssdp:all\n",
        MSearch("ssdp:all", 5),
    ),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_searches_of_real_clients_are_read(name: str) -> None:
    data, search = SEARCHES[name]
    assert decode_search_untrusted(data) == search


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 40,
        b"M-SEARCH",
        b"M-SEARCH * HTTP/1.1",
        # CVE-2013-0229: a line that nothing ends was read past the end of the datagram.
        b"M-SEARCH * HTTP/1.1\r\nHOST:239.255.255.250:1900\r\nST:uuid:schemas:device:MX:3",
        b"M-SEARCH * HTTP/1.1\r\nST:" + b"A" * 2000,
        # CVE-2012-5958 and kin: a long unique name overran the stack of libupnp.
        b'M-SEARCH * HTTP/1.1\r\nMAN: "ssdp:discover"\r\nMX: 2\r\nST: uuid:' + b"A" * 600 + b"\r\n\r\n",
        b'M-SEARCH * HTTP/1.1\r\nMAN: "ssdp:discover"\r\nMX: 2\r\nST: \r\n\r\n',
        b'M-SEARCH * HTTP/1.1\r\nMAN: "ssdp:discover"\r\nMX: two\r\nST: ssdp:all\r\n\r\n',
        b'M-SEARCH * HTTP/1.1\r\nMAN: "ssdp:discover"\r\nMX: -1\r\nST: ssdp:all\r\n\r\n',
        b"M-SEARCH * HTTP/1.1\r\nMX: 2\r\nST: ssdp:all\r\n\r\n",
        b"NOTIFY * HTTP/1.1\r\nNTS: ssdp:alive\r\nNT: upnp:rootdevice\r\n\r\n",
        SEARCHES["Tailscale"][0].ljust(LONGEST + 1, b"x"),
    ],
)
def test_what_is_no_search_is_refused(data: bytes) -> None:
    with pytest.raises(BadPacket):
        decode_search_untrusted(data)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_search_or_refused(data: bytes) -> None:
    for each in (data, b'M-SEARCH * HTTP/1.1\r\nMAN: "ssdp:discover"\r\nST: ' + data):
        try:
            search = decode_search_untrusted(each)
        except BadPacket:
            continue
        assert 1 <= search.mx <= 5
        for target in answers_to(search.st, GATEWAY, 2):
            assert encode_answer(target, PRESENCE).count(b"\r\n\r\n") == 1


@given(st.sampled_from(["ssdp:all", "upnp:rootdevice", IGD + "1", WANIP + "2"]), st.integers(1, 5))
def test_a_search_survives_its_bytes(target: str, mx: int) -> None:
    assert decode_search_untrusted(encode_search(target, mx)) == MSearch(target, mx)


def test_everything_is_announced_once_and_the_gateway_first() -> None:
    counts: dict[IgdVersion, int] = {1: 10, 2: 11}
    for version, count in counts.items():
        targets = targets_of(GATEWAY, version)
        assert targets[0].st == f"{IGD}{version}"
        assert len(set(targets)) == len(targets) == count
        assert answers_to("ssdp:all", GATEWAY, version) == targets
        udns = {each.st for each in targets if each.st.startswith("uuid:")}
        assert {each.usn.partition("::")[0] for each in targets} == udns
        assert len(udns) == 3


def test_the_two_versions_have_nothing_in_common() -> None:
    assert not set(targets_of(GATEWAY, 1)) & set(targets_of(GATEWAY, 2))
    assert not any(each.st.endswith(("Device:2", "Connection:2")) for each in targets_of(GATEWAY, 1))


@pytest.mark.parametrize("st_", [IGD + "1", WANIP + "1", "urn:schemas-upnp-org:device:WANConnectionDevice:1"])
def test_an_older_version_is_answered_as_asked(st_: str) -> None:
    (older,) = answers_to(st_, GATEWAY, 2)
    (newer,) = answers_to(st_[:-1] + "2", GATEWAY, 2)
    assert older == Target(st_, f"{newer.usn.partition('::')[0]}::{st_}")
    assert answers_to(st_, GATEWAY, 1)[0].usn != older.usn


@pytest.mark.parametrize(
    "st_",
    [
        IGD + "2",
        WANIP + "2",
        WANIP + "0",
        WANIP + "01",
        WANIP,
        IGD + "1 ",
        "urn:other-org:device:X:1",
        "uuid:x",
        "x",
    ],
)
def test_other_searches_are_not_answered(st_: str) -> None:
    assert answers_to(st_, GATEWAY, 1) == ()


def test_the_root_and_each_uuid_answer() -> None:
    udn = GATEWAY.udn(1, "InternetGatewayDevice")
    assert answers_to("upnp:rootdevice", GATEWAY, 1) == (
        Target("upnp:rootdevice", f"{udn}::upnp:rootdevice"),
    )
    assert answers_to(udn.upper().replace("UUID", "uuid"), GATEWAY, 1) == (Target(udn, udn),)


def test_an_answer_has_every_field() -> None:
    target = answers_to(IGD + "1", GATEWAY, 1)[0]
    assert (
        encode_answer(target, PRESENCE)
        == (
            "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=1800\r\nEXT:\r\n"
            "LOCATION: http://192.168.1.1:5000/v1/root.xml\r\nSERVER: Linux UPnP/1.1 Sekimori/0.1\r\n"
            f"ST: {IGD}1\r\nUSN: {target.usn}\r\nBOOTID.UPNP.ORG: 7\r\nCONFIGID.UPNP.ORG: 9\r\n\r\n"
        ).encode()
    )
    found = decode_answer_untrusted(encode_answer(target, PRESENCE))
    assert (str(found.location), found.st, found.usn) == (PRESENCE.location, target.st, target.usn)
    assert (found.server, found.boot_id) == (PRESENCE.server, 7)


def test_announcements_say_alive_and_byebye() -> None:
    target = targets_of(GATEWAY, 1)[0]
    alive = encode_alive(target, PRESENCE).decode().split("\r\n")
    assert alive[0] == "NOTIFY * HTTP/1.1"
    assert {"HOST: 239.255.255.250:1900", f"NT: {target.st}", "NTS: ssdp:alive", f"USN: {target.usn}"} <= set(
        alive
    )
    assert f"LOCATION: {PRESENCE.location}" in alive
    gone = encode_byebye(target, PRESENCE, "ff02::c").decode().split("\r\n")
    assert {"HOST: [ff02::c]:1900", "NTS: ssdp:byebye", f"USN: {target.usn}"} <= set(gone)
    assert not any(line.startswith("LOCATION") for line in gone)


ROUTERS = {
    "MiniUPnPd": (
        b"HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: " + IGD.encode() + b"2\r\n"
        b"USN: uuid:a9708184-a6c0-413a-bbac-11bcf7e30ece::" + IGD.encode() + b"2\r\nEXT:\r\n"
        b"SERVER: Linux/5.4.0 UPnP/1.1 MiniUPnPd/1.9\r\nLOCATION: http://192.168.86.1:5000/rootDesc.xml\r\n"
        b'OPT: "http://schemas.upnp.org/upnp/1/0/"; ns=01\r\n01-NLS: 1\r\nBOOTID.UPNP.ORG: 1\r\n'
        b"CONFIGID.UPNP.ORG: 1337\r\n\r\n",
        ("192.168.86.1", 5000, IGD + "2", "Linux/5.4.0 UPnP/1.1 MiniUPnPd/1.9", 1),
    ),
    "a cable modem with an empty SERVER": (
        b"HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=1800\r\nDATE: Tue, 14 Dec 2021 07:51:29 GMT\r\nEXT:\r\n"
        b"LOCATION: http://192.168.0.1:49153/69692b70/gatedesc0b.xml\r\nSERVER: \r\nUser-Agent: redsonic\r\n"
        b"ST: " + IGD.encode() + b"1\r\nUSN: uuid:75802409::" + IGD.encode() + b"1\r\n\r\n",
        ("192.168.0.1", 49153, IGD + "1", "", None),
    ),
}


@pytest.mark.parametrize("name", ROUTERS)
def test_answers_of_real_routers_are_read(name: str) -> None:
    data, (address, port, st_, server, boot) = ROUTERS[name]
    found = decode_answer_untrusted(data)
    assert isinstance(found, Found)
    assert (found.location.address, found.location.port) == (ip_address(address), port)
    assert (found.st, found.server, found.boot_id) == (st_, server, boot)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"200 OK", b"404 Not Found"),
        (b"HTTP/1.1 200", b"NOTIFY * 200"),
        (b"http://192.168.86.1:5000", b"http://router.lan:5000"),
        (b"http://192.168.86.1:5000", b"https://192.168.86.1:5000"),
        (b"LOCATION", b"X-LOCATION"),
        (b"\r\nST:", b"\r\nX-ST:"),
    ],
)
def test_what_is_no_answer_is_refused(old: bytes, new: bytes) -> None:
    data = ROUTERS["MiniUPnPd"][0]
    assert old in data
    with pytest.raises(BadPacket):
        decode_answer_untrusted(data.replace(old, new))


@given(st.binary(max_size=300))
def test_any_bytes_are_an_answer_or_refused(data: bytes) -> None:
    for each in (data, b"HTTP/1.1 200 OK\r\nLOCATION: http://192.0.2.1/\r\nST: x\r\n" + data):
        try:
            found = decode_answer_untrusted(each)
        except BadPacket:
            continue
        assert found.location.address == ip_address(str(found.location.address))
