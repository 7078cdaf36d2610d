"""Names to addresses, with the TTL that DNS gives them."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from itertools import chain, zip_longest
from pathlib import Path
from typing import Final

from sekimori.model.causes import Text, cause, os_cause
from sekimori.model.errors import Problem
from sekimori.model.target import Resolution

__all__ = ["SystemResolver", "explain_failure"]

_WITHOUT_TTL: Final = 30.0
"""Seconds that an answer without a TTL (hosts file, mDNS, other name services) is believed."""
_DEADLINE: Final = 5.0
_BY_GAI_CODE: Final = {
    socket.EAI_NONAME: "name-unknown",
    socket.EAI_NODATA: "name-without-address",
    socket.EAI_AGAIN: "no-answer",
}


class SystemResolver:
    """The hosts file first, then DNS for its TTL, then whatever else the system asks (mDNS, search lists)."""

    def __init__(
        self, hosts_file: Path = Path("/etc/hosts"), nameservers: tuple[str, ...] = (), port: int = 53
    ) -> None:
        self._hosts_file = hosts_file
        self._hosts_version: tuple[int, int, int] | None = None
        self._hosts: dict[str, list[str]] = {}
        self._nameservers = nameservers
        self._port = port

    async def resolve(self, host: str) -> Resolution:
        """The addresses of `host`, IPv6 and IPv4 in turn (RFC 8305 §4).

        Raises:
            Problem: `no-such-host`.
        """
        if host == "localhost":  # RFC 6761 §6.3: never asked of the network
            return Resolution(("127.0.0.1", "::1"), 3600.0)
        found = self._from_hosts_file(host)
        if found:
            return Resolution(_interleave(found), _WITHOUT_TTL)
        resolution = await self._from_dns(host)
        return resolution or await self._from_system(host)

    def _from_hosts_file(self, host: str) -> list[str]:
        try:
            found = self._hosts_file.stat()
            # A list of what is blocked may have 100,000 lines: it is read when it is another one.
            version = found.st_ino, found.st_size, found.st_mtime_ns
            if version != self._hosts_version:
                self._hosts = _by_name(self._hosts_file.read_text(errors="replace"))
                self._hosts_version = version
        except FileNotFoundError:
            return []
        return self._hosts.get(host, [])

    async def _from_dns(self, host: str) -> Resolution | None:
        # Imported late: it is needed only where a target has a name.
        import dns.asyncresolver
        import dns.exception
        import dns.rdatatype
        import dns.resolver

        try:
            resolver = dns.asyncresolver.Resolver(configure=not self._nameservers)
        except dns.resolver.NoResolverConfiguration:
            return None
        if self._nameservers:
            resolver.nameservers = list(self._nameservers)
            resolver.port = self._port
        resolver.lifetime = _DEADLINE
        types = (dns.rdatatype.AAAA, dns.rdatatype.A)
        answers = await asyncio.gather(
            *(resolver.resolve(host, kind, raise_on_no_answer=False) for kind in types),
            return_exceptions=True,
        )
        addresses: list[str] = []
        ttls: list[int] = []
        for answer in answers:
            if isinstance(answer, dns.resolver.Answer) and answer.rrset is not None:
                addresses += [str(record) for record in answer.rrset]
                ttls.append(answer.rrset.ttl)
            elif isinstance(answer, BaseException) and not isinstance(
                answer, dns.exception.DNSException | OSError
            ):
                raise answer
        return Resolution(_interleave(addresses), float(min(ttls))) if addresses else None

    async def _from_system(self, host: str) -> Resolution:
        if self._nameservers:
            raise Problem("no-such-host", host=host, why=cause("server-unaware"))
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_DEADLINE):
                found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise Problem("no-such-host", host=host, why=explain_failure(error)) from None
        except TimeoutError:
            raise Problem("no-such-host", host=host, why=cause("no-answer")) from None
        return Resolution(tuple(dict.fromkeys(str(entry[4][0]) for entry in found)), _WITHOUT_TTL)


def explain_failure(error: socket.gaierror) -> Text:
    """What getaddrinfo says, by language for what people meet (RFC 3493 §6.1)."""
    key = _BY_GAI_CODE.get(error.errno or 0)
    return os_cause(error) if key is None else cause(key)


def _by_name(text: str) -> dict[str, list[str]]:
    """The addresses of each name in a hosts file (hosts(5)), in its order."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        address, *names = line.partition("#")[0].lower().split() or ("",)
        if _is_address(address):
            for name in dict.fromkeys(names):
                found.setdefault(name, []).append(address)
    return found


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _interleave(addresses: list[str]) -> tuple[str, ...]:
    six = [address for address in addresses if ":" in address]
    four = [address for address in addresses if ":" not in address]
    return tuple(a for a in chain.from_iterable(zip_longest(six, four)) if a is not None)
