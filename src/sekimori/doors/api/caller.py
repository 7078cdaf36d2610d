"""The way an asker came to this machine, as the asker's own end says."""

from __future__ import annotations

import ipaddress
from typing import Final

from sekimori.model.address import HIGHEST_PORT, IPAddress
from sekimori.model.causes import cause
from sekimori.model.errors import Problem
from sekimori.model.request import Caller

__all__ = ["read_caller_untrusted"]

_SHOWN: Final = 80
_NO_CONNECTION: Final = "UNKNOWN 65535 UNKNOWN 65535"
"""What sshd writes of a client that did not come by an IP connection (`ssh_remote_ipaddr`, packet.c)."""


def read_caller_untrusted(text: str) -> Caller | None:
    """Read what `SSH_CONNECTION` holds: client address and port, server address and port (ssh(1)).

    None is somebody who did not come by an IP connection.

    Raises:
        Problem: `bad-request`.
    """
    if text == _NO_CONNECTION:
        return None
    try:
        source, sport, destination, dport = text.split(" ")
        return Caller(_address(source), _port(sport), _address(destination), _port(dport))
    except ValueError:
        raise Problem("bad-request", why=cause("not-a-caller", text=text[:_SHOWN])) from None


def _address(text: str) -> IPAddress:
    """An address; one of IPv4 that was mapped into IPv6 is the IPv4 one (RFC 4291 §2.5.5.2)."""
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or not 0 < int(text[:6]) <= HIGHEST_PORT:
        raise ValueError(text)
    return int(text)
