"""One-shot questions of mDNS, and what may come back."""

from __future__ import annotations

import contextlib
import ipaddress

import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.model.device import Announced
from sekimori.wire.errors import BadPacket
from sekimori.wire.mdns import answers_untrusted, question

NAS4 = Announced("nas", ipaddress.ip_address("192.168.1.50"))
NAS6 = Announced("nas", ipaddress.ip_address("2001:db8:3::50"))


def response(*records: str, number: int = 7, additional: tuple[str, ...] = ()) -> bytes:
    """A response with these records, each `NAME TTL CLASS TYPE DATA`."""
    message = dns.message.Message(number)
    message.flags = dns.flags.QR | dns.flags.AA
    for section, texts in ((message.answer, records), (message.additional, additional)):
        for text in texts:
            name, ttl, of, kind, data = text.split()
            section.append(dns.rrset.from_text(name, int(ttl), of, kind, data))
    return message.to_wire()


def test_the_question_is_for_both_families_and_sent_once() -> None:
    message = dns.message.from_wire(question("nas", 7))
    assert (message.id, message.flags, message.answer) == (7, 0, [])
    asked = [(str(each.name), each.rdtype, each.rdclass) for each in message.question]
    assert asked == [("nas.local.", dns.rdatatype.A, 1), ("nas.local.", dns.rdatatype.AAAA, 1)]
    assert question("nas.local", 7) == question("nas", 7)


def test_a_name_that_dns_cannot_have_is_not_asked() -> None:
    with pytest.raises(ValueError, match="no name of DNS"):
        question("a" * 64, 7)


def test_answers_of_both_families_are_read_wherever_they_stand() -> None:
    data = response("nas.local. 10 IN A 192.168.1.50", additional=("NAS.local. 10 IN AAAA 2001:db8:3::50",))
    assert answers_untrusted(data, "nas", 7) == (NAS4, NAS6)
    assert answers_untrusted(data, "nas.local", 7)[0].address == NAS4.address


def test_the_cache_flush_bit_does_not_hide_an_answer() -> None:
    data = response("nas.local. 10 IN A 192.168.1.50", "nas.local. 10 IN AAAA 2001:db8:3::50")
    flushed = data.replace(b"\x00\x01\x00\x01\x00\x00\x00\x0a", b"\x00\x01\x80\x01\x00\x00\x00\x0a")
    flushed = flushed.replace(b"\x00\x1c\x00\x01\x00\x00\x00\x0a", b"\x00\x1c\x80\x01\x00\x00\x00\x0a")
    assert flushed.count(b"\x80\x01") == 2
    assert answers_untrusted(flushed, "nas", 7) == (NAS4, NAS6)


@pytest.mark.parametrize(
    "record",
    [
        "tv.local. 10 IN A 192.168.1.50",
        "nas.lan. 10 IN A 192.168.1.50",
        "nas.local. 10 IN TXT x",
        "nas.local. 10 IN CNAME tv.local.",
    ],
)
def test_other_records_are_no_answer(record: str) -> None:
    assert answers_untrusted(response(record), "nas", 7) == ()


def test_an_answer_of_another_class_is_none() -> None:
    data = response("nas.local. 10 IN A 192.168.1.50")
    hesiod = data.replace(b"\x00\x01\x00\x01\x00\x00", b"\x00\x01\x00\x04\x00\x00")
    assert hesiod != data
    assert answers_untrusted(hesiod, "nas", 7) == ()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 11,
        question("nas", 7),
        response("nas.local. 10 IN A 192.168.1.50", number=8),
        response("nas.local. 10 IN A 192.168.1.50")[:-1],
    ],
)
def test_what_is_no_response_to_the_question_is_refused(data: bytes) -> None:
    with pytest.raises(BadPacket):
        answers_untrusted(data, "nas", 7)


@given(st.binary(max_size=200))
def test_any_bytes_are_answers_or_refused(data: bytes) -> None:
    for packet in (data, b"\x00\x07\x84\x00" + data, response("nas.local. 10 IN A 192.168.1.50")[:20] + data):
        try:
            found = answers_untrusted(packet, "nas", 7)
        except BadPacket:
            continue
        assert all(isinstance(each, Announced) for each in found)


@given(st.integers(0, 60), st.integers(0, 255))
def test_any_byte_changed_is_read_or_refused(place: int, byte: int) -> None:
    data = bytearray(response("nas.local. 10 IN A 192.168.1.50", "nas.local. 10 IN AAAA 2001:db8:3::50"))
    data[place % len(data)] = byte
    with contextlib.suppress(BadPacket):
        for each in answers_untrusted(bytes(data), "nas", 7):
            assert isinstance(each, Announced)
