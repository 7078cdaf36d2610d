"""Machines of the LAN, and the kinds of evidence of who has which address (`census` weighs them)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address

from sekimori.model.address import IPAddress

__all__ = [
    "Announced",
    "Device",
    "Lease",
    "LeaseServer",
    "Sighting",
    "SightingSource",
    "read_mac",
    "read_name",
    "reservation",
]

_MAC = re.compile(r"[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class LeaseServer(StrEnum):
    """The DHCP servers whose leases are read."""

    DNSMASQ = "dnsmasq"
    KEA = "kea"
    ISC = "isc"
    NETWORKD = "networkd"


@dataclass(frozen=True, slots=True)
class Lease:
    """One lease, as its server wrote it down.

    Attributes:
        mac: None where the server knows only a DUID, which must not be taken for the address of an
            interface (RFC 8415 §11).
        name: what the device calls itself, in lower case; None unless it is a name that DNS could have.
        expires_at: Unix seconds; None is never.
    """

    address: IPAddress
    mac: str | None
    name: str | None
    expires_at: float | None
    server: LeaseServer


@dataclass(frozen=True, slots=True)
class Announced:
    """What a device answered over mDNS: this name has this address."""

    name: str
    address: IPAddress


class SightingSource(StrEnum):
    """Where a sighting comes from."""

    NEIGHBOUR = "neighbour"
    LEASE = "lease"
    MDNS = "mdns"


@dataclass(frozen=True, slots=True)
class Sighting:
    """One MAC address at one address, by one kind of evidence.

    Attributes:
        interface: where it is on the link; None where the evidence does not say.
    """

    address: IPAddress
    mac: str
    source: SightingSource
    interface: str | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """What is known of one machine now; addresses are in the order in which they should be tried."""

    mac: str
    names: tuple[str, ...] = ()
    addresses4: tuple[IPv4Address, ...] = ()
    addresses6: tuple[IPv6Address, ...] = ()
    server: LeaseServer | None = None
    """Who leases it its IPv4 address."""

    @property
    def addresses(self) -> tuple[IPAddress, ...]:
        """Those of both families, IPv4 first."""
        return (*self.addresses4, *self.addresses6)


def reservation(device: Device, server: LeaseServer) -> str:
    """What to write into the DHCP server's configuration so that the device keeps its IPv4 address.

    dnsmasq(8) `--dhcp-host`; Kea ARM, "Host Reservations in DHCPv4"; dhcpd.conf(5) "host"; systemd.network(5)
    `[DHCPServerStaticLease]`.

    Raises:
        ValueError: it has no IPv4 address.
    """
    if not device.addresses4:
        raise ValueError(f"{device.mac} has no IPv4 address to keep")
    mac, address = device.mac, device.addresses4[0]
    name = next((each for each in device.names if "." not in each), "")
    match server:
        case LeaseServer.DNSMASQ:
            return ",".join(["dhcp-host=" + mac, str(address), *([name] if name else [])])
        case LeaseServer.KEA:
            hostname = f', "hostname": "{name}"' if name else ""
            return f'{{ "hw-address": "{mac}", "ip-address": "{address}"{hostname} }}'
        case LeaseServer.ISC:
            label = name or "device-" + mac.replace(":", "")
            return f"host {label} {{ hardware ethernet {mac}; fixed-address {address}; }}"
        case LeaseServer.NETWORKD:
            return f"[DHCPServerStaticLease]\nMACAddress={mac}\nAddress={address}"


def read_mac(text: str) -> str | None:
    """A MAC address of Ethernet in lower case with colons; None for anything else, and for those that are
    no single machine's.
    """
    mac = text.lower().replace("-", ":")
    if not _MAC.fullmatch(mac) or int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00":
        return None
    return mac


def read_name(text: str) -> str | None:
    """What a device calls itself, in lower case, when every label of it is one that a host name may have
    (RFC 1123 §2.1); else None. It is the device's own text: nothing else of it may get any further.
    """
    name = text.lower().removesuffix(".")
    if not 0 < len(name) <= 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        return None
    return name
