"""Finds the router's UPnP service: by SSDP, its description, and which of its lines is up."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

import structlog

from sekimori.host.routersockets import Place, fetch, search
from sekimori.planes.router.asking import Refusal, Silence
from sekimori.planes.router.facts import RouterProtocol
from sekimori.planes.router.meanings import UPNP_MEANINGS
from sekimori.wire.errors import BadPacket
from sekimori.wire.httpmessage import HttpUrl
from sekimori.wire.igdcall import call_body, read_answer_untrusted
from sekimori.wire.igdfaults import Fault
from sekimori.wire.igdroot import LONGEST as LONGEST_ROOT
from sekimori.wire.igdroot import Root, RouterService, connections, parse_root_untrusted
from sekimori.wire.igdservices import Value, find_service
from sekimori.wire.soap import CONTENT_TYPE, LONGEST, RouterFault, decode_answer_untrusted, soap_action
from sekimori.wire.ssdp import GROUP4, PORT, encode_search
from sekimori.wire.ssdp import decode_answer_untrusted as decode_found_untrusted

__all__ = ["Service", "call", "find_service_of"]

_SEARCHES: Final = (
    "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
    "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
)
_SEARCH_WITHIN: Final = 1.5
_FETCH_WITHIN: Final = 2.0
_CALL_WITHIN: Final = 2.0
_UP: Final = frozenset({"connected", "up"})
"""What routers call a line that is up; the second word is of Tailscale's list of quirks."""

_log = structlog.get_logger("router")


@dataclass(frozen=True, slots=True)
class Service:
    """A service of the router that maps ports.

    Attributes:
        service: its type and where it is called.
        model: the router's own words for what it is.
    """

    service: RouterService
    model: str


async def find_service_of(place: Place) -> Service:
    """The service to ask, that of a line which is up first.

    Raises:
        Silence: the router answers no search, or what it says of itself cannot be used.
    """
    root = await _find_root(place)
    known = connections(root.services)
    if not known:
        raise Silence("its description has no service that maps ports")
    for each in known:
        if len(known) == 1 or await _is_up(place, each):
            return Service(each, _model(root))
    return Service(known[0], _model(root))


async def call(
    place: Place, service: RouterService, name: str, values: dict[str, Value] | None = None
) -> dict[str, Value]:
    """Call an action.

    Raises:
        Silence: no answer that can be read.
        Refusal: a fault.
    """
    table = find_service(service.service_type)
    assert table is not None  # `connections` gives known ones
    action = table.actions[name]
    kind = service.service_type
    fields = [("Content-Type", CONTENT_TYPE), ("SOAPAction", soap_action(kind, name))]
    body = call_body(kind, action, values or {})
    try:
        reply = await fetch(
            place, service.control, method="POST", fields=fields, body=body, most=LONGEST, within=_CALL_WITHIN
        )
        answer = decode_answer_untrusted(reply.body, name)
        if isinstance(answer, RouterFault):
            raise _refusal(answer, kind)
        if reply.status != 200:
            raise Silence(f"HTTP {reply.status}")
        return read_answer_untrusted(action, answer)
    except BadPacket as error:
        raise Silence(str(error)) from None
    except OSError as error:  # a timeout is one too
        raise Silence(str(error) or "no answer") from None


async def _find_root(place: Place) -> Root:
    locations: list[HttpUrl] = []

    def take(data: bytes) -> bool:
        try:
            found = decode_found_untrusted(data)
        except BadPacket:
            return False
        if found.location.address != place.gateway:
            _log.info("location_elsewhere", gateway=str(place.gateway), location=str(found.location))
            return False
        if found.location not in locations:
            locations.append(found.location)
        return found.st in _SEARCHES

    gateway = str(place.gateway)
    datagrams = [(encode_search(st), GROUP4, PORT) for st in _SEARCHES]
    datagrams += [(encode_search(st, host=f"{gateway}:{PORT}"), gateway, PORT) for st in _SEARCHES]
    try:
        await search(place, datagrams, take, _SEARCH_WITHIN)
    except OSError as error:
        raise Silence(str(error)) from None
    why = "nobody answers a search"
    for location in locations:
        try:
            reply = await fetch(place, location, most=LONGEST_ROOT, within=_FETCH_WITHIN)
            return parse_root_untrusted(reply.body, location)
        except (OSError, BadPacket) as error:
            why = str(error) or "its description does not come"
    raise Silence(why)


async def _is_up(place: Place, service: RouterService) -> bool:
    try:
        status = await call(place, service, "GetStatusInfo")
    except (Silence, Refusal):
        return False
    return str(status.get("NewConnectionStatus", "")).strip().lower() in _UP


def _model(root: Root) -> str:
    words = (root.manufacturer, root.model_name or root.friendly_name, root.model_number)
    return " ".join(dict.fromkeys(word for word in words if word))


def _refusal(fault: RouterFault, service_type: str) -> Refusal:
    known = None if fault.code is None else Fault.of(fault.code, service_type)
    said = known.text if known is not None else fault.description
    meaning = UPNP_MEANINGS.get(fault.code or 0, "unknown")
    return Refusal(RouterProtocol.UPNP, fault.code, said, meaning)


def read_address(values: dict[str, Value]) -> IPv4Address | None:
    """The outside address in an answer to GetExternalIPAddress; None where it has none."""
    try:
        return IPv4Address(str(values.get("NewExternalIPAddress", "")).strip())
    except ValueError:
        return None
