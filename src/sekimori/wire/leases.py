"""The lease files of DHCP servers.

What a device says of itself stands in them, so they are strangers' bytes: a line that is not as its server
writes it is passed over, and a file that is not a lease file at all raises `BadPacket`. Servers append to
some of these files and write others anew in place, so a file may be read in the middle of that: what is
incomplete at its end is passed over too, for it is read again when it has changed.

- dnsmasq: helper and lease database format, dnsmasq(8) `--dhcp-leasefile`.
- Kea: the memfile backend's CSV (Kea ARM, "Memfile, Basic Storage for Leases").
- ISC dhcpd: dhcpd.leases(5). Leases of its DHCPv6 server name neither a MAC address nor a host name.
- systemd-networkd keeps its server's leases in files from version 256 on (systemd.network(5)
  `PersistLeases=`; with the MAC address from 257 on); before that they are to be had over D-Bus only.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from sekimori.model.address import IPAddress
from sekimori.model.device import Lease, LeaseServer, read_mac, read_name
from sekimori.wire.errors import BadPacket

__all__ = [
    "read_dnsmasq_untrusted",
    "read_isc_untrusted",
    "read_kea_untrusted",
    "read_leases_untrusted",
    "read_networkd_untrusted",
    "server_of_untrusted",
]

_FOREVER: Final = 0xFFFFFFFF  # RFC 2131 §3.3
_ETHERNET: Final = 1  # ARPHRD_ETHER
_ISC_TOKEN: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"|#[^\n]*|[{};]|[^\s{};"#]+')
_ISC_STATEMENT: Final = re.compile(
    r"(?:^|\n)\s*(?:lease\s+\S+\s*\{|server-duid\s|authoring-byte-order\s|ia-(?:na|ta|pd)\s|host\s|failover\s)"
)


def read_leases_untrusted(*files: bytes) -> tuple[Lease, ...]:
    """Read one server's leases, whichever server it is.

    Args:
        files: the parts of one lease database, the oldest first. Only Kea has more than one.

    Raises:
        BadPacket: a file of no kind that is known.
    """
    written = [each for each in files if each.strip()]
    if not written:
        return ()
    match server_of_untrusted(written[0]):
        case LeaseServer.KEA:
            return read_kea_untrusted(*written)
        case LeaseServer.ISC:
            return read_isc_untrusted(written[0])
        case LeaseServer.NETWORKD:
            return read_networkd_untrusted(written[0])
        case LeaseServer.DNSMASQ:
            return read_dnsmasq_untrusted(written[0])


def server_of_untrusted(data: bytes) -> LeaseServer:
    """Which server wrote a lease file.

    Raises:
        BadPacket: none that is known.
    """
    if data.lstrip().startswith(b"{"):
        return LeaseServer.NETWORKD
    text = _text(data)
    first = text.lstrip().partition("\n")[0].split(",")
    if first[0] == "address" and "valid_lifetime" in first:
        return LeaseServer.KEA
    if _ISC_STATEMENT.search(text):
        return LeaseServer.ISC
    if any(_dnsmasq_lease(line) or line.startswith("duid ") for line in _lines(text)):
        return LeaseServer.DNSMASQ
    if all(line.startswith("#") for line in text.split("\n") if line):
        return LeaseServer.ISC  # a new one has a comment only
    raise BadPacket("this is no lease file of dnsmasq, Kea, ISC dhcpd or systemd-networkd")


def read_dnsmasq_untrusted(data: bytes) -> tuple[Lease, ...]:
    """Read `EXPIRY MAC ADDRESS NAME CLIENT-ID` lines, and after a `duid` line those of DHCPv6, where the
    second word is an IAID. An expiry of 0 is never; `*` stands for no name.

    Raises:
        BadPacket: there are lines, and none of them is one of these.
    """
    lines = list(_lines(_text(data)))
    leases = [lease for line in lines if (lease := _dnsmasq_lease(line))]
    if not leases and any(not line.startswith("duid ") for line in lines):
        raise BadPacket("no line of it is a lease of dnsmasq")
    return _last_of_each(leases)


def read_kea_untrusted(*files: bytes) -> tuple[Lease, ...]:
    """Read `kea-leases4.csv` or `kea-leases6.csv`; a later row replaces the earlier one of the address.

    Only rows in state 0 (assigned) with a lifetime are leases: 1 is declined, 2 reclaimed after its expiry,
    3 released, and a lifetime of 0 means deleted. Delegated prefixes are no addresses of a host.

    Args:
        files: the parts that lease file clean-up left, the oldest first, and the file itself last.

    Raises:
        BadPacket: a file without the header row.
    """
    rows: dict[IPAddress, Lease | None] = {}
    for data in files:
        lines = _lines(_text(data))
        columns = {name: place for place, name in enumerate(next(lines, "").split(","))}
        if not {"address", "valid_lifetime", "expire"} <= columns.keys():
            raise BadPacket("a Kea lease file begins with the names of its columns")
        for line in lines:
            cells = line.split(",")
            row = {name: cells[place] for name, place in columns.items() if place < len(cells)}
            address = _address(row.get("address", ""))
            if address is not None and row.get("lease_type", "0") in ("0", "1"):
                rows[address] = _kea_lease(address, row)
    return tuple(lease for lease in rows.values() if lease is not None)


def read_isc_untrusted(data: bytes) -> tuple[Lease, ...]:
    """Read the `lease` declarations of `dhcpd.leases`; a later one replaces the earlier one of the address.

    Times are in UTC, or seconds since 1970 with `db-time-format local`.

    Raises:
        BadPacket: braces or quotes that do not fit together, other than at the end.
    """
    leases: dict[IPAddress, Lease | None] = {}
    for head, statements in _isc_blocks(_text(data)):
        address = _address(head[1]) if len(head) == 2 and head[0] == "lease" else None
        if address is not None:
            leases[address] = _isc_lease(address, statements)
    return tuple(lease for lease in leases.values() if lease is not None)


def read_networkd_untrusted(data: bytes) -> tuple[Lease, ...]:
    """Read `/var/lib/systemd/network/dhcp-server-lease/INTERFACE`: JSON, addresses as lists of octets.

    Where there is no `HardwareAddress` (version 256), a client identifier of type 1 is the MAC address
    (RFC 2132 §9.14).

    Raises:
        BadPacket: it is not such a document.
    """
    try:
        document = json.loads(_text(data))
    except (ValueError, RecursionError) as error:
        raise BadPacket(f"not JSON: {error}") from None
    found = document.get("Leases", []) if isinstance(document, dict) else None
    if not isinstance(found, list):
        raise BadPacket("a lease file of systemd-networkd has a list of Leases")
    leases = (_networkd_lease(each) for each in found if isinstance(each, dict))
    return _last_of_each(lease for lease in leases if lease is not None)


def _dnsmasq_lease(line: str) -> Lease | None:
    words = line.split(" ")
    if len(words) < 4 or not _is_number(words[0]):
        return None
    address = _address(words[2].strip("[]"))
    if address is None:
        return None
    # "06-" and such before a MAC address is a hardware type other than Ethernet.
    mac = read_mac(words[1]) if address.version == 4 else None
    return Lease(address, mac, read_name(words[3]), float(words[0]) or None, LeaseServer.DNSMASQ)


def _kea_lease(address: IPAddress, row: dict[str, str]) -> Lease | None:
    lifetime, expire = row.get("valid_lifetime", ""), row.get("expire", "")
    if (
        not (_is_number(lifetime) and _is_number(expire))
        or row.get("state", "0") != "0"
        or int(lifetime) == 0
    ):
        return None
    expires_at = None if int(lifetime) == _FOREVER else float(expire)
    mac, name = read_mac(row.get("hwaddr", "")), read_name(row.get("hostname", ""))
    return Lease(address, mac, name, expires_at, LeaseServer.KEA)


def _isc_lease(address: IPAddress, statements: list[list[str]]) -> Lease | None:
    said = {words[0]: words[1:] for words in statements if words}
    state = next((words[2:] for words in statements if words[:2] == ["binding", "state"]), ["active"])
    ends = said.get("ends", [])
    expires_at = None if ends == ["never"] else _isc_time(ends)
    if state != ["active"] or (expires_at is None and ends != ["never"]):
        return None
    hardware = said.get("hardware", [])
    mac = read_mac(hardware[1]) if len(hardware) == 2 and hardware[0] == "ethernet" else None
    name = read_name(said["client-hostname"][0].strip('"')) if said.get("client-hostname") else None
    return Lease(address, mac, name, expires_at, LeaseServer.ISC)


def _isc_time(words: list[str]) -> float | None:
    """`4 2026/11/19 08:30:00`, the weekday first; or `epoch 1795077000`."""
    if len(words) == 2 and words[0] == "epoch" and _is_number(words[1]):
        return float(words[1])
    try:
        moment = datetime.strptime(" ".join(words[1:3]) + " +0000", "%Y/%m/%d %H:%M:%S %z")
    except ValueError:  # not a time: the lease is passed over
        return None
    return moment.timestamp()


def _isc_blocks(text: str) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Each outermost `HEAD { STATEMENT; … }`: its head and the words of its own statements."""
    head: list[str] = []
    words: list[str] = []
    statements: list[list[str]] = []
    depth = 0
    for each in _isc_tokens(text):
        if each == "{":
            if depth == 0:
                head, statements = words, []
            depth, words = depth + 1, []
        elif each == "}":
            depth, words = depth - 1, []
            if depth < 0:
                raise BadPacket("a brace closes what none has opened")
            if depth == 0:
                yield head, statements
        elif each == ";":
            if depth == 1:
                statements.append(words)
            words = []
        else:
            words.append(each)


