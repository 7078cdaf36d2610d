"""SSDP: how devices find a gateway on their network (UPnP Device Architecture 1.1 §1).

Here: which targets a gateway has and which of them answer a search, the answers and announcements, and for
the other side the search and what comes back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sekimori.wire.errors import BadPacket
from sekimori.wire.httpmessage import HttpUrl, read_head_untrusted, read_url_untrusted, write_head
from sekimori.wire.igddescription import Gateway
from sekimori.wire.igdservices import IgdVersion, services_of
from sekimori.wire.igdxml import one_line

__all__ = [
    "GROUP4",
    "GROUP6",
    "HOPS",
    "LONGEST",
    "PORT",
    "Found",
    "MSearch",
    "Presence",
    "Target",
    "answers_to",
    "decode_answer_untrusted",
    "decode_search_untrusted",
    "encode_alive",
    "encode_answer",
    "encode_byebye",
    "encode_search",
    "targets_of",
]

GROUP4: Final = "239.255.255.250"
GROUP6: Final = "ff02::c"
PORT: Final = 1900
HOPS: Final = 2
"""Time to live of what is sent to the group (§1.1.2)."""
LONGEST: Final = 4096
"""Bytes of the longest message that is read."""

_MX: Final = (1, 5)
_ST: Final = re.compile(r"[!-~]{1,256}")
_MX_FIELD: Final = re.compile(r"[0-9]{1,6}")
_URN: Final = re.compile(
    r"(?P<kind>urn:schemas-upnp-org:(?:device|service):\w{1,64}):(?P<version>[1-9]\d?)", re.ASCII
)
_STATUS_200: Final = re.compile(r"HTTP/1\.[01] 200(?: .*)?")
_SEARCH: Final = re.compile(r"M-SEARCH \* HTTP/1\.[01] *")


@dataclass(frozen=True, slots=True)
class MSearch:
    """A search: for which target, and over how many seconds the answers may be spread."""

    st: str
    mx: int
    """1 to 5. A search that went to one host names none (§1.3.2); it has 1 here."""


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that can be searched for (`st`), and the name of the one that is here (`usn`)."""

    st: str
    usn: str


@dataclass(frozen=True, slots=True)
class Presence:
    """What every answer and announcement says of the gateway."""

    location: str
    """URL of the root description: the version that is meant, at an address of the receiver's own network."""
    server: str
    """`OS/VERSION UPnP/1.1 PRODUCT/VERSION`."""
    boot_id: int
    """Larger after every start (§1.2.2): seconds since 1970 will do. 31 bits."""
    config_id: int
    """Another one for another description: `igddescription.config_id`."""
    max_age: int = 1800
    """Seconds for which it may be taken to be there."""


@dataclass(frozen=True, slots=True)
class Found:
    """A device that answered a search."""

    location: HttpUrl
    st: str
    usn: str
    server: str
    boot_id: int | None
    """Changes when the device restarts; None where it does not say."""


def decode_search_untrusted(data: bytes) -> MSearch:
    """Read a datagram that came to the group, or to our port 1900.

    Raises:
        BadPacket: it is no search: an announcement of another device, or nothing of SSDP.
    """
    start, fields = read_head_untrusted(data, LONGEST)
    if not _SEARCH.fullmatch(start):
        raise BadPacket("not a search")
    if fields.get("man", "").strip('"') != "ssdp:discover":
        raise BadPacket("a search without ssdp:discover")
    st, mx = fields.get("st", ""), fields.get("mx", "1")
    if not _ST.fullmatch(st) or not _MX_FIELD.fullmatch(mx):
        raise BadPacket("a search without a target, or with an MX that is no number")
    least, most = _MX
    return MSearch(st, min(max(int(mx), least), most))


def targets_of(gateway: Gateway, version: IgdVersion) -> tuple[Target, ...]:
    """Everything to announce, and to answer to `ssdp:all` (§1.2.2): the gateway itself comes first.

    A client may listen for a fraction of a second only, and it is the gateway that it looks for.
    """
    devices: list[Target] = []
    others: list[Target] = []
    for name, services in services_of(version):
        udn = gateway.udn(version, name)
        devices.append(_target(f"urn:schemas-upnp-org:device:{name}:{version}", udn))
        others.append(Target(udn, udn))
        others += [_target(each.service_type, udn) for each in services]
    root = _target("upnp:rootdevice", gateway.udn(version, "InternetGatewayDevice"))
    return (devices[0], root, *devices[1:], *others)


