"""PCP: the figures of RFC 6887, how each bad request is answered, round trips, and any bytes."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from sekimori.wire.errors import BadPacket
from sekimori.wire.pcp import (
    LONGEST,
    Announce,
    BadRequest,
    Body,
    Dialect,
    ErrorResponse,
    Map,
    OtherVersion,
    Peer,
    Request,
    Response,
    Result,
    decode_request_untrusted,
    decode_response_untrusted,
    dialect_untrusted,
    encode_error,
    encode_request,
    encode_response,
)
from sekimori.wire.pcpoptions import Filter, PortSet, PreferFailure, ThirdParty

NONCE = bytes.fromhex("000102030405060708090a0b")
EPOCH = 0x01020304
ANY4 = "00000000 00000000 0000ffff 00000000"
CLIENT4 = "00000000 00000000 0000ffff c0000207"  # 192.0.2.7
CLIENT6 = "20010db8 00000000 00000000 00000007"
OUTSIDE4 = "00000000 00000000 0000ffff cb007105"  # 203.0.113.5
HEAD4 = f"02 01 0000 00001c20 {CLIENT4}"
HEAD6 = f"02 01 0000 00001c20 {CLIENT6}"
MAP4 = f"{NONCE.hex()} 11 000000 1f90 2328 {ANY4}"
MAPPED = f"{NONCE.hex()} 11 000000 1f90 2329 {OUTSIDE4}"
PEER4 = f"{NONCE.hex()} 06 000000 0016 0000 {ANY4} 01bb 0000 {OUTSIDE4}"

client4, client6 = IPv4Address("192.0.2.7"), IPv6Address("2001:db8::7")
any4, outside4 = IPv4Address("0.0.0.0"), IPv4Address("203.0.113.5")
map4 = Map(NONCE, 17, 8080, 9000, any4)
mapped = Map(NONCE, 17, 8080, 9001, outside4)

REQUESTS: list[tuple[str, Request]] = [
    (f"02 00 0000 00000000 {CLIENT4}", Request(0, client4, Announce())),
    (f"{HEAD4} {MAP4}", Request(7200, client4, map4)),
    (f"{HEAD4} {MAP4} 02 00 0000", Request(7200, client4, map4, (PreferFailure(),))),
    (
        f"{HEAD6} {NONCE.hex()} 00 000000 0000 0000 {'00' * 16}",
        Request(7200, client6, Map(NONCE, 0, 0, 0, IPv6Address("::"))),
    ),
    (
        f"02 02 0000 00000078 {CLIENT4} {PEER4}",
        Request(120, client4, Peer(NONCE, 6, 22, 0, any4, 443, outside4)),
    ),
]
RESPONSES: list[tuple[str, Response]] = [
    (f"02 80 00 00 00000000 01020304 {'00' * 12}", Response(0, EPOCH, Announce())),
    (f"02 81 00 00 00000e10 01020304 {'00' * 12} {MAPPED}", Response(3600, EPOCH, mapped)),
    (
        f"02 81 00 00 00000e10 01020304 {'00' * 12} {MAPPED} 82 00 0005 0004 1f90 00 000000",
        Response(3600, EPOCH, mapped, (PortSet(4, 8080, parity=False),)),
    ),
    (
        f"02 82 00 00 00000078 01020304 {'00' * 12} {PEER4}",
        Response(120, EPOCH, Peer(NONCE, 6, 22, 0, any4, 443, outside4)),
    ),
]


@pytest.mark.parametrize(("text", "request_"), REQUESTS)
def test_requests_are_the_bytes_of_the_figures(text: str, request_: Request) -> None:
    assert encode_request(request_) == bytes.fromhex(text)
    assert decode_request_untrusted(bytes.fromhex(text)) == request_


@pytest.mark.parametrize(("text", "response"), RESPONSES)
def test_responses_are_the_bytes_of_the_figures(text: str, response: Response) -> None:
    assert encode_response(response) == bytes.fromhex(text)
    assert decode_response_untrusted(bytes.fromhex(text)) == response


def test_reserved_bytes_say_nothing() -> None:
    text = f"02 01 ffff 00001c20 {CLIENT4} {NONCE.hex()} 11 ffffff 1f90 2328 {ANY4}"
    assert decode_request_untrusted(bytes.fromhex(text)) == Request(7200, client4, map4)
    text = f"02 81 ff 00 00000e10 01020304 {'ff' * 12} {MAPPED}"
    assert decode_response_untrusted(bytes.fromhex(text)) == Response(3600, EPOCH, mapped)


def test_an_option_that_nobody_knows_does_not_spoil_a_success() -> None:
    text = f"02 81 00 00 00000e10 01020304 {'00' * 12} {MAPPED} 7f 00 0004 00000000"
    assert decode_response_untrusted(bytes.fromhex(text)) == Response(3600, EPOCH, mapped)


def test_results_have_the_numbers_and_lifetimes_of_the_rfc() -> None:
    short = {
        Result.NETWORK_FAILURE,
        Result.NO_RESOURCES,
        Result.USER_EX_QUOTA,
        Result.CANNOT_PROVIDE_EXTERNAL,
        Result.EXCESSIVE_REMOTE_PEERS,
    }
    assert [int(each) for each in Result] == list(range(14))
    assert {each for each in Result if each.retry_after == 30} == short
    assert {each for each in Result if each.retry_after == 1800} == set(Result) - short - {Result.SUCCESS}


FILTER24 = f"03 00 0014 00 78 0000 {CLIENT4}"
BAD_REQUESTS: list[tuple[str, Result]] = [
    ("00 00", Result.UNSUPP_VERSION),  # NAT-PMP, where that is not served
    (f"01 01 0000 00001c20 {CLIENT4} {MAP4}", Result.UNSUPP_VERSION),
    (f"03 01 0000 00001c20 {CLIENT4} {MAP4}", Result.UNSUPP_VERSION),
    ("ff 7f 00", Result.UNSUPP_VERSION),
    (f"{HEAD4} 00", Result.MALFORMED_REQUEST),  # 25 bytes
    (f"{HEAD4} {MAP4} 000000", Result.MALFORMED_REQUEST),
    (f"{HEAD4} {MAP4} {'ff 00 0000' * 261}", Result.MALFORMED_REQUEST),  # 1104 bytes
    (HEAD4, Result.MALFORMED_REQUEST),
    (f"{HEAD4} {MAP4[:-8]}", Result.MALFORMED_REQUEST),
    (f"02 02 0000 00001c20 {CLIENT4} {MAP4}", Result.MALFORMED_REQUEST),
    (f"02 02 0000 00001c20 {CLIENT4} {PEER4[:-8]}", Result.MALFORMED_REQUEST),
    (f"{HEAD4} {NONCE.hex()} 00 000000 1f90 0000 {ANY4}", Result.MALFORMED_REQUEST),
    (f"{HEAD4} {MAP4} 01 00 0010 {CLIENT4}", Result.MALFORMED_REQUEST),  # a third party that is the first
    (f"02 03 0000 00001c20 {CLIENT4}", Result.UNSUPP_OPCODE),
    (f"02 7f 0000 00001c20 {CLIENT4} {MAP4}", Result.UNSUPP_OPCODE),
    (f"{HEAD4} {MAP4} 04 00 0000", Result.UNSUPP_OPTION),
    (f"02 00 0000 00000000 {CLIENT4} 02 00 0000", Result.UNSUPP_OPTION),
    (f"02 02 0000 00001c20 {CLIENT4} {PEER4} {FILTER24}", Result.UNSUPP_OPTION),
    (f"{HEAD4} {MAP4} 02 00 0000 02 00 0000", Result.MALFORMED_OPTION),
    (f"{HEAD4} {MAP4} 03 00 ffff 0078 0000", Result.MALFORMED_OPTION),
]


@pytest.mark.parametrize(("text", "result"), BAD_REQUESTS)
def test_a_bad_request_comes_back_with_its_result(text: str, result: Result) -> None:
    data = bytes.fromhex(text)
    with pytest.raises(BadRequest) as raised:
        decode_request_untrusted(data)
    assert raised.value.result is result
    answer = encode_error(data, result, 1800, EPOCH)
    assert answer is not None
    assert answer[:4] == bytes((2, data[1] | 0x80, 0, result))
    assert answer[4:24] == bytes.fromhex("00000708 01020304") + bytes(12)
    kept = data[24:LONGEST]
    assert answer[24 : 24 + len(kept)] == kept
    assert not any(answer[24 + len(kept) :])
    assert len(answer) == max(24, min(LONGEST, len(data) + -len(data) % 4))


def test_a_request_of_25_bytes_is_not_answered_as_nat_pmp() -> None:
    # Version 0 would tell the client that this server has no PCP.
    data = bytes.fromhex(f"{HEAD4} aa")
    answer = encode_error(data, Result.MALFORMED_REQUEST, 1800, EPOCH)
    assert answer == bytes.fromhex(f"02 81 00 03 00000708 01020304 {'00' * 12} aa000000")
    assert dialect_untrusted(answer) is Dialect.PCP


@pytest.mark.parametrize(
    "text",
    [
        "",
        "02",
        "00",
        "02 01",
        f"{HEAD4[:-2]}",  # 23 bytes of version 2
        f"02 81 00 00 00000e10 01020304 {'00' * 12} {MAPPED}",
        "00 80 0000 01020304 cb007105",
        "03 ff 0000",
    ],
)
def test_what_no_server_answers(text: str) -> None:
    data = bytes.fromhex(text)
    with pytest.raises(BadRequest) as raised:
        decode_request_untrusted(data)
    assert raised.value.result is None
    assert encode_error(data, Result.NOT_AUTHORIZED, 1800, EPOCH) is None


def test_success_refuses_nothing() -> None:
    with pytest.raises(ValueError, match="SUCCESS"):
        encode_error(bytes.fromhex(f"{HEAD4} {MAP4}"), Result.SUCCESS, 0, EPOCH)


@pytest.mark.parametrize(("text", "request_"), REQUESTS)
def test_a_good_request_can_be_refused_and_is_known_again(text: str, request_: Request) -> None:
    answer = encode_error(bytes.fromhex(text), Result.ADDRESS_MISMATCH, 1800, EPOCH)
    assert answer is not None
    refused = decode_response_untrusted(answer)
    opcode = bytes.fromhex(text)[1]
    assert refused == ErrorResponse(opcode, Result.ADDRESS_MISMATCH, 1800, EPOCH, request_.body)


def test_a_refusal_without_a_whole_body_or_with_an_unknown_number() -> None:
    head = bytes.fromhex(f"02 81 00 08 0000001e 01020304 {'00' * 12}")
    assert decode_response_untrusted(head) == ErrorResponse(1, Result.NO_RESOURCES, 30, EPOCH, None)
    head = bytes.fromhex(f"02 c0 00 ff 0000001e 01020304 {'00' * 12}")
    assert decode_response_untrusted(head) == ErrorResponse(64, 255, 30, EPOCH, None)


def test_options_that_brought_a_refusal_do_not_hide_it() -> None:
    data = bytes.fromhex(f"{HEAD4} {MAP4} 03 00 ffff 0078 0000")
    answer = encode_error(data, Result.MALFORMED_OPTION, 1800, EPOCH)
    assert answer is not None
    assert decode_response_untrusted(answer) == ErrorResponse(1, 6, 1800, EPOCH, map4)


def test_a_server_of_nat_pmp_only_is_recognised() -> None:
    assert decode_response_untrusted(bytes.fromhex("00 81 0001 01020304")) == OtherVersion(0)
    longer = bytes.fromhex("00 80 0001 01020304 00000000")
    assert decode_response_untrusted(longer) == OtherVersion(0)


def test_a_server_of_another_pcp_is_recognised() -> None:
    data = bytes.fromhex(f"01 81 00 01 00000708 01020304 {'00' * 12}")
    assert decode_response_untrusted(data) == OtherVersion(1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "02 80",
        "00 81 0001 010203",
        "00 80 0000 01020304 cb007105",  # NAT-PMP, but no refusal of a version
        "00 81 0101 01020304",
        "00 81 0002 01020304",
        "03 81 00 00 00000e10 01020304" + "00" * 12,
        f"02 01 00 00 00000e10 01020304 {'00' * 12} {MAPPED}",
        "02 80 00 00 00000000 01020304" + "00" * 11,
        "02 80 00 00 00000000 01020304" + "00" * 13,
        "02 80 00 00 00000000 01020304" + "00" * 12 + "80 00 0000" * 270,
        "02 83 00 00 00000000 01020304" + "00" * 12,
        "02 81 00 00 00000000 01020304" + "00" * 12,
        f"02 81 00 00 00000e10 01020304 {'00' * 12} {MAPPED} 03 00 ffff",
        f"02 81 00 00 00000e10 01020304 {'00' * 12} {MAPPED} 02 00 0004 00000000",
    ],
)
def test_bad_responses(text: str) -> None:
    with pytest.raises(BadPacket) as raised:
        decode_response_untrusted(bytes.fromhex(text))
    assert not isinstance(raised.value, BadRequest)


@pytest.mark.parametrize(
    ("text", "dialect"),
    [
        ("00 00", Dialect.NATPMP),
        ("00 81 0001 01020304", Dialect.NATPMP),
        ("01 00", Dialect.PCP),
        (HEAD4, Dialect.PCP),
        ("ff ff", Dialect.PCP),
    ],
)
def test_the_first_byte_tells_the_protocol(text: str, dialect: Dialect) -> None:
    assert dialect_untrusted(bytes.fromhex(text)) is dialect


@pytest.mark.parametrize("data", [b"", b"\0", b"\2"])
def test_a_scrap_speaks_nothing(data: bytes) -> None:
    with pytest.raises(BadPacket):
        dialect_untrusted(data)


def test_what_cannot_be_said() -> None:
    with pytest.raises(ValueError, match="nonce of 3 bytes"):
        encode_request(Request(1, client4, Map(b"abc", 6, 1, 1, any4)))
    many = tuple(Filter.of(ip_network(f"10.0.{each}.0/24")) for each in range(60))
    with pytest.raises(ValueError, match="1500 bytes"):
        encode_request(Request(1, client4, map4, many))


def test_as_many_filters_as_a_message_holds_are_read() -> None:
    most = tuple(Filter.of(ip_network(f"10.0.{each}.0/24")) for each in range(43))
    data = encode_request(Request(1, client4, map4, most))
    assert len(data) == 1092
    assert decode_request_untrusted(data).options == most


ports = st.integers(0, 65535)
words = st.integers(0, 2**32 - 1)
nonces = st.binary(min_size=12, max_size=12)
v6 = st.ip_addresses(v=6).filter(lambda each: not str(each).startswith("::ffff:"))
addresses = st.ip_addresses(v=4) | v6
protocols = st.integers(1, 255)
bodies: SearchStrategy[Body] = st.one_of(
    st.just(Announce()),
    st.builds(Map, nonces, protocols, ports, ports, addresses),
    st.builds(Map, nonces, st.just(0), st.just(0), ports, addresses),
    st.builds(Peer, nonces, protocols, ports, ports, addresses, ports, addresses),
)
map_options = st.tuples(
    st.just(PreferFailure()),
    st.builds(Filter, v6, st.integers(0, 128), ports),
    st.builds(PortSet, st.integers(1, 65535), ports, st.booleans()),
)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    body, client = draw(bodies), draw(addresses)
    options = draw(st.just(()) | map_options) if isinstance(body, Map) else ()
    if not isinstance(body, Announce) and draw(st.booleans()):
        other = draw(addresses.filter(lambda each: each != client))
        options = (*options, ThirdParty(other))
    return Request(draw(words), client, body, options)


@given(requests(), words, words)
def test_messages_come_back(request_: Request, lifetime: int, epoch: int) -> None:
    data = encode_request(request_)
    assert decode_request_untrusted(data) == request_
    response = Response(lifetime, epoch, request_.body, request_.options)
    answer = encode_response(response)
    assert decode_response_untrusted(answer) == response
    assert answer[24:] == data[24:]
    with pytest.raises(BadRequest) as raised:
        decode_request_untrusted(answer)
    assert raised.value.result is None


near = st.one_of(
    requests().map(encode_request),
    st.builds(Response, words, words, bodies).map(encode_response),
    st.binary(max_size=1200),
    st.binary(max_size=200).map(lambda rest: bytes.fromhex(HEAD4) + rest),
)


@given(near, st.integers(0, 2**20))
def test_any_bytes_are_a_message_or_bad(data: bytes, bit: int) -> None:
    flipped = bytearray(data)
    if flipped:
        flipped[bit // 8 % len(flipped)] ^= 1 << bit % 8
    for each in (data, bytes(flipped)):
        check_response(each)
        check_request(each)


def check_response(data: bytes) -> None:
    try:
        response = decode_response_untrusted(data)
    except BadPacket:
        return
    if isinstance(response, Response):
        assert decode_response_untrusted(encode_response(response)) == response


def check_request(data: bytes) -> None:
    try:
        request = decode_request_untrusted(data)
    except BadRequest as error:
        check_refusal(data, error.result)
        return
    assert decode_request_untrusted(encode_request(request)) == request


def check_refusal(data: bytes, result: Result | None) -> None:
    answer = encode_error(data, result or Result.NO_RESOURCES, 30, EPOCH)
    if result is None:
        assert answer is None
        return
    assert answer is not None
    assert 24 <= len(answer) <= LONGEST
    refused = decode_response_untrusted(answer)
    assert isinstance(refused, ErrorResponse)
    assert (refused.opcode, refused.result) == (data[1], result)