def _isc_tokens(text: str) -> Iterator[str]:
    place = 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        found = _ISC_TOKEN.match(text, place)
        if found is None:  # a quote without its end
            if "\n" in text[place:]:
                raise BadPacket("a text does not end on its line")
            return
        place = found.end()
        if not found[0].startswith("#"):
            yield found[0]


def _networkd_lease(document: dict[str, Any]) -> Lease | None:
    octets = _octets(document.get("Address"))
    if octets is None or len(octets) != 4:
        return None
    name, expires = document.get("Hostname"), document.get("ExpirationRealtimeUSec")
    if type(expires) is not int or expires < 0:
        return None
    # All bits set is USEC_INFINITY.
    expires_at = None if expires >= (1 << 64) - 1 else expires / 1e6
    return Lease(
        ipaddress.IPv4Address(octets),
        _networkd_mac(document),
        read_name(name) if isinstance(name, str) else None,
        expires_at,
        LeaseServer.NETWORKD,
    )


def _networkd_mac(document: dict[str, Any]) -> str | None:
    hardware, client = _octets(document.get("HardwareAddress")), _octets(document.get("ClientId"))
    if hardware is not None and document.get("HardwareAddressType") == _ETHERNET:
        return read_mac(hardware[:6].hex(":"))
    if hardware is None and client is not None and len(client) == 7 and client[0] == _ETHERNET:
        return read_mac(client[1:].hex(":"))
    return None


def _octets(value: object) -> bytes | None:
    if not isinstance(value, list) or len(value) > 255:
        return None
    if not all(type(each) is int and 0 <= each <= 255 for each in value):
        return None
    return bytes(value)


def _last_of_each(leases: Iterable[Lease]) -> tuple[Lease, ...]:
    return tuple({lease.address: lease for lease in leases}.values())


def _lines(text: str) -> Iterator[str]:
    """Whole lines that say something; what follows the last line end is not yet all there."""
    for line in text.split("\n")[:-1]:
        stripped = line.rstrip("\r")
        if stripped:
            yield stripped


def _text(data: bytes) -> str:
    # Every byte is a character: what is not ASCII can be part of nothing that is read here.
    return data.decode("latin-1")


def _address(text: str) -> IPAddress | None:
    if not text.isascii() or "%" in text:
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:  # no address: what it stands in is passed over
        return None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 12
