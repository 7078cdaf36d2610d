"""SOCKS and HTTP CONNECT from the server's side: the RFCs' bytes, any cut, and any bytes."""

from __future__ import annotations

from base64 import b64encode
from ipaddress import ip_address
from itertools import pairwise
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.wire.asked import Asked, LogIn, Refused, Wants, read_host_untrusted
from sekimori.wire.errors import BadPacket
from sekimori.wire.httpconnect import LONGEST_HEAD
from sekimori.wire.negotiation import MOST, Negotiation
from sekimori.wire.socks import decode_datagram_untrusted, encode_datagram

GREETING = b"\x05\x01\x00"
TO_NAME = b"\x05\x01\x00\x03\x0bexample.com\x01\xbb"
TO_V6 = b"\x05\x01\x00\x04" + ip_address("2001:db8::1").packed + b"\x00\x50"
SOCKS_4 = b"\x04\x01\x00\x50\xc0\x00\x02\x01me\x00"
SOCKS_4A = b"\x04\x01\x00\x50\x00\x00\x00\x01me\x00example.com\x00"
HTTP = b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"
LOGIN = b"\x01\x04user\x06secret"
BASIC = (
    b"CONNECT a.example:443 HTTP/1.1\r\nProxy-Authorization: Basic " + b64encode(b"user:se:ret") + b"\r\n\r\n"
)

WHOLE = [
    (GREETING + TO_NAME, Wants("connect", "example.com", 443)),
    (GREETING + TO_V6, Wants("connect", "2001:db8::1", 80)),
    (GREETING + b"\x05\x02\x00\x01\xc0\x00\x02\x01\x00\x00", Wants("bind", "192.0.2.1", 0)),
    (GREETING + b"\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", Wants("udp", "0.0.0.0", 0)),
    (SOCKS_4, Wants("connect", "192.0.2.1", 80)),
    (b"\x04\x02\x00\x00\xc0\x00\x02\x01\x00", Wants("bind", "192.0.2.1", 0)),
    (SOCKS_4A, Wants("connect", "example.com", 80)),
    (HTTP, Wants("connect", "example.com", 443)),
    (b"CONNECT [2001:DB8::1]:443 HTTP/1.0\n\n", Wants("connect", "2001:db8::1", 443)),
    (b"CONNECT EXAMPLE.com.:1 HTTP/1.1\r\n\r\n", Wants("connect", "example.com", 1)),
]


def _say(negotiation: Negotiation, pieces: list[bytes]) -> Asked | None:
    """Everything, piece by piece; logins succeed."""
    asked = None
    for piece in pieces:
        found = negotiation.receive_untrusted(piece)
        while isinstance(found, LogIn):
            found = negotiation.logged_in(True)
        asked = asked or found
    return asked


@pytest.mark.parametrize(("data", "wanted"), WHOLE)
def test_what_is_asked_for(data: bytes, wanted: Wants) -> None:
    assert _say(Negotiation(False), [data]) == wanted


@pytest.mark.parametrize(("data", "wanted"), WHOLE)
def test_byte_by_byte_is_as_good_as_whole_and_what_follows_is_kept(data: bytes, wanted: Wants) -> None:
    whole, bytewise = Negotiation(False), Negotiation(False)
    rest = b"\x05\x04GET / HTTP/1.1\r\n\r\n"
    assert _say(whole, [data + rest]) == wanted
    assert _say(bytewise, [bytes((byte,)) for byte in data + rest]) == wanted
    assert whole.take_rest() == bytewise.take_rest() == rest
    assert whole.take_out() == bytewise.take_out()


@pytest.mark.parametrize(("data", "wanted"), WHOLE)
def test_nothing_is_asked_for_before_the_last_byte(data: bytes, wanted: Wants) -> None:
    assert _say(Negotiation(False), [data[:-1]]) is None


