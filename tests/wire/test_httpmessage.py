"""Header fields, and URLs that name their host by its address."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.wire.errors import BadPacket
from sekimori.wire.httpmessage import (
    HttpUrl,
    read_head_untrusted,
    read_host_untrusted,
    read_url_untrusted,
    write_head,
)


@pytest.mark.parametrize(
    ("text", "address", "port", "path"),
    [
        (
            "http://192.168.0.1:49153/69692b70/gatedesc0b.xml",
            "192.168.0.1",
            49153,
            "/69692b70/gatedesc0b.xml",
        ),
        ("HTTP://192.168.0.1", "192.168.0.1", 80, "/"),
        ("http://[2001:DB8::1]:5000/x?y=1#z", "2001:db8::1", 5000, "/x?y=1"),
        ("http://[::ffff:192.168.0.1]/", "192.168.0.1", 80, "/"),
    ],
)
def test_a_url_at_an_address_is_read(text: str, address: str, port: int, path: str) -> None:
    assert read_url_untrusted(text) == HttpUrl(ip_address(address), port, path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://router.example/",
        "https://192.168.0.1/",
        "ftp://192.168.0.1/",
        "http://192.168.0.1.example/",
        "http://user@192.168.0.1/",
        "http://192.168.0.1@evil.example/",
        "http://192.168.0.999/",
        "http://192.168.0.01/",
        "http://3232235521/",
        "http://0x7f.1/",
        "http://192.168.0.1:0/",
        "http://192.168.0.1:65536/",
        "http://192.168.0.1:٣/",
        "http://[fe80::1%25eth0]/",
        "http://192.168.0.1/a b",
        "http://192.168.0.1/\r\nX: y",
        "http://192.168.0.1/é",
        "http://192.168.0.1/" + "a" * 1024,
    ],
)
def test_every_other_url_is_refused(text: str) -> None:
    with pytest.raises(BadPacket):
        read_url_untrusted(text)


@given(st.ip_addresses(), st.integers(1, 65535), st.from_regex(r"/[A-Za-z0-9_./?=&%-]{0,40}", fullmatch=True))
def test_a_url_survives_its_text(address, port: int, path: str) -> None:
    mapped = getattr(address, "ipv4_mapped", None)
    url = HttpUrl(mapped or address, port, path)
    if "%" not in str(address):
        assert read_url_untrusted(str(url)) == url
        assert read_host_untrusted(url.host) == (url.address, port)


@given(st.text(max_size=60))
def test_any_text_is_a_url_at_an_address_or_refused(text: str) -> None:
    for each in (text, "http://" + text, "http://192.0.2.1" + text):
        try:
            url = read_url_untrusted(each)
        except BadPacket:
            continue
        assert read_url_untrusted(str(url)) == url


@pytest.mark.parametrize(
    "host", ["router.lan", "192.168.0.1.evil.example", "localhost:5000", "", "192.168.0.1:"]
)
def test_a_host_field_with_a_name_is_refused(host: str) -> None:
    with pytest.raises(BadPacket):
        read_host_untrusted(host)


def test_a_host_field_without_a_port_is_port_80() -> None:
    assert read_host_untrusted(" 192.168.0.1 ") == (ip_address("192.168.0.1"), 80)


def test_fields_are_read_whatever_ends_their_lines() -> None:
    fields = {"st": "upnp:rootdevice", "mx": "3"}
    for data in (
        b"X * HTTP/1.1\r\nST:upnp:rootdevice\r\nMx: 3\r\n\r\n",
        b"X * HTTP/1.1\nST: upnp:rootdevice\nMX:3\n\n",
        b"X * HTTP/1.1\r\nST:\tupnp:rootdevice \r\nmx:3\r\nst: other",
        b"X * HTTP/1.1\r\nST: upnp:rootdevice\r\nMX: 3\r\n\r\n\x00",
    ):
        assert read_head_untrusted(data, 100) == ("X * HTTP/1.1", fields)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"X\r\nno field\r\n",
        b"X\r\n: y\r\n",
        b"X\r\nA: 1\r\n folded\r\n",
        b"X\r\nA: \x00\r\n",
        b"X\r\nA: 1\rB: 2\r\n",
        b"X\r\n" + b"A: 1\r\n" * 65,
        b"X\r\nA: " + b"1" * 2048,
        b"X" * 4097,
    ],
)
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(BadPacket):
        read_head_untrusted(data, 4096)


@pytest.mark.parametrize("value", ["a\r\nEvil: 1", "a\nb", "a\x00"])
def test_a_value_cannot_break_out_of_its_line(value: str) -> None:
    with pytest.raises(ValueError, match="control characters"):
        write_head("X", [("A", value)])


_names = st.from_regex(r"[A-Za-z][A-Za-z0-9.-]{0,20}", fullmatch=True)
_values = st.from_regex(r"[!-~]([ -~]{0,40}[!-~])?", fullmatch=True)


@given(st.dictionaries(_names.map(str.lower), _values, max_size=20))
def test_fields_survive_their_bytes(fields: dict[str, str]) -> None:
    assert read_head_untrusted(write_head("X", fields.items()), 4096) == ("X", fields)