def answers_to(st: str, gateway: Gateway, version: IgdVersion) -> tuple[Target, ...]:
    """The targets that answer a search; none where it is for something else.

    A search for an older version is answered as asked (§1.3.2): a control point of version 1 has to find a
    gateway of version 2.
    """
    targets = targets_of(gateway, version)
    if st == "ssdp:all":
        return targets
    if st.startswith("uuid:"):
        return tuple(each for each in targets if each.st == st.lower())
    asked = _URN.fullmatch(st)
    if asked is None:
        return tuple(each for each in targets if each.st == st)
    for each in targets:
        ours = _URN.fullmatch(each.st)
        if ours and ours["kind"] == asked["kind"] and int(asked["version"]) <= int(ours["version"]):
            return (_target(st, each.usn.partition("::")[0]),)
    return ()


def encode_answer(target: Target, presence: Presence) -> bytes:
    """The answer to a search, sent to its sender (§1.3.3)."""
    fields = [
        ("CACHE-CONTROL", f"max-age={presence.max_age}"),
        ("EXT", ""),
        ("LOCATION", presence.location),
        ("SERVER", presence.server),
        ("ST", target.st),
        ("USN", target.usn),
        *_ids(presence),
    ]
    return write_head("HTTP/1.1 200 OK", fields)


def encode_alive(target: Target, presence: Presence, group: str = GROUP4) -> bytes:
    """An announcement that the target is here (§1.2.2), sent to the group."""
    fields = [
        ("HOST", _host(group)),
        ("CACHE-CONTROL", f"max-age={presence.max_age}"),
        ("LOCATION", presence.location),
        ("NT", target.st),
        ("NTS", "ssdp:alive"),
        ("SERVER", presence.server),
        ("USN", target.usn),
        *_ids(presence),
    ]
    return write_head("NOTIFY * HTTP/1.1", fields)


def encode_byebye(target: Target, presence: Presence, group: str = GROUP4) -> bytes:
    """An announcement that the target goes away (§1.2.3), sent to the group."""
    fields = [
        ("HOST", _host(group)),
        ("NT", target.st),
        ("NTS", "ssdp:byebye"),
        ("USN", target.usn),
        *_ids(presence),
    ]
    return write_head("NOTIFY * HTTP/1.1", fields)


def encode_search(st: str, mx: int = 2, host: str = f"{GROUP4}:{PORT}") -> bytes:
    """A search (§1.3.2). MX is sent to one host too: some routers ignore a search without it.

    Raises:
        ValueError: `st` would break out of its line.
    """
    fields = [("HOST", host), ("MAN", '"ssdp:discover"'), ("MX", str(mx)), ("ST", st)]
    return write_head("M-SEARCH * HTTP/1.1", fields)


def decode_answer_untrusted(data: bytes) -> Found:
    """Read an answer to a search. Whether its location is the host that sent it is for the caller to see.

    Raises:
        BadPacket: it is no answer, or its location is no http URL at an address.
    """
    start, fields = read_head_untrusted(data, LONGEST)
    if not _STATUS_200.fullmatch(start):
        raise BadPacket("not an answer to a search")
    st = fields.get("st", "")
    if not _ST.fullmatch(st):
        raise BadPacket("an answer that does not say to what")
    boot = fields.get("bootid.upnp.org", "")
    return Found(
        read_url_untrusted(fields.get("location", "")),
        st,
        one_line(fields.get("usn", ""), 512),
        one_line(fields.get("server", ""), 256),
        int(boot) if re.fullmatch(r"[0-9]{1,10}", boot) else None,
    )


def _target(st: str, udn: str) -> Target:
    return Target(st, f"{udn}::{st}")


def _host(group: str) -> str:
    return f"[{group}]:{PORT}" if ":" in group else f"{group}:{PORT}"


def _ids(presence: Presence) -> list[tuple[str, str]]:
    return [("BOOTID.UPNP.ORG", str(presence.boot_id)), ("CONFIGID.UPNP.ORG", str(presence.config_id))]
