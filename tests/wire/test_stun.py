"""STUN: the test vectors of RFC 5769, round trips, and any bytes."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.model.behaviour import Endpoint
from sekimori.wire.errors import BadPacket
from sekimori.wire.stun import (
    Answer,
    Refusal,
    Request,
    decode_answer_untrusted,
    decode_request_untrusted,
    encode_answer,
    encode_refusal,
    encode_request,
)

TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")
HEADER = "2112a442 b7e7a701bc34d686fa87dfae"
ANSWER4 = bytes.fromhex(
    f"0101 003c {HEADER} 8022000b 7465737420766563746f7220 00200008 0001a147e112a643"
    "00080014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7 80280004 c07d4c96"
)
ANSWER6 = bytes.fromhex(
    f"0101 0048 {HEADER} 8022000b 7465737420766563746f7220"
    "00200014 0002a147 0113a9faa5d3f179bc25f4b5bed2b9d9"
    "00080014 a382954e4be67bf11784c97c8292c275bfe3ed41 80280004 c8fb0b4c"
)

ip = ipaddress.ip_address
IN_IPV6 = ipaddress.ip_network("::ffff:0:0/96")
endpoints = st.builds(
    Endpoint,
    st.ip_addresses().filter(lambda each: each.version == 4 or each not in IN_IPV6),
    st.integers(1, 65535),
)
transactions = st.binary(min_size=12, max_size=12)
words = st.text(st.characters(categories=("L", "N")), max_size=40)
answers = st.builds(
    Answer, transactions, endpoints, st.none() | endpoints, st.none() | endpoints, software=words
)
refusals = st.builds(
    Refusal,
    transactions,
    st.integers(300, 699),
    words,
    st.lists(st.integers(0, 0xFFFF), max_size=6).map(tuple),
    st.none() | endpoints,
)


def message(kind: str, *attributes: str) -> bytes:
    body = bytes.fromhex("".join(attributes))
    return bytes.fromhex(kind) + len(body).to_bytes(2) + bytes.fromhex(HEADER) + body


def test_a_request_without_changes_is_a_bare_header() -> None:
    assert encode_request(Request(TRANSACTION)) == message("0001")


def test_a_request_for_changes() -> None:
    both = encode_request(Request(TRANSACTION, change_address=True, change_port=True))
    assert both == message("0001", "00030004 00000006")
    assert encode_request(Request(TRANSACTION, change_port=True)) == message("0001", "00030004 00000002")


@pytest.mark.parametrize(
    ("data", "address"),
    [(ANSWER4, "192.0.2.1"), (ANSWER6, "2001:db8:1234:5678:11:2233:4455:6677")],
)
def test_the_answers_of_rfc_5769(data: bytes, address: str) -> None:
    answer = decode_answer_untrusted(data, TRANSACTION)
    assert answer == Answer(TRANSACTION, Endpoint(ip(address), 32853), software="test vector")


def test_a_fingerprint_is_that_of_rfc_5769() -> None:
    # Everything of the vector before its fingerprint gives that fingerprint; one more bit, and it does not.
    for at in (25, len(ANSWER4) - 1):
        data = bytearray(ANSWER4)
        data[at] ^= 1
        with pytest.raises(BadPacket, match="fingerprint"):
            decode_answer_untrusted(bytes(data), TRANSACTION)


def test_the_plain_address_counts_where_there_is_no_other() -> None:
    plain, xored = "00010008 00010035 c6336401", "00200008 0001a147 e112a643"
    answer = decode_answer_untrusted(message("0101", plain), TRANSACTION)
    assert isinstance(answer, Answer)
    assert answer.mapped == Endpoint(ip("198.51.100.1"), 53)
    both = decode_answer_untrusted(message("0101", plain, xored), TRANSACTION)
    assert isinstance(both, Answer)
    assert both.mapped == Endpoint(ip("192.0.2.1"), 32853)


def test_the_other_address_by_its_new_and_its_old_name() -> None:
    mapped, new, old = (
        "00010008 00010035 c6336401",
        "802c0008 00010d97 c6336402",
        "00050008 00010d98 c6336403",
    )
    for attributes, port in (((mapped, new, old), 3479), ((mapped, old), 3480)):
        answer = decode_answer_untrusted(message("0101", *attributes), TRANSACTION)
        assert isinstance(answer, Answer)
        assert answer.other is not None
        assert answer.other.port == port


def test_an_other_address_of_zeroes_is_none() -> None:
    data = message("0101", "00010008 00010035 c6336401", "802c0008 00010000 00000000", "802b0003 00010000")
    answer = decode_answer_untrusted(data, TRANSACTION)
    assert isinstance(answer, Answer)
    assert answer.other is None
    assert answer.origin is None


def test_an_ipv4_address_in_ipv6_is_ipv4() -> None:
    data = message("0101", "00010014 00020035", "00000000 00000000 0000ffff c6336401")
    answer = decode_answer_untrusted(data, TRANSACTION)
    assert isinstance(answer, Answer)
    assert answer.mapped.address == ip("198.51.100.1")


def test_refusals() -> None:
    data = message("0111", "00090009 00000414 556e6b6e6f000000", "000a0002 00030000")
    assert decode_answer_untrusted(data, TRANSACTION) == Refusal(TRANSACTION, 420, "Unkno", (3,))
    # The padding of an attribute may be anything.
    assert decode_answer_untrusted(message("0111", "00090005 00000401 41ffffff"), TRANSACTION) == Refusal(
        TRANSACTION, 401, "A"
    )


def test_what_a_server_says_of_itself_has_no_control_characters() -> None:
    data = message("0101", "00010008 00010035 c6336401", "80220006 411b5b316d42 0000")
    answer = decode_answer_untrusted(data, TRANSACTION)
    assert isinstance(answer, Answer)
    assert answer.software == "A[1mB"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        ANSWER4[:19],
        ANSWER4[:-1],
        ANSWER4 + bytes(4),
        ANSWER4 + bytes(2000),
        b"\x81" + ANSWER4[1:],
        ANSWER4[:4] + b"\x21\x12\xa4\x43" + ANSWER4[8:],
        message("0101"),
        message("0001"),
        message("0011", "00010008 00010035 c6336401"),
        message("0101", "00010008 00030035 c6336401"),
        message("0101", "00010008 00020035 c6336401"),
        message("0101", "00010008 00010000 c6336401"),
        message("0101", "00010004 00010035"),
        message("0101", "00010003 00010000"),
        message("0101", "0001000c 00010035 c6336401"),
        message("0101", "0001ffff 00010035 c6336401"),
        message("0101", "00010008 00010035 c6336401", "00240004 00000000"),
        message("0101", "80280004 00000000", "00010008 00010035 c6336401"),
        message("0111"),
        message("0111", "00090003 00000400"),
        message("0111", "00090004 00000200"),
        message("0111", "00090004 00000464"),
        message("0111", "00090004 00000414", "000a0001 00000000"),
    ],
)
def test_bad_answers(data: bytes) -> None:
    with pytest.raises(BadPacket):
        decode_answer_untrusted(data, TRANSACTION)


def test_an_answer_to_another_request() -> None:
    with pytest.raises(BadPacket, match="another request"):
        decode_answer_untrusted(ANSWER4, bytes(12))


@pytest.mark.parametrize("data", [ANSWER4, message("0001", "00030003 00000000"), message("0003")])
def test_bad_requests(data: bytes) -> None:
    with pytest.raises(BadPacket):
        decode_request_untrusted(data)


def test_a_request_tells_what_it_wants_that_is_not_known() -> None:
    request = decode_request_untrusted(message("0001", "00270004 0d960000", "00030004 00000004", "80990000"))
    assert request == Request(TRANSACTION, change_address=True, unknown=(0x27,))


def test_what_cannot_be_said() -> None:
    with pytest.raises(ValueError, match="12 bytes"):
        encode_request(Request(b"short"))
    for code in (299, 700):
        with pytest.raises(ValueError, match="no error code"):
            encode_refusal(Refusal(TRANSACTION, code))


@given(st.builds(Request, transactions, st.booleans(), st.booleans()), st.booleans())
def test_requests_round_trip(request_: Request, fingerprint: bool) -> None:
    assert decode_request_untrusted(encode_request(request_, fingerprint=fingerprint)) == request_


@given(answers, st.booleans())
def test_answers_round_trip(answer: Answer, fingerprint: bool) -> None:
    data = encode_answer(answer, fingerprint=fingerprint)
    assert decode_answer_untrusted(data, answer.transaction) == answer


@given(refusals, st.booleans())
def test_refusals_round_trip(refusal: Refusal, fingerprint: bool) -> None:
    data = encode_refusal(refusal, fingerprint=fingerprint)
    assert decode_answer_untrusted(data, refusal.transaction) == refusal


@given(st.sampled_from([b"", bytes.fromhex("0101")]), st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_bad(start: bytes, rest: bytes) -> None:
    data = start + len(rest[18:]).to_bytes(2) + bytes.fromhex(HEADER) + rest[18:] if start else rest
    for read in (decode_request_untrusted, lambda each: decode_answer_untrusted(each, TRANSACTION)):
        try:
            found = read(data)
        except BadPacket:
            continue
        assert found.transaction == data[8:20]


@given(answers, st.data())
def test_with_a_fingerprint_a_changed_byte_never_makes_another_address(
    answer: Answer, data: st.DataObject
) -> None:
    packet = bytearray(encode_answer(answer, fingerprint=True))
    at = data.draw(st.integers(0, len(packet) - 1))
    packet[at] ^= data.draw(st.integers(1, 255))
    try:
        found = decode_answer_untrusted(bytes(packet), answer.transaction)
    except BadPacket:
        return
    # What hides the fingerprint may pass: its own type, or a length before it that swallows it.
    assert isinstance(found, Answer)
    assert found.mapped == answer.mapped