def test_socks_5_answers() -> None:
    negotiation = Negotiation(False)
    assert negotiation.receive_untrusted(GREETING) is None
    assert negotiation.take_out() == b"\x05\x00"
    negotiation.receive_untrusted(TO_NAME)
    assert negotiation.take_out() == b""  # nothing is said before the destination is reached
    negotiation.succeeded("192.0.2.9", 4000)
    assert negotiation.take_out() == b"\x05\x00\x00\x01\xc0\x00\x02\x09\x0f\xa0"
    negotiation.succeeded("2001:db8::1", 1)
    assert negotiation.take_out() == b"\x05\x00\x00\x04" + ip_address("2001:db8::1").packed + b"\x00\x01"


@pytest.mark.parametrize(
    ("cause", "socks5", "http"),
    [
        ("refused", 5, b"502"),
        ("timed_out", 6, b"504"),
        ("unreachable", 4, b"502"),
        ("prohibited", 2, b"403"),
        ("down", 1, b"503"),
        ("descriptors", 1, b"503"),
        ("other", 1, b"502"),
    ],
)
def test_each_failure_has_its_answer(
    cause: Literal["refused", "timed_out", "unreachable", "prohibited", "down", "descriptors", "other"],
    socks5: int,
    http: bytes,
) -> None:
    negotiation = Negotiation(False)
    _say(negotiation, [GREETING + TO_NAME])
    negotiation.take_out()
    negotiation.failed(cause)
    assert negotiation.take_out() == bytes((5, socks5, 0, 1, 0, 0, 0, 0, 0, 0))
    negotiation = Negotiation(False)
    _say(negotiation, [SOCKS_4])
    negotiation.failed(cause)
    assert negotiation.take_out() == b"\x00\x5b\x00\x00\x00\x00\x00\x00"
    negotiation = Negotiation(False)
    _say(negotiation, [HTTP])
    negotiation.failed(cause)
    assert negotiation.take_out().split(b" ")[1] == http


def test_socks_4_is_granted() -> None:
    negotiation = Negotiation(False)
    _say(negotiation, [SOCKS_4])
    negotiation.succeeded("2001:db8::1", 7)  # an address that version 4 has no room for
    assert negotiation.take_out() == b"\x00\x5a\x00\x07\x00\x00\x00\x00"


def test_a_password_is_asked_for_where_there_are_users() -> None:
    negotiation = Negotiation(True)
    assert negotiation.receive_untrusted(b"\x05\x02\x00\x02") is None
    assert negotiation.take_out() == b"\x05\x02"
    assert negotiation.receive_untrusted(LOGIN + TO_NAME) == LogIn("user", b"secret")
    assert negotiation.take_out() == b""
    assert negotiation.receive_untrusted(b"early") is None  # nothing is read on before it is judged
    assert negotiation.logged_in(True) == Wants("connect", "example.com", 443)
    assert negotiation.take_out() == b"\x01\x00"
    assert negotiation.take_rest() == b"early"


def test_a_wrong_password_ends_it() -> None:
    negotiation = Negotiation(True)
    assert _say(negotiation, [b"\x05\x01\x02"]) is None
    negotiation.take_out()
    assert negotiation.receive_untrusted(LOGIN + TO_NAME) is not None
    assert isinstance(negotiation.logged_in(False), Refused)
    assert negotiation.take_out() == b"\x01\x01"
    assert negotiation.receive_untrusted(TO_NAME) is None


def test_a_client_that_offers_only_a_password_has_its_way_where_none_is_needed() -> None:
    negotiation = Negotiation(False)
    assert isinstance(negotiation.receive_untrusted(b"\x05\x01\x02" + LOGIN), LogIn)


@pytest.mark.parametrize("greeting", [b"\x05\x00", b"\x05\x01\x00", b"\x05\x02\x00\x01"])
def test_no_way_around_the_password(greeting: bytes) -> None:
    negotiation = Negotiation(True)
    assert isinstance(negotiation.receive_untrusted(greeting + TO_NAME), Refused)
    assert negotiation.take_out() == b"\x05\xff"
    assert negotiation.receive_untrusted(TO_NAME) is None


def test_socks_4_has_no_password() -> None:
    for request in (SOCKS_4, SOCKS_4A):
        negotiation = Negotiation(True)
        assert isinstance(negotiation.receive_untrusted(request), Refused)
        assert negotiation.take_out()[:2] == b"\x00\x5b"


