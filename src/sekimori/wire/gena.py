"""GENA: subscriptions to a service's events (UPnP Device Architecture 1.1 §4).

Events go to the subscriber's own address and nowhere else: a gateway that sends them wherever a callback
says is a weapon (CVE-2020-12695, "CallStranger").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from sekimori.model.address import IPAddress
from sekimori.wire.errors import BadPacket
from sekimori.wire.httpmessage import LONGEST_URL, HttpUrl, read_url_untrusted
from sekimori.wire.igdcall import format_value
from sekimori.wire.igdservices import Service, Value
from sekimori.wire.igdxml import element, escape

__all__ = [
    "LEASE",
    "BadSubscription",
    "Renew",
    "Subscribe",
    "decode_subscribe_untrusted",
    "decode_unsubscribe_untrusted",
    "encode_propertyset",
    "next_seq",
    "notify_fields",
    "subscribed_fields",
]

LEASE: Final = (60, 1800)
"""Seconds of the shortest and longest subscription that is granted; who asks for none gets the longest."""
_MOST_CALLBACKS: Final = 4
_CALLBACKS: Final = re.compile(r"(?:\s*<[^<>\s]*>)+\s*", re.ASCII)
_TIMEOUT: Final = re.compile(r"second-(?:(?P<seconds>[0-9]{1,9})|infinite)", re.IGNORECASE)
_SID: Final = re.compile(r"uuid:[0-9A-Za-z-]{1,64}")
_DECLARATION: Final = '<?xml version="1.0"?>\r\n'

Fields = Iterable[tuple[bytes, bytes]]
"""Header fields as h11 gives them."""


class BadSubscription(BadPacket):
    """A subscription that is refused, and with which status of HTTP (§4.1.2)."""

    def __init__(self, status: Literal[400, 412], why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class Subscribe:
    """A new subscription. Events are offered to the callbacks in their order until one takes them."""

    callbacks: tuple[HttpUrl, ...]
    seconds: int


@dataclass(frozen=True, slots=True)
class Renew:
    """More time for the subscription `sid`."""

    sid: str
    seconds: int


def decode_subscribe_untrusted(fields: Fields, subscriber: IPAddress) -> Subscribe | Renew:
    """Read the header of a SUBSCRIBE request.

    Args:
        fields: names and values as they came.
        subscriber: the address that the request came from; a callback to any other is refused.

    Raises:
        BadSubscription: 400 it both renews and subscribes; 412 a field is missing or not as it must be.
    """
    said = _read(fields)
    seconds = _seconds(said.get("timeout"))
    if "sid" in said:
        if "nt" in said or "callback" in said:
            raise BadSubscription(400, "a renewal with a callback or a type")
        return Renew(_sid(said), seconds)
    if said.get("nt") != "upnp:event":
        raise BadSubscription(412, "a subscription to something other than upnp:event")
    return Subscribe(_callbacks(said.get("callback", ""), subscriber), seconds)


def decode_unsubscribe_untrusted(fields: Fields) -> str:
    """Read the header of an UNSUBSCRIBE request: the SID of the subscription that ends.

    Raises:
        BadSubscription: 400 it has fields of a subscription; 412 it has no SID.
    """
    said = _read(fields)
    if "nt" in said or "callback" in said:
        raise BadSubscription(400, "an end with a callback or a type")
    return _sid(said)


def subscribed_fields(sid: str, seconds: int) -> tuple[tuple[str, str], ...]:
    """The fields of the answer to SUBSCRIBE (§4.1.2), besides SERVER, DATE and the length."""
    return (("SID", sid), ("TIMEOUT", f"Second-{seconds}"))


def encode_propertyset(service: Service, values: Mapping[str, Value]) -> bytes:
    """The body of an event: the variables that changed, or all at the start of a subscription (§4.3).

    Raises:
        ValueError: a variable that the service does not have or tell, or a value that is none of its.
    """
    unknown = values.keys() - set(service.evented)
    if unknown:
        raise ValueError(f"{service.name} has no events for {', '.join(sorted(unknown))}")
    properties = (
        element("e:property", element(name, escape(format_value(service.variables[name], value))))
        for name, value in values.items()
    )
    root = element('e:propertyset xmlns:e="urn:schemas-upnp-org:event-1-0"', *properties)
    return f"{_DECLARATION}{root}\r\n".encode()


def notify_fields(callback: HttpUrl, sid: str, seq: int, body: bytes) -> tuple[tuple[str, str], ...]:
    """The fields of `NOTIFY callback.path HTTP/1.1` that carries an event (§4.3.2)."""
    return (
        ("HOST", callback.host),
        ("CONTENT-TYPE", 'text/xml; charset="utf-8"'),
        ("CONTENT-LENGTH", str(len(body))),
        ("NT", "upnp:event"),
        ("NTS", "upnp:propchange"),
        ("SID", sid),
        ("SEQ", str(seq)),
        ("CONNECTION", "close"),
    )


def next_seq(seq: int) -> int:
    """The number of the event after this one; after the largest comes 1, for 0 is the first (§4.3.2)."""
    return seq + 1 if seq < 0xFFFF_FFFF else 1


def _read(fields: Fields) -> dict[str, str]:
    said: dict[str, str] = {}
    for name, value in fields:
        key = name.decode("latin-1").lower()
        if key not in ("sid", "nt", "callback", "timeout"):
            continue
        if key in said:
            raise BadSubscription(400, f"{key} is there twice")
        said[key] = value.decode("latin-1").strip()
    return said


def _sid(said: Mapping[str, str]) -> str:
    sid = said.get("sid", "")
    if not _SID.fullmatch(sid):
        raise BadSubscription(412, "no SID of the form uuid:…")
    return sid


def _seconds(text: str | None) -> int:
    least, most = LEASE
    found = _TIMEOUT.fullmatch(text or "")
    if found is None or found["seconds"] is None:  # the field is a wish: what cannot be read is none
        return most
    return min(max(int(found["seconds"]), least), most)


def _callbacks(text: str, subscriber: IPAddress) -> tuple[HttpUrl, ...]:
    if len(text) > _MOST_CALLBACKS * (LONGEST_URL + 2) or not _CALLBACKS.fullmatch(text):
        raise BadSubscription(412, "no callback in angle brackets")
    written = re.findall(r"<([^<>]*)>", text)
    if len(written) > _MOST_CALLBACKS:
        raise BadSubscription(412, "too many callbacks")
    try:
        found = tuple(read_url_untrusted(each) for each in written)
    except BadPacket as error:
        raise BadSubscription(412, f"a callback that is refused: {error}") from None
    if any(each.address != subscriber for each in found):
        raise BadSubscription(412, "a callback to another host than the subscriber")
    return found
