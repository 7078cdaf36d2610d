"""The list of mappings in the answer to GetListOfPortMappings (WANIPConnection:2, A_ARG_TYPE_PortListing)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sekimori.wire.errors import BadPacket
from sekimori.wire.igdxml import Element, element, escape, read_router_xml_untrusted

__all__ = ["Listed", "decode_listing_untrusted", "encode_listing"]

_LONGEST: Final = 1024 * 1024
_ROOT: Final = (
    'p:PortMappingList xmlns:p="urn:schemas-upnp-org:gw:WANIPConnection"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    ' xsi:schemaLocation="urn:schemas-upnp-org:gw:WANIPConnection'
    ' http://www.upnp.org/schemas/gw/WANIPConnection-v2.xsd"'
)


@dataclass(frozen=True, slots=True)
class Listed:
    """One entry; the texts are as they stand, seconds of `lease` are those that remain."""

    remote_host: str
    external_port: int
    protocol: str
    internal_port: int
    internal_client: str
    enabled: bool
    description: str
    lease: int


def encode_listing(entries: Iterable[Listed]) -> str:
    """The document, to be the value of NewPortListing."""
    return element(_ROOT, *(_encode(each) for each in entries))


def decode_listing_untrusted(document: str) -> tuple[Listed, ...]:
    """Read a router's list.

    Raises:
        BadPacket: it is none, or an entry has a number that is none.
    """
    root = read_router_xml_untrusted(document.encode(errors="replace"), _LONGEST)
    if root.name != "PortMappingList":
        raise BadPacket("not a list of mappings")
    return tuple(_decode(each) for each in root.children if each.name == "PortMappingEntry")


def _encode(entry: Listed) -> str:
    fields = {
        "NewRemoteHost": entry.remote_host,
        "NewExternalPort": str(entry.external_port),
        "NewProtocol": entry.protocol,
        "NewInternalPort": str(entry.internal_port),
        "NewInternalClient": entry.internal_client,
        "NewEnabled": str(int(entry.enabled)),
        "NewDescription": entry.description,
        "NewLeaseTime": str(entry.lease),
    }
    return element(
        "p:PortMappingEntry", *(element(f"p:{name}", escape(text)) for name, text in fields.items())
    )


def _decode(entry: Element) -> Listed:
    return Listed(
        entry.said("NewRemoteHost"),
        _number(entry.said("NewExternalPort"), 0xFFFF),
        entry.said("NewProtocol").upper(),
        _number(entry.said("NewInternalPort"), 0xFFFF),
        entry.said("NewInternalClient"),
        entry.said("NewEnabled").lower() in ("1", "true", "yes"),
        entry.said("NewDescription"),
        _number(entry.said("NewLeaseTime") or "0", 0xFFFF_FFFF),
    )


def _number(text: str, most: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 10) or int(text) > most:
        raise BadPacket("a mapping with a number that is none")
    return int(text)