def test_basic_password() -> None:
    negotiation = Negotiation(True)
    assert negotiation.receive_untrusted(BASIC) == LogIn("user", b"se:ret")
    assert negotiation.logged_in(True) == Wants("connect", "a.example", 443)
    negotiation.succeeded("192.0.2.1", 1)
    assert negotiation.take_out() == b"HTTP/1.1 200 Connection established\r\n\r\n"
    negotiation = Negotiation(True)
    negotiation.receive_untrusted(BASIC)
    assert isinstance(negotiation.logged_in(False), Refused)
    assert negotiation.take_out().startswith(b"HTTP/1.1 407 ")


@pytest.mark.parametrize(
    "field", [b"", b"Basic", b"Basic !!!", b"Basic bm9jb2xvbg==", b"Basic \xe9\xe8", b"Bearer dTpw"]
)
def test_http_without_a_password_that_can_be_read_is_asked_for_one(field: bytes) -> None:
    negotiation = Negotiation(True)
    request = b"CONNECT a.example:443 HTTP/1.1\r\nProxy-Authorization: " + field + b"\r\n\r\n"
    assert isinstance(negotiation.receive_untrusted(request), Refused)
    answer = negotiation.take_out()
    assert answer.startswith(b"HTTP/1.1 407 ")
    assert b"\r\nProxy-Authenticate: Basic " in answer


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET http://a.example/ HTTP/1.1", b"405"),
        (b"CONNECT a.example HTTP/1.1", b"400"),
        (b"CONNECT a.example: HTTP/1.1", b"400"),
        (b"CONNECT a.example:0 HTTP/1.1", b"400"),
        (b"CONNECT a.example:65536 HTTP/1.1", b"400"),
        (b"CONNECT a.example:+80 HTTP/1.1", b"400"),
        (b"CONNECT 127.1:80 HTTP/1.1", b"400"),
        (b"CONNECT http://a.example/:80 HTTP/1.1", b"400"),
        (b"CONNECT u@a.example:80 HTTP/1.1", b"400"),
    ],
)
def test_other_requests_are_answered_and_not_served(line: bytes, status: bytes) -> None:
    negotiation = Negotiation(False)
    assert isinstance(negotiation.receive_untrusted(line + b"\r\n\r\n"), Refused)
    assert negotiation.take_out().split(b" ")[1] == status


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (b"no field\r\n\r\n", b"400"),
        (b"Cookie: \x00\r\n\r\n", b"400"),
        (b"Cookie: " + b"c" * 4000 + b"\r\n\r\n", b"400"),
        (b"C: c\r\n" * 100 + b"\r\n", b"400"),
        (b"Cookie: " + b"c" * LONGEST_HEAD, b"431"),
        ((b"Cookie: " + b"c" * 1000 + b"\r\n") * 9 + b"\r\n", b"431"),
    ],
)
def test_a_request_that_is_too_much_or_malformed_is_answered(fields: bytes, status: bytes) -> None:
    data = b"CONNECT a.example:443 HTTP/1.1\r\n" + fields
    for pieces in ([data], [bytes((byte,)) for byte in data]):
        negotiation = Negotiation(False)
        assert isinstance(_say(negotiation, pieces), Refused)
        answer = negotiation.take_out()
        assert answer.split(b" ")[1] == status
        assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(("command", "code"), [(b"\x05\x04\x00\x01", 7), (b"\x05\x01\x00\x02", 8)])
def test_what_socks_5_does_not_know_is_answered(command: bytes, code: int) -> None:
    negotiation = Negotiation(False)
    assert isinstance(
        negotiation.receive_untrusted(GREETING + command + b"\xc0\x00\x02\x01\x00\x50"), Refused
    )
    assert negotiation.take_out() == bytes((5, 0, 5, code, 0, 1, 0, 0, 0, 0, 0, 0))


