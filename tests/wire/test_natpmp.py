"""NAT-PMP: the figures of RFC 6886, refusals, round trips, and any bytes."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from sekimori.model.address import IpProtocol
from sekimori.wire.errors import BadPacket
from sekimori.wire.natpmp import (
    AddressRequest,
    AddressResponse,
    BadRequest,
    ErrorResponse,
    MapRequest,
    MapResponse,
    Request,
    Response,
    Result,
    decode_request_untrusted,
    decode_response_untrusted,
    encode_error,
    encode_request,
    encode_response,
)

TCP, UDP = IpProtocol.TCP, IpProtocol.UDP
EPOCH = 0x01020304

REQUESTS: list[tuple[str, Request]] = [
    ("00 00", AddressRequest()),
    ("00 01 0000 1f90 2328 00001c20", MapRequest(UDP, 8080, 9000, 7200)),
    ("00 02 0000 0016 0000 00000e10", MapRequest(TCP, 22, 0, 3600)),
    ("00 02 0000 0016 0000 00000000", MapRequest(TCP, 22, 0, 0)),
    ("00 01 0000 0000 0000 00000000", MapRequest(UDP, 0, 0, 0)),
    ("00 01 0000 0001 0001 ffffffff", MapRequest(UDP, 1, 1, 4294967295)),
]
RESPONSES: list[tuple[str, Response]] = [
    ("00 80 0000 01020304 cb007105", AddressResponse(EPOCH, IPv4Address("203.0.113.5"))),
    ("00 81 0000 01020304 1f90 2328 00001c20", MapResponse(EPOCH, UDP, 8080, 9000, 7200)),
    ("00 82 0000 01020304 0016 0000 00000000", MapResponse(EPOCH, TCP, 22, 0, 0)),
    ("00 80 0003 01020304 00000000", ErrorResponse(EPOCH, 0, Result.NETWORK_FAILURE)),
    ("00 82 0002 01020304 0016 0000 00000000", ErrorResponse(EPOCH, 2, Result.NOT_AUTHORIZED, 22)),
    ("00 89 0005 01020304", ErrorResponse(EPOCH, 9, Result.UNSUPPORTED_OPCODE)),
    ("00 81 00ff 01020304 0016 0000 00000000", ErrorResponse(EPOCH, 1, 255, 22)),
]

ports = st.integers(0, 65535)
words = st.integers(0, 2**32 - 1)
protocols = st.sampled_from((UDP, TCP))
requests: SearchStrategy[Request] = st.one_of(
    st.just(AddressRequest()), st.builds(MapRequest, protocols, ports, ports, words)
)
responses: SearchStrategy[Response] = st.one_of(
    st.builds(AddressResponse, words, st.ip_addresses(v=4)),
    st.builds(MapResponse, words, protocols, ports, ports, words),
    st.builds(ErrorResponse, words, st.sampled_from((1, 2)), st.integers(1, 65535), ports),
    st.builds(ErrorResponse, words, st.sampled_from((0, 3, 127)), st.integers(1, 65535)),
)


@pytest.mark.parametrize(("text", "request_"), REQUESTS)
def test_requests_are_the_bytes_of_the_figures(text: str, request_: Request) -> None:
    assert encode_request(request_) == bytes.fromhex(text)
    assert decode_request_untrusted(bytes.fromhex(text)) == request_


@pytest.mark.parametrize(("text", "response"), RESPONSES)
def test_responses_are_the_bytes_of_the_figures(text: str, response: Response) -> None:
    assert encode_response(response) == bytes.fromhex(text)
    assert decode_response_untrusted(bytes.fromhex(text)) == response


@pytest.mark.parametrize(
    ("text", "result", "answer"),
    [
        ("01 01 0000 1f90 2328 00001c20", Result.UNSUPPORTED_VERSION, "00 81 0001 01020304"),
        ("02 00" + "00" * 23, Result.UNSUPPORTED_VERSION, "00 80 0001 01020304"),
        ("00 03", Result.UNSUPPORTED_OPCODE, "00 83 0005 01020304"),
        ("00 7f", Result.UNSUPPORTED_OPCODE, "00 ff 0005 01020304"),
    ],
)
def test_a_bad_request_says_how_it_is_answered(text: str, result: Result, answer: str) -> None:
    data = bytes.fromhex(text)
    with pytest.raises(BadRequest) as raised:
        decode_request_untrusted(data)
    assert raised.value.result is result
    assert encode_error(data, result, EPOCH) == bytes.fromhex(answer)


@pytest.mark.parametrize(
    "text", ["", "00", "01", "00 80", "00 81 0000 1f90 2328 00001c20", "02 ff", "00 01 0000 1f90 2328 00001c"]
)
def test_what_no_server_answers(text: str) -> None:
    with pytest.raises(BadRequest) as raised:
        decode_request_untrusted(bytes.fromhex(text))
    assert raised.value.result is None


@pytest.mark.parametrize("text", ["", "00", "00 80", "02 ff", "00 82 0000 1f90 2328 00001c20"])
def test_neither_a_response_nor_a_scrap_is_refused(text: str) -> None:
    assert encode_error(bytes.fromhex(text), Result.NOT_AUTHORIZED, EPOCH) is None


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("00 00", "00 80 0002 01020304 00000000"),
        ("00 01 0000 1f90 2328 00001c20", "00 81 0002 01020304 1f90 0000 00000000"),
        ("00 02 0000 1f90 2328 00001c20", "00 82 0002 01020304 1f90 0000 00000000"),
    ],
)
def test_refusals_are_as_long_as_successes(text: str, answer: str) -> None:
    assert encode_error(bytes.fromhex(text), Result.NOT_AUTHORIZED, EPOCH) == bytes.fromhex(answer)


def test_a_request_of_another_version_is_told_so_whatever_else_is_wrong() -> None:
    answer = encode_error(bytes.fromhex("03 01"), Result.OUT_OF_RESOURCES, EPOCH)
    assert answer == bytes.fromhex("00 81 0001 01020304")


def test_success_refuses_nothing() -> None:
    with pytest.raises(ValueError, match="SUCCESS"):
        encode_error(b"\0\0", Result.SUCCESS, EPOCH)
    with pytest.raises(ValueError, match="SUCCESS"):
        encode_response(ErrorResponse(EPOCH, 0, Result.SUCCESS))


def test_only_udp_and_tcp_can_be_mapped() -> None:
    with pytest.raises(ValueError, match="not gre"):
        encode_request(MapRequest(IpProtocol.GRE, 1, 1, 1))


def test_bytes_after_a_message_are_passed_over() -> None:
    assert decode_request_untrusted(bytes(2) + b"more") == AddressRequest()
    text, response = RESPONSES[0]
    assert decode_response_untrusted(bytes.fromhex(text) + bytes(4)) == response


@pytest.mark.parametrize("opcode", [0, 1, 2])
def test_a_refusal_of_8_bytes_is_understood(opcode: int) -> None:
    data = bytes((0, 0x80 | opcode, 0, 1, 1, 2, 3, 4))
    assert decode_response_untrusted(data) == ErrorResponse(EPOCH, opcode, Result.UNSUPPORTED_VERSION)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00 80 0000 010203",
        "00 80 0000 01020304 cb0071",
        "00 81 0000 01020304 1f90 2328 00001c",
        "00 83 0000 01020304 00000000",
        "00 00 0000 01020304 cb007105",
        "02 80 0000 01020304 cb007105",
    ],
)
def test_bad_responses(text: str) -> None:
    with pytest.raises(BadPacket):
        decode_response_untrusted(bytes.fromhex(text))


@given(requests)
def test_requests_come_back(request_: Request) -> None:
    assert decode_request_untrusted(encode_request(request_)) == request_


@given(responses)
def test_responses_come_back(response: Response) -> None:
    data = encode_response(response)
    assert decode_response_untrusted(data) == response
    with pytest.raises(BadRequest) as raised:
        decode_request_untrusted(data)
    assert raised.value.result is None


near = st.one_of(requests.map(encode_request), responses.map(encode_response))


@given(st.one_of(st.binary(max_size=40), near), st.integers(0, 319))
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
    assert decode_response_untrusted(encode_response(response)) == response


def check_request(data: bytes) -> None:
    try:
        request = decode_request_untrusted(data)
    except BadRequest as error:
        check_refusal(data, error.result)
        return
    assert data.startswith(encode_request(request)) or data[2:4] != b"\0\0"  # reserved bytes may be anything


def check_refusal(data: bytes, result: Result | None) -> None:
    if result is not None:
        answer = encode_error(data, result, EPOCH)
        assert answer is not None
        assert decode_response_untrusted(answer) == ErrorResponse(EPOCH, data[1], result)
