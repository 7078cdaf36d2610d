"""The addresses of named targets, kept fresh by their TTL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from sekimori.model.errors import Problem
from sekimori.model.target import Resolution
from sekimori.reconcile.ports import Clock, Resolver

__all__ = ["Names"]

_SHORTEST: Final = 5.0
"""Seconds: a TTL of 0 must not become a query loop (RFC 2181 §8 allows 0)."""
_LONGEST: Final = 3600.0
_RETRY: Final = 15.0
"""Seconds until a failed look-up is tried again; the last addresses known stay in use."""


@dataclass(slots=True)
class _Known:
    addresses: tuple[str, ...]
    due: float
    problem: Problem | None = None


class Names:
    """What every named target resolves to, and when to look again."""

    def __init__(self, resolver: Resolver, clock: Clock, changed: Callable[[str], None]) -> None:
        self._resolver = resolver
        self._clock = clock
        self._changed = changed
        self._known: dict[str, _Known] = {}
        self._wake = asyncio.Event()

    def addresses(self, host: str) -> tuple[str, ...]:
        """The addresses last known, best first; empty when none ever were."""
        known = self._known.get(host)
        return known.addresses if known else ()

    def problem(self, host: str) -> Problem | None:
        """Why the last look-up failed, if it did."""
        known = self._known.get(host)
        return known.problem if known else None

    async def learn(self, host: str) -> tuple[str, ...]:
        """The addresses of `host`, looked up unless they are still fresh.

        Raises:
            Problem: `no-such-host`, when it cannot be found.
        """
        known = self._known.get(host)
        if known is None or known.problem is not None or known.due <= self._clock.now():
            known = await self._look_up(host)
        if not known.addresses and known.problem is not None:
            raise known.problem
        return known.addresses

    def keep(self, hosts: Iterable[str]) -> None:
        """Follow exactly these hosts from now on."""
        wanted = set(hosts)
        for host in self._known.keys() - wanted:
            del self._known[host]
        for host in wanted - self._known.keys():
            self._known[host] = _Known((), 0.0)
        self._wake.set()

    def follow(self, host: str, wanted: bool) -> None:
        """Follow this host from now on, or no longer; the others as before."""
        if not wanted:
            self._known.pop(host, None)
        elif host not in self._known:
            self._known[host] = _Known((), 0.0)
            self._wake.set()

    async def run(self) -> None:
        """Look names up again as their time comes, for ever."""
        while True:
            self._wake.clear()
            now = self._clock.now()
            due = [host for host, known in self._known.items() if known.due <= now]
            await asyncio.gather(*(self._look_up(host) for host in due))
            next_due = min((known.due for known in self._known.values()), default=None)
            await self._clock.wait_until(next_due, self._wake)

    async def _look_up(self, host: str) -> _Known:
        old = self._known.get(host)
        try:
            found = await self._resolver.resolve(host)
        except Problem as problem:
            known = _Known(old.addresses if old else (), self._clock.now() + _RETRY, problem)
        else:
            known = self._fresh(found)
        if host in self._known or old is None:
            self._known[host] = known
        if old is None:
            self._wake.set()  # `run` may be asleep until a later one is due, or for ever
        before = (old.addresses, old.problem is None) if old else ((), True)
        if before != (known.addresses, known.problem is None):
            self._changed(host)
        return known

    def _fresh(self, found: Resolution) -> _Known:
        ttl = min(max(found.ttl, _SHORTEST), _LONGEST)
        return _Known(found.addresses, self._clock.now() + ttl)
