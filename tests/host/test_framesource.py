"""Reading a frame's IP packet. What real frames tell is a matter of `netns/test_door_portmap_hostile`."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.host.framesource import read_frame_untrusted
from sekimori.wire.errors import BadPacket

DATA = b"a request"


def udp(data: bytes = DATA, length: int | None = None) -> bytes:
    return struct.pack("!HHHH", 4444, 5351, 8 + len(data) if length is None else length, 0) + data


def four(payload: bytes, *, fragment: int = 0, protocol: int = 17, options: bytes = b"") -> bytes:
    words = 5 + len(options) // 4
    total = words * 4 + len(payload)
    head = struct.pack("!BBHHHBBH", 0x40 | words, 0, total, 1, fragment, 64, protocol, 0)
    return head + bytes((192, 168, 1, 10)) + bytes((192, 168, 1, 1)) + options + payload


def six(payload: bytes, *, next_header: int = 17) -> bytes:
    head = struct.pack("!IHBB", 0x60000000, len(payload), next_header, 64)
    source, to = (ipaddress.ip_address(f"2001:db8::{each}").packed for each in (10, 1))
    return head + source + to + payload


@pytest.mark.parametrize(
    ("packet", "source"),
    [
        (four(udp()), "192.168.1.10"),
        (four(udp()) + bytes(20), "192.168.1.10"),  # padding up to Ethernet's shortest frame
        (four(udp(), options=b"\1\1\1\1"), "192.168.1.10"),
        (four(udp(), fragment=0x4000), "192.168.1.10"),  # not to be fragmented
        (six(udp()), "2001:db8::10"),
    ],
)
def test_a_datagram_is_read(packet: bytes, source: str) -> None:
    assert read_frame_untrusted(packet) == (ipaddress.ip_address(source), 4444, DATA)


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x50" + bytes(60),
        four(udp(), fragment=0x2000),  # the first of several
        four(udp(), fragment=1),
        four(udp(), protocol=6),
        four(udp())[:19],
        four(udp())[:-1],
        four(udp(length=7)),
        four(udp(length=100)),
        b"\x44" + four(udp())[1:],
        six(udp())[:39],
        six(udp(), next_header=0),  # hop-by-hop options
        six(udp(length=9999)),
    ],
)
def test_anything_else_is_refused(packet: bytes) -> None:
    with pytest.raises(BadPacket):
        read_frame_untrusted(packet)


@given(st.one_of(st.binary(max_size=80), st.binary(max_size=60).map(lambda rest: b"\x45" + rest)))
def test_any_bytes_are_a_datagram_or_a_bad_packet(packet: bytes) -> None:
    try:
        _, port, data = read_frame_untrusted(packet)
    except BadPacket:
        return
    assert 0 <= port <= 65535
    assert data in packet
