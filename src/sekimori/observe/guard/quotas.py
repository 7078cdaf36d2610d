"""The bytes that users of the SSH door may carry: counted over restarts; their ports close at the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog

from sekimori.gate.ports import Gate
from sekimori.host.writing import write_whole
from sekimori.model.actual import Counters
from sekimori.model.door import DoorName
from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.model.mapping import OwnerKind
from sekimori.model.request import Close, Context
from sekimori.model.snapshot import Snapshot
from sekimori.model.user import Grant
from sekimori.reconcile.ports import Clock

__all__ = ["EVERY", "Quotas"]

EVERY: Final = 5.0
"""Seconds between looks. What is carried between two of them may exceed the quota."""
_FILE: Final = "quotas.json"
_log = structlog.get_logger("quotas")


@dataclass(slots=True)
class _Account:
    """What a user has carried since `since` (Unix seconds)."""

    since: float
    bytes: int = 0
    seen: dict[str, int] = field(default_factory=dict)
    """What each counter showed last: of a mapping by its id, of channels to destinations by `sessions`."""


class Quotas:
    """Adds up what users with a quota carry. Who has used it up has no ports until its period is over.

    Args:
        counters: the counters of these mappings.
        channels: bytes of each user's channels to destinations (`-L`, `-D`), for as long as the door has run.
        directory: where the accounts are kept.
    """

    def __init__(
        self,
        gate: Gate,
        snapshot: Callable[[], Snapshot],
        counters: Callable[[Sequence[str]], Awaitable[Mapping[str, Counters]]],
        channels: Callable[[], Mapping[str, int]],
        directory: Path,
        clock: Clock,
    ) -> None:
        self._gate = gate
        self._snapshot = snapshot
        self._counters = counters
        self._channels = channels
        self._file = directory / _FILE
        self._clock = clock
        self._accounts = self._load()

    def used(self, user: str) -> int:
        """Bytes that a user has carried in the present period."""
        account, grant = self._accounts.get(user), self._grant(user)
        if account is None or grant is None or self._is_over(account, grant):
            return 0
        return account.bytes

    def is_used_up(self, user: str) -> bool:
        """Whether a user has a quota and has carried that much."""
        grant = self._grant(user)
        return grant is not None and grant.quota is not None and self.used(user) >= grant.quota

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        never = asyncio.Event()
        while True:
            await self._clock.wait_until(self._clock.now() + EVERY, never)
            await self.look()

    async def look(self) -> None:
        """Look once."""
        held = self._held()
        channels = self._channels()
        names = {name for name in (*held, *channels) if self._has_quota(name)}
        if not names:
            return
        ids = [mapping.id for name in names for mapping in held.get(name, ())]
        counters = await self._counters(ids) if ids else {}
        changed = False
        for name in sorted(names):
            shown = {each.id: _bytes(counters[each.id]) for each in held.get(name, ()) if each.id in counters}
            shown["sessions"] = channels.get(name, 0)
            changed |= self._count(name, shown)
        if changed:
            self._save()
        for name in sorted(names):
            if self.is_used_up(name):
                await self._close(name, held.get(name, ()))

    def _count(self, name: str, shown: Mapping[str, int]) -> bool:
        """Add what counters show beyond the last look; whether that was anything."""
        grant, now = self._grant(name), self._clock.now()
        account = self._accounts.get(name)
        if account is None:
            account = self._accounts[name] = _Account(now)
        elif grant is not None and self._is_over(account, grant):
            account = self._accounts[name] = _Account(now, seen=account.seen)
        before = account.bytes
        for key, value in shown.items():
            last = account.seen.get(key, 0)
            account.bytes += value - last if value >= last else value  # a counter that began anew
        account.seen = dict(shown)
        return account.bytes != before

    async def _close(self, name: str, mappings: Iterable[PortMapping]) -> None:
        for mapping in mappings:
            _log.info("quota_used_up", user=name, name=mapping.name, bytes=self.used(name))
            try:
                await self._gate.enact(
                    [Close(mapping.id, now=True)], Context(mapping.owner, "guard", "the quota is used up")
                )
            except Problem as problem:  # it may have ended meanwhile; what stands is looked at again
                _log.warning("port_not_closed", name=mapping.name, problem=problem.title())

    def _held(self) -> dict[str, list[PortMapping]]:
        """Leases by the user who has them."""
        snapshot = self._snapshot()
        owners = [owner for owner in snapshot.leaseholders() if owner.kind is OwnerKind.KEY]
        return {owner.id: list(snapshot.leases_of(owner)) for owner in owners}

    def _has_quota(self, name: str) -> bool:
        grant = self._grant(name)
        return grant is not None and grant.quota is not None

    def _grant(self, name: str) -> Grant | None:
        """A user's grant; of the keys of a file, that of the door."""
        snapshot = self._snapshot()
        user = snapshot.users.get(name)
        if user is not None:
            return user.grant
        door = snapshot.doors.get(DoorName.SSH)
        return None if door is None else door.grant

    def _is_over(self, account: _Account, grant: Grant) -> bool:
        return self._clock.now() >= account.since + grant.quota_every

    def _load(self) -> dict[str, _Account]:
        try:
            document: dict[str, Any] = json.loads(self._file.read_text(encoding="utf-8"))
            return {
                str(name): _Account(float(each["since"]), int(each["bytes"]), dict(each["seen"]))
                for name, each in document.items()
            }
        except FileNotFoundError:
            return {}
        except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
            _log.warning("quotas_not_read", file=str(self._file), why=str(error))
            return {}

    def _save(self) -> None:
        document = {
            name: {"since": each.since, "bytes": each.bytes, "seen": each.seen}
            for name, each in self._accounts.items()
            if self._has_quota(name)
        }
        try:
            write_whole(self._file, json.dumps(document).encode())
        except OSError as error:  # the figures in memory hold until the next start
            _log.warning("quotas_not_written", file=str(self._file), why=str(error))


def _bytes(counters: Counters) -> int:
    return counters.bytes_in + counters.bytes_out
