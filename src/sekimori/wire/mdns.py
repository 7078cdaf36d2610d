"""Multicast DNS: one question, and the answers to it (RFC 6762)."""

from __future__ import annotations

import ipaddress
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from sekimori.model.device import Announced
from sekimori.wire.errors import BadPacket

__all__ = ["GROUP4", "GROUP6", "PORT", "answers_untrusted", "question"]

GROUP4: Final = "224.0.0.251"
GROUP6: Final = "ff02::fb"
PORT: Final = 5353

_CACHE_FLUSH: Final = 0x8000
"""The top bit of an answer's class (§10.2). Answers to one-shot questions should not have it; some do."""
_LENGTHS: Final = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 16}


def question(name: str, number: int) -> bytes:
    """Ask once for the addresses of `NAME.local` (§5.1), A and AAAA in one message.

    It is sent from a port other than 5353, so it is answered to that port alone, and the answer repeats
    `number` (§6.7).

    Args:
        name: one label or several, without `local`.
        number: 0 to 65535.

    Raises:
        ValueError: no name of DNS.
    """
    try:
        asked = _local(name)
    except dns.exception.DNSException as error:
        raise ValueError(f"{name} is no name of DNS: {error}") from None
    message = dns.message.Message(number)
    for kind in _LENGTHS:
        message.find_rrset(message.question, asked, dns.rdataclass.IN, kind, create=True, force_unique=True)
    return message.to_wire()


def answers_untrusted(data: bytes, name: str, number: int) -> tuple[Announced, ...]:
    """The addresses that a response gives `NAME.local`; none where it speaks of other names.

    Raises:
        BadPacket: it is no response to question `number`.
    """
    try:
        message = dns.message.from_wire(data, ignore_trailing=True)
        asked = _local(name)
    except dns.exception.DNSException as error:
        raise BadPacket(f"not a DNS message: {error}") from None
    if not message.flags & dns.flags.QR or message.opcode() != 0:
        raise BadPacket("not a response")
    if message.id != number:
        raise BadPacket("a response to another question")
    found: list[Announced] = []
    # Additional records may complete the answer with the other family (§6.2).
    for rrset in (*message.answer, *message.additional):
        if rrset.name == asked and rrset.rdclass & ~_CACHE_FLUSH == dns.rdataclass.IN:
            length = _LENGTHS.get(rrset.rdtype)
            packed = [_packed(each) for each in rrset if length is not None]
            found += [Announced(name, ipaddress.ip_address(each)) for each in packed if len(each) == length]
    return tuple(dict.fromkeys(found))


def _local(name: str) -> dns.name.Name:
    return dns.name.from_text(name.removesuffix(".local") + ".local.")


def _packed(record: dns.rdata.Rdata) -> bytes:
    wire = record.to_wire()
    assert wire is not None  # it is None only where a file was given to write to
    return wire
