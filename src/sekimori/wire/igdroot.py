"""What a router says of itself: the services in its root description, and where to call them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin

from sekimori.wire.errors import BadPacket
from sekimori.wire.httpmessage import HttpUrl, read_url_untrusted
from sekimori.wire.igdxml import Element, one_line, read_router_xml_untrusted

__all__ = ["LONGEST", "Root", "RouterService", "connections", "firewalls", "parse_root_untrusted"]

LONGEST: Final = 256 * 1024
"""Bytes of the longest root description that is read."""
_LONGEST_NAME: Final = 128
_CONNECTIONS: Final = (
    "urn:schemas-upnp-org:service:WANIPConnection:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
)
_FIREWALL: Final = "urn:schemas-upnp-org:service:WANIPv6FirewallControl:1"


@dataclass(frozen=True, slots=True)
class RouterService:
    """A service of a router. `device` is the UDN of the device that it belongs to."""

    service_type: str
    control: HttpUrl
    events: HttpUrl | None
    device: str


@dataclass(frozen=True, slots=True)
class Root:
    """A router's root description. Names are the router's own words, cut to a line."""

    device_type: str
    friendly_name: str
    manufacturer: str
    model_name: str
    model_number: str
    services: tuple[RouterService, ...]
    """In the order of the document. Those whose control URL is on another host are left out."""


def parse_root_untrusted(document: bytes, location: HttpUrl) -> Root:
    """Read a root description.

    Args:
        document: at most `LONGEST` bytes.
        location: where it was fetched. What it says of another host is not believed: such a URLBase is passed
            over, and so is a service there.

    Raises:
        BadPacket: it is no root description.
    """
    root = read_router_xml_untrusted(document, LONGEST)
    device = root.child("device") if root.name == "root" else None
    if device is None:
        raise BadPacket("not a root description")
    base = _same_host(root.said("URLBase"), location, location) or location
    return Root(
        _line(device, "deviceType"),
        _line(device, "friendlyName"),
        _line(device, "manufacturer"),
        _line(device, "modelName"),
        _line(device, "modelNumber"),
        tuple(_services(device, base, location)),
    )


def connections(services: Iterable[RouterService]) -> tuple[RouterService, ...]:
    """The services that map ports, the best first: WANIPConnection:2, :1, WANPPPConnection:1.

    Those of one kind stay in the router's order. A router with several lines has one for each, and which is
    up is to be asked of it (GetStatusInfo).
    """
    known = [each for each in services if each.service_type in _CONNECTIONS]
    return tuple(sorted(known, key=lambda each: _CONNECTIONS.index(each.service_type)))


def firewalls(services: Iterable[RouterService]) -> tuple[RouterService, ...]:
    """The services that open IPv6 pinholes."""
    return tuple(each for each in services if each.service_type == _FIREWALL)


def _services(device: Element, base: HttpUrl, location: HttpUrl) -> Iterator[RouterService]:
    listed = device.child("serviceList")
    for each in listed.children if listed else ():
        control = _same_host(each.said("controlURL"), base, location)
        kind = _line(each, "serviceType")
        if each.name == "service" and kind and control is not None:
            events = _same_host(each.said("eventSubURL"), base, location)
            yield RouterService(kind, control, events, _line(device, "UDN"))
    inner = device.child("deviceList")
    for each in inner.children if inner else ():
        if each.name == "device":
            yield from _services(each, base, location)


def _same_host(url: str, base: HttpUrl, location: HttpUrl) -> HttpUrl | None:
    """A URL made whole; None where there is none, or it is on another host."""
    if not url:
        return None
    try:
        found = read_url_untrusted(urljoin(str(base), url))
    except ValueError:  # BadPacket, or urljoin's own: no URL that could be asked
        return None
    return found if found.address == location.address else None


def _line(parent: Element, name: str) -> str:
    return one_line(parent.said(name), _LONGEST_NAME)