@pytest.mark.parametrize(
    "data",
    [
        b"\x00",
        b"\x16\x03\x01",  # a TLS hello
        b"\xff",
        b" CONNECT",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"CONNECT a.example:443 HTTP/2\r\n\r\n",
        GREETING + b"\x05\x01\x00\x03\x00\x00\x50",
        GREETING + b"\x05\x01\x00\x03\x04a\x00bc\x00\x50",
        GREETING + b"\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x00",
        GREETING + b"\x04",
        b"\x04\x01\x00\x50\xc0\x00\x02\x01" + b"u" * 256,
        b"\x04\x01\x00\x50\x00\x00\x00\x01u\x00" + b"h" * 256,
        b"C" * LONGEST_HEAD,
    ],
)
def test_what_is_none_of_them(data: bytes) -> None:
    with pytest.raises(BadPacket):
        _say(Negotiation(False), [data])
    with pytest.raises(BadPacket):
        _say(Negotiation(False), [bytes((byte,)) for byte in data])


def test_a_client_says_only_so_much_before_it_is_answered() -> None:
    negotiation = Negotiation(False)
    _say(negotiation, [HTTP])
    with pytest.raises(BadPacket):
        _say(negotiation, [bytes(1024)] * (MOST // 1024 + 1))


pieces = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from([*(data for data, _ in WHOLE), GREETING, LOGIN, BASIC, TO_NAME, TO_V6]),
    ),
    max_size=6,
)


@given(pieces, st.booleans(), st.booleans(), st.data())
def test_any_bytes_in_any_cut_come_to_the_same(said, must_log_in, ok, data):
    whole = b"".join(said)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    ends = [0, *cuts, len(whole)]
    assert _outcome([whole], must_log_in, ok) == _outcome(
        [whole[start:end] for start, end in pairwise(ends)], must_log_in, ok
    )


def _outcome(said: list[bytes], must_log_in: bool, ok: bool) -> tuple[list[Asked], bytes]:
    """What a client came to: the events, and what was sent to it; BadPacket is an event without words."""
    negotiation = Negotiation(must_log_in)
    asked: list[Asked] = []
    try:
        for piece in said:
            found = negotiation.receive_untrusted(piece)
            while found is not None:
                asked.append(found)
                found = negotiation.logged_in(ok) if isinstance(found, LogIn) else None
    except BadPacket:
        return asked, b""
    return asked, negotiation.take_out()


hosts = st.one_of(
    st.ip_addresses().map(str),
    st.from_regex(r"[a-z][a-z0-9-]{0,20}[a-z](\.[a-z]{2,10}){1,3}", fullmatch=True),
)


@given(hosts, st.integers(1, 65535), st.binary(max_size=100))
def test_datagram_headers_round_trip(host: str, port: int, payload: bytes) -> None:
    data = encode_datagram(host, port) + payload
    found, number, start = decode_datagram_untrusted(memoryview(data))
    assert (found, number, data[start:]) == (host, port, payload)


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=30).map(lambda end: b"\0\0\0" + end)))
def test_any_datagram_is_one_or_bad(data: bytes) -> None:
    try:
        host, port, start = decode_datagram_untrusted(data)
    except BadPacket:
        return
    assert 0 < port < 65536
    assert data[start:] == data[len(encode_datagram(host, port)) :] or data[3] == 3  # names lose case and dot


def test_fragments_are_refused() -> None:
    with pytest.raises(BadPacket):
        decode_datagram_untrusted(b"\0\0\x01" + encode_datagram("192.0.2.1", 53)[3:])


@pytest.mark.parametrize(
    "host",
    [
        b"127.1",
        b"2130706433",
        b"0x7f.1",
        b"a.0x7f",
        b"fe80::1%lo",
        b"",
        b".",
        b"-a",
        b"a..example",
        b"a" * 64 + b".example",  # no label of the DNS, and IDNA's codec breaks on it
        b"example." + b"a" * 64,
    ],
)
def test_hosts_in_disguise(host: bytes) -> None:
    with pytest.raises(BadPacket):
        read_host_untrusted(host)


@given(hosts)
def test_hosts_read_as_they_are(host: str) -> None:
    assert read_host_untrusted(host.encode()) == host
